"""A simulation is the daemon's own decisions, walked through time: nothing missed, nothing too early, nothing but facts."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ConfigError
from agent.event import HOST, Event, parse_body
from agent.intake import read_lines
from agent.model import Mode
from agent.policy import MemoryInventory, load
from agent.simulate import SOURCE, Moment, Simulation, plain, simulate

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "tests/golden/simulate/zephyr.jsonl"
FAR = datetime(2100, 12, 31, tzinfo=UTC)
ZEPHYR = MemoryInventory(load({path.name: path.read_text() for path in (ROOT / "policies").glob("*.yaml")}))


def facts(lines: list[str], inventory: MemoryInventory = ZEPHYR) -> tuple[Event, ...]:
    return read_lines(lines, SOURCE, lambda _, customer: customer if inventory.company(customer) else None, FAR, file="facts")


EVENTS = facts(FACTS.read_text().splitlines())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def run(until: str, **how: object) -> Simulation:
    return simulate(EVENTS, ZEPHYR, at(until), **{"approved": True, **how})


def acts(simulation: Simulation) -> list[tuple[str, str, str]]:
    return [(f"{moment.at:%Y-%m-%dT%H:%M:%SZ}", moment.company, moment.act) for moment in simulation.moments]


def states(simulation: Simulation) -> dict[str, list[str]]:
    return {one["company"]: [case["state"] for case in one["cases"]] for one in plain(simulation)["companies"]}


# --- the founding case --------------------------------------------------------------------------------------------


def test_two_debtors_are_suspended_on_monday_at_nine_and_payment_restores_one_of_them() -> None:
    found = run("2026-04-01T00:00+02:00")
    assert acts(found) == [
        ("2026-03-26T23:00:00Z", "za", "propose"),
        ("2026-03-26T23:00:00Z", "zb", "propose"),
        ("2026-03-30T07:00:00Z", "za", "suspend"),
        ("2026-03-30T07:00:00Z", "zb", "suspend"),
        ("2026-03-31T12:07:12Z", "za", "restore"),
    ]
    assert states(found) == {"za": ["closed"], "zb": ["suspended"], "zc": []}
    assert {moment.services for moment in found.moments} == {("reporting", "shared-documents", "vpn")}


def test_nothing_is_suspended_a_second_before_the_window() -> None:
    assert states(run("2026-03-30T08:59:59+02:00")) == {"za": ["proposed"], "zb": ["proposed"], "zc": []}
    assert states(run("2026-03-30T09:00:00+02:00")) == {"za": ["suspended"], "zb": ["suspended"], "zc": []}


def test_a_suspension_ends_by_itself_after_the_longest_time() -> None:
    assert acts(run("2026-07-01T00:00+02:00"))[-1] == ("2026-04-29T07:00:00Z", "zb", "restore")
    assert plain(run("2026-04-10T00:00+02:00"))["companies"][1]["next_at"] == "2026-04-29T07:00:00.000000Z"


def test_facts_dated_later_are_left_out_and_counted() -> None:
    found = run("2026-03-30T12:00+02:00")
    assert (found.facts, found.later) == (14, 1)
    assert "restore" not in {moment.act for moment in found.moments}


def test_without_approvals_a_case_is_proposed_and_nothing_more() -> None:
    found = run("2026-04-01T00:00+02:00", approved=False)
    assert {moment.act for moment in found.moments} == {"propose"}
    assert states(found)["zb"] == ["proposed"]


def test_a_notice_that_nobody_approved_goes_stale_and_time_alone_never_helps_again() -> None:
    found = plain(run("2027-01-01T00:00+01:00", approved=False))
    (case,) = found["companies"][1]["cases"]
    assert "G-10" in case["missing"]
    assert case["next_at"] is None


@pytest.mark.parametrize(("ceiling", "expected"), [(Mode.OBSERVE, {"observe"}), (Mode.APPROVE, {"propose"})])
def test_a_lower_ceiling_of_the_host_keeps_everything_in_service(ceiling: Mode, expected: set[str]) -> None:
    found = run("2026-04-01T00:00+02:00", ceiling=ceiling)
    assert {moment.act for moment in found.moments} == expected


def test_a_case_is_observed_once() -> None:
    found = run("2026-05-01T00:00+02:00", ceiling=Mode.OBSERVE)
    assert [moment.company for moment in found.moments] == ["za", "zb"]


def test_reasons_are_given_in_both_languages() -> None:
    for moment in run("2026-07-01T00:00+02:00").moments:
        assert moment.fr
        assert moment.en


def test_the_result_is_plain_json_and_says_what_was_taken_for_granted() -> None:
    data = plain(run("2026-04-01T00:00+02:00"))
    assert json.loads(json.dumps(data)) == data
    assert (data["ceiling"], data["approved"], data["feeds"]) == ("auto", True, "counted as fresh")
    assert data["moments"][0]["timezone"] == "Europe/Paris"


def test_facts_about_the_host_and_empty_files_are_no_trouble() -> None:
    beat = Event(
        id="file:1",
        type="heartbeat",
        subject=HOST,
        occurred_at=FAR,
        received_at=FAR,
        source="file",
        body=parse_body("heartbeat", {}),
    )
    found = simulate([beat], ZEPHYR, at("2026-04-01T00:00Z"))
    assert (found.facts, found.moments, found.outcomes) == (0, (), ())


def test_a_file_can_state_no_approval() -> None:
    line = json.dumps(
        {
            "id": "1",
            "type": "approval.given",
            "customer": "za",
            "occurred_at": "2026-03-27T09:00:00Z",
            "data": {"case": "za:MED-ZA", "by": "x", "role": "approver", "reason": "x"},
        }
    )
    with pytest.raises(ConfigError, match="never taken"):
        facts([line])


# --- for all inputs -----------------------------------------------------------------------------------------------

LAST = at("2026-05-05T00:00+02:00")
WHOLE = simulate(EVENTS, ZEPHYR, LAST, approved=True)
FIRST = at("2026-01-02T00:00Z")
instants = st.integers(min_value=0, max_value=int((LAST - FIRST).total_seconds())).map(lambda n: FIRST + timedelta(seconds=n))


@settings(max_examples=12, deadline=None)
@given(instants)
def test_looking_at_an_earlier_instant_tells_the_beginning_of_the_same_story(moment: datetime) -> None:
    found = simulate(EVENTS, ZEPHYR, moment, approved=True)
    assert found.moments == tuple(one for one in WHOLE.moments if one.at <= moment)


def unrelated(company: str, when: datetime, number: int) -> Event:
    """A fact that changes no decision, but makes the walk look at the company at this very instant."""
    body = parse_body("payment.announced", {"payment": f"A-{number}", "invoices": ["F-OTHER"]})
    return Event(
        id=f"file:look-{number}",
        type="payment.announced",
        subject=company,
        occurred_at=when,
        received_at=when,
        source="file",
        body=body,
    )


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["za", "zb"]), instants), min_size=1, max_size=25))
def test_looking_more_often_finds_nothing_that_was_missed(looks: list[tuple[str, datetime]]) -> None:
    more = [unrelated(company, when, number) for number, (company, when) in enumerate(looks)]
    found = simulate([*EVENTS, *more], ZEPHYR, LAST, approved=True)
    assert found.moments == WHOLE.moments


@settings(max_examples=8, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(min_value=1, max_value=3))
def test_order_and_repetition_of_the_facts_do_not_matter(order: random.Random, times: int) -> None:
    shuffled = [*EVENTS] * times
    order.shuffle(shuffled)
    assert simulate(shuffled, ZEPHYR, LAST, approved=True).moments == WHOLE.moments


# --- many companies on one time line ------------------------------------------------------------------------------

COMPANIES = [f"c{number:02}" for number in range(8)]


def street() -> MemoryInventory:
    """Eight small companies that all owe the same on the same day; at most five new suspensions in 24 hours."""
    files = {path.name: path.read_text() for path in (ROOT / "policies").glob("*.yaml") if path.name != "customers.yaml"}
    files["customers.yaml"] = "customers:\n  street:\n" + "".join(
        f"""    {name}:
      name: Company {name}
      contract: K-{name}
      policy: fr-b2b-auto
      sites:
        one: {{timezone: Europe/Paris, attachments: [{{prefix: 10.{number}.0.0/24}}]}}
      subscriptions: [reporting]
"""
        for number, name in enumerate(COMPANIES, start=1)
    )
    return MemoryInventory(load(files))


def same_story(customer: str) -> list[str]:
    """ZA's history told about another company, for one service."""
    told = []
    for line in FACTS.read_text().splitlines():
        item = json.loads(line)
        if item["customer"] != "zb":
            continue
        item |= {"id": f"{customer}-{item['id']}", "customer": customer}
        if "lines" in item["data"]:
            item["data"]["lines"] = [{"service": "reporting", "amount": "3200.00", "delivered_ref": "PV"}]
        if "announces" in item["data"]:
            item["data"]["announces"]["services"] = ["reporting"]
        told.append(json.dumps(item))
    return told


def test_the_limit_of_new_suspensions_a_day_spreads_them_over_days() -> None:
    inventory = street()
    limit = inventory.policies["fr-b2b-auto"].max_new_per_day
    events = facts([line for name in COMPANIES for line in same_story(name)], inventory)
    found = simulate(events, inventory, at("2026-04-02T00:00+02:00"), approved=True)
    cut: list[Moment] = [moment for moment in found.moments if moment.act == "suspend"]
    assert [moment.company for moment in cut] == COMPANIES
    first, second = cut[:limit], cut[limit:]
    assert {moment.at for moment in first} == {at("2026-03-30T09:00+02:00")}
    assert {moment.at for moment in second} == {at("2026-03-31T09:00+02:00")}
    assert second[0].at - first[0].at == timedelta(days=1)

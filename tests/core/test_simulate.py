"""A simulation is the daemon's own decisions, walked through time: nothing missed, nothing too early, nothing but facts."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.breaker import Load
from agent.decide import Act
from agent.errors import ConfigError
from agent.event import HOST, Event, parse_body
from agent.gate import World
from agent.history import gather
from agent.host import ClockState
from agent.intake import read_lines
from agent.judge import Judged, Judgement, judge
from agent.model import Mode
from agent.persons import StandingApproval
from agent.policy import MemoryInventory, load
from agent.record import EMPTY_RECORD, Record, fold
from agent.simulate import SOURCE, Simulation, begin, plain, simulate
from tests.core.histories import examples
from tests.core.stories import Story

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "tests/golden/simulate/zephyr.jsonl"
FAR = datetime(2100, 12, 31, tzinfo=UTC)
ZEPHYR = MemoryInventory(load({path.name: path.read_text() for path in (ROOT / "policies").glob("*.yaml")}))


def facts(lines: list[str], inventory: MemoryInventory = ZEPHYR) -> tuple[Event, ...]:
    return tuple(
        read_lines(lines, SOURCE, lambda _, customer: customer if inventory.company(customer) else None, FAR, file="facts")
    )


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
    assert states(found) == {"za": ["closed"], "zb": ["suspended"]}
    assert {moment.services for moment in found.moments} == {("reporting", "shared-documents", "vpn")}


def test_nothing_is_suspended_a_second_before_the_window() -> None:
    assert states(run("2026-03-30T08:59:59+02:00")) == {"za": ["proposed"], "zb": ["proposed"]}
    assert states(run("2026-03-30T09:00:00+02:00")) == {"za": ["suspended"], "zb": ["suspended"]}


def test_a_suspension_ends_by_itself_after_the_longest_time() -> None:
    assert acts(run("2026-07-01T00:00+02:00"))[-1] == ("2026-04-29T07:00:00Z", "zb", "restore")
    assert plain(run("2026-04-10T00:00+02:00"))["companies"][1]["next_at"] == "2026-04-29T07:00:00.000000Z"


def test_facts_dated_later_are_left_out_and_counted() -> None:
    found = run("2026-03-30T12:00+02:00")
    assert (found.history.count, found.history.later) == (16, 1)
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
    assert (found.history.count, found.moments, list(found.outcomes())) == (0, (), [])


def test_a_company_without_a_formal_notice_is_counted_and_judged_when_it_is_asked_for() -> None:
    found = run("2026-04-01T00:00+02:00")
    assert (found.companies, found.quiet) == (("za", "zb"), 1)
    (only,) = plain(found, "zc")["companies"]
    assert (only["company"], only["cases"]) == ("zc", [])
    assert [one["remaining"] for one in only["invoices"]] == ["0.00"]
    assert plain(found, "zd")["companies"][0]["invoices"] == []


def test_what_the_gateway_watches_is_taken_as_good_but_not_what_the_file_says_against_it() -> None:
    red = parse_body("preflight.done", {"result": "red", "baseline_hours": 24, "local_matches": 2})
    when = at("2026-03-29T12:00+02:00")
    said = Event(id="file:red", type="preflight.done", subject="za", occurred_at=when, received_at=when, source="file", body=red)
    found = simulate([*EVENTS, said], ZEPHYR, at("2026-04-01T00:00+02:00"), approved=True)
    assert [(moment.company, moment.act) for moment in found.moments if moment.act != "propose"] == [("zb", "suspend")]
    assert "G-19" in plain(found, "za")["companies"][0]["cases"][0]["missing"]


def announced(when: str) -> Event:
    body = parse_body("payment.announced", {"payment": "VIR-ZB", "invoices": ["F-2026-ZB"]})
    said = at(when)
    return Event(id="file:a", type="payment.announced", subject="zb", occurred_at=said, received_at=said, source="file", body=body)


def test_an_announced_payment_delays_once_and_interrupts_for_good_unless_persons_approve() -> None:
    before = simulate([*EVENTS, announced("2026-03-28T10:00+01:00")], ZEPHYR, at("2026-05-20T00:00+02:00"), approved=True)
    mine = [one for one in acts(before) if one[1] == "zb"]
    assert [act for _, _, act in mine] == ["propose", "suspend", "restore"]
    assert mine[1][0] == "2026-04-07T07:00:00Z"  # five working days, Easter Monday not among them, then the next window
    during = simulate([*EVENTS, announced("2026-03-31T10:00+02:00")], ZEPHYR, at("2026-05-20T00:00+02:00"), approved=True)
    mine = [one for one in acts(during) if one[1] == "zb"]
    assert [act for _, _, act in mine] == ["propose", "suspend", "restore", "propose"]
    assert mine[2][0] == "2026-03-31T08:00:00Z"


def test_without_a_last_warning_nobody_is_suspended() -> None:
    silent = [event for event in EVENTS if event.type != "warning.sent"]
    found = simulate(silent, ZEPHYR, at("2026-04-10T00:00+02:00"), approved=True)
    assert {moment.act for moment in found.moments} == {"propose"}
    assert plain(found, "zb")["companies"][0]["cases"][0]["missing"] == ["G-20", "G-26"]


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


@examples(12)
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


@examples(12)
@given(st.lists(st.tuples(st.sampled_from(["za", "zb"]), instants), min_size=1, max_size=25))
def test_looking_more_often_finds_nothing_that_was_missed(looks: list[tuple[str, datetime]]) -> None:
    more = [unrelated(company, when, number) for number, (company, when) in enumerate(looks)]
    found = simulate([*EVENTS, *more], ZEPHYR, LAST, approved=True)
    assert found.moments == WHOLE.moments


@examples(8)
@given(st.randoms(use_true_random=False), st.integers(min_value=1, max_value=3))
def test_order_and_repetition_of_the_facts_do_not_matter(order: random.Random, times: int) -> None:
    shuffled = [*EVENTS] * times
    order.shuffle(shuffled)
    assert simulate(shuffled, ZEPHYR, LAST, approved=True).moments == WHOLE.moments


# --- many companies on one time line ------------------------------------------------------------------------------

ERP = "local_applications: {erp: {probe: tcp, address: 10.%d.0.5, port: 443}}"


def street(count: int, **limits: int) -> MemoryInventory:
    """Small companies that are all alike, under one policy in mode auto with these limits."""
    files = {path.name: path.read_text() for path in (ROOT / "policies").glob("*.yaml") if path.name == "services.yaml"}
    values = {"max_share_of_companies": 100, "max_share_of_prefixes": 100, "canaries": 5, **limits}
    files["policies.yaml"] = (
        "policies:\n  auto:\n    profile: fr-b2b\n    mode: auto\n    enforcement_point: provider\n"
        "    waive_gentler_stages: annex services only\n" + "".join(f"    {name}: {value}\n" for name, value in values.items())
    )
    files["customers.yaml"] = "customers:\n  street:\n" + "".join(
        f"""    c{number:02}:
      name: Company {number}
      contract: K-{number}
      policy: auto
      sites:
        one: {{timezone: Europe/Paris, attachments: [{{prefix: 10.{number}.0.0/24}}], {ERP % number}}}
      subscriptions: [reporting]
"""
        for number in range(count)
    )
    return MemoryInventory(load(files))


def same_story(customer: str, *, shift: timedelta = timedelta(0), paid_after: timedelta | None = None) -> list[str]:
    """ZB's history told about another company, for one service, so much later; paid so long after the notice."""
    told = []
    for line in FACTS.read_text().splitlines():
        item = json.loads(line)
        if item["customer"] != "zb":
            continue
        when = at(item["occurred_at"]) + shift
        item |= {"id": f"{customer}-{item['id']}", "customer": customer, "occurred_at": when.isoformat()}
        if "lines" in item["data"]:
            item["data"]["lines"] = [{"service": "reporting", "amount": "3200.00", "delivered_ref": "PV"}]
        if "announces" in item["data"]:
            item["data"]["announces"]["services"] = ["reporting"]
            sent = when
        told.append(json.dumps(item))
    if paid_after is not None:
        data = {"payment": f"P-{customer}", "amount": "3200.00", "currency": "EUR"}
        paid = {"id": f"{customer}-P", "type": "payment.received", "customer": customer, "data": data}
        told.append(json.dumps(paid | {"occurred_at": (sent + paid_after).isoformat()}))
    return told


def suspensions(found: Simulation) -> list[tuple[str, str]]:
    return [(moment.company, f"{moment.at:%m-%d %H:%M}") for moment in found.moments if moment.act == "suspend"]


def test_the_limits_spread_suspensions_over_hours_and_days() -> None:
    inventory = street(8, max_new_per_hour=3, max_new_per_day=5)
    events = facts([line for number in range(8) for line in same_story(f"c{number:02}")], inventory)
    assert suspensions(simulate(events, inventory, at("2026-04-02T00:00+02:00"), approved=True)) == [
        ("c00", "03-30 07:00"),
        ("c01", "03-30 07:00"),
        ("c02", "03-30 07:00"),
        ("c03", "03-30 08:00"),
        ("c04", "03-30 08:00"),
        ("c05", "03-31 07:00"),
        ("c06", "03-31 07:00"),
        ("c07", "03-31 07:00"),
    ]


def test_the_first_ones_go_alone() -> None:
    inventory = street(4, canaries=2, canary_minutes=45)
    events = facts([line for number in range(4) for line in same_story(f"c{number:02}")], inventory)
    found = suspensions(simulate(events, inventory, at("2026-04-02T00:00+02:00"), approved=True))
    assert [when for _, when in found] == ["03-30 07:00", "03-30 07:00", "03-30 07:45", "03-30 07:45"]


def test_who_is_held_by_the_share_in_force_follows_when_somebody_is_restored() -> None:
    inventory = street(4, max_share_of_companies=50)
    paid = {"c00": timedelta(days=23, hours=1), "c01": timedelta(days=24, hours=2)}
    events = facts(
        [line for name in ("c00", "c01", "c02", "c03") for line in same_story(name, paid_after=paid.get(name))], inventory
    )
    found = simulate(events, inventory, at("2026-04-09T00:00+02:00"), approved=True)
    restored = {moment.company: moment.at for moment in found.moments if moment.act == "restore"}
    assert suspensions(found) == [
        ("c00", "03-30 07:00"),
        ("c01", "03-30 07:00"),
        ("c02", f"{restored['c00']:%m-%d %H:%M}"),
        ("c03", f"{restored['c01']:%m-%d %H:%M}"),
    ]


def test_a_long_line_is_not_asked_person_by_person() -> None:
    """Sixty companies wait for weeks; each is judged a few times, not each time somebody's turn comes."""
    inventory = street(60, max_new_per_day=1)
    history = gather(facts([line for number in range(60) for line in same_story(f"c{number:02}")], inventory), FAR)
    walk = begin(history, inventory, FAR, ceiling=Mode.AUTO, approved=True)
    looks = sum(1 for _ in walk.steps(at("2026-06-20T00:00+02:00")))
    assert sum(moment.act == "suspend" for moment in walk.moments) > 40
    assert looks < 60 * 10


# --- against a deliberately naive walk ----------------------------------------------------------------------------


#: Taken as good at every instant: that it would not be later is no reason to look.
WATCHED = {"G-14", "G-19", "G-21", "G-22"}

Told = list[tuple[datetime, str, str]]


def naive(events: tuple[Event, ...], inventory: MemoryInventory, end: datetime) -> Told:
    """Everybody is asked at every instant at which anything could change for anybody, again from the first after each act."""
    records = dict.fromkeys(sorted({event.subject for event in events}), EMPTY_RECORD)
    times = {event.occurred_at for event in events if event.occurred_at <= end}
    told: Told = []
    while times:
        now = min(times)
        for event in events:
            if event.occurred_at == now:
                records[event.subject] = fold(records[event.subject], event)
        asked = 0
        while asked < len(records):
            company = sorted(records)[asked]
            judgement = look(company, records[company], inventory, told, now)
            checks = [check for one in judgement.judged for check in one.gate.checks if check.code not in WATCHED]
            times |= {check.until for check in checks if check.until is not None and now < check.until <= end}
            acts = [one for one in judgement.judged if one.decision.act in (Act.SUSPEND, Act.RESTORE, Act.PROPOSE)]
            for one in acts:
                told.append((now, company, one.decision.act.value))
                for event in done(one, company, now):
                    records[company] = fold(records[company], event)
            asked = 0 if acts else asked + 1
        times = {when for when in times if when > now}
    return told


def look(company: str, record: Record, inventory: MemoryInventory, told: Told, now: datetime) -> Judgement:
    cut = sum({"suspend": 1, "restore": -1}.get(act, 0) for _, _, act in told)
    green = parse_body("preflight.done", {"result": "green", "baseline_hours": 9999, "local_matches": 0})
    preflight = Event(id="p", type="preflight.done", subject=company, occurred_at=now, received_at=now, source="probe", body=green)
    (policy,) = inventory.policies.values()
    people = [
        StandingApproval(by=by, role="approver", policy="auto", policy_digest=policy.digest, at=now, expires_at=FAR, fact=by)
        for by in "ab"
    ]
    return judge(
        company_id=company,
        record=fold(record, preflight),
        company=inventory.company(company),
        services=inventory.services,
        policy=policy,
        world=World(
            ceiling=Mode.AUTO,
            feeds={"erp": now},
            standing=tuple(people),
            load=Load(
                ordered=tuple(when for when, _, act in told if act == "suspend" and when > now - timedelta(days=1)),
                companies=inventory.count(),
                prefixes=inventory.count(),
                cut_companies=cut,
                cut_prefixes=cut,
            ),
            clock=ClockState(at=now, synchronised=True, offset_ms=0, stepped=False),
            insolvency_checked_at=now,
        ),
        restore_all=False,
        leases={f"{company}:MED-ZB": now + timedelta(days=1)},
        now=now,
    )


def done(one: Judged, company: str, now: datetime) -> list[Event]:
    case, number = one.case, one.case.orders + 1
    story = Story(company=company)
    services = list(case.notice.services)
    if one.decision.act is Act.PROPOSE:
        story = story.says("case.proposed", now.isoformat(), source="agent", case=case.id, services=services, gate={})
    elif one.decision.act is Act.SUSPEND:
        more = {"services": services, "expires_at": (now + timedelta(days=30)).isoformat()}
        story = story.ordered(now.isoformat(), number, case.notice.id, **more).applied(now.isoformat(), number, case.notice.id)
    else:
        story = story.restored(now.isoformat(), case.orders, case.notice.id, cause=one.decision.cause, final=one.decision.final)
    return [replace(event, id=f"{event.id}@{now}") for event in story.events]


SHIFTS = st.integers(0, 6).map(lambda days: timedelta(days=days, seconds=17))
PAID = st.none() | st.integers(20, 32).map(lambda days: timedelta(days=days, minutes=13))
LIMITS = st.fixed_dictionaries(
    {
        "max_new_per_hour": st.integers(1, 2),
        "max_new_per_day": st.integers(1, 3),
        "canaries": st.integers(1, 3),
        "canary_minutes": st.sampled_from([30, 90]),
        "max_share_of_companies": st.sampled_from([40, 70, 100]),
    }
)


@examples(5)
@given(st.lists(st.tuples(SHIFTS, PAID), min_size=2, max_size=4), LIMITS)
def test_lines_and_short_cuts_tell_what_asking_everybody_all_the_time_tells(
    street_of: list[tuple[timedelta, timedelta | None]], limits: dict[str, int]
) -> None:
    inventory = street(len(street_of), **limits)
    lines = [
        line for number, (shift, paid) in enumerate(street_of) for line in same_story(f"c{number:02}", shift=shift, paid_after=paid)
    ]
    events, end = facts(lines, inventory), at("2026-04-11T00:00+02:00")
    found = simulate(events, inventory, end, approved=True)
    assert sorted((one.at, one.company, one.act) for one in found.moments) == sorted(naive(events, inventory, end))

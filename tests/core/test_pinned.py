"""Two versions of a policy: of each check the worse counts, a gentler one at once, a harsher one never for an open case."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.decide import Act
from agent.event import canonical, load_json
from agent.gate import Check, Gate, Kind, Verdict
from agent.model import Mode, Policy, ServiceClass, Window
from agent.pinned import merge, pin
from tests.core.histories import circumstances, examples, nows, stories
from tests.core.stories import POLICY, SERVICES, ZA, Story, at, judgement_of, no_harder, ripe, suspended

NOW = "2026-03-31 10:00"
LEASE = "2026-03-31 13:00"
OLD = replace(POLICY, digest="b" * 64)


def decided(story: Story, *, now: str = NOW, **world: object) -> tuple[Act, str]:
    found = story.case(now, lease=LEASE if any(one.type == "measure.applied" for one in story.events) else None, **world).decision
    return found.act, found.cause


# --- both must pass ---------------------------------------------------------------------------------------------

HARSHER: dict[str, Policy] = {
    "G-05": replace(OLD, min_debt=Decimal(10000)),
    "G-06": replace(OLD, min_reminders=4),
    "G-07": replace(OLD, notice_channels=("lre_q",)),
    "G-09": replace(OLD, notice_days=30),
    "G-18": replace(OLD, waive_gentler_stages=""),
    "G-02": replace(OLD, enforcement_point="customer"),
}


@pytest.mark.parametrize("code", sorted(HARSHER))
def test_what_either_version_refuses_is_refused_and_ends_a_measure(code: str) -> None:
    strict = HARSHER[code]
    for then, now in ((strict, POLICY), (POLICY, replace(strict, digest="c" * 64))):
        assert decided(ripe().pinned("2026-03-10 09:00", then), policy=now) == (Act.NOTHING, code)
        assert decided(suspended().pinned("2026-03-10 09:00", then), policy=now) == (Act.RESTORE, code)
    assert decided(ripe().pinned("2026-03-10 09:00", OLD)) == (Act.SUSPEND, "")
    assert decided(suspended().pinned("2026-03-10 09:00", OLD)) == (Act.KEEP, "")


def test_a_notice_from_before_policies_were_pinned_is_judged_by_the_current_one_alone() -> None:
    assert decided(ripe()) == (Act.SUSPEND, "")
    assert decided(ripe().pinned("2026-03-10 09:00", HARSHER["G-05"], "N2")) == (Act.SUSPEND, "")


def test_how_far_a_policy_may_go_by_itself_and_who_approved_it_are_those_of_now() -> None:
    watching = replace(OLD, mode=Mode.OBSERVE, id="other")
    assert decided(ripe().pinned("2026-03-10 09:00", watching)) == (Act.SUSPEND, "")


def test_windows_of_both_versions_must_be_open() -> None:
    afternoon = replace(OLD, windows=(Window(days=(1,), start=time(14), end=time(16)),))
    story = ripe().pinned("2026-03-10 09:00", afternoon)
    assert decided(story) == (Act.PROPOSE, "G-20")
    assert decided(story, now="2026-03-31 14:30") == (Act.SUSPEND, "")
    assert decided(story, now="2026-03-31 15:30") == (Act.PROPOSE, "G-20")


def test_values_that_the_pinned_version_did_not_know_are_those_of_now() -> None:
    story = ripe().pinned("2026-03-10 09:00", OLD)
    body = dict(story.events[-1].body)
    body["policy"] = {name: value for name, value in body["policy"].items() if name != "min_debt"} | {"of_the_future": [1]}
    older = replace(story, events=(*story.events[:-1], replace(story.events[-1], body=body)))
    assert decided(older) == (Act.SUSPEND, "")
    assert decided(older, policy=replace(POLICY, min_debt=Decimal(5000))) == (Act.NOTHING, "G-05")


# --- classes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_", sorted(set(ServiceClass) - {ServiceClass.ANNEX}))
def test_a_service_is_suspendable_only_if_it_was_so_then_and_is_so_now(class_: ServiceClass) -> None:
    now = {**SERVICES, "vpn": replace(SERVICES["vpn"], class_=class_)}
    annex_then = suspended().pinned("2026-03-10 09:00", POLICY)
    assert decided(annex_then) == (Act.KEEP, "")
    assert decided(annex_then, services=now) == (Act.RESTORE, "G-16")
    assert decided(suspended().pinned("2026-03-10 09:00", POLICY, vpn=class_.value)) == (Act.RESTORE, "G-16")


def test_a_service_nobody_had_classed_then_is_never_cut_in_that_case() -> None:
    story = ripe().pinned("2026-03-10 09:00", POLICY)
    body = dict(story.events[-1].body)
    body["classes"] = {name: class_ for name, class_ in body["classes"].items() if name != "vpn"}
    unknown = replace(story, events=(*story.events[:-1], replace(story.events[-1], body=body)))
    assert decided(unknown) == (Act.NOTHING, "G-16")


def test_what_is_pinned_is_the_effective_class_of_each_subscription_and_every_value_of_the_policy() -> None:
    narrowed = replace(
        ZA,
        subscriptions=tuple(
            replace(one, class_=ServiceClass.RECOVERY) if one.service == "vpn" else one for one in ZA.subscriptions
        ),
    )
    body = pin("N1", POLICY, narrowed, SERVICES)
    assert body["classes"]["vpn"] == "R"
    assert body["classes"]["reporting"] == "A"
    assert set(body["classes"]) == {one.service for one in ZA.subscriptions}
    assert set(body["policy"]) == set(Policy.__dataclass_fields__)
    event = ripe().says("policy.pinned", NOW, source="agent", **body).events[-1]
    assert load_json(canonical(event))["body"]["policy"] == body["policy"], "what is read back is what was written"
    gone = {name: one for name, one in SERVICES.items() if name != "vpn"}
    assert "vpn" not in pin("N1", POLICY, narrowed, gone)["classes"]


# --- what has to be recorded --------------------------------------------------------------------------------------


def notes(story: Story, **world: object) -> list[tuple[str, str]]:
    return [(note.type, note.id) for note in story.judged(NOW, **world).notes]


def test_a_notice_is_pinned_when_it_is_first_judged_and_once() -> None:
    pinned = [("policy.pinned", "pinned:za:N1")]
    assert notes(ripe()) == pinned
    assert notes(ripe().letter("undeliverable", NOW)) == pinned, "whatever is decided"
    assert notes(ripe().pinned("2026-03-10 09:00", OLD)) == []
    assert notes(ripe().voided(NOW)) == [], "nothing rests on a closed case any more"
    assert notes(ripe(), company=None) == []
    assert notes(ripe(), policy=None) == []
    assert notes(suspended().paid("4800", NOW), lease=LEASE) == [], "a restore waits for nothing"


# --- merging ----------------------------------------------------------------------------------------------------

T1, T2 = at("2026-04-01 10:00"), at("2026-04-02 10:00")
PASS, FAIL, UNKNOWN, LATER = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN, Verdict.LATER


def gate(verdict: Verdict, until: datetime | None, mode: Mode = Mode.AUTO) -> Gate:
    check = Check(code="G-05", kind=Kind.STANDING, verdict=verdict, facts=(), fr="", en=verdict.value, until=until)
    return Gate(case="za:N1", mode=mode, at=at(NOW), owed=Decimal(1), checks=(check,), until=until)


@pytest.mark.parametrize(
    ("one", "other", "verdict", "until"),
    [
        ((PASS, T1), (PASS, T2), PASS, T1),
        ((PASS, None), (PASS, T2), PASS, T2),
        ((PASS, None), (PASS, None), PASS, None),
        ((PASS, T1), (FAIL, T2), FAIL, T2),
        ((PASS, T2), (UNKNOWN, T1), UNKNOWN, T1),
        ((PASS, T1), (FAIL, None), FAIL, None),
        ((FAIL, T1), (FAIL, T2), FAIL, T2),
        ((FAIL, T1), (FAIL, None), FAIL, None),
        ((UNKNOWN, T2), (FAIL, T1), FAIL, T2),
        ((LATER, None), (PASS, T1), LATER, None),
        ((LATER, None), (FAIL, T1), LATER, None),
    ],
)
def test_of_each_check_the_worse_counts_and_it_blocks_until_both_may_let_go(one, other, verdict, until) -> None:
    for first, second in ((one, other), (other, one)):
        (check,) = merge(gate(*first), gate(*second)).checks
        assert (check.verdict, check.until) == (verdict, until)
        assert check.en == verdict.value


def test_the_lower_mode_and_the_earlier_instant_count() -> None:
    merged = merge(gate(PASS, T2, Mode.AUTO), gate(FAIL, T1, Mode.APPROVE))
    assert (merged.mode, merged.until) == (Mode.APPROVE, T1)
    assert merge(gate(PASS, None), gate(PASS, None)).until is None


# --- properties -------------------------------------------------------------------------------------------------


@given(stories(), st.data())
@examples(60)
def test_a_second_version_never_adds_to_a_measure(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    world = data.draw(circumstances(now))
    days, debt = data.draw(st.sampled_from([(8, 100), (15, 500), (25, 5000)]))
    plain = story.without("policy.pinned")
    then = replace(world["policy"], notice_days=days, min_debt=Decimal(debt), digest="b" * 64)
    both = plain
    for notice in ("N1", "N2"):
        both = both.pinned(now - timedelta(days=1), then, notice, vpn=data.draw(st.sampled_from(["A", "A", "D"])))
    assert no_harder(judgement_of(both.record, now, **world), judgement_of(plain.record, now, **world))

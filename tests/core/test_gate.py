"""The gate, check by check: the table of cases (`gate_cases`), that it is whole, and what must hold for all of them."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.decide import Act
from agent.gate import TABLE, Kind, limits_of, mode_in_force
from agent.model import Company, Mode, Protected
from agent.policy import BOUNDS
from tests.core.gate_cases import BOTH, FAIL, LATER, NOW, PASS, ROWS, UNKNOWN, Row, billed, both, lift, policy, za
from tests.core.histories import circumstances, examples, nows, stories
from tests.core.stories import POLICY, ZA, Story, at, company, judgement_of, lines, ripe, site, suspended

BY_CODE = {one.code: one for one in TABLE}


@pytest.mark.parametrize("case", ROWS, ids=[f"{one.code} {one.name}" for one in ROWS])
def test_a_check_says(case: Row) -> None:
    check = case.story.check(case.code, case.now, **case.world)
    assert check.verdict is case.verdict, check.fr
    assert case.says in check.fr, check.fr
    assert check.fr.strip()
    assert check.en.strip()
    assert check.reason("fr") == check.fr
    assert check.reason("en") == check.en
    if case.until:
        assert check.until == at(case.until)
    if case.kind is not None:
        assert check.kind is case.kind


#: Checks whose facts may be missing altogether, and those that no passing of time changes.
DOUBTFUL = {"G-02", "G-10", "G-11", "G-14", "G-15", "G-16", "G-17", "G-19", "G-21", "G-22", "G-26"}
TIMELESS = {"G-02", "G-06", "G-07", "G-08", "G-12", "G-15", "G-25"}


def test_every_check_has_cases_that_pass_and_cases_that_do_not() -> None:
    assert [one.code for one in TABLE] == [f"G-{number:02}" for number in range(1, 28)]
    found = {one.code: {case.verdict for case in ROWS if case.code == one.code} for one in TABLE}
    assert {code for code, verdicts in found.items() if {PASS, FAIL} <= verdicts} == set(found)
    assert {code for code, verdicts in found.items() if UNKNOWN in verdicts} == DOUBTFUL


def test_every_check_that_time_changes_has_a_case_that_says_when() -> None:
    assert {one.code for one in TABLE} - {case.code for case in ROWS if case.until} <= TIMELESS


def test_every_check_that_may_be_overridden_has_a_case_where_it_is_and_one_where_that_is_not_enough() -> None:
    given = {one.code: {case.lifted for case in ROWS if case.code == one.code and overrides_in(case)} for one in TABLE}
    for one in TABLE:
        assert given[one.code] == (set() if one.override == "no" else {True, False}), one.code


def overrides_in(case: Row) -> bool:
    return any(event.type == "override.given" and event.body["check"] == case.code for event in case.story.events)


NEVER = [case for case in ROWS if case.verdict in (FAIL, UNKNOWN) and BY_CODE[case.code].override == "no"]


@pytest.mark.parametrize("case", NEVER, ids=[f"{one.code} {one.name}" for one in NEVER])
def test_nobody_overrides_what_the_table_says_nobody_may(case: Row) -> None:
    story = lift(case.code, "claire", "denis:legal", "emma", story=case.story)
    check = story.check(case.code, case.now, **case.world)
    assert (check.verdict, check.fr, check.lifted_by) == (case.verdict, case.story.check(case.code, case.now, **case.world).fr, ())


def test_an_override_of_a_check_that_passes_changes_nothing() -> None:
    for case in ROWS:
        if case.verdict is PASS and not case.lifted:
            usual = case.story.case(case.now, **case.world).gate
            assert both(case.code, case.story).case(case.now, **case.world).gate == usual, f"{case.code} {case.name}"


def test_an_override_says_who_gave_it_and_why_and_is_in_the_trace() -> None:
    gate = lift("G-26", "claire", story=ripe().without("warning.sent")).case(NOW).gate
    assert gate.overridden == ("G-26",)
    (check,) = [one for one in gate.checks if one.lifted_by]
    assert check.lifted_by == ("claire",)
    assert check.fr.startswith("levé par claire (seen) : ")
    assert check.en.startswith("lifted by claire (seen): ")
    assert [one["lifted_by"] for one in gate.trace()["checks"] if "lifted_by" in one] == [["claire"]]


def test_what_looks_at_the_debt_looks_at_it_with_the_values_of_the_override() -> None:
    """A younger debt that an approver takes is a debt for the sum, the reminders and the services, too."""
    young = billed(due="2026-02-06", lines=lines("4800.00"))
    assert young.case("2026-03-04 10:00").gate.owed == 0
    gate = lift("G-04", "claire", story=young, until="2026-12-31 00:00").case("2026-03-04 10:00").gate
    assert gate.owed == Decimal("4800.00")
    assert gate.overridden == ("G-04",)


def test_a_case_that_passes_by_overrides_alone_is_suspended_and_restored_when_one_ends() -> None:
    small = lift("G-05", "claire", "denis:legal", story=billed(amount="400.00"), until="2026-03-30 12:00").warned(
        "2026-03-24 10:00"
    )
    assert small.case(NOW).decision.act is Act.SUSPEND
    running = small.ordered("2026-03-30 10:00").applied("2026-03-30 10:00")
    assert running.case("2026-03-30 11:59:59", lease="2026-03-30 15:00").decision.act is Act.KEEP
    ended = running.case("2026-03-30 12:00", lease="2026-03-30 15:00").decision
    assert (ended.act, ended.cause) == (Act.RESTORE, "G-05")


def test_every_row_has_a_title_in_both_languages_a_ground_and_a_floor() -> None:
    for row_ in TABLE:
        assert row_.fr
        assert row_.en
        assert row_.fr != row_.en
        assert row_.rule
        assert row_.floor
        assert row_.override


def test_the_kinds_of_the_checks_are_those_of_the_law() -> None:
    kinds = {kind: [row_.code for row_ in TABLE if row_.kind is kind] for kind in Kind}
    assert kinds[Kind.APPLY] == ["G-10", "G-20", "G-23", "G-24", "G-25", "G-26"]
    assert kinds[Kind.HEALTH] == ["G-14", "G-21", "G-22"]
    assert len(kinds[Kind.STANDING]) == 18


def test_reasons_differ_between_the_languages_unless_they_are_only_names() -> None:
    for case in ROWS:
        check = case.story.check(case.code, case.now, **case.world)
        assert check.fr != check.en, f"{case.code}: {check.fr}"


def test_the_facts_of_a_check_are_ids_of_what_was_said() -> None:
    for case in ROWS:
        known = {event.id for event in case.story.events} | {f"standing-{name}" for name in ("claire", "denis")}
        known |= {"probe:0001", "D1", "R1", "R2", "R3", "P-1", "AV-1"}
        assert set(case.story.check(case.code, case.now, **case.world).facts) <= known, case.code


# --- the gate as a whole ------------------------------------------------------------------------------------------


def test_apply_only_checks_are_not_asked_while_a_lasting_one_fails() -> None:
    gate = ripe().case("2026-03-26 10:00").gate
    assert {check.code for check in gate.checks if check.verdict is LATER} == {one.code for one in TABLE if one.kind is Kind.APPLY}
    assert all(check.until is None for check in gate.checks if check.verdict is LATER)
    assert gate.owed == Decimal("4800.00")


PROTECTED = [za(protected=(status,)) for status in Protected]
BARE = company(sites=[site("paris"), replace(site("lyon"), local_applications=())])


@pytest.mark.parametrize(
    ("who", "why"),
    [
        *((one, "statut protégé") for one in PROTECTED),
        (BARE, "site sans application locale déclarée : lyon"),
        (company(sites=[replace(site("lyon"), local_applications=())]), "site sans application locale"),
    ],
)
@pytest.mark.parametrize("asked", Mode)
def test_some_companies_are_never_acted_on_without_a_person(who: Company, why: str, asked: Mode) -> None:
    mode, (fr, _) = mode_in_force(policy(mode=asked), Mode.AUTO, company=who)
    assert mode is min(asked, Mode.APPROVE, key=lambda each: each.rank)
    assert fr.startswith(why)


@pytest.mark.parametrize("profile", ["fr-public", "fr-consumer"])
def test_a_profile_that_refuses_never_acts_by_itself(profile: str) -> None:
    assert mode_in_force(policy(profile=profile), Mode.AUTO, company=ZA)[0] is Mode.APPROVE


def test_a_debt_after_insolvency_is_never_acted_on_without_a_person() -> None:
    case = ripe().insolvent("2026-03-20 10:00", "2026-03-19").case(NOW)
    assert case.gate.mode is Mode.APPROVE
    assert mode_in_force(POLICY, Mode.AUTO, company=ZA, case=case.case) == (
        Mode.APPROVE,
        ("procédure collective", "insolvency proceedings"),
    )


def test_a_company_with_local_applications_everywhere_is_acted_on_as_its_policy_says() -> None:
    assert mode_in_force(POLICY, Mode.AUTO, company=ZA) == (Mode.AUTO, ("", ""))


@pytest.mark.parametrize("asked", Mode)
@pytest.mark.parametrize("ceiling", Mode)
def test_the_mode_in_force_is_the_lower_of_the_policys_and_the_hosts(asked: Mode, ceiling: Mode) -> None:
    assert mode_in_force(policy(mode=asked), ceiling)[0].rank == min(asked.rank, ceiling.rank)


def test_the_trace_of_a_gate_is_plain_json_with_every_check() -> None:
    trace = ripe().case(NOW).gate.trace()
    assert trace["at"] == "2026-03-30T08:00:00.000000Z"
    assert [check["code"] for check in trace["checks"]] == [row_.code for row_ in TABLE]
    assert all(set(check) == {"code", "kind", "verdict", "facts", "fr", "en"} for check in trace["checks"])


def test_paying_or_contesting_a_badly_proven_invoice_never_opens_the_way_for_the_others() -> None:
    weak = BOTH.paid("4400", "2026-03-12 10:00", F1="4400")
    for story in (weak, weak.dispute("2026-03-13 10:00", "F2"), weak.cancelled("F2", "2026-03-13 10:00")):
        assert story.check("G-05", NOW).verdict is FAIL


def test_the_limits_of_a_policy_are_those_of_the_breaker() -> None:
    names = [name for name, bound in BOUNDS.items() if bound.check == "G-24"]
    given = {name: number for number, name in enumerate(names, 3)}
    found = limits_of(replace(POLICY, **given))
    assert [getattr(found, field) for field in found.__slots__] == list(given.values())


@given(stories(), st.data())
@examples(40)
def test_only_what_the_table_allows_is_ever_overridden(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    for one in judgement_of(story.record, now, **data.draw(circumstances(now))).judged:
        assert all(BY_CODE[code].override != "no" for code in one.gate.overridden)
        for check in one.gate.checks:
            persons = {each.by for each in one.case.overrides if each.check == check.code and each.expires_at > now}
            assert set(check.lifted_by) <= persons
            assert len(check.lifted_by) in ((0, 1, 2, 3) if BY_CODE[check.code].override == "1p" else (0, 2, 3))


@given(stories(), st.data())
@examples(30)
def test_a_check_says_until_when_time_alone_leaves_its_verdict(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    world = data.draw(circumstances(now))
    parts = [*data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=1)), 0.999_999]
    judged = judgement_of(story.record, now, **world).judged
    for one in judged:
        asked = [(number, check) for number, check in enumerate(one.gate.checks) if check.verdict is not LATER]
        ends = {c.until if c.until is not None and c.until > now else now + timedelta(days=200) for _, c in asked}
        for end in ends:
            for part in parts:
                later = min(now + (end - now) * part, end - timedelta(microseconds=1))
                again = next(other for other in judgement_of(story.record, later, **world).judged if other.case.id == one.case.id)
                if again.measure.effect.terms.stage != one.measure.effect.terms.stage:
                    continue  # judged at another stage: that it changes is for `next_at` to say
                for number, check in asked:
                    until = check.until if check.until is not None and check.until > now else None
                    if until is None or later < until:
                        found = again.gate.checks[number].verdict
                        assert found in (check.verdict, LATER), f"{check.code} {now} -> {later}, until {check.until}"


def test_a_hold_that_has_ended_does_not_end_another_one_of_the_same_name() -> None:
    ordered = suspended().court("2026-01-05 08:00", id_="1")
    both = ordered.deferred("2026-01-05 08:00", "2026-01-20", id_="1")
    for story in (ordered, both):
        assert story.check("G-13", "2026-03-30 10:00").verdict == "fail"

"""The stages of a measure in the law: where a case begins, what each takes, how it goes up and how it comes down.

Tables first, then walks through time. What the kernel makes of it is in tests/core/test_leases.py and tests/packets.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calendar import in_effect
from agent.case import cases
from agent.decide import Act
from agent.event import parse_body
from agent.gate import Kind
from agent.judge import Judged
from agent.model import PLAIN, Effect, Mode, Policy, Protected, Site, Subscription, Terms, Window
from agent.pinned import effect_both
from agent.policy.kinds import hours
from agent.report import judgement as report
from agent.stages import below, effect_of, first, hours_words, ladder, read_effect, strength, words, write_effect
from tests.core.stories import ANNEX, POLICY, ZA, Story, Walk, at, lines, reminded, ripe, suspended

#: The policies of these tests: gentler measures first, and in each the values that its tests look at.
CAPPED = replace(POLICY, stages=(2, 3), waive_gentler_stages="", stage3_min_debt=Decimal(2000))
NIGHTS = (hours("mon-fri 20:00-07:00"), hours("sat-sun 00:00-24:00"))
NIGHTLY = replace(CAPPED, effective_hours=NIGHTS)
NOTICED = replace(POLICY, stages=(1, 3))
ALL = replace(CAPPED, stages=(2, 3, 4), suspension_clause="general terms, art. 9", stage4_min_debt=Decimal(4000))
HOURLY: Mapping[str, int] = {"feed_max_age_minutes": 1440, "clock_max_age_minutes": 1440, "lease_minutes": 1440}

NOW = "2026-03-30 10:00"
LEASE: Mapping[str, Any] = {"lease": at("2026-03-30 14:00")}


def at_stage(stage: int, story: Story | None = None, **effect: Any) -> Story:
    """The founding case, in force at a stage since Monday 30 March 2026, 09:00."""
    told = {"stage": stage, **effect}
    return ripe(story).ordered("2026-03-30 09:00", **told).applied("2026-03-30 09:00", stage=stage)


def waived(story: Story | None = None) -> Story:
    """The founding case, suspended at stage 3 since Monday 30 March 2026, 09:00; a person said why stage 2 was not tried."""
    return suspended(story).operator("stage.waived", "2026-03-27 10:00", role="approver", case="za:N1", stages=[2])


def second_notice(story: Story, when: str = "2026-04-01 11:00", stage: int | None = 3, **more: Any) -> Story:
    """Another notice for the same invoice, delivered the next day: suspendable from Monday 20 April 2026, 09:00."""
    told = more | ({} if stage is None else {"stage": stage})
    story = story.notice(when, "N2", earliest_on="2026-04-20", **told)
    return story.letter("delivered", "2026-04-02 10:30", "N2").warned("2026-04-14 10:00", "W2", "N2")


LATER = "2026-04-20 10:00"


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "announced", "expected"),
    [
        ((3,), None, (3,)),
        ((3,), 2, ()),
        ((2, 3), None, (2, 3)),
        ((2, 3), 2, (2,)),
        ((2, 3, 4), None, (2, 3)),
        ((1, 2, 3, 4), 4, (1, 2, 3, 4)),
        ((1, 2, 3, 4), 0, ()),
    ],
)
def test_a_notice_covers_the_stages_up_to_the_one_it_announces(
    stages: tuple[int, ...], announced: int | None, expected: Any
) -> None:
    assert ladder(replace(POLICY, stages=stages), announced) == expected


@pytest.mark.parametrize(
    ("stages", "announced", "done", "most", "expected"),
    [
        ((3,), None, (), 4, 3),
        ((3,), 2, (), 4, 3),  # not covered: the gate says so
        ((2, 3), None, (), 4, 2),
        ((2, 3), None, (2,), 4, 3),
        ((2, 3), 2, (2,), 4, 2),
        ((2, 3, 4), 4, (2,), 4, 3),
        ((2, 3, 4), 4, (2, 3), 4, 4),
        ((2, 3, 4), 4, (2, 3), 2, 2),  # stepped down before
        ((1, 3), None, (), 4, 1),
        ((1, 3), None, (1,), 4, 3),
        ((4,), 4, (), 3, 4),
    ],
)
def test_a_case_begins_at_the_gentlest_stage_that_was_neither_tried_nor_waived(
    stages: tuple[int, ...], announced: int | None, done: tuple[int, ...], most: int, expected: int
) -> None:
    assert first(replace(POLICY, stages=stages), announced, done, most) == expected


def test_a_measure_steps_down_to_what_the_policy_uses_and_a_notice_alone_is_no_measure() -> None:
    assert below(replace(POLICY, stages=(1, 2, 3, 4)), 4, 4) == (3, 2)
    assert below(replace(POLICY, stages=(1, 2, 4)), 4, 4) == (2,)
    assert below(replace(POLICY, stages=(1, 3)), 4, 3) == ()
    assert below(POLICY, None, 3) == ()


@pytest.mark.parametrize(
    ("policy", "stage", "effect"),
    [
        (POLICY, 3, PLAIN),
        (replace(POLICY, drain_minutes=10), 3, Effect(terms=Terms(drain_ms=600_000))),
        (replace(CAPPED, drain_minutes=10), 2, Effect(terms=Terms(stage=2, kbit=512))),
        (replace(NIGHTLY, drain_minutes=1), 2, Effect(terms=Terms(stage=2, drain_ms=60_000), hours=NIGHTS)),
        (NIGHTLY, 3, PLAIN),
        (ALL, 4, Effect(terms=Terms(stage=4))),
        (replace(POLICY, drain_minutes=10), 1, Effect(terms=Terms(stage=1))),
    ],
)
def test_each_stage_takes_effect_as_the_policy_says(policy: Policy, stage: Any, effect: Effect) -> None:
    assert effect_of(policy, stage) == effect


WINDOWS = st.builds(
    Window,
    days=st.lists(st.integers(0, 6), min_size=1, unique=True).map(sorted).map(tuple),
    start=st.times().map(lambda one: one.replace(second=0, microsecond=0)),
    end=st.times().map(lambda one: one.replace(second=0, microsecond=0)),
)
EFFECTS = st.builds(
    Effect,
    terms=st.builds(
        Terms,
        stage=st.sampled_from([1, 2, 3, 4]),
        kbit=st.integers(0, 10**6),
        drain_ms=st.integers(0, 60).map(lambda one: one * 60_000),
    ),
    hours=st.lists(WINDOWS, max_size=3).map(tuple),
)


@given(EFFECTS)
def test_an_effect_comes_back_from_the_fields_of_an_event(effect: Effect) -> None:
    body = {
        "order": "o",
        "case": "c",
        "services": [],
        "gate": {},
        "policy_digest": "d",
        "lease_minutes": 1,
        "mode": "auto",
        "expires_at": "2026-04-01T00:00:00Z",
        **write_effect(effect),
    }
    assert read_effect(parse_body("order.suspend", body)) == effect


def test_what_is_not_said_of_an_effect_is_what_there_was_before_there_were_stages() -> None:
    assert read_effect({}) == PLAIN


EVERYTHING = Effect(terms=Terms(stage=4), extent="remote")


def test_measures_are_ordered_from_the_gentlest_to_the_strongest() -> None:
    gentle = [Terms(stage=1), Terms(stage=2, kbit=1024), Terms(stage=2, kbit=512), Terms(stage=2), Terms(stage=3), Terms(stage=4)]
    strengths = [*(strength(Effect(terms=one)) for one in gentle), strength(EVERYTHING)]
    assert strengths == sorted(set(strengths))


@given(
    said=st.lists(st.tuples(st.sampled_from((None, 3, 4)), st.sampled_from((None, "services", "remote"))), min_size=1, max_size=4),
    one_more=st.tuples(st.sampled_from((None, 3, 4)), st.sampled_from((None, "services", "remote"))),
    now=st.sampled_from(("services", "remote")),
    then=st.sampled_from((None, "services", "remote")),
)
def test_everything_remote_takes_every_statement_and_both_policies_and_one_more_word_never_widens_it(
    said: list[tuple[int | None, str | None]], one_more: tuple[int | None, str | None], now: Any, then: Any
) -> None:
    policy = replace(FOUR, stage4_extent=now)

    def extent(words: list[tuple[int | None, str | None]]) -> str:
        story = reminded()
        for number, (stage, far) in enumerate(words):
            announced = {name: value for name, value in (("stage", stage), ("extent", far)) if value is not None}
            story = story.notice(f"2026-03-09 11:{number:02}", **announced)
        story = story.letter("delivered", "2026-03-11 10:30")
        if then is not None:
            story = story.pinned("2026-03-12 10:00", replace(policy, stage4_extent=then, digest="b" * 64))
        return effect_both(story.case(NOW, policy=policy).case, policy, 4).extent

    before = extent(said)
    assert (before == "remote") is (all(far == "remote" for _, far in said) and {now, then} <= {"remote", None})
    if before == "services":
        assert extent([*said, one_more]) == "services"


@pytest.mark.parametrize(
    ("effect", "fr", "en"),
    [
        (Effect(terms=Terms(stage=1)), "rien n'est refusé", "nothing is refused"),
        (effect_of(CAPPED, 2), "débit limité à 512 kbit/s par raccordement et par sens", "capped at 512 kbit/s"),
        (effect_of(NIGHTLY, 2), "de 20:00 à 07:00 le lendemain et du samedi au dimanche toute la journée", "all day, site time"),
        (PLAIN, "palier 3 : services annexes suspendus", "stage 3: annex services suspended"),
        (effect_of(replace(POLICY, drain_minutes=10), 3), "10 min pour finir", "10 min to finish"),
        (Effect(terms=Terms(stage=4)), "services distants étendus suspendus", "extended remote services suspended"),
    ],
)
def test_an_effect_is_said_in_both_languages(effect: Effect, fr: str, en: str) -> None:
    said = words(effect)
    assert fr in said[0]
    assert en in said[1]


def test_hours_of_a_day_and_up_to_midnight_are_said_as_people_say_them() -> None:
    told = (hours("sat 09:00-12:00"), hours("fri 18:00-24:00"))
    assert hours_words(told, "fr") == "le samedi de 09:00 à 12:00 et le vendredi de 18:00 à minuit"
    assert hours_words(told, "en") == "on Saturday from 09:00 to 12:00 and on Friday from 18:00 to midnight"


# --- hours -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "on", "until"),
    [
        ("2026-03-30 19:59:59", False, "2026-03-30 20:00"),
        ("2026-03-30 20:00", True, "2026-03-31 07:00"),
        ("2026-03-31 06:59:59", True, "2026-03-31 07:00"),
        ("2026-03-31 07:00", False, "2026-03-31 20:00"),
        ("2026-04-03 20:00", True, "2026-04-06 00:00"),  # Friday evening to the end of Sunday
        ("2026-04-06 00:00", False, "2026-04-06 20:00"),
        # the night of 29 March: 02:00 to 03:00 is left out, and the night is an hour shorter
        ("2026-03-29 01:59", True, "2026-03-30 00:00"),
        ("2026-03-29T01:00:00Z", True, "2026-03-30 00:00"),
        # the night of 25 October: 02:00 to 03:00 comes twice, and counts as outside both times
        ("2026-10-24 23:00", True, "2026-10-25T00:00:00Z"),
        ("2026-10-25T00:00:00Z", False, "2026-10-25T02:00:00Z"),
        ("2026-10-25T01:30:00Z", False, "2026-10-25T02:00:00Z"),
        ("2026-10-25T02:00:00Z", True, "2026-10-26 00:00"),
    ],
)
def test_hours_switch_by_site_time_and_an_hour_that_comes_twice_is_outside(when: str, on: bool, until: str) -> None:
    def instant(text: str) -> datetime:
        return datetime.fromisoformat(text) if text.endswith("Z") else at(text)

    found = in_effect(instant(when), hours=NIGHTS, timezones=("Europe/Paris",))
    assert (found.on, found.until) == (on, instant(until))


def test_hours_within_one_day_begin_and_end_that_day() -> None:
    morning = (hours("sat 09:00-12:00"),)
    assert [
        in_effect(at(f"2026-04-04 {hour}"), hours=morning, timezones=("Europe/Paris",)).on for hour in ("08:59", "09:00", "12:00")
    ] == [
        False,
        True,
        False,
    ]


def test_where_a_company_has_sites_in_several_zones_only_hours_that_are_so_at_all_of_them_count() -> None:
    zones = ("Europe/Paris", "America/Martinique")  # six hours apart in summer
    assert not in_effect(at("2026-04-01 01:59"), hours=NIGHTS, timezones=zones).on
    assert in_effect(at("2026-04-01 02:00"), hours=NIGHTS, timezones=zones).on
    assert in_effect(at("2026-04-01 02:00"), hours=NIGHTS, timezones=zones).until == at("2026-04-01 07:00")
    assert not in_effect(at("2026-04-01 07:00"), hours=NIGHTS, timezones=zones).on


@given(st.integers(0, 365 * 24 * 60), st.lists(WINDOWS, min_size=1, max_size=3), st.floats(0, 1, exclude_max=True))
def test_nothing_switches_before_the_instant_that_is_given_for_it(minute: int, windows: list[Window], part: float) -> None:
    now = at("2026-01-01 00:00") + timedelta(minutes=minute)
    found = in_effect(now, hours=windows, timezones=("Europe/Paris",))
    assert found.until > now
    later = min(now + (found.until - now) * part, found.until - timedelta(microseconds=1))
    again = in_effect(later, hours=windows, timezones=("Europe/Paris",))
    assert again.on is found.on


# --- where a case begins ---------------------------------------------------------------------------------------------


def began(story: Story, policy: Policy, when: str = NOW, notice: str = "N1", **world: Any) -> Judged:
    return story.case(when, notice, policy=policy, **world)


def test_a_policy_of_before_there_were_stages_goes_on_as_it_did() -> None:
    one = began(ripe(), POLICY)
    assert (one.decision.act, one.measure.effect, one.measure.services) == (Act.SUSPEND, PLAIN, tuple(sorted(ANNEX)))
    assert one.gate.checks[17].fr.startswith("palier 3 ; restent en service")


@pytest.mark.parametrize(
    ("policy", "effect"),
    [
        (CAPPED, Effect(terms=Terms(stage=2, kbit=512))),
        (NIGHTLY, Effect(terms=Terms(stage=2), hours=NIGHTS)),
        (NOTICED, Effect(terms=Terms(stage=1))),
        (ALL, Effect(terms=Terms(stage=2, kbit=512))),
    ],
)
def test_the_gentlest_stage_of_the_policy_comes_first(policy: Policy, effect: Effect) -> None:
    one = began(ripe(), policy)
    assert (one.decision.act, one.measure.effect) == (Act.SUSPEND, effect)
    assert one.decision.measure == one.measure


def test_a_stage_that_a_person_waived_for_one_case_is_left_out() -> None:
    story = ripe().operator("stage.waived", "2026-03-27 10:00", role="approver", case="za:N1", stages=[2])
    one = began(story, CAPPED)
    assert (one.decision.act, one.measure.effect) == (Act.SUSPEND, PLAIN)
    assert "palier 2 écarté : seen (claire)" in one.gate.checks[17].fr


def test_a_notice_of_restricted_service_never_leads_to_a_suspension() -> None:
    restricted = reminded().notice(stage=2).letter("delivered", "2026-03-11 10:30").warned("2026-03-24 10:00")
    assert began(restricted, CAPPED).measure.effect.terms.stage == 2
    assert began(restricted, POLICY).decision.cause == "G-08"
    waived = restricted.operator("stage.waived", "2026-03-27 10:00", role="approver", case="za:N1", stages=[2])
    assert began(waived, CAPPED).measure.effect.terms.stage == 2


def test_a_notice_that_announces_a_stage_there_is_not_announces_nothing() -> None:
    odd = reminded().notice(stage=7).letter("delivered", "2026-03-11 10:30").warned("2026-03-24 10:00")
    assert began(odd, CAPPED).decision.cause == "G-08"


# --- what each stage takes (G-18) ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "passes", "fr"),
    [
        (replace(CAPPED, stage2_min_debt=Decimal(4800)), True, "palier 2 ; restent"),
        (replace(CAPPED, stage2_min_debt=Decimal("4800.01")), False, "palier 2 à partir de 4 800,01 EUR, dû 4 800,00 EUR"),
        (replace(CAPPED, stage2_min_days=58), True, "palier 2 ; restent"),
        (replace(CAPPED, stage2_min_days=59), False, "palier 2 à partir de 59 jours d'impayé, le plus ancien en a 58"),
        (replace(POLICY, stages=(1,), stage2_min_days=300), True, "palier 1 ; restent"),
    ],
)
def test_each_stage_has_its_own_debt_and_age(policy: Policy, passes: bool, fr: str) -> None:
    check = ripe().check("G-18", NOW, policy=policy)
    assert (check.verdict == "pass") is passes
    assert fr in check.fr


def test_two_persons_may_take_a_smaller_and_younger_debt_at_a_stage_but_no_stage_that_the_policy_does_not_use() -> None:
    def lifted(story: Story) -> Story:
        for person in ("claire", "denis"):
            until = "2026-04-20T10:00:00Z"
            story = story.operator(
                "override.given", "2026-03-27 10:00", person, role="approver", case="za:N1", check="G-18", expires_at=until
            )
        return story

    strict = replace(CAPPED, stage2_min_debt=Decimal(9000), stage2_min_days=300)
    assert lifted(ripe()).check("G-18", NOW, policy=strict).verdict == "pass"
    beyond = lifted(at_stage(3)).check("G-18", NOW, policy=replace(POLICY, stages=(1,)), **LEASE)
    assert (beyond.verdict, beyond.fr.partition(" ; au plancher")[0]) == ("fail", "palier 3 non prévu par la politique")


# --- going up --------------------------------------------------------------------------------------------------------


def test_an_escalation_is_a_case_of_its_own_with_its_own_notice_period_and_approvals() -> None:
    story = second_notice(at_stage(2, kbit=512))
    early = story.case("2026-04-17 10:00", "N2", policy=CAPPED, lease=at("2026-04-17 12:00"))
    assert early.decision.cause == "G-09", "its own period still runs"
    ready = story.judged(LATER, policy=CAPPED, lease=at("2026-04-20 12:00"))
    assert [(one.case.notice.id, one.decision.act, one.measure.effect.terms.stage) for one in ready.judged] == [
        ("N1", Act.KEEP, 2),
        ("N2", Act.SUSPEND, 3),
    ]
    assert "palier 2 essayé" in ready.judged[1].gate.checks[17].fr


def test_an_escalation_waits_for_windows_limits_and_persons_like_any_new_suspension() -> None:
    story = second_notice(at_stage(2, kbit=512))
    world = {"policy": replace(CAPPED, mode=Mode.APPROVE), "lease": at("2026-04-20 12:00")}
    assert story.case(LATER, "N2", **world).decision.cause == "G-23"
    approved = story.approved("2026-04-17 10:00", notice="N2")
    assert approved.case(LATER, "N2", **world).decision.act is Act.SUSPEND
    early = world | {"lease": at("2026-04-20 09:00")}
    assert approved.case("2026-04-20 08:00", "N2", **early).gate.blocking(Kind.APPLY)[0].code == "G-20"
    assert approved.case(LATER, "N2", today=5, **world).decision.cause == "G-24"


@pytest.mark.parametrize(
    ("story", "why"),
    [
        (second_notice(at_stage(2, kbit=512), "2026-03-27 11:00"), "the gentler measure was not in force when it was sent"),
        (second_notice(ripe()), "there was no gentler measure"),
        (second_notice(at_stage(2, kbit=512), invoices=["F2"]).invoice("F2", "4800.00"), "it is about other invoices"),
    ],
)
def test_a_gentler_measure_counts_as_tried_only_if_it_was_in_force_before_the_notice_of_the_stronger_one(
    story: Story, why: str
) -> None:
    (found,) = [one for one in cases("za", story.record) if one.notice.id == "N2"]
    assert found.tried == frozenset(), why
    assert story.case(LATER, "N2", policy=CAPPED).measure.effect.terms.stage == 2


def test_what_was_stepped_down_or_restored_does_not_go_up_again_under_the_same_notice() -> None:
    story = suspended().lowered("2026-03-31 10:00").restored("2026-03-31 12:00", cause="lease", final=False)
    waived = story.operator("stage.waived", "2026-03-31 13:00", role="approver", case="za:N1", stages=[2])
    again = waived.case("2026-04-01 10:00", policy=CAPPED)
    assert (again.decision.act, again.measure.effect.terms.stage) == (Act.SUSPEND, 2)


# --- coming down -----------------------------------------------------------------------------------------------------


def replacing_order(story: Story, **order: Any) -> Story:
    return story.without("order.suspend").ordered("2026-03-30 09:00", **order)


def lowered(story: Story, when: str, **world: Any) -> tuple[Act, int, str]:
    one = story.case(when, **{"lease": at(when) + timedelta(hours=2), **world})
    return one.decision.act, one.measure.effect.terms.stage, one.decision.cause


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("2800.00", (Act.KEEP, 3, "")),
        ("2800.01", (Act.LOWER, 2, "G-18")),
        ("4300.00", (Act.LOWER, 2, "G-18")),
        ("4300.01", (Act.RESTORE, 3, "G-05")),
        ("4800.00", (Act.RESTORE, 3, "G-04")),
    ],
)
def test_a_payment_in_part_steps_down_and_one_below_the_material_debt_restores(amount: str, expected: tuple[Act, int, str]) -> None:
    assert lowered(waived().paid(amount, "2026-03-31 10:00"), "2026-03-31 10:00", policy=CAPPED) == expected


def test_without_a_gentler_stage_that_is_lawful_everything_comes_back() -> None:
    paid = waived().paid("3000", "2026-03-31 10:00")
    assert lowered(paid, "2026-03-31 10:00", policy=replace(CAPPED, stages=(3,)))[0] is Act.RESTORE
    assert lowered(paid, "2026-03-31 10:00", policy=replace(CAPPED, stages=(1, 3)))[0] is Act.RESTORE
    assert lowered(paid, "2026-03-31 10:00", policy=replace(CAPPED, stage2_min_debt=Decimal(3000)))[0] is Act.RESTORE
    assert lowered(paid.hold("court", "2026-03-31 09:00"), "2026-03-31 10:00", policy=CAPPED)[0] is Act.RESTORE


@pytest.mark.parametrize(
    "world",
    [
        {"feeds": {"erp": None}},
        {"clock": None},
        {"paused": True},
        {"approvals": ()},
        {"today": 99},
    ],
)
def test_a_step_down_waits_for_nothing_and_nobody(world: Mapping[str, Any]) -> None:
    night = "2026-04-06 03:00"  # Easter Monday
    story = waived().paid("3000", night)
    assert lowered(story, night, **{"policy": CAPPED, **world})[:2] == (Act.LOWER, 2)


def test_a_measure_whose_time_is_over_steps_down_for_as_long_again_and_ninety_days_in_all() -> None:
    long = replace(CAPPED, max_suspension_days=40, **HOURLY)
    order = {"expires_at": at("2026-05-09 09:00").isoformat()}
    story = replacing_order(waived(), **order)
    assert lowered(story, "2026-05-09 08:59", policy=long)[:2] == (Act.KEEP, 3)
    found = story.case("2026-05-09 09:00", policy=long, lease=at("2026-05-09 12:00"))
    assert (found.decision.act, found.decision.cause, found.measure.renewed) == (Act.LOWER, "G-27", True)
    assert found.measure.expires_at == at("2026-06-18 09:00")
    rest = story.lowered("2026-05-09 09:00", renewed=True, expires_at=at("2026-06-18 09:00").isoformat())
    assert lowered(rest, "2026-06-18 08:59", policy=long)[:2] == (Act.KEEP, 2)
    assert lowered(rest, "2026-06-18 09:00", policy=long)[:2] == (Act.RESTORE, 2)
    fifty = replace(long, max_suspension_days=50)
    order = {"expires_at": at("2026-05-19 09:00").isoformat()}
    cut = replacing_order(waived(), **order)
    assert cut.case("2026-05-19 09:00", policy=fifty, lease=at("2026-05-19 12:00")).measure.expires_at == at("2026-06-28 09:00")


def test_a_step_down_for_a_payment_gives_no_more_time() -> None:
    story = waived().paid("3000", "2026-04-10 10:00")
    assert story.case("2026-04-10 10:00", policy=CAPPED, lease=at("2026-04-10 12:00")).measure.expires_at == at("2026-04-29 09:00")
    rest = story.lowered("2026-04-10 10:00")
    assert lowered(rest, "2026-04-29 08:59", policy=CAPPED)[:2] == (Act.KEEP, 2)
    assert lowered(rest, "2026-04-29 09:00", policy=CAPPED)[:2] == (Act.RESTORE, 2)


def test_a_policy_that_no_longer_uses_a_stage_brings_a_measure_down_to_one_that_it_uses() -> None:
    gentle = replace(CAPPED, stages=(2,))
    assert lowered(waived(), NOW, policy=gentle) == (Act.LOWER, 2, "G-18")


@pytest.mark.parametrize("order", [("2026-03-31 10:00", "2026-03-31 11:00"), ("2026-03-31 11:00", "2026-03-31 10:00")])
def test_of_two_steps_down_the_gentlest_stands_whatever_was_said_first(order: tuple[str, str]) -> None:
    story = at_stage(4).lowered(order[0], stage=3).lowered(order[1], stage=2)
    (case,) = cases("za", story.record)
    assert case.order is not None
    assert case.order.effect == Effect(terms=Terms(stage=2, kbit=512))
    assert case.reached == 2


def test_an_order_that_was_never_applied_is_not_stepped_down() -> None:
    story = ripe().ordered("2026-03-30 09:00").paid("3000", NOW)
    assert story.case(NOW, policy=CAPPED).decision.act is Act.RESTORE


# --- two versions of a policy -------------------------------------------------------------------------------------------


def test_how_a_stage_takes_effect_is_the_gentler_of_both_versions_of_a_policy() -> None:
    then = replace(CAPPED, stage2_kbit=1024, drain_minutes=0, digest="b" * 64)
    assert began(ripe().pinned("2026-03-12 10:00", then), CAPPED).measure.effect.terms.kbit == 1024
    assert began(ripe().pinned("2026-03-12 10:00", replace(then, stage2_kbit=300)), CAPPED).measure.effect.terms.kbit == 512
    nights = replace(NIGHTLY, digest="b" * 64)
    assert began(ripe().pinned("2026-03-12 10:00", nights), CAPPED).measure.effect.terms.kbit == 512
    assert began(ripe().pinned("2026-03-12 10:00", then), NIGHTLY).measure.effect == effect_of(then, 2)
    other = replace(NIGHTLY, effective_hours=NIGHTS[:1])
    assert began(ripe().pinned("2026-03-12 10:00", nights), other).measure.effect.hours == NIGHTS
    drained = replace(POLICY, drain_minutes=10, digest="b" * 64)
    assert began(ripe().pinned("2026-03-12 10:00", drained), POLICY).measure.effect.terms.drain_ms == 600_000


def test_a_gentler_policy_counts_at_once_and_a_harsher_one_never_for_a_case_that_is_open() -> None:
    old, new = replace(POLICY, digest="b" * 64), CAPPED
    assert began(ripe().pinned("2026-03-12 10:00", old), new).measure.effect.terms.stage == 2
    gentle = replace(CAPPED, stages=(2,), digest="b" * 64)
    stuck = began(ripe().pinned("2026-03-12 10:00", gentle), POLICY)
    assert (stuck.decision.act, stuck.decision.cause) == (Act.NOTHING, "G-18")


def test_a_policy_pinned_before_there_were_stages_is_one_of_stage_three() -> None:
    story = ripe().pinned("2026-03-12 10:00", replace(POLICY, digest="b" * 64))
    event = story.events[-1]
    values = {name: value for name, value in event.body["policy"].items() if name != "stages" and not name.startswith("stage2")}
    old = replace(story, events=(*story.events[:-1], replace(event, body={**event.body, "policy": values | {"stage": 3}})))
    everything = replace(ALL, waive_gentler_stages="x", stages=(4,), stage4_min_days=30)
    assert began(old, everything).decision.act is not Act.SUSPEND
    assert began(old, POLICY).measure.effect == PLAIN


# --- stage 4 ------------------------------------------------------------------------------------------------------------


X_ZA = replace(ZA, subscriptions=(*ZA.subscriptions, Subscription(service="hosted-mail")))
MAIL = (*ANNEX, "hosted-mail")


def extended(story: Story | None = None, **more: Any) -> Story:
    """Stage 3 was in force; a second notice announces stage 4 with hosted mail, suspendable from Monday 20 April 2026, 09:00."""
    told = lines("4800.00", services=MAIL)
    base = (story or Story()).invoice("F1", "4800.00", lines=told)
    for number, day in enumerate(("2026-02-09", "2026-02-19", "2026-03-02"), 1):
        base = base.reminder(f"R{number}", f"{day} 10:00")
    base = base.notice().letter("delivered", "2026-03-11 10:30").warned("2026-03-24 10:00")
    base = base.ordered("2026-03-30 09:00").applied("2026-03-30 09:00")
    return second_notice(base, stage=4, services=MAIL, **more).approved("2026-04-17 10:00", "claire", notice="N2")


def by_legal(story: Story) -> Story:
    return story.approved("2026-04-17 11:00", "lea", notice="N2", role="legal")


FOUR = replace(ALL, mode=Mode.AUTO, waive_gentler_stages="hours are not offered", stages=(3, 4))
HELD: Mapping[str, Any] = {"policy": FOUR, "company": X_ZA, "lease": at("2026-04-20 12:00")}


def test_stage_four_is_applied_with_a_clause_a_second_notice_and_the_legal_role() -> None:
    one = by_legal(extended()).case(LATER, "N2", **HELD)
    assert (one.decision.act, one.measure.effect.terms.stage) == (Act.SUSPEND, 4)
    assert "hosted-mail" in one.measure.services
    assert one.gate.mode is Mode.APPROVE


BARE_SITE: Site = replace(ZA.sites[0], local_applications=())


@pytest.mark.parametrize(
    ("story", "world", "code", "fr"),
    [
        (extended(), {}, "G-23", "1 validations sur 2 : claire"),
        (extended().approved("2026-04-17 11:00", "denis", notice="N2"), {}, "G-23", "personne du rôle juriste"),
        (by_legal(extended()), {"policy": replace(FOUR, suspension_clause="")}, "G-18", "aucune clause de suspension"),
        (by_legal(extended()), {"company": replace(X_ZA, protected=(Protected.SOLE_REVENUE,))}, "G-15", "statut protégé"),
        (by_legal(extended()), {"company": replace(X_ZA, protected=(Protected.CARE,))}, "G-15", "jamais au palier 4"),
        (by_legal(extended()), {"company": replace(X_ZA, sites=(BARE_SITE,))}, "G-19", "sans application locale"),
        (by_legal(extended().letter("undeliverable", "2026-04-10 10:00")), {}, "G-18", "aucune mise en demeure antérieure"),
        (by_legal(extended()), {"policy": replace(FOUR, stage4_min_debt=Decimal(5000))}, "G-18", "palier 4 à partir de"),
        (by_legal(extended()), {"policy": replace(FOUR, stage4_min_days=90)}, "G-18", "palier 4 à partir de 90 jours"),
    ],
)
def test_stage_four_is_refused_without_any_one_of_what_it_takes(story: Story, world: Mapping[str, Any], code: str, fr: str) -> None:
    one = story.case(LATER, "N2", **{**HELD, **world})
    check = next(each for each in one.gate.checks if each.code == code)
    assert check.verdict in ("fail", "later")
    assert one.decision.act not in (Act.SUSPEND, Act.KEEP)
    assert fr in check.fr or check.verdict == "later"


def test_a_protected_status_that_two_persons_lifted_is_still_in_the_way_of_stage_four() -> None:
    story = by_legal(extended())
    for person in ("claire", "denis"):
        until = "2026-05-20T10:00:00Z"
        story = story.operator(
            "override.given", "2026-04-17 10:00", person, role="approver", case="za:N2", check="G-15", expires_at=until
        )
    care = replace(X_ZA, protected=(Protected.CARE,))
    assert story.case(LATER, "N2", **{**HELD, "company": care}).decision.act is Act.NOTHING


def test_that_annex_services_were_not_suspended_first_is_said_by_a_person_not_by_the_policy() -> None:
    story = by_legal(extended().without("measure.applied", "order.suspend"))
    assert story.case(LATER, "N2", **HELD).measure.effect.terms.stage == 3, "the gentler stage comes first"
    only = {**HELD, "policy": replace(FOUR, stages=(4,))}
    assert story.case(LATER, "N2", **only).decision.cause == "G-18"
    waived = story.operator("stage.waived", "2026-04-17 12:00", "lea", role="legal", case="za:N2", stages=[3])
    assert waived.case(LATER, "N2", **only).decision.act is Act.SUSPEND


def test_extended_services_are_named_at_stage_four_alone_and_come_back_when_it_steps_down() -> None:
    named = reminded().notice(services=MAIL).letter("delivered", "2026-03-11 10:30").warned("2026-03-24 10:00")
    assert named.case(NOW, policy=POLICY, company=X_ZA).decision.cause == "G-16"
    running = by_legal(extended()).ordered("2026-04-20 09:00", notice="N2", services=list(MAIL), stage=4, mode="approve")
    running = running.applied("2026-04-20 09:00", notice="N2", stage=4)
    paid = running.paid("1000", LATER)
    leases = {"leases": {"za:N1": at("2026-04-20 12:00"), "za:N2": at("2026-04-20 12:00")}, "policy": FOUR, "company": X_ZA}
    one = paid.case(LATER, "N2", **leases)
    assert (one.decision.act, one.measure.effect.terms.stage, one.measure.services) == (Act.LOWER, 3, tuple(sorted(ANNEX)))


# --- stage 1 ------------------------------------------------------------------------------------------------------------


def test_notice_only_is_ordered_and_recorded_and_goes_up_by_a_notice_of_its_own() -> None:
    policy = replace(NOTICED, **HOURLY)
    story = second_notice(ripe(), "2026-04-01 11:00")
    walk = Walk(story=story, circumstances={"policy": policy}).through("2026-04-21 00:00")
    done = [(f"{when:%m-%d %H:%M}", what, one.case.notice.id, one.measure.effect.terms.stage) for when, what, one in walk.lines]
    assert [one for one in done if one[1] in ("suspend", "keep")] == [
        ("03-30 07:00", "suspend", "N1", 1),
        ("03-30 07:00", "keep", "N1", 1),
        ("04-20 07:00", "suspend", "N2", 3),
        ("04-20 07:00", "keep", "N2", 3),
    ]


# --- through time -------------------------------------------------------------------------------------------------------


def test_a_whole_life_restricted_then_suspended_then_paid_in_part_then_paid() -> None:
    policy = replace(CAPPED, **HOURLY)
    story = second_notice(ripe()).paid("3000", "2026-04-22 03:00").paid("1800", "2026-04-24 22:00", id_="P2")
    walk = Walk(story=story, circumstances={"policy": policy}).through("2026-05-20 00:00")
    done = [
        (f"{when:%m-%d %H:%M}", what, one.case.notice.id, one.measure.effect.terms.stage)
        for when, what, one in walk.lines
        if what not in ("propose", "keep")
    ]
    assert done == [
        ("03-30 07:00", "suspend", "N1", 2),
        ("04-20 07:00", "suspend", "N2", 3),
        ("04-22 01:00", "lower", "N2", 2),
        ("04-24 20:00", "restore", "N1", 2),
        ("04-24 20:00", "restore", "N2", 2),
    ]


def test_who_pays_nothing_is_restricted_then_suspended_then_restricted_again_and_then_left_alone() -> None:
    policy = replace(NIGHTLY, **HOURLY)
    walk = Walk(story=second_notice(ripe()), circumstances={"policy": policy}).through("2026-08-01 00:00")
    done = [
        (f"{when:%m-%d %H:%M}", what, one.case.notice.id, one.decision.cause)
        for when, what, one in walk.lines
        if what not in ("propose", "keep")
    ]
    assert done == [
        ("03-30 07:00", "suspend", "N1", ""),
        ("04-20 07:00", "suspend", "N2", ""),
        ("04-29 07:00", "restore", "N1", "G-27"),
        ("05-20 07:00", "lower", "N2", "G-27"),
        ("06-19 07:00", "restore", "N2", "G-27"),
    ]


def test_a_measure_restricted_to_hours_asks_for_a_look_at_each_switch() -> None:
    running = at_stage(2, hours=[{"days": [0, 1, 2, 3, 4], "start": "20:00", "end": "07:00"}])
    day = running.judged(NOW, policy=replace(NIGHTLY, **HOURLY), lease=at("2026-03-31 10:00"))
    assert day.judged[0].decision.act is Act.KEEP
    assert day.next_at is not None
    assert day.next_at <= at("2026-03-30 20:00")
    evening = running.judged("2026-03-30 20:00", policy=replace(NIGHTLY, **HOURLY), lease=at("2026-03-31 10:00"))
    assert evening.judged[0].decision.act is Act.KEEP
    assert evening.next_at is not None
    assert evening.next_at <= at("2026-03-31 07:00")


def test_hours_that_go_over_midnight_belong_to_the_day_they_begin_on() -> None:
    night = (Window(days=(0,), start=time(22), end=time(6)),)

    def on(when: str) -> bool:
        return in_effect(at(when), hours=night, timezones=("Europe/Paris",)).on

    # 30 March 2026 is a Monday
    tried = ("29 23:00", "30 05:00", "30 21:59", "30 22:00", "31 05:59", "31 06:00", "31 22:00")
    found = {when: on(f"2026-03-{when}") for when in tried}
    assert [when for when, is_on in found.items() if is_on] == ["30 22:00", "31 05:59"]


def test_hours_within_a_day_end_on_that_day() -> None:
    lunch = (Window(days=(0,), start=time(12), end=time(14)),)
    found = {
        hour: in_effect(at(f"2026-03-30 {hour}"), hours=lunch, timezones=("Europe/Paris",)).on
        for hour in ("11:59", "12:00", "14:00")
    }
    assert found == {"11:59": False, "12:00": True, "14:00": False}
    assert not in_effect(at("2026-03-31 12:30"), hours=lunch, timezones=("Europe/Paris",)).on


# --- told ---------------------------------------------------------------------------------------------------------------


def test_a_report_tells_the_stage_how_it_takes_effect_and_the_way_back_to_full_service() -> None:
    told = report(at_stage(2, kbit=512).judged(NOW, policy=CAPPED, **LEASE), ZA, CAPPED, at(NOW))
    listed = ", ".join(sorted(ANNEX))
    assert told["answer"]["fr"] == f"Zéphyr Atelier : {listed} (palier 2 : débit limité à 512 kbit/s par raccordement et par sens)"
    (case,) = told["cases"]
    assert (case["state"], case["stage"], case["notice"]["stage"]) == ("suspended", 2, None)
    assert case["effect"]["en"] == "stage 2: throughput capped at 512 kbit/s for each attachment and direction"
    assert case["way_back"]["sum"] == "4800.00"


def test_a_report_of_a_step_down_says_from_what_and_to_what() -> None:
    paid = waived().paid("3000", "2026-03-31 10:00").judged("2026-03-31 10:00", policy=CAPPED, lease=at("2026-03-31 12:00"))
    told = report(paid, ZA, CAPPED, at("2026-03-31 10:00"))
    (case,) = told["cases"]
    assert (case["state"], case["stage"]) == ("lowering", 2)
    assert case["reason"]["fr"].startswith("G-18 : palier 3 à partir de 2 000,00 EUR, dû 1 800,00 EUR ; ramené au palier 2")


def test_paying_the_stronger_stage_away_is_not_the_way_back_to_full_service() -> None:
    told = report(waived().judged(NOW, policy=CAPPED, **LEASE), ZA, CAPPED, at(NOW))
    assert told["cases"][0]["way_back"]["sum"] == "4800.00"

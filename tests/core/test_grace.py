"""A transfer that was announced: some days, once, and persons afterwards."""

from dataclasses import replace

import pytest

from agent.calendar import working_day_after
from agent.decide import Act
from agent.grace import grace
from agent.model import Mode
from tests.core.stories import APPROVE, PARIS, POLICY, ZA, Story, Walk, at, judgement_of, ripe, site, suspended

SOON = "2026-03-31 10:00"
LEASE = {"lease": "2026-03-31 13:00"}
SELDOM = replace(POLICY, feed_max_age_minutes=1440, clock_max_age_minutes=1440, lease_minutes=1440)


def until(story: Story, now: str, *zones: str, policy=POLICY) -> str | None:
    found = grace(story.case(now).case, policy, zones or (PARIS,), at(now)).until
    return found.isoformat() if found else None


# --- how long ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("announced", "ends"),
    [
        ("2026-03-16 10:00", "2026-03-24 00:00"),  # Monday: Tuesday to Friday, Monday
        ("2026-03-20 10:00", "2026-03-28 00:00"),  # Friday: the week after
        ("2026-03-21 10:00", "2026-03-28 00:00"),  # Saturday: likewise
        ("2026-03-31 10:00", "2026-04-09 00:00"),  # Easter Monday is no working day
        ("2026-04-30 23:59", "2026-05-12 00:00"),  # nor are 1 and 8 May
    ],
)
def test_five_working_days_are_counted_from_the_day_after(announced: str, ends: str) -> None:
    story = ripe().announced(announced)
    assert until(story, announced) == at(ends).isoformat()
    assert until(story, ends) is None


def test_a_working_day_after_a_day() -> None:
    days = [working_day_after(at("2026-04-02 10:00").date(), n, "FR").isoformat() for n in (0, 1, 2)]
    assert days == ["2026-04-02", "2026-04-03", "2026-04-07"]
    assert working_day_after(at("2026-04-03 10:00").date(), 1, "none").isoformat() == "2026-04-06"


def test_the_days_must_be_over_at_every_site_and_begin_where_it_is_latest() -> None:
    story = ripe().announced("2026-03-16 23:30")
    assert until(story, "2026-03-17 10:00", PARIS) == at("2026-03-24 00:00").isoformat()
    assert until(story, "2026-03-17 10:00", PARIS, "America/Martinique") == at("2026-03-24 05:00").isoformat()
    assert until(story, "2026-03-17 10:00", "Indian/Reunion", PARIS) == at("2026-03-25 00:00").isoformat()


def test_a_policy_may_wait_for_money_alone() -> None:
    story = ripe().announced("2026-03-30 10:00")
    silent = replace(POLICY, grace_on_announced=False)
    assert until(story, SOON, policy=silent) is None
    assert story.case(SOON, policy=silent).decision.act is Act.SUSPEND


def test_an_announcement_dated_in_the_future_counts_when_its_time_has_come_and_a_look_is_asked_for_then() -> None:
    story = suspended().announced("2026-03-31 10:05")
    judgement = story.judged(SOON, **LEASE)
    assert judgement.judged[0].decision.act is Act.KEEP
    assert judgement.next_at == at("2026-03-31 10:05")
    assert story.case("2026-03-31 10:05", **LEASE).decision.cause == "announced"


# --- before the measure -------------------------------------------------------------------------------------------


def test_before_the_measure_it_only_delays_and_what_was_approved_stays_approved() -> None:
    story = ripe().approved("2026-03-27 10:00").announced("2026-03-30 08:00")
    waits = story.case(SOON, policy=APPROVE)
    assert (waits.decision.act, waits.decision.cause) == (Act.NOTHING, "announced")
    assert waits.decision.next_at == at("2026-04-08 00:00")
    assert waits.decision.fr != waits.decision.en
    assert story.case("2026-04-08 10:00", policy=APPROVE).decision.act is Act.SUSPEND


def test_the_delay_is_noted_when_it_keeps_a_ripe_case_waiting_and_only_then() -> None:
    def noted(story: Story, when: str, **world: object) -> list[str]:
        return [note.id for note in story.judged(when, **world).notes if note.type == "case.delayed"]

    story = ripe().announced("2026-03-30 08:00")
    assert noted(story, SOON) == ["delayed:za:N1"]
    assert noted(ripe().announced("2026-03-20 10:00"), "2026-03-20 10:00") == [], "the period still runs"
    assert noted(suspended().announced(SOON), SOON, **LEASE) == [], "the restore is recorded for that"
    (note,) = [note for note in story.judged(SOON).notes if note.type == "case.delayed"]
    assert note.body == {"case": "za:N1", "until": "2026-04-07T22:00:00.000000Z"}
    assert noted(story.says(note.type, SOON, source="agent", **note.body), "2026-03-31 11:00") == []


def test_a_second_announcement_does_not_delay_again() -> None:
    story = ripe().announced("2026-03-30 08:00").announced("2026-04-07 10:00", id_="P2")
    walk = Walk(story=story, circumstances={"policy": SELDOM}).through("2026-04-09 00:00")
    assert [(when.isoformat(), what) for when, what, _ in walk.lines if what != "keep"] == [
        ("2026-03-26T23:00:00+00:00", "propose"),
        ("2026-04-08T07:00:00+00:00", "suspend"),
    ]


def test_what_is_learnt_late_about_announcements_never_shortens_the_wait() -> None:
    one = ripe().announced("2026-03-30 08:00")
    two = one.announced("2026-03-12 08:00", id_="P2")
    assert until(two, SOON) == until(one, SOON) == at("2026-04-08 00:00").isoformat()
    overlapping = one.announced("2026-03-26 08:00", id_="P2").announced("2026-03-27 08:00", id_="P3")
    assert until(overlapping, SOON) == until(one, SOON)


# --- while suspended ----------------------------------------------------------------------------------------------


def test_a_suspended_case_is_restored_once_and_comes_back_by_a_new_approval_alone() -> None:
    walk = Walk(story=suspended().announced(SOON), circumstances={"policy": SELDOM}).through("2026-04-13 00:00")
    restored = [(what, one.decision.cause, one.decision.final) for _, what, one in walk.lines if what == "restore"]
    assert restored == [("restore", "announced", False)]
    assert walk.lines[-1][1] == "propose", "a standing approval does not take it up again"

    def later(story: Story) -> Act:
        return judgement_of(story.record, at("2026-04-13 10:00"), policy=SELDOM).judged[0].decision.act

    assert later(walk.story) is Act.NOTHING
    assert later(walk.story.approved("2026-03-30 08:00")) is Act.NOTHING, "not what was approved before"
    assert later(walk.story.approved("2026-04-10 10:00")) is Act.SUSPEND


def test_a_second_announcement_does_not_restore_again() -> None:
    story = suspended().announced(SOON).restored("2026-03-31 10:00:01", cause="announced", final=False)
    story = story.approved("2026-04-09 10:00").ordered("2026-04-09 10:00", 2, mode="approve").applied("2026-04-09 10:00", 2)
    again = story.announced("2026-04-10 10:00", id_="P2").case("2026-04-10 10:00", lease="2026-04-10 12:00")
    assert again.decision.act is Act.KEEP
    assert again.gate.mode is Mode.APPROVE


def test_another_notice_has_a_delay_of_its_own() -> None:
    story = suspended().announced(SOON).restored("2026-03-31 10:00:01", cause="announced", final=False)
    story = story.notice("2026-04-13 10:00", "N2").announced("2026-04-20 10:00", id_="P2")
    assert grace(story.case("2026-04-20 10:00", "N2").case, POLICY, (PARIS,), at("2026-04-20 10:00")).until is not None


def test_an_announcement_for_other_invoices_is_none_for_this_case() -> None:
    assert suspended().announced(SOON, "F9").case(SOON, **LEASE).decision.act is Act.KEEP


def test_sites_far_apart_wait_for_the_last_of_them() -> None:
    far = replace(ZA, sites=(site("paris"), site("fort-de-france", zone="America/Martinique", prefix="10.20.20.0/24")))
    story = ripe().announced("2026-03-30 08:00")
    assert story.case(SOON, company=far).decision.next_at == at("2026-04-08 06:00")
    assert story.case("2026-03-31 10:00", company=replace(far, sites=())).decision.act is Act.NOTHING

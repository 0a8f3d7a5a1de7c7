"""Why a case ends, in the words of the trade."""

from dataclasses import replace
from decimal import Decimal

import pytest

from agent.closing import REASONS, words
from agent.decide import Act
from tests.core.stories import POLICY, ZA, Story, ripe, suspended

NOW = "2026-03-31 10:00"
TWO = (
    Story()
    .invoice("F2", "900.00")
    .reminder("R1", "2026-02-09 09:00", "F1", "F2")
    .reminder("R2", "2026-02-19 09:00", "F1", "F2")
    .reminder("R3", "2026-03-02 09:00", "F1", "F2")
)


def both() -> Story:
    """Suspended for two invoices: 4 800 EUR and 900 EUR."""
    story = TWO.invoice().notice(invoices=["F1", "F2"]).letter("delivered", "2026-03-11 10:30").warned("2026-03-24 10:00")
    return story.ordered("2026-03-30 09:00").applied("2026-03-30 09:00")


ENDS = [
    (suspended().paid("4800", NOW), "G-04", "paid"),
    (suspended().paid("4500", NOW), "G-05", "partially_paid_below_threshold"),
    (both().paid("4800", NOW, F1="4800").paid("500", NOW, id_="P2", F2="500"), "G-05", "partially_paid_below_threshold"),
    (suspended().cancelled("F1", NOW), "G-04", "written_off"),
    (suspended().dispute(NOW, "F1"), "G-04", "disputed"),
    (suspended().dispute(NOW), "G-12", "disputed"),
    (suspended().dispute("2026-03-30 10:00", "F1").settled(NOW, "upheld"), "G-04", "dispute_upheld"),
    (both().paid("900", NOW, F2="900").dispute(NOW, "F1"), "G-04", "disputed"),
    (suspended().insolvent(NOW, "2026-03-30"), "G-04", "insolvency"),
    (suspended().insolvent(NOW, "2026-01-01"), "G-13", "insolvency"),
    (suspended().court(NOW), "G-13", "court"),
    (suspended().deferred(NOW, "2026-12-31"), "G-13", "court"),
    (suspended().hold("error_review", NOW), "G-13", "error"),
    (suspended().endangered(NOW), "G-13", "held"),
    (suspended().switching(NOW), "G-13", "held"),
    (suspended().hold("manual", NOW), "G-13", "held"),
    (suspended().plan("agreed", NOW, "F1"), "plan_agreed", "plan_agreed"),
    (suspended().replaced(NOW), "superseded", "superseded"),
    (suspended().voided(NOW), "error", "error"),
    (suspended().by_hand(NOW), "operator", "operator"),
    (suspended().letter("undeliverable", NOW), "G-07", "defect"),
    (suspended().says("local.regressed", NOW, regression="L1", application="erp"), "G-19", "defect"),
    (suspended().invoice(currency="USD", when=NOW), "G-03", "defect"),
]


@pytest.mark.parametrize(
    ("story", "cause", "reason"), ENDS, ids=[f"{cause}-{reason}-{n}" for n, (_, cause, reason) in enumerate(ENDS)]
)
def test_a_final_restore_says_why_the_case_ends(story: Story, cause: str, reason: str) -> None:
    decided = story.case(NOW, lease="2026-03-31 12:00").decision
    assert (decided.act, decided.final) == (Act.RESTORE, True)
    assert (decided.cause, decided.reason) == (cause, reason)
    ended = story.restored(NOW, cause=decided.cause, reason=decided.reason)
    after = ended.case("2026-04-01 10:00")
    assert (after.case.closed, after.decision.act, after.decision.reason) == (reason, Act.NOTHING, reason)


def test_the_customer_who_left_and_the_measure_that_lasted_its_time_are_told_apart_from_defects() -> None:
    gone = suspended().case(NOW, company=None, policy=None, lease="2026-03-31 12:00").decision
    assert (gone.cause, gone.reason) == ("G-01", "terminated")
    long = suspended().case("2026-04-29 09:00", lease="2026-04-29 12:00").decision
    assert (long.cause, long.reason) == ("G-27", "expired")


def test_what_is_still_owed_and_untouched_is_not_called_paid_in_part() -> None:
    policy = replace(POLICY, min_debt=Decimal(1000))
    written_off = both().cancelled("F1", NOW).case(NOW, policy=policy, lease="2026-03-31 12:00").decision
    assert (written_off.cause, written_off.reason) == ("G-05", "written_off")
    one_upheld = both().dispute("2026-03-30 10:00", "F1").settled(NOW, "upheld")
    assert one_upheld.case(NOW, policy=policy, lease="2026-03-31 12:00").decision.reason == "dispute_upheld"


def test_a_restore_that_is_not_final_gives_its_cause_as_the_reason() -> None:
    for world, cause in (({"paused": True, "restore_all": True}, "paused"), ({"lease": NOW}, "lease")):
        decided = suspended().case(NOW, **world).decision
        assert (decided.cause, decided.reason, decided.final) == (cause, cause, False)


def test_every_reason_has_words_in_both_languages_and_is_the_end_of_some_case() -> None:
    for fr, en in REASONS.values():
        assert fr
        assert en
    assert {reason for _, _, reason in ENDS} | {"terminated", "expired"} == set(REASONS)
    assert words("paid") == ("payé", "paid")
    assert words("G-05") == ("G-05", "G-05"), "a cause of former times stays as it is"


def test_a_case_that_only_waits_is_not_closed_by_what_holds_it() -> None:
    assert ripe().hold("manual", NOW).case(NOW).decision.reason == ""
    assert ripe().hold("manual", NOW).case(NOW, company=ZA).case.closed == ""

"""The transitions of a case, T-01 to T-20 of the state machine: each has its test here, in its order.

States are not stored: they are what the facts and the decision say at an instant. `state` names them as the trade does.
"""

import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from agent.decide import POLL, Act
from agent.gate import Kind
from agent.judge import Judged
from agent.model import Mode
from tests.core.stories import APPROVE, KEPT, POLICY, Story, at, reminded, ripe, suspended

#: A moment inside the window, with everything ripe, and a lease that still runs then.
NOW = "2026-03-31 10:00"
LEASE = {"lease": "2026-03-31 13:00"}


def state(one: Judged) -> str:
    """The state of a case as the state machine names it."""
    case, decision = one.case, one.decision
    if case.order is not None:
        if decision.act is Act.RESTORE:
            return "RESTORING"
        return "SUSPENDED" if case.order.applied_at is not None else "APPLYING"
    if case.closed:
        return f"CLOSED({case.closed})"
    if decision.act is Act.SUSPEND:
        return "ARMED"
    if one.gate.blocking(Kind.STANDING, Kind.HEALTH):
        return "NONE"
    approvals = next(check for check in one.gate.checks if check.code == "G-23")
    return "APPROVED" if approvals.verdict == "pass" else "PROPOSED"


def failed(one: Judged) -> list[str]:
    return [check.code for check in one.gate.blocking(Kind.STANDING, Kind.HEALTH)]


def test_t01_an_invoice_past_its_due_date_is_overdue_and_nothing_else_happens() -> None:
    story = Story().invoice().notice().letter("delivered", "2026-03-11 10:30")
    before = story.case("2026-02-01 10:00")
    assert before.debt.invoices["F1"].remaining == Decimal(4800)
    assert "G-04" in failed(before)
    after = story.case("2026-03-31 10:00")
    assert "G-04" not in failed(after)
    assert (state(after), after.decision.act) == ("NONE", Act.NOTHING)


def test_t02_reminders_after_the_due_date_and_far_enough_apart_count() -> None:
    story = Story().invoice()
    for number, day in enumerate(("2026-01-31", "2026-02-09", "2026-02-12", "2026-02-19"), 1):
        story = story.reminder(f"R{number}", f"{day} 10:00")
    check = story.notice(reminders=["R1", "R2", "R3", "R4"]).check("G-06", NOW)
    assert check.verdict == "fail"
    assert check.facts == ("R2", "R4"), "not on the due date, not three days after another"
    assert ripe().check("G-06", NOW).verdict == "pass"


def test_t03_a_notice_is_sent_after_the_reminders_it_recalls() -> None:
    sent = reminded().notice()
    assert sent.case(NOW).case.notice.dispatched_at == at("2026-03-09 11:00")
    early = reminded().notice("2026-02-25 11:00").letter("delivered", "2026-02-27 10:00")
    assert early.check("G-11", NOW).verdict == "fail"
    assert "R3" in early.check("G-11", NOW).en


def test_t04_a_notice_takes_effect_when_it_is_delivered_refused_or_not_claimed() -> None:
    sent = reminded().notice()
    assert sent.case(NOW).case.notice.effective_at is None
    assert sent.letter("delivered", "2026-03-11 10:30").case(NOW).case.notice.effective_by == "delivered"
    assert sent.letter("refused", "2026-03-11 10:30").case(NOW).case.notice.effective_by == "refused"
    unclaimed = sent.letter("presented", "2026-03-11 10:30").letter("unclaimed", "2026-03-27 10:30")
    assert unclaimed.case(NOW).case.notice.effective_at == at("2026-03-11 10:30")


def test_t05_a_letter_that_comes_back_leaves_the_notice_without_effect() -> None:
    lost = ripe().letter("undeliverable", "2026-03-13 10:00").case(NOW)
    assert lost.case.notice.effective_at is None
    assert state(lost) == "NONE"
    assert "G-07" in failed(lost)


def test_t06_the_period_ends_at_midnight_of_its_last_legal_day() -> None:
    assert failed(ripe().case("2026-03-26 23:59:59")) == ["G-09", "G-11"]
    assert failed(ripe().case("2026-03-27 00:00")) == []
    sunday = reminded().notice(earliest_on="2026-03-20").letter("delivered", "2026-03-14 10:30").warned("2026-03-24 10:00")
    assert failed(sunday.case("2026-03-30 23:59")) == ["G-09", "G-11"], "the 29th is a Sunday"
    assert failed(sunday.case("2026-03-31 00:00")) == []


def test_t07_a_case_is_proposed_when_the_lasting_checks_pass() -> None:
    case = ripe().case("2026-03-27 00:00", policy=APPROVE)
    assert (state(case), case.decision.act) == ("PROPOSED", Act.PROPOSE)
    assert len(case.gate.trace()["checks"]) == 27, "with the whole trace"
    again = ripe().proposed("2026-03-27 00:00").case("2026-03-27 10:00", policy=APPROVE)
    assert again.decision.act is Act.NOTHING, "once"


def test_t08_two_different_persons_approve() -> None:
    story = ripe().proposed("2026-03-27 00:00")
    now = "2026-03-27 10:30"
    one = story.approved("2026-03-27 10:00", "claire").approved("2026-03-27 10:01", "claire")
    assert state(one.case(now, policy=APPROVE)) == "PROPOSED"
    assert state(one.approved("2026-03-27 10:02", "denis").case(now, policy=APPROVE)) == "APPROVED"


def test_t09_an_approved_case_waits_for_its_window() -> None:
    story = ripe().proposed("2026-03-27 00:00").approved("2026-03-27 10:00")
    waiting = story.case("2026-03-30 08:59:50", policy=APPROVE)
    assert (state(waiting), waiting.decision.cause) == ("APPROVED", "G-20")
    assert waiting.decision.next_at == at("2026-03-30 09:00")
    armed = story.case("2026-03-30 09:00", policy=APPROVE)
    assert (state(armed), armed.decision.act) == ("ARMED", Act.SUSPEND)
    assert armed.decision.lease_until == at("2026-03-30 09:00") + timedelta(minutes=POLICY.lease_minutes)


def test_t10_everything_is_asked_again_right_before_it_is_applied() -> None:
    ordered = ripe().proposed("2026-03-27 00:00").ordered("2026-03-31 09:59")
    assert state(ordered.case(NOW)) == "APPLYING"
    for story, world in (
        (ordered.paid("4800", NOW), {}),
        (ordered, {"clock": None}),
        (ordered, {"feeds": {"erp": None}}),
        (ordered, {"approvals": ()}),
        (ordered.probed("2026-03-31 09:59:30", "red"), {}),
    ):
        assert state(story.case(NOW, **world)) == "RESTORING"
    assert state(ordered.case("2026-03-31 15:00")) == "RESTORING", "the window has shut"


def test_t11_a_case_is_suspended_once_the_measure_was_read_back_and_only_for_what_was_announced() -> None:
    case = suspended().case(NOW, **LEASE)
    assert (state(case), case.decision.act) == ("SUSPENDED", Act.KEEP)
    assert case.case.in_force_since == at("2026-03-30 09:00")
    wider = ripe().ordered("2026-03-30 09:00", services=["reporting", "vpn", "hosted-mail"]).applied("2026-03-30 09:00")
    assert state(wider.case(NOW, **LEASE)) == "RESTORING"


def test_t12_what_could_not_be_applied_in_time_is_taken_back_and_approved_anew() -> None:
    ordered = ripe().approved("2026-03-27 10:00").ordered("2026-03-31 09:59", mode="approve")
    late = ordered.case("2026-03-31 15:00", policy=APPROVE)
    assert (late.decision.act, late.decision.cause, late.decision.final) == (Act.RESTORE, "G-20", False)
    back = ordered.restored("2026-03-31 15:00", cause="G-20", final=False).case("2026-04-01 10:00", policy=APPROVE)
    assert (state(back), back.case.approvals) == ("PROPOSED", ())
    regressed = suspended().says("local.regressed", NOW, regression="L1", application="erp").case(NOW, **LEASE)
    assert (state(regressed), regressed.decision.cause) == ("RESTORING", "G-19")


def test_t13_a_measure_never_grows_by_itself() -> None:
    more = suspended().invoice("F2", "90000.00").notice(id_="N2", invoices=["F2"], services=["hosted-mail"])
    running = more.case(NOW, **LEASE)
    assert running.case.order is not None
    assert set(running.case.order.services) == {"reporting", "shared-documents", "vpn"}
    assert state(more.case(NOW, "N2", **LEASE)) == "NONE", "another stage has its own notice, period and approvals"
    announced = ripe(Story()).notice("2026-03-10 11:00", stage=2).case(NOW)
    assert "G-08" in failed(announced), "what announces less is no ground for more"


def test_t14_a_smaller_debt_steps_down_which_here_is_back_to_full_service() -> None:
    above = suspended().paid("4000", NOW).case(NOW, **LEASE)
    assert (state(above), above.gate.owed) == ("SUSPENDED", Decimal(800))
    below = suspended().paid("4400", NOW).case(NOW, **LEASE)
    assert (state(below), below.decision.reason) == ("RESTORING", "partially_paid_below_threshold")
    proportion = suspended().paid("3000", NOW).case(NOW, policy=replace(POLICY, stage3_min_debt=Decimal(2000)), **LEASE)
    assert (state(proportion), proportion.decision.cause) == ("RESTORING", "G-18")
    longest = suspended().case("2026-04-29 09:00", lease="2026-04-29 12:00")
    assert (state(longest), longest.decision.reason) == ("RESTORING", "expired")


def test_t15_restoring_asks_for_nothing() -> None:
    night = "2026-04-06 03:00"  # Easter Monday
    closed = {"policy": replace(POLICY, windows=()), "approvals": (), "today": 99, "paused": True, "clock": None, "register": None}
    lease = {"lease": "2026-04-06 06:00"}
    running = suspended()
    for story in (
        running.paid("4800", night),
        running.hold("court", night),
        running.court(night),
        running.insolvent(night, "2026-04-05"),
        running.deferred(night, "2026-12-31"),
        running.plan("agreed", night, "F1"),
        running.switching(night, "vpn"),
        running.endangered(night),
        running.replaced(night),
        running.voided(night),
        running.by_hand(night),
        running.announced(night),
    ):
        found = story.case(night, **closed, **lease)
        assert state(found) == "RESTORING", story.events[-1].type
        assert found.decision.fr != found.decision.en
    assert state(running.case(night, **closed, lease=night)) == "RESTORING", "the lease ran out"
    assert state(running.case(night, restore_all=True, **closed, **lease)) == "RESTORING", "a person stopped everything"


def test_t16_a_case_is_restored_when_that_was_read_back() -> None:
    paid = suspended().paid("4800", NOW)
    assert state(paid.case(NOW, **LEASE)) == "RESTORING"
    assert paid.restored(NOW, cause="G-04", reason="paid").case(NOW).case.order is None


def test_t17_a_restore_is_asked_for_again_until_it_was_read_back() -> None:
    paid = suspended().paid("4800", NOW)
    for minutes in (0, 1, 60, 60 * 24 * 30):
        now = at(NOW) + timedelta(minutes=minutes)
        one = paid.case(now, **LEASE)
        assert one.decision.act is Act.RESTORE
        assert one.decision.next_at is not None
        assert now < one.decision.next_at <= now + POLL


def test_t18_a_restored_case_is_closed_with_its_reason_for_good() -> None:
    closed = suspended().paid("4800", NOW).restored(NOW, cause="G-04", reason="paid").approved("2026-04-01 10:00")
    one = closed.case("2026-04-01 11:00")
    assert (state(one), one.decision.act, one.decision.next_at) == ("CLOSED(paid)", Act.NOTHING, None)


def test_t19_whatever_restores_or_holds_cancels_what_was_under_way() -> None:
    for start in (
        ripe().proposed("2026-03-27 00:00"),
        ripe().proposed("2026-03-27 00:00").approved("2026-03-27 10:00"),
        ripe().proposed("2026-03-27 00:00").approved("2026-03-27 10:00").ordered("2026-03-31 09:59"),
    ):
        assert start.case(NOW).decision.act in (Act.SUSPEND, Act.KEEP)
        for story in (
            start.paid("4800", NOW),
            start.hold("legal_review", NOW),
            start.dispute(NOW),
            start.court(NOW),
            start.replaced(NOW),
            start.by_hand(NOW),
            start.announced("2026-03-31 09:59:30"),
        ):
            assert story.case(NOW).decision.act in (Act.NOTHING, Act.RESTORE), story.events[-1].type
    closed = ripe().proposed("2026-03-27 00:00").plan("agreed", NOW, "F1").case(NOW)
    assert state(closed) == "CLOSED(plan_agreed)"


def test_t20_money_that_comes_back_reopens_the_matter_by_a_new_notice_alone() -> None:
    states = ["sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore", "reopen"]
    story = reminded().notice(states=states, kept=KEPT).letter("delivered", "2026-03-11 10:30").warned("2026-03-24 10:00")
    story = story.ordered("2026-03-30 09:00").applied("2026-03-30 09:00").paid("4800", "2026-03-31 10:00")
    story = story.restored("2026-03-31 10:00", cause="G-04", reason="paid").returned("2026-04-20 10:00")
    alone = story.case("2026-05-20 10:00")
    assert (state(alone), alone.decision.act) == ("CLOSED(paid)", Act.NOTHING), "never an automatic re-cut"

    fresh = story.notice("2026-04-21 10:00", "N2", reminders=[], earliest_on="2026-04-30")
    fresh = fresh.letter("delivered", "2026-04-22 10:00", "N2").warned("2026-04-28 10:00", "W2", "N2")
    linked = fresh.case("2026-05-04 10:00", "N2")
    assert linked.case.reopens == "za:N1"
    assert failed(linked) == [], "eight days, and the reminders of the first case"
    assert (linked.gate.mode, state(linked)) == (Mode.APPROVE, "PROPOSED"), "persons decide, whatever the policy lets itself do"
    assert "G-09" in failed(fresh.case("2026-04-30 10:00", "N2"))
    for day in range(4, 29):
        acts = {one.decision.act for one in fresh.judged(f"2026-05-{day:02} 10:00").judged}
        assert acts <= {Act.NOTHING, Act.PROPOSE}, day
    assert fresh.approved("2026-05-04 09:30", notice="N2").case("2026-05-04 10:00", "N2").decision.act is Act.SUSPEND


def test_every_transition_has_its_test() -> None:
    names = [name.split("_")[1] for name in vars(sys.modules[__name__]) if name.startswith("test_t") and name[6:8].isdigit()]
    assert names == [f"t{number:02}" for number in range(1, 21)]

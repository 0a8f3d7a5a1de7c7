"""Facts -> record -> cases: one statement once, and where statements differ the customer has the benefit."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.case import EMPTY_RECORD, Case, case_id, cases, favourable, fold, host_facts, statements
from agent.event import HOST, TYPES, Origin
from agent.gate.checks import MUST_STATE
from tests.core.histories import examples, stories
from tests.core.stories import ANNEX, POLICY, Story, at, folded, reminded, ripe, suspended


def only(story: Story) -> Case:
    (case,) = cases(story.company, story.record)
    return case


# --- folding ----------------------------------------------------------------------------------------------------


@given(stories(noise=6), st.randoms(use_true_random=False))
@examples(30)
def test_a_record_does_not_depend_on_order_or_multiplicity(story: Story, random) -> None:
    said = [*story.events, *random.choices(story.events, k=4)]
    random.shuffle(said)
    assert folded(said) == story.record


def test_the_same_fact_under_two_ids_is_one_statement_and_keeps_the_smaller_id() -> None:
    first = ripe().events[0]
    twin = replace(first, id="erp:0000", source="erp-copy")
    for order in ([first, twin], [twin, first]):
        (said,) = statements(folded(order), "invoice.issued", "F1")
        assert (said.id, said.source) == ("erp:0000", "erp-copy")


def test_folding_leaves_the_record_it_was_given_as_it_was() -> None:
    before = reminded().record
    kept = repr(before)
    after = fold(before, ripe().events[-2])
    assert after != before
    assert repr(before) == kept


def test_what_says_nothing_new_gives_back_the_very_same_record() -> None:
    record = suspended().record
    for event in suspended().events:
        assert fold(record, event) is record


def test_only_the_latest_heartbeat_of_a_source_is_kept_whatever_came_first() -> None:
    beats = (
        Story().says("heartbeat", "2026-03-01 10:00").says("heartbeat", "2026-03-01 10:05").says("heartbeat", "2026-03-01 09:00")
    )
    for said in (beats.events, beats.events[::-1]):
        record = folded(said)
        assert host_facts(record).heartbeats == {"erp": at("2026-03-01 10:05")}
        assert len(statements(record, "heartbeat")) == 1


def test_two_heartbeats_of_one_instant_fold_to_the_same_record_in_any_order() -> None:
    twice = Story().says("heartbeat", "2026-03-01 10:00").says("heartbeat", "2026-03-01 10:00", proof="log")
    thrice = twice.says("heartbeat", "2026-03-01 10:00")
    assert folded(thrice.events) == folded(thrice.events[::-1])


def test_what_only_tells_about_the_host_is_not_folded() -> None:
    story = Story().says("measure.repaired", "2026-03-01 10:00", source="agent", what="members", count=2)
    assert story.record is EMPTY_RECORD


# --- the notice -------------------------------------------------------------------------------------------------


def test_a_notice_stated_twice_announces_only_what_both_statements_announce() -> None:
    again = ripe().notice(
        "2026-03-10 11:00",
        services=["vpn", "reporting", "hosted-mail"],
        earliest_on="2026-04-01",
        invoices=["F1", "F2"],
        reminders=["R1", "R2"],
        states=sorted(MUST_STATE)[1:],
        cure_days=20,
        channel="email",
    )
    notice = only(again).notice
    assert notice.services == ("reporting", "vpn")
    assert notice.earliest_on == "2026-04-01"
    assert notice.invoices == ("F1",)
    assert notice.reminders == ("R1", "R2")
    assert notice.states == MUST_STATE - {min(MUST_STATE)}
    assert notice.cure_days == 20
    assert notice.channel == "email"
    assert (notice.first_at, notice.dispatched_at) == (at("2026-03-09 11:00"), at("2026-03-10 11:00"))
    assert only(ripe()).notice.cure_days == 0
    assert only(reminded().notice(stage=3).notice("2026-03-10 11:00", stage=2)).notice.stage == 2


def test_a_reminder_is_dated_by_the_first_and_the_last_date_given_for_it() -> None:
    story = ripe().reminder("R1", "2026-02-11 10:00", "F1", "F2")
    first = only(story).reminders[0]
    assert (first.id, first.first_at, first.sent_at) == ("R1", at("2026-02-09 10:00"), at("2026-02-11 10:00"))
    assert first.invoices == {"F1"}


def test_a_service_that_is_said_to_be_kept_is_not_announced() -> None:
    assert only(reminded().notice(kept=["vpn"])).notice.services == ("reporting", "shared-documents")


def test_a_notice_keeps_what_every_statement_says_it_keeps() -> None:
    story = reminded().notice(kept=["dns", "portal"]).notice("2026-03-10 11:00", kept=["portal", "vpn"])
    notice = only(story).notice
    assert notice.kept == ("portal",)
    assert "vpn" not in notice.services
    assert notice.named == {"F1"}


def test_a_warning_counts_for_its_notice_from_the_latest_date_given_unless_it_came_back() -> None:
    story = reminded().notice().warned("2026-03-24 10:00").warned("2026-03-25 10:00")
    (warning,) = only(story).warnings
    assert (warning.id, warning.sent_at, warning.bounced) == ("W1", at("2026-03-25 10:00"), False)
    assert only(story.says("warning.bounced", "2026-03-25 11:00", warning="W1")).warnings[0].bounced
    assert only(story.warned("2026-03-25 10:00", notice="N2")).warnings == (), "said to be for another notice too"
    assert only(reminded().notice().warned("2026-03-24 10:00", notice="N2")).warnings == ()


@pytest.mark.parametrize(
    ("letters", "channel", "effective", "how"),
    [
        ((("delivered", "2026-03-11 10:30"),), "lrar", "2026-03-11 10:30", "delivered"),
        ((("refused", "2026-03-11 10:30"),), "lrar", "2026-03-11 10:30", "refused"),
        ((("presented", "2026-03-11 10:30"),), "lrar", None, ""),
        ((("presented", "2026-03-11 10:30"), ("unclaimed", "2026-03-27 10:30")), "lrar", "2026-03-11 10:30", "unclaimed"),
        ((("presented", "2026-03-11 10:30"), ("unclaimed", "2026-03-27 10:30")), "lre_q", "2026-03-27 10:30", "unclaimed"),
        ((("unclaimed", "2026-03-27 10:30"),), "lrar", "2026-03-27 10:30", "unclaimed"),
        (
            (("presented", "2026-03-11 10:30"), ("presented", "2026-03-12 10:30"), ("unclaimed", "2026-03-27 10:30")),
            "lrar",
            "2026-03-12 10:30",
            "unclaimed",
        ),
        ((("unclaimed", "2026-03-27 10:30"), ("unclaimed", "2026-03-28 10:30")), "lre_q", "2026-03-28 10:30", "unclaimed"),
        ((("delivered", "2026-03-11 10:30"), ("refused", "2026-03-11 10:30")), "lrar", "2026-03-11 10:30", "refused"),
        ((("delivered", "2026-03-11 10:30"), ("delivered", "2026-03-12 10:30")), "lrar", "2026-03-12 10:30", "delivered"),
        ((("delivered", "2026-03-11 10:30"), ("refused", "2026-03-13 10:30")), "lrar", "2026-03-13 10:30", "refused"),
        ((("delivered", "2026-03-11 10:30"), ("undeliverable", "2026-03-10 10:30")), "lrar", None, "undeliverable"),
        ((), "lrar", None, ""),
    ],
)
def test_a_notice_takes_effect_by_what_became_of_the_letter(letters, channel, effective, how) -> None:
    story = reminded().notice(channel=channel)
    for what, when in letters:
        story = story.letter(what, when)
    for told in (story, replace(story, events=story.events[::-1])):
        notice = only(told).notice
        assert notice.effective_at == (at(effective) if effective else None)
        assert notice.effective_by == how


# --- what persons said -------------------------------------------------------------------------------------------


def test_an_approval_is_void_once_revoked_or_once_the_measure_it_was_for_has_ended() -> None:
    story = ripe().approved("2026-03-27 10:00")
    assert {one.by for one in only(story).approvals} == {"claire", "denis"}
    assert only(story.revoked("2026-03-27 10:00")).approvals == ()
    assert only(story.revoked("2026-03-27 10:00").approved("2026-03-28 10:00", "emma")).approvals[0].by == "emma"
    lapsed = story.ordered("2026-03-30 09:00").applied("2026-03-30 09:00").restored("2026-03-30 13:00", cause="lease", final=False)
    assert only(lapsed).approvals == ()
    assert only(lapsed.revoked("2026-03-29 10:00").approved("2026-03-30 12:00")).approvals == ()
    assert only(ripe().approved("2026-03-27 10:00", notice="N2")).approvals == ()


def test_an_override_lives_until_it_is_revoked_for_its_check() -> None:
    def given(story: Story, when: str, check: str = "G-05", person: str = "claire") -> Story:
        return story.operator(
            "override.given", when, person, role="approver", case="za:N1", check=check, expires_at="2026-05-01T00:00:00Z"
        )

    def revoked(story: Story, when: str) -> Story:
        return story.operator("override.revoked", when, case="za:N1", check="G-05")

    story = given(given(ripe(), "2026-03-27 10:00"), "2026-03-27 10:00", "G-06", "denis")
    assert [(one.check, one.by, one.role, one.reason) for one in only(story).overrides] == [
        ("G-05", "claire", "approver", "seen"),
        ("G-06", "denis", "approver", "seen"),
    ]
    assert only(story).overrides[0].expires_at == at("2026-05-01 02:00")
    assert [one.check for one in only(revoked(story, "2026-03-27 10:00")).overrides] == ["G-06"]
    again = given(revoked(story, "2026-03-28 10:00"), "2026-03-29 10:00")
    assert {one.check for one in only(again).overrides} == {"G-05", "G-06"}


def test_stages_that_were_not_tried_are_waived_with_the_reasons_of_those_who_say_so() -> None:
    story = ripe().operator("stage.waived", "2026-03-27 10:00", role="approver", case="za:N1", stages=[1])
    story = story.operator("stage.waived", "2026-03-28 10:00", "denis", role="legal", case="za:N1", stages=[2])
    assert (only(story).waived, only(story).waived_why) == ({1, 2}, "seen (claire); seen (denis)")
    assert (only(ripe()).waived, only(ripe()).waived_why) == (frozenset(), "")


# --- what is known about the company ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opened", "closed", "field"),
    [
        (("contact.unreachable", {"contact": "K1"}), ("contact.reachable", {"contact": "K1"}), "unreachable"),
        (("local.regressed", {"regression": "K1", "application": "erp"}), ("local.recovered", {"regression": "K1"}), "regressions"),
        (
            ("scope.changed", {"change": "K1"}),
            ("scope.reviewed", {"change": "K1", "by": "claire", "reason": "seen", "role": "legal"}),
            "scope_changes",
        ),
    ],
    ids=["contact", "local application", "scope"],
)
def test_what_was_stated_stands_until_the_contrary_is_stated_later(opened, closed, field: str) -> None:
    story = ripe().says(opened[0], "2026-03-20 10:00", **opened[1])
    assert getattr(only(story), field) == ("K1",)
    assert getattr(only(story.says(closed[0], "2026-03-20 10:00", **closed[1])), field) == ("K1",)
    ended = story.says(closed[0], "2026-03-21 10:00", **closed[1])
    assert getattr(only(ended), field) == ()
    assert getattr(only(ended.says(opened[0], "2026-03-22 10:00", **opened[1])), field) == ("K1",)


def test_only_the_last_preflight_counts_and_of_one_instant_the_worse() -> None:
    story = ripe().probed("2026-03-28 10:00", "red").probed("2026-03-29 10:00", hours=48).probed("2026-03-27 10:00", "red")
    for told in (story, replace(story, events=story.events[::-1])):
        found = only(told).preflight
        assert (found.at, found.green, found.baseline_hours, found.local_matches) == (at("2026-03-29 10:00"), True, 48, 0)
    both = story.says("preflight.done", "2026-03-29 10:00", source="probe-2", result="red", baseline_hours=12, local_matches=2)
    found = only(both).preflight
    assert (found.green, found.baseline_hours, found.local_matches) == (False, 12, 2)
    assert found.fact == max(one.id for one in both.events if one.type == "preflight.done" and one.occurred_at == found.at)
    assert only(ripe()).preflight is None


def test_the_register_was_looked_at_when_the_last_source_says_so() -> None:
    story = ripe().says("insolvency.checked", "2026-03-28 10:00", source="bodacc")
    story = story.says("insolvency.checked", "2026-03-27 10:00", source="bodacc").says("insolvency.checked", "2026-03-26 10:00")
    assert only(story).insolvency_checked_at == at("2026-03-28 10:00")
    assert only(ripe()).insolvency_checked_at is None


def test_the_policy_that_was_pinned_first_is_the_one_a_notice_is_judged_by() -> None:
    story = ripe().pinned("2026-03-10 09:00", replace(POLICY, notice_days=20, digest="b" * 64), vpn="X")
    pinned = only(story.pinned("2026-03-11 09:00", POLICY)).pinned
    assert (pinned.policy["notice_days"], pinned.classes["vpn"], pinned.digest) == (20, "X", "b" * 64)
    assert pinned.fact == story.events[-1].id
    assert only(ripe().pinned("2026-03-10 09:00", POLICY, "N2")).pinned is None


def test_announced_payments_are_those_for_its_invoices_since_the_notice() -> None:
    story = (
        ripe().announced("2026-03-09 10:59", id_="P0").announced("2026-03-12 10:00").announced("2026-03-13 10:00", "F9", id_="P2")
    )
    assert [(one.payment, one.at) for one in only(story).announced] == [("P1", at("2026-03-12 10:00"))]
    nothing_named = ripe().says("payment.announced", "2026-03-12 10:00", payment="P3", invoices=[])
    assert [one.payment for one in only(nothing_named).announced] == ["P3"]


def test_the_one_delay_of_an_announced_payment_is_used_by_whatever_was_recorded_first() -> None:
    story = suspended()
    assert (only(story).graced_at, only(story).spared_at) == (None, None)
    waited = story.says("case.delayed", "2026-03-20 10:00", source="agent", case="za:N1", until="2026-03-27T00:00:00Z")
    assert (only(waited).graced_at, only(waited).spared_at) == (at("2026-03-20 10:00"), None)
    spared = waited.restored("2026-04-01 10:00", cause="announced: payment announced", final=False)
    assert (only(spared).graced_at, only(spared).spared_at) == (at("2026-03-20 10:00"), at("2026-04-01 10:00"))
    twice = spared.restored("2026-04-20 10:00", 2, cause="announced", final=False)
    assert only(twice).spared_at == at("2026-04-01 10:00")
    assert only(story.restored("2026-04-01 10:00", cause="lease", final=False)).graced_at is None


# --- orders and the end of a case -------------------------------------------------------------------------------


def test_an_order_lives_until_a_restore_ends_it() -> None:
    story = suspended()
    order = only(story).order
    assert order is not None
    assert order.applied_at == at("2026-03-30 09:00")
    assert only(ripe().ordered("2026-03-30 09:00")).order.applied_at is None
    ended = only(story.restored("2026-03-31 10:00", cause="lease", final=False))
    assert (ended.order, ended.closed, ended.orders, ended.proposed) == (None, "", 1, False)


def test_a_final_restore_closes_the_case_for_good_whatever_is_said_later() -> None:
    story = suspended().restored("2026-03-31 10:00", cause="G-05")
    for more in (
        story,
        story.restored("2026-03-31 10:05", cause="lease", final=False),
        story.notice("2026-04-10 10:00", earliest_on="2026-04-20"),
        story.approved("2026-04-10 10:00"),
    ):
        assert only(more).closed == "G-05"


def test_a_new_notice_is_a_new_case() -> None:
    story = suspended().restored("2026-03-31 10:00").notice("2026-05-04 10:00", "N2")
    closed, fresh = cases("za", story.record)
    assert (closed.id, fresh.id) == (case_id("za", "N1"), case_id("za", "N2"))
    assert (closed.closed, fresh.closed) == ("G-05", "")
    assert (fresh.orders, fresh.in_force_since) == (0, None)


def test_a_restore_by_hand_closes_what_was_under_way_and_leaves_a_notice_that_only_runs() -> None:
    when = "2026-03-30 10:00"
    for story in (
        ripe().proposed("2026-03-27 00:00"),
        ripe().approved("2026-03-27 10:00"),
        ripe().ordered("2026-03-30 09:00"),
        suspended(),
    ):
        assert only(story.by_hand(when)).closed == "operator"
        assert only(story.by_hand("2026-03-26 10:00").by_hand(when)).closed == "operator"
        assert only(story.by_hand("2026-03-26 10:00")).closed == ""
    assert only(ripe().by_hand(when)).closed == ""
    assert only(ripe().proposed("2026-03-27 00:00").by_hand(when).by_hand("2026-03-01 10:00")).closed == "operator"
    at_once = ripe().proposed(when).by_hand(when)
    assert only(at_once).closed == "operator", "said at the same instant"


def test_a_proposal_counts_once_more_after_the_end_of_a_measure() -> None:
    ended = suspended().restored("2026-04-01 10:00", cause="lease", final=False)
    assert not only(ended.proposed("2026-04-01 10:00")).proposed
    assert only(ended.proposed("2026-04-01 10:01")).proposed


@pytest.mark.parametrize(
    ("told", "closed"),
    [
        (lambda s: s.plan("agreed", "2026-03-09 11:00", "F1"), "plan_agreed"),
        (lambda s: s.plan("agreed", "2026-03-09 10:59", "F1"), ""),
        (lambda s: s.plan("agreed", "2026-03-01 11:00", "F1").plan("broken", "2026-03-20 11:00"), "plan_agreed"),
        (lambda s: s.plan("agreed", "2026-03-01 11:00", "F1").plan("ended", "2026-03-20 11:00"), "plan_agreed"),
        (lambda s: s.plan("agreed", "2026-03-01 11:00", "F1").plan("broken", "2026-03-05 11:00"), ""),
        (lambda s: s.plan("agreed", "2026-03-20 11:00", "F1").plan("broken", "2026-03-25 11:00"), "plan_agreed"),
        (lambda s: s.plan("agreed", "2026-03-20 11:00", "F9"), ""),
        (lambda s: s.plan("agreed", "2026-03-20 11:00"), "plan_agreed"),
        (lambda s: s.replaced("2026-03-20 11:00"), "superseded"),
        (lambda s: s.replaced("2026-03-09 11:00"), "superseded"),
        (lambda s: s.replaced("2026-03-09 10:59"), ""),
        (lambda s: s.plan("agreed", "2026-03-20 11:00", "F9").plan("agreed", "2026-03-21 11:00", "F1"), "plan_agreed"),
        (lambda s: s.voided("2026-03-20 11:00"), "error"),
        (lambda s: s.voided("2026-03-20 11:00", "N2"), ""),
        (lambda s: s.replaced("2026-03-20 11:00").plan("agreed", "2026-03-20 11:00").voided("2026-03-21 11:00"), "error"),
    ],
    ids=[
        "plan agreed after the notice",
        "plan agreed before the notice: a hold, no end",
        "plan broken after the notice: it went out too early",
        "plan kept to its end after the notice",
        "plan broken before the notice",
        "a broken plan does not bring the case back",
        "plan for other invoices",
        "plan that names no invoice",
        "debtor replaced",
        "debtor replaced at the instant of the notice",
        "debtor replaced before the notice",
        "plan said to be for other invoices and for these",
        "voided",
        "another case voided",
        "an error is an error whatever else",
    ],
)
def test_a_case_ends_for_good_when_the_ground_of_its_notice_is_gone(told, closed: str) -> None:
    for start in (ripe(), suspended()):
        story = told(start)
        assert only(story).closed == closed
        assert only(replace(story, events=story.events[::-1])).closed == closed
        if start == suspended():
            assert only(story).order is not None


def test_a_plan_or_a_successor_leaves_later_notices_alone() -> None:
    story = ripe().plan("agreed", "2026-03-20 11:00", "F1").plan("broken", "2026-04-20 11:00").replaced("2026-04-21 11:00")
    story = story.notice("2026-05-04 10:00", "N2")
    assert [one.closed for one in cases("za", story.record)] == ["superseded", ""]


def test_why_a_case_was_closed_is_the_reason_recorded_with_its_restore() -> None:
    assert only(suspended().restored("2026-04-01 10:00", cause="G-04: unpaid", reason="paid")).closed == "paid"
    assert only(suspended().restored("2026-04-01 10:00", cause="G-04: unpaid")).closed == "G-04"
    voided = suspended().restored("2026-04-01 10:00", cause="G-04: unpaid", reason="paid").voided("2026-04-02 10:00")
    assert only(voided).closed == "error"


# --- a payment that came back -------------------------------------------------------------------------------------


def returned(
    *, says: bool = True, reason: str = "paid", invoices: tuple[str, ...] = ("F1",), back: str = "2026-04-20 10:00"
) -> Story:
    """Suspended, restored as paid, the payment sent back; then a new notice."""
    states = [*sorted(MUST_STATE), *(["reopen"] if says else [])]
    story = reminded().notice(states=states).letter("delivered", "2026-03-11 10:30")
    story = story.ordered("2026-03-30 09:00").applied("2026-03-30 09:00").paid("4800", "2026-03-31 10:00")
    story = story.restored("2026-03-31 10:00", cause="G-04", reason=reason).returned(back)
    return story.notice("2026-04-22 10:00", "N2", invoices=list(invoices), reminders=["R9"])


def test_a_new_notice_reopens_a_paid_case_whose_payment_came_back() -> None:
    first, second = cases("za", returned().record)
    assert (first.reopens, second.reopens) == ("", first.id)
    assert second.notice.reminders == ("R1", "R2", "R3", "R9"), "the reminders of the first case count"
    assert (first.closed, second.closed) == ("paid", "")


@pytest.mark.parametrize(
    "story",
    [
        returned(says=False),
        returned(reason="held"),
        returned(invoices=("F2",)),
        returned(back="2026-03-31 09:00"),
        returned(back="2026-03-31 10:00"),
        returned(back="2026-04-22 10:00"),
        returned(back="2026-04-23 10:00"),
        returned().letter("undeliverable", "2026-03-20 10:00"),
        returned().without("payment.reversed"),
        returned().without("measure.restored"),
    ],
    ids=[
        "the first notice did not say so",
        "restored for another reason",
        "other invoices",
        "sent back before the restore",
        "sent back at the instant of the restore",
        "sent back at the instant of the new notice",
        "sent back after the new notice",
        "the first letter never arrived",
        "never sent back",
        "never restored",
    ],
)
def test_otherwise_a_new_notice_stands_on_its_own(story: Story) -> None:
    second = cases("za", story.record)[1]
    assert second.reopens == ""
    assert second.notice.reminders == ("R9",)


def test_a_case_closed_by_hand_keeps_its_order_until_the_restore_is_recorded() -> None:
    story = suspended().by_hand("2026-03-30 10:00")
    assert only(story).order is not None
    assert only(story.restored("2026-03-30 10:00", cause="operator: restored by hand")).order is None


def test_the_time_a_case_was_in_force_is_counted_from_its_first_measure() -> None:
    story = suspended().restored("2026-04-02 10:00", final=False).ordered("2026-04-08 09:00", 2).applied("2026-04-08 09:00", 2)
    case = only(story)
    assert case.in_force_since == at("2026-03-30 09:00")
    assert case.order.applied_at == at("2026-04-08 09:00")
    assert case.orders == 2


# --- the host and the closed lists --------------------------------------------------------------------------------


def test_standing_approvals_live_until_they_are_revoked_for_their_policy() -> None:
    def given(story: Story, when: str, policy: str = "standard") -> Story:
        return story.says(
            "standing_approval.given",
            when,
            source="operator:claire",
            policy=policy,
            policy_digest="a" * 64,
            by="claire",
            role="approver",
            reason="the season",
            expires_at="2027-01-01T00:00:00Z",
        )

    def revoked(story: Story, when: str) -> Story:
        return story.says("standing_approval.revoked", when, policy="standard", by="claire", reason="wait")

    story = given(given(Story(company=HOST), "2026-01-05 09:00"), "2026-01-05 09:00", "other")
    assert {one.policy for one in host_facts(story.record).standing} == {"standard", "other"}
    assert {one.policy for one in host_facts(revoked(story, "2026-01-05 09:00").record).standing} == {"other"}
    later = given(revoked(story, "2026-02-05 09:00"), "2026-03-05 09:00")
    assert {one.policy for one in host_facts(later.record).standing} == {"standard", "other"}


def test_the_host_knows_of_each_feed_how_many_invoices_it_last_counted() -> None:
    story = Story(company=HOST).says("heartbeat", "2026-03-30 10:00", open_invoices=40).says("heartbeat", "2026-03-30 10:05")
    assert host_facts(story.record).open_invoices == {}
    counted = story.says("heartbeat", "2026-03-30 10:10", open_invoices=41).says("heartbeat", "2026-03-30 10:10", open_invoices=39)
    assert host_facts(counted.record).open_invoices == {"erp": 39}
    other = counted.says("heartbeat", "2026-03-30 10:00", source="stripe", open_invoices=7)
    assert host_facts(other.record).open_invoices == {"erp": 39, "stripe": 7}


def test_the_clock_is_as_its_last_check_says_and_of_one_instant_the_worse() -> None:
    assert host_facts({}).clock is None
    story = Story(company=HOST).says("clock.checked", "2026-03-30 10:00", source="chrony", synchronised=False, offset_ms=9000)
    story = story.says("clock.checked", "2026-03-30 10:05", source="chrony", synchronised=True, offset_ms=3)
    clock = host_facts(story.record).clock
    assert (clock.at, clock.synchronised, clock.offset_ms, clock.stepped) == (at("2026-03-30 10:05"), True, 3, False)
    worse = story.says("clock.checked", "2026-03-30 10:05", source="ptp", synchronised=False, offset_ms=700, stepped=True)
    clock = host_facts(worse.record).clock
    assert (clock.synchronised, clock.offset_ms, clock.stepped) == (False, 700, True)


def test_the_register_was_looked_at_for_everybody_when_the_host_was_told() -> None:
    assert host_facts({}).insolvency_checked_at is None
    story = Story(company=HOST).says("insolvency.checked", "2026-03-30 10:00", source="bodacc")
    story = story.says("insolvency.checked", "2026-03-30 09:00", source="infogreffe")
    assert host_facts(story.record).insolvency_checked_at == at("2026-03-30 10:00")


def test_the_breaker_stays_open_until_somebody_who_may_releases_it() -> None:
    def released(story: Story, when: str, role: str) -> str:
        return host_facts(story.operator("breaker.released", when, role=role).record).breaker_open

    assert host_facts({}).breaker_open == ""
    story = Story(company=HOST).says("breaker.opened", "2026-03-30 10:00", source="agent", cause="a wave")
    assert host_facts(story.record).breaker_open == "a wave"
    assert released(story, "2026-03-30 11:00", "approver") == ""
    assert released(story, "2026-03-30 11:00", "legal") == ""
    assert released(story, "2026-03-30 11:00", "credit_officer") == "a wave"
    assert released(story, "2026-03-30 10:00", "approver") == "a wave", "an opening at the same instant stands"
    twice = story.says("breaker.opened", "2026-03-30 12:00", source="agent", cause="a feed shrank")
    assert host_facts(twice.record).breaker_open == "a wave; a feed shrank"
    assert released(twice, "2026-03-30 11:00", "legal") == "a feed shrank"
    early = twice.operator("breaker.released", "2026-03-30 09:00", role="legal")
    assert released(early, "2026-03-30 13:00", "legal") == ""


def test_facts_in_the_customers_favour_are_a_closed_list_of_what_people_state() -> None:
    favours = {name for name in TYPES if favourable(name)}
    assert favours == {
        "invoice.cancelled",
        "payment.received",
        "payment.announced",
        "dispute.opened",
        "hold.set",
        "notice.undeliverable",
        "warning.bounced",
        "contact.unreachable",
        "insolvency.opened",
        "court.order",
        "grace_period.granted",
        "plan.agreed",
        "switching.requested",
        "debtor.replaced",
        "scope.changed",
        "safety.reported",
        "local.regressed",
        "restore.ordered",
        "case.voided",
        "approval.revoked",
        "standing_approval.revoked",
        "override.revoked",
        "pause.set",
    }
    assert all(TYPES[name].origin is not Origin.AGENT for name in favours)


def test_a_company_nothing_was_said_about_has_no_case() -> None:
    assert cases("za", EMPTY_RECORD) == ()
    assert cases("za", reminded().record) == ()
    assert set(ANNEX) == set(only(ripe()).notice.services)
    assert only(ripe()).notice.effective_at - at("2026-03-11 00:00") < timedelta(days=1)


def test_a_plan_is_read_with_what_was_said_of_that_plan_alone():
    """An older plan that was broken before the notice ends nothing, whatever became of another one for other invoices."""
    story = ripe(Story().plan("agreed", "2026-02-01 10:00", "F1", id_="E1").plan("broken", "2026-02-20 10:00", id_="E1"))
    other = story.plan("agreed", "2026-02-10 10:00", "F7", id_="E2")
    for what in ("broken", "ended"):
        assert other.plan(what, "2026-03-20 10:00", id_="E2").case("2026-03-30 10:00").case.closed == "", what
        assert story.plan(what, "2026-03-20 10:00", id_="E1").case("2026-03-30 10:00").case.closed == "plan_agreed", what
    assert other.plan("agreed", "2026-03-20 10:00", "F7", id_="E3").case("2026-03-30 10:00").case.closed == ""


def test_a_payment_announced_at_the_very_moment_of_the_notice_counts():
    (found,) = ripe().announced("2026-03-09 11:00").case("2026-03-30 10:00").case.announced
    assert (found.payment, found.at) == ("P1", at("2026-03-09 11:00"))
    assert ripe().announced("2026-03-09 10:59:59").case("2026-03-30 10:00").case.announced == ()


def test_an_order_and_a_pinned_policy_say_which_facts_they_are():
    story = ripe().pinned("2026-03-10 10:00", POLICY).ordered("2026-03-30 09:00")
    case = story.case("2026-03-30 10:00").case
    facts = {one.type: one.id for one in story.events}
    assert (case.order.fact, case.order.policy_digest) == (facts["order.suspend"], POLICY.digest)
    assert (case.pinned.fact, case.pinned.digest) == (facts["policy.pinned"], POLICY.digest)

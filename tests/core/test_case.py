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
from tests.core.stories import ANNEX, Story, at, folded, reminded, ripe, suspended


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


def test_a_service_that_is_said_to_be_kept_is_not_announced() -> None:
    assert only(reminded().notice(kept=["vpn"])).notice.services == ("reporting", "shared-documents")


@pytest.mark.parametrize(
    ("letters", "channel", "effective", "how"),
    [
        ((("delivered", "2026-03-11 10:30"),), "lrar", "2026-03-11 10:30", "delivered"),
        ((("refused", "2026-03-11 10:30"),), "lrar", "2026-03-11 10:30", "refused"),
        ((("presented", "2026-03-11 10:30"),), "lrar", None, ""),
        ((("presented", "2026-03-11 10:30"), ("unclaimed", "2026-03-27 10:30")), "lrar", "2026-03-11 10:30", "unclaimed"),
        ((("presented", "2026-03-11 10:30"), ("unclaimed", "2026-03-27 10:30")), "lre_q", "2026-03-27 10:30", "unclaimed"),
        ((("unclaimed", "2026-03-27 10:30"),), "lrar", "2026-03-27 10:30", "unclaimed"),
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


# --- holds and approvals ----------------------------------------------------------------------------------------


def test_a_hold_stands_until_it_is_lifted_later_than_it_was_last_set() -> None:
    story = ripe().hold("legal_review", "2026-03-20 10:00")
    assert only(story.lifted("2026-03-21 10:00")).holds == ()
    assert [hold.kind for hold in only(story.lifted("2026-03-20 10:00")).holds] == ["legal_review"]
    again = story.lifted("2026-03-21 10:00").hold("stale_data", "2026-03-22 10:00")
    (hold,) = only(again).holds
    assert hold.restores, "the hold restored when it was first set"


def test_a_hold_takes_effect_at_the_earliest_date_anybody_gives() -> None:
    story = ripe().hold("insolvency", "2026-06-18 07:05", effective_from="2026-06-09T00:00:00+02:00")
    assert only(story).holds[0].effective_from == at("2026-06-09 00:00")


def test_an_approval_is_void_once_revoked_or_once_the_measure_it_was_for_has_ended() -> None:
    story = ripe().approved("2026-03-27 10:00")
    assert {one.by for one in only(story).approvals} == {"claire", "denis"}
    assert only(story.revoked("2026-03-27 10:00")).approvals == ()
    assert only(story.revoked("2026-03-27 10:00").approved("2026-03-28 10:00", "emma")).approvals[0].by == "emma"
    lapsed = story.ordered("2026-03-30 09:00").applied("2026-03-30 09:00").restored("2026-03-30 13:00", cause="lease", final=False)
    assert only(lapsed).approvals == ()
    assert only(lapsed.revoked("2026-03-29 10:00").approved("2026-03-30 12:00")).approvals == ()
    assert only(ripe().approved("2026-03-27 10:00", notice="N2")).approvals == ()


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
        assert only(story.by_hand("2026-03-26 10:00")).closed == ""
    assert only(ripe().by_hand(when)).closed == ""
    assert only(ripe().proposed("2026-03-27 00:00").by_hand(when).by_hand("2026-03-01 10:00")).closed == "operator"


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


def test_facts_in_the_customers_favour_are_a_closed_list_of_what_people_state() -> None:
    favours = {name for name in TYPES if favourable(name)}
    assert favours == {
        "invoice.cancelled",
        "payment.received",
        "payment.announced",
        "dispute.opened",
        "hold.set",
        "notice.undeliverable",
        "restore.ordered",
        "approval.revoked",
        "standing_approval.revoked",
        "pause.set",
    }
    assert all(TYPES[name].origin is not Origin.AGENT for name in favours)


def test_a_company_nothing_was_said_about_has_no_case() -> None:
    assert cases("za", EMPTY_RECORD) == ()
    assert cases("za", reminded().record) == ()
    assert set(ANNEX) == set(only(ripe()).notice.services)
    assert only(ripe()).notice.effective_at - at("2026-03-11 00:00") < timedelta(days=1)

"""The breaker: what it holds and for how long, what opens it, who is never held; the guard; and what is counted for both."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import alarm, look
from agent.breaker import Held, Limits, Load, held, opening_id, regressed, shrunken, too_new, voided, wave
from agent.event import HOST
from agent.model import Inventory
from agent.rules import Change
from agent.tally import Tally
from tests.core.hosts import Host, in_memory, inventory_of
from tests.process.house import MONDAY, SERVICES, Firm, firms

WIDE = Limits(
    per_hour=1000, per_day=1000, share_of_companies=Decimal(100), share_of_prefixes=Decimal(100), canaries=1000, wave=1000
)
MINUTE = timedelta(minutes=1)


def ago(*minutes: int) -> tuple[datetime, ...]:
    return tuple(MONDAY - MINUTE * each for each in minutes)


# --- limits, pure ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "limits", "says", "until"),
    [
        (Load(), WIDE, None, None),
        (Load(ordered=ago(59, 30)), replace(WIDE, per_hour=2), "2 suspensions in one hour, 2 at most", MONDAY + MINUTE),
        (Load(ordered=ago(60, 30)), replace(WIDE, per_hour=2), None, None),
        (Load(ordered=ago(59, 30, 5)), replace(WIDE, per_hour=2), "3 suspensions in one hour", MONDAY + 30 * MINUTE),
        (Load(ordered=ago(23 * 60)), replace(WIDE, per_day=1), "1 suspensions in one day, 1 at most", MONDAY + 60 * MINUTE),
        (Load(ordered=ago(24 * 60)), replace(WIDE, per_day=1), None, None),
        (Load(ordered=ago(40, 29)), replace(WIDE, canaries=2, canary_minutes=30), "the first 2 suspensions", MONDAY + MINUTE),
        (Load(ordered=ago(40, 30)), replace(WIDE, canaries=2, canary_minutes=30), None, None),
        (Load(ordered=ago(29)), replace(WIDE, canaries=2, canary_minutes=30), None, None),
        (Load(companies=10, cut_companies=2), replace(WIDE, share_of_companies=Decimal(20)), "30.0 % of the companies", None),
        (Load(companies=10, cut_companies=1), replace(WIDE, share_of_companies=Decimal(20)), None, None),
        (Load(companies=2, cut_companies=0), replace(WIDE, share_of_companies=Decimal(20)), None, None),
        (Load(prefixes=100, cut_prefixes=18), replace(WIDE, share_of_prefixes=Decimal(20)), "21.0 % of the prefixes", None),
        (Load(open_cause="a wave"), WIDE, "breaker open: a wave", None),
        (Load(comparing=True), WIDE, "new policies", None),
    ],
)  # fmt: skip
def test_a_limit_holds_from_its_first_case_to_its_last_minute(
    load: Load, limits: Limits, says: str | None, until: datetime | None
) -> None:
    found = held(load, limits, MONDAY, prefixes=3)
    assert (found is None) == (says is None)
    if found is not None and says is not None:
        assert says in found.en
        assert found.fr
        assert found.fr != found.en
        assert found.until == until


def test_an_open_breaker_says_why_in_the_readers_language() -> None:
    found = held(Load(open_cause="a wave", open_cause_fr="une vague"), WIDE, MONDAY)
    assert found == Held(
        fr="disjoncteur ouvert : une vague ; une personne désignée doit le refermer",
        en="breaker open: a wave; a named person must release it",
    )


TIMES = st.lists(st.integers(0, 30 * 60), max_size=12).map(lambda found: ago(*sorted(found, reverse=True)))
LIMITS = st.builds(
    Limits,
    per_hour=st.integers(1, 6),
    per_day=st.integers(1, 8),
    share_of_companies=st.integers(1, 100).map(Decimal),
    share_of_prefixes=st.integers(1, 100).map(Decimal),
    canaries=st.integers(1, 4),
    canary_minutes=st.integers(1, 90),
    wave=st.integers(1, 30),
)
LOADS = st.builds(
    Load,
    ordered=TIMES,
    companies=st.integers(0, 30),
    prefixes=st.integers(0, 60),
    cut_companies=st.integers(0, 10),
    cut_prefixes=st.integers(0, 20),
    open_cause=st.sampled_from(("", "a wave")),
    comparing=st.booleans(),
)


@given(load=LOADS, limits=LIMITS, more=st.integers(0, 60))
def test_what_is_held_stays_held_when_more_was_suspended(load: Load, limits: Limits, more: int) -> None:
    if held(load, limits, MONDAY) is not None:
        fuller = replace(
            load,
            ordered=tuple(sorted((*load.ordered, MONDAY - MINUTE * more))),
            cut_companies=load.cut_companies + 1,
            cut_prefixes=load.cut_prefixes + 1,
        )
        assert held(fuller, limits, MONDAY) is not None


@given(load=LOADS, limits=LIMITS)
def test_a_hold_that_names_its_end_lasts_until_then_and_its_reason_no_longer(load: Load, limits: Limits) -> None:
    found = held(load, limits, MONDAY)
    if found is not None and found.until is not None:
        assert found.until > MONDAY
        assert held(load, limits, found.until - timedelta(microseconds=1)) is not None
        later = held(load, limits, found.until)
        assert later is None or later.en != found.en or (later.until or found.until) > found.until


# --- causes, pure ------------------------------------------------------------------------------------------------------------


def test_more_ripe_cases_in_an_hour_than_a_wave_open_it_and_older_ones_do_not_count() -> None:
    limits = replace(WIDE, wave=3)
    assert wave(ago(59, 30, 5), limits, MONDAY) is None
    assert wave(ago(61, 60, 59, 30, 5), limits, MONDAY) is None
    found = wave(ago(59, 30, 5, 0), limits, MONDAY)
    assert found is not None
    assert (found.kind, found.en) == ("wave", "4 cases became ripe within an hour, 3 at most")


@pytest.mark.parametrize(
    ("before", "after", "opens"), [(100, 49, True), (100, 50, False), (9, 0, False), (10, 4, True), (10, 5, False), (0, 0, False)]
)
def test_a_feed_that_knows_of_less_than_half_its_invoices_opens_it(before: int, after: int, opens: bool) -> None:
    assert (shrunken("erp", before, after) is not None) == opens


def test_new_policies_may_let_as_many_ripen_as_a_wave_and_no_more() -> None:
    assert too_new(20, Limits()) is None
    found = too_new(21, Limits())
    assert found is not None
    assert found.kind == "policies"


def test_every_cause_has_a_kind_of_its_own_and_words_in_both_languages() -> None:
    found = [
        wave(ago(1, 1), replace(WIDE, wave=1), MONDAY),
        shrunken("erp", 100, 1),
        voided("za:N"),
        regressed("za", "erp"),
        too_new(2, replace(WIDE, wave=1)),
    ]
    causes = [one for one in found if one is not None]
    assert len({one.kind for one in causes}) == len(found)
    assert all(one.fr != one.en and one.fr and one.en for one in causes)


def test_a_kind_of_cause_has_one_id_until_somebody_releases() -> None:
    ids = [opening_id("wave", at) for at in (None, None, MONDAY, MONDAY, MONDAY + MINUTE)]
    assert [a == b for a, b in pairwise(ids)] == [True, False, True, False]
    assert opening_id("feed", None) != opening_id("wave", None)


# --- in the daemon -----------------------------------------------------------------------------------------------------------


@contextmanager
def a_host(inventory: Inventory) -> Iterator[Host]:
    with in_memory() as directory:
        host = Host(directory=directory, inventory=inventory)
        host.start()
        yield host
        assert host.gateway.failures == {}
        host.ledger.verify()
        host.dies()


def release(host: Host) -> None:
    said = {"by": "claire", "role": "approver", "reason": "looked at it"}
    host.clock.pass_(timedelta(seconds=1))
    host.say("breaker.released", HOST, said)
    host.gateway.look_around()
    alarm.look_again(host.gateway)


def is_open(host: Host) -> bool:
    host.gateway.look_around()
    shown = look.status(host.gateway, ())["breaker"]["open"]
    assert host.gateway.metrics.registry.get_sample_value("ecluse_breaker_open") == float(shown)
    assert isinstance(shown, bool)
    return shown


def test_a_wave_of_ripe_cases_opens_it_before_one_too_many_is_ordered() -> None:
    with a_host(inventory_of(firms(6), wave=3)) as host:
        host.let_act()
        host.remember("c000", "c001", "c002", "c003", "c004")
        host.work()
        assert is_open(host)
        assert len(host.cut()) == 3
        assert len(host.events("order.suspend")) == 3
        assert len(host.events("breaker.opened")) == 1
        assert len(host.events("case.proposed")) == 2
        host.restart()
        host.start()
        assert is_open(host)
        assert len(host.events("breaker.opened")) == 1
        release(host)
        host.clock.pass_(MINUTE)  # a new process finds those that wait by the clock
        host.work()
        assert not is_open(host)
        assert len(host.cut()) == 5


def test_ripe_cases_are_counted_across_a_restart_and_a_proposal_and_its_order_are_one() -> None:
    with a_host(inventory_of(firms(6), wave=4)) as host:
        host.let_act()
        host.remember("c000", "c001")
        host.work()
        before = host.gateway.tally.ripe
        host.restart()
        host.start()
        assert host.gateway.tally.ripe == before
        assert len(before) == 2
        host.remember("c002", "c003")
        host.work()
        assert not is_open(host)
        host.remember("c004")
        host.work()
        assert is_open(host)
        assert len(host.cut()) == 4


def test_what_became_ripe_while_it_was_open_does_not_open_it_again_after_its_release() -> None:
    with a_host(inventory_of(firms(8), wave=2)) as host:
        host.let_act()
        host.remember(*(f"c00{number}" for number in range(8)))
        host.work()
        release(host)
        host.work()
        assert not is_open(host)
        assert len(host.cut()) == 8


def test_a_feed_that_shrank_holds_what_is_new_and_one_that_was_overtaken_does_not() -> None:
    with a_host(inventory_of(firms(3))) as host:
        host.let_act()
        host.clock.pass_(MINUTE)
        host.say("heartbeat", HOST, {"open_invoices": 340}, id_="b1")
        assert not is_open(host)
        host.clock.now -= timedelta(seconds=30)
        host.say("heartbeat", HOST, {"open_invoices": 12}, id_="late")
        host.clock.now += timedelta(seconds=30)
        assert not is_open(host)
        host.clock.pass_(MINUTE)
        host.say("heartbeat", HOST, {"open_invoices": 12}, id_="b2")
        assert is_open(host)
        host.remember("c000")
        host.work()
        assert host.cut() == set()
        assert len(host.events("case.proposed")) == 1
        host.clock.pass_(MINUTE)
        host.say("heartbeat", HOST, {"open_invoices": 341}, id_="b3")
        assert is_open(host)  # that the feed came back explains nothing
        release(host)
        host.work()
        assert host.cut() == {"c000"}


def test_a_voided_case_is_restored_first_of_all_and_holds_every_other() -> None:
    with a_host(inventory_of(firms(3))) as host:
        host.suspend("c000", "c001")
        said = {"case": "c000:N-c000", "cause": "wrong-customer", "by": "claire", "reason": "not theirs"}
        host.say("case.voided", "c000", said)
        host.remember("c002")
        host.work()
        assert host.cut() == {"c001"}
        (restored,) = host.events("measure.restored")
        assert (restored.body["final"], restored.body["reason"]) == (True, "error")
        assert host.events("breaker.opened")[0].body["kind"] == "voided"
        release(host)
        host.work()
        assert host.cut() == {"c001", "c002"}


@pytest.mark.parametrize("suspended", [True, False])
def test_a_local_application_that_stops_opens_it_only_while_its_company_is_suspended(suspended: bool) -> None:
    with a_host(inventory_of(firms(3))) as host:
        host.suspend(*(("c000",) if suspended else ()), "c001")
        host.say("local.regressed", "c000", {"regression": "X1", "application": "erp"})
        host.work()
        assert host.cut() == {"c001"}
        assert is_open(host) == suspended


def test_one_kind_of_cause_is_told_once_and_another_beside_it() -> None:
    with a_host(inventory_of(firms(3))) as host:
        host.suspend("c000", "c001")
        for company in ("c000", "c001"):
            host.say("local.regressed", company, {"regression": f"X-{company}", "application": "erp"})
        host.work()
        said = {"case": "c002:N-c002", "cause": "x", "by": "claire", "reason": "y"}
        host.say("case.voided", "c002", said)
        assert [event.body["kind"] for event in host.events("breaker.opened")] == ["local", "voided"]
        assert len(look.status(host.gateway, ())["breaker"]["causes"]) == 1
        assert is_open(host)
        assert len(look.status(host.gateway, ())["breaker"]["causes"]) == 2


def test_whatever_is_held_payments_and_persons_restore() -> None:
    with a_host(inventory_of(firms(4), wave=2)) as host:
        host.suspend("c000", "c001")
        host.remember("c002")
        host.work()
        assert is_open(host)
        host.gateway.most_elements = 1
        host.reload(inventory_of(firms(4), wave=2, min_debt=501))
        host.pay("c000")
        host.say("restore.ordered", "c001", {"by": "claire", "reason": "x"})
        host.work()
        assert host.cut() == set()
        assert len(host.events("measure.restored")) == 2


def test_an_opening_counts_although_the_clock_went_back_behind_the_last_release() -> None:
    with a_host(inventory_of(firms(3))) as host:
        host.suspend("c000")
        host.say("local.regressed", "c000", {"regression": "X", "application": "erp"})
        release(host)
        assert not is_open(host)
        host.clock.now -= timedelta(minutes=20)
        host.say("case.voided", "c001", {"case": "c001:N", "cause": "x", "by": "claire", "reason": "y"})
        assert is_open(host)


# --- new policies ------------------------------------------------------------------------------------------------------------


def test_files_that_would_newly_cut_many_open_it_before_anybody_is_cut() -> None:
    companies = firms(6)
    with a_host(inventory_of(companies[:1], wave=3)) as host:
        host.let_act()
        host.remember(*(firm.id for firm in companies[1:]))
        host.work()
        assert host.cut() == set()
        host.reload(inventory_of(companies, wave=3))  # five debtors who were nobody's customers until now
        host.work()
        assert is_open(host)
        assert [event.body["kind"] for event in host.events("breaker.opened")] == ["policies"]
        alarm.end_review(host.gateway)
        host.work()
        assert host.cut() == set()
        release(host)
        host.work()
        assert len(host.cut()) == 5
        assert not is_open(host)


def test_a_few_newly_ripe_cases_count_towards_the_wave_of_the_hour() -> None:
    companies = firms(6)
    with a_host(inventory_of(companies[:4], wave=3)) as host:
        host.let_act()
        host.remember("c004", "c005")
        host.reload(inventory_of(companies, wave=3))
        host.work()
        alarm.end_review(host.gateway)
        host.remember("c000")
        host.work()
        assert len(host.cut()) == 3
        host.remember("c001")
        host.work()
        assert [event.body["kind"] for event in host.events("breaker.opened")] == ["wave"]
        assert len(host.cut()) == 3


def test_what_new_policies_restore_does_not_wait_for_what_they_would_cut() -> None:
    companies = firms(4)
    with a_host(inventory_of(companies)) as host:
        host.suspend("c000", "c001")
        host.remember("c002")
        host.reload(inventory_of(companies, SERVICES.replace("vpn:\n    class: A", "vpn:\n    class: D")))
        host.work()
        assert host.gateway.review is not None
        assert host.cut() == set()


def test_nobody_is_suspended_while_new_policies_are_compared_and_everybody_ripe_is_afterwards() -> None:
    companies = firms(4)
    with a_host(inventory_of(companies)) as host:
        host.suspend("c000")
        host.reload(inventory_of(companies, min_debt=600))
        host.clock.pass_(MINUTE)
        host.let_act()  # for this version
        host.remember("c001", "c002")
        host.work()
        assert host.cut() == {"c000"}
        assert look.status(host.gateway, ())["breaker"]["comparing"]
        alarm.end_review(host.gateway)
        host.work()
        assert host.cut() == {"c000", "c001", "c002"}
        assert not is_open(host)


def test_cases_that_waited_for_persons_before_are_not_newly_ripe() -> None:
    companies = firms(5, policy="approve")
    with a_host(inventory_of(companies, wave=5)) as host:
        host.beat()
        host.remember(*(firm.id for firm in companies))
        host.work()
        assert len(host.events("case.proposed")) == 5
        host.reload(inventory_of(companies, wave=1))
        host.work()
        review = host.gateway.review
        assert review is not None
        assert review.newly == set()
        assert not is_open(host)


def test_customers_who_are_given_a_policy_that_acts_by_itself_are_newly_cut_although_they_waited_before() -> None:
    companies = firms(4, policy="approve")
    with a_host(inventory_of(companies, wave=4)) as host:
        host.let_act()
        host.remember(*(firm.id for firm in companies))
        host.work()
        assert len(host.events("case.proposed")) == 4
        host.reload(inventory_of(firms(4), wave=3))
        host.clock.pass_(MINUTE)
        host.let_act()
        host.work()
        assert is_open(host)
        assert host.cut() == set()


def test_a_gentler_policy_of_old_still_holds_cases_that_were_opened_under_it() -> None:
    with a_host(inventory_of(firms(4), min_debt=10_000, wave=1)) as host:
        host.let_act()
        host.remember("c000", "c001", "c002")
        host.work()
        host.reload(inventory_of(firms(4), min_debt=500, wave=1))
        host.clock.pass_(MINUTE)
        host.let_act()
        host.work()
        alarm.end_review(host.gateway)
        host.work()
        assert host.cut() == set()
        assert not is_open(host)


def test_without_the_former_policies_a_case_that_was_never_proposed_counts_as_newly_ripe() -> None:
    companies = firms(4)
    with a_host(inventory_of(companies, wave=2)) as host:
        host.let_act()
        host.reload(inventory_of(companies, wave=2))
        assert host.gateway.review is not None
        host.gateway.review.before = None
        host.remember("c000", "c001", "c002")
        host.work()
        assert is_open(host)


# --- shares and the guard ------------------------------------------------------------------------------------------------------


def test_no_more_than_a_share_of_the_companies_is_suspended_at_any_time() -> None:
    with a_host(inventory_of(firms(10), max_share_of_companies=30)) as host:
        host.let_act()
        host.remember(*(f"c00{number}" for number in range(6)))
        host.work()
        assert len(host.cut()) == 3
        (first, *_) = sorted(host.cut())
        host.pay(first)
        host.work()
        host.clock.pass_(timedelta(seconds=61))
        host.work()
        assert len(host.cut()) == 3
        assert first not in host.cut()


def test_a_second_case_of_a_company_is_no_second_company() -> None:
    with a_host(inventory_of(firms(10), max_share_of_companies=10)) as host:
        host.suspend("c000")
        host.remember("c000", again="2")
        host.work()
        assert len(host.events("measure.applied")) == 2


def large(prefixes: int) -> Firm:
    return Firm(id="c000", attachments=tuple((f"10.9.{number}.0/24", "") for number in range(prefixes)))


def test_a_change_too_large_for_one_company_is_held_whole_shown_and_applied_once_somebody_looked() -> None:
    with a_host(inventory_of((large(8), *firms(2)[1:]))) as host:
        host.gateway.most_elements = 15  # two services at eight places are sixteen elements
        host.let_act()
        host.remember("c000", "c001")
        host.work()
        assert host.cut() == {"c001"}
        assert host.events("measure.applied", "c000") == []
        assert host.ledger.measures_of("c000") == ()
        (shown,) = look.status(host.gateway, ())["held"]
        assert "c000: 16 elements to be refused at once, 15 at most" in shown
        host.gateway.most_elements = 16
        host.clock.pass_(timedelta(seconds=61))
        host.work()
        assert host.cut() == {"c000", "c001"}
        assert look.status(host.gateway, ())["held"] == []


def test_a_suspended_company_that_grows_too_much_keeps_what_it_had_and_is_restored_whole() -> None:
    with a_host(inventory_of((large(2), *firms(2)[1:]))) as host:
        host.suspend("c000")
        assert len(host.elements()) == 4
        host.gateway.most_elements = 10
        host.reload(inventory_of((large(9), *firms(2)[1:])))
        host.work()
        assert len(host.elements()) == 4
        assert len(look.status(host.gateway, ())["held"]) == 1
        host.clock.pass_(timedelta(minutes=160))
        host.beat()
        host.work()
        leases = [member.expires_ms for _, member in host.kernel.dump("vpn4_24")]
        assert min(leases) > 200 * 60_000  # renewed all the same
        host.pay("c000")
        host.work()
        assert host.elements() == {}


def test_a_repair_after_a_flush_is_not_new_however_large() -> None:
    with a_host(inventory_of((large(8), *firms(2)[1:]))) as host:
        host.suspend("c000")
        host.gateway.most_elements = 3
        before = host.elements()
        host.kernel.foreign_flush()
        host.clock.pass_(timedelta(minutes=160))
        host.beat()
        host.work()
        assert host.elements() == before
        assert host.gateway.held == {}


# --- what is counted -----------------------------------------------------------------------------------------------------------

ACTS = st.lists(
    st.tuples(st.sampled_from(("debt", "pay", "by hand", "again", "die", "gone")), st.integers(0, 4)), min_size=1, max_size=12
)


@given(acts=ACTS)
@settings(max_examples=40, deadline=None)
def test_the_tally_is_always_what_the_ledger_says(acts: list[tuple[str, int]]) -> None:
    companies = firms(5)
    with in_memory() as directory:
        host = Host(directory=directory, inventory=inventory_of(companies))
        host.start()
        host.let_act()
        for number, (what, which) in enumerate(acts):
            host.clock.pass_(timedelta(seconds=1))
            happens(host, companies, what, f"c00{which}", number)
            host.work()
            counted, fresh = host.gateway.tally, Tally.read(host.ledger, host.inventory, host.clock.now)
            assert (counted.companies, counted.prefixes) == (fresh.companies, fresh.prefixes)
            assert list(counted.ordered) == list(fresh.ordered)
            assert counted.ripe == fresh.ripe
            assert counted.pending == {}
            assert counted.companies == len(host.cut())
        host.dies()


def happens(host: Host, companies: tuple[Firm, ...], what: str, company: str, number: int) -> None:
    acts: dict[str, Callable[[], object]] = {
        "debt": lambda: host.remember(company),
        "pay": lambda: host.pay(company),
        "by hand": lambda: host.say("restore.ordered", company, {"by": "claire", "reason": "x"}, id_=f"h{number}"),
        "again": lambda: host.remember(company, again=str(number)),
        "die": lambda: (host.restart(), host.start()),
        "gone": lambda: inventory_without(host, companies, company),
    }
    acts[what]()


def inventory_without(host: Host, companies: tuple[Firm, ...], company: str) -> None:
    """A reload by which one company is gone from the files."""
    host.reload(inventory_of([firm for firm in companies if firm.id != company]))
    for _ in host.gateway.tally.recount(host.ledger, host.inventory):
        pass
    host.let_act()
    host.work()
    alarm.end_review(host.gateway)


def test_what_is_settled_while_it_counts_anew_is_counted() -> None:
    with a_host(inventory_of(firms(6))) as host:
        host.suspend("c001", "c003", "c005")
        tally = host.gateway.tally
        counting = tally.recount(host.ledger, host.inventory)
        next(counting)
        host.pay("c001")
        host.remember("c000")
        host.work()
        for _ in counting:
            pass
        fresh = Tally.read(host.ledger, host.inventory, host.clock.now)
        assert (tally.companies, tally.prefixes) == (fresh.companies, fresh.prefixes) == (3, 6)


def test_a_policy_is_pinned_when_its_notice_is_first_judged_and_never_again() -> None:
    with a_host(inventory_of(firms(2), min_debt=700)) as host:
        host.remember("c000")
        host.work()
        (pinned,) = host.events("policy.pinned")
        assert (pinned.subject, pinned.body["notice"]) == ("c000", "N-c000")
        assert pinned.body["policy"]["min_debt"] == "700"
        assert pinned.body["classes"]["vpn"] == "A"
        host.reload(inventory_of(firms(2), min_debt=800))
        host.work()
        assert len(host.events("policy.pinned")) == 1
        assert look.explain(host.gateway, "c000")["cases"][0]["pinned"]


def test_an_order_counts_as_suspended_from_the_moment_it_is_given() -> None:
    with a_host(inventory_of(firms(4))) as host:
        host.let_act()
        host.remember("c000")
        seen: list[int] = []

        def look_on(change: Change) -> None:
            if change.add:
                seen.append(host.gateway.world.load.cut_companies)

        host.kernel.before_apply = look_on
        host.work()
        assert seen == [1]
        assert host.gateway.tally.pending == {}

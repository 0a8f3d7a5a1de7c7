"""What is decided: one row per situation, and what no situation may change."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from agent.breaker import Load
from agent.continuity import Sight
from agent.decide import IN_FORCE, POLL, Act, Decision
from agent.model import Mode, Window
from tests.core.histories import circumstances, examples, nows, stories
from tests.core.stories import ANNEX, APPROVE, POLICY, ZA, Story, Walk, at, judgement_of, lines, ripe, standing, suspended, wanted

NOW = "2026-03-31 10:00"
LEASE = timedelta(minutes=POLICY.lease_minutes)
TRIAL = timedelta(seconds=25)
LATE = "2026-03-31 10:00:15"

OBSERVE_POLICY = replace(POLICY, mode=Mode.OBSERVE)
PAID = ripe().paid("4800", "2026-03-12 10:00")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A situation and what is decided. `lease`: how long the measure may stay, from now. `next_`: when to look again, from now."""

    name: str
    act: Act
    story: Story
    cause: str
    final: bool
    now: str
    lease: timedelta | None
    next_: timedelta | None
    world: Mapping[str, Any]


def row(
    name: str,
    act: Act,
    story: Story,
    cause: str = "",
    *,
    final: bool = False,
    now: str = NOW,
    lease: timedelta | None = None,
    next_: timedelta | None = None,
    **world: Any,
) -> Row:
    return Row(name=name, act=act, story=story, cause=cause, final=final, now=now, lease=lease, next_=next_, world=world)


def held(minutes: float, now: str = NOW) -> datetime:
    """A lease with so many minutes left."""
    return at(now) + timedelta(minutes=minutes)


PENDING = ripe().proposed("2026-03-27 00:00").ordered("2026-03-31 09:59")
RUNNING = suspended()
BY_APPROVAL = ripe().approved("2026-03-27 10:00").ordered("2026-03-30 09:00", mode="approve").applied("2026-03-30 09:00")
SILENT = {"feeds": {"erp": None}}
ON_TRIAL = ripe().ordered("2026-03-31 09:59:50", confirm_seconds=25)
TRIED = ON_TRIAL.applied("2026-03-31 09:59:50")
CONFIRMED = TRIED.confirmed("2026-03-31 10:00:00")
BARE = replace(ZA, sites=(replace(ZA.sites[0], local_applications=()),))

ROWS: tuple[Row, ...] = (
    # --- nothing in force
    row(
        "the period still runs: look again when it has ended",
        Act.NOTHING,
        ripe(),
        "G-09",
        now="2026-03-26 10:00",
        next_=timedelta(hours=14),
    ),
    row("paid: nothing but a new fact changes anything", Act.NOTHING, PAID, "G-04"),
    row("the letter is lost: likewise", Act.NOTHING, ripe().letter("undeliverable", "2026-03-12 10:00"), "G-07"),
    row(
        "two blocks: look again when the last of them may go",
        Act.NOTHING,
        ripe(),
        "G-09",
        now="2026-03-26 10:00",
        company=replace(ZA, subscriptions=tuple(replace(one, paid_through=date(2026, 3, 27)) for one in ZA.subscriptions)),
        next_=timedelta(hours=38),
    ),
    row("two blocks, of which one never goes", Act.NOTHING, ripe().dispute("2026-03-12 10:00"), "G-09", now="2026-03-26 10:00"),
    row("a hold", Act.NOTHING, ripe().hold("manual", "2026-03-12 10:00"), "G-13"),
    row("a silent feed: look again in a minute", Act.NOTHING, ripe(), "G-22", next_=POLL, **SILENT),
    row("nobody knows the company", Act.NOTHING, ripe(), "G-01", company=None, policy=None),
    row("mode observe: record what would be done", Act.OBSERVE, ripe(), policy=OBSERVE_POLICY, next_=timedelta(minutes=15)),
    row("the host's ceiling is observe", Act.OBSERVE, ripe(), ceiling=Mode.OBSERVE, next_=timedelta(minutes=15)),
    row("mode approve: propose, and wait", Act.PROPOSE, ripe(), "G-23", policy=APPROVE, next_=POLL),
    row("proposed already: wait", Act.NOTHING, ripe().proposed("2026-03-27 00:00"), "G-23", policy=APPROVE, next_=POLL),
    row(
        "approved by two: suspend",
        Act.SUSPEND,
        ripe().approved("2026-03-27 10:00"),
        policy=APPROVE,
        lease=LEASE,
        next_=timedelta(minutes=15),
    ),
    row("approved by one: wait", Act.PROPOSE, ripe().approved("2026-03-27 10:00", "claire"), "G-23", policy=APPROVE, next_=POLL),
    row("mode auto with a standing approval: suspend", Act.SUSPEND, ripe(), lease=LEASE, next_=timedelta(minutes=15)),
    row("mode auto without one: wait", Act.PROPOSE, ripe(), "G-23", approvals=(), next_=POLL),
    row(
        "mode auto on a site where no local application was declared acts as approve",
        Act.PROPOSE,
        ripe(),
        "G-23",
        company=BARE,
        next_=POLL,
    ),
    row("the window is shut: propose", Act.PROPOSE, ripe(), "G-20", now="2026-03-27 10:00", next_=POLL),
    row(
        "the window opens in ten seconds: look then",
        Act.PROPOSE,
        ripe(),
        "G-20",
        now="2026-03-30 08:59:50",
        next_=timedelta(seconds=10),
    ),
    row("too many today: wait", Act.PROPOSE, ripe(), "G-24", today=5, next_=POLL),
    row("the notice is stale: it is not even proposed", Act.NOTHING, ripe(), "G-10", now="2026-06-29 10:00"),
    row(
        "a payment plan was broken: no silent suspension",
        Act.NOTHING,
        ripe().hold("payment_plan", "2026-03-12 10:00").lifted("2026-03-25 10:00"),
        "G-11",
    ),
    row(
        "a payment was announced: wait some days",
        Act.NOTHING,
        ripe().announced(NOW),
        "announced",
        next_=timedelta(days=8, hours=14),
    ),
    row(
        "a plan was agreed since the notice: never",
        Act.NOTHING,
        ripe().plan("agreed", "2026-03-20 10:00", "F1").plan("broken", "2026-03-25 10:00"),
        "closed",
    ),
    row(
        "a judge deferred the debt until the day before: look again when it is over",
        Act.NOTHING,
        ripe().deferred("2026-03-20 10:00", "2026-04-14"),
        "G-13",
        next_=timedelta(days=14, hours=14),
    ),
    row("paused: propose, suspend nothing", Act.PROPOSE, ripe(), "paused", paused=True, next_=POLL),
    row("paused and proposed: nothing", Act.NOTHING, ripe().proposed("2026-03-27 00:00"), "paused", paused=True, next_=POLL),
    # --- ordered, not applied
    row("ordered a minute ago: apply", Act.KEEP, PENDING, lease=LEASE, next_=timedelta(minutes=15)),
    row("ordered, and the window has shut meanwhile", Act.RESTORE, PENDING, "G-20", now="2026-03-31 15:00", next_=POLL),
    row("ordered, and the approvals are gone", Act.RESTORE, PENDING, "G-23", approvals=(), next_=POLL),
    row("ordered, and the feed is silent now", Act.RESTORE, PENDING, "G-22", next_=POLL, **SILENT),
    row("ordered, and somebody paused since", Act.RESTORE, PENDING, "paused", paused=True, next_=POLL),
    row("ordered, and a freezing hold was set since", Act.RESTORE, PENDING.hold("stale_data", NOW), "G-13", next_=POLL),
    row(
        "ordered as the fifth of the day: its own order is not in its way",
        Act.KEEP,
        PENDING,
        load=Load(ordered=tuple(at(f"2026-03-31 {hour}:59") for hour in ("05", "06", "07", "08", "09"))),
        lease=LEASE,
        next_=timedelta(minutes=15),
    ),
    row("ordered, then paid", Act.RESTORE, PENDING.paid("4800", NOW), "G-04", final=True, next_=POLL),
    # --- local applications are to be seen answering first
    row("on trial, not applied yet: all its seconds", Act.KEEP, ON_TRIAL, "trial", lease=TRIAL, next_=TRIAL),
    row(
        "on trial: what is left of its seconds", Act.KEEP, TRIED, "trial", lease=timedelta(seconds=15), next_=timedelta(seconds=15)
    ),
    row("not confirmed in time: service comes back, the case stays open", Act.RESTORE, TRIED, "unconfirmed", now=LATE, next_=POLL),
    row("confirmed: the whole lease", Act.KEEP, CONFIRMED, lease=LEASE, next_=timedelta(minutes=15)),
    row("confirmed when its seconds were over: too late", Act.RESTORE, CONFIRMED, "lease", now=LATE, next_=POLL),
    row("paid while on trial", Act.RESTORE, TRIED.paid("4800", NOW), "G-04", final=True, next_=POLL),
    row(
        "something stopped while on trial",
        Act.RESTORE,
        TRIED.says("local.regressed", NOW, source="agent", regression="main.erp", application="main.erp"),
        "G-19",
        final=True,
        next_=POLL,
    ),
    row(
        "the probes are silent while on trial: its seconds run",
        Act.KEEP,
        TRIED,
        "health",
        lease=timedelta(seconds=15),
        next_=timedelta(seconds=15),
        sight=Sight.BLIND,
    ),
    row(
        "the probes are silent: the lease is not renewed",
        Act.KEEP,
        RUNNING,
        "health",
        lease=timedelta(minutes=200),
        next_=POLL,
        sight=Sight.BLIND,
    ),
    row("the probes are silent: nothing new", Act.NOTHING, ripe(), "G-19", next_=POLL, sight=Sight.BLIND),
    # --- in force
    row(
        "all is well: keep until the lease is due for renewal",
        Act.KEEP,
        RUNNING,
        lease=timedelta(minutes=200),
        next_=timedelta(minutes=15),
    ),
    row(
        "at night and on a holiday a lawful measure stays",
        Act.KEEP,
        RUNNING,
        now="2026-04-06 03:00",
        lease=timedelta(minutes=200),
        next_=timedelta(minutes=15),
    ),
    row(
        "without any approval left a lawful measure stays",
        Act.KEEP,
        RUNNING,
        approvals=(),
        lease=timedelta(minutes=200),
        next_=timedelta(minutes=15),
    ),
    row(
        "paused: a measure in force stays",
        Act.KEEP,
        RUNNING,
        paused=True,
        lease=timedelta(minutes=200),
        next_=timedelta(minutes=15),
    ),
    row(
        "a freezing hold: a measure in force stays",
        Act.KEEP,
        RUNNING.hold("stale_data", NOW),
        lease=timedelta(minutes=200),
        next_=timedelta(minutes=15),
    ),
    row("the lease is due: renew", Act.KEEP, RUNNING, lease=LEASE, next_=timedelta(minutes=15)),
    row("the feed is silent: keep, do not renew", Act.KEEP, RUNNING, "health", lease=timedelta(minutes=50), next_=POLL, **SILENT),
    row(
        "the feed is silent and the lease ends within a minute",
        Act.KEEP,
        RUNNING,
        "health",
        lease=timedelta(seconds=30),
        next_=timedelta(seconds=30),
        **SILENT,
    ),
    row("the feed was silent until the lease ended", Act.RESTORE, RUNNING, "lease", next_=POLL, **SILENT),
    row("the lease ran out", Act.RESTORE, RUNNING, "lease", next_=POLL),
    row(
        "a lease longer than its own length, after a clock step, is cut down",
        Act.KEEP,
        RUNNING,
        lease=LEASE,
        next_=timedelta(minutes=15),
    ),
    row("paid", Act.RESTORE, RUNNING.paid("4800", NOW), "G-04", final=True, next_=POLL),
    row("paid down to less than the threshold", Act.RESTORE, RUNNING.paid("4500", NOW), "G-05", final=True, next_=POLL),
    row(
        "paid in part, still above the threshold",
        Act.KEEP,
        RUNNING.paid("3000", NOW),
        lease=timedelta(minutes=200),
        next_=timedelta(minutes=15),
    ),
    row("announced is not paid, but a reason to wait some days", Act.RESTORE, RUNNING.announced(NOW), "announced", next_=POLL),
    row(
        "announced, where the policy waits for nothing but money",
        Act.KEEP,
        RUNNING.announced(NOW),
        policy=replace(POLICY, grace_on_announced=False),
        lease=timedelta(minutes=200),
        next_=timedelta(minutes=15),
    ),
    row("contested, with a motive", Act.RESTORE, RUNNING.dispute(NOW, "F1"), "G-04", final=True, next_=POLL),
    row("contested, vaguely", Act.RESTORE, RUNNING.dispute(NOW), "G-12", final=True, next_=POLL),
    row("insolvency", Act.RESTORE, RUNNING.hold("insolvency", NOW), "G-13", final=True, next_=POLL),
    row("insolvency learnt late", Act.RESTORE, RUNNING.insolvent(NOW, "2026-03-20"), "G-04", final=True, next_=POLL),
    row("a court orders to restore", Act.RESTORE, RUNNING.court(NOW), "G-13", final=True, next_=POLL),
    row(
        "a court orders to restore once a sum is paid",
        Act.KEEP,
        RUNNING.court(NOW, "restore_if_paid", amount="1000.00"),
        lease=timedelta(minutes=200),
        next_=timedelta(minutes=15),
    ),
    row(
        "and it is paid",
        Act.RESTORE,
        RUNNING.court("2026-03-31 09:00", "restore_if_paid", amount="1000.00").paid("1000", NOW),
        "G-13",
        final=True,
        next_=POLL,
    ),
    row("a judge defers the debt", Act.RESTORE, RUNNING.deferred(NOW, "2026-06-30"), "G-13", final=True, next_=timedelta(0)),
    row("a plan is agreed", Act.RESTORE, RUNNING.plan("agreed", NOW, "F1"), "plan_agreed", final=True, next_=POLL),
    row("the debtor is replaced", Act.RESTORE, RUNNING.replaced(NOW), "superseded", final=True, next_=POLL),
    row("the case was an error", Act.RESTORE, RUNNING.voided(NOW), "error", final=True, next_=POLL),
    row("a danger is reported", Act.RESTORE, RUNNING.endangered(NOW), "G-13", final=True, next_=POLL),
    row("the customer switches provider", Act.RESTORE, RUNNING.switching(NOW, "vpn"), "G-13", final=True, next_=POLL),
    row(
        "the customer switches another service",
        Act.KEEP,
        RUNNING.switching(NOW, "hosted-mail"),
        lease=timedelta(minutes=200),
        next_=timedelta(minutes=15),
    ),
    row(
        "a local application stopped answering",
        Act.RESTORE,
        RUNNING.says("local.regressed", NOW, regression="L1", application="erp"),
        "G-19",
        final=True,
        next_=POLL,
    ),
    row(
        "the register of insolvencies was not looked at: keep, do not renew",
        Act.KEEP,
        RUNNING,
        "health",
        register=None,
        lease=timedelta(minutes=200),
        next_=POLL,
    ),
    row(
        "the clock is not to be trusted: keep, do not renew",
        Act.KEEP,
        RUNNING,
        "health",
        clock=None,
        lease=timedelta(minutes=200),
        next_=POLL,
    ),
    row("thirty days", Act.RESTORE, RUNNING, "G-27", final=True, now="2026-04-29 09:00", next_=POLL),
    row(
        "paid in part: stage 3 is no longer in proportion, stage 2 is",
        Act.LOWER,
        RUNNING.paid("3000", NOW),
        "G-18",
        policy=replace(POLICY, stages=(2, 3), stage3_min_debt=Decimal(2000)),
        lease=timedelta(minutes=200),
        next_=POLL,
    ),
    row(
        "thirty days at stage 3, where the policy has a gentler one",
        Act.LOWER,
        RUNNING,
        "G-27",
        policy=replace(POLICY, stages=(2, 3)),
        now="2026-04-29 09:00",
        lease=timedelta(minutes=200),
        next_=POLL,
    ),
    row("the company left the inventory", Act.RESTORE, RUNNING, "G-01", final=True, company=None, policy=None, next_=POLL),
    row(
        "the post now says: unknown at this address",
        Act.RESTORE,
        RUNNING.letter("undeliverable", NOW),
        "G-07",
        final=True,
        next_=POLL,
    ),
    row(
        "the post now says: delivered on the 20th",
        Act.RESTORE,
        RUNNING.letter("delivered", "2026-03-20 10:00"),
        "G-09",
        final=True,
        next_=timedelta(0),
    ),
    row(
        "the announcement turns out narrower",
        Act.RESTORE,
        RUNNING.notice("2026-03-10 11:00", services=["vpn"]),
        "G-08",
        final=True,
        next_=POLL,
    ),
    row("a person restores by hand", Act.RESTORE, RUNNING.by_hand(NOW), "operator", final=True, next_=POLL),
    row("everything is restored meanwhile", Act.RESTORE, RUNNING, "paused", paused=True, restore_all=True, next_=POLL),
    row(
        "ordered in auto, then the ceiling is lowered to approve", Act.RESTORE, RUNNING, "ceiling", ceiling=Mode.APPROVE, next_=POLL
    ),
    row(
        "ordered in auto, then the ceiling is lowered to observe", Act.RESTORE, RUNNING, "ceiling", ceiling=Mode.OBSERVE, next_=POLL
    ),
    row("ordered in auto, then the policy says approve", Act.RESTORE, RUNNING, "ceiling", policy=APPROVE, next_=POLL),
    row(
        "ordered in auto, then a site turns out to have no declared local application",
        Act.RESTORE,
        RUNNING,
        "ceiling",
        company=BARE,
        next_=POLL,
    ),
    row(
        "ordered by approval, the ceiling lowered to approve",
        Act.KEEP,
        BY_APPROVAL,
        ceiling=Mode.APPROVE,
        lease=timedelta(minutes=200),
        next_=timedelta(minutes=15),
    ),
    row(
        "died between applying and noting the lease: it ran from the applying",
        Act.KEEP,
        RUNNING,
        now="2026-03-30 10:00",
        lease=timedelta(minutes=180),
        next_=timedelta(minutes=15),
    ),
    row("died there, and the lease has run out since", Act.RESTORE, RUNNING, "lease", now="2026-03-30 13:00", next_=POLL),
    # --- afterwards
    row("closed: never again", Act.NOTHING, RUNNING.paid("4800", "2026-03-30 10:00").restored("2026-03-30 10:00"), "closed"),
    row(
        "closed, then the payment comes back",
        Act.NOTHING,
        RUNNING.paid("4800", "2026-03-30 10:00").restored("2026-03-30 10:00").returned("2026-03-31 09:00"),
        "closed",
    ),
    row(
        "closed, then approved by whole departments",
        Act.NOTHING,
        RUNNING.restored("2026-03-30 10:00").approved("2026-03-31 09:00"),
        "closed",
    ),
    row("paid in time, and the payment came back after the notice", Act.NOTHING, PAID.returned("2026-03-30 10:00"), "G-04"),
    row(
        "restored by hand, and the restore is recorded",
        Act.NOTHING,
        RUNNING.by_hand("2026-03-30 10:00").restored("2026-03-30 10:00", cause="operator"),
        "closed",
    ),
    row(
        "restored by hand before anything was ordered",
        Act.NOTHING,
        ripe().proposed("2026-03-27 00:00").by_hand("2026-03-30 08:00"),
        "closed",
    ),
    row(
        "the lease ran out in mode approve: every approval is asked again",
        Act.PROPOSE,
        BY_APPROVAL.restored("2026-03-30 13:00", cause="lease", final=False),
        "G-23",
        policy=APPROVE,
        next_=POLL,
    ),
    row(
        "approved again after the lease ran out",
        Act.SUSPEND,
        BY_APPROVAL.restored("2026-03-30 13:00", cause="lease", final=False).approved("2026-03-31 09:00"),
        policy=APPROVE,
        lease=LEASE,
        next_=timedelta(minutes=15),
    ),
)

#: The lease of the situations that have a measure in force, by what is left of it.
_LEFT: Mapping[str, float] = {
    "on trial: what is left of its seconds": 0.25,
    "not confirmed in time: service comes back, the case stays open": 0,
    "confirmed: the whole lease": 0.25,
    "confirmed when its seconds were over: too late": 0,
    "paid while on trial": 0.25,
    "something stopped while on trial": 0.25,
    "the probes are silent while on trial: its seconds run": 0.25,
    "the lease is due: renew": 60,
    "the feed is silent: keep, do not renew": 50,
    "the feed is silent and the lease ends within a minute": 0.5,
    "the feed was silent until the lease ended": 0,
    "the lease ran out": -1,
    "a lease longer than its own length, after a clock step, is cut down": 60 * 24 * 3,
}
_NO_LEASE = ("died between applying and noting the lease: it ran from the applying", "died there, and the lease has run out since")


def decided(case: Row) -> Decision:
    in_force = case.story.without().events and any(event.type == "measure.applied" for event in case.story.events)
    world = dict(case.world)
    if in_force and case.name not in _NO_LEASE:
        world["lease"] = held(_LEFT.get(case.name, 200), case.now)
    return case.story.case(case.now, **world).decision


@pytest.mark.parametrize("case", ROWS, ids=[one.name for one in ROWS])
def test_it_is_decided(case: Row) -> None:
    found = decided(case)
    assert (found.act, found.cause, found.final) == (case.act, case.cause, case.final), found
    assert found.lease_until == (at(case.now) + case.lease if case.lease is not None else None)
    assert (found.lease_until is not None) == (found.act in IN_FORCE)
    if case.next_ != timedelta(0):  # written as zero where the date is of no interest
        assert found.next_at == (at(case.now) + case.next_ if case.next_ is not None else None)


def test_every_act_has_its_situations() -> None:
    assert {one.act for one in ROWS} == set(Act)
    assert {one.cause for one in ROWS if one.act is Act.RESTORE} >= {
        "paused",
        "ceiling",
        "lease",
        "operator",
        "G-05",
        "G-13",
        "G-20",
    }
    assert len({one.name for one in ROWS}) == len(ROWS)
    assert set(_LEFT) | set(_NO_LEASE) <= {one.name for one in ROWS}


def test_a_restore_says_why_in_both_languages() -> None:
    for case in ROWS:
        found = decided(case)
        if found.act is Act.RESTORE:
            assert found.fr, case.name
            assert found.en, case.name
            assert found.fr != found.en, case.name


def test_a_lease_is_renewed_between_forty_and_sixty_percent_before_its_end_and_cases_spread_out() -> None:
    end = at(NOW) + LEASE

    def renewed(story: Story, left: float) -> bool:
        found = story.case(end - timedelta(minutes=left), leases={f"{story.company}:N1": end})
        return found.decision.lease_until != end

    moments = set()
    for number in range(40):
        story = suspended(Story(company=f"c{number}"))
        assert not renewed(story, 0.601 * POLICY.lease_minutes)
        assert renewed(story, 0.4 * POLICY.lease_minutes)
        moments.add(next(left for left in range(145, 90, -5) if renewed(story, left)))
    assert len(moments) > 5


# --- properties ---------------------------------------------------------------------------------------------------


_ANY_WINDOW = st.sampled_from(
    [(), POLICY.windows, (Window(days=(0, 1, 2, 3, 4, 5, 6), start=time(0), end=time(23, 59)),)],
)


@given(stories(), st.data())
@examples(35)
def test_a_restore_looks_at_no_window_no_approval_and_no_limit(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    world = data.draw(circumstances(now))
    world["leases"] = world["leases"] or {"za:N1": now + timedelta(hours=1), "za:N2": now - timedelta(hours=1)}

    def acts(**changes: Any) -> list[tuple[Act, str]]:
        return [
            (one.decision.act, one.decision.cause)
            for one in judgement_of(story.record, now, **(world | changes)).judged
            if one.case.order is not None
        ]

    before = acts()
    assume(before)
    event(f"{sorted({act.value for act, _ in before})}")
    policy = replace(
        world["policy"], windows=data.draw(_ANY_WINDOW), max_new_per_day=data.draw(st.sampled_from([1, 100])), approvals=3
    )
    load = data.draw(
        st.sampled_from([Load(), Load(open_cause="a wave"), Load(ordered=(now,) * 1000, companies=9, cut_companies=9)])
    )
    assert acts(policy=policy, approvals=(), load=load, paused=not world["paused"]) == before


@given(stories(), st.data())
@examples(35)
def test_nothing_is_suspended_that_was_not_announced_nor_before_its_time(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    for one in judgement_of(story.record, now, **data.draw(circumstances(now))).in_force():
        notice, order = one.case.notice, one.case.order
        assert set(order.services if order else notice.services) <= set(notice.services) <= set(ANNEX)
        assert notice.effective_at is not None
        assert now >= at(f"{notice.earliest_on} 00:00") - timedelta(hours=4)
        assert now - notice.effective_at > timedelta(days=14)
        assert one.decision.lease_until is not None
        assert now < one.decision.lease_until <= now + timedelta(minutes=order.lease_minutes if order else POLICY.lease_minutes)


@given(stories(), st.data())
@examples(35)
def test_full_payment_restores_at_once_whatever_else_is_so(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    everything = story.paid("99999.00", now.isoformat(), id_="P9")
    assert not wanted(judgement_of(everything.record, now, **data.draw(circumstances(now))))


# --- through time -------------------------------------------------------------------------------------------------

#: Looks seldom enough to walk for weeks.
HOURLY = replace(POLICY, feed_max_age_minutes=1440, clock_max_age_minutes=1440, lease_minutes=1440)


def told(walk: Walk) -> list[tuple[str, str, str]]:
    return [(when.isoformat(), what, one.decision.cause) for when, what, one in walk.lines]


def test_a_whole_life_of_a_case_in_mode_auto() -> None:
    walk = Walk(story=ripe().paid("4800", "2026-03-31 14:07:12"), circumstances={"policy": HOURLY}).through("2026-05-12 00:00")
    assert told(walk) == [
        ("2026-03-26T23:00:00+00:00", "propose", "G-20"),
        ("2026-03-30T07:00:00+00:00", "suspend", ""),
        ("2026-03-30T07:00:00+00:00", "keep", ""),
        ("2026-03-31T12:07:12+00:00", "restore", "G-04"),
    ]


def test_an_unpaid_measure_ends_by_itself_after_its_longest_duration_and_stays_ended() -> None:
    walk = Walk(story=ripe(), circumstances={"policy": HOURLY}).through("2026-05-12 00:00")
    assert told(walk)[2:] == [
        ("2026-03-30T07:00:00+00:00", "keep", ""),
        ("2026-04-29T07:00:00+00:00", "restore", "G-27"),
    ]


def test_a_payment_that_comes_back_suspends_nothing_until_a_second_notice_makes_a_second_case() -> None:
    story = ripe().paid("4800", "2026-03-31 14:07:12").returned("2026-04-02 10:00")
    story = story.notice("2026-04-08 10:00", "N2", earliest_on="2026-04-25").letter("delivered", "2026-04-09 10:00", "N2")
    story = story.warned("2026-04-22 10:00", "W2", "N2")
    walk = Walk(story=story, circumstances={"policy": HOURLY}).through("2026-05-12 00:00")
    assert [(when.date().isoformat(), what, one.case.notice.id) for when, what, one in walk.lines if what == "suspend"] == [
        ("2026-03-30", "suspend", "N1"),
        ("2026-04-27", "suspend", "N2"),
    ]


def test_a_late_fact_lifts_at_once_and_never_cuts_back_in_time() -> None:
    late = suspended().without("notice.delivered")
    assert late.case(NOW, lease=held(100)).decision.act is Act.RESTORE
    before = ripe().without("notice.delivered")
    assert before.case("2026-03-31 09:59").decision.act is Act.NOTHING
    assert before.letter("delivered", "2026-03-11 10:30").case("2026-03-31 10:00").decision.lease_until == at("2026-03-31 14:00")


def test_after_a_judgment_only_a_notice_to_the_officeholder_on_later_invoices_goes_on_and_never_by_itself() -> None:
    story = suspended().insolvent("2026-04-18 07:05", "2026-04-09")
    late = story.case("2026-04-18 07:05", lease="2026-04-18 10:00")
    assert (late.decision.act, late.decision.reason) == (Act.RESTORE, "insolvency")

    def asked(addressee: str, **periods: str) -> Story:
        told = [line | periods for line in lines("900.00")]
        fresh = story.restored("2026-04-18 07:05:01", reason="insolvency").invoice(
            "F7", "900.00", "2026-06-15", issued_on="2026-05-31", when="2026-05-31 08:00", lines=told
        )
        for number, day in enumerate(("2026-06-16", "2026-06-24", "2026-07-02"), 7):
            fresh = fresh.reminder(f"R{number}", f"{day} 10:00", "F7")
        more = {"invoices": ["F7"], "reminders": ["R7", "R8", "R9"], "earliest_on": "2026-07-25", "addressee": addressee}
        return (
            fresh.notice("2026-07-06 10:00", "N2", **more)
            .letter("delivered", "2026-07-07 10:00", "N2")
            .warned("2026-07-23 10:00", "W2", "N2")
        )

    def found(story: Story) -> tuple[Act, str]:
        decision = story.case("2026-07-28 10:00", "N2").decision
        return decision.act, decision.cause

    assert found(asked("officeholder", period_from="2026-04-10")) == (Act.PROPOSE, "G-23")
    assert found(asked("officeholder", period_from="2026-04-08")) == (Act.NOTHING, "G-04"), "owed from before the judgment"
    assert found(asked("company", period_from="2026-04-10")) == (Act.NOTHING, "G-13")


def test_two_cases_of_one_company_are_decided_each_on_its_own() -> None:
    story = suspended().invoice("F2", "900.00").notice(id_="N2", invoices=["F2"]).letter("delivered", "2026-03-25 10:30", "N2")
    judged = story.judged(NOW, lease=held(200)).judged
    assert [(one.case.notice.id, one.decision.act) for one in judged] == [("N1", Act.KEEP), ("N2", Act.NOTHING)]
    assert story.judged(NOW, lease=held(200)).next_at == min(one.decision.next_at for one in judged if one.decision.next_at)


def test_a_standing_approval_that_ends_stops_new_suspensions_only() -> None:
    ended = {"approvals": standing(until="2026-03-31 09:00")}
    assert ripe().case(NOW, **ended).decision.act is Act.PROPOSE
    assert suspended().case(NOW, lease=held(200), **ended).decision.act is Act.KEEP

"""Floor 3. What would have been suspended, when and why: facts and policies, without a kernel and without a ledger.

Rules of this room:

1. The same `judge` as the daemon, walked from the first fact to the asked instant: at every fact, and wherever a check says
   that time alone changes it. Nothing here decides.
2. Orders are taken as applied at once, and restores too. Leases are taken as renewed, feeds as fresh, and nobody pauses or
   approves: a simulation shows what policies and facts do, not what an operator or a fault would.
3. All companies share one time line, so that the limit of new suspensions per day works as it would.
4. Time is an argument; nothing is read and nothing is written.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from agent import report
from agent.billing import Source
from agent.case import EMPTY_RECORD, Case, Record, StandingApproval, fold
from agent.decide import Act
from agent.event import HOST, TYPES, Event, Origin, instant
from agent.gate import Kind, World
from agent.gate.moment import APPROVING_ROLES
from agent.judge import NO_POLICY, Judged, Judgement, judge
from agent.model import Company, Inventory, Mode, Policy

_DAY = timedelta(days=1)
_FEED = "simulation"

#: Ordered, then kept; or restored, then closed: nothing needs more looks at one instant.
_ROUNDS = 4

#: In whose name the facts of a file are read. The key signs nothing: a file is not verified, and is believed only here.
SOURCE = Source(
    name="file",
    kind="native",
    secrets=(bytes(24),),
    events=frozenset(name for name, spec in TYPES.items() if spec.origin is Origin.BILLING),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Something the agent would have done or recorded: `act` is `observe`, `propose`, `suspend` or `restore`."""

    at: datetime
    company: str
    case: str
    act: str
    services: tuple[str, ...]
    cause: str
    fr: str
    en: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One company at the asked instant, with the inventory's view of it and the policy it was judged by."""

    company: Company | None
    policy: Policy
    judgement: Judgement


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulation:
    """What would have happened up to `at`. `later` counts the facts dated after it, which were left out."""

    at: datetime
    ceiling: Mode
    approved: bool
    facts: int
    later: int
    moments: tuple[Moment, ...]
    outcomes: tuple[Outcome, ...]


def simulate(
    events: Iterable[Event],
    inventory: Inventory,
    at: datetime,
    *,
    ceiling: Mode = Mode.AUTO,
    approved: bool = False,
) -> Simulation:
    """Walk the decisions about every company that a fact is about.

    Args:
        events: facts in any order; those about the host are passed over.
        inventory: services, policies and companies.
        at: aware instant at which to stop and look.
        ceiling: the host's own limit of modes.
        approved: count a standing approval as given for every policy in mode `auto`, in its present version.
    """
    said = sorted((event for event in events if event.subject != HOST), key=lambda event: (event.occurred_at, event.id))
    past = [event for event in said if event.occurred_at <= at]
    walk = _Walk(inventory=inventory, ceiling=ceiling, standing=_standing(inventory, at) if approved else ())
    for company in {event.subject for event in past}:
        walk.records[company] = EMPTY_RECORD
    facts = deque(past)
    while True:
        now = walk.next_time(facts[0].occurred_at if facts else None)
        if now is None or now > at:
            break
        due = walk.due(now)
        while facts and facts[0].occurred_at == now:
            event = facts.popleft()
            walk.records[event.subject] = fold(walk.records[event.subject], event)
            due.add(event.subject)
        for company in sorted(due):
            walk.settle(company, now)
    return Simulation(
        at=at,
        ceiling=ceiling,
        approved=approved,
        facts=len(past),
        later=len(said) - len(past),
        moments=tuple(walk.moments),
        outcomes=tuple(walk.outcome(company, at) for company in sorted(walk.records)),
    )


def plain(simulation: Simulation) -> dict[str, Any]:
    """The whole simulation as JSON-able values; each company as `report.judgement` tells it."""
    companies = {one.judgement.company: one.company for one in simulation.outcomes}
    return {
        "at": instant(simulation.at),
        "ceiling": simulation.ceiling.value,
        "approved": simulation.approved,
        "feeds": "counted as fresh",
        "facts": simulation.facts,
        "later": simulation.later,
        "moments": [
            {
                "at": instant(moment.at),
                "company": moment.company,
                "timezone": report.timezone(companies.get(moment.company)),
                "case": moment.case,
                "act": moment.act,
                "services": list(moment.services),
                "cause": moment.cause,
                "reason": {"fr": moment.fr, "en": moment.en},
            }
            for moment in simulation.moments
        ],
        "companies": [report.judgement(one.judgement, one.company, one.policy, simulation.at) for one in simulation.outcomes],
    }


@dataclass(kw_only=True)
class _Walk:
    """The state of one simulation on its way through time."""

    inventory: Inventory
    ceiling: Mode
    standing: tuple[StandingApproval, ...]
    records: dict[str, Record] = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)
    _look_at: dict[str, datetime] = field(default_factory=dict)
    _times: list[tuple[datetime, str]] = field(default_factory=list)
    _ordered: deque[datetime] = field(default_factory=deque)
    _observed: set[str] = field(default_factory=set)
    _held: dict[str, set[str]] = field(default_factory=dict)

    def next_time(self, fact: datetime | None) -> datetime | None:
        """When something happens next: the next fact, or a company's time has come."""
        while self._times and self._look_at.get(self._times[0][1]) != self._times[0][0]:
            heapq.heappop(self._times)  # the company was looked at since, and is due at another time
        times = ([self._times[0][0]] if self._times else []) + ([fact] if fact else [])
        return min(times, default=None)

    def due(self, now: datetime) -> set[str]:
        """The companies whose time has come."""
        found: set[str] = set()
        while self._times and self._times[0][0] <= now:
            at, company = heapq.heappop(self._times)
            if self._look_at.get(company) == at:
                del self._look_at[company]
                found.add(company)
        return found

    def settle(self, company_id: str, now: datetime) -> None:
        """Judge a company, do what is decided until nothing is left to do, and note when to look again."""
        for _ in range(_ROUNDS):
            outcome = self.outcome(company_id, now)
            done = [event for one in outcome.judgement.judged for event in self._done(one, company_id, now)]
            if not done:
                break
            for event in done:
                self.records[company_id] = fold(self.records[company_id], event)
        self._look_at.pop(company_id, None)
        look_at = outcome.judgement.next_at
        if look_at is not None:
            self._look_at[company_id] = look_at
            heapq.heappush(self._times, (look_at, company_id))

    def outcome(self, company_id: str, now: datetime) -> Outcome:
        """One company as it is judged now."""
        company = self.inventory.company(company_id)
        policy = self.inventory.policies.get(company.policy) if company else None
        while self._ordered and self._ordered[0] <= now - _DAY:
            self._ordered.popleft()
        judgement = judge(
            company_id=company_id,
            record=self.records[company_id],
            company=company,
            services=self.inventory.services,
            policy=policy,
            world=World(ceiling=self.ceiling, feeds={_FEED: now}, standing=self.standing, ordered_last_day=len(self._ordered)),
            restore_all=False,
            leases=dict.fromkeys(self._held.get(company_id, ()), now + _DAY),
            now=now,
        )
        judged = tuple(
            replace(one, decision=replace(one.decision, lease_until=None, next_at=self._next(one, now))) for one in judgement.judged
        )
        next_at = min((one.decision.next_at for one in judged if one.decision.next_at), default=None)
        judgement = replace(judgement, judged=judged, next_at=next_at)
        return Outcome(company=company, policy=policy or NO_POLICY, judgement=judgement)

    def _done(self, one: Judged, company_id: str, now: datetime) -> tuple[Event, ...]:
        case, act = one.case, one.decision.act
        if act is Act.SUSPEND:
            self._say(one, company_id, now, case.notice.services)
            self._ordered.append(now)
            self._held.setdefault(company_id, set()).add(case.id)
            return _ordered(one, company_id, now)
        if act is Act.RESTORE and case.order is not None:
            self._say(one, company_id, now, case.order.services)
            self._held[company_id].discard(case.id)
            return (_restored(one, company_id, case.order.id, now),)
        if act is Act.PROPOSE:
            self._say(one, company_id, now, case.notice.services)
            body = {"case": case.id, "services": list(case.notice.services), "gate": {}}
            return (_event("case.proposed", f"proposed:{case.id}/{case.orders + 1}", company_id, now, body),)
        if act is Act.OBSERVE and case.id not in self._observed:
            self._observed.add(case.id)
            self._say(one, company_id, now, case.notice.services)
        return ()

    def _say(self, one: Judged, company_id: str, now: datetime, services: tuple[str, ...]) -> None:
        fr, en = report.reason(one.decision, one.gate, one.case)
        self.moments.append(
            Moment(
                at=now,
                company=company_id,
                case=one.case.id,
                act=one.decision.act.value,
                services=services,
                cause=one.decision.cause,
                fr=fr,
                en=en,
            )
        )

    def _next(self, one: Judged, now: datetime) -> datetime | None:
        """When time alone may change a decision. `decide` also looks for persons, feeds and leases; here nothing comes of them."""
        if one.case.closed:
            return None
        blocking = () if one.case.order else one.gate.blocking(Kind.STANDING, Kind.HEALTH) or one.gate.blocking(Kind.APPLY)
        checks = blocking or one.gate.of(Kind.STANDING)
        times = [self._ordered[0] + _DAY if check.code == "G-24" and self._ordered else check.until for check in checks]
        ahead = [at for at in times if at is not None and at > now]
        if blocking:  # nothing can be done before the last of these has changed; some never do by time alone
            return max(ahead) if len(ahead) == len(blocking) else None
        return min(ahead, default=None)


def _standing(inventory: Inventory, at: datetime) -> tuple[StandingApproval, ...]:
    """Approvals by as many persons as each policy asks for, so that the approvals are never what holds a case."""
    role = min(APPROVING_ROLES)
    return tuple(
        StandingApproval(
            by=f"simulation-{number}",
            role=role,
            policy=policy.id,
            policy_digest=policy.digest,
            at=at,
            expires_at=at + _DAY,
            fact="simulation",
        )
        for policy in inventory.policies.values()
        if policy.mode is Mode.AUTO
        for number in range(1, policy.approvals + 1)
    )


def _ordered(one: Judged, company_id: str, now: datetime) -> tuple[Event, ...]:
    """The order and its application, as the enforcer would write them."""
    case: Case = one.case
    order = f"{case.id}/{case.orders + 1}"
    services = list(case.notice.services)
    body: Mapping[str, Any] = {
        "order": order,
        "case": case.id,
        "services": services,
        "gate": {},
        "policy_digest": one.policy.digest,
        "lease_minutes": one.policy.lease_minutes,
        "mode": one.gate.mode.value,
        "expires_at": instant(now + timedelta(days=one.policy.max_suspension_days)),
    }
    applied = {"order": order, "case": case.id, "services": services, "elements": 0, "times": {}}
    return (
        _event("order.suspend", f"order:{order}", company_id, now, body),
        _event("measure.applied", f"applied:{order}", company_id, now, applied),
    )


def _restored(one: Judged, company_id: str, order: str, now: datetime) -> Event:
    decision = one.decision
    body = {"order": order, "case": one.case.id, "cause": decision.cause, "final": decision.final, "times": {}}
    return _event("measure.restored", f"restored:{order}", company_id, now, body)


def _event(type_: str, id_: str, company_id: str, now: datetime, body: Mapping[str, Any]) -> Event:
    return Event(id=id_, type=type_, subject=company_id, occurred_at=now, received_at=now, source="agent", body=body)

"""Floor 3. The daemon's decisions walked through time: no ledger, no kernel, no clock.

Rules of this room:

1. The same `judge` as the daemon's, at every fact, and wherever a check says that time alone changes it. Nothing here decides.
2. Orders are taken as applied at once, and restores too. What the gateway itself watches (feeds, clock, insolvency register,
   local applications) is taken as good where no fact says otherwise, and the breaker does not open on the way: a walk shows what
   policies and facts do, not what a fault would. Nobody approves or pauses on the way.
3. All companies share one time line, so that the limits on new suspensions work as they would. A company is looked at when
   something about itself changes. Those that only wait for their turn stand in lines, one for each way in which the window and
   the limits can treat a company; while the head of a line has to wait, so has the whole line, and nobody else is asked.
4. Records that are not looked at are kept packed.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from agent import acts, report
from agent.case import ANNOUNCED, case_id
from agent.decide import Act
from agent.event import Event, instant
from agent.gate import Check, Kind, World
from agent.history import NOTICE, pack, unpack
from agent.host import ClockState
from agent.judge import NO_POLICY, Judged, Judgement, judge
from agent.model import PLAIN, Company, Effect, Inventory, Policy
from agent.record import EMPTY_RECORD, Record, fold, keys
from agent.stages import words as stage_words

_DAY = timedelta(days=1)

#: The one feed of a walk; it has always just reported.
_FEED = "walk"

#: Ordered, then kept; or restored, then closed: nothing needs more looks at one instant.
_ROUNDS = 4

#: The limit on new suspensions, and with the window the checks that say the same of all who stand in one line.
_LIMIT = "G-24"
_SHARED = frozenset({"G-20", _LIMIT})

#: Acts after which a company must be looked at again at once.
_CHANGES = frozenset({Act.SUSPEND, Act.LOWER, Act.RESTORE})

#: What a baseline of local traffic is long enough for, in any policy.
_BASELINE_HOURS = 24 * 365


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Something the agent would have done or recorded: `act` is `observe`, `propose`, `suspend`, `lower` or `restore`.

    `timezone` is the one in which people should be told of it. `missing`: what still kept the case from being suspended, but for
    the window and the limits, which only take time.
    """

    at: datetime
    company: str
    timezone: str
    case: str
    act: str
    services: tuple[str, ...]
    cause: str
    fr: str
    en: str
    effect: Effect = PLAIN
    missing: tuple[Check, ...] = ()


def lacks(one: Judged) -> tuple[Check, ...]:
    """What keeps a case from being suspended; the window and the limits only when nothing else does."""
    found = report.in_the_way(one)
    return tuple(check for check in found if check.code not in _SHARED) or found


def in_order(moments: Iterable[Moment]) -> tuple[Moment, ...]:
    """Moments by time and company."""
    return tuple(sorted(moments, key=lambda one: (one.at, one.company)))


def moment(one: Moment) -> dict[str, Any]:
    """One moment as JSON-able values."""
    return {
        "at": instant(one.at),
        "company": one.company,
        "timezone": one.timezone,
        "case": one.case,
        "act": one.act,
        "stage": one.effect.terms.stage,
        "effect": dict(zip(("fr", "en"), stage_words(one.effect), strict=True)),
        "services": list(one.services),
        "cause": one.cause,
        "reason": {"fr": one.fr, "en": one.en},
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One company at an instant, with the inventory's view of it and the policy it was judged by."""

    company: Company | None
    policy: Policy
    judgement: Judgement


@dataclass(frozen=True, order=True, slots=True)
class _Line:
    """What the window and the limits look at in a company. `prefixes` is how many it has.

    `alone` is the company's id where something else may count too: a policy pinned before, a check that persons lifted.
    """

    policy: str
    timezones: tuple[str, ...]
    prefixes: int
    alone: str = ""


@dataclass(kw_only=True, slots=True)
class _Walker:
    """One company on its way.

    `facts` are those to come, the next one last. `waits`: it stands in its line. `dull`: it has no case that still lives, so that
    nothing matters to it but a new formal notice. `cut`: a measure is in force.
    """

    id: str
    company: Company | None
    policy: Policy
    line: _Line
    record: bytes
    facts: list[Event]
    look_at: datetime | None = None
    next_at: datetime | None = None
    waits: bool = False
    dull: bool = True
    cut: bool = False

    def next_fact(self) -> datetime | None:
        """When the next fact comes that it must be looked at for."""
        matters = (fact.occurred_at for fact in reversed(self.facts) if not self.dull or fact.type == NOTICE)
        return next(matters, None)


@dataclass(kw_only=True)
class Walk:
    """Companies on one time line.

    `moments` is what was done so far, as it came. `world` is what concerns none of them, as it stands at the start; what is taken
    as good anyway may be missing. Its load does not count measures of companies that come along: those are counted on the way.
    """

    inventory: Inventory
    world: World
    moments: list[Moment] = field(default_factory=list)
    _walkers: dict[str, _Walker] = field(default_factory=dict)
    _times: list[tuple[datetime, str]] = field(default_factory=list)
    _lines: dict[_Line, list[str]] = field(default_factory=dict)
    _naps: dict[_Line, datetime | None] = field(default_factory=dict)
    _alarms: list[tuple[datetime, _Line]] = field(default_factory=list)
    _observed: set[str] = field(default_factory=set)
    _ordered: deque[datetime] = field(init=False)
    _cut_companies: int = field(init=False)
    _cut_prefixes: int = field(init=False)

    def __post_init__(self) -> None:
        load = self.world.load
        self._ordered, self._cut_companies, self._cut_prefixes = deque(load.ordered), load.cut_companies, load.cut_prefixes

    def add(
        self, company_id: str, *, record: Record = EMPTY_RECORD, facts: Iterable[Event] = (), at: datetime | None = None
    ) -> None:
        """Take a company along.

        Args:
            company_id: as the inventory has it, if it has it.
            record: what was said about it before.
            facts: what will be said, by time.
            at: when to look at it first, besides at its facts; for a record with cases.
        """
        company = self.inventory.company(company_id)
        policy = self.inventory.policies.get(company.policy, NO_POLICY) if company else NO_POLICY
        zones = tuple(sorted({site.timezone for site in company.sites})) if company else ()
        prefixes = company.prefix_count() if company else 0
        self._walkers[company_id] = one = _Walker(
            id=company_id,
            company=company,
            policy=policy,
            line=_Line(policy.id, zones, prefixes),
            record=pack(record),
            facts=list(facts)[::-1],
            look_at=at,
        )
        self._schedule(one)

    def through(self, end: datetime) -> None:
        """Walk on, up to and with `end`."""
        for _ in self.steps(end):
            pass

    def steps(self, end: datetime) -> Iterator[datetime]:
        """Walk on, up to and with `end`, and stop after each look, so that a daemon can do other things in between."""
        while True:
            if self._times and (not self._alarms or self._times[0][0] <= self._alarms[0][0]):
                now, company_id = self._times[0]
                if now > end:
                    return
                heapq.heappop(self._times)
                one = self._walkers[company_id]
                if one.next_at == now:  # otherwise it was looked at since, and is due at another time
                    self._settle(one, now)
                    yield now
            elif self._alarms and self._alarms[0][0] <= end:
                now = self._alarms[0][0]
                for _ in self._serve(now):
                    yield now
            else:
                return

    def outcome(self, company_id: str, now: datetime) -> Outcome:
        """One company as it is judged at `now`; only where the walk has come to and no further."""
        one = self._walkers[company_id]
        record = self._heard(one, now)
        one.record = pack(record)
        judgement = self._judge(one, record, now)
        judged = tuple(
            replace(each, decision=replace(each.decision, lease_until=None, next_at=_next(each, now).at))
            for each in judgement.judged
        )
        next_at = min((each.decision.next_at for each in judged if each.decision.next_at), default=None)
        return Outcome(company=one.company, policy=one.policy, judgement=replace(judgement, judged=judged, next_at=next_at))

    # --- one company ------------------------------------------------------------------------------------------------

    def _settle(self, one: _Walker, now: datetime) -> None:
        """Take in what is said now, judge, do what is decided until nothing is left to do, and note when to look again."""
        record = self._heard(one, now)
        for _ in range(_ROUNDS):
            judgement = self._judge(one, record, now)
            done = [event for each in judgement.judged for event in self._done(each, one.id, now)]
            for event in done:
                record = fold(record, event)
            if all(each.decision.act not in _CHANGES for each in judgement.judged):
                break
        for note in judgement.notes:
            record = fold(record, _event(note.type, note.id, one.id, now, note.body))
        one.record = pack(record)
        self._plan(one, judgement, now)

    def _plan(self, one: _Walker, judgement: Judgement, now: datetime) -> None:
        """When to look at a company again, whether it stands in its line, and what it counts for in the limits."""
        before = one.cut
        one.dull = all(each.case.closed and each.case.order is None for each in judgement.judged)
        one.cut = any(each.case.order is not None for each in judgement.judged)
        ahead = [_next(each, now) for each in judgement.judged]
        one.look_at = min((each.at for each in ahead if each.at is not None and not each.shared), default=None)
        one.waits = any(each.shared for each in ahead)
        if one.waits:
            alone = any(each.case.overrides or _pinned_before(each) for each in judgement.judged)
            one.line = replace(one.line, alone=one.id if alone else "")
            heapq.heappush(self._lines.setdefault(one.line, []), one.id)
            if one.line not in self._naps:
                self._nap(one.line, min((each.at for each in ahead if each.at is not None and each.shared), default=None))
        if one.cut != before:
            change = 1 if one.cut else -1
            self._cut_companies += change
            self._cut_prefixes += change * one.line.prefixes
            if before:
                self._freed(now)
        self._schedule(one)

    def _heard(self, one: _Walker, now: datetime) -> Record:
        """What is said about a company up to now."""
        record: Record = unpack(one.record)
        while one.facts and one.facts[-1].occurred_at <= now:
            record = fold(record, one.facts.pop())
        return record

    def _schedule(self, one: _Walker) -> None:
        one.next_at = min((at for at in (one.look_at, one.next_fact()) if at is not None), default=None)
        if one.next_at is not None:
            heapq.heappush(self._times, (one.next_at, one.id))

    def _judge(self, one: _Walker, record: Record, now: datetime) -> Judgement:
        if not keys(record, "preflight.done"):
            body = {"result": "green", "baseline_hours": _BASELINE_HOURS, "local_matches": 0}
            record = fold(record, _event("preflight.done", "preflight", one.id, now, body))
        lease = now + _DAY  # every measure is renewed in time
        return judge(
            company_id=one.id,
            record=record,
            company=one.company,
            services=self.inventory.services,
            policy=one.policy if one.policy is not NO_POLICY else None,
            world=self._world(now),
            restore_all=False,
            leases={case_id(one.id, notice): lease for notice in keys(record, NOTICE)},
            now=now,
        )

    def _world(self, now: datetime) -> World:
        """What concerns no company, with all that the gateway watches as good as it can be."""
        while self._ordered and self._ordered[0] <= now - _DAY:
            self._ordered.popleft()
        load = replace(
            self.world.load, ordered=tuple(self._ordered), cut_companies=self._cut_companies, cut_prefixes=self._cut_prefixes
        )
        clock = ClockState(at=now, synchronised=True, offset_ms=0, stepped=False)
        return replace(self.world, feeds={_FEED: now}, load=load, clock=clock, insolvency_checked_at=now)

    def _done(self, one: Judged, company_id: str, now: datetime) -> tuple[Event, ...]:
        case, act = one.case, one.decision.act
        if act is Act.SUSPEND:
            self._say(one, company_id, now)
            self._ordered.append(now)
            order = acts.next_order(one)
            return (
                _event("order.suspend", f"order:{order}", company_id, now, acts.ordered(one, {})),
                _event("measure.applied", f"applied:{order}", company_id, now, acts.applied(one, order, 0, {})),
            )
        if act is Act.RESTORE and case.order is not None:
            self._say(one, company_id, now)
            body = acts.restored(one, case.order.id, {})
            return (_event("measure.restored", f"restored:{case.order.id}", company_id, now, body),)
        if act is Act.LOWER and case.order is not None:
            self._say(one, company_id, now)
            body = acts.lowered(one, case.order.id, 0, {})
            return (_event("measure.lowered", f"lowered:{case.order.id}/{body['stage']}", company_id, now, body),)
        if act is Act.PROPOSE:
            self._say(one, company_id, now)
            body = {"case": case.id, "services": list(one.measure.services), "gate": {}}
            return (_event("case.proposed", f"proposed:{acts.next_order(one)}", company_id, now, body),)
        if act is Act.OBSERVE and case.id not in self._observed:
            self._observed.add(case.id)
            self._say(one, company_id, now)
        return ()

    def _say(self, one: Judged, company_id: str, now: datetime) -> None:
        fr, en = report.reason(one.decision, one.gate, one.case)
        self.moments.append(
            Moment(
                at=now,
                company=company_id,
                timezone=report.timezone(self._walkers[company_id].company),
                case=one.case.id,
                act=one.decision.act.value,
                services=one.measure.services,
                effect=one.measure.effect,
                cause=one.decision.cause,
                fr=fr,
                en=en,
                missing=tuple(check for check in report.in_the_way(one) if check.code not in _SHARED),
            )
        )

    # --- those who wait for their turn ------------------------------------------------------------------------------

    def _nap(self, line: _Line, until: datetime | None) -> None:
        """Nobody of this line is asked before `until`; None: not before a measure ends somewhere."""
        self._naps[line] = until
        if until is not None:
            heapq.heappush(self._alarms, (until, line))

    def _freed(self, now: datetime) -> None:
        """A measure ended: lines that were held by what is in force have their turn again."""
        for line in [line for line, until in self._naps.items() if until is None]:
            self._nap(line, now)

    def _serve(self, now: datetime) -> Iterator[None]:
        """Ask the heads of the lines whose time has come, by company, until each line is empty or its head has to wait."""
        awake: set[_Line] = set()
        while self._alarms and self._alarms[0][0] <= now:
            at, line = heapq.heappop(self._alarms)
            if line in self._naps and self._naps[line] == at:
                del self._naps[line]
                awake.add(line)
        heads = [(self._lines[line][0], line) for line in awake if self._lines[line]]
        heapq.heapify(heads)
        while heads:
            company_id, line = heapq.heappop(heads)
            heapq.heappop(self._lines[line])
            if self._walkers[company_id].waits:
                self._settle(self._walkers[company_id], now)
                yield
            if line not in self._naps and self._lines[line]:
                heapq.heappush(heads, (self._lines[line][0], line))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Next:
    """When to look at a case again without a new fact (None: never). `shared`: only the window or a limit is in the way."""

    at: datetime | None
    shared: bool = False


def _next(one: Judged, now: datetime) -> _Next:
    """When time alone may change a decision. `decide` also looks for persons, feeds and leases; here nothing comes of them."""
    if one.case.closed:
        return _Next(at=None)
    if one.decision.act is Act.NOTHING and one.decision.cause == ANNOUNCED:
        return _Next(at=one.decision.next_at)
    blocking = () if one.case.order else one.gate.blocking(Kind.STANDING, Kind.HEALTH) or one.gate.blocking(Kind.APPLY)
    if not blocking:
        return _Next(at=min(_ahead(one.gate.of(Kind.STANDING), now), default=None))
    own = [check for check in blocking if check.code not in _SHARED]
    if own and len(_ahead(own, now)) < len(own):  # one of them never changes by time alone
        return _Next(at=None)
    # Nothing can be done before the last of these has changed.
    return _Next(at=max(_ahead(blocking, now), default=None), shared=not own)


def _pinned_before(one: Judged) -> bool:
    return one.case.pinned is not None and one.case.pinned.digest != one.policy.digest


def _ahead(checks: Iterable[Check], now: datetime) -> list[datetime]:
    return [check.until for check in checks if check.until is not None and check.until > now]


def _event(type_: str, id_: str, company_id: str, now: datetime, body: Mapping[str, Any]) -> Event:
    return Event(id=id_, type=type_, subject=company_id, occurred_at=now, received_at=now, source="agent", body=body)

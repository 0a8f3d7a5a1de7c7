"""Floor 3. What the enforcing side works on, and what it wants of the kernel for one company.

One value with a lifetime: the ledger, the kernel, the policies in force, the clock, the stop file. `reconcile` and `audit`
are the two flows over it.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from agent import __version__, stopfile
from agent.breaker import Load
from agent.case import EMPTY_RECORD, ClockState, HostFacts, Record, fold, host_facts
from agent.continuity import Lookout, Nobody
from agent.errors import LedgerCorrupt, LedgerUnwritable
from agent.event import HOST, Event
from agent.fight import Fight
from agent.gate import World
from agent.inforce import InForceRules
from agent.judge import Judgement, judge
from agent.kernel import Kernel
from agent.leases import Lease, elements
from agent.ledger import InForce
from agent.ledger.sqlite import Ledger
from agent.metrics import EnforcerMetrics
from agent.model import ANY_LINKS, Company, Inventory, Links, Mode, StandingKey
from agent.names import without_needed
from agent.proof import prove_standing
from agent.record import statements
from agent.rules import Element, Key
from agent.ruleset import candidates, interface_of
from agent.stages import REMOTE
from agent.tally import Tally

log = logging.getLogger("ecluse")

#: Elements that may be refused anew to one company at once, where the host's configuration says nothing else.
MOST_ELEMENTS = 2_000

#: What is under way against a company, and ended by a person's word to restore.
_UNDER_WAY = ("order.suspend", "case.proposed", "approval.given")

#: Why the stop file names a company when no person wrote it there.
_VOLATILE = "restored while the ledger could not be written, on the ground of: "


@dataclass(kw_only=True)
class Review:
    """New policies, services or customers that are compared with the former ones, company by company, before they may cut anybody.

    What they restore is restored at once. `before`: the former inventory, None where it is lost. `newly`: the cases that only the
    new files let ripen.
    """

    before: Inventory | None
    newly: set[str] = field(default_factory=set)


@dataclass(kw_only=True)
class Gateway:
    """See the room's docstring. `now` gives aware UTC time; only the demo and tests inject another than the wall clock.

    `volatile`: facts the ledger could not take yet, by company: authentic ones that can only help, and what was done on their
    ground. They count like recorded ones, and are recorded as soon as the ledger takes them. `waiting`: proposed cases that wait
    for persons or the moment, by company, as far as they were looked at since the start (they are every minute); `again`:
    companies to be looked at now although nothing was said about them. `review`: see there; None once it is over. `arrived`: when
    a fact that may restore came in (monotonic) and happened, by company. `clock`: as the agent sees it, None where it does not
    look; `clock_steps`: how often it jumped. `held`: changes that the guard holds, by company, in French and English. `kernel_why`:
    why this backend, in both. `most_elements`: so many may be refused anew to one company at once. `lookout`: who looks at local
    applications. `fight`: how often our table had to be put back lately. `links`: what elements may name, kept by `relink`;
    `unlinked`: links that attachments name and elements may not, and why. `remote`: the companies with a measure on everything
    remote in force, or about to be (`agent.remote`). `refused_anew`: told when more is refused than before, or may be, and is
    in the kernel.
    """

    ledger: Ledger
    kernel: Kernel
    rules: InForceRules
    now: Callable[[], datetime]
    stop_path: Path
    spare_stop_path: Path
    ceiling: Mode
    feeds: tuple[str, ...]
    metrics: EnforcerMetrics
    clock: ClockState | None = None
    clock_steps: int = 0
    volatile: dict[str, list[Event]] = field(default_factory=dict)
    arrived: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    waiting: dict[str, tuple[str, ...]] = field(default_factory=dict)
    again: dict[str, None] = field(default_factory=dict)
    review: Review | None = None
    held: dict[str, tuple[str, str]] = field(default_factory=dict)
    kernel_why: tuple[str, str] = ("", "")
    most_elements: int = MOST_ELEMENTS
    lookout: Lookout = field(default_factory=Nobody)
    fight: Fight = field(default_factory=Fight)
    tally: Tally = field(init=False)
    host: HostFacts = field(init=False)
    links: Links = ANY_LINKS
    unlinked: dict[str, tuple[str, str]] = field(default_factory=dict)
    refused_anew: Callable[[], None] = lambda: None
    ledger_good: bool = True
    last_sentence: str = ""
    last_good_at: datetime | None = None
    failures: dict[str, str] = field(default_factory=dict)
    world: World = field(init=False)
    stop: stopfile.Stop = field(init=False)
    held_in_memory: stopfile.Pause | None = None
    basis: str = field(init=False)
    remote: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.remote = set(self.ledger.companies_at_remote())
        self.tally = Tally.read(self.ledger, self.rules.inventory, self.now())
        self.host = host_facts(EMPTY_RECORD)
        self.look_around()

    def look_around(self) -> None:
        """Read what concerns no single company: the stop file, the host's record, how much was suspended lately."""
        now = self.now()
        self.stop = self._stops()
        if self.held_in_memory is not None:
            self.stop = replace(self.stop, all=self.held_in_memory)
        host, before = host_facts(self.ledger.record(HOST) or EMPTY_RECORD), self.host
        self.host = host
        self.tally.forget(now)
        self.world = World(
            ceiling=self.ceiling,
            feeds={source: host.heartbeats.get(source) for source in self.feeds},
            standing=host.standing,
            paused=self.stop.all is not None,
            clock=self.clock or host.clock,
            insolvency_checked_at=host.insolvency_checked_at,
            inseparable=self.rules.inseparable,
            load=Load(
                ordered=tuple(self.tally.ordered),
                companies=self.rules.companies,
                prefixes=self.rules.prefixes,
                cut_companies=self.tally.companies + len(self.tally.pending),
                cut_prefixes=self.tally.prefixes + sum(self.tally.pending.values()),
                open_cause=host.breaker_open,
                open_cause_fr="; ".join(dict.fromkeys(cause.fr for cause in host.breaker_causes)),
                comparing=self.review is not None,
            ),
        )
        self._tell_breaker(before)
        # Everything but signs of life and counts, which only matter to cases that wait and are looked at every minute anyway.
        self.basis = hashlib.sha256(
            json.dumps(
                [
                    __version__,
                    self.rules.inventory.digest,
                    self.ceiling.value,
                    sorted(one.fact for one in host.standing),
                    None if self.stop.all is None else self.stop.all.restore,
                    sorted(self.stop.companies),
                    self.clock_steps,
                    self.rules.inseparable,
                ]
            ).encode()
        ).hexdigest()[:32]
        self.metrics.paused(paused=self.stop.all is not None)

    def record(self, company_id: str) -> Record:
        """What was said about a company, with facts the ledger could not take yet."""
        record = self.ledger.record(company_id) or EMPTY_RECORD
        for event in self.volatile.get(company_id, ()):
            record = fold(record, event)
        return record

    def after_under_way(self, company_id: str, at: datetime) -> datetime:
        """When a person's word to restore counts: after all that is under way against the company, whatever the clock did."""
        record = self.record(company_id)
        return max([at, *(one.at for type_ in _UNDER_WAY for one in statements(record, type_))])

    def judge(
        self, company_id: str, now: datetime, rules: Inventory | None = None
    ) -> tuple[Company | None, Judgement, tuple[InForce, ...]]:
        """Judge one company as things stand, by the inventory in force or by another one."""
        inventory = rules or self.rules.inventory
        company = inventory.company(company_id)
        held = self.ledger.measures_of(company_id)
        pause = self.stop.pause(company_id)
        judgement = judge(
            company_id=company_id,
            record=self.record(company_id),
            company=company,
            services=inventory.services,
            policy=inventory.policies.get(company.policy) if company else None,
            world=replace(
                self.world,
                paused=self.world.paused or pause is not None,
                load=self._load(company_id, company if held else None),
                sight=self.lookout.sight(company_id),
            ),
            restore_all=pause is not None and pause.restore,
            leases={one.case: datetime.fromtimestamp(one.lease_until, UTC) for one in held},
            now=now,
        )
        return company, judgement, held

    def _load(self, company_id: str, suspended: Company | None) -> Load:
        """How much is suspended besides the company that is asked about (`suspended`: it, if it is itself)."""
        tally = self.tally
        own = tally.pending.get(company_id, 0) + (suspended.prefix_count() if suspended else 0)
        return replace(
            self.world.load,
            cut_companies=tally.companies + len(tally.pending) - (company_id in tally.pending) - (suspended is not None),
            cut_prefixes=tally.prefixes + sum(tally.pending.values()) - own,
        )

    def _tell_breaker(self, before: HostFacts) -> None:
        """Say in log and metrics when the breaker opened or was released."""
        causes = self.host.breaker_causes
        for cause in causes:
            if cause not in before.breaker_causes:
                log.error(
                    "the breaker is open: %s; nothing new is suspended until somebody looks and gives `ecluse release`", cause.en
                )
        if before.breaker_causes and not causes:
            log.warning("the breaker was released")
        self.metrics.breaker(is_open=bool(causes))

    def wanted(
        self, company: Company | None, leases: Iterable[Lease], now: datetime, rules: InForceRules | None = None
    ) -> tuple[Element, ...]:
        """The elements wanted for one company just now.

        Args:
            company: the debtor; nothing is wanted of a company the inventory does not know.
            leases: its measures in force.
            now: aware instant.
            rules: by which; None: those in force.
        """
        if company is None:
            return ()
        rules = rules or self.rules
        return elements(company, leases, without_needed(company, rules.services), rules.sets, now, links=self.links)

    def candidates(self, company: Company) -> tuple[Key, ...]:
        """Every key that one company could have in the kernel, of every kind of set that there is."""
        needs, policy = self.rules.needs, self.rules.inventory.policies.get(company.policy)
        if company.id not in self.remote and (policy is None or policy.stage4_extent != REMOTE):
            needs = replace(needs, rest=None)  # only who may come to stage 4 can have something there
        return candidates(company, self.rules.services, self.links, needs)

    def standing(self, held: Iterable[InForce], keys: Iterable[StandingKey], now: float) -> tuple[Element, ...]:
        """What `wanted` gives for one company, from its compiled keys, and proven as far as these can be.

        Args:
            held: its measures in force, by case, all of them plain.
            keys: from `Inventory.standing_keys`, not empty.
            now: UNIX seconds (UTC).

        Raises:
            ProofFailed: a key is not what the structure takes it for.
        """
        found: dict[tuple[str, bytes], Element] = {}
        for one in held:
            left_ms = int((one.lease_until - now) * 1000)
            mine = [key for key in keys if key[0] in one.services] if left_ms > 0 else []
            prove_standing(mine, one.services, self.rules.proven)
            for _, set_name, key in mine:
                if (set_name, key) not in found and self._there(set_name, key):
                    found[set_name, key] = Element(set=set_name, key=key, case=one.case, timeout_ms=left_ms)
        return tuple(found.values())

    def _there(self, set_name: str, key: bytes) -> bool:
        """False for a key with the name of a link that is not there."""
        owner = self.rules.proven.owners.get(set_name)
        name = interface_of(owner.members, key) if owner and self.links.present is not None else None
        return name is None or self.links.has(name)

    def append(self, *events: Event) -> bool:
        """Write what the agent itself did. False when the ledger can not take it now; restores are kept as volatile facts."""
        try:
            self.ledger.append(events)
        except (LedgerUnwritable, LedgerCorrupt) as error:
            # What was applied is seen again in the kernel and recorded then; what is gone from it would be forgotten.
            self.keep_volatile(event for event in events if event.type == "measure.restored")
            self.ledger_bad(str(error))
            return False
        return True

    def keep_volatile(self, events: Iterable[Event]) -> None:
        """Let facts count although the ledger could not take them; and let a restart know, which would not."""
        new = False
        for event in events:
            known = self.volatile.setdefault(event.subject, [])
            if all(other.id != event.id for other in known):
                known.append(event)
                new = True
        if not new:
            return
        now = self.now()
        companies = {}
        for company, waiting in self.volatile.items():
            pause = self.stop.companies.get(company)
            if company != HOST and (pause is None or pause.by == stopfile.AGENT):  # a person's word that it is restored says more
                before = _waited_for(pause)
                ids = dict.fromkeys((*before, *(event.id for event in waiting)))
                companies[company] = stopfile.Pause(by=stopfile.AGENT, at=now, reason=_VOLATILE + " ".join(ids), restore=True)
        try:
            self.stop_more(replace(self.stop, companies={**self.stop.companies, **companies}))
        except OSError as error:  # memory still has it
            log.warning("the stop file can not be written: %s", error)

    def stop_more(self, stop: stopfile.Stop) -> None:
        """Make `stop`, which stops no less than what is stopped now, outlive this process.

        The disk that takes no facts may take no stop file either: then it is written beside the sockets, which are in memory.

        Raises:
            OSError: neither place could be written; the former files are as they were.
        """
        found = self._stops()
        if not found.fault:  # a person may have written it without us meanwhile
            stop = replace(_joined(stop, found), companies={**found.companies, **stop.companies})
        try:
            stopfile.write(self.stop_path, stop)
        except OSError as error:
            log.warning("the stop file can not be written: %s", error)
            stopfile.write(self.spare_stop_path, stop)
        self.stop = stop

    def stop_less(self, stop: stopfile.Stop) -> None:
        """Let go of stops: only `stop` is left.

        Raises:
            OSError: a file could not be written; what it says still counts.
        """
        stopfile.write(self.stop_path, stop)
        stopfile.write(self.spare_stop_path, stopfile.Stop())
        self.stop = stop

    def _stops(self) -> stopfile.Stop:
        return _joined(stopfile.read(self.stop_path), stopfile.read(self.spare_stop_path))

    def hold_in_memory(self, pause: stopfile.Pause | None) -> None:
        """Obey a pause that could not be written to the stop file; None ends it."""
        self.held_in_memory = pause

    def in_kernel(self, *, wanted: int, found: int) -> None:
        """The whole kernel was compared with the whole ledger: so many elements were wanted, so many of them found."""
        self.metrics.attachments(desired=wanted, actual=found)
        self.metrics.audited(at=self.now().timestamp())
        self.refused_anew()

    def ledger_bad(self, what: str) -> None:
        """The ledger did not commit: no suspension and no renewal until it does."""
        if self.ledger_good:
            log.error("the ledger can not be written: %s", what)
        self.ledger_good = False
        self.failures["ledger"] = what
        self.metrics.failed("ledger")

    def catch_up(self, more: Callable[[Sequence[Event]], Sequence[Event]] = lambda _: ()) -> bool:
        """Write down what had to wait, with what `more` says belongs to it. True when the ledger takes writes and nothing waits."""
        if self.ledger_good:
            return True
        waiting = [event for events in self.volatile.values() for event in events]
        try:
            if waiting:
                self.ledger.append([*waiting, *more(waiting)])
            elif not self.ledger.writable():
                return False
        except (LedgerUnwritable, LedgerCorrupt) as error:
            self.failures["ledger"] = str(error)
            return False
        self.volatile.clear()
        self.ledger_good = True
        self.failures.pop("ledger", None)
        self.look_around()
        self.forget_volatile()
        log.info("the ledger can be written again; %d facts that waited are recorded", len(waiting))
        return True

    def forget_volatile(self) -> None:
        """Let go of companies whose facts that waited are in the ledger now, also those that a former process wrote down."""
        if not self.stop.companies or self.held_in_memory is not None:
            return
        self.stop = self._stops()  # a person may have written it without us meanwhile
        kept = {company: pause for company, pause in self.stop.companies.items() if not self._recorded(pause)}
        if len(kept) < len(self.stop.companies) and not self.stop.fault:
            try:
                self.stop_less(replace(self.stop, companies=kept))
            except OSError as error:
                log.warning("the stop file can not be written: %s", error)

    def _recorded(self, pause: stopfile.Pause) -> bool:
        waited = _waited_for(pause)
        return bool(waited) and all(self.ledger.has(event_id) for event_id in waited)


def agent_event(*, id_: str, type_: str, subject: str, now: datetime, body: Mapping[str, object]) -> Event:
    """A fact that the agent states about its own doing."""
    return Event(id=id_, type=type_, subject=subject, occurred_at=now, received_at=now, source="agent", body=dict(body))


def _joined(stop: stopfile.Stop, spare: stopfile.Stop) -> stopfile.Stop:
    """What two stop files say together: whatever one of them stops is stopped; of two pauses the one that restores."""
    general = [pause for pause in (stop.all, spare.all) if pause is not None]
    return stopfile.Stop(
        all=next((pause for pause in general if pause.restore), general[0] if general else None),
        companies={**stop.companies, **spare.companies},
        fault=stop.fault or spare.fault,
    )


def _waited_for(pause: stopfile.Pause | None) -> tuple[str, ...]:
    """The ids of the facts because of which we ourselves keep a company restored."""
    if pause is None or not pause.reason.startswith(_VOLATILE):
        return ()
    return tuple(pause.reason.removeprefix(_VOLATILE).split())

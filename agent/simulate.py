"""Floor 3. What would have been suspended, when and why: facts and policies, without a kernel and without a ledger.

Rules of this room:

1. `walk` does the walking; here facts come in, and what came of them goes out as values.
2. Without a formal notice there is no case: a company nobody sent one to is counted, and judged only when it is asked for.
3. Time is an argument; nothing is read and nothing is written.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from agent import report
from agent.billing import Source
from agent.breaker import Load
from agent.event import TYPES, Event, Origin, instant
from agent.gate import World
from agent.history import History, gather
from agent.model import Inventory, Mode
from agent.persons import StandingApproval
from agent.record import EMPTY_RECORD, fold
from agent.walk import Moment, Outcome, Walk, in_order, moment

#: Approvals that count as given do not run out in what is looked at.
_LONG = timedelta(days=3660)

#: In whose name the facts of a file are read. The key signs nothing: a file is not verified, and is believed only here.
SOURCE = Source(
    name="file",
    kind="native",
    secrets=(bytes(24),),
    events=frozenset(name for name, spec in TYPES.items() if spec.origin is Origin.BILLING),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulation:
    """What would have happened up to `at`.

    `companies` are those with a case, sorted; `quiet` counts the others that a fact is about. `history` holds the facts, `walk`
    stands at `at`.
    """

    at: datetime
    ceiling: Mode
    approved: bool
    moments: tuple[Moment, ...]
    companies: tuple[str, ...]
    quiet: int
    history: History = field(repr=False)
    walk: Walk = field(repr=False)

    def look(self, company: str) -> Outcome:
        """One company as it is judged at `at`."""
        if company not in self.history.noticed:
            record = EMPTY_RECORD
            for event in self.history.about(company):
                record = fold(record, event)
            self.walk.add(company, record=record)
        return self.walk.outcome(company, self.at)

    def outcomes(self) -> Iterator[Outcome]:
        """Every company with a case as it is judged at `at`, one at a time."""
        return map(self.look, self.companies)


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
        events: facts in any order, read once; those about the host are passed over.
        inventory: services, policies and companies.
        at: aware instant at which to stop and look.
        ceiling: the host's own limit of modes.
        approved: count a standing approval as given for every policy in mode `auto`, in its present version.
    """
    return replay(gather(events, at), inventory, at, ceiling=ceiling, approved=approved)


def replay(
    history: History, inventory: Inventory, at: datetime, *, ceiling: Mode = Mode.AUTO, approved: bool = False
) -> Simulation:
    """As `simulate`, over facts that were gathered up to `at` already: to walk the same facts under several policies."""
    walk = begin(history, inventory, at, ceiling=ceiling, approved=approved)
    walk.through(at)
    return Simulation(
        at=at,
        ceiling=ceiling,
        approved=approved,
        moments=in_order(walk.moments),
        companies=tuple(sorted(history.noticed)),
        quiet=len(history.by_company) - len(history.noticed),
        history=history,
        walk=walk,
    )


def begin(history: History, inventory: Inventory, at: datetime, *, ceiling: Mode, approved: bool) -> Walk:
    """A walk that has not taken its first step yet, with every company that has a formal notice; as for `replay`."""
    standing = _standing(inventory, at) if approved else ()
    walk = Walk(inventory=inventory, world=World(ceiling=ceiling, feeds={}, standing=standing, load=known(inventory)))
    for company in history.noticed:
        walk.add(company, facts=history.about(company))
    return walk


def known(inventory: Inventory) -> Load:
    """The size of the whole, of which a policy lets only a share be suspended."""
    companies = prefixes = 0
    for company in inventory.companies():
        companies += 1
        prefixes += sum(1 for _ in company.attachments())
    return Load(companies=companies, prefixes=prefixes)


def plain(simulation: Simulation, company: str | None = None) -> dict[str, Any]:
    """The simulation as JSON-able values; each company as `report.judgement` tells it.

    Args:
        simulation: the whole.
        company: tell only of this one, which need not have a case.
    """
    outcomes = simulation.outcomes() if company is None else iter((simulation.look(company),))
    return {
        "at": instant(simulation.at),
        "ceiling": simulation.ceiling.value,
        "approved": simulation.approved,
        "feeds": "counted as fresh",
        "facts": simulation.history.count,
        "later": simulation.history.later,
        "quiet": simulation.quiet,
        "moments": [moment(one) for one in simulation.moments if company in (None, one.company)],
        "companies": [report.judgement(one.judgement, one.company, one.policy, simulation.at) for one in outcomes],
    }


def _standing(inventory: Inventory, at: datetime) -> tuple[StandingApproval, ...]:
    """Approvals by as many persons as each policy asks for, so that the approvals are never what holds a case."""
    return tuple(
        StandingApproval(
            by=f"simulation-{number}",
            role="approver",
            policy=policy.id,
            policy_digest=policy.digest,
            at=at,
            expires_at=at + _LONG,
            fact="simulation",
        )
        for policy in inventory.policies.values()
        if policy.mode is Mode.AUTO
        for number in range(1, policy.approvals + 1)
    )

"""Floor 2. The ledger: what was said, in order, for good; and what follows from it, ready to use.

The contract that every ledger keeps (`sqlite.py` is the embedded one):

1. An event id is appended once. The first body wins; a second append of the same id is a value (`False`), not an error.
2. `append` returns after the commit is on the disk. If it raises, nothing of the batch counts as said.
3. Every row carries SHA-256(hash of the row before || its heading with a commitment to its body); the first row follows 32 zero
   bytes. Rows are numbered 1, 2, 3 without a gap. Nobody changes or removes a row; a body may be erased, which a row of its own
   says, and every hash still verifies.
4. Everything else is a projection: it can be thrown away and made again from the events, except the schedule and the
   measures in force, which the enforcer writes and whose loss leads to a restore, never to a cut.
5. A projection is folded in the transaction that appends, so it is never behind the events.
6. A ledger has one owner that writes. Others may open it read-only at the same time.
"""

from dataclasses import dataclass

from agent.event import Event
from agent.model import PLAIN, Effect

#: What the first row's hash is chained to.
GENESIS = bytes(32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One event as it stands in the ledger: its number (from 1) and the hash that chains it to the row before.

    `erased`: its body is gone; what the event has is empty.
    """

    seq: int
    event: Event
    hash: bytes
    erased: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class InForce:
    """A measure that is in force now. `lease_until` is in UNIX seconds (UTC).

    `since`: when it came into effect without a break since then, in UNIX seconds (0: it has always been); None: it is restricted to
    hours and not in effect just now.
    """

    company: str
    case: str
    order: str
    services: tuple[str, ...]
    lease_until: float
    effect: Effect = PLAIN
    since: float | None = 0.0

    @property
    def plain(self) -> bool:
        """True if it refuses its services always and has nothing to drain."""
        return self.effect == PLAIN


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What came out of deciding about one company.

    `seq` is the ledger's head as it was read *before* the company's record: a fact appended since then keeps the company
    due. `next_at` (UNIX seconds, UTC) is when the decision may change by time alone, None if never. `basis` names
    everything else the decision rested on (inventory, policies, approvals, pauses); when it changes, the company is
    due. `measures` are all measures of this company that are in force.
    """

    company: str
    seq: int
    next_at: float | None
    basis: str
    measures: tuple[InForce, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Sizes of the ledger. `companies` counts the companies something was said about, without the host itself."""

    events: int
    companies: int
    measures: int

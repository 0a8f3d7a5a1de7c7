"""Floor 3. What the breaker counts, kept in memory in step with the ledger: orders, ripe cases, who is suspended.

Rules of this room:

1. A look at it costs the same at 100 and at 100 000 customers. The ledger is read whole at a start and after a reload only, page
   by page, so that the caller can breathe in between.
2. In doubt it counts more: what was ordered counts as suspended until the kernel and the ledger say what became of it.
3. Everything in it can be read from the ledger again; a restart loses nothing.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent.breaker import SPAN
from agent.ledger import Settled
from agent.ledger.sqlite import Ledger
from agent.model import Inventory

_DAY = timedelta(days=1)

#: Companies per page of a recount: about two milliseconds.
_PAGE = 1_000

#: Ripe cases remembered at most: more than any policy may call a wave.
_MOST_RIPE = 10_001


@dataclass(kw_only=True, slots=True)
class _Recount:
    """A count under way: of the companies up to and with `cursor`."""

    cursor: str = ""
    companies: int = 0
    prefixes: int = 0


@dataclass(kw_only=True, slots=True)
class Tally:
    """See the room.

    `ordered`: when suspensions were ordered in the last day, earliest first. `ripe`: cases that became ripe within the hour, with
    the time. `pending`: companies ordered to be suspended and not settled since, with their prefixes. `companies`, `prefixes`:
    with a measure in force.
    """

    ordered: deque[datetime] = field(default_factory=deque)
    ripe: dict[str, datetime] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)
    companies: int = 0
    prefixes: int = 0
    _recount: _Recount | None = None

    @classmethod
    def read(cls, ledger: Ledger, inventory: Inventory, now: datetime) -> "Tally":
        """From the ledger, at a start."""
        ripe = sorted(ledger.ripe_since(now - SPAN, _MOST_RIPE).items(), key=lambda one: one[1])
        tally = cls(ordered=deque(ledger.ordered_since(now - _DAY)), ripe=dict(ripe))
        for _ in tally.recount(ledger, inventory):
            pass
        return tally

    def recount(self, ledger: Ledger, inventory: Inventory) -> Iterator[None]:
        """Count anew who is suspended, by another inventory; what is settled while the caller breathes is counted too."""
        again = self._recount = _Recount()
        while page := ledger.companies_in_force(again.cursor, _PAGE):
            again.companies += len(page)
            again.prefixes += inventory.prefix_count(page)
            again.cursor = page[-1]
            yield
        self.companies, self.prefixes, self._recount = again.companies, again.prefixes, None

    def forget(self, now: datetime) -> None:
        """Let go of what is too long ago to count."""
        while self.ordered and self.ordered[0] <= now - _DAY:
            self.ordered.popleft()
        while self.ripe and next(iter(self.ripe.values())) <= now - SPAN:
            del self.ripe[next(iter(self.ripe))]

    def order(self, company_id: str, prefixes: int, at: datetime) -> None:
        """A company was ordered to be suspended."""
        self.ordered.append(at)
        self.pending[company_id] = prefixes

    def ripen(self, case: str, at: datetime) -> None:
        """A case became ripe, for the first time."""
        if len(self.ripe) < _MOST_RIPE:
            self.ripe.setdefault(case, at)

    def settle(self, ledger: Ledger, inventory: Inventory, notes: Sequence[Settled]) -> None:
        """Write what came of looking at companies, and count who is suspended now.

        Raises:
            LedgerUnwritable: nothing was written, and nothing changed here.
        """
        before = {note.company: bool(ledger.measures_of(note.company)) for note in notes}
        for note, taken in zip(notes, ledger.settle(notes), strict=True):
            if not taken:  # a fact came in between: it stays due, and what was ordered stays counted
                continue
            after = bool(note.measures)
            if after != before[note.company]:
                self._add(note.company, inventory, 1 if after else -1)
                before[note.company] = after
            self.pending.pop(note.company, None)

    def _add(self, company_id: str, inventory: Inventory, sign: int) -> None:
        company = inventory.company(company_id)
        prefixes = sign * company.prefix_count() if company else 0
        self.companies, self.prefixes = self.companies + sign, self.prefixes + prefixes
        if self._recount is not None and company_id <= self._recount.cursor:
            self._recount.companies += sign
            self._recount.prefixes += prefixes

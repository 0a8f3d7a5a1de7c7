"""Floor 2. The proof that nobody changed the ledger: the chain of hashes, computed again from the first row.

1. What is wrong is told by its first bad row; row 0 is the file as a whole.
2. A body may be gone only if a fact of type `ledger.erased`, in the same chain, names its row: then a person answers for it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from agent.errors import LedgerCorrupt
from agent.ledger import GENESIS
from agent.ledger.rows import read_row, verify_row

#: The type of the fact that says which bodies were erased, and why.
ERASED = "ledger.erased"


def verify(
    page: Callable[[int], Iterable[Any]],
    total: int,
    progress: Callable[[int, int], None] | None,
    anchor: tuple[int, bytes] | None,
) -> int:
    """Compute the chain again.

    Args:
        page: the rows after a number, some of them, in order.
        total: how many rows there are, for `progress`.
        progress: told (rows done, rows in all) now and then.
        anchor: a head seen earlier and kept elsewhere, also one of an older schema.

    Returns:
        How many rows verify.

    Raises:
        LedgerCorrupt: with the first bad row.
    """
    done, last = 0, (GENESIS, GENESIS)
    gone: set[int] = set()
    named: set[int] = set()
    while rows := page(done):
        for seq, *columns, link in rows:
            if seq != done + 1:
                raise LedgerCorrupt(seq=done + 1, what=f"missing; the next row is {seq}")
            last = verify_row(seq, columns, link, last)
            done = seq
            gone.update((seq,) if columns[6] is None else ())
            named.update(_named(seq, columns))
            if anchor is not None and anchor[0] == seq and anchor[1] not in (last[0], columns[9]):
                raise LedgerCorrupt(seq=seq, what="not the row seen there earlier; the history was written anew")
        if progress is not None:
            progress(done, max(total, done))
    if anchor is not None and anchor[0] > done:
        raise LedgerCorrupt(seq=done + 1, what=f"missing; the ledger reached row {anchor[0]} before")
    if gone - named:
        raise LedgerCorrupt(seq=min(gone - named), what="its body is gone, and nobody said that it was erased")
    return done


def _named(seq: int, columns: Sequence[Any]) -> Iterator[int]:
    """The rows that this row says were erased."""
    if columns[1] == ERASED and columns[6] is not None:
        yield from spread(str(read_row(seq, columns).body.get("rows", "")))


def ranges(rows: Iterable[int]) -> str:
    """Row numbers as text: `3-7,9`."""
    found: list[list[int]] = []
    for row in sorted(rows):
        if found and row == found[-1][1] + 1:
            found[-1][1] = row
        else:
            found.append([row, row])
    return ",".join(str(first) if first == end else f"{first}-{end}" for first, end in found)


def spread(text: str) -> Iterator[int]:
    """The row numbers in such a text."""
    for part in filter(None, text.split(",")):
        first, _, end = part.partition("-")
        yield from range(int(first), int(end or first) + 1)

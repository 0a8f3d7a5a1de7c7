"""Floor 2. Bodies taken out of rows, and the records of their subjects folded again without them.

1. What is erased is gone from the record too: nothing is decided any more on a fact that nobody can look up.
2. Whose facts may be erased is not judged here (`retention` does).
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from agent.case import EMPTY_RECORD, Record, fold
from agent.errors import LedgerCorrupt
from agent.ledger.rows import commitment_of, read_row


def erase(db: sqlite3.Connection, rows: Sequence[int], keep: Callable[[str, Record, int], None]) -> None:
    """Erase within the open transaction.

    Args:
        db: the ledger's file.
        rows: numbers of rows.
        keep: writes a record: subject, record, number of the last row in it.

    Raises:
        LedgerCorrupt: there is no such row, or it can not be read.
    """
    subjects: dict[str, None] = {}
    for seq in rows:
        found = db.execute("SELECT subject, body, salt FROM events WHERE seq = ?", (seq,)).fetchone()
        if found is None:
            raise LedgerCorrupt(seq=seq, what="missing; nothing was erased")
        subject, body, salt = found
        if body is not None:
            subjects[subject] = None
            db.execute("UPDATE events SET body = NULL, salt = NULL, commitment = ? WHERE seq = ?", (commitment_of(salt, body), seq))
    for subject in subjects:
        left = db.execute("SELECT * FROM events WHERE subject = ? AND body IS NOT NULL ORDER BY seq", (subject,))
        record, at = folded(left)
        if at:
            keep(subject, record, at)
        else:
            db.execute("DELETE FROM measures WHERE company = ?", (subject,))
            db.execute("DELETE FROM companies WHERE company = ?", (subject,))


def folded(rows: Iterable[Any]) -> tuple[Record, int]:
    """The record of the rows of one subject, and the number of the last one that bears on it (0: none does)."""
    record, at = EMPTY_RECORD, 0
    for seq, *columns, _ in rows:
        before = record
        record = fold(before, read_row(seq, columns))
        at = at if record is before else seq
    return record, at

"""Floor 2. From every schema that was ever written to the one of now.

1. A migration is one transaction: a disk that fills up or a process that dies leaves the file as it was.
2. Before anything is changed, the chain is computed as the old schema had it. A file that does not verify is not migrated: that
   would wash an edited row clean.
3. No fact is lost or changed, and what can be proven of the old chain can be proven of the new one.
"""

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence

from agent.errors import LedgerCorrupt
from agent.ledger import GENESIS
from agent.ledger.rows import commitment_of, former_link_of, link_of, read_row, write_row

_PAGE = 500
_SALT = 16


def migrate(db: sqlite3.Connection, version: int, target: int, *, events: Sequence[str]) -> None:
    """Bring an open file from schema `version` to `target`.

    Args:
        db: the file, opened by its owner, with no transaction open.
        version: what it has now.
        target: what it shall have.
        events: statements that make the table of facts and what belongs to it, as `target` has it.

    Raises:
        LedgerCorrupt: a row does not verify. Nothing was changed.
        sqlite3.Error: the disk refuses. Nothing was changed.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in range(version, target):
            if step not in _STEPS:
                raise LedgerCorrupt(seq=0, what=f"schema {step} was never written by any version of ecluse")
            _STEPS[step](db, events)
        db.execute(f"PRAGMA user_version = {target}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _commitments(db: sqlite3.Connection, events: Sequence[str]) -> None:
    """1 -> 2: the hash of a row covers a commitment to its body, not the body, so that bodies can be erased."""
    for name in ("events_subject", "events_orders", "events_proposals"):
        db.execute(f"DROP INDEX {name}")
    for name in ("events_never_change", "events_never_go", "events_in_order"):
        db.execute(f"DROP TRIGGER {name}")
    db.execute("ALTER TABLE events RENAME TO events_1")
    for statement in events:
        db.execute(statement)
    done, last, former = 0, GENESIS, GENESIS
    while rows := db.execute("SELECT * FROM events_1 WHERE seq > ? ORDER BY seq LIMIT ?", (done, _PAGE)).fetchall():
        for seq, *columns, link in rows:
            event = read_row(seq, columns)
            written, _ = write_row(event)
            former = former_link_of(former, event)
            if seq != done + 1 or written != tuple(columns) or link != former:
                raise LedgerCorrupt(seq=done + 1, what="does not verify as its schema had it; restore the ledger from a backup")
            salt = os.urandom(_SALT)
            last = link_of(last, written, commitment_of(salt, written[6]), former)
            db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)", (seq, *written, salt, former, last))
            done = seq
    (folded,) = db.execute("SELECT coalesce(max(seq), 0) FROM companies").fetchone()
    if folded > done:
        raise LedgerCorrupt(seq=done + 1, what=f"missing; a record was folded from row {folded}")
    db.execute("DROP TABLE events_1")


_STEPS: Mapping[int, Callable[[sqlite3.Connection, Sequence[str]], None]] = {1: _commitments}

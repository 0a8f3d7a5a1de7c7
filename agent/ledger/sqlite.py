"""Floor 2. The embedded ledger: one SQLite file, one writer.

1. Every write is one transaction, committed and fsynced before the call returns; a failed one leaves nothing and the
   object stays usable. (After a failed fsync SQLite forgets the batch; should a crash bring it back all the same, its
   sender, who was told to try again, finds it appended already.)
2. What is hashed and folded is the event *as it reads back from its row*, so that verifying and rebuilding can never
   disagree with appending.
3. Nothing is listed whole: long answers are read page by page, and no read is left open between pages. An open read
   would keep the write-ahead log from being reused. A page is consistent, the sequence of pages is not a snapshot.
4. Calls may come from several threads; one lock takes them one after the other.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from agent.case import EMPTY_RECORD, Record, fold
from agent.errors import LedgerCorrupt, LedgerUnwritable
from agent.event import HOST, Event, instant, parse_instant
from agent.ledger import GENESIS, Counts, InForce, Row, Settled, queries
from agent.ledger.chain import verify
from agent.ledger.erasing import erase, folded
from agent.ledger.rows import commitment_of, json_text, link_of, measure_text, read_measure, read_row, write_row
from agent.ledger.schema import SQLITE_ERRORS, connect, own

_PAGE = 500

#: Commits after which the write-ahead log is worth moving; one writes about ten pages.
_TIDY_COMMITS = 64

_SALT = 16


class Ledger:
    """The open ledger. Made by `Ledger.open`; a context manager that closes it."""

    def __init__(self, db: sqlite3.Connection, path: Path, lock: int | None) -> None:
        self._db = db
        self.path = path
        self._lock = lock
        self._mutex = threading.RLock()
        self._commits = 0

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open the ledger at `path`; as its owner it is made when it is not there yet.

        Args:
            path: the file; `-wal`, `-shm` and `.lock` appear beside it. The directory must exist.
            read_only: look only; works while the owner is running.

        Raises:
            LedgerUnwritable: another process owns it, the disk refuses, or a newer version wrote it.
            LedgerCorrupt: the file is no ledger.
        """
        lock = None if read_only else own(path)
        try:
            return cls(connect(path, read_only=read_only), path, lock)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise

    def close(self) -> None:
        """Close the file and give up the ownership. Closing twice is fine."""
        with self._mutex:
            with suppress(sqlite3.Error):  # what was acknowledged is in the log already; the next opener tidies up
                self._db.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- facts ------------------------------------------------------------------------------------------------------

    def append(self, events: Sequence[Event]) -> tuple[bool, ...]:
        """Append events in one transaction, fold them into their subjects' records, and commit to the disk.

        Args:
            events: in the order in which they are numbered; as many as wait, since they share one commit.

        Returns:
            For each event whether it is new; False when its id was there already (then nothing of it is kept).

        Raises:
            EventError: an event can not be written as JSON text. Nothing of the batch was kept.
            LedgerUnwritable: the commit failed. Nothing of the batch was kept; try again later.
        """
        facts = [write_row(event) for event in events]
        new: list[bool] = []
        with self._transaction():
            seq, last = self._head()
            changed: dict[str, tuple[Record, int]] = {}
            for columns, event in facts:
                salt = os.urandom(_SALT)
                link = link_of(last, columns, commitment_of(salt, columns[6]))
                done = self._db.execute(queries.INSERT, (seq + 1, *columns, salt, link))
                new.append(done.rowcount == 1)
                if not new[-1]:
                    continue
                seq, last = seq + 1, link
                before = changed[event.subject][0] if event.subject in changed else self._record(event.subject) or EMPTY_RECORD
                after = fold(before, event)
                if after is not before:  # what does not change the record can not change a decision
                    changed[event.subject] = (after, seq)
            for subject, (record, at) in changed.items():
                self._keep(subject, record, at)
        return tuple(new)

    def head(self) -> tuple[int, bytes]:
        """Number and hash of the last row; (0, 32 zero bytes) when nothing was said yet."""
        with self._reading():
            return self._head()

    def events(self, subject: str | None = None, after: int = 0) -> Iterator[Row]:
        """The rows after number `after`, all or those about one subject, in order.

        Raises:
            LedgerCorrupt: a row can not be read as an event.
        """
        query = queries.EVENTS if subject is None else queries.EVENTS_ABOUT
        while rows := self._all(query, {"subject": subject, "after": after, "limit": _PAGE}):
            for seq, *columns, link in rows:
                yield Row(seq=seq, event=read_row(seq, columns), hash=link, erased=columns[6] is None)
            after = rows[-1][0]

    def has(self, event_id: str) -> bool:
        """Whether an event of this id is there."""
        return bool(self._all("SELECT 1 FROM events WHERE id = ?", (event_id,)))

    def subjects(self) -> Iterator[str]:
        """Everybody something was said about, the host too, in order."""
        after = ""
        while found := self._all("SELECT DISTINCT subject FROM events WHERE subject > ? ORDER BY subject LIMIT ?", (after, _PAGE)):
            yield from (subject for (subject,) in found)
            after = found[-1][0]

    def ordered_since(self, since: datetime) -> tuple[datetime, ...]:
        """When suspensions were ordered, from `since` on, earliest first: for the limit of new ones per day.

        Raises:
            LedgerCorrupt: the file can not be read.
        """
        return tuple(parse_instant(at) for (at,) in self._all(queries.ORDERS, (instant(since),)))

    def ripe_since(self, since: datetime, limit: int) -> dict[str, datetime]:
        """When cases were first proposed or, without having been proposed, ordered, from `since` on: the last `limit` of them.

        Raises:
            LedgerCorrupt: the file can not be read.
        """
        found: dict[str, datetime] = {}
        for case, event_id, at in self._all(queries.RIPE, {"since": instant(since), "limit": limit}):
            first = event_id in (f"proposed:{case}/1", f"order:{case}/1")
            if first and (event_id.startswith("proposed:") or not self.has(f"proposed:{case}/1")):
                found[case] = parse_instant(at)
        return found

    def verify(self, progress: Callable[[int, int], None] | None = None, *, anchor: tuple[int, bytes] | None = None) -> int:
        """Compute the chain again from the first row and compare, then have SQLite check its file.

        Args:
            progress: told (rows done, rows in all) now and then.
            anchor: a head seen earlier and kept elsewhere. Without it, rows cut off at the end show only while a
                projection still knows of them; with it, a history written anew from any row up to there shows too.
                A head that schema 1 gave is as good.

        Returns:
            How many rows verify.

        Raises:
            LedgerCorrupt: with the first bad row; row 0 is the file as a whole.
        """
        done = verify(self._page_to_verify, self.head()[0], progress, anchor)
        self._verify_file(done)
        return done

    # --- what follows from the facts --------------------------------------------------------------------------------

    def record(self, company: str) -> Record | None:
        """The folded record of a company (or of the host, `"-"`); None when nothing that counts was said about it.

        Raises:
            LedgerCorrupt: the file can not be read.
        """
        with self._reading():
            return self._record(company)

    def rebuild(self) -> int:
        """Fold every record again from the events, and make every company due. For a new version of the fold.

        Returns:
            How many subjects have a record.

        Raises:
            LedgerCorrupt: a row can not be read as an event. Nothing was changed.
            LedgerUnwritable: the commit failed. Nothing was changed.
        """
        subjects = 0
        with self._transaction():
            self._db.execute("UPDATE companies SET seq = 0")
            rows = self._db.execute("SELECT * FROM events WHERE body IS NOT NULL ORDER BY subject, seq")
            for subject, about in groupby(rows, key=lambda row: str(row[3])):
                record, at = folded(about)
                if at:
                    self._keep(subject, record, at)
                    subjects += 1
            self._db.execute("DELETE FROM measures WHERE company IN (SELECT company FROM companies WHERE seq = 0)")
            self._db.execute("DELETE FROM companies WHERE seq = 0")
        return subjects

    def settle(self, plans: Sequence[Settled]) -> tuple[bool, ...]:
        """Write when each company is due again and which of its measures are in force, in one transaction.

        Returns:
            For each plan whether it was taken; False when a fact about the company came after `Settled.seq` (it stays
            due, and keeps its former schedule and measures), or when nothing was ever said about it.

        Raises:
            LedgerUnwritable: the commit failed. Nothing was kept.
        """
        taken: list[bool] = []
        with self._transaction():
            for plan in plans:
                done = self._db.execute(
                    "UPDATE companies SET dirty = 0, held = ?, next_at = ?, basis = ? WHERE company = ? AND seq <= ?",
                    (int(bool(plan.measures)), plan.next_at, plan.basis, plan.company, plan.seq),
                )
                taken.append(done.rowcount == 1)
                if taken[-1]:
                    self._db.execute("DELETE FROM measures WHERE company = ?", (plan.company,))
                    self._db.executemany(
                        "INSERT INTO measures VALUES (?, ?, ?, ?, ?)",
                        [(plan.company, m.case, m.order, measure_text(m), m.lease_until) for m in plan.measures],
                    )
        return tuple(taken)

    def due(self, now: float, basis: str, limit: int) -> list[str]:
        """Companies to decide about: something new was said, their time has come, or the basis changed.

        Those with a measure in force come first (a restore must not wait behind a suspension); among them, new
        facts come before time, and time before a changed basis. The host is never due: its record is part of the basis.

        Args:
            now: UNIX seconds (UTC).
            basis: what decisions rest on now; see `Settled`.
            limit: at most so many.

        Raises:
            LedgerCorrupt: the file can not be read.
        """
        found: dict[str, None] = {}
        for held in (1, 0):
            for query in queries.DUE:
                if len(found) >= limit:
                    break
                arguments = {"held": held, "now": now, "basis": basis, "limit": limit}
                found.update(dict.fromkeys(company for (company,) in self._all(query, arguments)))
        return list(found)[:limit]

    def in_force(self) -> Iterator[InForce]:
        """Every measure in force, ordered by company and case.

        Raises:
            LedgerCorrupt: the file can not be read.
        """
        at = {"company": "", "case": "", "limit": _PAGE}
        while rows := self._all(queries.MEASURES, at):
            yield from map(read_measure, rows)
            at |= {"company": rows[-1][0], "case": rows[-1][1]}

    def in_force_after(self, company: str, *, now: float, basis: str, limit: int) -> list[InForce]:
        """A page of the measures in force whose decision stands: without those of companies that are due (see `due`).

        Args:
            company: only companies whose id comes after this one.
            now: UNIX seconds (UTC).
            basis: what decisions rest on now.
            limit: at most so many, but never a part of a company's measures.

        Returns:
            ordered by company and case; empty at the end.

        Raises:
            LedgerCorrupt: the file can not be read.
        """
        at = {"after": company, "now": now, "basis": basis, "limit": limit}
        page = [read_measure(row) for row in self._all(queries.STANDING, at)]
        if len(page) < limit:
            return page
        last = page[-1].company  # perhaps not all of it came
        return [one for one in page if one.company != last] or list(self.measures_of(last))

    def companies_in_force(self, after: str, limit: int) -> list[str]:
        """Companies with a measure in force: at most so many of those whose id comes after this one, in order."""
        return [company for (company,) in self._all(queries.COMPANIES_IN_FORCE, (after, limit))]

    def companies_at_remote(self) -> list[str]:
        """Companies with a measure on everything remote in force. Reads all measures in force: for a start."""
        return [company for (company,) in self._all(queries.AT_REMOTE, ())]

    def measures_of(self, company: str) -> tuple[InForce, ...]:
        """The measures in force of one company, ordered by case."""
        return tuple(map(read_measure, self._all(queries.MEASURES_OF, (company,))))

    def counts(self) -> Counts:
        """Sizes, without counting: some microseconds at any size."""
        with self._reading():
            values = dict(self._db.execute("SELECT name, value FROM meta"))
            return Counts(events=self._head()[0], companies=values["companies"], measures=values["measures"])

    def tidy(self) -> bool:
        """Move what was committed from the write-ahead log into the file, if it is time to. Some milliseconds: for a quiet moment.

        Returns:
            whether it was time. What can not be moved now (a reader, a full disk) stays in the log, where it is as safe.
        """
        with self._mutex:
            if self._commits < _TIDY_COMMITS:
                return False
            self._commits = 0
            with suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            return True

    def writable(self) -> bool:
        """Whether a commit works right now; found out by making a small one."""
        try:
            with self._transaction():
                self._db.execute("UPDATE meta SET value = 1 - value WHERE name = 'probe'")
        except LedgerUnwritable:
            return False
        return True

    def erase(self, rows: Sequence[int], said: Event) -> None:
        """Erase the bodies of rows for good, and fold their subjects' records from what stays.

        First the fact that says so is committed: who dies between the two leaves bodies that the next erasing takes.

        Args:
            rows: their numbers; one that is erased already stays so. All of them must be named in `said`.
            said: of type `ledger.erased`.

        Raises:
            LedgerUnwritable: the commit failed. Nothing was erased.
            LedgerCorrupt: a row can not be read.
        """
        self.append([said])
        with self._mutex:
            self._db.execute("PRAGMA secure_delete = ON")
            try:
                with self._transaction():
                    erase(self._db, rows, self._keep)
            finally:
                self._db.execute("PRAGMA secure_delete = OFF")
            with suppress(sqlite3.Error):  # the log still has the pages as they were; a reader may hold it a little longer
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def erased(self) -> Iterator[int]:
        """The numbers of the rows whose body was erased, in order."""
        after = 0
        while rows := self._all("SELECT seq FROM events WHERE body IS NULL AND seq > ? ORDER BY seq LIMIT ?", (after, _PAGE)):
            yield from (seq for (seq,) in rows)
            after = rows[-1][0]

    # --- inside -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._mutex:
            if self._lock is None:
                raise LedgerUnwritable(f"{self.path}: opened read-only, or closed. Ask the process that owns it.")
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
                self._commits += 1
            except SQLITE_ERRORS as error:
                raise LedgerUnwritable(f"{self.path}: {error}. Nothing was kept; see to the disk, then try again.") from error
            finally:
                if self._db.in_transaction:
                    with suppress(sqlite3.Error):  # the log has no commit, so the batch is gone either way
                        self._db.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._mutex:
            try:
                yield
            except SQLITE_ERRORS as error:
                raise LedgerCorrupt(seq=0, what=f"{self.path} can not be read: {error}") from error

    def _all(self, query: str, arguments: Any) -> list[Any]:
        with self._reading():
            return self._db.execute(query, arguments).fetchall()

    def _head(self) -> tuple[int, bytes]:
        row = self._db.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        return (0, GENESIS) if row is None else (row[0], row[1])

    def _record(self, subject: str) -> Record | None:
        row = self._db.execute("SELECT record FROM companies WHERE company = ?", (subject,)).fetchone()
        try:
            return None if row is None else json.loads(row[0])
        except ValueError as error:
            raise LedgerCorrupt(seq=0, what=f"the record of {subject} is damaged: {error}. Rebuild the records") from error

    def _keep(self, subject: str, record: Record, seq: int) -> None:
        self._db.execute(
            "INSERT INTO companies (company, seq, dirty, record) VALUES (:subject, :seq, :dirty, :record)"
            " ON CONFLICT (company) DO UPDATE SET seq = :seq, dirty = :dirty, record = :record",
            {"subject": subject, "seq": seq, "dirty": int(subject != HOST), "record": json_text(record)},
        )

    def _page_to_verify(self, after: int) -> list[Any]:
        with suppress(LedgerCorrupt):
            return self._all(queries.EVENTS, {"after": after, "limit": _PAGE})
        # A row of the page can not be read; one by one, so that it can be named.
        try:
            return self._all(queries.EVENTS, {"after": after, "limit": 1})
        except LedgerCorrupt as error:
            raise LedgerCorrupt(seq=after + 1, what=f"can not be read: {error.__cause__}") from error

    def _verify_file(self, last: int) -> None:
        with self._reading():
            (folded,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM companies").fetchone()
            if folded > last:
                raise LedgerCorrupt(seq=last + 1, what=f"missing; a record was folded from row {folded}")
            (found,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise LedgerCorrupt(seq=0, what=f"{self.path}: {found}. Restore it from a backup")

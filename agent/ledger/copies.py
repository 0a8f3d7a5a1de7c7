"""Floor 2. A copy of the ledger as one file, and a copy put back in its place.

1. A copy is taken while the owner goes on writing: it is the ledger as it was at one instant.
2. A copy counts once it was read back from its own file, row by row, and is on the disk under its final name. Until then it has
   another name, and a failure leaves nothing behind.
3. Putting back is for the owner alone, while no other runs. The file that was there is moved aside, never removed.
4. What a copy lacks of the ledger it replaces is a loss of facts, payments too: it is told, and takes a word of its own.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.errors import LedgerCorrupt, LedgerUnwritable, Refused
from agent.ledger import schema
from agent.ledger.sqlite import Ledger

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """A copy that was verified: how many rows, the hash of the last, bytes of the file, rows of it whose body is erased."""

    rows: int
    head: str
    size: int
    erased: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PutBack:
    """A copy that is the ledger now. `aside`: where the former file is. `lost`: what the copy may lack, "" if it has everything."""

    copied: Copied
    aside: Path | None
    lost: str


def backup(ledger: Path, target: Path, progress: Progress | None = None) -> Copied:
    """Copy the ledger to a new file (mode 0600), verify the copy, and have it on the disk.

    Args:
        ledger: the file; its owner may be running.
        target: a file that does not exist yet.
        progress: told (rows verified, rows in all).

    Raises:
        Refused: the target exists.
        LedgerUnwritable: the ledger is not there, or the target can not be written.
        LedgerCorrupt: the ledger, and so its copy, does not verify.
    """
    if target.exists():
        raise Refused(f"{target}: exists already; a backup never replaces a file. Choose another name.")
    with closing(schema.connect(ledger, read_only=True)) as source:
        return _place(lambda partial: _one_file(source, partial), target, progress)


def put_back(
    copy: Path, ledger: Path, *, force: bool, now: datetime, stop: Callable[[str], None], progress: Progress | None = None
) -> PutBack:
    """Make a copy the ledger.

    Args:
        copy: made by `backup`, by this version or an older one.
        ledger: where the ledger is, or was.
        force: also where the present ledger has rows that the copy lacks, is of another chain, or can not be read.
        now: for the name under which the former file is kept.
        stop: called right before anything is replaced, with what the copy may lack, where it may lack something.
        progress: told (rows verified, rows in all).

    Raises:
        Refused: it would lose facts, and `force` was not given. Nothing was changed.
        LedgerUnwritable: an enforcer is running, or the disk refuses. Nothing was changed.
        LedgerCorrupt: the copy does not verify. Nothing was changed.
    """
    lock = schema.own(ledger)
    try:
        _give(Path(f"{ledger}.lock"))
        fresh = ledger.with_name(f"{ledger.name}.new")
        fresh.unlink(missing_ok=True)
        copied = _place(lambda target: _copy_file(copy, target), fresh, progress)
        try:
            _give(fresh)
            lost = _lost(fresh, ledger)
            if lost and ledger.exists() and not force:
                raise Refused(f"{ledger}: {lost}. Nothing was changed; give --force to put the backup in its place all the same.")
            if lost:
                stop(lost)
            aside = _move_aside(ledger, now)
            fresh.replace(ledger)
            _sync(ledger.absolute().parent)
        finally:
            fresh.unlink(missing_ok=True)
    finally:
        os.close(lock)
    return PutBack(copied=copied, aside=aside, lost=lost)


def _give(file: Path) -> None:
    """What root makes here belongs to whom the directory belongs to: the enforcer must be able to use it."""
    if os.geteuid() == 0:
        owner = file.absolute().parent.stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def _place(fill: Callable[[Path], None], target: Path, progress: Progress | None) -> Copied:
    """Fill a file beside the target, verify it, and give it its name."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        fill(partial)
        copied = _verified(partial, progress)
        descriptor = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.rename(target)
        _sync(target.absolute().parent)
    except (OSError, *schema.SQLITE_ERRORS) as error:
        raise LedgerUnwritable(f"{target}: {error}. See that the directory exists and the disk has room.") from error
    finally:
        with suppress(OSError):
            for left in ("", "-wal", "-shm", "-journal", ".lock"):
                Path(f"{partial}{left}").unlink(missing_ok=True)
    return copied


def _one_file(source: sqlite3.Connection, target: Path) -> None:
    """All of a database as it is at this instant, without a log beside it."""
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()


def _copy_file(copy: Path, target: Path) -> None:
    """Copy a backup, and bring it to the schema of now."""
    if not copy.exists():
        raise LedgerUnwritable(f"{copy}: is not there.")
    with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)) as source:
        _one_file(source, target)
    Ledger.open(target).close()  # as its owner, so that an older schema is brought to this one
    with closing(sqlite3.connect(target)) as db:
        db.execute("PRAGMA journal_mode = DELETE").fetchall()


def _verified(file: Path, progress: Progress | None) -> Copied:
    with Ledger.open(file, read_only=True) as copy:
        rows = copy.verify(progress)
        return Copied(rows=rows, head=copy.head()[1].hex(), size=file.stat().st_size, erased=sum(1 for _ in copy.erased()))


def _lost(fresh: Path, ledger: Path) -> str:
    """What the present ledger has and the copy lacks, in words; "" for nothing."""
    if not ledger.exists():
        return "there was no ledger, so what the backup lacks is unknown"
    try:
        with Ledger.open(ledger, read_only=True) as present, Ledger.open(fresh, read_only=True) as copy:
            seq, have = present.head()[0], copy.head()[0]
            shared = min(seq, have)
            if shared and _hash_of(present, shared) != _hash_of(copy, shared):
                return "it is another chain than the backup"
            return f"it has {seq - have} rows more than the backup" if seq > have else ""
    except (LedgerCorrupt, LedgerUnwritable) as error:
        return f"it can not be read, so what the backup lacks is unknown ({error})"


def _hash_of(ledger: Ledger, seq: int) -> bytes:
    return next(row.hash for row in ledger.events(after=seq - 1))


def _move_aside(ledger: Path, now: datetime) -> Path | None:
    """Keep the former file under another name. Its log must not lie beside the new one: SQLite would play it into that."""
    if not ledger.exists():
        return None
    aside = ledger.with_name(f"{ledger.name}.before-{now:%Y%m%dT%H%M%SZ}")
    with suppress(*schema.SQLITE_ERRORS), closing(sqlite3.connect(ledger)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    os.link(ledger, aside)
    for end in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{ledger}{end}").rename(f"{aside}{end}")
    return aside


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

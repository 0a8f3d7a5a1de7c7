"""Floor 2. The SQLite file of the ledger: its tables, and how it is opened safely.

1. The file is recognised by its application id and schema version; a file of somebody else, or of a newer version, is
   refused and left alone.
2. WAL so that readers never wait for the writer; synchronous FULL so that a commit is on the disk when it returns.
3. Triggers refuse every change to a row of `events` but that its body is erased. They are against accidents; the hash chain is
   against the rest.
4. One owner: an exclusive lock on a file beside the ledger. Not on the ledger itself, because closing any second
   descriptor of it would drop SQLite's own locks. The lock file stays; only the lock on it says something.
5. The owner brings a file of an older schema up to date, in one transaction (`migrations`); a reader waits until it did.
"""

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

from agent.errors import LedgerCorrupt, LedgerUnwritable
from agent.ledger.migrations import migrate

_APPLICATION = 0x65434C55
#: The schema this version writes. `migrations` leads to it from every one before.
VERSION = 2
_BUSY_SECONDS = 2.0
_CACHE_KB = 16_000  # the indexes of 100 000 companies
#: What SQLite raises. The second, because Python fails to decode a message that quotes a damaged file.
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)

_WAL_LIMIT = 64 * 2**20  # a log that once grew large gives its room back
_WAL_PAGES = 8_000  # SQLite moves the log into the file within a commit; long before, `tidy` does it where nobody waits

#: The table of facts. A row is never changed, but for its body, which may be erased (and `rows` says what stays).
EVENTS = """
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    type        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    received_at TEXT NOT NULL,
    source      TEXT NOT NULL,
    body        TEXT,
    salt        BLOB,
    commitment  BLOB,
    former      BLOB,
    hash        BLOB NOT NULL,
    CHECK ((body IS NULL) = (salt IS NULL) AND (body IS NULL) = (commitment IS NOT NULL))
) STRICT;
CREATE INDEX events_subject ON events (subject);
CREATE INDEX events_orders ON events (occurred_at) WHERE type = 'order.suspend';
CREATE INDEX events_proposals ON events (occurred_at) WHERE type = 'case.proposed';
CREATE INDEX events_erased ON events (seq) WHERE body IS NULL;
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
    WHEN NOT (old.body IS NOT NULL AND new.body IS NULL AND length(new.commitment) = 32
        AND new.seq = old.seq AND new.id = old.id AND new.type = old.type AND new.subject = old.subject
        AND new.occurred_at = old.occurred_at AND new.received_at = old.received_at AND new.source = old.source
        AND new.former IS old.former AND new.hash = old.hash)
    BEGIN SELECT raise(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_never_go BEFORE DELETE ON events
    BEGIN SELECT raise(ABORT, 'events are never deleted'); END;
CREATE TRIGGER events_in_order BEFORE INSERT ON events
    WHEN new.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)
    BEGIN SELECT raise(ABORT, 'events are appended at the end only'); END;
"""

#: What follows from the facts.
_PROJECTIONS = """
-- The record stands last: it is the long column, and the others must not lie behind it on overflow pages.
CREATE TABLE companies (
    company TEXT PRIMARY KEY,
    seq     INTEGER NOT NULL,
    dirty   INTEGER NOT NULL,
    held    INTEGER NOT NULL DEFAULT 0,
    next_at REAL,
    basis   TEXT,
    record  TEXT NOT NULL
) STRICT;
CREATE INDEX companies_dirty ON companies (held, company) WHERE dirty = 1;
CREATE INDEX companies_next ON companies (held, next_at, company) WHERE next_at IS NOT NULL;
-- Whether a decision stands, without a look at the long rows: 0.2 s for 100 000 measures instead of 0.7 s from a warm cache and
-- 3.5 s from a cold one.
CREATE INDEX companies_standing ON companies (company, dirty, basis, next_at);
CREATE INDEX companies_basis ON companies (held, basis, company) WHERE basis IS NOT NULL;

CREATE TABLE measures (
    company     TEXT NOT NULL,
    case_id     TEXT NOT NULL,
    order_id    TEXT NOT NULL,
    services    TEXT NOT NULL,
    lease_until REAL NOT NULL,
    PRIMARY KEY (company, case_id)
) STRICT, WITHOUT ROWID;

-- Counting rows reads an index from end to end; keeping the number costs a microsecond.
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('companies', 0), ('measures', 0), ('probe', 0);
CREATE TRIGGER companies_more AFTER INSERT ON companies WHEN new.company <> '-'
    BEGIN UPDATE meta SET value = value + 1 WHERE name = 'companies'; END;
CREATE TRIGGER companies_less AFTER DELETE ON companies WHEN old.company <> '-'
    BEGIN UPDATE meta SET value = value - 1 WHERE name = 'companies'; END;
CREATE TRIGGER measures_more AFTER INSERT ON measures
    BEGIN UPDATE meta SET value = value + 1 WHERE name = 'measures'; END;
CREATE TRIGGER measures_less AFTER DELETE ON measures
    BEGIN UPDATE meta SET value = value - 1 WHERE name = 'measures'; END;
"""


def own(path: Path) -> int:
    """Become the one owner of the ledger at `path`; the returned descriptor holds the claim until it is closed.

    Raises:
        LedgerUnwritable: another process owns it, or the directory can not be written.
    """
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        mend = "Make the directory and give it to the enforcer's user"
        raise LedgerUnwritable(f"{path}.lock: {error.strerror}. {mend}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise LedgerUnwritable(f"{path}: process {owner} owns this ledger. Stop it first, or open read-only.") from error
    with contextlib.suppress(OSError):  # the number only helps a reader; a full disk must not stop us here
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open the file, make it if it is new (mode 0600), and check that it is a ledger this version knows.

    Raises:
        LedgerUnwritable: it is missing (read-only), can not be written, or belongs to a newer version.
        LedgerCorrupt: it is there but is no ledger.
    """
    db: sqlite3.Connection | None = None
    try:
        if not read_only:
            _make(path)
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
            uri=True,
            isolation_level=None,
            timeout=_BUSY_SECONDS,
            check_same_thread=False,
        )
        _prepare(db, path, read_only=read_only)
    except OSError as error:
        raise LedgerUnwritable(f"{path}: {error.strerror}. The enforcer's user must be able to read and write it.") from error
    except SQLITE_ERRORS as error:
        if db is not None:
            db.close()
        if isinstance(error, sqlite3.OperationalError):
            raise LedgerUnwritable(
                f"{path}: {error}. See that it exists, that its user can write and the disk has room."
            ) from error
        raise LedgerCorrupt(seq=0, what=f"{path}: {error}. Restore it from a backup") from error
    except BaseException:
        if db is not None:
            db.close()
        raise
    return db


def _make(path: Path) -> None:
    # Made before SQLite sees it, so that it never exists with a wider mode; SQLite gives -wal and -shm the same mode.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    directory = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _prepare(db: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    for pragma in ("trusted_schema = OFF", "foreign_keys = OFF", f"cache_size = -{_CACHE_KB}"):
        db.execute(f"PRAGMA {pragma}")
    # Looked at before anything is written: a file of somebody else stays as it is.
    new = not read_only and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not new and application != _APPLICATION:
        raise LedgerCorrupt(seq=0, what=f"{path} is not a ledger of ecluse")
    if version > VERSION:
        raise LedgerUnwritable(f"{path}: schema {version}, this version knows {VERSION}. Install the newer ecluse again.")
    if read_only:
        if version < VERSION:
            raise LedgerUnwritable(f"{path}: schema {version}; its owner has not brought it to {VERSION} yet. Start the enforcer.")
        return
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise LedgerUnwritable(f"{path}: this file system can not hold a write-ahead log. Use a local disk.")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
    db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    if new:
        _create(db)
    elif version < VERSION:
        migrate(db, version, VERSION, events=statements(EVENTS))


def _create(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements(EVENTS + _PROJECTIONS):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def statements(script: str) -> list[str]:
    """The statements of a script, one by one."""
    # `executescript` would commit first; the schema must appear whole or not at all.
    found: list[str] = []
    pending = ""
    for line in script.splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found

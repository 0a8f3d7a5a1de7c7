"""Care of the ledger: every schema brought to that of now, copies, bodies erased, and the chain proven all the same."""

import sqlite3
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.case import EMPTY_RECORD, fold
from agent.errors import LedgerCorrupt, LedgerUnwritable, Refused
from agent.event import HOST, Event, instant
from agent.ledger.chain import ranges, spread
from agent.ledger.copies import PutBack, backup, put_back
from agent.ledger.schema import VERSION
from agent.ledger.sqlite import Ledger

SCHEMAS = Path(__file__).parent / "ledgers"
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
#: The head of the ledger in `schema-1.sql`, as that schema's `log --verify` printed it.
HEAD_1 = (9, bytes.fromhex("aa15dc31e31b2e0732301d132d71a4a8ce86eee00c878485dd30b0d9c680b4bb"))


def payment(number: int, company: str = "za") -> Event:
    at = START + timedelta(minutes=number)
    body = {"payment": f"P-{number}", "amount": "10.00", "currency": "EUR", "reference": f"SECRET-{number}-WORDS"}
    name = "payment.received"
    return Event(id=f"bank:{number}", type=name, subject=company, occurred_at=at, received_at=at, source="bank", body=body)


def said(*rows: int, number: int = 1) -> Event:
    body = {
        "by": "claire",
        "role": "legal",
        "reason": "kept long enough",
        "before": instant(START),
        "rows": ranges(rows),
        "count": len(rows),
    }
    return Event(
        id=f"erased:{number}", type="ledger.erased", subject=HOST, occurred_at=START, received_at=START, source="agent", body=body
    )


def older(path: Path, version: int) -> Path:
    """A ledger as a former version left it."""
    db = sqlite3.connect(path)
    db.executescript((SCHEMAS / f"schema-{version}.sql").read_text())
    db.close()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


# --- schemas ------------------------------------------------------------------------------------------------------


def test_there_is_a_ledger_of_every_former_schema() -> None:
    assert sorted(file.name for file in SCHEMAS.iterdir()) == [f"schema-{n}.sql" for n in range(1, VERSION)]


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_ledger_of_a_former_schema_is_brought_to_this_one_and_says_the_same(path: Path, version: int) -> None:
    older(path, version)
    db = sqlite3.connect(path)
    before = db.execute("SELECT seq, id, type, subject, occurred_at, received_at, source, body FROM events ORDER BY seq").fetchall()
    projections = [db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in ("companies", "measures", "meta")]
    db.close()
    with Ledger.open(path) as ledger:
        assert ledger.verify() == len(before) == ledger.counts().events
        assert [row.event.id for row in ledger.events()] == [row[1] for row in before]
        assert ledger.append([payment(1)]) == (True,)
        assert ledger.verify() == len(before) + 1
        assert ledger.rebuild() == 3
    db = sqlite3.connect(path)
    names = "seq, id, type, subject, occurred_at, received_at, source, body"
    assert db.execute(f"SELECT {names} FROM events WHERE seq <= ? ORDER BY seq", (len(before),)).fetchall() == before
    assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    after = [db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in ("companies", "measures", "meta")]
    assert after[1] == projections[1]
    assert {row[0] for row in projections[0]} <= {row[0] for row in after[0]}
    with Ledger.open(path) as again:  # a second opening finds nothing to do
        assert again.verify() == len(before) + 1


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_migrated_file_is_built_as_a_new_one(path: Path, tmp_path: Path, version: int) -> None:
    older(path, version)
    Ledger.open(path).close()
    Ledger.open(tmp_path / "new.db").close()

    def built(file: Path) -> set[tuple[str, str, str]]:
        found = sqlite3.connect(file).execute("SELECT type, name, coalesce(sql, '') FROM sqlite_schema").fetchall()
        return {(kind, name, " ".join(sql.replace('"', "").split())) for kind, name, sql in found}

    assert built(path) == built(tmp_path / "new.db")


def test_a_head_noted_before_the_migration_still_proves_the_history(path: Path) -> None:
    older(path, 1)
    with Ledger.open(path) as ledger:
        ledger.append([payment(1)])
        assert ledger.verify(anchor=HEAD_1) == 10
        with pytest.raises(LedgerCorrupt, match="written anew"):
            ledger.verify(anchor=(9, bytes(32)))
        ledger.erase([3, 4], said(3, 4))
        assert ledger.verify(anchor=HEAD_1) == 11


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET body = replace(body, '1200.50', '9200.50') WHERE seq = 3",
        "UPDATE events SET hash = zeroblob(32) WHERE seq = 9",
        "DELETE FROM events WHERE seq = 9",
        "DELETE FROM events WHERE seq = 4",
    ],
)
def test_an_edited_ledger_is_not_washed_clean_by_a_migration(path: Path, statement: str) -> None:
    older(path, 1)
    db = sqlite3.connect(path)
    names = ("events_never_change", "events_never_go")
    triggers = [db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0] for name in names]
    for change in (*(f"DROP TRIGGER {name}" for name in names), statement, *triggers):
        db.execute(change)
    db.commit()
    raw = list(db.iterdump())
    db.close()
    with pytest.raises(LedgerCorrupt):
        Ledger.open(path)
    assert list(sqlite3.connect(path).iterdump()) == raw


def test_a_reader_of_a_former_schema_is_told_to_let_the_owner_come_first(path: Path) -> None:
    older(path, 1)
    with pytest.raises(LedgerUnwritable, match="Start the enforcer"):
        Ledger.open(path, read_only=True)


# --- erasing ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.sets(st.integers(1, 10_000)))
def test_row_numbers_as_text_read_back(rows: set[int]) -> None:
    assert set(spread(ranges(rows))) == rows


def test_an_erased_body_is_gone_from_file_and_record_and_the_chain_is_proven_all_the_same(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 9)])
        head = ledger.head()
        ledger.erase([2, 3, 5], said(2, 3, 5))
        assert ledger.verify() == ledger.verify(anchor=head) == 9
        assert list(ledger.erased()) == [2, 3, 5]
        rows = list(ledger.events("za"))
        assert [row.seq for row in rows if row.erased] == [2, 3, 5]
        assert rows[1].event.body == {}
        assert rows[1].event.id == "bank:2"
        expected = EMPTY_RECORD
        for number in (1, 4, 6, 7, 8):
            expected = fold(expected, payment(number))
        assert ledger.record("za") == expected
        ledger.rebuild()
        assert ledger.record("za") == expected
        assert ledger.append([payment(2)]) == (False,), "what was said once is not said again"
        for file in path.parent.iterdir():
            raw = file.read_bytes()
            assert b"SECRET-1-WORDS" in raw or file != path
            assert b"SECRET-2-WORDS" not in raw
            assert b"SECRET-5-WORDS" not in raw


def test_a_company_of_which_all_is_erased_has_no_record(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(1), payment(2, "zb")])
        ledger.erase([1], said(1))
        assert ledger.record("za") is None
        assert ledger.due(0, "b", 10) == ["zb"]
        assert ledger.counts().companies == 1


def tamper(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute("DROP TRIGGER events_never_change")
    db.execute(statement)
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("statement", "bad"),
    [
        ("UPDATE events SET commitment = zeroblob(32) WHERE seq = 2", 2),
        ("UPDATE events SET subject = 'zb' WHERE seq = 2", 2),
        ("UPDATE events SET occurred_at = received_at, id = 'x' WHERE seq = 2", 2),
        ("UPDATE events SET body = '{}', salt = zeroblob(16), commitment = NULL WHERE seq = 2", 2),
        ("UPDATE events SET salt = zeroblob(16) WHERE seq = 1", 1),
    ],
)
def test_an_erased_row_can_not_be_edited_unseen(path: Path, statement: str, bad: int) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 5)])
        ledger.erase([2], said(2))
    tamper(path, statement)
    with Ledger.open(path) as ledger, pytest.raises(LedgerCorrupt) as caught:
        ledger.verify()
    assert caught.value.seq == bad


def test_a_body_that_goes_without_a_word_is_a_bad_row(path: Path) -> None:
    import hashlib

    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 5)])
        ledger.erase([2], said(2))
    db = sqlite3.connect(path)
    body, salt = db.execute("SELECT body, salt FROM events WHERE seq = 3").fetchone()
    commitment = hashlib.sha256(salt + body.encode()).digest()
    db.execute("UPDATE events SET body = NULL, salt = NULL, commitment = ? WHERE seq = 3", (commitment,))
    db.commit()
    db.close()
    with Ledger.open(path) as ledger, pytest.raises(LedgerCorrupt, match="nobody said that it was erased") as caught:
        ledger.verify()
    assert caught.value.seq == 3


# --- copies -------------------------------------------------------------------------------------------------------


def test_a_backup_while_facts_come_in_is_one_instant_verified_and_private(path: Path, tmp_path: Path) -> None:
    copies = []
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 50)])
        done = threading.Event()

        def write() -> None:
            number = 50
            while not done.is_set():
                ledger.append([payment(number), payment(number + 1)])  # two facts of one commit are both there, or none
                number += 2

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(5):
                target = tmp_path / f"copy-{number}.db"
                copies.append((target, backup(path, target)))
        finally:
            done.set()
            writer.join()
        final = ledger.head()[0]
        for target, copied in copies:
            assert copied.rows % 2 == 1
            assert copied.rows <= final
            assert stat.S_IMODE(target.stat().st_mode) == 0o600
            with Ledger.open(target, read_only=True) as copy:
                assert copy.head() == (copied.rows, bytes.fromhex(copied.head))
            assert ledger.verify(anchor=(copied.rows, bytes.fromhex(copied.head))) >= copied.rows
    assert sorted(file.name for file in tmp_path.glob("copy-*")) == [f"copy-{n}.db" for n in range(5)], "one file each"


def test_a_backup_never_replaces_a_file_and_a_damaged_ledger_gives_none(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 5)])
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(Refused, match="exists already"):
        backup(path, taken)
    assert taken.read_text() == "mine"
    tamper(path, "UPDATE events SET body = replace(body, '10.00', '11.00') WHERE seq = 3")
    with pytest.raises(LedgerCorrupt) as caught:
        backup(path, tmp_path / "copy.db")
    assert caught.value.seq == 3
    assert not list(tmp_path.glob("copy.db*"))
    with pytest.raises(LedgerUnwritable):
        backup(path, tmp_path / "nowhere" / "copy.db")


def restored(copy: Path, path: Path, *, force: bool = False) -> tuple[PutBack, list[str]]:
    told: list[str] = []
    return put_back(copy, path, force=force, now=START, stop=told.append), told


def test_a_backup_put_back_after_the_loss_of_the_ledger_stops_everything_first(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 5)])
        head = ledger.head()
    backup(path, tmp_path / "copy.db")
    path.unlink()
    done, told = restored(tmp_path / "copy.db", path)
    assert done.aside is None
    assert told == ["there was no ledger, so what the backup lacks is unknown"]
    with Ledger.open(path) as ledger:
        assert ledger.head() == head
        assert ledger.append([payment(9)]) == (True,)


def test_a_backup_that_has_everything_is_put_back_without_a_stop(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 5)])
    backup(path, tmp_path / "copy.db")
    done, told = restored(tmp_path / "copy.db", path)
    assert told == []
    assert done.lost == ""
    assert done.aside is not None
    assert done.aside.exists()


def test_a_newer_ledger_is_replaced_only_with_force_and_kept_aside(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 5)])
        backup(path, tmp_path / "copy.db")
        ledger.append([payment(5), payment(6)])
        newer = ledger.head()
        with pytest.raises(LedgerUnwritable, match="owns this ledger"):
            restored(tmp_path / "copy.db", path, force=True)
    with pytest.raises(Refused, match="2 rows more than the backup"):
        restored(tmp_path / "copy.db", path)
    with Ledger.open(path) as ledger:
        assert ledger.head() == newer
    done, told = restored(tmp_path / "copy.db", path, force=True)
    assert told == ["it has 2 rows more than the backup"]
    assert done.copied.rows == 4
    assert done.aside is not None
    with Ledger.open(done.aside) as former:
        assert former.head() == newer
    with Ledger.open(path) as ledger:
        assert ledger.verify() == 4


def test_a_ledger_of_another_chain_or_one_that_can_not_be_read_is_replaced_only_with_force(path: Path, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "other.db") as other:
        other.append([payment(n, "zb") for n in range(1, 9)])
    backup(tmp_path / "other.db", tmp_path / "copy.db")
    with Ledger.open(path) as ledger:
        ledger.append([payment(1)])
    with pytest.raises(Refused, match="another chain"):
        restored(tmp_path / "copy.db", path)
    path.write_bytes(b"scrambled" * 1000)
    with pytest.raises(Refused, match="can not be read"):
        restored(tmp_path / "copy.db", path)
    done, told = restored(tmp_path / "copy.db", path, force=True)
    assert told == [done.lost]
    assert done.aside is not None
    assert done.aside.read_bytes().startswith(b"scrambled")
    with Ledger.open(path) as ledger:
        assert ledger.verify() == 8


def test_a_backup_with_one_byte_changed_is_not_put_back(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 5)])
        head = ledger.head()
    copy = tmp_path / "copy.db"
    backup(path, copy)
    raw = bytearray(copy.read_bytes())
    raw[raw.index(b"SECRET-3-WORDS")] ^= 1
    copy.write_bytes(raw)
    with pytest.raises(LedgerCorrupt) as caught:
        restored(copy, path, force=True)
    assert caught.value.seq == 3
    with Ledger.open(path) as ledger:
        assert ledger.head() == head
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "ledger.db", "ledger.db.lock"]


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_backup_of_a_former_schema_can_be_put_back(path: Path, tmp_path: Path, version: int) -> None:
    older(tmp_path / "copy.db", version)
    before = (tmp_path / "copy.db").read_bytes()
    done, _ = restored(tmp_path / "copy.db", path)
    assert done.copied.rows == 9
    assert (tmp_path / "copy.db").read_bytes() == before
    with Ledger.open(path) as ledger:
        assert ledger.verify(anchor=HEAD_1) == 9

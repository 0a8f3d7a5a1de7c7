"""The ledger when things break for real: kill -9, torn logs, full disks, lost rights, flipped bytes.

Programs that must die, mount something or give up their rights run as children of this file.
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import LedgerCorrupt, LedgerUnwritable
from agent.event import Event
from agent.ledger import InForce, Settled
from agent.ledger.sqlite import Ledger

ROUNDS = int(os.environ.get("ECLUSE_KILLS", "50"))
START = datetime(2026, 3, 2, 9, tzinfo=UTC)

#: What every child begins with: the ledger and a way to make facts.
PRELUDE = """
import os, sys, subprocess
from datetime import UTC, datetime
from pathlib import Path
from agent.errors import LedgerCorrupt, LedgerUnwritable
from agent.event import Event
from agent.ledger import Settled
from agent.ledger.sqlite import Ledger

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)

def payment(name, company="za", filler=""):
    body = {"payment": str(name), "amount": "10.00", "currency": "EUR", "proof": filler}
    about = {"type": "payment.received", "subject": company, "source": "bank"}
    return Event(id=f"bank:{name}", occurred_at=AT, received_at=AT, body=body, **about)

def refused(ledger, name, filler=""):
    try:
        ledger.append([payment(name, filler=filler)])
    except LedgerUnwritable as error:
        return str(error)
    return ""
"""


def payment(number: int, company: str = "za") -> Event:
    return Event(
        id=f"bank:{number}",
        type="payment.received",
        subject=company,
        occurred_at=START + timedelta(seconds=number),
        received_at=START + timedelta(seconds=number),
        source="bank",
        body={"payment": f"P-{number}", "amount": "10.00", "currency": "EUR"},
    )


def program(text: str) -> list[str]:
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(text)]


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users can reach (pytest's own belong to the user who runs it)."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


# --- dying --------------------------------------------------------------------------------------------------------

STORM = """
    path, life = Path(sys.argv[1]), sys.argv[2]
    with Ledger.open(path) as ledger:
        print("open", flush=True)
        for number in range(100_000):
            batch = [payment(f"{life}.{number}.{part}", company=f"c{part}") for part in range(number % 4 + 1)]
            assert all(ledger.append(batch))
            print(*(event.id for event in batch), flush=True)
            if number % 5 == 0:
                head = ledger.head()[0]
                ledger.settle([Settled(company="c0", seq=head, next_at=None, basis=life)])
"""


def test_kill_9_during_appends_loses_nothing_acknowledged_and_keeps_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    chance = random.Random(2026)
    acknowledged: set[str] = set()
    head = (0, bytes(32))
    for life in range(ROUNDS):
        child = subprocess.Popen([*program(STORM), str(path), str(life)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        time.sleep(chance.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        told = child.stdout.read()
        child.stdout.close()
        assert child.wait(10) == -signal.SIGKILL
        for line in told.splitlines(keepends=True):
            if line.endswith("\n"):
                acknowledged.update(line.split())
        with Ledger.open(path) as ledger:
            assert ledger.verify(anchor=head) == ledger.head()[0]
            head = ledger.head()
            kept = [row.event.id for row in ledger.events()]
            assert len(kept) == len(set(kept))
            assert acknowledged <= set(kept)
            # A batch is there whole or not at all, and at most one per life, the one on its way, was kept without a word.
            batches = Counter(name.rsplit(".", 1)[0] for name in kept)
            assert all(parts == int(batch.rsplit(".", 1)[1]) % 4 + 1 for batch, parts in batches.items())
            assert len({name.rsplit(".", 1)[0] for name in set(kept) - acknowledged}) <= life + 1
            for subject in ("c0", "c1", "c2", "c3"):
                payments = {row.event.id for row in ledger.events(subject)}
                assert len((ledger.record(subject) or {}).get("payment.received", {})) == len(payments)
    assert len(acknowledged) > ROUNDS


def test_kill_9_while_rebuilding_leaves_the_records_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as ledger:
        for start in range(0, 3000, 500):
            ledger.append([payment(n, f"c{n % 300}") for n in range(start, start + 500)])
        expected = {f"c{n}": ledger.record(f"c{n}") for n in range(300)}
    rebuild = """
        with Ledger.open(Path(sys.argv[1])) as ledger:
            while True:
                print("rebuilding", flush=True)
                ledger.rebuild()
    """
    chance = random.Random(7)
    for _ in range(10):
        child = subprocess.Popen([*program(rebuild), str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "rebuilding\n"
        time.sleep(chance.uniform(0, 0.15))
        child.kill()
        child.stdout.close()
        child.wait(10)
        with Ledger.open(path) as ledger:
            assert {f"c{n}": ledger.record(f"c{n}") for n in range(300)} == expected
            assert ledger.counts().companies == 300


def test_a_log_torn_anywhere_by_a_power_cut_keeps_every_commit_before_the_tear(tmp_path: Path) -> None:
    # A commit fsyncs the log; so a power cut can only tear what is behind the log's length at that moment.
    path, torn = tmp_path / "ledger.db", tmp_path / "torn.db"
    log = Path(f"{path}-wal")
    synced: list[int] = []
    with Ledger.open(path) as ledger:
        ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(12):
            ledger.append([payment(2 * number), payment(2 * number + 1)])
            synced.append(log.stat().st_size)
        # The writer is alive: file and log are as a crash would leave them, the shared memory is not taken along.
        base, raw = path.read_bytes(), log.read_bytes()
    chance = random.Random(3)
    cuts = {0, *synced, *(size - 1 for size in synced), *(chance.randrange(len(raw)) for _ in range(40))}
    for cut in sorted(cuts):
        torn.write_bytes(base)
        # What follows the tear may be anything the disk held before.
        Path(f"{torn}-wal").write_bytes(raw[:cut] + chance.randbytes(2000))
        with Ledger.open(torn) as ledger:
            rows = ledger.verify()
            assert rows == 2 * sum(size <= cut for size in synced), cut
            assert [row.event for row in ledger.events()] == [payment(n) for n in range(rows)]
            assert ledger.append([payment(1000)]) == (True,)
            assert ledger.verify() == rows + 1
        for left in tmp_path.glob("torn.db*"):
            left.unlink()


def test_a_reader_recovers_the_log_that_a_crash_left_behind(tmp_path: Path) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    with Ledger.open(path) as ledger:
        ledger.append([payment(1), payment(2)])
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
    with Ledger.open(copy, read_only=True) as reader:
        assert reader.verify() == 2


# --- full and forbidden -------------------------------------------------------------------------------------------

FULL = """
    place = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(place)], check=True)
    (place / "ballast").write_bytes(bytes(200_000))
    ledger = Ledger.open(place / "ledger.db")
    kept, why = [], ""
    for number in range(10_000):
        why = refused(ledger, number, filler="x" * 1500)
        if why:
            break
        kept.append(f"bank:{number}")
    assert "disk" in why or "full" in why, why
    assert len(kept) > 10, kept
    head, record = ledger.head(), ledger.record("za")
    assert refused(ledger, "again", filler="x" * 1500)
    assert ledger.head() == head
    assert ledger.record("za") == record
    assert [row.event.id for row in ledger.events()] == kept
    assert ledger.verify(anchor=head) == len(kept)
    (place / "ballast").unlink()
    assert ledger.writable()
    assert refused(ledger, "after") == ""
    head = ledger.head()
    ledger.close()
    with Ledger.open(place / "ledger.db") as again:
        assert again.verify(anchor=head) == len(kept) + 1
    print("survived")
"""

FULL_AT_THE_BEGINNING = """
    place = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", str(place)], check=True)
    (place / "ballast").write_bytes(bytes(60_000))
    for _ in range(2):
        try:
            Ledger.open(place / "ledger.db")
        except LedgerUnwritable as error:
            assert "ledger.db" in str(error), error
        else:
            raise SystemExit("opened")
    (place / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(place)], check=True)
    with Ledger.open(place / "ledger.db") as ledger:
        assert refused(ledger, 1) == ""
    print("survived")
"""

READ_ONLY_MOUNT = """
    place = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "none", str(place)], check=True)
    with Ledger.open(place / "ledger.db") as ledger:
        assert refused(ledger, 1) == ""
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    try:
        Ledger.open(place / "ledger.db")
    except LedgerUnwritable as error:
        assert "Read-only file system" in str(error), error
    else:
        raise SystemExit("opened")
    subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
    with Ledger.open(place / "ledger.db") as ledger:
        assert ledger.append([payment(1), payment(2)]) == (False, True)
    print("survived")
"""

# The rights are given up after the imports, since the checkout may be out of an ordinary user's reach.
UNPRIVILEGED = """
    place = Path(sys.argv[1])
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    for path in (place / "closed" / "ledger.db", place / "foreign" / "ledger.db"):
        for read_only in (False, True):
            try:
                Ledger.open(path, read_only=read_only)
            except LedgerUnwritable as error:
                assert str(path) in str(error), error
                assert read_only or "Permission denied" in str(error), error
            else:
                raise SystemExit(f"opened {path}")
    print("survived")
"""


def in_private_mounts(text: str, place: Path) -> None:
    command = ["unshare", "--mount", "--propagation", "private", *program(text), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "survived\n"


def test_a_full_disk_refuses_and_keeps_nothing_and_works_again_once_there_is_room(tmp_path: Path) -> None:
    in_private_mounts(FULL, tmp_path)


def test_a_disk_that_is_full_from_the_beginning_is_said_and_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    in_private_mounts(FULL_AT_THE_BEGINNING, tmp_path)


def test_a_file_system_that_turned_read_only_is_said_and_works_again_afterwards(tmp_path: Path) -> None:
    in_private_mounts(READ_ONLY_MOUNT, tmp_path)


def test_a_user_without_the_rights_is_told_which_file_and_why(open_directory: Path) -> None:
    closed, foreign = open_directory / "closed", open_directory / "foreign"
    closed.mkdir()
    closed.chmod(0o555)
    foreign.mkdir()
    foreign.chmod(0o777)
    with Ledger.open(foreign / "ledger.db") as ledger:
        ledger.append([payment(1)])
    done = subprocess.run([*program(UNPRIVILEGED), str(open_directory)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "survived\n"


def test_a_ledger_that_is_held_by_a_stranger_refuses_in_time_and_goes_on_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as ledger:
        ledger.append([payment(1)])
        stranger = sqlite3.connect(path, isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        begin = time.monotonic()
        with pytest.raises(LedgerUnwritable, match="locked"):
            ledger.append([payment(2)])
        assert time.monotonic() - begin < 10
        assert ledger.record("za") is not None
        stranger.execute("ROLLBACK")
        stranger.close()
        assert ledger.append([payment(1), payment(2)]) == (False, True)
        assert ledger.verify() == 2


def test_a_second_process_is_refused_while_the_first_lives_and_welcome_when_it_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    hold = """
        ledger = Ledger.open(Path(sys.argv[1]))
        ledger.append([payment(1)])
        print("mine", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen([*program(hold), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "mine\n"
        with pytest.raises(LedgerUnwritable, match=f"process {first.pid} owns this ledger"):
            Ledger.open(path)
        with Ledger.open(path, read_only=True) as reader:
            assert reader.verify() == 1
        first.kill()
    with Ledger.open(path) as second:
        assert second.append([payment(2)]) == (True,)
        assert second.verify() == 2


# --- flipped bytes ------------------------------------------------------------------------------------------------


def test_one_byte_changed_in_the_file_is_found_and_its_row_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as ledger:
        ledger.append([payment(number, f"c{number % 7}") for number in range(1, 201)])
    raw = path.read_bytes()
    for number in (1, 2, 99, 200):
        text = f'"payment":"P-{number}"'.encode()
        # The text stands in the event's row and, written otherwise, in the company's record; only the row is chained.
        spots = [at for at in range(len(raw)) if raw.startswith(text, at) and raw[:at].endswith(b'"currency":"EUR",')]
        named = []
        for spot in spots:
            broken = bytearray(raw)
            broken[spot + 12] ^= 0x01
            path.write_bytes(broken)
            named += first_bad_row(path)
        assert named == [number]


def first_bad_row(path: Path) -> list[int]:
    with Ledger.open(path) as ledger:
        try:
            ledger.verify()
        except LedgerCorrupt as error:
            return [error.seq]
    return []


def test_no_flipped_byte_ever_changes_a_fact_unseen(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as ledger:
        ledger.append([payment(number, f"c{number % 7}") for number in range(1, 101)])
        head = ledger.head()[0]
        measure = InForce(company="c1", case="k", order="o", services=("backup",), lease_until=1.0)
        ledger.settle([Settled(company="c1", seq=head, next_at=1.0, basis="b", measures=(measure,))])
        expected = list(ledger.events())
    raw = path.read_bytes()
    chance = random.Random(11)
    found = 0
    for _ in range(300):
        broken = bytearray(raw)
        broken[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        for left in ("-wal", "-shm"):
            Path(f"{path}{left}").unlink(missing_ok=True)
        try:
            with Ledger.open(path) as ledger:
                assert ledger.verify() == 100
                assert list(ledger.events()) == expected
        except (LedgerCorrupt, LedgerUnwritable):
            found += 1
    assert found > 50

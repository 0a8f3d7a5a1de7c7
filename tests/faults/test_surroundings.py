"""What the daemon rests on goes away while it runs: the ledger's file is damaged or read-only, the log is gone, names are gone."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.house import ROOT, House, firms, until

pytestmark = pytest.mark.kernel


def ecluse(house: House, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent", *map(str, arguments), "--config", str(house.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def damage(path: Path, word: bytes) -> None:
    """Change one byte on the disk, as a broken one does."""
    with path.open("r+b") as file:
        at = file.read().index(word)
        file.seek(at)
        file.write(bytes([word[0] ^ 1]))


def settle_to_disk(house: House) -> None:
    """Have everything in the ledger's file, and nothing in its log."""
    db = sqlite3.connect(house.state / "ledger.db")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()


def test_one_byte_of_a_fact_changed_is_named_and_payments_restore_all_the_same(make_house):
    house = make_house(firms(3))
    house.start("enforce")
    house.start("serve")
    house.suspend("c000", "c001")
    house.kill()
    settle_to_disk(house)
    damage(house.state / "ledger.db", b"LR-c001")
    house.start("enforce")
    verified = ecluse(house, "log", "--verify")
    assert verified.returncode == 1
    (bad,) = [row for row in _bodies(house) if b"LR-c001" not in row[1] and b"R-c001" in row[1] and b"proof" in row[1]]
    assert f"row {bad[0]}" in verified.stderr
    house.heartbeat()
    house.pay("c000")
    until(lambda: house.cut() == {"c001"}, 5, what="a payment restores")
    house.pay("c001")
    until(lambda: house.cut() == set(), 5, what="also the company whose fact is damaged")


def _bodies(house: House) -> list[tuple[int, bytes]]:
    db = sqlite3.connect(house.state / "ledger.db")
    db.text_factory = bytes
    with contextlib.closing(db):
        return db.execute("SELECT seq, body FROM events").fetchall()


def test_a_record_that_can_not_be_read_any_more_holds_up_nobody_else(make_house):
    house = make_house(firms(3))
    house.start("enforce")
    house.start("serve")
    house.suspend("c000", "c001")
    db = sqlite3.connect(house.state / "ledger.db")
    db.execute("UPDATE companies SET record = substr(record, 2), dirty = 1 WHERE company = 'c000'")
    db.commit()
    db.close()
    until(lambda: any("c000" in one for one in house.status()["failures"]), 10, what="the damage is shown")
    house.pay("c001")
    until(lambda: "c001" not in house.cut(), 10, what="the others are restored")
    house.ask("restore", all=True, reason="the record is damaged")
    until(lambda: house.cut() == set(), 5, what="a person restores everybody")


def test_a_ledger_that_turned_read_only_takes_nothing_and_restores_all_the_same(make_house):
    house = make_house(firms(2))
    inside = house.directory / "state"
    # A mount namespace of its own, in which the state directory is a mount that can be made read-only under the daemon.
    script = f'mount --bind {inside} {inside} && exec "$@"'
    process = house.start("enforce", prefix=("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"))
    house.start("serve")
    house.suspend("c000")
    turn = ["nsenter", f"--mount=/proc/{process.pid}/ns/mnt", "mount", "-o", "remount,bind"]
    subprocess.run([*turn, "-r", str(inside)], check=True, timeout=20)
    until(lambda: house.post("heartbeat", "", {}).status == 503, 10, what="the ledger takes nothing")
    assert house.pay("c000").status == 503
    until(lambda: house.cut() == set(), 5, what="the payment counts all the same")
    subprocess.run([*turn, "-w", str(inside)], check=True, timeout=20)
    until(lambda: house.post("heartbeat", "", {}).status == 200, 10, what="the ledger takes facts again")
    until(lambda: house.events("payment.received", "c000"), 5, what="what counted from memory is recorded")
    until(lambda: house.events("measure.restored", "c000"), 5, what="and what was done about it")
    assert ecluse(house, "log", "--verify").returncode == 0


def test_without_anybody_who_reads_its_log_the_daemon_works_and_restores(make_house):
    """journald gone: the socket behind its standard error is closed, and writing to it fails."""
    house = make_house(firms(2))
    ours, theirs = socket.socketpair()
    house.start(
        "enforce", prefix=("sh", "-c", f'exec "$@" 2>&{theirs.fileno()} >&{theirs.fileno()}', "sh"), inherit=(theirs.fileno(),)
    )
    theirs.close()
    house.start("serve")
    house.suspend("c000")
    ours.close()
    house.pay("c000")
    until(lambda: house.cut() == set(), 5, what="a payment restores without a log")
    house.post("payment.received", "nobody", {"payment": "x", "amount": "1", "currency": "EUR"})
    assert house.status()["kernel"]["last_good_cycle"]
    assert house.roles["enforce"].poll() is None


def test_a_log_that_nobody_empties_any_more_holds_up_nothing(make_house):
    """journald frozen: the pipe behind standard error is full, and a write to it would wait for ever."""
    house = make_house(firms(2))
    read, write = os.pipe()
    house.start("enforce", prefix=("sh", "-c", f'exec "$@" 2>&{write} >&{write}', "sh"), inherit=(write,))
    house.start("serve")
    house.suspend("c000")
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    os.close(write)
    house.pay("c000")
    until(lambda: house.cut() == set(), 5, what="a payment restores though nobody takes the log")
    os.close(read)


def test_without_any_name_service_everything_goes_on(make_house):
    """DNS gone: names are not needed for a decision nor for a restore. The house's namespace has no route to any resolver."""
    house = make_house(firms(2))
    empty = house.directory / "resolv.conf"
    empty.write_text("nameserver 203.0.113.53\noptions timeout:1 attempts:1\n")
    script = f'mount --bind {empty} /etc/resolv.conf && exec "$@"'
    house.start("enforce", prefix=("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"))
    house.start("serve")
    house.suspend("c000")
    house.pay("c000")
    until(lambda: house.cut() == set(), 5, what="a payment restores")
    house.roles["enforce"].send_signal(signal.SIGHUP)
    until(lambda: len(house.events("policy.loaded")) == 2, 10, what="a reload works")

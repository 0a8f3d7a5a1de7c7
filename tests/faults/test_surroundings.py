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


def test_on_a_read_only_disk_the_daemon_says_so_and_ends_and_a_person_restores_without_it(make_house):
    house = make_house(firms(2))
    house.start("enforce")
    house.start("serve")
    house.suspend("c000")
    house.kill()
    state = house.state
    script = f'mount --bind {state} {state} && mount -o remount,bind,ro {state} && exec "$@"'
    process = house.start(
        "enforce", prefix=("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"), wait=False
    )
    assert process.wait(20) == 1
    assert "Read-only file system" in house.log()
    assert house.cut() == {"c000"}, "the rules stay, and their leases run"
    assert house.pay("c000").status == 503, "so that the biller sends it again"
    house.nft("delete", "table", "inet", "ecluse")
    assert house.cut() == set()
    house.start("enforce")
    house.heartbeat()
    house.pay("c000")
    until(lambda: house.events("measure.restored", "c000"), 5, what="the payment is taken once the disk takes writes")
    assert ecluse(house, "log", "--verify").returncode == 0


def test_without_anybody_who_reads_its_log_the_daemon_works_and_restores(make_house):
    """journald gone: the socket behind its standard error is closed, and writing to it fails."""
    house = make_house(firms(3))
    ours, theirs = socket.socketpair()
    house.start("enforce", log=theirs.fileno())
    theirs.close()
    house.start("serve")
    house.suspend("c000", "c001")
    ours.close()
    for company in ("c000", "c001"):
        house.pay(company)
        until(lambda company=company: company not in house.cut(), 5, what=f"a payment restores {company} without a log")
    house.post("payment.received", "nobody", {"payment": "x", "amount": "1", "currency": "EUR"})
    assert house.status()["kernel"]["last_good_cycle"]
    assert house.roles["enforce"].poll() is None


def test_a_log_that_nobody_empties_any_more_holds_up_nothing(make_house):
    """journald frozen: the pipe behind standard error is full, and a write to it would wait for ever."""
    house = make_house(firms(3))
    read, write = os.pipe()
    house.start("enforce", log=write)
    house.start("serve")
    house.suspend("c000", "c001")
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    os.close(write)
    for company in ("c000", "c001"):
        house.pay(company)
        until(
            lambda company=company: company not in house.cut(), 5, what=f"a payment restores {company} though nobody takes the log"
        )
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

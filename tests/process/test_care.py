"""Care of the ledger with the daemon running: backup, erasing, and a backup put back that knows less than the world."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest

from agent.event import Event, parse_body
from agent.ledger.sqlite import Ledger
from tests.process.house import MONDAY, ROOT, House, until

pytestmark = pytest.mark.kernel

LONG_AGO = MONDAY - timedelta(days=900)


def ecluse(house: House, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", "--json", *map(str, arguments), "--config", str(house.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


def past(house: House) -> None:
    """A matter of c001 that was over years ago, and one of c002 that was never paid; and a stranger."""
    invoice = {"amount": "100.00", "currency": "EUR", "due_on": "2023-09-01"}
    said = [
        ("invoice.issued", "c001", invoice | {"invoice": "OLD-1"}),
        ("payment.received", "c001", {"payment": "P-1", "amount": "100.00", "currency": "EUR"}),
        ("invoice.issued", "c002", invoice | {"invoice": "OLD-2"}),
        ("customer.unknown", "-", {"customer": "Jean Dupont", "type": "payment.received", "facts": {}}),
    ]
    with Ledger.open(house.state / "ledger.db") as ledger:
        ledger.append(
            [
                Event(
                    id=f"old:{number}",
                    type=type_,
                    subject=subject,
                    occurred_at=LONG_AGO,
                    received_at=LONG_AGO,
                    source="billing",
                    body=parse_body(type_, body),
                )
                for number, (type_, subject, body) in enumerate(said)
            ]
        )


def test_old_bodies_are_erased_while_a_measure_runs_and_the_ledger_still_proves_itself(make_house):
    house = make_house()
    past(house)
    house.start("enforce")
    house.start("serve")
    house.suspend("c000")
    too_young = house.ask("erase", before="2026-01-01T00:00:00Z", reason="x")
    assert (too_young["exit"], "366 days" in too_young["message"]["en"]) == (2, True)
    done = house.ask("erase", before="2024-06-01T00:00:00Z", reason="kept long enough")
    assert done["exit"] == 0, done
    assert done["data"]["rows"] == 3
    assert done["data"]["kept"]["c002"]["en"] == "invoice OLD-2 is not settled"
    assert house.cut() == {"c000"}
    verified = ecluse(house, "log", "--verify")
    told = json.loads(verified.stdout)
    assert (verified.returncode, told["data"]["erased"]) == (0, "1-2,4")
    assert "Jean Dupont" not in (house.state / "ledger.db").read_bytes().decode("latin-1")
    house.pay("c000")
    until(lambda: house.cut() == set(), 5, what="a payment restores as before")


def test_only_a_named_person_erases(make_house):
    house = make_house(operators="[]")
    house.start("enforce")
    refused = house.ask("erase", before="2024-06-01T00:00:00Z", reason="x")
    assert refused["exit"] == 3


def test_a_backup_put_back_suspends_nobody_until_a_person_has_looked(house, tmp_path):
    house.suspend("c000")
    copy = tmp_path / "copy.db"
    taken = ecluse(house, "backup", copy)
    assert taken.returncode == 0, taken.stderr
    house.pay("c000")
    until(lambda: house.cut() == set(), 5, what="c000 is restored")
    running = ecluse(house, "restore-ledger", copy, "--force")
    assert (running.returncode, "owns this ledger" in running.stdout + running.stderr) == (1, True)
    house.kill()
    refused = ecluse(house, "restore-ledger", copy)
    assert (refused.returncode, "rows more than the backup" in refused.stdout + refused.stderr) == (3, True)
    put = ecluse(house, "restore-ledger", copy, "--force")
    assert put.returncode == 0, put.stderr
    house.start("enforce")
    house.heartbeat()
    assert house.cut() == set(), "the backup says c000 owes; the payment it lacks still counts"
    status = house.status()
    assert status["paused"] is True
    assert "Compare with the billing systems" in status["stop"]["all"]["reason"]
    house.pay("c000")  # the billing system sends again what we lack
    assert house.ask("resume", reason="compared")["exit"] == 0
    until(lambda: house.events("measure.restored", "c000"), 5, what="the restore is recorded")
    assert house.cut() == set()

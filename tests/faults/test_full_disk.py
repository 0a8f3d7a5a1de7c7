"""The ledger's disk is full: nothing is acknowledged that is not kept, and a payment restores all the same.

The disk is a small tmpfs in a mount namespace of its own, so that it survives the daemon and nobody else sees it.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.process.house import ROOT, Answer, House, until

pytestmark = pytest.mark.kernel


#: SQLite finds a file by its name, and the name leads elsewhere outside: so the ledger is read by a child inside.
READ = """
import json, sys
from pathlib import Path
from agent.ledger.sqlite import Ledger
with Ledger.open(Path(sys.argv[1]), read_only=True) as ledger:
    rows = [[row.event.id, row.event.type, row.event.subject] for row in ledger.events()]
    print(json.dumps([ledger.verify(), rows]))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """A house whose state directory is a disk of its own, and that disk. `inside` is that directory as the daemon calls it."""

    house: House
    inside: Path
    prefix: tuple[str, ...]

    def start(self, *, wait: bool = True) -> subprocess.Popen[bytes]:
        return self.house.start("enforce", prefix=self.prefix, wait=wait)

    def fill(self) -> None:
        """Leave no room; what the ledger's log has left over from earlier is used up too."""
        with (self.house.state / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        until(lambda: self.house.post("heartbeat", "", {}).status == 503, 10, what="the ledger takes nothing any more")

    def free(self) -> None:
        (self.house.state / "filler").unlink()

    def ids(self, type_: str = "", company: str = "") -> list[str]:
        """Ids of the ledger's events, after its chain was verified."""
        done = subprocess.run(
            [*self.prefix, sys.executable, "-c", READ, str(self.inside / "ledger.db")],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            cwd=ROOT,
        )
        verified, rows = json.loads(done.stdout)
        assert verified == len(rows)
        return [id_ for id_, type_of, about in rows if type_ in ("", type_of) and company in ("", about)]


@contextlib.contextmanager
def a_small_disk(house: House) -> Iterator[Disk]:
    """Put the state directory of a house on a disk of its own, start both roles, and have two of three companies suspended."""
    script = 'mount -t tmpfs -o size=1m,mode=0700 disk "$1" && echo && cat'
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(house.state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout.read(1) == b"\n"
        prefix = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--")
        built = Disk(house=house, inside=house.state, prefix=prefix)
        house.state = Path(f"/proc/{holder.pid}/root{house.state}")
        built.start()
        house.start("serve")
        house.suspend("c000", "c001")
        yield built
        for process in house.roles.values():
            process.kill()
            process.wait(10)
        holder.stdin.close()


@pytest.fixture
def disk(make_house: Callable[..., House]) -> Iterator[Disk]:
    """Two of three companies are suspended, and both roles run."""
    with a_small_disk(make_house()) as built:
        yield built


def figure(house: House, name: str) -> float:
    lines = house.request("GET", "/metrics").message.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def test_webhooks_get_503_and_an_authentic_payment_restores_at_once_and_is_recorded_exactly_once_when_there_is_room(disk):
    house = disk.house
    disk.fill()
    kept = len(disk.ids())

    def pay(company: str, message: str, **how: object) -> Answer:
        return house.post(
            "payment.received", company, {"payment": f"P-{company}", "amount": "4800", "currency": "EUR"}, message=message, **how
        )

    assert pay("c001", "forged", secret=b"x" * 32).status == 401
    answer = pay("c000", "paid")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    until(lambda: house.cut() == {"c001"}, 1, what="payment restores although it can not be recorded")
    assert len(disk.ids()) == kept
    assert figure(house, "ecluse_ledger_writable") == 0
    assert any("ledger" in failure for failure in house.status()["failures"])
    assert pay("c000", "paid").status == 503  # the biller tries again, and is told the same

    disk.free()
    until(lambda: figure(house, "ecluse_ledger_writable") == 1, 3, what="the ledger is written again")
    assert pay("c000", "paid").status == 200
    until(lambda: disk.ids("measure.restored", "c000"), 2, what="the restore is recorded")
    assert disk.ids("payment.received", "c000") == ["billing:paid"]
    assert len(disk.ids("measure.restored", "c000")) == 1
    house.kill()
    disk.start()
    assert house.cut() == {"c001"}
    assert house.suspended() == {"c001"}
    assert house.status()["stop"] is None


def test_a_payment_that_could_not_be_recorded_holds_through_a_kill_and_a_start_on_the_full_disk(disk):
    house = disk.house
    disk.fill()
    assert house.pay("c000", payment="P-1").status == 503
    until(lambda: house.cut() == {"c001"}, 1, what="payment restores")
    house.kill()
    process = disk.start(wait=False)
    until(lambda: process.poll() is not None or house.enforcing(), 10, what="it runs, or says why not")
    assert "c000" not in house.cut()
    disk.free()
    if process.poll() is not None:
        assert "disk" in house.log()
        disk.start()
    until(lambda: not house.status()["failures"], 5, what="the ledger is written again")
    assert "c000" not in house.cut()
    # The biller was told to try again. From then on the fact is in the ledger, and nothing is held back by hand any more.
    assert house.pay("c000", payment="P-1").status == 200
    until(lambda: disk.ids("measure.restored", "c000"), 3, what="the restore is recorded")
    assert house.cut() <= {"c001"}


def test_a_person_restores_and_stops_while_nothing_can_be_written(disk):
    house = disk.house
    disk.fill()
    told = house.ask("restore", company="c000", reason="by telephone")
    assert told["exit"] == 0
    assert "to be recorded later" in told["message"]["en"]
    assert house.cut() == {"c001"}
    assert house.ask("pause", restore=True, reason="fire")["exit"] == 0
    assert house.cut() == set()
    assert house.ask("resume", reason="over")["exit"] == 1  # a pause is lifted on the record or not at all
    disk.free()
    until(lambda: disk.ids("restore.ordered", "c000"), 3, what="what the person said is recorded")
    assert house.ask("resume", reason="over")["exit"] == 0
    until(lambda: house.cut() == {"c001"}, 3, what="the others are suspended again, the one restored by hand is not")


def test_nothing_new_is_suspended_while_it_could_not_be_recorded(disk):
    house = disk.house
    house.ask("pause", reason="wait")
    house.remember("c002")
    disk.fill()
    (house.state / "stop.json").unlink()  # as if the pause were over: only the ledger stands in the way now
    until(lambda: not house.status()["paused"], 3, what="the pause is over")
    good = house.log().count("c002 suspended")
    with contextlib.suppress(AssertionError):
        until(lambda: "c002" in house.cut(), 2, what="this must not happen")
    assert house.cut() == {"c000", "c001"}
    assert good == 0
    disk.free()
    until(lambda: house.cut() == {"c000", "c001", "c002"}, 3, what="it is suspended once that can be recorded")
    assert len(disk.ids("order.suspend", "c002")) == 1

"""`ecluse restore` when nobody answers: by the kernel and the stop file alone, never undone, and on record later."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.faults.test_full_disk import Disk, a_small_disk
from tests.process.conftest import a_running_house
from tests.process.house import ROOT, House, until

pytestmark = pytest.mark.kernel


def ecluse(house: House, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The real command line, in the gateway's namespace."""
    environment = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
    argv = [*prefix, sys.executable, "-m", "agent", *arguments, "--config", house.config]
    with house.space.start(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
    ) as process:  # fmt: skip
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def restored(house: House, *arguments: str, prefix: tuple[str, ...] = ()) -> dict[str, object]:
    done = ecluse(house, "restore", *arguments, "--reason", "wrong customer", "--json", prefix=prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout)["data"]
    assert found["alone"] is True
    return found


@pytest.fixture
def suspending() -> Iterator[House]:
    """Two of three companies are suspended."""
    with a_running_house() as built:
        built.suspend("c000", "c001")
        yield built


def test_one_company_is_restored_with_the_daemon_dead_and_the_network_down_and_stays_so_on_record(suspending):
    house = suspending
    house.kill()
    house.kill("serve")
    with house.space.inside():
        subprocess.run(["ip", "link", "set", "lo", "down"], check=True, timeout=10)
    assert restored(house, "c000")["there"] == 4
    assert house.cut() == {"c001"}
    house.start("enforce")
    until(lambda: house.events("measure.restored", "c000"), 5, what="the restore is recorded")
    (said,) = house.events("restore.ordered", "c000")
    assert (said.body["by"], said.body["reason"]) == ("root", "wrong customer")
    assert house.events("measure.restored", "c000")[0].body["final"]
    assert house.cut() == {"c001"}
    until(lambda: not (house.state / "stop.json").exists(), 3, what="what is on record needs no stop file")
    house.kill()
    house.start("enforce")
    assert house.cut() == house.suspended() == {"c001"}
    assert len(house.events("restore.ordered", "c000")) == 1


def test_everybody_is_restored_with_the_daemon_dead_and_stays_so_until_resume_which_is_on_record(suspending):
    house = suspending
    house.nft("add table inet theirs; add chain inet theirs c; add rule inet theirs c ip saddr 9.9.9.9 drop")
    theirs = house.nft("list", "table", "inet", "theirs")
    house.kill()
    restored(house, "--all")
    assert not house.table()
    assert house.nft("list", "table", "inet", "theirs") == theirs
    for _ in range(2):
        house.start("enforce")
        assert not house.table()
        assert house.status()["stop"]["all"]["reason"] == "wrong customer"
        house.kill()
    (said,) = house.events("pause.set")
    assert (said.body["by"], said.body["reason"], said.body["restore"]) == ("root", "wrong customer", True)
    house.start("enforce")
    assert house.ask("resume", reason="looked into")["exit"] == 0
    until(lambda: house.cut() == {"c000", "c001"}, 5, what="enforcement is back")
    (lifted,) = house.events("pause.lifted")
    assert (lifted.body["by"], lifted.body["reason"]) == ("root", "looked into")
    assert house.status()["stop"] is None


@pytest.mark.parametrize(("arguments", "left"), [(("--all",), set()), (("c000",), {"c001"})], ids=["all", "one"])
def test_a_daemon_that_was_stuck_obeys_what_was_done_without_it_once_it_wakes(suspending, arguments, left):
    house = suspending
    house.roles["enforce"].send_signal(signal.SIGSTOP)
    try:
        restored(house, *arguments)
        assert house.cut() == left
    finally:
        house.roles["enforce"].send_signal(signal.SIGCONT)
    type_, about = ("restore.ordered", "c000") if left else ("pause.set", None)
    until(lambda: house.events(type_, about), 5, what="it is recorded")
    until(lambda: house.suspended() == left or not left, 5, what="it is known")
    assert house.cut() == left
    house.nft("flush", "ruleset")
    until(lambda: house.cut() == left, 2, what="repair puts back only what is not restored")


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_with_a_disk_that_takes_nothing_the_stop_file_lies_beside_the_sockets_and_a_restart_obeys_it(disk, how):
    house = disk.house
    block(disk, how)
    house.kill()
    assert restored(house, "c000", prefix=disk.prefix)["stop_file"] == str(house.run / "stop.json")
    assert house.cut() == {"c001"}
    process = disk.start(wait=False)
    until(lambda: process.poll() is not None or house.enforcing(), 10, what="it runs, or says why not")
    assert house.cut() == {"c001"}
    release(disk, how)
    if process.poll() is not None:
        disk.start()
    until(lambda: disk.ids("measure.restored", "c000"), 10, what="the restore is recorded")
    assert len(disk.ids("restore.ordered", "c000")) == 1
    assert house.cut() <= {"c001"}


def block(disk: Disk, how: str) -> None:
    if how == "full":
        disk.fill()
    else:
        disk.house.kill()
        remount(disk, "ro")


def release(disk: Disk, how: str) -> None:
    if how == "full":
        disk.free()
    else:
        remount(disk, "rw")


def remount(disk: Disk, how: str) -> None:
    subprocess.run([*disk.prefix, "mount", "-o", f"remount,{how}", str(disk.inside)], check=True, timeout=10)


@pytest.fixture
def disk(make_house: Callable[..., House]) -> Iterator[Disk]:
    """Two of three companies are suspended; the state directory is a small disk of its own."""
    with a_small_disk(make_house()) as built:
        yield built


def test_where_no_stop_file_can_be_written_it_restores_and_says_that_it_will_not_last(suspending):
    house = suspending
    house.kill()
    for place in (house.state, house.run):
        (place / "stop.json").mkdir()
    done = ecluse(house, "restore", "--all", "--reason", "fire")
    assert done.returncode == 1
    assert "Stop the enforcer" in done.stderr
    assert not house.table()


def test_who_is_not_root_is_told_so_and_nothing_is_changed(suspending):
    house = suspending
    house.kill()
    (house.run / "operator.sock").chmod(0o666)  # of the group that may ask
    done = ecluse(
        house, "restore", "--all", "--reason", "x", prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    )
    assert done.returncode == 1
    assert "root" in done.stderr
    assert house.cut() == {"c000", "c001"}


def test_a_company_that_nobody_knows_is_named_as_not_found_and_harms_nobody(suspending):
    house = suspending
    house.kill()
    assert restored(house, "c00")["there"] == 0
    house.start("enforce")
    assert house.cut() == {"c000", "c001"}
    assert house.events("restore.ordered") == []
    assert house.ask("resume", reason="a slip of the pen")["exit"] == 0
    assert house.status()["stop"] is None


def test_the_daemon_is_asked_first_and_then_nothing_is_done_alone(suspending):
    done = ecluse(suspending, "restore", "c000", "--reason", "paid in cash", "--json")
    assert (done.returncode, "alone" in done.stdout) == (0, False)
    assert suspending.cut() == {"c001"}
    assert not (suspending.state / "stop.json").exists()


def test_on_legacy_iptables_too_one_company_or_everybody_is_restored_without_the_daemon():
    def cut() -> set[str]:
        return set(re.findall(r'comment "(\w+):', house.program("ipset", "save")))

    with a_running_house(kernel="iptables") as house:
        house.suspend("c000", "c001")
        house.kill()
        assert cut() == {"c000", "c001"}
        assert restored(house, "c000")["there"] == 4
        assert cut() == {"c001"}
        restored(house, "--all")
        assert cut() == set()

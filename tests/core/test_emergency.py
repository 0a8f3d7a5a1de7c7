"""Restoring without the enforcer, over the kernel in memory: obeyed at once, never undone, and on record later."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent import emergency, stopfile
from agent.emergency.record import fact, record
from agent.event import HOST
from agent.rules import Change
from agent.stopfile import Pause, Stop
from tests.core.hosts import Host, in_memory, inventory_of
from tests.process.house import MONDAY, firms

PAUSE = Pause(by="claire", at=MONDAY, reason="wrong customer", restore=True)


@pytest.fixture
def host() -> Iterator[Host]:
    """Three companies, two suspended."""
    with in_memory() as directory:
        built = Host(directory=directory, inventory=inventory_of(firms(3)))
        built.start()
        built.suspend("c000", "c001")
        yield built
        built.dies()


def places(host: Host) -> tuple[Path, Path]:
    return host.gateway.stop_path, host.gateway.spare_stop_path


def look(host: Host) -> None:
    """What the enforcer does at the beginning of every cycle, and the cycle."""
    host.gateway.look_around()
    record(host.gateway)
    host.work()


def test_a_stop_says_in_the_first_place_that_takes_it_what_was_there_and_what_is_new(tmp_path: Path) -> None:
    first, second = tmp_path / "gone" / "stop.json", tmp_path / "stop.json"
    stopfile.write(second, Stop(companies={"zb": PAUSE}))
    kernel = Host(directory=_own(tmp_path), inventory=inventory_of(firms(1))).kernel
    done = emergency.restore(kernel, (first, second), PAUSE, "za")
    assert (done.place, done.faults) == (second, (f"{first}: No such file or directory",))
    assert set(stopfile.read(second).companies) == {"za", "zb"}
    assert emergency.restore(kernel, (first, second), PAUSE).place == second
    assert stopfile.read(second) == Stop(all=PAUSE, companies={"za": PAUSE, "zb": PAUSE})
    assert emergency.restore(kernel, (first,), PAUSE).place is None


def _own(path: Path) -> Path:
    (path / "host").mkdir()
    return path / "host"


def test_what_an_enforcer_in_the_middle_of_its_work_puts_back_is_taken_away_again(host: Host) -> None:
    back = [host.kernel.changes[-1].add]

    def undo(change: Change) -> None:
        if change.delete and back:
            host.kernel.before_apply = lambda change: None
            host.kernel.apply(change)
            host.kernel.apply(Change(add=back.pop()))

    host.kernel.before_apply = undo
    emergency.restore(host.kernel, places(host), PAUSE, "c001")
    assert not back
    assert host.cut() == {"c000"}


def test_a_company_restored_without_the_enforcer_is_closed_by_that_persons_word(host: Host) -> None:
    emergency.restore(host.kernel, places(host), PAUSE, "c000")
    look(host)
    (said,) = host.events("restore.ordered", "c000")
    assert said.body == {"by": "claire", "reason": "wrong customer"}
    assert said.source == "operator:claire"
    (done,) = host.events("measure.restored", "c000")
    assert (done.body["final"], done.body["reason"]) == (True, "operator")
    assert stopfile.read(host.gateway.stop_path) == Stop()
    look(host)
    assert host.cut() == {"c001"}
    assert len(host.events("restore.ordered")) == 1


def test_a_restore_said_while_the_clock_was_wrong_counts_after_what_is_under_way(host: Host) -> None:
    stopfile.write(host.gateway.stop_path, Stop(companies={"c000": replace(PAUSE, at=MONDAY.replace(year=2020))}))
    look(host)
    assert host.events("measure.restored", "c000")
    for _ in range(3):  # the stop is let go of once it is on record, and nothing comes back
        look(host)
    assert stopfile.read(host.gateway.stop_path) == Stop()
    assert host.cut() == {"c001"}


def test_a_general_stop_is_recorded_once_however_often_it_is_seen(host: Host) -> None:
    emergency.restore(host.kernel, places(host), PAUSE)
    for _ in range(3):
        look(host)
        host.restart()
        host.start()
    assert len(host.events("pause.set")) == 1
    assert host.cut() == set()


def test_while_the_ledger_takes_nothing_the_persons_name_and_reason_stay_in_the_stop_file(host: Host) -> None:
    emergency.restore(host.kernel, places(host), PAUSE, "c000")
    host.gateway.ledger.refuse(writes=True)
    host.gateway.ledger_bad("read-only")
    look(host)
    assert stopfile.read(host.gateway.stop_path).companies == {"c000": PAUSE}
    host.gateway.ledger.refuse(writes=False)
    assert host.gateway.catch_up()
    look(host)
    assert host.events("restore.ordered", "c000")[0].body["by"] == "claire"
    assert host.cut() == {"c001"}


def test_a_stop_of_a_company_that_nobody_knows_stays_and_is_no_fact(host: Host) -> None:
    emergency.restore(host.kernel, places(host), PAUSE, "c00")
    look(host)
    assert host.events("restore.ordered") == []
    assert set(stopfile.read(host.gateway.stop_path).companies) == {"c00"}
    assert host.cut() == {"c000", "c001"}


def test_a_reason_that_no_event_may_hold_is_obeyed_and_shown(host: Host) -> None:
    emergency.restore(host.kernel, places(host), replace(PAUSE, reason="x" * 100_000), "c000")
    look(host)
    assert host.cut() == {"c001"}
    assert "can not be recorded" in host.gateway.failures["stop file"]
    assert set(stopfile.read(host.gateway.stop_path).companies) == {"c000"}


def test_what_a_person_wrote_while_the_enforcer_was_stuck_outlives_what_it_writes_itself(host: Host) -> None:
    emergency.restore(host.kernel, places(host), PAUSE, "c000")  # not looked at yet
    host.gateway.stop_more(Stop(companies={"c001": replace(PAUSE, by=stopfile.AGENT)}))
    assert set(stopfile.read(host.gateway.stop_path).companies) == {"c000", "c001"}


def test_a_stop_of_the_future_counts_as_of_now_and_keeps_its_id() -> None:
    later = replace(PAUSE, at=MONDAY.replace(year=2027))
    one, two = fact(HOST, later, MONDAY), fact(HOST, later, MONDAY.replace(month=4))
    assert (one.occurred_at, two.occurred_at) == (MONDAY, MONDAY.replace(month=4))
    assert one.id == two.id
    assert one.id != fact("za", later, MONDAY).id

"""The clock: what the host says of it, jumps in either direction, and what the gate makes of that."""

import time
from datetime import timedelta
from pathlib import Path

import pytest

from agent import clock
from agent.clockwork import LATELY_SECONDS, Clockwork
from tests.core.hosts import Host, inventory_of
from tests.process.house import firms

GOOD = clock.Reading(synchronised=True, offset_ms=3, said_by="kernel")
BAD = clock.Reading(synchronised=False, offset_ms=0, said_by="kernel")


class Hands:
    """A clock to be moved by hand, beside the time since boot."""

    def __init__(self, host: Host) -> None:
        self.host, self.reading, self.boot = host, GOOD, 1000.0
        self.clockwork = Clockwork(read=lambda: self.reading, wall=self.wall, boot=lambda: self.boot)

    def wall(self) -> float:
        return self.host.clock.now.timestamp()

    def pass_(self, seconds: float) -> None:
        self.boot += seconds
        self.host.clock.now += timedelta(seconds=seconds)

    def look(self, *, stated: bool = False) -> None:
        self.clockwork.look(self.host.gateway, stated=stated)
        self.host.gateway.look_around()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(directory=tmp_path, inventory=inventory_of(firms(2)))


def told(host: Host) -> list[tuple[bool, bool]]:
    return [(e.body["synchronised"], e.body["stepped"]) for e in host.events("clock.checked") if e.source == "agent"]


def test_the_hosts_clock_can_be_read_without_any_right() -> None:
    found = clock.read()
    assert found.said_by == "kernel"
    assert found.offset_ms >= 0
    assert abs(clock.since_boot() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


def test_where_the_kernel_may_not_be_asked_the_stamp_of_timesyncd_counts_while_it_is_young(tmp_path: Path) -> None:
    import os

    stamp = tmp_path / "synchronized"
    assert clock.by_stamp(stamp) == clock.Reading(synchronised=False, offset_ms=0, said_by="nobody")
    stamp.touch()
    assert clock.by_stamp(stamp) == clock.Reading(synchronised=True, offset_ms=0, said_by="stamp")
    old = time.time() - 2 * 3600
    os.utime(stamp, (old, old))
    assert clock.by_stamp(stamp).synchronised is False
    ahead = time.time() + 3600
    os.utime(stamp, (ahead, ahead))
    assert clock.by_stamp(stamp).synchronised is False


def test_what_was_seen_is_recorded_when_it_changes_and_only_then(host: Host) -> None:
    hands = Hands(host)
    for _ in range(5):
        hands.look()
        hands.pass_(60)
    assert told(host) == [(True, False)]
    hands.reading = BAD
    hands.look()
    hands.reading = GOOD
    hands.pass_(60)
    hands.look()
    assert told(host) == [(True, False), (False, False), (True, False)]


@pytest.mark.parametrize("seconds", [3600, -3600, 365 * 86400, -365 * 86400, 3, -3])
def test_a_jump_counts_for_an_hour_of_time_that_nobody_can_set(host: Host, seconds: float) -> None:
    hands = Hands(host)
    hands.look()
    host.clock.now += timedelta(seconds=seconds)
    basis = host.gateway.basis
    hands.look()
    clock_ = host.gateway.world.clock
    assert clock_ is not None
    assert clock_.stepped
    assert host.gateway.basis != basis, "everybody is due"
    hands.pass_(LATELY_SECONDS - 1)
    hands.look()
    assert host.gateway.world.clock is not None
    assert host.gateway.world.clock.stepped
    hands.pass_(2)
    hands.look()
    assert host.gateway.world.clock is not None
    assert not host.gateway.world.clock.stepped
    assert [stepped for _, stepped in told(host)] == [False, True, False]


def test_what_keeps_the_clock_slews_it_without_a_jump(host: Host) -> None:
    hands = Hands(host)
    for _ in range(100):
        hands.look()
        hands.pass_(60)
        host.clock.now += timedelta(seconds=1.5)
    assert told(host) == [(True, False)]


def test_a_clock_that_was_set_back_while_nobody_looked_is_seen_at_the_next_start(host: Host) -> None:
    host.beat()
    host.clock.now -= timedelta(hours=1)
    host.restart()
    hands = Hands(host)
    hands.look()
    assert told(host) == [(True, True)]


def test_a_monitoring_system_says_whether_the_clock_is_right_where_it_may_and_jumps_are_seen_all_the_same(host: Host) -> None:
    hands = Hands(host)
    hands.reading = BAD
    hands.look(stated=True)
    assert host.gateway.world.clock is not None
    assert not host.gateway.world.clock.synchronised, "nobody has stated anything yet"
    host.beat()
    hands.look(stated=True)
    hands.look(stated=True)
    assert host.gateway.world.clock.synchronised
    host.clock.now += timedelta(hours=1)
    hands.look(stated=True)
    assert host.gateway.world.clock.stepped


@pytest.mark.parametrize("reading", [BAD, None])
def test_nobody_is_suspended_by_a_clock_that_is_not_known_to_be_right_or_jumped(host: Host, reading: clock.Reading | None) -> None:
    hands = Hands(host)
    hands.look()
    if reading is None:
        host.clock.now += timedelta(seconds=5)
    else:
        hands.reading = reading
    hands.look()
    host.let_act()
    host.remember("c000")
    host.work()
    assert host.cut() == set()
    hands.reading = GOOD
    hands.pass_(LATELY_SECONDS + 1)
    hands.look()
    host.beat("again")
    host.gateway.again["c000"] = None
    host.work()
    assert host.cut() == {"c000"}


@pytest.mark.parametrize("span", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=365), timedelta(days=-365)])
def test_a_jump_never_keeps_anybody_cut_longer_than_one_lease_and_a_payment_restores(host: Host, span: timedelta) -> None:
    hands = Hands(host)
    hands.look()
    host.suspend("c000")
    (lease,) = {found.expires_ms for members in host.gateway.rules.structure.sets for _, found in host.kernel.dump(members.name)}
    host.clock.now += span
    hands.look()
    host.work()
    assert host.cut() <= {"c000"}
    for members in host.gateway.rules.structure.sets:
        assert all(found.expires_ms <= lease for _, found in host.kernel.dump(members.name))
    for measure in host.ledger.measures_of("c000"):
        assert measure.lease_until <= (host.clock.now + timedelta(milliseconds=lease)).timestamp() + 1
    host.pay("c000")
    host.work()
    assert host.cut() == set()

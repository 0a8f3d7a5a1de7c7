"""Others who change nftables are heard at once; our own changes are not."""

import asyncio
import select
import socket
import subprocess
import sys
import time

import pytest

from agent.errors import KernelError
from agent.kernel.nft import NftKernel
from agent.kernel.watch import Seen, Watch
from agent.rules import Change
from tests.contract.conftest import nft
from tests.contract.examples import COMPANY, FULL, SMALL, element, keys

pytestmark = pytest.mark.kernel


@pytest.fixture
def watched(own_network):
    kernel = NftKernel()
    kernel.apply(Change(structure=FULL, add=COMPANY))
    watch = Watch([kernel.port])
    yield kernel, watch
    watch.close()
    kernel.close()


def readable(watch, timeout=0.0) -> bool:
    return bool(select.select([watch], [], [], timeout)[0])


def test_our_own_changes_of_members_wake_nobody(watched):
    kernel, watch = watched
    kernel.apply(Change(add=COMPANY))
    kernel.apply(Change(delete=keys(COMPANY)))
    kernel.apply(Change(add=tuple(element(f"10.{i >> 8}.{i & 255}.0/24") for i in range(5000))))
    assert not readable(watch)
    assert watch.read() == Seen()


def test_our_own_structure_is_no_news(watched):
    kernel, watch = watched
    kernel.apply(Change(structure=SMALL))
    kernel.apply(Change(structure=FULL, add=COMPANY))
    kernel.apply(Change(remove_table=True))
    assert watch.read() == Seen()


@pytest.mark.parametrize(
    "command",
    [
        "flush ruleset",
        "delete table inet ecluse",
        "delete element inet ecluse ged4_24 { 10.20.10.0 }",
        "add element inet ecluse ged4_24 { 10.99.0.0 timeout 1h }",
        "flush set inet ecluse ged4_24",
        "flush table inet ecluse",
        "add rule inet ecluse forward accept",
        "add chain inet ecluse intruder",
        "add table ip other; flush chain inet ecluse refuse",
    ],
)
def test_a_change_of_our_table_by_another_program_is_heard_with_its_name(watched, command):
    _, watch = watched
    begin = time.monotonic()
    nft(command)
    assert readable(watch, 1.0)
    assert time.monotonic() - begin < 1.0
    assert watch.read() == Seen(touched=True, by=("nft",))
    assert watch.read() == Seen()


@pytest.mark.parametrize(
    "command", ["add table ip other", "add table ip ecluse; add chain ip ecluse forward", "add table inet ecluse2"]
)
def test_changes_elsewhere_are_counted_and_are_no_reason_to_look(watched, command):
    _, watch = watched
    nft(command)
    seen = watch.read()
    assert (seen.touched, seen.by, seen.foreign, seen.look) == (False, (), 1, False)


def test_a_foreign_change_between_our_own_is_not_missed(watched):
    kernel, watch = watched
    kernel.apply(Change(add=COMPANY))
    nft("add chain inet ecluse intruder")
    kernel.apply(Change(structure=FULL))
    assert watch.read() == Seen(touched=True, by=("nft",))


def test_another_process_of_this_program_is_somebody_else(watched):
    _, watch = watched
    script = "from agent.kernel.nft import *\nNftKernel().apply(Change(remove_table=True))"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
    seen = watch.read()
    assert seen.touched
    assert seen.by[0].startswith("python")


def test_lost_notifications_are_told_as_an_overrun_once(watched):
    _, watch = watched
    watch._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for number in range(40):
        nft(f"add table ip t{number}")
    seen = watch.read()
    assert seen.overrun
    assert seen.look
    nft("add table ip afterwards")
    assert watch.read() == Seen(foreign=1)


def test_an_event_loop_puts_the_table_back_after_a_foreign_flush(watched):
    kernel, watch = watched

    async def until_repaired() -> float:
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def repair() -> None:
            if watch.read().look and kernel.observe(FULL).structure != "as_wanted":
                kernel.apply(Change(structure=FULL, add=COMPANY))
                done.set()

        loop.add_reader(watch.fileno(), repair)
        begin = loop.time()
        flush = await asyncio.create_subprocess_exec("nft", "flush", "ruleset")
        await asyncio.wait_for(done.wait(), 5)
        took = loop.time() - begin
        loop.remove_reader(watch.fileno())
        await flush.wait()
        return took

    took = asyncio.run(until_repaired())
    assert set(kernel.observe(FULL, keys(COMPANY)).members) == set(keys(COMPANY))
    assert took < 5


def test_a_closed_watch_says_that_it_is_broken(own_network):
    watch = Watch()
    watch.close()
    with pytest.raises(KernelError, match="watch"):
        watch.read()

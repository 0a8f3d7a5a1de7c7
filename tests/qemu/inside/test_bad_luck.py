"""A full connection table, and links that vanish or get another name in the middle of a change, on a stock kernel."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from agent.doctor import diagnose
from agent.doctor.findings import Level
from agent.examine import examine
from agent.kernel.links import LinkWatch
from agent.kernel.nft import NftKernel
from agent.lab import Laboratory, Stream, laboratory, listen, probe
from agent.relink import FollowedLinks
from agent.rules import Change
from agent.ruleset import interface_of
from tests.core.hosts import Host, in_memory, inventory_of
from tests.qemu.inside.test_flowtables import ENDS, FIRMS, HOMES, PORTAL, TOPOLOGY, VPN, nft, suspend, until

#: The same for every network namespace; only in the first one it can be changed.
MOST = Path("/proc/sys/net/netfilter/nf_conntrack_max")

TRACKING = "table inet firewall { chain forward { type filter hook forward priority 0; ct state established accept; }; }"


class Awkward(NftKernel):
    """The kernel, where something happens right before a change, once."""

    before: Callable[[], None] | None = None

    def apply(self, change: Change) -> None:
        happens, self.before = self.before, None
        if happens is not None:
            happens()
        super().apply(change)


@pytest.fixture
def lab() -> Iterator[Laboratory]:
    with ExitStack() as stack:
        built = stack.enter_context(laboratory(TOPOLOGY))
        stack.enter_context(listen(built["prov"], *ENDS))
        yield built


@pytest.fixture
def gateway(lab: Laboratory) -> Iterator[Host]:
    """The agent's flows over the real kernel of the gateway. The test runs there."""
    with in_memory() as directory, lab["gw"].inside():
        host = Host(directory=directory, inventory=inventory_of(FIRMS))
        host.gateway.kernel = kernel = Awkward()
        host.start()
        yield host
        host.dies()
        kernel.close()


def finding(host: Host, code: str) -> Level:
    found = {one.code: one.level for one in diagnose(examine(host.directory / "state"))}
    return found[code]


@contextmanager
def full() -> Iterator[None]:
    """The connection table of this gateway is full for whoever comes next."""
    before, count = MOST.read_text(), MOST.with_name("nf_conntrack_count").read_text()
    _allow(count)
    yield
    _allow(before)


def _allow(most: str) -> None:
    there = ("busybox", "nsenter", "-t", "1", "-n")
    subprocess.run([*there, "busybox", "sh", "-c", f"echo {most.strip()} > {MOST}"], check=True, timeout=20)


def test_a_full_connection_table_neither_keeps_from_suspending_and_restoring_nor_is_it_made_worse(lab, gateway):
    nft(TRACKING)
    with ExitStack() as stack:

        def stream(name, address):
            return stack.enter_context(Stream(lab[name], address, 443, pause=0.02))

        ending = stream("za", VPN[0])
        staying = [stream("za", PORTAL[0]), stream("za", PORTAL[1]), stream("zb", VPN[0]), stream("zb", PORTAL[0])]
        assert all(one.wait_more(2000, 20) for one in (ending, *staying))
        before = finding(gateway, "CONNTRACK")
        stack.enter_context(full())
        assert probe(lab["zb"], "tcp", PORTAL[0], 443, timeout=2).result == "no_answer", "the table is full for everybody"
        suspend(gateway, "za")
        assert ending.wait_end(20) is not None
        assert all(one.wait_more(2000, 20) for one in staying)
        assert (before, finding(gateway, "CONNTRACK")) == (Level.OK, Level.BAD)
        gateway.pay("za")
        gateway.work()
        assert list(gateway.ledger.in_force()) == []
        assert all(one.wait_more(2000, 20) for one in staying)
        assert [one.settle(10).whole for one in staying] == [True] * len(staying)
    assert gateway.gateway.failures == {}


def names(host: Host) -> set[str | None]:
    """The interfaces that elements in the kernel name."""
    sets = {one.name: one for one in host.gateway.rules.structure.sets}
    return {interface_of(one, key) for one in sets.values() for key, _ in host.gateway.kernel.dump(one.name)} - {None}


def gone(route: IPRoute, index: int) -> None:
    route.link("del", index=index)


def renamed(route: IPRoute, index: int) -> None:
    route.link("set", index=index, state="down")
    route.link("set", index=index, ifname="zj0")
    route.link("set", index=index, state="up")


@pytest.mark.parametrize("happens", [gone, renamed])
def test_a_link_that_vanishes_or_gets_another_name_in_the_middle_of_a_change_cuts_nobody_afterwards(lab, gateway, happens):
    with IPRoute() as route:
        index = route.link_lookup(ifname="zi0")[0]
        relink = FollowedLinks(gateway.gateway, LinkWatch())
        gateway.gateway.kernel.before = lambda: happens(route, index)
        suspend(gateway, "zi", "za")
        relink.heard()
        gateway.work()
        assert names(gateway) == set()
        assert set(gateway.gateway.unlinked) == {"zi0"}
        assert gateway.gateway.failures == {}
        # Who stayed where he was is suspended all the same.
        assert probe(lab["za"], "tcp", VPN[0], 443, timeout=4).result == "refused"
        assert probe(lab["zb"], "tcp", VPN[0], 443, timeout=4).result == "open"
        if happens is renamed:
            route.addr("replace", index=index, address=f"{HOMES['zi'][:-1]}1", prefixlen=24)
            until(lambda: probe(lab["zi"], "tcp", VPN[0], 443, timeout=2).result == "open")
        relink.close()

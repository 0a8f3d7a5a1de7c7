"""Connections that flowtables carry past a measure, with a kernel's connections in memory: which are forgotten and when."""

import asyncio
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from errno import EPERM
from ipaddress import ip_address
from itertools import count

import pytest

from agent import audit
from agent.errors import KernelError
from agent.flows import Connection
from agent.metrics import exposition
from agent.openflows import OpenFlows
from tests.core.hosts import Host, in_memory, inventory_of, run
from tests.process.house import Firm

FIRMS = (
    Firm(id="za", attachments=(("10.1.0.0/24", ""), ("2001:db8:a1::/64", ""))),
    Firm(id="zb", attachments=(("10.2.0.0/24", ""), ("2001:db8:a2::/64", ""))),
    Firm(id="zi", attachments=(("10.3.0.0/24", "zi0"), ("2001:db8:a3::/64", "zi0"))),
)
VPN, PORTAL = "198.51.100.10", "192.0.2.10"
_NUMBERS = count()


def flow(client: str, server: str, port: int = 443, *, offloaded: bool = True) -> Connection:
    ends = (ip_address(client).packed, 40000), (ip_address(server).packed, port)
    family = 6 if ":" in client else 4
    return Connection(family, 6, *ends, ends[1], offloaded=offloaded, name=str(next(_NUMBERS)).encode())


@dataclass
class Wire:
    """A kernel's connections and routes, as far as they are asked for."""

    known: list[Connection]
    has_flowtables: bool = True
    refuses: bool = False
    one_table: bool = True
    links: dict[str, str] = field(default_factory=dict)
    reads: int = 0

    def flowtables(self) -> bool:
        return self.has_flowtables

    def connections(self) -> Generator[Connection, None, None]:
        self.reads += 1
        yield from list(self.known)

    def forget(self, connections: Sequence[Connection]) -> int:
        if self.refuses:
            raise KernelError(errno=EPERM, what="the kernel does not forget 1 of 1 connections")
        gone = {one.name for one in connections}
        self.known = [one for one in self.known if one.name not in gone]
        return len(connections)

    def single(self) -> bool:
        return self.one_table

    def link(self, address: bytes) -> str | None:
        return self.links.get(str(ip_address(address)))

    def close(self) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    with in_memory() as directory:
        built = Host(directory=directory, inventory=inventory_of(FIRMS))
        built.start()
        yield built
        built.dies()


def over(host: Host, wire: Wire, *, is_tracked: bool = True) -> OpenFlows:
    return OpenFlows(
        host.gateway, is_tracked=lambda: is_tracked, conntrack=lambda: wire, routes=lambda: wire, again=(0.01, 0.02, 0.04)
    )  # type: ignore[arg-type, return-value]


#: Opened by the customer, by the service, over IPv6, and not yet in a flowtable.
MINE = (
    flow("10.1.0.5", VPN),
    flow("10.1.0.9", VPN)._replace(client=(ip_address(VPN).packed, 443), server=(ip_address("10.1.0.9").packed, 50000)),
    flow("2001:db8:a1::5", "2001:db8:100::10"),
    flow("10.1.0.7", VPN, offloaded=False),
)
#: A neighbour, what is never cut, the customer's neighbour, another port, strangers.
OTHERS = (
    flow("10.2.0.5", VPN),
    flow("10.1.0.5", PORTAL),
    flow("10.1.0.5", "10.2.0.5"),
    flow("10.1.0.5", VPN, 8443),
    flow("8.8.8.8", "9.9.9.9"),
)


def test_exactly_the_refused_connections_are_forgotten(host):
    wire = Wire([*MINE, *OTHERS])
    flows = over(host, wire)
    assert asyncio.run(flows.look()) == 0
    host.suspend("za")
    assert asyncio.run(flows.look()) == len(MINE)
    assert wire.known == list(OTHERS)
    assert b'ecluse_flows_total{outcome="ended"} 4.0' in exposition(host.gateway.metrics.registry)


def test_who_is_restored_keeps_what_he_opens(host):
    host.suspend("za")
    host.pay("za")
    host.work()
    wire = Wire([*MINE, *OTHERS])
    assert asyncio.run(over(host, wire).look()) == 0


def test_who_is_restored_while_connections_are_read_keeps_what_was_not_looked_at_yet(host):
    host.suspend("za")
    many = [flow("10.1.0.5", VPN) for _ in range(5_000)]
    wire = Wire(many)

    async def both() -> None:
        looking = asyncio.ensure_future(over(host, wire).look())
        await asyncio.sleep(0)
        while len(wire.known) == len(many):  # noqa: ASYNC110 - the one turn of the loop is what is waited for
            await asyncio.sleep(0)
        host.pay("za")
        host.work()
        left = len(wire.known)
        await looking
        assert len(wire.known) == left > 0

    asyncio.run(both())


@pytest.mark.parametrize(("tables", "is_tracked"), [(False, True), (True, False)], ids=["no flowtable", "nothing is tracked"])
def test_where_nothing_can_be_carried_past_nothing_is_read(host, tables, is_tracked):
    host.suspend("za")
    wire = Wire([*MINE], has_flowtables=tables)
    assert asyncio.run(over(host, wire, is_tracked=is_tracked).look()) == 0
    assert (wire.reads, wire.known) == (0, [*MINE])


def test_behind_a_link_only_what_surely_comes_from_there_is_forgotten(host):
    host.suspend("zi")
    here, elsewhere = flow("10.3.0.5", VPN), flow("10.3.0.6", VPN)
    wire = Wire([here, elsewhere], links={"10.3.0.5": "zi0", "10.3.0.6": "zb0"})
    assert asyncio.run(over(host, wire).look()) == 1
    assert wire.known == [elsewhere]
    wire = Wire([here], links={"10.3.0.5": "zi0"}, one_table=False)
    assert asyncio.run(over(host, wire).look()) == 0


async def _beside(flows: OpenFlows, work) -> None:
    """The part under test runs while `work` is done."""
    task = asyncio.ensure_future(flows.run())
    await asyncio.sleep(0)
    await work()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _until(true) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


def test_a_new_measure_is_followed_at_once_and_what_comes_back_a_little_later(host):
    wire = Wire([*MINE, *OTHERS])

    async def work() -> None:
        host.suspend("za")
        await _until(lambda: len(wire.known) == len(OTHERS))
        wire.known.append(flow("10.1.0.5", VPN))  # an answer brought it back into the flowtable
        await _until(lambda: len(wire.known) == len(OTHERS))

    asyncio.run(_beside(over(host, wire), work))


def test_a_renewal_reads_nothing(host):
    host.suspend("za")
    wire = Wire([*OTHERS])

    async def work() -> None:
        host.clock.pass_(timedelta(minutes=230))
        host.beat("again")
        host.work()
        await asyncio.sleep(0.05)
        assert wire.reads == 0

    asyncio.run(_beside(over(host, wire), work))
    assert len(host.kernel.changes) > 1


def test_an_audit_has_them_looked_for_again(host):
    host.suspend("za")
    wire = Wire([*MINE])

    async def work() -> None:
        run(audit.audit(host.gateway))
        await _until(lambda: not wire.known)

    asyncio.run(_beside(over(host, wire), work))


def test_what_could_not_be_ended_fails_no_measure_and_is_said_and_tried_again(host):
    wire = Wire([*MINE, *OTHERS], refuses=True)

    async def work() -> None:
        host.suspend("za")
        await _until(lambda: "flows" in host.gateway.failures)
        assert host.cut() == {"za"}
        assert "does not forget" in host.gateway.failures["flows"]
        assert b'ecluse_flows_total{outcome="failed"} 1.0' in exposition(host.gateway.metrics.registry)
        wire.refuses = False
        await _until(lambda: "flows" not in host.gateway.failures)
        assert wire.known == list(OTHERS)

    asyncio.run(_beside(over(host, wire), work))

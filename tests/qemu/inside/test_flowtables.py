"""Flowtables on a stock kernel: what they carry of a suspended service ends, and nothing else is so much as slowed."""

import asyncio
import errno
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from ipaddress import ip_address

import pytest

from agent.kernel.conntrack import Conntrack
from agent.kernel.nft import NftKernel
from agent.lab import End, Endpoint, Laboratory, Link, Node, Route, Stream, Topology, laboratory, listen
from agent.openflows import OpenFlows
from tests.core.hosts import Host, in_memory, inventory_of
from tests.process.house import Firm

VPN, PORTAL = ("198.51.100.10", "2001:db8:100::10"), ("192.0.2.10", "2001:db8:2::10")
HOMES = {"za": "10.1.0.5", "zb": "10.2.0.5", "zi": "10.3.0.5"}
HOMES6 = {"za": "2001:db8:a1::5", "zb": "2001:db8:a2::5", "zi": "2001:db8:a3::5"}

DOCUMENTS = "198.51.100.20"

#: `zi` is attached by its link, the others by their networks alone.
FIRMS = tuple(
    Firm(
        id=name,
        attachments=tuple(
            (network, f"{name}0" if name == "zi" else "") for network in (f"{HOMES[name][:-1]}0/24", f"{HOMES6[name][:-1]}/64")
        ),
    )
    for name in HOMES
)

TOPOLOGY = Topology(
    nodes=(
        *(
            Node(
                name=name,
                routes=(Route(to="default4", via=f"{HOMES[name][:-1]}1"), Route(to="default6", via=f"{HOMES6[name][:-1]}1")),
            )
            for name in HOMES
        ),
        Node(name="prov", routes=(Route(to="default4", via="198.51.100.1"), Route(to="default6", via="2001:db8:100::1"))),
        Node(
            name="gw",
            forwarding=True,
            routes=(Route(to="192.0.2.10/32", via="198.51.100.10"), Route(to="2001:db8:2::10/128", via="2001:db8:100::10")),
        ),
    ),
    links=(
        *(
            Link(
                left=End(node=name, interface="eth0", addresses=(f"{HOMES[name]}/24", f"{HOMES6[name]}/64")),
                right=End(node="gw", interface=f"{name}0", addresses=(f"{HOMES[name][:-1]}1/24", f"{HOMES6[name][:-1]}1/64")),
            )
            for name in HOMES
        ),
        Link(
            left=End(
                node="prov",
                interface="eth0",
                addresses=(f"{VPN[0]}/24", f"{VPN[1]}/64", f"{DOCUMENTS}/24", f"{PORTAL[0]}/32", f"{PORTAL[1]}/128"),
            ),
            right=End(node="gw", interface="up0", addresses=("198.51.100.1/24", "2001:db8:100::1/64")),
        ),
    ),
)

#: What the provider answers at.
ENDS = tuple(Endpoint(protocol=p, address=a, port=n) for a in (*VPN, *PORTAL) for p, n in (("tcp", 443), ("udp", 1194)))

#: As in most examples, and as in some that ask for less.
WORDS = {"established only": "ct state established", "whatever it is": "meta l4proto { tcp, udp }"}

GATEWAY = """
table inet firewall {
  flowtable fast { hook ingress priority 0; devices = { za0, zb0, zi0, up0 }; }
  chain forward { type filter hook forward priority 0; WORDS flow add @fast; }
}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with ExitStack() as stack:
        built = stack.enter_context(laboratory(TOPOLOGY))
        stack.enter_context(listen(built["prov"], *ENDS))
        yield built


@pytest.fixture(params=WORDS.values(), ids=WORDS)
def gateway(lab: Laboratory, request: pytest.FixtureRequest) -> Iterator[Host]:
    """The agent's flows over the real kernel of the gateway, which has a flowtable. The test runs there."""
    with in_memory() as directory, lab["gw"].inside():
        nft(GATEWAY.replace("WORDS", request.param))
        host = Host(directory=directory, inventory=inventory_of(FIRMS))
        host.gateway.kernel = kernel = NftKernel()
        host.start()
        yield host
        host.dies()
        kernel.close()
        nft("flush ruleset")


def nft(text: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True, timeout=30)


def suspend(host: Host, *companies: str) -> None:
    host.let_act()
    host.remember(*companies)
    host.work()
    assert {one.company for one in host.ledger.in_force()} == set(companies)


def carried() -> dict[tuple[str, int], bytes]:
    """What flowtables carry now: client and its port, and what the kernel calls the connection."""
    with closing(Conntrack()) as conntrack:
        return {(str(ip_address(one.client[0])), one.client[1]): one.name for one in conntrack.connections() if one.offloaded}


def until(true, seconds=20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


class Datagrams:
    """Asks over UDP without a pause; `refused` once the gateway says so."""

    def __init__(self, lab: Laboratory, here: str, address: str) -> None:
        with lab[here].inside():
            self._sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.settimeout(1)
        self._sock.connect((address, 1194))
        self.port = int(self._sock.getsockname()[1])
        self.answered, self.refused, self._going = 0, False, True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while self._going and not self.refused:
            try:
                self._sock.send(b"?")
                self._sock.recv(16)
                self.answered += 1
            except TimeoutError:
                continue
            except OSError as error:
                self.refused = error.errno in (errno.EHOSTUNREACH, errno.EACCES, errno.ECONNREFUSED)
            time.sleep(0.02)

    def close(self) -> None:
        self._going = False
        self._thread.join()
        self._sock.close()


class Download:
    """A server that sends and sends to a client which only listens. `ended`: what the client heard in the end."""

    def __init__(self, lab: Laboratory, here: str) -> None:
        with lab["prov"].inside():
            server = socket.create_server((DOCUMENTS, 443))
        with lab[here].inside():
            self._client = socket.socket()
        with server:
            server.settimeout(10)
            self._client.settimeout(10)
            self._client.connect((DOCUMENTS, 443))
            self._peer, _ = server.accept()
        self._peer.settimeout(1)
        self.received, self.ended, self._going = 0, "", True
        self._threads = [threading.Thread(target=each) for each in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while self._going:
            try:
                self._peer.send(bytes(65536))
            except TimeoutError:
                continue
            except OSError:
                return

    def _receive(self) -> None:
        while self._going and not self.ended:
            try:
                self.received += len(self._client.recv(65536))
            except OSError as error:
                self.ended = errno.errorcode[error.errno] if error.errno else "silent"

    def close(self) -> None:
        self._going = False
        for sock in (self._peer, self._client):
            with suppress(OSError):  # it was reset
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._peer.close()
        self._client.close()


@contextmanager
def watched(host: Host) -> Iterator[asyncio.Runner]:
    """The part under test, running beside the test in the gateway's own thread."""
    with asyncio.Runner() as runner:
        flows = OpenFlows(host.gateway)

        async def begin() -> asyncio.Task[None]:
            return asyncio.get_running_loop().create_task(flows.run())

        task = runner.run(begin())
        yield runner
        task.cancel()


def pass_time(runner: asyncio.Runner, true, seconds=20.0) -> None:
    async def wait() -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end
            await asyncio.sleep(0.02)

    runner.run(wait())


def test_what_a_flowtable_carries_of_the_suspended_service_ends_and_nothing_else(lab, gateway):
    with ExitStack() as stack:

        def stream(name, address):
            return stack.enter_context(Stream(lab[name], address, 443, pause=0.02))

        ending = {(name, address): stream(name, address) for name in ("za", "zi") for address in VPN}
        staying = {(name, address): stream(name, address) for name in ("za", "zi") for address in PORTAL}
        staying |= {("zb", address): stream("zb", address) for address in (*VPN, *PORTAL)}
        asked = {
            (name, address): stack.enter_context(closing(Datagrams(lab, name, address))) for name in ("za", "zb") for address in VPN
        }
        until(lambda: len(carried()) == len(ending) + len(staying) + len(asked))
        before = carried()
        with watched(gateway) as runner:
            suspend(gateway, "za", "zi")
            pass_time(runner, lambda: all(one.tally().ended for one in ending.values()))
            pass_time(runner, lambda: all(one.refused for (name, _), one in asked.items() if name == "za"))
        assert {one.tally().ended for one in ending.values()} == {"ECONNRESET"}
        after = carried()
        kept = {(HOMES6[n] if ":" in a else HOMES[n], s.port) for (n, a), s in staying.items()}
        kept |= {(HOMES6[n] if ":" in a else HOMES[n], s.port) for (n, a), s in asked.items() if n == "zb"}
        assert set(after) == kept
        assert {end: before[end] for end in kept} == after, "not one of them was forgotten, not even for a moment"
        assert all(one.wait_more(2000, 10) for one in staying.values())
        assert [one.settle(10).whole for one in staying.values()] == [True] * len(staying)
        assert not any(one.refused for (name, _), one in asked.items() if name == "zb")
    assert gateway.gateway.failures == {}


def test_without_that_an_open_connection_would_go_on_past_the_measure(lab, gateway):
    """What the part under test is for; should a kernel do it by itself one day, this says so."""
    with Stream(lab["za"], VPN[0], 443, pause=0.02) as stream:
        until(lambda: len(carried()) == 1)
        suspend(gateway, "za")
        assert stream.wait_more(5000, 20)


def test_after_the_restore_connections_are_carried_again(lab, gateway):
    with watched(gateway) as runner:
        with Stream(lab["za"], VPN[0], 443, pause=0.02) as stream:
            until(lambda: len(carried()) == 1)
            suspend(gateway, "za")
            pass_time(runner, lambda: stream.tally().ended)
        gateway.pay("za")
        gateway.work()
        with Stream(lab["za"], VPN[0], 443, pause=0.02) as stream:
            until(lambda: len(carried()) == 1)
            pass_time(runner, lambda: stream.tally().received > 10_000)
            assert stream.settle(10).whole


def test_a_download_to_a_client_that_only_listens_ends_too(lab, gateway):
    """Answers pass our chains, and may bring the flow back into the flowtable before the client says anything."""
    with closing(Download(lab, "za")) as download:
        until(lambda: len(carried()) == 1 and download.received > 1_000_000)
        with watched(gateway) as runner:
            suspend(gateway, "za")
            pass_time(runner, lambda: download.ended)
        assert download.ended == "ECONNRESET"

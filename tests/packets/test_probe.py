"""Each kind of probe against real listeners behind real wires, in both families: answer, silence, and what can not be told."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from agent.continuity import Sample, Seen
from agent.lab import End, Endpoint, Laboratory, Link, Node, Space, Topology, laboratory, listen
from agent.model import Probe
from agent.probe import KINDS, Looker, look

pytestmark = pytest.mark.kernel

ANSWERS = Path(__file__).with_name("answers.py")
SITE = {4: "10.20.10.5", 6: "2001:db8:20::5"}
NOBODY = {4: "10.20.10.99", 6: "2001:db8:20::99"}
TOPOLOGY = Topology(
    nodes=(
        Node(name="gw", sysctls={"ipv4.ping_group_range": "0 0"}),
        Node(name="site", sysctls={"ipv4.icmp_ratelimit": "0", "ipv6.icmp.ratelimit": "0"}),
    ),
    links=(
        Link(
            left=End(node="gw", interface="za0", addresses=("10.20.10.1/24", "2001:db8:20::1/64")),
            right=End(node="site", interface="eth0", addresses=("10.20.10.5/24", "2001:db8:20::5/64")),
        ),
    ),
)


@contextmanager
def answering(space: Space, *what: str) -> Iterator[None]:
    """The program `answers.py` in a namespace, while the block lasts."""
    process = space.start([sys.executable, "-I", ANSWERS, *what], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    everywhere = [a.replace(":", "_") for a in SITE.values()]
    said = [
        *("http:{}:80", "http:{}:81:404", "http:{}:82:503", "http:{}:83:mute", "http:{}:84:nonsense"),
        *("tls:{}:443", "dns:{}:53", "dns:{}:54:NXDOMAIN", "dns:{}:55:SERVFAIL", "dns:{}:56:REFUSED", "dns:{}:57:other"),
        "mute:{}:6000",
    ]
    with (
        laboratory(TOPOLOGY) as built,
        answering(built["site"], *(one.format(address) for address in everywhere for one in said)),
        listen(
            built["site"],
            *(Endpoint(protocol="tcp", address=a, port=1433) for a in SITE.values()),
            *(Endpoint(protocol="udp", address=a, port=5000) for a in SITE.values()),
        ),
    ):
        yield built


def seen(space: Space, kind: Any, address: str, port: int | None = None, *, patience: float = 1.0, **more: Any) -> Sample:
    """Look once from a namespace."""
    with space.inside():
        return asyncio.run(look(Probe(kind=kind, address=ip_address(address), port=port, **more), patience))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("kind", "port", "more", "wanted", "why"),
    [
        ("tcp", 1433, {}, Seen.ANSWERED, ""),
        ("tcp", 1434, {}, Seen.SILENT, "refused"),
        ("tls", 443, {}, Seen.ANSWERED, ""),
        ("tls", 443, {"name": "erp.test"}, Seen.ANSWERED, ""),
        ("tls", 444, {}, Seen.SILENT, "refused"),
        ("tls", 80, {}, Seen.SILENT, "TLS"),
        ("tls", 83, {}, Seen.SILENT, "within"),
        ("http", 80, {"path": "/health"}, Seen.ANSWERED, ""),
        ("http", 81, {}, Seen.ANSWERED, ""),
        ("http", 82, {}, Seen.SILENT, "HTTP 503"),
        ("http", 83, {}, Seen.SILENT, "within"),
        ("http", 84, {}, Seen.SILENT, "no HTTP"),
        ("http", 85, {}, Seen.SILENT, "refused"),
        ("http", 1433, {}, Seen.SILENT, "no HTTP"),
        ("dns", 53, {"name": "erp.test"}, Seen.ANSWERED, ""),
        ("dns", 53, {}, Seen.ANSWERED, ""),
        ("dns", 54, {"name": "erp.test"}, Seen.ANSWERED, ""),
        ("dns", 55, {"name": "erp.test"}, Seen.SILENT, "SERVFAIL"),
        ("dns", 56, {"name": "erp.test"}, Seen.SILENT, "REFUSED"),
        ("dns", 57, {"name": "erp.test"}, Seen.ANSWERED, ""),
        ("dns", 58, {"name": "erp.test"}, Seen.SILENT, "refused"),
        ("dns", 6000, {"name": "erp.test"}, Seen.SILENT, "within"),
        ("dns", 53, {"name": "x" * 70}, Seen.UNABLE, "name"),
        ("udp", 5000, {}, Seen.ANSWERED, ""),
        ("udp", 5001, {}, Seen.SILENT, "refused"),
        ("udp", 6000, {}, Seen.UNABLE, "UDP without an answer"),
        ("icmp", None, {}, Seen.ANSWERED, ""),
    ],
)
def test_a_look_says_what_is_there(lab, family, kind, port, more, wanted, why):
    found = seen(lab["gw"], kind, SITE[family], port, **more)
    assert found.seen is wanted, found
    assert why in found.why
    assert (found.ms > 0) == (wanted is Seen.ANSWERED)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_host_that_is_not_there_is_silent_and_of_udp_nothing_can_be_told(lab, family, kind):
    found = seen(lab["gw"], kind, NOBODY[family], None if kind == "icmp" else 80, patience=0.5)
    assert found.seen is (Seen.UNABLE if kind == "udp" else Seen.SILENT)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8:bad::1"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_address_without_a_route_is_silent_at_once(lab, kind, address):
    assert seen(lab["gw"], kind, address, None if kind == "icmp" else 80, patience=30).seen is Seen.SILENT


@pytest.mark.parametrize("family", [4, 6])
def test_without_the_right_to_an_echo_that_is_said_and_is_not_silence(lab, family):
    try:
        lab["gw"].sysctl("ipv4.ping_group_range", "1 0")
        found = seen(lab["gw"], "icmp", SITE[family])
    finally:
        lab["gw"].sysctl("ipv4.ping_group_range", "0 0")
    assert found.seen is Seen.UNABLE
    assert "ping_group_range" in found.why


def test_many_looks_are_taken_side_by_side_but_no_more_than_allowed_and_come_back_in_order(lab):
    probes = [Probe(kind="tcp", address=ip_address(SITE[4]), port=port) for port in [1433, 1434] * 40]
    probes += [Probe(kind="http", address=ip_address(SITE[4]), port=83, path=f"/{n}") for n in range(12)]
    most, watching = 0, threading.Event()

    def standing() -> set[str]:
        with lab["site"].inside():
            lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
        return {line.split()[2] for line in lines if line.split()[1].endswith(":0053") and line.split()[3] == "01"}

    def watch() -> None:
        nonlocal most
        while not watching.is_set():
            # A reading takes its time, and meanwhile one ends and the next begins: only what is in both stood at once.
            most = max(most, len(standing() & standing()))
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with lab["gw"].inside():
            found = asyncio.run(Looker(parallel=4, patience=0.4, spread=0.0).look(probes))
    finally:
        watching.set()
        thread.join()
    assert [one.seen for one in found[:80]] == [Seen.ANSWERED, Seen.SILENT] * 40
    assert {one.seen for one in found[80:]} == {Seen.SILENT}
    assert 1 < most <= 4

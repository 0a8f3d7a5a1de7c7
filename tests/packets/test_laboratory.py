"""The laboratory itself: what it builds, what it measures, and that it leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.lab import (
    End,
    Endpoint,
    Link,
    Node,
    Route,
    Stream,
    Topology,
    laboratory,
    listen,
    private_network,
    probe,
    remove_leftovers,
)
from agent.lab.namespaces import NAMESPACES, PREFIX

pytestmark = pytest.mark.kernel

LINE = Topology(
    nodes=(
        Node(name="client", routes=(Route(to="default4", via="10.1.0.1"), Route(to="default6", via="fd01::1"))),
        Node(name="gw", forwarding=True),
        Node(name="server", routes=(Route(to="default4", via="10.2.0.1"), Route(to="default6", via="fd02::1"))),
    ),
    links=(
        Link(
            left=End(node="client", interface="eth0", addresses=("10.1.0.2/24", "fd01::2/64")),
            right=End(node="gw", interface="c0", addresses=("10.1.0.1/24", "fd01::1/64")),
        ),
        Link(
            left=End(node="server", interface="eth0", addresses=("10.2.0.2/24", "fd02::2/64")),
            right=End(node="gw", interface="s0", addresses=("10.2.0.1/24", "fd02::1/64")),
        ),
    ),
)
BOTH = ("10.2.0.2", "fd02::2")


def own_names() -> list[str]:
    return [path.name for path in NAMESPACES.glob(f"{PREFIX}-{os.getpid()}-*")]


def host_interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def gone(pid: int) -> bool:
    """A killed orphan is gone, or waits as a zombie for an init that is in no hurry."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_traffic_crosses_the_gateway_in_both_families_as_soon_as_the_laboratory_stands():
    with laboratory(LINE) as lab:
        wanted = [Endpoint(protocol=p, address=a, port=7) for p in ("tcp", "udp") for a in BOTH]
        with listen(lab["server"], *wanted):
            seen = {(e.protocol, e.address): probe(lab["client"], e.protocol, e.address, e.port).result for e in wanted}
    assert seen == {(e.protocol, e.address): "open" for e in wanted}


def test_a_port_that_nobody_opened_is_refused_and_an_address_that_nobody_has_gives_no_answer():
    with laboratory(LINE) as lab:
        closed = [probe(lab["client"], p, a, 9).result for p in ("tcp", "udp") for a in BOTH]
        silent = probe(lab["client"], "tcp", "10.2.0.77", 9, timeout=0.2)
    assert closed == ["refused"] * 4
    assert silent.result == "no_answer"
    assert silent.ms >= 200


def test_a_stream_counts_every_byte_both_ways():
    with (
        laboratory(LINE) as lab,
        listen(lab["server"], Endpoint(protocol="tcp", address="::", port=7)),
        Stream(lab["client"], "fd02::2", 7, pause=0.0) as stream,
    ):
        assert stream.wait_more(200_000, 5)
        tally = stream.settle()
    assert tally.whole
    assert tally.sent >= 200_000


def test_a_stream_whose_server_dies_says_when_and_how():
    with laboratory(LINE) as lab:
        listener = listen(lab["server"], Endpoint(protocol="tcp", address="0.0.0.0", port=7))
        with Stream(lab["client"], "10.2.0.2", 7) as stream:
            assert stream.wait_more(1000, 5)
            begin = time.monotonic()
            listener.close()
            ended = stream.wait_end(2)
            assert ended is not None
            assert begin - 0.1 < ended < begin + 2
            assert stream.tally().ended in {"ECONNRESET", "EPIPE", "closed"}


def test_nothing_is_left_after_the_block_nor_ever_seen_on_the_host():
    before = host_interfaces()
    with laboratory(LINE) as lab:
        program = lab["gw"].start(["sleep", "600"])
        assert len(own_names()) == 3
        assert host_interfaces() == before
    assert program.wait(5) == -signal.SIGKILL
    assert own_names() == []
    assert host_interfaces() == before


def test_an_exception_inside_the_block_cleans_up_too():
    with pytest.raises(ZeroDivisionError), laboratory(LINE):
        raise ZeroDivisionError
    assert own_names() == []


def test_a_topology_that_can_not_be_built_leaves_nothing():
    broken = Topology(nodes=LINE.nodes, links=(Link(left=End(node="gw", interface="x"), right=End(node="nobody", interface="y")),))
    with pytest.raises(KeyError, match="nobody"), laboratory(broken):
        pass
    assert own_names() == []


@pytest.mark.parametrize(("number", "left"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, 1)])
def test_a_signal_ends_the_laboratory_and_what_a_kill_leaves_the_next_one_removes(number, left):
    script = (
        "import time\nfrom agent.lab import *\n"
        "with laboratory(Topology(nodes=(Node(name='n'),))) as lab:\n"
        "    print(lab['n'].start(['sleep', '600']).pid, flush=True)\n    time.sleep(60)\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
    )
    with program:
        sleeper = int(program.stdout.readline())
        program.send_signal(number)
        program.wait(10)
    assert len(list(NAMESPACES.glob(f"{PREFIX}-{program.pid}-*"))) == left
    remove_leftovers()
    assert list(NAMESPACES.glob(f"{PREFIX}-{program.pid}-*")) == []
    assert gone(sleeper)


def test_a_listener_that_can_not_open_its_port_says_why():
    with laboratory(LINE) as lab, pytest.raises(RuntimeError, match="Cannot assign requested address"):
        listen(lab["client"], Endpoint(protocol="tcp", address="10.2.0.2", port=7))


def test_a_private_network_has_nothing_but_loopback():
    with private_network():
        assert [line.split(":")[0].strip() for line in Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]] == ["lo"]
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=1) as client:
            assert client.getpeername() == server.getsockname()

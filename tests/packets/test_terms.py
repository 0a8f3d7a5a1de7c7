"""Caps, draining, and moves between the stages of a measure, with real packets."""

import select
import socket
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.kernel.nft import NftKernel
from agent.lab import Stream, probe
from agent.model import Terms
from agent.rules import Change
from agent.ruleset import Needs, structure
from tests.packets.conftest import SERVICES, SHAPES, TARGETS, ZA, stage_4

#: The legacy backend has no caps; how it drains is shown in test_legacy.
pytestmark = [pytest.mark.kernel, pytest.mark.parametrize("net", [NftKernel], indirect=True)]

TRACKED = Needs(cap=True, drain=True, tracked=True)
UNTRACKED = Needs(cap=True, drain=True)
CAP = Terms(stage=2, kbit=64)
CUT = Terms(stage=3)
OFF = Terms(stage=1)

#: At 64 kbit/s a bucket holds a second and 131 072 bytes: so many packets of 1 028 bytes (1 048 over IPv6), and 8 more a second.
BUCKET = {4: 135, 6: 132}
PAIRS = {4: ("10.20.10.10", "198.51.100.2"), 6: ("2001:db8:20::10", "2001:db8:8::2")}


@pytest.fixture
def capped(net):
    """The laboratory with the structure that caps and drains, without conntrack."""
    net.apply(Change(structure=structure(SERVICES, SHAPES, UNTRACKED)))
    return net


def move(net, terms, services=("vpn",), needs=UNTRACKED):
    return net.move(ZA, services, terms, structure(SERVICES, SHAPES, needs), needs)


def bound(space, address, port=0):
    with space.inside():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE: a burst must not be lost at its receiver
    sock.bind((address, port))
    sock.settimeout(0.3)
    return sock


def burst(net, way, family, count=600, size=1000):
    """So many datagrams at once between ZA and the vpn: how many arrive, and the error the sender got, if any."""
    near, far = PAIRS[family]
    ends = {"to": ("za", near, "prov", far), "from": ("prov", far, "za", near)}[way]
    with bound(net.lab[ends[2]], ends[3]) as receiver, bound(net.lab[ends[0]], ends[1]) as sender:
        sender.connect(receiver.getsockname()[:2])
        error = ""
        for _ in range(count):
            try:
                sender.send(bytes(size))
            except OSError as refused:
                error = refused.strerror or ""
        arrived = 0
        while select.select([receiver], [], [], 0.3)[0]:
            receiver.recv(2000)
            arrived += 1
        return arrived, error


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("way", ["to", "from"])
def test_a_cap_lets_its_rate_through_in_each_direction_and_drops_the_rest_without_refusing(capped, way, family):
    assert burst(capped, way, family) == (600, "")
    move(capped, CAP)
    begin = time.monotonic()
    arrived, error = burst(capped, way, family)
    most = BUCKET[family] + 8 * (time.monotonic() - begin) + 2
    assert BUCKET[family] - 2 <= arrived <= most
    assert error == ""
    move(capped, OFF)
    assert burst(capped, way, family) == (600, "")


def test_one_direction_does_not_use_up_the_other_ones_rate_nor_one_family_the_other_ones(capped):
    move(capped, CAP)
    for way in ("to", "from"):
        for family in (4, 6):
            arrived, _ = burst(capped, way, family)
            assert arrived >= BUCKET[family] - 2, (way, family)


def test_under_a_cap_everything_is_open_and_a_stream_stays_whole(capped):
    with Stream(capped.lab["za"], "198.51.100.2", 1194, pause=0.2) as stream:
        assert stream.wait_more(512, 5)
        move(capped, CAP, services=("ged", "vpn", "report"))
        assert set(capped.table("za").values()) == {"open"}
        assert stream.wait_more(512, 5)
        assert stream.settle().whole


def test_a_tcp_download_is_capped_too(capped):
    """The answers of a service are what a customer receives; over TCP they are let through by the rules that refuse."""

    def downloaded(seconds=1.0):
        with capped.lab["prov"].inside():
            server = socket.create_server(("198.51.100.2", 1723))
        with capped.lab["za"].inside():
            client = socket.socket()
        with server, client:
            client.settimeout(3)
            client.connect(("198.51.100.2", 1723))
            peer, _ = server.accept()
            peer.setblocking(False)
            received, end = 0, time.monotonic() + seconds
            while time.monotonic() < end:
                readable, writable, _ = select.select([client], [peer], [], 0.1)
                if writable:
                    peer.send(bytes(65536))
                if readable:
                    received += len(client.recv(1 << 20))
            peer.close()
            return received

    assert downloaded() > 1_000_000
    move(capped, CAP)
    assert downloaded() < 400_000


def test_a_new_cap_counts_from_the_next_packet(capped):
    move(capped, Terms(stage=2, kbit=10_000_000))
    assert burst(capped, "to", 4) == (600, "")
    move(capped, CAP)
    assert burst(capped, "to", 4)[0] < 300
    change = move(capped, Terms(stage=2, kbit=10_000_000))
    assert len(change.add) == 8  # two directions of two prefixes, here and at the server
    assert burst(capped, "to", 4) == (600, "")


# --- draining ---

PORT = 1194


def opened(net, family=4):
    return Stream(net.lab["za"], TARGETS[f"vpn tcp {family}"][1], PORT)


@pytest.mark.parametrize("family", [4, 6])
def test_where_connections_are_tracked_open_ones_go_on_while_they_drain_and_new_ones_are_refused(net, family):
    net.nft("add", "table", "inet", "theirs")
    net.nft("add", "chain", "inet", "theirs", "fwd1", "{ type filter hook forward priority 0; }")
    net.nft("add", "rule", "inet", "theirs", "fwd1", "ct", "state", "established", "accept")
    net.apply(Change(structure=structure(SERVICES, SHAPES, TRACKED)))
    with opened(net, family) as stream:
        assert stream.wait_more(5_000, 5)
        move(net, Terms(stage=3, drain_ms=2_500), needs=TRACKED)
        assert net.ask("za", f"vpn tcp {family}").result == net.ask("za", f"vpn udp {family}").result == "refused"
        assert stream.wait_more(20_000, 2)
        assert net.ask("zb", f"vpn tcp {family}").result == "open"
        assert stream.wait_end(6) is not None
        assert stream.tally().ended == "ECONNRESET"


def test_where_connections_are_not_tracked_everything_goes_on_while_it_drains_and_nothing_begins_to_be_tracked(capped):
    with opened(capped) as stream:
        assert stream.wait_more(5_000, 5)
        move(capped, Terms(stage=3, drain_ms=2_000))
        assert capped.ask("za", "vpn tcp 4").result == capped.ask("za", "vpn udp 6").result == "open"
        assert stream.wait_more(5_000, 2)
        assert stream.wait_end(6) is not None
    assert capped.ask("za", "vpn tcp 4").result == capped.ask("za", "vpn udp 6").result == "refused"
    with capped.lab["gw"].inside():
        assert Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text().strip() == "0"


# --- moves ---

#: Sends as fast as it can until its input closes, whatever it is told, and says how many it sent.
FLOOD = """
import select, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], 7000))
sent = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(200):
        try:
            sock.send(bytes(1000))
            sent += 1
        except OSError:
            pass
print(sent)
"""


@contextmanager
def flood(net, address):
    """A flood from ZA. Yields a list that holds, afterwards, how many datagrams left."""
    program = net.lab["za"].start([sys.executable, "-I", "-c", FLOOD, address], stdin=-1, stdout=-1, text=True)
    sent: list[int] = []
    try:
        yield sent
        said, _ = program.communicate(input="", timeout=20)
        sent.append(int(said))
    finally:
        program.kill()
        program.wait()


def arrived(net):
    """How many datagrams passed our table: counted by a table behind it."""
    return int(net.nft("list", "counter", "inet", "behind", "passed").split("packets ")[1].split()[0])


STAGES = Needs(cap=True, drain=True, rest=stage_4(ZA))

#: Sequences of stages; each begins with a refusal.
WAYS = {
    "between cap and refusal": (2, 3),
    "over every stage": (2, 3, 2, 4, 3),
    "between refusal and everything": (4, 3),
    "between cap and everything": (2, 4),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", [4, 6])
def test_between_two_stages_there_is_no_instant_of_full_access(net, family, way):
    net.apply(Change(structure=structure(SERVICES, SHAPES, STAGES)))
    near, far = PAIRS[family]
    word = "ip" if family == 4 else "ip6"
    net.nft("add table inet behind; add counter inet behind passed")
    net.nft("add chain inet behind post { type filter hook forward priority 10; }")
    net.nft(f"add rule inet behind post {word} saddr {near} {word} daddr {far} udp dport 7000 counter name passed")
    terms = {2: Terms(stage=2, kbit=1), 3: CUT, 4: Terms(stage=4)}
    move(net, CUT, needs=STAGES)
    with flood(net, far) as sent:
        caps = 0
        for stage in WAYS[way] * (60 // len(WAYS[way])):
            time.sleep(0.02)
            caps += stage == 2
            change = move(net, terms[stage], needs=STAGES)
            assert not change.empty
        time.sleep(0.02)
        total = arrived(net)
    assert sent[0] > 5_000
    # Each cap begins with a full bucket; the rate itself is less than one packet in all this time.
    bucket = (131_072 + 125) // (1028 if family == 4 else 1048)
    assert total <= caps * (bucket + 1)
    assert (total > 0) == (caps > 0)


@pytest.mark.parametrize("way", WAYS)
def test_between_two_stages_nothing_that_is_local_or_protected_is_lost(net, way):
    """The other half: no instant of full cut either. What stage 4 keeps flows over every move, byte by byte."""
    net.apply(Change(structure=structure(SERVICES, SHAPES, STAGES)))
    terms = {2: CAP, 3: CUT, 4: Terms(stage=4)}
    kept = [("192.0.2.53", 53), ("10.20.11.5", 443), ("2001:db8:21::5", 443), ("192.0.2.1", 22)]
    streams = [Stream(net.lab["za"], address, port, pause=0.001) for address, port in kept]
    try:
        assert all(stream.wait_more(1_000, 5) for stream in streams)
        for stage in WAYS[way] * (100 // len(WAYS[way])):
            move(net, terms[stage], needs=STAGES)
        assert all(stream.wait_more(1_000, 5) for stream in streams)
        assert all(stream.settle().whole for stream in streams)
    finally:
        for stream in streams:
            stream.close()


def test_under_a_cap_a_refused_service_is_open_again_and_the_other_way_round(capped):
    for _ in range(3):
        move(capped, CUT)
        assert probe(capped.lab["za"], "tcp", "198.51.100.2", PORT).result == "refused"
        move(capped, CAP)
        assert probe(capped.lab["za"], "tcp", "198.51.100.2", PORT).result == "open"

"""The packet matrix: kinds of packet x stages x kinds of attachment, against an evaluator that knows no rulesets."""

import errno
import socket
from datetime import date
from ipaddress import ip_address

import pytest

from agent.kernel.nft import NftKernel
from agent.lab import Endpoint, Stream, listen, probe
from agent.model import Attachment, Terms
from agent.rules import Change
from agent.ruleset import Needs, structure
from tests.core.packet_evaluator import ACK, SYN, TCP, UDP, Packet, fate, left_over
from tests.packets import dhcp
from tests.packets.conftest import PREFIXES, SERVICES, company, shapes_of, stage_4

#: Legacy iptables has neither caps nor stage 4.
pytestmark = [pytest.mark.kernel, pytest.mark.parametrize("net", [NftKernel], indirect=True)]

ATTACHED = {
    "prefix": company(*(Attachment(prefix=prefix) for prefix in PREFIXES)),
    "interface and prefix": company(*(Attachment(prefix=prefix, interface="za0") for prefix in PREFIXES)),
    "interface": company(Attachment(interface="za0")),
}
TERMS = {
    "none": None,
    "1 notice": Terms(stage=1),
    "2 capped": Terms(stage=2, kbit=512),
    "2 refused": Terms(stage=2),
    "3": Terms(stage=3),
    "4": Terms(stage=4),
}
ANNOUNCED = ("ged", "report")  # the vpn is not: only stage 4 takes it away

HOME = {4: "10.20.10.10", 6: "2001:db8:20::10"}
GATEWAY = {4: "192.0.2.1", 6: "2001:db8:9::1"}
#: Where ZA sends: name -> protocol, address by family, port.
TOWARDS = {
    "an announced service": ("tcp", {4: "192.0.2.10", 6: "2001:db8:9::10"}, 443),
    "an announced service over UDP": ("udp", {4: "192.0.2.10", 6: "2001:db8:9::10"}, 4433),
    "a service that was not announced": ("tcp", {4: "198.51.100.2", 6: "2001:db8:8::2"}, 1194),
    "a service that was not announced, over UDP": ("udp", {4: "198.51.100.2", 6: "2001:db8:8::2"}, 1194),
    "the internet": ("tcp", {4: "192.0.2.10", 6: "2001:db8:9::10"}, 22),
    "a protected service": ("tcp", {4: "192.0.2.53", 6: "2001:db8:9::53"}, 53),
    "a protected service over UDP": ("udp", {4: "192.0.2.53", 6: "2001:db8:9::53"}, 53),
    "its own server": ("tcp", {4: "10.20.11.5", 6: "2001:db8:21::5"}, 443),
    "the gateway": ("tcp", GATEWAY, 22),
    "an announced service of the gateway": ("tcp", GATEWAY, 8443),
}
NUMBERS = {"tcp": TCP, "udp": UDP}


@pytest.fixture(params=ATTACHED)
def attached(request, net):
    """The laboratory with everything that any stage needs, for one kind of attachment, and a function that moves ZA."""
    za = ATTACHED[request.param]
    needs = Needs(cap=True, drain=True, rest=stage_4(za))
    built = structure(SERVICES, shapes_of(za), needs)
    net.apply(Change(structure=built))

    def move(terms):
        return net.move(za, ANNOUNCED, terms or Terms(stage=1), built, needs)

    with listen(net.lab["prov"], Endpoint(protocol="tcp", address="2001:db8:9::53", port=53)):
        yield net, za, move


def refused(za, terms, packet):
    """What the evaluator says of one packet."""
    measures = {} if terms is None else {za.id: (ANNOUNCED, terms)}
    said = fate(packet, [za], measures, SERVICES, date(2026, 3, 9), tracked=False) == "refused"
    left = packet.hook == "forward" and left_over(packet, [za], measures, SERVICES, date(2026, 3, 9))
    return said or left


def exchange(source, destination, protocol, port, *, inwards=False, number=40_000):
    """The first packet of an exchange and the answer to it."""
    first = Packet(
        hook="input" if destination in GATEWAY.values() else "forward",
        source=ip_address(source),
        destination=ip_address(destination),
        protocol=protocol,
        source_port=number,
        destination_port=port,
        flags=SYN,
        interface_in="p0" if inwards else "za0",
        interface_out="za0" if inwards else "za1" if destination in ("10.20.11.5", "2001:db8:21::5") else "p0",
    )
    answer = Packet(
        source=first.destination,
        destination=first.source,
        protocol=protocol,
        source_port=port,
        destination_port=number,
        flags=SYN | ACK,
        interface_in=first.interface_out,
        interface_out=first.interface_in,
    )
    return (first,) if first.hook == "input" else (first, answer)


@pytest.mark.parametrize("stage", TERMS)
def test_a_packet_is_refused_if_and_only_if_the_evaluator_says_so(attached, stage):
    net, za, move = attached
    terms = TERMS[stage]
    move(terms)
    for family in (4, 6):
        for name, (protocol, addresses, port) in TOWARDS.items():
            packets = exchange(HOME[family], addresses[family], NUMBERS[protocol], port)
            expected = "refused" if any(refused(za, terms, packet) for packet in packets) else "open"
            assert probe(net.lab["za"], protocol, addresses[family], port).result == expected, (name, family)
        for source in ({4: "192.0.2.10", 6: "2001:db8:9::10"}, {4: "192.0.2.53", 6: "2001:db8:9::53"}):
            for protocol in ("tcp", "udp"):
                packets = exchange(source[family], HOME[family], NUMBERS[protocol], 5900, inwards=True)
                expected = "refused" if any(refused(za, terms, packet) for packet in packets) else "open"
                found = probe(net.lab["prov"], protocol, HOME[family], 5900, source=source[family])
                assert found.result == expected, ("to the site", source[family], protocol)
        assert probe(net.lab["zb"], "tcp", TOWARDS["the internet"][1][family], 22).result == (
            "refused" if stage == "4" and za is ATTACHED["prefix"] else "open"
        ), "the neighbour in the same prefix is the same customer only where no interface tells them apart"


@pytest.mark.parametrize("stage", TERMS)
def test_echo_requests_and_fragments_follow_the_same_rule(attached, stage):
    net, za, move = attached
    terms = TERMS[stage]
    move(terms)
    for family in (4, 6):
        icmp = 1 if family == 4 else 58
        for name, (protocol, addresses, port) in TOWARDS.items():
            kind = 8 if family == 4 else 128
            echo = exchange(HOME[family], addresses[family], icmp, 0, number=kind << 8)
            expected = any(refused(za, terms, packet) for packet in echo)
            assert ping(net.lab["za"], addresses[family]) == ("refused" if expected else "open"), (name, family)
            if protocol == "udp":
                packets = exchange(HOME[family], addresses[family], UDP, port)
                expected = any(refused(za, terms, packet) for packet in packets)
                # The kernel sends no ICMP error for a fragment whose checksum it can not see: then nobody answers.
                arrives = large_datagram(net.lab["za"], addresses[family], port)
                assert arrives is not expected, (name, family, "in fragments")


@pytest.mark.parametrize("stage", TERMS)
def test_an_open_connection_ends_if_and_only_if_its_packets_are_refused(attached, stage):
    net, za, move = attached
    terms = TERMS[stage]
    open_ones = []
    try:
        for family in (4, 6):
            for name, (protocol, addresses, port) in TOWARDS.items():
                if protocol == "tcp":
                    packets = exchange(HOME[family], addresses[family], TCP, port)
                    stream = Stream(net.lab["za"], addresses[family], port, pause=0.05)
                    open_ones.append((stream, any(refused(za, terms, packet) for packet in packets), (name, family)))
                    assert stream.wait_more(512, 5)
        move(terms)
        for stream, ends, what in open_ones:
            if ends:
                assert stream.wait_end(5) is not None, what
                assert stream.tally().ended == "ECONNRESET"
            else:
                assert stream.wait_more(1024, 5), what
        assert all(stream.settle().whole for stream, ends, _ in open_ones if not ends)
    finally:
        for stream, _, _ in open_ones:
            stream.close()


def test_at_stage_4_neighbour_discovery_and_path_mtu_discovery_go_on(attached):
    net, _, move = attached
    move(TERMS["4"])
    for node in ("za", "gw", "prov"):
        assert net.lab[node].start(["ip", "neigh", "flush", "all"], stderr=-3).wait(10) == 0
    for family in (4, 6):
        for name in ("a protected service", "its own server", "the gateway"):
            _, addresses, port = TOWARDS[name]
            assert probe(net.lab["za"], "tcp", addresses[family], port).result == "open", (name, family)
    assert net.lab["gw"].start(["ip", "link", "set", "p0", "mtu", "1300"]).wait(10) == 0
    for family in (4, 6):
        with Stream(net.lab["za"], TOWARDS["a protected service"][1][family], 53, pause=0.0005) as stream:
            assert stream.wait_more(200_000, 10), "a sender that never hears of the smaller path stalls"


def test_at_stage_4_dhcp_goes_on_by_a_relay_by_renewals_and_with_the_gateway_itself(attached):
    net, _, move = attached
    move(TERMS["4"])
    servers = {4: "192.0.2.10", 6: "2001:db8:9::10"}
    with dhcp.server(net.lab["prov"], addresses6=(servers[6],)), dhcp.server(net.lab["gw"], interface="za0"):
        for family in (4, 6):
            # beside DHCP, nothing of that server is reached any more, not even its next port
            assert probe(net.lab["za"], "udp", servers[family], 69).result == "refused", family
            assert dhcp.relayed(net.lab["za"], HOME[family], servers[family]), family
            assert dhcp.renewed(net.lab["za"], HOME[family], servers[family]), family
        assert dhcp.discovered(net.lab["za"], "eth0")


def ping(space, address):
    """One echo request by an unprivileged ICMP socket of either family."""
    v6 = ":" in address
    with space.inside():
        sock = socket.socket(
            socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
        )
    with sock:
        sock.settimeout(1)
        sock.connect((address, 0))
        try:
            sock.send((b"\x80" if v6 else b"\x08") + b"\0\0\0\0\0\0\x01ecluse")
            return "open" if sock.recv(64)[0] == (129 if v6 else 0) else "no_answer"
        except TimeoutError:
            return "no_answer"
        except OSError as error:
            return "refused" if error.errno in (errno.EHOSTUNREACH, errno.EACCES) else errno.errorcode[error.errno]


def large_datagram(space, address, port):
    """Whether a datagram that only fits into several packets comes back."""
    with space.inside():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(0.5)
        sock.connect((address, port))
        try:
            sock.send(bytes(4000))
            return len(sock.recv(5000)) == 4000
        except OSError:
            return False

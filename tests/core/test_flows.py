"""Connections that a flowtable may carry: one is refused if and only if its packets would be, one way or the other."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.flows import Connection, Refusing
from agent.model import L4, Selector, Service, ServiceClass, Shape, Terms
from agent.rules import Use
from agent.ruleset import Needs, key_bytes, members, set_name, structure
from tests.core import test_rest
from tests.core.packet_evaluator import ACK, TCP, UDP, walk
from tests.core.strategies import LINKS, TODAY, shapes_of, storms
from tests.core.test_rest import LEASE_MS, neediest, rest_of, towards_what_is_kept

TERMS = st.builds(Terms, stage=st.sampled_from((3, 3, 4, 1)), drain_ms=st.sampled_from((0, 0, 60_000)))


def connection(packet):
    """The connection that a packet belongs to, opened by its source."""
    client, server = (
        (a.packed, p) for a, p in ((packet.source, packet.source_port), (packet.destination, packet.destination_port))
    )
    return Connection(packet.source.version, packet.protocol, client, server, server, offloaded=True, name=b"")


def back(packet):
    """An answer to it."""
    return replace(
        packet,
        source=packet.destination,
        destination=packet.source,
        source_port=packet.destination_port,
        destination_port=packet.source_port,
        interface_in=packet.interface_out,
        interface_out=packet.interface_in,
    )


@settings(max_examples=80)
@given(data=st.data())
def test_a_connection_is_refused_if_and_only_if_its_packets_are(data):
    world = data.draw(neediest())
    needs = Needs(drain=True, tracked=True, rest=rest_of(world.companies, world.catalogue))
    built = structure(world.catalogue, shapes_of(world.companies), needs)
    present = {}
    for company in world.companies:
        services, terms = world.measures.get(company.id, ()), data.draw(TERMS)
        for each in members(company, services, "case-1", LEASE_MS, world.catalogue, TODAY, terms=terms, links=LINKS):
            present.setdefault(each.set, set()).add(each.key)
    refusing = Refusing.of(built, world.catalogue, needs.rest.spared)
    for drawn in (*data.draw(storms(world)), *towards_what_is_kept(world)):
        packet = replace(drawn, hook="forward", flags=ACK, established=True, member_in="")
        if packet.source == packet.destination:
            continue
        behind = {packet.source.packed: packet.interface_in, packet.destination.packed: packet.interface_out}
        found = refusing.refuses(
            connection(packet), lambda key: key.key in present.get(key.set, ()), lambda _, address, links=behind: links[address]
        )
        told = {walk(built, present, each) for each in (packet, back(packet))} - {"accept"}
        assert found == (bool(told) and packet.protocol not in (1, 58)), packet


# --- the same by hand ---------------------------------------------------------------------------------------------------

GED = Service(
    id="ged",
    class_=ServiceClass.ANNEX,
    selectors=tuple(Selector(prefix=ip_network(p), protocol=L4.TCP, ports=((443, 443),)) for p in ("203.0.113.10", "2001:db8::10")),
)
PAY = Service(id="pay", class_=ServiceClass.PAY, selectors=(Selector(prefix=ip_network("203.0.113.20"), protocol=L4.ANY),))
CATALOGUE = {each.id: each for each in (GED, PAY)}
SHAPES = [
    Shape(service="ged", family=f, prefixlen=n, interface=i)
    for f, n, i in ((4, 24, False), (4, 24, True), (4, 0, True), (6, 64, False))
]
REFUSING = Refusing.of(structure(CATALOGUE, SHAPES), CATALOGUE)
ZA = {(set_name("ged", 4, 24, interface=False), key_bytes(ip_network("10.1.0.0/24"), None))}
BEHIND = {(set_name("ged", 4, 24, interface=True), key_bytes(ip_network("10.1.0.0/24"), "za0"))}
WHOLE = {(set_name("ged", 4, 0, interface=True), key_bytes(ip_network("0.0.0.0/0"), "za0"))}
ZA6 = {(set_name("ged", 6, 64, interface=False), key_bytes(ip_network("fd01::/64"), None))}


def refused(present, client, server, protocol=TCP, link=None):
    pair = [(ip_address(address).packed, port) for address, port in (client, server)]
    one = Connection(ip_address(client[0]).version, protocol, *pair, pair[1], offloaded=True, name=b"")
    return REFUSING.refuses(one, lambda key: (key.set, key.key) in present, lambda _, __: link)


SERVER = ("203.0.113.10", 443)


@pytest.mark.parametrize(
    ("present", "client", "server", "more", "expected"),
    [
        (ZA, ("10.1.0.5", 40000), SERVER, {}, True),
        (ZA, SERVER, ("10.1.0.5", 40000), {}, True),
        (ZA6, ("fd01::5", 40000), ("2001:db8::10", 443), {}, True),
        (ZA, ("10.1.1.5", 40000), SERVER, {}, False),
        (ZA, ("10.1.0.5", 40000), ("203.0.113.10", 8443), {}, False),
        (ZA, ("10.1.0.5", 443), ("203.0.113.11", 443), {}, False),
        (ZA, ("10.1.0.5", 40000), SERVER, {"protocol": UDP}, False),
        (ZA, ("10.1.0.5", 40000), ("203.0.113.20", 443), {}, False),
        (ZA6, ("10.1.0.5", 40000), SERVER, {}, False),
        (BEHIND, ("10.1.0.5", 40000), SERVER, {"link": "za0"}, True),
        (BEHIND, ("10.1.0.5", 40000), SERVER, {"link": "zb0"}, False),
        (BEHIND, ("10.1.0.5", 40000), SERVER, {"link": None}, False),
        (WHOLE, ("172.16.9.9", 40000), SERVER, {"link": "za0"}, True),
        (WHOLE, ("172.16.9.9", 40000), SERVER, {"link": None}, False),
        (set(), ("10.1.0.5", 40000), SERVER, {"link": "za0"}, False),
    ],
    ids=[
        "the customer to the service",
        "opened by the service",
        "over IPv6",
        "a neighbour",
        "another port",
        "another host",
        "another protocol",
        "what is never cut",
        "the other family",
        "behind its link",
        "the same prefix behind another link",
        "behind a link that nobody can tell",
        "a whole link",
        "a whole link that nobody can tell",
        "nobody is suspended",
    ],
)
def test_only_the_customers_connections_with_the_service_are_refused(present, client, server, more, expected):
    assert refused(present, client, server, **more) is expected


STAGE_4 = {(element.set, element.key) for element in test_rest.WANTED}
AT_STAGE_4 = Refusing.of(test_rest.BUILT, test_rest.CATALOGUE, test_rest.NEEDS.rest.spared)


@pytest.mark.parametrize(
    ("client", "server", "protocol", "expected"),
    [
        (("10.1.0.5", 40000), ("192.0.2.1", 443), TCP, True),
        (("192.0.2.1", 40000), ("10.1.1.5", 22), TCP, True),
        (("fd01::5", 40000), ("2001:db8:77::1", 53), UDP, True),
        (("10.1.0.5", 40000), ("10.1.1.9", 443), TCP, False),
        (("10.1.0.5", 40000), ("203.0.113.20", 443), TCP, False),
        (("10.1.0.5", 40000), ("203.0.113.53", 0), 47, False),
        (("10.1.0.5", 40000), ("198.18.0.9", 443), TCP, False),
        (("10.1.0.5", 40000), ("192.0.2.1", 179), TCP, False),
        (("10.1.0.5", 179), ("192.0.2.1", 40000), TCP, False),
        (("10.1.0.5", 0), ("192.0.2.1", 0), 89, False),
        (("10.1.0.5", 0), ("192.0.2.1", 0), 1, False),
        (("10.3.0.5", 40000), ("192.0.2.1", 443), TCP, False),
    ],
    ids=[
        "anything remote",
        "from there",
        "over IPv6",
        "the other subnet of the site",
        "what is never cut",
        "any protocol of it",
        "a dependency of the site",
        "BGP",
        "BGP the other way",
        "OSPF",
        "ICMP",
        "somebody else",
    ],
)
def test_at_stage_4_what_is_local_protected_or_essential_is_not_refused(client, server, protocol, expected):
    pair = [(ip_address(address).packed, port) for address, port in (client, server)]
    one = Connection(ip_address(client[0]).version, protocol, *pair, pair[1], offloaded=True, name=b"")
    links = {ip_address("10.1.0.5").packed: "za0"}
    assert AT_STAGE_4.refuses(one, lambda key: (key.set, key.key) in STAGE_4, lambda _, address: links.get(address)) is expected


def test_a_connection_that_may_still_finish_is_not_refused():
    built = structure(CATALOGUE, SHAPES, Needs(drain=True, tracked=True))
    refusing = Refusing.of(built, CATALOGUE)
    pair = [(ip_address(address).packed, port) for address, port in (("10.1.0.5", 40000), SERVER)]
    one = Connection(4, TCP, *pair, pair[1], offloaded=True, name=b"")
    draining = {*ZA, (set_name("ged", 4, 24, interface=False, use=Use.DRAIN), key_bytes(ip_network("10.1.0.0/24"), None))}
    assert refusing.refuses(one, lambda key: (key.set, key.key) in ZA, lambda _, __: None)
    assert not refusing.refuses(one, lambda key: (key.set, key.key) in draining, lambda _, __: None)


def test_of_a_dedicated_service_only_the_customers_own_part_is_refused():
    server = Service(
        id="server",
        class_=ServiceClass.ANNEX,
        selectors=(Selector(prefix=ip_network("198.51.100.64/26"), protocol=L4.ANY),),
        dedicated=True,
    )
    built = structure({"server": server}, [Shape(service="server", family=4, prefixlen=24, interface=False, dedicated=32)])
    refusing = Refusing.of(built, {"server": server})
    (members_,) = built.sets
    key = key_bytes(ip_network("10.1.0.0/24"), None) + ip_address("198.51.100.77").packed
    for address, expected in (("198.51.100.77", True), ("198.51.100.78", False)):
        pair = [(ip_address(each).packed, port) for each, port in (("10.1.0.5", 40000), (address, 443))]
        one = Connection(4, TCP, *pair, pair[1], offloaded=True, name=b"")
        assert refusing.refuses(one, lambda asked: (asked.set, asked.key) == (members_.name, key), lambda _, __: None) is expected

"""VRF attachments: what names packets carry, both directions, the same private prefix in two VRFs."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_network

import pytest
from pyroute2 import IPRoute

from agent.lab import End, Endpoint, Laboratory, Link, Node, Route, Topology, laboratory, listen
from agent.model import Attachment
from tests.qemu.inside.conftest import ELSEWHERE, PROTECTED, SERVED, company, gateway, put, reaches

HOME = ("10.1.1.10", "2001:db8:20::10")
NEAR = ("10.1.1.1", "2001:db8:20::1")
UP = ("192.0.2.1", "2001:db8:9::1")
LENGTHS = (24, 64)

_QUIET = {"ipv4.icmp_ratelimit": "0", "ipv6.icmp.ratelimit": "0"}


def _addresses(addresses):
    return tuple(f"{address}/{length}" for address, length in zip(addresses, LENGTHS, strict=True))


def _customer(name: str, via=NEAR) -> Node:
    return Node(
        name=name,
        sysctls=_QUIET,
        routes=tuple(Route(to=to, via=to_via) for to, to_via in zip(("default4", "default6"), via, strict=True)),
    )


#: A second network of zb's site, in the same VRF.
OWN, NEAR_OWN = ("10.1.2.10", "2001:db8:22::10"), ("10.1.2.1", "2001:db8:22::1")

#: za and zb have one address, each in a VRF with an uplink of its own. The provider of zc is in the main table.
TOPOLOGY = Topology(
    nodes=(
        *(_customer(name) for name in ("za", "zb", "zc")),
        _customer("eb", NEAR_OWN),
        *(_customer(name, UP) for name in ("pa", "pb", "pc")),
        Node(name="gw", forwarding=True, sysctls=_QUIET),
    ),
    links=tuple(
        Link(left=End(node=node, interface="eth0", addresses=_addresses(own)), right=End(node="gw", interface=interface))
        for own, pairs in (
            (HOME, (("za", "a0"), ("zb", "b0"), ("zc", "c0"))),
            (OWN, (("eb", "b1"),)),
            (SERVED, (("pa", "pa0"), ("pb", "pb0"), ("pc", "pc0"))),
        )
        for node, interface in pairs
    ),
)
VRFS = {"vrf-a": (10, ("a0", "pa0")), "vrf-b": (20, ("b0", "b1", "pb0")), "vrf-c": (30, ("c0",))}

PREFIXES = tuple(str(ip_network(f"{address}/{length}", strict=False)) for address, length in zip(HOME, LENGTHS, strict=True))


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with ExitStack() as stack:
        # Nodes have routes to a gateway without addresses yet: they are given after the links are in their VRFs.
        bare = Topology(
            nodes=tuple(Node(name=n.name, forwarding=n.forwarding, sysctls=n.sysctls) for n in TOPOLOGY.nodes), links=TOPOLOGY.links
        )
        built = stack.enter_context(laboratory(bare))
        with built["gw"].inside(), IPRoute() as route:
            for name, (table, inside) in VRFS.items():
                route.link("add", ifname=name, kind="vrf", vrf_table=table)
                index = route.link_lookup(ifname=name)[0]
                route.link("set", index=index, state="up")
                for member in inside:
                    route.link("set", index=route.link_lookup(ifname=member)[0], master=index)
        for interface in ("a0", "b0", "c0"):
            put(built["gw"], interface, *_addresses(NEAR))
        put(built["gw"], "b1", *_addresses(NEAR_OWN))
        for node in ("pa", "pb", "pc"):
            put(built[node], "eth0", *_addresses(PROTECTED), *_addresses(ELSEWHERE))
            with built[node].inside(), IPRoute() as route:  # of several IPv6 addresses a host speaks from the newest
                index, (_, own) = route.link_lookup(ifname="eth0")[0], SERVED
                route.addr("del", index=index, address=own, prefixlen=LENGTHS[1])
            put(built[node], "eth0", f"{own}/{LENGTHS[1]}")
        for interface in ("pa0", "pb0", "pc0"):
            put(built["gw"], interface, *_addresses(UP))
        for node in TOPOLOGY.nodes:
            with built[node.name].inside(), IPRoute() as route:
                for each in node.routes:
                    route.route("add", dst={"default4": "0.0.0.0/0", "default6": "::/0"}[each.to], gateway=each.via)
        with built["gw"].inside(), IPRoute() as route:
            index = {name: route.link_lookup(ifname=name)[0] for name in ("pc0", "c0", "vrf-c")}
            for address in (*SERVED, *PROTECTED, *ELSEWHERE):
                route.route("add", dst=address, oif=index["pc0"], table=30)
            for home in PREFIXES:
                route.route("add", dst=home, oif=index["vrf-c"])
        for node in ("pa", "pb", "pc"):
            every = (*SERVED, *PROTECTED, *ELSEWHERE)
            endpoints = [Endpoint(protocol=p, address=a, port=n) for a in every for p, n in (("tcp", 443), ("udp", 4433))]
            stack.enter_context(listen(built[node], *endpoints))
        for node in ("za", "zb", "zc"):
            endpoints = [Endpoint(protocol=p, address=a, port=n) for a in HOME for p, n in (("tcp", 443), ("udp", 4433))]
            stack.enter_context(listen(built[node], *endpoints))
        endpoints = [Endpoint(protocol=p, address=a, port=n) for a in OWN for p, n in (("tcp", 443), ("udp", 4433))]
        stack.enter_context(listen(built["eb"], *endpoints))
        yield built


VRF_A = company("za", Attachment(vrf="vrf-a"))
PREFIX_B = company("zb", *(Attachment(vrf="vrf-b", prefix=ip_network(prefix)) for prefix in PREFIXES))
LEAKED = company("zc", Attachment(vrf="vrf-c"))
MEMBER = company("za", *(Attachment(interface="a0", prefix=ip_network(prefix)) for prefix in PREFIXES))
EVERYBODY = (VRF_A, PREFIX_B, LEAKED, MEMBER)

WAYS = {"za": "pa", "zb": "pb", "zc": "pc"}


def table(lab: Laboratory) -> dict[str, set[str]]:
    """From each customer to its service, and from the service to it."""
    return {customer: reaches(lab, customer, *SERVED) | reaches(lab, provider, *HOME) for customer, provider in WAYS.items()}


OPEN = {customer: {"open"} for customer in WAYS}


def test_a_packet_carries_the_vrf_on_the_way_out_of_it_and_a_member_or_the_vrf_on_the_way_in(lab):
    rules = """
      table inet look {
        set seen { type ifname . ifname . ifname; flags dynamic; size 100; }
        chain forward { type filter hook forward priority -100; update @seen { iifname . meta sdifname . oifname }; }
      }
    """
    with lab["gw"].inside():
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True, timeout=30)
    assert table(lab) == OPEN
    with lab["gw"].inside():
        listed = subprocess.run(
            ["nft", "list", "set", "inet", "look", "seen"], capture_output=True, text=True, check=True, timeout=30
        )
    seen = set(re.findall(r'"(\S*)" \. "(\S*)" \. "(\S*)"', listed.stdout))
    assert {("vrf-a", "a0", "pa0"), ("vrf-a", "pa0", "a0")} <= seen, "within a VRF"
    assert ("vrf-c", "c0", "pc0") in seen, "out of a VRF into the main table"
    assert ("pc0", "", "vrf-c") in seen, "into a VRF by a route to the VRF"
    assert not any(name in ("a0", "b0", "c0") for name, _, _ in seen), "never a member as the interface it came in by"


@pytest.mark.parametrize(
    "one", EVERYBODY, ids=["a whole VRF", "VRF and prefix", "a VRF reached by a route to it", "a member and prefix"]
)
def test_exactly_the_suspended_vrf_loses_the_service_in_both_directions(lab, one):
    with gateway(lab["gw"], *EVERYBODY) as gw:
        assert gw.suspend(one) > 0
        assert table(lab) == {**OPEN, one.id: {"refused"}}
        gw.restore()
        assert table(lab) == OPEN


OWN_PREFIXES = tuple(str(ip_network(f"{address}/{length}", strict=False)) for address, length in zip(OWN, LENGTHS, strict=True))
SITE_B = company("zb", *(Attachment(vrf="vrf-b", prefix=ip_network(prefix)) for prefix in (*PREFIXES, *OWN_PREFIXES)))


@pytest.mark.parametrize("one", [SITE_B, LEAKED, MEMBER], ids=["VRF and prefix", "a whole VRF", "a member and prefix"])
def test_at_stage_4_exactly_one_vrf_keeps_only_what_is_local_and_protected(lab, one):
    with gateway(lab["gw"], *EVERYBODY, SITE_B) as gw:
        assert gw.take_everything_remote(one) > 0
        for customer in WAYS:
            remote = "refused" if customer == one.id else "open"
            assert reaches(lab, customer, *SERVED, *ELSEWHERE) == {remote}, customer
            assert reaches(lab, customer, *PROTECTED) == {"open"}, customer
        # the site's other network is reached across the gateway, within the VRF
        assert reaches(lab, "zb", *OWN) == {"open"}
        assert reaches(lab, "eb", *HOME) == {"open"}
        assert reaches(lab, "eb", *SERVED) == ({"refused"} if one is SITE_B else {"open"})
        gw.restore()
        assert table(lab) == OPEN


def test_a_vrf_that_is_not_there_suspends_nobody(lab):
    with gateway(lab["gw"], *EVERYBODY) as gw:
        assert gw.suspend(company("zx", Attachment(vrf="vrf-x"))) == 0
        assert gw.suspend(company("zx", Attachment(vrf="a0"))) == 0, "a member is no VRF"
        assert table(lab) == OPEN


def test_a_route_to_a_member_is_covered_like_one_to_the_vrf(lab):
    with lab["gw"].inside(), IPRoute() as route:
        member, vrf = (route.link_lookup(ifname=name)[0] for name in ("c0", "vrf-c"))
        for home in PREFIXES:
            route.route("del", dst=home, oif=vrf)
            route.route("add", dst=home, oif=member)
    assert table(lab) == OPEN
    with gateway(lab["gw"], *EVERYBODY) as gw:
        gw.suspend(LEAKED)
        assert table(lab) == {**OPEN, "zc": {"refused"}}
        gw.restore()

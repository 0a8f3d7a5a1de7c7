"""A service at the address that its clients see, which the gateway leads elsewhere: real destination NAT, real packets."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from ipaddress import ip_network

import pytest

from agent.errors import KernelError
from agent.kernel.iptables import IptablesKernel
from agent.kernel.nft import NftKernel
from agent.lab import End, Endpoint, Laboratory, Link, Node, Route, Stream, Topology, laboratory, listen, probe
from agent.model import L4, Attachment, Company, Selector, Service, ServiceClass, Site, Subscription, Terms
from agent.policy import company_shapes
from agent.proof import prove, prove_members
from agent.rules import Change, Key
from agent.ruleset import Needs, Rest, ends_of, members, structure

pytestmark = pytest.mark.kernel

VIRTUAL, REAL = {4: "198.51.100.10", 6: "2001:db8:100::10"}, {4: "10.9.9.1", 6: "fd09::1"}
HOMES = {"za": {4: "10.1.0.5", 6: "fd01::5"}, "zb": {4: "10.2.0.5", 6: "fd02::5"}}
NEAR = {"za": {4: "10.1.0.1", 6: "fd01::1"}, "zb": {4: "10.2.0.1", 6: "fd02::1"}}

#: Port asked for -> port led to. 445 leads where something else is that is never cut; of 446 no file says anything.
LED = {443: 8443, 444: 9444, 445: 53, 446: 9446}
LED_UDP = {1194: 1195, 1294: 1295}


def gateway_rules() -> str:
    """What the gateway's own firewall does; ours stands beside it."""
    text = ""
    for family, word in ((4, "ip"), (6, "ip6")):
        to = REAL[4] if family == 4 else f"[{REAL[6]}]"
        rules = [f"{word} daddr {VIRTUAL[family]} tcp dport {asked} dnat to {to}:{led}" for asked, led in LED.items()]
        rules += [f"{word} daddr {VIRTUAL[family]} udp dport {asked} dnat to {to}:{led}" for asked, led in LED_UDP.items()]
        lines = "\n".join(f"    {rule}" for rule in rules)
        text += f"table {word} firewall {{\n  chain pre {{\n    type nat hook prerouting priority -100\n{lines}\n  }}\n}}\n"
    return text


def selector(family, protocol, port, *, before_nat):
    address = VIRTUAL[family] if before_nat else REAL[family]
    return Selector(prefix=ip_network(address), protocol=protocol, ports=((port, port),), before_nat=before_nat)


def service(id_, class_, *ports, before_nat=True):
    return Service(
        id=id_,
        class_=class_,
        selectors=tuple(selector(family, *each, before_nat=before_nat) for family in (4, 6) for each in ports),
    )


CATALOGUE = {
    one.id: one
    for one in (
        service("documents", ServiceClass.ANNEX, (L4.TCP, 443), (L4.UDP, 1194), (L4.UDP, 1294), (L4.TCP, 445)),
        service("portal", ServiceClass.PAY, (L4.TCP, 444)),
        service("dns", ServiceClass.DEPENDENCY, (L4.TCP, 53), before_nat=False),
    )
}


def company(name):
    return Company(
        id=name,
        name=name,
        group="g",
        policy="p",
        contract="c",
        sites=(
            Site(
                id="s",
                timezone="UTC",
                attachments=(
                    Attachment(prefix=ip_network(f"{HOMES[name][4]}/24", strict=False), interface=f"{name}0"),
                    Attachment(prefix=ip_network(f"{HOMES[name][6]}/64", strict=False)),
                ),
            ),
        ),
        subscriptions=(Subscription(service="documents"),),
    )


COMPANIES = [company(name) for name in HOMES]
LOCAL = [("s", attachment.prefix) for one in COMPANIES for _, attachment in one.attachments()]
NEEDS = Needs(tracked=True, kept=tuple(Selector(prefix=network, protocol=L4.ANY) for _, network in LOCAL))
BUILT = structure(CATALOGUE, [shape for one in COMPANIES for shape in company_shapes(one, CATALOGUE)], NEEDS)

_QUIET = {"ipv4.icmp_ratelimit": "0", "ipv6.icmp.ratelimit": "0"}
TOPOLOGY = Topology(
    nodes=(
        *(
            Node(
                name=name, sysctls=_QUIET, routes=(Route(to="default4", via=NEAR[name][4]), Route(to="default6", via=NEAR[name][6]))
            )
            for name in HOMES
        ),
        Node(name="prov", sysctls=_QUIET, routes=(Route(to="default4", via="10.9.9.254"), Route(to="default6", via="fd09::fe"))),
        Node(name="gw", forwarding=True, sysctls=_QUIET),
    ),
    links=(
        *(
            Link(
                left=End(node=name, interface="eth0", addresses=(f"{HOMES[name][4]}/24", f"{HOMES[name][6]}/64")),
                right=End(node="gw", interface=f"{name}0", addresses=(f"{NEAR[name][4]}/24", f"{NEAR[name][6]}/64")),
            )
            for name in HOMES
        ),
        Link(
            left=End(node="prov", interface="eth0", addresses=(f"{REAL[4]}/24", f"{REAL[6]}/64")),
            right=End(node="gw", interface="up0", addresses=("10.9.9.254/24", "fd09::fe/64")),
        ),
    ),
)

#: What is tried: protocol, address by family, port.
TARGETS = {
    "the service": ("tcp", VIRTUAL, 443),
    "the service over UDP": ("udp", VIRTUAL, 1194),
    "the portal at the same address": ("tcp", VIRTUAL, 444),
    "an address of the service that leads to names": ("tcp", VIRTUAL, 445),
    "what no file tells of": ("tcp", VIRTUAL, 446),
    "the server by its own address": ("tcp", REAL, 8443),
    "names": ("tcp", REAL, 53),
}
OPEN = {name: {"open"} for name in TARGETS}
CUT = {**OPEN, "the service": {"refused"}, "the service over UDP": {"refused"}}
EVERYTHING_REMOTE = {**CUT, "the server by its own address": {"refused"}}


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with ExitStack() as stack:
        built = stack.enter_context(laboratory(TOPOLOGY))
        own = [
            Endpoint(protocol=p, address=a, port=n)
            for a in REAL.values()
            for p, n in (*(("tcp", led) for led in LED.values()), ("udp", 1195))
        ]
        stack.enter_context(listen(built["prov"], *own))
        with built["gw"].inside():
            subprocess.run(["nft", "-f", "-"], input=gateway_rules(), text=True, check=True, timeout=20)
        yield built


@pytest.fixture
def kernel(lab) -> Iterator[NftKernel]:
    with lab["gw"].inside():
        one = NftKernel()
        one.apply(Change(structure=BUILT))
    yield one
    with lab["gw"].inside():
        one.apply(Change(remove_table=True))
    one.close()


def wanted_of(one):
    return members(one, ("documents",), f"{one.id}:1", 600_000, CATALOGUE, date(2026, 3, 30))


def suspend(lab, kernel, name):
    one = next(each for each in COMPANIES if each.id == name)
    wanted = wanted_of(one)
    prove_members(wanted, one, ("documents",), prove(BUILT, [], LOCAL, CATALOGUE, NEEDS.kept))
    with lab["gw"].inside():
        kernel.apply(Change(add=wanted))
        assert kernel.observe(BUILT).structure == "as_wanted"


def table(lab, name):
    return {
        target: {probe(lab[name], protocol, addresses[family], port, timeout=3.0).result for family in (4, 6)}
        for target, (protocol, addresses, port) in TARGETS.items()
    }


def test_the_service_is_refused_at_the_address_its_client_sees_and_nothing_else_is(lab, kernel):
    assert table(lab, "za") == table(lab, "zb") == OPEN
    suspend(lab, kernel, "za")
    assert table(lab, "za") == CUT
    assert table(lab, "zb") == OPEN
    with lab["gw"].inside():
        kernel.apply(Change(delete=tuple(Key(set=one.set, key=one.key) for one in wanted_of(COMPANIES[0]))))
    assert table(lab, "za") == OPEN


def test_at_stage_4_what_the_gateway_leads_elsewhere_stays_on_unless_it_was_announced(lab, kernel):
    za = COMPANIES[0]
    spared = tuple(each for one in CATALOGUE.values() if not one.class_.suspendable for each in one.selectors)
    needs = replace(NEEDS, rest=Rest(ends=frozenset(ends_of(za, CATALOGUE)), spared=spared))
    built = structure(CATALOGUE, company_shapes(za, CATALOGUE), needs)
    wanted = members(za, ("documents",), "za:1", 600_000, CATALOGUE, date(2026, 3, 30), terms=Terms(stage=4))
    prove_members(wanted, za, ("documents",), prove(built, [], LOCAL, CATALOGUE, NEEDS.kept), remote=("documents",))
    with lab["gw"].inside():
        kernel.apply(Change(structure=built))
        kernel.apply(Change(add=wanted))
        assert kernel.observe(built).structure == "as_wanted"
    assert table(lab, "za") == EVERYTHING_REMOTE
    assert table(lab, "zb") == OPEN


@pytest.mark.parametrize("family", [4, 6])
def test_open_connections_end_and_those_of_others_lose_nothing(lab, kernel, family):
    with ExitStack() as stack:
        ending = stack.enter_context(Stream(lab["za"], VIRTUAL[family], 443))
        staying = [
            stack.enter_context(Stream(lab[name], address, port))
            for name, address, port in (
                ("za", VIRTUAL[family], 444),
                ("za", REAL[family], 8443),
                ("zb", VIRTUAL[family], 443),
                ("zb", VIRTUAL[family], 444),
            )
        ]
        assert all(one.wait_more(2000, 10) for one in (ending, *staying))
        suspend(lab, kernel, "za")
        assert ending.wait_end(10) is not None
        assert ending.tally().ended == "ECONNRESET"
        assert all(one.wait_more(2000, 10) for one in staying)
        assert [one.settle().whole for one in staying] == [True] * 4


@pytest.mark.parametrize("family", [4, 6])
def test_answers_over_udp_are_refused_to_the_server(lab, kernel, family):
    kind = (socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    with lab["za"].inside():
        client = socket.socket(*kind)
    with lab["prov"].inside():
        server = socket.socket(*kind)
    with client, server:
        server.bind((REAL[family], 1295))
        client.connect((VIRTUAL[family], 1294))
        for one in (client, server):
            one.settimeout(3)
        client.send(b"?")
        _, asker = server.recvfrom(16)
        server.connect(asker[:2])
        server.send(b"!")
        assert client.recv(16) == b"!"
        suspend(lab, kernel, "za")
        server.send(b"!")
        with pytest.raises(OSError, match=r"route to host|Permission denied|refused"):
            server.recv(16)
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(16)


def test_legacy_iptables_says_that_it_has_no_such_rules(lab):
    with lab["gw"].inside():
        legacy = IptablesKernel()
        try:
            with pytest.raises(KernelError, match="before NAT") as refused:
                legacy.apply(Change(structure=BUILT))
        finally:
            legacy.close()
    assert refused.value.errno == 95

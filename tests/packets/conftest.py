"""Customers, gateway, provider: the network that the packet tests send through.

Companies ZA and ZB have hosts in the same prefix, behind two interfaces of the gateway. ZA's site has a second subnet with
its own server, so that its local traffic crosses the gateway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from ipaddress import ip_network

import pytest

from agent import ruleset
from agent.kernel.iptables import IptablesKernel
from agent.kernel.nft import NftKernel
from agent.lab import Answer, End, Endpoint, Laboratory, Link, Node, Route, Topology, laboratory, listen, probe
from agent.model import L4, Attachment, Company, Selector, Service, ServiceClass, Shape, Site, Subscription, Terms
from agent.plan import plan
from agent.rules import Change, Element, Key, Structure
from agent.ruleset import Needs, Rest, ends_of, key_bytes, set_name, structure


def _selector(prefix, protocol, *ports):
    return Selector(prefix=ip_network(prefix), protocol=protocol, ports=tuple((port, port) for port in ports))


SERVICES = {
    service.id: service
    for service in (
        Service(
            id="ged",
            class_=ServiceClass.ANNEX,
            selectors=tuple(
                _selector(prefix, protocol, port)
                for prefix in ("192.0.2.10/32", "2001:db8:9::10/128")
                for protocol, port in ((L4.TCP, 443), (L4.UDP, 4433))
            ),
        ),
        Service(
            id="vpn",
            class_=ServiceClass.ANNEX,
            selectors=(_selector("198.51.100.0/28", L4.ANY), _selector("2001:db8:8::/64", L4.ANY)),
        ),
        Service(
            id="report",
            class_=ServiceClass.ANNEX,
            selectors=(_selector("192.0.2.1/32", L4.TCP, 8443), _selector("2001:db8:9::1/128", L4.TCP, 8443)),
        ),
        Service(
            id="dns",
            class_=ServiceClass.DEPENDENCY,
            selectors=(_selector("192.0.2.53/32", L4.ANY), _selector("2001:db8:9::53/128", L4.ANY)),
        ),
    )
}
SHAPES = [
    Shape(service=service, family=family, prefixlen=length, interface=interface)
    for service in SERVICES
    for family, length in ((4, 24), (6, 64), (4, 0), (6, 0))
    for interface in (False, True)
    if length or interface
]
STRUCTURE = structure(SERVICES, SHAPES)


def company(*attachments: Attachment) -> Company:
    """ZA, connected like this, subscribed to all that may be suspended; its server ERP is of the same site, behind `za1`."""
    erp = (
        Attachment(prefix=ip_network("10.20.11.0/24"), interface="za1"),
        Attachment(prefix=ip_network("2001:db8:21::/64"), interface="za1"),
    )
    return Company(
        id="za",
        name="ZA",
        group="g",
        policy="p",
        contract="c",
        sites=(Site(id="za-1", timezone="Europe/Paris", attachments=(*attachments, *erp)),),
        subscriptions=tuple(Subscription(service=service) for service in ("ged", "vpn", "report")),
    )


PREFIXES = (ip_network("10.20.10.0/24"), ip_network("2001:db8:20::/64"))
ZA = company(*(Attachment(prefix=prefix, interface="za0") for prefix in PREFIXES))


def stage_4(company: Company) -> Rest:
    """What stage 4 is made from here."""
    spared = tuple(selector for service in SERVICES.values() if not service.class_.suspendable for selector in service.selectors)
    return Rest(ends=frozenset(ends_of(company, SERVICES)), spared=spared)


def shapes_of(company: Company) -> list[Shape]:
    """The kinds of set that one company needs."""
    return [
        Shape(service=service, family=network.version, prefixlen=network.prefixlen, interface=place.link is not None)
        for service in SERVICES
        for _, place in company.attachments()
        for network in place.networks
    ]


_QUIET = {"ipv4.icmp_ratelimit": "0", "ipv6.icmp.ratelimit": "0", "ipv4.ping_group_range": "0 0"}
TOPOLOGY = Topology(
    nodes=(
        Node(
            name="za", routes=(Route(to="default4", via="10.20.10.1"), Route(to="default6", via="2001:db8:20::1")), sysctls=_QUIET
        ),
        Node(
            name="zb", routes=(Route(to="default4", via="10.20.10.1"), Route(to="default6", via="2001:db8:20::1")), sysctls=_QUIET
        ),
        Node(name="erp", routes=(Route(to="default4", via="10.20.11.1"), Route(to="default6", via="2001:db8:21::1"))),
        Node(
            name="gw",
            forwarding=True,
            sysctls=_QUIET,
            routes=(
                Route(to="10.20.10.10/32", interface="za0"),
                Route(to="10.20.10.20/32", interface="zb0"),
                Route(to="2001:db8:20::10/128", interface="za0"),
                Route(to="2001:db8:20::20/128", interface="zb0"),
                Route(to="198.51.100.0/28", via="192.0.2.10"),
                Route(to="2001:db8:8::/64", via="2001:db8:9::10"),
            ),
        ),
        Node(name="prov", routes=(Route(to="default4", via="192.0.2.1"), Route(to="default6", via="2001:db8:9::1"))),
    ),
    links=(
        Link(
            left=End(node="za", interface="eth0", addresses=("10.20.10.10/24", "2001:db8:20::10/64")),
            right=End(node="gw", interface="za0", addresses=("10.20.10.1/32", "2001:db8:20::1/128")),
        ),
        Link(
            left=End(node="zb", interface="eth0", addresses=("10.20.10.20/24", "2001:db8:20::20/64")),
            right=End(node="gw", interface="zb0", addresses=("10.20.10.1/32", "2001:db8:20::1/128")),
        ),
        Link(
            left=End(node="erp", interface="eth0", addresses=("10.20.11.5/24", "2001:db8:21::5/64")),
            right=End(node="gw", interface="za1", addresses=("10.20.11.1/24", "2001:db8:21::1/64")),
        ),
        Link(
            left=End(
                node="prov",
                interface="eth0",
                addresses=(
                    "192.0.2.10/24",
                    "192.0.2.53/24",
                    "198.51.100.2/32",
                    "2001:db8:9::10/64",
                    "2001:db8:9::53/64",
                    "2001:db8:8::2/128",
                ),
            ),
            right=End(node="gw", interface="p0", addresses=("192.0.2.1/24", "2001:db8:9::1/64")),
        ),
    ),
)

#: What the table of a laboratory looks like: destination -> protocol, address, port. All are open while nobody is suspended.
TARGETS = {
    "ged tcp 4": ("tcp", "192.0.2.10", 443),
    "ged tcp 6": ("tcp", "2001:db8:9::10", 443),
    "ged udp 4": ("udp", "192.0.2.10", 4433),
    "ged udp 6": ("udp", "2001:db8:9::10", 4433),
    "vpn tcp 4": ("tcp", "198.51.100.2", 1194),
    "vpn udp 4": ("udp", "198.51.100.2", 1194),
    "vpn tcp 6": ("tcp", "2001:db8:8::2", 1194),
    "vpn udp 6": ("udp", "2001:db8:8::2", 1194),
    "report on the gateway 4": ("tcp", "192.0.2.1", 8443),
    "report on the gateway 6": ("tcp", "2001:db8:9::1", 8443),
    "another port of the ged's host 4": ("tcp", "192.0.2.10", 22),
    "another port of the ged's host 6": ("tcp", "2001:db8:9::10", 22),
    "the ged's port on another host": ("tcp", "192.0.2.53", 443),
    "the ged's port, other protocol": ("udp", "192.0.2.10", 443),
    "dns tcp 4": ("tcp", "192.0.2.53", 53),
    "dns udp 4": ("udp", "192.0.2.53", 53),
    "dns udp 6": ("udp", "2001:db8:9::53", 53),
    "another port of the gateway": ("tcp", "192.0.2.1", 22),
    "erp 4": ("tcp", "10.20.11.5", 443),
    "erp 6": ("tcp", "2001:db8:21::5", 443),
}


def _endpoints(protocol, *ports):
    return [Endpoint(protocol=protocol, address=address, port=port) for address in ("0.0.0.0", "::") for port in ports]


@dataclass(kw_only=True)
class Net:
    """The laboratory, with the backend that works in its gateway."""

    lab: Laboratory
    kernel: NftKernel | IptablesKernel
    timeout: float = 1.0
    names: tuple[str, ...] = field(default=tuple(TARGETS))

    def ask(self, customer: str, target: str) -> Answer:
        protocol, address, port = TARGETS[target]
        # The answer of a UDP socket that is bound to every address comes from the route's address: `prov` has several.
        return probe(self.lab[customer], protocol, address, port, timeout=self.timeout)

    def table(self, customer: str) -> dict[str, str]:
        return {name: self.ask(customer, name).result for name in self.names}

    def apply(self, change: Change) -> None:
        with self.lab["gw"].inside():
            self.kernel.apply(change)

    def suspend(self, *services: str, interface: str | None = "za0", timeout_ms: int = 3_600_000, only: int = 0) -> None:
        self.apply(Change(add=tuple(members(services, interface, timeout_ms, only))))

    def restore(self, *services: str, interface: str | None = "za0") -> None:
        self.apply(Change(delete=tuple(Key(set=e.set, key=e.key) for e in members(services, interface))))

    def move(self, company: Company, services: Sequence[str], terms: Terms, structure: Structure, needs: Needs) -> Change:
        """Bring one company from whatever it is at to these terms, as the daemon does it: read, plan, one transaction."""
        wanted = ruleset.members(company, services, "za:2024-7", 3_600_000, SERVICES, date(2026, 3, 9), terms=terms)
        keys = ruleset.candidates(company, SERVICES, needs=needs)
        assert {(e.set, e.key) for e in wanted} <= {(k.set, k.key) for k in keys}
        with self.lab["gw"].inside():
            observed = self.kernel.observe(structure, keys)
            change = plan(wanted=wanted, candidates=keys, observed=observed, structure=structure)
            self.kernel.apply(change)
        return change

    def nft(self, *arguments: str) -> str:
        return self.run("nft", *arguments)

    def flush(self) -> None:
        """Somebody else's script empties the tables, of whichever kind they are."""
        self.nft("flush", "ruleset")
        if self.kernel.name == "iptables":
            for program in ("iptables-legacy", "ip6tables-legacy"):
                self.run(program, "-w", "5", "-F")
                self.run(program, "-w", "5", "-X")

    def run(self, *command: str) -> str:
        program = self.lab["gw"].start(list(command), stdout=-1, text=True)
        said, _ = program.communicate(timeout=20)
        assert program.returncode == 0
        return said


#: The networks of ZA and ZB, and what a whole link has.
HOME = (ip_network("10.20.10.0/24"), ip_network("2001:db8:20::/64"))


def members(services, interface, timeout_ms=3_600_000, only=0, home=HOME):
    for service in services:
        for prefix in home:
            if only in (0, prefix.version):
                name = set_name(service, prefix.version, prefix.prefixlen, interface=interface is not None)
                yield Element(set=name, key=key_bytes(prefix, interface), case="za:2024-7", timeout_ms=timeout_ms)


@pytest.fixture(params=[NftKernel, IptablesKernel], ids=lambda backend: backend.name)
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    """Everything listens, the structure is loaded, nobody is suspended; on each backend in turn."""
    with (
        laboratory(TOPOLOGY) as lab,
        listen(lab["prov"], *_served()),
        listen(lab["gw"], *_endpoints("tcp", 8443, 22)),
        listen(lab["erp"], *_endpoints("tcp", 443)),
        listen(lab["za"], *_endpoints("tcp", 5900), *_endpoints("udp", 5900)),
    ):
        with lab["gw"].inside():
            kernel = request.param()
            kernel.apply(Change(structure=STRUCTURE))
        yield Net(lab=lab, kernel=kernel)
        kernel.close()


def _served():
    """One listener for each address, so that a datagram is answered from the address that it was sent to."""
    found = {(protocol, address, port) for protocol, address, port in TARGETS.values()}
    here = {address.partition("/")[0] for address in TOPOLOGY.links[3].left.addresses}
    return [Endpoint(protocol=p, address=a, port=n) for p, a, n in sorted(found) if a in here]

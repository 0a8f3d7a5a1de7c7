"""Gateways with the links that only a stock kernel has: VRFs, VLANs, WireGuard."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from ipaddress import ip_network

from pyroute2 import IPRoute

from agent.kernel.links import LinkWatch
from agent.kernel.nft import NftKernel
from agent.lab import Laboratory, Space, probe
from agent.links import Following
from agent.model import L4, Attachment, Company, Links, Selector, Service, ServiceClass, Shape, Site, Subscription, Terms
from agent.policy import company_shapes
from agent.proof import prove, prove_members
from agent.rules import Change
from agent.ruleset import Needs, Rest, ends_of, members, structure

SERVED = ("192.0.2.10", "2001:db8:9::10")
#: What is never cut, and what is nobody's service.
PROTECTED = ("192.0.2.53", "2001:db8:9::53")
ELSEWHERE = ("192.0.2.99", "2001:db8:9::99")

#: Every protocol and port of one host: what it opens towards a customer is seen too.
SERVICES: Mapping[str, Service] = {
    "hosted": Service(
        id="hosted",
        class_=ServiceClass.ANNEX,
        selectors=tuple(Selector(prefix=ip_network(each), protocol=L4.ANY) for each in SERVED),
    ),
    "names": Service(
        id="names",
        class_=ServiceClass.DEPENDENCY,
        selectors=tuple(Selector(prefix=ip_network(each), protocol=L4.ANY) for each in PROTECTED),
    ),
}


def company(id_: str, *attachments: Attachment) -> Company:
    return Company(
        id=id_,
        name=id_,
        group="g",
        policy="p",
        contract="k",
        sites=(Site(id="s", timezone="UTC", attachments=attachments),),
        subscriptions=(Subscription(service="hosted"),),
    )


@dataclass
class Gateway:
    """The gateway of a laboratory: its links as the agent reads them, and its kernel."""

    space: Space
    kernel: NftKernel
    shapes: frozenset[Shape]

    def links(self) -> Links:
        with self.space.inside(), LinkWatch() as watch:
            return Following(watch.look()).links()

    def suspend(self, one: Company) -> int:
        """Bring one company to what a measure wants, proven as the agent proves it. Returns how many elements that are."""
        built, links = structure(SERVICES, self.shapes), self.links()
        wanted = members(one, ["hosted"], f"{one.id}:N1", 600_000, SERVICES, date(2026, 3, 30), links=links)
        prove_members(wanted, one, ["hosted"], prove(built, [], [], SERVICES), links)
        with self.space.inside():
            self.kernel.apply(Change(structure=built, add=wanted))
        return len(wanted)

    def take_everything_remote(self, one: Company) -> int:
        """Bring one company to stage 4, with the path that belongs to it. Returns how many elements that are."""
        spared = SERVICES["names"].selectors
        built = structure(SERVICES, self.shapes, Needs(rest=Rest(ends=frozenset(ends_of(one, SERVICES)), spared=spared)))
        links, day = self.links(), date(2026, 3, 30)
        wanted = members(one, ["hosted"], f"{one.id}:N1", 600_000, SERVICES, day, terms=Terms(stage=4), links=links)
        prove_members(wanted, one, ["hosted"], prove(built, [], [], SERVICES), links, remote=["hosted"])
        with self.space.inside():
            self.kernel.apply(Change(structure=built, add=wanted))
        return len(wanted)

    def restore(self) -> None:
        with self.space.inside():
            self.kernel.apply(Change(remove_table=True))


@contextmanager
def gateway(space: Space, *companies: Company) -> Iterator[Gateway]:
    with space.inside():
        kernel = NftKernel()
    shapes = frozenset(shape for one in companies for shape in company_shapes(one, SERVICES))
    yield Gateway(space, kernel, shapes)
    kernel.close()


def put(space: Space, interface: str, *addresses: str) -> None:
    """Give an interface its addresses, usable at once."""
    with space.inside(), IPRoute() as route:
        for text in addresses:
            address, _, length = text.partition("/")
            extra = {"flags": 2} if ":" in address else {}
            route.addr("add", index=route.link_lookup(ifname=interface)[0], address=address, prefixlen=int(length), **extra)


def reaches(lab: Laboratory, here: str, *addresses: str) -> set[str]:
    """What becomes of a connection and of a datagram to each address: all of `open`, `refused`, `no_answer` that came."""
    return {
        probe(lab[here], protocol, address, port, timeout=4.0).result
        for address in addresses
        for protocol, port in (("tcp", 443), ("udp", 4433))
    }

"""Hypothesis strategies for services, companies, measures and the packets between them.

Everything is drawn close together, so that edges meet often: neighbouring addresses and ports, the same private prefix
behind several interfaces, attachments that start or end today. Each service has a block of addresses of its own and no
customer lives in one, as the policy loader demands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from ipaddress import ip_network
from random import Random

from hypothesis import strategies as st

from agent.model import (
    L4,
    Address,
    Attachment,
    Company,
    Links,
    Network,
    Ports,
    Selector,
    Service,
    ServiceClass,
    Shape,
    Site,
    Subscription,
)
from tests.core.packet_evaluator import ACK, FIN, RST, SYN, TCP, UDP, Packet

TODAY = date(2026, 3, 9)

#: Plain, hard and nearly equal ones; those of nft's own words too.
SERVICE_IDS = (
    "ged",
    "vpn",
    "fwd",
    "th",
    "24h-desk",
    "shared-documents-of-the-group",
    "shared-documents-of-the-grouq",
    "ip6",
    "a-4",
    "a",
)

suspendable = st.sampled_from((ServiceClass.ANNEX, ServiceClass.EXTENDED))
classes = suspendable | st.sampled_from(ServiceClass)


@st.composite
def port_ranges(draw: st.DrawFn) -> tuple[Ports, ...]:
    """Up to three ranges, single ports, neighbours and overlaps included; none at all means every port."""
    lows = draw(st.lists(st.sampled_from((0, 443, 444, 445, 447, 65535)), max_size=3))
    return tuple((low, min(65535, low + draw(st.sampled_from((0, 0, 1, 15, 16, 3000))))) for low in lows)


@st.composite
def selectors(draw: st.DrawFn, block: int = 0) -> Selector:
    """A selector inside block number `block`: v4 203.0.`block`.0/24 or v6 2001:db8:`block`::/48."""
    protocol = draw(st.sampled_from(L4))
    if draw(st.booleans()):
        network = ip_network(
            (f"203.0.{block}.{draw(st.integers(0, 9))}", draw(st.sampled_from((32, 32, 31, 30, 28, 24)))), strict=False
        )
    else:
        network = ip_network(
            (f"2001:db8:{block}::{draw(st.integers(0, 9))}", draw(st.sampled_from((128, 128, 126, 64, 48)))), strict=False
        )
    return Selector(prefix=network, protocol=protocol, ports=() if protocol is L4.ANY else draw(port_ranges()))


@st.composite
def services(draw: st.DrawFn, id_: str, block: int, class_: st.SearchStrategy[ServiceClass] = classes) -> Service:
    """A service in a block of its own, of any class unless said otherwise; one in three has parts for each customer."""
    return Service(
        id=id_,
        class_=draw(class_),
        selectors=tuple(draw(st.lists(selectors(block), min_size=1, max_size=4))),
        dedicated=draw(st.integers(0, 2)) == 0,
    )


@st.composite
def catalogues(draw: st.DrawFn, class_: st.SearchStrategy[ServiceClass] = classes) -> dict[str, Service]:
    """One to five services that share no address."""
    ids = draw(st.lists(st.sampled_from(SERVICE_IDS), min_size=1, max_size=5, unique=True))
    return {id_: draw(services(id_, block, class_)) for block, id_ in enumerate(ids)}


_DAY = timedelta(days=1)
_VALIDITY = (
    *[(None, None)] * 4,
    (TODAY, None),
    (None, TODAY),
    (TODAY, TODAY),
    (TODAY + _DAY, None),
    (None, TODAY - _DAY),
    (TODAY - _DAY, TODAY + _DAY),
)


#: The VRFs of every world, with their members.
VRFS = {f"vrf{number}": (f"m{number}a", f"m{number}b") for number in range(30)}
LINKS = Links(members=VRFS)

#: What is taken for the networks of a place that has none of its own.
_BEHIND = (ip_network("10.1.1.0/24"), ip_network("fd00::/64"))


@st.composite
def attachments(draw: st.DrawFn, number: int, *, wide: bool = False) -> Attachment:
    """A place: number `number` in an address space without interfaces, or a prefix that others use too, behind `if<number>`.

    `wide`: also behind `vrf<number>`, or all of what is behind a link.
    """
    link = f"if{number}" if draw(st.booleans()) else None
    behind = {"interface": link}
    if wide and link and draw(st.booleans()):
        behind = {"vrf": f"vrf{number}"}
    starts, ends = draw(st.sampled_from(_VALIDITY))
    if wide and link and draw(st.integers(0, 2)) == 0:
        return Attachment(**behind, valid_from=starts, valid_to=ends)
    if draw(st.booleans()):
        base = "10.1.1.0" if link else f"10.20.{number}.0"
        network = ip_network((base, draw(st.sampled_from((24, 28, 32)))))
    else:
        base = "fd00::" if link else f"2001:db8:ff:{number}::"
        network = ip_network((base, draw(st.sampled_from((64, 112, 128)))))
    return Attachment(prefix=network, **behind, valid_from=starts, valid_to=ends)


def networks(place: Attachment) -> tuple[Network, ...]:
    """The networks of a place; of a whole link, some that could be behind it."""
    return _BEHIND if place.prefix is None else (place.prefix,)


@st.composite
def own_addresses(draw: st.DrawFn, service: Service) -> tuple[Network, ...]:
    """What of a dedicated service could be one company's own: whole prefixes, halves of them, their first and last addresses."""
    if not service.dedicated:
        return ()
    prefix = draw(st.sampled_from(service.selectors)).prefix
    parts = {prefix, ip_network(prefix[0]), ip_network(prefix[-1])}
    if prefix.prefixlen < prefix.max_prefixlen:
        parts |= set(prefix.subnets())
    return tuple(draw(st.lists(st.sampled_from(sorted(parts)), max_size=3, unique=True)))


@st.composite
def companies(draw: st.DrawFn, number: int, catalogue: Mapping[str, Service], *, wide: bool = False) -> Company:
    """A company with one or two sites, subscribed to some of the catalogue, here and there narrowed or for one site."""
    sites = tuple(
        Site(
            id=f"site-{number}-{n}",
            timezone="Europe/Paris",
            attachments=tuple(draw(attachments(number * 10 + n * 5 + i, wide=wide)) for i in range(draw(st.integers(1, 2)))),
        )
        for n in range(draw(st.integers(1, 2)))
    )
    subscriptions = tuple(
        Subscription(
            service=id_,
            class_=draw(st.sampled_from((None, None, None, ServiceClass.EXTENDED, ServiceClass.LOCAL))),
            sites=draw(st.sampled_from(((), (), (sites[0].id,)))),
            addresses=draw(own_addresses(catalogue[id_])),
        )
        for id_ in sorted(catalogue)
        if draw(st.integers(0, 3)) < 3
    )
    return Company(
        id=f"c{number}", name=f"Company {number}", group="g", policy="p", contract="k", sites=sites, subscriptions=subscriptions
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Who is there, what is delivered, and what is suspended: service ids by company id."""

    catalogue: Mapping[str, Service]
    companies: tuple[Company, ...]
    measures: Mapping[str, tuple[str, ...]]


@st.composite
def worlds(draw: st.DrawFn, *, wide: bool = False) -> World:
    """One to three companies and their measures. A measure may name what it should not: the rules must not follow it."""
    catalogue = draw(catalogues())
    people = tuple(draw(companies(number, catalogue, wide=wide)) for number in range(draw(st.integers(1, 3))))
    named = st.lists(st.sampled_from((*sorted(catalogue), "unknown")), unique=True, min_size=1, max_size=5).map(tuple)
    owing = people[draw(st.sampled_from((0, 0, 1))) :]
    return World(catalogue=catalogue, companies=people, measures={c.id: draw(named) for c in owing})


def shapes_of(people: tuple[Company, ...]) -> frozenset[Shape]:
    """What the inventory would ask for: each subscription with each attachment."""
    return frozenset(
        Shape(
            service=subscription.service,
            family=4 if network.version == 4 else 6,
            prefixlen=network.prefixlen,
            interface=place.link is not None,
            dedicated=own.prefixlen if own else None,
        )
        for company in people
        for subscription in company.subscriptions
        for _, place in company.attachments()
        for network in place.networks
        for own in (None, *subscription.addresses)
        if own is None or own.version == network.version
    )


def networks_of(people: tuple[Company, ...]) -> list[tuple[str, Network]]:
    """Every site's own networks."""
    return [(site.id, place.prefix) for company in people for site, place in company.attachments() if place.prefix is not None]


def edges(network: Network) -> tuple[Address, ...]:
    """The first and the last address of a network, and their neighbours outside. Not for the ends of the address space."""
    first, last = network.network_address, network.broadcast_address
    return (first, last, first, last, first, last, first - 1, last + 1)


@st.composite
def storms(draw: st.DrawFn, world: World, size: int = 100) -> list[Packet]:
    """Packets for one world: many of what its measures name, the rest anywhere, and most just beside in one field or two.

    They come from one drawn seed: hundreds of small draws would cost more than all that is tested with them.
    """
    random = Random(draw(st.integers(0, 2**32)))
    everything = [
        (place, selector)
        for company in world.companies
        for _, place in company.attachments()
        for service in world.catalogue.values()
        for selector in service.selectors
        if any(selector.prefix.version == network.version for network in networks(place))
    ]
    named = [
        (place, selector)
        for company in world.companies
        for _, place in company.attachments()
        for service_id in world.measures.get(company.id, ())
        if service_id in world.catalogue and company.subscription(service_id)
        for selector in world.catalogue[service_id].selectors
        if any(selector.prefix.version == network.version for network in networks(place))
    ]
    places = [place for company in world.companies for _, place in company.attachments()]
    within = [
        (place, Selector(prefix=network, protocol=L4.ANY))
        for place in places
        for other in places
        for network in networks(other)
        if any(network.version == mine.version for mine in networks(place))
    ]
    return [
        _packet(random, *random.choice(random.choice((named, named, named, everything, within)) or within)) for _ in range(size)
    ]


def _packet(random: Random, place: Attachment, selector: Selector) -> Packet:
    """A packet between a place and what a selector describes, each field now and then one step off."""
    usual = {L4.TCP: TCP, L4.UDP: UDP, L4.ANY: 47}[selector.protocol]
    ports = [port + step for span in selector.ports for port in span for step in (-1, 0, 0, 1) if 0 <= port + step <= 65535]
    port = random.choice((*ports, *ports, 443, 7))
    link = place.link or "eth8"
    comes, goes = random.choice((*_ways(link) * 3, *_ways("if0"), *_ways("vrf0"), (("eth9", ""), "eth9")))
    home = next(network for network in networks(place) if network.version == selector.prefix.version)
    near, far = random.choice(edges(home)), random.choice(edges(selector.prefix))
    sends = random.random() < 0.6
    return Packet(
        hook=random.choice(("forward", "forward", "forward", "input")),
        source=near if sends else far,
        destination=far if sends else near,
        protocol=random.choice((*[usual] * 4, TCP, UDP, 58)),
        source_port=40_000 if sends else port,
        destination_port=port if sends else 40_000,
        flags=random.choice((SYN, SYN, ACK, SYN | ACK, FIN | ACK, RST, RST | ACK, 0)),
        interface_in=comes[0] if sends else "eth9",
        member_in=comes[1] if sends else "",
        interface_out="eth9" if sends else goes,
    )


def _ways(link: str) -> list[tuple[tuple[str, str], str]]:
    """How packets come in by a link (interface, member of a VRF) and go out by it."""
    if link in VRFS:
        return [((link, member), out) for member in VRFS[link] for out in (member, link)]
    return [((link, ""), link), (("vrf9", link), link)]

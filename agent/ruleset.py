"""Floor 1. Services and attachments -> what belongs in the kernel: the constant structure, and one company's members.

Rules of this room:

1. Service first, customer second. The structure follows the service catalogue and changes with it; a suspension or a
   restore only adds or deletes members of plain hash sets.
2. Only services of the classes annex and extended ever get a map entry, a chain or a set. Everything else can not be
   named, so it can not be hit.
3. A base chain is the budget of every packet on the gateway: it sends each family its way and nothing else. A map, a
   chain or a rule that nobody needs is not made.
4. A packet belongs to one service at most (`proof` refuses anything else), so a map's verdict is final: no second
   lookup for it.
5. `input`, the gateway's own addresses, knows single hosts with named ports only. A refusal of any protocol there would
   end neighbour discovery, and one of a whole prefix could hit the customer's own tunnel to the gateway.
6. In doubt the service stays on: unknown service, no subscription, narrowed class, other site, attachment not valid
   today, lease over: no member.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_network
from typing import Literal

from agent.model import (
    ANY_LINKS,
    EVERY_ADDRESS,
    L4,
    Attachment,
    Company,
    Family,
    Links,
    Network,
    Selector,
    Service,
    Shape,
    StandingKey,
    Subscription,
    Terms,
)
from agent.rules import (
    Chain,
    DispatchFamily,
    Element,
    Key,
    LookupService,
    MemberSet,
    PassAnswers,
    PassResets,
    Refuse,
    RefuseMembers,
    Rule,
    ServiceEntry,
    ServiceMap,
    Side,
    Structure,
)
from agent.spans import box_order, disjoint

#: The chain that every refusal ends in; `RefuseMembers` goes there.
REFUSE = "refuse"

#: A host with at most this many named ports is listed port by port in the hash map, which is cheaper to ask than ranges.
MAX_LISTED_PORTS = 16

#: An interface name takes this many bytes in a key, NUL-padded (the kernel's IFNAMSIZ).
INTERFACE_BYTES = 16

_FAMILIES: tuple[Family, ...] = (4, 6)
_PLAIN = re.compile(r"[a-z][a-z0-9-]{0,23}")
_DAY_MS = 86_400_000
_PLAIN_TERMS = Terms()


# --- names ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def stem(service: str) -> str:
    """The part of a name that stands for one service: at most 24 bytes, an nft identifier.

    A plain id is used as it is. Any other is shortened and carries 48 bits of its SHA-256 behind an underscore, which no
    plain id has, so that the two kinds can not meet. With the decorations added here a name stays within 31 bytes, the
    limit of old kernels and of ipset.
    """
    if _PLAIN.fullmatch(service):
        return service
    readable = re.sub(r"[^a-z0-9]+", "-", service.lower())
    if not readable[:1].isalpha():
        readable = "s" + readable
    return f"{readable:.11}_{sha256(service.encode()).hexdigest()[:12]}"


def set_name(service: str, family: Family, prefixlen: int, *, interface: bool) -> str:
    """The member set of one shape, such as `ged4_24` or, with the interface in the key, `ged4if_24` (`ged4if_0`: it alone)."""
    return f"{stem(service)}{family}{'if' if interface else ''}_{prefixlen}"


def chain_name(service: str, family: Family, way: Literal["to", "from"]) -> str:
    """The chain of one service, such as `to4_ged` (the customer sends) or `from4_ged` (the customer receives)."""
    return f"{way}{family}_{stem(service)}"


# --- keys -------------------------------------------------------------------------------------------------------------


def key_bytes(prefix: Network, interface: str | None) -> bytes:
    """The key of one attachment as the kernel compares it: [interface name padded to 16 bytes] + network address.

    A prefix of every address has the interface alone as its key.

    Raises:
        ValueError: the interface name does not fit into 15 bytes; every address without an interface.
    """
    if interface is None:
        if prefix.prefixlen == 0:
            raise ValueError(f"{prefix} without an interface is everybody")
        return prefix.network_address.packed
    name = interface.encode()
    if not 0 < len(name) < INTERFACE_BYTES:
        raise ValueError(f"interface name {interface!r} must be 1 to 15 bytes long")
    return name.ljust(INTERFACE_BYTES, b"\0") + (prefix.network_address.packed if prefix.prefixlen else b"")


def key_length(members: MemberSet) -> int:
    """How many bytes a key of `members` has."""
    return (INTERFACE_BYTES if members.interface else 0) + address_length(members)


def address_length(members: MemberSet) -> int:
    """How many of them are the address."""
    return 0 if members.interface and members.prefixlen == 0 else {4: 4, 6: 16}[members.family]


def read_key(members: MemberSet, key: bytes) -> tuple[str | None, Network]:
    """The interface (None where the set has none) and the network that a key of `members` stands for.

    Raises:
        ValueError: the key's length or content does not fit the set.
    """
    if len(key) != key_length(members):
        raise ValueError(f"a key of set {members.name} does not have {len(key)} bytes")
    interface: str | None = None
    if members.interface:
        interface = key[:INTERFACE_BYTES].rstrip(b"\0").decode(errors="backslashreplace")
        key = key[INTERFACE_BYTES:] or EVERY_ADDRESS[members.family == 6].network_address.packed
    return interface, ip_network((key, members.prefixlen))


# --- structure --------------------------------------------------------------------------------------------------------


def structure(services: Mapping[str, Service], shapes: Iterable[Shape]) -> Structure:
    """Compile the constant part of our table. Same arguments, in any order, give the same value.

    Args:
        services: the catalogue, by id.
        shapes: the kinds of attachment in use; those of unknown or never-cut services are ignored.
    """
    shapes = frozenset(shapes)
    sets: list[MemberSet] = []
    chains: list[Chain] = []
    entries: dict[tuple[str, Family, bool], list[ServiceEntry]] = {}
    for family in _FAMILIES:
        of_family = sorted((s for s in shapes if s.family == family), key=lambda s: (s.service, -s.prefixlen, s.interface))
        for service in _with_shapes(services, of_family, family):
            mine = tuple(
                MemberSet(
                    name=set_name(service.id, family, shape.prefixlen, interface=shape.interface),
                    family=family,
                    prefixlen=shape.prefixlen,
                    interface=shape.interface,
                )
                for shape in of_family
                if shape.service == service.id
            )
            sets += mine
            for way in ("to", "from"):
                chains.append(_service_chain(service, family, way, mine))
                for ranged in (False, True):
                    entries.setdefault((way, family, ranged), []).extend(_entries(service, family, way, ranged=ranged))
    maps = tuple(
        ServiceMap(name=_map_name(way, family, ranged=ranged), family=family, ranged=ranged, entries=tuple(found))
        for (way, family, ranged), found in sorted(entries.items(), key=lambda item: (item[0][1], item[0][0] != "to", item[0][2]))
        if found
    )
    return Structure(sets=tuple(sets), maps=maps, chains=(*_base_chains(maps), *chains, *_refuse_chain(chains)))


def _map_name(way: str, family: Family, *, ranged: bool) -> str:
    return f"{way}_{'ranges' if ranged else 'hosts'}{family}"


def _with_shapes(services: Mapping[str, Service], shapes: Iterable[Shape], family: Family) -> Iterator[Service]:
    """The suspendable services that somebody of this family is connected for, ordered by id."""
    for service_id in sorted({shape.service for shape in shapes}):
        service = services.get(service_id)
        if service is not None and service.class_.suspendable and has_family(service, family):
            yield service


def has_family(service: Service, family: int) -> bool:
    """True if the service can be reached over IPv4 (4) or IPv6 (6)."""
    return any(selector.prefix.version == family for selector in service.selectors)


def _service_chain(service: Service, family: Family, way: Literal["to", "from"], sets: tuple[MemberSet, ...]) -> Chain:
    tcp = any(s.protocol is not L4.UDP and s.prefix.version == family for s in service.selectors)
    passing: tuple[Rule, ...] = ()
    if tcp:
        passing = (PassResets(),) if way == "to" else (PassAnswers(),)
    side = Side.SOURCE if way == "to" else Side.DESTINATION
    return Chain(
        name=chain_name(service.id, family, way),
        rules=(*passing, *_refusals(sets, side)),
    )


def _refusals(sets: tuple[MemberSet, ...], side: Side) -> Iterator[RefuseMembers]:
    """One rule a set; where the set has interfaces, one more for packets that a VRF took over from one of its members."""
    for members in sets:
        yield RefuseMembers(set=members.name, side=side)
        if members.interface and side is Side.SOURCE:
            yield RefuseMembers(set=members.name, side=side, member=True)


def _base_chains(maps: tuple[ServiceMap, ...]) -> Iterator[Chain]:
    """The two base chains and, per family, the chain of lookups behind each."""
    forward = {family: tuple(_lookups(maps, family)) for family in _FAMILIES}
    to_gateway = {
        family: tuple(
            LookupService(map=m.name, family=family, side=Side.DESTINATION)
            for m in maps
            if m.name == _map_name("to", family, ranged=False)
        )
        for family in _FAMILIES
    }
    hooks: tuple[tuple[Literal["forward", "input"], dict[Family, tuple[LookupService, ...]]], ...] = (
        ("forward", forward),
        ("input", to_gateway),
    )
    for hook, by_family in hooks:
        used = [family for family in _FAMILIES if by_family[family]]
        if used:
            dispatch = tuple(DispatchFamily(family=family, chain=f"{hook}{family}") for family in used)
            yield Chain(name=hook, rules=dispatch, hook=hook)
            yield from (Chain(name=f"{hook}{family}", rules=by_family[family]) for family in used)


def _lookups(maps: tuple[ServiceMap, ...], family: Family) -> Iterator[LookupService]:
    """Hosts before ranges, what customers send before what they receive."""
    present = {m.name for m in maps}
    for way, side in (("to", Side.DESTINATION), ("from", Side.SOURCE)):
        for ranged in (False, True):
            name = _map_name(way, family, ranged=ranged)
            if name in present:
                yield LookupService(map=name, family=family, side=side)


def _refuse_chain(chains: list[Chain]) -> Iterator[Chain]:
    if chains:
        yield Chain(name=REFUSE, rules=(Refuse(tcp=True), Refuse(tcp=False)))


# --- map entries ------------------------------------------------------------------------------------------------------


def listed_by_port(selector: Selector) -> bool:
    """True for a single host with few, named ports: it goes into the hash map, port by port, and also counts at `input`."""
    host = selector.prefix.prefixlen == selector.prefix.max_prefixlen
    ports = sum(high - low + 1 for low, high in selector.ports)
    return host and selector.protocol is not L4.ANY and 0 < ports <= MAX_LISTED_PORTS


def _entries(service: Service, family: Family, way: Literal["to", "from"], *, ranged: bool) -> Iterator[ServiceEntry]:
    chain = chain_name(service.id, family, way)
    selectors = [s for s in service.selectors if s.prefix.version == family and listed_by_port(s) is not ranged]
    if ranged:
        boxes = disjoint(selectors)
    else:
        boxes = {(s.prefix, s.protocol, (port, port)) for s in selectors for low, high in s.ports for port in range(low, high + 1)}
    for prefix, protocol, ports in sorted(boxes, key=box_order):
        yield ServiceEntry(prefix=prefix, protocol=protocol, ports=ports, chain=chain)


# --- members ----------------------------------------------------------------------------------------------------------


def may_suspend(service: Service, subscription: Subscription) -> bool:
    """True if neither the service nor this company's subscription to it is of a class that is never cut."""
    return service.class_.suspendable and (subscription.class_ is None or subscription.class_.suspendable)


def members(
    company: Company,
    services: Iterable[str],
    case: str,
    timeout_ms: int,
    catalogue: Mapping[str, Service],
    today: date,
    *,
    day_ends_ms: int | None = None,
    terms: Terms = _PLAIN_TERMS,
    links: Links = ANY_LINKS,
) -> tuple[Element, ...]:
    """The elements that one measure wants for one company: sorted, each once, both families.

    Args:
        company: the debtor.
        services: ids of the services to suspend.
        case: becomes the comment of each element.
        timeout_ms: what is left of the lease, in milliseconds; nothing is wanted of a lease that is over.
        catalogue: every service by id.
        today: an attachment counts from its `valid_from` to its `valid_to`, both days included.
        day_ends_ms: milliseconds until `today` ends, by the same calendar; with it, no element outlives its attachment.
        terms: how the measure takes effect; nothing is wanted of one that only gives notice (stage 1).
        links: the links that are there; nothing is wanted behind one that is not.
    """
    if terms.stage == 1:
        return ()
    wanted: dict[Key, Element] = {}
    for service_id in services:
        service, subscription = catalogue.get(service_id), company.subscription(service_id)
        if service is None or subscription is None or not may_suspend(service, subscription):
            continue
        for site, attachment in company.attachments():
            if (subscription.sites and site.id not in subscription.sites) or not _valid(attachment, today):
                continue
            left_ms = timeout_ms
            if day_ends_ms is not None and attachment.valid_to is not None:
                left_ms = min(left_ms, day_ends_ms + (attachment.valid_to - today).days * _DAY_MS)
            for key in _keys(service, attachment, links) if left_ms > 0 else ():
                before = wanted.get(key)  # two attachments of one place: the lease that ends first
                until_ms = left_ms if before is None else min(left_ms, before.timeout_ms)
                wanted[key] = Element(set=key.set, key=key.key, case=case, timeout_ms=until_ms)
    return tuple(wanted[key] for key in sorted(wanted))


def standing_keys(company: Company, catalogue: Mapping[str, Service]) -> tuple[StandingKey, ...]:
    """What `members` would want for a measure on every service, where the day has no say in it.

    Empty for a company with a dated attachment, or one behind a VRF, whose members come and go. Made once when an inventory is
    compiled: to load 100 000 measures from these takes a fraction of what it takes to read the companies.
    """
    if any(attachment.valid_from or attachment.valid_to or attachment.vrf for _, attachment in company.attachments()):
        return ()
    return tuple(
        sorted(
            (subscription.service, element.set, element.key)
            for subscription in company.subscriptions
            for element in members(company, (subscription.service,), "", 1, catalogue, date.min)
        )
    )


def candidates(company: Company, catalogue: Mapping[str, Service], links: Links = ANY_LINKS) -> tuple[Key, ...]:
    """Every key this company could have in the kernel: all that must be read to bring it to what is wanted.

    Attachments out of date, sites left out and narrowed subscriptions count too, and links that are gone: their members must go
    if they are there.

    Args:
        company: the company.
        catalogue: every service by id.
        links: the members of each VRF; whether a link is present does not matter.
    """
    every = Links(members=links.members)
    services = [catalogue[s.service] for s in company.subscriptions if s.service in catalogue]
    return tuple(
        sorted(
            {
                key
                for service in services
                if service.class_.suspendable
                for _, attachment in company.attachments()
                for key in _keys(service, attachment, every)
            }
        )
    )


def _valid(attachment: Attachment, today: date) -> bool:
    started = attachment.valid_from is None or attachment.valid_from <= today
    return started and (attachment.valid_to is None or today <= attachment.valid_to)


def places(attachment: Attachment, links: Links) -> Iterator[tuple[Network, str | None]]:
    """Every network and interface name by which packets of `attachment` are told from others'."""
    names = (None,) if attachment.link is None else links.names(attachment)
    for network in attachment.networks:
        for name in names:
            yield network, name


def _keys(service: Service, attachment: Attachment, links: Links) -> Iterator[Key]:
    for network, interface in places(attachment, links):
        family: Family = 4 if network.version == 4 else 6
        if has_family(service, family):
            name = set_name(service.id, family, network.prefixlen, interface=interface is not None)
            yield Key(set=name, key=key_bytes(network, interface))

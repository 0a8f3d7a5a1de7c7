"""Floor 1, ruleset. Stage 4, "anything but local and protected": the one path that asks for the customer first.

Rules of this module:

1. A packet of a member is let through, and counted, if it stays within the site, goes to or comes from what is never cut, or is
   essential. Only what is left then is refused.
2. Each packet that is no member's pays one look-up for each kind of attachment. So the path is only there where it is needed.
3. Pairs outlive the refusal they make an exception from: a lease that ends late may spare too much, never too little.
4. The gateway's own addresses are reached by it over services with a host and a port alone, as by every other refusal.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import TypeVar

from agent.model import ANY_LINKS, L4, Address, Attachment, Company, Ends, Family, Links, Network, Selector, Service, Site
from agent.rules import (
    CapMembers,
    Chain,
    Element,
    EnterMembers,
    Essential,
    Key,
    LookupService,
    MemberSet,
    PassAll,
    PassAnswers,
    PassEssential,
    PassMembers,
    PassPairs,
    PassResets,
    PassTranslated,
    RefuseMembers,
    Rule,
    ServiceEntry,
    ServiceMap,
    Side,
    Use,
)
from agent.ruleset.naming import FAMILIES, key_bytes, other_end, rest_name
from agent.spans import Box, box_order, disjoint, listed_by_port

T = TypeVar("T", RefuseMembers, PassMembers, PassPairs, EnterMembers, CapMembers)

#: Where what is never cut goes on the way through stage 4.
SPARE = "spare"

_PAIRS = "pair_"

#: So much longer than its refusal an exception lives, in milliseconds.
LONGER_MS = 60_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Rest:
    """What stage 4 is made from: the kinds of pair in use, and everything that is never cut."""

    ends: frozenset[Ends]
    spared: tuple[Selector, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """The part of a structure that is stage 4."""

    sets: tuple[MemberSet, ...] = ()
    maps: tuple[ServiceMap, ...] = ()
    chains: tuple[Chain, ...] = ()

    def enter(self, family: Family, side: Side) -> tuple[EnterMembers, ...]:
        """The rules that send members through it, for the end of another chain."""
        gates = (members for members in self.sets if members.use is Use.GATE and members.family == family)
        return tuple(asking(partial(EnterMembers, chain=_chain_name(family, side)), gates, side))


NO_PATH = Path()


def path(rest: Rest, *, drain: bool, tracked: bool) -> Path:
    """Compile stage 4. Same arguments, in any order, give the same value.

    Args:
        rest: what it is made from.
        drain: connections that are open may go on for a while.
        tracked: rules may ask which are open.
    """
    kinds = sorted({(family, -prefixlen, interface) for family, prefixlen, interface, _ in rest.ends})
    uses = (Use.GATE, *((Use.DRAIN,) if drain else ()), Use.REST)
    sets = [_set(use, family, -negated, interface=interface) for use in uses for family, negated, interface in kinds]
    sets += [_set(Use.PAIR, family, length, interface=named, other=other) for family, length, named, other in sorted(rest.ends)]
    maps = tuple(maps_of(rest.spared, "spare", SPARE))
    families = [family for family in FAMILIES if any(one.family == family for one in sets)]
    chains = [
        Chain(name=_chain_name(family, side), rules=tuple(_rules(family, side, sets, maps, tracked=tracked)))
        for family in families
        for side in Side
    ]
    if chains and maps:
        chains.append(Chain(name=SPARE, rules=(PassAll(),)))
    return Path(sets=tuple(sets), maps=maps if chains else (), chains=tuple(chains))


def _set(use: Use, family: Family, prefixlen: int, *, interface: bool, other: tuple[int, bool] | None = None) -> MemberSet:
    name = rest_name(use, family, prefixlen, interface=interface, other=other)
    return MemberSet(name=name, family=family, prefixlen=prefixlen, interface=interface, use=use, other=other)


def _chain_name(family: Family, side: Side) -> str:
    return f"rest{family}_{'to' if side is Side.SOURCE else 'from'}"


def asking(form: Callable[..., T], sets: Iterable[MemberSet], side: Side) -> Iterator[T]:
    """One rule a set; where the set has interfaces, one more for packets that a VRF took over from one of its members."""
    for members in sets:
        yield form(set=members.name, side=side)
        if members.interface and side is Side.SOURCE:
            yield form(set=members.name, side=side, member=True)


def _rules(family: Family, side: Side, sets: Iterable[MemberSet], maps: Iterable[ServiceMap], *, tracked: bool) -> Iterator[Rule]:
    by_use = {use: [one for one in sets if one.family == family and one.use is use] for use in Use}
    far = Side.DESTINATION if side is Side.SOURCE else Side.SOURCE
    yield PassResets() if side is Side.SOURCE else PassAnswers()
    if tracked:  # nobody knows here what the customer asked for, and by that address it may be what the software needs
        yield PassTranslated()
    yield from asking(PassPairs, by_use[Use.PAIR], side)
    for what in Essential:
        yield PassEssential(family=family, what=what, side=far)
    yield PassEssential(family=family, what=Essential.PORTS, side=side)
    for spared in maps:
        if spared.family == family:
            yield LookupService(map=spared.name, family=family, side=far, ports=spared.ports)
    yield from asking(partial(PassMembers, established=tracked), by_use[Use.DRAIN], side)
    yield from asking(RefuseMembers, by_use[Use.REST], side)


def maps_of(spared: Iterable[Selector], name: str, chain: str) -> Iterator[ServiceMap]:
    """What is let through, by host and port, by ranges, and, where every protocol counts, by address alone: on to `chain`."""
    spared = tuple(spared)
    for family in FAMILIES:
        mine = [selector for selector in spared if selector.prefix.version == family]
        hosts = {
            (one.prefix, one.protocol, (port, port))
            for one in mine
            if listed_by_port(one)
            for low, high in one.ports
            for port in range(low, high + 1)
        }
        ranges = disjoint(one for one in mine if not listed_by_port(one) and one.protocol is not L4.ANY)
        whole = disjoint(one for one in mine if one.protocol is L4.ANY)
        for word, boxes, ranged in (("hosts", hosts, False), ("ranges", ranges, True), ("any", whole, True)):
            if boxes:
                entries = _entries(boxes, chain)
                yield ServiceMap(name=f"{name}_{word}{family}", family=family, ranged=ranged, entries=entries, ports=word != "any")


def _entries(boxes: Iterable[Box], chain: str) -> tuple[ServiceEntry, ...]:
    return tuple(
        ServiceEntry(prefix=prefix, protocol=protocol, ports=ports, chain=chain)
        for prefix, protocol, ports in sorted(boxes, key=box_order)
    )


# --- members ----------------------------------------------------------------------------------------------------------

Placed = tuple[Network, str | None]


def places(attachment: Attachment, links: Links) -> Iterator[Placed]:
    """Every network and interface name by which packets of `attachment` are told from others'."""
    names = (None,) if attachment.link is None else links.names(attachment)
    for network in attachment.networks:
        for name in names:
            yield network, name


def ends_of(company: Company, catalogue: Mapping[str, Service]) -> Iterator[Ends]:
    """The kinds of pair that stage 4 would need for a company."""
    for site in company.sites:
        here = tuple(placed for attachment in site.attachments for placed in places(attachment, ANY_LINKS))
        others = spared_of(company, site, catalogue, here)
        for network, interface in here:
            family: Family = 4 if network.version == 4 else 6
            for other in others:
                if other[0].version == network.version:
                    shape, _ = other_end(*other)
                    yield family, network.prefixlen, interface is not None, shape


def spared_of(company: Company, site: Site, catalogue: Mapping[str, Service], here: Iterable[Placed]) -> tuple[Placed, ...]:
    """What one site stays connected with: itself, what its software depends on, and services that never count as cut for it.

    Args:
        company: the debtor.
        site: one of its sites.
        catalogue: every service by id.
        here: the site's own places, whether valid today or not, and whether their links are there or not.
    """
    probes = (*(one.probe for one in site.dependencies), *(one.probe for one in site.local_applications))
    hosts = ((_host(probe.address), None) for probe in probes)
    narrowed = (
        (selector.prefix, None)
        for subscription in company.subscriptions
        if subscription.class_ is not None and not subscription.class_.suspendable and subscription.service in catalogue
        for selector in catalogue[subscription.service].selectors
    )
    return tuple(dict.fromkeys((*here, *hosts, *narrowed)))


def not_kept_whole(company: Company, catalogue: Mapping[str, Service]) -> tuple[str, ...]:
    """Services that are never cut for this company and not known by their addresses alone. So nothing of stage 4 is wanted of it.

    The company's resolver may say another address than ours, a pair has the address behind NAT, and what has no address here
    could not be in a pair at all.
    """
    return tuple(
        subscription.service
        for subscription in company.subscriptions
        if subscription.class_ is not None
        and not subscription.class_.suspendable
        and subscription.service in catalogue
        and not catalogue[subscription.service].known_by_address
    )


def _host(address: Address) -> Network:
    return ip_network(address)


def elements(near: Placed, others: Iterable[Placed], *, case: str, timeout_ms: int, drain_ms: int) -> Iterator[Element]:
    """The elements of one place at stage 4.

    Args:
        near: network and interface of the place.
        others: what it stays connected with.
        case: becomes the comment.
        timeout_ms: what is left of the lease.
        drain_ms: so long open connections may go on; 0: not at all.
    """
    uses = [(Use.GATE, timeout_ms), (Use.REST, timeout_ms)]
    if drain_ms > 0:
        uses.append((Use.DRAIN, min(drain_ms, timeout_ms)))
    for use, left_ms in uses:
        key = _key(near, use)
        yield Element(set=key.set, key=key.key, case=case, timeout_ms=left_ms)
    for key in pair_keys(near, others):
        yield Element(set=key.set, key=key.key, case=case, timeout_ms=timeout_ms + LONGER_MS)


def is_exception(set_name: str) -> bool:
    """True for a set whose members are exceptions from a refusal of stage 4, and must not go before it."""
    return set_name.startswith(_PAIRS)


def keys(near: Placed, others: Iterable[Placed], *, drain: bool) -> Iterator[Key]:
    """Every key that `elements` could give for one place."""
    for use in (Use.GATE, Use.REST, *((Use.DRAIN,) if drain else ())):
        yield _key(near, use)
    yield from pair_keys(near, others)


def pair_keys(near: Placed, others: Iterable[Placed]) -> Iterator[Key]:
    """The pairs of one place."""
    network, interface = near
    family: Family = 4 if network.version == 4 else 6
    for other in others:
        if other[0].version == network.version:
            shape, behind = other_end(*other)
            name = rest_name(Use.PAIR, family, network.prefixlen, interface=interface is not None, other=shape)
            yield Key(set=name, key=key_bytes(network, interface) + behind)


def _key(near: Placed, use: Use) -> Key:
    network, interface = near
    family: Family = 4 if network.version == 4 else 6
    return Key(set=rest_name(use, family, network.prefixlen, interface=interface is not None), key=key_bytes(network, interface))

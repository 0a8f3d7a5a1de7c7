"""Floor 1. The proof that only announced traffic of suspended companies can be refused.

Rules of this room:

1. Nothing is believed because of its name. Every path from a base chain to a refusal is walked, and what is left of
   address x protocol x port at its end is what the path can refuse.
2. A refusal needs two ends: a member end (the packet's address is in a set of customers) and, opposite to it, a service
   end. The service end must lie within one announced, suspendable service, and touch neither another service, nor
   anything protected, nor any site's own network. So no packet between two addresses of customers' sites can be refused.
3. A packet that a cap drops counts as refused: what may not be refused may not be slowed down either.
4. A set belongs to the service whose traffic reaches it. Elements are checked against that, right before the kernel.
5. Rules that let packets through early are ignored, and sets that only such rules ask: they can only make less be refused.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from agent.ends import (
    ADDRESSES,
    ALL_PROTOCOLS,
    FAMILIES,
    PROTOCOLS,
    TCP,
    UDP,
    End,
    Index,
    Span,
    address_text,
    claims_of,
    common,
    contains,
    index,
    overlap,
    port_text,
    protocol_text,
    span_of,
    touching,
)
from agent.errors import ProofFailed
from agent.model import ANY_LINKS, Company, Family, Links, Network, Selector, Service, StandingKey
from agent.rules import (
    CapMembers,
    Chain,
    DispatchFamily,
    Element,
    LookupService,
    MemberSet,
    Refuse,
    RefuseMembers,
    Rule,
    ServiceEntry,
    ServiceMap,
    Side,
    Structure,
    Use,
)
from agent.ruleset import REFUSE, key_bytes, key_length, places, read_key
from agent.spans import ALL_PORTS

#: The kernel follows at most this many jumps.
MAX_DEPTH = 16

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The service whose traffic, and nobody else's, reaches a member set."""

    service: str
    members: MemberSet


@dataclass(frozen=True, kw_only=True, slots=True)
class Proven:
    """What a structure that passed the proof guarantees: who owns each member set that something is refused by, by set name.

    `passing`: the sets whose members are only let through.
    """

    owners: Mapping[str, Owner]
    passing: frozenset[str] = frozenset()


class _Box(NamedTuple):
    """Packets that reach a rule: what is still possible for each field, and the member set they were found in."""

    hook: str
    family: Family
    protocol: Span
    source: Span
    source_ports: Span
    destination: Span
    destination_ports: Span
    set: str | None
    side: Side | None

    @property
    def service_end(self) -> End:
        """The end that is not the customer's."""
        if self.side is Side.SOURCE:
            return End(self.family, self.protocol, self.destination, self.destination_ports)
        return End(self.family, self.protocol, self.source, self.source_ports)


def prove(
    structure: Structure,
    protected: Iterable[tuple[str, Selector]],
    local: Iterable[tuple[str, Network]],
    services: Mapping[str, Service],
) -> Proven:
    """Show that `structure` can refuse nothing but traffic between set members and one announced service per set.

    Args:
        structure: the compiled ruleset, as it will be loaded.
        protected: selectors that may never be hit, each with a name for messages. Services of the classes L, D, E, P, R
            in `services` are protected anyway.
        local: every site's own networks, each with the site's id; read once, so an iterator over a database will do.
        services: the catalogue that was announced, by id.

    Raises:
        ProofFailed: with one packet that could be refused and must not.
    """
    claims = index(claims_of(protected, services))
    sets = {members.name: members for members in structure.sets}
    owners: dict[str, Owner] = {}
    ends: dict[End, str] = {}
    for box in _refused(structure):
        end = box.service_end
        if box.set is None:
            raise ProofFailed(what="traffic is refused whoever sends it", witness=_packet(box, end))
        if box.hook == "input" and not _is_named_host(end):
            raise ProofFailed(
                what="at the gateway itself only single hosts with named ports may be refused", witness=_packet(box, end)
            )
        if end not in ends:
            ends[end] = _owner(box, end, claims)
        owner = owners.setdefault(box.set, Owner(service=ends[end], members=sets[box.set]))
        if owner.service != ends[end]:
            raise ProofFailed(
                what=f"set {box.set} is reached by traffic of {owner.service} and of {ends[end]}", witness=_packet(box, end)
            )
    _prove_local(ends, local)
    passing = frozenset(members.name for members in structure.sets if members.use is Use.DRAIN and members.name not in owners)
    return Proven(owners=owners, passing=passing)


def prove_members(
    elements: Sequence[Element], company: Company, services: Collection[str], proven: Proven, links: Links = ANY_LINKS
) -> None:
    """The last check before the kernel: may these elements be added for this company and its living measure?

    Args:
        elements: what is to be added, all for `company`.
        company: the debtor.
        services: ids of the services that the living measure names.
        proven: what `prove` gave for the structure that is loaded.
        links: the links that are there, as in `ruleset.members`.

    Raises:
        ProofFailed: an element is not at an attachment of the company, or its service is not in the measure, not
            subscribed to at that site, or of a class that is never cut; or it would stay for ever.
    """
    known: dict[tuple[int, int, bool, bytes], list[str]] = {}
    for site, attachment in company.attachments():
        for prefix, interface in places(attachment, links):
            place = (prefix.version, prefix.prefixlen, interface is not None, key_bytes(prefix, interface))
            known.setdefault(place, []).append(site.id)
    for element in (one for one in elements if one.set not in proven.passing or one.timeout_ms <= 0):
        owner = proven.owners.get(element.set)
        if owner is None:
            raise ProofFailed(what=f"no service owns set {element.set}", witness=f"key {element.key.hex()}")
        members, service = owner.members, owner.service
        sites = known.get((members.family, members.prefixlen, members.interface, element.key))
        subscription = company.subscription(service)
        if sites is None:
            fault = f"is no attachment of company {company.id}"
        elif service not in services:
            fault = f"would lose {service}, which the measure does not name"
        elif subscription is None or (subscription.class_ is not None and not subscription.class_.suspendable):
            fault = f"would lose {service}, which company {company.id} has in no class that may be suspended"
        elif subscription.sites and not any(site in subscription.sites for site in sites):
            fault = f"would lose {service}, which is not subscribed to for that site"
        elif element.timeout_ms <= 0:
            fault = f"would lose {service} without an end of the lease"
        else:
            continue
        raise ProofFailed(what=f"an element of {element.set} {fault}", witness=_member_text(members, element.key))


def prove_standing(elements: Iterable[StandingKey], services: Collection[str], proven: Proven) -> None:
    """The same for keys that were compiled, with their services, from this very inventory: as far as it can be seen from them.

    Args:
        elements: what is to be added for one company and its living measure.
        services: ids of the services that the living measure names.
        proven: what `prove` gave for the structure that is loaded.

    Raises:
        ProofFailed: the set belongs to another service, the service is not in the measure, or the key does not fit the set.
    """
    for service, set_name, key in elements:
        owner = proven.owners.get(set_name)
        if owner is None:
            raise ProofFailed(what=f"no service owns set {set_name}", witness=f"key {key.hex()}")
        if owner.service != service or service not in services or len(key) != key_length(owner.members):
            fault = f"was compiled for {service} and could refuse {owner.service}, of which the measure names {sorted(services)}"
            raise ProofFailed(what=f"an element of {set_name} {fault}", witness=_member_text(owner.members, key))


# --- paths ------------------------------------------------------------------------------------------------------------


class _Named(NamedTuple):
    """The parts of a structure by name."""

    chains: Mapping[str, Chain]
    maps: Mapping[str, ServiceMap]
    sets: Mapping[str, MemberSet]


def _refused(structure: Structure) -> Iterator[_Box]:
    """Every box of packets that reaches a refusal, on every path from the base chains."""
    named = _Named(
        {chain.name: chain for chain in structure.chains},
        {services.name: services for services in structure.maps},
        {members.name: members for members in structure.sets},
    )
    given = len(structure.chains), len(structure.maps) + len(structure.sets)
    if given != (len(named.chains), len({*named.maps, *named.sets})):  # sets and maps share one space of names
        raise ProofFailed(what="a name is given twice in the ruleset", witness="any packet")
    for chain in structure.chains:
        if chain.hook is not None:
            for family in FAMILIES:
                yield from _walk(named, chain.name, _everything(chain.hook, family), 0)


def _walk(named: _Named, name: str, box: _Box, depth: int) -> Iterator[_Box]:
    """What of `box` is refused by chain `name` and all it leads to."""
    if depth > MAX_DEPTH:
        raise ProofFailed(what=f"chain {name} is reached over more than {MAX_DEPTH} others", witness="any packet")
    for rule in _known(named.chains, name).rules:
        if isinstance(rule, Refuse):
            protocol = overlap(box.protocol, (TCP, TCP)) if rule.tcp else box.protocol
            if protocol is not None:
                yield box._replace(protocol=protocol)
        if isinstance(rule, CapMembers) and _known(named.sets, rule.set).family == box.family:
            yield box._replace(set=rule.set, side=rule.side)
        for chain, inner in _followed(named, rule, box):
            yield from _walk(named, chain, inner, depth + 1)


def _followed(named: _Named, rule: Rule, box: _Box) -> Iterator[tuple[str, _Box]]:
    """The chains that `rule` sends a part of `box` to."""
    match rule:
        case DispatchFamily() if rule.family == box.family:
            yield rule.chain, box
        case LookupService() if rule.family == box.family:
            for entry in _known(named.maps, rule.map).entries:
                hit = _matched(box, entry, rule.side)
                if hit is not None:
                    yield entry.chain, hit
        case RefuseMembers() if _known(named.sets, rule.set).family == box.family:
            yield REFUSE, box._replace(set=rule.set, side=rule.side)
        case _:
            pass  # another family, or a rule that lets packets through (rule 4 of this room)


def _known(things: Mapping[str, _T], name: str) -> _T:
    if name not in things:
        raise ProofFailed(what=f"the ruleset refers to {name}, which it does not have", witness="any packet")
    return things[name]


def _everything(hook: str, family: Family) -> _Box:
    every = ADDRESSES[family]
    return _Box(hook, family, ALL_PROTOCOLS, every, ALL_PORTS, every, ALL_PORTS, None, None)


def _matched(box: _Box, entry: ServiceEntry, side: Side) -> _Box | None:
    """The part of `box` whose `side` matches a map entry."""
    if entry.prefix.version != box.family:
        return None
    addresses, ports = (box.source, box.source_ports) if side is Side.SOURCE else (box.destination, box.destination_ports)
    protocol = overlap(box.protocol, PROTOCOLS[entry.protocol])
    address = overlap(addresses, span_of(entry.prefix))
    span = overlap(ports, entry.ports)
    if protocol is None or address is None or span is None:
        return None
    if side is Side.SOURCE:
        return box._replace(protocol=protocol, source=address, source_ports=span)
    return box._replace(protocol=protocol, destination=address, destination_ports=span)


# --- service ends -----------------------------------------------------------------------------------------------------


def _owner(box: _Box, end: End, claims: Mapping[Family, Index]) -> str:
    """The one service that announced all of `end`."""
    touched = list(touching(end, claims))
    protected = next((claim for claim in touched if claim.owner is None), None)
    if protected is not None:
        raise ProofFailed(
            what=f"traffic of {protected.name}, which may never be hit, could be refused",
            witness=_packet(box, common(protected.end, end)),
        )
    names = sorted({claim.name for claim in touched})
    if len(names) > 1:
        other = next(claim for claim in touched if claim.name == names[1])
        raise ProofFailed(
            what=f"services {names[0]} and {names[1]} share an address and port and can not be told apart",
            witness=_packet(box, common(other.end, end)),
        )
    around = [
        claim.end for claim in touched if contains(claim.end.address, end.address) and contains(claim.end.protocol, end.protocol)
    ]
    open_from = end.ports[0]
    for low, high in sorted(claimed.ports for claimed in around):
        if low <= open_from:
            open_from = max(open_from, high + 1)
    if open_from <= end.ports[1]:
        raise ProofFailed(
            what="traffic that no service announced could be refused",
            witness=_packet(box, end._replace(ports=(open_from, end.ports[1]))),
        )
    return names[0]


def _is_named_host(end: End) -> bool:
    one_host = end.address[0] == end.address[1]
    return one_host and end.protocol in ((TCP, TCP), (UDP, UDP)) and end.ports != ALL_PORTS


def _prove_local(ends: Mapping[End, str], local: Iterable[tuple[str, Network]]) -> None:
    """No service end may lie in a site's own network: then no packet within a site, or between sites, has one."""
    spans = {family: _united(end.address for end in ends if end.family == family) for family in FAMILIES}
    lows = {family: [low for low, _ in spans[family]] for family in FAMILIES}
    for site, network in local:
        family: Family = 4 if network.version == 4 else 6
        low, high = span_of(network)
        position = bisect_right(lows[family], high) - 1
        if position >= 0 and spans[family][position][1] >= low:
            end, service = next((e, s) for e, s in ends.items() if e.family == family and overlap(e.address, (low, high)))
            address = max(low, end.address[0])
            raise ProofFailed(
                what=f"service {service} reaches into {network}, the own network of site {site}",
                witness=f"a {protocol_text(end)} packet within the site to or from {address_text(family, address)}{port_text(end)}",
            )


def _united(spans: Iterable[Span]) -> list[Span]:
    """The same numbers as ordered spans that do not overlap."""
    united: list[Span] = []
    for low, high in sorted(spans):
        if united and low <= united[-1][1]:
            united[-1] = (united[-1][0], max(high, united[-1][1]))
        else:
            united.append((low, high))
    return united


# --- words ------------------------------------------------------------------------------------------------------------


def _packet(box: _Box, end: End | None) -> str:
    """One packet of `box` whose service end is in `end`, in words."""
    end = end or box.service_end
    who = f"a member of {box.set}" if box.set else "anybody"
    towards = "from" if box.side is Side.DESTINATION else "to"
    where = address_text(end.family, end.address[0])
    return f"at {box.hook}, a {protocol_text(end)} packet of {who} {towards} {where}{port_text(end)}"


def _member_text(members: MemberSet, key: bytes) -> str:
    try:
        interface, network = read_key(members, key)
    except ValueError:
        return f"key {key.hex()}"
    return f"{network} on {interface}" if interface else str(network)

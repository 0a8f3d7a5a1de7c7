"""Floor 1. The proof that only announced traffic of suspended companies can be refused.

Rules of this room:

1. Nothing is believed because of its name. Every path from a base chain to a refusal is walked, and what is left of
   address x protocol x port at its end is what the path can refuse.
2. A refusal needs two ends: a member end (the packet's address is in a set of customers) and, opposite to it, a service
   end. The service end must lie within one announced, suspendable service, and touch neither another service, nor
   anything protected, nor any site's own network. So no packet between two addresses of customers' sites can be refused.
3. A packet that a cap drops counts as refused: what may not be refused may not be slowed down either.
4. At stage 4 a refusal has a member end alone. Then everything protected and essential, and every pair, must have been let
   through before on that path; and a member comes with every pair of its site, or not at all.
5. A set belongs to the service whose traffic reaches it. Elements are checked against that, right before the kernel.
6. What a client asked for, where the gateway leads it elsewhere, is an end of its own: a packet that is refused by it may go
   nowhere that is protected, nor to another service or a site.
7. Other rules that let packets through early are ignored, and sets that only such rules ask: they can only make less be refused.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agent.ends import (
    FAMILIES,
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
from agent.proof.paths import Box, packet_text, refused
from agent.proof.rest import Leftover, Leftovers, prove_rest
from agent.proof.translated import Clients
from agent.rules import (
    Element,
    MemberSet,
    Structure,
    Use,
)
from agent.ruleset import key_bytes, key_length, places, read_key, split_key
from agent.spans import ALL_PORTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The service whose traffic, and nobody else's, reaches a member set."""

    service: str
    members: MemberSet


@dataclass(frozen=True, kw_only=True, slots=True)
class Proven:
    """What a structure that passed the proof guarantees: who owns each member set that something is refused by, by set name.

    `passing`: the sets whose members are only let through, or only looked at further. `leftovers`: the sets of stage 4, which no
    service owns. `catalogue`: the services it was proven for. `apart`: the service ends that lie in no site's own network.
    """

    owners: Mapping[str, Owner]
    passing: frozenset[str] = frozenset()
    leftovers: Mapping[str, Leftover] = field(default_factory=dict)
    catalogue: Mapping[str, Service] = field(default_factory=dict)
    apart: frozenset[End] = frozenset()


def prove(
    structure: Structure,
    protected: Iterable[tuple[str, Selector]],
    local: Iterable[tuple[str, Network]],
    services: Mapping[str, Service],
    kept: Iterable[Selector] | None = None,
    *,
    before: Proven | None = None,
) -> Proven:
    """Show that `structure` can refuse nothing but traffic between set members and one announced service per set.

    Args:
        structure: the compiled ruleset, as it will be loaded.
        protected: selectors that may never be hit, each with a name for messages. Services of the classes L, D, E, P, R
            in `services` are protected anyway.
        local: every site's own networks, each with the site's id; read once, so an iterator over a database will do.
        services: the catalogue that was announced, by id.
        kept: where packets are led that are never refused by what their client asked for; None: this gateway translates nothing
            that is known of, and the address a client asked for is the packet's own.
        before: what was proven of another structure against the same `local`, which is not read again for what it showed.

    Raises:
        ProofFailed: with one packet that could be refused and must not.
    """
    protected = list(protected)
    claims = index(claims_of(protected, services))
    clients = Clients(structure, services, protected, kept)
    sets = {members.name: members for members in structure.sets}
    owners: dict[str, Owner] = {}
    ends: dict[End, str] = {}
    leftovers = Leftovers(structure, claims)
    for box in refused(structure):
        end = box.service_end if box.asked is None else clients.look(box)
        if box.set is None:
            raise ProofFailed(what="traffic is refused whoever sends it", witness=packet_text(box, end))
        if box.hook == "input" and not _is_named_host(end):
            raise ProofFailed(
                what="at the gateway itself only single hosts with named ports may be refused", witness=packet_text(box, end)
            )
        if sets[box.set].use is Use.REST:
            leftovers.look(box)
            continue
        if end not in ends:
            ends[end] = _owner(box, end, claims)
        if box.asked is not None:
            clients.owner(box, end, ends[end])
        _prove_dedicated(box, end, services[ends[end]], sets[box.set])
        owner = owners.setdefault(box.set, Owner(service=ends[end], members=sets[box.set]))
        if owner.service != ends[end]:
            raise ProofFailed(
                what=f"set {box.set} is reached by traffic of {owner.service} and of {ends[end]}", witness=packet_text(box, end)
            )
    if before is None or clients.asked or not before.apart >= ends.keys():
        _prove_local(ends, local, clients)
    harmless = (Use.DRAIN, Use.GATE, Use.PAIR)
    passing = frozenset(one.name for one in structure.sets if one.use in harmless and one.name not in owners)
    return Proven(owners=owners, passing=passing, leftovers=leftovers.found, catalogue=services, apart=frozenset(ends))


def prove_members(
    elements: Sequence[Element],
    company: Company,
    services: Collection[str],
    proven: Proven,
    links: Links = ANY_LINKS,
    *,
    remote: Collection[str] = (),
) -> None:
    """The last check before the kernel: may these elements be added for this company and its living measure?

    Args:
        elements: what is to be added, all for `company`.
        company: the debtor.
        services: ids of the services that the living measure names.
        proven: what `prove` gave for the structure that is loaded.
        links: the links that are there, as in `ruleset.members`.
        remote: those among `services` that measures on everything remote name.

    Raises:
        ProofFailed: an element is not at an attachment of the company, or its service is not in the measure, not
            subscribed to at that site, or of a class that is never cut; or it would stay for ever.
    """
    prove_rest(elements, company, remote, proven.catalogue, proven.leftovers, links)
    known: dict[tuple[int, int, bool, bytes], list[str]] = {}
    for site, attachment in company.attachments():
        for prefix, interface in places(attachment, links):
            place = (prefix.version, prefix.prefixlen, interface is not None, key_bytes(prefix, interface))
            known.setdefault(place, []).append(site.id)
    for element in _refusing(elements, proven):
        owner = proven.owners.get(element.set)
        if owner is None:
            raise ProofFailed(what=f"no service owns set {element.set}", witness=f"key {element.key.hex()}")
        members, service = owner.members, owner.service
        near, far = split_key(members, element.key)
        sites = known.get((members.family, members.prefixlen, members.interface, near))
        fault = ""
        if sites is None:
            fault = f"is no attachment of company {company.id}"
        elif service not in services:
            fault = f"would lose {service}, which the measure does not name"
        elif element.timeout_ms <= 0:
            fault = f"would lose {service} without an end of the lease"
        elif why := _not_subscribed(company, service, sites, members, far):
            fault = f"would lose {service}{why}"
        if fault:
            raise ProofFailed(what=f"an element of {element.set} {fault}", witness=_member_text(members, element.key))


def _not_subscribed(company: Company, service: str, sites: Collection[str], members: MemberSet, far: bytes) -> str:
    """Why the company does not have the service there, in a class that may be suspended; "" if it has. `far`: of a key."""
    subscription = company.subscription(service)
    if subscription is None or (subscription.class_ is not None and not subscription.class_.suspendable):
        return f", which company {company.id} has in no class that may be suspended"
    if subscription.sites and not any(site in subscription.sites for site in sites):
        return ", which is not subscribed to for that site"
    own = {(one.version, (one.prefixlen, False), one.network_address.packed) for one in subscription.addresses}
    if members.other is not None and (members.family, members.other, far) not in own:
        return f" at addresses that are not dedicated to company {company.id}"
    return ""


def _refusing(elements: Iterable[Element], proven: Proven) -> Iterator[Element]:
    """Those that services refuse by; the others were proven, or let through. None may stay for ever."""
    for element in elements:
        harmless = element.set in proven.passing and element.timeout_ms > 0
        if not harmless and element.set not in proven.leftovers:
            yield element


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


# --- service ends -----------------------------------------------------------------------------------------------------


def _owner(box: Box, end: End, claims: Mapping[Family, Index]) -> str:
    """The one service that announced all of `end`."""
    touched = list(touching(end, claims))
    protected = next((claim for claim in touched if claim.owner is None), None)
    if protected is not None:
        raise ProofFailed(
            what=f"traffic of {protected.name}, which may never be hit, could be refused",
            witness=packet_text(box, common(protected.end, end)),
        )
    names = sorted({claim.name for claim in touched})
    if len(names) > 1:
        other = next(claim for claim in touched if claim.name == names[1])
        raise ProofFailed(
            what=f"services {names[0]} and {names[1]} share an address and port and can not be told apart",
            witness=packet_text(box, common(other.end, end)),
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
            witness=packet_text(box, end._replace(ports=(open_from, end.ports[1]))),
        )
    return names[0]


def _prove_dedicated(box: Box, end: End, service: Service, members: MemberSet) -> None:
    """A member loses its own part of a dedicated service, so that part must be in the key: the others' must stay on."""
    if service.dedicated and members.other is None:
        raise ProofFailed(
            what=f"set {members.name} asks for no address of the dedicated service {service.id}", witness=packet_text(box, end)
        )


def _is_named_host(end: End) -> bool:
    one_host = end.address[0] == end.address[1]
    return one_host and end.protocol in ((TCP, TCP), (UDP, UDP)) and end.ports != ALL_PORTS


def _prove_local(ends: Mapping[End, str], local: Iterable[tuple[str, Network]], clients: Clients) -> None:
    """No service end may lie in a site's own network: then no packet within a site, or between sites, has one."""
    spans = {family: _united(end.address for end in ends if end.family == family) for family in FAMILIES}
    lows = {family: [low for low, _ in spans[family]] for family in FAMILIES}
    for site, network in local:
        clients.prove_local(site, network)
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


def _member_text(members: MemberSet, key: bytes) -> str:
    try:
        interface, network = read_key(members, key)
    except ValueError:
        return f"key {key.hex()}"
    return f"{network} on {interface}" if interface else str(network)

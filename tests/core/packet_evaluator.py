"""One packet through a compiled ruleset, rule by rule, as the kernel would take it; and the answer a person would give.

`walk` knows chains, rules, maps and members and nothing of companies. `owed` knows companies, services and measures and
nothing of rulesets. Neither uses code of `agent.ruleset` or `agent.proof`, so that a fault there can not hide in here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Literal

from agent.model import L4, Address, Attachment, Company, Selector, Service, ServiceClass, Site, Subscription, Terms
from agent.rules import (
    AskedFor,
    Asking,
    Bounds,
    CapMembers,
    DispatchFamily,
    EnterMembers,
    EnterTranslated,
    Essential,
    LookupService,
    MemberSet,
    PassAll,
    PassAnswers,
    PassEssential,
    PassMembers,
    PassPairs,
    PassResets,
    PassTranslated,
    Refuse,
    RefuseMembers,
    ServiceEntry,
    Side,
    Structure,
)

FIN, SYN, RST, ACK = 1, 2, 4, 16
TCP, UDP = 6, 17
NEVER_CUT = {ServiceClass.LOCAL, ServiceClass.DEPENDENCY, ServiceClass.EMERGENCY, ServiceClass.PAY, ServiceClass.RECOVERY}

#: "capped": within the rate or dropped, whichever the member's bucket says.
Verdict = Literal["accept", "reset", "prohibited", "capped"]
Members = Mapping[str, Collection[bytes]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Packet:
    """`source_port` and `destination_port` are the first four bytes behind the IP header, whatever the protocol.

    `asked`: whom the client asked for, where the gateway leads the connection elsewhere. `answer`: it is not the client that sends.
    `member_in`: the member of the VRF `interface_in` by which the packet came in; "" where that is no VRF.
    """

    hook: Literal["forward", "input"] = "forward"
    source: Address
    destination: Address
    protocol: int = TCP
    source_port: int = 40_000
    destination_port: int = 443
    flags: int = ACK
    established: bool = False
    interface_in: str = "eth8"
    interface_out: str = "eth9"
    member_in: str = ""
    asked: tuple[Address, int] | None = None
    answer: bool = False


def walk(structure: Structure, members: Members, packet: Packet) -> Verdict:
    """The verdict of our table alone."""
    chains = {chain.name: chain for chain in structure.chains}
    maps = {services.name: services for services in structure.maps}
    sets = {members.name: members for members in structure.sets}
    family = packet.source.version

    def run(name: str) -> Verdict | None:
        """The verdict of a chain; None where it ends, or says to go back, without one."""
        for rule in chains[name].rules:
            match rule:
                case DispatchFamily() | AskedFor():
                    if _goes_on(rule, packet):
                        return run(rule.chain)
                case LookupService():
                    hit = next((e for e in maps[rule.map].entries if _entry_hit(e, packet, rule.side)), None)
                    if rule.family == family and hit is not None and _within(rule.bounds, packet, rule.side):
                        return run(hit.chain)
                case PassResets() | PassAnswers():
                    first = packet.flags & RST if isinstance(rule, PassResets) else packet.flags & (FIN | SYN | RST | ACK) != SYN
                    if packet.protocol == TCP and first:
                        return None
                case Refuse():
                    if packet.protocol == TCP or not rule.tcp:
                        return "reset" if rule.tcp else "prohibited"
                case PassAll() | PassTranslated():
                    if isinstance(rule, PassAll) or packet.asked is not None:
                        return "accept"
                case PassEssential():
                    if rule.family == family and _essential(packet, rule.what, rule.side):
                        return "accept"
                case _:
                    found = asked(rule)
                    if found is not None:
                        return found
        return None

    def asked(rule: Asking | EnterTranslated) -> Verdict | None:
        if isinstance(rule, EnterTranslated):
            return run(rule.chain) if rule.family == family and packet.asked is not None else None
        wanted = sets[rule.set]
        if wanted.family != family or _member_key(packet, rule, wanted) not in members.get(rule.set, ()):
            return None
        match rule:
            case RefuseMembers():
                return run("refuse")
            case CapMembers():
                return "capped"
            case EnterMembers():
                return run(rule.chain)
            case PassMembers():
                return "accept" if packet.established or not rule.established else None
            case PassPairs():
                return "accept"

    return next((run(chain.name) or "accept" for chain in structure.chains if chain.hook == packet.hook), "accept")


def _essential(packet: Packet, what: Essential, side: Side) -> bool:
    """The numbers are those of the IANA registries, written here once more."""
    v4 = packet.source.version == 4
    port = packet.source_port if side is Side.SOURCE else packet.destination_port
    match what:
        case Essential.ICMP:
            types = {3, 11, 12} if v4 else {1, 2, 3, 4, *range(130, 138), 143}
            return packet.protocol == (1 if v4 else 58) and packet.source_port >> 8 in types
        case Essential.PROTOCOLS:
            return packet.protocol in {2, 88, 89, 103, 112}
        case Essential.PORTS:
            udp = {67, 68, 520} if v4 else {546, 547, 521}
            return (packet.protocol == UDP and port in {*udp, 3784, 3785, 4784}) or (packet.protocol == TCP and port == 179)
        case Essential.FRAGMENTS:
            return False  # every packet here shows its ports


def _entry_hit(entry: ServiceEntry, packet: Packet, side: Side) -> bool:
    at_source = side is Side.SOURCE
    address = packet.source if at_source else packet.destination
    port = packet.source_port if at_source else packet.destination_port
    protocol = {L4.TCP: packet.protocol == TCP, L4.UDP: packet.protocol == UDP, L4.ANY: True}[entry.protocol]
    return protocol and address in entry.prefix and entry.ports[0] <= port <= entry.ports[1]


def _goes_on(rule: DispatchFamily | AskedFor, packet: Packet) -> bool:
    if isinstance(rule, DispatchFamily):
        return rule.family == packet.source.version
    if packet.asked is None or rule.answers is not packet.answer:
        return False
    address, port = packet.asked
    protocol = {L4.TCP: packet.protocol == TCP, L4.UDP: packet.protocol == UDP, L4.ANY: True}[rule.protocol]
    return protocol and address in rule.prefix and rule.ports[0] <= port <= rule.ports[1]


def _within(bounds: Bounds | None, packet: Packet, side: Side) -> bool:
    address, port = (packet.source, packet.source_port) if side is Side.SOURCE else (packet.destination, packet.destination_port)
    return bounds is None or (address in bounds.prefix and bounds.ports[0] <= port <= bounds.ports[1])


def _member_key(packet: Packet, rule: Asking, wanted: MemberSet) -> bytes:
    at_source = rule.side is Side.SOURCE
    ends = [(packet.source, packet.interface_in), (packet.destination, packet.interface_out)]
    near, far = ends if at_source else reversed(ends)
    name = packet.member_in if rule.member else near[1]
    key = _end_key(near[0], name, wanted.prefixlen, interface=wanted.interface)
    return key if wanted.other is None else key + _end_key(*far, wanted.other[0], interface=wanted.other[1])


def _end_key(address: Address, name: str, prefixlen: int, *, interface: bool) -> bytes:
    size = address.max_prefixlen
    keep = size - min(prefixlen, size)
    masked = int(address) >> keep << keep
    head = name.encode() + bytes(16 - len(name)) if interface else b""
    return head + (masked.to_bytes(size // 8, "big") if prefixlen else b"")


def owed(
    packet: Packet,
    companies: Iterable[Company],
    measures: Mapping[str, Collection[str]],
    catalogue: Mapping[str, Service],
    today: date,
    vrfs: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> bool:
    """Whether the packet is one that a living measure announced: straight from the words of the measure.

    `measures`: the suspended service ids by company id. `vrfs`: the members of each VRF.
    """
    return any(
        _is_between(packet, company, service_id, catalogue, today, vrfs)
        for company in companies
        for service_id in measures.get(company.id, ())
    )


def fate(
    packet: Packet,
    companies: Iterable[Company],
    measures: Mapping[str, tuple[Collection[str], Terms]],
    catalogue: Mapping[str, Service],
    today: date,
    *,
    tracked: bool,
    vrfs: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Literal["accept", "refused", "capped"]:
    """What a packet has to expect where measures have terms: services and terms by company id.

    `tracked`: the gateway knows which connections are open; otherwise everything is let through while they drain.
    """
    met: set[str] = set()
    for company in companies:
        services, terms = measures.get(company.id, ((), Terms(stage=1)))
        caps = terms.stage == 2 and terms.kbit > 0
        for service_id in services:
            draining = terms.drain_ms > 0 and (packet.established or not tracked)
            spared = terms.stage == 1 or (draining and not caps)
            if not spared and _is_between(packet, company, service_id, catalogue, today, vrfs, answers=caps):
                met.add("capped" if caps else "refused")
    return "capped" if "capped" in met else "refused" if met else "accept"


def _is_between(
    packet: Packet,
    company: Company,
    service_id: str,
    catalogue: Mapping[str, Service],
    today: date,
    vrfs: Mapping[str, Collection[str]],
    *,
    answers: bool = False,
) -> bool:
    """The packet goes from the company to that service, or comes back, and the company may lose the service there.

    `answers`: what the service answers over TCP counts too (for a cap).
    """
    service = catalogue.get(service_id)
    subscription = next((s for s in company.subscriptions if s.service == service_id), None)
    if service is None or subscription is None or service.class_ in NEVER_CUT or subscription.class_ in NEVER_CUT:
        return False
    for site in company.sites:
        for place in site.attachments:
            if subscription.sites and site.id not in subscription.sites:
                continue
            if (place.valid_from and today < place.valid_from) or (place.valid_to and today > place.valid_to):
                continue
            comes = place.link in (None, packet.interface_in, packet.member_in)
            goes = place.link in (None, packet.interface_out) or packet.interface_out in vrfs.get(place.link, ())
            sends = comes and (place.prefix is None or packet.source in place.prefix)
            receives = goes and (place.prefix is None or packet.destination in place.prefix)
            tcp = packet.protocol == TCP
            if sends and not (tcp and packet.flags & RST):
                for selector in service.selectors:
                    counts = has(service, subscription, packet.destination) and (packet.hook == "forward" or names_a_host(selector))
                    if counts and selects(selector, packet.destination, packet.protocol, packet.destination_port):
                        return True
            opens = answers or not tcp or packet.flags & (FIN | SYN | RST | ACK) == SYN
            if receives and opens and packet.hook == "forward":
                for selector in service.selectors:
                    mine = has(service, subscription, packet.source)
                    if mine and selects(selector, packet.source, packet.protocol, packet.source_port):
                        return True
    return False


def left_over(
    packet: Packet,
    companies: Iterable[Company],
    measures: Mapping[str, tuple[Collection[str], Terms]],
    catalogue: Mapping[str, Service],
    today: date,
    vrfs: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> bool:
    """Whether a packet through the gateway is refused because somebody is at stage 4, and nothing speaks for it.

    What is announced besides is told by `fate`.
    """
    companies = [one for one in companies if measures.get(one.id, ((), Terms()))[1].stage == 4]
    tcp = packet.protocol == TCP
    for sends in (True, False):
        passes = packet.flags & RST if sends else packet.flags & (FIN | SYN | RST | ACK) != SYN
        sites = [
            (company, site)
            for company in companies
            for site in company.sites
            if any(
                _at(packet, place, vrfs, sends=sends)
                for place in _reached(company, site, measures[company.id][0], catalogue, today)
            )
        ]
        if sites and not (tcp and passes):
            return not any(_kept(packet, company, site, catalogue, vrfs, sends=sends) for company, site in sites)
    return False


def _reached(
    company: Company, site: Site, services: Collection[str], catalogue: Mapping[str, Service], today: date
) -> list[Attachment]:
    """The places of a site at which one of these services is delivered today and may be withheld."""
    delivered = any(
        one.service in services
        and one.service in catalogue
        and not {one.class_, catalogue[one.service].class_} & NEVER_CUT
        and (not one.sites or site.id in one.sites)
        for one in company.subscriptions
    )
    valid = [p for p in site.attachments if (p.valid_from or today) <= today <= (p.valid_to or today)]
    return valid if delivered else []


def _at(packet: Packet, place: Attachment, vrfs: Mapping[str, Collection[str]], *, sends: bool) -> bool:
    """The packet comes from that place, or goes to it."""
    address = packet.source if sends else packet.destination
    if sends:
        there = place.link in (None, packet.interface_in, packet.member_in)
    else:
        there = place.link in (None, packet.interface_out) or packet.interface_out in vrfs.get(place.link, ())
    return there and (place.prefix is None or address in place.prefix)


def _kept(
    packet: Packet,
    company: Company,
    site: Site,
    catalogue: Mapping[str, Service],
    vrfs: Mapping[str, Collection[str]],
    *,
    sends: bool,
) -> bool:
    """Why a packet of a site at stage 4 is let through all the same."""
    address, port = (packet.destination, packet.destination_port) if sends else (packet.source, packet.source_port)
    link = packet.interface_out if sends else packet.interface_in
    within = any(
        address in place.prefix if place.prefix is not None else link == place.link or link in vrfs.get(place.link, ())
        for place in site.attachments
    )
    needed = any(address == one.probe.address for one in (*site.dependencies, *site.local_applications))
    narrowed = any(
        address in selector.prefix
        for one in company.subscriptions
        if one.class_ in NEVER_CUT and one.service in catalogue
        for selector in catalogue[one.service].selectors
    )
    protected = any(
        selects(selector, address, packet.protocol, port)
        for service in catalogue.values()
        if service.class_ in NEVER_CUT
        for selector in service.selectors
    )
    essential = any(_essential(packet, what, side) for what in Essential for side in Side)
    return within or needed or narrowed or protected or essential


def has(service: Service, subscription: Subscription, address: Address) -> bool:
    """Whether an address of a service is one that this company has: all are, unless it is dedicated."""
    return not service.dedicated or any(address in own for own in subscription.addresses)


def names_a_host(selector: Selector) -> bool:
    """One host, TCP or UDP, at most sixteen ports: what may be refused at the gateway's own addresses."""
    ports = {port for low, high in selector.ports for port in (low, high) if high - low < 16}
    count = sum(high - low + 1 for low, high in selector.ports)
    return selector.prefix.num_addresses == 1 and selector.protocol != L4.ANY and bool(ports) and count <= 16


def selects(selector: Selector, address: Address, protocol: int, port: int) -> bool:
    """Whether one end of a packet is what `selector` describes."""
    if address not in selector.prefix:
        return False
    if selector.protocol is L4.ANY:
        return True
    wanted = TCP if selector.protocol is L4.TCP else UDP
    return protocol == wanted and (not selector.ports or any(low <= port <= high for low, high in selector.ports))

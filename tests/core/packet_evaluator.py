"""One packet through a compiled ruleset, rule by rule, as the kernel would take it; and the answer a person would give.

`walk` knows chains, rules, maps and members and nothing of companies. `owed` knows companies, services and measures and
nothing of rulesets. Neither uses code of `agent.ruleset` or `agent.proof`, so that a fault there can not hide in here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Literal

from agent.model import L4, Address, Company, Selector, Service, ServiceClass, Terms
from agent.rules import (
    CapMembers,
    DispatchFamily,
    LookupService,
    PassAnswers,
    PassMembers,
    PassResets,
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


def walk(structure: Structure, members: Members, packet: Packet) -> Verdict:
    """The verdict of our table alone."""
    chains = {chain.name: chain for chain in structure.chains}
    maps = {services.name: services for services in structure.maps}
    sets = {members.name: members for members in structure.sets}
    family = packet.source.version

    def run(name: str) -> Verdict:
        for rule in chains[name].rules:
            match rule:
                case DispatchFamily():
                    if rule.family == family:
                        return run(rule.chain)
                case LookupService():
                    if rule.family == family:
                        hit = next((e for e in maps[rule.map].entries if _entry_hit(e, packet, rule.side)), None)
                        if hit is not None:
                            return run(hit.chain)
                case PassResets():
                    if packet.protocol == TCP and packet.flags & RST:
                        return "accept"
                case PassAnswers():
                    if packet.protocol == TCP and packet.flags & (FIN | SYN | RST | ACK) != SYN:
                        return "accept"
                case RefuseMembers() | CapMembers() | PassMembers():
                    wanted = sets[rule.set]
                    key = _member_key(packet, rule, wanted.prefixlen, interface=wanted.interface)
                    open_enough = packet.established or not getattr(rule, "established", False)
                    if open_enough and wanted.family == family and key in members.get(rule.set, ()):
                        return {RefuseMembers: lambda: run("refuse"), CapMembers: lambda: "capped"}.get(
                            type(rule), lambda: "accept"
                        )()
                case Refuse(tcp=True):
                    if packet.protocol == TCP:
                        return "reset"
                case Refuse():
                    return "prohibited"
        return "accept"  # every way here was a goto, so the end of a chain is the base chain's policy

    return next((run(chain.name) for chain in structure.chains if chain.hook == packet.hook), "accept")


def _entry_hit(entry: ServiceEntry, packet: Packet, side: Side) -> bool:
    at_source = side is Side.SOURCE
    address = packet.source if at_source else packet.destination
    port = packet.source_port if at_source else packet.destination_port
    protocol = {L4.TCP: packet.protocol == TCP, L4.UDP: packet.protocol == UDP, L4.ANY: True}[entry.protocol]
    return protocol and address in entry.prefix and entry.ports[0] <= port <= entry.ports[1]


def _member_key(packet: Packet, rule: RefuseMembers | CapMembers | PassMembers, prefixlen: int, *, interface: bool) -> bytes:
    at_source = rule.side is Side.SOURCE
    address, name = (packet.source, packet.interface_in) if at_source else (packet.destination, packet.interface_out)
    name = packet.member_in if rule.member else name
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
                    counts = packet.hook == "forward" or names_a_host(selector)
                    if counts and selects(selector, packet.destination, packet.protocol, packet.destination_port):
                        return True
            opens = answers or not tcp or packet.flags & (FIN | SYN | RST | ACK) == SYN
            if receives and opens and packet.hook == "forward":
                for selector in service.selectors:
                    if selects(selector, packet.source, packet.protocol, packet.source_port):
                        return True
    return False


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

"""Floor 1, proof. Every path from a base chain to a refusal, and what is left of address x protocol x port at its end."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

from agent.ends import (
    ADDRESSES,
    ALL_PROTOCOLS,
    FAMILIES,
    PROTOCOLS,
    TCP,
    End,
    Span,
    address_text,
    overlap,
    port_text,
    protocol_text,
    span_of,
)
from agent.errors import ProofFailed
from agent.model import Family, Network, Ports
from agent.rules import (
    AskedFor,
    CapMembers,
    Chain,
    DispatchFamily,
    EnterMembers,
    EnterTranslated,
    LookupService,
    MemberSet,
    PassAll,
    PassEssential,
    PassPairs,
    Refuse,
    RefuseMembers,
    Rule,
    ServiceMap,
    Side,
    Structure,
)
from agent.ruleset import REFUSE
from agent.spans import ALL_PORTS

#: The kernel follows at most this many jumps.
MAX_DEPTH = 16

T = TypeVar("T")


class Box(NamedTuple):
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
    #: Rules before, on this path, that let packets through.
    passed: tuple[Rule, ...] = ()
    #: What their clients asked for, and whether these are answers to them; None: it does not matter on this path.
    asked: tuple[End, bool] | None = None

    @property
    def service_end(self) -> End:
        """The end that is not the customer's."""
        if self.side is Side.SOURCE:
            return End(self.family, self.protocol, self.destination, self.destination_ports)
        return End(self.family, self.protocol, self.source, self.source_ports)


class Named(NamedTuple):
    """The parts of a structure by name."""

    chains: Mapping[str, Chain]
    maps: Mapping[str, ServiceMap]
    sets: Mapping[str, MemberSet]


def refused(structure: Structure) -> Iterator[Box]:
    """Every box of packets that reaches a refusal or a cap, on every path from the base chains."""
    named = names_of(structure)
    for chain in structure.chains:
        if chain.hook is not None:
            for family in FAMILIES:
                yield from _walk(named, chain.name, _everything(chain.hook, family), 0)


def _walk(named: Named, name: str, box: Box, depth: int) -> Iterator[Box]:
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
        if isinstance(rule, PassPairs | PassEssential) or spares(named, rule):
            box = box._replace(passed=(*box.passed, rule))
            continue
        for chain, inner in _followed(named, rule, box):
            yield from _walk(named, chain, inner, depth + 1)


def _followed(named: Named, rule: Rule, box: Box) -> Iterator[tuple[str, Box]]:
    """The chains that `rule` sends a part of `box` to."""
    match rule:
        case DispatchFamily() if rule.family == box.family:
            yield rule.chain, box
        case LookupService() if rule.family == box.family:
            inside = box if rule.bounds is None else _cut(box, rule.bounds.prefix, ALL_PROTOCOLS, rule.bounds.ports, rule.side)
            for entry in _known(named.maps, rule.map).entries:
                hit = inside and _cut(inside, entry.prefix, PROTOCOLS[entry.protocol], entry.ports, rule.side)
                if hit is not None:
                    yield entry.chain, hit
        case EnterTranslated() if rule.family == box.family:
            yield rule.chain, box
        case AskedFor() if rule.prefix.version == box.family:
            protocol = overlap(box.protocol, PROTOCOLS[rule.protocol])
            if protocol is not None:
                asked = End(box.family, protocol, span_of(rule.prefix), rule.ports)
                yield rule.chain, box._replace(protocol=protocol, asked=(asked, rule.answers))
        case EnterMembers() if _known(named.sets, rule.set).family == box.family:
            yield rule.chain, box  # whoever they are: it is the set at the refusal that counts
        case RefuseMembers() if _known(named.sets, rule.set).family == box.family:
            yield REFUSE, box._replace(set=rule.set, side=rule.side)
        case _:
            pass  # another family, or a rule that lets packets through (rule 4 of this room)


def spares(named: Named, rule: Rule) -> bool:
    """True for a look-up, of every packet, in a map all of whose entries let packets through at once."""
    if not isinstance(rule, LookupService) or rule.bounds is not None:
        return False
    return all(_known(named.chains, entry.chain).rules[:1] == (PassAll(),) for entry in _known(named.maps, rule.map).entries)


def names_of(structure: Structure) -> Named:
    """The parts of a structure by name.

    Raises:
        ProofFailed: a name is given twice.
    """
    named = Named(
        {chain.name: chain for chain in structure.chains},
        {services.name: services for services in structure.maps},
        {members.name: members for members in structure.sets},
    )
    given = len(structure.chains), len(structure.maps) + len(structure.sets)
    if given != (len(named.chains), len({*named.maps, *named.sets})):  # sets and maps share one space of names
        raise ProofFailed(what="a name is given twice in the ruleset", witness="any packet")
    return named


def _known(things: Mapping[str, T], name: str) -> T:
    if name not in things:
        raise ProofFailed(what=f"the ruleset refers to {name}, which it does not have", witness="any packet")
    return things[name]


def _everything(hook: str, family: Family) -> Box:
    every = ADDRESSES[family]
    return Box(hook, family, ALL_PROTOCOLS, every, ALL_PORTS, every, ALL_PORTS, None, None)


def _cut(box: Box, prefix: Network, protocols: Span, ports: Ports, side: Side) -> Box | None:
    """The part of `box` whose `side` is in `prefix` and has one of `ports`, and whose protocol is one of `protocols`."""
    if prefix.version != box.family:
        return None
    addresses, had = (box.source, box.source_ports) if side is Side.SOURCE else (box.destination, box.destination_ports)
    protocol = overlap(box.protocol, protocols)
    address = overlap(addresses, span_of(prefix))
    span = overlap(had, ports)
    if protocol is None or address is None or span is None:
        return None
    if side is Side.SOURCE:
        return box._replace(protocol=protocol, source=address, source_ports=span)
    return box._replace(protocol=protocol, destination=address, destination_ports=span)


def packet_text(box: Box, end: End | None) -> str:
    """One packet of `box` whose service end is in `end`, in words."""
    end = end or box.service_end
    who = f"a member of {box.set}" if box.set else "anybody"
    towards = "from" if box.side is Side.DESTINATION else "to"
    where = address_text(end.family, end.address[0])
    return f"at {box.hook}, a {protocol_text(end)} packet of {who} {towards} {where}{port_text(end)}"

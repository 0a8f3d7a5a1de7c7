"""Floor 1. Connections that the gateway tracks: which of them the ruleset would refuse, could it see their packets.

A flow that a flowtable carries passes no `forward` chain. It comes back there when its connection is forgotten; so it must be known
whose connections these are, without a packet to look at.

Rules of this room:

1. A connection is looked at as `forward` sees it: behind the translation of destinations, before that of sources.
2. Who is suspended is asked of the kernel's own sets (`has`), so that a connection is refused exactly while its packets would be: a
   drain, a lease that ended, hours, whatever it is.
3. A connection does not say which link its packets come in by. Where a set's key has an interface, `behind` says it, or None, and
   then the connection is none of ours. A doubt leaves it alone.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.model import L4, Family, Ports, Selector, Service
from agent.nfttext import PORTS_ESSENTIAL, PROTOCOLS_ESSENTIAL
from agent.rules import Key, MemberSet, Structure, Use
from agent.ruleset import INTERFACE_BYTES, set_name
from agent.spans import ALL_PORTS

_NUMBERS = {6: L4.TCP, 17: L4.UDP}
_WORDS = {6: "tcp", 17: "udp"}
_ICMP = (1, 58)

#: Address, packed, and port; 0 where the protocol has none.
Peer = tuple[bytes, int]


class Connection(NamedTuple):
    """One tracked connection.

    `client` opened it, `server` is whom it leads to; `asked` whom the client asked for, which is another one where the gateway
    translates. `offloaded`: a flowtable carries it. `name`: by which the kernel finds exactly this one again.
    """

    family: Family
    protocol: int
    client: Peer
    server: Peer
    asked: Peer
    offloaded: bool
    name: bytes


#: Is this key a member now? The name of the link an address is behind, or None.
Has = Callable[[Key], bool]
Behind = Callable[[Family, bytes], str | None]


class Targets:
    """Selectors, with whose they are, to be asked for one address, protocol and port."""

    def __init__(self, owned: Iterable[tuple[str, Selector]]) -> None:
        self._by_length: dict[tuple[int, int], dict[int, list[tuple[str, Selector]]]] = {}
        for owner, selector in owned:
            prefix = selector.prefix
            mine = self._by_length.setdefault((prefix.version, prefix.max_prefixlen - prefix.prefixlen), {})
            mine.setdefault(int(prefix.network_address) >> (prefix.max_prefixlen - prefix.prefixlen), []).append((owner, selector))

    def owner(self, family: Family, protocol: int, peer: Peer) -> str | None:
        """Whose selector has this end of a packet; None if nobody's."""
        number = int.from_bytes(peer[0], "big")
        for (version, shift), mine in self._by_length.items():
            if version == family:
                for owner, selector in mine.get(number >> shift, ()):
                    if selector.protocol in (L4.ANY, _NUMBERS.get(protocol)) and _within(peer[1], selector.ports or (ALL_PORTS,)):
                        return owner
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusing:
    """What of a ruleset refuses: services with their sets, and stage 4.

    `targets`: the services that may be suspended by where packets are led, `asked` those by what their client asked for, and `kept`
    where these are not refused. `never`: what is never cut by what was asked for. `spared`: what is never cut. `sets`: by service
    ("" for stage 4), family and use.
    """

    targets: Targets
    asked: Targets
    kept: Targets
    never: Targets
    spared: Targets
    sets: Mapping[tuple[str, Family, Use], tuple[MemberSet, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, structure: Structure, services: Mapping[str, Service], spared: Iterable[Selector] = (), kept: Iterable[Selector] = ()
    ) -> "Refusing":
        """What a structure refuses.

        Args:
            structure: the ruleset in force.
            services: the catalogue it was compiled from, by id.
            spared: what stage 4 lets through.
            kept: where packets are led that are never refused by what their client asked for.
        """
        never = [each for service in services.values() if not service.class_.suspendable for each in service.selectors]
        suspendable = [service for service in services.values() if service.class_.suspendable]
        kinds = {
            (one.family, one.prefixlen, one.interface, one.use, one.other[0] if one.other else None)
            for one in structure.sets
            if one.use in (Use.REFUSE, Use.DRAIN)
        }
        owners = {
            set_name(service.id, family, prefixlen, interface=interface, use=use, dedicated=dedicated): service.id
            for service in suspendable
            for family, prefixlen, interface, use, dedicated in kinds
        }
        found: dict[tuple[str, Family, Use], tuple[MemberSet, ...]] = {}
        for members in structure.sets:
            key = (owners.get(members.name, ""), members.family, members.use)
            found[key] = (*found.get(key, ()), members)
        return cls(
            targets=Targets((service.id, each) for service in suspendable for each in service.selectors if not each.before_nat),
            asked=Targets((service.id, each) for service in suspendable for each in service.selectors if each.before_nat),
            kept=Targets(
                ("", each)
                for each in (*kept, *never, *(one for service in suspendable for one in service.selectors if not one.before_nat))
            ),
            never=Targets(("", each) for each in never if each.before_nat),
            spared=Targets(("", selector) for selector in spared),
            sets=found,
        )

    @property
    def by_interface(self) -> bool:
        """True if somebody is attached by a link."""
        return any(one.interface for mine in self.sets.values() for one in mine)

    def refuses(self, one: Connection, has: Has, behind: Behind) -> bool:
        """True if the ruleset would refuse packets of this connection, one way or the other.

        Args:
            one: the connection.
            has: is this key a member now?
            behind: the link that an address is behind, if that is beyond doubt.
        """
        if one.protocol in _ICMP:
            return False
        if one.asked != one.server:
            service = self.asked.owner(one.family, one.protocol, one.asked)
            led = service is not None and self.kept.owner(one.family, one.protocol, one.server) is not None
            if led or self.never.owner(one.family, one.protocol, one.asked) is not None:
                return False
            if service is not None and self._refused(service, one, one.client, one.server, has, behind):
                return True
        return any(self._refuses(one, near, far, has, behind) for near, far in ((one.client, one.server), (one.server, one.client)))

    def _refuses(self, one: Connection, near: Peer, far: Peer, has: Has, behind: Behind) -> bool:
        """The member at the one end, what is refused to it at the other."""
        return self._refused(self.targets.owner(one.family, one.protocol, far), one, near, far, has, behind)

    def _refused(self, service: str | None, one: Connection, near: Peer, far: Peer, has: Has, behind: Behind) -> bool:
        family = one.family
        if service is not None:
            if self._member(service, family, Use.DRAIN, (near, far), has, behind):
                return False
            if self._member(service, family, Use.REFUSE, (near, far), has, behind):
                return True
        if one.asked != one.server or not self._member("", family, Use.REST, (near, far), has, behind):
            return False
        return not (
            self._member("", family, Use.DRAIN, (near, far), has, behind)
            or self._paired(family, near, far, has, behind)
            or self.spared.owner(family, one.protocol, far) is not None
            or _essential(one, near, far)
        )

    def _member(self, service: str, family: Family, use: Use, ends: tuple[Peer, Peer], has: Has, behind: Behind) -> bool:
        near, far = ends
        for members in self.sets.get((service, family, use), ()):
            key = _key((members.prefixlen, members.interface), near, family, behind)
            own = _key(members.other, far, family, behind) if members.other else b""
            if key is not None and own is not None and has(Key(set=members.name, key=key + own)):
                return True
        return False

    def _paired(self, family: Family, near: Peer, far: Peer, has: Has, behind: Behind) -> bool:
        for members in self.sets.get(("", family, Use.PAIR), ()):
            mine = _key((members.prefixlen, members.interface), near, family, behind)
            other = _key(members.other or (0, False), far, family, behind)
            if mine is not None and (other is None or has(Key(set=members.name, key=mine + other))):
                return True  # an end that nobody knows the link of may be of the same site
        return False


def _key(kind: tuple[int, bool], end: Peer, family: Family, behind: Behind) -> bytes | None:
    """The key an address would have in a set of one kind (prefix length, interface); None where its link is not known."""
    prefixlen, interface = kind
    address = _masked(end[0], prefixlen) if prefixlen else b""
    if not interface:
        return address
    name = behind(family, end[0])
    return None if name is None else name.encode().ljust(INTERFACE_BYTES, b"\0") + address


def _masked(address: bytes, prefixlen: int) -> bytes:
    drop = len(address) * 8 - prefixlen
    return (int.from_bytes(address, "big") >> drop << drop).to_bytes(len(address), "big")


def _within(port: int, spans: Iterable[Ports]) -> bool:
    return any(low <= port <= high for low, high in spans)


def _essential(one: Connection, near: Peer, far: Peer) -> bool:
    word = _WORDS.get(one.protocol)
    ports = PORTS_ESSENTIAL[one.family]
    return one.protocol in PROTOCOLS_ESSENTIAL or (word, near[1]) in ports or (word, far[1]) in ports

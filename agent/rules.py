"""Floor 0. The nouns of the kernel side: sets, maps, chains, rules, elements, and one change as one value.

Rules of this room:

1. Plain values that a backend installs, a proof walks, a test evaluates and a person reads (`nfttext`). Nothing here
   knows nftables' syntax or netlink's bytes.
2. Rules are a closed list of forms. A form that is not needed does not exist.
3. A `Structure` is constant while customers come and go; only elements vary with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from agent.model import L4, Family, Network, Ports

#: The one table we own; everything in it is ours, nothing outside it is read for decisions or written.
TABLE = "ecluse"


class Side(StrEnum):
    """Which end of a packet is looked at: the customer is its source on the way to a service, its destination on the way back."""

    SOURCE = "source"
    DESTINATION = "destination"


class Use(StrEnum):
    """What it means for a packet that its customer end is in a set.

    `REFUSE`: it is refused. `CAP_TO`, `CAP_FROM`: what the customer sends, or receives, is dropped above the member's rate.
    `DRAIN`: it is let through while its connection was open before, until the member's timeout ends.

    Of stage 4: `GATE`: it is looked at whatever its other end is. `PAIR`: with this other end it stays connected. `REST`: it is
    refused if nothing let it through before.
    """

    REFUSE = "refuse"
    CAP_TO = "cap_to"
    CAP_FROM = "cap_from"
    DRAIN = "drain"
    GATE = "gate"
    PAIR = "pair"
    REST = "rest"

    @property
    def caps(self) -> bool:
        """True if the members carry a rate."""
        return self in (Use.CAP_TO, Use.CAP_FROM)


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberSet:
    """A plain hash set of customer networks of one length: key = [interface name, 16 bytes] + masked address.

    A length of 0 is everything behind an interface: the name alone is the key.
    Every element carries a timeout (the lease), a counter and a comment (the case id); those of a cap their own token bucket too.
    `other`: in a set of pairs, and of a dedicated service, length and interface of the other end, whose bytes follow in the key; a
    length of 0 has none.
    """

    name: str
    family: Family
    prefixlen: int
    interface: bool
    use: Use = Use.REFUSE
    other: tuple[int, bool] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceEntry:
    """One selector of a suspendable service in a map: address(es) . protocol . port(s) -> goto `chain`.

    Goto, not jump: a packet belongs to one service at most, so nothing is left to look up after its chain.
    """

    prefix: Network
    protocol: L4
    ports: Ports
    chain: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceMap:
    """A small verdict map. `ranged` maps hold prefixes and port ranges; the others single hosts and ports (hash).

    `ports` False: the key is address . protocol, for packets that have no ports to look at.
    """

    name: str
    family: Family
    ranged: bool
    entries: tuple[ServiceEntry, ...]
    ports: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class DispatchFamily:
    """A packet of `family` goes on in `chain`."""

    family: Family
    chain: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """A box around some entries of a map: addresses and ports. To compare with it costs a tenth of a look-up."""

    prefix: Network
    ports: Ports


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupService:
    """Look `side` address . protocol . port of that side up in `map`, and follow its verdict. `ports`: as the map has them.

    `bounds`: only if address and port of that side lie within them.
    """

    map: str
    family: Family
    side: Side
    ports: bool = True
    bounds: Bounds | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EnterTranslated:
    """A packet of `family` whose connection the gateway led to another destination goes through `chain` and may come back.

    Asks connection tracking: only where connections are tracked anyway.
    """

    family: Family
    chain: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedFor:
    """A packet of a connection whose client asked for this destination goes on in `chain`.

    `answers`: of what is answered to it; else of what it sends.
    """

    prefix: Network
    protocol: L4
    ports: Ports
    answers: bool
    chain: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PassResets:
    """A TCP reset returns: the server must hear of the end of a connection too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PassAnswers:
    """TCP other than a bare SYN returns: an answer refused here would reset the server and leave the client hanging."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RefuseMembers:
    """A packet whose `side` address (masked; with its interface where the set has one) is in `set` is refused.

    `member`: the interface is the member of a VRF that the packet came in by, and not the VRF, which is what it came in by for
    everybody else.
    """

    set: str
    side: Side
    member: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CapMembers:
    """A packet whose `side` address is in `set`, and which is above the rate of that member, is dropped: policed, not refused."""

    set: str
    side: Side
    member: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PassMembers:
    """A packet whose `side` address is in `set` is let through. `established`: only if conntrack knows its connection as open."""

    set: str
    side: Side
    established: bool
    member: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class EnterMembers:
    """A packet whose `side` address is in `set` goes through `chain` and, if nothing is decided there, comes back."""

    set: str
    side: Side
    chain: str
    member: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PassPairs:
    """A packet whose `side` end is in `set` together with its other end is let through, and counted."""

    set: str
    side: Side
    member: bool = False


class Essential(StrEnum):
    """What is never refused whoever sends it: without it a site, or the gateway's network, falls over.

    `ICMP`: errors and, for IPv6, neighbour and router discovery and MLD. `PROTOCOLS`: IGMP, EIGRP, OSPF, PIM, VRRP. `PORTS`: DHCP,
    RIP, BGP, BFD. `FRAGMENTS`: all but the first of a packet, which show no port.
    """

    ICMP = "icmp"
    PROTOCOLS = "protocols"
    PORTS = "ports"
    FRAGMENTS = "fragments"


@dataclass(frozen=True, kw_only=True, slots=True)
class PassEssential:
    """A packet of `family` that is essential in that way is let through, and counted. `side`: whose port tells."""

    family: Family
    what: Essential
    side: Side


@dataclass(frozen=True, kw_only=True, slots=True)
class PassTranslated:
    """A packet whose connection the gateway led to another destination is let through, and counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PassAll:
    """Everything that comes here is let through, and counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refuse:
    """The end: TCP gets a reset, everything else ICMP administratively prohibited. Never a silent drop."""

    tcp: bool


#: Rules that look a packet's end up in a member set.
Asking = RefuseMembers | CapMembers | PassMembers | EnterMembers | PassPairs
Rule = (
    DispatchFamily
    | LookupService
    | EnterTranslated
    | AskedFor
    | PassResets
    | PassAnswers
    | Asking
    | PassEssential
    | PassTranslated
    | PassAll
    | Refuse
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """`hook` is set for base chains; these have policy accept and priority filter - 10, before the gateway's own rules."""

    name: str
    rules: tuple[Rule, ...]
    hook: Literal["forward", "input"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Structure:
    """Everything of our table but the elements of member sets."""

    sets: tuple[MemberSet, ...] = ()
    maps: tuple[ServiceMap, ...] = ()
    chains: tuple[Chain, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Key:
    """An element by name: which set, which key bytes."""

    set: str
    key: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """A member that is wanted: `case` becomes the comment, `timeout_ms` the lease that is left, `kbit` a cap in kbit/s."""

    set: str
    key: bytes
    case: str
    timeout_ms: int
    kbit: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A member as the kernel has it. `expires_ms` is what is left.

    `packets` counts since it was added or renewed: refusals, or what a cap or a drain looked at. `kbit`: its rate in a cap.
    """

    case: str
    expires_ms: int
    packets: int = 0
    kbit: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change of the kernel as one value: printed, checked, counted and applied.

    `structure`: bring chains, maps and sets to this, in one transaction, keeping members of sets that stay.
    `add`: members to add, or to give a new timeout where they exist. `delete`: members to remove; absent ones are no error.
    `remove_table`: remove everything that is ours (alone in its change).
    """

    structure: Structure | None = None
    add: tuple[Element, ...] = ()
    delete: tuple[Key, ...] = ()
    remove_table: bool = False

    @property
    def empty(self) -> bool:
        """Nothing to do."""
        return self.structure is None and not self.add and not self.delete and not self.remove_table


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What the kernel has of ours.

    `structure`: "absent" (no table), "as_wanted" or "drifted" against the structure it was asked to compare with;
    `strangers`: names of chains, sets, maps or rules in our table that we did not put there, or that are not as we put them;
    `members`: for the keys that were asked for, those that exist.
    """

    structure: Literal["absent", "as_wanted", "drifted"]
    strangers: tuple[str, ...] = ()
    members: Mapping[Key, Found] = field(default_factory=dict)

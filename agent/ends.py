"""Floor 1. One end of packets - address, protocol, ports - as intervals, and who claims which.

Rules of this room:

1. Arithmetic on closed intervals, for the proof alone: nothing of how rulesets are compiled is used here.
2. A claim without an owner is traffic that may never be hit.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import accumulate
from typing import NamedTuple

from agent.model import L4, Family, Network, Selector, Service
from agent.spans import ALL_PORTS

FAMILIES: tuple[Family, ...] = (4, 6)
TCP, UDP = 6, 17
Span = tuple[int, int]
ALL_PROTOCOLS: Span = (0, 255)
PROTOCOLS: dict[L4, Span] = {L4.TCP: (TCP, TCP), L4.UDP: (UDP, UDP), L4.ANY: ALL_PROTOCOLS}
ADDRESSES: dict[Family, Span] = {4: (0, 2**32 - 1), 6: (0, 2**128 - 1)}


class End(NamedTuple):
    """What one end of a packet can be. Spans include both bounds; addresses are numbers of the family."""

    family: Family
    protocol: Span
    address: Span
    ports: Span


class Claim(NamedTuple):
    """Traffic that somebody claims: `owner` is the id of a suspendable service, None for what may never be hit."""

    end: End
    name: str
    owner: str | None


def overlap(one: Span, other: Span) -> Span | None:
    """What two spans have in common; None if nothing."""
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return (low, high) if low <= high else None


def span_of(prefix: Network) -> Span:
    """The addresses of a prefix, as numbers."""
    low = int(prefix.network_address)
    return low, low | (1 << prefix.max_prefixlen - prefix.prefixlen) - 1


def claims_of(protected: Iterable[tuple[str, Selector]], services: Mapping[str, Service]) -> Iterator[Claim]:
    """What may never be hit (`protected`, with names), and what every service announced."""
    for name, selector in protected:
        yield from _claim(name, selector, None)
    for service in services.values():
        for selector in service.selectors:
            yield from _claim(service.id, selector, service.id if service.class_.suspendable else None)


def _claim(name: str, selector: Selector, owner: str | None) -> Iterator[Claim]:
    family: Family = 4 if selector.prefix.version == 4 else 6
    for ports in selector.ports or (ALL_PORTS,):
        yield Claim(End(family, PROTOCOLS[selector.protocol], span_of(selector.prefix), ports), name, owner)


class Index(NamedTuple):
    """Claims of one family by lowest address, with the highest address seen up to each, to know where to stop."""

    claims: list[Claim]
    lows: list[int]
    highest: list[int]


def index(claims: Iterable[Claim]) -> Mapping[Family, Index]:
    """Claims by family, ready for `touching`."""
    listed = sorted(claims, key=lambda claim: claim.end.address)
    indexes: dict[Family, Index] = {}
    for family in FAMILIES:
        mine = [claim for claim in listed if claim.end.family == family]
        lows = [claim.end.address[0] for claim in mine]
        indexes[family] = Index(mine, lows, list(accumulate((claim.end.address[1] for claim in mine), max)))
    return indexes


def touching(end: End, indexes: Mapping[Family, Index]) -> Iterator[Claim]:
    """Every claim that has a packet in common with `end`."""
    index = indexes[end.family]
    position = bisect_right(index.lows, end.address[1]) - 1
    while position >= 0 and index.highest[position] >= end.address[0]:
        claim = index.claims[position]
        if common(claim.end, end) is not None:
            yield claim
        position -= 1


def common(one: End, other: End) -> End | None:
    """What two ends have in common; None if nothing."""
    address = overlap(one.address, other.address)
    protocol = overlap(one.protocol, other.protocol)
    ports = overlap(one.ports, other.ports)
    return End(other.family, protocol, address, ports) if address and protocol and ports else None


def contains(outer: Span, inner: Span) -> bool:
    """True if all of `inner` lies in `outer`."""
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def address_text(family: Family, address: int) -> str:
    """An address for people."""
    return str(IPv4Address(address) if family == 4 else IPv6Address(address))


def protocol_text(end: End) -> str:
    """The protocol of an end for people."""
    low, high = end.protocol
    return {TCP: "tcp", UDP: "udp"}.get(low, f"protocol {low}") if low == high else "any-protocol"


def port_text(end: End) -> str:
    """The first port of an end for people, where it has any."""
    return "" if end.ports == ALL_PORTS else f" port {end.ports[0]}"

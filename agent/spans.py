"""Floor 1. Selectors as boxes of address x protocol x port that do not overlap.

Rules of this room:

1. Pure arithmetic on prefixes and port ranges; it knows no service and no customer.
2. Prefixes are nested or apart, never half over each other.
"""

from collections.abc import Iterable
from ipaddress import collapse_addresses, ip_network
from itertools import pairwise

from agent.model import L4, Network, Ports, Selector

#: All ports of a protocol.
ALL_PORTS: Ports = (0, 65535)

#: Packets to or from a prefix, by protocol and port.
Box = tuple[Network, L4, Ports]


#: A host with at most this many named ports is listed port by port in a hash map, which is cheaper to ask than ranges.
MAX_LISTED_PORTS = 16


def listed_by_port(selector: Selector) -> bool:
    """True for a single host with few, named ports: it goes into the hash map, port by port, and also counts at `input`."""
    host = selector.prefix.prefixlen == selector.prefix.max_prefixlen
    ports = sum(high - low + 1 for low, high in selector.ports)
    return host and selector.protocol is not L4.ANY and 0 < ports <= MAX_LISTED_PORTS


def box_order(box: Box) -> tuple[int, int, str, Ports]:
    """Boxes by address, then by what they hold."""
    prefix, protocol, ports = box
    return int(prefix.network_address), prefix.prefixlen, protocol.value, ports


def disjoint(selectors: Iterable[Selector]) -> set[Box]:
    """The same packets as boxes that do not overlap: the kernel's range sets refuse an overlap, even of equal verdicts.

    Prefixes are nested or apart. So: cut what takes every protocol out of the prefixes of the others, then go from the
    broadest prefix to the narrowest and give each only the ports that no broader one took.
    """
    selectors = tuple(selectors)
    whole = _outermost(s.prefix for s in selectors if s.protocol is L4.ANY)
    boxes: set[Box] = {(prefix, L4.ANY, ALL_PORTS) for prefix in whole}
    for protocol in (L4.TCP, L4.UDP):
        asked: dict[Network, list[Ports]] = {}
        for selector in selectors:
            if selector.protocol is protocol:
                for prefix in _without(selector.prefix, whole):
                    asked.setdefault(prefix, []).extend(selector.ports or (ALL_PORTS,))
        taken: list[tuple[Network, list[Ports]]] = []
        for prefix in sorted(asked, key=_broadest_first):
            ports = merged(asked[prefix])
            for broader, gone in taken:
                if _within(prefix, broader):
                    ports = _less(ports, gone)
            if ports:
                taken.append((prefix, ports))
                boxes |= {(prefix, protocol, span) for span in ports}
    return boxes


def _outermost(prefixes: Iterable[Network]) -> list[Network]:
    """The same addresses without the prefixes that lie in another one."""
    outermost: list[Network] = []
    for prefix in sorted(prefixes, key=_broadest_first):
        if not any(_within(prefix, broader) for broader in outermost):
            outermost.append(prefix)
    return outermost


def _broadest_first(prefix: Network) -> tuple[int, int]:
    return prefix.prefixlen, int(prefix.network_address)


def _within(inner: Network, outer: Network) -> bool:
    return inner.subnet_of(outer)  # type: ignore[arg-type]  # both are of one family here


def _without(prefix: Network, holes: Iterable[Network]) -> list[Network]:
    """`prefix` less every hole, as prefixes."""
    left = [prefix]
    for hole in holes:
        kept: list[Network] = []
        for part in left:
            if _within(part, hole):
                continue
            kept += part.address_exclude(hole) if _within(hole, part) else [part]  # type: ignore[arg-type]
        left = kept
    return left


#: Prefixes that share this many bits are one network of somebody: worth one comparison, not several.
_ONE_NETWORK = {4: 24, 6: 64}


def covers(prefixes: Iterable[Network], most: int) -> list[Network]:
    """At most `most` prefixes, apart from each other, around all of `prefixes`, which are of one family.

    They are split where neighbours by address share the fewest bits: there the tree of addresses has its highest forks, so that
    the parts touch nowhere.
    """
    apart = list(collapse_addresses(prefixes))  # type: ignore[type-var]  # of one family
    shared = [(_common(one, other).prefixlen, place) for place, (one, other) in enumerate(pairwise(apart), start=1)]
    forks = sorted(fork for fork in shared if fork[0] < _ONE_NETWORK[apart[0].version])[: most - 1]
    cuts = [0, *sorted(place for _, place in forks), len(apart)]
    return [_common(apart[start], apart[end - 1]) for start, end in pairwise(cuts) if start < end]


def _common(first: Network, last: Network) -> Network:
    """The longest prefix around two."""
    differing = (int(first.network_address) ^ int(last.broadcast_address)).bit_length()
    return ip_network((first.network_address, first.max_prefixlen - differing), strict=False)


def merged(spans: Iterable[Ports]) -> list[Ports]:
    """The same ports as ordered spans that neither overlap nor touch."""
    merged: list[Ports] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _less(spans: list[Ports], gone: list[Ports]) -> list[Ports]:
    """Ordered `spans` without the ports in `gone`."""
    for cut_low, cut_high in gone:
        spans = [
            part
            for low, high in spans
            for part in ((low, min(high, cut_low - 1)), (max(low, cut_high + 1), high))
            if part[0] <= part[1]
        ]
    return spans

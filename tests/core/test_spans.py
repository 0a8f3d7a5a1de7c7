"""Selectors as boxes that do not overlap: each packet is in one box if a selector wanted it, and in none otherwise."""

from ipaddress import ip_address, ip_network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import L4, Selector
from agent.spans import ALL_PORTS, covers, disjoint, merged


def selector(prefix: str, protocol: L4 = L4.TCP, *ports: tuple[int, int]) -> Selector:
    return Selector(prefix=ip_network(prefix), protocol=protocol, ports=ports)


def boxes(*selectors: Selector) -> set[tuple[str, str, tuple[int, int]]]:
    return {(str(prefix), protocol.value, ports) for prefix, protocol, ports in disjoint(selectors)}


@pytest.mark.parametrize(
    ("selectors", "found"),
    [
        ([], set()),
        ([selector("203.0.113.10")], {("203.0.113.10/32", "tcp", ALL_PORTS)}),
        # what takes every protocol leaves nothing of the same place to the others, and is cut out of a broader one
        ([selector("203.0.113.10"), selector("203.0.113.0/24", L4.ANY)], {("203.0.113.0/24", "any", ALL_PORTS)}),
        ([selector("203.0.113.8/29", L4.ANY), selector("203.0.113.0/24", L4.ANY)], {("203.0.113.0/24", "any", ALL_PORTS)}),
        (
            [selector("203.0.113.0/31", L4.UDP), selector("203.0.113.1", L4.ANY)],
            {("203.0.113.0/32", "udp", ALL_PORTS), ("203.0.113.1/32", "any", ALL_PORTS)},
        ),
        (
            [selector("203.0.113.1", L4.ANY), selector("203.0.113.64/32", L4.ANY), selector("203.0.113.8/29")],
            {
                ("203.0.113.1/32", "any", ALL_PORTS),
                ("203.0.113.64/32", "any", ALL_PORTS),
                ("203.0.113.8/29", "tcp", ALL_PORTS),
            },
        ),
        # a narrower prefix keeps the ports that the broader one has not
        (
            [selector("203.0.113.0/24", L4.TCP, (80, 90)), selector("203.0.113.10", L4.TCP, (85, 100), (70, 81))],
            {
                ("203.0.113.0/24", "tcp", (80, 90)),
                ("203.0.113.10/32", "tcp", (70, 79)),
                ("203.0.113.10/32", "tcp", (91, 100)),
            },
        ),
        (
            [selector("203.0.113.0/24", L4.TCP, (80, 90)), selector("203.0.113.10", L4.TCP, (85, 90))],
            {("203.0.113.0/24", "tcp", (80, 90))},
        ),
        # of another protocol or beside it: nothing is taken
        (
            [selector("203.0.113.0/28", L4.TCP, (80, 80)), selector("203.0.113.16/28", L4.TCP, (80, 80)),
             selector("203.0.113.0/24", L4.UDP, (80, 80))],
            {
                ("203.0.113.0/28", "tcp", (80, 80)),
                ("203.0.113.16/28", "tcp", (80, 80)),
                ("203.0.113.0/24", "udp", (80, 80)),
            },
        ),
    ],
)  # fmt: skip
def test_boxes_hold_what_the_selectors_hold_and_never_overlap(selectors, found):
    assert boxes(*selectors) == boxes(*reversed(selectors)) == found
    held = list(disjoint(selectors))
    for address in ("203.0.113.0", "203.0.113.1", "203.0.113.10", "203.0.113.17", "203.0.113.200"):
        for protocol in (L4.TCP, L4.UDP):
            for port in (70, 79, 80, 81, 85, 90, 91, 100, 443):
                wanted = any(
                    ip_address(address) in one.prefix
                    and one.protocol in (protocol, L4.ANY)
                    and any(low <= port <= high for low, high in one.ports or (ALL_PORTS,))
                    for one in selectors
                )
                hits = [
                    box
                    for box in held
                    if ip_address(address) in box[0] and box[1] in (protocol, L4.ANY) and box[2][0] <= port <= box[2][1]
                ]
                assert len(hits) == wanted, (address, protocol, port)


def test_ports_that_overlap_or_touch_become_one_span():
    assert merged([(445, 450), (443, 443), (444, 446), (1, 1)]) == [(1, 1), (443, 450)]
    assert merged([(1, 100), (5, 6)]) == [(1, 100)]
    assert merged([]) == []


@pytest.mark.parametrize(
    ("prefixes", "most", "found"),
    [
        ([], 2, []),
        (["203.0.113.10"], 2, ["203.0.113.10/32"]),
        (["203.0.113.10", "203.0.113.11"], 2, ["203.0.113.10/31"]),
        # of one network, so one comparison is enough
        (["203.0.113.1", "203.0.113.200"], 2, ["203.0.113.0/24"]),
        (["203.0.112.1", "203.0.113.200"], 2, ["203.0.112.1/32", "203.0.113.200/32"]),
        (["203.0.112.1", "203.0.113.200"], 1, ["203.0.112.0/23"]),
        # split at the highest fork, wherever it is
        (["10.0.0.1", "198.51.100.0/28", "203.0.113.10"], 2, ["10.0.0.1/32", "192.0.0.0/4"]),
        (["198.51.100.0/28", "203.0.113.10", "10.0.0.1"], 3, ["10.0.0.1/32", "198.51.100.0/28", "203.0.113.10/32"]),
        (["203.0.113.0/24", "203.0.113.10", "203.0.113.10"], 2, ["203.0.113.0/24"]),
        (["2001:db8::10", "2001:db8::ffff"], 2, ["2001:db8::/112"]),
        (["2001:db8::10", "2001:db8:0:1::1", "fd00::1"], 2, ["2001:db8::/63", "fd00::1/128"]),
        (["0.0.0.0/0", "203.0.113.10"], 2, ["0.0.0.0/0"]),
    ],
)
def test_few_prefixes_hold_all_and_are_split_where_they_are_farthest_apart(prefixes, most, found):
    assert [str(one) for one in covers(map(ip_network, prefixes), most)] == found


@given(
    numbers=st.lists(st.integers(0, 2**32 - 1) | st.integers(0xCB007100, 0xCB0071FF), max_size=12),
    length=st.integers(20, 32),
    most=st.integers(1, 4),
)
def test_covers_hold_every_prefix_once_and_touch_nowhere(numbers, length, most):
    prefixes = [ip_network((number, length), strict=False) for number in numbers]
    found = covers(prefixes, most)
    assert len(found) <= most
    for prefix in prefixes:
        assert sum(prefix.subnet_of(one) for one in found) == 1
    assert not any(one.overlaps(other) for one, other in combinations(found, 2))

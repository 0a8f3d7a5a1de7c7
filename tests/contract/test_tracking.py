"""Whether a gateway tracks connections is seen without making it track them."""

from pathlib import Path

import pytest

from agent.kernel.tracking import tracking
from agent.lab import End, Endpoint, Laboratory, Link, Node, Topology, laboratory, listen, probe
from tests.contract.conftest import nft

pytestmark = pytest.mark.kernel

COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
TWO = Topology(
    nodes=(Node(name="one"), Node(name="other")),
    links=(
        Link(
            left=End(node="one", interface="eth0", addresses=("10.0.0.1/24",)),
            right=End(node="other", interface="eth0", addresses=("10.0.0.2/24",)),
        ),
    ),
)


def seen(lab: Laboratory, *rules: str):
    """What is said of a namespace with these rules, after a packet came in and was answered."""
    with lab["one"].inside():
        for rule in rules:
            nft(*rule.split())
    with listen(lab["one"], Endpoint(protocol="udp", address="10.0.0.1", port=9)):
        assert probe(lab["other"], "udp", "10.0.0.1", 9).result == "open"
    with lab["one"].inside():
        return tracking(), int(COUNT.read_text()) if COUNT.exists() else 0  # conntrack may not even be loaded


def test_a_gateway_that_does_not_track_is_seen_as_such_and_still_does_not_track_afterwards():
    with laboratory(TWO) as lab:
        found, count = seen(lab)
        assert not found.tracked
        assert found.reason
        again, count_again = seen(lab)
        assert (again.tracked, count, count_again) == (False, 0, 0)


def test_a_table_that_translates_addresses_shows_that_connections_are_tracked():
    with laboratory(TWO) as lab, lab["one"].inside():
        nft("add", "table", "inet", "theirs")
        nft("add", "chain", "inet", "theirs", "post", "{ type nat hook postrouting priority 100; }")
        assert tracking().tracked


def test_connections_in_the_table_show_that_they_are_tracked():
    with laboratory(TWO) as lab:
        found, count = seen(
            lab,
            "add table inet theirs",
            "add chain inet theirs in { type filter hook input priority 0; }",
            "add rule inet theirs in ct state new accept",
        )
        assert count > 0
        assert found.tracked
        assert "connections" in found.reason or "conntrack" in found.reason

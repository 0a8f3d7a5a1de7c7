"""Worse harm to our table: rebuilt by others, destroyed over and over, unheard; and the packets that must not notice."""

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from agent.lab import Endpoint, listen, probe
from tests.faults.datagrams import Datagrams
from tests.faults.test_drift import OURS, put_right, repaired
from tests.faults.test_full_disk import figure
from tests.process.conftest import a_running_house
from tests.process.house import House, until
from tests.process.test_traffic import ERP, ERP6, VPN, VPN6, provider

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def guarded() -> Iterator[House]:
    """Two of three companies are suspended. Every test leaves it so."""
    with a_running_house() as built:
        built.suspend("c000", "c001")
        yield built


@pytest.mark.parametrize(
    "harm",
    [
        f"flush chain {OURS} refuse",
        f"flush chain {OURS} forward",
        f"insert rule {OURS} forward accept",
        f"insert rule {OURS} refuse accept",
        f"rename chain {OURS} refuse gone",
        f"flush set {OURS} vpn4_24",
        f"delete table {OURS}; add table {OURS}; add chain {OURS} forward {{ type filter hook forward priority 0; policy drop; }}",
        f"delete table {OURS}; add table {OURS}; add set {OURS} vpn4_24 {{ type inet_service; }}",
    ],
)
def test_whatever_somebody_does_to_our_table_it_is_as_before_at_once(guarded, harm):
    before = guarded.nft("-s", "list", "table", "inet", "ecluse")

    def as_before() -> bool:
        return guarded.table() and without_leases(guarded.nft("-s", "list", "table", "inet", "ecluse")) == without_leases(before)

    said, _ = put_right(guarded, lambda: guarded.nft(harm), lambda: not as_before())
    assert as_before()
    assert "nft" in said or "missing" in said


def without_leases(listing: str) -> list[str]:
    """A listing without what changes by itself; the order of members is nobody's promise."""
    return sorted(
        part.strip() for part in re.sub(r" expires \w+| timeout \w+| counter packets \d+ bytes \d+", "", listing).split(",")
    )


def test_lost_notifications_are_a_reason_to_look(guarded):
    before, known, daemon = guarded.elements(), len(repaired(guarded)), guarded.roles["enforce"]
    daemon.send_signal(signal.SIGSTOP)
    try:
        # Far more than a socket holds, by somebody whom it does not concern; then the harm, of which nothing is heard any more.
        members = ", ".join(f"{20 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.1" for n in range(200_000))
        guarded.nft("-f", "-", text=f"add table ip geo\nadd set ip geo s {{ type ipv4_addr; elements = {{ {members} }}; }}\n")
        guarded.nft("delete", "table", "ip", "geo")
        guarded.nft(f"flush chain {OURS} refuse")
        guarded.nft(f"delete element {OURS} vpn4_24 {{ 10.0.0.0 }}")
    finally:
        daemon.send_signal(signal.SIGCONT)
    until(lambda: guarded.elements() == before, 5, what="all is put right")
    # Who it was got lost too.
    until(lambda: "changed by somebody else" in "; ".join(repaired(guarded)[known:]), 5, what="it is recorded")


# --- who keeps taking it away -----------------------------------------------------------------------------------------


def test_a_thousand_flushes_are_a_fight_that_is_reported_by_name_and_not_fought_and_restores_go_on(house):
    house.suspend("c000", "c001")
    flusher = house.space.start(["sh", "-c", "for i in $(seq 1000); do nft flush ruleset || exit 1; done"])
    until(lambda: house.status()["kernel"]["contested_by"] == ["nft"], 30, what="the fight is seen")
    said = "; ".join(house.status()["failures"])
    assert "others keep changing it: nft" in said
    assert house.pay("c000").status == 200
    until(lambda: house.events("measure.restored", "c000"), 2, what="a payment restores in the middle of it")
    assert figure(house, "ecluse_table_contested") == 1
    assert flusher.wait(120) == 0
    known = len(repaired(house))
    assert known < 60  # not one for each flush
    until(lambda: house.cut() == {"c001"}, 70, what="the table is back once nobody takes it away", pause=0.2)
    assert house.suspended() == {"c001"}
    assert house.log().count("others keep changing it") == 1


# --- packets ----------------------------------------------------------------------------------------------------------


def test_no_protected_packet_is_lost_while_everything_of_ours_is_destroyed_and_put_back(open_directory):
    harms = [
        "flush ruleset",
        "delete table inet ecluse",
        f"flush chain {OURS} refuse",
        f"flush chain {OURS} forward",
        f"insert rule {OURS} refuse accept",
        f"flush set {OURS} vpn4_24_if",
        f"rename chain {OURS} refuse gone",
    ]
    with provider(open_directory) as (lab, house), ExitStack() as stack:
        house.suspend("za")
        addresses = [("192.0.2.53", 53), ("2001:db8:2::53", 53)]
        stack.enter_context(listen(lab["provider"], *(Endpoint(protocol="udp", address=a, port=p) for a, p in addresses)))
        stack.enter_context(listen(lab["erp"], *(Endpoint(protocol="udp", address=a, port=1433) for a in (ERP, ERP6))))
        kept = [*addresses, (ERP, 1433), (ERP6, 1433)]
        flows = [stack.enter_context(Datagrams(lab["desk"], address, port)) for address, port in kept]
        paying = [stack.enter_context(Datagrams(lab["neighbour"], address, 1194)) for address in (VPN, VPN6)]
        before = house.elements()
        for harm in harms:
            with suppress(AssertionError):  # the name of a set may be another: then there is nothing to flush
                house.nft(harm)
            until(lambda: house.elements() == before, 5, what=f"put right after {harm}")
        assert probe(lab["desk"], "udp", VPN, 1194).result == "refused"
        for flow in (*flows, *paying):
            assert (flow.settle(), flow.refused) == ([], 0)

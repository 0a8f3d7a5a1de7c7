"""The running daemon and real packets: what dies at a suspension, what must never lose a byte, and what a dead agent leaves."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from agent.lab import End, Endpoint, Laboratory, Link, Node, Route, Stream, Topology, laboratory, listen, probe
from tests.process.house import MONDAY, Firm, House, policies, until

pytestmark = pytest.mark.kernel

#: The debtor has two networks behind one gateway, so that its local traffic crosses it; another company is its neighbour.
DEBTOR = Firm(
    id="za",
    attachments=(
        ("10.20.10.0/24", "za0"),
        ("10.20.11.0/24", "za1"),
        ("2001:db8:20:10::/64", "za0"),
        ("2001:db8:20:11::/64", "za1"),
    ),
)
NEIGHBOUR = Firm(id="zb", attachments=(("10.20.20.0/24", "zb0"), ("2001:db8:20:20::/64", "zb0")))


def _client(name: str, net4: str, net6: str) -> tuple[Node, Link]:
    node = Node(name=name, routes=(Route(to="default4", via=f"{net4}.1"), Route(to="default6", via=f"{net6}::1")))
    interface = {"desk": "za0", "erp": "za1", "neighbour": "zb0", "provider": "up0"}[name]
    link = Link(
        left=End(node=name, interface="eth0", addresses=(f"{net4}.5/24", f"{net6}::5/64")),
        right=End(node="gw", interface=interface, addresses=(f"{net4}.1/24", f"{net6}::1/64")),
    )
    return node, link


CLIENTS = [
    _client("desk", "10.20.10", "2001:db8:20:10"),
    _client("erp", "10.20.11", "2001:db8:20:11"),
    _client("neighbour", "10.20.20", "2001:db8:20:20"),
]
PROVIDED = ("198.51.100.10/32", "198.51.100.20/32", "192.0.2.10/32", "192.0.2.53/32")
PROVIDED6 = ("2001:db8:100::10/128", "2001:db8:100::20/128", "2001:db8:2::10/128", "2001:db8:2::53/128")
UPSTREAM = "10.99.0"
TOPOLOGY = Topology(
    nodes=(
        *(node for node, _ in CLIENTS),
        Node(name="provider", routes=(Route(to="default4", via=f"{UPSTREAM}.1"), Route(to="default6", via="fd99::1"))),
        Node(
            name="gw",
            forwarding=True,
            routes=(
                *(Route(to=prefix, via=f"{UPSTREAM}.5") for prefix in PROVIDED),
                *(Route(to=prefix, via="fd99::5") for prefix in PROVIDED6),
            ),
        ),
    ),
    links=(
        *(link for _, link in CLIENTS),
        Link(
            left=End(node="provider", interface="eth0", addresses=(f"{UPSTREAM}.5/24", "fd99::5/64", *PROVIDED, *PROVIDED6)),
            right=End(node="gw", interface="up0", addresses=(f"{UPSTREAM}.1/24", "fd99::1/64")),
        ),
    ),
)
VPN, VPN6 = "198.51.100.10", "2001:db8:100::10"
DOCUMENTS, DOCUMENTS6 = "198.51.100.20", "2001:db8:100::20"
ERP, ERP6 = "10.20.11.5", "2001:db8:20:11::5"
PORTAL, PORTAL6 = "192.0.2.10", "2001:db8:2::10"


@contextmanager
def provider(directory: Path, **how: object) -> Iterator[tuple[Laboratory, House]]:
    """The laboratory with its listeners, and both roles on the gateway."""
    with ExitStack() as stack:
        lab = stack.enter_context(laboratory(TOPOLOGY))
        streams = [Endpoint(protocol="tcp", address=a, port=443) for a in ("0.0.0.0", "::")]
        datagrams = [Endpoint(protocol="udp", address=a, port=1194) for a in (VPN, VPN6)]  # answers must come from that address
        stack.enter_context(listen(lab["provider"], *streams, *datagrams))
        stack.enter_context(listen(lab["erp"], *(Endpoint(protocol="tcp", address=a, port=1433) for a in ("0.0.0.0", "::"))))
        built = stack.enter_context(House(directory, lab["gw"], (DEBTOR, NEIGHBOUR), **how))
        built.start("enforce")
        built.start("serve")
        yield lab, built


def seen(lab: Laboratory, client: str, *places: tuple[str, str, int]) -> list[str]:
    return [probe(lab[client], protocol, address, port).result for protocol, address, port in places]


ANNEX_PORTS = [("tcp", a, 443) for a in (VPN, VPN6, DOCUMENTS, DOCUMENTS6)] + [("udp", a, 1194) for a in (VPN, VPN6)]
KEPT = [("tcp", a, 443) for a in (PORTAL, PORTAL6)] + [("tcp", a, 1433) for a in (ERP, ERP6)]


def flush(house: House, kernel: str) -> None:
    """Somebody's script empties the tables."""
    house.nft("flush", "ruleset")
    if kernel == "iptables":
        for program in ("iptables-legacy", "ip6tables-legacy"):
            house.program(program, "-w", "5", "-F")
            house.program(program, "-w", "5", "-X")


#: Seconds until a foreign flush is put right: nf_tables tells of it, legacy iptables has to be looked at by the clock.
NOTICED = {"nft": 1, "iptables": 8}


@pytest.mark.parametrize("kernel", NOTICED)
def test_only_the_announced_streams_die_and_the_others_never_lose_a_byte_whatever_happens_to_the_agent(open_directory, kernel):
    with provider(open_directory, kernel=kernel) as (lab, house), ExitStack() as stack:

        def stream(client: str, address: str, port: int) -> Stream:
            return stack.enter_context(Stream(lab[client], address, port))

        doomed = [stream("desk", VPN, 443), stream("desk", VPN6, 443), stream("desk", DOCUMENTS, 443)]
        spared = [
            *(stream("desk", address, 1433) for address in (ERP, ERP6)),  # local, and yet across the gateway
            *(stream("desk", address, 443) for address in (PORTAL, PORTAL6)),
            *(stream("neighbour", address, 443) for address in (VPN, VPN6, DOCUMENTS)),
        ]
        assert all(each.wait_more(2000, 5) for each in (*doomed, *spared))

        house.suspend("za")
        assert all(each.wait_end(2) is not None for each in doomed)
        assert seen(lab, "desk", *ANNEX_PORTS) == ["refused"] * len(ANNEX_PORTS)

        assert house.stop() == 0  # SIGTERM
        assert seen(lab, "desk", *ANNEX_PORTS) == ["refused"] * len(ANNEX_PORTS)
        house.start("enforce")
        assert seen(lab, "desk", *ANNEX_PORTS) == ["refused"] * len(ANNEX_PORTS)

        flush(house, kernel)
        wait = NOTICED[kernel]
        every = ["refused"] * len(ANNEX_PORTS)  # legacy iptables has no transaction over both families
        until(lambda: seen(lab, "desk", *ANNEX_PORTS) == every, wait, what="a foreign flush is put right")

        house.kill()
        assert seen(lab, "desk", *ANNEX_PORTS) == ["refused"] * len(ANNEX_PORTS)
        house.start("enforce")
        assert seen(lab, "desk", *ANNEX_PORTS) == ["refused"] * len(ANNEX_PORTS)
        assert seen(lab, "desk", *KEPT) == ["open"] * len(KEPT)
        assert seen(lab, "neighbour", *ANNEX_PORTS) == ["open"] * len(ANNEX_PORTS)

        assert house.pay("za").status == 200
        until(lambda: probe(lab["desk"], "tcp", VPN, 443).result == "open", 1, what="payment restores")
        assert seen(lab, "desk", *ANNEX_PORTS) == ["open"] * len(ANNEX_PORTS)
        reborn = stream("desk", VPN6, 443)
        assert all(each.wait_more(2000, 5) for each in (*spared, reborn))
        assert all(each.settle().whole for each in (*spared, reborn))


@pytest.mark.parametrize(("former", "later"), [("nft", "iptables"), ("iptables", "nft")])
def test_who_pays_after_the_backend_was_changed_is_not_kept_cut_by_the_former_one(open_directory, former, later):
    with provider(open_directory, kernel=former) as (lab, house):
        house.suspend("za")
        assert house.stop() == 0
        house.config.write_text(house.config.read_text().replace(f"kernel: {former}", f"kernel: {later}"))
        house.start("enforce")
        assert house.table() is (later == "nft")
        every = ["refused"] * len(ANNEX_PORTS)
        until(lambda: seen(lab, "desk", *ANNEX_PORTS) == every, NOTICED[later], what="the new backend holds the measure")
        assert house.pay("za").status == 200
        until(lambda: probe(lab["desk"], "tcp", VPN, 443).result == "open", 1, what="payment restores")
        assert seen(lab, "desk", *ANNEX_PORTS) == ["open"] * len(ANNEX_PORTS)


def test_a_refusal_reaches_the_client_in_less_than_a_tenth_of_a_second_in_both_families(open_directory):
    with provider(open_directory) as (lab, house):
        house.suspend("za")
        answers = [probe(lab["desk"], *place) for place in ANNEX_PORTS for _ in range(5)]
        assert {answer.result for answer in answers} == {"refused"}
        slowest = max(answer.ms for answer in answers)
        print(f"slowest refusal: {slowest:.1f} ms")
        assert slowest < 100


def test_packets_flow_again_within_a_second_of_the_payment_and_the_answer_does_not_wait_for_the_kernel(open_directory):
    with provider(open_directory) as (lab, house):
        house.suspend("za")
        begun = time.monotonic()
        assert house.pay("za").status == 200
        answered = time.monotonic() - begun
        until(lambda: probe(lab["desk"], "tcp", VPN, 443).result == "open", 1, what="traffic", pause=0)
        flowed = time.monotonic() - begun
        print(f"payment answered after {answered * 1000:.1f} ms, first packet through after {flowed * 1000:.1f} ms")
        assert answered < 1


def test_when_the_agent_is_dead_the_rules_stay_until_the_lease_ends_and_then_traffic_flows_by_itself(open_directory):
    # A feed that went silent keeps the lease from being renewed, so the clock can be set to just before its end.
    with provider(open_directory, policy=policies(feed_max_age_minutes=15, lease_minutes=60)) as (lab, house):
        house.suspend("za")
        house.set_clock(MONDAY + timedelta(minutes=60, seconds=-4))
        until(lambda: _longest_lease(house) < 10, 5, what="the kernel's leases end with the ledger's")
        house.kill()
        assert seen(lab, "desk", *ANNEX_PORTS) == ["refused"] * len(ANNEX_PORTS)
        took = until(lambda: probe(lab["desk"], "tcp", VPN, 443).result == "open", 8, what="the lease ends")
        assert took > 0.5
        assert seen(lab, "desk", *ANNEX_PORTS) == ["open"] * len(ANNEX_PORTS)
        assert house.cut() == set()


def _longest_lease(house: House) -> int:
    explained = house.ask("explain", company="za")["data"]
    return max((one["lease_seconds"] for one in explained["counters"]), default=9999)

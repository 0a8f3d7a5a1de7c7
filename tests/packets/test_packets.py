"""Real packets through the real backend: exactly what was announced is refused, everything else flows."""

import errno
import re
import socket
import threading
import time

import pytest

from agent.lab import Stream, probe
from agent.model import EVERY_ADDRESS
from agent.rules import Change, Key
from tests.packets.conftest import STRUCTURE, TARGETS, members

pytestmark = pytest.mark.kernel

OPEN = dict.fromkeys(TARGETS, "open")


def cut(*services):
    """The table of a company that these services are refused to."""
    return {name: "refused" if name.startswith(services) else "open" for name in TARGETS}


def test_while_nobody_is_suspended_everything_is_open(net):
    assert net.table("za") == OPEN
    assert net.table("zb") == OPEN


@pytest.mark.parametrize("services", [("ged",), ("vpn",), ("report",), ("ged", "vpn", "report")], ids="+".join)
def test_exactly_the_suspended_services_of_exactly_that_company_are_refused_in_both_families(net, services):
    net.suspend(*services)
    assert net.table("za") == cut(*services)
    assert net.table("zb") == OPEN
    net.restore(*services)
    assert net.table("za") == OPEN


def test_the_same_prefix_behind_the_other_interface_is_the_other_company(net):
    net.suspend("ged", "report", interface="zb0")
    assert net.table("za") == OPEN
    assert net.table("zb") == cut("ged", "report")


def test_a_whole_link_is_its_company_whatever_address_a_packet_carries(net):
    net.apply(Change(add=tuple(members(("ged", "report"), "za0", home=EVERY_ADDRESS))))
    assert net.table("za") == cut("ged", "report")
    assert net.table("zb") == OPEN


def test_without_an_interface_in_the_key_the_prefix_counts_wherever_it_is(net):
    net.suspend("ged", interface=None)
    assert net.table("za") == net.table("zb") == cut("ged")


def test_our_refusal_does_not_slow_local_software_that_looks_for_its_licence_as_a_drop_would(net):
    """A-12: the ERP asks a licence server at each session and goes on without an answer. No finer than an order of magnitude."""
    patience = 3.0

    def session():
        """How long a session of the ERP takes to begin, in seconds: the licence first, then the work that is local."""
        begun = time.monotonic()
        answered = probe(net.lab["za"], "tcp", "192.0.2.10", 443, timeout=patience).result
        assert probe(net.lab["za"], "tcp", "10.20.11.5", 443).result == "open"
        return answered, time.monotonic() - begun

    net.suspend("ged")
    refused, quick = session()
    net.restore("ged")
    net.nft("add", "table", "inet", "silent")
    net.nft("add", "chain", "inet", "silent", "forward", "{ type filter hook forward priority 0; }")
    net.nft("add", "rule", "inet", "silent", "forward", "ip daddr 192.0.2.10 tcp dport 443 drop")
    dropped, slow = session()
    assert (refused, dropped) == ("refused", "no_answer")
    assert slow >= patience > 10 * quick


def test_a_refusal_is_prompt_and_says_so_in_each_protocol(net):
    net.suspend("ged", "vpn", "report")
    for name in TARGETS:
        answer = net.ask("za", name)
        if "tcp" in name and answer.result == "refused":
            assert (answer.detail, answer.ms < 100) == ("ECONNREFUSED", True), name
        if "udp" in name and answer.result == "refused":
            assert answer.detail in {"EHOSTUNREACH", "EACCES"}, name
            assert answer.ms < 100, name


def test_every_refused_packet_is_counted_for_its_company_and_service_and_nothing_else_is(net):
    net.suspend("ged", "vpn")
    for _ in range(3):
        net.ask("za", "ged tcp 4")
        net.ask("za", "ged udp 6")
        net.ask("za", "dns tcp 4")
        net.ask("zb", "ged tcp 4")
    observed = net.kernel.observe(STRUCTURE, [Key(set=e.set, key=e.key) for e in members(("ged", "vpn"), "za0")])
    packets = {key.set: found.packets for key, found in observed.members.items()}
    assert packets == {"ged4if_24": 3, "ged6if_64": 3, "vpn4if_24": 0, "vpn6if_64": 0}
    if net.kernel.name == "iptables":
        listed = net.run("ipset", "list", "ECLUSE-ged4if_24")
        assert re.search(r'10\.20\.10\.0/24,za0 timeout 35\d\d packets 3 bytes \d+ comment "za:2024-7"', listed)
        return
    listed = net.nft("list", "set", "inet", "ecluse", "ged4if_24")
    assert re.search(r'"za0" \. 10\.20\.10\.0 counter packets 3 bytes \d+ timeout 1h .*comment "za:2024-7"', listed)


def test_a_lease_that_ends_lets_traffic_through_without_anybody(net):
    net.suspend("ged", timeout_ms=1000)
    assert net.ask("za", "ged tcp 4").result == "refused"
    net.kernel.close()
    time.sleep(1.2)
    assert net.table("za") == OPEN


def test_neighbour_discovery_works_while_everything_that_can_be_is_suspended(net):
    net.suspend("ged", "vpn", "report")
    for node in ("za", "gw", "prov"):
        assert net.lab[node].start(["ip", "neigh", "flush", "all"], stderr=-3).wait(10) == 0
    assert net.table("za") == cut("ged", "vpn", "report")


def test_an_echo_request_passes_where_only_ports_are_suspended_and_not_where_every_protocol_is(net):
    net.suspend("ged", "vpn")
    assert ping(net, "192.0.2.10") == "open"
    assert ping(net, "198.51.100.2") == "refused"
    net.restore("vpn")
    assert ping(net, "198.51.100.2") == "open"


def test_what_the_service_opens_towards_the_company_is_refused_too(net):
    def towards(source, target):
        return [probe(net.lab["prov"], protocol, target, 5900, source=source, timeout=0.5).result for protocol in ("tcp", "udp")]

    assert towards("198.51.100.2", "10.20.10.10") == towards("2001:db8:8::2", "2001:db8:20::10") == ["open", "open"]
    net.suspend("vpn")
    assert towards("198.51.100.2", "10.20.10.10") == towards("2001:db8:8::2", "2001:db8:20::10") == ["refused", "refused"]
    assert towards("192.0.2.53", "10.20.10.10") == ["open", "open"]


# --- open connections ---


def stream(net, customer, target):
    _, address, port = TARGETS[target]
    return Stream(net.lab[customer], address, port)


@pytest.mark.parametrize("target", ["ged tcp 4", "ged tcp 6", "vpn tcp 4", "vpn tcp 6", "report on the gateway 4"])
def test_an_open_connection_to_a_suspended_service_dies_at_once(net, target):
    with stream(net, "za", target) as annex:
        assert annex.wait_more(5_000, 5)
        begin = time.monotonic()
        net.suspend("ged", "vpn", "report")
        ended = annex.wait_end(5)
        assert ended is not None
        assert annex.tally().ended == "ECONNRESET"
        assert ended - begin < 1


@pytest.mark.parametrize("address", ["198.51.100.2", "2001:db8:8::2"])
def test_a_client_that_only_listens_and_its_server_both_learn_of_the_end(net, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with net.lab["prov"].inside():
        server = socket.create_server((address, 1723), family=family)
    with net.lab["za"].inside():
        client = socket.socket(family, socket.SOCK_STREAM)
    with server, client:
        client.settimeout(5)
        client.connect((address, 1723))
        peer, _ = server.accept()
        with peer:
            assert ends(lambda: peer.send(b"x" * 100), lambda: client.recv(1000), before=lambda: net.suspend("vpn")) == {
                "server",
                "client",
            }


def ends(send, receive, *, before) -> set[str]:
    """Which of both ends hear of an error within two seconds after `before`, while one sends and the other only receives."""
    for _ in range(3):
        send()
        receive()
    before()
    heard: set[str] = set()
    deadline = time.monotonic() + 2
    while len(heard) < 2 and time.monotonic() < deadline:
        for who, act in (("server", send), ("client", receive)):
            try:
                if who not in heard:
                    act()
            except ConnectionError:
                heard.add(who)
        time.sleep(0.01)
    return heard


SURVIVORS = [
    ("za", "dns tcp 4"),
    ("za", "erp 4"),
    ("za", "erp 6"),
    ("zb", "ged tcp 4"),
    ("zb", "ged tcp 6"),
    ("zb", "report on the gateway 4"),
]


def test_other_connections_survive_everything_without_losing_a_byte(net):
    streams = [stream(net, *which) for which in SURVIVORS]
    try:

        def all_flow():
            for one in streams:
                assert one.wait_more(2_000, 5), one.tally()

        all_flow()
        net.suspend("ged", "vpn", "report")
        all_flow()
        net.restore("ged", "vpn", "report")
        all_flow()
        net.suspend("ged", "vpn", "report")
        for _ in range(20):
            net.apply(Change(structure=STRUCTURE))
        all_flow()
        net.flush()
        all_flow()
        net.apply(Change(structure=STRUCTURE, add=tuple(members(("ged", "vpn", "report"), "za0"))))
        all_flow()
        net.apply(Change(remove_table=True))
        tallies = [one.settle() for one in streams]
    finally:
        for one in streams:
            one.close()
    assert all(tally.whole for tally in tallies), tallies


# --- no gap while rules change ---


def flood(net, target, work):
    """Send datagrams as fast as they go while `work` runs again and again, for a second and six times at least.

    How many were answered, how many sent.
    """
    _, address, port = TARGETS[target]
    with net.lab["za"].inside():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    stop, answered, sent = threading.Event(), 0, 0

    def run():
        nonlocal answered, sent
        while not stop.is_set():
            sent += 1
            try:
                sock.sendto(b"?", (address, port))
                sock.recv(16, socket.MSG_DONTWAIT)
                answered += 1
            except OSError as error:
                if error.errno not in {errno.EAGAIN, errno.EHOSTUNREACH, errno.EACCES}:
                    raise

    sender = threading.Thread(target=run)
    sender.start()
    begin, rounds = time.monotonic(), 0
    try:
        while rounds < 6 or time.monotonic() < begin + 1:
            assert time.monotonic() < begin + 60
            work()
            rounds += 1
    finally:
        stop.set()
        sender.join()
        sock.close()
    return answered, sent


@pytest.mark.parametrize("target", ["ged udp 4", "vpn udp 6"])
def test_no_packet_slips_through_while_leases_are_renewed(net, target):
    net.suspend("ged", "vpn")
    answered, sent = flood(net, target, lambda: net.suspend("ged", "vpn"))
    assert sent > 1000
    assert answered == 0


@pytest.mark.parametrize("target", ["ged udp 4", "vpn udp 6"])
def test_no_packet_slips_through_while_the_structure_is_loaded_again(net, target):
    net.suspend("ged", "vpn")
    answered, sent = flood(net, target, lambda: net.apply(Change(structure=STRUCTURE)))
    assert sent > 1000
    assert answered == 0


def test_after_a_flush_and_a_repair_the_suspension_is_back_as_it_was(net):
    net.suspend("ged")
    net.flush()
    assert net.ask("za", "ged tcp 4").result == "open"
    net.apply(Change(structure=STRUCTURE, add=tuple(members(("ged",), "za0"))))
    assert net.table("za") == cut("ged")
    assert net.table("zb") == OPEN


def ping(net, address):
    """One echo request by an unprivileged ICMP socket."""
    with net.lab["za"].inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    with sock:
        sock.settimeout(1)
        sock.connect((address, 0))
        try:
            sock.send(b"\x08\0\0\0\0\0\0\x01ecluse")
            return "open" if sock.recv(64)[0] == 0 else "no_answer"
        except TimeoutError:
            return "no_answer"
        except OSError as error:
            return "refused" if error.errno == errno.EHOSTUNREACH else errno.errorcode[error.errno]

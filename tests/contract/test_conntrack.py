"""Tracked connections of a real kernel: what is read of them, and that one is forgotten alone."""

import re
import subprocess
from contextlib import closing
from ipaddress import ip_address

import pytest
from pyroute2 import IPRoute

from agent.errors import KernelError
from agent.kernel.conntrack import Conntrack
from agent.kernel.routes import Routes
from tests.contract.conftest import nft

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("own_network")]


def program(*arguments: str) -> str:
    done = subprocess.run(["conntrack", *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def track(client: str, server: str, *more: str, port: int = 40000, protocol: str = "tcp") -> None:
    """Have the kernel know a connection, as if its packets had passed."""
    state = ("--state", "ESTABLISHED") if protocol == "tcp" else ()
    ports = ("--sport", str(port), "--dport", "443")
    program("-I", "-p", protocol, "-s", client, "-d", server, *ports, "-t", "300", *state, *more)


def known() -> set[tuple[str, int, str, int]]:
    """(client, port, server, zone) of each connection, as the program for administrators lists them."""
    found = set()
    for family in ("ipv4", "ipv6"):
        for line in program("-L", "-f", family).splitlines():
            client, server, port = (re.search(rf"\b{word}=(\S+)", line) for word in ("src", "dst", "sport"))
            zone = re.search(r"\bzone=(\d+)", line)
            assert client
            assert server
            assert port
            found.add((client[1], int(port[1]), server[1], int(zone[1]) if zone else 0))
    return found


def test_a_connection_is_read_as_forward_sees_it_and_as_the_client_asked():
    track("10.1.0.5", "198.51.100.10")
    track("10.1.0.6", "198.51.100.10", "--reply-src", "10.9.9.1", "--reply-dst", "192.0.2.1", "--reply-port-src", "8443")
    track("fd01::5", "2001:db8::10", protocol="udp")
    with closing(Conntrack()) as conntrack:
        found = {
            str(ip_address(one.client[0])): (one.family, one.protocol, str(ip_address(one.server[0])), one.server[1], *one.asked)
            for one in conntrack.connections()
        }
        assert not any(one.offloaded for one in conntrack.connections())
    asked = ip_address("198.51.100.10").packed
    assert found == {
        "10.1.0.5": (4, 6, "198.51.100.10", 443, asked, 443),
        "10.1.0.6": (4, 6, "10.9.9.1", 8443, asked, 443),
        "fd01::5": (6, 17, "2001:db8::10", 443, ip_address("2001:db8::10").packed, 443),
    }


def test_one_connection_is_forgotten_and_every_other_one_stays():
    for zone in ("0", "7"):
        track("10.1.0.5", "198.51.100.10", "-w", zone)
    track("10.1.0.5", "198.51.100.10", port=40001)
    track("10.1.0.5", "198.51.100.10", protocol="udp")
    track("fd01::5", "2001:db8::10")
    everybody = known()
    with closing(Conntrack()) as conntrack:
        every = list(conntrack.connections())
        for one in every:
            assert conntrack.forget([one]) == 1
        assert known() == set()
    assert len(every) == len(everybody) + 1, "TCP and UDP look alike in `known`"


def test_the_same_addresses_in_another_zone_are_another_connection():
    track("10.1.0.5", "198.51.100.10", "-w", "7")
    with closing(Conntrack()) as conntrack:
        (in_zone,) = conntrack.connections()
        track("10.1.0.5", "198.51.100.10")
        assert conntrack.forget([in_zone]) == 1
    assert known() == {("10.1.0.5", 40000, "198.51.100.10", 0)}


def test_a_connection_that_came_after_with_the_same_addresses_and_ports_stays():
    track("10.1.0.5", "198.51.100.10")
    with closing(Conntrack()) as conntrack:
        (first,) = conntrack.connections()
        program("-D", "-s", "10.1.0.5")
        track("10.9.9.9", "198.51.100.10")  # the place in memory goes to another one
        track("10.1.0.5", "198.51.100.10")
        assert conntrack.forget([first]) == 0
    assert known() == {("10.1.0.5", 40000, "198.51.100.10", 0), ("10.9.9.9", 40000, "198.51.100.10", 0)}


def test_more_than_one_round_of_answers_is_forgotten_while_others_are_read():
    for port in range(40000, 40300):
        track("10.1.0.5" if port % 2 else "10.2.0.5", "198.51.100.10", port=port)
    mine = ip_address("10.1.0.5").packed
    with closing(Conntrack()) as conntrack:
        gone = 0
        for one in conntrack.connections():
            if one.client[0] == mine:
                gone += conntrack.forget([one])
        assert gone == 150
    assert {client for client, _, _, _ in known()} == {"10.2.0.5"}


def test_who_stops_reading_early_can_read_again():
    for port in range(40000, 40400):
        track("10.1.0.5", "198.51.100.10", port=port)
    with closing(Conntrack()) as conntrack:
        with closing(conntrack.connections()) as some:
            next(some)
        assert len(list(conntrack.connections())) == 400


def test_without_the_right_nothing_is_forgotten_and_it_is_said(own_network):
    track("10.1.0.5", "198.51.100.10")
    code = (
        "import os\n"
        "from agent.errors import KernelError\n"
        "from agent.kernel.conntrack import Conntrack\n"
        "one = Conntrack(); found = list(one.connections())\n"
        "os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "other = Conntrack()\n"
        "try:\n"
        "    other.forget(found)\n"
        "except KernelError as error:\n"
        "    print(error)\n"
    )
    process = own_network.start(["python3", "-c", code], stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=30)
    assert "CAP_NET_ADMIN" in said
    assert len(known()) == 1


def test_no_flowtable_is_seen_where_there_is_none():
    nft("add", "table", "inet", "other")
    with closing(Conntrack()) as conntrack:
        assert not conntrack.flowtables()


# --- which link an address is behind ------------------------------------------------------------------------------------


def routed() -> None:
    with IPRoute() as route:
        for name, network in (("za0", "10.1.0.0/24"), ("zb0", "10.2.0.0/24")):
            route.link("add", ifname=name, kind="bridge")
            index = route.link_lookup(ifname=name)[0]
            route.link("set", index=index, state="up")
            route.route("add", dst=network, oif=index)
            route.route("add", dst="fd01::/64" if name == "za0" else "fd02::/64", oif=index)
        route.route("add", dst="10.66.0.0/16", type="blackhole")


def test_an_address_is_behind_the_link_that_its_route_leads_to():
    routed()
    with closing(Routes()) as routes:
        assert routes.single()
        expected = {"10.1.0.5": "za0", "10.2.0.9": "zb0", "fd01::5": "za0", "fd02::5": "zb0", "10.66.0.1": None, "192.0.2.1": None}
        assert {address: routes.link(ip_address(address).packed) for address in expected} == expected


@pytest.mark.parametrize("family", [2, 10])
def test_where_rules_choose_between_tables_one_answer_is_not_everybodys(family):
    routed()
    with IPRoute() as route:
        route.rule("add", family=family, table=100, iifname="za0", priority=100)
    with closing(Routes()) as routes:
        assert not routes.single()


def test_a_broken_question_is_an_error():
    with closing(Routes()) as routes:
        routes.close()
        with pytest.raises(KernelError):
            routes.single()

"""A dedicated service with real packets: a debtor loses its own server, and neither reaches fewer of others nor others it."""

import re
import socket
from contextlib import suppress
from datetime import date
from ipaddress import ip_network

import pytest

from agent import ruleset
from agent.kernel.nft import NftKernel
from agent.lab import Endpoint, Stream, listen, probe
from agent.model import L4, Attachment, Company, Selector, Service, ServiceClass, Site, Subscription, Terms
from agent.plan import plan
from agent.policy.memory import company_shapes
from agent.proof import prove, prove_members
from agent.rules import Change, Key
from agent.ruleset import Needs, structure
from tests.packets.conftest import PREFIXES

#: Legacy iptables has no pairs.
pytestmark = [pytest.mark.kernel, pytest.mark.parametrize("net", [NftKernel], indirect=True)]

SERVER = Service(
    id="server",
    class_=ServiceClass.ANNEX,
    dedicated=True,
    selectors=tuple(Selector(prefix=ip_network(prefix), protocol=L4.ANY) for prefix in ("198.51.100.0/28", "2001:db8:8::/64")),
)
CATALOGUE = {"server": SERVER}
#: The servers of ZA and of somebody else, by family.
OWN = {4: "198.51.100.2", 6: "2001:db8:8::2"}
OTHER = {4: "198.51.100.3", 6: "2001:db8:8::3"}
HOME = {4: "10.20.10.10", 6: "2001:db8:20::10"}
PROTOCOLS = ("tcp", "udp")


def company(*attachments: Attachment) -> Company:
    return Company(
        id="za",
        name="ZA",
        group="g",
        policy="p",
        contract="c",
        sites=(Site(id="za-1", timezone="Europe/Paris", attachments=attachments),),
        subscriptions=(Subscription(service="server", addresses=tuple(ip_network(own) for own in OWN.values())),),
    )


ATTACHED = {
    "prefix": company(*(Attachment(prefix=ip_network(home)) for home in HOME.values())),  # ZB has the rest of the network
    "interface and prefix": company(*(Attachment(prefix=prefix, interface="za0") for prefix in PREFIXES)),
    "interface": company(Attachment(interface="za0")),
}


@pytest.fixture(params=ATTACHED)
def rented(request, net):
    """The laboratory with two servers, and a function that brings ZA to other terms as the daemon does."""
    za, needs = ATTACHED[request.param], Needs(cap=True, drain=True, tracked=True)
    built = structure(CATALOGUE, company_shapes(za, CATALOGUE), needs)
    proven = prove(built, [], [("za-1", prefix) for prefix in PREFIXES], CATALOGUE)
    net.apply(Change(structure=built))
    net.nft("add table ip seen; add chain ip seen out { type filter hook postrouting priority 0; }")
    net.nft("add rule ip seen out udp dport 9 counter")
    for address in (f"{OTHER[4]}/32", f"{OTHER[6]}/128"):
        assert net.lab["prov"].start(["ip", "address", "add", address, "dev", "eth0"]).wait(10) == 0

    def move(terms: Terms | None) -> None:
        services = ("server",) if terms else ()
        wanted = ruleset.members(za, services, "za:1", 3_600_000, CATALOGUE, date(2026, 3, 9), terms=terms or Terms())
        prove_members(wanted, za, services, proven)
        with net.lab["gw"].inside():
            observed = net.kernel.observe(built, keys := ruleset.candidates(za, CATALOGUE, needs=needs))
            assert observed.structure == "as_wanted"
            net.kernel.apply(plan(wanted=wanted, candidates=keys, observed=observed, structure=built))
            found = net.kernel.observe(built, keys).members
        assert set(found) == {Key(set=one.set, key=one.key) for one in wanted}

    everywhere = [
        Endpoint(protocol=p, address=servers[f], port=1195) for p in PROTOCOLS for servers in (OWN, OTHER) for f in (4, 6)
    ]
    with listen(net.lab["prov"], *everywhere):
        yield move


def reached(net, customer, servers):
    return {probe(net.lab[customer], protocol, servers[f], 1195, timeout=1).result for protocol in PROTOCOLS for f in (4, 6)}


def opened(net, servers):
    """What a server gets that opens a connection towards ZA."""
    return {
        probe(net.lab["prov"], protocol, HOME[f], 5900, source=servers[f], timeout=1).result
        for protocol in PROTOCOLS
        for f in (4, 6)
    }


def everything(net):
    return reached(net, "za", OWN), opened(net, OWN)


def rest(net):
    """What nobody may lose: ZA's way to other servers, theirs to ZA, and other customers' way to both."""
    return reached(net, "za", OTHER) | opened(net, OTHER) | reached(net, "zb", OWN) | reached(net, "zb", OTHER)


def test_a_debtor_loses_its_own_server_both_ways_and_nobody_loses_anything_else(net, rented):
    assert (*everything(net), rest(net)) == ({"open"}, {"open"}, {"open"})
    rented(Terms(stage=3))
    assert (*everything(net), rest(net)) == ({"refused"}, {"refused"}, {"open"})
    rented(None)
    assert (*everything(net), rest(net)) == ({"open"}, {"open"}, {"open"})


def test_an_open_connection_to_the_own_server_ends_or_drains_as_the_terms_say_and_another_goes_on(net, rented):
    with Stream(net.lab["za"], OTHER[4], 1195) as other:
        with Stream(net.lab["za"], OWN[4], 1195) as own:
            assert own.wait_more(512, 5)
            rented(Terms(stage=3, drain_ms=60_000))
            assert own.wait_more(512, 5)
            assert reached(net, "za", OWN) == {"refused"}
            rented(Terms(stage=3))
            assert own.wait_end(5) is not None
        assert other.wait_more(512, 5)
        assert other.settle().whole


def test_a_cap_on_the_own_server_lets_its_rate_through_and_does_not_touch_the_others(net, rented):
    rented(Terms(stage=2, kbit=64))
    assert (*everything(net), rest(net)) == ({"open"}, {"open"}, {"open"})
    assert burst(net, OWN[4]) < 300
    assert burst(net, OTHER[4]) == 600


def burst(net, server, count=600):
    """So many datagrams of a kilobyte from ZA at once: how many of them the gateway sent on."""
    before = sent_on(net)
    with net.lab["za"].inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.connect((server, 9))
        for _ in range(count):
            with suppress(OSError):  # nobody listens there: the refusal of an earlier one is told at a later one
                sock.send(bytes(1000))
    return sent_on(net) - before


def sent_on(net):
    return sum(int(number) for number in re.findall(r"udp dport 9 counter packets (\d+)", net.nft("list", "table", "ip", "seen")))

"""Links that are one customer's alone: VLANs on one trunk, and a WireGuard tunnel. Each is cut alone, whatever is behind it."""

import base64
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pyroute2 import IPRoute, WireGuard

from agent.kernel.links import LinkWatch
from agent.lab import End, Endpoint, Laboratory, Link, Node, Topology, laboratory, listen
from agent.model import Attachment
from tests.qemu.inside.conftest import SERVED, company, gateway, put, reaches

#: Customer -> the gateway's link, the customer's number.
LINKS = {"za": ("trunk0.10", 10), "zb": ("trunk0.20", 20), "zc": ("wg-zc", 30)}
UNDERLAY = ("172.16.0.1", "172.16.0.2")

TOPOLOGY = Topology(
    nodes=(*(Node(name=name) for name in ("za", "zb", "zc", "prov")), Node(name="gw", forwarding=True)),
    links=(
        Link(left=End(node="za", interface="eth0"), right=End(node="gw", interface="trunk0")),
        Link(
            left=End(node="zc", interface="eth0", addresses=(f"{UNDERLAY[1]}/30",)),
            right=End(node="gw", interface="under0", addresses=(f"{UNDERLAY[0]}/30",)),
        ),
        Link(
            left=End(node="prov", interface="eth0", addresses=tuple(f"{a}/{n}" for a, n in zip(SERVED, (24, 64), strict=True))),
            right=End(node="gw", interface="p0", addresses=("192.0.2.1/24", "2001:db8:9::1/64")),
        ),
    ),
)


def of(number: int, host: int) -> tuple[str, str]:
    return f"10.{number}.0.{host}", f"2001:db8:{number}::{host}"


def both(number: int, host: int) -> tuple[str, str]:
    four, six = of(number, host)
    return f"{four}/24", f"{six}/64"


def up(route: IPRoute, name: str) -> None:
    route.link("set", index=route.link_lookup(ifname=name)[0], state="up")


def vlan(route: IPRoute, under: str, number: int) -> None:
    route.link("add", ifname=f"{under}.{number}", kind="vlan", link=route.link_lookup(ifname=under)[0], vlan_id=number)


def tunnel(lab: Laboratory) -> None:
    """A WireGuard tunnel between zc and the gateway, each with the other as its one peer."""
    ends = {"gw": ("wg-zc", UNDERLAY[1]), "zc": ("wg0", UNDERLAY[0])}
    public = {}
    for number, (node, (name, _)) in enumerate(ends.items(), 1):
        with lab[node].inside(), IPRoute() as route, WireGuard() as wireguard:
            route.link("add", ifname=name, kind="wireguard")
            wireguard.set(name, private_key=base64.b64encode(bytes([number * 8]) * 31 + b"\x40").decode(), listen_port=51820)
            (info,) = wireguard.info(name)
            public[node] = info.get_attr("WGDEVICE_A_PUBLIC_KEY")
    for node, (name, far) in ends.items():
        other = next(each for each in ends if each != node)
        peer = {
            "public_key": public[other].decode() if isinstance(public[other], bytes) else public[other],
            "endpoint_addr": far,
            "endpoint_port": 51820,
            "allowed_ips": ["0.0.0.0/0", "::/0"],
        }
        with lab[node].inside(), IPRoute() as route, WireGuard() as wireguard:
            wireguard.set(name, peer=peer)
            up(route, name)


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with ExitStack() as stack:
        built = stack.enter_context(laboratory(TOPOLOGY))
        with built["gw"].inside(), IPRoute() as route:
            for name in ("trunk0.10", "trunk0.20"):
                vlan(route, "trunk0", int(name.rpartition(".")[2]))
                up(route, name)
        with built["za"].inside(), IPRoute() as route:
            for number in (10, 20):
                vlan(route, "eth0", number)
            route.link("set", index=route.link_lookup(ifname="eth0.20")[0], net_ns_fd=str(built["zb"].path))
            up(route, "eth0.10")
        with built["zb"].inside(), IPRoute() as route:
            up(route, "eth0.20")
        tunnel(built)
        for customer, (name, number) in LINKS.items():
            put(built["gw"], name, *both(number, 1))
            put(built[customer], {"za": "eth0.10", "zb": "eth0.20", "zc": "wg0"}[customer], *both(number, 5))
            with built[customer].inside(), IPRoute() as route:
                for to, via in zip(("0.0.0.0/0", "::/0"), of(number, 1), strict=True):
                    route.route("add", dst=to, gateway=via)
            own = [Endpoint(protocol=p, address=a, port=n) for a in of(number, 5) for p, n in (("tcp", 443), ("udp", 4433))]
            stack.enter_context(listen(built[customer], *own))
        with built["prov"].inside(), IPRoute() as route:
            for to, via in (("0.0.0.0/0", "192.0.2.1"), ("::/0", "2001:db8:9::1")):
                route.route("add", dst=to, gateway=via)
        served = [Endpoint(protocol=p, address=a, port=n) for a in SERVED for p, n in (("tcp", 443), ("udp", 4433))]
        stack.enter_context(listen(built["prov"], *served))
        yield built


CUSTOMERS = {name: company(name, Attachment(interface=link)) for name, (link, _) in LINKS.items()}
OPEN = {name: {"open"} for name in LINKS}


def table(lab: Laboratory) -> dict[str, set[str]]:
    """From each customer to the service, and from the service to it."""
    return {name: reaches(lab, name, *SERVED) | reaches(lab, "prov", *of(number, 5)) for name, (_, number) in LINKS.items()}


@pytest.mark.parametrize("name", LINKS, ids=["a VLAN", "the other VLAN", "a WireGuard tunnel"])
def test_exactly_what_is_behind_one_link_loses_the_service_in_both_directions(lab, name):
    assert table(lab) == OPEN
    with gateway(lab["gw"], *CUSTOMERS.values()) as gw:
        assert gw.suspend(CUSTOMERS[name]) == 2
        assert table(lab) == {**OPEN, name: {"refused"}}
        gw.restore()


def test_another_address_behind_the_link_is_cut_too(lab):
    put(lab["za"], "eth0.10", "10.10.0.77/24")
    with gateway(lab["gw"], *CUSTOMERS.values()) as gw:
        gw.suspend(CUSTOMERS["za"])
        with lab["za"].inside(), socket.socket() as sock:
            sock.settimeout(4.0)
            sock.bind(("10.10.0.77", 0))
            with pytest.raises(ConnectionRefusedError):
                sock.connect((SERVED[0], 443))
        gw.restore()


def test_the_links_are_read_with_their_kinds(lab):
    with lab["gw"].inside(), LinkWatch() as watch:
        kinds = {link.name: link.kind for link in watch.look()}
    assert {name: kinds[name] for name in ("trunk0", "trunk0.10", "wg-zc")} == {
        "trunk0": "veth",
        "trunk0.10": "vlan",
        "wg-zc": "wireguard",
    }

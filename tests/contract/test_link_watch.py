"""The kernel's own news of links: every link at a look, each change as it comes."""

import select
import socket

import pytest
from pyroute2 import IPRoute

from agent.kernel.links import LinkWatch
from agent.links import Link

pytestmark = pytest.mark.kernel


@pytest.fixture
def watch(own_network):
    with LinkWatch() as watch:
        yield watch


def heard(watch) -> list[Link | int | None]:
    assert select.select([watch], [], [], 2.0)[0]
    return list(watch.read())


def named(news) -> dict[str, Link]:
    return {link.name: link for link in news if isinstance(link, Link)}


def test_a_look_shows_every_link_with_its_kind_and_its_master(watch):
    with IPRoute() as route:
        route.link("add", ifname="za0", kind="veth", peer={"ifname": "za1"})
        route.link("add", ifname="br0", kind="bridge")
        bridge = route.link_lookup(ifname="br0")[0]
        route.link("set", index=route.link_lookup(ifname="za0")[0], master=bridge)
    shown = named(watch.look())
    assert {name: link.kind for name, link in shown.items()} == {"lo": "", "za0": "veth", "za1": "veth", "br0": "bridge"}
    assert shown["za0"].master == shown["br0"].ifindex == bridge
    assert not any(link.dialled for link in shown.values())
    assert shown["lo"] == Link(ifindex=1, name="lo")


def test_a_link_is_told_when_it_comes_when_it_is_renamed_and_when_it_goes(watch):
    with IPRoute() as route:
        route.link("add", ifname="za0", kind="veth", peer={"ifname": "za1"})
        new = named(heard(watch))
        assert new["za0"].kind == "veth"
        route.link("set", index=new["za0"].ifindex, ifname="zb0")
        assert named(heard(watch))["zb0"].ifindex == new["za0"].ifindex
        route.link("del", index=new["za0"].ifindex)
        assert {new["za0"].ifindex, new["za1"].ifindex} <= {each for each in heard(watch) if isinstance(each, int)}


def test_a_port_that_leaves_its_bridge_is_no_link_that_is_gone(watch):
    with IPRoute() as route:
        route.link("add", ifname="za0", kind="veth", peer={"ifname": "za1"})
        route.link("add", ifname="br0", kind="bridge")
        index, bridge = (route.link_lookup(ifname=name)[0] for name in ("za0", "br0"))
        route.link("set", index=index, master=bridge)
        route.link("set", index=index, master=0)
    news = heard(watch)
    assert index not in news
    assert [each.master for each in news if isinstance(each, Link) and each.ifindex == index][-1] == 0


def test_nothing_new_is_nothing_to_read_and_never_waits(watch):
    assert list(watch.read()) == []


def test_lost_news_are_told_as_such_and_a_look_shows_what_is_there(watch):
    watch._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    with IPRoute() as route:
        for number in range(60):
            route.link("add", ifname=f"v{number}", kind="veth", peer={"ifname": f"w{number}"})
    assert None in heard(watch)
    assert len(watch.look()) == 121

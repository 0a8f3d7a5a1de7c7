"""Links that come, go and are renamed, over the kernel in memory and a real ledger: whose elements stand, and when."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from agent import audit
from agent.errors import KernelError
from agent.links import Link
from agent.relink import FollowedLinks
from agent.rules import Change
from agent.ruleset import interface_of
from tests.core.hosts import Host, in_memory, inventory_of, run
from tests.process.house import Firm

ZA, ZB = Link(ifindex=5, name="za0", kind="wireguard"), Link(ifindex=6, name="zb0", kind="vlan")
VRF = Link(ifindex=8, name="vrf-c", kind="vrf")
MEMBER = Link(ifindex=9, name="c0", kind="vlan", master=8)
UP = Link(ifindex=2, name="up0")

PRIVATE = "10.1.1.0/24"
FIRMS = (
    Firm(id="za", attachments=(("", "za0"),)),
    Firm(id="zb", attachments=((PRIVATE, "zb0"), ("2001:db8:20::/64", "zb0"))),
    Firm(id="zc", attachments=((PRIVATE, "vrf vrf-c"), ("2001:db8:20::/64", "vrf vrf-c"))),
    Firm(id="zd", attachments=(("10.4.0.0/24", ""), ("2001:db8:40::/64", ""))),
)


@dataclass
class Wire:
    """What a kernel would tell: all links, and the news of some."""

    links: dict[int, Link]
    news: list[Link | int | None] = field(default_factory=list)

    def look(self) -> list[Link]:
        return list(self.links.values())

    def read(self) -> Iterator[Link | int | None]:
        while self.news:
            yield self.news.pop(0)

    def comes(self, link: Link) -> None:
        self.links[link.ifindex] = link
        self.news.append(link)

    def goes(self, link: Link) -> None:
        del self.links[link.ifindex]
        self.news.append(link.ifindex)

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        pass


@dataclass
class Followed:
    host: Host
    wire: Wire
    relink: FollowedLinks

    def names(self) -> dict[str, set[str | None]]:
        """The interface names in the elements of each company; None for those without."""
        sets = {members.name: members for members in self.host.gateway.rules.structure.sets}
        found: dict[str, set[str | None]] = {}
        for (set_name, key), case in self.host.elements().items():
            found.setdefault(case.partition(":")[0], set()).add(interface_of(sets[set_name], key))
        return found

    def hears(self) -> None:
        self.relink.heard()
        self.host.work()

    def waits(self) -> None:
        """The wait of every new link is over."""
        self.relink._following._settle = 0.0
        self.relink.step()
        self.host.work()
        self.relink._following._settle = 30.0


ALL = {"za": {"za0"}, "zb": {"zb0"}, "zc": {"vrf-c", "c0"}, "zd": {None}}


@pytest.fixture
def followed() -> Iterator[Followed]:
    """Four debtors, each attached in another way, all suspended."""
    with in_memory() as directory:
        host = Host(directory=directory, inventory=inventory_of(FIRMS))
        wire = Wire({link.ifindex: link for link in (UP, ZA, ZB, VRF, MEMBER)})
        relink = FollowedLinks(host.gateway, wire)
        host.start()
        host.suspend("za", "zb", "zc", "zd")
        built = Followed(host, wire, relink)
        assert built.names() == ALL
        yield built
        host.dies()


@pytest.mark.parametrize(
    ("link", "company", "left"), [(ZA, "za", None), (ZB, "zb", None), (VRF, "zc", None), (MEMBER, "zc", {"vrf-c"})], ids=str
)
def test_a_link_that_is_gone_has_no_element_any_more_and_nobody_else_is_touched(followed, link, company, left):
    followed.wire.goes(link)
    followed.relink.heard()
    expected = {**ALL, company: left}
    assert followed.names() == {name: held for name, held in expected.items() if held}, "at once, before anything is decided"
    followed.host.work()
    assert followed.names() == {name: held for name, held in expected.items() if held}
    assert followed.host.events("measure.restored") == []
    audited = run(audit.start(followed.host.gateway))
    assert (audited.strangers, audited.repaired) == (0, 0)


def test_a_link_that_comes_back_is_suspended_again_once_it_has_stood_for_a_while(followed):
    followed.wire.goes(ZA)
    followed.wire.comes(ZA._replace(ifindex=20))
    followed.hears()
    assert "za" not in followed.names(), "whoever has the new tunnel is not cut by the old one's measure"
    assert followed.host.gateway.unlinked["za0"][1].startswith("the link is new")
    followed.waits()
    assert followed.names() == ALL
    assert followed.host.gateway.unlinked == {}


def test_a_renamed_link_is_let_go_of_under_its_old_name_and_not_taken_for_another_customer(followed):
    followed.wire.goes(ZB)
    followed.hears()
    followed.wire.comes(ZA._replace(name="zb0"))
    followed.hears()
    assert followed.names() == {"zc": ALL["zc"], "zd": ALL["zd"]}
    followed.waits()
    assert followed.names() == {"zc": ALL["zc"], "zd": ALL["zd"]}, "a tunnel is not the VLAN of that name"
    assert "ecluse reload" in followed.host.gateway.unlinked["zb0"][1]
    followed.relink.restated()
    followed.relink.heard()
    followed.host.work()
    assert followed.names() == {name: held for name, held in ALL.items() if name != "za"}


def test_a_new_member_of_a_vrf_is_its_customers_too_and_one_that_moves_away_is_not(followed):
    followed.wire.comes(Link(ifindex=30, name="c1", kind="vlan", master=8))
    followed.hears()
    followed.waits()
    assert followed.names() == {**ALL, "zc": {"vrf-c", "c0", "c1"}}
    followed.wire.comes(MEMBER._replace(master=0))
    followed.relink.heard()
    assert followed.names() == {**ALL, "zc": {"vrf-c", "c1"}}
    followed.host.work()
    assert followed.names() == {**ALL, "zc": {"vrf-c", "c1"}}


def test_a_vrf_with_somebody_elses_interface_in_it_is_not_taken(followed):
    followed.wire.comes(ZB._replace(master=8))
    followed.hears()
    assert followed.names() == {name: held for name, held in ALL.items() if name != "zc"}
    assert "its member zb0 is an attachment of its own" in followed.host.gateway.unlinked["vrf-c"][1]


def test_what_was_missed_is_found_by_the_next_look(followed):
    del followed.wire.links[ZA.ifindex]
    followed.wire.links[21] = ZB._replace(ifindex=21)
    del followed.wire.links[ZB.ifindex]
    followed.wire.news.append(None)
    followed.relink.heard()
    followed.relink.step()
    assert followed.names() == {"zc": ALL["zc"], "zd": ALL["zd"]}


def test_a_kernel_that_refuses_to_let_go_is_asked_again(followed):
    def refuse(change: Change) -> None:
        if change.delete:
            raise KernelError(errno=16, what="somebody holds it")

    followed.host.kernel.before_apply = refuse
    followed.wire.goes(ZA)
    followed.relink.heard()
    with pytest.raises(KernelError):
        followed.relink.step()
    assert followed.names() == ALL
    followed.host.kernel.before_apply = lambda change: None
    followed.relink.step()
    assert "za" not in followed.names()


def test_a_link_that_is_not_there_is_reported_and_nothing_wider_is_cut_instead():
    with in_memory() as directory:
        host = Host(directory=directory, inventory=inventory_of(FIRMS))
        FollowedLinks(host.gateway, Wire({2: UP, 8: VRF._replace(kind="bridge")}))
        host.start()
        host.let_act()
        host.remember("za", "zb", "zc", "zd")
        host.work()
        assert {case.partition(":")[0] for case in host.elements().values()} == {"zd"}
        assert {name: en for name, (_, en) in host.gateway.unlinked.items()} == {
            "za0": "there is no such link",
            "zb0": "there is no such link",
            "vrf-c": "it is no VRF; attach by `interface:`, or make it one",
        }
        (applied,) = host.events("measure.applied", "za")
        assert applied.body["elements"] == 0, "the record says that nothing was cut"
        host.dies()

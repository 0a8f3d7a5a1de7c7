"""Which names elements may hold while links come, go, are renamed and change places."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.links import SETTLE_S, Following, Link
from agent.model import Attachment, Links

ZA = Link(ifindex=5, name="za0", kind="wireguard")
VRF = Link(ifindex=8, name="vrf-a", kind="vrf")
LATER = SETTLE_S + 1


def following(*links: Link) -> Following:
    return Following(links)


def taken(one: Following) -> frozenset[str]:
    present = one.links().present
    assert present is not None
    return present


def test_what_is_there_at_the_start_is_taken_at_once():
    one = following(ZA, VRF)
    assert taken(one) == {"za0", "vrf-a"}
    assert one.moved(0.0) == one.moved(1e9)
    assert one.why_not(["za0", "zb0"]) == {"zb0": ("ce lien n'existe pas", "there is no such link")}


def test_a_link_that_is_gone_is_let_go_of_at_once_and_its_name_is_free():
    one = following(ZA)
    one.left(ZA.ifindex)
    one.left(ZA.ifindex)  # told twice, as after lost notifications
    assert one.moved(1.0).gone == {"za0"}
    assert taken(one) == frozenset()
    assert one.moved(2.0).gone == frozenset(), "told once"


def test_a_tunnel_that_comes_back_is_taken_again_once_it_has_stood_for_a_while():
    one = following(ZA)
    one.left(ZA.ifindex)
    one.heard(ZA._replace(ifindex=9), 10.0)
    assert one.moved(10.0).gone == {"za0"}
    assert taken(one) == frozenset()
    assert "taken when it has stood" in one.why_not(["za0"])["za0"][1]
    assert one.moved(10.0 + SETTLE_S - 0.1).touched == frozenset()
    assert one.moved(10.0 + SETTLE_S).touched == {"za0"}
    assert taken(one) == {"za0"}


def test_one_that_comes_and_goes_all_the_time_is_never_taken():
    one = following(ZA)
    for turn in range(20):
        one.left(ZA.ifindex + turn)
        one.heard(ZA._replace(ifindex=ZA.ifindex + turn + 1), turn * 20.0)
        one.moved(turn * 20.0 + 19.0)
        assert taken(one) == frozenset()


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (ZA._replace(ifindex=9, kind="gre"), "it was of kind wireguard and is gre now"),
        (ZA._replace(ifindex=9, kind=""), "it was of kind wireguard and is device now"),
        (Link(ifindex=9, name="za0", kind="wireguard", dialled=True), "a dialled-in link may be anybody's"),
    ],
    ids=["another kind", "no kind", "dialled in"],
)
def test_what_may_be_anybodys_is_not_taken_before_the_inventory_is_loaded_anew(new, why):
    one = following(ZA)
    one.left(ZA.ifindex)
    one.heard(new, 1.0)
    one.moved(1e9)
    assert taken(one) == frozenset()
    assert one.why_not(["za0"])["za0"][1].startswith(why)
    assert all("ecluse reload" in words for words in one.why_not(["za0"])["za0"])
    one.restated()
    assert taken(one) == {"za0"}
    assert one.moved(2.0).touched == {"za0"}


def test_a_renamed_link_gives_its_old_name_up_at_once_and_gets_its_new_one_after_a_while():
    one = following(ZA)
    one.heard(ZA._replace(name="zb0"), 1.0)
    assert one.moved(1.0).gone == {"za0"}
    assert taken(one) == frozenset()
    one.moved(1.0 + LATER)
    assert taken(one) == {"zb0"}


def swapped(one: Following) -> None:
    one.heard(Link(ifindex=5, name="tmp"), 1.0)
    one.heard(Link(ifindex=6, name="za0"), 1.0)
    one.heard(Link(ifindex=5, name="zb0"), 1.0)


def swapped_unseen(one: Following) -> None:
    one.look([Link(ifindex=6, name="za0"), Link(ifindex=5, name="zb0")], 1.0)


@pytest.mark.parametrize("change", [swapped, swapped_unseen])
def test_two_links_that_change_names_are_both_let_go_of(change: Callable[[Following], None]):
    one = following(Link(ifindex=5, name="za0"), Link(ifindex=6, name="zb0"))
    change(one)
    assert {"za0", "zb0"} <= one.moved(1.0).gone
    assert taken(one) == frozenset()
    one.moved(1.0 + LATER)
    assert taken(one) == {"za0", "zb0"}


def test_a_vrf_stands_for_its_members_and_one_that_leaves_is_let_go_of_at_once():
    inside = ZA._replace(master=VRF.ifindex)
    one = following(VRF, inside)
    place = Attachment(vrf="vrf-a")
    assert one.links().names(place) == ("vrf-a", "za0")
    one.heard(ZA, 1.0)
    moved = one.moved(1.0)
    assert moved.gone == {"za0"}
    assert moved.touched == {"za0", "vrf-a"}
    assert one.links().names(place) == ("vrf-a",)
    one.heard(inside, 2.0)
    assert one.moved(2.0).touched == {"za0", "vrf-a"}
    assert one.links().names(place) == ("vrf-a", "za0")


def test_a_member_of_a_bridge_is_no_member_of_a_vrf():
    one = following(Link(ifindex=8, name="br0", kind="bridge"), ZA._replace(master=8))
    assert one.links().members == {}


def test_where_a_vrf_is_meant_nothing_else_is_taken():
    links = following(ZA, VRF).links()
    assert links.names(Attachment(vrf="za0")) == ()
    assert links.names(Attachment(interface="za0")) == ("za0",)
    assert links.names(Attachment(vrf="vrf-a")) == ("vrf-a",)
    assert Links().names(Attachment(vrf="za0")) == ("za0",), "in files nobody can know"


# --- for all that can happen ------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
LINK = st.builds(
    Link,
    ifindex=st.integers(1, 4),
    name=st.sampled_from(NAMES),
    kind=st.sampled_from(("", "vrf")),
    dialled=st.booleans(),
    master=st.sampled_from((0, 0, 1, 2)),
)
STEPS = st.lists(st.one_of(LINK, st.integers(1, 4), st.lists(LINK, max_size=4), st.just("restated"), st.just("wait")), max_size=25)


@settings(max_examples=300, deadline=None)
@given(start=st.lists(LINK, max_size=3), steps=STEPS)
def test_a_name_that_elements_may_hold_has_one_bearer_and_changes_it_only_by_being_let_go_of(start, steps):
    def valid(links):  # as a kernel shows them: one link an index, one a name
        return list({one.name: one for one in {one.ifindex: one for one in links}.values()}.values())

    there = {one.ifindex: one for one in valid(start)}
    one = Following(there.values())
    held = {name: next(x.ifindex for x in there.values() if x.name == name) for name in taken(one)}
    now = 0.0
    for step in steps:
        now += 1.0
        if isinstance(step, Link):
            if any(other.name == step.name and other.ifindex != step.ifindex for other in there.values()):
                continue  # no kernel gives one name to two links
            there[step.ifindex] = step
            one.heard(step, now)
        elif isinstance(step, int):
            there.pop(step, None)
            one.left(step)
        elif isinstance(step, list):
            there = {each.ifindex: each for each in valid(step)}
            one.look(list(there.values()), now)
        elif step == "restated":
            one.restated()
        else:
            now += LATER
        moved = one.moved(now)
        held = {name: index for name, index in held.items() if name not in moved.gone}
        for name in taken(one):
            bearer = next(each.ifindex for each in there.values() if each.name == name)
            assert held.setdefault(name, bearer) == bearer, "a new bearer of a name that was not let go of"
        assert set(held) >= taken(one)
        held = {name: index for name, index in held.items() if name in taken(one)}
        members = {
            vrf.name: {each.name for each in there.values() if each.master == vrf.ifindex}
            for vrf in there.values()
            if vrf.kind == "vrf"
        }
        assert {name: set(found) for name, found in one.links().members.items()} == members


def test_a_link_that_joins_a_vrf_touches_both_and_is_not_let_go_of():
    one = following(ZA, VRF)
    one.heard(ZA._replace(master=VRF.ifindex), 5.0)
    moved = one.moved(5.0)
    assert moved.gone == frozenset()
    assert {"za0", "vrf-a"} <= moved.touched


def test_of_kinds_that_names_had_the_oldest_are_forgotten_so_that_memory_has_a_bound():
    one = following()
    for number in range(10_001):
        link = Link(ifindex=number + 1, name=f"ppp{number}", kind="ppp")
        one.heard(link, 0.0)
        one.left(link.ifindex)
    assert taken(one) == frozenset()
    assert len(one._kinds) == 10_000

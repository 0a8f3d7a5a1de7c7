"""Links that vanish, come back and are renamed under the running daemon: elements follow them at once."""

from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute

from tests.process.house import Firm, House, until
from tests.process.test_reload import metric

pytestmark = pytest.mark.kernel

FIRMS = (
    Firm(id="za", attachments=(("", "za0"),)),
    Firm(id="zb", attachments=(("10.1.1.0/24", "zb0"), ("2001:db8:20::/64", "zb0"))),
    Firm(id="zc", attachments=(("10.1.1.0/24", "zc0"), ("2001:db8:20::/64", "zc0"))),
)


@pytest.fixture
def linked(make_house) -> Iterator[House]:
    """Three debtors, each behind a link of its own; all are suspended."""
    house = make_house(FIRMS)
    with house.space.inside(), IPRoute() as route:
        for name in ("za0", "zb0", "zc0"):
            add(route, name)
    house.start("enforce", wait=False)
    house.start("serve")
    house.start_is_over("enforce")
    house.suspend("za", "zb", "zc")
    return house


def add(route: IPRoute, name: str) -> None:
    route.link("add", ifname=name, kind="veth", peer={"ifname": f"far-{name}"})


def out_of_reach(house: House) -> dict[str, str]:
    return {one["link"]: one["en"] for one in house.status()["links"]}


def test_a_link_that_vanishes_takes_its_elements_along_and_one_made_anew_is_taken_when_the_files_say_so(linked):
    with linked.space.inside(), IPRoute() as route:
        route.link("del", index=route.link_lookup(ifname="za0")[0])
        until(lambda: linked.cut() == {"zb", "zc"}, 5, what="nothing names the link that is gone")
        assert out_of_reach(linked) == {"za0": "there is no such link"}
        assert linked.ask("explain", company="za")["data"]["links"][0]["link"] == "za0"
        assert metric(linked, "ecluse_links_absent") == 1
        add(route, "za0")
        until(lambda: "is new" in out_of_reach(linked)["za0"], 5, what="the new link is seen")
    assert linked.cut() == {"zb", "zc"}, "the new link may be anybody's"
    assert linked.ask("reload")["exit"] == 0
    until(lambda: linked.cut() == {"za", "zb", "zc"}, 5, what="the files say that it is the same")
    assert out_of_reach(linked) == {}
    assert linked.events("measure.restored") == []


def test_a_link_that_gets_another_customers_name_is_not_cut_for_them(linked):
    with linked.space.inside(), IPRoute() as route:
        index = {name: route.link_lookup(ifname=name)[0] for name in ("zb0", "zc0")}
        route.link("set", index=index["zb0"], ifname="tmp0")
        route.link("set", index=index["zc0"], ifname="zb0")
        until(lambda: linked.cut() == {"za"}, 5, what="both names are let go of")
    assert set(out_of_reach(linked)) == {"zb0", "zc0"}


def test_links_that_come_and_go_while_measures_change_leave_what_is_right(linked):
    with linked.space.inside(), IPRoute() as route:
        for turn in range(10):
            if not turn % 2:
                route.link("del", index=route.link_lookup(ifname="zb0")[0])
            else:
                add(route, "zb0")
            for number in range(5):
                add(route, f"x{turn}-{number}")
            if turn == 4:
                assert linked.pay("zc").status == 200
    until(lambda: linked.cut() == {"za"}, 10, what="za alone is suspended and has its link all the time")
    assert linked.status()["failures"] == []
    assert linked.events("measure.restored", "zc")

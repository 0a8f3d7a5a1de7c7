"""A service at a virtual address under the running daemon: refused where connections are tracked, on elsewhere, and said so."""

import json

import pytest

from tests.process.house import SERVICES, House, until

pytestmark = pytest.mark.kernel

VIRTUAL = SERVICES.replace("{prefixes: [198.51.100.20,", "{before_nat: true, prefixes: [198.51.100.20,")
TRANSLATES = "table ip firewall { chain pre { type nat hook prerouting priority -100; ip daddr 198.51.100.20 dnat to 10.9.9.1; }; }"


def started(make_house, *, translates: bool) -> House:
    house: House = make_house()
    (house.policies / "services.yaml").write_text(VIRTUAL)
    if translates:
        house.nft("-f", "-", text=TRANSLATES)
    house.start("enforce", wait=False)
    house.start("serve")
    house.start_is_over("enforce")
    return house


def test_where_connections_are_tracked_it_is_refused_by_the_address_that_customers_see(make_house):
    house = started(make_house, translates=True)
    house.suspend("c000")
    listed = house.nft("list", "table", "inet", "ecluse")
    assert "meta nfproto ipv4 ct status dnat jump asked4" in listed
    assert "ct original ip daddr 198.51.100.20" in listed
    assert {name for name, found in house.elements().items() if found} >= {"shared-documents4_24", "shared-documents6_64"}
    assert house.pay("c000").status == 200
    until(lambda: house.cut() == set(), 5, what="restored")
    assert house.status()["failures"] == []


def test_where_nothing_is_tracked_it_stays_on_and_nothing_of_ours_switches_tracking_on(make_house):
    house = started(make_house, translates=False)
    house.heartbeat()
    house.remember("c000")
    house.let_act()

    def explained():
        return json.dumps(house.ask("explain", company="c000")["data"])

    until(lambda: "TARGET_NOT_SEPARABLE" in explained(), 5, what="it is said what is in the way")
    assert "TARGET_NOT_SEPARABLE" in json.dumps(house.status()["names"])
    assert house.cut() == set()
    assert " ct " not in house.nft("list", "table", "inet", "ecluse")

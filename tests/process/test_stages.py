"""The running daemon, real packets and the stages of a measure: capped, stepped down, restricted to hours, drained."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from agent.lab import Laboratory, Stream
from tests.process.house import MONDAY, House, policies, until
from tests.process.test_traffic import ANNEX_PORTS, KEPT, VPN, provider, seen

pytestmark = pytest.mark.kernel

OPEN, REFUSED = ["open"] * len(ANNEX_PORTS), ["refused"] * len(ANNEX_PORTS)
EVENING = MONDAY.replace(hour=18, minute=0, second=0)  # 20:00 in Paris, in summer
MORNING = EVENING + timedelta(hours=11)


@contextmanager
def staged(directory: Path, **values: object) -> Iterator[tuple[Laboratory, House]]:
    """The laboratory with a policy that uses stages 2 and 3."""
    told = {"stages": "[2, 3]", "waive_gentler_stages": None, "lease_minutes": 1440, "stage3_min_debt": 2000} | values
    with provider(directory, policy=policies(**told)) as found:
        yield found


def begin(house: House, *, waived: bool = False) -> None:
    house.heartbeat()
    house.remember("za")
    if waived:
        told = house.ask("waive", case="za:N-za", stages=[2], reason="not offered to this customer")
        assert told["exit"] == 0, told
    house.let_act()
    until(lambda: house.events("measure.applied", "za"), 10, what="the measure is applied")


def sets(house: House) -> set[str]:
    """The sets in which something stands, without family, interface and length."""
    return {name.split("if_")[0].removesuffix("_24").removesuffix("_64") for name in house.elements()}


CAPPED = {f"{service}{family}{way}" for service in ("shared-documents", "vpn") for family in "46" for way in "ud"}


def test_a_capped_company_reaches_everything_and_a_payment_lifts_the_cap(open_directory):
    with staged(open_directory) as (lab, house):
        begin(house)
        assert sets(house) == CAPPED
        assert seen(lab, "desk", *ANNEX_PORTS) == OPEN
        assert seen(lab, "neighbour", *ANNEX_PORTS) == OPEN
        assert house.pay("za").status == 200
        until(lambda: house.events("measure.restored", "za"), 5, what="the cap is lifted")
        assert house.elements() == {}


def test_a_partial_payment_steps_down_from_refused_to_capped_and_the_rest_brings_everything_back(open_directory):
    with staged(open_directory) as (lab, house):
        begin(house, waived=True)
        assert seen(lab, "desk", *ANNEX_PORTS) == REFUSED
        assert house.pay("za", "3000").status == 200
        until(lambda: house.events("measure.lowered", "za"), 5, what="the measure is stepped down")
        assert sets(house) == CAPPED
        assert seen(lab, "desk", *ANNEX_PORTS) == OPEN
        house.kill()
        house.start("enforce")
        assert sets(house) == CAPPED
        assert house.status()["measures"][0]["stage"] == 2
        assert house.pay("za", "1800").status == 200
        until(lambda: house.events("measure.restored", "za"), 5, what="the rest is paid")
        assert house.elements() == {}
        assert seen(lab, "desk", *ANNEX_PORTS, *KEPT) == [*OPEN, *["open"] * len(KEPT)]


def test_night_only_refuses_at_night_and_not_by_day(open_directory):
    with staged(open_directory, effective_hours='["mon-fri 20:00-07:00"]') as (lab, house):
        begin(house)
        assert house.elements() == {}
        assert seen(lab, "desk", *ANNEX_PORTS) == OPEN
        house.set_clock(EVENING)
        until(lambda: seen(lab, "desk", ANNEX_PORTS[0]) == ["refused"], 5, what="the evening")
        assert seen(lab, "desk", *ANNEX_PORTS) == REFUSED
        assert seen(lab, "desk", *KEPT) == ["open"] * len(KEPT)
        house.set_clock(MORNING)
        until(lambda: seen(lab, "desk", ANNEX_PORTS[0]) == ["open"], 5, what="the morning")
        assert seen(lab, "desk", *ANNEX_PORTS) == OPEN
        until(lambda: len(house.events("measure.switched", "za")) == 2, 5, what="both switches are recorded")
        assert [one.body["in_effect"] for one in house.events("measure.switched", "za")] == [True, False]


def test_a_daemon_that_dies_at_night_leaves_nothing_for_the_day(open_directory):
    with staged(open_directory, effective_hours='["mon-fri 20:00-07:00"]') as (lab, house):
        begin(house)
        house.set_clock(MORNING - timedelta(seconds=8))
        until(lambda: seen(lab, "desk", ANNEX_PORTS[0]) == ["refused"], 5, what="the end of the night")
        house.kill()
        until(lambda: seen(lab, "desk", *ANNEX_PORTS) == OPEN, 12, what="the kernel ends the night by itself")
        assert house.elements() == {}


def test_open_connections_go_on_while_they_drain_and_new_ones_are_refused(open_directory):
    drained = {"stages": "[3]", "waive_gentler_stages": "not offered", "drain_minutes": 10}
    with staged(open_directory, **drained) as (lab, house), ExitStack() as stack:
        # Only where connections are tracked is a new one told from an open one. A rule of the gateway's own makes it track here.
        house.nft(
            "add table inet mine; add chain inet mine seen { type filter hook forward priority 0; }; "
            "add rule inet mine seen ct state established counter accept"
        )
        old = stack.enter_context(Stream(lab["desk"], VPN, 443))
        assert old.wait_more(2000, 5)
        house.stop()
        house.start("enforce")
        begin(house)
        assert seen(lab, "desk", *ANNEX_PORTS) == REFUSED
        assert old.wait_more(2000, 5)
        assert house.pay("za").status == 200
        until(lambda: house.events("measure.restored", "za"), 5, what="paid")
        assert old.settle().whole

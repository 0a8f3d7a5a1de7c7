"""The breaker in the running daemon: opened by facts and files, released by a person, and in no restore's way."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.event import parse_instant
from tests.process.house import House, firms, policies, until

pytestmark = pytest.mark.kernel

#: Easter Monday, and two in the night before an ordinary day.
HOLIDAY = datetime(2026, 4, 6, 10, 0, tzinfo=UTC)
NIGHT = datetime(2026, 4, 1, 0, 0, tzinfo=UTC)
NOON = datetime(2026, 4, 1, 10, 0, tzinfo=UTC)

#: A lease that outlives a leap of the clock.
LEAP = timedelta(hours=8)


def breaker(house: House) -> dict[str, object]:
    found: dict[str, object] = house.status()["breaker"]
    return found


def metric(house: House, name: str) -> float:
    lines = house.request("GET", "/metrics").message.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def kinds(house: House) -> list[str]:
    return [event.body["kind"] for event in house.events("breaker.opened")]


def test_a_feed_that_shrank_holds_what_is_new_says_so_everywhere_and_is_released_once_by_a_person(house: House):
    house.suspend("c000", "c001")
    house.post("heartbeat", "", {"open_invoices": 340})
    house.post("heartbeat", "", {"open_invoices": 17})
    until(lambda: breaker(house)["open"], 3, what="it is open")
    house.remember("c002")
    until(lambda: house.events("case.proposed", "c002"), 3, what="c002 is proposed")
    assert house.cut() == {"c000", "c001"}
    (cause,) = breaker(house)["causes"]
    assert cause["en"] == "the source billing shrank from 340 to 17 open invoices"
    assert metric(house, "ecluse_breaker_open") == 1
    assert "the breaker is open: the source billing shrank" in house.log()
    assert house.pay("c000").status == 200
    until(lambda: house.cut() == {"c001"}, 2, what="a payment restores all the same")
    house.kill()
    house.start("enforce")
    assert breaker(house)["open"]
    assert kinds(house) == ["feed"]
    house.set_clock(house.now() + timedelta(seconds=61))
    until(lambda: house.status()["waiting"], 5, what="c002 is looked at again")
    assert house.ask("release", reason="the other half is on another source now")["exit"] == 0
    until(lambda: house.cut() == {"c001", "c002"}, 3, what="c002 is suspended")
    assert metric(house, "ecluse_breaker_open") == 0
    assert house.ask("release", reason="again")["exit"] == 3
    assert "the breaker was released" in house.log()


def test_a_case_voided_by_an_operator_is_restored_when_the_answer_comes_and_stops_what_is_new(house: House):
    house.suspend("c000", "c001")
    told = house.ask("void", case="c000:N-c000", cause="wrong-customer", reason="the invoice is of another company")
    assert told["exit"] == 0, told
    assert house.cut() == {"c001"}
    assert kinds(house) == ["voided"]
    house.remember("c002")
    until(lambda: house.events("case.proposed", "c002"), 3, what="c002 is proposed")
    assert house.cut() == {"c001"}
    case = house.ask("explain", company="c000")["data"]["cases"][0]
    assert case["state"] == "closed"


def test_a_local_application_that_fails_during_a_suspension_restores_and_stops_what_is_new(house: House):
    house.suspend("c000", "c001")
    assert house.post("local.regressed", "c000", {"regression": "X1", "application": "erp"}).status == 200
    until(lambda: house.cut() == {"c001"}, 2, what="c000 is restored")
    assert kinds(house) == ["local"]


@pytest.fixture
def waiting(make_house: Callable[..., House]) -> House:
    """Five cases that wait for persons; a policy that may act by itself is there, and nobody has it. Three at once are a wave."""
    house = make_house(firms(5, policy="approve"), policy=policies(wave=3))
    house.start("enforce")
    house.start("serve")
    house.heartbeat()
    house.let_act()
    for some in (("c000", "c001", "c002"), ("c003", "c004")):
        house.remember(*some)
        until(lambda some=some: all(house.events("case.proposed", one) for one in some), 3, what="they wait")
        house.set_clock(house.now() + timedelta(minutes=61))
        house.heartbeat()
    assert not breaker(house)["open"]
    return house


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_files_that_would_newly_cut_many_cut_nobody_whether_they_come_by_reload_or_restart(how: str, waiting: House):
    house = waiting
    house.inventory([replace(firm, policy="auto") for firm in house.companies])
    if how == "reload":
        assert house.ask("reload")["exit"] == 0
    else:
        house.kill()
        house.start("enforce")
    until(lambda: breaker(house)["open"], 5, what="it is open")
    assert kinds(house) == ["policies"]
    until(lambda: not breaker(house)["comparing"], 5, what="they are compared")
    house.kill()
    house.start("enforce")
    assert breaker(house)["open"]
    assert kinds(house) == ["policies"]
    assert house.cut() == set()
    assert house.ask("release", reason="that is what was decided")["exit"] == 0
    house.set_clock(house.now() + timedelta(seconds=61))
    until(lambda: len(house.cut()) == 5, 5, what="they are suspended")


def test_files_that_newly_cut_a_few_do_so_once_they_were_compared(waiting: House):
    house = waiting
    house.inventory([replace(firm, policy="auto") for firm in house.companies[:2]] + list(house.companies[2:]))
    assert house.ask("reload")["exit"] == 0
    until(lambda: house.cut() == {"c000", "c001"}, 5, what="two are suspended")
    assert not breaker(house)["open"]


def leap(house: House, to: datetime) -> None:
    """Let time pass with signs of life at each leap, so that leases are renewed."""
    while house.now() < to:
        house.set_clock(min(to, house.now() + LEAP))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            house.heartbeat()
            if all(parse_instant(one["lease_until"]) > house.now() + timedelta(hours=9) for one in house.status()["measures"]):
                break
            house.set_clock(house.now() + timedelta(seconds=61))
            time.sleep(0.05)


def restored_after(house: House, companies: list[str]) -> list[float]:
    """Pay for companies one after the other: seconds from the receipt of each payment until its restore was read back."""
    for company in companies:
        assert house.pay(company).status == 200
        until(lambda company=company: house.events("measure.restored", company), 3, what=f"{company} is restored")
    found = []
    for company in companies:
        (paid,), (restored,) = house.events("payment.received", company), house.events("measure.restored", company)
        found.append((restored.occurred_at - paid.received_at).total_seconds())
    return found


def test_a_restore_takes_as_long_at_night_on_a_holiday_with_the_breaker_open_and_without_approvals_as_at_noon(make_house):
    each = 12
    house = make_house(firms(5 * each), policy=policies(lease_minutes=1440))
    house.start("enforce")
    house.start("serve")
    house.suspend(*(firm.id for firm in house.companies))
    groups = [[firm.id for firm in house.companies[start : start + each]] for start in range(0, 5 * each, each)]
    took: dict[str, list[float]] = {}
    leap(house, NIGHT)
    took["at night"] = restored_after(house, groups[0])
    leap(house, NOON)
    took["at noon"] = restored_after(house, groups[1])
    assert house.ask("revoke_policy", policy="auto", reason="nobody approves any more")["exit"] == 0
    took["without approvals"] = restored_after(house, groups[2])
    house.post("heartbeat", "", {"open_invoices": 340})
    house.post("heartbeat", "", {"open_invoices": 1})
    until(lambda: breaker(house)["open"], 3, what="it is open")
    took["breaker open"] = restored_after(house, groups[3])
    leap(house, HOLIDAY)
    took["on a holiday"] = restored_after(house, groups[4])
    assert breaker(house)["open"]
    assert house.cut() == set()
    noon = statistics.median(took["at noon"])
    for name, found in took.items():
        middle, worst = statistics.median(found), max(found)
        print(f"{name:>18}: median {middle * 1000:6.1f} ms, worst {worst * 1000:6.1f} ms, {middle / noon:.2f} x noon")
        assert middle < max(10 * noon, 0.5)
    assert not [event for event in house.events("measure.restored") if event.body["cause"].startswith("lease")]

"""The clock jumps under the feet of the running daemon, by an hour and by a year, either way."""

from datetime import timedelta

import pytest

from tests.process.house import firms, until

pytestmark = pytest.mark.kernel

JUMPS = [timedelta(hours=1), timedelta(hours=-1), timedelta(days=365), timedelta(days=-365)]


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_after_a_jump_nobody_is_suspended_and_whoever_is_comes_back_by_hand_at_once(make_house, jump):
    house = make_house(firms(3))
    house.start("enforce", watched=True)
    house.start("serve")
    house.suspend("c000")
    house.set_clock(house.now() + jump)
    until(lambda: any(event.body.get("stepped") for event in house.events("clock.checked")), 10, what="the jump is recorded")
    told = house.ask("restore", company="c000", reason="now")
    assert told["exit"] == 0
    assert house.cut() == set()
    house.heartbeat()  # everything else is fresh, by the new time
    house.remember("c001")
    until(lambda: house.status()["kernel"]["last_good_cycle"], 5, what="a cycle")
    assert "c001" not in house.suspended()
    explained = house.ask("explain", company="c001")["data"]["cases"]
    assert any(check["code"] == "G-21" and check["verdict"] != "pass" for case in explained for check in case["checks"])
    assert house.cut() == set()


def test_a_payment_that_a_wrong_clock_takes_for_stale_is_sent_again_and_restores_once_the_clock_is_right(make_house):
    house = make_house(firms(2))
    house.start("enforce", watched=True)
    house.start("serve")
    house.suspend("c000")
    right = house.now()
    house.set_clock(right + timedelta(minutes=30))
    until(lambda: any(event.body.get("stepped") for event in house.events("clock.checked")), 10, what="the jump is recorded")
    data = {"payment": "P-1", "amount": "4800", "currency": "EUR"}
    refused = house.post("payment.received", "c000", data, message="m-late", at=right)
    assert refused.status in (400, 401)
    assert house.cut() == {"c000"}
    house.set_clock(right)
    taken = house.post("payment.received", "c000", data, message="m-late", at=right)
    assert taken.status == 200
    until(lambda: house.cut() == set(), 5, what="the payment restores")


def test_a_daemon_that_starts_after_the_clock_was_set_back_knows_it(make_house):
    house = make_house(firms(2))
    house.start("enforce", watched=True)
    house.start("serve")
    house.heartbeat()
    house.kill()
    house.set_clock(house.now() - timedelta(days=365))
    house.start("enforce", watched=True)
    until(lambda: [e.body["stepped"] for e in house.events("clock.checked") if e.source == "agent"], 10, what="it is recorded")
    assert [e.body["stepped"] for e in house.events("clock.checked") if e.source == "agent"][-1] is True

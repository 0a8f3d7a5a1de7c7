"""The clock jumps under the feet of the running daemon, by an hour and by a year, either way."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.process.house import firms, payload, until

pytestmark = pytest.mark.kernel

JUMPS = [timedelta(hours=1), timedelta(hours=-1), timedelta(days=365), timedelta(days=-365)]


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_after_a_jump_nobody_is_suspended_and_whoever_is_comes_back_by_hand_at_once(make_house, jump):
    one, other = firms(2)
    house = make_house((one, replace(other, policy="approve")))
    house.start("enforce", watched=True)
    house.start("serve")
    house.suspend("c000")
    house.remember("c001")
    until(lambda: house.events("case.proposed", "c001"), 5, what="c001 waits for a person")
    house.set_clock(house.now() + jump)
    until(lambda: any(event.body.get("stepped") for event in house.events("clock.checked")), 10, what="the jump is recorded")
    told = house.ask("restore", company="c000", reason="now")
    assert told["exit"] == 0
    assert house.cut() == set()
    house.heartbeat()  # everything else is fresh, by the new time
    house.ask("approve", case="c001:N-c001", reason="checked")
    (case,) = house.ask("explain", company="c001")["data"]["cases"]
    (clock,) = [check for check in case["checks"] if check["code"] == "G-21"]
    assert clock["verdict"] in ("fail", "unknown")
    assert house.cut() == set()


def test_a_payment_that_a_wrong_clock_takes_for_stale_is_sent_again_and_restores_once_the_clock_is_right(make_house):
    house = make_house(firms(2))
    house.start("enforce", watched=True)
    house.start("serve")
    house.suspend("c000")
    right = house.now()
    body = payload("payment.received", "c000", {"payment": "P-1", "amount": "4800", "currency": "EUR"}, right)
    sent = ("POST", "/webhooks/billing", body, house.signed(body, message="m-late", at=right))
    house.set_clock(right + timedelta(minutes=30))
    until(lambda: any(event.body.get("stepped") for event in house.events("clock.checked")), 10, what="the jump is recorded")
    assert house.request(*sent).status == 401
    assert house.cut() == {"c000"}
    house.set_clock(right)
    assert house.request(*sent).status == 200
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

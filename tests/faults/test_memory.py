"""Want of memory: the kernel's OOM killer ends the enforcer at rest, while it handles a payment, and again and again under load."""

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.groups import MIB, Group, memory
from tests.faults.test_kills import SEED, check, storm
from tests.process.conftest import a_house
from tests.process.house import House, firms, payload, until

pytestmark = pytest.mark.kernel

#: An enforcer and the child that compiles its files have room in this.
ENOUGH = 192 * MIB
PAYMENTS = 6
STORM = 3


@contextmanager
def short_of_memory(companies: int) -> Iterator[tuple[House, Group]]:
    """A house whose enforcer lives in a group of its own; half of its companies are suspended."""
    with memory(ENOUGH) as group, a_house(firms(companies)) as house:
        house.start("enforce", prefix=group.prefix(first=True))
        house.start("serve")
        house.suspend(*(firm.id for firm in house.companies[: companies // 2]))
        yield house, group


def killed(house: House, group: Group, begin: Callable[[], object] = lambda: None, *, after: float = 0.0) -> None:
    """Have the enforcer ended for its memory, so many seconds `after` something began."""
    process, before = house.roles["enforce"], group.killed()
    with group.eater(ENOUGH) as eater:
        begin()
        time.sleep(after)
        assert eater.stdin is not None
        eater.stdin.write(b"\n")
        eater.stdin.flush()
        assert process.wait(30) == -9
    assert group.killed() > before  # the eater may be ended as well


def test_rules_stay_when_the_enforcer_is_ended_for_its_memory_and_the_next_one_restores_who_pays():
    with short_of_memory(6) as (house, group):
        before = house.elements()
        assert house.cut() == {"c000", "c001", "c002"}
        killed(house, group)
        assert house.elements() == before
        assert house.pay("c000", payment="P").status == 503
        house.start("enforce", prefix=group.prefix(first=True))
        assert house.cut() == {"c000", "c001", "c002"}
        assert house.pay("c000", payment="P").status == 200
        until(lambda: house.cut() == {"c001", "c002"}, 5, what="who pays is restored")
        assert house.status()["failures"] == []


def test_a_payment_acknowledged_before_the_enforcer_is_ended_for_its_memory_restores_and_any_other_is_taken_once_again():
    print(f"ECLUSE_SEED={SEED}")
    rng = random.Random(SEED)
    with short_of_memory(2 * PAYMENTS) as (house, group):
        still, told = house.cut(), []
        for company in sorted(still):
            body = payload(
                "payment.received", company, {"payment": f"P-{company}", "amount": "4800", "currency": "EUR"}, house.now()
            )
            answers: list[int] = []

            def pay(company: str = company, body: bytes = body, answers: list[int] = answers) -> None:
                try:
                    answers.append(house.request("POST", "/webhooks/billing", body, house.signed(body, message=company)).status)
                except (OSError, http.client.HTTPException):
                    answers.append(0)

            killed(house, group, threading.Thread(target=pay).start, after=rng.uniform(0, 0.04))
            until(lambda answers=answers: answers, 15, what="the biller has its answer")
            assert house.cut() in (still, still - {company})
            house.start("enforce", prefix=group.prefix(first=True))
            if answers == [200]:
                assert company not in house.cut()
            else:
                pay()
            assert answers[-1] == 200
            still = still - {company}
            until(lambda still=still: house.cut() == still, 5, what=f"{company} is restored, and nobody else")
            told.append(answers[0])
        paid = [event.subject for event in house.events("payment.received")]
        assert sorted(paid) == [firm.id for firm in house.companies[:PAYMENTS]]
        print(f"first answers: {told}")


def test_a_storm_in_which_memory_runs_out_again_and_again_leaves_nothing_lost_doubled_or_wrongly_refused():
    print(f"ECLUSE_SEED={SEED}")
    rng = random.Random(SEED)
    with short_of_memory(20) as (house, group):
        with storm(house, rng) as billers:
            for _ in range(STORM):
                time.sleep(rng.uniform(0.2, 1.0))
                killed(house, group)
                house.start("enforce", prefix=group.prefix(first=True))
        assert not [biller.wrong for biller in billers if biller.wrong]
        check(house, billers)

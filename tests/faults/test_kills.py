"""kill -9 of each role at random moments of a storm of webhooks, its starts included.

Billers send invoices, new debts with their whole history, payments, reversals, disputes, holds and old messages again, and repeat
what was not acknowledged, as billers do. In every other house the local application of each company is looked at all the while, and
always answers; who is looked at is suspended slowly, so that the houses without are the busier ones. ECLUSE_KILLS says how many
kills (50), ECLUSE_SEED repeats a run's choices.
"""

import http.client
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import pytest

from agent.event import HOST, TYPES, instant, parse_body
from agent.lab import Endpoint, listen
from agent.ledger.sqlite import Ledger
from agent.policy import MemoryInventory, load
from tests.core.truth import truth
from tests.process.conftest import a_house
from tests.process.house import Answer, House, firms, history, until

pytestmark = pytest.mark.kernel

KILLS = int(os.environ.get("ECLUSE_KILLS", "50"))
SEED = int(os.environ.get("ECLUSE_SEED", str(random.SystemRandom().randrange(2**32))))
COMPANIES = 40
#: Which role is killed, and how often of a hundred times.
ROLES = {"enforce": 65, "probe": 20, "serve": 15}
#: A new house after so many kills: a company with thousands of facts is another test.
PER_HOUSE = 100
#: A biller with so many messages that were not acknowledged says nothing new before they are.
BACKLOG = 5
#: Beyond every debt that a storm makes.
ALL_IS_PAID = "10000000"


@dataclass(kw_only=True)
class Biller:
    """One billing system: sends about its own companies until told to stop, and never forgets what was not acknowledged.

    `owing`: suspended companies that only come to owe more, so that nothing may ever restore them.
    """

    house: House
    companies: list[str]
    owing: frozenset[str]
    rng: random.Random
    stop: threading.Event = field(default_factory=threading.Event)
    acknowledged: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    unsure: dict[str, bytes] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)
    payments: dict[str, list[str]] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    serial: int = 0

    def run(self) -> None:
        while not self.stop.is_set():
            if self.unsure and (len(self.unsure) > BACKLOG or self.rng.random() < 0.5):
                self.send(self.rng.choice(list(self.unsure)))
            elif self.acknowledged and self.rng.random() < 0.1:
                self.send(self.rng.choice(list(self.acknowledged)), again=True)
            else:
                self.say(self.rng.choice(self.companies))
            self.stop.wait(0.01)

    def say(self, company: str) -> None:
        """One message about a company: a fact or a whole history."""
        kind = self.rng.choices(
            ("debt", "invoice", "pay", "pay all", "reverse", "dispute", "settle", "hold", "lift", "heartbeat"),
            (30, 10, 10, 0.4, 5, 5, 5, 4, 4, 4),
        )[0]
        self.serial += 1
        own = f"{company}-{self.companies[0]}-{self.serial}"
        if company in self.owing and kind not in ("debt", "heartbeat"):
            kind = "invoice"
        if company in self.paid and kind in ("debt", "reverse"):
            kind = "invoice"  # who has paid all is never to be suspended again in this storm
        facts = self.facts(kind, company, own)
        if kind == "pay all":
            self.payments.pop(company, None)
        self.unsure[own] = json.dumps({"events": facts}).encode()
        if self.send(own) and kind == "pay all":
            self.paid.add(company)

    def facts(self, kind: str, company: str, own: str) -> list[dict[str, Any]]:
        payment = {"payment": f"P-{own}", "amount": "4800", "currency": "EUR"}
        if kind == "debt":
            return [_renamed(json.loads(line), own) for line in history(company)]
        if kind == "reverse" and self.payments.get(company):
            return [self.fact("payment.reversed", company, {"payment": self.payments[company].pop()})]
        if kind == "pay":
            self.payments.setdefault(company, []).append(f"P-{own}")
        return {
            "pay": [self.fact("payment.received", company, payment)],
            "pay all": [self.fact("payment.received", company, payment | {"amount": ALL_IS_PAID})],
            "dispute": [self.fact("dispute.opened", company, {"dispute": "D", "invoices": [f"F-{company}"], "motive": "late"})],
            "settle": [self.fact("dispute.closed", company, {"dispute": "D", "outcome": "rejected"})],
            "hold": [self.fact("hold.set", company, {"hold": "H", "kind": self.rng.choice(("manual", "payment_plan"))})],
            "lift": [self.fact("hold.lifted", company, {"hold": "H"})],
            "heartbeat": [self.fact("heartbeat", "", {})],
        }.get(
            kind,
            [
                self.fact(
                    "invoice.issued",
                    company,
                    {"invoice": f"F-{own}", "due_on": "2026-05-31", "amount": "100", "currency": "EUR"},
                )
            ],
        )

    def fact(self, type_: str, company: str, data: Mapping[str, Any]) -> dict[str, Any]:
        named = {"customer": company} if company else {}
        return {"type": type_, **named, "occurred_at": instant(self.house.now()), "data": dict(data)}

    def send(self, message: str, *, again: bool = False) -> bool:
        """Send a message once, with a fresh signature; True if it was acknowledged."""
        body = self.unsure[message] if not again else json.dumps({"events": self.acknowledged[message]}).encode()
        try:
            answer = self.house.request("POST", "/webhooks/billing", body, self.house.signed(body, message=message))
        except (OSError, http.client.HTTPException):
            answer = Answer(status=0, message="hung up")
        self.told[str(answer.status)] += 1
        if answer.status == 200:
            if not again:
                self.acknowledged[message] = json.loads(self.unsure.pop(message))["events"]
            return True
        self.stop.wait(0.05)  # as billers do, only faster
        if answer.status not in (0, 503):
            self.wrong.append(f"{answer.status} {answer.message}")
        return False


def _renamed(line: dict[str, Any], own: str) -> dict[str, Any]:
    """A history of another debt of the same company: the same words with names of their own."""
    del line["id"]
    company = line["customer"]
    text = json.dumps(line["data"])
    for name in (f"F-{company}", *(f"R{n}-{company}" for n in (1, 2, 3)), f"N-{company}"):
        text = text.replace(f'"{name}"', f'"{name[:2]}{own}"' if name[0] == "R" else f'"{name[0]}-{own}"')
    return line | {"data": json.loads(text)}


@contextmanager
def storm(house: House, rng: random.Random) -> Iterator[list[Biller]]:
    """Two billers at work for the length of the block; afterwards everything is acknowledged."""
    names = [firm.id for firm in house.companies]
    owing = frozenset(house.cut() & set(names[::5]))
    billers = [Biller(house=house, companies=names[n::2], owing=owing, rng=random.Random(rng.random())) for n in range(2)]
    threads = [threading.Thread(target=biller.run, daemon=True) for biller in billers]
    for thread in threads:
        thread.start()
    try:
        yield billers
    finally:
        for biller in billers:
            biller.stop.set()
        for thread in threads:
            thread.join(30)
    for biller in billers:
        until(lambda biller=biller: all(biller.send(message) for message in list(biller.unsure)), 30, what="all is acknowledged")


def test_after_every_kill_nothing_acknowledged_is_lost_or_doubled_and_the_kernel_is_what_the_ledger_says():
    print(f"ECLUSE_SEED={SEED}")
    rng = random.Random(SEED)
    houses = max(2, -(-KILLS // PER_HOUSE))
    for number in range(houses):
        one_house(rng, KILLS // houses, looking=number % 2 == 0)


@contextmanager
def all_roles(*, looking: bool) -> Iterator[House]:
    """A house whose customers' applications answer on the gateway itself; half of the companies are suspended, for good."""
    with ExitStack() as stack:
        house = stack.enter_context(a_house(firms(COMPANIES), more="probe_interval: 5\n" * looking))
        house.program("ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo")
        stack.enter_context(listen(house.space, Endpoint(protocol="tcp", address="0.0.0.0", port=443)))
        house.watched_for_two_days()
        for role in ("probe", "enforce", "serve"):
            house.start(role)
        house.suspend(*(firm.id for firm in house.companies[:20]))
        until(lambda: not on_trial(house), 60, what="all measures are confirmed", pause=0.2)
        yield house


def one_house(rng: random.Random, kills: int, *, looking: bool) -> None:
    with all_roles(looking=looking) as house:
        begun, killed = time.monotonic(), Counter[str]()
        with storm(house, rng) as billers:
            for _ in range(kills):
                (role,) = rng.choices(list(ROLES), list(ROLES.values()))
                time.sleep(rng.uniform(0, 0.4))
                paid = {company for biller in billers for company in biller.paid}
                house.kill(role)
                killed[role] += 1
                # Often the next kill comes while it still starts.
                if rng.random() < 0.5:
                    house.start(role, wait=False)
                    time.sleep(rng.uniform(0, 0.8))
                else:
                    house.start(role)
                    assert not (paid & house.cut()) or role != "enforce", (
                        "a company that has paid is suspended after the first good cycle"
                    )
            for role in ROLES:
                house.kill(role)
                house.start(role)
        took = time.monotonic() - begun
        for biller in billers:
            assert biller.wrong == []
        in_force = check(house, billers)
        told = sum((biller.told for biller in billers), Counter())
        facts = sum(len(facts) for biller in billers for facts in biller.acknowledged.values())
        counts = {type_: len(house.events(type_)) for type_ in ("order.suspend", "measure.confirmed", "measure.restored")}
        print(
            f"{kills} kills {dict(killed)}{' while looking' * looking} in {took:.0f} s; "
            f"answers {dict(told)}; {facts} facts acknowledged; "
            f"{len(house.events())} ledger rows, {counts}; {in_force} companies suspended at the end"
        )


def check(house: House, billers: list[Biller]) -> int:
    """Everything that must be true at the end. Returns how many companies are suspended."""
    until(lambda: not on_trial(house), 90, what="every measure is confirmed, or was lifted", pause=0.2)
    until(
        lambda: house.elements() == expected(house),
        10,
        what="the kernel holds what a fresh judgement of the ledger says",
        pause=0.2,
    )
    assert not {company for biller in billers for company in biller.paid} & house.cut()
    assert billers[0].owing
    assert billers[0].owing <= house.cut()
    with Ledger.open(house.state / "ledger.db", read_only=True) as ledger:
        rows = list(ledger.events())
        assert ledger.verify() >= len(rows)  # the enforcer goes on writing
    known = {row.event.id: row.event for row in rows}
    assert len(known) == len(rows)
    for biller in billers:
        for message, facts in biller.acknowledged.items():
            for number, fact in enumerate(facts, 1):
                event = known[f"billing:{message}/{number}"]
                assert (event.type, event.subject) == (fact["type"], fact.get("customer", HOST))
                assert event.body == parse_body(fact["type"], fact["data"])
    facts = [event for event in known.values() if event.source == "billing" and not event.id.startswith("billing:m")]
    assert len(facts) == sum(len(facts) for biller in billers for facts in biller.acknowledged.values())
    orders = Counter(event.body["order"] for event in known.values() if event.type == "order.suspend")
    ends = Counter(event.body["order"] for event in known.values() if event.type == "measure.restored")
    assert set(ends) <= set(orders)
    assert max((*orders.values(), *ends.values())) == 1
    # The applications never stopped: a look that a kill took away says nothing about them.
    assert not [event for event in known.values() if event.type == "local.regressed"]
    assert house.status()["failures"] == []
    assert all(TYPES[event.type] for event in known.values())
    return len(house.cut())


def on_trial(house: House) -> set[str]:
    """Orders that local applications have not confirmed, and that were not ended."""
    over = {event.body["order"] for type_ in ("measure.confirmed", "measure.restored") for event in house.events(type_)}
    tried = (event for event in house.events("order.suspend") if event.body.get("confirm_seconds"))
    return {event.body["order"] for event in tried} - over


def expected(house: House) -> dict[str, dict[tuple[str, ...], str]]:
    """What should be in the kernel, computed from nothing but the ledger's events and the files."""
    inventory = MemoryInventory(load({path.name: path.read_text() for path in house.policies.iterdir()}))
    found: dict[str, dict[tuple[str, ...], str]] = {}
    for (name, key), case in truth(house.events(), inventory, house.now()).items():
        found.setdefault(name, {})[str(ip_address(key)),] = case
    return found

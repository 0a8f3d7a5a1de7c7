"""A gateway over the kernel in memory and a real ledger, through several lives, for tests of what the enforcer does.

A `Fate` lets a process die before or after any effect on the ledger or the kernel; the next one finds what is left, and nothing
else.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from errno import EIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent import alarm, audit, intake
from agent.billing import Source
from agent.errors import KernelError
from agent.event import HOST, Event, instant, parse_body
from agent.gateway import Gateway, Review
from agent.inforce import InForceRules
from agent.kernel.memory import MemoryKernel
from agent.ledger.sqlite import Ledger
from agent.metrics import EnforcerMetrics
from agent.model import Inventory, Mode
from agent.policy import MemoryInventory, load
from agent.reconcile import Queue
from agent.rules import Change, Element
from tests.core.truth import truth
from tests.process.house import MONDAY, SERVICES, SIGNS, Firm, customers, history, policies

LEASE = timedelta(minutes=240)


@contextmanager
def in_memory() -> Iterator[Path]:
    """A directory for ledgers whose disk is not what is tested: in memory, where a commit costs nothing."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(prefix="ecl-", dir=shared if os.access(shared, os.W_OK) else None) as name:
        yield Path(name)


class Died(BaseException):
    """The process is gone."""


@dataclass(kw_only=True)
class Fate:
    """How many effects a process lives to see; None: all."""

    left: int | None = None
    seen: int = 0

    def step(self) -> None:
        if self.left is not None and self.seen == self.left:
            raise Died
        self.seen += 1


@dataclass(kw_only=True)
class Clock:
    """A time that tests set; the kernel's clock, which only goes forward, is told apart."""

    now: datetime = MONDAY
    kernel: float = 0.0

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, span: timedelta) -> None:
        self.now += span
        self.kernel += span.total_seconds()


class MortalKernel(MemoryKernel):
    """The kernel in memory; it outlives processes. It refuses changes for companies in `broken`, and keeps what it was told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(lambda: clock.kernel)
        self.fate = Fate()
        self.broken: frozenset[str] = frozenset()
        self.changes: list[Change] = []
        self.before_apply: Callable[[Change], None] = lambda change: None

    def apply(self, change: Change) -> None:
        self.before_apply(change)
        self.fate.step()
        if any(element.case.partition(":")[0] in self.broken for element in change.add):
            raise KernelError(errno=EIO, what="this kernel does not want to")
        super().apply(change)
        self.changes.append(change)
        self.fate.step()


class MortalLedger(Ledger):
    """The real ledger, owned by a process that may die."""

    fate = Fate()

    def append(self, events: Sequence[Event]) -> tuple[bool, ...]:
        self.fate.step()
        done = super().append(events)
        self.fate.step()
        return done

    def settle(self, plans: Sequence[Any]) -> tuple[bool, ...]:
        self.fate.step()
        done = super().settle(plans)
        self.fate.step()
        return done

    def refuse(self, *, writes: bool) -> None:
        """Have SQLite itself refuse every write, as on a file system that was made read-only."""
        self._db.execute(f"PRAGMA query_only = {'ON' if writes else 'OFF'}")


def inventory_of(companies: Sequence[Firm], services: str = SERVICES, **values: object) -> Inventory:
    texts = {"services.yaml": services, "policies.yaml": policies(**values), "customers.yaml": customers(companies)}
    return MemoryInventory(load(texts))


@dataclass(kw_only=True)
class Host:
    """A gateway through several lives: disk, kernel and clock stay, processes come and go."""

    directory: Path
    inventory: Inventory
    clock: Clock = field(default_factory=Clock)
    kernel: MortalKernel = field(init=False)
    gateway: Gateway = field(init=False)
    queue: Queue = field(init=False)
    fate: Fate = field(init=False)

    def __post_init__(self) -> None:
        self.kernel = MortalKernel(self.clock)
        (self.directory / "state").mkdir()
        (self.directory / "run").mkdir()
        self.born()

    def born(self, fate: Fate | None = None) -> None:
        """A new process: everything is read anew."""
        ledger = MortalLedger.open(self.directory / "state/ledger.db")
        self.fate = self.kernel.fate = ledger.fate = fate or Fate()
        self.queue = Queue()
        self.gateway = Gateway(
            ledger=ledger,
            kernel=self.kernel,
            rules=InForceRules.compile(self.inventory, self.clock.now),
            now=self.clock,
            stop_path=self.directory / "state/stop.json",
            spare_stop_path=self.directory / "run/stop.json",
            ceiling=Mode.AUTO,
            feeds=("billing",),
            metrics=EnforcerMetrics(),
        )

    def dies(self) -> None:
        self.ledger.close()

    @property
    def ledger(self) -> MortalLedger:
        ledger = self.gateway.ledger
        assert isinstance(ledger, MortalLedger)
        return ledger

    def reload(self, inventory: Inventory) -> None:
        """Other policies, services or customers, as the enforcer takes them."""
        former, self.inventory = self.inventory, inventory
        self.gateway.rules = InForceRules.compile(inventory, self.clock.now)
        self.gateway.review = Review(before=former)
        self.gateway.look_around()

    def start(self) -> audit.Audited:
        """What the enforcer does first."""
        self.gateway.look_around()
        found = run(audit.start(self.gateway))
        self.work()
        return found

    def restart(self, fate: Fate | None = None) -> None:
        self.dies()
        self.born(fate)

    def work(self) -> list[str]:
        """Settle what is due, as the enforcer's cycle does; returns what was done."""
        said: list[str] = []
        for _ in range(200):
            self.gateway.look_around()
            done = list(self.queue.step(self.gateway))
            said += [one.sentence for one in done if one.changed]
            if not done:
                return said
        raise AssertionError("the queue never ends")

    def say(self, type_: str, company: str, body: dict[str, Any], *, id_: str = "") -> Event:
        event = Event(
            id=id_ or f"{type_}:{company}:{instant(self.clock.now)}",
            type=type_,
            subject=company,
            occurred_at=self.clock.now,
            received_at=self.clock.now,
            source="billing",
            body=parse_body(type_, body),
        )
        self.ledger.append([event, *alarm.alarms(self.gateway, [event])])
        self.queue.wake(company)
        return event

    def pay(self, company: str, amount: str = "4800") -> None:
        self.say("payment.received", company, {"payment": f"P-{company}", "amount": amount, "currency": "EUR"})

    def beat(self, id_: str = "") -> None:
        """The feed is alive, the register was looked at, the clock is right."""
        for type_, body in SIGNS:
            self.say(type_, HOST, body, id_=f"{type_}:{id_}" if id_ else "")

    def let_act(self) -> None:
        digest = self.inventory.policies["auto"].digest
        self.beat()
        said = {"policy": "auto", "policy_digest": digest, "by": "claire", "role": "approver", "reason": "test"}
        until = instant(self.clock.now + timedelta(days=60))
        self.say("standing_approval.given", HOST, said | {"expires_at": until})

    def remember(self, *companies: str, again: str = "") -> None:
        """Import what led to a suspension; `again` makes it another debt with another notice."""
        lines = [line for company in companies for line in history(company)]
        for company in companies if again else ():
            lines = [
                line.replace(f'-{company}"', f'-{company}{again}"').replace(f'"{company}-', f'"{company}{again}-') for line in lines
            ]
        everything = frozenset(json.loads(line)["type"] for line in lines)
        source = Source(name="import", kind="native", secrets=(bytes(32),), events=everything)
        self.ledger.append(tuple(intake.read_lines(lines, source, lambda _, customer: customer, self.clock.now, file="h")))

    def suspend(self, *companies: str) -> None:
        self.let_act()
        self.remember(*companies)
        self.work()
        assert self.cut() == set(companies)

    def elements(self) -> dict[tuple[str, bytes], str]:
        """What the kernel holds."""
        found: dict[tuple[str, bytes], str] = {}
        for members in self.gateway.rules.structure.sets:
            if self.kernel.observe(self.gateway.rules.structure).structure != "absent":
                found |= {(members.name, key): member.case for key, member in self.kernel.dump(members.name)}
        return found

    def cut(self) -> set[str]:
        return {case.partition(":")[0] for case in self.elements().values()}

    def events(self, type_: str = "", subject: str | None = None) -> list[Event]:
        return [row.event for row in self.ledger.events(subject) if type_ in ("", row.event.type)]

    def truth(self) -> dict[tuple[str, bytes], str]:
        return truth(self.events(), self.inventory, self.clock.now)


def run(work: audit.Breath) -> audit.Audited:
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: audit.Audited = end.value
            return found


def forge(host: Host, case: str, address: bytes, timeout: timedelta) -> None:
    """Somebody else adds an element to our table."""
    element = Element(set="vpn4_24", key=address, case=case, timeout_ms=int(timeout.total_seconds() * 1000))
    MemoryKernel.apply(host.kernel, Change(add=(element,)))

"""How fast a year of billing events is walked, and in how much memory: 1 000 000 events about 100 000 companies.

The facts lie in a file, by day, as a billing system would export them. Most companies pay; some need reminders, fewer a formal
notice, and some pay only once they are suspended. One policy in mode auto lets a few be suspended a day, so that a line forms.

    python -m bench.simulate [COMPANIES]
"""

import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from agent.history import gather
from agent.intake import read_lines
from agent.model import (
    L4,
    Attachment,
    Company,
    LocalApplication,
    Mode,
    Policy,
    Probe,
    Selector,
    Service,
    ServiceClass,
    Site,
    Subscription,
)
from agent.policy import Loaded, MemoryInventory
from agent.simulate import SOURCE, replay

COMPANIES = 100_000
END = datetime(2027, 1, 1, tzinfo=UTC)
FAR = datetime(2100, 12, 31, tzinfo=UTC)
INVOICES = 5
DEBTORS = 20  # one company in so many gets a formal notice
SERVICES = {
    name: Service(
        id=name,
        class_=ServiceClass.ANNEX,
        selectors=(Selector(prefix=ip_network(f"192.0.2.{number}/32"), protocol=L4.TCP, ports=((443, 443),)),),
    )
    for number, name in enumerate(("reporting", "vpn"), 10)
}
STATES = ["sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore"]


def inventory(companies: int, policy: Policy) -> MemoryInventory:
    """So many small companies with one site each, under one policy."""
    subscriptions = tuple(Subscription(service=name) for name in SERVICES)

    def one(number: int) -> Company:
        prefix = ip_network(f"{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.0/24")
        erp = LocalApplication(name="erp", probe=Probe(kind="tcp", address=prefix[5], port=443))
        site = Site(id="one", timezone="Europe/Paris", attachments=(Attachment(prefix=prefix),), local_applications=(erp,))
        return Company(
            id=f"c{number}",
            name=f"Company {number}",
            group="street",
            policy=policy.id,
            contract=f"K{number}",
            sites=(site,),
            subscriptions=subscriptions,
        )

    found = {company.id: company for company in map(one, range(companies))}
    return MemoryInventory(Loaded(services=SERVICES, policies={policy.id: policy}, companies=found, digest="bench"))


def year(companies: int) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """The facts of a year, month by month and by time within each."""
    chance = random.Random(2026)
    debtors = {
        number: chance.choice(("pays on notice", "pays when cut", "pays when cut", "never pays"))
        for number in range(0, companies, DEBTORS)
    }
    for turn in range(INVOICES):
        first = date(2026, 1 + 2 * turn, 1)
        told: list[tuple[datetime, dict[str, Any]]] = []
        for number in range(companies):
            told += _quarter(number, turn, first, debtors.get(number, "") if turn == number // DEBTORS % 3 else "")
        told.sort(key=lambda each: each[0])
        yield from told


def _quarter(number: int, turn: int, first: date, habit: str) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """One invoice of one company and what comes of it."""
    name, invoice = f"c{number}", f"F{number}-{turn}"
    day = datetime(first.year, first.month, first.day, 8, tzinfo=UTC) + timedelta(days=number % 28, seconds=number % 3600)

    def said(after: int, type_: str, **data: Any) -> tuple[datetime, dict[str, Any]]:
        at = day + timedelta(days=after)
        return at, {
            "id": f"{name}-{turn}-{type_}-{after}",
            "type": type_,
            "customer": name,
            "occurred_at": at.isoformat(),
            "data": data,
        }

    part = (
        {"service": "vpn", "amount": "400.00", "delivered_ref": "PV"},
        {"service": "reporting", "amount": "500.00", "delivered_ref": "PV"},
    )
    due = (day.date() + timedelta(days=15)).isoformat()
    yield said(0, "invoice.issued", invoice=invoice, due_on=due, amount="900.00", currency="EUR", lines=list(part))
    paid = {"": 12, "pays on notice": 64, "pays when cut": 78 + number % 40}.get(habit)
    if paid is not None:
        allocation = [{"invoice": invoice, "amount": "900.00"}]
        yield said(paid, "payment.received", payment=f"P{number}-{turn}", amount="900.00", currency="EUR", allocation=allocation)
    if not habit:
        return
    reminders = [f"R{number}-{turn}-{each}" for each in range(3)]
    for each, reminder in enumerate(reminders):
        yield said(20 + 9 * each, "reminder.sent", reminder=reminder, invoices=[invoice], channel="email")
    announces = {"services": ["vpn", "reporting"], "earliest_on": (day.date() + timedelta(days=66)).isoformat(), "kept": ["backup"]}
    notice = f"N{number}-{turn}"
    yield said(
        45,
        "notice.dispatched",
        notice=notice,
        channel="lrar",
        invoices=[invoice],
        reminders=reminders,
        announces=announces,
        states=STATES,
    )
    yield said(48, "notice.delivered", notice=notice, proof="AR.pdf", proof_sha256="0" * 64)
    yield said(62, "warning.sent", warning=f"W{number}-{turn}", notice=notice, channel="email")


def write(path: Path, companies: int) -> int:
    """The file; how many facts."""
    count = 0
    with path.open("w") as file:
        for _, item in year(companies):
            file.write(json.dumps(item) + "\n")
            count += 1
    return count


def run(companies: int = COMPANIES, policy: Policy | None = None) -> dict[str, float]:
    """Figures of one simulation of a year."""
    rules = replace(policy or POLICY, digest="bench")
    known = inventory(companies, rules)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "facts.jsonl"
        count = write(path, companies)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begin, cpu = time.perf_counter(), time.process_time()
        with path.open() as lines:
            facts = gather(read_lines(lines, SOURCE, lambda _, name: name if known.company(name) else None, FAR, file="facts"), END)
        read = time.perf_counter() - begin
    found = replay(facts, known, END, approved=True)
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    acts = Counter(one.act for one in found.moments)
    return {
        "simulate_events": count,
        "simulate_companies": companies,
        "simulate_events_per_s": count / took,
        "simulate_cpu_s": cpu,
        "simulate_read_s": read,
        "simulate_walk_s": took - read,
        "simulate_suspended": acts["suspend"],
        "simulate_restored": acts["restore"],
        "simulate_proposed": acts["propose"],
        "simulate_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "simulate_rss_before_mb": before,
    }


POLICY = Policy(
    id="auto",
    profile="fr-b2b",
    mode=Mode.AUTO,
    enforcement_point="provider",
    waive_gentler_stages="annex services only",
)


if __name__ == "__main__":
    for key, value in run(int(sys.argv[1]) if len(sys.argv) > 1 else COMPANIES).items():
        print(f"{key:28} {value:12.1f}")

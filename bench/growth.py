"""How the ledger grows: bytes for each event, for a company in a year, and what a backup and a verification of that cost.

A company-year: twelve invoices paid on time, and one matter in ten companies (overdue, three reminders, a notice, a suspension, a
payment). Plus what concerns no company: a heartbeat every five minutes, the register once a day.
"""

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.event import HOST, Event
from agent.ledger.copies import backup
from agent.ledger.sqlite import Ledger

COMPANIES = 1_000
YEAR = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 200
MATTER = 10
#: About what the gate writes into an order: 27 checks with their reasons in two languages.
TRACE = [
    {"code": f"G-{n:02}", "verdict": "pass", "fr": "condition remplie " * 4, "en": "condition met " * 4, "facts": ["erp:1"]}
    for n in range(27)
]


def events(company: str, number: int) -> Iterator[Event]:
    """What is said about one company in a year."""

    def say(day: int, type_: str, **body: object) -> Event:
        at = YEAR + timedelta(days=day, seconds=number)
        id_ = f"erp:{company}:{type_}:{day}:{body.get('reminder', '')}"
        return Event(id=id_, type=type_, subject=company, occurred_at=at, received_at=at, source="erp", body=body)

    lines = [
        {"service": name, "amount": "160.00", "delivered_ref": f"BL-{company}"} for name in ("vpn", "shared-documents", "reporting")
    ]
    for month in range(12):
        name = f"F-2026-{month:02}-{company}"
        owed = {"invoice": name, "amount": "480.00", "currency": "EUR", "due_on": f"2026-{month + 1:02}-28", "lines": lines}
        yield say(30 * month, "invoice.issued", **owed)
        paid = {"payment": f"E2E-{name}", "amount": "480.00", "currency": "EUR"}
        yield say(30 * month + 20, "payment.received", **paid, allocation=[{"invoice": name, "amount": "480.00"}])
    if number % MATTER:
        return
    name, case = f"F-2026-00-{company}", f"{company}:N-{company}"
    yield say(31, "invoice.overdue", invoice=name, amount="480.00", currency="EUR", due_on="2026-01-28", lines=lines)
    for day in (35, 45, 55):
        yield say(day, "reminder.sent", reminder=f"R{day}-{company}", invoices=[name], channel="email")
    announces = {"services": ["reporting", "shared-documents", "vpn"], "earliest_on": "2026-03-10", "kept": ["dns", "portal"]}
    states = ["sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore"]
    reminders = [f"R{day}-{company}" for day in (35, 45, 55)]
    notice = {"notice": f"N-{company}", "channel": "lrar", "invoices": [name], "reminders": reminders}
    yield say(60, "notice.dispatched", **notice, announces=announces, states=states)
    yield say(62, "notice.delivered", notice=f"N-{company}", proof="AR 1A 234 567 8901 2")
    order = {"order": f"{case}/1", "case": case, "services": announces["services"]}
    yield say(
        75,
        "order.suspend",
        **order,
        gate=TRACE,
        policy_digest="d" * 64,
        lease_minutes=1440,
        mode="auto",
        expires_at="2026-06-01T00:00:00Z",
    )
    yield say(75, "measure.applied", **order, elements=6, times={})
    yield say(80, "measure.restored", order=f"{case}/1", case=case, cause="G-05: paid", final=True, times={})


def host() -> Iterator[Event]:
    """What is said about no company in a year."""
    for minute in range(0, 365 * 24 * 60, 5):
        at = YEAR + timedelta(minutes=minute)
        yield Event(
            id=f"beat:{minute}",
            type="heartbeat",
            subject=HOST,
            occurred_at=at,
            received_at=at,
            source="erp",
            body={"open_invoices": 7},
        )


def fill(ledger: Ledger, said: Iterator[Event]) -> int:
    """Append in batches as a busy gateway would; returns how many."""
    count, batch = 0, list[Event]()
    for event in said:
        batch.append(event)
        if len(batch) == BATCH:
            count += sum(ledger.append(batch))
            batch = []
            ledger.tidy()
    return count + sum(ledger.append(batch))


def run() -> dict[str, float]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with Ledger.open(path) as ledger:
            count = fill(ledger, (event for number in range(COMPANIES) for event in events(f"c{number:06}", number)))
        companies = path.stat().st_size
        with Ledger.open(path) as ledger:
            beats = fill(ledger, host())
        whole = path.stat().st_size
        begin = time.perf_counter()
        backup(path, Path(folder) / "copy.db")
        took = time.perf_counter() - begin
    return {
        "ledger_bytes_per_event": companies / count,
        "ledger_kb_per_company_year": companies / COMPANIES / 1000,
        "ledger_mb_heartbeats_year": (whole - companies) / 1e6,
        "ledger_events_per_company_year": count / COMPANIES,
        "backup_verified_rows_per_s": (count + beats) / took,
    }

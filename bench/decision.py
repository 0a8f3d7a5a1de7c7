"""What deciding costs: one judgement and one fold, for a company with one story and for one with ten years of invoices.

No clock runs in what is measured, and no kernel and no disk: medians of one thread, and their ratio.
"""

import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent.case import EMPTY_RECORD, Record, fold
from agent.event import Event, parse_body
from agent.gate import World
from agent.inventory import compile_directory, open_inventory
from agent.judge import Judgement, judge
from agent.model import Inventory, Mode
from bench import town

#: Ten years of one invoice, one reminder and one payment a month.
MONTHS = 120
ROUNDS = 300


def run() -> dict[str, float]:
    """Microseconds and ratios; `short` is one unpaid invoice, `long` the same after ten paid years."""
    now = datetime.now(UTC)
    with TemporaryDirectory() as name:
        place = Path(name)
        town.write_policies(place, companies=1)
        inventory = open_inventory(compile_directory(place, place))
        short = _folded(EMPTY_RECORD, town.life(now))
        long = _folded(short, _ten_years(now))
        figures: dict[str, float] = {}
        for label, record in (("short", short), ("long", long)):
            figures[f"judge_{label}_us"] = _median_us(_judged, inventory, record, now)
            figures[f"fold_{label}_us"] = _median_us(fold, record, _payment(MONTHS, now))
            figures[f"record_{label}_kb"] = len(json.dumps(record, separators=(",", ":"))) / 1024
        inventory.close()
    for what in ("judge", "fold"):
        figures[f"{what}_ratio_long"] = figures[f"{what}_long_us"] / figures[f"{what}_short_us"]
    return figures


def _judged(inventory: Inventory, record: Record, now: datetime) -> Judgement:
    company = inventory.company(town.company_id(0))
    assert company is not None
    world = World(ceiling=Mode.AUTO, feeds={town.SOURCE: now})
    policy = inventory.policies[company.policy]
    found = judge(
        company_id=company.id,
        record=record,
        company=company,
        services=inventory.services,
        policy=policy,
        world=world,
        restore_all=False,
        leases={f"{company.id}:N-{company.id}": now + timedelta(hours=2)},
        now=now,
    )
    assert len(found.in_force()) == 1
    return found


def _folded(record: Record, events: tuple[Event, ...]) -> Record:
    for event in events:
        record = fold(record, event)
    return record


def _ten_years(now: datetime) -> tuple[Event, ...]:
    found: list[Event] = []
    for month in range(MONTHS):
        at = now - timedelta(days=200 + 30 * month)
        lines = [{"service": name, "amount": "100.00", "delivered_ref": f"BL-{month}"} for name in town.SERVICES]
        due_on = (at + timedelta(days=30)).date().isoformat()
        amount = {"amount": "300.00", "currency": "EUR"}
        found += (
            _said(f"i{month}", "invoice.issued", at, {"invoice": f"M-{month}", "due_on": due_on, "lines": lines, **amount}),
            _said(f"r{month}", "reminder.sent", at + timedelta(days=35), {"reminder": f"MR-{month}", "invoices": [f"M-{month}"]}),
            _payment(month, at + timedelta(days=40)),
        )
    return tuple(found)


def _payment(month: int, at: datetime) -> Event:
    allocation = [{"invoice": f"M-{month}", "amount": "300.00"}]
    body = {"payment": f"MP-{month}", "amount": "300.00", "currency": "EUR", "allocation": allocation}
    return _said(f"p{month}", "payment.received", at, body)


def _said(name: str, type_: str, at: datetime, body: dict[str, Any]) -> Event:
    return Event(
        id=f"{town.SOURCE}:{name}",
        type=type_,
        subject=town.company_id(0),
        occurred_at=at,
        received_at=at,
        source=town.SOURCE,
        body=parse_body(type_, body),
    )


def _median_us(act: Callable[..., object], *arguments: object) -> float:
    took = []
    for _ in range(ROUNDS):
        begin = time.perf_counter_ns()
        act(*arguments)
        took.append((time.perf_counter_ns() - begin) / 1000)
    return statistics.median(took)


if __name__ == "__main__":
    for key, value in run().items():
        print(f"{key:28} {value:10.2f}")

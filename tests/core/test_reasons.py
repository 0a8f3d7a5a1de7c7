"""What the gate and the decision say to people, word for word, and until when: files a lawyer can read from top to bottom.

Every row of the gate's table of cases is told with its reason in French and in English, the facts it names and until when time
alone leaves it so; then what follows from it, and the restores a person or the process itself asks for. After a wanted change:
`ECLUSE_GOLDEN=write pytest tests/core/test_reasons.py`, and read the difference before keeping it.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from agent.judge import Judged
from agent.model import Mode
from tests.core.gate_cases import NOW, ROWS
from tests.core.stories import APPROVE, PARIS, POLICY, Story, ripe, suspended

GOLDEN = Path(__file__).parents[1] / "golden" / "reasons"

RUNNING = suspended()
LEASE = {"lease": "2026-03-30 12:00"}

#: Under which nothing is asked again before the lease is to be renewed.
CALM = replace(POLICY, feed_max_age_minutes=1440, clock_max_age_minutes=60, insolvency_max_age_hours=72, lease_minutes=60)
CALMLY = ripe().ordered("2026-03-30 09:00", lease_minutes=60).applied("2026-03-30 09:00")

#: What a row of the gate's table does not lead to: restores for reasons of our own, waits, and what persons stop.
SITUATIONS: tuple[tuple[str, Story, str, dict[str, Any]], ...] = (
    ("in force", RUNNING, NOW, LEASE),
    ("in force, half the lease gone", RUNNING, "2026-03-30 11:30", LEASE),
    ("in force, the lease was never noted", RUNNING, NOW, {}),
    ("in force, the clock jumped back", RUNNING, NOW, {"lease": "2026-03-31 09:00"}),
    ("in force, the lease ran out", RUNNING, "2026-03-30 12:00", LEASE),
    ("in force, a feed fell silent", RUNNING, NOW, {**LEASE, "feeds": {"erp": None}}),
    ("in force, the register was looked at long ago", RUNNING, NOW, {**LEASE, "register": "2026-03-29 10:30"}),
    ("in force, everything is to be restored", RUNNING, NOW, {**LEASE, "restore_all": True}),
    ("in force, new suspensions are paused", RUNNING, NOW, {**LEASE, "paused": True}),
    ("in force, the ceiling was lowered to approve", RUNNING, NOW, {**LEASE, "ceiling": Mode.APPROVE}),
    ("in force, the ceiling was lowered to observe", RUNNING, NOW, {**LEASE, "ceiling": Mode.OBSERVE}),
    ("in force, a payment was announced", RUNNING.announced("2026-03-30 09:30"), NOW, LEASE),
    ("in force, paid", RUNNING.paid("4800", NOW), NOW, LEASE),
    ("in force, paid in part", RUNNING.paid("4500", NOW), NOW, LEASE),
    ("in force, contested", RUNNING.dispute(NOW), NOW, LEASE),
    ("in force, cancelled", RUNNING.cancelled("F1", NOW), NOW, LEASE),
    ("in force, insolvent", RUNNING.insolvent(NOW, "2026-03-28"), NOW, LEASE),
    ("in force, an error", RUNNING.voided(NOW), NOW, LEASE),
    ("in force, a plan was agreed", RUNNING.plan("agreed", NOW, "F1"), NOW, LEASE),
    ("in force, another debtor", RUNNING.replaced(NOW), NOW, LEASE),
    ("in force, restored by hand", RUNNING.by_hand(NOW), NOW, LEASE),
    ("in force, the longest time is over", RUNNING, "2026-04-29 09:00", {"lease": "2026-04-29 12:00"}),
    ("in force, a short lease", CALMLY, NOW, {"policy": CALM, "lease": "2026-03-30 10:45"}),
    ("in force, a short lease to be renewed", CALMLY, NOW, {"policy": CALM, "lease": "2026-03-30 10:20"}),
    ("in force, a short lease ran out", CALMLY, NOW, {"policy": CALM, "lease": NOW}),
    (
        "in force, a short lease, a feed fell silent",
        CALMLY,
        NOW,
        {"policy": CALM, "lease": "2026-03-30 10:45", "feeds": {"erp": None}},
    ),
    ("ripe, a short lease", ripe(), NOW, {"policy": CALM}),
    ("ordered, not applied", ripe().ordered("2026-03-30 09:59:50"), NOW, {}),
    ("ordered, not applied, paused", ripe().ordered("2026-03-30 09:59:50"), NOW, {"paused": True}),
    ("ordered, not applied, the window has shut", ripe().ordered("2026-03-30 14:59"), "2026-03-30 15:00", {}),
    ("ordered, not applied, a feed fell silent", ripe().ordered("2026-03-30 09:59:50"), NOW, {"feeds": {"erp": None}}),
    ("ripe", ripe(), NOW, {}),
    ("ripe, new suspensions are paused", ripe(), NOW, {"paused": True}),
    ("proposed, new suspensions are paused", ripe().proposed("2026-03-27 00:00"), NOW, {"paused": True}),
    ("ripe, nobody approved", ripe(), NOW, {"policy": APPROVE}),
    ("ripe, the host only observes", ripe(), NOW, {"ceiling": Mode.OBSERVE}),
    ("ripe, a payment was announced", ripe().announced("2026-03-27 09:30"), NOW, {}),
    ("ripe, paid before", ripe().paid("4800", "2026-03-28 10:00"), NOW, {}),
    ("closed", RUNNING.paid("4800", NOW).restored(NOW, cause="G-04", reason="paid"), "2026-03-31 10:00", {}),
    ("not ripe yet", ripe(), "2026-03-20 10:00", {}),
)


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("ECLUSE_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def moment(when: datetime | None) -> str:
    return "-" if when is None else when.astimezone(ZoneInfo(PARIS)).isoformat()


def decided(one: Judged) -> Iterator[str]:
    found = one.decision
    assert found.case == one.case.id
    final = ", for good" if found.final else ""
    yield f"  {found.act.value} {found.cause or '-'} {found.reason or '-'}{final}; mode {one.gate.mode.value}, owed {one.gate.owed}"
    yield f"  lease {moment(found.lease_until)}, again {moment(found.next_at)}, checks until {moment(one.gate.until)}"
    if found.fr or found.en:
        yield f"  fr: {found.fr}"
        yield f"  en: {found.en}"


def test_every_check_says_the_same_words_as_were_read() -> None:
    lines = ["What each check says of each case of the gate's table, at the time given (Paris)."]
    for row in ROWS:
        check = row.story.check(row.code, row.now, **row.world)
        lines += [
            "",
            f"{row.code} {row.name} ({row.now})",
            f"  {check.verdict.value}, {check.kind.value}, until {moment(check.until)}",
            f"  fr: {check.fr}",
            f"  en: {check.en}",
            f"  rests on: {', '.join(check.facts) or '-'}"
            + (f"; lifted by {', '.join(check.lifted_by)}" if check.lifted_by else ""),
        ]
    golden("checks.txt", "\n".join(lines) + "\n")


def test_what_follows_from_it_is_said_in_the_same_words_as_were_read() -> None:
    lines = ["What is decided in each situation, at the time given (Paris): act, cause, reason; lease; when it is looked at again."]
    for name, story, now, world in SITUATIONS:
        lines += ["", f"{name} ({now})", *decided(story.case(now, **world))]
    lines += ["", "", "And in each case of the gate's table."]
    for row in ROWS:
        lines += ["", f"{row.code} {row.name} ({row.now})", *decided(row.story.case(row.now, **row.world))]
    golden("decisions.txt", "\n".join(lines) + "\n")


def test_the_same_words_stand_in_the_trace_that_goes_into_the_ledger() -> None:
    gate = RUNNING.case(NOW, **LEASE).gate
    assert gate.trace() == {
        "at": "2026-03-30T08:00:00.000000Z",
        "checks": [
            {"code": c.code, "kind": c.kind.value, "verdict": c.verdict.value, "facts": list(c.facts), "fr": c.fr, "en": c.en}
            for c in gate.checks
        ],
    }

"""Floor 1. What of a company's past may be erased without changing what is decided about it.

Rules of this room:

1. Nothing of a company with an open case, a measure or an unsettled invoice is erased; it waits until the matter is over.
2. What stands in a customer's favour (holds, disputes, proceedings, plans) stays, with what ended it, as long as the company is a
   customer: a hold whose lifting was erased would come back, and one that was erased would be missed.
3. Afterwards the customer never owes more than before, of no invoice there is nor of one that may come: money paid too much
   counts for the next one. The record is read with and without the facts in question, and a doubt means that they stay.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.case import EMPTY_RECORD, Record, cases, fold, holds
from agent.debt import Debt, debt
from agent.event import Event

#: What is younger than this is never erased: limits, reviews and a year's audit look at it.
SHORTEST = timedelta(days=366)

#: Facts of one matter, by the beginning of their names: with the matter they are over. Everything else stays.
_MATTER = (
    "approval.",
    "case.delayed",
    "case.observed",
    "case.proposed",
    "invoice.",
    "measure.",
    "notice.",
    "order.",
    "override.",
    "payment.",
    "policy.pinned",
    "reminder.",
    "stage.",
    "warning.",
)

_INVOICE = ("invoice.issued", "invoice.overdue")

#: The word about an erasing; it is what proves the others.
_ERASED = "ledger.erased"


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasable:
    """The rows whose bodies may go; or none, and in French and in English what keeps them."""

    rows: tuple[int, ...] = ()
    fr: str = ""
    en: str = ""


def erasable(company: str, facts: Sequence[tuple[int, Event]], before: datetime, *, customer: bool) -> Erasable:
    """Say what may be erased of one company.

    Args:
        company: its id.
        facts: everything about it that was not erased yet, with the numbers of the rows.
        before: what was received earlier is asked about.
        customer: the inventory knows the company.
    """
    facts = [(seq, event) for seq, event in facts if event.type != _ERASED]
    silent = all(event.received_at < before for _, event in facts)
    every = silent and not customer
    rows = tuple(seq for seq, event in facts if event.received_at < before and (every or event.type.startswith(_MATTER)))
    if not rows:
        return Erasable()
    gone = frozenset(rows)
    coming = _coming([event for _, event in facts], before)
    was = _record([*(event for _, event in facts), *coming])
    left = _record([*(event for seq, event in facts if seq not in gone), *coming])
    owed, owing = debt(was), debt(left)
    kept = _open(company, was, owed) or _unsettled(owed, [event for seq, event in facts if seq in gone]) or _heavier(owed, owing)
    if kept is None and not every:
        lost = {hold.id for hold in holds(was)} - {hold.id for hold in holds(left)}
        kept = (f"gel {min(lost)} encore nécessaire", f"hold {min(lost)} is still needed") if lost else None
    kept = kept or _open(company, left, owing)
    return Erasable(rows=rows) if kept is None else Erasable(fr=kept[0], en=kept[1])


def _coming(facts: Sequence[Event], at: datetime) -> list[Event]:
    """Invoices that may come, larger than any credit: one in each currency, and those that were paid before they were heard of."""
    known = {event.body["invoice"] for event in facts if event.type in _INVOICE}
    names: set[tuple[str, str]] = set()
    for event in facts:
        if event.type == "payment.received":
            currency = str(event.body["currency"])
            allocated = (str(part["invoice"]) for part in event.body.get("allocation", ()))
            names |= {(f"the next in {currency}", currency), *((name, currency) for name in allocated if name not in known)}
    return [
        Event(
            id=f"coming:{number}",
            type="invoice.issued",
            subject="",
            occurred_at=at,
            received_at=at,
            source="agent",
            body={"invoice": name, "due_on": "9999-12-31", "amount": "1000000000000.00", "currency": currency},
        )
        for number, (name, currency) in enumerate(sorted(names))
    ]


def _record(events: Iterable[Event]) -> Record:
    record = EMPTY_RECORD
    for event in events:
        record = fold(record, event)
    return record


def _open(company: str, record: Record, owed: Debt) -> tuple[str, str] | None:
    """A case that is not over: with an order, or neither closed nor paid."""
    for case in cases(company, record):
        due = [owed.invoices[name] for name in case.notice.invoices if name in owed.invoices]
        if case.order is not None or (not case.closed and any(one.remaining > 0 and not one.out for one in due)):
            return f"dossier {case.id} ouvert", f"case {case.id} is open"
    return None


def _unsettled(owed: Debt, gone: Sequence[Event]) -> tuple[str, str] | None:
    """An invoice of the past that is still owed or contested."""
    for name in sorted({str(event.body["invoice"]) for event in gone if event.type in _INVOICE}):
        invoice = owed.invoices[name]
        if invoice.out in ("disputed", "doubt") or (not invoice.out and invoice.remaining > 0):
            return f"facture {name} non soldée", f"invoice {name} is not settled"
    return None


def _heavier(owed: Debt, owing: Debt) -> tuple[str, str] | None:
    """An invoice that would be owed, or owed more, without the facts in question."""
    for name, after in sorted(owing.invoices.items()):
        before = owed.invoices[name]
        if not after.out and (before.out or after.remaining > before.remaining):
            return f"facture {name} : un fait ancien compte encore", f"invoice {name}: an old fact still counts"
    return None

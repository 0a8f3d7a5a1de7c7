"""Floor 1. What a company still owes: invoices less payments, without what is disputed, cancelled or in doubt.

Rules of this room:

1. Only identified invoices count; a balance is not a debt anyone can be suspended for.
2. Money that came in always counts. Without an allocation it goes first to invoices named in a formal notice, then by due
   date (C. civ. 1342-10: due debts first, of these the one the debtor had most interest to pay, then the oldest).
3. Penalties and fees never keep a service cut: the principal is the service lines alone.
4. What can not be compared (a payment in another currency) takes the invoices it touches out of the debt and says so.
5. The sum of an invoice is the latest word on it (billers restate what remains to be paid); of one instant, the smaller.
6. Money that came back after a notice was sent still counts for that notice: whoever complied with it is told again before
   anything is suspended.
7. What was owed before insolvency proceedings were opened is never owed again here, also when they are over: it gives a right
   to declare a claim (C. com. L622-13), no more.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from agent.holds import proceedings
from agent.record import Record, Statement, keys, statements


@dataclass(frozen=True, kw_only=True, slots=True)
class InvoiceLine:
    """One line: for which service, how much, and the reference that it was delivered."""

    service: str
    amount: Decimal
    delivered_ref: str
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Invoice:
    """An invoice and what is left of its principal.

    `out` says why it does not count ("cancelled", "insolvency", "disputed", "doubt"), or is empty. `contracts` are those it is
    said to be under, `stated_at` is when it was first heard of. `arose_on` is the earliest day that anybody gives for what it
    is for: the day it was issued or a period began, and the due date where neither is known.
    """

    id: str
    due_on: date
    currency: str
    principal: Decimal
    remaining: Decimal
    lines: tuple[InvoiceLine, ...]
    contracts: tuple[str, ...]
    stated_at: datetime
    arose_on: date
    out: str
    facts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Debt:
    """Every invoice of a company, disputes that no invoice or motive narrows down, and what has to be looked at by a person.

    `upheld`: the invoices that were rightly contested; they are out of the debt for good.
    """

    invoices: Mapping[str, Invoice]
    vague_disputes: tuple[str, ...]
    doubts: tuple[str, ...]
    upheld: frozenset[str] = frozenset()


def debt(record: Record, *, since: datetime | None = None) -> Debt:
    """Compute what is owed from a record.

    Args:
        record: everything said about the company.
        since: when the notice was sent under which the debt is asked for; payments that came back later still count. None:
            what is owed as such.

    Returns:
        each invoice with its remaining principal; deterministic whatever the order of the events was.
    """
    doubts: dict[str, str] = {}
    invoices = {
        key: _invoice(record, key, doubts) for key in sorted({*keys(record, "invoice.issued"), *keys(record, "invoice.overdue")})
    }
    named = {name for one in statements(record, "notice.dispatched") for name in one.body["invoices"]}
    disputed, upheld, vague = _disputes(record, invoices)
    judgment_on = max((one.judgment_on for one in proceedings(record)), default=None)
    paid, free = _payments(record, invoices, doubts, since)
    out = {key: invoice.out or _left_out(invoice, judgment_on, disputed, doubts) for key, invoice in invoices.items()}
    for key, invoice in invoices.items():  # money beyond what an invoice can take is the customer's: it pays the others
        surplus = paid.get(key, Decimal(0)) - (Decimal(0) if out[key] == "cancelled" else invoice.principal)
        if surplus > 0:
            free[invoice.currency] = free.get(invoice.currency, Decimal(0)) + surplus
    settled: dict[str, Invoice] = {}
    for key in sorted(invoices, key=lambda name: (name not in named, invoices[name].due_on, name)):
        invoice = invoices[key]
        remaining = max(Decimal(0), invoice.principal - paid.get(key, Decimal(0)))
        if not out[key]:  # what is out of the debt must not eat money that could bring another invoice down
            taken = min(remaining, free.get(invoice.currency, Decimal(0)))
            remaining -= taken
            free[invoice.currency] = free.get(invoice.currency, Decimal(0)) - taken
        settled[key] = replace(invoice, remaining=remaining, out=out[key])
    for currency, left in sorted(free.items()):
        for key, invoice in settled.items():
            if left > 0 and invoice.currency != currency and invoice.remaining > 0 and not invoice.out:
                doubts[key] = f"{left} {currency} paid without saying what for, invoice {key} is in {invoice.currency}"
                settled[key] = replace(invoice, out="doubt")
    return Debt(
        invoices=settled, vague_disputes=vague, doubts=tuple(sorted(set(doubts.values()))), upheld=frozenset(upheld & set(settled))
    )


def _left_out(invoice: Invoice, judgment_on: date | None, disputed: set[str], doubts: Mapping[str, str]) -> str:
    if judgment_on is not None and invoice.arose_on < judgment_on:
        return "insolvency"
    if invoice.id in disputed:
        return "disputed"
    return "doubt" if invoice.id in doubts else ""


def _invoice(record: Record, key: str, doubts: dict[str, str]) -> Invoice:
    said = sorted(
        (*statements(record, "invoice.issued", key), *statements(record, "invoice.overdue", key)),
        key=lambda one: (one.at, one.id),
    )
    # The latest word on the sum; between statements of the same instant the smaller one.
    last = [one for one in said if one.at == said[-1].at]
    amount = min(Decimal(one.body["amount"]) for one in last)
    currencies = sorted({str(one.body["currency"]) for one in said})
    if len(currencies) > 1:
        doubts[key] = f"invoice {key} is stated in {' and in '.join(currencies)}"
    detailed = [one for one in said if one.body.get("lines")]
    lines = _lines(detailed[-1]) if detailed else ()
    services = sum((line.amount for line in lines if line.kind == "service"), Decimal(0))
    cancelled = statements(record, "invoice.cancelled", key)
    return Invoice(
        id=key,
        due_on=max(date.fromisoformat(one.body["due_on"]) for one in said),
        currency=str(last[-1].body["currency"]),
        principal=min(amount, services) if lines else amount,
        remaining=Decimal(0),
        lines=lines,
        contracts=tuple(sorted({str(one.body["contract"]) for one in said if one.body.get("contract")})),
        stated_at=said[0].at,
        arose_on=_arose_on(said),
        out="cancelled" if cancelled else "",
        facts=tuple(one.id for one in (*said, *cancelled)),
    )


def _arose_on(said: list[Statement]) -> date:
    """The earliest day given for what an invoice is for; what is as old as a judgment is a claim, not a debt to be pressed."""
    days = [one.body["issued_on"] for one in said if "issued_on" in one.body]
    days += [line["period_from"] for one in said for line in one.body.get("lines", ()) if "period_from" in line]
    return date.fromisoformat(min(days or [one.body["due_on"] for one in said]))


def _lines(said: Statement) -> tuple[InvoiceLine, ...]:
    return tuple(
        InvoiceLine(
            service=str(line["service"]),
            amount=Decimal(line["amount"]),
            delivered_ref=str(line.get("delivered_ref", "")),
            kind=str(line.get("kind", "service")),
        )
        for line in said.body["lines"]
    )


def _payments(
    record: Record, invoices: Mapping[str, Invoice], doubts: dict[str, str], since: datetime | None
) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Money by invoice and money without an allocation by currency; doubts about invoices are added to `doubts`."""
    paid: dict[str, Decimal] = {}
    free: dict[str, Decimal] = {}
    for key in keys(record, "payment.received"):
        gone = [one.at for one in statements(record, "payment.reversed", key) if since is None or one.at <= since]
        # The same reference with another sum or allocation may be a second payment: it counts (doubt means service on).
        distinct: dict[str, Statement] = {}
        for one in statements(record, "payment.received", key):
            if not gone or one.at >= gone[-1]:
                what = [one.body["amount"], one.body["currency"], one.body.get("allocation")]
                distinct[json.dumps(what, sort_keys=True)] = one
        for one in distinct.values():
            currency = str(one.body["currency"])
            left = Decimal(one.body["amount"])
            for part in one.body.get("allocation", ()):
                invoice = str(part["invoice"])
                amount = Decimal(part["amount"])
                left -= amount
                if invoice in invoices and invoices[invoice].currency != currency:
                    doubts[invoice] = f"payment {key} is in {currency}, invoice {invoice} in {invoices[invoice].currency}"
                else:
                    paid[invoice] = paid.get(invoice, Decimal(0)) + amount
            if left > 0:
                free[currency] = free.get(currency, Decimal(0)) + left
    return paid, free


def _disputes(record: Record, invoices: Mapping[str, Invoice]) -> tuple[set[str], set[str], tuple[str, ...]]:
    """Invoices that are or were rightly contested, the latter alone, and open disputes that name no invoice or no motive."""
    disputed: set[str] = set()
    won: set[str] = set()
    vague: set[str] = set()
    for key in keys(record, "dispute.opened"):
        opened = statements(record, "dispute.opened", key)
        closed = statements(record, "dispute.closed", key)
        upheld = any(one.body["outcome"] == "upheld" for one in closed)
        if closed and closed[-1].at > opened[-1].at and not upheld:
            continue
        for one in opened:
            named = one.body.get("invoices", ())
            disputed.update(named)
            if upheld:  # whoever is right about everything is right about all that was asked for by then
                won.update(named or (invoice.id for invoice in invoices.values() if invoice.stated_at <= one.at))
            if not upheld and (not named or not one.body.get("motive")):
                vague.add(key)
    return disputed | won, won, tuple(sorted(vague))

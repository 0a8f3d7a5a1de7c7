"""Floor 1. Kind `stripe`: webhooks of Stripe.

Rules of this room:

1. `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>]`; HMAC-SHA256 over `t.body`, the key is the whole `whsec_...` text.
   Unlike Stripe's own library a time in the future is refused as well.
2. An invoice's *state* is the fact; the event's name only says that something changed. The amount of an open invoice is
   what remains to be paid. A paid invoice is one payment, named after the invoice, together with the invoice's sum
   restated, so that the several events about one payment, partial payments, credit notes and any order of arrival all
   come to the same debt.
3. An invoice that Stripe calls void or uncollectible is cancelled: the biller no longer asks for it.
4. A reversal names the payment (that is, the invoice) only if the object does. Newer API versions do not say which invoice
   a charge was for: then the reversal names the charge, revives no debt, and stays in the ledger for a person to read.
5. `due_date` is null where Stripe collects by itself. Then the invoice is due thirty days after it was made, the term
   that applies where none was agreed (C. com. L441-10).
6. Objects that name no customer (`invoice_payment`, `dispute`) give facts without a customer; intake keeps them.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from agent.billing.fact import MIN_SECRET_BYTES, Fact, Ignored, Source, any_match, check_fresh, malformed, state, unix_time
from agent.errors import EventError, Rejected
from agent.event import load_json

HEADERS = ("stripe-signature",)

#: Days until an invoice without a due date is due (rule 5).
DEFAULT_TERM = timedelta(days=30)

# A due time is a moment, a due day is a day. The day it is in the time zone furthest ahead is never before the debtor's own.
_FURTHEST_AHEAD = timedelta(hours=14)

# Amounts are in the smallest unit. Two decimals but for these (Stripe, "Supported currencies"). UGX and ISK have no decimals
# in trade, yet Stripe counts them with two.
_NO_DECIMALS = frozenset(["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"])
_THREE_DECIMALS = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])

_MAX_HEADER = 2048
_MAX_SIGNATURES = 16
_ITEM = re.compile(r"([a-z][a-z0-9]{0,7})=([0-9A-Za-z_-]{1,200})")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,9}")
_HEX = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+#-]{0,127}")

#: One fact before it has an id: type, customer, when, body.
_Said = tuple[str, str, datetime, dict[str, Any]]
_Object = Mapping[str, Any]


def key(text: str) -> bytes:
    """The HMAC key of a Stripe endpoint secret: the whole text, prefix included.

    Raises:
        ValueError: too short, or not one printable word. The message never holds the secret.
    """
    secret = text.strip()
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError("not one printable word; copy the endpoint's signing secret, whsec_ included")
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError("too short; copy the endpoint's signing secret, whsec_ included")
    return secret.encode()


def signed_at(headers: Mapping[str, str]) -> datetime | None:
    """When Stripe says it signed, or None if it does not say so in the strict form."""
    try:
        return datetime.fromtimestamp(_header(headers)[0], UTC)
    except Rejected:
        return None


def verify(headers: Mapping[str, str], body: bytes, source: Source, now: datetime) -> None:
    """Check that a request is authentic and fresh.

    Raises:
        Rejected: 401 `bad_signature`, `stale` or `future`.
    """
    seconds, signatures = _header(headers)
    signed = f"{seconds}.".encode() + body
    ours = (hmac.new(secret, signed, hashlib.sha256).hexdigest().encode() for secret in source.secrets)
    if not any_match(ours, signatures):
        raise _bad_signature()
    check_fresh(datetime.fromtimestamp(seconds, UTC), source, now)


def read(headers: Mapping[str, str], body: bytes, source: Source, now: datetime) -> tuple[Fact | Ignored, ...]:
    """Verify, then read one Stripe event.

    Returns:
        usually one fact, called after the event; two for a paid invoice; one `Ignored` where nothing is said to us.

    Raises:
        Rejected: as `verify`; 400 `test_mode` for test data where live data is asked for; 400 `malformed`.
    """
    verify(headers, body, source, now)
    try:
        event = load_json(body)
        if not isinstance(event, dict):
            raise EventError(field="body", what="not an object")
        if event.get("object") == "v2.core.event":
            return (
                Ignored(
                    type=ascii(event.get("type"))[1:-1][:80], why="a thin event holds no data; choose snapshot events in Stripe"
                ),
            )
        if event.get("object") != "event":
            raise EventError(field="object", what="not a Stripe event")
        name = _id(event, "id")
        if source.livemode_only and event.get("livemode") is not True:
            raise Rejected(status=400, kind="test_mode", what="test data (livemode is not true); this source takes live data only")
        type_ = event.get("type")
        reader = _READERS.get(type_) if isinstance(type_, str) else None
        if reader is None:
            return (Ignored(type=ascii(type_)[1:-1][:80], why="not an event that says anything about a debt"),)
        data = event.get("data")
        object_ = data.get("object") if isinstance(data, dict) else None
        if not isinstance(object_, dict):
            raise EventError(field="data.object", what="not an object")
        said = reader(event["type"], object_, unix_time(_whole(event, "created")))
        if isinstance(said, Ignored):
            return (said,)
        # Ids go by place in the mapping, so that a redelivery has the same ones whatever the source may state by then.
        return tuple(
            state(
                source, id_=name if number == 1 else f"{name}/{number}", type_=fact, customer=customer, occurred_at=at, body=body_
            )
            for number, (fact, customer, at, body_) in enumerate(said, 1)
        )
    except EventError as error:
        raise malformed(error) from None


# --- invoices ---------------------------------------------------------------------------------------------------


def _invoice(type_: str, invoice: _Object, at: datetime) -> Ignored | tuple[_Said, ...]:
    customer = _customer(invoice)
    id_ = _id(invoice, "id")
    status = invoice.get("status")
    if status in ("void", "uncollectible"):
        return (("invoice.cancelled", customer, at, {"invoice": id_, "reason": f"{status} in Stripe"}),)
    if status == "paid":
        return _paid(invoice, id_, customer, at)
    if status != "open":
        return Ignored(type=type_, why=f"the invoice is {status!r:.40}: it asks for nothing yet")
    body = _terms(invoice, id_, _remaining(invoice))
    past_due = type_ == "invoice.overdue" or str(body["due_on"]) < at.date().isoformat()
    return (("invoice.overdue" if past_due else "invoice.issued", customer, at, body),)


def _paid(invoice: _Object, id_: str, customer: str, at: datetime) -> tuple[_Said, ...]:
    moments = invoice.get("status_transitions")
    paid_at = moments.get("paid_at") if isinstance(moments, dict) else None
    when = min(at, unix_time(paid_at)) if isinstance(paid_at, int) and not isinstance(paid_at, bool) else at
    # What was asked, not what Stripe collected: money given outside Stripe settles an invoice too, and what was paid in
    # excess is credited to the next one by Stripe itself.
    amount = _money(_whole(invoice, "amount_due"), _currency(invoice))
    terms = _terms(invoice, id_, amount)
    payment = {
        "payment": id_,
        "amount": amount,
        "currency": terms["currency"],
        "allocation": [{"invoice": id_, "amount": amount}],
    }
    return (("payment.received", customer, when, payment), ("invoice.issued", customer, when, terms))


def _terms(invoice: _Object, id_: str, amount: str) -> dict[str, Any]:
    made = unix_time(_whole(invoice, "created"))
    due = made + DEFAULT_TERM if invoice.get("due_date") is None else unix_time(_whole(invoice, "due_date"))
    lines = _lines(invoice)
    return {
        "invoice": id_,
        "due_on": (due + _FURTHEST_AHEAD).date().isoformat(),
        "issued_on": made.date().isoformat(),
        "amount": amount,
        "currency": _currency(invoice),
        **({"lines": lines} if lines else {}),
    }


def _remaining(invoice: _Object) -> str:
    name = "amount_remaining" if invoice.get("amount_remaining") is not None else "amount_due"
    return _money(_whole(invoice, name), _currency(invoice))


def _lines(invoice: _Object) -> list[dict[str, Any]]:
    """Our lines: one per service that a Stripe line names in `metadata.ecluse_service`.

    Discounts and credits of the same service are taken off. Lines that name no service are left out, and so is whatever Stripe
    cut off a long list: both make the principal smaller, never larger.
    """
    listed = invoice.get("lines")
    rows = listed.get("data") if isinstance(listed, dict) else None
    sums: dict[str, int] = {}
    delivered: dict[str, str] = {}
    for row in rows if isinstance(rows, list) else []:
        metadata = row.get("metadata") if isinstance(row, dict) else None
        if not isinstance(metadata, dict):
            continue
        service = metadata.get("ecluse_service")
        if not isinstance(service, str) or not _SERVICE.fullmatch(service):
            continue
        sums[service] = sums.get(service, 0) + _whole(row, "amount", least=-(10**14)) - sum(_discounts(row))
        if isinstance(metadata.get("ecluse_delivered_ref"), str):
            delivered[service] = metadata["ecluse_delivered_ref"]
    return [
        {
            "service": service,
            "amount": _money(max(0, total), _currency(invoice)),
            **({"delivered_ref": delivered[service]} if service in delivered else {}),
        }
        for service, total in sorted(sums.items())
    ]


def _discounts(row: _Object) -> Iterator[int]:
    given = row.get("discount_amounts")
    for each in given if isinstance(given, list) else []:
        if isinstance(each, dict):
            yield _whole(each, "amount")


# --- payments that are not invoices --------------------------------------------------------------------------------


def _invoice_payment(type_: str, paid: _Object, at: datetime) -> Ignored | tuple[_Said, ...]:
    """One payment towards an invoice. Where the whole invoice came along, its state says more; else no customer is named."""
    invoice = paid.get("invoice")
    if isinstance(invoice, dict):
        return _invoice(type_, invoice, at)
    if paid.get("status") not in (None, "paid"):
        return Ignored(type=type_, why=f"the payment is {paid.get('status')!r:.40}")
    id_ = _linked(paid, "invoice")
    if not id_:
        return Ignored(type=type_, why="it names no invoice")
    currency = _currency(paid)
    amount = _money(_whole(paid, "amount_paid"), currency)
    body = {"payment": id_, "amount": amount, "currency": currency, "allocation": [{"invoice": id_, "amount": amount}]}
    return (("payment.received", _customer(paid), at, body),)


def _refund(type_: str, charge: _Object, at: datetime) -> Ignored | tuple[_Said, ...]:
    if charge.get("refunded") is not True:
        return Ignored(type=type_, why="a refund of a part takes no payment back")
    return (("payment.reversed", _customer(charge), at, {"payment": _payment(charge), "code": "refunded"}),)


def _withdrawn(type_: str, dispute: _Object, at: datetime) -> Ignored | tuple[_Said, ...]:
    del type_
    charge = dispute.get("charge")
    inside = charge if isinstance(charge, dict) else {}
    body = {"payment": _payment(inside) if inside else _payment(dispute), "code": str(dispute.get("reason"))[:80]}
    return (("payment.reversed", _customer(inside), at, body),)


def _reinstated(type_: str, dispute: _Object, at: datetime) -> Ignored | tuple[_Said, ...]:
    """The money is back: the same payment again, counted because it is later than the reversal."""
    charge = dispute.get("charge")
    inside = charge if isinstance(charge, dict) else {}
    invoice = _linked(inside, "invoice")
    if not invoice:
        return Ignored(type=type_, why="the withdrawal could not be tied to an invoice, so it took nothing back")
    currency = _currency(dispute)
    amount = _money(_whole(dispute, "amount"), currency)
    body = {"payment": invoice, "amount": amount, "currency": currency, "allocation": [{"invoice": invoice, "amount": amount}]}
    return (("payment.received", _customer(inside), at, body),)


def _payment(charge: _Object) -> str:
    """What a charge paid: the invoice if it says so, which is the name of the payment; else the charge's own name (rule 4)."""
    found = _linked(charge, "invoice") or _linked(charge, "payment_intent") or _linked(charge, "charge")
    return found or _id(charge, "id")


_READERS: Mapping[str, Callable[[str, _Object, datetime], Ignored | tuple[_Said, ...]]] = {
    "invoice.finalized": _invoice,
    "invoice.updated": _invoice,
    "invoice.overdue": _invoice,
    "invoice.paid": _invoice,
    "invoice.payment_succeeded": _invoice,
    "invoice.overpaid": _invoice,
    "invoice.voided": _invoice,
    "invoice.marked_uncollectible": _invoice,
    "invoice_payment.paid": _invoice_payment,
    "charge.refunded": _refund,
    "charge.dispute.funds_withdrawn": _withdrawn,
    "charge.dispute.funds_reinstated": _reinstated,
}


# --- fields -----------------------------------------------------------------------------------------------------


def _id(object_: _Object, name: str) -> str:
    value = object_.get(name)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise EventError(field=name, what="missing or not a Stripe identifier")
    return value


def _linked(object_: _Object, name: str) -> str:
    """The id in a link field, which holds an id, the whole object, or nothing."""
    value = object_.get(name)
    if value is None:
        return ""
    return _id(value, "id") if isinstance(value, dict) else _id(object_, name)


def _customer(object_: _Object) -> str:
    return _linked(object_, "customer")


def _whole(object_: _Object, name: str, *, least: int = 0) -> int:
    value = object_.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 10**14:
        raise EventError(field=name, what="missing or not a whole number in range")
    return value


def _currency(object_: _Object) -> str:
    value = object_.get("currency")
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]{3}", value):
        raise EventError(field="currency", what="missing or not a currency of Stripe")
    return value.upper()


def _money(units: int, currency: str) -> str:
    decimals = 0 if currency in _NO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2
    return str(Decimal(units).scaleb(-decimals))


def _header(headers: Mapping[str, str]) -> tuple[int, tuple[bytes, ...]]:
    text = headers.get("stripe-signature", "")
    items = [_ITEM.fullmatch(item) for item in text.split(",", _MAX_SIGNATURES + 2)] if len(text) <= _MAX_HEADER else []
    found = [(match[1], match[2]) for match in items if match]
    times = [value for name, value in found if name == "t"]
    signatures = [value for name, value in found if name == "v1"]
    if (
        not items
        or len(found) != len(items)
        or len(times) != 1
        or not _TIMESTAMP.fullmatch(times[0])
        or not 0 < len(signatures) <= _MAX_SIGNATURES
        or not all(_HEX.fullmatch(one) for one in signatures)
    ):
        raise _bad_signature()
    return int(times[0]), tuple(one.encode() for one in signatures)


def _bad_signature() -> Rejected:
    return Rejected(
        status=401,
        kind="bad_signature",
        what="Stripe-Signature does not prove this body; check the endpoint's secret and the raw bytes",
    )

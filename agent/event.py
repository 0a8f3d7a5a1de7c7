"""Floor 0. Every event type of the ledger, its fields, its canonical bytes.

Rules of this room:

1. An event is a fact somebody states about one subject; it is never changed. A correction is another event.
2. `TYPES` is the only list of event types. What is not in it can not enter the ledger.
3. `parse` is strict: unknown fields, wrong types, negative sums are refused with the path of the field.
4. A body holds plain JSON values only, normalised: sums and dates as strings, so that the same fact always has the
   same bytes and therefore the same hash.
5. `key` names the business object (invoice number, tracking number, bank reference) that makes two events the same
   fact, whatever their ids.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from agent.errors import EventError

# Used with `fullmatch`: `$` would let a trailing line feed pass.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+#-]{0,127}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
# Control characters of both ranges (a terminal obeys C1 too), and half characters, which have no UTF-8 form.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_TEXT = 2000
_MAX_ITEMS = 500
_MAX_SUM = Decimal(10) ** 12

#: Subject of events that concern no single company.
HOST = "-"


class Origin(StrEnum):
    """Who may state a fact of a type."""

    BILLING = "billing"
    OPERATOR = "operator"
    AGENT = "agent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One fact. `source` is who said it (`stripe-main`, `operator:claire`, `agent`), `subject` whom it is about.

    Times are UTC. `occurred_at` is when it happened as its source says, `received_at` when it reached us.
    """

    id: str
    type: str
    subject: str
    occurred_at: datetime
    received_at: datetime
    source: str
    body: Mapping[str, Any]


def instant(value: datetime) -> str:
    """RFC 3339 in UTC with microseconds, the one form in which the ledger writes time."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_instant(text: str, *, field: str = "occurred_at") -> datetime:
    """RFC 3339 text with a zone to an aware UTC datetime.

    Raises:
        EventError: not a date with time and zone, or outside the years 2000 to 2100.
    """
    try:
        value = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise EventError(field=field, what="not a date and time", mend="write it as 2026-03-09T14:07:12Z") from None
    if value.tzinfo is None:
        raise EventError(field=field, what="has no time zone", mend="add Z or +01:00")
    if not 2000 <= value.year <= 2100:
        raise EventError(field=field, what="year out of range", mend="years 2000 to 2100")
    return value.astimezone(UTC)


def canonical(event: Event) -> bytes:
    """The bytes that are hashed: JSON, keys sorted, no spaces, UTF-8 (in the spirit of RFC 8785)."""
    return json.dumps(
        {
            "id": event.id,
            "type": event.type,
            "subject": event.subject,
            "occurred_at": instant(event.occurred_at),
            "received_at": instant(event.received_at),
            "source": event.source,
            "body": event.body,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()


# --- kinds of field ---------------------------------------------------------------------------------------------


def _id(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise EventError(field=field, what="not an identifier", mend="1 to 128 letters, digits and ._:/@+#-")
    return value


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT or _UNPRINTABLE.search(value):
        raise EventError(field=field, what="not a text", mend=f"at most {_MAX_TEXT} characters, no control characters")
    return value


def _date(value: Any, field: str) -> str:
    try:
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            raise ValueError
        day = date.fromisoformat(value)
    except ValueError:
        raise EventError(field=field, what="not a date", mend="write it as 2026-03-09") from None
    if not 2000 <= day.year <= 2100:
        raise EventError(field=field, what="year out of range", mend="years 2000 to 2100")
    return day.isoformat()


def _instant(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise EventError(field=field, what="not a date and time", mend="write it as 2026-03-09T14:07:12Z")
    return instant(parse_instant(value, field=field))


def _sum(value: Any, field: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise EventError(field=field, what="not a sum of money", mend='write it as a string: "4800.00"')
    # `Decimal` alone would also read "1_000", " 12 " and digits of other scripts.
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise EventError(field=field, what="not a sum of money", mend='write it as a string: "4800.00"')
    number = Decimal(value)
    if not number.is_finite() or number >= _MAX_SUM:
        raise EventError(field=field, what="sum out of range", mend="less than 1 000 000 000 000")
    if number < 0:
        raise EventError(field=field, what="negative sum", mend="a refund or a reversal has an event type of its own")
    if number != number.quantize(Decimal("0.0001")):
        raise EventError(field=field, what="more than four decimals", mend="round the sum")
    number = abs(number)  # minus zero is zero
    return format(number.quantize(Decimal("0.01")) if number == number.quantize(Decimal("0.01")) else number, "f")


def _currency(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise EventError(field=field, what="not a currency", mend="three capital letters, ISO 4217: EUR")
    return value


def _sha256(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise EventError(field=field, what="not a SHA-256", mend="64 hexadecimal digits, lower case")
    return value


def _bool(value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise EventError(field=field, what="not true or false")
    return value


def _count(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise EventError(field=field, what="not a whole number", mend="0 to 1 000 000 000")
    return value


def _list_of(kind: "Kind") -> "Kind":
    def parse_list(value: Any, field: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > _MAX_ITEMS:
            raise EventError(field=field, what="not a list", mend=f"at most {_MAX_ITEMS} items")
        return [kind(item, f"{field}[{index}]") for index, item in enumerate(value)]

    return parse_list


def _one_of(*allowed: str) -> "Kind":
    def parse_choice(value: Any, field: str) -> str:
        if value not in allowed or not isinstance(value, str):
            raise EventError(field=field, what=f"{value!r:.60} is not allowed here", mend="one of " + ", ".join(allowed))
        return value

    return parse_choice


def _object(*, required: "Fields", optional: "Fields") -> "Kind":
    def parse_object(value: Any, field: str) -> dict[str, Any]:
        return _fields(value, required=required, optional=optional, field=field)

    return parse_object


def _any(value: Any, field: str) -> Any:
    """Our own traces: plain JSON that this program wrote itself."""
    del field
    return value


Kind = Callable[[Any, str], Any]
Fields = Mapping[str, Kind]


def _fields(value: Any, *, required: Fields, optional: Fields, field: str) -> dict[str, Any]:
    prefix = f"{field}." if field else ""
    if not isinstance(value, Mapping):
        raise EventError(field=field or "body", what="not an object")
    unknown = sorted(set(value) - set(required) - set(optional))
    if unknown:
        known = ", ".join(sorted([*required, *optional]))
        raise EventError(field=f"{prefix}{unknown[0]}"[:200], what="unknown field", mend=f"known fields: {known}")
    missing = sorted(name for name in required if value.get(name) is None)  # null is not a value
    if missing:
        raise EventError(field=f"{prefix}{missing[0]}", what="missing")
    kinds = {**required, **optional}
    return {name: kinds[name](item, f"{prefix}{name}") for name, item in value.items() if item is not None}


# --- the types --------------------------------------------------------------------------------------------------

#: Hold types of the trade, with whether they bring a suspended service back at once.
HOLDS: Mapping[str, bool] = {
    "dispute": False,
    "payment_plan": True,
    "insolvency": True,
    "court": True,
    "grace_period": True,
    "switching": True,
    "retrieval": True,
    "protected_status": True,
    "indirect_customers": True,
    "safety": True,
    "force_majeure": True,
    "legal_review": True,
    "error_review": True,
    "stale_data": False,
    "clock": False,
    "policy_review": False,
    "manual": True,
}

_LINE = _object(
    required={"service": _id, "amount": _sum},
    optional={"delivered_ref": _text, "period_from": _date, "period_to": _date, "kind": _one_of("service", "penalty", "fee")},
)
_ALLOCATION = _object(required={"invoice": _id, "amount": _sum}, optional={})
_INVOICE: Fields = {"invoice": _id, "due_on": _date, "amount": _sum, "currency": _currency}
_INVOICE_MORE: Fields = {"issued_on": _date, "lines": _list_of(_LINE), "contract": _id}
_PROOF: Fields = {"proof": _text, "proof_sha256": _sha256}
_BY: Fields = {"by": _text, "reason": _text}
_CASE: Fields = {"case": _id}


@dataclass(frozen=True, kw_only=True, slots=True)
class EventType:
    """What a type is made of. `key`: the field that names the business object; "" means every event stands alone."""

    name: str
    origin: Origin
    key: str
    required: Fields
    optional: Fields
    about: str


def _types(*types: EventType) -> Mapping[str, EventType]:
    return {each.name: each for each in types}


def _billing(name: str, key: str, about: str, required: Fields, optional: Fields | None = None) -> EventType:
    return EventType(
        name=name, origin=Origin.BILLING, key=key, required=required, optional={**(optional or {}), **_PROOF}, about=about
    )


def _operator(name: str, key: str, about: str, required: Fields, optional: Fields | None = None) -> EventType:
    return EventType(name=name, origin=Origin.OPERATOR, key=key, required=required, optional=optional or {}, about=about)


def _agent(name: str, key: str, about: str, required: Fields, optional: Fields | None = None) -> EventType:
    return EventType(name=name, origin=Origin.AGENT, key=key, required=required, optional=optional or {}, about=about)


_ANNOUNCES = _object(
    required={"services": _list_of(_id), "earliest_on": _date},
    optional={"stage": _count, "kept": _list_of(_id)},
)
_STATES = _list_of(_one_of("sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore"))

TYPES: Mapping[str, EventType] = _types(
    _billing("invoice.issued", "invoice", "An invoice exists: sums, due date, the services it is for.", _INVOICE, _INVOICE_MORE),
    _billing(
        "invoice.overdue",
        "invoice",
        "The billing system sees the invoice as overdue; the due date decides.",
        _INVOICE,
        _INVOICE_MORE,
    ),
    _billing("invoice.cancelled", "invoice", "The invoice is void, credited or written off.", {"invoice": _id}, {"reason": _text}),
    _billing(
        "reminder.sent",
        "reminder",
        "A reminder (relance) went out.",
        {"reminder": _id, "invoices": _list_of(_id)},
        {"channel": _text},
    ),
    _billing(
        "notice.dispatched",
        "notice",
        "The formal notice (mise en demeure) was sent, with what it announces.",
        {
            "notice": _id,
            "channel": _one_of("lrar", "lre_q", "commissaire_de_justice", "email"),
            "invoices": _list_of(_id),
            "reminders": _list_of(_id),
            "announces": _ANNOUNCES,
            "states": _STATES,
        },
        {"cure_days": _count},
    ),
    _billing("notice.presented", "notice", "The letter was first presented (avise).", {"notice": _id}),
    _billing("notice.delivered", "notice", "The letter was handed over.", {"notice": _id}),
    _billing("notice.refused", "notice", "The addressee refused the letter.", {"notice": _id}),
    _billing("notice.unclaimed", "notice", "The letter was not claimed; it counts from its first presentation.", {"notice": _id}),
    _billing("notice.undeliverable", "notice", "Unknown at this address (NPAI): the notice has no effect.", {"notice": _id}),
    _billing(
        "payment.announced", "payment", "A transfer was announced; not money yet.", {"payment": _id, "invoices": _list_of(_id)}
    ),
    _billing(
        "payment.received",
        "payment",
        "Money is in. Without an allocation the agent allocates as C. civ. 1342-10.",
        {"payment": _id, "amount": _sum, "currency": _currency},
        {"allocation": _list_of(_ALLOCATION)},
    ),
    _billing("payment.reversed", "payment", "A payment came back (rejected, charged back).", {"payment": _id}, {"code": _text}),
    _billing(
        "dispute.opened",
        "dispute",
        "The customer contests an invoice, or all of them when none is named.",
        {"dispute": _id},
        {"invoices": _list_of(_id), "motive": _text},
    ),
    _billing(
        "dispute.closed",
        "dispute",
        "The dispute is settled.",
        {"dispute": _id, "outcome": _one_of("rejected", "upheld", "withdrawn")},
    ),
    _billing(
        "hold.set",
        "hold",
        "Something forbids suspending.",
        {"hold": _id, "kind": _one_of(*HOLDS)},
        {"reason": _text, "effective_from": _instant, "review_on": _date},
    ),
    _billing("hold.lifted", "hold", "The hold is gone.", {"hold": _id}, {"reason": _text}),
    _billing("heartbeat", "", "The billing feed is alive and complete up to `occurred_at`.", {}),
    _operator("approval.given", "", "A named person approves one case.", {**_CASE, **_BY, "role": _text}, {"expires_at": _instant}),
    _operator("approval.revoked", "", "Approvals of one case given so far are void.", {**_CASE, **_BY}),
    _operator(
        "standing_approval.given",
        "",
        "A named person lets a policy act by itself until a date.",
        {"policy": _id, "policy_digest": _sha256, **_BY, "role": _text, "expires_at": _instant},
    ),
    _operator("standing_approval.revoked", "", "All standing approvals of a policy given so far are void.", {"policy": _id, **_BY}),
    _operator("restore.ordered", "", "A person restores a company by hand.", _BY, {"remote": _bool}),
    _operator(
        "pause.set", "", "A person stops every new suspension; with `restore`, everything is restored.", {**_BY, "restore": _bool}
    ),
    _operator("pause.lifted", "", "New suspensions are possible again.", _BY),
    _agent(
        "case.proposed", "", "The gate passes; the case waits for approval.", {**_CASE, "services": _list_of(_id), "gate": _any}
    ),
    _agent(
        "case.observed", "", "In observe mode: what would have been suspended.", {**_CASE, "services": _list_of(_id), "gate": _any}
    ),
    _agent(
        "order.suspend",
        "order",
        "The decision to suspend, with the gate trace it rests on.",
        {
            "order": _id,
            **_CASE,
            "services": _list_of(_id),
            "gate": _any,
            "policy_digest": _text,
            "lease_minutes": _count,
            "mode": _one_of("approve", "auto"),
            "expires_at": _instant,
        },
    ),
    _agent(
        "measure.applied",
        "order",
        "The order is in the kernel, read back.",
        {"order": _id, **_CASE, "services": _list_of(_id), "elements": _count, "times": _any},
    ),
    _agent(
        "measure.restored",
        "order",
        "Service is back, read back.",
        {"order": _id, **_CASE, "cause": _text, "final": _bool, "times": _any},
        {"volatile": _bool},
    ),
    _agent(
        "measure.repaired",
        "",
        "Rules of ours were missing or foreign and were put right.",
        {"what": _text, "count": _count},
        {"times": _any},
    ),
    _agent("policy.loaded", "", "A set of policies, services and customers is in force.", {"digest": _text}, {"counts": _any}),
    _agent(
        "policy.rejected",
        "",
        "A set of policies was refused; the old one stays in force.",
        {"digest": _text, "problems": _count},
        {"first": _text},
    ),
    _agent("agent.started", "", "The enforcing process started.", {"version": _text}, {"kernel": _text}),
    _agent(
        "customer.unknown",
        "",
        "A fact about somebody we do not know; kept as it came.",
        {"customer": _text, "type": _text, "facts": _any},
    ),
)


def parse_body(type_: str, body: Any) -> dict[str, Any]:
    """Check and normalise the body of an event.

    Args:
        type_: a name in `TYPES`.
        body: decoded JSON, numbers as `Decimal` or `int`.

    Raises:
        EventError: with the path of the first field that is wrong.
    """
    spec = TYPES.get(type_)
    if spec is None:
        raise EventError(field="type", what=f"unknown event type {type_!r:.80}", mend="see docs/EVENTS.md")
    return _fields(body, required=spec.required, optional=spec.optional, field="")


def load_json(raw: bytes | str) -> Any:
    """Strict JSON: UTF-8, no duplicate keys, no NaN, no half characters, nesting within the interpreter's bound.

    Fractions come back as `Decimal`.

    Raises:
        EventError: with what is wrong.
    """
    try:
        text = raw.decode() if isinstance(raw, bytes) else raw
        value = json.loads(text, parse_float=Decimal, parse_constant=_constant, object_pairs_hook=_pairs)
        if "\\ud" in text.lower():  # an escape can name half a character, which no ledger row or answer could hold
            json.dumps(value, default=str, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise EventError(field="body", what="not UTF-8") from None
    except UnicodeEncodeError:
        raise EventError(field="body", what="half a character (a lone surrogate escape)") from None
    except RecursionError:
        raise EventError(field="body", what="nested too deeply") from None
    except InvalidOperation:
        raise EventError(field="body", what="a number is out of range") from None
    except ValueError as error:
        raise EventError(field="body", what=f"not JSON: {error}"[:200]) from None
    return value


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in items:
        if name in found:
            raise EventError(field=ascii(name)[1:-1][:80], what="given twice in one object")
        found[name] = value
    return found


def _constant(name: str) -> Any:
    raise EventError(field="body", what=f"{name} is not JSON")

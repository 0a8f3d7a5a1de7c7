"""Floor 0. The vocabulary of the ledger: every event type, who may state it, its fields.

Rules of this room:

1. `TYPES` is the only list of event types. What is not in it can not enter the ledger.
2. `key` names the business object (invoice number, tracking number, bank reference) that makes two events the same fact,
   whatever their ids.
3. A type is never changed, only added: what was said stays readable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.fields import (
    Fields,
    anything,
    boolean,
    count,
    currency,
    day,
    identifier,
    list_of,
    moment,
    money,
    obj,
    one_of,
    sha256,
    text,
)


class Origin(StrEnum):
    """Who may state a fact of a type."""

    BILLING = "billing"
    OPERATOR = "operator"
    AGENT = "agent"


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

_LINE = obj(
    required={"service": identifier, "amount": money},
    optional={
        "delivered_ref": text,
        "period_from": day,
        "period_to": day,
        "kind": one_of("service", "penalty", "fee"),
    },
)
_ALLOCATION = obj(required={"invoice": identifier, "amount": money}, optional={})
_INVOICE: Fields = {"invoice": identifier, "due_on": day, "amount": money, "currency": currency}
_INVOICE_MORE: Fields = {"issued_on": day, "lines": list_of(_LINE), "contract": identifier}
_PROOF: Fields = {"proof": text, "proof_sha256": sha256}
_BY: Fields = {"by": text, "reason": text}
_CASE: Fields = {"case": identifier}


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


_ANNOUNCES = obj(
    required={"services": list_of(identifier), "earliest_on": day},
    optional={"stage": count, "kept": list_of(identifier)},
)
_STATES = list_of(one_of("sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore"))

TYPES: Mapping[str, EventType] = _types(
    _billing("invoice.issued", "invoice", "An invoice exists: sums, due date, the services it is for.", _INVOICE, _INVOICE_MORE),
    _billing(
        "invoice.overdue",
        "invoice",
        "The billing system sees the invoice as overdue; the due date decides.",
        _INVOICE,
        _INVOICE_MORE,
    ),
    _billing(
        "invoice.cancelled",
        "invoice",
        "The invoice is void, credited or written off.",
        {"invoice": identifier},
        {"reason": text},
    ),
    _billing(
        "reminder.sent",
        "reminder",
        "A reminder (relance) went out.",
        {"reminder": identifier, "invoices": list_of(identifier)},
        {"channel": text},
    ),
    _billing(
        "notice.dispatched",
        "notice",
        "The formal notice (mise en demeure) was sent, with what it announces.",
        {
            "notice": identifier,
            "channel": one_of("lrar", "lre_q", "commissaire_de_justice", "email"),
            "invoices": list_of(identifier),
            "reminders": list_of(identifier),
            "announces": _ANNOUNCES,
            "states": _STATES,
        },
        {"cure_days": count},
    ),
    _billing("notice.presented", "notice", "The letter was first presented (avise).", {"notice": identifier}),
    _billing("notice.delivered", "notice", "The letter was handed over.", {"notice": identifier}),
    _billing("notice.refused", "notice", "The addressee refused the letter.", {"notice": identifier}),
    _billing(
        "notice.unclaimed",
        "notice",
        "The letter was not claimed; it counts from its first presentation.",
        {"notice": identifier},
    ),
    _billing("notice.undeliverable", "notice", "Unknown at this address (NPAI): the notice has no effect.", {"notice": identifier}),
    _billing(
        "payment.announced",
        "payment",
        "A transfer was announced; not money yet.",
        {"payment": identifier, "invoices": list_of(identifier)},
    ),
    _billing(
        "payment.received",
        "payment",
        "Money is in. Without an allocation the agent allocates as C. civ. 1342-10.",
        {"payment": identifier, "amount": money, "currency": currency},
        {"allocation": list_of(_ALLOCATION)},
    ),
    _billing(
        "payment.reversed",
        "payment",
        "A payment came back (rejected, charged back).",
        {"payment": identifier},
        {"code": text},
    ),
    _billing(
        "dispute.opened",
        "dispute",
        "The customer contests an invoice, or all of them when none is named.",
        {"dispute": identifier},
        {"invoices": list_of(identifier), "motive": text},
    ),
    _billing(
        "dispute.closed",
        "dispute",
        "The dispute is settled.",
        {"dispute": identifier, "outcome": one_of("rejected", "upheld", "withdrawn")},
    ),
    _billing(
        "hold.set",
        "hold",
        "Something forbids suspending.",
        {"hold": identifier, "kind": one_of(*HOLDS)},
        {"reason": text, "effective_from": moment, "review_on": day},
    ),
    _billing("hold.lifted", "hold", "The hold is gone.", {"hold": identifier}, {"reason": text}),
    _billing("heartbeat", "", "The billing feed is alive and complete up to `occurred_at`.", {}),
    _operator(
        "approval.given",
        "",
        "A named person approves one case.",
        {**_CASE, **_BY, "role": text},
        {"expires_at": moment},
    ),
    _operator("approval.revoked", "", "Approvals of one case given so far are void.", {**_CASE, **_BY}),
    _operator(
        "standing_approval.given",
        "",
        "A named person lets a policy act by itself until a date.",
        {"policy": identifier, "policy_digest": sha256, **_BY, "role": text, "expires_at": moment},
    ),
    _operator(
        "standing_approval.revoked",
        "",
        "All standing approvals of a policy given so far are void.",
        {"policy": identifier, **_BY},
    ),
    _operator("restore.ordered", "", "A person restores a company by hand.", _BY, {"remote": boolean}),
    _operator(
        "pause.set",
        "",
        "A person stops every new suspension; with `restore`, everything is restored.",
        {**_BY, "restore": boolean},
    ),
    _operator("pause.lifted", "", "New suspensions are possible again.", _BY),
    _agent(
        "case.proposed",
        "",
        "The gate passes; the case waits for approval.",
        {**_CASE, "services": list_of(identifier), "gate": anything},
    ),
    _agent(
        "case.observed",
        "",
        "In observe mode: what would have been suspended.",
        {**_CASE, "services": list_of(identifier), "gate": anything},
    ),
    _agent(
        "order.suspend",
        "order",
        "The decision to suspend, with the gate trace it rests on.",
        {
            "order": identifier,
            **_CASE,
            "services": list_of(identifier),
            "gate": anything,
            "policy_digest": text,
            "lease_minutes": count,
            "mode": one_of("approve", "auto"),
            "expires_at": moment,
        },
    ),
    _agent(
        "measure.applied",
        "order",
        "The order is in the kernel, read back.",
        {
            "order": identifier,
            **_CASE,
            "services": list_of(identifier),
            "elements": count,
            "times": anything,
        },
    ),
    _agent(
        "measure.restored",
        "order",
        "Service is back, read back.",
        {"order": identifier, **_CASE, "cause": text, "final": boolean, "times": anything},
        {"volatile": boolean},
    ),
    _agent(
        "measure.repaired",
        "",
        "Rules of ours were missing or foreign and were put right.",
        {"what": text, "count": count},
        {"times": anything},
    ),
    _agent(
        "policy.loaded",
        "",
        "A set of policies, services and customers is in force.",
        {"digest": text},
        {"counts": anything},
    ),
    _agent(
        "policy.rejected",
        "",
        "A set of policies was refused; the old one stays in force.",
        {"digest": text, "problems": count},
        {"first": text},
    ),
    _agent("agent.started", "", "The enforcing process started.", {"version": text}, {"kernel": text}),
    _agent(
        "customer.unknown",
        "",
        "A fact about somebody we do not know; kept as it came.",
        {"customer": text, "type": text, "facts": anything},
    ),
)

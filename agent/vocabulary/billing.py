"""Floor 0. What billing systems, the post, registers, courts and probes state: facts from outside.

Facts of these types come in through webhooks, imports or a person who has the document; none of them approves anything.
"""

from collections.abc import Mapping

from agent.fields import Fields, boolean, count, currency, day, identifier, list_of, moment, money, obj, one_of, sha256, text
from agent.vocabulary.types import EventType, Origin, by_name

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


_INSTALMENT = obj(required={"due_on": day, "amount": money}, optional={})
_ANNOUNCES = obj(
    required={"services": list_of(identifier), "earliest_on": day},
    optional={"stage": count, "extent": one_of("services", "remote"), "kept": list_of(identifier)},
)
_STATES = list_of(
    one_of("sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore", "reopen")
)


def _billing(name: str, key: str, about: str, required: Fields, optional: Fields | None = None) -> EventType:
    return EventType(
        name=name, origin=Origin.BILLING, key=key, required=required, optional={**(optional or {}), **_PROOF}, about=about
    )


#: Types that concern no single customer, and whether they may name one all the same.
ABOUT_HOST: Mapping[str, bool] = {"heartbeat": False, "clock.checked": False, "insolvency.checked": True}

BILLING: Mapping[str, EventType] = by_name(
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
        {"cure_days": count, "addressee": one_of("company", "officeholder")},
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
    _billing(
        "heartbeat",
        "",
        "The billing feed is alive and complete up to `occurred_at`.",
        {},
        {"open_invoices": count},
    ),
    _billing(
        "warning.sent",
        "warning",
        "The last warning before the measure went out.",
        {"warning": identifier, "notice": identifier},
        {"channel": text},
    ),
    _billing("warning.bounced", "warning", "The last warning came back.", {"warning": identifier}),
    _billing(
        "contact.unreachable",
        "contact",
        "Nobody can be reached at the customer's contact.",
        {"contact": identifier},
    ),
    _billing("contact.reachable", "contact", "The contact can be reached again.", {"contact": identifier}),
    _billing(
        "insolvency.checked",
        "",
        "The register of insolvency proceedings was looked at: for one customer, or for all when none is named.",
        {},
        {"register": text},
    ),
    _billing(
        "insolvency.opened",
        "proceedings",
        "A court opened insolvency proceedings; it counts from 00:00 of the day of the judgment, whenever it is learnt.",
        {"proceedings": identifier, "kind": one_of("sauvegarde", "redressement", "liquidation"), "judgment_on": day},
        {"officeholder": text, "published": text},
    ),
    _billing("insolvency.closed", "proceedings", "The proceedings are over.", {"proceedings": identifier}),
    _billing(
        "court.order",
        "decision",
        "A court ordered to restore: at once, or once a sum was paid.",
        {"decision": identifier, "effect": one_of("restore", "restore_if_paid")},
        {"amount": money, "currency": currency, "penalty": text},
    ),
    _billing(
        "grace_period.granted",
        "grace",
        "A judge deferred the debt (C. civ. 1343-5).",
        {"grace": identifier, "until": day},
    ),
    _billing(
        "plan.agreed",
        "plan",
        "A payment plan was agreed; the debt is not due while it is kept.",
        {"plan": identifier, "invoices": list_of(identifier)},
        {"instalments": list_of(_INSTALMENT)},
    ),
    _billing("plan.broken", "plan", "The payment plan was not kept; cutting takes a new formal notice.", {"plan": identifier}),
    _billing("plan.ended", "plan", "The payment plan was kept to its end.", {"plan": identifier}),
    _billing(
        "switching.requested",
        "request",
        "The customer asked to switch provider or to get its data back; the services concerned stay on.",
        {"request": identifier},
        {"services": list_of(identifier)},
    ),
    _billing("switching.ended", "request", "Switching or retrieval is finished.", {"request": identifier}),
    _billing(
        "debtor.replaced",
        "deed",
        "The debt or the company passed to another legal entity: open cases end, a new notice is needed.",
        {"deed": identifier},
        {"successor": text},
    ),
    _billing(
        "scope.changed",
        "change",
        "Price or scope of services changed since the last paid period; a person must look.",
        {"change": identifier},
        {"services": list_of(identifier), "reason": text},
    ),
    _billing(
        "safety.reported",
        "report",
        "The customer reports a danger (an alarm that does not get through): restored at once.",
        {"report": identifier},
        {"what": text},
    ),
    _billing("safety.resolved", "report", "The danger is over.", {"report": identifier}, {"reason": text}),
    _billing(
        "preflight.done",
        "",
        "Local applications and dependencies of a customer were probed before a measure.",
        {"result": one_of("green", "red"), "baseline_hours": count, "local_matches": count},
        {"applications": list_of(identifier)},
    ),
    _billing(
        "local.regressed",
        "regression",
        "A local application that answered before a measure does not answer any more.",
        {"regression": identifier, "application": identifier},
        {"reason": text},
    ),
    _billing("local.recovered", "regression", "The local application answers again.", {"regression": identifier}),
    _billing(
        "clock.checked",
        "",
        "The state of the gateway's clock; `stepped` when it jumped lately.",
        {"synchronised": boolean, "offset_ms": count},
        {"stepped": boolean},
    ),
)

"""Floor 1. What was judged and decided, as plain values: for `explain`, for `simulate`, for any program that asks.

Rules of this room:

1. Values in, JSON-able values out: sums as strings, times as the ledger writes them, both languages side by side.
2. Nothing is decided here. What is not in the judgement is derived from the same functions the gate uses.
3. Whoever reads it must find, without knowing the code: is the service suspended, why, since which facts, what would end
   it, and when it may change by itself.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from agent.case import Case
from agent.closing import words
from agent.debt import Invoice
from agent.decide import Act, Decision
from agent.event import instant
from agent.gate import TABLE, Check, Gate, Kind, World
from agent.gate.facts import DEFAULT_ZONE, Facts, facts_of, threshold
from agent.gate.words import sum_en, sum_fr
from agent.judge import Judged, Judgement
from agent.model import Company, Policy
from agent.policy import at_floor
from agent.stages import ANNEX, SERVICES, below, least_debt
from agent.stages import words as stage_words

_ROWS = {row.code: row for row in TABLE}


def judgement(judgement: Judgement, company: Company | None, policy: Policy, now: datetime) -> dict[str, Any]:
    """One company's judgement, whole.

    Args:
        judgement: as `judge` gave it at `now`.
        company: as the inventory has it, or None.
        policy: the policy it was judged by.
        now: aware instant.

    Returns:
        `company`, `name`, `group`, `policy`, `timezone` (in which people should be told its times), `at`, `next_at` (None:
        only a new fact changes anything), `answer` (one sentence per language), `invoices`, `doubts`, `disputes` (those that
        no invoice or motive narrows down), `cases`.
    """
    return {
        "company": judgement.company,
        "name": company.name if company else "",
        "group": company.group if company else "",
        "known": company is not None,
        "policy": policy.id,
        "timezone": timezone(company),
        "at": instant(now),
        "next_at": _instant(judgement.next_at),
        "answer": _answer(judgement, company),
        "invoices": [_invoice(invoice) for invoice in judgement.debt.invoices.values()],
        "doubts": list(judgement.debt.doubts),
        "disputes": list(judgement.debt.vague_disputes),
        "cases": [_case(one, company, policy, now) for one in judgement.judged],
    }


def timezone(company: Company | None) -> str:
    """The time zone of a company's first site, in which the gate words its reasons, too."""
    return min((site.timezone for site in company.sites), default=DEFAULT_ZONE) if company else DEFAULT_ZONE


def state(one: Judged) -> str:
    """Where a case stands: `closed`, `suspended`, `applying`, `lowering`, `restoring`, `proposed`, `observed` or `noticed`.

    `noticed`: announced to the customer, not suspendable now. `proposed`: only persons or the moment are awaited.
    """
    case, decision = one.case, one.decision
    if decision.act is Act.RESTORE:
        return "restoring"
    if decision.act is Act.LOWER:
        return "lowering"
    if case.closed:
        return "closed"
    if case.order is not None:
        return "applying" if case.order.applied_at is None else "suspended"
    if decision.act is Act.NOTHING:
        waiting = not one.gate.blocking(Kind.STANDING, Kind.HEALTH)
        return "proposed" if case.proposed and waiting else "noticed"
    return {Act.SUSPEND: "applying", Act.PROPOSE: "proposed", Act.OBSERVE: "observed"}[decision.act]


def reason(decision: Decision, gate: Gate, case: Case) -> tuple[str, str]:
    """Why this was decided, in French and in English, one line each."""
    if decision.fr:
        return decision.fr, decision.en
    check = next((one for one in gate.checks if one.code == decision.cause), None)
    if check is not None:
        return f"{check.code} : {check.fr}", f"{check.code}: {check.en}"
    if decision.cause == "health":
        failing = gate.blocking(Kind.HEALTH)[0]
        return (
            f"bail non renouvelé, {failing.code} : {failing.fr}",
            f"lease not renewed, {failing.code}: {failing.en}",
        )
    if decision.cause == "closed":
        fr, en = words(case.closed)
        return f"dossier clos : {fr}", f"case closed: {en}"
    if decision.cause == "paused":
        return "nouvelles suspensions en pause", "new suspensions are paused"
    return {
        Act.SUSPEND: ("tous les contrôles passent", "every check passes"),
        Act.KEEP: ("tous les contrôles passent encore", "every check still passes"),
        Act.OBSERVE: ("mode observe : rien n'est suspendu", "mode observe: nothing is suspended"),
        Act.PROPOSE: ("en attente d'une personne", "waiting for a person"),
    }.get(decision.act, ("rien à faire", "nothing to do"))


def in_the_way(one: Judged) -> tuple[Check, ...]:
    """The checks that keep a case from being suspended; what belongs to the moment of applying only once the rest passes.

    Empty for a case that is closed, in force, or not held by any check.
    """
    if one.case.closed or one.case.order is not None:
        return ()
    return one.gate.blocking(Kind.STANDING, Kind.HEALTH) or one.gate.blocking(Kind.APPLY)


def missing(one: Judged) -> tuple[str, ...]:
    """Their codes."""
    return tuple(check.code for check in in_the_way(one))


def way_back(facts: Facts) -> tuple[Invoice, ...]:
    """The fewest counted invoices whose payment in full brings the debt below what may be suspended for.

    Empty when the debt is below it already. A debt that stays below makes G-05 or G-18 fail at every stage that the case may be at,
    which restores at once. By the policy in force; a pinned one that asks for more debt may let less do.
    """
    stages = (facts.stage, *below(facts.policy, facts.case.notice.stage, facts.stage))
    left = sorted(facts.counted, key=lambda invoice: (invoice.remaining, invoice.due_on, invoice.id))
    bound = max(threshold(facts.company, facts.policy), min(least_debt(facts.policy, stage) for stage in stages))
    kept = Decimal(0)
    pay: list[Invoice] = []
    for invoice in left:  # smallest first: no other choice lets more invoices wait
        if kept + invoice.remaining < bound:
            kept += invoice.remaining
        else:
            pay.append(invoice)
    return tuple(sorted(pay, key=lambda invoice: (invoice.due_on, invoice.id)))


def _case(one: Judged, company: Company | None, policy: Policy, now: datetime) -> dict[str, Any]:
    case, gate, decision = one.case, one.gate, one.decision
    rules = policy
    for code in gate.overridden:  # persons let these checks pass down to their floor: only a debt below it ends the measure
        rules = at_floor(rules, code)
    facts = facts_of(
        case=case,
        debt=one.debt,
        company=company,
        services={},
        policy=rules,
        world=World(ceiling=gate.mode, feeds={}),  # what is derived here looks at no feed and no service
        now=now,
        stage=one.measure.effect.terms.stage,
    )
    fr, en = reason(decision, gate, case)
    effect_fr, effect_en = stage_words(one.measure.effect)
    return {
        "case": case.id,
        "state": state(one),
        "act": decision.act.value,
        "cause": decision.cause,
        "reason": {"fr": fr, "en": en},
        "mode": gate.mode.value,
        "owed": str(gate.owed),
        "currency": one.policy.currency,
        "services": list(one.measure.services),
        "stage": one.measure.effect.terms.stage,
        "extent": one.measure.effect.extent,
        "effect": {"fr": effect_fr, "en": effect_en},
        "invoices": list(case.notice.invoices),
        "notice": {
            "id": case.notice.id,
            "channel": case.notice.channel,
            "dispatched_at": instant(case.notice.dispatched_at),
            "effective_at": _instant(case.notice.effective_at),
            "effective_by": case.notice.effective_by,
            "earliest_on": case.notice.earliest_on,
            "stage": case.notice.stage,
            "extent": case.notice.extent,
        },
        "order": None
        if case.order is None
        else {
            "order": case.order.id,
            "ordered_at": instant(case.order.ordered_at),
            "applied_at": _instant(case.order.applied_at),
            "expires_at": instant(case.order.expires_at),
            "renewed_at": _instant(case.order.renewed_at),
        },
        "holds": [{"hold": hold.id, "kind": hold.kind, "since": instant(hold.effective_from)} for hold in case.holds],
        "approvals": [{"by": one.by, "role": one.role, "at": instant(one.at)} for one in case.approvals],
        "lease_until": _instant(decision.lease_until),
        "next_at": _instant(decision.next_at),
        "checks": [_check(check) for check in gate.checks],
        "missing": list(missing(one)),
        "way_back": None if case.closed else _way_back(way_back(facts), one.policy.currency),
    }


def _check(check: Check) -> dict[str, Any]:
    row = _ROWS[check.code]
    return {
        "code": check.code,
        "kind": check.kind.value,
        "verdict": check.verdict.value,
        "title": {"fr": row.fr, "en": row.en},
        "rule": row.rule,
        "reason": {"fr": check.fr, "en": check.en},
        "facts": list(check.facts),
        "until": _instant(check.until),
    }


def _invoice(invoice: Invoice) -> dict[str, Any]:
    return {
        "invoice": invoice.id,
        "due_on": invoice.due_on.isoformat(),
        "currency": invoice.currency,
        "principal": str(invoice.principal),
        "remaining": str(invoice.remaining),
        "out": invoice.out,
    }


def _way_back(pay: Sequence[Invoice], currency: str) -> dict[str, Any] | None:
    if not pay:
        return None
    total = sum((invoice.remaining for invoice in pay), Decimal(0))
    return {
        "pay": [{"invoice": invoice.id, "sum": str(invoice.remaining)} for invoice in pay],
        "sum": str(total),
        "currency": currency,
        "fr": "payer " + ", ".join(invoice.id for invoice in pay) + f" ({sum_fr(total, currency)})",
        "en": "pay " + ", ".join(invoice.id for invoice in pay) + f" ({sum_en(total, currency)})",
    }


def _answer(judgement: Judgement, company: Company | None) -> dict[str, str]:
    name = company.name if company else judgement.company
    running = [one.measure for one in judgement.in_force() if one.case.order is not None]
    cut = sorted({service for measure in running for service in measure.services})
    if cut and all(measure.effect.terms.stage >= ANNEX and measure.effect.extent == SERVICES for measure in running):
        listed = ", ".join(cut)
        return {"fr": f"{name} : suspendu(s) {listed}", "en": f"{name}: suspended {listed}"}
    if cut:
        told = [(", ".join(measure.services), *stage_words(measure.effect)) for measure in running]
        return {
            "fr": f"{name} : " + " ; ".join(f"{services} ({fr})" for services, fr, _ in told),
            "en": f"{name}: " + "; ".join(f"{services} ({en})" for services, _, en in told),
        }
    if not judgement.judged:
        return {
            "fr": f"{name} : rien n'est suspendu ; aucune mise en demeure connue",
            "en": f"{name}: nothing is suspended; no formal notice is known",
        }
    return {"fr": f"{name} : rien n'est suspendu", "en": f"{name}: nothing is suspended"}


def _instant(at: datetime | None) -> str | None:
    return None if at is None else instant(at)

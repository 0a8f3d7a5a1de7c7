"""Floor 1. Two versions of a policy: the one in force when a notice was first judged, and the one in force now.

Rules of this room:

1. A case is judged by both, check by check the worse verdict counts: a gentler policy applies at once, a harsher one never
   applies to a case that was opened before it.
2. A service is suspendable only if it was so then and is so now. What nobody had classed then counts as never to be cut.
3. The feeds, the persons and the moment are those of now, whichever policy asks for them.
"""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent.case import Case, Pinned
from agent.debt import Debt
from agent.gate import Check, Gate, Verdict, World, evaluate
from agent.model import Company, Effect, Extent, Policy, Service, ServiceClass
from agent.policy import effective_class, policy_of, policy_values
from agent.stages import ANNEX, SERVICES, Stage, effect_of

#: Verdicts from the best to the worst. "Later" wins over all: what is not asked yet in one version is not asked at all.
_WORSE = (Verdict.PASS, Verdict.UNKNOWN, Verdict.FAIL, Verdict.LATER)


def pin(notice: str, policy: Policy, company: Company, services: Mapping[str, Service]) -> dict[str, Any]:
    """The body of the event that pins what a notice is judged by.

    Args:
        notice: its id.
        policy: the company's policy, as in force now.
        company: as the inventory has it now.
        services: the catalogue.
    """
    return {"notice": notice, "policy": policy_values(policy), "classes": _classes(company, services)}


def evaluate_both(
    *,
    case: Case,
    debt: Debt,
    company: Company | None,
    services: Mapping[str, Service],
    policy: Policy,
    world: World,
    now: datetime,
    stage: Stage,
) -> Gate:
    """Judge a case at one stage by the policy in force and, where one was pinned, by that one too.

    Args: as `gate.evaluate`.
    """
    extent = _extent(case, policy, stage)
    current = evaluate(
        case=case,
        debt=debt,
        company=company,
        services=services,
        policy=policy,
        world=world,
        now=now,
        stage=stage,
        extent=extent,
    )
    if case.pinned is None or (case.pinned.digest == policy.digest and not _reclassed(case, case.pinned, company, services)):
        return current
    then = evaluate(
        case=case,
        debt=debt,
        company=company,
        services=_as_classed(case, case.pinned, services),
        policy=_policy_then(case.pinned, policy),
        world=world,
        now=now,
        stage=stage,
        extent=extent,
    )
    return merge(current, then)


def effect_both(case: Case, policy: Policy, stage: Stage) -> Effect:
    """How a stage takes effect by the policy in force and by the pinned one: of two caps the wider, of two drains the longer.

    Of a cap and a refusal in some hours it is the cap; of two sets of hours those of when the notice was first judged. Everything
    remote it is only by both.
    """
    now = effect_of(policy, stage, case.notice.extent)
    if case.pinned is None or case.pinned.digest == policy.digest:
        return now
    rules = _policy_then(case.pinned, policy)
    if stage not in rules.stages:
        return now
    then = effect_of(rules, stage, case.notice.extent)
    if bool(now.terms.kbit) != bool(then.terms.kbit):
        return now if now.terms.kbit else then
    terms = replace(then.terms, kbit=max(now.terms.kbit, then.terms.kbit), drain_ms=max(now.terms.drain_ms, then.terms.drain_ms))
    return replace(then, terms=terms, extent=now.extent if now.extent == then.extent else SERVICES)


def _extent(case: Case, policy: Policy, stage: Stage) -> Extent:
    """How far the measure that is judged reaches: as it was ordered, or as an order would say."""
    running = case.order is not None and case.order.effect.terms.stage == stage
    return case.order.effect.extent if case.order is not None and running else effect_both(case, policy, stage).extent


def merge(current: Gate, then: Gate) -> Gate:
    """Both judgements in one: of each check the worse, of the modes the lower, of the instants the earlier."""
    times = [gate.until for gate in (current, then) if gate.until is not None]
    return replace(
        current,
        mode=min(current.mode, then.mode, key=lambda mode: mode.rank),
        checks=tuple(_worse(now, before) for now, before in zip(current.checks, then.checks, strict=True)),
        until=min(times, default=None),
    )


def _worse(now: Check, before: Check) -> Check:
    worse = max(now, before, key=lambda check: _WORSE.index(check.verdict))  # the current one in a tie
    if Verdict.PASS not in (now.verdict, before.verdict):
        # Neither lets the measure be applied: that changes when both may have changed, if both ever do.
        both = now.until is not None and before.until is not None
        return replace(worse, until=max(now.until, before.until) if both else None)  # type: ignore[type-var]
    if now.verdict is before.verdict:
        return replace(worse, until=min((at for at in (now.until, before.until) if at is not None), default=None))
    return worse


def _policy_then(pinned: Pinned, policy: Policy) -> Policy:
    """The policy as pinned; values that version did not know are those of now.

    How far it may go by itself is no condition of a measure: mode, name and digest, which standing approvals are given for, are
    those of now.
    """
    before = {"stages": [ANNEX]} if "stages" not in pinned.policy else {}  # of before there were others
    found = policy_of({**policy_values(policy), **before, "stage4_extent": SERVICES, **pinned.policy})
    return replace(found, id=policy.id, digest=policy.digest, mode=policy.mode)


def _classes(company: Company, services: Mapping[str, Service]) -> dict[str, str]:
    return {
        one.service: effective_class(services[one.service], one).value for one in company.subscriptions if one.service in services
    }


def _reclassed(case: Case, pinned: Pinned, company: Company | None, services: Mapping[str, Service]) -> bool:
    now = _classes(company, services) if company else {}
    return any(pinned.classes.get(name) != now.get(name) for name in case.notice.services)


def _as_classed(case: Case, pinned: Pinned, services: Mapping[str, Service]) -> Mapping[str, Service]:
    """The catalogue with the services of a notice classed as they were when it was pinned."""
    never = ServiceClass.DEPENDENCY.value
    told = {
        name: replace(services[name], class_=ServiceClass(pinned.classes.get(name, never)))
        for name in case.notice.services
        if name in services
    }
    return ChainMap(told, dict(services))

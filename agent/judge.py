"""Floor 1. One company, whole: record -> cases -> gate -> decisions.

The one way in which the daemon, `explain` and `simulate` come to a decision, so that they can not differ.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from agent.calendar import in_effect
from agent.case import ANNOUNCED, Case, Record, cases
from agent.debt import Debt, debt
from agent.decide import IN_FORCE, Act, Decision, Gentler, Measure, decide, running
from agent.event import instant
from agent.gate import Gate, Kind, World, stage_of
from agent.grace import grace
from agent.model import Company, Mode, Policy, Service
from agent.pinned import effect_both, evaluate_both, pin
from agent.stages import Stage, below, targets

#: Stands in for the policy of a company that the inventory does not know: it can only restore.
NO_POLICY = Policy(id="", profile="fr-b2b", mode=Mode.OBSERVE)

#: The check that a measure does not last too long.
_DURATION = "G-27"

#: Where a company without a site is taken to be.
_HOME = ("Europe/Paris",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One case with its judgement, the decision that follows, and the policy both rest on.

    `measure` is what is in force, or what an order would bring; of one that steps down, what is left.
    `debt` is what is owed under its notice: money that came back since then still counts.
    """

    case: Case
    debt: Debt
    policy: Policy
    gate: Gate
    decision: Decision
    measure: Measure


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A fact of our own that follows from looking: whoever judges for real appends it, once (`id` is always the same)."""

    id: str
    type: str
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """Everything decided about one company at one instant. `next_at`: when it may change without a new fact.

    `notes`: what has to be recorded whatever is done: the policy a notice is judged by from now on, the one delay that an
    announced payment gives.
    """

    company: str
    debt: Debt
    judged: tuple[Judged, ...]
    next_at: datetime | None
    notes: tuple[Note, ...] = ()

    def in_force(self) -> tuple[Judged, ...]:
        """The cases whose measure is in force, whether it is in effect just now or not."""
        return tuple(one for one in self.judged if one.decision.act in IN_FORCE)


def judge(
    *,
    company_id: str,
    record: Record,
    company: Company | None,
    services: Mapping[str, Service],
    policy: Policy | None,
    world: World,
    restore_all: bool,
    leases: Mapping[str, datetime],
    now: datetime,
) -> Judgement:
    """Judge and decide every case of one company.

    Args:
        company_id: the company's id.
        record: what was said about it.
        company: as the inventory has it, or None.
        services: the catalogue.
        policy: the company's policy, or None when the inventory has none such.
        world: what concerns no company.
        restore_all: a person asked for everything to be restored meanwhile.
        leases: until when the measure of each case in force may stay, by case id.
        now: aware instant.
    """
    owed = debt(record)
    rules = policy or NO_POLICY
    zones = tuple(sorted({site.timezone for site in company.sites})) if company and company.sites else _HOME
    judged: list[Judged] = []
    notes: list[Note] = []
    times: list[datetime | None] = []
    for case in cases(company_id, record):
        mine = debt(record, since=case.notice.first_at) if "payment.reversed" in record else owed
        stage = stage_of(case, rules)

        def gate_at(stage: Stage, case: Case = case, mine: Debt = mine) -> Gate:
            return evaluate_both(
                case=case,
                debt=mine,
                company=company,
                services=services,
                policy=rules,
                world=_world(case, world),
                now=now,
                stage=stage,
            )

        gate = gate_at(stage)
        gentler = _gentler(case, rules, gate, gate_at, services, now)
        wait = grace(case, rules, zones, now)
        new = _measure(case, rules, stage, services, now)
        decision = decide(
            case=case,
            debt=mine,
            gate=gate,
            policy=rules,
            paused=world.paused,
            restore_all=restore_all,
            lease_until=leases.get(case.id),
            grace_until=wait.until,
            now=now,
            measure=new,
            gentler=gentler,
        )
        if gentler is not None and decision.act is Act.LOWER:
            gate = gentler.gate
        measure = decision.measure or (running(case.order) if case.order else new)
        judged.append(Judged(case=case, debt=mine, policy=rules, gate=gate, decision=decision, measure=measure))
        times += [decision.next_at, None if case.closed and case.order is None else wait.next_at]
        if decision.act in IN_FORCE and measure.effect.hours:
            times.append(in_effect(now, hours=measure.effect.hours, timezones=zones).until)
        notes += _notes(case, decision, company, policy, services, wait.until)
    next_at = min((at for at in times if at is not None), default=None)
    return Judgement(company=company_id, debt=owed, judged=tuple(judged), next_at=next_at, notes=tuple(notes))


def _measure(case: Case, policy: Policy, stage: Stage, services: Mapping[str, Service], now: datetime) -> Measure:
    """What an order at a stage would do."""
    return Measure(
        services=targets(case.notice.services, stage, services, case.notice.stage),
        effect=effect_both(case, policy, stage),
        expires_at=now + timedelta(days=policy.max_suspension_days),
    )


def _gentler(
    case: Case,
    policy: Policy,
    gate: Gate,
    gate_at: Callable[[Stage], Gate],
    services: Mapping[str, Service],
    now: datetime,
) -> Gentler | None:
    """The strongest measure below the one in force that is lawful, where that one is not any more."""
    order, failed = case.order, gate.blocking(Kind.STANDING)
    if order is None or order.applied_at is None or case.closed or not failed:
        return None
    for stage in below(policy, case.notice.stage, order.effect.terms.stage):
        found = gate_at(stage)
        if not found.blocking(Kind.STANDING):
            measure = _measure(case, policy, stage, services, now)
            renewed = any(check.code == _DURATION for check in failed)
            left = tuple(name for name in measure.services if name in order.services)
            ends = next(check.until for check in found.checks if check.code == _DURATION) if renewed else order.expires_at
            return Gentler(measure=replace(measure, services=left, expires_at=ends or now, renewed=renewed), gate=found)
    return None


def _world(case: Case, world: World) -> World:
    """A case that a payment interrupted, announced or sent back, is never taken up again without persons."""
    if case.spared_at is None and not case.reopens:
        return world
    return replace(world, ceiling=min(world.ceiling, Mode.APPROVE, key=lambda mode: mode.rank))


def _notes(
    case: Case,
    decision: Decision,
    company: Company | None,
    policy: Policy | None,
    services: Mapping[str, Service],
    grace_until: datetime | None,
) -> Iterator[Note]:
    if case.closed:
        return
    # A restore waits for nothing, not even for this to be written.
    if case.pinned is None and company is not None and policy is not None and decision.act is not Act.RESTORE:
        body = pin(case.notice.id, policy, company, services)
        yield Note(id=f"pinned:{case.id}", type="policy.pinned", body=body)
    if decision.act is Act.NOTHING and decision.cause == ANNOUNCED and grace_until is not None and case.graced_at is None:
        yield Note(id=f"delayed:{case.id}", type="case.delayed", body={"case": case.id, "until": instant(grace_until)})

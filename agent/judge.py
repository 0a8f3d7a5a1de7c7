"""Floor 1. One company, whole: record -> cases -> gate -> decisions.

The one way in which the daemon, `explain` and `simulate` come to a decision, so that they can not differ.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agent.case import ANNOUNCED, Case, Record, cases
from agent.debt import Debt, debt
from agent.decide import Act, Decision, decide
from agent.event import instant
from agent.gate import Gate, World
from agent.grace import grace
from agent.model import Company, Mode, Policy, Service
from agent.pinned import evaluate_both, pin

#: Stands in for the policy of a company that the inventory does not know: it can only restore.
NO_POLICY = Policy(id="", profile="fr-b2b", mode=Mode.OBSERVE)

#: Where a company without a site is taken to be.
_HOME = ("Europe/Paris",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One case with its judgement, the decision that follows, and the policy both rest on.

    `debt` is what is owed under its notice: money that came back since then still counts.
    """

    case: Case
    debt: Debt
    policy: Policy
    gate: Gate
    decision: Decision


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
        """The cases whose measure is wanted in the kernel."""
        return tuple(one for one in self.judged if one.decision.act in (Act.SUSPEND, Act.KEEP))


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
        gate = evaluate_both(
            case=case, debt=mine, company=company, services=services, policy=rules, world=_world(case, world), now=now
        )
        wait = grace(case, rules, zones, now)
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
        )
        judged.append(Judged(case=case, debt=mine, policy=rules, gate=gate, decision=decision))
        times += [decision.next_at, None if case.closed and case.order is None else wait.next_at]
        notes += _notes(case, decision, company, policy, services, wait.until)
    next_at = min((at for at in times if at is not None), default=None)
    return Judgement(company=company_id, debt=owed, judged=tuple(judged), next_at=next_at, notes=tuple(notes))


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

"""Floor 1. One company, whole: record -> cases -> gate -> decisions.

The one way in which the daemon, `explain` and `simulate` come to a decision, so that they can not differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agent.case import Case, Record, cases
from agent.debt import Debt, debt
from agent.decide import Act, Decision, decide
from agent.gate import Gate, World, evaluate
from agent.model import Company, Mode, Policy, Service

#: Stands in for the policy of a company that the inventory does not know: it can only restore.
NO_POLICY = Policy(id="", profile="fr-b2b", mode=Mode.OBSERVE)


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
class Judgement:
    """Everything decided about one company at one instant. `next_at`: when it may change without a new fact."""

    company: str
    debt: Debt
    judged: tuple[Judged, ...]
    next_at: datetime | None

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
    judged = []
    for case in cases(company_id, record):
        mine = debt(record, since=case.notice.first_at) if "payment.reversed" in record else owed
        gate = evaluate(case=case, debt=mine, company=company, services=services, policy=rules, world=world, now=now)
        decision = decide(
            case=case,
            gate=gate,
            policy=rules,
            paused=world.paused,
            restore_all=restore_all,
            lease_until=leases.get(case.id),
            now=now,
        )
        judged.append(Judged(case=case, debt=mine, policy=rules, gate=gate, decision=decision))
    times = [one.decision.next_at for one in judged if one.decision.next_at is not None]
    return Judgement(company=company_id, debt=owed, judged=tuple(judged), next_at=min(times, default=None))

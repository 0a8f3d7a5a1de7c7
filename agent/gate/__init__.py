"""Floor 1. The gate: everything that must be right before a service is suspended, as 27 checks.

Rules of this room:

1. `evaluate` is a pure function of its arguments and returns every check, whatever the first one says.
2. Three verdicts decide: pass, fail, unknown; unknown counts as fail. `unbuilt` marks a check that this version can not make
   yet: it is shown, it is never silently passed, and it keeps a policy from acting by itself unless the policy names it.
   `later` marks apply-only checks that are not asked while the lasting ones do not pass.
3. Three kinds, not to be mixed. Standing: must hold as long as the measure does; when it stops, service is restored at once.
   Apply-only: judged at the moment of applying. Health: when it stops, the lease is not renewed and runs out.
4. A check gives its reason in French and in English, the ids of the facts it used, and until when time alone leaves it so.
5. The table in `table.py` stands beside the code of `checks.py`; a lawyer can read it alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from agent.case import Case
from agent.debt import Debt
from agent.gate.facts import Facts, World, facts_of
from agent.gate.table import TABLE
from agent.gate.types import Check, Gate, Kind, Outcome, Row, Verdict
from agent.model import Company, Mode, Policy, Service

__all__ = ["TABLE", "Check", "Gate", "Kind", "Outcome", "Row", "Verdict", "World", "evaluate", "mode_in_force"]


def mode_in_force(policy: Policy, ceiling: Mode) -> Mode:
    """The lower of what the policy asks and what the host allows; a check that can not be made keeps `auto` down to `approve`.

    Args:
        policy: `accept_unbuilt` names the checks its authors do without.
        ceiling: the host's own limit.
    """
    missing = {row.code for row in TABLE if row.judge is None} - set(policy.accept_unbuilt)
    asked = Mode.APPROVE if policy.mode is Mode.AUTO and missing else policy.mode
    return min(asked, ceiling, key=lambda mode: mode.rank)


def evaluate(
    *,
    case: Case,
    debt: Debt,
    company: Company | None,
    services: Mapping[str, Service],
    policy: Policy,
    world: World,
    now: datetime,
) -> Gate:
    """Judge one case.

    Args:
        case: one notice of one company.
        debt: what that company owes (`debt.debt`).
        company: as the inventory has it, or None.
        services: the catalogue.
        policy: the company's policy.
        world: what concerns no company.
        now: aware instant.

    Returns:
        every check of the table in its order, and until when time alone changes none of them.
    """
    mode = mode_in_force(policy, world.ceiling)
    facts = facts_of(case=case, debt=debt, company=company, services=services, policy=policy, world=world, mode=mode, now=now)
    checks = tuple(_check(row, facts) for row in TABLE)
    lasting = all(check.verdict in (Verdict.PASS, Verdict.UNBUILT) for check in checks if check.kind is not Kind.APPLY)
    if not lasting and case.order is None:
        checks = tuple(
            replace(
                check,
                verdict=Verdict.LATER,
                fr="évalué au moment d'appliquer",
                en="judged at the moment of applying",
                until=None,
            )
            if check.kind is Kind.APPLY and check.verdict is not Verdict.UNBUILT
            else check
            for check in checks
        )
    times: list[datetime] = [check.until for check in checks if check.until is not None and check.until > now]
    return Gate(case=case.id, mode=mode, at=now, owed=facts.owed, checks=checks, until=min(times, default=None))


def _check(row: Row, facts: Facts) -> Check:
    outcome = row.judge(facts) if row.judge else Outcome.unbuilt()
    return Check(
        code=row.code,
        kind=outcome.kind or row.kind,
        verdict=outcome.verdict,
        facts=outcome.facts,
        fr=outcome.fr,
        en=outcome.en,
        until=outcome.until,
    )

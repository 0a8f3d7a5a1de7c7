"""Floor 1. The gate: everything that must be right before a service is suspended, as 27 checks.

Rules of this room:

1. `evaluate` is a pure function of its arguments and returns every check, whatever the first one says. It judges one case at one
   stage: what is out of proportion at one may be lawful at a gentler one.
2. Three verdicts decide: pass, fail, unknown; unknown counts as fail. `later` marks apply-only checks that are not asked while
   the lasting ones do not pass.
3. Three kinds, not to be mixed. Standing: must hold as long as the measure does; when it stops, service is restored at once.
   Apply-only: judged at the moment of applying. Health: when it stops, the lease is not renewed and runs out.
4. A check gives its reason in French and in English, the ids of the facts it used, and until when time alone leaves it so.
5. The table in `table.py` stands beside the code; a lawyer can read it alone. Who may override a check is a column of it.
6. An override takes the values of its check down to their floors, for this case alone. It is looked at only where the check
   does not pass without it, so that nobody's word makes a case worse that is right by itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import reduce

from agent.case import Case
from agent.debt import Debt
from agent.gate.facts import Facts, World, facts_of, mode_in_force, stage_of
from agent.gate.moment import limits_of
from agent.gate.persons import APPROVING_ROLES, DECIDING_ROLES, Lift, lifts
from agent.gate.table import TABLE
from agent.gate.types import Check, Gate, Kind, Outcome, Row, Verdict
from agent.gate.words import names
from agent.model import Company, Extent, Policy, Service
from agent.policy import at_floor
from agent.stages import SERVICES, Stage

__all__ = [
    "APPROVING_ROLES",
    "DECIDING_ROLES",
    "TABLE",
    "Check",
    "Gate",
    "Kind",
    "Outcome",
    "Row",
    "Verdict",
    "World",
    "evaluate",
    "limits_of",
    "mode_in_force",
    "stage_of",
]


def evaluate(
    *,
    case: Case,
    debt: Debt,
    company: Company | None,
    services: Mapping[str, Service],
    policy: Policy,
    world: World,
    now: datetime,
    stage: Stage | None = None,
    extent: Extent = SERVICES,
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
        stage: of the measure; None: the one the case is at, or would begin at (`stage_of`).
        extent: how far it reaches.

    Returns:
        every check of the table in its order, and until when time alone changes none of them.
    """

    def facts(rules: Policy, lifted: frozenset[str]) -> Facts:
        return facts_of(
            case=case,
            debt=debt,
            company=company,
            services=services,
            policy=rules,
            world=world,
            lifted=lifted,
            now=now,
            stage=stage or stage_of(case, policy),
            extent=extent,
        )

    seen = facts(policy, frozenset())
    checks = _judged(seen)
    given = lifts(TABLE, case, now) if case.overrides else {}
    before, wanted = checks, dict[str, Lift]()
    # What an override lets in may make another check fail that is overridden as well: at most once for each of them.
    while more := {check.code: given[check.code] for check in checks if _wants(check, given, wanted)}:
        wanted |= more
        rules = reduce(at_floor, wanted, policy)
        seen = facts(rules, frozenset(wanted))
        checks = _lifted(before, _judged(seen), wanted, now)
    lasting = all(check.verdict is Verdict.PASS for check in checks if check.kind is not Kind.APPLY)
    if not lasting and case.order is None:
        checks = tuple(_later(check) if check.kind is Kind.APPLY else check for check in checks)
    return Gate(case=case.id, mode=seen.mode, at=now, owed=seen.owed, checks=checks, until=_until(checks, now))


def _wants(check: Check, given: Mapping[str, Lift], wanted: Mapping[str, Lift]) -> bool:
    return check.verdict is not Verdict.PASS and check.code in given and check.code not in wanted


def _judged(facts: Facts) -> tuple[Check, ...]:
    found = []
    for row in TABLE:
        outcome = row.judge(facts)
        found.append(
            Check(
                code=row.code,
                kind=outcome.kind or row.kind,
                verdict=outcome.verdict,
                facts=outcome.facts,
                fr=outcome.fr,
                en=outcome.en,
                until=outcome.until,
            )
        )
    return tuple(found)


def _lifted(before: tuple[Check, ...], after: tuple[Check, ...], wanted: Mapping[str, Lift], now: datetime) -> tuple[Check, ...]:
    """The checks at the floors, each good until the first override ends or the first check passes without one."""
    ends = [lift.until for lift in wanted.values()]
    ends += [check.until for check in before if check.code in wanted and check.until is not None and check.until > now]
    horizon = min(ends)
    found = []
    for check in after:
        until = horizon if check.until is None or check.until <= now else min(check.until, horizon)
        lift = wanted.get(check.code)
        if lift is None:
            found.append(replace(check, until=until))
        elif check.verdict is Verdict.PASS:
            fr, en = f"levé par {names(lift.by)} ({lift.why}) : {check.fr}", f"lifted by {names(lift.by)} ({lift.why}): {check.en}"
            facts = (*check.facts, *lift.facts)
            found.append(replace(check, until=until, fr=fr, en=en, facts=facts, lifted_by=lift.by))
        else:
            fr, en = (
                f"{check.fr} ; au plancher, que {names(lift.by)} ne peut lever",
                f"{check.en}; at the floor, where {names(lift.by)} can not lift it",
            )
            found.append(replace(check, until=until, fr=fr, en=en))
    return tuple(found)


def _later(check: Check) -> Check:
    fr, en = "évalué au moment d'appliquer", "judged at the moment of applying"
    return replace(check, verdict=Verdict.LATER, fr=fr, en=en, until=None, facts=(), lifted_by=())


def _until(checks: tuple[Check, ...], now: datetime) -> datetime | None:
    return min((check.until for check in checks if check.until is not None and check.until > now), default=None)

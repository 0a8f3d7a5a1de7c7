"""Floor 1. What named persons may decide: approvals (G-23), and overrides of single checks.

Rules of this room:

1. Two persons are two operating-system users, whatever roles they had when they spoke.
2. Where two are needed, one of them is an approver or of the legal role: two credit officers do not decide alone.
3. An override takes a check down to its floor and no further, says who gave it, and ends by its own date.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.case import Case
from agent.gate.facts import Facts
from agent.gate.types import Outcome, Row, Verdict, fails, passes
from agent.gate.words import moment_en, moment_fr, names
from agent.model import Mode
from agent.stages import EXTENDED

#: Roles whose word counts for suspending.
APPROVING_ROLES = frozenset({"credit_officer", "approver", "legal"})

#: Roles one of which must be among several persons, or is the one person that an override needs.
DECIDING_ROLES = frozenset({"approver", "legal"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Lift:
    """An override that counts now: the persons, the facts, the reasons they gave, and until when."""

    by: tuple[str, ...]
    why: str
    until: datetime
    facts: tuple[str, ...]


def lifts(table: Iterable[Row], case: Case, now: datetime) -> Mapping[str, Lift]:
    """The overrides of one case that count: given by whom the table asks for, not run out, not revoked.

    Args:
        table: the checks, each with who may override it.
        case: whose overrides are looked at; those revoked are not among them.
        now: aware instant.
    """
    found: dict[str, Lift] = {}
    for row in table:
        given = [one for one in case.overrides if one.check == row.code and one.expires_at > now and one.role in APPROVING_ROLES]
        deciding = [one for one in given if one.role in DECIDING_ROLES]
        used = deciding if row.override == "1p" else given
        persons = {one.by for one in used}
        if row.override == "no" or not deciding or (row.override == "2p" and len(persons) < 2):
            continue
        found[row.code] = Lift(
            by=tuple(sorted(persons)),
            why="; ".join(dict.fromkeys(one.reason for one in used)),
            until=min(one.expires_at for one in used),
            facts=tuple(one.fact for one in used),
        )
    return found


def _enough(persons: Mapping[str, frozenset[str]], needed: int) -> bool:
    """Are these persons, with the roles they spoke in, as many as needed, and one of them entitled to decide?"""
    deciding = any(roles & DECIDING_ROLES for roles in persons.values())
    return len(persons) >= needed and (needed < 2 or deciding)


def approvals(f: Facts) -> Outcome:
    """G-23. Enough named persons approved: this case, or (mode auto) this policy in exactly this version."""
    standing = _standing(f) if f.mode is Mode.AUTO else None
    if standing is not None and standing.verdict is Verdict.PASS:
        return standing
    age, needed = timedelta(days=f.policy.approval_valid_days), f.policy.approvals
    ends = {a: min(a.at + age, a.expires_at or a.at + age) for a in f.case.approvals if a.role in APPROVING_ROLES}
    living = [a for a, end in ends.items() if end > f.now]
    persons = {a.by: frozenset(b.role for b in living if b.by == a.by) for a in living}
    legal = f.stage < EXTENDED or any("legal" in roles for roles in persons.values())
    fr = f"{len(persons)} validations sur {needed} : {names(persons) or 'personne'}"
    en = f"{len(persons)} approvals of {needed}: {names(persons) or 'nobody'}"
    enough = _enough(persons, needed)
    if not enough and len(persons) >= needed:
        fr, en = f"{fr} ; aucun valideur ni juriste", f"{en}; no approver and nobody of the legal role"
    if enough and not legal:
        fr, en = (
            f"{fr} ; personne du rôle juriste, qu'exige le palier {f.stage}",
            f"{en}; nobody of the legal role, as stage {f.stage} takes",
        )
    if standing is not None:
        fr, en = f"{fr} ; {standing.fr}", f"{en}; {standing.en}"
    elif f.policy.mode is Mode.AUTO and any(f.why_mode):
        fr, en = f"{fr} ; jamais sans une personne : {f.why_mode[0]}", f"{en}; never without a person: {f.why_mode[1]}"
    until = min((ends[a] for a in living), default=None)
    return (passes if enough and legal else fails)(fr, en, tuple(a.fact for a in living), until)


def _standing(f: Facts) -> Outcome:
    """As many persons as for a single case: who lets a policy act by itself decides about more than one company."""
    own = [one for one in f.world.standing if one.policy == f.policy.id and one.role in APPROVING_ROLES]
    living = [one for one in own if one.policy_digest == f.policy.digest and one.expires_at > f.now]
    persons = {one.by: frozenset(other.role for other in living if other.by == one.by) for one in living}
    needed = f.policy.approvals
    if _enough(persons, needed):
        ends: dict[str, datetime] = {}  # of each person the word that holds longest
        for one in living:
            ends[one.by] = max(one.expires_at, ends.get(one.by, one.expires_at))
        deciding = max((one.expires_at for one in living if one.role in DECIDING_ROLES), default=None)
        until = min([sorted(ends.values())[-needed], *([deciding] if deciding and needed > 1 else [])])
        place = f.timezones[0]
        fr = f"validation permanente de {names(persons)} jusqu'au {moment_fr(until, place)}"
        en = f"standing approval by {names(persons)} until {moment_en(until, place)}"
        return passes(fr, en, tuple(one.fact for one in living), until)
    if not own:
        why_fr, why_en = "absente", "missing"
    elif len(persons) >= needed:
        why_fr, why_en = "sans valideur ni juriste", "without an approver or the legal role"
    elif persons:
        why_fr, why_en = f"donnée par {names(persons)} seulement", f"given by {names(persons)} only"
    elif any(one.policy_digest == f.policy.digest for one in own):
        why_fr, why_en = "échue", "expired"
    else:
        why_fr, why_en = "donnée pour une autre version de la politique", "given for another version of the policy"
    return fails(f"validation permanente {why_fr}", f"standing approval {why_en}")

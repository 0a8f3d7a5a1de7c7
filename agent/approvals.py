"""Floor 3. What named persons decide: who may say it, what it must carry, and where it is kept.

Rules of this room:

1. The operating-system user is the person. How a person was recognised is the caller's business: the operators' socket today, a
   browser console later. Each comes through here, so that none knows a rule that the others do not.
2. A word is an event: with the person, the role that person spoke in, and a reason. It counts until its date, or until it is
   taken back.
3. What lets a service be suspended takes a role. What takes that back, and what brings a service back, takes none.
4. Nothing is kept here; a `Store` does that. The enforcer's is the ledger.
5. Whether enough persons spoke is for the gate to say. Here a word is refused that could never count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from agent.case import EMPTY_RECORD, Case, Record, cases, host_facts, keys, statements
from agent.errors import EventError, Refused
from agent.event import HOST, instant, parse_instant
from agent.gate import APPROVING_ROLES, DECIDING_ROLES, TABLE
from agent.model import Policy
from agent.stages import ANNEX

#: A standing approval lasts at most this long: it is dated, or it is none.
MAX_STANDING = timedelta(days=366)

#: An override is for one measure, which lasts no longer than this.
MAX_OVERRIDE = timedelta(days=90)

#: Stages that a person may say were not tried before a stronger one. That of annex services only somebody of the legal role.
GENTLER_STAGES = (1, 2, 3)

#: A person speaks in the first of these roles that it has and that is asked for.
_WEIGHT = ("legal", "approver", "credit_officer")

_LEGAL = frozenset({"legal"})
_ROWS = {row.code: row for row in TABLE}
_SEE_CASES = "see `ecluse status` and `ecluse explain COMPANY` for the cases"
_FR, _EN = 0, 1

#: What was recorded, in French and in English.
Said = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Who speaks. `user` is the operating-system user, `roles` are what the host's configuration gives that user; {}: not named."""

    user: str
    roles: frozenset[str] = frozenset()


class Store(Protocol):
    """Where words are kept and read again."""

    def now(self) -> datetime:
        """The time, aware."""
        ...

    def record(self, subject: str) -> Record | None:
        """What was said about a company, or about the host."""
        ...

    def policy(self, name: str) -> Policy | None:
        """A policy in force."""
        ...

    def keep(self, type_: str, subject: str, body: Mapping[str, Any], person: Person, at: datetime) -> None:
        """Keep one word for good.

        Raises:
            EventError: a field of it is wrong.
            LedgerUnwritable: it could not be kept; what helps a customer counts all the same.
        """
        ...


def speaks_as(person: Person, allowed: frozenset[str]) -> str:
    """The role in which a person's word counts.

    Raises:
        Refused: the person has none of them.
    """
    if not person.roles:
        raise Refused(f"{person.user} is not an operator; name the person in ecluse.yaml under `operators`")
    found = next((role for role in _WEIGHT if role in person.roles & allowed), None)
    if found is None:
        raise Refused(f"{person.user} has none of the roles {', '.join(sorted(allowed))}")
    return found


# --- approvals ----------------------------------------------------------------------------------------------------


def approve(store: Store, person: Person, *, case: str, reason: str, expires_at: str | None = None) -> Said:
    """Approve one case, until a date or as long as the policy lets an approval count."""
    role = speaks_as(person, APPROVING_ROLES)
    company = _case(store, case).company
    body = {"case": case, "by": person.user, "reason": reason, "role": role}
    if expires_at is not None:
        body["expires_at"] = expires_at
    store.keep("approval.given", company, body, person, store.now())
    return f"validation de {person.user} enregistrée", f"approval by {person.user} recorded"


def revoke(store: Store, person: Person, *, case: str, reason: str) -> Said:
    """Take back every approval of one case. Anybody may: it can only bring a service back."""
    body = {"case": case, "by": person.user, "reason": reason}
    store.keep("approval.revoked", company_of(case), body, person, store.now())
    return f"validations de {case} retirées", f"approvals of {case} revoked"


def approve_policy(store: Store, person: Person, *, policy: str, reason: str, expires_at: str) -> Said:
    """Let a policy act by itself, in its present version, until a date."""
    role = speaks_as(person, APPROVING_ROLES)
    found = store.policy(policy)
    if found is None:
        raise EventError(field="policy", what=f"there is no policy {policy!r}", mend="see `ecluse check` for the policies")
    until = _until(store, expires_at, MAX_STANDING, "a standing approval is dated, within a year")
    body = {
        "policy": policy,
        "policy_digest": found.digest,
        "by": person.user,
        "reason": reason,
        "role": role,
        "expires_at": until,
    }
    store.keep("standing_approval.given", HOST, body, person, store.now())
    return f"validation permanente de {policy} par {person.user}", f"standing approval of {policy} by {person.user}"


def revoke_policy(store: Store, person: Person, *, policy: str, reason: str) -> Said:
    """Take back every standing approval of a policy."""
    store.keep("standing_approval.revoked", HOST, {"policy": policy, "by": person.user, "reason": reason}, person, store.now())
    return f"validations permanentes de {policy} retirées", f"standing approvals of {policy} revoked"


# --- single checks ------------------------------------------------------------------------------------------------


def override(store: Store, person: Person, *, case: str, check: str, reason: str, expires_at: str) -> Said:
    """Let one check of one case pass down to its floor, until a date.

    Raises:
        Refused: nobody may override this check, or not in this person's role.
    """
    row = _ROWS.get(check)
    if row is None:
        raise EventError(field="check", what=f"there is no check {check!r}", mend="G-01 to G-27, see docs/POLICY.md")
    if row.override == "no":
        raise Refused(f"{check} ({row.en}): nobody may override it")
    role = speaks_as(person, DECIDING_ROLES if row.override == "1p" else APPROVING_ROLES)
    company = _case(store, case).company
    until = _until(store, expires_at, MAX_OVERRIDE, f"an override is dated, within {MAX_OVERRIDE.days} days")
    body = {"case": case, "check": check, "by": person.user, "reason": reason, "role": role, "expires_at": until}
    store.keep("override.given", company, body, person, store.now())
    given = [one for one in _case(store, case).overrides if one.check == check and one.role in APPROVING_ROLES]
    deciding = any(one.role in DECIDING_ROLES for one in given)
    if row.override == "2p" and (len({one.by for one in given}) < 2 or not deciding):
        return (
            f"levée de {check} par {person.user} ; il faut deux personnes, dont un valideur ou un juriste",
            f"{check} overridden by {person.user}; it takes two persons, one of them an approver or of the legal role",
        )
    return f"levée de {check} par {person.user} enregistrée", f"override of {check} by {person.user} recorded"


def revoke_override(store: Store, person: Person, *, case: str, check: str, reason: str) -> Said:
    """Take back every override of one check of one case."""
    body = {"case": case, "check": check, "by": person.user, "reason": reason}
    store.keep("override.revoked", company_of(case), body, person, store.now())
    return f"levées de {check} retirées pour {case}", f"overrides of {check} of {case} revoked"


def waive(store: Store, person: Person, *, case: str, stages: Sequence[int], reason: str) -> Said:
    """Say why gentler stages were not tried in one case (G-18)."""
    wrong = [stage for stage in stages if stage not in GENTLER_STAGES]
    if wrong or not stages:
        mend = "1 (notice only), 2 (restricted service) and 3 (annex services suspended)"
        raise EventError(field="stages", what="not gentler stages", mend=mend)
    role = speaks_as(person, _LEGAL if ANNEX in stages else DECIDING_ROLES)
    company = _case(store, case).company
    body = {"case": case, "stages": sorted(set(stages)), "by": person.user, "reason": reason, "role": role}
    store.keep("stage.waived", company, body, person, store.now())
    listed = ", ".join(map(str, sorted(set(stages))))
    return f"paliers {listed} écartés pour {case}", f"stages {listed} of {case} waived"


def review(store: Store, person: Person, *, company: str, change: str, reason: str) -> Said:
    """Say that a change of price or scope was looked at (G-25)."""
    role = speaks_as(person, APPROVING_ROLES)
    _known(store, company, "scope.changed", change, "change")
    body = {"change": change, "by": person.user, "reason": reason, "role": role}
    store.keep("scope.reviewed", company, body, person, store.now())
    return f"changement {change} revu", f"change {change} reviewed"


def lift(store: Store, person: Person, *, company: str, decision: str, document: str, reason: str) -> Said:
    """State, with a document, that a court order ended. It counts once two persons of the legal role said so."""
    role = speaks_as(person, _LEGAL)
    _known(store, company, "court.order", decision, "decision")
    body = {"decision": decision, "document": document, "by": person.user, "reason": reason, "role": role}
    store.keep("court.lifted", company, body, person, store.now())
    said = [one for one in statements(store.record(company) or EMPTY_RECORD, "court.lifted") if one.body["decision"] == decision]
    if len({one.body["by"] for one in said}) < 2:
        return (
            f"fin de la décision {decision} constatée par {person.user} ; il faut un deuxième juriste",
            f"end of decision {decision} stated by {person.user}; it takes a second person of the legal role",
        )
    return f"décision {decision} levée", f"decision {decision} lifted"


# --- errors, and the breaker --------------------------------------------------------------------------------------


def void(store: Store, person: Person, *, case: str, cause: str, reason: str) -> Said:
    """State that a case was an error: it is closed for good, and nothing new is suspended until somebody has looked.

    Any named operator may: it restores. Who is not named restores the company instead, which holds nobody else up.
    """
    if not person.roles:
        raise Refused(f"{person.user} is not an operator; to bring a company back, give `ecluse restore {company_of(case)}`")
    company = _case(store, case).company
    store.keep("case.voided", company, {"case": case, "cause": cause, "by": person.user, "reason": reason}, person, store.now())
    return f"dossier {case} annulé pour erreur ; disjoncteur ouvert", f"case {case} voided as an error; breaker open"


def release(store: Store, person: Person, *, reason: str) -> Said:
    """Close the breaker again.

    Raises:
        Refused: it is not open, or the person is neither an approver nor of the legal role.
    """
    role = speaks_as(person, DECIDING_ROLES)
    causes = host_facts(store.record(HOST) or EMPTY_RECORD).breaker_causes
    if not causes:
        raise Refused("the breaker is not open")
    # After every opening, whatever the clock did since: a release that came before its opening would not count.
    at = max(store.now(), causes[-1].at + timedelta(microseconds=1))
    store.keep("breaker.released", HOST, {"by": person.user, "reason": reason, "role": role}, person, at)
    listed = [(cause.fr, cause.en) for cause in causes]
    fr, en = ("; ".join(dict.fromkeys(words[side] for words in listed)) for side in (_FR, _EN))
    return f"disjoncteur refermé ({fr})", f"breaker released ({en})"


# --- inside -------------------------------------------------------------------------------------------------------


def company_of(case: str) -> str:
    """The company of a case, by the case's name."""
    return case.partition(":")[0]


def _case(store: Store, case: str) -> Case:
    company = company_of(case)
    found = next((one for one in cases(company, store.record(company) or EMPTY_RECORD) if one.id == case), None)
    if found is None:
        raise EventError(field="case", what=f"there is no case {case!r}", mend=_SEE_CASES)
    return found


def _known(store: Store, company: str, type_: str, key: str, field: str) -> None:
    if key not in keys(store.record(company) or EMPTY_RECORD, type_):
        raise EventError(field=field, what=f"{company} has no {type_} of the name {key!r}", mend="see `ecluse log COMPANY`")


def _until(store: Store, text: str, longest: timedelta, mend: str) -> str:
    until, now = parse_instant(text, field="expires_at"), store.now()
    if not now < until <= now + longest:
        raise EventError(field="expires_at", what=f"not between now and {longest.days} days from now", mend=mend)
    return instant(until)

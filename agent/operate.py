"""Floor 4. What persons ask of the enforcer over its own socket: look, approve, suspend through the gate, restore at once.

Rules of this room:

1. Who asks is the operating-system user the kernel names; the configuration says what roles that user has, and `approvals` who
   may decide what. Restoring needs nobody in particular: whoever may open the socket may restore.
2. Every act is a fact in the ledger with the person and the reason, and takes effect on the way every fact takes.
3. A restore never waits: not for the ledger, not for a role, not for the queue.
"""

import asyncio
import pwd
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, cast

from agent import alarm, approvals, channel, erasure, intake, look, stopfile
from agent.approvals import Person
from agent.billing import Source
from agent.case import Record
from agent.config import Config
from agent.decide import Act
from agent.emergency.record import fact, record
from agent.errors import ConfigError, EcluseError, EventError, LedgerUnwritable, Refused
from agent.event import HOST, TYPES, Event, Origin, parse_instant
from agent.gate import APPROVING_ROLES, Kind
from agent.gateway import Gateway
from agent.importing import bring_in
from agent.model import Policy
from agent.reconcile import Queue, settle
from agent.retention import SHORTEST

Answer = tuple[int, str, str, Mapping[str, Any]]
_Found = TypeVar("_Found")


class Daemon(Protocol):
    """What this room needs of the enforcer."""

    config: Config
    gateway: Gateway
    queue: Queue
    sources: Mapping[str, Source]
    policy_problems: tuple[str, ...]

    def take(self, events: tuple[Event, ...]) -> tuple[bool, ...]:
        """Commit facts and have their companies looked at."""
        ...

    async def reload(self) -> tuple[str, ...]:
        """Read policies and sources again; returns the problems."""
        ...

    def clear(self) -> None:
        """Take our table away."""
        ...


def feeds(sources: Mapping[str, Source]) -> tuple[str, ...]:
    """The sources that must report: those that are allowed to send heartbeats."""
    return tuple(sorted(name for name, source in sources.items() if "heartbeat" in source.events))


class LedgerStore:
    """Keeps what persons say in the ledger, by the way every fact takes (`approvals.Store`)."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def now(self) -> datetime:
        """The enforcer's time."""
        return self._daemon.gateway.now()

    def record(self, subject: str) -> Record | None:
        """What the ledger holds about a company or the host."""
        return self._daemon.gateway.ledger.record(subject)

    def policy(self, name: str) -> Policy | None:
        """A policy in force."""
        return self._daemon.gateway.rules.inventory.policies.get(name)

    def keep(self, type_: str, subject: str, body: Mapping[str, Any], person: Person, at: datetime) -> None:
        """Commit it, and have the company looked at."""
        self._daemon.take((intake.by_operator(type_, subject, body, operator=person.user, occurred_at=at, now=at),))


class Operators:
    """Answers the operators' socket."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._store = LedgerStore(daemon)
        self._asks: Mapping[str, Callable[[Person, dict[str, Any]], Answer]] = {
            "status": self._status,
            "explain": self._explain,
            "plan": self._plan,
            "approve": self._approve,
            "approve_policy": self._approve_policy,
            "revoke": self._revoke,
            "revoke_policy": self._revoke_policy,
            "override": self._override,
            "waive": self._waive,
            "review": self._review,
            "lift": self._lift,
            "void": self._void,
            "release": self._release,
            "suspend": self._suspend,
            "restore": self._restore,
            "pause": self._pause,
            "resume": self._resume,
            "record": self._record,
            "clear": self._clear,
        }

    async def answer(self, peer: channel.Peer, header: dict[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
        """One question of one person."""
        named = self._daemon.config.operator(peer.uid)
        person = Person(user=_user(peer.uid), roles=frozenset(role.value for role in named.roles) if named else frozenset())
        ask = str(header.get("ask", ""))
        try:
            if ask == "reload":
                found = await self._reload()
            elif ask == "forecast":
                found = await self._forecast(header)
            elif ask == "erase":
                found = await self._erase(person, header)
            elif ask == "import":
                found = await self._import(person, header, body)
            elif ask in self._asks:
                found = self._asks[ask](person, header)
            else:
                found = (2, f"demande inconnue : {ask}", f"unknown question: {ask}", {})
        except Refused as error:
            found = (3, str(error), str(error), {})
        except (EventError, ConfigError) as error:
            found = (2, str(error), str(error), {"problems": str(error).splitlines()})
        except EcluseError as error:
            found = (1, str(error), str(error), {})
        code, fr, en, data = found
        return {"exit": code, "message": {"fr": fr, "en": en}, "data": data}, b""

    # --- looking ----------------------------------------------------------------------------------------------------

    def _status(self, _person: Person, _header: dict[str, Any]) -> Answer:
        return 0, "", "", look.status(self._daemon.gateway, self._daemon.policy_problems)

    def _explain(self, _person: Person, header: dict[str, Any]) -> Answer:
        return 0, "", "", look.explain(self._daemon.gateway, _text(header, "company"))

    async def _forecast(self, header: dict[str, Any]) -> Answer:
        days = header.get("days", 30)
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 366:
            raise EventError(field="days", what="not a number of days", mend="1 to 366")
        company = _text(header, "company") if header.get("company") is not None else None
        gateway = self._daemon.gateway
        return 0, "", "", await _between(look.forecast(gateway, gateway.now() + timedelta(days=days), company))

    async def _erase(self, person: Person, header: dict[str, Any]) -> Answer:
        before, company = parse_instant(_text(header, "before"), field="before"), header.get("company")
        role = approvals.speaks_as(person, APPROVING_ROLES)
        if self._daemon.gateway.now() - before < SHORTEST:
            raise EventError(field="before", what="too young to be erased", mend=f"at least {SHORTEST.days} days ago")
        word = erasure.Word(by=person.user, role=role, reason=_text(header, "reason"), before=before)
        done = await _between(erasure.erase(self._daemon.gateway, word, None if company is None else _text(header, "company")))
        kept = {name: {"fr": fr, "en": en} for name, (fr, en) in done.kept.items()}
        fr = f"{done.rows} lignes effacées ({done.companies} sociétés), {len(kept)} sociétés gardées"
        en = f"{done.rows} rows erased ({done.companies} companies), {len(kept)} companies kept"
        return 0, fr, en, {"rows": done.rows, "companies": done.companies, "kept": kept}

    def _plan(self, _person: Person, _header: dict[str, Any]) -> Answer:
        return 0, "", "", look.plan_now(self._daemon.gateway)

    # --- approving and suspending -----------------------------------------------------------------------------------

    def _approve(self, person: Person, header: dict[str, Any]) -> Answer:
        case = _text(header, "case")
        expires_at = _text(header, "expires_at") if header.get("expires_at") else None
        said = approvals.approve(self._store, person, case=case, reason=_text(header, "reason"), expires_at=expires_at)
        return self._result(approvals.company_of(case), *said)

    def _approve_policy(self, person: Person, header: dict[str, Any]) -> Answer:
        policy, until = _text(header, "policy"), _text(header, "expires_at")
        said = approvals.approve_policy(self._store, person, policy=policy, reason=_text(header, "reason"), expires_at=until)
        return 0, *said, {}

    def _revoke(self, person: Person, header: dict[str, Any]) -> Answer:
        case, reason = _text(header, "case"), _text(header, "reason")
        if header.get("check"):
            said = approvals.revoke_override(self._store, person, case=case, check=_text(header, "check"), reason=reason)
        else:
            said = approvals.revoke(self._store, person, case=case, reason=reason)
        return 0, *said, {}

    def _revoke_policy(self, person: Person, header: dict[str, Any]) -> Answer:
        policy = _text(header, "policy")
        return 0, *approvals.revoke_policy(self._store, person, policy=policy, reason=_text(header, "reason")), {}

    def _override(self, person: Person, header: dict[str, Any]) -> Answer:
        case, check, until = _text(header, "case"), _text(header, "check"), _text(header, "expires_at")
        said = approvals.override(self._store, person, case=case, check=check, reason=_text(header, "reason"), expires_at=until)
        return self._result(approvals.company_of(case), *said)

    def _waive(self, person: Person, header: dict[str, Any]) -> Answer:
        case, stages = _text(header, "case"), header.get("stages")
        if not isinstance(stages, list) or not all(type(one) is int for one in stages):
            raise EventError(field="stages", what="not a list of stages", mend="give some of 1, 2 and 3")
        said = approvals.waive(self._store, person, case=case, stages=stages, reason=_text(header, "reason"))
        return self._result(approvals.company_of(case), *said)

    def _review(self, person: Person, header: dict[str, Any]) -> Answer:
        company, change = _text(header, "company"), _text(header, "change")
        said = approvals.review(self._store, person, company=company, change=change, reason=_text(header, "reason"))
        return self._result(company, *said)

    def _lift(self, person: Person, header: dict[str, Any]) -> Answer:
        company, decision = _text(header, "company"), _text(header, "decision")
        document, reason = _text(header, "document"), _text(header, "reason")
        said = approvals.lift(self._store, person, company=company, decision=decision, document=document, reason=reason)
        return 0, *said, {}

    def _release(self, person: Person, header: dict[str, Any]) -> Answer:
        said = approvals.release(self._store, person, reason=_text(header, "reason"))
        self._daemon.gateway.look_around()
        alarm.look_again(self._daemon.gateway)
        return 0, *said, {}

    def _suspend(self, person: Person, header: dict[str, Any]) -> Answer:
        company_id, gateway = _text(header, "company"), self._daemon.gateway
        reason = _text(header, "reason")
        approvals.speaks_as(person, APPROVING_ROLES)
        _, judgement, _ = gateway.judge(company_id, gateway.now())
        open_cases = [one for one in judgement.judged if not one.case.closed and one.case.order is None]
        if not open_cases:
            raise Refused(f"{company_id}: no open case; a suspension needs a formal notice")
        ripe = [one for one in open_cases if not one.gate.blocking(Kind.STANDING, Kind.HEALTH)]
        if not ripe:
            checks = [check for one in open_cases for check in one.gate.blocking(Kind.STANDING, Kind.HEALTH)]
            return 3, "; ".join(f"{c.code} : {c.fr}" for c in checks), "; ".join(f"{c.code}: {c.en}" for c in checks), {}
        for one in ripe:
            approvals.approve(self._store, person, case=one.case.id, reason=reason)
        return self._result(company_id, "demande enregistrée", "request recorded", held=True)

    def _result(self, company_id: str, fr: str, en: str, *, held: bool = False) -> Answer:
        """Settle now and say what came of it."""
        gateway = self._daemon.gateway
        gateway.look_around()
        settle(gateway, company_id)
        _, judgement, _ = gateway.judge(company_id, gateway.now())
        running = [one for one in judgement.judged if one.case.order is not None and one.decision.act is Act.KEEP]
        if running:
            services = ", ".join(sorted({name for one in running for name in one.case.notice.services}))
            return 0, f"{fr} ; suspendu : {services}", f"{en}; suspended: {services}", {}
        missing = [c for one in judgement.judged for c in one.gate.blocking(Kind.STANDING, Kind.HEALTH, Kind.APPLY)]
        mode = {one.gate.mode.value for one in judgement.judged}
        why_fr = "; ".join(f"{c.code} : {c.fr}" for c in missing) or f"mode {', '.join(mode)}"
        why_en = "; ".join(f"{c.code}: {c.en}" for c in missing) or f"mode {', '.join(mode)}"
        return (3 if held else 0), f"{fr} ; en attente : {why_fr}", f"{en}; waiting: {why_en}", {}

    # --- restoring and pausing --------------------------------------------------------------------------------------

    def _restore(self, person: Person, header: dict[str, Any]) -> Answer:
        reason = _text(header, "reason")
        if header.get("all"):
            return self._restore_all(person, reason)
        company_id, gateway = _text(header, "company"), self._daemon.gateway
        known = gateway.rules.inventory.company(company_id) is not None or gateway.ledger.record(company_id) is not None
        if not known:
            raise EventError(field="company", what=f"{company_id!r} is unknown", mend="see `ecluse status` for who is suspended")
        recorded = True
        try:
            at = gateway.after_under_way(company_id, gateway.now())
            self._store.keep("restore.ordered", company_id, {"by": person.user, "reason": reason}, person, at)
        except LedgerUnwritable:
            recorded = False  # it counts all the same, and is recorded when it can be
        settle(gateway, company_id)
        note = ("", "") if recorded else (" (sera inscrit plus tard)", " (to be recorded later)")
        return 0, f"{company_id} : service rétabli{note[0]}", f"{company_id}: service restored{note[1]}", {}

    def _void(self, person: Person, header: dict[str, Any]) -> Answer:
        case, gateway = _text(header, "case"), self._daemon.gateway
        cause, reason = _text(header, "cause"), _text(header, "reason")
        note = ("", "")
        try:
            fr, en = approvals.void(self._store, person, case=case, cause=cause, reason=reason)
        except LedgerUnwritable:  # it counts all the same, and nothing is suspended meanwhile
            fr, en = f"dossier {case} annulé pour erreur", f"case {case} voided as an error"
            note = (" (sera inscrit plus tard)", " (to be recorded later)")
        gateway.look_around()
        settle(gateway, approvals.company_of(case))
        return 0, f"{fr}{note[0]}", f"{en}{note[1]}", {}

    def _restore_all(self, person: Person, reason: str) -> Answer:
        self._stop(person, reason, restore=True)
        self._daemon.clear()
        return (
            0,
            "tous les services sont rétablis ; rien ne sera suspendu avant `ecluse resume`",
            "every service is restored; nothing will be suspended before `ecluse resume`",
            {},
        )

    def _clear(self, person: Person, header: dict[str, Any]) -> Answer:
        return self._restore_all(person, _text(header, "reason"))

    def _pause(self, person: Person, header: dict[str, Any]) -> Answer:
        restore = bool(header.get("restore"))
        if restore:
            return self._restore_all(person, _text(header, "reason"))
        self._stop(person, _text(header, "reason"), restore=False)
        return 0, "aucune nouvelle suspension avant `ecluse resume`", "no new suspension before `ecluse resume`", {}

    def _stop(self, person: Person, reason: str, *, restore: bool) -> None:
        """First the stop file, which works without the ledger; then the ledger, if it can."""
        gateway = self._daemon.gateway
        before = gateway.stop.all
        restore = restore or (before is not None and before.restore)  # a second pause never weakens the first
        pause = stopfile.Pause(by=person.user, at=gateway.now(), reason=reason, restore=restore)
        try:
            gateway.stop_more(replace(gateway.stop, all=pause, fault=""))
        except OSError as error:
            # Restoring must not wait for a disk: obeyed from memory, but a restart would not know.
            gateway.failures["stop file"] = f"{gateway.stop_path}: {error.strerror}; the pause will not survive a restart"
            gateway.hold_in_memory(pause)
        gateway.look_around()
        try:
            self._daemon.take((fact(HOST, pause, pause.at),))
        except LedgerUnwritable as error:
            gateway.failures["ledger"] = str(error)

    def _resume(self, person: Person, header: dict[str, Any]) -> Answer:
        reason = _text(header, "reason")
        approvals.speaks_as(person, APPROVING_ROLES)
        gateway = self._daemon.gateway
        gateway.look_around()
        record(gateway)  # what was stopped without us and is not in the ledger yet would be forgotten
        self._say("pause.lifted", HOST, {"by": person.user, "reason": reason}, person)
        gateway.hold_in_memory(None)
        # Companies restored while the ledger could not be written are let go of too: a person who resumes has looked.
        gateway.stop_less(stopfile.Stop())
        gateway.failures.pop("stop file", None)
        gateway.look_around()
        return 0, "les suspensions sont de nouveau possibles", "suspensions are possible again", {}

    # --- facts ------------------------------------------------------------------------------------------------------

    def _record(self, person: Person, header: dict[str, Any]) -> Answer:
        type_ = _text(header, "type")
        spec = TYPES.get(type_)
        if spec is not None and spec.origin is not Origin.BILLING:
            raise Refused(f"{type_} has a command of its own; `record` is for facts such as a delivered letter")
        company_id = _text(header, "company")
        gateway, now = self._daemon.gateway, self._daemon.gateway.now()
        if gateway.rules.inventory.company(company_id) is None:
            raise EventError(field="company", what=f"{company_id!r} is unknown", mend="see `ecluse check` for the companies")
        given = header.get("body") or {}
        if not isinstance(given, dict):
            raise EventError(field="body", what="not an object", mend="give the fields of the fact by name")
        body = dict(given)
        for name in ("proof", "proof_sha256"):
            if header.get(name):
                body[name] = header[name]
        when = parse_instant(str(header["occurred_at"])) if header.get("occurred_at") else now
        self._operator(person)
        event = intake.by_operator(type_, company_id, body, operator=person.user, occurred_at=when, now=now)
        (new,) = self._daemon.take((event,))
        words = ("enregistré", "recorded") if new else ("déjà connu", "known already")
        return 0, f"{type_} {words[0]}", f"{type_} {words[1]}", {"id": event.id, "new": new}

    async def _import(self, person: Person, header: dict[str, Any], body: bytes) -> Answer:
        self._operator(person)
        name = str(header.get("file", "import"))[:200]
        done = await _between(bring_in(self._daemon.gateway, self._daemon.take, body, user=person.user, file=name))
        return (
            0,
            f"{done.new} faits importés, {done.facts - done.new} déjà connus",
            f"{done.new} facts imported, {done.facts - done.new} known already",
            {"events": done.facts, "new": done.new},
        )

    async def _reload(self) -> Answer:
        problems = await self._daemon.reload()
        if problems:
            first = "\n".join(problems)
            return 2, f"politiques refusées, les anciennes restent :\n{first}", f"refused, the old ones stay:\n{first}", {}
        digest = self._daemon.gateway.rules.inventory.digest[:12]
        return 0, f"politiques {digest} en vigueur", f"policies {digest} in force", {}

    # --- persons ----------------------------------------------------------------------------------------------------

    def _say(self, type_: str, subject: str, body: Mapping[str, Any], person: Person) -> None:
        self._store.keep(type_, subject, body, person, self._store.now())

    def _operator(self, person: Person) -> None:
        if not person.roles:
            raise Refused(f"{person.user} is not an operator; name the person in ecluse.yaml under `operators`")


async def _between(steps: Generator[None, None, _Found]) -> _Found:
    """Go through long work step by step: whoever else waits, such as a payment that came in, is served in between."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("_Found", end.value)
        await asyncio.sleep(0)


def _text(header: Mapping[str, Any], name: str) -> str:
    value = header.get(name)
    if not isinstance(value, str) or not value.strip():
        raise EventError(field=name, what="missing", mend=f"give --{name.replace('_', '-')}")
    return value.strip()


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"

"""Floor 3. One company from facts to kernel: judge, order, apply, read back, record; and the queue of companies that are due.

Rules of this room:

1. Level, not edge: everything is derived anew from the record and read back from the kernel; webhook, timer, restart,
   repair and a person's command all come this way.
2. An order is in the ledger before its first rule is in the kernel; a restore is in the kernel before it is in the ledger.
   Whoever dies between the two finds on restart what is left to do.
3. Nothing is recorded as applied or restored that was not read back.
4. While the ledger can not be written nothing is suspended and no lease is renewed; restores go on.
5. Whatever refuses too much at once is held, by the breaker before it is ordered and by the guard right before the kernel.
   Restores are never among what is held.
"""

import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from agent.alarm import judged
from agent.continuity import TRIAL_SECONDS, Sight
from agent.decide import POLL, Act
from agent.errors import KernelError, LedgerCorrupt, LedgerUnwritable, ProofFailed
from agent.event import Event, instant, parse_body
from agent.gateway import Gateway, agent_event, log
from agent.judge import Judged, Judgement
from agent.kernel import Kernel
from agent.ledger import InForce, Settled
from agent.log import fields
from agent.model import Company
from agent.plan import guard, plan
from agent.proof import prove_members
from agent.rules import Change, Element, Key, Observed, Structure
from agent.ruleset import candidates

#: A company whose kernel change failed is tried again after so long, doubling up to a minute.
RETRY = timedelta(seconds=1)
MAX_RETRY = timedelta(minutes=1)

#: An element read back may have this much less of its lease than was asked for; more, and it is not what was applied.
_READ_BACK_MS = 30_000

#: What is only noted: nothing that was judged changes by it, so that nothing waits for another look.
_ASIDE = frozenset({"case.observed", "policy.pinned", "case.delayed"})

#: The company's own doings (ordered, applied, restored) make it due again; it settles within this many rounds.
_ROUNDS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What one pass over a company did, and the sentence that says so."""

    company: str
    changed: bool
    sentence: str


def settle(gateway: Gateway, company_id: str, notes: list[Settled] | None = None) -> Done:
    """Bring one company to what is decided now, and note when to look again.

    Args:
        gateway: what is worked on.
        company_id: the company.
        notes: where to put the note, for a caller that writes many at once; None writes it here.

    Raises:
        KernelError: nothing was changed in the kernel; the company stays due.
        LedgerUnwritable: what could be done without the ledger (restoring) was done; the company stays due.
    """
    sentences: list[str] = []
    for _ in range(_ROUNDS):
        said = _round(gateway, company_id, notes)
        if said is None:
            gateway.arrived.pop(company_id, None)  # what came had nothing to restore; it must not time a later restore
            break
        sentences.append(said)
    return Done(company=company_id, changed=bool(sentences), sentence="; ".join(sentences) or f"{company_id}: nothing to do")


def _round(gateway: Gateway, company_id: str, notes: list[Settled] | None) -> str | None:
    """One look. Returns what was done, or None when nothing was left to do (and the schedule is noted)."""
    now = gateway.now()
    # What the judgement rests on, as it was before anything was looked at: what comes in between makes the company due again.
    seq, basis = gateway.ledger.head()[0], gateway.basis
    company, judgement, held = gateway.judge(company_id, now)
    if judged(gateway, company_id, judgement, now):
        return f"{company_id}: the breaker opened"
    announced = [event for one in judgement.judged for event in _announcements(one, company_id, now)]
    announced += [
        agent_event(id_=note.id, type_=note.type, subject=company_id, now=now, body=note.body) for note in judgement.notes
    ]
    announced = _seen_before(gateway, company_id, [event for event in announced if not gateway.ledger.has(event.id)])
    # First the order, then the rule: the record rests in the ledger before anything is cut. If the ledger refuses, nothing is cut,
    # and what is to be restored below is restored all the same.
    if announced and gateway.ledger_good and gateway.append(*announced):
        for event in announced:
            if event.type == "order.suspend":
                gateway.tally.order(company_id, company.prefix_count() if company else 0, now)
        gateway.look_around()
        if any(event.type not in _ASIDE for event in announced):
            return f"{company_id}: " + ", ".join(sorted({event.type for event in announced}))
    enforced = enforce(gateway, company, company_id, judgement, held, now)
    # What another case leaves behind is taken over, which is no repair.
    alone = all(one.decision.act is not Act.RESTORE for one in judgement.judged)
    outcome = [event for one in judgement.judged for event in _outcomes(one, company_id, gateway.now(), now, enforced, alone=alone)]
    if outcome:
        _count(gateway, company_id, outcome)
        gateway.append(*outcome)
        return _sentence(company_id, judgement, outcome)
    if gateway.ledger_good:
        note = _note(gateway, company_id, seq, basis, judgement, enforced)
        if notes is None:
            gateway.tally.settle(gateway.ledger, gateway.rules.inventory, [note])
        else:
            notes.append(note)
    return None


def _seen_before(gateway: Gateway, company_id: str, announced: list[Event]) -> list[Event]:
    """An order waits until everything local was seen to answer just now, and says how long it stands without another look."""
    if gateway.lookout.sight(company_id) is Sight.NONE or all(event.type != "order.suspend" for event in announced):
        return announced
    if not gateway.lookout.just_before(company_id):
        return [event for event in announced if event.type != "order.suspend"]
    trial = {"confirm_seconds": TRIAL_SECONDS}
    return [replace(event, body={**event.body, **trial}) if event.type == "order.suspend" else event for event in announced]


def _announcements(one: Judged, company_id: str, now: datetime) -> Iterator[Event]:
    case, decision = one.case, one.decision
    body: dict[str, object] = {"case": case.id, "services": list(case.notice.services), "gate": one.gate.trace()}
    number = case.orders + 1
    if decision.act is Act.OBSERVE:
        yield agent_event(id_=f"observed:{case.id}", type_="case.observed", subject=company_id, now=now, body=body)
    elif decision.act is Act.PROPOSE:
        yield agent_event(id_=f"proposed:{case.id}/{number}", type_="case.proposed", subject=company_id, now=now, body=body)
    elif decision.act is Act.SUSPEND and decision.lease_until is not None:
        order = f"{case.id}/{number}"
        body |= {
            "order": order,
            "policy_digest": one.policy.digest,
            "lease_minutes": one.policy.lease_minutes,
            "mode": one.gate.mode.value,
            "expires_at": instant(now + timedelta(days=one.policy.max_suspension_days)),
        }
        checked = parse_body("order.suspend", body)
        yield agent_event(id_=f"order:{order}", type_="order.suspend", subject=company_id, now=now, body=checked)


@dataclass(frozen=True, kw_only=True, slots=True)
class Enforced:
    """What was changed in the kernel for one company, and how it stands there, read back.

    `elements`: how many elements the kernel holds for each case in force; a case that the guard holds is none of them. `renewed`:
    the cases whose lease was renewed.
    """

    change: Change = field(default_factory=Change)
    renewed: frozenset[str] = frozenset()
    elements: Mapping[str, int] = field(default_factory=dict)


def enforce(
    gateway: Gateway, company: Company | None, company_id: str, judgement: Judgement, held: tuple[InForce, ...], now: datetime
) -> Enforced:
    """Make the kernel hold exactly what `judgement` wants for one company, and read it back."""
    before = {one.case: datetime.fromtimestamp(one.lease_until, UTC) for one in held}
    leases = list(_leases(gateway, judgement, before))
    renewed = frozenset(case for case, _, until in leases if case in before and until > before[case])
    if company is None:
        gateway.held.pop(company_id, None)
        purge(gateway.kernel, gateway.rules.structure, company_id)
        return Enforced()
    wanted = gateway.wanted(company, leases, now)
    standing = {case: sum(element.case == case for element in wanted) for case, _, _ in leases}
    keys = sorted(
        {*candidates(company, gateway.rules.inventory.services, gateway.links), *(Key(set=e.set, key=e.key) for e in wanted)}
    )
    if not keys:
        return Enforced(elements=standing)
    structure = gateway.rules.structure
    observed = gateway.kernel.observe(structure, keys)
    change = plan(wanted=wanted, candidates=keys, observed=observed, structure=structure, renew=bool(renewed))
    out = _too_much(gateway, company_id, change, wanted, observed, before)
    if out is not None:  # a new measure waits whole; of one in force waits what would be new
        leases = [one for one in leases if one[0] in before]
        wanted = tuple(e for e in gateway.wanted(company, leases, now) if Key(set=e.set, key=e.key) not in out)
        standing = {case: sum(element.case == case for element in wanted) for case, _, _ in leases}
        change = plan(wanted=wanted, candidates=keys, observed=observed, structure=structure, renew=bool(renewed))
    services = {service for _, names, _ in leases for service in names}
    steps = _steps(change)
    for step in steps:
        prove_members(step.add, company, services, gateway.rules.proven, gateway.links)
        gateway.kernel.apply(step)
    if steps:
        read_back(gateway.kernel.observe(structure, keys), wanted, keys)
    return Enforced(change=change, renewed=renewed, elements=standing)


def _leases(
    gateway: Gateway, judgement: Judgement, before: Mapping[str, datetime]
) -> Iterator[tuple[str, tuple[str, ...], datetime]]:
    """Case, services and end of the lease of every measure that should be in force. SUSPEND is enforced once its order is said."""
    for one in judgement.judged:
        order, until = one.case.order, one.decision.lease_until
        if one.decision.act is not Act.KEEP or order is None or until is None:
            continue
        if not gateway.ledger_good:  # nothing new and no renewal while it could not be recorded
            if one.case.id not in before:
                continue
            until = min(until, before[one.case.id])
        yield one.case.id, order.services, until


def _too_much(
    gateway: Gateway,
    company_id: str,
    change: Change,
    wanted: tuple[Element, ...],
    observed: Observed,
    before: Container[str],
) -> frozenset[Key] | None:
    """The keys that would be refused anew, where they are more than may be so for one company at once; else None."""
    # Somebody who emptied or changed our table makes nothing new of what was in it.
    repaired = () if observed.structure == "as_wanted" else (element for element in wanted if element.case in before)
    present = {*observed.members, *(Key(set=element.set, key=element.key) for element in repaired)}
    found = guard(change, present=present, limit=gateway.most_elements)
    if not found.held:
        gateway.held.pop(company_id, None)
        return None
    limit = gateway.most_elements
    if company_id not in gateway.held:
        log.error("%s: %d elements would be refused anew at once, %d at most; held", company_id, found.new, limit)
    gateway.held[company_id] = (
        f"{company_id} : {found.new} éléments à refuser d'un coup, {limit} au plus (max_elements dans ecluse.yaml)",
        f"{company_id}: {found.new} elements to be refused at once, {limit} at most (max_elements in ecluse.yaml)",
    )
    return frozenset(key for key in (Key(set=e.set, key=e.key) for e in change.add) if key not in present)


def _steps(change: Change) -> tuple[Change, ...]:
    """A restore waits for nothing: what is wrong with the table is put right behind it, and only where something is to be added.

    So a table that a person had taken away does not come back by restoring.
    """
    if change.structure is None:
        return () if change.empty else (change,)
    restore, rest = Change(delete=change.delete), replace(change, delete=())
    return (*((restore,) if restore.delete else ()), *((rest,) if rest.add else ()))


def read_back(observed: Observed, wanted: tuple[Element, ...], keys: list[Key]) -> None:
    """Compare what the kernel now says with what was asked for.

    Raises:
        KernelError: EIO, naming the first element that differs.
    """
    members = observed.members
    for element in wanted:
        found = members.get(Key(set=element.set, key=element.key))
        if found is None or found.case != element.case or found.expires_ms > element.timeout_ms + _READ_BACK_MS:
            raise KernelError(errno=5, what=f"element {element.key.hex()} of {element.set} is not as it was applied")
    surplus = set(members) - {Key(set=e.set, key=e.key) for e in wanted}
    left = sorted(key for key in keys if key in surplus)
    if left:
        raise KernelError(errno=5, what=f"element {left[0].key.hex()} of {left[0].set} is still there after it was deleted")


def purge(kernel: Kernel, structure: Structure, company_id: str) -> int:
    """Remove every element of a company that the inventory no longer knows, wherever it stands. Returns how many."""
    gone = 0
    for members in structure.sets:
        try:
            keys = tuple(
                Key(set=members.name, key=key)
                for key, found in kernel.dump(members.name)
                if found.case.partition(":")[0] == company_id
            )
        except KernelError as error:
            if error.errno == 2:  # no such set: nobody is in it
                continue
            raise
        if keys:
            kernel.apply(Change(delete=keys))
            gone += len(keys)
    return gone


def _outcomes(
    one: Judged, company_id: str, after: datetime, decided: datetime, enforced: Enforced, *, alone: bool
) -> Iterator[Event]:
    case, order = one.case, one.case.order
    if order is None:
        return
    times = {"decided": instant(decided), "verified": instant(after)}
    if one.decision.act is Act.RESTORE:
        yield agent_event(
            id_=f"restored:{order.id}",
            type_="measure.restored",
            subject=company_id,
            now=after,
            body={
                "order": order.id,
                "case": case.id,
                "cause": f"{one.decision.cause}: {one.decision.en.removeprefix(f'{one.decision.cause}: ')}",
                "final": one.decision.final,
                "reason": one.decision.reason,
                "times": times | {"reason_fr": one.decision.fr, "reason_en": one.decision.en},
            },
        )
    elif one.decision.act is Act.KEEP and order.applied_at is None and case.id in enforced.elements:
        yield agent_event(
            id_=f"applied:{order.id}",
            type_="measure.applied",
            subject=company_id,
            now=after,
            body={
                "order": order.id,
                "case": case.id,
                "services": list(order.services),
                "elements": enforced.elements[case.id],
                "times": times,
            },
        )
    elif one.decision.act is Act.KEEP and order.applied_at is not None and case.id not in enforced.renewed and alone:
        count = sum(element.case == case.id for element in enforced.change.add)
        if count:
            yield agent_event(
                id_=f"repaired:{order.id}:{instant(after)}",
                type_="measure.repaired",
                subject=company_id,
                now=after,
                body={"what": "elements of this company were missing or not as wanted", "count": count, "times": times},
            )


def _note(gateway: Gateway, company_id: str, seq: int, basis: str, judgement: Judgement, enforced: Enforced) -> Settled:
    measures = tuple(
        InForce(
            company=company_id,
            case=one.case.id,
            order=one.case.order.id,
            services=one.case.order.services,
            lease_until=one.decision.lease_until.timestamp(),
        )
        for one in judgement.judged
        if one.decision.act is Act.KEEP
        and one.case.order is not None
        and one.decision.lease_until is not None
        and one.case.id in enforced.elements
    )
    waiting = tuple(one.case.id for one in judgement.judged if one.case.proposed and one.case.order is None and not one.case.closed)
    gateway.waiting.pop(company_id, None)
    if waiting:
        gateway.waiting[company_id] = waiting
    times = [judgement.next_at, gateway.now() + POLL if company_id in gateway.held or gateway.lookout.looking(company_id) else None]
    next_at = min((at.timestamp() for at in times if at is not None), default=None)
    return Settled(company=company_id, seq=seq, next_at=next_at, basis=basis, measures=measures)


def _count(gateway: Gateway, company_id: str, outcome: list[Event]) -> None:
    for event in outcome:
        if event.type == "measure.applied":
            gateway.metrics.changed("suspend")
        elif event.type == "measure.repaired":
            gateway.metrics.changed("repair")
            gateway.metrics.repaired("members", int(event.body["count"]))
        else:
            gateway.metrics.changed("restore")
            since = gateway.arrived.pop(company_id, None)
            if since is not None:
                gateway.metrics.restored(time.monotonic() - since[0], age=(gateway.now() - since[1]).total_seconds())


def _sentence(company_id: str, judgement: Judgement, outcome: list[Event]) -> str:
    words = {"measure.applied": "suspended", "measure.restored": "restored", "measure.repaired": "repaired"}
    why = "; ".join(one.decision.en for one in judgement.judged if one.decision.act is Act.RESTORE)
    did = ", ".join(words[event.type] for event in outcome)
    text = f"{company_id} {did}" + (f" ({why})" if why else "")
    log.info("%s", text, extra=fields(company=company_id, did=did))
    return text


def failure_kind(error: Exception) -> str:
    """The metric label of an error: `kernel`, `ledger`, `proof`, or `bug` for what nobody foresaw."""
    kinds = {KernelError: "kernel", LedgerUnwritable: "ledger", LedgerCorrupt: "ledger", ProofFailed: "proof"}
    return kinds.get(type(error), "bug")


class Queue:
    """The companies that are due, and those that failed and wait their turn again."""

    def __init__(self) -> None:
        self._again: dict[str, tuple[float, timedelta]] = {}
        self._notes: list[Settled] = []

    def step(self, gateway: Gateway, *, limit: int = 64) -> Iterator[Done]:
        """Settle companies that are due, those with a measure in force first; one at a time, so that the caller can breathe.

        A failure of one company does not stop the others; it is tried again with back-off. May be left after any company: what
        is due is asked for anew by the next step.
        """
        self._write_notes(gateway)
        now = time.monotonic()
        due = gateway.ledger.due(gateway.now().timestamp(), gateway.basis, limit + len(self._again))
        extra = [company for company in (*gateway.volatile, *gateway.again) if company not in due]
        for company_id in dict.fromkeys((*extra, *due)):
            waits = self._again.get(company_id)
            if waits is not None and now < waits[0]:
                continue
            gateway.again.pop(company_id, None)
            try:
                done = settle(gateway, company_id, self._notes)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong for one company must not delay another's restore
                self._failed(gateway, company_id, error)
                continue
            self._again.pop(company_id, None)
            gateway.failures.pop(company_id, None)
            if not gateway.ledger_good:  # its schedule could not be written, so it stays due: let the others have a turn
                self._again[company_id] = (now + MAX_RETRY.total_seconds(), MAX_RETRY)
            yield done
        self._write_notes(gateway)

    def _write_notes(self, gateway: Gateway) -> None:
        """One commit for many companies. Until then they stay due, and a fact that comes in between keeps them so."""
        notes, self._notes = self._notes, []
        if notes and gateway.ledger_good:
            gateway.tally.settle(gateway.ledger, gateway.rules.inventory, notes)

    def _failed(self, gateway: Gateway, company_id: str, error: Exception) -> None:
        kind = failure_kind(error)
        if kind == "ledger":
            gateway.ledger_bad(str(error))
        gateway.metrics.failed(kind)
        pause = min(MAX_RETRY, self._again[company_id][1] * 2) if company_id in self._again else RETRY
        self._again[company_id] = (time.monotonic() + pause.total_seconds(), pause)
        gateway.failures[company_id] = str(error)
        trace, more = error if kind == "bug" else None, fields(company=company_id, failure=kind)
        log.error("%s: %s; trying again in %d s", company_id, error, pause.total_seconds(), exc_info=trace, extra=more)

    def forgive(self) -> None:
        """The reason why many failed is gone: look at all of them at once."""
        self._again.clear()

    def wake(self, company_id: str) -> None:
        """A new fact: whatever failed before, look at once."""
        self._again.pop(company_id, None)

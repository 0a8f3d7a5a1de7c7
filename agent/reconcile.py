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
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from agent import remote
from agent.alarm import judged
from agent.continuity import TRIAL_SECONDS, Sight
from agent.decide import IN_FORCE, POLL, Act
from agent.doings import SWITCHED, Enforced, announcements, outcomes
from agent.errors import KernelError, LedgerCorrupt, LedgerUnwritable, ProofFailed
from agent.event import Event
from agent.gateway import Gateway, agent_event, log
from agent.judge import Judgement
from agent.kernel import Kernel
from agent.leases import Lease, switching, zones
from agent.ledger import InForce, Settled
from agent.log import fields
from agent.model import Company
from agent.plan import guard, plan
from agent.rules import Change, Element, Key, Observed, Structure
from agent.ruleset import is_exception

#: A company whose kernel change failed is tried again after so long, doubling up to a minute.
RETRY = timedelta(seconds=1)
MAX_RETRY = timedelta(minutes=1)

#: An element read back may have this much less of its lease than was asked for; more, and it is not what was applied.
_READ_BACK_MS = 30_000

#: What is only noted: nothing that was judged changes by it, so that nothing waits for another look.
_ASIDE = frozenset({"case.observed", "policy.pinned", "case.delayed"})

#: What leaves a measure in force once its order is in the ledger.
_STAYS = IN_FORCE - {Act.SUSPEND}

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
    announced = [event for one in judgement.judged for event in announcements(one, company_id, now)]
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
    alone = all(one.decision.act not in (Act.RESTORE, Act.LOWER) for one in judgement.judged)
    on = {one.case: one.since is not None for one in held if one.case in enforced.since}
    switched = {case for case, was in on.items() if was != (enforced.since[case] is not None)}
    outcome = [
        event
        for one in judgement.judged
        for event in outcomes(one, company_id, gateway.now(), now, enforced, alone=alone and not switched, switched=switched)
    ]
    # That hours switched is noted like a renewal, with the schedule: nothing that was judged changes by it.
    aside = [event for event in outcome if event.type == SWITCHED and not gateway.ledger.has(event.id)]
    outcome = [event for event in outcome if event.type != SWITCHED]
    if aside and gateway.append(*aside):
        _count(gateway, company_id, aside)
        _sentence(company_id, judgement, aside)
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


def enforce(
    gateway: Gateway, company: Company | None, company_id: str, judgement: Judgement, held: tuple[InForce, ...], now: datetime
) -> Enforced:
    """Make the kernel hold exactly what `judgement` wants for one company, and read it back."""
    before = {one.case: one for one in held}
    timezones = zones(company) if company is not None else ()
    leases = list(_leases(gateway, judgement, before, now))
    renewed = frozenset(one.case for one in leases if one.case in before and one.until.timestamp() > before[one.case].lease_until)
    if company is None:
        gateway.held.pop(company_id, None)
        gateway.remote.discard(company_id)
        purge(gateway.kernel, gateway.rules.structure, company_id)
        return Enforced()
    barred = remote.enter(gateway, company_id, leases)
    if barred is not None:  # a new measure on everything remote waits; of one in force nothing stands
        leases = [one for one in leases if one.case in before or not one.remote]
    wanted = gateway.wanted(company, leases, now)
    standing = _standing(leases, wanted)
    hours = {lease.case: switching(lease, timezones, now) for lease in leases}
    since = {lease.case: None if (here := hours[lease.case]) is not None and not here.on else lease.since for lease in leases}
    until = {case: here.until for case, here in hours.items() if here is not None}
    keys = sorted({*gateway.candidates(company), *(Key(set=e.set, key=e.key) for e in wanted)})
    if not keys:
        return Enforced(elements=standing, since=since, until=until)
    structure = gateway.rules.structure
    observed = gateway.kernel.observe(structure, keys)
    change = plan(wanted=wanted, candidates=keys, observed=observed, structure=structure, renew=bool(renewed))
    out = _too_much(gateway, company_id, change, wanted, observed, before)
    if out is not None:  # a new measure waits whole; of one in force waits what would be new
        leases = [one for one in leases if one.case in before]
        wanted = tuple(e for e in gateway.wanted(company, leases, now) if Key(set=e.set, key=e.key) not in out)
        standing = _standing(leases, wanted)
        change = plan(wanted=wanted, candidates=keys, observed=observed, structure=structure, renew=bool(renewed))
    if barred is not None:
        gateway.held[company_id] = barred
    steps = _steps(change)
    for step in steps:
        gateway.rules.prove(step.add, company, leases, gateway.links)
        gateway.kernel.apply(step)
    if steps:
        read_back(gateway.kernel.observe(structure, keys), wanted, keys)
    if any(Key(set=e.set, key=e.key) not in observed.members for step in steps for e in step.add):
        gateway.refused_anew()
    return Enforced(change=change, renewed=renewed, elements=standing, since=since, until=until)


def _standing(leases: Iterable[Lease], wanted: Iterable[Element]) -> dict[str, int]:
    """How many elements each measure has, without those that only spare."""
    counted = [element.case for element in wanted if not is_exception(element.set)]
    return {lease.case: counted.count(lease.case) for lease in leases}


def _leases(gateway: Gateway, judgement: Judgement, before: Mapping[str, InForce], now: datetime) -> Iterator[Lease]:
    """Every measure that should be in force. SUSPEND is enforced once its order is said; a gentler one at once."""
    for one in judgement.judged:
        until, held = one.decision.lease_until, before.get(one.case.id)
        if one.decision.act not in _STAYS or until is None:
            continue
        if not gateway.ledger_good:  # nothing new and no renewal while it could not be recorded
            if held is None:
                continue
            until = min(until, datetime.fromtimestamp(held.lease_until, UTC))
        since = now if held is None or held.since is None else datetime.fromtimestamp(held.since, UTC)
        yield Lease(case=one.case.id, services=one.measure.services, until=until, effect=one.measure.effect, since=since)


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


def _note(gateway: Gateway, company_id: str, seq: int, basis: str, judgement: Judgement, enforced: Enforced) -> Settled:
    measures = tuple(
        InForce(
            company=company_id,
            case=one.case.id,
            order=one.case.order.id,
            services=one.measure.services,
            lease_until=one.decision.lease_until.timestamp(),
            effect=one.measure.effect,
            since=_seconds(enforced.since.get(one.case.id)),
        )
        for one in judgement.judged
        if one.decision.act in _STAYS
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


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _count(gateway: Gateway, company_id: str, outcome: list[Event]) -> None:
    for event in outcome:
        if event.type == "measure.applied":
            gateway.metrics.changed("suspend")
        elif event.type in ("measure.lowered", "measure.switched"):
            gateway.metrics.changed("lower" if event.type == "measure.lowered" else "switch")
        elif event.type == "measure.repaired":
            gateway.metrics.changed("repair")
            gateway.metrics.repaired("members", int(event.body["count"]))
        else:
            gateway.metrics.changed("restore")
            since = gateway.arrived.pop(company_id, None)
            if since is not None:
                gateway.metrics.restored(time.monotonic() - since[0], age=(gateway.now() - since[1]).total_seconds())


def _sentence(company_id: str, judgement: Judgement, outcome: list[Event]) -> str:
    words = {
        "measure.applied": "suspended",
        "measure.restored": "restored",
        "measure.repaired": "repaired",
        "measure.lowered": "stepped down",
        "measure.switched": "switched by its hours",
    }
    why = "; ".join(one.decision.en for one in judgement.judged if one.decision.act in (Act.RESTORE, Act.LOWER))
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
        remote.leave(gateway)

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

"""Floor 3. The enforcing side's eyes: has local applications looked at, sums up what was seen, states what follows.

Rules of this room:

1. It asks the probing role over its socket, never the network. Who does not answer, or answers something else, shows nothing: then
   nothing new is suspended, and what is in force is not renewed.
2. It never holds anybody up: each question is a task with a deadline, and whoever restores does not come here at all.
3. Everything is looked at once an interval, spread out by chance. A company whose measure waits for a look, or is on trial, comes
   before the others and over a queue of its own.
4. It writes nothing into the kernel and decides nothing. What follows from looks is stated as facts (`facts`), which go the way
   of all facts.
"""

import asyncio
import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent import channel
from agent.continuity import TRIAL_SECONDS, Past, Sample, Seen, Sight, Target, add, baseline, targets
from agent.continuity.samples import read_answer, write_question
from agent.errors import ChannelError, EcluseError, Refused
from agent.event import Event, instant
from agent.gateway import Gateway
from agent.lookout import memory
from agent.lookout.facts import follows, ready
from agent.lookout.place import JUST, Place
from agent.model import Company

_log = logging.getLogger("ecluse.lookout")

#: Things asked about in one question, and questions under way at once that nobody waits for.
ASKED = 64
_QUESTIONS = 3

#: Seconds more for the answer about one company with very much.
_MORE = 3.0

_TELL_SECONDS = 5.0
_SAVE_SECONDS = 600.0

#: So many intervals without a look are blindness.
_BLIND = 3

#: Names that a status lists at most.
_MOST = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often is looked, in seconds.

    `interval`: between two looks at the same thing; `trial`: at a measure on trial; `second`: after something was silent under a
    measure; `retry`: after no answer; `tick`: between two looks at what is due. `deadline`, `urgent`: for an answer, for one
    that a measure waits for; the probing role may be busy with hosts that do not answer.
    """

    interval: float
    trial: float = 2.0
    second: float = 5.0
    retry: float = 5.0
    tick: float = 0.25
    deadline: float = 15.0
    urgent: float = 6.0


class LocalLookout:
    """See the room's docstring; `continuity.Lookout` for those who decide.

    Args:
        gateway: what is decided on.
        socket: where the probing role answers.
        pace: how often is looked.
        file: where the sums are kept over a restart.
        take: commits facts and has the companies they are about looked at.
        wake: calls the enforcing loop.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        socket: Path,
        pace: Pace,
        file: Path,
        take: Callable[[tuple[Event, ...]], object],
        wake: Callable[[], None],
    ) -> None:
        self._gateway, self._socket, self._pace, self._file = gateway, socket, pace, file
        self._take, self._wake_enforcer = take, wake
        self._places: dict[str, Place] = {}
        self._digest = ""
        self._remembered: dict[str, Past] = {}
        self._numbers = itertools.count(1)
        self._asking: set[asyncio.Task[None]] = set()
        self._urgent: set[asyncio.Task[None]] = set()
        self._calling = asyncio.Event()
        self._up, self._why = False, "not asked yet"
        self._answered_at: datetime | None = None
        self._saved_at = self._told_at = time.monotonic()

    # --- for those who decide -------------------------------------------------------------------------------------

    def sight(self, company_id: str) -> Sight:
        """How well this company is seen now. Before the first look: not at all."""
        place = self._places.get(company_id)
        if place is None:
            company = self._gateway.rules.inventory.company(company_id) if not self._known else None
            return Sight.BLIND if company is not None and targets(company) else Sight.NONE
        if time.monotonic() - place.seen_at > _BLIND * self._pace.interval + self._pace.deadline or place.untold():
            return Sight.BLIND
        return Sight.OUTAGE if place.away else Sight.SEEN

    def just_before(self, company_id: str) -> bool:
        """Was everything local seen to answer just now? If so the measure is on trial from here; if not, a look is on its way."""
        place = self._places.get(company_id)
        if place is None:
            return False
        if time.monotonic() - place.cleared_at <= JUST:
            place.cleared_at = float("-inf")
            place.try_()
            return True
        place.before = True
        self._calling.set()
        return False

    def looking(self, company_id: str) -> bool:
        """Is a look on its way that a measure waits for?"""
        place = self._places.get(company_id)
        return place is not None and place.before

    # --- for people -----------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """How it stands."""
        silent = [
            f"{company_id} {target.id}: {last.why or last.seen.value}"
            for company_id, place in self._places.items()
            for target in place.targets
            if (last := place.last(target)) is not None and last.seen is not Seen.ANSWERED
        ]
        return {
            "configured": True,
            "up": self._up,
            "why": "" if self._up else self._why,
            "last_answer": instant(self._answered_at) if self._answered_at else None,
            "interval_seconds": self._pace.interval,
            "companies": len(self._places),
            "targets": sum(len(place.targets) for place in self._places.values()),
            "states": self._states(),
            "silent": silent[:_MOST],
            "more": max(0, len(silent) - _MOST),
            "outages": [f"{name} {site}" for name, place in self._places.items() for site in sorted(place.away)][:_MOST],
        }

    def about(self, company_id: str) -> Sequence[Mapping[str, Any]]:
        """What was seen of each target of one company."""
        place = self._places.get(company_id)
        if place is None:
            return ()
        return [_told(place, target, self._per_hour) for target in place.targets]

    def _states(self) -> dict[str, int]:
        """How many targets were last seen in each state."""
        lasts = (place.last(target) for place in self._places.values() for target in place.targets)
        seen = Counter("unseen" if last is None else last.seen.value for last in lasts)
        return {state: seen[state] for state in (*Seen, "unseen")}

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look until cancelled. Whatever goes wrong with one company or one question is logged, and the rest goes on."""
        self._remembered = memory.load(self._file)
        try:
            while True:
                try:
                    await self._turn()
                except Exception:  # noqa: BLE001 - blindness is safe, and must end by itself
                    _log.exception("a turn of looking failed")
                    await asyncio.sleep(self._pace.retry)
                self._calling.clear()
                try:
                    async with asyncio.timeout(self._pace.tick):
                        await self._calling.wait()
                except TimeoutError:
                    pass
        finally:
            for task in (*self._asking, *self._urgent):
                task.cancel()
            self._save()

    async def _turn(self) -> None:
        if self._digest != self._gateway.rules.inventory.digest:
            await self._know()
        now = time.monotonic()
        due = [
            (name, place)
            for name, place in self._places.items()
            if place.asked_at is None and (place.before or place.next_at <= now)
        ]
        for name, place in due:
            if place.urgent:
                self._begin([(name, place)], urgent=True)
        rest = [each for each in due if not each[1].urgent]
        rest.sort(key=lambda each: (not each[1].under, each[1].next_at))
        while rest and len(self._asking) < _QUESTIONS:
            batch = [rest.pop(0)]
            while rest and sum(len(place.targets) for _, place in batch) + len(rest[0][1].targets) <= ASKED:
                batch.append(rest.pop(0))
            self._begin(batch, urgent=False)
        if now - self._told_at > _TELL_SECONDS:
            self._told_at = now
            self._gateway.metrics.targets(self._states())
        if now - self._saved_at > _SAVE_SECONDS:
            self._save()

    @property
    def _known(self) -> bool:
        return self._digest == self._gateway.rules.inventory.digest

    @property
    def _per_hour(self) -> float:
        return 3600 / self._pace.interval

    async def _know(self) -> None:
        """Learn what there is to look at; what was seen of the same thing before stays."""
        inventory = self._gateway.rules.inventory
        former, self._places = self._places, {}
        self._remembered |= {
            memory.name_of(name, target): past for name, place in former.items() for target, past in place.pasts.items()
        }
        pressing = self._pressing()
        for count, company in enumerate(inventory.companies()):
            found = targets(company)
            if found:
                self._places[company.id] = self._placed(company, found, former.get(company.id), pressing)
            if count % 100 == 99:
                await asyncio.sleep(0)
        self._digest = inventory.digest

    def _pressing(self) -> set[str]:
        """Companies with a measure that ends soon: one that a former process left on trial may be among them."""
        soon = self._gateway.now().timestamp() + TRIAL_SECONDS
        return {one.company for one in self._gateway.ledger.in_force() if one.lease_until <= soon}

    def _placed(self, company: Company, found: tuple[Target, ...], former: Place | None, pressing: set[str]) -> Place:
        if former is not None and former.targets == found:
            return former
        policy = self._gateway.rules.inventory.policies.get(company.policy)
        first = 0.0 if company.id in pressing else random.uniform(0, self._pace.interval)  # noqa: S311 - spreads load, guards nothing
        names = {target: memory.name_of(company.id, target) for target in found}
        return Place(
            targets=found,
            keep=policy.preflight_baseline_hours if policy else 0,
            next_at=time.monotonic() + first,
            pasts={target: self._remembered.pop(name) for target, name in names.items() if name in self._remembered},
        )

    # --- one question -----------------------------------------------------------------------------------------------

    def _begin(self, batch: Sequence[tuple[str, Place]], *, urgent: bool) -> None:
        for _, place in batch:
            place.asked_at = time.monotonic()
        tasks = self._urgent if urgent else self._asking
        task = asyncio.create_task(self._ask(batch, urgent=urgent))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _ask(self, batch: Sequence[tuple[str, Place]], *, urgent: bool) -> None:
        number = next(self._numbers)
        probes = [target.probe for _, place in batch for target in place.targets]
        try:
            header, body = await channel.ask_async(
                self._socket,
                {"ask": "look", "number": number, "urgent": urgent},
                write_question(probes),
                timeout=(self._pace.urgent if urgent else self._pace.deadline) + _MORE * (len(probes) // ASKED),
            )
            samples = iter(read_answer(header, body, number=number, count=len(probes)))
        except (ChannelError, Refused) as error:
            self._unanswered(batch, str(error))
            return
        self._up, self._answered_at = True, self._gateway.now()
        self._gateway.metrics.probe(up=True, at=self._answered_at.timestamp())
        for name, place in batch:
            looks = [(target, next(samples)) for target in place.targets]
            try:
                self._seen(name, place, looks)
            except EcluseError as error:  # the ledger does not take facts now: what helps counts all the same, the rest comes again
                _log.warning("%s: what was seen could not be stated: %s", name, error)
            except Exception:  # noqa: BLE001 - one company must not blind us for the others
                _log.exception("%s: what was seen could not be judged", name)
            await asyncio.sleep(0)

    def _unanswered(self, batch: Sequence[tuple[str, Place]], why: str) -> None:
        if self._up or self._why != why:
            _log.error("the probing role gives no answer: %s", why)
        self._up, self._why = False, why
        self._gateway.metrics.probe(up=False)
        for _, place in batch:
            place.asked_at, place.before = None, False
            place.next_at = time.monotonic() + (self._pace.trial if place.urgent else self._pace.retry)

    def _seen(self, name: str, place: Place, looks: Sequence[tuple[Target, Sample]]) -> None:
        """Count the looks at one company, and state what follows."""
        asked_at, place.asked_at = place.asked_at, None
        now, blind = self._gateway.now(), self.sight(name) is Sight.BLIND
        place.seen_at = time.monotonic()
        for target, sample in looks:
            place.window(target).append(sample)
            self._gateway.metrics.look(sample.seen.value)
            if not place.under:
                place.pasts[target] = add(place.pasts.get(target, Past()), sample, now, keep=place.keep)
            if place.tried is not None and asked_at is not None and asked_at >= place.tried_since:
                place.tried.setdefault(target, []).append(sample)
        before, place.before = place.before, False
        cleared = before and ready(place, per_hour=self._per_hour, now=now)
        if cleared:
            place.cleared_at = place.seen_at
        if cleared or (blind and self._gateway.ledger.record(name) is not None):  # what waits for sight need not wait longer
            self._gateway.again[name] = None
            self._wake_enforcer()
        try:
            events = tuple(follows(self._gateway, name, place, per_hour=self._per_hour, now=now))
            if events:
                self._take(events)
        finally:
            place.next_at = time.monotonic() + self._pause(place, looks)

    def _pause(self, place: Place, looks: Sequence[tuple[Target, Sample]]) -> float:
        if place.tried is not None:
            return self._pace.trial
        silent = any(sample.seen is Seen.SILENT for _, sample in looks)
        usual = self._pace.interval * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing
        return min(usual, self._pace.second) if silent and place.under and not place.away else usual

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        seen = (
            (memory.name_of(name, target), past) for name, place in self._places.items() for target, past in place.pasts.items()
        )
        try:
            memory.save(self._file, seen, self._remembered, self._gateway.now())
        except OSError as error:
            _log.warning("%s: the baseline can not be kept over a restart: %s", self._file, error.strerror)


def _told(place: Place, target: Target, per_hour: float) -> dict[str, Any]:
    """One target as it is seen, for people."""
    last, probe = place.last(target), target.probe
    usual = baseline(place.pasts.get(target, Past()), wanted=max(place.keep, 24), per_hour=per_hour)
    return {
        "site": target.site,
        "name": target.name,
        "role": target.role.value,
        "probe": probe.kind,
        "address": str(probe.address),
        "port": probe.port,
        "state": last.seen.value if last else "unseen",
        "ms": round(last.ms, 1) if last else None,
        "why": last.why if last else "",
        "away": target.site in place.away,
        "baseline": {"hours": usual.hours, "availability": round(usual.availability, 2), "ms": round(usual.ms, 1)}
        if usual
        else None,
    }

"""Floor 4. The hand that holds the firewall: one loop that takes facts, commits them, decides, and keeps the kernel right.

Rules of this room:

1. One thread, one loop: no two hands ever hold the ledger or the table at once.
2. Webhooks that wait together share one commit; each is answered after that commit and before the kernel is touched.
3. Restores first: the queue gives companies with a measure in force before all others, and long work (start, audit, repair)
   pauses for it.
4. Ready means the first good cycle is over. A signal to stop leaves the rules; their leases still run.
5. Policies that fail never replace policies that work. Those that work restore at once, and suspend only after every company was
   judged by them and the former ones.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import __version__, alarm, audit, channel, clockwork, figures, operate, remote, systemd
from agent.billing import Source
from agent.config import Config, SourceConfig, billing_sources, company_of, load_sources
from agent.desk import Desk
from agent.emergency.record import record
from agent.errors import KernelError
from agent.event import HOST, Event, instant
from agent.gateway import Gateway, Review, agent_event, log
from agent.inforce import InForceRules
from agent.inventory import compile_in_child, keep_in_force, open_inventory
from agent.kernel.tracking import tracked
from agent.kernel.watch import Watch
from agent.metrics import exposition
from agent.reconcile import Queue, failure_kind
from agent.relink import Relink
from agent.rules import Change

#: The queue is looked at this often even if nobody calls; new facts wake it at once.
TICK = 1.0

#: So long companies that are due are settled in one go, before the rest of a cycle has its turn.
SETTLE_SECONDS = 0.25

#: Seconds of rest between two steps of an audit, once everything is in the kernel.
BREATH = 0.001

#: A full audit at least this far apart, and never more than a fiftieth of the time.
AUDIT_SECONDS = 60.0
AUDIT_SHARE = 50

#: Where the kernel tells nothing of changes by others, our table is looked at this often.
LOOK_SECONDS = 5.0


@dataclass(kw_only=True)
class Enforcer:
    """The running role. `sources` are the configured billing systems with their secrets; `beside`: work that runs along with it.

    `adopting`: the compiled inventory that is under review. Until that is over, a restart compares with the one before it.
    """

    config: Config
    gateway: Gateway
    source_configs: Mapping[str, SourceConfig]
    sources: Mapping[str, Source]
    open_watch: Callable[[], Watch] | None = None
    clock: clockwork.Clockwork | None = None
    relink: Relink = field(default_factory=Relink)
    queue: Queue = field(default_factory=Queue)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    ready: bool = False
    policy_problems: tuple[str, ...] = ()
    adopting: Path | None = None
    beside: list[Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=list)
    desk: Desk = field(init=False)
    _touched: str = ""
    _heard: bool = False
    _away: bool = False
    _reloading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _audited_at: float = 0.0
    _looked_at: float = 0.0
    _audit_took: float = 0.0

    def __post_init__(self) -> None:
        self.desk = Desk(gateway=self.gateway, queue=self.queue, wake=self.wake)

    # --- what the listening side and the operators ask -------------------------------------------------------------

    async def answer_serve(self, _peer: channel.Peer, header: dict[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Answer the listening role: a webhook, the metrics, readiness."""
        match header.get("ask"):
            case "webhook":
                status, message = await self.desk.webhook(header, body, self.sources, self.resolve)
                return {"status": status, "message": message}, b""
            case "metrics":
                return {"sources": sorted(self.sources)}, exposition(self.gateway.metrics.registry)
            case "ready":
                return {"ready": self.ready, "why": self.gateway.last_sentence if self.ready else "starting"}, b""
            case _:
                return {"status": 400, "message": "unknown question"}, b""

    def resolve(self, source: str, customer: str) -> str | None:
        """The company that a source calls `customer`."""
        return company_of(self.source_configs[source], customer, self.gateway.rules.inventory)

    def take(self, events: tuple[Event, ...]) -> tuple[bool, ...]:
        """Commit facts that a person states; see `Desk.take`."""
        return self.desk.take(events)

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start, be ready, keep going until told to stop. The rules stay when it ends."""
        self.gateway.append(
            agent_event(
                id_=f"started:{instant(self.gateway.now())}",
                type_="agent.started",
                subject=HOST,
                now=self.gateway.now(),
                body={"version": __version__, "kernel": self.gateway.kernel.name},
            )
        )
        self.relink.listen(self.wake)
        await self._guarded(self._start)
        watch = self._watch()
        try:
            await self._keep_going()
        finally:
            if watch is not None:
                asyncio.get_running_loop().remove_reader(watch.fileno())
                watch.close()
            self.relink.close()

    def _watch(self) -> Watch | None:
        """Listen to the kernel's notifications; only now, because a listener doubles the price of a bulk load."""
        if self.open_watch is None:
            return None
        watch = self.open_watch()
        asyncio.get_running_loop().add_reader(watch.fileno(), self.touched, watch)
        # What happened between the load and the first notification is looked for once.
        with suppress(KernelError):
            self._see()
        return watch

    def _see(self) -> None:
        if self.gateway.kernel.observe(self.gateway.rules.structure).structure != "as_wanted":
            self._touched = "somebody else"
            self.wake.set()

    async def _keep_going(self) -> None:
        while not self.stopping.is_set():
            begun, self._heard = time.monotonic(), False
            good = await self._guarded(self._cycle)
            agreed = good and not self._touched  # in a fight our table may have to stay away for a while
            self.gateway.metrics.cycle(time.monotonic() - begun, good_at=self.gateway.now().timestamp() if agreed else None)
            if good:
                self.gateway.last_good_at = self.gateway.now() if agreed else self.gateway.last_good_at
                if not self.ready:
                    self.ready = True
                    systemd.ready(self.gateway.last_sentence)
                systemd.alive()
            if self._heard and not self.gateway.fight.rests(time.monotonic()):
                continue  # touched again while it was put right
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self.wake.wait()
            self.wake.clear()

    async def _guarded(self, work: Callable[[], Any]) -> bool:
        """Run one piece of work; an error is logged, counted and shown, and the loop goes on. True if all went well.

        Whatever the error is: a payment that comes in next must find somebody who restores. If it lasts, no cycle is good, and
        the watchdog hears nothing any more.
        """
        try:
            await work()
        except Exception as error:  # noqa: BLE001
            kind = failure_kind(error)
            if kind == "ledger":
                self.gateway.ledger_bad(str(error))
            self.gateway.metrics.failed(kind)
            if self.gateway.failures.get(kind) != str(error):
                log.error("%s", error, exc_info=error if kind == "bug" else None)
            self.gateway.failures[kind] = str(error)
            self._touched = self._touched or "a failure"
            return False
        for kind in ("kernel", "proof", "bug"):
            self.gateway.failures.pop(kind, None)
        return True

    async def _start(self) -> None:
        self.gateway.look_around()
        if not self._keep_cleared():
            await self._audit(audit.start)

    async def _cycle(self) -> None:
        clockwork.look(self.clock, self.gateway, self.sources)
        if not self.gateway.ledger_good and self.gateway.catch_up(lambda events: alarm.alarms(self.gateway, events)):
            self.queue.forgive()
        await self._settle_due()
        self.relink.step()
        cleared = self._keep_cleared()
        if cleared or self.stopping.is_set():
            self._touched = ""  # there is nothing of ours to put right
        elif self._away:  # a person let suspensions be possible again
            self._away, self._touched = False, ""
            await self._audit(audit.start)
        elif self._touched:
            if not self.gateway.fight.rests(time.monotonic()):
                cause, self._touched = self._touched, ""
                await self._audit(lambda gateway: audit.repair(gateway, cause))
        elif time.monotonic() - self._audited_at > max(AUDIT_SECONDS, AUDIT_SHARE * self._audit_took):
            await self._audit(lambda gateway: audit.repair(gateway, "somebody unseen"))
        else:
            self._look()
        self.gateway.ledger.tidy()
        figures.take(self.gateway)

    def _look(self) -> None:
        """Look by the clock whether our table is as it should be, where nobody tells (legacy iptables)."""
        if self.open_watch is None and time.monotonic() - self._looked_at > LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._see()

    async def _settle_due(self) -> None:
        """Settle everything that is due; between two companies others get their turn. What is left over is next at once."""
        until = time.monotonic() + SETTLE_SECONDS
        await asyncio.sleep(0)  # the answers to what was just committed go out first
        while not self.stopping.is_set():
            self.gateway.look_around()
            record(self.gateway)
            worked = False
            for done in self.queue.step(self.gateway):
                worked = True
                if done.changed:
                    self._sentence(done.sentence)
                await asyncio.sleep(0)
                if self.wake.is_set():  # a payment does not wait behind renewals
                    self.wake.clear()
                    break
            if not worked:
                self._adopt()
                return
            if time.monotonic() > until:
                self.wake.set()
                return

    def _adopt(self) -> None:
        """Nobody is left to judge by new policies: they are in force as a whole now."""
        if self.gateway.review is None or not self.gateway.ledger_good:
            return
        if self.adopting is not None:
            keep_in_force(self.adopting)
            self.adopting = None
        alarm.end_review(self.gateway)
        self.wake.set()

    async def _audit(self, flow: Callable[[Gateway], audit.Breath]) -> None:
        begun = time.monotonic()
        audited = await self._breathe(flow(self.gateway))
        self._audited_at, self._audit_took = time.monotonic(), time.monotonic() - begun
        self._sentence(audited.sentence)

    async def _breathe(self, work: Generator[None, None, audit.Audited]) -> audit.Audited:
        """Run long work in steps; a fact that comes in between is settled at once."""
        while True:
            if self.stopping.is_set():
                work.close()
                return audit.Audited(wanted=0, found=0, strangers=0, repaired=0)
            try:
                next(work)
            except StopIteration as end:
                found: audit.Audited = end.value
                return found
            # A webhook takes several turns of the loop until it is committed, and a turn may be as long as a step.
            await asyncio.sleep(BREATH if self.ready else 0)
            if self.wake.is_set():
                self.wake.clear()
                await self._settle_due()

    def _keep_cleared(self) -> bool:
        """True while a person has had everything restored. Then our table is taken away, once, whoever wrote the stop file."""
        pause = self.gateway.stop.all
        if pause is None or not pause.restore:
            return False
        if not self._away:
            self.clear()
            self._sentence("paused: nothing is suspended")
        return True

    def _sentence(self, text: str) -> None:
        self.gateway.last_sentence = text
        systemd.status(text)

    def clear(self) -> None:
        """Take our table away; with a stop file that restores, nothing brings it back."""
        self.gateway.kernel.apply(Change(remove_table=True))
        self._away = True

    # --- signals, notifications, reload -----------------------------------------------------------------------------

    def touched(self, watch: Watch) -> None:
        """The kernel says that rulesets changed; if somebody else touched ours, look and repair."""
        try:
            seen = watch.read()
        except KernelError as error:  # the audits go on; a reader that is always ready would take all our time
            asyncio.get_running_loop().remove_reader(watch.fileno())
            self.gateway.failures["watch"] = str(error)
            log.error("%s; from now on changes by others are only seen by the audit every minute", error)
            return
        if seen.look:
            self._touched, self._heard = ", ".join(seen.by) or "somebody else", True
            if not self.gateway.fight.on:  # a fight is looked at once a second
                self.wake.set()

    async def reload(self) -> tuple[str, ...]:
        """Read policies and sources again. On any problem the old ones stay; returns the problems."""
        async with self._reloading:  # two at a time could end with the older files in force
            systemd.reloading()
            try:
                return await self._reload()
            except Exception as error:  # noqa: BLE001 - whatever it is, the policies that work stay
                problems = tuple(str(error).splitlines()) or (type(error).__name__,)
                self.reject(problems)
                return problems
            finally:
                systemd.ready(self.gateway.last_sentence)

    async def _reload(self) -> tuple[str, ...]:
        compiled = await compile_in_child(self.config.policies, self.config.state_dir)
        known = self.gateway.rules.answers
        rules = InForceRules.compile(open_inventory(compiled), self.gateway.now(), tracked=tracked(), answers=known)
        configs = load_sources(self.config.sources)
        sources = billing_sources(configs)
        rules, former = remote.after_reload(self.gateway, rules), self.gateway.rules
        before = former.inventory
        if not self._away:
            self.gateway.kernel.apply(Change(structure=rules.structure))
        self.gateway.rules, self.source_configs, self.sources, self.policy_problems = rules, configs, sources, ()
        self.gateway.feeds = operate.feeds(sources)
        self.gateway.metrics.know(sources)
        self.relink.restated()
        if not self._away:
            await self._guarded(lambda: self._leave(former))
        if before.digest != rules.inventory.digest:
            compared = self.gateway.review.before if self.gateway.review else before
            self.gateway.review, self.adopting = Review(before=compared), compiled
        elif self.gateway.review is None:
            keep_in_force(compiled)
        self.gateway.look_around()
        for _ in self.gateway.tally.recount(self.gateway.ledger, rules.inventory):
            await asyncio.sleep(0)
        self.loaded()
        self._touched = "reload"
        self.wake.set()
        return ()

    def adopt(self, rules: InForceRules) -> None:
        """Go by rules of the same inventory in which names stand for something else.

        Raises:
            KernelError: the kernel did not take them; the former ones are in force.
        """
        if not self._away:
            self.gateway.kernel.apply(Change(structure=rules.structure))
        self.gateway.rules = rules
        self.gateway.again.update(dict.fromkeys(sorted(self.gateway.remote)))  # what they keep may have another address
        self._touched = self._touched or "an answer to a name"
        self.wake.set()

    async def _leave(self, before: InForceRules) -> None:
        for _ in audit.leave(self.gateway, before):
            await asyncio.sleep(0)

    def reject(self, problems: tuple[str, ...]) -> None:
        """Say that the policies on disk are refused and that the former ones stay in force."""
        self.policy_problems = problems
        log.error("policies refused, the former ones stay in force: %s", "; ".join(problems[:5]))
        self.gateway.metrics.policy(valid=False)
        now = self.gateway.now()
        self.gateway.append(
            agent_event(
                id_=f"policy.rejected:{instant(now)}",
                type_="policy.rejected",
                subject=HOST,
                now=now,
                body={"digest": "", "problems": len(problems), "first": problems[0][:500]},
            )
        )

    def loaded(self) -> None:
        """Say in metrics and ledger which policies are in force from now on."""
        now = self.gateway.now()
        digest = self.gateway.rules.inventory.digest
        self.gateway.metrics.policy(valid=True, loaded_at=now.timestamp())
        self.gateway.append(
            agent_event(
                id_=f"policy.loaded:{digest}:{instant(now)}",
                type_="policy.loaded",
                subject=HOST,
                now=now,
                body={"digest": digest, "counts": {"services": len(self.gateway.rules.inventory.services)}},
            )
        )

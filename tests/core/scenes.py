"""How a scenario is told and played: a company of the scenarios' inventory, its story, what changes around it, what must come.

A `Tale` is a value. `play` walks it with the daemon's own judgement and gives texts that a lawyer can read: the facts as they
came, what stands at chosen instants with the reasons, the addresses that the rules then hold, and what the agent did.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from agent.cli.screen import Screen
from agent.cli.story import tell
from agent.closing import words
from agent.decide import POLL
from agent.judge import Judged, Judgement
from agent.leases import Lease, elements, needs_of
from agent.model import PLAIN, Company, Policy, Service
from agent.policy import Loaded, MemoryInventory, load
from agent.proof import Proven, prove, prove_members
from agent.record import Record
from agent.report import in_the_way, reason
from agent.rules import Structure, Use
from agent.ruleset import read_key, structure
from agent.ruleset.naming import stem
from agent.stages import ANNEX
from agent.stages import words as stage_words
from tests.core.stories import PARIS, Story, Walk, at, lines, standing, wanted

GOLDEN = Path(__file__).parents[1] / "golden" / "scenarios"

_DAYS = ("lun.", "mar.", "mer.", "jeu.", "ven.", "sam.", "dim.")
_USES = {
    Use.REFUSE: "refusé",
    Use.CAP_TO: "plafonné à l'envoi",
    Use.CAP_FROM: "plafonné à la réception",
    Use.DRAIN: "laissé finir",
}
_ACTS = {
    "nothing": "rien",
    "observe": "observer",
    "propose": "proposer",
    "suspend": "suspendre",
    "keep": "maintenir",
    "lower": "ramener",
    "restore": "rétablir",
}


@lru_cache
def files() -> Mapping[str, str]:
    """The inventory of the scenarios, as written."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((GOLDEN / "inventory").glob("*.yaml"))}


@lru_cache
def loaded() -> Loaded:
    """The same, read and checked as the agent does."""
    return load(files())


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """From `when` on something around the company is otherwise: `world` are circumstances of `stories.judgement_of`."""

    when: str
    says: str
    world: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tale:
    """One scenario, or one variant of it.

    `rule` says in French what must happen and by which text or habit. `does` is everything the agent must do, to the second:
    "2026-03-30 09:00 suspend". `shown` are the instants that are told in full, `until` is where the walk ends. `left_out` is what
    of the situation belongs to other tests. `routine`: since when routine signals age as the policy says, and the lease is the
    policy's, where the scenario is about them; elsewhere they are taken as always fresh and are not told.
    """

    name: str
    title: str
    rule: str
    story: Story
    does: tuple[str, ...]
    shown: tuple[str, ...]
    until: str
    left_out: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    routine: str = ""

    @property
    def company(self) -> Company:
        """As the inventory has it."""
        return loaded().companies[self.story.company]

    @property
    def policy(self) -> Policy:
        """The company's, with routine signals that stay fresh."""
        calm = {"feed_max_age_minutes": 100_000, "clock_max_age_minutes": 100_000, "lease_minutes": 1440}
        return replace(loaded().policies[self.company.policy], **calm)

    def begin(self) -> "Scene":
        """A walk that has not begun."""
        policy = self.policy
        exact = Turn(when=self.routine, says="", world={"policy": loaded().policies[policy.id]}) if self.routine else None
        return Scene(
            story=self.story,
            circumstances={
                "company": self.company,
                "services": loaded().services,
                "policy": policy,
                "approvals": standing(policy=policy),
            },
            turns=(*([exact] if exact else []), *self.turns),
        )


@dataclass(kw_only=True)
class Scene(Walk):
    """A walk in which the world may change on the way."""

    turns: tuple[Turn, ...] = ()
    looked: datetime | None = None

    def world(self, moment: datetime) -> dict[str, Any]:
        """The circumstances at an instant."""
        found = dict(self.circumstances)
        for turn in self.turns:
            if at(turn.when) <= moment:
                found |= turn.world
        return found

    def now(self, when: str | datetime) -> Judgement:
        moment = at(when) if isinstance(when, str) else when
        held, self.circumstances = self.circumstances, self.world(moment)
        try:
            return Walk.now(self, moment)
        finally:
            self.circumstances = held

    def through(self, end: str | datetime, *, most: int = 3000) -> "Scene":
        """Walk on, up to and with `end`; who only waits is looked at when a check may change, not every minute."""
        until = at(end) if isinstance(end, str) else end
        turning = sorted(at(turn.when) for turn in self.turns)
        for _ in range(most):
            facts = [event.received_at for event in self.waiting[:1]]
            looks = [self.look_at] if self.look_at else []
            turns = [moment for moment in turning if self.looked is None or moment > self.looked][:1]
            now = min([*facts, *looks, *turns], default=None)
            if now is None or now > until:
                return self
            self.looked = now
            while self.waiting and self.waiting[0].received_at <= now:
                self._tell(replace(self.story, events=(*self.story.events, self.waiting.pop(0))))
            judgement = self._settle(now)
            self.look_at = judgement.next_at
            if self.look_at and self.look_at <= now + POLL and not self.leases:
                changes = [one.gate.until for one in judgement.judged if one.gate.until and not one.case.closed]
                self.look_at = min(changes, default=None)
        raise AssertionError(f"still walking after {most} looks, at {self.look_at}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """What came of a tale: what was done, the two texts, and at each shown instant the record and what was suspended."""

    walk: Scene
    stood: tuple[tuple[str, Record, frozenset[tuple[str, str]]], ...]
    does: tuple[str, ...]
    story: str
    decisions: str


def play(tale: Tale) -> Played:
    """Walk a tale to its end and write it down."""
    walk = tale.begin()
    shown: list[str] = []
    stood = []
    for instant in tale.shown:
        judgement = walk.through(instant).now(instant)
        shown += _instant(walk, judgement, instant)
        stood.append((instant, walk.record, wanted(judgement)))
    walk.through(tale.until)
    done = [(when, what, one) for when, what, one in walk.lines if what != "keep"]
    return Played(
        walk=walk,
        stood=tuple(stood),
        does=tuple(_short(when, what, one) for when, what, one in done),
        story="\n".join(_story(tale)) + "\n",
        decisions="\n".join([*_head(tale), *shown, "", "CE QUE L'AGENT A FAIT", "", *_done(done)]) + "\n",
    )


def clock(when: datetime) -> str:
    """lun. 30/03/2026 09:00, with seconds where there are any; Paris time."""
    place = when.astimezone(ZoneInfo(PARIS))
    return f"{_DAYS[place.weekday()]} {place:%d/%m/%Y %H:%M}" + (f":{place:%S}" if place.second else "")


def _short(when: datetime, what: str, one: Judged) -> str:
    place = when.astimezone(ZoneInfo(PARIS))
    text = f"{place:%Y-%m-%d %H:%M}" + (f":{place:%S}" if place.second else "")
    notice = "" if one.case.notice.id == "N1" else f" {one.case.notice.id}"
    stage = one.measure.effect.terms.stage
    staged = f" palier {stage}" if what == "lower" or (what == "suspend" and stage != ANNEX) else ""
    return f"{text} {what}{notice}{staged}" + (f" {one.decision.reason}" if one.decision.reason else "")


def _head(tale: Tale) -> Iterator[str]:
    yield tale.title
    yield ""
    yield f"Société : {tale.company.name} ({tale.company.id}), politique {tale.policy.id}, profil {tale.policy.profile}."
    yield f"Règle : {tale.rule}"
    for one in tale.left_out or ("rien.",):
        yield f"Laissé à d'autres essais : {one}"
    yield "Heures de Paris."
    yield ""
    yield "CE QUI EST DÉCIDÉ"


def _instant(walk: Scene, judgement: Judgement, instant: str) -> Iterator[str]:
    yield ""
    yield clock(at(instant))
    cut = [one for one in judgement.in_force() if one.case.order is not None]
    if not cut:
        yield "  tout est ouvert"
    for one in cut:
        plain = one.measure.effect == PLAIN
        yield f"  {'suspendu' if plain else stage_words(one.measure.effect)[0]} : {', '.join(one.measure.services)}"
        yield from (f"    règle : {text}" for text in rules(one, walk.world(at(instant)), at(instant)))
    for one in judgement.judged:
        fr, _ = reason(one.decision, one.gate, one.case)
        owed = f"{one.gate.owed:,.2f}".replace(",", " ").replace(".", ",")
        yield f"  dossier {one.case.id}, dû {owed} EUR : {_ACTS[one.decision.act.value]} ({fr})"
        for check in in_the_way(one)[1:]:
            yield f"    et {check.code} : {check.fr}"


def rules(one: Judged, world: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    """The elements that the measure of a case wants in the kernel, proven, as people write them."""
    company: Company = world["company"]
    built, proven = _compiled(tuple(sorted(world["services"].items(), key=lambda item: item[0])))
    sets = {each.name: each for each in built.sets}
    order = one.case.order
    assert order is not None
    held = Lease(
        case=one.case.id,
        services=one.measure.services,
        until=now + timedelta(minutes=1),
        effect=one.measure.effect,
        since=order.applied_at or now,
    )
    wanted = elements(company, (held,), world["services"], sets, now)
    prove_members(wanted, company, set(one.measure.services), proven)
    found = []
    for element in wanted:
        members = sets[element.set]
        interface, network = read_key(members, element.key)
        place = f"{network}" + (f" sur {interface}" if interface else "")
        service = next(name for name in one.measure.services if element.set.startswith(stem(name)))
        rate = f" à {element.kbit} kbit/s" if element.kbit else ""
        found.append(f"{service} {_USES[members.use]}{rate} à {place}")
    return tuple(found)


@lru_cache
def _compiled(services: tuple[tuple[str, Service], ...]) -> tuple[Structure, Proven]:
    """The structure for the whole inventory, with the proof that it can hit nothing protected and nothing local."""
    inventory = MemoryInventory(replace(loaded(), services=dict(services)))
    built = structure(inventory.services, inventory.shapes, needs_of(inventory.policies.values(), tracked=True))
    return built, prove(built, inventory.protected_selectors(), inventory.local_networks(), inventory.services)


class _Paris(Screen):
    """A reader in Paris, wherever the tests run."""

    def moment(self, at: Any, zone: Any = None) -> str:
        return super().moment(at, zone or PARIS)


_READER = _Paris(language="fr")


def _story(tale: Tale) -> Iterator[str]:
    yield tale.title
    yield ""
    told = [(event.occurred_at, event.id, _fact(event)) for event in tale.story.events]
    told += [(at(turn.when), "", f"{clock(at(turn.when))}  {turn.says}") for turn in tale.turns]
    yield from (text for _, _, text in sorted(told, key=lambda one: one[:2]))


def _fact(event: Any) -> str:
    text = f"{clock(event.occurred_at)}  {tell(event, _READER)}"
    if event.body.get("allocation"):
        parts = (f"{part['invoice']} {_READER.amount(part['amount'], 'EUR')}" for part in event.body["allocation"])
        text += f" ; imputé par le client ou la facturation : {', '.join(parts)}"
    if event.type.startswith("notice.") and event.body.get("proof"):
        text += f" (preuve {event.body['proof']})"
    if event.received_at - event.occurred_at > timedelta(0):
        text += f" ; appris le {clock(event.received_at)}"
    return text


def _done(done: list[tuple[datetime, str, Judged]]) -> Iterator[str]:
    if not done:
        yield "  rien"
    for when, what, one in done:
        fr, _ = reason(one.decision, one.gate, one.case)
        final = f" ; dossier clos : {words(one.decision.reason)[0]}" if what == "restore" and one.decision.final else ""
        yield f"  {clock(when)}  {one.case.notice.id}  {_ACTS[what]:9}  {fr}{final}"


# --- building blocks of stories -----------------------------------------------------------------------------------------


def dunned(
    company: str,
    amount: str = "4800.00",
    *,
    invoice: str = "F1",
    due: str = "2026-01-31",
    reminded: tuple[str, ...] = ("2026-02-09", "2026-02-19", "2026-03-02"),
    sent: str = "2026-03-09 11:00",
    delivered: str | None = "2026-03-11 10:30",
    warned: str | None = "2026-03-24 10:00",
    **notice: Any,
) -> Story:
    """A company with one invoice, asked as it should be: reminders at 10:00, a registered letter, a last warning."""
    on = notice.get("services")
    story = Story(company=company).invoice(invoice, amount, due, lines=lines(amount, services=on or ()))
    for number, day in enumerate(reminded, 1):
        story = story.reminder(f"R{number}", f"{day} 10:00", invoice)
    story = story.notice(sent, **({"invoices": [invoice]} | notice))
    if delivered:
        story = story.letter("delivered", delivered)
    return story.warned(warned) if warned else story


def late(story: Story, when: str) -> Story:
    """The last fact reached us later than it happened."""
    return replace(story, events=(*story.events[:-1], replace(story.events[-1], received_at=at(when))))

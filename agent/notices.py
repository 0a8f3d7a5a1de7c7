"""Floor 1. What was asked of the debtor: reminders, formal notices and what became of them, last warnings.

Where statements about one letter differ, the reading that favours the customer wins: the narrowest announcement, the latest
dates, the weakest proof.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.model import Extent
from agent.record import Record, Statement, keys, statements
from agent.stages import ANNOUNCED_BY_NAME, EXTENDED, REMOTE, SERVICES


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """A formal notice as announced: where statements differ, the narrowest services and the latest dates.

    `first_at` is the earliest date anybody gives for sending it: what the notice recalls must be older. `stage` is the
    strongest measure it announces, None where it only names services; `extent` is how far that reaches. `invoices` are those
    every statement names, `named` those that any does. `kept` are the services that it says stay on. `addressee` is "company" or
    "officeholder".
    """

    id: str
    channel: str
    addressee: str
    first_at: datetime
    dispatched_at: datetime
    invoices: tuple[str, ...]
    named: frozenset[str]
    reminders: tuple[str, ...]
    services: tuple[str, ...]
    kept: tuple[str, ...]
    earliest_on: str
    stage: int | None
    extent: Extent
    states: frozenset[str]
    cure_days: int
    effective_at: datetime | None
    effective_by: str
    proof: str
    undeliverable: bool
    facts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reminder:
    """A reminder with the invoices it names. `first_at` is the earliest date anybody gives for it, `sent_at` the latest."""

    id: str
    first_at: datetime
    sent_at: datetime
    invoices: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class LastWarning:
    """The last warning before a measure. `sent_at` is the latest date anybody gives for it."""

    id: str
    sent_at: datetime
    bounced: bool
    fact: str


#: Channels from the weakest proof to the strongest; where statements differ, the weakest counts.
_CHANNELS = ("email", "lrar", "lre_q", "commissaire_de_justice")

_ADDRESSEES = ("company", "officeholder")


def notices(record: Record) -> Iterator[Notice]:
    """Every formal notice, by id."""
    for key in keys(record, "notice.dispatched"):
        said = statements(record, "notice.dispatched", key)
        bodies = [one.body for one in said]
        announced = [body["announces"] for body in bodies]
        channels = {str(body["channel"]) for body in bodies}
        effective, how, proof, facts = _effect(record, key, electronic="lre_q" in channels)
        undeliverable = statements(record, "notice.undeliverable", key)
        kept = {service for each in announced for service in each.get("kept", ())}
        yield Notice(
            id=key,
            channel=min(channels, key=_CHANNELS.index),
            addressee=min((str(body.get("addressee", "company")) for body in bodies), key=_ADDRESSEES.index),
            first_at=said[0].at,
            dispatched_at=said[-1].at,
            invoices=_in_all(bodies, "invoices"),
            named=frozenset(name for body in bodies for name in body["invoices"]),
            reminders=_in_all(bodies, "reminders"),
            services=tuple(name for name in _in_all(announced, "services") if name not in kept),
            kept=_in_all(announced, "kept"),
            earliest_on=max(str(each["earliest_on"]) for each in announced),
            stage=_stage(announced),
            extent=REMOTE if all(each.get("extent") == REMOTE for each in announced) else SERVICES,
            states=frozenset.intersection(*(frozenset(body["states"]) for body in bodies)),
            cure_days=max(int(body.get("cure_days", 0)) for body in bodies),
            effective_at=None if undeliverable else effective,
            effective_by="undeliverable" if undeliverable else how,
            proof=proof,
            undeliverable=bool(undeliverable),
            facts=(*(one.id for one in said), *facts, *(one.id for one in undeliverable)),
        )


def _stage(announced: list[Mapping[str, Any]]) -> int | None:
    """The weakest measure that any statement announces. Services alone announce their suspension; a stage there is not, nothing."""
    if not any("stage" in each for each in announced):
        return None
    said = [int(each.get("stage", ANNOUNCED_BY_NAME)) for each in announced]
    return min(stage if stage <= EXTENDED else 0 for stage in said)


def _in_all(bodies: list[Mapping[str, Any]], name: str) -> tuple[str, ...]:
    return tuple(sorted(set.intersection(*(set(body.get(name, ())) for body in bodies))))


def _effect(record: Record, notice: str, *, electronic: bool) -> tuple[datetime | None, str, str, tuple[str, ...]]:
    """When a notice took effect, by which fact, and whether a proof came with it.

    Delivered or refused: that day. Not claimed: the first presentation (Cass. 1re civ., 20 Jan 2021, 19-20.680), but for an
    electronic registered letter the day it lapsed (CPCE R53-3: the addressee has fifteen days). Presented alone has no effect
    yet: the letter may still come back. Of several dates the latest counts.
    """
    found: list[tuple[datetime, str, str, tuple[str, ...]]] = []
    for how in ("delivered", "refused"):
        said = statements(record, f"notice.{how}", notice)
        if said:
            found.append((said[-1].at, how, _proof(said), tuple(one.id for one in said)))
    unclaimed = statements(record, "notice.unclaimed", notice)
    if unclaimed:
        presented = statements(record, "notice.presented", notice)
        facts = tuple(one.id for one in (*unclaimed, *presented))
        at = presented[-1].at if presented and not electronic else unclaimed[-1].at
        found.append((at, "unclaimed", _proof(unclaimed) or _proof(presented), facts))
    return max(found, default=(None, "", "", ()), key=lambda one: (one[0], one[1]))


def _proof(said: list[Statement]) -> str:
    return next((str(one.body["proof"]) for one in reversed(said) if one.body.get("proof")), "")


def reminders(record: Record) -> Iterator[Reminder]:
    """Every reminder, by id."""
    for key in keys(record, "reminder.sent"):
        said = statements(record, "reminder.sent", key)
        named = frozenset(_in_all([one.body for one in said], "invoices"))
        yield Reminder(id=key, first_at=said[0].at, sent_at=said[-1].at, invoices=named)


def warnings(record: Record, notice: str) -> Iterator[LastWarning]:
    """The last warnings of one notice, by id; one that is also said to belong to another notice proves nothing."""
    for key in keys(record, "warning.sent"):
        said = statements(record, "warning.sent", key)
        if all(one.body["notice"] == notice for one in said):
            yield LastWarning(
                id=key, sent_at=said[-1].at, bounced=bool(statements(record, "warning.bounced", key)), fact=said[-1].id
            )

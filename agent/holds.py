"""Floor 1. What forbids suspending: holds, from whatever was said that has their effect. The one place that derives them.

Rules of this room:

1. A hold is a reading of the record, without a clock: how long it lasts is a date (`until`) that the gate compares with now.
2. Every hold says what it bears on: all cases of the company, those that announce some services, those that rest on some
   invoices. Where statements differ, it bears on more, from earlier on, for longer.
3. What a court decided ends by the word of two persons of the legal role with a document, never by a feed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from agent.calendar import day_start
from agent.event import HOLDS, parse_instant
from agent.record import Record, Statement, keys, standing, statements

#: Where the courts sit whose judgments take effect at 00:00 of their day (C. com. R621-4).
_COURT_ZONE = "Europe/Paris"

#: The place on earth where a day ends last: what is dated after that was done after that day wherever it was done.
_LAST_ZONE = "Etc/GMT+12"

_LEGAL = "legal"
_LIFTERS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Something that forbids suspending.

    `restores`: brings a suspended service back at once. `until`: the last day on which it holds, None while nothing ends it.
    `services`, `invoices`: it bears only on cases that announce one of these services, that rest on one of these invoices;
    None: on every case. `spares_after`: it does not bear on a notice to the officeholder that was sent after this instant.
    """

    id: str
    kind: str
    restores: bool
    effective_from: datetime
    fact: str
    until: date | None = None
    services: frozenset[str] | None = None
    invoices: frozenset[str] | None = None
    spares_after: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Insolvency:
    """Insolvency proceedings. Of several dates given for the judgment `since` is the earliest, `judgment_on` the latest.

    `open` is False once they are said to be over.
    """

    id: str
    kind: str
    judgment_on: date
    since: date
    officeholder: str
    open: bool
    fact: str


def holds(record: Record) -> tuple[Hold, ...]:
    """Everything that holds cases of a company, in a fixed order."""
    found = (*_set(record), *_insolvent(record), *_court(record), *_grace(record), *_plans(record), *_switching(record))
    return tuple(sorted((*found, *_safety(record)), key=lambda hold: (hold.effective_from, hold.kind, hold.id)))


def proceedings(record: Record) -> tuple[Insolvency, ...]:
    """All insolvency proceedings ever opened, also those that are over: what was owed before them is never owed again."""
    still = {key for key, _ in standing(record, "insolvency.opened", "insolvency.closed")}
    found = []
    for key in keys(record, "insolvency.opened"):
        said = statements(record, "insolvency.opened", key)
        days = [date.fromisoformat(one.body["judgment_on"]) for one in said]
        found.append(
            Insolvency(
                id=key,
                kind=str(said[-1].body["kind"]),
                judgment_on=max(days),
                since=min(days),
                officeholder=next((str(one.body["officeholder"]) for one in reversed(said) if one.body.get("officeholder")), ""),
                open=key in still,
                fact=said[-1].id,
            )
        )
    return tuple(found)


def _set(record: Record) -> Iterator[Hold]:
    for key, said in standing(record, "hold.set", "hold.lifted"):
        kinds = {str(one.body["kind"]) for one in said}
        starts = [parse_instant(one.body["effective_from"]) if "effective_from" in one.body else one.at for one in said]
        yield Hold(
            id=key,
            kind=min(kinds, key=lambda kind: (not HOLDS[kind], kind)),
            restores=any(HOLDS[kind] for kind in kinds),
            effective_from=min(starts),
            fact=said[-1].id,
        )


#: Kinds of hold by which what is due was agreed or judged anew; a notice they overtake is spent.
_RENEWING = frozenset({"payment_plan", "insolvency", "court", "grace_period"})


def overtaken(record: Record, sent_at: datetime) -> tuple[str, ...]:
    """The kinds of renewing holds that were set by hand and lifted again since a notice was sent.

    One that stands is told by the holds themselves; of one that was lifted before the notice nothing is left.
    """
    found: set[str] = set()
    for key in keys(record, "hold.set"):
        said = statements(record, "hold.set", key)
        lifted = statements(record, "hold.lifted", key)
        if lifted and lifted[-1].at > said[-1].at and lifted[-1].at >= sent_at:
            found |= _RENEWING.intersection(str(one.body["kind"]) for one in said)
    return tuple(sorted(found))


def _derived(
    kind: str,
    key: str,
    said: list[Statement],
    *,
    since: datetime | None = None,
    until: date | None = None,
    services: frozenset[str] | None = None,
    invoices: frozenset[str] | None = None,
    spares_after: datetime | None = None,
) -> Hold:
    return Hold(
        id=key,
        kind=kind,
        restores=HOLDS[kind],
        effective_from=since or said[0].at,
        fact=said[-1].id,
        until=until,
        services=services,
        invoices=invoices,
        spares_after=spares_after,
    )


def _insolvent(record: Record) -> Iterator[Hold]:
    """From 00:00 of the day of the judgment, whenever it is learnt; good faith is no answer (domain 2.2)."""
    for one in proceedings(record):
        if one.open:
            yield _derived(
                "insolvency",
                one.id,
                statements(record, "insolvency.opened", one.id),
                since=day_start(one.since, _COURT_ZONE),
                spares_after=day_start(one.judgment_on + timedelta(days=1), _LAST_ZONE),
            )


def _court(record: Record) -> Iterator[Hold]:
    for key in keys(record, "court.order"):
        said = statements(record, "court.order", key)
        lifted = [
            one
            for one in statements(record, "court.lifted")
            if one.body["decision"] == key and one.body["role"] == _LEGAL and one.at > said[-1].at
        ]
        if len({one.body["by"] for one in lifted}) >= _LIFTERS:
            continue
        at_once = any(one.body["effect"] == "restore" or "amount" not in one.body for one in said)
        if at_once or _condition_met(record, said):
            yield _derived("court", key, said)


def _condition_met(record: Record, said: list[Statement]) -> bool:
    """Has as much been paid since the order as it asks for?

    A decision is dated by its day, so what was paid on that day counts. Money in a currency that can not be compared counts
    as enough until somebody looks. A payment that came back later does not undo the order: persons of the legal role do.
    """
    asked = min(Decimal(one.body["amount"]) for one in said)
    currencies = {str(one.body["currency"]) for one in said if "currency" in one.body}
    day = said[0].at.date()
    paid = {
        (key, one.body["amount"], one.body["currency"])
        for key in keys(record, "payment.received")
        for one in statements(record, "payment.received", key)
        if one.at.date() >= day
    }
    if any(currencies and currency not in currencies for _, _, currency in paid):
        return True
    return sum((Decimal(amount) for _, amount, _ in paid), Decimal(0)) >= asked


def _grace(record: Record) -> Iterator[Hold]:
    for key in keys(record, "grace_period.granted"):
        said = statements(record, "grace_period.granted", key)
        yield _derived("grace_period", key, said, until=max(date.fromisoformat(one.body["until"]) for one in said))


def _plans(record: Record) -> Iterator[Hold]:
    for key, said in standing(record, "plan.agreed", "plan.broken", "plan.ended"):
        yield _derived("payment_plan", key, said, invoices=_any_of(said, "invoices"))


def _switching(record: Record) -> Iterator[Hold]:
    for key, said in standing(record, "switching.requested", "switching.ended"):
        yield _derived("switching", key, said, services=_any_of(said, "services"))


def _safety(record: Record) -> Iterator[Hold]:
    for key, said in standing(record, "safety.reported", "safety.resolved"):
        yield _derived("safety", key, said)


def _any_of(said: list[Statement], field: str) -> frozenset[str] | None:
    """What any of the statements names; None (everything) when one of them names nothing."""
    named = [frozenset(one.body.get(field, ())) for one in said]
    return frozenset().union(*named) if all(named) else None

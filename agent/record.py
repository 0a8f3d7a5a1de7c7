"""Floor 1. The record of one subject: the set of what was said about it.

Rules of this room:

1. A record is a set of distinct statements. Folding adds a statement or does nothing, so any order and any multiplicity of
   the same events gives the same record, and everything that is read from it is a function of the record alone.
2. What only tells how things are just now (a heartbeat, a check of the clock) is kept in its latest form; what was said at
   the same instant stands side by side, and the reading picks what favours the customer.
3. A thing that was opened stands until it is closed later than it was last opened: in a tie it stands.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.event import TYPES, Event, instant, parse_instant

#: {event type: {business key: {statement id: {"at", "id", "source", "body"}}}} - plain JSON, so that it can be stored.
Record = dict[str, Any]

EMPTY_RECORD: Record = {}

#: Types that only tell what happened to the host or to the rules; no decision rests on them. (A pause is obeyed from the stop
#: file, which works without the ledger.)
_NOT_FOLDED = frozenset(
    {
        "measure.repaired",
        "measure.switched",
        "policy.loaded",
        "policy.rejected",
        "agent.started",
        "customer.unknown",
        "case.observed",
        "pause.set",
        "pause.lifted",
        "ledger.erased",
    }
)

#: Types of which only the latest word counts: of each source, or of all sources together.
_LATEST: Mapping[str, str] = {
    "heartbeat": "source",
    "insolvency.checked": "source",
    "clock.checked": "source",
    "preflight.done": "subject",
}

#: Field of a body that stays in the ledger's row: evidence for people, several times the size of everything else, and no
#: decision rests on it.
_EVIDENCE = "gate"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One thing somebody said: when it happened, who said it, the event that carried it, the body."""

    at: datetime
    id: str
    source: str
    body: Mapping[str, Any]


def fold(record: Record, event: Event) -> Record:
    """Add one event to a record; the record given is left as it was.

    The same fact under two event ids (same type, business key, time and body) is one statement.
    """
    if event.type in _NOT_FOLDED:
        return record
    latest = _LATEST.get(event.type)
    key = _key(event, latest)
    at = instant(event.occurred_at)
    kept = record.get(event.type, {})
    said = kept.get(key, {})
    if latest and any(other["at"] > at for other in said.values()):
        return record
    name = hashlib.sha256(
        json.dumps([at, event.body], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()[:16]
    # Two ids for one statement: the smaller id stands for both, whichever came first.
    if name in said and said[name]["id"] <= event.id:
        return record
    entry = {"at": at, "id": event.id, "source": event.source, "body": {k: v for k, v in event.body.items() if k != _EVIDENCE}}
    beside = {other: one for other, one in said.items() if one["at"] == at} if latest else said
    return {**record, event.type: {**kept, key: {**beside, name: entry}}}


def _key(event: Event, latest: str | None) -> str:
    if latest is not None:
        return event.source if latest == "source" else "-"
    field = TYPES[event.type].key
    return str(event.body[field]) if field else event.id


def statements(record: Record, type_: str, key: str | None = None) -> list[Statement]:
    """Every statement of a type (about one key, when given), oldest first, ties by id."""
    found = record.get(type_, {})
    groups = found.values() if key is None else [found.get(key, {})]
    said = [
        Statement(at=parse_instant(each["at"]), id=each["id"], source=each["source"], body=each["body"])
        for group in groups
        for each in group.values()
    ]
    return sorted(said, key=lambda one: (one.at, one.id))


def keys(record: Record, type_: str) -> list[str]:
    """The business keys a type has statements about, sorted."""
    return sorted(record.get(type_, {}))


def latest(record: Record, type_: str) -> list[Statement]:
    """The statements of the last instant at which something of a type was said, whoever said it."""
    said = statements(record, type_)
    return [one for one in said if one.at == said[-1].at]


def standing(record: Record, opened: str, *closed: str) -> Iterator[tuple[str, list[Statement]]]:
    """What was opened and not closed since, by key, with everything said when it was opened."""
    for key in keys(record, opened):
        said = statements(record, opened, key)
        ends = [one.at for type_ in closed for one in statements(record, type_, key)]
        if max(ends, default=said[-1].at) <= said[-1].at:
            yield key, said


def favourable(type_: str) -> bool:
    """True for facts that can only help the customer; the tests of monotony range over these."""
    return type_ in _FAVOURABLE


_FAVOURABLE = frozenset(
    {
        "invoice.cancelled",
        "payment.received",
        "payment.announced",
        "dispute.opened",
        "hold.set",
        "notice.undeliverable",
        "warning.bounced",
        "contact.unreachable",
        "insolvency.opened",
        "court.order",
        "grace_period.granted",
        "plan.agreed",
        "switching.requested",
        "debtor.replaced",
        "scope.changed",
        "safety.reported",
        "local.regressed",
        "restore.ordered",
        "case.voided",
        "approval.revoked",
        "standing_approval.revoked",
        "override.revoked",
        "pause.set",
    }
)

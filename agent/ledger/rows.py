"""Floor 2. An event as its row in the ledger has it, and the hash that chains it to the row before.

1. There is one text for an event. What reads back from a row and is written again gives the same columns, or the row was edited.
2. The body is JSON text with sorted keys; what is hashed is the canonical form of the event as it reads back.
"""

import hashlib
import json
from typing import Any

from agent.errors import EventError, LedgerCorrupt
from agent.event import Event, canonical, instant, parse_instant
from agent.ledger import InForce
from agent.stages import read_effect, write_effect

#: An event as its row has it: id, type, subject, occurred_at, received_at, source, body.
Columns = tuple[str, str, str, str, str, str, str]


def json_text(value: Any) -> str:
    """The one JSON text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def link_of(last: bytes, raw: bytes) -> bytes:
    """The hash of a row, from the hash of the row before and the canonical bytes of its event."""
    return hashlib.sha256(last + raw).digest()


def write_row(event: Event) -> tuple[Columns, Event]:
    """The columns of an event, and the event as it will read back from them.

    Raises:
        EventError: it can not be written as JSON text.
    """
    try:
        body = json_text(json.loads(json_text(event.body)))  # twice, because keys that are no text change, and so their order
        columns = (event.id, event.type, event.subject, instant(event.occurred_at), instant(event.received_at), event.source, body)
        "".join(columns).encode()  # a lone half of a surrogate pair is legal JSON but no text
    except (TypeError, ValueError) as error:
        raise EventError(field="body", what=f"event {event.id!r:.140} can not be written as JSON text: {error}"[:300]) from error
    return columns, _parsed(columns)


def read_row(seq: int, columns: tuple[Any, ...]) -> Event:
    """The event in a row.

    Raises:
        LedgerCorrupt: there is none.
    """
    try:
        return _parsed(columns)
    except (EventError, ValueError, RecursionError) as error:
        raise LedgerCorrupt(seq=seq, what=f"not an event: {error}") from error


def verify_row(seq: int, columns: tuple[Any, ...], link: bytes, last: bytes) -> bytes:
    """The hash of a row that is as we wrote it and follows the row with the hash `last`.

    Raises:
        LedgerCorrupt: it was edited, or one before it is gone.
    """
    # The text of a row must be the one form we write: a byte changed without a change of meaning is a change too.
    event = read_row(seq, columns)
    try:
        written, _ = write_row(event)
    except EventError as error:
        raise LedgerCorrupt(seq=seq, what=f"edited: {error}") from error
    if written != columns:
        raise LedgerCorrupt(seq=seq, what="edited; its text is not as it was written")
    expected = link_of(last, canonical(event))
    if link != expected:
        raise LedgerCorrupt(seq=seq, what="the hash does not match; this row was edited, or one before it is gone")
    return expected


def read_measure(row: tuple[str, str, str, str, float]) -> InForce:
    """The measure in a row of the projection."""
    company, case, order, what, lease_until = row
    found = json.loads(what)
    if isinstance(found, list):
        return InForce(company=company, case=case, order=order, services=tuple(found), lease_until=lease_until)
    return InForce(
        company=company,
        case=case,
        order=order,
        services=tuple(found["services"]),
        lease_until=lease_until,
        effect=read_effect(found),
        since=found["since"],
    )


def measure_text(measure: InForce) -> str:
    """What a measure does, as the column `services` has it: the services alone, or with how they are hit."""
    services = list(measure.services)
    if measure.plain:
        return json.dumps(services)
    return json.dumps({**write_effect(measure.effect), "services": services, "since": measure.since})


def _parsed(columns: Columns) -> Event:
    id_, type_, subject, occurred_at, received_at, source, body = columns
    return Event(
        id=id_,
        type=type_,
        subject=subject,
        occurred_at=parse_instant(occurred_at),
        received_at=parse_instant(received_at, field="received_at"),
        source=source,
        body=json.loads(body),
    )

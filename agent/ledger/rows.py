"""Floor 2. An event as its row in the ledger has it, and the hash that chains it to the row before.

1. There is one text for an event. What reads back from a row and is written again gives the same columns, or the row was edited.
2. The body is JSON text with sorted keys. The hash of a row covers its heading (everything but the body) and a commitment to
   the body, SHA-256(salt || body): so a body can be erased, and the row before it and behind it still prove each other.
3. An erased row keeps its heading, its commitment and its hashes; body and salt are gone.
4. A row that schema 1 wrote keeps the hash it had then, which is hashed too: a head noted in those days still proves something.
"""

import hashlib
import json
from collections.abc import Sequence
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


def commitment_of(salt: bytes, body: str) -> bytes:
    """What stands for a body in the hash of its row. The salt keeps a short body from being guessed once it is erased."""
    return hashlib.sha256(salt + body.encode()).digest()


def link_of(last: bytes, heading: Columns, commitment: bytes, former: bytes | None = None) -> bytes:
    """The hash of a row.

    Args:
        last: the hash of the row before.
        heading: the columns of the event; of the body only the commitment is hashed.
        commitment: see `commitment_of`.
        former: the hash that schema 1 gave the row, None for one that was never in such a file.
    """
    names = ("id", "type", "subject", "occurred_at", "received_at", "source")
    hashed = dict(zip(names, heading, strict=False)) | {"commitment": commitment.hex()}
    if former is not None:
        hashed["former"] = former.hex()
    return hashlib.sha256(last + json_text(hashed).encode()).digest()


def former_link_of(last: bytes, event: Event) -> bytes:
    """The hash of a row as schema 1 had it: over the event with its body."""
    return hashlib.sha256(last + canonical(event)).digest()


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


def read_row(seq: int, columns: Sequence[Any]) -> Event:
    """The event in a row; the body of an erased one is empty.

    Raises:
        LedgerCorrupt: there is none.
    """
    heading, body = columns[:6], columns[6]
    try:
        return _parsed((*heading, "{}" if body is None else body))
    except (EventError, ValueError, TypeError, RecursionError) as error:
        raise LedgerCorrupt(seq=seq, what=f"not an event: {error}") from error


def verify_row(seq: int, columns: Sequence[Any], link: bytes, last: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Both hashes of a row that is as we wrote it and follows the row with the hashes `last`.

    Args:
        seq: its number.
        columns: all of them between the number and the hash.
        link: its hash.
        last: hash and former hash of the row before; of rows that were never in a file of schema 1 the former one is that of
            the last row that was.

    Raises:
        LedgerCorrupt: it was edited, or one before it is gone.
    """
    heading, body, salt, commitment, former = columns[:6], columns[6], columns[7], columns[8], columns[9]
    event = read_row(seq, columns)
    # The text of a row must be the one form we write: a byte changed without a change of meaning is a change too.
    try:
        written, _ = write_row(event)
    except EventError as error:
        raise LedgerCorrupt(seq=seq, what=f"edited: {error}") from error
    if written[:6] != tuple(heading) or (body is not None and written[6] != body):
        raise LedgerCorrupt(seq=seq, what="edited; its text is not as it was written")
    if body is not None:
        commitment = commitment_of(salt, body)
        if former is not None and former_link_of(last[1], event) != former:
            raise LedgerCorrupt(seq=seq, what="the hash of its former schema does not match; this row was edited")
    expected = link_of(last[0], written, commitment, former)
    if link != expected:
        raise LedgerCorrupt(seq=seq, what="the hash does not match; this row was edited, or one before it is gone")
    return expected, last[1] if former is None else former


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

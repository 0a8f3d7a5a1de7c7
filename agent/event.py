"""Floor 0. An event of the ledger, its canonical bytes, and how one is read.

Rules of this room:

1. An event is a fact somebody states about one subject; it is never changed. A correction is another event.
2. What is not in `vocabulary.TYPES` can not enter the ledger; unknown fields, wrong types and negative sums are refused with
   the path of the field.
3. A body holds plain JSON values only, normalised: sums and dates as strings, so that the same fact always has the same
   bytes and therefore the same hash.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.errors import EventError
from agent.fields import instant, load_json, parse_instant, read_fields
from agent.vocabulary import ABOUT_HOST, HOLDS, TYPES, EventType, Origin

__all__ = [
    "ABOUT_HOST",
    "HOLDS",
    "HOST",
    "TYPES",
    "Event",
    "EventType",
    "Origin",
    "canonical",
    "instant",
    "load_json",
    "parse_body",
    "parse_instant",
]

#: Subject of events that concern no single company.
HOST = "-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One fact. `source` is who said it (`stripe-main`, `operator:claire`, `agent`), `subject` whom it is about.

    Times are UTC. `occurred_at` is when it happened as its source says, `received_at` when it reached us.
    """

    id: str
    type: str
    subject: str
    occurred_at: datetime
    received_at: datetime
    source: str
    body: Mapping[str, Any]


def canonical(event: Event) -> bytes:
    """The bytes that are hashed: JSON, keys sorted, no spaces, UTF-8 (in the spirit of RFC 8785)."""
    return json.dumps(
        {
            "id": event.id,
            "type": event.type,
            "subject": event.subject,
            "occurred_at": instant(event.occurred_at),
            "received_at": instant(event.received_at),
            "source": event.source,
            "body": event.body,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()


def parse_body(type_: str, body: Any) -> dict[str, Any]:
    """Check and normalise the body of an event.

    Args:
        type_: a name in `TYPES`.
        body: decoded JSON, numbers as `Decimal` or `int`.

    Raises:
        EventError: with the path of the first field that is wrong.
    """
    spec = TYPES.get(type_)
    if spec is None:
        raise EventError(field="type", what=f"unknown event type {type_!r:.80}", mend="see docs/EVENTS.md")
    return read_fields(body, required=spec.required, optional=spec.optional, field="")

"""Floor 3. What was said about many companies, by company, in little room.

Rules of this room:

1. Facts come as a stream, are read once, and keep no order but that of time.
2. What is not looked at is packed: a year of a large customer base must fit into memory.
"""

import marshal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.event import HOST, Event, instant, parse_instant

#: What opens a case: a company without a formal notice has none.
NOTICE = "notice.dispatched"


def pack(value: Any) -> bytes:
    """Plain values (JSON and tuples) as bytes that only this process reads; several times smaller and faster than JSON."""
    return marshal.dumps(value)


def unpack(raw: bytes) -> Any:
    """What was packed."""
    return marshal.loads(raw)  # noqa: S302 - bytes that this process made itself


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Facts about companies, packed. `count` and `later` are how many are dated up to the end and after it."""

    by_company: Mapping[str, list[bytes]]
    noticed: frozenset[str]
    count: int
    later: int

    def about(self, company: str) -> list[Event]:
        """The facts about one company, by time."""
        found = (_event(company, raw) for raw in self.by_company.get(company, ()))
        return sorted(found, key=lambda event: (event.occurred_at, event.id))


def gather(events: Iterable[Event], end: datetime) -> History:
    """Sort facts by company in one pass; what concerns the host is passed over.

    Args:
        events: in any order; may be a stream of any length.
        end: aware instant; facts dated after it are only counted.
    """
    packed: dict[str, list[bytes]] = {}
    noticed: set[str] = set()
    count = later = 0
    for event in events:
        if event.subject == HOST:
            continue
        if event.occurred_at > end:
            later += 1
            continue
        count += 1
        said = (event.id, event.type, instant(event.occurred_at), instant(event.received_at), event.source, event.body)
        if event.type == NOTICE:
            noticed.add(event.subject)
        packed.setdefault(event.subject, []).append(pack(said))
    return History(by_company=packed, noticed=frozenset(noticed), count=count, later=later)


def _event(company: str, raw: bytes) -> Event:
    id_, type_, occurred_at, received_at, source, body = unpack(raw)
    return Event(
        id=id_,
        type=type_,
        subject=company,
        occurred_at=parse_instant(occurred_at),
        received_at=parse_instant(received_at),
        source=source,
        body=body,
    )

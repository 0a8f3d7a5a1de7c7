"""Floor 3. Raw request -> verified -> facts -> events and an answer.

Rules of this room:

1. One of the three places where errors are caught: what `billing` refuses becomes a status here. Nothing is written here;
   the caller commits the events and only then gives the answer.
2. An unknown source is answered exactly as a bad signature, 401: a stranger learns no names, and no sender takes it for
   "gone" (some delete their webhook for good on 404, 405 or 410).
3. Time is judged by this process's clock. The listening side has no say in what is fresh.
4. Nothing can have happened after we heard of it. A small difference is the sender's clock and is cut off; a large one is
   refused, but for facts in the customer's favour: those count from now.
5. A fact about a customer we do not know is kept as `customer.unknown`, where a person can find it, and answered with 200:
   trying again would not help.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from agent.billing import KINDS, Fact, Ignored, Source
from agent.billing.standard import read_item
from agent.case import favourable
from agent.errors import ConfigError, EventError, Problem, Refused, Rejected
from agent.event import ABOUT_HOST, HOST, TYPES, Event, Origin, canonical, load_json, parse_body

#: (source, the biller's name of a customer) -> company id, or None.
Resolve = Callable[[str, str], str | None]

#: How long before now a request may claim to have been received: it may have waited for the enforcer.
MAX_WAIT = timedelta(minutes=1)

#: A line of an import file longer than this is refused unread.
MAX_LINE = 256 * 1024
MAX_PROBLEMS = 100
_LINE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+#-]{0,79}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RawRequest:
    """A webhook as it came: `headers` with lower-case names, `body` untouched, `received_at` by the listening side's clock."""

    source: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a request.

    Attributes:
        status: the HTTP status to answer once `events` are committed.
        kind: a label for metrics from a closed list: `accepted`, `ignored`, `unknown_customer`, `unknown_source`,
            `bad_signature`, `stale`, `future`, `test_mode`, `malformed`, `forbidden`.
        message: one sentence for the sender's log. Holds nothing of our configuration.
        events: what to append, possibly nothing.
        ignored: what was authentic but not used, and why.
        signed_at: when the sender signed, for the clock-skew metric; None unless the request was authentic and fresh.
    """

    status: int
    kind: str
    message: str
    events: tuple[Event, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    signed_at: datetime | None = None


def read(request: RawRequest, sources: Mapping[str, Source], resolve: Resolve, now: datetime) -> Outcome:
    """Turn one request into events and the answer to give after they are committed.

    Args:
        request: as passed on by the listening side, which is not trusted beyond having passed it on.
        sources: the configured sources by name.
        resolve: finds the company of a biller's customer.
        now: this process's time.

    Returns:
        the outcome; errors of the sender are outcomes too.
    """
    source = sources.get(request.source)
    if source is None:
        return Outcome(status=401, kind="unknown_source", message="not a signed request of a known source")
    kind = KINDS[source.kind]
    try:
        said = kind.read(request.headers, request.body, source, now)
        received = request.received_at if now - MAX_WAIT <= request.received_at <= now else now
        facts = tuple(one for one in said if isinstance(one, Fact))
        events = tuple(_event(fact, source, resolve, received) for fact in facts)
    except Rejected as error:
        return Outcome(status=error.status, kind=error.kind, message=error.what)
    except EventError as error:
        return Outcome(status=400, kind="malformed", message=str(error))
    ignored = tuple(one for one in said if isinstance(one, Ignored))
    unknown = sum(event.type == "customer.unknown" for event in events)
    label = "ignored" if not events else "unknown_customer" if unknown == len(events) else "accepted"
    return Outcome(
        status=200,
        kind=label,
        message=_sentence(len(events) - unknown, unknown, ignored),
        events=events,
        ignored=ignored,
        signed_at=kind.signed_at(request.headers),
    )


def read_lines(lines: Iterable[str], source: Source, resolve: Resolve, now: datetime, *, file: str) -> Iterator[Event]:
    """Read facts from before the first day: one native payload with an `id` per line (JSON Lines).

    The same checks as for a webhook, and two more, because a person stands by who can mend the file: a type the source may not
    state and a customer nobody knows are errors. Blank lines are allowed. An error is raised after the last line: what was given
    before must be thrown away then.

    Args:
        lines: the file's lines.
        source: in whose name; its `events` bound what may be stated. Event ids are `<source>:<id>`.
        resolve: as in `read`.
        now: when the events count as received.
        file: the file's name for messages.

    Raises:
        ConfigError: every line that is wrong (up to 100), with its number.
    """
    first: dict[str, int] = {}
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = _line(line, source, resolve, now)
        except EventError as error:
            problems.append(Problem(file=file, line=number, what=f"{error.field}: {error.what}", mend=error.mend))
        except Rejected as error:
            problems.append(Problem(file=file, line=number, what=error.what, mend="leave the line out"))
        else:
            earlier = first.setdefault(event.id, number)
            if earlier != number:
                what, mend = f"id: the same as in line {earlier}", "give each fact an id of its own"
                problems.append(Problem(file=file, line=number, what=what, mend=mend))
            yield event
        if len(problems) == MAX_PROBLEMS:
            break
    if problems:
        raise ConfigError(tuple(problems))


def by_operator(type_: str, subject: str, body: Mapping[str, Any], *, operator: str, occurred_at: datetime, now: datetime) -> Event:
    """One event stated by a person: a fact recorded by hand, an approval, a pause.

    The id is made from what is said, so that saying the same thing twice is one event.

    Args:
        type_: of billing or operator origin; what the agent alone may say is refused.
        subject: the company id, or `HOST`.
        body: the fields of the type.
        operator: the person's user name.
        occurred_at: when it happened.
        now: when it was entered.

    Raises:
        EventError: a field is wrong, or the time is in the future.
        Refused: a type that only the agent itself may state.
    """
    spec = TYPES.get(type_)
    if spec is not None and spec.origin is Origin.AGENT:
        raise Refused(f"{type_} is what the agent itself did or saw; nobody can state it")
    if occurred_at > now:
        raise EventError(field="occurred_at", what="in the future", mend="record a fact once it has happened")
    said = Event(
        id="",
        type=type_,
        subject=subject,
        occurred_at=occurred_at,
        received_at=occurred_at,
        source=f"operator:{operator}",
        body=parse_body(type_, body),
    )
    return Event(
        id=f"{said.source}:{sha256(canonical(said)).hexdigest()[:24]}",
        type=type_,
        subject=subject,
        occurred_at=occurred_at,
        received_at=now,
        source=said.source,
        body=said.body,
    )


def _event(fact: Fact, source: Source, resolve: Resolve, received: datetime) -> Event:
    if fact.type in ABOUT_HOST and not fact.customer:
        company: str | None = HOST
    else:
        company = resolve(source.name, fact.customer) if fact.customer else None
    known = company is not None
    return Event(
        id=f"{source.name}:{fact.id}",
        type=fact.type if known else "customer.unknown",
        subject=company if company is not None else HOST,
        occurred_at=_happened(fact, source, received),
        received_at=received,
        source=source.name,
        body=fact.body if known else parse_body("customer.unknown", _unknown(fact)),
    )


def _unknown(fact: Fact) -> Mapping[str, Any]:
    return {"customer": fact.customer, "type": fact.type, "facts": fact.body}


def _happened(fact: Fact, source: Source, received: datetime) -> datetime:
    if fact.occurred_at > received + source.tolerance and not favourable(fact.type):
        raise EventError(
            field="occurred_at", what="in the future", mend="state a fact once it has happened; check the clock and the zone"
        )
    return min(fact.occurred_at, received)


def _line(line: str, source: Source, resolve: Resolve, now: datetime) -> Event:
    if len(line) > MAX_LINE:
        raise EventError(field="body", what=f"longer than {MAX_LINE} characters")
    item = load_json(line)
    id_ = item.get("id") if isinstance(item, dict) else None
    if not isinstance(id_, str) or not _LINE_ID.fullmatch(id_):
        raise EventError(field="id", what="missing or not an identifier", mend="1 to 80 letters, digits and ._:/@+#-")
    fact = read_item(item, source, id_=id_)
    if isinstance(fact, Ignored):
        raise EventError(
            field="type", what=f"{source.name} may not state {fact.type}", mend="leave the line out, or allow the type"
        )
    event = _event(fact, source, resolve, now)
    if event.type == "customer.unknown":
        raise EventError(field="customer", what=f"{fact.customer!r} is no customer we know", mend="see the customers' files")
    return event


def _sentence(accepted: int, unknown: int, ignored: tuple[Ignored, ...]) -> str:
    parts = [f"{accepted} accepted"] if accepted else []
    if unknown:
        parts.append(f"{unknown} about a customer we do not know, kept")
    parts.extend(f"{one.type} ignored: {one.why}" for one in ignored[:3])
    if len(ignored) > 3:
        parts.append(f"{len(ignored) - 3} more ignored")
    return "; ".join(parts)

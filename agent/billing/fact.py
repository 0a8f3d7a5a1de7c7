"""Floor 1. What a billing system says, before it is known whom it is about.

Rules of this room: as in `agent.billing`; here are the three values and the two checks that every kind shares.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.errors import EventError, Rejected
from agent.event import TYPES, Origin, parse_body

#: A key shorter than this could be guessed; an empty one would let anybody sign.
MIN_SECRET_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A configured sender of webhooks.

    Attributes:
        name: as in the URL and in the ledger, such as `stripe-main`.
        kind: a name in `KINDS`.
        secrets: key bytes; all are tried, so that a secret can be changed without losing a webhook. Never shown.
        events: the event types this source may state; what it says beyond them is ignored.
        tolerance: how far the signed time may be from now, both ways.
        livemode_only: refuse test data (Stripe).
    """

    name: str
    kind: str
    secrets: tuple[bytes, ...] = field(repr=False)
    events: frozenset[str]
    tolerance: timedelta = timedelta(minutes=5)
    livemode_only: bool = True

    def __post_init__(self) -> None:
        if not self.secrets or any(len(secret) < MIN_SECRET_BYTES for secret in self.secrets):
            raise ValueError(f"source {self.name}: needs at least one secret, each of {MIN_SECRET_BYTES} bytes or more")
        if self.tolerance <= timedelta(0):
            raise ValueError(f"source {self.name}: a tolerance must be more than zero, or nothing could be fresh")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One fact in our vocabulary. `id` is unique for its source, `customer` is the biller's name of the company ("": none given).

    `body` went through `agent.event.parse_body`.
    """

    id: str
    type: str
    customer: str
    occurred_at: datetime
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ignored:
    """Something authentic that states no fact for us, and why."""

    type: str
    why: str


def state(source: Source, *, id_: str, type_: str, customer: str, occurred_at: datetime, body: Any) -> Fact | Ignored:
    """Make one fact, if this source may state it.

    Raises:
        Rejected: 403 for types no billing system may state, whatever its configuration lists.
        EventError: an unknown type (most likely a typing error that would lose a fact), or a wrong field.
    """
    spec = TYPES.get(type_)
    if spec is None:
        raise EventError(field="type", what=f"unknown event type {type_!r:.80}", mend="see docs/EVENTS.md")
    if spec.origin is not Origin.BILLING:
        raise Rejected(status=403, kind="forbidden", what=f"{type_} is never taken from a billing system")
    if type_ not in source.events:
        return Ignored(type=type_, why="this source is not configured to state it")
    return Fact(id=id_, type=type_, customer=customer, occurred_at=occurred_at, body=parse_body(type_, body))


def any_match(expected: Iterable[bytes], given: Iterable[bytes]) -> bool:
    """True if one expected signature is among those given. Every pair is compared, in constant time each."""
    candidates = tuple(given)
    found = False
    for mine in expected:
        for theirs in candidates:
            found |= hmac.compare_digest(mine, theirs)
    return found


def check_fresh(signed_at: datetime, source: Source, now: datetime) -> None:
    """Refuse what was signed too long ago, or in the future.

    Called after the signature matched, so that `stale` and `future` are told of authentic requests only.

    Raises:
        Rejected: 401 `stale` or `future`.
    """
    window = f"{source.tolerance.total_seconds():.0f} s"
    if signed_at < now - source.tolerance:
        raise Rejected(status=401, kind="stale", what=f"signed more than {window} ago; send it again, or check both clocks")
    if signed_at > now + source.tolerance:
        raise Rejected(status=401, kind="future", what=f"signed more than {window} in the future; check both clocks")


def unix_time(seconds: int) -> datetime:
    """Seconds since 1970 as aware UTC time.

    Raises:
        EventError: outside the years 2000 to 2100.
    """
    if not 946_684_800 <= seconds < 4_133_980_800:
        raise EventError(field="created", what="time out of range", mend="years 2000 to 2100")
    return datetime.fromtimestamp(seconds, UTC)


def malformed(error: EventError) -> Rejected:
    """The answer to an authentic body that can not be understood."""
    return Rejected(status=400, kind="malformed", what=str(error))

"""Floor 1. What the record of the host itself says: feeds, the clock, the register, the breaker, standing approvals.

Where several sources state the same thing, the latest word counts; of one instant, the one that lets less be done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agent.persons import StandingApproval, standing_approvals
from agent.record import Record, keys, latest, statements

#: Roles that may close the breaker again.
_RELEASING = frozenset({"approver", "legal"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockState:
    """The state of the gateway's clock when it was last looked at. `stepped`: it jumped lately."""

    at: datetime
    synchronised: bool
    offset_ms: int
    stepped: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Why the breaker is open. `kind` is the word of `breaker.Opening`, "" where none was given."""

    kind: str
    fr: str
    en: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFacts:
    """What concerns no company.

    `heartbeats`, `open_invoices`: by source, as its last heartbeat says. `insolvency_checked_at`: when the register was last
    looked at for all customers. `breaker_causes`: why the breaker was opened and not released since, earliest first;
    `breaker_open` the same as one text, or "". `breaker_released_at`: when it was last released.
    """

    standing: tuple[StandingApproval, ...]
    heartbeats: Mapping[str, datetime]
    open_invoices: Mapping[str, int]
    insolvency_checked_at: datetime | None
    clock: ClockState | None
    breaker_open: str
    breaker_causes: tuple[Cause, ...] = ()
    breaker_released_at: datetime | None = None


def host_facts(record: Record) -> HostFacts:
    """Read the record of the subject `HOST`."""
    beats = {source: statements(record, "heartbeat", source) for source in keys(record, "heartbeat")}
    released = max((one.at for one in statements(record, "breaker.released") if one.body["role"] in _RELEASING), default=None)
    causes = _breaker(record, released)
    counts = {source: [one.body["open_invoices"] for one in said if "open_invoices" in one.body] for source, said in beats.items()}
    return HostFacts(
        standing=standing_approvals(record),
        heartbeats={source: said[-1].at for source, said in beats.items()},
        open_invoices={source: min(found) for source, found in counts.items() if found},
        insolvency_checked_at=max((one.at for one in statements(record, "insolvency.checked")), default=None),
        clock=_clock(record),
        breaker_open="; ".join(dict.fromkeys(cause.en for cause in causes)),
        breaker_causes=causes,
        breaker_released_at=released,
    )


def _clock(record: Record) -> ClockState | None:
    said = latest(record, "clock.checked")
    if not said:
        return None
    return ClockState(
        at=said[0].at,
        synchronised=all(one.body["synchronised"] for one in said),
        offset_ms=max(one.body["offset_ms"] for one in said),
        stepped=any(one.body.get("stepped", False) for one in said),
    )


def _breaker(record: Record, released: datetime | None) -> tuple[Cause, ...]:
    """Every cause that was given since the breaker was last released; an opening at the instant of a release stands."""
    return tuple(
        Cause(
            kind=str(one.body.get("kind", "")),
            fr=str(one.body.get("cause_fr", one.body["cause"])),
            en=str(one.body["cause"]),
            at=one.at,
        )
        for one in statements(record, "breaker.opened")
        if released is None or one.at >= released
    )

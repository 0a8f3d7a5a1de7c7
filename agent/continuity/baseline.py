"""Floor 1. The sums of what was seen: by the hour, kept as long as a policy asks for, and what they say as a whole.

Rules of this room:

1. An hour counts when at least half of the looks it should have had were taken and could tell something. A gap makes the
   baseline take longer; it is never filled in.
2. Hours older than twice what is asked for count no more when a measure is prepared: a site changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import Any

from agent.continuity.samples import Sample, Seen

#: Hours kept of every target at least; a policy that asks for more has more kept.
_KEEP = 48

#: Latencies kept of the running hour; more looks than that are counted and not timed.
_TIMED = 240


@dataclass(frozen=True, kw_only=True, slots=True)
class Hour:
    """One hour of looks. `at`: hours since 1970 (UTC); `ms`: median of the answers, 0 without any."""

    at: int
    looks: int
    answered: int
    ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What was seen of one target: hours that are over, oldest first, and the running one."""

    hours: tuple[Hour, ...] = ()
    at: int = 0
    looks: int = 0
    answered: int = 0
    times: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What is usual for one target. `availability` in per cent; `ms` the median latency, 0 where it never answered."""

    hours: int
    availability: float
    ms: float


def hour_of(now: datetime) -> int:
    """The number of the hour an aware instant is in."""
    return int(now.astimezone(UTC).timestamp()) // 3600


def add(past: Past, sample: Sample, now: datetime, *, keep: int = 0) -> Past:
    """Count one look.

    Args:
        past: what was seen before.
        sample: the look; one that can tell nothing is not counted.
        now: when it was taken, aware.
        keep: hours of baseline that the policy asks for.
    """
    at = hour_of(now)
    if sample.seen is Seen.UNABLE:
        return past
    if at != past.at:
        # A clock that went back starts its hour anew: an hour is never counted twice.
        older = tuple(one for one in _closed(past) if one.at < at)
        past = Past(hours=older[-max(_KEEP, 2 * keep) :], at=at)
    times = past.times
    answered = sample.seen is Seen.ANSWERED
    if answered and len(times) < _TIMED:
        times = (*times, sample.ms)
    return replace(past, looks=past.looks + 1, answered=past.answered + answered, times=times)


def _closed(past: Past) -> tuple[Hour, ...]:
    if not past.looks:
        return past.hours
    return (*past.hours, Hour(at=past.at, looks=past.looks, answered=past.answered, ms=median(past.times) if past.times else 0.0))


def baseline(past: Past, *, wanted: int, per_hour: float, now: datetime | None = None) -> Baseline | None:
    """What is usual, from the last hours that count.

    Args:
        past: what was seen.
        wanted: so many hours are asked for.
        per_hour: looks that an hour should have.
        now: aware; older hours than twice `wanted` are left out. None: whatever their age (during a measure nothing is added).

    Returns:
        None where no hour counts.
    """
    oldest = hour_of(now) - 2 * wanted if now is not None else 0
    counted = [one for one in past.hours if one.at >= oldest and one.looks >= per_hour / 2][-wanted:]
    looks = sum(one.looks for one in counted)
    if not looks:
        return None
    answered = sum(one.answered for one in counted)
    return Baseline(hours=len(counted), availability=100 * answered / looks, ms=_middle(counted))


def _middle(hours: Sequence[Hour]) -> float:
    """The median of the hours' medians, each weighing as many answers as it had."""
    ranked = sorted((one.ms, one.answered) for one in hours if one.answered)
    half, seen = sum(count for _, count in ranked) / 2, 0
    for ms, count in ranked:
        seen += count
        if seen >= half:
            return ms
    return 0.0


# --- to be kept over a restart ------------------------------------------------------------------------------------


def write_past(past: Past) -> list[Any]:
    """Plain JSON."""
    hours = [[one.at, one.looks, one.answered, round(one.ms, 3)] for one in past.hours]
    return [hours, past.at, past.looks, past.answered, [round(ms, 3) for ms in past.times]]


def read_past(row: Any) -> Past:
    """What `write_past` wrote.

    Raises:
        ValueError: it is something else; then nothing was seen.
    """
    try:
        hours, at, looks, answered, times = row
        return Past(
            hours=tuple(Hour(at=int(a), looks=int(n), answered=int(k), ms=float(ms)) for a, n, k, ms in hours),
            at=int(at),
            looks=int(looks),
            answered=int(answered),
            times=tuple(float(ms) for ms in times),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"not what was seen: {error}") from None


def merged(pasts: Mapping[str, Past]) -> dict[str, list[Any]]:
    """Those of which anything was seen, as plain JSON by target."""
    return {name: write_past(past) for name, past in pasts.items() if past.hours or past.looks}

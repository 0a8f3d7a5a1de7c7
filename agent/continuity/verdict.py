"""Floor 1. The verdicts: may a measure begin, may it stay, did something local stop.

Comparison rule (domain text, 5.2): availability during the measure at least the baseline's less half a point, and the median
latency at most one and a half times the baseline's. Both are looked at over the last looks only, so that a fault is seen
within three of them however long the measure has lasted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from agent.continuity.baseline import Baseline, Past, baseline
from agent.continuity.samples import Role, Sample, Seen, Target

#: Looks that are compared with the baseline: an hour of them, at one a minute.
WINDOW = 60

#: So many silent looks show that something stopped; one may be a lost packet.
SILENT_LOOKS = 3

#: Per cent and factor of the comparison rule.
_MARGIN = 0.5
_FACTOR = 1.5

#: Milliseconds by which a median must have grown besides: half as much again of 0.2 ms is the gateway's own business.
_NOISE_MS = 20.0

#: So few answers have no median to speak of.
_TIMED_LOOKS = 10

#: What answers less often than this (per cent) as a rule can not show that a measure left it alone.
_STEADY = 99.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """May a measure begin, as far as what is local says? `hours`: the baseline that every target has.

    `why`: what is in the way, target by target, in English; a baseline that is only too short is not among it.
    """

    green: bool
    hours: int
    why: tuple[str, ...]


def preflight(seen: Mapping[Target, tuple[Past, Sample | None]], *, wanted: int, per_hour: float, now: datetime) -> Preflight:
    """Look at everything local of one company before a measure.

    Args:
        seen: every target with its past and its last look (None: none lately).
        wanted: hours of baseline asked for.
        per_hour: looks that an hour should have.
        now: aware instant.
    """
    why: list[str] = []
    hours: list[int] = []
    for target, (past, last) in seen.items():
        usual = baseline(past, wanted=wanted, per_hour=per_hour, now=now)
        hours.append(usual.hours if usual else 0)
        if last is None:
            why.append(f"{target.id} was not looked at lately")
        elif last.seen is not Seen.ANSWERED:
            why.append(f"{target.id} {'is silent' if last.seen is Seen.SILENT else 'can not be told'}: {last.why}")
        elif usual is not None and usual.availability < _STEADY:
            why.append(f"{target.id} answered {usual.availability:.1f} % of the time")
    return Preflight(green=bool(seen) and not why, hours=min(hours, default=0), why=tuple(why))


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One target during a measure. `red`: worse than the rule allows; `why` says how, in English."""

    red: bool
    why: str = ""


def compare(usual: Baseline | None, window: Sequence[Sample]) -> Compared:
    """Compare the last looks of a measure with what was usual before it.

    Args:
        usual: the baseline; None where it was lost: then the target must simply answer.
        window: looks since the measure began, oldest first; only the last `WINDOW` count.
    """
    told = [one for one in window[-WINDOW:] if one.seen is not Seen.UNABLE]
    silent = sum(one.seen is Seen.SILENT for one in told)
    if silent >= SILENT_LOOKS:
        now, before = 100 * (len(told) - silent) / len(told), usual.availability if usual else 100.0
        if now < before - _MARGIN:
            return Compared(red=True, why=f"answers {now:.1f} % of the time, {before:.1f} % before")
    times = [one.ms for one in told if one.seen is Seen.ANSWERED]
    if usual is not None and usual.ms and len(times) >= _TIMED_LOOKS:
        middle = median(times)
        if middle > _FACTOR * usual.ms and middle - usual.ms > _NOISE_MS:
            return Compared(red=True, why=f"takes {middle:.0f} ms, {usual.ms:.0f} ms before")
    return Compared(red=False)


def outage(control: Sequence[Sample] | None) -> bool:
    """Is the whole site away? Its control (None: it has none) was silent in each of the last looks."""
    last = list(control or ())[-SILENT_LOOKS:]
    return len(last) == SILENT_LOOKS and all(one.seen is Seen.SILENT for one in last)


def recovered(window: Sequence[Sample]) -> bool:
    """Does something that stopped answer again, steadily?"""
    last = list(window)[-SILENT_LOOKS:]
    return len(last) == SILENT_LOOKS and all(one.seen is Seen.ANSWERED for one in last)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A measure that just began. `stopped`: targets that answered before and do not any more; `good`: all answer as before."""

    good: bool
    stopped: tuple[Target, ...] = ()


def trial(after: Mapping[Target, Sequence[Sample]]) -> Trial:
    """Judge the looks since a measure began. Everything in it answered just before, or the measure had not begun.

    The control of a site excuses nothing here: that a site falls silent in the seconds after a measure is no accident until
    somebody has looked. If it is silent, nothing is confirmed, and the measure ends by itself.

    Args:
        after: each target's looks since then, oldest first.
    """
    gone = {target for target, looks in after.items() if _gone(looks)}
    away = {target.site for target in gone if target.role is Role.CONTROL}
    stopped = tuple(target for target in after if target in gone and target.role is not Role.CONTROL and target.site not in away)
    return Trial(good=bool(after) and all(recovered(looks) for looks in after.values()), stopped=stopped)


def _gone(looks: Sequence[Sample]) -> bool:
    last = list(looks)[-SILENT_LOOKS:]
    return len(last) == SILENT_LOOKS and all(one.seen is Seen.SILENT for one in last)

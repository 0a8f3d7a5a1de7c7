"""Floor 1. Legal days, windows in site time, holidays.

Rules of this room:

1. A period in days is counted as CPC 641-642 counts it: the day of the act is not counted, the period ends at 24:00 of its
   last day, and a last day on a Saturday, Sunday or public holiday moves to the next working day.
2. Windows and hours are wall-clock times of the site. An hour that a clock change repeats is outside of them: doubt means no
   cut.
3. Public holidays come from the `holidays` library, by ISO 3166 country code; "none" has no holidays.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays

from agent.model import Window

_SEARCH_DAYS = 400
_A_WEEK_AND_MORE = 9  # days: hours come again every week, and a clock change may take one away
_FRIDAY = 4


@lru_cache(maxsize=64)
def public_holidays(country: str, year: int) -> frozenset[date]:
    """Public holidays of a country in a year.

    Args:
        country: ISO 3166-1 alpha-2 code, or "none".
        year: four digits.
    """
    if country == "none":
        return frozenset()
    return frozenset(holidays.country_holidays(country, years=year))


def known_country(country: str) -> bool:
    """True for "none" and for every country the `holidays` library knows."""
    return country == "none" or country in holidays.list_supported_countries()


def is_holiday(day: date, country: str) -> bool:
    """True on a public holiday."""
    return day in public_holidays(country, day.year)


def is_working_day(day: date, country: str) -> bool:
    """True from Monday to Friday but for public holidays (the `jour ouvrable` of CPC 642)."""
    return day.weekday() <= _FRIDAY and not is_holiday(day, country)


@lru_cache(maxsize=16384)
def period_end(act: date, days: int, country: str) -> date:
    """The last day of a period of `days` days that starts with an act on the day `act` (CPC 641-642)."""
    last = act + timedelta(days=days)
    while not is_working_day(last, country):
        last += timedelta(days=1)
    return last


def working_day_after(day: date, count: int, country: str) -> date:
    """The working day that is so many working days after a day."""
    for _ in range(count):
        day += timedelta(days=1)
        while not is_working_day(day, country):
            day += timedelta(days=1)
    return day


def local_date(at: datetime, timezone: str) -> date:
    """The civil date at a place."""
    return at.astimezone(ZoneInfo(timezone)).date()


def day_start(day: date, timezone: str) -> datetime:
    """The instant (UTC) at which a civil day begins at a place; 24:00 of the day before."""
    return datetime.combine(day, time(0), ZoneInfo(timezone)).astimezone(UTC)


def day_everywhere(day: date, timezones: Iterable[str]) -> datetime:
    """The instant (UTC) at which a civil day has begun at every one of several places."""
    return max(day_start(day, zone) for zone in timezones)


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """Whether the window is open, why not, and until when that stays so (None: no opening within 400 days)."""

    open: bool
    why: str
    until: datetime | None


def opening(
    now: datetime,
    *,
    windows: Sequence[Window],
    timezone: str,
    country: str,
    blackout: Sequence[date] = (),
    no_eve_of_holiday: bool = True,
) -> Opening:
    """Is a suspension's moment allowed now, at a place?

    Args:
        now: aware instant.
        windows: hours of the week, site time.
        timezone: IANA name of the site's zone.
        country: for `public_holidays`.
        blackout: days on which nothing is applied.
        no_eve_of_holiday: refuse the day before a public holiday too.
    """
    zone = ZoneInfo(timezone)

    def why_closed(at: datetime) -> str:
        local = at.astimezone(zone)
        closed = _closed_day(local.date(), country=country, blackout=blackout, no_eve_of_holiday=no_eve_of_holiday)
        if closed:
            return closed
        if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
            return "clock_change"
        inside = any(local.weekday() in window.days and window.start <= local.time() < window.end for window in windows)
        return "" if inside else "hours"

    why = why_closed(now)
    changes = (at for at in _edges(now, windows, zone) if bool(why_closed(at)) != bool(why))
    return Opening(open=not why, why=why, until=next(changes, None))


@dataclass(frozen=True, kw_only=True, slots=True)
class InEffect:
    """Whether a restriction to hours is in effect, and when that may change at the earliest."""

    on: bool
    until: datetime


def in_effect(now: datetime, *, hours: Sequence[Window], timezones: Iterable[str]) -> InEffect:
    """Is a measure that is restricted to some hours in effect now?

    Only while it is so at every place, and never in an hour that a clock change repeats.

    Args:
        now: aware instant.
        hours: of the week, site time, at least one; an end that is not after the start is that of the next day.
        timezones: IANA names of the zones of the sites, at least one.
    """
    found = [_in_effect(now, hours, ZoneInfo(zone)) for zone in timezones]
    return InEffect(on=all(one.on for one in found), until=min(one.until for one in found))


def _in_effect(now: datetime, hours: Sequence[Window], zone: ZoneInfo) -> InEffect:
    def inside(at: datetime) -> bool:
        local = at.astimezone(zone)
        if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
            return False
        return any(_covers(window, local.weekday(), local.time()) for window in hours)

    on = inside(now)
    times = {time(0), *(window.start for window in hours), *(window.end for window in hours)}
    changes = (at for at in _instants(now, lambda _: times, zone, _A_WEEK_AND_MORE) if inside(at) != on)
    return InEffect(on=on, until=next(changes, now + timedelta(days=_A_WEEK_AND_MORE)))


def _covers(window: Window, weekday: int, at: time) -> bool:
    if window.start < window.end:
        return weekday in window.days and window.start <= at < window.end
    return (weekday in window.days and at >= window.start) or ((weekday - 1) % 7 in window.days and at < window.end)


def _closed_day(day: date, *, country: str, blackout: Sequence[date], no_eve_of_holiday: bool) -> str:
    if day.weekday() > _FRIDAY:
        return "weekend"
    if is_holiday(day, country):
        return "holiday"
    if day in blackout:
        return "blackout"
    if no_eve_of_holiday and is_holiday(day + timedelta(days=1), country):
        return "eve_of_holiday"
    return ""


def _edges(now: datetime, windows: Sequence[Window], zone: ZoneInfo) -> Iterator[datetime]:
    """Every instant after `now` at which an opening can begin or end, in order: midnights, window hours, clock changes."""

    def hours(day: date) -> set[time]:
        of_day = [window for window in windows if day.weekday() in window.days]
        return {time(0), *(window.start for window in of_day), *(window.end for window in of_day)}

    yield from _instants(now, hours, zone, _SEARCH_DAYS)


def _instants(now: datetime, hours: Callable[[date], Iterable[time]], zone: ZoneInfo, days: int) -> Iterator[datetime]:
    """The instants after `now` at which it is one of the hours of a day, and those that bound clock changes, in order."""
    first = now.astimezone(zone).date()
    for offset in range(days):
        day = first + timedelta(days=offset)
        # Twice, because on the day of a clock change an hour may come twice.
        edges = {datetime.combine(day, hour, zone).replace(fold=fold).astimezone(UTC) for hour in hours(day) for fold in (0, 1)}
        edges.update(_clock_change(day, zone))
        yield from sorted(edge for edge in edges if edge > now)


def _clock_change(day: date, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The instants that bound what a clock change on this day repeats or leaves out; usually none."""
    low = datetime.combine(day, time(0), zone).astimezone(UTC)
    high = datetime.combine(day + timedelta(days=1), time(0), zone).astimezone(UTC)
    before, after = low.astimezone(zone).utcoffset(), high.astimezone(zone).utcoffset()
    if before is None or after is None or before == after:
        return ()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    change = high.replace(microsecond=0)
    return (change - abs(after - before), change, change + abs(after - before))

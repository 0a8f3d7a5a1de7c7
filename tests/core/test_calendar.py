"""Legal days, windows in site time, holidays: dates a lawyer can check against a calendar on the wall."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calendar import (
    day_everywhere,
    day_start,
    is_holiday,
    is_working_day,
    known_country,
    local_date,
    opening,
    period_end,
    public_holidays,
)
from agent.model import Window
from tests.core.histories import examples
from tests.core.stories import PARIS, at

FOUR_DAYS = (Window(days=(0, 1, 2, 3), start=time(9), end=time(15)),)
ALWAYS = (Window(days=(0, 1, 2, 3, 4), start=time(0), end=time(23, 59)),)


@pytest.mark.parametrize(
    ("act", "days", "last", "why"),
    [
        ("2026-03-11", 15, "2026-03-26", "an ordinary Thursday"),
        ("2026-03-11", 8, "2026-03-19", "the day of the act is not counted"),
        ("2026-03-13", 15, "2026-03-30", "the last day is a Saturday: Monday"),
        ("2026-03-14", 15, "2026-03-30", "the last day is a Sunday: Monday"),
        ("2026-03-20", 15, "2026-04-07", "a Saturday before Easter Monday: Tuesday"),
        ("2026-03-22", 15, "2026-04-07", "Easter Monday, 6 April 2026: Tuesday"),
        ("2026-04-16", 15, "2026-05-04", "Friday 1 May: over the week-end to Monday"),
        ("2026-04-23", 15, "2026-05-11", "Friday 8 May: over the week-end to Monday"),
        ("2026-04-29", 15, "2026-05-15", "Ascension Thursday, 14 May: Friday"),
        ("2026-05-08", 15, "2026-05-26", "a Saturday before Whit Monday: Tuesday"),
        ("2026-05-10", 15, "2026-05-26", "Whit Monday, 25 May: Tuesday"),
        ("2026-06-29", 15, "2026-07-15", "14 July: the day after"),
        ("2026-12-17", 15, "2027-01-04", "1 January, a Friday: over the week-end into the next year"),
        ("2026-12-10", 15, "2026-12-28", "25 December, a Friday: the Monday after"),
        ("2028-02-14", 15, "2028-02-29", "a leap day counts"),
        ("2026-03-11", 0, "2026-03-11", "no days: the day itself"),
    ],
)
def test_a_period_ends_as_the_code_of_civil_procedure_says(act: str, days: int, last: str, why: str) -> None:
    assert period_end(date.fromisoformat(act), days, "FR") == date.fromisoformat(last), why


@given(st.dates(date(2020, 1, 1), date(2035, 1, 1)), st.integers(0, 120), st.sampled_from(["FR", "DE", "MA", "none"]))
@examples(60)
def test_a_period_is_never_shorter_than_its_days_and_ends_on_a_working_day(act: date, days: int, country: str) -> None:
    last = period_end(act, days, country)
    assert last >= act + timedelta(days=days)
    assert is_working_day(last, country)
    assert not any(is_working_day(act + timedelta(days=d), country) for d in range(days, (last - act).days))


def test_the_holidays_of_france_in_2026_are_those_of_the_wall_calendar() -> None:
    days = ["01-01", "04-06", "05-01", "05-08", "05-14", "05-25", "07-14", "08-15", "11-01", "11-11", "12-25"]
    assert public_holidays("FR", 2026) == {date.fromisoformat(f"2026-{day}") for day in days}


def test_none_is_a_country_without_holidays_and_nonsense_is_no_country() -> None:
    assert known_country("none")
    assert known_country("FR")
    assert not known_country("XX")
    assert not is_holiday(date(2026, 5, 1), "none")


@pytest.mark.parametrize(
    ("day", "zone", "utc"),
    [
        ("2026-03-27", PARIS, "2026-03-26T23:00"),
        ("2026-03-29", PARIS, "2026-03-28T23:00"),
        ("2026-03-30", PARIS, "2026-03-29T22:00"),
        ("2026-10-25", PARIS, "2026-10-24T22:00"),
        ("2026-10-26", PARIS, "2026-10-25T23:00"),
        ("2026-03-30", "Africa/Casablanca", "2026-03-29T23:00"),
        ("2026-03-10", "Africa/Casablanca", "2026-03-10T00:00"),
        ("2026-03-11", "America/Martinique", "2026-03-11T04:00"),
        ("2026-04-24", "Africa/Cairo", "2026-04-23T22:00"),
    ],
)
def test_a_day_begins_at_the_midnight_of_its_place(day: str, zone: str, utc: str) -> None:
    start = day_start(date.fromisoformat(day), zone)
    assert start == datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert local_date(start, zone) == date.fromisoformat(day)
    assert local_date(start - timedelta(microseconds=1), zone) < date.fromisoformat(day)


def test_with_sites_in_two_zones_a_day_has_begun_when_it_has_begun_at_both() -> None:
    zones = (PARIS, "Africa/Casablanca")
    winter, summer = date(2026, 1, 12), date(2026, 6, 8)
    assert day_everywhere(winter, zones) == day_start(winter, PARIS) == day_start(winter, "Africa/Casablanca")
    assert day_everywhere(summer, zones) == day_start(summer, "Africa/Casablanca") > day_start(summer, PARIS)
    ramadan = date(2026, 3, 2)  # Morocco is an hour further back while it lasts
    assert day_everywhere(ramadan, zones) - day_start(ramadan, PARIS) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("now", "is_open", "why", "until"),
    [
        ("2026-03-30 08:59:59", False, "hours", "2026-03-30 09:00"),
        ("2026-03-30 09:00", True, "", "2026-03-30 15:00"),
        ("2026-03-30 14:59:59", True, "", "2026-03-30 15:00"),
        ("2026-03-30 15:00", False, "hours", "2026-03-31 09:00"),
        ("2026-03-27 10:00", False, "hours", "2026-03-30 09:00"),
        ("2026-03-28 10:00", False, "weekend", "2026-03-30 09:00"),
        ("2026-03-29 02:59", False, "weekend", "2026-03-30 09:00"),
        ("2026-04-02 16:00", False, "hours", "2026-04-07 09:00"),
        ("2026-04-05 10:00", False, "weekend", "2026-04-07 09:00"),
        ("2026-04-06 10:00", False, "holiday", "2026-04-07 09:00"),
        ("2026-04-30 10:00", False, "eve_of_holiday", "2026-05-04 09:00"),
        ("2026-05-07 10:00", False, "eve_of_holiday", "2026-05-11 09:00"),
        ("2026-05-13 10:00", False, "eve_of_holiday", "2026-05-18 09:00"),
        ("2026-05-14 10:00", False, "holiday", "2026-05-18 09:00"),
        ("2026-05-25 10:00", False, "holiday", "2026-05-26 09:00"),
        ("2026-06-16 10:00", False, "blackout", "2026-06-17 09:00"),
        ("2026-12-31 10:00", False, "eve_of_holiday", "2027-01-04 09:00"),
    ],
)
def test_the_window_is_open_from_monday_to_thursday_but_for_holidays_and_their_eves(
    now: str, is_open: bool, why: str, until: str
) -> None:
    found = opening(at(now), windows=FOUR_DAYS, timezone=PARIS, country="FR", blackout=[date(2026, 6, 16)])
    assert (found.open, found.why, found.until) == (is_open, why, at(until))


def test_the_eve_of_a_holiday_is_open_where_the_policy_says_so() -> None:
    assert opening(at("2026-05-13 10:00"), windows=FOUR_DAYS, timezone=PARIS, country="FR", no_eve_of_holiday=False).open


def test_a_window_that_never_opens_says_so() -> None:
    every_day = [date(2026, 1, 1) + timedelta(days=day) for day in range(800)]
    found = opening(at("2026-03-30 10:00"), windows=FOUR_DAYS, timezone=PARIS, country="FR", blackout=every_day)
    assert (found.open, found.until) == (False, None)


def test_nine_o_clock_is_nine_o_clock_on_both_sides_of_a_clock_change() -> None:
    for before, after in (("2026-03-26", "2026-03-30"), ("2026-10-22", "2026-10-26")):
        first = opening(at(f"{before} 16:00"), windows=FOUR_DAYS, timezone=PARIS, country="none").until
        assert first == at(f"{after} 09:00")
    assert at("2026-03-30 09:00") - at("2026-03-26 09:00") == timedelta(hours=95)
    assert at("2026-10-26 09:00") - at("2026-10-22 09:00") == timedelta(hours=97)


def test_an_hour_that_comes_twice_is_outside_every_window_and_the_window_opens_again_after_it() -> None:
    # In Cairo clocks go back from midnight to 23:00 on Thursday 29 October 2026: 23:00 to 24:00 comes twice.
    night = (Window(days=(3,), start=time(22), end=time(23, 59)), Window(days=(4,), start=time(0), end=time(2)))

    def cairo(utc: str) -> tuple[bool, str, datetime | None]:
        found = opening(
            datetime.fromisoformat(utc).replace(tzinfo=UTC),
            windows=night,
            timezone="Africa/Cairo",
            country="none",
            no_eve_of_holiday=False,
        )
        return found.open, found.why, found.until

    twice = datetime(2026, 10, 29, 20, tzinfo=UTC)
    assert cairo("2026-10-29T19:30") == (True, "", twice)
    assert cairo("2026-10-29T20:00") == (False, "clock_change", twice + timedelta(hours=2))
    assert cairo("2026-10-29T21:59") == (False, "clock_change", twice + timedelta(hours=2))
    assert cairo("2026-10-29T22:00") == (True, "", twice + timedelta(hours=4))


def test_a_window_over_an_hour_that_never_comes_opens_when_the_clock_has_jumped() -> None:
    # In Cairo clocks go forward from midnight to 01:00 on Friday 24 April 2026.
    window = (Window(days=(4,), start=time(0, 30), end=time(2)),)
    before = datetime(2026, 4, 23, 21, 59, tzinfo=UTC)
    found = opening(before, windows=window, timezone="Africa/Cairo", country="none", no_eve_of_holiday=False)
    assert found.until == datetime(2026, 4, 23, 22, tzinfo=UTC)
    assert opening(found.until, windows=window, timezone="Africa/Cairo", country="none", no_eve_of_holiday=False).open


@given(
    st.datetimes(datetime.fromisoformat("2026-01-01"), datetime.fromisoformat("2027-12-31")),
    st.sampled_from([PARIS, "Africa/Casablanca", "Africa/Cairo", "America/Havana", "Australia/Lord_Howe", "Pacific/Chatham"]),
    st.sampled_from([FOUR_DAYS, ALWAYS]),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4),
)
@examples(80)
def test_an_opening_lasts_exactly_until_it_says(
    naive: datetime, zone: str, windows: tuple[Window, ...], parts: list[float]
) -> None:
    def found(moment: datetime):
        return opening(moment, windows=windows, timezone=zone, country="FR")

    now = naive.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    state = found(now)
    assert state.until is not None
    assert state.until > now
    last = state.until - timedelta(microseconds=1)  # a part just under one is rounded up to the end itself
    assert all(found(min(now + (state.until - now) * part, last)).open == state.open for part in parts)
    assert found(last).open == state.open
    assert found(state.until).open != state.open


@pytest.mark.parametrize("zone", ["Europe/Paris", "Indian/Reunion", "America/Martinique"])
def test_a_window_s_next_change_is_told_in_utc_and_never_now(zone):
    monday = datetime(2026, 3, 30, 9, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    windows = (Window(days=(0,), start=time(9), end=time(15)),)
    found = opening(monday, windows=windows, timezone=zone, country="FR")
    assert (found.open, found.until) == (True, monday + timedelta(hours=6))
    assert found.until.tzinfo is UTC
    before = opening(monday - timedelta(microseconds=1), windows=windows, timezone=zone, country="FR")
    assert (before.open, before.until) == (False, monday)
    assert day_start(date(2026, 3, 30), zone).tzinfo is UTC

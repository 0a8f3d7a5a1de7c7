"""A forecast is the same walk without new facts: it says when time alone is enough, and what is missing where it is not."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import forecast as forecasting
from agent.forecast import Ahead, Forecast, forecast
from agent.gate import World
from agent.history import gather
from agent.model import Mode
from agent.record import EMPTY_RECORD, fold
from agent.simulate import begin, simulate
from agent.walk import Moment, in_order
from tests.core.histories import examples
from tests.core.test_simulate import EVENTS, LAST, ZEPHYR, at, facts, same_story, street

MONTH = timedelta(days=30)


def ahead(when: str, *, company: str = "zb", events: tuple = EVENTS, days: int = 30, approved: bool = True, **how: Mode) -> Ahead:
    now = at(when)
    walk = begin(gather(events, now), ZEPHYR, now, ceiling=how.get("ceiling", Mode.AUTO), approved=approved)
    walk.through(now)
    (one,) = forecast(walk, [company], now, now + timedelta(days=days)).cases
    return one


def codes(one: Ahead) -> list[str]:
    return [check.code for check in one.missing]


def after(*types: str) -> tuple:
    """The facts without those of some types."""
    return tuple(event for event in EVENTS if event.type not in types)


def test_a_ripening_case_says_when_it_is_ready_and_when_it_would_be_suspended() -> None:
    one = ahead("2026-03-26T12:00+01:00")
    assert (one.state, one.ready_at, one.suspend_at) == ("noticed", at("2026-03-27T00:00+01:00"), at("2026-03-30T09:00+02:00"))
    assert (one.restore_at, one.missing) == (None, ())


def test_a_suspension_ends_by_itself_within_a_longer_look() -> None:
    one = ahead("2026-03-26T12:00+01:00", days=60)
    assert one.restore_at == at("2026-04-29T09:00+02:00")


def test_a_case_without_a_proof_of_reception_never_becomes_ready_and_says_why() -> None:
    one = ahead("2026-03-20T12:00+01:00", events=after("notice.delivered"))
    assert (one.state, one.ready_at, one.suspend_at) == ("noticed", None, None)
    assert "G-07" in codes(one)


def test_what_only_takes_time_is_not_missing() -> None:
    one = ahead("2026-03-20T12:00+01:00")  # the last warning has not been sent yet
    assert (one.ready_at, one.suspend_at, codes(one)) == (at("2026-03-27T00:00+01:00"), None, ["G-26"])


def test_persons_are_missing_where_nobody_approved() -> None:
    one = ahead("2026-03-26T12:00+01:00", approved=False)
    assert (one.ready_at, one.suspend_at, codes(one)) == (at("2026-03-27T00:00+01:00"), None, ["G-23"])


def test_a_case_that_is_ready_already_says_what_it_waits_for() -> None:
    one = ahead("2026-03-28T12:00+01:00", approved=False)
    assert (one.state, one.ready_at, codes(one)) == ("proposed", at("2026-03-28T12:00+01:00"), ["G-23"])
    one = ahead("2026-03-28T12:00+01:00")
    assert (one.state, one.suspend_at, codes(one)) == ("proposed", at("2026-03-30T09:00+02:00"), [])


def test_observe_mode_becomes_ready_and_nothing_more() -> None:
    one = ahead("2026-03-26T12:00+01:00", ceiling=Mode.OBSERVE)
    assert (one.ready_at, one.suspend_at, one.restore_at) == (at("2026-03-27T00:00+01:00"), None, None)


def test_a_suspended_case_says_when_it_ends() -> None:
    one = ahead("2026-04-01T12:00+02:00")
    assert (one.state, one.suspend_at, one.restore_at, codes(one)) == ("suspended", None, at("2026-04-29T09:00+02:00"), [])


def test_a_closed_case_is_not_ahead_of_anybody() -> None:
    now = at("2026-04-02T00:00+02:00")
    walk = begin(gather(EVENTS, now), ZEPHYR, now, ceiling=Mode.AUTO, approved=True)
    walk.through(now)
    found = forecast(walk, ["za", "zb"], now, now + MONTH)
    assert [one.company for one in found.cases] == ["zb"]


def test_it_is_plain_json_with_the_next_suspension_first() -> None:
    inventory, now = street(3, max_new_per_day=1, canaries=1), at("2026-03-27T12:00+01:00")
    unwarned = [line for line in same_story("c00") if "warning.sent" not in line]
    events = facts([*unwarned, *same_story("c01"), *same_story("c02")], inventory)
    walk = begin(gather(events, now), inventory, now, ceiling=Mode.AUTO, approved=True)
    walk.through(now)
    data = forecasting.plain(forecast(walk, ["c02", "c01", "c00"], now, now + MONTH))
    assert json.loads(json.dumps(data)) == data
    assert [(one["company"], (one["suspend_at"] or "")[:16]) for one in data["cases"]] == [
        ("c01", "2026-03-30T07:00"),
        ("c02", "2026-03-31T07:00"),
        ("c00", ""),
    ]
    assert data["cases"][2]["missing"][0]["code"] == "G-26"
    companies = [{"cases": [{"case": "c01:MED-ZB"}, {"case": "another"}]}]
    forecasting.tell(companies, forecast(walk, ["c01"], now + MONTH, now + 2 * MONTH))
    assert companies[0]["cases"][1]["ahead"] is None
    assert companies[0]["cases"][0]["ahead"]["state"] == "suspended"


# --- for all inputs -----------------------------------------------------------------------------------------------

NOTICED = at("2026-03-09T12:00+01:00")
begins = st.integers(0, int((LAST - NOTICED).total_seconds()) // 900).map(lambda quarter: LAST - timedelta(minutes=15 * quarter))
subsets = st.sets(st.sampled_from(range(len(EVENTS))), max_size=4)


@examples(25)
@given(begins, subsets, st.booleans())
def test_it_agrees_with_a_simulation_without_new_facts(now: object, left_out: set[int], approved: bool) -> None:
    events = tuple(event for number, event in enumerate(EVENTS) if number not in left_out and event.occurred_at <= now)
    until = now + MONTH
    whole = simulate(events, ZEPHYR, until, approved=approved)
    walk = begin(gather(events, now), ZEPHYR, now, ceiling=Mode.AUTO, approved=approved)
    walk.through(now)
    found = forecast(walk, whole.companies, now, until)
    assert found.moments == tuple(one for one in whole.moments if one.at > now)
    for one in found.cases:
        mine = [moment for moment in found.moments if moment.case == one.case]
        assert one.suspend_at == next((moment.at for moment in mine if moment.act == "suspend"), None)
        assert one.restore_at == next((moment.at for moment in mine if moment.act == "restore"), None)
        if one.suspend_at is None and one.state not in ("suspended", "restoring", "applying"):
            assert one.missing


@examples(15)
@given(begins, subsets)
def test_beginning_from_records_tells_what_walking_from_the_first_fact_tells(now: object, left_out: set[int]) -> None:
    """The enforcer has records, not a file of facts. Nothing was ever done here (nobody approved, mode observe)."""
    events = tuple(event for number, event in enumerate(EVENTS) if number not in left_out and event.occurred_at <= now)
    history = gather(events, now)
    walk = begin(history, ZEPHYR, now, ceiling=Mode.OBSERVE, approved=False)
    walk.through(now)
    expected = walked(forecast(walk, history.noticed, now, now + MONTH))
    records = dict.fromkeys(sorted({event.subject for event in events}), EMPTY_RECORD)
    for event in events:
        records[event.subject] = fold(records[event.subject], event)
    fresh = forecasting.begin(records, ZEPHYR, World(ceiling=Mode.OBSERVE, feeds={}), now)
    assert walked(forecast(fresh, records, now, now + MONTH)) == expected


def walked(found: Forecast) -> list[tuple[object, ...]]:
    """What a forecast says of each case; one that is ready already is noticed at once by who begins from records."""
    return [(one.case, one.state, one.ready_at, one.suspend_at, codes(one)) for one in found.cases]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_moments_come_by_time_and_company(order: list[int]) -> None:
    when = at("2026-03-30T09:00+02:00")

    def moment(company: str) -> Moment:
        more = {"timezone": "UTC", "case": "c", "act": "suspend", "services": (), "cause": "", "fr": "", "en": ""}
        return Moment(at=when, company=company, **more)

    both = [moment("a"), moment("b")]
    assert [one.company for one in in_order(both[number] for number in order)] == ["a", "b"]

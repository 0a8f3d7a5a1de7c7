"""When our table is put back at once, and when a fight is reported instead of fought."""

from hypothesis import given
from hypothesis import strategies as st

from agent.fight import FEW, FIRST_WAIT, LONGEST_WAIT, QUIET, WINDOW, Fight, calmed, repaired


def after(*times: float, by: str = "nft") -> Fight:
    fight = Fight()
    for at in times:
        fight = repaired(fight, at, (by,))
    return fight


def test_the_first_repairs_wait_for_nothing() -> None:
    fight = after(*(float(n) / 10 for n in range(FEW)))
    assert not fight.on
    assert not fight.rests(FEW / 10)
    assert fight.repairs == FEW


def test_one_more_is_a_fight_and_each_further_repair_waits_twice_as_long() -> None:
    fight = after(*[1.0] * (FEW + 1))
    waits = []
    for _ in range(8):
        assert fight.on
        assert fight.rests(fight.at[-1] + fight.wait - 0.01)
        assert not fight.rests(fight.at[-1] + fight.wait)
        waits.append(fight.wait)
        fight = repaired(fight, fight.at[-1] + fight.wait, ("nft",))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (waits[0], waits[-1]) == (FIRST_WAIT, LONGEST_WAIT)
    assert fight.repairs == FEW + 9


def test_in_a_fight_the_wait_counts_from_the_last_repair_and_whoever_made_it_necessary_is_named() -> None:
    fight = repaired(after(*[1000.0] * (FEW + 1)), 1030.0, ("ufw",))
    assert fight.wait == 2 * FIRST_WAIT
    assert fight.rests(1030.0 + fight.wait - 0.01)
    assert not fight.rests(1030.0 + fight.wait)
    assert fight.by == ("nft", "ufw")


def test_a_tool_that_runs_every_minute_is_no_fight() -> None:
    assert not after(*(minute * 60.0 for minute in range(10 * FEW))).on


def test_exactly_the_window_counts() -> None:
    assert not after(0.0, *(WINDOW,) * FEW).on
    assert after(0.1, *(WINDOW,) * FEW).on


def test_a_fight_is_over_once_it_was_quiet_and_the_next_repair_is_a_first_one() -> None:
    begun = 5000.0
    fight = after(*[begun] * (FEW + 1))
    assert calmed(fight, begun + QUIET - 1) == fight
    assert calmed(fight, begun + QUIET) == Fight()
    assert not repaired(fight, begun + QUIET, ("ufw",)).on
    assert repaired(fight, begun + QUIET, ("ufw",)).by == ("ufw",)


def test_the_programs_are_named_each_once_the_latest_last_and_not_without_end() -> None:
    fight = Fight()
    for name in ("nft", "firewalld", "nft", "a", "b", "c", "d"):
        fight = repaired(fight, 0.0, (name,))
    assert fight.by == ("nft", "a", "b", "c", "d")


@given(st.lists(st.floats(0, 100), max_size=80))
def test_what_is_remembered_stays_small_and_nobody_waits_longer_than_the_longest(gaps: list[float]) -> None:
    fight, now = Fight(), 0.0
    for gap in gaps:
        now += gap
        fight = repaired(fight, now, ("nft",))
        assert len(fight.at) <= FEW + 1
        assert not fight.rests(now + LONGEST_WAIT)
        assert fight.on == (fight.wait > 0)

"""What a look at something local means: the baseline, the comparison, the trial; and what an answer may say at all."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.continuity import (
    SILENT_LOOKS,
    TRIAL_SECONDS,
    Baseline,
    Nobody,
    Past,
    Role,
    Sample,
    Seen,
    Sight,
    Target,
    add,
    baseline,
    compare,
    outage,
    preflight,
    read_past,
    recovered,
    targets,
    trial,
    write_past,
)
from agent.continuity.baseline import merged
from agent.continuity.samples import MOST, read_answer, read_question, write_answer, write_question
from agent.errors import ChannelError
from agent.model import Dependency, LocalApplication, Probe
from tests.core.stories import ZA, site

NOW = datetime(2026, 3, 30, 7, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ERP = Probe(kind="tcp", address=ip_address("10.20.10.5"), port=443)
OK, SILENT, UNABLE = (Sample(seen=seen, ms=1.0) for seen in Seen)
USUAL = Baseline(hours=24, availability=100.0, ms=2.0)

SAMPLES = st.builds(
    Sample,
    seen=st.sampled_from(Seen),
    ms=st.floats(0, 600_000).map(lambda ms: float(f"{ms:.3g}")),
    why=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80),
)
WORDS = st.one_of(st.none(), st.text(min_size=1, max_size=20))
PORTED = st.builds(
    Probe,
    kind=st.sampled_from(["tcp", "tls", "udp", "http", "dns"]),
    address=st.ip_addresses(),
    port=st.integers(1, 65535),
    path=WORDS,
    name=WORDS,
)
PROBES = st.one_of(PORTED, st.builds(Probe, kind=st.just("icmp"), address=st.ip_addresses(), path=WORDS, name=WORDS))


def target(name: str = "erp", role: Role = Role.APPLICATION, place: str = "main") -> Target:
    return Target(site=place, name=name, role=role, probe=ERP)


def watched(hours: float, sample: Sample = OK, *, end: datetime = NOW, every: timedelta = MINUTE, past: Past | None = None) -> Past:
    """A past of so many hours of equal looks that ends at `end`."""
    past = past or Past()
    for number in range(int(hours * HOUR / every)):
        past = add(past, sample, end - hours * HOUR + number * every)
    return past


def answering(*ms: float) -> list[Sample]:
    return [replace(OK, ms=each) for each in ms]


# --- what is looked at ---------------------------------------------------------------------------------------------------------


def test_applications_dependencies_and_the_control_of_every_site_are_looked_at_each_under_a_name_of_its_own() -> None:
    place = replace(
        site("main"),
        local_applications=(LocalApplication(name="erp", probe=ERP),),
        dependencies=(Dependency(name="erp", needed_by="erp", probe=ERP),),
        control=ERP,
    )
    found = targets(replace(ZA, sites=(place, replace(place, id="annex"))))
    assert [one.id for one in found] == [
        *("main.control.site", "main.erp", "main.dependency.erp"),
        *("annex.control.site", "annex.erp", "annex.dependency.erp"),
    ]


def test_nothing_is_looked_at_where_no_local_application_is_declared() -> None:
    assert targets(replace(ZA, sites=(replace(ZA.sites[0], local_applications=(), control=ERP),))) == ()


# --- the baseline ---------------------------------------------------------------------------------------------------------------


def test_a_day_of_looks_is_a_baseline_of_a_day() -> None:
    found = baseline(watched(24, replace(OK, ms=3.0)), wanted=24, per_hour=60, now=NOW + MINUTE)
    assert found == Baseline(hours=23, availability=100.0, ms=3.0)  # the running hour is not over
    assert baseline(watched(25), wanted=24, per_hour=60, now=NOW + MINUTE) == Baseline(hours=24, availability=100.0, ms=1.0)


@pytest.mark.parametrize(
    ("past", "hours"),
    [
        (Past(), None),
        (watched(2, UNABLE), None),
        (watched(25, every=2 * MINUTE), 24),
        (watched(25, every=3 * MINUTE), None),
        (watched(5, past=watched(5, end=NOW - 8 * HOUR)), 10),
        (watched(24, end=NOW - 24 * HOUR), 24),
        (watched(24, end=NOW - 40 * HOUR), 8),
        (watched(24, end=NOW - 48 * HOUR), None),
    ],
    ids=[
        "nothing",
        "nothing that tells",
        "half the looks",
        "a third of them",
        "a gap",
        "a day ago",
        "partly too old",
        "all too old",
    ],
)
def test_an_hour_counts_when_half_of_its_looks_could_tell_something_and_it_is_not_too_old(past: Past, hours: int | None) -> None:
    found = baseline(add(past, OK, NOW), wanted=24, per_hour=60, now=NOW)
    assert (found and found.hours) == hours


def test_availability_counts_looks_and_latency_is_the_median_of_answers() -> None:
    past = watched(1, replace(OK, ms=9.0), end=NOW - HOUR)
    for number in range(60):
        past = add(past, SILENT if number % 2 else replace(OK, ms=1.0), NOW - HOUR + number * MINUTE)
    found = baseline(add(past, OK, NOW), wanted=24, per_hour=60, now=NOW)
    assert found is not None
    assert found.availability == pytest.approx(75.0)
    assert found.ms == 9.0


def test_during_a_measure_the_baseline_has_no_age() -> None:
    assert baseline(watched(25, end=NOW - 1000 * HOUR), wanted=24, per_hour=60) is not None


def test_a_longer_baseline_is_kept_for_a_policy_that_asks_for_it_and_no_more() -> None:
    past = Past()
    for number in range(400 * 2):
        past = add(past, OK, NOW + number * 30 * MINUTE, keep=168)
    assert len(past.hours) == 2 * 168
    assert len(add(past, OK, NOW + 500 * HOUR).hours) == 48


@given(st.lists(st.tuples(st.integers(-300, 300), SAMPLES), max_size=60))
def test_no_hour_is_counted_twice_wherever_the_clock_steps(looks: list[tuple[int, Sample]]) -> None:
    past = Past()
    for minutes, sample in looks:
        past = add(past, sample, NOW + minutes * MINUTE)
        hours = [one.at for one in past.hours]
        assert hours == sorted(set(hours))
        assert past.at not in hours
        assert all(one.answered <= one.looks for one in past.hours)


@given(st.lists(st.tuples(st.integers(0, 3000), SAMPLES), max_size=40))
def test_a_past_survives_being_written(looks: list[tuple[int, Sample]]) -> None:
    past = Past()
    for minutes, sample in looks:
        past = add(past, sample, NOW + minutes * MINUTE)
    again = read_past(json.loads(json.dumps(write_past(past))))
    assert replace(again, hours=(), times=()) == replace(past, hours=(), times=())
    assert [one.looks for one in again.hours] == [one.looks for one in past.hours]


@pytest.mark.parametrize(
    "row", [None, 7, [], {}, [[], 0, 0, 0], [[[1, 2]], 0, 0, 0, []], [["x"], 0, 0, 0, []], [[], "x", 0, 0, []]]
)
def test_a_past_that_is_none_is_refused(row: Any) -> None:
    with pytest.raises(ValueError, match="not what was seen"):
        read_past(row)


# --- may a measure begin --------------------------------------------------------------------------------------------------------


STEADY = add(watched(25), OK, NOW)


def test_everything_answers_for_a_day_and_now_so_a_measure_may_begin() -> None:
    found = preflight({target(): (STEADY, OK), target("crm"): (STEADY, OK)}, wanted=24, per_hour=60, now=NOW)
    assert (found.green, found.hours, found.why) == (True, 24, ())


@pytest.mark.parametrize(
    ("past", "last", "says"),
    [
        (STEADY, None, "was not looked at lately"),
        (STEADY, replace(SILENT, why="refused"), "is silent: refused"),
        (STEADY, replace(UNABLE, why="UDP without an answer"), "can not be told: UDP"),
        (add(watched(1, SILENT, past=watched(24, end=NOW - HOUR)), OK, NOW), OK, "95.8 % of the time"),
    ],
)
def test_one_that_does_not_answer_steadily_and_now_is_enough_for_red(past: Past, last: Sample | None, says: str) -> None:
    found = preflight({target(): (STEADY, OK), target("crm"): (past, last)}, wanted=24, per_hour=60, now=NOW)
    assert not found.green
    assert len(found.why) == 1
    assert says in found.why[0]
    assert "main.crm" in found.why[0]


def test_a_baseline_is_as_long_as_the_shortest_of_its_targets_and_a_company_without_any_is_never_green() -> None:
    young = add(watched(4), OK, NOW)
    found = preflight({target(): (STEADY, OK), target("crm"): (young, OK)}, wanted=24, per_hour=60, now=NOW)
    assert (found.green, found.hours) == (True, 4)
    assert preflight({}, wanted=24, per_hour=60, now=NOW).green is False
    assert preflight({target(): (Past(), OK)}, wanted=24, per_hour=60, now=NOW).hours == 0


# --- during ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usual", "window", "red"),
    [
        (USUAL, [], False),
        (USUAL, [SILENT] * 2, False),
        (USUAL, [SILENT] * 3, True),
        (USUAL, [*[OK] * 500, *[SILENT] * 3], True),
        (USUAL, [*[SILENT] * 3, *[OK] * 60], False),
        (USUAL, [UNABLE] * 60, False),
        (None, [SILENT] * 3, True),
        (None, answering(*[9999.0] * 60), False),
        (replace(USUAL, availability=95.4), [*[OK] * 57, *[SILENT] * 3], False),
        (replace(USUAL, availability=95.6), [*[OK] * 57, *[SILENT] * 3], True),
        (USUAL, answering(*[2.9] * 60), False),
        (USUAL, answering(*[21.9] * 60), False),
        (USUAL, answering(*[22.1] * 60), True),
        (USUAL, answering(*[22.1] * 9), False),
        (replace(USUAL, ms=100.0), answering(*[149.0] * 60), False),
        (replace(USUAL, ms=100.0), answering(*[151.0] * 60), True),
        (replace(USUAL, ms=0.0), answering(*[151.0] * 60), False),
    ],
)
def test_availability_may_lose_half_a_point_and_latency_half_as_much_again(
    usual: Baseline | None, window: list[Sample], red: bool
) -> None:
    found = compare(usual, window)
    assert found.red is red
    assert bool(found.why) is red


@given(st.lists(SAMPLES, max_size=80))
def test_whatever_was_seen_before_three_silent_looks_in_a_row_are_red(window: list[Sample]) -> None:
    assert compare(USUAL, [*window, *[SILENT] * SILENT_LOOKS]).red


@pytest.mark.parametrize(
    ("control", "away"),
    [
        (None, False),
        ([], False),
        ([SILENT] * 2, False),
        ([OK, *[SILENT] * 3], True),
        ([*[SILENT] * 3, OK], False),
        ([UNABLE] * 3, False),
    ],
)
def test_a_site_is_away_when_its_control_is_silent_too(control: list[Sample] | None, away: bool) -> None:
    assert outage(control) is away


def test_what_answers_three_times_has_recovered() -> None:
    assert recovered([*[SILENT] * 9, *[OK] * 3])
    assert not recovered([OK] * 2)
    assert not recovered([OK, OK, UNABLE])


# --- just after -----------------------------------------------------------------------------------------------------------------

CRM, CONTROL, DNS = target("crm"), target("site", Role.CONTROL), target("dns", Role.DEPENDENCY)
GOOD, GONE = [OK] * 3, [SILENT] * 3


@pytest.mark.parametrize(
    ("after", "good", "stopped"),
    [
        ({}, False, ()),
        ({CRM: GOOD}, True, ()),
        ({CRM: GOOD, CONTROL: GOOD, DNS: GOOD}, True, ()),
        ({CRM: [OK] * 2}, False, ()),
        ({CRM: [SILENT] * 2}, False, ()),
        ({CRM: GONE}, False, (CRM,)),
        ({CRM: [SILENT, SILENT, *GOOD]}, True, ()),
        ({CRM: [*GOOD, *GONE]}, False, (CRM,)),
        ({CRM: [UNABLE] * 3}, False, ()),
        ({CRM: GOOD, DNS: GONE}, False, (DNS,)),
        ({CRM: GONE, CONTROL: GOOD}, False, (CRM,)),
        ({CRM: GONE, CONTROL: GONE}, False, ()),
        ({CRM: GOOD, CONTROL: GONE}, False, ()),
        ({CRM: GONE, target("site", Role.CONTROL, "annex"): GONE}, False, (CRM,)),
    ],
)
def test_a_measure_is_confirmed_when_all_answer_and_lifted_when_one_stopped(
    after: dict[Target, list[Sample]], good: bool, stopped: tuple[Target, ...]
) -> None:
    found = trial(after)
    assert (found.good, found.stopped) == (good, stopped)


@given(st.dictionaries(st.sampled_from([CRM, CONTROL, DNS, target()]), st.lists(SAMPLES, max_size=6), max_size=4))
def test_no_measure_is_confirmed_while_anything_is_silent_or_unknown(after: dict[Target, list[Sample]]) -> None:
    found = trial(after)
    assert not (found.good and found.stopped)
    if any(not looks or looks[-1].seen is not Seen.ANSWERED for looks in after.values()):
        assert not found.good


def test_a_trial_leaves_time_to_roll_back_within_thirty_seconds() -> None:
    assert TRIAL_SECONDS < 30


# --- the wire -------------------------------------------------------------------------------------------------------------------


@given(st.lists(PROBES, max_size=5))
def test_a_question_arrives_as_it_was_asked(probes: list[Probe]) -> None:
    assert read_question(write_question(probes)) == tuple(probes)


@given(st.lists(SAMPLES, max_size=5))
def test_an_answer_arrives_as_it_was_given(samples: list[Sample]) -> None:
    assert read_answer({"number": 7}, write_answer(samples), number=7, count=len(samples)) == tuple(samples)


def test_looks_that_are_alike_are_one_value_however_many_are_kept() -> None:
    def answer(*ms: float) -> tuple[Sample, ...]:
        return read_answer({"number": 7}, json.dumps([["answered", each, ""] for each in ms]).encode(), number=7, count=len(ms))

    (one, other), (again,) = answer(1.2349, 1.241), answer(1.2304)
    assert one is again
    assert (one.ms, other.ms) == (1.23, 1.24)
    assert answer(0.04217)[0].ms == 0.0422  # no answer is told to have taken no time at all


ROW = ["answered", 1.0, ""]


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({}, [ROW]),
        ({"number": 8}, [ROW]),
        ({"number": "7"}, [ROW]),
        ({"number": 7}, []),
        ({"number": 7}, [ROW, ROW]),
        ({"number": 7}, {"0": ROW}),
        ({"number": 7}, ["answered"]),
        ({"number": 7}, [["ANSWERED", 1.0, ""]]),
        ({"number": 7}, [["suspend", 1.0, ""]]),
        ({"number": 7}, [["answered", "1", ""]]),
        ({"number": 7}, [["answered", True, ""]]),
        ({"number": 7}, [["answered", -1, ""]]),
        ({"number": 7}, [["answered", 1e9, ""]]),
        ({"number": 7}, [["answered", float("nan"), ""]]),
        ({"number": 7}, [["answered", float("inf"), ""]]),
        ({"number": 7}, [["answered", 1.0, None]]),
        ({"number": 7}, [["answered", 1.0, "", "za"]]),
        ({"number": 7}, [[{"a": 1}, 1.0, ""]]),
        ({"number": 7}, None),
    ],
)
def test_what_is_no_answer_to_this_question_counts_for_nothing(header: dict[str, Any], body: Any) -> None:
    with pytest.raises(ChannelError):
        read_answer(header, json.dumps(body).encode(), number=7, count=1)


@pytest.mark.parametrize("body", [b"", b"\xff", b"{", b"[" * 100_000, b"7", b"[[]]", json.dumps([ROW] * (MOST + 1)).encode()])
def test_bytes_that_are_no_question_are_refused(body: bytes) -> None:
    with pytest.raises(ChannelError):
        read_question(body)


@pytest.mark.parametrize(
    "row",
    [
        ["ssh", "10.0.0.1", 22, None, None],
        ["tcp", "host", 22, None, None],
        ["tcp", 167772161, 22, None, None],
        ["tcp", "10.0.0.1", 0, None, None],
        ["tcp", "10.0.0.1", True, None, None],
        ["tcp", "10.0.0.1", None, None, None],
        ["http", "10.0.0.1", 80, "x" * 5000, None],
        ["dns", "10.0.0.1", 53, None, 7],
    ],
)
def test_only_known_kinds_of_probes_to_addresses_may_be_asked_for(row: list[Any]) -> None:
    with pytest.raises(ChannelError):
        read_question(json.dumps([row]).encode())


def test_what_the_other_role_says_for_people_is_cut_to_a_line() -> None:
    (found,) = read_answer({"number": 1}, json.dumps([["silent", 0, "a\x1b[31m\n" + "x" * 500]]).encode(), number=1, count=1)
    assert len(found.why) <= 80
    assert found.why.isprintable()


def test_on_a_host_without_probes_no_measure_waits_for_a_look_and_nobody_sees_anything() -> None:
    nobody = Nobody()
    assert nobody.just_before("za")
    assert not nobody.looking("za")
    assert (nobody.sight("za"), nobody.status(), nobody.about("za")) == (Sight.NONE, {"configured": False}, ())


def test_a_past_in_which_nothing_ever_answered_has_no_latency() -> None:
    found = baseline(watched(25, replace(OK, seen=Seen.SILENT, ms=0.0)), wanted=24, per_hour=60, now=NOW)
    assert found is not None
    assert (found.availability, found.ms) == (0, 0.0)


@pytest.mark.parametrize("row", [None, [], [[[1, 2]], 1, 2, 3, []], [[], "x", 1, 1, []]])
def test_what_is_no_past_is_said_to_be_none(row: Any) -> None:
    with pytest.raises(ValueError, match="not what was seen"):
        read_past(row)


def test_only_what_was_seen_is_kept_over_a_restart() -> None:
    past = watched(1)
    kept = merged({"erp": past, "licence": Past()})
    assert {name: read_past(row) for name, row in kept.items()} == {"erp": past}

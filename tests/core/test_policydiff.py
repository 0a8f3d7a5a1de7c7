"""What other policies would alter: nothing for equal ones, exactly what two simulations tell for others, the worst first."""

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history import gather
from agent.model import Mode
from agent.policy import MemoryInventory, load
from agent.policydiff import Difference, Kind, differences, plain
from agent.simulate import Simulation, replay
from tests.core.histories import examples
from tests.core.test_simulate import EVENTS, ROOT, ZEPHYR, at

END = at("2026-05-10T00:00+02:00")
FILES = {path.name: path.read_text() for path in (ROOT / "policies").glob("*.yaml")}
MARK = "    waive_gentler_stages: annex"


def policies(**values: Any) -> MemoryInventory:
    """The example policies, with other values in the one that acts by itself."""
    more = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in values.items())
    texts = dict(FILES)
    for name, text in FILES.items():
        before, mark, after = text.partition(MARK)
        head, _, rest = after.partition("\n")
        kept = "\n".join(line for line in rest.split("\n") if line.strip().split(":")[0] not in values or line[:4] != "    ")
        texts[name] = before + more + mark + head + "\n" + kept if mark else text
    return MemoryInventory(load(texts))


def walked(inventory: MemoryInventory, end: datetime = END, *, ceiling: Mode = Mode.AUTO, approved: bool = True) -> Simulation:
    return replay(gather(EVENTS, end), inventory, end, ceiling=ceiling, approved=approved)


OLD = walked(ZEPHYR)


def compared(**values: Any) -> dict[str, Difference]:
    return {one.company: one for one in differences(OLD, walked(policies(**values)))}


def test_equal_policies_alter_nothing() -> None:
    assert differences(OLD, walked(ZEPHYR)) == ()
    assert differences(OLD, walked(policies())) == ()


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ({"notice_days": 30}, {"za": Kind.GONE, "zb": Kind.LATER}),
        ({"min_debt": 4000}, {"zb": Kind.GONE}),
        ({"min_days_overdue": 75}, {"za": Kind.GONE, "zb": Kind.LATER}),
        ({"max_suspension_days": 20}, {"zb": Kind.SHORTER}),
        ({"max_suspension_days": 40}, {"zb": Kind.LONGER}),
        ({"windows": ["tue-thu 09:00-15:00"]}, {"za": Kind.LATER, "zb": Kind.LATER}),
        ({"max_new_per_day": 1, "canaries": 1}, {"zb": Kind.LATER}),
        ({"holidays": "DE"}, {}),
    ],
)
def test_a_changed_value_alters_what_it_should(values: dict[str, Any], kinds: dict[str, Kind]) -> None:
    found = compared(**values)
    assert {company: one.kind for company, one in found.items()} == kinds


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (Kind.GONE, Kind.NEW),
        (Kind.LATER, Kind.SOONER),
        (Kind.SHORTER, Kind.LONGER),
    ],
)
def test_the_other_way_round_is_the_opposite(there: Kind, back: Kind) -> None:
    values = {
        Kind.GONE: {"min_debt": 4000},
        Kind.LATER: {"windows": ["tue-thu 09:00-15:00"]},
        Kind.SHORTER: {"max_suspension_days": 20},
    }
    other = walked(policies(**values[there]))
    assert {one.kind for one in differences(OLD, other)} == {there}
    assert {one.kind for one in differences(other, OLD)} == {back}


def test_fewer_services_are_narrower() -> None:
    texts = {name: text.replace("vpn:\n    class: A", "vpn:\n    class: D") for name, text in FILES.items()}
    assert texts != FILES
    found = differences(OLD, walked(MemoryInventory(load(texts))))
    assert {one.kind for one in found} == {Kind.GONE}  # what is no annex service any more makes the whole notice too wide


def test_where_nobody_is_suspended_what_is_proposed_is_compared() -> None:
    def proposed(inventory: MemoryInventory) -> Simulation:
        return walked(inventory, approved=False)

    found = differences(proposed(ZEPHYR), proposed(policies(min_debt=4000)))
    assert [(one.company, one.kind) for one in found] == [("zb", Kind.GONE)]
    found = differences(proposed(ZEPHYR), walked(ZEPHYR, ceiling=Mode.OBSERVE, approved=False))
    assert [(one.company, one.kind) for one in found] == [("za", Kind.OTHER), ("zb", Kind.OTHER)]


def test_the_worst_for_the_customer_stands_first_and_everything_is_plain_json() -> None:
    strict = walked(policies(min_debt=4000, windows=["tue-thu 09:00-15:00"]))
    found = differences(strict, OLD)
    assert [(one.company, one.kind) for one in found] == [("zb", Kind.NEW), ("za", Kind.SOONER)]
    data = plain(found, strict, OLD)
    assert json.loads(json.dumps(data)) == data
    assert data["counts"] == {"new": 1, "sooner": 1}
    assert data["companies"] == 2
    (first, _) = data["differences"]
    assert (first["old"]["moments"], first["old"]["missing"]) == ([], ["G-05"])
    assert [one["act"] for one in first["new"]["moments"]] == ["propose", "suspend", "restore"]


# --- for all policies ---------------------------------------------------------------------------------------------

values = st.fixed_dictionaries(
    {},
    optional={
        "min_debt": st.sampled_from([100, 3200, 3201, 4800, 4801]),
        "min_days_overdue": st.integers(1, 90),
        "min_reminders": st.integers(2, 4),
        "reminder_spacing_days": st.integers(3, 12),
        "notice_days": st.integers(8, 40),
        "max_suspension_days": st.integers(5, 60),
        "warning_days": st.integers(1, 6),
        "max_new_per_day": st.integers(1, 2),
        "canaries": st.integers(1, 2),
        "windows": st.sampled_from([["mon-thu 09:00-15:00"], ["fri 09:00-12:00"]]),
    },
)


def decisions(simulation: Simulation) -> dict[str, tuple[object, ...]]:
    """What is done to each case and where it ends, taken from a simulation without the code under test."""
    found = {}
    for outcome in simulation.outcomes():
        for one in outcome.judgement.judged:
            mine = [(each.at, each.act, each.services) for each in simulation.moments if each.case == one.case.id]
            found[one.case.id] = (tuple(mine), one.case.closed != "", one.case.order is not None)
    return found


@examples(20)
@given(values)
def test_it_agrees_with_two_simulations(changed: dict[str, Any]) -> None:
    new = walked(policies(**changed))
    found = {one.case: one for one in differences(OLD, new)}
    before, after = decisions(OLD), decisions(new)
    assert before.keys() == after.keys()
    for case in before:
        if before[case] != after[case]:
            assert case in found
        elif case in found:  # only where it stands differs, such as waiting or not yet ripe
            assert found[case].old.state != found[case].new.state
    for one in found.values():
        assert one.old.moments == tuple(each for each in OLD.moments if each.case == one.case)
        assert one.new.moments == tuple(each for each in new.moments if each.case == one.case)


@examples(10)
@given(values)
def test_the_same_change_twice_alters_nothing_more(changed: dict[str, Any]) -> None:
    assert differences(walked(policies(**changed)), walked(policies(**changed))) == ()

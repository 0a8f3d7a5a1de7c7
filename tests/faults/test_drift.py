"""What others do to our table on the same host: seen at once, put right, and written down."""

from collections.abc import Callable, Iterator

import pytest

from tests.process.conftest import a_running_house
from tests.process.house import House, until

pytestmark = pytest.mark.kernel

OURS = "inet ecluse"


def repaired(house: House) -> list[str]:
    return [event.body["what"] for event in house.events("measure.repaired")]


@pytest.fixture(scope="module")
def guarded() -> Iterator[House]:
    """Two of three companies are suspended. Every test leaves it so."""
    with a_running_house() as built:
        built.suspend("c000", "c001")
        yield built


def put_right(house: House, harm: Callable[[], object], wrong: Callable[[], bool]) -> tuple[str, float]:
    """Do harm and wait until the kernel is as before, which must take less than a second.

    Returns:
        what was recorded about the repair, and how many milliseconds it took.
    """
    before, known = house.elements(), len(repaired(house))
    harm()
    took = until(lambda: not wrong() and house.elements() == before, 1, what="the table is put right", pause=0)
    until(lambda: len(repaired(house)) > known, 1, what="the repair is recorded")
    return "; ".join(repaired(house)[known:]), took * 1000


def test_a_foreign_flush_is_put_right_within_a_second_and_recorded_with_the_name_of_the_program(guarded):
    said, took = put_right(guarded, lambda: guarded.nft("flush", "ruleset"), lambda: not guarded.table())
    print(f"foreign flush put right after {took:.0f} ms")
    assert "removed by nft" in said
    assert guarded.suspended() == {"c000", "c001"}


def test_ten_flushes_in_a_row_end_with_the_table_as_it_was(guarded):
    before = guarded.elements()
    for _ in range(10):
        guarded.nft("flush", "ruleset")
    until(lambda: guarded.elements() == before, 2, what="the table is back")
    assert guarded.status()["failures"] == []


def test_a_rule_of_a_stranger_in_our_table_goes(guarded):
    def foreign() -> bool:
        return "9.9.9.9" in guarded.nft("list", "table", "inet", "ecluse")

    said, _ = put_right(guarded, lambda: guarded.nft(f"add rule {OURS} forward ip saddr 9.9.9.9 drop"), foreign)
    assert "changed by nft" in said


def test_a_chain_of_a_stranger_that_drops_everything_goes(guarded):
    bad = f"add chain {OURS} evil {{ type filter hook forward priority -300; policy drop; }}"
    put_right(guarded, lambda: guarded.nft(bad), lambda: "evil" in guarded.nft("list", "ruleset"))


def test_an_element_that_somebody_deleted_comes_back(guarded):
    put_right(guarded, lambda: guarded.nft(f"delete element {OURS} vpn4_24 {{ 10.0.0.0 }}"), lambda: False)
    assert guarded.events("measure.repaired", "c000")[-1].body["count"] == 1


def test_an_element_that_nobody_ordered_goes_and_is_recorded(guarded):
    bad = f'add element {OURS} vpn4_24 {{ 10.0.2.0 timeout 1d comment "c002:N-forged" }}'
    said, _ = put_right(guarded, lambda: guarded.nft(bad), lambda: "c002" in guarded.cut())
    assert "no measure in force wants" in said


def test_an_element_of_a_company_that_nobody_knows_goes(guarded):
    bad = f'add element {OURS} vpn4_24 {{ 172.16.0.0 timeout 1d comment "x" }}'
    put_right(guarded, lambda: guarded.nft(bad), lambda: "172.16.0.0" in guarded.nft("list", "ruleset"))


def test_a_lease_that_somebody_made_longer_is_made_as_short_as_ordered(guarded):
    members = '{ 10.0.0.0 timeout 300d comment "c000:N-c000" }'
    text = f"delete element {OURS} vpn4_24 {{ 10.0.0.0 }}\nadd element {OURS} vpn4_24 {members}\n"
    put_right(guarded, lambda: guarded.nft("-f", "-", text=text), lambda: "300d" in guarded.nft("list", "ruleset"))


def test_a_table_that_sleeps_is_woken(guarded):
    put_right(
        guarded,
        lambda: guarded.nft(f"add table {OURS} {{ flags dormant; }}"),
        lambda: "dormant" in guarded.nft("list", "ruleset"),
    )


def test_tables_of_others_are_left_as_they_are(guarded):
    guarded.nft("add table inet theirs; add chain inet theirs c; add rule inet theirs c ip saddr 9.9.9.9 drop")
    before = guarded.nft("list", "table", "inet", "theirs")
    guarded.nft("delete", "table", "inet", "ecluse")
    until(guarded.cut, 1, what="the table is back")
    assert guarded.nft("list", "table", "inet", "theirs") == before
    guarded.nft("delete", "table", "inet", "theirs")


def test_drift_while_the_agent_was_dead_is_put_right_at_its_start_and_not_before_the_first_good_cycle(guarded):
    before = guarded.elements()
    guarded.kill()
    guarded.nft(f'add element {OURS} vpn4_24 {{ 10.0.2.0 timeout 1d comment "c002:N-forged" }}')
    guarded.nft(f"delete element {OURS} vpn4_24 {{ 10.0.0.0 }}")
    guarded.nft(f"add rule {OURS} forward ip saddr 9.9.9.9 drop")
    guarded.start("enforce")
    assert guarded.elements() == before
    assert "9.9.9.9" not in guarded.nft("list", "ruleset")

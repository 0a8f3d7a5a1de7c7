"""What named persons may do, what anybody at the socket may do, and that a stop outlives everything."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from agent.event import instant
from tests.process.conftest import a_house
from tests.process.house import MONDAY, House, firms, policies, refused, until

pytestmark = pytest.mark.kernel

#: Accounts that every Debian has; they are never logged in to.
CLAIRE, KARIM, STRANGER = 1, 2, 65534
NAMED = f"[{{name: Claire, user: {CLAIRE}, roles: [approver]}}, {{name: Karim, user: {KARIM}, roles: [credit_officer]}}]"


@pytest.fixture
def approving() -> Iterator[House]:
    """Mode approve, two persons needed; the socket is open to the group that each of the test's accounts is started with."""
    with a_house(firms(2, policy="approve"), policy=policies(approvals=2), operators=NAMED) as built:
        built.start("enforce")
        built.start("serve")
        (built.run / "operator.sock").chmod(0o666)  # who may connect is tested with the roles; here, who may decide
        built.heartbeat()
        for line_owner in ("c000", "c001"):
            _remember_as(built, CLAIRE, line_owner)
        until(lambda: built.status()["waiting"], 5, what="cases wait for approval")
        yield built


def _remember_as(house: House, user: int, company: str) -> None:
    # The importing person must be a named operator, which root is not here.
    from tests.process.house import history

    told = house.ask_as(user, "import", file="h.jsonl", body_text="\n".join(history(company)))
    assert told["exit"] == 0, told


def test_a_company_is_suspended_only_after_the_second_person_approved(approving):
    case = "c000:N-c000"
    first = approving.ask_as(CLAIRE, "approve", case=case, reason="checked")
    assert first["exit"] == 0
    assert "1 approvals of 2" in first["message"]["en"]
    again = approving.ask_as(CLAIRE, "approve", case=case, reason="checked again")
    assert "1 approvals of 2" in again["message"]["en"]
    assert approving.cut() == set()
    second = approving.ask_as(KARIM, "approve", case=case, reason="checked too")
    assert second["exit"] == 0
    assert "suspended" in second["message"]["en"]
    assert approving.cut() == {"c000"}
    given = approving.events("approval.given", "c000")
    assert {event.body["by"] for event in given} == {"daemon", "bin"}
    assert [event.body["mode"] for event in approving.events("order.suspend", "c000")] == ["approve"]


def test_who_is_not_named_can_restore_but_neither_approve_nor_resume(approving):
    for person in (CLAIRE, KARIM):
        approving.ask_as(person, "approve", case="c000:N-c000", reason="checked")
    assert approving.cut() == {"c000"}
    assert refused(approving.ask_as(STRANGER, "approve", case="c001:N-c001", reason="x"))
    assert refused(approving.ask_as(STRANGER, "suspend", company="c001", reason="x"))
    until_ = instant(approving.now() + timedelta(days=1))
    assert refused(approving.ask_as(STRANGER, "approve_policy", policy="auto", reason="x", expires_at=until_))
    assert refused(approving.ask_as(STRANGER, "record", type="hold.lifted", company="c000", body={"hold": "h"}))
    restored = approving.ask_as(STRANGER, "restore", company="c000", reason="an ambulance company")
    assert restored["exit"] == 0
    assert approving.cut() == set()
    assert approving.events("restore.ordered", "c000")[0].body["by"] == "nobody"
    assert approving.ask_as(STRANGER, "pause", reason="x", restore=True)["exit"] == 0
    assert refused(approving.ask_as(STRANGER, "resume", reason="x"))


def test_a_word_that_is_taken_back_does_not_count(approving):
    approving.ask_as(CLAIRE, "approve", case="c000:N-c000", reason="checked")
    approving.ask_as(CLAIRE, "revoke", case="c000:N-c000", reason="a call came in")
    told = approving.ask_as(KARIM, "approve", case="c000:N-c000", reason="checked")
    assert "1 approvals of 2" in told["message"]["en"]
    assert approving.cut() == set()


def test_a_pause_stops_new_suspensions_and_leaves_those_in_force(house):
    house.suspend("c000")
    assert house.ask("pause", reason="month end")["exit"] == 0
    house.remember("c001")
    house.heartbeat()
    until(lambda: any(one["company"] == "c001" for one in house.status()["waiting"]), 3, what="c001 is looked at")
    assert house.cut() == {"c000"}
    assert house.ask("resume", reason="month over")["exit"] == 0
    until(lambda: house.cut() == {"c000", "c001"}, 3, what="c001 is suspended")


@pytest.mark.parametrize(
    "stop",
    [
        lambda house: house.ask("pause", reason="x", restore=True),
        lambda house: house.ask("restore", all=True, reason="x"),
        lambda house: house.ask("clear", reason="x"),
    ],
    ids=["pause --restore", "restore --all", "clear"],
)
def test_stopping_restores_everything_at_once_and_outlives_restart_repair_reload_and_new_debts(
    stop: Callable[[House], dict[str, object]], house: House
):
    house.suspend("c000", "c001")
    assert stop(house)["exit"] == 0
    assert not house.table()  # when the person has the answer, it is done
    until(lambda: house.suspended() == set(), 3, what="the ledger says so too")
    house.nft("flush", "ruleset")
    house.nft("add table inet theirs")
    assert house.ask("reload")["exit"] == 0
    house.remember("c002")
    house.heartbeat()
    house.kill()
    house.start("enforce")
    assert house.stop() == 0
    house.start("enforce")
    assert house.status()["paused"]
    assert not house.table()
    assert {event.body["cause"].partition(":")[0] for event in house.events("measure.restored")} == {"paused"}
    assert house.ask("resume", reason="over")["exit"] == 0
    # Nobody's measure comes back by itself: approvals are asked again. Here the policy's standing one still holds.
    until(lambda: house.cut() == {"c000", "c001", "c002"}, 3, what="suspensions are possible again")
    assert house.status()["failures"] == []


def test_a_stop_file_written_while_no_agent_runs_is_obeyed_at_its_start_whatever_the_kernel_holds(house):
    house.suspend("c000", "c001")
    house.kill()
    (house.state / "stop.json").write_text(
        '{"version": 1, "companies": {}, "all": {"by": "claire", "at": "2026-03-30T07:05:00Z", "reason": "fire", "restore": true}}'
    )
    assert house.cut() == {"c000", "c001"}
    house.start("enforce")
    assert not house.table()
    until(lambda: house.suspended() == set(), 2, what="nothing is in force")


def test_a_damaged_stop_file_stops_what_is_new_and_says_so(house):
    house.suspend("c000")
    (house.state / "stop.json").write_text("{")
    house.remember("c001")
    until(lambda: house.status()["held"], 3, what="the fault is shown")
    assert house.cut() == {"c000"}
    assert house.ask("resume", reason="looked at it")["exit"] == 0
    until(lambda: house.cut() == {"c000", "c001"}, 3, what="suspensions are possible again")


def test_restoring_by_hand_is_final_for_the_notice(house):
    house.suspend("c000", "c001")
    assert house.ask("restore", company="c000", reason="agreed by telephone")["exit"] == 0
    assert house.cut() == {"c001"}
    house.ask("reload")
    house.kill()
    house.start("enforce")
    house.heartbeat()
    assert house.cut() == {"c001"}
    assert house.events("measure.restored", "c000")[0].body["final"] is True


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)], ids=["an hour on", "an hour back"])
def test_a_clock_that_jumps_a_little_cuts_nobody_and_keeps_what_is_in_force(jump, house):
    house.suspend("c000")
    house.remember("c001")
    until(lambda: house.cut() == {"c000", "c001"}, 3, what="both are suspended")
    house.pay("c001")
    until(lambda: house.cut() == {"c000"}, 3, what="c001 is restored")
    house.set_clock(house.now() + jump)
    _some_cycles(house)
    assert house.cut() == {"c000"}
    assert [event.subject for event in house.events("order.suspend")] == ["c000", "c001"]


def test_a_clock_that_jumps_a_year_restores_by_duration_and_cuts_nobody(house):
    house.suspend("c000")
    house.set_clock(MONDAY + timedelta(days=365))
    until(lambda: house.cut() == set(), 3, what="the longest duration is over")
    _some_cycles(house)
    house.set_clock(MONDAY + timedelta(hours=1))
    _some_cycles(house)
    assert house.cut() == set()
    assert len(house.events("order.suspend")) == 1
    (restored,) = house.events("measure.restored")
    assert restored.body["final"] is True


def test_a_clock_that_jumps_a_year_back_leaves_no_lease_longer_than_one(house):
    house.suspend("c000")
    house.set_clock(MONDAY - timedelta(days=365))
    _some_cycles(house)
    counters = house.ask("explain", company="c000")["data"]["counters"]
    assert all(one["lease_seconds"] <= 240 * 60 for one in counters)
    assert len(house.events("order.suspend")) == 1


def _some_cycles(house: House) -> None:
    """Wait until the loop has looked around at least twice since now."""
    for _ in range(2):
        good = house.status()["kernel"]["last_good_cycle"]
        until(lambda good=good: house.status()["kernel"]["last_good_cycle"] != good, 5, what="a cycle")


def test_the_tests_accounts_exist():
    import pwd

    assert [pwd.getpwuid(uid).pw_name for uid in (CLAIRE, KARIM, STRANGER)] == ["daemon", "bin", "nobody"]
    assert os.geteuid() == 0

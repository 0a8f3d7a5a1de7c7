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
CLAIRE, KARIM, LEA, LOUIS, STRANGER = 1, 2, 3, 6, 65534
ROLES = {CLAIRE: ("Claire", "approver"), KARIM: ("Karim", "credit_officer"), LEA: ("Lea", "legal"), LOUIS: ("Louis", "legal")}
NAMED = "[" + ", ".join(f"{{name: {name}, user: {uid}, roles: [{role}]}}" for uid, (name, role) in ROLES.items()) + "]"


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


def test_an_override_of_two_persons_lets_a_check_pass_is_shown_and_can_be_taken_back(approving):
    case, until_ = "c000:N-c000", instant(approving.now() + timedelta(days=5))
    approving.ask_as(CLAIRE, "record", type="scope.changed", company="c000", body={"change": "CHG"})
    for person in (CLAIRE, KARIM):
        assert "G-25" in approving.ask_as(person, "approve", case=case, reason="checked")["message"]["en"]
    asked = {"case": case, "check": "G-25", "reason": "price list of 2 March", "expires_at": until_}
    assert refused(approving.ask_as(KARIM, "override", **asked))
    assert refused(approving.ask_as(STRANGER, "override", **asked))
    assert refused(approving.ask_as(CLAIRE, "override", **{**asked, "check": "G-12"}))
    told = approving.ask_as(CLAIRE, "override", **asked)
    assert "suspended" in told["message"]["en"], told
    assert approving.cut() == {"c000"}
    (shown,) = approving.ask_as(STRANGER, "explain", company="c000")["data"]["cases"]
    assert [(one["check"], one["by"], one["role"]) for one in shown["overrides"]] == [("G-25", "daemon", "approver")]
    assert shown["checks"][24]["reason"]["en"].startswith("lifted by daemon (price list of 2 March)")
    assert approving.ask_as(STRANGER, "revoke", case=case, check="G-25", reason="the customer objects")["exit"] == 0
    assert approving.ask_as(STRANGER, "explain", company="c000")["data"]["cases"][0]["overrides"] == []
    assert approving.cut() == {"c000"}  # asked at the moment of applying only


def test_a_change_of_scope_holds_a_case_until_a_person_looked_at_it(approving):
    approving.ask_as(CLAIRE, "record", type="scope.changed", company="c000", body={"change": "CHG"})
    for person in (CLAIRE, KARIM):
        approving.ask_as(person, "approve", case="c000:N-c000", reason="checked")
    assert approving.cut() == set()
    assert approving.ask_as(CLAIRE, "review", company="c000", change="CHG-other", reason="seen")["exit"] == 2
    assert refused(approving.ask_as(STRANGER, "review", company="c000", change="CHG", reason="seen"))
    assert "suspended" in approving.ask_as(KARIM, "review", company="c000", change="CHG", reason="seen")["message"]["en"]
    assert approving.cut() == {"c000"}


def test_a_court_order_restores_and_only_two_of_the_legal_role_end_it(approving):
    for person in (CLAIRE, KARIM):
        approving.ask_as(person, "approve", case="c000:N-c000", reason="checked")
    assert approving.cut() == {"c000"}
    recorded = approving.ask_as(
        CLAIRE, "record", type="court.order", company="c000", body={"decision": "TC-1", "effect": "restore"}
    )
    assert recorded["exit"] == 0, recorded
    until(lambda: approving.cut() == set(), 2, what="the court's word is done")
    said = {"company": "c000", "decision": "TC-1", "document": "CA 26/01234", "reason": "reversed on appeal"}
    assert refused(approving.ask_as(CLAIRE, "lift", **said))
    assert "second person" in approving.ask_as(LEA, "lift", **said)["message"]["en"]
    assert "second person" in approving.ask_as(LEA, "lift", **said)["message"]["en"]
    assert approving.ask_as(LOUIS, "lift", **said)["message"]["en"] == "decision TC-1 lifted"
    assert approving.cut() == set()  # the case ended with the order: it takes a new notice


def test_gentler_stages_are_waived_for_one_case_by_who_may_decide(make_house):
    house = make_house(firms(2), policy=policies(waive_gentler_stages=None), operators=NAMED)
    house.start("enforce")
    house.start("serve")
    (house.run / "operator.sock").chmod(0o666)
    house.heartbeat()
    until_ = instant(house.now() + timedelta(days=60))
    assert house.ask_as(CLAIRE, "approve_policy", policy="auto", reason="r", expires_at=until_)["exit"] == 0
    for company in ("c000", "c001"):
        _remember_as(house, CLAIRE, company)
    assert refused(house.ask_as(KARIM, "waive", case="c000:N-c000", stages=[2], reason="no hours to restrict"))
    assert house.ask_as(CLAIRE, "waive", case="c000:N-c000", stages=[4], reason="x")["exit"] == 2
    told = house.ask_as(CLAIRE, "waive", case="c000:N-c000", stages=[2], reason="no hours to restrict")
    assert "suspended" in told["message"]["en"], told
    assert house.cut() == {"c000"}
    assert house.ask("explain", company="c000")["data"]["cases"][0]["waived"]["stages"] == [2]


def test_only_who_may_decide_releases_the_breaker_and_standing_words_are_shown(approving):
    approving.post("heartbeat", "", {"open_invoices": 340})
    approving.post("heartbeat", "", {"open_invoices": 1})
    until(lambda: approving.status()["breaker"]["open"], 3, what="it is open")
    for person in (CLAIRE, KARIM):
        assert "breaker open" in approving.ask_as(person, "approve", case="c000:N-c000", reason="checked")["message"]["en"]
    assert refused(approving.ask_as(STRANGER, "release", reason="x"))
    assert refused(approving.ask_as(KARIM, "release", reason="x"))
    assert approving.ask_as(LEA, "release", reason="the source was split in two")["exit"] == 0
    until(lambda: approving.cut() == {"c000"}, 3, what="c000 is suspended")
    until_ = instant(approving.now() + timedelta(days=5))
    approving.ask_as(CLAIRE, "approve_policy", policy="auto", reason="r", expires_at=until_)
    (shown,) = approving.status()["standing"]
    assert (shown["policy"], shown["by"], shown["role"], shown["current"]) == ("auto", "daemon", "approver", True)
    assert approving.ask_as(STRANGER, "revoke_policy", policy="auto", reason="no")["exit"] == 0
    until(lambda: approving.status()["standing"] == [], 3, what="it is taken back")


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

    assert [pwd.getpwuid(uid).pw_name for uid in (CLAIRE, KARIM, LEA, LOUIS, STRANGER)] == ["daemon", "bin", "sys", "man", "nobody"]
    assert os.geteuid() == 0

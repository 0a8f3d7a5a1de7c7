"""What named persons may say, in which role, and that it counts exactly as long as it should. Over a store that is no ledger."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent import approvals, intake
from agent.approvals import Person
from agent.case import EMPTY_RECORD, Record, cases, fold, host_facts
from agent.errors import EventError, Refused
from agent.event import HOST, Event, instant, parse_body
from agent.gate import TABLE
from agent.model import Mode, Policy
from tests.process.house import MONDAY, history

CLAIRE = Person(user="claire", roles=frozenset({"approver"}))
PAUL = Person(user="paul", roles=frozenset({"credit_officer"}))
LEA = Person(user="lea", roles=frozenset({"legal"}))
LOUIS = Person(user="louis", roles=frozenset({"legal", "credit_officer"}))
OLGA = Person(user="olga", roles=frozenset({"operator"}))
NOBODY = Person(user="nobody")
EVERYBODY = (CLAIRE, PAUL, LEA, LOUIS, OLGA, NOBODY)

CASE = "za:N-za"
LATER = instant(MONDAY + timedelta(days=10))
POLICY = Policy(id="auto", profile="fr-b2b", mode=Mode.AUTO, digest="0" * 64)


@dataclass(kw_only=True)
class Memory:
    """A store in memory: what a console before it reaches the ledger would do."""

    at: datetime = MONDAY
    records: dict[str, Record] = field(default_factory=dict)
    kept: list[Event] = field(default_factory=list)

    def now(self) -> datetime:
        return self.at

    def record(self, subject: str) -> Record | None:
        return self.records.get(subject)

    def policy(self, name: str) -> Policy | None:
        return POLICY if name == POLICY.id else None

    def keep(self, type_: str, subject: str, body: Mapping[str, Any], person: Person, at: datetime) -> None:
        self.add(intake.by_operator(type_, subject, body, operator=person.user, occurred_at=at, now=at))

    def add(self, event: Event) -> None:
        self.kept.append(event)
        self.records[event.subject] = fold(self.records.get(event.subject, EMPTY_RECORD), event)

    def says(self, type_: str, subject: str, **body: Any) -> None:
        self.add(
            Event(
                id=f"{type_}:{len(self.kept)}", type=type_, subject=subject, occurred_at=self.at, received_at=self.at,
                source="billing", body=parse_body(type_, body),
            )
        )  # fmt: skip


@pytest.fixture
def store() -> Memory:
    built = Memory()
    for line in history("za"):
        said = json.loads(line)
        built.says(said["type"], "za", **said["data"])
    built.at += timedelta(minutes=1)
    return built


def case(store: Memory) -> Any:
    (found,) = cases("za", store.records["za"])
    return found


def allowed(act: Any) -> bool:
    try:
        act()
    except Refused:
        return False
    return True


@pytest.mark.parametrize("person", EVERYBODY, ids=lambda one: one.user)
def test_who_may_say_what(store: Memory, person: Person) -> None:
    store.says("scope.changed", "za", change="CHG")
    store.says("court.order", "za", decision="TC", effect="restore")
    store.says("breaker.opened", HOST, cause="a wave")
    deciding, approving = bool(person.roles & {"approver", "legal"}), bool(person.roles & {"approver", "legal", "credit_officer"})
    given = {"reason": "r"}
    found = {
        "approve": allowed(lambda: approvals.approve(store, person, case=CASE, **given)),
        "approve_policy": allowed(lambda: approvals.approve_policy(store, person, policy="auto", expires_at=LATER, **given)),
        "one person": allowed(lambda: approvals.override(store, person, case=CASE, check="G-26", expires_at=LATER, **given)),
        "two persons": allowed(lambda: approvals.override(store, person, case=CASE, check="G-05", expires_at=LATER, **given)),
        "nobody": allowed(lambda: approvals.override(store, person, case=CASE, check="G-12", expires_at=LATER, **given)),
        "waive": allowed(lambda: approvals.waive(store, person, case=CASE, stages=[2], **given)),
        "review": allowed(lambda: approvals.review(store, person, company="za", change="CHG", **given)),
        "lift": allowed(lambda: approvals.lift(store, person, company="za", decision="TC", document="d", **given)),
        "release": allowed(lambda: approvals.release(store, person, **given)),
        "void": allowed(lambda: approvals.void(store, person, case=CASE, cause="c", **given)),
        "revoke": allowed(lambda: approvals.revoke(store, person, case=CASE, **given)),
        "revoke_policy": allowed(lambda: approvals.revoke_policy(store, person, policy="auto", **given)),
        "revoke_override": allowed(lambda: approvals.revoke_override(store, person, case=CASE, check="G-05", **given)),
    }
    assert found == {
        "approve": approving,
        "approve_policy": approving,
        "one person": deciding,
        "two persons": approving,
        "nobody": False,
        "waive": deciding,
        "review": approving,
        "lift": "legal" in person.roles,
        "release": deciding,
        "void": bool(person.roles),
        "revoke": True,
        "revoke_policy": True,
        "revoke_override": True,
    }


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.code)
def test_an_override_is_taken_exactly_where_the_table_allows_one(store: Memory, row: Any) -> None:
    taken = allowed(lambda: approvals.override(store, CLAIRE, case=CASE, check=row.code, reason="r", expires_at=LATER))
    assert taken == (row.override != "no")
    assert [one.check for one in case(store).overrides] == ([row.code] if taken else [])


def test_a_person_speaks_in_the_weightiest_role_that_is_asked_for(store: Memory) -> None:
    approvals.approve(store, LOUIS, case=CASE, reason="r")
    assert [(one.by, one.role) for one in case(store).approvals] == [("louis", "legal")]


def test_what_takes_two_persons_says_so_until_the_second_one_spoke(store: Memory) -> None:
    def told(person: Person) -> str:
        return approvals.override(store, person, case=CASE, check="G-05", reason="r", expires_at=LATER)[1]

    assert "two persons" in told(PAUL)
    store.at += timedelta(seconds=1)
    assert "two persons" in told(PAUL)
    assert "recorded" in told(CLAIRE)


def test_words_that_are_taken_back_are_gone_and_others_stay(store: Memory) -> None:
    approvals.approve(store, CLAIRE, case=CASE, reason="r")
    for check in ("G-05", "G-26"):
        approvals.override(store, CLAIRE, case=CASE, check=check, reason="r", expires_at=LATER)
    store.at += timedelta(seconds=1)
    approvals.revoke_override(store, NOBODY, case=CASE, check="G-05", reason="r")
    assert [one.check for one in case(store).overrides] == ["G-26"]
    assert len(case(store).approvals) == 1
    approvals.revoke(store, NOBODY, case=CASE, reason="r")
    assert case(store).approvals == ()


def test_a_court_order_ends_by_two_persons_of_the_legal_role(store: Memory) -> None:
    store.says("court.order", "za", decision="TC", effect="restore")
    store.at += timedelta(seconds=1)
    said = {"company": "za", "decision": "TC", "document": "CA 26/1", "reason": "r"}
    assert "second person" in approvals.lift(store, LEA, **said)[1]
    assert "second person" in approvals.lift(store, LEA, **said)[1]
    assert [hold.kind for hold in case(store).holds] == ["court"]
    assert approvals.lift(store, LOUIS, **said)[1] == "decision TC lifted"
    assert case(store).holds == ()


def test_the_breaker_is_released_even_where_the_clock_went_back_behind_its_opening(store: Memory) -> None:
    store.says("breaker.opened", HOST, cause="a wave", cause_fr="une vague", kind="wave")
    store.at -= timedelta(hours=3)
    assert approvals.release(store, LEA, reason="r") == ("disjoncteur refermé (une vague)", "breaker released (a wave)")
    assert host_facts(store.records[HOST]).breaker_causes == ()
    with pytest.raises(Refused, match="not open"):
        approvals.release(store, LEA, reason="r")


@pytest.mark.parametrize(
    ("act", "field_"),
    [
        (lambda store: approvals.approve(store, CLAIRE, case="za:N-other", reason="r"), "case"),
        (lambda store: approvals.approve(store, CLAIRE, case=CASE, reason="r", expires_at="soon"), "expires_at"),
        (lambda store: approvals.approve_policy(store, CLAIRE, policy="other", reason="r", expires_at=LATER), "policy"),
        (lambda store: _dated(store, timedelta(days=367)), "expires_at"),
        (lambda store: _dated(store, timedelta(0)), "expires_at"),
        (lambda store: approvals.override(store, CLAIRE, case=CASE, check="G-28", reason="r", expires_at=LATER), "check"),
        (lambda store: approvals.override(store, CLAIRE, case="zb:N", check="G-26", reason="r", expires_at=LATER), "case"),
        (lambda store: _overridden(store, timedelta(days=91)), "expires_at"),
        (lambda store: _overridden(store, -timedelta(seconds=1)), "expires_at"),
        (lambda store: approvals.waive(store, CLAIRE, case=CASE, stages=[], reason="r"), "stages"),
        (lambda store: approvals.waive(store, CLAIRE, case=CASE, stages=[2, 4], reason="r"), "stages"),
        (lambda store: approvals.review(store, CLAIRE, company="za", change="CHG", reason="r"), "change"),
        (lambda store: approvals.lift(store, LEA, company="za", decision="TC", document="d", reason="r"), "decision"),
        (lambda store: approvals.void(store, CLAIRE, case="za:N-other", cause="c", reason="r"), "case"),
        (lambda store: approvals.approve(store, CLAIRE, case=CASE, reason="\0"), "reason"),
    ],
)
def test_what_can_not_count_is_not_kept_and_names_its_field(store: Memory, act: Any, field_: str) -> None:
    before = len(store.kept)
    with pytest.raises(EventError) as error:
        act(store)
    assert error.value.field == field_
    assert len(store.kept) == before


def _dated(store: Memory, after: timedelta) -> None:
    approvals.approve_policy(store, CLAIRE, policy="auto", reason="r", expires_at=instant(store.at + after))


def _overridden(store: Memory, after: timedelta) -> None:
    approvals.override(store, CLAIRE, case=CASE, check="G-26", reason="r", expires_at=instant(store.at + after))

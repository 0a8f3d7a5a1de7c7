"""The ledger: said once, chained, folded in the same commit, due when something changed."""

import hashlib
import json
import sqlite3
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.case import EMPTY_RECORD, fold
from agent.errors import EventError, LedgerCorrupt, LedgerUnwritable
from agent.event import HOST, Event, canonical
from agent.ledger import GENESIS, Counts, InForce, Settled
from agent.ledger.sqlite import Ledger

COLUMNS = "type, subject, occurred_at, received_at, source, body, salt, NULL, NULL, hash"

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def payment(number: int, company: str = "za", *, amount: str = "10.00") -> Event:
    return Event(
        id=f"bank:{number}",
        type="payment.received",
        subject=company,
        occurred_at=START + timedelta(minutes=number),
        received_at=START + timedelta(minutes=number, seconds=1),
        source="bank",
        body={"payment": f"P-{number}", "amount": amount, "currency": "EUR"},
    )


def loaded(number: int) -> Event:
    return Event(
        id=f"agent:{number}",
        type="policy.loaded",
        subject=HOST,
        occurred_at=START,
        received_at=START,
        source="agent",
        body={"digest": "d" * 64},
    )


def trusted(number: int) -> Event:
    return Event(
        id=f"op:{number}",
        type="standing_approval.given",
        subject=HOST,
        occurred_at=START,
        received_at=START,
        source="operator:claire",
        body={
            "policy": "standard",
            "policy_digest": "d" * 64,
            "by": "claire",
            "reason": "yearly review",
            "role": "approver",
            "expires_at": "2026-12-31T00:00:00.000000Z",
        },
    )


def measure(company: str, case: str = "case-1", lease_until: float = 5000.0) -> InForce:
    return InForce(company=company, case=case, order="order-1", services=("backup", "vpn"), lease_until=lease_until)


def settle(ledger: Ledger, company: str, *, next_at: float | None = None, basis: str = "b", held: bool = False) -> None:
    measures = (measure(company),) if held else ()
    plan = Settled(company=company, seq=ledger.head()[0], next_at=next_at, basis=basis, measures=measures)
    assert ledger.settle([plan]) == (True,)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger.open(path) as opened:
        yield opened


def tamper(path: Path, *statements: str) -> None:
    """What somebody with an SQLite shell and bad intent, or a broken disk, would do."""
    db = sqlite3.connect(path)
    for trigger in ("events_never_change", "events_never_go", "events_in_order"):
        db.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


# --- appending ----------------------------------------------------------------------------------------------------


def test_a_new_event_is_appended_and_a_known_id_is_not(ledger: Ledger) -> None:
    assert ledger.append([payment(1), payment(2), payment(1)]) == (True, True, False)
    assert ledger.append([payment(2), payment(3)]) == (False, True)
    assert [row.event for row in ledger.events()] == [payment(1), payment(2), payment(3)]
    assert [row.seq for row in ledger.events()] == [1, 2, 3]


def test_the_first_body_of_an_id_wins(ledger: Ledger) -> None:
    ledger.append([payment(1, amount="10.00")])
    assert ledger.append([payment(1, amount="99.00")]) == (False,)
    assert [row.event.body["amount"] for row in ledger.events()] == ["10.00"]


def test_appending_nothing_is_nothing(ledger: Ledger) -> None:
    assert ledger.append([]) == ()
    assert ledger.head() == (0, GENESIS)


def test_each_row_is_chained_to_the_one_before_as_documented(path: Path, ledger: Ledger) -> None:
    facts = [payment(1), payment(2, "zb"), loaded(1)]
    ledger.append(facts[:2])
    ledger.append(facts[2:])
    stored = sqlite3.connect(path).execute("SELECT body, salt FROM events ORDER BY seq").fetchall()
    last = bytes(32)
    for row, fact, (body, salt) in zip(ledger.events(), facts, stored, strict=True):
        whole = json.loads(canonical(fact))
        assert json.loads(body) == whole.pop("body")
        whole["commitment"] = hashlib.sha256(salt + body.encode()).hexdigest()
        last = hashlib.sha256(last + json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).digest()
        assert row.hash == last
    assert ledger.head() == (3, last)
    assert len({salt for _, salt in stored}) == 3


def test_what_was_appended_is_there_after_opening_again(path: Path) -> None:
    with Ledger.open(path) as first:
        first.append([payment(1), payment(2, "zb")])
        head = first.head()
    with Ledger.open(path) as second:
        assert second.head() == head
        assert second.append([payment(1)]) == (False,)
        assert second.verify() == 2


@pytest.mark.parametrize(
    "body",
    [{"reason": "\ud800"}, {"facts": {1, 2}}, {"sum": float("nan")}, {"facts": b"raw"}],
    ids=["half a surrogate pair", "a set", "not a number", "bytes"],
)
def test_a_body_that_is_no_json_text_is_refused_and_its_batch_with_it(ledger: Ledger, body: dict[str, object]) -> None:
    bad = Event(id="x", type="pause.set", subject=HOST, occurred_at=START, received_at=START, source="s", body=body)
    with pytest.raises(EventError, match="'x' can not be written as JSON text"):
        ledger.append([payment(1), bad])
    assert ledger.head() == (0, GENESIS)
    assert ledger.append([payment(1)]) == (True,)


def test_whatever_goes_wrong_within_a_batch_keeps_nothing_of_it(ledger: Ledger) -> None:
    stranger = Event(id="x", type="of.nobody", subject="za", occurred_at=START, received_at=START, source="s", body={})
    with pytest.raises(LookupError):
        ledger.append([payment(1), stranger])
    assert ledger.head() == (0, GENESIS)
    assert ledger.record("za") is None
    assert ledger.append([payment(1)]) == (True,)


def test_a_body_is_hashed_as_it_reads_back(ledger: Ledger) -> None:
    # Tuples and number keys change on their way through JSON; the chain must hold all the same.
    gate = {10: ("pass", "fail"), 9: ()}
    body = {"case": "c", "services": ("a", "b"), "gate": gate}
    ledger.append(
        [Event(id="x", type="case.proposed", subject="za", occurred_at=START, received_at=START, source="agent", body=body)]
    )
    assert ledger.verify() == 1
    assert [row.event.body["services"] for row in ledger.events()] == [["a", "b"]]


def test_events_are_told_in_order_by_subject_and_from_a_row_on(ledger: Ledger) -> None:
    ledger.append([payment(n, "za" if n % 3 else "zb") for n in range(1, 1203)])
    assert [row.seq for row in ledger.events()] == list(range(1, 1203))
    assert [row.seq for row in ledger.events(after=1200)] == [1201, 1202]
    assert [row.seq for row in ledger.events("zb")] == list(range(3, 1203, 3))
    assert [row.seq for row in ledger.events("zb", after=1194)] == [1197, 1200]
    assert list(ledger.events("nobody")) == []


def test_reading_goes_on_while_more_is_appended(ledger: Ledger) -> None:
    ledger.append([payment(n) for n in range(700)])
    seen = []
    for row in ledger.events():
        seen.append(row.seq)
        if row.seq % 350 == 0 and row.seq <= 700:
            ledger.append([payment(10_000 + row.seq)])
    assert seen == list(range(1, 703))


def test_threads_that_append_the_same_facts_keep_each_once(ledger: Ledger) -> None:
    new: list[bool] = []

    def say() -> None:
        for n in range(50):
            new.extend(ledger.append([payment(n)]))

    threads = [threading.Thread(target=say) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(new) == 50
    assert len(new) == 200
    assert ledger.verify() == 50


# --- records ------------------------------------------------------------------------------------------------------


def test_a_record_is_the_fold_of_what_was_said_about_the_subject(ledger: Ledger) -> None:
    facts = [payment(1), payment(2, "zb"), payment(3), payment(4)]
    ledger.append(facts)
    expected = EMPTY_RECORD
    for fact in (facts[0], facts[2], facts[3]):
        expected = fold(expected, fact)
    assert ledger.record("za") == expected
    assert ledger.record("nobody") is None


batches = st.lists(
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["za", "zb", HOST])), max_size=5).map(
        lambda pairs: [trusted(n) if who == HOST else payment(n, who) for n, who in pairs]
    ),
    max_size=6,
)


@given(batches)
@settings(max_examples=40, deadline=None)
def test_how_events_are_batched_changes_nothing_and_rebuilding_agrees(
    tmp_path_factory: pytest.TempPathFactory, given_: list[list[Event]]
) -> None:
    directory = tmp_path_factory.mktemp("ledger")
    with Ledger.open(directory / "batched.db") as batched, Ledger.open(directory / "single.db") as single:
        for batch in given_:
            together = batched.append(batch)
            one_by_one = tuple(single.append([event])[0] for event in batch)
            assert together == one_by_one
        assert [(row.seq, row.event) for row in batched.events()] == [(row.seq, row.event) for row in single.events()]
        assert len({row.event.id for row in batched.events()}) == batched.head()[0]
        records = {who: batched.record(who) for who in ("za", "zb", HOST)}
        assert records == {who: single.record(who) for who in ("za", "zb", HOST)}
        assert batched.verify() == batched.head()[0]
        assert batched.rebuild() == sum(record is not None for record in records.values())
        assert records == {who: batched.record(who) for who in ("za", "zb", HOST)}
        assert set(batched.due(0, "b", 10)) == {who for who in ("za", "zb") if records[who] is not None}


def test_rebuilding_mends_damaged_records_and_keeps_schedule_and_measures(path: Path, ledger: Ledger) -> None:
    ledger.append([payment(1), payment(2, "zb")])
    expected = ledger.record("za")
    settle(ledger, "za", next_at=9000.0, held=True)
    settle(ledger, "zb")
    other = sqlite3.connect(path)
    other.execute("UPDATE companies SET record = '{\"broken' WHERE company = 'za'")
    other.commit()
    other.close()
    with pytest.raises(LedgerCorrupt, match="the record of za is damaged"):
        ledger.record("za")
    assert ledger.rebuild() == 2
    assert ledger.record("za") == expected
    assert ledger.measures_of("za") == (measure("za"),)
    assert ledger.due(0, "b", 10) == ["za", "zb"]
    assert ledger.counts() == Counts(events=2, companies=2, measures=1)


def test_rebuilding_makes_no_record_of_what_bears_on_no_decision(ledger: Ledger) -> None:
    ledger.append([loaded(1)])
    assert ledger.rebuild() == 0
    assert ledger.record(HOST) is None


# --- verifying ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "bad"),
    [
        ("UPDATE events SET body = replace(body, '10.00', '11.00') WHERE seq = 4", 4),
        ("UPDATE events SET body = replace(body, ':', ': ') WHERE seq = 4", 4),
        ("UPDATE events SET body = 'not json' WHERE seq = 4", 4),
        ("UPDATE events SET body = '{\"x\":NaN}' WHERE seq = 4", 4),
        ("UPDATE events SET id = 'other' WHERE seq = 1", 1),
        ("UPDATE events SET type = 'heartbeat' WHERE seq = 5", 5),
        ("UPDATE events SET subject = 'zb' WHERE seq = 5", 5),
        ("UPDATE events SET source = 'mallory' WHERE seq = 5", 5),
        ("UPDATE events SET occurred_at = replace(occurred_at, 'T', ' ') WHERE seq = 6", 6),
        ("UPDATE events SET received_at = '' WHERE seq = 6", 6),
        ("UPDATE events SET hash = zeroblob(32) WHERE seq = 3", 3),
        ("UPDATE events SET hash = x'' WHERE seq = 8", 8),
        ("UPDATE events SET body = CAST(x'ff' AS TEXT) WHERE seq = 6", 6),
        ("DELETE FROM events WHERE seq = 1", 1),
        ("DELETE FROM events WHERE seq = 5", 5),
        ("DELETE FROM events WHERE seq BETWEEN 3 AND 6", 3),
        ("DELETE FROM events WHERE seq > 6", 7),
        ("UPDATE events SET seq = CASE seq WHEN 3 THEN -4 ELSE -3 END WHERE seq IN (3, 4)", 3),
    ],
)
def test_verifying_names_the_first_bad_row(path: Path, statement: str, bad: int) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 9)])
        assert ledger.verify() == 8
    tamper(path, statement, "UPDATE events SET seq = -seq WHERE seq < 0")
    with Ledger.open(path) as ledger, pytest.raises(LedgerCorrupt) as caught:
        ledger.verify()
    assert caught.value.seq == bad


def test_a_row_deleted_and_the_rest_numbered_again_shows(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 9)])
    tamper(path, "DELETE FROM events WHERE seq = 4", *(f"UPDATE events SET seq = {n - 1} WHERE seq = {n}" for n in range(5, 9)))
    with Ledger.open(path) as ledger, pytest.raises(LedgerCorrupt) as caught:
        ledger.verify()
    assert caught.value.seq == 4


def test_an_anchor_shows_a_tail_that_was_cut_off_with_everything_that_knew_of_it(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 9)])
        anchor = ledger.head()
    tamper(path, "DELETE FROM events WHERE seq > 6", "UPDATE companies SET seq = 6")
    with Ledger.open(path) as ledger:
        assert ledger.verify() == 6
        with pytest.raises(LedgerCorrupt) as caught:
            ledger.verify(anchor=anchor)
        assert caught.value.seq == 7
        ledger.append([payment(n) for n in range(20, 22)])
        with pytest.raises(LedgerCorrupt, match="written anew") as rewritten:
            ledger.verify(anchor=anchor)
        assert rewritten.value.seq == 8
        assert ledger.verify(anchor=ledger.head()) == 8
        assert ledger.verify(anchor=(0, GENESIS)) == 8


def test_verifying_tells_how_far_it_is(ledger: Ledger) -> None:
    ledger.append([payment(n) for n in range(1, 1202)])
    told: list[tuple[int, int]] = []
    assert ledger.verify(lambda done, total: told.append((done, total))) == 1201
    assert told[-1] == (1201, 1201)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_an_index_that_disagrees_with_its_table_is_found(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([payment(n) for n in range(1, 9)])
    db = sqlite3.connect(path)
    (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events_subject'").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    raw = bytearray(path.read_bytes())
    at = raw.index(b"za", (page - 1) * size, page * size)
    raw[at : at + 2] = b"zb"
    path.write_bytes(raw)
    with Ledger.open(path) as ledger, pytest.raises(LedgerCorrupt) as caught:
        ledger.verify()
    assert caught.value.seq == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET subject = 'zb'",
        "DELETE FROM events WHERE seq = 2",
        f"INSERT INTO events SELECT 9, 'new', {COLUMNS} FROM events WHERE seq = 1",
        f"INSERT OR REPLACE INTO events SELECT 1, 'new', {COLUMNS} FROM events",
        "UPDATE events SET body = NULL, salt = NULL, commitment = zeroblob(32), source = 'x'",
        "UPDATE events SET body = NULL, salt = NULL, commitment = x'00'",
        "UPDATE events SET body = NULL, commitment = zeroblob(32)",
    ],
)
def test_the_file_itself_refuses_to_change_its_events(path: Path, ledger: Ledger, statement: str) -> None:
    ledger.append([payment(1), payment(2)])
    other = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError):
        other.execute(statement)
    other.close()
    assert ledger.verify() == 2


# --- schedule and measures ----------------------------------------------------------------------------------------


def test_a_company_is_due_when_something_was_said_until_it_is_settled(ledger: Ledger) -> None:
    ledger.append([payment(1), payment(2, "zb")])
    assert sorted(ledger.due(0, "b", 10)) == ["za", "zb"]
    settle(ledger, "za")
    assert ledger.due(1e12, "b", 10) == ["zb"]
    ledger.append([payment(3)])
    assert sorted(ledger.due(0, "b", 10)) == ["za", "zb"]


def test_a_fact_said_twice_or_without_bearing_on_a_decision_makes_nobody_due(ledger: Ledger) -> None:
    ledger.append([payment(1)])
    settle(ledger, "za")
    ledger.append([payment(1)])
    again = payment(1)
    ledger.append(
        [
            Event(
                **{name: getattr(again, name) for name in ("type", "subject", "occurred_at", "body")},
                id="bank:z",
                received_at=START,
                source="bank",
            )
        ]
    )
    assert ledger.head()[0] == 2
    assert ledger.due(0, "b", 10) == []


def test_the_host_has_a_record_and_is_never_due(ledger: Ledger) -> None:
    ledger.append([trusted(1), loaded(1)])
    assert ledger.record(HOST) == fold(EMPTY_RECORD, trusted(1))
    assert ledger.due(1e12, "b", 10) == []
    assert ledger.counts() == Counts(events=2, companies=0, measures=0)


def test_a_company_is_due_when_its_time_has_come(ledger: Ledger) -> None:
    ledger.append([payment(1), payment(2, "zb")])
    settle(ledger, "za", next_at=100.0)
    settle(ledger, "zb", next_at=50.0)
    assert ledger.due(49.9, "b", 10) == []
    assert ledger.due(50.0, "b", 10) == ["zb"]
    assert ledger.due(100.0, "b", 10) == ["zb", "za"]


def test_a_company_is_due_when_the_basis_changed_either_way(ledger: Ledger) -> None:
    ledger.append([payment(1), payment(2, "zb"), payment(3, "zc")])
    for company, basis in (("za", "a"), ("zb", "b"), ("zc", "c")):
        settle(ledger, company, basis=basis)
    assert sorted(ledger.due(0, "b", 10)) == ["za", "zc"]


def test_those_with_a_measure_in_force_come_first(ledger: Ledger) -> None:
    names = [f"c{n:02}" for n in range(12)]
    ledger.append([payment(n, name) for n, name in enumerate(names)])
    for name in names:
        settle(ledger, name, next_at=10.0, held=name in ("c07", "c11"))
    assert ledger.due(10.0, "b", 3)[:2] == ["c07", "c11"]
    assert ledger.due(0.0, "other", 2) == ["c07", "c11"]
    ledger.append([payment(100, "c03"), payment(101, "c11")])
    assert ledger.due(0.0, "b", 10) == ["c11", "c03"]
    assert ledger.due(10.0, "b", 3) == ["c11", "c07", "c03"]
    assert len(ledger.due(10.0, "other", 100)) == 12
    assert ledger.due(10.0, "other", 0) == []
    assert [len(ledger.due(10.0, "other", limit)) for limit in range(14)] == [*range(13), 12]


def test_a_fact_that_came_meanwhile_keeps_the_company_due_and_its_measures_as_they_were(ledger: Ledger) -> None:
    ledger.append([payment(1), payment(2, "zb")])
    seq = ledger.head()[0]
    ledger.append([payment(3)])
    late = Settled(company="za", seq=seq, next_at=None, basis="b", measures=(measure("za"),))
    untouched = Settled(company="zb", seq=seq, next_at=None, basis="b", measures=(measure("zb"),))
    unknown = Settled(company="zz", seq=seq, next_at=None, basis="b", measures=(measure("zz"),))
    assert ledger.settle([late, untouched, unknown]) == (False, True, False)
    assert ledger.due(0, "b", 10) == ["za"]
    assert list(ledger.in_force()) == [measure("zb")]


def test_measures_are_replaced_company_by_company_and_counted(ledger: Ledger) -> None:
    ledger.append([payment(n, f"c{n:04}") for n in range(1100)])
    seq = ledger.head()[0]
    ledger.settle(
        [Settled(company=f"c{n:04}", seq=seq, next_at=None, basis="b", measures=(measure(f"c{n:04}"),)) for n in range(1100)]
    )
    assert ledger.counts() == Counts(events=1100, companies=1100, measures=1100)
    two = (measure("c0003", "case-1", 7.5), measure("c0003", "case-2"))
    ledger.settle(
        [
            Settled(company="c0003", seq=seq, next_at=None, basis="b", measures=two),
            Settled(company="c0004", seq=seq, next_at=None, basis="b"),
        ]
    )
    assert ledger.measures_of("c0003") == two
    assert ledger.measures_of("c0004") == ()
    assert ledger.counts().measures == 1100
    listed = [(m.company, m.case) for m in ledger.in_force()]
    assert listed == sorted(listed)
    assert len(listed) == 1100


def test_measures_of_companies_that_are_due_can_be_left_out(ledger: Ledger) -> None:
    names = ["calm", "fresh fact", "old basis", "time is up", "waits"]
    ledger.append([payment(n, name) for n, name in enumerate(names)])
    for name, next_at, basis in (
        ("calm", None, "b"),
        ("fresh fact", None, "b"),
        ("old basis", None, "a"),
        ("time is up", 100.0, "b"),
        ("waits", 100.5, "b"),
    ):
        settle(ledger, name, next_at=next_at, basis=basis, held=True)
    ledger.append([payment(9, "fresh fact")])
    assert [one.company for one in ledger.in_force()] == names
    left = [one.company for one in ledger.in_force_after("", now=100.0, basis="b", limit=10)]
    assert left == ["calm", "waits"]
    assert set(left) == set(names) - set(ledger.due(100.0, "b", 10))


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
def test_a_page_of_measures_never_cuts_a_company_in_two(ledger: Ledger, limit: int) -> None:
    ledger.append([payment(n, f"c{n}") for n in range(6)])
    seq = ledger.head()[0]
    every = [(measure(f"c{n}", "k1"), measure(f"c{n}", "k2"), measure(f"c{n}", "k3"))[: 1 + n % 3] for n in range(6)]
    ledger.settle(
        [Settled(company=f"c{n}", seq=seq, next_at=None, basis="b", measures=measures) for n, measures in enumerate(every)]
    )
    after, pages = "", []
    while page := ledger.in_force_after(after, now=0.0, basis="b", limit=limit):
        after = page[-1].company
        pages.append(page)
    assert [one for page in pages for one in page] == [one for measures in every for one in measures]
    assert all(set(page).isdisjoint(other) for page in pages for other in pages if page is not other)
    for page in pages:
        for company in {one.company for one in page}:
            assert [one for one in page if one.company == company] == list(ledger.measures_of(company))


def test_orders_are_told_from_a_moment_on(ledger: Ledger) -> None:
    def order(number: int) -> Event:
        body = {
            "order": f"o{number}",
            "case": "k",
            "services": ["backup"],
            "gate": {},
            "policy_digest": "",
            "lease_minutes": 240,
            "expires_at": "2026-04-01T00:00:00.000000Z",
        }
        at = START + timedelta(minutes=number)
        return Event(id=f"o{number}", type="order.suspend", subject="za", occurred_at=at, received_at=at, source="agent", body=body)

    ledger.append([order(3), payment(4), order(1), order(2), order(0)])
    assert ledger.ordered_since(START + timedelta(minutes=1)) == tuple(START + timedelta(minutes=n) for n in (1, 2, 3))
    assert ledger.ordered_since(START + timedelta(minutes=4)) == ()


def test_no_question_about_who_is_due_reads_a_whole_table(path: Path, ledger: Ledger) -> None:
    from agent.ledger.queries import DUE, EVENTS, EVENTS_ABOUT, MEASURES, MEASURES_OF, ORDERS, STANDING

    db = sqlite3.connect(path)
    for query in DUE:
        names = {"held": 1, "now": 0, "basis": "b", "limit": 1}
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", names)]
        assert len(plan) == 1
        assert plan[0].startswith("SEARCH companies USING"), plan
    for query, arguments in (
        (EVENTS, {"after": 1, "limit": 1}),
        (EVENTS_ABOUT, {"subject": "za", "after": 1, "limit": 1}),
        (MEASURES, {"company": "a", "case": "b", "limit": 1}),
        (MEASURES_OF, ("a",)),
        (ORDERS, ("2026",)),
    ):
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", arguments)]
        assert len(plan) == 1
        assert plan[0].startswith("SEARCH"), plan
    at = {"after": "a", "now": 0, "basis": "b", "limit": 1}
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {STANDING}", at)]
    assert [step.split(" (")[0] for step in plan] == [
        "SEARCH measures USING PRIMARY KEY",
        "SEARCH companies USING COVERING INDEX companies_standing",
    ], plan
    db.close()


def test_the_log_is_moved_into_the_file_when_told_to_and_loses_nothing(path: Path, ledger: Ledger) -> None:
    assert not ledger.tidy()
    for number in range(70):
        ledger.append([payment(number)])
    before = path.stat().st_size
    assert ledger.tidy()
    assert path.stat().st_size > before
    assert not ledger.tidy()
    with Ledger.open(path, read_only=True) as reader:
        assert reader.verify() == ledger.verify() == 70


# --- opening ------------------------------------------------------------------------------------------------------


def test_a_ledger_has_one_owner_and_any_number_of_readers(path: Path, ledger: Ledger) -> None:
    ledger.append([payment(1)])
    with pytest.raises(LedgerUnwritable, match=r"process \d+ owns this ledger"):
        Ledger.open(path)
    with Ledger.open(path, read_only=True) as one, Ledger.open(path, read_only=True) as two:
        ledger.append([payment(2)])
        assert [row.event.id for row in one.events()] == ["bank:1", "bank:2"]
        assert two.verify() == 2
    ledger.close()
    ledger.close()
    with Ledger.open(path) as next_owner:
        assert next_owner.append([payment(3)]) == (True,)


def test_a_reader_can_not_write(path: Path, ledger: Ledger) -> None:
    with Ledger.open(path, read_only=True) as reader:
        for write in (lambda: reader.append([payment(1)]), reader.rebuild, lambda: reader.settle([])):
            with pytest.raises(LedgerUnwritable, match="read-only"):
                write()
        assert not reader.writable()
    assert ledger.writable()
    assert ledger.head() == (0, GENESIS)


def test_nobody_else_may_read_the_files(path: Path, ledger: Ledger) -> None:
    ledger.append([payment(1)])
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["ledger.db", "ledger.db-shm", "ledger.db-wal", "ledger.db.lock"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    path.touch()
    path.chmod(0o644)
    with Ledger.open(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_commits_are_on_the_disk_before_they_count(ledger: Ledger) -> None:
    assert ledger._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    Ledger.open(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(LedgerUnwritable, match="schema 99"):
            Ledger.open(path, read_only=read_only)
    assert path.read_bytes() == before


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE photos (name)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(LedgerCorrupt, match="is not a ledger"):
        Ledger.open(path)
    assert path.read_bytes() == before
    path.write_bytes(b"no database at all, only some text" * 100)
    for read_only in (False, True):
        with pytest.raises(LedgerCorrupt, match="not a database"):
            Ledger.open(path, read_only=read_only)


def test_a_ledger_that_can_not_be_reached_says_where_and_how_to_mend_it(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnwritable, match=r"nowhere/ledger.db.lock: No such file or directory. Make the directory"):
        Ledger.open(tmp_path / "nowhere" / "ledger.db")
    with pytest.raises(LedgerUnwritable, match=r"ledger.db: unable to open database file. See that it exists"):
        Ledger.open(tmp_path / "ledger.db", read_only=True)
    (tmp_path / "link.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(LedgerUnwritable, match=r"link\.db"):
        Ledger.open(tmp_path / "link.db")
    assert not (tmp_path / "elsewhere.db").exists()


def test_a_failed_opening_gives_the_ownership_back(path: Path) -> None:
    path.write_bytes(b"x" * 4096)
    with pytest.raises(LedgerCorrupt):
        Ledger.open(path)
    path.unlink()
    with Ledger.open(path) as ledger:
        assert ledger.writable()


def test_a_closed_ledger_says_so(path: Path) -> None:
    ledger = Ledger.open(path)
    ledger.close()
    assert not ledger.writable()
    with pytest.raises(LedgerUnwritable, match="closed"):
        ledger.append([payment(1)])
    with pytest.raises(LedgerCorrupt, match="closed"):
        ledger.record("za")


def test_a_probe_of_the_disk_is_no_event(ledger: Ledger) -> None:
    head = ledger.head()
    assert ledger.writable()
    assert ledger.writable()
    assert ledger.head() == head
    assert json.loads(json.dumps(list(ledger.in_force()))) == []

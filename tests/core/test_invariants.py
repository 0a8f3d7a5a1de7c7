"""The invariants of the domain, INV-01 to INV-15, each as a property over generated companies, policies and histories.

Rules of this file: a property is named after its invariant and says it in words; nothing is replaced, what touches the kernel or
the ledger uses the memory kernel and a ledger on disk. How many examples ran is told at the end (`ECLUSE_EXAMPLES` multiplies).
"""

import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import wraps
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from agent.breaker import Load
from agent.case import cases
from agent.decide import IN_FORCE, Act
from agent.errors import ConfigError, LedgerCorrupt
from agent.event import Event
from agent.gateway import Gateway
from agent.host import ClockState
from agent.inforce import InForceRules
from agent.judge import Judgement
from agent.kernel.memory import MemoryKernel
from agent.ledger.sqlite import Ledger
from agent.metrics import EnforcerMetrics
from agent.model import Company, Mode, Policy
from agent.plan import plan
from agent.policy import BOUNDS, Loaded, MemoryInventory, load
from agent.proof import prove, prove_members
from agent.reconcile import settle
from agent.rules import Change, Element, Found, Key, Structure
from agent.ruleset import candidates, members, structure
from tests.core.histories import circumstances, companies, examples, favours, nows, policies, stories
from tests.core.packet_evaluator import NEVER_CUT, Packet, owed, selects, walk
from tests.core.stories import (
    POLICY,
    SERVICES,
    Story,
    at,
    company,
    folded,
    judgement_of,
    no_harder,
    ripe,
    site,
    standing,
    suspended,
    wanted,
)
from tests.core.strategies import TODAY, World, catalogues, classes, networks_of, shapes_of, storms, suspendable
from tests.core.strategies import companies as subscribers

LEASE_MS = 4 * 3600 * 1000

#: How many examples of each invariant ran.
RAN: Counter[str] = Counter()


def counted(test: Callable) -> Callable:
    """Count the examples of a property under the invariant in its name."""
    name = f"INV-{test.__name__.removeprefix('test_inv')[:2]}"

    @wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        RAN[name] += 1
        test(*args, **kwargs)

    return run


@pytest.fixture(scope="module", autouse=True)
def _told(request: pytest.FixtureRequest, record_testsuite_property: Callable[[str, object], None]) -> Iterator[None]:
    """Say at the end how many examples ran, on the terminal and in a report, if one is written."""
    yield
    line = ", ".join(f"{name} {count}" for name, count in sorted(RAN.items()))
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{sum(RAN.values())} examples of {len(RAN)} invariants: {line}")
    for name, count in RAN.items():
        record_testsuite_property(name, count)


def test_every_invariant_has_its_property_in_order() -> None:
    found = [name for name, value in vars(sys.modules[__name__]).items() if name.startswith("test_inv")]
    assert [name[8:10] for name in found] == [f"{number:02}" for number in range(1, 16)]
    assert all(vars(vars(sys.modules[__name__])[name]).get("is_hypothesis_test") for name in found)


#: Instants at which something is suspended or about to be, more often than by chance.
soon = st.one_of(nows, st.integers(0, 3 * 24 * 4).map(lambda quarter: at("2026-03-30 09:00") + timedelta(minutes=15 * quarter)))

#: Histories of which every second one has a measure in force.
running = st.one_of(stories(noise=2), st.just(suspended()), favours.map(lambda say: say(suspended())), st.just(ripe()))


@st.composite
def crowds(draw: st.DrawFn, least: int = 1) -> World:
    """Companies side by side, most of their services suspendable, and measures that name what they like."""
    catalogue = draw(catalogues(st.one_of(suspendable, suspendable, classes)))
    people = tuple(draw(subscribers(number, catalogue)) for number in range(draw(st.integers(least, 3))))
    named = st.lists(st.sampled_from((*sorted(catalogue), "unknown")), unique=True, min_size=1, max_size=5).map(tuple)
    return World(catalogue=catalogue, companies=people, measures={one.id: draw(named) for one in people})


# --- a kernel with companies in it -----------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Bench:
    """A memory kernel with the compiled and proven structure of a world, and what is suspended in it."""

    world: World
    built: Structure
    kernel: MemoryKernel
    seconds: list[float] = field(default_factory=lambda: [0.0])

    def want(self, company: Company, services: tuple[str, ...]) -> Change:
        """Bring one company to what is wanted, as the enforcer does: plan, proof, kernel."""
        catalogue = self.world.catalogue
        proven = prove(self.built, [], networks_of(self.world.companies), catalogue)
        elements = members(company, services, f"{company.id}:N1", LEASE_MS, catalogue, TODAY)
        keys = sorted({*candidates(company, catalogue), *(Key(set=one.set, key=one.key) for one in elements)})
        change = plan(wanted=elements, candidates=keys, observed=self.kernel.observe(self.built, keys), structure=self.built)
        prove_members(change.add, company, services, proven)
        self.kernel.apply(change)
        return change

    def dump(self) -> dict[str, dict[bytes, Found]]:
        """Every living member of every set."""
        return {one.name: dict(self.kernel.dump(one.name)) for one in self.built.sets}

    def verdict(self, packet: Packet) -> str:
        """What becomes of a packet now."""
        return walk(self.built, self.dump(), packet)


def bench(world: World) -> Bench:
    seconds = [0.0]
    built = structure(world.catalogue, shapes_of(world.companies))
    kernel = MemoryKernel(lambda: seconds[0])
    kernel.apply(Change(structure=built))
    return Bench(world=world, built=built, kernel=kernel, seconds=seconds)


def suspended_world(data: st.DataObject) -> Bench:
    """A world with the measures it names, reached in some order, with some restored again on the way."""
    found = bench(data.draw(crowds()))
    steps = [(one, found.world.measures.get(one.id, ())) for one in found.world.companies]
    steps += data.draw(st.lists(st.sampled_from([(one, ()) for one in found.world.companies]), max_size=1))
    for one, services in data.draw(st.permutations(steps)):
        found.want(one, services)
    return found


@given(data=st.data())
@examples(25)
@counted
def test_inv01_no_reachable_rule_set_affects_a_packet_within_one_site(data: st.DataObject) -> None:
    found = suspended_world(data)
    present = found.dump()
    places = [[place.prefix for place in one.attachments] for each in found.world.companies for one in each.sites]
    for packet in data.draw(storms(found.world, 60)):
        within = [nets for nets in places if any(packet.source in net for net in nets)]
        for nets in within:
            for target in nets:
                if target.version == packet.source.version:
                    local = replace(packet, destination=target.broadcast_address)
                    assert walk(found.built, present, local) == "accept", local


@given(data=st.data())
@examples(25)
@counted
def test_inv02_never_cut_classes_are_never_matched_in_either_family(data: st.DataObject) -> None:
    found = suspended_world(data)
    present = found.dump()
    guarded = [(one.id, s) for one in found.world.catalogue.values() if one.class_ in NEVER_CUT for s in one.selectors]
    narrowed = [
        (place.prefix, selector)
        for one in found.world.companies
        for each in one.subscriptions
        if each.class_ in NEVER_CUT
        for _, place in one.attachments()
        for selector in found.world.catalogue[each.service].selectors
    ]
    for packet in data.draw(storms(found.world, 60)):
        for _, selector in guarded:
            if selects(selector, packet.destination, packet.protocol, packet.destination_port):
                assert walk(found.built, present, packet) == "accept", packet
            if selector.prefix.version == packet.source.version:
                aimed = replace(packet, destination=selector.prefix.network_address)
                if selects(selector, aimed.destination, aimed.protocol, aimed.destination_port):
                    assert walk(found.built, present, aimed) == "accept", aimed
        for prefix, selector in narrowed:
            if packet.source in prefix and selects(selector, packet.destination, packet.protocol, packet.destination_port):
                mine = [one for one in found.world.companies if any(packet.source in p.prefix for _, p in one.attachments())]
                if len(mine) == 1:
                    assert walk(found.built, present, packet) == "accept", packet


# --- the enforcer on a ledger and a memory kernel ----------------------------------------------------------------------------


class WatchedKernel(MemoryKernel):
    """A memory kernel that asks the ledger, at each rule it is given, what stands there at that moment."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(lambda: 0.0)
        self.ledger = ledger
        self.added: list[tuple[Element, list[Event]]] = []

    def apply(self, change: Change) -> None:
        fresh = [one for one in change.add if one.key not in dict(self.dump(one.set))] if change.structure is None else change.add
        said = [row.event for row in self.ledger.events("za")] if fresh else []
        self.added += [(one, said) for one in fresh]
        super().apply(change)


@dataclass(kw_only=True)
class Informed(Gateway):
    """A gateway whose clock, feeds and register have just reported."""

    def look_around(self) -> None:
        super().look_around()
        now = self.now()
        clock = ClockState(at=now, synchronised=True, offset_ms=3, stepped=False)
        self.world = replace(
            self.world, clock=clock, insolvency_checked_at=now, feeds={"erp": now}, standing=standing(), load=Load(), paused=False
        )


@contextmanager
def gateway(now: list[datetime], mine: Company) -> Iterator[tuple[Gateway, WatchedKernel]]:
    """The enforcing side with one company of the stories, on a ledger in a directory of its own."""
    other = company("zz", "Zéphyr Zinc", sites=[site("nantes", prefix="10.99.0.0/24")])
    loaded = Loaded(services=SERVICES, policies={POLICY.id: POLICY}, companies={mine.id: mine, other.id: other}, digest="d" * 64)
    with tempfile.TemporaryDirectory() as directory, Ledger.open(Path(directory) / "ledger.db") as ledger:
        kernel = WatchedKernel(ledger)
        rules = InForceRules.compile(MemoryInventory(loaded), now[0])
        kernel.apply(Change(structure=rules.structure))
        yield (
            Informed(
                ledger=ledger,
                kernel=kernel,
                rules=rules,
                now=lambda: now[0],
                stop_path=Path(directory) / "stop",
                spare_stop_path=Path(directory) / "spare-stop",
                ceiling=Mode.AUTO,
                feeds=("erp",),
                metrics=EnforcerMetrics(),
            ),
            kernel,
        )


def enforced(data: st.DataObject, check: Callable[[Gateway, WatchedKernel, datetime], None]) -> None:
    """A history that reaches the enforcer bit by bit; it settles at several instants, and `check` looks at it after each."""
    mine, story = data.draw(companies), data.draw(stories(noise=2))
    instants = sorted({at("2026-03-30 09:30"), *data.draw(st.lists(nows, min_size=1, max_size=2))})
    told = [one for one in story.events if one.source != "agent"]
    now = [instants[0]]
    with gateway(now, mine) as (found, kernel):
        for instant in instants:
            now[0] = instant
            found.look_around()
            due = [one for one in told if one.occurred_at <= instant]
            found.ledger.append([*due, *Story(serial=9000 + instants.index(instant)).probed(instant.isoformat()).events])
            settle(found, "za")
            check(found, kernel, instant)
        event(f"rules added: {min(len(kernel.added), 1)}")


def standing_members(kernel: WatchedKernel, built: Structure) -> list[tuple[str, bytes, Found]]:
    return [(one.name, key, found) for one in built.sets for key, found in kernel.dump(one.name)]


@given(data=st.data())
@examples(12)
@counted
def test_inv03_each_rule_has_one_suspended_case_with_an_unexpired_order_and_a_place_of_its_debtor(data: st.DataObject) -> None:
    def check(found: Gateway, kernel: WatchedKernel, now: datetime) -> None:
        mine = found.rules.inventory.company("za")
        alive = {
            one.id: one.order
            for one in cases("za", found.record("za"))
            if one.order is not None and one.order.applied_at is not None and not one.closed and one.order.expires_at > now
        }
        own = {place.prefix.network_address.packed for _, place in mine.attachments()}
        for name, key, member in standing_members(kernel, found.rules.structure):
            assert member.case in alive, (name, member)
            assert key in own
            assert found.rules.proven.owners[name].service in alive[member.case].services
            assert 0 < member.expires_ms <= alive[member.case].lease_minutes * 60_000

    enforced(data, check)


@given(data=st.data())
@examples(12)
@counted
def test_inv04_every_check_passed_and_the_trace_was_in_the_ledger_before_the_rule(data: st.DataObject) -> None:
    def check(found: Gateway, kernel: WatchedKernel, now: datetime) -> None:
        for element, said in kernel.added:
            orders = [one for one in said if one.type == "order.suspend" and one.body["case"] == element.case]
            assert orders, "a rule without an order in the ledger"
            trace = orders[-1].body["gate"]["checks"]
            assert [one["code"] for one in trace] == [f"G-{number:02}" for number in range(1, 28)]
            assert {one["verdict"] for one in trace} == {"pass"}

    enforced(data, check)


# --- decisions -------------------------------------------------------------------------------------------------------------


@given(running, st.data())
@examples(80)
@counted
def test_inv05_what_is_applied_was_announced_and_not_before_the_announced_day(story: Story, data: st.DataObject) -> None:
    now = data.draw(soon)
    world = data.draw(circumstances(now))
    said: dict[str, list[dict]] = {}
    for one in story.events:
        if one.type == "notice.dispatched":
            said.setdefault(one.body["notice"], []).append(one.body["announces"])
    for one in judgement_of(story.record, now, **world).judged:
        if one.decision.act not in IN_FORCE:
            continue
        event(one.decision.act.value)
        announced = said[one.case.notice.id]
        event(f"stage {one.measure.effect.terms.stage}")
        services = one.measure.services
        assert all(set(services) <= set(each["services"]) - set(each.get("kept", ())) for each in announced)
        assert all(one.measure.effect.terms.stage <= each.get("stage", 3) for each in announced)
        for zone in {each.timezone for each in world["company"].sites}:
            here = now.astimezone(ZoneInfo(zone)).date()
            assert all(date.fromisoformat(each["earliest_on"]) <= here for each in announced)


def settled(story: Story, now: datetime) -> Story:
    """The same, and everything that was ever asked for is paid, in every currency."""
    owed: dict[str, Decimal] = {}
    for one in story.events:
        if one.type in {"invoice.issued", "invoice.overdue"}:
            owed[one.body["currency"]] = owed.get(one.body["currency"], Decimal(0)) + Decimal(one.body["amount"])
    for currency, amount in sorted(owed.items()):
        story = story.paid(str(amount), now.isoformat(), id_=f"ALL-{currency}", currency=currency)
    return story


@given(running, st.data())
@examples(50)
@counted
def test_inv06_full_payment_restores_from_any_state_without_a_person_and_at_any_hour(story: Story, data: st.DataObject) -> None:
    now = data.draw(soon)
    world = data.draw(circumstances(now))
    before = judgement_of(story.record, now, **world)
    after = judgement_of(settled(story, now).record, now, **world)
    event(f"in force before: {bool(wanted(before))}")
    assert not wanted(after)
    for one in after.judged:
        assert (one.decision.act is Act.RESTORE) == (one.case.order is not None)


def kept_only(judgement: Judgement) -> frozenset[tuple[str, str]]:
    """What stays suspended of what was ordered before."""
    return frozenset(
        (one.case.id, name)
        for one in judgement.judged
        if one.decision.act in (Act.KEEP, Act.LOWER)
        for name in one.measure.services
    )


@given(stories(noise=3) | st.just(Story()), st.data())
@examples(25)
@counted
def test_inv07_a_restore_is_idempotent_and_safe_in_any_state(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    world = data.draw(circumstances(now))
    once = story.by_hand(now.isoformat())
    twice = once.by_hand(now.isoformat()).by_hand((now - timedelta(seconds=1)).isoformat())
    first, second = judgement_of(once.record, now, **world), judgement_of(twice.record, now, **world)
    done = {one.case.id for one in first.judged if one.case.order is not None and one.case.order.ordered_at <= now}
    assert not {case for case, _ in wanted(first)} & done
    assert [(one.case.id, one.decision.act) for one in first.judged] == [(one.case.id, one.decision.act) for one in second.judged]
    found = suspended_world(data)
    for one in found.world.companies:
        found.want(one, ())
        assert found.want(one, ()).empty
        found.kernel.apply(Change(delete=candidates_in(found, one)))  # what is not there is no error
    assert not any(found.dump().values())


def candidates_in(found: Bench, one: Company) -> tuple[Key, ...]:
    sets = {each.name for each in found.built.sets}
    return tuple(key for key in candidates(one, found.world.catalogue) if key.set in sets)


@given(stories(noise=6), st.data())
@examples(20)
@counted
def test_inv08_facts_in_any_order_and_number_give_the_same_state_also_in_the_ledger(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    world = data.draw(circumstances(now))
    again = data.draw(st.lists(st.sampled_from(story.events), max_size=5))
    shuffled = data.draw(st.permutations([*story.events, *again]))
    assert folded(shuffled) == story.record
    assert judgement_of(folded(shuffled), now, **world) == judgement_of(story.record, now, **world)
    with tempfile.TemporaryDirectory() as directory, Ledger.open(Path(directory) / "ledger.db") as ledger:
        half = data.draw(st.integers(0, len(shuffled)))
        ledger.append(shuffled[:half])
        ledger.append(shuffled[half:])
        assert ledger.record("za") == story.record
        ledger.rebuild()
        assert ledger.record("za") == story.record


@given(running, st.lists(favours, min_size=1, max_size=3), st.data())
@examples(80)
@counted
def test_inv09_facts_in_the_customers_favour_never_increase_the_measure(story: Story, helps: list, data: st.DataObject) -> None:
    now = data.draw(soon)
    world = data.draw(circumstances(now))
    stood = judgement_of(story.record, now, **world)
    event(f"in force before: {sorted({one.measure.effect.terms.stage for one in stood.in_force()})}")
    for help_ in helps:
        story = help_(story)
        left = judgement_of(story.record, now, **world)
        event(f"stepped down: {any(one.decision.act is Act.LOWER for one in left.judged)}")
        assert no_harder(left, stood), story.events[-1]
        stood = left


@given(running, policies, st.data())
@examples(40)
@counted
def test_inv10_no_suspension_outlives_its_lease_with_network_billing_and_clock_faulty(
    story: Story, policy: Policy, data: st.DataObject
) -> None:
    now = data.draw(soon)
    ends = now + timedelta(minutes=data.draw(st.integers(1, 240)))
    broken = {"policy": policy, "clock": None, "feeds": {"erp": None}, "register": None, "leases": {"za:N1": ends, "za:N2": ends}}
    for minutes in data.draw(st.lists(st.integers(0, 300), min_size=2, max_size=3)):
        later = now + timedelta(minutes=minutes)
        judgement = judgement_of(story.record, later, **broken)
        for one in judgement.in_force():
            event("in force")
            assert one.decision.act in (Act.KEEP, Act.LOWER)
            assert later < one.decision.lease_until <= ends
            assert judgement.next_at is not None
            assert judgement.next_at <= ends
    found = suspended_world(data)  # and in the kernel, if nobody ever speaks to it again
    found.seconds[0] = LEASE_MS / 1000
    assert not any(found.dump().values())


@given(data=st.data())
@examples(20)
@counted
def test_inv11_suspending_one_company_changes_no_counter_rule_or_verdict_of_another(data: st.DataObject) -> None:
    found = bench(data.draw(crowds(least=2)))
    mine, *others = found.world.companies
    services = tuple(found.world.catalogue)
    for one in others:
        found.want(one, services)
    for name, held in found.dump().items():
        for key in held:
            found.kernel.count_refusal(Key(set=name, key=key))
    packets = [
        one
        for one in data.draw(storms(found.world, 60))
        if not owed(one, [mine], {mine.id: services}, found.world.catalogue, TODAY)
    ]
    before, verdicts = found.dump(), [found.verdict(one) for one in packets]

    def others_now() -> dict[str, dict[bytes, Found]]:
        return {name: {key: one for key, one in held.items() if one.case != f"{mine.id}:N1"} for name, held in found.dump().items()}

    found.want(mine, services)
    assert others_now() == before
    assert [found.verdict(one) for one in packets] == verdicts
    found.want(mine, ())
    assert found.dump() == before


# --- the journal, the loader, the limits ---------------------------------------------------------------------------------------


def tampered(data: st.DataObject, path: Path, rows: int) -> None:
    """Somebody with an SQLite shell edits, deletes or reorders some rows, and numbers the rest anew where that hides a gap."""
    db = sqlite3.connect(path)
    for trigger in ("events_never_change", "events_never_go", "events_in_order"):
        db.execute(f"DROP TRIGGER {trigger}")
    how = data.draw(st.sampled_from(["edit", "delete", "cut", "swap", "double"]))
    row = data.draw(st.integers(1, rows))
    event(how)
    if how == "edit":
        column = data.draw(st.sampled_from(["id", "type", "subject", "occurred_at", "received_at", "source", "body"]))
        text = db.execute(f"SELECT {column} FROM events WHERE seq = ?", (row,)).fetchone()[0]
        place = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from("09azAZ :").filter(lambda sign: sign != text[place]))
        db.execute(f"UPDATE events SET {column} = ? WHERE seq = ?", (text[:place] + other + text[place + 1 :], row))
    elif how in {"delete", "cut"}:
        db.execute("DELETE FROM events WHERE seq = ?" if how == "delete" else "DELETE FROM events WHERE seq >= ?", (row,))
        if data.draw(st.booleans()):
            for seq in range(row + 1, rows + 1):
                db.execute("UPDATE events SET seq = ? WHERE seq = ?", (seq - 1, seq))
    elif how == "swap":
        other = data.draw(st.integers(1, rows).filter(lambda number: number != row))
        for old, new in ((row, -1), (other, row), (-1, other)):
            db.execute("UPDATE events SET seq = ? WHERE seq = ?", (new, old))
    else:
        db.execute("UPDATE events SET body = (SELECT body FROM events AS o WHERE o.seq = ?) WHERE seq = ?", (row % rows + 1, row))
    db.commit()
    db.close()


@given(stories(noise=2), st.data())
@examples(20)
@counted
def test_inv12_an_edited_deleted_or_reordered_journal_row_is_detected(story: Story, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.db"
        with Ledger.open(path) as ledger:
            ledger.append(story.events)
            anchor = ledger.head()
            rows = list(ledger.events())
            assert ledger.verify(anchor=anchor) == len(rows)
        tampered(data, path, len(rows))
        try:
            with Ledger.open(path) as ledger:
                assume([(one.seq, one.event) for one in ledger.events()] != [(one.seq, one.event) for one in rows])
                with pytest.raises(LedgerCorrupt):
                    ledger.verify(anchor=anchor)
        except LedgerCorrupt:
            return  # it does not even open, or can not be read: that is detected too


@given(
    st.dictionaries(st.sampled_from(sorted(BOUNDS)), st.tuples(st.sampled_from(["low", "high"]), st.integers(-2, 2)), max_size=4)
)
@examples(50)
@counted
def test_inv13_a_policy_below_a_hard_floor_does_not_load(steps: dict[str, tuple[str, int]]) -> None:
    values = {name: getattr(BOUNDS[name], side) + step for name, (side, step) in steps.items()}
    outside = {name for name, value in values.items() if not BOUNDS[name].low <= value <= BOUNDS[name].high}
    rows = "".join(f"    {name}: {value}\n" for name, value in values.items())
    used = "    stages: [1, 2, 3, 4]\n    suspension_clause: art. 9\n"
    text = f"policies:\n  mine:\n    profile: fr-b2b\n    mode: auto\n    enforcement_point: provider\n{used}{rows}"
    event(f"outside: {bool(outside)}")
    if not outside:
        assert load({"policies.yaml": text}).policies["mine"].id == "mine"
        return
    with pytest.raises(ConfigError) as failed:
        load({"policies.yaml": text})
    said = " ".join(f"{one.code} {one.what}" for one in failed.value.problems)
    assert all(name in said for name in outside)


@given(data=st.data())
@examples(25)
@counted
def test_inv14_apply_and_restore_give_the_exact_rule_set_that_was_there_before(data: st.DataObject) -> None:
    found = suspended_world(data)
    mine = data.draw(st.sampled_from(found.world.companies))
    found.want(mine, ())
    before = found.dump(), found.kernel.observe(found.built)
    for services in data.draw(
        st.lists(st.sampled_from([tuple(found.world.catalogue), tuple(found.world.catalogue)[:1]]), max_size=3)
    ):
        found.want(mine, services)
    event(f"rules in between: {found.dump() != before[0]}")
    found.want(mine, ())
    assert (found.dump(), found.kernel.observe(found.built)) == before


@given(
    st.fixed_dictionaries(
        {
            "max_new_per_hour": st.integers(1, 3),
            "max_new_per_day": st.integers(1, 4),
            "canaries": st.integers(1, 3),
            "canary_minutes": st.sampled_from([1, 30, 120]),
            "max_share_of_companies": st.sampled_from([1, 40, 100, 100]),
        }
    ),
    st.lists(st.integers(1, 12), min_size=6, max_size=12),
)
@examples(12)
@counted
def test_inv15_new_suspensions_never_exceed_the_limits_of_any_period(limits: dict[str, int], gaps: list[int]) -> None:
    policy, record = replace(POLICY, **limits), ripe().record
    count, now = 5, at("2026-03-30 08:45")
    ordered: dict[int, datetime] = {}
    for gap in gaps:
        now += timedelta(minutes=5 * gap)
        for number in range(count):  # each asks at each instant, whoever is first
            load_now = Load(
                ordered=sorted(ordered.values()),
                companies=count,
                prefixes=count,
                cut_companies=len(ordered),
                cut_prefixes=len(ordered),
            )
            if number not in ordered:
                found = judgement_of(record, now, policy=replace(policy, max_share_of_prefixes=100), load=load_now)
                if found.judged[0].decision.act is Act.SUSPEND:
                    ordered[number] = now
    event(f"suspended: {len(ordered)}")
    times = sorted(ordered.values())
    for end in times:
        for span, limit in ((timedelta(hours=1), "max_new_per_hour"), (timedelta(days=1), "max_new_per_day")):
            assert sum(end - span < one <= end for one in times) <= limits[limit]
        before = [one for one in times if end - timedelta(days=1) < one < end]
        if len(before) >= limits["canaries"]:
            assert end >= before[limits["canaries"] - 1] + timedelta(minutes=limits["canary_minutes"])
    assert len(ordered) <= max(1, count * limits["max_share_of_companies"] / 100)

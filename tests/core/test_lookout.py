"""The enforcing side's eyes: what it asks over a real socket, what it makes of any answer, and what that does to a measure.

The probing role is a script here, so that it can be honest, wrong, silent or hostile; ledger, queue, gate and kernel in memory
are the real ones.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import alarm, channel
from agent.continuity import Hour, Past, Role, Sample, Seen, Sight, targets
from agent.continuity.baseline import hour_of
from agent.continuity.samples import read_question, write_answer
from agent.event import Event
from agent.lookout import LocalLookout, Pace, memory
from agent.model import Inventory, Probe
from agent.policy import MemoryInventory, load
from tests.core.hosts import LEASE, Host, in_memory
from tests.process.house import MONDAY, SERVICES, customers, firms, policies

pytestmark = pytest.mark.anyio

FAST = Pace(interval=0.05, trial=0.02, second=0.02, retry=0.02, tick=0.01, deadline=0.3, urgent=0.3)
ERP, NEIGHBOUR, ROUTER, LICENCES = "10.0.0.5", "10.0.1.5", "10.0.0.1", "192.0.2.53"
Reply = tuple[Mapping[str, Any], bytes]


def inventory(*, control: bool = True, dependency: bool = False) -> Inventory:
    """Two companies with an ERP each; the site of the first has a control, and may need something from elsewhere."""
    text = customers(firms(2))
    more = f', control: {{probe: icmp, address: "{ROUTER}"}}' if control else ""
    if dependency:
        more += f', dependencies: {{names: {{needed_by: erp, probe: dns, address: "{LICENCES}"}}}}'
    first, mark, rest = text.partition("port: 443}}")
    texts = {"services.yaml": SERVICES, "policies.yaml": policies(), "customers.yaml": first + mark + more + rest}
    return MemoryInventory(load(texts))


@dataclass(kw_only=True)
class Script:
    """The probing role. `silent`, `unable`: addresses that do not answer; `forged`: what to say instead of an honest answer."""

    silent: set[str] = field(default_factory=set)
    unable: set[str] = field(default_factory=set)
    ms: float = 1.0
    forged: Callable[[Mapping[str, Any], tuple[Probe, ...]], Reply] | None = None
    asked: int = 0

    async def answer(self, _peer: channel.Peer, header: dict[str, Any], body: bytes) -> Reply:
        self.asked += 1
        assert header["ask"] == "look"
        probes = read_question(body)
        if self.forged is not None:
            return self.forged(header, probes)
        return {"number": header["number"]}, write_answer([self.sample(probe) for probe in probes])

    def sample(self, probe: Probe) -> Sample:
        address = str(probe.address)
        seen = Seen.SILENT if address in self.silent else Seen.UNABLE if address in self.unable else Seen.ANSWERED
        return Sample(seen=seen, ms=self.ms if seen is Seen.ANSWERED else 0.0)


async def turns() -> None:
    """Let the loop finish what was hung up or cancelled, however busy the machine is."""
    for _ in range(20):
        await asyncio.sleep(0.002)


@dataclass(kw_only=True)
class Watched:
    """A host whose local applications are looked at."""

    host: Host
    script: Script
    lookout: LocalLookout = field(init=False)
    listener: channel.Listener | None = None
    task: "asyncio.Task[None] | None" = None

    @property
    def socket(self) -> Path:
        return self.host.directory / "run/probe.sock"

    def take(self, events: tuple[Event, ...]) -> None:
        """As the enforcer does."""
        self.host.ledger.append((*events, *alarm.alarms(self.host.gateway, events)))
        for event in events:
            self.host.queue.wake(event.subject)

    async def open(self) -> None:
        """The probing role begins to answer."""
        self.listener = await channel.listen(self.socket, self.script.answer)

    async def gone(self) -> None:
        """The probing role is killed. (First nobody can knock: asyncio drops a connection that it accepts while it closes.)"""
        if self.listener is not None:
            self.socket.unlink()
            await turns()
            await self.listener.close(grace=0)
            self.listener = None

    async def look(self) -> None:
        """Begin to look, as a process does that just started."""
        self.lookout = LocalLookout(
            self.host.gateway,
            socket=self.socket,
            pace=FAST,
            file=self.host.directory / "state/baseline.json",
            take=self.take,
            wake=lambda: None,
        )
        self.host.gateway.lookout = self.lookout
        self.task = asyncio.create_task(self.lookout.run())

    async def blink(self) -> None:
        """Stop looking; what was seen is kept."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    async def until(self, true: Callable[[], object], *, seconds: float = 10.0) -> None:
        """Work as the enforcer does until something is true."""
        async with asyncio.timeout(seconds):
            while True:
                self.host.work()
                if true():
                    return
                await asyncio.sleep(0.005)

    async def looks(self, more: int = 6) -> None:
        """Work until so many more questions were answered."""
        goal = self.script.asked + more
        await self.until(lambda: self.script.asked >= goal)

    def stated(self, type_: str, company: str = "c000") -> list[Event]:
        return [event for event in self.host.events(type_, company) if event.source == "agent"]

    def ripen(self, *companies: str) -> None:
        """Everything that leads to a suspension, with a preflight that somebody else stated."""
        self.host.let_act()
        self.host.remember(*(companies or ("c000",)))

    def lease(self) -> timedelta:
        (one,) = self.host.ledger.measures_of("c000")
        return timedelta(seconds=one.lease_until - self.host.clock.now.timestamp())


def seen_for(hours: int, rules: Inventory, path: Path, *, answered: float = 1.0) -> None:
    """A file of what a former process saw."""
    now = hour_of(MONDAY)
    past = Past(
        hours=tuple(Hour(at=now - n, looks=10**6, answered=int(answered * 10**6), ms=1.0) for n in range(hours, 0, -1)),
        at=now,
        looks=1,
        answered=1,
        times=(1.0,),
    )
    names = [(memory.name_of(company.id, target), past) for company in rules.companies() for target in targets(company)]
    memory.save(path, names, {}, MONDAY)


@asynccontextmanager
async def watched(directory: Path, *, hours: int = 48, answered: float = 1.0, **what: bool) -> AsyncIterator[Watched]:
    rules = inventory(**what)
    host = Host(directory=directory, inventory=rules)
    seen_for(hours, rules, directory / "state/baseline.json", answered=answered)
    built = Watched(host=host, script=Script())
    await built.open()
    await built.look()
    try:
        yield built
    finally:
        await built.blink()
        await built.gone()
        await turns()
        host.dies()


@asynccontextmanager
async def suspended(directory: Path, **what: bool) -> AsyncIterator[Watched]:
    """One company, suspended and confirmed."""
    async with watched(directory, **what) as one:
        one.ripen()
        await one.until(lambda: one.stated("measure.confirmed"))
        yield one


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def directory() -> Iterator[Path]:
    with in_memory() as place:
        yield place


# --- before -----------------------------------------------------------------------------------------------------------------


async def test_a_measure_begins_after_a_good_look_just_before_it_and_stays_once_one_after_it_was_good(directory: Path) -> None:
    async with watched(directory) as one:
        one.ripen()
        await one.until(one.host.cut)
        (order,) = one.stated("order.suspend")
        assert order.body["confirm_seconds"] == 25
        assert one.lease() == timedelta(seconds=25)
        (preflight,) = one.stated("preflight.done")
        assert preflight.body == {
            "result": "green",
            "baseline_hours": 24,
            "local_matches": 0,
            "applications": ["paris.control.site", "paris.erp"],
        }
        await one.until(lambda: one.stated("measure.confirmed"))
        await one.until(lambda: one.lease() == LEASE)
        assert one.host.cut() == {"c000"}


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"hours": 0}, "watched for 0 h, 24 h required"),
        ({"hours": 23}, "watched for 23 h, 24 h required"),
        ({"answered": 0.97}, "preflight red"),
    ],
)
async def test_without_a_steady_day_of_looks_nothing_is_suspended_whatever_others_state(
    directory: Path, what: dict[str, Any], says: str
) -> None:
    async with watched(directory, **what) as one:
        one.ripen()
        await one.until(lambda: one.stated("preflight.done"))
        one.host.say("preflight.done", "c000", {"result": "green", "baseline_hours": 500, "local_matches": 0}, id_="forged")
        await one.looks()
        _, judgement, _ = one.host.gateway.judge("c000", one.host.clock.now)
        assert says in next(check.en for check in judgement.judged[0].gate.checks if check.code == "G-19")
        assert one.host.cut() == set()
        assert one.stated("order.suspend") == []


@pytest.mark.parametrize("address", [ERP, ROUTER, LICENCES])
@pytest.mark.parametrize("how", ["silent", "unable"])
async def test_whatever_does_not_answer_just_before_keeps_the_measure_from_beginning(
    directory: Path, address: str, how: str
) -> None:
    async with watched(directory, dependency=True) as one:
        getattr(one.script, how).add(address)
        one.ripen()
        await one.until(lambda: one.stated("preflight.done"))
        assert one.stated("preflight.done")[-1].body["result"] == "red"
        await one.looks()
        assert one.host.cut() == set()
        getattr(one.script, how).clear()
        one.host.clock.pass_(timedelta(seconds=1))
        await one.until(lambda: one.stated("measure.confirmed"))


async def test_a_preflight_is_stated_when_it_changes_and_not_at_every_look(directory: Path) -> None:
    async with watched(directory, hours=3) as one:
        one.ripen()
        await one.until(lambda: one.stated("preflight.done"))
        await one.looks(20)
        assert len(one.stated("preflight.done")) == 1
        one.host.clock.pass_(timedelta(seconds=1))
        one.script.silent.add(ERP)
        await one.until(lambda: len(one.stated("preflight.done")) == 2)
        await one.looks(10)
        assert [event.body["result"] for event in one.stated("preflight.done")] == ["green", "red"]


async def test_nothing_is_stated_about_a_company_without_a_case(directory: Path) -> None:
    async with watched(directory) as one:
        one.script.silent.update({ERP, NEIGHBOUR})
        await one.looks(10)
        assert [event for event in one.host.events() if event.source == "agent"] == []


async def test_a_company_without_local_applications_waits_for_no_look(directory: Path) -> None:
    async with watched(directory) as one:
        assert one.lookout.sight("nobody") is Sight.NONE
        await one.looks(2)
        assert one.lookout.sight("nobody") is Sight.NONE
        assert list(one.lookout.about("nobody")) == []


# --- just after -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [ERP, LICENCES])
async def test_what_answered_before_and_not_after_is_rolled_back_marked_and_told_to_the_breaker(
    directory: Path, address: str
) -> None:
    async with watched(directory, dependency=True) as one:
        one.host.kernel.before_apply = lambda change: one.script.silent.add(address) if change.add else None
        one.ripen()
        await one.until(lambda: one.stated("measure.restored"))
        (restored,) = one.stated("measure.restored")
        assert (restored.body["final"], restored.body["cause"].partition(":")[0]) == (True, "G-19")
        (regressed,) = one.stated("local.regressed")
        assert regressed.body["regression"] in ("paris.erp", "paris.dependency.names")
        assert [event.body["kind"] for event in one.host.events("breaker.opened")] == ["local"]
        assert one.stated("measure.confirmed") == []
        assert one.host.cut() == set()


async def test_a_site_that_falls_silent_as_a_whole_just_then_confirms_nothing_and_the_measure_ends_by_itself(
    directory: Path,
) -> None:
    async with watched(directory) as one:
        one.host.kernel.before_apply = lambda change: one.script.silent.update({ERP, ROUTER}) if change.add else None
        one.ripen()
        await one.until(one.host.cut)
        await one.looks(10)
        assert one.stated("local.regressed") == one.stated("measure.confirmed") == []
        one.host.clock.pass_(timedelta(seconds=25))
        await one.until(lambda: not one.host.cut())
        (restored,) = one.stated("measure.restored")
        assert (restored.body["final"], restored.body["reason"]) == (False, "unconfirmed")


async def test_the_probing_role_dies_during_a_trial_and_service_comes_back_and_nothing_new_begins(directory: Path) -> None:
    async with watched(directory) as one:
        one.host.kernel.before_apply = lambda change: setattr(one.script, "forged", _hang_up)
        one.ripen()
        await one.until(one.host.cut)
        await one.gone()
        one.host.clock.pass_(timedelta(seconds=25))
        await one.until(lambda: one.stated("measure.restored"))
        assert one.stated("measure.restored")[0].body["reason"] == "unconfirmed"
        await one.until(lambda: one.lookout.sight("c000") is Sight.BLIND)
        one.host.clock.pass_(timedelta(minutes=2))
        one.host.beat("again")
        one.host.work()
        assert one.host.cut() == set()
        assert len(one.stated("order.suspend")) == 1
        one.script.forged, one.host.kernel.before_apply = None, lambda change: None
        await one.open()
        await one.until(lambda: one.lookout.sight("c000") is Sight.SEEN)


async def test_a_process_that_dies_during_a_trial_leaves_it_to_the_next_to_confirm(directory: Path) -> None:
    async with watched(directory) as one:
        one.host.kernel.before_apply = lambda change: setattr(one.script, "forged", _hang_up)
        one.ripen()
        await one.until(one.host.cut)
        await one.blink()
        one.host.restart()
        one.script.forged, one.host.kernel.before_apply = None, lambda change: None
        await one.look()
        one.host.beat("again")
        one.host.start()
        await one.until(lambda: one.stated("measure.confirmed"))
        await one.until(lambda: one.lease() == LEASE)
        assert len(one.stated("order.suspend")) == 1


# --- during -----------------------------------------------------------------------------------------------------------------


async def test_an_application_that_stops_during_a_measure_lifts_it_within_three_looks(directory: Path) -> None:
    async with suspended(directory) as one:
        await one.looks(10)
        one.script.silent.add(ERP)
        await one.until(lambda: one.stated("measure.restored"))
        (regressed,) = one.stated("local.regressed")
        assert regressed.body == {
            "regression": "paris.erp",
            "application": "erp",
            "reason": regressed.body["reason"],
        }
        assert [event.body["kind"] for event in one.host.events("breaker.opened")] == ["local"]


async def test_one_that_takes_much_longer_than_before_lifts_it_too(directory: Path) -> None:
    async with suspended(directory) as one:
        one.script.ms = 30.0
        await one.until(lambda: one.stated("measure.restored"))
        assert "30 ms, 1 ms before" in one.stated("local.regressed")[0].body["reason"]


async def test_a_dependency_that_stops_later_is_shown_and_lifts_nothing(directory: Path) -> None:
    async with suspended(directory, dependency=True) as one:
        one.script.silent.add(LICENCES)
        await one.looks(12)
        assert one.host.cut() == {"c000"}
        assert [line for line in one.lookout.status()["silent"] if "names" in line]


async def test_an_outage_of_the_whole_site_lifts_nothing_at_once_and_renews_nothing(directory: Path) -> None:
    async with suspended(directory) as one:
        await one.until(lambda: one.lease() == LEASE)
        one.script.silent.update({ERP, ROUTER})
        await one.until(lambda: one.lookout.sight("c000") is Sight.OUTAGE)
        await one.looks(20)
        assert one.stated("local.regressed") == []
        one.host.clock.pass_(LEASE - timedelta(minutes=10))
        one.host.beat("late")
        one.host.work()
        assert one.lease() == timedelta(minutes=10)
        one.script.silent.discard(ROUTER)  # the power is back, the ERP still starts
        await one.looks(20)
        assert one.stated("local.regressed") == []
        assert one.lookout.status()["outages"] == ["c000 paris"]
        one.script.silent.clear()
        await one.until(lambda: one.lookout.sight("c000") is Sight.SEEN)
        one.host.clock.pass_(timedelta(minutes=2))
        one.host.beat("later")
        await one.until(lambda: one.lease() == LEASE)


async def test_without_a_control_an_outage_counts_for_the_customer(directory: Path) -> None:
    async with suspended(directory, control=False) as one:
        one.script.silent.add(ERP)
        await one.until(lambda: one.stated("measure.restored"))


async def test_what_recovers_after_a_restore_is_said_once(directory: Path) -> None:
    async with suspended(directory) as one:
        one.script.silent.add(ERP)
        await one.until(lambda: one.stated("measure.restored"))
        await one.looks(10)
        assert one.stated("local.recovered") == []
        one.script.silent.clear()
        await one.until(lambda: one.stated("local.recovered"))
        await one.looks(10)
        assert [event.body for event in one.stated("local.recovered")] == [{"regression": "paris.erp"}]
        assert one.host.cut() == set()  # the case is closed: cutting again takes a new notice


async def test_a_regression_that_somebody_else_stated_is_not_ours_to_end(directory: Path) -> None:
    async with watched(directory) as one:
        one.ripen()
        one.host.say("local.regressed", "c000", {"regression": "paris.erp", "application": "erp"})
        await one.looks(12)
        assert one.stated("local.recovered") == []
        assert one.host.cut() == set()


async def test_nothing_is_added_to_the_baseline_during_a_measure(directory: Path) -> None:
    async with suspended(directory) as one:
        await one.looks(2)
        before = [row["baseline"] for row in one.lookout.about("c000")]
        one.host.clock.pass_(timedelta(hours=2))
        one.host.beat("late")
        await one.looks(20)
        assert [row["baseline"] for row in one.lookout.about("c000")] == before


async def test_a_ledger_that_takes_nothing_does_not_keep_a_regression_from_restoring(directory: Path) -> None:
    async with suspended(directory) as one:

        def take(events: tuple[Event, ...]) -> None:
            one.host.gateway.ledger_bad("full")
            one.host.gateway.keep_volatile(event for event in events if event.type == "local.regressed")

        one.lookout._take = take
        one.host.ledger.refuse(writes=True)
        one.script.silent.add(ERP)
        await one.until(lambda: not one.host.cut())
        one.host.ledger.refuse(writes=False)


# --- a probing role that lies -----------------------------------------------------------------------------------------------


def _hang_up(header: Mapping[str, Any], probes: tuple[Probe, ...]) -> Reply:
    raise ConnectionResetError


def _rows(*row: Any) -> Callable[[Mapping[str, Any], tuple[Probe, ...]], Reply]:
    return lambda header, probes: ({"number": header["number"]}, json.dumps([list(row)] * len(probes)).encode())


#: What a probing role can say that is not an honest answer, by name.
LIES: Mapping[str, Callable[[Mapping[str, Any], tuple[Probe, ...]], Reply]] = {
    "nothing": _hang_up,
    "no JSON": lambda header, probes: ({"number": header["number"]}, b"\xff\x00"),
    "another question's answer": lambda header, probes: ({"number": header["number"] + 1}, write_answer([GOOD] * len(probes))),
    "no number": lambda header, probes: ({}, write_answer([GOOD] * len(probes))),
    "too few looks": lambda header, probes: ({"number": header["number"]}, write_answer([GOOD] * (len(probes) - 1))),
    "too many looks": lambda header, probes: ({"number": header["number"]}, write_answer([GOOD] * (len(probes) + 1))),
    "orders": lambda header, probes: (
        {"number": header["number"], "type": "order.suspend", "company": "c001"},
        json.dumps([{"type": "order.suspend", "subject": "c001"}] * len(probes)).encode(),
    ),
    "an unknown word": _rows("suspend", 1.0, ""),
    "no time": _rows("answered", None, ""),
    "an endless time": _rows("answered", float("inf"), ""),
    "a time before": _rows("answered", -5.0, ""),
    "a refusal": lambda header, probes: ({"refused": "no"}, b""),
    "an error": lambda header, probes: ({"error": "x" * 5000}, b""),
    "that nothing can be told": _rows("unable", 0.0, "c001"),
    "that all is silent": _rows("silent", 0.0, "\x1b[31mc001"),
}
GOOD = Sample(seen=Seen.ANSWERED, ms=1.0)


@pytest.mark.parametrize("lie", LIES)
async def test_no_answer_but_a_good_look_lets_a_measure_begin(directory: Path, lie: str) -> None:
    async with watched(directory) as one:
        one.script.forged = LIES[lie]
        one.ripen()
        await one.looks(4)
        await asyncio.sleep(0.1)
        one.host.work()
        assert one.host.cut() == set()
        assert one.stated("order.suspend") == []


@pytest.mark.parametrize("lie", LIES)
async def test_no_answer_but_a_good_look_confirms_a_trial(directory: Path, lie: str) -> None:
    async with watched(directory) as one:
        one.host.kernel.before_apply = lambda change: setattr(one.script, "forged", LIES[lie])
        one.ripen()
        await one.until(lambda: one.stated("measure.applied"))
        await one.looks(4)
        one.host.clock.pass_(timedelta(seconds=25))
        await one.until(lambda: not one.host.cut())
        assert one.stated("measure.confirmed") == []


@pytest.mark.parametrize("lie", LIES)
async def test_no_answer_can_do_more_to_a_measure_in_force_than_lift_it(directory: Path, lie: str) -> None:
    async with suspended(directory) as one:
        await one.until(lambda: one.lease() == LEASE)
        before = one.host.elements()
        one.script.forged = LIES[lie]
        await one.looks(6)
        await asyncio.sleep(0.1)
        one.host.work()
        assert one.host.elements().items() <= before.items()
        one.host.clock.pass_(LEASE + timedelta(seconds=1))
        one.host.beat("late")
        await one.until(lambda: not one.host.cut())


async def test_a_role_that_calls_everything_good_cuts_nobody_who_is_not_ripe(directory: Path) -> None:
    async with watched(directory) as one:
        one.script.forged = _rows("answered", 0.0, "order.suspend c001")
        one.ripen("c000")
        await one.until(lambda: one.stated("measure.confirmed"))
        await one.looks(6)
        assert one.host.cut() == {"c000"}
        one.host.pay("c000")
        await one.until(lambda: not one.host.cut())
        await one.looks(6)
        assert one.host.cut() == set()


# --- what is kept, and what is told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"form": 9, "seen": {}}', b'{"form": 1, "seen": {"a": 7}}', b"\xff", b"[" * 99999]
)
def test_a_torn_file_is_a_baseline_that_begins_anew(directory: Path, content: bytes) -> None:
    path = directory / "baseline.json"
    path.write_bytes(content)
    assert memory.load(path) == {}


def test_what_was_seen_is_kept_over_a_restart_for_as_long_as_it_may_be_of_use(directory: Path) -> None:
    rules, path = inventory(), directory / "baseline.json"
    seen_for(48, rules, path)
    found = memory.load(path)
    assert {len(past.hours) for past in found.values()} == {48}
    memory.save(path, [], found, MONDAY + timedelta(days=60))
    assert memory.load(path) == found
    memory.save(path, [], found, MONDAY + timedelta(days=62))
    assert memory.load(path) == {}
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_address_is_another_thing_and_has_no_past(directory: Path) -> None:
    (first, _) = inventory().companies()
    names = {memory.name_of(first.id, target) for target in targets(first)}
    (other, _) = MemoryInventory(
        load(
            {"services.yaml": SERVICES, "policies.yaml": policies(), "customers.yaml": customers(firms(2)).replace(ERP, "10.0.0.6")}
        )
    ).companies()
    assert not names & {memory.name_of(other.id, target) for target in targets(other) if target.role is Role.APPLICATION}


async def test_a_reload_keeps_what_was_seen_and_looks_at_what_is_new(directory: Path) -> None:
    async with watched(directory) as one:
        await one.looks(4)
        assert len(one.lookout.about("c000")) == 2
        one.host.reload(inventory(dependency=True))
        assert one.lookout.sight("c000") in (Sight.SEEN, Sight.BLIND)
        await one.until(lambda: len(one.lookout.about("c000")) == 3)
        await one.until(lambda: all(row["state"] == "answered" for row in one.lookout.about("c000")))
        by_role = {row["role"]: row["baseline"] for row in one.lookout.about("c000")}
        assert by_role["application"]["hours"] == 24
        assert by_role["dependency"] is None


async def test_people_see_what_answers_and_what_does_not(directory: Path) -> None:
    async with watched(directory) as one:
        assert one.lookout.status()["up"] is False
        one.script.silent.add(ERP)
        await one.until(lambda: one.lookout.status()["states"] == {"answered": 2, "silent": 1, "unable": 0, "unseen": 0})
        told = one.lookout.status()
        assert (told["up"], told["companies"], told["targets"], told["silent"]) == (True, 2, 3, ["c000 paris.erp: silent"])
        rows = {row["name"]: row for row in one.lookout.about("c000")}
        assert rows["erp"]["state"] == "silent"
        assert rows["site"]["state"] == "answered"
        await one.gone()
        await one.until(lambda: not one.lookout.status()["up"])
        assert "nobody answers" in one.lookout.status()["why"]

"""Measures of every stage over the kernel in memory and a real ledger: what stands when, and how one follows another."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent import audit
from agent.leases import Lease, elements
from agent.model import Effect, Terms
from agent.policy.kinds import hours
from agent.rules import Change, Use
from tests.core.hosts import Died, Host, in_memory, inventory_of, run
from tests.core.stories import ANNEX, SERVICES, ZA, at
from tests.process.house import firms

CAP = {"stages": "[2, 3]", "waive_gentler_stages": None, "stage3_min_debt": 2500}
NIGHT = {"stages": "[2, 3]", "waive_gentler_stages": None, "effective_hours": "['mon-fri 20:00-07:00', 'sat-sun 00:00-24:00']"}
CASE = "c000:N-c000"


@contextmanager
def gateway(**values: object) -> Iterator[Host]:
    with in_memory() as directory:
        built = Host(directory=directory, inventory=inventory_of(firms(2), **values))
        built.start()
        yield built
        built.dies()


def waive(host: Host, stage: int = 2) -> None:
    told = {"case": CASE, "stages": [stage], "by": "lea", "reason": "not offered", "role": "legal"}
    host.say("stage.waived", "c000", told, id_=f"waived-{stage}")


def begin(host: Host) -> None:
    host.let_act()
    host.remember("c000")
    host.work()


def uses(host: Host) -> set[str]:
    """The kinds of set in which something of c000 stands, with the rate of a cap."""
    found = set()
    for members in host.gateway.rules.structure.sets:
        for _, member in host.kernel.dump(members.name):
            assert member.case.startswith("c000:")
            found.add(members.use.value + (f" {member.kbit}" if member.kbit else ""))
    return found


CAPPED = {"cap_to 512", "cap_from 512"}
REFUSED = {"refuse"}


def later(host: Host, when: str) -> None:
    """Go on to a civil time in Paris, and look around every quarter of an hour on the way."""
    end = at(when)
    while host.clock.now < end:
        host.clock.pass_(min(timedelta(minutes=30 if end - host.clock.now > timedelta(days=1) else 15), end - host.clock.now))
        host.beat(host.clock.now.isoformat())
        host.work()


def types(host: Host) -> list[str]:
    return [
        one.type
        for one in host.events(subject="c000")
        if one.type.startswith(("order.", "measure.")) and one.type != "measure.confirmed"
    ]


# --- stages in the kernel ------------------------------------------------------------------------------------------------------


def test_a_cap_is_in_the_kernel_in_both_directions_and_refuses_nothing():
    with gateway(**CAP) as host:
        begin(host)
        assert uses(host) == CAPPED
        (order,) = host.events("order.suspend")
        assert (order.body["stage"], order.body["kbit"]) == (2, 512)
        assert host.events("measure.applied")[0].body["stage"] == 2
        host.pay("c000")
        host.work()
        assert uses(host) == set()


def test_notice_only_is_ordered_applied_and_restored_with_nothing_in_the_kernel():
    with gateway(stages="[1, 3]") as host:
        begin(host)
        assert types(host) == ["order.suspend", "measure.applied"]
        assert host.events("measure.applied")[0].body["elements"] == 0
        assert uses(host) == set()
        host.pay("c000")
        host.work()
        assert types(host)[-1] == "measure.restored"


def test_a_partial_payment_steps_down_in_one_change_that_is_in_the_kernel_before_it_is_in_the_ledger():
    with gateway(**CAP) as host:
        host.let_act()
        host.remember("c000")
        waive(host)
        host.work()
        assert uses(host) == REFUSED
        changes = len(host.kernel.changes)
        recorded: list[int] = []
        host.kernel.before_apply = lambda change: recorded.append(len(host.events("measure.lowered")))
        host.pay("c000", "3000")
        host.work()
        assert uses(host) == CAPPED
        (change,) = host.kernel.changes[changes:]
        assert change.add
        assert change.delete
        assert recorded == [0]
        (lowered,) = host.events("measure.lowered")
        assert (lowered.body["stage"], lowered.body["kbit"]) == (2, 512)
        assert types(host) == ["order.suspend", "measure.applied", "measure.lowered"]
        assert host.work() == []


def test_a_step_down_happens_while_the_ledger_takes_no_writes_and_is_recorded_when_it_does():
    with gateway(**CAP) as host:
        host.let_act()
        host.remember("c000")
        waive(host)
        host.work()
        host.pay("c000", "3000")
        host.ledger.refuse(writes=True)
        host.work()
        assert uses(host) == CAPPED
        assert host.events("measure.lowered") == []
        host.ledger.refuse(writes=False)
        host.gateway.catch_up()
        host.queue.forgive()
        host.work()
        assert len(host.events("measure.lowered")) == 1
        assert uses(host) == CAPPED


@pytest.mark.parametrize("effect", range(10))
def test_who_dies_anywhere_in_a_step_down_leaves_it_to_the_next_and_never_cuts_more(effect: int):
    with gateway(**CAP) as host:
        host.let_act()
        host.remember("c000")
        waive(host)
        host.work()
        host.pay("c000", "3000")
        host.fate.left, host.fate.seen = effect, 0
        try:
            host.work()
        except Died:
            assert uses(host) in (REFUSED, CAPPED)
            host.fate.left = None
            host.restart()
            host.start()
        assert uses(host) == CAPPED
        assert len(host.events("measure.lowered")) == 1


def test_an_escalation_takes_over_in_one_change_and_leaves_no_false_repair():
    with gateway(**CAP) as host:
        begin(host)
        assert uses(host) == CAPPED
        second_notice(host)
        changes = len(host.kernel.changes)
        later(host, "2026-04-20 09:01")
        assert uses(host) == REFUSED
        (change,) = [one for one in host.kernel.changes[changes:] if one.delete]
        assert change.add
        assert change.delete
        assert [one.body.get("stage") for one in host.events("order.suspend")] == [2, 3]
        assert host.events("measure.repaired") == []
        # paid in part: the case of the second notice steps down to the cap, which the first one still has
        host.pay("c000", "3000")
        host.work()
        assert uses(host) == CAPPED
        host.say("payment.received", "c000", {"payment": "rest", "amount": "1800", "currency": "EUR"}, id_="rest")
        host.work()
        assert uses(host) == set()
        assert host.events("measure.repaired") == []


def second_notice(host: Host) -> None:
    """A notice of stage 3 for the same invoice, sent on Wednesday 1 April, suspendable from Monday 20 April."""

    def said(type_: str, when: str, body: dict[str, Any]) -> None:
        later(host, when)
        host.say(type_, "c000", body, id_=f"{type_}:N2")

    announces = {"services": ["shared-documents", "vpn"], "earliest_on": "2026-04-20", "stage": 3, "kept": ["portal", "dns"]}
    states = ["sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore"]
    reminders = [f"R{n}-c000" for n in (1, 2, 3)]
    notice = {"notice": "N2", "channel": "lrar", "invoices": ["F-c000"], "reminders": reminders, "announces": announces}
    said("notice.dispatched", "2026-04-01 09:00", notice | {"states": states})
    said("notice.delivered", "2026-04-02 09:00", {"notice": "N2", "proof": "AR"})
    said("warning.sent", "2026-04-15 09:00", {"warning": "W2", "notice": "N2", "channel": "email"})
    said("preflight.done", "2026-04-20 00:30", {"result": "green", "baseline_hours": 48, "local_matches": 0})


# --- hours ---------------------------------------------------------------------------------------------------------------------


def test_a_restriction_to_hours_is_applied_by_day_with_nothing_in_the_kernel_and_switches_by_itself():
    with gateway(**NIGHT) as host:
        begin(host)
        assert types(host) == ["order.suspend", "measure.applied"]
        assert uses(host) == set()
        later(host, "2026-03-30 19:59:59")
        assert uses(host) == set()
        later(host, "2026-03-30 20:00")
        assert uses(host) == REFUSED
        later(host, "2026-03-31 06:59:59")
        assert uses(host) == REFUSED
        later(host, "2026-03-31 07:00")
        assert uses(host) == set()
        switched = [(one.occurred_at, one.body["in_effect"]) for one in host.events("measure.switched")]
        assert switched == [(at("2026-03-30 20:00"), True), (at("2026-03-31 07:00"), False)]
        assert host.events("measure.repaired") == []


def test_rules_of_the_night_end_in_the_kernel_when_the_night_does_even_if_nobody_is_there():
    with gateway(**NIGHT) as host:
        begin(host)
        later(host, "2026-03-31 06:30")
        assert uses(host) == REFUSED
        left = at("2026-03-31 07:00") - host.clock.now
        host.clock.kernel += left.total_seconds() - 0.001
        assert uses(host) == REFUSED
        host.clock.kernel += 0.001
        assert uses(host) == set()


def test_who_starts_by_day_loads_nothing_and_who_starts_at_night_loads_what_ends_with_it():
    with gateway(**NIGHT) as host:
        begin(host)
        host.restart()
        host.start()
        assert uses(host) == set()
        later(host, "2026-03-30 22:00")
        host.kernel.apply(Change(remove_table=True))
        host.restart()
        host.start()
        assert uses(host) == REFUSED
        ends = [member.expires_ms for one in host.gateway.rules.structure.sets for _, member in host.kernel.dump(one.name)]
        assert all(0 < each <= 9 * 3600 * 1000 for each in ends)


def test_an_audit_adds_nothing_by_day_and_puts_back_at_night_what_somebody_took_away():
    with gateway(**NIGHT) as host:
        begin(host)
        assert run(audit.audit(host.gateway)).wanted == 0
        later(host, "2026-03-30 21:00")
        gone = next(iter(host.elements()))
        host.kernel.apply(Change(delete=tuple(key for key in _keys(host) if (key.set, key.key) == gone)))
        assert run(audit.audit(host.gateway)).repaired == 1
        assert gone in host.elements()


def _keys(host: Host) -> Any:
    return host.gateway.candidates(host.inventory.company("c000"))


def test_a_payment_at_night_restores_at_once():
    with gateway(**NIGHT) as host:
        begin(host)
        later(host, "2026-03-31 03:00")
        host.pay("c000")
        host.work()
        assert uses(host) == set()
        assert types(host)[-1] == "measure.restored"


# --- draining ------------------------------------------------------------------------------------------------------------------


def test_open_connections_drain_once_and_not_again_when_the_lease_is_renewed_or_the_table_put_back():
    with gateway(drain_minutes=10) as host:
        begin(host)
        assert uses(host) == {"refuse", "drain"}
        assert host.events("order.suspend")[0].body["drain_seconds"] == 600
        host.clock.pass_(timedelta(minutes=4))
        host.kernel.apply(Change(remove_table=True))
        host.restart()
        host.start()
        assert uses(host) == {"refuse", "drain"}
        ends = [
            m.expires_ms for one in host.gateway.rules.structure.sets if one.use is Use.DRAIN for _, m in host.kernel.dump(one.name)
        ]
        assert all(each <= 6 * 60_000 for each in ends)
        later(host, "2026-03-30 14:00")
        assert uses(host) == REFUSED
        assert host.events("measure.repaired", subject="c000") == []


# --- several measures on one service --------------------------------------------------------------------------------------------


NOW = at("2026-03-31 10:00")
SETS = {f"{name}4{use}_24" for name in ("reporting", "shared-documents", "vpn") for use in ("", "u", "d", "o")}


def lease(
    case: str, effect: Effect, *, minutes: int = 60, since: datetime | None = None, services: tuple[str, ...] = ("vpn",)
) -> Lease:
    return Lease(case=case, services=services, until=NOW + timedelta(minutes=minutes), effect=effect, since=since or NOW)


STRONG, SLOW, SLOWER = Effect(), Effect(terms=Terms(stage=2, kbit=512)), Effect(terms=Terms(stage=2, kbit=256))
NIGHTLY = Effect(terms=Terms(stage=2), hours=(hours("mon-fri 20:00-07:00"),))
DRAINED = Effect(terms=Terms(drain_ms=600_000))


@pytest.mark.parametrize(
    ("leases", "expected"),
    [
        ([lease("b", STRONG), lease("a", SLOW)], {("vpn4_24", "b")}),
        ([lease("a", SLOW), lease("b", SLOWER)], {("vpn4u_24", "b"), ("vpn4d_24", "b")}),
        ([lease("b", STRONG), lease("a", STRONG)], {("vpn4_24", "a")}),
        ([lease("a", Effect(terms=Terms(stage=1))), lease("b", SLOW)], {("vpn4u_24", "b"), ("vpn4d_24", "b")}),
        # while open connections finish, whoever was capped stays so
        ([lease("b", DRAINED), lease("a", SLOW)], {("vpn4_24", "b"), ("vpn4o_24", "b"), ("vpn4u_24", "a"), ("vpn4d_24", "a")}),
        ([lease("b", DRAINED, since=NOW - timedelta(minutes=10)), lease("a", SLOW)], {("vpn4_24", "b")}),
        # a measure that is out of its hours leaves the next one its place
        ([lease("b", NIGHTLY), lease("a", SLOW)], {("vpn4u_24", "a"), ("vpn4d_24", "a")}),
        # one that ends within the second does not begin
        ([lease("b", STRONG, minutes=0)], set()),
    ],
)  # fmt: skip
def test_of_several_measures_on_one_service_the_strongest_that_is_in_effect_counts(leases: list[Lease], expected: set[Any]):
    assert {(one.set, one.case) for one in elements(ZA, leases, SERVICES, SETS, NOW)} == expected


@pytest.mark.parametrize("effect", [SLOW, DRAINED])
def test_what_can_not_stand_as_it_was_ordered_does_not_stand(effect: Effect):
    plain = {name for name in SETS if name.removesuffix("_24")[-1] == "4"}
    assert elements(ZA, [lease("a", effect)], SERVICES, plain, NOW) == ()
    assert elements(ZA, [lease("a", STRONG, services=ANNEX)], SERVICES, plain, NOW) != ()


def test_nothing_is_wanted_of_a_company_without_a_site():
    assert elements(replace(ZA, sites=()), [lease("a", STRONG)], SERVICES, SETS, NOW) == ()

"""Facts to kernel and back, over the kernel in memory and a real ledger: what is done, in which order, and what is left."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from agent import audit, stopfile
from agent.errors import KernelError, LedgerUnwritable
from agent.event import HOST, Event
from agent.kernel.memory import MemoryKernel
from agent.reconcile import settle
from agent.rules import Change, Key
from tests.core.hosts import LEASE, Died, Host, forge, in_memory, inventory_of, run
from tests.process.house import SERVICES, firms


@pytest.fixture
def host() -> Iterator[Host]:
    """Four companies, none suspended, the process started."""
    with in_memory() as directory:
        built = Host(directory=directory, inventory=inventory_of(firms(4)))
        built.start()
        yield built
        built.dies()


# --- in which order ----------------------------------------------------------------------------------------------------------


def test_an_order_is_in_the_ledger_before_its_first_rule_is_in_the_kernel(host):
    orders: list[int] = []
    host.kernel.before_apply = lambda change: orders.append(len(host.events("order.suspend"))) if change.add else None
    host.suspend("c000", "c001")
    assert orders == [1, 2]


def test_a_restore_is_in_the_kernel_before_it_is_in_the_ledger(host):
    host.suspend("c000")
    seen: list[int] = []
    host.kernel.before_apply = lambda change: seen.append(len(host.events("measure.restored"))) if change.delete else None
    host.pay("c000")
    host.work()
    assert seen == [0]
    assert len(host.events("measure.restored")) == 1


def test_what_is_recorded_as_applied_says_how_many_elements_stand(host):
    host.suspend("c000")
    (applied,) = host.events("measure.applied")
    assert applied.body["elements"] == 4
    assert applied.body["services"] == ["shared-documents", "vpn"]


def test_settling_what_is_settled_changes_nothing_and_says_nothing(host):
    host.suspend("c000", "c001")
    changes, events = len(host.kernel.changes), len(host.events())
    for company in ("c000", "c001", "c002", "nobody"):
        assert not settle(host.gateway, company).changed
    assert host.work() == []
    assert (len(host.kernel.changes), len(host.events())) == (changes, events)


def test_two_notices_of_one_company_take_over_from_one_another_without_a_false_repair(host):
    host.suspend("c000")
    host.remember("c000", again="2")
    host.work()
    assert len(host.events("order.suspend")) == 2
    host.say("invoice.cancelled", "c000", {"invoice": "F-c000"})
    host.work()
    assert set(host.elements().values()) == {"c000:N-c0002"}
    assert host.events("measure.repaired") == []
    host.say("invoice.cancelled", "c000", {"invoice": "F-c0002"}, id_="last")
    host.work()
    assert host.elements() == {}


# --- restoring needs nothing -------------------------------------------------------------------------------------------------


def test_a_restore_needs_no_structure_and_brings_back_no_table_that_was_taken_away(host):
    host.suspend("c000", "c001")
    host.kernel.foreign_flush()
    host.pay("c000")
    host.work()
    assert host.kernel.observe(host.gateway.rules.structure).structure == "absent"
    assert len(host.events("measure.restored", "c000")) == 1


def test_a_restore_in_a_table_that_somebody_changed_is_a_deletion_and_nothing_else(host):
    host.suspend("c000", "c001")
    host.kernel.foreign_name("evil")
    before = len(host.kernel.changes)
    host.pay("c000")
    host.work()
    assert host.cut() == {"c001"}
    (change,) = host.kernel.changes[before:]
    assert change.structure is None
    assert change.add == ()


def test_a_company_the_kernel_refuses_to_suspend_delays_nobody_and_is_tried_again_later_and_later(host):
    host.kernel.broken = frozenset({"c000"})
    host.let_act()
    host.remember("c000", "c001")
    host.work()
    assert host.cut() == {"c001"}
    assert "does not want" in host.gateway.failures["c000"]
    tries = host.gateway.metrics.registry.get_sample_value("ecluse_failures_total", {"kind": "kernel"})
    host.work()
    assert host.gateway.metrics.registry.get_sample_value("ecluse_failures_total", {"kind": "kernel"}) == tries
    host.kernel.broken = frozenset()
    host.queue.wake("c000")
    host.work()
    assert host.cut() == {"c000", "c001"}
    assert host.gateway.failures == {}
    assert len(host.events("order.suspend", "c000")) == 1


def test_companies_with_a_measure_are_settled_before_all_others(host):
    host.suspend("c003")
    host.remember("c000", "c001", "c002")
    host.pay("c003")
    host.gateway.look_around()
    assert next(host.queue.step(host.gateway)).company == "c003"


def test_a_hundred_and_more_companies_that_are_due_are_all_settled():
    many = firms(140)
    with in_memory() as directory:
        host = Host(directory=directory, inventory=inventory_of(many))
        host.start()
        host.suspend(*(firm.id for firm in many))
        host.inventory = inventory_of(many, SERVICES.replace("vpn:\n    class: A", "vpn:\n    class: D"))
        host.restart()
        host.start()
        assert host.elements() == {}
        assert len(host.events("measure.restored")) == 140
        host.dies()


# --- while the ledger can not be written ---------------------------------------------------------------------------------------


def volatile(host: Host, company: str, id_: str = "billing:paid") -> None:
    """An authentic payment that the ledger did not take."""
    event = Event(
        id=id_,
        type="payment.received",
        subject=company,
        occurred_at=host.clock.now,
        received_at=host.clock.now,
        source="billing",
        body={"payment": "P", "amount": "4800.00", "currency": "EUR"},
    )
    with pytest.raises(LedgerUnwritable):
        host.ledger.append([event])
    host.gateway.ledger_bad("test")
    host.gateway.keep_volatile([event])
    host.queue.wake(company)


def test_a_payment_the_ledger_could_not_take_restores_and_is_recorded_once_with_the_restore(host):
    host.suspend("c000", "c001")
    host.ledger.refuse(writes=True)
    volatile(host, "c000")
    host.work()
    assert host.cut() == {"c001"}
    assert not host.gateway.catch_up()
    host.ledger.refuse(writes=False)
    assert host.gateway.catch_up()
    assert [event.id for event in host.events("payment.received")] == ["billing:paid"]
    assert len(host.events("measure.restored", "c000")) == 1
    assert not (host.directory / "state/stop.json").exists()
    host.queue.forgive()
    host.work()
    assert host.cut() == {"c001"}
    assert host.elements() == host.truth()


@pytest.mark.parametrize("place", ["state/stop.json", "run/stop.json"])
def test_a_restart_before_it_could_be_recorded_keeps_the_company_restored_until_the_biller_says_it_again(host, place):
    host.suspend("c000", "c001")
    if place.startswith("run"):  # the first place takes nothing either
        host.gateway.stop_path = host.directory / "gone/stop.json"
    host.ledger.refuse(writes=True)
    volatile(host, "c000")
    host.work()
    assert (host.directory / place).exists()
    host.restart()
    host.start()
    assert host.cut() == {"c001"}
    host.say("payment.received", "c000", {"payment": "P", "amount": "4800", "currency": "EUR"}, id_="billing:paid")
    host.gateway.forget_volatile()
    assert not (host.directory / place).exists()
    host.work()
    assert host.elements() == host.truth()
    assert host.cut() == {"c001"}


def test_another_fact_does_not_let_go_of_what_was_kept_for_a_payment(host):
    host.suspend("c000")
    host.ledger.refuse(writes=True)
    volatile(host, "c000")
    host.restart()
    host.start()
    host.say("payment.received", "c000", {"payment": "P9", "amount": "1", "currency": "EUR"}, id_="billing:other")
    host.gateway.forget_volatile()
    assert (host.directory / "state/stop.json").exists()
    host.work()
    assert host.cut() == set()


def test_nothing_is_suspended_and_no_lease_renewed_while_it_could_not_be_recorded(host):
    host.suspend("c000")
    host.remember("c001")
    host.ledger.refuse(writes=True)
    host.gateway.ledger_bad("test")
    host.work()
    assert host.cut() == {"c000"}
    host.clock.pass_(LEASE * 0.9)
    host.queue.forgive()
    host.work()
    leases = [member.expires_ms for name in ("vpn4_24", "vpn6_64") for _, member in host.kernel.dump(name)]
    assert max(leases) <= LEASE.total_seconds() * 100
    host.clock.pass_(LEASE * 0.11)
    assert host.cut() == set()


def test_what_is_not_in_the_kernel_is_never_recorded_as_applied(host):
    host.let_act()
    host.remember("c000")
    # The order is written, then the disk refuses, then it takes writes again before anybody noticed.
    host.kernel.broken = frozenset({"c000"})
    host.work()
    assert host.events("order.suspend", "c000")
    host.kernel.broken = frozenset()
    host.gateway.ledger_bad("test")
    host.queue.forgive()
    host.work()
    assert host.events("measure.applied") == []
    assert host.cut() == set()
    assert host.gateway.catch_up()
    host.queue.forgive()
    host.work()
    assert host.cut() == {"c000"}
    assert len(host.events("measure.applied")) == 1


# --- audits --------------------------------------------------------------------------------------------------------------------


def test_a_start_on_an_empty_kernel_loads_every_measure_in_force(host):
    host.suspend("c000", "c001", "c002")
    before = host.elements()
    host.kernel.foreign_flush()
    host.restart()
    assert host.start().wanted == 12
    assert host.elements() == before
    assert host.events("measure.repaired") == []


def test_a_start_on_a_kernel_that_is_right_changes_nothing(host):
    host.suspend("c000", "c001")
    changes = len(host.kernel.changes)
    host.restart()
    assert host.start().sentence == "kernel and ledger agree on 8 elements"
    assert len(host.kernel.changes) == changes


def test_a_payment_that_came_while_nobody_ran_is_never_undone_by_the_start(host):
    host.suspend("c000", "c001")
    host.pay("c000")
    host.kernel.foreign_flush()
    loaded: list[Change] = []
    host.kernel.before_apply = loaded.append
    host.restart()
    host.start()
    assert not any(element.case.startswith("c000") for change in loaded for element in change.add)
    assert host.cut() == {"c001"}


def test_elements_nobody_ordered_go_and_those_of_a_pending_order_stay(host):
    host.suspend("c000")
    forge(host, "c003:N-x", bytes((10, 0, 3, 0)), timedelta(hours=1))
    forge(host, "", bytes((10, 99, 0, 0)), timedelta(hours=1))
    host.let_act()
    host.remember("c001")
    host.kernel.before_apply = _die_after_add(host)
    with pytest.raises(Died):
        host.work()  # the order for c001 is given and applied, but nobody lived to record it
    host.kernel.before_apply = lambda change: None
    host.restart()
    deleted: list[Key] = []
    host.kernel.before_apply = lambda change: deleted.extend(change.delete)
    run(audit.start(host.gateway))
    assert {key.key for key in deleted} == {bytes((10, 0, 3, 0)), bytes((10, 99, 0, 0))}
    assert "no measure in force wants" in host.events("measure.repaired", HOST)[0].body["what"]
    host.work()
    assert host.cut() == {"c000", "c001"}


def _die_after_add(host: Host) -> Callable[[Change], None]:
    def apply(change: Change) -> None:
        if change.add:
            MemoryKernel.apply(host.kernel, change)
            raise Died

    return apply


def test_a_lease_longer_than_any_ordered_is_made_right_and_recorded(host):
    host.suspend("c000")
    forge(host, "c000:N-c000", bytes((10, 0, 0, 0)), timedelta(days=300))
    assert run(audit.audit(host.gateway)).repaired == 1
    ((_, member),) = host.kernel.dump("vpn4_24")
    assert member.expires_ms <= LEASE.total_seconds() * 1000
    assert host.events("measure.repaired", "c000")[0].body["count"] == 1


def test_one_company_that_can_not_be_put_back_keeps_no_other_from_it(host):
    host.suspend("c000", "c001", "c002")
    for name in ("vpn4_24", "vpn6_64"):
        MemoryKernel.apply(host.kernel, Change(delete=tuple(Key(set=name, key=key) for key, _ in host.kernel.dump(name))))
    host.kernel.broken = frozenset({"c000"})
    with pytest.raises(KernelError):
        run(audit.audit(host.gateway))
    assert {case for (name, _), case in host.elements().items() if name.startswith("vpn")} == {"c001:N-c001", "c002:N-c002"}


def test_a_company_gone_from_the_inventory_is_restored_wherever_its_elements_stand(host):
    host.suspend("c000", "c001")
    host.inventory = inventory_of(firms(4)[1:])
    host.restart()
    host.start()
    assert host.cut() == {"c001"}
    assert host.elements() == host.truth()


@pytest.mark.parametrize("count", [audit.FEW_COMPANIES, audit.FEW_COMPANIES + 1])
def test_few_companies_are_put_back_one_by_one_and_many_in_pages_with_one_record(count):
    with in_memory() as directory:
        host = Host(directory=directory, inventory=inventory_of(firms(count + 2)))
        host.start()
        host.suspend(*(f"c{number:03}" for number in range(count + 1)))
        host.pay("c000")
        host.work()
        wanted = host.elements()
        host.kernel.foreign_flush()
        host.kernel.apply(Change(structure=host.gateway.rules.structure))  # somebody rebuilt our table, empty
        found = run(audit.repair(host.gateway, "nft"))
        assert host.elements() == wanted == host.truth()
        assert found.repaired == count
        repaired = host.events("measure.repaired")
        assert len(repaired) == (count if count <= audit.FEW_COMPANIES else 1)
        assert sum(event.body["count"] for event in repaired) == len(wanted)
        host.dies()


def test_a_stopped_host_puts_nothing_back(host):
    host.suspend("c000", "c001")
    pause = stopfile.Pause(by="claire", at=host.clock.now, reason="fire", restore=True)
    stopfile.write(host.directory / "state/stop.json", stopfile.Stop(all=pause))
    host.kernel.foreign_flush()
    host.restart()
    host.start()
    assert host.elements() == {}
    assert host.work() == []


# --- time ------------------------------------------------------------------------------------------------------------------------


def test_leases_are_renewed_long_before_they_end_and_counted_as_no_repair(host):
    host.suspend("c000", "c001")
    for _ in range(20):
        host.clock.pass_(LEASE * 0.3)
        host.beat()
        host.work()
        leases = [member.expires_ms for _, member in host.kernel.dump("vpn4_24")]
        assert len(leases) == 2
        assert min(leases) > LEASE.total_seconds() * 200
    assert host.events("measure.repaired") == []


def test_a_dead_feed_lets_the_lease_run_out_and_the_ledger_says_so(host):
    host.suspend("c000")
    for _ in range(16):
        host.clock.pass_(timedelta(hours=2))
        host.queue.forgive()
        host.work()
    assert host.cut() == set()
    assert host.events("measure.restored", "c000")[0].body["cause"].startswith("lease")


def test_a_payment_for_somebody_who_is_not_suspended_does_not_time_a_later_restore(host):
    host.gateway.arrived["c000"] = -1e9
    host.pay("c000", "1")
    host.work()
    assert host.gateway.arrived == {}

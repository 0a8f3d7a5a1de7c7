"""Death at any moment, and anything in any order: the next process makes the kernel what the facts say. No root needed."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import audit, stopfile
from agent.kernel.memory import MemoryKernel
from agent.rules import Change, Key
from tests.core.hosts import LEASE, Died, Fate, Host, forge, in_memory, inventory_of, run
from tests.core.truth import truth
from tests.process.house import MONDAY, firms


def life(host: Host) -> None:
    """One process: two are suspended, one pays, one is restored by hand, a lease is renewed."""
    host.start()
    host.let_act()
    host.remember("c000", "c001", "c002")
    host.work()
    host.pay("c000")
    host.work()
    host.say("restore.ordered", "c001", {"by": "claire", "reason": "test"}, id_="by-hand")
    host.work()
    host.clock.pass_(LEASE * 0.6)
    host.beat("beat")
    host.work()


def test_a_process_may_die_before_or_after_any_effect_and_the_next_one_makes_it_right():
    inventory = inventory_of(firms(3))
    with in_memory() as directory:
        whole = Host(directory=directory, inventory=inventory)
        life(whole)
        steps, wanted = whole.fate.seen, whole.elements()
        assert whole.cut() == {"c002"}
        assert steps > 40
        whole.dies()
    for step in range(steps):
        with in_memory() as directory:
            dies_after(step, Host(directory=directory, inventory=inventory), wanted)


def dies_after(step: int, host: Host, wanted: dict[tuple[str, bytes], str]) -> None:
    host.restart(Fate(left=step))
    with pytest.raises(Died):
        life(host)
    host.restart()
    host.start()
    assert host.elements() == host.truth(), step
    assert "c000" not in host.cut() or not host.events("payment.received"), step
    # Signs of life, and what waits for them is looked at once a minute; then the facts come again, as billers and persons repeat
    # what was not acknowledged.
    host.clock.pass_(timedelta(minutes=1))
    host.beat("again")
    host.work()
    host.clock.now = MONDAY
    life(host)
    assert host.elements() == wanted, step
    orders = [event.body["order"] for event in host.events("order.suspend")]
    assert len(orders) == len(set(orders)) == 3, step
    assert len(host.events("measure.restored")) == 2, step
    host.ledger.verify()
    host.dies()


ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            ("debt", "pay", "reverse", "hold", "lift", "by hand", "flush", "forge", "lose", "die", "time", "pause", "resume")
        ),
        st.sampled_from(("c000", "c001", "c002")),
    ),
    max_size=14,
)


@given(acts=ACTS)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_in_whatever_order_the_kernel_ends_as_the_facts_say(acts):
    with in_memory() as directory:
        host = Host(directory=directory, inventory=inventory_of(firms(3)))
        host.start()
        host.let_act()
        for number, (what, company) in enumerate(acts):
            host.clock.pass_(timedelta(seconds=1))
            act(host, what, company, number)
            host.work()
        run(audit.repair(host.gateway, "test"))
        host.work()
        stopped = host.gateway.stop.all is not None
        assert host.elements() == truth(host.events(), host.inventory, host.clock.now, stopped=stopped)
        assert host.gateway.failures == {}
        host.ledger.verify()
        host.dies()


def act(host: Host, what: str, company: str, number: int) -> None:
    """One thing that happens."""
    stop = host.directory / "state/stop.json"
    match what:
        case "debt":
            host.remember(company)
        case "pay":
            host.pay(company)
        case "reverse":
            host.say("payment.reversed", company, {"payment": f"P-{company}"}, id_=f"r{number}")
        case "hold":
            host.say("hold.set", company, {"hold": "H", "kind": "manual"}, id_=f"h{number}")
        case "lift":
            host.say("hold.lifted", company, {"hold": "H"}, id_=f"l{number}")
        case "by hand":
            host.say("restore.ordered", company, {"by": "claire", "reason": "x"}, id_=f"b{number}")
        case "flush":
            host.kernel.foreign_flush()
            run(audit.repair(host.gateway, "nft"))
        case "forge":
            if host.kernel.observe(host.gateway.rules.structure).structure != "absent":
                forge(host, f"{company}:N-forged", bytes((10, 0, 77, 0)), timedelta(hours=3))
        case "lose":
            for key, _ in host.kernel.dump("vpn4_24"):
                MemoryKernel.apply(host.kernel, Change(delete=(Key(set="vpn4_24", key=key),)))
        case "die":
            host.restart()
            host.start()
        case "time":
            host.clock.pass_(timedelta(minutes=20))
            host.beat(f"beat{number}")
        case "pause":
            pause = stopfile.Pause(by="claire", at=host.clock.now, reason="x", restore=True)
            stopfile.write(stop, stopfile.Stop(all=pause))
        case "resume":
            stopfile.write(stop, stopfile.Stop())

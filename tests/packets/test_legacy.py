"""Draining on legacy iptables: our rules let go of what drains, and the gateway's own rules still have their say."""

import pytest

from agent.kernel.iptables import IptablesKernel
from agent.lab import Stream
from agent.model import Terms
from agent.rules import Change
from agent.ruleset import Needs, structure
from tests.packets.conftest import SERVICES, SHAPES, TARGETS, ZA

pytestmark = [pytest.mark.kernel, pytest.mark.parametrize("net", [IptablesKernel], indirect=True)]

PORT = 1194


@pytest.mark.parametrize("family", [4, 6])
def test_open_connections_go_on_while_they_drain_and_new_ones_are_refused(net, family):
    needs = Needs(drain=True, tracked=True)
    wanted = structure(SERVICES, SHAPES, needs)
    net.apply(Change(structure=wanted))
    with Stream(net.lab["za"], TARGETS[f"vpn tcp {family}"][1], PORT) as stream:
        assert stream.wait_more(5_000, 5)
        net.move(ZA, ("vpn",), Terms(stage=3, drain_ms=6_000), wanted, needs)
        assert net.ask("za", f"vpn tcp {family}").result == "refused"
        assert stream.wait_more(20_000, 4)
        assert stream.wait_end(12) is not None


def test_what_we_let_through_is_still_judged_by_the_rules_of_the_gateway(net):
    needs = Needs(drain=True)
    wanted = structure(SERVICES, SHAPES, needs)
    net.apply(Change(structure=wanted))
    net.run("iptables-legacy", "-w", "5", "-A", "FORWARD", "-d", TARGETS["vpn tcp 4"][1], "-p", "tcp", "-j", "DROP")
    net.move(ZA, ("vpn",), Terms(stage=3, drain_ms=60_000), wanted, needs)
    assert net.ask("za", "vpn tcp 4").result == "no_answer"
    assert net.ask("za", "vpn tcp 6").result == "open"

"""Names kept up over the kernel in memory and a real ledger: what an answer changes, and what no answer changes."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from agent import audit, channel, intake
from agent.billing import Source
from agent.inforce import InForceRules
from agent.names import KEEP_S
from agent.resolving import Resolving, remembered
from agent.rules import Change
from tests.core.hosts import Host, in_memory, inventory_of, run
from tests.process.house import SERVICES, Firm, history

NAMED = SERVICES + "  archive:\n    class: A\n    selectors: [{names: archive.example.net, protocol: tcp, ports: 443}]\n"
NAME = "archive.example.net"
FIRMS = (
    Firm(
        id="c000",
        attachments=(("10.0.0.0/24", ""), ("2001:db8:1000::/64", "")),
        subscriptions=("vpn", "shared-documents", "archive", "portal", "dns"),
    ),
)


@dataclass
class Names:
    """A gateway with a service by name, and a probing role that says what it is told to."""

    host: Host
    resolving: Resolving
    says: dict[str, Any] | None = None
    now: float = 1_000_000.0
    asked: list[list[str]] = field(default_factory=list)

    def step(self, says: dict[str, Any] | None) -> None:
        self.says = says

        async def answer(_peer, header, _body):
            self.asked.append(header["names"])
            return {"answers": self.says}, b""

        async def once() -> None:
            if self.says is None:
                return await self.resolving.step()
            listener = await channel.listen(self.host.directory / "run/probe.sock", answer)
            await self.resolving.step()
            await listener.close()
            return None

        asyncio.run(once())
        run(audit.start(self.host.gateway))
        self.host.work()

    def reached(self) -> set[str]:
        """What the ruleset in the kernel refuses of the service by name."""
        structure = self.host.gateway.rules.structure
        assert self.host.kernel.observe(structure).structure == "as_wanted"
        return {str(e.prefix.network_address) for m in structure.maps for e in m.entries if e.chain.endswith("_archive")}

    def cut(self) -> set[str]:
        """The families in which the debtor loses it."""
        return {name.partition("archive")[2][0] for name, _ in self.host.elements() if name.startswith("archive")}


@pytest.fixture
def names() -> Iterator[Names]:
    with in_memory() as directory:
        host = Host(directory=directory, inventory=inventory_of(FIRMS, NAMED))
        host.start()

        def adopt(rules: InForceRules) -> None:
            host.kernel.apply(Change(structure=rules.structure))
            host.gateway.rules = rules

        built = Names(host, None)
        built.resolving = Resolving(
            host.gateway,
            socket=directory / "run/probe.sock",
            file=directory / "state/names.json",
            compile_=lambda answers: host.gateway.rules.with_answers(answers, tracked=False),
            adopt=adopt,
            clock=lambda: built.now,
        )
        host.let_act()
        told = [line.replace("shared-documents", "archive") for line in history("c000")]
        source = Source(
            name="import", kind="native", secrets=(bytes(32),), events=frozenset(json.loads(line)["type"] for line in told)
        )
        host.ledger.append(tuple(intake.read_lines(told, source, lambda _, customer: customer, host.clock.now, file="h")))
        host.work()
        assert host.cut() == {"c000"}, "of its other service"
        yield built
        host.dies()


V4, V6 = {"addresses": ["198.51.100.77"], "ttl": 300}, {"addresses": ["198.51.100.77", "2001:db8:100::77"], "ttl": 300}


def test_nothing_of_a_service_by_name_is_refused_before_the_name_has_an_answer(names):
    assert (names.reached(), names.cut()) == (set(), set())
    assert names.host.gateway.rules.unresolved[NAME][1] == f"{NAME}: no known address"
    names.step(None)
    assert (names.reached(), names.cut()) == (set(), set())
    assert "names" in names.host.gateway.failures, "that nobody answers is said"


def test_an_answer_is_in_the_ruleset_and_another_one_replaces_it(names):
    names.step({NAME: V4})
    assert (names.reached(), names.cut()) == ({"198.51.100.77"}, {"4"})
    names.now += 301
    names.step({NAME: {"addresses": ["198.51.100.78", "2001:db8:100::78"], "ttl": 300}})
    assert (names.reached(), names.cut()) == ({"198.51.100.78", "2001:db8:100::78"}, {"4", "6"})
    names.now += 301
    names.step({NAME: {"addresses": [], "ttl": 0}})
    assert (names.reached(), names.cut()) == (set(), set())
    assert names.host.cut() == {"c000"}, "the other service is suspended all along"
    assert names.host.events("measure.restored") == []


def test_a_name_is_asked_about_when_its_time_is_over_and_not_before(names):
    names.step({NAME: V4})
    names.step({NAME: V6})
    assert names.asked == [[NAME]]
    names.now += 301
    names.step({NAME: V6})
    assert names.asked == [[NAME], [NAME]]
    assert names.reached() == {"198.51.100.77", "2001:db8:100::77"}


def test_silence_keeps_the_last_answer_for_a_while_and_then_the_service_is_on(names):
    names.step({NAME: V4})
    names.now += 300 + KEEP_S - 1
    names.step(None)
    assert names.reached() == {"198.51.100.77"}
    names.now += 20
    names.step(None)
    assert names.reached() == set()


def test_an_address_of_something_protected_is_never_in_the_ruleset(names):
    names.step({NAME: {"addresses": ["192.0.2.10", "10.0.0.9", "198.51.100.77"], "ttl": 60}})
    assert names.reached() == {"198.51.100.77"}
    assert len(names.host.gateway.rules.unresolved) == 2


def test_an_answer_that_is_none_changes_nothing(names):
    names.step({NAME: V4})
    names.now += 301
    for broken in ({NAME: {"addresses": ["x"], "ttl": 1}}, {NAME: 3}, {NAME: {}}, [1]):
        names.step(broken)
        names.now += 20
    assert names.reached() == {"198.51.100.77"}
    assert "no answer about names" in names.host.gateway.failures["names"]


def test_the_next_process_starts_with_the_last_answers(names):
    names.step({NAME: V4})
    kept = remembered(names.host.directory / "state/names.json")
    assert kept == names.host.gateway.rules.answers
    (names.host.directory / "state/names.json").write_text("{ torn")
    assert remembered(names.host.directory / "state/names.json") == {}

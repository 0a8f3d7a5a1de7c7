"""Beside other firewalls, as their Debian packages bring them: neither breaks the other."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from agent.lab import Laboratory, probe
from tests.neighbours.programs import EVERY, Neighbour, theirs
from tests.neighbours.root import Root, neighbours_root
from tests.process.conftest import reachable_directory
from tests.process.house import ROOT, House, until
from tests.process.test_traffic import ERP, ERP6, PORTAL, PORTAL6, VPN, VPN6, provider

pytestmark = pytest.mark.kernel


@dataclass(frozen=True, kw_only=True, slots=True)
class Street:
    """A gateway with a suspended and a paying company behind it, and room for other programs on it."""

    lab: Laboratory
    house: House
    root: Root

    def settle(self, name: str) -> Neighbour:
        return EVERY[name](self.root, self.lab["provider"])

    def sound(self, when: str) -> None:
        """Our elements are as ordered; the suspended flow is refused; everything else passes."""
        until(lambda: self.house.cut() == {"za"}, 5, what=f"our table is back {when}")
        until(lambda: self.house.status()["kernel"]["structure"] == "as_wanted", 5, what=f"our table is whole {when}")
        for address in (VPN, VPN6):
            assert probe(self.lab["desk"], "tcp", address, 443).result == "refused", (address, when)
        for client, address, port in (
            *(("desk", address, 443) for address in (PORTAL, PORTAL6)),
            *(("desk", address, 1433) for address in (ERP, ERP6)),
            *(("neighbour", address, 443) for address in (VPN, VPN6)),
        ):
            assert probe(self.lab[client], "tcp", address, port).result == "open", (client, address, when)


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    with (
        reachable_directory() as directory,
        reachable_directory() as place,
        provider(directory) as (lab, house),
        neighbours_root(lab["gw"], place) as root,
    ):
        house.suspend("za")
        built = Street(lab=lab, house=house, root=root)
        built.sound("at first")
        yield built


@pytest.mark.parametrize("name", EVERY)
def test_neither_breaks_the_other_when_it_starts_reloads_and_stops(street, name):
    neighbour, known = street.settle(name), removals(street)
    neighbour.start()
    street.sound(f"after {name} started")
    assert neighbour.works()

    before = theirs(street.root)
    assert street.house.ask("pause", restore=True, reason="our table goes")["exit"] == 0
    until(lambda: not street.house.table(), 2, what="our table is gone")
    assert theirs(street.root) == before
    assert street.house.ask("resume", reason="and comes again")["exit"] == 0
    street.sound(f"beside {name}, after it was put there anew")
    assert theirs(street.root) == before
    street.house.nft("delete", "table", "inet", "ecluse")
    street.sound(f"beside {name}, after somebody removed our table")
    assert theirs(street.root) == before
    assert neighbour.works()

    neighbour.reload()
    street.sound(f"after {name} reloaded")
    assert neighbour.works()
    neighbour.stop()
    street.sound(f"after {name} stopped")
    theirs_alone = removals(street) - known - 1  # one was ours to see what happens
    assert (theirs_alone > 0) == neighbour.flushes, theirs_alone


def removals(street: Street) -> int:
    """How often our table was taken away by others and put back."""
    return sum("removed by" in event.body["what"] for event in street.house.events("measure.repaired"))


def test_with_all_of_them_at_once_and_the_doctor_names_them(street):
    together = [street.settle(name) for name in ("firewalld", "fail2ban", "crowdsec", "keepalived", "docker")]
    for neighbour in together:
        neighbour.start()
    street.sound("with all of them")
    for neighbour in together:  # docker hears of firewalld's reload on the bus, and comes again after it
        neighbour.wait(neighbour.works, f"{type(neighbour).__name__} works")
    found = doctor(street)
    assert {one["program"] for one in found["NEIGHBOUR"]} >= {"firewalld", "dockerd", "keepalived", "fail2ban-server"}
    assert "inet firewalld" in json.dumps(found["CHAINS"])
    for neighbour in together:
        neighbour.reload()
    street.sound("after all of them were reloaded")
    for neighbour in together:  # docker hears of firewalld's reload on the bus, and comes again after it
        neighbour.wait(neighbour.works, f"{type(neighbour).__name__} works")
    for neighbour in reversed(together):
        neighbour.stop()
    street.sound("after all of them are gone")
    assert street.house.status()["kernel"]["contested_by"] == []


def doctor(street: Street) -> dict[str, list[dict[str, object]]]:
    """The facts of each finding, by code."""
    argv = [sys.executable, "-m", "agent", "doctor", "--json", "--config", street.house.config]
    with street.lab["gw"].start(
        argv, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    ) as process:
        output, _ = process.communicate(timeout=60)
    found: dict[str, list[dict[str, object]]] = {}
    for one in json.loads(output)["data"]["findings"]:
        found.setdefault(one["code"], []).append(one["facts"])
    return found

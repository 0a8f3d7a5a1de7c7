"""The three roles and real packets: a local application that needs what is suspended, and a probing role that dies or lies.

The debtor's ERP stands on its own site. Behind the gateway it asks a licence server for leave at every request, and nobody declared
that: the licence server's address belongs to the annex service that is suspended (A-12).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.event import parse_instant
from agent.lab import End, Endpoint, Laboratory, Link, Node, Route, Stream, Topology, laboratory, listen
from tests.process.house import Firm, House, until

pytestmark = pytest.mark.kernel

ANSWERS = Path(__file__).parents[1] / "packets/answers.py"
LICENCES, PORTAL = "198.51.100.20", "192.0.2.10"
DEBTOR = Firm(
    id="za",
    attachments=(("10.20.10.0/24", "za0"), ("2001:db8:20:10::/64", "za0")),
    erp='{probe: http, address: "10.20.10.5", port: 8080, path: /session}',
    site='control: {probe: icmp, address: "10.20.10.5"}',
)
NEIGHBOUR = Firm(
    id="zb",
    attachments=(("10.20.20.0/24", "zb0"), ("2001:db8:20:20::/64", "zb0")),
    erp='{probe: tcp, address: "10.20.20.5", port: 1433}',
)


def _client(name: str, interface: str, net: str) -> tuple[Node, Link]:
    node = Node(name=name, routes=(Route(to="default4", via=f"{net}.1"),))
    link = Link(
        left=End(node=name, interface="eth0", addresses=(f"{net}.5/24",)),
        right=End(node="gw", interface=interface, addresses=(f"{net}.1/24",)),
    )
    return node, link


CLIENTS = [_client("erp", "za0", "10.20.10"), _client("neighbour", "zb0", "10.20.20")]
TOPOLOGY = Topology(
    nodes=(
        *(node for node, _ in CLIENTS),
        Node(name="provider", routes=(Route(to="default4", via="10.99.0.1"),)),
        Node(
            name="gw",
            forwarding=True,
            sysctls={"ipv4.ping_group_range": "0 65534"},
            routes=tuple(Route(to=f"{address}/32", via="10.99.0.5") for address in (LICENCES, PORTAL)),
        ),
    ),
    links=(
        *(link for _, link in CLIENTS),
        Link(
            left=End(node="provider", interface="eth0", addresses=("10.99.0.5/24", f"{LICENCES}/32", f"{PORTAL}/32")),
            right=End(node="gw", interface="up0", addresses=("10.99.0.1/24",)),
        ),
    ),
)


@contextmanager
def provider(directory: Path, *, needs: bool) -> Iterator[tuple[Laboratory, House]]:
    """The laboratory with all three roles on the gateway. `needs`: the ERP asks the licence server at every request."""
    with ExitStack() as stack:
        lab = stack.enter_context(laboratory(TOPOLOGY))
        stack.enter_context(listen(lab["provider"], *(Endpoint(protocol="tcp", address=a, port=443) for a in (LICENCES, PORTAL))))
        stack.enter_context(listen(lab["neighbour"], Endpoint(protocol="tcp", address="10.20.20.5", port=1433)))
        how = f"need:{LICENCES}:443" if needs else "200"
        process = lab["erp"].start(
            [sys.executable, "-I", ANSWERS, f"http:10.20.10.5:8080:{how}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        stack.enter_context(process)
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        house = stack.enter_context(House(directory, lab["gw"], (DEBTOR, NEIGHBOUR), more="probe_interval: 5\n"))
        house.watched_for_two_days()
        house.start("probe")
        house.start("enforce")
        house.start("serve")
        yield lab, house


def ripen(house: House) -> None:
    house.heartbeat()
    house.remember("za")
    house.let_act()


def when(event: Any) -> datetime:
    return event.received_at


def lease(house: House) -> timedelta:
    found = [parse_instant(one["lease_until"]) - house.now() for one in house.status()["measures"] if one["company"] == "za"]
    return found[0] if found else timedelta(0)


def ours(house: House, type_: str) -> list[Any]:
    return [event for event in house.events(type_, "za") if event.source == "agent"]


def test_an_erp_that_needs_what_is_suspended_is_rolled_back_within_thirty_seconds_and_the_breaker_is_told(open_directory):
    with provider(open_directory, needs=True) as (lab, house), Stream(lab["neighbour"], LICENCES, 443) as spared:
        ripen(house)
        until(lambda: ours(house, "measure.restored"), 60, what="the measure is rolled back")
        (order,), (applied,), (regressed,), (restored,) = (
            ours(house, name) for name in ("order.suspend", "measure.applied", "local.regressed", "measure.restored")
        )
        assert order.body["confirm_seconds"] == 25
        print(f"rolled back {(when(restored) - when(applied)).total_seconds():.1f} s after it was applied")
        assert when(restored) - when(applied) < timedelta(seconds=30)
        assert regressed.body["application"] == "erp"
        assert restored.body["final"] is True
        assert restored.body["cause"].startswith("G-19")
        assert house.cut() == set()
        breaker = house.status()["breaker"]
        assert [cause["kind"] for cause in breaker["causes"]] == ["local"]
        until(lambda: ours(house, "local.recovered"), 60, what="it answers again")
        assert len(ours(house, "order.suspend")) == 1
        assert spared.settle().whole


def test_an_erp_that_needs_nothing_confirms_the_measure_and_one_that_stops_later_lifts_it(open_directory):
    with provider(open_directory, needs=False) as (_, house):
        ripen(house)
        until(lambda: ours(house, "measure.confirmed"), 30, what="the measure is confirmed")
        until(lambda: lease(house) > timedelta(minutes=30), 5, what="the lease is a whole one")
        told = house.ask("explain", company="za")["data"]["local"]
        assert {(row["name"], row["state"]) for row in told} == {("erp", "answered"), ("site", "answered")}
        metrics = house.request("GET", "/metrics").message
        assert "ecluse_probe_up 1.0" in metrics
        three = 'ecluse_probe_targets{state="answered"} 3.0'  # summed up every few seconds
        until(lambda: three in house.request("GET", "/metrics").message, 20, what="all three are seen to answer")
        assert house.cut() == {"za"}

        house.nft("add table inet site; add chain inet site out { type filter hook output priority 0; }; "
                  "add rule inet site out tcp dport 8080 reject with tcp reset")  # fmt: skip
        until(lambda: ours(house, "measure.restored"), 60, what="an application that stopped lifts the measure")
        assert ours(house, "measure.restored")[0].body["cause"].startswith("G-19")
        assert house.cut() == set()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_probing_role_that_dies_or_hangs_in_the_middle_confirms_nothing_and_holds_up_no_restore(open_directory, how):
    with provider(open_directory, needs=False) as (_, house):
        ripen(house)
        until(lambda: ours(house, "measure.applied"), 30, what="the measure is applied", pause=0.002)
        os.kill(house.roles["probe"].pid, how)
        applied = ours(house, "measure.applied")[0]
        until(lambda: ours(house, "measure.restored"), 60, what="the trial ends by itself")
        (restored,) = ours(house, "measure.restored")
        assert when(restored) - when(applied) < timedelta(seconds=30)
        assert (restored.body["final"], restored.body["reason"]) == (False, "unconfirmed")
        assert ours(house, "measure.confirmed") == []
        assert house.status()["breaker"]["open"] is False
        assert house.cut() == set()
        until(lambda: not house.status()["local"]["up"], 30, what="the role is seen to be silent")
        assert "ecluse_probe_up 0.0" in house.request("GET", "/metrics").message


def test_a_payment_restores_at_once_while_the_probing_role_hangs(open_directory):
    with provider(open_directory, needs=False) as (_, house):
        ripen(house)
        until(lambda: ours(house, "measure.confirmed"), 30, what="the measure is confirmed")
        os.kill(house.roles["probe"].pid, signal.SIGSTOP)
        until(lambda: not house.status()["local"]["up"], 60, what="a question hangs")
        assert house.cut() == {"za"}  # a lawful measure stays for its lease
        assert house.pay("za").status == 200
        until(lambda: not house.cut(), 2, what="payment restores")
        os.kill(house.roles["probe"].pid, signal.SIGCONT)
        until(lambda: house.status()["local"]["up"], 30, what="it answers again")


def test_without_its_probing_role_a_gateway_begins_nothing(open_directory):
    with provider(open_directory, needs=False) as (_, house):
        house.kill("probe")
        ripen(house)
        until(lambda: not house.status()["local"]["up"], 30, what="nobody answers")
        checks = {one["code"]: one for one in house.ask("explain", company="za")["data"]["cases"][0]["checks"]}
        assert checks["G-19"]["verdict"] != "pass"
        assert house.cut() == set()
        assert ours(house, "order.suspend") == []
        house.start("probe")
        until(lambda: house.cut() == {"za"}, 90, what="it begins once somebody looks")


def test_the_probing_role_runs_as_a_user_without_any_right_and_answers_only_who_may_ask(open_directory):
    with provider(open_directory, needs=False) as (_, house):
        house.kill("probe")
        (house.run / "probe.sock").unlink()
        house.run.chmod(0o777)
        house.start("probe", prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"])
        until(lambda: house.status()["local"]["up"], 30, what="it answers")

        def states() -> dict[str, str]:
            return {row["name"]: row["state"] for row in house.ask("explain", company="za")["data"]["local"]}

        # the echo too: the group is in ping_group_range
        until(lambda: states() == {"erp": "answered", "site": "answered"}, 30, what="everything was looked at")
        status = Path(f"/proc/{house.roles['probe'].pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert (house.run / "probe.sock").stat().st_mode & 0o777 == 0o660
        asked = house.ask_as(65533, "status")
        assert "refused" in asked

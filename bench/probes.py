"""What it costs to look at local applications: CPU seconds a minute of both roles, at 1 000 sites with two applications each.

`ecluse probe` and `ecluse enforce` run on a gateway; all sites are one namespace that answers on every address of theirs. Every
company has a formal notice, so that each look is judged. What the enforcer needs without looking is taken off.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent import channel
from agent.errors import ChannelError
from agent.lab import End, Endpoint, Laboratory, Link, Node, Route, Topology, laboratory, listen

SITES = 1_000
INTERVAL = 60
PATIENCE_S = 180.0
_TICKS = os.sysconf("SC_CLK_TCK")
_SERVICES = """
services:
  documents:
    class: A
    selectors: [{prefixes: [198.51.100.20], protocol: tcp, ports: 443}]
"""
_POLICIES = "policies:\n  usual: {profile: fr-b2b, mode: approve}\n"
TOPOLOGY = Topology(
    nodes=(
        Node(name="gateway", routes=(Route(to="10.0.0.0/8", via="172.31.255.2"),)),
        Node(name="sites", routes=(Route(to="default4", via="172.31.255.1"),)),
    ),
    links=(
        Link(
            left=End(node="gateway", interface="za0", addresses=("172.31.255.1/24",)),
            right=End(node="sites", interface="eth0", addresses=("172.31.255.2/24",)),
        ),
    ),
)


def run() -> dict[str, float]:
    """Every figure of this part."""
    with tempfile.TemporaryDirectory(prefix="ecl-") as name, laboratory(TOPOLOGY) as lab:
        place = Path(name)
        _files(place)
        # Every address of the sites is at home in their namespace.
        lab["sites"].start(["ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo"]).wait(10)
        with listen(lab["sites"], *(Endpoint(protocol="tcp", address="0.0.0.0", port=port) for port in (443, 1433))):
            _measured(lab, place, looking=False, seconds=10)  # the notices come in, and are settled
            idle = _measured(lab, place, looking=False)
            busy = _measured(lab, place, looking=True)
    return {
        "probe_role_cpu_s_per_min_1000_sites": busy["probe"],
        "probe_enforcer_cpu_s_per_min_1000_sites": max(0.0, busy["enforce"] - idle["enforce"]),
        "probe_enforcer_rss_mb_1000_sites": busy["rss"],
        "probe_looks_per_min_1000_sites": busy["looks"],
    }


def _files(place: Path) -> None:
    (place / "policies").mkdir()
    (place / "state").mkdir()
    (place / "run").mkdir()
    (place / "policies/services.yaml").write_text(_SERVICES)
    (place / "policies/policies.yaml").write_text(_POLICIES)
    with (place / "policies/customers.jsonl").open("w") as file:
        for number in range(SITES):
            net = f"10.{number >> 8}.{number & 255}"
            probes = {
                "erp": {"probe": "tcp", "address": f"{net}.5", "port": 443},
                "database": {"probe": "tcp", "address": f"{net}.6", "port": 1433},
            }
            site = {"timezone": "Europe/Paris", "attachments": [{"prefix": f"{net}.0/24"}], "local_applications": probes}
            row = {
                "id": f"c{number:04}",
                "group": "all",
                "name": f"Company {number}",
                "contract": f"K-{number}",
                "policy": "usual",
                "sites": {"main": site},
                "subscriptions": {"documents": {}},
            }
            file.write(json.dumps(row) + "\n")
    secret = place / "secret"
    secret.write_text("whsec_" + "A" * 44)
    secret.chmod(0o600)
    (place / "sources.yaml").write_text(
        "sources: {bills: {kind: native, secrets: [secret], customer_ids: own, events: [notice.dispatched]}}\n"
    )


def _measured(lab: Laboratory, place: Path, *, looking: bool, seconds: float = INTERVAL) -> dict[str, float]:
    """CPU seconds a minute of the roles, once they are at ease."""
    (place / "ecluse.yaml").write_text(
        "policies: policies\nsources: sources.yaml\nstate_dir: state\nrun_dir: run\nmode_ceiling: observe\n"
        f"operators: [{{name: Bench, user: {os.getuid()}, roles: [operator]}}]\n"
        + (f"probe_interval: {INTERVAL}\n" if looking else "")
    )
    roles = {}
    try:
        for role in ("probe", "enforce") if looking else ("enforce",):
            argv = [sys.executable, "-m", "agent", role, "--config", str(place / "ecluse.yaml"), "--log-level", "warning"]
            roles[role] = lab["gateway"].start(argv, stdin=subprocess.DEVNULL)
        _wait(lambda: bool(_status(place)["kernel"]["last_good_cycle"]))
        if not looking:
            _remember(place)
        else:
            _wait(lambda: _status(place)["local"]["states"]["answered"] == 2 * SITES)
        time.sleep(5)
        before, begun = {role: _cpu(process) for role, process in roles.items()}, time.monotonic()
        time.sleep(seconds)
        minutes = (time.monotonic() - begun) / 60
        found = {role: (_cpu(process) - before[role]) / minutes for role, process in roles.items()}
        if looking:
            found["looks"] = 2 * SITES * 60 / INTERVAL
        return found | {"rss": _rss(roles["enforce"])}
    finally:
        for process in roles.values():
            process.kill()
            process.wait(10)


def _remember(place: Path) -> None:
    """A formal notice for everybody, so that each company is judged after each look."""
    lines = []
    for number in range(SITES):
        notice = {
            "notice": f"N-{number}",
            "channel": "lrar",
            "invoices": [f"F-{number}"],
            "reminders": [],
            "announces": {"services": ["documents"], "earliest_on": "2026-03-27", "kept": []},
            "states": ["sums"],
        }
        row = {"id": f"n{number}", "type": "notice.dispatched", "customer": f"c{number:04}", "occurred_at": "2026-03-09T09:00:00Z"}
        lines.append(json.dumps(row | {"data": notice}))
    header = {"ask": "import", "file": "history.jsonl"}
    told, _ = channel.ask(place / "run/operator.sock", header, "\n".join(lines).encode(), timeout=60)
    if told["exit"]:
        raise RuntimeError(told)


def _status(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = channel.ask(place / "run/operator.sock", {"ask": "status"}, timeout=10)[0]["data"]
    return found


def _wait(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(ChannelError):
            if true():
                return
        time.sleep(0.5)
    raise TimeoutError("the roles are not at ease")


def _cpu(process: "subprocess.Popen[bytes]") -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss(process: "subprocess.Popen[bytes]") -> float:
    """Megabytes in memory at most so far."""
    line = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

"""`python -m bench` (= `make bench`): every figure against its target, printed and written to `bench/results.json`.

Needs root; everything happens in network namespaces of its own. About three minutes, and as many again the first time, when
the town is built. Figures are only worth as much as the machine was quiet: how busy others kept it is written beside them.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import agent
from bench import change, daemon, decision, drift, forwarding, growth, million, peers, probes


class Target(NamedTuple):
    """A figure that has to be met: what it says, and the bound it must not exceed, or not fall below."""

    what: str
    bound: float
    least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.bound if self.least else value <= self.bound


TARGETS = {
    "change_ratio_100k": Target("one change at 100 000 suspended, as a ratio to the same at 100", 1.5),
    "change_vs_floor": Target("one change, as a ratio to hand-packed netlink", 10),
    "change_ratio_foreign": Target("one change beside a foreign interval set of 100 000, as a ratio to without", 1.5),
    "payment_to_flow_ms_p50": Target("payment webhook to first packet through, 100 000 suspended, median, ms", 5),
    "payment_to_flow_ms_p99": Target("the same, 99th percentile, ms", 20),
    "start_100k_s": Target("start until 100 000 suspended are enforced and verified, s", 5),
    "start_1m_s": Target("the same for 1 000 000, s", 60),
    "forwarding_ratio_100k": Target(
        "throughput with 100 000 suspended, traffic of no service, to the same without us", 0.95, least=True
    ),
    "forwarding_ratio_service_100k": Target("the same for a paying customer's traffic to a service", 0.90, least=True),
    "repair_flush_ms_p99": Target("a foreign flush until all is back, 1 000 suspended, 99th percentile, ms", 100),
    "enforcer_rss_mb_100k": Target("resident memory of the enforcer at its peak, 100 000 suspended, MB", 150),
}
PARTS: dict[str, Callable[[], dict[str, float]]] = {
    "change": change.run,
    "decision": decision.run,
    "daemon": daemon.run,
    "growth": growth.run,
    "forwarding": forwarding.run,
    "peers": peers.run,
    "drift": drift.run,
    "probes": probes.run,
}
#: Parts that are run when they are asked for by name.
LONG: dict[str, Callable[[], dict[str, float]]] = {"million": million.run}
RESULTS = Path(__file__).with_name("results.json")


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    nft = shutil.which("nft", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    version = subprocess.run([nft, "--version"], capture_output=True, text=True, check=True).stdout.split()[1] if nft else "none"
    return {
        "kernel": platform.release(),
        "nft": version,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "ecluse": agent.__version__,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def busy_share(seconds: float = 3.0) -> float:
    """How much of all cores others use while we sleep, between 0 and 1."""

    def ticks() -> tuple[int, int]:
        numbers = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    total, idle = ticks()
    time.sleep(seconds)
    total_after, idle_after = ticks()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def main() -> int:
    if os.geteuid() != 0:
        print("the benchmarks need root: they build network namespaces", file=sys.stderr)
        return 1
    wanted = sys.argv[1:] or list(PARTS)
    parts = PARTS | LONG
    if unknown := set(wanted) - set(parts):
        print(f"no part {', '.join(sorted(unknown))}; one of {', '.join(parts)}", file=sys.stderr)
        return 2
    facts = machine()
    figures: dict[str, float] = {}
    busy: dict[str, float] = {}
    for part in wanted:
        busy[part] = round(busy_share(), 2)
        print(f"{part} ... (others use {busy[part]:.0%} of the machine)", flush=True)
        begin = time.monotonic()
        figures |= parts[part]()
        print(f"{part} done in {time.monotonic() - begin:.0f} s", flush=True)
    missed = show(figures)
    rounded = {key: float(f"{value:.4g}") for key, value in figures.items()}
    if wanted != list(PARTS) and RESULTS.exists():  # of the other parts, what was measured last stays
        before = json.loads(RESULTS.read_text())
        facts, busy = before["machine"], before["machine"]["busy_before"] | busy
        rounded = before["figures"] | rounded
    RESULTS.write_text(json.dumps({"machine": facts | {"busy_before": busy}, "figures": rounded}, indent=2) + "\n")
    print(f"written to {RESULTS}")
    if max(busy.values()) > 0.2:
        print("the machine was not quiet: do not compare these figures with others")
    return 1 if missed else 0


def show(figures: dict[str, float]) -> int:
    """Print the table. Returns how many targets were missed."""
    missed = 0
    print(f"\n{'figure':32} {'measured':>12} {'target':>9}  verdict")
    for key, value in figures.items():
        target = TARGETS.get(key)
        verdict = "" if target is None else "met" if target.met(value) else "MISSED"
        missed += verdict == "MISSED"
        bound = f"{'>=' if target.least else '<='} {target.bound:g}" if target else ""
        print(f"{key:32} {value:12.2f} {bound:>9}  {verdict:6}  {target.what if target else ''}".rstrip())
    return missed


if __name__ == "__main__":
    sys.exit(main())

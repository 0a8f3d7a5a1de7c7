"""A start with a million companies suspended: the real daemon on an empty kernel, until all is enforced and verified.

The town is brief (`bench.town`): everything that a start reads is there for each company - inventory, compiled keys, the measure in
force with its lease - and of its past only the invoice. Building it takes about ten minutes and 6 GB, so this is asked for by name.
"""

import os
import sys
import tempfile
from pathlib import Path

from agent.lab import laboratory
from bench.daemon import TOPOLOGY, Host, members, memory_mb, ready, until, wanted
from bench.town import town

COMPANIES = 1_000_000
_PATIENCE_S = 600.0


def run(companies: int = COMPANIES, cache: Path = Path(".cache")) -> dict[str, float]:
    """Seconds, and the enforcer's peak memory in MB, under the keys of the design."""
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="bench-") as name, laboratory(TOPOLOGY) as lab:
        place = Path(name).absolute()
        host = Host(place, town(companies, place, cache, brief=True), lab)
        os.sync()  # what was copied must not wait in the way of the daemon's own commits
        try:
            enforce = host.start("enforce")
            took = until("start on an empty kernel", lambda: ready(host.run), patience=_PATIENCE_S)
            found = members(lab)  # a start that put nothing into the kernel would be quick
            if found != wanted(companies):
                raise AssertionError(f"{found} elements in the kernel, {wanted(companies)} wanted")
            return {"start_1m_s": took, "start_1m_elements": found, "enforcer_rss_mb_1m": memory_mb(enforce, "VmHWM")}
        finally:
            host.close()


if __name__ == "__main__":
    for key, value in run(companies=int(sys.argv[1]) if sys.argv[1:] else COMPANIES).items():
        print(f"{key:28} {value:10.2f}")

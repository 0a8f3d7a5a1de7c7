"""How long it takes until our table is right again after somebody harmed it: the real daemon, a thousand companies suspended; and
a flush with a hundred thousand, which is the time of a start.

From the return of the harmful transaction until structure and members are as before, by raw netlink. The daemon is started anew
before its repairs would count as a fight (`agent.fight`), which are spaced out on purpose.
"""

import statistics
import tempfile
import time
from pathlib import Path

from agent import fight
from agent.kernel import compare, elements
from agent.kernel.libnftables import Libnftables
from agent.kernel.netlink import Netlink
from agent.lab import laboratory
from agent.rules import Key
from agent.ruleset import set_name
from bench.daemon import TOPOLOGY, Host, percentile, ready, until
from bench.town import SERVICES, address, town

COMPANIES, MANY = 1000, 100_000
ROUNDS = 40

_TABLE = "inet ecluse"
_SETS = [set_name(service, 4, 28, interface=False) for service in SERVICES]
_SPARE = "172.16.0.0"


def last(companies: int) -> int:
    """Of those without an interface in their key, the company that is loaded last: all others are there when it is."""
    return companies - 2


#: What somebody does, by the name of its figure.
HARMS = {
    "flush": "flush ruleset",
    "table": f"delete table {_TABLE}",
    "rebuilt": f"delete table {_TABLE}; add table {_TABLE}; add chain {_TABLE} forward {{ type filter hook forward priority 0; }}",
    "chain": f"flush chain {_TABLE} refuse",
    "renamed": f"rename chain {_TABLE} refuse gone",
    "rule": f"insert rule {_TABLE} forward accept",
    "deleted": f"delete element {_TABLE} {_SETS[0]} {{ {address(last(COMPANIES), 0)} }}",
    "added": f'add element {_TABLE} {_SETS[0]} {{ {_SPARE} timeout 1h comment "nobody:1" }}',
}


class Eye:
    """Sees whether our table is as it was."""

    def __init__(self, companies: int) -> None:
        self._netlink = Netlink()
        self._keys = [Key(set=name, key=_packed(address(last(companies), 0))) for name in _SETS]
        self._stranger = Key(set=_SETS[0], key=_packed(_SPARE))
        self._state: compare.TableState | None = None

    def remember(self) -> None:
        """Take what is there now as right."""
        self._state = compare.read_table(self._netlink)
        if self._state is None or not self.right():
            raise AssertionError("the daemon is ready, and its table is not whole")

    def right(self) -> bool:
        """Whether structure and members are as they were; members first, because that is quick."""
        *wanted, stranger = self._netlink.ask([elements.get_message(key) for key in (*self._keys, self._stranger)])
        if any(reply.errno for reply in wanted) or not stranger.errno:
            return False
        return compare.read_table(self._netlink) == self._state

    def close(self) -> None:
        self._netlink.close()


def _packed(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


def run(companies: int = COMPANIES, rounds: int = ROUNDS, cache: Path = Path(".cache")) -> dict[str, float]:
    """Milliseconds by kind of harm: `repair_KIND_ms_p50` and `_p99`; `repair_flush_100k_ms_*`: of a flush with many suspended."""
    cache.mkdir(exist_ok=True)
    took = _repairs(companies, [name for _ in range(rounds) for name in HARMS], cache)
    took["flush_100k"] = _repairs(MANY, ["flush"] * (rounds // 2), cache)["flush"]
    return {
        key: value
        for harm, times in took.items()
        for key, value in ((f"repair_{harm}_ms_p50", statistics.median(times)), (f"repair_{harm}_ms_p99", percentile(times, 99)))
    }


def _repairs(companies: int, turns: list[str], cache: Path) -> dict[str, list[float]]:
    """Milliseconds of each repair, by kind of harm."""
    took: dict[str, list[float]] = {name: [] for name in turns}
    with tempfile.TemporaryDirectory(dir=cache, prefix="bench-") as name, laboratory(TOPOLOGY) as lab:
        place = Path(name).absolute()
        host = Host(place, town(companies, place, cache), lab)
        with lab["gateway"].inside():
            eye, hand = Eye(companies), Libnftables()
        try:
            for start in range(0, len(turns), fight.FEW - 1):
                enforce = host.start("enforce")
                until("start", lambda: ready(host.run))
                eye.remember()
                for harm in turns[start : start + fight.FEW - 1]:
                    took[harm].append(_repair(eye, hand, HARMS[harm]))
                    time.sleep(0.05)  # the daemon writes down what it did
                host.end(enforce)
        finally:
            host.close()
            eye.close()
            hand.close()
    return took


def _repair(eye: Eye, hand: Libnftables, harm: str) -> float:
    hand.run(harm)
    begin = time.perf_counter()
    until(f"repair after: {harm}", eye.right, pause=0.0005)
    return (time.perf_counter() - begin) * 1000


if __name__ == "__main__":
    for key, value in run().items():
        print(f"{key:28} {value:10.2f}")

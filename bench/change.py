"""What one suspend, renew or restore costs in the kernel: against the floor, against N, and beside a foreign interval set.

Every place is a network namespace of its own; rounds are interleaved, so that whatever else the machine does hits all alike.
"""

import statistics
import time
from collections.abc import Callable
from ipaddress import ip_network

from agent.kernel.libnftables import Libnftables
from agent.kernel.nft import NftKernel
from agent.lab import Laboratory, Node, Topology, laboratory
from agent.model import L4, Selector, Service, ServiceClass, Shape
from agent.rules import TABLE, Change, Element, Key
from agent.ruleset import set_name, structure
from bench import floor

SERVICES = {
    name: Service(
        id=name,
        class_=ServiceClass.ANNEX,
        selectors=(Selector(prefix=ip_network(f"192.0.2.{number}/32"), protocol=L4.TCP, ports=((443, 443),)),),
    )
    for number, name in enumerate(("ged", "vpn", "report"), 10)
}
STRUCTURE = structure(SERVICES, [Shape(service=name, family=4, prefixlen=24, interface=False) for name in SERVICES])
SETS = [set_name(name, 4, 24, interface=False) for name in SERVICES]
MANY, FOREIGN = 100_000, 100_000
#: Gateways, and how many companies are suspended on each.
PLACES = {"few": 100, "some": 10_000, "many": MANY, "most": 1_000_000, "foreign": MANY, "floor": MANY}
#: How their figures are called.
SIZES = {"few": "100", "some": "10k", "many": "100k", "most": "1m"}
ROUNDS = 400
LEASE_MS = 4 * 3_600_000
KINDS = ("suspend", "renew", "restore")


def company(number: int) -> tuple[Element, ...]:
    """The three elements of one company in 10.0.0.0/8 and above."""
    key = (0x0A000000 + (number << 8)).to_bytes(4, "big")
    return tuple(Element(set=name, key=key, case=f"case:{number}", timeout_ms=LEASE_MS) for name in SETS)


def fill(kernel: NftKernel, companies: int) -> float:
    """Structure and members; seconds."""
    begin = time.perf_counter()
    kernel.apply(Change(structure=STRUCTURE))
    for start in range(0, companies, 5000):
        kernel.apply(Change(add=tuple(e for number in range(start, min(start + 5000, companies)) for e in company(number))))
    return time.perf_counter() - begin


def renew_all(kernel: NftKernel) -> None:
    """Every company's lease, one by one as the daemon does it; it spreads them over half a lease."""
    for number in range(MANY):
        kernel.apply(Change(add=company(number)))


def foreign_intervals(nft: Libnftables) -> None:
    """Somebody's geo-IP list: a table that is not ours, with a set of many ranges."""
    ranges = ", ".join(f"{20 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/25" for i in range(FOREIGN))
    nft.run(f"add table ip geo\nadd set ip geo countries {{ type ipv4_addr; flags interval; elements = {{ {ranges} }}; }}\n")


def timed(act: Callable[..., object], *arguments: object) -> float:
    """Microseconds of one call."""
    begin = time.perf_counter_ns()
    act(*arguments)
    return (time.perf_counter_ns() - begin) / 1000


def run() -> dict[str, float]:
    """Figures under the keys of the design, and the microseconds behind them."""
    with laboratory(Topology(nodes=tuple(Node(name=name) for name in PLACES))) as lab:
        return _measure(lab)


def _measure(lab: Laboratory) -> dict[str, float]:
    kernels: dict[str, NftKernel] = {}
    filling = 0.0
    for name, companies in PLACES.items():
        with lab[name].inside():
            kernels[name] = NftKernel()
            if name == "foreign":
                library = Libnftables()
                foreign_intervals(library)
                library.close()
            took = fill(kernels[name], companies)
            filling = took if name == "many" else filling
            if name == "floor":
                sock = floor.open_socket()
    us: dict[tuple[str, str], list[float]] = {(name, kind): [] for name in (*PLACES, "read back") for kind in KINDS}
    for turn in range(ROUNDS):
        elements = company(max(PLACES.values()) + turn)  # a company that is not suspended yet
        keys = tuple(Key(set=e.set, key=e.key) for e in elements)
        ready = floor.changes(TABLE, SETS, elements[0].key, elements[0].case, LEASE_MS)
        changes = {"suspend": Change(add=elements), "renew": Change(add=elements), "restore": Change(delete=keys)}
        for kind in KINDS:
            for name in PLACES:
                took = timed(floor.commit, sock, ready[kind]) if name == "floor" else timed(kernels[name].apply, changes[kind])
                us[name, kind].append(took)
            us["read back", kind].append(timed(kernels["many"].observe, STRUCTURE, keys))
    dump = timed(lambda: sum(1 for _ in kernels["many"].dump(SETS[0]))) / 1e6
    renewing = timed(renew_all, kernels["many"]) / 1e6
    median = {key: statistics.median(values) for key, values in us.items()}
    total = {name: sum(median[name, kind] for kind in KINDS) for name in PLACES}
    sock.close()
    for kernel in kernels.values():
        kernel.close()
    return {
        **{f"change_ratio_{size}": total[name] / total["few"] for name, size in SIZES.items() if name != "few"},
        "change_vs_floor": total["many"] / total["floor"],
        "change_ratio_foreign": total["foreign"] / total["many"],
        **{f"change_{kind}_us_{size}": median[name, kind] for name, size in SIZES.items() for kind in KINDS},
        **{f"floor_{kind}_us_100k": median["floor", kind] for kind in KINDS},
        "read_back_us_100k": median["read back", "renew"],
        "kernel_fill_100k_s": filling,
        "kernel_dump_100k_s": dump,
        "renew_all_100k_s": renewing,
    }


if __name__ == "__main__":
    for key, value in run().items():
        print(f"{key:28} {value:10.2f}")

"""What our table costs the packets of everybody: throughput through a gateway with and without us, in paired rounds.

Traffic of no service is sent to the host of a service, to another port. It is the harder case: what goes to any other address
(`elsewhere`) is told apart by its address alone. `between`: to a port that no service has, but between two that have one.

Each variant is a gateway of its own with the same customer and provider around it. A sender in the customer's namespace puts
datagrams on the wire as fast as the kernel takes them; the forwarding happens in its own system calls, so packets a second is
what one core of such a gateway can do. Variants take turns, and which begins changes from round to round; a turn counts as its
fastest burst, and a figure is the median of the ratios within a round, with the quartiles beside it.
"""

import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_network

from agent.kernel.nft import NftKernel
from agent.lab import End, Laboratory, Link, Node, Route, Topology, laboratory
from agent.model import L4, Selector, Service, ServiceClass, Shape
from agent.rules import Change, Element
from agent.ruleset import set_name, structure

ROUNDS = 200
#: A burst takes 2 ms, so that of ten in a row at least one is not disturbed by others: the fastest counts.
BURSTS, PACKETS = 10, 500
SIZE = 200

CUSTOMER, PROVIDER, ELSEWHERE = "10.200.0.2", "192.0.2.2", "192.0.2.130"
#: Of the service; another one of the same host; and one between those of the services, which has to be looked up.
SERVICE_PORT, OTHER_PORT, BETWEEN = 4433, 9, 3000

#: Three services: one by host and port, one by prefix, one on another host; so both kinds of map are looked up.
SERVICES = {
    "ged": Service(
        id="ged",
        class_=ServiceClass.ANNEX,
        selectors=(Selector(prefix=ip_network(f"{PROVIDER}/32"), protocol=L4.UDP, ports=((SERVICE_PORT, SERVICE_PORT),)),),
    ),
    "vpn": Service(
        id="vpn",
        class_=ServiceClass.ANNEX,
        selectors=(Selector(prefix=ip_network("198.51.100.0/28"), protocol=L4.UDP, ports=((1000, 2000),)),),
    ),
    "report": Service(
        id="report",
        class_=ServiceClass.ANNEX,
        selectors=(Selector(prefix=ip_network("192.0.2.3/32"), protocol=L4.TCP, ports=((443, 443),)),),
    ),
}
STRUCTURE = structure(SERVICES, [Shape(service=name, family=4, prefixlen=24, interface=False) for name in SERVICES])
SETS = [set_name(name, 4, 24, interface=False) for name in SERVICES]
LEASE_MS = 4 * 3_600_000

#: Datagrams by sendmmsg, which is what keeps Python out of the measurement. Reads how many, says how many seconds they took.
SENDER = """
import ctypes, socket, struct, sys, time
libc = ctypes.CDLL("libc.so.6", use_errno=True)
host, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((host, port))
class Vector(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
class Header(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32),
                ("vector", ctypes.POINTER(Vector)), ("vectors", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int)]
class Many(ctypes.Structure): _fields_ = [("header", Header), ("len", ctypes.c_uint)]
payload = ctypes.create_string_buffer(size)
vector = Vector(ctypes.cast(payload, ctypes.c_void_p), size)
BATCH = 64
many = (Many * BATCH)()
for one in many:
    one.header.vector, one.header.vectors = ctypes.pointer(vector), 1
for line in sys.stdin:
    left = int(line)
    begin = time.perf_counter()
    while left > 0:
        sent = libc.sendmmsg(sock.fileno(), many, min(BATCH, left), 0)
        left -= max(sent, 1)  # a refusal is told as an error of the next call
    print(time.perf_counter() - begin, flush=True)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One gateway: does it track connections, how many are suspended on it (None: without us), and what the customer sends."""

    tracked: bool = True
    suspended: int | None = None
    to: str = PROVIDER
    port: int = OTHER_PORT
    myself: bool = False


VARIANTS = {
    "bare": Variant(tracked=False),
    "tracking": Variant(),
    "ours_0": Variant(suspended=0),
    "ours_1k": Variant(suspended=1_000),
    "ours_100k": Variant(suspended=100_000),
    "elsewhere_100k": Variant(suspended=100_000, to=ELSEWHERE),
    "between_100k": Variant(suspended=100_000, port=BETWEEN),
    "paying_100k": Variant(suspended=100_000, port=SERVICE_PORT),
    "refused_100k": Variant(suspended=100_000, port=SERVICE_PORT, myself=True),
}


def topology(name: str) -> tuple[tuple[Node, ...], tuple[Link, ...]]:
    """Customer, gateway and provider of one variant."""
    nodes = (
        Node(name=f"c{name}", routes=(Route(to="default4", via="10.200.0.1"),)),
        Node(name=f"g{name}", forwarding=True, sysctls={"ipv4.icmp_ratelimit": "0"}),
        Node(name=f"p{name}", routes=(Route(to="default4", via="192.0.2.1"),)),
    )
    links = (
        Link(
            left=End(node=f"c{name}", interface="up0", addresses=(f"{CUSTOMER}/24",)),
            right=End(node=f"g{name}", interface="cust0", addresses=("10.200.0.1/24",)),
        ),
        Link(
            left=End(node=f"p{name}", interface="down0", addresses=(f"{PROVIDER}/24", f"{ELSEWHERE}/24")),
            right=End(node=f"g{name}", interface="prov0", addresses=("192.0.2.1/24",)),
        ),
    )
    return nodes, links


def furnish(lab: Laboratory, name: str, variant: Variant) -> None:
    """What the gateway has besides us, and us."""
    # The provider takes what comes and answers nothing: only the way there is measured.
    nft(lab, f"p{name}", "table ip sink { chain in { type filter hook prerouting priority raw; udp dport != 0 counter drop; }; }")
    if variant.tracked:
        rules = "ct state established,related accept; ct state invalid drop; accept;"
        nft(lab, f"g{name}", f"table inet theirs {{ chain fwd1 {{ type filter hook forward priority filter; {rules} }}; }}")
    if variant.suspended is None:
        return
    numbers = range(variant.suspended)
    with lab[f"g{name}"].inside():  # all of it: libnftables opens its socket in the caller's namespace
        kernel = NftKernel()
        kernel.apply(Change(structure=STRUCTURE))
        for start in range(0, variant.suspended, 5_000):
            kernel.apply(Change(add=tuple(element(each, number) for number in numbers[start : start + 5_000] for each in SETS)))
        if variant.myself:
            key = ip_network("10.200.0.0/24").network_address.packed
            kernel.apply(Change(add=tuple(Element(set=each, key=key, case="me:1", timeout_ms=LEASE_MS) for each in SETS)))
        kernel.close()


def element(set_name_: str, number: int) -> Element:
    """Company `number` of those that are suspended, in 20.0.0.0/8 and above: never the sender itself."""
    return Element(set=set_name_, key=(0x14000000 + (number << 8)).to_bytes(4, "big"), case=f"c:{number}", timeout_ms=LEASE_MS)


def nft(lab: Laboratory, node: str, text: str) -> None:
    program = lab[node].start(["nft", text], stdout=subprocess.DEVNULL)
    if program.wait(20):
        raise AssertionError(f"nft refused: {text}")


def arrived(lab: Laboratory, name: str) -> int:
    """Packets that the provider's interface has received."""
    program = lab[f"p{name}"].start(["cat", "/proc/net/dev"], stdout=subprocess.PIPE, text=True)
    said, _ = program.communicate(timeout=20)
    line = next(line for line in said.splitlines() if "down0" in line)
    return int(line.partition(":")[2].split()[1])


def run(rounds: int = ROUNDS) -> dict[str, float]:
    """Figures under the keys of the design, and packets a second behind them."""
    parts = [topology(name) for name in VARIANTS]
    whole = Topology(nodes=tuple(n for nodes, _ in parts for n in nodes), links=tuple(link for _, links in parts for link in links))
    with laboratory(whole) as lab, ExitStack() as stack:
        senders = {}
        for name, variant in VARIANTS.items():
            furnish(lab, name, variant)
            argv = [sys.executable, "-I", "-c", SENDER, variant.to, str(variant.port), str(SIZE)]
            senders[name] = lab[f"c{name}"].start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(senders[name].kill)
        seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for turn in range(rounds + 3):
            order = list(VARIANTS)[turn % len(VARIANTS) :] + list(VARIANTS)[: turn % len(VARIANTS)]
            for name in order:
                took = fastest(senders[name])
                if turn >= 3:  # the first rounds fill caches
                    seconds[name].append(took)
        check(lab, rounds + 3)
    return figures(seconds)


def fastest(sender: "subprocess.Popen[str]") -> float:
    """Seconds that the fastest burst of one variant's turn took."""
    return min(send(sender) for _ in range(BURSTS))


def send(sender: "subprocess.Popen[str]") -> float:
    assert sender.stdin is not None
    assert sender.stdout is not None
    sender.stdin.write(f"{PACKETS}\n")
    sender.stdin.flush()
    return float(sender.stdout.readline())


def check(lab: Laboratory, rounds: int) -> None:
    """A throughput of packets that were lost on the way, or that were not refused, would say nothing."""
    for name, variant in VARIANTS.items():
        share = arrived(lab, name) / (rounds * BURSTS * PACKETS)
        if variant.myself and share > 0.01:
            raise AssertionError(f"{name}: {share:.0%} of what must be refused arrived")
        if not variant.myself and share < 0.99:
            raise AssertionError(f"{name}: only {share:.1%} arrived")


def figures(seconds: dict[str, list[float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    against = {"forwarding_ratio_0": "ours_0", "forwarding_ratio_1k": "ours_1k", "forwarding_ratio_100k": "ours_100k"}
    against |= {"forwarding_ratio_elsewhere_100k": "elsewhere_100k", "forwarding_ratio_between_100k": "between_100k"}
    against |= {"forwarding_ratio_service_100k": "paying_100k", "forwarding_ratio_refused_100k": "refused_100k"}
    against |= {"forwarding_ratio_untracked": "bare"}
    for key, name in against.items():
        ratios = [base / mine for base, mine in zip(seconds["tracking"], seconds[name], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        found |= {key: middle, f"{key}_q1": low, f"{key}_q3": high}
    return found | {f"forwarding_kpps_{name}": PACKETS / statistics.median(took) / 1000 for name, took in seconds.items()}


if __name__ == "__main__":
    for key, value in run(int(sys.argv[1]) if sys.argv[1:] else ROUNDS).items():
        print(f"{key:36} {value:10.3f}")

"""The real daemon on a gateway with a whole town suspended: start, memory, and from a payment to the first packet through.

Three namespaces: customer, gateway, provider. `ecluse enforce` and `ecluse serve` run on the gateway as two processes, as in
production. The customer's side sends the signed webhook and, beside it, a datagram from the paying company's own address to a
suspended service every tenth of a millisecond; the first echo is the moment at which traffic flows again. One thread does
both, so that it takes one core at most.
"""

import base64
import gc
import hashlib
import hmac
import itertools
import json
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from agent import channel
from agent.errors import ChannelError
from agent.kernel.nft import NftKernel
from agent.lab import End, Endpoint, Laboratory, Link, Node, Route, Topology, laboratory, listen
from agent.ruleset import set_name
from bench.town import ADDRESSES, DEBT, INTERFACE, SERVICES, SOURCE, VPN_PORT, Town, address, company_id, town

COMPANIES = 100_000
PAYMENTS = 600
#: No wait is longer; a daemon that needs more has failed.
PATIENCE_S = 120.0
_PROBE_S = 0.0001
_PAUSE_S = 0.1
_SECRET = bytes(range(32))
_GATEWAY = "172.31.255.1"
_PORT = 8440
_serial = itertools.count(1)

TOPOLOGY = Topology(
    nodes=(
        Node(name="customers", routes=(Route(to="default4", via=_GATEWAY),)),
        # The kernel sends few refusals a second by default; the measurement must see each.
        Node(
            name="gateway",
            forwarding=True,
            sysctls={"ipv4.icmp_ratelimit": "0"},
            routes=(
                Route(to="10.0.0.0/8", via="172.31.255.2"),
                *(Route(to=f"{place}/32", via="172.30.255.2") for place in ADDRESSES.values()),
            ),
        ),
        Node(name="provider", routes=(Route(to="default4", via="172.30.255.1"),)),
    ),
    links=(
        Link(
            left=End(node="customers", interface="up0", addresses=("172.31.255.2/24",)),
            right=End(node="gateway", interface=INTERFACE, addresses=(f"{_GATEWAY}/24",)),
        ),
        Link(
            left=End(node="provider", interface="down0", addresses=("172.30.255.2/24", *(f"{a}/32" for a in ADDRESSES.values()))),
            right=End(node="gateway", interface="prov0", addresses=("172.30.255.1/24",)),
        ),
    ),
)


class Host:
    """A gateway's files, and its processes while they run. `more`: further lines of its configuration."""

    def __init__(self, place: Path, made: Town, lab: Laboratory, more: str = "") -> None:
        self._place, self._lab = place, lab
        self._processes: list[subprocess.Popen[bytes]] = []
        self.state = made.state
        self.run = place / "run"
        self.run.mkdir()
        secret = place / "secret"
        secret.write_bytes(b"whsec_" + base64.b64encode(_SECRET))
        secret.chmod(0o600)
        (place / "sources.yaml").write_text(
            f"sources:\n  {SOURCE}:\n    kind: native\n    secrets: [secret]\n    customer_ids: listed\n"
            "    events: [payment.received, heartbeat, clock.checked, insolvency.checked]\n"
        )
        (place / "ecluse.yaml").write_text(
            f"policies: {made.policies}\nsources: sources.yaml\nstate_dir: {made.state}\nrun_dir: {self.run}\n"
            f"listen: {_GATEWAY}:{_PORT}\nkernel: nft\nmode_ceiling: auto\n{more}"
        )

    def start(self, role: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "agent", role, "--config", str(self._place / "ecluse.yaml"), "--log-level", "warning"]
        process = self._lab["gateway"].start(argv)
        self._processes.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def until(what: str, true: Callable[[], bool], pause: float = 0.01, patience: float = PATIENCE_S) -> float:
    """Wait until something is true; seconds."""
    begin = time.perf_counter()
    while not true():
        if time.perf_counter() - begin > patience:
            raise TimeoutError(f"{what}: not within {patience:g} s")
        time.sleep(pause)
    return time.perf_counter() - begin


def ready(run: Path) -> bool:
    """True once the enforcer has had its first good cycle: all is in the kernel and was looked at."""
    with suppress(ChannelError):
        return bool(channel.ask(run / "intake.sock", {"ask": "ready"}, timeout=PATIENCE_S)[0].get("ready"))
    return False


def listening(lab: Laboratory) -> bool:
    with lab["customers"].inside(), socket.socket() as sock:
        return sock.connect_ex((_GATEWAY, _PORT)) == 0


def memory_mb(process: subprocess.Popen[bytes], field: str = "VmRSS") -> float:
    """Resident memory now, or with `VmHWM` at its peak."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(field))) / 1024


def members(lab: Laboratory) -> int:
    """How many elements are in the kernel, all sets of the town together."""
    names = [
        name
        for service in SERVICES
        for name in (
            set_name(service, 4, 28, interface=False),
            set_name(service, 4, 28, interface=True),
            set_name(service, 6, 64, interface=False),
        )
    ]
    with lab["gateway"].inside():
        kernel = NftKernel()
    try:
        return sum(1 for name in names for _ in kernel.dump(name))
    finally:
        kernel.close()


# --- one payment -------------------------------------------------------------------------------------------------------


def webhook(type_: str, customer: str | None, data: Mapping[str, object]) -> bytes:
    """A signed request, whole."""
    now = datetime.now(UTC)
    about = {"customer": customer} if customer else {}
    body = json.dumps({"type": type_, **about, "occurred_at": now.isoformat(), "data": data}).encode()
    name, stamp = f"msg-{next(_serial)}", str(int(now.timestamp()))
    mac = hmac.new(_SECRET, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    head = (
        f"POST /webhooks/{SOURCE} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"webhook-id: {name}\r\nwebhook-timestamp: {stamp}\r\nwebhook-signature: v1,{base64.b64encode(mac).decode()}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body


def send(lab: Laboratory, request: bytes) -> bytes:
    """Send a webhook and give the whole answer."""
    with lab["customers"].inside():
        sock = socket.create_connection((_GATEWAY, _PORT), timeout=10)
    with sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(4096), b""))


def pay(lab: Laboratory, number: int, *, again: int = 0) -> tuple[float, float]:
    """One company pays. Milliseconds from the first byte out to the HTTP answer, and to the first echo of its packets.

    Args:
        lab: where.
        number: the company.
        again: so many times a payment that was answered with 503 is sent again, as billers do; its time goes on.
    """
    request = webhook("payment.received", f"cus_{number}", {"payment": f"P-{number}", "amount": DEBT, "currency": "EUR"})
    with lab["customers"].inside():
        udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
    with udp, tcp:
        udp.bind((address(number), 0))
        udp.connect((ADDRESSES["vpn"], VPN_PORT))
        udp.setblocking(False)
        if echoed(udp, 0.002):
            raise AssertionError(f"{company_id(number)} was not suspended")
        begin = time.perf_counter()
        answer: float | None = None
        flow: float | None = None
        tcp.connect((_GATEWAY, _PORT))
        tcp.sendall(request)
        while answer is None or flow is None:
            if time.perf_counter() - begin > PATIENCE_S:
                raise TimeoutError(f"{company_id(number)}: answer {answer}, flow {flow}")
            if flow is None and echoed(udp, _PROBE_S):
                flow = (time.perf_counter() - begin) * 1000
            if answer is None and select.select([tcp], [], [], 0)[0]:
                answer = (time.perf_counter() - begin) * 1000
                head = tcp.recv(4096).split(b"\r\n", 1)[0]
                if b" 503 " in head and again:
                    return _again(lab, request, udp, begin, again)
                if b" 200 " not in head:
                    raise AssertionError(f"a payment was answered with {head!r}")
    return answer, flow


def _again(lab: Laboratory, request: bytes, udp: socket.socket, begin: float, times: int) -> tuple[float, float]:
    """The same payment once more until it is taken; from the first time on it may restore."""
    for _ in range(times):
        time.sleep(1)
        if b" 200 " in send(lab, request).split(b"\r\n", 1)[0]:
            answer = (time.perf_counter() - begin) * 1000
            until("traffic flows again", lambda: echoed(udp, 0.01))
            return answer, (time.perf_counter() - begin) * 1000
    raise AssertionError(f"a payment was not taken in {times} times more")


def echoed(udp: socket.socket, wait: float) -> bool:
    """Send a datagram; True if an echo, of this one or an earlier one, comes within `wait` seconds."""
    with suppress(OSError):  # a refusal is told as the error of whatever is done next
        udp.send(b"?")
    if select.select([udp], [], [], wait)[0]:
        with suppress(OSError):
            return bool(udp.recv(16))
    return False


# --- the run -----------------------------------------------------------------------------------------------------------


def run(companies: int = COMPANIES, payments: int = PAYMENTS, cache: Path = Path(".cache")) -> dict[str, float]:
    """Figures under the keys of the design, and those beside them."""
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="bench-") as name, laboratory(TOPOLOGY) as lab:
        place = Path(name).absolute()
        made = town(companies, place, cache)
        os.sync()  # what was copied must not wait in the way of the daemon's own commits
        host = Host(place, made, lab)
        try:
            return _measure(host, lab, companies, payments)
        finally:
            host.close()


def wanted(companies: int) -> int:
    """How many elements a town has: each service at each attachment."""
    return len(SERVICES) * (companies + (companies + 9) // 10)


def _measure(host: Host, lab: Laboratory, companies: int, payments: int) -> dict[str, float]:
    enforce = host.start("enforce")
    fresh = until("start on an empty kernel", lambda: ready(host.run))
    found = members(lab)
    if found != wanted(companies):
        raise AssertionError(f"{found} elements in the kernel, {wanted(companies)} wanted")
    peak = memory_mb(enforce, "VmHWM")
    host.end(enforce)
    enforce = host.start("enforce")
    again = until("start with the rules there", lambda: ready(host.run))
    serve = host.start("serve")
    until("listening", lambda: listening(lab))
    answers, flows, syncs = [], [], []
    with lab["customers"].inside():
        # Any address of the town is the customers' own: one namespace stands for all of them.
        subprocess.run(["ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo"], check=True)
    with listen(lab["provider"], Endpoint(protocol="udp", address=ADDRESSES["vpn"], port=VPN_PORT)):
        send(lab, webhook("clock.checked", None, {"synchronised": True, "offset_ms": 1}))
        send(lab, webhook("insolvency.checked", None, {}))
        send(lab, webhook("heartbeat", None, {}))
        gc.disable()  # of this process, which only measures
        for turn in range(payments):
            answer, flow = pay(lab, turn * companies // payments)
            answers.append(answer)
            flows.append(flow)
            time.sleep(_PAUSE_S)
            syncs.append(sync_ms(host.state))
        gc.enable()
    figures = {
        "payment_to_flow_ms_p50": statistics.median(flows),
        "payment_to_flow_ms_p99": percentile(flows, 99),
        "payment_to_flow_ms_max": max(flows),
        "payment_to_answer_ms_p50": statistics.median(answers),
        "payment_to_answer_ms_p99": percentile(answers, 99),
        "payments": payments,
        "disk_sync_ms_p50": statistics.median(syncs),
        "disk_sync_ms_p99": percentile(syncs, 99),
        "start_100k_s": fresh,
        "start_rules_present_100k_s": again,
        "enforcer_rss_mb_100k": max(peak, memory_mb(enforce, "VmHWM")),
        "enforcer_rss_now_mb_100k": memory_mb(enforce),
        "serve_rss_mb": memory_mb(serve),
        "ledger_mb_100k": sum(file.stat().st_size for file in host.state.glob("ledger.db*")) / 2**20,
    }
    host.end(serve)
    host.end(enforce)
    return figures


def sync_ms(directory: Path) -> float:
    """What the disk alone takes for a commit of the usual size: the part of a payment's way that no program can shorten."""
    file = os.open(directory / "sync", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(file, os.urandom(40_000), 0)  # the same place again, as in a log that is used again
        begin = time.perf_counter()
        os.fdatasync(file)
        return (time.perf_counter() - begin) * 1000
    finally:
        os.close(file)


def percentile(values: list[float], share: int) -> float:
    """The smallest value that at least `share` percent of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * share // 100) - 1]


if __name__ == "__main__":
    for key, value in run(companies=int(sys.argv[1]) if sys.argv[1:] else COMPANIES).items():
        print(f"{key:28} {value:10.2f}")

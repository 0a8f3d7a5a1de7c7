"""The same change as other programs make it, beside ours and in the same run: what people use today on gateways.

Every peer is the Debian package, unpacked into `.cache` and never installed, with its default settings, in a network namespace of
its own. A change is timed from the moment it is asked for until the kernel has it (or has it no more), read by netlink.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

from agent.kernel.iptables import IptablesKernel
from agent.kernel.libnftables import Libnftables
from agent.kernel.nft import NftKernel
from agent.lab import Laboratory, Node, Space, Topology, laboratory
from agent.rules import Change, Key
from bench.change import SETS, STRUCTURE, company, foreign_intervals

CACHE = Path(".cache/peers")
PACKAGES = ("fail2ban", "crowdsec-firewall-bouncer")
MANY, BULK = 1_000, 10_000
PATIENCE_S = 120.0


def unpack() -> Path:
    """The peers' packages, fetched once."""
    root = (CACHE / "root").absolute()
    if not root.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=name, check=True, stderr=subprocess.DEVNULL)
            making = Path(name) / "root"
            for package in Path(name).glob("*.deb"):
                subprocess.run(["dpkg", "-x", package, making], check=True)
            making.rename(root)
    return root


def address(number: int) -> str:
    """The address that a change is about."""
    return str(IPv4Address(0x0A000000 + number))


def until(true: Callable[[], bool], pause: float = 0.0005) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE_S:g} s")
        time.sleep(pause)


def timed_ms(act: Callable[[], object], done: Callable[[], bool] | None = None) -> float:
    begin = time.perf_counter()
    act()
    if done is not None:
        until(done)
    return (time.perf_counter() - begin) * 1000


def run() -> dict[str, float]:
    """Milliseconds of one change by each, with nothing, a thousand or a hundred thousand there, and of many at once."""
    root = unpack()
    parts: tuple[Callable[[Space, Path], dict[str, float]], ...] = (ours, legacy, interval_set, fail2ban, crowdsec)
    found: dict[str, float] = {}
    with laboratory(Topology(nodes=tuple(Node(name=part.__name__[:12]) for part in parts))) as lab:
        for part in parts:
            found |= _inside(lab, part.__name__[:12], part, root)
    return found


def _inside(lab: Laboratory, name: str, part: Callable[[Space, Path], dict[str, float]], root: Path) -> dict[str, float]:
    with lab[name].inside():
        return part(lab[name], root)


def _program(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


# --- ours ----------------------------------------------------------------------------------------------------------------


def ours(_space: Space, _root: Path) -> dict[str, float]:
    """One company with three services, at 100 000 suspended; and 10 000 companies."""
    kernel = NftKernel()
    kernel.apply(Change(structure=STRUCTURE))
    bulk = timed_ms(partial(_fill, kernel, range(BULK)))
    _fill(kernel, range(BULK, 100_000))
    add, delete = [], []
    for number in range(100_000, 100_100):
        elements = company(number)
        keys = tuple(Key(set=e.set, key=e.key) for e in elements)
        there = partial(_shown, kernel, keys, len(SETS))
        gone = partial(_shown, kernel, keys, 0)
        add.append(timed_ms(partial(kernel.apply, Change(add=elements)), there))
        delete.append(timed_ms(partial(kernel.apply, Change(delete=keys)), gone))
    kernel.close()
    return {
        "peer_ours_one_ms_100k": statistics.median(add),
        "peer_ours_lift_ms_100k": statistics.median(delete),
        "peer_ours_10k_ms": bulk,
    }


def _fill(kernel: NftKernel, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, 5_000):
        kernel.apply(Change(add=tuple(e for number in range(start, min(start + 5_000, numbers.stop)) for e in company(number))))


def _shown(kernel: NftKernel, keys: Sequence[Key], many: int) -> bool:
    return len(kernel.observe(STRUCTURE, keys).members) == many


def legacy(_space: Space, _root: Path) -> dict[str, float]:
    """Our backend on legacy iptables and ipset, at 1 000; and the `ipset` program."""
    kernel = IptablesKernel()
    kernel.apply(Change(structure=STRUCTURE))
    kernel.apply(Change(add=tuple(e for number in range(MANY) for e in company(number))))
    took = [timed_ms(partial(kernel.apply, Change(add=company(number)))) for number in range(MANY, MANY + 20)]
    keys = [tuple(Key(set=e.set, key=e.key) for e in company(number)) for number in range(MANY, MANY + 20)]
    seen = [timed_ms(partial(kernel.observe, STRUCTURE, each)) for each in keys]
    kernel.close()
    subprocess.run(["ipset", "create", "theirs", "hash:ip", "maxelem", "1000000"], check=True)
    program = [timed_ms(partial(_program, "ipset", "add", "theirs", address(n))) for n in range(20)]
    return {
        "peer_ours_legacy_one_ms_1k": statistics.median(took),
        "peer_ours_legacy_look_ms_1k": statistics.median(seen),
        "peer_ipset_program_one_ms": statistics.median(program),
    }


def interval_set(_space: Space, _root: Path) -> dict[str, float]:
    """`nft add element` into an interval set of 100 000, in process; what a prefix list is usually kept in."""
    nft = Libnftables()
    foreign_intervals(nft)
    add = [timed_ms(partial(nft.run, f"add element ip geo countries {{ 10.{n}.0.0/16 }}\n")) for n in range(5)]
    delete = [timed_ms(partial(nft.run, f"delete element ip geo countries {{ 10.{n}.0.0/16 }}\n")) for n in range(5)]
    nft.close()
    return {"peer_interval_set_one_ms_100k": statistics.median(add), "peer_interval_set_lift_ms_100k": statistics.median(delete)}


# --- fail2ban ------------------------------------------------------------------------------------------------------------


def fail2ban(space: Space, root: Path) -> dict[str, float]:
    """One ban, a thousand, one lift at a thousand: a jail with the nftables action, asked over the server's socket."""
    with tempfile.TemporaryDirectory(dir=CACHE) as name, ExitStack() as stack:
        place = Path(name).absolute()
        config = place / "etc"
        shutil.copytree(root / "etc/fail2ban", config)
        shutil.rmtree(config / "jail.d")
        (place / "log").write_text("")
        (config / "filter.d/bench.conf").write_text("[Definition]\nfailregex = ^nothing <HOST>$\n")
        (config / "jail.local").write_text(
            "[bench]\nenabled = true\nfilter = bench\nbackend = polling\n"
            f"logpath = {place}/log\nbanaction = nftables-allports\naction = %(action_)s\nbantime = 1d\nport = 0:65535\n"
        )
        packages = str(root / "usr/lib/python3/dist-packages")
        argv = [
            sys.executable,
            str(root / "usr/bin/fail2ban-server"),
            "-c",
            str(config),
            "-s",
            f"{place}/sock",
            "-p",
            f"{place}/pid",
        ]
        argv += ["-f", "--logtarget", f"{place}/server.log", "--syslogsocket", "none", "start"]
        environment = {**os.environ, "PYTHONPATH": packages, "PYTHONWARNINGS": "ignore"}
        server = space.start(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(server.wait, 20)
        stack.callback(server.terminate)
        client = [sys.executable, "-c", _CLIENT, packages, f"{place}/sock"]
        asker = space.start(client, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(asker.kill)

        def ask(*words: str) -> str:
            print(json.dumps(words), file=asker.stdin, flush=True)
            return str(asker.stdout.readline()) if asker.stdout else ""

        until(lambda: "error" not in ask("status", "bench"), 0.2)

        def banned(text: str) -> bool:
            return _succeeds("nft", "get", "element", "inet", "f2b-table", "addr-set-bench", f"{{ {text} }}")

        one = timed_ms(lambda: ask("set", "bench", "banip", address(1)), lambda: banned(address(1)))
        many = timed_ms(
            lambda: ask("set", "bench", "banip", *(address(n) for n in range(2, 2 + MANY))), lambda: banned(address(1 + MANY))
        )
        lift = timed_ms(lambda: ask("set", "bench", "unbanip", address(1)), lambda: not banned(address(1)))
    return {"peer_fail2ban_one_ms": one, "peer_fail2ban_1k_ms": many, "peer_fail2ban_lift_ms_1k": lift}


_CLIENT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from fail2ban.client.csocket import CSocket
for line in sys.stdin:
    try:
        sock = CSocket(sys.argv[2], timeout=60)
        answer = sock.send(json.loads(line))
        sock.close()
        print("error" if answer[0] else "done", flush=True)
    except Exception as error:
        print("error", error, flush=True)
"""


# --- CrowdSec's firewall bouncer -----------------------------------------------------------------------------------------


class Decisions:
    """As much of CrowdSec's local API as the bouncer asks: decisions that are new or gone since it asked last."""

    def __init__(self) -> None:
        self.new: list[str] = []
        self.gone: list[str] = []
        self.lock = threading.Lock()

    def take(self) -> dict[str, list[dict[str, object]]]:
        with self.lock:
            new, gone, self.new, self.gone = self.new, self.gone, [], []
        return {"new": [_decision(each) for each in new], "deleted": [_decision(each) for each in gone]}


def _decision(value: str) -> dict[str, object]:
    about = {
        "origin": "cscli",
        "type": "ban",
        "scope": "Ip",
        "scenario": "bench",
        "duration": "4h0m0s",
        "id": int(IPv4Address(value)),
    }
    return {**about, "value": value}


@contextmanager
def local_api(decisions: Decisions) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(decisions.take()).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def crowdsec(space: Space, root: Path) -> dict[str, float]:
    """One decision and 10 000, from the moment the local API has them; the bouncer asks every ten seconds, as delivered."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    decisions = Decisions()
    with tempfile.TemporaryDirectory(dir=CACHE) as name, local_api(decisions) as url, ExitStack() as stack:
        config = Path(name).absolute() / "bouncer.yaml"
        text = (root / "etc/crowdsec/bouncers/crowdsec-firewall-bouncer.yaml").read_text()
        for old, new in (
            ("${BACKEND}", "nftables"), ("${API_KEY}", "bench"), ("http://127.0.0.1:8080/", url),
            ("daemonize: true", "daemonize: false"),
            ("/var/run/", f"{name}/"), ("/var/log/", f"{name}/"), ("enabled: true\n  listen_addr", "enabled: false\n  listen_addr"),
        ):  # fmt: skip
            text = text.replace(old, new)
        config.write_text(text)
        program = space.start(
            [str(root / "usr/bin/crowdsec-firewall-bouncer"), "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(program.wait, 20)
        stack.callback(program.terminate)

        where = ("ip", "crowdsec", "crowdsec-blacklists")

        def blocked(*addresses: str) -> bool:
            return all(_succeeds("nft", "get", "element", *where, f"{{ {each} }}") for each in addresses)

        until(partial(_succeeds, "nft", "list", "set", *where), 0.2)

        def decide(*addresses: str) -> None:
            with decisions.lock:
                decisions.new += addresses

        one = []
        for number in range(3):
            one.append(timed_ms(partial(decide, address(number)), partial(blocked, address(number))))
            time.sleep(1.7 * number)  # not always at the same point of its interval
        many = [address(number) for number in range(100, 100 + BULK)]
        bulk = timed_ms(partial(decide, *many), partial(blocked, many[-1], many[0]))
    return {"peer_crowdsec_one_ms": statistics.median(one), "peer_crowdsec_10k_ms": bulk}


if __name__ == "__main__":
    for key, value in run().items():
        print(f"{key:32} {value:12.2f}")

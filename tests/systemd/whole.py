"""The story of a whole machine, told from inside it: `whole.py STORY`. Started by a unit of the test at every boot.

First boot: install from nothing, suspend, kill every role, reboot. Second boot: still suspended, pay, restored, away with it. Each
step reports one line on the second serial line, as JSON: its name, and what went wrong ("" for nothing). The clock is the
machine's own: it is set before the machine starts, and this program stands for the time service that vouches for it.

`whole.py watch FILE ADDRESS...` opens connection after connection to TCP ports (ADDRESS PORT, in turn), and writes how that went.
"""

import base64
import ctypes
import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

STORY = Path("/root/story.json")
SEEN = Path("/root/first-boot-is-over")
REPORTS = Path("/dev/ttyS1")

#: Nothing here may be timed tightly: emulated time is slow and uneven. To start one `ecluse` takes four seconds of a processor.
PATIENCE = 240

UNITS = ("ecluse-enforce.service", "ecluse-serve.service", "ecluse-probe.service")
VPN, VPN6, PORTAL, ERP = "198.51.100.10", "2001:db8:100::10", "192.0.2.10", "10.20.11.5"


def told() -> dict[str, Any]:
    """What the test wrote down for us."""
    found: dict[str, Any] = json.loads(STORY.read_text())
    return found


def report(step: str, wrong: str) -> None:
    with REPORTS.open("w") as line:
        line.write(json.dumps({"step": step, "wrong": wrong}) + "\n")


def step(name: str, action: Callable[[], None]) -> None:
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever it is, the host is told
        report(name, f"{type(error).__name__}: {error}"[:6000] + "\n" + journal())
    else:
        report(name, "")


def journal() -> str:
    """What the roles said last."""
    argv = ["journalctl", "-q", "--no-pager", "-o", "short-monotonic", "-n", "40", *(f"-u{unit}" for unit in UNITS)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE).stdout


def run(*argv: str, code: int = 0, seconds: float = PATIENCE) -> str:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=seconds
    )
    if done.returncode != code:
        raise RuntimeError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout[-2500:]}")
    return done.stdout


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(0.5)


# --- the network: a desk and a local server of one customer, a neighbour, and the provider ------------------------------------

NODES = (
    ("desk", "za0", "10.20.10", "2001:db8:20:10"),
    ("erp", "za1", "10.20.11", "2001:db8:20:11"),
    ("neighbour", "zb0", "10.20.20", "2001:db8:20:20"),
    ("provider", "up0", "10.99.0", "fd99"),
)
WATCHED = {"desk": (ERP, "1433", PORTAL, "443"), "neighbour": (VPN, "443", VPN6, "443")}
watchers: dict[str, subprocess.Popen[bytes]] = {}


def wire_up() -> None:
    lines = [f"netns add {node}" for node, *_ in NODES]
    for node, interface, net4, net6 in NODES:
        lines += [
            f"link add {interface} type veth peer name eth0 netns {node}",
            f"address add {net4}.1/24 dev {interface}",
            f"address add {net6}::1/64 dev {interface} nodad",
            f"link set {interface} up",
        ]
    for address in (VPN, PORTAL):
        lines.append(f"route add {address} via 10.99.0.5")
    lines.append(f"route add {VPN6} via fd99::5")
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, timeout=PATIENCE)
    for node, _, net4, net6 in NODES:
        inside = [
            "link set lo up",
            "link set eth0 up",
            f"address add {net4}.5/24 dev eth0",
            f"address add {net6}::5/64 dev eth0 nodad",
            f"route add default via {net4}.1",
            f"route add default via {net6}::1",
        ]
        if node == "provider":
            inside += [f"address add {address} dev lo" for address in (f"{VPN}/32", f"{PORTAL}/32", f"{VPN6}/128")]
        subprocess.run(["ip", "-n", node, "-batch", "-"], input="\n".join(inside), text=True, check=True, timeout=PATIENCE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    for node, ports in (("provider", ("tcp:0.0.0.0:443", "tcp::::443")), ("erp", ("tcp:0.0.0.0:1433",))):
        argv = ["ip", "netns", "exec", node, "python3", "-I", "/root/echo.py", *ports]
        echo = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if echo.stdout is None or echo.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the ports of {node} are not open")
    for node, places in WATCHED.items():
        argv = ["ip", "netns", "exec", node, "python3", "-I", __file__, "watch", f"/run/{node}.json", *places]
        watchers[node] = subprocess.Popen(argv, stdin=subprocess.DEVNULL)


def connect(address: str, port: int) -> str:
    """Connect and have a byte come back: open, refused, or what else came of it."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.settimeout(20)
        try:
            sock.connect((address, port))
            sock.sendall(b"?")
            return "open" if sock.recv(1) == b"?" else "no answer"
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            return str(error)


def pairs(words: Sequence[str]) -> Iterator[tuple[str, int]]:
    for address, port in zip(words[::2], words[1::2], strict=True):
        yield address, int(port)


def watch(file: Path, places: list[tuple[str, int]]) -> None:
    """Until SIGTERM: connection after connection; then how many there were, and what was not open."""
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
    rounds, wrong = 0, []
    while not ending:
        wrong += [f"round {rounds}, {address}: {found}" for address, port in places if (found := connect(address, port)) != "open"]
        rounds += 1
        time.sleep(0.5)
    file.write_text(json.dumps({"rounds": rounds, "wrong": wrong}))


def unharmed() -> None:
    """The neighbour's services and the debtor's own software, portal included, were open all along."""
    for node, watcher in watchers.items():
        watcher.terminate()
        watcher.wait(PATIENCE)
        found = json.loads(Path(f"/run/{node}.json").read_text())
        if found["wrong"] or found["rounds"] < 10:
            raise RuntimeError(f"{node}: {found}")


PLACES = {"vpn": (VPN, "443"), "vpn, IPv6": (VPN6, "443"), "portal": (PORTAL, "443"), "erp": (ERP, "1433")}


def looked() -> dict[str, str]:
    """What the debtor's desk sees now: the announced service in either family, and what is never cut."""
    words = [word for place in PLACES.values() for word in place]
    said = run("ip", "netns", "exec", "desk", "python3", "-I", __file__, "see", *words).splitlines()
    return dict(zip(PLACES, said, strict=True))


def wanted(vpn: str) -> dict[str, str]:
    return {"vpn": vpn, "vpn, IPv6": vpn, "portal": "open", "erp": "open"}


def sees(vpn: str) -> None:
    found = looked()
    if found != wanted(vpn):
        raise RuntimeError(f"{found} instead of {wanted(vpn)}")


# --- the biller, the operator, and the time service ---------------------------------------------------------------------------


def vouch_for_the_clock() -> None:
    """Tell the kernel that its clock is right, as chrony and systemd-timesyncd do: ADJ_STATUS | ADJ_MAXERROR | ADJ_ESTERROR."""
    timex = ctypes.create_string_buffer(512)
    struct.pack_into("=IxxxxqqqqI", timex, 0, 0x10 | 0x4 | 0x8, 0, 0, 1000, 1000, 0)  # status 0: not STA_UNSYNC any more
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")


def post(type_: str, customer: str, data: dict[str, Any]) -> None:
    """One signed webhook; as billers do, what is answered with 503 is sent again: emulated, an answer can take too long."""
    secret = base64.b64decode(told()["secret"])
    stamp, message = int(time.time()), f"m-{time.time_ns()}"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp))
    body = json.dumps({"type": type_, **({"customer": customer} if customer else {}), "occurred_at": at, "data": data}).encode()
    signature = base64.b64encode(hmac.new(secret, f"{message}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()
    headers = {"webhook-id": message, "webhook-timestamp": str(stamp), "webhook-signature": f"v1,{signature}"}
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", 8440, timeout=PATIENCE)
        connection.request("POST", "/webhooks/billing", body, headers)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status != 503:
            break
        time.sleep(1)
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} {said!r}")


def is_suspended() -> None:
    """The agent says of itself that it is `za`, and nobody else, and nothing is wrong."""
    said = json.loads(run("ecluse", "status", "--json"))["data"]
    if [one["company"] for one in said["measures"]] != ["za"] or said["failures"] or said["kernel"]["structure"] != "as_wanted":
        raise RuntimeError(json.dumps(said))


def show(unit: str, name: str) -> str:
    return run("systemctl", "show", "-P", name, unit).strip()


# --- the story ----------------------------------------------------------------------------------------------------------------


def install() -> None:
    said = run("/root/bundle/install.sh", seconds=700)
    if "is installed" not in said or "observe" not in said:
        raise RuntimeError(said)


def limits_hold() -> None:
    """The bounds on memory and tasks are the kernel's, not only the unit's; and so is the filter that lets no packet out."""
    for unit in UNITS:
        group = Path("/sys/fs/cgroup/system.slice") / unit
        bounds = (group / "pids.max").read_text().strip(), (group / "memory.max").read_text().strip()
        if bounds[0] != "32" or bounds[1] == "max":
            raise RuntimeError(f"{unit}: {bounds}")
        if unit != "ecluse-probe.service" and not egress_filters(group):
            raise RuntimeError(f"{unit}: no program of IPAddressDeny at its cgroup")


def egress_filters(group: Path) -> int:
    """How many programs the kernel asks about each packet that leaves a cgroup (bpf(2), BPF_PROG_QUERY)."""
    descriptor = os.open(group, os.O_RDONLY)
    question = ctypes.create_string_buffer(struct.pack("=IIIIQI4x", descriptor, 1, 0, 0, 0, 0), 64)
    try:
        if ctypes.CDLL(None, use_errno=True).syscall(321, 16, question, 64) < 0:
            raise OSError(ctypes.get_errno(), "bpf")
    finally:
        os.close(descriptor)
    return int(struct.unpack_from("=I", question, 24)[0])


def set_up() -> None:
    for path, text in told()["files"].items():
        Path(path).write_text(text)
    run("systemctl", "restart", *UNITS)


def suspend() -> None:
    for type_, data in told()["signs"]:
        post(type_, "", data)
    Path("/root/history.jsonl").write_text(told()["history"])
    run("ecluse", "import", "/root/history.jsonl")
    run("ecluse", "approve", "--policy", "auto", "--until", told()["until"], "--reason", "test")
    try:
        until(lambda: looked() == wanted("refused"), "za is refused what was announced, and nothing else")
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{run('ecluse', 'explain', 'za')}") from None
    is_suspended()


def kill_all() -> None:
    former = {unit: show(unit, "MainPID") for unit in UNITS}
    run("systemctl", "kill", "-s", "KILL", *UNITS)
    sees("refused")
    for unit in UNITS:
        until(lambda: back(unit, former[unit]), f"{unit} is back")  # noqa: B023 - called at once
    sees("refused")
    post("heartbeat", "", {})


def out_of_memory() -> None:
    """The enforcer's own bound is drawn below what it holds: the kernel ends it, and it comes back as after any other end."""
    unit, former = UNITS[0], show(UNITS[0], "MainPID")
    run("systemctl", "set-property", "--runtime", unit, "MemoryMax=12M")
    until(lambda: show(unit, "MainPID") != former, "the kernel ends the enforcer for its memory")
    run("systemctl", "set-property", "--runtime", unit, "MemoryMax=2G")
    if "Memory cgroup out of memory: Killed process" not in run("dmesg"):
        raise RuntimeError("the kernel's log knows nothing of it")
    sees("refused")
    until(lambda: back(unit, former), "the enforcer is back")
    sees("refused")
    post("heartbeat", "", {})
    is_suspended()


def back(unit: str, former: str) -> bool:
    said = dict(line.split("=", 1) for line in run("systemctl", "show", "-p", "ActiveState", "-p", "MainPID", unit).splitlines())
    return said["ActiveState"] == "active" and said["MainPID"] not in ("0", former)


def runs() -> None:
    until(lambda: back("ecluse-enforce.service", ""), "the enforcer is up")
    sees("refused")
    is_suspended()


def pay() -> None:
    post("payment.received", "za", {"payment": "P1", "amount": "4800", "currency": "EUR"})
    until(lambda: looked() == wanted("open"), "za is restored")


def remove() -> None:
    run("/root/bundle/install.sh", "--uninstall", "--purge")
    left = [path for path in ("/opt/ecluse", "/etc/ecluse", "/var/lib/ecluse", "/usr/local/bin/ecluse") if os.path.lexists(path)]
    if left or "ecluse" in run("nft", "list", "tables"):
        raise RuntimeError(f"left: {left} {run('nft', 'list', 'tables')}")


FIRST: dict[str, Callable[[], None]] = {
    "wired up": wire_up,
    "installed from nothing": install,
    "bounded by the kernel": limits_hold,
    "set up": set_up,
    "open before": lambda: sees("open"),
    "suspended": suspend,
    "all roles killed, and nothing opens": kill_all,
    "the enforcer ended by the kernel for its memory, and nothing opens": out_of_memory,
    "others never noticed": unharmed,
}
SECOND: dict[str, Callable[[], None]] = {
    "wired up after the reboot": wire_up,
    "suspended still after the reboot": runs,
    "open again by the payment": pay,
    "removed": remove,
    "open without it": lambda: sees("open"),
    "others never noticed after the reboot": unharmed,
}


def main() -> None:
    match sys.argv[1:]:
        case ["watch", file, *places]:
            watch(Path(file), list(pairs(places)))
        case ["see", *places]:
            sys.stdout.write("".join(f"{connect(*place)}\n" for place in pairs(places)))
        case _:
            vouch_for_the_clock()
            first = not SEEN.exists()
            for name, action in (FIRST if first else SECOND).items():
                step(name, action)
            SEEN.touch()
            os.sync()
            run("systemctl", "reboot" if first else "poweroff")


if __name__ == "__main__":
    main()

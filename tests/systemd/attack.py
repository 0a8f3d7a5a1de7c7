"""Everything that whoever has taken over a role could try, from inside its sandbox. Run by the unit of the test.

Prints one JSON object: attempt -> what came of it ("" if it succeeded).
"""

import ctypes
import ctypes.util
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent import channel

libc = ctypes.CDLL(None, use_errno=True)
ENFORCER = int(sys.argv[1]) if __name__ == "__main__" else 0
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWNS = 0x10000000, 0x40000000, 0x00020000


def called(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def sock(family: int, kind: int, protocol: int = 0) -> None:
    socket.socket(family, kind, protocol).close()


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(5)
        one.connect(path)


def run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr).strip()[:300] or f"exit {done.returncode}")


def intake(header: dict[str, Any], body: bytes = b"") -> dict[str, Any]:
    return channel.ask(Path("/run/ecluse/intake.sock"), header, body, timeout=5)[0]


def forged(**headers: str) -> None:
    body = json.dumps({"type": "payment.received", "customer": "za", "occurred_at": "2026-03-30T07:00:00Z",
                       "data": {"payment": "P-forged", "amount": "4800", "currency": "EUR"}}).encode()  # fmt: skip
    answer = intake({"ask": "webhook", "source": "billing", "headers": headers, "peer": "127.0.0.1"}, body)
    if answer["status"] != 200:
        raise RuntimeError(f"status {answer['status']}")


def asked(ask: str) -> None:
    answer = intake({"ask": ask, "company": "za", "case": "za:N-za", "reason": "x", "all": True})
    if answer.get("status") != 200 and answer.get("exit") != 0:
        raise RuntimeError(str(answer))


def processes() -> None:
    if not any(int(name) == ENFORCER for name in os.listdir("/proc") if name.isdigit()):
        raise FileNotFoundError("not to be seen")


def fork_many() -> None:
    children = []
    try:
        for _ in range(200):
            child = os.fork()
            if child == 0:
                time.sleep(20)
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def executable_memory() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def overwrite(path: str) -> None:
    with open(path, "r+b"):
        pass


def nothing_in(path: str) -> None:
    if not os.listdir(path):
        raise RuntimeError("empty")


#: What the probing role is there for.
OUTBOUND = ("open a TCP socket", "open a UDP socket")

ATTEMPTS: dict[str, Callable[[], object]] = {
    # the firewall
    "speak netlink to the firewall": lambda: sock(socket.AF_NETLINK, socket.SOCK_RAW, 12),
    "run nft": lambda: run("nft", "list", "ruleset"),
    "delete our table with nft": lambda: run("nft", "delete", "table", "inet", "ecluse"),
    # the ledger
    "read the ledger": lambda: open("/var/lib/ecluse/ledger.db", "rb").close(),
    "list the ledger's directory": lambda: nothing_in("/var/lib/ecluse"),
    "write the stop file": lambda: open("/var/lib/ecluse/stop.json", "w").close(),
    # the secrets
    "read a secret": lambda: open("/etc/ecluse/secrets/billing", "rb").close(),
    "read the enforcer's copy of a secret": lambda: open("/run/credentials/ecluse-enforce.service/secrets_billing", "rb").close(),
    "read who the customers are": lambda: open("/etc/ecluse/policies/customers.yaml", "rb").close(),
    "read the enforcer's memory": lambda: open(f"/proc/{ENFORCER}/mem", "rb").close(),
    "trace the enforcer": lambda: called(libc.ptrace(16, ENFORCER, 0, 0)),
    "see the enforcer": processes,
    "kill the enforcer": lambda: os.kill(ENFORCER, signal.SIGKILL),
    # approvals and payments
    "speak to the operators' socket": lambda: connect("/run/ecluse/operator.sock"),
    "approve over the intake socket": lambda: asked("approve"),
    "suspend over the intake socket": lambda: asked("suspend"),
    "clear over the intake socket": lambda: asked("clear"),
    "reload over the intake socket": lambda: asked("reload"),
    "state a payment without a signature": forged,
    "state a payment with a made-up signature": lambda: forged(
        **{"webhook-id": "m1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1," + "A" * 43 + "="}
    ),
    "take the place of the intake socket": lambda: os.rename("/run/ecluse/intake.sock", "/run/ecluse/x"),
    "remove the intake socket": lambda: os.unlink("/run/ecluse/intake.sock"),
    # the way out
    "open a TCP socket": lambda: sock(socket.AF_INET, socket.SOCK_STREAM),
    "open a UDP socket": lambda: sock(socket.AF_INET6, socket.SOCK_DGRAM),
    "open a raw socket": lambda: sock(socket.AF_INET, socket.SOCK_RAW, 1),
    "open a packet socket": lambda: sock(socket.AF_PACKET, socket.SOCK_RAW, 3),
    # the program and the host
    "change the program": lambda: overwrite("/opt/ecluse/current/bin/ecluse"),
    "change the configuration": lambda: overwrite("/etc/ecluse/ecluse.yaml"),
    "change the unit": lambda: overwrite("/usr/local/lib/systemd/system/ecluse-serve.service"),
    "find what others left in /tmp": lambda: nothing_in("/tmp"),
    "write into /usr": lambda: open("/usr/ecluse", "w").close(),
    "write into /run": lambda: open("/run/ecluse-x", "w").close(),
    "stop the enforcer through systemd": lambda: run("systemctl", "stop", "ecluse-enforce.service"),
    "start a program through systemd": lambda: run("systemd-run", "--wait", "true"),
    "become root": lambda: os.setuid(0),
    "make a user namespace": lambda: called(libc.unshare(CLONE_NEWUSER)),
    "make a network namespace": lambda: called(libc.unshare(CLONE_NEWNET)),
    "make a mount namespace": lambda: called(libc.unshare(CLONE_NEWNS)),
    "enter the host's network": lambda: called(libc.setns(os.open("/proc/1/ns/net", os.O_RDONLY), CLONE_NEWNET)),
    "mount something": lambda: called(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
    "load a kernel module": lambda: called(libc.syscall(175, b"", 0, b"")),
    "load a BPF program": lambda: called(libc.syscall(321, 0, b"\0" * 128, 128)),
    "use the kernel's keys": lambda: called(libc.syscall(250, 0, -3, 1)),
    "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, 0),
    "set the host's name": lambda: socket.sethostname("x"),
    "get memory that can be written and run": executable_memory,
    "start processes without end": fork_many,
    "take real-time priority": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
}  # fmt: skip


def main() -> None:
    found = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except Exception as error:  # noqa: BLE001 - each attempt may fail in its own way
            found[name] = f"{type(error).__name__}: {error}"
        else:
            found[name] = ""
    # What it must be able to do, or nothing above says anything.
    found["who it is"] = str(os.getuid())
    found["the host's configuration"] = Path("/etc/ecluse/ecluse.yaml").read_text()[:8]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()

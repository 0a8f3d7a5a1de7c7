"""Whole Debians to test in: a tree built once by debootstrap, and containers that boot it with a real systemd as process 1.

The tree stays in .cache and is never written to: each container lays its own memory over it. A container lives in a network
namespace of the laboratory, so that packets reach it as they reach a gateway.
"""

import contextlib
import fcntl
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.lab import Space
from tests.process.house import ROOT, until

CACHE = ROOT / ".cache"
#: What every usual Debian has and a minimal one has not.
PACKAGES = ("systemd", "systemd-sysv", "dbus", "udev", "kmod", "python3", "nftables", "iproute2", "procps")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_MOUNTS = (
    'mount -t tmpfs tmpfs "$2" && mkdir "$2/upper" "$2/work" "$2/root" && '
    'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" && shift 2 && '
    # A container that asks for a reboot ends with 133 when it keeps its caller's unit.
    'while "$@"; [ $? = 133 ]; do :; done'
)
_serial = itertools.count()


def tree(suite: str = "bookworm") -> Path:
    """A Debian of that suite, built on first use; with its time on a 2-core machine: a minute."""
    key = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    place = CACHE / f"debian-{suite}-{key}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"debian-{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            for old in CACHE.glob(f"debian-{suite}-*"):
                shutil.rmtree(old)
            building = CACHE / f"debian-{suite}-building"
            done = subprocess.run(
                ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, building],
                env={"PATH": PATH}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                check=False, timeout=280,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout[-3000:]
            for package in (building / "var/cache/apt/archives").glob("*.deb"):
                package.unlink()
            building.rename(place)
    return place


class Machine:
    """A running container. `root` is its file system as it sees it."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path) -> None:
        self._process, self._console = process, console

    @property
    def leader(self) -> int:
        """Its process 1, by our count; 0 between two boots."""
        children: list[str] = []
        pid = self._process.pid
        for _ in ("systemd-nspawn", "process 1"):
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if not children:
                return 0
            pid = int(children[-1])
        return pid

    @property
    def root(self) -> Path:
        """Its files."""
        return Path(f"/proc/{self.leader}/root")

    def run(
        self, *argv: str | Path, check: bool = True, text: str | None = None, seconds: float = 60, language: str = "en"
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in it, as root. With `check`, it has to succeed."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", "--wdns=/", "--", *map(str, argv)],
            env={"PATH": PATH, "LANG": language, "HOME": "/root"}, capture_output=True, text=True, input=text, check=False,
            timeout=seconds,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def journal(self, *options: str) -> str:
        """What the journal has."""
        return self.run("journalctl", "-q", "--no-pager", *options).stdout

    def write(self, path: str, text: str) -> None:
        """Write a file of it, with its directory."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def copy(self, directory: Path, to: str) -> None:
        """Copy a directory into it."""
        shutil.copytree(directory, self.root / to.lstrip("/"), symlinks=True)

    def booted(self, seconds: float = 60) -> str:
        """Wait until the boot is over; returns systemd's word for how it went."""
        deadline = time.monotonic() + seconds
        while True:
            assert self._process.poll() is None, self._console.read_text()
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired, OSError):
                word = self.run("systemctl", "is-system-running", check=False, seconds=5).stdout.strip()
                if word in ("running", "degraded"):
                    return word
            assert time.monotonic() < deadline, self._console.read_text()
            time.sleep(0.2)

    def reboot(self) -> None:
        """Restart it as a person would, until the boot has come as far as people and services need; its files stay."""
        former = self.leader
        self.run("systemctl", "reboot", check=False)
        until(lambda: self.leader not in (0, former), 60, what="the container is started again", pause=0.1)
        until(lambda: self.reached("multi-user.target"), 60, what="it has booted", pause=0.2)

    def reached(self, unit: str) -> bool:
        """Whether a unit is active; not, while there is no manager to ask."""
        return self.run("systemctl", "is-active", "-q", unit, check=False, seconds=10).returncode == 0

    def end(self) -> None:
        """Pull the plug."""
        with contextlib.suppress(OSError):
            os.kill(self.leader or self._process.pid, signal.SIGKILL)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)


@contextmanager
def container(space: Space, *, suite: str = "bookworm", options: Sequence[str] = ()) -> Iterator[Machine]:
    """A booted container of its own, in that network namespace."""
    name = f"ecl-{os.getpid()}-{next(_serial)}"
    base = tree(suite)
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as room:
        console = Path(room) / "console"
        mounts = Path(room) / "mounts"
        mounts.mkdir()
        nspawn: list[Any] = [
            *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--link-journal=no", "--console=pipe"),
            *(
                f"--machine={name}",
                f"--directory={mounts}/root",
                f"--network-namespace-path={space.path}",
                "--capability=CAP_NET_ADMIN,CAP_NET_RAW",
                "--system-call-filter=adjtimex clock_adjtime",  # as on a real machine, reading the clock's state is allowed
                *options,
            ),
        ]
        with console.open("wb") as output:
            # The mounts belong to a mount namespace of the container's parent, and go with it.
            process = subprocess.Popen(
                ["unshare", "-m", "--", "sh", "-c", _MOUNTS, "sh", base, mounts, *nspawn],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={"PATH": PATH}, start_new_session=True,
            )  # fmt: skip
        machine = Machine(process, console)
        try:
            machine.booted()
            yield machine
        finally:
            machine.end()

"""Floor 3. Reading a host for `doctor`: what is there, never changed.

Rules of this room:

1. Nothing on the host is changed, loaded or switched on. What the kernel can do is tried in a network namespace of a thread's
   own, which is gone with the thread.
2. Whatever can not be read is named in `Facts.unread` with the reason, and the rest is read all the same.
3. Programs are started without a shell, with a bound on time.
"""

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent import clock
from agent.config import Config
from agent.doctor.facts import Clock, Disk, Facts
from agent.errors import EcluseError, KernelError
from agent.examine import installation
from agent.examine.features import try_features
from agent.examine.network import ipsets, legacy, links, routing_rules, ruleset, tool
from agent.kernel.libnftables import Libnftables

_SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.fwmark_reflect",
    "net.ipv6.fwmark_reflect",
    "net.bridge.bridge-nf-call-iptables",
)
_RULESET_FILES = ("/etc/nftables.conf", "/etc/sysconfig/nftables.conf")
_TOO_LARGE = 1 << 20
_READ_ONLY = 1


def examine(state_dir: Path, *, etc: Path = Path("/"), config: Config | None = None) -> Facts:
    """Read the host, in the network namespace of the caller.

    Args:
        state_dir: where the ledger is or will be.
        etc: where `/etc` is looked for.
        config: of the installation that is looked at as well, if there is one.
    """
    unread: dict[str, str] = {}

    def read(name: str, what: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return what()
        except (EcluseError, OSError, ValueError, KeyError, RuntimeError) as error:
            unread[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
            return otherwise

    return Facts(
        kernel=platform.release(),
        nft=read("nft", _nft_version, None),
        libnftables=_library_fault(),
        features=read("features", try_features, None),
        clock=read("clock", _clock, None),
        disk=read("disk", lambda: _disk(state_dir), None),
        tables=read("tables", ruleset, ()),
        legacy=read("legacy", legacy, {}),
        ipsets=read("ipsets", ipsets, ()),
        rules=read("rules", routing_rules, ()),
        links=read("links", links, ()),
        sysctls=_sysctls(),
        conntrack=_conntrack(),
        running=_running(),
        files=_flushing(etc),
        kept=read("kept", lambda: installation.kept(config), ()) if config else (),
        former=read("former", lambda: installation.former(state_dir), ()),
        certificates=read("certificates", lambda: installation.certificates(config), ()) if config else (),
        units=read("units", installation.units, None),
        unread=unread,
    )


def _nft_version() -> str | None:
    found = tool("nft", "--version")
    return found.split()[1].removeprefix("v") if found else None


def _library_fault() -> str | None:
    try:
        Libnftables().close()
    except KernelError as error:
        return str(error)
    return None


def _sysctls() -> Mapping[str, str]:
    found = {}
    for name in _SYSCTLS:
        with suppress(OSError):
            found[name] = Path("/proc/sys", *name.split(".")).read_text().strip()
    return found


def _conntrack() -> tuple[int, int] | None:
    """How many connections are tracked and how many may be; None where nobody tracks."""
    place = Path("/proc/sys/net/netfilter")
    try:
        return int((place / "nf_conntrack_count").read_text()), int((place / "nf_conntrack_max").read_text())
    except (OSError, ValueError):
        return None


def _clock() -> Clock:
    found = clock.read()
    return Clock(synchronised=found.synchronised, offset_ms=found.offset_ms)


def _disk(state_dir: Path) -> Disk:
    place = next(each for each in (state_dir, *state_dir.absolute().parents) if each.exists())
    found = os.statvfs(place)
    return Disk(
        path=str(state_dir),
        free_mb=found.f_bavail * found.f_frsize / 2**20,
        total_mb=found.f_blocks * found.f_frsize / 2**20,
        free_files=found.f_favail if found.f_files else 2**31,
        read_only=bool(found.f_flag & _READ_ONLY),
    )


def _running() -> tuple[str, ...]:
    """The names of all processes in this network namespace, each once."""
    here = Path("/proc/self/ns/net").stat().st_ino
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "ns/net").stat().st_ino == here:
                found.add((entry / "comm").read_text().strip())
    return tuple(sorted(found))


def _flushing(etc: Path) -> tuple[str, ...]:
    found = []
    for name in _RULESET_FILES:
        with suppress(OSError, UnicodeDecodeError):
            path = etc / name.removeprefix("/")
            lines = path.read_text().splitlines() if path.stat().st_size < _TOO_LARGE else []
            if any(line.split("#")[0].strip().rstrip(";").split() == ["flush", "ruleset"] for line in lines):
                found.append(name)
    return tuple(found)

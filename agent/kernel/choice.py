"""Floor 2, kernel. Which backend serves this gateway, and why.

Rules of this room:

1. nf_tables wherever the kernel has it: one transaction for each change, and it stands beside legacy iptables without touching it,
   since every hook asks both. Legacy iptables only where there is no nf_tables.
2. A right that is missing is an error, never a reason to take the other backend.
3. The reason is said: a person must see at once why their gateway is served as it is.
4. One backend holds what is ours. What another one left would refuse without anybody to restore.
"""

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.errors import KernelError
from agent.kernel import Kernel
from agent.kernel.memory import MemoryKernel
from agent.kernel.nft import NftKernel
from agent.kernel.watch import Watch
from agent.rules import Change

Asked = Literal["auto", "nft", "iptables", "memory"]

#: What a kernel without nf_tables says.
_NO_NFTABLES = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT})


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A backend that is open, the reason in French and English, and how to hear of changes by others (None: look by the clock)."""

    kernel: Kernel
    fr: str
    en: str
    open_watch: Callable[[], Watch] | None = None


def choose(asked: Asked) -> Choice:
    """Open the backend that is asked for, or with `auto` the one that fits.

    Raises:
        KernelError: it can not be opened; with `auto`, neither can.
    """
    match asked:
        case "memory":
            return Choice(
                kernel=MemoryKernel(time.monotonic),
                fr="demandé ; rien n'est refusé à personne",
                en="as asked; nobody is refused anything",
            )
        case "iptables":
            return _iptables("demandé par la configuration", "as configured")
        case "nft":
            return _nft("demandé par la configuration", "as configured")
    try:
        return _nft("nf_tables répond", "nf_tables answers")
    except KernelError as error:
        if error.errno not in _NO_NFTABLES:
            raise
        return _iptables("ce noyau n'a pas nf_tables", "this kernel has no nf_tables")


def clear_other(chosen: Kernel) -> bool:
    """Take away what the other backend holds, if this gateway was served by it before. Returns whether there was anything.

    Nobody would take a member out of it when its company has paid. Where the other one is not there (any more), what it holds ends
    with its leases.

    Args:
        chosen: the backend that serves this gateway from now on.

    Raises:
        KernelError: the other one is there and can not be asked.
    """
    other = _other(chosen.name)
    if other is None:
        return False
    try:
        found = bool(other.sets())
        if found:
            other.apply(Change(remove_table=True))
    finally:
        other.close()
    return found


def _other(name: str) -> Kernel | None:
    if name == "iptables":
        try:
            return NftKernel()
        except KernelError as error:
            if error.errno in _NO_NFTABLES:
                return None
            raise
    # Only where legacy tables are in use: asking for them would bring them into the kernel.
    if name == "nft" and "filter" in _legacy_tables():
        try:
            return _iptables("", "").kernel
        except KernelError as error:
            if error.errno == errno.ENOENT:  # no python-iptables: it never served this gateway, or was removed since
                return None
            raise
    return None


def _legacy_tables() -> frozenset[str]:
    """The legacy tables of IPv4 that this network namespace has."""
    try:
        return frozenset(Path("/proc/thread-self/net/ip_tables_names").read_text().split())
    except OSError:
        return frozenset()


def _nft(fr: str, en: str) -> Choice:
    kernel = NftKernel()
    return Choice(kernel=kernel, fr=fr, en=en, open_watch=lambda: Watch((kernel.port,)))


def _iptables(fr: str, en: str) -> Choice:
    from agent.kernel.iptables import IptablesKernel  # noqa: PLC0415 - what it needs is only on gateways on legacy iptables

    return Choice(kernel=IptablesKernel(), fr=fr, en=en)

"""Floor 2, kernel. Does this network namespace track connections already?

Rules of this room:

1. Read only. What is asked must not itself make the kernel track: no rule is tried out.
2. A rule of ours that refers to conntrack would switch tracking on for everybody who is forwarded. So a doubt means no, and a
   drain then lets everything of its customer and service through until it ends.
3. Both families or none: one rule in our table asks for both.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from agent.errors import KernelError
from agent.kernel.netlink import GETCHAIN, Message, Netlink, attribute, attributes, text

_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_SUBSYS_HOOK, _HOOK_GET, _HOOK_NUMBER, _HOOK_FUNCTION = 12, 0, 1, 4
_FAMILIES = {"IPv4": 2, "IPv6": 10}
_PREROUTING = 0
_CHAIN_TABLE, _CHAIN_TYPE = 1, 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracking:
    """Whether connections are tracked, and what shows it, in words for an operator."""

    tracked: bool
    reason: str


def tracking() -> Tracking:
    """Look at the network namespace of the calling thread.

    The kernel lists its hooks from Linux 5.14 on (CONFIG_NETFILTER_NETLINK_HOOK); this is exact. Elsewhere two signs count:
    connections in the table, and a chain of type nat, which can not be without conntrack.

    Raises:
        KernelError: no netlink socket could be opened.
    """
    with Netlink() as netlink:
        try:
            silent = [name for name, family in _FAMILIES.items() if not _hooked(netlink, family)]
        except KernelError:
            return _signs(netlink)
    if silent:
        return Tracking(tracked=False, reason=f"the kernel has no conntrack hook for {' and '.join(silent)}")
    return Tracking(tracked=True, reason="conntrack is hooked for both families")


def tracked() -> bool:
    """Are connections tracked here? False where that can not be seen."""
    try:
        return tracking().tracked
    except KernelError:
        return False


def _hooked(netlink: Netlink, family: int) -> bool:
    where = attribute(_HOOK_NUMBER, struct.pack(">I", _PREROUTING))
    asked = Message(_HOOK_GET, where, "the hooks of the kernel", subsystem=_SUBSYS_HOOK, family=family)
    return any(text(dict(attributes(body)).get(_HOOK_FUNCTION, b"")).endswith("_conntrack_in") for body in netlink.collect(asked))


def _signs(netlink: Netlink) -> Tracking:
    try:
        count = int(_COUNT.read_text())
    except (OSError, ValueError):  # no such file: the kernel has no conntrack, or has not loaded it
        return Tracking(tracked=False, reason="the kernel has no conntrack")
    if count:
        return Tracking(tracked=True, reason=f"{count} connections are tracked")
    try:
        chains = [dict(attributes(body)) for body in netlink.collect(Message(GETCHAIN, b"", "all chains", family=0))]
    except KernelError as error:
        return Tracking(tracked=False, reason=f"nothing is tracked now, and the chains can not be read: {error}")
    table = next((text(chain[_CHAIN_TABLE]) for chain in chains if chain.get(_CHAIN_TYPE) == b"nat\0"), None)
    if table is not None:
        return Tracking(tracked=True, reason=f"table {table} translates addresses")
    return Tracking(tracked=False, reason="nothing is tracked now and no table translates addresses")

"""Floor 1, ruleset. What sets, chains and keys are called, so that a fresh process recognises them."""

import re
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_network
from typing import Literal

from agent.model import EVERY_ADDRESS, Family, Network, Service
from agent.rules import MemberSet, Use

FAMILIES: tuple[Family, ...] = (4, 6)

#: The chain that every refusal ends in; `RefuseMembers` goes there.
REFUSE = "refuse"

#: An interface name takes this many bytes in a key, NUL-padded (the kernel's IFNAMSIZ).
INTERFACE_BYTES = 16

_PLAIN = re.compile(r"[a-z][a-z0-9-]{0,21}")
_USE_LETTERS = {Use.REFUSE: "", Use.CAP_TO: "u", Use.CAP_FROM: "d", Use.DRAIN: "o"}


@lru_cache(maxsize=4096)
def stem(service: str) -> str:
    """The part of a name that stands for one service: at most 22 bytes, an nft identifier.

    A plain id is used as it is. Any other is shortened and carries 48 bits of its SHA-256 behind an underscore, which no
    plain id has, so that the two kinds can not meet. With the decorations added here a name stays within 31 bytes, the
    limit of old kernels and of ipset.
    """
    if _PLAIN.fullmatch(service):
        return service
    readable = re.sub(r"[^a-z0-9]+", "-", service.lower())
    if not readable[:1].isalpha():
        readable = "s" + readable
    return f"{readable:.9}_{sha256(service.encode()).hexdigest()[:12]}"


def set_name(service: str, family: Family, prefixlen: int, *, interface: bool, use: Use = Use.REFUSE) -> str:
    """The member set of one shape, such as `ged4_24` or, with the interface in the key, `ged4if_24` (`ged4if_0`: it alone).

    Sets of another use than refusal have a letter behind the family: `ged4u_24` and `ged4d_24` (up and down) cap, `ged4o_24`
    lets connections that are open go on.
    """
    return f"{stem(service)}{family}{_USE_LETTERS[use]}{'if' if interface else ''}_{prefixlen}"


def chain_name(service: str, family: Family, way: Literal["to", "from"]) -> str:
    """The chain of one service, such as `to4_ged` (the customer sends) or `from4_ged` (the customer receives)."""
    return f"{way}{family}_{stem(service)}"


def key_bytes(prefix: Network, interface: str | None) -> bytes:
    """The key of one attachment as the kernel compares it: [interface name padded to 16 bytes] + network address.

    A prefix of every address has the interface alone as its key.

    Raises:
        ValueError: the interface name does not fit into 15 bytes; every address without an interface.
    """
    if interface is None:
        if prefix.prefixlen == 0:
            raise ValueError(f"{prefix} without an interface is everybody")
        return prefix.network_address.packed
    name = interface.encode()
    if not 0 < len(name) < INTERFACE_BYTES:
        raise ValueError(f"interface name {interface!r} must be 1 to 15 bytes long")
    return name.ljust(INTERFACE_BYTES, b"\0") + (prefix.network_address.packed if prefix.prefixlen else b"")


def key_length(members: MemberSet) -> int:
    """How many bytes a key of `members` has."""
    return (INTERFACE_BYTES if members.interface else 0) + address_length(members)


def address_length(members: MemberSet) -> int:
    """How many of them are the address."""
    return 0 if members.interface and members.prefixlen == 0 else {4: 4, 6: 16}[members.family]


def interface_of(members: MemberSet, key: bytes) -> str | None:
    """The interface name in a key of `members`; None where keys have none. No check: for keys that were made here."""
    return key[:INTERFACE_BYTES].rstrip(b"\0").decode(errors="backslashreplace") if members.interface else None


def read_key(members: MemberSet, key: bytes) -> tuple[str | None, Network]:
    """The interface (None where the set has none) and the network that a key of `members` stands for.

    Raises:
        ValueError: the key's length or content does not fit the set.
    """
    if len(key) != key_length(members):
        raise ValueError(f"a key of set {members.name} does not have {len(key)} bytes")
    interface: str | None = None
    if members.interface:
        interface = key[:INTERFACE_BYTES].rstrip(b"\0").decode(errors="backslashreplace")
        key = key[INTERFACE_BYTES:] or EVERY_ADDRESS[members.family == 6].network_address.packed
    return interface, ip_network((key, members.prefixlen))


def has_family(service: Service, family: int) -> bool:
    """True if the service can be reached over IPv4 (4) or IPv6 (6)."""
    return any(selector.prefix.version == family for selector in service.selectors)

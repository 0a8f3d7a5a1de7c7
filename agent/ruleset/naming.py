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
#: Beginnings of the names of stage 4. No stem of a service is a word with an underscore and a digit behind it.
_REST_WORDS = {Use.GATE: "gate", Use.DRAIN: "open", Use.PAIR: "pair", Use.REST: "rest"}


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


def set_name(
    service: str, family: Family, prefixlen: int, *, interface: bool, use: Use = Use.REFUSE, dedicated: int | None = None
) -> str:
    """The member set of one shape, such as `ged4_24` or, with the interface in the key, `ged4if_24` (`ged4if_0`: it alone).

    Sets of another use than refusal have a letter behind the family: `ged4u_24` and `ged4d_24` (up and down) cap, `ged4o_24`
    lets connections that are open go on. `dedicated`: the prefix length of the company's own addresses, such as `server4_24_32`;
    these names have up to 34 bytes, which every kernel with sets of ranges takes.
    """
    own = "" if dedicated is None else f"_{dedicated}"
    return f"{stem(service)}{family}{_USE_LETTERS[use]}{'if' if interface else ''}_{prefixlen}{own}"


def rest_name(use: Use, family: Family, prefixlen: int, *, interface: bool, other: tuple[int, bool] | None = None) -> str:
    """A member set of stage 4, which belongs to no service: `gate_4_24`, `rest_6if_64`, `pair_4if_24_32`, `open_4_24`."""
    behind = "" if other is None else f"_{'if' if other[1] else ''}{other[0]}"
    return f"{_REST_WORDS[use]}_{family}{'if' if interface else ''}_{prefixlen}{behind}"


def other_end(network: Network, interface: str | None) -> tuple[tuple[int, bool], bytes]:
    """Shape and key bytes of the other end of a pair. An interface only where it is all that is known: less spares more."""
    if network.prefixlen or interface is None:
        return (network.prefixlen, False), network.network_address.packed if network.prefixlen else b""
    return (0, True), key_bytes(network, interface)


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
    return sum(_end_length(members, *end) for end in _ends(members))


def split_key(members: MemberSet, key: bytes) -> tuple[bytes, bytes]:
    """The bytes of the member's own end, and those of the other end, which are none where keys have no other end."""
    length = _end_length(members, members.prefixlen, members.interface)
    return (key, b"") if members.other is None else (key[:length], key[length:])


def _ends(members: MemberSet) -> tuple[tuple[int, bool], ...]:
    own = (members.prefixlen, members.interface)
    return (own,) if members.other is None else (own, members.other)


def _end_length(members: MemberSet, prefixlen: int, interface: bool) -> int:  # noqa: FBT001 - a pair as the sets have it
    return (INTERFACE_BYTES if interface else 0) + _address_bytes(members.family, prefixlen)


def _address_bytes(family: Family, prefixlen: int) -> int:
    return {4: 4, 6: 16}[family] if prefixlen else 0


def interface_of(members: MemberSet, key: bytes) -> str | None:
    """The interface name in a key of `members`; None where keys have none. No check: for keys that were made here."""
    return key[:INTERFACE_BYTES].rstrip(b"\0").decode(errors="backslashreplace") if members.interface else None


def read_key(members: MemberSet, key: bytes) -> tuple[str | None, Network]:
    """The interface (None where the set has none) and the network that a key of `members` stands for; of a pair, the member's.

    Raises:
        ValueError: the key's length or content does not fit the set.
    """
    return read_ends(members, key)[0]


def read_ends(members: MemberSet, key: bytes) -> tuple[tuple[str | None, Network], ...]:
    """The same with the other end of a pair behind it.

    Raises:
        ValueError: the key's length or content does not fit the set.
    """
    if len(key) != key_length(members):
        raise ValueError(f"a key of set {members.name} does not have {len(key)} bytes")
    found: list[tuple[str | None, Network]] = []
    for prefixlen, has_interface in _ends(members):
        interface: str | None = None
        if has_interface:
            interface, key = key[:INTERFACE_BYTES].rstrip(b"\0").decode(errors="backslashreplace"), key[INTERFACE_BYTES:]
        size = _address_bytes(members.family, prefixlen)
        address = key[:size] or EVERY_ADDRESS[members.family == 6].network_address.packed
        key = key[size:]
        found.append((interface, ip_network((address, prefixlen))))
    return tuple(found)


def has_family(service: Service, family: int) -> bool:
    """True if the service can be reached over IPv4 (4) or IPv6 (6)."""
    return any(selector.prefix.version == family for selector in service.selectors)

"""Floor 2, kernel. Member sets in ipset, through pyroute2.

Rules of this room:

1. One ipset a member set: `hash:net`, or `hash:net,iface` where the interface is part of the key. Every element carries a timeout
   (the lease), a counter and a comment (the case id).
2. ipset changes one element after the other and promises nothing about several. So whatever fails half-way here takes away what
   it added: fewer are suspended than wanted, never more.
3. ipset counts leases in whole seconds: they are cut to the second below, but never to none, which would be for ever.
4. pyroute2 runs an event loop of its own, which can not be inside another one: call this from a thread that has none.
"""

import errno
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_network
from typing import Any, TypeVar

from pyroute2.ipset import IPSet
from pyroute2.netlink.exceptions import IPSetError, NetlinkError

from agent.errors import KernelError
from agent.kernel.netlink import Message, Netlink, attribute, attributes, failure, text, text_attribute
from agent.kernel.xtrules import SET_PREFIX
from agent.rules import Element, Found, MemberSet
from agent.ruleset import key_bytes, read_key

#: ipset's own limit is 65 536 unless it is told another one when a set is made.
MAX_ELEMENTS = 1 << 21

#: `IPSET_MAX_TIMEOUT`: the kernel counts milliseconds in 31 bits. A longer lease is renewed long before.
_MAX_TIMEOUT_S = 2_147_483

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_TYPES = {False: "hash:net", True: "hash:net,iface"}
_ENTRY = {False: "net", True: "net,iface"}

#: What ipset says in numbers of its own (linux/netfilter/ipset/ip_set.h), as errnos that callers know.
_THERE_OR_NOT = 4103  # added although it is there, deleted although it is not
_IPSET_ERRNO = {_THERE_OR_NOT: errno.EEXIST, 4352: errno.ENOSPC, 4357: errno.EINVAL}
_NOT_THERE = frozenset({_THERE_OR_NOT, errno.ENOENT})

#: `IPSET_FLAG_LIST_HEADER`: names and types without members.
_LIST_HEADER = 4

#: linux/netfilter/ipset/ip_set.h: what a listing is asked with and made of.
_SUBSYS_IPSET, _LIST, _VERSION = 6, 7, 6
_PROTOCOL, _SETNAME, _ADT = 1, 2, 8
_IP, _CIDR, _TIMEOUT, _IFACE, _PACKETS, _COMMENT = 1, 3, 6, 23, 25, 26

_T = TypeVar("_T")


class Ipsets:
    """The ipsets of the network namespace that the calling thread is in. Not for use from two threads at a time."""

    def __init__(self) -> None:
        """Open the netlink socket.

        Raises:
            KernelError: the kernel has no ipset, or CAP_NET_ADMIN is missing.
        """
        self._ipset: Any = self._do("open the netlink socket of ipset", IPSet)
        self._reader = Netlink()

    def close(self) -> None:
        """Close the socket. What is in the kernel stays."""
        self._ipset.close()
        self._reader.close()

    def ours(self) -> Mapping[str, tuple[str, int]]:
        """The sets whose name says that they are ours: type and address family of each."""

        def read() -> dict[str, tuple[str, int]]:
            found: dict[str, tuple[str, int]] = {}
            for message in self._ipset.list(flags=_LIST_HEADER):
                name = message.get_attr("IPSET_ATTR_SETNAME")
                if name.startswith(SET_PREFIX):
                    found[name] = message.get_attr("IPSET_ATTR_TYPENAME"), message.get_attr("IPSET_ATTR_FAMILY")
            return found

        return self._do("list the ipsets", read)

    def create(self, name: str, members: MemberSet) -> None:
        """Make an empty set.

        Raises:
            KernelError: EEXIST if there is one of that name.
        """
        self._do(
            f"make ipset {name}",
            lambda: self._ipset.create(
                name,
                stype=_TYPES[members.interface],
                family=_FAMILY[members.family],
                timeout=0,
                counters=True,
                comment=True,
                maxelem=MAX_ELEMENTS,
            ),
        )

    def destroy(self, name: str) -> None:
        """Take a set away that no rule names; an absent one is no error."""

        def do() -> None:
            try:
                self._ipset.destroy(name)
            except NetlinkError as error:
                if error.code != errno.ENOENT:
                    raise

        self._do(f"take ipset {name} away", do)

    def delete(self, name: str, members: MemberSet, keys: Sequence[bytes]) -> None:
        """Delete members, whether they exist or not."""

        def do() -> None:
            for key in keys:
                try:
                    self._ipset.delete(name, _entry(members, key), family=_FAMILY[members.family], etype=_ENTRY[members.interface])
                except (IPSetError, NetlinkError) as error:
                    if error.code not in _NOT_THERE:
                        raise

        self._do(f"delete members of ipset {name}", do)

    def add(self, name: str, members: MemberSet, elements: Sequence[Element]) -> None:
        """Add members, or give them a new lease and case where they exist. If it fails, what was new in it is gone again."""
        new: list[bytes] = []

        def one(element: Element, *, exclusive: bool) -> None:
            self._ipset.add(
                name,
                _entry(members, element.key),
                family=_FAMILY[members.family],
                etype=_ENTRY[members.interface],
                comment=element.case,
                timeout=min(max(element.timeout_ms // 1000, 1), _MAX_TIMEOUT_S),
                packets=0,
                bytes=0,
                exclusive=exclusive,
            )

        def do() -> None:
            for element in elements:
                try:
                    one(element, exclusive=True)
                    new.append(element.key)
                except (IPSetError, NetlinkError) as error:
                    if error.code not in (_THERE_OR_NOT, errno.EEXIST):
                        raise
                    one(element, exclusive=False)

        try:
            self._do(f"add members to ipset {name}", do)
        except KernelError:
            with suppress(KernelError):
                self.delete(name, members, new)
            raise

    def prefixlen(self, name: str) -> int:
        """How long the prefixes in a set are, all of one length; 0 for an empty one."""
        return next((element[_CIDR][0] for element in self._elements(name)), 0)

    def read(self, name: str, members: MemberSet) -> Sequence[tuple[bytes, Found]]:
        """Every living member, the whole set at once: ipset shows no single one with its lease."""
        return [(_key(members, element), _found(element)) for element in self._elements(name)]

    def _elements(self, name: str) -> Iterator[Mapping[int, bytes]]:
        """The attributes of each element. Read by hand: pyroute2 needs 100 microseconds for one, this needs three."""
        asked = attribute(_PROTOCOL, bytes((_VERSION,))) + text_attribute(_SETNAME, name)
        pages = self._reader.collect(Message(_LIST, asked, f"ipset {name}", subsystem=_SUBSYS_IPSET, family=socket.AF_INET))
        for page in pages:
            for type_, adt in attributes(page):
                if type_ == _ADT:
                    yield from (dict(attributes(element)) for _, element in attributes(adt))

    def _do(self, what: str, work: Callable[[], _T]) -> _T:
        """Do it; the errors of pyroute2 become ours."""
        try:
            return work()
        except (IPSetError, NetlinkError) as error:
            code = _IPSET_ERRNO.get(error.code, error.code)
            if code == errno.ENOSPC:
                mend = f"Are there more than {MAX_ELEMENTS} members, or 64 interfaces with one network?"
                raise KernelError(errno=code, what=f"can not {what}: the set is full", mend=mend) from None
            if code >= 4096:
                raise KernelError(errno=errno.EINVAL, what=f"can not {what}: {error}") from None
            raise failure(code, f"can not {what}") from None
        except OSError as error:
            raise failure(error.errno or 0, f"can not {what}") from None


def _entry(members: MemberSet, key: bytes) -> str | tuple[str, str]:
    interface, network = read_key(members, key)
    return str(network) if interface is None else (str(network), interface)


def _key(members: MemberSet, element: Mapping[int, bytes]) -> bytes:
    address = next(packed for _, packed in attributes(element[_IP]))
    interface = text(element[_IFACE]) if members.interface else None
    return key_bytes(ip_network((address, element[_CIDR][0])), interface)


def _found(element: Mapping[int, bytes]) -> Found:
    return Found(
        case=text(element.get(_COMMENT, b"")),
        expires_ms=int.from_bytes(element[_TIMEOUT], "big") * 1000,
        packets=int.from_bytes(element.get(_PACKETS, b""), "big"),
    )

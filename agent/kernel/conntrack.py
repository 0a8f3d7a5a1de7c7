"""Floor 2, kernel. The connections that the gateway tracks: read them as a stream, and forget single ones.

Rules of this room:

1. A connection is deleted by what the kernel calls it by: its first tuple, zone and id. What has the same addresses and ports but
   is another one stays.
2. Who is to be deleted is decided elsewhere (`flows`); nothing is deleted by a pattern.
3. Only who has seen that connections are tracked already asks here.

The formats are those of linux/netfilter/nfnetlink_conntrack.h.
"""

import errno
from collections.abc import Generator, Sequence

from agent.errors import KernelError
from agent.flows import Connection
from agent.kernel.netlink import GETFLOWTABLE, NESTED, NLM_F_ACK, Message, Netlink, attribute, attributes, failure

_SUBSYS_CTNETLINK = 1
_GET, _DELETE = 1, 2
_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _ID, _ZONE = 1, 2, 3, 12, 18
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_V4_SRC, _V4_DST, _V6_SRC, _V6_DST = 1, 2, 3, 4
_PROTO_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_OFFLOADED = 1 << 14
_AF_INET, _AF_INET6 = 2, 10

#: What becomes of a connection between reading and deleting it is none of our doing.
_GONE = frozenset({errno.ENOENT, errno.ESRCH})

_End = tuple[bytes, int]


class Conntrack:
    """The connections of the calling thread's network namespace. Not for use from two threads at a time."""

    def __init__(self) -> None:
        """Open the sockets: connections may be forgotten while others are still being read.

        Raises:
            KernelError: there is no netfilter netlink.
        """
        self._netlink, self._streams = Netlink(), Netlink()

    def close(self) -> None:
        """Close the sockets."""
        self._netlink.close()
        self._streams.close()

    def flowtables(self) -> bool:
        """True if anybody's table has a flowtable. False where the kernel knows none, or does not say."""
        try:
            return bool(self._netlink.collect(Message(GETFLOWTABLE, b"", "flowtables", family=0)))
        except KernelError:
            return False

    def connections(self) -> Generator[Connection, None, None]:
        """Every tracked connection, read as it is asked for. Some that come or go meanwhile may be missed or come twice.

        Read it to its end, or close it, before reading anew.

        Raises:
            KernelError: they can not be read.
        """
        pages = self._streams.dump(Message(_GET, b"", "tracked connections", subsystem=_SUBSYS_CTNETLINK, family=0))
        try:
            for body in pages:
                found = _connection(body)
                if found is not None:
                    yield found
        finally:
            for _ in pages:  # the kernel begins no new dump on a socket before the old one is through
                pass

    def forget(self, connections: Sequence[Connection]) -> int:
        """Delete these connections. Returns how many were still there.

        Raises:
            KernelError: the kernel refused one; the others are deleted.
        """
        asked = [
            Message(_DELETE, one.name, "a connection", NLM_F_ACK, _SUBSYS_CTNETLINK, _AF_INET if one.family == 4 else _AF_INET6)
            for one in connections
        ]
        codes = [reply.errno for reply in self._netlink.ask(asked)]
        refused = next((code for code in codes if code and code not in _GONE), 0)
        if refused:
            raise failure(refused, f"the kernel does not forget {len(codes) - codes.count(0)} of {len(codes)} connections")
        return codes.count(0)


def _connection(body: bytes) -> Connection | None:
    """One message of the dump; None for what has no addresses that netfilter forwards by."""
    original = reply = identity = zone = b""
    status = 0
    for type_, value in attributes(body):
        if type_ == _TUPLE_ORIG:
            original = value
        elif type_ == _TUPLE_REPLY:
            reply = value
        elif type_ == _STATUS:
            status = int.from_bytes(value, "big")
        elif type_ == _ID:
            identity = value
        elif type_ == _ZONE:
            zone = value
    there, back = _tuple(original), _tuple(reply)
    if there is None or back is None or not identity:
        return None
    protocol, client, asked = there
    _, server, _ = back
    return Connection(
        family=4 if len(client[0]) == 4 else 6,
        protocol=protocol,
        client=client,
        server=server,
        asked=asked,
        offloaded=bool(status & _OFFLOADED),
        name=attribute(_TUPLE_ORIG | NESTED, original) + attribute(_ID, identity) + (attribute(_ZONE, zone) if zone else b""),
    )


def _tuple(data: bytes) -> tuple[int, _End, _End] | None:
    """Protocol, source and destination of one direction."""
    source = destination = b""
    protocol, ports = 0, [0, 0]
    for type_, value in attributes(data):
        if type_ == _TUPLE_IP:
            addresses = dict(attributes(value))
            source = addresses.get(_V4_SRC) or addresses.get(_V6_SRC) or b""
            destination = addresses.get(_V4_DST) or addresses.get(_V6_DST) or b""
        elif type_ == _TUPLE_PROTO:
            found = dict(attributes(value))
            protocol = found[_PROTO_NUMBER][0] if _PROTO_NUMBER in found else 0
            ports = [int.from_bytes(found.get(each, b""), "big") for each in (_SOURCE_PORT, _DESTINATION_PORT)]
    if not source or not destination:
        return None
    return protocol, (source, ports[0]), (destination, ports[1])

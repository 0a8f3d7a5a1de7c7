"""Floor 2, kernel. Which link the gateway sends an address to, where one answer is the answer for everybody.

Rules of this module:

1. Read only, by NETLINK_ROUTE.
2. Where routing rules choose between tables (VRFs, several providers), the same address may be behind several links: then nothing
   is said of any.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

from agent.errors import KernelError
from agent.kernel.netlink import NLM_F_DUMP, NLM_F_REQUEST, Heard, attribute, attributes, failure, messages

_NETLINK_ROUTE = 0
_GETROUTE, _GETRULE = 26, 34
_ERROR, _DONE = 2, 3
_DST, _OIF, _TABLE = 1, 4, 15
#: Tables of local addresses, main and default: what every host has.
_USUAL_TABLES = frozenset({253, 254, 255})
_UNICAST = 1
_SECONDS = 10.0
_PAGE = 1 << 16

_HEAD = struct.Struct("=IHHII")
_RTMSG = struct.Struct("=8BI")
_U32 = struct.Struct("=I")
_ERRNO = struct.Struct("=i")


class Routes:
    """One socket for questions about routes in the network namespace of the thread that made it."""

    def __init__(self) -> None:
        """Open it.

        Raises:
            KernelError: there is no NETLINK_ROUTE.
        """
        try:
            self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
            self._sock.bind((0, 0))
        except OSError as error:
            raise failure(error.errno or 0, "routes can not be read") from None
        self._sock.settimeout(_SECONDS)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def single(self) -> bool:
        """True if one table decides about everybody's packets, in both families.

        Raises:
            KernelError: the routing rules can not be read.
        """
        for family in (socket.AF_INET, socket.AF_INET6):
            for heard in self._ask(_GETRULE, NLM_F_DUMP, _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
                found = dict(attributes(heard.body[_RTMSG.size :]))
                table = _U32.unpack(found[_TABLE])[0] if _TABLE in found else heard.body[4]
                if table not in _USUAL_TABLES:
                    return False
        return True

    def link(self, address: bytes) -> str | None:
        """The name of the link that packets to an address (packed) leave by; None where they are not sent to any one link.

        Raises:
            KernelError: the kernel does not answer.
        """
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        asked = _RTMSG.pack(family, len(address) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute(_DST, address)
        try:
            answers = list(self._ask(_GETROUTE, 0, asked))
        except KernelError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
                return None
            raise
        for heard in answers:
            index = dict(attributes(heard.body[_RTMSG.size :])).get(_OIF)
            if heard.body[7] == _UNICAST and index is not None:
                with suppress(OSError):  # the link is gone
                    return socket.if_indextoname(_U32.unpack(index)[0])
        return None

    def _ask(self, type_: int, flags: int, body: bytes) -> Iterator[Heard]:
        self._sequence += 1
        try:
            self._sock.send(_HEAD.pack(_HEAD.size + len(body), type_, NLM_F_REQUEST | flags, self._sequence, 0) + body)
            while True:
                for heard in messages(self._sock.recv(_PAGE)):
                    if heard.sequence != self._sequence:
                        continue
                    if heard.type in (_ERROR, _DONE):
                        code = -_ERRNO.unpack_from(heard.body)[0] if len(heard.body) >= 4 else 0
                        if code:
                            raise failure(code, "routes can not be read")
                        return
                    yield heard
                    if not flags:
                        return
        except OSError as error:
            raise failure(error.errno or errno.ETIMEDOUT, "routes can not be read") from None

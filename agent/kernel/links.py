"""Floor 2, kernel. The network links of this namespace: all of them at a look, and the news of each.

Rules of this room:

1. Read only, by NETLINK_ROUTE; listening needs no privilege.
2. News carries the whole link, so it is told as it comes. Lost news is news too: `None` means "look again".
3. What a bridge says of its ports (family AF_BRIDGE) looks like a link that is gone and is none of our business.

Not with pyroute2, which the laboratory uses: it cannot be called within a running event loop, and decodes every attribute of
every link (0.8 to 1.5 ms each, where 40 us do), which is two minutes for a gateway with 100 000 tunnels.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from agent.errors import KernelError
from agent.kernel.netlink import NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, attributes, failure, messages, text
from agent.links import Link

_NETLINK_ROUTE = 0
_RTMGRP_LINK = 1
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_ERROR, _DONE = 2, 3
_SO_RCVBUFFORCE = 33
_ARPHRD_PPP = 512
_NAME, _MASTER, _LINKINFO, _EXT_MASK = 3, 10, 18, 29
_KIND = 1
#: Statistics are most of what a link says of itself, and nobody here reads them.
_SKIP_STATISTICS = 1 << 3

_PAGE = 1 << 17
_RECEIVE_BYTES = 8 << 20
#: A link that comes or goes in the middle of a look makes it worthless: look again.
_ATTEMPTS = 50
#: The kernel answers within the call; nothing it says takes so long.
_SECONDS = 10.0

_HEAD = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_U32 = struct.Struct("=I")
_ERRNO = struct.Struct("=i")

#: A link that is there, the index of one that is gone, or None: news were lost.
News = Link | int | None


class LinkWatch:
    """A socket that hears of every link in the network namespace of the thread that made it; `fileno()` is for an event loop."""

    def __init__(self) -> None:
        """Start to listen.

        Raises:
            KernelError: there is no NETLINK_ROUTE.
        """
        self._sock = _socket(_RTMGRP_LINK)
        # Beyond net.core.rmem_max needs CAP_NET_ADMIN; without it, more news may be lost and looked for.
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        except PermissionError:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)

    def fileno(self) -> int:
        """The descriptor to wait on for reading."""
        return self._sock.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def read(self) -> Iterator[News]:
        """Everything since the last call, in its order. Never waits.

        Raises:
            KernelError: the socket is broken.
        """
        while True:
            try:
                data = self._sock.recv(_PAGE)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise failure(error.errno or 0, "the watch on links broke") from None
                yield None
                continue
            for heard in messages(data):
                link = _link(heard.body) if heard.type in (_NEWLINK, _DELLINK) else None
                if link is not None:
                    yield link if heard.type == _NEWLINK else link.ifindex

    def look(self) -> list[Link]:
        """Every link there is now.

        Raises:
            KernelError: links could not be read, or kept changing.
        """
        for _ in range(_ATTEMPTS):
            found = _dump()
            if found is not None:
                return found
        raise KernelError(errno=errno.EINTR, what="the links keep changing while they are read", mend="It is tried again")


def _dump() -> list[Link] | None:
    """One look; None if something changed in the middle of it."""
    wanted = struct.pack("=HHI", 8, _EXT_MASK, _SKIP_STATISTICS)
    with _socket(0) as sock:
        sock.settimeout(_SECONDS)
        head = _HEAD.pack(_HEAD.size + _IFINFO.size + len(wanted), _GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        sock.send(head + _IFINFO.pack(0, 0, 0, 0, 0) + wanted)
        found: list[Link] = []
        interrupted = False
        while True:
            for heard in messages(sock.recv(_PAGE)):
                interrupted = interrupted or bool(heard.flags & NLM_F_DUMP_INTR)
                if heard.type in (_DONE, _ERROR):
                    code = -_ERRNO.unpack_from(heard.body)[0] if len(heard.body) >= 4 else 0
                    if code:
                        raise failure(code, "can not read the links")
                    return None if interrupted else found
                link = _link(heard.body)
                if link is not None:
                    found.append(link)


def _link(body: bytes) -> Link | None:
    """A link, or None for what is said of a bridge's port."""
    family, type_, index, _, _ = _IFINFO.unpack_from(body)
    if family != socket.AF_UNSPEC:
        return None
    name, kind, master = "", "", 0
    for attribute, value in attributes(body[_IFINFO.size :]):
        if attribute == _NAME:
            name = text(value)
        elif attribute == _MASTER:
            master = _U32.unpack(value)[0]
        elif attribute == _LINKINFO:
            kind = next((text(inner) for what, inner in attributes(value) if what == _KIND), "")
    return Link(ifindex=index, name=name, kind=kind, dialled=type_ == _ARPHRD_PPP, master=master)


def _socket(groups: int) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_ROUTE)
        sock.bind((0, groups))
    except OSError as error:
        raise failure(error.errno or 0, f"links can not be read ({os.strerror(error.errno or 0)})") from None
    return sock

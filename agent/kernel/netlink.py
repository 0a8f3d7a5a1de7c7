"""Floor 2, kernel. Talk to nf_tables in its own words: attributes, batches, requests and dumps over one netlink socket.

Rules of this room:

1. Only bytes and sockets; what the bytes mean is said in `elements` and `compare`.
2. A batch is all or nothing: the kernel commits at its end or forgets all of it.
3. The kernel answers inside the `send` call. So a read never waits: an empty socket means that everything was said.
4. What another program's change can cause (EINTR, EBUSY, EAGAIN, ENOBUFS) is tried again within a bound. A refusal is a
   value (`Refusal`); the caller knows whether it is an error.

The formats are those of linux/netlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h.
"""

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

from agent.errors import KernelError

NFPROTO_INET = 1
NFNL_SUBSYS_NFTABLES = 10

NEWTABLE, GETTABLE, DELTABLE = 0, 1, 2
NEWCHAIN, GETCHAIN = 3, 4
NEWRULE, GETRULE = 6, 7
NEWSET, GETSET = 9, 10
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14
NEWGEN, GETGEN = 15, 16
NEWOBJ, GETOBJ = 18, 19
NEWFLOWTABLE, GETFLOWTABLE = 22, 23

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_CREATE = 0x1, 0x4, 0x300, 0x400
NLM_F_DUMP_INTR = 0x10
NESTED = 0x8000

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_BATCH_BEGIN, _BATCH_END = 16, 17
_NLMSGERR_ATTR_MSG = 1
_NETLINK_NETFILTER = 12
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
#: The kernel takes a batch in one piece or not at all: enough for about 100 000 members.
_SEND_BYTES = 16 << 20
_RECEIVE_BYTES = 4 << 20
_PAGE = 1 << 16

#: Attempts and the first pause; the pauses double: together about a quarter of a second.
_ATTEMPTS = 8
_FIRST_PAUSE_S = 0.002
_AGAIN = frozenset({errno.EINTR, errno.EBUSY, errno.EAGAIN, errno.ENOBUFS})

_HEADER = struct.Struct("=IHHIIBBH")  # nlmsghdr and nfgenmsg
_NLMSG = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")


#: What a person can do about an errno, where it is always the same.
MENDS = {
    errno.EPERM: "The process needs CAP_NET_ADMIN in this network namespace; is the table owned by another program?",
    errno.EOPNOTSUPP: "This kernel lacks a part of nf_tables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, CONFIG_NFT_REJECT_INET)",
    errno.EPROTONOSUPPORT: "This kernel has no nf_tables (CONFIG_NF_TABLES)",
    errno.ENOMEM: "The kernel has no memory for it",
    errno.ENOENT: "The table, or the set, is not there: apply the structure first",
    errno.EINTR: "Other programs keep changing nftables; it is tried again",
    errno.EBUSY: "Another program holds it; it is tried again",
    errno.EMSGSIZE: "Cut it into several; and the process needs CAP_NET_ADMIN to enlarge its socket buffer",
}


class Message(NamedTuple):
    """One message without its header: NFT_MSG_*, attributes, what it is about (for an error text), NLM_F_* flags.

    Of nf_tables and for our own family, unless said otherwise.
    """

    type: int
    body: bytes
    about: str = ""
    flags: int = 0
    subsystem: int = NFNL_SUBSYS_NFTABLES
    family: int = NFPROTO_INET


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """The kernel said no. `index` is the message in the batch that it said it to, or None for the batch as a whole."""

    index: int | None
    errno: int
    hint: str = ""


class Heard(NamedTuple):
    """One message from the kernel: type and flags, sequence number and port of who caused it, what follows that header."""

    type: int
    flags: int
    sequence: int
    port: int
    body: bytes


class Reply(NamedTuple):
    """The answer to one request: an errno (0: none) and the attributes, if there are any."""

    errno: int
    body: bytes


def attribute(type_: int, body: bytes) -> bytes:
    """One attribute with its header, padded to four bytes. `type_` may carry `NESTED`."""
    return _ATTRIBUTE.pack(len(body) + 4, type_) + body + bytes(-len(body) % 4)


def text_attribute(type_: int, text: str) -> bytes:
    """A NUL-terminated string attribute."""
    return attribute(type_, text.encode() + b"\0")


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split a run of attributes into type (without flag bits) and body."""
    at, end = 0, len(data)
    while at + 4 <= end:
        size, type_ = _ATTRIBUTE.unpack_from(data, at)
        if size < 4:
            return
        yield type_ & 0x3FFF, data[at + 4 : at + size]
        at += (size + 3) & ~3


def text(body: bytes) -> str:
    """The string of a string attribute."""
    return body.rstrip(b"\0").decode(errors="backslashreplace")


def messages(data: bytes) -> Iterator[Heard]:
    """Split what one `recv` gave."""
    at, end = 0, len(data)
    while at + 16 <= end:
        size, type_, flags, sequence, port = _NLMSG.unpack_from(data, at)
        if size < 16:
            return
        yield Heard(type_, flags, sequence, port, data[at + 16 : at + size])
        at += (size + 3) & ~3


def netfilter_socket(*, groups: int = 0) -> socket.socket:
    """A non-blocking NETLINK_NETFILTER socket of the calling thread's network namespace, with buffers sized for bulk loads.

    Args:
        groups: bit mask of multicast groups.

    Raises:
        KernelError: the kernel has no nfnetlink.
    """
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER)
    except OSError as error:
        raise KernelError(
            errno=error.errno or 0, what="no netfilter netlink socket", mend="The kernel needs CONFIG_NETFILTER_NETLINK"
        ) from None
    sock.bind((0, groups))
    # The forced sizes go beyond net.core.*mem_max and need CAP_NET_ADMIN; who lacks it is told so at the first request.
    for option, plain, size in (
        (_SO_SNDBUFFORCE, socket.SO_SNDBUF, _SEND_BYTES),
        (_SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BYTES),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, size)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, plain, size)
    for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
        with suppress(OSError):  # only better texts
            sock.setsockopt(_SOL_NETLINK, option, 1)
    return sock


class Netlink:
    """One socket for changes and look-ups. Not for use from two threads at a time."""

    def __init__(self) -> None:
        self._sock = netfilter_socket()
        self._sequence = int(time.monotonic() * 1000) & 0x3FFFFFFF
        #: The address of this socket: the kernel puts it on every notification that a change from here causes.
        self.port: int = self._sock.getsockname()[0]

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def transact(self, messages: Sequence[Message], *, commit: bool = True) -> Refusal | None:
        """Send messages as one batch: all or nothing.

        Args:
            messages: in the order in which the kernel shall take them; none is no work.
            commit: False leaves the end away: the kernel checks everything, then forgets it.

        Returns:
            None if everything was taken, else the first refusal; then nothing was changed.

        Raises:
            KernelError: the kernel's answer got lost, or the batch does not fit into the socket.
        """
        if not messages:
            return None
        pause = _FIRST_PAUSE_S
        for _ in range(_ATTEMPTS - 1):
            refusal = self._transact_once(messages, commit=commit)
            if refusal is None or refusal.errno not in _AGAIN:
                return refusal
            time.sleep(pause)
            pause *= 2
        return self._transact_once(messages, commit=commit)

    def _transact_once(self, messages: Sequence[Message], *, commit: bool) -> Refusal | None:
        begin = self._next(len(messages) + 2)
        parts = [_HEADER.pack(20, _BATCH_BEGIN, NLM_F_REQUEST, begin, 0, 0, 0, socket.htons(NFNL_SUBSYS_NFTABLES))]
        last = begin + len(messages)
        for sequence, message in enumerate(messages, begin + 1):
            # One acknowledgement, of the last message, tells that all went well: older kernels acknowledge no batch end.
            flags = NLM_F_REQUEST | message.flags | (NLM_F_ACK if sequence == last else 0)
            parts.append(_pack(message, flags, sequence))
        if commit:
            parts.append(_HEADER.pack(20, _BATCH_END, NLM_F_REQUEST, last + 1, 0, 0, 0, socket.htons(NFNL_SUBSYS_NFTABLES)))
        self._send(b"".join(parts))
        acknowledged, refusal = False, None
        for sequence, _, error, hint in self._answers():
            if error and refusal is None and begin <= sequence <= last + 1:
                refusal = Refusal(index=sequence - begin - 1 if begin < sequence <= last else None, errno=error, hint=hint)
            acknowledged = acknowledged or sequence == last
        if refusal is None and not acknowledged:
            return Refusal(index=None, errno=errno.ENOBUFS, hint="the kernel's answer was lost")
        return refusal

    def ask(self, messages: Sequence[Message]) -> list[Reply]:
        """Send look-ups and give one reply for each, in order.

        Args:
            messages: NFT_MSG_GET*, each answered by one message or one error.
        """
        replies: list[Reply] = []
        for start in range(0, len(messages), 64):  # the answers of one round must fit into the socket
            window = messages[start : start + 64]
            begin = self._next(len(window))
            self._send(b"".join(_pack(m, NLM_F_REQUEST | m.flags, begin + i) for i, m in enumerate(window)))
            found = {sequence: Reply(error, body) for sequence, body, error, _ in self._answers()}
            replies += [found.get(begin + i, Reply(errno.ENOBUFS, b"")) for i in range(len(window))]
        return replies

    def dump(self, message: Message) -> Iterator[bytes]:
        """The attributes of every object of one kind. Read it to its end before the next call on this socket.

        Args:
            message: NFT_MSG_GET* with the attributes that narrow the dump.

        Yields:
            The attributes of each message.

        Raises:
            KernelError: EINTR where somebody changed nftables while it was read (what came before is not one whole state);
                any other errno as the kernel gave it.
        """
        sequence = self._next(1)
        self._send(_pack(message, NLM_F_REQUEST | NLM_F_DUMP, sequence))
        interrupted = False
        while True:
            data = self._receive()
            if data is None:
                raise KernelError(errno=errno.ENOBUFS, what=f"the dump of {message.about} broke off")
            for type_, flags, number, _, body in messages(data):
                if number != sequence:
                    continue  # the rest of a dump that nobody read to its end
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                if type_ in (_NLMSG_DONE, _NLMSG_ERROR):
                    code = -_ERRNO.unpack_from(body)[0] if len(body) >= 4 else 0
                    if code or interrupted:
                        raise failure(code or errno.EINTR, f"can not read {message.about}")
                    return
                yield body[4:]

    def collect(self, message: Message) -> list[bytes]:
        """A whole dump, read again while others interrupt it.

        Raises:
            KernelError: as `dump`, once the attempts are used up.
        """
        pause = _FIRST_PAUSE_S
        for _ in range(_ATTEMPTS - 1):
            try:
                return list(self.dump(message))
            except KernelError as error:
                if error.errno not in _AGAIN:
                    raise
            time.sleep(pause)
            pause *= 2
        return list(self.dump(message))

    def _next(self, count: int) -> int:
        first = self._sequence + 1
        # Far from the wrap-around, so that the numbers of one batch always rise.
        self._sequence = first + count if first + count < 0x7FFFFFFF else 0
        return first

    def _send(self, data: bytes) -> None:
        while True:
            try:
                self._sock.send(data)
            except BlockingIOError:
                if self._receive() is None:  # old answers fill the socket: make room, or give up
                    raise failure(errno.EAGAIN, "netlink takes no message") from None
            except OSError as error:
                raise failure(error.errno or 0, f"netlink does not take a message of {len(data)} bytes") from None
            else:
                return

    def _receive(self) -> bytes | None:
        try:
            return self._sock.recv(_PAGE)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return b""  # something was lost; what is missing shows in the sequence numbers
            raise failure(error.errno or 0, "netlink gives no answer") from None

    def _answers(self) -> Iterator[tuple[int, bytes, int, str]]:
        """Everything the kernel said to the last `send`: sequence number, attributes, errno, hint."""
        while (data := self._receive()) is not None:
            for type_, _, sequence, _, body in messages(data):
                if type_ == _NLMSG_ERROR:
                    yield sequence, b"", -_ERRNO.unpack_from(body)[0], _hint(body)
                elif type_ != _NLMSG_DONE:
                    yield sequence, body[4:], 0, ""


def failure(code: int, what: str) -> KernelError:
    """A kernel errno as an error that says how to mend it."""
    return KernelError(errno=code, what=f"{what}: {os.strerror(code)}", mend=MENDS.get(code, ""))


def _pack(message: Message, flags: int, sequence: int) -> bytes:
    type_ = message.subsystem << 8 | message.type
    return _HEADER.pack(20 + len(message.body), type_, flags, sequence, 0, message.family, 0, 0) + message.body


def _hint(body: bytes) -> str:
    """The kernel's own words about an error, where it has some. Behind errno and the header of the refused message."""
    return next((text(value) for type_, value in attributes(body[20:]) if type_ == _NLMSGERR_ATTR_MSG), "")

"""Floor 2, kernel. Notice at once when somebody else changes nftables.

Rules of this room:

1. It only says that something happened and who did it; what is true is read by `observe`. A notification is a reason to
   look, never a fact to act on.
2. Changes of members that come from the agent's own socket are dropped inside the kernel by a socket filter: a bulk load
   wakes nobody and overruns nothing. A structure loaded through libnftables is told apart by its process id.
3. A lost notification is one too: `overrun` means "audit now".

The kernel tells each object of a transaction and ends with one message of type NEWGEN, which names the process.
"""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.kernel.netlink import NEWGEN, NFNL_SUBSYS_NFTABLES, NFPROTO_INET, attributes, failure, messages, netfilter_socket, text
from agent.rules import TABLE

_GROUP_NFTABLES = 7
_GEN_PROCESS, _GEN_NAME = 2, 3
_SO_ATTACH_FILTER = 26
#: Classic socket filter: load a word, jump if equal, return.
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_PORT_OFFSET = 12
_PAGE = 1 << 16
_U32 = struct.Struct(">I")


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What happened since the last reading.

    `touched`: somebody else changed our table (or removed it with everything); `by`: the names of the programs that did;
    `overrun`: notifications were lost, so anything may have happened; `foreign`: transactions of others that left our table
    alone.
    """

    touched: bool = False
    by: tuple[str, ...] = ()
    overrun: bool = False
    foreign: int = 0

    @property
    def look(self) -> bool:
        """True if the table should be read now."""
        return self.touched or self.overrun


class Watch:
    """A socket that hears every change of nftables in the network namespace of the thread that made it.

    Its `fileno()` belongs into an event loop; it never blocks. Open it after the first bulk load: while anybody listens, the
    kernel prepares a notification for each member, which doubles the price of a load.
    """

    def __init__(self, own_ports: Iterable[int] = ()) -> None:
        """Start to listen.

        Args:
            own_ports: netlink addresses whose changes are not news: `NftKernel.port`.

        Raises:
            KernelError: the kernel has no nfnetlink, or does not take the filter.
        """
        self._sock = netfilter_socket(groups=1 << (_GROUP_NFTABLES - 1))
        self._pending: dict[int, bool] = {}
        try:
            _ignore(self._sock, tuple(own_ports))
        except OSError as error:
            self._sock.close()
            raise failure(error.errno or 0, "the watch on nftables can not be set up") from None

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

    def read(self) -> Seen:
        """Everything since the last call. Never waits.

        Raises:
            KernelError: the socket is broken.
        """
        touched, overrun, foreign = False, False, 0
        by: dict[str, None] = {}
        while True:
            try:
                data = self._sock.recv(_PAGE)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise failure(error.errno or 0, "the watch on nftables broke") from None
                overrun = True
                self._pending.clear()
                continue
            for message in messages(data):
                if message.type >> 8 != NFNL_SUBSYS_NFTABLES:
                    continue
                if message.type & 0xFF != NEWGEN:
                    self._pending[message.port] = self._pending.get(message.port, False) or _is_ours(message.body)
                    continue
                ours_hit = self._pending.pop(message.port, False)
                fields = dict(attributes(message.body[4:]))
                process = _U32.unpack(fields[_GEN_PROCESS])[0] if _GEN_PROCESS in fields else 0
                if _is_this_process(process):
                    continue
                if ours_hit:
                    touched = True
                    by[text(fields.get(_GEN_NAME, b"unknown"))] = None
                else:
                    foreign += 1
        return Seen(touched=touched, by=tuple(by), overrun=overrun, foreign=foreign)


def _is_ours(body: bytes) -> bool:
    """True if an object lies in our table. The table's name is the first attribute of every kind of object."""
    name = next((text(value) for type_, value in attributes(body[4:]) if type_ == 1), "")
    return body[0] == NFPROTO_INET and name == TABLE


def _is_this_process(process: int) -> bool:
    """True if a transaction came from one of our threads: the kernel names the thread."""
    return process == os.getpid() or Path(f"/proc/self/task/{process}").exists()


def _ignore(sock: socket.socket, ports: tuple[int, ...]) -> None:
    """Let the kernel drop notifications that come from our own sockets, before they take room in the buffer."""
    if not ports:
        return
    code = [_instruction(_LOAD_WORD, 0, 0, _PORT_OFFSET)]
    for left, port in zip(reversed(range(len(ports))), ports, strict=True):
        # The filter reads words in network order, netlink writes its header in host order. Jump to the last instruction.
        code.append(_instruction(_JUMP_EQUAL, left + 1, 0, socket.htonl(port)))
    code += [_instruction(_RETURN, 0, 0, 0xFFFFFFFF), _instruction(_RETURN, 0, 0, 0)]
    program = ctypes.create_string_buffer(b"".join(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(code), ctypes.addressof(program)))


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)

"""Floor 2. The UNIX sockets between the roles: framing, caps, deadlines, who is calling.

Rules of this room:

1. One frame: two unsigned 32-bit big-endian lengths, a JSON object (the header), raw bytes (the body). The body is never
   looked at, so what has to be verified arrives as it was sent.
2. The asking side opens a connection per question. Connecting costs some tens of microseconds here, and in exchange there is
   nothing to reconnect, to number or to queue: many questions wait side by side and can share one commit.
3. Nothing is read without a cap and a deadline. What breaks the rules is answered once, if possible, and hung up on.
4. Who is calling is what the kernel says (SO_PEERCRED), never what the header says.
5. A socket file is replaced only when it is a socket and nobody answers behind it. It is renamed into place after its mode
   and group are set, so it is never open to more than it should be.
"""

import asyncio
import errno
import grp
import json
import logging
import os
import socket
import stat
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import ChannelError, Refused

MAX_HEADER = 64 * 1024
MAX_ANSWER = 16 * 1024 * 1024
MAX_CONNECTIONS = 512
_BACKLOG = 1024
_LENGTHS = struct.Struct("!II")
_CREDENTIALS = struct.Struct("iII")
_SO_PEERGROUPS = 59  # Linux 4.13; Python has no name for it
_MAX_PATH = 107  # sun_path without its closing NUL
_RETRY_SECONDS = 0.005
_ABSENT_SECONDS = 0.05

_log = logging.getLogger("ecluse.channel")

Header = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """Who is calling, as the kernel recorded it at connect time. `groups` are the supplementary ones."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


Handler = Callable[[Peer, dict[str, Any], bytes], Awaitable[tuple[Header, bytes]]]


def everyone(peer: Peer) -> bool:
    """Admit whoever could open the socket file: its mode and group are the guard."""
    del peer
    return True


class Listener:
    """A socket that is being answered, until `close`."""

    def __init__(self, server: asyncio.Server, busy: set[asyncio.Task[None]], path: Path | None) -> None:
        self._server = server
        self._busy = busy
        self._path = path
        self._inode = path.stat().st_ino if path else 0

    async def close(self, grace: float = 5.0) -> None:
        """Stop answering: questions under way get `grace` seconds, then the file is removed if it is still ours."""
        self._server.close()
        if self._path and self._path.exists() and self._path.stat().st_ino == self._inode:
            self._path.unlink()
        if self._busy:
            await asyncio.wait(self._busy, timeout=grace)
        for task in tuple(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)


async def listen(
    path: Path | None,
    handler: Handler,
    *,
    mode: int = 0o660,
    group: str | int | None = None,
    max_body: int = 1024 * 1024,
    deadline: float = 10.0,
    allow: Callable[[Peer], bool] = everyone,
    sock: socket.socket | None = None,
) -> Listener:
    """Answer questions on a UNIX socket.

    Args:
        path: the socket file; its directory must exist. None with `sock`.
        handler: answers one question; several run at once. What it raises is logged and answered as a failure.
        mode: permissions of the socket file.
        group: group of the socket file, by name or number; None leaves it.
        max_body: bytes of a question's body at most.
        deadline: seconds for a question to arrive, and for its answer to be taken.
        allow: admits a caller; others are told so.
        sock: a socket that already listens, from socket activation; then no file is made or removed.

    Raises:
        ChannelError: the path is taken, too long, not a socket, or may not be written.
    """
    ours = sock or _claim(_required(path), mode=mode, group=group)
    busy: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(busy) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(_converse(reader, writer, handler, allow, max_body, deadline))
        busy.add(task)
        task.add_done_callback(busy.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # it may be cancelled before it ever ran

    server = await asyncio.start_unix_server(connected, sock=ours, backlog=_BACKLOG)
    return Listener(server, busy, None if sock else path)


async def ask_async(
    path: Path,
    header: Header,
    body: bytes = b"",
    *,
    timeout: float,  # noqa: ASYNC109 - one deadline for the whole exchange, connecting included
    absent: float = 0.0,
) -> tuple[dict[str, Any], bytes]:
    """Ask one question, without blocking the loop.

    Args:
        path: the socket file.
        header: a JSON object.
        body: raw bytes.
        timeout: seconds for everything, connecting included.
        absent: seconds of these to wait for somebody who is not there, as while a role is started again. Only connecting is
            tried again: a question that was taken is asked once, since it may be what its reader died of.

    Returns:
        the answer's header and body.

    Raises:
        ChannelError: nobody answers, not in time, or not in our terms.
        Refused: the other end does not take questions from this user.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(sock=await _connect_async(path, absent))
            writer.write(_frame(header, body))
            await writer.drain()
            return _answer(path, *await _receive(reader, MAX_ANSWER, MAX_ANSWER))
    except (OSError, EOFError) as error:  # TimeoutError is an OSError, IncompleteReadError an EOFError
        raise _unreachable(path, error, timeout) from None
    finally:
        if writer is not None:
            writer.transport.abort()  # nothing is left to say, and a full buffer must not keep it open


def ask(path: Path, header: Header, body: bytes = b"", *, timeout: float) -> tuple[dict[str, Any], bytes]:
    """Ask one question and wait for the answer: for the command line. Arguments and errors as for `ask_async`."""
    end = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:

        def left() -> float:
            remaining = end - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            return remaining

        def exactly(size: int) -> bytes:
            found = bytearray()
            while len(found) < size:
                sock.settimeout(left())
                more = sock.recv(min(size - len(found), 1 << 20))
                if not more:
                    raise EOFError
                found += more
            return bytes(found)

        try:
            _connect(sock, path, left)
            sock.settimeout(left())
            sock.sendall(_frame(header, body))
            header_size, body_size = _sizes(exactly(_LENGTHS.size), MAX_ANSWER, MAX_ANSWER)
            return _answer(path, _object(exactly(header_size)), exactly(body_size))
        except (OSError, EOFError) as error:
            raise _unreachable(path, error, timeout) from None


# --- the answering side -----------------------------------------------------------------------------------------


def peer_of(sock: Any) -> Peer:
    """The process at the other end of a connected UNIX socket."""
    pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError:  # more than 256 groups, or a kernel that does not know the question
        raw = b""
    return Peer(pid=pid, uid=uid, gid=gid, groups=struct.unpack(f"{len(raw) // 4}I", raw))


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    handler: Handler,
    allow: Callable[[Peer], bool],
    max_body: int,
    deadline: float,
) -> None:
    writer.transport.set_write_buffer_limits(high=0)  # so that `drain` means taken, and nothing is left to flush at the end
    try:
        peer = peer_of(writer.get_extra_info("socket"))
        while True:
            try:
                async with asyncio.timeout(deadline):
                    header, body = await _receive(reader, MAX_HEADER, max_body)
            except ChannelError as error:
                await _send(writer, _frame({"error": str(error)}, b""), deadline)
                async with asyncio.timeout(deadline):  # let the caller finish, or it would never read why
                    while await reader.read(1 << 16):
                        pass
                return
            answer = await _handled(handler, peer, header, body) if allow(peer) else _not_allowed(peer)
            await _send(writer, answer, deadline)
    except (OSError, EOFError):
        return  # the caller went away, or was too slow
    finally:
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, frame: bytes, deadline: float) -> None:
    async with asyncio.timeout(deadline):
        writer.write(frame)
        await writer.drain()


async def _handled(handler: Handler, peer: Peer, header: dict[str, Any], body: bytes) -> bytes:
    try:
        return _frame(*await handler(peer, header, body), most=MAX_ANSWER)
    except Exception:  # noqa: BLE001 - one broken question must not end the service for the others
        _log.exception("a question could not be answered: %s", ascii(header.get("ask"))[:80])
        return _frame({"error": "the question could not be answered; see the log"}, b"")


def _not_allowed(peer: Peer) -> bytes:
    return _frame({"refused": f"user {peer.uid} may not ask here"}, b"")


def _claim(path: Path, *, mode: int, group: str | int | None) -> socket.socket:
    """A listening socket at `path`."""
    making = path.with_name(f"{path.name}.{os.getpid()}")
    if len(os.fsencode(making)) > _MAX_PATH:
        raise ChannelError(f"{path}: too long for a socket; choose a shorter directory")
    _ensure_free(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        making.unlink(missing_ok=True)
        sock.bind(os.fspath(making))
        if group is not None:
            os.chown(making, -1, group if isinstance(group, int) else grp.getgrnam(group).gr_gid)
        making.chmod(mode)
        sock.listen(_BACKLOG)
        making.rename(path)
    except KeyError:
        sock.close()
        making.unlink(missing_ok=True)
        raise ChannelError(f"{path}: there is no group {group}; create it, or name another") from None
    except OSError as error:
        sock.close()
        raise ChannelError(f"{path}: can not listen here: {error.strerror}; check that the directory exists and is ours") from None
    return sock


def _ensure_free(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ChannelError(f"{path}: can not be looked at: {error.strerror}") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise ChannelError(f"{path}: something that is not a socket is in the way; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # left behind by a process that is gone
        except OSError:
            pass  # a full backlog or no permission: somebody is there
    raise ChannelError(f"{path}: another process answers here; stop it first")


def _required(path: Path | None) -> Path:
    if path is None:
        raise ValueError("listen needs a path or a socket")
    return path


# --- the asking side --------------------------------------------------------------------------------------------


async def _connect_async(path: Path, absent: float) -> socket.socket:
    # Not `sock_connect`: a UNIX connect never is "in progress", it says EAGAIN when the backlog is full, which asyncio
    # would take for a connection that is on its way.
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    end = time.monotonic() + absent
    try:
        while True:
            try:
                sock.connect(os.fspath(path))
            except BlockingIOError:
                await asyncio.sleep(_RETRY_SECONDS)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() >= end:
                    raise
                await asyncio.sleep(_ABSENT_SECONDS)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def _connect(sock: socket.socket, path: Path, left: Callable[[], float]) -> None:
    while True:
        sock.settimeout(left())
        try:
            sock.connect(os.fspath(path))
        except BlockingIOError:
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _answer(path: Path, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    if "refused" in header:
        raise Refused(f"{path}: {header['refused']}")
    if "error" in header:
        raise ChannelError(f"{path}: {header['error']}")
    return header, body


def _unreachable(path: Path, error: BaseException, timeout: float) -> ChannelError | Refused:
    if isinstance(error, PermissionError):
        return Refused(f"{path}: you may not speak to this socket; join the group it belongs to")
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return ChannelError(f"{path}: nobody answers; is `ecluse enforce` running?")
    if isinstance(error, TimeoutError):
        return ChannelError(f"{path}: no answer within {timeout:g} s")
    if isinstance(error, OSError) and error.errno not in (None, errno.EPIPE, errno.ECONNRESET):
        return ChannelError(f"{path}: {error.strerror}")
    return ChannelError(f"{path}: hung up before answering")


# --- frames -----------------------------------------------------------------------------------------------------


def _frame(header: Header, body: bytes, *, most: int = MAX_HEADER) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > most:
        raise ChannelError(f"a header of {len(text)} bytes is over the {most} allowed")
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


def _sizes(raw: bytes, max_header: int, max_body: int) -> tuple[int, int]:
    header_size, body_size = _LENGTHS.unpack(raw)
    if header_size > max_header or body_size > max_body:
        raise ChannelError(f"a frame of {header_size} and {body_size} bytes is over the {max_header} and {max_body} allowed")
    return header_size, body_size


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise ChannelError("the header of a frame is not JSON") from None
    if not isinstance(found, dict):
        raise ChannelError("the header of a frame is not a JSON object")
    return found


async def _receive(reader: asyncio.StreamReader, max_header: int, max_body: int) -> tuple[dict[str, Any], bytes]:
    header_size, body_size = _sizes(await reader.readexactly(_LENGTHS.size), max_header, max_body)
    header = _object(await reader.readexactly(header_size))
    return header, await reader.readexactly(body_size)

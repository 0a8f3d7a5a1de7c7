"""Floor 2, lab. Listeners, probes and open streams between the namespaces of a laboratory."""

import errno
import select
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from agent.lab.namespaces import Space

Protocol = Literal["tcp", "udp"]
Result = Literal["open", "refused", "no_answer"]

_ECHO = Path(__file__).with_name("echo.py")
#: What a refusal looks like to a client: a reset, or one of the ICMP errors for either family.
_REFUSALS = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.EACCES})
#: The bytes of a stream repeat after this many, a prime: a lost or doubled piece never goes unseen.
_PERIOD = 65521
_PATTERN = bytes((i * 197 + (i >> 7)) & 0xFF for i in range(_PERIOD)) * 2
_CHUNK = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """An address and port that a listener opens."""

    protocol: Protocol
    address: str
    port: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a client saw, and after how many milliseconds. `detail` is the error's name, such as ECONNREFUSED."""

    result: Result
    ms: float
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """The account of a stream: bytes sent, bytes that came back, whether they were the right ones in the right order.

    `ended` is empty while the stream lives; else "closed" or the name of the error, such as ECONNRESET.
    """

    sent: int
    received: int
    intact: bool
    ended: str

    @property
    def whole(self) -> bool:
        """Not one byte lost, none changed, and still alive."""
        return self.intact and not self.ended and self.sent == self.received


class Listener:
    """A child process that echoes on its endpoints. Close it, or leave its `with` block, to close the ports."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def close(self) -> None:
        """Close the ports and wait until they are."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def listen(space: Space, *endpoints: Endpoint, timeout: float = 10.0) -> Listener:
    """Open echo ports in a namespace, in a child process; all are open when this returns.

    Args:
        space: where.
        endpoints: TCP and UDP, both families; "0.0.0.0" and "::" mean every address.
        timeout: seconds until the ports must be open.

    Raises:
        RuntimeError: a port could not be opened; with the child's last line.
    """
    argv: list[str | Path] = [sys.executable, "-I", _ECHO, *(f"{e.protocol}:{e.address}:{e.port}" for e in endpoints)]
    process = space.start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    listener = Listener(process)
    assert process.stdout is not None
    assert process.stderr is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout)
    if not ready or process.stdout.readline() != b"ready\n":
        process.kill()
        last = process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
        listener.close()
        raise RuntimeError(f"listener in {space.name}: {last[0] if last else 'no answer'}")
    return listener


def probe(space: Space, protocol: Protocol, address: str, port: int, *, timeout: float = 1.0, source: str | None = None) -> Answer:
    """One fresh attempt to reach a port: a TCP handshake, or a UDP datagram and its echo.

    Args:
        space: where the client stands.
        protocol: "tcp" or "udp".
        address: of the server, IPv4 or IPv6.
        port: of the server.
        timeout: seconds until the result is `no_answer`.
        source: the client's address, where it has several.
    """
    sock = _socket(space, protocol, address)
    with sock:
        sock.settimeout(timeout)
        begin = time.perf_counter()
        try:
            if source is not None:
                sock.bind((source, 0))
            sock.connect((address, port))
            if protocol == "udp":
                sock.send(b"?")
                sock.recv(16)
        except TimeoutError:
            return Answer(result="no_answer", ms=_since(begin))
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            return Answer(result="refused", ms=_since(begin), detail=errno.errorcode[error.errno])
        return Answer(result="open", ms=_since(begin))


class Stream:
    """An open TCP connection that keeps sending and counts what comes back, in a thread of its own.

    Use it as a context manager. `tally()` tells how it stands; `settle()` stops sending, waits for the last echo and tells
    how it went; `wait_end()` waits for the connection to die.
    """

    def __init__(self, space: Space, address: str, port: int, *, pause: float = 0.005, timeout: float = 2.0) -> None:
        """Connect from `space` and start sending.

        Args:
            space: where the client stands.
            address: of an echo listener.
            port: of an echo listener.
            pause: seconds between two pieces of 512 bytes.
            timeout: seconds for the handshake.

        Raises:
            OSError: the connection could not be opened.
        """
        self._sock = _socket(space, "tcp", address)
        try:
            self._sock.settimeout(timeout)
            self._sock.connect((address, port))
        except OSError:
            self._sock.close()
            raise
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setblocking(False)
        self._pause = pause
        self._sent = 0
        self._received = 0
        self._intact = True
        self._error = ""
        self._ended_at = 0.0
        self._sending = True
        self._quiet = threading.Event()
        self._ended = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The client's port, by which the other end knows this connection."""
        return int(self._sock.getsockname()[1])

    def tally(self) -> Tally:
        """How the stream stands right now."""
        return Tally(sent=self._sent, received=self._received, intact=self._intact, ended=self._error)

    def wait_end(self, timeout: float) -> float | None:
        """Wait until the connection dies.

        Returns:
            The `time.monotonic()` of its death, or None if it still lives after `timeout` seconds.
        """
        return self._ended_at if self._ended.wait(timeout) else None

    def wait_more(self, more: int, timeout: float) -> bool:
        """Wait until `more` further bytes came back: proof that the stream flows now. False after `timeout` seconds."""
        goal = self._received + more
        deadline = time.monotonic() + timeout
        while self._received < goal and time.monotonic() < deadline and not self._ended.is_set():
            time.sleep(0.001)
        return self._received >= goal

    def settle(self, timeout: float = 3.0) -> Tally:
        """Stop sending, wait up to `timeout` seconds for the last echo, and tell how it went."""
        self._sending = False
        deadline = time.monotonic() + timeout
        # The piece that is being sent right now must be in the account before it is read.
        while not self._quiet.is_set() and time.monotonic() < deadline and not self._ended.is_set():
            time.sleep(0.001)
        while self._received < self._sent and time.monotonic() < deadline and not self._ended.is_set():
            time.sleep(0.001)
        return self.tally()

    def close(self) -> None:
        """End the thread and the connection."""
        self._closing.set()
        self._thread.join()
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        next_send = time.monotonic()
        while not self._closing.is_set():
            try:
                readable, _, _ = select.select([self._sock], [], [], self._pause)
                if readable and not self._take(self._sock.recv(65536)):
                    self._end("closed")
                    return
                if not self._sending:
                    self._quiet.set()
                elif time.monotonic() >= next_send:
                    start = self._sent % _PERIOD
                    self._sent += self._sock.send(_PATTERN[start : start + _CHUNK])
                    next_send = time.monotonic() + self._pause
            except BlockingIOError:
                continue
            except OSError as error:
                self._end(errno.errorcode.get(error.errno or 0, str(error)))
                return

    def _take(self, data: bytes) -> bool:
        position = 0
        while position < len(data):
            start = self._received % _PERIOD
            piece = data[position : position + _PERIOD]
            self._intact = self._intact and piece == _PATTERN[start : start + len(piece)]
            self._received += len(piece)
            position += len(piece)
        return bool(data)

    def _end(self, reason: str) -> None:
        self._error = reason
        self._ended_at = time.monotonic()
        self._ended.set()


def _socket(space: Space, protocol: Protocol, address: str) -> socket.socket:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    with space.inside():
        return socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)


def _since(begin: float) -> float:
    return (time.perf_counter() - begin) * 1000

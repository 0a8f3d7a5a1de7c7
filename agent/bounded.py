"""Floor 2. Connections of strangers: how many, from where, and how long each part of a request may take.

Rules of this room:

1. Everything is bounded from the accepted connection on: the handshake, the request, the answer; connections in total and per
   address. uvicorn has no deadline for a request that trickles in, nor for a handshake.
2. A connection is counted before it is encrypted, and once.
3. The context for the handshake is asked for with each connection, so that new certificates need no restart and disturb nobody.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_LINGER_SECONDS = 1.0
_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"

#: Why a connection was ended without an answer of the application.
REFUSALS = ("busy", "handshake", "name", "slow")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds on what comes from outside. Sizes in bytes, times in seconds.

    Attributes:
        handshake_seconds: for TLS to be agreed on.
        request_seconds: from the accepted connection (or the first byte of a further request) to the request's last byte.
        answer_seconds: for the enforcer to answer; a biller may wait as little as 5 s.
        absent_seconds: of these, how long to wait for an enforcer that is not there; systemd starts a killed one again within two.
        ready_seconds: for the enforcer to answer a probe or a scrape.
        keep_alive_seconds: an idle connection is kept so long.
        max_body: the largest body of any source.
        max_header_bytes: all header names and values together.
        max_headers: how many headers.
        max_connections: connections at once.
        max_per_address: connections at once from one IPv4 address or one IPv6 /64. Behind a reverse proxy every client has the
            proxy's address: set it to `max_connections` there.
        retry_after_seconds: told with every 503.
        stop_seconds: requests under way get so long when stopping.
    """

    handshake_seconds: float = 5.0
    request_seconds: float = 10.0
    answer_seconds: float = 4.5
    absent_seconds: float = 3.0
    ready_seconds: float = 2.0
    keep_alive_seconds: int = 5
    max_body: int = 256 * 1024
    max_header_bytes: int = 16 * 1024
    max_headers: int = 64
    max_connections: int = 256
    max_per_address: int = 64
    retry_after_seconds: int = 5
    stop_seconds: int = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Doorkeeper:
    """What one listener asks for each connection.

    Attributes:
        context: the TLS context for a new connection, None for plain HTTP.
        welcome: whether a client with this verified certificate may come in.
        refused: told the word of `REFUSALS` for each connection that is ended.
    """

    context: Callable[[], ssl.SSLContext | None] = lambda: None
    welcome: Callable[[Mapping[str, Any] | None], bool] = lambda _: True
    refused: Callable[[str], None] = lambda _: None


class Bounded(H11Protocol):
    """The HTTP/1.1 protocol of uvicorn with a deadline on every phase and a cap on connections.

    A connection is always in one of three phases: a request is coming in (`request_seconds` for all of it), an answer is on
    its way (twice `answer_seconds`, since the application keeps its own deadline), or it is idle (uvicorn's keep-alive timer).
    """

    limits: ClassVar[Limits]
    keeper: ClassVar[Doorkeeper]
    open_from: ClassVar[Counter[str]]

    address = ""
    phase = ""
    heard = False
    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, or turn it away."""
        address = _address(transport.get_extra_info("peername"))
        if not self.address:  # else it was counted before the handshake
            if _full(self.limits, self.open_from, address):
                self.keeper.refused("busy")
                transport.write(_BUSY)
                transport.close()  # from here on nothing is read, so no other method sees data
                return
            self.open_from[address] += 1
        # asyncio does this only for sockets that were made with the protocol spelled out; without it an answer, which is
        # written in two parts, waits 40 ms for the other side's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = address
        super().connection_made(transport)
        self.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        self.set_timer(None)
        if not self.address:
            return
        _leave(self.open_from, self.address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hear, and see which phase it is now."""
        self.heard = True
        draining = self.answered_early()
        super().data_received(data)
        if draining and not self.answered_early():
            self.transport.close()  # a refused body has been let in to its end, so that the sender could read the answer
        self.watch()

    def on_response_complete(self) -> None:
        """The next request starts afresh."""
        if not self.answered_early():
            self.phase = ""  # the next phase starts afresh, be it a pipelined request
        super().on_response_complete()
        self.watch()

    def answered_early(self) -> bool:
        """Whether the answer is given and the request is still coming in."""
        return self.conn.their_state is h11.SEND_BODY and self.cycle.response_started

    def watch(self) -> None:
        """See which phase it is; a new one starts a new timer."""
        coming = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        idle = coming and self.conn.our_state is h11.IDLE and self.timeout_keep_alive_task is not None
        phase = "idle" if idle else "request" if coming else "answer"
        if phase != self.phase:
            self.phase = phase
            waits = {"idle": None, "request": self.limits.request_seconds, "answer": 2 * self.limits.answer_seconds}
            self.set_timer(waits[phase])

    def set_timer(self, seconds: float | None, then: Callable[[], None] | None = None) -> None:
        """Replace the one timer of this connection."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None if seconds is None else self.loop.call_later(seconds, then or self.expired)

    def expired(self) -> None:
        """A phase took too long."""
        self.keeper.refused("slow")
        if self.phase == "answer" or self.answered_early():
            self.transport.abort()
            return
        if self.heard:
            self.transport.write(_SLOW)
        self.transport.close()
        self.set_timer(_LINGER_SECONDS, self.transport.abort)


class _Door(asyncio.Protocol):
    """A connection until TLS is agreed on; then it is `inner`'s."""

    def __init__(self, make: Callable[[], Bounded], context: ssl.SSLContext) -> None:
        self._inner = make()
        self._context = context
        self._early = bytearray()
        self._lost = False
        self._shaking: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        inner, address = self._inner, _address(transport.get_extra_info("peername"))
        if _full(inner.limits, inner.open_from, address):
            inner.keeper.refused("busy")
            transport.abort()  # nothing can be said before TLS
            return
        inner.open_from[address] += 1
        self._shaking = asyncio.get_running_loop().create_task(self._shake(transport, address))

    def data_received(self, data: bytes) -> None:
        """What a fast client sent with its last word of the handshake."""
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost = True

    async def _shake(self, transport: asyncio.Transport, address: str) -> None:
        inner = self._inner
        handed_over = False
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                transport, self, self._context, server_side=True, ssl_handshake_timeout=inner.limits.handshake_seconds
            )
            if encrypted is None or self._lost:
                return
            if not inner.keeper.welcome(encrypted.get_extra_info("peercert")):
                inner.keeper.refused("name")
                encrypted.abort()
                return
            inner.address, handed_over = address, True
            encrypted.set_protocol(inner)
            inner.connection_made(encrypted)
            if self._early:
                inner.data_received(bytes(self._early))
        except (OSError, TimeoutError):  # ssl.SSLError is an OSError
            inner.keeper.refused("handshake")
        finally:
            if not handed_over:
                _leave(inner.open_from, address)


def protocol(limits: Limits, keeper: Doorkeeper) -> Callable[..., asyncio.Protocol]:
    """What uvicorn makes for each connection of one listener: these limits, and counters of its own."""
    bounded = type("Bounded", (Bounded,), {"limits": limits, "keeper": keeper, "open_from": Counter()})

    def made(**how: Any) -> asyncio.Protocol:
        context = keeper.context()
        return bounded(**how) if context is None else _Door(lambda: bounded(**how), context)

    return made


def _full(limits: Limits, open_from: Counter[str], address: str) -> bool:
    return open_from.total() >= limits.max_connections or open_from[address] >= limits.max_per_address


def _leave(open_from: Counter[str], address: str) -> None:
    open_from[address] -= 1
    if not open_from[address]:
        del open_from[address]


def _address(peername: Any) -> str:
    """What connections are counted by: an IPv4 address, or the /64 of an IPv6 one."""
    with suppress(ValueError, TypeError, IndexError):
        address = ip_address(peername[0].partition("%")[0])
        if isinstance(address, IPv6Address):
            return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))
        return str(address)
    return "?"

"""Floor 4. The listening face: HTTP in, raw bytes over a UNIX socket to the enforcer, its answer back.

Rules of this room:

1. It knows no secret, owns no ledger, touches no kernel and parses no body. Who steals it can drop or delay webhooks; leases
   and the biller's retries answer that.
2. A webhook is answered with what the enforcer says after its commit. No answer in time is 503 with Retry-After: the biller
   tries again, and a repeated fact is one fact.
3. Everything from outside is bounded: the whole request in time from the accepted connection on, the headers in number and
   size, the body in size, the connections in total and per address. uvicorn has no deadline for a request that trickles in;
   `_Bounded` adds it.
4. The answers never name what is configured. A source nobody knows and a name that can not be one look like a bad signature.
"""

import asyncio
import errno
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any, ClassVar

import h11
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.billing import HEADERS
from agent.channel import ask_async
from agent.errors import ChannelError, ListenError, Refused
from agent.event import instant
from agent.metrics import ServeMetrics, exposition

_log = logging.getLogger("ecluse.serve")

#: Sources remembered for metric labels; more than any gateway has.
_MAX_KNOWN = 64
_LINGER_SECONDS = 1.0
_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds on what comes from outside. Sizes in bytes, times in seconds.

    Attributes:
        request_seconds: from the accepted connection (or the first byte of a further request) to the request's last byte.
        answer_seconds: for the enforcer to answer; a biller may wait as little as 5 s.
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

    request_seconds: float = 10.0
    answer_seconds: float = 4.5
    ready_seconds: float = 2.0
    keep_alive_seconds: int = 5
    max_body: int = 256 * 1024
    max_header_bytes: int = 16 * 1024
    max_headers: int = 64
    max_connections: int = 256
    max_per_address: int = 64
    retry_after_seconds: int = 5
    stop_seconds: int = 8


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for every address `host` stands for; port 0 chooses a free one.

    Raises:
        ListenError: the name is unknown, the address is not ours, or the port is taken.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            bound.append(socket.create_server(address[:2], family=family, backlog=1024))
    except OSError as error:
        for sock in bound:
            sock.close()
        number = error.errno or 0
        if isinstance(error, socket.gaierror):
            what, mend = "the name has no address", "write an IP address"
        elif number == errno.EADDRINUSE:
            what, mend = "another program listens there", "stop it, or choose another port"
        elif number == errno.EADDRNOTAVAIL:
            what, mend = "not an address of this machine", "choose one that `ip address` shows"
        elif number in (errno.EACCES, errno.EPERM):
            what, mend = "not allowed", "ports below 1024 need a right of their own; choose a higher port"
        else:
            what, mend = os.strerror(number), "choose another address or port"
        raise ListenError(address=where, errno=number, what=what, mend=mend) from None
    return bound


async def serve(
    *,
    enforcer: Path,
    stop: asyncio.Event,
    listen: Sequence[tuple[str, int]] = (),
    sockets: Sequence[socket.socket] | None = None,
    limits: Limits | None = None,
    metrics: ServeMetrics | None = None,
) -> None:
    """Answer HTTP until `stop` is set. Signals are the caller's business.

    Args:
        enforcer: the UNIX socket on which the enforcer takes questions.
        stop: ends it; requests under way are finished first.
        listen: (host, port) pairs, used when no sockets are given.
        sockets: sockets that listen already, from socket activation or `bind`; they are closed at the end.
        limits: bounds; the defaults suit a gateway that hears a few billing systems.
        metrics: the figures of this role; made here when not given.

    Raises:
        ListenError: an address can not be listened on; nothing was started.
    """
    limits = limits or Limits()
    open_sockets = list(sockets) if sockets is not None else [sock for host, port in listen for sock in bind(host, port)]
    config = uvicorn.Config(
        application(enforcer, limits, metrics or ServeMetrics()),
        http=_bounded(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # below that, strangers would write our log
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=limits.stop_seconds,
        h11_max_incomplete_event_size=limits.max_header_bytes,
    )
    server = _Server(config)
    watcher = asyncio.create_task(stop.wait())
    watcher.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve(sockets=open_sockets)
    finally:
        watcher.cancel()
        for sock in open_sockets:
            sock.close()


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: they are the caller's business."""
        yield


# --- what is answered -------------------------------------------------------------------------------------------


def application(enforcer: Path, limits: Limits, metrics: ServeMetrics) -> ASGIApp:
    """The routes, behind the caps on headers."""
    known: set[str] = set()

    async def webhook(request: Request) -> Response:
        started = time.perf_counter()
        source = request.path_params["source"]
        response = await _webhook(request, enforcer, limits, metrics)
        # Only the enforcer knows the sources. That it took something of one makes the name safe as a label.
        if response.status_code == 200 and source not in known and len(known) < _MAX_KNOWN:
            known.add(source)
            metrics.know(known)
        metrics.answered(source, response.status_code, time.perf_counter() - started)
        return response

    async def healthz(request: Request) -> Response:
        del request
        return JSONResponse({"alive": True})

    async def readyz(request: Request) -> Response:
        del request
        try:
            answer, _ = await ask_async(enforcer, {"ask": "ready"}, timeout=limits.ready_seconds)
        except (ChannelError, Refused) as error:
            metrics.enforcer(up=False)
            _log.warning("not ready: %s", error)
            return _busy(limits, {"ready": False, "why": "the enforcer does not answer"})
        metrics.enforcer(up=True)
        if answer.get("ready") is True:
            return JSONResponse({"ready": True})
        return _busy(limits, {"ready": False, "why": str(answer.get("why", ""))})

    async def scrape(request: Request) -> Response:
        del request
        theirs = b""
        try:
            _, theirs = await ask_async(enforcer, {"ask": "metrics"}, timeout=limits.ready_seconds)
        except (ChannelError, Refused) as error:
            metrics.enforcer(up=False)
            _log.warning("no figures from the enforcer: %s", error)
        else:
            metrics.enforcer(up=True)
        return Response(exposition(metrics.registry) + theirs, media_type=CONTENT_TYPE_LATEST)

    app = Starlette(
        routes=[
            Route("/webhooks/{source}", webhook, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", scrape),
        ]
    )
    app.router.redirect_slashes = False  # billers do not follow redirects
    return _with_header_caps(app, limits)


async def _webhook(request: Request, enforcer: Path, limits: Limits, metrics: ServeMetrics) -> Response:
    received = datetime.now(UTC)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        return _told(415, "send the body as it was signed, without Content-Encoding")
    try:
        body = await _body(request, limits.max_body)
    except ClientDisconnect:
        return _told(408, "the request did not arrive in time")  # nobody reads this; it is counted
    if body is None:
        return _told(413, f"a body may have {limits.max_body} bytes")
    question = {
        "ask": "webhook",
        "source": request.path_params["source"],
        # A header given twice is joined as HTTP says; the strict grammar of each kind then refuses it.
        "headers": {name: ",".join(request.headers.getlist(name)) for name in sorted(HEADERS) if name in request.headers},
        "peer": request.client.host if request.client else "",
        "received_at": instant(received),
    }
    try:
        answer, _ = await ask_async(enforcer, question, body, timeout=limits.answer_seconds)
        status = answer.get("status")
        if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
            raise ChannelError(f"{enforcer}: answered without a status")
    except (ChannelError, Refused) as error:
        metrics.enforcer(up=False)
        _log.warning("a webhook could not be passed on: %s", error)
        return _busy(limits, {"message": "not recorded; send it again"})
    metrics.enforcer(up=True)
    told = {"message": str(answer.get("message", ""))}
    return _busy(limits, told) if status == 503 else JSONResponse(told, status_code=status)


async def _body(request: Request, most: int) -> bytes | None:
    """The raw body, or None if it is larger than `most`. A declared size is believed only when it is too large."""
    if int(request.headers.get("content-length", "0")) > most:  # h11 has checked that it is a number
        return None
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > most:
            return None
    return bytes(found)


def _told(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status_code=status)


def _busy(limits: Limits, told: dict[str, Any]) -> Response:
    return JSONResponse(told, status_code=503, headers={"retry-after": str(limits.retry_after_seconds)})


def _with_header_caps(app: ASGIApp, limits: Limits) -> ASGIApp:
    async def capped(scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        if len(headers) > limits.max_headers or sum(len(n) + len(v) for n, v in headers) > limits.max_header_bytes:
            await _told(431, "too many or too large headers")(scope, receive, send)
        else:
            await app(scope, receive, send)

    return capped


# --- connections ------------------------------------------------------------------------------------------------


class _Bounded(H11Protocol):
    """The HTTP/1.1 protocol of uvicorn with a deadline on every phase and a cap on connections.

    A connection is always in one of three phases: a request is coming in (`request_seconds` for all of it), an answer is on
    its way (twice `answer_seconds`, since the application keeps its own deadline), or it is idle (uvicorn's keep-alive timer).
    """

    limits: ClassVar[Limits]
    open_from: ClassVar[Counter[str]]

    address = ""
    phase = ""
    heard = False
    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        address = _address(transport.get_extra_info("peername"))
        most = self.limits
        if self.open_from.total() >= most.max_connections or self.open_from[address] >= most.max_per_address:
            transport.write(_BUSY)
            transport.close()  # from here on nothing is read, so no other method sees data
            return
        # asyncio does this only for sockets that were made with the protocol spelled out; without it an answer, which is
        # written in two parts, waits 40 ms for the other side's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = address
        self.open_from[address] += 1
        super().connection_made(transport)
        self.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self.set_timer(None)
        if not self.address:
            return
        self.open_from[self.address] -= 1
        if not self.open_from[self.address]:
            del self.open_from[self.address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        draining = self.answered_early()
        super().data_received(data)
        if draining and not self.answered_early():
            self.transport.close()  # a refused body has been let in to its end, so that the sender could read the answer
        self.watch()

    def on_response_complete(self) -> None:
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
        if self.phase == "answer" or self.answered_early():
            self.transport.abort()
            return
        if self.heard:
            self.transport.write(_SLOW)
        self.transport.close()
        self.set_timer(_LINGER_SECONDS, self.transport.abort)


def _bounded(limits: Limits) -> type[_Bounded]:
    """The protocol with these limits, and counters of its own."""
    return type("Bounded", (_Bounded,), {"limits": limits, "open_from": Counter()})


def _address(peername: Any) -> str:
    """What connections are counted by: an IPv4 address, or the /64 of an IPv6 one."""
    with suppress(ValueError, TypeError, IndexError):
        address = ip_address(peername[0].partition("%")[0])
        if isinstance(address, IPv6Address):
            return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))
        return str(address)
    return "?"

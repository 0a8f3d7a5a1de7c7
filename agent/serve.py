"""Floor 4. The listening face: HTTP in, raw bytes over a UNIX socket to the enforcer, its answer back.

Rules of this room:

1. It knows no secret, owns no ledger, touches no kernel and parses no body. Who steals it can drop or delay webhooks; leases
   and the biller's retries answer that.
2. A webhook is answered with what the enforcer says after its commit. While the enforcer is started again the webhook waits for
   it: a biller told 503 may come back in an hour, and its payment restores nobody meanwhile. No answer in time is 503 with
   Retry-After: the biller tries again, and a repeated fact is one fact.
3. Everything from outside is bounded: connections and time by `bounded`, the headers in number and size, the body in size.
4. Metrics may have a port of their own, and then are on no other. TLS and passwords of each port are `web`'s.
5. The answers never name what is configured. A source nobody knows and a name that can not be one look like a bad signature.
"""

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.billing import HEADERS
from agent.bounded import Doorkeeper, Limits, protocol
from agent.channel import ask_async
from agent.errors import ChannelError, ConfigError, ListenError, Refused
from agent.event import instant
from agent.metrics import ServeMetrics, exposition
from agent.web import Guard

_log = logging.getLogger("ecluse.serve")

#: Sources remembered for metric labels; more than any gateway has.
_MAX_KNOWN = 64


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
    web: Path | None = None,
    metrics_sockets: Sequence[socket.socket] = (),
    metrics_web: Path | None = None,
) -> None:
    """Answer HTTP until `stop` is set. Signals are the caller's business.

    Args:
        enforcer: the UNIX socket on which the enforcer takes questions.
        stop: ends it; requests under way are finished first.
        listen: (host, port) pairs, used when no sockets are given.
        sockets: sockets that listen already, from socket activation or `bind`; they are closed at the end.
        limits: bounds; the defaults suit a gateway that hears a few billing systems.
        metrics: the figures of this role; made here when not given.
        web: TLS and passwords of the webhooks' port; None for plain HTTP.
        metrics_sockets: sockets for `/metrics` alone, which then is on no other port.
        metrics_web: TLS and passwords of these.

    Raises:
        ListenError: an address can not be listened on; nothing was started.
        ConfigError: TLS files can not be used; nothing was started.
    """
    limits, metrics = limits or Limits(), metrics or ServeMetrics()
    try:
        guards = {"webhooks": Guard(web)} | ({"metrics": Guard(metrics_web)} if metrics_sockets else {})
    except ConfigError:
        for sock in (*(sockets or ()), *metrics_sockets):
            sock.close()
        raise
    open_sockets = list(sockets) if sockets is not None else [sock for host, port in listen for sock in bind(host, port)]
    scrape = _scrape(enforcer, limits, metrics, guards)
    facing = application(enforcer, limits, metrics, None if metrics_sockets else scrape)
    servers = [(_server(facing, guards["webhooks"], limits, metrics), open_sockets)]
    if metrics_sockets:
        watched = _with_header_caps(Starlette(routes=[scrape, Route("/healthz", _healthz)]), limits)
        servers.append((_server(watched, guards["metrics"], limits, metrics), list(metrics_sockets)))
    watcher = asyncio.create_task(stop.wait())
    for server, _ in servers:
        watcher.add_done_callback(lambda _, server=server: setattr(server, "should_exit", True))  # type: ignore[misc]
    try:
        async with asyncio.TaskGroup() as running:
            for server, its in servers:
                running.create_task(server.serve(sockets=its))
    finally:
        watcher.cancel()
        for _, its in servers:
            for sock in its:
                sock.close()


def _server(app: ASGIApp, guard: Guard, limits: Limits, metrics: ServeMetrics) -> "_Server":
    keeper = Doorkeeper(context=guard.context, welcome=guard.welcome, refused=metrics.refused)
    config = uvicorn.Config(
        _with_password(app, guard, metrics) if guard.web.users else app,
        http=cast("type[asyncio.Protocol]", protocol(limits, keeper)),
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
    return _Server(config)


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: they are the caller's business."""
        yield


# --- what is answered -------------------------------------------------------------------------------------------


def application(enforcer: Path, limits: Limits, metrics: ServeMetrics, scrape: Route | None) -> ASGIApp:
    """The routes, behind the caps on headers. `scrape`: that of `/metrics`, unless it is on a port of its own."""
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

    app = Starlette(
        routes=[
            Route("/webhooks/{source}", webhook, methods=["POST"]),
            Route("/healthz", _healthz),
            Route("/readyz", readyz),
            *((scrape,) if scrape is not None else ()),
        ]
    )
    app.router.redirect_slashes = False  # billers do not follow redirects
    return _with_header_caps(app, limits)


async def _healthz(request: Request) -> Response:
    del request
    return JSONResponse({"alive": True})


def _scrape(enforcer: Path, limits: Limits, metrics: ServeMetrics, guards: Mapping[str, Guard]) -> Route:
    """`/metrics`: our own figures and the enforcer's."""

    async def scrape(request: Request) -> Response:
        del request
        for listener, guard in guards.items():
            guard.refresh()
            metrics.tls(listener, valid=guard.valid, expires=guard.expires)
        theirs = b""
        try:
            _, theirs = await ask_async(enforcer, {"ask": "metrics"}, timeout=limits.ready_seconds)
        except (ChannelError, Refused) as error:
            metrics.enforcer(up=False)
            _log.warning("no figures from the enforcer: %s", error)
        else:
            metrics.enforcer(up=True)
        return Response(exposition(metrics.registry) + theirs, media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", scrape)


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
        answer, _ = await ask_async(enforcer, question, body, timeout=limits.answer_seconds, absent=limits.absent_seconds)
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


def _with_password(app: ASGIApp, guard: Guard, metrics: ServeMetrics) -> ASGIApp:
    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if await guard.authorised(headers.get(b"authorization", b"").decode("latin-1")):
            await app(scope, receive, send)
            return
        metrics.refused("password")
        answer = JSONResponse({"message": "a name and a password are needed"}, 401, {"www-authenticate": 'Basic realm="ecluse"'})
        await answer(scope, receive, send)

    return asked


def _with_header_caps(app: ASGIApp, limits: Limits) -> ASGIApp:
    async def capped(scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        if len(headers) > limits.max_headers or sum(len(n) + len(v) for n, v in headers) > limits.max_header_bytes:
            await _told(431, "too many or too large headers")(scope, receive, send)
        else:
            await app(scope, receive, send)

    return capped

"""Floor 2. Looks over TCP: a connection, a TLS handshake, an HTTP status."""

import asyncio
import socket
import ssl
from functools import cache

from agent.model import Probe

#: A status line is shorter.
_STATUS_LINE = 512


async def tcp(probe: Probe) -> None:
    """Connect, and hang up.

    Raises:
        OSError: it does not answer.
    """
    (await _connected(probe)).close()


async def tls(probe: Probe) -> None:
    """A handshake, whoever signed the certificate and however old its protocol is: the question is whether it answers.

    Raises:
        OSError, ssl.SSLError: it does not answer, or not with TLS.
    """
    sock = await _connected(probe)
    writer = None
    try:
        _, writer = await asyncio.open_connection(sock=sock, ssl=_context(), server_hostname=probe.name or "")
    finally:
        if writer is not None:
            writer.transport.abort()
        else:
            sock.close()


async def http(probe: Probe) -> None:
    """Ask for a path and read the status line; 500 and above is no answer.

    Raises:
        OSError: it does not answer, not with HTTP, or that it can not.
    """
    sock = await _connected(probe)
    loop = asyncio.get_running_loop()
    with sock:
        host = f"[{probe.address}]" if probe.address.version == 6 else str(probe.address)
        path = (probe.path or "/").encode("ascii", "replace").decode()
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ecluse-probe\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(sock, request.encode())
        line = b""
        while b"\n" not in line and len(line) < _STATUS_LINE:
            more = await loop.sock_recv(sock, _STATUS_LINE)
            if not more:
                break
            line += more
    status = _status(line)
    if status >= 500:
        raise OSError(0, f"HTTP {status}")


def _status(line: bytes) -> int:
    words = line.partition(b"\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not (words[1].isdigit() and len(words[1]) == 3):
        raise OSError(0, "no HTTP answer")
    return int(words[1])


async def _connected(probe: Probe) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if probe.address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (str(probe.address), probe.port))
    except BaseException:
        sock.close()
        raise
    return sock


@cache
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")  # nothing is said over it; old software on site must be seen too
    return context

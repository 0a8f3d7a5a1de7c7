"""Floor 2. Looks by single packets: an UDP exchange, a DNS question, an echo.

An echo is asked for over a ping socket, which needs no right where `net.ipv4.ping_group_range` allows it to our group; IPv6 has
the same switch. Each kind uses a connected socket, so that ICMP errors and answers of others are told apart by the kernel; to
connect one waits for nothing.
"""

import asyncio
import itertools
import os
import socket
import struct

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

from agent.model import Probe
from agent.probe.outcome import Unable

#: What a server that works says: it has an answer, or that there is none.
_ANSWERS = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)

_MOST = 4096
_ECHO = struct.Struct("!BBHHH")
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_serial = itertools.count(int.from_bytes(os.urandom(2)))


async def udp(probe: Probe) -> None:
    """Send an empty datagram; any answer will do.

    Raises:
        OSError: the host says that nobody listens there. Silence is a timeout, and tells nothing.
    """
    await _exchange(_socket(probe, socket.SOCK_DGRAM), probe, b"")


async def name(probe: Probe) -> None:
    """Ask for the addresses of a name (of the root's servers without one), over UDP.

    Raises:
        OSError: no answer, or one that the server can not give.
    """
    kind = dns.rdatatype.A if probe.name else dns.rdatatype.NS
    try:
        question = dns.message.make_query(probe.name or ".", kind)
    except dns.exception.DNSException:
        raise Unable("the name can not be asked for; correct `name` of the probe") from None
    sock = _socket(probe, socket.SOCK_DGRAM)
    loop = asyncio.get_running_loop()
    with sock:
        sock.connect((str(probe.address), probe.port))
        await loop.sock_sendall(sock, question.to_wire())
        while True:
            raw = await loop.sock_recv(sock, _MOST)
            try:
                answer = dns.message.from_wire(raw, ignore_trailing=True)
            except dns.exception.DNSException:
                continue  # not an answer: what comes next may be
            if question.is_response(answer):
                break
    if answer.rcode() not in _ANSWERS:
        raise OSError(0, f"DNS {dns.rcode.to_text(answer.rcode())}")


async def icmp(probe: Probe) -> None:
    """One echo.

    Raises:
        Unable: we may not send one.
        OSError: the host can not be reached.
    """
    version = probe.address.version
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    try:
        sock = _socket(probe, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        raise Unable("no echo from here: net.ipv4.ping_group_range leaves our group out") from None
    number, mark = next(_serial) & 0xFFFF, os.urandom(8)
    loop = asyncio.get_running_loop()
    with sock:
        sock.connect((str(probe.address), 0))
        # The kernel writes the identifier and the checksum of a ping socket's packets.
        await loop.sock_sendall(sock, _ECHO.pack(_REQUEST[version], 0, 0, 0, number) + mark)
        while True:
            raw = await loop.sock_recv(sock, _MOST)
            if len(raw) >= _ECHO.size:
                kind, _, _, _, seen = _ECHO.unpack_from(raw)
                if kind == _REPLY[version] and seen == number and raw[_ECHO.size :] == mark:
                    return


async def _exchange(sock: socket.socket, probe: Probe, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    with sock:
        sock.connect((str(probe.address), probe.port))
        sock.send(data)  # an empty datagram is one too; `sock_sendall` would send nothing
        await loop.sock_recv(sock, _MOST)


def _socket(probe: Probe, kind: int, protocol: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if probe.address.version == 6 else socket.AF_INET, kind, protocol)
    sock.setblocking(False)
    return sock

"""A small DHCP: just enough of RFC 2131 and RFC 8415 that a lease is asked for, relayed, renewed and answered with real packets."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from agent.lab import Space

_MAGIC = b"\x63\x82\x53\x63"
#: What a client without an address writes, and who hears every address.
_NONE = "0.0.0.0"
_DISCOVER, _OFFER, _REQUEST, _ACK = 1, 2, 3, 5
_INFORMATION, _REPLY, _RELAY, _RELAYED = 11, 7, 12, 13
_XID = 0x0EC1053E


def _message(kind: int, *, answer: bool, xid: int = _XID, ciaddr: str = _NONE, giaddr: str = _NONE) -> bytes:
    head = struct.pack("!BBBBIHH", 2 if answer else 1, 1, 6, int(giaddr != _NONE), xid, 0, 0x8000)
    addresses = b"".join(socket.inet_aton(each) for each in (ciaddr, _NONE, _NONE, giaddr))
    return head + addresses + b"\x02\0\0\0\0\x01".ljust(16 + 64 + 128, b"\0") + _MAGIC + bytes((53, 1, kind, 255))


def _read(message: bytes) -> tuple[int, int, str, str]:
    """Kind, transaction, the client's own address and the relay's."""
    (xid,) = struct.unpack_from("!I", message, 4)
    assert message[236:240] == _MAGIC
    assert message[240:242] == b"\x35\x01"
    return message[242], xid, socket.inet_ntoa(message[12:16]), socket.inet_ntoa(message[24:28])


def _open(space: Space, port: int, address: str = _NONE, interface: str = "") -> socket.socket:
    with space.inside():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.bind((address, port))
    sock.settimeout(2)
    return sock


@contextmanager
def server(space: Space, *, interface: str = "", addresses6: tuple[str, ...] = ()) -> Iterator[None]:
    """A server of both families in one namespace; `addresses6`: those it answers DHCPv6 from."""
    four = _open(space, 67, interface=interface)
    sixes = [_open(space, 547, address) for address in addresses6]
    works = [(_answer4, four), *((_answer6, sock) for sock in sixes)]
    stopped = threading.Event()
    threads = [threading.Thread(target=_serve, args=(*work, stopped), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join(10)
        for _, sock in works:
            sock.close()


def _serve(answer: Callable[[socket.socket], None], sock: socket.socket, stopped: threading.Event) -> None:
    while not stopped.is_set():
        with suppress(TimeoutError):
            answer(sock)


def _answer4(sock: socket.socket) -> None:
    message, _ = sock.recvfrom(2000)
    kind, xid, ciaddr, giaddr = _read(message)
    said = _message({_DISCOVER: _OFFER, _REQUEST: _ACK}[kind], answer=True, xid=xid, ciaddr=ciaddr, giaddr=giaddr)
    where = (giaddr, 67) if giaddr != _NONE else (ciaddr, 68) if ciaddr != _NONE else ("255.255.255.255", 68)
    sock.sendto(said, where)


def _answer6(sock: socket.socket) -> None:
    message, peer = sock.recvfrom(2000)
    kind = {_INFORMATION: _REPLY, _RELAY: _RELAYED}[message[0]]
    sock.sendto(bytes((kind,)) + message[1:], peer)


def _asked(sock: socket.socket, message: bytes, where: tuple[str, int]) -> bytes | None:
    with sock:
        for _ in range(3):
            with suppress(TimeoutError):
                sock.sendto(message, where)
                return sock.recv(2000)
    return None


def relayed(space: Space, own: str, server_: str) -> bool:
    """A relay on the site asks a server behind the gateway for a client that has no address yet."""
    if ":" in own:
        said = _asked(_open(space, 547, own), bytes((_RELAY, 0)) + bytes(32), (server_, 547))
        return said is not None and said[0] == _RELAYED
    said = _asked(_open(space, 67, own), _message(_DISCOVER, answer=False, giaddr=own), (server_, 67))
    return said is not None and _read(said) == (_OFFER, _XID, _NONE, own)


def renewed(space: Space, own: str, server_: str) -> bool:
    """A client renews its lease with a server behind the gateway; of IPv6, asks for its configuration."""
    if ":" in own:
        said = _asked(_open(space, 546, own), bytes((_INFORMATION, 0, 0, 1)), (server_, 547))
        return said is not None and said[0] == _REPLY
    said = _asked(_open(space, 68, own), _message(_REQUEST, answer=False, ciaddr=own), (server_, 67))
    return said is not None and _read(said) == (_ACK, _XID, own, _NONE)


def discovered(space: Space, interface: str) -> bool:
    """A client without an address asks whoever is on its wire: the gateway."""
    sock = _open(space, 68, interface=interface)
    said = _asked(sock, _message(_DISCOVER, answer=False), ("255.255.255.255", 67))
    return said is not None and _read(said)[:2] == (_OFFER, _XID)

"""Floor 2, lab. A program that answers every TCP stream and every UDP datagram with what it got. Run by path, in a namespace.

Arguments: `tcp:ADDRESS:PORT` or `udp:ADDRESS:PORT`, any number (the address may hold colons). Prints `ready` when every
port is open, and ends when its standard input closes, so that it never outlives who started it.
"""

import contextlib
import os
import socket
import sys
import threading


def open_port(text: str) -> tuple[str, socket.socket]:
    """Bind one port.

    Args:
        text: as in the module's docstring.

    Raises:
        OSError: the address is not here or the port is taken.
    """
    protocol, _, rest = text.partition(":")
    address, _, port = rest.rpartition(":")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, int(port)))
    if protocol == "tcp":
        sock.listen(64)
    return protocol, sock


def accept_streams(listener: socket.socket) -> None:
    """Answer streams until the process ends."""
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=answer_stream, args=(stream,), daemon=True).start()


def answer_stream(stream: socket.socket) -> None:
    """Send one stream back until it ends, in order or by a reset."""
    with stream, contextlib.suppress(OSError):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := stream.recv(65536):
            stream.sendall(data)


def answer_datagrams(sock: socket.socket) -> None:
    """Send datagrams back until the process ends. An ICMP error about an earlier answer is not ours to mind."""
    while True:
        with contextlib.suppress(OSError):
            data, peer = sock.recvfrom(65536)
            sock.sendto(data, peer)


def main() -> None:
    """Open the ports, say so, answer until standard input closes."""
    for protocol, sock in [open_port(text) for text in sys.argv[1:]]:
        work = accept_streams if protocol == "tcp" else answer_datagrams
        threading.Thread(target=work, args=(sock,), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    # Daemon threads still hold sockets; there is nothing to save.
    os._exit(0)


if __name__ == "__main__":
    main()

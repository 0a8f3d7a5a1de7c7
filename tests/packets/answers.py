"""A program that answers like the software on a site: `answers.py KIND:ADDRESS:PORT[:HOW] ...`. Run by path, in a namespace.

KIND is `http` (HOW: the status, `mute` for a server that accepts and says nothing, or `need:ADDRESS:PORT`: 200 while a
TCP connection to there can be made, else 503), `tls`, `dns` (HOW: the name of an rcode, or `other` for answers to another
question first), `mute` (UDP that says nothing). IPv6 addresses are written with `_` for `:`. Prints `ready` when every port is
open, and ends when its standard input closes.
"""

import os
import socket
import ssl
import sys
import tempfile
import threading
from contextlib import suppress

import dns.message
import dns.rcode

#: A certificate and its key that are worth nothing: nobody trusts them, and they are here for everybody to read.
SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgN7oIOJ1Xc9lMRjsQ
Y1K78Fw+zzlbDo0xn0TPIYQlpfChRANCAAS6XhENLVrXFK+VEu9jb/ShU/KgPKz5
EJsVm7NYmTvQ/H8dfGnToI4AlD64ZUm54+PCzdYp+s7jTcHukNepJJ2f
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBfTCCASOgAwIBAgIUTkT9cNcNcLf4Y57Ik18JxxlVOhcwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIZXJwLnRlc3QwIBcNMjYxMTI1MTg0MDQ1WhgPMjEyNjExMDEx
ODQwNDVaMBMxETAPBgNVBAMMCGVycC50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEul4RDS1a1xSvlRLvY2/0oVPyoDys+RCbFZuzWJk70Px/HXxp06COAJQ+
uGVJuePjws3WKfrO403B7pDXqSSdn6NTMFEwHQYDVR0OBBYEFC/bmz1nNRBbKGKh
2/LKRz1Xj2TUMB8GA1UdIwQYMBaAFC/bmz1nNRBbKGKh2/LKRz1Xj2TUMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAM1R4jmykKcvVD+lHVp0kDh8
cT8hHW93VdHQ7qkCEdWcAiBR8zXEeccu8JPelYqzekQ01/jM+/E04TeIJ3ICsIfC
4Q==
-----END CERTIFICATE-----
"""


def bound(kind: str, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM if kind in ("dns", "mute") else socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if kind not in ("dns", "mute"):
        sock.listen(64)
    return sock


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(SELF_SIGNED)
        file.flush()
        made.load_cert_chain(file.name)
    return made


def status(how: str) -> str:
    if not how.startswith("need:"):
        return how or "200"
    _, address, port = how.split(":")
    with suppress(OSError), socket.create_connection((address.replace("_", ":"), int(port)), timeout=2):
        return "200"
    return "503"


def http(stream: socket.socket, how: str) -> None:
    with stream, suppress(OSError):
        stream.settimeout(10)
        stream.recv(65536)
        if how == "mute":
            stream.recv(65536)
        else:
            stream.sendall(f"HTTP/1.1 {status(how)} said\r\nContent-Length: 0\r\n\r\n".encode())


def tls(stream: socket.socket, made: ssl.SSLContext) -> None:
    with stream, suppress(OSError):
        stream.settimeout(10)
        with made.wrap_socket(stream, server_side=True) as safe:
            safe.recv(1)


def accept(listener: socket.socket, kind: str, how: str) -> None:
    made = context() if kind == "tls" else None
    while True:
        stream, _ = listener.accept()
        work = (tls, (stream, made)) if made else (http, (stream, how))
        threading.Thread(target=work[0], args=work[1], daemon=True).start()


def name(sock: socket.socket, how: str) -> None:
    while True:
        raw, peer = sock.recvfrom(4096)
        answer = dns.message.make_response(dns.message.from_wire(raw))
        if how == "other":
            sock.sendto(b"not DNS", peer)
            answer.id ^= 1
            sock.sendto(answer.to_wire(), peer)
            answer.id ^= 1
        elif how:
            answer.set_rcode(dns.rcode.from_text(how))
        sock.sendto(answer.to_wire(), peer)


def main() -> None:
    for text in sys.argv[1:]:
        kind, address, port, *how = text.split(":", 3)
        sock = bound(kind, address.replace("_", ":"), int(port))
        said = how[0] if how else ""
        if kind == "dns":
            threading.Thread(target=name, args=(sock, said), daemon=True).start()
        elif kind != "mute":
            threading.Thread(target=accept, args=(sock, kind, said), daemon=True).start()
        else:
            globals().setdefault("kept", []).append(sock)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()

"""The floor: what the kernel itself needs for one change, with messages packed beforehand and nothing around them.

Written by hand and on its own, without a line of the agent's codec: so it is a measure for it.
"""

import socket
import struct

NEW, DELETE = 10 << 8 | 12, 10 << 8 | 14
CREATE, ACK = 0x401, 0x4


def open_socket() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    sock.bind((0, 0))
    return sock


def attribute(type_: int, body: bytes) -> bytes:
    return struct.pack("=HH", len(body) + 4, type_) + body + bytes(-len(body) % 4)


def element(key: bytes, case: str, timeout_ms: int) -> bytes:
    comment = case.encode() + b"\0"
    return attribute(
        0x8001,
        attribute(0x8001, attribute(1, key))
        + attribute(4, struct.pack(">Q", timeout_ms))
        + attribute(6, bytes((0, len(comment))) + comment),
    )


def name_only(key: bytes) -> bytes:
    return attribute(0x8001, attribute(0x8001, attribute(1, key)))


def message(type_: int, flags: int, table: str, set_name: str, packed: bytes, sequence: int) -> bytes:
    body = attribute(1, table.encode() + b"\0") + attribute(2, set_name.encode() + b"\0") + attribute(0x8003, packed)
    return struct.pack("=IHHIIBBH", 20 + len(body), type_, flags, sequence, 0, 1, 0, 0) + body


def batch(messages: list[tuple[int, int, str, str, bytes]]) -> bytes:
    """One ready transaction; the last message asks for the acknowledgement."""
    begin = struct.pack("=IHHIIBBH", 20, 16, 1, 0, 0, 0, 0, socket.htons(10))
    end = struct.pack("=IHHIIBBH", 20, 17, 1, len(messages) + 1, 0, 0, 0, socket.htons(10))
    body = b"".join(
        message(type_, flags | (ACK if number == len(messages) else 0), table, name, packed, number)
        for number, (type_, flags, table, name, packed) in enumerate(messages, 1)
    )
    return begin + body + end


def commit(sock: socket.socket, ready: bytes) -> None:
    sock.send(ready)
    answer = sock.recv(4096)
    code = struct.unpack_from("=i", answer, 16)[0]
    assert code == 0, code


def changes(table: str, sets: list[str], key: bytes, case: str, timeout_ms: int) -> dict[str, bytes]:
    """Suspend, renew and restore of one company as ready transactions, each with no message too many."""
    add = [(NEW, CREATE, table, name, element(key, case, timeout_ms)) for name in sets]
    gone = [(DELETE, 1, table, name, name_only(key)) for name in sets]
    return {"suspend": batch(add), "renew": batch(add + gone + add), "restore": batch(gone)}

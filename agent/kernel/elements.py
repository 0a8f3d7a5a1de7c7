"""Floor 2, kernel. Members of our sets as nf_tables messages, and back.

Rules of this room:

1. Every member carries its lease as a timeout, its case as a comment and a counter (the set gives it one); a member of a cap
   brings its own counter and token bucket. One without a lease is never written: the kernel would keep it for ever.
2. To add is add + delete + add: a plain add leaves an existing member's old lease as it is (before Linux 6.12) and its
   old comment always. To delete is add + delete: so a member that has just expired can not sink the batch.
3. A comment is what `nft` shows as one: at most 128 bytes, no quote.
"""

import errno
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeVar

from agent.errors import KernelError
from agent.kernel.netlink import (
    DELSETELEM,
    GETSETELEM,
    NESTED,
    NEWSETELEM,
    NLM_F_CREATE,
    Message,
    attribute,
    attributes,
    text_attribute,
)
from agent.nfttext import BURST_BYTES, BYTES_PER_KBIT, MOST_KBIT
from agent.rules import TABLE, Element, Found, Key

#: What a member without any timeout shows; ours always have one.
FOREVER_MS = 2**63 - 1

#: A lease of more (some thousand years) is a mistake.
_ENDLESS_MS = 2**48

_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_LIST_ELEM = 1
_KEY, _TIMEOUT, _EXPIRATION, _USERDATA, _EXPR, _EXPRESSIONS = 1, 4, 5, 6, 7, 11
_VALUE = 1
_EXPR_NAME, _EXPR_DATA = 1, 2
_COUNTER_PACKETS = 2
_LIMIT_RATE, _LIMIT_UNIT, _LIMIT_BURST, _LIMIT_TYPE, _LIMIT_FLAGS = 1, 2, 3, 4, 5
_LIMIT_BYTES, _LIMIT_ABOVE = 1, 1
_COMMENT = 0
_COMMENT_BYTES = 128

#: A nested attribute counts its bytes in 16 bits.
_MESSAGE_BYTES = 60_000
#: The lease of the first add of a pair that is gone again when the batch is through.
_BRIEF_MS = 1000

_T = TypeVar("_T", Element, Key)

_HH = struct.Struct("=HH")
_U64 = struct.Struct(">Q")

#: Name "counter", then its data: eight bytes of bytes behind this, then the packets behind their own header.
_COUNTER_EXPRESSION = struct.pack("=HH8sHHHH", 12, 1, b"counter\0", 28, _EXPR_DATA, 12, 1)
_COUNTER_PACKETS_HEADER = _HH.pack(12, _COUNTER_PACKETS)


def check_members(elements: Iterable[Element]) -> None:
    """Refuse members that must never reach the kernel.

    Raises:
        KernelError: EINVAL for a member without a lease, a case id that can not be a comment, or a rate out of bounds.
    """
    for element in elements:
        if not 0 < element.timeout_ms < _ENDLESS_MS:
            what = f"a member of {element.set} for case {element.case!r} has a lease of {element.timeout_ms} ms"
            raise KernelError(errno=errno.EINVAL, what=what)
        if not 0 <= element.kbit <= MOST_KBIT:
            what = f"a member of {element.set} for case {element.case!r} has a rate of {element.kbit} kbit/s"
            raise KernelError(errno=errno.EINVAL, what=what, mend=f"A cap is 1 to {MOST_KBIT} kbit/s")
        case = element.case.encode()
        if not 0 < len(case) <= _COMMENT_BYTES or b'"' in case or not element.case.isprintable():
            raise KernelError(
                errno=errno.EINVAL,
                what=f"case id {element.case!r:.200} can not be a comment",
                mend="Case ids have 1 to 128 printable bytes and no quotes",
            )


def add_messages(elements: Iterable[Element]) -> Iterator[Message]:
    """Add members, or renew them where they exist: three messages for each run of members of one set."""
    for set_name, group in by_set(elements).items():
        packed = [_element(key, e.timeout_ms, e.case, e.kbit) for key, e in group.items()]
        keys = [_key(key) for key in group]
        for start, stop in _spans(packed):
            added = Message(NEWSETELEM, _list(set_name, packed[start:stop]), set_name, NLM_F_CREATE)
            yield added
            yield Message(DELSETELEM, _list(set_name, keys[start:stop]), set_name)
            yield added


def delete_messages(keys: Iterable[Key]) -> Iterator[Message]:
    """Delete members, whether they exist or not."""
    for set_name, group in by_set(keys).items():
        brief = [_brief(key) for key in group]
        packed = [_key(key) for key in group]
        for start, stop in _spans(brief):
            yield Message(NEWSETELEM, _list(set_name, brief[start:stop]), set_name, NLM_F_CREATE)
            yield Message(DELSETELEM, _list(set_name, packed[start:stop]), set_name)


def get_message(key: Key) -> Message:
    """Look one member up; the reply is for `read_found`."""
    return Message(GETSETELEM, _list(key.set, [_key(key.key)]), key.set)


def dump_message(set_name: str) -> Message:
    """Read a whole set; the replies are for `read_elements`."""
    return Message(GETSETELEM, _head(set_name), f"set {set_name}")


def read_found(body: bytes) -> Found | None:
    """The member in a reply to `get_message`, or None if there is none in it."""
    return next((found for _, found in read_elements(body)), None)


def read_elements(body: bytes) -> Iterator[tuple[bytes, Found]]:
    """The members in one message, by key."""
    for type_, elements in attributes(body):
        if type_ == _LIST_ELEMENTS:
            at, end = 0, len(elements)
            while at + 4 <= end:
                size = _HH.unpack_from(elements, at)[0]
                if size < 4:
                    return
                yield _read_element(elements, at + 4, at + size)
                at += (size + 3) & ~3


def read_comment(userdata: bytes) -> str:
    """The comment among the type-length-value triples that nft keeps with a member or a rule; empty if there is none."""
    at = 0
    while at + 2 <= len(userdata):
        kind, size = userdata[at], userdata[at + 1]
        if kind == _COMMENT:
            return userdata[at + 2 : at + 2 + size].rstrip(b"\0").decode(errors="backslashreplace")
        at += 2 + size
    return ""


def by_set(members: Iterable[_T]) -> dict[str, dict[bytes, _T]]:
    """Members by set and key; of two with one key the later counts, and the kernel never hears it twice."""
    groups: dict[str, dict[bytes, _T]] = {}
    for member in members:
        groups.setdefault(member.set, {})[member.key] = member
    return groups


def _read_element(data: bytes, at: int, end: int) -> tuple[bytes, Found]:
    """One member. Written out flat, without `attributes`: an audit reads hundreds of thousands of them."""
    header = _HH.unpack_from
    key, case, expires_ms, packets, kbit = b"", "", FOREVER_MS, 0, 0
    while at + 4 <= end:
        size, type_ = header(data, at)
        if size < 4:
            break
        type_ &= 0x3FFF
        if type_ == _KEY:
            key = data[at + 8 : at + size]
        elif type_ == _EXPIRATION:
            expires_ms = _U64.unpack_from(data, at + 4)[0]
        elif type_ == _EXPR:
            packets = _packets(data[at + 4 : at + size])
        elif type_ == _USERDATA:
            case = read_comment(data[at + 4 : at + size])
        elif type_ == _EXPRESSIONS:
            packets, kbit = _counted_and_capped(data[at + 4 : at + size])
        at += (size + 3) & ~3
    return key, Found(case=case, expires_ms=expires_ms, packets=packets, kbit=kbit)


def _packets(expression: bytes) -> int:
    # The form that every kernel so far writes, at one look: an audit asks this of each of hundreds of thousands of members.
    if expression.startswith(_COUNTER_EXPRESSION) and expression[28:32] == _COUNTER_PACKETS_HEADER:
        return int(_U64.unpack_from(expression, 32)[0])
    for type_, data in attributes(expression):
        if type_ == _EXPR_DATA:
            return next((int(_U64.unpack_from(value)[0]) for kind, value in attributes(data) if kind == _COUNTER_PACKETS), 0)
    return 0


def _counted_and_capped(expressions: bytes) -> tuple[int, int]:
    """Packets and kbit/s of a member that brought its own counter and token bucket."""
    packets = kbit = 0
    for _, expression in attributes(expressions):
        parts = dict(attributes(expression))
        if parts.get(_EXPR_NAME) == b"counter\0":
            packets = _packets(expression)
        elif parts.get(_EXPR_NAME) == b"limit\0":
            values = dict(attributes(parts.get(_EXPR_DATA, b"")))
            rate, unit = (int(_U64.unpack(values.get(each, bytes(8)))[0]) for each in (_LIMIT_RATE, _LIMIT_UNIT))
            kbit = rate // (BYTES_PER_KBIT * (unit or 1))
    return packets, kbit


@lru_cache(maxsize=64)
def _capped(kbit: int) -> bytes:
    """Counter and token bucket of a member, in this order: the other way round, nothing is counted below the rate."""
    limit = b"".join(
        (
            attribute(_LIMIT_RATE, _U64.pack(kbit * BYTES_PER_KBIT)),
            attribute(_LIMIT_UNIT, _U64.pack(1)),
            attribute(_LIMIT_BURST, BURST_BYTES.to_bytes(4, "big")),
            attribute(_LIMIT_TYPE, _LIMIT_BYTES.to_bytes(4, "big")),
            attribute(_LIMIT_FLAGS, _LIMIT_ABOVE.to_bytes(4, "big")),
        )
    )
    both = (
        attribute(_LIST_ELEM | NESTED, text_attribute(_EXPR_NAME, name) + attribute(_EXPR_DATA | NESTED, data))
        for name, data in (("counter", b""), ("limit", limit))
    )
    return attribute(_EXPRESSIONS | NESTED, b"".join(both))


def _spans(packed: list[bytes]) -> Iterator[tuple[int, int]]:
    """Cut a list into runs that fit into one message."""
    start = size = 0
    for index, piece in enumerate(packed):
        if size + len(piece) > _MESSAGE_BYTES:
            yield start, index
            start, size = index, 0
        size += len(piece)
    if packed:
        yield start, len(packed)


@lru_cache(maxsize=4096)
def _head(set_name: str) -> bytes:
    return text_attribute(_LIST_TABLE, TABLE) + text_attribute(_LIST_SET, set_name)


def _list(set_name: str, packed: list[bytes]) -> bytes:
    return _head(set_name) + attribute(_LIST_ELEMENTS | NESTED, b"".join(packed))


@lru_cache(maxsize=64)
def _key_layout(size: int) -> tuple[struct.Struct, tuple[int, ...]]:
    """Format and leading headers of a key of `size` bytes; the zero bytes that pad it are the format's."""
    padded = (size + 3) & ~3
    headers = (12 + padded, _LIST_ELEM | NESTED, 8 + padded, _KEY | NESTED, 4 + size, _VALUE)
    return struct.Struct(f"=6H{padded}s"), headers


def _key(key: bytes) -> bytes:
    layout, headers = _key_layout(len(key))
    return layout.pack(*headers, key)


@lru_cache(maxsize=1024)
def _element_layout(size: int, comment: int) -> tuple[struct.Struct, tuple[int, ...], tuple[int, ...]]:
    """Format, headers before and headers behind the lease, of an element with a key and a comment of these sizes.

    Key, timeout and userdata (type, length, text with its NUL) at a fixed place each: one call packs it all.
    """
    padded, user = (size + 3) & ~3, comment + 3
    behind = (4 + user, _USERDATA, _COMMENT, comment + 1)
    whole = 12 + padded + 12 + 4 + ((user + 3) & ~3)
    before = (whole, _LIST_ELEM | NESTED, 8 + padded, _KEY | NESTED, 4 + size, _VALUE)
    return struct.Struct(f"=6H{padded}s2H8s2H2B{((user + 3) & ~3) - 2}s"), before, behind


def _element(key: bytes, timeout_ms: int, case: str, kbit: int) -> bytes:
    comment = case.encode()
    layout, before, behind = _element_layout(len(key), len(comment))
    packed = layout.pack(*before, key, 12, _TIMEOUT, timeout_ms.to_bytes(8, "big"), *behind, comment)
    return attribute(_LIST_ELEM | NESTED, packed[4:] + _capped(kbit)) if kbit else packed


def _brief(key: bytes) -> bytes:
    timeout = attribute(_TIMEOUT, _BRIEF_MS.to_bytes(8, "big"))
    return attribute(_LIST_ELEM | NESTED, _key(key)[4:] + timeout)

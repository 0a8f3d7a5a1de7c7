"""Floor 2, kernel. What our table really is, compared with what it should be.

Rules of this room:

1. Read only, and only our own table, by raw dumps: what libnftables would re-read for every look at a structure is not
   touched.
2. Equal means: the same chains with the same hooks and the same rule comments in the same order, the same sets and maps of
   the same types, the same map entries, and a table that is awake. Each comment is a hash over the chain so far, so one
   string comparison sees a rule that is gone, added, moved or changed.
3. Members are not structure: they are looked up by key, or audited by a stream.
"""

import errno
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent import ruleset
from agent.errors import KernelError
from agent.kernel.elements import dump_message, read_comment
from agent.kernel.netlink import (
    GETCHAIN,
    GETFLOWTABLE,
    GETOBJ,
    GETRULE,
    GETSET,
    GETTABLE,
    Message,
    Netlink,
    attributes,
    failure,
    text,
    text_attribute,
)
from agent.model import L4, Family
from agent.nfttext import rule_comments
from agent.rules import TABLE, Chain, MemberSet, ServiceEntry, ServiceMap, Structure

#: A chain's hook, priority, type and policy; None for a chain that no hook calls.
Hook = tuple[int, int, str, int] | None
#: A map entry: first key, last key, verdict, chain.
Entry = tuple[bytes, bytes, int, str]

_U32 = struct.Struct(">I")
_I32 = struct.Struct(">i")

_TABLE_FLAGS, _DORMANT = 2, 0x1
_CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE, _CHAIN_FLAGS = 3, 4, 5, 7, 10
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_CHAIN_BINDING = 0x4
_RULE_CHAIN, _RULE_USERDATA = 2, 7
_SET_NAME, _SET_FLAGS, _SET_KEY_TYPE, _SET_KEY_LEN, _SET_DATA_TYPE, _SET_EXPR, _SET_EXPRESSIONS = 2, 3, 4, 5, 6, 17, 18
_ANONYMOUS, _INTERVAL, _MAP, _TIMEOUT = 0x1, 0x4, 0x8, 0x10
#: Flags that change what a set does; others say how nft wrote it.
_TELLING = _ANONYMOUS | 0x2 | _INTERVAL | _MAP | _TIMEOUT | 0x40
_ELEM_KEY, _ELEM_DATA, _ELEM_KEY_END, _ELEMENTS = 1, 2, 10, 3
_VALUE, _VERDICT, _VERDICT_CODE, _VERDICT_CHAIN = 1, 2, 1, 2
_GOTO = -4
_ACCEPT = 1
_HOOK_NUMBERS = {"input": 1, "forward": 2}
#: `filter - 10`, as `nfttext.PRIORITY` writes it.
_PRIORITY = -10

# Type numbers of nft, six bits each in a concatenation.
_ADDRESS_TYPE: dict[Family, int] = {4: 7, 6: 8}
_PROTOCOL_TYPE, _PORT_TYPE, _INTERFACE_TYPE = 12, 13, 41
_VERDICT_TYPE = 0xFFFFFF00

_OBJECT_WORDS = {
    1: "counter",
    2: "quota",
    3: "ct helper",
    4: "limit",
    7: "ct timeout",
    8: "secmark",
    9: "ct expectation",
    10: "synproxy",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SetType:
    """What a set is: flags, key type and length, data type (0: none), whether its members count and whether they have a rate."""

    flags: int
    key_type: int
    key_len: int
    data_type: int = 0
    counts: bool = False
    caps: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TableState:
    """Our table as far as structure goes; `extra` are objects of other kinds, in nft's words."""

    asleep: bool
    hooks: Mapping[str, Hook]
    rules: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, SetType]
    entries: Mapping[str, frozenset[Entry]]
    extra: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A structure in the words of `TableState`."""

    hooks: Mapping[str, Hook]
    rules: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, SetType]
    entries: Mapping[str, frozenset[Entry]]


def wanted(structure: Structure) -> Wanted:
    """What the kernel must show once `structure` is loaded."""
    return Wanted(
        hooks={chain.name: _hook(chain) for chain in structure.chains},
        rules=rule_comments(structure),
        sets={m.name: _member_type(m) for m in structure.sets} | {m.name: _map_type(m) for m in structure.maps},
        entries={m.name: frozenset(_entry(entry, ports=m.ports) for entry in m.entries) for m in structure.maps},
    )


def read_table(netlink: Netlink) -> TableState | None:
    """Read our table, or None if there is none.

    Raises:
        KernelError: not allowed, no nf_tables, or changed by others all the time.
    """
    (reply,) = netlink.ask([Message(GETTABLE, text_attribute(1, TABLE), f"table inet {TABLE}")])
    if reply.errno == errno.ENOENT:
        return None
    if reply.errno:
        raise failure(reply.errno, f"can not read table inet {TABLE}")
    flags = next((_U32.unpack(value)[0] for type_, value in attributes(reply.body) if type_ == _TABLE_FLAGS), 0)
    hooks = dict(_read_chains(netlink))
    rules: dict[str, list[str]] = {name: [] for name in hooks}
    for body in _objects(netlink, GETRULE, "rules"):
        fields = dict(attributes(body))
        rules.setdefault(text(fields[_RULE_CHAIN]), []).append(read_comment(fields.get(_RULE_USERDATA, b"")))
    sets = dict(_read_sets(netlink))
    return TableState(
        asleep=bool(flags & _DORMANT),
        hooks=hooks,
        rules={name: tuple(found) for name, found in rules.items() if name in hooks},
        sets=sets,
        entries={name: _read_entries(netlink, name) for name, type_ in sets.items() if type_.flags & _MAP},
        extra=tuple(_read_extra(netlink)),
    )


def member_sets(netlink: Netlink) -> tuple[str, ...]:
    """The names of the sets in our table that are no maps; none without a table."""
    return tuple(name for name, type_ in _read_sets(netlink) if not type_.flags & _MAP)


def strangers(state: TableState, want: Wanted) -> Iterator[str]:
    """What is in our table and not as we put it there, each in a few words a person can look for."""
    if state.asleep:
        yield "table flag dormant"
    for name, hook in state.hooks.items():
        if name not in want.hooks:
            yield f"chain {name}"
            continue
        if hook != want.hooks[name]:
            yield f"hook of chain {name}"
        if not set(state.rules[name]) <= set(want.rules[name]) or len(state.rules[name]) > len(want.rules[name]):
            yield f"rule in chain {name}"
    for name, type_ in state.sets.items():
        word = "map" if type_.flags & _MAP else "set"
        if name not in want.sets:
            yield f"{word} {name}"
        elif type_ != want.sets[name]:
            yield f"type of {word} {name}"
        elif not state.entries.get(name, frozenset()) <= want.entries.get(name, frozenset()):
            yield f"entry of map {name}"
    yield from state.extra


def as_wanted(state: TableState, want: Wanted) -> bool:
    """True if nothing is missing, nothing is too much and everything is in its order."""
    return (
        not state.asleep
        and not state.extra
        and state.hooks == want.hooks
        and state.rules == want.rules
        and state.sets == want.sets
        and state.entries == want.entries
    )


def cleaning(state: TableState, want: Wanted) -> Iterator[str]:
    """The nft commands that take out what does not stay, to stand before the new structure in one transaction.

    Sets that are as wanted stay, and so do maps with just the wanted entries: a packet that meets the old rules in the
    moment of the change must still find them. Rules are flushed and loaded anew; the kernel keeps old and new ones apart.
    """
    gone = {name for name, hook in state.hooks.items() if name not in want.hooks or hook != want.hooks[name]}
    yield f"flush table inet {TABLE}"
    for name, type_ in state.sets.items():
        entries = state.entries.get(name, frozenset())
        stays = type_ == want.sets.get(name) and entries == want.entries.get(name, frozenset())
        if not stays or any(chain in gone for _, _, _, chain in entries):
            yield f"delete {'map' if type_.flags & _MAP else 'set'} inet {TABLE} {name}"
    for name in gone:
        yield f"delete chain inet {TABLE} {name}"
    for each in state.extra:
        word, _, name = each.rpartition(" ")
        yield f"delete {word} inet {TABLE} {name}"


def set_message(name: str) -> Message:
    """Look one set up; the reply is for `key_length`."""
    return Message(GETSET, text_attribute(1, TABLE) + text_attribute(_SET_NAME, name), f"set {name}")


def key_length(body: bytes) -> int:
    """How many bytes a key has, from the reply to `set_message`."""
    return next((int(_U32.unpack(value)[0]) for type_, value in attributes(body) if type_ == _SET_KEY_LEN), 0)


def _objects(netlink: Netlink, type_: int, about: str) -> list[bytes]:
    # The table is the first attribute of every kind of request; older kernels ignore it for chains.
    return _present(netlink, Message(type_, text_attribute(1, TABLE), f"the {about} of table inet {TABLE}"))


def _present(netlink: Netlink, message: Message) -> list[bytes]:
    """A dump; what others took away since its name was read is empty."""
    try:
        return netlink.collect(message)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return []
        raise


def _read_chains(netlink: Netlink) -> Iterator[tuple[str, Hook]]:
    for body in _objects(netlink, GETCHAIN, "chains"):
        fields = dict(attributes(body))
        flags = _U32.unpack(fields[_CHAIN_FLAGS])[0] if _CHAIN_FLAGS in fields else 0
        # A bound chain belongs to the rule that it stands in.
        if text(fields[1]) != TABLE or flags & _CHAIN_BINDING:
            continue
        hook: Hook = None
        if _CHAIN_HOOK in fields:
            at = dict(attributes(fields[_CHAIN_HOOK]))
            policy = _U32.unpack(fields[_CHAIN_POLICY])[0] if _CHAIN_POLICY in fields else _ACCEPT
            number, priority = _U32.unpack(at[_HOOK_NUMBER])[0], _I32.unpack(at[_HOOK_PRIORITY])[0]
            hook = (number, priority, text(fields[_CHAIN_TYPE]), policy)
        yield text(fields[_CHAIN_NAME]), hook


def _read_sets(netlink: Netlink) -> Iterator[tuple[str, SetType]]:
    for body in _objects(netlink, GETSET, "sets"):
        fields = dict(attributes(body))
        number = {type_: _U32.unpack(value)[0] for type_, value in fields.items() if len(value) == 4}
        flags = number.get(_SET_FLAGS, 0)
        if text(fields[1]) == TABLE and not flags & _ANONYMOUS:
            yield (
                text(fields[_SET_NAME]),
                SetType(
                    flags=flags & _TELLING,
                    key_type=number.get(_SET_KEY_TYPE, 0),
                    key_len=number.get(_SET_KEY_LEN, 0),
                    data_type=number.get(_SET_DATA_TYPE, 0),
                    counts=b"counter\0" in (statements := fields.get(_SET_EXPR, b"") + fields.get(_SET_EXPRESSIONS, b"")),
                    caps=b"limit\0" in statements,
                ),
            )


def _read_entries(netlink: Netlink, name: str) -> frozenset[Entry]:
    found: set[Entry] = set()
    for body in _present(netlink, dump_message(name)):
        for type_, elements in attributes(body):
            if type_ == _ELEMENTS:
                found |= {_read_entry(element) for _, element in attributes(elements)}
    return frozenset(found)


def _read_entry(element: bytes) -> Entry:
    fields = dict(attributes(element))
    key = dict(attributes(fields.get(_ELEM_KEY, b""))).get(_VALUE, b"")
    key_end = dict(attributes(fields.get(_ELEM_KEY_END, b""))).get(_VALUE, key)
    verdict = dict(attributes(dict(attributes(fields.get(_ELEM_DATA, b""))).get(_VERDICT, b"")))
    code = _I32.unpack(verdict[_VERDICT_CODE])[0] if _VERDICT_CODE in verdict else 0
    return key, key_end, code, text(verdict.get(_VERDICT_CHAIN, b""))


def _read_extra(netlink: Netlink) -> Iterator[str]:
    for type_, about, word in ((GETOBJ, "objects", ""), (GETFLOWTABLE, "flowtables", "flowtable")):
        for body in _objects(netlink, type_, about):
            fields = dict(attributes(body))
            if text(fields[1]) == TABLE:
                kind = word or _OBJECT_WORDS.get(_U32.unpack(fields[3])[0], "object")
                yield f"{kind} {text(fields[2])}"


def _hook(chain: Chain) -> Hook:
    return (_HOOK_NUMBERS[chain.hook], _PRIORITY, "filter", _ACCEPT) if chain.hook else None


def _member_type(members: MemberSet) -> SetType:
    key_type = 0
    for prefixlen, interface in ((members.prefixlen, members.interface), *((members.other,) if members.other else ())):
        for part in (*[_INTERFACE_TYPE] * interface, *[_ADDRESS_TYPE[members.family]] * (prefixlen > 0)):
            key_type = key_type << 6 | part
    return SetType(
        flags=_TIMEOUT,
        key_type=key_type & 0xFFFFFFFF,
        key_len=ruleset.key_length(members),
        counts=True,
        caps=members.use.caps,
    )


def _map_type(services: ServiceMap) -> SetType:
    key_type = _ADDRESS_TYPE[services.family] << 6 | _PROTOCOL_TYPE
    return SetType(
        flags=_MAP | (_INTERVAL if services.ranged else 0),
        key_type=key_type << 6 | _PORT_TYPE if services.ports else key_type,
        key_len=(4 if services.family == 4 else 16) + (8 if services.ports else 4),
        data_type=_VERDICT_TYPE,
    )


def _entry(entry: ServiceEntry, *, ports: bool) -> Entry:
    low, high = {L4.TCP: (6, 6), L4.UDP: (17, 17), L4.ANY: (0, 255)}[entry.protocol]
    first, last = entry.prefix.network_address.packed, entry.prefix.broadcast_address.packed
    open_port, close_port = (port.to_bytes(2, "big") + b"\0\0" if ports else b"" for port in entry.ports)
    return first + bytes((low, 0, 0, 0)) + open_port, last + bytes((high, 0, 0, 0)) + close_port, _GOTO, entry.chain

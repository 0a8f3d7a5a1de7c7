"""Floor 2, kernel. The nftables backend: `agent.kernel.Kernel` over raw netlink for members and libnftables for structure.

Rules of this room:

1. One `Change` is one transaction of the kernel. It is never cut into several; who has hundreds of thousands of members
   hands them over in several changes (`plan.plan_set`).
2. Members alone go as netlink messages, blind to everything foreign on the host. Structure goes as text, with the members of
   the same change in it.
3. Nothing is kept between calls but open sockets, the comparison form of the structure that was last asked about, and
   what the kernel showed at which generation. nf_tables counts every transaction of anybody: the same count means that
   what was read is still so, and a count that grew by our own transactions of members alone that the structure is.
4. A backend belongs to the thread, and to the network namespace, in which it was made.
"""

import errno
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal

from agent.errors import KernelError
from agent.kernel import compare, elements
from agent.kernel.libnftables import LIBRARY, Libnftables
from agent.kernel.netlink import DELTABLE, GETGEN, NEWTABLE, Message, Netlink, Refusal, attributes, failure, text_attribute
from agent.model import Network
from agent.nfttext import limit_text, render
from agent.rules import TABLE, Change, Element, Found, Key, MemberSet, Observed, Structure
from agent.ruleset import read_ends

_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.005
_NLM_F_EXCL = 0x200
_GEN_ID = 1
#: From here on it pays to try first whether all members are new: 0.4 s for 100 000 instead of 0.9 s.
_BULK = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What the kernel showed of a structure, and at which generation."""

    wanted: Structure
    generation: int
    shown: Observed


class NftKernel:
    """nf_tables of the network namespace that the calling thread is in.

    Not for use from two threads at a time.
    """

    name: Final = "nft"

    def __init__(self, *, library: str = LIBRARY) -> None:
        """Open the netlink socket and see that nf_tables answers.

        Args:
            library: file name of libnftables; loaded when a structure is first checked or applied.

        Raises:
            KernelError: EPERM without CAP_NET_ADMIN; the kernel has no nf_tables.
        """
        self._library = library
        self._nft: Libnftables | None = None
        self._compiled: tuple[Structure, compare.Wanted] | None = None
        self._seen: _Seen | None = None
        self._netlink, self._streams = Netlink(), Netlink()
        try:
            self._generation()
        except KernelError:
            self._netlink.close()
            self._streams.close()
            raise

    @property
    def port(self) -> int:
        """The netlink address that changes of members come from, for `watch`."""
        return self._netlink.port

    def close(self) -> None:
        """Close the sockets and free the library's context. What is in the kernel stays."""
        self._netlink.close()
        self._streams.close()
        if self._nft is not None:
            self._nft.close()

    def observe(self, structure: Structure, keys: Sequence[Key] = ()) -> Observed:
        """See `agent.kernel.Kernel`."""
        seen = self._structure(structure)
        return seen if seen.structure == "absent" else replace(seen, members=self._members(keys))

    def check(self, change: Change) -> None:
        """See `agent.kernel.Kernel`.

        A structure is checked by the kernel itself, in a transaction that it is told to forget. That costs 8 ms and up (it
        waits until no packet can see it any more), so members alone are compared with their sets instead.
        """
        self._do(change, commit=False)

    def apply(self, change: Change) -> None:
        """See `agent.kernel.Kernel`."""
        self._do(change, commit=True)

    def sets(self) -> tuple[str, ...]:
        """See `agent.kernel.Kernel`."""
        return compare.member_sets(self._netlink)

    def dump(self, set_name: str, *, whole: bool = True) -> Iterator[tuple[bytes, Found]]:
        """See `agent.kernel.Kernel`.

        A whole set is read before the first member is given: 100 bytes for each, so that changes that the reader makes
        meanwhile can not shift members out of its sight. For every 300 of them the kernel walks to where it stopped, so it
        takes a second for a set of 100 000, in which nobody is restored; otherwise, they are read as they are asked for.
        """
        if not whole:
            yield from self._stream(set_name)
            return
        pages = self._netlink.collect(elements.dump_message(set_name))
        pages.reverse()
        while pages:
            yield from elements.read_elements(pages.pop())

    def _stream(self, set_name: str) -> Iterator[tuple[bytes, Found]]:
        pages = self._streams.dump(elements.dump_message(set_name))
        try:
            for page in pages:
                yield from elements.read_elements(page)
        except KernelError as error:
            if error.errno != errno.EINTR:  # the set changed meanwhile, as was to be expected
                raise
        finally:
            with suppress(KernelError):  # the kernel begins no new dump on a socket before the old one is through
                for _ in pages:
                    pass

    def _structure(self, structure: Structure) -> Observed:
        generation = self._generation()
        seen = self._seen
        if seen is None or seen.wanted is not structure or seen.generation != generation:
            state = compare.read_table(self._netlink)
            want = self._wanted(structure)
            if state is None:
                shown = Observed(structure="absent")
            else:
                found: Literal["as_wanted", "drifted"] = "as_wanted" if compare.as_wanted(state, want) else "drifted"
                shown = Observed(structure=found, strangers=tuple(compare.strangers(state, want)))
            # Read before the table: a transaction in between makes it outdated, never too new.
            self._seen = seen = _Seen(wanted=structure, generation=generation, shown=shown)
        return seen.shown

    def _generation(self) -> int:
        (reply,) = self._netlink.ask([Message(GETGEN, b"", "generation")])
        if reply.errno == errno.EINVAL:  # what nfnetlink says of a subsystem that it does not have
            raise KernelError(errno=reply.errno, what="the kernel does not know nf_tables", mend="Try: modprobe nf_tables")
        if reply.errno:
            raise failure(reply.errno, "nf_tables does not answer")
        return int.from_bytes(dict(attributes(reply.body))[_GEN_ID], "big")

    def _do(self, change: Change, *, commit: bool) -> None:
        elements.check_members(change.add)
        if change.remove_table:
            if not replace(change, remove_table=False).empty:
                raise KernelError(errno=errno.EINVAL, what="removing our table comes alone in its change")
            table = text_attribute(1, TABLE)
            about = f"table inet {TABLE}"
            # Made first, so that an absent table is no error.
            self._seen = None
            self._batch([Message(NEWTABLE, table, about), Message(DELTABLE, table, about)], commit=commit)
        elif change.structure is not None:
            self._seen = None
            self._load(change, change.structure, commit=commit)
        elif commit:
            self._change_members(change)
        else:
            self._check_members(change)

    def _change_members(self, change: Change) -> None:
        deletes = list(elements.delete_messages(change.delete))
        adds = list(elements.add_messages(change.add))
        if len(change.add) >= _BULK:
            new = [m._replace(flags=m.flags | _NLM_F_EXCL) for m in adds[::3]]
            refusal = self._netlink.transact([*deletes, *new])
            if refusal is None or refusal.errno != errno.EEXIST:
                return self._settle(refusal, [*deletes, *new])
        return self._batch([*deletes, *adds])

    def _check_members(self, change: Change) -> None:
        members: list[Key | Element] = [*change.delete, *change.add]
        names = sorted({member.set for member in members})
        for name, reply in zip(names, self._netlink.ask([compare.set_message(name) for name in names]), strict=True):
            if reply.errno:
                raise failure(reply.errno, f"can not change members of set {name}")
            length = compare.key_length(reply.body)
            wrong = next((m for m in members if m.set == name and len(m.key) != length), None)
            if wrong is not None:
                raise KernelError(errno=errno.EINVAL, what=f"a key of set {name} has {length} bytes, not {len(wrong.key)}")

    def _batch(self, messages: Sequence[Message], *, commit: bool = True) -> None:
        self._settle(self._netlink.transact(messages, commit=commit), messages)

    def _settle(self, refusal: Refusal | None, messages: Sequence[Message]) -> None:
        if refusal is None:
            if self._seen is not None and messages:
                # One more transaction, and of members only: it is ours if nobody else's came between.
                self._seen = replace(self._seen, generation=self._seen.generation + 1)
            return
        about = messages[refusal.index].about if refusal.index is not None else f"a batch of {len(messages)} messages"
        hint = f" ({refusal.hint})" if refusal.hint else ""
        if refusal.errno in (errno.EINVAL, errno.E2BIG):  # the latter: a rate where there is no cap
            raise KernelError(errno=errno.EINVAL, what=f"a key, a lease or a rate does not fit {about}{hint}")
        raise failure(refusal.errno, f"nf_tables refused a change of {about}{hint}")

    def _load(self, change: Change, structure: Structure, *, commit: bool) -> None:
        nft = self._libnftables()
        want = self._wanted(structure)
        sets = {members.name: members for members in structure.sets}
        adds = {name: [_element_text(sets, e) for e in group.values()] for name, group in elements.by_set(change.add).items()}
        keys = (*change.delete, *(Key(set=element.set, key=element.key) for element in change.add))
        touched = {key: _key_text(sets, key) for key in keys}

        def attempt() -> None:
            state = compare.read_table(self._netlink)
            keep = {name for name, type_ in state.sets.items() if type_ == want.sets.get(name)} if state else set()
            there = self._members([key for key in touched if key.set in keep])
            commands = [
                f"add table inet {TABLE}",
                *(compare.cleaning(state, want) if state else ()),
                # Only what is there: for this command libnftables reads every interval set of the host.
                *(f"delete element inet {TABLE} {key.set} {{ {touched[key]} }}" for key in there),
                render(structure, adds),
            ]
            nft.run("\n".join(commands) + "\n", dry=not commit)

        # Between the reading and the transaction somebody may take away what it names, or a lease may end: read again.
        _again(attempt, {errno.EINTR, errno.EBUSY, errno.EAGAIN, errno.ENOBUFS, errno.ENOENT, errno.EEXIST})

    def _libnftables(self) -> Libnftables:
        if self._nft is None:
            self._nft = Libnftables(self._library)
        return self._nft

    def _wanted(self, structure: Structure) -> compare.Wanted:
        if self._compiled is None or self._compiled[0] is not structure:
            try:
                self._compiled = (structure, compare.wanted(structure))
            except KeyError as missing:
                raise failure(errno.ENOENT, f"a rule refers to set {missing.args[0]}, which the structure does not have") from None
        return self._compiled[1]

    def _members(self, keys: Sequence[Key]) -> Mapping[Key, Found]:
        found: dict[Key, Found] = {}
        for key, reply in zip(keys, self._netlink.ask([elements.get_message(key) for key in keys]), strict=True):
            if reply.errno not in (0, errno.ENOENT):
                raise failure(reply.errno, f"can not look a member of {key.set} up")
            member = elements.read_found(reply.body)
            if member is not None:
                found[key] = member
        return found


def _again(attempt: Callable[[], None], codes: set[int]) -> None:
    pause = _FIRST_PAUSE_S
    for left in reversed(range(_ATTEMPTS)):
        try:
            return attempt()
        except KernelError as error:
            if error.errno not in codes or not left:
                raise
        time.sleep(pause)
        pause *= 2
    return None


def _element_text(sets: Mapping[str, MemberSet], element: Element) -> str:
    key = _key_text(sets, Key(set=element.set, key=element.key))
    rate = f"counter {limit_text(element.kbit)} " if element.kbit else ""
    return f'{key} {rate}timeout {_duration(element.timeout_ms)} comment "{element.case}"'


def _duration(ms: int) -> str:
    """A time as nft reads it; it takes at most eight digits of one unit."""
    seconds, ms = divmod(ms, 1000)
    days, seconds = divmod(seconds, 86_400)
    return f"{days}d{seconds}s{ms}ms"


def _key_text(sets: Mapping[str, MemberSet], member: Key) -> str:
    """A member's key as nft writes it.

    Raises:
        KernelError: a set that the structure does not have (ENOENT), a key that does not fit its set (EINVAL).
    """
    if member.set not in sets:
        raise failure(errno.ENOENT, f"a change of set {member.set}, which the structure does not have")
    try:
        ends = read_ends(sets[member.set], member.key)
    except ValueError as error:
        raise KernelError(errno=errno.EINVAL, what=str(error)) from None
    return " . ".join(part for interface, network in ends for part in _end_text(interface, network))


def _end_text(interface: str | None, network: Network) -> Iterator[str]:
    # nft reads a trailing star as a wildcard and a quote as the end.
    if interface is not None and (not interface.isprintable() or set(interface) & set('"*\\ ')):
        raise KernelError(errno=errno.EINVAL, what=f"{interface!r} is not an interface name that nft can write")
    if interface is not None:
        yield f'"{interface}"'
    if network.prefixlen:
        yield str(network.network_address)

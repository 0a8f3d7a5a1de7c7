"""Floor 2, kernel. The nftables backend: `agent.kernel.Kernel` over raw netlink for members and libnftables for structure.

Rules of this room:

1. One `Change` is one transaction of the kernel. It is never cut into several; who has hundreds of thousands of members
   hands them over in several changes (`plan.plan_set`).
2. Members alone go as netlink messages, blind to everything foreign on the host. Structure goes as text, with the members of
   the same change in it.
3. Nothing is kept between calls but open sockets and the comparison form of the structure that was last asked about.
4. Every object is bound to the network namespace of the thread that made the backend.
"""

import errno
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from agent.errors import KernelError
from agent.kernel import compare, elements
from agent.kernel.libnftables import LIBRARY, Libnftables
from agent.kernel.netlink import DELTABLE, GETGEN, NEWTABLE, Message, Netlink, Refusal, failure, text_attribute
from agent.nfttext import render
from agent.rules import TABLE, Change, Element, Found, Key, MemberSet, Observed, Structure
from agent.ruleset import read_key

_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.005
_NLM_F_EXCL = 0x200
#: From here on it pays to try first whether all members are new: 0.4 s for 100 000 instead of 0.9 s.
_BULK = 1000


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
        self._netlink = Netlink()
        (reply,) = self._netlink.ask([Message(GETGEN, b"", "generation")])
        if reply.errno:
            self._netlink.close()
            if reply.errno == errno.EINVAL:  # what nfnetlink says of a subsystem that it does not have
                raise KernelError(errno=reply.errno, what="the kernel does not know nf_tables", mend="Try: modprobe nf_tables")
            raise failure(reply.errno, "nf_tables does not answer")

    @property
    def port(self) -> int:
        """The netlink address that changes of members come from, for `watch`."""
        return self._netlink.port

    def close(self) -> None:
        """Close the socket and free the library's context. What is in the kernel stays."""
        self._netlink.close()
        if self._nft is not None:
            self._nft.close()

    def observe(self, structure: Structure, keys: Sequence[Key] = ()) -> Observed:
        """See `agent.kernel.Kernel`."""
        state = compare.read_table(self._netlink)
        if state is None:
            return Observed(structure="absent")
        want = self._wanted(structure)
        return Observed(
            structure="as_wanted" if compare.as_wanted(state, want) else "drifted",
            strangers=tuple(compare.strangers(state, want)),
            members=self._members(keys),
        )

    def check(self, change: Change) -> None:
        """See `agent.kernel.Kernel`. The kernel itself does the checking, in a transaction that it is told to forget."""
        self._do(change, commit=False)

    def apply(self, change: Change) -> None:
        """See `agent.kernel.Kernel`."""
        self._do(change, commit=True)

    def dump(self, set_name: str) -> Iterator[tuple[bytes, Found]]:
        """See `agent.kernel.Kernel`.

        Raises:
            KernelError: ENOENT for a set that is not there; EINTR at the end, when somebody changed nftables meanwhile: the
                members that came are true, but others may have been missed.
        """
        # A socket of its own: the stream may stand still while its reader changes things.
        with Netlink() as netlink:
            for body in netlink.dump(elements.dump_message(set_name)):
                yield from elements.read_elements(body)

    def _do(self, change: Change, *, commit: bool) -> None:
        elements.check_members(change.add)
        if change.remove_table:
            if not replace(change, remove_table=False).empty:
                raise KernelError(errno=errno.EINVAL, what="removing our table comes alone in its change")
            table = text_attribute(1, TABLE)
            about = f"table inet {TABLE}"
            # Made first, so that an absent table is no error.
            self._batch([Message(NEWTABLE, table, about), Message(DELTABLE, table, about)], commit=commit)
        elif change.structure is not None:
            self._load(change, change.structure, commit=commit)
        else:
            self._change_members(change, commit=commit)

    def _change_members(self, change: Change, *, commit: bool) -> None:
        deletes = list(elements.delete_messages(change.delete))
        adds = list(elements.add_messages(change.add))
        if len(change.add) >= _BULK:
            new = [m._replace(flags=m.flags | _NLM_F_EXCL) for m in adds[::3]]
            refusal = self._netlink.transact([*deletes, *new], commit=commit)
            if refusal is None or refusal.errno != errno.EEXIST:
                return self._raise(refusal, [*deletes, *new])
        return self._batch([*deletes, *adds], commit=commit)

    def _batch(self, messages: Sequence[Message], *, commit: bool) -> None:
        self._raise(self._netlink.transact(messages, commit=commit), messages)

    def _raise(self, refusal: Refusal | None, messages: Sequence[Message]) -> None:
        if refusal is None:
            return
        about = messages[refusal.index].about if refusal.index is not None else f"a batch of {len(messages)} messages"
        hint = f" ({refusal.hint})" if refusal.hint else ""
        if refusal.errno == errno.EINVAL:
            raise KernelError(errno=refusal.errno, what=f"a key or a lease does not fit {about}{hint}")
        raise failure(refusal.errno, f"nf_tables refused a change of {about}{hint}")

    def _load(self, change: Change, structure: Structure, *, commit: bool) -> None:
        nft = self._libnftables()
        want = self._wanted(structure)

        def attempt() -> None:
            state = compare.read_table(self._netlink)
            keep = {name for name, type_ in state.sets.items() if type_ == want.sets.get(name)} if state else set()
            commands = [f"add table inet {TABLE}"]
            commands += compare.cleaning(state, want) if state else ()
            sets = {members.name: members for members in structure.sets}
            text = "\n".join((*commands, render(structure), *_member_commands(change, sets, keep)))
            nft.run(text + "\n", dry=not commit)

        # Between the reading and the transaction somebody may take away what it names: read again.
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


def _member_commands(change: Change, sets: Mapping[str, MemberSet], keep: set[str]) -> Iterator[str]:
    """The members of a change that carries a structure, as text: the same add + delete + add as in `elements`.

    Raises:
        KernelError: a set that the structure does not have (ENOENT), a key that does not fit its set (EINVAL).
    """
    deletes: defaultdict[str, list[str]] = defaultdict(list)
    adds: defaultdict[str, list[tuple[str, Element]]] = defaultdict(list)
    for key in change.delete:
        deletes[key.set].append(_key_text(sets, key))
    for element in change.add:
        adds[element.set].append((_key_text(sets, element), element))
    for name, keys in deletes.items():
        if name in keep:
            brief = ", ".join(f"{key} timeout 1s" for key in keys)
            yield f"add element inet {TABLE} {name} {{ {brief} }}"
            yield f"delete element inet {TABLE} {name} {{ {', '.join(keys)} }}"
    for name, members in adds.items():
        added = ", ".join(f'{key} timeout {element.timeout_ms}ms comment "{element.case}"' for key, element in members)
        yield f"add element inet {TABLE} {name} {{ {added} }}"
        if name in keep:
            yield f"delete element inet {TABLE} {name} {{ {', '.join(key for key, _ in members)} }}"
            yield f"add element inet {TABLE} {name} {{ {added} }}"


def _key_text(sets: Mapping[str, MemberSet], member: Key | Element) -> str:
    if member.set not in sets:
        raise failure(errno.ENOENT, f"a change of set {member.set}, which the structure does not have")
    try:
        interface, network = read_key(sets[member.set], member.key)
    except ValueError as error:
        raise KernelError(errno=errno.EINVAL, what=str(error)) from None
    if interface is None:
        return str(network.network_address)
    # nft reads a trailing star as a wildcard and a quote as the end.
    if not interface.isprintable() or set(interface) & set('"*\\ '):
        raise KernelError(errno=errno.EINVAL, what=f"{interface!r} is not an interface name that nft can write")
    return f'"{interface}" . {network.network_address}'

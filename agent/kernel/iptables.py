"""Floor 2, kernel. The backend for gateways on legacy iptables: static rules by python-iptables, members in ipset by pyroute2.

Rules of this room:

1. Own chains `ECLUSE-*` in the filter tables of both families, each called by one jump at the head of FORWARD and INPUT; own
   ipsets `ECLUSE-*`. Nothing else is touched, and no chain of others is ever flushed.
2. There is no transaction over everything here, only one for each family's table. So a change goes in an order in which whatever
   dies or fails half-way leaves less suspended, never more, and never a protected flow: members that go, sets that are new, members
   that come, rules of IPv4, rules of IPv6, sets that nobody names any more.
3. What can be known to be wrong is refused before anything is touched.
4. One hand at a time writes the tables: the lock of the iptables programs is taken, for a bounded time.
5. One thread of ours does all the work, in the network namespace of the thread that made it: the legacy library opens its sockets
   anew in the caller's, and pyroute2 can not be inside another event loop.
6. Nothing tells when others change legacy rules or ipsets, so there is nothing to listen to: who asks must look by the clock.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any, Final, TypeVar

from agent.errors import KernelError
from agent.kernel import elements
from agent.kernel.ipsets import Ipsets
from agent.kernel.memory import check_key, check_structure
from agent.kernel.netlink import failure
from agent.kernel.xtrules import CHAIN_PREFIX, XtChain, XtRule, ipset_name, xt_chains
from agent.model import Family
from agent.rules import Change, Element, EnterTranslated, Found, Key, MemberSet, Observed, Structure, Use

_FAMILIES: tuple[Family, ...] = (4, 6)
_HOOKS = ("FORWARD", "INPUT")
LOCK = Path("/run/xtables.lock")
_LOCK_PAUSE_S = 0.02
_ATTEMPTS = 5
_KINDS: Mapping[tuple[str, int], tuple[Family, bool]] = {
    ("hash:net", AF_INET): (4, False),
    ("hash:net,iface", AF_INET): (4, True),
    ("hash:net", AF_INET6): (6, False),
    ("hash:net,iface", AF_INET6): (6, True),
}

_Named = TypeVar("_Named", Key, Element)


class IptablesKernel:
    """The legacy filter tables and ipsets of the network namespace that the calling thread is in.

    Not for use from two threads at a time. Besides CAP_NET_ADMIN it needs CAP_NET_RAW: the legacy tables are behind a raw socket.
    """

    name: Final = "iptables"

    def __init__(self, *, lock: Path = LOCK, lock_seconds: float = 5.0) -> None:
        """Load the libraries and see that the tables and ipset answer.

        Args:
            lock: the file that the iptables programs lock while they change tables.
            lock_seconds: wait for it so long at most.

        Raises:
            KernelError: python-iptables is not installed (ENOENT), rights are missing (EPERM), or the kernel has no legacy tables.
        """
        try:
            import iptc  # noqa: PLC0415 - only a gateway on legacy iptables has it
        except (ImportError, OSError) as error:
            raise KernelError(
                errno=errno.ENOENT,
                what=f"python-iptables can not be loaded ({error})",
                mend="Install ecluse[iptables] and the Debian package iptables, or write kernel: nft",
            ) from None
        self._iptc: Any = iptc
        self._shapes: dict[str, MemberSet] = {}
        self._closed, self._lock, self._lock_seconds = False, lock, lock_seconds
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="iptables")
        try:
            self._sets: Ipsets = self._worker.submit(self._open).result()
        except KernelError:
            self._worker.shutdown()
            raise

    def _open(self) -> Ipsets:
        for family in _FAMILIES:
            self._table(family)
        return Ipsets()

    def close(self) -> None:
        """Close the sockets. What is in the kernel stays."""
        if not self._closed:
            self._closed = True
            self._worker.submit(self._sets.close).result()
            self._worker.shutdown()

    def observe(self, structure: Structure, keys: Sequence[Key] = ()) -> Observed:
        """See `agent.kernel.Kernel`. A set in which one of `keys` is asked for is read whole: ipset shows no member alone."""
        return self._worker.submit(self._observe, structure, keys).result()

    def check(self, change: Change) -> None:
        """See `agent.kernel.Kernel`."""
        self._worker.submit(self._check, change).result()

    def apply(self, change: Change) -> None:
        """See `agent.kernel.Kernel`, but for what rule 2 of this room says."""
        self._worker.submit(self._apply, change).result()

    def sets(self) -> tuple[str, ...]:
        """See `agent.kernel.Kernel`. Those of which no structure was seen go by the names of their ipsets."""
        return tuple(sorted(self._worker.submit(self._known, Change()).result()))

    def dump(self, set_name: str, *, whole: bool = True) -> Iterator[tuple[bytes, Found]]:
        """See `agent.kernel.Kernel`. Always whole."""
        del whole
        yield from self._worker.submit(self._dump, set_name).result()

    def _observe(self, structure: Structure, keys: Sequence[Key]) -> Observed:
        sets = self._learn(structure)
        there = self._sets.ours()
        strangers: list[str] = []
        as_wanted, anything = _as_wanted(sets, there), False
        strangers += sorted(set(there) - {ipset_name(name) for name in sets})
        for family in _FAMILIES:
            wanted, found = xt_chains(structure, family), self._read(family)
            anything = anything or bool(found.chains) or any(found.jumps.values())
            as_wanted = as_wanted and found.equals(wanted)
            strangers += found.strangers(wanted)
        if not anything:  # sets that no rule names refuse nobody
            return Observed(structure="as_wanted" if as_wanted and structure == Structure() else "absent")
        return Observed(
            structure="as_wanted" if as_wanted and not strangers else "drifted",
            strangers=tuple(strangers),
            members=self._members(sets, there, keys),
        )

    def _check(self, change: Change) -> None:
        elements.check_members(change.add)
        capped = next((element for element in change.add if element.kbit), None)
        if capped is not None:
            raise KernelError(
                errno=errno.EOPNOTSUPP,
                what=f"legacy iptables has no bandwidth cap for each member (case {capped.case})",
                mend="Restrict by effective_hours instead of stage2_kbit, or use nf_tables (kernel: nft)",
            )
        if change.remove_table:
            if not replace(change, remove_table=False).empty:
                raise KernelError(errno=errno.EINVAL, what="removing what is ours comes alone in its change")
            return
        if change.structure is not None:
            check_structure(change.structure)
            if any(members.use is Use.GATE for members in change.structure.sets):
                raise KernelError(
                    errno=errno.EOPNOTSUPP,
                    what="stage 4 is not made in legacy iptables: its exceptions are pairs of networks",
                    mend="Take 4 out of the policies' stages, or use nf_tables (kernel: nft)",
                )
            if any(isinstance(rule, EnterTranslated) for chain in change.structure.chains for rule in chain.rules):
                raise KernelError(
                    errno=errno.EOPNOTSUPP,
                    what="services before NAT are not made in legacy iptables",
                    mend="Write the addresses that they are led to (without before_nat), or use nf_tables (kernel: nft)",
                )
            if any(members.other is not None for members in change.structure.sets):
                raise KernelError(
                    errno=errno.EOPNOTSUPP,
                    what="dedicated services are not made in legacy iptables: their members are pairs of networks",
                    mend="Give these services a class that is never cut, or use nf_tables (kernel: nft)",
                )
        sets = self._known(change)
        members: list[Key | Element] = [*change.delete, *change.add]
        for member in members:
            check_key(sets.get(member.set), member)

    def _apply(self, change: Change) -> None:
        self._check(change)
        if change.remove_table:
            self._remove()
            return
        sets, there = self._known(change), self._sets.ours()
        if change.structure is not None:
            self._make_sets(sets, there)
        # Set by set, and a packet may come in between: what lets open connections go on comes before what refuses, and goes after.
        for name, group in sorted(_by_set(change.delete).items(), key=lambda item: sets[item[0]].use is Use.DRAIN):
            self._sets.delete(ipset_name(name), sets[name], [key.key for key in group])
        for name, added in sorted(_by_set(change.add).items(), key=lambda item: sets[item[0]].use is not Use.DRAIN):
            self._sets.add(ipset_name(name), sets[name], added)
        if change.structure is not None:
            for family in _FAMILIES:
                self._write(family, xt_chains(change.structure, family))
            for name in sorted(set(there) - {ipset_name(name) for name in sets}):
                self._sets.destroy(name)

    def _dump(self, set_name: str) -> Sequence[tuple[bytes, Found]]:
        members = self._known(Change()).get(set_name)
        if members is None:
            raise KernelError(errno=errno.ENOENT, what=f"there is no set {set_name}")
        return self._sets.read(ipset_name(set_name), members)

    # --- sets -----------------------------------------------------------------------------------------------------------

    def _learn(self, structure: Structure) -> dict[str, MemberSet]:
        """The sets of a structure by name. What a name stands for is kept: ipset does not tell how long the prefixes are."""
        sets = {members.name: members for members in structure.sets}
        self._shapes |= sets
        return sets

    def _known(self, change: Change) -> Mapping[str, MemberSet]:
        """The sets that there will be once the structure of `change` is applied; without one, those that there are."""
        if change.structure is not None:
            return self._learn(change.structure)
        there = self._sets.ours()
        known = {name: members for name, members in self._shapes.items() if there.get(ipset_name(name)) == _kind(members)}
        nameless = set(there) - {ipset_name(name) for name in known}
        return known | {name: self._guess(name, there[name]) for name in nameless if there[name] in _KINDS}

    def _guess(self, name: str, kind: tuple[str, int]) -> MemberSet:
        """What a set of ours is for, of which no structure was seen: its members tell how long its prefixes are."""
        family, interface = _KINDS[kind]
        return MemberSet(name=name, family=family, prefixlen=self._sets.prefixlen(name), interface=interface)

    def _make_sets(self, sets: Mapping[str, MemberSet], there: Mapping[str, tuple[str, int]]) -> None:
        wrong = [name for name, members in sets.items() if there.get(ipset_name(name), _kind(members)) != _kind(members)]
        if wrong:  # somebody's set has the name of ours: no rule may name it while it goes, so for a moment nothing is suspended
            for family in _FAMILIES:
                self._write(family, ())
            for name in wrong:
                self._sets.destroy(ipset_name(name))
        for name, members in sets.items():
            if name in wrong or ipset_name(name) not in there:
                self._sets.create(ipset_name(name), members)

    def _members(
        self, sets: Mapping[str, MemberSet], there: Mapping[str, tuple[str, int]], keys: Sequence[Key]
    ) -> dict[Key, Found]:
        found: dict[Key, Found] = {}
        for name, asked in _by_set(keys).items():
            members = sets.get(name) or self._shapes.get(name)
            if members is not None and there.get(ipset_name(name)) == _kind(members):
                wanted = {key.key for key in asked}
                found |= {Key(set=name, key=key): one for key, one in self._sets.read(ipset_name(name), members) if key in wanted}
        return found

    # --- tables ---------------------------------------------------------------------------------------------------------

    def _remove(self) -> None:
        for family in _FAMILIES:
            self._write(family, ())
        for name in sorted(self._sets.ours()):
            self._sets.destroy(name)

    def _table(self, family: Family) -> Any:
        """The filter table of one family as it is now; what was prepared in it and not committed is forgotten."""
        kind = self._iptc.Table if family == 4 else self._iptc.Table6
        try:
            table = kind(kind.FILTER, autocommit=False)
            table.refresh()
        except self._iptc.IPTCError as error:
            raise _refusal(f"the legacy filter table of IPv{family} can not be read", error) from None
        return table

    def _read(self, family: Family) -> "_Tables":
        table = self._table(family)
        chains: dict[str, tuple[str, ...]] = {}
        jumps: dict[str, tuple[str, ...]] = {}
        for chain in table.chains:
            if chain.name.startswith(CHAIN_PREFIX):
                chains[chain.name] = tuple(_comment(rule) for rule in chain.rules)
            elif chain.is_builtin():
                targets = [_target(rule) for rule in chain.rules]
                ours = [i for i, name in enumerate(targets) if name.startswith(CHAIN_PREFIX)]
                jumps[chain.name] = tuple(f"{i} {targets[i]}" for i in ours)
        return _Tables(chains=chains, jumps=jumps)

    def _write(self, family: Family, chains: Sequence[XtChain]) -> None:
        """Make the filter table of one family hold exactly these chains of ours, in one commit."""
        with _locked(self._lock, self._lock_seconds):
            for left in reversed(range(_ATTEMPTS)):
                if self._read(family).equals(chains):
                    return
                try:
                    self._commit(family, chains)
                except self._iptc.IPTCError as error:
                    failed = _refusal(f"the legacy filter table of IPv{family} took no change", error)
                    self._table(family)  # forget what was prepared
                    if failed.errno != errno.EAGAIN or not left:
                        raise failed from None
                except self._iptc.xtables.XTablesError as error:
                    self._table(family)
                    raise KernelError(
                        errno=errno.EOPNOTSUPP,
                        what=f"a rule of IPv{family} can not be made: {error}",
                        mend="Is the Debian package iptables there, and the kernel's xt_set, xt_comment and REJECT?",
                    ) from None
                else:
                    return

    def _commit(self, family: Family, chains: Sequence[XtChain]) -> None:
        table = self._table(family)
        by_name = {chain.name: chain for chain in table.chains}
        ours = [name for name in by_name if name.startswith(CHAIN_PREFIX)]
        for hook in _HOOKS:
            for rule in [rule for rule in by_name[hook].rules if _target(rule).startswith(CHAIN_PREFIX)]:
                by_name[hook].delete_rule(rule)
        for name in ours:
            by_name[name].flush()
        for chain in chains:
            if chain.name not in by_name:
                by_name[chain.name] = table.create_chain(chain.name)
        for chain in chains:
            for rule, comment in zip(chain.rules, chain.comments, strict=True):
                by_name[chain.name].append_rule(self._rule(family, rule, comment))
            if chain.hook:
                by_name[chain.hook].insert_rule(self._rule(family, XtRule(target=chain.name), ""))
        for name in set(ours) - {chain.name for chain in chains}:
            table.delete_chain(name)
        table.commit()

    def _rule(self, family: Family, rule: XtRule, comment: str) -> Any:
        made = self._iptc.Rule() if family == 4 else self._iptc.Rule6()
        for field, value in (("src", rule.source), ("dst", rule.destination), ("protocol", rule.protocol)):
            if value:
                setattr(made, field, value)
        _transport(made, rule)
        if rule.members:
            made.create_match("set").match_set = list(rule.members)
        if rule.state:
            made.create_match("conntrack").ctstate = rule.state
        if comment:
            made.create_match("comment").comment = comment
        target = made.create_target(rule.goto or rule.target, goto=bool(rule.goto))
        if rule.reject:
            target.reject_with = rule.reject
        return made


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tables:
    """What one family's filter table has of ours: the comments in our chains, and where built-in chains call them (place, name)."""

    chains: Mapping[str, tuple[str, ...]]
    jumps: Mapping[str, tuple[str, ...]]

    def equals(self, wanted: Sequence[XtChain]) -> bool:
        """Exactly these chains, each called once, before everything else."""
        calls = {chain.hook: (f"0 {chain.name}",) for chain in wanted if chain.hook}
        found = {hook: where for hook, where in self.jumps.items() if where}
        return calls == found and dict(self.chains) == {chain.name: chain.comments for chain in wanted}

    def strangers(self, wanted: Sequence[XtChain]) -> list[str]:
        """Chains of our name, and rules in our chains, that are not ours."""
        known = {chain.name: chain.comments for chain in wanted}
        found = sorted(set(self.chains) - set(known))
        for name, comments in self.chains.items():
            if set(comments) - set(known.get(name, comments)):
                found.append(f"a rule in {name}")
        return found


def _as_wanted(sets: Mapping[str, MemberSet], there: Mapping[str, tuple[str, int]]) -> bool:
    return {ipset_name(name): _kind(members) for name, members in sets.items()} == dict(there)


def _kind(members: MemberSet) -> tuple[str, int]:
    return next(kind for kind, shape in _KINDS.items() if shape == (members.family, members.interface))


def _by_set(items: Sequence[_Named]) -> dict[str, list[_Named]]:
    groups: dict[str, list[_Named]] = {}
    for item in items:
        groups.setdefault(item.set, []).append(item)
    return groups


def _transport(made: Any, rule: XtRule) -> None:
    """The match on ports and flags, which belongs to the protocol."""
    if not (rule.source_ports or rule.destination_ports or rule.flags):
        return
    match = made.create_match(rule.protocol)
    if rule.source_ports:
        match.sport = rule.source_ports
    if rule.destination_ports:
        match.dport = rule.destination_ports
    if rule.flags:
        mask, set_, inverted = rule.flags
        match.tcp_flags = ["!", mask, set_] if inverted else [mask, set_]


def _target(rule: Any) -> str:
    return str(rule.target.name) if rule.target is not None else ""


def _comment(rule: Any) -> str:
    return next((str(match.comment) for match in rule.matches if match.name == "comment"), "")


def _refusal(what: str, error: Exception) -> KernelError:
    """The library gives texts, not numbers."""
    text = str(error).lower()
    for said, code, mend in (
        ("temporarily unavailable", errno.EAGAIN, "Another program changes the tables; it is tried again"),
        ("permission denied", errno.EPERM, "The process needs CAP_NET_ADMIN and CAP_NET_RAW in this network namespace"),
        ("does not exist", errno.ENOENT, "Load the legacy tables (modprobe iptable_filter ip6table_filter), or write kernel: nft"),
        ("too many links", errno.EBUSY, "A rule of somebody else jumps into a chain of ours"),
    ):
        if said in text:
            return KernelError(errno=code, what=f"{what}: {error}", mend=mend)
    return KernelError(errno=errno.EIO, what=f"{what}: {error}")


@contextmanager
def _locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock that the iptables programs take, for which they wait with `-w`.

    A sandbox in which the file can not be opened goes on without it: the kernel itself refuses a table that changed meanwhile.

    Raises:
        KernelError: EAGAIN when somebody holds it for too long.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise failure(errno.EAGAIN, f"another program holds {path}") from None
            time.sleep(_LOCK_PAUSE_S)
        yield
    finally:
        os.close(handle)

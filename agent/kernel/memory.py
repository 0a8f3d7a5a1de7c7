"""Floor 2. A kernel in memory, with the semantics of the real one: for tests, for the simulator, for a first look.

Rules of this room:

1. It refuses what the kernel refuses, with the same errno, and it is as atomic: all of a change is checked before any of
   it is done.
2. Leases end by a clock that is given, in seconds that only go forward.
3. `foreign_*` and `count_refusal` are what others do to a real kernel: no caller but a test or a simulator uses them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from errno import EEXIST, EINVAL, ELOOP, ENOENT
from itertools import combinations

from agent.errors import KernelError
from agent.model import L4
from agent.nfttext import MOST_KBIT
from agent.rules import (
    TABLE,
    AskedFor,
    Asking,
    Chain,
    Change,
    DispatchFamily,
    Element,
    EnterMembers,
    EnterTranslated,
    Found,
    Key,
    LookupService,
    MemberSet,
    Observed,
    RefuseMembers,
    ServiceMap,
    Structure,
)
from agent.ruleset import REFUSE, key_length


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """One element: whose case, until when (milliseconds of the clock), how many packets it refused, and its rate."""

    case: str
    ends_ms: int
    packets: int = 0
    kbit: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    """Our table: its structure, what others put into it, and the members of each set."""

    structure: Structure
    strangers: tuple[str, ...] = ()
    members: dict[str, dict[bytes, _Member]] = field(default_factory=dict)


class MemoryKernel:
    """`agent.kernel.Kernel` without a kernel. `clock` gives seconds as `time.monotonic` does."""

    name = "memory"

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._table: _Table | None = None

    def observe(self, structure: Structure, keys: Sequence[Key] = ()) -> Observed:
        """See `agent.kernel.Kernel`."""
        table = self._table
        if table is None:
            return Observed(structure="absent")
        found = {key: self._found(table.members.get(key.set, {}).get(key.key)) for key in keys}
        return Observed(
            structure="as_wanted" if table.structure == structure and not table.strangers else "drifted",
            strangers=table.strangers,
            members={key: member for key, member in found.items() if member is not None},
        )

    def check(self, change: Change) -> None:
        """See `agent.kernel.Kernel`."""
        self._checked(change)

    def apply(self, change: Change) -> None:
        """See `agent.kernel.Kernel`."""
        self._table = self._checked(change)
        now_ms = self._now_ms()
        for key in change.delete:
            self._members(key.set).pop(key.key, None)
        for element in change.add:
            ends_ms = now_ms + element.timeout_ms
            self._members(element.set)[element.key] = _Member(case=element.case, ends_ms=ends_ms, kbit=element.kbit)

    def close(self) -> None:
        """See `agent.kernel.Kernel`."""

    def sets(self) -> tuple[str, ...]:
        """See `agent.kernel.Kernel`."""
        return tuple(self._table.members) if self._table else ()

    def dump(self, set_name: str, *, whole: bool = True) -> Iterator[tuple[bytes, Found]]:
        """See `agent.kernel.Kernel`."""
        del whole
        return self._living(dict(self._members(set_name)))

    def foreign_flush(self) -> None:
        """Somebody runs `nft flush ruleset`."""
        self._table = None

    def foreign_name(self, name: str) -> None:
        """Somebody puts a chain or set of that name into our table."""
        if self._table is None:
            raise _missing(f"table inet {TABLE}")
        self._table = replace(self._table, strangers=(*self._table.strangers, name))

    def count_refusal(self, key: Key) -> None:
        """A packet of that member is refused."""
        mine = self._members(key.set)
        if self._found(mine.get(key.key)) is None:
            raise _missing(f"element {key.key.hex()} in {key.set}")
        mine[key.key] = replace(mine[key.key], packets=mine[key.key].packets + 1)

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)

    def _members(self, set_name: str) -> dict[bytes, _Member]:
        if self._table is None or set_name not in self._table.members:
            raise _missing(f"set {set_name}")
        return self._table.members[set_name]

    def _living(self, members: dict[bytes, _Member]) -> Iterator[tuple[bytes, Found]]:
        for key, member in members.items():
            found = self._found(member)
            if found is not None:
                yield key, found

    def _found(self, member: _Member | None) -> Found | None:
        left_ms = member.ends_ms - self._now_ms() if member else 0
        if member is None or left_ms <= 0:
            return None
        return Found(case=member.case, expires_ms=left_ms, packets=member.packets, kbit=member.kbit)

    def _checked(self, change: Change) -> _Table | None:
        """The table that `change` leaves behind, before its members are deleted and added; nothing is touched yet."""
        if change.remove_table:
            if replace(change, remove_table=False).empty:
                return None
            raise KernelError(errno=EINVAL, what="removing our table comes alone in its change")
        table = self._table
        if change.structure is not None:
            check_structure(change.structure)
            before = {members.name: members for members in table.structure.sets} if table else {}
            kept = table.members if table else {}
            members = {s.name: kept[s.name] if before.get(s.name) == s else {} for s in change.structure.sets}
            table = _Table(structure=change.structure, members=members)
        sets = {members.name: members for members in table.structure.sets} if table else {}
        for key in change.delete:
            check_key(sets.get(key.set), key)
        for element in change.add:
            check_key(sets.get(element.set), element)
            if element.timeout_ms <= 0:
                raise KernelError(errno=EINVAL, what=f"element {element.key.hex()} of {element.set} has a lease without end")
            if not 0 <= element.kbit <= MOST_KBIT:
                raise KernelError(errno=EINVAL, what=f"element {element.key.hex()} of {element.set} has {element.kbit} kbit/s")
            if element.kbit and not sets[element.set].use.caps:
                raise KernelError(errno=EINVAL, what=f"elements of set {element.set} have no rate")
        return table


def _missing(what: str) -> KernelError:
    return KernelError(errno=ENOENT, what=f"there is no {what}", mend="observe, plan and apply again")


def check_key(members: MemberSet | None, item: Key | Element) -> None:
    """Refuse a member of a set that is not there (None), or whose key does not fit it."""
    if members is None:
        raise _missing(f"set {item.set}")
    length = key_length(members)
    if len(item.key) != length:
        raise KernelError(errno=EINVAL, what=f"a key of set {item.set} has {length} bytes, not {len(item.key)}")


def check_structure(structure: Structure) -> None:
    """Refuse what the kernel refuses: names given twice, references to nothing, rings of chains, map entries that overlap."""
    chains = {chain.name: chain for chain in structure.chains}
    maps = {services.name: services for services in structure.maps}
    sets = {members.name for members in structure.sets}
    given = len(structure.chains), len(structure.maps) + len(structure.sets)
    if given != (len(chains), len({*maps, *sets})):  # sets and maps share one space of names
        raise KernelError(errno=EEXIST, what="a chain, or a set or map, is there twice")
    for services in structure.maps:
        _check_overlaps(services)
    for chain in structure.chains:
        for rule in chain.rules:
            if isinstance(rule, LookupService) and rule.map not in maps:
                raise _missing(f"map {rule.map}, which chain {chain.name} refers to")
            if isinstance(rule, Asking) and rule.set not in sets:
                raise _missing(f"set {rule.set}, which chain {chain.name} refers to")
    done: set[str] = set()
    for chain in structure.chains:
        _check_chain(chain.name, chains, maps, done, ())


def _check_overlaps(services: ServiceMap) -> None:
    if not services.ranged:
        keys = {(entry.prefix, entry.protocol, entry.ports) for entry in services.entries}
        if len(keys) < len(services.entries):
            raise KernelError(errno=EEXIST, what=f"map {services.name}: an entry is there twice")
        return
    for one, other in combinations(services.entries, 2):
        same_protocol = one.protocol == other.protocol or L4.ANY in (one.protocol, other.protocol)
        ports_meet = one.ports[0] <= other.ports[1] and other.ports[0] <= one.ports[1]
        if same_protocol and ports_meet and one.prefix.overlaps(other.prefix):
            raise KernelError(errno=EEXIST, what=f"map {services.name}: entries for {one.prefix} and {other.prefix} overlap")


def _targets(chain: Chain, maps: dict[str, ServiceMap]) -> Iterable[str]:
    for rule in chain.rules:
        if isinstance(rule, DispatchFamily):
            yield rule.chain
        elif isinstance(rule, LookupService):
            yield from {entry.chain for entry in maps[rule.map].entries}
        elif isinstance(rule, RefuseMembers):
            yield REFUSE
        elif isinstance(rule, EnterMembers | EnterTranslated | AskedFor):
            yield rule.chain


def _check_chain(name: str, chains: dict[str, Chain], maps: dict[str, ServiceMap], done: set[str], way: tuple[str, ...]) -> None:
    if name in way:
        raise KernelError(errno=ELOOP, what=f"chain {name} leads to itself")
    if name not in chains:
        raise _missing(f"chain {name}, which {way[-1] if way else 'a map'} refers to")
    if name not in done:
        for target in _targets(chains[name], maps):
            _check_chain(target, chains, maps, done, (*way, name))
        done.add(name)

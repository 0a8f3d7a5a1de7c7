"""Floor 1. What is wanted, what the kernel has -> one change.

Rules of this room (the laws that its tests keep):

- P1: what is there as wanted needs nothing: the change is empty.
- P2: the change, applied to what was observed, gives what is wanted.
- P3: it names nothing but sets of the wanted structure, in our own table.
- P4: create before refer, unrefer before delete: a change brings its structure with it, and the backend does both in
  one transaction; members are only ever named in sets of that structure.
- P5: a change that refuses more than a limit is held. Of a held change only the restores remain.
- P6: a refusal of stage 4 never travels without the pairs that it makes an exception for.

Whatever is read here is a member of our own table. Members that were not asked about are not touched.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.rules import TABLE, Change, Element, Found, Key, Observed, Structure, Use
from agent.ruleset import is_exception, read_ends

#: A lease is renewed when less than this part of it is left: a missed cycle or two must not let it run out.
RENEW_BELOW = 0.5

#: A lease may run this much longer than wanted: reading the kernel takes time, and its clock ticks in milliseconds.
SLACK_MS = 1_000

#: Elements per change when a whole set is put right: small enough to leave the kernel's lock between two.
AUDIT_CHUNK = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Guarded:
    """A change after the guard. `new` counts the elements that would have been refused anew; `held` says it was too many."""

    change: Change
    new: int
    held: bool


def plan(
    *,
    wanted: Sequence[Element],
    candidates: Iterable[Key],
    observed: Observed,
    structure: Structure,
    renew: bool = False,
) -> Change:
    """The change that brings one company, or a batch of them, to what is wanted.

    Args:
        wanted: the elements that should be there.
        candidates: every key that these companies could have; those observed and not wanted go.
        observed: what the kernel has of `wanted` and `candidates`, read against `structure`.
        structure: the wanted structure.
        renew: give every wanted element its full lease again.

    Raises:
        ValueError: an element is wanted in a set that the structure does not have: the two were not compiled from the
            same inventory. Nothing may be changed on such a basis.
    """
    sets = {members.name: members for members in structure.sets}
    for element in wanted:
        if element.set not in sets:
            raise ValueError(f"set {element.set} is not in the structure: compile both from one inventory")
    keep = {Key(set=element.set, key=element.key) for element in wanted}
    present = observed.members
    add = tuple(e for e in wanted if renew or _differs(e, present.get(Key(set=e.set, key=e.key))))
    if any(sets[element.set].use is Use.REST for element in add):  # P6
        add = tuple(e for e in wanted if e in add or sets[e.set].use is Use.PAIR)
    return Change(
        structure=None if observed.structure == "as_wanted" else structure,
        add=add,
        delete=tuple(sorted(key for key in set(candidates) if key in present and key not in keep and key.set in sets)),
    )


def plan_set(
    *,
    set_name: str,
    wanted: Mapping[bytes, Element],
    observed: Iterable[tuple[bytes, Found]],
    renew: bool = False,
) -> Iterator[Change]:
    """The same for one whole set, as a stream of changes: for a start, or an audit of hundreds of thousands of members.

    Members that nobody wants are deleted as they are met, so restores never wait for the end of the reading.

    Args:
        set_name: a set of the structure that is loaded.
        wanted: every element that belongs in it, by key.
        observed: its members as the kernel gives them, in any order; read once.
        renew: give every wanted element its full lease again.
    """
    missing = dict.fromkeys(wanted)
    add: list[Element] = []
    delete: list[Key] = []
    for key, found in observed:
        element = wanted.get(key)
        if element is None:
            delete.append(Key(set=set_name, key=key))
        else:
            missing.pop(key, None)
            if renew or _differs(element, found):
                add.append(element)
        if len(add) + len(delete) >= AUDIT_CHUNK:
            yield Change(add=tuple(add), delete=tuple(delete))
            add, delete = [], []
    for key in missing:
        add.append(wanted[key])
        if len(add) + len(delete) >= AUDIT_CHUNK:
            yield Change(add=tuple(add), delete=tuple(delete))
            add, delete = [], []
    if add or delete:
        yield Change(add=tuple(add), delete=tuple(delete))


def _differs(element: Element, found: Found | None) -> bool:
    """True if the kernel does not have `element`, has it with another case or rate, for too long, or not for long enough."""
    return (
        found is None
        or found.case != element.case
        or found.kbit != element.kbit
        or found.expires_ms > element.timeout_ms + SLACK_MS
        or found.expires_ms < element.timeout_ms * RENEW_BELOW
    )


def guard(change: Change, *, present: Container[Key], limit: int) -> Guarded:
    """Hold a change that refuses too much at once: a wrong feed or a wrong policy looks exactly like that.

    A lease that is renewed is not new, nor is what only spares. A held change keeps its deletions and nothing else; a new structure
    waits with what it was made for.

    Args:
        change: what is planned.
        present: the keys that are refused already, or were until somebody emptied our table: a repair is not new either.
        limit: at most this many elements may be new.
    """
    new = sum(Key(set=one.set, key=one.key) not in present for one in change.add if not is_exception(one.set))
    if new <= limit:
        return Guarded(change=change, new=new, held=False)
    return Guarded(change=Change(delete=change.delete), new=new, held=True)


def describe(change: Change, structure: Structure, present: Mapping[Key, Found] | None = None) -> Iterator[str]:
    """A change for people, a line per step: `+` will be refused, `-` will be restored, `~` stays with other terms.

    A member that is an exception is named with what it stays connected with.

    Args:
        change: what is planned.
        structure: gives keys their meaning.
        present: the members that were observed.
    """
    sets = {members.name: members for members in structure.sets}

    def place(set_name: str, key: bytes) -> str:
        if set_name not in sets:
            return f"{set_name} {key.hex()}"
        ends = [str(network) + (f" on {interface}" if interface else "") for interface, network in read_ends(sets[set_name], key)]
        return f"{set_name} " + (" stays connected with " if is_exception(set_name) else " towards ").join(ends)

    if change.remove_table:
        yield f"- table inet {TABLE} and everything in it"
    if change.structure is not None:
        new = change.structure
        yield f"~ table inet {TABLE}: {len(new.chains)} chains, {len(new.maps)} maps, {len(new.sets)} sets"
    for key in change.delete:
        yield f"- {place(key.set, key.key)}"
    for element in change.add:
        found = (present or {}).get(Key(set=element.set, key=element.key))
        rate = f", {element.kbit} kbit/s" if element.kbit else ""
        terms = f"case {element.case}{rate}, lease {_duration(element.timeout_ms)}"
        if found is None:
            yield f"+ {place(element.set, element.key)} ({terms})"
        else:
            before = f" for case {found.case}" if found.case != element.case else ""
            yield f"~ {place(element.set, element.key)} ({terms}; had {_duration(found.expires_ms)} left{before})"


def _duration(milliseconds: int) -> str:
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number} {unit}" for number, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if number]
    return " ".join(parts) or f"{milliseconds} ms"

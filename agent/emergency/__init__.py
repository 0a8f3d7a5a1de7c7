"""Floor 3. Restoring without the enforcer: the kernel alone, and a stop file so that nobody undoes it.

Rules of this room:

1. It needs no ledger, no inventory, no network and no running process: a member carries its case, and a case begins with
   its company.
2. The stop file is written first, so that an enforcer that wakes or starts meanwhile does not put back what is taken away.
   That no place takes it stops no restore; it is said.
3. Nothing but our own table is touched. What was done is looked at afterwards, and done again while somebody undoes it.
4. The enforcer records it once it can (`record`); `resume` ends a general stop, the record that of one company.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent import stopfile
from agent.kernel import Kernel
from agent.rules import Change, Key

#: So often is taken away what an enforcer in the middle of its work put back; it reads the stop file within a second.
_ROUNDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What was done.

    `there`: something of it was in the kernel: for a company, how many members; for everybody, how many sets our table had.
    `place`: the stop file that keeps it so; None where none could be written, and `faults` says why, a line for each place.
    """

    there: int
    place: Path | None
    faults: tuple[str, ...] = ()


def restore(kernel: Kernel, places: Sequence[Path], pause: stopfile.Pause, company: str | None = None) -> Restored:
    """Restore one company, or everybody, without the enforcer.

    Args:
        kernel: the backend of this host.
        places: where the enforcer looks for stop files, the best first.
        pause: who, when, why; with `restore`.
        company: its id; None for everybody.

    Raises:
        KernelError: the kernel could not be changed; the stop file is written all the same.
    """
    place, faults = _stop(places, pause, company)
    there = 0
    for _ in range(_ROUNDS):
        found = _take_away(kernel, company)
        if not found:
            break
        there = max(there, found)
    return Restored(there=there, place=place, faults=faults)


def _take_away(kernel: Kernel, company: str | None) -> int:
    """Take out what is there of one company or of all; returns how much that was."""
    sets = kernel.sets()
    if company is None:  # not counted by member: reading a large set takes a second, in which nobody is restored
        kernel.apply(Change(remove_table=True))
        return len(sets)
    keys = [Key(set=name, key=key) for name in sets for key, found in kernel.dump(name) if found.case.partition(":")[0] == company]
    if keys:
        kernel.apply(Change(delete=tuple(keys)))
    return len(keys)


def _stop(places: Sequence[Path], pause: stopfile.Pause, company: str | None) -> tuple[Path | None, tuple[str, ...]]:
    """Add the pause to what the first place that can be written says."""
    faults = []
    for place in places:
        before = stopfile.read(place)
        if company is None:
            stop = replace(before, all=pause, fault="")
        else:
            stop = replace(before, companies={**before.companies, company: pause}, fault="")
        try:
            stopfile.write(place, stop)
        except OSError as error:
            faults.append(f"{place}: {error.strerror}")
        else:
            return place, tuple(faults)
    return None, tuple(faults)

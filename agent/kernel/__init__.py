"""Floor 2. The kernel: what is in it, would it take a change, change it. Nothing else, and nothing is remembered.

Rules of this room:

1. Callers never ask which backend they have.
2. Only our own table is written; a foreign one is never read for a decision.
3. A backend keeps no copy of what it wrote: each answer comes from the kernel.
4. Structure changes and members travel in one `Change`, so that a process that dies leaves all of it or nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from agent.rules import Change, Found, Key, Observed, Structure


class Kernel(Protocol):
    """The contract of every backend; `tests/contract` holds each of them to it.

    Every method raises `KernelError` when the kernel refuses or can not be reached: with its errno, what was tried and
    how to mend it. After an error nothing has changed, not even in part.
    """

    @property
    def name(self) -> str:
        """`memory`, `nft` or `iptables`: for people and metrics, never for decisions."""
        ...

    def observe(self, structure: Structure, keys: Sequence[Key] = ()) -> Observed:
        """Read our table.

        Whether it is there and as `structure` says, which names in it are not ours, and those of `keys` that exist now.
        An element whose lease has ended does not exist. A key in a set that the kernel does not have does not exist.
        """
        ...

    def check(self, change: Change) -> None:
        """Raise what `apply` would raise, as far as that can be known, and change nothing."""
        ...

    def apply(self, change: Change) -> None:
        """Make the whole change, or none of it.

        - `structure`: chains, maps and sets become exactly this; strangers in our table go. Members of sets that stay
          are kept with their lease and counter; sets that vanish lose theirs; the table is made where it is absent.
        - `delete`, then `add`, come after the structure; a key in both is there afterwards.
        - Deleting a member that is absent is no error. Adding one that exists gives it the new case and lease and starts
          its counter again.
        - A change that names a set the kernel will not have is refused (ENOENT), and so is a lease that has no end, or a
          key or a rate that does not fit its set (EINVAL).
        - `remove_table` takes everything of ours away and nothing else; an absent table is no error. It comes alone (EINVAL).
        - An empty change does nothing.
        """
        ...

    def close(self) -> None:
        """Let go of sockets and libraries. What is in the kernel stays."""
        ...

    def sets(self) -> tuple[str, ...]:
        """The names of all sets with members in our table as it is now, whoever made them; none without a table.

        For who has no structure at hand: a restore without the enforcer.
        """
        ...

    def dump(self, set_name: str, *, whole: bool = True) -> Iterator[tuple[bytes, Found]]:
        """Every living member of one set, as a stream, for the rare full audit.

        A set or table that the kernel does not have is refused (ENOENT). Unless it has to be `whole`, members are read as they
        are asked for, so that nobody waits for a large set; of a set that changes meanwhile, some may be missed and some come
        twice.
        """
        ...

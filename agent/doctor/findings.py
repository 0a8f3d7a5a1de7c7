"""Floor 1, doctor. A finding, and how bad it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Level(IntEnum):
    """How much a finding matters.

    `NOTICE`: good to know; `WARNING`: something will not work as promised in some situation; `BAD`: it does not work.
    """

    OK = 0
    NOTICE = 1
    WARNING = 2
    BAD = 3

    @property
    def word(self) -> str:
        """In JSON: `ok`, `notice`, `warning` or `bad`."""
        return self.name.lower()


#: French, English.
Words = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing about the host.

    `what`: what is so; `means`: what follows from it; `do`: what to do about it; each in French and English, the last two may be
    empty. `facts` are plain values for programs.
    """

    code: str
    level: Level
    what: Words
    means: Words = ("", "")
    do: Words = ("", "")
    facts: Mapping[str, object] = field(default_factory=dict)


def fine(code: str, fr: str, en: str, **facts: object) -> Finding:
    """Something that is as it should be."""
    return Finding(code=code, level=Level.OK, what=(fr, en), facts=facts)


def unread(code: str, fr: str, en: str, why: str) -> Finding:
    """Something that could not be looked at."""
    return Finding(
        code=code,
        level=Level.WARNING,
        what=(f"{fr} : illisible ({why})", f"{en}: can not be read ({why})"),
        means=("Ce point n'a pas été vérifié.", "This was not checked."),
        do=("Lancer `ecluse doctor` en root sur la passerelle.", "Run `ecluse doctor` as root on the gateway."),
    )


def listed(names: object, most: int = 8) -> str:
    """Names in one line, not without end."""
    every = [str(name) for name in names] if isinstance(names, list | tuple | set | frozenset) else [str(names)]
    return ", ".join(every[:most]) + (f" … (+{len(every) - most})" if len(every) > most else "")

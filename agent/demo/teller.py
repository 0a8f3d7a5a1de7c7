"""Floor 4, demo. What the demonstration says, in French or English, and whether everything was as it should be.

Rules of this room:

1. Every expectation is said as it is met or missed. One that is missed does not stop the story; it makes the exit code 1 and
   is named again at the end.
2. Lines have at most `WIDTH` columns; colours only on a terminal (click takes them out elsewhere).
3. Each dated heading says that the date is the demonstration's own.
"""

import textwrap
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

#: The same sentence: French, English.
Words = tuple[str, str]

WIDTH = 100
PLACE = ZoneInfo("Europe/Paris")

_DAYS: Mapping[str, tuple[str, ...]] = {
    "fr": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
_MONTHS: Mapping[str, tuple[str, ...]] = {
    "fr": ("janvier", "février", "mars", "avril", "mai", "juin"),
    "en": ("January", "February", "March", "April", "May", "June"),
}


class DemoFailed(Exception):
    """The story can not go on. Carries the sentence in both languages."""

    def __init__(self, words: Words) -> None:
        super().__init__(words[1])
        self.words = words


@dataclass(kw_only=True)
class Teller:
    """Prints, and keeps account: `met` counts expectations that held, `missed` names the others."""

    language: str
    met: int = 0
    missed: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def words(self, words: Words) -> str:
        """The sentence in the reader's language."""
        return words[0] if self.language == "fr" else words[1]

    def of(self, pair: Mapping[str, Any]) -> str:
        """The text of a `{"fr": ..., "en": ...}` value, with nothing in it that a terminal would obey."""
        text = str(pair.get(self.language) or pair.get("en") or "")
        return "".join(each if each.isprintable() else "?" for each in text)

    def number(self, value: float) -> str:
        """A number of milliseconds, as short as it is still telling."""
        text = f"{value:.1f}" if value < 10 else f"{value:.0f}"
        return text.replace(".", ",") if self.language == "fr" else text

    def say(self, words: Words, *, indent: str = "  ") -> None:
        """A sentence, wrapped."""
        for line in textwrap.wrap(self.words(words), WIDTH, initial_indent=indent, subsequent_indent=indent):
            click.echo(line)

    def lines(self, lines: Iterable[str]) -> None:
        """Lines as they are."""
        for line in lines:
            click.echo(line)

    def title(self, words: Words) -> None:
        """The first line."""
        click.echo(click.style(self.words(words), bold=True))

    def blank(self) -> None:
        """An empty line."""
        click.echo()

    def chapter(self, at: datetime, words: Words) -> None:
        """A dated heading."""
        local = at.astimezone(PLACE)
        day, month = _DAYS[self.language][local.weekday()], _MONTHS[self.language][local.month - 1]
        note = self.words(("horloge de la démonstration", "the demonstration's clock"))
        head = f"{day} {local.day} {month} {local.year}, {local:%H:%M:%S} ({note})"
        click.echo()
        click.echo(click.style(f"━━ {head} ", bold=True) + click.style("━" * max(0, WIDTH - len(head) - 4), dim=True))
        self.say(words, indent="")

    def expect(self, good: bool, words: Words, *, shown: bool = True) -> None:  # noqa: FBT001 - reads as a sentence
        """State something that must hold; `shown` False says it only if it does not."""
        text = self.words(words)
        if good:
            self.met += 1
        else:
            self.missed.append(text)
        if shown or not good:
            mark = click.style("ok", fg="green") if good else click.style(self.words(("NON", "NO")), fg="red", bold=True)
            body = textwrap.wrap(text, WIDTH - 6)
            click.echo(f"  {mark}{' ' * (4 - len(click.unstyle(mark)))}{body[0] if body else ''}")
            self.lines(f"      {line}" for line in body[1:])

    def miss(self, words: Words) -> None:
        """State something that is not as it must be."""
        self.expect(good=False, words=words)

    def verdict(self) -> int:
        """The last lines, and the exit code."""
        took = time.monotonic() - self.begun
        self.blank()
        if not self.missed:
            words = (
                f"Tout est comme attendu : {self.met} constats, en {took:.0f} secondes réelles.",
                f"Everything is as expected: {self.met} findings, in {took:.0f} real seconds.",
            )
            click.echo(click.style(self.words(words), fg="green", bold=True))
            return 0
        count = len(self.missed)
        words = (f"{count} constat(s) ne sont pas comme attendu :", f"{count} finding(s) are not as expected:")
        click.echo(click.style(self.words(words), fg="red", bold=True))
        for text in self.missed:
            self.say((f"- {text}", f"- {text}"))
        return 1

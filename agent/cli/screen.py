"""Floor 4. What a person at a terminal sees: language, tables, colours, progress.

Rules of this room:

1. People get French or English, programs get JSON; one command never mixes them on the same stream.
2. Answers go to standard output; errors, progress and questions to standard error.
3. Nothing that came from outside reaches a terminal with its control characters.
4. Colours only on a terminal, and never with NO_COLOR (no-color.org).
"""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

#: A pair of the same sentence: French, English.
Words = tuple[str, str]

_GREEN, _RED, _YELLOW, _DIM = "green", "red", "yellow", "bright_black"
_MIN_WIDTH = 30


@dataclass
class Screen:
    """How one command speaks. It lives as long as the command does; options of the command set it."""

    language: str = "en"
    as_json: bool = False
    debug: bool = False

    def words(self, words: Words) -> str:
        """The sentence in the person's language."""
        return words[0] if self.language == "fr" else words[1]

    def of(self, pair: Mapping[str, Any]) -> str:
        """The text of a `{"fr": ..., "en": ...}` value, made safe to show; it may have several lines."""
        return safe_lines(pair.get(self.language) or pair.get("en") or pair.get("fr") or "")

    def note(self, words: Words) -> None:
        """One line beside the answer, on standard error."""
        click.echo(self.words(words), err=True)

    def moment(self, at: Any, zone: Any = None) -> str:
        """An instant of the ledger as people write it, at a place (by default here, and named); "" for none."""
        if not at:
            return ""
        pattern = "%d/%m/%Y %H:%M:%S" if self.language == "fr" else "%Y-%m-%d %H:%M:%S"
        try:
            local = datetime.fromisoformat(at).astimezone(ZoneInfo(zone) if zone else None)
        except (TypeError, ValueError, OverflowError, ZoneInfoNotFoundError):
            return safe(at)
        text = local.strftime(pattern).removesuffix(":00")
        return text if zone else f"{text} {safe(local.tzname())}"

    def day(self, day: Any) -> str:
        """A date as people write it: 31/01/2026 or 2026-01-31."""
        try:
            return date.fromisoformat(day).strftime("%d/%m/%Y" if self.language == "fr" else "%Y-%m-%d")
        except (TypeError, ValueError):
            return safe(day)

    def amount(self, sum_: Any, currency: Any = "") -> str:
        """A sum as people write it: 4 800,00 EUR or 4,800.00 EUR."""
        try:
            number = f"{Decimal(str(sum_)):,.2f}"
        except ArithmeticError:
            number = str(sum_)
        if self.language == "fr":
            number = number.replace(",", " ").replace(".", ",")
        return safe(f"{number} {currency}".rstrip())


def language(environment: Mapping[str, str]) -> str:
    """`fr` or `en`, by the first of LC_ALL, LC_MESSAGES and LANG that is set (POSIX order)."""
    chosen = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    return "fr" if chosen.lower().startswith("fr") else "en"


def colourful(environment: Mapping[str, str]) -> bool | None:
    """For click: None leaves it to whether the stream is a terminal, False means never."""
    return False if environment.get("NO_COLOR") else None


def safe(value: object) -> str:
    """A text with nothing in it that a terminal would obey."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(value))


def safe_lines(value: object) -> str:
    """A text of several lines, each of them safe."""
    return "\n".join(safe(line) for line in str(value).splitlines())


def good(text: str) -> str:
    """A text that says all is well."""
    return _styled(text, fg=_GREEN)


def bad(text: str) -> str:
    """A text that says something is wrong."""
    return _styled(text, fg=_RED)


def open_point(text: str) -> str:
    """A text that says something waits."""
    return _styled(text, fg=_YELLOW)


def faint(text: str) -> str:
    """A text that matters less."""
    return _styled(text, fg=_DIM)


def bold(text: str) -> str:
    """A heading."""
    return _styled(text, bold=True)


def _styled(text: str, **style: Any) -> str:
    return click.style(text, **style) if text else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Lines of a table whose columns are as wide as they need to be; the last one is wrapped at `width`.

    Args:
        head: the columns' names.
        rows: cells, possibly styled; as many in each row as in the head.
        width: of the terminal; None means no wrapping, as when another program reads.
    """
    plain = [[click.unstyle(cell) for cell in row] for row in rows]
    widths = [max(len(name), *(len(row[column]) for row in plain), 0) if plain else len(name) for column, name in enumerate(head)]
    before = sum(widths[:-1]) + 2 * (len(head) - 1)
    room = None if width is None else max(_MIN_WIDTH, width - before)

    def line(cells: Sequence[str], bare: Sequence[str]) -> list[str]:
        first = "  ".join(
            cell + " " * (size - len(text)) for cell, text, size in zip(cells[:-1], bare[:-1], widths[:-1], strict=True)
        )
        last, text = cells[-1], bare[-1]
        lead = first + "  " if first else ""
        if room is None or len(text) <= room:
            return [(lead + last).rstrip()]
        parts = textwrap.wrap(text, room)
        return [lead + parts[0], *(" " * before + part for part in parts[1:])]

    lines = [bold(line(head, head)[0])]
    for row, bare in zip(rows, plain, strict=True):
        lines += line(row, bare)
    return lines


def show(lines: Sequence[str]) -> None:
    """Print lines to standard output."""
    for line in lines:
        click.echo(line)


def width() -> int | None:
    """The terminal's width, or None when nobody looks at standard output."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def dump(value: Any) -> None:
    """One JSON object on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=False))


def progress(label: str) -> Callable[[int, int], None]:
    """A counter for long work: `(done, in all)`, on standard error and only when that is a terminal."""
    if not sys.stderr.isatty():
        return lambda _done, _total: None

    def tell(done: int, total: int) -> None:
        end = "\n" if done >= total else ""
        sys.stderr.write(f"\r{label}: {done:,} / {total:,}{end}")
        sys.stderr.flush()

    return tell


def from_environment() -> Screen:
    """How a command speaks before its options say otherwise."""
    return Screen(language=language(os.environ))

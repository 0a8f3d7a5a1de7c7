"""Floor 2. How the program writes its log: one line per record on stderr, fields as key=value; in the journal as fields of its own.

1. Rooms that log use the standard `logging` and give fields through `extra=fields(company="za", seq=12)`.
2. Under journald a record goes over the journal's own socket: the line, its priority, and each field as `ECLUSE_COMPANY=za`, so
   that `journalctl ECLUSE_COMPANY=za` finds it. Elsewhere a line starts with the time in UTC.
3. A line is a line: control characters in messages and values are escaped, so that text from outside can not forge one.
4. Nobody waits for who reads the log: lines go to a thread of their own, and what it can not get rid of is counted and dropped;
   so is what a journal that is stuck does not take. Nothing must keep a payment from restoring, and the ledger loses nothing.
5. Values are plain things only (text, numbers, times, addresses, paths). Anything else, above all bytes and secrets, is
   written as `***`. So a secret passed by mistake does not come out, whatever its `repr` does.
"""

import json
import logging
import os
import queue
import re
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path, PurePath
from typing import Any, TextIO

HIDDEN = "***"
JOURNAL = Path("/run/systemd/journal/socket")

#: Lines that wait for a reader; more are dropped.
MOST_LINES = 2_000

#: So long a process that ends waits for its last lines to be written.
CLOSING_SECONDS = 1.0

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))
_PLAIN = (str, int, float, Decimal, date, timedelta, PurePath, IPv4Address, IPv4Network, IPv6Address, IPv6Network)
_BARE = re.compile(r"^[^\s\"=\\]+$")
_NOT_A_NAME = re.compile(r"[^A-Z0-9_]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def fields(**values: Any) -> dict[str, Any]:
    """Fields of a log record, for the `extra` argument: `log.warning("held", extra=fields(company="za"))`."""
    return {"fields": values}


def setup(
    level: str = "info",
    *,
    stream: TextIO | None = None,
    environment: Mapping[str, str] = os.environ,
    journal: Path = JOURNAL,
) -> None:
    """Send the log of the whole program to `stream` (stderr); replaces what was set up before.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        stream: where to, each line at once; left out, standard error, by a thread.
        environment: `JOURNAL_STREAM` says whether the stream is the journal.
        journal: the journal's socket.

    Raises:
        ValueError: no such level.
    """
    target = sys.stderr if stream is None else stream
    to_journal = is_journal(target, environment)
    handler: logging.Handler
    if to_journal or stream is None:
        handler = Journal(target, journal) if to_journal else Unhurried(target)
    else:
        handler = logging.StreamHandler(target)
    handler.setFormatter(Formatter(journal=to_journal))
    handler.addFilter(hide)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether `stream` leads to journald.

    The variable is inherited by children whose stderr goes elsewhere, so the device and inode it names are compared.
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def hide(record: logging.LogRecord) -> bool:
    """A filter for handlers: replaces every argument and field that is not a plain value by `***`; lets all pass."""
    if isinstance(record.args, Mapping):
        record.args = {name: plain(value) for name, value in record.args.items()}
    elif record.args:
        record.args = tuple(plain(value) for value in record.args)
    if found := getattr(record, "fields", None):
        record.fields = {name: plain(value) for name, value in found.items()}
    return True


def plain(value: Any) -> Any:
    """`value` if it may be written: plain, a list of plain values or an error of ours; otherwise `***`."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or type(value) in _PLAIN or isinstance(value, bool | datetime | PurePath):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(str(plain(item)) for item in value)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    return HIDDEN


class Unhurried(logging.Handler):
    """Writes lines from a thread, so that whoever logs never waits for the stream."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_LINES)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one record over."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1
        except Exception:  # noqa: BLE001 - what can not be told must not stop what is done
            self.handleError(record)

    def close(self) -> None:
        """Give what waits a moment to be written; whoever ends does not wait for a reader that hangs."""
        with suppress(queue.Full):
            self._lines.put_nowait(None)
            self._writer.join(CLOSING_SECONDS)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            lost = f"{dropped} lines of the log were lost before this one\n" if dropped else ""
            with suppress(OSError, ValueError):  # nobody is there to be told
                self._stream.write(f"{lost}{line}\n")
                self._stream.flush()


class Journal(Unhurried):
    """Sends records to the journal with their fields; where it has no socket, to the stream, whose lines it reads as well."""

    def __init__(self, stream: TextIO, path: Path) -> None:
        super().__init__(stream)
        self._path = os.fspath(path)

    def emit(self, record: logging.LogRecord) -> None:
        """One record; several entries when it has a traceback."""
        found = {"ECLUSE_ROOM": record.name.removeprefix("agent."), **getattr(record, "fields", {})}
        more = "".join(f"{_field(name)}={_escape(_text(value))}\n" for name, value in found.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as channel:
                for line in self.format(record).splitlines():
                    priority, _, text = line.removeprefix("<").partition(">")
                    entry = f"PRIORITY={priority}\nSYSLOG_IDENTIFIER=ecluse\nMESSAGE={text}\n{more}"
                    channel.sendto(entry.encode(), self._path)
        except BlockingIOError:
            pass  # rule 4: what a journal that is stuck does not take is lost
        except OSError:
            super().emit(record)


class Formatter(logging.Formatter):
    """One record, one line (a traceback: one line each, marked with a bar)."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        room = record.name.removeprefix("agent.")
        text = f"{room}: {_escape(record.getMessage())}"
        for name, value in getattr(record, "fields", {}).items():
            text += f" {name}={_value(value)}"
        if self._journal:
            start = f"<{next((number for level, number in _PRIORITIES if record.levelno >= level), 7)}>"
        else:
            time = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
            start = f"{time}Z {record.levelname:<7} "
        lines = [start + text]
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            lines += [f"{start}  | {_escape(line)}" for line in trace.splitlines()]
        return "\n".join(lines)


def _escape(text: str) -> str:
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def _field(name: str) -> str:
    """The name of a field in the journal: capitals, digits and underscores."""
    return name if name.startswith("ECLUSE_") else "ECLUSE_" + _NOT_A_NAME.sub("_", name.upper())


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else f"{value:g}" if isinstance(value, float) else str(value)


def _value(value: Any) -> str:
    text = _text(value)
    return text if _BARE.match(text) and not _CONTROL.search(text) else _escape(json.dumps(text, ensure_ascii=False))

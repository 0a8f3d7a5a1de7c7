"""Floor 4, demo. The demonstration's hold on its gateway: start, move the clock, ask, run the real command line, stop.

Rules of this room:

1. The gateway is a child process in the gateway's namespace. Its log goes to a file, and is shown when the story breaks.
2. What people see is what `ecluse` prints: the installed command, run on a terminal of `WIDTH` columns.
3. Everything has a deadline.
"""

import json
import os
import secrets
import select
import subprocess
import sys
import sysconfig
import textwrap
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import click

from agent.channel import ask
from agent.config import Config, load_config
from agent.demo.network import DOOR, DOOR_PORT
from agent.demo.teller import WIDTH, DemoFailed
from agent.errors import EcluseError
from agent.event import instant
from agent.lab import Space

#: Users of no account on a Debian system, between those of people and those of services; and the group of the socket.
PERSONS: Mapping[str, int] = {"Claire Martin": 60901, "Driss Alami": 60902}
OPERATORS_GROUP = 60900

NATIVE, STRIPE = "billing", "stripe-main"

#: The two programs of this room that run as processes of their own.
_GATEWAY, _PERSON = "agent.demo.gateway", "agent.demo.person"

#: Central European Time spelled out (POSIX), so that the command line shows it on a machine without time zone files too.
_ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"
_NATIVE_EVENTS = (
    "invoice.issued, invoice.overdue, reminder.sent, notice.dispatched, notice.delivered, warning.sent, payment.received, "
    "preflight.done, insolvency.checked, clock.checked, heartbeat"
)
_STRIPE_EVENTS = "invoice.issued, invoice.overdue, invoice.cancelled, payment.received"


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """The gateway's files: its configuration, the secrets of both billing systems, its log."""

    config_file: Path
    config: Config
    native_secret: bytes
    stripe_secret: str
    log: Path


def furnish(directory: Path, policies: Path) -> Home:
    """Write everything the gateway needs into an empty directory.

    Args:
        directory: empty, ours; persons must be able to search it, since the socket is below.
        policies: the example policies.
    """
    native, stripe = secrets.token_bytes(32), "whsec_" + secrets.token_urlsafe(32)
    directory.chmod(0o711)
    run = directory / "run"
    run.mkdir(mode=0o711)
    run.chmod(0o711)
    (directory / "state").mkdir(mode=0o700)
    for name, text in (("native.secret", "whsec_" + b64encode(native).decode()), ("stripe.secret", stripe)):
        file = directory / name
        file.touch(mode=0o600)
        file.write_text(text)
    operators = "".join(f"  - {{name: {name}, user: {uid}, roles: [approver]}}\n" for name, uid in PERSONS.items())
    (directory / "sources.yaml").write_text(
        "sources:\n"
        f"  {NATIVE}: {{kind: native, secrets: [native.secret], customer_ids: own, events: [{_NATIVE_EVENTS}]}}\n"
        f"  {STRIPE}: {{kind: stripe, secrets: [stripe.secret], customer_ids: listed, events: [{_STRIPE_EVENTS}]}}\n"
    )
    config_file = directory / "ecluse.yaml"
    config_file.write_text(
        f"policies: {json.dumps(str(policies))}\n"
        "sources: sources.yaml\nstate_dir: state\nrun_dir: run\n"
        f"listen: {DOOR}:{DOOR_PORT}\nkernel: nft\nmode_ceiling: auto\n"
        f"operators_group: {OPERATORS_GROUP}\noperators:\n{operators}"
    )
    return Home(
        config_file=config_file,
        config=load_config(config_file),
        native_secret=native,
        stripe_secret=stripe,
        log=directory / "gateway.log",
    )


class Running:
    """The gateway as a running process, with the story's clock. Use it as a context manager."""

    def __init__(self, space: Space, home: Home, start: datetime) -> None:
        """Start it in the gateway's namespace, at an instant of the story."""
        self.home = home
        self._base, self._mark = start, time.monotonic()
        argv = [sys.executable, "-m", _GATEWAY, str(home.config_file), instant(start)]
        with home.log.open("wb") as log:
            # A session of its own: Ctrl-C on the terminal is for the demonstration, which then ends its gateway in order.
            self._process = space.start(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=_environment(), start_new_session=True
            )

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def now(self) -> datetime:
        """The time of the story."""
        return self.at(time.monotonic())

    def at(self, reading: float) -> datetime:
        """The time of the story at a reading of the monotonic clock since the clock was last moved."""
        return self._base + timedelta(seconds=reading - self._mark)

    def move(self, to: datetime) -> None:
        """Set the story's clock.

        Raises:
            DemoFailed: the gateway is gone or does not answer.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{instant(to)}\n".encode())
            self._process.stdin.flush()
        except OSError:
            raise self.broken() from None
        ready, _, _ = select.select([self._process.stdout], [], [], 10)
        answer = self._process.stdout.readline() if ready else b""
        if not answer:
            raise self.broken()
        self._base, self._mark = to, float(answer)

    def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """Ask on the operators' socket, as root; the values of the answer.

        Raises:
            DemoFailed: nobody answers, or the answer is no.
        """
        header = {"ask": question, **arguments}
        try:
            answer, raw = ask(self.home.config.operator_socket, header, timeout=10)
        except EcluseError as error:
            raise self.broken(str(error)) from None
        if answer.get("exit") != 0:
            raise DemoFailed((f"{question} : {answer.get('message')}", f"{question}: {answer.get('message')}"))
        data = answer["data"] if answer.get("data") is not None else json.loads(raw)
        assert isinstance(data, dict)
        return data

    def suspended(self) -> dict[str, tuple[str, ...]]:
        """Who is suspended from what, as the gateway says."""
        return {one["company"]: tuple(sorted(one["services"])) for one in self.ask("status")["measures"]}

    def ask_as(self, name: str, question: str, **arguments: Any) -> tuple[int, Mapping[str, Any]]:
        """Ask as one of `PERSONS`; the exit code and the message in both languages."""
        header = json.dumps({"ask": question, **arguments})
        argv = [sys.executable, "-m", _PERSON, PERSONS[name], OPERATORS_GROUP, self.home.config.operator_socket, header]
        done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, timeout=20, check=False)
        if not done.stdout:
            raise DemoFailed((f"{name} : {done.stderr[-500:]}", f"{name}: {done.stderr[-500:]}"))
        answer = json.loads(done.stdout)
        return int(answer["exit"]), answer["message"]

    def command(self, language: str, *arguments: str) -> tuple[int, list[str]]:
        """Run `ecluse` as a person would, on a terminal; its exit code and its lines, at most `WIDTH` - 4 wide."""
        return on_terminal(
            [Path(sysconfig.get_path("scripts")) / "ecluse", "--lang", language, *arguments],
            {"ECLUSE_CONFIG": str(self.home.config_file), "TZ": _ZONE},
        )

    def broken(self, why: str = "") -> DemoFailed:
        """What to say when the gateway does not answer: how it ended, if it did."""
        with suppress(subprocess.TimeoutExpired):  # its connections are gone a moment before the process is
            self._process.wait(0.5)
        code = self._process.poll()
        fr = f"la passerelle s'est arrêtée (code {code})" if code is not None else "la passerelle ne répond pas"
        en = f"the gateway ended (code {code})" if code is not None else "the gateway does not answer"
        return DemoFailed((f"{fr} : {why}", f"{en}: {why}") if why else (fr, en))

    def last_words(self, lines: int = 12) -> list[str]:
        """The end of the gateway's log."""
        return self.home.log.read_text(errors="replace").splitlines()[-lines:]

    def stop(self, grace: float = 8.0) -> int | None:
        """Let it end in order: close its standard input. Its exit code, or None if it had to be killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            return self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None
        finally:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _environment() -> dict[str, str]:
    """Our own environment without what would point a program to another gateway, or to a service manager."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("ECLUSE_", "NOTIFY_", "LISTEN_", "WATCHDOG_"))
    }


def on_terminal(argv: list[str | Path], environment: Mapping[str, str]) -> tuple[int, list[str]]:
    """Run a program with a terminal for output; its exit code and its lines, without colours when ours is no terminal."""
    reading, writing = os.openpty()
    plain = {} if sys.stdout.isatty() else {"NO_COLOR": "1"}
    env = {**_environment(), "COLUMNS": str(WIDTH - 4), **plain, **environment}
    try:
        with subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            env=env,
            start_new_session=True,
        ) as process:
            os.close(writing)
            found = _everything(reading, time.monotonic() + 20)
            try:
                code = process.wait(1)
            except subprocess.TimeoutExpired:
                process.kill()
                raise DemoFailed((f"{argv[0]} ne finit pas", f"{argv[0]} does not end")) from None
    finally:
        os.close(reading)
    return code, [line for text in found.decode(errors="replace").splitlines() for line in _wrapped(text)]


def _everything(terminal: int, deadline: float) -> bytes:
    """What is written to a terminal until its last writer is gone, or until a reading of the monotonic clock."""
    found = bytearray()
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([terminal], [], [], left)[0]:
            break
        try:
            found += os.read(terminal, 65536)
        except OSError:  # EIO: nobody writes any more
            break
    return bytes(found)


def _wrapped(line: str) -> list[str]:
    """A line that is too wide is broken, without its colours."""
    bare = click.unstyle(line)
    if len(bare) <= WIDTH - 4:
        return [line]
    return textwrap.wrap(bare, WIDTH - 4, subsequent_indent=" " * 8)

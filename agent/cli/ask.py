"""Floor 4. Asking the enforcer over its operator socket, and giving its answer to a person or a program.

Rules of this room:

1. Who is asking is what the kernel tells the enforcer about the socket; nothing here claims a name.
2. The enforcer decides and words the answer in both languages; here it is only shown, with its exit code.
3. A restore must not fail for want of a configuration file: without one, the socket's usual place is tried. A file that was
   named and can not be used is an error, because the question could otherwise reach another gateway than was meant.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from agent.channel import ask as ask_channel
from agent.cli.door import Command, Exit, finish
from agent.cli.screen import Screen, bad, dump, open_point, safe, safe_lines, show
from agent.config import Config, load_config
from agent.errors import ChannelError, ConfigError, EcluseError, Refused

DEFAULT_CONFIG = Path("/etc/ecluse/ecluse.yaml")
USUAL_SOCKET = Path("/run/ecluse/operator.sock")

#: Seconds for an ordinary question; a restore is answered after the kernel was read back.
TIMEOUT = 30.0

#: Seconds for a restore: then it is done without the enforcer, where that is possible.
EMERGENCY_TIMEOUT = 5.0

_EMERGENCY = (
    """L'agent n'a pas répondu. En root sur cette passerelle, sans --socket, `ecluse restore` rétablit sans lui et
l'empêche de revenir en arrière. Si cela aussi est impossible :
  1. arrêter `ecluse enforce` (ou `ecluse run`) s'il tourne, sinon il remet ses règles en place ;
  2. nft delete table inet ecluse
  3. ses ordres vivent encore dans le registre : dès qu'il répond de nouveau, refaire cette commande.""",
    """The enforcer did not answer. As root on this gateway, without --socket, `ecluse restore` restores without it and
keeps it from going back. If that is impossible too:
  1. stop `ecluse enforce` (or `ecluse run`) if it runs, or it puts its rules back;
  2. nft delete table inet ecluse
  3. its orders still live in the ledger: as soon as it answers again, give this command again.""",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the enforcer said: an exit code, one message per language, and values for programs."""

    exit: int
    message: Mapping[str, str]
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """Where the enforcer is asked: `config` as given (None: the usual file), or straight at `socket`."""

    config: Path | None
    socket: Path | None


def configured(config: Path | None) -> Config:
    """The host's configuration, from the file given or from its usual place.

    Raises:
        ConfigError: it can not be used; every problem.
    """
    return load_config(config or DEFAULT_CONFIG)


def operator_socket(screen: Screen, where: Where) -> Path:
    """The socket to ask on; see rule 3.

    Raises:
        ConfigError: a file that was named can not be used.
    """
    if where.socket is not None:
        return where.socket
    try:
        return configured(where.config).operator_socket
    except (ConfigError, OSError) as error:
        if where.config is not None:
            raise
        what = safe(str(error).splitlines()[0])
        screen.note((f"{what} Essai sur {USUAL_SOCKET}.", f"{what} Trying {USUAL_SOCKET}."))
        return USUAL_SOCKET


def ask(screen: Screen, where: Where, name: str, *, raw: bytes = b"", timeout: float = TIMEOUT, **arguments: Any) -> Answer:
    """Ask one question.

    Args:
        screen: whose language the enforcer is told.
        where: which enforcer.
        name: what is asked.
        raw: bytes beside the question, for an import.
        timeout: seconds for everything.
        arguments: of the question; None is left out.

    Raises:
        ChannelError: nobody answers, or not in our terms.
        Refused: this user may not ask.
        ConfigError: the configuration that was named can not be used.
    """
    header = {"ask": name, "lang": screen.language} | {key: value for key, value in arguments.items() if value is not None}
    answer, more = ask_channel(operator_socket(screen, where), header, raw, timeout=timeout)
    return parse_answer(answer, more)


def parse_answer(header: Mapping[str, Any], raw: bytes) -> Answer:
    """The answer as it came; values too large for a header come as JSON in the body.

    Raises:
        ChannelError: not such an answer; most likely the two programs differ in version.
    """
    code, message, data = header.get("exit"), header.get("message", {}), header.get("data")
    try:
        if data is None:
            data = json.loads(raw) if raw else {}
    except ValueError:
        data = None
    if code not in tuple(Exit) or not isinstance(message, dict) or not isinstance(data, dict):
        raise ChannelError("the enforcer's answer is not understood; do both run the same version?")
    return Answer(exit=int(code), message=message, data=data)


def respond(screen: Screen, answer: Answer, lines: Callable[[Screen, Mapping[str, Any]], Sequence[str]] | None = None) -> None:
    """Show an answer and end with its exit code. `lines` tells its values to people."""
    if screen.as_json:
        dump({"exit": answer.exit, "message": dict(answer.message), "data": dict(answer.data)})
        finish(answer.exit)
    if lines is not None:
        show(lines(screen, answer.data))
    text = screen.of(answer.message)
    if text and answer.exit == Exit.DONE:
        click.echo(text)
    elif answer.exit != Exit.DONE:
        prefix = (
            open_point(screen.words(("refusé :", "refused:")))
            if answer.exit == Exit.REFUSED
            else bad(screen.words(("erreur :", "error:")))
        )
        click.echo(f"{prefix} {text}", err=True)
    finish(answer.exit)


def in_an_emergency(screen: Screen, question: Callable[[], Answer], alone: Callable[[], Answer | None] = lambda: None) -> Answer:
    """Ask something that restores; when nobody answers or it fails there, do it without the enforcer, or say how.

    Args:
        screen: where what goes wrong is told.
        question: asks the enforcer.
        alone: restores without it; None where that is not possible from here.

    Raises:
        ChannelError: nobody answers; the way without the enforcer was shown.
        Refused: this user may not ask.
        KernelError: nobody answers, and the kernel does not let us do it either.
    """
    answer: Answer | None = None
    failed: ChannelError | None = None
    try:
        answer = question()
        if answer.exit != Exit.FAILED:
            return answer
        screen.note((safe_lines(answer.message.get("fr", "")), safe_lines(answer.message.get("en", ""))))
    except ChannelError as error:
        failed = error
        screen.note((safe(error), safe(error)))
    try:
        done = alone()
    except EcluseError:
        screen.note(_EMERGENCY)
        raise
    if done is None:
        screen.note(_EMERGENCY)
        if failed is not None:
            raise failed
    found = done or answer
    assert found is not None  # one of the three was there
    return found


def confirmed(screen: Screen, question: tuple[str, str], *, yes: bool) -> None:
    """On a terminal, ask before something large; elsewhere a script has decided already.

    Raises:
        Refused: the person said no.
    """
    if yes or not sys.stdin.isatty():
        return
    if not click.confirm(screen.words(question), err=True):
        raise Refused(screen.words(("rien n'a été fait", "nothing was done")))


def asks(command: Command) -> Command:
    """Give a command `--config` and `--socket`; it gets them as `where`."""

    def add(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
        before = ctx.params.get("where") or Where(config=None, socket=None)
        name = parameter.name
        ctx.params["where"] = Where(
            config=value if name == "config" else before.config, socket=value if name == "socket" else before.socket
        )
        return value

    config = click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="ECLUSE_CONFIG",
        expose_value=False,
        callback=add,
        metavar="FILE",
        help=f"The host's configuration; {DEFAULT_CONFIG} by default.",
    )
    socket = click.option(
        "--socket",
        type=click.Path(path_type=Path),
        envvar="ECLUSE_SOCKET",
        expose_value=False,
        callback=add,
        metavar="PATH",
        help="Ask the enforcer on this socket; by default the one of the configuration.",
    )
    return config(socket(command))

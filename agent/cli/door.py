"""Floor 4. The frame of every command: options they share, errors to a message and an exit code.

Rules of this room:

1. One of the three places where errors are caught. An expected error is one message that says what, where and how to mend
   it; only a mistake of this program shows a traceback, and `--debug` shows it for all.
2. Exit codes are a contract with scripts: 0 done, 1 failed, 2 bad input, 3 refused or held.
"""

import os
from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar, cast

import click

from agent.cli.screen import Screen, bad, colourful, dump, from_environment, safe, safe_lines
from agent.errors import ConfigError, EcluseError, EventError, Problem, Refused, Rejected

Command = TypeVar("Command", bound=Callable[..., Any])


class Exit(IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3


def exit_code(error: BaseException) -> Exit:
    """The exit code of an expected error."""
    if isinstance(error, ConfigError | EventError | Rejected):
        return Exit.BAD_INPUT
    return Exit.REFUSED if isinstance(error, Refused) else Exit.FAILED


class Door(click.Group):
    """The group of all commands; turns expected errors into a message and an exit code."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Start with the language and the colours that the environment asks for."""
        extra.setdefault("obj", from_environment())
        extra.setdefault("color", colourful(os.environ))
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run one command."""
        try:
            return super().invoke(ctx)
        except (EcluseError, OSError) as error:
            screen = ctx.find_object(Screen) or Screen()
            if screen.debug or isinstance(error, BrokenPipeError):
                raise
            complain(screen, error)
            ctx.exit(exit_code(error))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were written down: from looking to acting."""
        del ctx
        return list(self.commands)


def complain(screen: Screen, error: EcluseError | OSError) -> None:
    """Say an expected error: every problem of a file on a line of its own."""
    problems = error.problems if isinstance(error, ConfigError) else ()
    what = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    if screen.as_json:
        data = {"problems": [problem_of(problem) for problem in problems]} if problems else {}
        dump({"exit": int(exit_code(error)), "message": {"fr": what, "en": what}, "data": data})
    elif problems:
        for problem in problems:
            click.echo(safe(problem), err=True)
        count = len(problems)
        screen.note((bad(f"{count} problème(s)"), bad(f"{count} problem(s)")))
    else:
        click.echo(f"{bad(screen.words(('erreur :', 'error:')))} {safe_lines(what)}", err=True)


def problem_of(problem: Problem) -> dict[str, Any]:
    """A problem as plain values."""
    return {"file": problem.file, "line": problem.line, "code": problem.code, "what": problem.what, "mend": problem.mend}


def finish(code: int) -> None:
    """End the command with an exit code."""
    click.get_current_context().exit(code)


def examples(*lines: str) -> str:
    """The end of a command's help: what to type. The first character keeps click from filling the lines."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


# --- options that commands share -----------------------------------------------------------------------------------


def _set_language(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value:
        ctx.ensure_object(Screen).language = value


def _set_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Screen).as_json = True


def _set_debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Screen).debug = True


language_option = click.option(
    "--lang",
    type=click.Choice(["fr", "en"]),
    expose_value=False,
    is_eager=True,
    callback=_set_language,
    help="Language of the answer; by default that of the locale.",
)
json_option = click.option(
    "--json", is_flag=True, expose_value=False, is_eager=True, callback=_set_json, help="Answer in JSON, for programs."
)
debug_option = click.option("--debug", is_flag=True, expose_value=False, is_eager=True, callback=_set_debug, hidden=True)


def speaks(command: Command) -> Command:
    """Give a command `--json` and `--lang`, and hand it the screen as its first argument."""
    return cast("Command", json_option(language_option(debug_option(click.pass_obj(command)))))

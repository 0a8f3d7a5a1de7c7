"""Floor 4. `ecluse doctor`: what this gateway is like, what that means for ecluse, and what to do.

Rules of this room: it asks no enforcer and changes nothing. Exit code 1 when something is bad, 3 when there are warnings.
"""

from collections.abc import Mapping
from pathlib import Path

import click

from agent.cli.ask import DEFAULT_CONFIG, configured
from agent.cli.door import Exit, examples, finish, speaks
from agent.cli.screen import Screen, bad, dump, faint, good, open_point, safe
from agent.config import Config
from agent.doctor import Finding, Level, diagnose, worst
from agent.errors import ConfigError
from agent.examine import examine

_EXIT: Mapping[Level, Exit] = {Level.OK: Exit.DONE, Level.NOTICE: Exit.DONE, Level.WARNING: Exit.REFUSED, Level.BAD: Exit.FAILED}
_WORDS: Mapping[Level, tuple[str, str]] = {
    Level.OK: ("bon", "ok"),
    Level.NOTICE: ("à savoir", "notice"),
    Level.WARNING: ("attention", "warning"),
    Level.BAD: ("mauvais", "bad"),
}
_COLOURS = {Level.OK: good, Level.NOTICE: faint, Level.WARNING: open_point, Level.BAD: bad}
_INDENT = " " * 11


@click.command(
    "doctor",
    short_help="look at this gateway: what is in the way, and what to do",
    epilog=examples(
        "ecluse doctor", "ecluse --lang fr doctor", "ecluse doctor --json | jq '.data.findings[] | select(.level != \"ok\")'"
    ),
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ECLUSE_CONFIG",
    metavar="FILE",
    help=f"The host's configuration; {DEFAULT_CONFIG} by default.",
)
@speaks
def doctor_(screen: Screen, config: Path | None) -> None:
    """Look at this gateway: kernel, other firewalls, offloads, routes, clock, disk, installation. Changes nothing.

    Each line says what is so; below it, what that means and what to do. Exit code 0: nothing worse than a notice; 3: warnings;
    1: something is bad.
    """
    host = _config(config)
    findings = diagnose(examine(host.state_dir, config=host))
    code = _EXIT[worst(findings)]
    if screen.as_json:
        dump({"exit": int(code), "message": dict(zip(("fr", "en"), _summary(findings), strict=True)), "data": _data(findings)})
        finish(code)
    for finding in sorted(findings, key=lambda each: -each.level):
        click.echo("\n".join(lines_of(screen, finding)))
    click.echo(screen.words(_summary(findings)))
    finish(code)


def lines_of(screen: Screen, finding: Finding) -> list[str]:
    """A finding as a person reads it."""
    word = screen.words(_WORDS[finding.level])
    lines = [f"{_COLOURS[finding.level](word.ljust(len(_INDENT) - 1))} {safe(screen.words(finding.what))}"]
    lines += [f"{_INDENT}{safe(text)}" for text in (screen.words(finding.means),) if text]
    arrow = screen.words(("à faire : ", "to do: "))
    lines += [f"{_INDENT}{arrow}{safe(text)}" for text in (screen.words(finding.do),) if text]
    return lines


def _config(config: Path | None) -> Config:
    try:
        return configured(config)
    except (ConfigError, OSError):
        if config is not None:
            raise
        return Config(policies=DEFAULT_CONFIG, sources=DEFAULT_CONFIG)


def _summary(findings: tuple[Finding, ...]) -> tuple[str, str]:
    counts = {level: sum(each.level is level for each in findings) for level in Level}
    return (
        f"{counts[Level.BAD]} mauvais, {counts[Level.WARNING]} attention, {counts[Level.NOTICE]} à savoir, {counts[Level.OK]} bons",
        f"{counts[Level.BAD]} bad, {counts[Level.WARNING]} warnings, {counts[Level.NOTICE]} notices, {counts[Level.OK]} ok",
    )


def _data(findings: tuple[Finding, ...]) -> dict[str, object]:
    return {
        "findings": [
            {
                "code": each.code,
                "level": each.level.word,
                "what": _pair(each.what),
                "means": _pair(each.means),
                "do": _pair(each.do),
                "facts": dict(each.facts),
            }
            for each in findings
        ]
    }


def _pair(words: tuple[str, str]) -> dict[str, str] | None:
    return {"fr": words[0], "en": words[1]} if words[1] else None

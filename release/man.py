"""Writes the manual page ecluse(1) from the commands' own help, so that the two never differ.

The page is troff with the `man` macros (groff_man(7)); a line of text that begins with a dot or a quote is escaped.
"""

import sys

import click

from agent import __version__
from agent.cli import main as ecluse

_FILES = (
    ("/etc/ecluse/ecluse.yaml", "the host's configuration"),
    ("/etc/ecluse/sources.yaml", "billing systems that may send webhooks"),
    ("/etc/ecluse/policies", "services, customers and suspension policies"),
    ("/etc/ecluse/secrets", "one secret a file, mode 0600"),
    ("/var/lib/ecluse", "the ledger and the stop file"),
    ("/run/ecluse", "the sockets of the enforcer"),
)


def page() -> str:
    """The whole page."""
    context = click.Context(ecluse, info_name="ecluse")
    lines = [
        f'.TH ECLUSE 1 "" "ecluse {__version__}" "ecluse"',
        ".SH NAME",
        "ecluse \\- " + text((ecluse.help or "").splitlines()[0]),
        ".SH SYNOPSIS",
        ".B ecluse",
        "[OPTIONS] COMMAND [ARGS]...",
        ".SH DESCRIPTION",
        *told(ecluse.help),
        ".SH OPTIONS",
        *options(ecluse, context),
        ".SH COMMANDS",
    ]
    for name, command in commands(ecluse, context, "ecluse"):
        lines += [".SS " + text(name), text(command.get_short_help_str(200)), ".PP", *told(command.help)]
        lines += [*options(command, click.Context(command, info_name=name)), *told(command.epilog)]
    lines += [".SH FILES"]
    for path, what in _FILES:
        lines += [".TP", ".I " + text(path), text(what)]
    lines += told(ecluse.epilog)
    return "\n".join(lines) + "\n"


def commands(group: click.Group, context: click.Context, path: str) -> list[tuple[str, click.Command]]:
    """Every command that can be typed, with what to type before its arguments; groups by their members."""
    found: list[tuple[str, click.Command]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        typed = f"{path} {name}"
        if isinstance(command, click.Group):
            found += commands(command, click.Context(command, parent=context, info_name=name), typed)
        else:
            usage = " ".join(command.collect_usage_pieces(click.Context(command, info_name=name)))
            found.append((f"{typed} {usage}".rstrip(), command))
    return found


def options(command: click.Command, context: click.Context) -> list[str]:
    """Each option with its help."""
    records = [record for each in command.get_params(context) if (record := each.get_help_record(context)) and record[1]]
    return [line for names, what in records for line in (".TP", ".B " + text(names), text(what))]


def told(words: str | None) -> list[str]:
    """Paragraphs. What stands behind click's mark for text as it is (a line with a backspace) stays so."""
    lines: list[str] = []
    for paragraph in (words or "").split("\n\n"):
        if paragraph.lstrip("\n").startswith("\b"):
            lines += [".PP", ".nf", *(text(line) for line in paragraph.lstrip("\n").splitlines()[1:]), ".fi"]
        else:
            lines += [".PP", text(" ".join(paragraph.split()))]
    return lines


def text(words: str) -> str:
    """One line of text that troff takes as it is."""
    safe = words.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + safe if safe.startswith((".", "'")) else safe


if __name__ == "__main__":
    sys.stdout.write(page())

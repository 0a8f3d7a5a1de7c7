"""Floor 4. Commands that look ahead: `simulate`, `forecast`, and the difference that a change of policies would make.

Rules of this room:

1. Nothing is touched. From files everything is computed here; without files the enforcer is asked.
2. Files are read as `ecluse import` and `ecluse check` read them: every problem at once, with file and line.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from agent import forecast as forecasting
from agent import policydiff, simulate
from agent.cli import outlook, show
from agent.cli.ask import Where, ask, asks, respond
from agent.cli.door import Command, Exit, examples, finish, speaks
from agent.cli.screen import Screen, dump
from agent.cli.screen import show as say
from agent.errors import ConfigError, EcluseError, Problem
from agent.event import Event, parse_instant
from agent.history import gather
from agent.intake import read_lines
from agent.inventory import check_directory
from agent.model import Mode
from agent.policy import MemoryInventory

#: Facts of a file count as received at this end of time: what comes later than --at is left out, not refused.
_FAR = datetime(2100, 12, 31, tzinfo=UTC)

#: How far `simulate` looks ahead for the one company it explains.
_AHEAD = timedelta(days=366)

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _at(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> datetime:
    try:
        return datetime.now(UTC) if value is None else parse_instant(value, field="--at")
    except EcluseError as error:
        raise click.BadParameter(str(error)) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Under:
    """How facts are walked: with standing approvals counted as given, under a limit of modes, by whose names of customers."""

    approved: bool = False
    ceiling: Mode = Mode.AUTO
    source: str | None = None


def _under(command: Command) -> Command:
    """Give a command `--approved`, `--ceiling` and `--source`; it gets them as `under`."""

    def add(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        name = str(parameter.name)
        before = ctx.params.get("under") or Under()
        ctx.params["under"] = replace(before, **{name: Mode(value) if name == "ceiling" else value})

    approved = click.option(
        "--approved",
        is_flag=True,
        expose_value=False,
        callback=add,
        help="Count a standing approval as given for every policy in mode auto.",
    )
    ceiling = click.option(
        "--ceiling",
        type=click.Choice([mode.value for mode in Mode]),
        default="auto",
        expose_value=False,
        callback=add,
        help="The host's limit; auto by default.",
    )
    source = click.option(
        "--source",
        metavar="NAME",
        expose_value=False,
        callback=add,
        help="The facts name customers as this billing source does; by default by our ids.",
    )
    return approved(ceiling(source(command)))


@click.command(
    "simulate",
    short_help="who would be suspended, when, why",
    epilog=examples(
        "ecluse simulate --policies policies --events facts.jsonl --at 2026-03-30T09:00+02:00 --approved",
        "ecluse simulate --policies policies --events facts.jsonl --at 2026-03-30T09:00+02:00 --company za",
    ),
)
@click.option("--policies", "directory", required=True, type=_DIRECTORY, metavar="DIR", help="Policies, services and customers.")
@click.option("--events", "file", required=True, type=_FILE, metavar="FILE", help="Facts, one per line, as for `ecluse import`.")
@click.option("--at", required=True, callback=_at, metavar="TIME", help="The instant to look at, such as 2026-03-30T09:00+02:00.")
@click.option("--company", metavar="COMPANY", help="Only this company, and every check about it.")
@_under
@speaks
def simulate_(
    screen: Screen,
    directory: Path,
    file: Path,
    at: datetime,
    company: str | None,
    under: Under,
) -> None:
    """Show who would be suspended from what, when and why, without touching anything.

    The decisions are those of the daemon, walked from the first fact to --at. What the gateway itself watches (billing feeds,
    clock, insolvency register, local applications) counts as good unless the file says otherwise, and approvals in the file are
    not accepted: say --approved to see what policies in mode auto would do by themselves.
    """
    inventory = MemoryInventory(check_directory(directory))
    _known(inventory, company)
    history = gather(_events(file, (inventory,), under.source), at)
    found = simulate.replay(history, inventory, at, ceiling=under.ceiling, approved=under.approved)
    data = simulate.plain(found, company)
    if company is not None:
        forecasting.tell(data["companies"], forecasting.forecast(found.walk, (company,), at, at + _AHEAD))
    if screen.as_json:
        dump({"exit": 0, "message": None, "data": data})
        return
    say(outlook.simulation(screen, data))
    for one in data["companies"] if company is not None else ():
        say(["", *show.explain(screen, one)])


@click.command(
    "forecast",
    short_help="who becomes suspendable when, and what is missing",
    epilog=examples(
        "ecluse forecast --days 30",
        "ecluse forecast --company za",
        "ecluse forecast --policies policies --events facts.jsonl --at 2026-03-20T12:00+01:00 --approved",
    ),
)
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How far to look.")
@click.option("--company", metavar="COMPANY", help="Only this company.")
@click.option("--policies", "directory", type=_DIRECTORY, metavar="DIR", help="From files: policies, services and customers.")
@click.option("--events", "file", type=_FILE, metavar="FILE", help="From files: facts, one per line, as for `ecluse import`.")
@click.option("--at", callback=_at, metavar="TIME", help="From files: where to begin; now by default.")
@_under
@speaks
@asks
def forecast_(
    screen: Screen,
    where: Where,
    days: int,
    company: str | None,
    directory: Path | None,
    file: Path | None,
    at: datetime,
    under: Under,
) -> None:
    """Show who becomes suspendable when, and what is still missing, if nothing new is said.

    Without files the enforcer is asked: as things stand at this gateway, with the approvals that were given there. With
    --policies and --events everything is computed here, and nobody is asked.
    """
    if (directory is None) != (file is None):
        raise click.UsageError("Give --policies and --events together, or neither to ask the enforcer.")
    if directory is None or file is None:
        respond(screen, ask(screen, where, "forecast", days=days, company=company), outlook.forecast)
        return
    inventory = MemoryInventory(check_directory(directory))
    _known(inventory, company)
    history = gather(_events(file, (inventory,), under.source), at)
    found = simulate.replay(history, inventory, at, ceiling=under.ceiling, approved=under.approved)
    companies = [name for name in found.companies if company in (None, name)]
    data = forecasting.plain(forecasting.forecast(found.walk, companies, at, at + timedelta(days=days)))
    if screen.as_json:
        dump({"exit": 0, "message": None, "data": data})
        return
    say(outlook.forecast(screen, data))


@click.command(
    "diff",
    short_help="what a change of policies would alter",
    epilog=examples(
        "ecluse policy diff /etc/ecluse/policies new-policies --events last-year.jsonl --approved",
        "ecluse policy diff old new --events facts.jsonl --at 2026-04-01T00:00+02:00 --json",
    ),
)
@click.argument("old", type=_DIRECTORY)
@click.argument("new", type=_DIRECTORY)
@click.option("--events", "file", required=True, type=_FILE, metavar="FILE", help="Facts, one per line, as for `ecluse import`.")
@click.option("--at", callback=_at, metavar="TIME", help="Up to when facts are walked; now by default.")
@_under
@speaks
def diff_(screen: Screen, old: Path, new: Path, file: Path, at: datetime, under: Under) -> None:
    """Show which decisions would be others under the policies in NEW than under those in OLD.

    The same facts are walked under both, as by `ecluse simulate`. The exit code is 0 when nothing differs and 3 when something
    does, so that a script can hold a change until somebody has looked.
    """
    before, after = MemoryInventory(check_directory(old)), MemoryInventory(check_directory(new))
    history = gather(_events(file, (before, after), under.source), at)
    first, second = (simulate.replay(history, each, at, ceiling=under.ceiling, approved=under.approved) for each in (before, after))
    found = policydiff.differences(first, second)
    data = policydiff.plain(found, first, second)
    code = Exit.REFUSED if found else Exit.DONE
    if screen.as_json:
        dump({"exit": int(code), "message": None, "data": data})
    else:
        say(outlook.differences(screen, data))
    finish(code)


def _known(inventory: MemoryInventory, company: str | None) -> None:
    if company is not None and inventory.company(company) is None:
        raise click.BadParameter(f"{company!r} is in none of the customers' files", param_hint="--company")


def _events(file: Path, inventories: Iterable[MemoryInventory], source: str | None) -> Iterator[Event]:
    """The facts of a file, about companies that at least one of the inventories knows.

    Raises:
        ConfigError: the file is not what it should be; every line.
    """

    def resolve(_source: str, customer: str) -> str | None:
        for inventory in inventories:
            found = inventory.by_billing_id(source, customer) if source is not None else customer
            if found is not None and inventory.company(found) is not None:
                return found
        return None

    return read_lines(_lines(file), simulate.SOURCE, resolve, _FAR, file=str(file))


def _lines(file: Path) -> Iterator[str]:
    with file.open("rb") as raw:
        for number, line in enumerate(raw, 1):
            try:
                yield line.decode()
            except UnicodeDecodeError:
                problem = Problem(file=str(file), line=number, what="not UTF-8", mend="Save the file as UTF-8.", code="NOT_UTF8")
                raise ConfigError((problem,)) from None

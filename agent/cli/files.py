"""Floor 4. Commands that only read files: `check` and `simulate`. No kernel, no ledger, no enforcer.

Rules of this room: every problem of every file at once; what is shown is what the daemon would load and decide.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from agent import simulate
from agent.cli import show
from agent.cli.door import examples, speaks
from agent.cli.screen import Screen, dump, good, safe, table, width
from agent.cli.words import heads
from agent.config import Config, load_config, load_sources, read_secrets
from agent.errors import ConfigError, EcluseError, Problem
from agent.event import parse_instant
from agent.intake import read_lines
from agent.inventory import check_directory
from agent.model import Mode
from agent.policy import Loaded, MemoryInventory
from agent.proof import prove
from agent.ruleset import structure

Value = TypeVar("Value")

#: Companies that a table names; more are counted.
_LISTED = 20

#: Facts of a file count as received at this end of time: what comes later than --at is left out, not refused.
_FAR = datetime(2100, 12, 31, tzinfo=UTC)

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    "check",
    short_help="validate policies, services, customers",
    epilog=examples("ecluse check policies/", "ecluse check --config /etc/ecluse/ecluse.yaml"),
)
@click.argument("directory", metavar="[DIR]", required=False, type=_DIRECTORY)
@click.option("--config", type=_FILE, metavar="FILE", help="Check this ecluse.yaml too, with the sources.yaml it names.")
@click.option("--secrets", is_flag=True, help="With --config: open the secret files, too; do it as the enforcer's user.")
@speaks
def check_(screen: Screen, directory: Path | None, config: Path | None, secrets: bool) -> None:
    """Check the policies, services and customers in DIR; by default those that --config names.

    Every problem is listed as `file:line: what. How to mend it.`, and the exit code is 2.
    """
    if directory is None and config is None:
        raise click.UsageError("Give a DIR, or --config.")
    problems: list[Problem] = []
    host = _collect(problems, lambda: load_config(config)) if config else None
    if host is not None:
        _check_sources(problems, host, secrets=secrets)
    place = directory or (host.policies if host else None)
    loaded = _collect(problems, lambda: check_directory(place)) if place is not None else None
    if problems or loaded is None:
        raise ConfigError(tuple(problems))
    inventory = MemoryInventory(loaded)
    prove(
        structure(inventory.services, inventory.shapes),
        inventory.protected_selectors(),
        inventory.local_networks(),
        inventory.services,
    )
    if screen.as_json:
        dump({"exit": 0, "message": None, "data": _plain(loaded)})
    else:
        _tell(screen, loaded)


def _check_sources(problems: list[Problem], host: Config, *, secrets: bool) -> None:
    sources = _collect(problems, lambda: load_sources(host.sources))
    for source in (sources or {}).values() if secrets else ():
        _collect(problems, partial(read_secrets, source))


def _collect(problems: list[Problem], load: Callable[[], Value]) -> Value | None:
    """What `load` gives, or None and its problems with the others."""
    try:
        return load()
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def _plain(loaded: Loaded) -> dict[str, Any]:
    return {
        "digest": loaded.digest,
        "services": [{"service": s.id, "class": s.class_.value, "selectors": len(s.selectors)} for s in loaded.services.values()],
        "policies": [
            {"policy": p.id, "profile": p.profile, "mode": p.mode.value, "digest": p.digest} for p in loaded.policies.values()
        ],
        "companies": len(loaded.companies),
        "attachments": sum(1 for company in loaded.companies.values() for _ in company.attachments()),
    }


def _tell(screen: Screen, loaded: Loaded) -> None:
    services = [
        [safe(s.id), s.class_.value, str(len(s.selectors)), safe(s.name_fr if screen.language == "fr" else s.name_en)]
        for s in loaded.services.values()
    ]
    policies = [[safe(p.id), p.profile, p.mode.value, p.digest[:12]] for p in loaded.policies.values()]
    companies = [
        [safe(c.id), safe(c.group), safe(c.policy), str(len(c.sites)), str(sum(1 for _ in c.attachments())), safe(c.name)]
        for c, _ in zip(loaded.companies.values(), range(_LISTED), strict=False)
    ]
    more = len(loaded.companies) - len(companies)
    counts = (len(loaded.services), len(loaded.policies), len(loaded.companies))
    show_lines = [
        *table(heads(screen, "services", "class", "selectors", "name"), services, width()),
        "",
        *table(heads(screen, "policy", "profile", "mode", "digest"), policies, width()),
        "",
        *table(heads(screen, "company", "group", "policy", "sites", "attachments", "name"), companies, width()),
        *([screen.words((f"... et {more} autres", f"... and {more} more"))] if more > 0 else []),
        "",
    ]
    for line in show_lines:
        click.echo(line)
    fr = f"{counts[0]} services, {counts[1]} politiques, {counts[2]} sociétés : valides, et aucun flux protégé n'est à portée"
    en = f"{counts[0]} services, {counts[1]} policies, {counts[2]} companies: valid, and nothing protected is within reach"
    click.echo(good(screen.words((fr, en))) + f"  ({loaded.digest[:12]})")


# --- simulate ---------------------------------------------------------------------------------------------------


def _at(_ctx: click.Context, _parameter: click.Parameter, value: str) -> datetime:
    try:
        return parse_instant(value, field="--at")
    except EcluseError as error:
        raise click.BadParameter(str(error)) from None


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
@click.option("--approved", is_flag=True, help="Count a standing approval as given for every policy in mode auto.")
@click.option(
    "--ceiling", type=click.Choice([mode.value for mode in Mode]), default="auto", help="The host's limit; auto by default."
)
@click.option("--source", metavar="NAME", help="The facts name customers as this billing source does; by default by our ids.")
@speaks
def simulate_(
    screen: Screen,
    directory: Path,
    file: Path,
    at: datetime,
    company: str | None,
    approved: bool,
    ceiling: str,
    source: str | None,
) -> None:
    """Show who would be suspended from what, when and why, without touching anything.

    The decisions are those of the daemon, walked from the first fact to --at. Billing feeds count as fresh, and approvals
    in the file are not accepted: say --approved to see what policies in mode auto would do by themselves.
    """
    inventory = MemoryInventory(check_directory(directory))
    if company is not None and inventory.company(company) is None:
        raise click.BadParameter(f"{company!r} is in none of the customers' files", param_hint="--company")

    def resolve(_source: str, customer: str) -> str | None:
        if source is not None:
            return inventory.by_billing_id(source, customer)
        return customer if inventory.company(customer) is not None else None

    events = read_lines(_lines(file), simulate.SOURCE, resolve, _FAR, file=str(file))
    found = simulate.simulate(events, inventory, at, ceiling=Mode(ceiling), approved=approved)
    data = simulate.plain(found)
    if company is not None:
        for part in ("moments", "companies"):
            data[part] = [one for one in data[part] if one["company"] == company]
    if screen.as_json:
        dump({"exit": 0, "message": None, "data": data})
        return
    for line in show.simulation(screen, data):
        click.echo(line)
    for one in data["companies"] if company is not None else ():
        click.echo("")
        for line in show.explain(screen, one):
            click.echo(line)


def _lines(file: Path) -> Iterable[str]:
    try:
        return file.read_bytes().decode().split("\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = Problem(file=str(file), line=line, what="not UTF-8", mend="Save the file as UTF-8.", code="NOT_UTF8")
        raise ConfigError((problem,)) from None

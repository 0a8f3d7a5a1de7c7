"""Floor 4. The command that only reads what a person wrote: `check`. No kernel, no ledger, no enforcer.

Rules of this room: every problem of every file at once; what is shown is what the daemon would load and decide.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from agent.cli.door import examples, speaks
from agent.cli.screen import Screen, dump, good, safe, table, width
from agent.cli.words import heads
from agent.config import Config, load_config, load_sources, read_secrets
from agent.errors import ConfigError, Problem
from agent.inforce import InForceRules
from agent.inventory import check_directory
from agent.policy import Loaded, MemoryInventory

Value = TypeVar("Value")

#: Companies that a table names; more are counted.
_LISTED = 20

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
    InForceRules.compile(MemoryInventory(loaded), datetime.now(UTC), tracked=True)  # the proof, as at a reload
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

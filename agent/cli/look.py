"""Floor 4. Commands that look: `status`, `explain`, `plan`.

Rules of this room: each asks the enforcer one question and changes nothing.
"""

import click

from agent.cli import show
from agent.cli.ask import Where, ask, asks, respond
from agent.cli.door import examples, speaks
from agent.cli.screen import Screen


@click.command(
    "status",
    short_help="the state of this gateway",
    epilog=examples("ecluse status", "ecluse status --json | jq '.data.measures[].company'"),
)
@speaks
@asks
def status_(screen: Screen, where: Where) -> None:
    """Show the state of this gateway: policies, kernel, ledger, who is suspended, who waits, what fails."""
    respond(screen, ask(screen, where, "status"), show.status)


@click.command(
    "explain", short_help="why a company is suspended or not", epilog=examples("ecluse explain za", "ecluse --lang fr explain za")
)
@click.argument("company")
@speaks
@asks
def explain_(screen: Screen, where: Where, company: str) -> None:
    """Say why COMPANY is suspended or not: every check with its reason, and the shortest way back."""
    respond(screen, ask(screen, where, "explain", company=company), show.explain)


@click.command("plan", short_help="what would change in the kernel", epilog=examples("ecluse plan"))
@speaks
@asks
def plan_(screen: Screen, where: Where) -> None:
    """Show what would change in the kernel now, like a diff: + refuse, - restore, ~ renew."""
    respond(screen, ask(screen, where, "plan"), show.plan)

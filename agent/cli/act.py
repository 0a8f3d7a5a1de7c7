"""Floor 4. Commands by which a person acts: approve, suspend through the gate, restore at once, pause.

Rules of this room:

1. Every act carries a reason, which goes into the ledger with the person's name.
2. Nothing here can suspend what the gate does not let pass: the enforcer judges, and answers 3 with the checks.
3. Restoring is never made harder than one command; when nobody answers, root restores without the enforcer (`alone`).
"""

from datetime import date, datetime, time, timedelta

import click

from agent.cli.ask import EMERGENCY_TIMEOUT, Answer, Where, ask, asks, confirmed, in_an_emergency, respond
from agent.cli.door import Command, examples, speaks
from agent.cli.screen import Screen
from agent.errors import EventError
from agent.event import instant, parse_instant

YES = click.option("--yes", is_flag=True, help="Do not ask for a confirmation.")


def reasoned(command: Command) -> Command:
    """Give a command a required `--reason`."""
    return click.option("--reason", required=True, metavar="TEXT", help="Why; it goes into the ledger with your name.")(command)


def moment(text: str) -> str:
    """A date or an instant that a person typed -> an instant for the ledger. A date means until the end of that day, here.

    Raises:
        click.BadParameter: neither.
    """
    try:
        if len(text) == 10:
            day = date.fromisoformat(text) + timedelta(days=1)
            return instant(datetime.combine(day, time(0)).astimezone())
        return instant(parse_instant(text, field="until"))
    except (ValueError, OverflowError, EventError):
        raise click.BadParameter(f"{text!r} is no date; write 2026-12-31 or 2026-12-31T12:00:00+01:00") from None


def dated(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """A callback for options that take a date."""
    return None if value is None else moment(value)


@click.command(
    "approve",
    short_help="approve a case, or a policy until a date",
    epilog=examples(
        'ecluse approve za:MED-ZA --reason "checked with accounts, 30 March"',
        'ecluse approve --policy fr-b2b-auto --until 2026-12-31 --reason "board decision 12"',
    ),
)
@click.argument("case", required=False)
@click.option("--policy", metavar="POLICY", help="A standing approval: this policy may act by itself, in its present version.")
@click.option("--until", callback=dated, metavar="DATE", help="When the approval ends; required with --policy.")
@reasoned
@speaks
@asks
def approve_(screen: Screen, where: Where, case: str | None, policy: str | None, until: str | None, reason: str) -> None:
    """Approve CASE, or with --policy everything a policy decides until a date.

    You approve as the user you are logged in as; two approvals must be two persons.
    """
    if (case is None) == (policy is None):
        raise click.UsageError("Give a CASE, or --policy: one of the two.")
    if policy is not None and until is None:
        raise click.UsageError("A standing approval is dated: give --until.")
    if case is not None:
        respond(screen, ask(screen, where, "approve", case=case, reason=reason, expires_at=until))
    respond(screen, ask(screen, where, "approve_policy", policy=policy, reason=reason, expires_at=until))


@click.command(
    "revoke",
    short_help="take approvals back",
    epilog=examples(
        'ecluse revoke za:MED-ZA --reason "the customer called"',
        'ecluse revoke za:MED-ZA --check G-05 --reason "decided anew"',
        'ecluse revoke --policy fr-b2b-auto --reason "holidays"',
    ),
)
@click.argument("case", required=False)
@click.option("--policy", metavar="POLICY", help="Revoke the standing approvals of this policy.")
@click.option("--check", metavar="CHECK", help="Revoke the overrides of this check of CASE, and leave its approvals.")
@reasoned
@speaks
@asks
def revoke_(screen: Screen, where: Where, case: str | None, policy: str | None, check: str | None, reason: str) -> None:
    """Revoke the approvals of CASE, with --check the overrides of one check of it, or the standing approvals of a policy."""
    if (case is None) == (policy is None):
        raise click.UsageError("Give a CASE, or --policy: one of the two.")
    if check is not None and case is None:
        raise click.UsageError("--check is of a CASE.")
    if check is not None:
        respond(screen, ask(screen, where, "revoke", case=case, check=check, reason=reason))
    if case is not None:
        respond(screen, ask(screen, where, "revoke", case=case, reason=reason))
    respond(screen, ask(screen, where, "revoke_policy", policy=policy, reason=reason))


@click.command(
    "suspend", short_help="suspend now, through the gate", epilog=examples('ecluse suspend za --reason "decision of 30 March"')
)
@click.argument("company")
@reasoned
@speaks
@asks
def suspend_(screen: Screen, where: Where, company: str, reason: str) -> None:
    """Ask for the suspension of COMPANY now, through the same gate as always.

    If a check does not pass, nothing is done: the answer names it, and the exit code is 3.
    """
    respond(screen, ask(screen, where, "suspend", company=company, reason=reason))


@click.command(
    "restore",
    short_help="restore at once, always",
    epilog=examples('ecluse restore za --reason "paid at the counter"', 'ecluse restore --all --reason "billing data is wrong"'),
)
@click.argument("company", required=False)
@click.option("--all", "everyone", is_flag=True, help="Restore everybody; nothing is suspended until `ecluse resume`.")
@YES
@reasoned
@speaks
@asks
def restore_(screen: Screen, where: Where, company: str | None, everyone: bool, yes: bool, reason: str) -> None:
    """Restore COMPANY, or everybody with --all: at once, at any hour, without any condition."""
    if (company is None) != everyone:
        raise click.UsageError("Give a COMPANY, or --all: one of the two.")
    if everyone:
        confirmed(screen, ("Rétablir tous les clients ?", "Restore every customer?"), yes=yes)

    def question() -> Answer:
        return ask(screen, where, "restore", timeout=EMERGENCY_TIMEOUT, company=company, all=everyone, reason=reason)

    respond(screen, in_an_emergency(screen, question, lambda: _alone(screen, where, reason, company)))


@click.command(
    "pause", short_help="stop new suspensions", epilog=examples('ecluse pause --reason "migration of the billing system"')
)
@click.option("--restore", is_flag=True, help="Restore everything that is suspended, too.")
@reasoned
@speaks
@asks
def pause_(screen: Screen, where: Where, restore: bool, reason: str) -> None:
    """Stop every new suspension until `ecluse resume`; with --restore, restore everything too."""
    if not restore:
        respond(screen, ask(screen, where, "pause", restore=False, reason=reason))

    def question() -> Answer:
        return ask(screen, where, "pause", timeout=EMERGENCY_TIMEOUT, restore=True, reason=reason)

    respond(screen, in_an_emergency(screen, question, lambda: _alone(screen, where, reason)))


@click.command(
    "resume", short_help="make suspensions possible again", epilog=examples('ecluse resume --reason "migration done and checked"')
)
@reasoned
@speaks
@asks
def resume_(screen: Screen, where: Where, reason: str) -> None:
    """Make suspensions possible again after `pause`, `restore --all` or `clear`."""
    respond(screen, ask(screen, where, "resume", reason=reason))


@click.command(
    "clear",
    short_help="take our table out of the kernel",
    epilog=examples('ecluse clear --reason "moving the customers to another gateway"'),
)
@YES
@reasoned
@speaks
@asks
def clear_(screen: Screen, where: Where, yes: bool, reason: str) -> None:
    """Take our table out of the kernel, and keep it out until `ecluse resume`. Touches no other table."""
    words = (
        "Retirer du noyau la table inet ecluse, et donc rétablir tous les clients ?",
        "Take the table inet ecluse out of the kernel, and so restore every customer?",
    )
    confirmed(screen, words, yes=yes)

    def question() -> Answer:
        return ask(screen, where, "clear", timeout=EMERGENCY_TIMEOUT, reason=reason)

    respond(screen, in_an_emergency(screen, question, lambda: _alone(screen, where, reason)))


def _alone(screen: Screen, where: Where, reason: str, company: str | None = None) -> Answer | None:
    from agent.cli.alone import restore_alone  # noqa: PLC0415 - what is loaded in an emergency only can not delay a usual restore

    return restore_alone(screen, where, reason, company)

"""Floor 4. Commands by which a person decides about a case or the gateway: override, waive, review, lift, void, release.

Rules of this room: as in `act`. Who may decide what, the enforcer says (exit code 3).
"""

import click

from agent.cli.act import YES, dated, reasoned
from agent.cli.ask import Where, ask, asks, confirmed, in_an_emergency, respond
from agent.cli.door import examples, speaks
from agent.cli.screen import Screen


@click.command(
    "override",
    short_help="let one check of a case pass, until a date",
    epilog=examples('ecluse override za:MED-ZA G-26 --until 2026-04-30 --reason "told by telephone, call 4711"'),
)
@click.argument("case")
@click.argument("check")
@click.option("--until", required=True, callback=dated, metavar="DATE", help="When the override ends.")
@reasoned
@speaks
@asks
def override_(screen: Screen, where: Where, case: str, check: str, until: str, reason: str) -> None:
    """Let CHECK (G-04) of CASE pass down to its floor. Some checks take two persons, most nobody may override."""
    respond(screen, ask(screen, where, "override", case=case, check=check, expires_at=until, reason=reason))


@click.command(
    "waive",
    short_help="say why gentler stages were not tried",
    epilog=examples('ecluse waive za:MED-ZA 2 --reason "restricted hours can not be set for these services"'),
)
@click.argument("case")
@click.argument("stages", metavar="STAGE...", nargs=-1, required=True, type=click.IntRange(1, 3))
@reasoned
@speaks
@asks
def waive_(screen: Screen, where: Where, case: str, stages: tuple[int, ...], reason: str) -> None:
    """Say why gentler STAGEs (1 notice, 2 restricted, 3 annex services: legal role only) were not tried in CASE."""
    respond(screen, ask(screen, where, "waive", case=case, stages=list(stages), reason=reason))


@click.command(
    "review",
    short_help="say that a change of scope was looked at",
    epilog=examples('ecluse review za CHG-2026-04 --reason "price list 2026, accepted by the customer on 2 March"'),
)
@click.argument("company")
@click.argument("change")
@reasoned
@speaks
@asks
def review_(screen: Screen, where: Where, company: str, change: str, reason: str) -> None:
    """Say that CHANGE of price or scope at COMPANY was looked at and stands in nobody's way."""
    respond(screen, ask(screen, where, "review", company=company, change=change, reason=reason))


@click.command(
    "lift",
    short_help="state that a court order ended",
    epilog=examples('ecluse lift za TC-2026-118 --document "arrêt CA Paris 26/01234" --reason "order reversed on appeal"'),
)
@click.argument("company")
@click.argument("decision", metavar="COURT-ORDER")
@click.option("--document", required=True, metavar="TEXT", help="What shows it: reference or SHA-256 of the document.")
@reasoned
@speaks
@asks
def lift_(screen: Screen, where: Where, company: str, decision: str, document: str, reason: str) -> None:
    """State that COURT-ORDER about COMPANY ended. It counts when two persons of the legal role have said so."""
    respond(screen, ask(screen, where, "lift", company=company, decision=decision, document=document, reason=reason))


@click.command(
    "void",
    short_help="a case was an error: restore, and stop what is new",
    epilog=examples('ecluse void za:MED-ZA --cause wrong-customer --reason "the invoice belongs to zb"'),
)
@click.argument("case")
@click.option("--cause", required=True, metavar="TEXT", help="What kind of error, such as wrong-customer.")
@YES
@reasoned
@speaks
@asks
def void_(screen: Screen, where: Where, case: str, cause: str, yes: bool, reason: str) -> None:
    """Void CASE as an error: restored at once and closed for good. Opens the breaker: nothing new is suspended until `release`."""
    words = (
        f"Annuler {case} pour erreur, et retenir toute nouvelle suspension ?",
        f"Void {case} as an error, and hold every new suspension?",
    )
    confirmed(screen, words, yes=yes)
    respond(screen, in_an_emergency(screen, lambda: ask(screen, where, "void", case=case, cause=cause, reason=reason)))


@click.command(
    "release",
    short_help="close the breaker again",
    epilog=examples('ecluse release --reason "the feed was down for maintenance; all 340 invoices are back"'),
)
@reasoned
@speaks
@asks
def release_(screen: Screen, where: Where, reason: str) -> None:
    """Release the breaker, once you know why it opened (`ecluse status`). Takes the role approver or legal."""
    respond(screen, ask(screen, where, "release", reason=reason))

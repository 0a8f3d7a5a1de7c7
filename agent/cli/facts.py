"""Floor 4. Commands that bring in facts: `record`, `import`, and `reload` for what is in files.

Rules of this room:

1. A fact is checked here as far as this machine can, so that a typing error is told at once; the enforcer checks it again.
2. A proof file stays where it is: its path and its SHA-256 go into the ledger.
3. A fact that could lead to a suspension is not taken without its proof; one that only helps the customer needs none.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent.case import favourable
from agent.cli.ask import Where, ask, asks, respond
from agent.cli.door import examples, speaks
from agent.cli.screen import Screen
from agent.errors import EventError
from agent.event import ABOUT_HOST, TYPES, Origin, instant, load_json, parse_body, parse_instant

#: As much as the enforcer takes in one question.
MAX_IMPORT = 64 * 2**20

_RECORDED = sorted(name for name, spec in TYPES.items() if spec.origin is Origin.BILLING and ABOUT_HOST.get(name, True))
_IMPORT_SECONDS = 300.0
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def field_of(text: str) -> tuple[str, Any]:
    """One `name=text` or `name:=json` of the command line.

    Raises:
        EventError: neither.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.rstrip(":"):
        raise EventError(field=text[:60] or "--field", what="not a field", mend="write name=text or name:=json")
    return (name[:-1], load_json(value)) if name.endswith(":") else (name, value)


def body_of(type_: str, fields: tuple[str, ...], raw: bytes | None) -> Mapping[str, Any]:
    """The body of a fact from the command line: a JSON object, then single fields over it.

    Raises:
        EventError: with the field that is wrong.
    """
    given = {} if raw is None else load_json(raw)
    if not isinstance(given, dict):
        raise EventError(field="--json-body", what="not a JSON object")
    for text in fields:
        name, value = field_of(text)
        given[name] = value
    return parse_body(type_, given)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@click.command(
    "record",
    short_help="record a fact with its proof",
    epilog=examples(
        "ecluse record notice.delivered --company za --field notice=MED-ZA --at 2026-03-11T09:30:00+01:00 --proof AR-MED-ZA.pdf",
        "ecluse record payment.received --company za --field payment=CHQ-77 --field amount=4800.00 --field currency=EUR",
        'ecluse record hold.set --company za --field hold=H-1 --field kind=safety --field reason="lift alarm"',
    ),
)
@click.argument("type_", metavar="TYPE", type=click.Choice(_RECORDED))
@click.option("--company", required=True, metavar="COMPANY", help="Whom the fact is about.")
@click.option(
    "--field", "fields", multiple=True, metavar="NAME=TEXT", help="A field of the fact; NAME:=JSON for lists and numbers."
)
@click.option("--json-body", type=_FILE, metavar="FILE", help="All fields as a JSON object.")
@click.option("--at", "occurred_at", metavar="TIME", help="When it happened, such as 2026-03-11T09:30:00+01:00; now by default.")
@click.option("--proof", type=_FILE, metavar="FILE", help="The document that proves it; stays where it is, its hash is recorded.")
@speaks
@asks
def record_(
    screen: Screen,
    where: Where,
    type_: str,
    company: str,
    fields: tuple[str, ...],
    json_body: Path | None,
    occurred_at: str | None,
    proof: Path | None,
) -> None:
    """Record a fact by hand, with its proof file: a delivered letter, a payment at the counter, a hold.

    TYPE and its fields are described in docs/EVENTS.md. A fact that could lead to a suspension needs its --proof.
    """
    body = body_of(type_, fields, json_body.read_bytes() if json_body else None)
    if proof is None and not favourable(type_):
        raise click.UsageError(f"{type_} could lead to a suspension: give the document that proves it with --proof.")
    answer = ask(
        screen,
        where,
        "record",
        type=type_,
        company=company,
        body=body,
        occurred_at=instant(parse_instant(occurred_at, field="--at")) if occurred_at else None,
        proof=str(proof.resolve()) if proof else None,
        proof_sha256=sha256_of(proof) if proof else None,
    )
    respond(screen, answer)


@click.command("import", short_help="facts from before the first day", epilog=examples("ecluse import open-invoices.jsonl"))
@click.argument("file", type=_FILE)
@speaks
@asks
def import_(screen: Screen, where: Where, file: Path) -> None:
    """Import FILE: facts from before the first day, one per line (JSON Lines; docs/EVENTS.md).

    Nothing is taken while a line is wrong, and every line that is wrong is listed. Importing twice is harmless.
    """
    if file.stat().st_size > MAX_IMPORT:
        mend = "split it between customers: what is said of one belongs in one part"
        raise EventError(field=str(file), what=f"larger than {MAX_IMPORT // 2**20} MiB", mend=mend)
    answer = ask(screen, where, "import", raw=file.read_bytes(), timeout=_IMPORT_SECONDS, file=str(file))
    respond(screen, answer)


@click.command(
    "reload", short_help="read policies and sources again", epilog=examples("ecluse check /etc/ecluse/policies && ecluse reload")
)
@speaks
@asks
def reload_(screen: Screen, where: Where) -> None:
    """Read policies and sources again. What fails never replaces what works; exit code 2 with every problem."""
    respond(screen, ask(screen, where, "reload", timeout=_IMPORT_SECONDS))

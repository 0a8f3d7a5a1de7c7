"""Floor 4. `ecluse log`: the ledger in words, and the proof that nobody changed it.

Rules of this room: read-only, row by row, so that a ledger of any size is told from its first line on.
"""

import json
import re
from pathlib import Path
from typing import Any

import click

from agent.cli.ask import DEFAULT_CONFIG, configured
from agent.cli.door import Exit, examples, finish, speaks
from agent.cli.screen import Screen, bad, dump, faint, good, progress, safe
from agent.cli.story import tell
from agent.errors import LedgerCorrupt
from agent.event import instant
from agent.ledger import Row
from agent.ledger.chain import ranges
from agent.ledger.sqlite import Ledger

_USUAL = Path("/var/lib/ecluse/ledger.db")
_ANCHOR = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


def _anchor(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, bytes] | None:
    match = _ANCHOR.fullmatch(value or "")
    if value is not None and match is None:
        raise click.BadParameter("write it as `ecluse log --verify` prints it: ROW:HASH")
    return None if match is None else (int(match[1]), bytes.fromhex(match[2]))


@click.command(
    "log",
    short_help="the ledger in words; --verify proves it",
    epilog=examples("ecluse log za", "ecluse log --verify", "ecluse log --json --after 1200 | jq .type"),
)
@click.argument("company", required=False)
@click.option("--after", "seq", type=click.IntRange(min=0), default=0, metavar="SEQ", help="Only rows after this number.")
@click.option("--verify", is_flag=True, help="Compute the chain of hashes again, and name the first bad row.")
@click.option("--anchor", callback=_anchor, metavar="ROW:HASH", help="With --verify: a head that you kept elsewhere.")
@click.option("--ledger", "file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Read this ledger.")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ECLUSE_CONFIG",
    metavar="FILE",
    help=f"The host's configuration; {DEFAULT_CONFIG} by default.",
)
@speaks
def log_(
    screen: Screen,
    company: str | None,
    seq: int,
    verify: bool,
    anchor: tuple[int, bytes] | None,
    file: Path | None,
    config: Path | None,
) -> None:
    """Tell the ledger in words, all of it or about COMPANY; or verify it.

    --json gives one JSON object per row. A COMPANY of `-` is the host itself.
    """
    if verify and (company or seq):
        raise click.UsageError("--verify looks at the whole ledger: leave COMPANY and --after out.")
    if anchor and not verify:
        raise click.UsageError("--anchor is for --verify.")
    with Ledger.open(file or ledger_file(config), read_only=True) as ledger:
        if verify:
            _verify(screen, ledger, anchor)
            return
        for row in ledger.events(company, after=seq):
            if screen.as_json:
                click.echo(json.dumps(_plain(row), ensure_ascii=False))
            else:
                click.echo(_line(screen, row))


def ledger_file(config: Path | None) -> Path:
    """The ledger of the configured host; without a configuration, where it usually is."""
    if config is None and not DEFAULT_CONFIG.exists():
        return _USUAL
    return configured(config).state_dir / "ledger.db"


def _verify(screen: Screen, ledger: Ledger, anchor: tuple[int, bytes] | None) -> None:
    label = screen.words(("vérification", "verifying"))
    try:
        rows = ledger.verify(progress(label), anchor=anchor)
    except LedgerCorrupt as error:
        fr, en = f"la ligne {error.seq} ne se vérifie pas", f"row {error.seq} does not verify"
        if screen.as_json:
            dump({"exit": 1, "message": {"fr": fr, "en": en}, "data": {"first_bad_row": error.seq, "what": str(error)}})
        else:
            click.echo(f"{bad(screen.words((fr, en)))} : {safe(error)}", err=True)
        finish(Exit.FAILED)
    # The head may have moved on meanwhile: what is named is a row that was verified.
    head = next((row.hash.hex() for row in ledger.events(after=rows - 1)), "") if rows else ""
    fr, en = f"{rows} lignes vérifiées, tête {rows}:{head}", f"{rows} rows verify, head {rows}:{head}"
    if gone := ranges(ledger.erased()):
        fr, en = f"{fr} ; lignes effacées : {gone}", f"{en}; erased rows: {gone}"
    if screen.as_json:
        dump({"exit": 0, "message": {"fr": fr, "en": en}, "data": {"rows": rows, "head": head, "erased": gone}})
    else:
        click.echo(good(screen.words((fr, en))))


def _line(screen: Screen, row: Row) -> str:
    event = row.event
    at = screen.moment(instant(event.occurred_at))
    said = screen.words(("{} : effacé", "{}: erased")).format(safe(event.type)) if row.erased else tell(event, screen)
    return f"{row.seq:>6}  {at:<24}  {safe(event.subject):<12}  {said}  {faint(safe(event.source))}"


def _plain(row: Row) -> dict[str, Any]:
    event = row.event
    return {
        "seq": row.seq,
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "occurred_at": instant(event.occurred_at),
        "received_at": instant(event.received_at),
        "source": event.source,
        "body": None if row.erased else event.body,
        "hash": row.hash.hex(),
    }

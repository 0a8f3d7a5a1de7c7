"""Floor 4. Care of the ledger: a backup while it runs, a backup put back, old bodies erased.

Rules of this room:

1. A backup needs nobody's leave and never disturbs: it reads the file itself. Erasing is done by the enforcer, which owns it.
2. A backup that is put back may lack payments. Then everything is restored and stays so until a person has compared with the
   billing systems and says `ecluse resume`.
"""

from datetime import UTC, datetime
from pathlib import Path

import click

from agent import stopfile
from agent.cli.act import YES, dated, reasoned
from agent.cli.ask import DEFAULT_CONFIG, Where, ask, asks, confirmed, respond
from agent.cli.door import Command, examples, speaks
from agent.cli.journal import ledger_file
from agent.cli.screen import Screen, dump, good, open_point, progress
from agent.ledger.copies import backup, put_back

#: Every company is looked at.
_ERASING_SECONDS = 3600.0

_CONFIG = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ECLUSE_CONFIG",
    metavar="FILE",
    help=f"The host's configuration; {DEFAULT_CONFIG} by default.",
)


def _located(command: Command) -> Command:
    """Give a command `--ledger` and `--config`."""
    ledger = click.option(
        "--ledger", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="This ledger, not the configured one."
    )
    return ledger(_CONFIG(command))


@click.command(
    "backup",
    short_help="copy the ledger to a file, while it runs",
    epilog=examples("ecluse backup /var/backups/ecluse-2026-11-25.db"),
)
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@_located
@speaks
def backup_(screen: Screen, target: Path, ledger: Path | None, config: Path | None) -> None:
    """Copy the ledger to FILE, verify the copy row by row, and have it on the disk. The enforcer goes on meanwhile.

    What is printed as head proves later that nothing was rewritten: keep it elsewhere.
    """
    done = backup(ledger or ledger_file(config), target, progress(screen.words(("vérification", "verifying"))))
    fr = f"{done.rows} lignes copiées et vérifiées ({done.size} octets), tête {done.rows}:{done.head}"
    en = f"{done.rows} rows copied and verified ({done.size} bytes), head {done.rows}:{done.head}"
    data = {"file": str(target), "rows": done.rows, "head": done.head, "bytes": done.size, "erased": done.erased}
    _tell(screen, (fr, en), data)


@click.command(
    "restore-ledger",
    short_help="put a backup in the ledger's place; the enforcer is stopped",
    epilog=examples("ecluse restore-ledger /var/backups/ecluse-2026-11-25.db"),
)
@click.argument("copy", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Also where the present ledger has more, is another one or can not be read.")
@_located
@speaks
def restore_ledger_(screen: Screen, copy: Path, ledger: Path | None, config: Path | None, *, force: bool) -> None:
    """Verify FILE and make it the ledger; the former one is kept beside it. Only while no enforcer runs.

    Where the backup may lack facts, nobody stays suspended: everything is restored until you have compared with the billing
    systems and say `ecluse resume`.
    """
    place = ledger or ledger_file(config)
    now = datetime.now(UTC)

    def stop(lost: str) -> None:
        reason = f"ledger put back from a backup; {lost}. Compare with the billing systems, then `ecluse resume`."
        path = place.with_name("stop.json")
        before = stopfile.read(path)
        pause = stopfile.Pause(by="ecluse restore-ledger", at=now, reason=reason, restore=True)
        stopfile.write(path, stopfile.Stop(all=pause, companies=before.companies))

    done = put_back(copy, place, force=force, now=now, stop=stop, progress=progress(screen.words(("vérification", "verifying"))))
    fr = f"{done.copied.rows} lignes en place, tête {done.copied.rows}:{done.copied.head}"
    en = f"{done.copied.rows} rows in place, head {done.copied.rows}:{done.copied.head}"
    if done.aside is not None:
        fr, en = f"{fr} ; l'ancien registre : {done.aside}", f"{en}; the former ledger: {done.aside}"
    data = {"rows": done.copied.rows, "head": done.copied.head, "aside": str(done.aside or ""), "lost": done.lost}
    _tell(screen, (fr, en), data)
    if done.lost and not screen.as_json:
        said = (
            "des faits peuvent manquer : tout reste rétabli jusqu'à `ecluse resume`",
            f"facts may be missing ({done.lost}): everything stays restored until `ecluse resume`",
        )
        click.echo(open_point(screen.words(said)), err=True)


@click.command(
    "erase",
    short_help="erase old bodies from the ledger for good",
    epilog=examples('ecluse erase --before 2021-01-01 --reason "kept five years"'),
)
@click.argument("company", required=False)
@click.option("--before", required=True, callback=dated, metavar="DATE", help="Received by that day, a year ago at least.")
@reasoned
@YES
@speaks
@asks
def erase_(screen: Screen, where: Where, company: str | None, before: str, reason: str, *, yes: bool) -> None:
    """Erase the bodies of old facts, of COMPANY or of everybody, where nothing that is open rests on them.

    Their hashes stay, so that `ecluse log --verify` still proves the rest and names what was erased. There is no way back.
    """
    confirmed(screen, ("Effacer définitivement ?", "Erase for good?"), yes=yes)
    respond(screen, ask(screen, where, "erase", timeout=_ERASING_SECONDS, company=company, before=before, reason=reason))


def _tell(screen: Screen, said: tuple[str, str], data: dict[str, object]) -> None:
    if screen.as_json:
        dump({"exit": 0, "message": {"fr": said[0], "en": said[1]}, "data": data})
    else:
        click.echo(good(screen.words(said)))

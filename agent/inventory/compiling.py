"""Floor 2. From a directory of files to one inventory file, in this process or in a child.

Rules of this room:

1. The temporary file needs no journal: until its rename nobody knows it, and a crash leaves only a stray file.
2. The same bytes are compiled once; the name says which bytes, the form inside says which program.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from agent.errors import ConfigError, Problem
from agent.inventory.files import Files, scan
from agent.inventory.store import FORM, connect
from agent.model import Company, Ends, Shape
from agent.policy import Catalogue, Code, company_ends, company_shapes, fingerprint, read, rows
from agent.ruleset import standing_keys

#: Inventories left in the cache besides the one in force.
_KEEP_FILES: Final = 5
_IN_FORCE: Final = "inventory-in-force"
#: No compile takes this long.
_STRAY_SECONDS: Final = 3600

_TABLES: Final = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE services(id TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE policies(id TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE companies(id TEXT PRIMARY KEY, prefixes INTEGER NOT NULL, row TEXT NOT NULL);
CREATE TABLE billing_ids(source TEXT, customer TEXT, company TEXT NOT NULL, PRIMARY KEY(source, customer)) WITHOUT ROWID;
CREATE TABLE standing_keys(
    company TEXT, service TEXT, set_name TEXT, key BLOB, PRIMARY KEY(company, service, set_name, key)
) WITHOUT ROWID;
CREATE TABLE links(name TEXT, company TEXT, vrf INTEGER, PRIMARY KEY(name, company, vrf)) WITHOUT ROWID;
CREATE TABLE shapes(service TEXT, family INTEGER, prefixlen INTEGER, interface INTEGER, dedicated INTEGER);
CREATE TABLE ends(family INTEGER, prefixlen INTEGER, interface INTEGER, other INTEGER, other_interface INTEGER);
CREATE TABLE networks(site TEXT, family INTEGER, first BLOB, prefixlen INTEGER);
"""


def compile_directory(directory: Path, cache: Path) -> Path:
    """Compile a directory into one inventory file, or find the one that was compiled from the same bytes.

    Args:
        directory: holds `*.yaml`, `*.yml` and `*.jsonl`.
        cache: where inventories are kept; made if it is missing.

    Returns:
        The path of `inventory-<digest>.db`.

    Raises:
        ConfigError: with every problem of the files.
        OSError, sqlite3.Error: the cache can not be written.
    """
    files = scan(directory)
    digest = fingerprint(files.hashes)
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = cache / f"inventory-{digest}.db"
    if _is_ours(target, digest):
        os.utime(target)  # the newest are kept
        return target
    descriptor, name = tempfile.mkstemp(prefix="compile-", suffix=".tmp", dir=cache)
    os.close(descriptor)
    temporary = Path(name)
    try:
        _write(temporary, files, digest)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(cache)
    _forget_old(cache)
    return target


def _write(path: Path, files: Files, digest: str) -> None:
    # No journal: until the rename nobody knows this file, and a crash leaves only a temporary one behind.
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("PRAGMA synchronous=OFF")
        database.executescript(_TABLES)
        database.execute("BEGIN")
        shapes: set[Shape] = set()
        ends: set[Ends] = set()

        def keep(catalogue: Catalogue, company: Company) -> None:
            shapes.update(company_shapes(company, catalogue.services))
            ends.update(company_ends(company, catalogue.services, catalogue.policies))
            _write_company(database, company, catalogue)

        catalogue = read(files.documents, files.streams(), keep, problems=files.problems)
        for table, values in (("services", catalogue.services), ("policies", catalogue.policies)):
            pairs = [(name, rows.write(each)) for name, each in values.items()]
            database.executemany(f"INSERT INTO {table} VALUES(?, ?)", pairs)
        database.executemany(
            "INSERT INTO shapes VALUES(?, ?, ?, ?, ?)",
            [(each.service, each.family, each.prefixlen, each.interface, each.dedicated) for each in shapes],
        )
        database.executemany(
            "INSERT INTO ends VALUES(?, ?, ?, ?, ?)", [(family, length, named, *other) for family, length, named, other in ends]
        )
        database.executemany("INSERT INTO meta VALUES(?, ?)", [("form", FORM), ("digest", digest)])
        database.execute("COMMIT")
    _sync(path)


def _write_company(database: sqlite3.Connection, company: Company, catalogue: Catalogue) -> None:
    database.execute("INSERT INTO companies VALUES(?, ?, ?)", (company.id, company.prefix_count(), rows.write(company)))
    database.executemany(
        "INSERT INTO billing_ids VALUES(?, ?, ?)",
        [(source, customer, company.id) for source, customer in company.billing_ids.items()],
    )
    database.executemany(
        "INSERT INTO standing_keys VALUES(?, ?, ?, ?)",
        [(company.id, *each) for each in standing_keys(company, catalogue.services)],
    )
    behind = {(each.link, company.id, each.vrf is not None) for _, each in company.attachments() if each.link}
    database.executemany("INSERT INTO links VALUES(?, ?, ?)", sorted(behind, key=str))
    database.executemany(
        "INSERT INTO networks VALUES(?, ?, ?, ?)",
        [
            (f"{company.id}/{site.id}", each.prefix.version, each.prefix.network_address.packed, each.prefix.prefixlen)
            for site, each in company.attachments()
            if each.prefix is not None
        ],
    )


def _is_ours(path: Path, digest: str) -> bool:
    """True if `path` is a whole inventory of this form and digest."""
    try:
        with contextlib.closing(connect(path)) as database:
            meta = dict(database.execute("SELECT name, value FROM meta"))
    except sqlite3.Error:
        return False
    return meta == {"form": FORM, "digest": digest}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _forget_old(cache: Path) -> None:
    """Remove all but the newest inventories, and what a killed compile left. An open one stays readable to its holder."""
    for stray in cache.glob("compile-*.tmp"):
        if stray.stat().st_mtime < time.time() - _STRAY_SECONDS:
            stray.unlink(missing_ok=True)
    by_age = sorted(cache.glob("inventory-*.db"), key=lambda path: path.stat().st_mtime, reverse=True)
    in_force = last_in_force(cache)
    for path in by_age[_KEEP_FILES:]:
        if path != in_force:
            path.unlink(missing_ok=True)


def keep_in_force(path: Path) -> None:
    """Remember which inventory is in force, so that a restart can fall back to it when the files do not compile then.

    Args:
        path: as `compile_directory` gave it.
    """
    link = path.with_name(_IN_FORCE)
    new = link.with_name(f".{_IN_FORCE}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(path.name)
    new.rename(link)
    _sync(path.parent)


def last_in_force(cache: Path) -> Path | None:
    """The inventory that was in force last, if it is still there."""
    link = cache / _IN_FORCE
    path = cache / link.readlink() if link.is_symlink() else link
    return path if path.is_file() else None


async def compile_in_child(directory: Path, cache: Path, *, seconds: float = 300) -> Path:
    """`compile_directory` in a process of its own, with less priority and bounded memory.

    Args:
        directory: as for `compile_directory`.
        cache: as for `compile_directory`.
        seconds: time after which the child is ended.

    Raises:
        ConfigError: with every problem of the files; also if the child died or took too long.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "agent.inventory", str(directory), str(cache)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            out, _ = await child.communicate()
        answer = json.loads(out)
    except TimeoutError:
        raise _child_failed(directory, f"reading took more than {seconds:g} seconds") from None
    except ValueError:
        raise _child_failed(directory, f"the process that reads it ended with {child.returncode}") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if "path" in answer:
        return Path(answer["path"])
    raise ConfigError(tuple(Problem(**each) for each in answer["problems"]))


def _child_failed(directory: Path, what: str) -> ConfigError:
    mend = "See the log for its last words; check the size of the files, free memory and the cache directory."
    return ConfigError((Problem(file=str(directory), line=0, what=what, mend=mend, code=Code.NOT_COMPILED.value),))

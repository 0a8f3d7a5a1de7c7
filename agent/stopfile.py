"""Floor 2. The stop file: a person's "stop" that works without the ledger and is obeyed before anything else.

1. A small JSON file. No file means nothing is stopped. It is written whole or not at all (new file, fsync, rename,
   fsync of the directory), and removed when nothing is stopped any more.
2. A file that can not be read or understood is a doubt. It counts as "no new suspension, for anybody"; measures that are
   in force stay as they are, because a damaged file is no order to restore, and their leases still end by themselves.
   `Stop.fault` says what is wrong; show it as an alert until a person pauses or resumes, which writes the file anew.
3. One writer at a time: the enforcer; the command line only when no enforcer answers. So the enforcer reads it again right
   before it writes: what a person wrote while it was stuck stays.
4. It must outlive the process that wrote it, or a restart would undo an emergency: keep it where systemd does not clean up
   behind the service (the state directory, or a run directory with `RuntimeDirectoryPreserve=yes`).
"""

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.errors import EventError
from agent.event import instant, load_json, parse_instant

#: Who wrote a pause that no person did.
AGENT = "ecluse"

_VERSION = 1
_MAX_BYTES = 16 * 2**20
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Who stopped, when (UTC), why; with `restore`, what is suspended is restored and kept so."""

    by: str
    at: datetime
    reason: str
    restore: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """What is stopped: for `all`, and for some companies by id. `fault` is set when the file could not be understood."""

    all: Pause | None = None
    companies: Mapping[str, Pause] = field(default_factory=dict)
    fault: str = ""

    def pause(self, company: str) -> Pause | None:
        """What stops this company: of the general pause and its own, the one that restores, else the general one."""
        found = [pause for pause in (self.all, self.companies.get(company)) if pause is not None]
        return next((pause for pause in found if pause.restore), found[0] if found else None)

    def __bool__(self) -> bool:
        return self.all is not None or bool(self.companies)


def read(path: Path) -> Stop:
    """What the stop file at `path` says now. Never raises: a file that can not be read stops everything new (rule 2)."""
    try:
        return _parse(_bytes(path))
    except FileNotFoundError:
        return Stop()
    except (OSError, EventError) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        fault = f"{path}: {what}. No new suspension until someone pauses or resumes, which writes the file anew."
        return Stop(all=Pause(by=AGENT, at=_changed(path), reason=fault), fault=fault)


def write(path: Path, stop: Stop) -> None:
    """Make the stop file say `stop`; on return it is on the disk. An empty `stop` removes the file.

    The file belongs to the owner of its directory, so that the enforcer can read what root wrote.

    Raises:
        OSError: it could not be written; the former file is still there, unchanged.
    """
    directory = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not stop:
            with suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=directory)
        else:
            _replace(path.name, _text(stop), directory)
        os.fsync(directory)
    finally:
        os.close(directory)


def _replace(name: str, raw: bytes, directory: int) -> None:
    new = f".{name}.new"
    with suppress(FileNotFoundError):  # left behind by a crash
        os.unlink(new, dir_fd=directory)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if os.geteuid() == 0:
                owner = os.fstat(directory)
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(new, dir_fd=directory)
        raise


def _text(stop: Stop) -> bytes:
    content = {
        "version": _VERSION,
        "all": None if stop.all is None else _pause(stop.all),
        "companies": {company: _pause(pause) for company, pause in stop.companies.items()},
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _pause(pause: Pause) -> dict[str, Any]:
    return {"by": pause.by, "at": instant(pause.at), "reason": pause.reason, "restore": pause.restore}


def _parse(raw: bytes) -> Stop:
    found = load_json(raw)
    if not isinstance(found, dict) or set(found) != {"version", "all", "companies"} or found["version"] != _VERSION:
        raise EventError(field="file", what=f"not a stop file of version {_VERSION}")
    general, companies = found["all"], found["companies"]
    if not isinstance(companies, dict):
        raise EventError(field="companies", what="not an object")
    return Stop(
        all=None if general is None else _parse_pause(general, "all"),
        companies={company: _parse_pause(each, f"companies.{company}") for company, each in companies.items()},
    )


def _parse_pause(found: Any, where: str) -> Pause:
    if not isinstance(found, dict) or set(found) != {"by", "at", "reason", "restore"}:
        raise EventError(field=where, what="not a pause")
    by, at, reason, restore = found["by"], found["at"], found["reason"], found["restore"]
    if not isinstance(by, str) or not isinstance(reason, str) or not isinstance(restore, bool):
        raise EventError(field=where, what="not a pause")
    return Pause(by=by, at=parse_instant(at, field=f"{where}.at"), reason=reason, restore=restore)


def _bytes(path: Path) -> bytes:
    # Not blocking, because opening a named pipe put there would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            raise EventError(field="file", what="not a regular file, or too large")
        return os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)


def _changed(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        return _NEVER

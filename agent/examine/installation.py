"""Floor 3. Reading our own installation: rights of files, certificates, units."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from agent.config import Config, load_sources
from agent.doctor.facts import Certificate, Kept
from agent.doctor.installation import UNITS
from agent.errors import ConfigError
from agent.examine.network import tool
from agent.web import expires, load_web

_DAY = 86_400.0


def kept(config: Config) -> tuple[Kept, ...]:
    """The files whose rights matter and that are there: ledger, secrets, keys, and what is written by hand."""
    return tuple(one for what, path in dict.fromkeys(_paths(config)) if (one := _kept(what, path)) is not None)


def _paths(config: Config) -> Iterator[tuple[str, Path]]:
    ledger = config.state_dir / "ledger.db"
    yield from (("ledger", path) for path in (ledger, Path(f"{ledger}-wal"), Path(f"{ledger}.lock")))
    yield from (("config", path) for path in (config.policies, config.sources))
    with suppress(ConfigError):
        yield from (("secret", path) for source in load_sources(config.sources).values() for path in source.secrets)
    for web in filter(None, (config.web, config.metrics_web)):
        yield "config", web
        with suppress(ConfigError):
            key = load_web(web).key_file
            yield from (("key", path) for path in (key,) if path is not None)


def _kept(what: str, path: Path) -> Kept | None:
    try:
        found, directory = path.stat(), path.parent.stat()
    except FileNotFoundError:
        return None
    return Kept(
        what=what,
        path=str(path),
        mode=found.st_mode & 0o7777,
        uid=found.st_uid,
        directory=str(path.parent),
        directory_uid=directory.st_uid,
    )


def former(state_dir: Path) -> tuple[str, ...]:
    """Ledgers that a restore has put aside."""
    return tuple(sorted(str(path) for path in state_dir.glob("ledger.db.before-*") if not path.name.endswith(("-wal", "-shm"))))


def certificates(config: Config) -> tuple[Certificate, ...]:
    """The certificate of each port that has one."""
    found = []
    for listener, path in (("webhooks", config.web), ("metrics", config.metrics_web)):
        if path is not None:
            try:
                ends = expires(load_web(path))
            except (ConfigError, OSError, ValueError) as error:
                found.append(Certificate(listener=listener, fault=str(error).splitlines()[0]))
            else:
                found.append(Certificate(listener=listener, days_left=None if ends is None else (ends - time.time()) / _DAY))
    return tuple(found)


def units() -> Mapping[str, str] | None:
    """What systemd says of our units, `disabled` for one that no boot starts; None where there is no systemd."""
    if not os.path.isdir("/run/systemd/system"):  # noqa: PTH112 - systemd's own way to tell (sd_booted)
        return None
    states: dict[str, str] = {}
    for name in UNITS:
        said = tool("systemctl", "show", "--property=LoadState,ActiveState,UnitFileState", name) or ""
        values = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        load = values.get("LoadState", "")
        disabled = values.get("UnitFileState") == "disabled"
        states[name] = load if load != "loaded" else "disabled" if disabled else values.get("ActiveState", "")
    return states

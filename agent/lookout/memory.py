"""Floor 3. The sums of what was seen, kept in a file over a restart.

Losing it costs time, never safety: a baseline that is gone is watched anew before a measure may begin.
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from agent.continuity import Past, Target, read_past, write_past

_log = logging.getLogger("ecluse.lookout")
_FORM = 1
_KEPT = timedelta(days=61)


def name_of(company_id: str, target: Target) -> str:
    """What the sums of a target are kept under. Another address is another target."""
    probe = target.probe
    return f"{company_id} {target.id} {probe.kind} {probe.address} {probe.port} {probe.path} {probe.name}"


def load(path: Path) -> dict[str, Past]:
    """What a former process saw, by name; nothing where there is no such file or it is torn."""
    try:
        found = json.loads(path.read_bytes())
        rows = found["seen"].items() if found["form"] == _FORM else ()
        return {str(name): read_past(row) for name, row in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        _log.warning("%s: the baseline of local applications can not be read and is watched anew: %s", path, error)
        return {}


def save(path: Path, pasts: Iterable[tuple[str, Past]], before: Mapping[str, Past], now: datetime) -> None:
    """Write what was seen; also what was read of companies that are not known at the moment, for two months.

    Raises:
        OSError: the former file is as it was.
    """
    seen = {**before, **dict(pasts)}
    oldest = now - _KEPT
    rows = {name: write_past(past) for name, past in seen.items() if past.looks and past.at * 3600 >= oldest.timestamp()}
    new = path.with_suffix(".new")
    with new.open("w") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump({"form": _FORM, "seen": rows}, file, separators=(",", ":"))
    new.replace(path)

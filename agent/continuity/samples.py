"""Floor 1. What is looked at, what a look says, and how both travel between the roles.

Rules of this room:

1. The asking side numbers its question and takes the answer only if it has that number and one look for each thing asked.
   Anything else is no answer at all.
2. What the other role writes is data: words are cut, and nothing of it names a company, a service or a rule.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from math import isfinite
from typing import Any, cast

from agent.errors import ChannelError
from agent.model import Company, Probe

#: Things that may be asked about at once, characters of a reason, bytes of a name or path.
MOST = 4096
_MAX_WHY = 80
_MAX_WORDS = 2048
_LONGEST_MS = 600_000.0

#: So many looks that differ are remembered, to stand for those that are alike.
_ALIKE = 8192

_KINDS = ("tcp", "tls", "udp", "http", "dns", "icmp")


class Seen(StrEnum):
    """What a look ends with. UNABLE: it can not be told from here (UDP that says nothing, no right to send an echo)."""

    ANSWERED = "answered"
    SILENT = "silent"
    UNABLE = "unable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One look. `ms`: how long the answer took; `why`: what was seen instead of an answer, in English, for people."""

    seen: Seen
    ms: float = 0.0
    why: str = ""


class Role(StrEnum):
    """What a target is to its site. CONTROL: it tells an outage of the whole site from one of an application."""

    APPLICATION = "application"
    DEPENDENCY = "dependency"
    CONTROL = "control"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One thing to look at, by the name under which facts speak of it (`site.name`)."""

    site: str
    name: str
    role: Role
    probe: Probe

    @property
    def id(self) -> str:
        """Its name within the company. An application and a dependency of one name are two targets."""
        return f"{self.site}.{self.name}" if self.role is Role.APPLICATION else f"{self.site}.{self.role.value}.{self.name}"


def targets(company: Company) -> tuple[Target, ...]:
    """Everything that is looked at for a company: nothing where it declares no local application."""
    if not any(site.local_applications for site in company.sites):
        return ()
    return tuple(_targets(company))


def _targets(company: Company) -> Iterator[Target]:
    for site in company.sites:
        if site.control is not None:
            yield Target(site=site.id, name="site", role=Role.CONTROL, probe=site.control)
        for application in site.local_applications:
            yield Target(site=site.id, name=application.name, role=Role.APPLICATION, probe=application.probe)
        for dependency in site.dependencies:
            yield Target(site=site.id, name=dependency.name, role=Role.DEPENDENCY, probe=dependency.probe)


# --- the wire -----------------------------------------------------------------------------------------------------


def write_question(probes: Sequence[Probe]) -> bytes:
    """The body of a question: what to look at."""
    rows = [[p.kind, str(p.address), p.port, p.path, p.name] for p in probes]
    return json.dumps(rows, separators=(",", ":")).encode()


def read_question(body: bytes) -> tuple[Probe, ...]:
    """What is asked for.

    Raises:
        ChannelError: the question is not in our terms.
    """
    rows = _rows(body, MOST)
    try:
        return tuple(_probe(*row) for row in rows)
    except (TypeError, ValueError):
        raise ChannelError("a question that names something else than probes") from None


def _probe(kind: Any, address: Any, port: Any, path: Any, name: Any) -> Probe:
    words = all(text is None or (isinstance(text, str) and 0 < len(text) <= _MAX_WORDS) for text in (path, name))
    if kind not in _KINDS or not isinstance(address, str) or not words:
        raise ValueError(kind)
    if kind == "icmp":
        port = None
    elif not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ValueError(port)
    return Probe(kind=cast("Any", kind), address=ip_address(address), port=port, path=path, name=name)


def write_answer(samples: Sequence[Sample]) -> bytes:
    """The body of an answer: one look for each thing asked, in the same order."""
    return json.dumps([[s.seen.value, _rounded(s.ms), s.why[:_MAX_WHY]] for s in samples], separators=(",", ":")).encode()


def read_answer(header: Mapping[str, Any], body: bytes, *, number: int, count: int) -> tuple[Sample, ...]:
    """The looks of an answer to the question `number` about `count` things.

    Raises:
        ChannelError: it answers another question, or not in our terms. Then nothing of it counts.
    """
    if header.get("number") != number or isinstance(header.get("number"), bool):
        raise ChannelError("the probing role answers another question")
    rows = _rows(body, count)
    if len(rows) != count:
        raise ChannelError(f"the probing role gives {len(rows)} looks for {count} things asked")
    try:
        return tuple(_sample(*row) for row in rows)
    except (TypeError, ValueError):
        raise ChannelError("the probing role gives something else than looks") from None


def _sample(seen: Any, ms: Any, why: Any) -> Sample:
    if isinstance(ms, bool) or not isinstance(ms, int | float) or not isinstance(why, str):
        raise TypeError(ms)
    if not isfinite(ms) or not 0 <= ms <= _LONGEST_MS:
        raise ValueError(ms)
    return _shared(seen, _rounded(ms), why[:_MAX_WHY])


def _rounded(ms: float) -> float:
    """Three digits: more would tell of the gateway and not of what is looked at, and hardly two looks would be alike."""
    return float(f"{ms:.3g}")


@lru_cache(maxsize=_ALIKE)
def _shared(seen: Any, ms: float, why: str) -> Sample:
    """One look that stands for all that are alike. An hour of looks is kept of each target: 5 kB with a value for each."""
    return Sample(seen=Seen(seen), ms=ms, why="".join(c for c in why if c.isprintable()))


def _rows(body: bytes, most: int) -> list[list[Any]]:
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError):
        raise ChannelError("a body that is not JSON") from None
    if not isinstance(rows, list) or len(rows) > most or not all(isinstance(row, list) for row in rows):
        raise ChannelError(f"a body that is not a list of at most {most} rows")
    return rows

"""Floor 4. What to do next on a gateway that only observes: the way from an installation to the first suspension.

Rules of this room: it words what `status` said, in order; a host that was let act has nothing more to be told.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from agent.cli.screen import Screen, Words, bold, safe
from agent.cli.words import LABELS

_RESUME: Words = (
    'les suspensions sont en pause ; `ecluse resume --reason "…"` les rend de nouveau possibles',
    'suspensions are paused; `ecluse resume --reason "…"` makes them possible again',
)
_DESCRIBE: Words = (
    "décrire services et clients dans /etc/ecluse/policies ; `ecluse check DIR`, `systemctl reload ecluse-enforce`",
    "describe services and customers in /etc/ecluse/policies; `ecluse check DIR`, `systemctl reload ecluse-enforce`",
)
_CONNECT: Words = (
    "raccorder la facturation « {0} » : webhooks signés à /webhooks/{0}, secret dans /etc/ecluse/secrets (docs/EVENTS.md)",
    'connect the billing system "{0}": signed webhooks to /webhooks/{0}, secret in /etc/ecluse/secrets (docs/EVENTS.md)',
)
_OBSERVE: Words = (
    "observer quelques semaines : `ecluse forecast`, `ecluse explain SOCIÉTÉ`, `ecluse log` disent ce qui aurait été fait",
    "observe for some weeks: `ecluse forecast`, `ecluse explain COMPANY` and `ecluse log` say what would have been done",
)
_LET_ACT: Words = (
    "laisser agir (docs/OPERATIONS.md) : opérateurs, `mode_ceiling: approve` dans ecluse.yaml, `systemctl restart ecluse-enforce`",
    "let it act (docs/OPERATIONS.md): operators, `mode_ceiling: approve` in ecluse.yaml, `systemctl restart ecluse-enforce`",
)


def steps(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """The next steps, numbered; none once the host's ceiling was raised."""
    if data.get("mode_ceiling") != "observe":
        return []
    return [
        bold(screen.words(LABELS["steps"])),
        *(f"  {number}. {screen.words(each)}" for number, each in enumerate(_steps(data), 1)),
    ]


def _steps(data: Mapping[str, Any]) -> Iterator[Words]:
    if data.get("paused"):
        yield _RESUME
    if not _companies(data):
        yield _DESCRIBE
    feeds = data.get("feeds")
    for name in sorted(name for name, at in feeds.items() if not at) if isinstance(feeds, Mapping) else ():
        yield _CONNECT[0].format(safe(name)), _CONNECT[1].format(safe(name))
    yield _OBSERVE
    yield _LET_ACT


def _companies(data: Mapping[str, Any]) -> Any:
    """How many companies the inventory has; None when it was not said."""
    breaker = data.get("breaker")
    companies = breaker.get("companies") if isinstance(breaker, Mapping) else None
    return companies.get("of") if isinstance(companies, Mapping) else None

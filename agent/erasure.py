"""Floor 3. Bodies of old facts erased from the ledger, company by company, by a named person's word.

Rules of this room:

1. What may go is for `retention` to say; what a measure in force or a fact that waits rests on is not even asked about.
2. The word that says what is erased, by whom and why is a fact of the same chain. It names row numbers, never what stood in them.
3. A company at a time, so that a payment that comes in meanwhile is served first.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from agent.event import HOST, instant
from agent.gateway import Gateway, agent_event
from agent.ledger.chain import ranges
from agent.retention import Erasable, erasable

#: Rows that one word names at most.
_AT_ONCE = 2_000

#: Companies that an answer names at most.
_MOST = 200


@dataclass(kw_only=True)
class Erased:
    """How many rows of how many companies; and what kept the others, in French and in English, for some of them."""

    rows: int = 0
    companies: int = 0
    kept: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """Who erases, in which role, and why; what was received before `before`."""

    by: str
    role: str
    reason: str
    before: datetime


def erase(gateway: Gateway, word: Word, company: str | None) -> Generator[None, None, Erased]:
    """Erase, and stop after each company so that the caller can breathe.

    Args:
        gateway: what is worked on.
        word: the person's.
        company: only this one; None: all of them, and facts about customers nobody knows.

    Raises:
        LedgerUnwritable, LedgerCorrupt: what was done so far is whole.
    """
    done = Erased()
    for name in [company] if company is not None else [*gateway.ledger.subjects()]:
        found = _found(gateway, name, word)
        for start in range(0, len(found.rows), _AT_ONCE):
            rows = found.rows[start : start + _AT_ONCE]
            now = gateway.now()
            body = {
                "by": word.by,
                "role": word.role,
                "reason": word.reason,
                "before": instant(word.before),
                "rows": ranges(rows),
                "count": len(rows),
            }
            id_ = f"erased:{name}:{rows[0]}:{instant(now)}"
            gateway.ledger.erase(rows, agent_event(id_=id_, type_="ledger.erased", subject=HOST, now=now, body=body))
            done.rows += len(rows)
        done.companies += bool(found.rows)
        if found.en and len(done.kept) < _MOST:
            done.kept[name] = (found.fr, found.en)
        yield
    return done


def _found(gateway: Gateway, name: str, word: Word) -> Erasable:
    if name == HOST:
        return Erasable(rows=tuple(_strangers(gateway, word.before)))
    if gateway.ledger.measures_of(name) or name in gateway.volatile:
        return Erasable(fr="mesure en vigueur", en="a measure is in force")
    facts = [(row.seq, row.event) for row in gateway.ledger.events(name) if not row.erased]
    return erasable(name, facts, word.before, customer=gateway.rules.inventory.company(name) is not None)


def _strangers(gateway: Gateway, before: datetime) -> Iterator[int]:
    for row in gateway.ledger.events(HOST):
        if row.event.type == "customer.unknown" and not row.erased and row.event.received_at < before:
            yield row.seq

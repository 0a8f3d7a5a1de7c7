"""Floor 3. Who will become suspendable, when, and what is still missing, if nothing new is said.

Rules of this room:

1. It is the walk of `walk`, begun at an instant with what is known then, and continued without one more fact.
2. A case is ready when everything that must last passes: from then on only the moment, a limit or persons are awaited.
3. What is missing is what time alone does not mend. The window and the limits are not: they only take time.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent import report
from agent.event import instant
from agent.gate import Check, World
from agent.judge import Judged
from agent.model import Inventory
from agent.record import Record
from agent.walk import Moment, Outcome, Walk, in_order, lacks, moment

#: States of a case for which everything that must last passes.
_IS_READY = frozenset({"observed", "proposed", "applying", "suspended"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Ahead:
    """What time alone will do to one open case.

    `state` is that of now (`report.state`). `ready_at`: when everything that must last passes (None: not within the time looked at;
    now or before: it is ready). `suspend_at`, `restore_at`: when it would be suspended and when that would end by itself.
    `missing`, for what is not suspended: what it still takes when it is ready; for what does not become ready, what time alone does
    not mend.
    """

    company: str
    name: str
    timezone: str
    case: str
    services: tuple[str, ...]
    state: str
    ready_at: datetime | None
    suspend_at: datetime | None
    restore_at: datetime | None
    missing: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What time alone will do between two instants. `moments` are all that would be done, `cases` the open ones of `at`."""

    at: datetime
    until: datetime
    moments: tuple[Moment, ...]
    cases: tuple[Ahead, ...]


def begin(records: Mapping[str, Record], inventory: Inventory, world: World, at: datetime) -> Walk:
    """A walk that starts at an instant with what is known then.

    Args:
        records: of the companies to look at.
        inventory: services, policies and companies.
        world: what concerns no company, as it stands at `at`. Its load counts the measures of the other companies.
        at: aware instant.
    """
    walk = Walk(inventory=inventory, world=world)
    for company, record in records.items():
        walk.add(company, record=record, at=at)
    return walk


def forecast(walk: Walk, companies: Iterable[str], at: datetime, until: datetime) -> Forecast:
    """Look ahead from where a walk is.

    Args:
        walk: has walked up to `at`, or begins there; no fact is to come.
        companies: those of its companies to tell of.
        at: aware instant.
        until: where to stop.
    """
    return result(forecast_steps(walk, companies, at, until))


def result(steps: Generator[None, None, Forecast]) -> Forecast:
    """All the steps at once, where nobody waits."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: Forecast = done.value
            return found


def forecast_steps(walk: Walk, companies: Iterable[str], at: datetime, until: datetime) -> Generator[None, None, Forecast]:
    """As `forecast`, with a stop after each look, so that a daemon can do other things in between."""
    before: dict[str, Outcome] = {}
    for company in sorted(companies):
        before[company] = walk.outcome(company, at)
        yield
    past = len(walk.moments)
    for _ in walk.steps(until):
        yield
    moments = walk.moments[past:]
    cases: list[Ahead] = []
    for company, outcome in before.items():
        cases += _company(outcome, walk.outcome(company, until), [one for one in moments if one.company == company], at)
        yield
    return Forecast(at=at, until=until, moments=in_order(moments), cases=tuple(cases))


def _company(before: Outcome, after: Outcome, moments: Sequence[Moment], at: datetime) -> list[Ahead]:
    ends = {one.case.id: one for one in after.judgement.judged}
    return [_case(one, ends[one.case.id], before, moments, at) for one in before.judgement.judged if not _over(one)]


def _case(one: Judged, end: Judged, outcome: Outcome, moments: Sequence[Moment], at: datetime) -> Ahead:
    def first(*acts: str) -> Moment | None:
        return next((each for each in moments if each.case == one.case.id and each.act in acts), None)

    state, ready, cut, back = report.state(one), first("observe", "propose", "suspend"), first("suspend"), first("restore")
    already = state in _IS_READY
    missing: tuple[Check, ...] = ()
    if cut is None and one.case.order is None and not _over(end):
        missing = _lasting(ready.missing if ready and not already else lacks(one), lacks(end))
    return Ahead(
        company=outcome.judgement.company,
        name=outcome.company.name if outcome.company else "",
        timezone=report.timezone(outcome.company),
        case=one.case.id,
        services=one.case.order.services if one.case.order else one.case.notice.services,
        state=state,
        ready_at=at if already else ready.at if ready else None,
        suspend_at=cut.at if cut else None,
        restore_at=back.at if back else None,
        missing=missing,
    )


def _lasting(first: tuple[Check, ...], end: tuple[Check, ...]) -> tuple[Check, ...]:
    """What was in the way first and still is at the end; where nothing was all the time, what is at the end."""
    codes = {check.code for check in end}
    return tuple(check for check in first if check.code in codes) or end


def _over(one: Judged) -> bool:
    return bool(one.case.closed) and one.case.order is None


def plain(found: Forecast) -> dict[str, Any]:
    """A forecast as JSON-able values, the next suspension first, then what is ready, then what lacks something."""
    return {
        "at": instant(found.at),
        "until": instant(found.until),
        "moments": [moment(one) for one in found.moments],
        "cases": [ahead(one) for one in sorted(found.cases, key=_urgency)],
    }


def tell(companies: Iterable[dict[str, Any]], found: Forecast) -> None:
    """Put what is ahead of each open case beside what `report.judgement` says of it, as `ahead`."""
    cases = {one.case: ahead(one) for one in found.cases}
    for company in companies:
        for case in company["cases"]:
            case["ahead"] = cases.get(case["case"])


def ahead(one: Ahead) -> dict[str, Any]:
    """One case as JSON-able values."""
    return {
        "company": one.company,
        "name": one.name,
        "timezone": one.timezone,
        "case": one.case,
        "services": list(one.services),
        "state": one.state,
        "ready_at": _instant(one.ready_at),
        "suspend_at": _instant(one.suspend_at),
        "restore_at": _instant(one.restore_at),
        "missing": [{"code": check.code, "fr": check.fr, "en": check.en, "until": _instant(check.until)} for check in one.missing],
    }


def _urgency(one: Ahead) -> tuple[bool, bool, str, str]:
    first = one.suspend_at or one.ready_at
    return one.suspend_at is None, one.ready_at is None, instant(first) if first else "", one.case


def _instant(at: datetime | None) -> str | None:
    return None if at is None else instant(at)

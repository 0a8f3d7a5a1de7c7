"""Floor 1. A transfer that was announced: not money yet, but a reason to wait a few days, once in the life of a case.

Rules of this room:

1. The wait is a policy value (`grace_on_announced`), five working days, and ends when they are over at every site.
2. Once: announcements dated after the wait was first used give no other. That it was used is a fact the agent recorded, so
   that no announcement, whenever it is learnt, makes a wait shorter that another one gives.
3. An announcement dated in the future says nothing about now.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.calendar import day_everywhere, local_date, working_day_after
from agent.case import Case
from agent.model import Policy

#: Working days that an announced payment gives.
DAYS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Grace:
    """`until`: the case waits until then; None: it does not. `next_at`: when that may change without a new fact."""

    until: datetime | None = None
    next_at: datetime | None = None


def grace(case: Case, policy: Policy, timezones: tuple[str, ...], now: datetime) -> Grace:
    """Does an announced payment make a case wait?

    Args:
        case: the case.
        policy: the company's.
        timezones: IANA names of the zones of the company's sites, at least one.
        now: aware instant.
    """
    if not policy.grace_on_announced:
        return Grace()
    known = [one.at for one in case.announced if case.graced_at is None or one.at <= case.graced_at]
    ends = [_ends(at, policy.holidays, timezones) for at in known if at <= now]
    until = max((end for end in ends if end > now), default=None)
    coming = [at for at in known if at > now]
    return Grace(until=until, next_at=min((*coming, *((until,) if until else ())), default=None))


def _ends(at: datetime, country: str, timezones: tuple[str, ...]) -> datetime:
    day = max(local_date(at, zone) for zone in timezones)
    return day_everywhere(working_day_after(day, DAYS, country) + timedelta(days=1), timezones)

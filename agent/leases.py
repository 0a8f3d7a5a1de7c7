"""Floor 1. The measures of one company that are in force -> the elements that belong in the kernel just now.

Rules of this room:

1. A measure that is restricted to hours wants nothing outside them, and inside them nothing that outlives them: an agent that
   dies at night leaves nothing for the day.
2. Where several measures hit one service, the strongest one that is in effect counts. While it lets open connections finish, the
   next one goes on counting beside it, so that nobody is let through who was held before.
3. In doubt nothing is wanted: no site, no zone, a set that the structure does not have, less than a second left.
4. Everything remote is wanted only of a measure whose order says so; any other of stage 4 wants the services that it names.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent.calendar import InEffect, day_start, in_effect, local_date
from agent.model import ANY_LINKS, PLAIN, Company, Effect, Links, Policy, Service, Terms
from agent.rules import Element
from agent.ruleset import Needs, is_exception, members
from agent.stages import EXTENDED, REMOTE, RESTRICTED, strength

_DAY = timedelta(days=1)

#: What would end sooner is not begun: it could be gone before it is read back.
_LEAST_MS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """One measure in force, whether it is in effect just now or not.

    `until` is the end of its lease. `since`: when it came into effect without a break since then, from which its connections drain;
    None: it begins now.
    """

    case: str
    services: tuple[str, ...]
    until: datetime
    effect: Effect = PLAIN
    since: datetime | None = None

    @property
    def remote(self) -> bool:
        """True if it refuses everything remote."""
        return self.effect.extent == REMOTE


def needs_of(policies: Iterable[Policy], *, tracked: bool) -> Needs:
    """What the measures of some policies may ask of the kernel besides refusal.

    Args:
        policies: those in force.
        tracked: the gateway tracks connections.
    """
    every = list(policies)
    return Needs(
        cap=any(RESTRICTED in one.stages and not one.effective_hours for one in every),
        drain=any(one.drain_minutes for one in every),
        tracked=tracked,
    )


def zones(company: Company) -> tuple[str, ...]:
    """The time zones of a company's sites."""
    return tuple(sorted({site.timezone for site in company.sites}))


def switching(lease: Lease, timezones: tuple[str, ...], now: datetime) -> InEffect | None:
    """Whether a measure that is restricted to hours is in effect just now, and until when; None: it always is."""
    return in_effect(now, hours=lease.effect.hours, timezones=timezones) if lease.effect.hours else None


def elements(
    company: Company,
    leases: Iterable[Lease],
    catalogue: Mapping[str, Service],
    sets: Container[str],
    now: datetime,
    *,
    links: Links = ANY_LINKS,
) -> tuple[Element, ...]:
    """The elements wanted for one company.

    Args:
        company: the debtor.
        leases: its measures in force.
        catalogue: every service by id.
        sets: the names of the sets that there are.
        now: aware instant.
        links: the links that are there.
    """
    places = zones(company)
    if not places:
        return ()
    today = min(local_date(now, zone) for zone in places)
    day_ends_ms = _milliseconds(max(day_start(today + _DAY, zone) for zone in places) - now)
    found: dict[tuple[str, bytes], Element] = {}
    taken: set[str] = set()
    for lease in sorted(leases, key=lambda one: (*(-each for each in strength(one.effect)), one.case)):
        left_ms = _milliseconds(_ends(lease, places, now) - now)
        services = [name for name in lease.services if name not in taken]
        drain_ms = _drain_left(lease, now)
        if left_ms < _LEAST_MS or not services:
            continue
        wanted = members(
            company,
            services,
            lease.case,
            left_ms,
            catalogue,
            today,
            day_ends_ms=day_ends_ms,
            terms=_in_kernel(lease, drain_ms),
            links=links,
        )
        # A cap without its sets would be nothing, a drain without them a cut: what can not stand as it was ordered does not stand.
        if (lease.effect.terms.kbit or drain_ms or lease.remote) and any(element.set not in sets for element in wanted):
            continue
        for element in wanted:
            before = found.setdefault((element.set, element.key), element)
            if is_exception(element.set) and before.timeout_ms < element.timeout_ms:
                found[element.set, element.key] = element
        if not drain_ms:
            taken.update(services)
    return tuple(found[key] for key in sorted(found))


def _ends(lease: Lease, timezones: tuple[str, ...], now: datetime) -> datetime:
    """Until when a measure may stand in the kernel; `now` if it is not in effect."""
    here = switching(lease, timezones, now)
    if here is None:
        return lease.until
    return min(lease.until, here.until) if here.on else now


def _in_kernel(lease: Lease, drain_ms: int) -> Terms:
    """The terms that the kernel keeps, to which stage 4 is everything remote."""
    terms = lease.effect.terms
    return replace(terms, stage=3 if terms.stage == EXTENDED and not lease.remote else terms.stage, drain_ms=drain_ms)


def _drain_left(lease: Lease, now: datetime) -> int:
    """How long its open connections may still go on, in milliseconds."""
    ends = (lease.since or now) + timedelta(milliseconds=lease.effect.terms.drain_ms)
    return min(lease.effect.terms.drain_ms, _milliseconds(ends - now))


def _milliseconds(span: timedelta) -> int:
    return max(0, int(span.total_seconds() * 1000))

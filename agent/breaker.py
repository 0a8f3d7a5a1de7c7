"""Floor 1. The breaker: not too many new suspensions at once, the first ones alone, and none while something looks wrong.

Rules of this room:

1. It only ever holds new suspensions. A restore does not come here.
2. Limits count what was ordered, not what was asked for: a limit that holds a case does not use itself up.
3. What holds by itself (so many an hour) also lets go by itself. What looks like a fault (a wave of ripe cases, a feed that
   shrank, a wrong suspension, a local application that stopped answering) stays open until a named person releases it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much may be suspended anew on one gateway.

    `per_hour`, `per_day`: companies. `share_of_companies`, `share_of_prefixes`: per cent of all that the inventory knows, in force
    at any time; the first company is always allowed. `canaries`: so many companies go first, the others wait `canary_minutes`
    after them. `wave`: so many cases becoming ripe within an hour look like a fault.
    """

    per_hour: int = 5
    per_day: int = 5
    share_of_companies: Decimal = Decimal(20)
    share_of_prefixes: Decimal = Decimal(20)
    canaries: int = 2
    canary_minutes: int = 30
    wave: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What is so now. `ordered`: when companies were ordered to be suspended in the last 24 hours, earliest first.

    `companies`, `prefixes`: how many the inventory knows. `cut_companies`, `cut_prefixes`: of these, with a measure in force.
    `open_cause`: why the breaker was opened and not released since, or "".
    """

    ordered: Sequence[datetime] = ()
    companies: int = 0
    prefixes: int = 0
    cut_companies: int = 0
    cut_prefixes: int = 0
    open_cause: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Why nothing new may be suspended now, and until when that is so by itself (None: until somebody or something changes)."""

    fr: str
    en: str
    until: datetime | None = None


def held(load: Load, limits: Limits, now: datetime, *, prefixes: int = 1) -> Held | None:
    """Would one more company be too much?

    Args:
        load: what is so now, without the company that is asked about.
        limits: the host's.
        now: aware instant.
        prefixes: how many prefixes this company has.

    Returns:
        the first reason to wait, or None.
    """
    if load.open_cause:
        return Held(
            fr=f"disjoncteur ouvert : {load.open_cause} ; une personne désignée doit le refermer",
            en=f"breaker open: {load.open_cause}; a named person must release it",
        )
    for span, limit, fr, en in ((_HOUR, limits.per_hour, "heure", "hour"), (_DAY, limits.per_day, "jour", "day")):
        recent = [at for at in load.ordered if at > now - span]
        if len(recent) >= limit:
            return Held(
                fr=f"{len(recent)} suspensions en une {fr}, {limit} au plus"
                if fr == "heure"
                else f"{len(recent)} suspensions en un jour, {limit} au plus",
                en=f"{len(recent)} suspensions in one {en}, {limit} at most",
                until=recent[len(recent) - limit] + span,
            )
    burst = [at for at in load.ordered if at > now - _DAY]
    if len(burst) >= limits.canaries:
        clear = burst[limits.canaries - 1] + timedelta(minutes=limits.canary_minutes)
        if now < clear:
            return Held(
                fr=f"les {limits.canaries} premières suspensions sont observées {limits.canary_minutes} minutes",
                en=f"the first {limits.canaries} suspensions are watched for {limits.canary_minutes} minutes",
                until=clear,
            )
    return _share(load.cut_companies, 1, load.companies, limits.share_of_companies, "sociétés", "companies") or _share(
        load.cut_prefixes, prefixes, load.prefixes, limits.share_of_prefixes, "préfixes", "prefixes"
    )


def _share(cut: int, more: int, known: int, limit: Decimal, fr: str, en: str) -> Held | None:
    if not known or not cut:  # of nothing there is no share, and the first company is always allowed
        return None
    share = Decimal(100 * (cut + more)) / known
    if share <= limit:
        return None
    return Held(fr=f"{share:.1f} % des {fr}, {limit} % au plus", en=f"{share:.1f} % of the {en}, {limit} % at most")


def wave(ripe: Sequence[datetime], limits: Limits, now: datetime) -> str:
    """A cause to open the breaker when too many cases became ripe within an hour, or "".

    Args:
        ripe: when cases became ripe (all lasting checks passed for the first time).
        limits: the host's.
        now: aware instant.
    """
    recent = [at for at in ripe if at > now - _HOUR]
    return f"{len(recent)} cases became ripe within an hour" if len(recent) > limits.wave else ""


def shrunken(before: int, after: int) -> str:
    """A cause to open the breaker when a billing feed suddenly knows of less than half of its open invoices, or "".

    Args:
        before: open invoices by the source's last heartbeat.
        after: by this one.
    """
    if before >= 10 and after * 2 < before:
        return f"a billing feed shrank from {before} to {after} open invoices"
    return ""

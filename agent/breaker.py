"""Floor 1. The breaker: not too many new suspensions at once, the first ones alone, and none while something looks wrong.

Rules of this room:

1. It only ever holds new suspensions. A restore does not come here.
2. Limits count what was ordered, not what was asked for: a limit that holds a case does not use itself up.
3. What holds by itself (so many an hour) also lets go by itself. What looks like a fault (a wave of ripe cases, a feed that
   shrank, a wrong suspension, a local application that stopped answering, policies that would newly cut many) opens the breaker,
   which stays open until a named person releases it.
4. A kind of cause opens the breaker once until it is released: the first one says enough, and the facts behind the others are
   in the ledger anyway.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from agent.event import instant

#: So long cases that became ripe are counted together.
SPAN = timedelta(hours=1)

_DAY = timedelta(days=1)

#: A feed of fewer open invoices may halve within a day without any fault.
_LARGE_FEED = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much may be suspended anew on one gateway.

    `per_hour`, `per_day`: companies. `share_of_companies`, `share_of_prefixes`: per cent of all that the inventory knows, in force
    at any time; the first company is always allowed. `canaries`: so many companies go first, the others wait `canary_minutes`
    after them. `wave`: more cases than this becoming ripe within an hour, or by one set of policies, look like a fault.
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
    `open_cause`: why the breaker was opened and not released since, or ""; `open_cause_fr` the same in French, if somebody said
    so. `comparing`: new policies are being compared with the former ones.
    """

    ordered: Sequence[datetime] = ()
    companies: int = 0
    prefixes: int = 0
    cut_companies: int = 0
    cut_prefixes: int = 0
    open_cause: str = ""
    open_cause_fr: str = ""
    comparing: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Why nothing new may be suspended now, and until when that is so by itself (None: until somebody or something changes)."""

    fr: str
    en: str
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """A reason to open the breaker. `kind` is one word for programs: wave, feed, voided, local, policies."""

    kind: str
    fr: str
    en: str


# --- limits -------------------------------------------------------------------------------------------------------


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
            fr=f"disjoncteur ouvert : {load.open_cause_fr or load.open_cause} ; une personne désignée doit le refermer",
            en=f"breaker open: {load.open_cause}; a named person must release it",
        )
    if load.comparing:
        return Held(
            fr="politiques nouvelles, comparées aux précédentes avant toute suspension",
            en="new policies, compared with the former ones before anything is suspended",
        )
    return (
        _rate(load.ordered, limits.per_hour, SPAN, "en une heure", "in one hour", now)
        or _rate(load.ordered, limits.per_day, _DAY, "en un jour", "in one day", now)
        or _canaries(load.ordered, limits, now)
        or _share(load.cut_companies, 1, load.companies, limits.share_of_companies, "sociétés", "companies")
        or _share(load.cut_prefixes, prefixes, load.prefixes, limits.share_of_prefixes, "préfixes", "prefixes")
    )


def _rate(ordered: Sequence[datetime], limit: int, span: timedelta, fr: str, en: str, now: datetime) -> Held | None:
    recent = [at for at in ordered if at > now - span]
    if len(recent) < limit:
        return None
    return Held(
        fr=f"{len(recent)} suspensions {fr}, {limit} au plus",
        en=f"{len(recent)} suspensions {en}, {limit} at most",
        until=recent[len(recent) - limit] + span,
    )


def _canaries(ordered: Sequence[datetime], limits: Limits, now: datetime) -> Held | None:
    burst = [at for at in ordered if at > now - _DAY]
    if len(burst) < limits.canaries:
        return None
    clear = burst[limits.canaries - 1] + timedelta(minutes=limits.canary_minutes)
    if now >= clear:
        return None
    return Held(
        fr=f"les {limits.canaries} premières suspensions sont observées {limits.canary_minutes} minutes",
        en=f"the first {limits.canaries} suspensions are watched for {limits.canary_minutes} minutes",
        until=clear,
    )


def _share(cut: int, more: int, known: int, limit: Decimal, fr: str, en: str) -> Held | None:
    if not known or not cut:  # of nothing there is no share, and the first company is always allowed
        return None
    share = Decimal(100 * (cut + more)) / known
    if share <= limit:
        return None
    return Held(fr=f"{share:.1f} % des {fr}, {limit} % au plus", en=f"{share:.1f} % of the {en}, {limit} % at most")


# --- what opens it ------------------------------------------------------------------------------------------------


def opening_id(kind: str, released_at: datetime | None) -> str:
    """The id of the event that opens the breaker: the same for a kind until the breaker is released, whoever says it again.

    Args:
        kind: of an `Opening`.
        released_at: when the breaker was last released, None: never.
    """
    return f"breaker:{kind}:{instant(released_at) if released_at else 'first'}"


def wave(ripe: Iterable[datetime], limits: Limits, now: datetime) -> Opening | None:
    """Too many cases became ripe within an hour.

    Args:
        ripe: when cases became ripe: when all their lasting checks passed for the first time.
        limits: the host's.
        now: aware instant.
    """
    recent = sum(at > now - SPAN for at in ripe)
    if recent <= limits.wave:
        return None
    return Opening(
        kind="wave",
        fr=f"{recent} dossiers devenus suspensibles en une heure, {limits.wave} au plus",
        en=f"{recent} cases became ripe within an hour, {limits.wave} at most",
    )


def shrunken(source: str, before: int, after: int) -> Opening | None:
    """A billing feed suddenly knows of less than half of its open invoices: payments may be missing the same way.

    Args:
        source: the billing system.
        before: open invoices by its last heartbeat.
        after: by this one.
    """
    if before < _LARGE_FEED or after * 2 >= before:
        return None
    return Opening(
        kind="feed",
        fr=f"la source {source} est passée de {before} à {after} factures ouvertes",
        en=f"the source {source} shrank from {before} to {after} open invoices",
    )


def voided(case: str) -> Opening:
    """A case was an error: what made it may have made others."""
    return Opening(
        kind="voided", fr=f"le dossier {case} a été annulé pour erreur", en=f"case {case} was voided as an error"
    )  # fmt: skip


def regressed(company: str, application: str) -> Opening:
    """A local application stopped answering while its company was suspended: the measure may hit what it must not."""
    return Opening(
        kind="local",
        fr=f"l'application locale {application} de {company}, suspendue, ne répond plus",
        en=f"local application {application} of {company}, which is suspended, does not answer any more",
    )


def too_new(newly: int, limits: Limits) -> Opening | None:
    """New policies, services or customers would newly cut many.

    Args:
        newly: cases that only the new files let ripen.
        limits: of the policy of the last one of them.
    """
    if newly <= limits.wave:
        return None
    return Opening(
        kind="policies",
        fr=f"les politiques chargées rendent {newly} dossiers nouvellement suspensibles, {limits.wave} au plus",
        en=f"the policies just loaded make {newly} cases newly ripe, {limits.wave} at most",
    )

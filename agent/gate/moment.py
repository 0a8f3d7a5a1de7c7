"""Floor 1. The code of the checks that rest on the moment, on what is known at it, and on how much was suspended lately."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from agent.breaker import Limits, held
from agent.calendar import Opening, day_everywhere, opening
from agent.case import Hold
from agent.gate.facts import HOME, Facts
from agent.gate.types import Kind, Outcome, Verdict, fails, passes, unknown
from agent.gate.words import moment_en, moment_fr, names
from agent.model import Policy
from agent.policy import BOUNDS

#: How far a clock may be ahead of ours. What is dated later proves nothing about the present.
AHEAD = timedelta(minutes=5)

_DAY = timedelta(days=1)

#: No measure lasts longer, at whatever stages (G-27).
LONGEST = timedelta(days=BOUNDS["max_suspension_days"].high)

#: An order and what was counted of it are the same within this.
_SAME = timedelta(seconds=1)

_WHY_FR = {
    "weekend": "week-end",
    "holiday": "jour férié",
    "eve_of_holiday": "veille de jour férié",
    "blackout": "date exclue",
    "clock_change": "changement d'heure",
    "hours": "hors des heures prévues",
}
_WHY_EN = {
    "weekend": "week-end",
    "holiday": "public holiday",
    "eve_of_holiday": "eve of a public holiday",
    "blackout": "blackout date",
    "clock_change": "clock change",
    "hours": "outside the hours",
}


def no_hold(f: Facts) -> Outcome:
    """G-13. Nothing forbids suspending. A hold that only freezes escalation does not end a measure that is in force.

    A hold that a person set by hand may be lifted by one, for one case; what a court, a law or the customer set may not.
    """
    # A hold, not its name: a court order and a grace period may both be called "1".
    ends = [(hold, _end(hold, f)) for hold in f.case.holds]
    active = [hold for hold, end in ends if end is None or f.now < end]
    left = [hold for hold in active if not (hold.kind == "manual" and "G-13" in f.lifted)]
    until = min((end for _, end in ends if end is not None and f.now < end), default=None)
    if not left:
        if not active:
            return passes("aucun gel de la procédure", "no hold")
        return passes("gel posé à la main", "hold set by hand", tuple(hold.fact for hold in active), until)
    kinds = names({hold.kind for hold in left})
    freezes = f.case.order is not None and not any(hold.restores for hold in left)
    facts = tuple(hold.fact for hold in left)
    return fails(f"procédure gelée : {kinds}", f"on hold: {kinds}", facts, until, Kind.APPLY if freezes else None)


def _end(hold: Hold, f: Facts) -> datetime | None:
    """When the last day of a hold is over everywhere."""
    return day_everywhere(hold.until + timedelta(days=1), (*f.timezones, HOME)) if hold.until is not None else None


def insolvency_checked(f: Facts) -> Outcome:
    """G-14. Somebody looked into the register of insolvency proceedings lately: for this company, or for all."""
    said = [at for at in (f.case.insolvency_checked_at, f.world.insolvency_checked_at) if at is not None]
    return _fresh(
        f,
        said,
        timedelta(hours=f.policy.insolvency_max_age_hours),
        ("procédures collectives jamais vérifiées", "insolvency register never checked"),
        ("procédures collectives vérifiées", "insolvency register checked"),
    )


def _fresh(f: Facts, said: Sequence[datetime], age: timedelta, never: tuple[str, str], done: tuple[str, str]) -> Outcome:
    """The latest of some statements is young enough. One that is dated ahead of time counts when its time has come."""
    begins = min((at - AHEAD for at in said if at > f.now + AHEAD), default=None)
    known = [at for at in said if at <= f.now + AHEAD]
    if not known:
        return unknown(*never) if begins is None else unknown(f"{done[0]} dans l'avenir", f"{done[1]} in the future", until=begins)
    last = max(known)
    fr = f"{done[0]} le {moment_fr(last, f.timezones[0])}"
    en = f"{done[1]} {moment_en(last, f.timezones[0])}"
    if f.now < last + age:
        return passes(fr, en, until=last + age)
    return fails(f"{fr} : trop ancien", f"{en}: too long ago", until=begins)


def window(f: Facts) -> Outcome:
    """G-20. The moment of applying: support and payment desk are there, at every site."""
    states = [(zone, _opening(f, zone)) for zone in f.timezones]
    shut = [(zone, state) for zone, state in states if not state.open]
    if not shut:
        until = min(state.until for _, state in states if state.until is not None)
        place = f.timezones[0]
        return passes(
            f"fenêtre ouverte jusqu'au {moment_fr(until, place)}", f"window open until {moment_en(until, place)}", until=until
        )
    zone, state = shut[0]
    fr, en = _WHY_FR[state.why], _WHY_EN[state.why]
    if state.until is not None:
        fr += f", prochaine fenêtre le {moment_fr(state.until, zone)}"
        en += f", next window {moment_en(state.until, zone)}"
    return fails(fr, en, until=state.until)


def _opening(f: Facts, zone: str) -> Opening:
    return opening(
        f.now,
        windows=f.policy.windows,
        timezone=zone,
        country=f.policy.holidays,
        blackout=f.policy.blackout_dates,
        no_eve_of_holiday=f.policy.no_eve_of_holiday,
    )


def clock_trusted(f: Facts) -> Outcome:
    """G-21. The gateway's clock was looked at lately, is synchronised, nearly right and did not jump."""
    clock = f.world.clock
    if clock is None:
        return unknown("horloge jamais vérifiée", "clock never checked")
    age = timedelta(minutes=f.policy.clock_max_age_minutes)
    found = _fresh(f, [clock.at], age, ("", ""), ("horloge vérifiée", "clock checked"))
    if found.verdict is Verdict.PASS:
        if not clock.synchronised:
            return fails("horloge non synchronisée", "clock not synchronised", until=found.until)
        if clock.stepped:
            return fails("saut d'horloge récent", "the clock jumped lately", until=found.until)
        if clock.offset_ms > f.policy.clock_max_offset_ms:
            limit = f.policy.clock_max_offset_ms
            fr, en = f"écart de {clock.offset_ms} ms, {limit} au plus", f"{clock.offset_ms} ms off, {limit} at most"
            return fails(fr, en, until=found.until)
    return found


def feed_fresh(f: Facts) -> Outcome:
    """G-22. No suspension on stale payment data: every billing feed has reported lately."""
    if not f.world.feeds:
        return unknown("aucune source de facturation ne se signale", "no billing source reports")
    age = timedelta(minutes=f.policy.feed_max_age_minutes)
    silent = [source for source, at in f.world.feeds.items() if at is None or at + age <= f.now]
    if silent:
        return fails(f"source muette : {names(silent)}", f"silent source: {names(silent)}")
    # A heartbeat dated in the future proves nothing about the present.
    ahead = {source: at - age for source, at in f.world.feeds.items() if at is not None and at > f.now + age}
    if ahead:
        return unknown(f"source en avance : {names(ahead)}", f"source ahead of time: {names(ahead)}", until=min(ahead.values()))
    oldest = min(at for at in f.world.feeds.values() if at is not None)
    place = f.timezones[0]
    fr, en = f"dernier signe de vie le {moment_fr(oldest, place)}", f"last sign of life {moment_en(oldest, place)}"
    return passes(fr, en, until=oldest + age)


def limits_of(policy: Policy) -> Limits:
    """What a policy allows to be suspended anew on one gateway."""
    return Limits(
        per_hour=policy.max_new_per_hour,
        per_day=policy.max_new_per_day,
        share_of_companies=Decimal(policy.max_share_of_companies),
        share_of_prefixes=Decimal(policy.max_share_of_prefixes),
        canaries=policy.canaries,
        canary_minutes=policy.canary_minutes,
        wave=policy.wave,
    )


def blast_radius(f: Facts) -> Outcome:
    """G-24. Not too much at once, the first ones alone, and nothing while the breaker is open.

    The case's own order does not stand in its way. Two persons may go up to the widest limits for one case; an open breaker
    waits for whoever may release it.
    """
    load, order = f.world.load, f.case.order
    if order is not None and order.applied_at is not None:
        return passes("mesure déjà en vigueur", "the measure is in force already")
    ordered = list(load.ordered)
    own = next((at for at in ordered if order is not None and abs(at - order.ordered_at) < _SAME), None)
    if own is not None:
        ordered.remove(own)
    prefixes = f.company.prefix_count() if f.company else 0
    wait = held(replace(load, ordered=ordered), limits_of(f.policy), f.now, prefixes=prefixes)
    recent = [at for at in ordered if at > f.now - _DAY]
    # Whatever is counted changes when the oldest order leaves the last 24 hours.
    leaves = min((at + _DAY for at in recent), default=None)
    if wait is not None:
        until = None if wait.until is None else min(wait.until, leaves or wait.until)
        return fails(wait.fr, wait.en, until=until)
    most = f.policy.max_new_per_day
    fr, en = f"{len(recent)} suspensions en 24 h, {most} au plus", f"{len(recent)} suspensions in 24 h, {most} at most"
    return passes(fr, en, until=leaves)


def duration(f: Facts) -> Outcome:
    """G-27. A measure is temporary: it ends by itself, and a person looks at the case.

    Counted from the first time the case was suspended: breaks in between (a lease that ran out, a pause) do not make it longer.
    A gentler measure that follows because the time of a stronger one is over has as long again; all together never more than
    what no policy may exceed. Two persons may take it up to the floor, beyond what the order said.
    """
    days = f.policy.max_suspension_days
    order, since = f.case.order, f.case.in_force_since
    began = since if order is None or order.renewed_at is None else order.renewed_at
    ends = [began + timedelta(days=days)] if began else []
    if order is not None:
        ends += [order.ordered_at + timedelta(days=days)] if order.renewed_at is None else []
        ends += [] if "G-27" in f.lifted else [order.expires_at]
    if not ends:
        return passes(f"{days} jours au plus", f"{days} days at most")
    end = min(ends)
    if order is not None and f.stage < order.effect.terms.stage and f.now >= end:
        end += timedelta(days=days)
    end = min(end, since + LONGEST) if since else end
    fr = f"se termine au plus tard le {moment_fr(end, f.timezones[0])}"
    en = f"ends at the latest {moment_en(end, f.timezones[0])}"
    return passes(fr, en, until=end) if f.now < end else fails(fr, en)

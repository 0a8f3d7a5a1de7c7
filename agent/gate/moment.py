"""Floor 1. The code of the checks that rest on the moment, the feeds and the persons."""

from datetime import datetime, timedelta

from agent.calendar import Opening, opening
from agent.gate.facts import Facts
from agent.gate.types import Outcome, Verdict
from agent.gate.words import moment_en, moment_fr, names
from agent.model import Mode

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

#: Roles whose word counts for suspending.
APPROVING_ROLES = frozenset({"credit_officer", "approver", "legal"})


def window(f: Facts) -> Outcome:
    """G-20. The moment of applying: support and payment desk are there, at every site."""
    states = [(zone, _opening(f, zone)) for zone in f.timezones]
    shut = [(zone, state) for zone, state in states if not state.open]
    if not shut:
        until = min(state.until for _, state in states if state.until is not None)
        return Outcome(
            verdict=Verdict.PASS,
            fr=f"fenêtre ouverte jusqu'au {moment_fr(until, f.timezones[0])}",
            en=f"window open until {moment_en(until, f.timezones[0])}",
            until=until,
        )
    zone, state = shut[0]
    fr, en = _WHY_FR[state.why], _WHY_EN[state.why]
    if state.until is not None:
        fr += f", prochaine fenêtre le {moment_fr(state.until, zone)}"
        en += f", next window {moment_en(state.until, zone)}"
    return Outcome(verdict=Verdict.FAIL, fr=fr, en=en, until=state.until)


def _opening(f: Facts, zone: str) -> Opening:
    return opening(
        f.now,
        windows=f.policy.windows,
        timezone=zone,
        country=f.policy.holidays,
        blackout=f.policy.blackout_dates,
        no_eve_of_holiday=f.policy.no_eve_of_holiday,
    )


def feed_fresh(f: Facts) -> Outcome:
    """G-22. No suspension on stale payment data: every billing feed has reported lately."""
    if not f.world.feeds:
        return Outcome(verdict=Verdict.UNKNOWN, fr="aucune source de facturation ne se signale", en="no billing source reports")
    age = timedelta(minutes=f.policy.feed_max_age_minutes)
    silent = [source for source, at in f.world.feeds.items() if at is None or at + age <= f.now]
    if silent:
        return Outcome(verdict=Verdict.FAIL, fr=f"source muette : {names(silent)}", en=f"silent source: {names(silent)}")
    # A heartbeat dated in the future proves nothing about the present.
    ahead = {source: at - age for source, at in f.world.feeds.items() if at is not None and at > f.now + age}
    if ahead:
        return Outcome(
            verdict=Verdict.UNKNOWN,
            fr=f"source en avance : {names(ahead)}",
            en=f"source ahead of time: {names(ahead)}",
            until=min(ahead.values()),
        )
    oldest = min(at for at in f.world.feeds.values() if at is not None)
    return Outcome(
        verdict=Verdict.PASS,
        fr=f"dernier signe de vie le {moment_fr(oldest, f.timezones[0])}",
        en=f"last sign of life {moment_en(oldest, f.timezones[0])}",
        until=oldest + age,
    )


def approvals(f: Facts) -> Outcome:
    """G-23. Enough named persons approved: this case, or (mode auto) this policy in exactly this version."""
    standing = _standing(f) if f.mode is Mode.AUTO else None
    if standing is not None and standing.verdict is Verdict.PASS:
        return standing
    age = timedelta(days=f.policy.approval_valid_days)
    ends = {a: min(a.at + age, a.expires_at or a.at + age) for a in f.case.approvals if a.role in APPROVING_ROLES}
    living = [a for a, end in ends.items() if end > f.now]
    persons = {a.by for a in living}
    return Outcome(
        verdict=Verdict.PASS if len(persons) >= f.policy.approvals else Verdict.FAIL,
        fr=f"{len(persons)} validations sur {f.policy.approvals} : {names(persons) or 'personne'}"
        + (f" ; {standing.fr}" if standing else ""),
        en=f"{len(persons)} approvals of {f.policy.approvals}: {names(persons) or 'nobody'}"
        + (f"; {standing.en}" if standing else ""),
        facts=tuple(a.fact for a in living),
        until=min((ends[a] for a in living), default=None),
    )


def _standing(f: Facts) -> Outcome:
    """As many persons as for a single case: who lets a policy act by itself decides about more than one company."""
    own = [one for one in f.world.standing if one.policy == f.policy.id and one.role in APPROVING_ROLES]
    ends: dict[str, datetime] = {}  # of each person the word that holds longest
    for one in own:
        if one.policy_digest == f.policy.digest and one.expires_at > f.now:
            ends[one.by] = max(one.expires_at, ends.get(one.by, one.expires_at))
    if len(ends) >= f.policy.approvals:
        until = sorted(ends.values())[-f.policy.approvals]
        return Outcome(
            verdict=Verdict.PASS,
            fr=f"validation permanente de {names(ends)} jusqu'au {moment_fr(until, f.timezones[0])}",
            en=f"standing approval by {names(ends)} until {moment_en(until, f.timezones[0])}",
            facts=tuple(one.fact for one in own if one.by in ends and one.policy_digest == f.policy.digest),
            until=until,
        )
    if not own:
        why_fr, why_en = "absente", "missing"
    elif ends:
        why_fr, why_en = f"donnée par {names(ends)} seulement", f"given by {names(ends)} only"
    elif any(one.policy_digest == f.policy.digest for one in own):
        why_fr, why_en = "échue", "expired"
    else:
        why_fr, why_en = "donnée pour une autre version de la politique", "given for another version of the policy"
    return Outcome(verdict=Verdict.FAIL, fr=f"validation permanente {why_fr}", en=f"standing approval {why_en}")


def blast_radius(f: Facts) -> Outcome:
    """G-24. Not too many new suspensions in 24 hours on one gateway. The case's own order does not stand in its way."""
    allowed = f.world.ordered_last_day < f.policy.max_new_per_day + (f.case.order is not None)
    fr = f"{f.world.ordered_last_day} suspensions en 24 h, {f.policy.max_new_per_day} au plus"
    en = f"{f.world.ordered_last_day} suspensions in 24 h, {f.policy.max_new_per_day} at most"
    return Outcome(verdict=Verdict.PASS if allowed else Verdict.FAIL, fr=fr, en=en)


def duration(f: Facts) -> Outcome:
    """G-27. A measure is temporary: it ends by itself, and a person looks at the case.

    Counted from the first time the case was suspended: breaks in between (a lease that ran out, a pause) do not make it longer.
    """
    days = f.policy.max_suspension_days
    order, since = f.case.order, f.case.in_force_since
    ends = [since + timedelta(days=days)] if since else []
    if order is not None:
        ends += [order.expires_at, order.ordered_at + timedelta(days=days)]
    if not ends:
        return Outcome(verdict=Verdict.PASS, fr=f"{days} jours au plus", en=f"{days} days at most")
    end = min(ends)
    return Outcome(
        verdict=Verdict.PASS if f.now < end else Verdict.FAIL,
        fr=f"se termine au plus tard le {moment_fr(end, f.timezones[0])}",
        en=f"ends at the latest {moment_en(end, f.timezones[0])}",
        until=end,
    )

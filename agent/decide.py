"""Floor 1. A judged case -> what to do now, and when that may change.

Rules of this room:

1. Restoring needs one reason; suspending needs every check. A doubt resolves to service on.
2. A restore because a standing check stopped passing closes the case: cutting again takes a new formal notice. A restore for
   a reason of our own (lease ran out, pause, lower ceiling) or because a payment was announced leaves the case open, but
   every approval must be given again.
3. Nothing is back-dated: a decision is about now.
4. Where a measure is no longer lawful as it is but a gentler one is, it steps down to that one. That is a restore of what it lets
   go: it waits for nothing, needs nobody, and is never taken back.
5. The same arguments give the same decision; `next_at` says until when they would, if no new fact comes.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from agent.case import ANNOUNCED, Case, Order
from agent.closing import reason, words
from agent.debt import Debt
from agent.gate import Check, Gate, Kind
from agent.model import Effect, Mode, Policy
from agent.stages import words as stage_words

#: How often a case that only waits for persons or feeds is looked at again; facts that arrive are looked at at once.
POLL = timedelta(seconds=60)


#: Why a case waits because of an announced payment, in French and in English.
_WAITS = ("paiement annoncé", "payment announced")

#: A lease that ends: cause, French, English.
_RAN_OUT = ("lease", "bail expiré", "the lease ran out")
_UNCONFIRMED = (
    "unconfirmed",
    "les applications locales n'ont pas été vues répondre après la mesure",
    "local applications were not seen to answer after the measure",
)


class Act(StrEnum):
    """What to do about one case."""

    NOTHING = "nothing"
    OBSERVE = "observe"
    PROPOSE = "propose"
    SUSPEND = "suspend"
    KEEP = "keep"
    LOWER = "lower"
    RESTORE = "restore"


#: What leaves a measure in force.
IN_FORCE = frozenset({Act.SUSPEND, Act.KEEP, Act.LOWER})


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """What a measure does: to which services, how, and until when at the longest."""

    services: tuple[str, ...]
    effect: Effect
    expires_at: datetime
    renewed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Gentler:
    """A measure that is lawful where the one in force is not any more, and the judgement that says so."""

    measure: Measure
    gate: Gate


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What to do about one case, why, and when to look again without a new fact (None: never).

    `cause` is a check's code or a word, `fr` and `en` say it to people. `lease_until` is how long the measure may stay in the
    kernel without another look, and `measure` what it does; only with SUSPEND, KEEP and LOWER. `final`: the case is closed by
    this restore, and `reason` says why in the words of the trade (`closing.REASONS`); of a restore that is not final it is the
    cause.
    """

    case: str
    act: Act
    cause: str = ""
    fr: str = ""
    en: str = ""
    reason: str = ""
    final: bool = False
    lease_until: datetime | None = None
    next_at: datetime | None = None
    measure: Measure | None = None


def decide(  # noqa: PLR0913 - what is decided on, each by its name
    *,
    case: Case,
    debt: Debt,
    gate: Gate,
    policy: Policy,
    paused: bool,
    restore_all: bool,
    lease_until: datetime | None,
    grace_until: datetime | None,
    now: datetime,
    measure: Measure,
    gentler: Gentler | None = None,
) -> Decision:
    """Decide one case.

    Args:
        case: the case.
        debt: what is owed under its notice.
        gate: its judgement at `now`.
        policy: the company's policy (lease length).
        paused: a person stopped new suspensions on this host.
        restore_all: a person asked for everything to be restored meanwhile.
        lease_until: until when the measure in force may stay in the kernel; None if none is in force.
        grace_until: until when the case waits because a payment was announced; None: it does not.
        now: aware instant.
        measure: what a new order would do.
        gentler: what a measure in force may be stepped down to, where `gate` does not let it go on; None: nothing.
    """
    if case.order is not None:
        return _running(
            case,
            case.order,
            gate,
            gentler,
            debt=debt,
            paused=paused,
            restore_all=restore_all,
            lease_until=lease_until,
            grace_until=grace_until,
            now=now,
        )
    if case.closed:
        return Decision(case=case.id, act=Act.NOTHING, cause="closed", reason=case.closed)
    blocking = gate.blocking(Kind.STANDING, Kind.HEALTH)
    if blocking:
        return Decision(case=case.id, act=Act.NOTHING, cause=blocking[0].code, next_at=_unblocked(blocking, now))
    if grace_until is not None:
        fr, en = _WAITS
        return Decision(case=case.id, act=Act.NOTHING, cause=ANNOUNCED, fr=fr, en=en, next_at=grace_until)
    if gate.mode is Mode.OBSERVE:
        return Decision(case=case.id, act=Act.OBSERVE, next_at=gate.until)
    waiting = gate.blocking(Kind.APPLY)
    if waiting or paused:
        cause = "paused" if paused else waiting[0].code
        act = Act.NOTHING if case.proposed else Act.PROPOSE
        return Decision(case=case.id, act=act, cause=cause, next_at=_sooner(gate.until, now + POLL))
    lease = now + timedelta(minutes=policy.lease_minutes)
    return Decision(
        case=case.id,
        act=Act.SUSPEND,
        lease_until=lease,
        next_at=_sooner(gate.until, _renew_at(case.id, lease, policy.lease_minutes)),
        measure=measure,
    )


def _running(  # noqa: PLR0913 - the same, for a case with an order
    case: Case,
    order: Order,
    gate: Gate,
    gentler: Gentler | None,
    *,
    debt: Debt,
    paused: bool,
    restore_all: bool,
    lease_until: datetime | None,
    grace_until: datetime | None,
    now: datetime,
) -> Decision:
    # Until local applications were seen to answer, the lease is so short that it is the rollback.
    trial = order.trial_seconds > 0
    lease = timedelta(seconds=order.trial_seconds) if trial else timedelta(minutes=order.lease_minutes)
    if lease_until is None and order.applied_at is not None:  # the process died between applying and noting the lease
        lease_until = order.applied_at + lease
    if lease_until is not None:  # whatever the clock did, nothing stays longer than one lease without another look
        lease_until = min(lease_until, now + lease)
    measure = running(order)
    lowered: Decision | None = None
    if gentler is not None and not case.closed and gate.blocking(Kind.STANDING):
        lowered, gate, measure = _lowered(gate, gentler), gentler.gate, gentler.measure
    ended = _final(case, gate, debt) or _ours(order, gate, restore_all=restore_all, graced=grace_until is not None)
    if ended is None and lease_until is None:
        ended = _unapplied(gate, paused=paused)
    if ended is None and lease_until is not None and lease_until <= now:
        ended = _lapse(*(_UNCONFIRMED if trial else _RAN_OUT))
    if ended is not None:
        # Asked for again until the restore is recorded: the kernel may refuse, the process may die.
        return replace(ended, case=case.id, next_at=_sooner(gate.until, now + POLL))
    if lease_until is not None and gate.blocking(Kind.HEALTH):
        # The measure stays as long as its lease, which is not renewed: if the fault lasts, service comes back by itself.
        look_again = _sooner(gate.until, lease_until, now + POLL)
        kept = Decision(case=case.id, act=Act.KEEP, cause="health", lease_until=lease_until, next_at=look_again, measure=measure)
        return _kept(kept, lowered, now)
    if trial:
        lease_until = lease_until or now + lease
        look_again = _sooner(gate.until, lease_until)
        kept = Decision(case=case.id, act=Act.KEEP, cause="trial", lease_until=lease_until, next_at=look_again, measure=measure)
        return _kept(kept, lowered, now)
    if lease_until is None or now >= _renew_at(case.id, lease_until, order.lease_minutes):
        lease_until = now + lease
    renew_at = _renew_at(case.id, lease_until, order.lease_minutes)
    kept = Decision(case=case.id, act=Act.KEEP, lease_until=lease_until, next_at=_sooner(gate.until, renew_at), measure=measure)
    return _kept(kept, lowered, now)


def running(order: Order) -> Measure:
    """What an order does, as far as it was not stepped down."""
    return Measure(services=order.services, effect=order.effect, expires_at=order.expires_at)


def _lowered(gate: Gate, gentler: Gentler) -> Decision:
    """Why a measure steps down, and to what."""
    failed = gate.blocking(Kind.STANDING)[0]
    fr, en = stage_words(gentler.measure.effect)
    return Decision(
        case="",
        act=Act.LOWER,
        cause=failed.code,
        reason=failed.code,
        fr=f"{failed.code} : {failed.fr} ; ramené au {fr}",
        en=f"{failed.code}: {failed.en}; stepped down to {en}",
    )


def _kept(kept: Decision, lowered: Decision | None, now: datetime) -> Decision:
    """What stays in force; where it steps down, that is asked for again until it is recorded."""
    if lowered is None:
        return kept
    soon = _sooner(kept.next_at, now + POLL)
    return replace(lowered, case=kept.case, lease_until=kept.lease_until, measure=kept.measure, next_at=soon)


def _final(case: Case, gate: Gate, debt: Debt) -> Decision | None:
    """The restore that ends a case for good: its ground is gone."""
    if case.closed:
        fr, en = words(case.closed)
        return Decision(case=case.id, act=Act.RESTORE, cause=case.closed, fr=fr, en=en, reason=case.closed, final=True)
    failed = gate.blocking(Kind.STANDING)
    if not failed:
        return None
    code = failed[0].code
    fr, en = f"{code} : {failed[0].fr}", f"{code}: {failed[0].en}"
    return Decision(case=case.id, act=Act.RESTORE, cause=code, fr=fr, en=en, reason=reason(case, debt, code), final=True)


def _ours(order: Order, gate: Gate, *, restore_all: bool, graced: bool) -> Decision | None:
    """The restores that leave the case open."""
    if restore_all:
        return _lapse("paused", "pause demandée par une personne", "paused by a person")
    if graced:
        return _lapse(ANNOUNCED, *_WAITS)
    if gate.mode.rank < order.mode.rank:
        return _lapse("ceiling", f"mode ramené à {gate.mode.value}", f"mode lowered to {gate.mode.value}")
    return None


def _unapplied(gate: Gate, *, paused: bool) -> Decision | None:
    """Ordered but never applied: the moment of applying is now, and everything is asked again."""
    if paused:
        return _lapse("paused", "pause demandée par une personne", "paused by a person")
    late = gate.blocking(Kind.APPLY, Kind.HEALTH)
    if not late:
        return None
    return _lapse(late[0].code, f"ordre non appliqué à temps : {late[0].fr}", f"order not applied in time: {late[0].en}")


def _lapse(cause: str, fr: str, en: str) -> Decision:
    return Decision(case="", act=Act.RESTORE, cause=cause, fr=fr, en=en, reason=cause)


def _unblocked(blocking: tuple[Check, ...], now: datetime) -> datetime | None:
    """When the last of these checks may pass without a new fact: nothing is suspended before. None: never."""
    times: list[datetime] = []
    for check in blocking:
        if check.until is not None and check.until > now:
            times.append(check.until)
        elif check.kind is Kind.HEALTH:
            times.append(now + POLL)
        else:
            return None
    return max(times)


def _renew_at(case: str, lease_until: datetime, minutes: int) -> datetime:
    """Between 40 % and 60 % of the lease before its end, by case: renewals of many cases spread out by themselves."""
    spread = int.from_bytes(hashlib.sha256(case.encode()).digest()[:2], "big") / 65536
    return lease_until - timedelta(minutes=minutes) * (0.4 + 0.2 * spread)


def _sooner(*times: datetime | None) -> datetime | None:
    return min((at for at in times if at is not None), default=None)

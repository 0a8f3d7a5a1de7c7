"""Floor 1. The stages of a measure: which of them a policy uses, how each takes effect, and what is stronger than what.

Rules of this room:

1. Four stages, each includes the ones before: 1 notice only (recorded, nothing is refused), 2 restricted (a cap, or refused in some
   hours only), 3 annex services suspended, 4 extended remote services suspended as well.
2. A formal notice announces the strongest stage it may lead to. Whatever is gentler and hits the same services is within it.
3. A case goes up by a notice of its own, never by itself; it goes down without asking anybody.
4. What is not said about an order's effect is what there was before there were stages: stage 3, always, open connections cut.
5. Stage 4 hits the services that the notice names. Everything remote it hits only where the policy provides for it and the notice
   expressly announced just that; in doubt it is the services.
"""

from collections.abc import Iterable, Mapping
from datetime import time
from decimal import Decimal
from typing import Any, Final, Literal, cast

from agent.model import Effect, Extent, Policy, Service, ServiceClass, Terms, Window

Stage = Literal[1, 2, 3, 4]

NOTICE, RESTRICTED, ANNEX, EXTENDED = 1, 2, 3, 4

SERVICES: Final = "services"
REMOTE: Final = "remote"

#: What a notice that names services and no stage announces: their suspension.
ANNOUNCED_BY_NAME: Final = ANNEX

_DAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "fr": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}


# --- which ----------------------------------------------------------------------------------------------------------


def ladder(policy: Policy, announced: int | None) -> tuple[int, ...]:
    """The stages that a policy uses and a notice covers, the gentlest first.

    Args:
        policy: the company's.
        announced: the strongest stage the notice announces; None: it only names services.
    """
    most = ANNOUNCED_BY_NAME if announced is None else announced
    return tuple(stage for stage in policy.stages if stage <= most)


def first(policy: Policy, announced: int | None, done: Iterable[int], most: int) -> Stage:
    """The stage at which a case begins: the gentlest one that was neither tried nor waived, else the strongest.

    Args:
        policy: the company's.
        announced: as in `ladder`.
        done: stages that were tried on these invoices before, or waived.
        most: no stronger than this: the case was stepped down to it.
    """
    steps = [stage for stage in ladder(policy, announced) if stage <= most]
    if not steps:
        return cast("Stage", min(policy.stages))
    passed = set(done)
    return cast("Stage", next((stage for stage in steps if stage not in passed), steps[-1]))


def below(policy: Policy, announced: int | None, stage: int) -> tuple[Stage, ...]:
    """The gentler measures a case may be stepped down to, the strongest first. A notice alone is none: that is a restore."""
    return tuple(cast("Stage", one) for one in reversed(ladder(policy, announced)) if NOTICE < one < stage)


def least_debt(policy: Policy, stage: int) -> Decimal:
    """The principal from which a stage is in proportion (G-18), besides what any measure needs (G-05)."""
    return {2: policy.stage2_min_debt, 3: policy.stage3_min_debt, 4: policy.stage4_min_debt}.get(stage, Decimal(0))


def least_days(policy: Policy, stage: int) -> int:
    """How long the oldest invoice must be overdue for a stage (G-18)."""
    return {2: policy.stage2_min_days, 3: policy.stage3_min_days, 4: policy.stage4_min_days}.get(stage, 1)


def targets(announced: tuple[str, ...], stage: int, services: Mapping[str, Service], said: int | None) -> tuple[str, ...]:
    """The announced services that a measure of a stage means.

    A notice of stage 4 names extended services beside annex ones: below stage 4 those stay on.

    Args:
        announced: the services a notice names.
        stage: of the measure.
        services: the catalogue.
        said: the stage the notice names, None where it names none.
    """
    if stage >= EXTENDED or said != EXTENDED:
        return announced
    return tuple(name for name in announced if name not in services or services[name].class_ is not ServiceClass.EXTENDED)


# --- how ------------------------------------------------------------------------------------------------------------


def effect_of(policy: Policy, stage: Stage, announced: Extent = SERVICES) -> Effect:
    """How a policy lets a stage take effect.

    Args:
        policy: the company's.
        stage: of the measure.
        announced: how far the notice says that stage 4 reaches.
    """
    drain_ms = policy.drain_minutes * 60_000
    if stage == NOTICE:
        return Effect(terms=Terms(stage=1))
    if stage == RESTRICTED and not policy.effective_hours:
        return Effect(terms=Terms(stage=2, kbit=policy.stage2_kbit))
    hours = policy.effective_hours if stage == RESTRICTED else ()
    return Effect(terms=Terms(stage=stage, drain_ms=drain_ms), hours=hours, extent=extent_of(policy, stage, announced))


def extent_of(policy: Policy, stage: int, announced: Extent) -> Extent:
    """How far a stage reaches: no further than the policy provides for, nor than was announced."""
    return REMOTE if stage == EXTENDED and policy.stage4_extent == announced == REMOTE else SERVICES


def strength(effect: Effect) -> tuple[int, int]:
    """For sorting what is in effect at one moment, the stronger the greater: refusals by stage and extent, caps by throughput."""
    terms = effect.terms
    if terms.stage == NOTICE:
        return 0, 0
    return (1, -terms.kbit) if terms.kbit else (terms.stage, int(effect.extent == REMOTE))


def write_effect(effect: Effect) -> dict[str, Any]:
    """An effect as fields of an event."""
    found: dict[str, Any] = {"stage": effect.terms.stage}
    if effect.terms.kbit:
        found["kbit"] = effect.terms.kbit
    if effect.terms.drain_ms:
        found["drain_seconds"] = effect.terms.drain_ms // 1000
    if effect.extent == REMOTE:
        found["extent"] = REMOTE
    if effect.hours:
        found["hours"] = [
            {"days": list(one.days), "start": f"{one.start:%H:%M}", "end": f"{one.end:%H:%M}"} for one in effect.hours
        ]
    return found


def read_effect(body: Mapping[str, Any]) -> Effect:
    """The effect in the fields of an event."""
    return Effect(
        terms=Terms(
            stage=cast("Stage", int(body.get("stage", ANNEX))),
            kbit=int(body.get("kbit", 0)),
            drain_ms=int(body.get("drain_seconds", 0)) * 1000,
        ),
        hours=tuple(
            Window(
                days=tuple(int(day) for day in one["days"]),
                start=time.fromisoformat(one["start"]),
                end=time.fromisoformat(one["end"]),
            )
            for one in body.get("hours", ())
        ),
        extent=REMOTE if body.get("extent") == REMOTE else SERVICES,
    )


# --- in words -------------------------------------------------------------------------------------------------------


def words(effect: Effect) -> tuple[str, str]:
    """An effect in French and in English, in one line."""
    terms = effect.terms
    if terms.stage == NOTICE:
        return "palier 1 : avis seul, rien n'est refusé", "stage 1: notice only, nothing is refused"
    if terms.kbit:
        return (
            f"palier {terms.stage} : débit limité à {terms.kbit} kbit/s par raccordement et par sens",
            f"stage {terms.stage}: throughput capped at {terms.kbit} kbit/s for each attachment and direction",
        )
    fr, en = {
        RESTRICTED: ("palier 2 : services annexes refusés", "stage 2: annex services refused"),
        ANNEX: ("palier 3 : services annexes suspendus", "stage 3: annex services suspended"),
        EXTENDED: ("palier 4 : services distants étendus suspendus", "stage 4: extended remote services suspended"),
    }[terms.stage]
    if effect.extent == REMOTE:
        fr = "palier 4 : tout ce qui est distant suspendu, sauf les échanges du site et ce qui n'est jamais suspendu"
        en = "stage 4: everything remote suspended, but traffic within the site and what is never suspended"
    if effect.hours:
        fr += f" seulement {hours_words(effect.hours, 'fr')}, heure du site"
        en += f" only {hours_words(effect.hours, 'en')}, site time"
    if terms.drain_ms:
        minutes = terms.drain_ms // 60_000
        fr += f" ; connexions ouvertes : {minutes} min pour finir"
        en += f"; open connections: {minutes} min to finish"
    return fr, en


def hours_words(hours: tuple[Window, ...], language: str) -> str:
    """Hours in words: "du lundi au jeudi de 20:00 à 07:00 le lendemain et du samedi au dimanche toute la journée"."""
    listed = [_window_words(one, language) for one in hours]
    last = " et " if language == "fr" else " and "
    return last.join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else "".join(listed)


def _window_words(window: Window, language: str) -> str:
    names = _DAYS[language]
    first_day, last_day = names[window.days[0]], names[window.days[-1]]
    over, midnight = window.end <= window.start, window.end == time(0)
    if language == "fr":
        days = f"le {first_day}" if first_day == last_day else f"du {first_day} au {last_day}"
        if over and midnight and window.start == time(0):
            return f"{days} toute la journée"
        end = "minuit" if midnight else f"{window.end:%H:%M}" + (" le lendemain" if over else "")
        return f"{days} de {window.start:%H:%M} à {end}"
    days = f"on {first_day}" if first_day == last_day else f"{first_day} to {last_day}"
    if over and midnight and window.start == time(0):
        return f"{days} all day"
    end = "midnight" if midnight else f"{window.end:%H:%M}" + (" the next day" if over else "")
    return f"{days} from {window.start:%H:%M} to {end}"

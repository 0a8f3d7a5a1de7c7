"""Floor 4. What is to come, or would be, as lines for people: a simulation, a forecast, what other policies would alter.

Rules of this room:

1. It only words and lays out; a missing or unknown value is shown as such and never stops the answer.
2. What would be done is told whole; of the companies where nothing is done, a person is shown so many and told how many more.
"""

from collections.abc import Mapping
from typing import Any

from agent.cli.screen import Screen, Words, bold, good, safe, table, width
from agent.cli.show import ahead, facts, part
from agent.cli.words import ACTS, KINDS, STATES, heads, named, word
from agent.stages import ANNEX

#: Companies that a table of states names; more are counted.
_LISTED = 200

#: What the gateway itself watches.
_WATCHED: Words = (
    "comptés comme bons : flux, horloge, registre des procédures, essais locaux",
    "counted as good: feeds, clock, insolvency register, local applications",
)


def simulation(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """What would have happened, in order, and where each company stands at the end."""
    at, later = f"{screen.moment(data.get('at'), 'UTC')} UTC", data.get("later")
    given, none = ("comptée comme donnée", "counted as given"), ("aucune (voir --approved)", "none (see --approved)")
    lines = [bold(screen.words((f"Simulation au {at}", f"Simulation at {at}")))]
    lines += facts(
        screen,
        [
            ("facts", safe(data.get("facts", 0))),
            ("later", screen.words((f"{later} faits postérieurs", f"{later} later facts")) if later else ""),
            ("ceiling", safe(data.get("ceiling", ""))),
            ("standing", screen.words(given if data.get("approved") else none)),
            ("hours", screen.words(("de chaque société, à son premier site", "of each company, at its first site"))),
            ("watched", screen.words(_WATCHED)),
        ],
    )
    moments = [
        [
            screen.moment(one.get("at"), one.get("timezone")),
            safe(one.get("company")),
            act(screen, one),
            named(one.get("services")),
            screen.of(part(one, "reason")),
        ]
        for one in data.get("moments") or ()
    ]
    if moments:
        lines += ["", *table(heads(screen, "when", "company", "act", "services", "why"), moments, width())]
    return [*lines, "", *_outcomes(screen, data)]


def _outcomes(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    none: Mapping[str, Any] = {}
    rows = [
        [
            safe(company.get("company")),
            word(screen, STATES, case["state"]) if case else screen.words(("aucun dossier", "no case")),
            named(case.get("services")) if case.get("state") == "suspended" else "-",
            screen.moment(case.get("next_at"), company.get("timezone")) or "-",
            screen.of(part(case, "reason")) or screen.of(part(company, "answer")),
        ]
        for company in data.get("companies") or ()
        for case in company.get("cases") or (none,)
    ]
    quiet = data.get("quiet") or 0
    others = screen.words((f"sociétés sans mise en demeure : {quiet}", f"companies without a formal notice: {quiet}"))
    if not rows:
        return [screen.words(("Aucun dossier.", "No case.")), *([others] if quiet else [])]
    lines = table(heads(screen, "company", "state", "suspended", "next", "why"), rows[:_LISTED], width())
    return [*lines, *_more(screen, len(rows) - _LISTED), *([others] if quiet else [])]


# --- forecast -----------------------------------------------------------------------------------------------------


def forecast(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """Who becomes suspendable when, and what is still missing."""
    at, until = (screen.moment(data.get(name), "UTC") for name in ("at", "until"))
    lines = [bold(screen.words((f"Du {at} au {until} UTC, sans fait nouveau", f"From {at} to {until} UTC, without a new fact")))]
    rows = [
        [
            safe(one.get("company")),
            safe(one.get("case")),
            word(screen, STATES, one.get("state")),
            screen.moment(one.get("ready_at"), one.get("timezone")) or "-",
            screen.moment(one.get("suspend_at"), one.get("timezone")) or "-",
            ahead(screen, {**one, "ready_at": None, "suspend_at": None}, one.get("timezone")) or "-",
        ]
        for one in (data.get("cases") or ())[:_LISTED]
    ]
    if not rows:
        return [*lines, screen.words(("Aucun dossier ouvert.", "No open case."))]
    lines += ["", *table(heads(screen, "company", "case", "state", "ready", "cut", "then"), rows, width())]
    return [*lines, *_more(screen, max(len(data.get("cases") or ()) - _LISTED, data.get("more") or 0))]


# --- what other policies would alter --------------------------------------------------------------------------------


def differences(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """Which decisions would be others, the worst for the customer first."""
    rows = [
        [
            safe(one.get("company")),
            safe(one.get("case")),
            word(screen, KINDS, one.get("kind")),
            _told(screen, part(one, "old"), one.get("timezone")),
            _told(screen, part(one, "new"), one.get("timezone")),
        ]
        for one in data.get("differences") or ()
    ]
    looked = data.get("companies", 0)
    if not rows:
        none = (f"Aucune décision ne change ({looked} sociétés).", f"No decision would be another ({looked} companies).")
        return [good(screen.words(none))]
    found = ", ".join(f"{word(screen, KINDS, kind)} {count}" for kind, count in part(data, "counts").items())
    end = (f"dossiers changés : {len(rows)} ({found})", f"cases that would be others: {len(rows)} ({found})")
    return [*table(heads(screen, "company", "case", "change", "old", "new"), rows, width()), "", screen.words(end)]


def _told(screen: Screen, story: Mapping[str, Any], zone: Any) -> str:
    """One story in one cell: what is done when, and what is in the way where nothing is."""
    steps = [f"{act(screen, one)} {screen.moment(one.get('at'), zone)}" for one in story.get("moments") or ()]
    missing = named(story.get("missing"))
    if missing and not any(one.get("act") == "suspend" for one in story.get("moments") or ()):
        steps.append(screen.words((f"manque {missing}", f"lacks {missing}")))
    return ", ".join(steps) or word(screen, STATES, story.get("state") or "") or "-"


def act(screen: Screen, one: Mapping[str, Any]) -> str:
    """What is done, and at which stage where it is not that of a plain suspension."""
    text, stage = word(screen, ACTS, one.get("act")), one.get("stage")
    return (
        text if stage in (None, ANNEX) or one.get("act") == "restore" else f"{text} ({screen.words(('palier', 'stage'))} {stage})"
    )


def _more(screen: Screen, more: int) -> list[str]:
    words: Words = (f"... et {more} autres ; --json les donne tous", f"... and {more} more; --json gives them all")
    return [screen.words(words)] if more > 0 else []

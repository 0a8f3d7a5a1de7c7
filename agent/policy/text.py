"""Floor 1. A policy as plain sentences, in French and in English, fit for a contract annex.

Rules of this room:

1. Every value of a policy stands in the text: two policies that differ have different texts. A test keeps it.
2. The words are in `wording.py`; here is what is filled in. It is a draft for a lawyer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from agent.model import Mode, Policy, Window
from agent.policy.wording import ARTICLES, CONSUMER, DIGEST, DOWNWARDS, EVERYTHING, LAST, PUBLIC, TITLE, UPWARDS
from agent.stages import REMOTE, SERVICES, below, hours_words, least_days, least_debt

Language = Literal["fr", "en"]

#: The same words in French and in English.
_Words = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Article:
    """A part of the text: its title and its paragraphs."""

    title: str
    paragraphs: tuple[str, ...]


def title(policy: Policy, language: Language) -> str:
    """The heading of the whole."""
    return TITLE[language].format(id=policy.id, profile=policy.profile)


def articles(policy: Policy, language: Language) -> tuple[Article, ...]:
    """The text of a policy in one language, article by article.

    A policy that refuses says so, and on what conditions it would not; its other values mean nothing then.
    """
    if policy.profile == "fr-consumer":
        return _read(CONSUMER[language], {})
    values = _values(policy, language)
    if policy.profile != "fr-public":
        return _read(ARTICLES[language], values)
    recorded = all((policy.public_clause, policy.public_mission, policy.public_opposition))
    return (*_read(PUBLIC[language], values), *(_read(ARTICLES[language], values) if recorded else ()))


def document(policy: Policy, language: Language) -> str:
    """The whole text: one line per paragraph, an empty line between, articles numbered."""
    lines = [title(policy, language)]
    for number, article in enumerate(articles(policy, language), 1):
        lines += [f"{number}. {article.title}", *article.paragraphs]
    if policy.digest:
        lines.append(DIGEST[language].format(digest=policy.digest))
    return "\n\n".join(lines) + "\n"


def _read(wording: str, values: Mapping[str, str]) -> tuple[Article, ...]:
    found: list[Article] = []
    for part in wording.removeprefix("# ").split("\n# "):
        head, *blocks = part.strip().split("\n\n")
        filled = tuple(_line(block).format_map(values) for block in blocks)
        found.append(Article(title=head, paragraphs=filled))
    return tuple(found)


def _line(wording: str) -> str:
    return " ".join(wording.strip().split("\n"))


# --- values -----------------------------------------------------------------------------------------------------

#: Values that are a number of something, with its name: one and many in French, one in English (many with an s).
_COUNTED: Final[Mapping[str, tuple[str, str, str]]] = {
    "min_days_overdue": ("jour", "jours", "day"),
    "reminder_spacing_days": ("jour", "jours", "day"),
    "notice_days": ("jour", "jours", "day"),
    "reopen_notice_days": ("jour", "jours", "day"),
    "notice_max_age_days": ("jour", "jours", "day"),
    "warning_days": ("jour", "jours", "day"),
    "max_suspension_days": ("jour", "jours", "day"),
    "approval_valid_days": ("jour", "jours", "day"),
    "insolvency_max_age_hours": ("heure", "heures", "hour"),
    "preflight_baseline_hours": ("heure", "heures", "hour"),
    "preflight_max_age_hours": ("heure", "heures", "hour"),
    "feed_max_age_minutes": ("minute", "minutes", "minute"),
    "clock_max_age_minutes": ("minute", "minutes", "minute"),
    "clock_max_offset_ms": ("milliseconde", "millisecondes", "millisecond"),
    "lease_minutes": ("minute", "minutes", "minute"),
    "canary_minutes": ("minute", "minutes", "minute"),
    "max_new_per_hour": ("nouvelle suspension", "nouvelles suspensions", "new suspension"),
    "wave": ("dossier", "dossiers", "case"),
}

#: Values that stand as the bare number or word.
_BARE: Final = (
    *("holidays", "min_reminders", "max_new_per_day"),
    *("max_share_of_companies", "max_share_of_prefixes"),
)

#: Texts that people wrote; where there is none, that is said.
_RECORDED: Final = ("public_clause", "public_mission", "public_opposition")

_CHANNELS: Final[Mapping[str, _Words]] = {
    "lrar": ("lettre recommandée avec avis de réception", "registered letter with acknowledgement of receipt"),
    "lre_q": ("lettre recommandée électronique qualifiée", "qualified electronic registered letter"),
    "commissaire_de_justice": ("acte de commissaire de justice", "deed served by a commissaire de justice"),
}

_PLACES: Final[Mapping[str, _Words]] = {
    "": (
        "Il n'est pas dit à qui appartient le point d'application : tant qu'il en est ainsi, rien n'est suspendu.",
        "It is not said whose the enforcement point is: as long as that is so, nothing is suspended.",
    ),
    "provider": (
        "Elle s'exerce sur la passerelle du prestataire, et ne retient que des services qu'il délivre lui-même.",
        "It is exercised at the provider's own gateway, and withholds only services that the provider delivers itself.",
    ),
    "customer": (
        "Le point d'application appartient au client : rien n'est suspendu.",
        "The enforcement point is the customer's: nothing is suspended.",
    ),
}

_CONFINED: Final[Mapping[bool, _Words]] = {
    True: (
        "Seuls sont visés ceux auxquels se rapportent les factures impayées.",
        "Only those are hit that the unpaid invoices are for.",
    ),
    False: (
        "Ils peuvent l'être aussi pour des factures qui se rapportent à d'autres services.",
        "They may also be hit for invoices that are for other services.",
    ),
}

_MODES: Final[Mapping[Mode, _Words]] = {
    Mode.OBSERVE: (
        "Cette politique est en observation : rien n'est suspendu, ce qui l'aurait été est consigné.",
        "This policy is being observed: nothing is suspended, what would have been is recorded.",
    ),
    Mode.APPROVE: ("Chaque suspension est décidée par des personnes désignées.", "Each suspension is decided by named persons."),
    Mode.AUTO: (
        "Une suspension peut être automatique si des personnes désignées l'ont permis d'avance pour exactement ces valeurs.",
        "A suspension may be automatic where named persons allowed it beforehand for exactly these values.",
    ),
}

_ANNOUNCED: Final[Mapping[bool, _Words]] = {
    True: (
        "Un paiement annoncé rétablit le service, ou diffère la mesure, pour cinq jours ouvrables, une fois par dossier.",
        "An announced payment brings service back, or delays the measure, for five working days, once in a case.",
    ),
    False: (
        "Un paiement annoncé mais non reçu ne change rien.",
        "A payment that is announced but not received changes nothing.",
    ),
}

_GENTLEST_FIRST: Final[_Words] = (
    "La mesure la plus douce est essayée d'abord, ou une personne dit dans le dossier pourquoi elle ne l'est pas.",
    "The gentlest measure is tried first, or a person says in the case why it is not.",
)

_DAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "fr": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}


def _values(policy: Policy, language: Language) -> Mapping[str, str]:
    """Everything that the wording names, as words of one language."""
    french = language == "fr"

    def say(fr: str, en: str) -> str:
        return fr if french else en

    def count(number: int, one: str, many: str, en: str) -> str:
        return say(f"{number} {one if number < 2 else many}", f"{number} {en if number == 1 else f'{en}s'}")

    plain = {name: count(getattr(policy, name), *words) for name, words in _COUNTED.items()}
    bare = {name: str(getattr(policy, name)) for name in _BARE}
    recorded = {name: getattr(policy, name) or say("non consigné", "not recorded") for name in _RECORDED}
    several = policy.approvals > 1
    months, why = policy.min_debt_months, policy.waive_gentler_stages
    days = ", ".join(_day(day, language) for day in policy.blackout_dates)
    return {
        **plain,
        **bare,
        **recorded,
        "enforcement_point": say(*_PLACES[policy.enforcement_point]),
        "confined": say(*_CONFINED[policy.confine_to_unpaid_service]),
        "min_debt": _sum(policy.min_debt, policy.currency, language),
        "months": say(" et ", " and ") + count(months, "redevance mensuelle", "redevances mensuelles", "monthly fee")
        if months
        else "",
        **_stages(policy, language),
        "channels": _listed([say(*_CHANNELS.get(each, (each, each))) for each in policy.notice_channels], say(" ou ", " or ")),
        "gentler": say(*_GENTLEST_FIRST)
        if 2 in policy.stages
        else say(
            f"Une mesure plus douce (service restreint) n'est pas essayée d'abord, pour ce motif : {why}.",
            f"A gentler measure (restricted service) is not tried first, for this reason: {why}.",
        )
        if why
        else say(
            "Dans chaque dossier, une personne dit pourquoi une mesure plus douce (service restreint) n'est pas essayée d'abord.",
            "In each case a person says why a gentler measure (restricted service) is not tried first.",
        ),
        "windows": _listed([_window(each, language) for each in policy.windows], say(" et ", " and ")),
        "eves": say(", ni une veille de jour férié", ", nor on the eve of one") if policy.no_eve_of_holiday else "",
        "blackout": say(f", ni aux dates suivantes : {days}", f", nor on these dates: {days}") if days else "",
        "mode": say(*_MODES[policy.mode]),
        "approvals": count(policy.approvals, "personne", "personnes", "person")
        + (say(", dont un valideur ou un juriste", ", one of them an approver or of the legal role") if several else ""),
        "canaries": say("la première", "the first one")
        if policy.canaries == 1
        else say(f"les {policy.canaries} premières", f"the first {policy.canaries}"),
        "announced": say(*_ANNOUNCED[policy.grace_on_announced]),
    }


def _stages(policy: Policy, language: Language) -> Mapping[str, str]:
    """Which measures there are, from when, and how one follows another."""
    french = language == "fr"

    def say(fr: str, en: str) -> str:
        return fr if french else en

    kbit, hours, clause = policy.stage2_kbit, hours_words(policy.effective_hours, language), policy.suspension_clause
    restricted = (
        say(
            f"le refus de services annexes, {hours} seulement, à l'heure du site",
            f"a refusal of annex services, {hours} only, site time",
        )
        if hours
        else say(
            f"une limite de débit de services annexes, {kbit} kbit/s par raccordement et par sens",
            f"a cap on the throughput of annex services, {kbit} kbit/s for each attachment and direction",
        )
    )
    measures = {
        1: say("un avis, sans que rien ne soit refusé", "a notice, with nothing refused"),
        2: restricted,
        3: say("la suspension de services annexes", "the suspension of annex services"),
        4: say("celle de services distants étendus aussi", "that of extended remote services as well")
        if policy.stage4_extent == SERVICES
        else say(
            "celle de tout ce qui est distant, si la mise en demeure l'annonce expressément",
            "that of everything remote, where the formal notice expressly announces it",
        ),
    }
    stage = say("palier", "stage")
    real = [one for one in policy.stages if one > 1]
    steps = " " + _line(UPWARDS[language]) if len(policy.stages) > 1 else ""
    if 4 in policy.stages:
        steps += " " + _line(LAST[language]).format(clause=clause)
        steps += " " + _line(EVERYTHING[language]) if policy.stage4_extent == REMOTE else ""
    minutes = policy.drain_minutes
    return {
        "measures": _listed([f"{measures[one]} ({stage} {one})" for one in policy.stages], say(" ou ", " or ")),
        "steps": steps,
        "connections": say(
            f"Les connexions ouvertes ont {minutes} minute{'s' if minutes > 1 else ''} pour finir.",
            f"Open connections have {minutes} minute{'s' if minutes > 1 else ''} to finish.",
        )
        if minutes
        else say("Les connexions ouvertes prennent fin aussitôt.", "Open connections end at once."),
        "proportion": " ".join(_proportion(policy, one, language, several=len(real) > 1) for one in real)
        or say(
            "Une mesure qui ne refuse rien est toujours proportionnée.", "A measure that refuses nothing is always proportionate."
        ),
        "lowered": " " + _line(DOWNWARDS[language]) if real and below(policy, max(real), max(real)) else "",
    }


def _proportion(policy: Policy, stage: int, language: Language, *, several: bool) -> str:
    days, least = least_days(policy, stage), least_debt(policy, stage)
    amount = _sum(least, policy.currency, language)
    if language == "fr":
        text = f"La suspension{f' au palier {stage}' if several else ''} n'est proportionnée que si la plus ancienne facture est "
        text += f"échue depuis {days} jour{'s' if days > 1 else ''} au moins"
        return text + (f", et si le principal atteint {amount}." if least else ".")
    text = f"Suspension{f' at stage {stage}' if several else ''} is proportionate only if the oldest invoice is at least "
    text += f"{days} day{'s' if days > 1 else ''} overdue"
    return text + (f" and the principal reaches {amount}." if least else ".")


def _listed(items: list[str], last: str) -> str:
    return last.join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def _sum(amount: Decimal, currency: str, language: Language) -> str:
    english = f"{amount:,.2f}"
    return f"{english.replace(',', ' ').replace('.', ',') if language == 'fr' else english} {currency}"


def _day(day: date, language: Language) -> str:
    return day.strftime("%d/%m/%Y") if language == "fr" else day.isoformat()


def _window(window: Window, language: Language) -> str:
    names = _DAYS[language]
    first, last = names[window.days[0]], names[window.days[-1]]
    if language == "fr":
        days = f"le {first}" if first == last else f"du {first} au {last}"
        return f"{days} de {window.start:%H:%M} à {window.end:%H:%M}"
    days = f"on {first}" if first == last else f"{first} to {last}"
    return f"{days} from {window.start:%H:%M} to {window.end:%H:%M}"

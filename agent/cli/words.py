"""Floor 4. The vocabulary of the command line: every label and every closed word, in French and in English.

Rules of this room:

1. Terms of the trade: suspend and restore, formal notice, hold. One term, one word, everywhere.
2. A word that is not in its table (a newer enforcer's) is shown as it came.
"""

from collections.abc import Callable, Mapping
from typing import Any

from agent.cli.screen import Screen, Words, bad, faint, good, open_point, safe

#: Names of columns and of single facts.
LABELS: Mapping[str, Words] = {
    "address": ("adresse écartée", "address left out"),
    "about": ("objet", "about"),
    "act": ("acte", "act"),
    "ahead": ("à venir", "ahead"),
    "approvals": ("validations", "approvals"),
    "at": ("au", "at"),
    "attachments": ("raccordements", "attachments"),
    "baseline": ("avant la mesure", "before the measure"),
    "breaker": ("disjoncteur", "breaker"),
    "case": ("dossier", "case"),
    "ceiling": ("plafond", "ceiling"),
    "change": ("changement", "change"),
    "check": ("contrôle", "check"),
    "class": ("classe", "class"),
    "companies": ("sociétés", "companies"),
    "company": ("société", "company"),
    "counters": ("paquets refusés", "packets refused"),
    "cut": ("suspendu le", "suspended on"),
    "cycle": ("dernier cycle", "last cycle"),
    "decision": ("décision", "decision"),
    "digest": ("empreinte", "digest"),
    "doubts": ("à vérifier", "in doubt"),
    "due": ("échéance", "due"),
    "facts": ("faits", "facts"),
    "failure": ("échec", "failure"),
    "feed": ("flux", "feed"),
    "feeds": ("flux de facturation", "billing feeds"),
    "group": ("groupe", "group"),
    "held": ("retenu", "held"),
    "holds": ("gel", "hold"),
    "hours": ("heures", "hours"),
    "invoice": ("facture", "invoice"),
    "invoices": ("factures", "invoices"),
    "kernel": ("noyau", "kernel"),
    "later": ("laissés de côté", "left out"),
    "lease": ("bail jusqu'à", "lease until"),
    "link": ("lien hors d'atteinte", "link out of reach"),
    "ledger": ("registre", "ledger"),
    "local": ("applications locales", "local applications"),
    "missing": ("manque", "missing"),
    "mode": ("mode", "mode"),
    "name": ("nom", "name"),
    "new": ("avec les nouvelles", "under the new ones"),
    "next": ("change au plus tôt", "changes at the earliest"),
    "notice": ("mise en demeure", "formal notice"),
    "old": ("avec les anciennes", "under the old ones"),
    "order": ("ordre", "order"),
    "out": ("écartée", "left out"),
    "overrides": ("levées", "overrides"),
    "owed": ("dû", "owed"),
    "pause": ("pause", "pause"),
    "policies": ("politiques", "policies"),
    "policy": ("politique", "policy"),
    "principal": ("principal", "principal"),
    "profile": ("profil", "profile"),
    "ready": ("prêt le", "ready on"),
    "remaining": ("reste dû", "remaining"),
    "selectors": ("sélecteurs", "selectors"),
    "services": ("services", "services"),
    "stage": ("palier", "stage"),
    "sites": ("sites", "sites"),
    "standing": ("validation permanente", "standing approval"),
    "state": ("état", "state"),
    "steps": ("Ensuite", "Next"),
    "suspended": ("suspendu", "suspended"),
    "then": ("ensuite", "then"),
    "verdict": ("passe", "verdict"),
    "waived": ("paliers écartés", "stages waived"),
    "waits": ("attend", "waits for"),
    "watched": ("surveillance", "watched"),
    "way_back": ("pour en sortir", "way back"),
    "when": ("quand", "when"),
    "why": ("pourquoi", "why"),
}

STATES: Mapping[str, Words] = {
    "closed": ("clos", "closed"),
    "suspended": ("suspendu", "suspended"),
    "applying": ("ordonné", "ordered"),
    "lowering": ("à ramener à un palier plus doux", "to be stepped down"),
    "restoring": ("à rétablir", "to be restored"),
    "proposed": ("proposé", "proposed"),
    "observed": ("observé", "observed"),
    "noticed": ("mis en demeure", "noticed"),
}
ACTS: Mapping[str, Words] = {
    "observe": ("observé", "observed"),
    "propose": ("proposé", "proposed"),
    "suspend": ("suspendu", "suspended"),
    "lower": ("ramené à un palier plus doux", "stepped down"),
    "restore": ("rétabli", "restored"),
}
KINDS: Mapping[str, Words] = {
    "new": ("EN PLUS", "NEW"),
    "sooner": ("PLUS TÔT", "SOONER"),
    "stronger": ("PLUS FORT", "STRONGER"),
    "longer": ("PLUS LONG", "LONGER"),
    "other": ("autre", "other"),
    "shorter": ("plus court", "shorter"),
    "gentler": ("plus doux", "gentler"),
    "later": ("plus tard", "later"),
    "gone": ("en moins", "gone"),
}
VERDICTS: Mapping[str, Words] = {
    "pass": ("oui", "pass"),
    "fail": ("NON", "FAIL"),
    "unknown": ("INCONNU", "UNKNOWN"),
    "later": ("plus tard", "later"),
}
OUT: Mapping[str, Words] = {
    "cancelled": ("annulée", "cancelled"),
    "disputed": ("contestée", "disputed"),
    "doubt": ("à vérifier", "in doubt"),
}
STRUCTURES: Mapping[str, Words] = {
    "as_wanted": ("table en place", "table as wanted"),
    "drifted": ("TABLE MODIFIÉE PAR UN TIERS", "TABLE CHANGED BY SOMEBODY"),
    "absent": ("table absente", "no table"),
    "unknown": ("TABLE ILLISIBLE", "TABLE CAN NOT BE READ"),
}
POLICY: Mapping[str, Words] = {
    "valid": ("valides", "valid"),
    "refused": ("REFUSÉES, les précédentes restent en vigueur", "REFUSED, the former stay in force"),
}
LEDGER: Mapping[str, Words] = {
    "writable": ("inscriptible", "writable"),
    "unwritable": ("NON INSCRIPTIBLE : aucune suspension, aucun bail renouvelé", "NOT WRITABLE: no suspension, no lease renewed"),
}
SEEN: Mapping[str, Words] = {
    "answered": ("répond", "answers"),
    "silent": ("MUETTE", "SILENT"),
    "unable": ("indécidable d'ici", "can not be told from here"),
    "unseen": ("pas encore vue", "not seen yet"),
}

_TONES: Mapping[str, Callable[[str], str]] = {
    "absent": faint,
    "answered": good,
    "silent": bad,
    "unable": open_point,
    "unseen": faint,
    "applying": open_point,
    "as_wanted": good,
    "drifted": bad,
    "fail": bad,
    "later": faint,
    "propose": open_point,
    "proposed": open_point,
    "refused": bad,
    "lower": good,
    "lowering": good,
    "restore": good,
    "restoring": good,
    "suspend": open_point,
    "suspended": open_point,
    "unknown": bad,
    "unwritable": bad,
    "valid": good,
    "writable": good,
    "pass": good,
}


def word(screen: Screen, words: Mapping[str, Words], key: Any) -> str:
    """The word for a value of a closed list, in its tone."""
    text = screen.words(words[key]) if key in words else safe(key)
    return _TONES.get(str(key), str)(text)


def heads(screen: Screen, *names: str) -> list[str]:
    """Names of columns in the person's language."""
    return [screen.words(LABELS[name]) for name in names]


def named(items: Any) -> str:
    """A list of names as one text; "" for none."""
    return safe(", ".join(str(item) for item in items or ()))

"""Floor 1. The 27 checks as a table: code, kind, title, ground, floor, who may override, and the code that judges.

Kinds: standing checks hold as long as the measure does; apply-only checks are judged when it is applied; health checks only
keep the lease from being renewed. Override: "no" nobody, "1p" one approver, "2p" two persons of whom one is an approver or of the
legal role; for one case, with a reason, until a date, and never below the floor. The last text of a row says what else an
override is confined to.
"""

from collections.abc import Callable
from typing import Literal

from agent.gate import checks, moment, persons, target
from agent.gate.facts import Facts
from agent.gate.types import Kind, Outcome, Row

_S, _A, _H = Kind.STANDING, Kind.APPLY, Kind.HEALTH


def _row(
    code: str,
    kind: Kind,
    titles: tuple[str, str],
    rule: str,
    floor: str,
    override: Literal["no", "1p", "2p"],
    judge: Callable[[Facts], Outcome],
    only: str = "",
) -> Row:
    return Row(code=code, kind=kind, fr=titles[0], en=titles[1], rule=rule, floor=floor, override=override, only=only, judge=judge)


_PARIS = "CA Paris, 10 June 2022, 20/01387"

TABLE: tuple[Row, ...] = (
    _row("G-01", _S, ("débiteur et cible identifiés", "debtor and target identified"), "C. civ. 1199", "required", "no",
         target.debtor_and_target),
    _row("G-02", _S, ("point d'application et services du prestataire", "the provider's own gateway and services"),
         "C. pén. 323-2", "required", "no", target.own_service),
    _row("G-03", _S, ("factures et prestations identifiées", "invoices and delivery identified"), "C. civ. 1219", "required", "no",
         checks.invoices_identified),
    _row("G-04", _S, ("ancienneté de l'impayé", "days overdue"), "C. civ. 1219", "1 day", "1p", checks.overdue_days),
    _row("G-05", _S, ("principal échu non contesté", "undisputed overdue principal"), "C. civ. 1219", "100 EUR", "2p",
         checks.debt_material),
    _row("G-06", _S, ("relances restées sans effet", "reminders without effect"), _PARIS, "2, 3 days apart", "2p",
         checks.reminders_sent),
    _row("G-07", _S, ("mise en demeure prouvée", "formal notice proven"), "C. civ. 1344; Cass. 1re civ., 20 Jan 2021, 19-20.680",
         "one proven channel", "2p", checks.notice_proven, "the channel; its proof is always attached"),
    _row("G-08", _S, ("mise en demeure complète", "formal notice complete"), "C. civ. 1344", "required", "no",
         checks.notice_complete),
    _row("G-09", _S, ("délai expiré", "period ended"), "CPC 641-642", "8 days", "no", checks.cure_period),
    _row("G-10", _A, ("mise en demeure récente", "formal notice not stale"), "C. civ. 1104", "180 days", "1p", checks.notice_fresh),
    _row("G-11", _S, ("ordre des faits", "order of the facts"), _PARIS, "required", "no", checks.order_of_facts),
    _row("G-12", _S, ("absence de contestation", "no dispute"), "C. civ. 1219", "required", "no", checks.no_dispute),
    _row("G-13", _S, ("absence de gel", "no hold"), "C. com. L622-13; CPC 873; C. civ. 1343-5", "required", "1p", moment.no_hold,
         "holds of kind manual; no other"),
    _row("G-14", _H, ("procédures collectives vérifiées", "insolvency source checked"), "C. com. L622-13", "72 h", "2p",
         moment.insolvency_checked),
    _row("G-15", _S, ("statut non protégé", "no protected status"), "CASF L115-3; CE 8 Oct 2014, 370644", "none set", "2p",
         target.not_protected,
         "natural person, regulated, care; public body with its three conditions recorded; no other"),
    _row("G-16", _S, ("services suspendables seulement", "suspendable services only"), _PARIS,
         "never E, D, P, R, L; X at stage 4 alone", "no", target.classes_suspendable),
    _row("G-17", _S, ("rien de payé d'avance", "nothing paid in advance"), "C. civ. 1219", "required", "no", target.not_prepaid),
    _row("G-18", _S, ("proportionnalité", "proportionality"), "C. civ. 1219", "what stays on is listed", "2p",
         target.proportionate, "stage, sum and age; not the list of what stays on, nor what stage 4 takes"),
    _row("G-19", _S, ("continuité locale", "local continuity"), _PARIS, "24 h baseline", "no", target.local_continuity),
    _row("G-20", _A, ("fenêtre d'application", "window of applying"), "C. civ. 1104", "no Saturday, Sunday, holiday", "no",
         moment.window),
    _row("G-21", _H, ("heure fiable", "trusted time"), "engineering", "60 s", "no", moment.clock_trusted),
    _row("G-22", _H, ("facturation à jour", "billing feed fresh"), "C. civ. 1104", "24 h", "no", moment.feed_fresh),
    _row("G-23", _A, ("validations", "approvals"), "GDPR 22; engineering", "1 person", "no", persons.approvals),
    _row("G-24", _A, ("nombre de suspensions", "number of suspensions"), "engineering", "configured", "2p", moment.blast_radius,
         "the limits; not an open breaker"),
    _row("G-25", _A, ("périmètre inchangé", "scope unchanged"), _PARIS, "review", "1p", target.scope_reviewed),
    _row("G-26", _A, ("dernier avertissement", "last warning"), _PARIS, "none", "1p", checks.warned),
    _row("G-27", _S, ("durée limitée", "limited duration"), "C. civ. 1104", "90 days", "2p", moment.duration),
)  # fmt: skip

"""Floor 1. Why a case ends: the reasons, in one word and in words for people, and which one a failing check stands for.

The reasons of the trade (domain vocabulary: paid, plan agreed, written off ...) and three of our own: a person's hand, a hold,
and a ground that turned out not to bear. A lawyer reads the word in the dossier; the check that failed says the rest.
"""

from collections.abc import Mapping

from agent.case import Case
from agent.debt import Debt, Invoice

#: Every reason, in French and in English.
REASONS: Mapping[str, tuple[str, str]] = {
    "paid": ("payé", "paid"),
    "partially_paid_below_threshold": ("payé en partie, sous le seuil", "paid in part, below the threshold"),
    "plan_agreed": ("échéancier convenu", "payment plan agreed"),
    "written_off": ("créance abandonnée ou annulée", "written off or cancelled"),
    "dispute_upheld": ("contestation reconnue fondée", "dispute upheld"),
    "disputed": ("contestation ouverte", "dispute open"),
    "insolvency": ("procédure collective", "insolvency proceedings"),
    "court": ("décision de justice", "court decision"),
    "error": ("erreur", "error"),
    "terminated": ("client parti ou raccordement terminé", "customer gone or attachment ended"),
    "expired": ("durée maximale atteinte", "longest duration reached"),
    "superseded": ("débiteur remplacé", "debtor replaced"),
    "held": ("procédure gelée", "on hold"),
    "defect": ("un fondement de la mesure ne tient plus", "a ground of the measure no longer holds"),
    "operator": ("rétabli à la main", "restored by hand"),
}

#: What a hold of a kind stands for; other kinds are "held".
_BY_HOLD: Mapping[str, str] = {
    "insolvency": "insolvency",
    "court": "court",
    "grace_period": "court",
    "payment_plan": "plan_agreed",
    "error_review": "error",
}

#: Checks that say by themselves why a case ends; those of the debt look at the debt, every other one is a defect.
_BY_CHECK: Mapping[str, str] = {"G-01": "terminated", "G-12": "disputed", "G-27": "expired"}

#: Checks that look at what is still owed.
_OF_DEBT = frozenset({"G-03", "G-04", "G-05", "G-06", "G-16"})


def words(reason: str) -> tuple[str, str]:
    """A reason in French and in English; a cause recorded before there were reasons stays as it is."""
    return REASONS.get(reason, (reason, reason))


def reason(case: Case, debt: Debt, check: str) -> str:
    """Why a case ends when one of its standing checks stops passing.

    Args:
        case: as it stands now.
        debt: under its notice.
        check: the code of the first check that does not pass.

    Returns:
        a key of `REASONS`.
    """
    if check == "G-13":
        kinds = {hold.kind for hold in case.holds if hold.restores}
        return next((word for kind, word in _BY_HOLD.items() if kind in kinds), "held")
    if check in _OF_DEBT:
        listed = [debt.invoices[name] for name in case.notice.invoices if name in debt.invoices]
        return _of_debt(listed, debt) or "defect"
    return _BY_CHECK.get(check, "defect")


def _of_debt(listed: list[Invoice], debt: Debt) -> str:
    """What became of the invoices a notice names, the weightiest first; "" when nothing did."""
    out = {invoice.out for invoice in listed}
    owing = [invoice for invoice in listed if not invoice.out and invoice.remaining > 0]
    paid = [invoice for invoice in listed if not invoice.out and invoice.remaining < invoice.principal]
    if "insolvency" in out:
        return "insolvency"
    if "disputed" in out:
        return "dispute_upheld" if any(invoice.id in debt.upheld for invoice in listed) else "disputed"
    if paid:
        return "partially_paid_below_threshold" if owing else "paid"
    return "written_off" if "cancelled" in out else ""

"""Floor 1. The code of the checks that rest on whom and what the measure hits: company, services, site, proportion.

One function per row of the table; each looks at `Facts` and nothing else.
"""

from datetime import datetime, timedelta

from agent.calendar import day_everywhere, day_start, local_date
from agent.continuity import Sight
from agent.gate.facts import Facts, statuses
from agent.gate.moment import AHEAD
from agent.gate.types import Kind, Outcome, Verdict, fails, passes, unknown
from agent.gate.words import moment_en, moment_fr, names, sum_en, sum_fr
from agent.model import Policy, Protected, ServiceClass

#: Statuses whose protection two persons may lift for one case; a care customer keeps everything but annex services by G-16.
_LIFTABLE = frozenset({Protected.NATURAL_PERSON, Protected.REGULATED, Protected.CARE})

#: The measure that suspends annex services, and the gentler one before it that this version does not apply: service
#: restricted to hours or throughput. The one before that is the formal notice itself.
_STAGE, _GENTLER = 3, 2


def debtor_and_target(f: Facts) -> Outcome:
    """G-01. The debtor is a known legal entity with a contract, and the target is exactly its own subscriptions."""
    company = f.company
    if company is None:
        return fails("société inconnue de l'inventaire", "company not in the inventory")
    if not company.contract:
        return fails("aucun contrat indiqué pour la société", "no contract given for the company")
    foreign = [name for name in f.case.notice.services if company.subscription(name) is None]
    if foreign:
        return fails(f"service non souscrit : {names(foreign)}", f"service not subscribed: {names(foreign)}")
    edges: list[datetime] = []
    valid = False
    for site, attached in company.attachments():
        today = local_date(f.now, site.timezone)
        valid |= (attached.valid_from or today) <= today <= (attached.valid_to or today)
        ends = attached.valid_to + timedelta(days=1) if attached.valid_to else None
        edges += [day_start(day, site.timezone) for day in (attached.valid_from, ends) if day]
    until = min((edge for edge in edges if edge > f.now), default=None)
    if not valid:
        return fails("aucun raccordement valide", "no valid attachment", until=until)
    fr, en = f"débiteur {company.name}, contrat {company.contract}", f"debtor {company.name}, contract {company.contract}"
    return passes(fr, en, until=until)


def own_service(f: Facts) -> Outcome:
    """G-02. The provider withholds its own service at its own gateway; what others own is not touched (C. pén. 323-2)."""
    place = f.policy.enforcement_point
    if not place:
        return unknown(
            "la politique ne dit pas à qui appartient le point d'application (enforcement_point)",
            "the policy does not say whose the enforcement point is (enforcement_point)",
        )
    if place != "provider":
        return fails("point d'application chez le client", "the enforcement point is the customer's")
    foreign = [name for name in f.case.notice.services if name in f.services and f.services[name].delivered_by != "provider"]
    if foreign:
        return fails(f"services d'autrui : {names(foreign)}", f"services of somebody else: {names(foreign)}")
    return passes("passerelle et services du prestataire", "the provider's own gateway and services")


def not_protected(f: Facts) -> Outcome:
    """G-15. No status that protects the customer, or one that two persons may lift, and did."""
    if f.company is None:
        return unknown("société inconnue de l'inventaire", "company not in the inventory")
    found = statuses(f.company, f.policy)
    if not found:
        return passes("aucun statut protégé", "no protected status")
    fr, en = f"statut protégé : {names(found)}", f"protected status: {names(found)}"
    if Protected.PUBLIC_BODY in found:
        more_fr, more_en = public_conditions(f.policy)
        fr, en = f"{fr} ; {more_fr}", f"{en}; {more_en}"
    if "G-15" in f.lifted and all(one in _LIFTABLE or _recorded(one, f.policy) for one in found):
        return passes(fr, en)
    return fails(fr, en)


def _recorded(status: Protected, policy: Policy) -> bool:
    return status is Protected.PUBLIC_BODY and all((policy.public_clause, policy.public_mission, policy.public_opposition))


def public_conditions(policy: Policy) -> tuple[str, str]:
    """What must be recorded before a public body's services may be withheld (CE, 8 Oct 2014, 370644), and what is."""
    rows = (
        ("clause expresse du contrat", "express clause of the contract", policy.public_clause),
        ("contrat étranger à une mission de service public", "contract outside any public-service mission", policy.public_mission),
        ("organisme mis à même de s'opposer", "the body was able to object", policy.public_opposition),
    )
    fr = ", ".join(f"{text} : {where or 'non consignée'}" for text, _, where in rows)
    en = ", ".join(f"{text}: {where or 'not recorded'}" for _, text, where in rows)
    return f"conditions : {fr}", f"conditions: {en}"


def classes_suspendable(f: Facts) -> Outcome:
    """G-16. Only annex services, and only such as the unpaid invoices are for."""
    if f.company is None:
        return unknown("société inconnue de l'inventaire", "company not in the inventory")
    wrong = []
    for name in f.case.notice.services:
        service, subscription = f.services.get(name), f.company.subscription(name)
        own = subscription.class_ if subscription and subscription.class_ else ServiceClass.ANNEX
        if service is None or service.class_ is not ServiceClass.ANNEX or own is not ServiceClass.ANNEX:
            wrong.append(name)
    if wrong:
        return fails(f"services jamais suspendus : {names(wrong)}", f"services never suspended: {names(wrong)}")
    if f.policy.confine_to_unpaid_service:
        unpaid = {line.service for invoice in f.counted for line in invoice.lines if line.kind == "service" and line.amount > 0}
        paid = [name for name in f.case.notice.services if name not in unpaid]
        if f.counted and paid:
            return fails(
                f"services sans facture impayée : {names(paid)}", f"services with no unpaid invoice: {names(paid)}", until=f.ripens
            )
    fr = f"services annexes seulement : {names(f.case.notice.services)}"
    return passes(fr, f"annex services only: {names(f.case.notice.services)}", until=f.ripens)


def not_prepaid(f: Facts) -> Outcome:
    """G-17. What is already paid for is delivered."""
    if f.company is None:
        return unknown("société inconnue de l'inventaire", "company not in the inventory")
    own = [f.company.subscription(name) for name in f.case.notice.services]
    paid = {s.service: s.paid_through for s in own if s and s.paid_through and s.paid_through >= f.today}
    until = min((day_everywhere(day + timedelta(days=1), f.timezones) for day in paid.values()), default=None)
    if paid:
        return fails(f"services payés d'avance : {names(paid)}", f"services paid in advance: {names(paid)}", until=until)
    return passes("aucun service visé n'est payé d'avance", "no target service is paid in advance")


def proportionate(f: Facts) -> Outcome:
    """G-18. The debt calls for this measure, gentler ones were tried or waived with a reason, and what stays on was announced.

    The formal notice is the first stage and was tried where it took effect; the second, restricted service, is not applied
    by this version, so a person says why it was not tried, or the policy does for all. Two persons may do without, and take a
    smaller or younger debt; that the notice lists what stays on can not be made good later.
    """
    if not f.case.notice.kept:
        return fails(
            "la mise en demeure ne liste pas ce qui reste en service", "the notice does not list what stays on", f.case.notice.facts
        )
    lifted = "G-18" in f.lifted
    why = f.case.waived_why if _GENTLER in f.case.waived else f.policy.waive_gentler_stages
    if not why and not lifted:
        return fails(
            f"palier {_GENTLER} ni essayé ni écarté avec un motif", f"stage {_GENTLER} neither tried nor waived with a reason"
        )
    bound, currency = f.policy.stage3_min_debt, f.policy.currency
    if f.owed < bound and not lifted:
        return fails(
            f"palier {_STAGE} à partir de {sum_fr(bound, currency)}, dû {sum_fr(f.owed, currency)}",
            f"stage {_STAGE} from {sum_en(bound, currency)}, owed {sum_en(f.owed, currency)}",
            until=f.ripens,
        )
    oldest = min((invoice.due_on for invoice in f.counted), default=None)
    days = f.policy.stage3_min_days
    if oldest is not None and (f.today - oldest).days < days and not lifted:
        age = (f.today - oldest).days
        ripe = day_everywhere(oldest + timedelta(days=days), f.timezones)
        return fails(
            f"palier {_STAGE} à partir de {days} jours d'impayé, le plus ancien en a {age}",
            f"stage {_STAGE} from {days} days overdue, the oldest is {age}",
            until=min(at for at in (ripe, f.ripens) if at is not None),
        )
    kept = names(f.case.notice.kept)
    fr = f"palier {_STAGE} ; restent en service : {kept}" + (f" ; palier {_GENTLER} écarté : {why}" if why else "")
    en = f"stage {_STAGE}; stay on: {kept}" + (f"; stage {_GENTLER} waived: {why}" if why else "")
    return passes(fr, en, until=f.ripens)


def local_continuity(f: Facts) -> Outcome:
    """G-19. What is local went on working while it was watched, nothing local would be matched, and nothing stopped since.

    How old that proof is counts at the moment of applying only: later the watch itself says when something stops. When the watch
    sees nothing, nothing new begins, and a measure in force is not renewed: it ends with its lease if that lasts.
    """
    shown = _shown(f)
    if shown.verdict is Verdict.PASS and f.world.sight is Sight.BLIND:
        return unknown("les essais locaux ne répondent pas", "the local probes give no answer", shown.facts, kind=Kind.HEALTH)
    if shown.verdict is Verdict.PASS and f.world.sight is Sight.OUTAGE:
        return unknown("un site entier ne répond plus", "a whole site does not answer any more", shown.facts, kind=Kind.HEALTH)
    return shown


def _shown(f: Facts) -> Outcome:
    case, place = f.case, f.timezones[0]
    if case.regressions:
        listed = names(case.regressions)
        return fails(f"application locale en panne : {listed}", f"local application down: {listed}", case.regressions)
    proof = case.preflight
    if proof is None:
        return unknown("aucun essai préalable de continuité locale", "no preflight of local continuity")
    facts = (proof.fact,)
    if proof.at > f.now + AHEAD:
        return unknown("essai préalable daté de l'avenir", "preflight dated in the future", facts, proof.at - AHEAD)
    if not proof.green or proof.local_matches:
        return fails(
            f"essai préalable négatif, {proof.local_matches} paquets locaux visés",
            f"preflight red, {proof.local_matches} local packets matched",
            facts,
        )
    if proof.baseline_hours < f.policy.preflight_baseline_hours:
        return fails(
            f"observé {proof.baseline_hours} h, {f.policy.preflight_baseline_hours} h demandées",
            f"watched for {proof.baseline_hours} h, {f.policy.preflight_baseline_hours} h required",
            facts,
        )
    fr = f"essai préalable positif du {moment_fr(proof.at, place)}, observé {proof.baseline_hours} h"
    en = f"preflight green of {moment_en(proof.at, place)}, watched for {proof.baseline_hours} h"
    if case.order is not None and case.order.applied_at is not None:
        return passes(fr, en, facts)
    stale = proof.at + timedelta(hours=f.policy.preflight_max_age_hours)
    if f.now >= stale:
        return fails(f"{fr} : trop ancien", f"{en}: too old", facts, kind=Kind.APPLY)
    return passes(fr, en, facts, stale)


def scope_reviewed(f: Facts) -> Outcome:
    """G-25. Price and scope are those of the last paid period, or a person looked at the change."""
    if not f.case.scope_changes:
        return passes("périmètre et prix inchangés ou revus", "scope and price unchanged or reviewed")
    listed = names(f.case.scope_changes)
    if "G-25" in f.lifted:
        return passes(f"changement de périmètre : {listed}", f"change of scope: {listed}", f.case.scope_changes)
    return fails(f"changement de périmètre non revu : {listed}", f"change of scope not reviewed: {listed}", f.case.scope_changes)

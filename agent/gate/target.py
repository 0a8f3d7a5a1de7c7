"""Floor 1. The code of the checks that rest on whom and what the measure hits: company, services, site, proportion.

One function per row of the table; each looks at `Facts` and nothing else.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from agent.calendar import day_everywhere, day_start, local_date
from agent.continuity import Sight
from agent.gate.facts import Facts, statuses
from agent.gate.moment import AHEAD
from agent.gate.types import Kind, Outcome, Verdict, fails, passes, unknown
from agent.gate.words import moment_en, moment_fr, names, sum_en, sum_fr
from agent.model import Policy, Protected, ServiceClass
from agent.stages import ANNEX, EXTENDED, REMOTE, RESTRICTED, least_days, least_debt

#: Statuses whose protection two persons may lift for one case; a care customer keeps everything but annex services by G-16.
_LIFTABLE = frozenset({Protected.NATURAL_PERSON, Protected.REGULATED, Protected.CARE})

#: A stage, and the gentler one before it that was tried or waived first (G-18). Before stage 2 there is the formal notice itself,
#: which was tried where it took effect.
_BEFORE: Mapping[int, int] = {ANNEX: RESTRICTED, EXTENDED: ANNEX}


def debtor_and_target(f: Facts) -> Outcome:
    """G-01. The debtor is a known legal entity with a contract, and the target is exactly its own subscriptions."""
    company = f.company
    if company is None:
        return fails("société inconnue de l'inventaire", "company not in the inventory")
    if not company.contract:
        return fails("aucun contrat indiqué pour la société", "no contract given for the company")
    foreign = [name for name in f.targets if company.subscription(name) is None]
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
    mixed = [name for name in f.targets if name in f.world.inseparable]
    if mixed:  # of a measure in force, what can not be told apart is not refused any more; it needs no end for that
        return fails(
            f"service indiscernable d'autres sur cette passerelle (TARGET_NOT_SEPARABLE) : {names(mixed)}",
            f"service that can not be told apart on this gateway (TARGET_NOT_SEPARABLE): {names(mixed)}",
            kind=Kind.APPLY,
        )
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
    foreign = [name for name in f.targets if name in f.services and f.services[name].delivered_by != "provider"]
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
    if f.stage >= EXTENDED:
        return fails(f"{fr} : jamais au palier {f.stage}", f"{en}: never at stage {f.stage}")
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
    """G-16. Only annex services, at stage 4 extended ones as well, and only such as the unpaid invoices are for.

    What hits everything remote hits every such service of the customer: then the notice must name all of them, so that each is one
    that is unpaid (here), not paid in advance (G-17) and the provider's own (G-02).
    """
    if f.company is None:
        return unknown("société inconnue de l'inventaire", "company not in the inventory")
    classes = {ServiceClass.ANNEX, ServiceClass.EXTENDED} if f.stage >= EXTENDED else {ServiceClass.ANNEX}
    wrong = []
    for name in f.targets:
        service, subscription = f.services.get(name), f.company.subscription(name)
        own = subscription.class_ if subscription and subscription.class_ else ServiceClass.ANNEX
        if service is None or service.class_ not in classes or own not in classes:
            wrong.append(name)
    if wrong:
        return fails(f"services jamais suspendus : {names(wrong)}", f"services never suspended: {names(wrong)}")
    unnamed = [one.service for one in f.company.subscriptions if one.service not in f.targets and not _stays_on(f, one.service)]
    if f.extent == REMOTE and unnamed:
        fr, en = "services que tout ce qui est distant comprend, non annoncés", "services of everything remote, not announced"
        return fails(f"{fr} : {names(unnamed)}", f"{en}: {names(unnamed)}")
    if f.policy.confine_to_unpaid_service:
        unpaid = {line.service for invoice in f.counted for line in invoice.lines if line.kind == "service" and line.amount > 0}
        paid = [name for name in f.targets if name not in unpaid]
        if f.counted and paid:
            return fails(
                f"services sans facture impayée : {names(paid)}", f"services with no unpaid invoice: {names(paid)}", until=f.ripens
            )
    if not f.targets:
        return fails(f"aucun service visé au palier {f.stage}", f"no service is meant at stage {f.stage}")
    if f.stage >= EXTENDED:
        fr, en = "services annexes et étendus seulement", "annex and extended services only"
    else:
        fr, en = "services annexes seulement", "annex services only"
    return passes(f"{fr} : {names(f.targets)}", f"{en}: {names(f.targets)}", until=f.ripens)


def _stays_on(f: Facts, name: str) -> bool:
    """Is a service of a class that is never cut, or known by its addresses and in such a class for this customer?

    One that is known by name, or by its address before NAT, can not be kept whole: the customer's resolver may say another address
    than ours, and what stays connected is known by the address behind NAT.
    """
    service, own = f.services.get(name), f.company.subscription(name) if f.company else None
    if service is None:
        return False
    narrowed = own is not None and own.class_ is not None and not own.class_.suspendable
    return not service.class_.suspendable or (narrowed and service.known_by_address)


def not_prepaid(f: Facts) -> Outcome:
    """G-17. What is already paid for is delivered."""
    if f.company is None:
        return unknown("société inconnue de l'inventaire", "company not in the inventory")
    own = [f.company.subscription(name) for name in f.targets]
    paid = {s.service: s.paid_through for s in own if s and s.paid_through and s.paid_through >= f.today}
    until = min((day_everywhere(day + timedelta(days=1), f.timezones) for day in paid.values()), default=None)
    if paid:
        return fails(f"services payés d'avance : {names(paid)}", f"services paid in advance: {names(paid)}", until=until)
    return passes("aucun service visé n'est payé d'avance", "no target service is paid in advance")


def proportionate(f: Facts) -> Outcome:
    """G-18. The debt calls for this measure, gentler ones were tried or waived with a reason, and what stays on was announced.

    Two persons may do without the gentler ones, and take a smaller or younger debt; that the notice lists what stays on can not be
    made good later, and what hits the services that work rests on takes more than their word.
    """
    if not f.case.notice.kept:
        return fails(
            "la mise en demeure ne liste pas ce qui reste en service", "the notice does not list what stays on", f.case.notice.facts
        )
    stage, before = f.stage, _BEFORE.get(f.stage)
    if stage > max(f.policy.stages):
        return fails(f"palier {stage} non prévu par la politique", f"the policy does not use stage {stage}")
    if stage >= EXTENDED and (lacking := _extended_lacks(f)) is not None:
        return lacking
    lifted = "G-18" in f.lifted
    done_fr, done_en = _gentler(f, before) if before is not None else ("", "")
    if before is not None and not done_fr and not lifted:
        return fails(f"palier {before} ni essayé ni écarté avec un motif", f"stage {before} neither tried nor waived with a reason")
    bound, currency = least_debt(f.policy, stage), f.policy.currency
    if f.owed < bound and not lifted:
        return fails(
            f"palier {stage} à partir de {sum_fr(bound, currency)}, dû {sum_fr(f.owed, currency)}",
            f"stage {stage} from {sum_en(bound, currency)}, owed {sum_en(f.owed, currency)}",
            until=f.ripens,
        )
    oldest = min((invoice.due_on for invoice in f.counted), default=None)
    days = least_days(f.policy, stage)
    if oldest is not None and (f.today - oldest).days < days and not lifted:
        age = (f.today - oldest).days
        ripe = day_everywhere(oldest + timedelta(days=days), f.timezones)
        return fails(
            f"palier {stage} à partir de {days} jours d'impayé, le plus ancien en a {age}",
            f"stage {stage} from {days} days overdue, the oldest is {age}",
            until=min(at for at in (ripe, f.ripens) if at is not None),
        )
    kept = names(f.case.notice.kept)
    fr = f"palier {stage} ; restent en service : {kept}" + (f" ; {done_fr}" if done_fr else "")
    en = f"stage {stage}; stay on: {kept}" + (f"; {done_en}" if done_en else "")
    return passes(fr, en, until=f.ripens)


def _gentler(f: Facts, stage: int) -> tuple[str, str]:
    """How the gentler stage was dealt with, in French and in English; empty if it was not."""
    if stage in f.case.tried:
        return f"palier {stage} essayé", f"stage {stage} tried"
    # What a policy says of all cases is about restricted service; that annex services were not suspended first, a person says.
    general = f.policy.waive_gentler_stages if stage == RESTRICTED else ""
    why = f.case.waived_why if stage in f.case.waived else general
    return (f"palier {stage} écarté : {why}", f"stage {stage} waived: {why}") if why else ("", "")


def _extended_lacks(f: Facts) -> Outcome | None:
    """What stage 4 takes besides, as far as it is not there: a clause of the contract, and an earlier notice without effect."""
    if f.extent == REMOTE and f.policy.stage4_extent != REMOTE:
        return fails(
            "la politique n'étend pas le palier 4 à tout ce qui est distant",
            "the policy does not extend stage 4 to everything remote",
        )
    lost = [name for name in f.case.notice.kept if f.extent == REMOTE and not _stays_on(f, name)]
    if lost:
        return fails(
            f"annoncés comme restant en service, et pourtant distants : {names(lost)}",
            f"announced to stay on, and yet part of everything remote: {names(lost)}",
            f.case.notice.facts,
        )
    if not f.policy.suspension_clause:
        return fails("aucune clause de suspension indiquée pour le palier 4", "no suspension clause is given for stage 4")
    if not f.case.preceded:
        return fails(
            "aucune mise en demeure antérieure restée sans effet, qu'exige le palier 4",
            "no earlier formal notice without effect, as stage 4 takes",
            f.case.notice.facts,
        )
    return None


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
    case = f.case
    if case.regressions:
        listed = names(case.regressions)
        return fails(f"application locale en panne : {listed}", f"local application down: {listed}", case.regressions)
    if (bare := _undeclared(f)) is not None:
        return bare
    return _preflight(f)


def _preflight(f: Facts) -> Outcome:
    case, place = f.case, f.timezones[0]
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


def _undeclared(f: Facts) -> Outcome | None:
    """What hits the services that work rests on takes a declared local application at every site (domain requirement S-15)."""
    bare = [site.id for site in f.company.sites if not site.local_applications] if f.company and f.stage >= EXTENDED else []
    if not bare:
        return None
    return fails(
        f"site sans application locale déclarée : {names(bare)} : jamais au palier {f.stage}",
        f"site without a declared local application: {names(bare)}: never at stage {f.stage}",
    )


def scope_reviewed(f: Facts) -> Outcome:
    """G-25. Price and scope are those of the last paid period, or a person looked at the change."""
    if not f.case.scope_changes:
        return passes("périmètre et prix inchangés ou revus", "scope and price unchanged or reviewed")
    listed = names(f.case.scope_changes)
    if "G-25" in f.lifted:
        return passes(f"changement de périmètre : {listed}", f"change of scope: {listed}", f.case.scope_changes)
    return fails(f"changement de périmètre non revu : {listed}", f"change of scope not reviewed: {listed}", f.case.scope_changes)

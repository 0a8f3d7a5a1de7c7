"""Floor 1. The code of the checks that rest on the debt, the reminders, the notice and the target.

One function per row of the table; each looks at `Facts` and nothing else.
"""

from datetime import date, datetime, timedelta

from agent.calendar import day_everywhere, day_start, local_date
from agent.gate.facts import Facts, threshold, undelivered, valid_reminders
from agent.gate.types import Kind, Outcome, Verdict
from agent.gate.words import day_fr, moment_en, moment_fr, names, sum_en, sum_fr
from agent.model import ServiceClass

#: What a formal notice must state, besides the services and the earliest date (domain requirement S-11).
MUST_STATE = frozenset({"sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore"})


def _pass(fr: str, en: str, facts: tuple[str, ...] = (), until: datetime | None = None) -> Outcome:
    return Outcome(verdict=Verdict.PASS, fr=fr, en=en, facts=facts, until=until)


def _fail(fr: str, en: str, facts: tuple[str, ...] = (), until: datetime | None = None) -> Outcome:
    return Outcome(verdict=Verdict.FAIL, fr=fr, en=en, facts=facts, until=until)


def _unknown(fr: str, en: str, facts: tuple[str, ...] = (), until: datetime | None = None) -> Outcome:
    return Outcome(verdict=Verdict.UNKNOWN, fr=fr, en=en, facts=facts, until=until)


def debtor_and_target(f: Facts) -> Outcome:
    """G-01. The debtor is a known legal entity with a contract, and the target is exactly its own subscriptions."""
    company = f.company
    if company is None:
        return _fail("société inconnue de l'inventaire", "company not in the inventory")
    if not company.contract:
        return _fail("aucun contrat indiqué pour la société", "no contract given for the company")
    foreign = [name for name in f.case.notice.services if company.subscription(name) is None]
    if foreign:
        return _fail(f"service non souscrit : {names(foreign)}", f"service not subscribed: {names(foreign)}")
    edges: list[datetime] = []
    valid = False
    for site, attached in company.attachments():
        today = local_date(f.now, site.timezone)
        valid |= (attached.valid_from or today) <= today <= (attached.valid_to or today)
        ends = attached.valid_to + timedelta(days=1) if attached.valid_to else None
        edges += [day_start(day, site.timezone) for day in (attached.valid_from, ends) if day]
    until = min((edge for edge in edges if edge > f.now), default=None)
    if not valid:
        return Outcome(verdict=Verdict.FAIL, fr="aucun raccordement valide", en="no valid attachment", until=until)
    return Outcome(
        verdict=Verdict.PASS,
        fr=f"débiteur {company.name}, contrat {company.contract}",
        en=f"debtor {company.name}, contract {company.contract}",
        until=until,
    )


def invoices_identified(f: Facts) -> Outcome:
    """G-03. The invoices the measure rests on are identified, due, and say which delivered services they are for."""
    if f.debt.doubts:
        return _fail("paiement à vérifier : " + "; ".join(f.debt.doubts), "payment to look at: " + "; ".join(f.debt.doubts))
    if not f.case.notice.invoices:
        return _fail("la mise en demeure ne cite aucune facture", "the notice names no invoice")
    if not f.listed:
        return _fail("aucune facture citée n'est connue", "none of the invoices named is known")
    bare = [invoice for invoice in f.overdue if undelivered(invoice)]
    if bare and len(bare) == len(f.overdue):
        facts = tuple(fact for invoice in bare for fact in invoice.facts)
        what = names(
            f"{invoice.id} ({names(undelivered(invoice))})" if any(undelivered(invoice)) else invoice.id for invoice in bare
        )
        return _fail(f"preuve de prestation absente : {what}", f"no delivery reference: {what}", facts, f.ripens)
    shown = [invoice for invoice in f.overdue if invoice not in bare]
    fr = f"factures identifiées, prestations justifiées : {names(i.id for i in shown) or 'aucune due'}"
    en = f"invoices identified, delivery shown: {names(i.id for i in shown) or 'none due'}"
    if bare:
        fr += f" ; non comptées, sans preuve : {names(i.id for i in bare)}"
        en += f"; not counted, no proof: {names(i.id for i in bare)}"
    return _pass(fr, en, tuple(fact for invoice in shown for fact in invoice.facts), f.ripens)


def overdue_days(f: Facts) -> Outcome:
    """G-04. Each counted invoice is overdue long enough; younger ones are not counted."""
    needed = max(1, f.policy.min_days_overdue)
    if not f.overdue:
        return _fail(
            f"aucune facture citée n'est impayée depuis {needed} jours",
            f"no invoice of the notice is unpaid for {needed} days",
            until=f.ripens,
        )
    oldest = max((f.today - i.due_on).days for i in f.overdue)
    return _pass(
        f"échues depuis {needed} jours au moins, la plus ancienne depuis {oldest} jours",
        f"overdue for at least {needed} days, the oldest for {oldest} days",
        until=f.ripens,
    )


def debt_material(f: Facts) -> Outcome:
    """G-05. The undisputed overdue principal is material (C. civ. 1219; report on ordonnance 2016-131)."""
    bound, owed, currency = threshold(f.company, f.policy), f.owed, f.policy.currency
    facts = tuple(fact for invoice in f.counted for fact in invoice.facts)
    if owed < bound:
        return _fail(
            f"principal échu non contesté {sum_fr(owed, currency)}, inférieur au seuil de {sum_fr(bound, currency)}",
            f"undisputed overdue principal {sum_en(owed, currency)}, below the threshold of {sum_en(bound, currency)}",
            facts,
            f.ripens,
        )
    return _pass(
        f"principal échu non contesté {sum_fr(owed, currency)} (seuil {sum_fr(bound, currency)})",
        f"undisputed overdue principal {sum_en(owed, currency)} (threshold {sum_en(bound, currency)})",
        facts,
        f.ripens,
    )


def reminders_sent(f: Facts) -> Outcome:
    """G-06. Enough reminders, on days far enough apart, after the due date and before the notice, which recalls them."""
    needed, apart = f.policy.min_reminders, f.policy.reminder_spacing_days
    shown = [invoice for invoice in f.overdue if not undelivered(invoice)] or f.overdue or f.listed
    used = {invoice.id: valid_reminders(invoice, f.case, f.policy, f.timezones) for invoice in shown}
    most = max(used, key=lambda name: len(used[name]), default=None)
    best = used[most] if most is not None else ()
    fr = f"relances valables : {len(best)} sur {needed} demandées, à {apart} jours d'intervalle au moins"
    en = f"valid reminders: {len(best)} of {needed} required, at least {apart} days apart"
    if len(best) < needed:
        return _fail(fr, en, tuple(one.id for one in best), f.ripens)
    short = [name for name, found in used.items() if len(found) < needed]
    if short:
        fr += f" ; non comptées, trop peu relancées : {names(short)}"
        en += f"; not counted, reminded too little: {names(short)}"
    counted = {one.id for found in used.values() if len(found) >= needed for one in found}
    return _pass(fr, en, tuple(sorted(counted)), f.ripens)


def notice_proven(f: Facts) -> Outcome:
    """G-07. The formal notice went by an accepted channel and its reception is proven."""
    notice = f.case.notice
    if notice.channel not in f.policy.notice_channels:
        return _fail(f"canal {notice.channel} non admis", f"channel {notice.channel} not accepted", notice.facts)
    if notice.undeliverable:
        return _fail("pli non distribuable (NPAI)", "letter could not be delivered", notice.facts)
    if notice.effective_at is None:
        return _fail("aucune preuve de réception", "no proof of reception", notice.facts)
    if not notice.proof:
        return _fail("preuve de réception non jointe", "proof of reception not attached", notice.facts)
    return _pass(f"{notice.channel}, preuve {notice.proof}", f"{notice.channel}, proof {notice.proof}", notice.facts)


def notice_complete(f: Facts) -> Outcome:
    """G-08. The notice announces this measure: the services, the earliest date, and all it must state."""
    notice = f.case.notice
    if not notice.services:
        return _fail("aucun service annoncé", "no service announced", notice.facts)
    missing = MUST_STATE - notice.states
    if missing:
        return _fail(f"mentions absentes : {names(missing)}", f"not stated: {names(missing)}", notice.facts)
    if notice.stage is not None and notice.stage < f.policy.stage:
        return _fail(
            f"annonce le palier {notice.stage}, mesure de palier {f.policy.stage}",
            f"announces stage {notice.stage}, the measure is stage {f.policy.stage}",
            notice.facts,
        )
    wider = set(f.case.order.services) - set(notice.services) if f.case.order is not None else set()
    if wider:
        return _fail(
            f"services suspendus sans annonce : {names(wider)}", f"suspended but not announced: {names(wider)}", notice.facts
        )
    day = date.fromisoformat(notice.earliest_on)
    return _pass(
        f"annonce la suspension de {names(notice.services)} à partir du {day_fr(day)}",
        f"announces the suspension of {names(notice.services)} from {day}",
        notice.facts,
    )


def cure_period(f: Facts) -> Outcome:
    """G-09. The notice took effect and its period has ended (CPC 641-642), and the announced date has come."""
    if f.cure_ends is None or f.notice_day is None:
        return _fail("mise en demeure sans effet à ce jour", "the notice has not taken effect", f.case.notice.facts)
    start = max(f.cure_ends, day_everywhere(date.fromisoformat(f.case.notice.earliest_on), f.timezones))
    place = f.timezones[0]
    fr = f"effet le {day_fr(f.notice_day)}, mesure possible à partir du {moment_fr(start, place)}"
    en = f"effective {f.notice_day}, measure possible from {moment_en(start, place)}"
    if f.now < start:
        return Outcome(verdict=Verdict.FAIL, fr=fr, en=en, facts=f.case.notice.facts, until=start)
    return _pass(fr, en, f.case.notice.facts)


def notice_fresh(f: Facts) -> Outcome:
    """G-10. The notice is not stale."""
    if f.cure_ends is None:
        return _unknown("mise en demeure sans effet à ce jour", "the notice has not taken effect")
    ended = min(local_date(f.cure_ends, zone) for zone in f.timezones)
    stale = day_everywhere(ended + timedelta(days=f.policy.notice_max_age_days), f.timezones)
    fr = f"valable jusqu'au {moment_fr(stale, f.timezones[0])}"
    en = f"good until {moment_en(stale, f.timezones[0])}"
    return Outcome(verdict=Verdict.PASS if f.now < stale else Verdict.FAIL, fr=fr, en=en, until=stale)


def order_of_facts(f: Facts) -> Outcome:
    """G-11. Due dates, then reminders, then the notice that recalls them, then the end of the period, then now.

    That a reminder came after the due date is asked of each invoice by G-06, which counts no other.
    """
    if f.cure_ends is None:
        return _unknown("pas de mise en demeure effective à ordonner", "no effective notice to put in order")
    notice = f.case.notice
    known = {reminder.id: reminder for reminder in f.case.reminders}
    recalled = [known[name] for name in notice.reminders if name in known]
    if len(recalled) < f.policy.min_reminders:
        return _fail(
            f"la mise en demeure ne rappelle que {len(recalled)} relances connues",
            f"the notice recalls only {len(recalled)} known reminders",
            notice.facts,
        )
    late = [reminder.id for reminder in recalled if reminder.sent_at >= notice.first_at]
    if late:
        return _fail(f"relances postérieures : {names(late)}", f"reminders after the notice: {names(late)}", notice.facts)
    place = f.timezones[0]
    if notice.effective_at is not None and notice.effective_at < notice.dispatched_at:
        return _fail("réception antérieure à l'envoi", "received before it was sent", notice.facts)
    if f.now < f.cure_ends:
        return Outcome(
            verdict=Verdict.FAIL,
            fr=f"délai en cours jusqu'au {moment_fr(f.cure_ends, place)}",
            en=f"period runs until {moment_en(f.cure_ends, place)}",
            facts=notice.facts,
            until=f.cure_ends,
        )
    return _pass(
        "échéance, relances, mise en demeure et délai dans l'ordre", "due date, reminders, notice and period in order", notice.facts
    )


def no_dispute(f: Facts) -> Outcome:
    """G-12. No open dispute; invoices contested by name and motive are out of the debt already."""
    if f.debt.vague_disputes:
        return _fail(
            f"contestation à qualifier : {names(f.debt.vague_disputes)}",
            f"dispute to be looked at: {names(f.debt.vague_disputes)}",
            f.debt.vague_disputes,
        )
    disputed = [invoice.id for invoice in f.listed if invoice.out == "disputed"]
    if disputed:
        return _pass(f"factures contestées exclues : {names(disputed)}", f"contested invoices left out: {names(disputed)}")
    return _pass("aucune contestation ouverte", "no open dispute")


def no_hold(f: Facts) -> Outcome:
    """G-13. Nothing forbids suspending. A hold that only freezes escalation does not end a measure that is in force."""
    if not f.case.holds:
        return _pass("aucun gel de la procédure", "no hold")
    kinds = names({hold.kind for hold in f.case.holds})
    return Outcome(
        verdict=Verdict.FAIL,
        fr=f"procédure gelée : {kinds}",
        en=f"on hold: {kinds}",
        facts=tuple(hold.fact for hold in f.case.holds),
        kind=None if f.case.order is None or any(hold.restores for hold in f.case.holds) else Kind.APPLY,
    )


def not_protected(f: Facts) -> Outcome:
    """G-15. No status that protects the customer."""
    if f.company is None:
        return _unknown("société inconnue de l'inventaire", "company not in the inventory")
    if f.company.protected:
        kinds = names(status.value for status in f.company.protected)
        return _fail(f"statut protégé : {kinds}", f"protected status: {kinds}")
    return _pass("aucun statut protégé", "no protected status")


def classes_suspendable(f: Facts) -> Outcome:
    """G-16. Only annex services, and only such as the unpaid invoices are for."""
    if f.company is None:
        return _unknown("société inconnue de l'inventaire", "company not in the inventory")
    wrong = []
    for name in f.case.notice.services:
        service, subscription = f.services.get(name), f.company.subscription(name)
        own = subscription.class_ if subscription and subscription.class_ else None
        if service is None or service.class_ is not ServiceClass.ANNEX or (own and own is not ServiceClass.ANNEX):
            wrong.append(name)
    if wrong:
        return _fail(f"services jamais suspendus : {names(wrong)}", f"services never suspended: {names(wrong)}")
    if f.policy.confine_to_unpaid_service:
        unpaid = {line.service for invoice in f.counted for line in invoice.lines if line.kind == "service" and line.amount > 0}
        paid = [name for name in f.case.notice.services if name not in unpaid]
        if f.counted and paid:
            return _fail(
                f"services sans facture impayée : {names(paid)}", f"services with no unpaid invoice: {names(paid)}", until=f.ripens
            )
    fr = f"services annexes seulement : {names(f.case.notice.services)}"
    return _pass(fr, f"annex services only: {names(f.case.notice.services)}", until=f.ripens)


def not_prepaid(f: Facts) -> Outcome:
    """G-17. What is already paid for is delivered."""
    if f.company is None:
        return _unknown("société inconnue de l'inventaire", "company not in the inventory")
    own = [f.company.subscription(name) for name in f.case.notice.services]
    paid = {s.service: s.paid_through for s in own if s and s.paid_through and s.paid_through >= f.today}
    until = min((day_everywhere(day + timedelta(days=1), f.timezones) for day in paid.values()), default=None)
    if paid:
        return Outcome(
            verdict=Verdict.FAIL,
            fr=f"services payés d'avance : {names(paid)}",
            en=f"services paid in advance: {names(paid)}",
            until=until,
        )
    return _pass("aucun service visé n'est payé d'avance", "no target service is paid in advance")

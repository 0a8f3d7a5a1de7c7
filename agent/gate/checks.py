"""Floor 1. The code of the checks that rest on the debt, the reminders and the notice.

One function per row of the table; each looks at `Facts` and nothing else.
"""

from datetime import date, datetime, timedelta

from agent.calendar import day_everywhere, local_date
from agent.gate.facts import Facts, threshold, undelivered, valid_reminders
from agent.gate.types import Kind, Outcome, Verdict, fails, passes, unknown
from agent.gate.words import day_fr, moment_en, moment_fr, names, sum_en, sum_fr
from agent.stages import ANNEX, ANNOUNCED_BY_NAME, REMOTE

#: What a formal notice must state, besides the services and the earliest date (domain requirement S-11).
MUST_STATE = frozenset({"sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore"})


def invoices_identified(f: Facts) -> Outcome:
    """G-03. The invoices the measure rests on are identified, due, and say which delivered services they are for."""
    if f.debt.doubts:
        return fails("paiement à vérifier : " + "; ".join(f.debt.doubts), "payment to look at: " + "; ".join(f.debt.doubts))
    if not f.case.notice.invoices:
        return fails("la mise en demeure ne cite aucune facture", "the notice names no invoice")
    if not f.listed:
        return fails("aucune facture citée n'est connue", "none of the invoices named is known")
    bare = [invoice for invoice in f.overdue if undelivered(invoice)]
    if bare and len(bare) == len(f.overdue):
        facts = tuple(fact for invoice in bare for fact in invoice.facts)
        what = names(
            f"{invoice.id} ({names(undelivered(invoice))})" if any(undelivered(invoice)) else invoice.id for invoice in bare
        )
        return fails(f"preuve de prestation absente : {what}", f"no delivery reference: {what}", facts, f.ripens)
    shown = [invoice for invoice in f.overdue if invoice not in bare]
    fr = f"factures identifiées, prestations justifiées : {names(i.id for i in shown) or 'aucune due'}"
    en = f"invoices identified, delivery shown: {names(i.id for i in shown) or 'none due'}"
    if bare:
        fr += f" ; non comptées, sans preuve : {names(i.id for i in bare)}"
        en += f"; not counted, no proof: {names(i.id for i in bare)}"
    return passes(fr, en, tuple(fact for invoice in shown for fact in invoice.facts), f.ripens)


def overdue_days(f: Facts) -> Outcome:
    """G-04. Each counted invoice is overdue long enough; younger ones are not counted."""
    needed = max(1, f.policy.min_days_overdue)
    if not f.overdue:
        return fails(
            f"aucune facture citée n'est impayée depuis {needed} jours",
            f"no invoice of the notice is unpaid for {needed} days",
            until=f.ripens,
        )
    oldest = max((f.today - i.due_on).days for i in f.overdue)
    return passes(
        f"échues depuis {needed} jours au moins, la plus ancienne depuis {oldest} jours",
        f"overdue for at least {needed} days, the oldest for {oldest} days",
        until=f.ripens,
    )


def debt_material(f: Facts) -> Outcome:
    """G-05. The undisputed overdue principal is material (C. civ. 1219; report on ordonnance 2016-131)."""
    bound, owed, currency = threshold(f.company, f.policy), f.owed, f.policy.currency
    facts = tuple(fact for invoice in f.counted for fact in invoice.facts)
    if owed < bound:
        return fails(
            f"principal échu non contesté {sum_fr(owed, currency)}, inférieur au seuil de {sum_fr(bound, currency)}",
            f"undisputed overdue principal {sum_en(owed, currency)}, below the threshold of {sum_en(bound, currency)}",
            facts,
            f.ripens,
        )
    return passes(
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
        return fails(fr, en, tuple(one.id for one in best), f.ripens)
    short = [name for name, found in used.items() if len(found) < needed]
    if short:
        fr += f" ; non comptées, trop peu relancées : {names(short)}"
        en += f"; not counted, reminded too little: {names(short)}"
    counted = {one.id for found in used.values() if len(found) >= needed for one in found}
    return passes(fr, en, tuple(sorted(counted)), f.ripens)


def notice_proven(f: Facts) -> Outcome:
    """G-07. The formal notice went by an accepted channel and its reception is proven."""
    notice = f.case.notice
    # Two persons may take another channel than the policy does: they look at the proof of this one letter.
    if notice.channel not in f.policy.notice_channels and "G-07" not in f.lifted:
        return fails(f"canal {notice.channel} non admis", f"channel {notice.channel} not accepted", notice.facts)
    if notice.undeliverable:
        return fails("pli non distribuable (NPAI)", "letter could not be delivered", notice.facts)
    if notice.effective_at is None:
        return fails("aucune preuve de réception", "no proof of reception", notice.facts)
    if not notice.proof:
        return fails("preuve de réception non jointe", "proof of reception not attached", notice.facts)
    return passes(f"{notice.channel}, preuve {notice.proof}", f"{notice.channel}, proof {notice.proof}", notice.facts)


def notice_complete(f: Facts) -> Outcome:
    """G-08. The notice announces this measure: the services, the earliest date, and all it must state."""
    notice = f.case.notice
    if not notice.services:
        return fails("aucun service annoncé", "no service announced", notice.facts)
    missing = MUST_STATE - notice.states
    if missing:
        return fails(f"mentions absentes : {names(missing)}", f"not stated: {names(missing)}", notice.facts)
    announced = ANNOUNCED_BY_NAME if notice.stage is None else notice.stage
    if announced < f.stage:
        return fails(
            f"annonce le palier {announced}, mesure de palier {f.stage}",
            f"announces stage {announced}, the measure is stage {f.stage}",
            notice.facts,
        )
    if f.extent == REMOTE and notice.extent != REMOTE:
        return fails(
            "tout ce qui est distant est suspendu sans avoir été annoncé",
            "everything remote is suspended, which was not announced",
            notice.facts,
        )
    wider = set(f.case.order.services) - set(notice.services) if f.case.order is not None else set()
    if wider:
        return fails(
            f"services suspendus sans annonce : {names(wider)}", f"suspended but not announced: {names(wider)}", notice.facts
        )
    day = date.fromisoformat(notice.earliest_on)
    fr, en = ("la suspension", "the suspension") if announced >= ANNEX else ("la restriction", "the restriction")
    all_fr, all_en = (" et de tout ce qui est distant", " and of everything remote") if f.extent == REMOTE else ("", "")
    return passes(
        f"annonce {fr} de {names(notice.services)}{all_fr} à partir du {day_fr(day)}",
        f"announces {en} of {names(notice.services)}{all_en} from {day}",
        notice.facts,
    )


def cure_period(f: Facts) -> Outcome:
    """G-09. The notice took effect and its period has ended (CPC 641-642), and the announced date has come."""
    if f.cure_ends is None or f.notice_day is None:
        return fails("mise en demeure sans effet à ce jour", "the notice has not taken effect", f.case.notice.facts)
    start = max(f.cure_ends, day_everywhere(date.fromisoformat(f.case.notice.earliest_on), f.timezones))
    place = f.timezones[0]
    fr = f"effet le {day_fr(f.notice_day)}, mesure possible à partir du {moment_fr(start, place)}"
    en = f"effective {f.notice_day}, measure possible from {moment_en(start, place)}"
    if f.now < start:
        return Outcome(verdict=Verdict.FAIL, fr=fr, en=en, facts=f.case.notice.facts, until=start)
    return passes(fr, en, f.case.notice.facts)


def notice_fresh(f: Facts) -> Outcome:
    """G-10. The notice is not stale. A measure in force is not ended by it; a case that is not in force is not even proposed."""
    if f.cure_ends is None:
        return unknown("mise en demeure sans effet à ce jour", "the notice has not taken effect")
    ended = min(local_date(f.cure_ends, zone) for zone in f.timezones)
    stale = day_everywhere(ended + timedelta(days=f.policy.notice_max_age_days), f.timezones)
    fr = f"valable jusqu'au {moment_fr(stale, f.timezones[0])}"
    en = f"good until {moment_en(stale, f.timezones[0])}"
    if f.now < stale:
        return passes(fr, en, until=stale)
    return Outcome(verdict=Verdict.FAIL, fr=fr, en=en, kind=Kind.STANDING if f.case.order is None else None)


def order_of_facts(f: Facts) -> Outcome:
    """G-11. Due dates, then reminders, then the notice that recalls them, then the end of the period, then now.

    That a reminder came after the due date is asked of each invoice by G-06, which counts no other.
    """
    if f.cure_ends is None:
        return unknown("pas de mise en demeure effective à ordonner", "no effective notice to put in order")
    notice = f.case.notice
    known = {reminder.id: reminder for reminder in f.case.reminders}
    recalled = [known[name] for name in notice.reminders if name in known]
    if len(recalled) < f.policy.min_reminders:
        return fails(
            f"la mise en demeure ne rappelle que {len(recalled)} relances connues",
            f"the notice recalls only {len(recalled)} known reminders",
            notice.facts,
        )
    late = [reminder.id for reminder in recalled if reminder.sent_at >= notice.first_at]
    if late:
        return fails(f"relances postérieures : {names(late)}", f"reminders after the notice: {names(late)}", notice.facts)
    if f.case.overtaken_by:
        return fails(
            f"mise en demeure dépassée par : {names(f.case.overtaken_by)}",
            f"the notice was overtaken by: {names(f.case.overtaken_by)}",
            notice.facts,
        )
    place = f.timezones[0]
    if notice.effective_at is not None and notice.effective_at < notice.dispatched_at:
        return fails("réception antérieure à l'envoi", "received before it was sent", notice.facts)
    if f.now < f.cure_ends:
        return Outcome(
            verdict=Verdict.FAIL,
            fr=f"délai en cours jusqu'au {moment_fr(f.cure_ends, place)}",
            en=f"period runs until {moment_en(f.cure_ends, place)}",
            facts=notice.facts,
            until=f.cure_ends,
        )
    return passes(
        "échéance, relances, mise en demeure et délai dans l'ordre", "due date, reminders, notice and period in order", notice.facts
    )


def no_dispute(f: Facts) -> Outcome:
    """G-12. No open dispute; invoices contested by name and motive are out of the debt already."""
    if f.debt.vague_disputes:
        return fails(
            f"contestation à qualifier : {names(f.debt.vague_disputes)}",
            f"dispute to be looked at: {names(f.debt.vague_disputes)}",
            f.debt.vague_disputes,
        )
    disputed = [invoice.id for invoice in f.listed if invoice.out == "disputed"]
    if disputed:
        return passes(f"factures contestées exclues : {names(disputed)}", f"contested invoices left out: {names(disputed)}")
    return passes("aucune contestation ouverte", "no open dispute")


def warned(f: Facts) -> Outcome:
    """G-26. A last warning went out after the notice took effect, long enough ago, and reached somebody.

    An approver may do without for one case: the notice itself announced the measure and its date.
    """
    effective = f.case.notice.effective_at
    if effective is None:
        return unknown("mise en demeure sans effet à ce jour", "the notice has not taken effect")
    found = _last_warning(f, effective)
    return passes(found.fr, found.en, found.facts) if "G-26" in f.lifted else found


def _last_warning(f: Facts, effective: datetime) -> Outcome:
    if f.case.unreachable:
        listed = names(f.case.unreachable)
        return fails(f"contact injoignable : {listed}", f"contact can not be reached: {listed}")
    sent = [one for one in f.case.warnings if not one.bounced and one.sent_at >= effective]
    if not sent:
        bounced = any(one.bounced for one in f.case.warnings)
        if bounced:
            return fails("dernier avertissement revenu", "the last warning came back")
        return fails("aucun dernier avertissement envoyé", "no last warning sent")
    days = timedelta(days=f.policy.warning_days)
    first = min(sent, key=lambda one: (one.sent_at, one.id))
    start, place = first.sent_at + days, f.timezones[0]
    fr = f"averti le {moment_fr(first.sent_at, place)}, {f.policy.warning_days} jours avant"
    en = f"warned {moment_en(first.sent_at, place)}, {f.policy.warning_days} days before"
    if f.now < start:
        fr += f" : mesure possible à partir du {moment_fr(start, place)}"
        en += f": measure possible from {moment_en(start, place)}"
        return fails(fr, en, (first.fact,), start)
    return passes(fr, en, (first.fact,))

"""Floor 4. The ledger in words: one French and one English sentence per type of event.

Rules of this room:

1. Every type of `event.TYPES` has a sentence; a type that a newer version wrote is still shown, with its fields.
2. A sentence names fields as `{field}`. What stands in square brackets is left out when one of its fields is empty.
3. Values are only ever filled in, never read as a pattern, and shown without control characters.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from agent.cli.screen import Screen, Words, safe
from agent.event import Event
from agent.model import PLAIN
from agent.stages import ANNEX, read_effect
from agent.stages import words as stage_words

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_FIELD = re.compile(r"\{([a-z_0-9]+)\}")
_MAX_VALUE = 300

#: Words of closed lists, by field: what a vocabulary of English words says to a French reader.
_CLOSED: Mapping[str, Mapping[str, Words]] = {
    "effect": {"restore": ("rétablir", "restore"), "restore_if_paid": ("rétablir après paiement", "restore once paid")},
    "outcome": {"rejected": ("rejetée", "rejected"), "upheld": ("fondée", "upheld"), "withdrawn": ("retirée", "withdrawn")},
    "result": {"green": ("positif", "green"), "red": ("négatif", "red")},
}

SENTENCES: Mapping[str, Words] = {
    "invoice.issued": (
        "facture {invoice} : {amount} {currency}, échéance le {due_on}",
        "invoice {invoice}: {amount} {currency}, due {due_on}",
    ),
    "invoice.overdue": (
        "facture {invoice} échue et impayée : {amount} {currency}, échéance le {due_on}",
        "invoice {invoice} is overdue: {amount} {currency}, due {due_on}",
    ),
    "invoice.cancelled": ("facture {invoice} annulée[ : {reason}]", "invoice {invoice} cancelled[: {reason}]"),
    "reminder.sent": ("relance {reminder} pour {invoices}[, par {channel}]", "reminder {reminder} for {invoices}[, by {channel}]"),
    "notice.dispatched": (
        "mise en demeure {notice} envoyée ({channel}) pour {invoices}, annonce la suspension de {services} dès le {earliest_on}",
        "formal notice {notice} sent ({channel}) for {invoices}, announces the suspension of {services} from {earliest_on}",
    ),
    "notice.presented": ("mise en demeure {notice} présentée", "formal notice {notice} presented"),
    "notice.delivered": ("mise en demeure {notice} remise au destinataire", "formal notice {notice} delivered"),
    "notice.refused": ("mise en demeure {notice} refusée par le destinataire", "formal notice {notice} refused by the addressee"),
    "notice.unclaimed": ("mise en demeure {notice} non réclamée", "formal notice {notice} not claimed"),
    "notice.undeliverable": (
        "mise en demeure {notice} non distribuable : sans effet",
        "formal notice {notice} could not be delivered: it has no effect",
    ),
    "payment.announced": ("paiement {payment} annoncé pour {invoices}", "payment {payment} announced for {invoices}"),
    "payment.received": ("paiement {payment} reçu : {amount} {currency}", "payment {payment} received: {amount} {currency}"),
    "payment.reversed": ("paiement {payment} rejeté[ ({code})]", "payment {payment} came back[ ({code})]"),
    "dispute.opened": (
        "contestation {dispute} ouverte[ sur {invoices}][ : {motive}]",
        "dispute {dispute} opened[ about {invoices}][: {motive}]",
    ),
    "dispute.closed": ("contestation {dispute} close ({outcome})", "dispute {dispute} closed ({outcome})"),
    "hold.set": ("procédure gelée, {kind} ({hold})[ : {reason}]", "on hold, {kind} ({hold})[: {reason}]"),
    "hold.lifted": ("gel {hold} levé[ : {reason}]", "hold {hold} lifted[: {reason}]"),
    "heartbeat": (
        "la source {source} est en vie[, {open_invoices} factures ouvertes]",
        "source {source} is alive[, {open_invoices} open invoices]",
    ),
    "warning.sent": (
        "dernier avertissement {warning} envoyé pour la mise en demeure {notice}[, par {channel}]",
        "last warning {warning} sent for formal notice {notice}[, by {channel}]",
    ),
    "warning.bounced": ("dernier avertissement {warning} revenu", "last warning {warning} came back"),
    "contact.unreachable": ("contact {contact} injoignable", "contact {contact} can not be reached"),
    "contact.reachable": ("contact {contact} de nouveau joignable", "contact {contact} can be reached again"),
    "insolvency.checked": (
        "procédures collectives vérifiées[ ({register})]",
        "register of insolvency proceedings looked at[ ({register})]",
    ),
    "insolvency.opened": (
        "{kind} ouverte le {judgment_on} ({proceedings})[ ; mandataire : {officeholder}]",
        "insolvency proceedings ({kind}) opened on {judgment_on} ({proceedings})[; officeholder: {officeholder}]",
    ),
    "insolvency.closed": ("procédure collective {proceedings} close", "insolvency proceedings {proceedings} are over"),
    "court.order": (
        "décision de justice {decision} : {effect}[, {amount} {currency}][ ; astreinte : {penalty}]",
        "court decision {decision}: {effect}[, {amount} {currency}][; penalty: {penalty}]",
    ),
    "grace_period.granted": (
        "délai de grâce {grace} accordé par le juge jusqu'au {until}",
        "grace period {grace} granted by the judge until {until}",
    ),
    "plan.agreed": ("échéancier {plan} convenu[ pour {invoices}]", "payment plan {plan} agreed[ for {invoices}]"),
    "plan.broken": (
        "échéancier {plan} non respecté : une nouvelle mise en demeure est nécessaire",
        "payment plan {plan} not kept: a new formal notice is needed",
    ),
    "plan.ended": ("échéancier {plan} respecté jusqu'au bout", "payment plan {plan} kept to its end"),
    "switching.requested": (
        "réversibilité demandée ({request})[ pour {services}]",
        "switching or data retrieval asked for ({request})[ for {services}]",
    ),
    "switching.ended": ("réversibilité achevée ({request})", "switching or data retrieval finished ({request})"),
    "debtor.replaced": (
        "débiteur remplacé ({deed})[ par {successor}] : les dossiers ouverts se terminent",
        "debtor replaced ({deed})[ by {successor}]: open cases end",
    ),
    "scope.changed": (
        "périmètre ou prix modifié ({change})[ pour {services}][ : {reason}]",
        "scope or price changed ({change})[ for {services}][: {reason}]",
    ),
    "safety.reported": (
        "danger signalé par le client ({report})[ : {what}]",
        "danger reported by the customer ({report})[: {what}]",
    ),
    "safety.resolved": ("danger écarté ({report})[ : {reason}]", "danger over ({report})[: {reason}]"),
    "preflight.done": (
        "essai préalable {result}, observé {baseline_hours} h, {local_matches} flux locaux visés[ ({applications})]",
        "preflight {result}, watched for {baseline_hours} h, {local_matches} local flows matched[ ({applications})]",
    ),
    "local.regressed": (
        "l'application locale {application} ne répond plus ({regression})[ : {reason}]",
        "local application {application} does not answer any more ({regression})[: {reason}]",
    ),
    "local.recovered": (
        "l'application locale répond de nouveau ({regression})",
        "the local application answers again ({regression})",
    ),
    "clock.checked": (
        "horloge vérifiée : synchronisée {synchronised}, écart {offset_ms} ms[, saut récent {stepped}]",
        "clock checked: synchronised {synchronised}, {offset_ms} ms off[, jumped lately {stepped}]",
    ),
    "approval.given": ("{by} ({role}) valide le dossier {case} : {reason}", "{by} ({role}) approves case {case}: {reason}"),
    "approval.revoked": (
        "{by} retire les validations du dossier {case} : {reason}",
        "{by} revokes the approvals of case {case}: {reason}",
    ),
    "standing_approval.given": (
        "{by} ({role}) donne une validation permanente à la politique {policy} jusqu'au {expires_at} : {reason}",
        "{by} ({role}) gives policy {policy} a standing approval until {expires_at}: {reason}",
    ),
    "standing_approval.revoked": (
        "{by} retire les validations permanentes de la politique {policy} : {reason}",
        "{by} revokes the standing approvals of policy {policy}: {reason}",
    ),
    "override.given": (
        "{by} ({role}) lève le contrôle {check} du dossier {case} jusqu'au {expires_at} : {reason}",
        "{by} ({role}) lifts check {check} of case {case} until {expires_at}: {reason}",
    ),
    "override.revoked": (
        "{by} retire les levées du contrôle {check} du dossier {case} : {reason}",
        "{by} revokes the overrides of check {check} of case {case}: {reason}",
    ),
    "stage.waived": (
        "{by} ({role}) écarte les paliers {stages} du dossier {case} : {reason}",
        "{by} ({role}) waives stages {stages} of case {case}: {reason}",
    ),
    "scope.reviewed": (
        "{by} ({role}) a revu le changement {change} : {reason}",
        "{by} ({role}) looked at change {change}: {reason}",
    ),
    "court.lifted": (
        "{by} ({role}) constate la fin de la décision {decision}, pièce {document} : {reason}",
        "{by} ({role}) states that decision {decision} ended, document {document}: {reason}",
    ),
    "case.voided": (
        "{by} annule le dossier {case} pour erreur ({cause}) : {reason}",
        "{by} voids case {case} as an error ({cause}): {reason}",
    ),
    "breaker.released": ("{by} ({role}) referme le disjoncteur : {reason}", "{by} ({role}) releases the breaker: {reason}"),
    "restore.ordered": ("{by} ordonne le rétablissement : {reason}", "{by} orders to restore: {reason}"),
    "pause.set": ("{by} met toute nouvelle suspension en pause : {reason}", "{by} pauses every new suspension: {reason}"),
    "pause.lifted": ("{by} lève la pause : {reason}", "{by} lifts the pause: {reason}"),
    "case.proposed": (
        "dossier {case} proposé : {services} ; en attente",
        "case {case} proposed: {services}; waiting",
    ),
    "case.observed": (
        "dossier {case} : {services} auraient été suspendus (mode observe)",
        "case {case}: {services} would have been suspended (mode observe)",
    ),
    "case.delayed": (
        "paiement annoncé : le dossier {case} attend jusqu'au {until}",
        "payment announced: case {case} waits until {until}",
    ),
    "policy.pinned": (
        "politique et classes fixées pour la mise en demeure {notice}",
        "policy and classes pinned for formal notice {notice}",
    ),
    "breaker.opened": (
        "disjoncteur ouvert, nouvelles suspensions retenues : {cause}",
        "breaker open, new suspensions are held: {cause}",
    ),
    "order.suspend": (
        "ordre {order} : suspendre {services} (mode {mode}), au plus tard jusqu'au {expires_at}[ ; {terms}]",
        "order {order}: suspend {services} (mode {mode}), at the latest until {expires_at}[; {terms}]",
    ),
    "measure.confirmed": (
        "mesure confirmée ({order}) : les applications locales répondent comme avant ({applications})",
        "measure confirmed ({order}): local applications answer as before ({applications})",
    ),
    "measure.applied": (
        "{services} suspendus, relus dans le noyau (ordre {order}, {elements} éléments)[ ; {measured}]",
        "{services} suspended, read back in the kernel (order {order}, {elements} elements)[; {measured}]",
    ),
    "measure.lowered": (
        "mesure ramenée à un palier plus doux : {services} (ordre {order}), au plus tard jusqu'au {expires_at} : {cause}",
        "measure stepped down: {services} (order {order}), at the latest until {expires_at}: {cause}",
    ),
    "measure.switched": (
        "mesure en effet selon son horaire : {in_effect} (ordre {order}, {elements} éléments)",
        "measure in effect by its hours: {in_effect} (order {order}, {elements} elements)",
    ),
    "measure.restored": (
        "service rétabli, relu dans le noyau (ordre {order}) : {cause}",
        "restored, read back in the kernel (order {order}): {cause}",
    ),
    "measure.repaired": ("règles remises en place : {what} ({count})", "rules put right: {what} ({count})"),
    "policy.loaded": ("politiques en vigueur : {digest}", "policies in force: {digest}"),
    "policy.rejected": (
        "politiques refusées, les précédentes restent en vigueur : {problems} problèmes[, dont {first}]",
        "policies refused, the former stay in force: {problems} problems[, such as {first}]",
    ),
    "ledger.erased": (
        "{by} a effacé le contenu de {count} lignes ({rows}) reçues avant le {before} : {reason}",
        "{by} erased the bodies of {count} rows ({rows}) received before {before}: {reason}",
    ),
    "agent.started": ("agent démarré, version {version}[, noyau {kernel}]", "agent started, version {version}[, kernel {kernel}]"),
    "customer.unknown": (
        "fait sur un client inconnu, {customer} : {type}",
        "a fact about an unknown customer, {customer}: {type}",
    ),
}


def tell(event: Event, screen: Screen) -> str:
    """One event as a sentence."""
    pattern = SENTENCES.get(event.type)
    values = _values(event, screen)
    if pattern is None:
        return safe(f"{event.type}: {json.dumps(event.body, ensure_ascii=False, sort_keys=True)}"[:_MAX_VALUE])

    def fill(match: re.Match[str]) -> str:
        return values.get(match[1], "")

    def keep(match: re.Match[str]) -> str:
        part = match[1]
        return part if all(values.get(name) for name in _FIELD.findall(part)) else ""

    return _FIELD.sub(fill, _OPTIONAL.sub(keep, screen.words(pattern)))


def _values(event: Event, screen: Screen) -> dict[str, str]:
    """The fields of an event as texts; those of an announcement and of the times beside the others."""
    body: dict[str, Any] = {"source": event.source}
    for value in (event.body, event.body.get("announces"), event.body.get("times")):
        if isinstance(value, Mapping):
            body.update(value)
    if body.get(f"reason_{screen.language}") and event.type in ("measure.restored", "measure.lowered"):
        body["cause"] = body[f"reason_{screen.language}"]
    if body.get(f"cause_{screen.language}"):
        body["cause"] = body[f"cause_{screen.language}"]
    return {name: _text(name, value, screen) for name, value in body.items()} | _staged(event, screen)


def _staged(event: Event, screen: Screen) -> dict[str, str]:
    """How a measure takes effect, where that is not a plain suspension."""
    if "stage" not in event.body or event.type not in ("order.suspend", "measure.applied"):
        return {}
    if event.type == "measure.applied":
        stage = event.body["stage"]
        return {} if stage == ANNEX else {"measured": screen.words((f"palier {stage}", f"stage {stage}"))}
    effect = read_effect(event.body)
    return {} if effect == PLAIN else {"terms": screen.words(stage_words(effect))}


def _text(name: str, value: Any, screen: Screen) -> str:
    if isinstance(value, str) and value in _CLOSED.get(name, {}):
        return screen.words(_CLOSED[name][value])
    if isinstance(value, bool):
        return screen.words(("oui", "yes") if value else ("non", "no"))
    until_a_day = name == "until" and isinstance(value, str) and len(value) == len("2026-01-31")
    if name.endswith("_on") or until_a_day:
        return screen.day(value)
    if name.endswith("_at") or name == "until":
        return screen.moment(value)
    if name == "amount":
        return screen.amount(value)
    if name == "digest":
        return safe(str(value)[:12])
    if isinstance(value, list):
        return safe(", ".join(str(item) for item in value))[:_MAX_VALUE]
    return safe(value)[:_MAX_VALUE]

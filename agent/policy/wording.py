"""Floor 1. The words of a policy's text, whole, in French and in English: for a lawyer to read and correct.

Rules of this room:

1. An empty line ends a paragraph; a line that begins with `# ` is the title of an article. Line ends inside a paragraph mean
   nothing.
2. `{name}` stands for a value or for a sentence that depends on one; `text.py` fills it in.
3. Terms of the trade, short sentences. Nothing is promised that the gate does not keep.
"""

from typing import Final

TITLE: Final = {
    "fr": "Suspension de services pour impayé : politique {id} (profil {profile})",
    "en": "Suspension of services for non-payment: policy {id} (profile {profile})",
}

DIGEST: Final = {"fr": "Empreinte des valeurs (SHA-256) : {digest}", "en": "Digest of the values (SHA-256): {digest}"}

CONSUMER: Final = {
    "fr": """\
# Consommateurs

Aucun service n'est suspendu à un consommateur par ce moyen. Une demande d'aide au fonds de solidarité pour le logement maintient
l'accès (CASF L115-3), et d'autres textes protègent le consommateur : chaque cas est traité par des personnes.
""",
    "en": """\
# Consumers

No service is suspended to a consumer by these means. An application to the housing solidarity fund keeps access up (CASF L115-3),
and other texts protect consumers: each case is handled by people.
""",
}

PUBLIC: Final = {
    "fr": """\
# Organismes publics

Le cocontractant d'un organisme public ne peut en principe lui opposer l'exception d'inexécution (CE, 7 janvier 1976, Ville
d'Amiens ; CE, 8 octobre 2014, Grenke, n° 370644). Rien n'est suspendu tant que les trois conditions suivantes ne sont pas
consignées ; ensuite, seulement par la décision motivée de deux personnes dans un dossier, jamais automatiquement.

- Une clause expresse du contrat le prévoit : {public_clause}.

- Le contrat est étranger à toute mission de service public : {public_mission}.

- L'organisme a été mis à même de s'y opposer pour un motif d'intérêt général : {public_opposition}.
""",
    "en": """\
# Public bodies

Whoever contracts with a public body may in principle not withhold performance (CE, 7 January 1976, Ville d'Amiens; CE, 8
October 2014, Grenke, no. 370644). Nothing is suspended until the following three conditions are recorded; then only by the
reasoned decision of two persons in one case, never automatically.

- The contract expressly provides for it: {public_clause}.

- The contract serves no public mission: {public_mission}.

- The body was able to object on grounds of general interest: {public_opposition}.
""",
}

#: How a stronger measure follows a gentler one, where there are several.
UPWARDS: Final = {
    "fr": """\
La première mesure est la plus douce ; une plus forte suppose une nouvelle mise en demeure, son propre délai, ses propres
accords, et les mêmes conditions que la première.
""",
    "en": """\
The gentlest measure comes first; a stronger one takes a new formal notice, a period and agreements of its own, and meets
every condition that the first one met.
""",
}

#: What stage 4 takes besides.
LAST: Final = {
    "fr": """\
Le palier 4 suppose en outre une clause du contrat ({clause}), une mise en demeure antérieure restée sans effet, l'accord
d'un juriste dans chaque dossier, et à chaque site une application locale déclarée.
""",
    "en": """\
Stage 4 takes besides that a clause of the contract ({clause}), an earlier formal notice without effect, the agreement of
somebody of the legal role in each case, and a declared local application at each site.
""",
}

#: What everything remote leaves on, and what it takes.
EVERYTHING: Final = {
    "fr": """\
Étendu à tout ce qui est distant, il laisse les échanges au sein de chaque site, ce dont les applications locales dépendent, et
ce qui reste toujours en service ; la mise en demeure nomme chaque service souscrit qu'il atteint.
""",
    "en": """\
Extended to everything remote, it leaves traffic within each site, what local applications depend on, and what always stays on;
the formal notice names every subscribed service that it reaches.
""",
}

#: How a gentler measure follows a stronger one.
DOWNWARDS: Final = {
    "fr": """\
Quand une mesure n'est plus proportionnée à ce qui reste dû, ou a duré aussi longtemps, elle revient sans délai à une plus
douce qui reste permise, pour 90 jours en tout au plus ; sinon le service revient en entier.
""",
    "en": """\
When a measure is no longer in proportion to what is left to pay, or has lasted as long, it goes back without delay to a
gentler one that is still allowed, for 90 days in all at most; otherwise service comes back in full.
""",
}

ARTICLES: Final = {
    "fr": """\
# Objet

Le prestataire peut suspendre des services annexes à une société cliente qui ne paie pas des factures échues et non
contestées, dans les conditions et les limites qui suivent.

La suspension repose sur l'exception d'inexécution (C. civ. 1219). Elle est temporaire, ne met pas fin au contrat, et ne
touche ni aux équipements, ni aux identifiants, ni aux données du client. {enforcement_point}

Elle vise la seule société débitrice, jamais les autres sociétés de son groupe.

# Services concernés

La mesure ne vise que des services que la mise en demeure annonce ; elle peut être {measures}. {confined}{steps}

{connections}

Restent toujours en service : les applications locales et ce dont elles dépendent (noms, heure, annuaire, licences), les
communications d'urgence et la sécurité des personnes, l'espace client et le paiement, la sauvegarde et la restitution des
données.

Ce qui est payé d'avance est délivré.

# Dette

Chaque facture comptée est échue depuis {min_days_overdue} au moins, identifiée, et se rapporte à des prestations dont
l'exécution est justifiée. Leur principal impayé atteint {min_debt}{months}. Les pénalités et les frais ne comptent pas.

Une facture contestée avec un motif ne compte plus. Tant qu'une contestation ne dit ni facture ni motif, rien n'est suspendu.

{proportion}

Une dette née avant l'ouverture d'une procédure collective ne compte plus (C. com. L622-13).

# Relances

{min_reminders} relances au moins, à {reminder_spacing_days} d'intervalle au moins, ont été envoyées après l'échéance et sont
restées sans effet.

# Mise en demeure et dernier avertissement

Une mise en demeure est adressée par {channels}. Elle rappelle les relances, et énonce les sommes, les factures, le délai, les
services qui seront suspendus et à partir de quelle date, ceux qui restent en service, comment payer, comment contester, qui
joindre, et que le service revient dès le paiement.

Rien n'est suspendu avant la date annoncée, ni avant la fin d'un délai de {notice_days} à compter de la remise, du refus ou de
la première présentation du pli (d'une lettre recommandée électronique non réclamée, de son expiration). Le délai est compté
selon les articles 641 et 642 du code de procédure civile, avec les jours fériés du calendrier {holidays}.

Une mise en demeure dont le délai a expiré depuis {notice_max_age_days} ne vaut plus.

Si un paiement est rejeté après le rétablissement, une nouvelle mise en demeure est nécessaire ; son délai est de
{reopen_notice_days} si la première l'annonçait.

Un dernier avertissement est envoyé {warning_days} au moins avant la mesure. S'il revient, ou si personne ne peut être joint,
rien n'est suspendu.

# Ce qui empêche ou lève une suspension

Un échéancier convenu, une procédure collective, une décision de justice, un délai de grâce accordé par un juge, une demande
de réversibilité sur les services visés, un danger signalé : rien n'est suspendu, et ce qui l'était est rétabli sans délai.

Rien n'est suspendu automatiquement à une personne physique, à un organisme public, à un établissement de soins ou à une
entité réglementée ; ni jamais à un consommateur, ni à qui dessert des clients indirects ou n'a pas d'autre canal de vente.

L'ouverture d'une procédure collective est recherchée au moins toutes les {insolvency_max_age_hours}.

# Proportionnalité

{gentler}

Un changement de prix ou de périmètre depuis la dernière période payée est revu par une personne avant toute mesure.

# Continuité des applications locales

Les applications locales sont observées pendant {preflight_baseline_hours} au moins, et un essai à blanc, qui date de moins de
{preflight_max_age_hours}, montre que la mesure ne vise aucun échange local.

Si l'une d'elles cesse de répondre pendant la mesure, le service est rétabli sans délai, quelle qu'en soit la cause.

# Moment

Une suspension commence seulement {windows}, à l'heure du site ; jamais un samedi, un dimanche ou un jour
férié{eves}{blackout}.

Elle suppose une facturation à jour à {feed_max_age_minutes} près, et une horloge vérifiée depuis moins de
{clock_max_age_minutes}, synchronisée et juste à {clock_max_offset_ms} près.

# Décision

{mode} Il faut l'accord de {approvals}. Un accord donné pour un dossier vaut {approval_valid_days}.

Une condition ne peut être levée que dans un dossier, par les personnes prévues pour ce contrôle, avec un motif consigné,
jusqu'à une date, et jamais au-dessous de son plancher.

# Nombre

Au plus {max_new_per_hour} par heure et {max_new_per_day} par jour ; au plus {max_share_of_companies} % des sociétés et
{max_share_of_prefixes} % des réseaux à la fois, une première société exceptée. Après {canaries}, les suivantes attendent
{canary_minutes}.

Si plus de {wave} deviennent mûrs en une heure, ou si une erreur apparaît, toute nouvelle suspension attend qu'une personne
désignée ait vérifié. Les rétablissements n'attendent jamais.

# Durée

Une suspension dure {max_suspension_days} au plus ; elle prend fin d'elle-même, et une personne revoit le dossier. Sans
renouvellement par le système qui la vérifie, elle prend fin en {lease_minutes}.{lowered}

# Rétablissement

Dès qu'un paiement reçu ramène la dette sous le seuil, ou qu'une condition cesse d'être remplie, le service est rétabli sans
délai, à toute heure, sans l'accord de quiconque. Une nouvelle suspension exige alors une nouvelle mise en demeure.

{announced}
""",
    "en": """\
# Purpose

The provider may suspend annex services of a client company that does not pay invoices that are due and not contested, on the
conditions and within the limits below.

Suspension rests on the exception of non-performance (C. civ. 1219). It is temporary, does not end the contract, and does not
touch the customer's equipment, credentials or data. {enforcement_point}

It is directed at the debtor company alone, never at other companies of its group.

# Services concerned

The measure hits only services that the formal notice announces; it may be {measures}. {confined}{steps}

{connections}

The following always stay on: local applications and what they depend on (names, time, directory, licences), emergency
communications and the safety of persons, the customer portal and payment, backup and retrieval of data.

What is paid in advance is delivered.

# Debt

Each invoice that counts is at least {min_days_overdue} overdue, identified, and for services whose delivery is shown. Their
unpaid principal reaches {min_debt}{months}. Penalties and fees do not count.

An invoice that is contested with a motive does not count any more. While a dispute names neither invoice nor motive, nothing
is suspended.

{proportion}

A debt that arose before insolvency proceedings were opened does not count any more (C. com. L622-13).

# Reminders

At least {min_reminders} reminders, at least {reminder_spacing_days} apart, were sent after the due date and had no effect.

# Formal notice and last warning

A formal notice is sent by {channels}. It recalls the reminders, and states the sums, the invoices, the period, the services
that will be suspended and from which date, those that stay on, how to pay, how to contest, whom to reach, and that service
returns on payment.

Nothing is suspended before the announced date, nor before the end of a period of {notice_days} that begins when the letter is
handed over, refused or first presented (when an electronic registered letter that is not claimed lapses). The period is
counted as articles 641 and 642 of the code de procédure civile count, with the public holidays of {holidays}.

A formal notice whose period ended {notice_max_age_days} ago is no longer good.

If a payment is returned after service came back, a new formal notice is needed; its period is {reopen_notice_days} if the
first one said so.

A last warning is sent at least {warning_days} before the measure. If it comes back, or if nobody can be reached, nothing is
suspended.

# What prevents or ends a suspension

A payment plan, insolvency proceedings, a court decision, a grace period granted by a judge, a request to switch or to
retrieve data that concerns the services, a danger that is reported: nothing is suspended, and what was is restored without
delay.

Nothing is suspended automatically to a natural person, a public body, a care institution or a regulated entity; and never to
a consumer, nor to whoever serves indirect customers or has no other sales channel.

Whether insolvency proceedings were opened is looked up at least every {insolvency_max_age_hours}.

# Proportionality

{gentler}

A change of price or scope since the last paid period is looked at by a person before any measure.

# Continuity of local applications

Local applications are watched for at least {preflight_baseline_hours}, and a dry run less than {preflight_max_age_hours} old
shows that the measure matches no local traffic.

If one of them stops answering during the measure, service is restored without delay, whatever the cause.

# Moment

A suspension begins only {windows}, site time; never on a Saturday, a Sunday or a public holiday{eves}{blackout}.

It takes billing data no more than {feed_max_age_minutes} old, and a clock looked at less than {clock_max_age_minutes} ago,
synchronised and right within {clock_max_offset_ms}.

# Decision

{mode} It takes the agreement of {approvals}. Agreement given for one case is good for {approval_valid_days}.

A condition can be lifted in one case only, by the persons provided for that check, with a recorded reason, until a date, and
never below its floor.

# Number

At most {max_new_per_hour} an hour and {max_new_per_day} a day; at most {max_share_of_companies} % of companies and
{max_share_of_prefixes} % of networks at a time, but for a first company. After {canaries}, the next ones wait
{canary_minutes}.

If more than {wave} become ripe within an hour, or an error shows, every new suspension waits until a named person has looked.
Restoring never waits.

# Duration

A suspension lasts {max_suspension_days} at most; it ends by itself, and a person looks at the case again. Unless the system
that checks it renews it, it ends within {lease_minutes}.{lowered}

# Restoring service

As soon as a payment received takes the debt below the threshold, or a condition is no longer met, service is restored without
delay, at any hour, with nobody's approval. Suspending again then takes a new formal notice.

{announced}
""",
}

"""The scenarios: section 6 of the domain with its variants, and situations of 4.2 that section 6 does not show.

Everything is data; `scenes` plays it and `test_scenarios` compares. Titles, rules and turns are French: a lawyer reads them in
the golden files. `does` is what the agent must do, to the minute, written from the domain and not from what it did.
"""

# ruff: noqa: E501 - a title and a rule are read as one line

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from agent.breaker import Load
from agent.case import ClockState
from agent.gate.checks import MUST_STATE
from agent.model import Protected, ServiceClass
from tests.core.scenes import Tale, Turn, dunned, late, loaded
from tests.core.stories import Story, at, lines

#: What belongs to tests of other kinds, whatever the scenario.
PACKETS = "paquets et sondes réels (ERP joignable, refus immédiat), rétablissement relu dans le noyau, dossier de preuve."
SECOND = "seconde passerelle, état PARTIEL, durées par nœud."

CUT = ("2026-03-27 00:00 propose", "2026-03-30 09:00 suspend")
REOPEN = sorted({*MUST_STATE, "reopen"})


def tales() -> tuple[Tale, ...]:
    """Every scenario, by name."""
    return tuple(sorted((*_section_six(), *_payments(), *_law(), *_notices(), *_around(), *_stages()), key=lambda tale: tale.name))


# --- section 6 ------------------------------------------------------------------------------------------------------------


def _section_six() -> Iterator[Tale]:
    yield from _founding()
    yield from _separable()
    yield from _insolvency()
    yield from _clinic()
    yield from _court()
    yield from _dependency()


def _founding() -> Iterator[Tale]:
    rule = (
        "mise en demeure remise le mercredi 11 mars, quinze jours (CPC 641-642), fin le jeudi 26 mars à 24 h ; le vendredi est hors "
        "fenêtre : au plus tôt le lundi 30 mars à 9 h, lendemain du changement d'heure (CA Paris, 10 juin 2022)."
    )
    za = late(dunned("za", warned="2026-03-27 09:00").paid("4800.00", "2026-03-31 14:07:12"), "2026-03-31 14:07:15")
    yield Tale(
        name="a01-za-pays",
        title="A-01, le cas fondateur : ZA doit 4 800 EUR, est suspendue, puis paie.",
        rule=rule,
        left_out=(PACKETS,),
        story=za,
        does=("2026-03-27 00:00 propose", "2026-03-30 09:00 suspend", "2026-03-31 14:07:15 restore paid"),
        shown=(
            "2026-03-26 23:59",
            "2026-03-27 10:00",
            "2026-03-30 08:59",
            "2026-03-30 09:00",
            "2026-03-31 14:07",
            "2026-03-31 14:08",
        ),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="a01-zb-does-not-pay",
        title="A-01, le cas fondateur : ZB doit 3 200 EUR et reste suspendue quand ZA paie, trente jours au plus.",
        rule=rule,
        left_out=(PACKETS,),
        story=dunned("zb", "3200.00", warned="2026-03-27 09:00"),
        does=(*CUT, "2026-04-29 09:00 restore expired"),
        shown=("2026-03-30 09:00", "2026-03-31 14:08", "2026-04-28 23:00", "2026-04-29 09:00"),
        until="2026-06-15 12:00",
    )
    yield Tale(
        name="a01-zc-paid-before",
        title="A-01, le cas fondateur : ZC a payé ; la dette de ZA et de ZB n'est pas la sienne.",
        rule="l'unité de dette est la société, jamais le groupe (C. civ. 1199).",
        story=Story(company="zc").invoice("F-zc", "900.00").paid("900.00", "2026-01-28 12:00", id_="P-zc"),
        does=(),
        shown=("2026-03-30 09:00",),
        until="2026-06-15 12:00",
    )
    yield Tale(
        name="a01-feed-falls-silent",
        title="A-01, variante : la facturation se tait pendant la suspension ; le bail n'est pas renouvelé et se termine seul.",
        rule="une source muette plus de quinze minutes ne renouvelle plus le bail de quatre heures ; à son terme le service revient.",
        left_out=("le délai du noyau qui retire la règle même si l'agent est mort.",),
        story=dunned("za", warned="2026-03-27 09:00"),
        turns=(
            Turn(
                when="2026-03-30 11:00",
                says="la facturation ne donne plus signe de vie",
                world={"feeds": {"erp": at("2026-03-30 11:00")}},
            ),
        ),
        does=(*CUT, "2026-03-30 14:58:37 restore lease"),
        shown=("2026-03-30 11:14", "2026-03-30 11:16", "2026-03-30 14:58", "2026-03-30 14:59"),
        until="2026-03-31 16:00",
        routine="2026-03-30 08:00",
    )
    yield Tale(
        name="a01-clock-steps-at-the-moment-of-applying",
        title="A-01, variante : l'horloge saute d'une heure au moment d'appliquer ; rien n'est appliqué tant qu'elle n'est pas sûre.",
        rule="une heure qui n'est pas fiable ne suspend rien (contrôle G-21) ; elle n'empêche jamais un rétablissement.",
        story=dunned("za", warned="2026-03-27 09:00"),
        turns=(
            Turn(
                when="2026-03-30 08:55",
                says="l'horloge de la passerelle vient de sauter d'une heure",
                world={"clock": _stepped("2026-03-30 08:55")},
            ),
            Turn(when="2026-03-30 10:20", says="l'horloge est de nouveau sûre", world={"clock": ""}),
        ),
        does=("2026-03-27 00:00 propose", "2026-03-30 10:20 suspend"),
        shown=("2026-03-30 09:00", "2026-03-30 10:20"),
        until="2026-03-30 11:00",
    )
    yield Tale(
        name="a02-not-ripe",
        title="A-02 : dossier qui n'est pas mûr, deux relances à deux jours, mise en demeure par courriel du 6 mars sans accusé.",
        rule="trois relances à sept jours (G-06), un canal prouvé (G-07), un effet et un délai (G-09) ; sans effet, pas d'ordre des faits (G-11).",
        story=dunned(
            "za",
            reminded=("2026-02-09", "2026-02-11"),
            sent="2026-03-06 11:00",
            delivered=None,
            warned=None,
            channel="email",
            reminders=["R1", "R2"],
        ),
        does=(),
        shown=("2026-03-30 10:00", "2026-06-30 10:00"),
        until="2026-09-30 12:00",
    )


def _stepped(when: str) -> ClockState:
    return ClockState(at=at(when), synchronised=True, offset_ms=0, stepped=True)


def _separable() -> Iterator[Tale]:
    office = "l'adresse partagée 10.40.0.0/24 n'est déclarée pour personne : deux sociétés y sont, rien ne les sépare."
    yield Tale(
        name="a04-what-can-not-be-separated",
        title="A-04 : NA et NB sur un même préfixe ; la mise en demeure de NA annonce la GED, qui ne peut être séparée.",
        rule=f"{office} La GED n'est pas souscrite au tunnel de NA seule : cible refusée (G-01). La déclaration du préfixe pour les deux "
        "est refusée au chargement (fichier refused.txt).",
        story=dunned("na", "5000.00", services=["shared-documents", "vpn"]),
        does=(),
        shown=("2026-03-30 10:00",),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="a04-what-can",
        title="A-04, variante : la mise en demeure de NA n'annonce que son accès nomade, qui a un tunnel à elle.",
        rule=f"{office} Seul le tunnel de NA est touché ; aucun élément ne porte une adresse de NB.",
        left_out=("compteurs de NB, qui ne bougent pas.",),
        story=dunned("na", "5000.00", services=["vpn"]),
        does=(*CUT, "2026-04-29 09:00 restore expired"),
        shown=("2026-03-30 09:00",),
        until="2026-05-15 12:00",
    )


BRUME = {
    "due": "2026-03-31",
    "reminded": ("2026-04-08", "2026-04-17", "2026-04-27"),
    "sent": "2026-05-11 11:00",
    "delivered": "2026-05-13 10:30",
    "warned": "2026-05-29 10:00",
    "earliest_on": "2026-05-29",
}


def _insolvency() -> Iterator[Tale]:
    story = late(
        dunned("brume", "6100.00", **BRUME).insolvent("2026-06-16 00:00", "2026-06-09", officeholder="Me Lanterne"),
        "2026-06-18 07:05",
    )
    after = story.invoice(
        "F2",
        "1300.00",
        "2026-07-31",
        when="2026-07-01 08:00",
        issued_on="2026-07-01",
        lines=[line | {"period_from": "2026-06-09", "period_to": "2026-06-30"} for line in lines("1300.00")],
    )
    for number, day in enumerate(("2026-08-10", "2026-08-20", "2026-09-01"), 4):
        after = after.reminder(f"R{number}", f"{day} 10:00", "F2")
    after = after.notice(
        "2026-09-07 11:00", "N2", invoices=["F2"], reminders=["R4", "R5", "R6"], addressee="officeholder", earliest_on="2026-09-25"
    )
    after = after.letter("delivered", "2026-09-09 10:00", "N2").warned("2026-09-25 10:00", "W2", "N2")
    rule = (
        "le jugement vaut depuis le 9 juin à 0 h (C. com. R621-4) ; à sa connaissance, rétablissement immédiat, hors fenêtre et sans "
        "validation ; la dette antérieure compte zéro pour toujours (C. com. L622-13)."
    )
    yield Tale(
        name="a05-insolvency-while-suspended",
        title="A-05 : redressement judiciaire du 9 juin, appris le 18 juin à 7 h 05, pendant la suspension.",
        rule=rule,
        left_out=("affichage de l'écart de neuf jours dans le dossier de preuve.",),
        story=story,
        does=("2026-05-29 00:00 propose", "2026-06-01 09:00 suspend", "2026-06-18 07:05 restore insolvency"),
        shown=("2026-06-01 09:00", "2026-06-18 07:04", "2026-06-18 07:05"),
        until="2026-09-30 12:00",
    )
    yield Tale(
        name="a05-debt-after-the-judgment",
        title="A-05, suite : la facture de juillet (services du 9 au 30 juin) reste impayée ; dossier séparé, adressé à l'administrateur.",
        rule=rule + " Un dossier postérieur n'est jamais automatique : il attend deux personnes. Trente jours"
        " de vingt-quatre heures : l'heure d'hiver du 25 octobre avance la fin d'une heure au cadran.",
        story=after.approved("2026-09-28 09:30", notice="N2"),
        does=(
            "2026-05-29 00:00 propose",
            "2026-06-01 09:00 suspend",
            "2026-06-18 07:05 restore insolvency",
            "2026-09-25 00:00 propose N2",
            "2026-09-28 09:30 suspend N2",
            "2026-10-28 08:30 restore N2 expired",
        ),
        shown=("2026-09-25 12:00", "2026-09-28 09:29", "2026-09-28 09:30"),
        until="2026-12-01 12:00",
    )


CARE = "portail, téléphonie, alarme d'ascenseur et imagerie ne sont dans aucune règle."


def _clinic() -> Iterator[Tale]:
    story = dunned("aulnes", "22000.00", services=["guest-wifi"]).approved("2026-03-30 09:15")
    yield Tale(
        name="a06-clinic-refused",
        title="A-06 : clinique, toutes les mises en demeure en règle ; refusé par son statut de soins.",
        rule=f"statut de soins (G-15) : jamais sans deux personnes, et jamais au-delà des services annexes ; {CARE}",
        left_out=(PACKETS,),
        story=story,
        does=(),
        shown=("2026-03-30 10:00",),
        until="2026-05-15 12:00",
    )
    lifted = story
    for person, role in (("claire", "approver"), ("denis", "legal")):
        lifted = lifted.operator(
            "override.given",
            "2026-03-30 11:00",
            person,
            role=role,
            case="aulnes:N1",
            check="G-15",
            expires_at="2026-04-13T22:00:00Z",
        )
    yield Tale(
        name="a06-clinic-guest-wifi-by-two-persons",
        title="A-06, variante : deux personnes ouvrent, par écrit et jusqu'au 14 avril, la suspension du Wi-Fi invités seul.",
        rule=f"levée de G-15 à deux personnes dont un juriste, pour ce dossier et jusqu'à sa date ; {CARE}",
        left_out=(PACKETS,),
        story=lifted,
        does=("2026-03-30 11:00 suspend", "2026-04-14 00:00 restore defect"),
        shown=("2026-03-30 10:59", "2026-03-30 11:00", "2026-04-14 00:00"),
        until="2026-05-15 12:00",
    )
    wide = dunned("aulnes", "22000.00", services=["guest-wifi", "imaging"]).approved("2026-03-30 09:15")
    for person in ("claire", "denis"):
        wide = wide.operator(
            "override.given",
            "2026-03-30 11:00",
            person,
            role="approver",
            case="aulnes:N1",
            check="G-15",
            expires_at="2026-04-13T22:00:00Z",
        )
    yield Tale(
        name="a06-clinic-imaging-never",
        title="A-06, variante : la mise en demeure annonce aussi l'imagerie ; personne ne peut lever cela.",
        rule="les classes jamais suspendues ne se lèvent pas (G-16), qui que ce soit qui le demande.",
        story=wide,
        does=(),
        shown=("2026-03-30 12:00",),
        until="2026-05-15 12:00",
    )


GENET = {
    "due": "2026-06-15",
    "reminded": ("2026-06-24", "2026-07-03", "2026-07-15"),
    "sent": "2026-08-03 11:00",
    "delivered": "2026-08-05 10:30",
    "warned": "2026-08-20 10:00",
    "earliest_on": "2026-08-21",
}
GENET_CUT = ("2026-08-21 00:00 propose", "2026-08-24 09:00 suspend")


def _court() -> Iterator[Tale]:
    story = dunned("genet", "9000.00", **GENET)
    ordered = story.court("2026-09-06 21:40", penalty="500 EUR par heure")
    messy = late(ordered.returned("2026-09-04 12:00", id_="P0"), "2026-09-06 21:40:30")
    messy = late(messy.paid("9000.00", "2026-09-05 10:00", id_="P1"), "2026-09-06 21:41")
    messy = late(messy.paid("9000.00", "2026-09-05 10:00", id_="P1"), "2026-09-06 21:41:05")
    yield Tale(
        name="a09-court-order-on-a-sunday-night",
        title="A-09 : ordonnance de rétablir sous astreinte, un dimanche à 21 h 40 ; faits en désordre et en double.",
        rule="une décision de justice passe avant tout, à toute heure, sans validation ; le gel ne se lève que par deux juristes avec pièce.",
        left_out=(SECOND, PACKETS),
        story=messy,
        does=(*GENET_CUT, "2026-09-06 21:40 restore court"),
        shown=("2026-09-06 21:39", "2026-09-06 21:40", "2026-09-06 21:42"),
        until="2026-11-15 12:00",
    )
    conditional = story.court("2026-09-06 21:40", "restore_if_paid", amount="5000.00", currency="EUR")
    conditional = conditional.paid("2000.00", "2026-09-08 11:00", id_="P1").paid("3000.00", "2026-09-10 16:30", id_="P2")
    yield Tale(
        name="a09-conditional-order",
        title="A-09, variante : l'ordonnance ne vaut qu'après paiement de 5 000 EUR ; payés en deux fois.",
        rule="ordonnance conditionnelle : sans effet avant le paiement, immédiate au paiement, même si le reste dû dépasse le seuil.",
        left_out=(SECOND,),
        story=conditional,
        does=(*GENET_CUT, "2026-09-10 16:30 restore court"),
        shown=("2026-09-07 10:00", "2026-09-08 11:00", "2026-09-10 16:30"),
        until="2026-11-15 12:00",
    )
    lifted = messy.without("payment.received", "payment.reversed")
    lifted = lifted.court_lifted("2026-09-20 10:00", "emma").court_lifted("2026-09-21 10:00", "farid")
    yield Tale(
        name="a09-order-lifted-by-two-lawyers",
        title="A-09, suite : deux juristes constatent la fin de l'ordonnance ; le dossier reste clos, une nouvelle mise en demeure est nécessaire.",
        rule="deux personnes distinctes du rôle juriste, avec pièce ; lever une décision n'est pas suspendre.",
        story=lifted,
        does=(*GENET_CUT, "2026-09-06 21:40 restore court"),
        shown=("2026-09-20 11:00", "2026-09-22 10:00"),
        until="2026-11-15 12:00",
    )


def _dependency() -> Iterator[Tale]:
    story = dunned("myrte")
    yield Tale(
        name="a12-preflight-red",
        title="A-12 : l'essai préalable voit la licence de l'ERP dans la cible ; rien n'est suspendu.",
        rule="continuité locale (G-19) ; la dépendance déclarée est refusée dès le chargement (fichier refused.txt).",
        left_out=(PACKETS,),
        story=story.probed("2026-03-26 10:00", "red", local=3),
        does=(),
        shown=("2026-03-30 09:00",),
        until="2026-05-15 12:00",
    )
    hidden = story.probed("2026-03-30 08:00").says(
        "local.regressed", "2026-03-30 09:03", source="probe", regression="erp-1", application="erp"
    )
    yield Tale(
        name="a12-hidden-dependency-shows-after-applying",
        title="A-12, variante : dépendance non déclarée ; l'ERP ne répond plus trois minutes après l'application.",
        rule="une application locale qui s'arrête rétablit tout de suite ; le dossier est clos, l'incident reste au dossier.",
        left_out=("retour automatique en 30 s pendant l'application (T-12), rejet au lieu d'abandon des paquets.",),
        story=hidden,
        does=(*CUT, "2026-03-30 09:03 restore defect"),
        shown=("2026-03-30 09:02", "2026-03-30 09:03"),
        until="2026-05-15 12:00",
    )


# --- 4.2: money ------------------------------------------------------------------------------------------------------------


def _payments() -> Iterator[Tale]:
    story = dunned("za")
    other = story.invoice("F9", "700.00", "2026-02-28")
    yield Tale(
        name="b01-partial-payment-allocated-elsewhere",
        title="Paiement partiel : 4 400 EUR, imputés par la facturation pour 700 EUR à une autre facture, le reste à celle du dossier.",
        rule="l'imputation dite est suivie (C. civ. 1342-10) ; reste 1 100 EUR, au-dessus du seuil de 500 EUR : la mesure continue.",
        story=other.paid("4400.00", "2026-04-01 10:00", F9="700.00", F1="3700.00"),
        does=(*CUT, "2026-04-29 09:00 restore expired"),
        shown=("2026-04-01 09:59", "2026-04-01 10:00"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="b02-partial-payment-as-the-debtor-says",
        title="Paiement partiel : le débiteur indique la facture du dossier ; il ne reste que 400 EUR.",
        rule="l'indication du débiteur est suivie (C. civ. 1342-10) ; sous le seuil, le service revient entier, dossier clos.",
        story=other.paid("4400.00", "2026-04-01 10:00", F1="4400.00"),
        does=(*CUT, "2026-04-01 10:00 restore partially_paid_below_threshold"),
        shown=("2026-04-01 09:59", "2026-04-01 10:00"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="b03-partial-payment-without-a-word",
        title="Paiement partiel sans indication : il va d'abord à la dette qui garde le service coupé.",
        rule="sans indication, la dette que le débiteur avait le plus d'intérêt à payer (C. civ. 1342-10) ; les factures nouvelles ne comptent pas.",
        story=other.paid("4301.00", "2026-04-01 10:00"),
        does=(*CUT, "2026-04-01 10:00 restore partially_paid_below_threshold"),
        shown=("2026-04-01 10:00",),
        until="2026-05-15 12:00",
    )
    back = dunned("za", states=REOPEN).paid("4800.00", "2026-04-01 10:00").returned("2026-04-20 09:00")
    again = back.notice("2026-04-21 11:00", "N2", reminders=[], earliest_on="2026-05-01", states=REOPEN)
    again = again.letter("delivered", "2026-04-22 10:00", "N2").warned("2026-04-30 10:00", "W2", "N2")
    yield Tale(
        name="b04-payment-comes-back-short-notice",
        title="Rejet bancaire après rétablissement : nouveau dossier par une nouvelle mise en demeure, huit jours, jamais seul.",
        rule="la première mise en demeure l'avait dit : huit jours, les relances du premier dossier comptent, deux personnes valident. "
        "Remise le 22 avril, délai jusqu'au 30 avril à 24 h ; le 1er mai est férié.",
        story=again.approved("2026-05-04 10:00", notice="N2"),
        does=(
            *CUT,
            "2026-04-01 10:00 restore paid",
            "2026-05-01 00:00 propose N2",
            "2026-05-04 10:00 suspend N2",
            "2026-06-03 10:00 restore N2 expired",
        ),
        shown=("2026-04-20 12:00", "2026-04-30 10:00", "2026-05-04 09:59", "2026-05-04 10:00"),
        until="2026-06-15 12:00",
    )
    plain = dunned("za").paid("4800.00", "2026-04-01 10:00").returned("2026-04-20 09:00")
    plain = plain.notice("2026-04-21 11:00", "N2", earliest_on="2026-05-01").letter("delivered", "2026-04-22 10:00", "N2")
    yield Tale(
        name="b05-payment-comes-back-full-notice",
        title="Rejet bancaire, variante : la première mise en demeure n'annonçait pas de réouverture ; délai entier de quinze jours.",
        rule="sans annonce, cycle entier : remise le 22 avril, délai jusqu'au jeudi 7 mai à 24 h ; le 8 est férié, au plus tôt le lundi 11 mai à 9 h.",
        story=plain.warned("2026-05-05 10:00", "W2", "N2"),
        does=(
            *CUT,
            "2026-04-01 10:00 restore paid",
            "2026-05-08 00:00 propose N2",
            "2026-05-11 09:00 suspend N2",
            "2026-06-10 09:00 restore N2 expired",
        ),
        shown=("2026-04-20 12:00", "2026-05-04 10:00", "2026-05-11 09:00"),
        until="2026-06-15 12:00",
    )
    yield Tale(
        name="b06-announced-payment-that-does-not-come",
        title="Paiement annoncé pendant la suspension : rétabli cinq jours ouvrés, une fois ; l'argent ne vient pas.",
        rule="annonce du 31 mars : jusqu'au 8 avril compris (lundi de Pâques férié) ; la reprise demande deux personnes, une seconde annonce n'y change rien.",
        story=story.announced("2026-03-31 10:00").announced("2026-04-09 08:00", id_="P2").approved("2026-04-13 10:00"),
        does=(
            *CUT,
            "2026-03-31 10:00 restore announced",
            "2026-04-09 00:00 propose",
            "2026-04-13 10:00 suspend",
            "2026-04-29 09:00 restore expired",
        ),
        shown=("2026-03-31 10:00", "2026-04-08 23:59", "2026-04-13 09:59", "2026-04-13 10:00"),
        until="2026-06-15 12:00",
    )
    yield Tale(
        name="b07-announced-payment-before-the-measure",
        title="Paiement annoncé avant la mesure : elle attend cinq jours ouvrés, puis l'argent arrive.",
        rule="l'annonce retarde, elle ne paie pas ; le paiement clôt.",
        story=story.announced("2026-03-30 08:30").paid("4800.00", "2026-04-03 11:00"),
        does=("2026-03-27 00:00 propose",),
        shown=("2026-03-30 09:00", "2026-04-03 11:00"),
        until="2026-05-15 12:00",
    )
    agreed = story.plan("agreed", "2026-04-01 11:00", "F1")
    yield Tale(
        name="b08-payment-plan-kept",
        title="Échéancier convenu pendant la suspension, et respecté.",
        rule="échéancier convenu : rétabli, dossier clos ; la dette n'est pas exigible tant qu'il est respecté.",
        story=agreed.paid("2400.00", "2026-05-01 10:00")
        .paid("2400.00", "2026-06-01 10:00", id_="P2")
        .plan("ended", "2026-06-01 11:00"),
        does=(*CUT, "2026-04-01 11:00 restore plan_agreed"),
        shown=("2026-04-01 11:00", "2026-06-02 10:00"),
        until="2026-07-15 12:00",
    )
    broken = agreed.plan("broken", "2026-05-05 09:00").notice("2026-05-11 11:00", "N2", earliest_on="2026-05-29")
    yield Tale(
        name="b09-payment-plan-broken",
        title="Échéancier non respecté : une nouvelle mise en demeure, jamais une reprise.",
        rule="déchéance du terme : nouvelle mise en demeure entière. Remise le 13 mai, délai jusqu'au 28 mai à 24 h ; au plus tôt le lundi 1er juin à 9 h.",
        story=broken.letter("delivered", "2026-05-13 10:00", "N2").warned("2026-05-28 10:00", "W2", "N2"),
        does=(
            *CUT,
            "2026-04-01 11:00 restore plan_agreed",
            "2026-05-29 00:00 propose N2",
            "2026-06-01 09:00 suspend N2",
            "2026-07-01 09:00 restore N2 expired",
        ),
        shown=("2026-05-06 10:00", "2026-05-20 10:00", "2026-06-01 09:00"),
        until="2026-07-15 12:00",
    )
    twice = story.paid("2400.00", "2026-04-01 10:00").paid("2400.00", "2026-04-01 10:00").paid("2401.00", "2026-04-02 10:00")
    yield Tale(
        name="b10-same-reference-twice",
        title="Même référence bancaire : le même paiement dit deux fois ne compte qu'une fois, une autre somme compte en plus.",
        rule="doublon exact ignoré ; dans le doute entre doublon et second paiement, il compte comme paiement et le service revient.",
        story=twice,
        does=(*CUT, "2026-04-02 10:00 restore paid"),
        shown=("2026-04-01 12:00", "2026-04-02 10:00"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="b11-payment-learnt-late",
        title="Paiement du 27 mars appris le 2 avril : la suspension n'aurait pas dû être ; rétabli aussitôt, rien n'est antidaté.",
        rule="l'état est refait à chaque fait ; ce qui est appris tard rétablit, et ne coupe jamais rétroactivement.",
        left_out=("mention de défaut rétroactif dans le dossier de preuve.",),
        story=late(story.paid("4800.00", "2026-03-27 18:00"), "2026-04-02 22:15"),
        does=(*CUT, "2026-04-02 22:15 restore paid"),
        shown=("2026-04-02 22:14", "2026-04-02 22:15"),
        until="2026-05-15 12:00",
    )


# --- 4.2: judges, disputes, persons ---------------------------------------------------------------------------------------


def _law() -> Iterator[Tale]:
    story = dunned("za")
    yield Tale(
        name="c01-dispute-precise-while-suspended",
        title="Contestation précise pendant la suspension : 4 300 EUR sur 4 800 contestés par facture et motif.",
        rule="les factures contestées sortent de la dette dès réception ; reste 500 EUR sur F2, au seuil : la mesure continue. La seconde "
        "contestation, sur F2, le fait passer dessous.",
        story=_two_invoices()
        .dispute("2026-04-01 20:10", "F1")
        .dispute("2026-04-02 06:30", "F2", id_="D2", motive="service non rendu"),
        does=(*CUT, "2026-04-02 06:30 restore disputed"),
        shown=("2026-04-01 20:09", "2026-04-01 20:10", "2026-04-02 06:30"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="c02-dispute-vague-while-suspended",
        title="Contestation vague pendant la suspension, un samedi soir.",
        rule="personne n'en juge par logiciel. Le texte permet d'attendre huit heures ouvrées une décision ; cette version rétablit aussitôt.",
        left_out=(
            "délai d'examen d'une contestation vague (dispute_review_hours) : non nécessaire, le service revient tout de suite.",
        ),
        story=story.dispute("2026-04-04 21:00", motive="").settled("2026-04-07 10:00", "rejected"),
        does=(*CUT, "2026-04-04 21:00 restore disputed"),
        shown=("2026-04-04 21:00", "2026-04-07 10:00"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="c03-dispute-rejected-before-the-measure",
        title="Contestation avant la mesure, rejetée par une personne le 31 mars.",
        rule="tant qu'elle est ouverte, rien n'est suspendu ; rejetée, la dette compte de nouveau et la fenêtre suivante sert.",
        story=story.dispute("2026-03-25 10:00", "F1").settled("2026-03-31 16:00", "rejected"),
        does=("2026-03-31 16:00 propose", "2026-04-01 09:00 suspend", "2026-05-01 09:00 restore expired"),
        shown=("2026-03-30 09:00", "2026-04-01 09:00"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="c04-grace-period-by-a-judge",
        title="Délai de grâce accordé par le juge (C. civ. 1343-5) jusqu'au 30 juin.",
        rule="rétabli à réception ; le délai passé, rien ne reprend : il faut une nouvelle mise en demeure.",
        story=story.deferred("2026-04-01 17:45", "2026-06-30"),
        does=(*CUT, "2026-04-01 17:45 restore court"),
        shown=("2026-04-01 17:45", "2026-06-30 23:59", "2026-07-01 10:00"),
        until="2026-08-15 12:00",
    )
    waits = story.deferred("2026-03-20 17:45", "2026-04-07")
    yield Tale(
        name="c05-grace-period-before-the-measure",
        title="Délai de grâce jusqu'au 7 avril, accordé avant la mesure.",
        rule="pendant le délai, rien ; il finit le 7 avril à 24 h et la fenêtre du mercredi 8 sert.",
        story=waits,
        does=("2026-04-08 00:00 propose", "2026-04-08 09:00 suspend", "2026-05-08 09:00 restore expired"),
        shown=("2026-04-07 10:00", "2026-04-08 13:00"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="c06-switching-request",
        title="Demande de réversibilité pour la GED pendant la suspension.",
        rule="le service concerné reste ouvert : la mesure qui le vise prend fin (règlement (UE) 2023/2854), le dossier est clos.",
        story=story.switching("2026-04-01 18:20", "shared-documents"),
        does=(*CUT, "2026-04-01 18:20 restore held"),
        shown=("2026-04-01 18:20",),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="c07-switching-of-another-service",
        title="Demande de réversibilité pour un service que la mesure ne vise pas.",
        rule="le gel porte sur les services nommés ; la mesure sur les autres continue.",
        story=dunned("za", services=["vpn"]).switching("2026-04-01 18:20", "shared-documents"),
        does=(*CUT, "2026-04-29 09:00 restore expired"),
        shown=("2026-04-01 18:20",),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="c08-debtor-replaced",
        title="La dette passe à une autre personne morale pendant la suspension.",
        rule="débiteur remplacé : dossier clos, nouvelle mise en demeure nécessaire.",
        story=story.replaced("2026-04-01 12:00"),
        does=(*CUT, "2026-04-01 12:00 restore superseded"),
        shown=("2026-04-01 12:00",),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="c09-safety-report",
        title="Le client signale un danger un dimanche : l'alarme de l'ascenseur ne passe plus.",
        rule="rétabli aussitôt, par n'importe qui, sans validation ; on regarde après.",
        story=story.endangered("2026-04-05 03:12").says("safety.resolved", "2026-04-07 10:00", report="A1"),
        does=(*CUT, "2026-04-05 03:12 restore held"),
        shown=("2026-04-05 03:12", "2026-04-08 10:00"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="c10-wrong-customer",
        title="Mauvais client : le dossier est annulé pour erreur.",
        rule="rétabli en priorité, dossier conservé et marqué erroné, jamais repris.",
        left_out=("ouverture du disjoncteur pour toutes les sociétés, lettre de rectification.",),
        story=story.voided("2026-03-30 16:40"),
        does=(*CUT, "2026-03-30 16:40 restore error"),
        shown=("2026-03-30 16:40", "2026-04-08 10:00"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="c11-restored-by-hand",
        title="Une personne rétablit à la main, la nuit.",
        rule="un rétablissement ne demande rien ; le dossier est clos.",
        story=story.by_hand("2026-04-03 02:00"),
        does=(*CUT, "2026-04-03 02:00 restore operator"),
        shown=("2026-04-03 02:00",),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="c12-insolvency-of-long-ago",
        title="Sauvegarde jugée avant la mise en demeure, apprise pendant la suspension.",
        rule="le jugement est du 2 mars : la facture de janvier n'est plus exigible depuis ; rétabli à la connaissance.",
        story=story.insolvent("2026-04-01 23:30", "2026-03-02", kind="sauvegarde"),
        does=(*CUT, "2026-04-01 23:30 restore insolvency"),
        shown=("2026-04-01 23:30",),
        until="2026-05-15 12:00",
    )


def _two_invoices() -> Story:
    story = Story(company="za").invoice("F1", "4300.00").invoice("F2", "500.00")
    for number, day in enumerate(("2026-02-09", "2026-02-19", "2026-03-02"), 1):
        story = story.reminder(f"R{number}", f"{day} 10:00", "F1", "F2")
    story = story.notice(invoices=["F1", "F2"]).letter("delivered", "2026-03-11 10:30")
    return story.warned("2026-03-24 10:00")


# --- 4.2: letters, calendar, approvals ------------------------------------------------------------------------------------


def _notices() -> Iterator[Tale]:
    rule = (
        "non réclamée : l'effet est au jour de la première présentation (Cass. 1re civ., 20 janvier 2021, 19-20.680). Quinze jours après "
        "le jeudi 16 avril, le 1er mai est férié et suivi d'un week-end : fin le lundi 4 mai à 24 h, au plus tôt le mardi 5 mai à 9 h."
    )
    unclaimed = dunned("za", sent="2026-04-14 11:00", delivered=None, warned=None, earliest_on="2026-05-04")
    unclaimed = unclaimed.letter("presented", "2026-04-16 11:20").letter("unclaimed", "2026-05-02 09:00").warned("2026-05-02 10:00")
    yield Tale(
        name="d01-unclaimed-letter-over-holidays",
        title="Lettre recommandée non réclamée, sur les fêtes de mai.",
        rule=rule,
        story=unclaimed,
        does=("2026-05-05 00:00 propose", "2026-05-05 09:00 suspend", "2026-06-04 09:00 restore expired"),
        shown=("2026-04-30 10:00", "2026-05-04 10:00", "2026-05-05 08:59", "2026-05-05 09:00"),
        until="2026-06-15 12:00",
    )
    yield Tale(
        name="d02-letter-comes-back",
        title="Lettre non distribuable (NPAI) : la mise en demeure n'a pas d'effet.",
        rule="sans adresse, pas de délai ; il faut une nouvelle lettre.",
        story=dunned("za", delivered=None).letter("presented", "2026-03-11 10:00").letter("undeliverable", "2026-03-12 09:00"),
        does=(),
        shown=("2026-03-30 10:00",),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="d03-window-around-easter-and-eves",
        title="La fenêtre autour de Pâques : vendredi, week-end, lundi férié ; la veille d'un jour férié aussi est exclue.",
        rule="remise le vendredi 17 avril : délai jusqu'au lundi 4 mai à 24 h (le 2 mai est un samedi) ; avertissement de la J-2 le 5 mai "
        "à 10 h : jeudi 7 mai veille du 8 mai férié ; au plus tôt le lundi 11 mai à 9 h.",
        story=dunned(
            "za", sent="2026-04-14 11:00", delivered="2026-04-17 10:30", warned="2026-05-05 10:00", earliest_on="2026-05-04"
        ),
        does=("2026-05-05 00:00 propose", "2026-05-11 09:00 suspend", "2026-06-10 09:00 restore expired"),
        shown=("2026-05-05 10:00", "2026-05-06 10:00", "2026-05-07 10:00", "2026-05-11 09:00"),
        until="2026-06-15 12:00",
    )
    yield Tale(
        name="d04-stale-notice",
        title="Mise en demeure vieille de plus de quatre-vingt-dix jours après son délai : elle n'annonce plus rien.",
        rule="valable quatre-vingt-dix jours après la fin du délai (G-10) ; ici le disjoncteur est resté ouvert tout ce temps.",
        story=dunned("za"),
        turns=(
            Turn(when="2026-03-26 00:00", says="disjoncteur ouvert : vague de dossiers", world={"load": Load(open_cause="a wave")}),
            Turn(when="2026-06-29 09:00", says="le disjoncteur est refermé par une personne désignée", world={"load": Load()}),
        ),
        does=("2026-03-27 00:00 propose",),
        shown=("2026-03-30 10:00", "2026-06-29 10:00"),
        until="2026-07-15 12:00",
    )
    yield Tale(
        name="d05-warning-bounced",
        title="Le dernier avertissement revient ; un second part.",
        rule="deux jours après un avertissement qui n'est pas revenu (G-26) : celui du 31 mars à 10 h permet le 2 avril à 10 h.",
        story=dunned("za").says("warning.bounced", "2026-03-27 08:00", warning="W1").warned("2026-03-31 10:00", "W2"),
        does=("2026-03-27 00:00 propose", "2026-04-02 10:00 suspend", "2026-05-02 10:00 restore expired"),
        shown=("2026-03-30 10:00", "2026-04-01 10:00", "2026-04-02 10:00"),
        until="2026-05-15 12:00",
    )
    two = dunned("commune", services=["vpn"]).approved("2026-03-30 09:30")
    yield Tale(
        name="d06-public-body-refused",
        title="Organisme public : refusé, avec la liste de ce qui manque.",
        rule="l'exception d'inexécution ne joue pas sans trois conditions consignées (CE, 8 octobre 2014, n° 370644).",
        story=two,
        does=(),
        shown=("2026-03-30 10:00",),
        until="2026-05-15 12:00",
    )
    recorded = dunned("syndicat", services=["vpn"]).approved("2026-03-30 09:30")
    for person, role in (("claire", "approver"), ("denis", "legal")):
        recorded = recorded.operator(
            "override.given",
            "2026-03-30 10:00",
            person,
            role=role,
            case="syndicat:N1",
            check="G-15",
            expires_at="2026-12-31T22:00:00Z",
        )
    yield Tale(
        name="d07-public-body-with-its-conditions",
        title="Organisme public dont les trois conditions sont consignées, et deux personnes décident.",
        rule="les trois conditions et deux personnes dont un valideur ou un juriste (G-15).",
        story=recorded,
        does=("2026-03-30 10:00 suspend", "2026-04-29 10:00 restore expired"),
        shown=("2026-03-30 09:59", "2026-03-30 10:00"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="d08-consumer-refused",
        title="Consommateur : refusé, quoi que disent des personnes.",
        rule="aucune levée n'existe pour un consommateur (CASF L115-3 et autres).",
        story=replace(recorded, company="foyer", events=tuple(_moved(recorded, "syndicat", "foyer"))),
        does=(),
        shown=("2026-03-30 10:00",),
        until="2026-05-15 12:00",
    )


def _moved(story: Story, old: str, new: str) -> Iterator[object]:
    for event in story.events:
        case = event.body.get("case")
        yield replace(event, subject=new, body={**event.body, **({"case": case.replace(old, new)} if case else {})})


# --- 4.2: what is around ---------------------------------------------------------------------------------------------------


def _around() -> Iterator[Tale]:
    story = dunned("za")
    yield Tale(
        name="e01-overlapping-private-addresses",
        title="Deux sociétés emploient 10.0.0.0/24, chacune dans son instance de routage : seule Noroît doit.",
        rule="la clé d'un raccordement est instance, préfixe et société ; la règle ne porte que l'instance vrf201 de Noroît.",
        left_out=("paquets de Suroît, qui passent.",),
        story=dunned("noroit"),
        does=(*CUT, "2026-04-29 09:00 restore expired"),
        shown=("2026-03-30 09:00",),
        until="2026-05-15 12:00",
    )
    marge = loaded().companies["marge"]
    indirect = replace(marge, protected=(Protected.INDIRECT,))
    yield Tale(
        name="e02-reseller-found-later",
        title="On découvre que la société revend à des clients finals : rétabli, examen d'erreur.",
        rule="des clients indirects ne paient pas pour elle (G-15, jamais levé) ; rétablissement immédiat et gel d'examen.",
        story=dunned("marge").hold("error_review", "2026-04-01 16:05"),
        turns=(
            Turn(when="2026-04-01 16:00", says="l'inventaire note : revente à des clients finals", world={"company": indirect}),
        ),
        does=(*CUT, "2026-04-01 16:00 restore defect"),
        shown=("2026-04-01 15:59", "2026-04-01 16:00", "2026-04-08 10:00"),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="e03-customer-leaves",
        title="Le raccordement prend fin le 8 avril : les règles partent avec lui.",
        rule="la mesure finit avec le raccordement, avant que l'adresse serve à un autre.",
        story=dunned("bail"),
        does=(*CUT, "2026-04-09 00:00 restore terminated"),
        shown=("2026-04-08 23:59", "2026-04-09 00:00"),
        until="2026-05-15 12:00",
    )
    policy = Tale(name="", title="", rule="", story=story, does=(), shown=(), until="").policy
    harsher = replace(policy, min_debt=Decimal(100), max_suspension_days=90, digest="b" * 64)
    yield Tale(
        name="e04-policy-becomes-harsher",
        title="La politique devient plus sévère pendant la suspension (seuil 100 EUR, quatre-vingt-dix jours).",
        rule="les deux versions doivent passer : la plus sévère ne vaut jamais pour un dossier ouvert. Reste 400 EUR : sous l'ancien seuil.",
        story=story.paid("4400.00", "2026-04-08 10:00"),
        turns=(Turn(when="2026-04-01 08:00", says="nouvelle politique, plus sévère", world={"policy": harsher}),),
        does=(*CUT, "2026-04-08 10:00 restore partially_paid_below_threshold"),
        shown=("2026-04-01 08:00", "2026-04-08 10:00"),
        until="2026-05-15 12:00",
    )
    gentler = replace(policy, min_debt=Decimal(5000), digest="c" * 64)
    yield Tale(
        name="e05-policy-becomes-gentler",
        title="La politique devient plus douce pendant la suspension (seuil 5 000 EUR).",
        rule="les deux versions doivent passer : la plus douce s'applique aussitôt.",
        story=story,
        turns=(Turn(when="2026-04-01 08:00", says="nouvelle politique, plus douce", world={"policy": gentler}),),
        does=(*CUT, "2026-04-01 08:00 restore defect"),
        shown=("2026-04-01 07:59", "2026-04-01 08:00"),
        until="2026-05-15 12:00",
    )
    services = dict(loaded().services)
    services["shared-documents"] = replace(services["shared-documents"], class_=ServiceClass.DEPENDENCY)
    yield Tale(
        name="e06-service-reclassified",
        title="La GED est reclassée comme dépendance pendant la suspension.",
        rule="un service jamais suspendu est rétabli aussitôt.",
        story=story,
        turns=(Turn(when="2026-04-01 08:00", says="la GED est reclassée D (dépendance)", world={"services": services}),),
        does=(*CUT, "2026-04-01 08:00 restore defect"),
        shown=("2026-04-01 08:00",),
        until="2026-05-15 12:00",
    )
    yield Tale(
        name="e07-clock-no-longer-trusted",
        title="L'horloge n'est plus sûre pendant la suspension : le bail n'est pas renouvelé, le service revient seul.",
        rule="une heure douteuse n'interrompt pas tout de suite ; au terme du bail de quatre heures, le service est ouvert.",
        left_out=("le bail se mesure à l'horloge monotone du noyau.",),
        story=story,
        turns=(
            Turn(
                when="2026-03-30 12:00",
                says="l'horloge n'est plus synchronisée",
                world={"clock": ClockState(at=at("2026-03-30 12:00"), synchronised=False, offset_ms=0, stepped=False)},
            ),
        ),
        does=(*CUT, "2026-03-30 14:58:37 restore lease"),
        shown=("2026-03-30 12:00", "2026-03-30 16:00"),
        until="2026-03-31 16:00",
        routine="2026-03-30 08:00",
    )
    yield Tale(
        name="e08-restored-with-the-breaker-open-on-a-holiday-night",
        title="Paiement la nuit du lundi de Pâques, disjoncteur ouvert, facturation muette, personne au bureau.",
        rule="un rétablissement ne demande rien et ne regarde ni l'heure, ni le disjoncteur, ni les validations.",
        story=story.paid("4800.00", "2026-04-06 03:00"),
        turns=(
            Turn(
                when="2026-04-06 02:00",
                says="disjoncteur ouvert, facturation muette, horloge inconnue",
                world={"load": Load(open_cause="a wave"), "feeds": {"erp": None}, "clock": None, "register": None, "approvals": ()},
            ),
        ),
        does=(*CUT, "2026-04-06 03:00 restore paid"),
        shown=("2026-04-06 02:59", "2026-04-06 03:00"),
        until="2026-04-15 12:00",
    )
    yield Tale(
        name="e09-paid-in-advance",
        title="La GED est payée d'avance jusqu'au 31 mars : ce qui est payé est délivré.",
        rule="rien n'est suspendu d'une période payée (G-17) ; à partir du 1er avril, oui.",
        story=story,
        turns=(Turn(when="2026-03-01 00:00", says="abonnement GED payé jusqu'au 31 mars", world={"company": _prepaid()}),),
        does=("2026-04-01 00:00 propose", "2026-04-01 09:00 suspend", "2026-05-01 09:00 restore expired"),
        shown=("2026-03-30 10:00", "2026-04-01 09:00"),
        until="2026-05-15 12:00",
    )


def _prepaid() -> object:
    company = loaded().companies["za"]
    paid = at("2026-03-31 12:00").date()
    return replace(
        company,
        subscriptions=tuple(
            replace(one, paid_through=paid) if one.service == "shared-documents" else one for one in company.subscriptions
        ),
    )


# --- stages -----------------------------------------------------------------------------------------------------------------


def _again(story: Story, stage: int, sent: str = "2026-04-01 11:00", received: str = "2026-04-02 10:30", **more: object) -> Story:
    """A second notice for the same invoice, of another stage: suspendable from Monday 20 April 2026, 09:00."""
    story = story.notice(sent, "N2", earliest_on="2026-04-20", stage=stage, **more)
    return story.letter("delivered", received, "N2").warned("2026-04-14 10:00", "W2", "N2")


def _stages() -> Iterator[Tale]:
    packets = "débit mesuré et connexions ouvertes, en paquets réels."
    waived = {"role": "approver", "stages": [2]}
    yield Tale(
        name="g01-night-only-over-a-clock-change",
        title="Palier 2, hors horaire de travail seulement, la nuit du changement d'heure d'octobre (CA Bruxelles, 2 février 2012).",
        rule="la mesure est appliquée dans la fenêtre, n'a d'effet que la nuit et le week-end ; l'heure que le changement répète est hors horaire.",
        left_out=("la passerelle qui retire la règle à 7 h même si l'agent est mort.",),
        story=dunned(
            "fusain",
            due="2026-08-31",
            reminded=("2026-09-09", "2026-09-17", "2026-09-25"),
            sent="2026-09-28 11:00",
            delivered="2026-09-30 10:30",
            warned="2026-10-12 10:00",
            earliest_on="2026-10-16",
        ),
        does=("2026-10-16 00:00 propose", "2026-10-19 09:00 suspend palier 2", "2026-11-18 08:00 restore expired"),
        shown=(
            "2026-10-19 10:00",
            "2026-10-19 20:00",
            "2026-10-20 07:00",
            "2026-10-24 15:00",
            "2026-10-25T00:30:00+00:00",
            "2026-10-25T01:30:00+00:00",
            "2026-10-25T02:00:00+00:00",
            "2026-10-26 07:00",
        ),
        until="2026-12-15 12:00",
    )
    yield Tale(
        name="g02-capped-then-paid",
        title="Palier 2, débit limité : Genévrier est limitée à 512 kbit/s, puis paie.",
        rule="la mesure la plus douce d'abord (G-18) ; le paiement la lève tout entière.",
        left_out=(packets,),
        story=dunned("genevrier").paid("4800.00", "2026-04-02 22:15"),
        does=("2026-03-27 00:00 propose", "2026-03-30 09:00 suspend palier 2", "2026-04-02 22:15 restore paid"),
        shown=("2026-03-30 09:00", "2026-04-02 22:15"),
        until="2026-06-15 12:00",
    )
    yield Tale(
        name="g03-escalation-and-step-down",
        title="Du palier 2 au palier 3 par une seconde mise en demeure, puis retour au palier 2 par un paiement partiel.",
        rule="chaque palier a son annonce, son délai et ses validations (T-13) ; un paiement partiel ramène au palier proportionné (T-14), la nuit comme le jour.",
        left_out=(packets,),
        story=_again(dunned("genevrier"), 3).paid("3000.00", "2026-04-25 03:00").paid("1800.00", "2026-04-27 18:30", id_="P2"),
        does=(
            "2026-03-27 00:00 propose",
            "2026-03-30 09:00 suspend palier 2",
            "2026-04-20 00:00 propose N2",
            "2026-04-20 09:00 suspend N2",
            "2026-04-25 03:00 lower N2 palier 2 G-18",
            "2026-04-27 18:30 restore paid",
            "2026-04-27 18:30 restore N2 paid",
        ),
        shown=("2026-04-17 10:00", "2026-04-20 09:00", "2026-04-20 09:30", "2026-04-25 03:00", "2026-04-27 18:30"),
        until="2026-06-15 12:00",
    )
    yield Tale(
        name="g04-stage-three-after-thirty-days",
        title="Trente jours au palier 3 : la mesure revient d'elle-même au palier 2, pour trente jours encore au plus.",
        rule="une mesure est temporaire (G-27) : retour au palier plus doux et revue par une personne, jamais une résiliation.",
        left_out=(packets,),
        story=dunned("genevrier").operator("stage.waived", "2026-03-27 11:00", case="genevrier:N1", **waived),
        does=(
            "2026-03-27 00:00 propose",
            "2026-03-30 09:00 suspend",
            "2026-04-29 09:00 lower palier 2 G-27",
            "2026-05-29 09:00 restore expired",
        ),
        shown=("2026-03-30 09:05", "2026-03-30 09:10", "2026-04-29 09:00", "2026-05-29 09:00"),
        until="2026-07-15 12:00",
    )
    mail = ("hosted-mail", "reporting", "shared-documents", "vpn")
    houx = dunned("houx")
    houx = replace(houx, events=tuple(event for event in houx.events if event.type != "invoice.issued"))
    houx = houx.invoice("F1", "4800.00", "2026-01-31", lines=lines("4800.00", services=mail))
    fourth = _again(houx, 4, services=list(mail)).approved("2026-04-15 10:00", "claire", "denis", notice="N2")
    known = ("2026-03-27 00:00 propose", "2026-03-30 09:00 suspend")
    yield Tale(
        name="g05-stage-four-with-the-legal-role",
        title="Palier 4 : après le palier 3 et une seconde mise en demeure, un juriste valide la suspension de la messagerie hébergée.",
        rule="clause du contrat, seconde mise en demeure, accord d'un juriste dans le dossier, applications locales déclarées (G-15, G-18, G-19, G-23).",
        left_out=(packets,),
        story=fourth.approved("2026-04-16 15:00", "lea", notice="N2", role="legal"),
        does=(
            *known,
            "2026-04-20 00:00 propose N2",
            "2026-04-20 09:00 suspend N2 palier 4",
            "2026-04-29 09:00 restore expired",
            "2026-05-20 09:00 lower N2 palier 3 G-27",
            "2026-06-19 09:00 restore N2 expired",
        ),
        shown=("2026-04-20 09:00", "2026-05-20 09:00"),
        until="2026-07-15 12:00",
    )
    yield Tale(
        name="g06-stage-four-without-the-legal-role",
        title="Palier 4 sans juriste : rien de plus que le palier 3, quoi que disent deux autres personnes.",
        rule="le palier 4 exige l'accord d'un juriste dans chaque dossier (G-23), jamais une validation permanente.",
        story=fourth,
        does=(*known, "2026-04-20 00:00 propose N2"),
        shown=("2026-04-20 09:00",),
        until="2026-04-21 12:00",
    )
    site = loaded().companies["houx"].sites[0]
    yield Tale(
        name="g07-stage-four-on-a-site-without-local-applications",
        title="Palier 4 sur un site dont aucune application locale n'est déclarée : jamais, même avec un juriste.",
        rule="ce qui touche au travail suppose qu'on sache ce qui continue de fonctionner (S-15).",
        story=fourth.approved("2026-03-27 10:00").approved("2026-04-16 15:00", "lea", notice="N2", role="legal"),
        turns=(
            Turn(
                when="2026-01-05 08:00",
                says="aucune application locale n'est déclarée pour ce site",
                world={"company": replace(loaded().companies["houx"], sites=(replace(site, local_applications=()),))},
            ),
        ),
        does=(*known, "2026-04-29 09:00 restore expired"),
        shown=("2026-04-20 09:00",),
        until="2026-05-15 12:00",
    )

"""Floor 4, demo. Until the suspension: invoices, reminders, the formal notice, two persons, and a Friday on which nothing happens.

Rules of this room, and of every chapter:

1. The story only sends what billing systems and persons send, and looks. What happens in between is the gateway's own doing.
2. Every claim is measured: with packets from the companies' own nodes, with the counters of the kernel, with the ledger.
"""

import time

from agent.demo import biller
from agent.demo.cast import ANNOUNCED, DEBTORS, DOOMED, DUE, KEPT, POLICY, START, ZA_AMOUNTS, ZA_INVOICE, ZB_CENTS, ZB_INVOICE
from agent.demo.control import NATIVE, PERSONS, STRIPE
from agent.demo.network import Stage
from agent.demo.scene import Scene, moment
from agent.demo.teller import Teller
from agent.lab import Stream


def opening(teller: Teller, stage: Stage) -> None:
    """What the reader is about to see."""
    nodes, names = len(stage.topology.nodes), ", ".join(f"{name} {site.company.name}" for name, site in stage.sites.items())
    teller.title(("ecluse : démonstration", "ecluse: demonstration"))
    for words in (
        (
            f"Vrai nftables et vrais paquets, dans {nodes} espaces de noms à part : le réseau de cette machine n'est pas touché.",
            f"Real nftables and real packets, in {nodes} network namespaces of its own: this machine's network is not touched.",
        ),
        (
            f"Le groupe Zéphyr : {names}. Chaque société a un ERP sur site ; chez za, la passerelle route entre deux sous-réseaux.",
            f"The group Zéphyr: {names}. Each has an ERP on site; at za the gateway routes between two subnets.",
        ),
        (
            "L'HEURE EST CELLE DE LA DÉMONSTRATION : son code avance l'horloge de la passerelle. Les millisecondes sont réelles.",
            "THE CLOCK IS THE DEMONSTRATION'S: its code moves the gateway's clock. The milliseconds are real.",
        ),
    ):
        teller.say(words, indent="")


def debts(scene: Scene) -> None:
    """Four invoices; two are paid."""
    fr = f"La facturation ({NATIVE}, et {STRIPE} pour zb) signe ses webhooks et les envoie à la passerelle en HTTP."
    en = f"Billing ({NATIVE}, and {STRIPE} for zb) signs its webhooks and sends them to the gateway over HTTP."
    scene.chapter(START, (fr, en))
    scene.native(
        "invoice.issued",
        "za",
        biller.invoice(ZA_INVOICE, due_on=DUE, amounts=ZA_AMOUNTS),
        ("za : facture de 4 800 EUR, échéance samedi 31 janvier", "za: invoice of 4,800 EUR, due Saturday 31 January"),
    )
    scene.stripe(
        "invoice.finalized",
        biller.stripe_invoice(ZB_INVOICE, customer="cus_zb", made=moment(START), due=moment(f"{DUE}T00:00:00"), cents=ZB_CENTS),
        ("zb : facture de 3 200 EUR (Stripe), même échéance", "zb: invoice of 3,200 EUR (Stripe), due the same day"),
    )
    payers = (("zc", "2100", ("2 100 EUR", "2,100 EUR")), ("zd", "1900", ("1 900 EUR", "1,900 EUR")))
    for company, amount, (fr, en) in payers:
        data = biller.invoice(f"F-2026-{company}", due_on=DUE, amounts={"shared-documents": amount})
        scene.native("invoice.issued", company, data, (f"{company} : facture de {fr}", f"{company}: invoice of {en}"))
    for company, amount, (fr, en) in payers:
        data = {"payment": f"VIR-{company}", "amount": amount, "currency": "EUR"}
        words = f"{company} : paiement de {fr}", f"{company}: payment of {en}"
        scene.native("payment.received", company, data, words, at="2026-01-29T10:12:00")


def letters(scene: Scene) -> None:
    """Three reminders, the formal notice, its delivery; and two persons let the policy act."""
    fr, en = (
        "za et zb n'ont pas payé : trois relances, puis la mise en demeure.",
        "za and zb have not paid: three reminders, then the formal notice.",
    )
    scene.chapter("2026-02-09T09:00:00", (fr, en))
    for number, day in enumerate(("2026-02-09", "2026-02-19", "2026-03-02"), 1):
        for company, owed in DEBTORS.items():
            data = {"reminder": f"R{number}-{company}", "invoices": [owed], "channel": "email"}
            words = f"{company} : relance {number}", f"{company}: reminder {number}"
            scene.native("reminder.sent", company, data, words, at=f"{day}T09:00:00")
    for company, owed in DEBTORS.items():
        reminders = [f"R{number}-{company}" for number in (1, 2, 3)]
        data = biller.notice(f"MED-{company}", invoices=[owed], reminders=reminders, services=ANNOUNCED)
        listed = ", ".join(ANNOUNCED)
        words = f"{company} : mise en demeure, LRAR : {listed}", f"{company}: formal notice, LRAR: {listed}"
        scene.native("notice.dispatched", company, data, words, at="2026-03-09T15:00:00")
    for company in DEBTORS:
        data = {"notice": f"MED-{company}", "proof": f"AR-{company}"}
        words = (
            f"{company} : remise contre signature, 15 jours pour payer",
            f"{company}: handed over against signature, 15 days to pay",
        )
        scene.native("notice.delivered", company, data, words, at="2026-03-11T10:30:00")
    fr = f"Deux personnes laissent la politique {POLICY} agir seule jusqu'au 30 juin (socket des opérateurs)."
    en = f"Two persons let the policy {POLICY} act by itself until 30 June (the operators' socket)."
    scene.chapter("2026-03-12T09:00:00", (fr, en))
    reason = scene.teller.words(("comité de crédit du 12 mars", "credit committee of 12 March"))
    for name, uid in PERSONS.items():
        code, message = scene.gateway.ask_as(
            name, "approve_policy", policy=POLICY, reason=reason, expires_at="2026-06-30T22:00:00Z"
        )
        said = scene.teller.of(message)
        scene.teller.expect(code == 0, (f"{name} (uid {uid}) : {said}", f"{name} (uid {uid}): {said}"))


def friday(scene: Scene) -> None:
    """The period is over, but nobody is suspended before a week-end."""
    fr = "Le délai a expiré jeudi à minuit. Vendredi est hors des heures prévues : rien n'est suspendu."
    en = "The period ended on Thursday at midnight. Friday is outside the hours: nothing is suspended."
    scene.chapter("2026-03-24T10:00:00", ("Dernier avertissement avant la mesure.", "The last warning before the measure."))
    for company in DEBTORS:
        data = {"warning": f"DA-{company}", "notice": f"MED-{company}", "channel": "email"}
        words = f"{company} : dernier avertissement", f"{company}: last warning"
        scene.native("warning.sent", company, data, words)
    scene.chapter("2026-03-27T10:00:00", (fr, en))
    scene.biller.heartbeat()
    scene.preflight()
    time.sleep(1.2)  # the gateway looks at the time once a second
    scene.agrees()
    for company in DEBTORS:
        (case,) = scene.gateway.ask("explain", company=company)["cases"]
        missing = ", ".join(case["missing"])
        why = next((scene.teller.of(check["reason"]) for check in case["checks"] if check["code"] in case["missing"]), "")
        words = f"{company} : il ne manque que {missing}, {why}", f"{company}: only {missing} is missing, {why}"
        scene.teller.expect(case["missing"] == ["G-20"], words)
    scene.measure(("avant", "before"), shown=True)
    for name, (company, what, family) in {**KEPT, **DOOMED}.items():
        address, port = scene.address(company, what, family)
        scene.streams[name] = Stream(scene.lab[scene.stage.sites[company].people], address, port)
    scene.teller.blank()
    scene.streams_flow(*KEPT, *DOOMED)

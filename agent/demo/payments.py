"""Floor 4, demo. The payments: each restores its company in milliseconds, at any hour; and the account of everything.

Rules of this room: as in `prologue`.
"""

import re
import subprocess
import time

from agent.demo import biller
from agent.demo.biller import Sent
from agent.demo.cast import ANNOUNCED, BOUND, DUE, KEPT, SOON, START, ZB_CENTS, ZB_INVOICE
from agent.demo.knock import Knock, Knocker
from agent.demo.network import PROVIDER
from agent.demo.scene import Scene, moment


def za_pays(scene: Scene) -> None:
    """ZA pays on Tuesday; ZB does not."""
    leaps = scene.pass_time("2026-03-31T14:05:00")
    fr = f"29 heures passent en {leaps} sauts de l'horloge ; à chacun, signe de vie de la facturation, baux renouvelés."
    en = f"29 hours pass in {leaps} leaps of the clock; at each, billing is heard of and leases are renewed."
    scene.teller.chapter(scene.gateway.now(), (fr, en))
    scene.agrees()
    scene.measure(("le lendemain, comme la veille", "the next day, as the day before"), shown=False)
    scene.chapter("2026-03-31T14:07:15", ("za paie ses 4 800 EUR.", "za pays its 4,800 EUR."))
    data = {"payment": "VIR-ZA-77", "amount": "4800", "currency": "EUR"}
    words = "za : paiement de 4 800 EUR, crédité à 14:07:12", "za: payment of 4,800 EUR, credited at 14:07:12"
    address, port = scene.address("za", "shared-documents", 4)
    with Knocker(scene.lab["za"], address, port) as knocker:
        _refused(scene, "za", knocker)
        sent = scene.native("payment.received", "za", data, words, occurred_at=moment("2026-03-31T14:07:12"))
        through = knocker.wait(1, "open", timeout=SOON, since=sent.begun)
    _restored(scene, "za", sent, through)
    scene.suspended = {"zb": ANNOUNCED}
    scene.agrees()
    scene.measure(("za a payé, zb non", "za has paid, zb has not"), shown=True)
    scene.teller.blank()
    scene.streams_flow(*KEPT)


def zb_pays(scene: Scene) -> None:
    """ZB pays in the evening: no window, no approval, no person."""
    scene.pass_time("2026-03-31T22:41:00")
    fr = "zb paie par Stripe, tard le soir : un rétablissement n'attend ni heure ouvrée ni personne."
    en = "zb pays through Stripe, late in the evening: a restore waits for no office hour and no person."
    scene.teller.chapter(scene.gateway.now(), (fr, en))
    scene.agrees()
    made, due, now = moment(START), moment(f"{DUE}T00:00:00"), scene.gateway.now()
    paid = biller.stripe_invoice(ZB_INVOICE, customer="cus_zb", made=made, due=due, cents=ZB_CENTS, paid_at=now)
    words = "zb : facture payée, dit Stripe (invoice.paid)", "zb: the invoice is paid, says Stripe (invoice.paid)"
    address, port = scene.address("zb", "reporting", 6)
    with Knocker(scene.lab["zb"], address, port) as knocker:
        _refused(scene, "zb", knocker)
        sent = scene.stripe("invoice.paid", paid, words)
        through = knocker.wait(1, "open", timeout=SOON, since=sent.begun)
    _restored(scene, "zb", sent, through)
    scene.suspended = {}
    scene.agrees()
    scene.measure(("tout le monde a payé", "everybody has paid"), shown=True)


def _refused(scene: Scene, company: str, knocker: Knocker) -> None:
    """The company is refused, attempt after attempt, when the payment comes."""
    refused = len(knocker.wait(20, "refused", timeout=SOON)) >= 20
    words = f"{company} est refusée avant le paiement", f"{company} is refused before the payment"
    scene.teller.expect(refused, words, shown=False)


def _restored(scene: Scene, company: str, sent: Sent, through: list[Knock]) -> None:
    """How long it took from the payment's webhook to its answer, and to the first connection through."""
    if not through:
        scene.teller.miss((f"{company} est toujours refusée", f"{company} is still refused"))
        return
    first = (through[0].ended - sent.begun) * 1000
    answer, opened = scene.teller.number(sent.ms), scene.teller.number(first)
    fr = f"{company} : du webhook du paiement à la première connexion passée {opened} ms, à la réponse HTTP {answer} ms"
    en = f"{company}: from the payment's webhook to the first connection through {opened} ms, to the HTTP answer {answer} ms"
    scene.teller.expect(first < BOUND and sent.ms < BOUND, (fr, en))


def _far_end(scene: Scene, company: str, what: str, port: int) -> int:
    """How many bytes the server's kernel has received on the connection from a client's port; 0 if there is none."""
    local = any(target.name == what for target in scene.stage.sites[company].local)
    node = scene.stage.sites[company].erp if local else PROVIDER
    process = scene.lab[node].start(
        ["ss", "-tinOH", "state", "established", "dport", "=", f":{port}"], stdout=subprocess.PIPE, text=True
    )
    listed, _ = process.communicate(timeout=10)
    counted = re.search(r"\bbytes_received:(\d+)", listed)
    return int(counted[1]) if counted else 0


def account(scene: Scene) -> None:
    """The open connections, the ledger, an orderly stop."""
    teller = scene.teller
    teller.blank()
    teller.say(
        (
            "Connexions ouvertes depuis vendredi, octets envoyés / comptés à l'autre bout par le noyau / revenus :",
            "Connections open since Friday, bytes sent / counted at the other end by its kernel / come back:",
        )
    )
    for name, (company, what, _) in KEPT.items():
        tally = scene.streams[name].settle()
        far = _far_end(scene, company, what, scene.streams[name].port)
        text = f"{name}: {tally.sent} / {far} / {tally.received}"
        teller.expect(tally.whole and tally.sent == far > 0, (text, text))
    scene.command("log", "za")
    scene.command("log", "--verify")
    begun = time.monotonic()
    code = scene.gateway.stop()
    took = teller.number((time.monotonic() - begun) * 1000)
    teller.blank()
    teller.expect(code == 0, (f"la passerelle s'arrête en ordre, en {took} ms", f"the gateway stops in order, in {took} ms"))

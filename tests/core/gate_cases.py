"""The gate as a table of cases: for each of the 27 checks what passes, what does not, what persons may lift, and until when.

A lawyer can read it beside the table of the checks (`agent/gate/table.py`). Every case is the founding case with something changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

from agent.breaker import Load
from agent.case import ClockState
from agent.continuity import Sight
from agent.event import HOLDS
from agent.gate import Kind, Verdict
from agent.gate.checks import MUST_STATE
from agent.model import Mode, Policy, Protected, Service, ServiceClass, Window
from tests.core.stories import (
    APPROVE,
    POLICY,
    SERVICES,
    ZA,
    Story,
    at,
    company,
    lines,
    reminded,
    ripe,
    service,
    site,
    standing,
    suspended,
)

PASS, FAIL, UNKNOWN, LATER = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN, Verdict.LATER

#: A moment at which everything about the founding case is right.
NOW = "2026-03-30 10:00"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One case of one check.

    `says`: words its French reason must hold. `until`: when time alone may change it. `lifted`: it passes because persons say so.
    """

    code: str
    name: str
    verdict: Verdict
    story: Story
    now: str = NOW
    says: str = ""
    until: str = ""
    kind: Kind | None = None
    lifted: bool = False
    world: Mapping[str, Any] = field(default_factory=dict)


def row(code: str, name: str, verdict: Verdict, story: Story | None = None, now: str = NOW, **more: Any) -> Row:
    own = {key: more.pop(key) for key in ("says", "until", "kind", "lifted") if key in more}
    return Row(code=code, name=name, verdict=verdict, story=story or ripe(), now=now, world=more, **own)


def policy(**changes: Any) -> Policy:
    return replace(POLICY, **changes)


def za(**changes: Any) -> Any:
    return replace(ZA, **changes)


def subscriptions(**changes: Any) -> Any:
    """The company, with its subscription to the VPN changed."""
    return replace(ZA, subscriptions=tuple(replace(s, **changes) if s.service == "vpn" else s for s in ZA.subscriptions))


def after(*days: str, invoices: tuple[str, ...] = ("F1",)) -> Story:
    """The founding case with reminders on other days."""
    story = Story().invoice()
    for number, day in enumerate(days, 1):
        story = story.reminder(f"R{number}", day if " " in day else f"{day} 10:00", *invoices)
    return story.notice(reminders=[f"R{n + 1}" for n in range(len(days))]).letter("delivered", "2026-03-11 10:30")


def noticed(**changes: Any) -> Story:
    return reminded().notice(**changes).letter("delivered", "2026-03-11 10:30")


def letter(*letters: tuple[str, str], proof: str | None = "AR") -> Story:
    story = reminded().notice()
    for what, when in letters:
        story = story.letter(what, when, proof=proof)
    return story


def billed(**invoice: Any) -> Story:
    """The founding case with another invoice F1."""
    story = Story().invoice(**invoice)
    for event in ripe().events[1:]:
        story = replace(story, events=(*story.events, event), serial=story.serial + 1)
    return story


def lift(code: str, *persons: str, story: Story | None = None, until: str = "2027-01-01 00:00") -> Story:
    """The founding case with an override of one check by persons, each given as `name` (an approver) or `name:role`."""
    story = story or ripe()
    for person in persons:
        name, _, role = person.partition(":")
        body = {"case": "za:N1", "check": code, "expires_at": at(until).isoformat()}
        story = story.operator("override.given", "2026-03-27 10:00", name, role=role or "approver", **body)
    return story


def both(code: str, story: Story | None = None) -> Story:
    """The override that takes the most: two persons, one an approver, one of the legal role."""
    return lift(code, "claire", "denis:legal", story=story)


def changed(**service_changes: Any) -> Mapping[str, Service]:
    """The catalogue with another VPN service."""
    return dict(SERVICES) | {"vpn": replace(SERVICES["vpn"], **service_changes)}


def clock(when: str = NOW, **changes: Any) -> ClockState:
    return ClockState(at=at(when), **({"synchronised": True, "offset_ms": 3, "stepped": False} | changes))


def load(*minutes: int, **changes: Any) -> Load:
    """What was ordered so many minutes before `NOW`, earliest first."""
    return Load(ordered=tuple(at(NOW) - timedelta(minutes=each) for each in sorted(minutes, reverse=True)), **changes)


def waived(stage: int) -> Story:
    return ripe().operator("stage.waived", "2026-03-20 10:00", role="approver", case="za:N1", stages=[stage])


def person(role: str, name: str = "claire", story: Story | None = None) -> Story:
    return (story or ripe()).approved("2026-03-27 10:00", name, role=role)


PUBLIC = policy(profile="fr-public", mode=Mode.APPROVE)
RECORDED = replace(PUBLIC, public_clause="art. 12", public_mission="annex 3", public_opposition="letter of 2 March")

#: The founding case with a second invoice that the notice names and that is not overdue for thirty days yet.
YOUNG = (
    reminded()
    .invoice("F2", "900.00", "2026-03-05")
    .notice(invoices=["F1", "F2"])
    .letter("delivered", "2026-03-11 10:30")
    .warned("2026-03-24 10:00")
)
SECOND = ripe().invoice("F2", "900.00", "2026-01-31")
BOTH = (
    Story()
    .invoice("F1", "4800.00")
    .invoice("F2", "900.00", lines=lines("900.00", delivered=False))
    .reminder("R1", "2026-02-09 10:00", "F1", "F2")
    .reminder("R2", "2026-02-19 10:00", "F1", "F2")
    .reminder("R3", "2026-03-02 10:00", "F1")
    .notice(invoices=["F1", "F2"])
    .letter("delivered", "2026-03-11 10:30")
)
UNWAIVED = policy(waive_gentler_stages="")
SCOPE = ripe().says("scope.changed", "2026-01-15 10:00", change="AV-1", reason="price raised")
WARNED = ripe().without("warning.sent")
BOUNCED = ripe().says("warning.bounced", "2026-03-24 10:05", warning="W1")
UNREACHED = ripe().says("contact.unreachable", "2026-03-25 10:00", contact="K-7")
DOWN = (
    ripe()
    .probed("2026-03-30 09:00")
    .says("local.regressed", "2026-03-30 09:30", source="probe", regression="P-1", application="erp")
)
ORDERED = ripe().ordered("2026-03-30 09:59:50")
ORDERED_LOAD = Load(ordered=(*(at(NOW) - timedelta(hours=3, minutes=n) for n in (4, 3, 2, 1)), at("2026-03-30 09:59:50")))
SAINT_LUNDI = policy(windows=(Window(days=(0, 1, 2, 3, 4), start=time(8), end=time(18)),))

ROWS: tuple[Row, ...] = (
    # --- G-01 debtor and target
    row("G-01", "a known company with a contract and its own subscriptions", PASS, says="C-2024-017"),
    row("G-01", "a company nobody knows", FAIL, company=None, says="inconnue"),
    row("G-01", "no contract", FAIL, company=za(contract=""), says="contrat"),
    row("G-01", "a service it does not subscribe to", FAIL, noticed(services=["vpn", "hosted-mail"]), says="hosted-mail"),
    row("G-01", "no attachment", FAIL, company=company(sites=[replace(site("paris"), attachments=())]), says="raccordement"),
    row(
        "G-01",
        "an attachment that has ended",
        FAIL,
        company=company(sites=[site("p", valid_to=date(2026, 3, 29))]),
        says="raccordement",
    ),
    row(
        "G-01",
        "an attachment on its last day",
        PASS,
        company=company(sites=[site("p", valid_to=date(2026, 3, 30))]),
        until="2026-03-31 00:00",
    ),
    row(
        "G-01",
        "an attachment that begins tomorrow",
        FAIL,
        company=company(sites=[site("p", valid_from=date(2026, 3, 31))]),
        until="2026-03-31 00:00",
    ),
    row(
        "G-01",
        "a service that this gateway can not tell apart",
        FAIL,
        inseparable=("vpn",),
        kind=Kind.APPLY,
        says="TARGET_NOT_SEPARABLE",
    ),
    row("G-01", "another one that it can not tell apart", PASS, inseparable=("hosted-mail",)),
    # --- G-02 whose gateway, whose services
    row("G-02", "the provider's own", PASS, says="prestataire"),
    row("G-02", "nobody said whose gateway it is", UNKNOWN, policy=policy(enforcement_point=""), says="enforcement_point"),
    row("G-02", "the customer's gateway", FAIL, policy=policy(enforcement_point="customer"), says="client"),
    row("G-02", "a service of somebody else", FAIL, services=changed(delivered_by="third_party"), says="vpn"),
    row("G-02", "a service of the customer's own", FAIL, services=changed(delivered_by="customer"), says="vpn"),
    row(
        "G-02",
        "a service of somebody else that is not announced",
        PASS,
        noticed(services=["reporting"]),
        services=changed(delivered_by="third_party"),
    ),
    # --- G-03 invoices and delivery
    row("G-03", "an invoice whose services were delivered", PASS, says="F1"),
    row("G-03", "no delivery reference", FAIL, billed(lines=lines("4800.00", delivered=False)), says="vpn"),
    row("G-03", "an invoice without lines", FAIL, billed(lines=[]), says="F1"),
    row("G-03", "a notice that names no invoice", FAIL, noticed(invoices=[]), says="aucune facture"),
    row("G-03", "a notice that names unknown invoices", FAIL, noticed(invoices=["F7"]), says="connue"),
    row("G-03", "a payment in another currency", FAIL, ripe().paid("10", "2026-03-12 10:00", currency="USD"), says="USD"),
    row("G-03", "another invoice is badly proven: it is left out", PASS, BOTH, says="non comptées"),
    row("G-03", "nothing is due yet", PASS, billed(due="2026-03-15"), says="aucune due", until="2026-04-14 00:00"),
    # --- G-04 age of the debt
    row("G-04", "overdue for fifty-eight days", PASS, says="58 jours"),
    row("G-04", "overdue for twenty-nine days", FAIL, billed(due="2026-03-01"), says="30 jours", until="2026-03-31 00:00"),
    row("G-04", "overdue for thirty days", PASS, billed(due="2026-02-28")),
    row("G-04", "everything is paid", FAIL, ripe().paid("4800", "2026-03-12 10:00"), says="30 jours"),
    row("G-04", "the invoice is cancelled", FAIL, ripe().cancelled("F1", "2026-03-12 10:00")),
    row("G-04", "another currency than the policy's", FAIL, billed(currency="USD")),
    row("G-04", "an invoice of another contract", FAIL, billed(contract="C-OTHER")),
    row("G-04", "an invoice of this contract", PASS, billed(contract=ZA.contract)),
    row(
        "G-04",
        "the thirtieth day has begun in Paris and not yet in Casablanca",
        FAIL,
        billed(due="2026-03-15"),
        "2026-04-14 00:30",
        company=company(sites=[site("p"), site("c", zone="Africa/Casablanca")]),
        until="2026-04-14 01:00",
    ),
    row(
        "G-04",
        "an approver takes a younger debt",
        PASS,
        lift("G-04", "claire", story=billed(due="2026-03-01")),
        lifted=True,
        until="2026-03-31 00:00",
    ),
    row("G-04", "a credit officer does not", FAIL, lift("G-04", "emma:credit_officer", story=billed(due="2026-03-01"))),
    row("G-04", "nobody takes a debt that is not due", FAIL, both("G-04", billed(due="2026-03-30")), says="plancher"),
    # --- G-05 the sum
    row("G-05", "another invoice ripens", PASS, YOUNG, until="2026-04-04 00:00"),
    row("G-05", "two persons take a smaller debt", PASS, both("G-05", billed(amount="400.00")), lifted=True, says="seuil 100,00"),
    row("G-05", "two persons take less than a monthly fee", PASS, both("G-05"), company=company(fee="1600.01"), lifted=True),
    row("G-05", "one person does not", FAIL, lift("G-05", "claire", story=billed(amount="400.00"))),
    row("G-05", "one person twice does not", FAIL, lift("G-05", "claire", "claire:legal", story=billed(amount="400.00"))),
    row(
        "G-05",
        "two credit officers do not",
        FAIL,
        lift("G-05", "emma:credit_officer", "fleur:credit_officer", story=billed(amount="400.00")),
    ),
    row(
        "G-05",
        "a credit officer and an approver do",
        PASS,
        lift("G-05", "emma:credit_officer", "claire", story=billed(amount="400.00")),
        lifted=True,
    ),
    row("G-05", "an operator's word does not count", FAIL, lift("G-05", "claire", "omar:operator", story=billed(amount="400.00"))),
    row("G-05", "nobody goes below 100 EUR", FAIL, both("G-05", billed(amount="99.99")), says="plancher"),
    row(
        "G-05",
        "an override that ends",
        PASS,
        lift("G-05", "claire", "denis:legal", story=billed(amount="400.00"), until="2026-03-30 12:00"),
        lifted=True,
        until="2026-03-30 12:00",
    ),
    row("G-05", "4 800 EUR", PASS, says="4 800,00 EUR"),
    row("G-05", "exactly the threshold", PASS, billed(amount="500.00")),
    row("G-05", "a cent less than the threshold", FAIL, billed(amount="499.99"), says="499,99 EUR"),
    row("G-05", "a payment leaves less than the threshold", FAIL, ripe().paid("4300.01", "2026-03-12 10:00"), says="499,99"),
    row("G-05", "a payment leaves exactly the threshold", PASS, ripe().paid("4300.00", "2026-03-12 10:00")),
    row("G-05", "less than one monthly fee of its services", FAIL, company=company(fee="1600.01"), says="4 800,03"),
    row("G-05", "one monthly fee", PASS, company=company(fee="1600.00")),
    row(
        "G-05",
        "invoices the notice does not name do not count",
        FAIL,
        SECOND.paid("4500", "2026-03-12 10:00", F1="4500"),
        says="300,00",
    ),
    row("G-05", "a badly proven invoice does not count", FAIL, BOTH.paid("4400", "2026-03-12 10:00", F1="4400"), says="400,00"),
    row("G-05", "a contested invoice does not count", FAIL, ripe().dispute("2026-03-12 10:00", "F1"), says="0,00"),
    row(
        "G-05",
        "paid, and the payment came back after the notice",
        FAIL,
        ripe().paid("4800", "2026-03-12 10:00").returned("2026-03-20 10:00"),
    ),
    row(
        "G-05",
        "paid, and the payment came back before the notice",
        PASS,
        ripe().paid("4800", "2026-02-12 10:00").returned("2026-02-20 10:00"),
    ),
    row(
        "G-05",
        "penalties do not count",
        FAIL,
        billed(lines=[{"service": "vpn", "amount": "4800.00", "kind": "penalty"}]),
        says=" 0,00",
    ),
    # --- G-06 reminders
    row("G-06", "three, far enough apart", PASS, says="relances valables : 3"),
    row("G-06", "two", FAIL, after("2026-02-09", "2026-02-19"), says="relances valables : 2"),
    row(
        "G-06",
        "three on one day are one",
        FAIL,
        after("2026-02-09 09:00", "2026-02-09 12:00", "2026-02-09 15:00"),
        says="relances valables : 1",
    ),
    row("G-06", "six days apart", FAIL, after("2026-02-09", "2026-02-15", "2026-03-02"), says="relances valables : 2"),
    row("G-06", "seven days apart", PASS, after("2026-02-09", "2026-02-16", "2026-02-23")),
    row("G-06", "on the due date", FAIL, after("2026-01-31", "2026-02-19", "2026-03-02"), says="relances valables : 2"),
    row("G-06", "the day after the due date", PASS, after("2026-02-01", "2026-02-19", "2026-03-02")),
    row("G-06", "the third after the notice", FAIL, after("2026-02-09", "2026-02-19", "2026-03-10"), says="relances valables : 2"),
    row("G-06", "the third is not recalled by the notice", FAIL, noticed(reminders=["R1", "R2"]), says="relances valables : 2"),
    row(
        "G-06",
        "about another invoice",
        FAIL,
        after("2026-02-09", "2026-02-19", "2026-03-02", invoices=("F2",)),
        says="relances valables : 0",
    ),
    row(
        "G-06",
        "one is dated twice, once before the due date",
        FAIL,
        ripe().reminder("R1", "2026-01-20 10:00"),
        says="relances valables : 2",
    ),
    row(
        "G-06",
        "one is dated twice, once after the notice",
        FAIL,
        ripe().reminder("R3", "2026-03-10 10:00"),
        says="relances valables : 2",
    ),
    row(
        "G-06",
        "another invoice was reminded too little: it is left out",
        PASS,
        BOTH.invoice("F2", "900.00", when="2026-02-01 08:00"),
        says="F2",
    ),
    row("G-06", "another invoice ripens", PASS, YOUNG, until="2026-04-04 00:00"),
    row("G-06", "two persons take two reminders", PASS, both("G-06", after("2026-02-09", "2026-02-12")), lifted=True),
    row("G-06", "one person does not", FAIL, lift("G-06", "claire", story=after("2026-02-09", "2026-02-19"))),
    row("G-06", "nobody takes one", FAIL, both("G-06", after("2026-02-09")), says="plancher"),
    row("G-06", "nobody takes two that are two days apart", FAIL, both("G-06", after("2026-02-09", "2026-02-11"))),
    # --- G-07 the notice is proven
    row("G-07", "registered letter, delivered, with its receipt", PASS, says="AR 1A 234 567"),
    row("G-07", "refused is proven too", PASS, letter(("refused", "2026-03-11 10:30"))),
    row("G-07", "not claimed, presented", PASS, letter(("presented", "2026-03-11 10:30"), ("unclaimed", "2026-03-27 10:30"))),
    row("G-07", "only presented", FAIL, letter(("presented", "2026-03-11 10:30")), says="réception"),
    row("G-07", "only sent", FAIL, letter(), says="réception"),
    row("G-07", "no proof attached", FAIL, letter(("delivered", "2026-03-11 10:30"), proof=None), says="non jointe"),
    row("G-07", "unknown at this address", FAIL, letter(("undeliverable", "2026-03-11 10:30")), says="NPAI"),
    row("G-07", "e-mail", FAIL, noticed(channel="email"), says="email"),
    row(
        "G-07",
        "e-mail where the policy takes it and a receipt is attached",
        PASS,
        noticed(channel="email"),
        policy=policy(notice_channels=("email",)),
    ),
    row(
        "G-07", "stated by registered letter and by e-mail", FAIL, ripe().notice("2026-03-10 11:00", channel="email"), says="email"
    ),
    row("G-07", "two persons take an e-mail with its receipt", PASS, both("G-07", noticed(channel="email")), lifted=True),
    row("G-07", "one person does not", FAIL, lift("G-07", "claire", story=noticed(channel="email"))),
    row(
        "G-07",
        "nobody does without a proof",
        FAIL,
        both("G-07", letter(("delivered", "2026-03-11 10:30"), proof=None)),
        says="plancher",
    ),
    # --- G-08 the notice is complete
    row("G-08", "everything is stated", PASS, says="27/03/2026"),
    *(
        row("G-08", f"it does not state {what}", FAIL, noticed(states=sorted(MUST_STATE - {what})), says=what)
        for what in sorted(MUST_STATE)
    ),
    row("G-08", "no service announced", FAIL, ripe().notice("2026-03-10 11:00", services=["hosted-mail"]), says="aucun service"),
    row("G-08", "it announces a smaller measure", FAIL, noticed(stage=2), says="palier 2"),
    row("G-08", "it announces this measure", PASS, noticed(stage=3)),
    row(
        "G-08",
        "the order is wider than a restated announcement",
        FAIL,
        suspended().notice("2026-03-10 11:00", services=["vpn"]),
        says="reporting",
    ),
    # --- G-09 the period
    row(
        "G-09",
        "the last second of the period",
        FAIL,
        now="2026-03-26 23:59:59",
        says="27/03/2026 à 00:00",
        until="2026-03-27 00:00",
    ),
    row("G-09", "the period has ended", PASS, now="2026-03-27 00:00", says="11/03/2026"),
    row("G-09", "no effect yet", FAIL, letter(("presented", "2026-03-11 10:30")), says="sans effet"),
    row("G-09", "the notice itself gives longer", FAIL, noticed(cure_days=22), now="2026-03-31 10:00", until="2026-04-03 00:00"),
    row("G-09", "the notice itself gives less: the policy's days count", FAIL, noticed(cure_days=8), now="2026-03-26 10:00"),
    row("G-09", "the announced date has not come", FAIL, noticed(earliest_on="2026-04-01"), until="2026-04-01 00:00"),
    row("G-09", "the end falls on a Sunday", FAIL, letter(("delivered", "2026-03-14 10:30")), until="2026-03-31 00:00"),
    row("G-09", "the end falls on Easter Monday", FAIL, letter(("delivered", "2026-03-22 10:30")), until="2026-04-08 00:00"),
    row(
        "G-09",
        "over the night of the clock change",
        FAIL,
        letter(("delivered", "2026-03-13 10:30")),
        now="2026-03-30 23:30",
        until="2026-03-31 00:00",
    ),
    row(
        "G-09",
        "a site in Casablanca: its day ends an hour later",
        FAIL,
        letter(("delivered", "2026-03-17 10:30")),
        now="2026-04-02 00:30",
        company=company(sites=[site("p"), site("c", zone="Africa/Casablanca")]),
        until="2026-04-02 01:00",
    ),
    row(
        "G-09",
        "a letter to Martinique, dated by midnight in Paris",
        FAIL,
        letter(("delivered", "2026-03-11 00:00")),
        now="2026-03-27 04:59",
        company=company(sites=[site("m", zone="America/Martinique")]),
        until="2026-03-27 05:00",
    ),
    # --- G-10 a stale notice
    row("G-10", "in time", PASS, says="25/06/2026 à 00:00", until="2026-06-25 00:00"),
    row("G-10", "ninety days after the end of the period", FAIL, now="2026-06-25 10:00"),
    row("G-10", "no effect yet", LATER, letter(("presented", "2026-03-11 10:30"))),
    row("G-10", "no effect any more while an order lives", UNKNOWN, suspended().letter("undeliverable", "2026-03-30 10:00")),
    row(
        "G-10",
        "an approver takes an older one",
        PASS,
        lift("G-10", "claire"),
        now="2026-06-25 10:00",
        lifted=True,
        until="2026-09-23 00:00",
    ),
    row("G-10", "a credit officer does not", FAIL, lift("G-10", "emma:credit_officer"), now="2026-06-25 10:00"),
    row("G-10", "nobody takes one of half a year", FAIL, lift("G-10", "claire"), now="2026-09-23 10:00", says="plancher"),
    # --- G-11 the order of the facts
    row("G-11", "due, reminded, noticed, ended", PASS),
    row("G-11", "the period still runs", FAIL, now="2026-03-26 10:00", until="2026-03-27 00:00"),
    row("G-11", "no effective notice", UNKNOWN, letter()),
    row("G-11", "the notice recalls too few", FAIL, noticed(reminders=["R1", "R2"]), says="2 relances"),
    row("G-11", "it recalls a reminder sent after it", FAIL, after("2026-02-09", "2026-02-19", "2026-03-10"), says="R3"),
    row("G-11", "received before it was sent", FAIL, letter(("delivered", "2026-03-08 10:30")), says="antérieure"),
    row("G-11", "sent again after it was received", FAIL, ripe().notice("2026-03-12 11:00"), says="antérieure"),
    # --- G-12 disputes
    row("G-12", "none", PASS, says="aucune contestation"),
    row(
        "G-12",
        "against an invoice, with a motive: the invoice is left out",
        PASS,
        ripe().dispute("2026-03-12 10:00", "F1"),
        says="F1",
    ),
    row("G-12", "without a motive", FAIL, ripe().dispute("2026-03-12 10:00", "F1", motive=""), says="D1"),
    row("G-12", "without an invoice", FAIL, ripe().dispute("2026-03-12 10:00"), says="D1"),
    row(
        "G-12",
        "about another invoice and vague: nothing is cut meanwhile",
        FAIL,
        SECOND.dispute("2026-03-12 10:00", "F2", motive=""),
    ),
    row("G-12", "rejected", PASS, ripe().dispute("2026-03-12 10:00").settled("2026-03-13 10:00", "rejected")),
    # --- G-13 holds
    row("G-13", "none", PASS, says="aucun gel"),
    *(
        row("G-13", f"{kind}", FAIL, ripe().hold(kind, "2026-03-12 10:00"), says=kind, kind=Kind.STANDING)
        for kind in ("insolvency", "court", "payment_plan", "stale_data", "dispute", "manual")
    ),
    row("G-13", "insolvency while suspended ends it", FAIL, suspended().hold("insolvency", NOW), kind=Kind.STANDING),
    row("G-13", "stale data while suspended freezes only", FAIL, suspended().hold("stale_data", NOW), kind=Kind.APPLY),
    row(
        "G-13",
        "both",
        FAIL,
        suspended().hold("stale_data", NOW).hold("court", NOW, "H2"),
        kind=Kind.STANDING,
        says="court, stale_data",
    ),
    row("G-13", "lifted", PASS, ripe().hold("court", "2026-03-12 10:00").lifted("2026-03-13 10:00")),
    row(
        "G-13",
        "a judge's delay",
        FAIL,
        ripe().deferred("2026-03-20 10:00", "2026-04-15"),
        says="grace_period",
        until="2026-04-16 00:00",
    ),
    row("G-13", "a judge's delay that is over", PASS, ripe().deferred("2026-03-12 10:00", "2026-03-29")),
    row(
        "G-13", "a judge's delay on its last day", FAIL, ripe().deferred("2026-03-12 10:00", "2026-03-30"), until="2026-03-31 00:00"
    ),
    row(
        "G-13",
        "an approver lifts what was set by hand",
        PASS,
        lift("G-13", "claire", story=ripe().hold("manual", "2026-03-12 10:00")),
        lifted=True,
    ),
    row(
        "G-13",
        "a credit officer does not",
        FAIL,
        lift("G-13", "emma:credit_officer", story=ripe().hold("manual", "2026-03-12 10:00")),
    ),
    *(
        row("G-13", f"nobody lifts {kind}", FAIL, both("G-13", ripe().hold(kind, "2026-03-12 10:00")), says=kind)
        for kind in HOLDS
        if kind != "manual"
    ),
    row(
        "G-13",
        "what else holds stays",
        FAIL,
        both("G-13", ripe().hold("manual", "2026-03-12 10:00").hold("court", "2026-03-12 10:00", "H2")),
        says="court",
    ),
    # --- G-14 the register
    row("G-14", "looked at just now", PASS, until="2026-03-31 10:00"),
    row("G-14", "never looked at", UNKNOWN, register=None, says="jamais"),
    row("G-14", "a day ago", FAIL, register="2026-03-29 10:00", says="trop ancien"),
    row("G-14", "a second less", PASS, register="2026-03-29 10:00:01", until="2026-03-30 10:00:01"),
    row(
        "G-14",
        "for this company alone",
        PASS,
        ripe().says("insolvency.checked", "2026-03-30 08:00"),
        register=None,
        until="2026-03-31 08:00",
    ),
    row(
        "G-14",
        "the later of the two counts",
        PASS,
        ripe().says("insolvency.checked", "2026-03-30 08:00"),
        register="2026-03-20 10:00",
    ),
    row("G-14", "from the future", UNKNOWN, register="2026-03-30 10:06", says="avenir", until="2026-03-30 10:01"),
    row("G-14", "two persons take three days", PASS, both("G-14"), register="2026-03-27 09:00:01", lifted=True),
    row("G-14", "one person does not", FAIL, lift("G-14", "claire"), register="2026-03-27 09:00:01"),
    row("G-14", "nobody takes more", FAIL, both("G-14"), register="2026-03-27 09:00", says="plancher"),
    row("G-14", "nobody does without", UNKNOWN, both("G-14"), register=None),
    # --- G-15 protected statuses
    row("G-15", "none", PASS),
    *(
        row("G-15", f"two persons lift {status.value}", PASS, both("G-15"), company=za(protected=(status,)), lifted=True)
        for status in (Protected.NATURAL_PERSON, Protected.REGULATED, Protected.CARE)
    ),
    *(
        row("G-15", f"nobody lifts {status.value}", FAIL, both("G-15"), company=za(protected=(status,)), says="plancher")
        for status in (Protected.CONSUMER, Protected.INDIRECT, Protected.SOLE_REVENUE, Protected.PUBLIC_BODY)
    ),
    row("G-15", "one person lifts nothing", FAIL, lift("G-15", "claire"), company=za(protected=(Protected.CARE,))),
    row(
        "G-15",
        "one that can be lifted and one that can not",
        FAIL,
        both("G-15"),
        company=za(protected=(Protected.CARE, Protected.SOLE_REVENUE)),
    ),
    row(
        "G-15",
        "a profile for public bodies says what is missing",
        FAIL,
        policy=PUBLIC,
        says="clause expresse du contrat : non consignée",
    ),
    row("G-15", "nobody lifts it while that is missing", FAIL, both("G-15"), policy=replace(RECORDED, public_mission="")),
    row("G-15", "all is recorded, nobody decided", FAIL, policy=RECORDED, says="art. 12"),
    row(
        "G-15",
        "all is recorded, and two persons decided",
        PASS,
        both("G-15"),
        policy=RECORDED,
        lifted=True,
        says="letter of 2 March",
    ),
    row("G-15", "a profile for consumers", FAIL, policy=policy(profile="fr-consumer"), says="consumer"),
    row("G-15", "nobody lifts a profile for consumers", FAIL, both("G-15"), policy=policy(profile="fr-consumer")),
    row("G-15", "a company nobody knows", UNKNOWN, company=None),
    *(row("G-15", status.value, FAIL, company=za(protected=(status,)), says=status.value) for status in Protected),
    # --- G-16 classes and confinement
    row("G-16", "annex services that are all unpaid", PASS, says="vpn"),
    row("G-16", "a company nobody knows", UNKNOWN, company=None),
    *(
        row(
            "G-16",
            f"a service of class {class_.value}",
            FAIL,
            services=dict(SERVICES) | {"vpn": service("vpn", class_, "198.51.100.10/32")},
            says="vpn",
        )
        for class_ in ServiceClass
        if class_ is not ServiceClass.ANNEX
    ),
    row("G-16", "the company's own class says never", FAIL, company=subscriptions(class_=ServiceClass.DEPENDENCY), says="vpn"),
    row("G-16", "a service nobody knows", FAIL, services={k: v for k, v in SERVICES.items() if k != "vpn"}, says="vpn"),
    row("G-16", "a service with no unpaid invoice", FAIL, billed(lines=lines("4800.00", services=["vpn"])), says="reporting"),
    row(
        "G-16",
        "the same where the policy does not confine",
        PASS,
        billed(lines=lines("4800.00", services=["vpn"])),
        policy=policy(confine_to_unpaid_service=False),
    ),
    row(
        "G-16",
        "a penalty is no unpaid service",
        FAIL,
        billed(
            lines=[
                *lines("4800.00", services=["vpn", "reporting"]),
                {"service": "shared-documents", "amount": "40.00", "kind": "penalty"},
            ]
        ),
        says="shared-documents",
    ),
    row(
        "G-16",
        "a free service is no unpaid service",
        FAIL,
        billed(
            lines=[
                *lines("4800.00", services=["vpn", "reporting"]),
                {"service": "shared-documents", "amount": "0", "delivered_ref": "PV"},
            ]
        ),
        says="shared-documents",
    ),
    row("G-16", "another invoice ripens", PASS, YOUNG, until="2026-04-04 00:00"),
    # --- G-17 paid in advance
    row("G-17", "nothing", PASS),
    row("G-17", "until today", FAIL, company=subscriptions(paid_through=date(2026, 3, 30)), says="vpn", until="2026-03-31 00:00"),
    row("G-17", "until yesterday", PASS, company=subscriptions(paid_through=date(2026, 3, 29))),
    row(
        "G-17",
        "a service that is not announced",
        PASS,
        noticed(services=["reporting"]),
        company=subscriptions(paid_through=date(2026, 12, 31)),
    ),
    row("G-17", "a company nobody knows", UNKNOWN, company=None),
    # --- G-18 proportion
    row("G-18", "all of it", PASS, says="restent en service : dns"),
    row("G-18", "another invoice ripens", PASS, YOUNG, until="2026-04-04 00:00"),
    row("G-18", "the notice does not say what stays on", FAIL, noticed(kept=[]), says="reste en service"),
    row("G-18", "gentler stages neither tried nor waived", FAIL, policy=UNWAIVED, says="palier 2"),
    row("G-18", "waived for this case", PASS, waived(2), policy=UNWAIVED, says="seen (claire)"),
    row("G-18", "only the notice waived", FAIL, waived(1), policy=UNWAIVED),
    row("G-18", "the debt is too small for this stage", FAIL, policy=policy(stage3_min_debt=Decimal("4800.01")), says="4 800,01"),
    row("G-18", "the debt is just large enough", PASS, policy=policy(stage3_min_debt=Decimal(4800))),
    row("G-18", "fifty-eight days are too young", FAIL, policy=policy(stage3_min_days=59), says="58", until="2026-03-31 00:00"),
    row("G-18", "fifty-eight days are enough", PASS, policy=policy(stage3_min_days=58)),
    row("G-18", "two persons do without a gentler stage", PASS, both("G-18"), policy=UNWAIVED, lifted=True),
    row("G-18", "two persons take a smaller debt", PASS, both("G-18"), policy=policy(stage3_min_debt=Decimal(5000)), lifted=True),
    row("G-18", "two persons take a younger debt", PASS, both("G-18"), policy=policy(stage3_min_days=90), lifted=True),
    row("G-18", "one person does not", FAIL, lift("G-18", "claire"), policy=UNWAIVED),
    row("G-18", "nobody does without the list of what stays on", FAIL, both("G-18", noticed(kept=[])), says="plancher"),
    # --- G-19 local continuity
    row("G-19", "green this morning", PASS, says="observé 48 h", until="2026-03-31 09:00"),
    row("G-19", "never tried", UNKNOWN, probe=False, says="aucun essai"),
    row("G-19", "red", FAIL, ripe().probed("2026-03-30 09:00", "red"), says="négatif", kind=Kind.STANDING),
    row("G-19", "local traffic would be hit", FAIL, ripe().probed("2026-03-30 09:00", local=3), says="3 paquets"),
    row("G-19", "watched for too short", FAIL, ripe().probed("2026-03-30 09:00", hours=23), says="23 h, 24 h"),
    row("G-19", "watched for a day", PASS, ripe().probed("2026-03-30 09:00", hours=24)),
    row("G-19", "a day old", FAIL, ripe().probed("2026-03-29 10:00"), says="trop ancien", kind=Kind.APPLY),
    row("G-19", "a second younger", PASS, ripe().probed("2026-03-29 10:00:01"), until="2026-03-30 10:00:01"),
    row("G-19", "a day old while the measure is in force", PASS, suspended().probed("2026-03-29 10:00")),
    row("G-19", "red while the measure is in force", FAIL, suspended().probed("2026-03-30 09:30", "red"), kind=Kind.STANDING),
    row("G-19", "from the future", UNKNOWN, ripe().probed("2026-03-30 10:06"), until="2026-03-30 10:01", says="avenir"),
    row("G-19", "green again", PASS, ripe().probed("2026-03-30 08:00", "red").probed("2026-03-30 09:00")),
    row("G-19", "something local is down", FAIL, DOWN, says="P-1", kind=Kind.STANDING),
    row("G-19", "the probes are seen to answer", PASS, sight=Sight.SEEN),
    row("G-19", "the probes are silent", UNKNOWN, sight=Sight.BLIND, says="ne répondent pas", kind=Kind.HEALTH),
    row(
        "G-19", "silent probes, while in force", UNKNOWN, suspended(), sight=Sight.BLIND, says="ne répondent pas", kind=Kind.HEALTH
    ),
    row("G-19", "a whole site is away", UNKNOWN, suspended(), sight=Sight.OUTAGE, says="site entier", kind=Kind.HEALTH),
    row("G-19", "down is down, whatever is seen now", FAIL, DOWN, sight=Sight.BLIND, says="P-1", kind=Kind.STANDING),
    row(
        "G-19",
        "red is red, whatever is seen now",
        FAIL,
        suspended().probed("2026-03-30 09:30", "red"),
        sight=Sight.OUTAGE,
        kind=Kind.STANDING,
    ),
    row("G-19", "something local is up again", PASS, DOWN.says("local.recovered", "2026-03-30 09:40", regression="P-1")),
    # --- G-20 the window
    row("G-20", "Monday at ten", PASS, until="2026-03-30 15:00"),
    row(
        "G-20",
        "a second before nine",
        FAIL,
        now="2026-03-30 08:59:59",
        says="prochaine fenêtre le 30/03/2026 à 09:00",
        until="2026-03-30 09:00",
    ),
    row("G-20", "Friday", FAIL, now="2026-03-27 10:00", says="hors des heures", until="2026-03-30 09:00"),
    row("G-20", "Saturday", FAIL, now="2026-03-28 10:00", says="week-end"),
    row(
        "G-20",
        "the night of the clock change",
        FAIL,
        now="2026-03-29 03:30",
        says="week-end",
        policy=SAINT_LUNDI,
        until="2026-03-30 08:00",
    ),
    row("G-20", "Easter Monday", FAIL, now="2026-04-06 10:00", says="jour férié", until="2026-04-07 09:00"),
    row("G-20", "the eve of 1 May", FAIL, now="2026-04-30 10:00", says="veille"),
    row("G-20", "8 May", FAIL, now="2026-05-08 10:00", says="jour férié", policy=SAINT_LUNDI),
    row("G-20", "Ascension day", FAIL, now="2026-05-14 10:00", says="jour férié"),
    row("G-20", "Whit Monday", FAIL, now="2026-05-25 10:00", says="jour férié"),
    row("G-20", "a date the customer asked to spare", FAIL, policy=policy(blackout_dates=(date(2026, 3, 30),)), says="date exclue"),
    row(
        "G-20",
        "nine in Paris is eight in Casablanca",
        FAIL,
        now="2026-03-31 09:30",
        company=company(sites=[site("p"), site("c", zone="Africa/Casablanca")]),
        until="2026-03-31 08:00+00:00",
    ),
    row(
        "G-20",
        "open at both places until it closes in Paris",
        PASS,
        now="2026-03-31 10:30",
        company=company(sites=[site("p"), site("c", zone="Africa/Casablanca")]),
        until="2026-03-31 15:00",
    ),
    # --- G-21 the clock
    row("G-21", "right", PASS, until="2026-03-30 10:15"),
    row("G-21", "nobody looked", UNKNOWN, clock=None, says="jamais"),
    row("G-21", "looked at fifteen minutes ago", FAIL, clock=clock("2026-03-30 09:45"), says="trop ancien"),
    row("G-21", "not synchronised", FAIL, clock=clock(synchronised=False), says="synchronisée", until="2026-03-30 10:15"),
    row("G-21", "a second off", PASS, clock=clock(offset_ms=1000)),
    row("G-21", "more than a second off", FAIL, clock=clock(offset_ms=1001), says="1001 ms"),
    row("G-21", "it jumped", FAIL, clock=clock(stepped=True), says="saut"),
    row("G-21", "from the future", UNKNOWN, clock=clock("2026-03-30 10:06"), until="2026-03-30 10:01", says="avenir"),
    # --- G-22 feeds
    row("G-22", "has just reported", PASS, until="2026-03-30 10:15"),
    row("G-22", "has not reported for fifteen minutes", FAIL, feeds={"erp": at("2026-03-30 09:45")}, says="erp"),
    row("G-22", "has never reported", FAIL, feeds={"erp": None}, says="erp"),
    row("G-22", "one of two is silent", FAIL, feeds={"erp": at(NOW), "bank": None}, says="bank"),
    row("G-22", "nobody reports", UNKNOWN, feeds={}),
    row("G-22", "reports from the future", UNKNOWN, feeds={"erp": at("2026-03-30 10:16")}, says="avance", until="2026-03-30 10:01"),
    # --- G-23 persons
    row("G-23", "a standing approval by two persons", PASS, says="claire, denis", until="2027-01-01 00:00"),
    row("G-23", "a standing approval by one of two", FAIL, approvals=standing("claire"), says="claire seulement"),
    row(
        "G-23",
        "one person is enough where the policy says so",
        PASS,
        approvals=standing("claire", policy=policy(approvals=1)),
        policy=policy(approvals=1),
    ),
    row("G-23", "none", FAIL, approvals=(), says="absente"),
    row("G-23", "ended", FAIL, approvals=standing(until="2026-03-30 10:00"), says="échue"),
    row(
        "G-23", "for another version of the policy", FAIL, approvals=standing(policy=policy(digest="b" * 64)), says="autre version"
    ),
    row("G-23", "for another policy", FAIL, approvals=standing(policy=policy(id="other")), says="absente"),
    row("G-23", "by a role that does not count", FAIL, approvals=standing(role="operator"), says="absente"),
    row("G-23", "a standing approval does not serve mode approve", FAIL, policy=APPROVE, says="0 validations"),
    row(
        "G-23",
        "two persons approved this case",
        PASS,
        ripe().approved("2026-03-27 10:00"),
        policy=APPROVE,
        says="claire, denis",
        until="2026-04-11 11:00",
    ),
    row(
        "G-23",
        "one person twice",
        FAIL,
        ripe().approved("2026-03-27 10:00", "claire", "claire"),
        policy=APPROVE,
        says="1 validations",
    ),
    row(
        "G-23",
        "by a role that does not count for a case",
        FAIL,
        ripe().approved("2026-03-27 10:00", role="auditor"),
        policy=APPROVE,
    ),
    row("G-23", "too long ago", FAIL, ripe().approved("2026-03-15 08:59"), policy=APPROVE),
    row(
        "G-23",
        "until a date that has passed",
        FAIL,
        ripe().approved("2026-03-27 10:00", expires_at="2026-03-30T08:00:00Z"),
        policy=APPROVE,
    ),
    row(
        "G-23",
        "until a date",
        PASS,
        ripe().approved("2026-03-27 10:00", expires_at="2026-03-30T09:00:00Z"),
        policy=APPROVE,
        until="2026-03-30 11:00",
    ),
    row(
        "G-23",
        "two credit officers",
        FAIL,
        person("credit_officer", "emma", person("credit_officer")),
        policy=APPROVE,
        says="aucun valideur",
    ),
    row("G-23", "a credit officer and an approver", PASS, person("approver", "emma", person("credit_officer")), policy=APPROVE),
    row(
        "G-23",
        "a credit officer and somebody of the legal role",
        PASS,
        person("legal", "emma", person("credit_officer")),
        policy=APPROVE,
    ),
    row("G-23", "a credit officer where one is enough", PASS, person("credit_officer"), policy=replace(APPROVE, approvals=1)),
    row(
        "G-23", "a standing approval by two credit officers", FAIL, approvals=standing(role="credit_officer"), says="sans valideur"
    ),
    row(
        "G-23",
        "a natural person is never decided about by a policy",
        FAIL,
        both("G-15"),
        company=za(protected=(Protected.NATURAL_PERSON,)),
        says="jamais sans une personne",
    ),
    # --- G-24 how many
    row("G-24", "none", PASS, says="0 suspensions"),
    row("G-24", "four in a day, and until the oldest is a day old", PASS, today=4, says="4 suspensions", until="2026-03-31 06:57"),
    row("G-24", "five in a day", FAIL, today=5, says="5 suspensions", until="2026-03-31 06:56"),
    row("G-24", "five within an hour", FAIL, load=load(59, 58, 57, 56, 55), says="heure", until="2026-03-30 10:01"),
    row(
        "G-24",
        "two just now: they are watched first",
        FAIL,
        load=load(10, 5),
        says="observées 30 minutes",
        until="2026-03-30 10:25",
    ),
    row("G-24", "two half an hour ago", PASS, load=load(35, 30), until="2026-03-31 09:25"),
    row("G-24", "one of four customers, where one is suspended", FAIL, load=load(companies=4, cut_companies=1), says="sociétés"),
    row("G-24", "one of forty", PASS, load=load(companies=40, cut_companies=1)),
    row("G-24", "its prefixes would be too many", FAIL, load=load(prefixes=10, cut_prefixes=2), says="préfixes"),
    row("G-24", "the breaker is open", FAIL, load=load(open_cause="wave"), says="disjoncteur ouvert : wave"),
    row("G-24", "its own order is not in its way", PASS, ORDERED, load=ORDERED_LOAD),
    row("G-24", "another order is", FAIL, ripe(), load=ORDERED_LOAD),
    row("G-24", "a measure in force was judged when it was applied", PASS, suspended(), today=6, says="en vigueur"),
    row("G-24", "two persons go beyond the limits", PASS, both("G-24"), today=5, lifted=True),
    row("G-24", "one person does not", FAIL, lift("G-24", "claire"), today=5),
    row("G-24", "nobody goes beyond an open breaker", FAIL, both("G-24"), load=load(open_cause="wave"), says="plancher"),
    # --- G-25 the scope
    row("G-25", "unchanged", PASS, says="inchangés"),
    row("G-25", "changed", FAIL, SCOPE, says="AV-1"),
    row("G-25", "changed and reviewed", PASS, SCOPE.operator("scope.reviewed", "2026-03-20 10:00", role="approver", change="AV-1")),
    row("G-25", "an approver lets it pass", PASS, lift("G-25", "claire", story=SCOPE), lifted=True, says="levé par claire"),
    row("G-25", "somebody of the legal role does", PASS, lift("G-25", "denis:legal", story=SCOPE), lifted=True),
    row("G-25", "a credit officer does not", FAIL, lift("G-25", "emma:credit_officer", story=SCOPE)),
    row("G-25", "an approver did until this morning", FAIL, lift("G-25", "claire", story=SCOPE, until=NOW)),
    # --- G-26 the last warning
    row("G-26", "six days ago", PASS, says="24/03/2026"),
    row("G-26", "none", FAIL, ripe().without("warning.sent"), says="aucun"),
    row("G-26", "exactly two days ago, over the night of the clock change", PASS, WARNED.warned("2026-03-28 09:00")),
    row("G-26", "a second less", FAIL, WARNED.warned("2026-03-28 09:00:01"), until="2026-03-30 10:00:01", says="à partir du"),
    row("G-26", "before the notice took effect", FAIL, WARNED.warned("2026-03-11 10:29:59")),
    row("G-26", "at that moment", PASS, WARNED.warned("2026-03-11 10:30")),
    row("G-26", "for another notice", FAIL, WARNED.warned("2026-03-24 10:00", notice="N2")),
    row("G-26", "it came back", FAIL, BOUNCED, says="revenu"),
    row("G-26", "it came back, and another one did not", PASS, BOUNCED.warned("2026-03-27 09:00", "W2")),
    row("G-26", "nobody can be reached", FAIL, UNREACHED, says="K-7"),
    row("G-26", "somebody can be reached again", PASS, UNREACHED.says("contact.reachable", "2026-03-26 10:00", contact="K-7")),
    row("G-26", "an approver does without", PASS, lift("G-26", "claire", story=ripe().without("warning.sent")), lifted=True),
    row("G-26", "a credit officer does not", FAIL, lift("G-26", "emma:credit_officer", story=BOUNCED)),
    row("G-26", "no effect any more while an order lives", UNKNOWN, suspended().letter("undeliverable", "2026-03-30 10:00")),
    # --- G-27 how long
    row("G-27", "not suspended", PASS, says="30 jours"),
    row("G-27", "in force", PASS, suspended(), until="2026-04-29 09:00"),
    row("G-27", "thirty days", FAIL, suspended(), now="2026-04-29 09:00", says="29/04/2026"),
    row("G-27", "the policy was made shorter", FAIL, suspended(), now="2026-04-02 10:00", policy=policy(max_suspension_days=3)),
    row(
        "G-27",
        "the policy was made longer: the order counts",
        FAIL,
        suspended(),
        now="2026-04-29 09:00",
        policy=policy(max_suspension_days=90),
    ),
    row(
        "G-27",
        "two persons make it longer",
        PASS,
        both("G-27", suspended()),
        now="2026-05-04 10:00",
        lifted=True,
        until="2026-06-28 09:00",
    ),
    row("G-27", "one person does not", FAIL, lift("G-27", "claire", story=suspended()), now="2026-05-04 10:00"),
    row(
        "G-27", "nobody makes it longer than ninety days", FAIL, both("G-27", suspended()), now="2026-06-28 09:00", says="plancher"
    ),
    row(
        "G-27",
        "thirty days over two orders",
        FAIL,
        suspended().restored("2026-04-13 10:00", cause="lease", final=False),
        now="2026-04-29 10:00",
        says="29/04/2026",
    ),
)

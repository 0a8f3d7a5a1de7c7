"""The gate, check by check: a table of cases for each, and what must hold for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gate import TABLE, Kind, Verdict, mode_in_force
from agent.gate.checks import MUST_STATE
from agent.model import Mode, Policy, Protected, ServiceClass, Window
from tests.core.histories import circumstances, examples, nows, stories
from tests.core.stories import (
    APPROVE,
    POLICY,
    SERVICES,
    UNBUILT,
    ZA,
    Story,
    at,
    company,
    judgement_of,
    lines,
    reminded,
    ripe,
    service,
    site,
    standing,
    suspended,
    wanted,
)

PASS, FAIL, UNKNOWN, UNBUILT_, LATER = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN, Verdict.UNBUILT, Verdict.LATER

#: A moment at which everything about the founding case is right.
NOW = "2026-03-30 10:00"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One case of one check. `says`: words its French reason must hold. `until`: when time alone may change it."""

    code: str
    name: str
    verdict: Verdict
    story: Story
    now: str = NOW
    says: str = ""
    until: str = ""
    kind: Kind | None = None
    world: Mapping[str, Any] = field(default_factory=dict)


def row(code: str, name: str, verdict: Verdict, story: Story | None = None, now: str = NOW, **more: Any) -> Row:
    own = {key: more.pop(key) for key in ("says", "until", "kind") if key in more}
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
    row(
        "G-04",
        "the oldest of several is named",
        PASS,
        ripe().notice(invoices=["F1", "F2"]).invoice("F2", due="2026-02-10"),
        says="58 jours",
    ),
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
    # --- G-05 the sum
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
    row(
        "G-06",
        "the third in the same instant as the notice",
        FAIL,
        after("2026-02-09", "2026-02-19", "2026-03-09 11:00"),
        says="relances valables : 2",
    ),
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
        reminded().notice(earliest_on="2026-03-20").letter("delivered", "2026-03-11 00:00"),
        now="2026-03-27 04:59",
        company=company(sites=[site("m", zone="America/Martinique")]),
        until="2026-03-27 05:00",
    ),
    # --- G-10 a stale notice
    row("G-10", "in time", PASS, says="25/06/2026 à 00:00", until="2026-06-25 00:00"),
    row("G-10", "ninety days after the end of the period", FAIL, now="2026-06-25 00:00", kind=Kind.STANDING),
    row("G-10", "while suspended", FAIL, suspended(), now="2026-06-25 00:00", kind=Kind.APPLY),
    row("G-10", "no effect yet", LATER, letter(("presented", "2026-03-11 10:30"))),
    row("G-10", "no effect any more while an order lives", UNKNOWN, suspended().letter("undeliverable", "2026-03-30 10:00")),
    # --- G-11 the order of the facts
    row("G-11", "due, reminded, noticed, ended", PASS),
    row("G-11", "the period still runs", FAIL, now="2026-03-26 10:00", until="2026-03-27 00:00"),
    row("G-11", "no effective notice", UNKNOWN, letter()),
    row("G-11", "the notice recalls too few", FAIL, noticed(reminders=["R1", "R2"]), says="2 relances"),
    row("G-11", "it recalls a reminder sent after it", FAIL, after("2026-02-09", "2026-02-19", "2026-03-10"), says="R3"),
    row("G-11", "a reminder sent in the same instant", FAIL, ripe().reminder("R3", "2026-03-09 11:00"), says="R3"),
    row("G-11", "received before it was sent", FAIL, letter(("delivered", "2026-03-08 10:30")), says="antérieure"),
    *(
        row(
            "G-11",
            f"{kind} since the notice, lifted again",
            FAIL,
            ripe().hold(kind, "2026-03-12 10:00").lifted("2026-03-20 10:00"),
            says=kind,
        )
        for kind in ("payment_plan", "insolvency", "court", "grace_period")
    ),
    row(
        "G-11",
        "a payment plan that was still agreed when the notice was sent",
        FAIL,
        ripe().hold("payment_plan", "2026-02-01 10:00").lifted("2026-03-09 11:00"),
        says="payment_plan",
    ),
    row(
        "G-11",
        "a payment plan broken before the notice",
        PASS,
        ripe().hold("payment_plan", "2026-02-01 10:00").lifted("2026-03-09 10:59"),
    ),
    row("G-11", "our own review, lifted again", PASS, ripe().hold("legal_review", "2026-03-12 10:00").lifted("2026-03-20 10:00")),
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
    # --- G-15 protected statuses
    row("G-15", "none", PASS),
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
    # --- G-17 paid in advance
    row("G-17", "nothing", PASS),
    row("G-17", "until today", FAIL, company=subscriptions(paid_through=date(2026, 3, 30)), says="vpn", until="2026-03-31 00:00"),
    row(
        "G-17",
        "two services, the first until today",
        FAIL,
        company=za(
            subscriptions=tuple(
                replace(s, paid_through=date(2026, 3, 30) if s.service == "vpn" else date(2026, 4, 10)) for s in ZA.subscriptions
            )
        ),
        says="reporting, shared-documents, vpn",
        until="2026-03-31 00:00",
    ),
    row("G-17", "until yesterday", PASS, company=subscriptions(paid_through=date(2026, 3, 29))),
    row(
        "G-17",
        "a service that is not announced",
        PASS,
        noticed(services=["reporting"]),
        company=subscriptions(paid_through=date(2026, 12, 31)),
    ),
    row("G-17", "a company nobody knows", UNKNOWN, company=None),
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
    # --- G-22 feeds
    row("G-22", "has just reported", PASS, until="2026-03-30 10:15"),
    row("G-22", "has not reported for fifteen minutes", FAIL, feeds={"erp": at("2026-03-30 09:45")}, says="erp"),
    row("G-22", "has never reported", FAIL, feeds={"erp": None}, says="erp"),
    row("G-22", "one of two is silent", FAIL, feeds={"erp": at(NOW), "bank": None}, says="bank"),
    row(
        "G-22",
        "two report: the one that reported first is due first",
        PASS,
        feeds={"erp": at("2026-03-30 09:50"), "bank": at("2026-03-30 09:58")},
        until="2026-03-30 10:05",
    ),
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
    row(
        "G-23",
        "one ended, one for another version",
        FAIL,
        approvals=(*standing("claire", until="2026-03-30 10:00"), *standing("denis", policy=policy(digest="b" * 64))),
        says="échue",
    ),
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
        "approved on two days: until the first approval ends",
        PASS,
        ripe().approved("2026-03-25 10:00", "claire").approved("2026-03-27 10:00", "denis"),
        policy=APPROVE,
        until="2026-04-09 11:00",
    ),
    row(
        "G-23",
        "until a date",
        PASS,
        ripe().approved("2026-03-27 10:00", expires_at="2026-03-30T09:00:00Z"),
        policy=APPROVE,
        until="2026-03-30 11:00",
    ),
    # --- G-24 how many
    row("G-24", "four in a day", PASS, today=4, says="4 suspensions"),
    row("G-24", "five in a day", FAIL, today=5, says="5 suspensions"),
    row("G-24", "its own order is not in its way", PASS, suspended(), today=5),
    row("G-24", "more than five with its own", FAIL, suspended(), today=6),
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
        "thirty days over two orders",
        FAIL,
        suspended().restored("2026-04-13 10:00", cause="lease", final=False),
        now="2026-04-29 10:00",
        says="29/04/2026",
    ),
    # --- what this version can not check
    *(row(code, "not built", UNBUILT_, says="pas encore") for code in UNBUILT),
)


@pytest.mark.parametrize("case", ROWS, ids=[f"{one.code} {one.name}" for one in ROWS])
def test_a_check_says(case: Row) -> None:
    check = case.story.check(case.code, case.now, **case.world)
    assert check.verdict is case.verdict, check.fr
    assert case.says in check.fr, check.fr
    assert check.fr.strip()
    assert check.en.strip()
    assert check.reason("fr") == check.fr
    assert check.reason("en") == check.en
    if case.until:
        assert check.until == at(case.until)
    if case.kind is not None:
        assert check.kind is case.kind


def test_every_row_of_the_table_has_cases_that_pass_and_cases_that_do_not() -> None:
    found = {row.code: {one.verdict for one in ROWS if one.code == row.code} for row in TABLE}
    assert [row.code for row in TABLE] == [f"G-{number:02}" for number in range(1, 28)]
    for row_ in TABLE:
        if row_.judge is None:
            assert found[row_.code] == {UNBUILT_}, row_.code
        else:
            assert {PASS, FAIL} <= found[row_.code], row_.code


def test_every_row_has_a_title_in_both_languages_a_ground_and_a_floor() -> None:
    for row_ in TABLE:
        assert row_.fr
        assert row_.en
        assert row_.fr != row_.en
        assert row_.rule
        assert row_.floor
        assert row_.override


def test_the_kinds_of_the_checks_are_those_of_the_law() -> None:
    kinds = {kind: [row_.code for row_ in TABLE if row_.kind is kind] for kind in Kind}
    assert kinds[Kind.APPLY] == ["G-10", "G-20", "G-23", "G-24", "G-25", "G-26"]
    assert kinds[Kind.HEALTH] == ["G-14", "G-21", "G-22"]
    assert len(kinds[Kind.STANDING]) == 18


def test_reasons_differ_between_the_languages_unless_they_are_only_names() -> None:
    for case in ROWS:
        check = case.story.check(case.code, case.now, **case.world)
        assert check.fr != check.en, f"{case.code}: {check.fr}"


def test_the_facts_of_a_check_are_ids_of_what_was_said() -> None:
    for case in ROWS:
        known = {event.id for event in case.story.events} | {"D1", "R1", "R2", "R3", "standing-claire", "standing-denis"}
        assert set(case.story.check(case.code, case.now, **case.world).facts) <= known, case.code


# --- the gate as a whole ------------------------------------------------------------------------------------------


def test_apply_only_checks_are_not_asked_while_a_lasting_one_fails() -> None:
    gate = ripe().case("2026-03-26 10:00").gate
    assert {check.code for check in gate.checks if check.verdict is LATER} == {"G-10", "G-20", "G-23", "G-24"}
    assert all(check.until is None for check in gate.checks if check.verdict is LATER)
    assert gate.owed == Decimal("4800.00")


def test_a_check_that_is_not_built_keeps_auto_at_approve_unless_the_policy_names_them_all() -> None:
    assert mode_in_force(POLICY, Mode.AUTO) is Mode.AUTO
    for missing in UNBUILT:
        lacking = policy(accept_unbuilt=tuple(code for code in UNBUILT if code != missing))
        assert mode_in_force(lacking, Mode.AUTO) is Mode.APPROVE
        assert mode_in_force(replace(lacking, mode=Mode.OBSERVE), Mode.AUTO) is Mode.OBSERVE
    assert mode_in_force(policy(accept_unbuilt=()), Mode.AUTO) is Mode.APPROVE
    assert tuple(row_.code for row_ in TABLE if row_.judge is None) == UNBUILT


@pytest.mark.parametrize("asked", Mode)
@pytest.mark.parametrize("ceiling", Mode)
def test_the_mode_in_force_is_the_lower_of_the_policys_and_the_hosts(asked: Mode, ceiling: Mode) -> None:
    assert mode_in_force(policy(mode=asked), ceiling).rank == min(asked.rank, ceiling.rank)


def test_the_trace_of_a_gate_is_plain_json_with_every_check() -> None:
    trace = ripe().case(NOW).gate.trace()
    assert trace["at"] == "2026-03-30T08:00:00.000000Z"
    assert [check["code"] for check in trace["checks"]] == [row_.code for row_ in TABLE]
    assert all(set(check) == {"code", "kind", "verdict", "facts", "fr", "en"} for check in trace["checks"])


@pytest.mark.parametrize("weak", ["not delivered", "reminded twice", "neither"])
def test_the_measure_rests_only_on_invoices_that_are_delivered_and_reminded(weak: str) -> None:
    story = Story().invoice("F1", "4800.00").invoice("F2", "900.00", lines=lines("900.00", delivered=weak == "reminded twice"))
    for number, day in enumerate(("2026-02-09", "2026-02-19", "2026-03-02"), 1):
        named = ("F1",) if number == 3 and weak != "not delivered" else ("F1", "F2")
        story = story.reminder(f"R{number}", f"{day} 10:00", *named)
    story = story.notice(invoices=["F1", "F2"]).letter("delivered", "2026-03-11 10:30")
    assert story.case(NOW).gate.owed == Decimal(4800)
    assert wanted(story.judged(NOW))
    rest = story.paid("4800", "2026-03-12 10:00", F1="4800")
    assert rest.case(NOW).gate.owed == Decimal(900), "what is left is shown, though nothing rests on it"
    assert not wanted(rest.judged(NOW))


def test_a_gate_names_the_checks_this_version_can_not_make() -> None:
    assert ripe().case(NOW).gate.unbuilt == UNBUILT


def test_paying_or_contesting_a_badly_proven_invoice_never_opens_the_way_for_the_others() -> None:
    weak = BOTH.paid("4400", "2026-03-12 10:00", F1="4400")
    for story in (weak, weak.dispute("2026-03-13 10:00", "F2"), weak.cancelled("F2", "2026-03-13 10:00")):
        assert story.check("G-05", NOW).verdict is FAIL


@given(stories(), st.data())
@examples(12)
def test_a_check_says_until_when_time_alone_leaves_its_verdict(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    world = data.draw(circumstances(now))
    parts = [*data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=1)), 0.999_999]
    judged = judgement_of(story.record, now, **world).judged
    for one in judged:
        asked = [(number, check) for number, check in enumerate(one.gate.checks) if check.verdict is not LATER]
        ends = {c.until if c.until is not None and c.until > now else now + timedelta(days=200) for _, c in asked}
        for end in ends:
            for part in parts:
                later = min(now + (end - now) * part, end - timedelta(microseconds=1))
                again = next(other for other in judgement_of(story.record, later, **world).judged if other.case.id == one.case.id)
                for number, check in asked:
                    until = check.until if check.until is not None and check.until > now else None
                    if until is None or later < until:
                        found = again.gate.checks[number].verdict
                        assert found in (check.verdict, LATER), f"{check.code} {now} -> {later}, until {check.until}"

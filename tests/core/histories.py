"""Hypothesis strategies: what may be said about a company, in any order, and what only helps it.

A history starts from the founding case, more or less spoilt, so that a good part of them has a measure in force or one step
away; then anything the trade knows may be said on top: restatements that contradict, payments that come back, notices that
overlap. Two statements never share an event id: the ledger refuses that.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from agent.breaker import Load
from agent.case import ClockState
from agent.event import HOLDS
from agent.gate.checks import MUST_STATE
from agent.model import Company, Mode, Window
from tests.core.stories import ANNEX, POLICY, ZA, Story, at, company, lines, site, standing

_FACTOR = float(os.environ.get("ECLUSE_EXAMPLES", "1"))


def examples(number: int) -> settings:
    """So many examples; ECLUSE_EXAMPLES multiplies them."""
    return settings(max_examples=max(1, int(number * _FACTOR)), deadline=None)


INVOICES = ("F1", "F2", "F3")
NOTICES = ("N1", "N2")
REMINDERS = ("R1", "R2", "R3", "R4")
PAYMENTS = ("P1", "P2")
CURRENCIES = ("EUR", "EUR", "EUR", "USD")
SUMS = ("50.00", "500.00", "900.00", "4300.00", "4300.01", "4800.00", "9000.00")
KEYS = ("1", "2")

_START = at("2026-01-05 08:00")

#: Instants of a year, most of them in the spring in which the founding case happens.
moments = st.one_of(
    st.integers(0, 120 * 24 * 4).map(lambda quarter: _START + timedelta(minutes=15 * quarter)),
    st.integers(0, 300 * 24).map(lambda hour: _START + timedelta(hours=hour)),
    st.sampled_from(
        [
            at(text)
            for text in (
                "2026-03-09 11:00",
                "2026-03-26 23:59:59",
                "2026-03-27 00:00",
                "2026-03-30 08:59:59",
                "2026-03-30 09:00",
                "2026-03-30 14:59:59",
                "2026-03-30 15:00",
                "2026-03-31 14:07:12",
                "2026-04-07 10:00",
            )
        ]
    ),
)

#: Instants at which it is interesting to decide: most of them when the founding case is ripe or suspended.
nows = st.one_of(
    st.integers(0, 30 * 24 * 4).map(lambda quarter: at("2026-03-30 09:00") + timedelta(minutes=15 * quarter)),
    st.integers(0, 12 * 24).map(lambda hour: at("2026-03-20 00:00") + timedelta(hours=hour)),
    st.integers(0, 6 * 60).map(lambda minute: at("2026-03-30 09:00") + timedelta(minutes=minute)),
    st.integers(0, 6 * 60).map(lambda minute: at("2026-03-31 09:00") + timedelta(minutes=minute)),
    st.integers(0, 6 * 60).map(lambda minute: at("2026-04-01 09:00") + timedelta(minutes=minute)),
    st.integers(0, 6 * 60).map(lambda minute: at("2026-04-20 09:00") + timedelta(minutes=minute)),
    moments,
)


def rarely(draw: st.DrawFn) -> bool:
    """One time in ten."""
    return draw(st.integers(0, 9)) == 9


_some_invoices = st.lists(st.sampled_from(INVOICES), unique=True, max_size=3)

Say = Callable[[Story], Story]


def _say(type_: str, source: str, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[Say]:
    def told(moment: object, body: dict[str, object]) -> Say:
        given = {name: value for name, value in body.items() if value is not None}
        return lambda story: story.says(type_, moment, source=source, **given)  # type: ignore[arg-type]

    return st.builds(told, moments, st.fixed_dictionaries(fields))


def _lines() -> st.SearchStrategy[object]:
    shape = st.tuples(st.sampled_from(SUMS), st.booleans(), st.lists(st.sampled_from(ANNEX), unique=True, max_size=3))
    return shape.map(lambda one: lines(one[0], delivered=one[1], services=one[2]))


def _allocation() -> st.SearchStrategy[object]:
    part = st.fixed_dictionaries({"invoice": st.sampled_from((*INVOICES, "F9")), "amount": st.sampled_from(SUMS)})
    return st.none() | st.lists(part, max_size=2)


_payment = _say(
    "payment.received",
    "bank",
    payment=st.sampled_from(PAYMENTS),
    amount=st.sampled_from(SUMS),
    currency=st.sampled_from(CURRENCIES),
    allocation=_allocation(),
)
_cancelled = _say("invoice.cancelled", "erp", invoice=st.sampled_from(INVOICES))
_dispute = _say(
    "dispute.opened",
    "desk",
    dispute=st.sampled_from(KEYS),
    invoices=st.none() | _some_invoices,
    motive=st.none() | st.just("not delivered"),
)
_hold = _say(
    "hold.set",
    "legal",
    hold=st.sampled_from(KEYS),
    kind=st.sampled_from(sorted(HOLDS)),
    effective_from=st.none() | st.sampled_from(["2026-02-01T00:00:00Z", "2026-12-01T00:00:00Z"]),
)
_undeliverable = _say("notice.undeliverable", "post", notice=st.sampled_from(NOTICES))
_by_hand = _say("restore.ordered", "operator:claire", by=st.just("claire"), reason=st.just("asked by telephone"))
_revoked = _say(
    "approval.revoked",
    "operator:claire",
    case=st.sampled_from(NOTICES).map("za:{}".format),
    by=st.just("claire"),
    reason=st.just("wait"),
)
_announced = _say("payment.announced", "erp", payment=st.sampled_from(PAYMENTS), invoices=_some_invoices)
_keys = st.sampled_from(KEYS)
_days = st.sampled_from(["2026-01-20", "2026-02-20", "2026-03-10", "2026-03-31", "2026-04-20"])
_cases = st.sampled_from(NOTICES).map("za:{}".format)
_said = {"by": st.just("claire"), "reason": st.just("seen")}

#: What the law knows besides payments, disputes and holds set by hand.
_law: st.SearchStrategy[Say] = st.one_of(
    _say(
        "insolvency.opened",
        "register",
        proceedings=_keys,
        kind=st.sampled_from(["sauvegarde", "redressement", "liquidation"]),
        judgment_on=_days,
    ),
    _say(
        "court.order",
        "legal",
        decision=_keys,
        effect=st.sampled_from(["restore", "restore_if_paid"]),
        amount=st.none() | st.sampled_from(SUMS),
        currency=st.none() | st.sampled_from(CURRENCIES),
    ),
    _say("grace_period.granted", "legal", grace=_keys, until=_days),
    _say("plan.agreed", "erp", plan=_keys, invoices=_some_invoices),
    _say("switching.requested", "desk", request=_keys, services=st.none() | st.lists(st.sampled_from(ANNEX), max_size=2)),
    _say("debtor.replaced", "erp", deed=_keys),
    _say("safety.reported", "desk", report=_keys),
    _say("scope.changed", "erp", change=_keys),
    _say("local.regressed", "probe", regression=_keys, application=st.just("erp")),
    _say("warning.bounced", "post", warning=st.sampled_from(["W1", "W2"])),
    _say("contact.unreachable", "post", contact=_keys),
    _say("case.voided", "operator:claire", case=_cases, cause=st.just("wrong customer"), **_said),
    _say("override.revoked", "operator:claire", case=_cases, check=st.sampled_from(["G-04", "G-05", "G-26"]), **_said),
)

#: Facts in the customer's favour, each at any time.
favours: st.SearchStrategy[Say] = st.one_of(
    _payment, _payment, _cancelled, _dispute, _hold, _undeliverable, _by_hand, _revoked, _announced, _announced, _law, _law
)

_announcement = st.fixed_dictionaries(
    {
        "services": st.lists(st.sampled_from(ANNEX), unique=True, min_size=1).map(sorted),
        "earliest_on": st.sampled_from(["2026-03-20", "2026-03-27", "2026-04-14"]),
    },
    optional={"stage": st.sampled_from([2, 3, 4]), "kept": st.lists(st.sampled_from((*ANNEX, "dns")), unique=True, max_size=2)},
)

_PERSONS = st.sampled_from(["claire", "denis", "emma"])
_ROLES = st.sampled_from(["credit_officer", "approver", "legal", "legal"])


def _by_person(type_: str, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[Say]:
    return _say(type_, "operator", by=_PERSONS, reason=st.just("seen"), **fields)


#: What ends what the law knows, and what persons may lift.
_ends: st.SearchStrategy[Say] = st.one_of(
    _say("insolvency.closed", "register", proceedings=_keys),
    _say("plan.broken", "erp", plan=_keys),
    _say("plan.ended", "erp", plan=_keys),
    _say("switching.ended", "desk", request=_keys),
    _say("safety.resolved", "desk", report=_keys),
    _say("local.recovered", "probe", regression=_keys),
    _say("contact.reachable", "post", contact=_keys),
    _say("warning.sent", "erp", warning=st.sampled_from(["W1", "W2"]), notice=st.sampled_from(NOTICES)),
    _say("insolvency.checked", "register"),
    _say(
        "preflight.done",
        "probe",
        result=st.sampled_from(["green", "green", "red"]),
        baseline_hours=st.sampled_from([2, 48]),
        local_matches=st.sampled_from([0, 0, 3]),
    ),
    _by_person("court.lifted", decision=_keys, document=st.just("judgment.pdf"), role=_ROLES),
    _by_person("scope.reviewed", change=_keys, role=_ROLES),
    _by_person("stage.waived", case=_cases, stages=st.sampled_from([[1], [1, 2], [2], [2, 3]]), role=_ROLES),
    _by_person(
        "override.given",
        case=_cases,
        check=st.sampled_from(["G-04", "G-05", "G-06", "G-25", "G-26", "G-27"]),
        expires_at=st.sampled_from(["2026-04-02T10:00:00Z", "2026-12-01T00:00:00Z"]),
        role=_ROLES,
    ),
    st.builds(
        lambda when, notice, days, class_: (
            lambda story: story.pinned(when.isoformat(), replace(POLICY, notice_days=days, digest="b" * 64), notice, vpn=class_)
        ),
        moments,
        st.sampled_from(NOTICES),
        st.sampled_from([8, 15, 25]),
        st.sampled_from(["A", "A", "X", "D"]),
    ),
    _say("case.delayed", "agent", case=_cases, until=st.just("2026-04-03T00:00:00Z")),
)

NIGHTS = {"days": [0, 1, 2, 3, 4], "start": "20:00", "end": "07:00"}

#: How orders take effect, as events say it; half of them as before there were stages.
EFFECTS = st.sampled_from(
    [
        {},
        {},
        {"stage": 3},
        {"stage": 2, "kbit": 512},
        {"stage": 2, "hours": [NIGHTS]},
        {"stage": 4},
        {"stage": 3, "drain_seconds": 600},
    ]
)

_burdens: st.SearchStrategy[Say] = st.one_of(
    _say(
        "invoice.issued",
        "erp",
        invoice=st.sampled_from(INVOICES),
        amount=st.sampled_from(SUMS),
        currency=st.sampled_from(CURRENCIES),
        due_on=st.sampled_from(["2026-01-31", "2026-02-05", "2026-03-01", "2026-04-30"]),
        lines=st.none() | _lines(),
        contract=st.sampled_from([None, None, None, ZA.contract, "C-OTHER"]),
    ),
    _say(
        "reminder.sent", "erp", reminder=st.sampled_from(REMINDERS), invoices=_some_invoices, channel=st.none() | st.just("email")
    ),
    _say(
        "notice.dispatched",
        "erp",
        notice=st.sampled_from(NOTICES),
        channel=st.sampled_from(["lrar", "lrar", "lre_q", "email"]),
        invoices=_some_invoices,
        reminders=st.lists(st.sampled_from(REMINDERS), unique=True),
        announces=_announcement,
        states=st.sampled_from([sorted(MUST_STATE), sorted(MUST_STATE)[1:], [*sorted(MUST_STATE), "reopen"]]),
        cure_days=st.sampled_from([None, 8, 20]),
        addressee=st.sampled_from([None, None, "company", "officeholder"]),
    ),
    *(
        _say(f"notice.{what}", "post", notice=st.sampled_from(NOTICES), proof=st.none() | st.just("AR"))
        for what in ("presented", "delivered", "refused", "unclaimed")
    ),
    _say("payment.reversed", "bank", payment=st.sampled_from(PAYMENTS)),
    _say("dispute.closed", "desk", dispute=st.sampled_from(KEYS), outcome=st.sampled_from(["rejected", "upheld", "withdrawn"])),
    _say("hold.lifted", "legal", hold=st.sampled_from(KEYS)),
    _say("heartbeat", "erp"),
    st.builds(
        lambda when, who, notice: lambda story: story.approved(when.isoformat(), who, notice=notice),
        moments,
        st.sampled_from(["claire", "denis", "emma"]),
        st.sampled_from(NOTICES),
    ),
    st.builds(
        lambda when, number, notice, effect: lambda story: story.ordered(when.isoformat(), number, notice, **effect),
        moments,
        st.integers(1, 2),
        st.sampled_from(NOTICES),
        EFFECTS,
    ),
    st.builds(
        lambda when, number, notice, stage: lambda story: story.applied(when.isoformat(), number, notice, stage=stage),
        moments,
        st.integers(1, 2),
        st.sampled_from(NOTICES),
        st.sampled_from([2, 3, 3, 4]),
    ),
    st.builds(
        lambda when, number, notice, stage, renewed: (
            lambda story: story.lowered(when.isoformat(), number, notice, stage=stage, renewed=renewed)
        ),
        moments,
        st.integers(1, 2),
        st.sampled_from(NOTICES),
        st.sampled_from([2, 2, 3]),
        st.booleans(),
    ),
    st.builds(
        lambda when, number, notice, ended: lambda story: story.restored(when.isoformat(), number, notice, **ended),
        moments,
        st.integers(1, 2),
        st.sampled_from(NOTICES),
        st.sampled_from(
            [
                {"cause": "lease", "final": False},
                {"cause": "announced", "final": False, "reason": "announced"},
                {"cause": "G-05", "final": True},
                {"cause": "G-04", "final": True, "reason": "paid"},
            ]
        ),
    ),
    st.builds(lambda when, notice: lambda story: story.proposed(when.isoformat(), notice), moments, st.sampled_from(NOTICES)),
)


@st.composite
def _foundings(draw: st.DrawFn) -> Story:
    """The founding case with one to three invoices, perhaps one badly proven; perhaps ordered, applied, noticed twice.

    One in ten is a second round: restored on payment, the payment sent back, a new notice to the company that knew it would be.
    """
    story = Story()
    held = draw(st.sampled_from([INVOICES[:1], INVOICES[:2], INVOICES]))
    for name in held:
        amount = draw(st.sampled_from(["900.00", "4300.00", "4800.00", "500.00"]))
        services = ("vpn",) if rarely(draw) else ANNEX
        due = "2026-03-01" if rarely(draw) else "2026-01-31"
        told = lines(amount, delivered=not rarely(draw), services=services)
        story = story.invoice(name, amount, due, lines=told, when="2026-01-05 09:00")
    for number, day in enumerate(("2026-02-09", "2026-02-19", "2026-03-02"), 1):
        story = story.reminder(f"R{number}", f"{day} 10:00", *(held[:1] if rarely(draw) else held))
    for name in NOTICES[: 2 if rarely(draw) else 1]:
        services = draw(st.sampled_from([ANNEX, ANNEX, ANNEX, ("vpn",)]))
        story = story.notice("2026-03-09 11:00", name, invoices=list(held[-1:] if rarely(draw) else held), services=services)
        story = story.letter("delivered", "2026-03-11 10:30", name).warned("2026-03-24 10:00", f"W{name[1:]}", name)
        stage = draw(st.integers(0, 3))
        if stage == 1:
            story = story.approved("2026-03-27 10:00", notice=name)
        if stage > 1:
            mode, minutes = draw(st.sampled_from([("auto", 1440), ("auto", 240), ("approve", 1440)]))
            effect = draw(EFFECTS)
            story = story.ordered("2026-03-30 09:00", 1, name, services=list(services), mode=mode, lease_minutes=minutes, **effect)
        if stage > 2:
            story = story.applied("2026-03-30 09:00", 1, name, stage=effect.get("stage", 3))
    return _second_round(story) if rarely(draw) else story


def _second_round(story: Story) -> Story:
    """Whatever was: restored as paid on 1 April, sent back on the 3rd, a new notice on the 6th that took effect on the 8th."""
    story = story.notice("2026-03-09 11:00", states=[*sorted(MUST_STATE), "reopen"], invoices=["F1"])
    story = story.restored("2026-04-01 09:00", 1, reason="paid").paid("4800.00", "2026-03-31 10:00").returned("2026-04-03 10:00")
    story = story.notice("2026-04-06 11:00", "N2", earliest_on="2026-04-14").letter("delivered", "2026-04-08 10:30", "N2")
    return story.warned("2026-04-10 10:00", "W2", "N2")


@st.composite
def stories(draw: st.DrawFn, noise: int = 3) -> Story:
    """A history: a founding case with up to `noise` further facts of any kind."""
    story = draw(_foundings())
    for say in draw(st.lists(st.one_of(_burdens, _burdens, _ends, favours), max_size=noise)):
        story = say(story)
    return story


def _mostly(usual: object, *others: object) -> st.SearchStrategy[object]:
    return st.sampled_from([usual] * 6 + list(others))


def _busy(now: datetime, companies: int) -> Load:
    """So many companies were ordered to be suspended in the last hours, the last of them ten minutes ago."""
    return Load(ordered=tuple(now - timedelta(minutes=10 + 90 * number) for number in reversed(range(companies))))


def _clock(now: datetime, minutes: int = 0, *, synchronised: bool = True) -> ClockState:
    return ClockState(at=now - timedelta(minutes=minutes), synchronised=synchronised, offset_ms=3, stepped=False)


@st.composite
def circumstances(draw: st.DrawFn, now: datetime) -> dict[str, Any]:
    """What the world says besides the facts about the company: mostly that all is well."""
    silent = draw(_mostly(timedelta(hours=-14), timedelta(0), timedelta(minutes=40), timedelta(minutes=-20), timedelta(hours=-30)))
    lease = draw(st.sampled_from([None, timedelta(minutes=90), timedelta(hours=3), timedelta(minutes=-1), timedelta(days=2)]))
    return {
        "company": draw(companies),
        "policy": draw(policies),
        "ceiling": draw(_mostly(Mode.AUTO, Mode.APPROVE)),
        "approvals": draw(_mostly(standing(), standing(until="2026-04-01 12:00"), ())),
        "feeds": {"erp": now - silent},
        "paused": draw(_mostly(False, True)),
        "restore_all": draw(_mostly(False, True)),
        "load": draw(_mostly(Load(), _busy(now, 5), _busy(now, 2), Load(open_cause="a wave"))),
        "clock": draw(_mostly(_clock(now), _clock(now, 10), _clock(now, 20), _clock(now, 0, synchronised=False), None)),
        "register": draw(_mostly(now, now - timedelta(hours=23), now - timedelta(hours=30), None)),
        "leases": {} if lease is None else {"za:N1": now + lease, "za:N2": now + lease},
    }


def _company(fee: str, zones: tuple[str, ...], paid_through: date | None, valid_to: date | None) -> Company:
    validity = {"valid_to": valid_to} if valid_to else {}
    sites = [site(f"site-{number}", zone=zone, prefix=f"10.20.{number}.0/24", **validity) for number, zone in enumerate(zones)]
    found = company(sites=sites, fee=fee)
    return replace(
        found,
        subscriptions=tuple(
            replace(one, paid_through=paid_through if one.service == "vpn" else None) for one in found.subscriptions
        ),
    )


#: The company as the inventory has it: in one zone or in several, with dates that come and go.
companies = st.builds(
    _company,
    st.sampled_from(["0", "0", "200"]),
    st.sampled_from(
        [
            ("Europe/Paris",),
            ("Europe/Paris", "Africa/Casablanca"),
            ("America/Martinique", "Europe/Paris"),
            ("Indian/Reunion",),
        ]
    ),
    _mostly(None, date(2026, 3, 29), date(2026, 3, 31)),
    _mostly(None, date(2026, 3, 30), date(2026, 4, 15)),
)

_LATER = Window(days=(1, 2), start=POLICY.windows[0].end, end=POLICY.windows[0].end.replace(hour=17))

#: The stages a policy uses, and from which debt; most of them as there was before.
STAGES = st.sampled_from(
    [
        *[{}] * 5,
        {"stages": (2, 3), "waive_gentler_stages": "", "stage3_min_debt": Decimal(2000)},
        {"stages": (2, 3), "waive_gentler_stages": "", "stage3_min_debt": Decimal(4500), "stage2_min_debt": Decimal(1000)},
        {"stages": (2, 3), "waive_gentler_stages": "", "effective_hours": (Window(days=(0, 1, 2), start=time(20), end=time(6)),)},
        {"stages": (1, 3)},
        {"stages": (2, 3, 4), "waive_gentler_stages": "", "suspension_clause": "art. 9"},
        {"stages": (2, 4), "waive_gentler_stages": "", "suspension_clause": "art. 9", "stage4_min_debt": Decimal(4000)},
    ]
)

policies = st.builds(
    lambda mode, confine, windows, eve, notice_age, feed_age, stages: replace(
        POLICY,
        **stages,
        mode=mode,
        confine_to_unpaid_service=confine,
        windows=windows,
        no_eve_of_holiday=eve,
        notice_max_age_days=notice_age,
        feed_max_age_minutes=feed_age,
    ),
    _mostly(Mode.AUTO, Mode.APPROVE, Mode.OBSERVE),
    st.booleans(),
    st.sampled_from([POLICY.windows, (*POLICY.windows, _LATER)]),
    st.booleans(),
    _mostly(90, 7),
    _mostly(1440, 15),
    STAGES,
)

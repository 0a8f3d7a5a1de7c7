"""A judgement as plain values: whole, in both languages, with a way back that really leads back."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address, ip_network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import report
from agent.decide import Act
from agent.event import TYPES, Event, parse_body
from agent.gate import TABLE, World
from agent.gate.facts import threshold
from agent.host import ClockState
from agent.judge import Judgement, judge
from agent.model import (
    L4,
    Attachment,
    Company,
    LocalApplication,
    Mode,
    Policy,
    Probe,
    Selector,
    Service,
    ServiceClass,
    Site,
    Subscription,
)
from agent.record import EMPTY_RECORD, Record, fold
from tests.core.histories import examples

PARIS_NINE = datetime(2026, 3, 30, 7, tzinfo=UTC)  # Monday 09:00 in Paris
STATES = ["sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore"]
POLICY = Policy(
    id="fr",
    profile="fr-b2b",
    mode=Mode.AUTO,
    enforcement_point="provider",
    waive_gentler_stages="annex services only",
    digest="d",
    approvals=1,
)
ERP = LocalApplication(name="erp", probe=Probe(kind="tcp", address=ip_address("10.20.10.5"), port=443))
SERVICES = {
    "vpn": Service(
        id="vpn",
        class_=ServiceClass.ANNEX,
        selectors=(Selector(prefix=ip_network("198.51.100.10/32"), protocol=L4.TCP, ports=((443, 443),)),),
    )
}
COMPANY = Company(
    id="za",
    name="Zéphyr Assistance",
    group="zephyr",
    policy="fr",
    contract="C-1",
    sites=(
        Site(
            id="paris",
            timezone="Europe/Paris",
            attachments=(Attachment(prefix=ip_network("10.20.10.0/24")),),
            local_applications=(ERP,),
        ),
    ),
    subscriptions=(Subscription(service="vpn", monthly_fee=Decimal(600)),),
)


def said(type_: str, at: datetime, **body: object) -> Event:
    id_ = f"{type_}:{at.isoformat()}:{json.dumps(body, sort_keys=True, default=str)[:60]}"
    return Event(id=id_, type=type_, subject="za", occurred_at=at, received_at=at, source="billing", body=parse_body(type_, body))


def history(sums: dict[str, str]) -> list[Event]:
    """Everything in order for a notice about these invoices, 48 days overdue on the day."""
    invoices = list(sums)
    due = datetime(2026, 2, 10, 8, tzinfo=UTC)
    facts = [
        said(
            "invoice.issued",
            due - timedelta(days=30),
            invoice=name,
            due_on="2026-02-10",
            amount=amount,
            currency="EUR",
            lines=[{"service": "vpn", "amount": amount, "delivered_ref": "PV"}],
        )
        for name, amount in sums.items()
    ]
    facts += [
        said("reminder.sent", due + timedelta(days=2 + 8 * number), reminder=f"R{number}", invoices=invoices) for number in range(3)
    ]
    announces = {"services": ["vpn"], "earliest_on": "2026-03-27", "kept": ["portal"]}
    facts.append(
        said(
            "notice.dispatched",
            datetime(2026, 3, 5, 9, tzinfo=UTC),
            notice="N-1",
            channel="lrar",
            invoices=invoices,
            reminders=["R0", "R1", "R2"],
            announces=announces,
            states=STATES,
        )
    )
    facts.append(said("notice.delivered", datetime(2026, 3, 9, 9, tzinfo=UTC), notice="N-1", proof="AR.pdf", proof_sha256="0" * 64))
    facts.append(said("warning.sent", datetime(2026, 3, 24, 9, tzinfo=UTC), warning="W-1", notice="N-1"))
    return facts


def ordered(record: Record) -> Record:
    """As if the enforcer had suspended at 09:00."""
    body = {
        "order": "za:N-1/1",
        "case": "za:N-1",
        "services": ["vpn"],
        "gate": {},
        "policy_digest": "d",
        "lease_minutes": 240,
        "mode": "auto",
        "expires_at": "2026-04-29T07:00:00Z",
    }
    record = fold(record, said("order.suspend", PARIS_NINE, **body))
    return fold(
        record,
        said("measure.applied", PARIS_NINE, order="za:N-1/1", case="za:N-1", services=["vpn"], elements=1, times={}),
    )


def folded(events: list[Event]) -> Record:
    record = EMPTY_RECORD
    for event in events:
        record = fold(record, event)
    return record


def probed(record: Record, now: datetime) -> Record:
    return fold(record, said("preflight.done", now - timedelta(hours=2), result="green", baseline_hours=48, local_matches=0))


def world(now: datetime) -> World:
    clock = ClockState(at=now, synchronised=True, offset_ms=0, stepped=False)
    return World(ceiling=Mode.AUTO, feeds={"billing": now}, clock=clock, insolvency_checked_at=now)


def judged(
    record: Record,
    *,
    now: datetime = PARIS_NINE,
    company: Company | None = COMPANY,
    policy: Policy = POLICY,
    paused: bool = False,
) -> Judgement:
    return judge(
        company_id="za",
        record=probed(record, now),
        company=company,
        services=SERVICES,
        policy=policy,
        world=replace(world(now), paused=paused),
        restore_all=False,
        leases={"za:N-1": now + timedelta(hours=2)},
        now=now,
    )


def told(record: Record, **how: object) -> dict:
    judgement = judged(record, **how)
    policy = how.get("policy", POLICY)
    return report.judgement(judgement, how.get("company", COMPANY), policy, how.get("now", PARIS_NINE))


def test_a_report_is_plain_json_and_names_every_check_in_both_languages() -> None:
    data = told(folded(history({"F-1": "4800.00"})))
    assert json.loads(json.dumps(data)) == data
    (case,) = data["cases"]
    assert [check["code"] for check in case["checks"]] == [row.code for row in TABLE]
    for check in case["checks"]:
        assert check["title"]["fr"]
        assert check["title"]["en"]
        assert check["reason"]["fr"]
        assert check["reason"]["en"]


def test_a_case_that_waits_for_a_person_says_so() -> None:
    record = folded(history({"F-1": "4800.00"}))
    assert told(record)["cases"][0]["act"] == "propose"
    assert told(record)["cases"][0]["state"] == "proposed"
    proposed = fold(record, said("case.proposed", PARIS_NINE, case="za:N-1", services=["vpn"], gate={}))
    (case,) = told(proposed)["cases"]
    assert (case["act"], case["state"], case["missing"]) == ("nothing", "proposed", ["G-23"])
    assert case["owed"] == "4800.00"


def test_a_case_that_waits_because_of_a_pause_says_so() -> None:
    record = probed(folded(history({"F-1": "4800.00"})), PARIS_NINE)
    (one,) = judged(record, paused=True).judged
    assert report.reason(one.decision, one.gate, one.case) == ("nouvelles suspensions en pause", "new suspensions are paused")


def test_a_case_that_is_not_ripe_names_what_is_missing_and_when_time_helps() -> None:
    early = datetime(2026, 3, 20, 9, tzinfo=UTC)
    (case,) = told(folded(history({"F-1": "4800.00"})), now=early)["cases"]
    assert case["state"] == "noticed"
    assert case["missing"] == ["G-09", "G-11"]
    assert case["reason"]["fr"].startswith("G-09 : ")
    assert case["next_at"] == "2026-03-26T23:00:00.000000Z"  # announced from 27 March on, 00:00 in Paris


def test_a_suspended_case_tells_the_order_the_lease_and_the_way_back() -> None:
    data = told(ordered(folded(history({"F-1": "4800.00"}))))
    (case,) = data["cases"]
    assert case["state"] == "suspended"
    assert case["order"]["order"] == "za:N-1/1"
    assert case["lease_until"]
    assert case["way_back"]["pay"] == [{"invoice": "F-1", "sum": "4800.00"}]
    assert case["way_back"]["fr"] == "payer F-1 (4 800,00 EUR)"
    assert case["way_back"]["en"] == "pay F-1 (4,800.00 EUR)"
    assert data["answer"] == {"fr": "Zéphyr Assistance : suspendu(s) vpn", "en": "Zéphyr Assistance: suspended vpn"}


def test_a_paid_case_is_to_be_restored_and_has_no_way_back_to_show() -> None:
    record = ordered(folded(history({"F-1": "4800.00"})))
    paid = fold(record, said("payment.received", PARIS_NINE, payment="P-1", amount="4800.00", currency="EUR"))
    (case,) = told(paid, now=PARIS_NINE + timedelta(minutes=1))["cases"]
    assert (case["act"], case["state"], case["way_back"]) == ("restore", "restoring", None)
    assert case["reason"]["en"].startswith("G-0")


def test_a_case_restored_by_hand_is_closed_once_the_restore_is_read_back() -> None:
    record = ordered(folded(history({"F-1": "4800.00"})))
    later = PARIS_NINE + timedelta(minutes=2)
    by_hand = fold(record, said("restore.ordered", PARIS_NINE + timedelta(minutes=1), by="claire", reason="paid in cash"))
    data = told(by_hand, now=later)
    assert data["cases"][0]["state"] == "restoring"
    assert data["answer"]["en"] == "Zéphyr Assistance: nothing is suspended"
    body = {"order": "za:N-1/1", "case": "za:N-1", "cause": "operator", "final": True, "times": {}}
    (case,) = told(fold(by_hand, said("measure.restored", later, **body)), now=later)["cases"]
    assert (case["state"], case["reason"]["fr"]) == ("closed", "dossier clos : rétabli à la main")
    assert case["missing"] == []


def test_observe_mode_is_observed() -> None:
    watching = replace(POLICY, mode=Mode.OBSERVE)
    (case,) = told(folded(history({"F-1": "4800.00"})), policy=watching)["cases"]
    assert (case["state"], case["act"], case["mode"]) == ("observed", "observe", "observe")


def test_a_company_without_a_notice_or_without_an_inventory_entry_is_told_too() -> None:
    invoices = [fact for fact in history({"F-1": "4800.00"}) if fact.type == "invoice.issued"]
    data = told(folded(invoices))
    assert data["cases"] == []
    assert data["invoices"][0]["remaining"] == "4800.00"
    assert "aucune mise en demeure" in data["answer"]["fr"]
    stranger = report.judgement(judged(folded(history({"F-1": "4800.00"})), company=None), None, POLICY, PARIS_NINE)
    assert stranger["known"] is False
    assert "G-01" in stranger["cases"][0]["missing"]


def test_disputed_and_cancelled_invoices_are_shown_as_left_out() -> None:
    record = folded(history({"F-1": "4800.00", "F-2": "700.00"}))
    record = fold(record, said("dispute.opened", PARIS_NINE, dispute="D-1", invoices=["F-1"], motive="wrong hours"))
    record = fold(record, said("invoice.cancelled", PARIS_NINE, invoice="F-2"))
    assert {one["invoice"]: one["out"] for one in told(record)["invoices"]} == {"F-1": "disputed", "F-2": "cancelled"}


def test_a_lease_that_is_not_renewed_names_the_health_check() -> None:
    judgement = judge(
        company_id="za",
        record=probed(ordered(folded(history({"F-1": "4800.00"}))), PARIS_NINE),
        company=COMPANY,
        services=SERVICES,
        policy=POLICY,
        world=replace(world(PARIS_NINE), feeds={"billing": PARIS_NINE - timedelta(hours=1)}),
        restore_all=False,
        leases={"za:N-1": PARIS_NINE + timedelta(hours=2)},
        now=PARIS_NINE,
    )
    fr, en = report.reason(judgement.judged[0].decision, judgement.judged[0].gate, judgement.judged[0].case)
    assert fr.startswith("bail non renouvelé, G-22 : source muette")
    assert en.startswith("lease not renewed, G-22: silent source")


sums = st.lists(st.decimals(min_value=1, max_value=3000, places=2), min_size=1, max_size=6)


@examples(40)
@given(sums)
def test_paying_the_way_back_in_full_restores_and_no_fewer_invoices_would(amounts: list[Decimal]) -> None:
    named = {f"F-{number}": f"{amount:.2f}" for number, amount in enumerate(amounts)}
    record = ordered(folded(history(named)))
    owed, bound = sum(amounts), threshold(COMPANY, POLICY)
    (case,) = told(record)["cases"]
    back = case["way_back"]
    if owed < bound:
        assert back is None
        assert case["act"] == "restore"
        return
    paid = [each["invoice"] for each in back["pay"]]
    for fewer in combinations(amounts, len(paid) - 1):
        assert owed - sum(fewer) >= bound
    allocation = [{"invoice": each["invoice"], "amount": each["sum"]} for each in back["pay"]]
    record = fold(
        record, said("payment.received", PARIS_NINE, payment="P", amount=back["sum"], currency="EUR", allocation=allocation)
    )
    assert judged(record).judged[0].decision.act is Act.RESTORE


def test_where_a_larger_debt_is_asked_for_the_way_back_leads_below_that() -> None:
    larger = replace(POLICY, stage3_min_debt=Decimal(1500))
    record = ordered(folded(history({"F-1": "900.00", "F-2": "900.00"})))
    (case,) = told(record, policy=larger)["cases"]
    assert case["way_back"]["sum"] == "900.00"
    allocation = [{"invoice": each["invoice"], "amount": each["sum"]} for each in case["way_back"]["pay"]]
    paid = fold(record, said("payment.received", PARIS_NINE, payment="P", amount="900.00", currency="EUR", allocation=allocation))
    assert judged(paid, policy=larger).judged[0].decision.act is Act.RESTORE
    assert judged(paid).judged[0].decision.act is Act.KEEP


def test_a_debt_that_persons_let_pass_must_be_paid_down_to_the_floor() -> None:
    record = ordered(folded(history({"F-1": "150.00", "F-2": "150.00"})))
    for person in ("claire", "denis"):
        body = {
            "case": "za:N-1",
            "check": "G-05",
            "by": person,
            "role": "approver",
            "reason": "a third time",
            "expires_at": "2026-05-01T00:00:00Z",
        }
        record = fold(record, replace(said("override.given", PARIS_NINE - timedelta(hours=1), **body), id=person))
    company = replace(COMPANY, subscriptions=(Subscription(service="vpn"),))
    (case,) = told(record, company=company)["cases"]
    assert (case["state"], case["way_back"]["sum"]) == ("suspended", "300.00")


@pytest.mark.parametrize("fee", [Decimal(0), Decimal(600), Decimal(2000)])
def test_the_threshold_is_the_larger_of_the_fixed_sum_and_the_monthly_fees(fee: Decimal) -> None:
    company = Company(
        id="x", name="x", group="g", policy="fr", contract="c", subscriptions=(Subscription(service="vpn", monthly_fee=fee),)
    )
    assert threshold(company, POLICY) == max(Decimal(500), fee)
    assert threshold(None, POLICY) == Decimal(500)


def test_times_are_told_where_the_company_is() -> None:
    assert report.timezone(COMPANY) == "Europe/Paris"
    assert report.timezone(None) == "Europe/Paris"


def test_the_test_history_uses_types_that_exist() -> None:
    assert {event.type for event in history({"F": "1"})} <= set(TYPES)
    assert date.fromisoformat("2026-03-30").weekday() == 0

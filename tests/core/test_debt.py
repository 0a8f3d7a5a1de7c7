"""What is owed: invoices less payments, and everything in the customer's favour."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.debt import Debt, debt
from tests.core.histories import examples, favours, stories
from tests.core.stories import Story, at, lines, ripe


def owed(story: Story, since: str | None = None) -> dict[str, str]:
    """What is left of each invoice, or why it does not count."""
    found = debt(story.record, since=at(since) if since else None)
    return {name: invoice.out or f"{invoice.remaining:.2f}" for name, invoice in found.invoices.items()}


def of(story: Story) -> Debt:
    return debt(story.record)


TWO = Story().invoice("F1", "1000.00", "2026-01-31").invoice("F2", "600.00", "2026-02-28")


# --- the sum of an invoice --------------------------------------------------------------------------------------


def test_the_principal_is_the_service_lines_alone() -> None:
    told = [
        *lines("900.00"),
        {"service": "vpn", "amount": "60.00", "kind": "penalty"},
        {"service": "vpn", "amount": "40.00", "kind": "fee"},
    ]
    assert owed(Story().invoice("F1", "1000.00", lines=told)) == {"F1": "900.00"}


def test_the_principal_is_never_more_than_the_invoice_asks_for() -> None:
    assert owed(Story().invoice("F1", "300.00", lines=lines("900.00"))) == {"F1": "300.00"}


def test_the_latest_word_on_a_sum_counts_and_of_one_instant_the_smaller() -> None:
    story = Story().invoice("F1", "1000.00", when="2026-01-10 09:00").invoice("F1", "400.00", when="2026-02-10 09:00", overdue=True)
    for told in (story, replace(story, events=story.events[::-1])):
        assert owed(told) == {"F1": "400.00"}
    assert owed(story.invoice("F1", "350.00", when="2026-02-10 09:00")) == {"F1": "350.00"}
    assert owed(story.invoice("F1", "700.00", when="2026-02-10 09:00")) == {"F1": "400.00"}


def test_the_latest_due_date_anybody_gives_counts() -> None:
    story = Story().invoice(due="2026-02-28", when="2026-01-10 09:00").invoice(due="2026-01-31", when="2026-02-10 09:00")
    assert of(story).invoices["F1"].due_on.isoformat() == "2026-02-28"


def test_an_invoice_in_two_currencies_is_a_doubt_and_does_not_count() -> None:
    story = TWO.invoice("F1", "1000.00", currency="USD", when="2026-02-01 08:00")
    assert owed(story) == {"F1": "doubt", "F2": "600.00"}
    assert of(story).doubts == ("invoice F1 is stated in EUR and in USD",)


def test_an_invoice_knows_every_contract_it_is_said_to_be_under() -> None:
    story = TWO.invoice("F1", contract="C-9").invoice("F1", contract="C-1", when="2026-02-02 08:00")
    assert of(story).invoices["F1"].contracts == ("C-1", "C-9")
    assert of(story).invoices["F2"].contracts == ()


# --- money ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "left"),
    [
        (lambda s: s.paid("400.00", "2026-03-01 10:00", F1="400.00"), {"F1": "600.00", "F2": "600.00"}),
        (lambda s: s.paid("400.00", "2026-03-01 10:00", F2="400.00"), {"F1": "1000.00", "F2": "200.00"}),
        (lambda s: s.paid("1200.00", "2026-03-01 10:00"), {"F1": "0.00", "F2": "400.00"}),
        (lambda s: s.paid("700.00", "2026-03-01 10:00", F2="600.00"), {"F1": "900.00", "F2": "0.00"}),
        (lambda s: s.paid("900.00", "2026-03-01 10:00", F2="900.00"), {"F1": "700.00", "F2": "0.00"}),
        (lambda s: s.paid("900.00", "2026-03-01 10:00", F9="900.00"), {"F1": "1000.00", "F2": "600.00"}),
        (lambda s: s.paid("400.00", "2026-03-01 10:00").paid("400.00", "2026-03-01 10:00"), {"F1": "600.00", "F2": "600.00"}),
        (lambda s: s.paid("400.00", "2026-03-01 10:00").paid("500.00", "2026-03-01 10:00"), {"F1": "100.00", "F2": "600.00"}),
        (
            lambda s: s.paid("400.00", "2026-03-01 10:00").paid("400.00", "2026-03-01 10:00", id_="P2"),
            {"F1": "200.00", "F2": "600.00"},
        ),
        (lambda s: s.paid("9999.00", "2026-03-01 10:00"), {"F1": "0.00", "F2": "0.00"}),
        (
            lambda s: s.paid("1000.00", "2026-03-01 10:00", F1="1000.00").cancelled("F1", "2026-03-02 10:00"),
            {"F1": "cancelled", "F2": "0.00"},
        ),
        (lambda s: s.paid("500.00", "2026-03-01 10:00").cancelled("F1", "2026-03-02 10:00"), {"F1": "cancelled", "F2": "100.00"}),
        (lambda s: s.paid("500.00", "2026-03-01 10:00").dispute("2026-03-02 10:00", "F1"), {"F1": "disputed", "F2": "100.00"}),
    ],
    ids=[
        "allocated",
        "allocated to the younger one",
        "not allocated: the oldest due first",
        "the rest of an allocation is free",
        "more than the invoice takes is free",
        "for an invoice nobody knows",
        "said twice",
        "the same reference with another sum may be a second payment",
        "another reference is another payment",
        "more than everything",
        "what was paid for a cancelled invoice pays the others",
        "a cancelled invoice takes no free money",
        "a disputed invoice takes no free money",
    ],
)
def test_money_that_came_in_always_counts(told, left) -> None:
    for story in (told(TWO), replace(told(TWO), events=told(TWO).events[::-1])):
        assert owed(story) == left


def test_free_money_goes_first_to_invoices_that_a_notice_names() -> None:
    story = TWO.paid("500.00", "2026-03-01 10:00")
    assert owed(story) == {"F1": "500.00", "F2": "600.00"}
    assert owed(story.notice(invoices=["F2"])) == {"F1": "1000.00", "F2": "100.00"}


def test_the_order_of_the_fields_of_an_allocation_makes_no_second_payment() -> None:
    one = Story().paid("400.00", "2026-03-01 10:00", F1="400.00").events[0]
    turned = [dict(reversed(part.items())) for part in one.body["allocation"]]
    other = replace(one, id="erp:9999", body={**one.body, "allocation": turned}, occurred_at=at("2026-03-02 10:00"))
    assert owed(replace(TWO, events=(*TWO.events, one, other))) == {"F1": "600.00", "F2": "600.00"}


@pytest.mark.parametrize("allocated", [True, False])
def test_a_payment_in_another_currency_takes_what_it_touches_out_of_the_debt(allocated: bool) -> None:
    story = TWO.paid("1100.00", "2026-03-01 10:00", currency="USD", **({"F1": "1100.00"} if allocated else {}))
    assert owed(story) == {"F1": "doubt", "F2": "600.00" if allocated else "doubt"}
    assert all("USD" in doubt for doubt in of(story).doubts)
    assert of(story).doubts


def test_money_left_over_in_a_currency_that_has_invoices_of_its_own_is_a_doubt_all_the_same() -> None:
    story = TWO.invoice("F3", "100.00", currency="USD").paid("5000.00", "2026-03-01 10:00", currency="USD")
    assert owed(story) == {"F1": "doubt", "F2": "doubt", "F3": "0.00"}
    assert owed(TWO.paid("0.01", "2026-03-01 10:00", currency="USD")) == {"F1": "doubt", "F2": "doubt"}
    assert owed(TWO.invoice("F3", "100.00", currency="USD").paid("90.00", "2026-03-01 10:00", currency="USD"))["F1"] == "1000.00"


# --- money that comes back ----------------------------------------------------------------------------------------


def test_a_reversed_payment_no_longer_counts_and_counts_again_once_received_again() -> None:
    story = TWO.paid("1000.00", "2026-03-01 10:00").returned("2026-03-05 10:00")
    assert owed(story) == {"F1": "1000.00", "F2": "600.00"}
    assert owed(story.paid("1000.00", "2026-03-06 10:00")) == {"F1": "0.00", "F2": "600.00"}
    assert owed(TWO.paid("1000.00", "2026-03-05 10:00").returned("2026-03-05 10:00")) == {"F1": "0.00", "F2": "600.00"}


def test_money_that_came_back_after_a_notice_still_counts_for_that_notice() -> None:
    story = TWO.paid("1000.00", "2026-03-12 10:00").returned("2026-04-20 10:00")
    assert owed(story) == {"F1": "1000.00", "F2": "600.00"}
    assert owed(story, since="2026-03-09 11:00") == {"F1": "0.00", "F2": "600.00"}
    for noticed in ("2026-04-20 10:00", "2026-04-21 11:00"):
        assert owed(story, since=noticed) == {"F1": "1000.00", "F2": "600.00"}


# --- disputes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "left", "vague"),
    [
        (lambda s: s.dispute("2026-03-12 10:00", "F1"), {"F1": "disputed", "F2": "600.00"}, False),
        (lambda s: s.dispute("2026-03-12 10:00", "F1", motive=""), {"F1": "disputed", "F2": "600.00"}, True),
        (lambda s: s.dispute("2026-03-12 10:00"), {"F1": "1000.00", "F2": "600.00"}, True),
        (
            lambda s: s.dispute("2026-03-12 10:00", "F1").settled("2026-03-20 10:00", "rejected"),
            {"F1": "1000.00", "F2": "600.00"},
            False,
        ),
        (
            lambda s: s.dispute("2026-03-12 10:00", "F1").settled("2026-03-20 10:00", "withdrawn"),
            {"F1": "1000.00", "F2": "600.00"},
            False,
        ),
        (
            lambda s: s.dispute("2026-03-12 10:00", "F1").settled("2026-03-20 10:00", "upheld"),
            {"F1": "disputed", "F2": "600.00"},
            False,
        ),
        (
            lambda s: s.dispute("2026-03-12 10:00").settled("2026-03-20 10:00", "upheld"),
            {"F1": "disputed", "F2": "disputed"},
            False,
        ),
        (
            lambda s: s.dispute("2026-02-01 10:00").settled("2026-03-20 10:00", "upheld"),
            {"F1": "disputed", "F2": "600.00"},
            False,
        ),
        (
            lambda s: s.dispute("2026-03-12 10:00", "F1").settled("2026-03-20 10:00", "rejected").dispute("2026-03-21 10:00", "F2"),
            {"F1": "disputed", "F2": "disputed"},
            False,
        ),
        (
            lambda s: s.dispute("2026-03-12 10:00", "F1").settled("2026-03-12 10:00", "rejected"),
            {"F1": "disputed", "F2": "600.00"},
            False,
        ),
    ],
    ids=[
        "open, with a motive",
        "open, without a motive",
        "open, against everything",
        "rejected",
        "withdrawn",
        "upheld",
        "upheld, against everything",
        "upheld, against everything there was",
        "opened again",
        "closed at the same instant",
    ],
)
def test_what_is_contested_is_no_debt(told, left, vague: bool) -> None:
    assert owed(told(TWO)) == left
    assert of(told(TWO)).vague_disputes == (("D1",) if vague else ())


def test_what_was_rightly_contested_is_told_apart() -> None:
    assert of(TWO.dispute("2026-03-12 10:00", "F1")).upheld == frozenset()
    assert of(TWO.dispute("2026-03-12 10:00", "F1", "F9").settled("2026-03-20 10:00", "upheld")).upheld == {"F1"}


# --- insolvency ---------------------------------------------------------------------------------------------------

JUDGED = Story().insolvent("2026-06-18 07:05", "2026-06-09")


@pytest.mark.parametrize(
    ("body", "owed_"),
    [
        ({"issued_on": "2026-06-08"}, "insolvency"),
        ({"issued_on": "2026-06-09"}, "600.00"),
        ({"issued_on": "2026-07-01", "periods": ["2026-06-09"]}, "600.00"),
        ({"issued_on": "2026-07-01", "periods": ["2026-06-08"]}, "insolvency"),
        ({"issued_on": "2026-07-01", "periods": ["2026-06-15", "2026-06-01"]}, "insolvency"),
        ({"periods": ["2026-06-09"]}, "600.00"),
        ({"due": "2026-06-08"}, "insolvency"),
        ({"due": "2026-06-09"}, "600.00"),
    ],
    ids=[
        "issued the day before",
        "issued on the day",
        "for services since the judgment",
        "for services from the day before",
        "one line for older services",
        "only a period is known",
        "only the due date is known: before",
        "only the due date is known: on the day",
    ],
)
def test_what_arose_before_the_judgment_is_no_debt_any_more(body, owed_: str) -> None:
    told = lines("600.00", services=["vpn"] * len(body.get("periods", ["x"])))
    told = [line | {"period_from": day} for line, day in zip(told, body["periods"], strict=True)] if "periods" in body else told
    more = {"issued_on": body["issued_on"]} if "issued_on" in body else {}
    story = JUDGED.invoice("F1", "600.00", body.get("due", "2026-07-31"), when="2026-07-01 08:00", lines=told, **more)
    assert owed(story) == {"F1": owed_}
    assert owed(story.says("insolvency.closed", "2026-12-01 10:00", proceedings="RJ1")) == {"F1": owed_}, "for ever after"


def test_the_earliest_day_anybody_gives_and_the_latest_judgment_decide_what_arose_before() -> None:
    story = JUDGED.invoice("F1", "600.00", "2026-07-31", issued_on="2026-07-01", when="2026-07-01 08:00")
    assert owed(story) == {"F1": "600.00"}
    assert owed(story.invoice("F1", "600.00", "2026-07-31", issued_on="2026-06-01", when="2026-07-02 08:00")) == {
        "F1": "insolvency"
    }
    assert owed(story.insolvent("2026-07-20 10:00", "2026-07-02", id_="RJ2")) == {"F1": "insolvency"}
    assert owed(story.insolvent("2026-07-20 10:00", "2026-01-02", id_="RJ2")) == {"F1": "600.00"}


def test_money_goes_to_what_is_still_a_debt() -> None:
    story = JUDGED.invoice("F1", "1000.00", "2026-01-31").invoice("F2", "600.00", "2026-07-31", issued_on="2026-07-01")
    assert owed(story.paid("400.00", "2026-08-01 10:00")) == {"F1": "insolvency", "F2": "200.00"}
    assert owed(story.paid("400.00", "2026-08-01 10:00", F1="400.00")) == {"F1": "insolvency", "F2": "600.00"}


# --- properties ---------------------------------------------------------------------------------------------------


@given(stories(noise=6), favours, st.sampled_from([None, "2026-03-09 11:00"]))
@examples(50)
def test_a_fact_in_the_customers_favour_never_raises_what_is_left_of_an_invoice(story: Story, favour, since: str | None) -> None:
    before = debt(story.record, since=at(since) if since else None)
    after = debt(favour(story).record, since=at(since) if since else None)
    for name, invoice in after.invoices.items():
        counts = Decimal(0) if invoice.out else invoice.remaining
        counted = Decimal(0) if before.invoices[name].out else before.invoices[name].remaining
        assert counts <= counted, name
        assert 0 <= invoice.remaining <= invoice.principal


@given(stories(noise=6))
@examples(30)
def test_what_is_owed_under_a_notice_is_never_more_than_what_is_owed(story: Story) -> None:
    plain, under = debt(story.record), debt(story.record, since=at("2026-03-09 11:00"))
    for name, invoice in under.invoices.items():
        assert invoice.out or plain.invoices[name].out or invoice.remaining <= plain.invoices[name].remaining


def test_every_fact_behind_an_invoice_is_named() -> None:
    story = ripe().cancelled("F1", "2026-03-20 10:00")
    assert set(of(story).invoices["F1"].facts) == {story.events[0].id, story.events[-1].id}

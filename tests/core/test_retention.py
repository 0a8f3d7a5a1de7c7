"""Retention: what may be erased of a company's past, and that nothing is decided otherwise for it, now and later."""

from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.case import Record, cases
from agent.debt import debt
from agent.event import Event
from agent.retention import Erasable, erasable
from tests.core.histories import examples, stories
from tests.core.stories import ANNEX, Story, at, folded, judgement_of, ripe, standing, suspended, wanted

#: Long after everything in a story.
LATER = at("2032-01-01 00:00")


def asked(story: Story, before: datetime = LATER, *, customer: bool = True) -> Erasable:
    return erasable(story.company, list(enumerate(story.events, 1)), before, customer=customer)


def left(story: Story, found: Erasable) -> tuple[Event, ...]:
    return tuple(event for seq, event in enumerate(story.events, 1) if seq not in found.rows)


def cut(record: Record, now: datetime) -> frozenset[tuple[str, str]]:
    """What is to be refused then, with persons who let the policy act."""
    return wanted(judgement_of(record, now, approvals=standing(until="2033-01-01 00:00")))


def settled() -> Story:
    """The founding case, suspended, paid, restored."""
    story = suspended().paid("4800.00", "2026-03-31 14:07", F1="4800.00")
    return story.restored("2026-03-31 14:08", 1, reason="paid")


def next_matter(story: Story) -> Story:
    """Years later, another invoice of the same customer becomes suspendable on 31 March 2031."""
    story = story.invoice("F9", "4800.00", "2031-01-31", when="2031-01-05 09:00")
    for number, day in enumerate(("2031-02-10", "2031-02-20", "2031-03-03"), 7):
        story = story.reminder(f"R{number}", f"{day} 10:00", "F9")
    story = story.notice("2031-03-10 11:00", "N9", invoices=["F9"], reminders=["R7", "R8", "R9"], earliest_on="2031-03-28")
    return story.letter("delivered", "2031-03-12 10:30", "N9").warned("2031-03-25 10:00", "W9", "N9")


@st.composite
def pasts(draw: st.DrawFn) -> Story:
    """A history of any kind that came, mostly, to an end: money for each invoice, a restore for each order."""
    story = draw(stories())
    if draw(st.integers(0, 3)):
        named = sorted({event.body["invoice"] for event in story.events if event.type in ("invoice.issued", "invoice.overdue")})
        for name in named:
            if name in (owed := debt(story.record).invoices) and owed[name].remaining > 0:
                left_over = str(owed[name].remaining)
                story = story.paid(left_over, "2027-01-04 10:00", id_=f"L{name}", **{name: left_over})
        orders = {event.body["order"]: event.body["case"] for event in story.events if event.type == "order.suspend"}
        for order, case in sorted(orders.items()):
            body = {"order": order, "case": case, "cause": "paid", "final": True, "reason": "paid", "times": {}}
            story = story.says("measure.restored", "2027-01-04 10:01", source="agent", **body)
    return story


def test_a_matter_that_is_over_may_go_whole() -> None:
    story = settled()
    found = asked(story)
    assert found == Erasable(rows=tuple(range(1, len(story.events) + 1)))


@pytest.mark.parametrize(
    ("story", "kept"),
    [
        (ripe(), "case za:N1 is open"),
        (suspended(), "case za:N1 is open"),
        (Story().invoice(), "invoice F1 is not settled"),
        (Story().invoice().paid("4000.00", "2026-02-01 09:00", F1="4000.00"), "invoice F1 is not settled"),
        (settled().returned("2026-04-03 10:00"), "invoice F1 is not settled"),
        (Story().invoice().dispute("2026-02-03 10:00", "F1"), "invoice F1 is not settled"),
    ],
)
def test_what_is_open_keeps_everything(story: Story, kept: str) -> None:
    found = asked(story)
    assert found.rows == ()
    assert found.en == kept
    assert found.fr


def test_an_old_payment_that_pays_a_younger_invoice_stays() -> None:
    story = Story().invoice().paid("9600.00", "2026-02-01 09:00").invoice("F2", due="2030-01-31", when="2030-01-05 09:00")
    found = asked(story, at("2028-01-01 00:00"))
    assert (found.rows, found.en) == ((), "invoice F2: an old fact still counts")


def test_money_paid_too_much_stays_for_the_next_invoice() -> None:
    story = Story().invoice().paid("5000.00", "2026-02-01 09:00", F1="5000.00")
    found = asked(story)
    assert (found.rows, found.en) == ((), "invoice the next in EUR: an old fact still counts")


def test_an_invoice_whose_payment_is_younger_stays_with_it() -> None:
    story = Story().invoice().paid("4800.00", "2029-02-01 09:00", F1="4800.00")
    assert asked(story, at("2028-01-01 00:00")).rows == (1,), "the payment alone leaves nothing owed"
    story = Story().invoice().paid("4800.00", "2026-02-01 09:00", F1="4800.00").invoice(when="2029-01-05 09:00")
    assert asked(story, at("2028-01-01 00:00")).rows == (), "the younger word on F1 would stand without its payment"


def test_a_hold_and_its_lifting_stay_while_the_company_is_a_customer() -> None:
    story = settled().hold("safety", "2027-01-01 09:00").lifted("2027-02-01 09:00")
    types = {event.type for event in left(story, asked(story))}
    assert types == {"hold.set", "hold.lifted"}
    assert left(story, asked(story, customer=False)) == ()


def test_a_payment_that_met_a_court_order_stays_with_it() -> None:
    order = {"decision": "J1", "effect": "restore_if_paid", "amount": "4800.00", "currency": "EUR"}
    story = Story().invoice().says("court.order", "2026-02-01 09:00", **order)
    found = asked(story.paid("4800.00", "2026-02-02 09:00", F1="4800.00"))
    assert (found.rows, found.en) == ((), "hold J1 is still needed")


def test_of_a_young_past_nothing_goes_and_nothing_is_said() -> None:
    assert asked(settled(), at("2020-01-01 00:00")) == Erasable()


def test_nothing_younger_than_the_day_asked_for_goes() -> None:
    story = next_matter(settled())
    found = asked(story.paid("4800.00", "2031-06-01 09:00", id_="P9", F9="4800.00"), at("2030-01-01 00:00"))
    assert found.rows == tuple(range(1, len(settled().events) + 1))


@given(pasts(), st.booleans(), st.integers(0, 40))
@examples(300)
def test_erasing_changes_nothing_that_is_open_and_never_cuts_more_later(story: Story, customer: bool, days: int) -> None:
    found = asked(story, customer=customer)
    after = left(story, found)
    if not found.rows:
        return
    was, kept = folded(story.events), folded(after)
    for one in cases("za", was):
        owed = [debt(was).invoices[name] for name in one.notice.invoices if name in debt(was).invoices]
        assert one.order is None
        assert one.closed or all(invoice.out or invoice.remaining == 0 for invoice in owed)
    now = at("2031-03-31 09:00") + timedelta(days=days, hours=days % 7)
    assert cut(kept, now) <= cut(was, now)
    if not customer:  # who comes back as a customer starts anew
        assert kept == {}
        return
    whole, part = folded(next_matter(story).events), folded((*after, *next_matter(story).events[len(story.events) :]))
    assert cut(part, now) <= cut(whole, now)
    for name, invoice in debt(part).invoices.items():
        before = debt(whole).invoices[name]
        assert invoice.out or (not before.out and invoice.remaining <= before.remaining)


def test_the_property_above_has_histories_that_are_erased_and_suspended_again_and_others_that_stay() -> None:
    seen: Counter[str] = Counter()

    @given(pasts())
    @examples(300)
    def look(story: Story) -> None:
        found = asked(story)
        seen["erased" if found.rows else "kept"] += 1
        again = folded((*left(story, found), *next_matter(story).events[len(story.events) :]))
        seen["suspended again"] += bool(found.rows and cut(again, at("2031-03-31 09:00")))

    look()
    assert min(seen["kept"], seen["erased"], seen["suspended again"]) > 0, seen


def test_a_customer_whose_past_is_erased_is_judged_by_what_comes_next() -> None:
    part = (*left(settled(), asked(settled())), *next_matter(settled()).events[len(settled().events) :])
    assert cut(folded(part), at("2031-03-31 09:00")) == {("za:N9", name) for name in ANNEX}


def test_where_everything_is_young_nothing_may_go() -> None:
    assert asked(settled(), at("2020-01-01 00:00")) == Erasable()

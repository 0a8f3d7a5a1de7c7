"""What forbids suspending: everything that has the effect of a hold, on which cases it bears, and what ends it."""

from dataclasses import replace
from datetime import date

import pytest

from agent.case import Case, cases
from agent.event import HOLDS
from agent.holds import holds, proceedings
from tests.core.stories import Story, at, ripe

WHEN = "2026-03-20 10:00"
LATER = "2026-03-21 10:00"


def only(story: Story) -> Case:
    (case,) = cases(story.company, story.record)
    return case


def kinds(story: Story) -> list[str]:
    """The kinds of hold that bear on the one case, whichever way round the facts came."""
    found = [hold.kind for hold in only(story).holds]
    assert [hold.kind for hold in only(replace(story, events=story.events[::-1])).holds] == found
    return found


# --- set and lifted by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(HOLDS))
def test_every_kind_of_hold_can_be_set_and_lifted_and_restores_as_the_trade_says(kind: str) -> None:
    story = ripe().hold(kind, WHEN)
    (hold,) = only(story).holds
    assert (hold.kind, hold.restores) == (kind, HOLDS[kind])
    assert (hold.until, hold.services, hold.invoices) == (None, None, None)
    assert kinds(story.lifted(LATER)) == []


def test_a_hold_stands_until_it_is_lifted_later_than_it_was_last_set() -> None:
    story = ripe().hold("legal_review", WHEN)
    assert kinds(story.lifted(WHEN)) == ["legal_review"], "in a tie it stands"
    assert kinds(story.lifted(LATER)) == []
    assert kinds(story.lifted(LATER).hold("legal_review", "2026-03-22 10:00")) == ["legal_review"]


def test_of_two_kinds_given_for_one_hold_the_one_that_restores_counts() -> None:
    (hold,) = only(ripe().hold("stale_data", WHEN).hold("legal_review", LATER)).holds
    assert (hold.kind, hold.restores) == ("legal_review", True)


def test_a_hold_names_the_last_fact_it_rests_on() -> None:
    for story in (
        ripe().hold("manual", WHEN).hold("manual", LATER),
        ripe().court(WHEN).court(LATER),
        ripe().insolvent(WHEN, "2026-03-19").insolvent(LATER, "2026-03-19"),
    ):
        case = only(story)
        assert [hold.fact for hold in case.holds] == [story.events[-1].id]
        assert case.insolvency is None or case.insolvency.fact == story.events[-1].id


def test_of_several_proceedings_the_case_shows_the_latest_that_is_open() -> None:
    story = ripe().insolvent(WHEN, "2026-03-19", id_="RJ2").insolvent(WHEN, "2026-03-10", id_="RJ9", kind="sauvegarde")
    assert only(story).insolvency.id == "RJ2"
    assert only(story.says("insolvency.closed", LATER, proceedings="RJ2")).insolvency.id == "RJ9"
    assert kinds(story) == ["insolvency", "insolvency"]


def test_holds_come_in_a_fixed_order_whatever_they_rest_on() -> None:
    story = ripe().endangered(LATER).hold("manual", WHEN).switching(WHEN).deferred("2026-03-18 10:00", "2026-06-30")
    assert kinds(story) == ["grace_period", "manual", "switching", "safety"]


# --- insolvency -------------------------------------------------------------------------------------------------


def test_insolvency_holds_from_midnight_of_the_day_of_the_judgment_however_late_it_is_learnt() -> None:
    story = ripe().insolvent("2026-06-18 07:05", "2026-06-09", officeholder="Me Dubois")
    case = only(story)
    (hold,) = case.holds
    assert (hold.kind, hold.restores, hold.effective_from) == ("insolvency", True, at("2026-06-09 00:00"))
    assert case.insolvency is not None
    assert (case.insolvency.kind, case.insolvency.judgment_on) == ("redressement", date(2026, 6, 9))
    assert case.insolvency.officeholder == "Me Dubois"


def test_proceedings_that_are_over_hold_no_more_but_are_remembered() -> None:
    story = ripe().insolvent(WHEN, "2026-03-19").says("insolvency.closed", LATER, proceedings="RJ1")
    assert kinds(story) == []
    assert only(story).insolvency is None
    (known,) = proceedings(story.record)
    assert (known.id, known.open) == ("RJ1", False)
    reopened = story.insolvent("2026-03-22 10:00", "2026-03-19", kind="liquidation")
    assert kinds(reopened) == ["insolvency"]
    assert proceedings(reopened.record)[0].kind == "liquidation"


def test_of_two_dates_given_for_a_judgment_each_reading_takes_the_one_that_favours_the_customer() -> None:
    story = ripe().insolvent(WHEN, "2026-03-10").insolvent(LATER, "2026-03-19")
    (known,) = proceedings(story.record)
    assert (known.since, known.judgment_on) == (date(2026, 3, 10), date(2026, 3, 19))
    assert only(story).holds[0].effective_from == at("2026-03-10 00:00")


@pytest.mark.parametrize(
    ("sent", "addressee", "held"),
    [
        ("2026-03-09 11:00", "officeholder", True),
        ("2026-02-20 11:00", "company", True),
        ("2026-02-20 11:00", "officeholder", True),
        ("2026-02-21 12:00", "officeholder", True),  # it is still the 20th somewhere
        ("2026-02-21 13:00", "officeholder", False),
    ],
    ids=["before the judgment", "to the company", "on the day", "on the day, far away", "the day after, to the officeholder"],
)
def test_only_a_notice_to_the_officeholder_sent_after_the_judgment_goes_on(sent: str, addressee: str, held: bool) -> None:
    judgment = "2026-03-09" if sent.startswith("2026-03") else "2026-02-20"
    story = Story().invoice().notice(sent, addressee=addressee).insolvent("2026-03-20 10:00", judgment)
    assert kinds(story) == (["insolvency"] if held else [])
    assert only(story).insolvency is not None


def test_a_notice_that_is_also_said_to_be_for_the_company_is_for_the_company() -> None:
    story = Story().invoice().notice("2026-03-09 11:00", addressee="officeholder").notice("2026-03-09 12:00")
    assert only(story).notice.addressee == "company"
    assert kinds(story.insolvent(WHEN, "2026-02-20")) == ["insolvency"]


# --- courts -----------------------------------------------------------------------------------------------------


def test_an_order_to_restore_is_lifted_by_two_different_persons_of_the_legal_role_and_by_nobody_else() -> None:
    story = ripe().court(WHEN)
    assert kinds(story) == ["court"]
    assert only(story).holds[0].restores
    assert kinds(story.court_lifted(LATER, "emma")) == ["court"]
    assert kinds(story.court_lifted(LATER, "emma", "emma")) == ["court"]
    assert kinds(story.court_lifted(LATER, "emma", "denis", role="approver")) == ["court"]
    assert kinds(story.court_lifted(LATER, "emma").court_lifted(LATER, "denis", role="approver")) == ["court"]
    assert kinds(story.court_lifted(LATER, "emma", "denis", id_="O2")) == ["court"]
    assert kinds(story.court_lifted(WHEN, "emma", "denis")) == ["court"], "not by what was said before"
    assert kinds(story.court_lifted(LATER, "emma", "denis")) == []
    assert kinds(story.court_lifted(LATER, "emma", "denis").court("2026-03-22 10:00")) == ["court"]


@pytest.mark.parametrize(
    ("told", "held"),
    [
        (lambda s: s, False),
        (lambda s: s.paid("4999.99", LATER), False),
        (lambda s: s.paid("5000.00", "2026-03-19 23:00"), False),
        (lambda s: s.paid("5000.00", LATER), True),
        (lambda s: s.paid("5000.00", "2026-03-20 01:30"), True),
        (lambda s: s.paid("3000.00", LATER).paid("2000.00", LATER, id_="P2"), True),
        (lambda s: s.paid("2500.00", LATER).paid("2500.00", LATER), False),
        (lambda s: s.paid("2500.00", LATER, F1="2500.00").paid("2500.00", LATER), False),
        (lambda s: s.paid("1.00", LATER, currency="USD"), True),
        (lambda s: s.paid("5000.00", LATER).returned("2026-03-25 10:00"), True),
        (lambda s: s.court(LATER, "restore_if_paid", amount="100.00", currency="EUR").paid("100.00", LATER), True),
        (lambda s: s.court(LATER, "restore"), True),
        (lambda s: s.court(LATER, "restore_if_paid"), True),
    ],
    ids=[
        "nothing paid",
        "not quite paid",
        "paid before the order",
        "paid",
        "paid on the day of the order",
        "paid in two parts",
        "one payment said twice",
        "one payment said twice, once with an allocation",
        "paid in a currency that can not be compared",
        "paid, and sent back since",
        "the smaller of two sums",
        "also said to be unconditional",
        "also said without a sum",
    ],
)
def test_an_order_to_restore_once_a_sum_is_paid_holds_once_it_is(told, held: bool) -> None:
    story = told(ripe().court(WHEN, "restore_if_paid", amount="5000.00", currency="EUR"))
    assert kinds(story) == (["court"] if held else [])
    assert kinds(story.court_lifted("2026-03-30 10:00", "emma", "denis")) == []


def test_an_order_that_names_no_currency_is_met_by_any_money() -> None:
    story = ripe().court(WHEN, "restore_if_paid", amount="500.00")
    assert kinds(story.paid("499.00", LATER)) == []
    assert kinds(story.paid("300.00", LATER).paid("200.00", LATER, id_="P2", currency="USD")) == ["court"]


def test_a_deferral_holds_until_the_latest_day_anybody_gives() -> None:
    story = ripe().deferred(WHEN, "2026-06-30").deferred(LATER, "2026-05-31")
    (hold,) = only(story).holds
    assert (hold.kind, hold.restores, hold.until) == ("grace_period", True, date(2026, 6, 30))


# --- plans, switching, safety -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["broken", "ended"])
def test_a_plan_holds_until_it_is_broken_or_kept_to_its_end(how: str) -> None:
    story = ripe().plan("agreed", "2026-03-01 10:00", "F1")
    assert kinds(story) == ["payment_plan"]
    assert kinds(story.plan(how, "2026-03-01 10:00")) == ["payment_plan"]
    assert kinds(story.plan(how, LATER)) == []
    assert kinds(story.plan(how, LATER).plan("agreed", "2026-03-22 10:00", "F1")) == ["payment_plan"]


def test_a_plan_bears_on_the_cases_that_rest_on_its_invoices() -> None:
    assert kinds(ripe().plan("agreed", "2026-03-01 10:00", "F9")) == []
    assert kinds(ripe().plan("agreed", "2026-03-01 10:00")) == ["payment_plan"], "a plan that names none is for all"
    assert kinds(ripe().plan("agreed", "2026-03-01 10:00", "F9").plan("agreed", "2026-03-02 10:00", "F1")) == ["payment_plan"]
    narrowed = ripe().notice("2026-03-10 11:00", invoices=["F2"])
    assert only(narrowed).notice.invoices == ()
    assert kinds(narrowed.plan("agreed", "2026-03-01 10:00", "F1")) == ["payment_plan"], "any statement of the notice names it"


def test_a_switching_request_bears_on_the_cases_that_announce_its_services() -> None:
    assert kinds(ripe().switching(WHEN)) == ["switching"]
    assert kinds(ripe().switching(WHEN, "vpn")) == ["switching"]
    assert kinds(ripe().switching(WHEN, "hosted-mail")) == []
    assert kinds(ripe().switching(WHEN, "hosted-mail").switching(LATER)) == ["switching"]
    assert kinds(ripe().switching(WHEN).says("switching.ended", LATER, request="S1")) == []


def test_a_report_of_danger_holds_until_it_is_resolved() -> None:
    story = ripe().endangered(WHEN)
    assert kinds(story) == ["safety"]
    assert only(story).holds[0].restores
    assert kinds(story.says("safety.resolved", LATER, report="A1")) == []
    assert kinds(story.says("safety.resolved", LATER, report="A2")) == ["safety"]


def test_a_company_without_such_facts_has_no_hold() -> None:
    assert holds({}) == ()
    assert proceedings({}) == ()
    assert holds(ripe().record) == ()

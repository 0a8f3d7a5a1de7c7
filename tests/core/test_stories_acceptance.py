"""The founding case, told and decided to the minute: golden decisions that a person can read.

`ECLUSE_GOLDEN=write` writes them anew; read the difference before keeping it.
"""

import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from agent.decide import Act
from agent.gate import Verdict
from agent.model import Company, Mode
from agent.report import reason
from tests.core.stories import ANNEX, APPROVE, PARIS, POLICY, Story, Walk, at, company, lines, site

GOLDEN = Path(__file__).parents[1] / "golden" / "acceptance"

#: The group: each company with its own site; what ZA owes is no business of the others.
GROUP: dict[str, Company] = {
    one.id: one
    for one in (
        company("za", "ZA Paris", sites=[site("paris", prefix="10.20.10.0/24")]),
        company("zb", "ZB Lyon", sites=[site("lyon", prefix="10.20.20.0/24")]),
        company("zc", "ZC Casablanca", sites=[site("casablanca", zone="Africa/Casablanca", prefix="10.20.30.0/24")]),
        company("zd", "ZD Lille", sites=[site("lille", prefix="10.20.40.0/24")]),
    )
}


def history(company_id: str, amount: str) -> Story:
    """An invoice due Saturday 31 January, three reminders, a registered letter delivered on 11 March 2026, a last warning."""
    story = Story(company=company_id).invoice(f"F-{company_id}", amount, "2026-01-31", lines=lines(amount))
    for number, day in enumerate(("2026-02-09", "2026-02-19", "2026-03-02"), 1):
        story = story.reminder(f"R{number}", f"{day} 10:00", f"F-{company_id}")
    story = story.notice("2026-03-09 11:00", invoices=[f"F-{company_id}"], earliest_on="2026-03-27")
    return story.letter("delivered", "2026-03-11 10:30", proof=f"AR-{company_id}").warned("2026-03-27 09:00")


def received(story: Story, when: str) -> Story:
    """The last fact reached us later than it happened."""
    return replace(story, events=(*story.events[:-1], replace(story.events[-1], received_at=at(when))))


def stories() -> dict[str, Story]:
    za = received(history("za", "4800.00").paid("4800.00", "2026-03-31 14:07:12"), "2026-03-31 14:07:15")
    paid = {
        name: Story(company=name).invoice(f"F-{name}", "900.00").paid("900.00", "2026-01-28 12:00", id_=f"P-{name}")
        for name in ("zc", "zd")
    }
    return {"za": za, "zb": history("zb", "3200.00"), **paid}


def walked(name: str, when: str | datetime) -> Walk:
    return Walk(story=stories()[name], circumstances={"company": GROUP[name]}).through(when)


INSTANTS = (
    "2026-03-26 23:59:59",
    "2026-03-27 00:00:00",
    "2026-03-27 10:00:00",
    "2026-03-29 03:30:00",
    "2026-03-30 08:59:59",
    "2026-03-30 09:00:00",
    "2026-03-31 14:07:14",
    "2026-03-31 14:07:15",
    "2026-04-01 03:00:00",
    "2026-04-06 12:00:00",
)


_DAYS = ("lun.", "mar.", "mer.", "jeu.", "ven.", "sam.", "dim.")


def clock(when: datetime) -> str:
    place = when.astimezone(ZoneInfo(PARIS))
    return f"{_DAYS[place.weekday()]} {place:%d/%m/%Y %H:%M:%S}"


def table() -> str:
    """What is suspended, and what was decided about it, at each instant."""
    walks = {name: Walk(story=story, circumstances={"company": GROUP[name]}) for name, story in stories().items()}
    out = ["A-01, le cas fondateur : groupe Zéphyr, ZA doit 4 800 EUR, ZB 3 200 EUR ; ZC et ZD ont payé.", ""]
    for instant in INSTANTS:
        out.append(f"{clock(at(instant))} (Paris)")
        for name, walk in walks.items():
            judgement = walk.through(instant).now(instant)
            cut = sorted(name for one in judgement.in_force() if one.case.order for name in one.case.order.services)
            out.append(f"  {name}  {'suspendu : ' + ', '.join(cut) if cut else 'tout est ouvert'}")
            for one in judgement.judged:
                fr, _ = reason(one.decision, one.gate, one.case)
                out.append(f"      {one.decision.act.value:8} {fr}")
    out += ["", "Ce que l'agent a fait, dans l'ordre :"]
    done = [(when, name, what, one) for name, walk in walks.items() for when, what, one in walk.lines]
    for when, name, what, one in sorted(done, key=lambda line: line[:2]):
        fr, _ = reason(one.decision, one.gate, one.case)
        out.append(f"  {clock(when)}  {name}  {what:8} {fr}")
    return "\n".join(out) + "\n"


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("ECLUSE_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


# --- A-01 -----------------------------------------------------------------------------------------------------------


def test_a01_decisions_are_the_golden_ones() -> None:
    golden("a01-founding-case.txt", table())


def test_a01_the_first_possible_instant_is_monday_30_march_at_nine_and_not_a_minute_before() -> None:
    for name in ("za", "zb"):
        story = replace(stories()[name], events=tuple(e for e in stories()[name].events if e.type != "payment.received"))
        moment, first = at("2026-03-26 00:00"), at("2026-03-30 09:00")
        while moment < first:
            assert story.case(moment, company=GROUP[name]).decision.act in (Act.NOTHING, Act.PROPOSE), moment
            moment += timedelta(hours=1)
        for early in (timedelta(minutes=1), timedelta(seconds=1), timedelta(microseconds=1)):
            assert story.case(first - early, company=GROUP[name]).decision.act is Act.PROPOSE
        found = story.case(first, company=GROUP[name])
        assert found.decision.act is Act.SUSPEND
        assert found.case.notice.services == ANNEX


def test_a01_the_payment_of_za_restores_za_when_it_arrives_and_leaves_zb_suspended() -> None:
    za = walked("za", "2026-03-31 14:07:14")
    assert za.leases
    za.through("2026-03-31 14:07:15")
    assert not za.leases
    assert [(when, what) for when, what, _ in za.lines][-1] == (at("2026-03-31 14:07:15"), "restore")
    assert walked("zb", "2026-03-31 15:00").leases
    for name in ("zc", "zd"):
        assert walked(name, "2026-04-08 00:00").lines == []


def test_a01_in_mode_approve_nothing_is_suspended_until_two_persons_have_approved() -> None:
    story = history("za", "4800.00").approved("2026-03-30 10:15", "claire").approved("2026-03-30 11:40", "denis")
    walk = Walk(story=story, circumstances={"company": GROUP["za"], "policy": APPROVE}).through("2026-03-30 12:00")
    assert [(when, what) for when, what, _ in walk.lines if what != "keep"] == [
        (at("2026-03-27 00:00"), "propose"),
        (at("2026-03-30 11:40"), "suspend"),
    ]


def test_a01_under_the_default_ceiling_it_is_only_observed() -> None:
    walk = Walk(story=stories()["zb"], circumstances={"company": GROUP["zb"], "policy": POLICY, "ceiling": Mode.OBSERVE})
    assert "suspend" not in {what for _, what, _ in walk.through("2026-04-01 10:00").lines}


# --- A-02 -----------------------------------------------------------------------------------------------------------


def not_ripe() -> Story:
    """Two reminders two days apart, and a plain e-mail of 6 March as notice, never acknowledged."""
    story = Story().invoice("F-za", "4800.00").reminder("R1", "2026-02-09 10:00", "F-za").reminder("R2", "2026-02-11 10:00", "F-za")
    return story.notice("2026-03-06 11:00", channel="email", invoices=["F-za"], reminders=["R1", "R2"])


def test_a02_gate_is_the_golden_one() -> None:
    found = not_ripe().case("2026-03-30 10:00")
    out = ["A-02, dossier qui n'est pas mûr : deux relances à deux jours, mise en demeure par courriel du 6 mars.", ""]
    out += [f"  {check.code}  {check.verdict.value:8} {check.fr}" for check in found.gate.checks]
    fr, _ = reason(found.decision, found.gate, found.case)
    out += ["", f"  décision : {found.decision.act.value} ({fr})", f"  à revoir : {found.decision.next_at or 'à un fait nouveau'}"]
    golden("a02-not-ripe.txt", "\n".join(out) + "\n")


def test_a02_exactly_the_named_checks_do_not_pass_and_nothing_happens() -> None:
    checks = {check.code: check.verdict for check in not_ripe().case("2026-03-30 10:00").gate.checks}
    assert {code for code, verdict in checks.items() if verdict is Verdict.FAIL} == {"G-06", "G-07", "G-09"}
    assert {code for code, verdict in checks.items() if verdict is Verdict.UNKNOWN} == {"G-11"}
    assert {code for code, verdict in checks.items() if verdict is Verdict.LATER} == {
        *("G-10", "G-20", "G-23", "G-24", "G-25", "G-26")
    }
    assert Walk(story=not_ripe()).through("2026-09-30 00:00").lines == []

"""The scenarios of section 6 of the domain with their variants, and situations that it does not show, told to the minute.

What the agent must do stands in `scenarios`; what it says at each instant, with French reasons and the addresses its rules then
hold, stands in `tests/golden/scenarios/NAME/`. `ECLUSE_GOLDEN=write` writes the texts anew; read the difference before keeping it.
"""

import itertools
import os
import re
from dataclasses import replace
from datetime import timedelta
from functools import cache, reduce

import pytest

from agent.decide import Act
from agent.errors import ConfigError
from agent.policy import load
from agent.record import fold
from tests.core.scenarios import tales
from tests.core.scenes import GOLDEN, Played, files, play
from tests.core.stories import at, judgement_of, wanted

TALES = {tale.name: tale for tale in tales()}


@cache
def played(name: str) -> Played:
    return play(TALES[name])


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("ECLUSE_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TALES)
def test_the_agent_does_what_the_law_says_to_the_minute_and_says_why(name: str) -> None:
    found = played(name)
    assert found.does == TALES[name].does
    golden(f"{name}/story.txt", found.story)
    golden(f"{name}/decisions.txt", found.decisions)


def test_every_scenario_of_section_six_is_here_and_at_least_twelve_more() -> None:
    six = {name[:3] for name in TALES if name.startswith("a")}
    assert six == {"a01", "a02", "a04", "a05", "a06", "a09", "a12"}
    assert sum(not name.startswith("a") for name in TALES) >= 12


def test_every_golden_folder_belongs_to_a_scenario() -> None:
    refused = {"a04-prefix-declared-twice", "a12-dependency-in-the-target"}
    assert {path.name for path in GOLDEN.iterdir()} == {*TALES, *refused, "inventory"}


def test_every_text_says_what_it_leaves_out_and_is_french() -> None:
    for name in TALES:
        text = (GOLDEN / name / "decisions.txt").read_text(encoding="utf-8")
        assert re.search(r"^Laissé à d'autres essais : \w", text, re.MULTILINE), name
        assert not re.search(r"\b(?:the|invoice|notice|because|until|owed)\b", text), name


# --- what the loader refuses ---------------------------------------------------------------------------------------------


def refused(name: str, title: str, *edits: tuple[str, str, str]) -> str:
    """Load the inventory with some passages written otherwise; the problems that come out, as a text."""
    texts = dict(files())
    changed = []
    for file, old, new in edits:
        assert texts[file].count(old) == 1, old
        texts[file] = texts[file].replace(old, new)
        changed += [f"{file}, au lieu de :", *old.split("\n"), "on a écrit :", *new.split("\n"), ""]
    with pytest.raises(ConfigError) as failed:
        load(texts)
    out = [title, "", *changed, "REFUSÉ AU CHARGEMENT, RIEN NE CHANGE (les messages de l'agent sont en anglais) :", ""]
    for problem in failed.value.problems:
        out += [f"  {problem.code}  {problem.what}", f"    {problem.mend}"]
    golden(f"{name}/refused.txt", "\n".join(out) + "\n")
    return "\n".join(out)


def test_a04_one_prefix_declared_for_two_companies_is_refused_before_anything_runs() -> None:
    own = {
        name: f"            - {{prefix: 10.40.128.{first}/28, interface: tun-{name}}}" for name, first in (("na", 0), ("nb", 16))
    }
    shared = "\n            - {prefix: 10.40.0.0/24, interface: vrf120}"
    text = refused(
        "a04-prefix-declared-twice",
        "A-04 : le préfixe partagé 10.40.0.0/24 déclaré pour NA et pour NB dans la même instance de routage.",
        *(("customers.yaml", line, line + shared) for line in own.values()),
    )
    assert "10.40.0.0/24 behind vrf120 of company nb overlaps 10.40.0.0/24 behind vrf120 of company na" in text


def test_a12_a_declared_dependency_inside_the_target_is_refused_with_the_narrower_selector() -> None:
    before = '      - {prefixes: [192.0.2.70, "2001:db8:2::70"], protocol: tcp, ports: 27000}'
    after = """\
      - {prefixes: [192.0.2.170], protocol: tcp, ports: 27000}
  provider-tools:
    class: A
    selectors:
      - {prefixes: [192.0.2.64/27], protocol: any}"""
    mine = "needed_by: erp, probe: tcp, address: 192.0.2.70, port: 27000}\n      subscriptions: [vpn,"
    text = refused(
        "a12-dependency-in-the-target",
        "A-12 : l'exploitant classe 192.0.2.64/27 en service annexe ; la licence de l'ERP de Myrte, 192.0.2.70, y est.",
        ("services.yaml", before, after),
        ("customers.yaml", mine, mine.replace("[vpn,", "[provider-tools, vpn,")),
    )
    assert "erp needs 192.0.2.70, which is in 192.0.2.64/27 of service provider-tools" in text
    assert "Replace 192.0.2.64/27 by" in text


# --- what no rule may name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "only"),
    [
        ("a04-what-can", r"vpn refusé à 10\.40\.128\.0/28 sur tun-na"),
        ("a06-clinic-guest-wifi-by-two-persons", r"guest-wifi refusé à 10\.60\.2\.0/24 sur vrf140g"),
        ("e01-overlapping-private-addresses", r"[\w-]+ refusé à 10\.0\.0\.0/24 sur vrf201"),
        ("a01-za-pays", r"[\w-]+ refusé à (10\.20\.10\.0/24|2001:db8:20:10::/64) sur vrf101"),
    ],
)
def test_rules_name_the_debtors_own_places_and_no_other(name: str, only: str) -> None:
    found = re.findall(r"règle : (.+)", (GOLDEN / name / "decisions.txt").read_text(encoding="utf-8"))
    assert found
    assert all(re.fullmatch(only, text) for text in found)


# --- across scenarios ----------------------------------------------------------------------------------------------------


def test_a09_the_end_is_the_same_in_every_order_in_which_the_facts_of_that_night_may_arrive() -> None:
    tale = TALES["a09-court-order-on-a-sunday-night"]
    world = tale.begin().circumstances
    before = played(tale.name).stood[0][1]
    night = [event for event in tale.story.events if event.received_at >= at("2026-09-06 21:40")]
    assert len(night) == 4
    ends = []
    for order in itertools.permutations((*night, night[-1])):
        record = reduce(fold, order, before)
        judgement = judgement_of(record, at("2026-09-06 21:42"), company_id="genet", **world)
        assert not wanted(judgement)
        assert judgement.judged[0].decision.act is Act.RESTORE
        ends.append(judgement)
    assert all(end == ends[0] for end in ends)


def test_a09_whichever_helping_fact_of_that_night_comes_first_restores_by_itself() -> None:
    tale = TALES["a09-court-order-on-a-sunday-night"]
    world = tale.begin().circumstances
    before = played(tale.name).stood[0][1]
    helping = [event for event in tale.story.events if event.type in {"court.order", "payment.received"}]
    assert len(helping) == 3
    for event in helping:
        assert not wanted(judgement_of(fold(before, event), at("2026-09-06 21:41"), company_id="genet", **world)), event.type


@pytest.mark.parametrize("name", [name for name, tale in TALES.items() if any("suspend" in one for one in tale.does)])
def test_who_starts_again_from_the_ledger_alone_finds_the_same_or_less_suspended(name: str) -> None:
    tale = TALES[name]
    walk = tale.begin()
    for instant, record, stood in played(name).stood:
        again = judgement_of(record, at(instant), company_id=tale.story.company, **walk.world(at(instant)))
        assert wanted(again) <= stood


@pytest.mark.parametrize("when", ["2026-03-30 12:00", "2026-03-31 03:00", "2026-04-04 23:59:59", "2026-04-06 09:00"])
@pytest.mark.parametrize("broken", [False, True], ids=["all is well", "everything else is broken"])
def test_a01_a_payment_restores_in_the_same_second_at_noon_at_night_on_a_weekend_on_a_holiday(when: str, broken: bool) -> None:
    tale = TALES["a01-zb-does-not-pay"]
    night = TALES["e08-restored-with-the-breaker-open-on-a-holiday-night"].turns[0]
    before = (at(when) - timedelta(hours=1)).isoformat()
    turns = (replace(night, when=before),) if broken else ()
    walk = replace(tale, story=tale.story.paid("3200.00", when), turns=turns).begin().through(at(when) + timedelta(minutes=1))
    assert [(moment, what) for moment, what, _ in walk.lines][-1] == (at(when), "restore")

"""A policy as plain sentences: nothing of it is left unsaid, in either language, and those that refuse say so."""

import re
from dataclasses import fields, replace
from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from agent.cli import main
from agent.model import Mode, Policy, Window
from agent.policy import BOUNDS, PROFILES
from agent.policy.text import Language, articles, document
from agent.policy.wording import ARTICLES, PUBLIC
from tests.core.test_policy_docs import VALID

LANGUAGES: tuple[Language, ...] = ("fr", "en")

#: A value of each field that is not the default.
OTHERS: dict[str, Any] = {
    "id": "other",
    "profile": "strict",
    "mode": Mode.AUTO,
    "currency": "CHF",
    "holidays": "FR-57",
    "enforcement_point": "customer",
    "notice_channels": ("lrar",),
    "windows": (Window(days=(1,), start=time(10), end=time(12)),),
    "blackout_dates": (date(2026, 12, 24),),
    "no_eve_of_holiday": False,
    "confine_to_unpaid_service": False,
    "grace_on_announced": False,
    "waive_gentler_stages": "annex services only",
    "stages": (2,),
    "effective_hours": (Window(days=(5,), start=time(9), end=time(12)),),
    "suspension_clause": "art. 9",
    "stage4_extent": "remote",
    "public_clause": "art. 12",
    "public_mission": "annex 3",
    "public_opposition": "letter of 2 March",
    "digest": "d" * 64,
    **{name: bound.low if bound.floor == bound.high else bound.high for name, bound in BOUNDS.items()},
    "min_debt": Decimal("612.50"),
    **{f"stage{number}_min_debt": Decimal(1200) for number in (2, 3, 4)},
}
PUBLIC_VALUES = ("public_clause", "public_mission", "public_opposition")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", [each.name for each in fields(Policy)])
def test_every_value_of_a_policy_stands_in_its_text(name: str, language: Language) -> None:
    usual = PROFILES["fr-public" if name in PUBLIC_VALUES else "fr-b2b"]
    if re.match(r"stage[24]|effective|suspension_clause", name):
        usual = replace(usual, stages=(1, 2, 3, 4))
    other = replace(usual, **{name: OTHERS[name]})
    assert document(other, language) != document(usual, language)


def test_every_value_has_another_one_to_be_told_from() -> None:
    assert set(OTHERS) == {each.name for each in fields(Policy)}
    for name, value in OTHERS.items():
        assert value != getattr(PROFILES["fr-b2b"], name), name


@given(
    st.fixed_dictionaries({name: st.integers(bound.low, bound.high) for name, bound in BOUNDS.items()}),
    st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, unique=True).map(sorted).map(tuple),
)
def test_no_place_is_left_unfilled_whatever_the_values(values: dict[str, int], stages: tuple[int, ...]) -> None:
    sums = {name: Decimal(value) for name, value in values.items() if name.endswith("min_debt")}
    policy = replace(PROFILES["fr-b2b"], **{**values, **sums}, stages=stages)
    for language in LANGUAGES:
        text = document(policy, language)
        assert "{" not in text
        assert "}" not in text
        assert "  " not in text
        assert re.search(r" [,.]", text) is None


def test_both_languages_have_the_same_articles_and_paragraphs_and_name_the_same_values() -> None:
    for wording in (ARTICLES, PUBLIC):
        french, english = (re.split(r"\n\n", wording[language]) for language in LANGUAGES)
        assert [part.startswith("# ") for part in french] == [part.startswith("# ") for part in english]
        for one, other in zip(french, english, strict=True):
            assert sorted(re.findall(r"\{\w+\}", one)) == sorted(re.findall(r"\{\w+\}", other)), one


def test_articles_are_numbered_from_one() -> None:
    text = document(PROFILES["fr-b2b"], "fr")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(articles(PROFILES["fr-b2b"], "fr")) + 1))


def test_a_consumer_is_refused_in_one_article() -> None:
    (only,) = articles(PROFILES["fr-consumer"], "fr")
    assert "Aucun service n'est suspendu à un consommateur" in only.paragraphs[0]


def test_a_public_body_is_refused_with_what_would_have_to_be_recorded() -> None:
    (only,) = articles(PROFILES["fr-public"], "fr")
    assert sum("non consigné" in paragraph for paragraph in only.paragraphs) == 3


def test_a_public_body_whose_conditions_are_recorded_has_them_named_before_all_other_articles() -> None:
    recorded = replace(PROFILES["fr-public"], **{name: OTHERS[name] for name in PUBLIC_VALUES})
    first, *others = articles(recorded, "en")
    assert all(str(OTHERS[name]) in " ".join(first.paragraphs) for name in PUBLIC_VALUES)
    assert [one.title for one in others] == [one.title for one in articles(PROFILES["fr-b2b"], "en")]


def test_sums_dates_and_hours_are_written_as_people_of_the_language_write_them() -> None:
    policy = replace(PROFILES["fr-b2b"], min_debt=Decimal("1612.50"), blackout_dates=(date(2026, 12, 24),))
    assert "1 612,50 EUR" in document(policy, "fr")
    assert "24/12/2026" in document(policy, "fr")
    assert "du lundi au jeudi de 09:00 à 15:00" in document(policy, "fr")
    assert "1,612.50 EUR" in document(policy, "en")
    assert "2026-12-24" in document(policy, "en")
    assert "Monday to Thursday from 09:00 to 15:00" in document(policy, "en")


# --- the command --------------------------------------------------------------------------------------------------


def ecluse(*arguments: str) -> Any:
    return CliRunner().invoke(main, ("policy", "text", *arguments), prog_name="ecluse", env={"LC_ALL": "C.UTF-8"})


@pytest.mark.parametrize("name", PROFILES)
def test_the_command_prints_each_profile_in_either_language(name: str) -> None:
    french, english = ecluse(name, "--lang", "fr"), ecluse(name, "--lang", "en")
    assert (french.exit_code, english.exit_code) == (0, 0)
    assert french.output.startswith("Suspension de services pour impayé")
    assert english.output.startswith("Suspension of services for non-payment")
    assert max(map(len, french.output.splitlines())) <= 88


def test_the_command_prints_a_policy_of_a_directory_with_the_digest_that_approvals_are_given_for(tmp_path: Any) -> None:
    for name, text in VALID.items():
        (tmp_path / name).write_text(text)
    said = ecluse("careful", "--policies", str(tmp_path), "--lang", "en")
    assert said.exit_code == 0
    assert "at least 4 reminders" in said.output.lower()
    assert re.search(r"[0-9a-f]{64}", said.output)


def test_the_command_answers_in_json_too() -> None:
    said = ecluse("strict", "--json", "--lang", "fr")
    assert said.exit_code == 0
    assert '"title": "Objet"' in said.output


def test_an_unknown_name_is_bad_input_and_the_known_ones_are_named() -> None:
    said = ecluse("fr-b2c")
    assert said.exit_code == 2
    assert "fr-b2b, fr-consumer, fr-public, strict" in said.output

"""`docs/POLICY.md` is run: its examples load together, its wrong ones give exactly the message shown, its tables are whole."""

import re
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.errors import ConfigError
from agent.gate import TABLE
from agent.model import Attachment, Company, Policy, Probe, Protected, Service, ServiceClass, Subscription
from agent.policy import BOUNDS, PROFILES, Code, load

PAGE = (Path(__file__).parents[2] / "docs" / "POLICY.md").read_text()


class Block(NamedTuple):
    kind: str
    text: str

    @property
    def file(self) -> str:
        return self.text.split("\n", 1)[0].removeprefix("# ")


BLOCKS = [Block(kind, text) for kind, text in re.findall(r"^```([a-z ]+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)]
VALID = {block.file: block.text for block in BLOCKS if block.kind == "yaml"}
WRONG = [(block, BLOCKS[index + 1]) for index, block in enumerate(BLOCKS) if block.kind == "yaml wrong"]
LINES = {"more.jsonl": "".join(block.text for block in BLOCKS if block.kind == "json")}


def rows(word: str) -> dict[str, list[str]]:
    """Table rows that begin with a code word, by that word."""
    found = [re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGE.splitlines() if line.startswith(f"| `{word}")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in found}


def test_the_page_has_examples_of_every_kind() -> None:
    assert list(VALID) == [
        *("services.yaml", "virtual.yaml", "moving.yaml", "customers.yaml", "dedicated.yaml"),
        *("tunnels.yaml", "suspension.yaml", "gentle.yaml"),
    ]
    assert len(WRONG) >= 7
    assert LINES["more.jsonl"]


def test_the_examples_load_together() -> None:
    loaded = load({**VALID, **LINES})
    assert set(loaded.companies) == {"za", "zc", "ti", "or", "ma"}
    assert set(loaded.policies) == {"usual", "careful", "gentle"}


@pytest.mark.parametrize(("wrong", "shown"), WRONG, ids=[block.file for block, _ in WRONG])
def test_a_wrong_example_gives_exactly_the_message_shown(wrong: Block, shown: Block) -> None:
    assert shown.kind == "text"
    with pytest.raises(ConfigError) as raised:
        load({**VALID, **LINES, wrong.file: wrong.text})
    assert str(raised.value) + "\n" == shown.text


def test_every_value_of_a_policy_stands_in_the_table() -> None:
    assert {each.name for each in fields(Policy)} - {"id", "digest"} == {
        name for name in (each.name for each in fields(Policy)) if rows(name).get(name)
    }


@pytest.mark.parametrize("name", BOUNDS)
def test_the_table_shows_each_default_each_floor_its_reason_and_its_source(name: str) -> None:
    bound = BOUNDS[name]
    default, strict, allowed, check, why, source = rows(name)[name]
    assert default == str(getattr(PROFILES["fr-b2b"], name))
    assert strict == str(getattr(PROFILES["strict"], name))
    assert allowed == f"{bound.low} to {bound.high}"
    assert (check, why) == (bound.check, bound.why)
    assert source


def test_the_table_of_overrides_is_that_of_the_gate() -> None:
    told = {
        code: who
        for who, checks in re.findall(r"^\| (one approver|two persons|nobody) \| ([^|]+) \|", PAGE, re.MULTILINE)
        for code in re.findall(r"G-\d\d", checks)
    }
    words = {"1p": "one approver", "2p": "two persons", "no": "nobody"}
    assert told == {row.code: words[row.override] for row in TABLE}


def test_every_profile_is_described() -> None:
    assert set(PROFILES) == {name for name in PROFILES if rows(name).get(name)}


def test_every_code_class_and_protected_status_is_explained() -> None:
    for word in [*Code, *Protected, *(each.value for each in ServiceClass), "MORE"]:
        assert f"`{word}`" in PAGE, word


@pytest.mark.parametrize("noun", [Service, Company, Attachment, Subscription, Probe])
def test_every_field_is_explained(noun: type) -> None:
    for name in {each.name for each in fields(noun)} - {"id", "group", "service", "kind"}:
        assert re.search(rf"`([a-z_]+\[\]\.)?{name.removesuffix('_')}`", PAGE), name

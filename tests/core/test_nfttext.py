"""The nftables text: stable, readable, and every change of a rule shows in a comment.

The golden files are what a person reviews. After a wanted change: ECLUSE_GOLDEN=write pytest tests/core/test_nfttext.py
"""

import os
import re
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import L4, Selector, Service, ServiceClass, Shape
from agent.nfttext import render, rule_comments
from agent.rules import Structure
from agent.ruleset import Needs, structure
from tests.core.strategies import shapes_of, worlds
from tests.core.test_rest import CATALOGUE, NEEDS, SHAPES

GOLDEN = Path(__file__).parents[1] / "golden" / "ruleset"


def service(id_, *selectors, class_=ServiceClass.ANNEX):
    return Service(
        id=id_, class_=class_, selectors=tuple(Selector(prefix=ip_network(p), protocol=q, ports=r) for p, q, r in selectors)
    )


def shapes(id_, *kinds):
    return [Shape(service=id_, family=family, prefixlen=length, interface=interface) for family, length, interface in kinds]


HOSTS = (
    {
        "ged": service("ged", ("203.0.113.10", L4.TCP, ((443, 443),)), ("2001:db8::10", L4.TCP, ((443, 443),))),
        "portal": service("portal", ("203.0.113.9", L4.TCP, ((443, 443),)), class_=ServiceClass.PAY),
        "vpn": service("vpn", ("203.0.113.11", L4.UDP, ((500, 500), (4500, 4500))), ("2001:db8::11", L4.UDP, ((500, 500),))),
    },
    [*shapes("ged", (4, 24, True), (4, 32, False), (6, 64, True)), *shapes("vpn", (4, 24, True), (6, 64, True), (6, 128, False))],
)
RANGES = (
    {
        "24h-desk": service("24h-desk", ("203.0.113.32/28", L4.TCP, ((8000, 8100),)), ("203.0.113.40", L4.TCP, ((8050, 8200),))),
        "backup": service("backup", ("203.0.113.64/26", L4.ANY, ()), ("203.0.113.0/28", L4.UDP, ())),
        "reports": service("reports", ("203.0.113.20", L4.TCP, ((80, 80),))),
    },
    [*shapes("24h-desk", (4, 24, False)), *shapes("backup", (4, 8, False), (4, 24, False)), *shapes("reports", (4, 24, False))],
)


#: Caps, draining where connections are tracked, and stage 4.
STAGES = (CATALOGUE, SHAPES, Needs(cap=True, drain=True, tracked=True, rest=NEEDS.rest))


#: Of a service that is dedicated, the company's own addresses are part of the key; the other is the same for everybody.
DEDICATED = (
    {
        "server": replace(
            service("server", ("198.51.100.64/26", L4.ANY, ()), ("2001:db8:5e::/48", L4.TCP, ((22, 22), (443, 443)))),
            dedicated=True,
        ),
        "ged": HOSTS[0]["ged"],
    },
    [
        Shape(service="server", family=4, prefixlen=24, interface=True, dedicated=32),
        Shape(service="server", family=4, prefixlen=28, interface=False, dedicated=30),
        Shape(service="server", family=6, prefixlen=64, interface=False, dedicated=64),
        *shapes("ged", (4, 24, False)),
    ],
    Needs(drain=True),
)
GOLDENS = {"hosts": HOSTS, "ranges": RANGES, "stages": STAGES, "dedicated": DEDICATED, "nothing": ({}, [])}


@pytest.mark.parametrize(("name", "arguments"), GOLDENS.items(), ids=list(GOLDENS))
def test_the_text_is_what_was_reviewed(name, arguments):
    path = GOLDEN / f"{name}.nft"
    text = render(structure(*arguments))
    if os.environ.get("ECLUSE_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@settings(max_examples=40, deadline=None)
@given(world=worlds())
def test_every_rule_is_one_line_with_a_comment_of_its_own(world):
    built = structure(world.catalogue, shapes_of(world.companies))
    shown = re.findall(r'^    \S.* comment "([0-9a-f]{16})"$', render(built), flags=re.MULTILINE)
    expected = [comment for comments in rule_comments(built).values() for comment in comments]
    assert shown == expected
    assert len(set(shown)) == len(shown) == sum(len(chain.rules) for chain in built.chains)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_rule_taken_away_moved_or_changed_shows_in_the_comments_of_its_chain_only(data):
    built = structure(*HOSTS)
    number = data.draw(st.integers(0, len(built.chains) - 1))
    chain = built.chains[number]
    position = data.draw(st.integers(0, len(chain.rules) - 1))
    rest = chain.rules[:position] + chain.rules[position + 1 :]
    foreign = data.draw(st.sampled_from([rule for other in built.chains for rule in other.rules if rule not in chain.rules]))
    rules = data.draw(st.sampled_from([rest, (*rest, foreign), (*chain.rules, chain.rules[position]), chain.rules[::-1]]))
    before, after = rule_comments(built), rule_comments(with_rules(built, number, rules))
    assert (before[chain.name] == after[chain.name]) == (rules == chain.rules)
    assert {name: before[name] for name in before if name != chain.name} == {
        name: after[name] for name in after if name != chain.name
    }


def with_rules(built: Structure, number: int, rules) -> Structure:
    chains = [*built.chains]
    chains[number] = replace(chains[number], rules=rules)
    return replace(built, chains=tuple(chains))


def test_members_stand_in_their_own_set_so_that_one_text_brings_structure_and_members():
    built = structure(*HOSTS)
    first, other = built.sets[0].name, built.sets[1].name
    text = render(built, {first: ["10.1.0.0 timeout 4h", "10.2.0.0 timeout 1h"]})
    block = text[text.index(f"set {first} {{") : text.index(f"set {other} {{")]
    assert re.search(r"elements = \{\n\s+10\.1\.0\.0 timeout 4h,\n\s+10\.2\.0\.0 timeout 1h,\n\s+\}", block)
    empty = render(built)
    assert text.count("elements") == empty.count("elements") + 1
    assert empty == render(built, {}) == render(built, {first: []})


def test_a_member_known_by_its_interface_alone_is_looked_up_by_that():
    ged = shapes("ged", (4, 0, True))
    built = structure({"ged": HOSTS[0]["ged"]}, ged)
    text = render(built)
    assert re.search(r"set ged4if_0 \{\n\s+type ifname\n", text)
    assert "iifname @ged4if_0 goto refuse" in text

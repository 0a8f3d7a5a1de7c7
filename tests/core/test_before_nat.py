"""Services at the address that clients see: packet by packet, the proof, and where nobody can tell."""

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ProofFailed
from agent.flows import Connection, Refusing
from agent.inforce import InForceRules
from agent.model import L4, Attachment, Company, Selector, Service, ServiceClass, Shape, Site, Subscription, Terms
from agent.nfttext import rule_text
from agent.proof import prove, prove_members
from agent.rules import AskedFor, Chain, EnterTranslated, LookupService
from agent.ruleset import Needs, Rest, ends_of, members, structure
from agent.separable import MOST_KEPT
from tests.core.hosts import inventory_of
from tests.core.packet_evaluator import ACK, FIN, RST, SYN, TCP, UDP, Packet, selects, walk
from tests.core.strategies import TODAY
from tests.process.house import MONDAY, SERVICES, Firm


def selector(prefix, protocol, *ports, before_nat=False):
    return Selector(prefix=ip_network(prefix), protocol=protocol, ports=ports, before_nat=before_nat)


SEEN = Service(
    id="seen",
    class_=ServiceClass.ANNEX,
    selectors=(
        selector("198.51.100.10", L4.TCP, (443, 443), before_nat=True),
        selector("198.51.100.10", L4.UDP, (1194, 1196), before_nat=True),
        selector("198.51.100.64/28", L4.ANY, before_nat=True),
        selector("2001:db8:100::10", L4.TCP, (443, 443), before_nat=True),
    ),
)
PLAIN = Service(
    id="plain",
    class_=ServiceClass.ANNEX,
    selectors=(selector("10.9.9.2", L4.TCP, (8443, 8443)), selector("fd09::2", L4.TCP, (8443, 8443))),
)
PAY = Service(
    id="pay",
    class_=ServiceClass.PAY,
    selectors=(
        selector("198.51.100.10", L4.TCP, (444, 444), before_nat=True),
        selector("2001:db8:100::10", L4.TCP, (444, 444), before_nat=True),
    ),
)
DNS = Service(id="dns", class_=ServiceClass.DEPENDENCY, selectors=(selector("10.9.9.53", L4.ANY), selector("fd09::53", L4.ANY)))
CATALOGUE = {one.id: one for one in (SEEN, PLAIN, PAY, DNS)}
LOCAL = tuple(("site", ip_network(each)) for each in ("10.1.0.0/24", "10.2.0.0/24", "fd01::/64", "fd02::/64"))
LICENCE = selector("10.9.9.70", L4.TCP, (27000, 27000))
KEPT = (*(Selector(prefix=network, protocol=L4.ANY) for _, network in LOCAL), LICENCE)
ZA = Company(
    id="za",
    name="ZA",
    group="g",
    policy="p",
    contract="c",
    sites=(
        Site(
            id="s",
            timezone="Europe/Paris",
            attachments=tuple(Attachment(prefix=ip_network(each)) for each in ("10.1.0.0/24", "fd01::/64")),
        ),
    ),
    subscriptions=(Subscription(service="seen"), Subscription(service="plain")),
)
SHAPES = [
    Shape(service=service, family=family, prefixlen=length, interface=False)
    for service in ("seen", "plain")
    for family, length in ((4, 24), (6, 64))
]
ANNEX_ONLY = Terms(stage=3)
NEEDS = Needs(tracked=True, kept=KEPT)
BUILT = structure(CATALOGUE, SHAPES, NEEDS)
#: Asked for, led to; addresses of both kinds of member. Each family by itself.
ENDS = {
    4: (
        ("198.51.100.10", "198.51.100.11", "198.51.100.70", "10.9.9.2", "203.0.113.9"),
        ("10.9.9.1", "10.9.9.2", "10.9.9.53", "10.9.9.70", "10.1.0.9", "10.2.0.9", "198.51.100.10"),
        ("10.1.0.5", "10.2.0.5", "192.0.2.9"),
    ),
    6: (
        ("2001:db8:100::10", "2001:db8:100::11", "fd09::2"),
        ("fd09::1", "fd09::2", "fd09::53", "fd01::9", "2001:db8:100::10"),
        ("fd01::5", "fd02::5", "2001:db8:77::9"),
    ),
}
PORTS = (443, 444, 1194, 1196, 8443, 27000, 53)


def proven(built=BUILT, catalogue=CATALOGUE, kept=KEPT, local=LOCAL):
    return prove(built, [], local, catalogue, kept)


def present(services, terms=ANNEX_ONLY, needs=NEEDS):
    found = {}
    wanted = members(ZA, services, "za:1", 3_600_000, CATALOGUE, TODAY, terms=terms)
    prove_members(wanted, ZA, services, proven(structure(CATALOGUE, SHAPES, needs)), remote=services if terms.stage == 4 else ())
    for element in wanted:
        found.setdefault(element.set, set()).add(element.key)
    return found


@dataclass(frozen=True)
class Talk:
    """A connection that the gateway leads from one destination to another, and one packet of it."""

    client: tuple[str, int]
    asked: tuple[str, int]
    led: tuple[str, int]
    protocol: int
    answer: bool
    flags: int

    def packet(self):
        ends = [(ip_address(address), port) for address, port in (self.client, self.led)]
        source, destination = reversed(ends) if self.answer else ends
        asked = ip_address(self.asked[0]), self.asked[1]
        return Packet(
            source=source[0],
            source_port=source[1],
            destination=destination[0],
            destination_port=destination[1],
            protocol=self.protocol,
            flags=self.flags,
            asked=None if self.asked == self.led else asked,
            answer=self.answer,
        )


def talks(seed, size=300):
    random = Random(seed)
    for _ in range(size):
        asked, led, clients = ENDS[random.choice((4, 6))]
        yield Talk(
            client=(random.choice((*clients, *led[:2])), random.choice((40000, 443, 8443))),
            asked=(random.choice(asked), random.choice(PORTS)),
            led=(random.choice(led), random.choice(PORTS)),
            protocol=random.choice((TCP, TCP, UDP, 47)),
            answer=random.random() < 0.4,
            flags=random.choice((SYN, ACK, SYN | ACK, RST, FIN | ACK)),
        )


def one_of(service, talk, end):
    return any(selects(each, ip_address(end[0]), talk.protocol, end[1]) for each in service.selectors)


def owed(talk, suspended):
    """Straight from the words of the measure: ZA loses these services, as each is known, and nobody loses anything else."""
    ours = any(ip_address(talk.client[0]) in network for network in (ip_network("10.1.0.0/24"), ip_network("fd01::/64")))
    led = ip_address(talk.led[0])
    opens = talk.protocol != TCP or (talk.flags & (FIN | SYN | RST | ACK)) == SYN
    sends = talk.protocol != TCP or not talk.flags & RST
    counts = opens if talk.answer else sends
    if talk.asked != talk.led:
        if one_of(PAY, talk, talk.asked):
            return False
        if one_of(SEEN, talk, talk.asked):
            protected = one_of(DNS, talk, talk.led) or one_of(PLAIN, talk, talk.led) or one_of(PAY, talk, talk.led)
            local = any(led in network for _, network in LOCAL)
            needed = selects(LICENCE, led, talk.protocol, talk.led[1])
            if protected or local or needed:
                return False
            if ours and counts and "seen" in suspended:
                return True
    if "plain" not in suspended:
        return False
    # Who is known by where packets are led: whichever end it is, and whoever opened the connection.
    source, destination = (talk.led, talk.client) if talk.answer else (talk.client, talk.led)
    home = [any(ip_address(end[0]) in ip_network(each) for each in ("10.1.0.0/24", "fd01::/64")) for end in (source, destination)]
    return (home[0] and sends and one_of(PLAIN, talk, destination)) or (home[1] and opens and one_of(PLAIN, talk, source))


@given(seed=st.integers(0, 2**32), suspended=st.sampled_from((("seen",), ("plain",), ("seen", "plain"))))
def test_a_packet_is_refused_if_and_only_if_a_measure_announced_it_by_the_address_its_client_sees(seed, suspended):
    found = present(suspended)
    for talk in talks(seed):
        assert (walk(BUILT, found, talk.packet()) != "accept") == owed(talk, suspended), talk


def refused(refusing, talk, found):
    """Whether a connection in a flowtable is ended."""
    client, led, asked = ((ip_address(address).packed, port) for address, port in (talk.client, talk.led, talk.asked))
    one = Connection(4 if len(client[0]) == 4 else 6, talk.protocol, client, led, asked, offloaded=True, name=b"")
    return refusing.refuses(one, lambda key: key.key in found.get(key.set, ()), lambda _, __: None)


@given(seed=st.integers(0, 2**32), suspended=st.sampled_from((("seen",), ("plain",), ("seen", "plain"))))
def test_a_connection_in_a_flowtable_is_refused_like_its_packets(seed, suspended):
    found = present(suspended)
    refusing = Refusing.of(BUILT, CATALOGUE, (), KEPT)
    for talk in talks(seed, 100):
        if talk.client == talk.led:
            continue
        told = refused(refusing, talk, found)
        assert told == any(owed(replace(talk, answer=answer, flags=ACK), suspended) for answer in (False, True)), talk


@given(seed=st.integers(0, 2**32))
def test_at_stage_4_a_translated_connection_is_refused_only_if_its_service_was_announced(seed):
    spared = tuple(each for one in CATALOGUE.values() if not one.class_.suspendable for each in one.selectors)
    needs = replace(NEEDS, rest=Rest(ends=frozenset(ends_of(ZA, CATALOGUE)), spared=spared))
    built, found = structure(CATALOGUE, SHAPES, needs), present(("seen",), Terms(stage=4), needs)
    refusing = Refusing.of(built, CATALOGUE, spared, KEPT)
    for talk in talks(seed, 100):
        if talk.asked == talk.led:
            continue
        assert (walk(built, found, talk.packet()) != "accept") == owed(talk, ("seen",)), talk
        if talk.client != talk.led:
            both = any(owed(replace(talk, answer=answer, flags=ACK), ("seen",)) for answer in (False, True))
            assert refused(refusing, talk, found) == both, talk


def test_who_is_not_translated_pays_one_comparison_and_nothing_where_nobody_needs_it():
    base = next(chain for chain in BUILT.chains if chain.hook == "forward")
    assert base.rules[:2] == (EnterTranslated(family=4, chain="asked4"), EnterTranslated(family=6, chain="asked6"))
    without = structure({"plain": PLAIN, "dns": DNS}, SHAPES, replace(NEEDS, kept=()))
    assert not any(isinstance(rule, EnterTranslated | AskedFor) for chain in without.chains for rule in chain.rules)


def test_where_nothing_is_tracked_nothing_refers_to_connection_tracking():
    left = {**CATALOGUE, "seen": replace(SEEN, selectors=())}
    texts = [
        rule_text(rule, {one.name: one for one in built.sets})
        for built in [structure(left, SHAPES, Needs())]
        for chain in built.chains
        for rule in chain.rules
    ]
    assert texts
    assert not any(text.startswith("ct ") or " ct " in text for text in texts)


def test_a_site_that_is_attached_by_a_link_alone_keeps_it_because_nobody_knows_what_is_in_the_site():
    linked = replace(ZA, sites=(replace(ZA.sites[0], attachments=(Attachment(interface="za0"),)),))
    wanted = members(linked, ("seen", "plain"), "za:1", 3_600_000, CATALOGUE, TODAY)
    assert {element.set for element in wanted} == {"plain4if_0", "plain6if_0"}


def test_the_rules_of_translated_connections_in_nfts_words():
    sets = {one.name: one for one in BUILT.sets}
    chains = {chain.name: [rule_text(rule, sets) for rule in chain.rules] for chain in BUILT.chains}
    assert chains["forward"][0] == "meta nfproto ipv4 ct status dnat jump asked4"
    assert chains["asked4"][:4] == [
        "ct direction original meta l4proto tcp ct original ip daddr 198.51.100.10 ct original proto-dst 444 goto kept",
        "ct direction reply meta l4proto tcp ct original ip daddr 198.51.100.10 ct original proto-dst 444 goto kept",
        "ct direction original meta l4proto tcp ct original ip daddr 198.51.100.10 ct original proto-dst 443 goto to4_seen",
        "ct direction reply meta l4proto tcp ct original ip daddr 198.51.100.10 ct original proto-dst 443 goto from4_seen",
    ]
    assert (
        "ct direction original meta l4proto udp ct original ip daddr 198.51.100.10 ct original proto-dst 1194-1196 goto to4_seen"
        in (chains["asked4"])
    )
    assert "ct direction original ct original ip daddr 198.51.100.64/28 goto to4_seen" in chains["asked4"]
    assert chains["to4_seen"][:3] == [
        "ip daddr . meta l4proto . th dport vmap @kept_hosts4",
        "ip daddr . meta l4proto vmap @kept_any4",
        "tcp flags & rst == rst return",
    ]
    assert chains["kept"] == ["counter accept"]


def test_a_catalogue_with_one_view_only_has_the_rules_of_that_one():
    alone = structure({"seen": SEEN}, SHAPES, NEEDS)
    assert [rule.chain for rule in next(chain for chain in alone.chains if chain.hook == "forward").rules] == ["asked4", "asked6"]
    proven(alone, {"seen": SEEN})
    four = replace(SEEN, selectors=SEEN.selectors[:1])
    mixed = structure({"seen": four, "plain": PLAIN}, SHAPES, NEEDS)
    assert not any(chain.name == "asked6" for chain in mixed.chains)
    proven(mixed, {"seen": four, "plain": PLAIN})
    never = structure({"plain": PLAIN, "pay": PAY}, SHAPES, replace(NEEDS, kept=()))
    assert {one.name for one in never.maps if one.name.startswith("kept")} == set()
    proven(never, {"plain": PLAIN, "pay": PAY}, ())
    assert structure({"pay": PAY}, SHAPES, replace(NEEDS, kept=())).chains == ()


@pytest.mark.parametrize(
    ("asked", "led", "expected"),
    [
        (("198.51.100.10", 443), ("10.9.9.1", 8443), True),
        (("198.51.100.10", 444), ("10.9.9.1", 8443), False),
        (("198.51.100.10", 443), ("10.9.9.53", 8443), False),
        (("198.51.100.10", 443), ("10.9.9.2", 8443), False),
        (("198.51.100.10", 443), ("10.1.0.9", 8443), False),
        (("198.51.100.10", 443), ("10.9.9.70", 27000), False),
        (("198.51.100.11", 443), ("10.9.9.1", 8443), False),
        (("198.51.100.10", 443), ("198.51.100.10", 443), False),
    ],
    ids=[
        "as it is seen",
        "what is never cut is asked for",
        "led to what is never cut",
        "led to another service",
        "led back into the site",
        "led to what local software needs",
        "another address",
        "not translated",
    ],
)
def test_packets_and_connections_are_refused_by_what_was_asked_for_only_if_they_are_led_to_nothing_that_stays_on(
    asked, led, expected
):
    found = present(("seen",))
    talk = Talk(client=("10.1.0.5", 40000), asked=asked, led=led, protocol=TCP, answer=False, flags=SYN)
    assert (walk(BUILT, found, talk.packet()) != "accept") is expected is owed(talk, ("seen",))
    client, server, wanted = ((ip_address(address).packed, port) for address, port in (talk.client, led, asked))
    one = Connection(4, TCP, client, server, wanted, offloaded=True, name=b"")
    refusing = Refusing.of(BUILT, CATALOGUE, (), KEPT)
    assert refusing.refuses(one, lambda key: key.key in found.get(key.set, ()), lambda _, __: None) is expected


# --- the proof ----------------------------------------------------------------------------------------------------------


def broken(change):
    """The ruleset with every chain changed."""
    return replace(BUILT, chains=tuple(change(chain) for chain in BUILT.chains))


def without_lookups(chain: Chain) -> Chain:
    if chain.name != "to4_seen":
        return chain
    return replace(chain, rules=tuple(rule for rule in chain.rules if not isinstance(rule, LookupService)))


def later(chain: Chain) -> Chain:
    return replace(chain, rules=(*chain.rules[2:], *chain.rules[:2])) if chain.hook == "forward" else chain


def turned(chain: Chain) -> Chain:
    return replace(
        chain,
        rules=tuple(
            replace(rule, answers=not rule.answers) if isinstance(rule, AskedFor) and rule.chain == "to4_seen" else rule
            for rule in chain.rules
        ),
    )


def pay_last(chain: Chain) -> Chain:
    return (
        replace(chain, rules=tuple(sorted(chain.rules, key=lambda rule: rule.chain == "kept"))) if chain.name == "asked4" else chain
    )


def one_way(chain: Chain) -> Chain:
    if chain.name != "asked6":
        return chain
    return replace(chain, rules=tuple(rule for rule in chain.rules if not (rule.chain == "kept" and rule.answers)))


def one_family(chain: Chain) -> Chain:
    return replace(chain, rules=chain.rules[:1] + chain.rules[2:]) if chain.hook == "forward" else chain


def another_address(chain: Chain) -> Chain:
    plain = {"prefix": ip_network("10.9.9.2/32"), "ports": (8443, 8443), "protocol": L4.TCP}
    return replace(
        chain,
        rules=tuple(
            replace(rule, **plain) if isinstance(rule, AskedFor) and rule.chain == "to4_seen" else rule for rule in chain.rules
        ),
    )


def led_astray(chain: Chain) -> Chain:
    """What is asked of one service is refused to the members of another."""
    return replace(
        chain,
        rules=tuple(
            replace(rule, chain="to4_plain") if isinstance(rule, AskedFor) and rule.chain == "to4_seen" else rule
            for rule in chain.rules
        ),
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_lookups, "could be refused by what its client asked for"),
        (later, "not looked at first"),
        (turned, "where it is not known"),
        (pay_last, "could be refused by where it is led"),
        (one_way, "could be refused by where it is led"),
        (one_family, "could be refused by where it is led"),
        (another_address, "is no address before NAT"),
        (led_astray, "could be refused by what its client asked for"),
    ],
)
def test_the_proof_refuses_a_ruleset_that_forgets_one_of_the_views(change, words):
    proven()
    with pytest.raises(ProofFailed, match=words):
        proven(broken(change))


def test_what_was_asked_for_over_another_protocol_leads_nowhere():
    """A rule behind a rule: no packet has both protocols, so nothing is refused by it."""

    def nested(chain: Chain) -> Chain:
        other = AskedFor(prefix=ip_network("10.9.9.53/32"), protocol=L4.UDP, ports=(53, 53), answers=False, chain="to4_plain")
        return replace(chain, rules=(other,)) if chain.name == "to4_seen" else chain

    tcp = {**CATALOGUE, "seen": replace(SEEN, selectors=SEEN.selectors[:1])}
    built = structure(tcp, SHAPES, NEEDS)
    proven(replace(built, chains=tuple(nested(chain) for chain in built.chains)), tcp)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ((LICENCE,), "site"),
        (KEPT[:-1], "local software"),
        (KEPT[1:], "network|site"),
    ],
    ids=["no site's network", "not what software needs", "one site's network is missing"],
)
def test_the_proof_refuses_a_ruleset_that_spares_too_little(kept, words):
    with pytest.raises(ProofFailed, match=words):
        proven(structure(CATALOGUE, SHAPES, replace(NEEDS, kept=kept)))


def test_the_proof_takes_nothing_for_asked_that_is_known_by_where_it_is_led():
    asked = {**CATALOGUE, "seen": replace(SEEN, selectors=tuple(replace(each, before_nat=False) for each in SEEN.selectors))}
    with pytest.raises(ProofFailed):
        proven(catalogue=asked)


# --- the inventory ------------------------------------------------------------------------------------------------------

SEEN_YAML = (
    "  seen: {class: A, selectors: [{prefixes: [192.0.2.200, '2001:db8:2::200'], protocol: tcp, ports: 443, before_nat: true}]}\n"
)
FIRMS = (
    Firm(id="za", attachments=(("10.1.0.0/24", ""), ("2001:db8:a1::/64", "")), subscriptions=("vpn", "seen", "portal", "dns")),
)


def rules(*, tracked, firms=FIRMS):
    return InForceRules.compile(inventory_of(firms, SERVICES + SEEN_YAML), MONDAY, tracked=tracked)


def test_the_same_files_refuse_it_where_connections_are_tracked_and_leave_it_on_elsewhere():
    here, elsewhere = rules(tracked=True), rules(tracked=False)
    assert here.inseparable == ()
    assert any(name.startswith("seen4") for name in here.sets)
    assert elsewhere.inseparable == ("seen",)
    assert not any(name.startswith("seen") for name in elsewhere.sets)
    assert "TARGET_NOT_SEPARABLE" in elsewhere.unresolved["seen"][1]
    assert elsewhere.needs.kept is None


def test_more_networks_than_a_small_map_holds_leave_it_on():
    many = tuple((f"10.{n >> 7}.{(n & 127) * 2}.0/24", "") for n in range(MOST_KEPT + 1))
    found = rules(tracked=True, firms=(Firm(id="za", attachments=many),))
    assert found.inseparable == ("seen",)
    assert str(MOST_KEPT) in found.unresolved["seen"][1]

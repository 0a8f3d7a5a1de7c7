"""The proof takes every ruleset that is safe and no other one, whatever its names say."""

import re
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agent.errors import ProofFailed
from agent.model import L4, Attachment, Company, Selector, Service, ServiceClass, Shape, Site, Subscription
from agent.proof import prove, prove_members, prove_standing
from agent.rules import (
    Bounds,
    CapMembers,
    Chain,
    DispatchFamily,
    Element,
    LookupService,
    MemberSet,
    Refuse,
    RefuseMembers,
    ServiceEntry,
    ServiceMap,
    Side,
    Structure,
)
from agent.ruleset import key_bytes, members, standing_keys, structure
from tests.core.packet_evaluator import SYN, TCP, UDP, Packet, selects, walk
from tests.core.strategies import TODAY, catalogues, classes, edges, selectors, suspendable


def shape(service, family=4, prefixlen=24, interface=False):
    return Shape(service=service, family=family, prefixlen=prefixlen, interface=interface)


def meet(one: Selector, other: Selector) -> bool:
    """Two selectors have a packet in common: port by port, without intervals."""
    if one.prefix.version != other.prefix.version or not one.prefix.overlaps(other.prefix):
        return False
    if L4.ANY in (one.protocol, other.protocol):
        return True
    ports = [{p for low, high in s.ports or ((0, 65535),) for p in range(low, high + 1)} for s in (one, other)]
    return one.protocol == other.protocol and bool(ports[0] & ports[1])


@st.composite
def crowds(draw):
    """Services and local networks that often get in each other's way, and shapes for some families."""
    services = {
        name: Service(
            id=name, class_=draw(classes), selectors=tuple(draw(st.lists(selectors(draw(blocks)), min_size=1, max_size=2)))
        )
        for name in draw(st.sampled_from((("ged", "vpn"), ("ged", "vpn", "pay"))))
    }
    shapes = [shape(name, family) for name in services for family in draw(st.sampled_from(((4,), (6,), (4, 6), (4, 6))))]
    local = draw(st.lists(selectors(draw(blocks)).map(lambda s: s.prefix), max_size=2))
    return services, shapes, local


blocks = st.sampled_from((0, 1, 2))


@settings(max_examples=200, deadline=None)
@given(crowd=crowds())
def test_the_proof_fails_exactly_when_a_service_meets_another_one_or_a_site(crowd):
    services, shapes, local = crowd
    live = [
        (name, selector)
        for name, service in services.items()
        for selector in service.selectors
        if service.class_.suspendable and shape(name, selector.prefix.version) in shapes
    ]
    unsafe = any(
        meet(selector, other)
        for name, selector in live
        for rest in services.values()
        if rest.id != name
        for other in rest.selectors
    ) or any(
        selector.prefix.version == network.version and selector.prefix.overlaps(network)
        for _, selector in live
        for network in local
    )
    built = structure(services, shapes)
    sites = [("site", network) for network in local]
    if unsafe:
        with pytest.raises(ProofFailed):
            prove(built, [], sites, services)
    else:
        assert {owner.service for owner in prove(built, [], sites, services).owners.values()} == {name for name, _ in live}


@settings(max_examples=60, deadline=None)
@given(catalogue=catalogues(suspendable), data=st.data())
def test_a_protected_selector_planted_into_a_service_is_found_with_a_packet_that_hits_it(catalogue, data):
    service = catalogue[data.draw(st.sampled_from(sorted(catalogue)))]
    target = data.draw(st.sampled_from(service.selectors))
    inside = data.draw(st.sampled_from(edges(target.prefix)[:2]))
    port = data.draw(st.sampled_from([port for span in target.ports or ((80, 443),) for port in span]))
    protocol = L4.TCP if target.protocol is L4.ANY else target.protocol
    planted = Selector(prefix=ip_network(inside), protocol=protocol, ports=((port, port),))
    own = {name: 24 if service.dedicated else None for name, service in catalogue.items()}
    built = structure(catalogue, [replace(shape(name, family), dedicated=own[name]) for name in catalogue for family in (4, 6)])
    with pytest.raises(ProofFailed, match="pay-page") as failed:
        prove(built, [("pay-page", planted)], [], catalogue)
    assert f"{inside} port {port}" in failed.value.witness
    with pytest.raises(ProofFailed, match="own network of site s-1"):
        prove(built, [], [("s-0", ip_network("192.0.2.0/24")), ("s-1", ip_network(inside))], catalogue)


# --- a ruleset that was tampered with, or compiled wrongly ----------------------------------------------------------------

GED = Service(
    id="ged",
    class_=ServiceClass.ANNEX,
    selectors=(
        Selector(prefix=ip_network("203.0.113.10"), protocol=L4.TCP, ports=((443, 443), (445, 445))),
        Selector(prefix=ip_network("2001:db8::10"), protocol=L4.TCP, ports=((443, 443),)),
    ),
)
VPN = Service(id="vpn", class_=ServiceClass.ANNEX, selectors=(Selector(prefix=ip_network("203.0.113.64/26"), protocol=L4.ANY),))
BOTH = {"ged": GED, "vpn": VPN}
BUILT = structure(BOTH, [shape("ged"), shape("ged", 6, 64), shape("vpn")])
SITES = [("za-1", ip_network("10.1.0.0/24")), ("za-1", ip_network("fd01::/64"))]


def with_chain(name, *rules, hook=None):
    chains = [Chain(name=name, rules=rules, hook=hook) if c.name == name else c for c in BUILT.chains]
    if all(c.name != name for c in chains):
        chains.append(Chain(name=name, rules=rules, hook=hook))
    return replace(BUILT, chains=tuple(chains))


def with_entry(map_name, **entry):
    """One entry more, where every packet is looked up."""
    maps = tuple(replace(m, entries=(*m.entries, ServiceEntry(**entry))) if m.name == map_name else m for m in BUILT.maps)
    return replace(BUILT, maps=maps, chains=tuple(replace(c, rules=tuple(map(unbounded, c.rules))) for c in BUILT.chains))


def unbounded(rule):
    return replace(rule, bounds=None) if isinstance(rule, LookupService) else rule


def bounds(prefix, *ports):
    return Bounds(prefix=ip_network(prefix), ports=ports)


HOST = ip_network("203.0.113.99")
WRONG = {
    "refuses everybody": with_chain("to4_ged", Refuse(tcp=False)),
    "caps without asking for a service": with_chain("forward4", CapMembers(set="ged4_24", side=Side.SOURCE)),
    "asks no service first": with_chain("forward4", RefuseMembers(set="ged4_24", side=Side.SOURCE)),
    "asks no service first, by family": with_chain("forward", DispatchFamily(family=4, chain="to4_ged"), hook="forward"),
    "asks another service's set": with_chain("to4_ged", RefuseMembers(set="vpn4_24", side=Side.SOURCE)),
    "asks the wrong end": with_chain("to4_ged", RefuseMembers(set="ged4_24", side=Side.DESTINATION)),
    "looks up the wrong end": with_chain("forward4", LookupService(map="to_hosts4", family=4, side=Side.SOURCE)),
    "knows any protocol at the gateway": with_chain("input4", LookupService(map="to_ranges4", family=4, side=Side.DESTINATION)),
    "sends what nobody announced": with_entry(
        "to_hosts4", prefix=ip_network("203.0.113.11"), protocol=L4.TCP, ports=(443, 443), chain="to4_ged"
    ),
    "sends one port too many": with_entry(
        "to_hosts4", prefix=ip_network("203.0.113.10"), protocol=L4.TCP, ports=(444, 444), chain="to4_ged"
    ),
    "sends one service's traffic to another": with_entry(
        "to_hosts4", prefix=HOST, protocol=L4.TCP, ports=(443, 443), chain="to4_ged"
    ),
    "sends a prefix at the gateway": with_entry(
        "to_hosts4", prefix=ip_network("203.0.113.64/26"), protocol=L4.TCP, ports=(443, 443), chain="to4_vpn"
    ),
    "sends all ports at the gateway": with_entry("to_hosts4", prefix=HOST, protocol=L4.TCP, ports=(0, 65535), chain="to4_vpn"),
    "sends any protocol at the gateway": with_entry("to_hosts4", prefix=HOST, protocol=L4.ANY, ports=(443, 443), chain="to4_vpn"),
    "sends a broader prefix": with_entry(
        "to_ranges4", prefix=ip_network("203.0.113.8/29"), protocol=L4.TCP, ports=(443, 443), chain="to4_ged"
    ),
    "sends every protocol": with_entry(
        "to_ranges4", prefix=ip_network("203.0.113.10"), protocol=L4.ANY, ports=(443, 443), chain="to4_ged"
    ),
    "sends the ports between": with_entry(
        "to_ranges4", prefix=ip_network("203.0.113.10"), protocol=L4.TCP, ports=(443, 445), chain="to4_ged"
    ),
    "runs in a ring": with_chain("to4_ged", DispatchFamily(family=4, chain="forward4")),
    "refers to no chain": with_chain("to4_ged", DispatchFamily(family=4, chain="nowhere")),
    "refers to no map": with_chain("input4", LookupService(map="nowhere", family=4, side=Side.SOURCE)),
    "refers to no set": with_chain("to4_ged", RefuseMembers(set="nowhere", side=Side.SOURCE)),
    "has a chain twice": replace(BUILT, chains=(*BUILT.chains, Chain(name="to4_ged", rules=()))),
    "has a set twice": replace(BUILT, sets=(*BUILT.sets, MemberSet(name="ged4_24", family=4, prefixlen=8, interface=False))),
    "names a set as a map": replace(BUILT, maps=(*BUILT.maps, ServiceMap(name="ged4_24", family=4, ranged=False, entries=()))),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_ruleset_never_passes_that(fault):
    with pytest.raises(ProofFailed):
        prove(WRONG[fault], [], SITES, BOTH)


def test_the_same_ruleset_without_a_fault_passes_and_says_who_owns_each_set():
    owners = prove(BUILT, [], iter(SITES), BOTH).owners
    assert {name: owner.service for name, owner in owners.items()} == {"ged4_24": "ged", "ged6_64": "ged", "vpn4_24": "vpn"}


def test_what_matches_nothing_hurts_nobody():
    """Of another family, beside what was looked up before, or a reset where there is no TCP: no packet is refused by it."""
    other_family = with_entry("to_hosts4", prefix=ip_network("2001:db8::99"), protocol=L4.TCP, ports=(443, 443), chain="to4_vpn")
    beside = with_chain(
        "to4_ged", LookupService(map="to_ranges4", family=4, side=Side.DESTINATION), RefuseMembers(set="ged4_24", side=Side.SOURCE)
    )
    for built in (other_family, beside):
        assert {name for name, owner in prove(built, [], SITES, BOTH).owners.items() if owner.service == "ged"} == {
            "ged4_24",
            "ged6_64",
        }
    udp = replace(VPN, selectors=(Selector(prefix=ip_network("203.0.113.11"), protocol=L4.UDP, ports=((500, 500),)),))
    assert set(prove(structure({"vpn": udp}, [shape("vpn")]), [], SITES, {"vpn": udp}).owners) == {"vpn4_24"}


@pytest.mark.parametrize(
    ("within", "seen"),
    [
        (bounds("203.0.113.8/29", 443, 443), False),
        (bounds("203.0.113.99/32", 0, 442), False),
        (bounds("2001:db8::/32", 0, 65535), False),
        (bounds("203.0.113.98/31", 443, 443), True),
        (bounds("203.0.113.99/32", 0, 443), True),
    ],
)
def test_an_entry_out_of_the_bounds_of_its_look_up_refuses_nothing_and_one_within_counts(within, seen):
    """Of the look-up on the way to the services; the one at the gateway, and the one of answers, keep the bounds they had."""
    wrong = replace(
        BUILT,
        maps=with_entry("to_hosts4", prefix=HOST, protocol=L4.TCP, ports=(443, 443), chain="to4_ged").maps,
        chains=with_chain("forward4", LookupService(map="to_hosts4", family=4, side=Side.DESTINATION, bounds=within)).chains,
    )
    if seen:
        with pytest.raises(ProofFailed, match="no service announced"):
            prove(wrong, [], SITES, {"ged": GED})
    else:
        assert set(prove(wrong, [], SITES, {"ged": GED, "vpn": VPN}).owners) <= {"ged4_24", "ged6_64", "vpn4_24"}


@pytest.mark.parametrize(
    ("planted", "said", "packet"),
    [
        ("203.0.113.10", "traffic of pay, which may never be hit", "tcp packet of a member of ged4_24 to 203.0.113.10 port 443"),
        ("203.0.113.70", "traffic of pay, which may never be hit", "tcp packet of a member of vpn4_24 to 203.0.113.70 port 443"),
    ],
)
def test_traffic_that_may_never_be_hit_stops_the_ruleset_with_a_packet_as_witness(planted, said, packet):
    pay = Selector(prefix=ip_network(planted), protocol=L4.TCP, ports=((443, 443),))
    with pytest.raises(ProofFailed, match=said) as failed:
        prove(BUILT, [("pay", pay)], SITES, BOTH)
    assert packet in failed.value.witness


@pytest.mark.parametrize(
    ("network", "said", "packet"),
    [
        ("203.0.113.0/26", "ged reaches into 203.0.113.0/26, the own network of site za-9", "tcp packet .* 203.0.113.10 port 4"),
        ("203.0.113.66/32", "vpn reaches into 203.0.113.66/32", "a .* packet within the site to or from 203.0.113.66$"),
        ("2001:db8::/64", "ged reaches into 2001:db8::/64", "to or from 2001:db8::10 port 443"),
    ],
)
def test_a_service_inside_a_site_stops_the_ruleset_with_a_packet_as_witness(network, said, packet):
    with pytest.raises(ProofFailed, match=said) as failed:
        prove(BUILT, [], [*SITES, ("za-9", ip_network(network)), ("za-8", ip_network("198.51.100.0/24"))], BOTH)
    assert re.search(packet, failed.value.witness)


def test_an_empty_ruleset_passes():
    assert prove(Structure(), [], SITES, BOTH).owners == {}


def test_names_prove_nothing_either_way():
    """A map with a misleading name is fine as long as what it does is what was announced."""
    renamed = with_chain("forward4", LookupService(map="innocent", family=4, side=Side.DESTINATION))
    entries = next(m.entries for m in BUILT.maps if m.name == "to_hosts4")
    renamed = replace(renamed, maps=(*renamed.maps, ServiceMap(name="innocent", family=4, ranged=True, entries=entries)))
    assert "ged4_24" in prove(renamed, [], SITES, BOTH).owners


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_no_ruleset_that_passes_refuses_a_protected_packet_however_it_was_mangled(data):
    """Random rules in the place of compiled ones: what still passes is still safe, packet by packet."""
    rules = st.lists(
        st.sampled_from([rule for chain in BUILT.chains for rule in chain.rules] + FOREIGN_RULES), min_size=1, max_size=3
    )
    chains = tuple(
        replace(chain, rules=tuple(data.draw(rules))) if data.draw(st.integers(0, 4)) == 0 else chain for chain in BUILT.chains
    )
    mangled = replace(BUILT, chains=chains)
    pay = Selector(prefix=ip_network("203.0.113.10"), protocol=L4.TCP, ports=((80, 80),))
    try:
        prove(mangled, [("pay", pay)], SITES, BOTH)
    except ProofFailed:
        assume(mangled != BUILT)
        return
    everybody = {
        "ged4_24": {bytes((10, 1, 0, 0))},
        "vpn4_24": {bytes((10, 1, 0, 0))},
        "ged6_64": {ip_address("fd01::").packed},
    }
    for source in ("10.1.0.9", "10.1.0.5", "203.0.113.10", "203.0.113.99", "198.51.100.1"):
        for destination in ("10.1.0.9", "10.1.0.5", "203.0.113.10", "203.0.113.99", "198.51.100.1"):
            for protocol in (TCP, UDP, 58):
                for port in (80, 443):
                    for hook in ("forward", "input"):
                        packet = Packet(
                            hook=hook,
                            source=ip_address(source),
                            destination=ip_address(destination),
                            protocol=protocol,
                            source_port=port,
                            destination_port=port,
                            flags=SYN,
                        )
                        if walk(mangled, everybody, packet) != "accept":
                            far = packet.destination if source.startswith("10.1.") else packet.source
                            announced = [s for s in (*GED.selectors, *VPN.selectors) if selects(s, far, protocol, port)]
                            assert announced
                            assert not selects(pay, far, protocol, port)
                            assert {source[:5], destination[:5]} == {"10.1.", "203.0"}


FOREIGN_RULES = [
    RefuseMembers(set="ged4_24", side=Side.DESTINATION),
    RefuseMembers(set="vpn4_24", side=Side.SOURCE),
    LookupService(map="to_ranges4", family=4, side=Side.SOURCE),
    LookupService(map="from_hosts4", family=4, side=Side.DESTINATION),
    LookupService(map="to_hosts4", family=4, side=Side.SOURCE, bounds=bounds("203.0.113.8/29", 80, 443)),
    LookupService(map="to_ranges4", family=4, side=Side.DESTINATION, bounds=bounds("203.0.113.96/29", 80, 80)),
    LookupService(map="from_ranges4", family=4, side=Side.DESTINATION, bounds=bounds("10.0.0.0/8", 80, 80)),
    DispatchFamily(family=4, chain="to4_vpn"),
]


# --- members ----------------------------------------------------------------------------------------------------------

PLACES = (
    Attachment(prefix=ip_network("10.1.0.0/24")),
    Attachment(prefix=ip_network("fd01::/64")),
)
ZA = Company(
    id="za",
    name="ZA",
    group="g",
    policy="p",
    contract="c",
    sites=(Site(id="za-1", timezone="Europe/Paris", attachments=PLACES),),
    subscriptions=(Subscription(service="ged"), Subscription(service="vpn")),
)
PROVEN = prove(BUILT, [], SITES, BOTH)


def element(set_name="ged4_24", key=None, timeout_ms=60_000):
    return Element(set=set_name, key=key or bytes((10, 1, 0, 0)), case="case-1", timeout_ms=timeout_ms)


def test_the_members_of_a_measure_pass():
    wanted = members(ZA, ("ged", "vpn"), "case-1", 60_000, BOTH, TODAY)
    assert len(wanted) == 3
    prove_members(wanted, ZA, ("ged", "vpn"), PROVEN)


def subscribed(**change):
    return replace(ZA, subscriptions=(Subscription(service="ged", **change),))


@pytest.mark.parametrize(
    ("wanted", "company", "services", "why"),
    [
        (element(key=bytes((10, 2, 0, 0))), ZA, ("ged",), "no attachment"),
        (element(key=bytes((10, 1, 0, 1))), ZA, ("ged",), "no attachment"),
        (element(key=b"short"), ZA, ("ged",), "no attachment"),
        (element(key=key_bytes(PLACES[0].prefix, "za0")), ZA, ("ged",), "no attachment"),
        (element("vpn4_24"), ZA, ("ged",), "vpn, which the measure does not name"),
        (element("pay4_24"), ZA, ("ged", "pay"), "no service owns set pay4_24"),
        (element(), replace(ZA, subscriptions=()), ("ged",), "in no class that may be suspended"),
        (element(), subscribed(class_=ServiceClass.LOCAL), ("ged",), "in no class that may be suspended"),
        (element(), subscribed(sites=("za-2",)), ("ged",), "not subscribed to for that site"),
        (element(timeout_ms=0), ZA, ("ged",), "without an end of the lease"),
    ],
)
def test_an_element_that_no_living_measure_covers_is_stopped(wanted, company, services, why):
    good = element("ged6_64", PLACES[1].prefix.network_address.packed)
    with pytest.raises(ProofFailed, match=why):
        prove_members((good, wanted) if company is ZA else (wanted,), company, services, PROVEN)


def test_keys_that_were_compiled_for_a_company_pass_for_a_measure_that_names_their_service():
    keys = standing_keys(ZA, BOTH)
    assert {service for service, _, _ in keys} == {"ged", "vpn"}
    prove_standing(keys, ("ged", "vpn"), PROVEN)


@pytest.mark.parametrize(
    ("key", "services", "why"),
    [
        (("vpn", "ged4_24", bytes(4)), ("ged", "vpn"), "was compiled for vpn and could refuse ged"),
        (("vpn", "vpn4_24", bytes(4)), ("ged",), "could refuse vpn, of which the measure names"),
        (("ged", "ged4_24", bytes(16)), ("ged",), "key 0{32}"),
        (("pay", "pay4_24", bytes(4)), ("pay",), "no service owns set pay4_24"),
    ],
)
def test_a_compiled_key_that_the_structure_takes_for_something_else_is_stopped(key, services, why):
    with pytest.raises(ProofFailed, match=why):
        prove_standing((key,), services, PROVEN)


def test_an_element_that_is_stopped_is_named_as_a_person_would():
    with pytest.raises(ProofFailed, match=r"ged4_24 is no attachment of company za; for example 10\.2\.0\.0/24"):
        prove_members((element(key=bytes((10, 2, 0, 0))),), ZA, ("ged",), PROVEN)


# --- dedicated services -----------------------------------------------------------------------------------------------

SERVER = Service(
    id="server",
    class_=ServiceClass.ANNEX,
    dedicated=True,
    selectors=(
        Selector(prefix=ip_network("198.51.100.64/26"), protocol=L4.ANY),
        Selector(prefix=ip_network("2001:db8:d::/64"), protocol=L4.TCP, ports=((22, 22), (443, 443))),
    ),
)
RENTED = {**BOTH, "server": SERVER}
OWN = (ip_network("198.51.100.77"), ip_network("2001:db8:d::/80"))
RENTERS = {
    "za": replace(ZA, subscriptions=(*ZA.subscriptions, Subscription(service="server", addresses=OWN))),
    "zb": replace(ZA, id="zb", subscriptions=(Subscription(service="server", addresses=(ip_network("198.51.100.78"),)),)),
}
RENTED_SHAPES = [replace(shape("server"), dedicated=32), replace(shape("server", 6, 64), dedicated=80)]
RENTED_BUILT = structure(RENTED, [*RENTED_SHAPES, shape("ged"), shape("vpn")])
RENTED_PROVEN = prove(RENTED_BUILT, [], SITES, RENTED)


def test_a_member_of_a_dedicated_service_is_its_place_together_with_its_own_addresses():
    wanted = members(RENTERS["za"], ("server",), "case-1", 60_000, RENTED, TODAY)
    assert {(one.set, one.key) for one in wanted} == {
        ("server4_24_32", bytes((10, 1, 0, 0, 198, 51, 100, 77))),
        ("server6_64_80", ip_address("fd01::").packed + ip_address("2001:db8:d::").packed),
    }
    prove_members(wanted, RENTERS["za"], ("server",), RENTED_PROVEN)
    prove_standing(standing_keys(RENTERS["zb"], RENTED), ("server",), RENTED_PROVEN)


@pytest.mark.parametrize(
    ("company", "far"),
    [("zb", "198.51.100.77"), ("za", "198.51.100.78"), ("za", "198.51.100.0"), ("za", "203.0.113.70")],
)
def test_nobody_loses_what_is_dedicated_to_somebody_else_or_to_nobody(company, far):
    key = bytes((10, 1, 0, 0)) + ip_address(far).packed
    with pytest.raises(ProofFailed, match=f"at addresses that are not dedicated to company {company}"):
        prove_members([element("server4_24_32", key)], RENTERS[company], ("server",), RENTED_PROVEN)


def test_a_key_of_a_dedicated_service_without_its_own_addresses_or_from_another_place_is_refused():
    for key, why in ((bytes((10, 1, 0, 0)), "not dedicated to"), (bytes((10, 9, 0, 0, 198, 51, 100, 77)), "is no attachment of")):
        with pytest.raises(ProofFailed, match=f"{why} company za"):
            prove_members([element("server4_24_32", key)], RENTERS["za"], ("server",), RENTED_PROVEN)


def test_a_set_that_would_refuse_every_customers_part_of_a_dedicated_service_is_never_loaded():
    shared = structure({**RENTED, "server": replace(SERVER, dedicated=False)}, [shape("server")])
    with pytest.raises(ProofFailed, match="set server4_24 asks for no address of the dedicated service server"):
        prove(shared, [], SITES, RENTED)


def test_a_dedicated_service_meets_nothing_that_is_never_cut():
    with pytest.raises(ProofFailed, match="pay"):
        prove(RENTED_BUILT, [("pay", Selector(prefix=ip_network("198.51.100.80"), protocol=L4.UDP))], SITES, RENTED)


@pytest.mark.parametrize(
    ("to", "verdict"), [("198.51.100.77", "prohibited"), ("198.51.100.78", "accept"), ("198.51.100.76", "accept")]
)
def test_a_debtor_loses_its_own_server_and_reaches_those_of_others_both_ways(to, verdict):
    present: dict[str, set[bytes]] = {}
    for one in members(RENTERS["za"], ("server",), "case-1", 60_000, RENTED, TODAY):
        present.setdefault(one.set, set()).add(one.key)
    out = Packet(source=ip_address("10.1.0.9"), destination=ip_address(to), protocol=UDP, source_port=9, destination_port=9)
    back = replace(out, source=out.destination, destination=out.source)
    assert walk(RENTED_BUILT, present, out) == verdict
    assert walk(RENTED_BUILT, present, back) == verdict
    other = replace(out, source=ip_address("10.2.0.9"))
    assert walk(RENTED_BUILT, present, other) == "accept"

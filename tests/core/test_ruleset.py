"""The compiled ruleset refuses what was announced, and nothing else; checked packet by packet."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import L4, Attachment, Company, Links, Selector, Service, ServiceClass, Shape, Site, Subscription, Terms
from agent.nfttext import render
from agent.proof import prove, prove_members
from agent.rules import Bounds, CapMembers, Key, LookupService, MemberSet, PassMembers, RefuseMembers, Use
from agent.ruleset import Needs, candidates, chain_name, key_bytes, members, read_key, set_name, standing_keys, stem, structure
from tests.core.packet_evaluator import ACK, NEVER_CUT, RST, SYN, TCP, UDP, Packet, fate, has, owed, selects, walk
from tests.core.strategies import (
    LINKS,
    SERVICE_IDS,
    TODAY,
    VRFS,
    World,
    edges,
    networks,
    networks_of,
    selectors,
    shapes_of,
    storms,
    worlds,
)

LEASE_MS = 4 * 3600 * 1000


def compiled(world: World):
    """The structure, proven, and every member that the measures of `world` want."""
    built = structure(world.catalogue, shapes_of(world.companies))
    proven = prove(built, [], networks_of(world.companies), world.catalogue)
    present: dict[str, set[bytes]] = {}
    for company in world.companies:
        suspended = world.measures.get(company.id, ())
        wanted = members(company, suspended, "case-1", LEASE_MS, world.catalogue, TODAY, links=LINKS)
        prove_members(wanted, company, suspended, proven, LINKS)
        for element in wanted:
            present.setdefault(element.set, set()).add(element.key)
    return built, present


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_packet_is_refused_if_and_only_if_a_living_measure_announced_it(data):
    world = data.draw(worlds(wide=True))
    built, present = compiled(world)
    for packet in data.draw(storms(world)):
        refused = walk(built, present, packet) != "accept"
        assert refused == owed(packet, world.companies, world.measures, world.catalogue, TODAY, VRFS), packet


def terms_of_a_measure():
    """Every stage, with a cap or without, draining or not."""
    return st.builds(
        Terms, stage=st.sampled_from((1, 2, 2, 3)), kbit=st.sampled_from((0, 512)), drain_ms=st.sampled_from((0, 0, 60_000))
    )


@settings(max_examples=50, deadline=None)
@given(data=st.data(), tracked=st.booleans())
def test_a_packet_is_refused_or_capped_as_the_terms_of_the_measures_say(data, tracked):
    world = data.draw(worlds())
    measures = {company: (services, data.draw(terms_of_a_measure())) for company, services in world.measures.items()}
    needs = Needs(cap=True, drain=True, tracked=tracked)
    built = structure(world.catalogue, shapes_of(world.companies), needs)
    proven = prove(built, [], networks_of(world.companies), world.catalogue)
    present: dict[str, set[bytes]] = {}
    for company in world.companies:
        services, terms = measures.get(company.id, ((), Terms()))
        wanted = members(company, services, "case-1", LEASE_MS, world.catalogue, TODAY, terms=terms, links=LINKS)
        prove_members(wanted, company, services, proven, LINKS)
        for element in wanted:
            assert (element.kbit == terms.kbit) == (element.kbit > 0 or terms.kbit == 0)
            present.setdefault(element.set, set()).add(element.key)
        assert {Key(set=e.set, key=e.key) for e in wanted} <= set(candidates(company, world.catalogue, LINKS, needs))
    for packet in data.draw(storms(world)):
        for established in (False, True):
            one = replace(packet, established=established)
            found = walk(built, present, one)
            said = "refused" if found in ("reset", "prohibited") else found
            assert said == fate(one, world.companies, measures, world.catalogue, TODAY, tracked=tracked, vrfs=VRFS), one


@settings(max_examples=50, deadline=None)
@given(world=worlds(wide=True))
def test_every_announced_service_is_refused_from_every_address_edge_of_the_debtor(world):
    built, present = compiled(world)
    for company in world.companies:
        for service_id in world.measures.get(company.id, ()):
            for place, home, selector in announced_pairs(company, service_id, world):
                far = selector.prefix.broadcast_address
                udp = selector.protocol is not L4.TCP
                for near in (home.network_address, home.broadcast_address):
                    for port in {port for span in selector.ports or ((7, 7),) for port in span}:
                        out = Packet(
                            source=near,
                            destination=far,
                            protocol=UDP if udp else TCP,
                            destination_port=port,
                            interface_in=place.link or "eth1",
                        )
                        back = Packet(
                            source=far,
                            destination=near,
                            protocol=UDP if udp else TCP,
                            source_port=port,
                            flags=SYN,
                            interface_out=f"m{place.vrf[3:]}b" if place.vrf else place.interface or "eth1",
                        )
                        assert walk(built, present, out) == ("prohibited" if udp else "reset")
                        assert walk(built, present, back) == ("prohibited" if udp else "reset")


def announced_pairs(company: Company, service_id: str, world: World):
    """Attachments where the company really loses the service, each with each selector of its family."""
    service, subscription = world.catalogue.get(service_id), company.subscription(service_id)
    if service and subscription and not {service.class_, subscription.class_} & NEVER_CUT:
        for site, place in company.attachments():
            valid = (place.valid_from or TODAY) <= TODAY <= (place.valid_to or TODAY)
            if valid and (not subscription.sites or site.id in subscription.sites):
                for home in networks(place):
                    for selector in service.selectors:
                        mine = has(service, subscription, selector.prefix.broadcast_address)
                        if selector.prefix.version == home.version and mine:
                            yield place, home, selector


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_packet_within_a_site_or_of_a_protected_service_is_ever_refused(data):
    world = data.draw(worlds(wide=True))
    built, present = compiled(world)
    networks = [network for _, network in networks_of(world.companies)]
    guarded = [s for service in world.catalogue.values() if service.class_ in NEVER_CUT for s in service.selectors]
    for packet in data.draw(storms(world)):
        within = any(packet.source in n for n in networks) and any(packet.destination in n for n in networks)
        protected = any(
            selects(s, packet.destination, packet.protocol, packet.destination_port)
            or selects(s, packet.source, packet.protocol, packet.source_port)
            for s in guarded
        )
        if within or protected:
            assert walk(built, present, packet) == "accept", packet


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_may_be_read_back_covers_what_may_ever_be_wanted(data):
    world = data.draw(worlds(wide=True))
    day = TODAY + timedelta(days=data.draw(st.integers(-3, 3)))
    for company in world.companies:
        gone = data.draw(st.frozensets(st.sampled_from((*VRFS, *(f"if{n}" for n in range(30))))))
        there = Links(present=frozenset({*VRFS, *sum(VRFS.values(), ()), *(f"if{n}" for n in range(30))}) - gone, members=VRFS)
        possible = {(key.set, key.key) for key in candidates(company, world.catalogue, there)}
        wanted = members(company, tuple(world.catalogue), "case-1", LEASE_MS, world.catalogue, day, links=there)
        assert not any(e.key[:16].rstrip(b"\0").decode() in gone for e in wanted if len(e.key) >= 16 and "if_" in e.set)
        assert {(e.set, e.key) for e in wanted} <= possible
        assert list(wanted) == sorted(wanted, key=lambda e: (e.set, e.key))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_keys_compiled_ahead_are_what_a_measure_wants_on_any_day(data):
    world = data.draw(worlds(wide=True))
    day = TODAY + timedelta(days=data.draw(st.integers(-3, 3)))
    services = data.draw(st.frozensets(st.sampled_from(sorted(world.catalogue)))) if world.catalogue else frozenset()
    for company in world.companies:
        ahead = standing_keys(company, world.catalogue)
        moving = any(place.valid_from or place.valid_to or place.vrf for _, place in company.attachments())
        wanted = members(company, services, "case-1", LEASE_MS, world.catalogue, day)
        if moving:
            assert ahead == ()
        else:
            assert {(name, key) for service, name, key in ahead if service in services} == {(e.set, e.key) for e in wanted}


@settings(max_examples=30, deadline=None)
@given(world=worlds(wide=True), data=st.data())
def test_the_order_of_services_shapes_and_selectors_changes_nothing(world, data):
    shapes = list(shapes_of(world.companies))
    shuffled = {
        id_: replace(world.catalogue[id_], selectors=tuple(data.draw(st.permutations(world.catalogue[id_].selectors))))
        for id_ in data.draw(st.permutations(sorted(world.catalogue)))
    }
    assert structure(shuffled, iter(data.draw(st.permutations(shapes)))) == structure(world.catalogue, shapes)
    company = world.companies[0]
    suspended = data.draw(st.permutations(sorted(world.catalogue)))
    again = members(company, suspended * 2, "case-1", LEASE_MS, shuffled, TODAY)
    assert again == members(company, sorted(suspended), "case-1", LEASE_MS, world.catalogue, TODAY)


@settings(max_examples=200, deadline=None)
@given(chosen=st.lists(selectors(), min_size=2, max_size=6), family=st.sampled_from((4, 6)))
def test_map_entries_are_the_selectors_without_overlap_so_the_kernel_takes_them(chosen, family):
    service = Service(id="ged", class_=ServiceClass.ANNEX, selectors=tuple(chosen))
    built = structure({"ged": service}, [shape(family=family)])
    mine = [selector for selector in chosen if selector.prefix.version == family]
    for way in ("to", "from"):
        entries = {m.ranged: m.entries for m in built.maps if m.name.startswith(way)}
        for address in {address for selector in mine for address in edges(selector.prefix)}:
            for port in {0, 65535} | {port + step for s in mine for span in s.ports for port in span for step in (-1, 0, 1)}:
                for protocol in (L4.TCP, L4.UDP, L4.ANY):
                    number = {L4.TCP: TCP, L4.UDP: UDP, L4.ANY: 47}[protocol]
                    hits = {
                        ranged: sum(
                            address in e.prefix and e.protocol in (protocol, L4.ANY) and e.ports[0] <= port <= e.ports[1]
                            for e in listed
                        )
                        for ranged, listed in entries.items()
                    }
                    wanted = any(selects(s, address, number, port) for s in mine) and 0 <= port <= 65535
                    assert bool(sum(hits.values())) == wanted
                    assert all(times <= 1 for times in hits.values())
    for services in built.maps:
        if not services.ranged:
            assert all(e.prefix.num_addresses == 1 and e.ports[0] == e.ports[1] for e in services.entries)


# --- names and keys ---------------------------------------------------------------------------------------------------

ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True) | st.sampled_from(SERVICE_IDS) | st.text(min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(one=ids, other=ids)
def test_different_services_never_share_a_name(one, other):
    def names(service):
        kinds = ((4, 24), (4, 32), (6, 2), (6, 128))
        sets = {set_name(service, family, length, interface=i) for family, length in kinds for i in (False, True)}
        assert len(sets) == 8
        return sets | {chain_name(service, family, way) for family in (4, 6) for way in ("to", "from")}

    assert one == other or not names(one) & names(other)


@given(service=ids)
def test_a_name_is_an_nft_identifier_of_at_most_31_bytes(service):
    for name in (set_name(service, 6, 128, interface=True), chain_name(service, 6, "from")):
        assert len(name.encode()) <= 31
        assert name[0].isalpha()
        assert all(c.isascii() and (c.islower() or c.isdigit() or c in "-_") for c in name)


def test_a_long_id_keeps_a_readable_beginning():
    assert stem("ged") == "ged"
    assert stem("shared-documents-of-the-group").startswith("shared-do_")


@given(
    network=st.ip_addresses(v=4).flatmap(lambda a: st.integers(1, 32).map(lambda n: ip_network((a, n), strict=False)))
    | st.ip_addresses(v=6).flatmap(lambda a: st.integers(1, 128).map(lambda n: ip_network((a, n), strict=False))),
    interface=st.none() | st.from_regex(r"[a-z0-9.@-]{1,15}", fullmatch=True),
)
def test_a_key_reads_back_as_the_attachment_it_was_made_of(network, interface):
    members_ = MemberSet(name="x4_1", family=network.version, prefixlen=network.prefixlen, interface=interface is not None)
    assert read_key(members_, key_bytes(network, interface)) == (interface, network)


@pytest.mark.parametrize("interface", ["", "a-name-of-16-byt", "ééééééééé"])
def test_an_interface_name_that_the_kernel_can_not_have_is_an_error(interface):
    with pytest.raises(ValueError, match="1 to 15 bytes"):
        key_bytes(ip_network("10.0.0.0/8"), interface)


# --- the shape of things ----------------------------------------------------------------------------------------------

GED = Service(
    id="ged",
    class_=ServiceClass.ANNEX,
    selectors=(
        Selector(prefix=ip_network("203.0.113.10"), protocol=L4.TCP, ports=((443, 443),)),
        Selector(prefix=ip_network("2001:db8::10"), protocol=L4.TCP, ports=((443, 443),)),
    ),
)
BOTH = (
    Attachment(prefix=ip_network("10.1.0.0/24"), interface="za0"),
    Attachment(prefix=ip_network("fd01::/64"), interface="za0"),
)


def company(*, attachments=BOTH, **subscription):
    site = Site(id="za-1", timezone="Europe/Paris", attachments=attachments)
    return Company(
        id="za",
        name="ZA",
        group="g",
        policy="p",
        contract="c",
        sites=(site,),
        subscriptions=(Subscription(service="ged", **subscription),),
    )


def shape(service="ged", family=4, prefixlen=24, interface=False):
    return Shape(service=service, family=family, prefixlen=prefixlen, interface=interface)


def test_nothing_is_made_for_services_that_nobody_has_or_that_are_never_cut():
    guarded = {"ged": replace(GED, class_=ServiceClass.PAY)}
    assert structure(guarded, [shape()]) == structure({}, [shape()]) == structure({"ged": GED}, []) == structure({}, [])
    assert structure({}, []).chains == ()


def test_a_packet_of_no_suspendable_service_costs_one_hash_lookup_each_way():
    built = structure({"ged": GED}, [shape()])
    lookups = next(chain for chain in built.chains if chain.name == "forward4").rules
    assert [rule.map for rule in lookups if isinstance(rule, LookupService)] == ["to_hosts4", "from_hosts4"]


def test_a_packet_that_is_for_no_address_or_port_of_a_service_is_not_looked_up_at_all():
    built = structure({"ged": GED}, [shape(), shape(family=6, prefixlen=64)])
    for family, host in ((4, "203.0.113.10"), (6, "2001:db8::10")):
        rules = next(chain for chain in built.chains if chain.name == f"forward{family}").rules
        assert {rule.bounds for rule in rules} == {Bounds(prefix=ip_network(host), ports=(443, 443))}


@settings(max_examples=60, deadline=None)
@given(chosen=st.lists(st.integers(0, 60).flatmap(selectors), min_size=1, max_size=30))
def test_however_many_services_there_are_a_packet_is_compared_with_few_bounds_and_every_entry_is_within_one(chosen):
    catalogue = {f"s{n}": Service(id=f"s{n}", class_=ServiceClass.ANNEX, selectors=(one,)) for n, one in enumerate(chosen)}
    built = structure(catalogue, [shape(name, family) for name in catalogue for family in (4, 6)])
    for services in built.maps:
        asking = [
            [rule for rule in chain.rules if isinstance(rule, LookupService) and rule.map == services.name]
            for chain in built.chains
        ]
        for rules in (found for found in asking if found):
            assert len(rules) <= 2
            for entry in services.entries:
                within = [rule for rule in rules if entry.prefix.subnet_of(rule.bounds.prefix)]
                assert len(within) == 1
                (low, high) = within[0].bounds.ports
                assert low <= entry.ports[0] <= entry.ports[1] <= high


def test_the_longest_prefix_is_asked_first():
    built = structure({"ged": GED}, [shape(prefixlen=n) for n in (8, 32, 24)])
    chain = next(chain for chain in built.chains if chain.name == "to4_ged")
    assert [rule.set for rule in chain.rules[1:]] == ["ged4_32", "ged4_24", "ged4_8"]


def test_the_gateways_own_addresses_are_refused_for_named_ports_only():
    broad = Service(
        id="all", class_=ServiceClass.ANNEX, selectors=(Selector(prefix=ip_network("203.0.112.0/24"), protocol=L4.ANY),)
    )
    built = structure({"ged": GED, "all": broad}, [shape(), shape("all")])
    present = {"ged4_24": {bytes((10, 1, 0, 0))}, "all4_24": {bytes((10, 1, 0, 0))}}
    packet = Packet(source=ip_address("10.1.0.9"), destination=ip_address("203.0.113.10"), hook="input")
    assert walk(built, present, packet) == "reset"
    anything = replace(packet, destination=ip_address("203.0.112.9"))
    assert walk(built, present, anything) == "accept"
    assert walk(built, present, replace(anything, hook="forward")) == "reset"


@pytest.mark.parametrize(("last", "verdict"), [(458, "reset"), (459, "accept")])
def test_at_the_gateway_a_host_counts_with_up_to_sixteen_ports(last, verdict):
    host = Selector(prefix=ip_network("203.0.113.10"), protocol=L4.TCP, ports=((443, last),))
    built = structure({"ged": replace(GED, selectors=(host,))}, [shape()])
    packet = Packet(source=ip_address("10.1.0.9"), destination=ip_address("203.0.113.10"), destination_port=450)
    present = {"ged4_24": {bytes((10, 1, 0, 0))}}
    assert walk(built, present, packet) == "reset"
    assert walk(built, present, replace(packet, hook="input")) == verdict


def test_the_end_of_a_connection_passes_both_ways():
    built = structure({"ged": GED}, [shape()])
    present = {"ged4_24": {bytes((10, 1, 0, 0))}}
    out = Packet(source=ip_address("10.1.0.9"), destination=ip_address("203.0.113.10"))
    back = replace(out, source=out.destination, destination=out.source, source_port=443, destination_port=40_000)
    assert [walk(built, present, replace(out, flags=f)) for f in (SYN, ACK, RST, RST | ACK)] == [
        "reset",
        "reset",
        "accept",
        "accept",
    ]
    assert [walk(built, present, replace(back, flags=f)) for f in (SYN, ACK, SYN | ACK, RST)] == [
        "reset",
        "accept",
        "accept",
        "accept",
    ]


def test_both_families_of_a_company_are_suspended_together():
    wanted = members(company(), ("ged",), "case-1", LEASE_MS, {"ged": GED}, TODAY)
    assert [element.set for element in wanted] == ["ged4if_24", "ged6if_64"]
    assert {element.case for element in wanted} == {"case-1"}
    assert wanted[0].key == b"za0".ljust(16, b"\0") + bytes((10, 1, 0, 0))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"class_": ServiceClass.DEPENDENCY}, "narrowed to never-cut"),
        ({"sites": ("elsewhere",)}, "for another site"),
        ({"attachments": (replace(BOTH[0], valid_to=TODAY - timedelta(days=1)),)}, "attachment ended yesterday"),
        ({"attachments": (replace(BOTH[0], valid_from=TODAY + timedelta(days=1)),)}, "attachment starts tomorrow"),
    ],
)
def test_in_doubt_the_service_stays_on(change, why):
    assert members(company(**change), ("ged",), "case-1", LEASE_MS, {"ged": GED}, TODAY) == (), why
    assert candidates(company(**change), {"ged": GED}) != (), "what was put there before must be found"


@pytest.mark.parametrize("timeout_ms", [0, -1])
def test_a_lease_that_is_over_wants_nothing_since_no_timeout_would_mean_for_ever(timeout_ms):
    assert members(company(), ("ged",), "case-1", timeout_ms, {"ged": GED}, TODAY) == ()


def test_no_element_outlives_its_attachment():
    ending = company(attachments=(replace(BOTH[0], valid_to=TODAY + timedelta(days=1)), BOTH[1]))
    wanted = members(ending, ("ged",), "case-1", 10**9, {"ged": GED}, TODAY, day_ends_ms=1000)
    assert [element.timeout_ms for element in wanted] == [1000 + 86_400_000, 10**9]


def test_of_two_attachments_of_one_place_the_lease_that_ends_first_counts():
    twice = company(attachments=(replace(BOTH[0], valid_to=TODAY), BOTH[0], replace(BOTH[0], valid_to=TODAY + timedelta(days=1))))
    wanted = members(twice, ("ged",), "case-1", 10**9, {"ged": GED}, TODAY, day_ends_ms=1000)
    assert [element.timeout_ms for element in wanted] == [1000]


def test_a_measure_that_only_gives_notice_wants_nothing_in_the_kernel():
    assert members(company(), ("ged",), "case-1", 60_000, {"ged": GED}, TODAY, terms=Terms(stage=1)) == ()
    assert members(company(), ("ged",), "case-1", 60_000, {"ged": GED}, TODAY, terms=Terms(stage=3)) != ()


def test_keys_are_compiled_ahead_only_where_no_attachment_has_a_date():
    always = company(attachments=BOTH)
    assert {name for _, name, _ in standing_keys(always, {"ged": GED})} == {"ged4if_24", "ged6if_64"}
    for dated in (replace(BOTH[0], valid_to=TODAY), replace(BOTH[0], valid_from=TODAY)):
        assert standing_keys(company(attachments=(dated, BOTH[1])), {"ged": GED}) == ()


def test_a_key_of_every_address_is_the_interface_alone_and_without_one_it_is_refused():
    assert key_bytes(ip_network("0.0.0.0/0"), "za0") == key_bytes(ip_network("::/0"), "za0") == b"za0".ljust(16, b"\0")
    with pytest.raises(ValueError, match="is everybody"):
        key_bytes(ip_network("::/0"), None)


def test_an_attachment_whose_link_is_not_there_is_found_under_no_name():
    here = Links(present=frozenset({"za0"}), members={"vrf-za": ("za0", "za1")})
    assert here.names(Attachment(prefix=None, interface="za0")) == ("za0",)
    assert here.names(Attachment(prefix=None, interface="zb0")) == ()
    assert here.names(Attachment(prefix=ip_network("10.1.0.0/24"))) == ()


def test_sets_that_no_policy_can_need_are_not_made():
    shapes = [Shape(service="ged", family=4, prefixlen=24, interface=False)]
    uses = {needs: {members.use for members in structure({"ged": GED}, shapes, needs).sets} for needs in EVERY_NEED}
    assert uses[Needs()] == {Use.REFUSE}
    for needs, found in uses.items():
        assert (Use.CAP_TO in found) == (Use.CAP_FROM in found) == needs.cap
        assert (Use.DRAIN in found) == needs.drain


EVERY_NEED = [
    Needs(cap=cap, drain=drain, tracked=tracked) for cap in (False, True) for drain in (False, True) for tracked in (False, True)
]


@pytest.mark.parametrize("needs", EVERY_NEED, ids=str)
def test_a_rule_asks_conntrack_only_where_connections_are_tracked_already(needs):
    built = structure({"ged": GED}, [Shape(service="ged", family=4, prefixlen=24, interface=False)], needs)
    asking = [rule for chain in built.chains for rule in chain.rules if isinstance(rule, PassMembers) and rule.established]
    assert bool(asking) == (needs.drain and needs.tracked)
    assert ("ct state" in render(built)) == bool(asking)


def test_a_member_that_moves_between_cap_and_refusal_meets_one_of_the_two_at_every_instant():
    """A packet that is on its way through a chain while the members change sees the old ones first and the new ones then."""
    built = structure({"ged": GED}, [Shape(service="ged", family=4, prefixlen=24, interface=False)], Needs(cap=True, drain=True))
    for name in ("to4_ged", "from4_ged"):
        (chain,) = (chain for chain in built.chains if chain.name == name)
        kinds = [type(rule) for rule in chain.rules]
        assert kinds.index(CapMembers) < kinds.index(RefuseMembers)


def test_open_connections_drain_no_longer_than_the_lease_and_caps_do_not_drain():
    def wanted(**terms):
        found = members(company(), ("ged",), "case-1", 60_000, {"ged": GED}, TODAY, terms=Terms(**terms))
        return {(element.set.partition("if_")[0], element.timeout_ms, element.kbit) for element in found if "4" in element.set[:4]}

    assert wanted(stage=3, drain_ms=20_000) == {("ged4", 60_000, 0), ("ged4o", 20_000, 0)}
    assert wanted(stage=3, drain_ms=90_000) == {("ged4", 60_000, 0), ("ged4o", 60_000, 0)}
    assert wanted(stage=2, kbit=128, drain_ms=20_000) == {("ged4u", 60_000, 128), ("ged4d", 60_000, 128)}
    assert wanted(stage=2, drain_ms=20_000) == {("ged4", 60_000, 0), ("ged4o", 20_000, 0)}

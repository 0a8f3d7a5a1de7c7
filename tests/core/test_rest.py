"""Stage 4, "anything but local and protected": packet by packet against the words of the measure, and the proof."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ProofFailed
from agent.model import (
    L4,
    Attachment,
    Company,
    Dependency,
    Named,
    Probe,
    Selector,
    Service,
    ServiceClass,
    Shape,
    Site,
    Subscription,
    Terms,
)
from agent.plan import plan
from agent.proof import prove, prove_members
from agent.rules import Bounds, Chain, Essential, Found, Key, LookupService, Observed, PassEssential, PassPairs, Use
from agent.ruleset import Needs, Rest, candidates, ends_of, members, read_ends, read_key, structure
from tests.core.packet_evaluator import SYN, TCP, UDP, Packet, fate, left_over, walk
from tests.core.strategies import LINKS, TODAY, VRFS, networks, networks_of, shapes_of, storms, worlds

LEASE_MS = 4 * 3600 * 1000
ANY_DEPENDENCY = ("198.18.0.1", "2001:db8:dead::1", "203.0.0.3")


def rest_of(companies, catalogue):
    """What stage 4 is made from, as for an inventory."""
    spared = tuple(sorted((s for one in catalogue.values() if not one.class_.suspendable for s in one.selectors), key=str))
    return Rest(ends=frozenset(ends for one in companies for ends in ends_of(one, catalogue)), spared=spared)


@st.composite
def neediest(draw):
    """A world whose sites depend on something remote here and there."""
    world = draw(worlds(wide=draw(st.booleans())))
    people = []
    for company in world.companies:
        sites = []
        for site in company.sites:
            addresses = draw(st.lists(st.sampled_from(ANY_DEPENDENCY), max_size=3, unique=True))
            needed = tuple(
                Dependency(name="n", needed_by="erp", probe=Probe(kind="icmp", address=ip_address(one))) for one in addresses
            )
            sites.append(replace(site, dependencies=needed))
        people.append(replace(company, sites=tuple(sites)))
    return replace(world, companies=tuple(people))


def towards_what_is_kept(world):
    """From every place to each dependency of the company and to each service it has."""
    for company in world.companies:
        for site, place in company.attachments():
            targets = [one.probe.address for one in site.dependencies]
            for subscription in company.subscriptions:
                targets += [selector.prefix[-1] for selector in world.catalogue[subscription.service].selectors]
            for target in targets:
                for network in networks(place):
                    if network.version == target.version:
                        yield Packet(source=network[0], destination=target, protocol=47, interface_in=place.link or "eth8")
                        yield Packet(source=target, destination=network[-1], protocol=UDP, interface_out=place.link or "eth8")


def terms_of_a_measure():
    return st.builds(
        Terms,
        stage=st.sampled_from((4, 4, 4, 4, 3, 2, 1)),
        kbit=st.sampled_from((0, 512)),
        drain_ms=st.sampled_from((0, 0, 60_000)),
    )


@settings(max_examples=80, deadline=None)
@given(data=st.data(), tracked=st.booleans())
def test_at_stage_4_a_packet_is_refused_if_and_only_if_nothing_speaks_for_it(data, tracked):
    world = data.draw(neediest())
    measures = {company: (services, data.draw(terms_of_a_measure())) for company, services in world.measures.items()}
    needs = Needs(cap=True, drain=True, tracked=tracked, rest=rest_of(world.companies, world.catalogue))
    built = structure(world.catalogue, shapes_of(world.companies), needs)
    proven = prove(built, [], networks_of(world.companies), world.catalogue)
    present: dict[str, set[bytes]] = {}
    draining = False
    for company in world.companies:
        services, terms = measures.get(company.id, ((), Terms()))
        wanted = members(company, services, "case-1", LEASE_MS, world.catalogue, TODAY, terms=terms, links=LINKS)
        prove_members(wanted, company, services, proven, LINKS, remote=services if terms.stage == 4 else ())
        draining = draining or terms.drain_ms > 0
        for element in wanted:
            present.setdefault(element.set, set()).add(element.key)
        assert {Key(set=e.set, key=e.key) for e in wanted} <= set(candidates(company, world.catalogue, LINKS, needs))
    for drawn in (*data.draw(storms(world)), *towards_what_is_kept(world)):
        for packet in (drawn, replace(drawn, protocol=1 if drawn.source.version == 4 else 58, source_port=(3 << 8))):
            if packet.hook == "input" or (draining and not tracked):
                continue  # the gateway's own addresses, and draining where nothing is tracked, have tests of their own
            found = walk(built, present, packet)
            announced = fate(packet, world.companies, measures, world.catalogue, TODAY, tracked=tracked, vrfs=VRFS)
            rest = left_over(packet, world.companies, measures, world.catalogue, TODAY, VRFS)
            if announced == "capped":
                assert found == "capped", packet
            else:
                assert (found != "accept") == (announced == "refused" or rest), packet


# --- the same by hand -------------------------------------------------------------------------------------------------

GED = Service(
    id="ged",
    class_=ServiceClass.ANNEX,
    selectors=tuple(Selector(prefix=ip_network(p), protocol=L4.TCP, ports=((443, 443),)) for p in ("203.0.113.10", "2001:db8::10")),
)
ACCESS = Service(
    id="access", class_=ServiceClass.EXTENDED, selectors=(Selector(prefix=ip_network("203.0.113.64/26"), protocol=L4.ANY),)
)
PAY = Service(
    id="pay",
    class_=ServiceClass.PAY,
    selectors=(
        Selector(prefix=ip_network("203.0.113.20"), protocol=L4.TCP, ports=((443, 443),)),
        Selector(prefix=ip_network("203.0.113.32/28"), protocol=L4.UDP, ports=((1000, 2000), (3000, 3000))),
        Selector(prefix=ip_network("2001:db8::20"), protocol=L4.TCP),
    ),
)
DNS = Service(id="dns", class_=ServiceClass.DEPENDENCY, selectors=(Selector(prefix=ip_network("203.0.113.53"), protocol=L4.ANY),))
CATALOGUE = {one.id: one for one in (GED, ACCESS, PAY, DNS)}
ZA = Company(
    id="za",
    name="ZA",
    group="g",
    policy="p",
    contract="c",
    sites=(
        Site(
            id="za-1",
            timezone="Europe/Paris",
            attachments=(
                Attachment(prefix=ip_network("10.1.0.0/24"), interface="za0"),
                Attachment(prefix=ip_network("10.1.1.0/24")),
                Attachment(prefix=ip_network("fd01::/64")),
            ),
            dependencies=(
                Dependency(name="licence", needed_by="erp", probe=Probe(kind="tcp", address=ip_address("198.18.0.9"), port=443)),
            ),
        ),
        Site(id="za-2", timezone="Europe/Paris", attachments=(Attachment(prefix=ip_network("10.2.0.0/24")),)),
    ),
    subscriptions=(Subscription(service="ged"), Subscription(service="access", class_=ServiceClass.DEPENDENCY)),
)
NEEDS = Needs(rest=rest_of((ZA,), CATALOGUE))
SHAPES = [Shape(service="ged", family=f, prefixlen=n, interface=i) for f, n, i in ((4, 24, True), (4, 24, False), (6, 64, False))]
BUILT = structure(CATALOGUE, SHAPES, NEEDS)
LOCAL = [("za-1", ip_network("10.1.0.0/24"))]
PROVEN = prove(BUILT, [], LOCAL, CATALOGUE)
WANTED = members(ZA, ("ged",), "case-1", LEASE_MS, CATALOGUE, TODAY, terms=Terms(stage=4))


def verdict(source, destination, protocol=TCP, port=443, **fields):
    present: dict[str, set[bytes]] = {}
    for element in WANTED:
        present.setdefault(element.set, set()).add(element.key)
    packet = Packet(
        source=ip_address(source),
        destination=ip_address(destination),
        protocol=protocol,
        destination_port=port,
        **{"interface_in": "za0", "flags": SYN, **fields},
    )
    return walk(BUILT, present, packet)


PASSES = {
    "the other subnet of the site": ("10.1.0.5", "10.1.1.9"),
    "the same subnet": ("10.1.0.5", "10.1.0.9"),
    "back within the site": ("10.1.1.9", "10.1.0.5"),
    "the payment page": ("10.1.0.5", "203.0.113.20"),
    "the payment page over IPv6": ("fd01::5", "2001:db8::20", TCP, 8080),
    "a port in a protected range": ("10.1.0.5", "203.0.113.40", UDP, 1500),
    "a dependency of everybody, any protocol": ("10.1.0.5", "203.0.113.53", 47),
    "a dependency of the site": ("10.1.0.5", "198.18.0.9"),
    "a service that is never cut for this company": ("10.1.0.5", "203.0.113.70"),
    "what comes from a dependency": ("198.18.0.9", "10.1.1.5"),
    "somebody else": ("10.3.0.5", "192.0.2.1"),
    "the same prefix behind another interface": ("10.1.0.5", "192.0.2.1", TCP, 443),
    "OSPF": ("10.1.0.5", "224.0.0.5", 89),
    "VRRP": ("10.1.0.5", "224.0.0.18", 112),
    "DHCP": ("10.1.0.5", "192.0.2.1", UDP, 67),
    "BGP": ("10.1.0.5", "192.0.2.1", TCP, 179),
}
REFUSED = {
    "the internet": ("10.1.0.5", "192.0.2.1"),
    "the internet over IPv6": ("fd01::5", "2001:db8:77::1", UDP, 53),
    "the announced service": ("10.1.0.5", "203.0.113.10"),
    "another site of the company": ("10.1.0.5", "10.2.0.5"),
    "another port of the payment page's host": ("10.1.0.5", "203.0.113.20", TCP, 80),
    "another protocol at the payment page": ("10.1.0.5", "203.0.113.20", UDP, 443),
    "a port beside a protected range": ("10.1.0.5", "203.0.113.40", UDP, 2001),
    "what opens a connection to the company": ("192.0.2.1", "10.1.1.5"),
}


@pytest.mark.parametrize("name", PASSES)
def test_what_is_local_protected_or_essential_passes_at_stage_4(name):
    fields = {"interface_in": "zb0"} if "another interface" in name else {}
    assert verdict(*PASSES[name], **fields) == "accept"


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_left_is_refused_at_stage_4(name):
    assert verdict(*REFUSED[name]) in ("reset", "prohibited")


def test_the_customer_first_path_is_there_only_where_it_is_needed():
    without = structure(CATALOGUE, SHAPES)
    assert not any(one.use in (Use.GATE, Use.REST, Use.PAIR) for one in without.sets)
    assert not any(chain.name.startswith(("rest", "spare")) for chain in without.chains)


# --- the proof --------------------------------------------------------------------------------------------------------


def without_rules(kind, which=lambda rule: True):
    """The ruleset without some rules of the customer-first path."""
    chains = tuple(
        replace(chain, rules=tuple(rule for rule in chain.rules if not (isinstance(rule, kind) and which(rule))))
        if chain.name.startswith("rest4")
        else chain
        for chain in BUILT.chains
    )
    return replace(BUILT, chains=chains)


@pytest.mark.parametrize("what", Essential)
def test_a_path_that_does_not_let_through_what_is_essential_is_never_loaded(what):
    with pytest.raises(ProofFailed, match="essential"):
        prove(without_rules(PassEssential, lambda rule: rule.what is what), [], LOCAL, CATALOGUE)


@pytest.mark.parametrize("name", ["spare_hosts4", "spare_ranges4", "spare_any4", "spare_hosts6", "spare_ranges6"])
@pytest.mark.parametrize("keep", [0, 1])
def test_a_path_on_which_an_entry_for_something_protected_is_missing_is_never_loaded(name, keep):
    found = next((one for one in BUILT.maps if one.name == name), None)
    if found is None or len(found.entries) <= keep:
        assert name in ("spare_hosts6", "spare_hosts4", "spare_any4", "spare_ranges6")
        return
    maps = tuple(replace(one, entries=one.entries[:keep]) if one.name == name else one for one in BUILT.maps)
    with pytest.raises(ProofFailed, match="may never be hit"):
        prove(replace(BUILT, maps=maps), [], LOCAL, CATALOGUE)


def test_a_protected_selector_that_the_path_does_not_know_is_found_with_a_packet_that_hits_it():
    planted = Selector(prefix=ip_network("192.0.2.7"), protocol=L4.UDP, ports=((53, 53),))
    with pytest.raises(ProofFailed, match="rescue") as failed:
        prove(BUILT, [("rescue", planted)], LOCAL, CATALOGUE)
    assert "192.0.2.7 port 53" in failed.value.witness


def test_a_refusal_before_what_lets_through_is_never_loaded():
    chains = tuple(Chain(name=c.name, rules=tuple(reversed(c.rules))) if c.name.startswith("rest4") else c for c in BUILT.chains)
    with pytest.raises(ProofFailed):
        prove(replace(BUILT, chains=chains), [], LOCAL, CATALOGUE)


def test_a_member_that_lacks_one_pair_of_its_site_is_refused():
    prove_members(WANTED, ZA, ("ged",), PROVEN, remote=("ged",))
    pairs = [element for element in WANTED if element.set.startswith("pair_")]
    assert len(pairs) > 10
    for lost in pairs:
        with pytest.raises(ProofFailed, match="must keep"):
            prove_members([one for one in WANTED if one != lost], ZA, ("ged",), PROVEN, remote=("ged",))
        brief = replace(lost, timeout_ms=LEASE_MS)
        with pytest.raises(ProofFailed, match="must keep"):
            prove_members([brief if one == lost else one for one in WANTED], ZA, ("ged",), PROVEN, remote=("ged",))


def test_a_path_that_does_not_ask_for_pairs_takes_no_member():
    proven = prove(without_rules(PassPairs), [], LOCAL, CATALOGUE)
    with pytest.raises(ProofFailed, match="must keep"):
        prove_members(WANTED, ZA, ("ged",), proven, remote=("ged",))


@pytest.mark.parametrize(
    ("company", "services", "stage", "why"),
    [
        (ZA, ("ged",), 3, "no measure is on everything remote"),
        (ZA, ("access",), 4, "no service of the measure"),
        (replace(ZA, sites=ZA.sites[1:]), ("ged",), 4, "no attachment"),
        (replace(ZA, subscriptions=(Subscription(service="ged", sites=("za-2",)),)), ("ged",), 4, "no service of the measure"),
    ],
)
def test_a_member_of_stage_4_needs_a_measure_of_stage_4_at_that_place(company, services, stage, why):
    alone = [element for element in WANTED if element.set.startswith(("gate_", "rest_", "pair_"))]
    with pytest.raises(ProofFailed, match=why):
        prove_members(alone, company, services, PROVEN, remote=services if stage == 4 else ())


NAMED = replace(ACCESS, names=(Named(name="access.example.net", protocol=L4.TCP),))
TRANSLATED = replace(ACCESS, selectors=tuple(replace(one, before_nat=True) for one in ACCESS.selectors))
#: As `separable` leaves one before NAT where nothing is tracked.
NOWHERE = replace(ACCESS, selectors=())


@pytest.mark.parametrize("kept", [NAMED, TRANSLATED, NOWHERE], ids=["by name", "before NAT", "nowhere"])
def test_what_a_company_must_keep_and_is_not_known_by_its_own_address_keeps_it_from_stage_4(kept):
    catalogue = {**CATALOGUE, "access": kept}
    assert {e.set for e in members(ZA, ("ged",), "case-1", LEASE_MS, catalogue, TODAY, terms=Terms(stage=4))} == {
        e.set for e in WANTED if not e.set.startswith(("gate_", "rest_", "pair_"))
    }
    proven = replace(PROVEN, catalogue=catalogue)
    with pytest.raises(ProofFailed, match="not known by its addresses alone"):
        prove_members(WANTED, ZA, ("ged",), proven, remote=("ged",))


def test_a_refusal_of_stage_4_never_travels_without_its_pairs():
    present = {Key(set=e.set, key=e.key): e for e in WANTED}
    rest = next(key for key in present if key.set.startswith("rest_"))
    found = plan(wanted=WANTED, candidates=present, observed=Observed(structure="as_wanted"), structure=BUILT)
    assert set(found.add) == set(WANTED)
    seen = {key: Found(case=e.case, expires_ms=e.timeout_ms) for key, e in present.items() if key != rest}
    change = plan(wanted=WANTED, candidates=present, observed=Observed(structure="as_wanted", members=seen), structure=BUILT)
    assert {e.set.partition("_")[0] for e in change.add} == {"rest", "pair"}
    prove_members(change.add, ZA, ("ged",), PROVEN, remote=("ged",))


def test_stage_4_keeps_the_refusals_of_stage_3_so_that_moving_between_the_two_only_adds_or_only_deletes():
    third = members(ZA, ("ged",), "case-1", LEASE_MS, CATALOGUE, TODAY, terms=Terms(stage=3))
    assert set(third) <= set(WANTED)


def test_a_place_where_no_service_of_the_measure_is_delivered_is_not_taken_to_stage_4():
    one_site = replace(ZA, subscriptions=(Subscription(service="ged", sites=("za-2",)),))
    found = members(one_site, ("ged",), "case-1", LEASE_MS, CATALOGUE, TODAY, terms=Terms(stage=4))
    assert {e.key for e in found if e.set.startswith("rest_")} == {bytes((10, 2, 0, 0))}


# --- what is left of something protected --------------------------------------------------------------------------------

RANGE = ip_network("203.0.113.32/28")

#: Entries for the protected range of `pay`, UDP 1000-2000: all of it in pieces, and pieces with something missing.
WHOLE = {
    "one entry": [(RANGE, (1000, 2000))],
    "ports in two": [(RANGE, (1000, 1499)), (RANGE, (1500, 2000))],
    "addresses in two": [(ip_network("203.0.113.32/29"), (1000, 2000)), (ip_network("203.0.113.40/29"), (1000, 2000))],
    "more than was asked": [(ip_network("203.0.113.0/24"), (0, 65535))],
}
HOLES = {
    "the first port": [(RANGE, (1001, 2000))],
    "the last port": [(RANGE, (1000, 1999))],
    "a port between": [(RANGE, (1000, 1499)), (RANGE, (1501, 2000))],
    "the upper half": [(ip_network("203.0.113.32/29"), (1000, 2000))],
    "the lower half": [(ip_network("203.0.113.40/29"), (1000, 2000))],
    "everything": [(ip_network("203.0.113.48/28"), (1000, 2000))],
}


def with_ranges(pieces):
    """The ruleset with these entries, and the single port of the service, in its map of ranges."""
    spare = next(one for one in BUILT.maps if one.name == "spare_ranges4")
    kept = tuple(entry for entry in spare.entries if entry.ports == (3000, 3000))
    assert len(kept) == 1
    made = tuple(replace(kept[0], prefix=prefix, ports=ports) for prefix, ports in pieces)
    return replace(BUILT, maps=tuple(replace(one, entries=(*kept, *made)) if one is spare else one for one in BUILT.maps))


@pytest.mark.parametrize("name", WHOLE)
def test_something_protected_may_be_let_through_in_pieces(name):
    assert prove(with_ranges(WHOLE[name]), [], LOCAL, CATALOGUE).leftovers


@pytest.mark.parametrize("name", HOLES)
def test_no_piece_of_something_protected_may_be_missing(name):
    with pytest.raises(ProofFailed, match="pay, which may never be hit"):
        prove(with_ranges(HOLES[name]), [], LOCAL, CATALOGUE)


def test_what_lets_through_only_within_bounds_does_not_count_as_letting_through():
    def bounded(rule):
        if not isinstance(rule, LookupService) or rule.map != "spare_ranges4":
            return rule
        return replace(rule, bounds=Bounds(prefix=RANGE, ports=(1000, 1999)))

    chains = tuple(replace(chain, rules=tuple(map(bounded, chain.rules))) for chain in BUILT.chains)
    with pytest.raises(ProofFailed, match="pay, which may never be hit"):
        prove(replace(BUILT, chains=chains), [], LOCAL, CATALOGUE)


def test_an_entry_for_one_protocol_is_not_enough_where_every_protocol_is_protected():
    for below, above in ((L4.TCP, L4.UDP), (L4.UDP, L4.TCP)):
        spare = next(one for one in BUILT.maps if one.name == "spare_any4")
        entries = tuple(replace(entry, protocol=protocol) for entry in spare.entries for protocol in (below, above))
        maps = tuple(replace(one, entries=entries) if one is spare else one for one in BUILT.maps)
        with pytest.raises(ProofFailed, match="dns, which may never be hit"):
            prove(replace(BUILT, maps=maps), [], LOCAL, CATALOGUE)


# --- links, draining, keys ------------------------------------------------------------------------------------------------

LINKED = replace(
    ZA,
    sites=(
        Site(
            id="za-1",
            timezone="Europe/Paris",
            attachments=(Attachment(interface="za0"), Attachment(prefix=ip_network("10.1.1.0/24"))),
        ),
    ),
)


def test_a_whole_link_at_stage_4_stays_connected_with_itself_and_with_its_site():
    needs = Needs(drain=True, tracked=True, rest=rest_of((LINKED,), CATALOGUE))
    kinds = [(4, 0, True), (6, 0, True), (4, 24, False)]
    built = structure(CATALOGUE, [Shape(service="ged", family=f, prefixlen=n, interface=i) for f, n, i in kinds], needs)
    proven = prove(built, [], [], CATALOGUE)
    wanted = members(LINKED, ("ged",), "case-1", LEASE_MS, CATALOGUE, TODAY, terms=Terms(stage=4, drain_ms=60_000))
    prove_members(wanted, LINKED, ("ged",), proven, remote=("ged",))
    present: dict[str, set[bytes]] = {}
    for element in wanted:
        present.setdefault(element.set, set()).add(element.key)

    def at(source, destination, **fields):
        packet = Packet(source=ip_address(source), destination=ip_address(destination), protocol=UDP, **fields)
        return walk(built, present, packet)

    assert at("172.16.0.1", "192.0.2.1", interface_in="za0") == "prohibited"
    assert at("172.16.0.1", "192.0.2.1", interface_in="za0", established=True) == "accept"
    assert at("172.16.0.1", "172.16.9.9", interface_in="za0", interface_out="za0") == "accept"
    assert at("172.16.0.1", "10.1.1.9", interface_in="za0") == "accept"
    assert at("10.1.1.9", "172.16.0.1", interface_in="eth5", interface_out="za0") == "accept"
    assert at("172.16.0.1", "192.0.2.1", interface_in="zb0") == "accept"
    assert {Key(set=e.set, key=e.key) for e in wanted} <= set(candidates(LINKED, CATALOGUE, needs=needs))
    leases = {
        element.set.partition("_")[0]: element.timeout_ms for element in wanted if "_if" in element.set or "if_0" in element.set
    }
    assert (leases["rest"], leases["open"], leases["pair"] > LEASE_MS) == (LEASE_MS, 60_000, True)


def test_keys_of_pairs_are_read_back_as_both_ends():
    sets = {one.name: one for one in BUILT.sets}
    pairs = [element for element in WANTED if element.set.startswith("pair_")]
    for element in pairs:
        (interface, near), (behind, far) = read_ends(sets[element.set], element.key)
        assert read_key(sets[element.set], element.key) == (interface, near)
        assert behind is None
        assert far.prefixlen in (24, 26, 32, 64)
    with pytest.raises(ValueError, match="does not have 3 bytes"):
        read_ends(sets[pairs[0].set], b"abc")


def test_stage_4_without_anything_protected_needs_no_map_and_an_empty_one_no_chain():
    alone = structure({"ged": GED}, SHAPES, Needs(rest=Rest(ends=NEEDS.rest.ends, spared=())))
    assert not [one for one in alone.maps if one.name.startswith("spare")]
    assert prove(alone, [], [], {"ged": GED}).leftovers
    nothing = structure({"ged": GED}, SHAPES, Needs(rest=Rest(ends=frozenset(), spared=NEEDS.rest.spared)))
    assert nothing == structure({"ged": GED}, SHAPES)


def test_a_member_of_stage_4_that_would_stay_for_ever_is_refused():
    endless = [replace(one, timeout_ms=0) if one.set.startswith("rest_") else one for one in WANTED]
    with pytest.raises(ProofFailed, match="without an end"):
        prove_members(endless, ZA, ("ged",), PROVEN, remote=("ged",))

"""Services by DNS name: which answers are believed, how far, and for how long."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import (
    L4,
    Attachment,
    Company,
    Dependency,
    LocalApplication,
    Named,
    Probe,
    Selector,
    Service,
    ServiceClass,
    Shape,
    Site,
    Subscription,
)
from agent.names import KEEP_S, LEAST_S, MOST_ADDRESSES, MOST_S, Answer, Heard, after, names_of, resolve, without_needed
from agent.proof import prove
from agent.ruleset import structure

WEB = ((443, 443),)


def service(id_, *names, class_=ServiceClass.ANNEX, prefixes=(), ports=WEB):
    return Service(
        id=id_,
        class_=class_,
        names=tuple(Named(name=name, protocol=L4.TCP, ports=ports) for name in names),
        selectors=tuple(Selector(prefix=ip_network(each), protocol=L4.TCP, ports=ports) for each in prefixes),
    )


def answers(**found):
    return {
        name.replace("_", "."): Answer(addresses=tuple(map(ip_address, addresses)), until=100.0)
        for name, addresses in found.items()
    }


ARCHIVE = service("archive", "a.example")
PORTAL = service("portal", class_=ServiceClass.PAY, prefixes=["192.0.2.10/32"])
GED = service("ged", class_=ServiceClass.ANNEX, prefixes=["192.0.2.20/32"])
CATALOGUE = {each.id: each for each in (ARCHIVE, PORTAL, GED)}
LOCAL = [("za/paris", ip_network("10.20.0.0/16")), ("zb/lyon", ip_network("2001:db8:20::/48"))]


def protected(catalogue):
    return [(each.id, s) for each in catalogue.values() if not each.class_.suspendable for s in each.selectors]


def put(catalogue, found, local=LOCAL):
    return resolve(catalogue, found, protected(catalogue), local)


def prefixes(resolved, id_="archive"):
    return {str(each.prefix) for each in resolved.services[id_].selectors}


def test_a_name_becomes_its_addresses_of_both_families_with_its_protocol_and_ports():
    found = put(CATALOGUE, answers(a_example=["198.51.100.7", "2001:db8:9::7"]))
    assert prefixes(found) == {"198.51.100.7/32", "2001:db8:9::7/128"}
    assert {(each.protocol, each.ports) for each in found.services["archive"].selectors} == {(L4.TCP, WEB)}
    assert found.out == {}
    assert names_of(CATALOGUE) == ("a.example",)


def test_a_name_without_an_answer_stands_for_nothing_and_is_reported():
    found = put(CATALOGUE, {})
    assert prefixes(found) == set()
    assert found.out["a.example"][1] == "a.example: no known address"
    assert structure(found.services, [Shape(service="archive", family=4, prefixlen=24, interface=False)]).sets == ()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("192.0.2.10", "is portal's too"),
        ("192.0.2.20", "is ged's too"),
        ("10.20.3.4", "is in the own network of site za/paris"),
        ("2001:db8:20:1::5", "is in the own network of site zb/lyon"),
        ("127.0.0.1", "is no server's address"),
        ("::1", "is no server's address"),
        ("0.0.0.0", "is no server's address"),
        ("224.0.0.1", "is no server's address"),
        ("169.254.169.254", "is no server's address"),
        ("fe80::1", "is no server's address"),
        ("::ffff:198.51.100.7", "is no server's address"),
    ],
)
def test_an_address_that_could_harm_somebody_is_left_out_and_reported_and_the_others_count(address, why):
    found = put(CATALOGUE, answers(a_example=[address, "198.51.100.7"]))
    assert prefixes(found) == {"198.51.100.7/32"}
    assert found.out == {f"a.example {ip_address(address)}": found.out[f"a.example {ip_address(address)}"]}
    assert found.out[f"a.example {ip_address(address)}"][1] == f"a.example: {ip_address(address)} {why}"


def test_another_port_of_a_protected_host_is_another_thing():
    catalogue = CATALOGUE | {"archive": service("archive", "a.example", ports=((8443, 8443),))}
    assert prefixes(put(catalogue, answers(a_example=["192.0.2.10"]))) == {"192.0.2.10/32"}


def test_two_services_by_name_that_share_an_address_both_lose_it():
    catalogue = CATALOGUE | {"backup": service("backup", "b.example")}
    found = put(catalogue, answers(a_example=["198.51.100.7", "198.51.100.8"], b_example=["198.51.100.7"]))
    assert prefixes(found) == {"198.51.100.8/32"}
    assert prefixes(found, "backup") == set()
    assert set(found.out) == {"a.example 198.51.100.7", "b.example 198.51.100.7"}


def test_what_a_companys_own_software_needs_is_not_refused_to_it():
    services = put(CATALOGUE, answers(a_example=["198.51.100.7"])).services

    def company(needs):
        probe = Probe(kind="tcp", address=ip_address(needs), port=443)
        site = Site(
            id="s",
            timezone="UTC",
            attachments=(Attachment(prefix=ip_network("10.20.1.0/24")),),
            local_applications=(LocalApplication(name="erp", probe=probe),),
            dependencies=(Dependency(name="licence", needed_by="erp", probe=probe),),
        )
        subscriptions = (Subscription(service="archive"), Subscription(service="ged"))
        return Company(id="za", name="ZA", group="g", policy="p", contract="k", sites=(site,), subscriptions=subscriptions)

    assert set(without_needed(company("198.51.100.7"), services)) == {"portal", "ged"}
    assert without_needed(company("198.51.100.8"), services) == services


# --- for how long -----------------------------------------------------------------------------------------------------

SEVEN = (ip_address("198.51.100.7"),)


def test_an_answer_counts_for_its_time_within_bounds():
    for ttl, counts in ((300.0, 300.0), (0.0, LEAST_S), (1e9, MOST_S)):
        found = after({}, ["a.example"], {"a.example": Heard(addresses=SEVEN, ttl=ttl)}, 1000.0)
        assert found == {"a.example": Answer(addresses=SEVEN, until=1000.0 + counts)}


def test_while_nobody_answers_the_last_answer_counts_for_a_while_and_then_no_more():
    before = {"a.example": Answer(addresses=SEVEN, until=1000.0)}
    assert after(before, ["a.example"], {}, 1000.0 + KEEP_S - 1) == before
    assert after(before, ["a.example"], {}, 1000.0 + KEEP_S) == {}


def test_a_name_that_does_not_exist_any_more_stands_for_nothing_at_once():
    before = {"a.example": Answer(addresses=SEVEN, until=1e9)}
    assert after(before, ["a.example"], {"a.example": Heard()}, 1000.0) == {}


def test_a_name_that_nobody_uses_any_more_is_forgotten_and_very_many_addresses_are_cut_off():
    before = {"b.example": Answer(addresses=SEVEN, until=1e9)}
    many = tuple(ip_address(f"198.51.100.{n}") for n in range(200))
    found = after(before, ["a.example"], {"a.example": Heard(addresses=many, ttl=60)}, 0.0)
    assert set(found) == {"a.example"}
    assert len(found["a.example"].addresses) == MOST_ADDRESSES


# --- whatever is answered ---------------------------------------------------------------------------------------------

ADDRESSES = st.sampled_from(
    [ip_address(each) for each in ("198.51.100.7", "198.51.100.8", "192.0.2.10", "192.0.2.20", "10.20.3.4", "2001:db8:9::7", "::1")]
)
SHAPES = [Shape(service=id_, family=f, prefixlen=24 if f == 4 else 64, interface=False) for id_ in "abc" for f in (4, 6)]


@settings(max_examples=150, deadline=None)
@given(said=st.dictionaries(st.sampled_from(("a.x", "b.x", "c.x")), st.lists(ADDRESSES, max_size=4)))
def test_whatever_the_resolver_says_the_ruleset_passes_the_proof(said):
    catalogue = {"portal": PORTAL, "ged": GED, **{id_: service(id_, f"{id_}.x") for id_ in "abc"}}
    found = {name: Answer(addresses=tuple(addresses), until=1.0) for name, addresses in said.items()}
    resolved = put(catalogue, found)
    built = structure(resolved.services, SHAPES)
    prove(built, protected(catalogue), LOCAL, resolved.services)
    kept = {id_: {each.prefix for each in resolved.services[id_].selectors} for id_ in "abc"}
    for id_ in "abc":
        for address in said.get(f"{id_}.x", ()):
            shared = any(address in said.get(f"{other}.x", ()) for other in "abc" if other != id_)
            harmless = str(address) in {"198.51.100.7", "198.51.100.8", "2001:db8:9::7"} and not shared
            assert (ip_network(address) in kept[id_]) == harmless

"""The contract of `agent.kernel.Kernel`, promise by promise, on every backend."""

import errno
import time
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from agent import emergency
from agent.errors import KernelError
from agent.model import L4
from agent.rules import (
    Chain,
    Change,
    Element,
    Key,
    LookupService,
    RefuseMembers,
    ServiceEntry,
    ServiceMap,
    Side,
    Structure,
    Use,
)
from agent.ruleset import structure
from agent.stopfile import Pause
from tests.contract.examples import CAPPED, COMPANY, EMPTY, FULL, NEEDS, SERVICES, SHAPES, SMALL, element, key, keys

PAUSE = Pause(by="claire", at=datetime(2026, 3, 30, tzinfo=UTC), reason="wrong invoices", restore=True)


def refused(call, *arguments) -> int:
    with pytest.raises(KernelError) as caught:
        call(*arguments)
    return caught.value.errno


def state(kernel, struct, elements):
    """What a change could have touched, for comparing before and after."""
    seen = kernel.observe(struct, keys(elements))
    return seen.structure, seen.strangers, {k: (f.case, f.packets) for k, f in seen.members.items()}


# --- observe ---


def test_an_empty_kernel_shows_no_table_and_no_members(kernel):
    seen = kernel.observe(FULL, keys(COMPANY))
    assert (seen.structure, seen.strangers, dict(seen.members)) == ("absent", (), {})


def test_the_structure_that_was_applied_is_seen_as_wanted_and_any_other_as_drifted(kernel):
    kernel.apply(Change(structure=FULL))
    assert kernel.observe(FULL).structure == "as_wanted"
    assert kernel.observe(SMALL).structure == "drifted"
    assert kernel.observe(EMPTY).structure == "drifted"


def test_an_equal_structure_that_is_another_object_is_as_wanted_too(kernel):
    kernel.apply(Change(structure=FULL))
    assert kernel.observe(structure(dict(reversed(SERVICES.items())), reversed(SHAPES), NEEDS)).structure == "as_wanted"


def test_a_stranger_in_our_table_is_named_and_makes_it_drifted(host):
    host.kernel.apply(Change(structure=FULL))
    host.add_stranger("intruder")
    seen = host.kernel.observe(FULL)
    assert seen.structure == "drifted"
    assert any("intruder" in stranger for stranger in seen.strangers)


def test_only_the_members_that_were_asked_for_are_shown(kernel):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    asked = keys(COMPANY)[:2]
    assert set(kernel.observe(FULL, asked).members) == set(asked)


def test_a_key_in_a_set_that_does_not_exist_is_not_there(kernel):
    kernel.apply(Change(structure=SMALL))
    assert kernel.observe(SMALL, [key("10.20.10.0/24", "za0")]).members == {}


# --- members ---


def test_a_member_shows_its_case_and_what_is_left_of_its_lease(kernel):
    everything = COMPANY if kernel.name == "iptables" else (*COMPANY, *CAPPED)
    kernel.apply(Change(structure=FULL))
    kernel.apply(Change(add=everything))
    members = kernel.observe(FULL, keys(everything)).members
    assert set(members) == set(keys(everything))
    for one in everything:
        found = members[Key(set=one.set, key=one.key)]
        assert found.case == "za:2024-1"
        assert one.timeout_ms - 10_000 < found.expires_ms <= one.timeout_ms
        assert (found.packets, found.kbit) == (0, one.kbit)


def test_the_same_prefix_behind_another_interface_is_another_member(kernel):
    kernel.apply(Change(structure=FULL, add=(element("10.20.10.0/24", "za0"),)))
    others = [key("10.20.10.0/24", "zb0"), key("10.20.10.0/24"), key("10.20.10.0/24", "za0", "vpn")]
    assert kernel.observe(FULL, others).members == {}


def test_adding_a_member_that_exists_renews_its_lease_and_takes_the_new_case(kernel):
    kernel.apply(Change(structure=FULL, add=(element("10.20.10.0/24", timeout_ms=60_000),)))
    for timeout_ms in (7_200_000, 30_000):
        renewed = element("10.20.10.0/24", case="za:2024-2", timeout_ms=timeout_ms)
        kernel.apply(Change(add=(renewed,)))
        (found,) = kernel.observe(FULL, keys((renewed,))).members.values()
        assert found.case == "za:2024-2"
        assert timeout_ms - 10_000 < found.expires_ms <= timeout_ms


def test_adding_a_member_of_a_cap_again_gives_it_the_new_rate(host):
    kernel = host.kernel
    if kernel.name == "iptables":  # what it can not do it refuses, whole
        kernel.apply(Change(structure=FULL))
        assert refused(kernel.apply, Change(add=(*COMPANY, *CAPPED))) == errno.EOPNOTSUPP
        assert kernel.observe(FULL, keys(COMPANY)).members == {}
        return
    kernel.apply(Change(structure=FULL, add=(element("10.20.12.0/24", use=Use.CAP_TO, kbit=512),)))
    for kbit in (1, 128, 10_000_000):
        again = element("10.20.12.0/24", use=Use.CAP_TO, kbit=kbit)
        kernel.apply(Change(add=(again,)))
        assert [found.kbit for found in kernel.observe(FULL, keys((again,))).members.values()] == [kbit]
    assert [found.kbit for _, found in kernel.dump(again.set)] == [10_000_000]


@pytest.mark.parametrize("with_structure", [False, True])
def test_a_rate_where_there_is_no_cap_or_out_of_bounds_is_refused_and_changes_nothing(kernel, with_structure):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    before = state(kernel, FULL, COMPANY)
    again = FULL if with_structure else None
    no_such = errno.EOPNOTSUPP if kernel.name == "iptables" else errno.EINVAL
    assert refused(kernel.apply, Change(structure=again, add=(element("10.9.0.0/24", kbit=64),))) == no_such
    for kbit in (-1, 10_000_001):
        wrong = element("10.9.0.0/24", use=Use.CAP_TO, kbit=kbit)
        assert refused(kernel.apply, Change(structure=again, add=(COMPANY[0], wrong))) == errno.EINVAL
    assert state(kernel, FULL, COMPANY) == before


def test_deleting_takes_exactly_the_named_members_away(kernel):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    kernel.apply(Change(delete=keys(COMPANY)[::2]))
    assert set(kernel.observe(FULL, keys(COMPANY)).members) == set(keys(COMPANY)[1::2])


def test_deleting_an_absent_member_is_no_error_and_does_not_make_one(kernel):
    kernel.apply(Change(structure=FULL, add=COMPANY[:1]))
    kernel.apply(Change(delete=(*keys(COMPANY), key("10.99.0.0/24"))))
    kernel.apply(Change(delete=(key("10.99.0.0/24"),)))
    assert kernel.observe(FULL, (*keys(COMPANY), key("10.99.0.0/24"))).members == {}


def test_a_key_that_is_deleted_and_added_in_one_change_is_there_afterwards(kernel):
    kernel.apply(Change(structure=FULL, add=COMPANY[:1]))
    again = element("10.20.10.0/24", case="za:2024-9")
    kernel.apply(Change(delete=keys(COMPANY[:1]), add=(again,)))
    assert [f.case for f in kernel.observe(FULL, keys(COMPANY[:1])).members.values()] == ["za:2024-9"]


def test_a_lease_that_ends_takes_the_member_away_by_itself(host):
    kernel = host.kernel
    kernel.apply(Change(structure=FULL, add=(element("10.20.10.0/24", timeout_ms=150), element("10.20.11.0/24"))))
    time.sleep(0.3 + host.coarse_s)
    wanted = key("10.20.11.0/24")
    assert set(kernel.observe(FULL, [key("10.20.10.0/24"), wanted]).members) == {wanted}
    assert [k for k, _ in kernel.dump(wanted.set)] == [wanted.key]


def test_a_member_whose_lease_has_just_ended_can_be_deleted_or_added_again(kernel):
    brief = (element("10.20.10.0/24", timeout_ms=50), element("10.20.11.0/24", timeout_ms=50))
    kernel.apply(Change(structure=FULL, add=brief))
    time.sleep(0.1)
    kernel.apply(Change(delete=keys(brief[:1]), add=(element("10.20.11.0/24"),)))
    assert set(kernel.observe(FULL, keys(brief)).members) == {key("10.20.11.0/24")}


def test_an_empty_change_does_nothing(kernel):
    kernel.apply(Change())
    assert kernel.observe(FULL).structure == "absent"


# --- structure ---


def test_applying_the_same_structure_again_keeps_every_member_with_its_lease(kernel):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    kernel.apply(Change(structure=FULL))
    seen = kernel.observe(FULL, keys(COMPANY))
    assert seen.structure == "as_wanted"
    assert set(seen.members) == set(keys(COMPANY))


def test_a_new_structure_keeps_the_members_of_sets_that_stay_and_drops_the_others(kernel):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    kernel.apply(Change(structure=SMALL))
    stay = {members.name for members in SMALL.sets}
    seen = kernel.observe(SMALL, keys(COMPANY))
    assert seen.structure == "as_wanted"
    assert set(seen.members) == {k for k in keys(COMPANY) if k.set in stay}
    kernel.apply(Change(structure=FULL))
    assert set(kernel.observe(FULL, keys(COMPANY)).members) == {k for k in keys(COMPANY) if k.set in stay}


def test_structure_and_members_travel_in_one_change(kernel):
    kernel.apply(Change(structure=SMALL, add=(element("10.20.10.0/24"), element("10.20.11.0/24"))))
    change = Change(structure=FULL, add=COMPANY, delete=(key("10.20.11.0/24"), key("10.77.0.0/24")))
    kernel.apply(change)
    seen = kernel.observe(FULL, (*keys(COMPANY), *change.delete))
    assert seen.structure == "as_wanted"
    assert set(seen.members) == set(keys(COMPANY))


def test_a_structure_without_services_can_be_loaded_and_left_again(kernel):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    kernel.apply(Change(structure=EMPTY))
    assert kernel.observe(EMPTY, keys(COMPANY)).members == {}
    assert kernel.observe(EMPTY).structure == "as_wanted"
    kernel.apply(Change(structure=FULL))
    assert kernel.observe(FULL).structure == "as_wanted"


def test_applying_the_structure_removes_strangers_and_keeps_members(host):
    host.kernel.apply(Change(structure=FULL, add=COMPANY))
    host.add_stranger("intruder")
    host.kernel.apply(Change(structure=FULL))
    seen = host.kernel.observe(FULL, keys(COMPANY))
    assert (seen.structure, seen.strangers) == ("as_wanted", ())
    assert set(seen.members) == set(keys(COMPANY))


def test_after_a_foreign_flush_everything_can_be_put_back_in_one_change(host):
    host.kernel.apply(Change(structure=FULL, add=COMPANY))
    host.flush()
    assert host.kernel.observe(FULL, keys(COMPANY)).structure == "absent"
    host.kernel.apply(Change(structure=FULL, add=COMPANY))
    seen = host.kernel.observe(FULL, keys(COMPANY))
    assert seen.structure == "as_wanted"
    assert set(seen.members) == set(keys(COMPANY))


def test_removing_our_table_leaves_nothing_and_an_absent_one_is_no_error(kernel):
    kernel.apply(Change(remove_table=True))
    kernel.apply(Change(structure=FULL, add=COMPANY))
    kernel.apply(Change(remove_table=True))
    assert kernel.observe(FULL).structure == "absent"


# --- refusals change nothing ---


def broken(*rules, maps=()) -> Structure:
    """The full structure with one more chain that can not be, or not with these maps."""
    return Structure(sets=FULL.sets, maps=(*FULL.maps, *maps), chains=(*FULL.chains, Chain(name="loose", rules=rules)))


def ranges(*entries) -> ServiceMap:
    return ServiceMap(name="more", family=4, ranged=True, entries=entries)


def entry(prefix, ports, chain="refuse") -> ServiceEntry:
    return ServiceEntry(prefix=ip_network(prefix), protocol=L4.TCP, ports=ports, chain=chain)


LOOK = LookupService(map="more", family=4, side=Side.SOURCE)
UNKNOWN_SET = broken(RefuseMembers(set="nowhere", side=Side.SOURCE))
UNKNOWN_MAP = broken(LOOK)
UNKNOWN_CHAIN = broken(LOOK, maps=(ranges(entry("203.0.113.0/28", (1, 2), "nowhere")),))
OVERLAP = broken(LOOK, maps=(ranges(entry("203.0.113.0/28", (10, 20)), entry("203.0.113.8/29", (20, 30), "to4_ged")),))

REFUSALS = {
    "a member of an unknown set": (
        Change(add=(*COMPANY, Element(set="nowhere", key=b"1234", case="c", timeout_ms=9))),
        errno.ENOENT,
    ),
    "deleting from an unknown set": (Change(add=COMPANY, delete=(Key(set="nowhere", key=b"1234"),)), errno.ENOENT),
    "a key that is too short": (Change(add=(*COMPANY, Element(set="ged4_24", key=b"123", case="c", timeout_ms=9))), errno.EINVAL),
    "a key that is too long": (Change(delete=(*keys(COMPANY), Key(set="ged4_24", key=b"12345"))), errno.EINVAL),
    "no lease": (Change(add=(*COMPANY, element("10.9.9.0/24", timeout_ms=0))), errno.EINVAL),
    "a lease that is over": (Change(add=(*COMPANY, element("10.9.9.0/24", timeout_ms=-5))), errno.EINVAL),
    "removal together with members": (Change(remove_table=True, add=COMPANY), errno.EINVAL),
    "removal together with a structure": (Change(remove_table=True, structure=FULL), errno.EINVAL),
    "a rule that refers to an unknown set": (Change(structure=UNKNOWN_SET, add=COMPANY), None),
    "a rule that refers to an unknown map": (Change(structure=UNKNOWN_MAP, add=COMPANY), None),
    "an entry that leads to an unknown chain": (Change(structure=UNKNOWN_CHAIN, add=COMPANY), None),
    "map entries that overlap": (Change(structure=OVERLAP, add=COMPANY), None),
    "a structure with a member of a set it lacks": (Change(structure=SMALL, add=COMPANY), errno.ENOENT),
    "a structure with a member without lease": (Change(structure=SMALL, add=(element("10.9.9.0/24", timeout_ms=0),)), errno.EINVAL),
    "a structure with a key that does not fit": (
        Change(structure=FULL, add=(Element(set="ged4_24", key=b"12345", case="c", timeout_ms=9),)),
        errno.EINVAL,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_changes_nothing_not_even_in_part(kernel, name):
    change, code = REFUSALS[name]
    there = (element("10.20.10.0/24", case="before"), element("10.55.0.0/24", case="before"))
    kernel.apply(Change(structure=FULL, add=there))
    everything = (*COMPANY, *there, element("10.9.9.0/24"))
    before = state(kernel, FULL, everything)
    for call in (kernel.check, kernel.apply):
        seen = refused(call, change)
        assert code in (None, seen)
        assert state(kernel, FULL, everything) == before


def test_members_without_a_table_are_refused(kernel):
    assert refused(kernel.apply, Change(add=COMPANY)) == errno.ENOENT
    assert refused(kernel.check, Change(add=COMPANY)) == errno.ENOENT
    assert refused(kernel.apply, Change(delete=keys(COMPANY))) == errno.ENOENT
    assert kernel.observe(FULL).structure == "absent"


def test_a_set_that_is_not_there_can_not_be_dumped(kernel):
    assert refused(lambda: list(kernel.dump("ged4_24"))) == errno.ENOENT
    kernel.apply(Change(structure=SMALL))
    assert refused(lambda: list(kernel.dump("nowhere"))) == errno.ENOENT


# --- without any structure at hand ---


def test_the_sets_with_members_are_named_without_a_structure(kernel):
    assert kernel.sets() == ()
    kernel.apply(Change(structure=FULL))
    assert sorted(kernel.sets()) == sorted(members.name for members in FULL.sets)
    kernel.apply(Change(remove_table=True))
    assert kernel.sets() == ()


def test_one_company_is_found_and_restored_by_its_case_alone(kernel, tmp_path):
    other = element("10.99.0.0/24", case="zab:1")
    kernel.apply(Change(structure=FULL, add=(*COMPANY, other)))
    done = emergency.restore(kernel, [tmp_path / "stop.json"], PAUSE, "za")
    assert (done.there, done.place, done.faults) == (len(COMPANY), tmp_path / "stop.json", ())
    assert set(kernel.observe(FULL, keys((*COMPANY, other))).members) == {keys((other,))[0]}
    assert emergency.restore(kernel, [tmp_path / "stop.json"], PAUSE, "za").there == 0


def test_everybody_is_restored_by_taking_the_table_away(kernel, tmp_path):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    assert emergency.restore(kernel, [tmp_path / "stop.json"], PAUSE).there == len(FULL.sets)
    assert kernel.observe(FULL).structure == "absent"
    assert emergency.restore(kernel, [tmp_path / "stop.json"], PAUSE).there == 0


# --- check ---


@pytest.mark.parametrize(
    "change",
    [
        Change(),
        Change(add=COMPANY),
        Change(delete=keys(COMPANY)),
        Change(structure=SMALL),
        Change(structure=SMALL, add=(element("10.3.0.0/24"),), delete=(key("10.20.10.0/24"),)),
        Change(remove_table=True),
    ],
    ids=["nothing", "add", "delete", "structure", "both", "remove"],
)
def test_check_of_a_good_change_says_nothing_and_changes_nothing(kernel, change):
    kernel.apply(Change(structure=FULL, add=(element("10.20.10.0/24", case="before"),)))
    everything = (*COMPANY, element("10.3.0.0/24"))
    before = state(kernel, FULL, everything)
    kernel.check(change)
    assert state(kernel, FULL, everything) == before


def test_check_of_a_first_structure_does_not_make_the_table(kernel):
    kernel.check(Change(structure=FULL, add=COMPANY))
    assert kernel.observe(FULL).structure == "absent"


# --- dump ---


def test_a_dump_gives_every_living_member_of_one_set(kernel):
    many = tuple(element(f"10.{i >> 8}.{i & 255}.0/24", case=f"c:{i}") for i in range(3000))
    kernel.apply(Change(structure=FULL, add=(*many, *COMPANY[1:])))
    seen = dict(kernel.dump("ged4_24"))
    assert {k: found.case for k, found in seen.items()} == {e.key: e.case for e in many}
    assert all(3_500_000 < found.expires_ms <= 3_600_000 for found in seen.values())


def test_changes_while_a_dump_stands_still_are_possible(kernel):
    many = tuple(element(f"10.{i >> 8}.{i & 255}.0/24") for i in range(3000))
    kernel.apply(Change(structure=FULL, add=many))
    stream = kernel.dump("ged4_24")
    next(stream)
    kernel.apply(Change(delete=keys(many[:10])))
    stream.close()
    assert kernel.observe(FULL, keys(many[:10])).members == {}


def test_a_dump_that_need_not_be_whole_gives_every_member_of_a_set_that_nobody_changes(kernel):
    many = tuple(element(f"10.{i >> 8}.{i & 255}.0/24", case=f"c:{i}") for i in range(3000))
    kernel.apply(Change(structure=FULL, add=many))
    assert {k: found.case for k, found in kernel.dump("ged4_24", whole=False)} == {e.key: e.case for e in many}


def test_a_dump_that_need_not_be_whole_goes_on_through_changes_and_may_be_left(kernel):
    many = tuple(element(f"10.{i >> 8}.{i & 255}.0/24") for i in range(3000))
    kernel.apply(Change(structure=FULL, add=many))
    stream = kernel.dump("ged4_24", whole=False)
    next(stream)
    kernel.apply(Change(delete=keys(many[:10])))
    assert {k for k, _ in stream} <= {e.key for e in many}
    left = kernel.dump("ged4_24", whole=False)
    next(left)
    left.close()
    assert {k for k, _ in kernel.dump("ged4_24", whole=False)} == {e.key for e in many[10:]}
    assert refused(lambda: list(kernel.dump("nowhere", whole=False))) == errno.ENOENT


# --- every case id that can occur ---


@pytest.mark.parametrize("case", ["z", "za:2024-1", "a" * 128, "société:é-1"])
def test_a_case_id_comes_back_as_it_was_by_either_way(kernel, case):
    one, other = element("10.20.10.0/24", case=case), element("10.20.11.0/24", case=case)
    kernel.apply(Change(structure=FULL, add=(one,)))
    kernel.apply(Change(add=(other,)))
    assert [f.case for f in kernel.observe(FULL, keys((one, other))).members.values()] == [case, case]


def test_a_backend_says_its_name(kernel):
    assert kernel.name in {"memory", "nft", "iptables"}

"""The laws of a change: P1 to P5, from any state of the kernel to any wish."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import KernelError
from agent.kernel.memory import MemoryKernel
from agent.model import L4, Selector, Service, ServiceClass, Shape
from agent.plan import AUDIT_CHUNK, RENEW_BELOW, SLACK_MS, Guarded, describe, guard, plan, plan_set
from agent.rules import Change, DispatchFamily, Element, Found, Key, Observed, Structure
from agent.ruleset import Needs, key_bytes, structure


def compiled(*ids: str, lengths=(24,)) -> Structure:
    services = {
        id_: Service(
            id=id_,
            class_=ServiceClass.ANNEX,
            selectors=(Selector(prefix=ip_network(f"203.0.113.{n}"), protocol=L4.TCP, ports=((443, 443),)),),
        )
        for n, id_ in enumerate(ids)
    }
    return structure(
        services, [Shape(service=i, family=4, prefixlen=n, interface=f) for i in ids for n in lengths for f in (False, True)]
    )


WANTED = compiled("ged", "vpn")
OLD = compiled("ged", "fax")
LONG = 4 * 3600 * 1000

prefixes = st.sampled_from([ip_network(f"10.1.{n}.0/24") for n in range(4)])
times = st.sampled_from((1, 900, 60_000, LONG // 2 - 1, LONG // 2, LONG, LONG + SLACK_MS + 1, 3 * LONG))
cases = st.sampled_from(("case-1", "case-2"))


@st.composite
def keys(draw, sets=("ged4_24", "ged4if_24", "vpn4_24")):
    name = draw(st.sampled_from(sets))
    return Key(set=name, key=key_bytes(draw(prefixes), "za0" if "if" in name else None))


@st.composite
def elements(draw, sets=("ged4_24", "ged4if_24", "vpn4_24")):
    key = draw(keys(sets))
    return Element(set=key.set, key=key.key, case=draw(cases), timeout_ms=draw(times))


def key_of(element: Element) -> Key:
    return Key(set=element.set, key=element.key)


wishes = st.lists(elements(), max_size=6, unique_by=key_of)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@st.composite
def kernels(draw):
    """A kernel in any state: no table, an older structure, a stranger in the table, and members that run down."""
    clock = Clock()
    kernel = MemoryKernel(clock)
    state = draw(st.sampled_from(("absent", "older", "stranger", "as_wanted", "as_wanted", "as_wanted")))
    if state != "absent":
        before = OLD if state == "older" else WANTED
        kernel.apply(Change(structure=before))
        names = sorted(members.name for members in before.sets)
        kernel.apply(Change(add=tuple(draw(st.lists(elements(names), max_size=6, unique_by=key_of)))))
        if state == "stranger":
            kernel.foreign_name("mine")
        clock.now += draw(st.sampled_from((0, 0, 1, 3600, 7201)))
    return kernel


def ask(kernel, wanted, candidates, *, renew=False) -> tuple[Change, Observed]:
    asked = sorted({*candidates, *(key_of(e) for e in wanted)})
    observed = kernel.observe(WANTED, asked)
    return plan(wanted=wanted, candidates=candidates, observed=observed, structure=WANTED, renew=renew), observed


@settings(max_examples=80, deadline=None)
@given(kernel=kernels(), wanted=wishes, candidates=st.lists(keys(), max_size=8), other=keys(), renew=st.booleans())
def test_p1_p2_p4_one_change_gives_what_is_wanted_and_then_there_is_nothing_left_to_do(kernel, wanted, candidates, other, renew):
    asked = {*candidates, *(key_of(e) for e in wanted)}
    beside = kernel.observe(WANTED, (other,)).members
    change, _ = ask(kernel, wanted, candidates, renew=renew)
    kernel.apply(change)
    after = kernel.observe(WANTED, sorted({*asked, other}))
    assert after.structure == "as_wanted"
    assert after.strangers == ()
    assert {key for key in after.members if key in asked} == {key_of(e) for e in wanted}
    for element in wanted:
        found = after.members[key_of(element)]
        assert found.case == element.case
        assert element.timeout_ms * RENEW_BELOW <= found.expires_ms <= element.timeout_ms + SLACK_MS
        if renew:
            assert found.expires_ms == element.timeout_ms
    if other not in asked:
        kept = {key: found for key, found in beside.items() if key.set in {m.name for m in WANTED.sets}}
        assert {key: found for key, found in after.members.items() if key == other} == kept, "nobody asked about that one"
    again, _ = ask(kernel, wanted, candidates)
    assert again.empty


@settings(max_examples=50, deadline=None)
@given(kernel=kernels(), wanted=wishes, candidates=st.lists(keys(("ged4_24", "fax4_24", "fax4_24", "foreign")), max_size=8))
def test_p3_a_change_names_only_sets_of_the_wanted_structure(kernel, wanted, candidates):
    change, observed = ask(kernel, wanted, candidates)
    kernel.check(change)
    names = {members.name for members in WANTED.sets}
    assert {item.set for item in (*change.add, *change.delete)} <= names
    assert set(change.delete) <= set(observed.members), "only what was seen is deleted"
    assert not set(change.delete) & {key_of(e) for e in wanted}
    assert change.structure in (None, WANTED)
    assert not change.remove_table


def test_p3_an_element_for_a_set_that_was_not_compiled_stops_the_plan():
    stray = Element(set="fax4_24", key=bytes(4), case="case-1", timeout_ms=1)
    with pytest.raises(ValueError, match="set fax4_24 is not in the structure"):
        plan(wanted=[stray], candidates=[], observed=Observed(structure="as_wanted"), structure=WANTED)


@settings(max_examples=50, deadline=None)
@given(kernel=kernels(), wanted=wishes, candidates=st.lists(keys(), max_size=8), limit=st.integers(0, 4))
def test_p5_a_held_change_only_restores_and_a_small_one_passes_whole(kernel, wanted, candidates, limit):
    change, observed = ask(kernel, wanted, candidates)
    guarded = guard(change, present=observed.members, limit=limit)
    assert guarded.new == sum(key_of(e) not in observed.members for e in change.add)
    assert guarded.held == (guarded.new > limit)
    if guarded.held:
        assert guarded.change == Change(delete=change.delete)
    else:
        assert guarded.change == change


def test_p5_removing_our_table_is_a_restore_and_never_held():
    clear = Change(remove_table=True)
    assert guard(clear, present=(), limit=0) == Guarded(change=clear, new=0, held=False)


ONE = Element(set="ged4_24", key=bytes((10, 1, 0, 0)), case="case-1", timeout_ms=LONG)


@pytest.mark.parametrize(
    ("found", "needed", "why"),
    [
        (Found(case="case-1", expires_ms=LONG), False, "there as wanted"),
        (Found(case="case-1", expires_ms=LONG // 2), False, "half of the lease is left"),
        (Found(case="case-1", expires_ms=LONG // 2 - 1), True, "less than half is left: renew"),
        (Found(case="case-1", expires_ms=LONG + SLACK_MS), False, "a moment too long: reading takes time"),
        (Found(case="case-1", expires_ms=LONG + SLACK_MS + 1), True, "the order ends earlier now: shorten"),
        (Found(case="case-2", expires_ms=LONG), True, "another case of the same company"),
    ],
)
def test_a_member_is_written_again_only_for_a_reason(found, needed, why):
    observed = Observed(structure="as_wanted", members={key_of(ONE): found})
    change = plan(wanted=[ONE], candidates=[key_of(ONE)], observed=observed, structure=WANTED)
    assert change == Change(add=(ONE,) if needed else ()), why
    assert bool([*plan_set(set_name="ged4_24", wanted={ONE.key: ONE}, observed=[(ONE.key, found)])]) is needed


@settings(max_examples=50, deadline=None)
@given(kernel=kernels(), wanted=wishes, renew=st.booleans())
def test_a_whole_set_as_a_stream_gives_the_same_as_one_plan(kernel, wanted, renew):
    kernel.apply(Change(structure=WANTED))
    for members in WANTED.sets:
        listed = dict(kernel.dump(members.name))
        mine = [e for e in wanted if e.set == members.name]
        present = {Key(set=members.name, key=key): found for key, found in listed.items()}
        whole = plan(
            wanted=mine,
            candidates=present,
            observed=Observed(structure="as_wanted", members=present),
            structure=WANTED,
            renew=renew,
        )
        streamed = [*plan_set(set_name=members.name, wanted={e.key: e for e in mine}, observed=listed.items(), renew=renew)]
        assert {e for change in streamed for e in change.add} == set(whole.add)
        assert {key for change in streamed for key in change.delete} == set(whole.delete)
        assert not any(change.empty for change in streamed)


def test_a_stream_restores_while_it_still_reads_and_keeps_its_changes_small():
    total = AUDIT_CHUNK + 10
    read = 0

    def members():
        nonlocal read
        for number in range(total):
            read += 1
            yield number.to_bytes(4, "big"), Found(case="case-1", expires_ms=LONG)

    missing = {(2**31 + n).to_bytes(4, "big"): replace(ONE, key=(2**31 + n).to_bytes(4, "big")) for n in range(total)}
    changes = plan_set(set_name="ged4_24", wanted=missing, observed=members())
    first = next(changes)
    assert len(first.delete) == read == AUDIT_CHUNK
    rest = [*changes]
    assert all(len(change.add) + len(change.delete) <= AUDIT_CHUNK for change in rest)
    assert sum(len(change.add) for change in rest) == total
    assert sum(len(change.delete) for change in rest) == 10


def test_a_change_reads_as_a_diff():
    present = {
        key_of(ONE): Found(case="case-0", expires_ms=60_000),
        Key(set="vpn4_24", key=ONE.key): Found(case="case-0", expires_ms=1),
    }
    change = Change(
        structure=WANTED,
        add=(ONE, Element(set="ged4if_24", key=key_bytes(ip_network("10.1.2.0/24"), "za0"), case="case-1", timeout_ms=90_500)),
        delete=(Key(set="vpn4_24", key=ONE.key),),
    )
    assert [*describe(change, WANTED, present)] == [
        "~ table inet ecluse: 9 chains, 2 maps, 4 sets",
        "- vpn4_24 10.1.0.0/24",
        "~ ged4_24 10.1.0.0/24 (case case-1, lease 4 h; had 1 min left for case case-0)",
        "+ ged4if_24 10.1.2.0/24 on za0 (case case-1, lease 1 min 30 s)",
    ]
    assert [*describe(Change(delete=(Key(set="fax4_24", key=ONE.key),)), WANTED)] == ["- fax4_24 0a010000"], "a set no longer ours"
    assert [*describe(Change(remove_table=True), WANTED)] == ["- table inet ecluse and everything in it"]
    assert [*describe(Change(), WANTED)] == []


# --- the kernel in memory, where the contract suite can not look --------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        replace(WANTED, maps=()),
        replace(WANTED, sets=()),
        replace(WANTED, chains=tuple(c for c in WANTED.chains if c.name != "refuse")),
        replace(WANTED, chains=(*WANTED.chains, WANTED.chains[0])),
        replace(WANTED, maps=tuple(replace(m, entries=m.entries * 2) for m in WANTED.maps)),
        replace(WANTED, chains=tuple(replace(c, rules=(DispatchFamily(family=4, chain="forward4"),)) for c in WANTED.chains)),
        replace(WANTED, maps=tuple(replace(m, ranged=True, entries=m.entries * 2) for m in WANTED.maps)),
    ],
)
def test_a_broken_structure_is_refused_and_changes_nothing(broken):
    kernel = MemoryKernel(Clock())
    kernel.apply(Change(structure=WANTED, add=(ONE,)))
    for attempt in (kernel.check, kernel.apply):
        with pytest.raises(KernelError):
            attempt(Change(structure=broken, delete=(key_of(ONE),)))
    observed = kernel.observe(WANTED, (key_of(ONE),))
    assert observed.structure == "as_wanted"
    assert key_of(ONE) in observed.members


def test_a_counter_lives_as_long_as_its_member_and_starts_again_with_a_renewal():
    kernel = MemoryKernel(Clock())
    with pytest.raises(KernelError):
        kernel.count_refusal(key_of(ONE))
    kernel.apply(Change(structure=OLD, add=(ONE,)))
    kernel.count_refusal(key_of(ONE))
    kernel.apply(Change(structure=WANTED))
    assert kernel.observe(WANTED, (key_of(ONE),)).members[key_of(ONE)].packets == 1
    kernel.apply(Change(add=(ONE,)))
    assert dict(kernel.dump(ONE.set)) == {ONE.key: Found(case="case-1", expires_ms=LONG, packets=0)}
    kernel.apply(Change(delete=(key_of(ONE),)))
    with pytest.raises(KernelError):
        kernel.count_refusal(key_of(ONE))


def test_a_member_at_another_rate_is_added_again_and_described_with_its_rate():
    built = structure(
        {
            "ged": Service(
                id="ged", class_=ServiceClass.ANNEX, selectors=(Selector(prefix=ip_network("203.0.113.1"), protocol=L4.TCP),)
            )
        },
        [Shape(service="ged", family=4, prefixlen=24, interface=False)],
        Needs(cap=True),
    )
    kernel = MemoryKernel(Clock())
    wanted = Element(set="ged4u_24", key=bytes((10, 1, 0, 0)), case="case-1", timeout_ms=LONG, kbit=512)
    kernel.apply(Change(structure=built, add=(wanted,)))
    observed = kernel.observe(built, [key_of(wanted)])
    assert plan(wanted=[wanted], candidates=[], observed=observed, structure=built).empty
    slower = replace(wanted, kbit=64)
    change = plan(wanted=[slower], candidates=[], observed=observed, structure=built)
    assert change == Change(add=(slower,))
    assert any("64 kbit/s" in line for line in describe(change, built, observed.members))

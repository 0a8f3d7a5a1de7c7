"""What only the real backend can show: strangers of every kind, missing rights, other programs at work."""

import errno
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import KernelError
from agent.kernel.libnftables import Libnftables
from agent.kernel.memory import MemoryKernel
from agent.kernel.nft import NftKernel
from agent.lab import private_network
from agent.nfttext import render
from agent.rules import Change, Element, Key, Use
from agent.ruleset import key_bytes
from tests.contract.conftest import nft
from tests.contract.examples import COMPANY, DEDICATED, EMPTY, FULL, SMALL, element, keys
from tests.core.test_rest import BUILT, WANTED

pytestmark = pytest.mark.kernel


@pytest.fixture
def loaded(own_network):
    """The backend with structure and one company in it."""
    kernel = NftKernel()
    kernel.apply(Change(structure=FULL, add=COMPANY))
    yield kernel
    kernel.close()


def first_rule(chain: str) -> str:
    listed = nft("-a", "list", "chain", "inet", "ecluse", chain)
    return next(line.rpartition("handle ")[2] for line in listed.splitlines() if "comment" in line)


def last_comment(chain: str) -> str:
    return nft("list", "chain", "inet", "ecluse", chain).rpartition('comment "')[2].partition('"')[0]


#: What somebody may do to our table -> a word that must stand among the strangers ("" where something is only missing).
DRIFTS = {
    "a rule at the end": (lambda: "add rule inet ecluse forward accept", "forward"),
    "a rule at the front": (lambda: "insert rule inet ecluse refuse accept", "refuse"),
    "a rule that copies a comment of ours": (
        lambda: f'add rule inet ecluse refuse drop comment "{last_comment("refuse")}"',
        "refuse",
    ),
    "a rule deleted": (lambda: f"delete rule inet ecluse refuse handle {first_rule('refuse')}", ""),
    "a rule replaced": (lambda: f"replace rule inet ecluse refuse handle {first_rule('refuse')} drop", "refuse"),
    "a chain emptied": (lambda: "flush chain inet ecluse to4_ged", ""),
    "all rules gone": (lambda: "flush table inet ecluse", ""),
    "a chain": (lambda: "add chain inet ecluse intruder", "chain intruder"),
    "a chain with a hook": (
        lambda: "add chain inet ecluse grab { type filter hook forward priority 0; policy drop; }",
        "chain grab",
    ),
    "a chain that drops by policy": (lambda: "add chain inet ecluse forward { policy drop; }", "forward"),
    "a set": (lambda: "add set inet ecluse more { type ipv4_addr; }", "set more"),
    "a set with members": (lambda: "add set inet ecluse more { type ipv4_addr; elements = { 10.0.0.1 }; }", "set more"),
    "a map with entries": (
        lambda: "add map inet ecluse jumps { type ipv4_addr : verdict; elements = { 10.0.0.1 : jump refuse }; }",
        "map jumps",
    ),
    "a rule with an anonymous set": (lambda: "add rule inet ecluse input ip saddr { 10.0.0.1, 10.0.0.9 } drop", "input"),
    "a rule with a chain inside": (lambda: "add rule inet ecluse input jump { counter; }", "input"),
    "a service added": (lambda: "add element inet ecluse to_hosts4 { 203.0.113.5 . tcp . 80 : goto to4_ged }", "to_hosts4"),
    "a service taken away": (lambda: "delete element inet ecluse to_hosts4 { 192.0.2.10 . tcp . 443 }", ""),
    "a service led elsewhere": (
        lambda: (
            "delete element inet ecluse to_hosts4 { 192.0.2.10 . tcp . 443 }; "
            "add element inet ecluse to_hosts4 { 192.0.2.10 . tcp . 443 : goto refuse }"
        ),
        "to_hosts4",
    ),
    "a range widened": (lambda: "add element inet ecluse to_ranges4 { 203.0.113.0/24 . tcp . 1-99 : goto to4_vpn }", "to_ranges4"),
    "a map emptied": (lambda: "flush map inet ecluse from_hosts6", ""),
    "a counter": (lambda: "add counter inet ecluse tally", "counter tally"),
    "a quota that a rule uses": (
        lambda: "add quota inet ecluse most { 25 mbytes }; add rule inet ecluse input quota name most",
        "quota most",
    ),
    "a table put to sleep": (lambda: "add table inet ecluse { flags dormant; }", "dormant"),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_whatever_others_do_to_our_table_is_seen_and_put_right_and_members_stay(loaded, name):
    assert loaded.observe(FULL).structure == "as_wanted"
    command, word = DRIFTS[name]
    nft(command())
    seen = loaded.observe(FULL, keys(COMPANY))
    assert seen.structure == "drifted"
    assert any(word in stranger for stranger in seen.strangers) if word else seen.strangers == ()
    assert set(seen.members) == set(keys(COMPANY))
    loaded.apply(Change(structure=FULL))
    seen = loaded.observe(FULL, keys(COMPANY))
    assert (seen.structure, seen.strangers) == ("as_wanted", ())
    assert set(seen.members) == set(keys(COMPANY))


def test_a_set_of_ours_that_was_made_anew_with_another_type_is_seen_and_replaced(loaded):
    nft(
        "flush chain inet ecluse to4_ged; flush chain inet ecluse from4_ged; delete set inet ecluse ged4_28; "
        "add set inet ecluse ged4_28 { type ipv4_addr; flags interval; }"
    )
    seen = loaded.observe(FULL)
    assert seen.structure == "drifted"
    assert any("ged4_28" in stranger for stranger in seen.strangers)
    loaded.apply(Change(structure=FULL, add=(element("10.1.1.16/28"),)))
    assert loaded.observe(FULL).structure == "as_wanted"
    assert set(loaded.observe(FULL, keys(COMPANY)).members) == set(keys(COMPANY))


def test_drift_is_seen_whether_it_comes_before_or_after_a_change_of_ours(loaded):
    change, undo = "add chain inet ecluse intruder", "delete chain inet ecluse intruder"
    assert loaded.observe(FULL).structure == "as_wanted"
    loaded.apply(Change(add=COMPANY[:1]))
    assert loaded.observe(FULL).structure == "as_wanted"
    nft(change)
    loaded.apply(Change(add=COMPANY[:1]))
    assert loaded.observe(FULL).structure == "drifted"
    nft(undo)
    assert loaded.observe(FULL).structure == "as_wanted"
    loaded.apply(Change(add=COMPANY[:1]))
    nft(change)
    assert loaded.observe(FULL).structure == "drifted"
    assert loaded.observe(SMALL).structure == "drifted"


def test_two_fresh_backends_agree_without_any_memory_of_each_other(loaded):
    other = NftKernel()
    assert set(other.observe(FULL, keys(COMPANY)).members) == set(keys(COMPANY))
    other.apply(Change(delete=keys(COMPANY[:1])))
    assert set(loaded.observe(FULL, keys(COMPANY)).members) == set(keys(COMPANY[1:]))
    other.close()


FOREIGN = """
table ip filter {
  set many { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.0.0/16 } }
  chain forward { type filter hook forward priority 0; policy accept; ip saddr @many counter accept
  }
}
table ip ecluse {
  chain forward {
    counter
  }
}
table inet ecluse2 {
  set ged4_24 {
    type ipv4_addr
    elements = { 10.20.10.0 }
  }
}
"""


def test_tables_of_others_are_never_touched(own_network):
    nft("-f", "-", text=FOREIGN)
    before = nft("list", "ruleset")
    kernel = NftKernel()
    kernel.apply(Change(structure=FULL, add=COMPANY))
    kernel.apply(Change(structure=SMALL, delete=keys(COMPANY[:1])))
    assert kernel.observe(SMALL).structure == "as_wanted"
    kernel.apply(Change(remove_table=True))
    kernel.close()
    assert nft("list", "ruleset") == before


def test_an_administrator_sees_case_lease_and_counter_with_the_nft_program(loaded):
    listed = nft("list", "set", "inet", "ecluse", "ged4if_24")
    assert '"za0" . 10.20.10.0 counter packets 0 bytes 0 timeout 1h' in listed
    assert 'comment "za:2024-1"' in listed


def test_the_listing_of_our_table_can_be_loaded_again(loaded):
    listed = nft("list", "table", "inet", "ecluse")
    loaded.apply(Change(remove_table=True))
    nft("-f", "-", text=listed)
    seen = loaded.observe(FULL, keys(COMPANY))
    assert seen.structure == "as_wanted"
    assert set(seen.members) == set(keys(COMPANY))


def test_the_rendered_text_alone_is_what_the_backend_wants_to_see(own_network):
    for structure in (FULL, SMALL, EMPTY):
        nft("-f", "-", text="add table inet ecluse\ndelete table inet ecluse\n" + render(structure))
        kernel = NftKernel()
        assert kernel.observe(structure).structure == "as_wanted"
        kernel.close()


# --- things that are missing ---


def in_child(body: str, *wrapper: str) -> str:
    """Run a few lines in a program of its own, in this thread's namespace."""
    script = "from agent.kernel.nft import *\nfrom agent.errors import *\n" + body
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    return done.stdout + done.stderr


def test_without_cap_net_admin_the_error_says_what_is_missing(own_network):
    body = "try:\n    NftKernel()\nexcept KernelError as error:\n    print(error.errno, error)"
    without = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    said = in_child(body, *without)
    assert said.startswith(f"{errno.EPERM} ")
    assert "CAP_NET_ADMIN" in said
    assert in_child("NftKernel()\nprint('fine')") == "fine\n"


def test_without_the_library_members_still_change_and_the_error_says_what_to_install(loaded):
    kernel = NftKernel(library="libnftables-is-not-here.so.1")
    with pytest.raises(KernelError, match="apt install libnftables1") as caught:
        kernel.apply(Change(structure=SMALL))
    assert caught.value.errno == errno.ELIBACC
    kernel.apply(Change(delete=keys(COMPANY)))
    assert kernel.observe(FULL, keys(COMPANY)).members == {}
    kernel.apply(Change(remove_table=True))
    assert kernel.observe(FULL).structure == "absent"
    kernel.close()


def test_a_table_that_another_program_owns_is_left_alone_with_a_clear_error(own_network):
    owner = subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
    owner.stdin.write("add table inet ecluse { flags owner; }\n")
    owner.stdin.flush()
    kernel = NftKernel()
    deadline = time.monotonic() + 5
    while kernel.observe(FULL).structure == "absent" and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(KernelError, match="owned by another program") as caught:
        kernel.apply(Change(structure=FULL))
    assert caught.value.errno == errno.EPERM
    kernel.close()
    owner.communicate(timeout=5)


def test_text_that_nft_does_not_understand_is_an_error_with_its_first_line(own_network):
    nftables = Libnftables()
    with pytest.raises(KernelError, match="syntax error") as caught:
        nftables.run("add tabel inet ecluse\n")
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(KernelError, match="No such file") as caught:
        nftables.run("add rule inet nowhere here accept\n")
    assert caught.value.errno == errno.ENOENT
    nftables.run("add table inet fine\n", dry=True)
    assert nftables.run("list tables\n") == ""
    nftables.run("add table inet fine\n")
    assert nftables.run("list tables\n") == "table inet fine\n"
    nftables.close()


def test_a_change_that_is_too_large_for_one_transaction_is_refused_whole(loaded):
    many = tuple(
        Element(set="ged6_64", key=i.to_bytes(8, "big") + bytes(8), case="c" * 120, timeout_ms=60_000) for i in range(200_000)
    )
    with pytest.raises(KernelError) as caught:
        loaded.apply(Change(add=(*many, *COMPANY), delete=keys(COMPANY)))
    assert caught.value.errno == errno.EMSGSIZE
    assert set(loaded.observe(FULL, keys(COMPANY)).members) == set(keys(COMPANY))


# --- other programs at work ---


def test_changes_and_readings_come_through_while_others_keep_changing_nftables(loaded):
    stop = threading.Event()
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def disturb() -> None:
        from agent.lab import Space

        with Space("here", Path("/nowhere"), home).inside():
            while not stop.is_set():
                nft("add table ip busy; add chain ip busy c { type filter hook input priority 0; }; delete table ip busy")

    worker = threading.Thread(target=disturb)
    worker.start()
    try:
        begin = time.monotonic()
        rounds = 0
        while rounds <= 20 or time.monotonic() < begin + 2:
            assert time.monotonic() < begin + 60
            loaded.apply(Change(structure=(FULL, SMALL)[rounds % 2], add=COMPANY[:2]))
            loaded.apply(Change(add=COMPANY[:2]))
            seen = loaded.observe((FULL, SMALL)[rounds % 2], keys(COMPANY[:2]))
            assert seen.structure == "as_wanted"
            assert set(seen.members) == set(keys(COMPANY[:2]))
            loaded.apply(Change(delete=keys(COMPANY[:2])))
            rounds += 1
    finally:
        stop.set()
        worker.join()
        os.close(home)


def test_a_dump_shows_the_set_as_it_was_when_the_reading_began(loaded):
    many = tuple(element(f"10.{100 + (i >> 8)}.{i & 255}.0/24", case=f"c:{i}") for i in range(2000))
    loaded.apply(Change(add=many))
    stream = loaded.dump("ged4_24")
    seen = [next(stream)[0]]
    loaded.apply(Change(delete=keys(many)))
    nft("delete table inet ecluse")
    seen += [k for k, _ in stream]
    assert sorted(seen) == sorted(e.key for e in (*many, *COMPANY) if e.set == "ged4_24")


def test_stage_4_is_loaded_is_seen_as_wanted_and_keeps_its_pairs_over_a_new_structure(own_network):
    kernel = NftKernel()
    for with_structure in (True, False):
        kernel.apply(Change(structure=BUILT, add=WANTED) if with_structure else Change(add=WANTED))
        seen = kernel.observe(BUILT, keys(WANTED))
        assert (seen.structure, seen.strangers) == ("as_wanted", ())
        assert set(seen.members) == set(keys(WANTED))
    kernel.apply(Change(structure=BUILT))
    assert set(kernel.observe(BUILT, keys(WANTED)).members) == set(keys(WANTED))
    kernel.apply(Change(delete=keys(WANTED)))
    assert kernel.observe(BUILT, keys(WANTED)).members == {}
    kernel.close()


# --- the same as the model ---

prefixes = st.sampled_from(["10.20.10.0/24", "10.20.11.0/24", "10.20.11.16/28", "2001:db8:20::/56", "2001:db8:21::/64"])
interfaces = st.sampled_from([None, "za0", "zb0", "a-very-long.15"])
cases = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"], exclude_characters='"'), min_size=1, max_size=30)


@st.composite
def members(draw):
    network, interface = ip_network(draw(prefixes)), draw(interfaces)
    service, use = draw(st.sampled_from(["ged", "vpn"])), draw(st.sampled_from((Use.REFUSE, Use.CAP_TO, Use.CAP_FROM, Use.DRAIN)))
    return element(
        str(network),
        interface,
        service,
        case=draw(cases),
        timeout_ms=draw(st.integers(20_000, 2**40)),
        use=use,
        kbit=draw(st.integers(1, 10_000_000)) if use.caps else draw(st.sampled_from((0, 0, 0, 0, 64))),
    )


STRUCTURES = {"full": FULL, "small": SMALL, "": None}
#: A structure by name (so that a failing example is readable), what to add, what to delete.
changes = st.tuples(
    st.sampled_from(["", "", "full", "small"]),
    st.lists(members(), max_size=5, unique_by=lambda e: (e.set, e.key)).map(tuple),
    st.lists(members().map(lambda e: Key(set=e.set, key=e.key)), max_size=3).map(tuple),
)


def outcome(do, change):
    try:
        do(change)
    except KernelError as error:
        return error.errno
    return 0


def faults(model, change):
    """What is wrong with it, each member by itself: of several things the kernel may name any."""
    alone = [replace(change, add=(each,), delete=()) for each in change.add]
    alone += [replace(change, add=(), delete=(each,)) for each in change.delete]
    return {outcome(model.check, each) for each in alone} - {0}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(changes, max_size=6))
def test_any_sequence_of_changes_leaves_the_kernel_as_the_model_says(sequence):
    every = tuple({k for _, add, delete in sequence for k in (*keys(add), *delete)})
    with private_network():
        real, model = NftKernel(), MemoryKernel(clock=time.monotonic)
        for name, add, delete in sequence:
            change = Change(structure=STRUCTURES[name], add=add, delete=delete)
            wrong = faults(model, change)
            said, told = outcome(real.apply, change), outcome(model.apply, change)
            assert bool(said) == bool(told)
            assert said in (wrong or {told})
            for structure in (FULL, SMALL):
                ours, theirs = real.observe(structure, every), model.observe(structure, every)
                assert ours.structure == theirs.structure
                assert {k: (f.case, f.kbit) for k, f in ours.members.items()} == {
                    k: (f.case, f.kbit) for k, f in theirs.members.items()
                }
                assert all(abs(f.expires_ms - theirs.members[k].expires_ms) < 5_000 for k, f in ours.members.items())
        real.close()


def test_members_of_a_dedicated_service_are_kept_and_found_with_both_ends_and_under_the_longest_names(own_network):
    kernel = NftKernel()
    kernel.apply(Change(structure=DEDICATED))
    assert kernel.observe(DEDICATED).structure == "as_wanted"
    added = tuple(
        Element(
            set=members.name,
            key=key_bytes(home, "za0" if members.interface else None) + ip_network((own, members.other[0])).network_address.packed,
            case="za:1",
            timeout_ms=60_000,
            kbit=512 if members.use.caps else 0,
        )
        for members in DEDICATED.sets
        for home, own in (
            (ip_network((f"10.{members.prefixlen}.0.0", members.prefixlen)) if members.prefixlen else EVERY[4], "198.51.100.72")
            if members.family == 4
            else (ip_network(("fd01::", members.prefixlen)) if members.prefixlen else EVERY[6], "2001:db8:6::"),
        )
    )
    kernel.apply(Change(add=added))
    wanted = {Key(set=one.set, key=one.key) for one in added}
    assert set(kernel.observe(DEDICATED, tuple(wanted)).members) == wanted
    assert {len(members.name) for members in DEDICATED.sets} >= {34}
    kernel.apply(Change(structure=DEDICATED, delete=tuple(wanted)))  # as text, beside the structure
    kernel.apply(Change(structure=DEDICATED, add=added))
    assert set(kernel.observe(DEDICATED, tuple(wanted)).members) == wanted
    kernel.close()


EVERY = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}

"""What only the legacy backend shows: what it can not promise, where that ends, and other people's rules beside ours."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from agent.errors import KernelError
from agent.kernel.choice import choose
from agent.kernel.iptables import IptablesKernel
from agent.kernel.xtrules import chain_name, ipset_name, xt_chains
from agent.model import L4, Selector, Service, ServiceClass, Shape
from agent.rules import Change, Key
from agent.ruleset import key_bytes, set_name, structure
from tests.contract.conftest import iptables
from tests.contract.examples import COMPANY, DEDICATED, FULL, SERVICES, SMALL, element, key, keys
from tests.core.test_rest import BUILT

pytestmark = pytest.mark.kernel

PROGRAMS = ("iptables-legacy", "ip6tables-legacy")


@pytest.fixture
def kernel(own_network):
    legacy = IptablesKernel()
    yield legacy
    legacy.close()


def saved(program: str) -> list[str]:
    """Every rule and chain of one family that is not ours, and the order of what calls us."""
    done = subprocess.run([f"{program}-save", "-t", "filter"], capture_output=True, text=True, timeout=20, check=True)
    return [line for line in done.stdout.splitlines() if line.startswith("-A") and not line.startswith("-A ECLUSE-")]


def foreign() -> None:
    for program in PROGRAMS:
        iptables("-N", "LAN", program=program)
        iptables("-A", "LAN", "-j", "ACCEPT", program=program)
        iptables("-A", "FORWARD", "-i", "lan0", "-j", "LAN", program=program)
        iptables("-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT", program=program)


def ours_first(lines: list[str]) -> bool:
    return next(line for line in lines if "FORWARD" in line) == "-A FORWARD -j ECLUSE-forward"


def test_rules_of_others_stay_as_they_are_through_everything_we_do(kernel):
    foreign()
    before = {program: saved(program) for program in PROGRAMS}
    for change in (Change(structure=FULL, add=COMPANY), Change(structure=SMALL), Change(structure=FULL)):
        kernel.apply(change)
        for program in PROGRAMS:
            lines = saved(program)
            assert [line for line in lines if "ECLUSE-" not in line] == before[program]
            assert ours_first(lines)
    kernel.apply(Change(remove_table=True))
    assert {program: saved(program) for program in PROGRAMS} == before
    assert subprocess.run(["ipset", "list", "-n"], capture_output=True, text=True, check=True).stdout == ""


def test_a_rule_that_somebody_puts_before_ours_is_drift_and_comes_behind_us_again(kernel):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    iptables("-I", "FORWARD", "-j", "ACCEPT")
    assert kernel.observe(FULL).structure == "drifted"
    kernel.apply(Change(structure=FULL))
    assert ours_first(saved("iptables-legacy"))
    assert "-A FORWARD -j ACCEPT" in saved("iptables-legacy")
    assert kernel.observe(FULL, keys(COMPANY)).structure == "as_wanted"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_rule_of_a_stranger_inside_our_chains_is_named_and_removed(kernel, program):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    iptables("-I", "ECLUSE-refuse", "-j", "DROP", program=program)
    seen = kernel.observe(FULL)
    assert (seen.structure, seen.strangers) == ("drifted", ("a rule in ECLUSE-refuse",))
    kernel.apply(Change(structure=FULL))
    assert kernel.observe(FULL).structure == "as_wanted"


def test_a_fresh_process_finds_and_restores_members_without_knowing_the_structure(kernel):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    fresh = IptablesKernel()
    found = {name: [key for key, _ in fresh.dump(name)] for name in fresh.sets()}
    assert sum(map(len, found.values())) == len(COMPANY)
    fresh.apply(Change(delete=tuple(Key(set=name, key=key) for name, keys in found.items() for key in keys)))
    fresh.close()
    assert kernel.observe(FULL, keys(COMPANY)).members == {}


# --- what it can not promise, and where that ends ---


def test_one_network_behind_more_than_64_interfaces_is_refused_and_nobody_of_the_change_is_cut(kernel):
    kernel.apply(Change(structure=FULL))
    first = tuple(element("10.20.10.0/24", f"za{number}") for number in range(60))
    kernel.apply(Change(add=first))
    more = tuple(element("10.20.10.0/24", f"zb{number}") for number in range(10))
    with pytest.raises(KernelError) as caught:
        kernel.apply(Change(add=more))
    assert caught.value.errno == errno.ENOSPC
    assert "64 interfaces with one network" in str(caught.value)
    assert set(kernel.observe(FULL, (*keys(first), *keys(more))).members) == set(keys(first))


def test_leases_are_counted_in_whole_seconds_and_end_early_rather_than_late(kernel):
    kernel.apply(Change(structure=FULL, add=(element("10.20.10.0/24", timeout_ms=5_900),)))
    (found,) = kernel.observe(FULL, [key("10.20.10.0/24")]).members.values()
    assert found.expires_ms <= 5_000
    kernel.apply(Change(add=(element("10.20.10.0/24", timeout_ms=1),)))
    time.sleep(1.1)
    assert kernel.observe(FULL, [key("10.20.10.0/24")]).members == {}


def test_nobody_tells_of_changes_by_others_so_the_choice_offers_nothing_to_listen_to(own_network):
    legacy, nft = choose("iptables"), choose("nft")
    assert (legacy.open_watch, legacy.kernel.name) == (None, "iptables")
    assert nft.open_watch is not None
    legacy.kernel.close()
    nft.kernel.close()


def test_auto_takes_nf_tables_where_the_kernel_has_it_and_says_why(own_network):
    chosen = choose("auto")
    assert (chosen.kernel.name, chosen.en, chosen.fr) == ("nft", "nf_tables answers", "nf_tables répond")
    chosen.kernel.close()


def test_the_member_of_a_vrf_is_not_seen_so_no_rule_is_made_for_it(kernel):
    by_link = [rule for chain in FULL.chains for rule in chain.rules if getattr(rule, "member", False)]
    assert by_link
    kernel.apply(Change(structure=FULL))
    assert kernel.observe(FULL).structure == "as_wanted"


def test_names_at_the_length_limit_of_rules_and_sets_stay_apart_and_within_it(kernel):
    services = {name: replace(SERVICES[which], id=name) for name, which in LONG.items()}
    shapes = [Shape(service=name, family=6, prefixlen=128, interface=True) for name in services]
    wanted = structure(services, shapes)
    names = [*(chain_name(chain.name) for chain in wanted.chains), *(ipset_name(members.name) for members in wanted.sets)]
    assert len(set(names)) == len(names)
    member = Key(set=set_name("a" * 24, 6, 128, interface=True), key=key_bytes(ip_network("2001:db8::1/128"), "i" * 15))
    kernel.apply(Change(structure=wanted))
    assert kernel.observe(wanted, [member]).structure == "as_wanted"


LONG = {"a" * 24: "ged", "a" * 23 + "b": "vpn"}


# --- bad luck ---


def test_a_lock_that_somebody_holds_is_waited_for_within_a_bound(own_network, tmp_path: Path):
    lock = tmp_path / "lock"
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    waiting = IptablesKernel(lock=lock, lock_seconds=0.1)
    with pytest.raises(KernelError) as caught:
        waiting.apply(Change(structure=FULL))
    assert (caught.value.errno, str(lock) in str(caught.value)) == (errno.EAGAIN, True)
    os.close(handle)
    waiting.apply(Change(structure=FULL))
    assert waiting.observe(FULL).structure == "as_wanted"
    waiting.close()


def test_a_set_of_our_name_and_another_type_is_replaced(kernel):
    kernel.apply(Change(structure=FULL, add=COMPANY))
    kernel.apply(Change(remove_table=True))
    subprocess.run(["ipset", "create", ipset_name("ged4_24"), "hash:ip"], check=True, timeout=10)
    assert kernel.observe(FULL).structure == "absent"
    kernel.apply(Change(structure=FULL, add=COMPANY))
    seen = kernel.observe(FULL, keys(COMPANY))
    assert (seen.structure, set(seen.members)) == ("as_wanted", set(keys(COMPANY)))


def test_without_the_right_it_says_which_ones_are_needed(own_network):
    program = "from agent.kernel.iptables import IptablesKernel as K\ntry: K()\nexcept Exception as error: print(error)"
    unprivileged = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", program]
    done = subprocess.run(unprivileged, check=False, capture_output=True, text=True, timeout=30)
    assert "CAP_NET_ADMIN and CAP_NET_RAW" in done.stdout


@pytest.mark.parametrize("built", [BUILT, DEDICATED], ids=["stage 4", "a dedicated service"])
def test_what_needs_pairs_is_refused_whole_and_with_a_way_out(kernel, built):
    with pytest.raises(KernelError) as caught:
        kernel.apply(Change(structure=built))
    assert caught.value.errno == errno.EOPNOTSUPP
    assert "kernel: nft" in str(caught.value)
    assert kernel.observe(built).structure == "absent"


def test_every_entry_of_a_map_is_one_rule_also_where_its_services_lie_far_apart(kernel):
    """There a map is asked within several bounds."""
    far = tuple(Selector(prefix=ip_network(host), protocol=L4.TCP, ports=((443, 445),)) for host in ("10.9.9.9", "203.0.113.10"))
    ged = Service(id="ged", class_=ServiceClass.ANNEX, selectors=far)
    built = structure({"ged": ged}, [Shape(service="ged", family=4, prefixlen=24, interface=False)])
    (forward,) = (chain for chain in xt_chains(built, 4) if chain.name == "ECLUSE-forward4")
    assert len(forward.rules) == len(set(forward.rules)) == 2 * 2 * 3
    kernel.apply(Change(structure=built))
    assert kernel.observe(built).structure == "as_wanted"

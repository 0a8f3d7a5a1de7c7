"""Policies while the daemon runs: what works is never replaced by what does not, and what changes takes effect at once."""

import signal
from dataclasses import replace

import pytest

from tests.process.house import SERVICES, House, firms, policies, until

pytestmark = pytest.mark.kernel


def hangup(house: House) -> None:
    house.roles["enforce"].send_signal(signal.SIGHUP)


def metric(house: House, name: str) -> float:
    lines = house.request("GET", "/metrics").message.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def test_a_broken_policy_keeps_the_one_in_force_and_says_so_everywhere(house):
    house.suspend("c000")
    digest, held = house.status()["policy"]["digest"], house.elements()
    (house.policies / "suspension.yaml").write_text(policies(min_debt=1, notice_days=0))
    hangup(house)
    until(lambda: not house.status()["policy"]["valid"], 5, what="the reload is refused")
    state = house.status()["policy"]
    assert state["digest"] == digest
    assert any("min_debt" in problem or "floor" in problem for problem in state["problems"])
    assert metric(house, "ecluse_policy_valid") == 0
    assert "policies refused, the former ones stay in force" in house.log()
    assert house.events("policy.rejected")[-1].body["problems"] >= 2
    assert house.elements() == held
    assert house.pay("c000").status == 200
    until(lambda: house.cut() == set(), 1, what="payment restores all the same")

    (house.policies / "suspension.yaml").write_text(policies(min_debt=600))
    hangup(house)
    until(lambda: house.status()["policy"]["valid"], 5, what="the mended policy is in force")
    assert house.status()["policy"]["digest"] != digest
    assert metric(house, "ecluse_policy_valid") == 1
    assert house.status()["policy"]["problems"] == []


@pytest.mark.parametrize("broken", ["", "policies:\n  auto: &x {}\n", "\0", "policies: [", "x" * (2 << 20)])
def test_whatever_stands_in_a_policy_file_the_old_policies_and_measures_stay(house, broken):
    house.suspend("c000")
    (house.policies / "suspension.yaml").write_text(broken)
    told = house.ask("reload")
    assert told["exit"] == 2
    assert told["message"]["en"].startswith("refused, the old ones stay")
    assert house.cut() == {"c000"}


def test_an_attachment_that_is_gone_from_the_inventory_is_gone_from_the_kernel_and_the_others_stay(house):
    house.suspend("c000", "c001")
    first, second, third = house.companies
    house.inventory((replace(first, attachments=first.attachments[:1]), second, third))
    assert house.ask("reload")["exit"] == 0
    until(lambda: not any("2001:db8:1000::" in str(members) for members in house.elements().values()), 2, what="it is gone")
    assert house.cut() == {"c000", "c001"}
    assert house.suspended() == {"c000", "c001"}


def test_a_company_that_moved_is_refused_at_its_new_place_only(house):
    house.suspend("c000")
    moved = replace(house.companies[0], attachments=(("10.9.9.0/24", ""),))
    house.inventory((moved, *house.companies[1:]))
    assert house.ask("reload")["exit"] == 0
    until(lambda: set(house.elements()["vpn4_24"]) == {("10.9.9.0",)}, 2, what="it moved")
    assert "vpn6_64" not in house.elements()


def test_a_company_that_is_gone_from_the_inventory_is_restored(house):
    house.suspend("c000", "c001")
    house.inventory(house.companies[1:])
    assert house.ask("reload")["exit"] == 0
    until(lambda: house.cut() == {"c001"}, 2, what="it is restored")
    assert house.events("measure.restored", "c000")


def test_a_service_that_becomes_a_dependency_is_restored_at_once(house):
    house.suspend("c000", "c001")
    (house.policies / "services.yaml").write_text(SERVICES.replace("vpn:\n    class: A", "vpn:\n    class: D"))
    assert house.ask("reload")["exit"] == 0
    until(lambda: house.cut() == set(), 2, what="nothing of the kind is refused any more")
    assert {event.subject for event in house.events("measure.restored")} == {"c000", "c001"}
    assert "vpn4_24" not in house.nft("list", "table", "inet", "ecluse")


def test_one_company_takes_a_service_out_of_reach_for_itself_alone(house):
    house.suspend("c000", "c001")
    own = replace(house.companies[0], out_of_reach=("vpn",))
    house.inventory((own, *house.companies[1:]))
    assert house.ask("reload")["exit"] == 0
    until(lambda: house.cut() == {"c001"}, 2, what="its measure is over")


def test_reloading_what_did_not_change_touches_neither_counters_nor_measures(house):
    house.suspend("c000")
    before = house.nft("list", "table", "inet", "ecluse")
    applied = house.events("measure.applied")
    for _ in range(3):
        hangup(house)
    assert house.ask("reload")["exit"] == 0
    assert _shape(house.nft("list", "table", "inet", "ecluse")) == _shape(before)
    assert house.events("measure.applied") == applied
    assert house.events("measure.restored") == []


def test_the_last_of_many_companies_is_restored_at_once_although_all_are_judged_again(make_house):
    house = make_house(firms(100))
    house.start("enforce")
    house.start("serve")
    house.suspend(*(firm.id for firm in house.companies))
    house.inventory((*house.companies[:-1], replace(house.companies[-1], out_of_reach=("vpn",))))
    assert house.ask("reload")["exit"] == 0
    took = until(lambda: house.events("measure.restored", "c099"), 1.5, what="the last one is restored")
    print(f"the last of 100 companies restored {took:.2f} s after the reload")
    assert house.cut() == {firm.id for firm in house.companies[:-1]}


def _shape(listing: str) -> list[str]:
    """A listing without times that run."""
    return [line.split(" expires ")[0] for line in listing.splitlines()]

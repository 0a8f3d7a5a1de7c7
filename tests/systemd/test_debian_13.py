"""The same story on Debian 13, with its own Python, systemd and nftables. Its tests follow one another."""

import pytest

from agent.lab import Stream
from tests.process.house import until
from tests.process.test_traffic import ANNEX_PORTS, ERP, KEPT, VPN, seen
from tests.systemd.conftest import a_gateway
from tests.systemd.gateway import ENFORCE, UNITS, refused
from tests.systemd.test_install import Watcher, there

#: On a fresh host the tree is built first.
pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def fresh(this_version):
    """A Debian 13 just after install.sh, and an open connection of the debtor's local software that crosses it all along."""
    with a_gateway("trixie") as (lab, gateway):
        gateway.said = gateway.install(this_version)
        gateway.first = gateway.status()
        with Stream(lab["desk"], ERP, 1433) as local:
            yield lab, gateway, local


@pytest.fixture(scope="module")
def provider(fresh):
    """The same, as a provider who lets the agent act has it, with `za` suspended."""
    _, gateway, _ = fresh
    gateway.set_up()
    gateway.suspend("za")
    return fresh


def test_it_is_installed_on_its_own_python_and_observes(fresh):
    _, gateway, _ = fresh
    assert "is installed" in gateway.said
    assert (gateway.first["mode_ceiling"], gateway.first["failures"]) == ("observe", [])
    assert gateway.machine.run("sh", "-c", ". /etc/os-release; echo $VERSION_ID").stdout == "13\n"
    assert "Python 3.13" in gateway.machine.run("/opt/ecluse/current/bin/python", "--version").stdout
    assert all(map(gateway.up, UNITS))


@pytest.mark.parametrize("unit", UNITS)
def test_the_exposure_of_a_unit_is_at_most_one_and_a_half_there_too(fresh, unit):
    _, gateway, _ = fresh
    done = gateway.machine.run("systemd-analyze", "security", "--threshold=15", unit, check=False)
    assert done.returncode == 0, done.stdout


def test_signed_webhooks_suspend_what_was_announced_and_nothing_else(provider):
    lab, _, _ = provider
    assert refused(lab)
    assert seen(lab, "desk", *KEPT) == ["open"] * len(KEPT)
    assert seen(lab, "neighbour", ("tcp", VPN, 443)) == ["open"]


def test_a_killed_enforcer_comes_back_and_an_upgrade_while_suspended_opens_nothing(provider, next_version):
    lab, gateway, local = provider
    former = gateway.pid()
    with Watcher(lab) as watcher:
        gateway.systemctl("kill", "-s", "KILL", ENFORCE)
        gateway.comes_back(ENFORCE, former)
        assert "99.1.0 is installed" in gateway.install(next_version)
    assert set(watcher.seen) == {"refused"}
    assert len(watcher.seen) > 50
    assert (gateway.version(), gateway.suspended()) == ("99.1.0", {"za"})
    assert local.settle().whole


def test_a_payment_restores(provider):
    lab, gateway, local = provider
    assert gateway.pay("za").status == 200
    until(lambda: not gateway.cut(), 5, what="the payment restores")
    assert seen(lab, "desk", *ANNEX_PORTS) == ["open"] * len(ANNEX_PORTS)
    assert local.settle().whole


def test_removing_it_leaves_nothing_behind_and_local_connections_survive(provider, this_version):
    _, gateway, local = provider
    gateway.install(this_version, "--uninstall", "--purge")
    assert not there(gateway)
    assert not gateway.table()
    assert local.settle().whole

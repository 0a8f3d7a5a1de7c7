"""A gateway on legacy iptables, under the shipped unit with the shipped drop-in."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from agent.lab import Stream
from tests.process.house import ROOT, until
from tests.process.test_traffic import ANNEX_PORTS, ERP, KEPT, VPN, seen
from tests.systemd.conftest import a_gateway
from tests.systemd.gateway import ENFORCE, refused

pytestmark = pytest.mark.kernel

DROP_IN = ROOT / "systemd" / "legacy-iptables.conf"
#: Where the drop-in has python-iptables looked for.
EXTRA = "usr/local/lib/ecluse"
DEBIAN = ("iptables", "libxtables12", "libip4tc2", "libip6tc2")


def lay(gateway) -> None:
    """What Debian's package brings, and python-iptables: both as this host has them, which is of the same release."""
    listed = subprocess.run(["dpkg", "-L", *DEBIAN], capture_output=True, text=True, check=True).stdout.split("\n")
    names = [name for name in listed if name and not Path(name).is_dir() and Path(name).exists()]
    tar = subprocess.run(["tar", "-cP", "--no-recursion", *names], capture_output=True, check=True).stdout
    subprocess.run(
        ["tar", "-x", "--keep-directory-symlink", "-C", gateway.machine.root], input=tar, stderr=subprocess.DEVNULL, check=True
    )
    gateway.machine.run("ldconfig")
    packages, extra = Path(sysconfig.get_path("purelib")), gateway.machine.root / EXTRA
    shutil.copytree(packages / "iptc", extra / "iptc")
    for library in packages.glob("libxtwrapper*.so"):
        shutil.copy2(library, extra)


@pytest.fixture(scope="module")
def provider(this_version):
    """Such a gateway, with `za` suspended."""
    with a_gateway() as (lab, gateway):
        lay(gateway)
        gateway.install(this_version)
        gateway.drop_in(ENFORCE, "legacy-iptables", DROP_IN.read_text())
        gateway.set_up()
        gateway.systemctl("stop", ENFORCE)
        gateway.nft("delete", "table", "inet", "ecluse")
        gateway.config.write_text(gateway.config.read_text() + "kernel: iptables\n")
        gateway.systemctl("start", ENFORCE)
        gateway.suspend("za")
        yield lab, gateway


def rules(gateway) -> str:
    return gateway.machine.run("iptables-legacy-save").stdout + gateway.machine.run("ip6tables-legacy-save").stdout


def test_the_rules_are_legacy_ones_and_refuse_what_was_announced_and_nothing_else(provider):
    lab, gateway = provider
    assert gateway.status()["kernel"]["name"] == "iptables"
    assert rules(gateway).count("-j ECLUSE-") >= 4
    assert not gateway.table()
    assert refused(lab)
    assert seen(lab, "desk", *KEPT) == ["open"] * len(KEPT)
    assert seen(lab, "neighbour", ("tcp", VPN, 443)) == ["open"]


def test_the_role_takes_the_lock_of_the_iptables_programs(provider):
    lab, gateway = provider
    gateway.systemctl("stop", ENFORCE)
    gateway.machine.run("iptables-legacy", "-F", "FORWARD")
    gateway.machine.run("systemd-run", "--unit=holder", "flock", "/run/xtables.lock", "sleep", "120")
    try:
        gateway.systemctl("start", "--no-block", ENFORCE)
        until(
            lambda: "another program holds /run/xtables.lock" in gateway.machine.journal("-u", ENFORCE),
            60,
            what="it waits",
            pause=0.5,
        )
    finally:
        gateway.systemctl("stop", "holder.service")
    until(gateway.up, 60, what="it is up", pause=0.5)
    assert refused(lab)


def test_killed_it_comes_back_and_a_payment_restores(provider):
    lab, gateway = provider
    former = gateway.pid()
    with Stream(lab["desk"], ERP, 1433) as local:
        gateway.systemctl("kill", "-s", "KILL", ENFORCE)
        assert refused(lab)
        gateway.comes_back(ENFORCE, former)
        assert gateway.suspended() == {"za"}
        assert gateway.pay("za").status == 200
        until(lambda: seen(lab, "desk", *ANNEX_PORTS) == ["open"] * len(ANNEX_PORTS), 10, what="the payment restores")
        assert local.settle().whole


def test_its_exposure_is_at_most_what_the_manual_says(provider):
    _, gateway = provider
    done = gateway.machine.run("systemd-analyze", "security", "--threshold=18", ENFORCE, check=False)
    assert done.returncode == 0, done.stdout

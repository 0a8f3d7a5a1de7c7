"""install.sh on a whole Debian: from nothing, again, upwards, back, and away."""

import re
import stat
import threading
import time
from pathlib import Path

import pytest

from agent.lab import Stream
from tests.process.house import until
from tests.process.test_traffic import ANNEX_PORTS, DOCUMENTS, ERP, KEPT, seen
from tests.systemd.conftest import a_gateway
from tests.systemd.gateway import ENFORCE, SERVE, refused

pytestmark = pytest.mark.kernel

PLACES = ("opt/ecluse", "etc/ecluse", "var/lib/ecluse", "usr/local/bin/ecluse", "usr/local/lib/systemd/system/ecluse.target")


def there(gateway) -> set[str]:
    return {place for place in PLACES if (gateway.machine.root / place).is_symlink() or (gateway.machine.root / place).exists()}


@pytest.fixture(scope="module")
def fresh(this_version):
    """A gateway just after its first installation: nothing was changed since."""
    with a_gateway() as (lab, gateway):
        gateway.said = gateway.install(this_version)
        yield lab, gateway


def test_a_dry_run_says_what_it_would_do_and_does_nothing(this_version):
    with a_gateway() as (_, gateway):
        said = gateway.install(this_version, "--dry-run")
        for part in (
            "systemd-sysusers",
            "/etc/ecluse/secrets",
            "ecluse-enforce.service",
            "systemctl enable",
            "/usr/local/bin/ecluse",
        ):
            assert part in said
        assert not there(gateway)
        assert not gateway.machine.run("getent", "passwd", "ecluse-serve", check=False).stdout
        # Another system is refused in a clear word, in the person's language, and touched as little.
        gateway.machine.write("/etc/os-release", "ID=ubuntu\nVERSION_ID=24.04\n")
        assert "Debian 12 and 13" in gateway.install(this_version, code=3)
        assert "Debian 12 et 13" in gateway.install(this_version, code=3, language="fr_FR.UTF-8")
        assert "systemd-sysusers" in gateway.install(this_version, "--dry-run", "--force")
        assert "99" not in gateway.install(this_version, "--version")
        assert "--purge" in gateway.install(this_version, "--purge", code=2)
        assert "--sideways" in gateway.install(this_version, "--sideways", code=2)
        # A bundle that was tampered with is not installed.
        gateway.machine.write("/etc/os-release", "ID=debian\nVERSION_ID=12\n")
        (wheel,) = (gateway.machine.root / "root").glob("*/*/wheels/click-*.whl")
        wheel.write_bytes(wheel.read_bytes() + b"x")
        assert "click" in gateway.install(this_version, code=2)
        assert not there(gateway)


def test_after_its_first_installation_it_observes_and_says_what_to_do_next(fresh):
    _, gateway = fresh
    status = gateway.status()
    assert status["mode_ceiling"] == "observe"
    assert status["failures"] == []
    assert all(gateway.up(unit) for unit in (ENFORCE, SERVE))
    assert gateway.machine.run("systemctl", "is-enabled", "ecluse.target").stdout.strip() == "enabled"
    assert "/etc/ecluse/policies" in gateway.said  # the first of the next steps
    assert "Next" in gateway.machine.run("ecluse", "status").stdout
    assert "Ensuite" in gateway.machine.run("ecluse", "--lang", "fr", "status").stdout
    # The sandbox lets it ask the kernel about the clock, which any time service tells.
    assert "says kernel" in gateway.machine.journal("-u", ENFORCE)
    # The secret it made is the one that verifies.
    secret = (gateway.directory / "secrets" / "billing").read_text().strip()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
    assert secret not in gateway.said


def test_what_it_wrote_can_be_read_by_those_who_need_it_and_by_nobody_else(fresh):
    _, gateway = fresh
    expected = {
        "/etc/ecluse": "755 root:root",
        "/etc/ecluse/ecluse.yaml": "644 root:root",
        "/etc/ecluse/sources.yaml": "640 root:ecluse-serve",
        "/etc/ecluse/policies": "750 root:ecluse",
        "/etc/ecluse/policies/customers.yaml": "640 root:ecluse",
        "/etc/ecluse/secrets": "700 root:root",
        "/etc/ecluse/secrets/billing": "600 root:root",
        "/var/lib/ecluse": "700 ecluse-enforce:ecluse-enforce",
        "/var/lib/ecluse/ledger.db": "600 ecluse-enforce:ecluse-enforce",
        "/run/ecluse/intake.sock": "660 ecluse-enforce:ecluse-serve",
        "/run/ecluse/operator.sock": "660 ecluse-enforce:ecluse",
    }
    told = gateway.machine.run("stat", "-c", "%n %a %U:%G", *expected).stdout.splitlines()
    assert dict(line.split(" ", 1) for line in told) == expected
    for path in (gateway.machine.root / "opt/ecluse").rglob("*"):
        if not path.is_symlink():
            assert not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH), path
            assert path.stat().st_uid == 0, path


def test_a_second_run_changes_nothing(fresh, this_version):
    _, gateway = fresh
    before = gateway.pid(), gateway.pid(SERVE), (gateway.directory / "secrets" / "billing").read_text()
    (gateway.directory / "ecluse.yaml").write_text((gateway.directory / "ecluse.yaml").read_text() + "max_elements: 1999\n")
    assert "is installed and runs" in gateway.install(this_version)
    assert before == (gateway.pid(), gateway.pid(SERVE), (gateway.directory / "secrets" / "billing").read_text())
    assert "1999" in (gateway.directory / "ecluse.yaml").read_text()


def test_shell_completion_and_the_manual_page_are_there(fresh):
    _, gateway = fresh
    complete = (
        "source /usr/local/share/bash-completion/completions/ecluse; COMP_WORDS=(ecluse exp) COMP_CWORD=1; "
        '_ecluse_completion ecluse; echo "${COMPREPLY[@]}"'
    )
    assert gateway.machine.run("bash", "-c", complete).stdout.split() == ["explain"]
    page = gateway.machine.run("zcat", "/usr/local/share/man/man1/ecluse.1.gz").stdout
    assert ".SS ecluse explain" in page.replace("\\-", "-")
    assert "_ecluse" in (gateway.machine.root / "usr/local/share/zsh/site-functions/_ecluse").read_text()


def test_files_that_the_new_version_refuses_stop_the_upgrade_before_anything_is_touched(fresh, next_version):
    _, gateway = fresh
    before, version = gateway.pid(), gateway.version()
    path = gateway.policies / "suspension.yaml"
    good = path.read_text()
    path.write_text(good + "  worse: {profile: fr-b2b, mode: auto, min_debt: 1}\n")
    said = gateway.install(next_version, code=2)
    assert "suspension.yaml" in said
    path.write_text(good)
    assert (gateway.pid(), gateway.version()) == (before, version)


def test_an_agent_that_was_stopped_by_hand_is_upgraded_and_stays_stopped(fresh, this_version, next_version):
    _, gateway = fresh
    gateway.systemctl("stop", "ecluse.target")
    assert not any(map(gateway.up, (ENFORCE, SERVE)))
    assert "stays so" in gateway.install(next_version)
    assert not any(map(gateway.up, (ENFORCE, SERVE)))
    gateway.systemctl("start", "ecluse.target")
    until(gateway.up, 30, what="it starts", pause=0.2)
    assert gateway.version() == "99.1.0"


class Watcher:
    """Asks again and again, from the debtor's desk, whether an announced service is refused; one "open" is too many."""

    def __init__(self, lab) -> None:
        self.lab, self.seen, self._stop = lab, [], threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.seen += seen(self.lab, "desk", ("tcp", DOCUMENTS, 443))
            time.sleep(0.02)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)


@pytest.fixture(scope="module")
def provider(this_version):
    """A gateway that suspends `za`, and an open connection of its local software that crosses the gateway all along."""
    with a_gateway() as (lab, gateway):
        gateway.install(this_version)
        gateway.set_up()
        gateway.suspend("za")
        with Stream(lab["desk"], ERP, 1433) as local:
            yield lab, gateway, local


def test_an_upgrade_while_suspended_opens_nothing_and_local_connections_survive(provider, next_version):
    lab, gateway, local = provider
    with Watcher(lab) as watcher:
        assert "99.1.0 is installed" in gateway.install(next_version)
    assert set(watcher.seen) == {"refused"}
    assert len(watcher.seen) > 50
    assert gateway.version() == "99.1.0"
    assert gateway.suspended() == {"za"}
    assert local.settle().whole


def test_an_upgrade_that_does_not_work_goes_back_to_the_running_version(provider, broken_version):
    lab, gateway, local = provider
    units = gateway.machine.run("sha256sum", "/usr/local/lib/systemd/system/ecluse-enforce.service").stdout
    with Watcher(lab) as watcher:
        said = gateway.install(broken_version, code=1)
    assert "a mistake of this version" in said
    assert "The former version runs again" in said
    assert set(watcher.seen) == {"refused"}
    assert gateway.version() == "99.1.0"
    assert gateway.suspended() == {"za"}
    assert gateway.machine.run("sha256sum", "/usr/local/lib/systemd/system/ecluse-enforce.service").stdout == units
    assert gateway.post("heartbeat", "", {}).status == 200
    assert local.settle().whole


def test_an_upgrade_that_fails_after_it_changed_the_ledger_gives_the_former_version_its_ledger_back(provider, migrating_version):
    lab, gateway, local = provider
    before = len(gateway.events("payment.received", "zb"))
    assert gateway.pay("zb", "1").status == 200
    with Watcher(lab) as watcher:
        said = gateway.install(migrating_version, code=1)
    assert "a later mistake" in said
    assert "The former version runs again" in said
    assert set(watcher.seen) == {"refused"}
    assert gateway.version() == "99.1.0"
    assert gateway.suspended() == {"za"}
    assert len(gateway.events("payment.received", "zb")) == before + 1
    assert gateway.pay("zb", "1").status == 200
    assert local.settle().whole


def test_a_downgrade_to_a_version_that_does_not_know_the_ledger_is_refused(provider, this_version):
    lab, gateway, _ = provider
    version = set_ledger_version(gateway, 999)
    try:
        said = gateway.install(this_version, code=3)
        assert "newer version" in said
    finally:
        set_ledger_version(gateway, version)
    assert gateway.version() == "99.1.0"
    assert refused(lab)


def set_ledger_version(gateway, number: int) -> int:
    """Make the ledger one of another schema, with its owner stopped; returns the former number."""
    code = (
        "import sqlite3\ndb = sqlite3.connect('/var/lib/ecluse/ledger.db')\n"
        f"print(db.execute('PRAGMA user_version').fetchone()[0])\ndb.execute('PRAGMA user_version = {number}')\ndb.close()"
    )
    gateway.systemctl("stop", ENFORCE)
    told = gateway.machine.run("python3", "-c", code).stdout
    if number < 999:
        gateway.systemctl("start", ENFORCE)
    return int(told)


def test_removing_it_lifts_every_rule_and_keeps_the_ledger(provider, this_version):
    lab, gateway, local = provider
    said = gateway.install(this_version, "--uninstall", "--dry-run")
    assert "systemctl" in said
    assert refused(lab)
    said = gateway.install(this_version, "--uninstall")
    assert "the ledger" in said
    assert seen(lab, "desk", *ANNEX_PORTS, *KEPT) == ["open"] * len([*ANNEX_PORTS, *KEPT])
    assert there(gateway) == {"etc/ecluse", "var/lib/ecluse"}
    assert gateway.machine.run("systemctl", "list-units", "--plain", "--no-legend", "ecluse*").stdout == ""
    assert local.settle().whole


def test_installed_again_it_finds_its_ledger_and_suspends_nobody_before_a_person_says_so(provider, this_version):
    lab, gateway, _ = provider
    gateway.install(this_version)
    assert gateway.status()["paused"]
    assert not gateway.cut()
    assert seen(lab, "desk", *ANNEX_PORTS) == ["open"] * len(ANNEX_PORTS)
    assert {event.subject for event in gateway.events("measure.applied")} == {"za"}


def test_purging_leaves_nothing_behind(provider, this_version):
    _, gateway, local = provider
    gateway.install(this_version, "--uninstall", "--purge")
    assert not there(gateway)
    left = gateway.machine.run("find", "/etc", "/usr/local", "/var/lib", "/run", "-name", "*ecluse*", check=False).stdout.split()
    assert [path for path in left if not path.startswith("/etc/systemd/system/ecluse")] == []  # those are the test's own drop-ins
    for database in ("passwd", "group"):
        assert "ecluse" not in gateway.machine.run("getent", database).stdout
    assert not gateway.table()
    assert local.settle().whole


def test_the_same_sources_give_the_same_bundle(this_version, tmp_path: Path):
    from tests.systemd.bundles import bundle

    again = bundle(tmp_path)
    assert (again / "SHA256SUMS").read_text() == (this_version / "SHA256SUMS").read_text()
    tars = [next(place.parent.glob("*.tar")).read_bytes() for place in (again, this_version)]
    assert tars[0] == tars[1]

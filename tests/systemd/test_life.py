"""An installed gateway in its daily life, under a real systemd, with real packets. Each test leaves nobody suspended."""

import json
import subprocess
import threading
import time
from datetime import timedelta

import pytest

from agent.lab import Stream
from tests.faults.groups import memory
from tests.faults.test_memory import ENOUGH
from tests.process.house import SECRET, until
from tests.process.test_traffic import ANNEX_PORTS, ERP, KEPT, VPN, seen
from tests.systemd.gateway import ENFORCE, PROBE, SERVE, UNITS, refused

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def gateway(installed):
    """The gateway, with `za` suspended: it does not pay before the last test."""
    _, found = installed
    found.suspend("za")
    return found


def test_signed_webhooks_suspend_what_was_announced_and_nothing_else(installed, gateway):
    lab, _ = installed
    assert refused(installed[0])
    assert seen(lab, "neighbour", ("tcp", VPN, 443)) == ["open"]
    assert seen(lab, "desk", *KEPT) == ["open"] * len(KEPT)


def test_a_reload_with_a_bad_policy_fails_in_words_and_the_former_one_stays_in_force(installed, gateway):
    path, former = gateway.policies / "suspension.yaml", gateway.pid()
    good = path.read_text()
    path.write_text(good + "  worse: {profile: fr-b2b, mode: auto, min_debt: 1}\n")
    told = gateway.systemctl("reload", ENFORCE, code=1)
    assert "Reload failed" in told or "failed" in told
    assert "suspension.yaml" in gateway.machine.journal("-u", ENFORCE, "-n", "20")
    assert gateway.status()["policy"]["valid"] is False
    assert (gateway.up(), gateway.pid(), refused(installed[0])) == (True, former, True)
    path.write_text(good)
    gateway.systemctl("reload", ENFORCE)
    assert gateway.status()["policy"]["valid"] is True
    assert (gateway.pid(), refused(installed[0])) == (former, True)


@pytest.mark.parametrize("unit", UNITS)
def test_a_role_that_is_killed_comes_back_by_itself_and_nothing_opens_meanwhile(installed, gateway, unit):
    lab, _ = installed
    former = gateway.pid(unit)
    with Stream(lab["desk"], ERP, 1433) as local:
        gateway.systemctl("kill", "-s", "KILL", unit)
        assert refused(installed[0])
        gateway.comes_back(unit, former)
        assert refused(installed[0])
        assert local.settle().whole
    assert gateway.post("heartbeat", "", {}).status == 200
    assert gateway.suspended() == {"za"}


def test_an_enforcer_that_the_kernel_ends_for_its_memory_comes_back_and_nothing_opens_meanwhile(installed, gateway):
    former = gateway.pid()
    with memory(ENOUGH) as group:
        # The group counts processes as it does who writes into it; the machine numbers them in its own way.
        join = f"echo {former} > {group.place}/cgroup.procs"
        moved = ["nsenter", "-t", str(gateway.machine.leader), "-p", "--", "sh", "-c", join]
        subprocess.run(moved, check=True, timeout=20)
        gateway.machine.run("choom", "-n", "1000", "-p", str(former))
        with group.eater(ENOUGH) as eater:
            eater.stdin.write(b"\n")
            eater.stdin.flush()
            until(lambda: group.killed() >= 1, 30, what="the kernel has ended the enforcer")
        assert refused(installed[0])
        gateway.comes_back(ENFORCE, former)
    assert refused(installed[0])
    until(lambda: gateway.post("heartbeat", "", {}).status == 200, 20, what="webhooks are taken again", pause=0.5)
    assert gateway.suspended() == {"za"}


@pytest.mark.parametrize("unit", UNITS)
def test_a_role_that_is_stuck_is_noticed_by_the_watchdog_and_started_again(installed, gateway, unit):
    gateway.drop_in(unit, "soon", "[Service]\nWatchdogSec=4s\n")
    try:
        gateway.systemctl("restart", unit)
        former = gateway.pid(unit)
        time.sleep(5)
        assert gateway.pid(unit) == former  # fed while it works
        gateway.systemctl("kill", "-s", "STOP", unit)
        gateway.comes_back(unit, former)
        assert "Watchdog timeout" in gateway.machine.journal("-u", unit, "-n", "60")
        assert refused(installed[0])
    finally:
        gateway.drop_in(unit, "soon", "")
        gateway.systemctl("restart", unit)


def test_restarts_under_webhooks_lose_none_and_the_port_is_never_closed(gateway):
    told, stop = {}, threading.Event()

    def biller():
        # As billing systems do: one fact after the other, each repeated until it is taken.
        number = 0
        while not stop.is_set():
            number += 1
            for _ in range(200):
                answer = gateway.pay("zb", "1", payment=f"P{number}").status  # a refused connection raises, and fails the test
                told.setdefault(number, []).append(answer)
                if answer == 200:
                    break
                time.sleep(0.05)

    failures = []

    def guarded():
        try:
            biller()
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        for unit in (SERVE, ENFORCE, SERVE, ENFORCE):
            gateway.systemctl("restart", unit)
            time.sleep(0.5)
    finally:
        stop.set()
        thread.join(60)
    assert not failures
    assert {answers[-1] for answers in told.values()} == {200}
    kept = [event.body["payment"] for event in gateway.events("payment.received", "zb")]
    assert sorted(kept) == sorted(f"P{number}" for number in told)
    assert len(told) > 20


def test_a_role_that_can_not_start_rests_and_tries_again_for_ever_unless_a_person_stops_it(installed, gateway):
    again = "ecluse-again@ecluse-enforce.timer"
    good = gateway.config.read_text()
    gateway.drop_in("ecluse-again@.timer", "soon", "[Timer]\nOnActiveSec=\nOnActiveSec=12s\n")
    gateway.drop_in(ENFORCE, "soon", "[Unit]\nStartLimitIntervalSec=10s\nStartLimitBurst=1\n")
    try:
        gateway.config.write_text(good + "unknown: key\n")
        gateway.systemctl("restart", "--no-block", ENFORCE)
        until(lambda: gateway.up(again), 40, what="it rests", pause=0.2)
        assert refused(installed[0])
        gateway.config.write_text(good)
        until(gateway.up, 60, what="it is tried again", pause=0.2)
        assert gateway.suspended() == {"za"}

        gateway.config.write_text(good + "unknown: key\n")
        gateway.systemctl("restart", "--no-block", ENFORCE)
        until(lambda: gateway.up(again), 60, what="it rests", pause=0.2)
        gateway.systemctl("stop", ENFORCE)
        assert not gateway.up(again)
    finally:
        gateway.config.write_text(good)
        gateway.drop_in("ecluse-again@.timer", "soon", "")
        gateway.drop_in(ENFORCE, "soon", "")
    gateway.systemctl("reset-failed", ENFORCE)
    gateway.systemctl("start", ENFORCE)


def test_stopping_leaves_the_rules_and_a_person_s_stop_is_not_undone_by_a_webhook(installed, gateway):
    gateway.systemctl("stop", ENFORCE)
    assert refused(installed[0])
    assert gateway.post("heartbeat", "", {}, at=gateway.now() + timedelta(seconds=1)).status == 503
    assert not gateway.up()
    gateway.systemctl("start", ENFORCE)
    assert gateway.suspended() == {"za"}


def test_a_boot_never_waits_for_an_agent_that_does_not_get_ready(installed, gateway):
    gateway.drop_in(ENFORCE, "stuck", "[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\n")
    try:
        gateway.machine.reboot()
        assert gateway.machine.show(ENFORCE, "ActiveState") == "activating"
        until(lambda: gateway.up(SERVE), 20, what="the other role is up", pause=0.2)
    finally:
        gateway.drop_in(ENFORCE, "stuck", "")
        gateway.systemctl("restart", ENFORCE)
    assert gateway.suspended() == {"za"}


def units_down(gateway):
    done = gateway.machine.run("ecluse", "doctor", "--json", check=False)
    found = json.loads(done.stdout)["data"]["findings"]
    return {name: state for one in found if one["code"] in ("UNITS", "UNIT_ASIDE") for name, state in one["facts"].items()}


def test_the_doctor_names_a_unit_that_is_down_and_none_while_all_are_up(gateway):
    assert units_down(gateway) == {}
    try:
        gateway.systemctl("stop", PROBE)
        assert units_down(gateway) == {PROBE: "inactive"}
        gateway.systemctl("disable", "ecluse.target")
        assert units_down(gateway) == {PROBE: "inactive", "ecluse.target": "disabled"}
    finally:
        gateway.systemctl("enable", "ecluse.target")
        gateway.systemctl("start", PROBE)
    assert units_down(gateway) == {}


def test_the_journal_has_fields_and_no_secret(gateway):
    journal = gateway.machine.journal("ECLUSE_COMPANY=za")
    assert "za suspended" in journal
    everything = gateway.machine.journal("-o", "export")
    assert "whsec_" not in everything
    assert SECRET.decode() not in everything


@pytest.mark.parametrize("unit", UNITS)
def test_the_exposure_of_a_unit_is_at_most_one_and_a_half(gateway, unit):
    done = gateway.machine.run("systemd-analyze", "security", "--threshold=15", unit, check=False)
    assert done.returncode == 0, done.stdout


def test_every_unit_is_well_formed(gateway):
    units = [path.name for path in (gateway.machine.root / "usr/local/lib/systemd/system").iterdir()]
    done = gateway.machine.run(
        "systemd-analyze", "verify", "--man=no", *(name.replace("@.", "@ecluse-enforce.") for name in units), check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_payment_restores_and_local_traffic_never_noticed(installed, gateway):
    lab, _ = installed
    with Stream(lab["desk"], ERP, 1433) as local:
        assert gateway.pay("za").status == 200
        until(lambda: not gateway.cut(), 2, what="the payment restores")
        assert seen(lab, "desk", *ANNEX_PORTS) == ["open"] * len(ANNEX_PORTS)
        assert local.settle().whole
    assert "za restored" in gateway.machine.journal("ECLUSE_DID=restored")

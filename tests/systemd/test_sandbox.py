"""What is out of reach of somebody who has taken over a role: every attempt is made from inside the shipped unit's sandbox.

The units here are the shipped ones with another program; nothing of their sandbox is changed.
"""

import json
import re
from pathlib import Path

import pytest

from tests.systemd import attack
from tests.systemd.gateway import ENFORCE, PROBE, SERVE

pytestmark = pytest.mark.kernel


def sandboxed(gateway, unit: str, script: Path, *arguments: str) -> dict[str, str]:
    """Run a script in the sandbox of a unit; returns the object it printed."""
    text = (gateway.machine.root / "usr/local/lib/systemd/system" / unit).read_text()
    program = f"ExecStart=/opt/ecluse/current/bin/python /opt/test/{script.name} {' '.join(arguments)}"
    replaced = {"ExecStart": program, "Type": "Type=oneshot\nStandardOutput=truncate:/opt/test/answer", "Restart": "Restart=no"}
    for name, line in replaced.items():
        text, count = re.subn(rf"^{name}=.*$", line.replace("\\", "\\\\"), text, flags=re.MULTILINE)
        assert count == 1, name
    text = re.sub(
        r"^(WatchdogSec|Requires|OnFailure|ExecReload|OOMPolicy|RuntimeDirectory\w*|StateDirectory\w*)=.*\n",
        "",
        text,
        flags=re.MULTILINE,
    )
    gateway.machine.write(f"/opt/test/{script.name}", script.read_text())
    gateway.machine.write(f"/run/systemd/system/taken-{unit}", text)
    gateway.systemctl("daemon-reload")
    gateway.systemctl("start", f"taken-{unit}")
    found: dict[str, str] = json.loads((gateway.machine.root / "opt/test/answer").read_text())
    return found


@pytest.fixture(scope="module")
def gateway(installed):
    _, found = installed
    found.suspend("za")
    return found


@pytest.fixture(scope="module")
def face(gateway):
    """What came of each attempt from the listening role."""
    return sandboxed(gateway, SERVE, Path(attack.__file__), str(gateway.pid(ENFORCE)))


@pytest.fixture(scope="module")
def eye(gateway):
    """The same from the probing role."""
    return sandboxed(gateway, PROBE, Path(attack.__file__), str(gateway.pid(ENFORCE)))


@pytest.mark.parametrize("attempt", sorted(attack.ATTEMPTS))
def test_whoever_has_the_listening_role_can_not(face, attempt):
    assert face[attempt] != ""


@pytest.mark.parametrize("attempt", sorted(set(attack.ATTEMPTS) - set(attack.OUTBOUND)))
def test_whoever_has_the_probing_role_can_not(eye, attempt):
    assert eye[attempt] != ""


def test_the_attempts_were_refused_and_did_not_fail_for_want_of_something_to_try_them_on(gateway, face, eye):
    for found, user in ((face, "ecluse-serve"), (eye, "ecluse-probe")):
        assert found["who it is"] == gateway.machine.run("id", "-u", user).stdout.strip()
        assert found["the host's configuration"] == "policies"
        assert "PermissionError" in found["read the ledger"]
        assert "PermissionError" in found["speak to the operators' socket"]
    assert "status 401" in face["state a payment without a signature"]
    assert "status 401" in face["state a payment with a made-up signature"]
    assert "may not speak to this socket" in eye["state a payment without a signature"]


def test_after_all_attempts_the_gateway_is_as_it_was(gateway, face, eye):
    assert gateway.up()
    assert gateway.cut() == {"za"}
    assert not gateway.events("payment.received", "za")
    assert not gateway.events("suspension.approved", "za")
    assert gateway.pay("za").status == 200

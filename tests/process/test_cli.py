"""The command line against the real enforcing role: same socket, same words, same exit codes. The kernel is the one in memory."""

import base64
import getpass
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agent.cli import main

ROOT = Path(__file__).parents[2]
FACTS = str(ROOT / "tests/golden/simulate/zephyr.jsonl")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running `ecluse enforce` with its configuration file."""
    folder = tmp_path_factory.mktemp("h")
    for name in ("state", "run"):
        (folder / name).mkdir()
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("whsec_" + base64.b64encode(os.urandom(32)).decode())
    (folder / "sources.yaml").write_text(
        "sources:\n  bank:\n    kind: native\n    secrets: [secret]\n"
        "    events: [payment.received, heartbeat]\n    customer_ids: own\n"
    )
    config = folder / "ecluse.yaml"
    config.write_text(
        f"policies: {ROOT / 'policies'}\nsources: sources.yaml\nstate_dir: state\nrun_dir: run\n"
        "kernel: memory\nmode_ceiling: auto\n"
        f"operators:\n  - {{name: Claire, user: {getpass.getuser()}, roles: [approver]}}\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "agent", "enforce", "--config", str(config)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            end = time.monotonic() + 60
            while not (folder / "run/operator.sock").exists():
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                assert time.monotonic() < end
                time.sleep(0.05)
            yield config
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode == 0


@pytest.fixture
def ecluse(host: Path) -> Any:
    def run(*arguments: str, lang: str = "en") -> Result:
        env = {"ECLUSE_CONFIG": str(host), "ECLUSE_SOCKET": "", "LC_ALL": lang, "NO_COLOR": "1"}
        return CliRunner().invoke(main, arguments, env=env, prog_name="ecluse")

    return run


def test_a_day_at_the_gateway_from_the_first_look_to_the_last(ecluse: Any, host: Path) -> None:
    status = json.loads(ecluse("status", "--json").stdout)["data"]
    assert (status["mode_ceiling"], status["kernel"]["name"], status["measures"]) == ("auto", "memory", [])
    said = ecluse("status", lang="fr")
    assert (said.exit_code, "Rien n'est suspendu." in said.output) == (0, True)

    said = ecluse("import", FACTS)
    assert (said.exit_code, said.output) == (0, "17 facts imported, 0 known already\n")
    assert ecluse("import", FACTS).output == "0 facts imported, 17 known already\n"

    explained = ecluse("explain", "zb", lang="fr")
    assert explained.exit_code == 0
    for part in ("zb:MED-ZB", "mise en demeure", "G-27", "3 200,00 EUR", "payer F-2026-ZB"):
        assert part in explained.output
    assert ecluse("explain", "nobody").exit_code == 2

    ahead = json.loads(ecluse("forecast", "--days", "60", "--json").stdout)["data"]
    assert {one["case"] for one in ahead["cases"]} <= {"za:MED-ZA", "zb:MED-ZB"}
    (case,) = json.loads(ecluse("forecast", "--company", "zb", "--json").stdout)["data"]["cases"]
    assert (case["case"], case["suspend_at"]) == ("zb:MED-ZB", None)  # the notice is stale, and nobody approved
    assert case["missing"]
    assert case["missing"][0]["fr"] in ecluse("explain", "zb", lang="fr").output
    assert ecluse("forecast", "--company", "nobody").exit_code == 2
    assert ecluse("forecast", "--days", "0").exit_code == 2

    # No feed reported, so the gate does not pass: a request by hand is refused with the check that says so.
    refused = ecluse("suspend", "zb", "--reason", "try")
    assert refused.exit_code == 3
    assert "G-22" in refused.stderr
    assert json.loads(ecluse("plan", "--json").stdout)["data"]["adds"] == 0

    assert ecluse("approve", "zb:nothing", "--reason", "r").exit_code == 2
    assert ecluse("approve", "--policy", "fr-b2b-auto", "--until", "2000-01-01", "--reason", "r").exit_code == 2
    assert ecluse("revoke", "--policy", "fr-b2b-auto", "--reason", "r").exit_code == 0

    arguments = ("--field", "payment=CHQ-77", "--field", "amount=3200.00", "--field", "currency=EUR")
    assert ecluse("record", "payment.received", "--company", "zb", *arguments).exit_code == 0
    assert "payer" not in ecluse("explain", "zb", lang="fr").output

    assert ecluse("pause", "--reason", "migration").exit_code == 0
    assert "migration" in ecluse("status").output
    assert ecluse("resume", "--reason", "done").exit_code == 0
    assert ecluse("restore", "za", "--reason", "by hand").exit_code == 0
    assert ecluse("restore", "nobody", "--reason", "by hand").exit_code == 2
    assert ecluse("reload").exit_code == 0
    assert ecluse("clear", "--reason", "moving").exit_code == 0

    told = ecluse("log", lang="fr").output
    assert "paiement CHQ-77 reçu : 3 200,00 EUR" in told
    assert "ordonne le rétablissement : by hand" in told
    verified = ecluse("log", "--verify")
    assert (verified.exit_code, bool(re.search(r"[0-9]+ rows verify", verified.output))) == (0, True)
    assert ecluse("check", "--config", str(host), "--secrets").exit_code == 0

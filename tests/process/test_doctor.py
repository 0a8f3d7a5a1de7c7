"""`ecluse doctor` on real hosts: namespaces with something in the way. It sees it, says it, and changes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.lab import Node, Topology, laboratory
from agent.lab.namespaces import Space
from agent.ledger.sqlite import Ledger
from tests.process.certificates import signed
from tests.process.house import ROOT

pytestmark = pytest.mark.kernel


@pytest.fixture
def gateway():
    with laboratory(Topology(nodes=(Node(name="gw", forwarding=True),))) as lab:
        yield lab["gw"]


def run(space: Space, *argv: str, text: str | None = None, code: int | None = 0) -> str:
    with space.start(
        list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
    ) as process:  # fmt: skip
        output, _ = process.communicate(text, timeout=60)
    assert code is None or process.returncode == code, output[-1000:]
    return str(output)


def doctor(space: Space, config: Path, *prefix: str) -> dict[str, dict[str, object]]:
    said = run(space, *prefix, sys.executable, "-m", "agent", "doctor", "--json", "--config", str(config), code=None)
    found = json.loads(said)
    assert found["exit"] in (0, 1, 3), said
    return {one["code"]: one for one in found["data"]["findings"]}


def level(found: dict[str, dict[str, object]], code: str) -> object:
    return found[code]["level"] if code in found else None


@pytest.fixture
def config(open_directory: Path) -> Path:
    path = open_directory / "ecluse.yaml"
    path.write_text("policies: p\nsources: s\nstate_dir: state\n")
    return path


def test_it_sees_what_is_in_the_way_and_leaves_everything_as_it_was(gateway, config):
    calm = doctor(gateway, config)
    assert level(calm, "FEATURES") == level(calm, "FORWARDING") == level(calm, "ROUTES") == level(calm, "ANSWERS") == "ok"
    run(
        gateway, "nft", "-f", "-",
        text="""
        table inet theirs {
          set many { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.0.0/16 }; }
          chain early { type filter hook forward priority -20; policy accept; ip saddr @many drop; meta mark set 7; }
          chain late { type filter hook forward priority 0; policy drop; ct state established accept; }
          chain out { type filter hook output priority 0; policy drop; }
        }
        table ip proxy { chain p { type nat hook prerouting priority dstnat; tcp dport 80 redirect to :3128; }; }
        """,
    )  # fmt: skip
    run(gateway, "ip", "rule", "add", "iif", "lo", "lookup", "100")  # of the host's own packets: no matter
    run(gateway, "ip", "rule", "add", "fwmark", "7", "lookup", "101")
    run(gateway, "ip", "link", "add", "za0", "type", "veth", "peer", "name", "za1")
    run(gateway, "ip", "rule", "add", "iif", "za0", "lookup", "102")
    before = run(gateway, "nft", "list", "ruleset"), run(gateway, "ip", "rule"), run(gateway, "ip", "link")
    found = doctor(gateway, config)
    assert level(found, "EARLIER_DROP") == "notice"
    assert found["EARLIER_DROP"]["facts"] == {"chains": ["inet theirs early"]}
    assert level(found, "ANSWERS") == level(found, "PROXIES") == "warning"
    assert found["MARKS"]["facts"] == {"tables": ["inet theirs"]}
    assert level(found, "ROUTES_MARK") == level(found, "ROUTES_IIF") == "warning"
    assert "za0" in found["ROUTES_IIF"]["what"]["en"]
    assert before == (run(gateway, "nft", "list", "ruleset"), run(gateway, "ip", "rule"), run(gateway, "ip", "link"))


def test_legacy_rules_and_ipsets_of_others_are_seen_and_those_of_our_own_backend_are_not(gateway, config):
    for argv in (
        ("iptables-legacy", "-N", "ECLUSE-forward"),
        ("iptables-legacy", "-A", "FORWARD", "-j", "ECLUSE-forward"),
        ("ipset", "create", "ECLUSE-vpn", "hash:net"),
    ):
        run(gateway, *argv)
    found = doctor(gateway, config)
    assert level(found, "LEGACY") == "ok"
    assert "IPSETS" not in found
    run(gateway, "iptables-legacy", "-A", "FORWARD", "-s", "192.0.2.1", "-j", "DROP")
    run(gateway, "ipset", "create", "bans", "hash:ip", "maxelem", "2")
    for address in ("192.0.2.1", "192.0.2.2"):
        run(gateway, "ipset", "add", "bans", address)
    found = doctor(gateway, config)
    assert found["LEGACY"]["facts"] == {"tables": {"iptables filter": 1}}
    assert found["IPSET"]["facts"] == {"name": "bans", "members": 2, "most": 2}


def test_a_large_foreign_set_does_not_make_it_read_every_member(gateway, config):
    members = ", ".join(f"{20 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/25" for n in range(50_000))
    run(
        gateway,
        "nft",
        "-f",
        "-",
        text=f"table ip geo {{ set s {{ type ipv4_addr; flags interval; elements = {{ {members} }}; }}; }}",
    )
    listing = run(gateway, "nft", "--json", "--terse", "list", "ruleset")
    assert len(listing) < 2000
    assert level(doctor(gateway, config), "TABLES") is None


def test_without_root_it_says_what_it_could_not_read(gateway, config):
    found = doctor(gateway, config, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
    assert level(found, "FEATURES") == level(found, "TABLES") == "warning"
    assert "root" in found["TABLES"]["do"]["en"]


def test_people_read_the_worst_first_in_their_language_and_scripts_the_exit_code(gateway, config):
    run(gateway, "nft", "add table inet x; add chain inet x o { type filter hook output priority 0; policy drop; }")
    said = run(gateway, sys.executable, "-m", "agent", "doctor", "--lang", "fr", "--config", str(config), code=3)
    first = said.splitlines()[0]
    assert first.startswith("attention")
    assert "à faire : Accepter en sortie" in said
    assert said.splitlines()[-1].startswith("0 mauvais, ")


def test_it_sees_an_installation_that_is_open_to_others_and_a_certificate_that_ends(gateway, config):
    folder = config.parent
    (folder / "state").mkdir()
    ca = signed(folder, "ca")
    signed(folder, "gateway", by=ca, days=5)
    (folder / "gateway.key").chmod(0o600)
    (folder / "web.yml").write_text("tls_server_config: {cert_file: gateway.pem, key_file: gateway.key}\n")
    (folder / "secret").write_text("whsec_" + "a" * 44)
    (folder / "secret").chmod(0o600)
    (folder / "s").write_text("sources: {erp: {kind: native, secrets: [secret], customer_ids: own, events: [payment.received]}}\n")
    config.write_text(config.read_text() + "web: web.yml\n")
    Ledger.open(folder / "state/ledger.db").close()
    found = doctor(gateway, config)
    assert (level(found, "PRIVATE"), level(found, "CERTIFICATE")) == ("ok", "warning")
    (folder / "secret").chmod(0o644)
    (folder / "state/ledger.db").chmod(0o640)
    (folder / "gateway.key").unlink()
    (folder / "state/ledger.db.before-20260302T090000Z").touch()
    found = doctor(gateway, config)
    assert level(found, "PRIVATE") in ("bad", "warning")
    assert level(found, "FORMER_LEDGERS") == "notice"

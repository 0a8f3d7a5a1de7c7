"""A real Prometheus scrapes the real roles over TLS with a password: its rules load, its queries find what they ask for.

The binaries are Debian's, unpacked beside the virtual environment by the Makefile; nothing of it runs as a service.
"""

import contextlib
import http.client
import json
import re
import subprocess
import urllib.parse
from pathlib import Path

import bcrypt
import pytest

from tests.process.certificates import signed
from tests.process.conftest import a_house
from tests.process.house import ROOT, House, firms, until

pytestmark = pytest.mark.kernel

PROGRAMS = ROOT / ".cache/prometheus/usr/bin"
MONITORING = ROOT / "monitoring"
PORT = 9090

#: Queries that rightly find nothing in a house where all is well.
QUIET = ("> 0", "ecluse_webhook_clock_skew")


#: What depends on the machine that tests: whether its clock is kept, and whether others fill its disk.
HOST = ("EcluseClockNotTrusted", "EcluseDiskFillsUp")


def program(name: str) -> str:
    path = PROGRAMS / name
    assert path.exists(), f"{path} is missing: run `make prometheus` once"
    return str(path)


def test_the_rules_are_sound_and_fire_when_they_should() -> None:
    for arguments in (("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")):
        done = subprocess.run(
            [program("promtool"), *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=MONITORING
        )
        assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """The server in the house's namespace."""

    def __init__(self, house: House) -> None:
        self.house = house

    def get(self, path: str, **query: str) -> dict:
        with self.house.space.inside():
            conn = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
            conn.connect()
        with contextlib.closing(conn):
            conn.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(query)}")
            return json.loads(conn.getresponse().read())

    def query(self, expression: str) -> list:
        told = self.get("query", query=expression)
        assert told["status"] == "success", (expression, told)
        return told["data"]["result"]

    def target(self) -> dict:
        with contextlib.suppress(OSError, ValueError):  # it answers with plain text until it is ready
            return (self.get("targets")["data"]["activeTargets"] or [{}])[0]
        return {}


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A house in which one company is suspended and another was, behind TLS and a password, and a Prometheus that looks at it."""
    folder = tmp_path_factory.mktemp("watch")
    ca = signed(folder, "ca")
    signed(folder, "gateway", by=ca)
    hashed = bcrypt.hashpw(b"scrape", bcrypt.gensalt(10)).decode()
    tls = f"tls_server_config: {{cert_file: {folder}/gateway.pem, key_file: {folder}/gateway.key}}\n"
    (folder / "metrics.yml").write_text(f"{tls}basic_auth_users: {{prometheus: {hashed}}}\n")
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}\n"
        f"rule_files: [{MONITORING}/alerts.yaml]\n"
        "scrape_configs:\n  - job_name: ecluse\n    scheme: https\n"
        f"    tls_config: {{ca_file: {ca.cert_file}, server_name: localhost}}\n"
        "    basic_auth: {username: prometheus, password: scrape}\n"
        "    static_configs: [{targets: ['127.0.0.1:9440']}]\n"
    )
    more = f"metrics_listen: 127.0.0.1:9440\nmetrics_web: {folder}/metrics.yml\n"
    with a_house(firms(3), more=more) as house:
        house.start("enforce")
        house.start("serve")
        house.suspend("c000", "c001")
        with (folder / "log").open("wb") as log:
            server = house.space.start(
                [
                    program("prometheus"),
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{PORT}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        house.started.append(server)
        prometheus = Prometheus(house)
        until(
            lambda: prometheus.target().get("health") == "up", 30, what=f"the scrape works ({(folder / 'log').read_text()[-2000:]})"
        )
        house.pay("c000")
        until(lambda: house.cut() == {"c001"}, 5, what="c000 is restored")
        assert house.post("heartbeat", "", {}, secret=b"x" * 32).status == 401
        counted = "ecluse_payment_to_restore_seconds_count"
        until(lambda: prometheus.query(f"rate({counted}[30s]) > 0"), 30, what="two scrapes have seen the restore", pause=0.1)
        refused = 'ecluse_webhooks_total{outcome="bad_signature"} > 0'
        until(lambda: prometheus.query(refused), 30, what="a scrape has seen the refusal", pause=0.1)
        yield prometheus


def dashboard() -> list[str]:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_every_query_of_the_dashboard_finds_what_it_asks_for(watched: Prometheus) -> None:
    for expression in dashboard():
        asked = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
        found = watched.query(asked)
        assert found or any(word in expression for word in QUIET), expression
        # No quantile of nothing; and this house has no probe, whose figure then says that it is neither up nor down.
        if "histogram_quantile" not in expression and "ecluse_probe_up" not in expression:
            assert all(one["value"][1] != "NaN" for one in found), expression


def test_no_alert_fires_in_a_house_where_all_is_well_and_every_name_it_asks_for_is_there(watched: Prometheus) -> None:
    groups = watched.get("rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    until(
        lambda: all(r["health"] == "ok" for g in watched.get("rules")["data"]["groups"] for r in g["rules"]), 20, what="rules ran"
    )
    for rule in rules:
        # Nothing can have been wrong for long enough yet, so the conditions themselves are asked; by the enforcer's clock, which
        # is the test's, where they are about it.
        asked = rule["query"]
        if "certificate" not in asked:
            asked = asked.replace("time()", repr(watched.house.now().timestamp()))
        if rule["name"] not in HOST:
            assert watched.query(asked) == [], rule["name"]
        for name in set(re.findall(r"\becluse_[a-z_]+", rule["query"])):
            assert watched.query(name), f"{rule['name']} asks for {name}"


def test_what_is_told_is_what_is(watched: Prometheus) -> None:
    told = {one["metric"]["state"]: one["value"][1] for one in watched.query("ecluse_suspended_companies")}
    assert told == {"desired": "1", "actual": "1"}
    assert watched.query('ecluse_webhooks_total{outcome="accepted", source="billing"} > 0')
    assert watched.query('ecluse_changes_total{kind="restore"} == 1')
    assert watched.query("ecluse_serve_certificate_expiry_timestamp_seconds > time() + 20 * 86400")
    assert Path(watched.house.state / "ledger.db").stat().st_size <= float(watched.query("ecluse_ledger_bytes")[0]["value"][1])


def test_the_password_guards_the_figures(watched: Prometheus) -> None:
    assert watched.house.request("GET", "/metrics").status == 404, "they are not on the billers' port"

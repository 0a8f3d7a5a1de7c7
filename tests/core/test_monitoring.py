"""Alerts, runbooks and the dashboard as files: nothing is there for itself, and every name exists in the exporter."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from agent.metrics import EnforcerMetrics, ServeMetrics, exposition

ROOT = Path(__file__).resolve().parents[2]
RULES = [rule for group in yaml.safe_load((ROOT / "monitoring/alerts.yaml").read_text())["groups"] for rule in group["rules"]]
TESTS = yaml.safe_load((ROOT / "monitoring/alerts.test.yaml").read_text())["tests"]
DASHBOARD = json.loads((ROOT / "monitoring/dashboard.json").read_text())
NAME = re.compile(r"\becluse_[a-z_]+")


def exported() -> set[str]:
    """Every name of a sample that the two roles can expose."""
    enforcer, serve = EnforcerMetrics(sources=["bank"]), ServeMetrics(sources=["bank"])
    enforcer.companies(desired=0, actual=0)
    enforcer.attachments(desired=0, actual=0)
    enforcer.kernel_call("apply", 0.1)
    enforcer.feeds({"bank": 1.0})
    enforcer.clock_skew("bank", 0.0)
    enforcer.ceiling("observe")
    serve.answered("bank", 200, 0.1)
    serve.tls("webhooks", valid=True, expires=1.0)
    text = exposition(enforcer.registry) + exposition(serve.registry)
    return {sample.name for family in text_string_to_metric_families(text.decode()) for sample in family.samples}


def family_of(name: str) -> str:
    return re.sub(r"_(bucket|count|sum|created)$", "", name)


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    pages = {page.stem for page in (ROOT / "docs/runbooks").glob("*.md")} - {"README"}
    assert pages == {rule["alert"] for rule in RULES}
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbooks/{rule['alert']}.md"
        text = (ROOT / rule["annotations"]["runbook"]).read_text()
        assert text.startswith(f"# {rule['alert']}\n")
        assert [part in text for part in ("**What it means.**", "**Who is affected.**", "## Look", "## Do")] == [True] * 4
        assert ("wakes somebody" in text) == (rule["labels"]["severity"] == "page")


def test_pages_name_only_what_exists() -> None:
    known = exported() | {family_of(name) for name in exported()}
    for page in (ROOT / "docs/runbooks").glob("*.md"):
        text = page.read_text()
        assert set(NAME.findall(text)) <= known, page.name
        for link in re.findall(r"\]\(([A-Za-z]+\.md)\)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_alert_is_tested_to_fire_and_to_stay_silent() -> None:
    fires = {test["alert_rule_test"][0]["alertname"] for test in TESTS if test["alert_rule_test"][0]["exp_alerts"]}
    silent = {test["alert_rule_test"][0]["alertname"] for test in TESTS if not test["alert_rule_test"][0]["exp_alerts"]}
    assert fires == silent == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize(
    "expression", [rule["expr"] for rule in RULES] + [t["expr"] for panel in DASHBOARD["panels"] for t in panel.get("targets", ())]
)
def test_a_query_asks_only_for_what_the_exporter_has(expression: str) -> None:
    names = set(NAME.findall(re.sub(r'"[^"]*"', "", expression)))
    assert names or expression.startswith("up{")
    assert names <= exported()


def test_every_figure_of_the_exporter_is_watched_or_shown() -> None:
    asked = json.dumps([rule["expr"] for rule in RULES]) + json.dumps(DASHBOARD)
    left = {name for name in map(family_of, exported()) if "_process_" not in name and name not in asked}
    assert left == set(), f"add {', '.join(sorted(left))} to an alert rule or to a panel of monitoring/dashboard.json"


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells

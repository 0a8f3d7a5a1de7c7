"""Metrics: own registries, bounded labels, the promised names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from agent.metrics import CHANGES, FLOWS, LOOKS, EnforcerMetrics, ServeMetrics, exposition


def values(metrics: EnforcerMetrics | ServeMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The exposition read back by Prometheus' own parser."""
    families = text_string_to_metric_families(exposition(metrics.registry).decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(metrics: EnforcerMetrics | ServeMetrics, name: str, **labels: str) -> float | None:
    return values(metrics).get((name, tuple(sorted(labels.items()))))


def filled() -> EnforcerMetrics:
    metrics = EnforcerMetrics(sources=["stripe-main"], version="1.2.3")
    metrics.companies(desired=3, actual=2)
    metrics.attachments(desired=7, actual=6)
    metrics.changed("suspend")
    metrics.changed("renew", 40)
    metrics.repaired("flush", 6)
    metrics.failed("kernel")
    metrics.restored(0.004, age=42.0)
    metrics.kernel_call("apply", 0.003)
    metrics.kernel_error("apply")
    metrics.inbox(2)
    metrics.waiting(due=4, held=1, stopped=5, volatile=6, failing=7)
    metrics.reviewing(is_on=True)
    metrics.audited(at=950.0)
    metrics.disk(used=4096, free=10**9)
    metrics.feeds({"stripe-main": 800.0, "nobody": 1.0})
    metrics.clock(synchronised=True, offset=0.003)
    metrics.clock_stepped()
    metrics.webhook("stripe-main", "accepted")
    metrics.clock_skew("stripe-main", -1.5)
    metrics.cycle(0.02, good_at=1000.0)
    metrics.policy(valid=True, loaded_at=900.0)
    metrics.ledger(sequence=12, writable=True)
    metrics.paused(paused=True)
    metrics.ceiling("observe")
    return metrics


def test_every_promised_figure_is_exposed() -> None:
    found = values(filled())
    expected = {
        ("ecluse_suspended_companies", (("state", "desired"),)): 3,
        ("ecluse_suspended_companies", (("state", "actual"),)): 2,
        ("ecluse_suspended_attachments", (("state", "desired"),)): 7,
        ("ecluse_suspended_attachments", (("state", "actual"),)): 6,
        ("ecluse_changes_total", (("kind", "suspend"),)): 1,
        ("ecluse_changes_total", (("kind", "renew"),)): 40,
        ("ecluse_changes_total", (("kind", "restore"),)): 0,
        ("ecluse_repairs_total", (("cause", "flush"),)): 6,
        ("ecluse_failures_total", (("kind", "kernel"),)): 1,
        ("ecluse_payment_to_restore_seconds_bucket", (("le", "0.002"),)): 0,
        ("ecluse_payment_to_restore_seconds_bucket", (("le", "0.005"),)): 1,
        ("ecluse_payment_to_restore_seconds_count", ()): 1,
        ("ecluse_fact_age_at_restore_seconds_bucket", (("le", "30.0"),)): 0,
        ("ecluse_fact_age_at_restore_seconds_bucket", (("le", "60.0"),)): 1,
        ("ecluse_kernel_seconds_count", (("operation", "apply"),)): 1,
        ("ecluse_kernel_errors_total", (("operation", "apply"),)): 1,
        ("ecluse_kernel_errors_total", (("operation", "observe"),)): 0,
        ("ecluse_inbox_depth", ()): 2,
        ("ecluse_due_companies", ()): 4,
        ("ecluse_held_companies", ()): 1,
        ("ecluse_stopped_companies", ()): 5,
        ("ecluse_volatile_facts", ()): 6,
        ("ecluse_failing", ()): 7,
        ("ecluse_policy_under_review", ()): 1,
        ("ecluse_last_audit_timestamp_seconds", ()): 950,
        ("ecluse_ledger_bytes", ()): 4096,
        ("ecluse_state_free_bytes", ()): 10**9,
        ("ecluse_feed_last_heartbeat_timestamp_seconds", (("source", "stripe-main"),)): 800,
        ("ecluse_clock_synchronised", ()): 1,
        ("ecluse_clock_offset_seconds", ()): 0.003,
        ("ecluse_clock_steps_total", ()): 1,
        ("ecluse_repairs_total", (("cause", "drift"),)): 0,
        ("ecluse_failures_total", (("kind", "bug"),)): 0,
        ("ecluse_webhooks_total", (("outcome", "bad_signature"), ("source", "stripe-main"))): 0,
        ("ecluse_webhooks_total", (("outcome", "accepted"), ("source", "stripe-main"))): 1,
        ("ecluse_webhook_clock_skew_seconds", (("source", "stripe-main"),)): -1.5,
        ("ecluse_last_good_cycle_timestamp_seconds", ()): 1000,
        ("ecluse_cycle_seconds_count", ()): 1,
        ("ecluse_policy_valid", ()): 1,
        ("ecluse_policy_loaded_timestamp_seconds", ()): 900,
        ("ecluse_ledger_sequence", ()): 12,
        ("ecluse_ledger_writable", ()): 1,
        ("ecluse_paused", ()): 1,
        ("ecluse_mode_ceiling_info", (("mode", "observe"),)): 1,
        ("ecluse_build_info", (("version", "1.2.3"),)): 1,
    }
    assert {key: found.get(key) for key in expected} == expected


def test_two_of_a_kind_do_not_share_figures_and_nothing_is_global() -> None:
    one, two = filled(), EnforcerMetrics()
    assert value(one, "ecluse_ledger_sequence") == 12
    assert value(two, "ecluse_ledger_sequence") == 0
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("ecluse")]


def test_both_roles_can_be_exposed_together() -> None:
    ours = {family.name for family in filled().registry.collect()}
    theirs = {family.name for family in ServeMetrics().registry.collect()}
    assert not ours & theirs


def test_every_kind_of_change_has_a_series_from_the_start() -> None:
    metrics = EnforcerMetrics()
    assert [value(metrics, "ecluse_changes_total", kind=kind) for kind in CHANGES] == [0] * len(CHANGES)
    with pytest.raises(ValueError, match="no kind of change"):
        metrics.changed("deleted")


@pytest.mark.parametrize(
    ("name", "label", "each"),
    [
        ("ecluse_flows_total", "outcome", FLOWS),
        ("ecluse_probe_looks_total", "result", LOOKS),
        ("ecluse_probe_targets", "state", LOOKS),
    ],
)
def test_what_may_be_told_apart_has_a_series_each_from_the_start(name: str, label: str, each: tuple[str, ...]) -> None:
    assert [value(EnforcerMetrics(), name, **{label: one}) for one in each] == [0] * len(each)


@settings(deadline=None)  # two registries and their text for each example; speed is no matter of a test
@given(st.lists(st.text(max_size=20), min_size=1, max_size=30))
def test_names_from_outside_never_make_a_series(names: list[str]) -> None:
    enforcer, serve = EnforcerMetrics(sources=["bank"]), ServeMetrics(sources=["bank"])
    for name in [*names, "bank"]:
        enforcer.webhook(name, "bad_signature")
        enforcer.clock_skew(name, 1.0)
        serve.answered(name, 401, 0.001)
    for metrics in (enforcer, serve):
        sources = {label for _, labels in values(metrics) for key, label in labels if key == "source"}
        assert sources <= {"bank", "unknown"}
        assert "bank" in sources
    assert value(enforcer, "ecluse_webhooks_total", source="unknown", outcome="bad_signature") == len(names) - names.count("bank")


def test_a_source_counts_under_its_name_once_it_is_configured() -> None:
    metrics = EnforcerMetrics()
    metrics.webhook("bank", "accepted")
    metrics.know(["bank"])
    metrics.webhook("bank", "accepted")
    assert value(metrics, "ecluse_webhooks_total", source="unknown", outcome="accepted") == 1
    assert value(metrics, "ecluse_webhooks_total", source="bank", outcome="accepted") == 1


def test_a_bad_cycle_does_not_move_the_time_of_the_last_good_one() -> None:
    metrics = filled()
    metrics.cycle(0.5, good_at=None)
    metrics.policy(valid=False)
    assert value(metrics, "ecluse_last_good_cycle_timestamp_seconds") == 1000
    assert value(metrics, "ecluse_cycle_seconds_count") == 2
    assert value(metrics, "ecluse_policy_valid") == 0
    assert value(metrics, "ecluse_policy_loaded_timestamp_seconds") == 900


def test_the_listening_role_tells_requests_and_whether_the_enforcer_answers() -> None:
    metrics = ServeMetrics()
    metrics.know(["bank"])
    metrics.answered("bank", 200, 0.003)
    metrics.answered("bank", 503, 0.003)
    metrics.enforcer(up=True)
    assert value(metrics, "ecluse_serve_requests_total", source="bank", status="200") == 1
    assert value(metrics, "ecluse_serve_requests_total", source="bank", status="503") == 1
    assert value(metrics, "ecluse_serve_request_seconds_count") == 2
    assert value(metrics, "ecluse_enforcer_up") == 1
    metrics.enforcer(up=False)
    assert value(metrics, "ecluse_enforcer_up") == 0


def test_a_source_that_is_gone_is_not_told_of_any_more() -> None:
    metrics = EnforcerMetrics(sources=["bank", "erp"])
    metrics.feeds({"bank": 5.0, "erp": None})
    metrics.know(["erp"])
    assert value(metrics, "ecluse_feed_last_heartbeat_timestamp_seconds", source="bank") is None
    assert value(metrics, "ecluse_feed_last_heartbeat_timestamp_seconds", source="erp") == 0

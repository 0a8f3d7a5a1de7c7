"""Floor 1. What the agent states about a measure, as bodies of events: ordered, applied, stepped down, restored.

Rule of this room: whoever does it and whoever only walks through it state the same.
"""

from collections.abc import Mapping
from typing import Any

from agent.event import instant
from agent.judge import Judged
from agent.stages import write_effect

Body = dict[str, Any]


def next_order(one: Judged) -> str:
    """The name of the next order of a case."""
    return f"{one.case.id}/{one.case.orders + 1}"


def ordered(one: Judged, gate: Mapping[str, Any]) -> Body:
    """The order to suspend. `gate`: the trace it rests on."""
    return {
        "order": next_order(one),
        "case": one.case.id,
        "services": list(one.measure.services),
        "gate": gate,
        "policy_digest": one.policy.digest,
        "lease_minutes": one.policy.lease_minutes,
        "mode": one.gate.mode.value,
        "expires_at": instant(one.measure.expires_at),
        **write_effect(one.measure.effect),
    }


def applied(one: Judged, order: str, elements: int, times: Mapping[str, Any]) -> Body:
    """The measure is in force. `elements`: how many the kernel holds for it."""
    return {
        "order": order,
        "case": one.case.id,
        "services": list(one.measure.services),
        "stage": one.measure.effect.terms.stage,
        "elements": elements,
        "times": times,
    }


def lowered(one: Judged, order: str, elements: int, times: Mapping[str, Any]) -> Body:
    """The measure was stepped down, and to what."""
    return {
        "order": order,
        "case": one.case.id,
        "services": list(one.measure.services),
        **write_effect(one.measure.effect),
        "elements": elements,
        "cause": one.decision.en or one.decision.cause,
        "expires_at": instant(one.measure.expires_at),
        "renewed": one.measure.renewed,
        "times": {**times, "reason_fr": one.decision.fr, "reason_en": one.decision.en},
    }


def restored(one: Judged, order: str, times: Mapping[str, Any]) -> Body:
    """Service is back."""
    decision = one.decision
    return {
        "order": order,
        "case": one.case.id,
        "cause": f"{decision.cause}: {decision.en.removeprefix(f'{decision.cause}: ')}",
        "final": decision.final,
        "reason": decision.reason,
        "times": {**times, "reason_fr": decision.fr, "reason_en": decision.en},
    }

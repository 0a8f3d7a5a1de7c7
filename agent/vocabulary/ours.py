"""Floor 0. What the agent states about its own doing: proposed, ordered, applied, restored, repaired."""

from collections.abc import Mapping

from agent.fields import Fields, anything, boolean, count, identifier, list_of, moment, obj, one_of, text
from agent.vocabulary.types import BY, CASE, EventType, Origin, by_name

_HOURS = obj(required={"days": list_of(count), "start": text, "end": text}, optional={})

#: How an order takes effect. What is not said is what there was before there were stages: 3, always, open connections cut,
#: the services it names and nothing else.
_EFFECT: Fields = {
    "stage": count,
    "kbit": count,
    "drain_seconds": count,
    "hours": list_of(_HOURS),
    "extent": one_of("services", "remote"),
}


def _agent(name: str, key: str, about: str, required: Fields, optional: Fields | None = None) -> EventType:
    return EventType(name=name, origin=Origin.AGENT, key=key, required=required, optional=optional or {}, about=about)


OURS: Mapping[str, EventType] = by_name(
    _agent(
        "case.proposed",
        "",
        "The gate passes; the case waits for approval.",
        {**CASE, "services": list_of(identifier), "gate": anything},
    ),
    _agent(
        "case.observed",
        "",
        "In observe mode: what would have been suspended.",
        {**CASE, "services": list_of(identifier), "gate": anything},
    ),
    _agent(
        "policy.pinned",
        "notice",
        "The policy and the classes in force when a notice was first seen; both they and the current ones must pass.",
        {"notice": identifier, "policy": anything, "classes": anything},
    ),
    _agent(
        "case.delayed",
        "case",
        "A payment was announced: the measure waits some days, once.",
        {**CASE, "until": moment},
    ),
    _agent(
        "breaker.opened",
        "",
        "New suspensions are held until a named person releases the breaker.",
        {"cause": text},
        {"kind": text, "cause_fr": text},
    ),
    _agent(
        "order.suspend",
        "order",
        "The decision to suspend, with the gate trace it rests on.",
        {
            "order": identifier,
            **CASE,
            "services": list_of(identifier),
            "gate": anything,
            "policy_digest": text,
            "lease_minutes": count,
            "mode": one_of("approve", "auto"),
            "expires_at": moment,
        },
        {**_EFFECT, "confirm_seconds": count},
    ),
    _agent(
        "measure.applied",
        "order",
        "The order is in the kernel, read back.",
        {
            "order": identifier,
            **CASE,
            "services": list_of(identifier),
            "elements": count,
            "times": anything,
        },
        {"stage": count},
    ),
    _agent(
        "measure.lowered",
        "order",
        "The measure was stepped down to a gentler stage, read back; it never goes up again under this notice.",
        {
            "order": identifier,
            **CASE,
            "services": list_of(identifier),
            "elements": count,
            "cause": text,
            "expires_at": moment,
            "times": anything,
        },
        {**_EFFECT, "renewed": boolean},
    ),
    _agent(
        "measure.switched",
        "",
        "A measure that is restricted to hours came into effect, or ceased to be in effect, read back.",
        {"order": identifier, **CASE, "in_effect": boolean, "elements": count, "times": anything},
    ),
    _agent(
        "measure.confirmed",
        "order",
        "Local applications answer after the measure as they did before: it stays for its lease.",
        {"order": identifier, **CASE, "applications": list_of(identifier)},
    ),
    _agent(
        "measure.restored",
        "order",
        "Service is back, read back.",
        {"order": identifier, **CASE, "cause": text, "final": boolean, "times": anything},
        {"volatile": boolean, "reason": text},
    ),
    _agent(
        "measure.repaired",
        "",
        "Rules of ours were missing or foreign and were put right.",
        {"what": text, "count": count},
        {"times": anything},
    ),
    _agent(
        "policy.loaded",
        "",
        "A set of policies, services and customers is in force.",
        {"digest": text},
        {"counts": anything},
    ),
    _agent(
        "policy.rejected",
        "",
        "A set of policies was refused; the old one stays in force.",
        {"digest": text, "problems": count},
        {"first": text},
    ),
    _agent(
        "ledger.erased",
        "",
        "The bodies of rows were erased, by whom and why; `rows` names them (3-7,9). Their hashes stay.",
        {**BY, "role": text, "before": moment, "rows": text, "count": count},
    ),
    _agent("agent.started", "", "The enforcing process started.", {"version": text}, {"kernel": text}),
    _agent(
        "customer.unknown",
        "",
        "A fact about somebody we do not know; kept as it came.",
        {"customer": text, "type": text, "facts": anything},
    ),
)

"""Floor 0. What named persons state over the operators' socket: approvals, overrides, reviews, restores."""

from collections.abc import Mapping

from agent.fields import Fields, boolean, count, identifier, list_of, moment, sha256, text
from agent.vocabulary.types import BY, CASE, ROLE, EventType, Origin, by_name


def _operator(name: str, key: str, about: str, required: Fields, optional: Fields | None = None) -> EventType:
    return EventType(name=name, origin=Origin.OPERATOR, key=key, required=required, optional=optional or {}, about=about)


PERSONS: Mapping[str, EventType] = by_name(
    _operator(
        "approval.given",
        "",
        "A named person approves one case.",
        {**CASE, **BY, "role": text},
        {"expires_at": moment},
    ),
    _operator("approval.revoked", "", "Approvals of one case given so far are void.", {**CASE, **BY}),
    _operator(
        "standing_approval.given",
        "",
        "A named person lets a policy act by itself until a date.",
        {"policy": identifier, "policy_digest": sha256, **BY, "role": text, "expires_at": moment},
    ),
    _operator(
        "standing_approval.revoked",
        "",
        "All standing approvals of a policy given so far are void.",
        {"policy": identifier, **BY},
    ),
    _operator(
        "override.given",
        "",
        "A named person lets one check of one case pass, with a reason, until a date.",
        {**CASE, "check": identifier, **ROLE, "expires_at": moment},
    ),
    _operator(
        "override.revoked", "", "Overrides of one check of one case given so far are void.", {**CASE, "check": identifier, **BY}
    ),
    _operator(
        "stage.waived",
        "",
        "A named person says why gentler stages were not tried in one case.",
        {**CASE, "stages": list_of(count), **ROLE},
    ),
    _operator("scope.reviewed", "change", "A named person looked at a change of scope.", {"change": identifier, **ROLE}),
    _operator(
        "court.lifted",
        "",
        "A named person states, with a document, that a court order ended.",
        {"decision": identifier, "document": text, **ROLE},
    ),
    _operator(
        "case.voided",
        "",
        "A case rests on an error: restored first of all, kept on record as erroneous.",
        {**CASE, "cause": text, **BY},
    ),
    _operator("breaker.released", "", "A named person closes the breaker again.", ROLE),
    _operator("restore.ordered", "", "A person restores a company by hand.", BY, {"remote": boolean}),
    _operator(
        "pause.set",
        "",
        "A person stops every new suspension; with `restore`, everything is restored.",
        {**BY, "restore": boolean},
    ),
    _operator("pause.lifted", "", "New suspensions are possible again.", BY),
)

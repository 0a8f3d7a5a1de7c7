"""Floor 1. The `policies:` part of a file: when a debt may lead to a suspension.

Rules of this room:

1. Values are flat, so that a provider can publish them as plain sentences.
2. A value below its hard floor does not load; no mode and no override reaches below it (`floors`).
3. A profile gives the default of every value that is left out (`profiles`). Values, not their spelling or order, make the
   digest that standing approvals refer to.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from agent.model import Mode, Policy, Window
from agent.policy import kinds
from agent.policy.floors import BOUNDS, PROVEN_CHANNELS
from agent.policy.nodes import Table
from agent.policy.problems import Code
from agent.policy.profiles import PROFILES

#: Values that are sums of money.
_SUMS: Final = frozenset({"min_debt", "stage2_min_debt", "stage3_min_debt", "stage4_min_debt"})

#: A stage -> the values that say something about it alone. Where a policy does not use it they would hide a mistake.
_OF_STAGE: Final = {
    2: ("stage2_min_debt", "stage2_min_days", "stage2_kbit", "effective_hours"),
    3: ("stage3_min_debt", "stage3_min_days"),
    4: ("stage4_min_debt", "stage4_min_days", "stage4_extent", "suspension_clause"),
}

#: Where the conditions for a public body are recorded. Elsewhere they would say nothing, and hide that the profile is wrong.
_PUBLIC: Final = ("public_clause", "public_mission", "public_opposition")


def read_policy(policy_id: str, table: Table) -> Policy | None:
    """One policy with its digest, or None after a problem."""
    profile = table.need("profile", kinds.one_of(*PROFILES))
    base = PROFILES.get(profile, PROFILES["fr-b2b"])
    values: dict[str, Any] = {
        "mode": table.need("mode", kinds.choice(Mode)),
        "currency": table.may("currency", kinds.one_of("EUR"), base.currency),
        "holidays": table.may("holidays", kinds.country, base.holidays),
        "notice_channels": table.many("notice_channels", kinds.one_of(*PROVEN_CHANNELS), base.notice_channels),
        "windows": table.many("windows", kinds.window, base.windows),
        "blackout_dates": table.many("blackout_dates", kinds.day, base.blackout_dates),
        "no_eve_of_holiday": table.may("no_eve_of_holiday", kinds.truth, base.no_eve_of_holiday),
        "confine_to_unpaid_service": table.may("confine_to_unpaid_service", kinds.truth, base.confine_to_unpaid_service),
        "grace_on_announced": table.may("grace_on_announced", kinds.truth, base.grace_on_announced),
        "enforcement_point": table.may("enforcement_point", kinds.one_of("provider", "customer"), base.enforcement_point),
        "waive_gentler_stages": table.may("waive_gentler_stages", kinds.words, base.waive_gentler_stages),
        **{name: table.may(name, kinds.words, getattr(base, name)) for name in _PUBLIC},
        "stages": tuple(sorted(table.many("stages", kinds.between(1, 4), base.stages))),
        "effective_hours": table.many("effective_hours", kinds.hours, base.effective_hours),
        "suspension_clause": table.may("suspension_clause", kinds.words, base.suspension_clause),
        "stage4_extent": table.may("stage4_extent", kinds.one_of("services", "remote"), base.stage4_extent),
    }
    table.may("stage", kinds.one_of("3"), "3")  # how `stages: 3`, the default, was once written
    for name, bound in BOUNDS.items():
        kind: Callable[[str], Decimal | int] = kinds.money if name in _SUMS else kinds.whole
        value: Decimal | int | None = table.may(name, kind, getattr(base, name))
        values[name] = value
        if value is not None and not bound.low <= value <= bound.high:
            side = f"below the floor of {bound.low}" if value < bound.low else f"above the limit of {bound.high}"
            mend = f"Write {bound.low} to {bound.high} ({bound.check}: {bound.why})."
            table.report(table.line_of(name), Code.BELOW_FLOOR, f"{value} is {side}", mend, key=name)
    for name in ("notice_channels", "windows", "stages", "effective_hours"):
        if name in table.fields and table.fields[name].value == []:
            mend = "Name at least one, or leave the key out for the profile's own."
            table.report(table.line_of(name), Code.BELOW_FLOOR, "an empty list", mend, key=name)
    for name in _PUBLIC:
        if name in table.fields and profile != "fr-public":
            mend = "Remove it, or write `profile: fr-public` for a public body."
            table.report(table.line_of(name), Code.BAD_VALUE, "means something only in profile fr-public", mend, key=name)
    _check_stages(table, values)
    if not table.done():
        return None
    policy = Policy(id=policy_id, profile=profile, **values)
    return replace(policy, digest=policy_digest(policy))


def _check_stages(table: Table, values: dict[str, Any]) -> None:
    """Note what does not go together in the stages of a policy."""
    stages = values["stages"]

    def wrong(key: str, what: str, mend: str) -> None:
        table.report(table.line_of(key), Code.BAD_VALUE, what, mend, key=key)

    for stage, names in _OF_STAGE.items():
        for name in names:
            if name in table.fields and stage not in stages:
                wrong(name, f"means something only at stage {stage}", f"Remove it, or name {stage} in `stages`.")
    if "stage" in table.fields and "stages" in table.fields:
        wrong("stage", "is said by stages already", "Remove it.")
    if {"stage2_kbit", "effective_hours"} <= table.fields.keys():
        wrong("effective_hours", "is given beside stage2_kbit", "Keep one: stage 2 is either a cap or a restriction to hours.")
    if 2 in stages and values["waive_gentler_stages"]:
        what = "says that gentler stages are not tried, and stages names 2"
        wrong("waive_gentler_stages", what, "Remove it, or take 2 out of `stages`.")
    if 4 in stages and not values["suspension_clause"] and "suspension_clause" not in table.fields:
        mend = "Add `suspension_clause: ...`, where the contract provides for it, or take 4 out of `stages`."
        wrong("stages", "stage 4 needs a clause of the contract", mend)


def policy_digest(policy: Policy) -> str:
    """SHA-256 over the canonical form of a policy's values: keys sorted, lists that are sets sorted, numbers by value."""
    values = {each.name: _canonical(getattr(policy, each.name)) for each in fields(policy) if each.name != "digest"}
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _canonical(value: object) -> object:
    if isinstance(value, Window):
        return f"{','.join(map(str, value.days))} {value.start:%H:%M}-{value.end:%H:%M}"
    if isinstance(value, tuple):
        return sorted(str(_canonical(item)) for item in value)
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, date):
        return value.isoformat()
    return value

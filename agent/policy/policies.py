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
_SUMS: Final = frozenset({"min_debt", "stage3_min_debt"})

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
        "stage": int(table.may("stage", kinds.one_of("3"), str(base.stage)) or 3),
    }
    for name, bound in BOUNDS.items():
        kind: Callable[[str], Decimal | int] = kinds.money if name in _SUMS else kinds.whole
        value: Decimal | int | None = table.may(name, kind, getattr(base, name))
        values[name] = value
        if value is not None and not bound.low <= value <= bound.high:
            side = f"below the floor of {bound.low}" if value < bound.low else f"above the limit of {bound.high}"
            mend = f"Write {bound.low} to {bound.high} ({bound.check}: {bound.why})."
            table.report(table.line_of(name), Code.BELOW_FLOOR, f"{value} is {side}", mend, key=name)
    for name in ("notice_channels", "windows"):
        if name in table.fields and table.fields[name].value == []:
            mend = "Name at least one, or leave the key out for the profile's own."
            table.report(table.line_of(name), Code.BELOW_FLOOR, "an empty list", mend, key=name)
    for name in _PUBLIC:
        if name in table.fields and profile != "fr-public":
            mend = "Remove it, or write `profile: fr-public` for a public body."
            table.report(table.line_of(name), Code.BAD_VALUE, "means something only in profile fr-public", mend, key=name)
    if not table.done():
        return None
    policy = Policy(id=policy_id, profile=profile, **values)
    return replace(policy, digest=policy_digest(policy))


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

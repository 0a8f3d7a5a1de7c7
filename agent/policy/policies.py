"""Floor 1. The `policies:` part of a file: when a debt may lead to a suspension.

Rules of this room:

1. Values are flat, so that a provider can publish them as plain sentences.
2. A value below its hard floor does not load; no mode and no override reaches below it. The floors are one table,
   each with the gate check it belongs to and its reason.
3. A profile gives the default of every value that is left out. Values, not their spelling or order, make the digest that
   standing approvals refer to.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from agent.model import Mode, Policy, Window
from agent.policy import kinds
from agent.policy.nodes import Table
from agent.policy.problems import Code

#: Profiles by name. Each is a whole policy, of which a file changes single values.
PROFILES: Final[Mapping[str, Policy]] = {"fr-b2b": Policy(id="fr-b2b", profile="fr-b2b", mode=Mode.OBSERVE)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """The hard limits of one value. `check` is the gate check it serves, `why` the reason, for people."""

    low: int
    high: int
    check: str
    why: str


#: No configuration goes outside these. Source: the gate's floors; where the law is silent, engineering judgement.
BOUNDS: Final[Mapping[str, Bound]] = {
    "min_reminders": Bound(low=2, high=20, check="G-06", why="one reminder is not repeated reminders without effect"),
    "reminder_spacing_days": Bound(low=3, high=90, check="G-06", why="reminders on one day count as one"),
    "min_days_overdue": Bound(low=1, high=365, check="G-04", why="a debt that is not due can not be relied on"),
    "min_debt": Bound(low=100, high=1_000_000, check="G-05", why="a slight debt does not justify a measure"),
    "min_debt_months": Bound(low=0, high=24, check="G-05", why="counted in monthly fees; 0 leaves the sum alone to decide"),
    "notice_days": Bound(low=8, high=90, check="G-09", why="the customer needs time to pay or to contest"),
    "notice_max_age_days": Bound(low=1, high=180, check="G-10", why="an old notice no longer announces anything"),
    "max_suspension_days": Bound(
        low=1, high=90, check="G-27", why="a suspension is temporary; a longer one is a hidden termination"
    ),
    "lease_minutes": Bound(low=1, high=1440, check="G-22", why="a lost control plane restores service within this time"),
    "approvals": Bound(low=1, high=5, check="G-23", why="somebody answers for each suspension"),
    "approval_valid_days": Bound(low=1, high=90, check="G-23", why="an approval is given on facts, and facts age"),
    "feed_max_age_minutes": Bound(low=1, high=1440, check="G-22", why="no suspension on stale payment data"),
    "max_new_per_day": Bound(low=1, high=10_000, check="G-24", why="a billing fault must not reach everybody at once"),
}

#: Ways of sending a formal notice whose receipt can be proven. An e-mail can not, without an acknowledgement.
PROVEN_CHANNELS: Final = ("lrar", "lre_q", "commissaire_de_justice")

_CHECKS: Final = tuple(f"G-{number:02}" for number in range(1, 28))


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
        "stage": int(table.may("stage", kinds.one_of("3"), str(base.stage)) or 3),
        "accept_unbuilt": table.many("accept_unbuilt", kinds.one_of(*_CHECKS), base.accept_unbuilt),
    }
    for name, bound in BOUNDS.items():
        kind: Callable[[str], Decimal | int] = kinds.money if name == "min_debt" else kinds.whole
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

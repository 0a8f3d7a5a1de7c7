"""Floor 1. The hard limits of a policy's values, and what a person's override of a check may reach.

Rules of this room:

1. No file, no profile and no override goes outside these. What a file may not say, two persons may not decide either.
2. One table. Each value names the gate check it serves and the reason for people.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import time
from decimal import Decimal
from typing import Any, Final, Literal

from agent.model import Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """The hard limits of one value. `check` is the gate check it serves, `why` the reason, for people.

    `favours`: which side favours the customer; the limit on the other side is the floor.
    """

    low: int
    high: int
    check: str
    why: str
    favours: Literal["low", "high"] = "high"

    @property
    def floor(self) -> int:
        """The limit that is least in the customer's favour."""
        return self.low if self.favours == "high" else self.high


def _from(low: int, high: int, check: str, why: str) -> Bound:
    return Bound(low=low, high=high, check=check, why=why, favours="high")


def _up_to(low: int, high: int, check: str, why: str) -> Bound:
    return Bound(low=low, high=high, check=check, why=why, favours="low")


#: No configuration goes outside these. Source: the gate's floors; where the law is silent, engineering judgement.
BOUNDS: Final[Mapping[str, Bound]] = {
    "min_days_overdue": _from(1, 365, "G-04", "a debt that is not due can not be relied on"),
    "min_debt": _from(100, 1_000_000, "G-05", "a slight debt does not justify a measure"),
    "min_debt_months": _from(0, 24, "G-05", "counted in monthly fees; 0 leaves the sum alone to decide"),
    "min_reminders": _from(2, 20, "G-06", "one reminder is not repeated reminders without effect"),
    "reminder_spacing_days": _from(3, 90, "G-06", "reminders on one day count as one"),
    "notice_days": _from(8, 90, "G-09", "the customer needs time to pay or to contest"),
    "reopen_notice_days": _from(8, 90, "G-09", "a payment that came back may be the bank's fault; it takes time to find out"),
    "notice_max_age_days": _up_to(1, 180, "G-10", "an old notice no longer announces anything"),
    "warning_days": _from(1, 30, "G-26", "a measure that nobody expects on its day does harm that a warning spares"),
    "stage2_min_debt": _from(0, 1_000_000, "G-18", "what the measure costs the customer must be in proportion; 0 adds nothing"),
    "stage2_min_days": _from(1, 365, "G-18", "a debt of yesterday calls for a reminder"),
    "stage2_kbit": _from(256, 1_000_000, "G-18", "in kbit/s; with less, pages and mail fail: a cap would be a hidden cut"),
    "stage3_min_debt": _from(0, 1_000_000, "G-18", "what the measure costs the customer must be in proportion; 0 adds nothing"),
    "stage3_min_days": _from(1, 365, "G-18", "a young debt calls for a gentler measure"),
    "stage4_min_debt": _from(500, 1_000_000, "G-18", "remote services that work rests on are no means against a small debt"),
    "stage4_min_days": _from(30, 365, "G-18", "what hits work comes last"),
    "drain_minutes": _from(0, 60, "G-18", "longer would put the measure off; 0 ends open connections at once"),
    "max_suspension_days": _up_to(1, 90, "G-27", "a suspension is temporary; a longer one is a hidden termination"),
    "feed_max_age_minutes": _up_to(1, 1440, "G-22", "no suspension on stale payment data"),
    "insolvency_max_age_hours": _up_to(1, 72, "G-14", "a judgment counts from 00:00 of its day, whoever knows of it"),
    "clock_max_age_minutes": _up_to(1, 60, "G-21", "a clock nobody watches is not to be trusted"),
    "clock_max_offset_ms": _up_to(1, 60_000, "G-21", "days and windows are counted by this clock"),
    "preflight_baseline_hours": _from(24, 720, "G-19", "less than a day does not show how a site usually works"),
    "preflight_max_age_hours": _up_to(1, 24, "G-19", "a site changes; the proof is of the day of the measure"),
    "lease_minutes": _up_to(1, 1440, "G-22", "a lost control plane restores service within this time"),
    "approvals": _from(1, 5, "G-23", "somebody answers for each suspension"),
    "approval_valid_days": _up_to(1, 90, "G-23", "an approval is given on facts, and facts age"),
    "max_new_per_hour": _up_to(1, 10_000, "G-24", "a fault that is seen within the hour has hit few"),
    "max_new_per_day": _up_to(1, 10_000, "G-24", "a billing fault must not reach everybody at once"),
    "max_share_of_companies": _up_to(1, 100, "G-24", "in per cent; of a small number of customers a few are many"),
    "max_share_of_prefixes": _up_to(1, 100, "G-24", "in per cent; one large customer may be most of the network"),
    "canaries": _up_to(1, 10_000, "G-24", "the first ones show whether something is wrong"),
    "canary_minutes": _from(1, 1440, "G-24", "people need time to call"),
    "wave": _up_to(1, 10_000, "G-24", "so many at once look like a fault of billing, not like debts"),
}

#: No restriction to hours reaches into these: Monday to Friday, from and to these hours of site time (G-18).
WORKING_HOURS: Final = (time(8), time(18))

#: Ways of sending a formal notice whose receipt can be proven. An e-mail can not, without an acknowledgement.
PROVEN_CHANNELS: Final = ("lrar", "lre_q", "commissaire_de_justice")

#: A check -> the values that an override of it takes down to their floors.
_REACHED: Final[Mapping[str, tuple[str, ...]]] = {
    "G-04": ("min_days_overdue",),
    "G-05": ("min_debt", "min_debt_months"),
    "G-06": ("min_reminders", "reminder_spacing_days"),
    "G-10": ("notice_max_age_days",),
    "G-14": ("insolvency_max_age_hours",),
    "G-24": (
        "max_new_per_hour",
        "max_new_per_day",
        "max_share_of_companies",
        "max_share_of_prefixes",
        "canaries",
        "canary_minutes",
    ),
    "G-27": ("max_suspension_days",),
}


def at_floor(policy: Policy, check: str) -> Policy:
    """The policy with the values of one check as little in the customer's favour as any file could write them.

    Args:
        policy: as it was loaded.
        check: a code; one that has no value of its own leaves the policy as it is.
    """
    values: dict[str, Any] = {}
    for name in _REACHED.get(check, ()):
        floor = BOUNDS[name].floor
        values[name] = Decimal(floor) if name == "min_debt" else floor
    return replace(policy, **values)

"""Floor 0, model. What a policy allows, and how a measure takes effect."""

from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal

#: How far stage 4 reaches: the services that the notice names, or everything remote but what is local or protected.
Extent = Literal["services", "remote"]


class Mode(StrEnum):
    """How far a policy, or the whole host, may go by itself. Ordered: observe < approve < auto."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"

    @property
    def rank(self) -> int:
        """Position in the order, for taking the lower of two modes."""
        return ("observe", "approve", "auto").index(self.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Hours of the week, site time. `days`: Monday is 0; `end` excluded, and where it is not after `start` that of the next day."""

    days: tuple[int, ...]
    start: time
    end: time


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """A suspension policy: values a deployment publishes. Floors are kept by the loader (`policy`).

    Amounts are in `currency`; days are calendar days counted as CPC 641-642 counts them; shares are per cent. Each value, its
    floor and its source: docs/POLICY.md.
    """

    id: str
    profile: str
    mode: Mode
    currency: str = "EUR"
    holidays: str = "FR"
    # whose gateway withholds ("" while nobody has said so)
    enforcement_point: Literal["", "provider", "customer"] = ""
    # the debt
    min_days_overdue: int = 30
    min_debt: Decimal = Decimal(500)
    min_debt_months: int = 1
    # what was asked
    min_reminders: int = 3
    reminder_spacing_days: int = 7
    notice_channels: tuple[str, ...] = ("lrar", "lre_q", "commissaire_de_justice")
    notice_days: int = 15
    reopen_notice_days: int = 8
    notice_max_age_days: int = 90
    warning_days: int = 2
    # proportion
    confine_to_unpaid_service: bool = True
    stages: tuple[int, ...] = (3,)
    stage2_min_debt: Decimal = Decimal(0)
    stage2_min_days: int = 30
    stage2_kbit: int = 512
    effective_hours: tuple[Window, ...] = ()
    stage3_min_debt: Decimal = Decimal(0)
    stage3_min_days: int = 30
    stage4_min_debt: Decimal = Decimal(2000)
    stage4_min_days: int = 60
    stage4_extent: Extent = "services"
    suspension_clause: str = ""
    drain_minutes: int = 0
    waive_gentler_stages: str = ""
    grace_on_announced: bool = True
    max_suspension_days: int = 30
    # the moment
    windows: tuple[Window, ...] = (Window(days=(0, 1, 2, 3), start=time(9), end=time(15)),)
    blackout_dates: tuple[date, ...] = ()
    no_eve_of_holiday: bool = True
    # what must be known to be so
    feed_max_age_minutes: int = 15
    insolvency_max_age_hours: int = 24
    clock_max_age_minutes: int = 15
    clock_max_offset_ms: int = 1000
    preflight_baseline_hours: int = 24
    preflight_max_age_hours: int = 24
    lease_minutes: int = 240
    # persons
    approvals: int = 2
    approval_valid_days: int = 15
    # how many at once
    max_new_per_hour: int = 5
    max_new_per_day: int = 5
    max_share_of_companies: int = 20
    max_share_of_prefixes: int = 20
    canaries: int = 2
    canary_minutes: int = 30
    wave: int = 20
    # a public body: where each of the three conditions is recorded (CE, 8 Oct 2014, 370644)
    public_clause: str = ""
    public_mission: str = ""
    public_opposition: str = ""
    digest: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """How one measure takes effect at the gateway.

    `stage`: 1 notice only (nothing is refused), 2 restricted, 3 annex services suspended, 4 extended remote services suspended,
    or everything remote but what is local and protected. `kbit`: the bandwidth cap of stage 2 in kbit/s, for each attachment
    and each direction; 0: the services are refused, and who orders it keeps the hours. `drain_ms`: so long connections that are
    open already may go on; 0: they end with their next packet.
    """

    stage: Literal[1, 2, 3, 4] = 3
    kbit: int = 0
    drain_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """How an order takes effect: its terms and, unless always, in which hours of site time.

    `terms.drain_ms` is what open connections have from the moment it takes effect. `extent`: stage 4 hits the services that the
    order names and no others, or everything remote.
    """

    terms: Terms = field(default_factory=Terms)
    hours: tuple[Window, ...] = ()
    extent: Extent = "services"


#: Annex services refused, always, open connections cut: what there was before there were stages.
PLAIN: Final = Effect()

"""Floor 1. Profiles: whole policies that a file starts from and changes single values of.

Rules of this room:

1. A profile is chosen by the company, not by the gateway: what protects a customer travels with the customer.
2. `fr-public` and `fr-consumer` refuse: their gate check G-15 does not pass, and says what would have to be so.
3. `strict` is nowhere less in the customer's favour than another profile.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import time
from decimal import Decimal
from typing import Final

from agent.model import Mode, Policy, Window

_B2B: Final = Policy(id="fr-b2b", profile="fr-b2b", mode=Mode.OBSERVE)

_STRICT: Final = Policy(
    id="strict",
    profile="strict",
    mode=Mode.OBSERVE,
    min_days_overdue=60,
    min_debt=Decimal(1000),
    min_debt_months=2,
    min_reminders=4,
    reminder_spacing_days=10,
    notice_days=30,
    reopen_notice_days=15,
    notice_max_age_days=30,
    warning_days=5,
    stage2_min_debt=Decimal(1000),
    stage2_min_days=60,
    stage2_kbit=1024,
    stage3_min_debt=Decimal(1000),
    stage3_min_days=60,
    stage4_min_debt=Decimal(5000),
    stage4_min_days=90,
    max_suspension_days=15,
    windows=(Window(days=(0, 1, 2, 3), start=time(9), end=time(14)),),
    feed_max_age_minutes=5,
    insolvency_max_age_hours=12,
    clock_max_age_minutes=5,
    clock_max_offset_ms=100,
    preflight_baseline_hours=168,
    preflight_max_age_hours=4,
    lease_minutes=60,
    approvals=3,
    approval_valid_days=7,
    max_new_per_hour=1,
    max_new_per_day=2,
    max_share_of_companies=5,
    max_share_of_prefixes=5,
    canaries=1,
    canary_minutes=120,
    wave=5,
)

#: Profiles by name. Where each value comes from: docs/POLICY.md.
PROFILES: Final[Mapping[str, Policy]] = {
    "fr-b2b": _B2B,
    "fr-public": replace(_B2B, id="fr-public", profile="fr-public"),
    "fr-consumer": replace(_B2B, id="fr-consumer", profile="fr-consumer"),
    "strict": _STRICT,
}

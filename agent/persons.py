"""Floor 1. What named persons said: approvals, overrides, waivers, standing approvals.

Rules of this room:

1. The operating-system user (`by`) is the person; a role is what that user was when speaking.
2. A word lives until it is revoked later than it was given, or until its own date, which the gate compares with now.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from agent.event import parse_instant
from agent.record import Record, Statement, statements


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A named person's word on one case. `by` is the operating-system user, which is what makes two persons distinct."""

    by: str
    role: str
    at: datetime
    expires_at: datetime | None
    fact: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """A named person's word that one check of one case may pass, until a date. The gate knows which checks and how many."""

    check: str
    by: str
    role: str
    reason: str
    at: datetime
    expires_at: datetime
    fact: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StandingApproval:
    """A named person's dated word that a policy, in exactly this version, may act by itself."""

    by: str
    role: str
    policy: str
    policy_digest: str
    at: datetime
    expires_at: datetime
    fact: str


def approvals(record: Record, case: str, ended: Iterable[datetime]) -> tuple[Approval, ...]:
    """The approvals of one case that neither a revocation nor the end of the measure they were for has voided.

    Args:
        record: of the company.
        case: the case's id.
        ended: when measures of this case ended.
    """
    void = max((*ended, *(one.at for one in _about(record, "approval.revoked", case))), default=None)
    return tuple(
        Approval(
            by=str(one.body["by"]),
            role=str(one.body["role"]),
            at=one.at,
            expires_at=parse_instant(one.body["expires_at"]) if "expires_at" in one.body else None,
            fact=one.id,
        )
        for one in _about(record, "approval.given", case)
        if void is None or one.at > void
    )


def overrides(record: Record, case: str) -> tuple[Override, ...]:
    """The overrides of one case that were not revoked since; whether they have run out is for the gate to say."""
    revoked: dict[str, datetime] = {str(one.body["check"]): one.at for one in _about(record, "override.revoked", case)}
    return tuple(
        Override(
            check=str(one.body["check"]),
            by=str(one.body["by"]),
            role=str(one.body["role"]),
            reason=str(one.body["reason"]),
            at=one.at,
            expires_at=parse_instant(one.body["expires_at"]),
            fact=one.id,
        )
        for one in _about(record, "override.given", case)
        if one.body["check"] not in revoked or one.at > revoked[str(one.body["check"])]
    )


def waived(record: Record, case: str) -> tuple[frozenset[int], str]:
    """The gentler stages that were not tried in one case, and who says why."""
    said = _about(record, "stage.waived", case)
    stages = frozenset(int(stage) for one in said for stage in one.body["stages"])
    return stages, "; ".join(dict.fromkeys(f"{one.body['reason']} ({one.body['by']})" for one in said))


def standing_approvals(record: Record) -> tuple[StandingApproval, ...]:
    """The standing approvals of all policies, from the host's record, without those revoked since."""
    revoked: dict[str, datetime] = {str(one.body["policy"]): one.at for one in statements(record, "standing_approval.revoked")}
    return tuple(
        StandingApproval(
            by=str(one.body["by"]),
            role=str(one.body["role"]),
            policy=str(one.body["policy"]),
            policy_digest=str(one.body["policy_digest"]),
            at=one.at,
            expires_at=parse_instant(one.body["expires_at"]),
            fact=one.id,
        )
        for one in statements(record, "standing_approval.given")
        if one.body["policy"] not in revoked or one.at > revoked[str(one.body["policy"])]
    )


def _about(record: Record, type_: str, case: str) -> list[Statement]:
    return [one for one in statements(record, type_) if one.body["case"] == case]

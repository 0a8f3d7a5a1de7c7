"""Floor 1. What the gate looks at: one bundle of arguments, with the few things several checks derive from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from agent.calendar import day_start, local_date, period_end
from agent.case import Case, StandingApproval
from agent.debt import Debt, Invoice
from agent.model import Company, Mode, Policy, Service


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Facts that belong to no company.

    `feeds`: last heartbeat of every source that must report (None: never). `ordered_last_day`: suspensions ordered on this
    gateway in the last 24 hours. `ceiling`: the host's own limit.
    """

    ceiling: Mode
    feeds: Mapping[str, datetime | None]
    standing: tuple[StandingApproval, ...] = ()
    paused: bool = False
    ordered_last_day: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """One case with everything needed to judge it.

    `company` is None when the inventory has none such; `mode` is the one in force. `listed` are the invoices the notice names,
    `counted` those of them that are overdue, unpaid and undisputed; `cure_ends` is when the period of the notice has ended.
    """

    case: Case
    debt: Debt
    company: Company | None
    services: Mapping[str, Service]
    policy: Policy
    world: World
    now: datetime
    mode: Mode
    listed: tuple[Invoice, ...]
    counted: tuple[Invoice, ...]
    today: date
    timezones: tuple[str, ...]
    notice_day: date | None
    cure_ends: datetime | None

    @property
    def owed(self) -> Decimal:
        """Undisputed overdue principal of the invoices of this notice, in the policy's currency."""
        return sum((invoice.remaining for invoice in self.counted), Decimal(0))


def threshold(company: Company | None, policy: Policy) -> Decimal:
    """The undisputed overdue principal from which a debt is material: a fixed sum, and so many monthly fees (G-05)."""
    fee = sum((one.monthly_fee or Decimal(0) for one in company.subscriptions), Decimal(0)) if company else Decimal(0)
    return max(policy.min_debt, policy.min_debt_months * fee)


def facts_of(
    *,
    case: Case,
    debt: Debt,
    company: Company | None,
    services: Mapping[str, Service],
    policy: Policy,
    world: World,
    mode: Mode,
    now: datetime,
) -> Facts:
    """Bundle the arguments of the gate and derive what several checks share.

    Where a company has sites in several time zones, a day has begun only when it has begun everywhere: the customer has the
    benefit of the doubt.
    """
    timezones = tuple(sorted({site.timezone for site in company.sites})) if company and company.sites else ("Europe/Paris",)
    today = min(local_date(now, zone) for zone in timezones)
    listed = tuple(debt.invoices[name] for name in case.notice.invoices if name in debt.invoices)
    counted = tuple(
        invoice
        for invoice in listed
        if not invoice.out
        and invoice.remaining > 0
        and invoice.currency == policy.currency
        and (today - invoice.due_on).days >= max(1, policy.min_days_overdue)
    )
    notice_day = cure_ends = None
    if case.notice.effective_at is not None:
        # The date is the one the proof bears: the civil date at the source. The latest reading favours the customer.
        notice_day = max(local_date(case.notice.effective_at, zone) for zone in timezones)
        last_day = period_end(notice_day, max(policy.notice_days, case.notice.cure_days), policy.holidays)
        cure_ends = max(day_start(date.fromordinal(last_day.toordinal() + 1), zone) for zone in timezones)
    return Facts(
        case=case,
        debt=debt,
        company=company,
        services=services,
        policy=policy,
        world=world,
        now=now,
        mode=mode,
        listed=listed,
        counted=counted,
        today=today,
        timezones=timezones,
        notice_day=notice_day,
        cure_ends=cure_ends,
    )

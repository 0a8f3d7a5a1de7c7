"""Floor 1. What the gate looks at: one bundle of arguments, with the few things several checks derive from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from agent.breaker import Load
from agent.calendar import day_everywhere, local_date, period_end
from agent.case import Case, ClockState, Reminder, StandingApproval
from agent.continuity import Sight
from agent.debt import Debt, Invoice
from agent.model import Company, Extent, Mode, Policy, Protected, Service
from agent.stages import ANNEX, EXTENDED, SERVICES, Stage, first, targets

#: The zone of the provider: where a company has no site, and one of the readings of a date that a proof bears.
HOME = "Europe/Paris"

#: Where a company without a site is taken to be.
DEFAULT_ZONE = "Europe/Paris"

#: What a profile says about every company that has it.
_OF_PROFILE: Mapping[str, Protected] = {"fr-public": Protected.PUBLIC_BODY, "fr-consumer": Protected.CONSUMER}


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Facts that belong to no company.

    `feeds`: last heartbeat of every source that must report (None: never). `load`: what was suspended lately on this gateway,
    and whether the breaker is open. `clock`: the last word on the gateway's clock (None: never). `insolvency_checked_at`: when the
    register of insolvency proceedings was last looked at for everybody. `sight`: how well the local side of the
    company that is judged is seen. `ceiling`: the host's own limit.
    `inseparable`: services that can not be told apart on this gateway.
    """

    ceiling: Mode
    feeds: Mapping[str, datetime | None]
    standing: tuple[StandingApproval, ...] = ()
    paused: bool = False
    load: Load = field(default_factory=Load)
    clock: ClockState | None = None
    insolvency_checked_at: datetime | None = None
    sight: Sight = Sight.NONE
    inseparable: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """One case with everything needed to judge it.

    `company` is None when the inventory has none such; `mode` is the one in force, `why_mode` says in French and English what
    keeps it from `auto`. `lifted` are the checks that persons override: `policy` has their values at the floor already.

    `stage` is the measure that is judged, `extent` how far it reaches, `targets` the announced services that it would hit.

    `listed` are the invoices the notice names, `overdue` those of them that are due long enough, unpaid and undisputed. `counted`
    are the overdue ones that are shown to be delivered and were reminded enough: the measure rests on these alone. Every
    invoice stands on its own proof, so that paying or contesting a badly proven one never makes the others count for more.
    Where none is proven, `counted` are all overdue ones, and G-03 or G-06 says what is missing. `ripens` is when time alone next
    makes one more overdue; every check that looks at them holds until then. `cure_ends` is when the period of the notice has
    ended.
    """

    case: Case
    debt: Debt
    company: Company | None
    services: Mapping[str, Service]
    policy: Policy
    world: World
    now: datetime
    mode: Mode
    why_mode: tuple[str, str]
    lifted: frozenset[str]
    stage: Stage
    extent: Extent
    targets: tuple[str, ...]
    listed: tuple[Invoice, ...]
    overdue: tuple[Invoice, ...]
    counted: tuple[Invoice, ...]
    ripens: datetime | None
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


def statuses(company: Company, policy: Policy) -> tuple[Protected, ...]:
    """What protects a company: what its file says, and what its profile is for (G-15)."""
    of_profile = _OF_PROFILE.get(policy.profile)
    return tuple(sorted({*company.protected, *([of_profile] if of_profile else [])}))


def stage_of(case: Case, policy: Policy) -> Stage:
    """The stage that a case is at, or would begin at."""
    if case.order is not None:
        return case.order.effect.terms.stage
    most = EXTENDED if case.reached is None else case.reached
    return first(policy, case.notice.stage, {*case.tried, *case.waived}, most)


def mode_in_force(
    policy: Policy, ceiling: Mode, *, company: Company | None = None, case: Case | None = None, stage: int = ANNEX
) -> tuple[Mode, tuple[str, str]]:
    """The lower of what the policy asks and what the host allows; some cases are never acted on without a person.

    Args:
        policy: `mode` is what its authors ask for.
        ceiling: the host's own limit.
        company: whose case it is, or None.
        case: the case, or None.
        stage: of the measure.

    Returns:
        the mode, and what keeps this case from `auto`, in French and in English (empty: nothing).
    """
    why = _kept_from_auto(policy, company, case, stage)
    asked = Mode.APPROVE if policy.mode is Mode.AUTO and why != ("", "") else policy.mode
    return min(asked, ceiling, key=lambda mode: mode.rank), why


def _kept_from_auto(policy: Policy, company: Company | None, case: Case | None, stage: int) -> tuple[str, str]:
    # Natural persons are not decided about by a machine alone (GDPR 22). Where nothing local was declared, nobody has looked
    # yet at what would go on working (domain requirement S-15). A debt after insolvency is a matter of its own. What hits the
    # services that work rests on takes somebody of the legal role in each case.
    if case is not None and case.insolvency is not None:
        return "procédure collective", "insolvency proceedings"
    if stage >= EXTENDED:
        return f"palier {stage}", f"stage {stage}"
    if company is None:
        return "", ""
    if statuses(company, policy):
        return "statut protégé", "protected status"
    bare = [site.id for site in company.sites if not site.local_applications]
    if bare:
        return f"site sans application locale déclarée : {bare[0]}", f"site without a declared local application: {bare[0]}"
    return "", ""


def facts_of(  # noqa: PLR0913 - what is judged, each by its name
    *,
    case: Case,
    debt: Debt,
    company: Company | None,
    services: Mapping[str, Service],
    policy: Policy,
    world: World,
    now: datetime,
    lifted: frozenset[str] = frozenset(),
    stage: Stage | None = None,
    extent: Extent = SERVICES,
) -> Facts:
    """Bundle the arguments of the gate and derive what several checks share.

    Where a company has sites in several time zones, a day has begun only when it has begun everywhere: the customer has the
    benefit of the doubt.
    """
    at = stage_of(case, policy) if stage is None else stage
    mode, why_mode = mode_in_force(policy, world.ceiling, company=company, case=case, stage=at)
    timezones = tuple(sorted({site.timezone for site in company.sites})) if company and company.sites else (HOME,)
    today = min(local_date(now, zone) for zone in timezones)
    listed = tuple(debt.invoices[name] for name in case.notice.invoices if name in debt.invoices)
    unpaid = tuple(
        invoice
        for invoice in listed
        if not invoice.out
        and invoice.remaining > 0
        and invoice.currency == policy.currency
        and all(contract == (company.contract if company else contract) for contract in invoice.contracts)
    )
    needed = timedelta(days=max(1, policy.min_days_overdue))
    overdue = tuple(invoice for invoice in unpaid if invoice.due_on + needed <= today)
    young = [invoice.due_on + needed for invoice in unpaid if invoice not in overdue]
    proven = tuple(
        invoice
        for invoice in overdue
        if not undelivered(invoice) and len(valid_reminders(invoice, case, policy, timezones)) >= policy.min_reminders
    )
    notice_day = cure_ends = None
    if case.notice.effective_at is not None:
        # The date is the one the proof bears: the civil date at the source, which is at one of the sites or with the provider
        # (a letter to Martinique may be dated by midnight in Paris). The latest reading favours the customer.
        notice_day = max(local_date(case.notice.effective_at, zone) for zone in (*timezones, HOME))
        days = policy.reopen_notice_days if case.reopens else policy.notice_days
        last_day = period_end(notice_day, max(days, case.notice.cure_days), policy.holidays)
        cure_ends = day_everywhere(last_day + timedelta(days=1), timezones)
    return Facts(
        case=case,
        debt=debt,
        company=company,
        services=services,
        policy=policy,
        world=world,
        now=now,
        mode=mode,
        why_mode=why_mode,
        lifted=lifted,
        stage=at,
        extent=extent,
        targets=targets(case.notice.services, at, services, case.notice.stage),
        listed=listed,
        overdue=overdue,
        counted=proven or overdue,
        ripens=day_everywhere(min(young), timezones) if young else None,
        today=today,
        timezones=timezones,
        notice_day=notice_day,
        cure_ends=cure_ends,
    )


def undelivered(invoice: Invoice) -> tuple[str, ...]:
    """The service lines of an invoice without a delivery reference; ("",) when it has no service line at all."""
    own = [line for line in invoice.lines if line.kind == "service"]
    return tuple(line.service for line in own if not line.delivered_ref) if own else ("",)


def valid_reminders(invoice: Invoice, case: Case, policy: Policy, timezones: tuple[str, ...]) -> tuple[Reminder, ...]:
    """The reminders that count for an invoice: recalled by the notice, after the due date, before the notice, far enough apart.

    Where somebody dates a reminder twice, it must be right by both dates.
    """

    def day(at: datetime) -> date:
        return min(local_date(at, zone) for zone in (*timezones, HOME))

    found: list[Reminder] = []
    for one in sorted(case.reminders, key=lambda each: (each.sent_at, each.id)):
        if (
            one.id in case.notice.reminders
            and invoice.id in one.invoices
            and day(one.first_at) > invoice.due_on
            and one.sent_at < case.notice.first_at
            and (not found or (day(one.first_at) - day(found[-1].sent_at)).days >= policy.reminder_spacing_days)
        ):
            found.append(one)
    return tuple(found)

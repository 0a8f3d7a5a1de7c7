"""Floor 1. The record of one company -> its cases.

Rules of this room:

1. Where statements about one thing disagree, the reading that favours the customer wins: the later date, the narrower
   announcement, the weaker proof, the payment counted, the dispute open. Sums are in `debt`, holds in `holds`.
2. A case is one debtor company, one formal notice, one set of invoices. A company may have several; they never share facts
   that cut, only facts that help.
3. Nothing is closed by forgetting: what the agent itself did (ordered, applied, restored) are facts of the same record.
4. What ends the ground of a notice (a plan agreed, the debtor replaced, an error, a person's word) ends its case for good.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agent.event import parse_instant
from agent.holds import Hold, Insolvency, holds, overtaken, proceedings
from agent.host import ClockState, HostFacts, host_facts
from agent.model import PLAIN, Effect, Mode
from agent.notices import LastWarning, Notice, Reminder, notices, reminders, warnings
from agent.persons import Approval, Override, StandingApproval, approvals, overrides, waived
from agent.record import EMPTY_RECORD, Record, Statement, favourable, fold, keys, latest, standing, statements
from agent.stages import ANNEX, read_effect

__all__ = [
    "EMPTY_RECORD",
    "Announced",
    "Approval",
    "Case",
    "ClockState",
    "Hold",
    "HostFacts",
    "Insolvency",
    "LastWarning",
    "Notice",
    "Order",
    "Override",
    "Pinned",
    "Preflight",
    "Record",
    "Reminder",
    "StandingApproval",
    "Statement",
    "case_id",
    "cases",
    "favourable",
    "fold",
    "holds",
    "host_facts",
    "keys",
    "statements",
]

#: Causes of a restore after which money that comes back reopens the matter.
_PAID = frozenset({"paid", "partially_paid_below_threshold"})

#: The cause of a restore that only lets time pass because a payment was announced.
ANNOUNCED = "announced"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A decision to suspend that has not been ended. `applied_at` is None until it was read back in the kernel.

    `services`, `effect` and `expires_at` are those of the gentlest measure it was stepped down to. `renewed_at`: when it was
    stepped down because its time was over, which gave the gentler measure a time of its own.
    `trial_seconds`: so long it may stand before local applications were seen to answer; 0 once they were, or where nobody looks.
    """

    id: str
    services: tuple[str, ...]
    ordered_at: datetime
    expires_at: datetime
    lease_minutes: int
    policy_digest: str
    mode: Mode
    applied_at: datetime | None
    fact: str
    effect: Effect = PLAIN
    renewed_at: datetime | None = None
    trial_seconds: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """The last look at the local applications and dependencies of a company before a measure.

    `baseline_hours`: for how long they were watched; `local_matches`: local flows that a dry run of the measure would hit.
    """

    at: datetime
    green: bool
    baseline_hours: int
    local_matches: int
    fact: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned:
    """The policy and the effective class of each subscribed service as they were when the notice was first judged."""

    policy: Mapping[str, Any]
    classes: Mapping[str, str]
    digest: str
    fact: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Announced:
    """A transfer that was announced after the notice went out: not money yet."""

    payment: str
    at: datetime
    fact: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One debtor, one notice, one set of invoices, and what the agent did about it so far.

    `closed` is why the case ended (see `closing`), or "" while it lives. `order` is the order that no restore has ended yet;
    a case that was closed has one until the restore is read back. `orders` counts every order ever given, so that the next one
    has a number of its own. `in_force_since` is when a measure of this case was first applied.

    `unreachable`: contacts at which nobody is reached. `insolvency`: proceedings that are open. `insolvency_checked_at`: when
    the register was last looked at for this company alone. `regressions`: local applications that stopped answering and did not
    recover. `scope_changes`: those nobody looked at since. `waived`: gentler stages that were not tried, `waived_why` says why.
    `tried`: the stages that were in force under other notices on some of these invoices before this notice was sent; `preceded`:
    those other notices that had taken effect by then. `reached`: the gentlest stage at which a measure of this case was in force,
    above which it does not go again; None: there was none.
    `reopens`: the id of the earlier case whose payment came back, where its notice said that it would be reopened.
    `announced`: announced payments; `graced_at`: when the one delay that they give was first used; `spared_at`: when it restored
    a measure, after which persons must approve anew.
    `overtaken_by` are the kinds of hold that changed what is due and were lifted since the notice was sent: it takes a new one.
    """

    id: str
    company: str
    notice: Notice
    reminders: tuple[Reminder, ...]
    holds: tuple[Hold, ...]
    approvals: tuple[Approval, ...]
    order: Order | None
    orders: int
    in_force_since: datetime | None
    overtaken_by: tuple[str, ...]
    proposed: bool
    closed: str
    warnings: tuple[LastWarning, ...]
    unreachable: tuple[str, ...]
    insolvency: Insolvency | None
    insolvency_checked_at: datetime | None
    preflight: Preflight | None
    regressions: tuple[str, ...]
    scope_changes: tuple[str, ...]
    overrides: tuple[Override, ...]
    waived: frozenset[int]
    waived_why: str
    pinned: Pinned | None
    reopens: str
    announced: tuple[Announced, ...]
    graced_at: datetime | None
    spared_at: datetime | None
    tried: frozenset[int] = frozenset()
    preceded: tuple[str, ...] = ()
    reached: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shared:
    """What all cases of a company have in common, read once."""

    reminders: tuple[Reminder, ...]
    holds: tuple[Hold, ...]
    unreachable: tuple[str, ...]
    insolvency: Insolvency | None
    insolvency_checked_at: datetime | None
    preflight: Preflight | None
    regressions: tuple[str, ...]
    scope_changes: tuple[str, ...]


def case_id(company: str, notice: str) -> str:
    """The name of the case of one notice."""
    return f"{company}:{notice}"


def cases(company: str, record: Record) -> tuple[Case, ...]:
    """Every case of a company, by notice id."""
    asked = tuple(notices(record))
    if not asked:
        return ()
    running = [one for one in proceedings(record) if one.open]
    shared = _Shared(
        reminders=tuple(reminders(record)),
        holds=holds(record),
        unreachable=_names(record, "contact.unreachable", "contact.reachable"),
        insolvency=max(running, key=lambda one: (one.judgment_on, one.id), default=None),
        insolvency_checked_at=max((one.at for one in statements(record, "insolvency.checked")), default=None),
        preflight=_preflight(record),
        regressions=_names(record, "local.regressed", "local.recovered"),
        scope_changes=_names(record, "scope.changed", "scope.reviewed"),
    )
    return tuple(_case(company, record, notice, asked, shared) for notice in asked)


def _names(record: Record, opened: str, closed: str) -> tuple[str, ...]:
    return tuple(key for key, _ in standing(record, opened, closed))


def _case(company: str, record: Record, notice: Notice, asked: tuple[Notice, ...], shared: _Shared) -> Case:
    name = case_id(company, notice.id)
    given, ended, proposed, approved, applied, lowered, delayed = (
        [one for one in statements(record, type_) if one.body["case"] == name]
        for type_ in (
            *("order.suspend", "measure.restored", "case.proposed", "approval.given", "measure.applied", "measure.lowered"),
            "case.delayed",
        )
    )
    last_end = max((one.at for one in ended), default=None)
    ended_orders = {one.body["order"] for one in ended}
    living = [one for one in given if one.body["order"] not in ended_orders]
    spared = [one.at for one in ended if _reason(one) == ANNOUNCED]
    stages, why = waived(record, name)
    earlier = _reopened(company, record, notice, asked)
    others = tuple(one for one in asked if one.id != notice.id and one.named & notice.named)
    return Case(
        id=name,
        company=company,
        notice=_with_reminders(notice, earlier),
        reminders=shared.reminders,
        holds=tuple(hold for hold in shared.holds if _bears(hold, notice)),
        approvals=approvals(record, name, (one.at for one in ended)),
        order=_order(record, living[-1]) if living else None,
        orders=len({one.body["order"] for one in given}),
        in_force_since=min((one.at for one in applied), default=None),
        overtaken_by=overtaken(record, notice.first_at),
        proposed=any(last_end is None or one.at > last_end for one in proposed),
        closed=_closed(record, name, notice, ended, (*given, *proposed, *approved)),
        warnings=tuple(warnings(record, notice.id)),
        unreachable=shared.unreachable,
        insolvency=shared.insolvency,
        insolvency_checked_at=shared.insolvency_checked_at,
        preflight=shared.preflight,
        regressions=shared.regressions,
        scope_changes=shared.scope_changes,
        overrides=overrides(record, name),
        waived=stages,
        waived_why=why,
        pinned=_pinned(record, notice.id),
        reopens=case_id(company, earlier.id) if earlier else "",
        announced=tuple(_announced(record, notice)),
        graced_at=min((*spared, *(one.at for one in delayed)), default=None),
        spared_at=min(spared, default=None),
        tried=_tried(company, record, notice, others),
        preceded=tuple(one.id for one in others if one.effective_at is not None and one.effective_at < notice.first_at),
        reached=min((_stage(one) for one in (*applied, *lowered)), default=None),
    )


def _order(record: Record, said: Statement) -> Order:
    applied = statements(record, "measure.applied", str(said.body["order"]))
    lowered = statements(record, "measure.lowered", str(said.body["order"]))
    # The gentlest stands, whatever was said when; of one stage the word that ends first, so that none lasts longer by being said.
    now = min(lowered, key=lambda one: (_stage(one), one.body["expires_at"], one.id), default=said)
    confirmed = statements(record, "measure.confirmed", str(said.body["order"]))
    return Order(
        id=str(said.body["order"]),
        services=tuple(now.body["services"]),
        ordered_at=said.at,
        expires_at=parse_instant(now.body["expires_at"]),
        effect=read_effect(now.body),
        renewed_at=now.at if now.body.get("renewed") else None,
        lease_minutes=int(said.body["lease_minutes"]),
        policy_digest=str(said.body["policy_digest"]),
        mode=Mode(said.body["mode"]),
        applied_at=applied[0].at if applied else None,
        fact=said.id,
        trial_seconds=0 if confirmed else int(said.body.get("confirm_seconds", 0)),
    )


def _stage(said: Statement) -> int:
    return int(said.body.get("stage", ANNEX))


def _tried(company: str, record: Record, notice: Notice, others: tuple[Notice, ...]) -> frozenset[int]:
    """The stages that were in force on some of these invoices, under other notices, before this one was sent.

    Only what was in force then: a notice of a stronger measure tells the debtor that the gentler one was without effect.
    """
    names = {case_id(company, one.id) for one in others}
    said = (*statements(record, "measure.applied"), *statements(record, "measure.lowered"))
    return frozenset(_stage(one) for one in said if one.body["case"] in names and one.at < notice.first_at)


def _bears(hold: Hold, notice: Notice) -> bool:
    """Does a hold bear on the case of a notice? What the notice says in any of its statements counts."""
    if hold.services is not None and not hold.services & set(notice.services):
        return False
    if hold.invoices is not None and not hold.invoices & notice.named:
        return False
    to_officeholder = notice.addressee == "officeholder"
    return not (hold.spares_after is not None and to_officeholder and notice.first_at >= hold.spares_after)


def _reason(ended: Statement) -> str:
    """Why a measure ended, in one word; restores recorded before there was a word for it have the cause alone."""
    return str(ended.body.get("reason") or ended.body["cause"].partition(":")[0])


def _closed(record: Record, name: str, notice: Notice, ended: list[Statement], under_way: tuple[Statement, ...]) -> str:
    if any(one.body["case"] == name for one in statements(record, "case.voided")):
        return "error"
    final = next((_reason(one) for one in ended if one.body["final"]), "")
    if final:
        return final
    if any(one.at >= notice.first_at for one in statements(record, "debtor.replaced")):
        return "superseded"
    if any(_planned(record, key, notice) for key in keys(record, "plan.agreed")):
        return "plan_agreed"
    # A person's word to restore closes whatever was under way against the company; a notice that only runs goes on.
    by_hand = max((one.at for one in statements(record, "restore.ordered")), default=None)
    return "operator" if by_hand is not None and any(one.at <= by_hand for one in under_way) else ""


def _planned(record: Record, plan: str, notice: Notice) -> bool:
    """Was a payment plan for these invoices agreed, or still running, after the notice went out?"""
    agreed = statements(record, "plan.agreed", plan)
    if all(one.body["invoices"] and not notice.named & set(one.body["invoices"]) for one in agreed):
        return False
    said = (*agreed, *statements(record, "plan.broken", plan), *statements(record, "plan.ended", plan))
    return any(one.at >= notice.first_at for one in said)


def _preflight(record: Record) -> Preflight | None:
    said = latest(record, "preflight.done")
    if not said:
        return None
    return Preflight(
        at=said[0].at,
        green=all(one.body["result"] == "green" for one in said),
        baseline_hours=min(one.body["baseline_hours"] for one in said),
        local_matches=max(one.body["local_matches"] for one in said),
        fact=said[-1].id,
    )


def _pinned(record: Record, notice: str) -> Pinned | None:
    said = statements(record, "policy.pinned", notice)
    if not said:
        return None
    body = said[0].body
    return Pinned(policy=body["policy"], classes=body["classes"], digest=str(body["policy"].get("digest", "")), fact=said[0].id)


def _announced(record: Record, notice: Notice) -> Iterator[Announced]:
    for key in keys(record, "payment.announced"):
        for one in statements(record, "payment.announced", key):
            named = set(one.body["invoices"])
            if one.at >= notice.first_at and (not named or named & notice.named):
                yield Announced(payment=key, at=one.at, fact=one.id)


def _reopened(company: str, record: Record, notice: Notice, asked: tuple[Notice, ...]) -> Notice | None:
    """The notice whose case was restored for money that came back since, if it said that it would be reopened then.

    Only what the agent did and that money came back decides it: nothing said in the customer's favour may make a notice
    period shorter.
    """
    found = [
        one
        for one in asked
        if one.first_at < notice.first_at
        and "reopen" in one.states
        and not one.undeliverable
        and set(one.invoices) & set(notice.invoices)
        and _came_back(record, case_id(company, one.id), notice.first_at)
    ]
    return max(found, key=lambda one: (one.first_at, one.id), default=None)


def _came_back(record: Record, case: str, before: datetime) -> bool:
    ends = [
        one.at
        for one in statements(record, "measure.restored")
        if one.body["case"] == case and one.body["final"] and _reason(one) in _PAID
    ]
    return bool(ends) and any(min(ends) < one.at < before for one in statements(record, "payment.reversed"))


def _with_reminders(notice: Notice, earlier: Notice | None) -> Notice:
    """The reminders of the case that is reopened count for the new notice too."""
    if earlier is None:
        return notice
    return replace(notice, reminders=tuple(sorted({*notice.reminders, *earlier.reminders})))

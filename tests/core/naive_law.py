"""A second law: the 27 checks of section 2.6 and what follows from them, in plain words and from nothing each time.

It reads `naive_facts` and shares no code with the agent's gate, case, debt, notices or decision. It says verdicts, not reasons, and
decides only what section 4 decides: what to do about each notice now. See the stateful model test for what it is compared with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.core.naive_facts import Facts, Said, is_working, local, midnight, moment, window_open

PASS, FAIL, UNKNOWN, LATER = "pass", "fail", "unknown", "later"

STANDING = "standing"
APPLY = "apply-only"
HEALTH = "health"

KINDS = {f"G-{n:02}": STANDING for n in range(1, 28)}
KINDS |= dict.fromkeys(("G-10", "G-20", "G-23", "G-24", "G-25", "G-26"), APPLY)
KINDS |= dict.fromkeys(("G-14", "G-21", "G-22"), HEALTH)

#: Section 2.6, last column. Who is not here overrides nothing.
OVERRIDES = {"G-04": 1, "G-10": 1, "G-13": 1, "G-25": 1, "G-26": 1}
OVERRIDES |= dict.fromkeys(("G-05", "G-06", "G-07", "G-14", "G-15", "G-18", "G-24", "G-27"), 2)

#: Section 2.6, column "floor", for the values an override may take down.
FLOORS: Mapping[str, Mapping[str, Any]] = {
    "G-04": {"min_days_overdue": 1},
    "G-05": {"min_debt": Decimal(100), "min_debt_months": 0},
    "G-06": {"min_reminders": 2, "reminder_spacing_days": 3},
    "G-10": {"notice_max_age_days": 180},
    "G-14": {"insolvency_max_age_hours": 72},
    "G-24": {"max_new_per_hour": 10_000, "max_new_per_day": 10_000, "max_share_of_companies": 100, "max_share_of_prefixes": 100,
             "canaries": 10_000, "canary_minutes": 1},
    "G-27": {"max_suspension_days": 90},
}  # fmt: skip

MUST_STATE = {"sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore"}
MODES = ["observe", "approve", "auto"]
PERSONS = {"credit_officer", "approver", "legal"}
DECIDERS = {"approver", "legal"}
LIFTABLE = {"natural_person", "regulated", "care"}
NEVER = "D"
AHEAD = timedelta(minutes=5)
PARIS = "Europe/Paris"


@dataclass(frozen=True, kw_only=True)
class Around:
    """What concerns no company. `host`: events about the host. `ordered`: when companies were ordered in the last 24 hours."""

    host: tuple[Any, ...]
    sources: tuple[str, ...]
    ceiling: str
    paused: bool
    restore_all: bool
    ordered: tuple[datetime, ...]
    companies: int
    cut: int
    policies: Mapping[str, Any]  # every version ever loaded, by digest


@dataclass(kw_only=True)
class Found:
    """About one notice: every check, and what to do now."""

    verdicts: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    act: str = "nothing"
    cause: str = ""
    final: bool = False
    mode: str = ""
    owed: Decimal = Decimal(0)
    closed: str = ""
    order: str = ""
    reopens: str = ""


def law(company_id: str, events: Any, company: Any, services: Any, policy: Any, around: Around, leases: Any, now: datetime) -> Any:
    """Every notice of a company, by its name."""
    facts = Facts(events)
    notices = facts.names("notice.dispatched", "notice")
    return {
        name: One(facts, company_id, name, company, services, policy, around, leases.get(f"{company_id}:{name}"), now).found()
        for name in notices
    }


class One:
    """One notice of one company now."""

    def __init__(
        self,
        facts: Facts,
        company_id: str,
        name: str,
        company: Any,
        services: Any,
        policy: Any,
        around: Around,
        lease: datetime | None,
        now: datetime,
    ) -> None:
        self.facts, self.company, self.services, self.policy = facts, company, services, policy
        self.around, self.lease, self.now = around, lease, now
        self.case = f"{company_id}:{name}"
        self.company_id = company_id
        self.notice = facts.notice(name)
        self.debt = facts.debt(self.notice["first"])
        self.zones = sorted({site.timezone for site in company.sites}) if company and company.sites else [PARIS]
        self.today = min(local(now, zone).date() for zone in self.zones)
        self.host = Facts(around.host)
        self._history()
        self.reopened = self._reopens()
        if self.reopened:
            self.notice["reminders"] |= facts.notice(self.reopened)["reminders"]

    # --- what was done about it so far (4.1) ------------------------------------------------------------------------

    def _mine(self, type_: str) -> list[Said]:
        return self.facts.of(type_, case=self.case)

    def _history(self) -> None:
        ended = self._mine("measure.restored")
        gone = {one.body["order"] for one in ended}
        alive = [one for one in self._mine("order.suspend") if one.body["order"] not in gone]
        self.order = alive[-1] if alive else None
        applied = self.facts.of("measure.applied", order=self.order.body["order"]) if self.order else []
        self.applied = applied[0].at if applied else None
        self.first_in_force = min((one.at for one in self._mine("measure.applied")), default=None)
        last_end = max((one.at for one in ended), default=None)
        self.proposed = any(last_end is None or one.at > last_end for one in self._mine("case.proposed"))
        spared = [one.at for one in ended if why(one) == "announced"]
        self.spared = min(spared, default=None)
        self.graced = min([*spared, *(one.at for one in self._mine("case.delayed"))], default=None)
        self.closed = self._closed(ended)

    def _closed(self, ended: list[Said]) -> str:
        if self._mine("case.voided"):
            return "error"
        for one in ended:
            if one.body["final"]:
                return why(one)
        sent = self.notice["first"]
        if any(one.at >= sent for one in self.facts.of("debtor.replaced")):
            return "superseded"
        for plan in self.facts.names("plan.agreed", "plan"):
            agreed = self.facts.of("plan.agreed", plan=plan)
            bears = any(not one.body["invoices"] or self.notice["named"] & set(one.body["invoices"]) for one in agreed)
            about = [*agreed, *self.facts.of("plan.broken", plan=plan), *self.facts.of("plan.ended", plan=plan)]
            if bears and any(one.at >= sent for one in about):
                return "plan_agreed"
        by_hand = [one.at for one in self.facts.of("restore.ordered")]
        begun = [*self._mine("order.suspend"), *self._mine("case.proposed"), *self._mine("approval.given")]
        if by_hand and any(one.at <= max(by_hand) for one in begun):
            return "operator"
        return ""

    def _reopens(self) -> str:
        """T-20: the notice whose case was restored for money that came back since, if it said that it would be reopened."""
        found = []
        for name in self.facts.names("notice.dispatched", "notice"):
            other = self.facts.notice(name)
            paid = [
                one.at
                for one in self.facts.of("measure.restored", case=f"{self.company_id}:{name}")
                if one.body["final"] and why(one) in ("paid", "partially_paid_below_threshold")
            ]
            back = [one.at for one in self.facts.of("payment.reversed")]
            if (
                other["first"] < self.notice["first"]
                and "reopen" in other["states"]
                and not other["undeliverable"]
                and other["invoices"] & self.notice["invoices"]
                and paid
                and any(min(paid) < at < self.notice["first"] for at in back)
            ):
                found.append((other["first"], name))
        return max(found)[1] if found else ""

    # --- shared by several checks -----------------------------------------------------------------------------------

    def _invoices(self, policy: Any) -> tuple[list[Any], list[Any], list[Any]]:
        """Of the notice: all that are known, those overdue, those of these that the measure rests on."""
        known = [self.debt["invoices"][name] for name in sorted(self.notice["invoices"]) if name in self.debt["invoices"]]
        overdue = [
            one
            for one in known
            if not one["out"]
            and one["remaining"] > 0
            and one["currency"] == policy.currency
            and (self.company is None or one["contracts"] <= {self.company.contract})
            and one["due"] + timedelta(days=max(1, policy.min_days_overdue)) <= self.today
        ]
        proven = [one for one in overdue if one["delivered"] and len(self._reminded(one, policy)) >= policy.min_reminders]
        return known, overdue, proven or overdue

    def _reminded(self, invoice: Any, policy: Any) -> list[Any]:
        """G-06: recalled by the notice, after the due date, before the notice, far enough apart."""

        def day(at: datetime) -> date:
            return min(local(at, zone).date() for zone in [*self.zones, PARIS])

        found: list[Any] = []
        for one in sorted(self.facts.reminders().values(), key=lambda each: (each["last"], each["name"])):
            apart = not found or (day(one["first"]) - day(found[-1]["last"])).days >= policy.reminder_spacing_days
            if (
                one["name"] in self.notice["reminders"]
                and invoice["name"] in one["invoices"]
                and day(one["first"]) > invoice["due"]
                and one["last"] < self.notice["first"]
                and apart
            ):
                found.append(one)
        return found

    def _cure_ends(self, policy: Any) -> datetime | None:
        """G-09 by CPC 641-642: the day of the act does not count; a last day that is no working day moves on."""
        if self.notice["effective"] is None:
            return None
        day = max(local(self.notice["effective"], zone).date() for zone in [*self.zones, PARIS])
        last = day + timedelta(
            days=max(policy.reopen_notice_days if self.reopened else policy.notice_days, self.notice["cure_days"])
        )
        while not is_working(last):
            last += timedelta(days=1)
        return midnight(last + timedelta(days=1), self.zones)

    def _statuses(self, policy: Any) -> set[str]:
        own = {one.value for one in self.company.protected}
        return own | {"fr-public": {"public_body"}, "fr-consumer": {"consumer"}}.get(policy.profile, set())

    def _mode(self, policy: Any) -> str:
        asked = policy.mode.value
        insolvent = self.facts.standing("insolvency.opened", "proceedings", "insolvency.closed")
        watched = self.company is None or not (self._statuses(policy) or any(not s.local_applications for s in self.company.sites))
        if asked == "auto" and (insolvent or not watched):
            asked = "approve"
        limits = [asked, self.around.ceiling]
        if self.spared is not None or self.reopened:  # what a payment interrupted is never taken up without persons
            limits.append("approve")
        return min(limits, key=MODES.index)

    # --- the gate (2.6) ---------------------------------------------------------------------------------------------

    def _gate(self, policy: Any, classes: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], str, Decimal]:
        """All checks by one version of policy and classes, with overrides; then what is not asked yet."""
        given = self._overrides()
        lifted: set[str] = set()
        verdicts, kinds = self._judge(policy, classes, lifted)
        while more := {code for code in given if verdicts[code] != PASS and code not in lifted}:
            lifted |= more
            lower = policy
            for code in sorted(lifted):
                lower = replace(lower, **FLOORS.get(code, {}))
            verdicts, kinds = self._judge(lower, classes, lifted)
        lower = policy
        for code in sorted(lifted):
            lower = replace(lower, **FLOORS.get(code, {}))
        owed = sum((one["remaining"] for one in self._invoices(lower)[2]), Decimal(0))
        if self.order is None and any(verdicts[code] != PASS for code in verdicts if kinds[code] != APPLY):
            verdicts = {code: LATER if kinds[code] == APPLY else verdict for code, verdict in verdicts.items()}
        return verdicts, kinds, self._mode(policy), owed

    def _overrides(self) -> set[str]:
        found = set()
        for code, needed in OVERRIDES.items():
            revoked = [one.at for one in self._mine("override.revoked") if one.body["check"] == code]
            given = [
                one
                for one in self._mine("override.given")
                if one.body["check"] == code
                and one.body["role"] in PERSONS
                and moment(one.body["expires_at"]) > self.now
                and (not revoked or one.at > max(revoked))
            ]
            deciding = {one.body["by"] for one in given if one.body["role"] in DECIDERS}
            if deciding and (needed == 1 or len({one.body["by"] for one in given}) >= 2):
                found.add(code)
        return found

    def _judge(self, policy: Any, classes: Mapping[str, str], lifted: set[str]) -> tuple[dict[str, str], dict[str, str]]:
        verdicts, kinds = {}, dict(KINDS)
        for code in KINDS:
            said = getattr(self, "_" + code.lower().replace("-", ""))(policy, classes, lifted)
            if isinstance(said, tuple):
                said, kinds[code] = said
            verdicts[code] = {True: PASS, False: FAIL, None: UNKNOWN}[said]
        return verdicts, kinds

    def _g01(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        if self.company is None or not self.company.contract:
            return False
        subscribed = {one.service for one in self.company.subscriptions}
        connected = any(
            (place.valid_from or date.min) <= local(self.now, site.timezone).date() <= (place.valid_to or date.max)
            for site in self.company.sites
            for place in site.attachments
        )
        return self.notice["services"] <= subscribed and connected

    def _g02(self, policy: Any, classes: Any, lifted: set[str]) -> bool | None:
        if not policy.enforcement_point:
            return None
        foreign = any(self.services[name].delivered_by != "provider" for name in self.notice["services"] if name in self.services)
        return policy.enforcement_point == "provider" and not foreign

    def _g03(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        known, overdue, _ = self._invoices(policy)
        return bool(known) and not self.debt["doubts"] and (not overdue or any(one["delivered"] for one in overdue))

    def _g04(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        return bool(self._invoices(policy)[1])

    def _g05(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        fees = sum((one.monthly_fee or 0 for one in self.company.subscriptions), Decimal(0)) if self.company else Decimal(0)
        owed = sum((one["remaining"] for one in self._invoices(policy)[2]), Decimal(0))
        return bool(owed >= max(policy.min_debt, policy.min_debt_months * fees))

    def _g06(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        known, overdue, _ = self._invoices(policy)
        shown = [one for one in overdue if one["delivered"]] or overdue or known
        return any(len(self._reminded(one, policy)) >= policy.min_reminders for one in shown)

    def _g07(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        accepted = self.notice["channel"] in policy.notice_channels or "G-07" in lifted
        return accepted and self.notice["effective"] is not None and bool(self.notice["proof"])

    def _g08(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        enough = self.notice["stage"] is None or self.notice["stage"] >= 3
        wider = self.order is not None and set(self.order.body["services"]) - self.notice["services"]
        return bool(self.notice["services"]) and self.notice["states"] >= MUST_STATE and enough and not wider

    def _g09(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        ends = self._cure_ends(policy)
        return ends is not None and self.now >= ends and self.now >= midnight(self.notice["earliest"], self.zones)

    def _g10(self, policy: Any, classes: Any, lifted: set[str]) -> Any:
        ends = self._cure_ends(policy)
        if ends is None:
            return None
        ended = min(local(ends, zone).date() for zone in self.zones)
        fresh = self.now < midnight(ended + timedelta(days=policy.notice_max_age_days), self.zones)
        return fresh if fresh or self.order is not None else (False, STANDING)  # nobody is asked to approve a stale case

    def _g11(self, policy: Any, classes: Any, lifted: set[str]) -> bool | None:
        ends = self._cure_ends(policy)
        if ends is None:
            return None
        reminders = self.facts.reminders()
        recalled = [reminders[name] for name in self.notice["reminders"] if name in reminders]
        return (
            len(recalled) >= policy.min_reminders
            and all(one["last"] < self.notice["first"] for one in recalled)
            and not self.facts.overtaken(self.notice["first"])
            and self.notice["effective"] >= self.notice["last"]
            and self.now >= ends
        )

    def _g12(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        return not self.debt["vague"]

    def _g13(self, policy: Any, classes: Any, lifted: set[str]) -> Any:
        found = []
        for hold in self.facts.holds():
            if hold["services"] is not None and not hold["services"] & self.notice["services"]:
                continue
            if hold["invoices"] is not None and not hold["invoices"] & self.notice["named"]:
                continue
            if hold["spares"] is not None and self.notice["officeholder"] and self.notice["first"] >= hold["spares"]:
                continue
            if hold["until"] is not None and self.now >= midnight(hold["until"] + timedelta(days=1), [*self.zones, PARIS]):
                continue
            if hold["kind"] == "manual" and "G-13" in lifted:
                continue
            found.append(hold)
        if found and self.order is not None and not any(hold["restores"] for hold in found):
            return False, APPLY  # freezes escalation only
        return not found

    def _fresh(self, said: list[datetime], age: timedelta) -> bool | None:
        """What is dated ahead of time says nothing yet."""
        known = [at for at in said if at <= self.now + AHEAD]
        return None if not known else self.now < max(known) + age

    def _g14(self, policy: Any, classes: Any, lifted: set[str]) -> bool | None:
        said = [*latest(self.facts, "insolvency.checked"), *latest(self.host, "insolvency.checked")]
        return self._fresh(said, timedelta(hours=policy.insolvency_max_age_hours))

    def _g15(self, policy: Any, classes: Any, lifted: set[str]) -> bool | None:
        if self.company is None:
            return None
        found = self._statuses(policy)
        recorded = policy.public_clause and policy.public_mission and policy.public_opposition
        may = LIFTABLE | ({"public_body"} if recorded else set())
        return not found or ("G-15" in lifted and found <= may)

    def _g16(self, policy: Any, classes: Mapping[str, str], lifted: set[str]) -> bool | None:
        if self.company is None:
            return None
        narrowed = {one.service: one.class_.value for one in self.company.subscriptions if one.class_ is not None}
        for name in self.notice["services"]:
            if classes.get(name) != "A" or narrowed.get(name, "A") != "A":
                return False
        counted = self._invoices(policy)[2]
        unpaid = {line["service"] for one in counted for line in one["lines"] if Decimal(line["amount"]) > 0}
        return not (policy.confine_to_unpaid_service and counted and self.notice["services"] - unpaid)

    def _g17(self, policy: Any, classes: Any, lifted: set[str]) -> bool | None:
        if self.company is None:
            return None
        paid = {one.service for one in self.company.subscriptions if one.paid_through and one.paid_through >= self.today}
        return not paid & self.notice["services"]

    def _g18(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        if not self.notice["kept"]:
            return False
        if "G-18" in lifted:
            return True
        waived = any(2 in one.body["stages"] and one.body["reason"] for one in self._mine("stage.waived"))
        counted = self._invoices(policy)[2]
        owed = sum((one["remaining"] for one in counted), Decimal(0))
        oldest = max(((self.today - one["due"]).days for one in counted), default=policy.stage3_min_days)
        return (waived or bool(policy.waive_gentler_stages)) and owed >= policy.stage3_min_debt and oldest >= policy.stage3_min_days

    def _g19(self, policy: Any, classes: Any, lifted: set[str]) -> Any:
        if self.facts.standing("local.regressed", "regression", "local.recovered"):
            return False
        done = self.facts.of("preflight.done")
        if not done:
            return None
        last = [one for one in done if one.at == done[-1].at]
        if last[0].at > self.now + AHEAD:
            return None
        if any(one.body["result"] != "green" or one.body["local_matches"] for one in last):
            return False
        if any(one.body["baseline_hours"] < policy.preflight_baseline_hours for one in last):
            return False
        if self.applied is not None:  # later the watch itself says when something stops
            return True
        fresh = self.now < last[0].at + timedelta(hours=policy.preflight_max_age_hours)
        return True if fresh else (False, APPLY)

    def _g20(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        return all(window_open(self.now, zone, policy) for zone in self.zones)

    def _g21(self, policy: Any, classes: Any, lifted: set[str]) -> bool | None:
        said = self.host.of("clock.checked")
        if not said:
            return None
        last = [one for one in said if one.at == said[-1].at]
        fresh = self._fresh([last[0].at], timedelta(minutes=policy.clock_max_age_minutes))
        if fresh is not True:
            return fresh
        return all(
            one.body["synchronised"] and not one.body.get("stepped") and one.body["offset_ms"] <= policy.clock_max_offset_ms
            for one in last
        )

    def _g22(self, policy: Any, classes: Any, lifted: set[str]) -> bool | None:
        if not self.around.sources:
            return None
        age = timedelta(minutes=policy.feed_max_age_minutes)
        beats = [max((o.at for o in self.host.of("heartbeat") if o.source == name), default=None) for name in self.around.sources]
        if any(at is None or self.now >= at + age for at in beats):
            return False
        return None if any(at is not None and at > self.now + age for at in beats) else True

    def _g23(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        if self._mode(policy) == "auto" and self._enough(self._standing(policy), policy.approvals):
            return True
        void = [one.at for one in [*self._mine("measure.restored"), *self._mine("approval.revoked")]]
        age = timedelta(days=policy.approval_valid_days)
        living = [
            one
            for one in self._mine("approval.given")
            if one.body["role"] in PERSONS
            and (not void or one.at > max(void))
            and self.now < one.at + age
            and ("expires_at" not in one.body or self.now < moment(one.body["expires_at"]))
        ]
        return self._enough(living, policy.approvals)

    def _standing(self, policy: Any) -> list[Said]:
        revoked = [one.at for one in self.host.of("standing_approval.revoked", policy=policy.id)]
        return [
            one
            for one in self.host.of("standing_approval.given", policy=policy.id, policy_digest=policy.digest)
            if one.body["role"] in PERSONS and (not revoked or one.at > max(revoked)) and self.now < moment(one.body["expires_at"])
        ]

    def _enough(self, words: list[Said], needed: int) -> bool:
        """Distinct persons; where several are needed one of them is entitled to decide."""
        deciding = any(one.body["role"] in DECIDERS for one in words)
        return len({one.body["by"] for one in words}) >= needed and (needed < 2 or deciding)

    def _g24(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        if self.applied is not None:
            return True
        ordered = sorted(self.around.ordered)
        if self.order is not None:
            mine = [at for at in ordered if abs(at - self.order.at) < timedelta(seconds=1)]
            ordered = [at for at in ordered if at not in mine[:1]] + mine[1:]
        released = [one.at for one in self.host.of("breaker.released") if one.body["role"] in DECIDERS]
        if any(not released or one.at >= max(released) for one in self.host.of("breaker.opened")):
            return False
        hour = [at for at in ordered if at > self.now - timedelta(hours=1)]
        day = sorted(at for at in ordered if at > self.now - timedelta(days=1))
        if len(hour) >= policy.max_new_per_hour or len(day) >= policy.max_new_per_day:
            return False
        if len(day) >= policy.canaries and self.now < day[policy.canaries - 1] + timedelta(minutes=policy.canary_minutes):
            return False
        share = Decimal(100 * (self.around.cut + 1)) / self.around.companies if self.around.cut else Decimal(0)
        return share <= policy.max_share_of_companies and share <= policy.max_share_of_prefixes

    def _g25(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        return "G-25" in lifted or not self.facts.standing("scope.changed", "change", "scope.reviewed")

    def _g26(self, policy: Any, classes: Any, lifted: set[str]) -> bool | None:
        effective = self.notice["effective"]
        if effective is None:
            return None
        if "G-26" in lifted:
            return True
        if self.facts.standing("contact.unreachable", "contact", "contact.reachable"):
            return False
        for name in self.facts.names("warning.sent", "warning"):
            said = self.facts.of("warning.sent", warning=name)
            mine = all(one.body["notice"] == self.notice["name"] for one in said)
            reached = not self.facts.of("warning.bounced", warning=name)
            in_time = said[-1].at >= effective and self.now >= said[-1].at + timedelta(days=policy.warning_days)
            if mine and reached and in_time:
                return True
        return False

    def _g27(self, policy: Any, classes: Any, lifted: set[str]) -> bool:
        longest = timedelta(days=policy.max_suspension_days)
        ends = [self.first_in_force + longest] if self.first_in_force else []
        if self.order is not None:
            ends.append(self.order.at + longest)
            if "G-27" not in lifted:
                ends.append(moment(self.order.body["expires_at"]))
        return all(self.now < end for end in ends)

    # --- what follows (4.1, 4.2) ------------------------------------------------------------------------------------

    def found(self) -> Found:
        """Judge by both versions of the policy, then decide."""
        classes = {name: one.class_.value for name, one in self.services.items()}
        verdicts, kinds, mode, owed = self._gate(self.policy, classes)
        pinned = self.facts.of("policy.pinned", notice=self.notice["name"])
        if pinned:
            then = self.around.policies[pinned[0].body["policy"]["digest"]]
            before = {**classes, **{name: pinned[0].body["classes"].get(name, NEVER) for name in self.notice["services"]}}
            before = {name: class_ for name, class_ in before.items() if name in self.services}
            old = replace(then, id=self.policy.id, digest=self.policy.digest, mode=self.policy.mode)
            others, other_kinds, other_mode, _ = self._gate(old, before)
            worse = [PASS, UNKNOWN, FAIL, LATER]
            for code, verdict in others.items():
                if worse.index(verdict) > worse.index(verdicts[code]):
                    verdicts[code], kinds[code] = verdict, other_kinds[code]
            mode = min(mode, other_mode, key=MODES.index)
        found = Found(verdicts=verdicts, kinds=kinds, mode=mode, owed=owed, closed=self.closed)
        found.order, found.reopens = (self.order.body["order"] if self.order else ""), self.reopened
        self._decide(found)
        return found

    def _grace(self) -> bool:
        """Payment announced: five working days, once."""
        if not self.policy.grace_on_announced:
            return False
        for one in self.facts.of("payment.announced"):
            named = set(one.body["invoices"])
            bears = one.at >= self.notice["first"] and (not named or named & self.notice["named"])
            if bears and one.at <= self.now and (self.graced is None or one.at <= self.graced):
                day = max(local(one.at, zone).date() for zone in self.zones)
                for _ in range(5):
                    day += timedelta(days=1)
                    while not is_working(day):
                        day += timedelta(days=1)
                if self.now < midnight(day + timedelta(days=1), self.zones):
                    return True
        return False

    def _decide(self, found: Found) -> None:
        def failing(*kinds: str) -> list[str]:
            return [code for code in KINDS if found.verdicts[code] != PASS and found.kinds[code] in kinds]

        if self.order is None:
            self._without_order(found, failing)
        else:
            self._with_order(found, self.order, failing)

    def _without_order(self, found: Found, failing: Any) -> None:
        if self.closed:
            found.cause = "closed"
        elif failing(STANDING, HEALTH):
            found.cause = failing(STANDING, HEALTH)[0]
        elif self._grace():
            found.cause = "announced"
        elif found.mode == "observe":
            found.act = "observe"
        elif self.around.paused or failing(APPLY):
            found.act = "nothing" if self.proposed else "propose"
            found.cause = "paused" if self.around.paused else failing(APPLY)[0]
        else:
            found.act = "suspend"

    def _with_order(self, found: Found, order: Said, failing: Any) -> None:
        """T-15 has no guard: one reason is enough to restore, and those that end the case come first."""
        whole = timedelta(minutes=order.body["lease_minutes"])
        lease = self.lease
        if lease is None and self.applied is not None:
            lease = self.applied + whole
        if self.closed:
            found.act, found.cause, found.final = "restore", self.closed, True
        elif failing(STANDING):
            found.act, found.cause, found.final = "restore", failing(STANDING)[0], True
        elif self.around.restore_all:
            found.act, found.cause = "restore", "paused"
        elif self._grace():
            found.act, found.cause = "restore", "announced"
        elif MODES.index(found.mode) < MODES.index(order.body["mode"]):
            found.act, found.cause = "restore", "ceiling"
        elif lease is None and self.around.paused:
            found.act, found.cause = "restore", "paused"
        elif lease is None and failing(APPLY, HEALTH):
            found.act, found.cause = "restore", failing(APPLY, HEALTH)[0]
        elif lease is not None and lease <= self.now:
            found.act, found.cause = "restore", "lease"
        elif lease is not None and failing(HEALTH):
            found.act, found.cause = "keep", "health"
        else:
            found.act = "keep"


def why(ended: Said) -> str:
    return str(ended.body.get("reason") or ended.body["cause"].partition(":")[0])


def latest(facts: Facts, type_: str) -> list[datetime]:
    """Of what only tells how things are just now the latest word alone counts, whatever it is dated."""
    return [one.at for one in facts.of(type_)[-1:]]

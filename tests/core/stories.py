"""A company's history told in sentences, and what is decided about it.

A `Story` is a value: every sentence gives a new one, so that tests can branch from a common past. Times are civil times in
Paris ("2026-03-30 09:00"). Bodies pass the same parser as real ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Any, Literal
from zoneinfo import ZoneInfo

from agent import acts
from agent.breaker import Load
from agent.case import EMPTY_RECORD, ClockState, Record, StandingApproval, fold
from agent.continuity import Sight
from agent.decide import Act
from agent.event import Event, parse_body
from agent.gate import TABLE, Check, World
from agent.gate.checks import MUST_STATE
from agent.judge import Judged, Judgement, judge
from agent.model import (
    L4,
    Attachment,
    Company,
    LocalApplication,
    Mode,
    Policy,
    Probe,
    Selector,
    Service,
    ServiceClass,
    Site,
    Subscription,
)
from agent.policy import policy_values
from agent.stages import strength

PARIS = "Europe/Paris"

ANNEX = ("reporting", "shared-documents", "vpn")

#: What a notice says stays on.
KEPT = ("dns", "portal", "restore", "telephony")

POLICY = Policy(
    id="standard",
    profile="fr-b2b",
    mode=Mode.AUTO,
    enforcement_point="provider",
    waive_gentler_stages="annex services only",
    digest="a" * 64,
)
APPROVE = replace(POLICY, mode=Mode.APPROVE)


def at(text: str, zone: str = PARIS) -> datetime:
    """A civil time at a place, as UTC. Text that names its own zone ("...Z") is taken at its word."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


def service(id_: str, class_: ServiceClass, prefix: str) -> Service:
    return Service(id=id_, class_=class_, selectors=(Selector(prefix=ip_network(prefix), protocol=L4.ANY),))


SERVICES: Mapping[str, Service] = {
    one.id: one
    for one in (
        service("vpn", ServiceClass.ANNEX, "198.51.100.10/32"),
        service("shared-documents", ServiceClass.ANNEX, "198.51.100.20/32"),
        service("reporting", ServiceClass.ANNEX, "198.51.100.30/32"),
        service("hosted-mail", ServiceClass.EXTENDED, "198.51.100.50/32"),
        service("dns", ServiceClass.DEPENDENCY, "192.0.2.53/32"),
        service("telephony", ServiceClass.EMERGENCY, "192.0.2.60/32"),
        service("portal", ServiceClass.PAY, "192.0.2.10/32"),
        service("restore", ServiceClass.RECOVERY, "198.51.100.40/32"),
    )
}


def site(id_: str, *, zone: str = PARIS, prefix: str = "10.20.10.0/24", **validity: date) -> Site:
    erp = Probe(kind="tcp", address=ip_address("10.20.10.5"), port=443)
    return Site(
        id=id_,
        timezone=zone,
        attachments=(Attachment(prefix=ip_network(prefix), **validity),),
        local_applications=(LocalApplication(name="erp", probe=erp),),
    )


def company(id_: str = "za", name: str = "Zéphyr Atelier", *, sites: Sequence[Site] = (), fee: str = "0") -> Company:
    """A company with every annex service and some that are never cut. `fee` is the monthly fee of each annex service."""
    annex = tuple(Subscription(service=name, monthly_fee=Decimal(fee)) for name in ANNEX)
    kept = tuple(Subscription(service=name) for name in ("dns", "telephony", "portal", "restore"))
    return Company(
        id=id_,
        name=name,
        group="zephyr",
        policy=POLICY.id,
        contract="C-2024-017",
        sites=tuple(sites) or (site("paris"),),
        subscriptions=(*annex, *kept),
    )


ZA = company()

_LINES = (("vpn", "0.4"), ("shared-documents", "0.4"), ("reporting", "0.2"))


def lines(amount: str, *, delivered: bool = True, services: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The lines of an invoice: the sum split over services, each with a delivery reference."""
    split = [(name, Decimal(1) / len(services)) for name in services] or [(name, Decimal(share)) for name, share in _LINES]
    return [
        {"service": name, "amount": str((Decimal(amount) * share).quantize(Decimal("0.01")))}
        | ({"delivered_ref": f"PV-{name}"} if delivered else {})
        for name, share in split
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """Facts about one company. Each method adds one fact and gives the longer story."""

    company: str = "za"
    events: tuple[Event, ...] = ()
    serial: int = 0

    def says(self, type_: str, when: str | datetime, *, source: str = "erp", id_: str = "", **body: Any) -> "Story":
        moment = at(when) if isinstance(when, str) else when
        event = Event(
            id=id_ or f"{source}:{self.serial + 1:04}",
            type=type_,
            subject=self.company,
            occurred_at=moment,
            received_at=moment,
            source=source,
            body=parse_body(type_, body),
        )
        return replace(self, events=(*self.events, event), serial=self.serial + 1)

    def without(self, *types: str) -> "Story":
        """The same story, had the facts of these types never been heard of."""
        return replace(self, events=tuple(event for event in self.events if event.type not in types))

    # --- the debt ---------------------------------------------------------------------------------------------------

    def invoice(self, id_: str = "F1", amount: str = "4800.00", due: str = "2026-01-31", **more: Any) -> "Story":
        when = more.pop("when", f"{due} 08:00")
        overdue = more.pop("overdue", False)
        body = {"invoice": id_, "amount": amount, "due_on": due, "currency": "EUR", "lines": lines(amount)} | more
        return self.says("invoice.overdue" if overdue else "invoice.issued", when, **body)

    def cancelled(self, id_: str, when: str) -> "Story":
        return self.says("invoice.cancelled", when, invoice=id_)

    def paid(self, amount: str, when: str, *, id_: str = "P1", currency: str = "EUR", **allocation: str) -> "Story":
        """A payment. Names of invoices as keywords are an allocation: `F1="4800.00"`."""
        told = {"allocation": [{"invoice": name, "amount": part} for name, part in allocation.items()]} if allocation else {}
        return self.says("payment.received", when, payment=id_, amount=amount, currency=currency, **told)

    def returned(self, when: str, *, id_: str = "P1") -> "Story":
        return self.says("payment.reversed", when, payment=id_, code="MD06")

    # --- what was asked ---------------------------------------------------------------------------------------------

    def reminder(self, id_: str, when: str, *invoices: str) -> "Story":
        return self.says("reminder.sent", when, reminder=id_, invoices=list(invoices or ("F1",)), channel="email")

    def notice(self, when: str = "2026-03-09 11:00", id_: str = "N1", **more: Any) -> "Story":
        announces = {
            "services": list(more.pop("services", ANNEX)),
            "earliest_on": more.pop("earliest_on", "2026-03-27"),
            "kept": list(more.pop("kept", KEPT)),
            **{name: more.pop(name) for name in ("stage", "extent") if name in more},
        }
        body = {
            "notice": id_,
            "channel": "lrar",
            "invoices": ["F1"],
            "reminders": ["R1", "R2", "R3"],
            "announces": announces,
            "states": sorted(MUST_STATE),
        }
        return self.says("notice.dispatched", when, **(body | more))

    def letter(self, what: str, when: str, id_: str = "N1", *, proof: str | None = "AR 1A 234 567") -> "Story":
        """What became of the letter: presented, delivered, refused, unclaimed, undeliverable."""
        return self.says(f"notice.{what}", when, notice=id_, **({"proof": proof} if proof else {}))

    def warned(self, when: str, id_: str = "W1", notice: str = "N1") -> "Story":
        return self.says("warning.sent", when, warning=id_, notice=notice, channel="email")

    def probed(self, when: str, result: str = "green", *, hours: int = 48, local: int = 0) -> "Story":
        return self.says("preflight.done", when, source="probe", result=result, baseline_hours=hours, local_matches=local)

    # --- what stands in the way -------------------------------------------------------------------------------------

    def dispute(self, when: str, *invoices: str, motive: str = "quantity", id_: str = "D1") -> "Story":
        told = ({"invoices": list(invoices)} if invoices else {}) | ({"motive": motive} if motive else {})
        return self.says("dispute.opened", when, dispute=id_, **told)

    def settled(self, when: str, outcome: str, id_: str = "D1") -> "Story":
        return self.says("dispute.closed", when, dispute=id_, outcome=outcome)

    def hold(self, kind: str, when: str, id_: str = "H1", **more: Any) -> "Story":
        return self.says("hold.set", when, hold=id_, kind=kind, **more)

    def lifted(self, when: str, id_: str = "H1") -> "Story":
        return self.says("hold.lifted", when, hold=id_)

    def announced(self, when: str, *invoices: str, id_: str = "P1") -> "Story":
        return self.says("payment.announced", when, payment=id_, invoices=list(invoices or ("F1",)))

    def insolvent(self, when: str, judgment: str, *, kind: str = "redressement", id_: str = "RJ1", **more: Any) -> "Story":
        return self.says("insolvency.opened", when, source="register", proceedings=id_, kind=kind, judgment_on=judgment, **more)

    def court(self, when: str, effect: str = "restore", id_: str = "O1", **more: Any) -> "Story":
        return self.says("court.order", when, source="legal", decision=id_, effect=effect, **more)

    def court_lifted(self, when: str, *persons: str, id_: str = "O1", role: str = "legal") -> "Story":
        story = self
        for person in persons:
            story = story.operator("court.lifted", when, person, role=role, decision=id_, document="judgment.pdf")
        return story

    def deferred(self, when: str, until: str, id_: str = "G1") -> "Story":
        return self.says("grace_period.granted", when, source="legal", grace=id_, until=until)

    def plan(self, what: str, when: str, *invoices: str, id_: str = "E1") -> "Story":
        """A payment plan: agreed, broken, ended."""
        told = {"invoices": list(invoices)} if what == "agreed" else {}
        return self.says(f"plan.{what}", when, plan=id_, **told)

    def switching(self, when: str, *services: str, id_: str = "S1") -> "Story":
        return self.says("switching.requested", when, request=id_, **({"services": list(services)} if services else {}))

    def endangered(self, when: str, id_: str = "A1") -> "Story":
        return self.says("safety.reported", when, report=id_, what="the lift alarm does not get through")

    def replaced(self, when: str, id_: str = "ACT1") -> "Story":
        return self.says("debtor.replaced", when, deed=id_, successor="Zéphyr Holding")

    # --- persons ----------------------------------------------------------------------------------------------------

    def approved(self, when: str, *persons: str, notice: str = "N1", role: str = "approver", **more: Any) -> "Story":
        story = self
        for person in persons or ("claire", "denis"):
            story = story.says(
                "approval.given",
                when,
                source=f"operator:{person}",
                case=f"{self.company}:{notice}",
                by=person,
                role=role,
                reason="seen",
                **more,
            )
        return story

    def revoked(self, when: str, notice: str = "N1") -> "Story":
        return self.says(
            "approval.revoked", when, source="operator:claire", case=f"{self.company}:{notice}", by="claire", reason="wait"
        )

    def by_hand(self, when: str) -> "Story":
        return self.says("restore.ordered", when, source="operator:claire", by="claire", reason="the lift alarm is dead")

    def operator(self, type_: str, when: str, person: str = "claire", *, role: str = "", **body: Any) -> "Story":
        """Anything else a named person states, with a reason; with a role where the type has one."""
        told = {"by": person, "reason": "seen"} | ({"role": role} if role else {}) | body
        return self.says(type_, when, source=f"operator:{person}", **told)

    def voided(self, when: str, notice: str = "N1") -> "Story":
        return self.operator("case.voided", when, case=f"{self.company}:{notice}", cause="wrong customer")

    # --- the agent --------------------------------------------------------------------------------------------------

    def proposed(self, when: str, notice: str = "N1") -> "Story":
        return self.says(
            "case.proposed", when, source="agent", case=f"{self.company}:{notice}", services=list(ANNEX), gate={"checks": []}
        )

    def ordered(self, when: str, number: int = 1, notice: str = "N1", **more: Any) -> "Story":
        case = f"{self.company}:{notice}"
        body = {
            "order": f"{case}/{number}",
            "case": case,
            "services": list(ANNEX),
            "gate": {"checks": []},
            "policy_digest": POLICY.digest,
            "lease_minutes": POLICY.lease_minutes,
            "mode": "auto",
            "expires_at": (at(when) + timedelta(days=POLICY.max_suspension_days)).isoformat(),
        }
        return self.says("order.suspend", when, source="agent", **(body | more))

    def applied(self, when: str, number: int = 1, notice: str = "N1", **more: Any) -> "Story":
        case = f"{self.company}:{notice}"
        return self.says(
            "measure.applied",
            when,
            source="agent",
            order=f"{case}/{number}",
            case=case,
            services=list(ANNEX),
            elements=6,
            times={},
            **more,
        )

    def lowered(self, when: str, number: int = 1, notice: str = "N1", *, stage: int = 2, **more: Any) -> "Story":
        """The measure was stepped down; by default to a cap, within the time the order gave."""
        case = f"{self.company}:{notice}"
        body = {
            "order": f"{case}/{number}",
            "case": case,
            "services": list(ANNEX),
            "stage": stage,
            "elements": 6,
            "cause": "G-18",
            "expires_at": (at("2026-03-30 09:00") + timedelta(days=POLICY.max_suspension_days)).isoformat(),
            "times": {},
        }
        return self.says("measure.lowered", when, source="agent", **(body | ({"kbit": 512} if stage == 2 else {}) | more))

    def confirmed(self, when: str, number: int = 1, notice: str = "N1") -> "Story":
        case = f"{self.company}:{notice}"
        return self.says("measure.confirmed", when, source="agent", order=f"{case}/{number}", case=case, applications=["main.erp"])

    def restored(
        self, when: str, number: int = 1, notice: str = "N1", *, cause: str = "G-05", final: bool = True, reason: str = ""
    ) -> "Story":
        case = f"{self.company}:{notice}"
        body = {"order": f"{case}/{number}", "case": case, "cause": cause, "final": final, "times": {}}
        return self.says("measure.restored", when, source="agent", **(body | ({"reason": reason} if reason else {})))

    def pinned(self, when: str, policy: Policy, notice: str = "N1", **classes: str) -> "Story":
        """What a notice is judged by: a policy and classes of services, those of the catalogue but for `classes`."""
        known = {name: one.class_.value for name, one in SERVICES.items()}
        return self.says(
            "policy.pinned", when, source="agent", notice=notice, policy=policy_values(policy), classes=known | classes
        )

    # --- what follows -----------------------------------------------------------------------------------------------

    @property
    def record(self) -> Record:
        return folded(self.events)

    def judged(self, when: str | datetime, **circumstances: Any) -> Judgement:
        """The company, judged. Circumstances are those of `judgement_of`."""
        return judgement_of(self.record, at(when) if isinstance(when, str) else when, company_id=self.company, **circumstances)

    def case(self, when: str | datetime, notice: str = "N1", **circumstances: Any) -> Judged:
        return next(one for one in self.judged(when, **circumstances).judged if one.case.notice.id == notice)

    def check(self, code: str, when: str | datetime, **circumstances: Any) -> Check:
        return next(one for one in self.case(when, **circumstances).gate.checks if one.code == code)


def folded(events: Sequence[Event]) -> Record:
    """The record of events, in the order given."""
    record = EMPTY_RECORD
    for event in events:
        record = fold(record, event)
    return record


def standing(*persons: str, policy: Policy = POLICY, until: str = "2027-01-01 00:00", role: str = "approver") -> tuple[Any, ...]:
    """The dated word of some persons that a policy may act by itself."""
    return tuple(
        StandingApproval(
            by=person,
            role=role,
            policy=policy.id,
            policy_digest=policy.digest,
            at=at("2026-01-02 09:00"),
            expires_at=at(until),
            fact=f"standing-{person}",
        )
        for person in persons or ("claire", "denis")
    )


def judgement_of(
    record: Record,
    now: datetime,
    *,
    company_id: str = "za",
    company: Company | None = ZA,
    services: Mapping[str, Service] = SERVICES,
    policy: Policy | None = POLICY,
    ceiling: Mode = Mode.AUTO,
    approvals: tuple[StandingApproval, ...] | None = None,
    feeds: Mapping[str, datetime | None] | None = None,
    paused: bool = False,
    restore_all: bool = False,
    today: int = 0,
    load: Load | None = None,
    clock: ClockState | Literal[""] | None = "",
    register: datetime | str | None = "",
    probe: bool = True,
    sight: Sight = Sight.NONE,
    inseparable: tuple[str, ...] = (),
    lease: datetime | str | None = None,
    leases: Mapping[str, datetime] | None = None,
) -> Judgement:
    """Judge a record. Unless said otherwise the feed has just reported, the clock and the register were just looked at, the local
    applications were probed an hour ago, and two persons let the policy act by itself.

    `lease` is that of the case of notice N1, `today` the number of suspensions earlier in the last 24 hours, `register` when the
    register of insolvency proceedings was looked at, `probe` False: no probe but those of the record.
    """
    if probe and "preflight.done" not in record:
        record = fold(record, Story(company=company_id).probed((now - timedelta(hours=1)).isoformat()).events[0])
    if lease is not None:
        leases = {f"{company_id}:N1": at(lease) if isinstance(lease, str) else lease}
    return judge(
        company_id=company_id,
        record=record,
        company=company,
        services=services,
        policy=policy,
        world=World(
            ceiling=ceiling,
            feeds={"erp": now} if feeds is None else feeds,
            standing=standing() if approvals is None else approvals,
            paused=paused,
            load=Load(ordered=tuple(now - timedelta(hours=3, minutes=n) for n in reversed(range(today)))) if load is None else load,
            clock=ClockState(at=now, synchronised=True, offset_ms=3, stepped=False) if clock == "" else clock,
            insolvency_checked_at=now if register == "" else at(register) if isinstance(register, str) else register,
            sight=sight,
            inseparable=inseparable,
        ),
        restore_all=restore_all,
        leases=leases or {},
        now=now,
    )


def wanted(judgement: Judgement) -> frozenset[tuple[str, str]]:
    """The measure: every (case, service) that is hit now, as the enforcer would have it."""
    return frozenset((one.case.id, name) for one in judgement.in_force() for name in one.measure.services)


def hardness(judgement: Judgement) -> Mapping[tuple[str, str], tuple[int, int, int]]:
    """How hard each (case, service) is hit: by stage, caps by throughput, restricted to hours less than always."""
    return {
        (one.case.id, name): (*strength(one.measure.effect), 0 if one.measure.effect.hours else 1)
        for one in judgement.in_force()
        for name in one.measure.services
    }


def no_harder(after: Judgement, before: Judgement) -> bool:
    """Is nothing hit harder after than before, and nothing hit that was not?"""
    once = hardness(before)
    return all(place in once and hard <= once[place] for place, hard in hardness(after).items())


def reminded(story: Story | None = None) -> Story:
    """The founding case up to the third reminder: 4 800 EUR due 31 January 2026, reminders on 9 and 19 February and 2 March."""
    story = (story or Story()).invoice()
    for number, day in enumerate(("2026-02-09", "2026-02-19", "2026-03-02"), 1):
        story = story.reminder(f"R{number}", f"{day} 10:00")
    return story


def ripe(story: Story | None = None) -> Story:
    """The founding case up to the delivery of the notice: suspendable from Monday 30 March 2026, 09:00."""
    return reminded(story).notice().letter("delivered", "2026-03-11 10:30").warned("2026-03-24 10:00")


def suspended(story: Story | None = None) -> Story:
    """The founding case, suspended since Monday 30 March 2026, 09:00."""
    return ripe(story).proposed("2026-03-27 00:00").ordered("2026-03-30 09:00").applied("2026-03-30 09:00")


@dataclass(kw_only=True)
class Walk:
    """A daemon without kernel and ledger: it looks when something is said and when it was told to look, and does what is decided.

    Feeds report all the time. `lines` is what it did, and why; `leases` what is in force.
    """

    story: Story
    circumstances: Mapping[str, Any] = field(default_factory=dict)
    record: Record = field(default_factory=dict)
    leases: dict[str, datetime] = field(default_factory=dict)
    lines: list[tuple[datetime, str, Judged]] = field(default_factory=list)
    noted: set[str] = field(default_factory=set)
    waiting: list[Event] = field(init=False)
    look_at: datetime | None = None

    def __post_init__(self) -> None:
        self.waiting = sorted(self.story.events, key=lambda event: (event.received_at, event.id))
        self.story = replace(self.story, events=())

    def through(self, end: str | datetime, *, most: int = 5000) -> "Walk":
        """Walk on, up to and with `end`."""
        until = at(end) if isinstance(end, str) else end
        for _ in range(most):
            facts = [event.received_at for event in self.waiting[:1]]
            looks = [self.look_at] if self.look_at else []
            now = min([*facts, *looks], default=None)
            if now is None or now > until:
                return self
            while self.waiting and self.waiting[0].received_at <= now:
                self._tell(replace(self.story, events=(*self.story.events, self.waiting.pop(0))))
            self.look_at = self._settle(now).next_at
            if self.look_at and not self.leases:  # who waits for persons is looked at every minute; a walk does it less often
                self.look_at = _quarter(self.look_at)
        raise AssertionError(f"still walking after {most} looks, at {self.look_at}")

    def now(self, when: str | datetime) -> Judgement:
        """The company as it stands at `when`, nothing done."""
        moment = at(when) if isinstance(when, str) else when
        return judgement_of(self.record, moment, company_id=self.story.company, leases=self.leases, **self.circumstances)

    def _tell(self, story: Story) -> None:
        for event in story.events[len(self.story.events) :]:
            self.record = fold(self.record, event)
        self.story = story

    def _settle(self, now: datetime) -> Judgement:
        for _ in range(4):
            judgement = self.now(now)
            before = self.story
            for note in judgement.notes:
                if note.id not in self.noted:
                    self.noted.add(note.id)
                    self._tell(self.story.says(note.type, now, source="agent", id_=note.id, **note.body))
            for one in judgement.judged:
                self._do(one, now)
            if self.story == before:
                return judgement
        raise AssertionError(f"does not settle at {now}")

    def _do(self, one: Judged, now: datetime) -> None:
        act, case, order, when = one.decision.act, one.case, one.case.order, now.isoformat()
        notice = case.notice.id
        if act is Act.PROPOSE:
            self._tell(self.story.proposed(when, notice))
        elif act is Act.SUSPEND:
            body = {name: value for name, value in acts.ordered(one, {"checks": []}).items() if name not in ("order", "case")}
            self._tell(self.story.ordered(when, case.orders + 1, notice, **body))
        elif act is Act.LOWER and order is not None:
            body = acts.lowered(one, order.id, 0, {})
            self._tell(self.story.says("measure.lowered", when, source="agent", **body))
            self.leases[case.id] = one.decision.lease_until or now
        elif act is Act.RESTORE and order is not None:
            decided = one.decision
            self._tell(
                self.story.restored(when, case.orders, notice, cause=decided.cause, final=decided.final, reason=decided.reason)
            )
            self.leases.pop(case.id, None)
        elif act is Act.KEEP and order is not None and one.decision.lease_until is not None:
            self.leases[case.id] = one.decision.lease_until
            if order.applied_at is not None:
                return
            self._tell(self.story.says("measure.applied", when, source="agent", **acts.applied(one, order.id, 6, {})))
        else:
            return
        self.lines.append((now, act.value, one))


def _quarter(moment: datetime) -> datetime:
    past = timedelta(minutes=moment.minute % 15, seconds=moment.second, microseconds=moment.microsecond)
    return moment - past + timedelta(minutes=15) if past else moment


def codes() -> tuple[str, ...]:
    """The codes of the table, in its order."""
    return tuple(row.code for row in TABLE)

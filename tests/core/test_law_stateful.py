"""Two laws side by side: whatever happens to two debtors, in whatever order, the agent decides what a naive second law decides.

A company's life is drawn step by step: facts of every kind, at their own times and late, twice and in another order; persons who
approve, override, pause, restore by hand; feeds that fall silent; a clock that jumps on and back; policies, classes and the
inventory replaced under running cases; a process that dies between ordering, applying and noting. What is decided is done and
recorded as the daemon does it, and after every step each check, the act, its cause and its finality are compared with `naive_law`,
which knows the list of events and nothing else. `ECLUSE_EXAMPLES` multiplies how many lives are tried.
"""

import hashlib
import random
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import currently_in_test_context, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agent.breaker import Load
from agent.case import EMPTY_RECORD, fold, host_facts
from agent.decide import Act
from agent.event import HOST, Event, instant, parse_body
from agent.gate import World
from agent.judge import Judged, Judgement, judge
from agent.model import Company, Mode, Policy, Protected, ServiceClass, Window
from tests.core.histories import _burdens, _ends, _foundings, examples, favours
from tests.core.naive_law import Around, Found, law
from tests.core.stories import POLICY, SERVICES, Story, at, company, folded, ripe, site

#: How many companies and prefixes the inventory knows besides: a share of them is a limit.
KNOWN = 12


def version(**values: object) -> Policy:
    """A policy with a digest of its own."""
    policy = replace(POLICY, digest="", **values)
    return replace(policy, digest=hashlib.sha256(repr(policy).encode()).hexdigest())


POLICIES = st.builds(
    lambda mode, values: version(mode=mode, **values),
    st.sampled_from([Mode.AUTO, Mode.AUTO, Mode.AUTO, Mode.APPROVE, Mode.APPROVE, Mode.OBSERVE]),
    st.sampled_from(
        [
            {},
            {},
            {"notice_days": 25},
            {"notice_days": 8, "min_reminders": 2, "reminder_spacing_days": 3},
            {"min_debt": Decimal(2000)},
            {"min_debt": Decimal(4000), "min_days_overdue": 60},
            {"min_debt_months": 2, "confine_to_unpaid_service": False},
            {"grace_on_announced": False, "max_suspension_days": 5},
            {"stage3_min_debt": Decimal(1000), "stage3_min_days": 60},
            {"waive_gentler_stages": ""},
            {"enforcement_point": ""},
            {"notice_max_age_days": 7},
            {"warning_days": 10, "approvals": 1, "approval_valid_days": 2},
            {"windows": (*POLICY.windows, Window(days=(4,), start=POLICY.windows[0].start, end=POLICY.windows[0].end))},
            {"blackout_dates": (date(2026, 3, 30), date(2026, 3, 31)), "no_eve_of_holiday": False},
            {"max_new_per_hour": 1, "canaries": 1, "canary_minutes": 120},
            {"lease_minutes": 30, "feed_max_age_minutes": 5},
            {"max_share_of_companies": 5},
            {"profile": "fr-consumer"},
            {"profile": "fr-public", "public_clause": "art. 9", "public_mission": "none", "public_opposition": "letter"},
        ]
    ),
)

#: What an order says of another effect than the plain suspension of annex services.
EFFECT = frozenset({"stage", "kbit", "hours", "drain_seconds", "confirm_seconds"})

GUARDED = (Protected.NATURAL_PERSON, Protected.CARE, Protected.SOLE_REVENUE)

ZONES = (("Europe/Paris",), ("Europe/Paris",), ("Europe/Paris", "Africa/Casablanca"), ("America/Martinique", "Europe/Paris"))


def _debtor(zones: tuple[str, ...], fee: str, change: str) -> Company | None:
    if change == "dropped" and fee != "0":
        return None  # the inventory does not know it any more
    ends = {"valid_to": date(2026, 4, 2)} if change == "leaves" else {}
    found = company(sites=[site(f"s{n}", zone=zone, prefix=f"10.20.{n}.0/24", **ends) for n, zone in enumerate(zones)], fee=fee)
    match change:
        case "prepaid":
            own = [replace(s, paid_through=date(2026, 4, 3)) if s.service == "vpn" else s for s in found.subscriptions]
            return replace(found, subscriptions=tuple(own))
        case "narrowed":
            own = [replace(s, class_=ServiceClass.DEPENDENCY) if s.service == "vpn" else s for s in found.subscriptions]
            return replace(found, subscriptions=tuple(own))
        case "dropped":
            return replace(found, subscriptions=tuple(s for s in found.subscriptions if s.service != "vpn"))
        case "contractless":
            return replace(found, contract="")
        case "unwatched":
            return replace(found, sites=tuple(replace(one, local_applications=()) for one in found.sites))
        case "natural_person" | "care" | "sole_revenue_channel":
            return replace(found, protected=(Protected(change),))
        case _:
            return found


DEBTORS = st.builds(
    _debtor,
    st.sampled_from(ZONES),
    st.sampled_from(["0", "0", "0", "400"]),
    st.sampled_from(
        ["-"] * 4 + ["leaves", "prepaid", "narrowed", "dropped", "contractless", "unwatched"] + [one.value for one in GUARDED]
    ),
)

CATALOGUES = st.sampled_from(
    [
        SERVICES,
        SERVICES,
        {**SERVICES, "vpn": replace(SERVICES["vpn"], class_=ServiceClass.EXTENDED)},
        {**SERVICES, "vpn": replace(SERVICES["vpn"], class_=ServiceClass.DEPENDENCY)},
        {**SERVICES, "reporting": replace(SERVICES["reporting"], delivered_by="third_party")},
        {name: one for name, one in SERVICES.items() if name != "vpn"},
    ]
)

#: How far before now (or after it, below zero) something happened that is heard of now.
LATE = st.sampled_from([timedelta(0)] * 6 + [timedelta(minutes=1), timedelta(hours=5), timedelta(days=3), timedelta(days=-2)])

PERSONS = st.sampled_from(["claire", "denis", "emma"])
ROLES = st.sampled_from(["approver", "approver", "legal", "credit_officer", "operator"])
CASES = st.sampled_from(["za:N1", "za:N1", "za:N2"])
CHECKS = st.sampled_from([f"G-{n:02}" for n in (4, 5, 6, 7, 8, 10, 13, 14, 15, 18, 24, 25, 26, 27)])


class Lives(RuleBasedStateMachine):
    """Two debtors and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = at("2026-03-29 20:00")
        self.events: dict[str, list[Event]] = {"za": [], "zb": [], HOST: []}
        self.records = dict.fromkeys(self.events, EMPTY_RECORD)
        self.companies: dict[str, Company | None] = {"za": company(), "zb": company("zb", "Zéphyr Bois")}
        self.services = SERVICES
        self.policy = version(mode=Mode.AUTO)
        self.policies = {self.policy.digest: self.policy}
        self.ceiling = Mode.AUTO
        self.paused = self.restore_all = self.silent = False
        self.leases: dict[str, dict[str, object]] = {"za": {}, "zb": {}}
        self.ordered: list = []
        self.serial = 0
        self.dying = ""
        self.next_at = None

    # --- how it begins ----------------------------------------------------------------------------------------------

    @initialize(
        story=st.one_of(_foundings(), st.just(ripe())),
        second=st.booleans(),
        policy=POLICIES,
        trusted=st.sampled_from([True, True, False]),
    )
    def begin(self, story: Story, second: bool, policy: Policy, trusted: bool) -> None:
        self._take_policy(policy)
        for one in story.events:
            if one.type != "measure.lowered":
                self._tell(self._versioned(one))
        if second:
            for one in ripe(Story(company="zb")).events:
                self._tell(replace(one, id=f"zb:{one.id}"))
        if trusted:
            self.trust("claire", "approver", 300)
            self.trust("denis", "legal", 300)
        for name in ("za", "zb"):
            self._say(
                name, "preflight.done", timedelta(hours=1), source="probe", result="green", baseline_hours=48, local_matches=0
            )
        self._settle()

    def _versioned(self, one: Event) -> Event:
        """What strategies say, as far as this file goes: a policy they pin becomes one that is known here, and every measure is the
        suspension of annex services (stage 3); gentler and stronger ones have tests of their own.
        """
        if one.type in ("order.suspend", "measure.applied", "measure.lowered"):
            return replace(one, body={name: value for name, value in one.body.items() if name not in EFFECT})
        if one.type == "notice.dispatched" and "stage" in one.body["announces"]:
            tells = one.body["announces"]
            return replace(one, body={**one.body, "announces": {**tells, "stage": min(3, tells["stage"])}})
        if one.type != "policy.pinned":
            return one
        days = one.body["policy"]["notice_days"]
        known = version(notice_days=days)
        self.policies[known.digest] = known
        body = {**one.body, "policy": {**one.body["policy"], "digest": known.digest}}
        return replace(one, body=body)

    # --- facts ------------------------------------------------------------------------------------------------------

    def _tell(self, one: Event) -> None:
        self.events[one.subject].append(one)
        self.records[one.subject] = fold(self.records[one.subject], one)

    def _say(self, subject: str, type_: str, late: timedelta, *, source: str = "erp", id_: str = "", **body: object) -> None:
        self.serial += 1
        when = self.now - late
        told = Event(
            id=id_ or f"s{self.serial:05}",
            type=type_,
            subject=subject,
            occurred_at=when,
            received_at=self.now,
            source=source,
            body=parse_body(type_, body),
        )
        self._tell(told)

    @rule(say=st.one_of(favours, _burdens, _burdens, _ends, _ends), late=st.none() | LATE)
    def something_is_said(self, say: object, late: timedelta | None) -> None:
        """At the time it names itself, or now and a little before."""
        self.serial += 1
        one = say(Story()).events[-1]
        if one.type == "measure.lowered":
            return
        when = one.occurred_at if late is None else self.now - late
        self._tell(self._versioned(replace(one, id=f"s{self.serial:05}", occurred_at=when, received_at=self.now)))
        event(one.type)
        self._settle()

    @rule(what=st.sampled_from(["za", "za", "zb", HOST]), pick=st.integers(0, 10**6), new_id=st.booleans())
    def something_is_said_again(self, what: str, pick: int, new_id: bool) -> None:
        if self.events[what]:
            one = self.events[what][pick % len(self.events[what])]
            self.serial += 1
            self._tell(replace(one, id=f"again:{self.serial:05}") if new_id else one)
            self._settle()

    @rule(what=st.sampled_from(["za", "zb", HOST]), seed=st.integers(0, 2**32))
    def everything_is_read_anew_in_another_order(self, what: str, seed: int) -> None:
        shuffled = list(self.events[what])
        random.Random(seed).shuffle(shuffled)
        assert folded(shuffled) == self.records[what]

    @rule(result=st.sampled_from(["green", "green", "red"]), late=LATE, name=st.sampled_from(["za", "zb"]))
    def local_applications_are_probed(self, result: str, late: timedelta, name: str) -> None:
        self._probe(name, result, late)
        self._settle()

    def _probe(self, name: str, result: str, late: timedelta) -> None:
        self._say(name, "preflight.done", late, source="probe", result=result, baseline_hours=48, local_matches=0)

    @rule(amount=st.sampled_from(["4800.00", "4400.00", "100.00"]), name=st.sampled_from(["za", "zb"]), back=st.booleans())
    def money_comes_in_or_goes_back(self, amount: str, name: str, back: bool) -> None:
        if back:
            self._say(name, "payment.reversed", timedelta(0), source="bank", payment="PX")
        else:
            self._say(name, "payment.received", timedelta(0), source="bank", payment="PX", amount=amount, currency="EUR")
        self._settle()

    # --- persons ----------------------------------------------------------------------------------------------------

    @rule(who=PERSONS, role=ROLES, case=CASES, late=LATE)
    def a_person_approves(self, who: str, role: str, case: str, late: timedelta) -> None:
        self._say("za", "approval.given", late, source=f"operator:{who}", case=case, by=who, role=role, reason="seen")
        self._settle()

    @rule(who=PERSONS, role=ROLES, case=CASES, check=CHECKS, hours=st.sampled_from([1, 30, 2000]), given=st.booleans())
    def a_person_overrides(self, who: str, role: str, case: str, check: str, hours: int, given: bool) -> None:
        body = {"case": case, "check": check, "reason": "seen"}
        if given:
            until = instant(self.now + timedelta(hours=hours))
            for person, as_ in ((who, role), ("emma", "legal")):
                self._say("za", "override.given", timedelta(0), **body, by=person, role=as_, expires_at=until)
        else:
            self._say("za", "override.revoked", timedelta(0), **body, by=who)
        self._settle()

    @rule(who=PERSONS, role=ROLES, days=st.sampled_from([1, 10, 300]))
    def trust(self, who: str, role: str, days: int) -> None:
        until = instant(self.now + timedelta(days=days))
        body = {"policy": self.policy.id, "policy_digest": self.policy.digest, "by": who, "reason": "seen"}
        self._say(HOST, "standing_approval.given", timedelta(0), source="operator", **body, role=role, expires_at=until)

    @rule()
    def trust_is_revoked(self) -> None:
        self._say(
            HOST, "standing_approval.revoked", timedelta(0), source="operator", policy=self.policy.id, by="emma", reason="seen"
        )
        self._settle()

    @precondition(lambda self: self.serial % 5 == 0)  # it ends every case, and what comes after that is dull
    @rule(name=st.sampled_from(["za", "zb"]))
    def a_person_restores_by_hand(self, name: str) -> None:
        self._say(name, "restore.ordered", timedelta(0), source="operator:claire", by="claire", reason="by telephone")
        self._settle()

    @rule(paused=st.booleans(), restore=st.booleans(), ceiling=st.sampled_from([Mode.AUTO] * 6 + [Mode.APPROVE, Mode.OBSERVE]))
    def the_host_is_paused_or_goes_on(self, paused: bool, restore: bool, ceiling: Mode) -> None:
        self.paused, self.restore_all, self.ceiling = paused, paused and restore, ceiling
        self._settle()

    @rule(opens=st.booleans(), role=ROLES)
    def the_breaker_opens_or_is_released(self, opens: bool, role: str) -> None:
        if opens:
            self._say(HOST, "breaker.opened", timedelta(0), source="agent", cause="a wave", kind="wave")
        else:
            self._say(HOST, "breaker.released", timedelta(0), source="operator", by="claire", reason="seen", role=role)
        self._settle()

    # --- files ------------------------------------------------------------------------------------------------------

    def _take_policy(self, policy: Policy) -> None:
        self.policy = policy
        self.policies[policy.digest] = policy

    @rule(policy=POLICIES)
    def another_policy_is_loaded(self, policy: Policy) -> None:
        self._take_policy(policy)
        self._settle()

    @rule(debtor=DEBTORS, services=CATALOGUES)
    def another_inventory_is_loaded(self, debtor: Company | None, services: object) -> None:
        self.companies["za"], self.services = debtor, services
        self._settle()

    # --- time and process -------------------------------------------------------------------------------------------

    @rule(
        step=st.sampled_from(
            [timedelta(seconds=1), *(timedelta(minutes=n) for n in (20, 60, 240, 780)), *(timedelta(days=n) for n in (1, 1, 6, 31))]
        )
    )
    def time_passes(self, step: timedelta) -> None:
        self.now += step
        self._settle()

    @rule(minute=st.integers(0, 50))
    def a_good_moment_comes(self, minute: int) -> None:
        """The next morning from Monday to Thursday, with everything just looked at: what can be suspended now is."""
        self.now = (self.now + timedelta(days=1)).replace(hour=9, minute=minute, second=0, microsecond=0)
        while self.now.weekday() > 3:
            self.now += timedelta(days=1)
        self.silent = False
        for name in ("za", "zb"):
            self._probe(name, "green", timedelta(hours=1))
        self._settle()

    @rule(hour=st.sampled_from([0, 8, 9, 12, 15]), minute=st.sampled_from([0, 0, 1, 59]))
    def the_next_day_comes(self, hour: int, minute: int) -> None:
        self.now = (self.now + timedelta(days=1)).replace(hour=hour, minute=minute, second=0, microsecond=0)
        self._settle()

    @precondition(lambda self: self.next_at is not None and self.now < self.next_at < self.now + timedelta(days=200))
    @rule(early=st.booleans())
    def it_is_time_to_look_again(self, early: bool) -> None:
        """Exactly when the agent said it would, or one tick before, when nothing may have changed yet."""
        self.now = self.next_at - (timedelta(microseconds=1) if early else timedelta(0))
        self._settle()

    @rule(step=st.sampled_from([timedelta(seconds=30), timedelta(minutes=61), timedelta(days=2)]))
    def the_clock_steps_back(self, step: timedelta) -> None:
        self.now -= step
        self._settle()

    @rule(silent=st.booleans(), stepped=st.booleans(), offset=st.sampled_from([1, 1000, 5000]))
    def feeds_fall_silent_or_speak(self, silent: bool, stepped: bool, offset: int) -> None:
        self.silent = silent
        self._say(HOST, "clock.checked", timedelta(0), source="agent", synchronised=True, offset_ms=offset, stepped=stepped)
        self._settle(signs=False)

    @rule(how=st.sampled_from(["before applying", "before noting", "no kernel"]))
    def the_process_will_die(self, how: str) -> None:
        self.dying = how

    # --- what is decided and done -----------------------------------------------------------------------------------

    def _signs_of_life(self) -> None:
        self._say(HOST, "heartbeat", timedelta(0), source="erp")
        self._say(HOST, "clock.checked", timedelta(0), source="agent", synchronised=True, offset_ms=1)
        self._say(HOST, "insolvency.checked", timedelta(0), source="register")

    def _settle(self, *, signs: bool = True) -> None:
        if signs and not self.silent:
            self._signs_of_life()
        times = []
        for name in ("za", "zb"):
            for _ in range(4):
                judgement = self._judged(name)
                self._compare(name, judgement)
                if not self._do(name, judgement):
                    break
            times.append(judgement.next_at)
        self.next_at = min((when for when in times if when is not None), default=None)
        self.dying = ""

    def _others_cut(self, name: str) -> int:
        return sum(bool(held) for other, held in self.leases.items() if other != name)

    def _judged(self, name: str) -> Judgement:
        host = host_facts(self.records[HOST])
        cut = self._others_cut(name)
        return judge(
            company_id=name,
            record=self.records[name],
            company=self.companies[name],
            services=self.services,
            policy=self.policy,
            world=World(
                ceiling=self.ceiling,
                feeds={"erp": host.heartbeats.get("erp")},
                standing=host.standing,
                paused=self.paused,
                clock=host.clock,
                insolvency_checked_at=host.insolvency_checked_at,
                load=Load(
                    ordered=tuple(self.ordered),
                    companies=KNOWN,
                    prefixes=KNOWN,
                    cut_companies=cut,
                    cut_prefixes=cut,
                    open_cause=host.breaker_open,
                ),
            ),
            restore_all=self.restore_all,
            leases=self.leases[name],
            now=self.now,
        )

    def _compare(self, name: str, judgement: Judgement) -> None:
        around = Around(
            host=tuple(self.events[HOST]),
            sources=("erp",),
            ceiling=self.ceiling.value,
            paused=self.paused,
            restore_all=self.restore_all,
            ordered=tuple(self.ordered),
            companies=KNOWN,
            cut=self._others_cut(name),
            policies=self.policies,
        )
        naive = law(name, self.events[name], self.companies[name], self.services, self.policy, around, self.leases[name], self.now)
        assert [one.case.notice.id for one in judgement.judged] == sorted(naive)
        for one in judgement.judged:
            assert told(one) == plain(naive[one.case.notice.id]), (one.case.id, self.now)
            self._check_lease(one)
            if currently_in_test_context():
                event(f"{one.decision.act.value} {one.decision.cause}")

    def _check_lease(self, one: Judged) -> None:
        """A lease is as long as its order says, and renewed between 60 % and 40 % of it before its end, unless health forbids."""
        decided, order = one.decision, one.case.order
        if decided.act is not Act.KEEP or order is None:
            return
        whole = timedelta(minutes=order.lease_minutes)
        assert decided.lease_until is not None
        assert self.now < decided.lease_until <= self.now + whole
        held = self.leases[one.case.company].get(one.case.id)
        if held is None and order.applied_at is not None:
            held = order.applied_at + whole
        if held is None:
            assert decided.lease_until == self.now + whole
        elif decided.cause == "health" or held > self.now + whole * 0.6:
            assert decided.lease_until == min(held, self.now + whole)
        elif held < self.now + whole * 0.4:
            assert decided.lease_until == self.now + whole

    def _do(self, name: str, judgement: Judgement) -> bool:
        """As the daemon does it: first what is announced, then the kernel, then what was read back. True: look again."""
        known = {one.id for one in self.events[name]}
        again = False
        for note in judgement.notes:
            if note.id not in known:
                self._agent(name, note.type, note.id, dict(note.body))
        for one in judgement.judged:
            case, decided, number = one.case, one.decision, one.case.orders + 1
            body = {"case": case.id, "services": list(case.notice.services), "gate": {}}
            if decided.act is Act.PROPOSE and f"proposed:{case.id}/{number}" not in known:
                self._agent(name, "case.proposed", f"proposed:{case.id}/{number}", body)
                again = True
            if decided.act is Act.SUSPEND and f"order:{case.id}/{number}" not in known:
                body |= {
                    "order": f"{case.id}/{number}",
                    "policy_digest": one.policy.digest,
                    "lease_minutes": one.policy.lease_minutes,
                    "mode": one.gate.mode.value,
                    "expires_at": instant(self.now + timedelta(days=one.policy.max_suspension_days)),
                }
                self._agent(name, "order.suspend", f"order:{case.id}/{number}", body)
                self.ordered = [when for when in self.ordered if when > self.now - timedelta(days=1)] + [self.now]
                again = True
        if again:
            return self.dying != "before applying"
        if self.dying == "no kernel":
            return False
        for one in judgement.judged:
            again |= self._enforce(name, one, known)
        return again

    def _enforce(self, name: str, one: Judged, known: set[str]) -> bool:
        case, decided, order = one.case, one.decision, one.case.order
        if order is None or decided.act not in (Act.KEEP, Act.RESTORE):
            self.leases[name].pop(case.id, None)
            return False
        if decided.act is Act.KEEP:
            if self.dying != "before noting":
                self.leases[name][case.id] = decided.lease_until
            if order.applied_at is not None or f"applied:{order.id}" in known:
                return False
            body = {"order": order.id, "case": case.id, "services": list(order.services), "elements": 3, "times": {}}
            self._agent(name, "measure.applied", f"applied:{order.id}", body)
            return True
        self.leases[name].pop(case.id, None)
        if self.dying == "before noting" or f"restored:{order.id}" in known:
            return False
        body = {
            "order": order.id,
            "case": case.id,
            "cause": f"{decided.cause}: {decided.en}",
            "final": decided.final,
            "reason": decided.reason,
            "times": {},
        }
        self._agent(name, "measure.restored", f"restored:{order.id}", body)
        return True

    def _agent(self, name: str, type_: str, id_: str, body: dict[str, object]) -> None:
        self._tell(Event(id=id_, type=type_, subject=name, occurred_at=self.now, received_at=self.now, source="agent", body=body))


def told(one: Judged) -> dict[str, object]:
    """A judgement of the agent in the words of the naive law."""
    return {
        "verdicts": {check.code: check.verdict.value for check in one.gate.checks},
        "kinds": {check.code: check.kind.value for check in one.gate.checks},
        "mode": one.gate.mode.value,
        "owed": one.gate.owed,
        "act": one.decision.act.value,
        "cause": one.decision.cause,
        "final": one.decision.final,
        "closed": one.case.closed,
        "order": one.case.order.id if one.case.order else "",
        "reopens": one.case.reopens.partition(":")[2],
    }


def plain(found: Found) -> dict[str, object]:
    return {name: getattr(found, name) for name in
            ("verdicts", "kinds", "mode", "owed", "act", "cause", "final", "closed", "order", "reopens")}  # fmt: skip


Lives.TestCase.settings = settings(examples(60), stateful_step_count=25)
TestTwoLawsDecideTheSame = Lives.TestCase


def test_the_second_law_shares_no_code_with_the_first() -> None:
    import ast
    from pathlib import Path

    for name in ("naive_facts.py", "naive_law.py"):
        tree = ast.parse(Path(__file__).with_name(name).read_text())
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not {one for one in imported if one and one.startswith("agent")}, name


def test_the_second_law_tells_the_founding_case() -> None:
    lives = Lives()
    lives.begin(ripe(), second=False, policy=version(mode=Mode.AUTO), trusted=True)
    assert [one.type for one in lives.events["za"] if one.source == "agent"] == ["policy.pinned", "case.proposed"]
    lives.now = at("2026-03-30 09:00")
    lives._settle()
    assert lives.leases["za"], "suspended at the first permitted instant"
    lives.money_comes_in_or_goes_back("4800.00", "za", back=False)
    assert not lives.leases["za"], "restored when the money is in"
    assert lives.events["za"][-1].body["reason"] == "paid"

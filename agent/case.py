"""Floor 1. Facts about one company -> its record -> its cases.

Rules of this room:

1. A record is a set of distinct statements. Folding adds a statement or does nothing, so any order and any multiplicity of
   the same events gives the same record, and everything below is a function of the record alone.
2. Where statements about one thing disagree, the reading that favours the customer wins: the later date, the narrower
   announcement, the weaker proof, the payment counted, the dispute open. Sums are in `debt`.
3. A case is one debtor company, one formal notice, one set of invoices. A company may have several; they never share facts
   that cut, only facts that help.
4. Nothing is closed by forgetting: what the agent itself did (ordered, applied, restored) are facts of the same record.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.event import HOLDS, TYPES, Event, instant, parse_instant
from agent.model import Mode

#: {event type: {business key: {statement id: {"at", "id", "source", "body"}}}} - plain JSON, so that it can be stored.
Record = dict[str, Any]

EMPTY_RECORD: Record = {}

#: Types that only tell what happened to the host or to the rules; no decision rests on them. (A pause is obeyed from the stop
#: file, which works without the ledger.)
_NOT_FOLDED = frozenset(
    {
        "measure.repaired",
        "policy.loaded",
        "policy.rejected",
        "agent.started",
        "customer.unknown",
        "case.observed",
        "pause.set",
        "pause.lifted",
    }
)


#: Field of a body that stays in the ledger's row: evidence for people, several times the size of everything else, and no
#: decision rests on it.
_EVIDENCE = "gate"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One thing somebody said: when it happened, who said it, the event that carried it, the body."""

    at: datetime
    id: str
    source: str
    body: Mapping[str, Any]


def fold(record: Record, event: Event) -> Record:
    """Add one event to a record; the record given is left as it was.

    The same fact under two event ids (same type, business key, time and body) is one statement. Of heartbeats only the
    latest of each source is kept: a feed's past liveness decides nothing.
    """
    if event.type in _NOT_FOLDED:
        return record
    spec = TYPES[event.type]
    beat = event.type == "heartbeat"
    key = event.source if beat else str(event.body[spec.key]) if spec.key else event.id
    at = instant(event.occurred_at)
    kept = record.get(event.type, {})
    said = kept.get(key, {})
    name = hashlib.sha256(
        json.dumps([at, event.body], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()[:16]
    if beat and any((other["at"], known) > (at, name) for known, other in said.items()):
        return record
    entry = {"at": at, "id": event.id, "source": event.source, "body": {k: v for k, v in event.body.items() if k != _EVIDENCE}}
    # Two ids for one statement: the smaller id stands for both, whichever came first.
    if name in said and said[name]["id"] <= event.id:
        return record
    said = {name: entry} if beat else {**said, name: entry}
    return {**record, event.type: {**kept, key: said}}


def statements(record: Record, type_: str, key: str | None = None) -> list[Statement]:
    """Every statement of a type (about one key, when given), oldest first, ties by id."""
    found = record.get(type_, {})
    groups = found.values() if key is None else [found.get(key, {})]
    said = [
        Statement(at=parse_instant(each["at"]), id=each["id"], source=each["source"], body=each["body"])
        for group in groups
        for each in group.values()
    ]
    return sorted(said, key=lambda one: (one.at, one.id))


def keys(record: Record, type_: str) -> list[str]:
    """The business keys a type has statements about, sorted."""
    return sorted(record.get(type_, {}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """A formal notice as announced: where statements differ, the narrowest services and the latest dates.

    `first_at` is the earliest date anybody gives for sending it: what the notice recalls must be older. `stage` is the
    smallest measure it announces, None where it only names services.
    """

    id: str
    channel: str
    first_at: datetime
    dispatched_at: datetime
    invoices: tuple[str, ...]
    reminders: tuple[str, ...]
    services: tuple[str, ...]
    earliest_on: str
    stage: int | None
    states: frozenset[str]
    cure_days: int
    effective_at: datetime | None
    effective_by: str
    proof: str
    undeliverable: bool
    facts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reminder:
    """A reminder with the invoices it names. `first_at` is the earliest date anybody gives for it, `sent_at` the latest."""

    id: str
    first_at: datetime
    sent_at: datetime
    invoices: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Something that forbids suspending. `restores`: brings a suspended service back at once."""

    id: str
    kind: str
    restores: bool
    effective_from: datetime
    fact: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A named person's word on one case. `by` is the operating-system user, which is what makes two persons distinct."""

    by: str
    role: str
    at: datetime
    expires_at: datetime | None
    fact: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A decision to suspend that has not been ended. `applied_at` is None until it was read back in the kernel."""

    id: str
    services: tuple[str, ...]
    ordered_at: datetime
    expires_at: datetime
    lease_minutes: int
    policy_digest: str
    mode: Mode
    applied_at: datetime | None
    fact: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One debtor, one notice, one set of invoices, and what the agent did about it so far.

    `closed` is the cause of the final restore, or "" while the case lives. `order` is the order that no restore has ended yet;
    a case closed by hand has one until the restore is read back. `orders` counts every order ever given, so that the next one
    has a number of its own. `in_force_since` is when a measure of this case was first applied. `overtaken_by` are the kinds of
    hold that changed what is due and were lifted since the notice was sent: a broken payment plan takes a new notice.
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


def case_id(company: str, notice: str) -> str:
    """The name of the case of one notice."""
    return f"{company}:{notice}"


def cases(company: str, record: Record) -> tuple[Case, ...]:
    """Every case of a company, by notice id."""
    reminders = tuple(_reminders(record))
    held = tuple(holds(record))
    return tuple(_case(company, record, notice, reminders, held) for notice in _notices(record))


def _case(company: str, record: Record, notice: Notice, reminders: tuple[Reminder, ...], held: tuple[Hold, ...]) -> Case:
    name = case_id(company, notice.id)
    given, ended, proposed, approved, revoked, applied = (
        [one for one in statements(record, type_) if one.body["case"] == name]
        for type_ in (
            "order.suspend",
            "measure.restored",
            "case.proposed",
            "approval.given",
            "approval.revoked",
            "measure.applied",
        )
    )
    last_end = max((one.at for one in ended), default=None)
    void_until = max((one.at for one in (*ended, *revoked)), default=None)
    ended_orders = {one.body["order"] for one in ended}
    living = [one for one in given if one.body["order"] not in ended_orders]
    closed = next((str(one.body["cause"]) for one in ended if one.body["final"]), "")
    # A person's word to restore closes whatever was under way against the company; a notice that only runs goes on.
    by_hand = max((one.at for one in statements(record, "restore.ordered")), default=None)
    if by_hand is not None and any(one.at <= by_hand for one in (*given, *proposed, *approved)):
        closed = closed or "operator"
    return Case(
        id=name,
        company=company,
        notice=notice,
        reminders=reminders,
        holds=held,
        approvals=tuple(_approval(one) for one in approved if void_until is None or one.at > void_until),
        order=_order(record, living[-1]) if living else None,
        orders=len({one.body["order"] for one in given}),
        in_force_since=min((one.at for one in applied), default=None),
        overtaken_by=tuple(sorted(_overtaken(record, notice))),
        proposed=any(last_end is None or one.at > last_end for one in proposed),
        closed=closed,
    )


def _approval(said: Statement) -> Approval:
    return Approval(
        by=str(said.body["by"]),
        role=str(said.body["role"]),
        at=said.at,
        expires_at=parse_instant(said.body["expires_at"]) if "expires_at" in said.body else None,
        fact=said.id,
    )


def _order(record: Record, said: Statement) -> Order:
    applied = statements(record, "measure.applied", str(said.body["order"]))
    return Order(
        id=str(said.body["order"]),
        services=tuple(said.body["services"]),
        ordered_at=said.at,
        expires_at=parse_instant(said.body["expires_at"]),
        lease_minutes=int(said.body["lease_minutes"]),
        policy_digest=str(said.body["policy_digest"]),
        mode=Mode(said.body["mode"]),
        applied_at=applied[0].at if applied else None,
        fact=said.id,
    )


#: Channels from the weakest proof to the strongest; where statements differ, the weakest counts.
_CHANNELS = ("email", "lrar", "lre_q", "commissaire_de_justice")


def _notices(record: Record) -> Iterator[Notice]:
    for key in keys(record, "notice.dispatched"):
        said = statements(record, "notice.dispatched", key)
        bodies = [one.body for one in said]
        announced = [body["announces"] for body in bodies]
        channels = {str(body["channel"]) for body in bodies}
        effective, how, proof, facts = _effect(record, key, electronic="lre_q" in channels)
        undeliverable = statements(record, "notice.undeliverable", key)
        kept = {service for each in announced for service in each.get("kept", ())}
        yield Notice(
            id=key,
            channel=min(channels, key=_CHANNELS.index),
            first_at=said[0].at,
            dispatched_at=said[-1].at,
            invoices=_in_all(bodies, "invoices"),
            reminders=_in_all(bodies, "reminders"),
            services=tuple(name for name in _in_all(announced, "services") if name not in kept),
            earliest_on=max(str(each["earliest_on"]) for each in announced),
            stage=min((int(each["stage"]) for each in announced if "stage" in each), default=None),
            states=frozenset.intersection(*(frozenset(body["states"]) for body in bodies)),
            cure_days=max(int(body.get("cure_days", 0)) for body in bodies),
            effective_at=None if undeliverable else effective,
            effective_by="undeliverable" if undeliverable else how,
            proof=proof,
            undeliverable=bool(undeliverable),
            facts=(*(one.id for one in said), *facts, *(one.id for one in undeliverable)),
        )


def _in_all(bodies: list[Mapping[str, Any]], name: str) -> tuple[str, ...]:
    return tuple(sorted(set.intersection(*(set(body[name]) for body in bodies))))


def _effect(record: Record, notice: str, *, electronic: bool) -> tuple[datetime | None, str, str, tuple[str, ...]]:
    """When a notice took effect, by which fact, and whether a proof came with it.

    Delivered or refused: that day. Not claimed: the first presentation (Cass. 1re civ., 20 Jan 2021, 19-20.680), but for an
    electronic registered letter the day it lapsed (CPCE R53-3: the addressee has fifteen days). Presented alone has no effect
    yet: the letter may still come back. Of several dates the latest counts.
    """
    found: list[tuple[datetime, str, str, tuple[str, ...]]] = []
    for how in ("delivered", "refused"):
        said = statements(record, f"notice.{how}", notice)
        if said:
            found.append((said[-1].at, how, _proof(said), tuple(one.id for one in said)))
    unclaimed = statements(record, "notice.unclaimed", notice)
    if unclaimed:
        presented = statements(record, "notice.presented", notice)
        facts = tuple(one.id for one in (*unclaimed, *presented))
        at = presented[-1].at if presented and not electronic else unclaimed[-1].at
        found.append((at, "unclaimed", _proof(unclaimed) or _proof(presented), facts))
    return max(found, default=(None, "", "", ()), key=lambda one: (one[0], one[1]))


def _proof(said: list[Statement]) -> str:
    return next((str(one.body["proof"]) for one in reversed(said) if one.body.get("proof")), "")


def _reminders(record: Record) -> Iterator[Reminder]:
    for key in keys(record, "reminder.sent"):
        said = statements(record, "reminder.sent", key)
        named = frozenset(_in_all([one.body for one in said], "invoices"))
        yield Reminder(id=key, first_at=said[0].at, sent_at=said[-1].at, invoices=named)


def holds(record: Record) -> Iterator[Hold]:
    """Holds that are set: the latest word counts, and in a tie the hold stays."""
    for key in keys(record, "hold.set"):
        said = statements(record, "hold.set", key)
        lifted = statements(record, "hold.lifted", key)
        if lifted and lifted[-1].at > said[-1].at:
            continue
        kinds = {str(one.body["kind"]) for one in said}
        starts = [parse_instant(one.body["effective_from"]) if "effective_from" in one.body else one.at for one in said]
        yield Hold(
            id=key,
            kind=min(kinds, key=lambda kind: (not HOLDS[kind], kind)),
            restores=any(HOLDS[kind] for kind in kinds),
            effective_from=min(starts),
            fact=said[-1].id,
        )


#: Holds by which what is due was agreed or judged anew; the notice they overtake is spent.
_RENEWING = frozenset({"payment_plan", "insolvency", "court", "grace_period"})


def _overtaken(record: Record, notice: Notice) -> Iterator[str]:
    for key in keys(record, "hold.set"):
        said = statements(record, "hold.set", key)
        lifted = statements(record, "hold.lifted", key)
        # One that stands is told by the holds themselves; of one that was lifted before the notice nothing is left.
        if lifted and lifted[-1].at > said[-1].at and lifted[-1].at >= notice.first_at:
            yield from _RENEWING.intersection(str(one.body["kind"]) for one in said)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFacts:
    """What the record of the host itself says: standing approvals and the last heartbeat of each source."""

    standing: tuple[StandingApproval, ...]
    heartbeats: Mapping[str, datetime]


def host_facts(record: Record) -> HostFacts:
    """Read the record of the subject `HOST`."""
    revoked: dict[str, datetime] = {}
    for one in statements(record, "standing_approval.revoked"):
        revoked[str(one.body["policy"])] = one.at
    standing = tuple(
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
    return HostFacts(
        standing=standing,
        heartbeats={source: statements(record, "heartbeat", source)[-1].at for source in keys(record, "heartbeat")},
    )


def favourable(type_: str) -> bool:
    """True for facts that can only help the customer; the tests of monotony range over these."""
    return type_ in _FAVOURABLE


_FAVOURABLE = frozenset(
    {"invoice.cancelled", "payment.received", "payment.announced", "dispute.opened", "hold.set", "notice.undeliverable",
     "restore.ordered", "approval.revoked", "standing_approval.revoked", "pause.set"}
)  # fmt: skip

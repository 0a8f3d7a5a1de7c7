"""Floor 3. What follows from the looks at one company: the facts that the agent states.

Rules of this room:

1. What is stated: a preflight, green or red; that something stopped, or answers again; that a measure is confirmed. Of these only
   a green preflight and a confirmation are not in the customer's favour, and neither starts anything: the one is a check among
   27, the other keeps what persons and policy let begin.
2. Facts are named from the inventory and the ledger. Nothing the probing role says becomes part of one.
3. A fact is stated when it changes or would grow too old, not at every look.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from agent.case import Case
from agent.continuity import Seen, Target, baseline, compare, preflight, recovered, trial
from agent.errors import ProofFailed
from agent.event import Event, instant
from agent.gateway import Gateway, agent_event
from agent.judge import Judged, Judgement
from agent.leases import Lease
from agent.lookout.place import Place
from agent.model import Company
from agent.record import standing
from agent.rules import Element

#: A dry run is made for a lease of this length; how long it is does not matter for what it matches.
_DRY_RUN = timedelta(hours=1)


def follows(gateway: Gateway, company_id: str, place: Place, *, per_hour: float, now: datetime) -> Iterator[Event]:
    """What the last looks at one company mean.

    Args:
        gateway: what is decided on, and what the ledger knows.
        company_id: the company.
        place: what is seen of it; which measure it is under is noted here.
        per_hour: looks that an hour should have.
        now: aware instant.
    """
    record = gateway.ledger.record(company_id) or {}
    if "notice.dispatched" not in record:  # no case, and nothing that one could rest on
        place.begin(under=False)
        place.tried = None
        return
    company, judgement, held = gateway.judge(company_id, now)
    ordered = [one.case for one in judgement.judged if one.case.order is not None]
    place.begin(under=bool(held or ordered))
    place.look_for_outages()
    on_trial = [case for case in ordered if case.order is not None and case.order.trial_seconds]
    if on_trial:
        yield from _tried(company_id, place, on_trial, now)
    else:
        place.tried = None
        if ordered:
            yield from _during(company_id, place, ordered, per_hour, now)
    if company is not None and not ordered:
        yield from _preflight(gateway, company, place, judgement, per_hour, now)
    for key, said in standing(record, "local.regressed", "local.recovered"):
        target = next((one for one in place.targets if one.id == key), None)
        if target is not None and said[-1].source == "agent" and recovered(place.windows.get(target, ())):
            yield agent_event(
                id_=f"local.recovered:{company_id}:{key}:{instant(now)}",
                type_="local.recovered",
                subject=company_id,
                now=now,
                body={"regression": key},
            )


def _tried(company_id: str, place: Place, cases: Sequence[Case], now: datetime) -> Iterator[Event]:
    """A measure that just began: confirmed, lifted, or to be looked at again."""
    if place.tried is None:  # found by a process that did not begin it
        place.try_()
        return
    if any(case.order is None or case.order.applied_at is None for case in cases):
        place.tried.clear()  # what was seen before it was in the kernel shows nothing
        return
    found = trial({target: place.tried.get(target, ()) for target in place.targets})
    if found.stopped:
        yield from (_regressed(company_id, target, cases, "silent since the measure began", now) for target in found.stopped)
    elif found.good:
        for case in cases:
            assert case.order is not None
            yield agent_event(
                id_=f"confirmed:{case.order.id}",
                type_="measure.confirmed",
                subject=company_id,
                now=now,
                body={"order": case.order.id, "case": case.id, "applications": [target.id for target in place.targets]},
            )


def _during(company_id: str, place: Place, cases: Sequence[Case], per_hour: float, now: datetime) -> Iterator[Event]:
    """A measure in force: applications are held against what was usual before it."""
    for target in place.applications():
        if target.site in place.away:
            continue
        past = place.pasts.get(target)
        usual = baseline(past, wanted=max(place.keep, 24), per_hour=per_hour) if past else None
        found = compare(usual, tuple(place.windows.get(target, ())))
        if found.red:
            yield _regressed(company_id, target, cases, found.why, now)


def _regressed(company_id: str, target: Target, cases: Sequence[Case], why: str, now: datetime) -> Event:
    orders = ",".join(case.order.id for case in cases if case.order is not None)
    return agent_event(
        id_=f"local.regressed:{company_id}:{target.id}:{orders}",
        type_="local.regressed",
        subject=company_id,
        now=now,
        body={"regression": target.id, "application": target.name, "reason": why},
    )


# --- before -------------------------------------------------------------------------------------------------------


def ready(place: Place, *, per_hour: float, now: datetime) -> bool:
    """May a measure begin at once, as far as what is local says?"""
    seen = {target: (place.pasts.get(target), place.last(target)) for target in place.targets}
    if any(past is None or last is None or last.seen is not Seen.ANSWERED for past, last in seen.values()):
        return False
    told = {target: (past, last) for target, (past, last) in seen.items() if past is not None}
    found = preflight(told, wanted=place.keep, per_hour=per_hour, now=now)
    return found.green and found.hours >= place.keep


def _preflight(
    gateway: Gateway, company: Company, place: Place, judgement: Judgement, per_hour: float, now: datetime
) -> Iterator[Event]:
    """The result that G-19 rests on, for a company with a case that may become a measure."""
    cases = [one for one in judgement.judged if not one.case.closed]
    if not cases:
        return
    wanted = max((place.keep, *(one.policy.preflight_baseline_hours for one in cases)))
    age = timedelta(hours=min(one.policy.preflight_max_age_hours for one in cases)) / 2
    pasts = {target: (place.pasts.get(target), place.last(target)) for target in place.targets}
    if any(past is None for past, _ in pasts.values()) or any(last is None for _, last in pasts.values()):
        return  # not everything was looked at yet since the start
    told = {target: (past, last) for target, (past, last) in pasts.items() if past is not None}
    found = preflight(told, wanted=wanted, per_hour=per_hour, now=now)
    matches = sum(dry_run(gateway, company, one, now) for one in cases)
    green, last = found.green and not matches, cases[0].case.preflight
    own = f"preflight:{company.id}:"
    if (
        last is not None
        and last.fact.startswith(own)
        and (last.green, last.local_matches, last.baseline_hours >= wanted) == (green, matches, found.hours >= wanted)
        and now - age < last.at <= now
    ):
        return
    yield agent_event(
        id_=f"{own}{instant(now)}",
        type_="preflight.done",
        subject=company.id,
        now=now,
        body={
            "result": "green" if green else "red",
            "baseline_hours": found.hours,
            "local_matches": matches,
            "applications": [target.id for target in place.targets],
        },
    )


def dry_run(gateway: Gateway, company: Company, one: Judged, now: datetime) -> int:
    """The measure of a case, compiled and proven without being loaded: how many of its elements could match local traffic."""
    measure = one.measure
    lease = Lease(
        case=one.case.id, services=measure.services, until=now + _DRY_RUN, effect=replace(measure.effect, hours=()), since=now
    )
    rules = gateway.rules
    elements: tuple[Element, ...] = ()
    try:
        if lease.remote and rules.needs.rest is None:
            rules = rules.for_stage_4(on=True)
        elements = gateway.wanted(company, [lease], now, rules)
        rules.prove(elements, company, [lease], gateway.links)
    except ProofFailed:
        return len(elements) or 1
    return 0

"""Floor 3. What is going on, as plain values: for `status`, `explain` and `plan`.

Rules of this room:

1. Nothing is changed by looking.
2. Lists are cut at `MOST`, and say how many they leave out: a look costs the same at 100 and at 100 000 customers.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agent import __version__, stopfile
from agent import forecast as forecasting
from agent.case import Case
from agent.errors import EventError, KernelError
from agent.event import HOST, instant
from agent.gate import Kind
from agent.gateway import Gateway
from agent.judge import NO_POLICY, Judgement
from agent.leases import Lease
from agent.ledger import InForce
from agent.plan import describe, plan
from agent.report import judgement as report
from agent.rules import Change, Key, Use
from agent.ruleset import read_key
from agent.stages import REMOTE
from agent.stages import words as stage_words

#: How far ahead one company is explained.
_YEAR = timedelta(days=366)

#: Companies a status or a plan names at most.
MOST = 200


def status(gateway: Gateway, policy_problems: tuple[str, ...]) -> dict[str, Any]:
    """The whole state of the host in one value."""
    counts = gateway.ledger.counts()
    measures: list[dict[str, Any]] = []
    for one in gateway.ledger.in_force():
        if len(measures) == MOST:
            break
        company = gateway.rules.inventory.company(one.company)
        fr, en = stage_words(one.effect)
        measures.append(
            {
                "company": one.company,
                "name": company.name if company else "",
                "case": one.case,
                "services": list(one.services),
                "stage": one.effect.terms.stage,
                "extent": one.effect.extent,
                "effect": {"fr": fr, "en": en},
                "in_effect": one.since is not None,
                "lease_until": instant(datetime.fromtimestamp(one.lease_until, UTC)),
            }
        )
    try:
        structure: str = gateway.kernel.observe(gateway.rules.structure).structure
    except KernelError:
        structure = "unknown"
    stop = gateway.stop
    return {
        "version": __version__,
        "now": instant(gateway.now()),
        "mode_ceiling": gateway.ceiling.value,
        "policy": {
            "digest": gateway.rules.inventory.digest,
            "valid": not policy_problems,
            "problems": list(policy_problems),
            "loaded_at": instant(gateway.rules.loaded_at),
        },
        "kernel": {
            "name": gateway.kernel.name,
            "why": dict(zip(("fr", "en"), gateway.kernel_why, strict=True)),
            "structure": structure,
            "last_good_cycle": instant(gateway.last_good_at) if gateway.last_good_at else None,
            "last_sentence": gateway.last_sentence,
            "contested_by": list(gateway.fight.by) if gateway.fight.on else [],
        },
        "ledger": {"seq": counts.events, "writable": gateway.ledger_good},
        "paused": stop.all is not None,
        "stop": _stop(stop) if stop or stop.fault else None,
        "breaker": _breaker(gateway),
        "local": gateway.lookout.status(),
        "standing": [
            {
                "policy": one.policy,
                "by": one.by,
                "role": one.role,
                "expires_at": instant(one.expires_at),
                "current": one.policy_digest == _digest(gateway, one.policy),
            }
            for one in gateway.host.standing
            if one.expires_at > gateway.now()
        ][:MOST],
        "companies": {"known": counts.companies, "with_measure": counts.measures},
        "feeds": {name: instant(at) if at else None for name, at in gateway.world.feeds.items()},
        "measures": measures,
        "more": max(0, counts.measures - len(measures)),
        "links": _unlinked(gateway, sorted(gateway.unlinked)[:MOST]),
        "names": [{"fr": fr, "en": en} for fr, en in list(gateway.rules.unresolved.values())[:MOST]],
        "waiting": _waiting(gateway),
        "held": [*([stop.fault] if stop.fault else []), *(en for _, en in list(gateway.held.values())[:MOST])],
        "failures": [f"{what}: {why}" for what, why in sorted(gateway.failures.items())],
    }


def _breaker(gateway: Gateway) -> dict[str, Any]:
    """What keeps new suspensions from being ordered, and how much was suspended lately. Restores never look at it."""
    host, load = gateway.host, gateway.world.load
    return {
        "open": bool(host.breaker_causes),
        "causes": [{"kind": one.kind, "at": instant(one.at), "fr": one.fr, "en": one.en} for one in host.breaker_causes[:MOST]],
        "released_at": instant(host.breaker_released_at) if host.breaker_released_at else None,
        "comparing": gateway.review is not None,
        "ordered_last_day": len(load.ordered),
        "companies": {"suspended": load.cut_companies, "of": load.companies},
        "prefixes": {"suspended": load.cut_prefixes, "of": load.prefixes},
    }


def _digest(gateway: Gateway, policy: str) -> str:
    found = gateway.rules.inventory.policies.get(policy)
    return found.digest if found else ""


def _waiting(gateway: Gateway) -> list[dict[str, str]]:
    """Cases that were proposed and wait for persons or the moment."""
    found = []
    for company_id in sorted(gateway.waiting)[:MOST]:
        _, judgement, _ = gateway.judge(company_id, gateway.now())
        for one in judgement.judged:
            missing = one.gate.blocking(Kind.STANDING, Kind.HEALTH, Kind.APPLY)
            if one.case.id in gateway.waiting[company_id]:
                what = "; ".join(f"{check.code} {check.en}" for check in missing)
                found.append({"company": company_id, "case": one.case.id, "what": what})
    return found


def explain(gateway: Gateway, company_id: str) -> dict[str, Any]:
    """Why a company is suspended or not, and what the kernel counted for it.

    Raises:
        EventError: nobody knows this company.
    """
    now = gateway.now()
    company, judgement, _ = gateway.judge(company_id, now)
    if company is None and not judgement.judged:
        raise EventError(field="company", what=f"{company_id!r} is unknown", mend="see `ecluse check` for the companies")
    policy = gateway.rules.inventory.policies.get(company.policy, NO_POLICY) if company else NO_POLICY
    told = report(judgement, company, policy, now)
    forecasting.tell((told,), forecasting.result(_ahead(gateway, (company_id,), now, now + _YEAR)))
    cases = [told_of | _persons(one.case, now) for told_of, one in zip(told["cases"], judgement.judged, strict=True)]
    links = sorted({each.link for _, each in company.attachments() if each.link in gateway.unlinked}, key=str) if company else ()
    held = gateway.held.get(company_id)
    seen = {
        "counters": _counters(gateway, company_id),
        "local": list(gateway.lookout.about(company_id)),
        "held": dict(zip(("fr", "en"), held, strict=True)) if held else None,
    }
    return {**told, "cases": cases, "links": _unlinked(gateway, links), **seen}


def _unlinked(gateway: Gateway, names: Iterable[str | None]) -> list[dict[str, str]]:
    """Links that attachments name and that can not be named in the kernel now: nothing is suspended behind them."""
    pairs = ((name, gateway.unlinked[name]) for name in names if name is not None)
    return [{"link": name, "fr": fr, "en": en} for name, (fr, en) in pairs]


def _persons(case: Case, now: datetime) -> dict[str, Any]:
    """What named persons said about a case besides approving it, as far as nobody took it back."""
    return {
        "overrides": [
            {"check": one.check, "by": one.by, "role": one.role, "reason": one.reason, "expires_at": instant(one.expires_at)}
            for one in case.overrides
            if one.expires_at > now
        ],
        "waived": {"stages": sorted(case.waived), "why": case.waived_why} if case.waived else None,
        "pinned": case.pinned.digest if case.pinned else None,
    }


def forecast(gateway: Gateway, until: datetime, company_id: str | None) -> Generator[None, None, dict[str, Any]]:
    """What time alone will do, as things stand here. Stops after each look: many companies must not keep a restore waiting.

    Args:
        gateway: what is looked at.
        until: how far to look.
        company_id: only this company; None: all that are due by then, up to `MOST`.

    Raises:
        EventError: nobody knows this company.
    """
    now, ledger = gateway.now(), gateway.ledger
    if company_id is not None and gateway.rules.inventory.company(company_id) is None and ledger.record(company_id) is None:
        raise EventError(field="company", what=f"{company_id!r} is unknown", mend="see `ecluse check` for the companies")
    due = [company_id] if company_id is not None else ledger.due(until.timestamp(), gateway.basis, MOST + 1)
    found = yield from _ahead(gateway, due[:MOST], now, until)
    return {**forecasting.plain(found), "more": len(due) > MOST}


def _ahead(
    gateway: Gateway, companies: Sequence[str], now: datetime, until: datetime
) -> Generator[None, None, forecasting.Forecast]:
    """A walk from the records as they stand. The measures of its companies are taken out of the load: the walk counts them."""
    records = {company: gateway.record(company) for company in companies if company != HOST}
    load = gateway.world.load
    for company in companies:
        known = gateway.rules.inventory.company(company)
        if known is not None and gateway.ledger.measures_of(company):
            prefixes = known.prefix_count()
            load = replace(load, cut_companies=max(0, load.cut_companies - 1), cut_prefixes=max(0, load.cut_prefixes - prefixes))
    walk = forecasting.begin(records, gateway.rules.inventory, replace(gateway.world, load=load), now)
    return (yield from forecasting.forecast_steps(walk, records, now, until))


def _counters(gateway: Gateway, company_id: str) -> list[dict[str, Any]]:
    """Packets refused since the element was added or renewed: the kernel counts them for this company's elements alone.

    Not those that stage 4 looked at or let through. What it refused belongs to no service.
    """
    company = gateway.rules.inventory.company(company_id)
    if company is None:
        return []
    keys = gateway.candidates(company)
    try:
        members = gateway.kernel.observe(gateway.rules.structure, keys).members
    except KernelError:
        return []
    sets = {one.name: one for one in gateway.rules.structure.sets}
    owners = gateway.rules.proven.owners
    counters = []
    for key, found in sorted(members.items()):
        if sets[key.set].use in (Use.GATE, Use.PAIR):
            continue
        interface, network = read_key(sets[key.set], key.key)
        counters.append(
            {
                "service": REMOTE if sets[key.set].use is Use.REST else owners[key.set].service if key.set in owners else key.set,
                "attachment": str(network) + (f" on {interface}" if interface else ""),
                "packets": found.packets,
                "lease_seconds": found.expires_ms // 1000,
            }
        )
    return counters


def plan_now(gateway: Gateway) -> dict[str, Any]:
    """What would change in the kernel now, like a diff."""
    now = gateway.now()
    rules = gateway.rules
    companies = dict.fromkeys(gateway.ledger.due(now.timestamp(), gateway.basis, MOST))
    for one in gateway.ledger.in_force():
        if len(companies) >= MOST:
            break
        companies[one.company] = None
    lines: list[str] = []
    adds = deletes = 0
    for company_id in companies:
        company, judgement, held = gateway.judge(company_id, now)
        if company is None:
            continue
        leases = _leases(judgement, held)
        if rules.needs.rest is None and any(lease.remote for lease in leases):
            rules = rules.for_stage_4(on=True)
        wanted = gateway.wanted(company, leases, now, rules)
        keys = sorted({*gateway.candidates(company), *(Key(set=e.set, key=e.key) for e in wanted)})
        observed = gateway.kernel.observe(rules.structure, keys)
        change = plan(wanted=wanted, candidates=keys, observed=observed, structure=rules.structure)
        change = replace(change, structure=None)
        lines.extend(f"{company_id}: {line}" for line in describe(change, rules.structure, observed.members))
        adds, deletes = adds + len(change.add), deletes + len(change.delete)
    structure = rules.structure
    rebuilt = gateway.kernel.observe(structure).structure != "as_wanted" and not (gateway.stop.all and gateway.stop.all.restore)
    if rebuilt:
        lines = [*describe(Change(structure=structure), structure), *lines]
    return {"lines": lines, "adds": adds, "deletes": deletes, "structure": rebuilt}


def _leases(judgement: Judgement, held: Sequence[InForce]) -> list[Lease]:
    since = {one.case: datetime.fromtimestamp(one.since, UTC) for one in held if one.since is not None}
    return [
        Lease(
            case=one.case.id,
            services=one.measure.services,
            until=one.decision.lease_until,
            effect=one.measure.effect,
            since=since.get(one.case.id),
        )
        for one in judgement.in_force()
        if one.decision.lease_until is not None
    ]


def _stop(stop: stopfile.Stop) -> dict[str, Any]:
    def plain(pause: stopfile.Pause) -> dict[str, Any]:
        return {"by": pause.by, "at": instant(pause.at), "reason": pause.reason, "restore": pause.restore}

    return {
        "all": plain(stop.all) if stop.all else None,
        "companies": {name: plain(pause) for name, pause in list(stop.companies.items())[:MOST]},
        "fault": stop.fault,
    }

"""Floor 3. The whole kernel against the whole ledger: at start, after somebody flushed us, and now and then.

Rules of this room:

1. A start never opens a hole and never flushes what is right: the structure is compared first and replaced only if it differs.
2. What nobody ordered goes, what was ordered and is missing comes back, but only with the decision that stands: a company
   that is due is decided first.
3. Nothing is held in memory for each customer but its name and a number for each element, and the caller can breathe
   between two steps.
4. Before an element is deleted or a company repaired, the ledger is asked again: minutes may have passed since it was read.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, groupby

from agent import remote
from agent.errors import EcluseError, KernelError, ProofFailed
from agent.event import HOST, instant
from agent.fight import calmed
from agent.fight import repaired as after
from agent.gateway import Gateway, agent_event, log
from agent.inforce import InForceRules
from agent.leases import Lease
from agent.ledger import InForce
from agent.model import StandingKey
from agent.plan import SLACK_MS
from agent.reconcile import settle
from agent.rules import TABLE, Change, Element, Found, Key
from agent.ruleset import Needs, candidates, is_exception

#: Measures per transaction of a bulk load.
LOAD_PAGE = 500

#: Measures, and members of a set, per breath of an audit: two milliseconds, which is what a payment may have to wait.
AUDIT_PAGE = 100
AUDIT_MEMBERS = 300

#: So many companies are put right one by one, each with its record; more are loaded as at a start.
FEW_COMPANIES = 20

#: Why a table is looked at, when no program was named.
NO_PROGRAMS = frozenset({"a failure", "reload"})

#: Whatever kinds of set there were before a reload.
_EVERY_NEED = Needs(cap=True, drain=True)

Breath = Generator[None, None, "Audited"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Audited:
    """What an audit found: elements wanted, found as wanted, found though nobody wants them; companies put right."""

    wanted: int
    found: int
    strangers: int
    repaired: int

    @property
    def sentence(self) -> str:
        """For the log and the status line."""
        if not self.strangers and not self.repaired:
            return f"kernel and ledger agree on {self.wanted} elements"
        return (
            f"{self.found} of {self.wanted} elements found, {self.strangers} strangers removed, {self.repaired} companies repaired"
        )


def start(gateway: Gateway) -> Breath:
    """Bring the kernel to what the ledger says is in force, whatever a former process or a reboot left."""
    fresh = load_structure(gateway)
    if fresh:
        loaded = yield from load(gateway)
        return Audited(wanted=loaded, found=loaded, strangers=0, repaired=0)
    return (yield from audit(gateway))


def load_structure(gateway: Gateway) -> bool:
    """Make chains, maps and sets as wanted. True when our table was not there at all."""
    remote.at_start(gateway)
    structure = gateway.rules.structure
    observed = gateway.kernel.observe(structure)
    if observed.structure != "as_wanted" or observed.strangers:
        gateway.kernel.apply(Change(structure=structure))
    return observed.structure == "absent"


def repair(gateway: Gateway, cause: str) -> Breath:
    """Somebody touched our table: put it back, and say so in the ledger. The caller waits while `gateway.fight` says so."""
    structure = gateway.rules.structure
    observed = gateway.kernel.observe(structure)
    if observed.structure == "as_wanted" and not observed.strangers:
        audited = yield from audit(gateway)
        _weigh(gateway, cause, repaired=audited.strangers + audited.repaired > 0)
        return audited
    kind = "flush" if observed.structure == "absent" else "drift"
    _weigh(gateway, cause, repaired=True)  # first, because who destroys it all the time lets no repair come to its end
    gateway.kernel.apply(Change(structure=structure))
    if kind == "flush":
        loaded = yield from load(gateway)
        audited = Audited(wanted=loaded, found=0, strangers=0, repaired=loaded)
    else:
        audited = yield from audit(gateway)
    words = {"flush": "removed", "drift": "changed"}
    log.warning("our table was %s by %s; put back with %d elements", words[kind], cause, audited.wanted)
    gateway.metrics.changed("repair")
    gateway.metrics.repaired(kind)
    _record(gateway, kind, f"our table was {words[kind]} by {cause}", audited.wanted)
    return audited


def _weigh(gateway: Gateway, cause: str, *, repaired: bool) -> None:
    """Is that still a repair, or a fight? Said in log, status and metrics when it begins and when it is over."""
    before, now = gateway.fight, time.monotonic()
    gateway.fight = fight = (
        after(before, now, tuple(name for name in cause.split(", ") if name not in NO_PROGRAMS))
        if repaired
        else calmed(before, now)
    )
    if fight.on:
        gateway.failures["neighbour"] = (
            f"our table was put back {fight.repairs} times because others keep changing it: {', '.join(fight.by)}; from now on "
            f"{fight.wait:g} s pass between two repairs, and meanwhile nobody is refused. Find what runs there, and have it leave "
            f"table inet {TABLE} alone (`ecluse doctor`)"
        )
    if fight.on and not before.on:
        log.error("%s", gateway.failures["neighbour"])
    elif before.on and not fight.on:
        gateway.failures.pop("neighbour", None)
        log.info("nobody has changed our table for a while: it is put back at once again")
    gateway.metrics.contested(is_on=fight.on)


def leave(gateway: Gateway, rules: InForceRules) -> Iterator[None]:
    """After a reload: take the elements away that stand where their company is not connected any more.

    They go before anything else, because somebody else may be connected there now.

    Args:
        gateway: with the new inventory in force.
        rules: those that were in force until now.
    """
    before = rules.inventory
    names = {members.name for members in gateway.rules.structure.sets}
    for company_id, _ in groupby(gateway.ledger.in_force(), key=lambda one: one.company):
        was, now = before.company(company_id), gateway.rules.inventory.company(company_id)
        if was is not None and was != now:
            kept = set(gateway.candidates(now)) if now is not None else set()
            gone = tuple(
                key
                for key in candidates(was, {**before.services, **gateway.rules.services}, gateway.links, _EVERY_NEED)
                if key not in kept and key.set in names
            )
            if gone:
                gateway.kernel.apply(Change(delete=gone))
        if was is not None and company_id in gateway.remote and (doubtful := remote.outdated(gateway, was, rules)):
            gateway.kernel.apply(Change(delete=doubtful))
        yield


def load(gateway: Gateway, *, page: int = LOAD_PAGE) -> Generator[None, None, int]:
    """Fill empty sets with every measure in force whose decision still stands, one large transaction per page of measures."""
    loaded = 0
    for companies in _every(gateway, page):
        batch = tuple(chain.from_iterable(companies))
        if batch:
            gateway.kernel.apply(Change(add=batch))
            loaded += sum(not is_exception(element.set) for element in batch)
        yield
    gateway.in_kernel(wanted=loaded, found=loaded)
    return loaded


def audit(gateway: Gateway) -> Breath:
    """Compare every element of our sets with every measure in force, both ways.

    Measures and sets change while they are read. What looks missing or strange because of that is seen to be right when the
    ledger is asked again.
    """
    companies: list[str] = []
    expected: dict[int, int] = {}
    longest = wanted = found = strangers = 0
    for page in _every(gateway, AUDIT_PAGE):
        for elements in filter(None, page):
            companies.append(_company_of(elements[0].case))
            for element in elements:
                expected[_number(element.set, element.key, element.case)] = len(companies) - 1
                wanted += not is_exception(element.set)
                longest = max(longest, element.timeout_ms)
        yield
    for members in gateway.rules.structure.sets:
        odd: list[tuple[Key, str]] = []
        spares = is_exception(members.name)
        for number, (key, member) in enumerate(_members(gateway, members.name)):
            name = _number(members.name, key, member.case)
            if name in expected:
                found += not spares
                # One whose lease somebody made longer than any of ours is put right like one that is missing.
                if member.expires_ms <= longest + SLACK_MS:
                    del expected[name]
            else:
                odd.append((Key(set=members.name, key=key), member.case))
            if number % AUDIT_MEMBERS == 0:
                yield
        strangers += _remove(gateway, odd)
        yield
    missing = sorted({companies[at] for at in expected.values()})
    repaired = yield from (_put_back if len(missing) <= FEW_COMPANIES else _load_back)(gateway, missing)
    gateway.in_kernel(wanted=wanted, found=found)
    return Audited(wanted=wanted, found=found, strangers=strangers, repaired=repaired)


def _members(gateway: Gateway, name: str) -> Iterator[tuple[bytes, Found]]:
    """The members of a set. One that went with its path while the caller breathed has none any more."""
    if name in gateway.rules.sets:
        try:
            yield from gateway.kernel.dump(name, whole=False)
        except KernelError:
            if name in gateway.rules.sets:
                raise


def _remove(gateway: Gateway, odd: list[tuple[Key, str]]) -> int:
    delete = []
    for key, case in odd:
        company_id = _company_of(case)
        elements = _elements(gateway, company_id, gateway.ledger.measures_of(company_id))
        if all(key != Key(set=e.set, key=e.key) for e in elements) and not _ordered(gateway, company_id):
            delete.append(key)
    if delete:
        gateway.kernel.apply(Change(delete=tuple(delete)))
        log.warning("removed %d elements that no measure in force wants", len(delete))
        gateway.metrics.changed("repair")
        gateway.metrics.repaired("strangers", len(delete))
        _record(gateway, "strangers", f"{delete[0].set} had elements that no measure in force wants", len(delete))
    return len(delete)


def _record(gateway: Gateway, kind: str, what: str, count: int) -> None:
    now = gateway.now()
    body = {"what": what, "count": count, "times": {"verified": instant(now)}}
    event = agent_event(id_=f"repaired:{kind}:{instant(now)}", type_="measure.repaired", subject=HOST, now=now, body=body)
    gateway.append(event)


def _ordered(gateway: Gateway, company_id: str) -> bool:
    """True for a company with an order whose application is not settled yet: it is due, and `settle` will say what goes."""
    judgement = gateway.judge(company_id, gateway.now())[1]
    return any(one.case.order is not None and not gateway.ledger.measures_of(company_id) for one in judgement.judged)


def _put_back(gateway: Gateway, companies: Sequence[str]) -> Generator[None, None, int]:
    repaired = 0
    failed: EcluseError | None = None
    for company_id in companies:
        try:
            repaired += settle(gateway, company_id).changed
        except EcluseError as error:  # one that can not be put right must not keep the others from it
            failed = failed or error
        yield
    if failed is not None:
        raise failed
    return repaired


def _load_back(gateway: Gateway, companies: Sequence[str]) -> Generator[None, None, int]:
    """Put the members of many companies back, a page of companies per transaction, and write that down once.

    One by one, each with its own record, a thousand companies take twenty seconds.
    """
    missing, count = frozenset(companies), 0
    for page in _every(gateway, AUDIT_PAGE):
        batch = [e for found in page if found and _company_of(found[0].case) in missing for e in found]
        if batch:
            gateway.kernel.apply(Change(add=tuple(batch)))
            count += len(batch)
        yield
    gateway.metrics.changed("repair")
    gateway.metrics.repaired("members", count)
    _record(gateway, "members", f"elements of {len(companies)} companies were missing or not as wanted", count)
    return len(companies)


def _every(gateway: Gateway, size: int) -> Iterator[list[tuple[Element, ...]]]:
    """What every measure in force wants whose decision stands: a page of companies at a time, elements by company.

    Left out are those that a new fact, the time or a new policy has yet to be decided on. Each page is read when the caller
    comes for it: who paid while the caller breathed is not on it any more.
    """
    after = ""
    while held := gateway.ledger.in_force_after(after, now=gateway.now().timestamp(), basis=gateway.basis, limit=size):
        after = held[-1].company
        keys = gateway.rules.inventory.standing_keys(list(dict.fromkeys(one.company for one in held)))
        companies = groupby(held, key=lambda one: one.company)
        yield [_elements(gateway, company_id, tuple(mine), keys.get(company_id, ())) for company_id, mine in companies]


def _elements(
    gateway: Gateway, company_id: str, held: tuple[InForce, ...], keys: Sequence[StandingKey] = ()
) -> tuple[Element, ...]:
    """What the measures of one company want: from its compiled keys, or else from the company itself."""
    pause = gateway.stop.pause(company_id)
    if company_id in gateway.volatile or (pause is not None and pause.restore):
        return ()
    now = gateway.now()
    try:
        if keys and all(one.plain for one in held):
            return gateway.standing(held, keys, now.timestamp())
        company = gateway.rules.inventory.company(company_id)
        leases = [
            Lease(
                case=one.case,
                services=one.services,
                until=datetime.fromtimestamp(one.lease_until, UTC),
                effect=one.effect,
                since=None if one.since is None else datetime.fromtimestamp(one.since, UTC),
            )
            for one in held
        ]
        elements = gateway.wanted(company, leases, now)
        if company is not None:
            gateway.rules.prove(elements, company, leases, gateway.links)
    except ProofFailed as error:  # one company we can not be sure about is left alone; the others have their turn
        log.error("%s: %s; not suspended", company_id, error)
        return ()
    return elements


def _company_of(case: str) -> str:
    return case.partition(":")[0]


def _number(set_name: str, key: bytes, case: str) -> int:
    """One number for one element: a set of numbers for 300 000 elements takes a tenth of the elements themselves."""
    return hash((set_name, key, case))

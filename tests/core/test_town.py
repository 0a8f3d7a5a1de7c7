"""A town of suspended companies: what the daemon holds them to, page by page, with the kernel in memory."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent import audit
from agent.decide import Act
from agent.event import Event, parse_body
from agent.gateway import Gateway
from agent.leases import Lease
from agent.ledger.sqlite import Ledger
from agent.reconcile import settle
from agent.rules import Change, Key
from bench import town

COMPANIES = 23


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> town.Town:
    return town.town(COMPANIES, tmp_path_factory.mktemp("town"), cache=None)


@pytest.fixture
def gateway(made: town.Town, tmp_path: Path) -> Iterator[Gateway]:
    for file in made.state.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        found = town.gateway(ledger, tmp_path, datetime.now(UTC))
        found.kernel.apply(Change(structure=found.rules.structure))
        yield found
        found.rules.inventory.close()


def run(work):
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def members(gateway: Gateway) -> dict[Key, str]:
    sets = gateway.rules.structure.sets
    return {Key(set=one.name, key=key): found.case for one in sets for key, found in gateway.kernel.dump(one.name)}


def pays(gateway: Gateway, number: int) -> str:
    company, now = town.company_id(number), gateway.now()
    body = parse_body("payment.received", {"payment": f"P-{number}", "amount": town.DEBT, "currency": "EUR"})
    gateway.ledger.append(
        [Event(id=f"p{number}", type="payment.received", subject=company, occurred_at=now, received_at=now, source="b", body=body)]
    )
    assert settle(gateway, company).changed
    return company


def test_the_town_is_suspended_for_reasons_that_stand(gateway):
    assert gateway.ledger.verify() == COMPANIES * 11 + 3
    for number in range(COMPANIES):
        _, judgement, held = gateway.judge(town.company_id(number), gateway.now())
        assert [one.decision.act for one in judgement.judged] == [Act.KEEP]
        assert len(held) == 1
    assert gateway.ledger.due(gateway.now().timestamp(), gateway.basis, 10) == []


@pytest.mark.parametrize("page", [1, 5, 1000])
def test_a_load_gives_each_company_what_is_wanted_of_it(gateway, page):
    loaded = run(audit.load(gateway, page=page))
    wanted = {}
    for number in range(COMPANIES):
        company = gateway.rules.inventory.company(town.company_id(number))
        held = gateway.ledger.measures_of(company.id)
        leases = [Lease(case=one.case, services=one.services, until=datetime.fromtimestamp(one.lease_until, UTC)) for one in held]
        for element in gateway.wanted(company, leases, gateway.now()):
            wanted[Key(set=element.set, key=element.key)] = element.case
    assert members(gateway) == wanted
    assert loaded == len(wanted) == 3 * (COMPANIES + 3)
    found = run(audit.audit(gateway))
    assert (found.wanted, found.found, found.strangers, found.repaired) == (loaded, loaded, 0, 0)


def test_who_pays_while_a_load_is_under_way_is_not_cut_again(gateway):
    work = audit.load(gateway, page=5)
    next(work)
    before, after = pays(gateway, 2), pays(gateway, 7)
    run(work)
    cut = {case.partition(":")[0] for case in members(gateway).values()}
    assert cut == {town.company_id(number) for number in range(COMPANIES)} - {before, after}


def test_who_pays_while_an_audit_is_under_way_is_no_drift(gateway):
    run(audit.load(gateway))
    work = audit.audit(gateway)
    next(work)
    pays(gateway, 4)
    found = run(work)
    assert found.repaired == found.strangers == 0
    assert not any(case.startswith(town.company_id(4)) for case in members(gateway).values())


def test_an_audit_brings_back_what_is_missing_and_takes_out_what_nobody_ordered(gateway):
    run(audit.load(gateway))
    lost, kept = sorted(members(gateway))[:2]
    gateway.kernel.apply(Change(delete=(lost,)))
    stranger = Key(set=kept.set, key=bytes(len(kept.key)))
    (case,) = {found for key, found in members(gateway).items() if key == kept}
    element = next(iter(gateway.standing(gateway.ledger.measures_of(case.partition(":")[0]), keys_of(gateway, case), 0.0)))
    gateway.kernel.apply(Change(add=(replace(element, set=stranger.set, key=stranger.key, timeout_ms=1000),)))
    found = run(audit.audit(gateway))
    assert (found.strangers, found.repaired) == (1, 1)
    assert lost in members(gateway)
    assert stranger not in members(gateway)


def keys_of(gateway: Gateway, case: str):
    company = case.partition(":")[0]
    return gateway.rules.inventory.standing_keys([company])[company]


def test_a_measure_whose_lease_is_over_wants_nothing(gateway):
    (measure,) = gateway.ledger.measures_of(town.company_id(1))
    keys = keys_of(gateway, measure.case)
    end = gateway.now() + timedelta(hours=1)
    ends = replace(measure, lease_until=end.timestamp())
    assert gateway.standing([ends], keys, end.timestamp()) == ()
    assert len(gateway.standing([ends], keys, end.timestamp() - 1)) == 3
    assert {e.timeout_ms for e in gateway.standing([ends], keys, end.timestamp() - 1)} == {1000}

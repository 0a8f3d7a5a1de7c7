"""What should be in the kernel: from nothing but events, files and a moment. For tests that compare it with what is there."""

from collections.abc import Iterable
from datetime import datetime

from agent.calendar import local_date
from agent.case import EMPTY_RECORD, Record, fold, host_facts
from agent.event import HOST, Event
from agent.gate import World
from agent.judge import judge
from agent.model import Inventory, Mode
from agent.ruleset import members


def truth(events: Iterable[Event], inventory: Inventory, now: datetime, *, stopped: bool = False) -> dict[tuple[str, bytes], str]:
    """(set, key) -> case of every element that should refuse something.

    Args:
        events: all that was ever said, in any order.
        inventory: the files in force.
        now: when the question is asked.
        stopped: a person has had everything restored.
    """
    records: dict[str, Record] = {}
    for event in events:
        records[event.subject] = fold(records.get(event.subject, EMPTY_RECORD), event)
    host = host_facts(records.get(HOST, EMPTY_RECORD))
    world = World(
        ceiling=Mode.AUTO,
        feeds=host.heartbeats,
        standing=host.standing,
        paused=stopped,
        clock=host.clock,
        insolvency_checked_at=host.insolvency_checked_at,
    )
    found: dict[tuple[str, bytes], str] = {}
    for company in inventory.companies():
        judgement = judge(
            company_id=company.id,
            record=records.get(company.id, EMPTY_RECORD),
            company=company,
            services=inventory.services,
            policy=inventory.policies.get(company.policy),
            world=world,
            restore_all=stopped,
            leases={},
            now=now,
        )
        today = min(local_date(now, site.timezone) for site in company.sites)
        for one in sorted(judgement.in_force(), key=lambda one: one.case.id):
            services = one.case.order.services if one.case.order else one.case.notice.services
            for element in members(company, services, one.case.id, 60_000, inventory.services, today):
                found.setdefault((element.set, element.key), element.case)
    return found

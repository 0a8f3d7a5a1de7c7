"""Floor 3. What persons stopped while nobody could record it goes into the ledger, with who, when and why.

A general stop lasts until `resume`. That of one company ends with its record: a restore by hand closes what was under way
against it, so nothing has to be stopped any more.
"""

import hashlib
import json
from dataclasses import replace
from datetime import datetime

from agent.errors import EventError
from agent.event import HOST, Event, instant, parse_body
from agent.gateway import Gateway, log
from agent.stopfile import AGENT, Pause


def fact(subject: str, pause: Pause, now: datetime) -> Event:
    """A stop as an event; the same stop always gives the same id, whoever comes to record it.

    Args:
        subject: the company, or `HOST` for a general stop.
        pause: what was written.
        now: when it is recorded. A stop of the future (a clock was wrong) counts as of now.

    Raises:
        EventError: the reason or the name is not what an event may hold.
    """
    type_, more = ("pause.set", {"restore": pause.restore}) if subject == HOST else ("restore.ordered", {})
    said = json.dumps([type_, subject, pause.by, instant(pause.at), pause.reason, pause.restore])
    return Event(
        id=f"stop:{hashlib.sha256(said.encode()).hexdigest()[:24]}",
        type=type_,
        subject=subject,
        occurred_at=min(pause.at, now),
        received_at=now,
        source=f"operator:{pause.by}",
        body=parse_body(type_, {"by": pause.by, "reason": pause.reason} | more),
    )


def record(gateway: Gateway) -> None:
    """Write down the stops of persons that the ledger does not have yet, and let go of companies whose stop it has.

    A company that neither the inventory nor the ledger knows is most likely a slip of the pen: its stop stays, which harms
    nobody, until `resume`.
    """
    stop = gateway.stop
    if not stop or not gateway.ledger_good:
        return
    known = {
        company: pause
        for company, pause in stop.companies.items()
        if pause.by != AGENT
        and (gateway.rules.inventory.company(company) is not None or gateway.ledger.record(company) is not None)
    }
    general = {HOST: stop.all} if stop.all is not None and stop.all.by != AGENT else {}
    try:
        facts = [fact(subject, pause, gateway.now()) for subject, pause in (general | known).items()]
    except EventError as error:
        gateway.failures["stop file"] = f"{error}; it is obeyed, and can not be recorded"
        return
    facts = [
        event if event.subject == HOST else replace(event, occurred_at=gateway.after_under_way(event.subject, event.occurred_at))
        for event in facts
    ]
    new = [event for event in facts if not gateway.ledger.has(event.id)]
    if new and not gateway.append(*new):
        return
    for event in new:
        log.warning("recorded what was stopped without us: %s %s by %s", event.type, event.subject, event.body["by"])
    if known and gateway.held_in_memory is None:
        kept = {company: pause for company, pause in stop.companies.items() if company not in known}
        try:
            gateway.stop_less(replace(stop, companies=kept))
        except OSError as error:
            log.warning("the stop file can not be written: %s", error)

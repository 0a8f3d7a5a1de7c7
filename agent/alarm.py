"""Floor 3. What opens the breaker: seen in facts as they come in, and in companies as they are judged.

Rules of this room:

1. An opening is an event like any other. It is committed together with the fact that causes it, or before the first order that it
   is to hold; who dies in between has changed nothing.
2. Its id is the same for a kind of cause until somebody releases the breaker, so that neither a restart nor a repetition opens it
   twice.
3. It never delays a fact, a restore, or the answer to a webhook: what is looked at here is a few rows at any size.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from agent.breaker import Opening, opening_id, regressed, shrunken, too_new, voided, wave
from agent.case import EMPTY_RECORD, host_facts
from agent.decide import Act
from agent.event import HOST, Event
from agent.gate import Kind, limits_of
from agent.gateway import Gateway, Review, agent_event, log
from agent.judge import Judged, Judgement
from agent.model import Mode

#: The check that a comparison of policies looks past: it holds everything meanwhile.
_OWN = "G-24"


# --- facts --------------------------------------------------------------------------------------------------------


def alarms(gateway: Gateway, events: Iterable[Event]) -> tuple[Event, ...]:
    """What has to be appended in one commit with facts that come in, because they look like a fault.

    Args:
        gateway: as it stands before them.
        events: what is about to be appended.
    """
    found: dict[str, Opening] = {}
    for event in events:
        for opening in _seen(gateway, event):
            found.setdefault(opening.kind, opening)
    found |= {one.kind: one for one in _feeds(gateway, events)}
    return tuple(_event(gateway, one) for one in found.values())


def _seen(gateway: Gateway, event: Event) -> Iterator[Opening]:
    if event.type == "case.voided":
        yield voided(str(event.body["case"]))
    elif event.type == "local.regressed" and _suspended(gateway, event.subject) and not gateway.ledger.has(event.id):
        yield regressed(event.subject, str(event.body["application"]))


def _suspended(gateway: Gateway, company_id: str) -> bool:
    return company_id in gateway.tally.pending or bool(gateway.ledger.measures_of(company_id))


def _feeds(gateway: Gateway, events: Iterable[Event]) -> Iterator[Opening]:
    beats = [event for event in events if event.type == "heartbeat" and "open_invoices" in event.body]
    if not beats:
        return
    host = host_facts(gateway.ledger.record(HOST) or EMPTY_RECORD)
    last = {source: (host.heartbeats[source], count) for source, count in host.open_invoices.items()}
    for event in sorted(beats, key=lambda one: one.occurred_at):
        after = int(event.body["open_invoices"])
        at, before = last.get(event.source, (event.occurred_at, after))
        if event.occurred_at >= at:  # one that was overtaken says nothing about now
            opening = shrunken(event.source, before, after)
            if opening is not None:
                yield opening
            last[event.source] = (event.occurred_at, after)


# --- companies ----------------------------------------------------------------------------------------------------


def judged(gateway: Gateway, company_id: str, judgement: Judgement, now: datetime) -> bool:
    """Look at a judgement before anything is done about it.

    Args:
        gateway: what is worked on.
        company_id: the company.
        judgement: of the company, at `now`.
        now: aware instant.

    Returns:
        True when the breaker opened just now: the judgement was made while it was closed, and must be made again.
    """
    opened = False
    for one in judgement.judged:
        opening = None
        if gateway.review is not None and _newly(gateway, gateway.review, company_id, one, now):
            gateway.review.newly.add(one.case.id)
            opening = too_new(len(gateway.review.newly), limits_of(one.policy))
        elif one.decision.act in (Act.PROPOSE, Act.SUSPEND) and not one.case.proposed and not one.case.orders:
            gateway.tally.ripen(one.case.id, now)
            released = gateway.host.breaker_released_at
            since = [at for at in gateway.tally.ripe.values() if released is None or at > released]
            opening = wave(since, limits_of(one.policy), now)
        if opening is not None:
            opened |= _open(gateway, opening)
    return opened


def _newly(gateway: Gateway, review: Review, company_id: str, one: Judged, now: datetime) -> bool:
    """Is a case further on its way to a suspension by the new files than by the former ones?"""
    stage = _stage(one)
    if not stage or one.case.id in review.newly:
        return False
    if review.before is None:
        return stage > one.case.proposed
    before = gateway.judge(company_id, now, review.before)[1].judged
    return stage > max((_stage(other) for other in before if other.case.id == one.case.id), default=0)


def _stage(one: Judged) -> int:
    """2: only the breaker's own check is left; 1: only health, persons or the moment; 0: not that far, or suspended already."""
    if one.case.closed or one.case.order is not None or one.gate.mode is Mode.OBSERVE or one.gate.blocking(Kind.STANDING):
        return 0
    return 1 if any(check.code != _OWN for check in one.gate.blocking(Kind.HEALTH, Kind.APPLY)) else 2


def end_review(gateway: Gateway) -> None:
    """Every company has been judged by the new files: from now on they may suspend, unless they opened the breaker."""
    review, now = gateway.review, gateway.now()
    if review is None:
        return
    gateway.review = None
    for case in review.newly:
        gateway.tally.ripen(case, now)
    log.info("the policies loaded last were compared with the former ones: %d cases newly ripe", len(review.newly))
    gateway.look_around()
    look_again(gateway)


def look_again(gateway: Gateway) -> None:
    """What held cases that wait is gone: look at them now, not within a minute."""
    gateway.again.update(dict.fromkeys(gateway.waiting))


def _open(gateway: Gateway, opening: Opening) -> bool:
    if any(cause.kind == opening.kind for cause in gateway.host.breaker_causes) or not gateway.ledger_good:
        return False
    opened = gateway.append(_event(gateway, opening))
    gateway.look_around()
    return opened


def _event(gateway: Gateway, opening: Opening) -> Event:
    # Not before the last release, whatever the clock did: an opening that counts as released would hold nothing.
    released = gateway.host.breaker_released_at
    now = gateway.now() if released is None else max(gateway.now(), released)
    return agent_event(
        id_=opening_id(opening.kind, released),
        type_="breaker.opened",
        subject=HOST,
        now=now,
        body={"cause": opening.en, "cause_fr": opening.fr, "kind": opening.kind},
    )

"""Floor 3. What the agent states about its own doing: seen, proposed, ordered; applied, stepped down, switched, repaired, restored.

Rules of this room:

1. An order is stated before it is done, everything else after it was read back.
2. An event's id follows from what was done, so that who says it again after a death says the same.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agent import acts
from agent.decide import Act
from agent.event import Event, instant, parse_body
from agent.gateway import agent_event
from agent.judge import Judged
from agent.rules import Change

SWITCHED = "measure.switched"


@dataclass(frozen=True, kw_only=True, slots=True)
class Enforced:
    """What was changed in the kernel for one company, and how it stands there, read back.

    `elements`: how many elements the kernel holds for each case in force; a case that the guard holds is none of them. `renewed`:
    the cases whose lease was renewed. `since`: since when each of them is in effect; None: outside its hours. `until`: of
    those that are restricted to hours, when that changes at the earliest.
    """

    change: Change = field(default_factory=Change)
    renewed: frozenset[str] = frozenset()
    elements: Mapping[str, int] = field(default_factory=dict)
    since: Mapping[str, datetime | None] = field(default_factory=dict)
    until: Mapping[str, datetime] = field(default_factory=dict)


def announcements(one: Judged, company_id: str, now: datetime) -> Iterator[Event]:
    """What is said before anything is done: seen, proposed, ordered."""
    case, decision = one.case, one.decision
    body: dict[str, object] = {"case": case.id, "services": list(one.measure.services), "gate": one.gate.trace()}
    if decision.act is Act.OBSERVE:
        yield agent_event(id_=f"observed:{case.id}", type_="case.observed", subject=company_id, now=now, body=body)
    elif decision.act is Act.PROPOSE:
        yield agent_event(id_=f"proposed:{acts.next_order(one)}", type_="case.proposed", subject=company_id, now=now, body=body)
    elif decision.act is Act.SUSPEND and decision.lease_until is not None:
        checked = parse_body("order.suspend", acts.ordered(one, one.gate.trace()))
        yield agent_event(id_=f"order:{checked['order']}", type_="order.suspend", subject=company_id, now=now, body=checked)


def outcomes(
    one: Judged,
    company_id: str,
    after: datetime,
    decided: datetime,
    enforced: Enforced,
    *,
    alone: bool,
    switched: Container[str] = (),
) -> Iterator[Event]:
    """What is said of a case once it was done and read back.

    Args:
        one: the case as it was judged.
        company_id: its company.
        after: when it was read back.
        decided: when it was decided.
        enforced: what was done.
        alone: no other case of the company let something go, which this one would have taken over. Nor is it a repair that elements
            of one case are set anew while the lease of another is renewed: that sets all of them.
        switched: the cases that came into effect by their hours, or ceased to be.
    """
    case, order = one.case, one.case.order
    if order is None:
        return
    times = {"decided": instant(decided), "verified": instant(after)}
    stands = enforced.elements.get(case.id)
    said: tuple[str, str, dict[str, object]] | None = None
    if one.decision.act is Act.RESTORE:
        said = f"restored:{order.id}", "measure.restored", acts.restored(one, order.id, times)
    elif one.decision.act is Act.KEEP and order.applied_at is None and stands is not None:
        said = f"applied:{order.id}", "measure.applied", acts.applied(one, order.id, stands, times)
    elif one.decision.act is Act.LOWER and stands is not None:
        stage = one.measure.effect.terms.stage
        said = f"lowered:{order.id}/{stage}", "measure.lowered", acts.lowered(one, order.id, stands, times)
    elif case.id in switched:
        on = enforced.since[case.id] is not None
        body = {"order": order.id, "case": case.id, "in_effect": on, "elements": stands or 0, "times": times}
        until = enforced.until.get(case.id, after)  # the same for whoever finds it switched in these hours
        said = f"switched:{order.id}:{on}:{instant(until)}", SWITCHED, body
    elif one.decision.act is Act.KEEP and order.applied_at is not None and not enforced.renewed and alone:
        count = sum(element.case == case.id for element in enforced.change.add)
        what = "elements of this company were missing or not as wanted"
        if count:
            said = f"repaired:{order.id}:{instant(after)}", "measure.repaired", {"what": what, "count": count, "times": times}
    if said is not None:
        id_, type_, told = said
        yield agent_event(id_=id_, type_=type_, subject=company_id, now=after, body=told)

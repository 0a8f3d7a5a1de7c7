"""Floor 3. Which decisions a change of policies would alter, before it is adopted.

Rules of this room:

1. The same facts are walked twice, under the old policies and under the new ones, by the one simulation there is. What is
   compared is what would have been done to each case and where it stands at the end; wordings and reasons alone make no difference.
2. What concerns all is a difference too: who is suspended later because others now come first is told.
3. The worst for a customer stands first: suspended only under the new policies, then sooner, then longer.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from agent import report
from agent.event import instant
from agent.simulate import Simulation
from agent.stages import strength
from agent.walk import Moment, lacks, moment


class Kind(StrEnum):
    """How a case differs under the new policies, the worst for the customer first."""

    NEW = "new"
    SOONER = "sooner"
    STRONGER = "stronger"
    LONGER = "longer"
    OTHER = "other"
    SHORTER = "shorter"
    GENTLER = "gentler"
    LATER = "later"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What would be done to one case, where it stands at the end ("": there is no such case), and what is in its way then."""

    company: str = ""
    timezone: str = ""
    moments: tuple[Moment, ...] = ()
    state: str = ""
    missing: tuple[str, ...] = ()

    @property
    def ready_at(self) -> datetime | None:
        """When it would first be noticed as suspendable."""
        return next((one.at for one in self.moments if one.act not in ("lower", "restore")), None)

    @property
    def suspended_at(self) -> datetime | None:
        """When it would first be suspended."""
        return next((one.at for one in self.moments if one.act == "suspend"), None)

    @property
    def strongest(self) -> tuple[int, int]:
        """The strongest measure it would come to, for comparing."""
        return max((strength(one.effect) for one in self.moments if one.act == "suspend"), default=(0, 0))

    @property
    def restored_at(self) -> datetime | None:
        """When the last measure would end, None when none does."""
        last = self.moments[-1] if self.moments else None
        return last.at if last and last.act == "restore" else None


_NONE = Story()
_ORDER = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One case whose decisions differ."""

    company: str
    timezone: str
    case: str
    kind: Kind
    old: Story
    new: Story


def differences(old: Simulation, new: Simulation) -> tuple[Difference, ...]:
    """Compare two simulations of the same facts.

    Args:
        old: under the policies in force.
        new: under those to adopt.
    """
    before, after = _stories(old), _stories(new)
    found = []
    for case in sorted({*before, *after}):
        one, other = before.get(case, _NONE), after.get(case, _NONE)
        if _decisions(one) != _decisions(other):
            known = other if other is not _NONE else one
            found.append(
                Difference(company=known.company, timezone=known.timezone, case=case, kind=_kind(one, other), old=one, new=other)
            )
    return tuple(sorted(found, key=lambda each: (_ORDER[each.kind], each.case)))


def plain(found: tuple[Difference, ...], old: Simulation, new: Simulation) -> dict[str, Any]:
    """The differences as JSON-able values, with how many cases were compared."""
    counts = {kind.value: sum(one.kind is kind for one in found) for kind in Kind}
    return {
        "at": instant(old.at),
        "facts": old.history.count,
        "later": old.history.later,
        "companies": len({*old.companies, *new.companies}),
        "approved": old.approved,
        "ceiling": old.ceiling.value,
        "counts": {kind: count for kind, count in counts.items() if count},
        "differences": [
            {
                "company": one.company,
                "timezone": one.timezone,
                "case": one.case,
                "kind": one.kind.value,
                "old": _plain(one.old),
                "new": _plain(one.new),
            }
            for one in found
        ],
    }


def _plain(story: Story) -> dict[str, Any]:
    return {"state": story.state, "missing": list(story.missing), "moments": [moment(one) for one in story.moments]}


def _stories(simulation: Simulation) -> dict[str, Story]:
    told: dict[str, list[Moment]] = defaultdict(list)
    for one in simulation.moments:
        told[one.case].append(one)
    return {
        one.case.id: Story(
            company=outcome.judgement.company,
            timezone=report.timezone(outcome.company),
            moments=tuple(told[one.case.id]),
            state=report.state(one),
            missing=tuple(check.code for check in lacks(one)),
        )
        for outcome in simulation.outcomes()
        for one in outcome.judgement.judged
    }


def _decisions(story: Story) -> tuple[object, ...]:
    return story.state, tuple((one.at, one.act, one.services, one.effect) for one in story.moments)


def _kind(old: Story, new: Story) -> Kind:
    """The first of the things that a customer would notice: whether, when, how hard, how long."""
    cut = old.suspended_at is not None or new.suspended_at is not None
    before, after = (old.suspended_at, new.suspended_at) if cut else (old.ready_at, new.ready_at)
    if before is None or after is None:
        return Kind.NEW if after is not None else Kind.GONE if before is not None else Kind.OTHER
    if before != after:
        return Kind.SOONER if after < before else Kind.LATER
    if old.strongest != new.strongest:
        return Kind.STRONGER if new.strongest > old.strongest else Kind.GENTLER
    if old.restored_at != new.restored_at:
        longer = new.restored_at is None or (old.restored_at is not None and new.restored_at > old.restored_at)
        return Kind.LONGER if longer else Kind.SHORTER
    return Kind.OTHER

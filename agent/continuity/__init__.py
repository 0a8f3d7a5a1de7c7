"""Floor 1. Does what is local go on working? What a look at an application means before, just after and during a measure.

Rules of this room:

1. A look only ever ends with one of three words: answered, silent, or that it could not be told from here. What can not be
   told is never taken for an answer.
2. Nothing said here starts a measure. A good look leaves the other checks to decide; a bad one lifts, or keeps from cutting.
3. Looks are summed up by the hour; the sums are the baseline. While a measure is in force nothing is added to it, so that
   a measure is never compared with itself.
4. A site that does not answer at all has another reason than the measure, unless it fell silent just when the measure
   began: in that doubt the measure goes.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from agent.continuity.baseline import Baseline, Hour, Past, add, baseline, read_past, write_past
from agent.continuity.samples import Role, Sample, Seen, Target, targets
from agent.continuity.verdict import (
    SILENT_LOOKS,
    WINDOW,
    Compared,
    Preflight,
    Trial,
    compare,
    outage,
    preflight,
    recovered,
    trial,
)

__all__ = [
    "SILENT_LOOKS",
    "TRIAL_SECONDS",
    "WINDOW",
    "Baseline",
    "Compared",
    "Hour",
    "Lookout",
    "Nobody",
    "Past",
    "Preflight",
    "Role",
    "Sample",
    "Seen",
    "Sight",
    "Target",
    "Trial",
    "add",
    "baseline",
    "compare",
    "outage",
    "preflight",
    "read_past",
    "recovered",
    "targets",
    "trial",
    "write_past",
]

#: A measure whose local applications were not seen to answer within this ends by itself: less than the 30 s allowed for a
#: rollback, so that recording and reading back fit in (T-12).
TRIAL_SECONDS = 25


class Sight(StrEnum):
    """How well the local side of a company is seen now. NONE: nobody looks from here, so that others have to say."""

    NONE = "none"
    SEEN = "seen"
    BLIND = "blind"
    OUTAGE = "outage"


class Lookout(Protocol):
    """Who looks at local applications, as far as those who decide have to know."""

    def sight(self, company_id: str) -> Sight:
        """How well this company is seen now."""
        ...

    def just_before(self, company_id: str) -> bool:
        """Was everything local seen to answer just now, so that a measure may begin? If not, a look is on its way."""
        ...

    def looking(self, company_id: str) -> bool:
        """Is a look on its way that a measure waits for?"""
        ...

    def status(self) -> dict[str, Any]:
        """How it stands, for people."""
        ...

    def about(self, company_id: str) -> Sequence[Mapping[str, Any]]:
        """What was seen of each target of one company, for people."""
        ...


class Nobody:
    """No probes on this host: what is local is told by others, and a measure waits for no look."""

    def sight(self, company_id: str) -> Sight:
        """Nobody looks."""
        del company_id
        return Sight.NONE

    def just_before(self, company_id: str) -> bool:
        """Nobody is waited for."""
        del company_id
        return True

    def looking(self, company_id: str) -> bool:
        """No look is on its way."""
        del company_id
        return False

    def status(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {"configured": False}

    def about(self, company_id: str) -> Sequence[Mapping[str, Any]]:
        """Nothing was seen."""
        del company_id
        return ()

"""Floor 1. What a check and a gate are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from agent.event import instant
from agent.gate.facts import Facts
from agent.model import Mode


class Verdict(StrEnum):
    """What a check says. Only PASS lets a measure be applied."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    UNBUILT = "unbuilt"
    LATER = "later"


class Kind(StrEnum):
    """When a check counts; see the rules of the room."""

    STANDING = "standing"
    APPLY = "apply-only"
    HEALTH = "health"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What the code of one check returns. `kind` overrides the table's kind where the facts decide it (freezing holds)."""

    verdict: Verdict
    fr: str
    en: str
    facts: tuple[str, ...] = ()
    until: datetime | None = None
    kind: Kind | None = None

    @staticmethod
    def unbuilt() -> "Outcome":
        """The outcome of a check this version can not make."""
        return Outcome(
            verdict=Verdict.UNBUILT,
            fr="contrôle pas encore disponible dans cette version",
            en="this version can not make this check yet",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table: what is checked, on what ground, how low a policy may go, who may override."""

    code: str
    kind: Kind
    fr: str
    en: str
    rule: str
    floor: str
    override: str
    judge: Callable[[Facts], Outcome] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check, judged."""

    code: str
    kind: Kind
    verdict: Verdict
    facts: tuple[str, ...]
    fr: str
    en: str
    until: datetime | None

    def reason(self, language: str) -> str:
        """The one-line reason in French ("fr") or English."""
        return self.fr if language == "fr" else self.en


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """The whole judgement of one case at one instant. `mode` is the one in force, `owed` in the policy's currency."""

    case: str
    mode: Mode
    at: datetime
    owed: Decimal
    checks: tuple[Check, ...]
    until: datetime | None

    def of(self, *kinds: Kind) -> tuple[Check, ...]:
        """The checks of some kinds."""
        return tuple(check for check in self.checks if check.kind in kinds)

    def blocking(self, *kinds: Kind) -> tuple[Check, ...]:
        """Checks of these kinds that do not let a measure be applied; unbuilt ones are not among them."""
        return tuple(check for check in self.of(*kinds) if check.verdict not in (Verdict.PASS, Verdict.UNBUILT))

    @property
    def unbuilt(self) -> tuple[str, ...]:
        """Codes of checks that this version can not make."""
        return tuple(check.code for check in self.checks if check.verdict is Verdict.UNBUILT)

    def trace(self) -> dict[str, Any]:
        """Plain JSON for the ledger."""
        return {
            "at": instant(self.at),
            "checks": [
                {"code": c.code, "kind": c.kind.value, "verdict": c.verdict.value, "facts": list(c.facts), "fr": c.fr, "en": c.en}
                for c in self.checks
            ],
        }

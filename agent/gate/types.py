"""Floor 1. What a check and a gate are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from agent.event import instant
from agent.gate.facts import Facts
from agent.model import Mode


class Verdict(StrEnum):
    """What a check says. Only PASS lets a measure be applied."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
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


def passes(fr: str, en: str, facts: tuple[str, ...] = (), until: datetime | None = None) -> Outcome:
    """The check passes. `until`: time alone does not change that before."""
    return Outcome(verdict=Verdict.PASS, fr=fr, en=en, facts=facts, until=until)


def fails(fr: str, en: str, facts: tuple[str, ...] = (), until: datetime | None = None, kind: Kind | None = None) -> Outcome:
    """The check does not pass. `until`: time alone does not change that before."""
    return Outcome(verdict=Verdict.FAIL, fr=fr, en=en, facts=facts, until=until, kind=kind)


def unknown(fr: str, en: str, facts: tuple[str, ...] = (), until: datetime | None = None, kind: Kind | None = None) -> Outcome:
    """Nobody has said what the check needs to know, which counts as a failure."""
    return Outcome(verdict=Verdict.UNKNOWN, fr=fr, en=en, facts=facts, until=until, kind=kind)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        code: G-01 to G-27.
        kind: when it counts.
        fr, en: what is checked.
        rule: on what ground.
        floor: how low a policy, and an override, may go.
        override: who may let it pass: nobody, one approver, two persons.
        only: what an override is confined to, besides the floor; "" for nothing more.
        judge: the code.
    """

    code: str
    kind: Kind
    fr: str
    en: str
    rule: str
    floor: str
    override: Literal["no", "1p", "2p"]
    only: str
    judge: Callable[[Facts], Outcome]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check, judged. `lifted_by`: the persons whose override lets it pass."""

    code: str
    kind: Kind
    verdict: Verdict
    facts: tuple[str, ...]
    fr: str
    en: str
    until: datetime | None
    lifted_by: tuple[str, ...] = ()

    def reason(self, language: str) -> str:
        """The one-line reason in French ("fr") or English."""
        return self.fr if language == "fr" else self.en


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """The whole judgement of one case at one instant. `mode` is the one in force, `owed` in the policy's currency.

    `until`: time alone changes no check before.
    """

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
        """Checks of these kinds that do not let a measure be applied."""
        return tuple(check for check in self.of(*kinds) if check.verdict is not Verdict.PASS)

    @property
    def overridden(self) -> tuple[str, ...]:
        """Codes of the checks that pass only because persons said so."""
        return tuple(check.code for check in self.checks if check.lifted_by)

    def trace(self) -> dict[str, Any]:
        """Plain JSON for the ledger."""
        return {
            "at": instant(self.at),
            "checks": [
                {
                    "code": c.code,
                    "kind": c.kind.value,
                    "verdict": c.verdict.value,
                    "facts": list(c.facts),
                    "fr": c.fr,
                    "en": c.en,
                    **({"lifted_by": list(c.lifted_by)} if c.lifted_by else {}),
                }
                for c in self.checks
            ],
        }

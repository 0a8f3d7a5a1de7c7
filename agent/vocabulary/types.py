"""Floor 0. What an event type is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.fields import Fields, identifier, text


class Origin(StrEnum):
    """Who may state a fact of a type."""

    BILLING = "billing"
    OPERATOR = "operator"
    AGENT = "agent"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventType:
    """What a type is made of. `key`: the field that names the business object; "" means every event stands alone."""

    name: str
    origin: Origin
    key: str
    required: Fields
    optional: Fields
    about: str


def by_name(*types: EventType) -> Mapping[str, EventType]:
    """A table of types."""
    return {each.name: each for each in types}


#: Who says so, and why.
BY: Fields = {"by": text, "reason": text}

#: The same, with what the person was when speaking.
ROLE: Fields = {**BY, "role": text}

CASE: Fields = {"case": identifier}

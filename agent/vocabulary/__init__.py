"""Floor 0. The vocabulary of the ledger: every event type, who may state it, its fields.

Rules of this room:

1. `TYPES` is the only list of event types. What is not in it can not enter the ledger.
2. `key` names the business object (invoice number, tracking number, bank reference) that makes two events the same fact,
   whatever their ids.
3. A type is never changed, only added: what was said stays readable.
"""

from collections.abc import Mapping

from agent.vocabulary.billing import ABOUT_HOST, BILLING, HOLDS
from agent.vocabulary.ours import OURS
from agent.vocabulary.persons import PERSONS
from agent.vocabulary.types import EventType, Origin

__all__ = ["ABOUT_HOST", "HOLDS", "TYPES", "EventType", "Origin"]

TYPES: Mapping[str, EventType] = {**BILLING, **PERSONS, **OURS}

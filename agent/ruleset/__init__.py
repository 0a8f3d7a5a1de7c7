"""Floor 1. Services and attachments -> what belongs in the kernel: the constant structure, and one company's members.

Rules of this room:

1. Service first, customer second. The structure follows the service catalogue and changes with it; a suspension or a
   restore only adds or deletes members of plain hash sets.
2. Only services of the classes annex and extended ever get a map entry, a chain or a set. Everything else can not be
   named, so it can not be hit.
3. A base chain is the budget of every packet on the gateway: it sends each family its way, and what is outside the bounds of
   a map is not looked up. A map, a chain or a rule that nobody needs is not made.
4. A packet belongs to one service at most (`proof` refuses anything else), so a map's verdict is final: no second
   lookup for it.
5. `input`, the gateway's own addresses, knows single hosts with named ports only. A refusal of any protocol there would
   end neighbour discovery, and one of a whole prefix could hit the customer's own tunnel to the gateway.
6. Stage 4 is the exception to 1: it asks for the customer first, and lets through what is local, protected or essential before
   it refuses what is left. It is only there where it is needed.
7. In doubt the service stays on: unknown service, no subscription, narrowed class, other site, attachment not valid
   today, lease over: no member.
"""

from agent.ruleset.chains import NO_NEEDS, Needs, structure
from agent.ruleset.naming import (
    INTERFACE_BYTES,
    REFUSE,
    chain_name,
    has_family,
    interface_of,
    key_bytes,
    key_length,
    other_end,
    read_ends,
    read_key,
    set_name,
    split_key,
    stem,
)
from agent.ruleset.rest import Rest, ends_of, is_exception, not_kept_whole, places
from agent.ruleset.wanted import candidates, may_suspend, members, standing_keys

__all__ = [
    "INTERFACE_BYTES",
    "NO_NEEDS",
    "REFUSE",
    "Needs",
    "Rest",
    "candidates",
    "chain_name",
    "ends_of",
    "has_family",
    "interface_of",
    "is_exception",
    "key_bytes",
    "key_length",
    "may_suspend",
    "members",
    "not_kept_whole",
    "other_end",
    "places",
    "read_ends",
    "read_key",
    "set_name",
    "split_key",
    "standing_keys",
    "stem",
    "structure",
]

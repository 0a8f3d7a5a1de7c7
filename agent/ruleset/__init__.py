"""Floor 1. Services and attachments -> what belongs in the kernel: the constant structure, and one company's members.

Rules of this room:

1. Service first, customer second. The structure follows the service catalogue and changes with it; a suspension or a
   restore only adds or deletes members of plain hash sets.
2. Only services of the classes annex and extended ever get a map entry, a chain or a set. Everything else can not be
   named, so it can not be hit.
3. A base chain is the budget of every packet on the gateway: it sends each family its way and nothing else. A map, a
   chain or a rule that nobody needs is not made.
4. A packet belongs to one service at most (`proof` refuses anything else), so a map's verdict is final: no second
   lookup for it.
5. `input`, the gateway's own addresses, knows single hosts with named ports only. A refusal of any protocol there would
   end neighbour discovery, and one of a whole prefix could hit the customer's own tunnel to the gateway.
6. In doubt the service stays on: unknown service, no subscription, narrowed class, other site, attachment not valid
   today, lease over: no member.
"""

from agent.ruleset.chains import MAX_LISTED_PORTS, NO_NEEDS, Needs, listed_by_port, structure
from agent.ruleset.naming import (
    INTERFACE_BYTES,
    REFUSE,
    address_length,
    chain_name,
    has_family,
    interface_of,
    key_bytes,
    key_length,
    read_key,
    set_name,
    stem,
)
from agent.ruleset.wanted import candidates, may_suspend, members, places, standing_keys

__all__ = [
    "INTERFACE_BYTES",
    "MAX_LISTED_PORTS",
    "NO_NEEDS",
    "REFUSE",
    "Needs",
    "address_length",
    "candidates",
    "chain_name",
    "has_family",
    "interface_of",
    "key_bytes",
    "key_length",
    "listed_by_port",
    "may_suspend",
    "members",
    "places",
    "read_key",
    "set_name",
    "standing_keys",
    "stem",
    "structure",
]

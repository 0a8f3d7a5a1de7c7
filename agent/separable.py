"""Floor 1. Services by the address that clients see: whether this gateway can tell them apart at all, and from what.

Rules of this room:

1. Whom a client asked for is known where connections are tracked, and nowhere else. There such a service stays on.
2. What was asked for says nothing of where it leads. So what must not be hit is told to the ruleset: what local software needs,
   and every site's own network. If that is too much for a ruleset, the service stays on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from agent.model import L4, Inventory, Network, Selector, Service
from agent.policy.checks import needed

#: Addresses that are let through before anything is refused by what was asked for; more would be no small map any more.
MOST_KEPT = 4_096

#: A reason in French and English.
Why = tuple[str, str]

_UNTRACKED = (
    "TARGET_NOT_SEPARABLE : adresse avant NAT, et la passerelle ne suit pas les connexions : reste en service",
    "TARGET_NOT_SEPARABLE: an address before NAT, and the gateway tracks no connections: stays on",
)
_TOO_MUCH = (
    f"TARGET_NOT_SEPARABLE : adresse avant NAT, et plus de {MOST_KEPT} réseaux à épargner : reste en service",
    f"TARGET_NOT_SEPARABLE: an address before NAT, and more than {MOST_KEPT} networks to spare: stays on",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Separable:
    """The catalogue without what can not be told apart here (`out`: with the reason), and what the ruleset must let through for it.

    `kept`: see `ruleset.Needs`.
    """

    services: Mapping[str, Service]
    kept: tuple[Selector, ...] | None
    out: Mapping[str, Why]


def separable(services: Mapping[str, Service], inventory: Inventory, *, tracked: bool) -> Separable:
    """What of a catalogue can be told apart.

    Args:
        services: by id.
        inventory: whose sites and needs count.
        tracked: the gateway tracks connections.
    """
    if not any(service.before_nat for service in services.values()):
        return Separable(services=services, kept=None, out={})
    asked = [service for service in services.values() if service.before_nat and service.class_.suspendable]
    if not tracked:
        return _without(services, asked, None, _UNTRACKED)
    kept = _kept(inventory) if asked else ()
    if len(kept) > MOST_KEPT:
        return _without(services, asked, (), _TOO_MUCH)
    return Separable(services=services, kept=kept, out={})


def _without(services: Mapping[str, Service], asked: Iterable[Service], kept: tuple[Selector, ...] | None, why: Why) -> Separable:
    out = {service.id: (f"{service.id} : {why[0]}", f"{service.id}: {why[1]}") for service in asked}
    left = {name: replace(service, selectors=()) if name in out else service for name, service in services.items()}
    return Separable(services=left, kept=kept, out=out)


def _kept(inventory: Inventory) -> tuple[Selector, ...]:
    """Every site's own network, as few as they can be, and what local software needs."""
    four: set[IPv4Network] = set()
    six: set[IPv6Network] = set()
    for _, network in inventory.local_networks():
        if isinstance(network, IPv4Network):
            four.add(network)
        else:
            six.add(network)
    networks: list[Network] = [*collapse_addresses(four), *collapse_addresses(six)]
    local = [Selector(prefix=each, protocol=L4.ANY) for each in networks]
    needs = {
        packets
        for company in inventory.companies()
        for site in company.sites
        for dependency in site.dependencies
        for packets in needed(dependency)
    }
    return (*local, *sorted(needs, key=str))

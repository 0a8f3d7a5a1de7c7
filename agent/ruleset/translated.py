"""Floor 1, ruleset. Services at the address that clients see, where the gateway leads them to another one (destination NAT).

Rules of this module:

1. `forward` sees where a packet is led to; whom its client asked for, connection tracking knows. So it is only asked where
   connections are tracked anyway, and only for connections that were led elsewhere: everybody else pays one comparison.
2. A packet has two views: where it goes, and what was asked for. What is never cut is let through by either, before anything is
   refused by the other.
3. A packet that is one service's by the one view and another's by the other is refused to neither: it can not be told apart.
4. What was asked for says nothing of where it leads: nothing is refused in any site's own network, nor to what local software
   needs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent.model import Family, Selector, Service
from agent.rules import AskedFor, Chain, EnterTranslated, LookupService, PassAll, Rule, ServiceMap, Side
from agent.ruleset.naming import FAMILIES, chain_name
from agent.ruleset.rest import maps_of
from agent.spans import ALL_PORTS

#: Where what may not be refused by what was asked for ends.
KEPT = "kept"


@dataclass(frozen=True, kw_only=True, slots=True)
class Translated:
    """The part of a structure that is about translated connections."""

    maps: tuple[ServiceMap, ...] = ()
    chains: tuple[Chain, ...] = ()

    def first(self, service: Service, family: Family, way: Literal["to", "from"]) -> tuple[Rule, ...]:
        """What comes before anything else in the chain of a service that is known by what clients ask for."""
        if not service.before_nat:
            return ()
        far = Side.DESTINATION if way == "to" else Side.SOURCE
        return tuple(LookupService(map=m.name, family=family, side=far, ports=m.ports) for m in self.maps if m.family == family)

    def before(self, bases: Iterable[Chain]) -> tuple[Chain, ...]:
        """The base chains, with the way of translated connections in front of everything else that is forwarded."""
        enter = tuple(EnterTranslated(family=f, chain=_name(f)) for f in FAMILIES if any(c.name == _name(f) for c in self.chains))
        found = tuple(bases)
        if not enter:
            return found
        if all(chain.hook != "forward" for chain in found):
            return (Chain(name="forward", rules=enter, hook="forward"), *found)
        return tuple(replace(c, rules=(*enter, *c.rules)) if c.hook == "forward" else c for c in found)


NOTHING = Translated()


def translated(services: Mapping[str, Service], served: Sequence[tuple[Service, Family]], kept: Iterable[Selector]) -> Translated:
    """Compile it. Same arguments, in any order, give the same value.

    Args:
        services: the catalogue, by id.
        served: the services that somebody can be refused, with each family.
        kept: where packets are led that are never refused by what was asked for. What is never cut, and other services, count
            anyway.
    """
    asked = [(service, family) for service, family in served if service.before_nat]
    spared = [each for service in services.values() if not service.class_.suspendable for each in service.selectors]
    families = [family for family in FAMILIES if any(each == family for _, each in served)]
    if not asked and not any(each.before_nat for each in spared):
        return NOTHING
    plain = [
        each for service in services.values() if service.class_.suspendable for each in service.selectors if not each.before_nat
    ]
    never = sorted({each for each in spared if each.before_nat}, key=_order)
    chains = []
    for family in families:
        rules = [
            AskedFor(prefix=one.prefix, protocol=one.protocol, ports=ports, answers=answers, chain=KEPT)
            for one in never
            if one.prefix.version == family
            for ports in one.ports or (ALL_PORTS,)
            for answers in (False, True)
        ]
        rules += [
            AskedFor(
                prefix=one.prefix,
                protocol=one.protocol,
                ports=ports,
                answers=answers,
                chain=chain_name(service.id, family, "from" if answers else "to"),
            )
            for service, each in sorted(asked, key=lambda pair: pair[0].id)
            if each == family
            for one in sorted(service.selectors, key=_order)
            if one.prefix.version == family
            for ports in one.ports or (ALL_PORTS,)
            for answers in (False, True)
        ]
        if rules:
            chains.append(Chain(name=_name(family), rules=tuple(rules)))
    if not chains:
        return NOTHING
    maps = tuple(maps_of({*spared, *plain, *kept}, "kept", KEPT)) if asked else ()
    return Translated(maps=maps, chains=(*chains, Chain(name=KEPT, rules=(PassAll(),))))


def _name(family: Family) -> str:
    return f"asked{family}"


def _order(selector: Selector) -> tuple[int, int, int, str, object]:
    prefix = selector.prefix
    return prefix.version, int(prefix.network_address), prefix.prefixlen, selector.protocol.value, selector.ports

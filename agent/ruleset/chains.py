"""Floor 1, ruleset. Services and kinds of attachment -> sets, maps and chains."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from agent.model import L4, Family, Selector, Service, Shape
from agent.rules import (
    Bounds,
    CapMembers,
    Chain,
    DispatchFamily,
    LookupService,
    MemberSet,
    PassAnswers,
    PassMembers,
    PassResets,
    Refuse,
    RefuseMembers,
    Rule,
    ServiceEntry,
    ServiceMap,
    Side,
    Structure,
    Use,
)
from agent.ruleset.naming import FAMILIES, REFUSE, chain_name, has_family, set_name
from agent.ruleset.rest import NO_PATH, Path, Rest, asking, path
from agent.ruleset.translated import NOTHING, translated
from agent.spans import box_order, covers, disjoint, listed_by_port

#: For each map and direction. Every packet on the gateway pays for each (`bench/forwarding.py`: half a per cent).
MOST_BOUNDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What measures may ask for besides refusal. What no policy can need is not made.

    `cap`: a bandwidth cap. `drain`: connections that are open may go on for a while. `tracked`: the gateway tracks connections
    already, so that a rule may ask which are open. Where it does not, such a rule would make it track everybody's; there a
    drain lets everything of that customer and service through until it ends, because a doubt resolves to service on.
    `rest`: stage 4, and what it is made from. `kept`: where packets are led that are never refused by what their client asked for;
    None: nobody is refused anything by that (see `translated`).
    """

    cap: bool = False
    drain: bool = False
    tracked: bool = False
    rest: Rest | None = None
    kept: tuple[Selector, ...] | None = None

    @property
    def uses(self) -> tuple[Use, ...]:
        """The uses of sets that follow from it, for each service and shape."""
        caps = (Use.CAP_TO, Use.CAP_FROM) if self.cap else ()
        return (*caps, *((Use.DRAIN,) if self.drain else ()), Use.REFUSE)


NO_NEEDS = Needs()


def structure(services: Mapping[str, Service], shapes: Iterable[Shape], needs: Needs = NO_NEEDS) -> Structure:
    """Compile the constant part of our table. Same arguments, in any order, give the same value.

    Args:
        services: the catalogue, by id.
        shapes: the kinds of attachment in use; those of unknown or never-cut services are ignored.
        needs: what measures may ask for.
    """
    shapes = frozenset(shapes)
    rest = path(needs.rest, drain=needs.drain, tracked=needs.tracked) if needs.rest else NO_PATH
    sets: list[MemberSet] = []
    chains: list[Chain] = []
    entries: dict[tuple[str, Family, bool], list[ServiceEntry]] = {}
    served = [
        (service, family)
        for family in FAMILIES
        for service in _with_shapes(services, [s for s in shapes if s.family == family], family)
    ]
    seen = translated(services, served, needs.kept) if needs.kept is not None else NOTHING
    for family in FAMILIES:
        of_family = sorted((s for s in shapes if s.family == family), key=_longest_first)
        for service in _with_shapes(services, of_family, family):
            mine = tuple(
                MemberSet(
                    name=set_name(
                        service.id, family, shape.prefixlen, interface=shape.interface, use=use, dedicated=shape.dedicated
                    ),
                    family=family,
                    prefixlen=shape.prefixlen,
                    interface=shape.interface,
                    use=use,
                    other=None if shape.dedicated is None else (shape.dedicated, False),
                )
                for use in needs.uses
                for shape in of_family
                if shape.service == service.id and service.dedicated is (shape.dedicated is not None)
            )
            sets += mine
            for way in ("to", "from"):
                chain = _service_chain(service, family, way, mine, needs, rest)
                chains.append(replace(chain, rules=(*seen.first(service, family, way), *chain.rules)))
                for ranged in (False, True):
                    entries.setdefault((way, family, ranged), []).extend(_entries(service, family, way, ranged=ranged))
    maps = tuple(
        ServiceMap(name=_map_name(way, family, ranged=ranged), family=family, ranged=ranged, entries=tuple(found))
        for (way, family, ranged), found in sorted(entries.items(), key=lambda item: (item[0][1], item[0][0] != "to", item[0][2]))
        if found
    )
    chains += (*rest.chains, *seen.chains)
    return Structure(
        sets=(*sets, *rest.sets),
        maps=(*maps, *rest.maps, *seen.maps),
        chains=(*seen.before(_base_chains(maps, rest)), *chains, *_refuse_chain(chains)),
    )


def _longest_first(shape: Shape) -> tuple[str, int, bool, int]:
    return shape.service, -shape.prefixlen, shape.interface, -(shape.dedicated or 0)


def _map_name(way: str, family: Family, *, ranged: bool) -> str:
    return f"{way}_{'ranges' if ranged else 'hosts'}{family}"


def _with_shapes(services: Mapping[str, Service], shapes: Iterable[Shape], family: Family) -> Iterator[Service]:
    """The suspendable services that somebody of this family is connected for, ordered by id."""
    for service_id in sorted({shape.service for shape in shapes}):
        service = services.get(service_id)
        if service is not None and service.class_.suspendable and has_family(service, family):
            yield service


def _service_chain(
    service: Service, family: Family, way: Literal["to", "from"], sets: tuple[MemberSet, ...], needs: Needs, rest: Path
) -> Chain:
    """Caps before refusals: while a member moves from one to the other, a packet in between meets at least one of the two.

    The cap on what a customer receives comes before the rule that lets TCP answers through: they are what it is about.
    """
    tcp = any(s.protocol is not L4.UDP and s.prefix.version == family for s in service.selectors)
    side, cap = (Side.SOURCE, Use.CAP_TO) if way == "to" else (Side.DESTINATION, Use.CAP_FROM)
    resets = (PassResets(),) if tcp and way == "to" else ()
    answers = (PassAnswers(),) if tcp and way == "from" else ()
    return Chain(
        name=chain_name(service.id, family, way),
        rules=(
            *resets,
            *asking(CapMembers, (members for members in sets if members.use is cap), side),
            *answers,
            *asking(partial(PassMembers, established=needs.tracked), (one for one in sets if one.use is Use.DRAIN), side),
            *asking(RefuseMembers, (members for members in sets if members.use is Use.REFUSE), side),
            *rest.enter(family, side),
        ),
    )


def _base_chains(maps: tuple[ServiceMap, ...], rest: Path) -> Iterator[Chain]:
    """The two base chains and, per family, the chain of lookups behind each.

    What is for no service meets the customer-first path of stage 4, if it is there; what is for one meets it behind its service.
    """
    forward: dict[Family, tuple[Rule, ...]] = {
        family: (
            *_lookups(maps, family, Side.DESTINATION),
            *_lookups(maps, family, Side.SOURCE),
            *(rule for side in Side for rule in rest.enter(family, side)),
        )
        for family in FAMILIES
    }
    to_gateway: dict[Family, tuple[Rule, ...]] = {
        family: tuple(_lookups([m for m in maps if not m.ranged], family, Side.DESTINATION)) for family in FAMILIES
    }
    hooks: tuple[tuple[Literal["forward", "input"], dict[Family, tuple[Rule, ...]]], ...] = (
        ("forward", forward),
        ("input", to_gateway),
    )
    for hook, by_family in hooks:
        used = [family for family in FAMILIES if by_family[family]]
        if used:
            dispatch = tuple(DispatchFamily(family=family, chain=f"{hook}{family}") for family in used)
            yield Chain(name=hook, rules=dispatch, hook=hook)
            yield from (Chain(name=f"{hook}{family}", rules=by_family[family]) for family in used)


def _lookups(maps: Iterable[ServiceMap], family: Family, side: Side) -> Iterator[LookupService]:
    """Hosts before ranges; each map only for packets within the bounds of its entries, which costs others next to nothing."""
    way = "to" if side is Side.DESTINATION else "from"
    for ranged in (False, True):
        for services in maps:
            if services.name == _map_name(way, family, ranged=ranged):
                for bounds in _bounds(services):
                    yield LookupService(map=services.name, family=family, side=side, bounds=bounds)


def _bounds(services: ServiceMap) -> Iterator[Bounds]:
    """Few boxes that hold all entries of a map."""
    for prefix in covers((entry.prefix for entry in services.entries), MOST_BOUNDS):
        low, high = int(prefix.network_address), int(prefix.broadcast_address)
        ports = [entry.ports for entry in services.entries if low <= int(entry.prefix.network_address) <= high]
        yield Bounds(prefix=prefix, ports=(min(first for first, _ in ports), max(last for _, last in ports)))


def _refuse_chain(chains: list[Chain]) -> Iterator[Chain]:
    if chains:
        yield Chain(name=REFUSE, rules=(Refuse(tcp=True), Refuse(tcp=False)))


# --- map entries ------------------------------------------------------------------------------------------------------


def _entries(service: Service, family: Family, way: Literal["to", "from"], *, ranged: bool) -> Iterator[ServiceEntry]:
    chain = chain_name(service.id, family, way)
    selectors = [
        s for s in service.selectors if not s.before_nat and s.prefix.version == family and listed_by_port(s) is not ranged
    ]
    if ranged:
        boxes = disjoint(selectors)
    else:
        boxes = {(s.prefix, s.protocol, (port, port)) for s in selectors for low, high in s.ports for port in range(low, high + 1)}
    for prefix, protocol, ports in sorted(boxes, key=box_order):
        yield ServiceEntry(prefix=prefix, protocol=protocol, ports=ports, chain=chain)

"""Floor 1, proof. Stage 4: that all which must be let through was, before what is left is refused."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from agent.ends import PROTOCOLS, Claim, End, Index, Span, common, index, span_of, touching
from agent.errors import ProofFailed
from agent.model import Company, Family, Links, Network, Service, Site
from agent.proof.paths import Box, packet_text
from agent.rules import (
    Element,
    Essential,
    Key,
    LookupService,
    MemberSet,
    PassEssential,
    PassPairs,
    ServiceMap,
    Side,
    Structure,
    Use,
)
from agent.ruleset import key_bytes, not_kept_whole, other_end, places


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """A set whose members lose all that was not let through before; `pairs`: the sets of pairs that are asked on every path."""

    members: MemberSet
    pairs: Mapping[str, MemberSet] = field(default_factory=dict)


class Leftovers:
    """What was found about the sets of stage 4 so far. Lives as long as one proof."""

    def __init__(self, structure: Structure, claims: Mapping[Family, Index]) -> None:
        self.found: dict[str, Leftover] = {}
        self._claims = claims
        self._sets = {members.name: members for members in structure.sets}
        self._maps = {services.name: services for services in structure.maps}
        self._indexes: dict[str, Mapping[Family, Index]] = {}

    def look(self, box: Box) -> None:
        """Judge one path that ends in a refusal of stage 4.

        Raises:
            ProofFailed: something protected or essential was not let through before.
        """
        assert box.set is not None
        self._prove_essential(box)
        end, far = box.service_end, Side.DESTINATION if box.side is Side.SOURCE else Side.SOURCE
        lookups = [rule for rule in box.passed if isinstance(rule, LookupService) and rule.side is far]
        for claim in touching(end, self._claims):
            if claim.owner is None:
                left = [piece] if (piece := common(claim.end, end)) else []
                for rule in lookups:
                    left = [part for one in left for part in self._without(one, rule.map)]
                if left:
                    what = f"traffic of {claim.name}, which may never be hit, could be refused at stage 4"
                    raise ProofFailed(what=what, witness=packet_text(box, left[0]))
        pairs = {rule.set for rule in box.passed if isinstance(rule, PassPairs) and rule.side is box.side}
        known = {name: self._sets[name] for name in pairs if name in self._sets and self._sets[name].use is Use.PAIR}
        before = self.found.get(box.set)
        if before is not None:
            known = {name: members for name, members in known.items() if name in before.pairs}
        self.found[box.set] = Leftover(members=self._sets[box.set], pairs=known)

    def _prove_essential(self, box: Box) -> None:
        passed = {(rule.what, rule.side) for rule in box.passed if isinstance(rule, PassEssential) and rule.family == box.family}
        for what in Essential:
            if not any((what, side) in passed for side in Side) or (
                what is Essential.PORTS and not all((what, side) in passed for side in Side)
            ):
                raise ProofFailed(what=f"essential traffic ({what}) could be refused at stage 4", witness=packet_text(box, None))

    def _without(self, end: End, map_name: str) -> Iterator[End]:
        """What of `end` no entry of a map lets through."""
        if map_name not in self._indexes:
            self._indexes[map_name] = index(entries_of(self._maps[map_name]))
        yield from without(end, self._indexes[map_name])


def without(end: End, claims: Mapping[Family, Index]) -> list[End]:
    """What of `end` nobody claims."""
    left = [end]
    for spared in touching(end, claims):
        left = [part for one in left for part in _less(one, spared.end)]
    return left


def entries_of(services: ServiceMap) -> Iterator[Claim]:
    """The entries of a map as claims of nobody."""
    for entry in services.entries:
        yield Claim(End(services.family, PROTOCOLS[entry.protocol], span_of(entry.prefix), entry.ports), entry.chain, None)


def _less(end: End, cut: End) -> Iterator[End]:
    """`end` without `cut`, as boxes."""
    inner = common(end, cut)
    if inner is None:
        yield end
        return
    for low, high in _outside(end.protocol, inner.protocol):
        yield end._replace(protocol=(low, high))
    for low, high in _outside(end.address, inner.address):
        yield end._replace(protocol=inner.protocol, address=(low, high))
    for low, high in _outside(end.ports, inner.ports):
        yield inner._replace(ports=(low, high))


def _outside(span: Span, inner: Span) -> Iterator[Span]:
    """What of `span` is below and above `inner`."""
    if span[0] < inner[0]:
        yield span[0], inner[0] - 1
    if inner[1] < span[1]:
        yield inner[1] + 1, span[1]


# --- members ----------------------------------------------------------------------------------------------------------


def prove_rest(
    elements: Sequence[Element],
    company: Company,
    services: Collection[str],
    catalogue: Mapping[str, Service],
    leftovers: Mapping[str, Leftover],
    links: Links,
) -> None:
    """May these elements of stage 4 be added? All that a place stays connected with must come with it, and last longer.

    Args:
        elements: everything that is to be added for the company in one transaction.
        company: the debtor.
        services: ids of the services that living measures on everything remote name; none where there is no such measure.
        catalogue: every service by id.
        leftovers: the sets of stage 4 that were proven.
        links: the links that are there.

    Raises:
        ProofFailed: no measure reaches so far, the place is not the company's or none of the services is delivered there, or
            the site would lose something it must keep.
    """
    lasting = {Key(set=e.set, key=e.key): e.timeout_ms for e in elements}
    for element in elements:
        leftover = leftovers.get(element.set)
        if leftover is None:
            continue
        sites = [site for site in company.sites if _is_at(element, leftover.members, site, links)]
        fault = ""
        if not services:
            fault = "is of stage 4, and no measure is on everything remote"
        elif named := not_kept_whole(company, catalogue):
            fault = f"would lose {named[0]}, which company {company.id} must keep and which is not known by its addresses alone"
        elif not sites:
            fault = f"is no attachment of company {company.id}"
        elif not any(_delivered(company, site, services, catalogue) for site in sites):
            fault = "is at a site where no service of the measure is delivered"
        elif element.timeout_ms <= 0:
            fault = "would stay without an end of the lease"
        else:
            kept = (other for site in sites for other in _kept(company, site, catalogue, links))
            fault = next(
                (f"would lose {o[0]}, which its site must keep" for o in kept if not _keeps(leftover, element, o, lasting)), ""
            )
        if fault:
            raise ProofFailed(what=f"an element of {element.set} {fault}", witness=f"key {element.key.hex()}")


def _keeps(leftover: Leftover, element: Element, other: tuple[Network, str | None], lasting: Mapping[Key, int]) -> bool:
    """True if the pair of a member's place with another end is in a set that is asked on every path, and lasts longer than it."""
    if other[0].version != leftover.members.family:
        return True
    shape, behind = other_end(*other)
    own = (leftover.members.family, leftover.members.prefixlen, leftover.members.interface, shape)
    return any(
        (members.family, members.prefixlen, members.interface, members.other) == own
        and lasting.get(Key(set=name, key=element.key + behind), 0) > element.timeout_ms
        for name, members in leftover.pairs.items()
    )


def _is_at(element: Element, members: MemberSet, site: Site, links: Links) -> bool:
    return any(
        (network.version, network.prefixlen, interface is not None) == (members.family, members.prefixlen, members.interface)
        and key_bytes(network, interface) == element.key
        for attachment in site.attachments
        for network, interface in places(attachment, links)
    )


def _delivered(company: Company, site: Site, services: Collection[str], catalogue: Mapping[str, Service]) -> bool:
    return any(
        subscription.service in services
        and subscription.service in catalogue
        and catalogue[subscription.service].class_.suspendable
        and (subscription.class_ is None or subscription.class_.suspendable)
        and (not subscription.sites or site.id in subscription.sites)
        for subscription in company.subscriptions
    )


def _kept(company: Company, site: Site, catalogue: Mapping[str, Service], links: Links) -> Iterable[tuple[Network, str | None]]:
    """The site itself, what its software needs, and the services that this company has in a class that is never cut."""
    every = Links(members=links.members)
    for attachment in site.attachments:
        yield from places(attachment, every)
    for dependency in site.dependencies:
        yield ip_network(dependency.probe.address), None
    for subscription in company.subscriptions:
        if subscription.class_ is not None and not subscription.class_.suspendable and subscription.service in catalogue:
            for selector in catalogue[subscription.service].selectors:
                yield selector.prefix, None

"""Floor 1. Checks of values against each other: what could be hit that must not be.

Rules of this room:

1. A packet is looked at as the kernel will: address, protocol, port; IPv4 and IPv6 alike. Two selectors that share one
   packet *meet*, and a suspendable service may meet nothing that stays on.
2. What the kernel can not tell apart is refused here, not resolved by order of rules.
3. Prefixes nest or are disjoint, so one sort and one walk with a stack finds every overlap; nothing here compares
   all pairs, whatever the number of customers.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import NamedTuple

from agent.model import L4, Dependency, Network, Ports, Selector, Service, ServiceClass, Subscription
from agent.policy.problems import Code, Problems, Wrong

_MAX_SHOWN = 8


class Place(NamedTuple):
    """Where something was written."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A service with the places of its selectors."""

    service: Service
    place: Place
    selectors: tuple[Place, ...]


# --- classes ----------------------------------------------------------------------------------------------------


def effective_class(service: Service, subscription: Subscription) -> ServiceClass:
    """The class of a service for one company: the subscription's, where it has one of its own."""
    return subscription.class_ or service.class_


def widens(service: ServiceClass, subscription: ServiceClass) -> bool:
    """True if a subscription would make its service easier to suspend: never-cut > extended > annex."""

    def ease(class_: ServiceClass) -> int:
        return {ServiceClass.ANNEX: 2, ServiceClass.EXTENDED: 1}.get(class_, 0)

    return ease(subscription) > ease(service)


def delivered(service: Service, subscription: Subscription) -> Service:
    """The service as one company has it: of a dedicated one, its own addresses within what the service delivers."""
    if not service.dedicated:
        return service
    own = tuple(
        replace(selector, prefix=address)
        for address in subscription.addresses
        for selector in service.selectors
        if address.version == selector.prefix.version and address.subnet_of(selector.prefix)  # type: ignore[arg-type]
    )
    return replace(service, selectors=own)


# --- selectors --------------------------------------------------------------------------------------------------


def selectors_meet(one: Selector, other: Selector) -> bool:
    """True if one packet can match both."""
    return (
        (one.protocol is other.protocol or L4.ANY in (one.protocol, other.protocol))
        and _ports_meet(one.ports, other.ports)
        and one.prefix.version == other.prefix.version
        and one.prefix.overlaps(other.prefix)
    )


def _ports_meet(one: tuple[Ports, ...], other: tuple[Ports, ...]) -> bool:
    if not one or not other:
        return True
    return any(low <= high2 and low2 <= high for low, high in one for low2, high2 in other)


def needed(dependency: Dependency) -> tuple[Selector, ...]:
    """The packets a dependency is reached by.

    An echo probe says only which host is needed, so it stands for every packet to that host: the doubt keeps service on.
    """
    probe = dependency.probe
    prefix = _host(dependency)
    if probe.kind == "icmp":
        return (Selector(prefix=prefix, protocol=L4.ANY),)
    ports = ((probe.port, probe.port),) if probe.port is not None else ()
    protocols = {"udp": (L4.UDP,), "dns": (L4.UDP, L4.TCP)}.get(probe.kind, (L4.TCP,))
    return tuple(Selector(prefix=prefix, protocol=protocol, ports=ports) for protocol in protocols)


def dependency_hits(dependency: Dependency, services: Iterable[Service]) -> Iterator[Wrong]:
    """What is wrong with each service whose suspension would hit a dependency, and a narrower selector where one is simple."""
    packets = needed(dependency)
    for service in services:
        for selector in service.selectors:
            if any(selectors_meet(selector, packet) for packet in packets):
                target = f"{selector.prefix} of service {service.id}"
                what = f"{dependency.needed_by} needs {dependency.probe.address}, which is in {target}"
                yield Wrong(
                    Code.DEPENDENCY_HIT,
                    what,
                    f"{_narrower(selector, dependency)} Or give this company's subscription to {service.id} `class: D`.",
                )
                break


def _narrower(selector: Selector, dependency: Dependency) -> str:
    """Advice: the prefixes that are left of a selector without the dependency's host."""
    host = _host(dependency)
    if selector.prefix == host:
        return f"Take {host.network_address} out of the service, or limit the service to the ports it really needs."
    rest = sorted(selector.prefix.address_exclude(host))  # type: ignore[arg-type]  # one family on both sides
    if len(rest) > _MAX_SHOWN:
        return f"Name the service's own addresses instead of {selector.prefix}."
    return f"Replace {selector.prefix} by {', '.join(str(each) for each in rest)}."


def _host(dependency: Dependency) -> Network:
    return ip_network(dependency.probe.address)


class _Target(NamedTuple):
    """A selector as the walk over all of them sorts it."""

    family: int
    first: int
    last_negated: int
    service: str
    selector: int


def check_services(services: Mapping[str, Written], problems: Problems) -> None:
    """Note every suspendable selector that meets a protected service, or another selector that is suspendable.

    Two suspendable services that share a packet can not be suspended one without the other, so a measure could be wider
    than what was announced.
    """
    targets = sorted(
        _Target(
            selector.prefix.version,
            int(selector.prefix.network_address),
            -int(selector.prefix.broadcast_address),
            service_id,
            index,
        )
        for service_id, written in services.items()
        for index, selector in enumerate(written.service.selectors)
    )
    around: list[_Target] = []
    for target in targets:
        while around and (around[-1].family != target.family or -around[-1].last_negated < target.first):
            around.pop()
        for outer in around:
            _check_pair(services, outer, target, problems)
        around.append(target)


def _check_pair(services: Mapping[str, Written], outer: _Target, inner: _Target, problems: Problems) -> None:
    # The one that is suspendable is at fault; between two of them, the one whose id sorts last.
    kept, target = sorted((outer, inner), key=lambda each: (services[each.service].service.class_.suspendable, each.service))
    one, other = services[target.service], services[kept.service]
    selector, stays = one.service.selectors[target.selector], other.service.selectors[kept.selector]
    if not one.service.class_.suspendable or not selectors_meet(selector, stays):
        return
    what = f"{selector.prefix} of service {one.service.id} meets {stays.prefix} of "
    if target.service == kept.service:
        code, what, mend = Code.TARGET_NOT_SEPARABLE, what + "the same service", "Name each packet once."
    elif other.service.class_.suspendable:
        code, what = Code.TARGET_NOT_SEPARABLE, what + f"service {other.service.id} ({other.selectors[kept.selector]})"
        mend = "Give them addresses or ports of their own: one could not be suspended without the other."
    else:
        code, what = Code.PROTECTED_HIT, what + f"{other.service.id}, which is never cut ({other.selectors[kept.selector]})"
        mend = "Narrow the prefix, the protocol or the ports, so that no packet belongs to both."
    place = one.selectors[target.selector]
    problems.add(file=place.file, line=place.line, code=code, what=what, mend=mend)


class Reach:
    """Everything that any suspension could ever touch, merged, so that 100 000 sites are checked by bisection."""

    def __init__(self, services: Iterable[Service]) -> None:
        found: dict[int, list[tuple[int, int, str]]] = {4: [], 6: []}
        for service in services:
            if service.class_.suspendable:
                for selector in service.selectors:
                    prefix = selector.prefix
                    found[prefix.version].append((int(prefix.network_address), int(prefix.broadcast_address), service.id))
        self._spans = {family: _merged(sorted(spans, key=lambda span: (span[0], -span[1]))) for family, spans in found.items()}
        self._lasts = {family: [last for _, last, _ in spans] for family, spans in self._spans.items()}

    def hit(self, prefix: Network) -> str | None:
        """The id of a suspendable service with an address inside `prefix`, or around it; None if there is none."""
        at = bisect_left(self._lasts[prefix.version], int(prefix.network_address))
        spans = self._spans[prefix.version]
        if at < len(spans) and spans[at][0] <= int(prefix.broadcast_address):
            return spans[at][2]
        return None


def _merged(spans: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    merged: list[tuple[int, int, str]] = []
    for span in spans:
        if not merged or merged[-1][1] < span[0]:
            merged.append(span)  # outer ones come first, and prefixes nest: what begins inside the last one ends inside it
    return merged


# --- dedicated addresses ----------------------------------------------------------------------------------------


class Own(NamedTuple):
    """Addresses of a dedicated service that are one company's own, as the walk over all of them sorts them."""

    family: int
    first: int
    last_negated: int
    company: str
    service: str
    network: Network
    place: Place


def shared(dedicated: Iterable[Own]) -> Iterator[tuple[Own, Own]]:
    """Each entry that shares an address with one before it, with that one. No two services share one, so neither do their parts."""
    widest: Own | None = None
    for one in sorted(dedicated, key=lambda own: own[:5]):
        if widest is not None and widest.family == one.family and one.first <= -widest.last_negated:
            yield one, widest
        else:
            widest = one


# --- attachments ------------------------------------------------------------------------------------------------


class Placed(NamedTuple):
    """An attachment as the walk over all of them sorts it: outer prefixes before the ones inside them.

    `interface` is "" where there is none, or the name of a link, VRFs included: they share one space of names. `start` and
    `end` are ordinals of the first and the last day it is valid.
    """

    family: int
    first: int
    last_negated: int
    interface: str
    start: int
    end: int
    company: str
    file: str
    line: int

    @property
    def whole_link(self) -> bool:
        """True for everything behind a link: no prefix a file may name begins at address 0 and is as long."""
        return self.first == 0 and self.last_negated == (-(2**32 - 1) if self.family == 4 else -(2**128 - 1))


def overlaps(placed: Iterable[Placed]) -> Iterator[tuple[Placed, Placed]]:
    """Each attachment that a packet could match together with an earlier one, with one such earlier one.

    An attachment without interface matches on every interface, so it overlaps those that have one. The same prefix
    behind two interfaces is normal: customers reuse the same private space. A whole link overlaps what is behind that link and
    nothing else: a prefix that was given without a link is known not to be there.

    Args:
        placed: attachments in any order.

    Yields:
        (the one that is reported, the one it overlaps). Sorting costs n log n; the walk is linear as long as few
        attachments have the same prefix and interface one after the other in time.
    """
    around: dict[str, list[Placed]] = {"": []}
    anywhere: list[Placed] = []  # all that have an interface
    for one in sorted(placed):
        same = _enclosing(around.setdefault(one.interface, []), one)
        nowhere, behind = _enclosing(around[""], one), _enclosing(anywhere, one)
        other: list[Placed] = [] if one.whole_link else nowhere if one.interface else behind
        met = next((each for stack in (same, other) for each in stack if each.start <= one.end and one.start <= each.end), None)
        if met is not None:
            yield one, met
        same.append(one)
        if one.interface and not one.whole_link:
            behind.append(one)


def _enclosing(stack: list[Placed], one: Placed) -> list[Placed]:
    """Drop from a stack what ended before `one` begins. What is left holds it, if that is done before each append."""
    while stack and (stack[-1].family != one.family or -stack[-1].last_negated < one.first):
        stack.pop()
    return stack

"""Floor 1. Services by DNS name: which addresses a name stands for now, and which of them may be refused at all.

Rules of this room:

1. An answer is a fact of somebody else's, so it is believed only as far as it harms nobody: an address that anything protected
   has, that lies in a site's own network, that another service has, or that is no address of a host, is left out and reported.
2. Two services by name that come to one address can not be told apart: it is refused to neither of them.
3. The last answer counts until its time is over, and for a while longer if nobody answers. A name that is said not to exist
   stands for nothing from then on. What stands for nothing is not suspended.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network

from agent.model import Address, Company, Named, Network, Selector, Service
from agent.policy.checks import dependency_hits, selectors_meet

#: Seconds an answer counts at least and at most, whatever it says of itself: a name is asked about no more and no less often.
LEAST_S, MOST_S = 30.0, 3600.0

#: So long the last answer outlives its time while nobody answers, in seconds.
KEEP_S = 3600.0

#: Addresses of one name that are looked at; more is no service but a mistake.
MOST_ADDRESSES = 64

#: A reason in French and English.
Why = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a name stands for, and until when that was promised (UNIX seconds, UTC)."""

    addresses: tuple[Address, ...]
    until: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What the resolver said of a name just now, for `ttl` seconds; no address: the name stands for nothing."""

    addresses: tuple[Address, ...] = ()
    ttl: float = 0.0


Answers = Mapping[str, Answer]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """The catalogue with addresses instead of names; `out`: what of the names can not be refused now, with the reason."""

    services: Mapping[str, Service]
    out: Mapping[str, Why]


def names_of(services: Mapping[str, Service]) -> tuple[str, ...]:
    """Every name that a service is known by."""
    return tuple(sorted({named.name for service in services.values() for named in service.names}))


def after(answers: Answers, names: Iterable[str], heard: Mapping[str, Heard], now: float) -> dict[str, Answer]:
    """The answers that count from now on.

    Args:
        answers: those that counted until now.
        names: the names in use; others are forgotten.
        heard: what was heard; a name that is missing got no answer.
        now: UNIX seconds (UTC).
    """
    found: dict[str, Answer] = {}
    for name in names:
        said, before = heard.get(name), answers.get(name)
        if said is None:
            if before is not None and now < before.until + KEEP_S:
                found[name] = before
        elif said.addresses:
            addresses = tuple(sorted(set(said.addresses), key=lambda each: (each.version, int(each))))[:MOST_ADDRESSES]
            found[name] = Answer(addresses=addresses, until=now + min(max(said.ttl, LEAST_S), MOST_S))
    return found


def resolve(
    services: Mapping[str, Service],
    answers: Answers,
    protected: Iterable[tuple[str, Selector]],
    local: Iterable[tuple[str, Network]],
) -> Resolved:
    """Put addresses where services have names.

    Args:
        services: the catalogue, by id.
        answers: what each name stands for.
        protected: selectors that may never be hit, each with a name for messages.
        local: every site's own networks, each with the site's id; read once, and only if there is an address to compare.
    """
    asked = [
        (service.id, named, Selector(prefix=ip_network(address), protocol=named.protocol, ports=named.ports))
        for service in services.values()
        for named in service.names
        for address in (answers[named.name].addresses if named.name in answers else ())
    ]
    out: dict[str, Why] = {
        named.name: (f"{named.name} : pas d'adresse connue", f"{named.name}: no known address")
        for service in services.values()
        for named in service.names
        if named.name not in answers
    }
    if not asked:
        return Resolved(services=services, out=out)
    fixed = [*protected, *((service.id, selector) for service in services.values() for selector in service.selectors)]
    inside = _inside({selector.prefix for _, _, selector in asked}, local)
    taken: dict[str, list[Selector]] = {}
    for service_id, named, selector in asked:
        why = _why_not(service_id, selector, fixed, asked, inside)
        if why is None:
            taken.setdefault(service_id, []).append(selector)
        else:
            address = selector.prefix.network_address
            out[f"{named.name} {address}"] = (f"{named.name} : {address} {why[0]}", f"{named.name}: {address} {why[1]}")
    found = {
        name: replace(service, selectors=(*service.selectors, *dict.fromkeys(taken[name]))) if name in taken else service
        for name, service in services.items()
    }
    return Resolved(services=found, out=out)


def without_needed(company: Company, services: Mapping[str, Service]) -> Mapping[str, Service]:
    """The catalogue without what a company's own local software needs: the files were checked for it, answers can not be.

    Args:
        company: the debtor.
        services: the catalogue with addresses.
    """
    dependencies = [each for site in company.sites for each in site.dependencies]
    own = [one for one in company.subscriptions if one.class_ is None or one.class_.suspendable]
    named = [services[one.service] for one in own if one.service in services and services[one.service].names]
    hit = {service.id for service in named for each in dependencies if any(dependency_hits(each, [service]))}
    return {name: service for name, service in services.items() if name not in hit} if hit else services


def _why_not(
    service_id: str,
    selector: Selector,
    fixed: Iterable[tuple[str, Selector]],
    asked: Iterable[tuple[str, Named, Selector]],
    inside: Mapping[Network, str],
) -> Why | None:
    """Why an address that a name came to may not be refused."""
    address = selector.prefix.network_address
    if not _is_host(address):
        return "n'est pas l'adresse d'un serveur", "is no server's address"
    if selector.prefix in inside:
        where = inside[selector.prefix]
        return f"est dans le réseau du site {where}", f"is in the own network of site {where}"
    for owner, other in fixed:
        if owner != service_id and selectors_meet(selector, other):
            return f"est aussi à {owner}", f"is {owner}'s too"
    for owner, _, other in asked:
        if owner != service_id and selectors_meet(selector, other):
            return f"est aussi à {owner}", f"is {owner}'s too"
    return None


def _is_host(address: Address) -> bool:
    mapped = address.version == 6 and address.ipv4_mapped is not None
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or mapped
        or address.is_reserved
    )


def _inside(hosts: Iterable[Network], local: Iterable[tuple[str, Network]]) -> Mapping[Network, str]:
    """Which of these addresses lie in a site's own network, and in whose."""
    sorted_hosts = {version: sorted((each for each in hosts if each.version == version), key=_first) for version in (4, 6)}
    firsts = {version: [_first(each) for each in found] for version, found in sorted_hosts.items()}
    found: dict[Network, str] = {}
    for site, network in local:
        at = bisect_left(firsts[network.version], _first(network))
        while at < len(firsts[network.version]) and firsts[network.version][at] <= int(network.broadcast_address):
            found[sorted_hosts[network.version][at]] = site
            at += 1
    return found


def _first(network: Network) -> int:
    return int(network.network_address)

"""Floor 1, ruleset. One company's measure -> the elements that belong in the sets; and all that could be there of it."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import partial

from agent.model import ANY_LINKS, Attachment, Company, Family, Links, Service, StandingKey, Subscription, Terms
from agent.rules import Element, Key, Use
from agent.ruleset import rest
from agent.ruleset.chains import NO_NEEDS, Needs
from agent.ruleset.naming import has_family, key_bytes, set_name

_DAY_MS = 86_400_000
_PLAIN_TERMS = Terms()


def may_suspend(service: Service, subscription: Subscription) -> bool:
    """True if neither the service nor this company's subscription to it is of a class that is never cut."""
    return service.class_.suspendable and (subscription.class_ is None or subscription.class_.suspendable)


def members(
    company: Company,
    services: Iterable[str],
    case: str,
    timeout_ms: int,
    catalogue: Mapping[str, Service],
    today: date,
    *,
    day_ends_ms: int | None = None,
    terms: Terms = _PLAIN_TERMS,
    links: Links = ANY_LINKS,
) -> tuple[Element, ...]:
    """The elements that one measure wants for one company: sorted, each once, both families.

    Args:
        company: the debtor.
        services: ids of the services to suspend.
        case: becomes the comment of each element.
        timeout_ms: what is left of the lease, in milliseconds; nothing is wanted of a lease that is over.
        catalogue: every service by id.
        today: an attachment counts from its `valid_from` to its `valid_to`, both days included.
        day_ends_ms: milliseconds until `today` ends, by the same calendar; with it, no element outlives its attachment.
        terms: how the measure takes effect; nothing is wanted of one that only gives notice (stage 1). `drain_ms` is what is left
            of the draining at this moment.
        links: the links that are there; nothing is wanted behind one that is not.
    """
    if terms.stage == 1:
        return ()
    wanted: dict[Key, Element] = {}
    reached: dict[tuple[str, Attachment], int] = {}
    for service_id in services:
        service, subscription = catalogue.get(service_id), company.subscription(service_id)
        if service is None or subscription is None or not may_suspend(service, subscription):
            continue
        for site, attachment in company.attachments():
            left_ms = _left(attachment, timeout_ms, today, day_ends_ms)
            if (subscription.sites and site.id not in subscription.sites) or left_ms <= 0:
                continue
            reached[site.id, attachment] = left_ms
            for use, most_ms in _uses(terms):
                for key in _keys(service, subscription, attachment, links, use):
                    kbit = terms.kbit if use.caps else 0
                    _want(
                        wanted, Element(set=key.set, key=key.key, case=case, timeout_ms=min(left_ms, most_ms or left_ms), kbit=kbit)
                    )
    if terms.stage == 4:
        for element in _rest(company, reached, case, catalogue, links, terms.drain_ms):
            _want(wanted, element)
    return tuple(wanted[key] for key in sorted(wanted))


def _left(attachment: Attachment, timeout_ms: int, today: date, day_ends_ms: int | None) -> int:
    """What is left of the lease at one attachment, in milliseconds."""
    if not _valid(attachment, today):
        return 0
    if day_ends_ms is None or attachment.valid_to is None:
        return timeout_ms
    return min(timeout_ms, day_ends_ms + (attachment.valid_to - today).days * _DAY_MS)


def _want(wanted: dict[Key, Element], element: Element) -> None:
    """Two attachments of one place: of two leases the one that ends first, of two exceptions the one that lasts."""
    key = Key(set=element.set, key=element.key)
    before = wanted.get(key)
    if before is None or (element.timeout_ms > before.timeout_ms) == rest.is_exception(element.set):
        wanted[key] = element


def _rest(
    company: Company,
    reached: Mapping[tuple[str, Attachment], int],
    case: str,
    catalogue: Mapping[str, Service],
    links: Links,
    drain_ms: int,
) -> Iterator[Element]:
    """Stage 4 at every attachment where one of the measure's services is delivered, with what is left of its lease."""
    every = Links(members=links.members)  # a network whose link is gone may come by another one
    for site in company.sites if not rest.not_kept_whole(company, catalogue) else ():
        here = tuple(placed for attachment in site.attachments for placed in rest.places(attachment, every))
        others = rest.spared_of(company, site, catalogue, here)
        for attachment in site.attachments:
            left_ms = reached.get((site.id, attachment), 0)
            for placed in rest.places(attachment, links) if left_ms else ():
                yield from rest.elements(placed, others, case=case, timeout_ms=left_ms, drain_ms=drain_ms)


def _uses(terms: Terms) -> Iterator[tuple[Use, int]]:
    """The sets a measure is in, each with the milliseconds after which it leaves it by itself (0: with the lease)."""
    if terms.stage == 2 and terms.kbit:
        yield Use.CAP_TO, 0
        yield Use.CAP_FROM, 0
    else:
        yield Use.REFUSE, 0
        if terms.drain_ms > 0:
            yield Use.DRAIN, terms.drain_ms


def standing_keys(company: Company, catalogue: Mapping[str, Service]) -> tuple[StandingKey, ...]:
    """What `members` would want for a measure on every service, where the day has no say in it.

    Empty for a company with a dated attachment, one behind a VRF, whose members come and go, or one with a service that is known
    by name or by an address before NAT. Made once when an inventory is compiled: to load 100 000 measures from these takes a
    fraction of what it takes to read the companies.
    """
    if any(attachment.valid_from or attachment.valid_to or attachment.vrf for _, attachment in company.attachments()):
        return ()
    known = [catalogue[one.service] for one in company.subscriptions if one.service in catalogue]
    if any(service.names or service.before_nat for service in known):
        return ()
    return tuple(
        sorted(
            (subscription.service, element.set, element.key)
            for subscription in company.subscriptions
            for element in members(company, (subscription.service,), "", 1, catalogue, date.min)
        )
    )


def candidates(
    company: Company, catalogue: Mapping[str, Service], links: Links = ANY_LINKS, needs: Needs = NO_NEEDS
) -> tuple[Key, ...]:
    """Every key this company could have in the kernel, of every kind: all that must be read to bring it to what is wanted.

    Attachments out of date, sites left out and narrowed subscriptions count too, and links that are gone: their members must go
    if they are there.

    Args:
        company: the company.
        catalogue: every service by id.
        links: the members of each VRF; whether a link is present does not matter.
        needs: what the structure was compiled for.
    """
    every = Links(members=links.members)
    found = {
        key
        for subscription in company.subscriptions
        if (service := catalogue.get(subscription.service)) is not None and service.class_.suspendable
        for _, attachment in company.attachments()
        for use in needs.uses
        for key in _keys(service, subscription, attachment, every, use)
    }
    if needs.rest is not None:
        for site in company.sites:
            here = tuple(placed for attachment in site.attachments for placed in rest.places(attachment, every))
            others = rest.spared_of(company, site, catalogue, here)
            found.update(key for placed in here for key in rest.keys(placed, others, drain=needs.drain))
    return tuple(sorted(found))


def _valid(attachment: Attachment, today: date) -> bool:
    started = attachment.valid_from is None or attachment.valid_from <= today
    return started and (attachment.valid_to is None or today <= attachment.valid_to)


def _keys(service: Service, subscription: Subscription, attachment: Attachment, links: Links, use: Use) -> Iterator[Key]:
    """One key a place or, of a dedicated service, one for each of the company's own addresses."""
    if service.before_nat and attachment.prefix is None:
        return  # whether the service is led back into the site can not be seen where nobody knows the site's networks
    for network, interface in rest.places(attachment, links):
        family: Family = 4 if network.version == 4 else 6
        if not has_family(service, family):
            continue
        name = partial(set_name, service.id, family, network.prefixlen, interface=interface is not None, use=use)
        near = key_bytes(network, interface)
        if not service.dedicated:
            yield Key(set=name(), key=near)
            continue
        for own in subscription.addresses:
            if own.version == family:
                yield Key(set=name(dedicated=own.prefixlen), key=near + own.network_address.packed)

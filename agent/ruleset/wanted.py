"""Floor 1, ruleset. One company's measure -> the elements that belong in the sets; and all that could be there of it."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date

from agent.model import ANY_LINKS, Attachment, Company, Family, Links, Network, Service, StandingKey, Subscription, Terms
from agent.rules import Element, Key, Use
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
    for service_id in services:
        service, subscription = catalogue.get(service_id), company.subscription(service_id)
        if service is None or subscription is None or not may_suspend(service, subscription):
            continue
        for site, attachment in company.attachments():
            if (subscription.sites and site.id not in subscription.sites) or not _valid(attachment, today):
                continue
            left_ms = timeout_ms
            if day_ends_ms is not None and attachment.valid_to is not None:
                left_ms = min(left_ms, day_ends_ms + (attachment.valid_to - today).days * _DAY_MS)
            for use, most_ms in _uses(terms) if left_ms > 0 else ():
                for key in _keys(service, attachment, links, use):
                    before = wanted.get(key)  # two attachments of one place: the lease that ends first
                    until_ms = min(left_ms, most_ms or left_ms, before.timeout_ms if before else left_ms)
                    kbit = terms.kbit if use.caps else 0
                    wanted[key] = Element(set=key.set, key=key.key, case=case, timeout_ms=until_ms, kbit=kbit)
    return tuple(wanted[key] for key in sorted(wanted))


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

    Empty for a company with a dated attachment, or one behind a VRF, whose members come and go. Made once when an inventory is
    compiled: to load 100 000 measures from these takes a fraction of what it takes to read the companies.
    """
    if any(attachment.valid_from or attachment.valid_to or attachment.vrf for _, attachment in company.attachments()):
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
    services = [catalogue[s.service] for s in company.subscriptions if s.service in catalogue]
    return tuple(
        sorted(
            {
                key
                for service in services
                if service.class_.suspendable
                for _, attachment in company.attachments()
                for use in needs.uses
                for key in _keys(service, attachment, every, use)
            }
        )
    )


def _valid(attachment: Attachment, today: date) -> bool:
    started = attachment.valid_from is None or attachment.valid_from <= today
    return started and (attachment.valid_to is None or today <= attachment.valid_to)


def places(attachment: Attachment, links: Links) -> Iterator[tuple[Network, str | None]]:
    """Every network and interface name by which packets of `attachment` are told from others'."""
    names = (None,) if attachment.link is None else links.names(attachment)
    for network in attachment.networks:
        for name in names:
            yield network, name


def _keys(service: Service, attachment: Attachment, links: Links, use: Use) -> Iterator[Key]:
    for network, interface in places(attachment, links):
        family: Family = 4 if network.version == 4 else 6
        if has_family(service, family):
            name = set_name(service.id, family, network.prefixlen, interface=interface is not None, use=use)
            yield Key(set=name, key=key_bytes(network, interface))

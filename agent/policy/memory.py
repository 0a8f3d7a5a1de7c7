"""Floor 1. The inventory of a small set, all in memory: for simulation, for tests, and to compare the stored one with.

Rule of this room: it answers exactly like the stored inventory; it only holds everything at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from agent.model import Attachment, Company, Ends, Family, Network, Policy, Selector, Service, Shape, StandingKey, Subscription
from agent.policy.checks import effective_class
from agent.ruleset import ends_of, standing_keys
from agent.stages import EXTENDED, REMOTE


class _Set(Protocol):
    @property
    def services(self) -> Mapping[str, Service]: ...
    @property
    def policies(self) -> Mapping[str, Policy]: ...
    @property
    def companies(self) -> Mapping[str, Company]: ...
    @property
    def digest(self) -> str: ...


class MemoryInventory:
    """`model.Inventory` over a loaded set."""

    def __init__(self, loaded: _Set) -> None:
        self._loaded = loaded
        self._shapes = frozenset(
            shape for company in loaded.companies.values() for shape in company_shapes(company, loaded.services)
        )
        self._ends = frozenset(
            ends for company in loaded.companies.values() for ends in company_ends(company, loaded.services, loaded.policies)
        )
        self._billing = {
            (source, customer): company.id
            for company in loaded.companies.values()
            for source, customer in company.billing_ids.items()
        }

    @property
    def digest(self) -> str:
        """SHA-256 over the files it was made from."""
        return self._loaded.digest

    @property
    def services(self) -> Mapping[str, Service]:
        """Every service by id."""
        return self._loaded.services

    @property
    def policies(self) -> Mapping[str, Policy]:
        """Every policy by id."""
        return self._loaded.policies

    @property
    def shapes(self) -> frozenset[Shape]:
        """The set kinds that the attachments and subscriptions of all companies need."""
        return self._shapes

    @property
    def ends(self) -> frozenset[Ends]:
        """What stays connected with what, of companies whose policy may take everything remote."""
        return self._ends

    def company(self, company_id: str) -> Company | None:
        """One company, or None."""
        return self._loaded.companies.get(company_id)

    def companies(self) -> Iterator[Company]:
        """All companies, ordered by id."""
        for _, company in sorted(self._loaded.companies.items()):
            yield company

    def count(self) -> int:
        """How many companies there are."""
        return len(self._loaded.companies)

    def prefix_count(self, company_ids: Sequence[str] | None = None) -> int:
        """The prefixes of these companies (None: of all), each company's counted by itself."""
        chosen = self.companies() if company_ids is None else filter(None, map(self.company, company_ids))
        return sum(company.prefix_count() for company in chosen)

    def standing_keys(self, company_ids: Sequence[str]) -> Mapping[str, Sequence[StandingKey]]:
        """What a measure could name in the kernel, of those companies of which that is the same on every day."""
        known = ((name, self._loaded.companies.get(name)) for name in company_ids)
        keys = ((name, standing_keys(company, self.services)) for name, company in known if company is not None)
        return {name: found for name, found in keys if found}

    def behind(self, links: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The companies with an attachment behind each of these links; links that nobody is behind are left out."""
        found: dict[str, list[str]] = {}
        for company in self.companies():
            for name in sorted({each.link for _, each in company.attachments() if each.link in links}, key=str):
                found.setdefault(str(name), []).append(company.id)
        return found

    def links(self) -> Iterator[Attachment]:
        """The links that somebody is behind, as attachments without a prefix; each once."""
        named = {(each.interface, each.vrf) for company in self.companies() for _, each in company.attachments() if each.link}
        for interface, vrf in sorted(named, key=str):
            yield Attachment(interface=interface, vrf=vrf)

    def by_billing_id(self, source: str, customer_id: str) -> str | None:
        """The company that billing source `source` calls `customer_id`."""
        return self._billing.get((source, customer_id))

    def local_networks(self) -> Iterator[tuple[str, Network]]:
        """Every attachment's prefix with its site (`company/site`), for the proof."""
        for company in self.companies():
            for site, attachment in company.attachments():
                if attachment.prefix is not None:
                    yield f"{company.id}/{site.id}", attachment.prefix

    def protected_selectors(self) -> Iterator[tuple[str, Selector]]:
        """Every selector of a service that is never cut, with the service's id, for the proof."""
        return protected_selectors(self.services)


def protected_selectors(services: Mapping[str, Service]) -> Iterator[tuple[str, Selector]]:
    """Every selector of a service that is never cut, with the service's id."""
    for service in services.values():
        if not service.class_.suspendable:
            for selector in service.selectors:
                yield service.id, selector


def company_ends(company: Company, services: Mapping[str, Service], policies: Mapping[str, Policy]) -> Iterator[Ends]:
    """What one company would stay connected with, if its policy may take everything remote from it at all."""
    policy = policies.get(company.policy)
    if policy is not None and EXTENDED in policy.stages and policy.stage4_extent == REMOTE:
        yield from ends_of(company, services)


def company_shapes(company: Company, services: Mapping[str, Service]) -> Iterator[Shape]:
    """The set kinds that suspending everything suspendable of one company would need.

    Every attachment counts, also one that is not valid yet: a day's change must not change the structure.
    """
    for subscription in company.subscriptions:
        service = services.get(subscription.service)
        if service is None or not effective_class(service, subscription).suspendable:
            continue
        for site, attachment in company.attachments():
            if not subscription.sites or site.id in subscription.sites:
                for network in attachment.networks:
                    family: Family = 4 if network.version == 4 else 6
                    for dedicated in _dedicated_lengths(service, subscription, family):
                        yield Shape(
                            service=service.id,
                            family=family,
                            prefixlen=network.prefixlen,
                            interface=attachment.link is not None,
                            dedicated=dedicated,
                        )


def _dedicated_lengths(service: Service, subscription: Subscription, family: Family) -> tuple[int | None, ...]:
    """The prefix lengths of the company's own addresses; (None,) of a service that is the same for everybody."""
    if not service.dedicated:
        return (None,)
    return tuple({own.prefixlen for own in subscription.addresses if own.version == family})

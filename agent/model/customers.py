"""Floor 0, model. Who is delivered to, where they are connected, and what of theirs must keep working."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from agent.model.services import EVERY_ADDRESS, Address, Network, ServiceClass


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """Where a company is connected: a prefix, a prefix behind a link of the gateway, or everything behind a link.

    `interface` or `vrf` is the link's name (one of them at most); None where the prefix is unique. `prefix` None: every address
    of both families behind the link.
    """

    prefix: Network | None = None
    interface: str | None = None
    vrf: str | None = None
    valid_from: date | None = None
    valid_to: date | None = None

    @property
    def link(self) -> str | None:
        """The name of the link it is behind, if it names one."""
        return self.interface if self.vrf is None else self.vrf

    @property
    def networks(self) -> tuple[Network, ...]:
        """Its addresses; without a prefix, every address of both families."""
        return EVERY_ADDRESS if self.prefix is None else (self.prefix,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """The gateway's links as far as elements may name them now.

    `present`: names that stand for the link the inventory means; None where nobody looks at a gateway (files, simulation), and
    every name counts. `members`: the links of each VRF.
    """

    present: frozenset[str] | None = None
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def names(self, attachment: Attachment) -> tuple[str, ...]:
        """The interface names its packets carry: the link's own and, of a VRF, also those of its members.

        A packet that comes out of a VRF carries the name of the VRF; one that goes into it carries the member's, or the VRF's
        where the route leads to the VRF itself. Empty for a link that is not there, or is no VRF where one is meant, and for an
        attachment without one.
        """
        link = attachment.link
        if link is None or not self.has(link) or (attachment.vrf and self.present is not None and link not in self.members):
            return ()
        return (link, *(name for name in self.members.get(link, ()) if self.has(name)))

    def has(self, name: str) -> bool:
        """True if elements may name this link."""
        return self.present is None or name in self.present


#: Where nobody looks at a gateway: every link counts as present.
ANY_LINKS = Links()


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """How to see that something answers: a TCP connect, a TLS handshake, a UDP exchange, an HTTP status, a DNS answer, an echo.

    `name`: what a DNS probe asks for, or the server name a TLS probe gives.
    """

    kind: Literal["tcp", "tls", "udp", "http", "dns", "icmp"]
    address: Address
    port: int | None = None
    path: str | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalApplication:
    """Software whose client and server are on the same site; it must keep working whatever is suspended."""

    name: str
    probe: Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependency:
    """A remote thing a local application needs. It can not be hit: `policy` refuses targets that contain it."""

    name: str
    needed_by: str
    probe: Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A physical network place of one company.

    `control`: something on the site that is no application (its router), which tells an outage of the whole site from others.
    """

    id: str
    timezone: str
    attachments: tuple[Attachment, ...]
    local_applications: tuple[LocalApplication, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    control: Probe | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """Company x service. `class_` narrows the service's class for this company; `sites` empty means all sites.

    `addresses`: what of a dedicated service is this company's own.
    """

    service: str
    class_: ServiceClass | None = None
    justification: str = ""
    sites: tuple[str, ...] = ()
    paid_through: date | None = None
    monthly_fee: Decimal | None = None
    addresses: tuple[Network, ...] = ()


class Protected(StrEnum):
    """Statuses that forbid an automatic suspension (gate check G-15)."""

    CONSUMER = "consumer"
    NATURAL_PERSON = "natural_person"
    PUBLIC_BODY = "public_body"
    CARE = "care"
    REGULATED = "regulated"
    INDIRECT = "indirect_customers"
    SOLE_REVENUE = "sole_revenue_channel"


@dataclass(frozen=True, kw_only=True, slots=True)
class Company:
    """A legal entity: unit of debt, notice, hold and measure. Its group owes nothing and is never a target."""

    id: str
    name: str
    group: str
    policy: str
    contract: str
    registration: str = ""
    language: Literal["fr", "en"] = "fr"
    sites: tuple[Site, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    protected: tuple[Protected, ...] = ()
    billing_ids: Mapping[str, str] = field(default_factory=dict)

    def attachments(self) -> Iterator[tuple[Site, Attachment]]:
        """Every attachment with the site it belongs to."""
        for site in self.sites:
            for attachment in site.attachments:
                yield site, attachment

    def prefix_count(self) -> int:
        """How many different prefixes (or whole links) it is connected with: its weight in limits."""
        return len({attached.prefix or attached.link for _, attached in self.attachments()})

    def subscription(self, service: str) -> Subscription | None:
        """The subscription to `service`, if the company has one."""
        return next((s for s in self.subscriptions if s.service == service), None)

"""Floor 0. The nouns of the field: who owes, what is delivered, where it is attached.

Rules of this room:

1. Frozen, keyword-only values; no behaviour beyond what a noun knows of itself.
2. Addresses are `ipaddress` objects, money is `Decimal` with a currency, time is an aware `datetime`.
3. Names come from the trade: a *company* (legal entity) owes, an *attachment* is where it is connected, a *service*
   is what the provider delivers; *suspend* and *restore* are the only two verbs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Literal, Protocol

Family = Literal[4, 6]
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

#: Every address of a family: what an attachment without a prefix has behind its link.
EVERY_ADDRESS: tuple[Network, Network] = (IPv4Network((0, 0)), IPv6Network((0, 0)))

#: One inclusive port range.
Ports = tuple[int, int]


class ServiceClass(StrEnum):
    """The closed list of service classes. Only A and X may ever be suspended."""

    LOCAL = "L"
    DEPENDENCY = "D"
    EMERGENCY = "E"
    PAY = "P"
    RECOVERY = "R"
    ANNEX = "A"
    EXTENDED = "X"

    @property
    def suspendable(self) -> bool:
        """True for annex and extended services; every other class is never cut."""
        return self in (ServiceClass.ANNEX, ServiceClass.EXTENDED)


class Mode(StrEnum):
    """How far a policy, or the whole host, may go by itself. Ordered: observe < approve < auto."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"

    @property
    def rank(self) -> int:
        """Position in the order, for taking the lower of two modes."""
        return ("observe", "approve", "auto").index(self.value)


class L4(StrEnum):
    """Transport protocol of a selector. `ANY` has no ports and matches every IP protocol."""

    TCP = "tcp"
    UDP = "udp"
    ANY = "any"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selector:
    """Destination side of a service: prefix, protocol, ports (inclusive ranges; empty means all)."""

    prefix: Network
    protocol: L4
    ports: tuple[Ports, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """Destination side of a service by DNS name: what it is reached at is asked for while the agent runs."""

    name: str
    protocol: L4
    ports: tuple[Ports, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """What the provider delivers: business meaning and network selectors.

    `class_` bounds what may happen to it: a subscription may only move it towards never-cut. `delivered_by` says whose service
    it is: only the provider's own may be withheld (gate check G-02). `dedicated`: each customer has addresses of its own within
    the selectors, which its subscription names, and loses these alone.
    """

    id: str
    class_: ServiceClass
    selectors: tuple[Selector, ...]
    name_fr: str = ""
    name_en: str = ""
    delivered_by: Literal["provider", "customer", "third_party"] = "provider"
    names: tuple[Named, ...] = ()
    dedicated: bool = False


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Hours of the week, site time. `days`: Monday is 0; `end` excluded, and where it is not after `start` that of the next day."""

    days: tuple[int, ...]
    start: time
    end: time


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """A suspension policy: values a deployment publishes. Floors are kept by the loader (`policy`).

    Amounts are in `currency`; days are calendar days counted as CPC 641-642 counts them; shares are per cent. Each value, its
    floor and its source: docs/POLICY.md.
    """

    id: str
    profile: str
    mode: Mode
    currency: str = "EUR"
    holidays: str = "FR"
    # whose gateway withholds ("" while nobody has said so)
    enforcement_point: Literal["", "provider", "customer"] = ""
    # the debt
    min_days_overdue: int = 30
    min_debt: Decimal = Decimal(500)
    min_debt_months: int = 1
    # what was asked
    min_reminders: int = 3
    reminder_spacing_days: int = 7
    notice_channels: tuple[str, ...] = ("lrar", "lre_q", "commissaire_de_justice")
    notice_days: int = 15
    reopen_notice_days: int = 8
    notice_max_age_days: int = 90
    warning_days: int = 2
    # proportion
    confine_to_unpaid_service: bool = True
    stages: tuple[int, ...] = (3,)
    stage2_min_debt: Decimal = Decimal(0)
    stage2_min_days: int = 30
    stage2_kbit: int = 512
    effective_hours: tuple[Window, ...] = ()
    stage3_min_debt: Decimal = Decimal(0)
    stage3_min_days: int = 30
    stage4_min_debt: Decimal = Decimal(2000)
    stage4_min_days: int = 60
    suspension_clause: str = ""
    drain_minutes: int = 0
    waive_gentler_stages: str = ""
    grace_on_announced: bool = True
    max_suspension_days: int = 30
    # the moment
    windows: tuple[Window, ...] = (Window(days=(0, 1, 2, 3), start=time(9), end=time(15)),)
    blackout_dates: tuple[date, ...] = ()
    no_eve_of_holiday: bool = True
    # what must be known to be so
    feed_max_age_minutes: int = 15
    insolvency_max_age_hours: int = 24
    clock_max_age_minutes: int = 15
    clock_max_offset_ms: int = 1000
    preflight_baseline_hours: int = 24
    preflight_max_age_hours: int = 24
    lease_minutes: int = 240
    # persons
    approvals: int = 2
    approval_valid_days: int = 15
    # how many at once
    max_new_per_hour: int = 5
    max_new_per_day: int = 5
    max_share_of_companies: int = 20
    max_share_of_prefixes: int = 20
    canaries: int = 2
    canary_minutes: int = 30
    wave: int = 20
    # a public body: where each of the three conditions is recorded (CE, 8 Oct 2014, 370644)
    public_clause: str = ""
    public_mission: str = ""
    public_opposition: str = ""
    digest: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A kind of set the ruleset needs: one service, one family, one prefix length, with or without interface.

    A length of 0, always with an interface: everything behind it. `dedicated`: prefix length of the part of a dedicated service.
    """

    service: str
    family: Family
    prefixlen: int
    interface: bool
    dedicated: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """How one measure takes effect at the gateway.

    `stage`: 1 notice only (nothing is refused), 2 restricted, 3 annex services suspended, 4 extended remote services suspended
    (everything but local and protected traffic). `kbit`: the bandwidth cap of stage 2 in kbit/s, for each attachment and each
    direction; 0: the services are refused, and who orders it keeps the hours. `drain_ms`: so long connections that are open
    already may go on; 0: they end with their next packet.
    """

    stage: Literal[1, 2, 3, 4] = 3
    kbit: int = 0
    drain_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """How an order takes effect: its terms and, unless always, in which hours of site time.

    `terms.drain_ms` is what open connections have from the moment it takes effect.
    """

    terms: Terms = field(default_factory=Terms)
    hours: tuple[Window, ...] = ()


#: Annex services refused, always, open connections cut: what there was before there were stages.
PLAIN: Final = Effect()


#: Service, member set and key of an element that a company could have in the kernel on any day.
StandingKey = tuple[str, str, bytes]


class Inventory(Protocol):
    """Who is connected where and subscribed to what, as one validated whole with a digest.

    Small in memory whatever its size: companies are looked up one by one.
    """

    @property
    def digest(self) -> str:
        """SHA-256 over the files it was made from."""

    @property
    def services(self) -> Mapping[str, Service]:
        """Every service by id."""

    @property
    def policies(self) -> Mapping[str, Policy]:
        """Every policy by id."""

    @property
    def shapes(self) -> frozenset[Shape]:
        """The set kinds that the attachments and subscriptions of all companies need."""

    def company(self, company_id: str) -> Company | None:
        """One company, or None."""

    def companies(self) -> Iterator[Company]:
        """All companies, ordered by id."""

    def count(self) -> int:
        """How many companies there are."""

    def prefix_count(self, company_ids: Sequence[str] | None = None) -> int:
        """The prefixes of these companies (None: of all), each company's counted by itself."""

    def standing_keys(self, company_ids: Sequence[str]) -> Mapping[str, Sequence[StandingKey]]:
        """What a measure could name in the kernel, of those companies of which that is the same on every day.

        Names of interfaces are as the files give them: whether the link is there is seen to by who uses the keys.
        """

    def behind(self, links: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The companies with an attachment behind each of these links; links that nobody is behind are left out."""

    def links(self) -> Iterator[Attachment]:
        """The links that somebody is behind, as attachments without a prefix; each once."""

    def by_billing_id(self, source: str, customer_id: str) -> str | None:
        """The company that billing source `source` calls `customer_id`."""

    def local_networks(self) -> Iterator[tuple[str, Network]]:
        """Every site's own networks, with the site's name for messages; read once by the proof."""

    def protected_selectors(self) -> Iterator[tuple[str, Selector]]:
        """Everything that may never be hit: selectors of never-cut services and declared dependencies, with names."""

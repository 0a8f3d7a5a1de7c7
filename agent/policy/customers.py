"""Floor 1. The `customers:` part of a file, and JSON Lines: who is connected where, and subscribed to what.

Rules of this room:

1. group -> company -> sites -> attachments. The group is a name and nothing else: it owes nothing and is no target.
2. A company is checked against the services as it is read, so that an inventory of any size passes through as a stream.
3. What spans companies (ids, billing ids, attachments) gathers in `Population`, and is judged when the stream ends.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from ipaddress import ip_network

from agent.model import (
    Attachment,
    Company,
    Dependency,
    LocalApplication,
    Network,
    Policy,
    Probe,
    Protected,
    Service,
    ServiceClass,
    Site,
    Subscription,
)
from agent.policy import kinds
from agent.policy.checks import Own, Place, Placed, Reach, delivered, dependency_hits, effective_class, overlaps, shared, widens
from agent.policy.nodes import Table
from agent.policy.problems import Code, Problems, Wrong, quote


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """What companies refer to.

    `service_id` and `policy_id` are the kinds of a reference. They also take the id of an entry that has a problem
    itself, and any id when a file could not be read at all: one fault gives one message.
    """

    services: Mapping[str, Service]
    policies: Mapping[str, Policy]
    service_id: Callable[[str], str]
    policy_id: Callable[[str], str]
    reach: Reach


@dataclass(kw_only=True, slots=True)
class Population:
    """What must be judged over all companies at once. It grows while companies stream by."""

    companies: dict[str, Place] = field(default_factory=dict)
    billing: dict[tuple[str, str], str] = field(default_factory=dict)
    placed: list[Placed] = field(default_factory=list)
    dedicated: list[Own] = field(default_factory=list)

    def note_own(self, company: str, service: str, addresses: tuple[Network, ...], place: Place) -> None:
        """Keep what of a dedicated service is a company's own."""
        for own in addresses:
            bounds = int(own.network_address), -int(own.broadcast_address)
            self.dedicated.append(Own(own.version, *bounds, company, service, own, place))

    def check_overlaps(self, problems: Problems) -> None:
        """Note every two attachments that one packet could match, and every address dedicated twice."""
        for mine, theirs in shared(self.dedicated):
            what = f"{mine.network} of service {mine.service} is dedicated to company {theirs.company} ({theirs.place})"
            mend = "Give each customer addresses of its own: one could not be suspended without the other."
            problems.add(file=mine.place.file, line=mine.place.line, code=Code.TARGET_NOT_SEPARABLE, what=what, mend=mend)
        told: set[tuple[str, int, str]] = set()
        for one, met in overlaps(self.placed):
            what = f"{_text(one)} of company {one.company} overlaps {_text(met)} of company {met.company} ({met.file}:{met.line})"
            mend = "Give both an interface of their own, or periods that do not meet: one packet must belong to one attachment."
            if (one.file, one.line, what) not in told:  # a whole link meets in both families
                told.add((one.file, one.line, what))
                problems.add(file=one.file, line=one.line, code=Code.OVERLAP, what=what, mend=mend)


def _text(placed: Placed) -> str:
    if placed.whole_link:
        return f"everything behind {placed.interface}"
    size = 32 if placed.family == 4 else 128
    network = kinds.network(placed.family, placed.first, size - (-placed.last_negated - placed.first).bit_length())
    return f"{network} behind {placed.interface}" if placed.interface else str(network)


def read_company(company_id: str, group: str, table: Table, catalogue: Catalogue, population: Population) -> Company | None:
    """One company, checked against the catalogue and noted in the population; None after a problem."""
    name = table.need("name", kinds.words)
    policy = table.need("policy", catalogue.policy_id)
    contract = table.need("contract", kinds.words)
    registration = table.may("registration", kinds.words, "")
    language = table.may("language", kinds.one_of("fr", "en"), "fr")
    protected = table.many("protected", kinds.choice(Protected))
    billing_ids = table.mapping("billing_ids", kinds.ident, kinds.foreign_id)
    site_id = kinds.known("site", table.names("sites"))

    def read_subscription(service: str, below: Table) -> Subscription | None:
        return _subscription(company_id, service, below, site_id, catalogue, population)

    subscriptions = table.named("subscriptions", read_subscription)
    sites = table.named("sites", _Sites(company_id, subscriptions, catalogue, population).read)
    _check_unique(company_id, billing_ids, table, population)
    if not table.done():
        return None
    return Company(
        id=company_id,
        name=name,
        group=group,
        policy=policy,
        contract=contract,
        registration=registration,
        language="fr" if language == "fr" else "en",
        sites=sites,
        subscriptions=subscriptions,
        protected=protected,
        billing_ids=billing_ids,
    )


def _check_unique(company_id: str, billing_ids: Mapping[str, str], table: Table, population: Population) -> None:
    place = Place(table.file, table.line)
    first = population.companies.setdefault(company_id, place)
    if first is not place:
        table.report(
            table.line, Code.DUPLICATE_ID, f"company {company_id} exists already ({first})", "Give each company an id of its own."
        )
    for source, customer in billing_ids.items():
        owner = population.billing.setdefault((source, customer), company_id)
        if owner != company_id:
            what = f"{source} customer {quote(customer)} is company {owner} already"
            mend = "A billing customer is one company; correct one of the two."
            table.report(table.line_of("billing_ids"), Code.DUPLICATE_ID, what, mend, key=f"billing_ids.{source}")


def _subscription(
    company_id: str, service_id: str, table: Table, site_id: Callable[[str], str], catalogue: Catalogue, population: Population
) -> Subscription | None:
    _known(service_id, catalogue.service_id, table)
    class_ = table.may("class", kinds.choice(ServiceClass), None)
    justification = table.may("justification", kinds.words, "")
    sites = table.many("sites", site_id)
    paid_through = table.may("paid_through", kinds.day, None)
    monthly_fee = table.may("monthly_fee", kinds.money, None)
    addresses = table.many("addresses", kinds.prefix)
    service = catalogue.services.get(service_id)
    if service and class_ and widens(service.class_, class_):
        what = f"class {class_} is easier to suspend than the service's own class {service.class_}"
        mend = "A subscription may only move a service towards never-cut; change the class of the service itself if it is wrong."
        table.report(table.line_of("class"), Code.WIDER_CLASS, what, mend, key="class")
    if service:
        _check_own(service, class_ or service.class_, addresses, table)
    if not table.done():
        return None
    population.note_own(company_id, service_id, addresses, Place(table.file, table.line_of("addresses")))
    return Subscription(
        service=service_id,
        class_=class_,
        justification=justification,
        sites=sites,
        paid_through=paid_through,
        monthly_fee=monthly_fee,
        addresses=addresses,
    )


def _check_own(service: Service, class_: ServiceClass, addresses: tuple[Network, ...], table: Table) -> None:
    """The company's own addresses of a dedicated service: within what the service delivers; of another service there are none."""
    if not service.dedicated:
        if addresses:
            what = f"service {service.id} is the same for everybody"
            mend = f"Remove the addresses, or write `dedicated: true` at service {service.id}."
            table.report(table.line_of("addresses"), Code.BAD_VALUE, what, mend, key="addresses")
        return
    if not addresses and class_.suspendable:
        what, mend = (
            f"addresses is missing: service {service.id} is dedicated",
            "Add `addresses: [192.0.2.77, ...]`, or `class: D`.",
        )
        table.report(table.line, Code.MISSING, what, mend)
    for own in addresses:
        pool = (selector.prefix for selector in service.selectors if selector.prefix.version == own.version)
        if not any(own.subnet_of(prefix) for prefix in pool):  # type: ignore[arg-type]  # of one family
            what, mend = f"{own} is not within service {service.id}", "Correct it, or add its prefix to the service's selectors."
            table.report(table.line_of("addresses"), Code.BAD_VALUE, what, mend, key="addresses")


# --- sites ------------------------------------------------------------------------------------------------------


class _Sites:
    """Reads the sites of one company, knowing what may be suspended there."""

    def __init__(self, company: str, subscriptions: tuple[Subscription, ...], catalogue: Catalogue, population: Population) -> None:
        self._company = company
        self._catalogue = catalogue
        self._population = population
        known = [
            (each, delivered(catalogue.services[each.service], each))
            for each in subscriptions
            if each.service in catalogue.services
        ]
        self._targets = [(each, service) for each, service in known if effective_class(service, each).suspendable]

    def read(self, site_id: str, table: Table) -> Site | None:
        timezone = table.need("timezone", kinds.timezone)
        attachments = table.each("attachments", self._attachment)
        placed = table.sound
        applications = table.named("local_applications", _application)
        control = _control(table, attachments, placed=placed)
        if placed:
            _check_local(applications, attachments, self._catalogue.reach, table)
        services = [service for subscription, service in self._targets if not subscription.sites or site_id in subscription.sites]
        application = kinds.known("local application", table.names("local_applications"))
        dependencies = table.named("dependencies", lambda name, below: _dependency(name, below, application, services))
        if not table.done():
            return None
        return Site(
            id=site_id,
            timezone=timezone,
            attachments=attachments,
            local_applications=applications,
            dependencies=dependencies,
            control=control,
        )

    def _attachment(self, table: Table) -> Attachment:
        prefix = table.may("prefix", kinds.prefix, None)
        interface = table.may("interface", kinds.interface, None)
        vrf = table.may("vrf", kinds.interface, None)
        valid_from = table.may("valid_from", kinds.day, None)
        valid_to = table.may("valid_to", kinds.day, None)
        if table.sound and valid_from and valid_to and valid_to < valid_from:
            table.report(
                table.line_of("valid_to"), Code.BAD_VALUE, "ends before it begins", "valid_to is the last day.", key="valid_to"
            )
        if table.sound and interface and vrf:
            what, mend = "has an interface and a VRF", "Name the VRF where all of it is the customer's, or else the interface."
            table.report(table.line_of("vrf"), Code.BAD_VALUE, what, mend, key="vrf")
        if table.sound and not (prefix or interface or vrf):
            what, mend = "names neither a prefix nor a link", "Add `prefix: ...`, `interface: ...` or `vrf: ...`."
            table.report(table.line, Code.MISSING, what, mend)
        attachment = Attachment(prefix=prefix, interface=interface, vrf=vrf, valid_from=valid_from, valid_to=valid_to)
        if table.sound and prefix is not None:
            hit = self._catalogue.reach.hit(prefix)
            if hit is not None:
                what = f"{prefix} meets service {hit}, which can be suspended: traffic inside the site could be refused"
                mend = f"Give service {hit} addresses outside every site, or a class that is never cut."
                table.report(table.line_of("prefix"), Code.SITE_HIT, what, mend, key="prefix")
        if table.done():
            self._population.placed += [
                Placed(
                    family=network.version,
                    first=int(network.network_address),
                    last_negated=-int(network.broadcast_address),
                    interface=attachment.link or "",
                    start=(valid_from or date.min).toordinal(),
                    end=(valid_to or date.max).toordinal(),
                    company=self._company,
                    file=table.file,
                    line=table.line_of("prefix") if prefix is not None else table.line,
                )
                for network in attachment.networks
            ]
        return attachment


def _known(text: str, kind: Callable[[str], str], table: Table) -> None:
    try:
        kind(text)
    except Wrong as wrong:
        table.wrong(wrong)


def _application(name: str, table: Table) -> LocalApplication | None:
    probe = _probe(table)
    return LocalApplication(name=name, probe=probe) if table.done() else None


def _control(table: Table, attachments: tuple[Attachment, ...], *, placed: bool) -> Probe | None:
    """What tells an outage of the whole site from one of an application; it must be on the site too."""
    below = table.below("control")
    if below is None:
        return None
    probe = _probe(below)
    if not below.done():
        return None
    if placed and not any(probe.address in network for attachment in attachments for network in attachment.networks):
        what = f"{probe.address} is on none of the site's attachments, so it says nothing about the site"
        below.report(
            below.line_of("address"), Code.NOT_LOCAL, what, "Give an address of the site, such as its router.", key="address"
        )
    return probe


def _check_local(
    applications: tuple[LocalApplication, ...], attachments: tuple[Attachment, ...], reach: Reach, table: Table
) -> None:
    for application in applications:
        address = application.probe.address
        hit = reach.hit(ip_network(address))
        if not any(address in network for attachment in attachments for network in attachment.networks):
            what = f"{address} is on none of the site's attachments, so it is not local"
        elif hit is not None:  # behind a whole link every address is the site's own
            what = f"{address} is an address of service {hit}, which can be suspended, so it is not local"
        else:
            continue
        mend = "Correct the address, or declare it under `dependencies:`."
        below = table.below("local_applications")
        line = below.line_of(application.name) if below else table.line
        table.report(line, Code.NOT_LOCAL, what, mend, key=f"local_applications.{application.name}")


def _dependency(name: str, table: Table, application: Callable[[str], str], services: list[Service]) -> Dependency | None:
    needed_by = table.need("needed_by", application)
    probe = _probe(table)
    if not table.done():
        return None
    dependency = Dependency(name=name, needed_by=needed_by, probe=probe)
    for hit in dependency_hits(dependency, services):
        table.wrong(hit)
    return dependency


def _probe(table: Table) -> Probe:
    kind = table.need("probe", kinds.one_of("tcp", "tls", "udp", "http", "dns", "icmp"))
    address = table.need("address", kinds.address)
    usual = {"tls": 443, "http": 80, "dns": 53}.get(kind)
    port = table.may("port", kinds.between(1, 65535), usual)
    path = table.may("path", kinds.words, None)
    name = table.may("name", kinds.words, None)
    if table.sound:
        if kind in {"tcp", "udp"} and port is None:
            table.report(table.line, Code.MISSING, f"port is missing for a {kind} probe", "Add `port: ...`.")
        for key, value, fits in (
            ("port", port, kind != "icmp"),
            ("path", path, kind == "http"),
            ("name", name, kind in {"dns", "tls"}),
        ):
            if value is not None and not fits:
                table.report(table.line_of(key), Code.BAD_VALUE, f"a {kind} probe has no {key}", "Remove it.", key=key)
    return Probe(kind=kind, address=address, port=port, path=path, name=name)  # type: ignore[arg-type]  # one of the six, or unsound

"""Floor 4, demo. The stage: from the example policies to namespaces, wires and listeners.

Rules of this room:

1. Everything follows the files in `policies/`: the interfaces and subnets of each site, its local applications, the addresses
   and ports of each service. Only what the files do not say is chosen here: host numbers, the provider's and the biller's wire.
2. Each company has a node where people work and a node with its ERP. Where a site has a subnet for each, the gateway routes
   between them; else both share one subnet and local traffic never leaves the site.
3. The biller and the provider are nodes of their own: what they send crosses a wire.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

import agent
from agent.errors import ConfigError, Problem
from agent.lab import End, Endpoint, Link, Node, Route, Topology
from agent.model import L4, Attachment, Company, Service, ServiceClass
from agent.policy import Loaded, load

Protocol = Literal["tcp", "udp"]

GATEWAY, PROVIDER, BILLER = "gw", "provider", "biller"

#: Where the gateway listens for webhooks, and the biller's own address on that wire.
DOOR, BILLER_ADDRESS = "203.0.113.1", "203.0.113.2"
DOOR_PORT = 8440

#: A port for services that take every port.
ANY_PORT = 5060

#: How the tables are ordered: what may be suspended comes last.
_ORDER = tuple(ServiceClass(letter) for letter in "LPEDRXA")

_PROVIDER_WIRE = ("10.255.0.1", "fd00:255::1"), ("10.255.0.2", "fd00:255::2")
_PEOPLE, _BESIDE = 10, 11  # host numbers: where people work, and that node's foot on the wire to an ERP beside it


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Something a company uses: `addresses` are its IPv4 and its IPv6 address. `class_` is LOCAL for what is on site."""

    name: str
    class_: ServiceClass
    protocol: Protocol
    ports: tuple[int, ...]
    addresses: tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One company on the stage. `people` and `erp` are nodes; `local` is what runs on site."""

    company: Company
    people: str
    erp: str
    local: tuple[Target, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """The whole scene: what the laboratory builds, who stands where, what the provider delivers."""

    policies: Path
    loaded: Loaded
    topology: Topology
    sites: Mapping[str, Site]
    services: tuple[Target, ...]

    def targets(self, company: str) -> tuple[Target, ...]:
        """Everything a company uses, what is on site first."""
        return (*self.sites[company].local, *self.services)

    def listeners(self) -> dict[str, tuple[Endpoint, ...]]:
        """The ports to open, by node."""
        found = {PROVIDER: tuple(_endpoints(self.services))}
        return found | {site.erp: tuple(_endpoints(site.local)) for site in self.sites.values()}


def stage() -> Stage:
    """Set the scene from the example policies of this checkout.

    Raises:
        ConfigError: the files are not there, or they are wrong.
    """
    policies = Path(agent.__file__).resolve().parents[1] / "policies"
    texts = {str(path): path.read_text(encoding="utf-8") for path in sorted(policies.glob("*.yaml"))}
    if not texts:
        what = "the example policies are not there"
        raise ConfigError((Problem(file=str(policies), line=0, what=what, mend="Run the demonstration from a checkout."),))
    loaded = load(texts)
    ordered = sorted(loaded.services.values(), key=lambda service: (_ORDER.index(service.class_), service.id))
    services = tuple(target for service in ordered for target in _remote(service))
    parts = [_site(company) for company in loaded.companies.values()]
    nodes = [node for _, made, _ in parts for node in made]
    links = [link for _, _, made in parts for link in made]
    return Stage(
        policies=policies,
        loaded=loaded,
        topology=Topology(nodes=(*_middle(services), *nodes), links=(*_trunks(services), *links)),
        sites={site.company.id: site for site, _, _ in parts},
        services=services,
    )


def _remote(service: Service) -> Iterator[Target]:
    """The targets of one service: one for each protocol and set of ports, with both addresses."""
    four = [selector for selector in service.selectors if selector.prefix.version == 4]
    six = {(selector.protocol, selector.ports): selector for selector in service.selectors if selector.prefix.version == 6}
    for selector in four:
        ports = tuple(low for low, _ in selector.ports) or (ANY_PORT,)
        other = six[selector.protocol, selector.ports]
        addresses = (str(selector.prefix.network_address), str(other.prefix.network_address))
        yield Target(
            name=service.id,
            class_=service.class_,
            protocol="udp" if selector.protocol is L4.UDP else "tcp",
            ports=ports,
            addresses=addresses,
        )


def _endpoints(targets: tuple[Target, ...]) -> Iterator[Endpoint]:
    for target in targets:
        for address in target.addresses:
            for port in target.ports:
                yield Endpoint(protocol=target.protocol, address=address, port=port)


# --- the middle: gateway, provider, biller --------------------------------------------------------------------------


def _middle(services: tuple[Target, ...]) -> Iterator[Node]:
    near, far = _PROVIDER_WIRE
    addresses = sorted({address for target in services for address in target.addresses})
    to_services = tuple(Route(to=_host(address), via=far[":" in address]) for address in addresses)
    yield Node(name=GATEWAY, forwarding=True, routes=to_services)
    yield Node(name=PROVIDER, routes=(Route(to="default4", via=near[0]), Route(to="default6", via=near[1])))
    yield Node(name=BILLER)


def _trunks(services: tuple[Target, ...]) -> Iterator[Link]:
    near, far = _PROVIDER_WIRE
    own = sorted({_host(address) for target in services for address in target.addresses})
    yield Link(
        left=End(node=PROVIDER, interface="core", addresses=(*_wire(far), *own)),
        right=End(node=GATEWAY, interface="core", addresses=_wire(near)),
    )
    yield Link(
        left=End(node=BILLER, interface="eth0", addresses=(f"{BILLER_ADDRESS}/30",)),
        right=End(node=GATEWAY, interface="mgmt0", addresses=(f"{DOOR}/30",)),
    )


def _wire(pair: tuple[str, str]) -> tuple[str, str]:
    return f"{pair[0]}/30", f"{pair[1]}/64"


def _host(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


# --- the sites ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Subnet:
    """One interface of the gateway with its prefix of each family."""

    interface: str
    four: IPv4Network
    six: IPv6Network

    def at(self, number: int) -> tuple[str, str]:
        """The addresses of one host."""
        return str(self.four[number]), str(self.six[number])

    def on_wire(self, number: int) -> tuple[str, str]:
        """The same with the prefix lengths of the subnet."""
        four, six = self.at(number)
        return f"{four}/{self.four.prefixlen}", f"{six}/{self.six.prefixlen}"

    def default(self) -> tuple[Route, Route]:
        """The way out of the site: the gateway is the first host."""
        four, six = self.at(1)
        return Route(to="default4", via=four), Route(to="default6", via=six)


def _site(company: Company) -> tuple[Site, tuple[Node, Node], tuple[Link, ...]]:
    (place,) = company.sites
    subnets = _subnets(place.attachments)
    address = place.local_applications[0].probe.address
    erp_subnet = next(subnet for subnet in subnets if isinstance(address, IPv4Address) and address in subnet.four)
    people_subnet = next((subnet for subnet in subnets if subnet is not erp_subnet), erp_subnet)
    number = int(address) - int(erp_subnet.four.network_address)
    people, erp = company.id, f"{company.id}-erp"
    local = tuple(
        Target(
            name=application.name,
            class_=ServiceClass.LOCAL,
            protocol="tcp",
            ports=(application.probe.port or 0,),
            addresses=erp_subnet.at(number),
        )
        for application in place.local_applications
    )
    site = Site(company=company, people=people, erp=erp, local=local)
    uplink = _uplink(people, people_subnet, _PEOPLE)
    if people_subnet is not erp_subnet:
        routed = Node(name=people, routes=people_subnet.default()), Node(name=erp, routes=erp_subnet.default())
        return site, routed, (uplink, _uplink(erp, erp_subnet, number))
    beside = tuple(_host(address) for address in erp_subnet.at(_BESIDE))
    servers = tuple(_host(address) for address in erp_subnet.at(number))
    shared = (
        Node(name=people, routes=(*people_subnet.default(), *(Route(to=to, interface="lan0") for to in servers))),
        Node(name=erp, routes=tuple(Route(to=to, interface="eth0") for to in beside)),
    )
    wire = Link(
        left=End(node=people, interface="lan0", addresses=beside),
        right=End(node=erp, interface="eth0", addresses=servers),
    )
    return site, shared, (uplink, wire)


def _uplink(node: str, subnet: _Subnet, number: int) -> Link:
    return Link(
        left=End(node=node, interface="eth0", addresses=subnet.on_wire(number)),
        right=End(node=GATEWAY, interface=subnet.interface, addresses=subnet.on_wire(1)),
    )


def _subnets(attachments: tuple[Attachment, ...]) -> list[_Subnet]:
    found: dict[str, dict[int, IPv4Network | IPv6Network]] = {}
    for attachment in attachments:
        assert attachment.prefix is not None
        found.setdefault(str(attachment.interface), {})[attachment.prefix.version] = attachment.prefix
    subnets = []
    for interface, families in found.items():
        four, six = families[4], families[6]
        assert isinstance(four, IPv4Network)
        assert isinstance(six, IPv6Network)
        subnets.append(_Subnet(interface=interface, four=four, six=six))
    return subnets

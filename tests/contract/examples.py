"""Structures and members that the contract is tried with."""

from ipaddress import ip_network

from agent.model import L4, Selector, Service, ServiceClass, Shape
from agent.rules import Element, Key, Structure, Use
from agent.ruleset import Needs, key_bytes, set_name, structure

SERVICES = {
    "ged": Service(
        id="ged",
        class_=ServiceClass.ANNEX,
        selectors=(
            Selector(prefix=ip_network("192.0.2.10/32"), protocol=L4.TCP, ports=((443, 443), (8443, 8444))),
            Selector(prefix=ip_network("2001:db8:9::10/128"), protocol=L4.TCP, ports=((443, 443),)),
        ),
    ),
    "vpn": Service(
        id="vpn",
        class_=ServiceClass.ANNEX,
        selectors=(
            Selector(prefix=ip_network("198.51.100.0/28"), protocol=L4.ANY),
            Selector(prefix=ip_network("198.51.100.64/26"), protocol=L4.UDP, ports=((1194, 1199),)),
            Selector(prefix=ip_network("2001:db8:8::/64"), protocol=L4.ANY),
            Selector(prefix=ip_network("2001:db8:7::/64"), protocol=L4.TCP, ports=((1000, 2000), (3000, 3000))),
        ),
    ),
}
SHAPES = tuple(
    Shape(service=service, family=family, prefixlen=length, interface=interface)
    for service in SERVICES
    for family, lengths in ((4, (0, 24, 28, 32)), (6, (0, 56, 64, 128)))
    for length in lengths
    for interface in (False, True)
    if length or interface
)
NEEDS = Needs(cap=True, drain=True)
FULL = structure(SERVICES, SHAPES, NEEDS)
#: Without the vpn, without the interface sets, without caps: some sets, maps and chains go, others stay.
SMALL = structure({"ged": SERVICES["ged"]}, [shape for shape in SHAPES if not shape.interface])
EMPTY = Structure()
#: A service of which each customer has a part of its own; as long a name as there can be.
DEDICATED = structure(
    {
        "servers-of-customers-a": Service(
            id="servers-of-customers-a",
            class_=ServiceClass.ANNEX,
            dedicated=True,
            selectors=tuple(Selector(prefix=ip_network(pool), protocol=L4.ANY) for pool in ("198.51.100.64/26", "2001:db8:6::/48")),
        )
    },
    [
        Shape(service="servers-of-customers-a", family=family, prefixlen=length, interface=interface, dedicated=own)
        for family, lengths, owns in ((4, (0, 24), (29, 32)), (6, (0, 128), (64, 128)))
        for length in lengths
        for own in owns
        for interface in (False, True)
        if length or interface
    ],
    NEEDS,
)


def key(prefix: str, interface: str | None = None, service: str = "ged", use: Use = Use.REFUSE) -> Key:
    network = ip_network(prefix)
    name = set_name(service, network.version, network.prefixlen, interface=interface is not None, use=use)
    return Key(set=name, key=key_bytes(network, interface))


def element(
    prefix: str,
    interface: str | None = None,
    service: str = "ged",
    case: str = "za:2024-1",
    timeout_ms: int = 3_600_000,
    use: Use = Use.REFUSE,
    kbit: int = 0,
) -> Element:
    which = key(prefix, interface, service, use)
    return Element(set=which.set, key=which.key, case=case, timeout_ms=timeout_ms, kbit=kbit)


#: One company, dual stack, with and without interface and with a whole link, two services.
COMPANY = (
    element("10.20.10.0/24"),
    element("2001:db8:20::/56"),
    element("10.20.10.0/24", "za0"),
    element("2001:db8:20::/64", "za0"),
    element("10.20.11.16/28", service="vpn"),
    element("2001:db8:20:1::5/128", "za0.100", service="vpn"),
    element("10.20.10.0/24", use=Use.DRAIN, timeout_ms=600_000),
    element("0.0.0.0/0", "wg-za"),
    element("::/0", "wg-za"),
)


#: Under a cap, on the backends that have one.
CAPPED = (
    element("10.20.12.0/24", use=Use.CAP_TO, kbit=512),
    element("2001:db8:20:c::/64", "za0", use=Use.CAP_FROM, kbit=64),
)


def keys(elements: tuple[Element, ...]) -> tuple[Key, ...]:
    return tuple(Key(set=e.set, key=e.key) for e in elements)

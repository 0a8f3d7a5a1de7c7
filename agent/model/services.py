"""Floor 0, model. What the provider delivers, and how its packets are known."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

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


class L4(StrEnum):
    """Transport protocol of a selector. `ANY` has no ports and matches every IP protocol."""

    TCP = "tcp"
    UDP = "udp"
    ANY = "any"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selector:
    """Destination side of a service: prefix, protocol, ports (inclusive ranges; empty means all).

    `before_nat`: the prefix is what its clients ask for, before the gateway translates it.
    """

    prefix: Network
    protocol: L4
    ports: tuple[Ports, ...] = ()
    before_nat: bool = False


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

    @property
    def known_by_address(self) -> bool:
        """True if every packet of it shows that it is: it has addresses, no names, and the gateway translates none of them."""
        return bool(self.selectors) and not self.names and not self.before_nat

    @property
    def before_nat(self) -> bool:
        """True if it is known by an address that the gateway translates."""
        return any(selector.before_nat for selector in self.selectors)

"""Floor 0. The nouns of the field: who owes, what is delivered, where it is attached.

Rules of this room:

1. Frozen, keyword-only values; no behaviour beyond what a noun knows of itself.
2. Addresses are `ipaddress` objects, money is `Decimal` with a currency, time is an aware `datetime`.
3. Names come from the trade: a *company* (legal entity) owes, an *attachment* is where it is connected, a *service*
   is what the provider delivers; *suspend* and *restore* are the only two verbs.
"""

from agent.model.customers import (
    ANY_LINKS,
    Attachment,
    Company,
    Dependency,
    Links,
    LocalApplication,
    Probe,
    Protected,
    Site,
    Subscription,
)
from agent.model.inventory import Ends, Inventory, Shape, StandingKey
from agent.model.policies import PLAIN, Effect, Extent, Mode, Policy, Terms, Window
from agent.model.services import EVERY_ADDRESS, L4, Address, Family, Named, Network, Ports, Selector, Service, ServiceClass

__all__ = [
    "ANY_LINKS",
    "EVERY_ADDRESS",
    "L4",
    "PLAIN",
    "Address",
    "Attachment",
    "Company",
    "Dependency",
    "Effect",
    "Ends",
    "Extent",
    "Family",
    "Inventory",
    "Links",
    "LocalApplication",
    "Mode",
    "Named",
    "Network",
    "Policy",
    "Ports",
    "Probe",
    "Protected",
    "Selector",
    "Service",
    "ServiceClass",
    "Shape",
    "Site",
    "StandingKey",
    "Subscription",
    "Terms",
    "Window",
]

"""Floor 1. The `services:` part of a file: what the provider delivers.

Rules of this room:

1. A service without a class is a dependency (D): unclassified means never cut.
2. A suspendable service names its packets exactly: at least one selector, a protocol each, ports only with TCP or UDP.
3. Of a dedicated service they are all that it ever delivers; what of it is a customer's own, its subscription says.
4. Whose service it is (`delivered_by`) is written down, and judged by the gate: what others deliver may be listed here all the
   same, so that it is known and never suspended.
"""

from itertools import pairwise

from agent.model import L4, Named, Selector, Service, ServiceClass
from agent.policy import kinds
from agent.policy.checks import Place, Written
from agent.policy.nodes import Table
from agent.policy.problems import Code


def read_service(service_id: str, table: Table) -> Written | None:
    """One service with the places of its selectors, or None after a problem."""
    class_ = table.may("class", kinds.choice(ServiceClass), ServiceClass.DEPENDENCY)
    name_fr = table.may("name_fr", kinds.words, "")
    name_en = table.may("name_en", kinds.words, "")
    delivered_by = table.may("delivered_by", kinds.one_of("provider", "customer", "third_party"), "provider")
    dedicated = table.may("dedicated", kinds.truth, default=False)
    read = table.each("selectors", _read_selectors)
    groups = [selectors for selectors, _ in read]
    names = tuple(name for _, found in read for name in found)
    if table.sound and names and not class_.suspendable:
        what = f"class {class_} by name: what is never cut must be known by its addresses"
        table.report(table.line_of("selectors"), Code.BAD_VALUE, what, "Write its prefixes.", key="selectors")
    if table.sound and names and dedicated:
        what = "a dedicated service by name: each customer's own addresses must be told apart"
        table.report(table.line_of("selectors"), Code.BAD_VALUE, what, "Write the prefixes they lie in.", key="selectors")
    if table.sound and len(set(names)) < len(names):
        table.report(table.line_of("selectors"), Code.TWICE, "a name is given twice", "Keep it once.", key="selectors")
    if table.sound and dedicated and any(selector.before_nat for group in groups for selector, _ in group):
        what = "a dedicated service before NAT: which customer's own address it leads to can not be told"
        table.report(table.line_of("dedicated"), Code.BAD_VALUE, what, "Write the addresses behind it.", key="dedicated")
    views = {selector.before_nat for group in groups for selector, _ in group} | ({False} if names else set())
    if table.sound and class_.suspendable and len(views) > 1:
        what = f"service {service_id} is reached by an address before NAT and by one behind it"
        mend = "Make two services of it: a packet may have both addresses, and could not be told from either."
        table.report(table.line_of("selectors"), Code.TARGET_NOT_SEPARABLE, what, mend, key="selectors")
    if table.sound and class_.suspendable and not any(groups) and not names:
        mend = "Add `selectors:`, or give the service a class that is never cut (D, E, P, R, L)."
        table.report(table.line, Code.NO_SELECTOR, f"class {class_} without a selector: nothing could be suspended", mend)
    if not table.done():
        return None
    pairs = [(selector, place) for group in groups for selector, place in group]
    service = Service(
        id=service_id,
        class_=class_,
        selectors=tuple(selector for selector, _ in pairs),
        name_fr=name_fr,
        name_en=name_en,
        delivered_by=delivered_by,  # type: ignore[arg-type]  # one of the three, or there is no service
        names=names,
        dedicated=dedicated,
    )
    return Written(service=service, place=Place(table.file, table.line), selectors=tuple(place for _, place in pairs))


def _read_selectors(table: Table) -> tuple[tuple[tuple[Selector, Place], ...], tuple[Named, ...]]:
    """One item of `selectors:`: every prefix and every name of it with the same protocol and ports."""
    prefixes = table.many("prefixes", kinds.prefix)
    names = table.many("names", kinds.host_name)
    protocol = table.need("protocol", kinds.choice(L4))
    ports = table.many("ports", kinds.ports)
    before_nat = table.may("before_nat", kinds.truth, False)
    if table.sound and before_nat and names:
        table.report(
            table.line_of("before_nat"),
            Code.BAD_VALUE,
            "before_nat with names",
            "Write the address that customers see as `prefixes`.",
            key="before_nat",
        )
    if not prefixes and not names and table.sound:
        table.report(table.line, Code.MISSING, "prefixes is missing", "Add `prefixes: [192.0.2.10/32, ...]`.")
    if table.sound and protocol is L4.ANY and ports:
        table.report(
            table.line_of("ports"),
            Code.BAD_PORTS,
            "ports with protocol any",
            "Leave ports out, or write protocol: tcp or udp.",
            key="ports",
        )
    if table.sound and any(after[0] <= before[1] for before, after in pairwise(sorted(ports))):
        table.report(table.line_of("ports"), Code.BAD_PORTS, "two ranges share a port", "Write each port once.", key="ports")
    if not table.done():
        return (), ()
    place, ports = Place(table.file, table.line), tuple(sorted(ports))
    selectors = tuple(
        (Selector(prefix=prefix, protocol=protocol, ports=ports, before_nat=before_nat), place) for prefix in prefixes
    )
    return selectors, tuple(Named(name=name, protocol=protocol, ports=ports) for name in names)

"""Floor 1. What a gateway is like, and what that means for ecluse: facts in, findings out.

Rules of this room:

1. A finding says what is so, what it means and what to do, in French and English. No finding is a score.
2. What could not be read is a finding of its own: never taken for good.
3. A check is a function of the facts, in one of the tuples below; a new kind of fact is a new field of `Facts`.
4. Nothing here advises to weaken a firewall: where a foreign rule is in the way, it is named.
"""

from collections.abc import Callable, Iterator

from agent.doctor import host, installation, neighbours, paths
from agent.doctor.facts import Facts
from agent.doctor.findings import Finding, Level

Check = Callable[[Facts], Iterator[Finding]]

#: The host itself: kernel, tools, clock, disk.
HOST: tuple[Check, ...] = (host.kernel, host.programs, host.features, host.clock, host.disk)

#: The ways of packets that pass us by or lose our refusals.
PATHS: tuple[Check, ...] = (
    paths.forwarding,
    paths.flowtables,
    paths.offloads,
    paths.bridges,
    paths.proxies,
    paths.answers,
    paths.routes,
    paths.conntrack,
)

#: Other programs that filter.
NEIGHBOURS: tuple[Check, ...] = (
    neighbours.our_table,
    neighbours.chains,
    neighbours.marks,
    neighbours.legacy,
    neighbours.ipsets,
    neighbours.flushes,
    neighbours.tools,
)

#: Our own installation: units, permissions, certificates, secrets. Checks of these read fields of their own.
INSTALLATION: tuple[Check, ...] = (
    installation.private,
    installation.aside,
    installation.certificates,
    installation.units,
)

CHECKS: tuple[Check, ...] = (*HOST, *PATHS, *NEIGHBOURS, *INSTALLATION)


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Every finding, in the order of the checks."""
    return tuple(finding for check in CHECKS for finding in check(facts))


def worst(findings: tuple[Finding, ...]) -> Level:
    """The worst level among findings; `ok` of none."""
    return max((finding.level for finding in findings), default=Level.OK)


__all__ = ["CHECKS", "Check", "Facts", "Finding", "Level", "diagnose", "worst"]

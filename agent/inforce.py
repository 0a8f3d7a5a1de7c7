"""Floor 3. An inventory with everything that was compiled and proven from it: what the enforcing side goes by.

A value that is replaced as a whole: by a reload, or when a name stands for other addresses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from agent.calendar import public_holidays
from agent.leases import Lease, needs_of
from agent.model import Company, Inventory, Links, Service
from agent.names import Answers, resolve
from agent.proof import Proven, prove, prove_members
from agent.rules import Element, Structure
from agent.ruleset import NO_NEEDS, Needs, Rest, structure
from agent.separable import separable


@dataclass(frozen=True, kw_only=True, slots=True)
class InForceRules:
    """An inventory with what was compiled and proven from it. `companies`, `prefixes`: how many it knows.

    `needs`: what its policies may ask of the kernel; `sets`: the names of the sets that there are. `services`: the catalogue with
    addresses where services have names, `answers` what those were made from, `unresolved` what of the names is out of reach.
    `inseparable`: the services that can not be told apart on this gateway; `unresolved` says why.
    """

    inventory: Inventory
    structure: Structure
    proven: Proven
    loaded_at: datetime
    companies: int
    prefixes: int
    needs: Needs = NO_NEEDS
    sets: frozenset[str] = frozenset()
    services: Mapping[str, Service] = field(default_factory=dict)
    answers: Answers = field(default_factory=dict)
    unresolved: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    inseparable: tuple[str, ...] = ()

    @classmethod
    def compile(
        cls, inventory: Inventory, now: datetime, *, tracked: bool = False, answers: Answers = MappingProxyType({})
    ) -> "InForceRules":
        """Compile and prove.

        Args:
            inventory: policies, services and customers.
            now: aware instant.
            tracked: the gateway tracks connections.
            answers: what the names of services stand for.

        Raises:
            ProofFailed: the ruleset could hit what is protected.
        """
        for policy in inventory.policies.values():  # computed once here, not while the first notice's sender waits
            for year in (now.year, now.year + 1):
                public_holidays(policy.holidays, year)
        found = resolve(inventory.services, answers, inventory.protected_selectors(), inventory.local_networks())
        told = separable(found.services, inventory, tracked=tracked)
        needs = replace(needs_of(inventory.policies.values(), tracked=tracked), kept=told.kept)
        compiled = structure(told.services, inventory.shapes, needs)
        proven = prove(compiled, inventory.protected_selectors(), inventory.local_networks(), told.services, told.kept)
        companies, prefixes = inventory.count(), inventory.prefix_count()
        return cls(
            inventory=inventory,
            structure=compiled,
            proven=proven,
            loaded_at=now,
            companies=companies,
            prefixes=prefixes,
            needs=needs,
            sets=frozenset(one.name for one in compiled.sets),
            services=told.services,
            answers=answers,
            unresolved={**found.out, **told.out},
            inseparable=tuple(sorted(told.out)),
        )

    def for_stage_4(self, *, on: bool) -> "InForceRules":
        """The same with the path on which everything remote is refused, or without it.

        The files are not read again: what the path is made from was kept when they were compiled, and that services are apart from
        every site's own network was proven already. Some milliseconds at any number of companies.

        Raises:
            ProofFailed: the path could hit what is protected.
        """
        inventory = self.inventory
        spared = tuple(sorted((selector for _, selector in inventory.protected_selectors()), key=str))
        needs = replace(self.needs, rest=Rest(ends=inventory.ends, spared=spared) if on and inventory.ends else None)
        compiled = structure(self.services, inventory.shapes, needs)
        found = prove(
            compiled,
            inventory.protected_selectors(),
            inventory.local_networks(),
            self.services,
            self.needs.kept,
            before=self.proven,
        )
        return replace(self, structure=compiled, proven=found, needs=needs, sets=frozenset(one.name for one in compiled.sets))

    def prove(self, elements: Sequence[Element], company: Company, leases: Iterable[Lease], links: Links) -> None:
        """`proof.prove_members` for everything that the measures of one company want.

        Raises:
            ProofFailed: see there.
        """
        leases = tuple(leases)
        services = {name for lease in leases for name in lease.services}
        remote = {name for lease in leases if lease.remote for name in lease.services}
        prove_members(elements, company, services, self.proven, links, remote=remote)

    def with_answers(self, answers: Answers, *, tracked: bool) -> "InForceRules":
        """The same inventory, where names stand for something else. Arguments and errors as for `compile`."""
        found = self.compile(self.inventory, self.loaded_at, tracked=tracked, answers=answers)
        return found.for_stage_4(on=True) if self.needs.rest else found

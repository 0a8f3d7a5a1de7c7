"""Floor 1, proof. Refusals by what clients asked for: that nothing protected is led there, and nothing protected was asked for.

What a client asked for and where its connection is led are two ends of which nobody knows how they belong together. So whatever is
asked for, every protected end must have been let through before on that path, at the end where the packet really goes.
"""

from collections.abc import Iterable, Iterator, Mapping

from agent.ends import PROTOCOLS, Claim, End, Index, claims_of, index, span_of
from agent.errors import ProofFailed
from agent.model import L4, Family, Network, Selector, Service
from agent.proof.paths import Box, packet_text
from agent.proof.rest import entries_of, without
from agent.rules import AskedFor, Chain, DispatchFamily, EnterTranslated, LookupService, PassAll, Side, Structure
from agent.spans import ALL_PORTS


class Clients:
    """What was found about refusals by what clients asked for. Lives as long as one proof."""

    def __init__(
        self,
        structure: Structure,
        services: Mapping[str, Service],
        protected: Iterable[tuple[str, Selector]],
        kept: Iterable[Selector] | None,
    ) -> None:
        self._services = services
        self._maps = {one.name: one for one in structure.maps}
        self._indexes: dict[str, Mapping[Family, Index]] = {}
        protected = list(protected)
        plain = {service.id: service for service in services.values() if service.class_.suspendable and not service.before_nat}
        spared = [*protected, *(("what local software needs, or a site's own network", each) for each in kept or ())]
        never = {service.id: service for service in services.values() if not service.class_.suspendable}
        #: Where packets are led that are never refused by what was asked for, whoever's they are.
        self._led = index(claims_of(spared, {**plain, **never}))
        self._paths: dict[tuple[Family, frozenset[str]], Box] = {}
        seen = [*protected, *((one.id, each) for one in never.values() for each in one.selectors)] if kept is not None else []
        _prove_asked(structure, [(name, each) for name, each in seen if each.before_nat])

    def look(self, box: Box) -> End:
        """Judge one path that ends in such a refusal; returns what was asked for.

        Raises:
            ProofFailed: it is not forwarded, it is refused at the wrong end, or something protected could be led there.
        """
        assert box.asked is not None
        end, answers = box.asked
        if box.hook != "forward" or answers is not (box.side is Side.DESTINATION):
            raise ProofFailed(what="what a client asked for is looked at where it is not known", witness=packet_text(box, end))
        far = Side.DESTINATION if box.side is Side.SOURCE else Side.SOURCE
        maps = frozenset(rule.map for rule in box.passed if isinstance(rule, LookupService) and rule.side is far)
        if (box.family, maps) not in self._paths:
            self._paths[box.family, maps] = box
            for claim in self._led[box.family].claims:
                self._prove_led(box, maps, claim)
        return end

    def owner(self, box: Box, end: End, service: str) -> None:
        """May `service` be refused by what was asked for?

        Raises:
            ProofFailed: it is known by where it is led.
        """
        if not self._services[service].before_nat:
            raise ProofFailed(what=f"service {service} is no address before NAT", witness=packet_text(box, end))

    @property
    def asked(self) -> bool:
        """True if anything is refused by what was asked for."""
        return bool(self._paths)

    def prove_local(self, site: str, network: Network) -> None:
        """A site's own network must have been let through on every such path.

        Raises:
            ProofFailed: it was not.
        """
        family: Family = 4 if network.version == 4 else 6
        for (of_family, maps), box in self._paths.items():
            if of_family == family:
                self._prove_led(box, maps, Claim(End(family, PROTOCOLS[L4.ANY], span_of(network), ALL_PORTS), f"site {site}", None))

    def _prove_led(self, box: Box, maps: Iterable[str], claim: Claim) -> None:
        left = [claim.end]
        for name in maps:
            if name not in self._indexes:
                self._indexes[name] = index(entries_of(self._maps[name]))
            left = [part for one in left for part in without(one, self._indexes[name])]
        if left:
            raise ProofFailed(
                what=f"traffic that is led to {claim.name} could be refused by what its client asked for",
                witness=packet_text(box, left[0]),
            )


def _prove_asked(structure: Structure, protected: Iterable[tuple[str, Selector]]) -> None:
    """What is never cut and known by what clients ask for is let through before anything else that is forwarded."""
    chains = {chain.name: chain for chain in structure.chains}
    for base in (chain for chain in structure.chains if chain.hook == "forward"):
        first = {rule.family: rule for rule in base.rules if isinstance(rule, EnterTranslated)}
        if not all(isinstance(rule, EnterTranslated) for rule in base.rules[: len(first)]):
            raise ProofFailed(what="translated connections are not looked at first", witness="any packet")
        served = {rule.family for rule in base.rules if isinstance(rule, DispatchFamily | EnterTranslated)}
        for name, selector in protected:
            family: Family = 4 if selector.prefix.version == 4 else 6
            passing = list(_passing(chains, first[family])) if family in first else []
            for answers in (False, True) if family in served else ():
                let = index(Claim(_end(rule), rule.chain, None) for rule in passing if rule.answers is answers)
                if any(without(claim.end, let) for claim in claims_of([(name, selector)], {})):
                    what = f"traffic of {name}, which may never be hit, could be refused by where it is led"
                    raise ProofFailed(what=what, witness="a packet whose client asked for it")


def _passing(chains: Mapping[str, Chain], enter: EnterTranslated) -> Iterator[AskedFor]:
    """The rules in front of the chain that let through what was asked for."""
    for rule in chains[enter.chain].rules if enter.chain in chains else ():
        if not isinstance(rule, AskedFor) or rule.chain not in chains or chains[rule.chain].rules[:1] != (PassAll(),):
            return
        yield rule


def _end(rule: AskedFor) -> End:
    family: Family = 4 if rule.prefix.version == 4 else 6
    return End(family, PROTOCOLS[rule.protocol], span_of(rule.prefix), rule.ports)

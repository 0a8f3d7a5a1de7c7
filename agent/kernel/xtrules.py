"""Floor 2, kernel. A structure in the words of legacy iptables: chains of plain rules for each family, and the names of our sets.

Rules of this room:

1. Pure: no kernel, no library. `iptables` writes these values and compares what it reads with them.
2. Everything of ours is called `ECLUSE-...`, chains and ipsets, so that a process with no memory knows it; `ruleset` makes no
   name with capitals.
3. Each rule carries a comment: a hash over its chain so far, as in `nfttext`. Drift is a comparison of comments.
4. A service map becomes one rule an entry. What is constant may be linear; members never are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from agent.model import L4, Family
from agent.rules import (
    Bounds,
    CapMembers,
    Chain,
    DispatchFamily,
    LookupService,
    MemberSet,
    PassAnswers,
    PassMembers,
    PassResets,
    Refuse,
    RefuseMembers,
    Rule,
    ServiceEntry,
    ServiceMap,
    Side,
    Structure,
)
from agent.ruleset import REFUSE
from agent.spans import ALL_PORTS

CHAIN_PREFIX = "ECLUSE-"
SET_PREFIX = "ECLUSE-"

#: Longest names that the kernel takes: XT_EXTENSION_MAXNAMELEN and IPSET_MAXNAMELEN without their NUL.
_CHAIN_BYTES, _SET_BYTES = 28, 31


@dataclass(frozen=True, kw_only=True, slots=True)
class XtRule:
    """One rule of one family. Empty fields match everything; `goto` or `target` is where it ends.

    `flags`: mask, flags that are set, and whether the match is turned around. `members`: name of an ipset and the directions of its
    dimensions. `state`: of its connection. `reject`: what the REJECT target answers with.
    """

    source: str = ""
    destination: str = ""
    protocol: str = ""
    source_ports: str = ""
    destination_ports: str = ""
    flags: tuple[str, str, bool] | None = None
    members: tuple[str, str] | None = None
    state: str = ""
    goto: str = ""
    target: str = ""
    reject: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class XtChain:
    """One of our chains in one family, with the comment of each rule. `hook`: the built-in chain that jumps here first."""

    name: str
    rules: tuple[XtRule, ...]
    comments: tuple[str, ...]
    hook: str = ""


def chain_name(name: str) -> str:
    """A chain's name here. A long one is shortened and carries 48 bits of its SHA-256."""
    return _short(CHAIN_PREFIX, name, _CHAIN_BYTES)


def ipset_name(name: str) -> str:
    """The ipset of one member set. A name that is one already, of a set whose structure is not known, stays as it is."""
    return name if name.startswith(SET_PREFIX) else _short(SET_PREFIX, name, _SET_BYTES)


def _short(prefix: str, name: str, limit: int) -> str:
    whole = prefix + name
    if len(whole) <= limit:
        return whole
    digest = sha256(name.encode()).hexdigest()[:12]
    return f"{whole[: limit - 13]}.{digest}"


def xt_chains(structure: Structure, family: Family) -> tuple[XtChain, ...]:
    """The chains that belong in the filter table of one family; none where the structure has nothing for it.

    Raises:
        KeyError: a rule names a map or a set that the structure does not have.
    """
    sets = {members.name: members for members in structure.sets}
    maps = {services.name: services for services in structure.maps}
    found = {chain.name: tuple(_chain_rules(chain, family, sets, maps)) for chain in structure.chains}
    reached = _reached(structure, found)
    return tuple(
        XtChain(
            name=chain_name(chain.name),
            rules=found[chain.name],
            comments=_comments(chain_name(chain.name), found[chain.name]),
            hook=chain.hook.upper() if chain.hook else "",
        )
        for chain in structure.chains
        if chain.name in reached
    )


def _chain_rules(chain: Chain, family: Family, sets: Mapping[str, MemberSet], maps: Mapping[str, ServiceMap]) -> Iterator[XtRule]:
    for rule in chain.rules:
        yield from _rules(rule, family, sets, maps)


def _rules(rule: Rule, family: Family, sets: Mapping[str, MemberSet], maps: Mapping[str, ServiceMap]) -> Iterator[XtRule]:
    """What one rule is in this family; nothing where it is about the other one.

    Nothing either for caps and for stage 4, which `iptables` refuses whole: the chain of stage 4, which refuses, is reached by its
    `EnterMembers` alone, so without it nobody is refused on its account.
    """
    match rule:
        case DispatchFamily() if rule.family == family:
            yield XtRule(goto=chain_name(rule.chain))
        case LookupService() if rule.family == family:
            yield from _lookup(maps[rule.map], rule)
        case PassResets():
            yield XtRule(protocol="tcp", flags=("RST", "RST", False), target="RETURN")
        case PassAnswers():
            yield XtRule(protocol="tcp", flags=("FIN,SYN,RST,ACK", "SYN", True), target="RETURN")
        case RefuseMembers(member=True) | CapMembers(member=True) | PassMembers(member=True):
            pass  # legacy iptables does not see by which member of a VRF a packet came: it is not refused
        case RefuseMembers() if sets[rule.set].family == family:
            yield XtRule(members=(ipset_name(rule.set), _directions(sets[rule.set], rule.side)), goto=chain_name(REFUSE))
        case PassMembers() if sets[rule.set].family == family:
            # RETURN, not ACCEPT: the gateway's own rules come behind ours, and an ACCEPT here would end them too.
            here = ipset_name(rule.set), _directions(sets[rule.set], rule.side)
            yield XtRule(members=here, state="ESTABLISHED" if rule.established else "", target="RETURN")
        case Refuse(tcp=True):
            yield XtRule(protocol="tcp", target="REJECT", reject="tcp-reset")
        case Refuse():
            yield XtRule(target="REJECT", reject="icmp-admin-prohibited" if family == 4 else "icmp6-adm-prohibited")


def _lookup(services: ServiceMap, rule: LookupService) -> Iterator[XtRule]:
    """One rule an entry. Bounds are around whole entries (`ruleset`): those of other bounds have rules of their own."""
    for entry in services.entries:
        if rule.bounds is not None and not _inside(entry, rule.bounds):
            continue
        protocol = "" if entry.protocol is L4.ANY else entry.protocol.value
        low, high = entry.ports
        ports = "" if entry.ports == ALL_PORTS or not protocol else str(low) if low == high else f"{low}:{high}"
        prefix, goto = str(entry.prefix), chain_name(entry.chain)
        if rule.side is Side.DESTINATION:
            yield XtRule(destination=prefix, protocol=protocol, destination_ports=ports, goto=goto)
        else:
            yield XtRule(source=prefix, protocol=protocol, source_ports=ports, goto=goto)


def _inside(entry: ServiceEntry, bounds: Bounds) -> bool:
    address = entry.prefix.subnet_of(bounds.prefix)  # type: ignore[arg-type]  # of the family of the map
    return address and bounds.ports[0] <= entry.ports[0] and entry.ports[1] <= bounds.ports[1]


def _directions(members: MemberSet, side: Side) -> str:
    """Of the set's address, and of its interface: where a packet came in is `src`, where it will leave is `dst`."""
    way = "src" if side is Side.SOURCE else "dst"
    return f"{way},{way}" if members.interface else way


def _comments(chain: str, rules: Sequence[XtRule]) -> tuple[str, ...]:
    """The comment of every rule: 16 hexadecimal digits of a SHA-256 over the chain's name, the rules before and the rule itself."""
    comments: list[str] = []
    before = chain
    for rule in rules:
        before = sha256(f"{before}\n{rule}".encode()).hexdigest()[:16]
        comments.append(before)
    return tuple(comments)


def _reached(structure: Structure, found: Mapping[str, tuple[XtRule, ...]]) -> frozenset[str]:
    """The chains that a hook leads to in this family; others would be empty names."""
    names = {chain_name(chain.name): chain.name for chain in structure.chains}
    todo = [chain.name for chain in structure.chains if chain.hook and found[chain.name]]
    reached: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += [names[rule.goto] for rule in found[name] if rule.goto]
    return frozenset(reached)

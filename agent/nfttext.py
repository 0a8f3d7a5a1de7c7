"""Floor 1. A structure as nftables text: what the backend loads and what a person reads.

Rules of this room:

1. One rule per line, each with a comment that is a hash of the chain so far. The kernel gives comments back as they
   were, while it prints rules in words of its own; so drift (a rule gone, added, moved, changed) is a comparison of
   comments, never of rules.
2. The text loads on nft 1.0.6 and newer: a newline before each closing brace, statements before flags that need them,
   an interface in a key only as `iifname . ip saddr & mask`.
3. Names are written as they are; `ruleset` makes only names that nft takes.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from ipaddress import ip_network

from agent.model import L4, Family, Network, Ports
from agent.rules import (
    TABLE,
    AskedFor,
    Asking,
    CapMembers,
    Chain,
    DispatchFamily,
    EnterMembers,
    EnterTranslated,
    Essential,
    LookupService,
    MemberSet,
    PassAll,
    PassAnswers,
    PassEssential,
    PassMembers,
    PassPairs,
    PassResets,
    PassTranslated,
    RefuseMembers,
    Rule,
    ServiceEntry,
    ServiceMap,
    Side,
    Structure,
)
from agent.ruleset import REFUSE
from agent.spans import ALL_PORTS

#: Before the gateway's own filter chains, which often accept what is established.
PRIORITY = "filter - 10"

#: Connections that the gateway led to another destination than their client asked for, both ways.
_TRANSLATED = "ct status dnat"

#: Types of ICMP that are never refused: errors; for IPv6 also MLD, router and neighbour discovery (RFC 4890).
ICMP_ESSENTIAL: dict[Family, tuple[int, ...]] = {4: (3, 11, 12), 6: (1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 137, 143)}
#: IGMP, EIGRP, OSPF, PIM, VRRP.
PROTOCOLS_ESSENTIAL = (2, 88, 89, 103, 112)
_BOTH_FAMILIES = (("udp", 3784), ("udp", 3785), ("udp", 4784), ("tcp", 179))
#: DHCP, RIP; BFD and BGP.
PORTS_ESSENTIAL: dict[Family, tuple[tuple[str, int], ...]] = {
    4: (("udp", 67), ("udp", 68), ("udp", 520), *_BOTH_FAMILIES),
    6: (("udp", 546), ("udp", 547), ("udp", 521), *_BOTH_FAMILIES),
}

#: A cap may be this much at most, in kbit/s; it is also what a set of caps declares for a member without a rate of its own.
MOST_KBIT = 10_000_000
BYTES_PER_KBIT = 125

#: A bucket must hold the largest packet that receive offload hands over (64 kB), or it would never pass.
BURST_BYTES = 131_072

_ADDRESS: dict[tuple[Family, Side], str] = {
    (4, Side.SOURCE): "ip saddr",
    (4, Side.DESTINATION): "ip daddr",
    (6, Side.SOURCE): "ip6 saddr",
    (6, Side.DESTINATION): "ip6 daddr",
}
_PORT = {Side.SOURCE: "th sport", Side.DESTINATION: "th dport"}
_INTERFACE = {Side.SOURCE: "iifname", Side.DESTINATION: "oifname"}
_TYPE: dict[Family, str] = {4: "ipv4_addr", 6: "ipv6_addr"}


def render(structure: Structure, members: Mapping[str, Sequence[str]] | None = None) -> str:
    """The whole table as one `table inet ecluse { }` block, to be loaded into an empty table.

    Loading it creates everything of `structure` at once; sets come without members, or with these.

    Args:
        structure: what to write.
        members: elements in nft's words, by set. Inside the block they cost nothing extra, while an `add element` command
            makes libnftables read every interval set of the host.
    """
    comments = rule_comments(structure)
    sets = {members.name: members for members in structure.sets}
    blocks = [
        *(_set(each, (members or {}).get(each.name, ())) for each in structure.sets),
        *(_map(services) for services in structure.maps),
        *(_chain(chain, sets, comments[chain.name]) for chain in structure.chains),
    ]
    body = "\n\n".join("\n".join(f"  {line}" for line in block) for block in blocks)
    return f"table inet {TABLE} {{\n{body}\n}}\n"


def rule_comments(structure: Structure) -> Mapping[str, tuple[str, ...]]:
    """The comment of every rule, in order, by chain: what the kernel must show where nothing has drifted.

    Each is 16 hexadecimal digits of a SHA-256 over the chain's head, the rules before and the rule itself.
    """
    sets = {members.name: members for members in structure.sets}
    found: dict[str, tuple[str, ...]] = {}
    for chain in structure.chains:
        comments: list[str] = []
        before = f"{chain.name} {_head(chain)}"
        for position, rule in enumerate(chain.rules):
            text = f"{before}\n{position} {rule_text(rule, sets)}"
            before = sha256(text.encode()).hexdigest()[:16]
            comments.append(before)
        found[chain.name] = tuple(comments)
    return found


def rule_text(rule: Rule, sets: Mapping[str, MemberSet]) -> str:
    """One rule in nft's words, without its comment. `sets`: the member sets by name."""
    match rule:
        case DispatchFamily():
            return f"meta nfproto ipv{rule.family} goto {rule.chain}"
        case LookupService():
            port = f" . {_PORT[rule.side]}" if rule.ports else ""
            return f"{_within(rule)}{_ADDRESS[rule.family, rule.side]} . meta l4proto{port} vmap @{rule.map}"
        case EnterTranslated() | AskedFor():
            return _translated(rule)
        case PassResets():
            return "tcp flags & rst == rst return"
        case PassAnswers():
            return "tcp flags & (fin | syn | rst | ack) != syn return"
        case RefuseMembers() | CapMembers() | PassMembers() | EnterMembers() | PassPairs():
            return _member_rule(rule, sets[rule.set])
        case PassEssential() | PassTranslated() | PassAll():
            return f"{_passing(rule)} counter accept".strip()
        case _:  # nothing but `Refuse` is left, or mypy would not let `tcp` be read
            return "meta l4proto tcp reject with tcp reset" if rule.tcp else "reject with icmpx admin-prohibited"


def _translated(rule: EnterTranslated | AskedFor) -> str:
    if isinstance(rule, EnterTranslated):
        return f"meta nfproto ipv{rule.family} {_TRANSLATED} jump {rule.chain}"
    family: Family = 4 if rule.prefix.version == 4 else 6
    parts = (
        f"ct direction {'reply' if rule.answers else 'original'}",
        "" if rule.protocol is L4.ANY else f"meta l4proto {rule.protocol.value}",
        f"ct original {_ADDRESS[family, Side.DESTINATION]} {_prefix_text(rule.prefix)}",
        "" if rule.ports == ALL_PORTS else f"ct original proto-dst {_ports_text(rule.ports)}",
        f"goto {rule.chain}",
    )
    return " ".join(part for part in parts if part)


def _within(rule: LookupService) -> str:
    """The comparisons before a look-up; what compares nothing is left out."""
    if rule.bounds is None:
        return ""
    prefix, ports = rule.bounds.prefix, rule.bounds.ports
    address = f"{_ADDRESS[rule.family, rule.side]} {_prefix_text(prefix)} " if prefix.prefixlen else ""
    return address + (f"{_PORT[rule.side]} {_ports_text(ports)} " if ports != ALL_PORTS else "")


def _member_rule(rule: Asking, members: MemberSet) -> str:
    interface = "meta sdifname" if rule.member else _INTERFACE[rule.side]
    found = f"{_member(members, interface, rule.side)} @{rule.set}"
    match rule:
        case RefuseMembers():
            return f"{found} goto {REFUSE}"
        case CapMembers():
            return f"{found} drop"
        case EnterMembers():
            return f"{found} jump {rule.chain}"
        case PassMembers():
            return f"{'ct state established ' if rule.established else ''}{found} accept"
        case _:  # `PassPairs`
            return f"{found} counter accept"


def _passing(rule: PassEssential | PassTranslated | PassAll) -> str:
    if isinstance(rule, PassEssential):
        return _essential(rule)
    return _TRANSLATED if isinstance(rule, PassTranslated) else ""


def _essential(rule: PassEssential) -> str:
    match rule.what:
        case Essential.ICMP:
            types = ", ".join(str(number) for number in ICMP_ESSENTIAL[rule.family])
            return f"{'icmp' if rule.family == 4 else 'icmpv6'} type {{ {types} }}"
        case Essential.PROTOCOLS:
            return f"meta l4proto {{ {', '.join(str(number) for number in PROTOCOLS_ESSENTIAL)} }}"
        case Essential.PORTS:
            pairs = ", ".join(f"{protocol} . {port}" for protocol, port in PORTS_ESSENTIAL[rule.family])
            return f"meta l4proto . {_PORT[rule.side]} {{ {pairs} }}"
        case _:  # `Essential.FRAGMENTS`
            return "ip frag-off & 0x1fff != 0" if rule.family == 4 else "frag frag-off != 0"


def limit_text(kbit: int) -> str:
    """The token bucket of a member: what is above `kbit` (kbit/s) matches. nft takes a rate in bytes."""
    return f"limit rate over {kbit * BYTES_PER_KBIT} bytes/second burst {BURST_BYTES} bytes"


def entry_text(entry: ServiceEntry, *, ports: bool = True) -> str:
    """One map element, such as `192.0.2.10 . tcp . 443 : goto to4_ged`; `ports` False: of a map without ports."""
    protocol = "0-255" if entry.protocol is L4.ANY else entry.protocol.value
    port = f" . {_ports_text(entry.ports)}" if ports else ""
    return f"{_prefix_text(entry.prefix)} . {protocol}{port} : goto {entry.chain}"


def _prefix_text(prefix: Network) -> str:
    return str(prefix.network_address) if prefix.prefixlen == prefix.max_prefixlen else str(prefix)


def _ports_text(ports: Ports) -> str:
    low, high = ports
    return f"{low}" if low == high else f"{low}-{high}"


def _member(members: MemberSet, interface: str, side: Side) -> str:
    """The expression whose value is a key of `members`; a mask that keeps every bit is left out."""
    parts = [*([interface] if members.interface else []), *_masked(members.family, members.prefixlen, side)]
    if members.other is not None:
        far = Side.DESTINATION if side is Side.SOURCE else Side.SOURCE
        prefixlen, behind = members.other
        parts += [*([_INTERFACE[far]] if behind else []), *_masked(members.family, prefixlen, far)]
    return " . ".join(parts)


def _masked(family: Family, prefixlen: int, side: Side) -> Iterator[str]:
    address, longest = _ADDRESS[family, side], 32 if family == 4 else 128
    if 0 < prefixlen < longest:
        mask = ip_network(("0.0.0.0" if family == 4 else "::", prefixlen)).netmask  # noqa: S104
        address = f"{address} & {mask}"
    if prefixlen:
        yield address


def _set(members: MemberSet, elements: Sequence[str]) -> Iterator[str]:
    ends = ((members.prefixlen, members.interface), *((members.other,) if members.other else ()))
    parts = [
        part for prefixlen, interface in ends for part in (*["ifname"] * interface, *[_TYPE[members.family]] * (prefixlen > 0))
    ]
    yield f"set {members.name} {{"
    yield f"  type {' . '.join(parts)}"
    yield "  flags timeout"
    yield f"  counter {limit_text(MOST_KBIT)}" if members.use.caps else "  counter"
    if elements:
        yield "  elements = {"
        yield from (f"    {element}," for element in elements)
        yield "  }"
    yield "}"


def _map(services: ServiceMap) -> Iterator[str]:
    yield f"map {services.name} {{"
    yield f"  type {_TYPE[services.family]} . inet_proto{' . inet_service' if services.ports else ''} : verdict"
    if services.ranged:
        yield "  flags interval"
    yield "  elements = {"
    yield from (f"    {entry_text(entry, ports=services.ports)}," for entry in services.entries)
    yield "  }"
    yield "}"


def _chain(chain: Chain, sets: Mapping[str, MemberSet], comments: tuple[str, ...]) -> Iterator[str]:
    yield f"chain {chain.name} {{"
    if chain.hook:
        yield f"  {_head(chain)}"
    for rule, comment in zip(chain.rules, comments, strict=True):
        yield f'  {rule_text(rule, sets)} comment "{comment}"'
    yield "}"


def _head(chain: Chain) -> str:
    return f"type filter hook {chain.hook} priority {PRIORITY}; policy accept;" if chain.hook else ""

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

from agent.model import L4, Family
from agent.rules import (
    TABLE,
    CapMembers,
    Chain,
    DispatchFamily,
    LookupService,
    MemberSet,
    PassAnswers,
    PassMembers,
    PassResets,
    RefuseMembers,
    Rule,
    ServiceEntry,
    ServiceMap,
    Side,
    Structure,
)
from agent.ruleset import REFUSE, address_length

#: Before the gateway's own filter chains, which often accept what is established.
PRIORITY = "filter - 10"

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
            return f"{_ADDRESS[rule.family, rule.side]} . meta l4proto . {_PORT[rule.side]} vmap @{rule.map}"
        case PassResets():
            return "tcp flags & rst == rst return"
        case PassAnswers():
            return "tcp flags & (fin | syn | rst | ack) != syn return"
        case RefuseMembers() | CapMembers() | PassMembers():
            return _member_rule(rule, sets[rule.set])
        case _:  # nothing but `Refuse` is left, or mypy would not let `tcp` be read
            return "meta l4proto tcp reject with tcp reset" if rule.tcp else "reject with icmpx admin-prohibited"


def _member_rule(rule: RefuseMembers | CapMembers | PassMembers, members: MemberSet) -> str:
    interface = "meta sdifname" if rule.member else _INTERFACE[rule.side]
    found = f"{_member(members, interface, rule.side)} @{rule.set}"
    match rule:
        case RefuseMembers():
            return f"{found} goto {REFUSE}"
        case CapMembers():
            return f"{found} drop"
        case _:  # `PassMembers`
            return f"{'ct state established ' if rule.established else ''}{found} accept"


def limit_text(kbit: int) -> str:
    """The token bucket of a member: what is above `kbit` (kbit/s) matches. nft takes a rate in bytes."""
    return f"limit rate over {kbit * BYTES_PER_KBIT} bytes/second burst {BURST_BYTES} bytes"


def entry_text(entry: ServiceEntry) -> str:
    """One map element, such as `192.0.2.10 . tcp . 443 : goto to4_ged`."""
    protocol = "0-255" if entry.protocol is L4.ANY else entry.protocol.value
    low, high = entry.ports
    ports = str(low) if low == high else f"{low}-{high}"
    prefix = entry.prefix
    address = str(prefix.network_address) if prefix.prefixlen == prefix.max_prefixlen else str(prefix)
    return f"{address} . {protocol} . {ports} : goto {entry.chain}"


def _member(members: MemberSet, interface: str, side: Side) -> str:
    """The expression whose value is a key of `members`; a mask that keeps every bit is left out."""
    if members.interface and members.prefixlen == 0:
        return interface
    address = _ADDRESS[members.family, side]
    longest = 32 if members.family == 4 else 128
    if members.prefixlen < longest:
        mask = ip_network(("0.0.0.0" if members.family == 4 else "::", members.prefixlen)).netmask  # noqa: S104
        address = f"{address} & {mask}"
    return f"{interface} . {address}" if members.interface else address


def _set(members: MemberSet, elements: Sequence[str]) -> Iterator[str]:
    parts = (("ifname",) if members.interface else ()) + ((_TYPE[members.family],) if address_length(members) else ())
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
    yield f"  type {_TYPE[services.family]} . inet_proto . inet_service : verdict"
    if services.ranged:
        yield "  flags interval"
    yield "  elements = {"
    yield from (f"    {entry_text(entry)}," for entry in services.entries)
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

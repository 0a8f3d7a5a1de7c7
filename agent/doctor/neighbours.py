"""Floor 1, doctor. Other programs that filter on the same host: who comes before us, who after, who takes us away."""

from collections.abc import Iterator

from agent.doctor.facts import BaseChain, Facts, Table
from agent.doctor.findings import Finding, Level, Words, fine, listed, unread

_OURS = ("inet", "ecluse")

#: `filter - 10`, as our chains have it.
PRIORITY = -10
_HOOKS = ("forward", "input")
_BEFORE = ("ingress", "prerouting")

#: What a program that filters does to others, by the name of its process.
_KNOWN: dict[str, Words] = {
    "firewalld": (
        "firewalld a sa propre table et ne touche pas la nôtre ; avec FlushAllOnReload et le moteur iptables, il vide tout.",
        "firewalld has its own table and leaves ours alone; with FlushAllOnReload and the iptables backend it flushes everything.",
    ),
    "dockerd": (
        "docker ajoute ses règles iptables ; ce qu'il publie (DNAT) est vu par ecluse à l'adresse du conteneur.",
        "docker adds its iptables rules; what it publishes (DNAT) is seen by ecluse at the container's address.",
    ),
    "fail2ban-server": (
        "fail2ban a ses propres tables ou chaînes ; il ne touche pas la nôtre.",
        "fail2ban has tables or chains of its own; it leaves ours alone.",
    ),
    "crowdsec-firewal": (
        "le bouncer de CrowdSec a ses propres tables ; de grands ensembles ne ralentissent pas ecluse.",
        "CrowdSec's bouncer has tables of its own; large sets do not slow ecluse down.",
    ),
    "keepalived": (
        "keepalived (VRRP) : chaque passerelle refuse pour elle-même ; le registre ne passe pas encore de l'une à l'autre.",
        "keepalived (VRRP): each gateway refuses for itself; the ledger does not move from one to the other yet.",
    ),
}


def our_table(facts: Facts) -> Iterator[Finding]:
    """Is our table there, and is anything of it unlike ours?"""
    if "tables" in facts.unread:
        yield unread("TABLES", "tables nftables", "tables of nftables", facts.unread["tables"])
        return
    ours = next((table for table in facts.tables if (table.family, table.name) == _OURS), None)
    if ours is None:
        yield fine(
            "OUR_TABLE",
            "la table inet ecluse n'est pas chargée : personne n'est refusé",
            "table inet ecluse is not loaded: nobody is refused",
        )
        return
    odd = [chain.name for chain in ours.chains if chain.policy != "accept" or chain.priority != PRIORITY]
    if odd:
        yield Finding(
            code="OUR_TABLE",
            level=Level.BAD,
            what=(f"table inet ecluse : chaîne étrangère {listed(odd)}", f"table inet ecluse: foreign chain {listed(odd)}"),
            means=("Quelqu'un d'autre écrit dans notre table.", "Somebody else writes into our table."),
            do=(
                "Si l'agent tourne, il la remet en ordre et nomme le programme (`ecluse status`, `ecluse log`).",
                "If the agent runs it puts it right and names the program (`ecluse status`, `ecluse log`).",
            ),
            facts={"chains": odd},
        )
    else:
        yield fine("OUR_TABLE", "la table inet ecluse est chargée", "table inet ecluse is loaded")


def chains(facts: Facts) -> Iterator[Finding]:
    """Who is asked before us and after us, and who may drop before we can refuse."""
    if "tables" in facts.unread:
        return
    foreign = [table for table in facts.tables if (table.family, table.name) != _OURS]
    beside = sorted((chain for table in foreign for chain in table.chains), key=lambda chain: (chain.hook, chain.priority))
    met = [chain for chain in beside if chain.hook in (*_HOOKS, *_BEFORE)]
    same = [chain.place for chain in met if chain.hook in _HOOKS and chain.priority == PRIORITY]
    before = [chain for chain in met if chain.hook in _BEFORE or chain.priority < PRIORITY]
    after = [chain for chain in met if chain.hook in _HOOKS and chain.priority > PRIORITY]
    yield fine(
        "CHAINS",
        f"avant nous : {_places(before) or 'personne'} ; après nous : {_places(after) or 'personne'}",
        f"before us: {_places(before) or 'nobody'}; after us: {_places(after) or 'nobody'}",
        before=[_plain(chain) for chain in before],
        after=[_plain(chain) for chain in after],
    )
    if same:
        yield Finding(
            code="SAME_PRIORITY",
            level=Level.NOTICE,
            what=(f"même priorité que nous : {listed(same)}", f"the same priority as ours: {listed(same)}"),
            means=(
                "Lequel passe en premier dépend de l'ordre de chargement. Un refus d'ecluse reste un refus.",
                "Who comes first depends on the order of loading. What ecluse refuses stays refused.",
            ),
            do=("Rien, ou donner à l'autre chaîne une autre priorité.", "Nothing, or give the other chain another priority."),
            facts={"chains": same},
        )
    dropping = [chain.place for chain in before if chain.type == "filter" and _drops(chain, foreign)]
    if dropping:
        yield Finding(
            code="EARLIER_DROP",
            level=Level.NOTICE,
            what=(f"peuvent jeter avant nous : {listed(dropping)}", f"may drop before us: {listed(dropping)}"),
            means=(
                "Ce qui est jeté là n'est ni refusé ni compté par ecluse, et n'est pas rétabli par lui.",
                "What is dropped there is neither refused nor counted by ecluse, nor restored by it.",
            ),
            do=(
                "À savoir quand un client rétabli se plaint encore ; un `accept` là-bas ne contourne pas ecluse.",
                "Good to know when a restored customer still complains; an `accept` there does not get around ecluse.",
            ),
            facts={"chains": dropping},
        )


def marks(facts: Facts) -> Iterator[Finding]:
    """Do others use the packet mark? We never do."""
    users = [table.place for table in facts.tables if table.says & {"set meta mark", "set ct mark"}]
    used = f" ({listed(users)})" if users else ""
    yield fine(
        "MARKS",
        f"ecluse ne pose aucune marque : pas de collision possible{used}",
        f"ecluse sets no marks: no collision is possible{used}",
        tables=users,
    )


def legacy(facts: Facts) -> Iterator[Finding]:
    """Rules of legacy iptables, which nft does not show."""
    if "legacy" in facts.unread:
        yield unread("LEGACY", "iptables hérité", "legacy iptables", facts.unread["legacy"])
        return
    if not facts.legacy:
        yield fine("LEGACY", "pas de tables iptables héritées", "no tables of legacy iptables")
        return
    names = listed([f"{name} ({count})" if count >= 0 else name for name, count in facts.legacy.items()])
    also_nft = any(table.family in ("ip", "ip6") and table.name in ("filter", "nat", "mangle", "raw") for table in facts.tables)
    yield Finding(
        code="LEGACY",
        level=Level.WARNING if also_nft else Level.NOTICE,
        what=(f"tables iptables héritées : {names}", f"tables of legacy iptables: {names}"),
        means=(
            "Elles voient chaque paquet en plus de nftables, à la priorité 0 pour filter : après nous. nft ne les montre pas."
            + (" Il y a aussi des tables iptables-nft : deux jeux de règles à la fois." if also_nft else ""),
            "They see each packet beside nftables, at priority 0 for filter: after us. nft does not show them."
            + (" There are tables of iptables-nft too: two sets of rules at a time." if also_nft else ""),
        ),
        do=(
            "iptables-legacy-save les montre ; pour passer à nftables : update-alternatives --config iptables.",
            "iptables-legacy-save shows them; to move to nftables: update-alternatives --config iptables.",
        ),
        facts={"tables": dict(facts.legacy)},
    )


def ipsets(facts: Facts) -> Iterator[Finding]:
    """Sets of ipset that are nearly full: their owner's next addition fails."""
    for each in facts.ipsets:
        if each.most and each.members >= each.most * 0.9:
            yield Finding(
                code="IPSET",
                level=Level.NOTICE,
                what=(
                    f"ipset {each.name} : {each.members} éléments sur {each.most}",
                    f"ipset {each.name}: {each.members} members of {each.most}",
                ),
                means=("Plein, il refuse tout ajout de son propriétaire.", "Once full it refuses what its owner adds."),
                do=("Le recréer avec un maxelem plus grand.", "Make it anew with a larger maxelem."),
                facts={"name": each.name, "members": each.members, "most": each.most},
            )
    if facts.ipsets:
        names = listed([each.name for each in facts.ipsets])
        yield fine("IPSETS", f"ensembles ipset d'autres programmes : {names}", f"sets of ipset of other programs: {names}")


def flushes(facts: Facts) -> Iterator[Finding]:
    """Files that flush the whole ruleset when they are loaded."""
    if facts.files:
        yield Finding(
            code="FLUSHES",
            level=Level.NOTICE,
            what=(f"`flush ruleset` dans {listed(facts.files)}", f"`flush ruleset` in {listed(facts.files)}"),
            means=(
                (
                    "Chaque chargement de ce fichier enlève aussi notre table. L'agent la remet en quelques dizaines de "
                    "millisecondes ; s'il ne tourne pas, tout le monde est rétabli."
                ),
                (
                    "Each load of that file takes our table away too. The agent puts it back within some tens of milliseconds; if "
                    "it does not run, everybody is restored."
                ),
            ),
            do=(
                "Remplacer par `table inet filter; flush table inet filter` : n'enlever que ce qui est à soi.",
                "Write `table inet filter; flush table inet filter` instead: take away only what is one's own.",
            ),
            facts={"files": list(facts.files)},
        )


def tools(facts: Facts) -> Iterator[Finding]:
    """Programs that we know to filter."""
    for name in facts.running:
        if name in _KNOWN:
            yield fine("NEIGHBOUR", *_KNOWN[name], program=name)


def _drops(chain: BaseChain, foreign: list[Table]) -> bool:
    table = next(table for table in foreign if (table.family, table.name) == (chain.family, chain.table))
    return chain.policy == "drop" or bool(table.says & {"drop", "reject"})


def _places(found: list[BaseChain]) -> str:
    return listed([f"{chain.place} ({chain.hook} {chain.priority})" for chain in found]) if found else ""


def _plain(chain: BaseChain) -> dict[str, object]:
    return {"chain": chain.place, "hook": chain.hook, "priority": chain.priority, "policy": chain.policy}

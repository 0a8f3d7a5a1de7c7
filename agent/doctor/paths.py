"""Floor 1, doctor. The ways of packets: which pass us by, and where our refusals would get lost."""

from collections.abc import Iterator

from agent.doctor.facts import Facts
from agent.doctor.findings import Finding, Level, fine, listed, unread

#: Of the connection table; a full one drops new connections of everybody, local ones too.
_FULL, _NEARLY_FULL = 0.95, 0.80

#: Our table; everything in it is ours to check.
_OURS = ("inet", "ecluse")


def forwarding(facts: Facts) -> Iterator[Finding]:
    """Is this a gateway at all, in both families?"""
    names = {"IPv4": "net.ipv4.ip_forward", "IPv6": "net.ipv6.conf.all.forwarding"}
    off = [family for family, name in names.items() if facts.sysctls.get(name, "0") == "0"]
    if not off:
        yield fine("FORWARDING", "la passerelle transmet IPv4 et IPv6", "the gateway forwards IPv4 and IPv6")
        return
    level = Level.WARNING if len(off) == len(names) else Level.NOTICE
    yield Finding(
        code="FORWARDING",
        level=level,
        what=(f"cet hôte ne transmet pas {' ni '.join(off)}", f"this host does not forward {' nor '.join(off)}"),
        means=(
            "Les clients de cette famille ne passent pas par ici : rien n'y est suspendu ni compté.",
            "Customers of that family do not pass here: nothing is suspended or counted for them.",
        ),
        do=(
            f"Si c'est bien la passerelle : sysctl -w {names[off[0]]}=1",
            f"If this is the gateway: sysctl -w {names[off[0]]}=1",
        ),
        facts={"off": off},
    )


def flowtables(facts: Facts) -> Iterator[Finding]:
    """Flows in a flowtable pass no forward hook."""
    if "tables" in facts.unread:
        return
    found = {f"{table.place} {name}": devices for table in facts.tables for name, devices in table.flowtables.items()}
    if not found:
        yield fine("FLOWTABLES", "aucune flowtable", "no flowtable")
        return
    used = any("flow add" in table.says for table in facts.tables)
    # Which link a connection belongs to is told by the one routing table; where rules choose between several, by nothing.
    unclear = used and (bool(facts.rules) or any(link.kind == "vrf" for link in facts.links))
    yield Finding(
        code="FLOWTABLES",
        level=Level.WARNING if unclear else Level.NOTICE,
        what=(f"flowtables : {listed(list(found))}", f"flowtables: {listed(list(found))}"),
        means=(
            "Une connexion prise par une flowtable ne passe plus par `forward`. À chaque suspension, ecluse fait oublier au suivi "
            "de connexions exactement celles que la mesure refuse : elles en sortent en une seconde environ et sont refusées. "
            "Un plafond de débit (stade 2), lui, ne compte pas ce qu'une flowtable transporte."
            + (" Ici, plusieurs tables de routage : les connexions ouvertes de clients raccordés par un lien y restent." * unclear),
            "A connection that a flowtable took passes `forward` no more. At each suspension ecluse has connection tracking forget "
            "exactly those that the measure refuses: they leave it within about a second and are refused. A bandwidth cap "
            "(stage 2) does not count what a flowtable carries."
            + (" Here, several routing tables: open connections of customers attached by a link stay in it." * unclear),
        ),
        do=(
            (
                "Exclure de `flow add` les services suspendables de ces clients (ip daddr), ou donner à chacun un préfixe unique."
                if unclear
                else "Rien pour les suspensions ; pour un plafond, exclure ses services de `flow add` (ip daddr)."
            ),
            (
                "Leave these customers' suspendable services out of `flow add` (ip daddr), or attach each by a prefix of its own."
                if unclear
                else "Nothing for suspensions; for a cap, leave its services out of `flow add` (ip daddr)."
            ),
        ),
        facts={"flowtables": {name: list(devices) for name, devices in found.items()}},
    )


def offloads(facts: Facts) -> Iterator[Finding]:
    """XDP programs and hardware take packets before netfilter."""
    if "links" in facts.unread:
        yield unread("OFFLOADS", "interfaces", "interfaces", facts.unread["links"])
        return
    xdp = [link.name for link in facts.links if link.xdp]
    hardware = [link.name for link in facts.links if link.hardware_offload]
    if not xdp and not hardware:
        yield fine(
            "OFFLOADS", "aucun programme XDP, aucun délestage matériel de flux", "no XDP program, no hardware offload of flows"
        )
    if xdp:
        yield Finding(
            code="XDP",
            level=Level.WARNING,
            what=(f"programme XDP sur {listed(xdp)}", f"XDP program on {listed(xdp)}"),
            means=(
                "Ce qu'il transmet lui-même ne passe pas par netfilter, et donc pas par ecluse.",
                "What it forwards by itself does not pass netfilter, and so not ecluse.",
            ),
            do=(
                "Vérifier ce qu'il fait (bpftool net) ; un filtre simple ne gêne pas.",
                "Look at what it does (bpftool net); a plain filter does no harm.",
            ),
            facts={"interfaces": xdp},
        )
    if hardware:
        yield Finding(
            code="HARDWARE",
            level=Level.NOTICE,
            what=(f"hw-tc-offload actif sur {listed(hardware)}", f"hw-tc-offload is on for {listed(hardware)}"),
            means=(
                "Des flux délestés vers la carte ne passent plus par `forward`.",
                "Flows that were offloaded to the card pass `forward` no more.",
            ),
            do=(
                f"Si rien n'en a besoin : ethtool -K {hardware[0]} hw-tc-offload off",
                f"If nothing needs it: ethtool -K {hardware[0]} hw-tc-offload off",
            ),
            facts={"interfaces": hardware},
        )


def bridges(facts: Facts) -> Iterator[Finding]:
    """Bridged packets pass no forward hook of ours."""
    ports: dict[str, list[str]] = {}
    for link in facts.links:
        if link.bridge:
            ports.setdefault(link.bridge, []).append(link.name)
    wide = {bridge: names for bridge, names in ports.items() if len(names) > 1}
    if not wide or facts.sysctls.get("net.bridge.bridge-nf-call-iptables") == "1":
        return
    yield Finding(
        code="BRIDGES",
        level=Level.NOTICE,
        what=(f"ponts : {listed(list(wide))}", f"bridges: {listed(list(wide))}"),
        means=(
            "Entre deux ports d'un même pont les trames ne sont pas routées : elles ne passent pas par ecluse.",
            "Between two ports of one bridge frames are not routed: they do not pass ecluse.",
        ),
        do=(
            "Rien, si le client et le service suspendable ne sont pas sur le même pont.",
            "Nothing, unless a customer and a suspendable service are on the same bridge.",
        ),
        facts={"bridges": wide},
    )


def proxies(facts: Facts) -> Iterator[Finding]:
    """What is handed to a local proxy is not forwarded."""
    found = [table.place for table in facts.tables if table.says & {"redirect", "tproxy"}]
    if found:
        yield Finding(
            code="PROXIES",
            level=Level.WARNING,
            what=(
                f"trafic remis à un programme de la passerelle par {listed(found)}",
                f"traffic handed to a program of the gateway by {listed(found)}",
            ),
            means=(
                (
                    "Ce trafic ne passe pas par `forward` : c'est le mandataire qui se connecte au service, avec l'adresse de la "
                    "passerelle. Une suspension ne l'atteint pas."
                ),
                (
                    "That traffic does not pass `forward`: the proxy connects to the service, with the gateway's own address. "
                    "A suspension does not reach it."
                ),
            ),
            do=(
                "Exclure de la redirection les services suspendables, ou les refuser dans le mandataire.",
                "Leave the suspendable services out of the redirection, or refuse them in the proxy.",
            ),
            facts={"tables": found},
        )


def answers(facts: Facts) -> Iterator[Finding]:
    """Our refusals leave through `output`; who drops there makes clients wait."""
    chains = [
        chain
        for table in facts.tables
        for chain in table.chains
        if chain.hook in ("output", "postrouting") and chain.type == "filter" and (table.family, table.name) != _OURS
    ]
    strict = [chain.place for chain in chains if chain.policy == "drop"]
    if strict:
        yield Finding(
            code="ANSWERS",
            level=Level.WARNING,
            what=(f"{listed(strict)} : politique drop en sortie", f"{listed(strict)}: policy drop on the way out"),
            means=(
                (
                    "Nos refus (TCP RST, ICMP) sont émis par la passerelle elle-même. S'ils n'y sont pas acceptés, le client "
                    "attend au lieu d'échouer aussitôt."
                ),
                (
                    "Our refusals (TCP RST, ICMP) are sent by the gateway itself. If they are not accepted there, clients wait "
                    "instead of failing at once."
                ),
            ),
            do=(
                "Accepter en sortie : meta l4proto { icmp, ipv6-icmp } accept ; tcp flags rst accept",
                "Accept on the way out: meta l4proto { icmp, ipv6-icmp } accept; tcp flags rst accept",
            ),
            facts={"chains": strict},
        )
    else:
        yield fine(
            "ANSWERS", "personne n'arrête nos refus en sortie par défaut", "nobody stops our refusals on the way out by default"
        )


def routes(facts: Facts) -> Iterator[Finding]:
    """A refusal has neither the interface nor the mark of the packet that it answers."""
    if "rules" in facts.unread:
        yield unread("ROUTES", "règles de routage", "routing rules", facts.unread["rules"])
        return
    by_interface = [rule for rule in facts.rules if rule.iif and rule.iif != "lo"]
    by_mark = [rule for rule in facts.rules if rule.mark is not None]
    reflect = {4: "net.ipv4.fwmark_reflect", 6: "net.ipv6.fwmark_reflect"}
    lost = [rule for rule in by_mark if facts.sysctls.get(reflect[rule.family], "0") == "0"]
    if by_interface:
        names = listed([f"{rule.priority}: iif {rule.iif} lookup {rule.table}" for rule in by_interface])
        yield Finding(
            code="ROUTES_IIF",
            level=Level.WARNING,
            what=(f"règles de routage par interface d'entrée : {names}", f"routing rules by incoming interface: {names}"),
            means=(
                (
                    "Un refus est émis par la passerelle, sans interface d'entrée : il suit la table principale et peut se perdre. "
                    "Le client attend alors au lieu d'échouer aussitôt."
                ),
                (
                    "A refusal is sent by the gateway and has no incoming interface: it follows the main table and may get lost. "
                    "The client then waits instead of failing at once."
                ),
            ),
            do=(
                "Donner à la table principale une route vers ces clients, ou ajouter une règle `to PREFIXE lookup TABLE`.",
                "Give the main table a route to these customers, or add a rule `to PREFIX lookup TABLE`.",
            ),
            facts={"rules": [rule.priority for rule in by_interface]},
        )
    if lost:
        families = sorted({rule.family for rule in lost})
        names = listed([f"{rule.priority}: fwmark {rule.mark:#x} lookup {rule.table}" for rule in lost])
        switch = "; ".join(f"sysctl -w {reflect[family]}=1" for family in families)
        yield Finding(
            code="ROUTES_MARK",
            level=Level.WARNING,
            what=(f"règles de routage par marque : {names}", f"routing rules by mark: {names}"),
            means=(
                "Un refus ne porte pas la marque du paquet refusé : il peut prendre un autre chemin et se perdre.",
                "A refusal does not carry the mark of the refused packet: it may take another way and get lost.",
            ),
            do=(switch, switch),
            facts={"rules": [rule.priority for rule in lost]},
        )
    if not by_interface and not lost:
        yield fine(
            "ROUTES", "les refus retrouvent leur chemin par la table principale", "refusals find their way by the main table"
        )
    if facts.sysctls.get("net.ipv4.conf.all.rp_filter") == "1":
        yield Finding(
            code="RP_FILTER",
            level=Level.NOTICE,
            what=("rp_filter strict (1) partout", "rp_filter is strict (1) everywhere"),
            means=(
                "Des paquets dont le retour passe par une autre interface sont jetés avant nous, sans refus.",
                "Packets whose way back is another interface are dropped before us, without a refusal.",
            ),
            do=(
                "Avec des chemins asymétriques : net.ipv4.conf.all.rp_filter=2",
                "With asymmetric paths: net.ipv4.conf.all.rp_filter=2",
            ),
        )


def conntrack(facts: Facts) -> Iterator[Finding]:
    """Connection tracking: is it on, and does the table have room?"""
    if facts.conntrack is None:
        yield fine(
            "CONNTRACK",
            "pas de suivi de connexions ; ecluse ne l'allume jamais",
            "no connection tracking; ecluse never switches it on",
        )
        return
    count, most = facts.conntrack
    share = count / most if most else 0.0
    level = Level.BAD if share >= _FULL else Level.WARNING if share >= _NEARLY_FULL else Level.OK
    what = (f"suivi de connexions : {count} sur {most}", f"connection tracking: {count} of {most}")
    if level is Level.OK:
        yield fine("CONNTRACK", *what, count=count, most=most)
        return
    yield Finding(
        code="CONNTRACK",
        level=level,
        what=what,
        means=(
            (
                "Une table pleine jette les nouvelles connexions de tout le monde, aussi celles d'un site vers lui-même : cela "
                "ressemblerait à une coupure que personne n'a décidée."
            ),
            (
                "A full table drops new connections of everybody, also those of a site to itself: it would look like a cut that "
                "nobody decided."
            ),
        ),
        do=(
            f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}, et chercher qui la remplit (conntrack -S).",
            f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}, and find out who fills it (conntrack -S).",
        ),
        facts={"count": count, "most": most},
    )

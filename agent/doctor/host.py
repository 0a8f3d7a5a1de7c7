"""Floor 1, doctor. Checks of the host itself: kernel, tools, clock, disk."""

import re
from collections.abc import Iterator

from agent.doctor.facts import Clock, Facts
from agent.doctor.findings import Finding, Level, Words, fine, unread

#: Before it, sets with concatenations lack parts of what we load; Debian 12 has 6.1.
_OLDEST = (5, 10)
_OLDEST_NFT = (1, 0, 2)

#: A clock that may be off by more is not trusted for deadlines (policies say how much exactly).
_MOST_OFFSET_MS = 5000.0
_LITTLE_MB, _TOO_LITTLE_MB = 500.0, 50.0
_LITTLE_SHARE = 0.05
_FEW_FILES = 1000
_NO_ROOM = (
    "Sans place, le registre refuse tout : 503 aux webhooks, aucun bail renouvelé. Les paiements rétablissent quand même.",
    "Without room the ledger refuses everything: 503 to webhooks, no lease renewed. Payments restore all the same.",
)


def version(text: str) -> tuple[int, ...]:
    """The numbers at the start of a version."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def kernel(facts: Facts) -> Iterator[Finding]:
    """Is the kernel new enough?"""
    if version(facts.kernel) >= _OLDEST:
        yield fine("KERNEL", f"noyau Linux {facts.kernel}", f"Linux {facts.kernel}", release=facts.kernel)
        return
    yield Finding(
        code="KERNEL",
        level=Level.BAD,
        what=(f"noyau Linux {facts.kernel or 'inconnu'}", f"Linux {facts.kernel or 'unknown'}"),
        means=("ecluse n'a pas été essayé avec un noyau aussi ancien.", "ecluse was not tried on a kernel as old as this."),
        do=("Passer à Debian 12 (Linux 6.1) ou plus récent.", "Move to Debian 12 (Linux 6.1) or newer."),
        facts={"release": facts.kernel},
    )


def programs(facts: Facts) -> Iterator[Finding]:
    """Is libnftables there, and is the `nft` program of an age that people can look with?"""
    if facts.libnftables is not None:
        yield Finding(
            code="LIBNFTABLES",
            level=Level.BAD,
            what=(f"libnftables ne se charge pas : {facts.libnftables}", f"libnftables can not be loaded: {facts.libnftables}"),
            means=(
                "Rien ne peut être suspendu ; les rétablissements marchent quand même.",
                "Nothing can be suspended; restores work all the same.",
            ),
            do=("apt install libnftables1", "apt install libnftables1"),
        )
    if facts.nft is None:
        yield Finding(
            code="NFT",
            level=Level.WARNING,
            what=("le programme nft manque", "the program nft is missing"),
            means=(
                "ecluse s'en passe, mais personne ne peut regarder les règles, ni `ecluse doctor` celles des autres.",
                "ecluse does without, but nobody can look at the rules, nor can `ecluse doctor` at those of others.",
            ),
            do=("apt install nftables", "apt install nftables"),
        )
    elif version(facts.nft) < _OLDEST_NFT:
        yield Finding(
            code="NFT",
            level=Level.WARNING,
            what=(f"nft {facts.nft}", f"nft {facts.nft}"),
            means=(
                "Cette version affiche mal ce que des programmes plus récents ont chargé.",
                "This version shows badly what newer programs loaded.",
            ),
            do=("Passer à nftables 1.0.6 ou plus récent.", "Move to nftables 1.0.6 or newer."),
        )
    else:
        yield fine("NFT", f"nft {facts.nft}", f"nft {facts.nft}", version=facts.nft)


def features(facts: Facts) -> Iterator[Finding]:
    """What the kernel did with a table like ours, in a network of its own."""
    if facts.features is None:
        why = facts.unread.get("features", "")
        yield unread("FEATURES", "capacités du noyau", "what the kernel can do", why)
        return
    if not facts.features.get("structure", False):
        yield Finding(
            code="FEATURES",
            level=Level.BAD,
            what=("ce noyau ne prend pas une table comme la nôtre", "this kernel does not take a table like ours"),
            means=("Rien ne peut être suspendu ici.", "Nothing can be suspended here."),
            do=(
                "Il faut CONFIG_NF_TABLES_INET, CONFIG_NFT_REJECT_INET et les ensembles avec délai ; le noyau de Debian les a.",
                "It takes CONFIG_NF_TABLES_INET, CONFIG_NFT_REJECT_INET and sets with timeouts; Debian's kernel has them.",
            ),
        )
        return
    yield fine(
        "FEATURES",
        "ce noyau prend une table comme la nôtre (essayé dans un réseau à part)",
        "this kernel takes a table like ours (tried in a network of its own)",
    )
    renew = facts.features.get("renew_keeps_counter", False)
    yield Finding(
        code="RENEWAL",
        level=Level.OK if renew else Level.NOTICE,
        what=(
            f"un bail {'se prolonge sans' if renew else 'ne se prolonge pas sans'} remettre son compteur à zéro",
            f"a lease {'can' if renew else 'can not'} be renewed without resetting its counter",
        ),
        means=("", "")
        if renew
        else (
            "Le compteur d'un élément repart de zéro à chaque renouvellement (Linux avant 6.12).",
            "An element's counter starts again with each renewal (Linux before 6.12).",
        ),
        facts={"renew_keeps_counter": renew},
    )
    owner = facts.features.get("owner_persist", False)
    yield fine(
        "OWNER",
        f"tables à propriétaire durable : {'oui' if owner else 'non'} (pas nécessaires)",
        f"tables with a lasting owner: {'yes' if owner else 'no'} (not needed)",
        owner_persist=owner,
    )


def clock(facts: Facts) -> Iterator[Finding]:
    """Is the time right?"""
    if facts.clock is None:
        yield unread("CLOCK", "synchronisation de l'horloge", "clock synchronisation", facts.unread.get("clock", ""))
    elif not facts.clock.synchronised or facts.clock.offset_ms > _MOST_OFFSET_MS:
        yield Finding(
            code="CLOCK",
            level=Level.WARNING,
            what=(f"horloge non synchronisée{_off(facts.clock)[0]}", f"the clock is not synchronised{_off(facts.clock)[1]}"),
            means=(
                "Sans heure sûre, rien de nouveau n'est suspendu et les mesures finissent avec leur bail.",
                "Without a trusted time nothing new is suspended, and measures end with their lease.",
            ),
            do=("Installer chrony ou activer systemd-timesyncd.", "Install chrony, or enable systemd-timesyncd."),
            facts={"synchronised": facts.clock.synchronised, "offset_ms": facts.clock.offset_ms},
        )
    else:
        yield fine(
            "CLOCK",
            f"horloge synchronisée{_off(facts.clock)[0]}",
            f"the clock is synchronised{_off(facts.clock)[1]}",
            offset_ms=facts.clock.offset_ms,
        )


def _off(clock: Clock) -> Words:
    """By how much, where the kernel says so."""
    return (f" (écart {clock.offset_ms:.0f} ms)", f" (off by {clock.offset_ms:.0f} ms)") if clock.offset_ms else ("", "")


def disk(facts: Facts) -> Iterator[Finding]:
    """Is there room for the ledger?"""
    if facts.disk is None:
        yield unread("DISK", "place pour le registre", "room for the ledger", facts.unread.get("disk", ""))
        return
    found = facts.disk
    little = found.free_mb < _LITTLE_MB or found.free_mb < found.total_mb * _LITTLE_SHARE or found.free_files < _FEW_FILES
    level = Level.BAD if found.free_mb < _TOO_LITTLE_MB or found.read_only else Level.WARNING if little else Level.OK
    if found.read_only:
        what = (f"{found.path} est en lecture seule", f"{found.path} is read-only")
    else:
        what = (f"{found.path} : {found.free_mb:.0f} Mo libres", f"{found.path}: {found.free_mb:.0f} MB free")
    yield Finding(
        code="DISK",
        level=level,
        what=what,
        means=("", "") if level is Level.OK else _NO_ROOM,
        do=("", "") if level is Level.OK else (f"Faire de la place sous {found.path}.", f"Make room below {found.path}."),
        facts={"path": found.path, "free_mb": round(found.free_mb), "free_files": found.free_files, "read_only": found.read_only},
    )

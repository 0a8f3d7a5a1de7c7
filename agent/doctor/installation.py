"""Floor 1, doctor. Checks of our own installation: who may read what, certificates, units."""

from collections.abc import Iterator, Mapping

from agent.doctor.facts import Facts, Kept
from agent.doctor.findings import Finding, Level, Words, fine, listed, unread

#: A certificate with fewer days left should have been renewed.
_FEW_DAYS = 14.0

#: The units without which no payment restores.
ROLES = ("ecluse-serve.service", "ecluse-enforce.service")

#: Every unit that is asked about. Not the port for metrics alone: it is there for who wants it.
UNITS = (*ROLES, "ecluse-serve.socket", "ecluse-probe.service", "ecluse-probe.socket", "ecluse.target")

#: What the lack of each of the others means, in French and English. Restores need none of them.
_BESIDE: Mapping[str, Words] = {
    "ecluse-serve.socket": (
        "Un webhook envoyé pendant un redémarrage du rôle serve est refusé au lieu d'attendre.",
        "A webhook sent while the listening role restarts is refused instead of waiting.",
    ),
    "ecluse-probe.service": (
        "Rien de local n'est observé, aucun nom n'est résolu : rien de nouveau n'est suspendu, aucune régression n'est vue.",
        "Nothing local is looked at, no name is resolved: nothing new is suspended, and no regression is seen.",
    ),
    "ecluse-probe.socket": (
        "Le rôle enforce ne peut rien demander au rôle probe, qui ne redémarrera pas.",
        "The enforcing role can ask the probing role nothing, and that role will not start again.",
    ),
    "ecluse.target": (
        "Rien ne démarre ecluse avec la machine : après un redémarrage les mesures s'arrêtent avec leurs règles.",
        "Nothing starts ecluse with the machine: after a reboot measures are over with their rules.",
    ),
}

#: States of a unit that does its work; `reloading` is one for an instant.
_RUNNING = ("active", "reloading")

_GROUP_OR_OTHERS = 0o077
_WRITABLE_BY_OTHERS = 0o022


def private(facts: Facts) -> Iterator[Finding]:
    """May nobody but their owner read the ledger, the secrets and the keys, nor write what we read?"""
    if "kept" in facts.unread:
        yield unread("PRIVATE", "droits des fichiers", "rights of files", facts.unread["kept"])
        return
    open_ = [one for one in facts.kept if one.mode & (_WRITABLE_BY_OTHERS if one.what == "config" else _GROUP_OR_OTHERS)]
    strange = [one for one in facts.kept if one.what == "ledger" and one.uid != one.directory_uid]
    for one in open_:
        yield _exposed(one)
    for one in strange:
        yield Finding(
            code="LEDGER_OWNER",
            level=Level.BAD,
            what=(
                f"{one.path} n'appartient pas à qui possède son répertoire",
                f"{one.path} does not belong to who owns its directory",
            ),
            means=(
                "Le rôle enforce ne peut pas l'ouvrir et ne démarre pas.",
                "The enforcing role can not open it and does not start.",
            ),
            do=(f"chown --reference={one.directory} {one.path}", f"chown --reference={one.directory} {one.path}"),
            facts={"path": one.path, "uid": one.uid},
        )
    if facts.kept and not open_ and not strange:
        yield fine(
            "PRIVATE",
            f"registre, secrets et clés fermés aux autres ({len(facts.kept)} fichiers)",
            f"ledger, secrets and keys are closed to others ({len(facts.kept)} files)",
            files=len(facts.kept),
        )


def _exposed(one: Kept) -> Finding:
    right = "go-w" if one.what == "config" else "go="
    secret = one.what in ("secret", "key")
    return Finding(
        code="PRIVATE",
        level=Level.BAD if secret else Level.WARNING,
        what=(f"{one.path} est ouvert à d'autres (mode {one.mode:04o})", f"{one.path} is open to others (mode {one.mode:04o})"),
        means=(
            "Un secret lu par d'autres permet de signer de faux faits ; ecluse le refuse.",
            "A secret that others read lets them sign false facts; ecluse refuses it.",
        )
        if secret
        else (
            "D'autres comptes lisent des données de clients, ou changent ce qu'ecluse applique.",
            "Other accounts read customers' data, or change what ecluse enforces.",
        ),
        do=(
            f"chmod {right} {one.path}" + (" ; changer le secret" if secret else ""),
            f"chmod {right} {one.path}" + ("; change the secret" if secret else ""),
        ),
        facts={"path": one.path, "mode": f"{one.mode:04o}", "what": one.what},
    )


def aside(facts: Facts) -> Iterator[Finding]:
    """Do former ledgers lie about?"""
    if facts.former:
        yield Finding(
            code="FORMER_LEDGERS",
            level=Level.NOTICE,
            what=(f"anciens registres gardés : {listed(facts.former)}", f"former ledgers are kept: {listed(facts.former)}"),
            means=(
                "Ils prennent de la place et contiennent encore ce qui a été effacé depuis.",
                "They take room and still hold what was erased since.",
            ),
            do=("Les supprimer une fois la restauration vérifiée.", "Remove them once the restore has been looked at."),
            facts={"files": list(facts.former)},
        )


def certificates(facts: Facts) -> Iterator[Finding]:
    """Can the TLS files be used, and for how long?"""
    for one in facts.certificates:
        if one.fault:
            yield Finding(
                code="CERTIFICATE",
                level=Level.BAD,
                what=(f"TLS de {one.listener} : {one.fault}", f"TLS of {one.listener}: {one.fault}"),
                means=("Le rôle serve ne démarre pas avec ces fichiers.", "The listening role does not start with these files."),
                do=("Corriger le fichier nommé.", "Mend the file that is named."),
                facts={"listener": one.listener},
            )
        elif one.days_left is not None and one.days_left < _FEW_DAYS:
            over = one.days_left <= 0
            yield Finding(
                code="CERTIFICATE",
                level=Level.BAD if over else Level.WARNING,
                what=(
                    f"le certificat de {one.listener} {'est expiré' if over else f'expire dans {one.days_left:.0f} jours'}",
                    f"the certificate of {one.listener} {'has ended' if over else f'ends in {one.days_left:.0f} days'}",
                ),
                means=(
                    "Ensuite les systèmes de facturation refusent de livrer, et les paiements n'arrivent plus.",
                    "After that billing systems refuse to deliver, and payments do not come in.",
                ),
                do=("Le renouveler ; aucun redémarrage n'est nécessaire.", "Renew it; no restart is needed."),
                facts={"listener": one.listener, "days_left": round(one.days_left, 1)},
            )
        elif one.days_left is not None:
            yield fine(
                "CERTIFICATE",
                f"certificat de {one.listener} valable encore {one.days_left:.0f} jours",
                f"the certificate of {one.listener} is good for {one.days_left:.0f} days",
                listener=one.listener,
                days_left=round(one.days_left, 1),
            )


def units(facts: Facts) -> Iterator[Finding]:
    """Under systemd: are our units there, enabled and running?"""
    if facts.units is None:
        return
    states = {name: facts.units.get(name) or "not-found" for name in UNITS}
    if all(states[name] == "not-found" for name in ROLES):
        yield Finding(
            code="UNITS",
            level=Level.NOTICE,
            what=("aucune unité systemd d'ecluse", "no systemd unit of ecluse"),
            means=("Rien ne démarre ecluse avec la machine.", "Nothing starts ecluse with the machine."),
            do=("Lancer install.sh, ou fournir ses propres unités.", "Run install.sh, or bring units of your own."),
        )
        return
    bad = {name: state for name, state in states.items() if state not in _RUNNING}
    if not bad:
        yield fine("UNITS", f"unités actives : {listed(sorted(states))}", f"units are active: {listed(sorted(states))}")
    roles = {name: state for name, state in bad.items() if name in ROLES}
    if roles:
        said = listed([f"{name} ({state})" for name, state in sorted(roles.items())])
        yield Finding(
            code="UNITS",
            level=Level.BAD,
            what=(f"unités qui ne tournent pas : {said}", f"units that do not run: {said}"),
            means=("Les paiements n'arrivent pas ou ne rétablissent pas.", "Payments do not come in, or do not restore."),
            do=("systemctl status, journalctl -u", "systemctl status, journalctl -u"),
            facts=roles,
        )
    for name, means in _BESIDE.items():
        if name in bad:
            yield _beside(name, bad[name], means)


def _beside(name: str, state: str, means: Words) -> Finding:
    """A unit that helps, and is not up. Who masked it wanted it so."""
    do = {
        "not-found": ("Lancer install.sh, qui apporte l'unité.", "Run install.sh, which brings the unit."),
        "masked": (f"Si ce n'est pas voulu : systemctl unmask {name}", f"If this is not wanted: systemctl unmask {name}"),
        "disabled": (f"systemctl enable {name}", f"systemctl enable {name}"),
    }
    command = f"systemctl start {name} ; journalctl -u {name}"
    return Finding(
        code="UNIT_ASIDE",
        level=Level.NOTICE if state == "masked" else Level.WARNING,
        what=(f"l'unité {name} n'est pas en service ({state})", f"the unit {name} is not up ({state})"),
        means=means,
        do=do.get(state, (command, command)),
        facts={name: state},
    )

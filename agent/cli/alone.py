"""Floor 4. Restoring from the command line when no enforcer answers: as root, on the gateway, by the kernel and the stop file.

Rules of this room:

1. Which gateway is meant must be sure: with `--socket` alone it is not. Without a configuration that can be used, the usual
   places are taken, because an emergency does not wait for a file to be mended.
2. It acts in the network namespace it is started in, like `nft` does.
"""

import os
import pwd
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from agent import emergency
from agent.cli.ask import DEFAULT_CONFIG, USUAL_SOCKET, Answer, Where, configured
from agent.cli.door import Exit
from agent.cli.screen import Screen
from agent.config import Config
from agent.errors import ConfigError
from agent.kernel.choice import choose
from agent.stopfile import Pause

#: What the kernel says of a process that nobody logged in for.
_NOBODY = 2**32 - 1


def restore_alone(screen: Screen, where: Where, reason: str, company: str | None = None) -> Answer | None:
    """Restore one company, or everybody, without the enforcer.

    Args:
        screen: where is told why it can not be done from here.
        where: which configuration was named.
        reason: why; it goes into the ledger later.
        company: its id; None for everybody.

    Returns:
        What was done; None where it can not be done from here, and why was said.

    Raises:
        ConfigError: a configuration that was named can not be used.
        KernelError: the kernel could not be changed.
    """
    if where.socket is not None and where.config is None:
        return None
    if os.geteuid() != 0:
        screen.note(("Sans l'agent, il faut être root.", "Without the enforcer, this takes root."))
        return None
    config = _config(where)
    if config.kernel == "memory":
        return None
    _make_spare_place(config)
    kernel = choose(config.kernel).kernel
    try:
        pause = Pause(by=_person(), at=datetime.now(UTC), reason=reason, restore=True)
        places = (config.state_dir / "stop.json", config.run_dir / "stop.json")
        done = emergency.restore(kernel, places, pause, company)
    finally:
        kernel.close()
    return _told(done, company)


def _config(where: Where) -> Config:
    try:
        return configured(where.config)
    except (ConfigError, OSError):
        if where.config is not None:
            raise
        return Config(policies=DEFAULT_CONFIG, sources=DEFAULT_CONFIG, run_dir=USUAL_SOCKET.parent)


def _make_spare_place(config: Config) -> None:
    """Make the run directory that systemd took away with the service; as its owner's, so that the next one can read in it."""
    with suppress(OSError):
        owner = config.state_dir.stat()
        config.run_dir.mkdir(mode=0o755)
        os.chown(config.run_dir, owner.st_uid, owner.st_gid)


def _person() -> str:
    """The user who logged in, as the kernel remembers it through `sudo`; else who runs this."""
    with suppress(OSError, ValueError, KeyError):
        login = int(Path("/proc/self/loginuid").read_text())
        if login != _NOBODY:
            return pwd.getpwuid(login).pw_name
    return pwd.getpwuid(os.getuid()).pw_name


def _told(done: emergency.Restored, company: str | None) -> Answer:
    if company is None:
        fr, en = "tous les services sont rétablis, sans l'agent", "every service is restored, without the enforcer"
    else:
        fr, en = f"{company} : service rétabli, sans l'agent", f"{company}: service restored, without the enforcer"
    if not done.there:
        fr += " (le noyau n'en contenait rien dans cet espace réseau)"
        en += " (the kernel held nothing of it in this network namespace)"
    data = {"alone": True, "there": done.there, "stop_file": str(done.place) if done.place else None, "faults": list(done.faults)}
    if done.place is None:
        where = "; ".join(done.faults)
        fr += f".\nLe fichier d'arrêt n'a pu être écrit : {where}.\nArrêter l'agent, ou il remettra ses règles en place."
        en += f".\nThe stop file could not be written: {where}.\nStop the enforcer, or it will put its rules back."
        return Answer(exit=int(Exit.FAILED), message={"fr": fr, "en": en}, data=data)
    fr += f" ; {done.place} empêche d'y revenir ; sera inscrit au registre par l'agent"
    en += f"; {done.place} keeps it so; the enforcer will record it"
    if company is None:
        fr, en = f"{fr}. Rien ne sera suspendu avant `ecluse resume`", f"{en}. Nothing will be suspended before `ecluse resume`"
    return Answer(exit=int(Exit.DONE), message={"fr": fr, "en": en}, data=data)

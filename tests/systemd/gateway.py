"""A gateway: ecluse installed by install.sh in a whole Debian, with the doors and questions of `House`.

Only the clock of the enforcer is another one, given by a drop-in that starts the test's `daemon.py` in the shipped unit's sandbox.
"""

import base64
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.lab import Laboratory, Space
from tests.process.house import DAEMON, MONDAY, PORT, SECRET, SERVICES, STATED, Firm, House, policies, until
from tests.process.test_traffic import ANNEX_PORTS, seen
from tests.systemd.debian import Machine

ENFORCE, SERVE, PROBE = "ecluse-enforce.service", "ecluse-serve.service", "ecluse-probe.service"
UNITS = (ENFORCE, SERVE, PROBE)

_CLOCK = """[Service]
ExecStart=
ExecStart=/opt/ecluse/current/bin/python /opt/test/daemon.py /etc/ecluse/ecluse.yaml /opt/test/offset
"""


_EVENTS = """
import json, sys
from pathlib import Path
from agent.ledger.sqlite import Ledger
with Ledger.open(Path("/var/lib/ecluse/ledger.db"), read_only=True) as ledger:
    for row in ledger.events(sys.argv[1] or None):
        print(json.dumps({"type": row.event.type, "subject": row.event.subject, "body": dict(row.event.body)}, default=str))
"""


@dataclass(frozen=True, kw_only=True)
class Said:
    """An event, as far as these tests look at it."""

    type: str
    subject: str
    body: Mapping[str, Any]


class Gateway(House):
    """See the module. Its roles are units of the machine."""

    def __init__(self, machine: Machine, space: Space, companies: Sequence[Firm]) -> None:
        self.machine, self.space, self.companies = machine, space, tuple(companies)
        self.started, self.roles = [], {}
        self._serial, self._lock = 0, threading.Lock()

    # Not kept: after a reboot the files are found under another process.
    @property
    def directory(self) -> Path:  # type: ignore[override]
        return self.machine.root / "etc/ecluse"

    @property
    def state(self) -> Path:  # type: ignore[override]
        return self.machine.root / "var/lib/ecluse"

    @property
    def run(self) -> Path:  # type: ignore[override]
        return self.machine.root / "run/ecluse"

    @property
    def policies(self) -> Path:  # type: ignore[override]
        return self.directory / "policies"

    @property
    def config(self) -> Path:  # type: ignore[override]
        return self.directory / "ecluse.yaml"

    @property
    def offset(self) -> Path:  # type: ignore[override]
        return self.machine.root / "opt/test/offset"

    def install(self, bundle: Path, *options: str, code: int = 0, language: str = "en") -> str:
        """Copy a bundle in and run its install.sh; returns what it said."""
        place = f"/root/{bundle.parents[1].name}/{bundle.name}"
        if not (self.machine.root / place.lstrip("/")).exists():
            self.machine.copy(bundle, place)
        done = self.machine.run(f"{place}/install.sh", *options, check=False, seconds=240, language=language)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def set_up(self) -> None:
        """Files of a provider who lets the agent act, in place of the installed ones; both roles start with a new ledger."""
        (self.policies / "services.yaml").write_text(SERVICES)
        (self.policies / "suspension.yaml").write_text(policies())
        self.inventory(self.companies)
        (self.directory / "secrets" / "billing").write_text("whsec_" + base64.b64encode(SECRET).decode())
        source = f"kind: native, secrets: [secrets/billing], customer_ids: own, events: [{', '.join(STATED)}]"
        (self.directory / "sources.yaml").write_text(f"sources: {{billing: {{{source}}}}}\n")
        self.config.write_text(
            "policies: policies\nsources: sources.yaml\nserve_group: ecluse-serve\noperators_group: ecluse\n"
            "mode_ceiling: auto\noperators: [{name: Claire Martin, user: root, roles: [approver, operator]}]\n"
        )
        self.machine.write("/opt/test/daemon.py", DAEMON.read_text())
        self.set_clock(MONDAY)
        self.drop_in(ENFORCE, "clock", _CLOCK)
        self.systemctl("stop", *UNITS)
        for path in self.state.iterdir():  # it would notice that the clock went back, and rightly suspend nobody
            path.unlink()
        self.systemctl("start", *UNITS)

    def drop_in(self, unit: str, name: str, text: str) -> None:
        """Alter a unit as an administrator does; "" takes it back."""
        path = f"/etc/systemd/system/{unit}.d/{name}.conf"
        if text:
            self.machine.write(path, text)
        else:
            (self.machine.root / path.lstrip("/")).unlink()
        self.systemctl("daemon-reload")

    def systemctl(self, *words: str, code: int = 0) -> str:
        """systemctl; fails with the journal's last lines."""
        done = self.machine.run("systemctl", *words, check=False, seconds=120)
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}{self.machine.journal('-n', '40')}"
        return done.stdout + done.stderr

    def pid(self, unit: str = ENFORCE) -> int:
        """The main process of a unit as the machine counts, 0 for none."""
        return int(self.machine.show(unit, "MainPID"))

    def up(self, unit: str = ENFORCE) -> bool:
        """Whether a unit said that it is ready."""
        return self.machine.show(unit, "ActiveState") == "active"

    def comes_back(self, unit: str, former: int, seconds: float = 30) -> None:
        """Wait until a unit runs as another process."""

        def back() -> bool:
            # In one question: between two, a unit that was active and killed is one without a process.
            said = self.machine.run("systemctl", "show", "-p", "ActiveState", "-p", "MainPID", unit).stdout
            state = dict(line.split("=", 1) for line in said.splitlines())
            return state["ActiveState"] == "active" and int(state["MainPID"]) not in (0, former)

        until(back, seconds, what=f"{unit} comes back", pause=0.2)

    def events(self, type_: str = "", subject: str | None = None) -> list[Any]:
        """The ledger's events, read in the machine: SQLite follows the way to a file, and out here it leads elsewhere."""
        done = self.machine.run("/opt/ecluse/current/bin/python", "-I", "-c", _EVENTS, subject or "")
        found = [Said(**json.loads(line)) for line in done.stdout.splitlines()]
        return [one for one in found if not type_ or one.type == type_]

    def nft(self, *arguments: str, text: str | None = None) -> str:
        """The machine's own `nft`: an older one may not be able to read what a newer libnftables wrote."""
        return self.machine.run("nft", *arguments, text=text).stdout

    def version(self) -> str:
        """Of the enforcer that answers."""
        return str(self.status()["version"])


__all__ = ["ENFORCE", "PORT", "PROBE", "SERVE", "UNITS", "Gateway"]


def refused(lab: Laboratory) -> bool:
    """Whether the desk is refused every annex service.

    TCP at once. Over UDP the kernel sends only so many refusals a second, and now and then there is silence instead.
    """
    found = zip(ANNEX_PORTS, seen(lab, "desk", *ANNEX_PORTS), strict=True)
    return all(result == "refused" or (place[0] == "udp" and result == "no_answer") for place, result in found)

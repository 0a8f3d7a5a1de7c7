"""A provider's house for tests of processes: real files, real roles, signed webhooks, operators, and the packets' world.

A `House` is a directory with everything the two roles need, and the doors a test knocks at. Roles run in a network namespace of
the test; what it started is ended when its `with` block is left.
"""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self

from agent import channel
from agent.billing.standard import sign
from agent.continuity import Hour, Past, targets
from agent.continuity.baseline import hour_of
from agent.errors import ChannelError, Refused
from agent.event import instant
from agent.lab import Space
from agent.ledger.sqlite import Ledger
from agent.lookout import memory
from agent.policy import MemoryInventory, load

ROOT = Path(__file__).parents[2]
DAEMON = Path(__file__).with_name("daemon.py")
SECRET = b"k" * 32
PORT = 8440

#: Monday morning, two minutes into the window of the standard policy, four days after the notice's period.
MONDAY = datetime(2026, 3, 30, 7, 2, tzinfo=UTC)

ANNEX = ("shared-documents", "vpn")
STATES = ["sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore"]

#: What the billing source may say.
STATED = (
    "invoice.issued",
    "invoice.overdue",
    "invoice.cancelled",
    "reminder.sent",
    "notice.dispatched",
    "notice.delivered",
    "payment.received",
    "payment.reversed",
    "dispute.opened",
    "dispute.closed",
    "hold.set",
    "hold.lifted",
    "warning.sent",
    "preflight.done",
    "local.regressed",
    "scope.changed",
    "court.order",
    "insolvency.checked",
    "clock.checked",
    "heartbeat",
)

#: Signs of life, without which nothing new is suspended and no lease renewed.
SIGNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("heartbeat", {}),
    ("insolvency.checked", {"register": "test"}),
    ("clock.checked", {"synchronised": True, "offset_ms": 3}),
)

SERVICES = """
services:
  dns:
    class: D
    selectors: [{prefixes: [192.0.2.53, "2001:db8:2::53"], protocol: udp, ports: 53}]
  portal:
    class: P
    selectors: [{prefixes: [192.0.2.10, "2001:db8:2::10"], protocol: tcp, ports: 443}]
  vpn:
    class: A
    selectors:
      - {prefixes: [198.51.100.10, "2001:db8:100::10"], protocol: udp, ports: 1194}
      - {prefixes: [198.51.100.10, "2001:db8:100::10"], protocol: tcp, ports: 443}
  shared-documents:
    class: A
    selectors: [{prefixes: [198.51.100.20, "2001:db8:100::20"], protocol: tcp, ports: 443}]
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Firm:
    """A customer. Attachments are (prefix or "", interface, "vrf NAME" or ""); `out_of_reach`: services it narrows to class D.

    `erp`: the probe of its software on site, instead of one that only says where it would be; `site`: more of its site.
    """

    id: str
    attachments: tuple[tuple[str, str], ...]
    policy: str = "auto"
    subscriptions: tuple[str, ...] = ("vpn", "shared-documents", "portal", "dns")
    out_of_reach: tuple[str, ...] = ()
    erp: str = ""
    site: str = ""


def firms(count: int, policy: str = "auto") -> tuple[Firm, ...]:
    """So many companies, each with a network of either family."""
    return tuple(
        Firm(
            id=f"c{n:03}", attachments=((f"10.{n // 250}.{n % 250}.0/24", ""), (f"2001:db8:{0x1000 + n:x}::/64", "")), policy=policy
        )
        for n in range(count)
    )


def customers(companies: Iterable[Firm]) -> str:
    lines = ["customers:", "  group:"]
    for firm in companies:
        # Software on site, without which nothing is ever suspended without a person.
        inside = next((ip_network(prefix)[5] for prefix, _ in firm.attachments if prefix), "10.9.9.5")
        erp = firm.erp or f'{{probe: tcp, address: "{inside}", port: 443}}'
        software = f"local_applications: {{erp: {erp}}}" + (f", {firm.site}" if firm.site else "")
        places = ", ".join(_place(prefix, name) for prefix, name in firm.attachments)
        lines += [
            f"    {firm.id}:",
            f"      name: Firm {firm.id}",
            f"      contract: K-{firm.id}",
            f"      policy: {firm.policy}",
            f"      sites: {{paris: {{timezone: Europe/Paris, attachments: [{places}], {software}}}}}",
            "      subscriptions:",
            *(f"        {name}: {{{'class: D' if name in firm.out_of_reach else ''}}}" for name in firm.subscriptions),
        ]
    return "\n".join(lines) + "\n"


def _place(prefix: str, name: str) -> str:
    link = f"vrf: {name.removeprefix('vrf ')}" if name.startswith("vrf ") else f"interface: {name}"
    return "{" + ", ".join((*([f'prefix: "{prefix}"'] if prefix else []), *([link] if name else []))) + "}"


def policies(**values: object) -> str:
    """Two policies, `auto` and `approve`, with these values in both (None: left out). Limits are as wide as a file may have."""
    common = {
        "profile": "fr-b2b",
        "enforcement_point": "provider",
        "waive_gentler_stages": "annex services only",
        "approvals": 1,
        "feed_max_age_minutes": 1440,
        "insolvency_max_age_hours": 72,
        "clock_max_age_minutes": 60,
        "max_new_per_hour": 10_000,
        "max_new_per_day": 10_000,
        "max_share_of_companies": 100,
        "max_share_of_prefixes": 100,
        "canaries": 10_000,
        "canary_minutes": 1,
        "wave": 10_000,
    } | values
    text = "policies:\n"
    for mode in ("auto", "approve"):
        text += f"  {mode}:\n    mode: {mode}\n" + "".join(
            f"    {name}: {value}\n" for name, value in common.items() if value is not None
        )
    return text


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a biller is told."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


class House:
    """See the module. `directory` must be reachable by the users the roles run as; `space` is where they listen and filter."""

    def __init__(
        self,
        directory: Path,
        space: Space,
        companies: Sequence[Firm],
        *,
        policy: str = "",
        operators: str = "[{name: Claire Martin, user: root, roles: [approver, operator]}]",
        more: str = "",
        kernel: str = "nft",
    ) -> None:
        self.directory, self.space, self.companies = directory, space, tuple(companies)
        self.state, self.run, self.policies = directory / "state", directory / "run", directory / "policies"
        self.config, self.offset = directory / "ecluse.yaml", directory / "offset"
        self.started: list[subprocess.Popen[bytes]] = []
        self.roles: dict[str, subprocess.Popen[bytes]] = {}
        self._serial, self._lock = 0, threading.Lock()
        for each in (self.state, self.run, self.policies):
            each.mkdir()
        self.state.chmod(0o700)
        (self.policies / "services.yaml").write_text(SERVICES)
        (self.policies / "suspension.yaml").write_text(policy or policies())
        self.inventory(self.companies)
        secret = directory / "secret"
        secret.write_text("whsec_" + base64.b64encode(SECRET).decode())
        secret.chmod(0o600)
        source = f"kind: native, secrets: [secret], customer_ids: own, events: [{', '.join(STATED)}]"
        (directory / "sources.yaml").write_text(f"sources: {{billing: {{{source}}}}}\n")
        self.config.write_text(
            f"policies: policies\nsources: sources.yaml\nstate_dir: state\nrun_dir: run\nlisten: 127.0.0.1:{PORT}\n"
            f"kernel: {kernel}\nmode_ceiling: auto\noperators: {operators}\n{more}"
        )
        self.set_clock(MONDAY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.started:
            self._end(process)

    # --- files and time ---------------------------------------------------------------------------------------------

    def inventory(self, companies: Iterable[Firm]) -> None:
        """Write the customers' file."""
        (self.policies / "customers.yaml").write_text(customers(companies))

    def set_clock(self, to: datetime) -> None:
        """Make it `to` now, for the enforcer and for the biller; time goes on from there."""
        new = self.offset.with_suffix(".new")
        new.write_text(repr(to.timestamp() - time.time()))
        new.chmod(0o644)
        new.rename(self.offset)

    def now(self) -> datetime:
        """What the enforcer thinks it is."""
        return datetime.now(UTC) + timedelta(seconds=float(self.offset.read_text()))

    def log(self, role: str = "enforce") -> str:
        """What a role wrote so far."""
        return (self.directory / f"{role}.log").read_text()

    # --- roles ------------------------------------------------------------------------------------------------------

    def start(
        self, role: str, *, prefix: Sequence[str] = (), wait: bool = True, watched: bool = False, log: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `enforce` (with the test's clock), `serve` or `probe` (the real commands).

        Args:
            role: which.
            prefix: what to start it through, such as setpriv.
            log: a descriptor that its log goes to, in place of the file.
            watched: the enforcer looks for jumps of the test's clock.
            wait: return when it is ready: the first good cycle is over, or the port answers.
        """
        own = [DAEMON, self.config, self.offset, *(["watched"] * watched)]
        if role != "enforce":
            own = ["-m", "agent", role, "--config", self.config]
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "COVERAGE_PROCESS_START") if name in os.environ}
        with (self.directory / f"{role}.log").open("ab") as output:
            process = self.space.start(
                [*prefix, sys.executable, *own], stdin=subprocess.DEVNULL, stdout=log or output, stderr=log or output, cwd=ROOT,
                env=environment | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
        self.started.append(process)
        self.roles[role] = process
        if wait:
            self.start_is_over(role)
        return process

    def start_is_over(self, role: str) -> None:
        """Wait until a role is ready; fails with its log."""
        ready = {"enforce": self.enforcing, "serve": self.listening, "probe": self.probing}[role]
        process = self.roles[role]
        until(lambda: ready() or process.poll() is not None, 20, what=f"{role} is ready")
        assert process.poll() is None, self.log(role)

    def enforcing(self) -> bool:
        """Whether the enforcer had its first good cycle."""
        with contextlib.suppress(ChannelError):
            return bool(self.status()["kernel"]["last_good_cycle"])
        return False

    def listening(self) -> bool:
        """Whether the port answers."""
        try:
            self.connect(timeout=1).close()
        except OSError:
            return False
        return True

    def probing(self) -> bool:
        """Whether the probing role answers."""
        with contextlib.suppress(ChannelError):
            return bool(channel.ask(self.run / "probe.sock", {"ask": "ready"}, timeout=5)[0]["ready"])
        return False

    def kill(self, role: str = "enforce") -> None:
        """kill -9 of a role, and wait until it is gone."""
        self._end(self.roles[role])

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
        process.wait(10)

    def stop(self, role: str = "enforce") -> int:
        """SIGTERM, as systemd does; returns the exit code."""
        process = self.roles[role]
        process.send_signal(signal.SIGTERM)
        return process.wait(15)

    # --- the biller's door ------------------------------------------------------------------------------------------

    def connect(self, *, timeout: float = 10) -> socket.socket:
        """A TCP connection to the listening role."""
        with self.space.inside():
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(("127.0.0.1", PORT))
        except OSError:
            sock.close()
            raise
        return sock

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """One HTTP request."""
        conn = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
        conn.sock = self.connect()
        with contextlib.closing(conn):
            conn.request(method, path, body=body, headers=dict(headers or {}))
            answer = conn.getresponse()
            text = answer.read().decode()
            told = json.loads(text).get("message", "") if answer.headers.get_content_type() == "application/json" else text
            return Answer(status=answer.status, message=told, headers=dict(answer.headers))

    def signed(self, body: bytes, *, message: str, at: datetime | None = None, secret: bytes = SECRET) -> dict[str, str]:
        """The headers of a webhook."""
        stamp = int((at or self.now()).timestamp())
        return {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(secret, message=message, timestamp=stamp, body=body),
        }

    def post(
        self, type_: str, customer: str, data: Mapping[str, Any], *, message: str = "", at: datetime | None = None, **how: Any
    ) -> Answer:
        """Send one fact, signed. `how` goes to `signed`."""
        body = payload(type_, customer, data, at or self.now())
        return self.request("POST", "/webhooks/billing", body, self.signed(body, message=message or self.message(), **how))

    def message(self) -> str:
        """A fresh message id."""
        with self._lock:
            self._serial += 1
            return f"m{os.getpid()}-{self._serial}"

    def pay(self, company: str, amount: str = "4800", currency: str = "EUR", payment: str = "") -> Answer:
        """The whole sum is in."""
        return self.post(
            "payment.received", company, {"payment": payment or self.message(), "amount": amount, "currency": currency}
        )

    def heartbeat(self) -> None:
        """The billing feed is alive, the register of insolvencies was looked at, the clock is right."""
        for type_, data in SIGNS:
            assert self.post(type_, "", data).status == 200

    # --- the operators' door ----------------------------------------------------------------------------------------

    def ask(self, ask: str, **header: Any) -> dict[str, Any]:
        """A question to the enforcer as this process's user; returns the whole answer."""
        body = header.pop("body_bytes", b"")
        return channel.ask(self.run / "operator.sock", {"ask": ask, **header}, body, timeout=10)[0]

    def ask_as(self, user: int, ask: str, *, body_text: str = "", **header: Any) -> dict[str, Any]:
        """The same as another user (a child process asks). A refusal by the channel comes back as `refused`."""
        code = (
            "import json, sys\nfrom pathlib import Path\nfrom agent import channel\nfrom agent.errors import Refused\n"
            "try:\n    answer = channel.ask(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3].encode(), timeout=10)[0]\n"
            "except Refused as error:\n    answer = {'refused': str(error)}\nprint(json.dumps(answer))\n"
        )
        question = json.dumps({"ask": ask, **header})
        done = subprocess.run(
            [
                *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", sys.executable, "-c", code),
                *(str(self.run / "operator.sock"), question, body_text),
            ],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            cwd="/",
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def status(self) -> dict[str, Any]:
        """`ecluse status`, as data."""
        found: dict[str, Any] = self.ask("status")["data"]
        return found

    def suspended(self) -> set[str]:
        """Companies with a measure in force, as the enforcer says."""
        return {one["company"] for one in self.status()["measures"]}

    def let_act(self) -> None:
        """A named person lets the policy `auto` act by itself."""
        until_ = instant(self.now() + timedelta(days=60))
        told = self.ask("approve_policy", policy="auto", reason="test", expires_at=until_)
        assert told["exit"] == 0, told

    def watched_for_two_days(self) -> None:
        """Leave what a former process saw of everything local: two days without one silent look."""
        now = hour_of(MONDAY)
        hours = tuple(Hour(at=now - n, looks=700, answered=700, ms=2.0) for n in range(48, 0, -1))
        past = Past(hours=hours, at=now, looks=1, answered=1, times=(2.0,))
        known = MemoryInventory(load({path.name: path.read_text() for path in self.policies.iterdir()})).companies()
        memory.save(
            self.state / "baseline.json",
            [(memory.name_of(company.id, target), past) for company in known for target in targets(company)],
            {},
            MONDAY,
        )

    def remember(self, *companies: str, services: Sequence[str] = ANNEX) -> None:
        """Import what led to a suspension: invoice, three reminders, notice, receipt. All in order and due."""
        lines = [line for company in companies for line in history(company, services)]
        told = self.ask("import", file="history.jsonl", body_bytes="\n".join(lines).encode())
        assert told["exit"] == 0, told

    def suspend(self, *companies: str) -> None:
        """Have companies suspended by the policy, and wait until they are."""
        self.heartbeat()  # before the rest: cases that only wait for a feed are looked at every minute
        self.remember(*companies)
        self.let_act()
        until(lambda: self.suspended() >= set(companies), 10 + len(companies) / 5, what=f"{companies} are suspended")

    # --- what is true -----------------------------------------------------------------------------------------------

    def nft(self, *arguments: str, text: str | None = None) -> str:
        """The `nft` program in the roles' namespace, as an administrator or a stranger runs it."""
        return self.program("nft", *arguments, text=text)

    def program(self, *command: str, text: str | None = None) -> str:
        """Any program in the roles' namespace; it must succeed."""
        process = self.space.start(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        output, _ = process.communicate(text, timeout=20)
        assert process.returncode == 0, output
        return str(output)

    def elements(self) -> dict[str, dict[tuple[str, ...], str]]:
        """What the kernel holds: set -> {key as text: case}. Empty without our table."""
        found: dict[str, dict[tuple[str, ...], str]] = {}
        for item in json.loads(self.nft("-j", "list", "ruleset"))["nftables"]:
            if "set" in item and item["set"]["table"] == "ecluse":
                members = item["set"].get("elem", [])
                found[item["set"]["name"]] = {_key(one["elem"]["val"]): one["elem"].get("comment", "") for one in members}
        return {name: members for name, members in found.items() if members}

    def cut(self) -> set[str]:
        """Companies that the kernel refuses something to."""
        return {case.partition(":")[0] for members in self.elements().values() for case in members.values()}

    def table(self) -> bool:
        """Whether our table is in the kernel."""
        return "table inet ecluse" in self.nft("list", "tables")

    def events(self, type_: str = "", subject: str | None = None) -> list[Any]:
        """The ledger's events, read beside its owner."""
        with Ledger.open(self.state / "ledger.db", read_only=True) as ledger:
            return [row.event for row in ledger.events(subject) if not type_ or row.event.type == type_]


def payload(type_: str, customer: str, data: Mapping[str, Any], at: datetime) -> bytes:
    """The body of one webhook of our own vocabulary."""
    named = {"customer": customer} if customer else {}
    return json.dumps({"type": type_, **named, "occurred_at": instant(at), "data": data}).encode()


def history(company: str, services: Sequence[str] = ANNEX) -> Iterator[str]:
    """JSON lines: a debt of 4 800 EUR with everything that makes it ripe on `MONDAY`."""
    invoice, reminders = f"F-{company}", [f"R{n}-{company}" for n in (1, 2, 3)]
    share = str(4800 // len(services))
    lines = [{"service": name, "amount": share, "delivered_ref": f"BL-{company}"} for name in services]
    owed = {"invoice": invoice, "due_on": "2026-01-31", "amount": "4800", "currency": "EUR", "lines": lines}
    notice = {
        "notice": f"N-{company}",
        "channel": "lrar",
        "invoices": [invoice],
        "reminders": reminders,
        "announces": {"services": list(services), "earliest_on": "2026-03-27", "kept": ["portal", "dns"]},
        "states": STATES,
    }
    said: list[tuple[str, str, dict[str, Any]]] = [
        ("invoice.issued", "2026-01-15", owed),
        *(
            ("reminder.sent", day, {"reminder": name, "invoices": [invoice]})
            for name, day in zip(reminders, ("2026-02-09", "2026-02-19", "2026-03-02"), strict=True)
        ),
        ("notice.dispatched", "2026-03-09", notice),
        ("notice.delivered", "2026-03-11", {"notice": f"N-{company}", "proof": f"LR-{company}"}),
        ("warning.sent", "2026-03-27", {"warning": f"W-{company}", "notice": f"N-{company}", "channel": "email"}),
        ("preflight.done", "2026-03-30T06:00:00Z", {"result": "green", "baseline_hours": 48, "local_matches": 0}),
    ]  # fmt: skip
    for number, (type_, at, data) in enumerate(said):
        when = at if "T" in at else f"{at}T09:00:00Z"
        yield json.dumps({"id": f"{company}-{number}", "type": type_, "customer": company, "occurred_at": when, "data": data})


def until(true: Callable[[], object], seconds: float, *, what: str, pause: float = 0.01) -> float:
    """Wait until something is true; returns how many seconds it took. Fails in words.

    What counts is a look that begins after the time is up, since a look at packets may take a second on a busy machine.
    """
    begun = look = time.monotonic()
    while not true():
        assert look - begun < seconds, f"not within {seconds} s: {what}"
        time.sleep(pause)
        look = time.monotonic()
    return time.monotonic() - begun


def refused(answer: Mapping[str, Any]) -> bool:
    """Whether a person was told no (exit code 3, or not let in at all)."""
    return "refused" in answer or answer.get("exit") == 3


def _key(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value["concat"])) if isinstance(value, dict) else (str(value),)


__all__ = ["ANNEX", "MONDAY", "SECRET", "Answer", "Firm", "House", "Refused", "firms", "history", "payload", "refused", "until"]

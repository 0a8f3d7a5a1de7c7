"""A whole town that is suspended: policies, services, companies, and a ledger that says why each of them is.

One company lives its case for real: invoice, reminders, notice, the moment of applying, the order with its gate trace, the
application, all through the agent's own rooms with a kernel in memory. Every other company says the same with its own name.
For 100 000 companies that takes minutes, so a town is kept in a cache while it is a few days old at most. Each time it is
handed out, the state is a fresh copy and every lease is dated anew, as a daemon that never stopped would have left them.
"""

import hashlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import agent
from agent.calendar import opening
from agent.decide import _renew_at
from agent.event import HOST, Event, instant, parse_body
from agent.gate.checks import MUST_STATE
from agent.gateway import Gateway
from agent.inforce import InForceRules
from agent.inventory import compile_directory, open_inventory
from agent.kernel.memory import MemoryKernel
from agent.ledger import InForce, Settled
from agent.ledger.sqlite import Ledger
from agent.metrics import EnforcerMetrics
from agent.model import Mode
from agent.reconcile import settle

SOURCE = "billing"
SERVICES = ("reporting", "shared-documents", "vpn")
#: Where each annex service is; the last is the one that the packets of a benchmark go to.
ADDRESSES = {"reporting": "198.51.100.30", "shared-documents": "198.51.100.20", "vpn": "198.51.100.10"}
VPN_PORT = 1194
#: The gateway's interface towards the customers whose attachment names one.
INTERFACE = "cust0"
DEBT = "4800.00"
LEASE = timedelta(minutes=240)

_FIRST_V4 = int(IPv4Address("10.0.0.0"))
_FIRST_V6 = int(IPv6Address("2001:db8:a000::"))
_KEPT_DAYS = 3
_BATCH = 250
_QUIET = timedelta(minutes=10)

_YAML = {
    "services.yaml": f"""
services:
  portal: {{class: P, selectors: [{{prefixes: [192.0.2.10], protocol: tcp, ports: [80, 443]}}]}}
  dns: {{class: D, selectors: [{{prefixes: [192.0.2.53], protocol: udp, ports: 53}}]}}
  vpn:
    class: A
    selectors: [{{prefixes: [{ADDRESSES["vpn"]}, "2001:db8:100::10"], protocol: udp, ports: [500, {VPN_PORT}, 4500]}}]
  shared-documents:
    class: A
    selectors: [{{prefixes: [{ADDRESSES["shared-documents"]}, "2001:db8:100::20"], protocol: tcp, ports: 443}}]
  reporting:
    class: A
    selectors: [{{prefixes: [{ADDRESSES["reporting"]}, "2001:db8:100::30"], protocol: tcp, ports: 443}}]
""",
    "suspension.yaml": """
policies:
  town:
    profile: fr-b2b
    mode: auto
    enforcement_point: provider
    waive_gentler_stages: annex services only
    max_new_per_hour: 10000
    max_new_per_day: 10000
    max_share_of_companies: 100
    max_share_of_prefixes: 100
    canaries: 10000
    wave: 10000
""",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Town:
    """A town on disk: the directory of its policies and the state directory of its enforcer."""

    companies: int
    policies: Path
    state: Path


def company_id(number: int) -> str:
    """The id of company `number`; all ids have one length."""
    return f"town-{number:07}"


def address(number: int, host: int = 5) -> str:
    """An IPv4 address of company `number`."""
    return str(IPv4Address(_FIRST_V4 + number * 16 + host))


def town(companies: int, directory: Path, cache: Path | None = Path(".cache"), *, brief: bool = False) -> Town:
    """A town in `directory`, all of it suspended since yesterday at the latest, with leases as of now.

    Args:
        companies: how many; up to a million.
        directory: where policies and state are put; made if missing.
        cache: where the long part of the work is kept, or None to do it here and now.
        brief: of each company only its invoice is told. A start reads what is in force and not why, which a ledger of 12 GB would
            have to say for a million.
    """
    now = datetime.now(UTC)
    if cache is None:
        return _date_leases(_build(companies, directory, now, brief=brief))
    kept = cache / f"town-{companies}-{'brief-' if brief else ''}{_fingerprint()}-{now.toordinal() // _KEPT_DAYS}"
    if not kept.exists():
        for old in cache.glob(f"town-{companies}-*"):
            shutil.rmtree(old)
        making = kept.with_suffix(".tmp")
        shutil.rmtree(making, ignore_errors=True)
        _build(companies, making, now, brief=brief)
        making.rename(kept)
    shutil.copytree(kept, directory, dirs_exist_ok=True)
    return _date_leases(Town(companies=companies, policies=directory / "policies", state=directory / "state"))


def _fingerprint() -> str:
    """Changes with what a town says, and with the code that its ledger is written by."""
    long_ago = datetime(2026, 1, 5, tzinfo=UTC)
    said = [_YAML, _company(0), _company(1), [event.body for event in _history(long_ago)], agent.__version__]
    found = hashlib.sha256(json.dumps(said).encode())
    root = Path(agent.__file__).parent
    for file in ("case.py", "event.py", "fields.py", "ledger/rows.py", "ledger/schema.py"):
        found.update((root / file).read_bytes())
    return found.hexdigest()[:16]


def _build(companies: int, directory: Path, now: datetime, *, brief: bool) -> Town:
    made = Town(companies=companies, policies=directory / "policies", state=directory / "state")
    made.state.mkdir(parents=True, mode=0o700)
    write_policies(made.policies, companies)
    told = tuple((event, json.dumps(event.body)) for event in life(now)[: 1 if brief else None])
    with Ledger.open(made.state / "ledger.db") as ledger:
        for start in range(0, companies, _BATCH):
            ledger.append([event for number in range(start, min(start + _BATCH, companies)) for event in _as_told_by(told, number)])
    return made


def write_policies(directory: Path, companies: int) -> None:
    """The files that people would write: services, one policy, and the inventory as JSON Lines."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in _YAML.items():
        (directory / name).write_text(text)
    with (directory / "companies.jsonl").open("w") as file:
        file.writelines(json.dumps(_company(number)) + "\n" for number in range(companies))


def _company(number: int) -> dict[str, Any]:
    """One line of the inventory. Every second attachment names an interface, every tenth company has IPv6 too."""
    behind = {"interface": INTERFACE} if number % 2 else {}
    attachments = [{"prefix": f"{address(number, 0)}/28", **behind}]
    if number % 10 == 0:
        attachments.append({"prefix": f"{IPv6Address(_FIRST_V6 + (number << 64))}/64", **behind})
    erp = {"probe": "tcp", "address": address(number, 2), "port": 443}
    site = {"timezone": "Europe/Paris", "attachments": attachments, "local_applications": {"erp": erp}}
    return {
        "id": company_id(number),
        "group": f"group-{number // 4}",
        "name": f"Town Company {number}",
        "registration": f"{900000000 + number}",
        "contract": f"T-{number}",
        "policy": "town",
        "sites": {"main": site},
        "subscriptions": ["portal", "dns", *SERVICES],
        "billing_ids": {SOURCE: f"cus_{number}"},
    }


# --- one life, and many ------------------------------------------------------------------------------------------------


def life(now: datetime) -> tuple[Event, ...]:
    """Every event about company 0; the order is the agent's own, given at the last moment that the policy allows."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_policies(place, companies=1)
        with closing(open_inventory(compile_directory(place, place))) as inventory:
            policy = inventory.policies["town"]
        at = now - timedelta(days=1)
        while not opening(at, windows=policy.windows, timezone="Europe/Paris", country=policy.holidays).open:
            at -= timedelta(hours=1)
        with Ledger.open(place / "ledger.db") as ledger:
            ledger.append([*_history(at), *_standing(policy.digest, at), *signs_of_life(at)])
            done = settle(gateway(ledger, place, at), company_id(0))
            if not ledger.measures_of(company_id(0)):
                raise AssertionError(f"the example was not suspended: {done.sentence}")
            return tuple(row.event for row in ledger.events(company_id(0)))


def gateway(ledger: Ledger, state: Path, at: datetime) -> Gateway:
    """The enforcing side over a town's ledger and the inventory compiled beside it, at a standing time, with a kernel in memory."""
    (compiled,) = state.glob("inventory-*.db")
    return Gateway(
        ledger=ledger,
        kernel=MemoryKernel(time.monotonic),
        rules=InForceRules.compile(open_inventory(compiled), at),
        now=lambda: at,
        stop_path=state / "stop.json",
        spare_stop_path=state / "spare-stop.json",
        ceiling=Mode.AUTO,
        feeds=(SOURCE,),
        metrics=EnforcerMetrics(sources=(SOURCE,), version=agent.__version__),
    )


def _history(at: datetime) -> Iterator[Event]:
    """What billing said about company 0 before `at`."""
    me = company_id(0)
    invoice, reminders = f"F-{me}", [f"R{number}-{me}" for number in range(1, 4)]

    def said(type_: str, days: int, body: dict[str, Any]) -> Event:
        when = at - timedelta(days=days)
        return Event(
            id=f"{SOURCE}:{type_}-{days}-{me}",
            type=type_,
            subject=me,
            occurred_at=when,
            received_at=when,
            source=SOURCE,
            body=parse_body(type_, body),
        )

    lines = [{"service": name, "amount": "1600", "delivered_ref": f"BL-{name}"} for name in SERVICES]
    due_on = (at - timedelta(days=80)).date().isoformat()
    yield said("invoice.issued", 110, {"invoice": invoice, "due_on": due_on, "amount": DEBT, "currency": "EUR", "lines": lines})
    for days, reminder in zip((70, 60, 50), reminders, strict=True):
        yield said("reminder.sent", days, {"reminder": reminder, "invoices": [invoice]})
    earliest = (at - timedelta(days=5)).date().isoformat()
    announces = {"services": list(SERVICES), "earliest_on": earliest, "kept": ["portal", "dns"]}
    yield said(
        "notice.dispatched",
        40,
        {
            "notice": f"N-{me}",
            "channel": "lrar",
            "invoices": [invoice],
            "reminders": reminders,
            "announces": announces,
            "states": sorted(MUST_STATE),
        },
    )
    yield said("notice.delivered", 38, {"notice": f"N-{me}", "proof": f"LR-{me}"})
    yield said("warning.sent", 4, {"warning": f"W-{me}", "notice": f"N-{me}"})
    yield said("preflight.done", 0, {"result": "green", "baseline_hours": 24, "local_matches": 0})


def _standing(digest: str, at: datetime) -> Iterator[Event]:
    until = instant(at + timedelta(days=300))
    for by in ("claire", "karim"):
        body = {"policy": "town", "policy_digest": digest, "by": by, "reason": "the town", "role": "approver", "expires_at": until}
        type_ = "standing_approval.given"
        yield Event(
            id=f"operator:{by}:{digest[:8]}",
            type=type_,
            subject=HOST,
            occurred_at=at,
            received_at=at,
            source=f"operator:{by}",
            body=parse_body(type_, body),
        )


def signs_of_life(at: datetime) -> tuple[Event, ...]:
    """The billing system is there, the clock is right, the register of insolvencies was looked at."""
    said = {"heartbeat": {}, "clock.checked": {"synchronised": True, "offset_ms": 1}, "insolvency.checked": {}}
    return tuple(
        Event(
            id=f"{SOURCE}:{type_}-{instant(at)}",
            type=type_,
            subject=HOST,
            occurred_at=at,
            received_at=at,
            source=SOURCE,
            body=parse_body(type_, body),
        )
        for type_, body in said.items()
    )


def _as_told_by(told: tuple[tuple[Event, str], ...], number: int) -> Iterator[Event]:
    """The same life with another name: ids have one length and appear in no other meaning."""
    first, me = company_id(0), company_id(number)
    for event, body in told:
        yield Event(
            id=event.id.replace(first, me),
            type=event.type,
            subject=me,
            occurred_at=event.occurred_at,
            received_at=event.received_at,
            source=event.source,
            body=json.loads(body.replace(first, me)),
        )


def _date_leases(made: Town) -> Town:
    """Compile the inventory, and note every measure as in force with a lease that is somewhere on its way."""
    compile_directory(made.policies, made.state)
    now = datetime.now(UTC)
    chance = random.Random(1)
    with Ledger.open(made.state / "ledger.db") as ledger:
        ledger.append(signs_of_life(now))
        basis = gateway(ledger, made.state, now).basis
        seq = ledger.head()[0]
        for start in range(0, made.companies, _BATCH * 10):
            numbers = range(start, min(start + _BATCH * 10, made.companies))
            ledger.settle([_settled(number, seq, basis, now, chance.random()) for number in numbers])
    return made


def _settled(number: int, seq: int, basis: str, now: datetime, share: float) -> Settled:
    me = company_id(number)
    case = f"{me}:N-{me}"
    minutes = int(LEASE.total_seconds() // 60)
    # Renewed at an instant of its own within the lease; `share` says how long ago that was. Nobody is due while a start is timed.
    lasts = _renew_at(case, now + LEASE, minutes) - now - _QUIET
    until = now + LEASE - lasts * share
    measure = InForce(company=me, case=case, order=f"{case}/1", services=SERVICES, lease_until=until.timestamp())
    return Settled(company=me, seq=seq, next_at=_renew_at(case, until, minutes).timestamp(), basis=basis, measures=(measure,))

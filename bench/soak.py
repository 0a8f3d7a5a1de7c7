"""`python -m bench.soak` (= `make soak`): all roles under random webhooks with a whole town suspended, for as long as one likes.

What must stay flat is compared between the first tenth, the middle and the last tenth: memory, open files, the time from a payment
to traffic, and the processor time for a webhook. Every payment restores a company for good, so the town empties slowly; all the
while leases are renewed, foreign flushes are put right, local applications are looked at if that is asked for, and webhooks come
that are repeated, forged, about nobody, or signs of life.

Nothing here fails on a slow day; a company that is not restored, or a process that dies, does fail.
"""

import argparse
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agent.lab import Endpoint, Laboratory, laboratory, listen
from bench.daemon import (
    TOPOLOGY,
    Host,
    listening,
    members,
    memory_mb,
    pay,
    percentile,
    ready,
    send,
    until,
    webhook,
)
from bench.town import ADDRESSES, VPN_PORT, address, town

#: Seconds between two signs of life: feeds, clock and register must not go stale while we wait.
SIGNS_S = 60.0

Process = subprocess.Popen[bytes]


def refused(lab: Laboratory, number: int) -> bool:
    """True if packets of that company are told that they may not pass. Silence says nothing: the machine may be busy."""
    with lab["customers"].inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((address(number), 0))
        udp.connect((ADDRESSES["vpn"], VPN_PORT))
        udp.settimeout(0.2)
        try:
            udp.send(b"?")
            udp.recv(16)
        except TimeoutError:
            return False
        except OSError:
            return True
        return False


class Sample:
    """What is noted of one process at one moment."""

    def __init__(self, process: Process) -> None:
        self.rss_mb = memory_mb(process)
        self.files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What was seen at `at` seconds, when so many webhooks had been sent."""

    at: float
    sent: int
    roles: Mapping[str, Sample]


@dataclass(kw_only=True)
class Notes:
    """What a run leaves: (at, milliseconds) of each payment, the seconds of each repair, and a moment for each minute."""

    flows: list[tuple[float, float]] = field(default_factory=list)
    repairs: list[float] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)


def soak(minutes: float, companies: int, rate: float, looking: int, cache: Path) -> dict[str, float]:
    """Run for so many minutes.

    Args:
        minutes: how long.
        companies: how many are suspended at the start; half of the webhooks restore one.
        rate: webhooks a second.
        looking: seconds between two looks at each local application; 0 for none.
        cache: where towns are kept.
    """
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="soak-") as name, laboratory(TOPOLOGY) as lab, ExitStack() as stack:
        place = Path(name).absolute()
        host = Host(place, town(companies, place, cache), lab, f"probe_interval: {looking}\n" if looking else "")
        stack.callback(host.close)
        with lab["customers"].inside():
            subprocess.run(["ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo"], check=True)
        stack.enter_context(listen(lab["provider"], Endpoint(protocol="udp", address=ADDRESSES["vpn"], port=VPN_PORT)))
        # Every customer's software on site.
        stack.enter_context(listen(lab["customers"], Endpoint(protocol="tcp", address="0.0.0.0", port=443)))
        roles = {"probe": host.start("probe"), "enforcer": host.start("enforce")}
        until("start", lambda: ready(host.run))
        roles["serve"] = host.start("serve")
        until("listening", lambda: listening(lab))
        return _figures(_run(lab, roles, minutes * 60, companies, rate), minutes * 60)


def _run(lab: Laboratory, roles: Mapping[str, Process], seconds: float, companies: int, rate: float) -> Notes:
    chance = random.Random(1)
    payers = list(range(companies))
    chance.shuffle(payers)
    notes = Notes()
    sent, signed_at, last = 0, -SIGNS_S, webhook("heartbeat", None, {})
    begin = time.monotonic()

    def note() -> None:
        samples = {role: Sample(process) for role, process in roles.items()}
        notes.moments.append(Moment(at=time.monotonic() - begin, sent=sent, roles=samples))
        memory = ", ".join(f"{role} {sample.rss_mb:.1f} MB" for role, sample in samples.items())
        print(f"{notes.moments[-1].at:6.0f} s  {sent} webhooks, {memory}", flush=True)

    while (now := time.monotonic() - begin) < seconds and payers:
        if now - signed_at > SIGNS_S:
            signed_at = now
            for type_, data in (
                ("clock.checked", {"synchronised": True, "offset_ms": 1}),
                ("insolvency.checked", {}),
                ("heartbeat", {}),
            ):
                send(lab, webhook(type_, None, data))
                sent += 1
            note()
        match chance.random():
            case share if share < 0.5:
                until("the payer is refused", partial(refused, lab, payers[-1]))  # while a flush is put right: not yet
                notes.flows.append((now, pay(lab, payers.pop(), again=20)[1]))
            case share if share < 0.7:
                send(lab, last)  # the biller repeats itself
            case share if share < 0.8:
                send(lab, webhook("payment.received", "cus_nobody", {"payment": f"X-{sent}", "amount": "1.00", "currency": "EUR"}))
            case share if share < 0.9:
                send(lab, webhook("heartbeat", None, {}).replace(b"v1,", b"v1,AAAA"))
            case share if share < 0.9995:
                last = webhook("heartbeat", None, {})
                send(lab, last)
            case _:
                with lab["gateway"].inside():
                    subprocess.run(["nft", "flush", "ruleset"], check=True)
                notes.repairs.append(until("the flush is put right", partial(refused, lab, payers[-1])))
        sent += 1
        ended = [role for role, process in roles.items() if process.poll() is not None]
        if ended:
            raise AssertionError(f"{ended} ended after {now:.0f} s")
        time.sleep(chance.expovariate(rate))
    note()
    until("everything is repaired", lambda: members(lab) > 0, 1.0)
    return notes


def _figures(notes: Notes, seconds: float) -> dict[str, float]:
    tenth, moments = max(seconds / 10, SIGNS_S * 1.5), notes.moments
    early = [each for each in moments if each.at <= tenth]
    late = [each for each in moments if each.at >= seconds - tenth]
    middle = min(moments, key=lambda each: abs(each.at - seconds / 2))
    found: dict[str, float] = {
        "soak_minutes": seconds / 60,
        "soak_webhooks": moments[-1].sent,
        "soak_payments": len(notes.flows),
        "soak_flushes": len(notes.repairs),
        "soak_repair_s_max": max(notes.repairs, default=0.0),
    }
    for which, values in (
        ("start", [took for at, took in notes.flows if at < tenth]),
        ("end", [took for at, took in notes.flows if at > seconds - tenth]),
    ):
        found[f"soak_payment_to_flow_ms_p50_{which}"] = statistics.median(values)
        found[f"soak_payment_to_flow_ms_p99_{which}"] = percentile(values, 99)
    found["soak_payment_to_flow_ms_max"] = max(took for _, took in notes.flows)
    for role in moments[0].roles:
        for which, each in (("start", early[-1]), ("half", middle), ("end", late[-1])):
            found[f"soak_{role}_rss_mb_{which}"] = each.roles[role].rss_mb
            found[f"soak_{role}_files_{which}"] = each.roles[role].files
        for which, first, last in (("start", moments[0], early[-1]), ("end", late[0], late[-1])):
            cpu = last.roles[role].cpu_s - first.roles[role].cpu_s
            found[f"soak_{role}_cpu_ms_per_webhook_{which}"] = cpu / max(1, last.sent - first.sent) * 1000
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--companies", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=10.0, help="webhooks a second")
    parser.add_argument("--looking", type=int, default=0, help="seconds between two looks at each local application; 0: none")
    options = parser.parse_args()
    for key, value in soak(options.minutes, options.companies, options.rate, options.looking, Path(".cache")).items():
        print(f"{key:40} {value:10.2f}")
    sys.exit(0)

"""`python -m bench.soak` (= `make soak`): the daemon under random webhooks with a whole town suspended, for as long as one likes.

What must stay flat is compared between the first and the last tenth: memory, open files, the time from a payment to traffic, and
the processor time for a webhook. Every payment restores a company for good, so the town empties slowly; all the while leases are
renewed, foreign flushes are put right, and webhooks come that are repeated, forged, about nobody, or signs of life.

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
from functools import partial
from pathlib import Path

from agent.lab import Endpoint, Laboratory, laboratory, listen
from bench.daemon import (
    TOPOLOGY,
    Host,
    echoed,
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
    """True if packets of that company get no echo from the service."""
    with lab["customers"].inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((address(number), 0))
        udp.connect((ADDRESSES["vpn"], VPN_PORT))
        udp.setblocking(False)
        return not echoed(udp, 0.02)


class Sample:
    """What is noted of one process at one moment."""

    def __init__(self, process: Process) -> None:
        self.rss_mb = memory_mb(process)
        self.files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def soak(minutes: float, companies: int, rate: float, cache: Path) -> dict[str, float]:
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="soak-") as name, laboratory(TOPOLOGY) as lab:
        place = Path(name).absolute()
        host = Host(place, town(companies, place, cache), lab)
        try:
            enforce = host.start("enforce")
            until("start", lambda: ready(host.run))
            serve = host.start("serve")
            until("listening", lambda: listening(lab))
            with lab["customers"].inside():
                subprocess.run(["ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo"], check=True)
            with listen(lab["provider"], Endpoint(protocol="udp", address=ADDRESSES["vpn"], port=VPN_PORT)):
                return _run(lab, enforce, serve, minutes * 60, companies, rate)
        finally:
            host.close()


def _run(lab: Laboratory, enforce: Process, serve: Process, seconds: float, companies: int, rate: float) -> dict[str, float]:
    chance = random.Random(1)
    payers = list(range(companies))
    chance.shuffle(payers)
    flows: list[tuple[float, float]] = []
    samples: list[tuple[float, int, Sample, Sample]] = []
    sent, signed_at, last = 0, -SIGNS_S, webhook("heartbeat", None, {})
    begin = time.monotonic()
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
            samples.append((now, sent, Sample(enforce), Sample(serve)))
            print(f"{now:6.0f} s  {sent} webhooks, enforcer {samples[-1][2].rss_mb:.0f} MB", flush=True)
        match chance.random():
            case share if share < 0.5:
                flows.append((now, pay(lab, payers.pop())[1]))
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
                until("the flush is put right", partial(refused, lab, payers[-1]))
        sent += 1
        if enforce.poll() is not None or serve.poll() is not None:
            raise AssertionError(f"a process ended after {now:.0f} s")
        time.sleep(chance.expovariate(rate))
    samples.append((time.monotonic() - begin, sent, Sample(enforce), Sample(serve)))
    until("everything is repaired", lambda: members(lab) > 0, 1.0)
    return _figures(flows, samples, seconds)


def _figures(
    flows: list[tuple[float, float]], samples: list[tuple[float, int, Sample, Sample]], seconds: float
) -> dict[str, float]:
    tenth = max(seconds / 10, SIGNS_S * 1.5)
    first = [took for at, took in flows if at < tenth]
    last = [took for at, took in flows if at > seconds - tenth]
    early = [each for each in samples if each[0] <= tenth]
    late = [each for each in samples if each[0] >= seconds - tenth]
    found: dict[str, float] = {"soak_minutes": seconds / 60, "soak_webhooks": samples[-1][1], "soak_payments": len(flows)}
    for which, values in (("start", first), ("end", last)):
        found[f"soak_payment_to_flow_ms_p50_{which}"] = statistics.median(values)
        found[f"soak_payment_to_flow_ms_p99_{which}"] = percentile(values, 99)
    for role, number in (("enforcer", 2), ("serve", 3)):
        for which, each in (("start", early[-1]), ("end", late[-1])):
            sample = each[number]
            assert isinstance(sample, Sample)
            found[f"soak_{role}_rss_mb_{which}"] = sample.rss_mb
            found[f"soak_{role}_files_{which}"] = sample.files
        for which, part in (("start", (samples[0], early[-1])), ("end", (late[0], late[-1]))):
            webhooks = part[1][1] - part[0][1]
            cpu = part[1][number].cpu_s - part[0][number].cpu_s  # type: ignore[union-attr]
            found[f"soak_{role}_cpu_ms_per_webhook_{which}"] = cpu / max(1, webhooks) * 1000
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--companies", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=10.0, help="webhooks a second")
    options = parser.parse_args()
    for key, value in soak(options.minutes, options.companies, options.rate, Path(".cache")).items():
        print(f"{key:40} {value:10.2f}")
    sys.exit(0)

"""Random changes of everything that can change, while what is local, protected or somebody else's is counted at both ends.

ECLUSE_CHANGES says how many changes (500), ECLUSE_SEED repeats a run's choices.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random

import pytest

from agent.kernel.nft import NftKernel
from agent.model import Terms
from agent.rules import Change
from agent.ruleset import Needs, structure
from tests.packets.conftest import SERVICES, SHAPES, ZA, stage_4

#: Legacy iptables has neither caps nor stage 4.
pytestmark = [pytest.mark.kernel, pytest.mark.parametrize("net", [NftKernel], indirect=True)]

CHANGES = int(os.environ.get("ECLUSE_CHANGES", "500"))
SEED = int(os.environ.get("ECLUSE_SEED", "0")) or int(time.time())

#: Seconds after which a run ends whatever it has done: a thousand changes take a few.
MOST_SECONDS = 300

STRUCTURES = [
    (needs, structure(SERVICES, SHAPES, needs))
    for needs in (Needs(cap=True, drain=True, rest=stage_4(ZA)), Needs(cap=True, rest=stage_4(ZA)), Needs())
]
TERMS = [
    Terms(stage=1),
    Terms(stage=2),
    Terms(stage=2, kbit=1),
    Terms(stage=2, kbit=100_000),
    Terms(stage=3),
    Terms(stage=3, drain_ms=50),
    Terms(stage=4),
    Terms(stage=4, drain_ms=50),
]

#: Flows that nothing may touch: from, to, and the address there.
FLOWS = {
    "ZA to a protected service": ("za", "prov", "192.0.2.53"),
    "ZA to a protected service over IPv6": ("za", "prov", "2001:db8:9::53"),
    "ZA to its own server": ("za", "erp", "10.20.11.5"),
    "ZA to its own server over IPv6": ("za", "erp", "2001:db8:21::5"),
    "its own server to ZA": ("erp", "za", "10.20.10.10"),
    "a neighbour in the same prefix to a service": ("zb", "prov", "198.51.100.2"),
    "the same over IPv6": ("zb", "prov", "2001:db8:8::2"),
}

#: Both print their counts once their input closes. A datagram every millisecond: no buffer on the way ever fills.
RECEIVE = """
import select, socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)
sock.bind((sys.argv[1], 7777))
print("ready", flush=True)
count = 0
while True:
    ready, _, _ = select.select([sock, sys.stdin], [], [])
    if sock in ready:
        data, peer = sock.recvfrom(100)
        count += 1
        sock.sendto(data, peer)
    elif sys.stdin in ready:
        break
print(count)
"""
SEND = """
import select, socket, sys, time
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)
sock.connect((sys.argv[1], 7777))
sent = back = 0
errors = 0
while sys.stdin not in select.select([sys.stdin], [], [], 0.001)[0]:
    try:
        sock.send(b"x")
        sent += 1
    except OSError:
        errors += 1
    while select.select([sock], [], [], 0)[0]:
        try:
            sock.recv(100)
            back += 1
        except OSError:
            errors += 1
while select.select([sock], [], [], 0.5)[0]:
    try:
        sock.recv(100)
        back += 1
    except OSError:
        errors += 1
print(sent, back, errors)
"""


@contextmanager
def counted(net, source, target, address) -> Iterator[list[int]]:
    """A flow. Afterwards the list holds: sent, arrived, came back, errors."""
    receiver = net.lab[target].start([sys.executable, "-I", "-c", RECEIVE, address], stdin=-1, stdout=-1, text=True)
    sender = None
    counts: list[int] = []
    try:
        assert receiver.stdout.readline() == "ready\n"
        sender = net.lab[source].start([sys.executable, "-I", "-c", SEND, address], stdin=-1, stdout=-1, text=True)
        yield counts
        sent, back, errors = sender.communicate(input="", timeout=30)[0].split()
        arrived = receiver.communicate(input="", timeout=30)[0].split()[-1]
        counts += [int(sent), int(arrived), int(back), int(errors)]
    finally:
        for program in (sender, receiver):
            if program is not None:
                program.kill()
                program.wait()


@pytest.mark.timeout(MOST_SECONDS + 120)
def test_not_one_packet_of_local_protected_or_other_flows_is_lost_over_random_changes(net):
    print(f"ECLUSE_SEED={SEED}")
    random = Random(SEED)
    end = time.monotonic() + MOST_SECONDS
    with ExitStack() as flows:
        counts = {name: flows.enter_context(counted(net, *flow)) for name, flow in FLOWS.items()}
        needs, built = STRUCTURES[0]
        net.apply(Change(structure=built))
        done = 0
        while done < CHANGES and time.monotonic() < end:
            done += 1
            dice = random.random()
            if dice < 0.02:  # everything is compiled anew, with or without caps and stage 4
                needs, built = random.choice(STRUCTURES)
                net.apply(Change(structure=built))
            elif dice < 0.025:  # somebody removes our table, and it is put back
                net.apply(Change(remove_table=True))
                net.apply(Change(structure=built))
            else:
                terms = random.choice([one for one in TERMS if fits(one, needs)])
                services = random.sample(("ged", "vpn", "report"), random.randint(1, 3))
                net.move(ZA, services, terms, built, needs)
        time.sleep(0.2)
    assert done >= min(CHANGES, 100)
    for name, (sent, arrived, back, errors) in counts.items():
        assert sent == arrived == back > 100, (name, sent, arrived, back)
        assert errors == 0, name


def fits(terms, needs):
    """Whether a structure can hold these terms."""
    return (needs.cap or not terms.kbit) and (needs.drain or not terms.drain_ms) and (needs.rest is not None or terms.stage < 4)

"""Names of services: a real DNS server asked by the probing role, and the running daemon that goes by the answers."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from agent import channel
from agent.probe import resolving
from agent.probing import Prober
from tests.process.house import SERVICES, Firm, until

ALIAS = ("archive.example.net.", 300, "CNAME", ["host.example.net."])
ZONE = {
    ("archive.example.net.", "A"): [ALIAS, ("host.example.net.", 60, "A", ["198.51.100.77", "198.51.100.78"])],
    ("archive.example.net.", "AAAA"): [ALIAS, ("host.example.net.", 90, "AAAA", ["2001:db8:100::77"])],
    ("four.example.net.", "A"): [("four.example.net.", 40, "A", ["198.51.100.79"])],
    ("four.example.net.", "AAAA"): [],
    ("half.example.net.", "A"): [("half.example.net.", 40, "A", ["198.51.100.80"])],
    ("half.example.net.", "AAAA"): dns.rcode.SERVFAIL,
    ("empty.example.net.", "A"): [],
    ("empty.example.net.", "AAAA"): [],
}


@contextmanager
def name_server() -> Iterator[int]:
    """Answers from `ZONE` on loopback; what is not in it does not exist."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            raw, asker = sock.recvfrom(4096)
            if raw == b"end":
                return
            question = dns.message.from_wire(raw)
            (asked,) = question.question
            found = ZONE.get((asked.name.to_text(), asked.rdtype.name), dns.rcode.NXDOMAIN)
            answer = dns.message.make_response(question)
            answer.flags |= dns.flags.RA
            if isinstance(found, list):
                answer.answer = [dns.rrset.from_text_list(name, ttl, "IN", kind, texts) for name, ttl, kind, texts in found]
            else:
                answer.set_rcode(found)
            sock.sendto(answer.to_wire(), asker)

    thread = threading.Thread(target=serve)
    thread.start()
    port = sock.getsockname()[1]
    yield port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"end", ("127.0.0.1", port))
    thread.join(5)
    sock.close()


def asked(*names: str, port: int) -> dict[str, tuple[set[str], float]]:
    async def ask():
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], port
        return await resolving.resolve(names, resolver)

    return {name: (set(one["addresses"]), one["ttl"]) for name, one in asyncio.run(ask()).items()}


def test_a_name_is_its_addresses_of_both_families_for_the_shortest_time_on_the_way():
    with name_server() as port:
        assert asked("archive.example.net", "four.example.net", port=port) == {
            "archive.example.net": ({"198.51.100.77", "198.51.100.78", "2001:db8:100::77"}, 60),
            "four.example.net": ({"198.51.100.79"}, 40),
        }


def test_nothing_is_told_apart_from_no_answer_and_half_an_answer_is_none():
    with name_server() as port:
        found = asked("gone.example.net", "empty.example.net", "half.example.net", port=port)
    assert found == {"gone.example.net": (set(), 0), "empty.example.net": (set(), 0)}


def test_a_resolver_that_is_not_there_is_no_answer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert asked("archive.example.net", port=nobody.getsockname()[1]) == {}


def test_the_role_refuses_a_question_that_is_none():
    peer = channel.Peer(pid=1, uid=0, gid=0)
    answer, _ = asyncio.run(Prober().answer(peer, {"ask": "resolve", "names": "archive.example.net"}, b""))
    assert answer == {"error": "names is a list of texts"}


# --- the daemon -------------------------------------------------------------------------------------------------------

NAMED = SERVICES.replace(
    '{prefixes: [198.51.100.20, "2001:db8:100::20"], protocol: tcp, ports: 443}',
    "{names: archive.example.net, protocol: tcp, ports: 443}",
)
FIRMS = (Firm(id="za", attachments=(("10.1.1.0/24", ""), ("2001:db8:20::/64", ""))),)


@contextmanager
def answering(path, says: dict) -> Iterator[None]:
    """A probing role that says `says`."""
    loop = asyncio.new_event_loop()

    async def answer(_peer, header, _body):
        return {"answers": {name: says[name] for name in header.get("names", ()) if name in says}}, b""

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listener = asyncio.run_coroutine_threadsafe(channel.listen(path, answer), loop).result(5)
    yield
    asyncio.run_coroutine_threadsafe(listener.close(grace=0.1), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@pytest.mark.kernel
def test_the_daemon_refuses_what_a_name_stands_for_and_a_new_life_goes_on_with_it(make_house):
    house = make_house(FIRMS)
    (house.policies / "services.yaml").write_text(NAMED)

    def archived() -> int:
        return sum(name.startswith("shared-documents") for name in house.elements())

    house.start("enforce", wait=False)
    house.start("serve")
    house.start_is_over("enforce")
    house.suspend("za")
    assert archived() == 0
    assert house.status()["names"][0]["en"] == "archive.example.net: no known address"
    with answering(house.run / "probe.sock", {"archive.example.net": {"addresses": ["198.51.100.77", "192.0.2.10"], "ttl": 3600}}):
        until(lambda: archived() == 1, 30, what="the name stands for something")
    assert [one["en"] for one in house.status()["names"]] == ["archive.example.net: 192.0.2.10 is portal's too"]
    house.kill()
    house.start("enforce")
    assert archived() == 1, "nobody answers now; the last answer counts"
    house.pay("za")
    until(lambda: house.cut() == set(), 5, what="a payment restores all of it")

"""The running daemon and real packets at stage 4 as everything remote: what stays, what ends, and that payment brings all back."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.lab import End, Endpoint, Laboratory, Link, Node, Route, Stream, Topology, laboratory, listen
from tests.core.test_remote import LICENCE, POLICY, remembered
from tests.packets import dhcp
from tests.process.house import House, policies, until
from tests.process.test_traffic import (
    ANNEX_PORTS,
    CLIENTS,
    DEBTOR,
    ERP,
    ERP6,
    KEPT,
    NEIGHBOUR,
    PORTAL,
    PROVIDED,
    PROVIDED6,
    UPSTREAM,
    VPN,
    seen,
)

pytestmark = pytest.mark.kernel

#: What the provider has besides: a server that the site's software depends on, and the rest of the world.
LICENCE_SERVER, WORLD, WORLD6, DNS = "198.51.100.70", "203.0.113.7", "2001:db8:77::7", "192.0.2.53"
FAR, FAR6 = (*PROVIDED, f"{LICENCE_SERVER}/32", f"{WORLD}/32"), (*PROVIDED6, f"{WORLD6}/128")

_QUIET = {"ipv4.icmp_ratelimit": "0", "ipv6.icmp.ratelimit": "0"}
TOPOLOGY = Topology(
    nodes=(
        *(node for node, _ in CLIENTS),
        Node(name="provider", routes=(Route(to="default4", via=f"{UPSTREAM}.1"), Route(to="default6", via="fd99::1"))),
        Node(
            name="gw",
            forwarding=True,
            sysctls=_QUIET,
            routes=(*(Route(to=one, via=f"{UPSTREAM}.5") for one in FAR), *(Route(to=one, via="fd99::5") for one in FAR6)),
        ),
    ),
    links=(
        *(link for _, link in CLIENTS),
        Link(
            left=End(node="provider", interface="eth0", addresses=(f"{UPSTREAM}.5/24", "fd99::5/64", *FAR, *FAR6)),
            right=End(node="gw", interface="up0", addresses=(f"{UPSTREAM}.1/24", "fd99::1/64")),
        ),
    ),
)
DEPENDS = replace(DEBTOR, policy="approve", site=LICENCE)

#: What is left at stage 4, and what is not, over either family.
STAYS = [*KEPT, ("tcp", LICENCE_SERVER, 443), ("udp", DNS, 53)]
REMOTE = [*ANNEX_PORTS, ("tcp", WORLD, 443), ("tcp", WORLD6, 443), ("udp", WORLD, 53), ("udp", WORLD6, 53)]
EVERYTHING = [*STAYS, *REMOTE]


@contextmanager
def provider(directory: Path, *, kernel: str = "nft", **values: object) -> Iterator[tuple[Laboratory, House]]:
    """The laboratory with its listeners, and both roles on the gateway, under a policy that may take everything remote."""
    with ExitStack() as stack:
        lab = stack.enter_context(laboratory(TOPOLOGY))
        streams = [Endpoint(protocol="tcp", address=a, port=443) for a in ("0.0.0.0", "::")]
        udp = [(VPN, 1194), ("2001:db8:100::10", 1194), (DNS, 53), (WORLD, 53), (WORLD6, 53)]
        datagrams = [Endpoint(protocol="udp", address=address, port=port) for address, port in udp]
        stack.enter_context(listen(lab["provider"], *streams, *datagrams))
        stack.enter_context(listen(lab["erp"], *(Endpoint(protocol="tcp", address=a, port=1433) for a in ("0.0.0.0", "::"))))
        operators = "[{name: Lea Noir, user: root, roles: [legal, operator]}]"
        policy = policies(**{**POLICY, **values})
        built = stack.enter_context(
            House(directory, lab["gw"], (DEPENDS, NEIGHBOUR), policy=policy, operators=operators, kernel=kernel)
        )
        built.start("enforce")
        built.start("serve")
        yield lab, built


def take_everything_remote(house: House) -> None:
    """A notice of stage 4 that announces just that, after one without effect; a lawyer waives the gentler stage and approves."""
    house.heartbeat()
    told = house.ask("import", file="history.jsonl", body_bytes="\n".join(remembered("za")).encode())
    assert told["exit"] == 0, told
    told = house.ask("waive", case="za:N-za", stages=[3], reason="no annex service is in use")
    assert told["exit"] == 0, told
    assert house.elements() == {}
    told = house.ask("approve", case="za:N-za", reason="looked at")
    assert told["exit"] == 0, told
    until(lambda: house.events("order.suspend", "za"), 10, what="the measure is ordered")


def path(house: House) -> bool:
    """Whether the customer-first path is in the kernel."""
    chains = house.nft("list", "chains", "inet")
    return "rest4_to" in chains


def at_stage_4(house: House) -> None:
    take_everything_remote(house)
    until(lambda: house.events("measure.applied", "za"), 10, what="the measure is applied")


def verdicts(lab: Laboratory, client: str) -> dict[tuple[str, str, int], str]:
    return dict(zip(EVERYTHING, seen(lab, client, *EVERYTHING), strict=True))


OPEN = dict.fromkeys(EVERYTHING, "open")
AT_STAGE_4 = {**dict.fromkeys(STAYS, "open"), **dict.fromkeys(REMOTE, "refused")}


def test_at_stage_4_exactly_what_is_remote_and_not_protected_ends_until_the_payment_brings_all_of_it_back(open_directory):
    with provider(open_directory) as (lab, house), ExitStack() as stack:

        def stream(client: str, address: str, port: int) -> Stream:
            return stack.enter_context(Stream(lab[client], address, port))

        assert verdicts(lab, "desk") == OPEN
        assert not path(house)
        doomed = [stream("desk", address, 443) for address in (VPN, WORLD, WORLD6)]
        spared = [
            *(stream("desk", address, 1433) for address in (ERP, ERP6)),
            *(stream("desk", address, 443) for address in (PORTAL, LICENCE_SERVER)),
            *(stream("neighbour", address, 443) for address in (VPN, WORLD, WORLD6)),
        ]
        assert all(each.wait_more(2000, 5) for each in (*doomed, *spared))

        at_stage_4(house)
        assert all(each.wait_end(2) is not None for each in doomed)
        assert verdicts(lab, "desk") == AT_STAGE_4
        assert verdicts(lab, "erp") == AT_STAGE_4
        assert verdicts(lab, "neighbour") == OPEN | dict.fromkeys((("tcp", ERP, 1433), ("tcp", ERP6, 1433)), "refused"), (
            "to the neighbour everything is open but the site that is at stage 4, for which the neighbour is remote"
        )
        assert path(house)
        (measure,) = house.status()["measures"]
        assert (measure["stage"], measure["extent"]) == (4, "remote")

        # what no site lives without
        for client in ("desk", "provider"):
            assert lab[client].start(["ip", "neigh", "flush", "all"], stderr=-3).wait(10) == 0
        with dhcp.server(lab["provider"], addresses6=(WORLD6,)):
            assert dhcp.relayed(lab["desk"], "10.20.10.5", WORLD)
            assert dhcp.relayed(lab["desk"], "2001:db8:20:10::5", WORLD6)
            assert dhcp.renewed(lab["desk"], "10.20.10.5", WORLD)
        assert lab["gw"].start(["ip", "link", "set", "up0", "mtu", "1300"]).wait(10) == 0
        with Stream(lab["desk"], PORTAL, 443, pause=0.0005) as long:
            assert long.wait_more(200_000, 10), "a sender that never hears of the smaller path stalls"

        house.kill()
        assert verdicts(lab, "desk") == AT_STAGE_4
        before = house.elements()
        house.start("enforce")
        assert house.elements() == before
        assert verdicts(lab, "desk") == AT_STAGE_4

        house.nft("flush", "ruleset")
        until(lambda: house.elements().keys() == before.keys(), 5, what="a foreign flush is put right")
        until(lambda: house.status()["kernel"]["structure"] == "as_wanted", 5, what="with the path")
        assert verdicts(lab, "desk") == AT_STAGE_4

        assert house.pay("za").status == 200
        until(lambda: seen(lab, "desk", ("tcp", WORLD, 443)) == ["open"], 2, what="payment restores")
        assert verdicts(lab, "desk") == OPEN
        until(lambda: not path(house), 5, what="the path is gone with the last company")
        assert house.elements() == {}
        assert all(each.wait_more(2000, 5) for each in spared)
        assert all(each.settle().whole for each in spared)
        assert house.events("measure.repaired", "za") == []


def test_a_partial_payment_leaves_the_annex_services_alone_suspended(open_directory):
    with provider(open_directory, stage4_min_debt=2000) as (lab, house):
        at_stage_4(house)
        assert verdicts(lab, "desk") == AT_STAGE_4
        assert house.pay("za", "3000").status == 200
        until(lambda: house.events("measure.lowered", "za"), 5, what="the measure is stepped down")
        assert verdicts(lab, "desk") == {**OPEN, **dict.fromkeys(ANNEX_PORTS, "refused")}
        until(lambda: not path(house), 5, what="the path is gone")


def test_the_emergency_takes_stage_4_away_while_the_daemon_is_dead_and_nobody_brings_it_back(open_directory):
    with provider(open_directory) as (lab, house):
        at_stage_4(house)
        house.kill()
        words = ["-m", "agent", "restore", "za", "--config", str(house.config), "--reason", "wrong customer"]
        assert '"alone": true' in house.program(sys.executable, *words, "--json")
        assert verdicts(lab, "desk") == OPEN
        house.start("enforce")
        assert verdicts(lab, "desk") == OPEN
        until(lambda: not path(house), 5, what="the path is gone")


def test_legacy_iptables_refuses_stage_4_whole_and_says_so(open_directory):
    with provider(open_directory, kernel="iptables") as (lab, house):
        take_everything_remote(house)
        until(lambda: house.status()["held"], 10, what="it is said")
        assert "not made in legacy iptables" in house.status()["held"][0]
        assert "service rendu" in house.ask("explain", company="za")["data"]["held"]["fr"]
        assert verdicts(lab, "desk") == OPEN
        assert house.events("measure.applied", "za") == []
        assert house.pay("za").status == 200
        until(lambda: not house.status()["held"], 5, what="paid")

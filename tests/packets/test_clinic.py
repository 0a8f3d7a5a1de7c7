"""A-06 with packets: a clinic whose guest Wi-Fi alone is suspended. Care, lifts, voice and imaging never notice."""

from contextlib import ExitStack
from datetime import date
from ipaddress import ip_network

import pytest

from agent.kernel.nft import NftKernel
from agent.lab import End, Endpoint, Link, Node, Route, Stream, Topology, laboratory, listen, probe
from agent.nfttext import render
from agent.policy import company_shapes
from agent.proof import prove, prove_members
from agent.rules import Change
from agent.ruleset import members, structure
from tests.core.scenes import loaded

pytestmark = pytest.mark.kernel

HIS, LIFT, GUEST = "10.60.0.5", "10.60.3.10", "10.60.2.5"
#: What is tried of each service; of those of any protocol, a port of our choice.
PLACES = {
    "telephony": ("tcp", "192.0.2.60", 5061),
    "lift-alarm": ("tcp", "192.0.2.61", 4001),
    "imaging": ("tcp", "203.0.113.40", 443),
    "guest-wifi": ("tcp", "198.51.100.60", 443),
}
LOCAL = {"his": ("tcp", HIS, 443), "lift": ("tcp", LIFT, 8080)}

TOPOLOGY = Topology(
    nodes=(
        Node(name="clinic", routes=(Route(to="default4", via="10.60.0.1"),)),
        Node(name="guest", routes=(Route(to="default4", via="10.60.2.1"),)),
        Node(name="provider", routes=(Route(to="default4", via="10.99.0.1"),)),
        Node(
            name="gw",
            forwarding=True,
            routes=tuple(Route(to=f"{address}/32", via="10.99.0.5") for _, address, _ in PLACES.values()),
            sysctls={"ipv4.icmp_ratelimit": "0"},
        ),
    ),
    links=(
        Link(
            left=End(node="clinic", interface="eth0", addresses=(f"{HIS}/23", f"{LIFT}/24")),
            right=End(node="gw", interface="vrf140", addresses=("10.60.0.1/23", "10.60.3.1/24")),
        ),
        Link(
            left=End(node="guest", interface="eth0", addresses=(f"{GUEST}/24",)),
            right=End(node="gw", interface="vrf140g", addresses=("10.60.2.1/24",)),
        ),
        Link(
            left=End(node="provider", interface="eth0", addresses=("10.99.0.5/24", *(f"{a}/32" for _, a, _ in PLACES.values()))),
            right=End(node="gw", interface="up0", addresses=("10.99.0.1/24",)),
        ),
    ),
)


def seen(lab, node, places):
    return {name: probe(lab[node], *place).result for name, place in places.items()}


def test_the_guest_network_loses_its_internet_access_and_the_clinic_nothing():
    clinic, services = loaded().companies["aulnes"], loaded().services
    assert {name: str(services[name].class_) for name in PLACES} == {
        "telephony": "E", "lift-alarm": "E", "imaging": "E", "guest-wifi": "A",
    }  # fmt: skip
    built = structure(services, company_shapes(clinic, services))
    own = [("clinic", attachment.prefix) for _, attachment in clinic.attachments()]
    proven = prove(built, [], own, services)
    wanted = members(clinic, ("guest-wifi",), "aulnes:N1", 600_000, services, date(2026, 3, 30))
    prove_members(wanted, clinic, ("guest-wifi",), proven)
    assert not any(address in render(built) for name, (_, address, _) in PLACES.items() if name != "guest-wifi")
    assert ip_network("10.60.2.0/24") in {attachment.prefix for _, attachment in clinic.attachments()}
    with ExitStack() as stack:
        lab = stack.enter_context(laboratory(TOPOLOGY))
        stack.enter_context(listen(lab["provider"], *(Endpoint(protocol=p, address=a, port=n) for p, a, n in PLACES.values())))
        stack.enter_context(listen(lab["clinic"], *(Endpoint(protocol=p, address=a, port=n) for p, a, n in LOCAL.values())))
        everything = dict.fromkeys(PLACES, "open")
        assert seen(lab, "clinic", PLACES) == seen(lab, "guest", PLACES) == everything
        staying = [stack.enter_context(Stream(lab[node], a, n)) for node, (_, a, n) in (
            ("clinic", PLACES["lift-alarm"]), ("clinic", PLACES["imaging"]), ("guest", LOCAL["his"]),
        )]  # fmt: skip
        assert all(each.wait_more(2000, 5) for each in staying)
        with lab["gw"].inside():
            kernel = NftKernel()
            kernel.apply(Change(structure=built, add=wanted))
            kernel.close()
        assert seen(lab, "guest", PLACES) == {**everything, "guest-wifi": "refused"}
        assert seen(lab, "clinic", PLACES) == everything
        assert seen(lab, "guest", LOCAL) == {"his": "open", "lift": "open"}
        assert all(each.wait_more(2000, 5) for each in staying)
        assert all(each.settle().whole for each in staying)

"""Names at the limit, full tables, large foreign sets, a kernel that lacks something: a clear error, and the old state stays."""

import errno
from ipaddress import ip_network

import pytest

from agent.errors import KernelError
from agent.kernel import elements
from agent.kernel.netlink import NEWSET, NLM_F_CREATE, Message, Netlink, Refusal, attribute, text_attribute
from agent.kernel.nft import NftKernel
from agent.model import L4, Selector, Service, ServiceClass, Shape
from agent.rules import Change, Element, Use
from agent.ruleset import Needs, key_bytes, set_name, structure
from tests.contract.conftest import nft
from tests.contract.examples import COMPANY, FULL, element, keys

pytestmark = pytest.mark.kernel

#: The longest id that is written as it is, one that is shortened, and one of nothing but marks.
LONG_IDS = ("a" * 22, "document-sharing-of-the-whole-group-and-its-partners", "É" * 60)
LONGEST_INTERFACE = "an-interface.15"


@pytest.fixture
def kernel(own_network):
    """The nft backend with the full structure and a company in it."""
    real = NftKernel()
    real.apply(Change(structure=FULL, add=COMPANY))
    yield real
    real.close()


def state(kernel):
    seen = kernel.observe(FULL, keys(COMPANY))
    return seen.structure, {key: (found.case, found.kbit) for key, found in seen.members.items()}


def test_the_longest_names_interfaces_and_case_ids_go_in_and_come_back(own_network):
    services = {
        id_: Service(
            id=id_,
            class_=ServiceClass.ANNEX,
            selectors=(Selector(prefix=ip_network(f"2001:db8:{number}::/48"), protocol=L4.ANY),),
        )
        for number, id_ in enumerate(LONG_IDS)
    }
    built = structure(
        services, [Shape(service=id_, family=6, prefixlen=128, interface=True) for id_ in LONG_IDS], Needs(cap=True, drain=True)
    )
    wanted = tuple(
        Element(
            set=set_name(id_, 6, 128, interface=True, use=use),
            key=key_bytes(ip_network("fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"), LONGEST_INTERFACE),
            case="c" * 128,
            timeout_ms=60_000,
            kbit=64 if use.caps else 0,
        )
        for id_ in LONG_IDS
        for use in (Use.REFUSE, Use.CAP_TO, Use.CAP_FROM, Use.DRAIN)
    )
    assert len({element.set for element in wanted}) == len(wanted)
    assert all(len(element.set) <= 31 for element in wanted)
    kernel = NftKernel()
    for change in (Change(structure=built, add=wanted), Change(add=wanted)):
        kernel.apply(change)
        seen = kernel.observe(built, keys(wanted))
        assert seen.structure == "as_wanted"
        assert {found.case for found in seen.members.values()} == {"c" * 128}
        assert len(seen.members) == len(wanted)
    kernel.close()


@pytest.mark.parametrize(
    "case", ["c" * 129, "é" * 65, "", 'a"b', "a\nb"], ids=["129 bytes", "130 bytes", "none", "quote", "newline"]
)
def test_a_case_id_beyond_the_limit_is_refused_with_a_way_out_and_changes_nothing(kernel, case):
    before = state(kernel)
    for structure_too in (None, FULL):
        with pytest.raises(KernelError, match="1 to 128 printable bytes") as caught:
            kernel.apply(Change(structure=structure_too, add=(element("10.9.0.0/24", case=case),)))
        assert caught.value.errno == errno.EINVAL
        assert state(kernel) == before


def test_none_of_our_sets_can_be_full(kernel):
    """A set without a size grows as it must; one with a size would refuse a restore's neighbour at the worst moment."""
    listed = nft("list", "table", "inet", "ecluse")
    assert "set ged4_24 {" in listed
    assert "size" not in listed
    many = tuple(element(f"10.{100 + (i >> 8)}.{i & 255}.0/24") for i in range(20_000))
    kernel.apply(Change(add=many))
    assert len(kernel.observe(FULL, keys(many[::97])).members) == len(many[::97])


def test_beside_a_foreign_set_of_200_000_ranges_every_change_works_and_leaves_it_as_it_is(kernel):
    ranges = ", ".join(f"{20 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/25" for i in range(200_000))
    nft(
        "-f",
        "-",
        text=f"add table ip geo\nadd set ip geo countries {{ type ipv4_addr; flags interval; elements = {{ {ranges} }}; }}\n",
    )
    again = element("10.20.10.0/24", case="za:2024-2")
    kernel.apply(Change(add=(again,)))
    kernel.apply(Change(structure=FULL, delete=keys((again,))))
    assert kernel.observe(FULL, keys((again,))).members == {}
    assert kernel.observe(FULL).structure == "as_wanted"
    nft("get", "element", "ip", "geo", "countries", "{ 20.0.255.1 }")
    nft("get", "element", "ip", "geo", "countries", "{ 23.13.63.1 }")


class Stubborn(Netlink):
    """A netlink socket over which the kernel first gives these refusals, as it does when others are in the way."""

    def __init__(self, *codes: int) -> None:
        super().__init__()
        self.codes = list(codes)

    def _transact_once(self, messages, *, commit):
        if self.codes:
            return Refusal(index=None, errno=self.codes.pop(0))
        return super()._transact_once(messages, commit=commit)


def batch(*added):
    return list(elements.add_messages(added))


@pytest.mark.parametrize("code", [errno.EINTR, errno.EBUSY, errno.EAGAIN, errno.ENOBUFS], ids=errno.errorcode.get)
def test_what_others_cause_is_tried_again_and_succeeds(kernel, code):
    added = element("10.9.0.0/24")
    with Stubborn(code, code, code) as socket:
        assert socket.transact(batch(added)) is None
    assert set(kernel.observe(FULL, keys((added,))).members) == set(keys((added,)))


@pytest.mark.parametrize("code", [errno.EINTR, errno.EBUSY, errno.EAGAIN, errno.ENOBUFS], ids=errno.errorcode.get)
def test_what_others_cause_without_end_is_given_up_and_told(kernel, code):
    before = state(kernel)
    with Stubborn(*[code] * 50) as socket:
        assert socket.transact(batch(element("10.9.0.0/24"))) == Refusal(index=None, errno=code)
        assert len(socket.codes) > 30, "the attempts are bounded"
    assert state(kernel) == before


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EPERM, errno.ENOENT, errno.EINVAL, errno.ENFILE], ids=errno.errorcode.get)
def test_every_other_refusal_is_told_at_once(kernel, code):
    with Stubborn(code, code) as socket:
        assert socket.transact(batch(element("10.9.0.0/24"))) == Refusal(index=None, errno=code)
        assert socket.codes == [code]


def test_what_this_kernel_does_not_know_is_refused_whole_and_the_old_state_stays(kernel):
    """A set flag of the future stands for a feature that a kernel lacks."""
    before = state(kernel)
    unknown = text_attribute(1, "ecluse") + text_attribute(2, "future") + attribute(3, (1 << 20).to_bytes(4, "big"))
    added = batch(element("10.9.0.0/24"))
    with Netlink() as socket:
        refusal = socket.transact([*added, Message(NEWSET, unknown, "set future", NLM_F_CREATE)])
    assert refusal is not None
    assert refusal.index == len(added)
    assert state(kernel) == before
    assert kernel.observe(FULL, keys((element("10.9.0.0/24"),))).members == {}

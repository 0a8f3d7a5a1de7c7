"""Floor 3, examine. What this kernel does with a table like ours, tried in a network namespace that nobody else is in.

The namespace belongs to one thread and is gone with it: nothing is ever visible on the host.
"""

import ctypes
import os
import threading
from collections.abc import Mapping
from ipaddress import ip_network

from agent.errors import KernelError
from agent.kernel import elements
from agent.kernel.netlink import NEWTABLE, Message, Netlink, attribute, text_attribute
from agent.kernel.nft import NftKernel
from agent.model import L4, Selector, Service, ServiceClass, Shape
from agent.rules import Change, Element, Key
from agent.ruleset import key_bytes, set_name, structure

_CLONE_NEWNET = 0x40000000
_TABLE_FLAGS, _OWNER, _PERSIST = 2, 0x2, 0x4

#: One service of each family and one kind of member: every kind of object that a table of ours has.
_SERVICES = {
    "probe": Service(
        id="probe",
        class_=ServiceClass.ANNEX,
        selectors=(
            Selector(prefix=ip_network("192.0.2.1/32"), protocol=L4.TCP, ports=((443, 443), (8000, 8999))),
            Selector(prefix=ip_network("2001:db8::/64"), protocol=L4.ANY),
        ),
    )
}
_SHAPES = (
    *(Shape(service="probe", family=4, prefixlen=24, interface=interface) for interface in (False, True)),
    *(Shape(service="probe", family=6, prefixlen=64, interface=interface) for interface in (False, True)),
)


def try_features() -> Mapping[str, bool]:
    """What works: `structure` (all that ecluse loads), `renew_keeps_counter`, `owner_persist`.

    Raises:
        OSError: no network namespace could be made (EPERM without root).
        KernelError: this kernel has no nf_tables.
    """
    found: dict[str, bool] = {}
    failed: list[OSError | KernelError] = []

    def inside() -> None:
        try:
            _unshare()
            found.update(_tried())
        except (OSError, KernelError) as error:
            failed.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"a network namespace of its own: {os.strerror(code)}")


def _tried() -> Mapping[str, bool]:
    kernel = NftKernel()
    try:
        return {
            "structure": _structure(kernel),
            "renew_keeps_counter": _renews(kernel),
            "owner_persist": _owner(),
        }
    finally:
        kernel.close()


def _structure(kernel: NftKernel) -> bool:
    wanted = structure(_SERVICES, _SHAPES)
    try:
        kernel.apply(Change(structure=wanted, add=(_member(60_000),)))
    except KernelError:
        return False
    return kernel.observe(wanted).structure == "as_wanted"


def _renews(kernel: NftKernel) -> bool:
    """Does a plain addition of a member that is there already give it a new end? Since Linux 6.12."""
    member = _member(3_600_000)
    (added, *_) = elements.add_messages((member,))
    with Netlink() as netlink:
        if netlink.transact([added]) is not None:
            return False
    key = Key(set=member.set, key=member.key)
    seen = kernel.observe(structure(_SERVICES, _SHAPES), (key,)).members.get(key)
    return seen is not None and seen.expires_ms > 60_000


def _owner() -> bool:
    flags = attribute(_TABLE_FLAGS, (_OWNER | _PERSIST).to_bytes(4, "big"))
    with Netlink() as netlink:
        return netlink.transact([Message(NEWTABLE, text_attribute(1, "ecluse-probe") + flags, "a table with an owner")]) is None


def _member(timeout_ms: int) -> Element:
    network = ip_network("198.51.100.0/24")
    return Element(
        set=set_name("probe", 4, 24, interface=False), key=key_bytes(network, None), case="probe:1", timeout_ms=timeout_ms
    )

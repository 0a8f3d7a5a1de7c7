"""Floor 2, lab. Network namespaces, wires, addresses and routes, made from a `Topology` and taken down again.

A thread can be in another namespace than its process. So nothing here forks: `Space.inside()` moves the calling thread
for the length of a block. A socket opened there belongs to that namespace for good, and a program started there lives
in it.
"""

import ctypes
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pyroute2 import IPRoute

#: Where `ip netns` looks, so that a person can look into a running laboratory too.
NAMESPACES = Path("/run/netns")
PREFIX = "ecl"

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MNT_DETACH = 2
_IFA_F_NODAD = 2
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count()


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """`to` is a prefix or "default4"/"default6"; `via` the next hop, `interface` a direct neighbour's interface. One of both."""

    to: str
    via: str | None = None
    interface: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One machine of the laboratory. `forwarding` makes it a gateway, for both families.

    `sysctls` are names below /proc/sys/net with dots or slashes, such as `ipv4.icmp_ratelimit`.
    """

    name: str
    forwarding: bool = False
    routes: tuple[Route, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """One end of a wire: an interface (at most 15 characters) on a node with its addresses, each with its prefix length."""

    node: str
    interface: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A wire between two nodes (a veth pair)."""

    left: End
    right: End


@dataclass(frozen=True, kw_only=True, slots=True)
class Topology:
    """The whole network as one value."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...] = ()


class Space:
    """A living network namespace: a place that threads, sockets and programs can be in."""

    def __init__(self, name: str, path: Path, fd: int) -> None:
        self.name = name
        self.path = path
        self._fd = fd

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread into this namespace for the length of the block.

        Sockets opened and programs started in the block stay in the namespace. Do not wait for other coroutines inside.

        Raises:
            OSError: without CAP_SYS_ADMIN.
        """
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._fd, _CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", home, _CLONE_NEWNET)
        finally:
            os.close(home)

    def start(self, argv: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Start a program in this namespace, without a shell; it ends with the laboratory at the latest.

        Args:
            argv: the program and its arguments.
            options: as for `subprocess.Popen`.
        """
        with self.inside():
            return subprocess.Popen([str(part) for part in argv], **options)  # noqa: S603 (a laboratory runs programs)

    def sysctl(self, name: str, value: str) -> None:
        """Set a value below /proc/sys/net of this namespace; `name` with dots or slashes."""
        with self.inside():
            (Path("/proc/sys/net") / name.replace(".", "/")).write_text(value)

    def interface_index(self, interface: str) -> int:
        """The index of an interface of this namespace.

        Raises:
            KeyError: no interface of that name.
        """
        with self.inside(), IPRoute() as route:
            found = route.link_lookup(ifname=interface)
        if not found:
            raise KeyError(interface)
        return int(found[0])

    @property
    def inode(self) -> int:
        """What tells this namespace from every other one on the host."""
        return os.fstat(self._fd).st_ino

    def close(self) -> None:
        """End the programs that live here and give the namespace back."""
        _end_programs(self.inode)
        os.close(self._fd)
        _forget(self.path)


class Laboratory(Mapping[str, Space]):
    """A running topology: node names to their namespaces."""

    def __init__(self, spaces: Mapping[str, Space]) -> None:
        self._spaces = spaces

    def __getitem__(self, name: str) -> Space:
        return self._spaces[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._spaces)

    def __len__(self) -> int:
        return len(self._spaces)


@contextmanager
def laboratory(topology: Topology) -> Iterator[Laboratory]:
    """Build a topology, hand it out, and take it down whatever happens.

    Args:
        topology: nodes and links; every link end names a node of it.

    Raises:
        PermissionError: not root.
        KeyError: a link names a node that does not exist.
    """
    remove_leftovers()
    prefix = f"{PREFIX}-{os.getpid()}-{next(_serial)}"
    with ExitStack() as stack:
        stack.enter_context(_terminated_like_interrupted())
        spaces: dict[str, Space] = {}
        for node in topology.nodes:
            spaces[node.name] = stack.enter_context(_space(node.name, NAMESPACES / f"{prefix}-{node.name}"))
            _prepare(spaces[node.name], node)
        for link in topology.links:
            _wire(link, spaces)
        for end in (end for link in topology.links for end in (link.left, link.right)):
            _wait_up(spaces[end.node], end.interface)
        for node in topology.nodes:
            _route(spaces[node.name], node.routes)
        yield Laboratory(spaces)


@contextmanager
def private_network() -> Iterator[Space]:
    """Move the calling thread into one fresh namespace with nothing but a loopback interface, for the length of the block."""
    with laboratory(Topology(nodes=(Node(name="private"),))) as lab, lab["private"].inside():
        yield lab["private"]


def remove_leftovers() -> None:
    """Remove namespaces of laboratories whose process is gone, and end the programs that still live in them."""
    for path in NAMESPACES.glob(f"{PREFIX}-*-*-*") if NAMESPACES.is_dir() else ():
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            with suppress(OSError):
                _end_programs(path.stat().st_ino)
            _forget(path)


def _call(function: str, *arguments: Any) -> None:
    """One libc call that answers 0, or an OSError that says which call failed."""
    if getattr(_libc, function)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)} (a laboratory needs root)")


@contextmanager
def _space(name: str, path: Path) -> Iterator[Space]:
    NAMESPACES.mkdir(exist_ok=True)
    path.touch(exist_ok=False)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    fd = -1
    try:
        try:
            _call("unshare", _CLONE_NEWNET)
            try:
                fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                _call("mount", b"/proc/thread-self/ns/net", bytes(path), b"none", _MS_BIND, None)
            finally:
                _call("setns", home, _CLONE_NEWNET)
        finally:
            os.close(home)
        yield Space(name, path, fd)
    finally:
        if fd >= 0:
            with _undisturbed():
                Space(name, path, fd).close()
        else:
            _forget(path)


def _prepare(space: Space, node: Node) -> None:
    """Kernel settings before the first interface exists, so that each is born with them."""
    settings = {
        # An address must be usable at once: no duplicate address detection, no router solicitations.
        "ipv6.conf.all.accept_dad": "0",
        "ipv6.conf.default.accept_dad": "0",
        "ipv6.conf.default.accept_ra": "0",
        "ipv4.conf.all.rp_filter": "0",
        "ipv4.conf.default.rp_filter": "0",
    }
    if node.forwarding:
        settings |= {"ipv4.ip_forward": "1", "ipv6.conf.all.forwarding": "1", "ipv6.conf.default.forwarding": "1"}
    for name, value in (settings | dict(node.sysctls)).items():
        space.sysctl(name, value)
    with space.inside(), IPRoute() as route:
        route.link("set", index=1, state="up")


def _wire(link: Link, spaces: Mapping[str, Space]) -> None:
    left, right = spaces[link.left.node], spaces[link.right.node]
    with left.inside(), IPRoute() as route:
        # The far end is born in its own namespace; neither end is ever visible on the host.
        peer = {"ifname": link.right.interface, "net_ns_fd": right._fd}  # noqa: SLF001 (same room)
        # Ends with different indexes: for equal ones the kernel may take a second to notice that the wire is up.
        route.link("add", ifname=link.left.interface, index=1000 + next(_serial), kind="veth", peer=peer)
    for space, end in ((left, link.left), (right, link.right)):
        with space.inside(), IPRoute() as route:
            index = route.link_lookup(ifname=end.interface)[0]
            for text in end.addresses:
                address, _, length = text.partition("/")
                extra = {"flags": _IFA_F_NODAD} if ":" in address else {}
                route.addr("add", index=index, address=address, prefixlen=int(length), **extra)
            route.link("set", index=index, state="up")


def _wait_up(space: Space, interface: str, timeout: float = 5.0) -> None:
    """Wait until the kernel has noticed that both ends are up: until then it drops what is sent, for up to a second when busy.

    Raises:
        TimeoutError: it did not.
    """
    deadline = time.monotonic() + timeout
    with space.inside(), IPRoute() as route:
        while route.link("get", ifname=interface)[0].get_attr("IFLA_OPERSTATE") != "UP":
            if time.monotonic() > deadline:
                raise TimeoutError(f"{interface} in {space.name} did not come up in {timeout:.0f} s")
            time.sleep(0.002)


def _route(space: Space, routes: Sequence[Route]) -> None:
    if not routes:
        return
    with space.inside(), IPRoute() as route:
        for each in routes:
            target: dict[str, Any] = {"gateway": each.via} if each.via else {}
            if each.interface:
                target["oif"] = route.link_lookup(ifname=each.interface)[0]
            to = {"default4": "0.0.0.0/0", "default6": "::/0"}.get(each.to, each.to)
            route.route("add", dst=to, **target)


def _end_programs(inode: int) -> None:
    """End every other process that lives in a namespace. The namespace is the laboratory's own, so they are its own too."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            if (entry / "ns/net").stat().st_ino == inode:
                os.kill(int(entry.name), signal.SIGKILL)


def _forget(path: Path) -> None:
    """Take a namespace's name away; the kernel frees it with its last user."""
    with suppress(OSError):
        _call("umount2", bytes(path), _MNT_DETACH)
    path.unlink(missing_ok=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Cleaning up is short and must end: a second Ctrl-C waits for it."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM and a closed terminal unwind the stack as Ctrl-C does, unless the program already has its own way to end."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    with ExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, leave)
                stack.callback(signal.signal, number, signal.SIG_DFL)
        yield

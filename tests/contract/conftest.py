"""The backends that the contract is tried on, each with the hands of a stranger."""

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from agent.kernel import Kernel
from agent.kernel.iptables import IptablesKernel
from agent.kernel.memory import MemoryKernel
from agent.kernel.nft import NftKernel


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A kernel, and what somebody else on the host can do to it."""

    kernel: Kernel
    flush: Callable[[], None]
    add_stranger: Callable[[str], None]
    coarse_s: float = 0.0  # a lease may end so much later than asked for


def nft(*arguments: str, text: str | None = None) -> str:
    """The `nft` program in this thread's namespace, as an administrator runs it."""
    done = subprocess.run(["nft", *arguments], input=text, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def iptables(*arguments: str, program: str = "iptables-legacy") -> None:
    """The legacy program in this thread's namespace."""
    done = subprocess.run([program, "-w", "5", *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr


def iptables_flush() -> None:
    """What an administrator's script does before it loads its own rules; it knows nothing of ipsets."""
    for program in ("iptables-legacy", "ip6tables-legacy"):
        iptables("-F", program=program)
        iptables("-X", program=program)


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.kernel) for name in ("nft", "iptables"))])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """Each backend in turn, empty."""
    if request.param == "memory":
        memory = MemoryKernel(clock=time.monotonic)
        yield Host(kernel=memory, flush=memory.foreign_flush, add_stranger=memory.foreign_name)
        return
    request.getfixturevalue("own_network")
    if request.param == "iptables":
        legacy = IptablesKernel()
        yield Host(kernel=legacy, flush=iptables_flush, add_stranger=lambda name: iptables("-N", f"ECLUSE-{name}"), coarse_s=1.0)
        legacy.close()
        return
    real = NftKernel()
    yield Host(
        kernel=real,
        flush=lambda: nft("flush", "ruleset") and None,
        add_stranger=lambda name: nft(f"add chain inet ecluse {name}") and None,
    )
    real.close()


@pytest.fixture
def kernel(host: Host) -> Kernel:
    """The backend alone."""
    return host.kernel

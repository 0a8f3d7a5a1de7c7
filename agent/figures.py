"""Floor 3. What is told to Prometheus of the enforcing side: taken once a cycle, so that a scrape asks nobody anything.

Rules of this room:

1. Nothing is changed by taking figures, and nothing is listed: the work is the same at 100 and at 100 000 customers.
2. `desired` is what the decisions want, `actual` what the kernel has as far as it was read back: a company whose change keeps
   failing is where they differ.
"""

import os
import time
from collections.abc import Iterator, Sequence
from itertools import islice

from agent.errors import EcluseError, KernelError
from agent.gateway import Gateway
from agent.kernel import Kernel
from agent.metrics import EnforcerMetrics
from agent.rules import Change, Found, Key, Observed, Structure

#: Companies that are due are counted up to here.
MOST_DUE = 1_000

#: Failing companies that are looked at, one by one.
_MOST_FAILING = 50


class Metered:
    """A kernel whose calls are counted and timed; everything else is the kernel's."""

    def __init__(self, kernel: Kernel, metrics: EnforcerMetrics) -> None:
        self._kernel, self._metrics = kernel, metrics

    @property
    def name(self) -> str:
        """The kernel's own."""
        return self._kernel.name

    def observe(self, structure: Structure, keys: Sequence[Key] = ()) -> Observed:
        """Counted under `observe`."""
        begun = time.perf_counter()
        try:
            return self._kernel.observe(structure, keys)
        except KernelError:
            self._metrics.kernel_error("observe")
            raise
        finally:
            self._metrics.kernel_call("observe", time.perf_counter() - begun)

    def check(self, change: Change) -> None:
        """As the kernel does."""
        self._kernel.check(change)

    def apply(self, change: Change) -> None:
        """Counted under `apply`."""
        begun = time.perf_counter()
        try:
            self._kernel.apply(change)
        except KernelError:
            self._metrics.kernel_error("apply")
            raise
        finally:
            self._metrics.kernel_call("apply", time.perf_counter() - begun)

    def close(self) -> None:
        """As the kernel does."""
        self._kernel.close()

    def sets(self) -> tuple[str, ...]:
        """As the kernel does."""
        return self._kernel.sets()

    def dump(self, set_name: str, *, whole: bool = True) -> Iterator[tuple[bytes, Found]]:
        """Errors are counted; the time is the reader's as well."""
        try:
            yield from self._kernel.dump(set_name, whole=whole)
        except KernelError:
            self._metrics.kernel_error("dump")
            raise


def take(gateway: Gateway) -> None:
    """Everything that changes by itself, into the metrics."""
    metrics, ledger = gateway.metrics, gateway.ledger
    counts = ledger.counts()
    metrics.ledger(sequence=counts.events, writable=gateway.ledger_good)
    directory = ledger.path.parent
    room = os.statvfs(directory)
    metrics.disk(used=_size(gateway), free=room.f_bavail * room.f_frsize)
    over, under = _differing(gateway)
    metrics.companies(desired=counts.measures - over, actual=counts.measures - under)
    metrics.waiting(
        due=len(ledger.due(gateway.now().timestamp(), gateway.basis, MOST_DUE)),
        held=len(gateway.held),
        stopped=len(gateway.stop.companies),
        volatile=sum(len(events) for events in gateway.volatile.values()),
        failing=len(gateway.failures),
    )
    metrics.reviewing(is_on=gateway.review is not None)
    metrics.feeds({source: None if at is None else at.timestamp() for source, at in gateway.world.feeds.items()})


def _size(gateway: Gateway) -> int:
    path = gateway.ledger.path
    return sum(file.stat().st_size for file in (path, path.with_name(f"{path.name}-wal")) if file.exists())


def _differing(gateway: Gateway) -> tuple[int, int]:
    """Measures that are still there though nobody wants them any more, and those that are wanted and not there."""
    over = under = 0
    for name in islice(gateway.failures, _MOST_FAILING):
        try:
            held = len(gateway.ledger.measures_of(name))
            wanted = len(gateway.judge(name, gateway.now())[1].in_force()) if held else 0
        except EcluseError:
            continue
        over += max(0, held - wanted)
        under += min(held, wanted)
    return over, under

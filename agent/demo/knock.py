"""Floor 4, demo. Fresh TCP connections to one service, one after the other: when exactly does the answer change?"""

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from agent.lab import Space, probe

#: Seconds between two attempts: as exact as the times that are told, and not so many that the server's queue overflows.
_PAUSE = 0.001
#: An attempt without an answer is given up after so many seconds; it says nothing either way.
_PATIENCE = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Knock:
    """One attempt: readings of the monotonic clock, and `open`, `refused` or `no_answer`."""

    begun: float
    ended: float
    result: str


class Knocker:
    """Knocks in a thread of its own for the length of a `with` block, and remembers every answer."""

    def __init__(self, space: Space, address: str, port: int) -> None:
        self._where = (space, address, port)
        self._knocks: list[Knock] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def since(self, reading: float, result: str) -> list[Knock]:
        """The attempts with this answer that ended after a reading of the monotonic clock."""
        return [one for one in tuple(self._knocks) if one.result == result and one.ended > reading]

    def wait(self, count: int, result: str, *, timeout: float, since: float | None = None) -> list[Knock]:
        """Wait for so many attempts with this answer, from now on or since a reading of the clock; those found in time."""
        begun = time.monotonic() if since is None else since
        deadline = time.monotonic() + timeout
        while len(found := self.since(begun, result)) < count and time.monotonic() < deadline and self._thread.is_alive():
            time.sleep(0.001)
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        space, address, port = self._where
        while not self._stop.wait(_PAUSE):
            begun = time.monotonic()
            result = probe(space, "tcp", address, port, timeout=_PATIENCE).result
            self._knocks.append(Knock(begun=begun, ended=time.monotonic(), result=result))

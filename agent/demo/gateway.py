"""Floor 4, demo. The gateway of the demonstration: the real program, with a clock that its parent holds. A child process.

Rules of this room:

1. The program is `agent.run`, all of it; only the clock is another one, and only code can hand it in: no option, file or
   variable does.
2. The parent moves the clock with one line on standard input, an instant; the answer is the reading of the monotonic clock at
   which it was set. In between it runs on like any clock.
3. When standard input closes, the parent is gone or done: the program stops. So it never outlives the demonstration.
"""

import asyncio
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from agent import log
from agent.config import load_config
from agent.errors import EcluseError
from agent.event import parse_instant
from agent.gateway import log as lines
from agent.run import run


class StoryClock:
    """A clock that runs with the real one, from an instant that can be set anew."""

    def __init__(self, start: datetime) -> None:
        self._base, self._mark = start, time.monotonic()

    def __call__(self) -> datetime:
        """The time of the story, aware."""
        return self._base + timedelta(seconds=time.monotonic() - self._mark)

    def move(self, to: datetime) -> float:
        """Set the clock; returns the reading of the monotonic clock that stands for it."""
        self._base, self._mark = to, time.monotonic()
        return self._mark


async def live(config: Path, clock: StoryClock) -> None:
    """Run all roles until standard input closes.

    Raises:
        EcluseError: a role can not start.
    """
    stop = asyncio.Event()
    rest = bytearray()

    def hear() -> None:
        heard = os.read(sys.stdin.fileno(), 4096)
        if not heard:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            stop.set()
        rest.extend(heard)
        while b"\n" in rest:
            line, _, left = bytes(rest).partition(b"\n")
            rest[:] = left
            sys.stdout.write(f"{clock.move(parse_instant(line.decode()))!r}\n")
            sys.stdout.flush()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), hear)
    await run(load_config(config), now=clock, stopping=stop)


def main() -> int:
    """Arguments: the configuration file and the first instant. Returns the exit code."""
    log.setup("info")
    code = 0
    try:
        asyncio.run(live(Path(sys.argv[1]), StoryClock(parse_instant(sys.argv[2]))))
    except* EcluseError as group:
        for error in group.exceptions:
            lines.critical("%s", error)
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())

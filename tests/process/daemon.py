"""The enforcing role with a clock that a test can set: `daemon.py CONFIG OFFSET [watched]`. Run by path; the product has no such
option.

The file OFFSET holds seconds that are added to the host's clock. It is read at every look at the clock, so that a test can move
it under the feet of a running process. `watched`: jumps of that clock are looked for, as the product looks for those of the host's.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent import log
from agent.clockwork import Clockwork
from agent.config import load_config
from agent.enforce import enforce
from agent.errors import EcluseError


def main(config: Path, offset: Path, *, watched: bool) -> int:
    """As `agent.enforce.main`, with the other clock."""
    log.setup("info")

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(offset.read_text()))

    clockwork = Clockwork(wall=lambda: now().timestamp()) if watched else None
    try:
        asyncio.run(enforce(load_config(config), now=now, clockwork=clockwork))
    except EcluseError as error:
        log.logging.getLogger("ecluse").critical("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), watched="watched" in sys.argv[3:]))

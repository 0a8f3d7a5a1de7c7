"""The enforcing role with a clock that a test can set: `daemon.py CONFIG OFFSET`. Run by path; the product has no such option.

The file OFFSET holds seconds that are added to the host's clock. It is read at every look at the clock, so that a test can move
it under the feet of a running process.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent import log
from agent.config import load_config
from agent.enforce import enforce
from agent.errors import EcluseError


def main(config: Path, offset: Path) -> int:
    """As `agent.enforce.main`, with the other clock."""
    log.setup("info")

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(offset.read_text()))

    try:
        asyncio.run(enforce(load_config(config), now=now))
    except EcluseError as error:
        log.logging.getLogger("ecluse").critical("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

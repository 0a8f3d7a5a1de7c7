"""Floor 2. The compiling child: `python -m agent.inventory DIRECTORY CACHE`.

Rules of this room:

1. Its answer is one JSON object on standard output: `path`, or `problems`. Its exit code is 0, or 2 for bad input.
2. It bounds itself: less priority than the daemon, and an address space that a runaway parse can not leave.
"""

import json
import os
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from agent.errors import ConfigError
from agent.inventory.compiling import compile_directory

#: Address space of the child, in bytes. 100 000 companies with two attachments each need about 200 MB.
_MEMORY: Final = 2 * 1024**3


def main(arguments: list[str]) -> int:
    """The child: `python -m agent.inventory DIRECTORY CACHE`; answers as JSON on standard output, 2 for bad input."""
    directory, cache = arguments
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        answer: dict[str, Any] = {"path": str(compile_directory(Path(directory), Path(cache)))}
    except ConfigError as error:
        answer = {"problems": [asdict(problem) for problem in error.problems]}
    sys.stdout.write(json.dumps(answer))
    return 0 if "path" in answer else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

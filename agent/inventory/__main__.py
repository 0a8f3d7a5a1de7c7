"""Floor 2. The compiling child: `python -m agent.inventory DIRECTORY CACHE`.

Rules of this room:

1. Its answer is one JSON object on standard output: `path`, or `problems`. Its exit code is 0, or 2 for bad input.
2. It bounds itself: less priority than the daemon, and an address space that a runaway parse can not leave.
"""

import json
import os
import resource
import sqlite3
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from agent.errors import ConfigError, Problem
from agent.inventory.compiling import compile_directory
from agent.policy import Code

#: Address space of the child, in bytes. 100 000 companies with two attachments each need about 200 MB.
_MEMORY: Final = 2 * 1024**3


def main(arguments: list[str]) -> int:
    """The child: `python -m agent.inventory DIRECTORY CACHE`; answers as JSON on standard output, 2 for bad input."""
    directory, cache = arguments
    with suppress(PermissionError):  # a sandbox may forbid it; a little less polite is still right
        os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        answer: dict[str, Any] = {"path": str(compile_directory(Path(directory), Path(cache)))}
    except ConfigError as error:
        answer = {"problems": [asdict(problem) for problem in error.problems]}
    except (OSError, sqlite3.Error) as error:  # of the files themselves every fault is a problem already
        what = error.strerror if isinstance(error, OSError) else str(error)
        mend = "Give the directory to the enforcer's user, and see that the disk has room."
        answer = {
            "problems": [asdict(Problem(file=cache, line=0, what=f"can not be written: {what}", mend=mend, code=Code.NOT_COMPILED))]
        }
    sys.stdout.write(json.dumps(answer))
    return 0 if "path" in answer else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Floor 4, demo. One named person at the operators' socket. A child process that becomes this person's user, asks, and ends.

Arguments: uid, gid, the socket, the question as JSON. Prints the answer as JSON. It starts as root and loads everything before
it gives that up, because the person may not be allowed to read this checkout.
"""

import json
import os
import sys
from pathlib import Path

from agent.channel import ask
from agent.errors import EcluseError


def main() -> int:
    """Become the person, ask, print the answer. Returns the exit code of the answer."""
    uid, gid, socket, question = sys.argv[1:5]
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
    try:
        answer, _ = ask(Path(socket), json.loads(question), timeout=10)
    except EcluseError as error:
        answer = {"exit": 1, "message": {"fr": str(error), "en": str(error)}, "data": {}}
    sys.stdout.write(json.dumps(answer))
    return int(answer["exit"])


if __name__ == "__main__":
    sys.exit(main())

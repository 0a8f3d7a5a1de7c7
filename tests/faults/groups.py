"""Memory of our own to run short in: a control group with a limit, in which the kernel's own OOM killer ends what is too large.

Either hierarchy will do: the one of Debian 12 (cgroup v2), or the former one. Nothing outside the group is ever short of memory:
the killer that a group's limit wakes ends nobody outside it.
"""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.process.house import until

MIB = 2**20

_EATER = """
import sys
used, kills, before, most = open(sys.argv[1]), open(sys.argv[2]), sys.argv[3], int(sys.argv[4])
def now(file):
    file.seek(0)
    return file.read()
eaten = []
def eat_until(enough):
    while before in now(kills) and len(eaten) * 2**18 < most and not enough():
        eaten.append(b"x" * 2**18)
for enough in (lambda: int(now(used)) > most - 2**20, lambda: False):
    print("hungry", flush=True)
    sys.stdin.readline()
    eat_until(enough)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A control group. `limit`, `used` and `kills`: the names of its files, which differ between the hierarchies."""

    place: Path
    limit: str
    used: str
    kills: str

    def prefix(self, *, first: bool = False) -> Sequence[str]:
        """What a program is started through to be in it from the beginning. `first`: it is what the killer chooses."""
        chosen = "echo 1000 > /proc/$$/oom_score_adj && " * first
        return ("sh", "-c", f'echo $$ > {self.place}/cgroup.procs && {chosen}exec "$@"', "sh")

    def killed(self) -> int:
        """How many processes the kernel has ended here for want of memory."""
        return int(self._kill_line().split()[1])

    def _kill_line(self) -> str:
        with (self.place / self.kills).open() as lines:
            return next(line for line in lines if line.startswith("oom_kill "))

    @contextmanager
    def eater(self, most: int) -> Iterator[subprocess.Popen[bytes]]:
        """A neighbour in the same group. For a first line of input it eats until next to nothing is left, for a second the rest.

        It says `hungry` before each, and stops when somebody was ended, or at `most` bytes.
        """
        arguments = [self.place / self.used, self.place / self.kills, self._kill_line(), str(most)]
        with subprocess.Popen(
            [*self.prefix(), sys.executable, "-I", "-c", _EATER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdin is not None
                for meal in range(2):
                    assert process.stdout.readline() == b"hungry\n"
                    if meal == 0:
                        process.stdin.write(b"\n")
                        process.stdin.flush()
                yield process
            finally:
                process.kill()


@contextmanager
def memory(bytes_: int) -> Iterator[Group]:
    """A group with so much memory. What is left in it at the end is ended."""
    parent, former = _hierarchy()
    place = parent / f"ecluse-test-{uuid.uuid4().hex[:12]}"
    place.mkdir()
    v1 = {"limit": "memory.limit_in_bytes", "used": "memory.usage_in_bytes", "kills": "memory.oom_control"}
    v2 = {"limit": "memory.max", "used": "memory.current", "kills": "memory.events"}
    group = Group(place=place, **(v1 if former else v2))
    try:
        (place / group.limit).write_text(str(bytes_))
        # Swap would only put it off.
        for name, value in (("memory.memsw.limit_in_bytes", str(bytes_)), ("memory.swap.max", "0")):
            if (place / name).exists():
                (place / name).write_text(value)
        yield group
    finally:
        for pid in (place / "cgroup.procs").read_text().split():
            os.kill(int(pid), 9)
        until(lambda: not (place / "cgroup.procs").read_text(), 10, what="the group is empty")
        place.rmdir()


def _hierarchy() -> tuple[Path, bool]:
    """Where groups with a limit on memory can be made, and whether in the former way."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        if kind == "cgroup" and "memory" in options:
            return Path(fields[4]), True
        if kind == "cgroup2" and "memory" in (Path(fields[4]) / "cgroup.subtree_control").read_text().split():
            return Path(fields[4]), False
    raise AssertionError("no hierarchy of control groups with memory: /proc/self/mountinfo")

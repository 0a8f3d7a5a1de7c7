"""A gateway's file system with other firewalls in it: the host's files below, packages over them, everything written on top.

Programs run in a mount namespace of their own, with that file system as their root, and in the network namespace of the gateway.
So they find their own `/etc`, `/run` and `/var`, and what they write is gone with the test.
"""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.lab import Space

ROOT = Path(__file__).parents[2]
#: Laid out by `make` (tests/neighbours/fetch).
PACKAGES = ROOT / ".cache/neighbours/root"

_MOUNTS = """
set -e
mount -t tmpfs -o mode=0755 space "$1"
mkdir "$1/root"
cd "$1/root"
mkdir proc sys dev run tmp root
for each in bin sbin lib lib64; do ln -s "usr/$each" "$each"; done
for each in usr etc var; do
  mkdir -p "$each" "$1/up/$each" "$1/work/$each" "$2/$each"
  below="$2/$each"
  [ "$each" = var ] || below="$below:/$each"
  mount -t overlay -o "lowerdir=$below,upperdir=$1/up/$each,workdir=$1/work/$each" overlay "$each"
done
for each in proc sys dev; do mount --rbind "/$each" "$each"; done
mkdir -p var/log var/lib
rm -rf var/run
ln -s /run var/run
echo
cat
"""


class Root:
    """Where the neighbours live. `path` is that root as this process sees it."""

    def __init__(self, space: Space, path: Path, holder: int) -> None:
        self.space, self._holder = space, holder
        self.path = Path(f"/proc/{holder}/root{path}/root")
        self._prefix = ("nsenter", f"--mount=/proc/{holder}/ns/mnt", "--", "chroot", f"{path}/root")

    def start(self, *argv: str, space: Space | None = None, **options: Any) -> subprocess.Popen[Any]:
        """Start a program that stays; it ends with the laboratory at the latest."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
        return (space or self.space).start([*self._prefix, *argv], env=environment, **options)

    def run(self, *argv: str, text: str | None = None, ok: bool = True, timeout: float = 60) -> str:
        """Run a program to its end; returns what it printed, on both streams."""
        process = self.start(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        with process:
            try:
                output, _ = process.communicate(text, timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert not ok or process.returncode == 0, f"{' '.join(argv)}: {output[-2000:]}"
        return str(output)

    def write(self, name: str, text: str) -> None:
        """Write a file of the neighbours' root."""
        place = self.path / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def read(self, name: str) -> str:
        """A file of the neighbours' root; empty where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return (self.path / name.lstrip("/")).read_text(errors="replace")
        return ""

    def link(self, name: str, to: str) -> None:
        """What a package's script would have done with update-alternatives."""
        place = self.path / name.lstrip("/")
        place.unlink(missing_ok=True)
        place.symlink_to(to)


@contextlib.contextmanager
def neighbours_root(space: Space, directory: Path) -> Iterator[Root]:
    """The file system, for as long as the block lasts.

    Args:
        space: the gateway.
        directory: an empty directory to mount it in.
    """
    assert PACKAGES.is_dir(), f"{PACKAGES} is missing: make .cache/neighbours/fetched"
    place = directory / "neighbours"
    place.mkdir()
    argv: Sequence[str] = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNTS, "sh", str(place), str(PACKAGES)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        if holder.stdout.read(1) != b"\n":
            raise RuntimeError(holder.stderr.read().decode(errors="replace"))
        try:
            yield Root(space, place, holder.pid)
        finally:
            holder.stdin.close()
            holder.wait(10)

"""`python -m release.dist OUT`: sdist and wheel that are the same bytes wherever and whenever they are made from the same source.

`SOURCE_DATE_EPOCH` is the time that every file in them has; `make dist` takes that of the last commit. The umask, the clock, the
path and the user of who builds leave no trace: the sdist is packed anew by rules of our own, and the wheel is made from it.
"""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

#: Before 1980 a wheel (a zip file) can not say.
EARLIEST = 315_532_800


def main(out: Path) -> int:
    """Build both from the directory we are in."""
    epoch = max(EARLIEST, int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        made = build("--sdist", Path.cwd(), Path(folder), epoch)
        sdist = out / made.name
        sdist.write_bytes(packed(made, epoch))
        unpack(sdist, Path(folder))
        wheel = build("--wheel", Path(folder) / made.name.removesuffix(".tar.gz"), Path(folder) / "wheel", epoch)
        (out / wheel.name).write_bytes(wheel.read_bytes())
    print(sdist)
    print(out / wheel.name)
    return 0


def build(what: str, source: Path, out: Path, epoch: int) -> Path:
    """One file, by the standard's front end, with what the release's own lock has installed."""
    command = [sys.executable, "-m", "build", what, "--no-isolation", "--outdir", str(out), str(source)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, umask=0o022)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    (found,) = out.glob("*.tar.gz" if what == "--sdist" else "*.whl")
    return found


def packed(sdist: Path, epoch: int) -> bytes:
    """The same files in order, with one time, no owner and two modes."""
    raw = io.BytesIO()
    with tarfile.open(sdist) as old, tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            if not (member.isfile() or member.isdir()):
                raise SystemExit(f"{member.name}: neither a file nor a directory")
            member.mtime, member.uid, member.gid, member.uname, member.gname, member.pax_headers = epoch, 0, 0, "", "", {}
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=epoch) as file:
        file.write(raw.getvalue())
    return out.getvalue()


def unpack(sdist: Path, into: Path) -> None:
    """Its files with their modes, whatever the umask."""
    with tarfile.open(sdist) as archive:
        for member in archive:
            file, path = archive.extractfile(member), into / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            if file is not None:
                path.write_bytes(file.read())
                path.chmod(member.mode)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

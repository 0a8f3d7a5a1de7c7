"""Makes the bundle: everything `install.sh` needs, in one tar, so that a gateway without internet can be installed.

Rules of this room:

1. The same sources give the same bytes: no time, user or order of a directory gets in.
2. Packages come by hash from requirements/*.txt, as wheels for each Python and processor that Debian 12 and 13 have here.
3. Nothing of the checkout gets in that is not named here.
"""

import argparse
import gzip
import hashlib
import io
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from setuptools import build_meta

ROOT = Path(__file__).parents[1]

#: What the wheel and the source archive are built from.
SOURCES = ("agent", "pyproject.toml", "README.md", "LICENSE")
LOCKS = ("requirements/run.txt", "requirements/installer.txt")

#: Debian 12 and 13, on the processors that gateways have.
PYTHONS = ("3.11", "3.13")
PROCESSORS = ("x86_64", "aarch64")
GLIBC = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")

#: The earliest time a wheel can carry; a time says nothing here.
EPOCH = 315_532_800


def version(root: Path = ROOT) -> str:
    """The version of the sources."""
    return str(runpy.run_path(str(root / "agent" / "__init__.py"))["__version__"])


def make(dist: Path, cache: Path, root: Path = ROOT) -> Path:
    """Make `dist/ecluse-VERSION.tar` and the same as a directory beside it.

    Args:
        dist: where to, absolute; made if it is missing.
        cache: where downloaded wheels are kept between runs.
        root: the checkout.

    Returns:
        The path of the tar.

    Raises:
        subprocess.CalledProcessError: a package can not be had, or has another hash than the lock says.
    """
    name = f"ecluse-{version(root)}"
    place = dist / name
    shutil.rmtree(place, ignore_errors=True)
    (place / "wheels").mkdir(parents=True)
    for wheel in sorted(packages(cache, root).glob("*.whl")):
        _copy(wheel, place / "wheels" / wheel.name)
    with clean_copy(root) as sources:
        build(sources, place)
    for lock in LOCKS:
        _copy(root / lock, place / lock)
    (place / "VERSION").write_text(version(root) + "\n")
    _copy(root / "install.sh", place / "install.sh", 0o755)
    _copy(root / "LICENSE", place / "LICENSE")
    for folder, to in (("systemd", "systemd"), ("release/etc", "etc"), ("policies", "examples"), ("docs", "docs")):
        for path in files(root / folder):
            _copy(path, place / to / path.relative_to(root / folder))
    page = subprocess.run(
        [sys.executable, root / "release" / "man.py"],
        check=True,
        capture_output=True,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
    ).stdout
    (place / "ecluse.1.gz").write_bytes(gzip.compress(page, mtime=0))
    sums = "".join(f"{digest(path)}  {path.relative_to(place)}\n" for path in files(place))
    (place / "SHA256SUMS").write_text(sums)
    return pack(place, dist / f"{name}.tar")


def packages(cache: Path, root: Path) -> Path:
    """The directory with the wheels of the locks, downloaded if they are not there yet."""
    key = hashlib.sha256(b"".join((root / lock).read_bytes() for lock in LOCKS)).hexdigest()[:16]
    place = cache / f"wheels-{key}"
    if place.is_dir():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        for python in PYTHONS:
            for processor in PROCESSORS:
                platforms = [option for glibc in GLIBC for option in ("--platform", f"{glibc}_{processor}")]
                locks = [option for lock in LOCKS for option in ("-r", str(root / lock))]
                subprocess.run(
                    [
                        *(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--require-hashes"),
                        *("--no-deps", "--only-binary", ":all:", "--python-version", python, *platforms, *locks, "-d", temporary),
                    ],
                    check=True,
                )
        Path(temporary).rename(place)
        Path(temporary).mkdir()  # for its own removal
    place.chmod(0o755)
    return place


@contextmanager
def clean_copy(root: Path) -> Iterator[Path]:
    """The sources alone: what an earlier build left in the checkout would end up in the wheel."""
    with tempfile.TemporaryDirectory() as name:
        for source in SOURCES:
            for path in files(root / source) if (root / source).is_dir() else [root / source]:
                _copy(path, Path(name) / path.relative_to(root))
        yield Path(name)


def build(sources: Path, place: Path) -> None:
    """The wheel into `place/wheels` and the source archive into `place`, by setuptools and always the same."""
    before, here = os.umask(0o022), Path.cwd()
    os.environ["SOURCE_DATE_EPOCH"] = str(EPOCH)
    try:
        os.chdir(sources)
        with Path(os.devnull).open("w") as nowhere, _output_to(nowhere.fileno()):
            build_meta.build_wheel(str(place / "wheels"))
            with tempfile.TemporaryDirectory() as made:
                archive = Path(made) / build_meta.build_sdist(made)
                again(archive, place / archive.name)
    finally:
        os.chdir(here)
        os.umask(before)


@contextmanager
def _output_to(descriptor: int) -> Iterator[None]:
    """Quiet: setuptools tells each file it looks at, on both streams."""
    kept = os.dup(1), os.dup(2)
    sys.stdout.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        for number, old in enumerate(kept, 1):
            os.dup2(old, number)
            os.close(old)


def again(archive: Path, to: Path) -> None:
    """Write a source archive anew without times and users, members in order."""
    out = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            new.addfile(_nobody(member), old.extractfile(member) if member.isfile() else None)
    to.write_bytes(gzip.compress(out.getvalue(), mtime=0))


def pack(place: Path, to: Path) -> Path:
    """One tar of a directory; the same files give the same bytes."""
    with tarfile.open(to, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in files(place):
            member = _nobody(tar.gettarinfo(str(path), str(path.relative_to(place.parent))))
            with path.open("rb") as content:
                tar.addfile(member, content)
    return to


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = EPOCH
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    member.pax_headers = {}
    return member


def files(folder: Path) -> Iterable[Path]:
    """Every file below a folder, in order, without what Python and editors leave behind."""
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )


def digest(path: Path) -> str:
    """SHA-256 of a file, as `sha256sum` writes it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _copy(path: Path, to: Path, mode: int = 0o644) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)
    to.chmod(mode)


def main() -> None:
    """Arguments: where to, and where downloads are kept."""
    parser = argparse.ArgumentParser(description="Make the bundle that install.sh installs.")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache")
    options = parser.parse_args()
    made = make(options.dist.absolute(), options.cache.absolute())
    sys.stdout.write(f"{made}\n{digest(made)}  {made.name}\n")


if __name__ == "__main__":
    main()

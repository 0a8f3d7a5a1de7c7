"""The machine of ring 3: a stock Debian kernel, and a disk with what the tests need of this host's own packages.

Built once and kept in `.cache/qemu`, under a name that says what it was made of; a change of any of it builds anew. The
kernel's package is downloaded and unpacked, never installed. The disk holds this host's Python, the locked packages of the
virtual environment, nft, ip and conntrack with the libraries they load, busybox, and the network part of the kernel's modules.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "qemu"

#: The package that names the kernel a Debian 12 cloud machine has.
KERNEL_PACKAGE = "linux-image-cloud-amd64"

#: Programs and libraries of this host that the machine has too. libnftables is loaded by name, so no program names it.
PROGRAMS = ("nft", "ip", "conntrack", "busybox", "kmod")
LIBRARIES = ("libnftables.so.1", "libgcc_s.so.1")

#: What of the kernel's modules is copied: all of its network, and what that needs.
MODULES = ("net", "drivers/net", "crypto", "lib", "arch/x86/crypto", "fs/overlayfs")

#: Packages of the virtual environment that no test in the machine needs.
_LEFT_OUT = re.compile(r"(mypy|ruff|pip|setuptools|stripe|librt|ast_serialize|requests|types_|.*__mypyc).*", re.IGNORECASE)

_INIT = """#!/bin/busybox sh
# The first and only program of the machine: mount, run the tests that the second disk names, power off.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /dev/shm /dev/pts
/bin/busybox mount -t tmpfs shm /dev/shm
/bin/busybox mount -t devpts pts /dev/pts
for place in /tmp /run /var /root; do /bin/busybox mount -t tmpfs tmpfs $place; done
/bin/busybox mkdir -p /run/netns /var/lib /var/log
/bin/busybox mount -t ext4 -o noatime /dev/nvme1n1 /project
/bin/busybox stty -F /dev/ttyS1 raw
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 ECLUSE_INSIDE=1
export PYTHONPATH=/project:/packages
cd /project
/bin/busybox ip link set lo up
/bin/busybox sh /project/.run
/bin/busybox sync
/bin/busybox poweroff -f
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A bootable machine: the kernel's file, its version, and the disk it boots from."""

    kernel: Path
    version: str
    disk: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """A kernel as its package has it, unpacked: `image`, and `modules`, whose folder is named after `version`."""

    image: Path
    modules: Path
    version: str


def machine() -> Machine:
    """The machine, built if this host has none that was made of the same things."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:  # two test runs at once build it once
        flock(lock, LOCK_EX)
        kernel = stock_kernel()
        disk = CACHE / f"disk-{_made_of(kernel)}.img"
        if not disk.exists():
            for old in CACHE.glob("disk-*.img"):
                old.unlink()
            _build(kernel, disk)
        return Machine(kernel=kernel.image, version=kernel.version, disk=disk)


def stock_kernel() -> Kernel:
    """Debian's own kernel, downloaded and unpacked once.

    Raises:
        RuntimeError: the package can not be downloaded.
    """
    package = CACHE / "kernel"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "kernel.lock").open("w") as lock:  # two test runs at once download it once
        flock(lock, LOCK_EX)
        if not list(package.glob("boot/vmlinuz-*")):
            _fetch_kernel(package)
    (image,) = package.glob("boot/vmlinuz-*")
    version = image.name.removeprefix("vmlinuz-")
    return Kernel(image=image, modules=package / "lib" / "modules" / version, version=version)


def _fetch_kernel(package: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        name = _kernel_package()
        _say(f"downloading {name}")
        # As root apt lays packages down itself; the folder is not open to its own user.
        _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name], cwd=place)
        (archive,) = Path(place).glob("*.deb")
        unpacked = Path(place) / "unpacked"
        _run(["dpkg", "-x", archive, unpacked])
        shutil.rmtree(package, ignore_errors=True)
        unpacked.rename(package)


def disk_of(tree: Path, disk: Path, *, megabytes: int) -> None:
    """An ext4 disk with what is in `tree`, made without mounting anything."""
    making = disk.with_suffix(".new")
    making.unlink(missing_ok=True)
    _run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", tree, making, f"{megabytes}M"])
    making.rename(disk)


def _kernel_package() -> str:
    """The package with the kernel that `KERNEL_PACKAGE` depends on today."""
    for attempt in ("as it is", "after an update"):
        if attempt != "as it is":
            _run(["apt-get", "-qq", "update"])
        said = subprocess.run(["apt-cache", "depends", KERNEL_PACKAGE], capture_output=True, text=True, check=False).stdout
        found = re.search(r"Depends: (linux-image-\S+)", said)
        if found:
            return found[1]
    raise RuntimeError(f"no package of the name {KERNEL_PACKAGE}; run apt-get update, and see that Debian's main archive is used")


def _made_of(kernel: Kernel) -> str:
    """A digest over everything the disk is made from."""
    asked = [
        "dpkg-query",
        "-W",
        "-f",
        "${Package} ${Version}\n",
        "nftables",
        "libnftables1",
        "iproute2",
        "conntrack",
        "busybox-static",
    ]
    parts = (
        Path(__file__).read_bytes(),
        (ROOT / "requirements" / "dev.txt").read_bytes(),
        kernel.version.encode(),
        sys.version.encode(),
        subprocess.run(asked, capture_output=True, check=True).stdout,
    )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _build(kernel: Kernel, disk: Path) -> None:
    _say(f"building the disk of the machine (Linux {kernel.version})")
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        tree = Path(place)
        for folder in (
            "proc",
            "sys",
            "dev",
            "tmp",
            "run",
            "var",
            "root",
            "project",
            "etc",
            "usr/lib/modules",
            "usr/bin",
            "usr/sbin",
        ):
            (tree / folder).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (tree / "usr" / name).mkdir(exist_ok=True)
            (tree / name).symlink_to(f"usr/{name}")
        python = Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}").resolve()
        programs = [python, *(Path(_which(name)) for name in PROGRAMS)]
        standard = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
        packages = Path(sysconfig.get_path("purelib"))
        _copy(
            standard,
            tree / standard.relative_to("/"),
            leave=("test", "tests", "idlelib", "lib2to3", "tkinter", "dist-packages", "site-packages"),
        )
        _copy(packages, tree / "packages", leave=[path.name for path in packages.iterdir() if _LEFT_OUT.fullmatch(path.name)])
        extensions = [*(tree / standard.relative_to("/")).rglob("*.so"), *(tree / "packages").rglob("*.so")]
        libraries = [Path(path) for name in LIBRARIES for path in _library(name)]
        for program in programs:
            _put(program, tree)
        for needed in {*libraries, *_loaded([*programs, *libraries, *extensions])}:
            _put(needed, tree)
        for name, target in (("python3", python.name), ("python", python.name)):
            (tree / "usr/bin" / name).symlink_to(python if python.parent != Path("/usr/bin") else target)
        for name in ("modprobe", "depmod", "insmod"):
            (tree / "usr/sbin" / name).symlink_to(_which("kmod"))
        (tree / "usr/bin/sh").symlink_to(_which("busybox"))
        for name in MODULES:
            if (kernel.modules / "kernel" / name).exists():
                _copy(kernel.modules / "kernel" / name, tree / "usr/lib/modules" / kernel.version / "kernel" / name)
        for listing in kernel.modules.glob("modules.*"):
            shutil.copy2(listing, tree / "usr/lib/modules" / kernel.version)
        _run(["depmod", "-b", tree, kernel.version])
        (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        (tree / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
        (tree / "etc/hosts").write_text("127.0.0.1 localhost\n")
        (tree / "init").write_text(_INIT)
        (tree / "init").chmod(0o755)
        used = sum(path.lstat().st_size for path in tree.rglob("*")) // 2**20
        disk_of(tree, disk, megabytes=used * 3 // 2 + 64)


def _copy(source: Path, target: Path, *, leave: Sequence[str] = ()) -> None:
    shutil.copytree(
        source, target, symlinks=True, ignore=lambda folder, names: [n for n in names if Path(folder) == source and n in leave]
    )


def _put(file: Path, tree: Path) -> None:
    """A copy of one file of this host at its own place."""
    place = tree / file.relative_to("/")
    real = place.parent.resolve() / place.name
    real.parent.mkdir(parents=True, exist_ok=True)
    if not real.exists():
        shutil.copy2(file, real)


def _loaded(files: Iterable[Path]) -> Iterator[Path]:
    """Every shared library that these files load, by the path they ask for."""
    said = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False).stdout
    for path in set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", said, re.MULTILINE)):
        yield Path(path)


def _library(name: str) -> Iterator[str]:
    said = _run(["ldconfig", "-p"])
    found = re.search(rf"^\s*{re.escape(name)} .*=> (\S+)$", said, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{name} is not installed; `make` installs what the tests need")
    yield found[1]


def _which(name: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        raise RuntimeError(f"{name} is not installed; `make` installs what the tests need")
    return path


def _run(argv: Sequence[object], cwd: str | None = None) -> str:
    done = subprocess.run(
        [str(each) for each in argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed: {done.stderr[-2000:] or done.stdout[-2000:]}")
    return done.stdout


def _say(text: str) -> None:
    sys.stderr.write(f"\nring 3: {text}\n")

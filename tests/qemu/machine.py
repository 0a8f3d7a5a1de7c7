"""Boot the machine of ring 3, run tests in it with the project as it is here, and bring their reports back.

The tests run as root on a kernel of their own, under pytest, as they would on a host. Each report comes back over the second
serial port as pytest itself writes it down, so that a failure in the machine reads like one here. Emulated time is slow and
uneven: nothing in the machine may be timed tightly.
"""

import json
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.qemu.image import CACHE, ROOT, disk_of, machine

#: What of the project is in the machine.
PROJECT = ("agent", "tests", "policies", "pyproject.toml")

MEGABYTES = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """What became of a run in the machine: reports as pytest serializes them, the kernel's version, the console's text."""

    reports: tuple[Mapping[str, Any], ...]
    kernel: str
    console: str

    def of(self, nodeid: str) -> list[Mapping[str, Any]]:
        """The reports of one test."""
        return [report for report in self.reports if report["nodeid"] == nodeid]


def run(arguments: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> Ran:
    """Boot, run pytest with these arguments, power off.

    Args:
        arguments: test ids, files or folders below the project, and options of pytest.
        seconds: after which the machine is ended.
        environment: variables for the tests.

    Raises:
        RuntimeError: the machine can not be built, did not end in time, or reported nothing; with the end of its console.
    """
    booted = machine()
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        place = Path(name)
        _project_disk(place, arguments, environment or {})
        console, reports = place / "console", place / "reports"
        command = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEGABYTES)),
            *("-nographic", "-no-reboot", "-nodefaults", "-kernel", booted.kernel),
            *(
                "-append",
                "console=ttyS0 root=/dev/nvme0n1 ro init=/init panic=1 quiet mitigations=off cryptomgr.notests nowatchdog",
            ),
            # Many runs may use the one disk: nobody writes to it.
            *("-drive", f"file={booted.disk},if=none,id=system,format=raw,readonly=on"),
            *("-device", "nvme,drive=system,serial=system"),
            *("-drive", f"file={place / 'project.img'},if=none,id=project,format=raw"),
            *("-device", "nvme,drive=project,serial=project"),
            *("-serial", f"file:{console}", "-serial", f"file:{reports}"),
        ]
        ended = ""
        with subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as emulator:
            try:
                said, _ = emulator.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                emulator.kill()
                said, _ = emulator.communicate()
                ended = f"did not end within {seconds:g} s"
        shown = console.read_text(errors="replace") if console.exists() else said
        found = [json.loads(line) for line in _lines(reports)]
        if emulator.returncode and not ended:
            ended = f"ended with {emulator.returncode}: {said}"
        if not found and not ended:
            ended = "reported nothing"
        if ended:
            raise RuntimeError(f"the machine {ended}\n{shown[-6000:]}")
        return Ran(reports=tuple(found), kernel=booted.version, console=shown)


def _project_disk(place: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    tree = place / "project"
    for name in PROJECT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name)
        else:
            shutil.copy2(ROOT / name, tree / name)
    variables = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    pytest = ["python3", "-m", "pytest", "-p", "tests.qemu.reporter", "-p", "no:cacheprovider", "-q", *arguments]
    (tree / ".run").write_text("\n".join((*variables, shlex.join(pytest), "")))
    disk_of(tree, place / "project.img", megabytes=96)
    shutil.rmtree(tree)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []

"""A whole Debian under an emulator, with its own kernel and a real reboot: install, suspend, kill, reboot, restore, remove.

One machine tells the story; each test asks how one step of it went. Emulated time is slow: nothing here is a figure.
"""

import base64
import json
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.process.house import MONDAY, ROOT, SECRET, SERVICES, SIGNS, STATED, customers, history, policies
from tests.process.test_traffic import DEBTOR, NEIGHBOUR
from tests.qemu.image import MODULES, disk_of, stock_kernel
from tests.systemd import debian, whole

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(2000)]

#: Each boot must be over after so many seconds; a minute or two on a machine that does nothing else.
SECONDS = 900

#: What the biller may state, without the clock: whether that is right the machine's kernel says.
SAYS = tuple(name for name in STATED if name != "clock.checked")

_UNIT = """[Unit]
After=multi-user.target
[Service]
Type=exec
Environment=LANG=C.UTF-8 HOME=/root
ExecStart=/usr/bin/python3 /root/whole.py
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
"""

_APPEND = "console=ttyS0 root=/dev/nvme0n1 rw panic=1 mitigations=off nowatchdog systemd.show_status=false quiet"

#: The shipped units, but for their patience.
_SLOW = "[Service]\nTimeoutStartSec=5min\nWatchdogSec=5min\n"


def story() -> dict[str, object]:
    """What the machine needs to know."""
    source = f"kind: native, secrets: [secrets/billing], customer_ids: own, events: [{', '.join(SAYS)}]"
    return {
        "secret": base64.b64encode(SECRET).decode(),
        "signs": [sign for sign in SIGNS if sign[0] in SAYS],
        "history": "\n".join(history("za")) + "\n",
        "until": (MONDAY + timedelta(days=60)).date().isoformat(),
        "files": {
            "/etc/ecluse/policies/services.yaml": SERVICES,
            "/etc/ecluse/policies/suspension.yaml": policies(),
            "/etc/ecluse/policies/customers.yaml": customers((DEBTOR, NEIGHBOUR)),
            "/etc/ecluse/secrets/billing": "whsec_" + base64.b64encode(SECRET).decode(),
            "/etc/ecluse/sources.yaml": f"sources: {{billing: {{{source}}}}}\n",
            "/etc/ecluse/ecluse.yaml": (
                "policies: policies\nsources: sources.yaml\nserve_group: ecluse-serve\noperators_group: ecluse\n"
                "mode_ceiling: auto\noperators: [{name: Claire Martin, user: root, roles: [approver, operator]}]\n"
            ),
        },
    }


def build(place: Path, bundle: Path) -> tuple[Path, Path]:
    """The disk of the machine, and its kernel."""
    kernel = stock_kernel()
    tree = place / "tree"
    subprocess.run(["cp", "-a", debian.tree(), tree], check=True)
    modules = tree / "usr/lib/modules" / kernel.version
    for name in MODULES:
        shutil.copytree(kernel.modules / "kernel" / name, modules / "kernel" / name)
    for path in kernel.modules.glob("modules.*"):
        shutil.copy2(path, modules / path.name)
    subprocess.run(["depmod", "-b", tree, kernel.version], check=True, stderr=subprocess.DEVNULL)
    shutil.copytree(bundle, tree / "root/bundle")
    shutil.copy2(whole.__file__, tree / "root/whole.py")
    shutil.copy2(ROOT / "agent/lab/echo.py", tree / "root/echo.py")
    (tree / "root/story.json").write_text(json.dumps(story()))
    (tree / "etc/systemd/system/whole.service").write_text(_UNIT)
    slow = tree / "etc/systemd/system/ecluse-.service.d"  # of every unit whose name begins so
    slow.mkdir()
    (slow / "slow.conf").write_text(_SLOW)
    wanted = tree / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    (wanted / "whole.service").symlink_to("../whole.service")
    (tree / "etc/fstab").write_text("/dev/nvme0n1 / ext4 defaults 0 1\n")
    disk_of(tree, place / "disk.img", megabytes=1500)
    shutil.rmtree(tree)
    return place / "disk.img", kernel.image


def boot(disk: Path, kernel: Path, clock: datetime) -> tuple[str, str]:
    """Run the machine until it powers off or asks for a reboot, or is given up; returns its reports and the end of its console."""
    # Not by the hardware clock: systemd takes none for true that is behind the day it was built itself.
    microseconds = int(clock.timestamp() * 1_000_000)
    reports, console = disk.with_suffix(".reports"), disk.with_suffix(".console")
    command = [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"),
        *("-nographic", "-no-reboot", "-nodefaults", "-kernel", kernel, "-append", f"{_APPEND} systemd.clock_usec={microseconds}"),
        *("-drive", f"file={disk},if=none,id=d,format=raw", "-device", "nvme,drive=d,serial=x"),
        *("-serial", f"file:{console}", "-serial", f"file:{reports}"),
    ]
    ended = ""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=SECONDS,
        )  # fmt: skip
        ended = f"the emulator ended with {done.returncode}: {done.stdout}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        ended = f"the machine did not end within {SECONDS} s"
    said, shown = (path.read_text(errors="replace") if path.exists() else "" for path in (reports, console))
    return said, f"{ended}\n{shown[-4000:]}"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, this_version: Path) -> dict[str, str]:
    """What went wrong at each step, "" for nothing; what was never reached has the console's end."""
    disk, kernel = build(tmp_path_factory.mktemp("whole"), this_version)
    found: dict[str, str] = {}
    # The second boot is half an hour later: the lease has run on meanwhile.
    for steps, minutes in ((whole.FIRST, 0), (whole.SECOND, 30)):
        reports, console = boot(disk, kernel, MONDAY + timedelta(minutes=minutes))
        lines = [json.loads(line) for line in reports.splitlines() if line.endswith("}")]
        found |= dict.fromkeys(steps, f"this step was never reached; {console}")
        found |= {one["step"]: one["wrong"] for one in lines}
        if len(lines) < len(steps):
            break
    disk.unlink()
    return found


@pytest.mark.parametrize("step", [*whole.FIRST, *whole.SECOND])
def test_in_a_whole_machine_with_a_reboot_in_between(told, step):
    wrong = told.get(step, "the boot before this step did not end well")
    assert not wrong, wrong

"""Bundles to install: of this checkout, and of versions that do not exist yet."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from agent.ledger.schema import VERSION
from tests.process.house import ROOT

_PARTS = ("agent", "release", "systemd", "policies", "docs", "requirements", "install.sh", "pyproject.toml", "README.md", "LICENSE")


def bundle(room: Path, version: str = "", change: Callable[[Path], None] = lambda _: None) -> Path:
    """Make a bundle; returns its unpacked directory.

    Args:
        room: an empty directory to work in.
        version: another version than this checkout's.
        change: what is different in its sources.
    """
    root = ROOT
    if version:
        root = room / "sources"
        for part in _PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                root.mkdir(exist_ok=True)
                shutil.copy2(ROOT / part, root / part)
        (root / "agent" / "__init__.py").write_text(f'"""ecluse."""\n\n__version__ = "{version}"\n')
        change(root)
    done = subprocess.run(
        [sys.executable, root / "release" / "bundle.py", "--dist", room / "dist", "--cache", ROOT / ".cache"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    (found,) = (path for path in (room / "dist").iterdir() if path.is_dir())
    return found


def broken(root: Path) -> None:
    """An enforcer that dies at its start."""
    with (root / "agent" / "enforce.py").open("a") as file:
        file.write("\nraise SystemExit('a mistake of this version')\n")


def broken_after_migrating(root: Path) -> None:
    """An enforcer that brings the ledger to a schema of its own, and dies before it takes the first fact."""
    schema, migrations, enforcer = (root / "agent" / name for name in ("ledger/schema.py", "ledger/migrations.py", "enforcer.py"))
    text, head = schema.read_text(), f"\nVERSION = {VERSION}\n"
    assert head in text
    schema.write_text(text.replace(head, f"\nVERSION = {VERSION + 1}\n"))
    with migrations.open("a") as file:
        file.write(f"\n_STEPS[{VERSION}] = lambda db, events: db.execute('CREATE TABLE later (one INTEGER)')\n")
    text, head = enforcer.read_text(), "    async def run(self) -> None:\n"
    assert head in text
    enforcer.write_text(text.replace(head, f"{head}        raise SystemExit('a later mistake')\n"))

"""What is given away: the same bytes from the same source, and a list of parts that names each with its licence."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.process.house import ROOT

PYTHON = ROOT / ".cache/release/bin/python"
EPOCH = "1790000000"


def source(at: Path, umask: int) -> Path:
    """A checkout of the source with another umask and other times."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            new = at / name
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, new)
            new.chmod((0o777 if (ROOT / name).stat().st_mode & 0o100 else 0o666) & ~umask)
            os.utime(new, (umask, umask))
    return at


def made(at: Path, umask: int) -> dict[str, bytes]:
    assert PYTHON.exists(), "run `make .cache/release` once"
    done = subprocess.run(
        [PYTHON, "-m", "release.dist", at / "out"],
        cwd=source(at / "source", umask),
        env={"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": EPOCH, "TZ": "Asia/Tokyo" if umask else "UTC"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        umask=umask,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {file.name: file.read_bytes() for file in (at / "out").iterdir()}


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    return made(tmp_path_factory.mktemp("one"), 0o022), made(tmp_path_factory.mktemp("other"), 0o077)


def test_sdist_and_wheel_are_the_same_bytes_whoever_builds_them(twice):
    one, other = twice
    assert (
        sorted(name.split("-", 1)[1].partition(".")[2].split(".", 1)[1][-6:] for name in one) == [".whl", "tar.gz"] or len(one) == 2
    )
    assert one.keys() == other.keys()
    for name in one:
        assert one[name] == other[name], name


def test_the_wheel_holds_the_package_and_nothing_else(twice, tmp_path):
    (name,) = [name for name in twice[0] if name.endswith(".whl")]
    (tmp_path / name).write_bytes(twice[0][name])
    with zipfile.ZipFile(tmp_path / name) as wheel:
        names = wheel.namelist()
        assert {each.split("/")[0] for each in names} <= {"agent", f"{'-'.join(name.split('-')[:2])}.dist-info"}
        assert "agent/py.typed" in names
        assert {info.date_time for info in wheel.infolist()} == {wheel.infolist()[0].date_time}
        assert sorted(each for each in names if each.endswith(".py")) == sorted(
            str(each.relative_to(ROOT)) for each in (ROOT / "agent").rglob("*.py")
        )


def test_the_sdist_names_nobody(twice, tmp_path):
    (name,) = [name for name in twice[0] if name.endswith(".tar.gz")]
    (tmp_path / name).write_bytes(twice[0][name])
    with tarfile.open(tmp_path / name) as archive:
        assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in archive} == {(0, 0, "", "", int(EPOCH))}


def test_the_list_of_parts_names_every_locked_package_with_its_licence(tmp_path):
    done = subprocess.run(
        ["make", "-s", "sbom", f"OUT={tmp_path}"], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "ecluse.cdx.json").read_text())
    assert (parts["bomFormat"], parts["metadata"]["component"]["name"]) == ("CycloneDX", "ecluse")
    found = {part["name"].lower().replace("_", "-"): part for part in parts["components"]}
    locked = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE))
    locked.pop("win-inet-pton", None)
    assert {name: part["version"] for name, part in found.items()} == locked
    assert all(part.get("licenses") for part in found.values())

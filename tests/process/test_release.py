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

import agent
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


LOCK = ROOT / "requirements/run.txt"
#: What CycloneDX itself says about a document.
_VALID = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(found) if found else 0)
"""


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """The list of parts, made twice from nothing."""
    made = []
    for umask, zone in ((0o022, "UTC"), (0o077, "Asia/Tokyo")):
        place = tmp_path_factory.mktemp("parts")
        done = subprocess.run(
            ["make", "-s", "sbom", f"OUT={place}"],
            cwd=ROOT, env=os.environ | {"TZ": zone}, umask=umask, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        made.append(place / "ecluse.cdx.json")
    return made


@pytest.fixture
def parts(lists):
    return json.loads(lists[0].read_text())


def test_the_list_of_parts_names_every_locked_package_with_its_licence(parts):
    assert (parts["bomFormat"], parts["metadata"]["component"]["name"]) == ("CycloneDX", "ecluse")
    assert parts["metadata"]["component"]["version"] == agent.__version__
    found = {part["name"].lower().replace("_", "-"): part for part in parts["components"]}
    locked = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", LOCK.read_text(), re.MULTILINE))
    locked.pop("win-inet-pton", None)
    assert {name: part["version"] for name, part in found.items()} == locked
    assert all(part.get("licenses") for part in found.values())


def test_each_part_has_the_hash_of_the_file_it_was_installed_from_and_of_every_file_that_the_lock_allows(parts):
    blocks = re.split(r"^(?=[A-Za-z])", LOCK.read_text(), flags=re.MULTILINE)
    for part in parts["components"]:
        name = part["name"].lower().replace("_", "-")
        (block,) = [block for block in blocks if block.startswith(f"{name}=={part['version']}")]
        (own,) = part["hashes"]
        assert own["alg"] == "SHA-256"
        assert own["content"] in block
        (every,) = [one for one in part["externalReferences"] if "hashes" in one]
        assert [one["content"] for one in every["hashes"]] == sorted(re.findall("sha256:([0-9a-f]{64})", block))
        (file,) = [one["value"] for one in part["properties"] if one["name"] == "ecluse:file"]
        assert file.lower().replace("_", "-").startswith(f"{name}-{part['version']}")


def test_the_list_of_parts_is_the_same_bytes_whoever_makes_it_and_valid(lists):
    one, other = lists
    assert one.read_bytes() == other.read_bytes()
    done = subprocess.run([PYTHON, "-I", "-c", _VALID, one], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_part_that_is_not_the_lock_s_is_refused_and_leaves_no_list(lists, tmp_path):
    own = json.loads(lists[0].read_text())["components"][0]["hashes"][0]["content"]
    sbom, lock = tmp_path / "ecluse.cdx.json", tmp_path / "run.txt"
    shutil.copyfile(lists[0], sbom)
    lock.write_text(LOCK.read_text().replace(own, "0" * 64))
    command = [PYTHON, "-m", "release.parts", sbom, lock, ROOT / ".cache/locked/report.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "is not what the lock has" in done.stderr
    assert not sbom.exists()

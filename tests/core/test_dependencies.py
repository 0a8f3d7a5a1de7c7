"""What we rest on: every locked package is listed with its reason, and its licence is one that we may pass on."""

import importlib.metadata
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Licences that ask for no more than to be named (SPDX).
ALLOWED = frozenset({"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "PSF-2.0"})

#: Where a package's own metadata do not say it in SPDX: what they say, and what that is. A changed text is looked at anew.
SAID = {
    "python-dateutil": ("Dual License", "Apache-2.0 OR BSD-3-Clause"),
}

#: On no gateway: only for systems that ecluse does not run on, or Pythons older than ours.
ELSEWHERE = frozenset({"win-inet-pton"})

_LINE = re.compile(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", re.MULTILINE)


def locked(name: str = "run") -> dict[str, str]:
    """Package -> version in a lock."""
    return dict(_LINE.findall((ROOT / f"requirements/{name}.txt").read_text()))


def licence(package: str) -> str:
    """The licence a package states, as SPDX."""
    said = importlib.metadata.metadata(package)
    text = said.get("License-Expression") or (said.get("License") or "").strip()
    if package in SAID:
        expected, meant = SAID[package]
        assert text == expected, f"{package} changed what it says of its licence: {text!r}"
        return meant
    return text


def allowed(expression: str) -> bool:
    """Whether we may choose a way through an SPDX expression that asks for no more than naming."""
    return any(all(part.strip(" ()") in ALLOWED for part in way.split(" AND ")) for way in expression.split(" OR "))


def table() -> dict[str, list[str]]:
    """The rows of docs/DEPENDENCIES.md by package."""
    rows = re.findall(r"^\| `([^`]+)` \|(.+)\|$", (ROOT / "docs/DEPENDENCIES.md").read_text(), re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


@pytest.mark.parametrize("package", sorted(locked().keys() - ELSEWHERE))
def test_a_package_we_ship_with_has_a_licence_that_only_asks_to_be_named(package: str) -> None:
    assert importlib.metadata.version(package) == locked()[package], "what is installed is what is locked"
    assert allowed(licence(package)), licence(package)


def test_every_package_is_listed_with_its_reason_what_would_replace_it_and_its_licence() -> None:
    listed = table()
    assert set(listed) == locked().keys() | {"python-iptables"}
    for package, cells in listed.items():
        assert len(cells) == 3, package
        assert all(len(cell) > 2 for cell in cells), package
        if package not in ELSEWHERE | {"python-iptables"}:
            assert cells[2] == licence(package), package


def test_what_the_project_asks_for_itself_is_locked_and_the_firewall_of_old_is_an_extra() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=!~ ]", one)[0].lower() for one in project["dependencies"]}
    assert names <= locked().keys()
    assert [re.split(r"[<>=!~ ]", one)[0] for one in project["optional-dependencies"]["iptables"]] == ["python-iptables"]
    assert "python-iptables" not in locked()


@pytest.mark.parametrize("lock", ["run", "dev", "build", "release"])
def test_every_locked_package_is_pinned_with_hashes(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    entries = [entry for entry in re.split(r"\n(?=[A-Za-z0-9])", text.strip()) if not entry.startswith("#")]
    assert len(entries) == len(locked(lock)) > 0
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("MIT", True),
        ("GPL-2.0-or-later OR Apache-2.0", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("", False),
        ("Proprietary", False),
        ("LGPL-3.0-only", False),
    ],
)
def test_the_check_of_licences_can_fail(expression: str, verdict: bool) -> None:
    assert allowed(expression) is verdict

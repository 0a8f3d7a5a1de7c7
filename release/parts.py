"""`python -m release.parts SBOM LOCK REPORT`: says in a list of parts (CycloneDX) which files each part may come from, by hash.

Rules of this room:

1. A part's own hash is that of the file that was installed when the list was made, as pip's report has it. It must be one of the
   lock's: whatever is not there fails.
2. Every file that the lock allows is listed with the part, so that a gateway with another processor or Python finds its own.
3. The same lock gives the same bytes on the same kind of machine.
"""

import json
import re
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).parents[1]

_PINNED: Final = re.compile(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def name_of(text: str) -> str:
    """A package's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", text).lower()


def locked(text: str) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Name -> (version, SHA-256 of each file that may be installed), from a requirements file with hashes."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    name = ""
    for line in text.splitlines():
        if pinned := _PINNED.match(line):
            name = name_of(pinned[1])
            found[name] = (pinned[2], ())
        if hashes := _HASH.findall(line):
            found[name] = (found[name][0], tuple(sorted({*found[name][1], *hashes})))
    return found


def installed(report: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:
    """Name -> (file, its SHA-256), from what `pip install --report` wrote."""
    return {
        name_of(one["metadata"]["name"]): (
            unquote(urlsplit(one["download_info"]["url"]).path).rpartition("/")[2],
            one["download_info"]["archive_info"]["hash"].removeprefix("sha256="),
        )
        for one in report["install"]
    }


def with_hashes(parts: dict[str, Any], lock: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """The list with hashes and file names.

    Args:
        parts: a CycloneDX document of what is installed.
        lock: the text of the requirements file it was installed from.
        report: pip's, of that installation.

    Raises:
        ValueError: a part that the lock does not have, or in another version, or from another file.
    """
    allowed, files = locked(lock), installed(report)
    for part in parts["components"]:
        name = name_of(part["name"])
        version, hashes = allowed.get(name, ("", ()))
        file, own = files.get(name, ("", ""))
        if version != part["version"] or own not in hashes:
            where = f"{part['name']} {part['version']} ({file or 'not in the report'})"
            raise ValueError(f"{where} is not what the lock has. Make the list anew, with the lock's own report: `make sbom`")
        part["hashes"] = [{"alg": "SHA-256", "content": own}]
        part["properties"] = [*part.get("properties", ()), {"name": "ecluse:file", "value": file}]
        lists = {
            "type": "distribution",
            "url": part["purl"],
            "comment": "every file that the lock allows",
            "hashes": [{"alg": "SHA-256", "content": each} for each in hashes],
        }
        part["externalReferences"] = [*part.get("externalReferences", ()), lists]
    parts["metadata"]["component"]["version"] = runpy.run_path(str(ROOT / "agent" / "__init__.py"))["__version__"]
    return parts


def main(sbom: Path, lock: Path, report: Path) -> int:
    """Rewrite the list in place."""
    try:
        found = with_hashes(json.loads(sbom.read_text()), lock.read_text(), json.loads(report.read_text()))
    except ValueError as error:
        sbom.unlink()
        sys.stderr.write(f"{sbom}: {error}\n")
        return 1
    sbom.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))

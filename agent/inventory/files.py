"""Floor 2. The files people write, as they lie in a directory.

Rules of this room:

1. Regular files only, of bounded size, opened without waiting; a pipe in the directory stalls nothing.
2. What is read is what was hashed: YAML is read once, JSON Lines are hashed again as they stream.
3. What can not be read is noted, and raised together with everything else that is wrong.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.model import Company
from agent.policy import Catalogue, Code, Loaded, fingerprint, read
from agent.policy.problems import Problems, Wrong
from agent.policy.tree import MAX_LINE, MAX_LINES_FILE, MAX_YAML, decode

_YAML: Final = frozenset({".yaml", ".yml"})
#: All YAML files together are held in memory; JSON Lines files are not.
_MAX_YAML_TOTAL: Final = 16 * MAX_YAML


@dataclass(kw_only=True, slots=True)
class Files:
    """The files of a directory, by the name a person knows: YAML texts, JSON Lines paths, the SHA-256 of each."""

    documents: dict[str, str] = field(default_factory=dict)
    lines: dict[str, Path] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)

    def streams(self) -> dict[str, Iterator[bytes]]:
        """The lines of each JSON Lines file; each is read once."""
        return {name: _stream(path, self.hashes[name], self.problems) for name, path in self.lines.items()}


def check_directory(directory: Path) -> Loaded:
    """Read a directory of policies, services and customers, all in memory.

    Args:
        directory: holds `*.yaml`, `*.yml` and `*.jsonl`; other files and folders are left alone.

    Raises:
        ConfigError: with every problem, by file and line.
    """
    files = scan(directory)
    companies: dict[str, Company] = {}

    def keep(_: Catalogue, company: Company) -> None:
        companies[company.id] = company

    catalogue = read(files.documents, files.streams(), keep, problems=files.problems)
    return Loaded(
        services=catalogue.services,
        policies=catalogue.policies,
        companies=dict(sorted(companies.items())),
        digest=fingerprint(files.hashes),
    )


def scan(directory: Path) -> Files:
    """Read and hash every file once. What can not be read is noted, and raised later with everything else."""
    files = Files()
    total = 0
    for path in _paths(directory, files.problems):
        name = str(path)
        try:
            if path.suffix == ".jsonl":
                files.hashes[name] = _hash_lines(path)
                files.lines[name] = path
            else:
                with os.fdopen(_open(path), "rb") as file:
                    raw = file.read(MAX_YAML + 1)
                total += len(raw)
                if total > _MAX_YAML_TOTAL:
                    raise Wrong(
                        Code.TOO_BIG, "too much YAML in one directory", "Give customers as JSON Lines, one company per line."
                    )
                files.documents[name] = decode(raw, limit=MAX_YAML)
                files.hashes[name] = hashlib.sha256(raw).hexdigest()
        except Wrong as wrong:
            files.problems.add(file=name, line=0, code=wrong.code, what=wrong.what, mend=wrong.mend)
    return files


def _paths(directory: Path, problems: Problems) -> list[Path]:
    try:
        found = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        what, mend = f"can not be read: {error.strerror}", "Give a directory that this user may read."
        problems.add(file=str(directory), line=0, code=Code.NOT_A_FILE, what=what, mend=mend)
        return []
    if not any(path.suffix in _YAML for path in found):
        mend = "Put services, policies and customers there; see docs/POLICY.md."
        problems.add(file=str(directory), line=0, code=Code.NO_FILES, what="no *.yaml file", mend=mend)
    return [path for path in found if path.suffix in _YAML or path.suffix == ".jsonl"]


def _open(path: Path) -> int:
    """A descriptor of a regular file, for reading. A pipe or a device is refused without waiting on it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise Wrong(Code.NOT_A_FILE, f"can not be read: {error.strerror}", "Give a file that this user may read.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Wrong(Code.NOT_A_FILE, "not a regular file", "Put a plain file there, or rename this one.")
    return descriptor


def _hash_lines(path: Path) -> str:
    with os.fdopen(_open(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_LINES_FILE:
            raise Wrong(Code.TOO_BIG, f"larger than {MAX_LINES_FILE // 1024**2} MiB", "Split it into several files.")
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stream(path: Path, digest: str, problems: Problems) -> Iterator[bytes]:
    """The lines of a file, each cut at one byte over the cap; at the end, proof that they are what was hashed."""
    seen = hashlib.sha256()
    try:
        with os.fdopen(_open(path), "rb") as file:
            whole = True
            while piece := file.readline(MAX_LINE + 1):
                seen.update(piece)
                if whole:
                    yield piece
                whole = piece.endswith(b"\n")
    except Wrong as wrong:
        problems.add(file=str(path), line=0, code=wrong.code, what=wrong.what, mend=wrong.mend)
        return
    if seen.hexdigest() != digest:
        problems.add(file=str(path), line=0, code=Code.CHANGED, what="changed while it was read", mend="Read it again.")

"""Floor 0. The whole error tree.

Rules of this room:

1. One base that nobody raises; each leaf says what went wrong, where, and how to mend it, and carries one
   machine fact (a place in a file, an HTTP status, an errno) so that callers never compare texts.
2. Errors are caught in exactly three places: `intake` (to an HTTP status), `enforce` (to back-off) and `cli`
   (to a message and an exit code).
3. Duplicate, ignored, held, no change and drifted are values, not errors.
"""

from dataclasses import dataclass


class EcluseError(Exception):
    """Base of every error this program raises on purpose. Never raised itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing wrong in a file a person wrote: where, what, and how to mend it.

    `file` is the path as the person gave it, `line` counts from 1 (0: the file as a whole). `code` is the kind of
    problem for programs (`HOST_BITS`, `DEPENDENCY_HIT`).
    """

    file: str
    line: int
    what: str
    mend: str
    code: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.what}. {self.mend}" if self.mend else f"{place}: {self.what}."


class ConfigError(EcluseError):
    """Files that a person wrote can not be used; lists every problem found, not the first one."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class EventError(EcluseError):
    """A fact that can not be taken as it stands. `field` is the path inside the event, such as `lines[2].amount`."""

    def __init__(self, *, field: str, what: str, mend: str = "") -> None:
        super().__init__(f"{field}: {what}" + (f" ({mend})" if mend else ""))
        self.field = field
        self.what = what
        self.mend = mend


class Rejected(EcluseError):
    """A webhook that is answered with an error. `status` is the HTTP status, `kind` the metric label."""

    def __init__(self, *, status: int, kind: str, what: str) -> None:
        super().__init__(what)
        self.status = status
        self.kind = kind
        self.what = what


class LedgerUnwritable(EcluseError):
    """The ledger could not commit (disk full, read-only, not ours). Nothing of the batch was kept."""


class LedgerCorrupt(EcluseError):
    """The chain does not verify. `seq` is the first bad row."""

    def __init__(self, *, seq: int, what: str) -> None:
        super().__init__(f"row {seq}: {what}")
        self.seq = seq


class KernelError(EcluseError):
    """The kernel refused a change or could not be read. The change was not applied, not even in part."""

    def __init__(self, *, errno: int, what: str, mend: str = "") -> None:
        super().__init__(f"{what} (errno {errno})" + (f". {mend}" if mend else ""))
        self.errno = errno


class ProofFailed(EcluseError):
    """A ruleset could refuse a protected or same-site packet; it is never loaded. `witness` describes one such packet."""

    def __init__(self, *, what: str, witness: str) -> None:
        super().__init__(f"{what}; for example {witness}")
        self.witness = witness


class ListenError(EcluseError):
    """An address could not be listened on. `address` as a person writes it, `errno` from the system."""

    def __init__(self, *, address: str, errno: int, what: str, mend: str) -> None:
        super().__init__(f"{address}: {what}. {mend}")
        self.address = address
        self.errno = errno


class ChannelError(EcluseError):
    """The other end of a UNIX socket did not answer, or not in our terms."""


class Refused(EcluseError):
    """A person asked for something that the gate, the ceiling or their role does not allow (exit code 3)."""

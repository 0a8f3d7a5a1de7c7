"""Floor 1. What can be wrong in a file a person wrote, and the place where all of it gathers.

Rules of this room:

1. Reading goes on after a problem: a person mends a file once, not once per line.
2. Each kind of problem has a stable code, so that programs compare codes and never texts.
3. A problem is never a warning. What is listed here keeps the whole set of files out of force.
"""

from enum import StrEnum

from agent.errors import ConfigError, Problem

#: More problems than this are counted, not listed: one wrong service can touch 100 000 customers.
MAX_LISTED = 1000


class Code(StrEnum):
    """Kinds of problem in policies, services and customers."""

    # the file as such
    NO_FILES = "NO_FILES"
    NOT_A_FILE = "NOT_A_FILE"
    TOO_BIG = "TOO_BIG"
    CHANGED = "CHANGED"
    NOT_COMPILED = "NOT_COMPILED"
    NOT_UTF8 = "NOT_UTF8"
    EMPTY = "EMPTY"
    NOT_YAML = "NOT_YAML"
    NOT_JSON = "NOT_JSON"
    SEVERAL_DOCUMENTS = "SEVERAL_DOCUMENTS"
    ALIAS = "ALIAS"
    TAG = "TAG"
    TOO_DEEP = "TOO_DEEP"
    DUPLICATE_KEY = "DUPLICATE_KEY"
    # one field
    UNKNOWN_KEY = "UNKNOWN_KEY"
    MISSING = "MISSING"
    WRONG_TYPE = "WRONG_TYPE"
    BAD_VALUE = "BAD_VALUE"
    BAD_ID = "BAD_ID"
    TWICE = "TWICE"
    HOST_BITS = "HOST_BITS"
    PREFIX_ZERO = "PREFIX_ZERO"
    MAPPED_PREFIX = "MAPPED_PREFIX"
    SPECIAL_PREFIX = "SPECIAL_PREFIX"
    BAD_INTERFACE = "BAD_INTERFACE"
    BAD_PORTS = "BAD_PORTS"
    BELOW_FLOOR = "BELOW_FLOOR"
    CLOSED_DAY = "CLOSED_DAY"
    # fields against each other
    DUPLICATE_ID = "DUPLICATE_ID"
    UNKNOWN_REFERENCE = "UNKNOWN_REFERENCE"
    WIDER_CLASS = "WIDER_CLASS"
    NO_SELECTOR = "NO_SELECTOR"
    NOT_LOCAL = "NOT_LOCAL"
    OVERLAP = "OVERLAP"
    PROTECTED_HIT = "PROTECTED_HIT"
    TARGET_NOT_SEPARABLE = "TARGET_NOT_SEPARABLE"
    SITE_HIT = "SITE_HIT"
    DEPENDENCY_HIT = "DEPENDENCY_HIT"


def quote(text: str) -> str:
    """A text from a file as it is shown in a message: short, and with nothing a terminal would act on."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return '"' + "".join(each if each.isprintable() else "?" for each in short) + '"'


class Wrong(Exception):
    """One value is not what its field takes. Caught where the field is read, and given its place there."""

    def __init__(self, code: StrEnum, what: str, mend: str) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.mend = mend


class Problems:
    """Every problem of one load. It lives as long as the load does."""

    def __init__(self) -> None:
        self.count = 0
        self._found: list[Problem] = []

    def add(self, *, file: str, line: int, code: StrEnum, what: str, mend: str) -> None:
        """Note one problem. `line` counts from 1; 0 is the file as a whole."""
        self.count += 1
        if self.count <= MAX_LISTED:
            self._found.append(Problem(file=file, line=line, code=code.value, what=what, mend=mend))

    def listed(self) -> tuple[Problem, ...]:
        """The problems by file and line; a last entry counts those that are not listed."""
        found = sorted(self._found, key=lambda problem: (problem.file, problem.line))
        if self.count > MAX_LISTED:
            more = f"{self.count - MAX_LISTED} more problems are not listed"
            found.append(Problem(file=found[-1].file, line=0, code="MORE", what=more, mend="Mend these first."))
        return tuple(found)

    def raise_if_any(self) -> None:
        """End of the load.

        Raises:
            ConfigError: with every problem, if there is one.
        """
        if self.count:
            raise ConfigError(self.listed())

"""The house: which room may import which, and why. Read with `ast`, so that nothing is run.

A new room needs a row here; a new import between rooms needs a reason here. If the reason is hard to write, the wall is
probably in the wrong place: move it, and say so in docs/DESIGN.md.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "agent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """A room, the floor it is on, and the other rooms it may import, each with the reason.

    Everybody above may import floor 0. `wiring`: a door that may import every room of floors 0 to 3 as well. `pure`: a room
    above floor 1 that keeps the rule of the floors below all the same.
    """

    floor: int
    may: Mapping[str, str] = field(default_factory=dict)
    wiring: bool = False
    pure: bool = False


ROOMS: Mapping[str, Room] = {
    # --- floor 0: nouns, pure ---
    "errors": Room(floor=0),
    "model": Room(floor=0),
    "fields": Room(floor=0, may={"errors": "a value that can not be taken is refused with its field"}),
    "event": Room(
        floor=0,
        may={
            "errors": "a fact that can not be taken is refused with its field",
            "fields": "strict JSON, instants, the fields of a body",
            "vocabulary": "the types that exist",
        },
    ),
    "vocabulary": Room(floor=0, may={"fields": "the kinds of field its types are made of"}),
    "rules": Room(floor=0, may={"model": "kernel nouns are keyed by services and address families"}),
    # --- floor 1: the core, pure ---
    "policy": Room(
        floor=1,
        may={
            "ruleset": "an inventory tells what a measure could name in the kernel",
            "stages": "a policy's text names its stages in order",
        },
    ),
    "stages": Room(floor=1),
    "billing": Room(floor=1),
    "links": Room(floor=1),
    "flows": Room(
        floor=1,
        may={
            "nfttext": "what is essential, by its numbers",
            "ruleset": "which set is whose, and what a key is made of",
            "spans": "all ports of a protocol",
        },
    ),
    "separable": Room(floor=1, may={"policy": "the packets that a dependency is reached by"}),
    "names": Room(floor=1, may={"policy": "an answer passes the checks that a file passes"}),
    "retention": Room(
        floor=1,
        may={
            "case": "whether a matter is open, with and without the facts",
            "debt": "what is owed, with and without the facts",
        },
    ),
    "calendar": Room(floor=1),
    "record": Room(floor=1),
    "persons": Room(floor=1, may={"record": "what persons said is in the record"}),
    "host": Room(floor=1, may={"record": "the host has a record like a company's", "persons": "standing approvals are part of it"}),
    "holds": Room(floor=1, may={"record": "read from what was said", "calendar": "a judgment counts from 00:00 of its day"}),
    "notices": Room(floor=1, may={"stages": "what a letter announces by naming services", "record": "read from what was said"}),
    "case": Room(
        floor=1,
        may={
            "stages": "reads how an order takes effect",
            "record": "a case is a reading of the record",
            "notices": "one notice, one case",
            "holds": "what bears on it",
            "persons": "approvals and overrides of it",
            "host": "the one door to everything read from records",
        },
    ),
    "debt": Room(
        floor=1,
        may={
            "record": "a debt is computed from a record's invoices and payments",
            "holds": "what is older than a judgment is no debt any more",
        },
    ),
    "breaker": Room(floor=1),
    "continuity": Room(floor=1),
    "fight": Room(floor=1),
    "doctor": Room(floor=1),
    "gate": Room(
        floor=1,
        may={
            "stages": "each check judges a measure of one stage",
            "continuity": "how well the local side is seen is a check",
            "breaker": "how much at once is a check",
            "calendar": "notice periods, windows and holidays are checks",
            "case": "the gate judges a case",
            "debt": "the sum owed is a check",
            "policy": "an override reaches the floors that no file goes below",
        },
    ),
    "closing": Room(floor=1, may={"case": "why a case ends", "debt": "what became of its invoices says it"}),
    "grace": Room(floor=1, may={"case": "payments announced in a case", "calendar": "working days"}),
    "pinned": Room(
        floor=1,
        may={
            "stages": "how a measure takes effect by each version",
            "case": "what was pinned to its notice",
            "debt": "passed on to the gate",
            "gate": "judges by two versions and takes the worse of each check",
            "policy": "writes and reads a policy as plain values",
        },
    ),
    "decide": Room(
        floor=1,
        may={
            "stages": "says to what a measure steps down",
            "case": "a decision is about a case",
            "gate": "and rests on what the gate says of it",
            "closing": "a final restore says why the case ends",
            "debt": "which may be that the debt is gone",
        },
    ),
    "judge": Room(
        floor=1,
        may={
            "stages": "which measure a case begins with, and which are gentler",
            "calendar": "hours switch a measure by themselves",
            "case": "a company's record holds its cases",
            "debt": "the debt is shared by the cases of a company",
            "gate": "the world its checks look at",
            "pinned": "each case passes the gate, by the policy of its notice too",
            "grace": "an announced payment makes a case wait",
            "decide": "and is decided",
        },
    ),
    "report": Room(
        floor=1,
        may={
            "stages": "says what a measure does",
            "case": "tells what was judged",
            "closing": "why a case ended, in words",
            "debt": "tells what is owed",
            "gate": "tells each check in both languages",
            "decide": "tells what will be done and when it may change",
            "judge": "what it tells of",
            "policy": "what persons let pass counts at its floor",
        },
    ),
    "spans": Room(floor=1),
    "ends": Room(floor=1, may={"spans": "all ports of a protocol"}),
    "ruleset": Room(floor=1, may={"spans": "the kernel's range sets take no overlaps, and a look-up has bounds"}),
    "leases": Room(
        floor=1,
        may={
            "calendar": "hours and days of the sites",
            "ruleset": "the members of each measure, and the sets they need",
            "stages": "of several measures the strongest counts",
        },
    ),
    "acts": Room(floor=1, may={"judge": "what is stated is about a case as it was judged", "stages": "how a measure takes effect"}),
    "proof": Room(
        floor=1,
        may={
            "ruleset": "proves what was compiled",
            "ends": "interval arithmetic over all that could be refused",
            "spans": "all ports of a protocol",
        },
    ),
    "plan": Room(floor=1, may={"ruleset": "compares what was compiled with what was observed"}),
    "nfttext": Room(floor=1, may={"ruleset": "writes what was compiled", "spans": "all ports of a protocol"}),
    # --- floor 2: one outside thing each; they never import each other ---
    "ledger": Room(
        floor=2, may={"stages": "how a measure in force takes effect", "case": "a record is folded in the commit that appends"}
    ),
    "kernel": Room(
        floor=2,
        may={
            "nfttext": "structure is loaded as text",
            "ruleset": "the names of our own table, chains and sets",
            "links": "a link as it is shown is one of its nouns",
            "flows": "and so is a tracked connection",
            "spans": "all ports of a protocol",
        },
    ),
    "inventory": Room(
        floor=2,
        may={
            "policy": "compiles the files that policy reads",
            "ruleset": "and, with each company, the kernel keys that a measure could name",
        },
    ),
    "config": Room(
        floor=2,
        may={"policy": "one strict reader for every file a person writes", "billing": "sources.yaml names kinds and makes sources"},
    ),
    "channel": Room(floor=2),
    "stopfile": Room(floor=2),
    "metrics": Room(floor=2),
    "log": Room(floor=2),
    "clock": Room(floor=2),
    "bounded": Room(floor=2),
    "web": Room(floor=2, may={"policy": "reads a file that a person wrote, as strictly"}),
    "systemd": Room(floor=2),
    "probe": Room(floor=2, may={"continuity": "what a look ends with"}),
    "lab": Room(floor=2),
    # --- floor 3: flow ---
    "intake": Room(
        floor=3,
        pure=True,
        may={"billing": "each source verifies and reads its own webhooks", "case": "statements about one fact share their key"},
    ),
    "tally": Room(
        floor=3,
        may={
            "breaker": "how long ripe cases are counted together",
            "ledger": "where orders, ripe cases and measures can be read again",
        },
    ),
    "gateway": Room(
        floor=3,
        may={
            "record": "what is under way against a company",
            "leases": "what is wanted in the kernel just now",
            "inforce": "what it goes by",
            "names": "what a company needs itself is not refused to it",
            "breaker": "how much there is of which a share may be suspended",
            "continuity": "who looks at local applications, or nobody",
            "fight": "how often our table had to be put back lately",
            "tally": "how much is suspended, in step with the ledger",
            "calendar": "the day in site time starts the daily limit",
            "case": "the host's own record",
            "gate": "the world that checks look at",
            "judge": "one company, whole",
            "ruleset": "what is wanted in the kernel",
            "stages": "who may come to stage 4 at all",
            "proof": "nothing unproven is wanted",
            "ledger": "where facts, schedule and measures are",
            "kernel": "what is enforced with",
            "metrics": "what is counted",
            "stopfile": "obeyed before anything else",
        },
    ),
    "approvals": Room(
        floor=3,
        pure=True,
        may={
            "stages": "which gentler stages take the legal role",
            "case": "a word is about a case, or about what was said of a company",
            "gate": "who may override which check",
        },
    ),
    "desk": Room(
        floor=3,
        may={
            "intake": "a raw request becomes facts",
            "billing": "who may speak",
            "case": "facts that help a customer",
            "alarm": "what comes in may open the breaker in the same commit",
            "gateway": "the value it works on",
            "reconcile": "the queue of companies that are concerned",
        },
    ),
    "alarm": Room(
        floor=3,
        may={
            "breaker": "what looks like a fault",
            "gateway": "the value it looks at",
            "case": "the feeds' last heartbeats",
            "gate": "how far a case is on its way",
            "decide": "what would be done",
            "judge": "a company, as it was judged",
        },
    ),
    "doings": Room(
        floor=3,
        may={
            "decide": "what is to be done",
            "acts": "what is stated of a measure",
            "gateway": "states it as the agent's own",
            "judge": "how a case was judged",
        },
    ),
    "remote": Room(
        floor=3,
        may={
            "gateway": "the value it works on",
            "inforce": "rules with the path, and rules without it",
            "leases": "which measures reach so far",
            "ruleset": "what a company must keep",
        },
    ),
    "reconcile": Room(
        floor=3,
        may={
            "leases": "what is in force, and in effect just now",
            "doings": "says what is done",
            "alarm": "what was judged may open the breaker before anything is ordered",
            "gateway": "the value it works on",
            "continuity": "what was seen just before, and for how long an order stands without a look after it",
            "decide": "what is to be done",
            "judge": "what the act rests on",
            "ruleset": "candidates for the kernel",
            "remote": "the path of stage 4 comes before the first of its members and goes after the last",
            "plan": "the change that leads there",
            "kernel": "observe, check, apply",
            "ledger": "what was done is a fact",
            "log": "fields of its lines",
        },
    ),
    "examine": Room(
        floor=3,
        may={
            "doctor": "reads what it judges",
            "clock": "does the kernel know it to be right",
            "config": "which files are ours",
            "web": "when the certificates end",
            "kernel": "tries in a namespace of its own what this kernel can do",
            "ruleset": "with a table like ours",
        },
    ),
    "emergency": Room(
        floor=3,
        may={
            "kernel": "takes out what is there, whoever put it in",
            "stopfile": "keeps it so",
            "gateway": "what was stopped without the enforcer is recorded by it",
        },
    ),
    "history": Room(floor=3, pure=True),
    "walk": Room(
        floor=3,
        pure=True,
        may={
            "acts": "what is stated of a measure",
            "stages": "says how a measure takes effect",
            "case": "what a case waits for",
            "gate": "a check may say that time alone changes it",
            "decide": "what would be done",
            "history": "what opens a case, and how records are packed",
            "host": "a clock that is taken as good",
            "judge": "the same judgement as the daemon's",
            "record": "folds facts into records",
            "report": "tells it in the same words",
        },
    ),
    "simulate": Room(
        floor=3,
        pure=True,
        may={
            "billing": "facts come in as a source would state them",
            "breaker": "how much there is of which a share may be suspended",
            "gate": "the world at the start",
            "history": "facts by company",
            "persons": "approvals that count as given",
            "record": "a company without a case is judged only when it is asked for",
            "report": "tells it in the same words",
            "walk": "does the walking",
        },
    ),
    "figures": Room(
        floor=3,
        may={
            "gateway": "the value it looks at",
            "kernel": "counts what it is asked",
            "metrics": "what is told to Prometheus",
        },
    ),
    "clockwork": Room(
        floor=3,
        may={
            "billing": "whether a source may state it",
            "clock": "what the host says",
            "gateway": "lets the gate know",
            "host": "the state of the clock as a value",
        },
    ),
    "erasure": Room(
        floor=3,
        may={
            "gateway": "the value it works on",
            "ledger": "row numbers as text",
            "retention": "what of a company may go",
        },
    ),
    "importing": Room(
        floor=3,
        may={
            "billing": "a file speaks as a source of its own",
            "gateway": "whose customers and clock count",
            "intake": "lines become facts",
        },
    ),
    "forecast": Room(
        floor=3,
        pure=True,
        may={
            "gate": "what is in the way, and the world at the start",
            "judge": "how a case was judged",
            "record": "where it starts",
            "report": "tells it in the same words",
            "walk": "does the walking",
        },
    ),
    "policydiff": Room(
        floor=3,
        pure=True,
        may={
            "stages": "of two measures, which is the stronger",
            "report": "where a case stands",
            "simulate": "what it compares",
            "walk": "what would be done",
        },
    ),
    "audit": Room(
        floor=3,
        may={
            "leases": "what is in force, and in effect just now",
            "gateway": "the value it works on",
            "reconcile": "puts a company right the one way there is",
            "ledger": "what should be in force",
            "inforce": "by what a company was connected before a reload",
            "remote": "whether anybody is at stage 4, before the structure is compared",
            "fight": "who keeps undoing it is not fought",
            "plan": "how much longer than wanted a lease may run",
            "ruleset": "where a company was connected before a reload",
        },
    ),
    "lookout": Room(
        floor=3,
        may={
            "channel": "asks the probing role",
            "continuity": "what looks mean",
            "gateway": "the value it looks for",
            "case": "the order and the preflight of a case",
            "record": "what stopped and did not recover",
            "judge": "a company, as it was judged",
            "leases": "the measure that a dry run takes as applied",
        },
    ),
    "inforce": Room(
        floor=3,
        may={
            "calendar": "public holidays are computed before anybody waits for them",
            "leases": "what policies may ask of the kernel",
            "names": "addresses in the place of names",
            "separable": "which services this gateway can tell apart",
            "proof": "nothing is in force that was not proven",
            "ruleset": "what is compiled",
        },
    ),
    "resolving": Room(
        floor=3,
        may={
            "channel": "the probing role is asked over its socket",
            "gateway": "the value it keeps up",
            "inforce": "another answer is another ruleset",
            "names": "what answers are worth",
        },
    ),
    "relink": Room(
        floor=3,
        may={
            "gateway": "the value it works on",
            "kernel": "hears of links, and lets go of what names them",
            "links": "what a change of links means",
            "ruleset": "which elements name a link",
        },
    ),
    "openflows": Room(
        floor=3,
        may={
            "gateway": "the value it works on",
            "inforce": "what refuses",
            "flows": "whose a connection is",
            "kernel": "reads connections, and lets single ones be forgotten",
        },
    ),
    "look": Room(
        floor=3,
        may={
            "leases": "what is in force, and in effect just now",
            "stages": "says what a measure does",
            "ledger": "the measures in force",
            "forecast": "what time alone will do",
            "case": "what persons said about a case",
            "gateway": "the value it looks at",
            "gate": "which checks pass and fail",
            "judge": "how a company was judged",
            "plan": "what would change in the kernel",
            "report": "the same words as explain and simulate",
            "ruleset": "reads the keys of the kernel back into prefixes",
            "stopfile": "who stopped what",
        },
    ),
    # --- floor 4: doors ---
    # The face that listens knows no secret, no ledger and no kernel: this row is a wall, not a habit.
    "serve": Room(
        floor=4,
        may={
            "billing": "only the names of the headers to pass on",
            "bounded": "how many strangers, and for how long",
            "web": "TLS and passwords of its ports",
            "channel": "its one way to the enforcer",
            "metrics": "its own figures",
            "log": "its log lines",
            "systemd": "readiness and sockets",
        },
    ),
    "operate": Room(floor=4, wiring=True),
    # The role that looks outside: it is told where to look and says what it saw. It can not even import what it could decide with.
    "probing": Room(
        floor=4,
        may={
            "channel": "the socket it answers on",
            "continuity": "the words of questions and answers",
            "probe": "does the looking",
        },
    ),
    "enforcer": Room(floor=4, wiring=True, may={"operate": "knows which sources must report"}),
    "enforce": Room(
        floor=4,
        wiring=True,
        may={"enforcer": "starts it", "operate": "answers what persons ask over the operators' socket"},
    ),
    "run": Room(
        floor=4,
        wiring=True,
        may={"serve": "all roles in one process", "enforce": "all roles in one process", "probing": "all roles in one process"},
    ),
    "demo": Room(floor=4, wiring=True, may={"run": "shows the real thing", "serve": "starts it", "enforce": "starts it"}),
    "__main__": Room(floor=4, may={"cli": "python -m agent is the command line"}),
    "cli": Room(
        floor=4,
        wiring=True,
        may={
            "serve": "a command starts it",
            "enforce": "a command starts it",
            "probing": "a command starts it",
            "run": "a command starts it",
            "demo": "a command starts it",
        },
    ),
}

#: What floors 0 and 1 may use from outside: things that compute and touch nothing but their arguments.
PURE = frozenset(
    {
        "base64",
        "binascii",
        "bisect",
        "collections",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "ipaddress",
        "itertools",
        "json",
        "marshal",  # bytes that only the same process reads
        "math",
        "re",
        "statistics",
        "typing",
        "yaml",
        "holidays",  # computes public holidays
        "zoneinfo",  # reads the time zone data, which is the same for everybody
    }
)

#: Names that stand for a clock or for the outside, wherever they come from.
CLOCKS = frozenset({"now", "utcnow", "today"})
OUTSIDE = frozenset({"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"})

NO_ROOMS = frozenset({"utils", "util", "helpers", "helper", "manager", "managers", "base", "common", "misc", "core", "lib"})

MAX_LINES = 450


def modules() -> list[Path]:
    return sorted(path.relative_to(AGENT) for path in AGENT.rglob("*.py"))


def known() -> list[Path]:
    """The modules whose room has a row; for the others one test says so."""
    return [module for module in modules() if room_of(module) in ROOMS or room_of(module) == ""]


def pure() -> list[Path]:
    rows = {module: ROOMS[room_of(module)] for module in known() if room_of(module)}
    return [module for module, row in rows.items() if row.floor <= 1 or row.pure]


def room_of(module: Path) -> str:
    """The room a module belongs to; "" is the package itself, which holds the version and nothing else."""
    return "" if module == Path("__init__.py") else module.parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every import as (line, dotted name), wherever it stands; a relative one starts with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            if start == "agent":
                yield from ((node.lineno, f"agent.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, start


def allowed(room: str) -> frozenset[str]:
    row = ROOMS[room]
    ground = {name for name, other in ROOMS.items() if other.floor == 0 and row.floor > 0}
    below = {name for name, other in ROOMS.items() if row.wiring and other.floor < row.floor}
    return frozenset({room, *row.may, *ground, *below})


def import_faults(module: Path, source: str) -> list[str]:
    """What the imports of a module do against the table."""
    room = room_of(module)
    found = []
    for line, name in imports(ast.parse(source)):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if top == "":
            found.append(f"{module}:{line}: relative import; write agent.<room>")
        elif top != "agent" or target in ("", "__version__"):
            continue
        elif room == "":
            found.append(f"{module}:{line}: the package itself imports no room")
        elif target not in ROOMS:
            found.append(f"{module}:{line}: imports {target}, which has no row in the table")
        elif target not in allowed(room):
            floors = f"floor {ROOMS[room].floor} -> floor {ROOMS[target].floor}"
            found.append(f"{module}:{line}: {room} may not import {target} ({floors}); see the table")
    return found


def name_of(node: ast.expr) -> str:
    """The last name of `datetime` or `datetime.datetime`; a field called `now` of something else is no clock."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def purity_faults(module: Path, source: str) -> list[str]:
    """What a module of floors 0 and 1 does that needs a clock or the outside."""
    found = []
    tree = ast.parse(source)
    for line, name in imports(tree):
        top = name.partition(".")[0]
        if top not in PURE and top != "agent":
            found.append(f"{module}:{line}: imports {name}; floors 0 and 1 only compute")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS and name_of(node.value) in ("datetime", "date"):
            found.append(f"{module}:{node.lineno}: .{node.attr}; time is an argument")
        if isinstance(node, ast.ImportFrom) and node.module == "datetime" and any(alias.asname for alias in node.names):
            found.append(f"{module}:{node.lineno}: datetime under another name, so that its clock could not be seen")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OUTSIDE:
            found.append(f"{module}:{node.lineno}: {node.func.id}(); floors 0 and 1 only compute")
    return found


def docstring_fault(module: Path, source: str) -> str:
    room = room_of(module)
    text = ast.get_docstring(ast.parse(source)) or ""
    if room == "":
        return "" if text else f"{module}: no docstring"
    wanted = f"Floor {ROOMS[room].floor}"
    return "" if re.match(rf"{wanted}[.,]", text) else f"{module}: the docstring must start with {wanted!r} and state the rules"


# --- the house as it stands ---------------------------------------------------------------------------------------


def test_every_room_has_a_row_in_the_table() -> None:
    assert {room_of(module) for module in modules()} - {""} - set(ROOMS) == set()


def test_rooms_have_names_that_say_what_they_do() -> None:
    parts = {part.removesuffix(".py") for module in modules() for part in module.parts}
    assert not parts & NO_ROOMS


@pytest.mark.parametrize("module", known(), ids=str)
def test_a_module_imports_only_what_the_table_allows(module: Path) -> None:
    assert import_faults(module, (AGENT / module).read_text()) == []


@pytest.mark.parametrize("module", pure(), ids=str)
def test_the_core_has_no_clock_and_touch_nothing_outside(module: Path) -> None:
    assert purity_faults(module, (AGENT / module).read_text()) == []


@pytest.mark.parametrize("module", known(), ids=str)
def test_a_module_says_its_floor_and_its_rules(module: Path) -> None:
    assert docstring_fault(module, (AGENT / module).read_text()) == ""


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_is_short_enough_to_be_read_in_one_go(module: Path) -> None:
    assert len((AGENT / module).read_text().splitlines()) <= MAX_LINES


def test_core_and_contract_tests_replace_nothing() -> None:
    forbidden = re.compile(
        r"mock\.patch|\bpatch\(|monkeypatch|unittest\.mock|import mock|pytest\.mark\.skip|pytest\.skip\(|importorskip"
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("tests/core", "tests/contract")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if forbidden.search(line)
    ]
    assert found == []


# --- the table itself ---------------------------------------------------------------------------------------------


def test_the_table_only_looks_down() -> None:
    for name, row in ROOMS.items():
        for other, why in row.may.items():
            assert ROOMS[other].floor <= row.floor, f"{name} -> {other}"
            assert not (ROOMS[other].floor == row.floor == 2), f"{name} -> {other}: rooms of floor 2 never import each other"
            assert len(why) > 8, f"{name} -> {other}: say why"


def test_the_table_goes_round_in_no_circle() -> None:
    order = list(TopologicalSorter({name: row.may for name, row in ROOMS.items()}).static_order())
    assert set(order) == set(ROOMS)


@pytest.mark.parametrize("role", ["serve", "probing"])
def test_the_roles_that_touch_the_network_can_reach_no_secret_no_ledger_and_no_kernel(role: str) -> None:
    reached, todo = set(), [role]
    while todo:
        room = todo.pop()
        reached.add(room)
        todo += allowed(room) - reached
    assert not reached & {"config", "ledger", "kernel", "inventory", "stopfile", "intake", "gateway", "reconcile", "enforce", "cli"}


# --- the checks can fail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        ("case.py", "from agent.ledger.sqlite import Ledger", "case may not import ledger (floor 1 -> floor 2)"),
        ("case.py", "def f():\n    from agent import kernel", "case.py:2: case may not import kernel"),
        ("ledger/sqlite.py", "import agent.kernel.nft", "ledger may not import kernel (floor 2 -> floor 2)"),
        ("errors.py", "from agent.model import Company", "errors may not import model (floor 0 -> floor 0)"),
        ("serve.py", "from agent.ledger import Row", "serve may not import ledger"),
        ("enforce.py", "from agent import serve", "enforce may not import serve"),
        ("case.py", "from agent.cellar import wine", "imports cellar, which has no row"),
        ("ledger/sqlite.py", "from . import schema", "relative import"),
        ("__init__.py", "from agent import cli", "the package itself imports no room"),
    ],
)
def test_an_import_against_the_table_is_found(module: str, source: str, said: str) -> None:
    (fault,) = import_faults(Path(module), source)
    assert said in fault


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ledger/sqlite.py", "from agent.case import fold\nfrom agent.ledger.schema import connect\nimport sqlite3"),
        ("gate/checks.py", "from agent.gate.types import Check\nfrom agent.model import Company"),
        ("cli/__init__.py", "from agent import __version__, serve\nimport agent\nfrom agent.kernel.nft import Nft"),
    ],
)
def test_an_import_that_the_table_allows_is_let_through(module: str, source: str) -> None:
    assert import_faults(Path(module), source) == []


@pytest.mark.parametrize(
    "source",
    [
        *(
            f"import {name}"
            for name in ("time", "socket", "os", "subprocess", "logging", "threading", "random", "asyncio", "pathlib")
        ),
        *(f"import {name}" for name in ("sqlite3", "secrets", "uuid", "importlib", "signal", "tempfile", "ctypes")),
        "from os import path",
        "def f():\n    import os.path",
        "import datetime\nx = datetime.datetime.now()",
        "from datetime import date\nx = date.today()",
        "from datetime import datetime\nclock = datetime.utcnow",
        "from datetime import datetime as clock\nx = clock.now()",
        "x = open('f')",
        "print('here')",
        "x = __import__('os')",
    ],
)
def test_a_clock_or_the_outside_in_the_core_is_found(source: str) -> None:
    assert len(purity_faults(Path("case.py"), source)) == 1


def test_plain_computing_is_let_through() -> None:
    source = "from datetime import UTC, datetime, time\nimport json\nfrom agent.model import Company\nx = datetime(2026, 1, 1)"
    assert purity_faults(Path("case.py"), source) == []


@pytest.mark.parametrize("source", ["x = 1", '"""Cases."""', '"""Floor 2. Cases."""', '"""Floor 12. Cases."""'])
def test_a_docstring_without_its_floor_is_found(source: str) -> None:
    assert docstring_fault(Path("case.py"), source)

"""Mutation testing of the law (docs/MUTATION.md): mutmut makes the mutants and says which tests reach them, this runs those tests.

A pytest plugin, loaded in the copy that mutmut makes (`make mutation`). mutmut's own loop collects the tests anew for every mutant
and starts each from a process that has run them all, whose caches (holidays, ends of periods) then hide what a mutant would do.
Here the tests are collected once and run in a fork for each mutant, with empty caches, until one fails: a twentieth of the time.
"""

import gc
import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from _pytest.runner import CallInfo
from mutmut.mutation.trampoline import set_mutant_under_test

from agent.calendar import public_holidays

#: Seconds of processor time for one mutant: no further test is begun after the first, and an endless loop ends at the second.
_ENOUGH_SECONDS = float(os.environ.get("ECLUSE_MUTANT_SECONDS", "4"))
_MOST_SECONDS = 60

_MUTANTS = Path("mutants") if Path("mutants").is_dir() else Path()


def _mutants() -> Iterator[str]:
    """Every mutant by name, file by file."""
    for path in sorted((_MUTANTS / "agent").rglob("*.meta")):
        yield from json.loads(path.read_text())["exit_code_by_key"]


def _function(mutant: str) -> str:
    return mutant.rpartition("__mutmut_")[0]


class Run:
    """All mutants against the tests that reach them; `ECLUSE_MUTANTS` narrows it to names that contain one of its words."""

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        stats = json.loads((_MUTANTS / "mutmut-stats.json").read_text())
        self.items = {item.nodeid: item for item in items}
        self.reach: Mapping[str, Sequence[str]] = stats["tests_by_mangled_function_name"]
        self.seconds: Mapping[str, float] = stats["duration_by_test"]
        self.killers: dict[str, list[str]] = {}

    def all(self) -> dict[str, str]:
        """What became of each mutant: the test that killed it, `survived`, `timeout`, `unreached`."""
        words = os.environ.get("ECLUSE_MUTANTS", "").split()
        found = {}
        names = [name for name in _mutants() if not words or any(word in name for word in words)]
        for number, name in enumerate(names, 1):
            found[name] = self.one(name)
            if number % 100 == 0:
                print(number, "of", len(names), Counter(_kind(how) for how in found.values()), file=sys.stderr, flush=True)
        return found

    def one(self, mutant: str) -> str:
        """Run the tests that reach a mutant's function in a fork, those first that killed its neighbours."""
        function = _function(mutant)
        reached = [node for node in self.reach.get(function, ()) if node in self.items]
        known = self.killers.setdefault(function, [node for node in reached if "/test_reasons.py" in node])
        if not reached:
            return "unreached"
        rest = sorted(set(reached) - set(known), key=lambda node: (self.seconds.get(node, 0), node))
        killer = _forked(mutant, [self.items[node] for node in (*known, *rest)])
        if killer in self.items and killer not in known:
            known.insert(0, killer)
        return killer


def _kind(how: str) -> str:
    return how if how in ("survived", "timeout", "unreached") else "killed"


def _forked(mutant: str, items: Sequence[pytest.Item]) -> str:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _child(mutant, items, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "crashed"
    return said


def _child(mutant: str, items: Sequence[pytest.Item], write: int) -> None:
    """Never returns: the answer goes through the pipe."""
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS + 5))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    gc.disable()
    set_mutant_under_test(mutant)
    _forget()
    killer = "survived"
    for item, after in zip(items, (*items[1:], None), strict=True):
        if _fails(item, after):
            killer = item.nodeid
            break
        if time.process_time() > _ENOUGH_SECONDS:  # a fork begins at zero
            break
    os.write(write, killer.encode())
    os._exit(0)


def _forget() -> None:
    """Empty every cache but that of the public holidays, which rests on nothing of ours and takes longest to fill."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("agent.", "tests.")):
            for thing in vars(module).values():
                if callable(getattr(thing, "cache_clear", None)) and thing is not public_holidays:
                    thing.cache_clear()


def _fails(item: pytest.Item, after: pytest.Item | None) -> bool:
    """One test, without the report on it, which takes longer than the test."""
    steps = (
        ("setup", lambda: item.ihook.pytest_runtest_setup(item=item)),
        ("call", lambda: item.ihook.pytest_runtest_call(item=item)),
        ("teardown", lambda: item.ihook.pytest_runtest_teardown(item=item, nextitem=after)),
    )
    return any(CallInfo.from_call(step, when).excinfo is not None for when, step in steps)


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Instead of running the tests once, run them against every mutant."""
    for year in range(2025, 2029):
        public_holidays("FR", year)
    gc.collect()
    gc.freeze()  # so that a fork does not copy what it only looks at
    found = Run(session.items).all()
    (_MUTANTS / "results.json").write_text(json.dumps(found, indent=1, sort_keys=True))
    kinds = Counter(_kind(how) for how in found.values())
    print(f"\n{len(found)} mutants: {dict(kinds)}")
    return True

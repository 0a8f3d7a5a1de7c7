"""Houses to test in: a directory that other users can reach, and a network namespace of its own."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.lab import Node, Topology, laboratory
from tests.process.house import Firm, House, firms


@contextmanager
def reachable_directory() -> Iterator[Path]:
    """A directory that other users can reach (pytest's own belong to the user who runs it)."""
    with tempfile.TemporaryDirectory(prefix="ecl-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@contextmanager
def a_house(companies: tuple[Firm, ...] = firms(3), **how: Any) -> Iterator[House]:
    """Files of a house, and a network for its roles. Nothing runs yet."""
    with (
        reachable_directory() as directory,
        laboratory(Topology(nodes=(Node(name="gw"),))) as lab,
        House(directory, lab["gw"], companies, **how) as built,
    ):
        yield built


@contextmanager
def a_running_house(companies: tuple[Firm, ...] = firms(3), **how: Any) -> Iterator[House]:
    """The same with both roles running."""
    with a_house(companies, **how) as built:
        built.start("enforce", wait=False)
        built.start("serve")
        built.start_is_over("enforce")
        yield built


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users can reach."""
    with reachable_directory() as directory:
        yield directory


@pytest.fixture
def make_house() -> Iterator[Callable[..., House]]:
    """Build a house (see `a_house`); its roles end with the test."""
    with ExitStack() as stack:
        yield lambda *companies, **how: stack.enter_context(a_house(*companies, **how))


@pytest.fixture
def house() -> Iterator[House]:
    """Three companies, and both roles running."""
    with a_running_house() as built:
        yield built

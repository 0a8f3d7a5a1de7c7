"""Faults happen to the same houses that processes are tested in."""

from tests.process.conftest import house, make_house, open_directory

__all__ = ["house", "make_house", "open_directory"]

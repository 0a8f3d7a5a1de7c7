"""Fixtures that several folders share: networks of one's own, and kernels in them."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from agent.lab import Space, private_network

# A test has no opinion about speed, and a machine that is busy is no counterexample.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture
def own_network() -> Iterator[Space]:
    """The test runs in a fresh network namespace: the host's rules and interfaces are out of reach. Fails without root."""
    with private_network() as space:
        yield space

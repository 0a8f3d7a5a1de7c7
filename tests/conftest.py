"""Fixtures that several folders share: networks of one's own, and kernels in them."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from agent.lab import Space, private_network

# A test has no opinion about speed, and a machine that is busy is no counterexample.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# A shell has what it starts in the background ignore interrupts, and programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def own_network() -> Iterator[Space]:
    """The test runs in a fresh network namespace: the host's rules and interfaces are out of reach. Fails without root."""
    with private_network() as space:
        yield space

"""Gateways with a real systemd, shared where a test leaves them as they were."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agent.lab import Endpoint, Laboratory, laboratory, listen
from tests.process.test_traffic import DEBTOR, NEIGHBOUR, TOPOLOGY, VPN, VPN6
from tests.systemd.bundles import broken, broken_after_migrating, bundle
from tests.systemd.debian import container
from tests.systemd.gateway import Gateway


@contextmanager
def a_gateway(suite: str = "bookworm") -> Iterator[tuple[Laboratory, Gateway]]:
    """A Debian between a customer, a neighbour and the provider. Nothing is installed in it."""
    with ExitStack() as stack:
        lab = stack.enter_context(laboratory(TOPOLOGY))
        streams = [Endpoint(protocol="tcp", address=a, port=443) for a in ("0.0.0.0", "::")]
        datagrams = [Endpoint(protocol="udp", address=a, port=1194) for a in (VPN, VPN6)]
        stack.enter_context(listen(lab["provider"], *streams, *datagrams))
        stack.enter_context(listen(lab["erp"], *(Endpoint(protocol="tcp", address=a, port=1433) for a in ("0.0.0.0", "::"))))
        machine = stack.enter_context(container(lab["gw"], suite=suite))
        yield lab, Gateway(machine, lab["gw"], (DEBTOR, NEIGHBOUR))


@pytest.fixture(scope="session")
def this_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of this checkout."""
    return bundle(tmp_path_factory.mktemp("this"))


@pytest.fixture(scope="session")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a later version."""
    return bundle(tmp_path_factory.mktemp("next"), "99.1.0")


@pytest.fixture(scope="session")
def broken_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a later version whose enforcer can not start."""
    return bundle(tmp_path_factory.mktemp("broken"), "99.2.0", broken)


@pytest.fixture(scope="session")
def migrating_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a later version that has another ledger and can not start."""
    return bundle(tmp_path_factory.mktemp("migrating"), "99.3.0", broken_after_migrating)


@pytest.fixture(scope="module")
def installed(this_version: Path) -> Iterator[tuple[Laboratory, Gateway]]:
    """A gateway of a provider who lets the agent act. Its tests leave nobody suspended."""
    with a_gateway() as (lab, gateway):
        gateway.install(this_version)
        gateway.set_up()
        yield lab, gateway

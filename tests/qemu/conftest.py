"""Tests below `inside/` run in the machine of ring 3; what they reported there is what they report here.

One boot for all that a session selects. A test marked `inside(...)` has more run there, and looks at the reports with `ran`.
"""

import os
from collections.abc import Iterator

import pytest

from tests.qemu.machine import Ran, run

#: True in the machine itself.
INSIDE = "ECLUSE_INSIDE" in os.environ

#: One boot, with everything in it, must be over after so many seconds.
SECONDS = 600

#: The kernel in memory is the same there as here; the libraries of legacy iptables are not in the machine.
_OPTIONS = ("-k", "not memory and not iptables")

_ran: list[Ran | RuntimeError] = []


def _is_inside(item: pytest.Item) -> bool:
    return "/qemu/inside/" in f"/{item.nodeid}"


def _run(session: pytest.Session) -> Ran:
    if not _ran:
        chosen = [item.nodeid for item in session.items if _is_inside(item)]
        chosen += [argument for item in session.items for mark in item.iter_markers("inside") for argument in mark.args]
        try:
            _ran.append(run([*chosen, *_OPTIONS], seconds=SECONDS))
        except RuntimeError as error:
            _ran.append(error)
    if isinstance(_ran[0], RuntimeError):
        raise _ran[0]
    return _ran[0]


@pytest.fixture
def ran(request: pytest.FixtureRequest) -> Ran:
    """What became of everything that was run in the machine."""
    return _run(request.session)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Instead of running a test of the machine here, tell what became of it there."""
    if INSIDE or not _is_inside(item):
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports(item):
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _reports(item: pytest.Item) -> Iterator[pytest.TestReport]:
    try:
        ran = _run(item.session)
    except RuntimeError as error:
        yield _failed(item, str(error))
        return
    found = ran.of(item.nodeid)
    if not found:
        yield _failed(item, f"the machine ended before this test did\n{ran.console[-6000:]}")
    for data in found:
        yield item.config.hook.pytest_report_from_serializable(config=item.config, data=dict(data))


def _failed(item: pytest.Item, why: str) -> pytest.TestReport:
    return pytest.TestReport(nodeid=item.nodeid, location=item.location, keywords={}, outcome="failed", longrepr=why, when="call")

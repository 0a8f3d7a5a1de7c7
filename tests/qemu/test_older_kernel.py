"""The nft backend on the kernel that Debian 12 has: the contract suite, run in the machine."""

import pytest

from tests.qemu.machine import Ran

CONTRACT = (
    "tests/contract/test_kernel.py",
    "tests/contract/test_watch.py",
    "tests/contract/test_tracking.py",
    "tests/contract/test_conntrack.py",
)

#: Fewer reports than this: the suite was not really run.
_AT_LEAST = 60


@pytest.mark.inside(*CONTRACT)
def test_the_contract_of_the_nft_backend_holds_on_linux_6_1(ran: Ran) -> None:
    found = [report for report in ran.reports if report["nodeid"].startswith(CONTRACT)]
    failed = {report["nodeid"]: report["longrepr"]["reprcrash"]["message"] for report in found if report["outcome"] != "passed"}
    assert not failed
    assert len({report["nodeid"] for report in found if report.get("when") == "call"}) >= _AT_LEAST
    assert ran.kernel.startswith("6.1.")

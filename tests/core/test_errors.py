"""Every error says what, where and how to mend it, and carries one fact that a program can look at."""

import pytest

from agent import errors
from agent.errors import (
    ChannelError,
    ConfigError,
    EcluseError,
    EventError,
    KernelError,
    LedgerCorrupt,
    LedgerUnwritable,
    ListenError,
    Problem,
    ProofFailed,
    Refused,
    Rejected,
)

PROBLEM = Problem(file="policies.yaml", line=7, what="no number", mend="Write one.", code="NOT_A_NUMBER")

TREE = [
    (ConfigError((PROBLEM,)), "policies.yaml:7: no number. Write one.", {"problems": (PROBLEM,)}),
    (EventError(field="lines[0].amount", what="negative sum"), "lines[0].amount: negative sum", {"field": "lines[0].amount"}),
    (EventError(field="id", what="differs", mend="leave it out"), "id: differs (leave it out)", {"what": "differs"}),
    (Rejected(status=413, kind="too_large", what="body too large"), "body too large", {"status": 413, "kind": "too_large"}),
    (LedgerUnwritable("disk full"), "disk full", {}),
    (LedgerCorrupt(seq=9, what="hash differs"), "row 9: hash differs", {"seq": 9}),
    (KernelError(errno=16, what="busy"), "busy (errno 16)", {"errno": 16}),
    (KernelError(errno=1, what="not allowed", mend="Run it as root"), "not allowed (errno 1). Run it as root", {"errno": 1}),
    (ProofFailed(what="a service in a site", witness="a tcp packet"), "a service in a site; for example a tcp packet",
     {"witness": "a tcp packet"}),
    (ListenError(address="[::1]:8440", errno=98, what="another program listens there", mend="stop it, or take another port"),
     "[::1]:8440: another program listens there. stop it, or take another port", {"address": "[::1]:8440", "errno": 98}),
    (ChannelError("no answer within 5 s"), "no answer within 5 s", {}),
    (Refused("needs the role approver"), "needs the role approver", {}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "text", "facts"), TREE, ids=lambda value: type(value).__name__)
def test_an_error_says_it_in_one_line_and_carries_its_fact(error: EcluseError, text: str, facts: dict[str, object]) -> None:
    assert str(error) == text
    assert {name: getattr(error, name) for name in facts} == facts


def test_a_problem_of_a_whole_file_has_no_line_and_one_without_advice_none() -> None:
    assert str(Problem(file="a.yaml", line=0, what="empty", mend="Write policies.")) == "a.yaml: empty. Write policies."
    assert str(Problem(file="a.yaml", line=3, what="too long", mend="")) == "a.yaml:3: too long."


def test_every_error_of_the_tree_is_here() -> None:
    leaves = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, EcluseError)} - {EcluseError}
    assert {type(error) for error, _, _ in TREE} == leaves

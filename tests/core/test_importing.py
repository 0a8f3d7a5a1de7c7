"""Facts from before the first day: whole by company, in short steps, nothing while a line is wrong."""

import json

import pytest

from agent.errors import ConfigError, EventError, LedgerUnwritable
from agent.importing import STEP, Imported, bring_in
from tests.core.hosts import Host, inventory_of
from tests.process.house import firms, history


def run(steps):
    """How many steps it took, and what came of it."""
    taken = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return taken, end.value
        taken += 1


class Desk:
    """Keeps what it is given in the host's ledger, and remembers in which commits; `room`: for so many commits."""

    def __init__(self, host, room=1_000):
        self.host, self.room = host, room
        self.commits = []

    def take(self, events):
        if len(self.commits) == self.room:
            raise LedgerUnwritable("disk full")
        self.commits.append(events)
        return self.host.ledger.append(events)


@pytest.fixture
def host(tmp_path):
    built = Host(directory=tmp_path, inventory=inventory_of(firms(60)))
    yield built
    built.dies()


def file_of(companies):
    """Line by line in turns, as an export by date has them: the companies are mixed."""
    each = [list(history(f"c{number:03}")) for number in range(companies)]
    return "\n".join(line for turn in zip(*each, strict=True) for line in turn).encode()


def test_everything_said_of_one_company_is_kept_in_one_commit_and_each_commit_is_small(host):
    desk, raw = Desk(host), file_of(60)
    facts = len(raw.splitlines())
    steps, done = run(bring_in(host.gateway, desk.take, raw, user="claire", file="h.jsonl"))
    assert done == Imported(facts=facts, new=facts)
    assert steps > facts // STEP
    subjects = [{event.subject for event in commit} for commit in desk.commits]
    assert len(set().union(*subjects)) == sum(len(each) for each in subjects) == 60
    assert max(len(commit) for commit in desk.commits) < STEP + facts // 60
    assert len(desk.commits) > 1
    assert run(bring_in(host.gateway, Desk(host).take, raw, user="claire", file="h.jsonl"))[1] == Imported(facts=facts, new=0)


def test_nothing_is_kept_while_a_line_is_wrong_even_the_last_one(host):
    desk = Desk(host)
    with pytest.raises(ConfigError, match=r"h\.jsonl:\d+: body: not JSON"):
        run(bring_in(host.gateway, desk.take, file_of(60) + b"\n{", user="claire", file="h.jsonl"))
    with pytest.raises(EventError, match="not UTF-8"):
        run(bring_in(host.gateway, desk.take, b"\xff", user="claire", file="h.jsonl"))
    line = json.loads(next(history("c000"))) | {"customer": "nobody"}
    with pytest.raises(ConfigError, match="no customer we know"):
        run(bring_in(host.gateway, desk.take, json.dumps(line).encode(), user="claire", file="h.jsonl"))
    assert desk.commits == []


def test_a_disk_that_fills_up_keeps_whole_companies_and_importing_again_keeps_the_rest(host):
    desk, raw = Desk(host, room=1), file_of(60)
    facts = len(raw.splitlines())
    with pytest.raises(LedgerUnwritable, match=rf"disk full\. \d\d of {facts} facts were kept"):
        run(bring_in(host.gateway, desk.take, raw, user="claire", file="h.jsonl"))
    (kept,) = desk.commits
    done = run(bring_in(host.gateway, Desk(host).take, raw, user="claire", file="h.jsonl"))[1]
    assert done == Imported(facts=facts, new=facts - len(kept))


def test_an_empty_file_is_no_facts(host):
    assert run(bring_in(host.gateway, Desk(host).take, b"\n\n", user="claire", file="h.jsonl")) == (0, Imported(facts=0, new=0))

"""The gate, check by check."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent.gate import Verdict
from tests.core.histories import circumstances, examples, nows, stories
from tests.core.stories import Story, judgement_of


@given(stories(), st.data())
@examples(100)
def test_a_check_says_until_when_time_alone_leaves_its_verdict(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    world = data.draw(circumstances(now))
    parts = [*data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=2)), 0.999_999]
    for one in judgement_of(story.record, now, **world).judged:
        for number, check in enumerate(one.gate.checks):
            end = check.until if check.until is not None and check.until > now else now + timedelta(days=200)
            for part in parts if check.verdict is not Verdict.LATER else ():
                later = min(now + (end - now) * part, end - timedelta(microseconds=1))
                again = next(other for other in judgement_of(story.record, later, **world).judged if other.case.id == one.case.id)
                found = again.gate.checks[number]
                assert found.verdict in (check.verdict, Verdict.LATER), f"{check.code} {now} -> {later}, until {check.until}"

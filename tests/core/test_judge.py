"""A company judged as a whole: order, monotony, and until when a decision holds."""

from datetime import timedelta

from hypothesis import event, given, note
from hypothesis import strategies as st

from agent.case import cases
from agent.decide import Act
from agent.judge import Judgement
from tests.core.histories import circumstances, examples, favours, nows, stories
from tests.core.stories import Story, folded, hardness, judgement_of, no_harder, wanted


@given(stories(noise=6), st.data())
@examples(30)
def test_any_order_and_any_multiplicity_of_the_same_facts_gives_the_same_decision(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    world = data.draw(circumstances(now))
    said = data.draw(st.permutations([*story.events, *data.draw(st.lists(st.sampled_from(story.events), max_size=5))]))
    record, other = story.record, folded(said)
    assert other == record
    assert cases("za", other) == cases("za", record)
    assert judgement_of(other, now, **world) == judgement_of(record, now, **world)


@given(stories(), favours, st.data())
@examples(120)
def test_a_fact_in_the_customers_favour_never_increases_a_measure(story: Story, favour, data: st.DataObject) -> None:
    now = data.draw(nows)
    world = data.draw(circumstances(now))
    longer = favour(story)
    before, after = judgement_of(story.record, now, **world), judgement_of(longer.record, now, **world)
    event(f"in force before: {bool(wanted(before))}, after: {bool(wanted(after))}")
    note(f"{longer.events[-1]}")
    assert no_harder(after, before)


def acts(judgement: Judgement) -> list[tuple[str, Act]]:
    return [(one.case.id, one.decision.act) for one in judgement.judged]


@given(stories(), st.data())
@examples(80)
def test_a_decision_holds_until_the_next_look_it_asks_for(story: Story, data: st.DataObject) -> None:
    now = data.draw(nows)
    world = data.draw(circumstances(now))
    judgement = judgement_of(story.record, now, **world)
    # What was decided is done: leases are as the decision sets them, and the order stands in the record already.
    kept = {one.case.id: one.decision.lease_until for one in judgement.judged if one.decision.act in (Act.KEEP, Act.LOWER)}
    world["leases"] = {**world["leases"], **kept}
    end = judgement.next_at or now + timedelta(days=400)
    assert end > now
    span = (end - now).total_seconds()
    event(f"{sorted({act.value for _, act in acts(judgement)})} {'for ever' if judgement.next_at is None else 'for a while'}")
    for part in (*data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=3, max_size=3)), 0.5, 0.999_999):
        later = min(now + timedelta(seconds=span * part), end - timedelta(microseconds=1))
        again = judgement_of(story.record, later, **world)
        assert acts(again) == acts(judgement), f"{now} -> {later}, next look {judgement.next_at}"
        assert hardness(again) == hardness(judgement)

"""Event types: what a body may hold, and that the same fact always has the same bytes."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import EventError
from agent.event import TYPES, Event, Origin, canonical, instant, load_json, parse_body, parse_instant

INVOICE = {"invoice": "F1", "due_on": "2026-02-14", "amount": "4800.00", "currency": "EUR"}


def with_(**change):
    return INVOICE | change


def test_a_body_is_normalised():
    body = parse_body("invoice.issued", with_(amount=4800, issued_on="2026-01-15", contract=None))
    assert body == INVOICE | {"issued_on": "2026-01-15"}


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("4800", "4800.00"), ("4800.5", "4800.50"), (Decimal("0.1234"), "0.1234"), (0, "0.00"), ("-0", "0.00"),
        (Decimal("-0.0"), "0.00"), (Decimal("1E+3"), "1000.00"), ("999999999999.99", "999999999999.99"), ("007", "7.00"),
    ],
)  # fmt: skip
def test_a_sum_has_one_way_of_being_written(amount, text):
    assert parse_body("invoice.issued", with_(amount=amount))["amount"] == text


@pytest.mark.parametrize(
    "amount",
    [
        "-1", -1, "1_000", " 12 ", "12 ", "1\n", "\u0661\u0662", "1,5", "1e3", "", "NaN", "Infinity", "0.00001", True, 1.5, [],
        "1000000000000", Decimal("1E+400"), Decimal("1E-400"), Decimal("NaN"), Decimal("sNaN"), "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_not_a_sum_of_money_is_refused_by_name(amount):
    with pytest.raises(EventError) as refused:
        parse_body("invoice.issued", with_(amount=amount))
    assert refused.value.field == "amount"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"invoice": "F1\n"}, "invoice"),
        ({"invoice": ""}, "invoice"),
        ({"invoice": None}, "invoice"),
        ({"invoice": "x" * 129}, "invoice"),
        ({"invoice": "-rf"}, "invoice"),
        ({"invoice": "F1; rm"}, "invoice"),
        ({"due_on": "2026-02-30"}, "due_on"),
        ({"due_on": "2026-W07-6"}, "due_on"),
        ({"due_on": "20260214"}, "due_on"),
        ({"due_on": "1999-12-31"}, "due_on"),
        ({"due_on": "2026-02-14\n"}, "due_on"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "EUR\n"}, "currency"),
        ({"lines": [{"service": "a", "amount": "1"}, {"service": "a", "amount": "-1"}]}, "lines[1].amount"),
        ({"lines": [{"service": "a"}]}, "lines[0].amount"),
        ({"lines": [{"service": "a", "amount": "1", "x": 1}]}, "lines[0].x"),
        ({"lines": {"service": "a"}}, "lines"),
        ({"lines": [{"service": "a", "amount": 1}] * 501}, "lines"),
        ({"proof": "a\x9bb"}, "proof"),
        ({"proof": "a\x00b"}, "proof"),
        ({"proof": "a\x7fb"}, "proof"),
        ({"proof": "a\ud800b"}, "proof"),
        ({"proof_sha256": "A" * 64}, "proof_sha256"),
        ({"proof_sha256": "a" * 64 + "\n"}, "proof_sha256"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_field_is_named(change, field):
    with pytest.raises(EventError) as refused:
        parse_body("invoice.issued", with_(**change))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("type_", "body", "why"),
    [
        ("case.delayed", {"case": "za:N1", "until": 20260403}, "until: not a date and time"),
        ("clock.checked", {"synchronised": "yes", "offset_ms": 1}, "synchronised: not true or false"),
        ("clock.checked", {"synchronised": 1, "offset_ms": 1}, "synchronised: not true or false"),
        ("clock.checked", {"synchronised": True, "offset_ms": -1}, "offset_ms: not a whole number"),
        ("clock.checked", {"synchronised": True, "offset_ms": True}, "offset_ms: not a whole number"),
        ("clock.checked", {"synchronised": True, "offset_ms": "1"}, "offset_ms: not a whole number"),
        ("clock.checked", {"synchronised": True, "offset_ms": 10**9 + 1}, "offset_ms: not a whole number"),
    ],
)
def test_a_value_of_another_kind_is_named_and_refused(type_, body, why):
    with pytest.raises(EventError, match=why):
        parse_body(type_, body)


@pytest.mark.parametrize("body", [None, [], "x", 1])
def test_a_body_is_an_object(body):
    with pytest.raises(EventError, match="not an object"):
        parse_body("heartbeat", body)


def test_an_unknown_type_is_refused():
    with pytest.raises(EventError, match="unknown event type"):
        parse_body("invoice.eaten", {})


def test_every_required_field_is_missed_when_it_is_absent_or_null():
    for spec in TYPES.values():
        for name in spec.required:
            with pytest.raises(EventError, match="missing"):
                parse_body(spec.name, {other: None for other in spec.required if other != name})
            with pytest.raises(EventError, match="missing"):
                parse_body(spec.name, dict.fromkeys(spec.required))


def test_the_business_key_of_a_type_is_one_of_its_required_fields():
    assert [spec.name for spec in TYPES.values() if spec.key and spec.key not in spec.required] == []


def test_every_type_says_what_it_is_about():
    assert [spec.name for spec in TYPES.values() if not spec.about.endswith(".")] == []
    assert {spec.origin for spec in TYPES.values()} == set(Origin)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-03-09", "no time zone"), ("2026-03-09T14:07:12", "no time zone"), ("soon", "not a date and time"),
        ("1999-12-31T23:59:59Z", "year out of range"), ("2101-01-01T00:00:00Z", "year out of range"), (None, "not a date and time"),
    ],
)  # fmt: skip
def test_a_time_without_zone_or_sense_is_refused(text, why):
    with pytest.raises(EventError, match=why):
        parse_instant(text)


@given(
    st.datetimes(min_value=datetime(2000, 1, 2), max_value=datetime(2100, 12, 30)),  # noqa: DTZ001 - the zone is drawn next
    st.integers(min_value=-14 * 60, max_value=14 * 60),
)
def test_an_instant_written_and_read_is_the_same_instant(naive, minutes):
    when = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert parse_instant(instant(when)) == when
    assert parse_instant(when.isoformat()) == when


@given(st.text(max_size=40), st.text(max_size=40))
def test_canonical_bytes_do_not_depend_on_the_order_of_fields(reason, text):
    at = datetime(2026, 3, 9, tzinfo=UTC)

    def event(body):
        return Event(id="a:1", type="hold.set", subject="za", occurred_at=at, received_at=at, source="a", body=body)

    forwards, backwards = {"hold": reason, "kind": text}, {"kind": text, "hold": reason}
    assert canonical(event(forwards)) == canonical(event(backwards))
    assert json.loads(canonical(event(forwards)))["body"] == forwards


# --- JSON -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"), (b"{", "not JSON"), (b"{}{}", "not JSON"), (b"\xef\xbb\xbf{}", "not JSON"), (b"\xff", "not UTF-8"),
        (b"[NaN]", "NaN is not JSON"), (b"[-Infinity]", "-Infinity is not JSON"), (b'{"a":1,"a":1}', "a: given twice"),
        (b"[" * 100_000, "nested too deeply"), (b'{"a":' * 100_000, "nested too deeply"), (b"[" + b"9" * 5000 + b"]", "not JSON"),
        (b"[1e9999999999999999999]", "out of range"), (rb'["\ud800"]', "half a character"), (rb'{"\uDFFF":1}', "half a character"),
        (rb'{"\ud800":1,"\ud800":2}', "given twice"),
    ],
)  # fmt: skip
def test_json_that_could_be_read_in_two_ways_is_refused(raw, why):
    with pytest.raises(EventError, match=why) as refused:
        load_json(raw)
    assert str(refused.value).isascii()


def test_what_only_looks_like_half_a_character_is_read():
    assert load_json(rb'["\ud83d\ude00", "\\ud800"]') == ["\U0001f600", "\\ud800"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_plain_json_is_read_as_it_was_written(value):
    assert load_json(json.dumps(value)) == value
    assert load_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_never_a_surprise(raw):
    try:
        value = load_json(raw)
    except EventError:
        return
    assert json.loads(raw) == value


@given(
    st.sampled_from(sorted(TYPES)),
    st.dictionaries(st.text(max_size=8), st.integers() | st.text() | st.lists(st.integers()), max_size=5),
)
def test_any_body_is_normalised_once_and_for_all_or_refused(type_, body):
    spec = TYPES[type_]
    tried = {**dict.fromkeys(spec.required, "2026-01-01"), **body}
    try:
        once = parse_body(type_, tried)
    except EventError:
        return
    assert parse_body(type_, once) == once

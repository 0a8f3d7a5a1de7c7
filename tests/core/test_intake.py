"""From a raw request to events and an answer; import lines and operators' facts; and what docs/EVENTS.md promises."""

import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.billing import Source
from agent.billing.standard import key, read_item, sign
from agent.case import favourable
from agent.errors import ConfigError, EventError, Refused
from agent.event import ABOUT_HOST, HOLDS, HOST, TYPES, Origin
from agent.intake import RawRequest, by_operator, read, read_lines

NOW = datetime(2026, 3, 31, 14, 7, 15, tzinfo=UTC)
SECRET = b"0123456789abcdef01234567"
BILLING = frozenset(name for name, spec in TYPES.items() if spec.origin is Origin.BILLING)
ERP = Source(name="erp", kind="native", secrets=(SECRET,), events=BILLING)
SOURCES = {"erp": ERP}
PAYMENT = {
    "type": "payment.received",
    "customer": "C-1",
    "occurred_at": "2026-03-31T14:07:12Z",
    "data": {"payment": "E2E-1", "amount": "4800", "currency": "EUR"},
}
NOTICE = {"type": "notice.delivered", "customer": "C-1", "occurred_at": "2026-03-12T10:00:00Z", "data": {"notice": "N1"}}


def resolve(source, customer):
    return {("erp", "C-1"): "za"}.get((source, customer))


def request(payload, *, source="erp", received=NOW, signed=NOW, secret=SECRET):
    body = json.dumps(payload).encode()
    stamp = int(signed.timestamp())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(secret, message="msg_1", timestamp=stamp, body=body),
    }
    return RawRequest(source=source, headers=headers, body=body, received_at=received)


def outcome(payload, **change):
    return read(request(payload, **change), SOURCES, resolve, NOW)


# --- webhooks ---------------------------------------------------------------------------------------------------


def test_a_fact_about_a_known_customer_becomes_an_event_of_the_company():
    found = outcome(PAYMENT)
    assert (found.status, found.kind, found.message) == (200, "accepted", "1 accepted")
    (event,) = found.events
    assert (event.id, event.type, event.subject, event.source) == ("erp:msg_1", "payment.received", "za", "erp")
    assert event.occurred_at == datetime(2026, 3, 31, 14, 7, 12, tzinfo=UTC)
    assert event.received_at == NOW
    assert found.signed_at == NOW


def test_a_fact_about_a_stranger_is_kept_whole_and_changes_nobody():
    found = outcome(PAYMENT | {"customer": "C-2"})
    assert (found.status, found.kind) == (200, "unknown_customer")
    (event,) = found.events
    assert (event.type, event.subject) == ("customer.unknown", HOST)
    assert event.body == {
        "customer": "C-2",
        "type": "payment.received",
        "facts": {"payment": "E2E-1", "amount": "4800.00", "currency": "EUR"},
    }


def test_a_fact_without_a_customer_is_never_resolved():
    """Some Stripe objects name no customer; an inventory that maps an empty name must not be asked."""
    webhook = json.loads((Path(__file__).parent.parent / "golden/stripe/dispute-funds-withdrawn.json").read_text())["webhook"]
    later = datetime(2026, 6, 2, tzinfo=UTC)
    body = json.dumps(webhook).encode()
    stamp = int(later.timestamp())
    mac = hmac.new(SECRET, f"{stamp}.".encode() + body, "sha256").hexdigest()
    headers = {"stripe-signature": f"t={stamp},v1={mac}"}
    sources = {"stripe": Source(name="stripe", kind="stripe", secrets=(SECRET,), events=BILLING)}
    raw = RawRequest(source="stripe", headers=headers, body=body, received_at=later)
    found = read(raw, sources, lambda *_: "za", later)
    assert [(event.type, event.subject) for event in found.events] == [("customer.unknown", HOST)]


def test_a_heartbeat_is_about_the_host():
    found = outcome({"type": "heartbeat", "occurred_at": "2026-03-31T14:00:00Z"})
    assert [(event.type, event.subject, event.source) for event in found.events] == [("heartbeat", HOST, "erp")]


def test_the_register_is_looked_at_for_all_or_for_one():
    look = {"type": "insolvency.checked", "occurred_at": "2026-03-31T14:00:00Z", "data": {"register": "BODACC"}}
    assert [(event.type, event.subject) for event in outcome(look).events] == [("insolvency.checked", HOST)]
    assert [(event.type, event.subject) for event in outcome(look | {"customer": "C-1"}).events] == [("insolvency.checked", "za")]
    assert [event.type for event in outcome(look | {"customer": "C-2"}).events] == ["customer.unknown"]


def test_the_clock_is_nobodys():
    look = {"type": "clock.checked", "occurred_at": "2026-03-31T14:00:00Z", "data": {"synchronised": True, "offset_ms": 3}}
    assert [event.subject for event in outcome(look).events] == [HOST]
    assert "about no company" in outcome(look | {"customer": "C-1"}).message


def test_a_batch_is_told_apart_fact_by_fact():
    narrow = {"erp": Source(name="erp", kind="native", secrets=(SECRET,), events=frozenset({"payment.received"}))}
    found = read(request({"events": [PAYMENT, PAYMENT | {"customer": "C-2"}, NOTICE]}), narrow, resolve, NOW)
    assert (found.status, found.kind) == (200, "accepted")
    assert [event.id for event in found.events] == ["erp:msg_1/1", "erp:msg_1/2"]
    assert [one.type for one in found.ignored] == ["notice.delivered"]
    assert found.message == (
        "1 accepted; 1 about a customer we do not know, kept; notice.delivered ignored: this source is not configured to state it"
    )


def test_what_a_source_may_not_state_is_ignored_with_200():
    narrow = {"erp": Source(name="erp", kind="native", secrets=(SECRET,), events=frozenset({"heartbeat"}))}
    found = read(request(PAYMENT), narrow, resolve, NOW)
    assert (found.status, found.kind, found.events) == (200, "ignored", ())


def test_an_unknown_source_is_answered_as_unproved_and_never_as_gone():
    found = outcome(PAYMENT, source="nobody")
    assert (found.status, found.kind, found.events, found.signed_at) == (401, "unknown_source", (), None)


def test_a_refusal_of_the_kind_becomes_its_status_and_label():
    assert (outcome(PAYMENT, secret=b"x" * 24).kind, outcome(PAYMENT, secret=b"x" * 24).status) == ("bad_signature", 401)
    assert outcome(PAYMENT, signed=NOW - timedelta(seconds=301)).kind == "stale"
    assert outcome(PAYMENT | {"type": "approval.given"}).status == 403
    assert outcome(PAYMENT | {"data": {}}).kind == "malformed"


def test_freshness_is_judged_by_our_clock_whatever_the_listening_side_says():
    old = NOW - timedelta(hours=1)
    assert outcome(PAYMENT, signed=old, received=old).kind == "stale"


@pytest.mark.parametrize(
    ("claimed", "kept"),
    [
        (timedelta(0), timedelta(0)),
        (-timedelta(seconds=59), -timedelta(seconds=59)),
        (-timedelta(seconds=61), timedelta(0)),
        (timedelta(seconds=1), timedelta(0)),
        (timedelta(days=900), timedelta(0)),
    ],
)
def test_the_time_of_receipt_is_believed_only_within_the_time_a_request_may_wait(claimed, kept):
    assert outcome(PAYMENT, received=NOW + claimed).events[0].received_at == NOW + kept


def test_what_happens_in_the_future_by_a_little_happened_now():
    found = outcome(NOTICE | {"occurred_at": "2026-03-31T14:09:00Z"})
    assert found.events[0].occurred_at == NOW


@given(st.sampled_from(sorted(BILLING)), st.integers(301, 10**8))
def test_a_fact_far_in_the_future_counts_from_now_if_it_helps_the_customer_and_is_refused_if_not(type_, ahead):
    example = EXAMPLES[type_] | {"occurred_at": (NOW + timedelta(seconds=ahead)).isoformat()}
    if ABOUT_HOST.get(type_, True):
        example["customer"] = "C-1"
    found = outcome(example)
    if favourable(type_):
        assert [event.occurred_at for event in found.events] == [NOW]
    else:
        assert (found.status, found.kind) == (400, "malformed")
        assert "in the future" in found.message


def test_a_long_list_of_ignored_facts_is_told_in_short():
    narrow = {"erp": Source(name="erp", kind="native", secrets=(SECRET,), events=frozenset({"heartbeat"}))}
    found = read(request({"events": [NOTICE] * 250}), narrow, resolve, NOW)
    assert (len(found.ignored), found.message.count("notice.delivered")) == (250, 3)
    assert found.message.endswith("; 247 more ignored")


# --- import -----------------------------------------------------------------------------------------------------


def lines(*items):
    return [item if isinstance(item, str) else json.dumps(item) for item in items]


def test_lines_of_a_file_become_events_with_their_own_ids():
    given = lines(PAYMENT | {"id": "p/1"}, "", NOTICE | {"id": "n#1"}, "\n")
    events = list(read_lines(given, ERP, resolve, NOW, file="open.jsonl"))
    assert [(event.id, event.subject, event.received_at) for event in events] == [("erp:p/1", "za", NOW), ("erp:n#1", "za", NOW)]


def test_every_bad_line_is_told_at_once_with_its_number():
    narrow = Source(name="erp", kind="native", secrets=(SECRET,), events=frozenset({"payment.received"}))
    given_lines = lines(
        PAYMENT | {"id": "a"},
        "{broken",
        PAYMENT,
        PAYMENT | {"id": "b", "customer": "C-9"},
        NOTICE | {"id": "c"},
        PAYMENT | {"id": "a"},
        {"id": "d", "type": "approval.given", "customer": "C-1", "occurred_at": "2026-03-31T14:07:12Z", "data": {}},
        PAYMENT | {"id": "e", "data": PAYMENT["data"] | {"amount": "-1"}},
        PAYMENT | {"id": "f\n"},
        PAYMENT | {"id": "g", "occurred_at": "2027-01-01T00:00:00Z"},
        "[]",
        '"' + "x" * 300_000 + '"',
        PAYMENT | {"id": "h"},
    )
    with pytest.raises(ConfigError) as error:
        list(read_lines(given_lines, narrow, resolve, NOW, file="open.jsonl"))
    told = {problem.line: problem.what for problem in error.value.problems}
    assert sorted(told) == [2, 3, 4, 5, 6, 7, 8, 9, 11, 12]
    assert told[4] == "customer: 'C-9' is no customer we know"
    assert told[5] == "type: erp may not state notice.delivered"
    assert told[6] == "id: the same as in line 1"
    assert told[7] == "approval.given is never taken from a billing system"
    assert told[8] == "amount: negative sum"
    assert str(error.value).startswith("open.jsonl:2: body: not JSON")


def test_a_file_of_nothing_but_errors_is_given_up_after_a_hundred():
    with pytest.raises(ConfigError) as error:
        list(read_lines(iter(["{"] * 100_000), ERP, resolve, NOW, file="x"))
    assert len(error.value.problems) == 100


# --- operators --------------------------------------------------------------------------------------------------


def stated(type_, body, **change):
    options = {"operator": "claire", "occurred_at": NOW, "now": NOW} | change
    return by_operator(type_, "za", body, **options)


def test_a_person_may_state_what_billing_and_operators_may():
    event = stated("hold.set", {"hold": "H1", "kind": "court"}, occurred_at=NOW - timedelta(hours=2))
    assert (event.source, event.subject, event.received_at, event.occurred_at) == (
        "operator:claire", "za", NOW, NOW - timedelta(hours=2),
    )  # fmt: skip
    assert event.id.startswith("operator:claire:")


def test_saying_the_same_thing_twice_is_one_event_and_another_thing_is_another():
    body = {"by": "claire", "reason": "called", "remote": False}
    once, twice = stated("restore.ordered", body), stated("restore.ordered", body, now=NOW + timedelta(minutes=5))
    assert once.id == twice.id
    others = [
        stated("restore.ordered", body | {"reason": "wrote"}),
        stated("restore.ordered", body, operator="marc"),
        stated("restore.ordered", body, occurred_at=NOW - timedelta(seconds=1)),
    ]
    assert len({once.id, *(other.id for other in others)}) == 4


def test_nobody_states_what_the_agent_did():
    for name, spec in TYPES.items():
        if spec.origin is Origin.AGENT:
            with pytest.raises(Refused, match="nobody can state it"):
                stated(name, {})


def test_a_person_can_not_state_the_future_or_nonsense():
    with pytest.raises(EventError, match="in the future"):
        stated("pause.lifted", {"by": "claire", "reason": "x"}, occurred_at=NOW + timedelta(seconds=1))
    with pytest.raises(EventError, match="unknown event type"):
        stated("invoice.eaten", {})
    with pytest.raises(EventError, match="by: missing"):
        stated("pause.lifted", {"reason": "x"})


# --- docs/EVENTS.md ---------------------------------------------------------------------------------------------

TEXT = (Path(__file__).parent.parent.parent / "docs" / "EVENTS.md").read_text()
SECTIONS = dict(re.findall(r"^### ([a-z_]+(?:\.[a-z_]+)?)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL))
EXAMPLES = {name: json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1]) for name, text in SECTIONS.items()}


def test_every_type_a_billing_system_may_state_is_documented_and_no_other():
    assert set(SECTIONS) == BILLING


@pytest.mark.parametrize("name", sorted(BILLING))
def test_every_field_of_a_type_is_named_and_its_example_is_taken(name):
    spec, text = TYPES[name], SECTIONS[name]
    assert [field for field in {*spec.required, *spec.optional} - {"proof", "proof_sha256"} if f"`{field}`" not in text] == []
    assert not spec.key or f"**`{spec.key}`**" in text
    assert read_item(EXAMPLES[name], ERP, id_="msg_1").type == name


def test_every_example_of_the_page_is_taken():
    examples = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
    assert len(examples) == len(BILLING) + 2
    for example in examples:
        assert read_item(example, ERP, id_=example.get("id", "msg_1")).type == example["type"]


def test_every_kind_of_hold_is_named():
    assert [kind for kind in HOLDS if f"`{kind}`" not in SECTIONS["hold.set"]] == []


def test_the_signing_example_is_right():
    secret = re.search(r"secret `(whsec_[^`]+)`", TEXT)[1]
    message, stamp, signature = re.search(r"message `(\w+)` of the second `(\d+)` is signed as `([^`]+)`", TEXT).groups()
    body = re.search(r"```text\n(.*)\n```", TEXT)[1].encode()
    assert sign(key(secret), message=message, timestamp=int(stamp), body=body) == signature
    snippet: dict = {}
    exec(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1], snippet)
    assert snippet["signature"](secret, message, int(stamp), body) == signature
    shell = re.search(r"```sh\n(.*?)```", TEXT, re.DOTALL)[1]
    assert message in shell
    assert stamp in shell
    assert body.decode() in shell
    assert secret.removeprefix("whsec_") in shell


def test_every_status_intake_can_answer_is_documented():
    for status in (200, 400, 401, 403, 503):
        assert re.search(rf"^\| {status}\b", TEXT, re.MULTILINE)

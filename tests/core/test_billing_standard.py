"""Kind `native`: who is believed (compared with the official library), and what is understood."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.billing import HEADERS, KINDS, Fact, Ignored, Source
from agent.billing.standard import key, read, sign, verify
from agent.errors import Rejected
from agent.event import TYPES, Origin

NOW = datetime(2026, 3, 31, 14, 7, 15, tzinfo=UTC)
SECRET = b"0123456789abcdef01234567"
OTHER = b"another secret of 24 byt"
BILLING = frozenset(name for name, spec in TYPES.items() if spec.origin is Origin.BILLING)
PAYMENT = {
    "type": "payment.received",
    "customer": "za",
    "occurred_at": "2026-03-31T14:07:12Z",
    "data": {"payment": "E2E-1", "amount": "4800", "currency": "EUR"},
}


def source(**change):
    return Source(**({"name": "erp", "kind": "native", "secrets": (SECRET,), "events": BILLING} | change))


def signed(body, *, message="msg_1", at=NOW, secret=SECRET):
    stamp = int(at.timestamp())
    return {
        "webhook-id": message,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(secret, message=message, timestamp=stamp, body=body),
    }


def refused(headers, body, *, now=NOW, **change):
    with pytest.raises(Rejected) as error:
        read(headers, body, source(**change), now)
    return error.value.status, error.value.kind


def said(payload, **change):
    body = json.dumps(payload).encode()
    return read(signed(body), body, source(**change), NOW)


# --- who is believed --------------------------------------------------------------------------------------------


def test_the_vector_of_the_specification_verifies():
    secret = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    then = datetime.fromtimestamp(1614265330, UTC)
    assert verify(headers, b'{"test": 2432232314}', source(secrets=(secret,)), then) == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    with pytest.raises(Rejected, match="do not prove"):
        verify(headers, b'{"test": 2432232315}', source(secrets=(secret,)), then)


def official_verdict(headers, body, secrets):
    """What the official library says with any of the secrets; it reads the clock itself."""
    for secret in secrets:
        try:
            standardwebhooks.Webhook(secret).verify(body, headers, json_parse=False)
        except (standardwebhooks.WebhookVerificationError, ValueError):
            continue
        return True
    return False


def our_verdict(headers, body, secrets, now):
    try:
        verify(headers, body, source(secrets=secrets), now)
    except Rejected:
        return False
    return True


ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}", fullmatch=True)


@given(
    ids, st.text(max_size=80), st.integers(-280, 280), st.lists(st.sampled_from([SECRET, OTHER]), min_size=1, max_size=3), st.data()
)
def test_whatever_a_sender_signs_in_time_is_accepted_as_the_official_library_accepts_it(message, text, offset, signers, data):
    body = text.encode()
    now = datetime.now(UTC)
    stamp = int(now.timestamp()) + offset
    signatures = [sign(one, message=message, timestamp=stamp, body=body) for one in signers]
    extra = data.draw(st.lists(st.sampled_from(["v1a,abcd", "v2,xx==", "v1," + "A" * 43 + "="]), max_size=3))
    headers = {
        "webhook-id": message,
        "webhook-timestamp": str(stamp),
        "webhook-signature": " ".join(data.draw(st.permutations(signatures + extra))),
    }
    secrets = (SECRET, OTHER)
    assert our_verdict(headers, body, secrets, now)
    assert official_verdict(headers, body, secrets)


broken = st.sampled_from(
    ["", " ", "v1", "v1,", ",", "v1,!!!!", "v1,AAAA,BBBB", "v1 ,AAAA", "V1,AAAA", "v1,\u00e9", "v1;AAAA", "v1,AAAA  v1,AAAA", "\n"]
)


@settings(max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.text(max_size=30) | broken | st.integers(-(10**12), 10**12).map(str),
    ),
    st.binary(max_size=20),
    st.sampled_from(["keep", "cut", "pad", "flip", "space", "twice"]),
)
def test_what_the_official_library_refuses_is_refused(change, body, twist):
    now = datetime.now(UTC)
    headers = signed(body, at=now) | change
    good = headers["webhook-signature"]
    headers["webhook-signature"] = {
        "keep": good,
        "cut": good[:-1],
        "pad": good + "=",
        "flip": good.swapcase(),
        "space": " " + good,
        "twice": f"{good} {good}",
    }[twist]
    ours = our_verdict(headers, body, (SECRET,), now)
    assert not ours or official_verdict(headers, body, (SECRET,)) or not is_utf8(body)


def is_utf8(body):
    """The official library signs text, so it has no opinion about other bytes; those are refused as 400 later."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("offset", [-301, 301, -(10**6), 10**6])
def test_what_is_signed_too_early_or_too_late_is_refused_as_such_only_if_authentic(offset):
    body = b"{}"
    headers = signed(body, at=NOW + timedelta(seconds=offset))
    assert refused(headers, body) == (401, "stale" if offset < 0 else "future")
    assert refused(headers | {"webhook-signature": "v1," + "A" * 43 + "="}, body) == (401, "bad_signature")


@pytest.mark.parametrize("offset", [-300, 0, 300])
def test_the_edge_of_the_window_is_inside(offset):
    body = json.dumps(PAYMENT).encode()
    assert read(signed(body, at=NOW + timedelta(seconds=offset)), body, source(), NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": ""}, {"webhook-id": "a.b"}, {"webhook-id": "x" * 81}, {"webhook-id": "a b"}, {"webhook-id": "a\n"},
        {"webhook-id": "\u00e9"}, {"webhook-timestamp": ""}, {"webhook-timestamp": "0"}, {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "1774966035.0"}, {"webhook-timestamp": " 1774966035"}, {"webhook-timestamp": "01774966035"},
        {"webhook-timestamp": "\u0661\u0667"}, {"webhook-timestamp": "9" * 400}, {"webhook-signature": ""},
        {"webhook-signature": " ".join(["v1," + "A" * 43 + "="] * 17)}, {"webhook-signature": "v1," + "A" * 300},
    ],
)  # fmt: skip
def test_a_header_out_of_form_is_a_bad_signature_even_if_it_was_signed_so(change):
    body = b"{}"
    message = change.get("webhook-id", "msg_1")
    stamp = change.get("webhook-timestamp", str(int(NOW.timestamp())))
    ours = base64.b64encode(hmac.digest(SECRET, f"{message}.{stamp}.{{}}".encode(), "sha256")).decode()
    headers = {"webhook-id": message, "webhook-timestamp": stamp, "webhook-signature": f"v1,{ours}"} | change
    assert refused(headers, body) == (401, "bad_signature")


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_a_bad_signature(name):
    headers = signed(b"{}")
    del headers[name]
    assert refused(headers, b"{}") == (401, "bad_signature")


def test_nothing_is_parsed_before_the_signature_is_right():
    """Broken bodies of strangers are answered like any stranger's."""
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"a":1,"a":1}'):
        assert refused(signed(body, secret=OTHER), body) == (401, "bad_signature")
        assert refused(signed(body), body) == (400, "malformed")


# --- secrets ----------------------------------------------------------------------------------------------------


@given(st.binary(min_size=24, max_size=64), st.booleans(), st.booleans())
def test_a_secret_is_read_as_the_official_library_reads_it(raw, prefix, padded):
    text = base64.b64encode(raw).decode()
    text = ("whsec_" if prefix else "") + (text if padded else text.rstrip("="))
    assert key(f" {text}\n") == raw == standardwebhooks.Webhook(text)._whsecret


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!!", "whsec_" + "A" * 30, "whsec_" + "A" * 90, "hunter2", "\u00e9" * 40])
def test_a_secret_that_is_none_is_refused_without_being_shown(text):
    with pytest.raises(ValueError, match="24 to 64 random bytes") as error:
        key(text)
    assert not text.removeprefix("whsec_") or text not in str(error.value)


def test_a_source_never_shows_its_secrets_and_never_has_a_weak_one():
    assert "0123456789" not in repr(source())
    for secrets in ((), (b"",), (SECRET, b"short")):
        with pytest.raises(ValueError, match="at least one secret"):
            source(secrets=secrets)
    with pytest.raises(ValueError, match="tolerance"):
        source(tolerance=timedelta(0))


def test_the_table_of_kinds_names_every_header_that_may_pass():
    assert {"webhook-id", "webhook-timestamp", "webhook-signature", "stripe-signature"} == HEADERS
    assert KINDS["native"].signed_at(signed(b"{}")) == NOW
    assert KINDS["native"].signed_at({}) is None


# --- what is understood -----------------------------------------------------------------------------------------


def test_a_payment_is_a_fact_called_after_its_message():
    (fact,) = said(PAYMENT)
    assert fact == Fact(
        id="msg_1",
        type="payment.received",
        customer="za",
        occurred_at=datetime(2026, 3, 31, 14, 7, 12, tzinfo=UTC),
        body={"payment": "E2E-1", "amount": "4800.00", "currency": "EUR"},
    )


def test_a_heartbeat_is_about_no_company():
    beat = {"type": "heartbeat", "occurred_at": "2026-03-31T14:00:00Z"}
    assert [fact.customer for fact in said(beat)] == [""]
    assert refused(signed(b := json.dumps(beat | {"customer": "za"}).encode()), b) == (400, "malformed")


def test_a_batch_is_one_fact_each_numbered_from_one():
    facts = said({"events": [PAYMENT, PAYMENT | {"customer": "zb"}]})
    assert [(fact.id, fact.customer) for fact in facts] == [("msg_1/1", "za"), ("msg_1/2", "zb")]


def test_a_batch_with_one_bad_fact_is_refused_whole_and_every_problem_is_told():
    bad = PAYMENT | {"data": {"payment": "x", "amount": "-1", "currency": "EUR"}}
    body = json.dumps({"events": [PAYMENT, bad, PAYMENT, {"type": "heartbeat"}, "a payment"]}).encode()
    with pytest.raises(Rejected) as error:
        read(signed(body), body, source(), NOW)
    assert error.value.status == 400
    assert "events[1].amount: negative sum" in error.value.what
    assert "events[3].occurred_at: missing" in error.value.what
    assert "events[4].body: not an object" in error.value.what


@pytest.mark.parametrize("events", [[], [PAYMENT] * 251, {}, "x", None])
def test_a_batch_has_between_1_and_250_facts(events):
    body = json.dumps({"events": events}).encode()
    assert refused(signed(body), body) == (400, "malformed")


def test_a_type_the_source_may_not_state_is_ignored_with_the_reason():
    assert said(PAYMENT, events=frozenset({"heartbeat"})) == (
        Ignored(type="payment.received", why="this source is not configured to state it"),
    )


def test_what_only_operators_and_the_agent_may_state_is_forbidden_whatever_is_configured():
    for name, spec in TYPES.items():
        if spec.origin is not Origin.BILLING:
            for payload in (PAYMENT | {"type": name}, {"events": [PAYMENT | {"type": name}]}):
                body = json.dumps(payload).encode()
                assert refused(signed(body), body, events=frozenset(TYPES)) == (403, "forbidden")


@pytest.mark.parametrize(
    "change",
    [
        {"type": "payment.recieved"}, {"type": None}, {"type": 1}, {"type": []}, {"customer": None}, {"customer": ""},
        {"customer": 7},
        {"customer": "a\nb"}, {"customer": "x" * 201}, {"occurred_at": None}, {"occurred_at": "yesterday"}, {"occurred_at": 1},
        {"occurred_at": "2026-03-31T14:07:12"}, {"data": None}, {"data": []}, {"data": {}}, {"id": "another"}, {"extra": 1},
    ],
)  # fmt: skip
def test_a_payload_out_of_form_is_malformed(change):
    body = json.dumps(PAYMENT | change).encode()
    assert refused(signed(body), body) == (400, "malformed")


def test_an_id_inside_may_repeat_the_message_id():
    assert said(PAYMENT | {"id": "msg_1"})


names = st.sampled_from([*PAYMENT, "events", "id"]) | st.text(max_size=4)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=10,
)


@given(anything)
def test_any_authentic_json_is_taken_or_refused_never_a_surprise(payload):
    body = json.dumps(payload).encode()
    try:
        facts = read(signed(body), body, source(), NOW)
    except Rejected as error:
        rejected = error.status
    else:
        rejected = None
        assert facts
    assert rejected in (None, 400, 403)

"""Kind `stripe`: who is believed (compared with the official library), what each event says, and what it all comes to."""

import hashlib
import hmac
import itertools
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import stripe as official
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.billing import KINDS, Fact, Source
from agent.billing.stripe import key, read, verify
from agent.case import EMPTY_RECORD, fold
from agent.debt import debt
from agent.errors import Rejected
from agent.event import TYPES, Event, Origin, instant

GOLDEN = Path(__file__).parent.parent / "golden" / "stripe"
CASES = {path.stem: json.loads(path.read_text()) for path in sorted(GOLDEN.glob("*.json"))}
NOW = datetime(2026, 6, 2, tzinfo=UTC)
SECRET = b"whsec_abcdefghijklmnopqrstuvwxyz"
OTHER = b"whsec_another_secret_of_32_bytes"
BILLING = frozenset(name for name, spec in TYPES.items() if spec.origin is Origin.BILLING)


def source(**change):
    return Source(**({"name": "stripe-main", "kind": "stripe", "secrets": (SECRET,), "events": BILLING} | change))


def signature(body, *, at=NOW, secret=SECRET):
    stamp = int(at.timestamp())
    return stamp, hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def signed(body, **options):
    stamp, mac = signature(body, **options)
    return {"stripe-signature": f"t={stamp},v1={mac}"}


def said(webhook, **change):
    body = json.dumps(webhook).encode()
    return read(signed(body), body, source(**change), NOW)


def refused(headers, body, **change):
    with pytest.raises(Rejected) as error:
        read(headers, body, source(**change), NOW)
    return error.value.status, error.value.kind


# --- who is believed --------------------------------------------------------------------------------------------


def official_verdict(header, body, secrets):
    for secret in secrets:
        try:
            official.WebhookSignature.verify_header(body, header, secret.decode(), tolerance=300)
        except (official.SignatureVerificationError, UnicodeDecodeError):
            continue
        return True
    return False


def our_verdict(header, body, secrets, now):
    try:
        verify({"stripe-signature": header}, body, source(secrets=secrets), now)
    except Rejected:
        return False
    return True


@given(
    st.text(max_size=80), st.integers(-280, 0), st.lists(st.sampled_from([SECRET, OTHER]), min_size=1, max_size=3), st.booleans()
)
def test_whatever_stripe_signs_in_time_is_accepted_as_its_library_accepts_it(text, offset, signers, old_scheme):
    now = datetime.now(UTC)
    stamp = int(now.timestamp()) + offset
    parts = [official.WebhookSignature.generate_signature_header(text, one.decode(), stamp).split(",")[1] for one in signers]
    header = ",".join([f"t={stamp}", *parts, *(["v0=" + "0" * 64] if old_scheme else [])])
    assert our_verdict(header, text.encode(), (SECRET, OTHER), now)
    assert official_verdict(header, text.encode(), (SECRET, OTHER))


@settings(max_examples=300)
@given(
    st.sampled_from(
        ["{t},{v}", "{v},{t}", "{v}", "{t}", "", "{t},{t},{v}", "{t},{v},", " {t},{v}", "{t}, {v}", "{t};{v}", "{t},v1=", "{t},{V}",
         "t=,{v}", "t=1,{v}", "t=+{n},{v}", "t={n}.0,{v}", "t=0{n},{v}", "{t},{v}=", "{t},{v},v1=x=y", "{t},v2={h}", "t={n} ,{v}",
         "{t},{v},a=b", "{t}," + "{v}," * 40 + "{v}", "t={n}_0,{v}", "\u00e9,{t},{v}", "{t}\n,{v}"]
    )
    | st.text(max_size=40).map(lambda text: text.replace("{", "").replace("}", "")),
    st.integers(-700, 700),
    st.binary(max_size=20),
)  # fmt: skip
def test_what_its_library_refuses_is_refused(form, offset, body):
    now = datetime.now(UTC)
    stamp, mac = signature(body, at=now + timedelta(seconds=offset))
    header = form.format(t=f"t={stamp}", v=f"v1={mac}", V=f"v1={mac.upper()}", n=stamp, h=mac)
    if our_verdict(header, body, (SECRET,), now):
        assert official_verdict(header, body, (SECRET,)) or not is_utf8(body)
        assert abs(offset) <= 301


def is_utf8(body):
    """The official library signs text, so it has no opinion about other bytes; those are refused as 400 later."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize(("offset", "kind"), [(-301, "stale"), (301, "future"), (10**7, "future")])
def test_the_window_has_two_sides_unlike_in_the_official_library(offset, kind):
    body = b"{}"
    assert refused(signed(body, at=NOW + timedelta(seconds=offset)), body) == (401, kind)


def test_nothing_is_parsed_before_the_signature_is_right():
    for body in (b"{", b"\xff", b"[" * 100_000):
        assert refused(signed(body, secret=OTHER), body) == (401, "bad_signature")
        assert refused(signed(body), body) == (400, "malformed")
    assert refused({}, b"{}") == (401, "bad_signature")


def test_the_key_is_the_whole_text_of_the_secret():
    assert key(f"{SECRET.decode()}\n") == SECRET
    for text in ("", "whsec_short", "whsec_abc def ghi jkl mno", "whsec_" + "\u00e9" * 20, "whsec_abcdefghijk\x00lmnop"):
        with pytest.raises(ValueError, match="signing secret"):
            key(text)


def test_the_signed_time_is_told_for_the_skew_metric():
    assert KINDS["stripe"].signed_at(signed(b"{}")) == NOW
    assert KINDS["stripe"].signed_at({"stripe-signature": "nonsense"}) is None


# --- what each event says ---------------------------------------------------------------------------------------


def written(said_):
    return [
        {"id": one.id, "type": one.type, "customer": one.customer, "occurred_at": instant(one.occurred_at), "body": one.body}
        if isinstance(one, Fact)
        else {"ignored": one.type, "why": one.why}
        for one in said_
    ]


@pytest.mark.parametrize("name", CASES)
def test_each_event_of_the_corpus_says_what_is_written_beside_it(name):
    assert written(said(CASES[name]["webhook"])) == CASES[name]["says"]


def test_the_corpus_covers_every_event_we_read():
    from agent.billing.stripe import _READERS

    assert set(_READERS) <= {case["webhook"]["type"] for case in CASES.values()}


def test_the_names_of_one_payment_all_state_the_same_payment():
    """Whichever of them arrives, and however many, it is one payment: same key, sum, allocation and time."""
    names = ["invoice-paid", "invoice-payment-succeeded", "invoice-updated-paid", "invoice-overpaid", "invoice-paid-outside-stripe"]
    facts = [said(CASES[name]["webhook"])[0] for name in names]
    assert len({json.dumps([fact.type, instant(fact.occurred_at), fact.body], sort_keys=True) for fact in facts}) == 1


def test_a_payment_that_is_not_made_or_names_no_invoice_says_nothing():
    webhook = CASES["invoice-payment-paid"]["webhook"]
    for change, why in (({"status": "open"}, "the payment is 'open'"), ({"invoice": None}, "it names no invoice")):
        changed = webhook | {"data": {"object": webhook["data"]["object"] | change}}
        assert [one.why for one in said(changed)] == [why]


def test_lines_of_any_shape_that_name_no_service_are_left_out():
    webhook = json.loads(json.dumps(CASES["invoice-finalized"]["webhook"]))
    odd = {"amount": 5, "metadata": {"ecluse_service": "no such name!"}}
    good = {"amount": 700, "metadata": {"ecluse_service": "backup"}, "discount_amounts": [None]}
    webhook["data"]["object"]["lines"]["data"] = [None, 7, {"amount": 5}, {"amount": 5, "metadata": []}, odd, good]
    assert said(webhook)[0].body["lines"] == [{"service": "backup", "amount": "7.00"}]


def test_test_data_is_refused_where_live_data_is_asked_for():
    webhook = CASES["invoice-paid"]["webhook"]
    for value in (False, None, "true", 1):
        body = json.dumps(webhook | {"livemode": value}).encode()
        assert refused(signed(body), body) == (400, "test_mode")
    assert said(webhook | {"livemode": False}, livemode_only=False)


def test_facts_the_source_may_not_state_are_ignored_one_by_one():
    kinds = [type(one).__name__ for one in said(CASES["invoice-paid"]["webhook"], events=frozenset({"payment.received"}))]
    assert kinds == ["Fact", "Ignored"]


@pytest.mark.parametrize(
    ("due", "due_on"),
    [("2026-02-14T22:59:59", "2026-02-15"), ("2026-02-14T09:59:59", "2026-02-14"), ("2026-02-14T10:00:00", "2026-02-15")],
)
def test_the_due_day_is_never_before_the_debtors_own_day(due, due_on):
    webhook = json.loads(json.dumps(CASES["invoice-finalized"]["webhook"]))
    webhook["data"]["object"]["due_date"] = int(datetime.fromisoformat(due).replace(tzinfo=UTC).timestamp())
    assert said(webhook)[0].body["due_on"] == due_on


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("amount_due", None), ("amount_due", -1), ("amount_due", "480000"), ("amount_due", 4800.5), ("amount_due", True),
        ("amount_due", 10**15), ("currency", None), ("currency", "EUR"), ("currency", "euro"), ("id", None), ("id", "in_1\n"),
        ("id", 7),
        ("customer", 7), ("customer", "cus 1"), ("created", "now"), ("due_date", "soon"), ("due_date", 10**12),
    ],
)  # fmt: skip
def test_an_invoice_out_of_form_is_malformed(change, value):
    webhook = json.loads(json.dumps(CASES["invoice-paid"]["webhook"]))
    webhook["data"]["object"][change] = value
    body = json.dumps(webhook).encode()
    assert refused(signed(body), body) == (400, "malformed")


@pytest.mark.parametrize(
    "webhook",
    [[], "x", {}, {"object": "event"}, {"object": "event", "id": "evt_1", "livemode": True, "type": "invoice.paid"},
     {"object": "event", "id": "evt_1", "livemode": True, "type": "invoice.paid", "data": []},
     {"object": "event", "id": "evt_1", "livemode": True, "type": "invoice.paid", "created": 1, "data": {"object": {}}}],
)  # fmt: skip
def test_what_is_no_stripe_event_is_malformed(webhook):
    body = json.dumps(webhook).encode()
    assert refused(signed(body), body) == (400, "malformed")


junk = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(max_size=6)
    | st.just([])
    | st.just({})
    | st.just({"id": "x"})
)


@settings(max_examples=300)
@given(st.sampled_from(sorted(CASES)), st.data())
def test_any_field_may_be_anything_without_a_surprise(name, data):
    """Stripe's objects change with API versions: whatever a field becomes, the answer is a fact, a reason or a refusal."""
    webhook = json.loads(json.dumps(CASES[name]["webhook"]))
    target = data.draw(st.sampled_from([webhook, webhook.get("data", webhook), webhook.get("data", {}).get("object", webhook)]))
    for _ in range(data.draw(st.integers(1, 3))):
        target[data.draw(st.sampled_from(sorted(target)))] = data.draw(junk)
    body = json.dumps(webhook).encode()
    try:
        facts = read(signed(body), body, source(), NOW)
    except Rejected as error:
        status = error.status
    else:
        status = 200
        assert facts
    assert status in (200, 400)


# --- what it comes to -------------------------------------------------------------------------------------------


def owed(webhooks):
    """The remaining principal of each invoice that counts, after folding what the webhooks say."""
    record = EMPTY_RECORD
    for number, webhook in enumerate(webhooks):
        for one in said(webhook | {"id": f"evt_{number}"}):
            if not isinstance(one, Fact):
                continue
            event = Event(
                id=f"stripe-main:{one.id}",
                type=one.type,
                subject="za",
                occurred_at=one.occurred_at,
                received_at=NOW,
                source="stripe-main",
                body=one.body,
            )
            record = fold(record, event)
    return {name: invoice.remaining for name, invoice in debt(record).invoices.items() if not invoice.out}


def other_invoice():
    webhook = json.loads(json.dumps(CASES["invoice-finalized"]["webhook"]))
    webhook["data"]["object"] |= {"id": "in_other", "amount_due": 100000, "amount_remaining": 100000}
    return webhook


THIS, OTHER_ID = "in_1PZephyrMarch", "in_other"
ASKED = ["invoice-finalized", "invoice-updated-not-due", "invoice-overdue"]


@pytest.mark.parametrize(
    ("story", "left"),
    [
        (ASKED, Decimal(4800)),
        ([*ASKED, "invoice-updated-part-paid"], Decimal(3000)),
        ([*ASKED, "invoice-updated-part-paid", "invoice-updated-paid", "invoice-paid", "invoice-payment-succeeded"], Decimal(0)),
        ([*ASKED, "invoice-paid-outside-stripe"], Decimal(0)),
        ([*ASKED, "invoice-paid", "charge-refunded"], Decimal(0)),
        ([*ASKED, "invoice-paid", "charge-refunded-in-part"], Decimal(0)),
        ([*ASKED, "invoice-paid", "charge-refunded-naming-its-invoice"], Decimal(4800)),
        ([*ASKED, "invoice-paid", "dispute-funds-withdrawn-with-its-charge"], Decimal(4800)),
        (["invoice-paid", "dispute-funds-withdrawn-with-its-charge", "dispute-funds-reinstated-with-its-charge"], Decimal(0)),
    ],
)
def test_every_order_of_arrival_comes_to_the_same_debt_and_other_invoices_keep_theirs(story, left):
    webhooks = [CASES[name]["webhook"] for name in story] + [other_invoice()]
    # Not every order of nine events: a spread of them, the written one and its reverse among them.
    orders = [*itertools.islice(itertools.permutations(webhooks), 0, 4000, 67), webhooks[::-1]]
    for order in orders:
        assert owed(order) == {THIS: left, OTHER_ID: Decimal(1000)}
        assert owed([*order, *order]) == {THIS: left, OTHER_ID: Decimal(1000)}


@pytest.mark.parametrize("end", ["invoice-voided", "invoice-marked-uncollectible"])
def test_an_invoice_that_is_given_up_is_no_debt(end):
    assert owed([*(CASES[name]["webhook"] for name in [*ASKED, end]), other_invoice()]) == {OTHER_ID: Decimal(1000)}

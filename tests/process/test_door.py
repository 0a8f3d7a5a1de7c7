"""Bad input through the real door, the real enforcer behind it: a clear answer each time, nothing lost, nothing wrongly cut."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from agent import channel
from agent.errors import KernelError
from agent.kernel.nft import NftKernel
from agent.model import Service
from agent.rules import Change
from agent.ruleset import structure
from tests.contract.examples import SERVICES, SHAPES
from tests.process.conftest import a_running_house
from tests.process.house import PORT, ROOT, House, firms, history, payload, until

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def door() -> Iterator[House]:
    """One suspended company of three. Every test leaves it so."""
    with a_running_house() as built:
        built.suspend("c000")
        yield built
        assert built.cut() == {"c000"}
        assert built.status()["failures"] == []


def _payment(house: House, company: str = "c000") -> bytes:
    return payload("payment.received", company, {"payment": "E2E-1", "amount": "4800", "currency": "EUR"}, house.now())


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        ({"secret": b"x" * 32}, "bad_signature"),
        ({"at": -timedelta(minutes=6)}, "stale"),
        ({"at": timedelta(minutes=6)}, "future"),
        ({"drop": "webhook-signature"}, "bad_signature"),
        ({"drop": "webhook-timestamp"}, "bad_signature"),
        ({"drop": "webhook-id"}, "bad_signature"),
    ],
)
def test_a_signature_that_is_wrong_missing_or_of_another_time_is_answered_401_and_nothing_is_kept(door, how, outcome):
    before, body = door.status()["ledger"]["seq"], _payment(door)
    at = door.now() + how["at"] if "at" in how else None
    headers = door.signed(body, message="forged", at=at, **({"secret": how["secret"]} if "secret" in how else {}))
    headers.pop(how.get("drop", ""), None)
    answer = door.request("POST", "/webhooks/billing", body, headers)
    assert answer.status == 401
    assert door.status()["ledger"]["seq"] == before
    assert door.cut() == {"c000"}
    assert f'outcome="{outcome}"' in door.request("GET", "/metrics").message


def test_a_body_changed_by_one_byte_after_signing_is_refused(door):
    body = _payment(door)
    headers = door.signed(body, message="changed")
    assert door.request("POST", "/webhooks/billing", body.replace(b"4800", b"4801"), headers).status == 401


def test_a_source_nobody_configured_is_answered_like_a_bad_signature(door):
    body = _payment(door)
    known = door.request("POST", "/webhooks/billing", body, door.signed(body, message="m", secret=b"x" * 32))
    unknown = door.request("POST", "/webhooks/other", body, door.signed(body, message="m"))
    assert unknown.status == known.status == 401


def test_a_replayed_webhook_is_answered_200_and_kept_once(door):
    data = {"dispute": "D-1", "invoices": ["F-c001"], "motive": "not ours"}
    body = payload("dispute.opened", "c001", data, door.now())
    headers = door.signed(body, message="replayed")
    assert [door.request("POST", "/webhooks/billing", body, headers).status for _ in range(3)] == [200] * 3
    assert len(door.events("dispute.opened", "c001")) == 1


def test_a_body_of_ten_megabytes_is_refused_before_it_is_read(door):
    begun = time.monotonic()
    with door.connect() as sock:
        sock.sendall(f"POST /webhooks/billing HTTP/1.1\r\nhost: x\r\ncontent-length: {10 << 20}\r\n\r\n".encode())
        assert b" 413 " in sock.recv(4096)
    assert time.monotonic() - begun < 2
    body = b"x" * (10 << 20)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # hung up on while sending: refused as well
        assert door.request("POST", "/webhooks/billing", body, door.signed(body, message="big")).status == 413
    assert door.listening()


def test_a_client_that_sends_byte_by_byte_is_cut_off_and_holds_nobody_up(door):
    with door.connect(timeout=15) as slow:
        begun = time.monotonic()
        for byte in b"POST /webhooks/billing HTTP/1.1\r\n":
            slow.sendall(bytes([byte]))
        assert door.post("heartbeat", "", {}).status == 200
        assert time.monotonic() - begun < 2
        assert b"408" in slow.recv(4096)
        assert time.monotonic() - begun < 12


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"[" * 10_000, 400),
        (b'{"type": "payment.received"}', 400),
        (b"\xff\xfe", 400),
        (b'{"type": "approval.given", "customer": "c000", "occurred_at": "2026-03-30T07:00:00Z", "data": {}}', 403),
        (b'{"type": "measure.restored", "customer": "c000", "occurred_at": "2026-03-30T07:00:00Z", "data": {}}', 403),
    ],
)
def test_a_signed_body_that_is_no_fact_is_refused_and_nothing_is_kept(door, body, status):
    before = door.status()["ledger"]["seq"]
    assert door.request("POST", "/webhooks/billing", body, door.signed(body, message="odd")).status == status
    assert door.status()["ledger"]["seq"] == before


@pytest.mark.parametrize("amount", ["-4800", "NaN", "1e9", "4 800", "", None, True, [4800]])
def test_a_sum_that_can_not_be_is_refused_with_the_field_named(door, amount):
    answer = door.post("payment.received", "c000", {"payment": "P-odd", "amount": amount, "currency": "EUR"})
    assert answer.status == 400
    assert "amount" in answer.message
    assert door.cut() == {"c000"}


def test_a_fact_about_a_customer_nobody_knows_is_kept_for_a_person_and_answered_200(door):
    answer = door.post("payment.received", "stranger", {"payment": "P-x", "amount": "10", "currency": "EUR"})
    assert answer.status == 200
    assert "kept" in answer.message
    assert door.events("customer.unknown")[-1].body["customer"] == "stranger"


def test_a_payment_in_another_currency_is_recorded_and_restores_because_nobody_can_say_what_is_left(make_house):
    house = make_house()
    house.start("enforce")
    house.start("serve")
    house.suspend("c000", "c001")
    assert house.post("payment.received", "c000", {"payment": "P-chf", "amount": "10", "currency": "CHF"}).status == 200
    until(lambda: house.cut() == {"c001"}, 1, what="doubt means service on")
    assert house.events("payment.received", "c000")[0].body["currency"] == "CHF"


def test_a_taken_port_is_told_in_one_line_with_what_to_do(door):
    second = subprocess.run(
        ["nsenter", f"--net={door.space.path}", sys.executable, "-m", "agent", "serve", "--config", str(door.config)],
        capture_output=True, text=True, timeout=30, check=False, cwd=ROOT,
    )  # fmt: skip
    assert second.returncode == 1
    assert f"127.0.0.1:{PORT}: another program listens there. stop it, or choose another port" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_second_enforcer_is_refused_and_says_who_is_there(door):
    second = subprocess.run(
        ["nsenter", f"--net={door.space.path}", sys.executable, "-m", "agent", "enforce", "--config", str(door.config)],
        capture_output=True, text=True, timeout=30, check=False, cwd=ROOT,
    )  # fmt: skip
    assert second.returncode == 1
    assert f"process {door.roles['enforce'].pid} owns this ledger" in second.stderr
    assert "Traceback" not in second.stderr
    assert door.cut() == {"c000"}


def test_without_the_nftables_library_the_error_says_which_package_is_missing(own_network):
    kernel = NftKernel(library="libnftables.so.404")
    services: dict[str, Service] = dict(SERVICES)
    with pytest.raises(KernelError, match=r"libnftables\.so\.404.*libnftables1"):
        kernel.apply(Change(structure=structure(services, SHAPES)))
    kernel.close()


def test_what_an_operator_asks_without_sense_is_bad_input_and_not_a_broken_answer(door):
    for question in (
        {"ask": "nothing"},
        {"ask": "explain"},
        {"ask": "explain", "company": "nobody"},
        {"ask": "approve", "case": "c000", "reason": "x"},
        {"ask": "approve", "case": 7, "reason": "x"},
        {"ask": "approve_policy", "policy": "auto", "reason": "x", "expires_at": "2036-01-01T00:00:00Z"},
        {"ask": "approve_policy", "policy": "auto", "reason": "x", "expires_at": 5},
        {"ask": "restore", "reason": "x"},
        {"ask": "restore", "company": "nobody", "reason": "x"},
        {"ask": "record", "type": "payment.received", "company": "c000", "body": []},
        {"ask": "record", "type": "payment.received", "company": "c000", "body": "text"},
        {"ask": "record", "type": "payment.received", "company": "c000", "body": {"payment": "x"}},
        {"ask": "record", "type": "no.such", "company": "c000", "body": {}},
        {"ask": "record", "type": "payment.received", "company": "c000", "body": {}, "occurred_at": "yesterday"},
    ):
        answer = door.ask(**question)
        assert answer["exit"] == 2, question
        assert answer["message"]["en"], question
    bad = door.ask("import", file="h.jsonl", body_bytes=b'{"id": "a"}\nnot json\n')
    assert bad["exit"] == 2
    assert len(bad["data"]["problems"]) == 2


def test_the_door_tells_its_health_and_the_enforcers_figures(door):
    assert door.request("GET", "/healthz").status == 200
    assert door.request("GET", "/readyz").status == 200
    figures = door.request("GET", "/metrics").message
    for line in ("ecluse_enforcer_up 1.0", 'ecluse_suspended_companies{state="actual"} 1.0', "ecluse_ledger_writable 1.0"):
        assert line in figures


def test_without_the_enforcer_webhooks_are_answered_503_and_taken_again_when_it_is_back(make_house):
    house = make_house()
    house.start("enforce")
    house.start("serve")
    house.suspend("c000")
    house.kill()
    answer = house.pay("c000", payment="P-1")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert house.request("GET", "/readyz").status == 503
    assert "ecluse_enforcer_up 0.0" in house.request("GET", "/metrics").message
    assert house.cut() == {"c000"}
    house.start("enforce")
    assert house.pay("c000", payment="P-1").status == 200
    until(lambda: house.cut() == set(), 1, what="payment restores")
    assert len(house.events("payment.received")) == 1


def test_payments_that_come_in_during_a_big_import_are_served_before_it_ends():
    with a_running_house(firms(201)) as house:
        house.suspend("c000")
        invoices = [next(history(f"c{1 + number % 200:03}")) for number in range(10_000)]
        lines = [line.replace('"F-', f'"F{number}-').replace('-0"', f'-0-{number}"') for number, line in enumerate(invoices)]
        answer, served = {}, 0

        def bring() -> None:
            raw = "\n".join(lines).encode()
            answer.update(channel.ask(house.run / "operator.sock", {"ask": "import", "file": "old.jsonl"}, raw, timeout=120)[0])

        importing = threading.Thread(target=bring)
        importing.start()
        try:
            while importing.is_alive():
                assert house.pay("c000", amount="100").status == 200
                served += importing.is_alive()
        finally:
            importing.join(120)
        assert answer["data"] == {"events": 10_000, "new": 10_000}
        assert served >= 20, "in one piece, at most the payments before it and the one that waited for it are served"

"""The listening face through its real door: HTTP on loopback, a real UNIX socket, real signatures, hostile clients.

The enforcer's place is taken by a few lines that verify with the real intake and remember what they would have committed.
"""

import asyncio
import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.billing import Source
from agent.billing.standard import sign
from agent.channel import listen
from agent.errors import ListenError
from agent.intake import RawRequest, read
from agent.serve import Limits, bind, serve

SECRET = b"n" * 32
SOURCES = {
    "native": Source(
        name="native",
        kind="native",
        secrets=(SECRET,),
        events=frozenset({"payment.received", "invoice.issued", "heartbeat", "reminder.sent"}),
    )
}
PAYMENT = {
    "type": "payment.received",
    "customer": "za",
    "occurred_at": "2026-03-09T14:07:12Z",
    "data": {"payment": "E2E-1", "amount": "4800.00", "currency": "EUR"},
}


class Enforcer:
    """Verifies with the real intake, remembers, answers."""

    def __init__(self):
        self.events = {}
        self.questions = []
        self.answers = {}

    async def handle(self, peer, header, body):
        self.questions.append((header, body))
        kind = header["ask"]
        if kind in self.answers:
            return await self.answers[kind](header, body)
        if kind == "ready":
            return {"ready": True, "why": ""}, b""
        if kind == "metrics":
            return {}, b"# HELP ecluse_x An x.\n# TYPE ecluse_x gauge\necluse_x 1.0\n"
        request = RawRequest(
            source=header["source"],
            headers=header["headers"],
            body=body,
            received_at=datetime.fromisoformat(header["received_at"]),
        )
        outcome = read(request, SOURCES, lambda source, customer: customer if customer == "za" else None, datetime.now(UTC))
        for event in outcome.events:
            self.events.setdefault(event.id, event)
        return {"status": outcome.status, "message": outcome.message}, b""


class Gateway:
    """The face on a free port, with or without an enforcer behind it."""

    def __init__(self, port, enforcer):
        self.port = port
        self.enforcer = enforcer

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def request(self, method, path, body=None, headers=None, **options):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            conn.request(method, path, body=body, headers=headers or {}, **options)
            answer = conn.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            conn.close()

    def post(self, payload, *, source="native", raw=None, secret=SECRET, ago=0, message="msg_1", drop=(), more=None):
        body = raw if raw is not None else json.dumps(payload).encode()
        stamp = int(time.time()) - ago
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(secret, message=message, timestamp=stamp, body=body),
        }
        headers = {name: value for name, value in headers.items() if name not in drop} | (more or {})
        status, told, _ = self.request("POST", f"/webhooks/{source}", body, headers)
        return status, json.loads(told)["message"]


@contextlib.contextmanager
def running(directory, *, limits=None, with_enforcer=True):
    enforcer = Enforcer()
    (sock,) = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    failed = []

    async def main():
        path = directory / "intake.sock"
        listener = await listen(path, enforcer.handle, max_body=1 << 20) if with_enforcer else None
        try:
            await serve(enforcer=path, stop=stop, sockets=[sock], limits=limits)
        finally:
            if listener:
                await listener.close(grace=0.5)

    def work():
        try:
            loop.run_until_complete(main())
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            failed.append(error)
        finally:
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield Gateway(port, enforcer)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
    assert not thread.is_alive()
    assert not failed


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with running(tmp_path_factory.mktemp("serve")) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared):
    shared.enforcer.events.clear()
    shared.enforcer.questions.clear()
    shared.enforcer.answers.clear()
    return shared


def read_all(sock):
    found = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while more := sock.recv(65536):
            found += more
    return found


# --- authentic or not -------------------------------------------------------------------------------------------


def test_a_signed_payment_is_recorded_and_answered_after_that(gateway):
    assert gateway.post(PAYMENT) == (200, "1 accepted")
    (event,) = gateway.enforcer.events.values()
    assert (event.id, event.subject, event.body["amount"]) == ("native:msg_1", "za", "4800.00")


def test_the_same_webhook_twice_is_answered_alike_and_recorded_once(gateway):
    assert [gateway.post(PAYMENT)[0] for _ in range(3)] == [200, 200, 200]
    assert list(gateway.enforcer.events) == ["native:msg_1"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"secret": b"x" * 32}, "do not prove this body"),
        ({"drop": ("webhook-signature",)}, "do not prove"),
        ({"drop": ("webhook-id",)}, "do not prove"),
        ({"drop": ("webhook-timestamp",)}, "do not prove"),
        ({"more": {"webhook-id": "msg_2"}}, "do not prove"),
        ({"more": {"webhook-signature": "v1,"}}, "do not prove"),
        ({"more": {"webhook-signature": "v1," + "A" * 9000}}, "do not prove"),
        ({"ago": 301}, "signed more than 300 s ago"),
        ({"ago": -310}, "in the future"),
        ({"source": "no-such-source"}, "not a signed request of a known source"),
        ({"source": "n" * 4000}, "not a signed request"),
        ({"source": "%00"}, "not a signed request"),
    ],
)
def test_what_is_not_authentic_and_fresh_is_401_and_records_nothing(gateway, change, why):
    status, message = gateway.post(PAYMENT, **change)
    assert status == 401
    assert why in message
    assert gateway.enforcer.events == {}


def test_a_header_given_twice_is_not_believed(gateway):
    body = json.dumps(PAYMENT).encode()
    stamp = int(time.time())
    good = sign(SECRET, message="msg_1", timestamp=stamp, body=body)
    conn = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    conn.putrequest("POST", "/webhooks/native")
    for name, value in (
        ("webhook-id", "msg_1"), ("webhook-id", "msg_2"), ("webhook-timestamp", str(stamp)), ("webhook-signature", good),
        ("content-length", str(len(body))),
    ):  # fmt: skip
        conn.putheader(name, value)
    conn.endheaders(body)
    assert conn.getresponse().status == 401
    conn.close()


def test_only_the_headers_a_kind_reads_reach_the_enforcer(gateway):
    gateway.post(PAYMENT, more={"authorization": "Bearer x", "cookie": "a=b", "x-forwarded-for": "10.0.0.1"})
    (question,) = gateway.enforcer.questions
    header, body = question
    assert sorted(header["headers"]) == ["webhook-id", "webhook-signature", "webhook-timestamp"]
    assert header["peer"] == "127.0.0.1"
    assert body == json.dumps(PAYMENT).encode()


# --- what is said -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 50_000, "nested too deeply"),
        (b'{"type":"heartbeat","type":"heartbeat"}', "given twice"),
        (json.dumps(PAYMENT).replace('"4800.00"', "NaN").encode(), "NaN is not JSON"),
        (json.dumps(PAYMENT).replace('"4800.00"', "Infinity").encode(), "Infinity is not JSON"),
        (json.dumps(PAYMENT).replace('"4800.00"', '"-1"').encode(), "negative sum"),
        (json.dumps(PAYMENT).replace('"4800.00"', "-0.01").encode(), "negative sum"),
        (json.dumps(PAYMENT).replace('"4800.00"', "1e400").encode(), "out of range"),
        (json.dumps(PAYMENT).replace('"4800.00"', "1e9999999999999999999").encode(), "out of range"),
        (json.dumps(PAYMENT).replace('"4800.00"', "9" * 5000).encode(), "not JSON"),
        (json.dumps(PAYMENT).replace("4800.00", "\\ud800").encode(), "half a character"),
        (json.dumps(PAYMENT).replace("payment.received", "payment.recieved").encode(), "unknown event type"),
        (json.dumps(PAYMENT | {"extra": 1}).encode(), "unknown field"),
    ],
)
def test_an_authentic_body_that_can_not_be_understood_is_400_with_the_reason(gateway, raw, why):
    status, message = gateway.post(None, raw=raw)
    assert status == 400
    assert why in message
    assert gateway.enforcer.events == {}


def test_a_payment_in_a_foreign_currency_is_a_fact_like_any_other(gateway):
    foreign = PAYMENT | {"data": PAYMENT["data"] | {"currency": "CHF"}}
    assert gateway.post(foreign)[0] == 200
    assert [event.body["currency"] for event in gateway.enforcer.events.values()] == ["CHF"]


def test_an_unknown_customer_is_200_and_kept_where_a_person_finds_it(gateway):
    assert gateway.post(PAYMENT | {"customer": "stranger"}) == (200, "1 about a customer we do not know, kept")
    assert [event.type for event in gateway.enforcer.events.values()] == ["customer.unknown"]


def test_an_approval_can_not_come_by_webhook(gateway):
    status, message = gateway.post(PAYMENT | {"type": "approval.given"})
    assert (status, message) == (403, "approval.given is never taken from a billing system")


# --- sizes and shapes of requests -------------------------------------------------------------------------------


def test_a_body_of_10_mb_is_413_and_its_sender_can_read_that(gateway):
    status, message = gateway.post(None, raw=b"x" * 10_000_000)
    assert (status, message) == (413, "a body may have 262144 bytes")
    assert gateway.enforcer.questions == []


def test_a_chunked_body_works_like_any_other(gateway):
    body = json.dumps(PAYMENT).encode()
    stamp = int(time.time())
    headers = {
        "webhook-id": "msg_c",
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(SECRET, message="msg_c", timestamp=stamp, body=body),
    }
    parts = (body[i : i + 7] for i in range(0, len(body), 7))
    assert gateway.request("POST", "/webhooks/native", parts, headers, encode_chunked=True)[0] == 200
    assert list(gateway.enforcer.events) == ["native:msg_c"]


def test_a_chunked_body_without_a_declared_size_is_capped_too(gateway):
    parts = (b"x" * 60_000 for _ in range(40))
    assert gateway.request("POST", "/webhooks/native", parts, {}, encode_chunked=True)[0] == 413


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_compressed_body_is_415_whatever_it_holds(gateway, encoding):
    assert gateway.post(PAYMENT, more={"content-encoding": encoding})[0] == 415
    assert gateway.enforcer.questions == []


def test_too_many_headers_are_431(gateway):
    assert gateway.post(PAYMENT, more={f"x-{n}": "1" for n in range(100)})[0] == 431


def test_headers_without_an_end_are_cut_off(gateway):
    with gateway.connect() as sock:
        sock.sendall(b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\n")
        with contextlib.suppress(OSError):
            for n in range(4000):
                sock.sendall(f"x-{n}: {'y' * 200}\r\n".encode())
        assert read_all(sock).partition(b"\r\n")[0] in (b"", b"HTTP/1.1 400 Bad Request")


@pytest.mark.parametrize(
    "smuggled",
    [
        b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\ncontent-length: 1e3\r\n\r\n",
        b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    ],
)
def test_a_request_that_is_not_http_as_written_is_refused_and_hung_up_on(gateway, smuggled):
    with gateway.connect() as sock:
        sock.sendall(smuggled)
        assert read_all(sock).startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert gateway.enforcer.questions == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/webhooks/native", 405),
        ("HEAD", "/webhooks/native", 405),
        ("PUT", "/webhooks/native", 405),
        ("POST", "/webhooks", 404),
        ("POST", "/webhooks/native/more", 404),
        ("GET", "/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("POST", "/webhooks/..%2f..%2fetc", 404),
        ("POST", "/webhooks/native/", 404),
        ("POST", "/metrics", 405),
    ],
)
def test_other_methods_and_paths_do_nothing(gateway, method, path, status):
    assert gateway.request(method, path)[0] == status
    assert gateway.enforcer.questions == []


def test_one_connection_can_send_several_webhooks(gateway):
    conn = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    for n in range(3):
        body = json.dumps(PAYMENT).encode()
        stamp = int(time.time())
        conn.request("POST", "/webhooks/native", body, {
            "webhook-id": f"msg_{n}", "webhook-timestamp": str(stamp),
            "webhook-signature": sign(SECRET, message=f"msg_{n}", timestamp=stamp, body=body),
        })  # fmt: skip
        answer = conn.getresponse()
        assert (answer.status, bool(answer.read())) == (200, True)
    conn.close()
    assert len(gateway.enforcer.events) == 3


def test_an_answer_is_not_held_back_by_delayed_acknowledgements(gateway):
    """Over one kept connection, where a missing TCP_NODELAY costs 40 ms each time."""
    conn = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    took = []
    for _ in range(15):
        began = time.perf_counter()
        conn.request("POST", "/webhooks/native", b"{}")
        conn.getresponse().read()
        took.append(time.perf_counter() - began)
    conn.close()
    assert sorted(took)[7] < 0.03


# --- slow and many ----------------------------------------------------------------------------------------------

QUICK = Limits(
    request_seconds=0.5, answer_seconds=0.4, ready_seconds=0.4, keep_alive_seconds=1, max_connections=6, max_per_address=6
)


@pytest.fixture(scope="module")
def quick_shared(tmp_path_factory):
    with running(tmp_path_factory.mktemp("quick"), limits=QUICK) as gateway:
        yield gateway


@pytest.fixture
def quick(quick_shared):
    quick_shared.enforcer.answers.clear()
    return quick_shared


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\n",
        b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n",
        b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nPOST /webhooks/native HTTP/1.1\r\n",
        b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\n",  # answered 413, then drained
    ],
    ids=["silent", "in headers", "in body", "in chunks", "in a second request", "after its answer"],
)
def test_a_byte_by_byte_client_is_cut_off_at_the_deadline_in_every_phase(quick, start):
    drip = b"x-a: b\r\n" * 1000 if not start.endswith(b"\r\n\r\n") else b"1\r\nx\r\n" * 1000
    with quick.connect() as sock:
        began = time.monotonic()
        sock.sendall(start)
        sock.settimeout(0.02)
        found = b""
        closed = False
        for byte in drip:
            try:
                if start:
                    sock.sendall(bytes([byte]))
                more = sock.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                closed = True
                break
            if not more:
                closed = True
                break
            found += more
            if time.monotonic() - began > 5:
                break
    assert closed
    assert 0.4 < time.monotonic() - began < 2
    assert (b"408 Request Timeout" in found) == (bool(start) and not start.endswith(b"900000\r\n\r\n"))


def test_an_idle_connection_is_closed_after_the_keep_alive_time(quick):
    with quick.connect() as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        began = time.monotonic()
        assert b"200 OK" in read_all(sock)
        assert 0.8 < time.monotonic() - began < 3


def test_a_connection_beyond_the_cap_is_turned_away_and_the_next_one_after_it_is_served(quick):
    held = [quick.connect() for _ in range(6)]
    time.sleep(0.1)
    with quick.connect() as extra:
        assert read_all(extra).startswith(b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5")
    for sock in held:
        sock.close()
    time.sleep(0.1)
    assert quick.request("GET", "/healthz")[0] == 200


def test_one_address_can_not_take_every_connection(tmp_path):
    with running(tmp_path, limits=Limits(max_connections=20, max_per_address=3)) as gateway:
        held = [gateway.connect() for _ in range(3)]
        time.sleep(0.1)
        with gateway.connect() as extra:
            assert read_all(extra).startswith(b"HTTP/1.1 503")
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=5, source_address=("127.0.0.9", 0)) as other:
            other.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert read_all(other).startswith(b"HTTP/1.1 200")
        for sock in held:
            sock.close()


def test_a_client_that_goes_away_halfway_disturbs_nobody(quick):
    for _ in range(20):
        with quick.connect() as sock:
            sock.sendall(b"POST /webhooks/native HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf")
    time.sleep(0.2)
    assert quick.request("GET", "/healthz")[0] == 200


# --- the enforcer is away, slow, or odd -------------------------------------------------------------------------


def test_an_enforcer_that_is_too_slow_is_503_with_retry_after(quick):
    async def slow(header, body):
        await asyncio.sleep(3)
        return {"status": 200}, b""

    quick.enforcer.answers["webhook"] = slow
    began = time.monotonic()
    status, told, headers = quick.request("POST", "/webhooks/native", b"{}")
    assert (status, headers["retry-after"]) == (503, "5")
    assert json.loads(told)["message"] == "not recorded; send it again"
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("answer", [{}, {"status": "200"}, {"status": True}, {"status": 99}, {"status": 700}, {"status": None}])
def test_an_answer_without_a_status_is_503(quick, answer):
    async def odd(header, body):
        return answer, b""

    quick.enforcer.answers["webhook"] = odd
    assert quick.request("POST", "/webhooks/native", b"{}")[0] == 503


def test_a_ledger_that_can_not_write_is_503_with_retry_after(quick):
    async def full(header, body):
        return {"status": 503, "message": "not recorded"}, b""

    quick.enforcer.answers["webhook"] = full
    status, told, headers = quick.request("POST", "/webhooks/native", b"{}")
    assert (status, headers["retry-after"], json.loads(told)) == (503, "5", {"message": "not recorded"})


def test_a_webhook_waits_for_an_enforcer_that_is_started_again_and_is_then_taken_once(tmp_path):
    async def later():
        enforcer = Enforcer()
        await asyncio.sleep(0.5)
        listener = await listen(tmp_path / "intake.sock", enforcer.handle)
        await arrived.wait()
        await listener.close(grace=0.5)
        return enforcer

    async def arriving():
        told = await asyncio.to_thread(gateway.post, PAYMENT)
        arrived.set()
        return told

    async def both():
        return await asyncio.gather(later(), arriving())

    arrived = asyncio.Event()
    with running(tmp_path, with_enforcer=False) as gateway:
        enforcer, told = asyncio.run(both())
    assert told == (200, "1 accepted")
    assert [header["ask"] for header, _ in enforcer.questions] == ["webhook"]


def test_a_webhook_that_the_enforcer_died_of_is_not_handed_to_it_again(tmp_path):
    asked = []

    def dying():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(tmp_path / "intake.sock"))
            sock.listen()
            sock.settimeout(2)
            with contextlib.suppress(TimeoutError):
                while True:
                    taken, _ = sock.accept()
                    with taken:
                        asked.append(taken.recv(1 << 16))

    thread = threading.Thread(target=dying)
    thread.start()
    with running(tmp_path, with_enforcer=False) as gateway:
        assert gateway.post(PAYMENT) == (503, "not recorded; send it again")
    thread.join(5)
    assert len(asked) == 1


def test_without_an_enforcer_webhooks_are_503_and_the_face_stays_alive(tmp_path):
    with running(tmp_path, limits=Limits(absent_seconds=0.1), with_enforcer=False) as gateway:
        assert gateway.post(PAYMENT) == (503, "not recorded; send it again")
        assert gateway.request("GET", "/healthz")[0] == 200
        assert gateway.request("GET", "/readyz")[0] == 503
        status, figures, _ = gateway.request("GET", "/metrics")
        assert status == 200
        assert b"ecluse_enforcer_up 0.0" in figures
        assert b'ecluse_serve_requests_total{source="unknown",status="503"} 1.0' in figures


def test_readiness_is_what_the_enforcer_says(gateway):
    assert gateway.request("GET", "/readyz")[0] == 200

    async def not_yet(header, body):
        return {"ready": False, "why": "no policy is loaded"}, b""

    gateway.enforcer.answers["ready"] = not_yet
    status, told, _ = gateway.request("GET", "/readyz")
    assert (status, json.loads(told)) == (503, {"ready": False, "why": "no policy is loaded"})


def test_figures_of_both_roles_are_one_valid_exposition(gateway):
    gateway.post(PAYMENT)
    gateway.post(PAYMENT, source="native", secret=b"x" * 32)
    gateway.post(PAYMENT, source="evil%22%7d%201%0afake%7ba=%22")
    status, figures, headers = gateway.request("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(figures.decode())}
    assert {"ecluse_x", "ecluse_enforcer_up", "ecluse_serve_requests", "ecluse_serve_request_seconds"} <= set(families)
    counted = {(s.labels["source"], s.labels["status"]) for s in families["ecluse_serve_requests"].samples if "status" in s.labels}
    assert {("native", "200"), ("native", "401"), ("unknown", "401")} <= counted
    assert {source for source, _ in counted} == {"native", "unknown"}


# --- start and stop ---------------------------------------------------------------------------------------------


def test_a_taken_port_is_an_error_that_names_the_address():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{port}: another program listens there\. stop it"):
            asyncio.run(serve(enforcer=None, stop=asyncio.Event(), listen=[("127.0.0.1", port)]))


@pytest.mark.parametrize(
    ("host", "why"), [("203.0.113.7", "not an address of this machine"), ("no-such-host.invalid", "the name has no address")]
)
def test_an_address_that_can_not_be_had_is_an_error_that_names_it(host, why):
    with pytest.raises(ListenError, match=f"{host}:8440: {why}"):
        bind(host, 8440)


def test_ipv6_is_listened_on_as_well():
    for sock in bind("::1", 0):
        assert sock.getsockname()[0] == "::1"
        sock.close()


def test_stop_finishes_the_request_under_way(tmp_path):
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(running(tmp_path))

        async def slow(header, body):
            await asyncio.sleep(0.6)
            return {"status": 200, "message": "late"}, b""

        gateway.enforcer.answers["webhook"] = slow
        answers = []
        asking = threading.Thread(target=lambda: answers.append(gateway.request("POST", "/webhooks/native", b"{}")[0]))
        asking.start()
        time.sleep(0.2)
        stack.close()
        asking.join(5)
    assert answers == [200]


def test_a_clock_that_is_off_by_less_than_the_tolerance_does_no_harm(gateway):
    assert gateway.post(PAYMENT, ago=290, message="msg_slow")[0] == 200
    assert gateway.post(PAYMENT, ago=-290, message="msg_fast")[0] == 200
    now = datetime.now(UTC)
    assert all(timedelta(0) <= now - event.received_at < timedelta(seconds=10) for event in gateway.enforcer.events.values())


def test_the_secret_appears_in_no_answer_and_no_question(gateway):
    gateway.post(PAYMENT)
    gateway.post(PAYMENT, secret=b"y" * 32)
    seen = repr(gateway.enforcer.questions) + repr(gateway.request("GET", "/metrics"))
    assert SECRET.decode() not in seen
    assert base64.b64encode(SECRET).decode() not in seen

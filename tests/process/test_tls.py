"""TLS and passwords of the listening role, with real certificates on real sockets."""

import asyncio
import base64
import contextlib
import http.client
import socket
import ssl
import threading
import time

import bcrypt
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.bounded import Limits
from agent.channel import listen
from agent.errors import ConfigError
from agent.metrics import ServeMetrics
from agent.serve import bind, serve
from agent.web import load_web, not_after
from tests.process.certificates import signed

HASH = bcrypt.hashpw(b"right", b"$2b$10$" + b"salt" * 5 + b"ee").decode()


class Face:
    """The running role: its two ports, and its figures."""

    def __init__(self, ports, metrics):
        self.port, self.metrics_port = ports
        self.metrics = metrics

    def get(self, path="/healthz", *, context=None, port=None, headers=None, conn=None):
        """One request; with `conn` over a connection that is open."""
        port = port or self.port
        if conn is None:
            conn = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            if context is not None:
                conn = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
            with contextlib.closing(conn):
                return self.get(path, headers=headers, conn=conn)
        conn.request("GET", path, headers=headers or {})
        answer = conn.getresponse()
        return answer.status, answer.read()

    def figure(self, name, **labels):
        families = text_string_to_metric_families(self.metrics())
        for family in families:
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None


@contextlib.contextmanager
def running(directory, *, web=None, metrics_web=None, own_metrics=False, limits=None):
    """The role over a stand-in enforcer that only answers."""
    (sock,), watched = bind("127.0.0.1", 0), bind("127.0.0.1", 0) if own_metrics else []
    ports = (sock.getsockname()[1], watched[0].getsockname()[1] if watched else None)
    loop, stop, failed = asyncio.new_event_loop(), asyncio.Event(), []
    metrics = ServeMetrics()

    async def answer(_peer, header, _body):
        return {"ready": True, "status": 200, "message": header["ask"]}, b"ecluse_x 1.0\n"

    async def main():
        listener = await listen(directory / "intake.sock", answer)
        try:
            await serve(
                enforcer=directory / "intake.sock",
                stop=stop,
                sockets=[sock],
                limits=limits,
                metrics=metrics,
                web=web,
                metrics_sockets=watched,
                metrics_web=metrics_web,
            )
        finally:
            await listener.close()

    def run():
        try:
            loop.run_until_complete(main())
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    from agent.metrics import exposition

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Face(ports, lambda: exposition(metrics.registry).decode())
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
        assert not thread.is_alive()
        if failed:
            raise failed[0]


def written(path, text):
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)
    return path


TLS = "tls_server_config:\n  cert_file: gateway.pem\n  key_file: gateway.key\n"
MUTUAL = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: clients.pem\n"


@pytest.fixture
def ca(tmp_path):
    authority = signed(tmp_path, "ca")
    signed(tmp_path, "gateway", by=authority)
    return authority


def trusting(ca, client=None):
    context = ssl.create_default_context(cafile=ca.cert_file)
    if client is not None:
        context.load_cert_chain(client.cert_file, client.key_file)
    return context


@contextlib.contextmanager
def encrypted(face, ca):
    """An open connection on which nothing was said yet."""
    raw = socket.create_connection(("127.0.0.1", face.port), timeout=10)
    with contextlib.closing(raw), trusting(ca).wrap_socket(raw, server_hostname="localhost") as sock:
        yield sock


def refused(face, context):
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        face.get(context=context)


# --- certificates of the gateway ----------------------------------------------------------------------------------


def test_webhooks_come_in_over_tls_and_nothing_comes_in_without(tmp_path, ca):
    with running(tmp_path, web=written(tmp_path / "web.yml", TLS)) as face:
        assert face.get(context=trusting(ca))[0] == 200
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            face.get()
        refused(face, ssl.create_default_context())
        assert face.get(context=trusting(ca))[0] == 200
        assert face.figure("ecluse_serve_refused_total", why="handshake") >= 1


def test_nothing_older_than_tls_1_2_is_spoken_and_1_3_alone_if_asked(tmp_path, ca):
    old = trusting(ca)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    twelve, thirteen = trusting(ca), trusting(ca)
    twelve.maximum_version = ssl.TLSVersion.TLSv1_2
    thirteen.minimum_version = ssl.TLSVersion.TLSv1_3
    with running(tmp_path, web=written(tmp_path / "web.yml", TLS)) as face:
        refused(face, old)
        assert face.get(context=twelve)[0] == 200
        assert face.get(context=thirteen)[0] == 200
    with running(tmp_path, web=written(tmp_path / "web.yml", TLS + "  min_version: TLS13\n")) as face:
        refused(face, twelve)
        assert face.get(context=thirteen)[0] == 200


def test_a_new_certificate_is_used_without_a_restart_and_open_connections_go_on(tmp_path, ca):
    with running(tmp_path, web=written(tmp_path / "web.yml", TLS), limits=Limits(keep_alive_seconds=60)) as face:
        conn = http.client.HTTPSConnection("localhost", face.port, timeout=10, context=trusting(ca))
        with contextlib.closing(conn):
            assert face.get(conn=conn)[0] == 200
            open_socket, first = conn.sock, conn.sock.getpeercert()["serialNumber"]
            renewed = signed(tmp_path, "gateway", by=ca, days=90)
            with encrypted(face, ca) as fresh:
                second = fresh.getpeercert()["serialNumber"]
            assert int(second, 16) == renewed.certificate.serial_number
            assert first != second
            assert face.get(conn=conn)[0] == 200
            assert conn.sock is open_socket, "the connection that was open is the same"
        assert face.get("/metrics", context=trusting(ca))[0] == 200
        expires = face.figure("ecluse_serve_certificate_expiry_timestamp_seconds", listener="webhooks")
        assert expires == int(renewed.certificate.not_valid_after_utc.timestamp())


@pytest.mark.parametrize("damage", ["no key", "another key", "no certificate", "no yaml", "tls gone"])
def test_files_that_can_not_be_used_leave_the_former_ones_in_use_until_they_are_mended(tmp_path, ca, damage):
    web = written(tmp_path / "web.yml", TLS)
    with running(tmp_path, web=web) as face:
        assert face.get(context=trusting(ca))[0] == 200
        kept = {name: (tmp_path / name).read_text() for name in ("gateway.pem", "gateway.key", "web.yml")}
        match damage:
            case "no key":
                (tmp_path / "gateway.key").unlink()
            case "another key":
                written(tmp_path / "gateway.key", (tmp_path / "ca.key").read_text())
            case "no certificate":
                written(tmp_path / "gateway.pem", "nothing of the kind\n")
            case "no yaml":
                written(web, "tls_server_config: [\n")
            case _:
                written(web, "basic_auth_users: {}\n")
        assert face.get("/metrics", context=trusting(ca))[0] == 200
        assert face.figure("ecluse_serve_tls_files_valid", listener="webhooks") == 0
        for name, text in kept.items():
            written(tmp_path / name, text)
        assert face.get("/metrics", context=trusting(ca))[0] == 200
        assert face.figure("ecluse_serve_tls_files_valid", listener="webhooks") == 1


def test_a_role_with_unusable_files_does_not_start_and_says_which(tmp_path, ca):
    (tmp_path / "gateway.key").unlink()
    with pytest.raises(ConfigError, match=r"gateway\.key"), running(tmp_path, web=written(tmp_path / "web.yml", TLS)):
        pass


def test_a_handshake_that_never_ends_is_ended_and_counted_against_its_address(tmp_path, ca):
    limits = Limits(handshake_seconds=0.5, max_per_address=3)
    with running(tmp_path, web=written(tmp_path / "web.yml", TLS), limits=limits) as face, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", face.port), timeout=10)) for _ in range(3)]
        silent[0].sendall(b"\x16\x03\x01")  # the beginning of a hello
        refused(face, trusting(ca))
        assert face.figure("ecluse_serve_refused_total", why="busy") == 1
        for each in silent:
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1) == b""
        deadline = time.monotonic() + 10
        while face.figure("ecluse_serve_refused_total", why="handshake") < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert face.get(context=trusting(ca))[0] == 200


def test_a_request_that_trickles_in_over_tls_is_ended_as_over_plain_http(tmp_path, ca):
    web = written(tmp_path / "web.yml", TLS)
    with running(tmp_path, web=web, limits=Limits(request_seconds=0.5)) as face, encrypted(face, ca) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert b"408" in slow.recv(200)


# --- certificates of clients --------------------------------------------------------------------------------------


def test_only_clients_of_the_listed_authority_come_in(tmp_path, ca):
    clients, others = signed(tmp_path, "clients"), signed(tmp_path, "others")
    good = signed(tmp_path, "biller", by=clients)
    expired = signed(tmp_path, "expired", by=clients, days=-0.5, ago=3)
    unborn = signed(tmp_path, "unborn", by=clients, ago=-1)
    unknown = signed(tmp_path, "unknown", by=others)
    with running(tmp_path, web=written(tmp_path / "web.yml", MUTUAL)) as face:
        assert face.get(context=trusting(ca, good))[0] == 200
        for wrong in (None, expired, unborn, unknown):
            refused(face, trusting(ca, wrong))
        assert face.get(context=trusting(ca, good))[0] == 200


def test_only_listed_names_come_in_where_names_are_listed(tmp_path, ca):
    clients = signed(tmp_path, "clients")
    biller = signed(tmp_path, "biller", by=clients, names=("biller.example",))
    another = signed(tmp_path, "another", by=clients, names=("another.example",))
    web = written(tmp_path / "web.yml", MUTUAL + "  client_allowed_sans: [biller.example]\n")
    with running(tmp_path, web=web) as face:
        assert face.get(context=trusting(ca, biller))[0] == 200
        refused(face, trusting(ca, another))
        assert face.figure("ecluse_serve_refused_total", why="name") == 1


def test_a_new_authority_of_clients_counts_from_the_next_connection_on(tmp_path, ca):
    former = signed(tmp_path, "biller", by=signed(tmp_path, "clients"))
    with running(tmp_path, web=written(tmp_path / "web.yml", MUTUAL)) as face:
        kept = trusting(ca, former)
        assert face.get(context=kept)[0] == 200
        present = signed(tmp_path, "newer", by=signed(tmp_path, "clients"))
        refused(face, kept)
        assert face.get(context=trusting(ca, present))[0] == 200


# --- metrics ------------------------------------------------------------------------------------------------------


def basic(name, password):
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_metrics_have_a_port_of_their_own_with_tls_and_a_password(tmp_path, ca):
    web = written(tmp_path / "metrics.yml", TLS + f"basic_auth_users:\n  prometheus: {HASH}\n")
    with running(tmp_path, own_metrics=True, metrics_web=web) as face:
        assert face.get("/metrics")[0] == 404, "not on the port that billers reach"
        how = {"context": trusting(ca), "port": face.metrics_port}
        status, told = face.get("/metrics", headers=basic("prometheus", "right"), **how)
        assert (status, b"ecluse_x 1.0" in told, b"ecluse_enforcer_up 1.0" in told) == (200, True, True)
        for wrong in ({}, basic("prometheus", "wrong"), basic("nobody", "nobody"), {"authorization": "Basic %%%"}):
            assert face.get("/metrics", headers=wrong, **how)[0] == 401
            assert face.get("/healthz", headers=wrong, **how)[0] == 401
        assert face.get("/webhooks/x", headers=basic("prometheus", "right"), **how)[0] == 404
        assert face.figure("ecluse_serve_refused_total", why="password") == 8


def test_a_password_that_was_changed_counts_at_once(tmp_path, ca):
    web = written(tmp_path / "metrics.yml", TLS + f"basic_auth_users:\n  prometheus: {HASH}\n")
    with running(tmp_path, own_metrics=True, metrics_web=web) as face:
        how = {"context": trusting(ca), "port": face.metrics_port}
        assert face.get("/metrics", headers=basic("prometheus", "right"), **how)[0] == 200
        other = bcrypt.hashpw(b"other", bcrypt.gensalt(10)).decode()
        written(web, TLS + f"basic_auth_users:\n  prometheus: {other}\n")
        assert face.get("/metrics", headers=basic("prometheus", "other"), **how)[0] == 200
        assert face.get("/metrics", headers=basic("prometheus", "right"), **how)[0] == 401


def test_webhooks_are_answered_while_somebody_guesses_passwords(tmp_path, ca):
    web = written(tmp_path / "metrics.yml", f"basic_auth_users:\n  prometheus: {HASH}\n")
    with running(tmp_path, own_metrics=True, metrics_web=web) as face:
        done = []

        def guess(number):
            done.append(face.get("/metrics", port=face.metrics_port, headers=basic("prometheus", f"guess {number}"))[0])

        guessers = [threading.Thread(target=guess, args=(number,)) for number in range(10)]
        for each in guessers:
            each.start()
        answered = 0
        while any(each.is_alive() for each in guessers):
            assert face.get()[0] == 200
            answered += 1
        assert done == [401] * 10
        assert answered >= 10


# --- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tls_server_config: {cert_file: a}", "key_file is missing"),
        (TLS + "  client_auth_type: RequestClientCert\n", "protects nothing"),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert\n", "client_ca_file is missing"),
        (TLS + "  client_ca_file: clients.pem\n", "without client_auth_type"),
        (TLS + "  client_allowed_sans: [x]\n", "no certificate is required"),
        (TLS + "  min_version: TLS10\n", "TLS10"),
        (TLS + "  cipher_suites: [X]\n", "unknown key"),
        ("basic_auth_users: {me: secret}\n", "not a bcrypt hash"),
        ("basic_auth_users: {me: " + HASH.replace("$10$", "$04$") + "}\n", "not a bcrypt hash"),
        ("http_server_config: {http2: true}\n", "unknown key"),
    ],
)
def test_what_is_wrong_in_a_web_configuration_is_said_with_its_line(tmp_path, text, said):
    with pytest.raises(ConfigError) as caught:
        load_web(written(tmp_path / "web.yml", text))
    assert said in str(caught.value)
    assert "web.yml:" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_end_of_a_certificate_is_read_as_the_reference_reads_it(tmp_path, ca):
    for days in (1, 400, 9000, 20000):  # two forms of time, before and after 2050
        found = signed(tmp_path, "x", by=ca, days=days)
        der = ssl.PEM_cert_to_DER_cert(found.cert_file.read_text())
        assert not_after(der) == int(found.certificate.not_valid_after_utc.timestamp())
    for broken in (b"", b"0", b"\x30\x03\x02\x01\x00", b"\xff" * 50):
        with pytest.raises(ValueError, match="certificate"):
            not_after(broken)

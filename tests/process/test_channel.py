"""The UNIX sockets between the roles, over real sockets: framing, caps, deadlines, who may ask, who owns the file."""

import asyncio
import json
import os
import socket
import stat
import struct
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.channel import MAX_HEADER, Peer, ask, ask_async, listen
from agent.errors import ChannelError, Refused


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


async def echo(peer, header, body):
    return {"got": header, "pid": peer.pid, "uid": peer.uid}, body[::-1]


@asynccontextmanager
async def answering(path, handler=echo, **options):
    listener = await listen(path, handler, **options)
    try:
        yield listener
    finally:
        await listener.close(grace=0.5)


def in_thread(call, *args, **options):
    return asyncio.get_running_loop().run_in_executor(None, lambda: call(*args, **options))


def frame(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("!II", len(text), len(body)) + text + body


def test_a_question_and_its_answer_carry_header_and_raw_bytes_both_ways(path):
    async def scenario():
        async with answering(path):
            body = bytes(range(256)) * 300
            first = await ask_async(path, {"ask": "x", "n": 1}, body, timeout=5)
            second = await in_thread(ask, path, {"ask": "x", "n": 1}, body, timeout=5)
            return body, first, second

    body, first, second = asyncio.run(scenario())
    assert first == second == ({"got": {"ask": "x", "n": 1}, "pid": os.getpid(), "uid": os.getuid()}, body[::-1])


def test_waiting_questions_are_answered_together(path):
    """Many webhooks can share one commit: none waits for the answer of another."""

    async def scenario():
        gate = asyncio.Event()
        waiting = 0

        async def handler(peer, header, body):
            nonlocal waiting
            waiting += 1
            if waiting == 200:
                gate.set()
            await gate.wait()
            return {"n": header["n"]}, b""

        async with answering(path, handler):
            answers = await asyncio.gather(*(ask_async(path, {"n": n}, timeout=10) for n in range(200)))
        return [header["n"] for header, _ in answers]

    assert asyncio.run(scenario()) == list(range(200))


def test_one_connection_can_ask_several_times(path):
    async def scenario():
        async with answering(path):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                sizes = []
                for n in range(3):
                    writer.write(frame({"n": n}, b"a" * n))
                    header_size, body_size = struct.unpack("!II", await reader.readexactly(8))
                    await reader.readexactly(header_size)
                    sizes.append(len(await reader.readexactly(body_size)))
                return sizes
            finally:
                writer.close()

    assert asyncio.run(scenario()) == [0, 1, 2]


def test_nobody_there_is_said_with_what_to_start(path):
    with pytest.raises(ChannelError, match="nobody answers; is `ecluse enforce` running"):
        ask(path, {}, timeout=1)
    with pytest.raises(ChannelError, match="nobody answers"):
        asyncio.run(ask_async(path, {}, timeout=1))


def test_a_slow_answer_ends_at_the_askers_deadline(path):
    async def scenario():
        async def handler(peer, header, body):
            await asyncio.sleep(30)
            return {}, b""

        async with answering(path, handler):
            started = time.monotonic()
            with pytest.raises(ChannelError, match=r"no answer within 0\.2 s"):
                await ask_async(path, {}, timeout=0.2)
            with pytest.raises(ChannelError, match=r"no answer within 0\.2 s"):
                await in_thread(ask, path, {}, timeout=0.2)
            return time.monotonic() - started

    assert asyncio.run(scenario()) < 3


def test_a_byte_by_byte_caller_is_hung_up_on_at_the_deadline(path):
    async def scenario():
        async with answering(path, deadline=0.3):
            reader, writer = await asyncio.open_unix_connection(path)
            started = time.monotonic()

            async def drip():
                for byte in frame({"ask": "x" * 200}):
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.02)

            dripping = asyncio.create_task(drip())
            assert await reader.read() == b""
            took = time.monotonic() - started
            dripping.cancel()
            writer.close()
            return took

    assert 0.25 < asyncio.run(scenario()) < 2


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (frame({}, b"x" * 2000), "a frame of"),
        (struct.pack("!II", MAX_HEADER + 1, 0), "a frame of"),
        (struct.pack("!II", 2**32 - 1, 2**32 - 1), "a frame of"),
        (frame(b"[1]"), "not a JSON object"),
        (frame(b"{"), "not JSON"),
        (frame(b"[" * 60000), "not JSON"),
        (frame(b"\xff\xfe"), "not JSON"),
    ],
)
def test_a_frame_that_breaks_the_rules_is_told_so_and_hung_up_on(path, sent, why):
    async def scenario():
        async with answering(path, max_body=1000, deadline=2):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(sent)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return json.loads(answer[8:])

    assert why in asyncio.run(scenario())["error"]


def test_a_body_over_the_cap_is_an_error_the_asker_can_read(path):
    async def scenario():
        async with answering(path, max_body=1000):
            for call in (ask_async(path, {}, b"x" * 3_000_000, timeout=5), in_thread(ask, path, {}, b"x" * 3_000_000, timeout=5)):
                with pytest.raises(ChannelError, match="over the"):
                    await call

    asyncio.run(scenario())


def test_a_handler_that_fails_answers_a_failure_and_the_next_question_works(path, caplog):
    async def scenario():
        async def handler(peer, header, body):
            if header.get("bad"):
                raise RuntimeError("boom")
            return {"ok": True}, b""

        async with answering(path, handler):
            with pytest.raises(ChannelError, match="could not be answered"):
                await ask_async(path, {"bad": True}, timeout=5)
            return await ask_async(path, {}, timeout=5)

    assert asyncio.run(scenario()) == ({"ok": True}, b"")
    assert "boom" in caplog.text


def test_a_caller_that_is_not_admitted_is_refused_by_name_of_its_user(path):
    async def scenario():
        seen = []

        def nobody(peer):
            seen.append(peer)
            return False

        async with answering(path, allow=nobody):
            with pytest.raises(Refused, match=f"user {os.getuid()} may not ask"):
                await ask_async(path, {}, timeout=5)
        return seen

    (peer,) = asyncio.run(scenario())
    assert peer == Peer(pid=os.getpid(), uid=os.getuid(), gid=os.getgid(), groups=tuple(os.getgroups()))


def test_a_user_whom_the_file_mode_shuts_out_is_refused(path, tmp_path):
    if os.getuid() != 0:
        pytest.fail("this test changes user and needs root; run it with `make test`")
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)

    async def scenario():
        async with answering(path, mode=0o660):
            return await asyncio.to_thread(as_nobody, path)

    assert "you may not speak to this socket" in asyncio.run(scenario())


def as_nobody(path):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            ask(path, {}, timeout=2)
        except Refused as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as said:
        return said.read()


def test_the_file_has_the_mode_and_group_asked_for_and_is_gone_after_close(path):
    async def scenario():
        async with answering(path, mode=0o620, group=os.getgid()):
            found = path.stat()
            return stat.S_IMODE(found.st_mode), found.st_gid

    assert asyncio.run(scenario()) == (0o620, os.getgid())
    assert list(path.parent.iterdir()) == []


def test_a_socket_left_behind_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def scenario():
        async with answering(path):
            return await ask_async(path, {}, timeout=5)

    assert asyncio.run(scenario())[0]["got"] == {}


def test_a_socket_somebody_answers_on_is_not_taken_over(path):
    async def scenario():
        async with answering(path):
            with pytest.raises(ChannelError, match="another process answers here"):
                await listen(path, echo)
            return await ask_async(path, {}, timeout=5)

    assert asyncio.run(scenario())[0]["got"] == {}


def test_something_else_in_the_way_is_left_alone(path):
    path.write_text("precious")
    with pytest.raises(ChannelError, match="not a socket is in the way"):
        asyncio.run(listen(path, echo))
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda base: (base / ("x" * 120), {}), "too long for a socket"),
        (lambda base: (base / "missing" / "s", {}), "check that the directory exists"),
        (lambda base: (base / "s", {"group": "no-such-group"}), "there is no group"),
    ],
)
def test_a_path_that_can_not_be_used_is_a_clear_error(tmp_path, make, why):
    path, options = make(tmp_path)
    with pytest.raises(ChannelError, match=why):
        asyncio.run(listen(path, echo, **options))
    assert list(tmp_path.iterdir()) == []


def test_a_passed_socket_is_answered_and_its_file_left_alone(path):
    """Socket activation: the file belongs to the service manager."""
    passed = socket.socket(socket.AF_UNIX)
    passed.bind(str(path))
    passed.listen(5)

    async def scenario():
        async with answering(None, sock=passed):
            return await ask_async(path, {}, timeout=5)

    assert asyncio.run(scenario())[0]["got"] == {}
    assert path.exists()


def test_a_full_backlog_is_waited_for(path):
    """A burst of webhooks beyond the listen queue waits for its turn instead of failing."""
    full = socket.socket(socket.AF_UNIX)
    full.bind(str(path))
    full.listen(0)
    first = socket.socket(socket.AF_UNIX)
    first.connect(str(path))

    def serve_late():
        time.sleep(0.2)
        full.accept()[0].close()
        conn = full.accept()[0]
        conn.recv(100)
        conn.sendall(frame({"late": True}))
        conn.close()

    late = threading.Thread(target=serve_late)
    late.start()
    try:
        assert asyncio.run(ask_async(path, {}, timeout=5)) == ({"late": True}, b"")
    finally:
        late.join(5)
        first.close()
        full.close()


def test_close_lets_questions_under_way_finish(path):
    async def scenario():
        async def handler(peer, header, body):
            await asyncio.sleep(0.2)
            return {"done": True}, b""

        listener = await listen(path, handler)
        asking = asyncio.create_task(ask_async(path, {}, timeout=5))
        await asyncio.sleep(0.05)
        await listener.close(grace=2)
        return await asking

    assert asyncio.run(scenario()) == ({"done": True}, b"")
    assert not Path(path).exists()

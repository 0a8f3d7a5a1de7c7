"""What systemd hears from us, over real sockets."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import systemd


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@ecluse-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listener.settimeout(2)
        yield listener, {"NOTIFY_SOCKET": name}


def test_each_state_is_told_in_systemd_s_words(manager: tuple[socket.socket, dict[str, str]]) -> None:
    listener, environment = manager
    assert systemd.ready(environment=environment)
    assert listener.recv(4096) == b"READY=1"
    assert systemd.ready("3 companies suspended", environment)
    assert listener.recv(4096) == b"READY=1\nSTATUS=3 companies suspended"
    assert systemd.status("été", environment)
    assert listener.recv(4096) == "STATUS=été".encode()
    assert systemd.alive(environment)
    assert listener.recv(4096) == b"WATCHDOG=1"
    assert systemd.stopping(environment)
    assert listener.recv(4096) == b"STOPPING=1"


def test_a_reload_carries_the_monotonic_time_of_its_beginning(manager: tuple[socket.socket, dict[str, str]]) -> None:
    listener, environment = manager
    before = time.monotonic_ns() // 1000
    assert systemd.reloading(environment)
    first, second = listener.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_a_status_can_not_state_something_else(manager: tuple[socket.socket, dict[str, str]]) -> None:
    listener, environment = manager
    systemd.status("calm\nREADY=1\r\nERRNO=5", environment)
    assert listener.recv(4096) == b"STATUS=calm READY=1 ERRNO=5"


@pytest.mark.parametrize(
    "environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "/nowhere/at/all"}]
)
def test_without_systemd_nothing_happens_and_nothing_fails(environment: dict[str, str]) -> None:
    assert not systemd.ready(environment=environment)


def test_a_manager_that_does_not_read_never_blocks_us(manager: tuple[socket.socket, dict[str, str]]) -> None:
    _, environment = manager
    told = [systemd.status("x" * 1000, environment) for _ in range(2000)]
    assert told[0]
    assert not told[-1]


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_interval_is_ours_only_when_it_is_meant_for_us(environment: dict[str, str], seconds: float | None) -> None:
    assert systemd.watchdog_seconds(environment) == seconds


CHILD = """
import os, sys
from agent import systemd
environment = {"LISTEN_PID": str(os.getpid()), **dict(pair.split("=") for pair in sys.argv[1:])}
for name, each in systemd.listening(environment):
    print(name, each.family.name, each.getsockname(), os.get_inheritable(each.fileno()))
"""


def listening(*sockets: socket.socket, **environment: str) -> list[str]:
    """Descriptors 3, 4, ... as systemd hands them to a service."""
    pairs = [f"{name}={value}" for name, value in environment.items()]
    # Moved out of the way first, since 3 may be one of them.
    high = [os.dup2(each.fileno(), 50 + index) for index, each in enumerate(sockets)]
    moves = " ".join(f"{3 + index}<&{fd}" for index, fd in enumerate(high))
    command = ["bash", "-c", f'exec {moves}; exec "$@"', "bash", sys.executable, "-c", CHILD, *pairs]
    try:
        done = subprocess.run(command, pass_fds=high, capture_output=True, text=True, timeout=20, check=True)
    finally:
        for fd in high:
            os.close(fd)
    return done.stdout.splitlines()


def test_sockets_of_systemd_are_taken_over_by_name_and_not_inherited_further() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [each.getsockname()[1] for each in (one, two)]
        assert listening(one, two, LISTEN_FDS="2", LISTEN_FDNAMES="web:metrics") == [
            f"web AF_INET ('127.0.0.1', {ports[0]}) False",
            f"metrics AF_INET ('127.0.0.1', {ports[1]}) False",
        ]
        assert listening(one, LISTEN_FDS="1") == [f" AF_INET ('127.0.0.1', {ports[0]}) False"]


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())}],
)
def test_sockets_that_are_not_meant_for_us_are_left_alone(environment: dict[str, str]) -> None:
    assert systemd.listening(environment) == ()

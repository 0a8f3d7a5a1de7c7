"""Floor 2. What systemd and a service say to each other: readiness, watchdog, listening sockets.

1. The protocol is a few lines on a datagram socket, so it is spoken here and needs no package.
2. Without systemd (a laptop, a test) every function does nothing and says so by its result.
3. The watchdog is fed from the reconcile loop, never from a timer of its own: a stuck loop must be seen.
"""

import os
import socket
import time
from collections.abc import Mapping

_FIRST_FD = 3


def notify(lines: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd; for example `{"READY": "1", "STATUS": "3 companies suspended"}`.

    Line ends inside a value become spaces: a status must not be able to state something else.

    Returns:
        Whether it was handed over. False without systemd, and when the socket is gone or full: a service never fails
        because nobody listens.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    text = "\n".join(f"{name}={' '.join(value.splitlines())}" for name, value in lines.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as channel:
            # A leading @ stands for the zero byte of an abstract socket.
            channel.sendto(text.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        return False
    return True


def ready(status: str = "", environment: Mapping[str, str] = os.environ) -> bool:
    """The service works (after the first good cycle), or works again after a reload."""
    return notify({"READY": "1", **({"STATUS": status} if status else {})}, environment)


def reloading(environment: Mapping[str, str] = os.environ) -> bool:
    """A reload begins; `ready` ends it. The monotonic time is what `Type=notify-reload` waits for."""
    return notify({"RELOADING": "1", "MONOTONIC_USEC": str(time.monotonic_ns() // 1000)}, environment)


def stopping(environment: Mapping[str, str] = os.environ) -> bool:
    """The service is going down on purpose."""
    return notify({"STOPPING": "1"}, environment)


def status(text: str, environment: Mapping[str, str] = os.environ) -> bool:
    """One sentence for `systemctl status`."""
    return notify({"STATUS": text}, environment)


def alive(environment: Mapping[str, str] = os.environ) -> bool:
    """Feed the watchdog."""
    return notify({"WATCHDOG": "1"}, environment)


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How long systemd waits for `alive` before it ends us; call twice as often. None when nobody watches."""
    try:
        interval = int(environment.get("WATCHDOG_USEC", "0"))
        meant = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return interval / 1_000_000 if interval > 0 and meant == os.getpid() else None


def listening(environment: Mapping[str, str] = os.environ) -> tuple[tuple[str, socket.socket], ...]:
    """The sockets systemd opened for us, each with its `FileDescriptorName=` ("" if it has none).

    They are closed for child processes. Call once: each call makes new socket objects of the same descriptors.

    Raises:
        OSError: a descriptor that was promised is not there or is no socket.
    """
    try:
        count = int(environment.get("LISTEN_FDS", "0"))
        meant = int(environment.get("LISTEN_PID", "0"))
    except ValueError:
        return ()
    if meant != os.getpid():
        return ()
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for index in range(count):
        descriptor = _FIRST_FD + index
        os.set_inheritable(descriptor, False)
        found.append((names[index] if index < len(names) else "", socket.socket(fileno=descriptor)))
    return tuple(found)

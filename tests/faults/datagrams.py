"""A flow of numbered datagrams to an echo port: every one of them is missed that does not come back."""

import select
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from agent.lab import Space


class Datagrams:
    """Sends one datagram every `pause` seconds from its beginning to `settle`, and keeps the numbers that came back."""

    def __init__(self, space: Space, address: str, port: int, *, pause: float = 0.001) -> None:
        with space.inside():
            self._sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._sock.connect((address, port))
        self._sock.setblocking(False)
        self._pause = pause
        self.sent, self.back, self.refused = 0, set[int](), 0
        self._sending, self._reading = True, True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        following = time.monotonic()
        while self._reading:
            if self._sending and time.monotonic() >= following:
                following += self._pause
                try:
                    self._sock.send(self.sent.to_bytes(8, "big"))
                    self.sent += 1
                except BlockingIOError:
                    continue
                except OSError:  # the refusal of an earlier one
                    self.refused += 1
            if select.select([self._sock], [], [], self._pause / 2)[0]:
                with suppress(BlockingIOError):
                    try:
                        self.back.add(int.from_bytes(self._sock.recv(64), "big"))
                    except ConnectionRefusedError:
                        self.refused += 1

    def settle(self, timeout: float = 5.0) -> list[int]:
        """Stop sending, wait for the last echo. Returns the numbers of the lost ones; fails if hardly any was sent."""
        self._sending = False
        deadline = time.monotonic() + timeout
        while len(self.back) < self.sent and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.sent > 10
        return [number for number in range(self.sent) if number not in self.back]

    def close(self) -> None:
        """End the thread and the socket."""
        self._reading = False
        self._thread.join()
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

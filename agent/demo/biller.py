"""Floor 4, demo. The billing systems: what they say, signed as they sign, sent over the wire to the gateway's real door.

Rules of this room:

1. A webhook leaves the biller's node as an HTTP request and comes in like any other: size, signature, freshness, commit.
2. The signed time is the story's: a gateway with another clock would refuse it.
3. Two systems speak: one of our own vocabulary (Standard Webhooks), and Stripe, whose invoices and payments are ZB's.
"""

import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.billing import standard
from agent.demo.control import NATIVE, STRIPE, Running
from agent.demo.network import DOOR, DOOR_PORT
from agent.event import instant
from agent.lab import Space

#: What a formal notice says will be kept on.
KEPT_ON = ("backup", "dns", "licence", "ntp", "portal", "sip")

#: What a formal notice states, besides services and dates.
STATES = ("sums", "deadline", "consequences", "kept", "how_to_pay", "how_to_dispute", "contact", "restore")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """One webhook and its answer: HTTP status, the gateway's sentence, readings of the monotonic clock before and after."""

    status: int
    message: str
    begun: float
    answered: float

    @property
    def ms(self) -> float:
        """Milliseconds from the first byte sent to the answer."""
        return (self.answered - self.begun) * 1000


class Biller:
    """Sends webhooks from its node. One connection is kept for all; it is opened anew when the gateway closed it."""

    def __init__(self, space: Space, gateway: Running) -> None:
        self._space = space
        self._gateway = gateway
        self._connection: http.client.HTTPConnection | None = None
        self._number = 0

    def ready(self, timeout: float = 30.0) -> None:
        """Wait until the gateway says that it is ready.

        Raises:
            DemoFailed: it did not in time.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self._gateway.alive:
            with suppress(OSError, http.client.HTTPException):
                if self._request("GET", "/readyz", b"", {})[0] == 200:
                    return
            self.close()
            time.sleep(0.05)
        raise self._gateway.broken()

    def say(self, type_: str, customer: str | None, data: Mapping[str, Any], *, at: datetime | None = None) -> Sent:
        """State one fact in our own vocabulary, `at` (now) in the story.

        Raises:
            DemoFailed: the gateway is gone.
        """
        fact = {"type": type_, "occurred_at": instant(at or self._gateway.now()), "data": data}
        body = json.dumps(fact | ({"customer": customer} if customer else {})).encode()
        self._number += 1
        message, now = f"msg_{self._number}", int(self._gateway.now().timestamp())
        signature = standard.sign(self._gateway.home.native_secret, message=message, timestamp=now, body=body)
        headers = {"webhook-id": message, "webhook-timestamp": str(now), "webhook-signature": signature}
        return self._post(NATIVE, body, headers)

    def stripe(self, type_: str, invoice: Mapping[str, Any]) -> Sent:
        """Send one event of Stripe about an invoice, signed as Stripe does.

        Raises:
            DemoFailed: the gateway is gone.
        """
        self._number += 1
        now = int(self._gateway.now().timestamp())
        event = {"id": f"evt_{self._number}", "object": "event", "type": type_, "livemode": True, "created": now}
        body = json.dumps(event | {"data": {"object": invoice}}).encode()
        mac = hmac.new(self._gateway.home.stripe_secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        return self._post(STRIPE, body, {"stripe-signature": f"t={now},v1={mac}"})

    def heartbeat(self) -> Sent:
        """Say that the clock is right, the register of insolvencies was looked at, the feed is alive and complete."""
        self.say("clock.checked", None, {"synchronised": True, "offset_ms": 2})
        self.say("insolvency.checked", None, {"register": "BODACC"})
        return self.say("heartbeat", None, {})

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, source: str, body: bytes, headers: Mapping[str, str]) -> Sent:
        begun = time.monotonic()
        try:
            status, answer = self._request("POST", f"/webhooks/{source}", body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise self._gateway.broken(f"{type(error).__name__}: {error}") from None
        answered = time.monotonic()
        return Sent(status=status, message=str(json.loads(answer).get("message", "")), begun=begun, answered=answered)

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """One request; where the kept connection turns out to be closed, once more on a fresh one."""
        fresh = self._connection is None
        try:
            connection = self._open()
            connection.request(method, path, body, {"content-type": "application/json", **headers})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            if fresh:
                raise
            return self._request(method, path, body, headers)

    def _open(self) -> http.client.HTTPConnection:
        if self._connection is None:
            connection = http.client.HTTPConnection(DOOR, DOOR_PORT, timeout=10)
            with self._space.inside():
                connection.connect()
            self._connection = connection
        return self._connection


def invoice(number: str, *, due_on: str, amounts: Mapping[str, str]) -> dict[str, Any]:
    """The data of `invoice.issued`: one line for each service, with the proof of its delivery."""
    lines = [
        {"service": service, "amount": amount, "delivered_ref": f"PV-{number}-{service}"} for service, amount in amounts.items()
    ]
    total = sum(int(amount) for amount in amounts.values())
    return {"invoice": number, "due_on": due_on, "amount": str(total), "currency": "EUR", "lines": lines}


def stripe_invoice(
    number: str, *, customer: str, made: datetime, due: datetime, cents: Mapping[str, int], paid_at: datetime | None = None
) -> dict[str, Any]:
    """An invoice as Stripe's API shows it, open or paid; each line names our service in its metadata."""
    total = sum(cents.values())
    rows = [
        {"amount": amount, "metadata": {"ecluse_service": service, "ecluse_delivered_ref": f"PV-{number}-{service}"}}
        for service, amount in cents.items()
    ]
    return {
        "id": number,
        "object": "invoice",
        "customer": customer,
        "status": "open" if paid_at is None else "paid",
        "currency": "eur",
        "created": int(made.timestamp()),
        "due_date": int(due.timestamp()),
        "amount_due": total,
        "amount_remaining": total if paid_at is None else 0,
        "status_transitions": {"paid_at": None if paid_at is None else int(paid_at.timestamp())},
        "lines": {"object": "list", "data": rows},
    }


def notice(number: str, *, invoices: Sequence[str], reminders: Sequence[str], services: Sequence[str]) -> dict[str, Any]:
    """The data of `notice.dispatched`: a registered letter that announces the suspension from Friday 27 March 2026."""
    return {
        "notice": number,
        "channel": "lrar",
        "invoices": list(invoices),
        "reminders": list(reminders),
        "announces": {"services": list(services), "earliest_on": "2026-03-27", "stage": 3, "kept": list(KEPT_ON)},
        "states": list(STATES),
        "cure_days": 15,
    }

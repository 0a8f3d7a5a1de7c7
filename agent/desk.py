"""Floor 3. The desk where facts come in: requests that wait together are verified one by one and share one commit.

Rules of this room:

1. Nothing is answered before it is committed, and everything is answered before the kernel is touched.
2. If the ledger can not take facts, the sender hears so and sends them again; those that help a customer count all the same, from
   memory, until it can.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent import alarm, intake
from agent.billing import Source
from agent.case import favourable
from agent.errors import EventError, LedgerCorrupt, LedgerUnwritable
from agent.event import HOST, Event
from agent.gateway import Gateway
from agent.reconcile import Queue

_TRY_AGAIN = "the ledger can not be written now; please try again"


@dataclass(kw_only=True)
class Desk:
    """Takes facts for `gateway`; who is concerned is put into `queue`, and `wake` is set."""

    gateway: Gateway
    queue: Queue
    wake: asyncio.Event
    _waiting: list[tuple[intake.Outcome, "asyncio.Future[tuple[int, str]]"]] = field(default_factory=list)

    async def webhook(
        self, header: Mapping[str, Any], body: bytes, sources: Mapping[str, Source], resolve: intake.Resolve
    ) -> tuple[int, str]:
        """Verify, parse, commit; returns the HTTP status and one sentence.

        Args:
            header: what the listening side says of the request: the source's name and the HTTP headers.
            body: the raw bytes, which the signature covers.
            sources: the billing systems that may speak.
            resolve: the company that a source calls by some id.
        """
        now = self.gateway.now()
        begun = time.monotonic()
        source = str(header.get("source", ""))
        raw = header.get("headers", {})
        headers = {str(name): str(value) for name, value in raw.items()} if isinstance(raw, dict) else {}
        outcome = intake.read(
            intake.RawRequest(source=source, headers=headers, body=body, received_at=now),
            sources,
            resolve,
            now,
        )
        if outcome.signed_at is not None:
            self.gateway.metrics.clock_skew(source, (now - outcome.signed_at).total_seconds())
        if not outcome.events:
            self.gateway.metrics.webhook(source, outcome.kind)
            return outcome.status, outcome.message
        for event in outcome.events:
            if favourable(event.type):
                self.gateway.arrived.setdefault(event.subject, (begun, event.occurred_at))
        answer: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._commit)
        self._waiting.append((outcome, answer))
        self.gateway.metrics.inbox(len(self._waiting))
        status, message = await answer
        self.gateway.metrics.webhook(source, outcome.kind if status == outcome.status else "unwritable")
        return status, message

    def _commit(self) -> None:
        """Everything that waits, in one transaction; if it fails, one by one what can be told apart."""
        waiting, self._waiting = self._waiting, []
        self.gateway.metrics.inbox(0)
        try:
            self.take(tuple(event for outcome, _ in waiting for event in outcome.events))
        except EventError:
            for outcome, answer in waiting:
                self._commit_one(outcome, answer)
        except (LedgerUnwritable, LedgerCorrupt):
            for _, answer in waiting:
                _tell(answer, 503, _TRY_AGAIN)
        else:
            for outcome, answer in waiting:
                _tell(answer, outcome.status, outcome.message)
        self.wake.set()

    def _commit_one(self, outcome: intake.Outcome, answer: "asyncio.Future[tuple[int, str]]") -> None:
        status, message = outcome.status, outcome.message
        try:
            self.take(outcome.events)
        except EventError as error:
            status, message = 400, str(error)
        except (LedgerUnwritable, LedgerCorrupt):
            status, message = 503, _TRY_AGAIN
        _tell(answer, status, message)

    def take(self, events: tuple[Event, ...]) -> tuple[bool, ...]:
        """Commit facts and have the companies they are about looked at.

        Raises:
            LedgerUnwritable, LedgerCorrupt: nothing was kept, but facts that help a customer count all the same until they can be.
        """
        try:
            alarms = alarm.alarms(self.gateway, events)
            new = self.gateway.ledger.append((*events, *alarms))[: len(events)]
        except (LedgerUnwritable, LedgerCorrupt) as error:
            self.gateway.ledger_bad(str(error))
            self.gateway.keep_volatile(event for event in events if favourable(event.type) and event.subject != HOST)
            self.wake.set()
            raise
        self.gateway.forget_volatile()
        for event in events:
            self.queue.wake(event.subject)
        self.wake.set()
        return new


def _tell(answer: "asyncio.Future[tuple[int, str]]", status: int, message: str) -> None:
    if not answer.done():  # the other side may have hung up
        answer.set_result((status, message))

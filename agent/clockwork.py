"""Floor 3. Whether the clock may be trusted: looked at in every cycle, told to the gate, recorded when it changes.

Rules of this room:

1. Whether the clock is right the kernel says; or a monitoring system, where `sources.yaml` lets one state `clock.checked`. Jumps
   are always seen here.
2. A jump makes everybody due: nothing that was decided by the other time stands without another look. For an hour after it
   nothing new is suspended and no lease renewed, so that whoever keeps the clock can put it right.
3. The ledger's last fact is older than now, or the clock was set back while nobody looked.
4. Looking is no fact; that the answer changed is one.
"""

import time
from collections.abc import Callable, Mapping

from agent import clock
from agent.billing import Source
from agent.event import HOST, instant
from agent.gateway import Gateway, agent_event, log
from agent.host import ClockState

#: The clock may gain or lose so many seconds between two looks; who keeps it slews by less.
STEP_SECONDS = 2.0

#: So long a jump counts as lately.
LATELY_SECONDS = 3600.0


class Clockwork:
    """Remembers how far the clock was from the time since boot.

    Args:
        read: the state of the clock.
        wall: seconds since 1970 by the clock that decisions are made by.
        boot: seconds since boot.
    """

    def __init__(
        self,
        *,
        read: Callable[[], clock.Reading] = clock.read,
        wall: Callable[[], float] = time.time,
        boot: Callable[[], float] = clock.since_boot,
    ) -> None:
        self._read, self._wall, self._boot = read, wall, boot
        self._ahead: float | None = None
        self._doubt_ends = 0.0

    def look(self, gateway: Gateway, *, stated: bool = False) -> None:
        """Look once, and let the gate know. `stated`: a source is configured to say whether the clock is right."""
        jump, boot = self._jump(gateway), self._boot()
        if abs(jump) > STEP_SECONDS:
            self._doubt_ends = boot + LATELY_SECONDS
            gateway.clock_steps += 1
            gateway.metrics.clock_stepped()
            log.error("the clock jumped by %+.0f s; for an hour nothing new is suspended and no lease renewed", jump)
        reading, now, before = self._read(), gateway.now(), gateway.clock
        said = gateway.host.clock
        if stated and said is not None:
            synchronised, offset_ms, at = said.synchronised, said.offset_ms, said.at
        else:
            synchronised, offset_ms, at = reading.synchronised, reading.offset_ms, now
        stepped = boot < self._doubt_ends
        gateway.clock = ClockState(at=at, synchronised=synchronised, offset_ms=offset_ms, stepped=stepped)
        gateway.metrics.clock(synchronised=synchronised, offset=offset_ms / 1000)
        jumped = stepped != (before is not None and before.stepped)
        turned = not stated and (before is None or before.synchronised != synchronised)
        if jumped or turned:
            log.info("clock: synchronised %s, jumped lately %s (says %s)", synchronised, stepped, reading.said_by)
            body = {"synchronised": synchronised, "offset_ms": offset_ms, "stepped": stepped}
            id_ = f"clock:{instant(now)}"
            gateway.append(agent_event(id_=id_, type_="clock.checked", subject=HOST, now=now, body=body))

    def _jump(self, gateway: Gateway) -> float:
        ahead = self._wall() - self._boot()
        before, self._ahead = self._ahead, ahead
        if before is not None:
            return ahead - before
        seq, _ = gateway.ledger.head()
        last = next((row.event.received_at for row in gateway.ledger.events(after=max(0, seq - 1))), None)
        return 0.0 if last is None else min(0.0, (gateway.now() - last).total_seconds())


def look(clockwork: Clockwork | None, gateway: Gateway, sources: Mapping[str, Source]) -> None:
    """Look once, if somebody looks at all. `sources`: the configured billing systems."""
    if clockwork is not None:
        clockwork.look(gateway, stated=any("clock.checked" in source.events for source in sources.values()))

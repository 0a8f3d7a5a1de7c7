"""Floor 2. Looking at one thing from outside: does it answer, and how long does that take?

Rules of this room:

1. A look never waits longer than it is told to, and no more than so many are under way at once.
2. As little as shows an answer: a connection is closed at once, nothing is logged in to, nothing but a status line is read.
3. What can not be told is said to be so (`unable`), with the reason. It is never taken for an answer, nor for silence.
4. Nothing is sent to anything but the address that is asked for; names are not resolved here.
"""

import asyncio
import os
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from agent.continuity import Sample, Seen
from agent.model import Probe
from agent.probe import datagrams, streams
from agent.probe.outcome import Unable

#: Looks under way at once.
PARALLEL: Final = 64

#: Seconds a look may take: two SYNs fit in, so that one lost packet is not taken for silence.
PATIENCE: Final = 2.5

#: The looks of one question begin within this many seconds of each other, so that a thousand sites are no burst.
SPREAD: Final = 0.5

#: How each kind is looked at. Returns when it answered; else raises.
KINDS: Final[Mapping[str, Callable[[Probe], Awaitable[None]]]] = {
    "tcp": streams.tcp,
    "tls": streams.tls,
    "http": streams.http,
    "udp": datagrams.udp,
    "dns": datagrams.name,
    "icmp": datagrams.icmp,
}


class Looker:
    """Looks at things, so many at once at most. One for the whole role."""

    def __init__(self, *, parallel: int = PARALLEL, patience: float = PATIENCE, spread: float = SPREAD) -> None:
        self._turns = asyncio.Semaphore(parallel)
        self._patience = patience
        self._spread = spread

    async def look(self, probes: Sequence[Probe]) -> tuple[Sample, ...]:
        """Look at each of these once; what is asked for twice is looked at once."""
        distinct = list(dict.fromkeys(probes))
        spread = self._spread if len(distinct) > 1 else 0.0
        seen = await asyncio.gather(*(self._one(probe, spread) for probe in distinct))
        found = dict(zip(distinct, seen, strict=True))
        return tuple(found[probe] for probe in probes)

    async def _one(self, probe: Probe, spread: float) -> Sample:
        if spread:
            await asyncio.sleep(random.uniform(0, spread))  # noqa: S311 - spreads load, guards nothing
        async with self._turns:
            return await look(probe, self._patience)


async def look(probe: Probe, patience: float) -> Sample:
    """Look once.

    Args:
        probe: what to look at.
        patience: seconds until no answer is silence.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        async with asyncio.timeout(patience):
            await KINDS[probe.kind](probe)
    except TimeoutError:
        if probe.kind == "udp":  # silence may be all that this software says to an empty datagram
            return Sample(seen=Seen.UNABLE, why="UDP without an answer")
        return Sample(seen=Seen.SILENT, why=f"no answer within {patience:g} s")
    except Unable as error:
        return Sample(seen=Seen.UNABLE, why=str(error))
    except ssl.SSLError as error:
        return Sample(seen=Seen.SILENT, why=f"no TLS: {error.reason or 'handshake failed'}")
    except OSError as error:
        return Sample(seen=Seen.SILENT, why=os.strerror(error.errno) if error.errno else error.strerror or str(error))
    return Sample(seen=Seen.ANSWERED, ms=(loop.time() - begun) * 1000)

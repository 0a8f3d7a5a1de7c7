"""Floor 3. Ends the connections that a measure refuses and that a flowtable carries past it.

Rules of this room:

1. Only what the ruleset in force would refuse is forgotten by the kernel's connection tracking, one connection at a time; then the
   flow leaves the flowtable within a second, and its next packet meets our chains.
2. Where there is no flowtable, or nothing is tracked, nothing is read.
3. After the measure, never before it: members are in the kernel first. What could not be ended fails no measure; it is said,
   counted and tried again, by every audit at the latest.
4. Decided and forgotten in one go, without a pause between: who is restored meanwhile loses nothing. Then others have their turn.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress

from agent.errors import KernelError
from agent.flows import Connection, Refusing
from agent.gateway import Gateway, log
from agent.inforce import InForceRules
from agent.kernel.conntrack import Conntrack
from agent.kernel.routes import Routes
from agent.kernel.tracking import tracked
from agent.model import Family
from agent.rules import Key

#: Seconds until the next look, after looks that found something: the other end may have brought a flow back by then.
AGAIN = (1.0, 2.0, 4.0, 8.0)

#: So long connections are looked at in one go, and so long is the rest after it, in seconds.
_SLICE_S = 0.002
_REST_S = 0.001


class OpenFlows:
    """See the room's docstring. Made, and used, in the network namespace of the gateway."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        is_tracked: Callable[[], bool] = tracked,
        conntrack: Callable[[], Conntrack] = Conntrack,
        routes: Callable[[], Routes] = Routes,
        again: Sequence[float] = AGAIN,
    ) -> None:
        """Be told of new refusals from now on.

        Args:
            gateway: whose measures count.
            is_tracked: does this gateway track connections?
            conntrack: opens its connections.
            routes: opens its routes.
            again: see `AGAIN`.
        """
        self._gateway, self._tracked = gateway, is_tracked
        self._conntrack, self._routes, self._again = conntrack, routes, again
        self._due = asyncio.Event()
        self._refusing: tuple[InForceRules, Refusing] | None = None
        self._unclear = False
        gateway.refused_anew = self._due.set

    async def run(self) -> None:
        """Look whenever more is refused than before, until cancelled."""
        while True:
            await self._due.wait()
            for pause in self._again:
                self._due.clear()
                if not await self._looked():
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._due.wait()

    async def _looked(self) -> bool:
        """One look; True if there may be more to find."""
        try:
            ended = await self.look()
        except KernelError as error:
            self._gateway.failures["flows"] = f"connections in flowtables are not ended: {error}"
            self._gateway.metrics.flows("failed", 1)
            log.error("%s", self._gateway.failures["flows"])
            return True
        self._gateway.failures.pop("flows", None)
        if ended:
            log.info("%d connections of suspended services were taken out of flowtables", ended)
        return ended > 0

    async def look(self) -> int:
        """Have the kernel forget every connection that is refused. Returns how many.

        Raises:
            KernelError: connections, routes or members could not be read, or a connection not be forgotten.
        """
        with closing(self._conntrack()) as conntrack:
            if not conntrack.flowtables() or not self._tracked():
                return 0
            with closing(self._routes()) as routes:
                link = self._links(routes)
                ended = 0
                with closing(conntrack.connections()) as connections:
                    going = True
                    while going:
                        refused, going = self._slice(connections, link)
                        gone = conntrack.forget(refused) if refused else 0
                        if gone:
                            self._gateway.metrics.flows("ended", gone)
                        ended += gone
                        await asyncio.sleep(_REST_S)
                return ended

    def _links(self, routes: Routes) -> Callable[[bytes], str | None]:
        """Who says which link an address is behind."""
        if not self._of(self._gateway.rules).by_interface or routes.single():
            self._unclear = False
            return routes.link
        if not self._unclear:
            self._unclear = True
            log.warning(
                "flowtables carry connections, and routing rules may lead one address to several links: open connections of "
                "customers who are attached by a link end when they leave the flowtable by themselves"
            )
        return lambda _: None

    def _slice(self, connections: Iterator[Connection], link: Callable[[bytes], str | None]) -> tuple[list[Connection], bool]:
        """What is refused among the next connections, and whether more may follow."""
        rules, kernel = self._gateway.rules, self._gateway.kernel
        refusing = self._of(rules)
        members: dict[Key, bool] = {}
        places: dict[bytes, str | None] = {}

        def has(key: Key) -> bool:
            if key not in members:
                members[key] = key in kernel.observe(rules.structure, (key,)).members
            return members[key]

        def behind(_family: Family, address: bytes) -> str | None:
            if address not in places:
                places[address] = link(address)
            return places[address]

        until = time.monotonic() + _SLICE_S
        refused = []
        for one in connections:
            if refusing.refuses(one, has, behind):
                refused.append(one)
            if time.monotonic() > until:
                return refused, True
        return refused, False

    def _of(self, rules: InForceRules) -> Refusing:
        """What these rules refuse; made once for each."""
        if self._refusing is None or self._refusing[0] is not rules:
            spared = rules.needs.rest.spared if rules.needs.rest else ()
            refusing = Refusing.of(rules.structure, rules.services, spared, rules.needs.kept or ())
            self._refusing = (rules, refusing)
        return self._refusing[1]

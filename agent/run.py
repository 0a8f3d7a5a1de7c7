"""Floor 4. All roles in one process: for a laptop and the demo, where nobody needs to be kept from anybody.

The roles speak over the same UNIX sockets as in production; only the process is one.
"""

import asyncio
import signal

from agent import probing
from agent import serve as listening
from agent.clockwork import Clockwork
from agent.config import Config
from agent.enforce import Clock, enforce, wall_clock
from agent.errors import EcluseError
from agent.gateway import log


async def run(
    config: Config, *, now: Clock = wall_clock, stopping: asyncio.Event | None = None, clockwork: Clockwork | None = None
) -> None:
    """Run until `stopping` is set (or SIGTERM/SIGINT when it is None). If one role ends, so does the other.

    Raises:
        EcluseError: a role can not start; the message says what to mend.
    """
    stop = stopping or asyncio.Event()
    if stopping is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # The port is claimed first: a taken one is told before anything is touched.
    sockets = listening.bind(config.listen_host, config.listen_port)
    metrics = listening.bind(*config.metrics_listen) if config.metrics_listen is not None else []

    async def until_stopped(role: asyncio.Task[None]) -> None:
        await asyncio.wait([role])  # its error is told once, by the role itself
        stop.set()

    async with asyncio.TaskGroup() as roles:
        hand = roles.create_task(enforce(config, now=now, stopping=stop, clockwork=clockwork))
        face = roles.create_task(
            listening.serve(
                enforcer=config.intake_socket,
                stop=stop,
                sockets=sockets,
                web=config.web,
                metrics_sockets=metrics,
                metrics_web=config.metrics_web,
            )
        )
        roles.create_task(until_stopped(hand))
        if config.probe_interval:
            roles.create_task(
                until_stopped(roles.create_task(probing.probing(config.probe_socket, group=config.probe_group, stopping=stop)))
            )
        roles.create_task(until_stopped(face))


def main(config: Config) -> int:
    """Run as a process. Returns the exit code."""
    code = 0
    try:
        asyncio.run(run(config, clockwork=Clockwork()))
    except* EcluseError as group:
        for error in group.exceptions:
            log.critical("%s", error)
        code = 1
    return code

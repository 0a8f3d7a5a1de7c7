"""Floor 4. The composition of the enforcing role: configuration, inventory, ledger, kernel and sockets become one enforcer.

See `enforcer` for what it does. Ready means the first good cycle is over; a signal to stop leaves the rules.
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent import __version__, channel, figures, operate, systemd
from agent.clockwork import Clockwork, look
from agent.config import Config, billing_sources, load_sources
from agent.enforcer import Enforcer
from agent.errors import ConfigError, EcluseError, KernelError, ProofFailed
from agent.gateway import Gateway, Review, log
from agent.inforce import InForceRules
from agent.inventory import compile_in_child, keep_in_force, last_in_force, open_inventory
from agent.kernel.choice import choose, clear_other
from agent.kernel.links import LinkWatch
from agent.kernel.tracking import tracked
from agent.ledger.sqlite import Ledger
from agent.lookout import LocalLookout, Pace
from agent.metrics import EnforcerMetrics
from agent.model import Inventory
from agent.openflows import OpenFlows
from agent.relink import FollowedLinks, Relink
from agent.resolving import Resolving, remembered

#: Bytes of an import that an operator may hand over at once.
MAX_IMPORT = 64 * 2**20

#: Where the last answers to names are kept, in the state directory.
NAMES = "names.json"

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """The host's time, UTC."""
    return datetime.now(UTC)


async def enforce(
    config: Config, *, now: Clock = wall_clock, stopping: asyncio.Event | None = None, clockwork: Clockwork | None = None
) -> None:
    """Run the role until `stopping` is set (or SIGTERM/SIGINT when it is None).

    Args:
        config: the host's configuration.
        now: the clock; only the demo and tests give another than the wall clock.
        stopping: set by a caller that runs several roles in one process.
        clockwork: looks whether `now` is to be trusted; None where somebody else states it.

    Raises:
        EcluseError: it can not start; the message says what to mend.
    """
    rules, compiled, problems = await _rules(config, now)
    former = _former(config)
    configs = load_sources(config.sources)
    sources = billing_sources(configs)
    chosen = choose(config.kernel)
    log.info("kernel: %s (%s)", chosen.kernel.name, chosen.en)
    try:
        if clear_other(chosen.kernel):
            log.warning("this gateway was served by another backend before: what that one held is taken away")
    except KernelError as error:
        log.warning("what another backend may hold ends with its leases: %s", error)
    metrics = EnforcerMetrics(sources=sources, version=__version__)
    with Ledger.open(config.state_dir / "ledger.db") as ledger:
        gateway = Gateway(
            ledger=ledger,
            kernel=figures.Metered(chosen.kernel, metrics),
            kernel_why=(chosen.fr, chosen.en),
            rules=rules,
            now=now,
            stop_path=stop_path(config),
            spare_stop_path=config.run_dir / "stop.json",
            ceiling=config.mode_ceiling,
            feeds=operate.feeds(sources),
            most_elements=config.max_elements,
            metrics=metrics,
        )
        gateway.metrics.ceiling(config.mode_ceiling.value)
        # Other policies than those the former process ended with are compared before they may suspend, as after a reload.
        compared = former is not None or ledger.counts().companies > 0
        if compiled is not None and compared and (former is None or former.digest != rules.inventory.digest):
            gateway.review = Review(before=former)
        elif compiled is not None:
            keep_in_force(compiled)
        enforcer = Enforcer(
            config=config,
            gateway=gateway,
            source_configs=configs,
            sources=sources,
            stopping=stopping or asyncio.Event(),
            adopting=compiled if gateway.review else None,
            open_watch=chosen.open_watch,
            clock=clockwork,
            relink=FollowedLinks(gateway, LinkWatch()) if config.kernel != "memory" else Relink(),
        )
        if config.probe_interval:
            gateway.lookout = lookout = LocalLookout(
                gateway,
                socket=config.probe_socket,
                pace=Pace(interval=config.probe_interval),
                file=config.state_dir / "baseline.json",
                take=enforcer.take,
                wake=enforcer.wake.set,
            )
            enforcer.beside.append(lookout.run)
        enforcer.beside.append(
            Resolving(
                gateway,
                socket=config.probe_socket,
                file=config.state_dir / NAMES,
                compile_=lambda answers: gateway.rules.with_answers(answers, tracked=tracked()),
                adopt=enforcer.adopt,
            ).run
        )
        if config.kernel != "memory":
            enforcer.beside.append(OpenFlows(gateway).run)
        look(clockwork, gateway, sources)  # before anything of now is written: the last fact tells whether it was set back
        enforcer.loaded()
        if problems:
            enforcer.reject(problems)
        await _serve_sockets(enforcer, own_signals=stopping is None)


async def _rules(config: Config, now: Clock) -> tuple[InForceRules, Path | None, tuple[str, ...]]:
    """The policies on disk and their compiled file; or else those that were in force last, no file, and the problems found.

    A restart with a broken file must not keep payments from restoring until somebody mends it.
    """
    answers = remembered(config.state_dir / NAMES)
    try:
        compiled = await compile_in_child(config.policies, config.state_dir)
        return InForceRules.compile(open_inventory(compiled), now(), tracked=tracked(), answers=answers), compiled, ()
    except (ConfigError, ProofFailed) as error:
        last = last_in_force(config.state_dir)
        if last is None:
            raise
        rules = InForceRules.compile(open_inventory(last), now(), tracked=tracked(), answers=answers)
        return rules, None, tuple(str(error).splitlines())


def _former(config: Config) -> Inventory | None:
    """The inventory that was in force last, if it is there and this version can read it."""
    last = last_in_force(config.state_dir)
    with suppress(ConfigError):
        return open_inventory(last) if last is not None else None
    return None


async def _serve_sockets(enforcer: Enforcer, *, own_signals: bool) -> None:
    config, loop = enforcer.config, asyncio.get_running_loop()
    listeners = [
        await channel.listen(config.intake_socket, enforcer.answer_serve, mode=0o660, group=config.serve_group),
        await channel.listen(
            config.operator_socket,
            operate.Operators(enforcer).answer,
            mode=0o660,
            group=config.operators_group,
            max_body=MAX_IMPORT,
        ),
    ]
    reloads: set[asyncio.Task[Any]] = set()
    beside: list[asyncio.Task[None]] = []

    def on_stop() -> None:
        enforcer.stopping.set()
        enforcer.wake.set()

    def on_hangup() -> None:
        task = loop.create_task(enforcer.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    try:
        if own_signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, on_stop)
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
        beside = [loop.create_task(work()) for work in enforcer.beside]
        await enforcer.run()
    finally:
        systemd.stopping()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        for listener in listeners:
            await listener.close()
        log.info("stopped; the rules stay and their leases run")


def stop_path(config: Config) -> Path:
    """Where the stop file is."""
    return config.state_dir / "stop.json"


def main(config: Config) -> int:
    """Run the role as a process. Returns the exit code."""
    try:
        asyncio.run(enforce(config, clockwork=Clockwork()))
    except EcluseError as error:
        log.critical("%s", error)
        return 1
    return 0

"""Floor 4. Commands that start a role: `run`, `serve`, `enforce`, `probe`; and the demonstration.

Rules of this room:

1. A role's code is loaded by its own command only: the listening face must not even have the other side's code in memory.
2. The configuration is read once, here; a role that can not start says why and ends with an exit code.
"""

import asyncio
import signal
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

import click

from agent import log, systemd
from agent.cli.ask import DEFAULT_CONFIG, configured
from agent.cli.door import Command, examples, finish, speaks
from agent.cli.screen import Screen
from agent.config import Config, load_sources


def _configured(command: Command) -> Command:
    """Give a command `--config` and `--log-level`."""
    config = click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="ECLUSE_CONFIG",
        metavar="FILE",
        help=f"The host's configuration; {DEFAULT_CONFIG} by default.",
    )
    level = click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        help="How much to log on standard error; info by default.",
    )
    return config(level(command))


def _role(module: str, config: Config, log_level: str) -> int:
    log.setup(log_level)
    start = cast("Callable[[Config], int]", import_module(module).main)
    return start(config)


@click.command("run", short_help="all roles in one process", epilog=examples("ecluse run --config ecluse.yaml"))
@_configured
@speaks
def run_(screen: Screen, config: Path | None, log_level: str) -> None:
    """Run all roles in one process: for a laptop, a test or a small gateway.

    In production each role runs as a user of its own: `ecluse serve`, `ecluse enforce` and `ecluse probe`.
    """
    del screen
    finish(_role("agent.run", configured(config), log_level))


@click.command(
    "enforce", short_help="the role that holds the firewall", epilog=examples("ecluse enforce --config /etc/ecluse/ecluse.yaml")
)
@_configured
@speaks
def enforce_(screen: Screen, config: Path | None, log_level: str) -> None:
    """Run the enforcing role: verifies, owns the ledger, decides, and holds the firewall (CAP_NET_ADMIN)."""
    del screen
    finish(_role("agent.enforce", configured(config), log_level))


@click.command(
    "probe",
    short_help="the role that looks at local applications",
    epilog=examples("ecluse probe --config /etc/ecluse/ecluse.yaml"),
)
@_configured
@speaks
def probe_(screen: Screen, config: Path | None, log_level: str) -> None:
    """Run the probing role: it looks at local applications as the enforcer asks. It needs no right and knows no secret."""
    del screen
    host = configured(config)
    log.setup(log_level)
    asyncio.run(_probe(host))


async def _probe(config: Config) -> None:
    """Answer until SIGTERM or SIGINT. A socket that systemd opened for us comes first."""
    from agent import probing  # noqa: PLC0415 - rule 1

    given = next((sock for _, sock in systemd.listening()), None)
    listener = await probing.listen(config.probe_socket, group=config.probe_group, sock=given)
    stop = _stopped_by_signals()
    feeding = asyncio.create_task(_feed())
    systemd.ready("answering")
    await stop.wait()
    feeding.cancel()
    systemd.stopping()
    await listener.close(grace=1.0)


@click.command("serve", short_help="the role that listens", epilog=examples("ecluse serve --config /etc/ecluse/ecluse.yaml"))
@_configured
@speaks
def serve_(screen: Screen, config: Path | None, log_level: str) -> None:
    """Run the listening role: HTTP in, the enforcer's answers out. It needs no right and knows no secret."""
    del screen
    host = configured(config)
    log.setup(log_level)
    asyncio.run(_serve(host))


async def _serve(config: Config) -> None:
    """Listen until SIGTERM or SIGINT. Sockets that systemd opened for us come first."""
    from agent import bounded, serve  # noqa: PLC0415 - rule 1

    sources = load_sources(config.sources)
    limits = bounded.Limits(max_body=max((one.max_body for one in sources.values()), default=bounded.Limits().max_body))
    given = systemd.listening()
    sockets = [sock for name, sock in given if name != "metrics"] or serve.bind(config.listen_host, config.listen_port)
    metrics = [sock for name, sock in given if name == "metrics"]
    if not metrics and config.metrics_listen is not None:
        metrics = serve.bind(*config.metrics_listen)
    stop = _stopped_by_signals()
    feeding = asyncio.create_task(_feed())
    systemd.ready("listening")
    await serve.serve(
        enforcer=config.intake_socket,
        stop=stop,
        sockets=sockets,
        limits=limits,
        web=config.web,
        metrics_sockets=metrics,
        metrics_web=config.metrics_web,
    )
    feeding.cancel()
    systemd.stopping()


async def _feed() -> None:
    """Feed the watchdog from the loop that answers: when that is stuck, nobody feeds."""
    while seconds := systemd.watchdog_seconds():
        systemd.alive()
        await asyncio.sleep(seconds / 3)


def _stopped_by_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@click.command("demo", short_help="see it work, with real packets", epilog=examples("sudo ecluse demo"))
@speaks
def demo_(screen: Screen) -> None:
    """Show the main job on real nftables with real packets, in network namespaces of its own (as root).

    Two debtors are suspended, their local software and everybody else keep working, and payment restores them.
    """
    finish(int(import_module("agent.demo").main(screen.language)))

"""Floor 4. The command line: `ecluse`.

Rules of this room:

1. Wiring and words only. What a command shows was judged elsewhere, what it does is done by the enforcer.
2. A command's module is loaded when the command is asked for: starting a daemon or restoring a customer loads nothing else.
3. `door` turns errors into a message and an exit code; `screen` is what a person sees; `ask` speaks with the enforcer.
"""

from importlib import import_module

import click

from agent import __version__
from agent.cli.door import Door, debug_option, json_option, language_option

#: Command -> the module that has it, in the order in which help lists them: look, act, run.
COMMANDS = {
    "check": "agent.cli.files",
    "simulate": "agent.cli.ahead",
    "forecast": "agent.cli.ahead",
    "policy": "agent.cli.policy",
    "log": "agent.cli.journal",
    "status": "agent.cli.look",
    "explain": "agent.cli.look",
    "plan": "agent.cli.look",
    "doctor": "agent.cli.doctor",
    "approve": "agent.cli.act",
    "revoke": "agent.cli.act",
    "suspend": "agent.cli.act",
    "restore": "agent.cli.act",
    "pause": "agent.cli.act",
    "resume": "agent.cli.act",
    "clear": "agent.cli.act",
    "override": "agent.cli.decide",
    "waive": "agent.cli.decide",
    "review": "agent.cli.decide",
    "lift": "agent.cli.decide",
    "void": "agent.cli.decide",
    "release": "agent.cli.decide",
    "record": "agent.cli.facts",
    "import": "agent.cli.facts",
    "reload": "agent.cli.facts",
    "backup": "agent.cli.care",
    "restore-ledger": "agent.cli.care",
    "erase": "agent.cli.care",
    "run": "agent.cli.daemons",
    "serve": "agent.cli.daemons",
    "enforce": "agent.cli.daemons",
    "probe": "agent.cli.daemons",
    "demo": "agent.cli.daemons",
}


class _Commands(Door):
    """Every command, loaded when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command, or None."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        found = getattr(import_module(COMMANDS[cmd_name]), f"{cmd_name.replace('-', '_')}_")
        assert isinstance(found, click.Command)
        return found


_EPILOG = """\b
Exit codes:
  0  done
  1  failed: the message says what, where and how to mend it
  2  bad input: an option, a file or a fact is wrong
  3  refused or held: the gate, a role or a limit does not allow it

\b
Environment:
  ECLUSE_CONFIG                the host's configuration, /etc/ecluse/ecluse.yaml by default
  ECLUSE_SOCKET                the enforcer's operator socket, by default the one of the configuration
  LC_ALL, LC_MESSAGES, LANG    French or English answers (or --lang fr|en)
  NO_COLOR                     no colours
"""


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ecluse")
@language_option
@json_option
@debug_option
def main() -> None:
    """Suspends exactly the announced services of a debtor, and restores them at once on payment.

    Look first: `ecluse check` validates what you wrote, `ecluse simulate` shows what it would do, `ecluse explain`
    says why a customer is suspended or not. Restoring never waits: `ecluse restore COMPANY --reason "..."`.
    """

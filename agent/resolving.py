"""Floor 3. Keeps up what the names of services stand for: asks the probing role, and has the ruleset compiled anew.

Rules of this room:

1. The enforcing side has no IP socket: it asks the probing role over its socket. Nobody there is no answer, never "nothing".
2. Another answer is another structure: compiled, proven, loaded in one transaction. What can not be proven is not loaded, and the
   one before stays.
3. The last answers outlive a restart in a file of our own, so that a start neither opens a hole nor waits for DNS.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from agent import channel
from agent.errors import ChannelError, KernelError, ProofFailed, Refused
from agent.gateway import Gateway
from agent.inforce import InForceRules
from agent.names import Answer, Answers, Heard, after, names_of

_log = logging.getLogger("ecluse.names")

#: Names in one question.
_ASKED = 100

#: Seconds for an answer, and between two tries while nobody answers.
_DEADLINE = 60.0
_RETRY = 15.0

#: Seconds between two looks at the clock and at the files in force.
_TICK = 1.0


class Resolving:
    """See the room's docstring.

    Args:
        gateway: whose rules are kept up.
        socket: where the probing role answers.
        file: where the last answers are kept.
        compile_: the same inventory with other answers.
        adopt: loads rules into the kernel and goes by them from then on.
        clock: UNIX seconds.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        socket: Path,
        file: Path,
        compile_: Callable[[Answers], InForceRules],
        adopt: Callable[[InForceRules], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._gateway, self._socket, self._file = gateway, socket, file
        self._compile, self._adopt, self._clock = compile_, adopt, clock
        self._next: dict[str, float] = {}

    async def run(self) -> None:
        """Keep asking, until cancelled."""
        while True:
            try:
                await self.step()
            except (KernelError, ProofFailed) as error:
                _log.error("names of services: %s; what they stood for before counts", error)
                await asyncio.sleep(_RETRY)
            await asyncio.sleep(_TICK)

    async def step(self) -> None:
        """Ask about the names whose time is over, and go by what was heard.

        Raises:
            KernelError, ProofFailed: the new rules were not loaded; the former ones are in force.
        """
        names = names_of(self._gateway.rules.inventory.services)
        now = self._clock()
        due = [name for name in names if self._next.get(name, 0.0) <= now]
        if not due:
            return
        heard = await self._ask(due)
        now = self._clock()
        rules = self._gateway.rules  # a reload may have come in between
        names = names_of(rules.inventory.services)
        # Of names that were not asked about now, what is known stays.
        silent = {name: rules.answers[name] for name in names if name not in due and name in rules.answers}
        answers = silent | after(rules.answers, [name for name in names if name in due], heard, now)
        self._next = {name: self._next.get(name, 0.0) for name in names} | {
            name: answers[name].until if name in heard and name in answers else now + _RETRY for name in due if name in names
        }
        if {name: one.addresses for name, one in answers.items()} != {name: one.addresses for name, one in rules.answers.items()}:
            self._adopt(self._compile(answers))
        elif answers != rules.answers:
            self._gateway.rules = replace(rules, answers=answers)
        self._keep(answers)
        self._gateway.metrics.unresolved(len(self._gateway.rules.unresolved))

    async def _ask(self, names: list[str]) -> Mapping[str, Heard]:
        found: dict[str, Heard] = {}
        for start in range(0, len(names), _ASKED):
            header = {"ask": "resolve", "names": names[start : start + _ASKED]}
            try:
                answer, _ = await channel.ask_async(self._socket, header, timeout=_DEADLINE)
                found |= _read(answer)
            except (ChannelError, Refused) as error:
                self._gateway.failures["names"] = str(error)
                return found
        self._gateway.failures.pop("names", None)
        return found

    def _keep(self, answers: Answers) -> None:
        told = {name: {"addresses": [str(each) for each in one.addresses], "until": one.until} for name, one in answers.items()}
        new = self._file.with_name(f".{self._file.name}.new")
        try:
            new.write_text(json.dumps(told))
            new.replace(self._file)
        except OSError as error:
            _log.warning("%s can not be written: %s", self._file, error)


def remembered(file: Path) -> Answers:
    """The answers that a former process kept; none where there is no readable file."""
    try:
        return {
            str(name): Answer(addresses=tuple(ip_address(each) for each in one["addresses"]), until=float(one["until"]))
            for name, one in json.loads(file.read_text()).items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _read(answer: Mapping[str, Any]) -> Mapping[str, Heard]:
    """What the probing role answered.

    Raises:
        ChannelError: it is no answer to this question.
    """
    try:
        return {
            str(name): Heard(addresses=tuple(ip_address(each) for each in one["addresses"]), ttl=float(one["ttl"]))
            for name, one in answer["answers"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ChannelError("the probing role gave no answer about names; is it of this version?") from None

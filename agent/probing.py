"""Floor 4. The probing role: it answers what the enforcer asks, over a UNIX socket. It has no right, no secret and no state.

Rules of this room:

1. It looks where it is told to and says what it saw. It knows no customer, no debt, no policy and no rule.
2. One question, one entry in `QUESTIONS`: another kind of question is one more function there.
3. Looks that a measure waits for have a queue of their own, so that hosts that do not answer keep nobody waiting.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from agent import channel
from agent.continuity.samples import read_question, write_answer
from agent.errors import ChannelError
from agent.probe import Looker
from agent.probe.resolving import resolve

Answer = tuple[Mapping[str, Any], bytes]

#: Looks under way at once that a measure waits for.
_URGENT = 32

#: Bytes of a question.
_MAX_QUESTION = 1024 * 1024


class Prober:
    """What the role holds while it runs: how much it may do at once."""

    def __init__(self) -> None:
        self.usual = Looker()
        self.urgent = Looker(parallel=_URGENT, spread=0.0)

    async def answer(self, _peer: channel.Peer, header: dict[str, Any], body: bytes) -> Answer:
        """Answer one question."""
        question = QUESTIONS.get(str(header.get("ask")))
        if question is None:
            return {"error": f"this role answers: {', '.join(QUESTIONS)}"}, b""
        try:
            return await question(self, header, body)
        except ChannelError as error:
            return {"error": str(error)}, b""


async def _look(prober: Prober, header: Mapping[str, Any], body: bytes) -> Answer:
    """Look at what the body lists; the answer has the question's number."""
    looker = prober.urgent if header.get("urgent") is True else prober.usual
    samples = await looker.look(read_question(body))
    return {"number": header.get("number")}, write_answer(samples)


async def _resolve(_prober: Prober, header: Mapping[str, Any], _body: bytes) -> Answer:
    """What names stand for; those that got no answer are left out."""
    names = header.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return {"error": "names is a list of texts"}, b""
    return {"answers": await resolve(names)}, b""


async def _ready(_prober: Prober, _header: Mapping[str, Any], _body: bytes) -> Answer:
    return {"ready": True}, b""


#: What may be asked, and who answers it.
QUESTIONS: Mapping[str, Callable[[Prober, Mapping[str, Any], bytes], Awaitable[Answer]]] = {
    "look": _look,
    "resolve": _resolve,
    "ready": _ready,
}


async def listen(path: Path, *, group: str | int | None, sock: socket.socket | None = None) -> channel.Listener:
    """Begin to answer.

    Args:
        path: where the socket is to be.
        group: which group may ask; None leaves the file's.
        sock: a socket that already listens, from socket activation; then no file is made.

    Raises:
        ChannelError: it can not listen there; the message says what to mend.
    """
    return await channel.listen(None if sock else path, Prober().answer, group=group, max_body=_MAX_QUESTION, sock=sock)


async def probing(path: Path, *, group: str | int | None, stopping: asyncio.Event) -> None:
    """Answer until `stopping` is set. Arguments and errors as for `listen`."""
    listener = await listen(path, group=group)
    try:
        await stopping.wait()
    finally:
        await listener.close(grace=1.0)

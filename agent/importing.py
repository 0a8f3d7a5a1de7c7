"""Floor 3. Facts from before the first day, from a person's file into the ledger, in steps that keep nobody waiting.

Rules of this room:

1. The whole file is read before anything of it is kept: nothing is taken while a line is wrong.
2. What is said of one company is kept in one commit: half a history could lack the payment that ends it.
3. Each step is short. Between two steps whoever called may serve a payment that came in meanwhile.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import groupby

from agent import intake
from agent.billing import Source
from agent.errors import EventError, LedgerUnwritable
from agent.event import TYPES, Event, Origin
from agent.gateway import Gateway

#: Lines read, and facts kept, in one step: some milliseconds, of which a payment on its way meets a few.
#: A company with more facts than that is one step all the same.
STEP = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """How many facts a file held, and how many of them were new."""

    facts: int
    new: int


def bring_in(
    gateway: Gateway, take: Callable[[tuple[Event, ...]], tuple[bool, ...]], raw: bytes, *, user: str, file: str
) -> Generator[None, None, Imported]:
    """Import a file of JSON Lines, step by step.

    A file is an operator's word: it may state every billing fact, and nothing but billing facts.

    Args:
        gateway: whose customers and clock count.
        take: keeps facts in one commit, and says of each whether it is new (`Desk.take`).
        raw: the file.
        user: who imports it.
        file: its name, for messages.

    Raises:
        EventError: it is not UTF-8.
        ConfigError: every line that is wrong (up to 100); nothing was kept.
        LedgerUnwritable: the ledger could not keep all of it. Importing the file again keeps the rest.
    """
    source = Source(
        name=f"import-{user}",
        kind="native",
        secrets=(b"\0" * 32,),
        events=frozenset(kind for kind, spec in TYPES.items() if spec.origin is Origin.BILLING),
    )

    def resolve(_source: str, customer: str) -> str | None:  # policies may be read again between two steps
        return customer if gateway.rules.inventory.company(customer) is not None else None

    try:
        lines = raw.decode().splitlines()
    except UnicodeDecodeError:
        raise EventError(field=file, what="not UTF-8", mend="save it as UTF-8 and import it again") from None
    events: list[Event] = []
    for event in intake.read_lines(lines, source, resolve, gateway.now(), file=file):
        events.append(event)
        if len(events) % STEP == 0:
            yield
    kept = new = 0
    for batch in batches(events):
        try:
            new += sum(take(batch))
        except LedgerUnwritable as error:
            raise LedgerUnwritable(f"{error}. {kept} of {len(events)} facts were kept; import {file} again for the rest") from error
        kept += len(batch)
        yield
    return Imported(facts=len(events), new=new)


def batches(events: list[Event]) -> Iterator[tuple[Event, ...]]:
    """Facts in commits of about `STEP`, each subject's in one, in the order in which they were given."""
    waiting: list[Event] = []
    for _, said in groupby(sorted(events, key=lambda event: event.subject), key=lambda event: event.subject):
        waiting += said
        if len(waiting) >= STEP:
            yield tuple(waiting)
            waiting = []
    if waiting:
        yield tuple(waiting)

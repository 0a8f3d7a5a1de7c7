"""Floor 4, demo. What each company can reach, measured with real packets and laid out as one table.

Rules of this room:

1. A cell is one company and one target: every port of it, over IPv4 and over IPv6, each with a fresh attempt.
2. A cell is as expected when every attempt ended as it should; a refusal over TCP must also be prompt.
3. The kernel limits how many ICMP errors it sends, so a UDP attempt without an answer is made once more after a second. A TCP
   refusal that comes late is asked for once more, for the machine may have been busy; a rule that drops would be late again.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import click

from agent.demo.network import Stage, Target
from agent.demo.teller import Teller, Words
from agent.lab import Answer, Laboratory, Space, probe
from agent.model import ServiceClass

#: A refusal over TCP reaches the client within so many milliseconds.
PROMPT = 100.0

_RESULTS: Mapping[str, Words] = {
    "open": ("ouvert", "open"),
    "refused": ("refusé", "refused"),
    "no_answer": ("sans réponse", "no answer"),
}
_FIRST, _COLUMN = 37, 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """What one company saw of one target: the slowest answer over IPv4 and over IPv6, and what each should have been."""

    company: str
    target: Target
    four: Answer
    six: Answer
    wanted: str

    @property
    def good(self) -> bool:
        """Whether the cell is as expected."""
        prompt = self.wanted == "open" or self.target.protocol == "udp" or max(self.four.ms, self.six.ms) < PROMPT
        return self.four.result == self.six.result == self.wanted and prompt


def measure(stage: Stage, lab: Laboratory, suspended: Mapping[str, Collection[str]]) -> tuple[Cell, ...]:
    """Try everything from everywhere.

    Args:
        stage: who uses what.
        lab: where they stand.
        suspended: the services each company should be refused; all others, and what is on site, should be open.
    """
    return tuple(
        _cell(lab[site.people], company, target, "refused" if target.name in suspended.get(company, ()) else "open")
        for company, site in stage.sites.items()
        for target in stage.targets(company)
    )


def _cell(space: Space, company: str, target: Target, wanted: str) -> Cell:
    four, six = (_worst([_attempt(space, target, address, port) for port in target.ports], wanted) for address in target.addresses)
    return Cell(company=company, target=target, four=four, six=six, wanted=wanted)


def _attempt(space: Space, target: Target, address: str, port: int) -> Answer:
    answer = probe(space, target.protocol, address, port)
    if answer.result == "no_answer" and target.protocol == "udp":
        time.sleep(1)
        return probe(space, target.protocol, address, port)
    if answer.result == "refused" and target.protocol == "tcp" and answer.ms >= PROMPT:
        return probe(space, target.protocol, address, port)
    return answer


def _worst(answers: list[Answer], wanted: str) -> Answer:
    """The one that differs from what was expected, if any; else the slowest."""
    return max(answers, key=lambda answer: (answer.result != wanted, answer.ms))


def show(teller: Teller, stage: Stage, cells: tuple[Cell, ...]) -> None:
    """Print the table: targets down, companies across; each cell with the milliseconds over IPv4 and over IPv6."""
    by_place = {(cell.company, cell.target.name, cell.target.protocol): cell for cell in cells}
    heads = "".join(f"{company:<{_COLUMN}}" for company in stage.sites)
    first = teller.words(("ms en IPv4/IPv6", "ms over IPv4/IPv6"))
    teller.lines(["", click.style(f"  {first:<{_FIRST - 2}}{heads}".rstrip(), bold=True)])
    before: ServiceClass | None = None
    for target in next(stage.targets(company) for company in stage.sites):
        if before is not None and (target.class_ is ServiceClass.ANNEX) != (before is ServiceClass.ANNEX):
            teller.lines([click.style("  " + "─" * (_FIRST - 3 + _COLUMN * len(stage.sites)), dim=True)])
        before = target.class_
        line = "".join(_laid_out(teller, by_place[company, target.name, target.protocol]) for company in stage.sites)
        teller.lines([f"  {_label(target):<{_FIRST - 2}}{line}".rstrip()])


def account(teller: Teller, cells: tuple[Cell, ...], words: Words) -> None:
    """State whether all cells are as expected, and name each that is not."""
    for cell in cells:
        saw = f"IPv4 {cell.four.result} {cell.four.ms:.1f} ms, IPv6 {cell.six.result} {cell.six.ms:.1f} ms"
        fr = f"{cell.company} -> {_label(cell.target)} : {saw}, attendu {cell.wanted}"
        en = f"{cell.company} -> {_label(cell.target)}: {saw}, expected {cell.wanted}"
        teller.expect(cell.good, (fr, en), shown=False)
    wrong = sum(not cell.good for cell in cells)
    refused = [cell for cell in cells if cell.wanted == "refused" and cell.target.protocol == "tcp"]
    slowest = max((max(cell.four.ms, cell.six.ms) for cell in refused), default=0.0)
    fr, en = f"{words[0]} : {len(cells) - wrong} cases sur {len(cells)}", f"{words[1]}: {len(cells) - wrong} cells of {len(cells)}"
    if refused:
        fr += f" ; refus TCP le plus lent {teller.number(slowest)} ms"
        en += f"; slowest TCP refusal {teller.number(slowest)} ms"
    teller.expect(not wrong, (fr, en))


def _label(target: Target) -> str:
    ports = " ".join(str(port) for port in target.ports)
    return f"{target.name:<16} {target.protocol} {ports}"


def _laid_out(teller: Teller, cell: Cell) -> str:
    if cell.four.result == cell.six.result:
        text = teller.words(_RESULTS[cell.four.result])
        if cell.four.result != "no_answer":
            text += f" {teller.number(cell.four.ms)}/{teller.number(cell.six.ms)}"
    else:
        text = "/".join(teller.words(_RESULTS[answer.result]) for answer in (cell.four, cell.six))[: _COLUMN - 1]
    colour = "red" if not cell.good else "yellow" if cell.wanted == "refused" else None
    padding = " " * max(0, _COLUMN - len(text))
    return click.style(text, fg=colour, bold=not cell.good) + padding if colour else text + padding

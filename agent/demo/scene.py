"""Floor 4, demo. Everything that stands while the story is told, and the moves that several chapters make."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from agent.demo import table
from agent.demo.biller import Biller, Sent
from agent.demo.cast import DEBTORS
from agent.demo.control import Running, furnish
from agent.demo.network import BILLER, GATEWAY, Stage, Target
from agent.demo.teller import PLACE, WIDTH, DemoFailed, Teller, Words
from agent.event import Event, parse_instant
from agent.lab import Laboratory, Stream, laboratory, listen
from agent.ledger.sqlite import Ledger

#: The story's clock leaps by at least this much. A lease of four hours is renewed when 96 to 144 minutes have passed, so every
#: leap finds each of them due; and a leap stays shorter than the lease, or the gateway would have to restore.
LEAP = timedelta(minutes=145)
#: What is left of a lease that has just been renewed.
LONG_LEASE = timedelta(minutes=200)

#: Where the files of one run live: on a disk, so that the time of a commit is a real one.
_FILES = "/var/tmp"  # noqa: S108 - a directory of our own is made in it


def moment(text: str) -> datetime:
    """An instant of the story, as the wall clock in Paris shows it."""
    return datetime.fromisoformat(text).replace(tzinfo=PLACE)


@dataclass(kw_only=True)
class Scene:
    """The running laboratory with its gateway. `suspended`: by company, the services (sorted) that should be refused now."""

    teller: Teller
    stage: Stage
    lab: Laboratory
    gateway: Running
    biller: Biller
    suspended: dict[str, tuple[str, ...]] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)

    def target(self, company: str, name: str, protocol: str = "tcp") -> Target:
        """One thing a company uses."""
        return next(one for one in self.stage.targets(company) if one.name == name and one.protocol == protocol)

    def address(self, company: str, name: str, family: int) -> tuple[str, int]:
        """Address and port of the TCP side of one thing a company uses; `family` 4 or 6."""
        target = self.target(company, name)
        return target.addresses[family == 6], target.ports[0]

    def chapter(self, at: str, words: Words) -> None:
        """Move the clock, and say what the day brings."""
        self.gateway.move(moment(at))
        self.teller.chapter(moment(at), words)

    def native(
        self, type_: str, customer: str, data: Mapping[str, Any], words: Words, *, at: str = "", occurred_at: datetime | None = None
    ) -> Sent:
        """State one fact in our own vocabulary, and tell it with its answer; `at` moves the clock first."""
        if at:
            self.gateway.move(moment(at))
        return self._told(self.biller.say(type_, customer, data, at=occurred_at), words)

    def preflight(self) -> None:
        """Say that the debtors' local applications answered all day before the measure."""
        for company in DEBTORS:
            data = {"result": "green", "baseline_hours": 24, "local_matches": 0, "applications": ["erp", "erp-database"]}
            fr = f"{company} : applications locales sondées depuis 24 h, toutes répondent"
            en = f"{company}: local applications probed for 24 h, all answer"
            self.native("preflight.done", company, data, (fr, en))

    def stripe(self, type_: str, invoice: Mapping[str, Any], words: Words) -> Sent:
        """Send one event of Stripe, and tell it with its answer."""
        return self._told(self.biller.stripe(type_, invoice), words)

    def _told(self, sent: Sent, words: Words) -> Sent:
        local = self.gateway.at(sent.begun).astimezone(PLACE)
        day = f"{local:%d/%m %H:%M}" if self.teller.language == "fr" else f"{local:%d %b %H:%M}"
        answer = click.style(f"HTTP {sent.status}, {self.teller.number(sent.ms)} ms", dim=True)
        self.teller.lines([f"  {day}  {self.teller.words(words):<64} {answer}"])
        said = f"{sent.status} {sent.message}"
        self.teller.expect(sent.status == 200, (f"webhook : {words[0]} : {said}", f"webhook: {words[1]}: {said}"), shown=False)
        return sent

    def pass_time(self, to: str) -> int:
        """Let the story's time leap to an instant, with a heartbeat at each leap, so that leases are renewed; how many leaps.

        Raises:
            DemoFailed: a lease was not renewed.
        """
        whole = moment(to) - self.gateway.now()
        leaps = max(1, whole // LEAP)
        begun = self.gateway.now()
        for number in range(1, leaps + 1):
            self.gateway.move(begun + whole * number / leaps)
            self._renewed()
        return leaps

    def _renewed(self) -> None:
        """Wait until every lease has been renewed at this hour of the story."""
        for _ in range(5):
            self.biller.heartbeat()
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                measures = self.gateway.ask("status")["measures"]
                if all(parse_instant(one["lease_until"]) - self.gateway.now() > LONG_LEASE for one in measures):
                    return
                time.sleep(0.01)
            # The gateway looked between the leap and the heartbeat and found the feed silent. It looks again in a minute.
            self.gateway.move(self.gateway.now() + timedelta(seconds=61))
        raise DemoFailed(("un bail n'a pas été renouvelé", "a lease was not renewed"))

    def measure(self, words: Words, *, shown: bool) -> None:
        """Try everything from everywhere against what the story expects."""
        cells = table.measure(self.stage, self.lab, self.suspended)
        if shown:
            table.show(self.teller, self.stage, cells)
        table.account(self.teller, cells, words)

    def agrees(self) -> None:
        """State that the gateway itself says what the story expects."""
        says = self.gateway.suspended()
        listed = "; ".join(f"{company}: {', '.join(services)}" for company, services in says.items())
        fr, en = listed or "rien n'est suspendu", listed or "nothing is suspended"
        self.teller.expect(says == self.suspended, (f"la passerelle dit : {fr}", f"the gateway says: {en}"))

    def wait_agreed(self, timeout: float) -> bool:
        """Wait until the gateway says what the story expects; False if it does not in so many seconds."""
        deadline = time.monotonic() + timeout
        while self.gateway.suspended() != self.suspended:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def streams_flow(self, *names: str) -> None:
        """State that open connections carry data right now."""
        for name in names:
            flowing = self.streams[name].wait_more(2048, timeout=3)
            tally = self.streams[name].tally()
            fr = f"connexion ouverte {name} : vit, {tally.received} octets revenus"
            en = f"open connection {name}: alive, {tally.received} bytes came back"
            self.teller.expect(flowing and tally.intact, (fr, en))

    def events(self, subject: str) -> list[Event]:
        """What the ledger holds about a company, or about the host (`-`)."""
        with Ledger.open(self.gateway.home.config.state_dir / "ledger.db", read_only=True) as ledger:
            return [row.event for row in ledger.events(subject)]

    def show_log(self) -> None:
        """Show the end of the gateway's log, which goes with the scene."""
        head = click.style(self.teller.words(("  journal de la passerelle", "  the gateway's log")), bold=True)
        self.teller.lines(["", head, *(f"  │ {line}"[:WIDTH] for line in self.gateway.last_words())])

    def command(self, *arguments: str) -> None:
        """Run `ecluse` and show what it prints."""
        code, lines = self.gateway.command(self.teller.language, *arguments)
        shown = " ".join(arguments)
        self.teller.lines(["", click.style(f"  $ ecluse {shown}", bold=True), *(f"  │ {line}".rstrip() for line in lines)])
        self.teller.expect(code == 0, (f"ecluse {shown} : code {code}", f"ecluse {shown}: exit code {code}"), shown=False)


@contextmanager
def scene(teller: Teller, stage: Stage, start: datetime) -> Iterator[Scene]:
    """Build everything, hand it out, and take it down whatever happens.

    Raises:
        DemoFailed: the gateway did not become ready.
        OSError: no right to make namespaces.
    """
    with ExitStack() as stack:
        lab = stack.enter_context(laboratory(stage.topology))
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="ecluse-demo-", dir=_FILES)))
        home = furnish(directory, stage.policies)
        for node, endpoints in stage.listeners().items():
            stack.enter_context(listen(lab[node], *endpoints))
        gateway = stack.enter_context(Running(lab[GATEWAY], home, start))
        biller = Biller(lab[BILLER], gateway)
        stack.callback(biller.close)
        made = Scene(teller=teller, stage=stage, lab=lab, gateway=gateway, biller=biller)
        try:
            biller.ready()
            yield made
        except DemoFailed:
            made.show_log()
            raise
        else:
            if teller.missed:
                made.show_log()
        finally:
            for stream in made.streams.values():
                stream.close()

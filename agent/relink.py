"""Floor 3. The gateway's links come, go and are renamed: what that means for the elements that name them.

Rules of this room:

1. An element that names a link which is gone, or has another bearer, is deleted when the news comes, before anything else.
2. What is wanted instead is derived anew, company by company, like after any other fact; nothing is widened because a link is away.
3. A VRF that somebody has an attachment inside of (one of its members by itself) can not be told apart from it: it is not taken.
4. Lost news, and now and then the doubt whether any was lost, mean a look at all links.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace

from agent.errors import KernelError
from agent.gateway import Gateway, log
from agent.kernel.links import LinkWatch
from agent.links import SETTLE_S, Following, Link
from agent.model import Links
from agent.rules import Change, Key
from agent.ruleset import Needs, candidates, interface_of

#: All links are looked at this often, in seconds, whatever was heard.
LOOK_S = 60.0

#: Every kind of set an element could be in.
_ANY_USE = Needs(cap=True, drain=True)

_NO_TABLE = 2

#: Companies whose elements go in one transaction.
_PAGE = 200


class Relink:
    """Where there are no links to follow: a kernel in memory has none, and every name counts as present."""

    def listen(self, wake: asyncio.Event) -> None:
        """Begin to hear news in the running loop; `wake` is set when somebody must be looked at."""

    def close(self) -> None:
        """Stop listening."""

    def step(self) -> None:
        """What time alone does: a wait that is over, a look that is due.

        Raises:
            KernelError: links could not be read, or the kernel was not changed; the next step tries again.
        """

    def restated(self) -> None:
        """The inventory was loaded anew: it says whose every link is that there is now."""


class FollowedLinks(Relink):
    """Keeps `gateway.links` true. Made before the first element is loaded."""

    def __init__(self, gateway: Gateway, watch: LinkWatch, *, settle: float = SETTLE_S) -> None:
        """Look at all links.

        Args:
            gateway: what it is kept for.
            watch: news of links; closed by `close`.
            settle: see `links.SETTLE_S`.

        Raises:
            KernelError: links can not be read.
        """
        self._gateway = gateway
        self._watch = watch
        self._following = Following(watch.look(), settle=settle)
        self._looked_at = time.monotonic()
        self._gone: set[str] = set()
        self._touched: set[str] = set()
        self._look_due = False
        self._wake: asyncio.Event | None = None
        self._tell()

    def listen(self, wake: asyncio.Event) -> None:
        """See `Relink`."""
        self._wake = wake
        asyncio.get_running_loop().add_reader(self._watch.fileno(), self.heard)

    def close(self) -> None:
        """See `Relink`."""
        self._deaf()
        self._watch.close()

    def heard(self) -> None:
        """Take the news there is, and delete what must go."""
        now = time.monotonic()
        try:
            for news in self._watch.read():
                if news is None:
                    self._look_due = True
                elif isinstance(news, Link):
                    self._following.heard(news, now)
                else:
                    self._following.left(news)
        except KernelError as error:  # a reader that is always ready would take all our time
            self._deaf()
            log.error("%s; from now on links are only looked at every %d s", error, LOOK_S)
        try:
            self._follow(now)
        except KernelError as error:  # nothing was changed; the next step tries again
            log.error("%s", error)
        if self._look_due and self._wake is not None:
            self._wake.set()

    def step(self) -> None:
        """See `Relink`."""
        now = time.monotonic()
        if self._look_due or now - self._looked_at > LOOK_S:
            self._following.look(self._watch.look(), now)
            self._look_due, self._looked_at = False, now
        self._follow(now)

    def restated(self) -> None:
        """See `Relink`."""
        self._following.restated()
        self._tell()

    def _deaf(self) -> None:
        if self._wake is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._wake = None

    def _follow(self, now: float) -> None:
        moved = self._following.moved(now)
        self._gone |= moved.gone
        self._touched |= moved.touched
        if not self._touched:
            return
        before = self._gateway.links
        # Whom a VRF's members concern is known by the VRF: before and after.
        near = self._touched | {vrf for vrf, members in before.members.items() if self._touched & set(members)}
        self._tell(near)
        links = self._gateway.links
        near |= {vrf for vrf, members in links.members.items() if self._touched & set(members)}
        companies = {company for found in self._gateway.rules.inventory.behind(sorted(near)).values() for company in found}
        suspended = sorted(company for company in companies if self._gateway.ledger.measures_of(company))
        self._let_go(suspended, self._gone, before)
        self._gone, self._touched = set(), set()
        self._gateway.again.update(dict.fromkeys(suspended))
        if suspended and self._wake is not None:
            self._wake.set()

    def _let_go(self, companies: list[str], names: Iterable[str], before: Links) -> None:
        """Delete every element of these companies that names one of these links."""
        gateway, names = self._gateway, frozenset(names)
        if not names:
            return
        sets = {members.name: members for members in gateway.rules.structure.sets}
        needs = replace(_ANY_USE, rest=gateway.rules.needs.rest)
        for start in range(0, len(companies), _PAGE):
            delete: list[Key] = []
            for company_id in companies[start : start + _PAGE]:
                company = gateway.rules.inventory.company(company_id)
                keys = candidates(company, gateway.rules.services, before, needs) if company else ()
                delete += [key for key in keys if key.set in sets and interface_of(sets[key.set], key.key) in names]
            if delete:
                try:
                    gateway.kernel.apply(Change(delete=tuple(delete)))
                except KernelError as error:
                    if error.errno != _NO_TABLE:  # without a table there is nothing to let go of
                        raise
        if companies:
            log.warning("links %s are gone or somebody else's: the measures behind them are let go of", ", ".join(sorted(names)))

    def _tell(self, names: Iterable[str] | None = None) -> None:
        """Bring what the gateway believes up to date; of reasons only those for `names`, None for all."""
        gateway, links = self._gateway, self._following.links()
        inside = {name for members in links.members.values() for name in members}
        attached = gateway.rules.inventory.behind(sorted(inside | set(links.members)))
        mixed = {
            vrf: (
                f"son membre {inner[0]} est un raccordement à lui seul ; raccorder chacun par le VRF, ou par ses membres",
                f"its member {inner[0]} is an attachment of its own; attach everybody by the VRF, or by its members",
            )
            for vrf, members in links.members.items()
            if vrf in attached and (inner := [name for name in members if name in attached])
        }
        # A member that is somebody's own attachment is never looked at as a part of the VRF: its elements are that somebody's.
        members = {vrf: tuple(name for name in found if name not in attached) for vrf, found in links.members.items()}
        gateway.links = Links(present=(links.present or frozenset()) - frozenset(mixed), members=members)
        inventory = gateway.rules.inventory
        if names is None:
            gateway.unlinked.clear()
            asked = {str(each.link): each.vrf is not None for each in inventory.links()}
        else:
            known = inventory.behind(sorted(names))
            asked = dict.fromkeys(known, False)
            for name in names:
                gateway.unlinked.pop(name, None)
        gateway.unlinked |= {**self._following.why_not(asked), **mixed}
        gateway.unlinked |= {
            name: (
                "ce n'est pas un VRF ; raccorder par `interface:`, ou en faire un",
                "it is no VRF; attach by `interface:`, or make it one",
            )
            for name, is_vrf in asked.items()
            if is_vrf and name not in links.members and name not in gateway.unlinked
        }
        gateway.metrics.unlinked(len(gateway.unlinked))

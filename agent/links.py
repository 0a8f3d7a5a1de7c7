"""Floor 1. The gateway's links through time: which names elements may hold, and which must be let go of at once.

Rules of this room:

1. An element holds a link's *name*; who is behind it is the link itself, told by its index. A name that changes its bearer is let
   go of at once: somebody else's new tunnel must not inherit a suspension.
2. A name that has a bearer again is taken again once the bearer has stood for a while (`SETTLE_S`), so that a tunnel that was
   restarted, or a gateway in the middle of a change, ends up where it was. Until then the service stays on.
3. Where the name says too little, it is not taken again before the inventory is loaded anew, which states whose it is: a bearer of
   another kind than the one before, and dialled-in links, whose names are given out to whoever comes next.
4. What is there when the agent starts is what the inventory means: it was read at the same moment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from agent.model import Links

#: So long a new bearer of a name must have stood before elements name it, in seconds.
SETTLE_S = 30.0

#: A reason in French and English.
Why = tuple[str, str]

#: Names of links that are gone, whose kind is remembered.
_REMEMBERED = 10_000


class Link(NamedTuple):
    """One link as the kernel shows it. `kind` is "" for a device without one; `dialled`: a PPP session; `master`: 0 for none."""

    ifindex: int
    name: str
    kind: str = ""
    dialled: bool = False
    master: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """What a look changed. `gone`: names whose elements must go at once; `touched`: names whose companies must be looked at."""

    gone: frozenset[str] = frozenset()
    touched: frozenset[str] = frozenset()


class _Bearer(NamedTuple):
    """Who bears a name. `since`: when that was first seen, None once it is taken; `doubt`: why only the inventory can say."""

    ifindex: int
    kind: str
    since: float | None
    doubt: Why | None = None


class Following:
    """The links of a gateway, kept up by looks at all of them and by single pieces of news. All times are monotonic seconds."""

    def __init__(self, links: Iterable[Link], *, settle: float = SETTLE_S) -> None:
        self._settle = settle
        self._links: dict[int, Link] = {}
        self._bearers: dict[str, _Bearer] = {}
        self._kinds: dict[str, str] = {}
        self._waiting: set[str] = set()
        self._gone: set[str] = set()
        self._touched: set[str] = set()
        for link in links:
            self._links[link.ifindex] = link
            self._bearers[link.name] = _Bearer(link.ifindex, link.kind, None)

    def heard(self, link: Link, now: float) -> None:
        """A link is new or has changed."""
        before = self._links.get(link.ifindex)
        if before == link:
            return
        self._links[link.ifindex] = link
        if before is not None and before.name != link.name:
            self._lose(before)
        if before is None or before.name != link.name:
            self._bear(link, now)
        if (before.master if before else 0) != link.master:
            # Elements of the VRF name its members: the one that leaves is let go of under both.
            self._touched |= {link.name, *self._name(link.master), *self._name(before.master if before else 0)}
            if before is not None and before.master:
                self._gone.add(link.name)

    def left(self, index: int) -> None:
        """A link is gone."""
        link = self._links.pop(index, None)
        if link is not None:
            self._touched |= {*self._name(link.master)}
            self._lose(link)

    def look(self, links: Iterable[Link], now: float) -> None:
        """All links there are now; for a start over after news were lost."""
        there = {link.ifindex: link for link in links}
        for index in [index for index in self._links if index not in there]:
            self.left(index)
        # First those that gave a name away, so that who took it over is not taken for somebody beside them.
        for link in sorted(there.values(), key=lambda one: one.ifindex not in self._links):
            self.heard(link, now)

    def restated(self) -> None:
        """The inventory was loaded anew: every link that is there is what it means."""
        for name in self._waiting:
            self._bearers[name] = self._bearers[name]._replace(since=None, doubt=None)
        self._touched |= self._waiting
        self._waiting.clear()

    def moved(self, now: float) -> Moved:
        """What changed since this was last asked, with the names whose wait is over by `now`."""
        for name in sorted(self._waiting):
            bearer = self._bearers[name]
            if bearer.since is not None and not bearer.doubt and now - bearer.since >= self._settle:
                self._bearers[name] = bearer._replace(since=None)
                self._waiting.discard(name)
                self._touched.add(name)
        moved = Moved(gone=frozenset(self._gone), touched=frozenset(self._touched | self._gone))
        self._gone, self._touched = set(), set()
        return moved

    def links(self) -> Links:
        """What elements may name now."""
        members: dict[str, list[str]] = {link.name: [] for link in self._links.values() if link.kind == "vrf"}
        for link in self._links.values():
            master = self._links.get(link.master) if link.master else None
            if master is not None and master.kind == "vrf":
                members[master.name].append(link.name)
        return Links(
            present=frozenset(name for name, bearer in self._bearers.items() if bearer.since is None),
            members={name: tuple(sorted(found)) for name, found in members.items()},
        )

    def why_not(self, names: Iterable[str]) -> Mapping[str, Why]:
        """Those of `names` that elements may not hold now, each with the reason."""
        reasons: dict[str, Why] = {}
        for name in names:
            bearer = self._bearers.get(name)
            if bearer is None:
                reasons[name] = ("ce lien n'existe pas", "there is no such link")
            elif bearer.since is not None:
                reasons[name] = bearer.doubt or (
                    f"le lien est nouveau ; repris quand il aura tenu {self._settle:g} s",
                    f"the link is new; taken when it has stood for {self._settle:g} s",
                )
        return reasons

    def _name(self, index: int) -> tuple[str, ...]:
        link = self._links.get(index)
        return () if link is None else (link.name,)

    def _lose(self, link: Link) -> None:
        bearer = self._bearers.get(link.name)
        if bearer is None or bearer.ifindex != link.ifindex:
            return  # somebody else has taken the name over already
        if link.kind == "vrf":  # its members stood for it under their own names
            self._gone |= {each.name for each in self._links.values() if each.master == link.ifindex}
        del self._bearers[link.name]
        self._waiting.discard(link.name)
        self._kinds.pop(link.name, None)
        self._kinds[link.name] = link.kind
        if len(self._kinds) > _REMEMBERED:
            del self._kinds[next(iter(self._kinds))]
        self._gone.add(link.name)

    def _bear(self, link: Link, now: float) -> None:
        former = self._bearers.get(link.name)
        kind = former.kind if former is not None else self._kinds.get(link.name)
        doubt: Why | None = None
        if kind is not None and kind != link.kind:
            was, now_is = kind or "device", link.kind or "device"
            doubt = (
                f"il était de type {was} et il est de type {now_is} ; `ecluse reload` affirme que c'est le même",
                f"it was of kind {was} and is {now_is} now; `ecluse reload` states that it is the same",
            )
        elif link.dialled:
            doubt = (
                "un lien à la demande peut être à n'importe qui ; `ecluse reload` affirme à qui il est",
                "a dialled-in link may be anybody's; `ecluse reload` states whose it is",
            )
        if former is not None:
            self._gone.add(link.name)
        self._bearers[link.name] = _Bearer(link.ifindex, link.kind, now, doubt)
        self._waiting.add(link.name)
        self._touched.add(link.name)

"""Floor 3. What is seen of one company: its targets, their last looks, and what is being waited for."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.continuity import WINDOW, Past, Role, Sample, Seen, Target, outage

#: A look "just before" a measure is at most this old, in seconds.
JUST = 10.0

_NEVER = float("-inf")


@dataclass(kw_only=True)
class Place:
    """One company as it is seen. Times are readings of the monotonic clock.

    `keep`: hours of baseline that its policy asks for. `next_at`: when the next look begins; `asked_at`: when the one under way was
    asked for, None without any. `seen_at`: when everything was last seen. `pasts`: the sums, by target. `windows`: the last looks;
    since the measure began, while `under` one. `before`: a measure waits for a look; `cleared_at`: when such a look was good.
    `tried`: the looks since a measure was applied that is not confirmed; `tried_since`: when that was. `away`: sites that do not
    answer at all, and of which not every application has answered since.
    """

    targets: tuple[Target, ...]
    keep: int
    next_at: float
    asked_at: float | None = None
    seen_at: float = _NEVER
    pasts: dict[Target, Past] = field(default_factory=dict)
    windows: dict[Target, deque[Sample]] = field(default_factory=dict)
    under: bool = False
    before: bool = False
    cleared_at: float = _NEVER
    tried: dict[Target, list[Sample]] | None = None
    tried_since: float = _NEVER
    away: set[str] = field(default_factory=set)

    @property
    def urgent(self) -> bool:
        """Does a measure wait for a look, or for its confirmation?"""
        return self.before or self.tried is not None

    def window(self, target: Target) -> deque[Sample]:
        """The last looks at a target, oldest first."""
        return self.windows.setdefault(target, deque(maxlen=WINDOW))

    def last(self, target: Target) -> Sample | None:
        """The last look at a target."""
        window = self.windows.get(target)
        return window[-1] if window else None

    def untold(self) -> bool:
        """Is there an application of which nothing can be told?"""
        lasts = [self.last(target) for target in self.applications()]
        return any(one is not None and one.seen is Seen.UNABLE for one in lasts)

    def applications(self, site: str | None = None) -> Iterator[Target]:
        """The local applications (of one site)."""
        for target in self.targets:
            if target.role is Role.APPLICATION and site in (None, target.site):
                yield target

    def control(self, site: str) -> deque[Sample] | None:
        """The last looks at the control of a site, None where it has none."""
        found = next((one for one in self.targets if one.role is Role.CONTROL and one.site == site), None)
        return self.window(found) if found is not None else None

    def begin(self, *, under: bool) -> None:
        """A measure began, or ended: its looks are counted apart."""
        if under != self.under:
            self.under = under
            self.windows.clear()
            self.away.clear()

    def try_(self) -> None:
        """A measure is about to be applied, or was found unconfirmed: count the looks from now on."""
        self.begin(under=True)
        self.tried, self.tried_since = {}, time.monotonic()
        self.next_at = self.tried_since

    def look_for_outages(self) -> None:
        """Note which sites are away. Of those nothing is compared until every application answered again: booting takes time."""
        for site in {target.site for target in self.applications()}:
            lasts = [self.last(target) for target in self.applications(site)]
            silent = all(one is not None and one.seen is Seen.SILENT for one in lasts)
            answering = all(one is not None and one.seen is Seen.ANSWERED for one in lasts)
            if site in self.away and answering:
                self.away.discard(site)
            elif silent and outage(self.control(site)):
                self.away.add(site)
            if site in self.away:
                for target in self.applications(site):
                    window = self.window(target)
                    while len(window) > 1:
                        window.popleft()

"""Floor 1. When to put our table back: at once, unless another program keeps taking it away; then at longer and longer intervals.

Rules of this room:

1. The first repairs wait for nothing: a reload of a firewall takes our table away once, or a few times.
2. A fight is reported, not fought: two programs that undo each other for ever harm the host more than a table that is away,
   and while it is away everybody has service.
3. Only repairs wait. A restore has nothing to repair.
"""

from dataclasses import dataclass, replace

#: So many repairs within so many seconds are no fight yet: 1 000 flushes in a second are seen as a few.
FEW = 20
WINDOW = 60.0

#: Seconds until the first repair of a fight that waits; each further one waits twice as long, up to the longest.
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0

#: Seconds without a repair after which a fight is over.
QUIET = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Fight:
    """What was repaired lately.

    `at`: when, in seconds of a clock that only goes forward, the last few. `by`: the programs that the kernel named,
    the latest last. `wait`: seconds between two repairs, 0 outside a fight. `repairs`: since the fight began, with those that led
    to it.
    """

    at: tuple[float, ...] = ()
    by: tuple[str, ...] = ()
    wait: float = 0.0
    repairs: int = 0

    @property
    def on(self) -> bool:
        """Whether somebody keeps undoing what we do."""
        return self.wait > 0

    def rests(self, now: float) -> bool:
        """Whether the next repair has to wait."""
        return self.on and now < self.at[-1] + self.wait


def repaired(fight: Fight, now: float, by: tuple[str, ...]) -> Fight:
    """After one more repair.

    Args:
        fight: as it was.
        now: seconds of a clock that only goes forward.
        by: the programs that made it necessary.
    """
    fight = calmed(fight, now)
    names = tuple(dict.fromkeys((*(name for name in fight.by if name not in by), *by)))[-5:]
    if fight.on:
        wait = min(LONGEST_WAIT, fight.wait * 2)
        return replace(fight, at=(*fight.at[1:], now), by=names, wait=wait, repairs=fight.repairs + 1)
    at = (*(each for each in fight.at if each > now - WINDOW), now)
    wait = FIRST_WAIT if len(at) > FEW else 0.0
    return Fight(at=at[-FEW - 1 :], by=names, wait=wait, repairs=len(at))


def calmed(fight: Fight, now: float) -> Fight:
    """The same, or nothing at all once it was quiet for long enough."""
    return fight if fight.at and now - fight.at[-1] < QUIET else Fight()

"""Floor 2. The host's clock: does the kernel know it to be right, and does it run or jump.

1. Nothing is set, nothing is asked over the network. Who keeps the clock (chrony, ntpd, systemd-timesyncd) tells the kernel, and
   the kernel tells us (`adjtimex(2)`, reading only).
2. Where a sandbox forbids even that, the stamp that systemd-timesyncd leaves is looked at. Where nothing can be known, the clock
   counts as not synchronised: a doubt means that nothing new is suspended.
3. A jump is seen against the time since boot, which nobody can set and which goes on while the machine sleeps.
"""

import ctypes
import os
import time
from dataclasses import dataclass
from pathlib import Path

#: Touched by systemd-timesyncd each time it set the clock right.
STAMP = Path("/run/systemd/timesync/synchronized")

#: Longest pause between two of its questions (PollIntervalMaxSec), twice, so that one may fail.
_STAMP_SECONDS = 2 * 2048.0

# include/uapi/linux/timex.h
_TIME_ERROR, _STA_UNSYNC, _STA_NANO = 5, 0x0040, 0x2000


class _Timex(ctypes.Structure):
    """`struct timex`, whole: the kernel writes all 208 bytes of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Whether the clock is known to be right, by how many milliseconds it may be off, and who says so: kernel, stamp or nobody."""

    synchronised: bool
    offset_ms: int
    said_by: str


def read(stamp: Path = STAMP) -> Reading:
    """Look at the clock."""
    raw = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.byref(raw))
    if state < 0:  # EPERM from a system call filter
        return by_stamp(stamp)
    offset_us = abs(raw.offset) // (1000 if raw.status & _STA_NANO else 1)
    good = state != _TIME_ERROR and not raw.status & _STA_UNSYNC
    return Reading(synchronised=good, offset_ms=max(offset_us, raw.esterror) // 1000 if good else 0, said_by="kernel")


def by_stamp(stamp: Path) -> Reading:
    """What the stamp of systemd-timesyncd says."""
    try:
        age = time.time() - os.stat(stamp).st_mtime  # noqa: PTH116 - a look, nothing of the path
    except OSError:
        return Reading(synchronised=False, offset_ms=0, said_by="nobody")
    return Reading(synchronised=0 <= age < _STAMP_SECONDS, offset_ms=0, said_by="stamp")


def since_boot() -> float:
    """Seconds since the machine was started, sleep counted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

"""Floor 1. How sums, dates and lists are written in French and in English."""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

_MAX_NAMED = 5


def sum_fr(amount: Decimal, currency: str) -> str:
    """4 800,00 EUR."""
    return f"{amount:,.2f}".replace(",", " ").replace(".", ",") + f" {currency}"


def sum_en(amount: Decimal, currency: str) -> str:
    """4,800.00 EUR."""
    return f"{amount:,.2f} {currency}"


def day_fr(day: date) -> str:
    """26/03/2026."""
    return f"{day.day:02}/{day.month:02}/{day.year}"


@lru_cache(maxsize=4096)
def moment_fr(at: datetime, timezone: str) -> str:
    """30/03/2026 à 09:00, at the place."""
    local = at.astimezone(ZoneInfo(timezone))
    return f"{day_fr(local)} à {local.hour:02}:{local.minute:02}"


@lru_cache(maxsize=4096)
def moment_en(at: datetime, timezone: str) -> str:
    """2026-03-30 at 09:00, at the place."""
    local = at.astimezone(ZoneInfo(timezone))
    return f"{local.date()} at {local.hour:02}:{local.minute:02}"


def names(items: Iterable[str]) -> str:
    """A short list, cut after five names."""
    listed = sorted(items)
    more = len(listed) - _MAX_NAMED
    return ", ".join(listed[:_MAX_NAMED]) + (f" (+{more})" if more > 0 else "")

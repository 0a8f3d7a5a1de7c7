"""Floor 1. Kinds of value: each takes the text a person wrote and gives a typed value, or says what is wrong.

Rules of this room:

1. One function per kind, `text -> value`, raising `Wrong` with what is wrong and how to mend it.
2. Strict before lenient: one way to write a value, its length bounded before it is converted.
3. What could make a rule wider than its writer meant is refused: host bits, a prefix of length 0, IPv4 inside IPv6.
"""

import re
from collections.abc import Callable, Collection
from datetime import date, time
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agent.model import Address, Network, Ports, Window
from agent.policy.floors import WORKING_HOURS
from agent.policy.problems import Code, Wrong, quote

E = TypeVar("E", bound=StrEnum)

_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
_FOREIGN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+#-]{0,127}")
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_MONEY: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")
_COUNTRY: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,6})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_WINDOW: Final = re.compile(r"([a-z]{3})(?:-([a-z]{3}))? +([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})")
#: Control characters, lone surrogates and direction marks: they can make a name on a screen look like another one.
_UNSHOWABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_MAX_TEXT: Final = 500
_SATURDAY: Final = 5
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,2}")


def _special(network: Network, code: Code, name: str) -> tuple[int, int, Code, str]:
    return int(network.network_address), int(network.broadcast_address), code, f"{network} ({name})"


#: Ranges that are never a customer's site nor a provider's service; a rule on them breaks the gateway itself, and one on
#: IPv4 inside IPv6 would be a second, unseen way to name a network.
_SPECIAL: Final = {
    4: (
        _special(IPv4Network("0.0.0.0/8"), Code.SPECIAL_PREFIX, "this host"),
        _special(IPv4Network("127.0.0.0/8"), Code.SPECIAL_PREFIX, "loopback"),
        _special(IPv4Network("169.254.0.0/16"), Code.SPECIAL_PREFIX, "link-local"),
        _special(IPv4Network("224.0.0.0/3"), Code.SPECIAL_PREFIX, "multicast and reserved"),
    ),
    6: (
        _special(IPv6Network("::ffff:0:0/96"), Code.MAPPED_PREFIX, "IPv4 inside IPv6"),
        _special(IPv6Network("::/127"), Code.SPECIAL_PREFIX, "unspecified and loopback"),
        _special(IPv6Network("fe80::/10"), Code.SPECIAL_PREFIX, "link-local"),
        _special(IPv6Network("ff00::/8"), Code.SPECIAL_PREFIX, "multicast"),
    ),
}


def ident(text: str) -> str:
    """Our own id of a service, policy, group, company or site."""
    if not _ID.fullmatch(text):
        raise Wrong(Code.BAD_ID, f"{quote(text)} is not an id", "Use 1 to 63 of a-z, 0-9 and '-', not beginning with '-'.")
    return text


def host_name(text: str) -> str:
    """A full DNS name, in lower case and without its last dot; names in other alphabets as they are in DNS (xn--...)."""
    name = text.lower().removesuffix(".")
    if len(name) > 253 or "." not in name or not all(_LABEL.fullmatch(label) for label in name.split(".")) or name[-1].isdigit():
        raise Wrong(
            Code.BAD_VALUE, f"{quote(text)} is not a host's full name", "Write it as ged.example.net; addresses go to prefixes."
        )
    return name


def foreign_id(text: str) -> str:
    """An id of a billing system."""
    if not _FOREIGN_ID.fullmatch(text):
        raise Wrong(Code.BAD_ID, f"{quote(text)} is not a customer id", "Use 1 to 128 letters, digits and ._:/@+#-.")
    return text


def words(text: str) -> str:
    """A name or a reason for people."""
    if not text.strip() or len(text) > _MAX_TEXT or _UNSHOWABLE.search(text):
        raise Wrong(
            Code.BAD_VALUE, f"{quote(text)} is not a text", f"Write 1 to {_MAX_TEXT} characters on one line, no control characters."
        )
    return text


def truth(text: str) -> bool:
    """`true` or `false`."""
    if text not in {"true", "false"}:
        raise Wrong(Code.WRONG_TYPE, f"{quote(text)} is neither true nor false", "Write true or false.")
    return text == "true"


def whole(text: str) -> int:
    """A whole number from 0 to 999 999 999."""
    if not _WHOLE.fullmatch(text):
        raise Wrong(Code.WRONG_TYPE, f"{quote(text)} is not a whole number", "Write digits only, such as 30.")
    return int(text)


def between(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`, both included."""

    def parse(text: str) -> int:
        value = whole(text)
        if not low <= value <= high:
            raise Wrong(Code.BAD_VALUE, f"{value} is out of range", f"Write {low} to {high}.")
        return value

    return parse


def money(text: str) -> Decimal:
    """A sum with at most two decimals."""
    if not _MONEY.fullmatch(text):
        raise Wrong(Code.WRONG_TYPE, f"{quote(text)} is not a sum of money", "Write it as 500 or 500.00.")
    return Decimal(text)


def country(text: str) -> str:
    """A calendar of public holidays: a country (`FR`) or a part of it (`FR-57`)."""
    if not _COUNTRY.fullmatch(text):
        raise Wrong(
            Code.BAD_VALUE,
            f"{quote(text)} is not a calendar of holidays",
            "Write a country such as FR, or a part of it such as FR-57.",
        )
    return text


def timezone(text: str) -> str:
    """The name of a time zone that this machine knows, such as `Europe/Paris`."""
    if not _known_zone(text):
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not a time zone", "Write it as Europe/Paris.")
    return text


@lru_cache(maxsize=1024)
def _known_zone(text: str) -> bool:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return "/" in text or text == "UTC"


def day(text: str) -> date:
    """A date, `2026-03-09`, in the years 2000 to 2100."""
    try:
        value = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        value = None
    if value is None or not 2000 <= value.year <= 2100:
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not a date", "Write it as 2026-03-09, in the years 2000 to 2100.")
    return value


def choice(enum: type[E]) -> Callable[[str], E]:
    """A member of an enumeration, by its value."""

    def parse(text: str) -> E:
        try:
            return enum(text)
        except ValueError:
            known = ", ".join(enum)
            raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not known here", f"Write one of: {known}.") from None

    return parse


def one_of(*known: str) -> Callable[[str], str]:
    """One of a closed list of words."""

    def parse(text: str) -> str:
        if text not in known:
            raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not known here", f"Write one of: {', '.join(known)}.")
        return text

    return parse


def known(what: str, names: Collection[str]) -> Callable[[str], str]:
    """The id of something that is declared elsewhere; `what` is its name in the message."""

    def parse(text: str) -> str:
        if ident(text) not in names:
            some = ", ".join(sorted(names)[:20]) or "none is declared yet"
            raise Wrong(Code.UNKNOWN_REFERENCE, f"no {what} {quote(text)}", f"Declare it, or write one of: {some}.")
        return text

    return parse


def address(text: str) -> Address:
    """One IPv4 or IPv6 address, in no special range."""
    if "/" in text:
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not one address", "Write it as 192.0.2.53 or 2001:db8::53.")
    return prefix(text).network_address


def network(family: int, first: int, length: int) -> Network:
    """A prefix from its parts: 4 or 6, the first address as a number, the length."""
    return IPv4Network((first, length)) if family == 4 else IPv6Network((first, length))


def prefix(text: str) -> Network:
    """A prefix, or one address without `/`: exact, of a length above 0, and in no special range."""
    bare, slash, length = text.partition("/")
    try:
        if "%" in bare or (slash and not _LENGTH.fullmatch(length)):
            raise ValueError
        base: Address = IPv6Address(bare) if ":" in bare else IPv4Address(bare)
        bits = int(length) if slash else base.max_prefixlen
        if bits > base.max_prefixlen:
            raise ValueError
    except ValueError:
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not a prefix", "Write it as 10.20.10.0/24 or 2001:db8:20::/48.") from None
    if bits == 0:
        raise Wrong(Code.PREFIX_ZERO, f"{text} is everything", "Name the networks that are meant.")
    span = (1 << (base.max_prefixlen - bits)) - 1
    first = int(base) & ~span
    found = network(base.version, first, bits)
    if first != int(base):
        raise Wrong(Code.HOST_BITS, f"{text} has host bits set", f"Write {found} for the network, or {bare} for the one address.")
    for low, high, code, special in _SPECIAL[base.version]:
        if first <= high and first + span >= low:
            raise Wrong(code, f"{text} touches {special}", "Name the customer's or the service's own networks.")
    return found


def interface(text: str) -> str:
    """The name of a network interface, as the kernel bounds it (15 bytes)."""
    if not _INTERFACE.fullmatch(text):
        raise Wrong(
            Code.BAD_INTERFACE,
            f"{quote(text)} is not an interface name",
            "Use 1 to 15 letters, digits, '_', '.' and '-', as `ip link` shows it.",
        )
    return text


def ports(text: str) -> Ports:
    """One port or an inclusive range: `443` or `8000-8010`."""
    match = _PORTS.fullmatch(text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high <= 65535:
        raise Wrong(
            Code.BAD_PORTS, f"{quote(text)} is not a port or a range of ports", "Write 443 or 8000-8010, within 1 to 65535."
        )
    return low, high


def hours(text: str) -> Window:
    """Hours in which a measure is in effect: `mon-thu 20:00-07:00`, into the next day, or `sat-sun 00:00-24:00`.

    Hours at which people work are refused (floor of G-18).
    """
    mend = "Write it as mon-thu 20:00-07:00 (an end that is not after the start is that of the next day) or sat-sun 00:00-24:00."
    match = _WINDOW.fullmatch(text)
    if not match or match[1] not in _DAYS or (match[2] or match[1]) not in _DAYS:
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} are no hours", mend)
    first, last = _DAYS.index(match[1]), _DAYS.index(match[2] or match[1])
    try:
        start, end = time.fromisoformat(match[3]), time.fromisoformat("00:00" if match[4] == "24:00" else match[4])
    except ValueError:
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} are no hours", mend) from None
    if first > last or match[3] == match[4]:
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} are no hours", mend)
    found = Window(days=tuple(range(first, last + 1)), start=start, end=end)
    if _works(found):
        low, high = (each.strftime("%H:%M") for each in WORKING_HOURS)
        raise Wrong(
            Code.BELOW_FLOOR,
            f"{quote(text)} reaches into working hours",
            f"Keep out of mon-fri {low}-{high}: a restriction to hours is one that work does not feel (floor of G-18).",
        )
    return found


def _works(window: Window) -> bool:
    """Does a window reach into the hours at which people work?"""
    low, high = WORKING_HOURS
    over = window.end <= window.start
    for day in window.days:
        if day < _SATURDAY and window.start < high and (over or window.end > low):
            return True
        if over and (day + 1) % 7 < _SATURDAY and window.end > low:
            return True
    return False


def window(text: str) -> Window:
    """Hours of the week: `mon-thu 09:00-15:00`. Saturdays and Sundays are refused (floor of G-20)."""
    mend = "Write it as mon-thu 09:00-15:00, the end after the start, on one day."
    match = _WINDOW.fullmatch(text)
    if not match or match[1] not in _DAYS or (match[2] or match[1]) not in _DAYS:
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not a window", mend)
    first, last = _DAYS.index(match[1]), _DAYS.index(match[2] or match[1])
    try:
        start, end = time.fromisoformat(match[3]), time.fromisoformat(match[4])
    except ValueError:
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not a window", mend) from None
    if first > last or start >= end:
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not a window", mend)
    if last >= 5:
        raise Wrong(
            Code.CLOSED_DAY,
            f"{quote(text)} is open on a Saturday or Sunday",
            "Keep to mon-fri: no suspension on a day when nobody can help or take a payment (floor of G-20).",
        )
    return Window(days=tuple(range(first, last + 1)), start=start, end=end)

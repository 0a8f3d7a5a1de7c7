"""Floor 0. The kinds of field an event is made of, and strict JSON.

Rules of this room:

1. A kind takes a decoded JSON value and gives its one normal form, or raises `EventError` with the path of the field: the
   same fact always has the same bytes.
2. Nothing is guessed: no sum from a float, no date without four digits of year, no time without a zone.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from agent.errors import EventError

# Used with `fullmatch`: `$` would let a trailing line feed pass.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+#-]{0,127}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NORMAL_SUM = re.compile(r"(0|[1-9][0-9]{0,11})\.[0-9]{2}")
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
# Control characters of both ranges (a terminal obeys C1 too), and half characters, which have no UTF-8 form.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_TEXT = 2000
_MAX_ITEMS = 500
_MAX_SUM = Decimal(10) ** 12

#: (decoded value, path) -> normal form.
Kind = Callable[[Any, str], Any]
Fields = Mapping[str, Kind]


def instant(value: datetime) -> str:
    """RFC 3339 in UTC with microseconds, the one form in which the ledger writes time."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_instant(text: str, *, field: str = "occurred_at") -> datetime:
    """RFC 3339 text with a zone to an aware UTC datetime.

    Raises:
        EventError: not a date with time and zone, or outside the years 2000 to 2100.
    """
    try:
        value = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise EventError(field=field, what="not a date and time", mend="write it as 2026-03-09T14:07:12Z") from None
    if value.tzinfo is None:
        raise EventError(field=field, what="has no time zone", mend="add Z or +01:00")
    if not 2000 <= value.year <= 2100:
        raise EventError(field=field, what="year out of range", mend="years 2000 to 2100")
    return value.astimezone(UTC)


def identifier(value: Any, field: str) -> str:
    """A name of a thing: invoice, notice, case, service."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise EventError(field=field, what="not an identifier", mend="1 to 128 letters, digits and ._:/@+#-")
    return value


def text(value: Any, field: str) -> str:
    """Free text in one or more lines, bounded, without control characters."""
    if not isinstance(value, str) or len(value) > _MAX_TEXT or _UNPRINTABLE.search(value):
        raise EventError(field=field, what="not a text", mend=f"at most {_MAX_TEXT} characters, no control characters")
    return value


def day(value: Any, field: str) -> str:
    """A civil date, as ISO 8601 text."""
    try:
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            raise ValueError
        day = date.fromisoformat(value)
    except ValueError:
        raise EventError(field=field, what="not a date", mend="write it as 2026-03-09") from None
    if not 2000 <= day.year <= 2100:
        raise EventError(field=field, what="year out of range", mend="years 2000 to 2100")
    return day.isoformat()


def moment(value: Any, field: str) -> str:
    """An instant with a zone; normal form in UTC."""
    if not isinstance(value, str):
        raise EventError(field=field, what="not a date and time", mend="write it as 2026-03-09T14:07:12Z")
    return instant(parse_instant(value, field=field))


def money(value: Any, field: str) -> str:
    """A sum, not negative, with at most four decimals; normal form has at least two."""
    if isinstance(value, str) and _NORMAL_SUM.fullmatch(value):
        return value  # by far the most; years of history are read through here
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise EventError(field=field, what="not a sum of money", mend='write it as a string: "4800.00"')
    # `Decimal` alone would also read "1_000", " 12 " and digits of other scripts.
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise EventError(field=field, what="not a sum of money", mend='write it as a string: "4800.00"')
    number = Decimal(value)
    if not number.is_finite() or number >= _MAX_SUM:
        raise EventError(field=field, what="sum out of range", mend="less than 1 000 000 000 000")
    if number < 0:
        raise EventError(field=field, what="negative sum", mend="a refund or a reversal has an event type of its own")
    if number != number.quantize(Decimal("0.0001")):
        raise EventError(field=field, what="more than four decimals", mend="round the sum")
    number = abs(number)  # minus zero is zero
    return format(number.quantize(Decimal("0.01")) if number == number.quantize(Decimal("0.01")) else number, "f")


def currency(value: Any, field: str) -> str:
    """An ISO 4217 code."""
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise EventError(field=field, what="not a currency", mend="three capital letters, ISO 4217: EUR")
    return value


def sha256(value: Any, field: str) -> str:
    """A SHA-256 in hexadecimal."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise EventError(field=field, what="not a SHA-256", mend="64 hexadecimal digits, lower case")
    return value


def boolean(value: Any, field: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise EventError(field=field, what="not true or false")
    return value


def count(value: Any, field: str) -> int:
    """A whole number, not negative."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise EventError(field=field, what="not a whole number", mend="0 to 1 000 000 000")
    return value


def list_of(kind: "Kind") -> "Kind":
    """A list whose items are all of one kind."""

    def parse_list(value: Any, field: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > _MAX_ITEMS:
            raise EventError(field=field, what="not a list", mend=f"at most {_MAX_ITEMS} items")
        return [kind(item, f"{field}[{index}]") for index, item in enumerate(value)]

    return parse_list


def one_of(*allowed: str) -> "Kind":
    """One of a few words."""

    def parse_choice(value: Any, field: str) -> str:
        if value not in allowed or not isinstance(value, str):
            raise EventError(field=field, what=f"{value!r:.60} is not allowed here", mend="one of " + ", ".join(allowed))
        return value

    return parse_choice


def obj(*, required: "Fields", optional: "Fields") -> "Kind":
    """An object with these fields and no others."""

    def parse_object(value: Any, field: str) -> dict[str, Any]:
        return read_fields(value, required=required, optional=optional, field=field)

    return parse_object


def anything(value: Any, field: str) -> Any:
    """Our own traces: plain JSON that this program wrote itself."""
    del field
    return value


def read_fields(value: Any, *, required: Fields, optional: Fields, field: str) -> dict[str, Any]:
    """Check and normalise the fields of one object; `field` is the path that leads to it."""
    prefix = f"{field}." if field else ""
    if not isinstance(value, Mapping):
        raise EventError(field=field or "body", what="not an object")
    kinds = {**required, **optional}
    unknown = [name for name in value if name not in kinds]
    if unknown:
        known = ", ".join(sorted(kinds))
        raise EventError(field=f"{prefix}{min(unknown)}"[:200], what="unknown field", mend=f"known fields: {known}")
    missing = [name for name in required if value.get(name) is None]  # null is not a value
    if missing:
        raise EventError(field=f"{prefix}{min(missing)}", what="missing")
    return {name: kinds[name](item, f"{prefix}{name}") for name, item in value.items() if item is not None}


def load_json(raw: bytes | str) -> Any:
    """Strict JSON: UTF-8, no duplicate keys, no NaN, no half characters, nesting within the interpreter's bound.

    Fractions come back as `Decimal`.

    Raises:
        EventError: with what is wrong.
    """
    try:
        text = raw.decode() if isinstance(raw, bytes) else raw
        value = _DECODER.decode(text)
        if "\\ud" in text.lower():  # an escape can name half a character, which no ledger row or answer could hold
            json.dumps(value, default=str, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise EventError(field="body", what="not UTF-8") from None
    except UnicodeEncodeError:
        raise EventError(field="body", what="half a character (a lone surrogate escape)") from None
    except RecursionError:
        raise EventError(field="body", what="nested too deeply") from None
    except InvalidOperation:
        raise EventError(field="body", what="a number is out of range") from None
    except ValueError as error:
        raise EventError(field="body", what=f"not JSON: {error}"[:200]) from None
    return value


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in items:
        if name in found:
            raise EventError(field=ascii(name)[1:-1][:80], what="given twice in one object")
        found[name] = value
    return found


def _constant(name: str) -> Any:
    raise EventError(field="body", what=f"{name} is not JSON")


#: Made once: making a decoder costs more than decoding a short text.
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_constant, object_pairs_hook=_pairs)

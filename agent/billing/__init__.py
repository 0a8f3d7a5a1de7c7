"""Floor 1. Per billing system: is a webhook authentic and fresh, and which facts does it state?

Rules of this room:

1. The signature is verified on the raw bytes, strictly before anything is parsed. Only the holder of a secret gets a body
   parsed at all.
2. One small module per billing system, one row in `KINDS`. A module knows its vendor's headers and payload; nothing outside
   this room does.
3. A name is a hint, the state inside the object is the fact: vendors send "paid" for things that are not paid.
4. What is authentic but says nothing we use is `Ignored`, with the reason: a value, not an error. Only what can not be
   believed or understood is `Rejected`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from agent.billing import standard, stripe
from agent.billing.fact import Fact, Ignored, Source

__all__ = ["HEADERS", "KINDS", "Fact", "Ignored", "Kind", "Source"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One billing system.

    Attributes:
        headers: the request headers `read` looks at, lower case; nothing else of a request is needed.
        read: `(headers, body, source, now) -> facts and what was ignored`; raises `Rejected`, 401 when not authentic or
            not fresh, 403 for a fact no biller may state, 400 when it can not be understood.
        signed_at: when the sender says it signed, or None; only worth believing after `read` returned (clock-skew metric).
        key: the text of a secret file -> the key bytes for `Source.secrets`; raises `ValueError` saying how to mend it.
    """

    headers: tuple[str, ...]
    read: Callable[[Mapping[str, str], bytes, Source, datetime], tuple[Fact | Ignored, ...]]
    signed_at: Callable[[Mapping[str, str]], datetime | None]
    key: Callable[[str], bytes]


KINDS: Mapping[str, Kind] = {
    "native": Kind(headers=standard.HEADERS, read=standard.read, signed_at=standard.signed_at, key=standard.key),
    "stripe": Kind(headers=stripe.HEADERS, read=stripe.read, signed_at=stripe.signed_at, key=stripe.key),
}

#: Every header that some kind reads: what the listening side passes on, and nothing more.
HEADERS: frozenset[str] = frozenset(name for kind in KINDS.values() for name in kind.headers)

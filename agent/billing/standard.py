"""Floor 1. Kind `native`: our own vocabulary, signed as Standard Webhooks (symmetric, `v1`).

Rules of this room:

1. Signed content is `id.timestamp.body` on the raw bytes; the signature is base64 of HMAC-SHA256
   (standard-webhooks.md 1.0.0, "Signature scheme").
2. Header grammar is strict, with caps; what does not fit is a bad signature, never a guess.
3. The identifier may not contain a full stop: it is the delimiter of the signed content, and the specification warns of it.
4. A batch is taken whole or not at all, and the answer lists every problem in it.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agent.billing.fact import Fact, Ignored, Source, any_match, check_fresh, malformed, state
from agent.errors import EventError, Rejected
from agent.event import ABOUT_HOST, load_json, parse_instant

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
MAX_BATCH = 250
MAX_CUSTOMER = 200

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:@+-]{0,79}")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,9}")
_SIGNATURE = re.compile(r"v[0-9]{1,3}[a-z]{0,3},[A-Za-z0-9+/=_-]{1,200}")
_MAX_SIGNATURES = 16
_ENVELOPE = frozenset({"type", "id", "customer", "occurred_at", "data"})


def key(text: str) -> bytes:
    """The HMAC key of a secret as Standard Webhooks writes it: `whsec_` and base64 of 24 to 64 bytes.

    Raises:
        ValueError: not such a secret. The message never holds the secret.
    """
    encoded = text.strip().removeprefix("whsec_")
    try:
        secret = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64; write whsec_ and the base64 of 24 to 64 random bytes") from None
    if not 24 <= len(secret) <= 64:
        raise ValueError(f"{len(secret)} bytes long; Standard Webhooks asks for 24 to 64 random bytes")
    return secret


def sign(secret: bytes, *, message: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a message: for senders of ours, the demo and tests."""
    return "v1," + _mac(secret, message, str(timestamp), body).decode()


def signed_at(headers: Mapping[str, str]) -> datetime | None:
    """When the sender says it signed, or None if it does not say so in the strict form."""
    text = headers.get("webhook-timestamp", "")
    return datetime.fromtimestamp(int(text), UTC) if _TIMESTAMP.fullmatch(text) else None


def verify(headers: Mapping[str, str], body: bytes, source: Source, now: datetime) -> str:
    """Check that a request is authentic and fresh.

    Args:
        headers: names in lower case.
        body: the bytes as they came.
        source: whose secrets are tried, all of them.
        now: the time to judge freshness at.

    Returns:
        the message id, which stays the same when the sender tries again.

    Raises:
        Rejected: 401 `bad_signature`, `stale` or `future`.
    """
    message = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split(" ", _MAX_SIGNATURES)
    when = signed_at(headers)
    if (
        not _ID.fullmatch(message)
        or when is None
        or len(given) > _MAX_SIGNATURES
        or not all(_SIGNATURE.fullmatch(one) for one in given)
    ):
        raise _bad_signature()
    # Compared as text: base64 has one canonical form, and decoding would accept several.
    ours = (_mac(secret, message, timestamp, body) for secret in source.secrets)
    if not any_match(ours, (one[3:].encode() for one in given if one.startswith("v1,"))):
        raise _bad_signature()
    check_fresh(when, source, now)
    return message


def read(headers: Mapping[str, str], body: bytes, source: Source, now: datetime) -> tuple[Fact | Ignored, ...]:
    """Verify, then parse `{"type", "customer", "occurred_at", "data"}`, or `{"events": [...]}` of up to 250 of them.

    Returns:
        one entry per fact. The fact's id is the message id; in a batch `<message id>/<n>`, counted from 1.

    Raises:
        Rejected: as `verify`; 403 for a type no biller may state; 400 `malformed` with every problem found.
    """
    message = verify(headers, body, source, now)
    try:
        payload = load_json(body)
        if not isinstance(payload, dict) or "events" not in payload:
            return (read_item(payload, source, id_=message),)
        items = _batch(payload)
    except EventError as error:
        raise malformed(error) from None
    said: list[Fact | Ignored] = []
    problems: list[str] = []
    for number, item in enumerate(items, 1):
        try:
            said.append(read_item(item, source, id_=f"{message}/{number}"))
        except EventError as error:
            problems.append(f"events[{number - 1}].{error}")
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise Rejected(status=400, kind="malformed", what=shown)
    return tuple(said)


def read_item(item: Any, source: Source, *, id_: str) -> Fact | Ignored:
    """One fact in the native form; `id_` is what it will be called. An `id` inside must say the same.

    Raises:
        EventError: with the path of the first field that is wrong.
        Rejected: 403 for a type no billing system may state.
    """
    if not isinstance(item, dict):
        raise EventError(field="body", what="not an object")
    unknown = sorted(set(item) - _ENVELOPE)
    if unknown:
        raise EventError(field=ascii(unknown[0])[1:-1][:80], what="unknown field", mend="known: " + ", ".join(sorted(_ENVELOPE)))
    for name in ("type", "occurred_at"):
        if not isinstance(item.get(name), str):
            raise EventError(field=name, what="missing or not a text")
    if item.get("id") not in (None, id_):
        raise EventError(field="id", what="differs from the identifier of the message", mend="leave it out, or send them equal")
    return state(
        source,
        id_=id_,
        type_=item["type"],
        customer=_customer(item),
        occurred_at=parse_instant(item["occurred_at"]),
        body=item.get("data", {}),
    )


def _customer(item: Mapping[str, Any]) -> str:
    customer = item.get("customer")
    may_name_one = ABOUT_HOST.get(item["type"])
    if may_name_one is False and customer is not None:
        raise EventError(field="customer", what=f"{item['type']} is about no company", mend="leave it out")
    if may_name_one is not None and customer is None:
        return ""
    if not isinstance(customer, str) or not 0 < len(customer) <= MAX_CUSTOMER or not customer.isprintable():
        raise EventError(field="customer", what="missing or not a name", mend=f"1 to {MAX_CUSTOMER} printable characters")
    return customer


def _batch(payload: Mapping[str, Any]) -> list[Any]:
    items = payload["events"]
    if set(payload) != {"events"} or not isinstance(items, list) or not 0 < len(items) <= MAX_BATCH:
        raise EventError(
            field="events", what="not a batch", mend=f'write {{"events": [...]}} with 1 to {MAX_BATCH} facts, nothing else'
        )
    return items


def _mac(secret: bytes, message: str, timestamp: str, body: bytes) -> bytes:
    signed = b".".join((message.encode(), timestamp.encode(), body))
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256))


def _bad_signature() -> Rejected:
    return Rejected(
        status=401,
        kind="bad_signature",
        what="webhook-id, webhook-timestamp and webhook-signature do not prove this body; check the secret and the raw bytes",
    )

"""Floor 1. Values to plain JSON and back: how a stored inventory keeps them.

Rules of this room:

1. Written once by a compile, read back many times: reading is what is made fast, and only what differs from the default
   is written.
2. Rows are not an input format. They are read from a file that this program wrote itself, of its own version.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, time
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final

from agent.model import (
    L4,
    Address,
    Attachment,
    Company,
    Dependency,
    LocalApplication,
    Mode,
    Named,
    Network,
    Policy,
    Probe,
    Protected,
    Selector,
    Service,
    ServiceClass,
    Site,
    Subscription,
    Window,
)

Row = Mapping[str, Any]


def write(value: Company | Service | Policy) -> str:
    """The row of a company, a service or a policy."""
    return _ENCODER.encode(_plain(value))


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_AS_IT_IS: Final = frozenset({type(None), bool, int, str, dict})
_AS_TEXT: Final = frozenset({Decimal, date, time, Mode, L4, Protected, ServiceClass})


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is tuple:
        return [_plain(item) for item in value]
    if kind in _AS_TEXT:
        return str(value)
    if kind is IPv4Network or kind is IPv6Network:
        return [value.version, int(value.network_address), value.prefixlen]
    if kind is IPv4Address or kind is IPv6Address:
        return [value.version, int(value)]
    return {name: _plain(item) for name, default in _DEFAULTS[kind] if (item := getattr(value, name)) != default}


_DEFAULTS: Final = {
    kind: tuple((each.name, each.default) for each in fields(kind))
    for kind in (
        *(Company, Site, Attachment, LocalApplication, Dependency, Probe, Subscription),
        *(Service, Selector, Named, Policy, Window),
    )
}


def read_company(row: str) -> Company:
    """The company of a row that `write` made."""
    found = json.loads(row)
    return Company(
        **{
            **found,
            "sites": tuple(_site(site) for site in found.get("sites", ())),
            "subscriptions": tuple(_subscription(each) for each in found.get("subscriptions", ())),
            "protected": tuple(Protected(each) for each in found.get("protected", ())),
        }
    )


def read_service(row: str) -> Service:
    """The service of a row that `write` made."""
    found = json.loads(row)
    selectors = tuple(
        Selector(
            prefix=_network(each["prefix"]),
            protocol=L4(each["protocol"]),
            ports=_pairs(each.get("ports", ())),
            before_nat=each.get("before_nat", False),
        )
        for each in found.get("selectors", ())
    )
    names = tuple(
        Named(name=each["name"], protocol=L4(each["protocol"]), ports=_pairs(each.get("ports", ())))
        for each in found.get("names", ())
    )
    return Service(**{**found, "class_": ServiceClass(found["class_"]), "selectors": selectors, "names": names})


def read_policy(row: str) -> Policy:
    """The policy of a row that `write` made."""
    return policy_of(json.loads(row))


def policy_values(policy: Policy) -> dict[str, Any]:
    """Every value of a policy as plain JSON: what is pinned to a notice must not move when a default does."""
    return {each.name: _plain(getattr(policy, each.name)) for each in fields(policy)}


def policy_of(found: Mapping[str, Any]) -> Policy:
    """The policy of plain values, as `policy_values` or a row has them.

    Values that this version does not know are left out, those it knows and that are missing have their default: what an
    older version pinned stays readable.
    """
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in found.items() if name in _POLICY
    }
    values["mode"] = Mode(found["mode"])
    for name in ("min_debt", "stage2_min_debt", "stage3_min_debt", "stage4_min_debt"):
        if name in found:
            values[name] = Decimal(found[name])
    for name in ("windows", "effective_hours"):
        if name in found:
            values[name] = tuple(
                Window(days=tuple(each["days"]), start=time.fromisoformat(each["start"]), end=time.fromisoformat(each["end"]))
                for each in found[name]
            )
    if "blackout_dates" in found:
        values["blackout_dates"] = tuple(date.fromisoformat(each) for each in found["blackout_dates"])
    return Policy(**values)


_POLICY: Final = frozenset(each.name for each in fields(Policy))

# Enum look-ups by value cost more than everything else of a subscription; there are seven classes.
_CLASSES: Final[Mapping[str | None, ServiceClass | None]] = {None: None, **{each.value: each for each in ServiceClass}}


def _subscription(row: Row) -> Subscription:
    return Subscription(
        service=row["service"],
        class_=_CLASSES[row.get("class_")],
        justification=row.get("justification", ""),
        sites=tuple(row.get("sites", ())),
        paid_through=_day(row.get("paid_through")),
        monthly_fee=Decimal(row["monthly_fee"]) if "monthly_fee" in row else None,
        addresses=tuple(_network(each) for each in row.get("addresses", ())),
    )


def _site(row: Row) -> Site:
    return Site(
        id=row["id"],
        timezone=row["timezone"],
        attachments=tuple(
            Attachment(
                prefix=_network(each["prefix"]) if "prefix" in each else None,
                interface=each.get("interface"),
                vrf=each.get("vrf"),
                valid_from=_day(each.get("valid_from")),
                valid_to=_day(each.get("valid_to")),
            )
            for each in row.get("attachments", ())
        ),
        local_applications=tuple(
            LocalApplication(name=each["name"], probe=_probe(each["probe"])) for each in row.get("local_applications", ())
        ),
        dependencies=tuple(
            Dependency(name=each["name"], needed_by=each["needed_by"], probe=_probe(each["probe"]))
            for each in row.get("dependencies", ())
        ),
        control=_probe(row["control"]) if "control" in row else None,
    )


def _probe(row: Row) -> Probe:
    version, number = row["address"]
    address: Address = IPv4Address(number) if version == 4 else IPv6Address(number)
    return Probe(**{**row, "address": address})


def _network(row: list[int]) -> Network:
    version, first, length = row
    return IPv4Network((first, length)) if version == 4 else IPv6Network((first, length))


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _pairs(rows: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((low, high) for low, high in rows)

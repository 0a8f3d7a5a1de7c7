"""Floor 1, doctor. The listing of `nft --json --terse list ruleset`, as tables. What is not known is passed over."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from agent.doctor.facts import BaseChain, Table

#: Statements that a check asks for, as nft's JSON calls them.
_TELLING = frozenset({"drop", "reject", "redirect", "tproxy", "dnat", "snat", "masquerade", "fwd", "dup", "notrack", "queue"})


def tables(listing: Mapping[str, Any]) -> tuple[Table, ...]:
    """All tables, ours too, in the order of the listing.

    Raises:
        ValueError: not such a listing.
    """
    items = listing.get("nftables")
    if not isinstance(items, list):
        raise ValueError("not a listing of nftables")  # noqa: TRY004 - what a program printed is no argument of the wrong type
    found: dict[tuple[str, str], Table] = {}
    for item in items:
        kind, body = next(iter(item.items()))
        if kind == "table":
            found[body["family"], body["name"]] = Table(family=body["family"], name=body["name"])
        elif "table" in body:
            where = body["family"], body["table"]
            found[where] = _with(found.get(where, Table(family=where[0], name=where[1])), kind, body)
    return tuple(found.values())


def _with(table: Table, kind: str, body: Mapping[str, Any]) -> Table:
    if kind == "chain" and "hook" in body:
        chain = BaseChain(
            family=table.family,
            table=table.name,
            name=body["name"],
            type=body.get("type", "filter"),
            hook=body["hook"],
            priority=int(body.get("prio", 0)),
            policy=body.get("policy", "accept"),
        )
        return replace(table, chains=(*table.chains, chain))
    if kind == "flowtable":
        devices = body.get("dev", [])
        names = (devices,) if isinstance(devices, str) else tuple(devices)
        return replace(table, flowtables={**table.flowtables, body["name"]: names})
    if kind == "rule":
        return replace(table, says=table.says | frozenset(_says(body.get("expr", []))))
    return table


def _says(expressions: list[Any]) -> Iterator[str]:
    for expression in expressions:
        if not isinstance(expression, dict):
            continue
        for kind, body in expression.items():
            if kind in _TELLING:
                yield kind
            elif kind == "flow":
                yield "flow add"
            elif kind == "mangle":
                key = body.get("key", {})
                for family in ("meta", "ct"):
                    if isinstance(key.get(family), dict) and key[family].get("key") == "mark":
                        yield f"set {family} mark"
            elif kind == "xt":
                yield "xt"

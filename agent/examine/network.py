"""Floor 3, examine. What is in the kernel's network side: tables of everybody, routing rules, interfaces, ipset, legacy tables."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pyroute2 import Ethtool, IPRoute, IPSet

from agent.doctor.facts import IpSet, Link, RoutingRule, Table
from agent.doctor.listing import tables
from agent.kernel.xtrules import CHAIN_PREFIX, SET_PREFIX

_SECONDS = 30.0
_ADMIN_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


def tool(name: str, *arguments: str) -> str | None:
    """What an administrator's program prints; None where it is not installed.

    Raises:
        RuntimeError: it failed, with its first words.
    """
    path = shutil.which(name, path=_ADMIN_PATH)
    if path is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            [path, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{name} {' '.join(arguments)}: no answer within {_SECONDS:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"{name} {' '.join(arguments)}: {said[0] if said else f'exit code {done.returncode}'}")
    return done.stdout


def ruleset() -> tuple[Table, ...]:
    """All tables of nftables, without the members of sets.

    Raises:
        RuntimeError: nft is missing or may not look.
    """
    listing = tool("nft", "--json", "--terse", "list", "ruleset")
    if listing is None:
        raise RuntimeError("the program nft is missing")
    return tables(json.loads(listing))


def legacy() -> Mapping[str, int]:
    """Tables of legacy iptables that others use, with how many rules; -1 where nothing here can count them.

    What our own backend for legacy iptables put there is none of others'.
    """
    found = {}
    for family, prefix in (("ip", "iptables"), ("ip6", "ip6tables")):
        names: list[str] = []
        with suppress(FileNotFoundError):
            names = Path(f"/proc/net/{family}_tables_names").read_text().split()
        for name in names:
            saved = tool(f"{prefix}-legacy-save", "-t", name)
            lines = [line for line in (saved or "").splitlines() if CHAIN_PREFIX not in line]
            count = sum(line.startswith("-A ") for line in lines) if saved is not None else -1
            # A kernel with its tables built in shows them although nobody ever used them.
            used = saved is None or count or any(line.startswith(":") and " ACCEPT " not in line for line in lines)
            if used:
                found[f"{prefix} {name}"] = count
    return found


def ipsets() -> tuple[IpSet, ...]:
    """The sets of ipset that are not ours; none where the kernel has no ipset."""
    found = []
    with suppress(Exception), IPSet() as sets:  # whatever it is: others' sets are only good to know
        for header in sets.list():
            data = header.get_attr("IPSET_ATTR_DATA")
            if str(header.get_attr("IPSET_ATTR_SETNAME")).startswith(SET_PREFIX):
                continue
            found.append(
                IpSet(
                    name=str(header.get_attr("IPSET_ATTR_SETNAME")),
                    type=str(header.get_attr("IPSET_ATTR_TYPENAME")),
                    members=int(data.get_attr("IPSET_ATTR_ELEMENTS") or 0),
                    most=data.get_attr("IPSET_ATTR_MAXELEM"),
                )
            )
    return tuple(found)


def routing_rules() -> tuple[RoutingRule, ...]:
    """The rules that look at the incoming interface or at the mark, of both families."""
    found = []
    with IPRoute() as route:
        for rule in route.get_rules():
            iif, mark = rule.get_attr("FRA_IIFNAME") or "", rule.get_attr("FRA_FWMARK")
            if (iif or mark is not None) and rule["family"] in (2, 10):
                found.append(
                    RoutingRule(
                        family=4 if rule["family"] == 2 else 6,
                        priority=int(rule.get_attr("FRA_PRIORITY") or 0),
                        table=int(rule.get_attr("FRA_TABLE") or rule["table"]),
                        iif=iif,
                        mark=mark,
                    )
                )
    return tuple(found)


def links() -> tuple[Link, ...]:
    """The interfaces."""
    with IPRoute() as route:
        every = list(route.get_links())
    names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in every}
    kinds = {link["index"]: link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "" for link in every}
    return tuple(
        Link(
            name=names[link["index"]],
            kind=kinds[link["index"]],
            xdp=bool(link.get_nested("IFLA_XDP", "IFLA_XDP_ATTACHED")),
            bridge=_bridge(link.get_attr("IFLA_MASTER"), names, kinds),
            hardware_offload=_offloads(names[link["index"]]),
        )
        for link in every
    )


def _bridge(above: int | None, names: Mapping[int, str], kinds: Mapping[int, str]) -> str:
    return names[above] if above is not None and kinds.get(above) == "bridge" else ""


def _offloads(name: str) -> bool:
    """Whether flows may be offloaded to the card; False where the card has no such word."""
    with suppress(Exception), Ethtool() as ethtool:  # many kinds of interface answer with an error of their own
        feature = ethtool.get_features(name).features.get("hw-tc-offload")
        return bool(feature.enable) if feature is not None else False
    return False

"""What the facts of a host mean for ecluse, finding by finding; and that each is said whole, in both languages."""

from dataclasses import replace
from typing import Any

import pytest

from agent.doctor import CHECKS, Facts, Finding, Level, diagnose, worst
from agent.doctor.facts import BaseChain, Certificate, Clock, Disk, IpSet, Kept, Link, RoutingRule, Table
from agent.doctor.installation import UNITS
from agent.doctor.listing import tables

RUNNING = dict.fromkeys(UNITS, "active")

#: A gateway with nothing in the way.
CALM = Facts(
    kernel="6.1.0-28-amd64",
    nft="1.0.6",
    features={"structure": True, "renew_keeps_counter": True, "owner_persist": False},
    clock=Clock(synchronised=True, offset_ms=12.0),
    disk=Disk(path="/var/lib/ecluse", free_mb=20_000, total_mb=40_000, free_files=10**6, read_only=False),
    sysctls={"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1", "net.ipv4.conf.all.rp_filter": "0"},
    conntrack=(100, 262_144),
    links=(Link(name="eth0"),),
    units=RUNNING,
)


def kept(what: str = "ledger", mode: int = 0o600, uid: int = 7) -> Kept:
    return Kept(what=what, path=f"/x/{what}", mode=mode, uid=uid, directory="/x", directory_uid=7)


def chain(hook: str = "forward", priority: int = 0, policy: str = "accept", table: str = "theirs", **how: Any) -> BaseChain:
    return BaseChain(
        family="inet", table=table, name="c", type=how.pop("type", "filter"), hook=hook, priority=priority, policy=policy
    )


def with_(*chains: BaseChain, says: tuple[str, ...] = (), name: str = "theirs", **how: Any) -> Facts:
    return replace(CALM, tables=(Table(family="inet", name=name, chains=chains, says=frozenset(says), **how),))


OURS = tuple(replace(chain(hook, -10, table="ecluse"), name=hook) for hook in ("forward", "input"))

#: Facts, the code of what is found in them, and how bad it is.
CASES: list[tuple[Facts, str, Level]] = [
    (replace(CALM, kept=(kept(mode=0o640),)), "PRIVATE", Level.WARNING),
    (replace(CALM, kept=(kept("secret", 0o644),)), "PRIVATE", Level.BAD),
    (replace(CALM, kept=(kept("key", 0o640),)), "PRIVATE", Level.BAD),
    (replace(CALM, kept=(kept("config", 0o664),)), "PRIVATE", Level.WARNING),
    (replace(CALM, kept=(kept(uid=0),)), "LEDGER_OWNER", Level.BAD),
    (replace(CALM, unread={"kept": "EACCES"}), "PRIVATE", Level.WARNING),
    (replace(CALM, former=("/x/ledger.db.before-20260302T090000Z",)), "FORMER_LEDGERS", Level.NOTICE),
    (replace(CALM, certificates=(Certificate(listener="webhooks", days_left=3.0),)), "CERTIFICATE", Level.WARNING),
    (replace(CALM, certificates=(Certificate(listener="webhooks", days_left=-1.0),)), "CERTIFICATE", Level.BAD),
    (replace(CALM, certificates=(Certificate(listener="metrics", fault="no key"),)), "CERTIFICATE", Level.BAD),
    (replace(CALM, units=RUNNING | {"ecluse-enforce.service": "failed"}), "UNITS", Level.BAD),
    (replace(CALM, units={name: "active" for name in UNITS if name != "ecluse-enforce.service"}), "UNITS", Level.BAD),
    (replace(CALM, units=dict.fromkeys(UNITS, "not-found")), "UNITS", Level.NOTICE),
    (replace(CALM, units=RUNNING | {"ecluse-probe.service": "failed"}), "UNIT_ASIDE", Level.WARNING),
    (replace(CALM, units=RUNNING | {"ecluse-probe.service": "masked"}), "UNIT_ASIDE", Level.NOTICE),
    (replace(CALM, units={name: "active" for name in UNITS if name != "ecluse-probe.socket"}), "UNIT_ASIDE", Level.WARNING),
    (replace(CALM, units=RUNNING | {"ecluse-serve.socket": "inactive"}), "UNIT_ASIDE", Level.WARNING),
    (replace(CALM, units=RUNNING | {"ecluse.target": "disabled"}), "UNIT_ASIDE", Level.WARNING),
    (replace(CALM, kernel="4.19.0-5-amd64"), "KERNEL", Level.BAD),
    (replace(CALM, kernel=""), "KERNEL", Level.BAD),
    (replace(CALM, libnftables="libnftables.so.1 can not be loaded"), "LIBNFTABLES", Level.BAD),
    (replace(CALM, nft=None), "NFT", Level.WARNING),
    (replace(CALM, nft="0.9.8"), "NFT", Level.WARNING),
    (replace(CALM, features=None, unread={"features": "not root"}), "FEATURES", Level.WARNING),
    (replace(CALM, features={"structure": False}), "FEATURES", Level.BAD),
    (replace(CALM, features={"structure": True}), "RENEWAL", Level.NOTICE),
    (replace(CALM, clock=None, unread={"clock": "EPERM"}), "CLOCK", Level.WARNING),
    (replace(CALM, clock=Clock(synchronised=False, offset_ms=1)), "CLOCK", Level.WARNING),
    (replace(CALM, clock=Clock(synchronised=True, offset_ms=16_000)), "CLOCK", Level.WARNING),
    (replace(CALM, disk=None, unread={"disk": "gone"}), "DISK", Level.WARNING),
    (replace(CALM, disk=Disk(path="/s", free_mb=100, total_mb=1000, free_files=10**6, read_only=False)), "DISK", Level.WARNING),
    (replace(CALM, disk=Disk(path="/s", free_mb=900, total_mb=90_000, free_files=10**6, read_only=False)), "DISK", Level.WARNING),
    (replace(CALM, disk=Disk(path="/s", free_mb=9000, total_mb=10_000, free_files=3, read_only=False)), "DISK", Level.WARNING),
    (replace(CALM, disk=Disk(path="/s", free_mb=10, total_mb=100, free_files=10**6, read_only=False)), "DISK", Level.BAD),
    (replace(CALM, disk=Disk(path="/s", free_mb=9000, total_mb=10_000, free_files=10**6, read_only=True)), "DISK", Level.BAD),
    (replace(CALM, sysctls={"net.ipv4.ip_forward": "1"}), "FORWARDING", Level.NOTICE),
    (replace(CALM, sysctls={}), "FORWARDING", Level.WARNING),
    (with_(says=("flow add",), flowtables={"fast": ("eth0", "eth1")}), "FLOWTABLES", Level.NOTICE),
    (
        replace(with_(says=("flow add",), flowtables={"fast": ("eth0",)}), links=(Link(name="v", kind="vrf"),)),
        "FLOWTABLES",
        Level.WARNING,
    ),
    (with_(flowtables={"fast": ("eth0",)}), "FLOWTABLES", Level.NOTICE),
    (replace(CALM, links=(Link(name="eth0", xdp=True),)), "XDP", Level.WARNING),
    (replace(CALM, links=(Link(name="eth0", hardware_offload=True),)), "HARDWARE", Level.NOTICE),
    (replace(CALM, links=(), unread={"links": "EPERM"}), "OFFLOADS", Level.WARNING),
    (replace(CALM, links=(Link(name="a", bridge="br0"), Link(name="b", bridge="br0"))), "BRIDGES", Level.NOTICE),
    (with_(says=("redirect",)), "PROXIES", Level.WARNING),
    (with_(says=("tproxy",)), "PROXIES", Level.WARNING),
    (with_(chain("output", policy="drop")), "ANSWERS", Level.WARNING),
    (with_(chain("postrouting", policy="drop")), "ANSWERS", Level.WARNING),
    (replace(CALM, rules=(RoutingRule(family=4, priority=100, table=7, iif="za0"),)), "ROUTES_IIF", Level.WARNING),
    (replace(CALM, rules=(RoutingRule(family=6, priority=100, table=7, mark=5),)), "ROUTES_MARK", Level.WARNING),
    (replace(CALM, unread={"rules": "EPERM"}), "ROUTES", Level.WARNING),
    (replace(CALM, sysctls={**CALM.sysctls, "net.ipv4.conf.all.rp_filter": "1"}), "RP_FILTER", Level.NOTICE),
    (replace(CALM, conntrack=(80, 100)), "CONNTRACK", Level.WARNING),
    (replace(CALM, conntrack=(95, 100)), "CONNTRACK", Level.BAD),
    (replace(CALM, unread={"tables": "nft: not permitted"}), "TABLES", Level.WARNING),
    (with_(*OURS, chain("forward", -300, "drop", table="ecluse"), name="ecluse"), "OUR_TABLE", Level.BAD),
    (with_(chain(priority=-10)), "SAME_PRIORITY", Level.NOTICE),
    (with_(chain(priority=-20, policy="drop")), "EARLIER_DROP", Level.NOTICE),
    (with_(chain("prerouting", -300), says=("drop",)), "EARLIER_DROP", Level.NOTICE),
    (replace(CALM, legacy={"iptables filter": 12}), "LEGACY", Level.NOTICE),
    (replace(with_(), legacy={"iptables filter": -1}, tables=(Table(family="ip", name="filter"),)), "LEGACY", Level.WARNING),
    (replace(CALM, unread={"legacy": "no"}), "LEGACY", Level.WARNING),
    (replace(CALM, ipsets=(IpSet(name="bans", type="hash:ip", members=60_000, most=65_536),)), "IPSET", Level.NOTICE),
    (replace(CALM, files=("/etc/nftables.conf",)), "FLUSHES", Level.NOTICE),
]

#: Facts in which nothing of that code is worse than fine.
NOTHING: list[tuple[Facts, str]] = [
    (with_(chain("output")), "ANSWERS"),
    (with_(chain("output", policy="drop", type="nat")), "ANSWERS"),
    (replace(CALM, rules=(RoutingRule(family=4, priority=0, table=255, iif="lo"),)), "ROUTES"),
    (
        replace(
            CALM,
            rules=(RoutingRule(family=4, priority=9, table=7, mark=1),),
            sysctls={**CALM.sysctls, "net.ipv4.fwmark_reflect": "1"},
        ),
        "ROUTES",
    ),
    (replace(CALM, links=(Link(name="a", bridge="br0"),)), "BRIDGES"),
    (
        replace(
            CALM,
            links=(Link(name="a", bridge="br0"), Link(name="b", bridge="br0")),
            sysctls={**CALM.sysctls, "net.bridge.bridge-nf-call-iptables": "1"},
        ),
        "BRIDGES",
    ),
    (replace(CALM, conntrack=None), "CONNTRACK"),
    (replace(CALM, kept=(kept(), kept("config", 0o644), kept("secret"))), "PRIVATE"),
    (
        replace(CALM, certificates=(Certificate(listener="webhooks", days_left=60.0), Certificate(listener="metrics"))),
        "CERTIFICATE",
    ),
    (replace(CALM, units=None), "UNITS"),
    (replace(CALM, units=RUNNING | {"ecluse-serve.service": "reloading"}), "UNITS"),
    (with_(*OURS, name="ecluse"), "OUR_TABLE"),
    (with_(chain(priority=0, policy="drop")), "EARLIER_DROP"),
    (with_(chain("forward", -300)), "EARLIER_DROP"),
    (with_(says=("set meta mark",)), "MARKS"),
    (replace(CALM, ipsets=(IpSet(name="bans", type="hash:ip", members=6, most=65_536),)), "IPSET"),
    (replace(CALM, running=("firewalld", "dockerd", "bash")), "NEIGHBOUR"),
]


def test_a_gateway_with_nothing_in_the_way_has_nothing_but_good_findings() -> None:
    assert worst(diagnose(CALM)) is Level.OK
    assert worst(()) is Level.OK


@pytest.mark.parametrize(("facts", "code", "level"), CASES, ids=[f"{code}-{level.word}" for _, code, level in CASES])
def test_what_is_wrong_is_found_and_nothing_else_with_it(facts: Facts, code: str, level: Level) -> None:
    worse = [finding for finding in diagnose(facts) if finding.level is not Level.OK]
    assert [(finding.code, finding.level) for finding in worse] == [(code, level)]


@pytest.mark.parametrize(("facts", "code"), NOTHING, ids=[code for _, code in NOTHING])
def test_what_is_no_harm_is_not_complained_about(facts: Facts, code: str) -> None:
    assert [finding for finding in diagnose(facts) if finding.code.startswith(code) and finding.level is not Level.OK] == []


@pytest.mark.parametrize("facts", [CALM, *(facts for facts, _, _ in CASES), *(facts for facts, _ in NOTHING)])
def test_a_finding_is_said_in_both_languages_and_what_is_wrong_says_what_it_means(facts: Facts) -> None:
    for finding in diagnose(facts):
        for pair in (finding.what, finding.means, finding.do):
            assert bool(pair[0]) == bool(pair[1]), finding
        assert finding.what[0]
        if finding.level is not Level.OK:
            assert finding.means[0], finding
        if finding.level >= Level.WARNING:
            assert finding.do[0], finding


def test_every_check_is_tried_and_can_find_something() -> None:
    every = [*(facts for facts, _, _ in CASES), *(facts for facts, _ in NOTHING)]
    for check in CHECKS:
        assert any(list(check(facts)) for facts in every), check


def test_who_is_before_and_after_us_is_told_in_order() -> None:
    facts = with_(chain("forward", 0), chain("prerouting", -300), chain("forward", -150), chain("output", 0))
    found = next(finding for finding in diagnose(facts) if finding.code == "CHAINS")
    assert [one["priority"] for one in _list(found, "before")] == [-150, -300]
    assert [one["priority"] for one in _list(found, "after")] == [0]


def _list(finding: Finding, name: str) -> list[dict[str, object]]:
    found = finding.facts[name]
    assert isinstance(found, list)
    return found


# --- the listing ----------------------------------------------------------------------------------------------------


def test_a_listing_of_nft_is_read_and_what_is_not_known_passed_over() -> None:
    table = {"family": "inet", "name": "t"}
    here = {"family": "inet", "table": "t"}
    mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 5}}
    ct_mark = {"mangle": {"key": {"ct": {"key": "mark"}}, "value": 5}}
    listing = {
        "nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"table": table},
            {"flowtable": {**here, "name": "fast", "hook": "ingress", "prio": 0, "dev": ["eth0", "eth1"]}},
            {"flowtable": {**here, "name": "one", "dev": "eth2"}},
            {"chain": {**here, "name": "fwd0", "type": "filter", "hook": "forward", "prio": -20, "policy": "drop"}},
            {"chain": {**here, "name": "plain"}},
            {"rule": {**here, "chain": "fwd0", "expr": [{"counter": None}, {"drop": None}, "odd"]}},
            {"rule": {**here, "chain": "fwd0", "expr": [mark, ct_mark, {"flow": {"op": "add", "flowtable": "@fast"}}]}},
            {"rule": {**here, "chain": "fwd0", "expr": [{"redirect": {"port": 3128}}, {"xt": None}, {"mystery": {}}]}},
            {"set": {**here, "name": "s"}},
            {"something new": {}},
        ]
    }
    (found,) = tables(listing)
    assert found.place == "inet t"
    assert found.flowtables == {"fast": ("eth0", "eth1"), "one": ("eth2",)}
    assert found.says == {"drop", "set meta mark", "set ct mark", "flow add", "redirect", "xt"}
    assert found.chains == (
        BaseChain(family="inet", table="t", name="fwd0", type="filter", hook="forward", priority=-20, policy="drop"),
    )


def test_what_is_no_listing_is_refused() -> None:
    with pytest.raises(ValueError, match="not a listing"):
        tables({"error": "no"})

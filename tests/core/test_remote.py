"""Everything remote (stage 4), kernel in memory and a real ledger: its path comes, carries and goes, and nothing waits for it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from errno import EBUSY, EOPNOTSUPP
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from agent import audit, emergency, intake, look, remote
from agent.billing import Source
from agent.cli import show
from agent.cli.screen import Screen
from agent.errors import KernelError
from agent.inventory import compile_directory, open_inventory
from agent.leases import Lease
from agent.lookout import facts
from agent.model import L4, Effect, Links, Selector, Service, ServiceClass, Terms
from agent.reconcile import settle
from agent.rules import Change, Key, Use
from agent.ruleset import interface_of
from agent.stopfile import Pause
from tests.core.hosts import Died, Host, in_memory, inventory_of, run
from tests.process.house import ANNEX, MONDAY, SERVICES, Firm, customers, history, policies

POLICY: dict[str, object] = {
    "stages": "[3, 4]",
    "stage4_extent": "remote",
    "suspension_clause": "art. 9",
    "stage4_min_days": 30,
    "lease_minutes": 1440,
}
LICENCE = 'dependencies: {licence: {probe: tcp, address: "198.51.100.70", port: 443, needed_by: erp}}'
PATH = {Use.GATE, Use.REST, Use.PAIR}


def firm(number: int, *, policy: str = "approve", more: Sequence[tuple[str, str]] = (), **how: Any) -> Firm:
    """A company with two networks on one site, so that its local traffic crosses the gateway."""
    places = ((f"10.{number}.0.0/24", ""), (f"10.{number}.1.0/24", f"c{number}"), (f"2001:db8:{number + 1:x}::/64", ""), *more)
    return Firm(id=f"c{number}", attachments=places, policy=policy, site=LICENCE, **how)


def remembered(company: str, **announces: object) -> list[str]:
    """The history of a company whose notice of stage 4 follows one that took effect; `announces` goes into the letter."""
    lines = [json.loads(line) for line in history(company)]
    (notice,) = [one for one in lines if one["type"] == "notice.dispatched"]
    notice["data"]["announces"] |= {"stage": 4, "extent": "remote"} | announces
    first = {"notice": f"N0-{company}", "channel": "lrar", "invoices": [f"F-{company}"], "reminders": [], "states": []}
    first["announces"] = {"services": list(ANNEX), "earliest_on": "2026-02-25"}
    lines += [
        {"type": "notice.dispatched", "customer": company, "occurred_at": "2026-02-05T09:00:00Z", "data": first},
        {
            "type": "notice.delivered",
            "customer": company,
            "occurred_at": "2026-02-06T09:00:00Z",
            "data": {"notice": f"N0-{company}", "proof": "LR-0"},
        },
    ]
    return [json.dumps(one | {"id": f"{company}/{number}"}) for number, one in enumerate(lines)]


def remember(host: Host, company: str, **announces: object) -> None:
    lines = remembered(company, **announces)
    types = frozenset(json.loads(line)["type"] for line in lines)
    source = Source(name="import", kind="native", secrets=(bytes(32),), events=types)
    host.ledger.append(intake.read_lines(lines, source, lambda _, customer: customer, host.clock.now, file="h"))
    case = f"{company}:N-{company}"
    host.say("stage.waived", company, {"case": case, "stages": [3], "by": "lea", "reason": "no use", "role": "legal"})
    host.say("approval.given", company, {"case": case, "by": "lea", "role": "legal", "reason": "looked at"})


@contextmanager
def gateway(*firms: Firm, **values: object) -> Iterator[Host]:
    with in_memory() as directory:
        built = Host(directory=directory, inventory=inventory_of(firms or (firm(1), firm(2)), **{**POLICY, **values}))
        built.start()
        built.beat()
        yield built
        built.dies()


def at_stage_4(host: Host, *companies: str) -> None:
    for company in companies:
        remember(host, company)
    host.work()
    assert host.gateway.remote == set(companies)
    assert uses(host) == {"refuse", *(use.value for use in PATH)}


def uses(host: Host, company: str | None = None) -> set[str]:
    """The kinds of set in which something stands."""
    sets = {one.name: one.use.value for one in host.gateway.rules.structure.sets}
    return {sets[name] for (name, _), case in host.elements().items() if company in (None, case.partition(":")[0])}


def path(host: Host) -> bool:
    """Whether the path is in the kernel; what the gateway goes by says the same."""
    there = any(name.startswith("gate_") for name in host.kernel.sets())
    assert there is (host.gateway.rules.needs.rest is not None)
    assert host.kernel.observe(host.gateway.rules.structure).structure == "as_wanted"
    return there


def test_the_path_comes_with_the_first_company_and_goes_with_the_last():
    with gateway() as host:
        assert not path(host)
        at_stage_4(host, "c1")
        assert path(host)
        assert uses(host, "c2") == set()
        at_stage_4(host, "c1", "c2")
        host.pay("c1")
        host.work()
        assert path(host)
        assert uses(host, "c1") == set()
        host.pay("c2")
        host.work()
        assert not path(host)
        assert host.elements() == {}
        assert [one.type for one in host.events("measure.restored")] == ["measure.restored"] * 2


def test_the_order_says_that_it_is_on_everything_remote_and_so_do_status_and_explain():
    with gateway() as host:
        at_stage_4(host, "c1")
        (order,) = host.events("order.suspend")
        assert (order.body["stage"], order.body["extent"]) == (4, "remote")
        (measure,) = look.status(host.gateway, ())["measures"]
        assert (measure["stage"], measure["extent"]) == (4, "remote")
        assert "everything remote suspended" in measure["effect"]["en"]
        told = look.explain(host.gateway, "c1")
        assert "tout ce qui est distant suspendu" in told["answer"]["fr"]
        (case,) = [one for one in told["cases"] if one["order"]]
        assert (case["extent"], case["notice"]["extent"]) == ("remote", "remote")
        assert told["held"] is None
        # what only looks and what only spares is no refusal
        assert {one["service"] for one in told["counters"]} == {*ANNEX, "remote"}
        (applied,) = host.events("measure.applied")
        pairs = [name for name, _ in host.elements() if name.startswith("pair_")]
        assert applied.body["elements"] == len(host.elements()) - len(pairs)
        assert len(pairs) > 6


NARROW = {
    "the notice names a stage and nothing more": ({"extent": None}, {}),
    "the notice says that it is the services": ({"extent": "services"}, {}),
    "the policy does not provide for it": ({}, {"stage4_extent": "services"}),
}


@pytest.mark.parametrize("which", NARROW)
def test_whatever_is_not_expressly_announced_stays_the_services_that_are_named(which: str):
    announces, values = NARROW[which]
    with gateway(**values) as host:
        lines = [json.loads(line) for line in remembered("c1", **announces)]
        for line in lines:
            if line["type"] == "notice.dispatched" and line["data"]["announces"].get("extent", "") is None:
                del line["data"]["announces"]["extent"]
        remember_lines(host, lines)
        host.work()
        (order,) = host.events("order.suspend")
        assert (order.body["stage"], order.body.get("extent")) == (4, None)
        assert uses(host) == {"refuse"}
        assert not path(host)


def remember_lines(host: Host, lines: list[dict[str, Any]]) -> None:
    source = Source(name="import", kind="native", secrets=(bytes(32),), events=frozenset(one["type"] for one in lines))
    text = [json.dumps(one) for one in lines]
    host.ledger.append(intake.read_lines(text, source, lambda _, customer: customer, host.clock.now, file="h"))
    told = {"case": "c1:N-c1", "by": "lea", "role": "legal", "reason": "looked at"}
    host.say("stage.waived", "c1", told | {"stages": [3]})
    host.say("approval.given", "c1", told)


def test_a_second_word_about_the_letter_that_says_less_brings_a_measure_in_force_down():
    with gateway() as host:
        at_stage_4(host, "c1")
        (letter,) = [one for one in host.events("notice.dispatched", "c1") if one.body["notice"] == "N-c1"]
        less = {**letter.body, "announces": {**letter.body["announces"], "extent": "services"}}
        host.ledger.append([replace(letter, id="second", body=less)])
        host.work()
        assert uses(host) == {"refuse"}
        assert [one.body["stage"] for one in host.events("measure.lowered")] == [3]
        assert not path(host)


def test_a_partial_payment_steps_down_to_the_services_and_takes_the_path_away():
    with gateway(stage4_min_debt=2000) as host:
        at_stage_4(host, "c1")
        changes = len(host.kernel.changes)
        host.pay("c1", "3000")
        host.work()
        assert uses(host) == {"refuse"}
        assert not path(host)
        step, away = host.kernel.changes[changes:]
        assert {key.set.partition("_")[0] for key in step.delete} == {"gate", "rest", "pair"}, "in one transaction"
        assert step.structure is None
        assert away.structure is not None
        assert host.events("measure.repaired", "c1") == []


def test_an_escalation_only_adds_and_members_come_in_one_transaction_with_their_exceptions():
    with gateway() as host:
        at_stage_4(host, "c1")
        (member,) = [change for change in host.kernel.changes if change.add]
        assert {element.set.partition("_")[0] for element in member.add} >= {"gate", "rest", "pair"}
        rest = max(e.timeout_ms for e in member.add if e.set.startswith("rest_"))
        assert all(e.timeout_ms > rest for e in member.add if e.set.startswith("pair_"))


@pytest.mark.parametrize("effect", range(20))
def test_who_dies_anywhere_on_the_way_in_or_out_leaves_it_to_the_next(effect: int):
    with gateway() as host:
        remember(host, "c1")
        host.fate.left, host.fate.seen = effect, 0
        _or_the_next(host)
        assert uses(host) == {"refuse", *(use.value for use in PATH)}
        assert len(host.events("measure.applied")) == 1
        host.pay("c1")
        host.fate.left, host.fate.seen = effect, 0
        _or_the_next(host)
        assert host.elements() == {}
        assert not path(host)
        assert len(host.events("measure.restored")) == 1


def _or_the_next(host: Host) -> None:
    try:
        host.work()
    except Died:
        _no_refusal_without_its_exceptions(host)
        host.fate.left = None
        host.restart()
        host.start()
    host.fate.left = None
    assert path(host) is bool(host.gateway.remote)


def _no_refusal_without_its_exceptions(host: Host) -> None:
    """Whoever is refused everything remote has every pair, whatever was going on."""
    there = {name for name in host.kernel.sets() if next(host.kernel.dump(name), None) is not None}
    assert any(name.startswith("pair_") for name in there) or not any(name.startswith("rest_") for name in there)


def test_a_restart_finds_the_path_as_wanted_and_changes_nothing():
    with gateway() as host:
        at_stage_4(host, "c1")
        before, changes = host.elements(), len(host.kernel.changes)
        host.restart()
        host.start()
        assert host.elements() == before
        assert len(host.kernel.changes) == changes


def test_a_flush_is_put_right_with_the_path_and_what_somebody_took_out_of_it_too():
    with gateway() as host:
        at_stage_4(host, "c1")
        before = host.elements()
        host.kernel.foreign_flush()
        run(audit.repair(host.gateway, "somebody"))
        assert host.elements() == before
        gone = next(Key(set=name, key=key) for name, key in before if name.startswith("pair_"))
        host.kernel.apply(Change(delete=(gone,)))
        audited = run(audit.repair(host.gateway, "somebody"))
        assert host.elements() == before
        assert (audited.repaired, audited.wanted) == (1, sum(not name.startswith("pair_") for name, _ in before))


def test_leases_are_renewed_whole():
    with gateway() as host:
        at_stage_4(host, "c1")
        host.clock.pass_(timedelta(hours=18))
        host.beat("later")
        host.work()
        changes = [change for change in host.kernel.changes if change.add]
        assert {(e.set, e.key) for e in changes[-1].add} == set(host.elements())
        ends = {
            one.use: [member.expires_ms for _, member in host.kernel.dump(one.name)]
            for one in host.gateway.rules.structure.sets
            if one.use in PATH
        }
        assert min(ends[Use.REST]) > 23 * 3600 * 1000
        assert min(ends[Use.PAIR]) > max(ends[Use.REST])


# --- nothing waits for it ---------------------------------------------------------------------------------------------------------


def refuses_paths(host: Host, errno: int = EBUSY) -> None:
    """A kernel that takes no structure that is not there: what is wrong with it must harm nobody."""

    def before(change: Change) -> None:
        if change.structure is not None:
            raise KernelError(errno=errno, what="this kernel takes no structure", mend="none")

    host.kernel.before_apply = before


def test_a_restore_needs_no_structure_and_neither_waits_nor_fails_when_the_path_can_not_be_taken_away():
    with gateway() as host:
        at_stage_4(host, "c1")
        refuses_paths(host)
        host.pay("c1")
        host.work()
        assert host.elements() == {}
        assert len(host.events("measure.restored")) == 1
        assert "stage 4" in host.gateway.failures
        assert path(host), "it harms nobody, and is what the gateway goes by"
        host.kernel.before_apply = lambda _: None
        host.work()
        assert not path(host)
        assert "stage 4" not in host.gateway.failures


@pytest.mark.parametrize("errno", [EBUSY, EOPNOTSUPP])
def test_without_the_path_a_new_measure_waits_says_why_and_harms_no_other(errno: int):
    with gateway() as host:
        refuses_paths(host, errno)
        remember(host, "c1")
        host.work()
        assert host.elements() == {}
        assert host.events("measure.applied") == []
        assert "everything remote: nothing of it is refused" in look.explain(host.gateway, "c1")["held"]["en"]
        assert any("stage 4" in text for text in look.status(host.gateway, ())["held"])
        host.pay("c1")
        host.work()
        assert host.gateway.held == {}
        assert host.events("measure.applied") == []


def test_without_the_path_a_gentler_measure_of_the_same_company_goes_on():
    with gateway() as host:
        host.let_act()
        remember(host, "c1", stage=3)
        host.work()
        assert uses(host) == {"refuse"}
        stands = host.elements()
        refuses_paths(host)
        remember_second(host)
        host.work()
        assert host.elements() == stands
        assert "c1" in host.gateway.held


def remember_second(host: Host) -> None:
    """The same notice anew, of stage 4, as a case of its own."""
    lines = [
        json.loads(line.replace("N-c1", "N2-c1").replace("W-c1", "W2-c1").replace("c1/", "c1-again/")) for line in remembered("c1")
    ]
    wanted = ("notice.dispatched", "notice.delivered", "warning.sent")
    remember_lines(host, [one for one in lines if one["type"] in wanted and "N0" not in json.dumps(one)])
    told = {"case": "c1:N2-c1", "by": "lea", "role": "legal", "reason": "looked at"}
    host.say("stage.waived", "c1", told | {"stages": [3]}, id_="waived-2")
    host.say("approval.given", "c1", told, id_="approved-2")


def test_a_kernel_that_never_takes_the_path_starts_with_everything_else():
    with gateway() as host:
        at_stage_4(host, "c1")
        host.restart()

        def check(change: Change) -> None:
            if change.structure is not None and any(one.use is Use.GATE for one in change.structure.sets):
                raise KernelError(errno=EOPNOTSUPP, what="not made here")

        host.kernel.check = check  # type: ignore[method-assign]
        host.kernel.before_apply = check
        host.start()
        assert uses(host) <= {"refuse"}
        assert "stage 4" in host.gateway.failures
        assert not path(host)


def test_the_emergency_takes_out_every_member_of_stage_4(tmp_path: Path):
    with gateway() as host:
        at_stage_4(host, "c1", "c2")
        pause = Pause(by="claire", at=MONDAY, reason="wrong customer", restore=True)
        places = (host.gateway.stop_path, host.gateway.spare_stop_path)
        emergency.restore(host.kernel, places, pause, "c1")
        assert uses(host, "c1") == set()
        assert uses(host, "c2") == {"refuse", *(use.value for use in PATH)}
        emergency.restore(host.kernel, places, pause)
        host.gateway.look_around()
        host.work()
        assert host.kernel.observe(host.gateway.rules.structure).structure == "absent", "nobody brings the table back"
        assert host.gateway.rules.needs.rest is None


def test_pairs_are_no_refusals_for_the_guard():
    many = [(f"10.9.{n}.0/24", "") for n in range(40)]
    with gateway(firm(1, more=many)) as host:
        places = 43
        host.gateway.most_elements = places * (len(ANNEX) + 2)
        at_stage_4(host, "c1")
        assert len(host.elements()) > 40 * 40


# --- what changes underneath ------------------------------------------------------------------------------------------------------


def reload(host: Host, *firms: Firm, **values: object) -> None:
    """Other files, as the enforcer takes them."""
    before = host.gateway.rules
    host.reload(inventory_of(firms, **{**POLICY, **values}))
    rules, host.gateway.rules = host.gateway.rules, before
    rules = remote.after_reload(host.gateway, rules)
    host.kernel.apply(Change(structure=rules.structure))
    host.gateway.rules = rules
    for _ in audit.leave(host.gateway, before):
        pass


def test_a_site_that_grows_keeps_its_new_network_from_the_moment_it_is_known():
    with gateway() as host:
        at_stage_4(host, "c1")
        reload(host, firm(1, more=[("10.1.9.0/24", "")]), firm(2))
        assert not any(name.startswith(("gate_", "rest_")) for name, _ in host.elements()), "in doubt service on"
        assert "refuse" in uses(host)
        host.work()
        assert uses(host) == {"refuse", *(use.value for use in PATH)}
        new = ip_network("10.1.9.0/24").network_address.packed
        assert any(name == "pair_4_24_24" and key.endswith(new) for name, key in host.elements())


def test_a_reload_that_changes_nothing_for_a_company_leaves_its_members_alone():
    with gateway() as host:
        at_stage_4(host, "c1")
        elements = host.elements()
        reload(host, firm(1), firm(2), firm(3))
        assert host.elements() == elements


def test_a_policy_that_no_longer_provides_for_it_brings_the_measure_down():
    with gateway() as host:
        at_stage_4(host, "c1")
        reload(host, firm(1), firm(2), stage4_extent="services")
        host.work()
        assert uses(host) == {"refuse"}
        assert [one.body["stage"] for one in host.events("measure.lowered")] == [3]


def test_nothing_of_stage_4_names_a_link_that_is_gone_and_its_network_stays_part_of_the_site():
    with gateway() as host:
        host.gateway.links = Links(present=frozenset())
        at_stage_4(host, "c1")
        sets = {one.name: one for one in host.gateway.rules.structure.sets}
        assert not any(interface_of(sets[name], key) for name, key in host.elements())
        behind = ip_network("10.1.1.0/24").network_address.packed
        assert any(name == "pair_4_24_24" and key.endswith(behind) for name, key in host.elements())
        host.gateway.links = Links(present=frozenset({"c1"}))
        settle(host.gateway, "c1")
        assert any(name == "rest_4if_24" for name, _ in host.elements())


def test_a_company_that_the_inventory_no_longer_knows_leaves_the_path():
    with gateway() as host:
        at_stage_4(host, "c1")
        reload(host, firm(2))
        host.work()
        assert host.elements() == {}
        assert not path(host)


def test_the_path_may_go_in_the_middle_of_an_audit():
    with gateway() as host:
        at_stage_4(host, "c1")
        work = audit.audit(host.gateway)
        next(work)  # what is wanted is known
        next(work)
        host.pay("c1")
        host.work()
        assert not path(host)
        run(work)
        assert host.elements() == {}


# --- what it takes ----------------------------------------------------------------------------------------------------------------


def verdict(host: Host, code: str) -> tuple[str, str]:
    judgement = host.gateway.judge("c1", host.clock.now)[1]
    (one,) = [one for one in judgement.judged if one.case.notice.id == "N-c1"]
    (check,) = [check for check in one.gate.checks if check.code == code]
    return check.verdict.value, check.en


def test_a_service_that_the_notice_does_not_name_would_be_hit_so_nothing_is():
    with gateway(confine_to_unpaid_service="false") as host:
        remember(host, "c1", services=["vpn"])
        host.work()
        assert host.elements() == {}
        assert verdict(host, "G-16") == ("fail", "services of everything remote, not announced: shared-documents")


def test_a_service_that_the_notice_says_stays_on_and_that_would_be_hit_keeps_everything_on():
    other = SERVICES + "  backup:\n    class: A\n    selectors: [{prefixes: [198.51.100.30], protocol: tcp, ports: 443}]\n"
    with in_memory() as directory:
        host = Host(directory=directory, inventory=inventory_of((firm(1),), services=other, **POLICY))
        host.start()
        host.beat()
        remember(host, "c1", kept=["portal", "backup"])
        host.work()
        assert host.elements() == {}
        assert verdict(host, "G-18") == ("fail", "announced to stay on, and yet part of everything remote: backup")
        host.dies()


def test_a_service_that_the_notice_says_stays_on_and_that_nobody_knows_keeps_everything_on():
    with gateway() as host:
        remember(host, "c1", kept=["portal", "telephony"])
        host.work()
        assert host.elements() == {}
        assert verdict(host, "G-18") == ("fail", "announced to stay on, and yet part of everything remote: telephony")


def test_of_two_measures_on_everything_remote_the_exceptions_of_the_longer_one_count():
    with gateway() as host:
        rules, company = host.gateway.rules.for_stage_4(on=True), host.gateway.rules.inventory.company("c1")
        assert company is not None
        effect = Effect(terms=Terms(stage=4), extent="remote")
        ends = {"a": 1, "b": 2}
        leases = [
            Lease(case=f"c1:{name}", services=(service,), until=host.clock.now + timedelta(hours=hours), effect=effect)
            for (name, hours), service in zip(ends.items(), ("vpn", "shared-documents"), strict=True)
        ]
        wanted = host.gateway.wanted(company, leases, host.clock.now, rules)
        rules.prove(wanted, company, leases, host.gateway.links)
        hour = 3600 * 1000
        assert {e.timeout_ms for e in wanted if e.set.startswith("rest_")} == {hour}, "the first one's, as with every refusal"
        assert {e.timeout_ms for e in wanted if e.set.startswith("pair_")} == {2 * hour + 60_000}


def test_plan_shows_the_path_before_it_is_there_and_what_stays_connected():
    with gateway() as host:
        remember(host, "c1")
        host.kernel.before_apply = _refuse
        host.work()
        host.clock.pass_(timedelta(seconds=61))
        told = look.plan_now(host.gateway)
        assert told["structure"] is True
        assert any("c1: + rest_4_24 10.1.0.0/24 (" in line for line in told["lines"])
        assert any("10.1.0.0/24 stays connected with 198.51.100.70/32" in line for line in told["lines"])


def _refuse(change: Change) -> None:
    raise KernelError(errno=EBUSY, what="not now")


def test_a_service_that_is_kept_for_the_company_and_known_by_name_keeps_everything_on():
    named = SERVICES + "  chat:\n    class: A\n    selectors: [{names: [chat.example.net], protocol: tcp, ports: 443}]\n"
    one = firm(1, subscriptions=("vpn", "shared-documents", "portal", "dns", "chat"), out_of_reach=("chat",))
    with in_memory() as directory:
        host = Host(directory=directory, inventory=inventory_of((one,), services=named, **POLICY))
        host.start()
        host.beat()
        remember(host, "c1")
        host.work()
        assert host.elements() == {}
        assert verdict(host, "G-16") == ("fail", "services of everything remote, not announced: chat")
        host.dies()


def test_both_inventories_know_the_same_ends_and_only_of_companies_that_may_come_so_far(tmp_path: Path):
    firms = (firm(1), firm(2, policy="auto", more=[("10.7.0.0/16", "")]))
    text = policies(**POLICY).replace("stage4_extent: remote", "stage4_extent: services", 1)  # that of `auto`
    (tmp_path / "files").mkdir()
    for name, content in {"s.yaml": SERVICES, "p.yaml": text, "c.yaml": customers(firms)}.items():
        (tmp_path / "files" / name).write_text(content)
    stored = open_inventory(compile_directory(tmp_path / "files", tmp_path / "cache"))
    assert stored.ends == inventory_of((firm(1),), **POLICY).ends
    assert {length for _, length, _, _ in stored.ends} == {24, 64}
    stored.close()


def test_what_was_proven_apart_from_every_site_is_not_read_again_but_what_is_new_is():
    with gateway() as host:
        rules = host.gateway.rules
        asked = []

        class Counted:
            """The inventory, which tells when its networks are read."""

            def __getattr__(self, name: str) -> Any:
                return getattr(rules.inventory, name)

            def local_networks(self) -> Iterator[Any]:
                asked.append(1)
                yield from rules.inventory.local_networks()

        counted: Any = Counted()
        assert replace(rules, inventory=counted).for_stage_4(on=True).needs.rest is not None
        assert asked == []
        replace(rules, inventory=counted, proven=replace(rules.proven, apart=frozenset())).for_stage_4(on=True)
        assert asked == [1]


def test_a_dry_run_of_everything_remote_is_proven_on_the_path_before_anybody_is_on_it():
    with gateway() as host:
        remember(host, "c1")
        company, judgement, _ = host.gateway.judge("c1", host.clock.now)
        assert company is not None
        (one,) = [one for one in judgement.judged if one.measure.effect.extent == "remote"]
        assert facts.dry_run(host.gateway, company, one, host.clock.now) == 0
        rules = host.gateway.rules
        host.gateway.rules = replace(rules, services={**rules.services, "planted": planted_service()})
        assert facts.dry_run(host.gateway, company, one, host.clock.now) > 0, "the path does not spare what is planted"
        host.gateway.rules = rules
        assert not path(host)


def planted_service() -> Service:
    """A service that is never cut, and that the inventory, from which the path is made, does not know."""
    prefix = ip_network("192.0.2.99")
    return Service(id="planted", class_=ServiceClass.EMERGENCY, selectors=(Selector(prefix=prefix, protocol=L4.TCP),))


def test_whoever_asks_about_the_company_reads_why_its_measure_waits():
    with gateway() as host:
        refuses_paths(host)
        remember(host, "c1")
        host.work()
        told = look.explain(host.gateway, "c1")
        for language, word in (("fr", "service rendu"), ("en", "the service stays on")):
            assert any(word in line for line in show.explain(Screen(language=language), told))

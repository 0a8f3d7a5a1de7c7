"""What services, customers and policies mean once they are read; overlaps and digests for all inputs, not for examples."""

import json
import random
from dataclasses import fields, replace
from datetime import date, time
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ConfigError, Problem
from agent.model import (
    L4,
    Attachment,
    Company,
    Dependency,
    LocalApplication,
    Mode,
    Network,
    Policy,
    Probe,
    Protected,
    Selector,
    Service,
    ServiceClass,
    Shape,
    Site,
    Subscription,
    Window,
)
from agent.policy import (
    BOUNDS,
    PROFILES,
    Loaded,
    MemoryInventory,
    at_floor,
    effective_class,
    fingerprint,
    load,
    policy_of,
    policy_values,
    rows,
)
from agent.policy.checks import Placed, Reach, overlaps, selectors_meet, widens
from agent.policy.kinds import prefix
from agent.policy.problems import Code, Wrong

EXAMPLES = Path(__file__).parents[2] / "policies"
FIXTURES = Path(__file__).with_name("fixtures")

SERVICES = """\
services:
  licence: {class: D}
  reporting:
    class: A
    selectors:
      - {prefixes: [198.51.100.30, "2001:db8:100::30"], protocol: tcp, ports: [443, 8000-8010]}
  meeting-rooms:
    class: X
    selectors:
      - {prefixes: 203.0.113.0/24, protocol: any}
"""
POLICIES = "policies:\n  usual: {profile: fr-b2b, mode: approve}\n"


def loaded(customers: str = "customers: {}\n", services: str = SERVICES, policies: str = POLICIES) -> Loaded:
    return load({"s.yaml": services, "p.yaml": policies, "c.yaml": customers})


def policy(**values: str) -> Policy:
    lines = "".join(f"    {name}: {value}\n" for name, value in {"profile": "fr-b2b", "mode": "auto", **values}.items())
    return loaded(policies=f"policies:\n  one:\n{lines}").policies["one"]


CLAUSE = {"suspension_clause": "general terms, art. 9"}


def stages_for(name: str) -> dict[str, str]:
    """The stages of a policy in which a value means something."""
    if name.startswith("stage2") or name == "effective_hours":
        return {"stages": "2"}
    return {"stages": "[2, 4]", **CLAUSE} if name.startswith("stage4") or name in CLAUSE else {}


# --- the examples that ship -------------------------------------------------------------------------------------


def examples() -> Loaded:
    return load({path.name: path.read_text() for path in EXAMPLES.glob("*.yaml")})


def test_the_founding_case_ships_as_an_example() -> None:
    found = examples()
    assert list(found.companies) == ["za", "zb", "zc", "zd"]
    assert {company.group for company in found.companies.values()} == {"zephyr"}
    annex = {service.id for service in found.services.values() if service.class_.suspendable}
    assert annex == {"vpn", "shared-documents", "reporting"}
    assert {policy.mode for policy in found.policies.values()} == set(Mode)


def test_every_example_site_has_both_families_and_a_local_application() -> None:
    for company in examples().companies.values():
        for site in company.sites:
            assert {attachment.prefix.version for attachment in site.attachments} == {4, 6}
            assert all(attachment.interface in (f"{company.id}0", f"{company.id}1") for attachment in site.attachments)
            assert {application.name for application in site.local_applications} == {"erp", "erp-database"}


def test_every_example_service_has_both_families() -> None:
    for service in examples().services.values():
        assert {selector.prefix.version for selector in service.selectors} == {4, 6}


def test_local_traffic_of_the_first_example_company_crosses_the_gateway() -> None:
    (site,) = examples().companies["za"].sites
    assert {attachment.interface for attachment in site.attachments if attachment.prefix.version == 4} == {"za0", "za1"}


def test_json_lines_say_the_same_as_yaml() -> None:
    texts = {path.name: path.read_text() for path in EXAMPLES.glob("*.yaml")}
    as_yaml = load(texts).companies
    as_lines = load(
        {**texts, "customers.yaml": "customers: {}", "customers.jsonl": (FIXTURES / "customers-example.jsonl").read_text()}
    ).companies
    assert as_lines == as_yaml


# --- values -----------------------------------------------------------------------------------------------------


def test_a_service_selector_is_every_prefix_with_its_protocol_and_ports() -> None:
    assert loaded().services["reporting"].selectors == (
        Selector(prefix=ip_network("198.51.100.30/32"), protocol=L4.TCP, ports=((443, 443), (8000, 8010))),
        Selector(prefix=ip_network("2001:db8:100::30/128"), protocol=L4.TCP, ports=((443, 443), (8000, 8010))),
    )


def test_a_service_without_a_class_is_never_cut() -> None:
    service = loaded(services=SERVICES + "  unclassed:\n    selectors: [{prefixes: 192.0.2.9, protocol: any}]\n").services[
        "unclassed"
    ]
    assert service.class_ is ServiceClass.DEPENDENCY
    assert not service.class_.suspendable


def test_a_company_is_read_field_by_field() -> None:
    customers = """\
customers:
  zephyr:
    za:
      name: Zéphyr
      registration: 900000001
      contract: 2024
      language: en
      policy: usual
      protected: [care, regulated]
      billing_ids: {stripe-main: cus_1}
      sites:
        paris:
          timezone: Europe/Paris
          attachments:
            - {prefix: 10.20.10.0/24, interface: za0.100, valid_from: 2026-01-01, valid_to: 2026-12-31}
          local_applications:
            erp: {probe: http, address: 10.20.10.5, path: /health}
          dependencies:
            names: {needed_by: erp, probe: dns, address: 192.0.2.53, name: portal.example}
      subscriptions:
        licence:
        reporting: {class: X, justification: "contract annex 2", sites: paris, paid_through: 2026-03-31, monthly_fee: 120.50}
"""
    assert loaded(customers).companies["za"] == Company(
        id="za",
        name="Zéphyr",
        group="zephyr",
        policy="usual",
        contract="2024",
        registration="900000001",
        language="en",
        protected=(Protected.CARE, Protected.REGULATED),
        billing_ids={"stripe-main": "cus_1"},
        sites=(
            Site(
                id="paris",
                timezone="Europe/Paris",
                attachments=(
                    Attachment(
                        prefix=ip_network("10.20.10.0/24"),
                        interface="za0.100",
                        valid_from=date(2026, 1, 1),
                        valid_to=date(2026, 12, 31),
                    ),
                ),
                local_applications=(
                    LocalApplication(
                        name="erp", probe=Probe(kind="http", address=IPv4Address("10.20.10.5"), port=80, path="/health")
                    ),
                ),
                dependencies=(
                    Dependency(
                        name="names",
                        needed_by="erp",
                        probe=Probe(kind="dns", address=IPv4Address("192.0.2.53"), port=53, name="portal.example"),
                    ),
                ),
            ),
        ),
        subscriptions=(
            Subscription(service="licence"),
            Subscription(
                service="reporting",
                class_=ServiceClass.EXTENDED,
                justification="contract annex 2",
                sites=("paris",),
                paid_through=date(2026, 3, 31),
                monthly_fee=Decimal("120.50"),
            ),
        ),
    )


def test_values_that_yaml_would_turn_into_something_else_stay_what_was_written() -> None:
    customers = (
        "customers:\n  no:\n    '1':\n      name: 1e3\n      contract: 0x10\n      policy: usual\n      registration: 12:30:45\n"
    )
    company = loaded(customers).companies["1"]
    assert (company.group, company.name, company.contract, company.registration) == ("no", "1e3", "0x10", "12:30:45")


def test_the_default_profile_is_the_published_default_of_the_model() -> None:
    assert (
        replace(policy(mode="observe"), id="fr-b2b", digest="")
        == PROFILES["fr-b2b"]
        == Policy(id="fr-b2b", profile="fr-b2b", mode=Mode.OBSERVE)
    )


def test_every_value_of_a_policy_can_be_set() -> None:
    given_values = {
        "currency": "EUR",
        "holidays": "FR-57",
        "min_reminders": "4",
        "reminder_spacing_days": "8",
        "min_days_overdue": "31",
        "min_debt": "600.50",
        "min_debt_months": "2",
        "notice_channels": "[lrar]",
        "notice_days": "16",
        "notice_max_age_days": "91",
        "windows": "[mon 09:30-12:00, tue-fri 14:00-15:00]",
        "blackout_dates": "[2026-12-24]",
        "no_eve_of_holiday": "false",
        "confine_to_unpaid_service": "false",
        "stages": "[4, 2, 3]",
        "stage2_min_debt": "650",
        "stage2_min_days": "31",
        "effective_hours": "[mon-fri 20:00-07:00, sat-sun 00:00-24:00]",
        "stage4_min_debt": "2500",
        "stage4_min_days": "61",
        "suspension_clause": "art. 12",
        "stage4_extent": "remote",
        "drain_minutes": "10",
        "max_suspension_days": "29",
        "lease_minutes": "239",
        "approvals": "3",
        "approval_valid_days": "14",
        "feed_max_age_minutes": "14",
        "max_new_per_day": "4",
        "enforcement_point": "provider",
        "reopen_notice_days": "9",
        "warning_days": "3",
        "stage3_min_debt": "700",
        "stage3_min_days": "45",
        "grace_on_announced": "false",
        "insolvency_max_age_hours": "23",
        "clock_max_age_minutes": "14",
        "clock_max_offset_ms": "900",
        "preflight_baseline_hours": "48",
        "preflight_max_age_hours": "12",
        "max_new_per_hour": "3",
        "max_share_of_companies": "10",
        "max_share_of_prefixes": "11",
        "canaries": "1",
        "canary_minutes": "31",
        "wave": "19",
    }
    elsewhere = {"public_clause", "public_mission", "public_opposition", "waive_gentler_stages", "stage2_kbit"}
    assert set(given_values) | {"id", "digest", "profile", "mode"} | elsewhere == {each.name for each in fields(Policy)}
    assert replace(policy(**given_values), digest="") == Policy(
        id="one",
        profile="fr-b2b",
        mode=Mode.AUTO,
        holidays="FR-57",
        min_reminders=4,
        reminder_spacing_days=8,
        min_days_overdue=31,
        min_debt=Decimal("600.50"),
        min_debt_months=2,
        notice_channels=("lrar",),
        notice_days=16,
        notice_max_age_days=91,
        windows=(
            Window(days=(0,), start=time(9, 30), end=time(12)),
            Window(days=(1, 2, 3, 4), start=time(14), end=time(15)),
        ),
        blackout_dates=(date(2026, 12, 24),),
        no_eve_of_holiday=False,
        confine_to_unpaid_service=False,
        max_suspension_days=29,
        lease_minutes=239,
        approvals=3,
        approval_valid_days=14,
        feed_max_age_minutes=14,
        max_new_per_day=4,
        enforcement_point="provider",
        reopen_notice_days=9,
        warning_days=3,
        stage3_min_debt=Decimal(700),
        stage3_min_days=45,
        stages=(2, 3, 4),
        stage2_min_debt=Decimal(650),
        stage2_min_days=31,
        effective_hours=(
            Window(days=(0, 1, 2, 3, 4), start=time(20), end=time(7)),
            Window(days=(5, 6), start=time(0), end=time(0)),
        ),
        stage4_min_debt=Decimal(2500),
        stage4_min_days=61,
        stage4_extent="remote",
        suspension_clause="art. 12",
        drain_minutes=10,
        grace_on_announced=False,
        insolvency_max_age_hours=23,
        clock_max_age_minutes=14,
        clock_max_offset_ms=900,
        preflight_baseline_hours=48,
        preflight_max_age_hours=12,
        max_new_per_hour=3,
        max_share_of_companies=10,
        max_share_of_prefixes=11,
        canaries=1,
        canary_minutes=31,
        wave=19,
    )


def test_the_former_spelling_of_the_default_stage_means_what_it_meant() -> None:
    assert policy(stage="3") == policy() == policy(stages="[3]") == policy(stages="3")


@pytest.mark.parametrize(
    "hours",
    [
        "mon-fri 18:00-08:00",
        "fri 18:00-24:00",
        "sat-sun 00:00-24:00",
        "sun 20:00-08:00",
        "sat 09:00-12:00",
        "sat 20:00-19:00",
        "mon 00:00-08:00",
    ],
)
def test_hours_in_which_nobody_works_may_restrict_a_service(hours: str) -> None:
    assert len(policy(stages="2", effective_hours=f'["{hours}"]').effective_hours) == 1


@pytest.mark.parametrize(
    "hours",
    ["mon-fri 18:00-08:01", "mon 17:59-24:00", "sun 20:00-08:01", "fri-sat 00:00-24:00", "tue 07:00-09:00", "sun 10:00-09:59"],
)
def test_hours_in_which_people_work_never_do(hours: str) -> None:
    with pytest.raises(ConfigError) as raised:
        policy(stages="2", effective_hours=f'["{hours}"]')
    assert [(problem.code, "mon-fri 08:00-18:00" in problem.mend) for problem in raised.value.problems] == [("BELOW_FLOOR", True)]


PUBLIC = {"public_clause": "art. 12", "public_mission": "annex 3", "public_opposition": "letter of 2 March"}


def test_a_public_body_has_three_more_values_that_mean_nothing_elsewhere() -> None:
    values = {name: f'"{text}"' for name, text in PUBLIC.items()}
    found = policy(profile="fr-public", **values)
    assert {name: getattr(found, name) for name in PUBLIC} == PUBLIC
    with pytest.raises(ConfigError) as raised:
        policy(**values)
    assert [problem.code for problem in raised.value.problems] == ["BAD_VALUE"] * 3
    assert all("fr-public" in problem.mend for problem in raised.value.problems)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_the_default_of_every_value_and_can_be_changed_down_to_the_floor(name: str) -> None:
    assert replace(policy(profile=name), id="", digest="", mode=Mode.OBSERVE) == replace(PROFILES[name], id="", digest="")
    for value, bound in BOUNDS.items():
        assert getattr(policy(profile=name, **stages_for(value), **{value: str(bound.floor)}), value) == bound.floor


@pytest.mark.parametrize("name", PROFILES)
def test_no_profile_is_beyond_a_floor_nor_more_in_the_customers_favour_than_strict(name: str) -> None:
    for value, bound in BOUNDS.items():
        mine, strict = getattr(PROFILES[name], value), getattr(PROFILES["strict"], value)
        assert bound.low <= mine <= bound.high, value
        assert (mine <= strict) if bound.favours == "high" else (mine >= strict), value
    for flag in ("no_eve_of_holiday", "confine_to_unpaid_service", "grace_on_announced"):
        assert getattr(PROFILES["strict"], flag) >= getattr(PROFILES[name], flag), flag
    assert set(PROFILES["strict"].notice_channels) <= set(PROFILES[name].notice_channels)
    assert not PROFILES[name].waive_gentler_stages
    assert not PROFILES[name].enforcement_point


def test_the_hours_of_strict_lie_within_those_of_every_profile() -> None:
    for window in PROFILES["strict"].windows:
        for other in PROFILES.values():
            assert any(
                set(window.days) <= set(one.days) and one.start <= window.start and window.end <= one.end for one in other.windows
            )


@pytest.mark.parametrize("code", [f"G-{number:02}" for number in range(1, 28)])
def test_an_override_reaches_the_floors_of_its_own_check_and_no_other_value(code: str) -> None:
    usual = policy()
    found = at_floor(usual, code)
    changed = {each.name for each in fields(Policy) if getattr(found, each.name) != getattr(usual, each.name)}
    assert all(BOUNDS[name].check == code and getattr(found, name) == BOUNDS[name].floor for name in changed)
    assert bool(changed) is (code in {"G-04", "G-05", "G-06", "G-10", "G-14", "G-24", "G-27"})


@given(st.fixed_dictionaries({name: st.integers(bound.low, bound.high) for name, bound in BOUNDS.items()}))
@settings(deadline=None, max_examples=50)
def test_a_policy_comes_back_from_its_plain_values_and_from_its_row(values: dict[str, int]) -> None:
    some = replace(policy(blackout_dates="[2026-12-24]", windows="[mon 09:30-12:00]"), **values)
    some = replace(some, **{name: Decimal(value) for name, value in values.items() if name.endswith("min_debt")})
    some = replace(some, stages=(2, 3), effective_hours=(Window(days=(4,), start=time(20), end=time(0)),))
    plain = json.loads(json.dumps(policy_values(some)))
    assert policy_of(plain) == some
    assert rows.read_policy(rows.write(some)) == some
    assert set(plain) == {each.name for each in fields(Policy)}


def test_plain_values_of_another_version_are_read_as_far_as_they_are_known() -> None:
    plain = policy_values(policy())
    assert policy_of(plain | {"retired": 1}) == policy()
    del plain["wave"]
    assert policy_of(plain) == policy()


@pytest.mark.parametrize("name", BOUNDS)
def test_no_value_goes_beyond_its_hard_floor(name: str) -> None:
    bound = BOUNDS[name]
    used = stages_for(name)
    for inside in (bound.low, bound.high):
        assert getattr(policy(**used, **{name: str(inside)}), name) == inside
    for outside in (bound.low - 1, bound.high + 1):
        if outside >= 0:
            with pytest.raises(ConfigError) as raised:
                policy(**used, **{name: str(outside)})
            assert [problem.code for problem in raised.value.problems] == ["BELOW_FLOOR"]
            assert bound.check in raised.value.problems[0].mend


def test_the_floors_of_the_law_are_kept() -> None:
    floors = {name: bound.low for name, bound in BOUNDS.items()}
    ceilings = {name: bound.high for name, bound in BOUNDS.items()}
    assert (
        floors.items()
        >= {
            "min_reminders": 2,
            "reminder_spacing_days": 3,
            "min_days_overdue": 1,
            "min_debt": 100,
            "notice_days": 8,
            "approvals": 1,
        }.items()
    )
    assert ceilings.items() >= {"notice_max_age_days": 180, "max_suspension_days": 90, "feed_max_age_minutes": 1440}.items()


def test_a_service_may_be_named_by_the_address_that_customers_see() -> None:
    catalogue = (
        "services:\n"
        "  a: {class: A, selectors: [{prefixes: [192.0.2.1], protocol: tcp, ports: 443, before_nat: true}]}\n"
        "  b: {class: A, selectors: [{prefixes: [192.0.2.2], protocol: tcp}]}\n"
        "  c:\n    class: D\n    selectors:\n"
        "      - {prefixes: [192.0.2.3], protocol: any, before_nat: true}\n      - {prefixes: [192.0.2.4], protocol: any}\n"
    )
    found = load({"services.yaml": catalogue}).services
    assert {name: one.before_nat for name, one in found.items()} == {"a": True, "b": False, "c": True}
    assert [rows.read_service(rows.write(one)) for one in found.values()] == list(found.values())


def test_a_service_is_the_providers_unless_it_is_said_to_be_somebody_elses() -> None:
    catalogue = "services:\n  a: {class: D}\n  b: {class: D, delivered_by: third_party}\n"
    found = load({"services.yaml": catalogue}).services
    assert {name: one.delivered_by for name, one in found.items()} == {"a": "provider", "b": "third_party"}
    assert rows.read_service(rows.write(found["b"])) == found["b"]


# --- classes ----------------------------------------------------------------------------------------------------


@given(service=st.sampled_from(ServiceClass), subscription=st.sampled_from(ServiceClass))
@settings(deadline=None)
def test_a_subscription_never_makes_a_service_easier_to_suspend(service: ServiceClass, subscription: ServiceClass) -> None:
    fields_ = "" if not service.suspendable else "selectors: [{prefixes: 192.0.2.77, protocol: any}]"
    text = f"customers: {{g: {{c: {{name: C, contract: K, policy: usual, subscriptions: {{s: {{class: {subscription}}}}}}}}}}}"
    catalogue = f"services:\n  s: {{class: {service}, {fields_}}}\n"
    if widens(service, subscription):
        with pytest.raises(ConfigError) as raised:
            loaded(text, catalogue)
        assert [problem.code for problem in raised.value.problems] == ["WIDER_CLASS"]
    else:
        found = loaded(text, catalogue)
        effective = effective_class(found.services["s"], found.companies["c"].subscriptions[0])
        assert effective is subscription
        assert service.suspendable or not effective.suspendable
        assert not (service is ServiceClass.EXTENDED and effective is ServiceClass.ANNEX)


DEPENDS = """\
customers:
  g:
    c:
      name: C
      contract: K
      policy: usual
      sites:
        paris:
          timezone: Europe/Paris
          attachments: [{{prefix: 10.0.0.0/24}}]
          local_applications:
            erp: {{probe: icmp, address: 10.0.0.5}}
          dependencies:
            licence: {{needed_by: erp, {probe}}}
        lyon:
          timezone: Europe/Paris
          attachments: [{{prefix: 10.0.1.0/24}}]
      subscriptions: {{tools: {subscription}}}
"""
TOOLS = "services:\n  tools:\n    class: A\n    selectors: [{prefixes: 192.0.2.64/27, protocol: tcp, ports: 27000-27010}]\n"


def dependency_problems(probe: str, subscription: str = "{}") -> list[Problem]:
    try:
        loaded(DEPENDS.format(probe=probe, subscription=subscription), TOOLS)
    except ConfigError as error:
        return list(error.problems)
    return []


def test_a_hidden_dependency_inside_an_annex_service_is_refused_with_the_narrower_selector() -> None:
    (problem,) = dependency_problems("probe: tcp, address: 192.0.2.70, port: 27000")
    assert problem == Problem(
        file="c.yaml",
        line=14,
        code="DEPENDENCY_HIT",
        what="customers.g.c.sites.paris.dependencies.licence: erp needs 192.0.2.70, which is in 192.0.2.64/27 of service tools",
        mend="Replace 192.0.2.64/27 by 192.0.2.64/30, 192.0.2.68/31, 192.0.2.71/32, 192.0.2.72/29, 192.0.2.80/28. "
        "Or give this company's subscription to tools `class: D`.",
    )


@pytest.mark.parametrize(
    ("probe", "hit"),
    [
        ("probe: tcp, address: 192.0.2.70, port: 26999", False),
        ("probe: tcp, address: 192.0.2.96, port: 27000", False),
        ("probe: udp, address: 192.0.2.70, port: 27000", False),
        ("probe: http, address: 192.0.2.70, port: 27010", True),
        ("probe: dns, address: 192.0.2.70, port: 27005", True),  # a name server answers over TCP too
        ("probe: icmp, address: 192.0.2.70", True),  # only the host is known, so all of it is needed
        ("probe: tcp, address: '2001:db8::1', port: 27000", False),
    ],
)
def test_a_dependency_is_hit_only_by_a_selector_that_shares_a_packet_with_it(probe: str, hit: bool) -> None:
    assert [problem.code for problem in dependency_problems(probe)] == ["DEPENDENCY_HIT"] * hit


def test_a_dependency_counts_where_the_service_can_be_suspended() -> None:
    probe = "probe: tcp, address: 192.0.2.70, port: 27000"
    assert dependency_problems(probe, "{class: D}") == []
    assert dependency_problems(probe, "{sites: [lyon]}") == []
    assert dependency_problems(probe, "{sites: [paris]}") != []


# --- overlaps, for all inputs -----------------------------------------------------------------------------------

# A small space, so that prefixes often nest, meet and repeat.
FOURS = st.builds(
    lambda length, index: IPv4Network((0x0A000000 + (index % 2**6 << 2 & ~((1 << 32 - length) - 1)), length)),
    st.integers(24, 32),
    st.integers(0, 63),
)
SIXES = st.builds(
    lambda length, index: IPv6Network((0x20010DB8 << 96 | (index << 2 & ~((1 << 128 - length) - 1)), length)),
    st.integers(120, 128),
    st.integers(0, 63),
)
NETWORKS = st.one_of(FOURS, SIXES)
PERIODS = st.one_of(
    st.just((1, 100)), st.tuples(st.integers(1, 9), st.integers(0, 3)).map(lambda pair: (pair[0], pair[0] + pair[1]))
)


@st.composite
def placements(draw: st.DrawFn) -> list[Placed]:
    found = []
    for line in range(draw(st.integers(0, 12))):
        network, (start, end) = draw(NETWORKS), draw(PERIODS)
        found.append(
            Placed(
                family=network.version,
                first=int(network.network_address),
                last_negated=-int(network.broadcast_address),
                interface=draw(st.sampled_from(["", "", "a0", "b0"])),
                start=start,
                end=end,
                company=f"c{line}",
                file="f",
                line=line,
            )
        )
        if found[-1].interface and draw(st.integers(0, 3)) == 0:  # everything behind it
            most = 2 ** (32 if network.version == 4 else 128) - 1
            found[-1] = found[-1]._replace(first=0, last_negated=-most)
    return found


def one_packet_matches_both(one: Placed, other: Placed) -> bool:
    return (
        one.family == other.family
        and max(one.first, other.first) <= min(-one.last_negated, -other.last_negated)
        and (
            one.interface == other.interface
            or ("" in (one.interface, other.interface) and not (one.whole_link or other.whole_link))
        )
        and max(one.start, other.start) <= min(one.end, other.end)
    )


@given(placements(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_overlaps_are_exactly_the_pairs_that_share_a_packet(placed: list[Placed], shuffle: random.Random) -> None:
    expected = {
        max(one, other) for index, one in enumerate(placed) for other in placed[:index] if one_packet_matches_both(one, other)
    }
    shuffle.shuffle(placed)
    found = list(overlaps(placed))
    assert {one for one, _ in found} == expected
    assert len(found) == len(expected)
    assert all(one_packet_matches_both(one, met) and met < one for one, met in found)


def test_tens_of_thousands_of_equal_prefixes_behind_their_own_interfaces_do_not_overlap() -> None:
    network = ip_network("192.168.1.0/24")
    many = [
        Placed(
            family=4,
            first=int(network.network_address),
            last_negated=-int(network.broadcast_address),
            interface=f"v{number}",
            start=1,
            end=100,
            company="c",
            file="f",
            line=number,
        )
        for number in range(30_000)
    ]
    assert list(overlaps(many)) == []
    (pair,) = overlaps([*many, many[7]._replace(line=-1)])
    assert {pair[0].interface, pair[1].interface} == {"v7"}
    everywhere = many[0]._replace(interface="", line=-2)
    assert len(list(overlaps([*many, everywhere]))) == 30_000


PORTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=2).map(
    tuple
)


@st.composite
def selectors(draw: st.DrawFn) -> Selector:
    protocol = draw(st.sampled_from(L4))
    return Selector(prefix=draw(NETWORKS), protocol=protocol, ports=() if protocol is L4.ANY else draw(PORTS))


def packets(selector: Selector) -> set[tuple[int, int, str, int]]:
    """Every packet of a selector, in a world of three protocols and fourteen ports."""
    protocols = ("tcp", "udp", "gre") if selector.protocol is L4.ANY else (selector.protocol.value,)
    ports = {port for low, high in selector.ports for port in range(low, high + 1)} or set(range(14))
    return {
        (selector.prefix.version, int(address), protocol, port)
        for address in selector.prefix
        for protocol in protocols
        for port in ports
    }


@given(selectors(), selectors())
@settings(deadline=None)
def test_two_selectors_meet_exactly_when_they_share_a_packet(one: Selector, other: Selector) -> None:
    assert selectors_meet(one, other) == selectors_meet(other, one) == bool(packets(one) & packets(other))


@given(st.lists(selectors(), max_size=6), NETWORKS)
@settings(deadline=None)
def test_reach_finds_a_service_exactly_when_an_address_is_shared(targets: list[Selector], site: Network) -> None:
    services = [Service(id=f"s{index}", class_=ServiceClass.ANNEX, selectors=(target,)) for index, target in enumerate(targets)]
    protected = Service(id="p", class_=ServiceClass.PAY, selectors=(Selector(prefix=site, protocol=L4.ANY),))
    hit = Reach([*services, protected]).hit(site)
    assert (hit is not None) == any(target.prefix.version == site.version and target.prefix.overlaps(site) for target in targets)


@given(st.lists(st.tuples(st.sampled_from("AXDP"), selectors()), min_size=1, max_size=6))
@settings(deadline=None)
def test_services_load_exactly_when_no_packet_of_a_suspendable_one_is_shared(found: list[tuple[str, Selector]]) -> None:
    text = "services:\n"
    for index, (class_, selector) in enumerate(found):
        ports = [f"{low}-{high}" for low, high in selector.ports]
        item = {"prefixes": str(selector.prefix), "protocol": str(selector.protocol), **({"ports": ports} if ports else {})}
        text += f"  s{index}: {json.dumps({'class': class_, 'selectors': [item]})}\n"
    own_overlap = any(
        len(s.ports) == 2 and packets(replace(s, ports=s.ports[:1])) & packets(replace(s, ports=s.ports[1:])) for _, s in found
    )
    shared = any(
        "A" in classes or "X" in classes
        for index, (one_class, one) in enumerate(found)
        for other_class, other in found[:index]
        for classes in ({one_class, other_class},)
        if packets(one) & packets(other)
    )
    if shared or own_overlap:
        with pytest.raises(ConfigError):
            loaded(services=text)
    else:
        assert len(loaded(services=text).services) == len(found)


ANY_FOUR = st.integers(0, 32).flatmap(
    lambda bits: st.integers(0, 2**bits - 1).map(lambda index: IPv4Network((index << 32 - bits, bits)))
)
ANY_SIX = st.integers(0, 128).flatmap(
    lambda bits: st.integers(0, 2**bits - 1).map(lambda index: IPv6Network((index << 128 - bits, bits)))
)
NO_SITE = {
    4: ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"],
    6: ["::/128", "::1/128", "::ffff:0:0/96", "fe80::/10", "ff00::/8"],
}


@given(st.one_of(ANY_FOUR, ANY_SIX, FOURS, SIXES))
@settings(deadline=None)
def test_a_prefix_is_taken_exactly_when_it_is_not_everything_and_touches_no_special_range(network: Network) -> None:
    special = any(network.overlaps(ip_network(each)) for each in NO_SITE[network.version])
    if special or network.prefixlen == 0:
        with pytest.raises(Wrong) as raised:
            prefix(str(network))
        assert raised.value.code in {Code.SPECIAL_PREFIX, Code.PREFIX_ZERO, Code.MAPPED_PREFIX}
    else:
        assert prefix(str(network)) == network


@given(st.one_of(FOURS, SIXES), st.integers(1, 3))
@settings(deadline=None)
def test_a_prefix_with_host_bits_is_never_rounded(network: Network, more: int) -> None:
    if network.num_addresses > more:
        with pytest.raises(Wrong) as raised:
            prefix(f"{network.network_address + more}/{network.prefixlen}")
        assert raised.value.code is Code.HOST_BITS
        assert f"Write {network} " in raised.value.mend


# --- digests ----------------------------------------------------------------------------------------------------

VALUES = {
    "min_reminders": "4",
    "min_debt": "600",
    "notice_channels": "[lrar, lre_q]",
    "windows": "[mon 09:00-12:00, tue 09:00-12:00]",
    "blackout_dates": "[2026-12-24, 2026-12-31]",
    "waive_gentler_stages": "annex services only",
}


@given(st.permutations(list(VALUES)))
@settings(deadline=None)
def test_the_digest_of_a_policy_does_not_depend_on_the_order_of_its_keys(order: list[str]) -> None:
    assert policy(**{name: VALUES[name] for name in order}).digest == policy(**VALUES).digest


def test_the_digest_of_a_policy_does_not_depend_on_how_its_values_are_written() -> None:
    written = {"min_debt": "600.00", "notice_channels": "[lre_q, lrar]", "min_reminders": '"4"'}
    assert policy(**{**VALUES, **written}).digest == policy(**VALUES).digest
    assert policy(min_reminders="3").digest == policy().digest


def test_the_digest_of_a_policy_changes_with_every_value() -> None:
    others = {
        "mode": "approve",
        "holidays": "FR-57",
        "notice_channels": "[lrar]",
        "windows": "[mon 09:00-15:01]",
        "blackout_dates": "[2026-12-25]",
        "no_eve_of_holiday": "false",
        "confine_to_unpaid_service": "false",
        "enforcement_point": "provider",
        "waive_gentler_stages": "annex services only",
        "grace_on_announced": "false",
        "effective_hours": "[sat 00:00-24:00]",
        "suspension_clause": "art. 12",
        "stage4_extent": "remote",
        **{name: str(bound.low if bound.floor == bound.high else bound.high) for name, bound in BOUNDS.items()},
    }
    fixed = {"id", "digest", "profile", "currency", "stages"}  # one value each, or said below
    assert set(others) | fixed | set(PUBLIC) == {each.name for each in fields(Policy)}
    bases = {str(used): policy(**used).digest for used in ({"stages": "2"}, {"stages": "[2, 4]", **CLAUSE}, {"stages": "1"}, {})}
    digests = {policy(**{**stages_for(name), name: value}).digest for name, value in others.items()}
    assert len(digests | set(bases.values())) == len(others) + len(bases)


def test_the_digest_of_a_set_depends_on_names_and_bytes_not_on_order_or_directory() -> None:
    one = {"a/s.yaml": "1", "a/p.yaml": "2"}
    assert fingerprint(one) == fingerprint(dict(reversed(one.items()))) == fingerprint({"b/s.yaml": "1", "b/p.yaml": "2"})
    assert len({fingerprint(each) for each in (one, {"a/s.yaml": "2", "a/p.yaml": "1"}, {"a/s.yaml": "1"}, {})}) == 4


# --- inventory --------------------------------------------------------------------------------------------------


def test_shapes_are_what_the_suspendable_subscriptions_need() -> None:
    customers = """\
customers:
  g:
    c:
      name: C
      contract: K
      policy: usual
      sites:
        paris:
          timezone: Europe/Paris
          attachments: [{prefix: 10.0.0.0/24, interface: c0}, {prefix: "2001:db8:1::/64"}]
        lyon:
          timezone: Europe/Paris
          attachments: [{prefix: 10.0.1.0/28}]
      subscriptions:
        licence:
        reporting: {sites: [paris]}
        meeting-rooms: {class: D}
    d:
      name: D
      contract: K
      policy: usual
      sites: {x: {timezone: UTC, attachments: [{prefix: 10.0.2.0/30}, {interface: d0}]}}
"""
    inventory = MemoryInventory(loaded(customers))
    assert inventory.shapes == {
        Shape(service="reporting", family=4, prefixlen=24, interface=True),
        Shape(service="reporting", family=6, prefixlen=64, interface=False),
    }
    assert sorted(inventory.local_networks(), key=str) == [
        ("c/lyon", ip_network("10.0.1.0/28")),
        ("c/paris", ip_network("10.0.0.0/24")),
        ("c/paris", ip_network("2001:db8:1::/64")),
        ("d/x", ip_network("10.0.2.0/30")),
    ]


DEDICATED = """\
services:
  server:
    class: A
    dedicated: true
    selectors: [{prefixes: [198.51.100.64/26, "2001:db8:d::/64"], protocol: tcp}]
customers:
  g:
    c:
      name: C
      contract: K
      policy: usual
      sites:
        paris: SITE
      subscriptions:
        server: {addresses: [198.51.100.77, 198.51.100.80/29, "2001:db8:d::/80"]}
    d:
      name: D
      contract: K
      policy: usual
      sites:
        paris: {timezone: Europe/Paris, attachments: [{prefix: 10.0.1.0/28}]}
      subscriptions:
        server: {class: D}
"""


def with_server(site: str) -> str:
    return DEDICATED.replace("SITE", f"{{timezone: Europe/Paris, {site}}}")


def test_a_dedicated_service_needs_sets_for_each_length_of_a_companys_own_addresses_in_their_family() -> None:
    found = loaded(with_server('attachments: [{prefix: 10.0.0.0/24, interface: c0}, {prefix: "2001:db8:1::/64"}]'))
    assert MemoryInventory(found).shapes == {
        Shape(service="server", family=4, prefixlen=24, interface=True, dedicated=32),
        Shape(service="server", family=4, prefixlen=24, interface=True, dedicated=29),
        Shape(service="server", family=6, prefixlen=64, interface=False, dedicated=80),
    }
    for service in found.services.values():
        assert rows.read_service(rows.write(service)) == service


@pytest.mark.parametrize(("address", "hit"), [("198.51.100.77", True), ("198.51.100.78", False), ("198.51.100.81", True)])
def test_local_software_may_need_a_server_that_is_dedicated_to_somebody_else_but_not_one_of_its_own_companys(
    address: str, hit: bool
) -> None:
    applications = "local_applications: {erp: {probe: tcp, address: 10.0.0.5, port: 443}}"
    needs = f"dependencies: {{licence: {{needed_by: erp, probe: tcp, address: {address}, port: 443}}}}"
    text = with_server(f"attachments: [{{prefix: 10.0.0.0/24}}], {applications}, {needs}")
    if hit:
        with pytest.raises(ConfigError, match=f"erp needs {address}, which is in 198.51.100.*of service server"):
            loaded(text)
    else:
        assert loaded(text).companies["c"]


def test_every_value_survives_its_row() -> None:
    found = examples()
    for company in found.companies.values():
        assert rows.read_company(rows.write(company)) == company
    for service in found.services.values():
        assert rows.read_service(rows.write(service)) == service
    for each in [*found.policies.values(), policy(**VALUES, min_debt_months="0", no_eve_of_holiday="false")]:
        assert rows.read_policy(rows.write(each)) == each


WORDS = st.text(min_size=1, max_size=8)
DAYS = st.one_of(st.none(), st.dates(date(2000, 1, 1), date(2100, 12, 31)))
PROBES = st.builds(
    Probe,
    kind=st.sampled_from(["tcp", "tls", "udp", "http", "dns", "icmp"]),
    address=st.ip_addresses(),
    port=st.one_of(st.none(), st.integers(1, 65535)),
    path=st.one_of(st.none(), WORDS),
    name=st.one_of(st.none(), WORDS),
)
SITES = st.builds(
    Site,
    id=WORDS,
    timezone=WORDS,
    attachments=st.lists(
        st.builds(
            Attachment,
            prefix=st.one_of(st.none(), NETWORKS),
            interface=st.one_of(st.none(), WORDS),
            vrf=st.one_of(st.none(), WORDS),
            valid_from=DAYS,
            valid_to=DAYS,
        ),
        max_size=2,
    ).map(tuple),
    local_applications=st.lists(st.builds(LocalApplication, name=WORDS, probe=PROBES), max_size=2).map(tuple),
    dependencies=st.lists(st.builds(Dependency, name=WORDS, needed_by=WORDS, probe=PROBES), max_size=2).map(tuple),
    control=st.one_of(st.none(), PROBES),
)
COMPANIES = st.builds(
    Company,
    id=WORDS,
    name=WORDS,
    group=WORDS,
    policy=WORDS,
    contract=WORDS,
    registration=WORDS,
    language=st.sampled_from(["fr", "en"]),
    sites=st.lists(SITES, max_size=2).map(tuple),
    subscriptions=st.lists(
        st.builds(
            Subscription,
            service=WORDS,
            class_=st.one_of(st.none(), st.sampled_from(ServiceClass)),
            justification=WORDS,
            sites=st.lists(WORDS, max_size=2).map(tuple),
            paid_through=DAYS,
            monthly_fee=st.one_of(st.none(), st.decimals(0, 10**6, places=2)),
            addresses=st.lists(NETWORKS, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    protected=st.lists(st.sampled_from(Protected), max_size=2).map(tuple),
    billing_ids=st.dictionaries(WORDS, WORDS, max_size=2),
)


@given(COMPANIES)
@settings(max_examples=50, deadline=None)
def test_any_company_survives_its_row(company: Company) -> None:
    assert rows.read_company(rows.write(company)) == company

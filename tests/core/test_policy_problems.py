"""Every kind of problem in services, customers and policies: its line, its words, its mend; and all of them at once."""

# ruff: noqa: E501 - a table is read row by row

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ConfigError, Problem
from agent.inventory import check_directory
from agent.policy import Code, load
from agent.policy.problems import MAX_LISTED

SERVICES = """\
services:
  portal:
    class: P
    selectors:
      - {prefixes: [192.0.2.10], protocol: tcp, ports: 443}
  reporting:
    class: A
    selectors:
      - {prefixes: [198.51.100.30, "2001:db8:100::30"], protocol: tcp, ports: 443}
"""
POLICIES = """\
policies:
  usual: {profile: fr-b2b, mode: approve}
"""
CUSTOMERS = """\
customers:
  zephyr:
    za:
      name: Zéphyr Assistance
      contract: ZA-1
      policy: usual
      sites:
        paris:
          timezone: Europe/Paris
          attachments:
            - {prefix: 10.20.10.0/24, interface: za0}
          local_applications:
            erp: {probe: tcp, address: 10.20.10.5, port: 443}
      subscriptions: [reporting, portal]
"""
BASE = {"services.yaml": SERVICES, "policies.yaml": POLICIES, "customers.yaml": CUSTOMERS}

LINE = (
    '{"id": "zb", "group": "zephyr", "name": "ZB", "contract": "1", "policy": "usual",'
    ' "sites": {"lyon": {"timezone": "Europe/Paris", "attachments": [{"prefix": "10.20.20.0/24", "interface": "zb0"}]}}}'
)


def test_the_base_of_this_table_is_sound() -> None:
    loaded = load({**BASE, "more.jsonl": LINE})
    assert list(loaded.companies) == ["za", "zb"]
    assert list(loaded.services) == ["portal", "reporting"]


def test_the_base_with_a_dedicated_service_is_sound() -> None:
    found = load({**BASE, "more.yaml": RENTED})
    assert found.services["server"].dedicated
    own = {company: found.companies[company].subscriptions[0].addresses for company in ("zd", "ze")}
    assert {company: [str(one) for one in addresses] for company, addresses in own.items()} == {
        "zd": ["198.51.100.77/32", "198.51.100.80/30"],
        "ze": ["198.51.100.78/32"],
    }


class Row(NamedTuple):
    """A code, one file that replaces or joins the base, and the place, words and mend that must come out."""

    code: Code
    file: str
    content: str | bytes
    line: int
    what: str
    mend: str


def swap(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} must stand once in the base"
    return text.replace(old, new)


def service(old: str, new: str) -> tuple[str, str]:
    return "services.yaml", swap(SERVICES, old, new)


def customer(old: str, new: str) -> tuple[str, str]:
    return "customers.yaml", swap(CUSTOMERS, old, new)


def policy(fields: str) -> tuple[str, str]:
    return "policies.yaml", f"{POLICIES}  other:\n    profile: fr-b2b\n    mode: auto\n    {fields}\n"


RENTED = """\
services:
  server:
    class: A
    dedicated: true
    selectors:
      - {prefixes: [198.51.100.64/26], protocol: any}
customers:
  zephyr:
    zd: {name: ZD, contract: D, policy: usual, subscriptions: {server: {addresses: [198.51.100.77, 198.51.100.80/30]}}}
    ze: {name: ZE, contract: E, policy: usual, subscriptions: {server: {addresses: 198.51.100.78}}}
"""


def rented(old: str, new: str) -> tuple[str, str]:
    return "more.yaml", swap(RENTED, old, new)


PREFIX = "10.20.10.0/24"

ROWS = [
    # the file as such
    Row(Code.TOO_BIG, "big.yaml", "# " + "x" * 1024 * 1024, 0, "larger than 1024 KiB", "JSON Lines"),
    Row(Code.TOO_BIG, "big.jsonl", LINE + "\n\n{" + " " * 1024 * 1024 + "}\n", 3, "a line longer than 1024 KiB", "one company"),
    Row(Code.NOT_UTF8, "latin.yaml", "policies:\n  # é\n".encode("latin-1"), 0, "not UTF-8 (line 2)", "Save the file as UTF-8"),
    Row(Code.NOT_UTF8, "bom.yaml", b"\xef\xbb\xbf" + POLICIES.encode(), 0, "byte order mark", "without"),
    Row(Code.NOT_UTF8, "latin.jsonl", LINE.encode() + b"\n\xe9\n", 2, "not UTF-8", "Save the file as UTF-8"),
    Row(Code.EMPTY, "empty.yaml", "# nothing but a comment\n", 0, "the file is empty", "Fill it or remove it"),
    Row(Code.NOT_YAML, "broken.yaml", "policies:\n  a: [1\n", 2, "not YAML", "brackets"),
    Row(Code.NOT_YAML, "tab.yaml", "policies:\n\ta: 1\n", 2, "not YAML", "indentation"),
    Row(Code.NOT_YAML, "bell.yaml", "policies:\n  a: \x07\n", 2, "character U+0007", "Remove it"),
    Row(Code.NOT_JSON, "broken.jsonl", LINE + "\n{broken}\n", 2, "not JSON", "one JSON object on one line"),
    Row(Code.NOT_JSON, "nan.jsonl", '{"id": NaN}', 1, "NaN is not JSON", "Write a number"),
    Row(Code.SEVERAL_DOCUMENTS, "two.yaml", POLICIES + "---\n" + POLICIES, 3, "a second document begins", "one document per file"),
    Row(Code.ALIAS, "alias.yaml", "policies:\n  a: &all {mode: auto}\n", 2, "anchor &all", "not allowed"),
    Row(Code.TAG, "tag.yaml", "policies:\n  a: !!python/name:os.system {}\n", 2, "tag tag:yaml.org,2002:python/name:os.system", "Remove it"),
    Row(Code.TOO_DEEP, "deep.yaml", "policies:\n  a: " + "[" * 5000 + "]" * 5000, 2, "more than 16 levels", "brackets"),
    Row(Code.TOO_DEEP, "deep.jsonl", "[" * 5000 + "]" * 5000, 1, "deep", "No field is that deep"),
    Row(Code.TOO_DEEP, "deep.jsonl", "[" * 500 + "]" * 500, 1, "more than 16 levels", "brackets"),
    Row(Code.DUPLICATE_KEY, *service("    class: P\n", "    class: P\n    class: A\n"), 4, '"class" is given twice, first in line 3', "Keep one"),
    Row(Code.DUPLICATE_KEY, "twice.jsonl", '{"id": "a", "id": "b"}', 1, '"id" is given twice', "Keep one"),
    # one field
    Row(Code.UNKNOWN_KEY, *customer("interface: za0", "interfaces: za0"), 11, 'attachments[0]: unknown key "interfaces"', "Did you mean interface?"),
    Row(Code.UNKNOWN_KEY, "x.yaml", "quite: different\n", 1, 'unknown key "quite"', "Known here: customers, policies, services."),
    Row(Code.UNKNOWN_KEY, "x.jsonl", swap(LINE, '"contract"', '"contracts": 1, "contract"'), 1, 'unknown key "contracts"', "Did you mean contract?"),
    Row(Code.MISSING, *customer("      contract: ZA-1\n", ""), 3, "customers.zephyr.za: contract is missing", "Add `contract: ...`."),
    Row(Code.MISSING, *customer("contract: ZA-1", "contract:"), 5, "contract: no value", "leave the key out"),
    Row(Code.MISSING, *service("prefixes: [192.0.2.10], ", ""), 5, "prefixes is missing", "Add `prefixes"),
    Row(Code.MISSING, *customer("{probe: tcp, address: 10.20.10.5, port: 443}", "{probe: tcp, address: 10.20.10.5}"), 13, "port is missing", "Add `port"),
    Row(Code.WRONG_TYPE, *customer("name: Zéphyr Assistance", "name: [Zéphyr]"), 4, "name: a list where one value is wanted", "single value"),
    Row(Code.WRONG_TYPE, *customer("{prefix: 10.20.10.0/24, interface: za0}", "10.20.10.0/24"), 11, "a single value where fields are wanted", "`name: value`"),
    Row(Code.WRONG_TYPE, *customer("            - {prefix: 10.20.10.0/24, interface: za0}", "            prefix: 10.20.10.0/24"), 10, "fields where a list is wanted", "'- '"),
    Row(Code.WRONG_TYPE, *policy("min_reminders: three"), 6, 'min_reminders: "three" is not a whole number', "digits"),
    Row(Code.WRONG_TYPE, *policy("min_reminders: 3.0"), 6, '"3.0" is not a whole number', "digits"),
    Row(Code.WRONG_TYPE, *policy("min_debt: 1e3"), 6, '"1e3" is not a sum of money', "500.00"),
    Row(Code.WRONG_TYPE, *policy("no_eve_of_holiday: no"), 6, '"no" is neither true nor false', "true or false"),
    Row(Code.WRONG_TYPE, "key.yaml", "policies:\n  [a]: 1\n", 2, "a key that is not a text", "plain names"),
    Row(Code.BAD_VALUE, *service("class: P", "class: B"), 3, 'class: "B" is not known here', "L, D, E, P, R, A, X"),
    Row(Code.BAD_VALUE, *customer("Europe/Paris", "Europe/Pariss"), 9, '"Europe/Pariss" is not a time zone', "Europe/Paris"),
    Row(Code.BAD_VALUE, *customer("name: Zéphyr Assistance", 'name: "Z\\u202eA"'), 4, "is not a text", "no control characters"),
    Row(Code.BAD_VALUE, *customer(PREFIX, "10.20.10.0/33"), 11, '"10.20.10.0/33" is not a prefix', "10.20.10.0/24"),
    Row(Code.BAD_VALUE, *customer(PREFIX, "10.20.10.0/255.255.255.0"), 11, "is not a prefix", "10.20.10.0/24"),
    Row(Code.BAD_VALUE, *customer("interface: za0", "valid_from: 2026-13-01"), 11, '"2026-13-01" is not a date', "2026-03-09"),
    Row(Code.BAD_VALUE, *customer("interface: za0", "valid_from: 2026-02-01, valid_to: 2026-01-31"), 11, "ends before it begins", "last day"),
    Row(Code.BAD_VALUE, *customer("address: 10.20.10.5", "address: 10.20.10.0/24"), 13, "is not one address", "192.0.2.53"),
    Row(Code.BAD_VALUE, *customer("port: 443", "port: 443, path: /health"), 13, "a tcp probe has no path", "Remove it"),
    Row(Code.BAD_VALUE, *customer("port: 443", "port: 0"), 13, "0 is out of range", "1 to 65535"),
    Row(Code.BAD_VALUE, *policy("currency: USD"), 6, '"USD" is not known here', "EUR"),
    Row(Code.BAD_VALUE, *policy("notice_channels: [email]"), 6, '"email" is not known here', "lrar, lre_q, commissaire_de_justice"),
    Row(Code.BAD_VALUE, *policy("enforcement_point: ours"), 6, '"ours" is not known here', "provider, customer"),
    Row(Code.BAD_VALUE, *policy("public_clause: art. 12"), 6, "means something only in profile fr-public", "profile: fr-public"),
    Row(Code.BAD_VALUE, *service("class: P", "class: P\n    delivered_by: us"), 4, '"us" is not known here', "provider, customer, third_party"),
    Row(Code.BAD_VALUE, *policy("windows: mon-thu 9-15"), 6, "is not a window", "mon-thu 09:00-15:00"),
    Row(Code.BAD_VALUE, *policy("windows: mon 15:00-09:00"), 6, "is not a window", "the end after the start"),
    Row(Code.BAD_VALUE, *policy("windows: mon 09:00-24:00"), 6, "is not a window", "on one day"),
    Row(Code.BAD_VALUE, *policy("stage: 4"), 6, '"4" is not known here', "3"),
    Row(Code.BAD_VALUE, *policy("stage: 3\n    stages: 3"), 6, "is said by stages already", "Remove it"),
    Row(Code.BAD_VALUE, *policy("stages: [3, 5]"), 6, "5 is out of range", "1 to 4"),
    Row(Code.BAD_VALUE, *policy("stages: [3, 4]"), 6, "needs a clause of the contract", "suspension_clause"),
    Row(Code.BAD_VALUE, *policy("stage2_min_days: 40"), 6, "means something only at stage 2", "name 2 in `stages`"),
    Row(Code.BAD_VALUE, *policy("suspension_clause: art. 12"), 6, "means something only at stage 4", "name 4 in `stages`"),
    Row(Code.BAD_VALUE, *policy("stages: 2\n    effective_hours: sat 00:00-24:00\n    stage2_kbit: 300"), 7, "beside stage2_kbit", "Keep one"),
    Row(Code.BAD_VALUE, *policy("stages: [2, 3]\n    waive_gentler_stages: simpler"), 7, "gentler stages are not tried", "take 2 out"),
    Row(Code.BAD_VALUE, *policy("stages: 2\n    effective_hours: night"), 7, "are no hours", "mon-thu 20:00-07:00"),
    Row(Code.BAD_VALUE, *policy("stages: 2\n    effective_hours: sat 10:00-10:00"), 7, "are no hours", "sat-sun 00:00-24:00"),
    Row(Code.BAD_VALUE, *policy("stages: 2\n    effective_hours: sat 10:00-25:00"), 7, "are no hours", "sat-sun 00:00-24:00"),
    Row(Code.BAD_VALUE, *policy("stages: 2\n    effective_hours: sun-sat 10:00-12:00"), 7, "are no hours", "sat-sun 00:00-24:00"),
    Row(Code.BAD_VALUE, *policy("holidays: France"), 6, "is not a calendar of holidays", "FR"),
    Row(Code.BAD_ID, *customer("contract: ZA-1", 'contract: ZA-1\n      billing_ids: {"Stripe Main": cus_za}'), 6, '"Stripe Main" is not an id', "a-z, 0-9"),
    Row(Code.BAD_ID, *customer("    za:\n", "    ZA:\n"), 3, 'customers.zephyr: "ZA" is not an id', "a-z, 0-9"),
    Row(Code.BAD_ID, *customer("  zephyr:\n", "  -zephyr:\n"), 2, '"-zephyr" is not an id', "a-z, 0-9"),
    Row(Code.BAD_ID, *customer("  zephyr:\n", "  " + "z" * 64 + ":\n"), 2, "is not an id", "1 to 63"),
    Row(Code.BAD_ID, *customer("subscriptions: [reporting, portal]", 'billing_ids: {stripe-main: "cus 1"}'), 14, '"cus 1" is not a customer id', "letters, digits"),
    Row(Code.TWICE, *customer("[reporting, portal]", "[reporting, portal, reporting]"), 14, 'subscriptions[2]: "reporting" is given twice', "Keep it once"),
    Row(Code.HOST_BITS, *customer(PREFIX, "10.20.10.1/24"), 11, "10.20.10.1/24 has host bits set", "Write 10.20.10.0/24 for the network, or 10.20.10.1"),
    Row(Code.HOST_BITS, *service('"2001:db8:100::30"', '"2001:db8:100::30/64"'), 9, "2001:db8:100::30/64 has host bits set", "2001:db8:100::/64"),
    Row(Code.PREFIX_ZERO, *customer(PREFIX, "0.0.0.0/0"), 11, "0.0.0.0/0 is everything", "Name the networks"),
    Row(Code.PREFIX_ZERO, *service('"2001:db8:100::30"', '"::/0"'), 9, "::/0 is everything", "Name the networks"),
    Row(Code.MAPPED_PREFIX, *customer(PREFIX, '"::ffff:10.20.10.0/120"'), 11, "IPv4 inside IPv6", "own networks"),
    Row(Code.MAPPED_PREFIX, *customer(PREFIX, '"::/1"'), 11, "IPv4 inside IPv6", "own networks"),
    Row(Code.SPECIAL_PREFIX, *customer(PREFIX, '"fe80::/64"'), 11, "touches fe80::/10 (link-local)", "own networks"),
    Row(Code.SPECIAL_PREFIX, *customer(PREFIX, "127.0.0.1"), 11, "loopback", "own networks"),
    Row(Code.SPECIAL_PREFIX, *service("192.0.2.10", "224.0.0.0/4"), 5, "multicast", "own networks"),
    Row(Code.BAD_INTERFACE, *customer("za0", "sixteen-bytes-lo"), 11, '"sixteen-bytes-lo" is not an interface name', "1 to 15"),
    Row(Code.BAD_INTERFACE, *customer("za0", "'za*'"), 11, '"za*" is not an interface name', "1 to 15"),
    Row(Code.BAD_INTERFACE, *customer("za0", "'za/0'"), 11, '"za/0" is not an interface name', "1 to 15"),
    Row(Code.BAD_PORTS, *service("tcp, ports: 443}\n  reporting", "tcp, ports: [0, 443]}\n  reporting"), 5, 'ports[0]: "0" is not a port', "1 to 65535"),
    Row(Code.BAD_PORTS, *service("tcp, ports: 443}\n  reporting", "tcp, ports: 443-80}\n  reporting"), 5, '"443-80" is not a port', "8000-8010"),
    Row(Code.BAD_PORTS, *service("tcp, ports: 443}\n  reporting", "any, ports: 443}\n  reporting"), 5, "ports with protocol any", "tcp or udp"),
    Row(Code.BAD_PORTS, *service("tcp, ports: 443}\n  reporting", "tcp, ports: [443, 400-500]}\n  reporting"), 5, "two ranges share a port", "once"),
    Row(Code.BELOW_FLOOR, *policy("min_reminders: 1"), 6, "min_reminders: 1 is below the floor of 2", "Write 2 to 20 (G-06"),
    Row(Code.BELOW_FLOOR, *policy("max_suspension_days: 91"), 6, "91 is above the limit of 90", "G-27"),
    Row(Code.BELOW_FLOOR, *policy("windows: []"), 6, "windows: an empty list", "at least one"),
    Row(Code.CLOSED_DAY, *policy("windows: [mon-thu 09:00-15:00, fri-sat 09:00-12:00]"), 6, "Saturday or Sunday", "mon-fri"),
    # fields against each other
    Row(Code.DUPLICATE_ID, "z.yaml", "services:\n  portal: {class: D}\n", 2, "service portal exists already", "Keep one"),
    Row(Code.DUPLICATE_ID, "z.yaml", POLICIES, 2, "policy usual exists already", "Keep one"),
    Row(Code.DUPLICATE_ID, "more.jsonl", LINE + "\n" + swap(LINE, "zb0", "zb1"), 2, "company zb exists already (", "of its own"),
    Row(
        Code.DUPLICATE_ID,
        "more.jsonl",
        "\n".join(swap(LINE, '"group"', '"billing_ids": {"stripe-main": "cus_1"}, "group"').replace("zb", name) for name in ("zb", "zc")).replace("10.20.20.0", "10.20.21.0", 1),
        2,
        'billing_ids.stripe-main: stripe-main customer "cus_1" is company zb already',
        "correct one",
    ),
    Row(Code.UNKNOWN_REFERENCE, *customer("policy: usual", "policy: unusual"), 6, 'policy: no policy "unusual"', "usual"),
    Row(Code.UNKNOWN_REFERENCE, *customer("[reporting, portal]", "[reporting, vpn]"), 14, 'subscriptions.vpn: no service "vpn"', "portal, reporting"),
    Row(Code.UNKNOWN_REFERENCE, *customer("[reporting, portal]", "{reporting: {sites: [lyon]}}"), 14, 'no site "lyon"', "paris"),
    Row(Code.UNKNOWN_REFERENCE, *customer("      subscriptions", "          dependencies:\n            dns: {needed_by: crm, probe: dns, address: 192.0.2.53}\n      subscriptions"), 15, 'no local application "crm"', "erp"),
    Row(Code.WIDER_CLASS, *customer("[reporting, portal]", "\n        reporting:\n        portal:\n          class: A"), 17, "class A is easier to suspend than the service's own class P", "never-cut"),
    Row(Code.BAD_VALUE, *service("prefixes: [192.0.2.10], protocol", "names: [portal.example.net], protocol"), 4, "class P by name: what is never cut must be known by its addresses", "Write its prefixes"),
    Row(Code.BAD_VALUE, *service('prefixes: [198.51.100.30, "2001:db8:100::30"]', "names: [reporting]"), 9, '"reporting" is not a host\'s full name', "ged.example.net"),
    Row(Code.TWICE, *service('{prefixes: [198.51.100.30, "2001:db8:100::30"], protocol: tcp, ports: 443}', "{names: [a.example.net], protocol: tcp, ports: 443}\n      - {names: [A.example.net.], protocol: tcp, ports: 443}"), 8, "a name is given twice", "Keep it once"),
    Row(Code.NO_SELECTOR, *service("    class: P\n", "    class: A\n  other:\n    class: P\n"), 2, "class A without a selector", "Add `selectors:`"),
    Row(Code.NOT_LOCAL, *customer("address: 10.20.10.5", "address: 192.0.2.99"), 13, "192.0.2.99 is on none of the site's attachments", "dependencies"),
    Row(Code.NOT_LOCAL, *customer("          local_applications", "          control: {probe: icmp, address: 192.0.2.1}\n          local_applications"), 12, "192.0.2.1 is on none of the site's attachments", "router"),
    Row(Code.BAD_VALUE, *customer("          local_applications", "          control: {probe: tls, address: 10.20.10.1, path: /}\n          local_applications"), 12, "a tls probe has no path", "Remove it"),
    Row(Code.OVERLAP, "more.jsonl", swap(LINE, '"10.20.20.0/24", "interface": "zb0"', '"10.20.10.128/25"'), 1, "10.20.10.128/25 of company zb overlaps 10.20.10.0/24 behind za0 of company za", "interface of their own"),
    Row(Code.OVERLAP, *customer("            - {prefix: 10.20.10.0/24, interface: za0}\n", "            - {prefix: 10.20.0.0/16, interface: za0}\n            - {prefix: 10.20.10.0/24, interface: za0}\n"), 12, "overlaps 10.20.0.0/16 behind za0 of company za", "interface of their own"),
    Row(Code.OVERLAP, *customer("            - {prefix: 10.20.10.0/24, interface: za0}\n", "            - {prefix: 10.20.10.0/24, interface: za0}\n            - {interface: za0}\n"), 11, "10.20.10.0/24 behind za0 of company za overlaps everything behind za0 of company za", "interface of their own"),
    Row(Code.OVERLAP, *customer("            - {prefix: 10.20.10.0/24, interface: za0}\n", "            - {interface: za0}\n            - {vrf: za0}\n"), 12, "everything behind za0 of company za overlaps everything behind za0 of company za", "interface of their own"),
    Row(Code.NOT_LOCAL, "customers.yaml", swap(swap(CUSTOMERS, "{prefix: 10.20.10.0/24, interface: za0}", "{interface: za0}"), "address: 10.20.10.5", "address: 198.51.100.30"), 13, "198.51.100.30 is an address of service reporting", "dependencies"),
    Row(Code.MISSING, *customer("{prefix: 10.20.10.0/24, interface: za0}", "{valid_from: 2026-01-01}"), 11, "names neither a prefix nor a link", "interface: ..."),
    Row(Code.BAD_VALUE, *customer("interface: za0}", "interface: za0, vrf: za1}"), 11, "has an interface and a VRF", "Name the VRF"),
    Row(Code.PROTECTED_HIT, *service("[198.51.100.30,", "[192.0.2.0/24,"), 9, "192.0.2.0/24 of service reporting meets 192.0.2.10/32 of portal, which is never cut", "Narrow"),
    Row(Code.TARGET_NOT_SEPARABLE, "more.yaml", "services:\n  vpn:\n    class: A\n    selectors:\n      - {prefixes: [198.51.100.0/24], protocol: any}\n", 5, "meets 198.51.100.30/32 of service reporting", "addresses or ports of their own"),
    Row(Code.TARGET_NOT_SEPARABLE, *service("[198.51.100.30,", "[198.51.100.30, 198.51.100.0/24,"), 9, "of the same service", "Name each packet once"),
    Row(Code.TARGET_NOT_SEPARABLE, *service("      - {prefixes: [198.51.100.30,", "      - {prefixes: [198.51.100.60], protocol: tcp, ports: 443, before_nat: true}\n      - {prefixes: [198.51.100.30,"), 8, "reached by an address before NAT and by one behind it", "Make two services of it"),
    Row(Code.TARGET_NOT_SEPARABLE, *service("protocol: tcp, ports: 443}\n  rep", "protocol: tcp, ports: 443}\n  vip: {class: A, selectors: [{prefixes: [198.51.100.30], protocol: tcp, ports: 443, before_nat: true}]}\n  rep"), 6, "198.51.100.30/32 of service reporting", "addresses or ports of their own"),
    Row(Code.BAD_VALUE, *service("tcp, ports: 443}\n  reporting", "tcp, ports: 443}\n  vip: {class: A, selectors: [{names: [a.example.net], protocol: tcp, before_nat: true}]}\n  reporting"), 6, "before_nat with names", "as `prefixes`"),
    Row(Code.TARGET_NOT_SEPARABLE, *rented("198.51.100.78", "198.51.100.77"), 10, "198.51.100.77/32 of service server is dedicated to company zd (", "addresses of its own"),
    Row(Code.TARGET_NOT_SEPARABLE, *rented("198.51.100.78", "198.51.100.83"), 10, "198.51.100.83/32 of service server is dedicated to company zd (", "addresses of its own"),
    Row(Code.TARGET_NOT_SEPARABLE, *rented("198.51.100.80/30", "198.51.100.76/31"), 9, "198.51.100.77/32 of service server is dedicated to company zd (", "addresses of its own"),
    Row(Code.TARGET_NOT_SEPARABLE, *rented("198.51.100.64/26", "198.51.100.0/24"), 6, "meets 198.51.100.30/32 of service reporting", "addresses or ports of their own"),
    Row(Code.PROTECTED_HIT, *rented("198.51.100.64/26", "198.51.100.64/26, 192.0.2.0/28"), 6, "192.0.2.0/28 of service server meets 192.0.2.10/32 of portal, which is never cut", "Narrow"),
    Row(Code.BAD_VALUE, *rented("198.51.100.78", "198.51.100.128"), 10, "198.51.100.128/32 is not within service server", "Correct it, or add its prefix"),
    Row(Code.BAD_VALUE, *rented("198.51.100.78", "198.51.100.0/24"), 10, "198.51.100.0/24 is not within service server", "Correct it, or add its prefix"),
    Row(Code.BAD_VALUE, *rented("198.51.100.78", '"2001:db8::1"'), 10, "2001:db8::1/128 is not within service server", "Correct it, or add its prefix"),
    Row(Code.BAD_VALUE, *customer("[reporting, portal]", "{reporting: {addresses: 198.51.100.30}}"), 14, "service reporting is the same for everybody", "`dedicated: true` at service reporting"),
    Row(Code.MISSING, *rented("{addresses: 198.51.100.78}", ""), 10, "addresses is missing: service server is dedicated", "addresses: [192.0.2.77, ...]"),
    Row(Code.BAD_VALUE, *rented("prefixes: [198.51.100.64/26]", "names: [srv.example.net], prefixes: [198.51.100.64/26]"), 5, "a dedicated service by name", "Write the prefixes"),
    Row(Code.BAD_VALUE, *rented("prefixes: [198.51.100.64/26]", "before_nat: true, prefixes: [198.51.100.64/26]"), 4, "a dedicated service before NAT", "Write the addresses behind it"),
    Row(Code.SITE_HIT, *customer(PREFIX, "198.51.100.0/24"), 11, "meets service reporting, which can be suspended", "outside every site"),
    Row(
        Code.DEPENDENCY_HIT,
        *customer("      subscriptions", "          dependencies:\n            licence:\n              needed_by: erp\n              probe: tcp\n              address: 198.51.100.30\n              port: 443\n      subscriptions"),
        15,
        "dependencies.licence: erp needs 198.51.100.30, which is in 198.51.100.30/32 of service reporting",
        "`class: D`",
    ),
]  # fmt: skip

#: These need more than the content of a file.
ELSEWHERE = {Code.NO_FILES, Code.NOT_A_FILE, Code.CHANGED, Code.NOT_COMPILED}


def problems_of(directory: Path, files: dict[str, str | bytes]) -> tuple[Problem, ...]:
    for name, content in files.items():
        (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as raised:
        check_directory(directory)
    return raised.value.problems


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.code}-{row.what[:30]}" for row in ROWS])
def test_one_fault_gives_one_message_with_place_reason_and_mend(row: Row, tmp_path: Path) -> None:
    (found,) = problems_of(tmp_path, {**BASE, row.file: row.content})
    assert (found.code, Path(found.file).name, found.line) == (row.code, row.file, row.line)
    assert row.what in found.what
    assert row.mend in found.mend


@pytest.mark.parametrize(("value", "said"), [("null", "language: no value"), ("true", "language: .*true"), ("false", ".*false")])
def test_json_that_is_no_text_is_read_as_yaml_would_read_it(value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"more\.jsonl:1: {said}") as wrong:
        load({**BASE, "more.jsonl": swap(LINE, '"contract": "1"', f'"contract": "1", "language": {value}')})
    assert len(wrong.value.problems) == 1


def test_what_should_be_a_mapping_and_is_none_is_told_once_and_not_for_each_missing_field() -> None:
    with pytest.raises(ConfigError) as wrong:
        load({**BASE, "more.jsonl": swap(LINE, '{"prefix": "10.20.20.0/24", "interface": "zb0"}', '"10.20.20.0/24"')})
    assert len(wrong.value.problems) == 1


@pytest.mark.parametrize(
    ("class_", "names", "said"),
    [
        ("A", "[198.51.100.30]", "198.51.100.30. is not a host's full name. Write it as ged.example.net"),
        ("A", "[ged]", "is not a host's full name"),
        ("A", "[ged.example.net, GED.example.net.]", "is given twice. Keep it once"),
        (
            "A",
            "[ged.example.net], protocol: tcp, ports: 443}\n      - {names: [GED.example.net]",
            "a name is given twice. Keep it once",
        ),
        ("P", "[pay.example.net]", "class P by name: what is never cut must be known by its addresses. Write its prefixes"),
    ],
)
def test_a_service_by_name_is_suspendable_and_each_name_is_full_and_given_once(class_: str, names: str, said: str) -> None:
    named = f"  named:\n    class: {class_}\n    selectors:\n      - {{names: {names}, protocol: tcp, ports: 443}}\n"
    with pytest.raises(ConfigError, match=said) as wrong:
        load({**BASE, "services.yaml": SERVICES + named})
    assert len(wrong.value.problems) == 1


def test_every_kind_of_problem_has_a_test() -> None:
    assert {row.code for row in ROWS} | ELSEWHERE == set(Code)
    elsewhere = Path(__file__).with_name("test_inventory.py").read_text()
    assert {code for code in ELSEWHERE if f"Code.{code.name}" in elsewhere} == ELSEWHERE


def test_what_is_wrong_and_how_to_mend_it_are_sentences() -> None:
    with pytest.raises(ConfigError) as raised:
        load({**BASE, "customers.yaml": swap(CUSTOMERS, PREFIX, "10.20.10.1/24")})
    assert str(raised.value) == (
        "customers.yaml:11: customers.zephyr.za.sites.paris.attachments[0].prefix: 10.20.10.1/24 has host bits set. "
        "Write 10.20.10.0/24 for the network, or 10.20.10.1 for the one address."
    )


def test_all_problems_of_all_files_come_at_once_in_order(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path,
        {
            "a.yaml": swap(SERVICES, "class: P", "class: Q"),
            "b.yaml": "policies:\n  usual:\n    profile: fr-b2b\n    mode: sometimes\n    notice_days: 3\n    surprise: 1\n",
            "c.yaml": swap(swap(CUSTOMERS, PREFIX, "10.20.10.1/24"), "contract: ZA-1", "contrat: ZA-1"),
            "d.jsonl": "{}\n" + swap(LINE, '"10.20.20.0/24"', '"::/0"'),
            "e.yaml": "x: &a\n",
        },
    )
    assert [(Path(problem.file).name, problem.line, problem.code) for problem in problems] == [
        ("a.yaml", 3, "BAD_VALUE"),
        ("b.yaml", 4, "BAD_VALUE"),
        ("b.yaml", 5, "BELOW_FLOOR"),
        ("b.yaml", 6, "UNKNOWN_KEY"),
        ("c.yaml", 3, "MISSING"),
        ("c.yaml", 5, "UNKNOWN_KEY"),
        ("c.yaml", 11, "HOST_BITS"),
        ("d.jsonl", 1, "MISSING"),
        ("d.jsonl", 1, "MISSING"),
        ("d.jsonl", 1, "MISSING"),
        ("d.jsonl", 1, "MISSING"),
        ("d.jsonl", 1, "MISSING"),
        ("d.jsonl", 2, "PREFIX_ZERO"),
        ("e.yaml", 1, "ALIAS"),
    ]


def test_a_flood_of_problems_is_counted_not_listed() -> None:
    with pytest.raises(ConfigError) as raised:
        load({**BASE, "more.jsonl": "{}\n" * MAX_LISTED})
    assert len(raised.value.problems) == MAX_LISTED + 1
    assert raised.value.problems[-1].what == f"{4 * MAX_LISTED} more problems are not listed"


def test_a_message_shows_nothing_a_terminal_would_obey() -> None:
    line = swap(LINE, '"zb0"', '"\\u001b[2J\\u202e"')
    with pytest.raises(ConfigError) as raised:
        load({**BASE, "more.jsonl": line})
    assert all(character.isprintable() for character in str(raised.value))


def test_a_reference_to_something_that_is_itself_wrong_is_not_reported_again() -> None:
    with pytest.raises(ConfigError) as raised:
        load({**BASE, "services.yaml": swap(SERVICES, "class: A", "class: Z")})
    assert [problem.code for problem in raised.value.problems] == ["BAD_VALUE"]


def test_a_reference_into_a_file_that_can_not_be_read_is_not_reported() -> None:
    with pytest.raises(ConfigError) as raised:
        load({**BASE, "policies.yaml": "policies: [\n"})
    assert [problem.code for problem in raised.value.problems] == ["NOT_YAML"]


# --- whatever is written ----------------------------------------------------------------------------------------


def problems_if_any(files: dict[str, str]) -> tuple[Problem, ...]:
    try:
        load(files)
    except ConfigError as error:
        return error.problems
    return ()


def load_or_problems(files: dict[str, str]) -> None:
    """Either a set or problems with a place and a mend; nothing else ever comes out."""
    for problem in problems_if_any(files):
        assert problem.file in files
        assert 0 <= problem.line <= max(1, len(files[problem.file].splitlines()))
        assert problem.what
        assert problem.mend
        assert str(problem).isprintable()


@given(st.text(max_size=60), st.sampled_from(["x.yaml", "x.jsonl"]))
@settings(max_examples=80, deadline=None)
def test_any_text_loads_or_is_a_problem(text: str, name: str) -> None:
    load_or_problems({**BASE, name: text})


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.sampled_from(["10.0.0.0/8", "::1/64", "A"])
)
KEYS = st.sampled_from(
    [
        "services",
        "customers",
        "policies",
        "zephyr",
        "za",
        "id",
        "group",
        "sites",
        "attachments",
        "prefix",
        "interface",
        "subscriptions",
        "reporting",
        "class",
        "selectors",
        "prefixes",
        "protocol",
        "ports",
        "name",
        "policy",
        "contract",
        "billing_ids",
        "timezone",
        "local_applications",
        "dependencies",
        "needed_by",
        "probe",
        "address",
        "port",
        "mode",
        "profile",
        "windows",
        "min_debt",
    ]
)
TREES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)), max_leaves=12
)


@given(TREES)
@settings(max_examples=80, deadline=None)
def test_any_tree_of_known_keys_loads_or_is_a_problem(tree: object) -> None:
    text = json.dumps(tree)
    load_or_problems({**BASE, "x.jsonl": text})
    load_or_problems({**BASE, "x.yaml": text})


@given(
    st.sampled_from(sorted(BASE)),
    st.integers(0, 400),
    st.integers(0, 20),
    st.text(st.sampled_from("{}[]:,-&*!#\"'\n 0/az"), max_size=4),
)
@settings(max_examples=80, deadline=None)
def test_any_slip_of_the_pen_loads_or_is_a_problem(name: str, at: int, cut: int, typed: str) -> None:
    text = BASE[name]
    load_or_problems({**BASE, name: text[:at] + typed + text[at + cut :]})


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, Code.NO_FILES),
        ({"c.jsonl": LINE}, Code.NO_FILES),
        ({**BASE, "x.yaml": "# " + "é" * 600 * 1024}, Code.TOO_BIG),
        ({**BASE, "x.yaml": "policies: {a: '\ud800'}"}, Code.NOT_UTF8),
        ({**BASE, "x.yaml": "policies: " + "{a: " * 20 + "1" + "}" * 20}, Code.TOO_DEEP),
        ({**BASE, "x.yaml": "policies: {*a : 1, b: *a}"}, Code.ALIAS),
    ],
)
def test_texts_that_come_without_a_directory_are_checked_alike(files: dict[str, str], code: Code) -> None:
    assert {problem.code for problem in problems_if_any(files)} == {code}


def test_a_target_far_wider_than_the_dependency_inside_it_is_to_be_named_exactly() -> None:
    wide = swap(SERVICES, "[198.51.100.30,", "[172.16.0.0/12,")
    depends = "          dependencies:\n            licence: {needed_by: erp, probe: tcp, address: 172.16.0.1, port: 443}\n      subscriptions"
    (problem,) = problems_if_any({**BASE, "services.yaml": wide, "customers.yaml": swap(CUSTOMERS, "      subscriptions", depends)})
    assert problem.code == Code.DEPENDENCY_HIT
    assert problem.mend.startswith("Name the service's own addresses instead of 172.16.0.0/12.")


def test_a_policy_that_is_no_mapping_is_one_problem_and_not_one_for_each_value_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "policies.yaml").write_text("policies:\n  usual: 5\n")
    with pytest.raises(ConfigError) as caught:
        check_directory(tmp_path)
    about = [problem for problem in caught.value.problems if problem.file.endswith("policies.yaml")]
    assert [problem.line for problem in about] == [2]

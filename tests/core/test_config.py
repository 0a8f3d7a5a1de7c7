"""`ecluse.yaml` and `sources.yaml`: what they mean, every problem of theirs, and that no secret is ever shown."""

import base64
import os
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.config import (
    BILLING_EVENTS,
    Config,
    ConfigCode,
    Operator,
    Role,
    Secret,
    SourceConfig,
    billing_sources,
    company_of,
    group_id,
    load_config,
    load_sources,
    read_secrets,
    user_id,
)
from agent.errors import ConfigError, Problem
from agent.event import TYPES, Origin
from agent.model import Mode
from agent.policy import Code, MemoryInventory, load

CONFIG = """\
policies: policies
sources: /etc/ecluse/sources.yaml
state_dir: /srv/ecluse
run_dir: /run/elsewhere
listen: "[::1]:9000"
kernel: memory
mode_ceiling: approve
serve_user: ecluse-serve
serve_group: 991
operators_group: credit
operators:
  - {name: Claire Martin, user: claire, roles: [credit_officer]}
  - {name: Paul Durand, user: 1007, roles: [approver, legal]}
"""
SOURCES = """\
sources:
  erp:
    kind: native
    secrets: [secrets/new, /etc/ecluse/secrets/old]
    events: [payment.received, heartbeat]
    customer_ids: own
  stripe-main:
    kind: stripe
    secrets: secrets/stripe
    events: [invoice.issued]
    customer_ids: {cus_1: za, cus_2: zb}
    tolerance_seconds: 120
    max_body: 65536
    test_mode: true
"""


def config(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "ecluse.yaml"
    path.write_text(text)
    return load_config(path)


def sources(tmp_path: Path, text: str) -> dict[str, SourceConfig]:
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    return dict(load_sources(path))


def test_a_config_is_read_field_by_field(tmp_path: Path) -> None:
    assert config(tmp_path, CONFIG) == Config(
        policies=tmp_path / "policies",
        sources=Path("/etc/ecluse/sources.yaml"),
        state_dir=Path("/srv/ecluse"),
        run_dir=Path("/run/elsewhere"),
        listen_host="::1",
        listen_port=9000,
        kernel="memory",
        mode_ceiling=Mode.APPROVE,
        serve_user="ecluse-serve",
        serve_group=991,
        operators_group="credit",
        operators=(
            Operator(name="Claire Martin", user="claire", roles=(Role.CREDIT_OFFICER,)),
            Operator(name="Paul Durand", user=1007, roles=(Role.APPROVER, Role.LEGAL)),
        ),
    )


def test_a_fresh_host_observes_and_listens_to_itself_only(tmp_path: Path) -> None:
    found = config(tmp_path, "policies: p\nsources: s\n")
    assert found.mode_ceiling is Mode.OBSERVE
    assert (found.listen_host, found.listen_port) == ("127.0.0.1", 8440)
    assert (found.state_dir, found.run_dir) == (Path("/var/lib/ecluse"), Path("/run/ecluse"))
    assert found.kernel == "auto"
    assert found.operators == ()
    assert found.intake_socket.parent == found.operator_socket.parent == found.run_dir
    assert found.intake_socket != found.operator_socket


def test_a_named_person_is_found_by_the_user_id_the_kernel_reports(tmp_path: Path) -> None:
    found = config(tmp_path, CONFIG.replace("claire,", "root,"))
    assert [each and each.name for each in (found.operator(0), found.operator(1007), found.operator(1008))] == [
        "Claire Martin",
        "Paul Durand",
        None,
    ]
    assert (user_id("root"), user_id(12), user_id("nobody-of-this-name")) == (0, 12, None)
    assert (group_id("root"), group_id(12), group_id("nobody-of-this-name")) == (0, 12, None)


def test_sources_are_read_field_by_field(tmp_path: Path) -> None:
    assert sources(tmp_path, SOURCES) == {
        "erp": SourceConfig(
            name="erp",
            kind="native",
            secrets=(tmp_path / "secrets/new", Path("/etc/ecluse/secrets/old")),
            events=frozenset({"payment.received", "heartbeat"}),
            customer_ids="own",
        ),
        "stripe-main": SourceConfig(
            name="stripe-main",
            kind="stripe",
            secrets=(tmp_path / "secrets/stripe",),
            events=frozenset({"invoice.issued"}),
            customer_ids={"cus_1": "za", "cus_2": "zb"},
            tolerance_seconds=120,
            max_body=65536,
            test_mode=True,
        ),
    }


def test_a_source_has_safe_defaults(tmp_path: Path) -> None:
    (found,) = sources(tmp_path, "sources: {a: {kind: stripe, secrets: s, events: heartbeat}}").values()
    assert (found.customer_ids, found.tolerance_seconds, found.max_body, found.test_mode) == ("listed", 300, 262144, False)


@pytest.mark.parametrize("event", TYPES)
def test_a_source_may_be_allowed_what_billing_states_and_never_an_approval(event: str, tmp_path: Path) -> None:
    text = f"sources: {{a: {{kind: native, secrets: s, events: [{event}]}}}}"
    if TYPES[event].origin is Origin.BILLING:
        assert sources(tmp_path, text)["a"].events == {event}
    else:
        assert event not in BILLING_EVENTS
        with pytest.raises(ConfigError) as raised:
            sources(tmp_path, text)
        assert [problem.code for problem in raised.value.problems] == [Code.BAD_VALUE]


def test_a_customer_becomes_a_company_only_if_the_inventory_has_it(tmp_path: Path) -> None:
    text = (
        "services: {}\npolicies: {usual: {profile: fr-b2b, mode: auto}}\n"
        "customers: {g: {za: {name: Z, contract: K, policy: usual, billing_ids: {listed: cus_9}}}}\n"
    )
    inventory = MemoryInventory(load({"a.yaml": text}))
    found = sources(
        tmp_path,
        "sources:\n"
        "  own: {kind: native, secrets: s, events: heartbeat, customer_ids: own}\n"
        "  listed: {kind: native, secrets: s, events: heartbeat}\n"
        "  here: {kind: native, secrets: s, events: heartbeat, customer_ids: {cus_1: za, cus_2: gone}}\n",
    )
    asked = [
        ("own", "za"),
        ("own", "zb"),
        ("listed", "cus_9"),
        ("listed", "za"),
        ("here", "cus_1"),
        ("here", "cus_2"),
        ("here", "za"),
    ]
    assert [company_of(found[name], customer, inventory) for name, customer in asked] == ["za", None, "za", None, "za", None, None]


# --- every problem ----------------------------------------------------------------------------------------------


class Row(NamedTuple):
    code: Code
    old: str
    new: str
    line: int
    what: str


CONFIG_ROWS = [
    Row(Code.MISSING, "policies: policies\n", "", 1, "policies is missing"),
    Row(Code.UNKNOWN_KEY, "mode_ceiling", "mode_celing", 7, 'unknown key "mode_celing"'),
    Row(Code.BAD_VALUE, "mode_ceiling: approve", "mode_ceiling: always", 7, '"always" is not known here'),
    Row(Code.BAD_VALUE, "kernel: memory", "kernel: ebtables", 6, '"ebtables" is not known here'),
    Row(Code.BAD_VALUE, '"[::1]:9000"', "localhost:8440", 5, "is not an address and port"),
    Row(Code.BAD_VALUE, '"[::1]:9000"', "127.0.0.1:0", 5, "is not an address and port"),
    Row(Code.BAD_VALUE, '"[::1]:9000"', "127.0.0.300:80", 5, "is not an address and port"),
    Row(Code.BAD_VALUE, "operators_group: credit", "operators_group: Credit Office", 10, "is not the name of a user or group"),
    Row(Code.BAD_VALUE, "policies: policies", 'policies: "a\\0b"', 1, "is not a text"),
    Row(Code.BAD_VALUE, "[credit_officer]", "[clerk]", 12, '"clerk" is not known here'),
    Row(Code.MISSING, ", roles: [credit_officer]", "", 12, "no roles"),
    Row(Code.DUPLICATE_ID, "user: 1007", "user: claire", 11, 'two operators with the user "claire"'),
    Row(Code.DUPLICATE_ID, "Paul Durand", "Claire Martin", 11, 'two operators with the name "Claire Martin"'),
    Row(Code.ALIAS, "policies: policies", "policies: &a policies", 1, "anchor &a"),
    Row(Code.TWICE, "[approver, legal]", "[approver, approver]", 13, '"approver" is given twice'),
]
SOURCES_ROWS = [
    Row(Code.MISSING, "sources:\n", "x:\n", 1, "sources is missing"),
    Row(Code.BAD_VALUE, "kind: native", "kind: paypal", 3, '"paypal" is not known here'),
    Row(Code.MISSING, "    secrets: secrets/stripe\n", "", 7, "secrets is missing"),
    Row(Code.MISSING, "    events: [invoice.issued]\n", "", 7, "events is missing"),
    Row(Code.BAD_VALUE, "invoice.issued", "approval.given", 10, '"approval.given" is not known here'),
    Row(Code.BAD_VALUE, "customer_ids: own", "customer_ids: theirs", 6, '"theirs" is not known here'),
    Row(Code.BAD_ID, "cus_1: za", "cus_1: ZA", 11, '"ZA" is not an id'),
    Row(Code.BAD_VALUE, "tolerance_seconds: 120", "tolerance_seconds: 86400", 12, "86400 is out of range"),
    Row(Code.BAD_VALUE, "max_body: 65536", "max_body: 999999999", 13, "999999999 is out of range"),
    Row(Code.BAD_VALUE, "customer_ids: own", "test_mode: true", 6, "native has no test mode"),
    Row(Code.BAD_ID, "  erp:\n", "  ERP/1:\n", 2, '"ERP/1" is not an id'),
    Row(Code.UNKNOWN_KEY, "max_body", "maxbody", 13, 'unknown key "maxbody"'),
]


def swap(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} must stand once in the base"
    return text.replace(old, new)


def check(row: Row, raised: ConfigError, path: Path) -> None:
    found = [problem for problem in raised.problems if row.what in problem.what]
    assert [(problem.code, problem.file, problem.line) for problem in found] == [(row.code, str(path), row.line)]
    assert found[0].mend


@pytest.mark.parametrize("row", CONFIG_ROWS, ids=[row.what for row in CONFIG_ROWS])
def test_a_problem_of_the_config_comes_with_its_line(row: Row, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        config(tmp_path, swap(CONFIG, row.old, row.new))
    check(row, raised.value, tmp_path / "ecluse.yaml")


@pytest.mark.parametrize("row", SOURCES_ROWS, ids=[row.what for row in SOURCES_ROWS])
def test_a_problem_of_the_sources_comes_with_its_line(row: Row, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        sources(tmp_path, swap(SOURCES, row.old, row.new))
    check(row, raised.value, tmp_path / "sources.yaml")


def test_all_problems_of_a_config_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        config(tmp_path, "sources: [a]\nkernel: x\nlisten: y\nz: 1\noperators: {}\n")
    assert [problem.line for problem in raised.value.problems] == [1, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("make", "code"),
    [(lambda path: None, Code.NOT_A_FILE), (os.mkfifo, Code.NOT_A_FILE), (Path.mkdir, Code.NOT_A_FILE), (Path.touch, Code.EMPTY)],
)
def test_a_config_that_is_no_file_is_one_problem(make, code: Code, tmp_path: Path) -> None:
    make(tmp_path / "ecluse.yaml")
    with pytest.raises(ConfigError) as raised:
        load_config(tmp_path / "ecluse.yaml")
    assert [problem.code for problem in raised.value.problems] == [code]


# --- secrets ----------------------------------------------------------------------------------------------------

KEY = bytes(range(32))
NATIVE = "whsec_" + base64.b64encode(KEY).decode()
STRIPE = "whsec_" + "k" * 32


def secret(tmp_path: Path, content: str | bytes, mode: int = 0o600, name: str = "secret") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def source(kind: str, *paths: Path) -> SourceConfig:
    return SourceConfig(name="billing", kind=kind, secrets=paths, events=frozenset({"heartbeat"}), place=("sources.yaml", 7))


def refused(source_: SourceConfig) -> Problem:
    with pytest.raises(ConfigError) as raised:
        read_secrets(source_)
    (problem,) = raised.value.problems
    assert (problem.file, problem.line) == ("sources.yaml", 7)
    return problem


def test_a_native_secret_is_decoded_and_a_stripe_secret_is_taken_whole(tmp_path: Path) -> None:
    (native,) = read_secrets(source("native", secret(tmp_path, NATIVE + "\n")))
    assert native.reveal() == KEY
    (stripe,) = read_secrets(source("stripe", secret(tmp_path, STRIPE + "\n")))
    assert stripe.reveal() == STRIPE.encode()


def test_several_secrets_are_read_in_order_for_rotation(tmp_path: Path) -> None:
    old, new = secret(tmp_path, STRIPE, name="old"), secret(tmp_path, STRIPE[:-1] + "n", name="new")
    assert [each.reveal() for each in read_secrets(source("stripe", new, old))] == [(STRIPE[:-1] + "n").encode(), STRIPE.encode()]


def test_a_secret_that_systemd_hands_over_is_taken_from_its_copy_and_its_own_file_is_never_looked_at(tmp_path: Path) -> None:
    handed = tmp_path / "credentials"
    handed.mkdir()
    secret(handed, STRIPE, 0o440, "secrets_stripe")  # systemd's copies may show a group: their access list does
    elsewhere = secret(tmp_path, STRIPE[:-1] + "n", name="other")
    environment = {"CREDENTIALS_DIRECTORY": str(handed)}
    found = read_secrets(source("stripe", tmp_path / "secrets" / "stripe", elsewhere), environment)
    assert [each.reveal() for each in found] == [STRIPE.encode(), (STRIPE[:-1] + "n").encode()]


def test_what_is_no_secret_is_refused_in_a_copy_too(tmp_path: Path) -> None:
    secret(tmp_path, "short", 0o400, "secrets_stripe")
    with pytest.raises(ConfigError) as raised:
        read_secrets(source("stripe", Path("/etc/ecluse/secrets/stripe")), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert [each.code for each in raised.value.problems] == [ConfigCode.BAD_SECRET]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o602])
def test_a_secret_open_to_others_is_refused(mode: int, tmp_path: Path) -> None:
    problem = refused(source("stripe", secret(tmp_path, STRIPE, mode)))
    assert problem.code == ConfigCode.SECRET_OPEN
    assert "chmod 0600" in problem.mend


@pytest.mark.parametrize(
    "content",
    [
        "",
        "short",
        "whsec_" + base64.b64encode(KEY[:23]).decode(),
        "whsec_" + base64.b64encode(KEY * 3).decode(),
        "whsec_!!!",
        NATIVE + "\n" + NATIVE,
        "x" * 5000,
    ],
)
def test_what_is_no_secret_is_refused_and_not_repeated(content: str, tmp_path: Path) -> None:
    problem = refused(source("native", secret(tmp_path, content)))
    assert problem.code == ConfigCode.BAD_SECRET
    assert content[6:] == "" or content[6:] not in str(problem)


def test_a_secret_that_is_not_text_or_not_there_is_refused(tmp_path: Path) -> None:
    assert refused(source("stripe", secret(tmp_path, b"\xff" * 40))).code == Code.NOT_UTF8
    assert refused(source("stripe", tmp_path / "nowhere")).code == Code.NOT_A_FILE
    assert refused(source("stripe", tmp_path)).code == Code.NOT_A_FILE


def test_every_kind_of_problem_of_these_files_has_a_test() -> None:
    tests = Path(__file__).read_text()
    assert all(f"ConfigCode.{code.name}" in tests for code in ConfigCode)


def test_a_secret_is_never_shown() -> None:
    hidden = Secret(b"whsec_do-not-show")
    shown = [repr(hidden), str(hidden), f"{hidden}", f"{hidden!r:>5}", repr([hidden]), repr({"secret": hidden})]
    assert all("show" not in each and "***" in each for each in shown)
    assert not hasattr(hidden, "__dict__")


def test_sources_are_made_ready_to_verify(tmp_path: Path) -> None:
    found = billing_sources(
        {
            "live": SourceConfig(
                name="live",
                kind="stripe",
                secrets=(secret(tmp_path, STRIPE),),
                events=frozenset({"heartbeat"}),
                tolerance_seconds=60,
            ),
            "test": SourceConfig(
                name="test", kind="stripe", secrets=(secret(tmp_path, STRIPE),), events=frozenset(), test_mode=True
            ),
        }
    )
    assert (found["live"].name, found["live"].kind, found["live"].secrets) == ("live", "stripe", (STRIPE.encode(),))
    assert (found["live"].events, found["live"].tolerance) == ({"heartbeat"}, timedelta(seconds=60))
    assert (found["live"].livemode_only, found["test"].livemode_only) == (True, False)
    assert STRIPE not in repr(found)


def test_all_bad_secrets_of_all_sources_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        billing_sources({name: source("stripe", tmp_path / name, secret(tmp_path, STRIPE, 0o644)) for name in ("a", "b")})
    assert [problem.code for problem in raised.value.problems] == [Code.NOT_A_FILE, ConfigCode.SECRET_OPEN] * 2

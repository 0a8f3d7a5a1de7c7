"""Floor 2. The two files that set up a host: `ecluse.yaml` and `sources.yaml`.

Rules of this room:

1. As strict as policies: unknown keys refused, every problem at once, with file and line.
2. The safe value is the default: the mode ceiling is `observe` and the listener is on the loopback address.
3. A secret stands in a file of its own that only its owner may read. Its bytes are in no message, log line or `repr`. Under
   systemd the role never sees that file: systemd hands over a copy (`LoadCredential=secrets:/etc/ecluse/secrets`).
4. A source states what its configuration lists and nothing else; approvals never come from a billing system.
"""

import grp
import os
import pwd
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, TypeVar

from agent.billing import KINDS, Source
from agent.errors import ConfigError, Problem
from agent.event import TYPES, Origin
from agent.model import Inventory, Mode
from agent.policy import kinds
from agent.policy.nodes import Table
from agent.policy.problems import Code, Problems, Wrong, quote
from agent.policy.tree import MAX_YAML, decode, yaml_tree

T = TypeVar("T")

_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_ENDPOINT: Final = re.compile(r"(?:\[([0-9a-f:]+)\]|([0-9.]+)):([0-9]{1,5})")
_MAX_SECRET: Final = 4096

#: Event types a billing system may state.
BILLING_EVENTS: Final = tuple(name for name, each in TYPES.items() if each.origin is Origin.BILLING)


class ConfigCode(StrEnum):
    """Kinds of problem that only these files have."""

    SECRET_OPEN = "SECRET_OPEN"  # noqa: S105 - the name of a problem
    BAD_SECRET = "BAD_SECRET"  # noqa: S105 - the name of a problem


class Role(StrEnum):
    """What a named person may do."""

    CREDIT_OFFICER = "credit_officer"
    APPROVER = "approver"
    LEGAL = "legal"
    OPERATOR = "operator"


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """A named person. `user` is the account the kernel sees behind the socket (name or uid)."""

    name: str
    user: str | int
    roles: tuple[Role, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """`ecluse.yaml`. Paths are absolute; users and groups are names or ids, None means our own.

    `web`, `metrics_web`: TLS and passwords of the two ports (see `web`). `metrics_listen`: a port for metrics alone.
    `max_elements`: so many set elements may be refused anew to one company at once; more is held until somebody has looked.
    `probe_interval`: seconds between two looks at each local application; 0: none are looked at from here.
    """

    policies: Path
    sources: Path
    state_dir: Path = Path("/var/lib/ecluse")
    run_dir: Path = Path("/run/ecluse")
    listen_host: str = "127.0.0.1"
    listen_port: int = 8440
    web: Path | None = None
    metrics_listen: tuple[str, int] | None = None
    metrics_web: Path | None = None
    kernel: Literal["auto", "nft", "iptables", "memory"] = "auto"
    mode_ceiling: Mode = Mode.OBSERVE
    operators: tuple[Operator, ...] = ()
    serve_user: str | int | None = None
    serve_group: str | int | None = None
    operators_group: str | int | None = None
    max_elements: int = 2_000
    probe_interval: int = 0
    probe_group: str | int | None = None
    probe_path: Path | None = None

    @property
    def probe_socket(self) -> Path:
        """Where the probing role answers."""
        return self.probe_path or self.run_dir / "probe.sock"

    @property
    def intake_socket(self) -> Path:
        """Where the listening role asks."""
        return self.run_dir / "intake.sock"

    @property
    def operator_socket(self) -> Path:
        """Where people and the command line ask."""
        return self.run_dir / "operator.sock"

    def operator(self, uid: int) -> Operator | None:
        """The named person behind a user id, if there is one."""
        return next((each for each in self.operators if user_id(each.user) == uid), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """One entry of `sources.yaml`.

    `secrets` are files, tried in order, several while a secret is being changed. `customer_ids` says how a biller's customer
    becomes a company: `own` (it uses our ids), `listed` (`billing_ids` of the companies) or a mapping given here.
    """

    name: str
    kind: str
    secrets: tuple[Path, ...]
    events: frozenset[str]
    customer_ids: Literal["own", "listed"] | Mapping[str, str] = "listed"
    tolerance_seconds: int = 300
    max_body: int = 262144
    test_mode: bool = False
    place: tuple[str, int] = field(default=("", 0), compare=False)


class Secret:
    """Bytes that must not be shown. Only `reveal` gives them."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes, for the one place that verifies with them."""
        return self._value

    def __repr__(self) -> str:
        return "***"


# --- ecluse.yaml ------------------------------------------------------------------------------------------------


def load_config(path: Path) -> Config:
    """Read `ecluse.yaml`. Relative paths in it count from its own directory.

    Raises:
        ConfigError: with every problem, by line.
    """
    base = path.absolute().parent
    return _load(path, lambda table: _config(table, base))


def _config(table: Table, base: Path) -> Config | None:
    path = _path(base)
    policies = table.need("policies", path)
    sources = table.need("sources", path)
    state_dir = table.may("state_dir", path, Path("/var/lib/ecluse"))
    run_dir = table.may("run_dir", path, Path("/run/ecluse"))
    endpoint = table.may("listen", _endpoint, ("127.0.0.1", 8440))
    web = table.may("web", path, None)
    metrics_listen = table.may("metrics_listen", _endpoint, None)
    metrics_web = table.may("metrics_web", path, None)
    kernel = table.may("kernel", kinds.one_of("auto", "nft", "iptables", "memory"), "auto")
    mode_ceiling = table.may("mode_ceiling", kinds.choice(Mode), Mode.OBSERVE)
    operators = table.each("operators", _operator)
    serve_user = table.may("serve_user", _account, None)
    serve_group = table.may("serve_group", _account, None)
    operators_group = table.may("operators_group", _account, None)
    max_elements = table.may("max_elements", kinds.between(1, 1_000_000), 2_000)
    probe_interval = table.may("probe_interval", kinds.between(5, 600), 0)
    probe_group = table.may("probe_group", _account, None)
    probe_path = table.may("probe_socket", path, None)
    for attribute in ("name", "user"):
        seen = [getattr(each, attribute) for each in operators]
        for value in {each for each in seen if seen.count(each) > 1}:
            what = f"two operators with the {attribute} {quote(str(value))}"
            mend = "One entry per person: two approvals must be two people."
            table.report(table.line_of("operators"), Code.DUPLICATE_ID, what, mend, key="operators")
    if not table.done():
        return None
    return Config(
        policies=policies,
        sources=sources,
        state_dir=state_dir,
        run_dir=run_dir,
        listen_host=endpoint[0],
        listen_port=endpoint[1],
        web=web,
        metrics_listen=metrics_listen,
        metrics_web=metrics_web,
        kernel=kernel,  # type: ignore[arg-type]  # one of the four
        mode_ceiling=mode_ceiling,
        operators=operators,
        serve_user=serve_user,
        serve_group=serve_group,
        operators_group=operators_group,
        max_elements=max_elements,
        probe_interval=probe_interval,
        probe_group=probe_group,
        probe_path=probe_path,
    )


def _operator(table: Table) -> Operator | None:
    name = table.need("name", kinds.words)
    user = table.need("user", _account)
    roles = table.many("roles", kinds.choice(Role))
    if table.sound and not roles:
        table.report(table.line, Code.MISSING, "no roles", f"Add `roles: [...]` of: {', '.join(Role)}.")
    return Operator(name=name, user=user, roles=roles) if table.done() else None


def _path(base: Path) -> Callable[[str], Path]:
    def parse(text: str) -> Path:
        return base / kinds.words(text)

    return parse


def _endpoint(text: str) -> tuple[str, int]:
    match = _ENDPOINT.fullmatch(text)
    try:
        if not match or not 1 <= int(match[3]) <= 65535:
            raise ValueError
        return str(ip_address(match[1] or match[2])), int(match[3])
    except ValueError:
        mend = "Write it as 127.0.0.1:8440 or [::1]:8440, an address and not a name."
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not an address and port", mend) from None


def _account(text: str) -> str | int:
    if text.isascii() and text.isdecimal():
        return kinds.between(0, 2**31)(text)
    if not _USER.fullmatch(text):
        raise Wrong(Code.BAD_VALUE, f"{quote(text)} is not the name of a user or group", "Write a name or a number.")
    return text


def user_id(user: str | int) -> int | None:
    """The uid of a user by name or number, None if this host has no such name."""
    try:
        return user if isinstance(user, int) else pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def group_id(group: str | int) -> int | None:
    """The gid of a group by name or number, None if this host has no such name."""
    try:
        return group if isinstance(group, int) else grp.getgrnam(group).gr_gid
    except KeyError:
        return None


# --- sources.yaml -----------------------------------------------------------------------------------------------


def load_sources(path: Path) -> Mapping[str, SourceConfig]:
    """Read `sources.yaml`: the sources by name. Relative paths count from its own directory; secrets are not opened.

    Raises:
        ConfigError: with every problem, by line.
    """
    base = path.absolute().parent

    def read(table: Table) -> dict[str, SourceConfig]:
        found = table.named("sources", lambda name, below: _source(name, below, base))
        if "sources" not in table.fields:
            table.report(table.line, Code.MISSING, "sources is missing", "Add `sources:`, and a name for each billing system.")
        table.done()
        return {each.name: each for each in found}

    return _load(path, read)


def _source(name: str, table: Table, base: Path) -> SourceConfig | None:
    kind = table.need("kind", kinds.one_of(*KINDS))
    secrets = table.many("secrets", _path(base))
    events = table.many("events", kinds.one_of(*BILLING_EVENTS))
    mapping = isinstance(table.fields["customer_ids"].value, dict) if "customer_ids" in table.fields else False
    customer_ids: Literal["own", "listed"] | Mapping[str, str]
    if mapping:
        customer_ids = table.mapping("customer_ids", kinds.foreign_id, kinds.ident)
    else:
        customer_ids = "own" if table.may("customer_ids", kinds.one_of("own", "listed"), "listed") == "own" else "listed"
    tolerance_seconds = table.may("tolerance_seconds", kinds.between(10, 900), 300)
    max_body = table.may("max_body", kinds.between(1024, 4 * 1024 * 1024), 262144)
    test_mode = table.may("test_mode", kinds.truth, default=False)
    for key, values, example in (("secrets", secrets, "/etc/ecluse/secrets/billing"), ("events", events, "payment.received")):
        if not values and table.sound:
            table.report(table.line, Code.MISSING, f"{key} is missing", f"Add `{key}: [{example}]`.")
    if table.sound and test_mode and kind != "stripe":
        table.report(table.line_of("test_mode"), Code.BAD_VALUE, f"{kind} has no test mode", "Remove it.", key="test_mode")
    if not table.done():
        return None
    return SourceConfig(
        name=name,
        kind=kind,
        secrets=secrets,
        events=frozenset(events),
        customer_ids=customer_ids,
        tolerance_seconds=tolerance_seconds,
        max_body=max_body,
        test_mode=test_mode,
        place=(table.file, table.line),
    )


def read_secrets(source: SourceConfig, environment: Mapping[str, str] = os.environ) -> tuple[Secret, ...]:
    """Open the secret files of a source.

    Args:
        source: whose.
        environment: `CREDENTIALS_DIRECTORY` says where systemd put its copies; a secret it has no copy of is read where it stands.

    Raises:
        ConfigError: one can not be read, is open to others than its owner, or holds no secret of this kind.
    """
    problems = Problems()
    found = []
    for path in source.secrets:
        try:
            copy = _handed_over(path, environment)
            found.append(_secret(path, source.kind) if copy is None else _key(_read(copy, _MAX_SECRET)[0], source.kind))
        except Wrong as wrong:
            file, line = source.place
            problems.add(file=file, line=line, code=wrong.code, what=f"secret {path}: {wrong.what}", mend=wrong.mend)
    problems.raise_if_any()
    return tuple(found)


def _handed_over(path: Path, environment: Mapping[str, str]) -> Path | None:
    """The copy of a secret that systemd made for this process, if it did; who may read it is systemd's care.

    Of a directory loaded as `secrets`, systemd names each file `secrets_NAME` (systemd.exec(5), LoadCredential=).
    """
    directory = environment.get("CREDENTIALS_DIRECTORY", "")
    copy = Path(directory) / f"{path.parent.name}_{path.name}"
    return copy if directory and copy.exists() else None


def _secret(path: Path, kind: str) -> Secret:
    raw, status = _read(path, _MAX_SECRET)
    if status.st_uid not in (0, os.geteuid()):
        raise Wrong(ConfigCode.SECRET_OPEN, f"belongs to user {status.st_uid}", f"chown it to root or to user {os.geteuid()}.")
    if status.st_mode & 0o077:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise Wrong(
            ConfigCode.SECRET_OPEN,
            f"open to others (mode {mode})",
            f"chmod 0600 {path}, and change the secret if others may have read it.",
        )
    return _key(raw, kind)


def _key(raw: bytes, kind: str) -> Secret:
    if len(raw) > _MAX_SECRET:
        raise Wrong(ConfigCode.BAD_SECRET, f"larger than {_MAX_SECRET} bytes", "Put the one secret in the file, and nothing else.")
    try:
        return Secret(KINDS[kind].key(decode(raw, limit=_MAX_SECRET)))
    except ValueError as error:
        # The chain would hold the secret; the text does not (rule of billing).
        raise Wrong(ConfigCode.BAD_SECRET, str(error), "Put the one secret in the file, and nothing else.") from None


def billing_sources(sources: Mapping[str, SourceConfig]) -> Mapping[str, Source]:
    """The values that verify webhooks, with their secrets, by name.

    Raises:
        ConfigError: with every problem of every secret file, as `read_secrets`.
    """
    found: dict[str, Source] = {}
    problems: list[Problem] = []
    for name, source in sources.items():
        try:
            secrets = read_secrets(source)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        found[name] = Source(
            name=name,
            kind=source.kind,
            secrets=tuple(each.reveal() for each in secrets),
            events=source.events,
            tolerance=timedelta(seconds=source.tolerance_seconds),
            livemode_only=not source.test_mode,
        )
    if problems:
        raise ConfigError(tuple(problems))
    return found


def company_of(source: SourceConfig, customer: str, inventory: Inventory) -> str | None:
    """The company that a source calls `customer`, or None if nobody here is called so."""
    if source.customer_ids == "listed":
        return inventory.by_billing_id(source.name, customer)
    company = customer if isinstance(source.customer_ids, str) else source.customer_ids.get(customer)
    return company if company is not None and inventory.company(company) is not None else None


# --- reading ----------------------------------------------------------------------------------------------------


def _load(path: Path, read: Callable[[Table], T | None]) -> T:
    """One YAML file through its reader; raises every problem."""
    problems = Problems()
    file = str(path)
    found: T | None = None
    try:
        raw, _ = _read(path, MAX_YAML)
        node = yaml_tree(file, decode(raw, limit=MAX_YAML), problems)
        if node is not None:
            found = read(Table(problems, file, node, ""))
    except Wrong as wrong:
        problems.add(file=file, line=0, code=wrong.code, what=wrong.what, mend=wrong.mend)
    problems.raise_if_any()
    assert found is not None  # without a problem, a reader gives its value
    return found


def _read(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """Up to one byte more than `limit` of a regular file, and what the kernel says of that very file."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                return file.read(limit + 1), status
    except OSError as error:
        raise Wrong(Code.NOT_A_FILE, f"can not be read: {error.strerror}", "Give a file that this user may read.") from None
    raise Wrong(Code.NOT_A_FILE, "not a regular file", "Give a plain file.")

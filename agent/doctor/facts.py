"""Floor 1, doctor. What was read of the host, as plain values. None: there is no such thing here, or see `unread`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseChain:
    """A chain of somebody's that packets meet by itself. `says`: kinds of statements in its table that matter to us."""

    family: str
    table: str
    name: str
    type: str
    hook: str
    priority: int
    policy: str = "accept"

    @property
    def place(self) -> str:
        """As nft calls it."""
        return f"{self.family} {self.table} {self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of nftables. `says`: the kinds of statements its rules hold (`drop`, `redirect`, `set mark`, `flow add`...)."""

    family: str
    name: str
    says: frozenset[str] = frozenset()
    chains: tuple[BaseChain, ...] = ()
    flowtables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """As nft calls it."""
        return f"{self.family} {self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutingRule:
    """A routing rule that looks at where a packet came in or at its mark."""

    family: int
    priority: int
    table: int
    iif: str = ""
    mark: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A network interface. `xdp`: a program takes packets before netfilter; `bridge`: the bridge it is a port of."""

    name: str
    kind: str = ""
    xdp: bool = False
    bridge: str = ""
    hardware_offload: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """What the kernel knows of its clock. `offset_ms`: how far it is off, by its own account."""

    synchronised: bool
    offset_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """Where the ledger is, and how much room is left there."""

    path: str
    free_mb: float
    total_mb: float
    free_files: int
    read_only: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class IpSet:
    """A set of ipset."""

    name: str
    type: str
    members: int
    most: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A file of ours whose rights matter. `what`: ledger, secret, key or config; the owners are user ids."""

    what: str
    path: str
    mode: int
    uid: int
    directory: str
    directory_uid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """The certificate of a port. `days_left`: until it ends, None where the port has none; `fault`: why it can not be used."""

    listener: str
    days_left: float | None = None
    fault: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Everything that was read.

    `unread`: what could not be, by the name of the field, with the reason. `features`: what the kernel of this host did with a
    table like ours in a network of its own. `legacy`: tables of legacy iptables, with how many rules. `sysctls`: by name; absent
    ones are left out. `running`: programs of others that filter, by process name. `files`: files that flush the whole ruleset.
    `former`: ledgers that a restore put aside. `units`: what systemd says of ours, None without systemd.
    """

    unread: Mapping[str, str] = field(default_factory=dict)
    kernel: str = ""
    nft: str | None = None
    libnftables: str | None = None
    features: Mapping[str, bool] | None = None
    clock: Clock | None = None
    disk: Disk | None = None
    tables: tuple[Table, ...] = ()
    legacy: Mapping[str, int] = field(default_factory=dict)
    ipsets: tuple[IpSet, ...] = ()
    rules: tuple[RoutingRule, ...] = ()
    links: tuple[Link, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    conntrack: tuple[int, int] | None = None
    running: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    former: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    units: Mapping[str, str] | None = None

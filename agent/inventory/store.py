"""Floor 2. A compiled inventory, opened for look-ups.

Rules of this room:

1. Small in memory whatever its size: services, policies, shapes and the last few hundred companies.
2. Read only, without locks: the file never changes once it has its name.
"""

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import agent
from agent.errors import ConfigError, Problem
from agent.model import Attachment, Company, Ends, Network, Policy, Selector, Service, Shape, StandingKey
from agent.policy import Code, protected_selectors, rows
from agent.policy.kinds import network

#: Changes with the tables; an inventory of another form is compiled again. The version is part of it, because a new version
#: may check more.
FORM: Final = f"{agent.__version__}/7"
#: Decoded companies kept for the next look-up.
_KEEP_COMPANIES: Final = 256

_STANDING_KEYS: Final = """
    SELECT company, service, set_name, standing_keys.key FROM json_each(?) CROSS JOIN standing_keys ON company = json_each.value
"""

_BEHIND: Final = "SELECT DISTINCT name, company FROM json_each(?) CROSS JOIN links ON name = json_each.value"

_PREFIXES: Final = "SELECT coalesce(sum(prefixes), 0) FROM companies"
_PREFIXES_OF: Final = """
    SELECT coalesce(sum(prefixes), 0) FROM json_each(?) CROSS JOIN companies ON companies.id = json_each.value
"""


def open_inventory(path: Path) -> "SqliteInventory":
    """Open an inventory that `compile_directory` made.

    Raises:
        ConfigError: it is missing, torn, or of another version of this program.
    """
    try:
        database = connect(path)
        meta = dict(database.execute("SELECT name, value FROM meta"))
    except sqlite3.Error as error:
        raise _not_open(path, f"not an inventory: {error}") from None
    if meta.get("form") != FORM or "digest" not in meta:
        database.close()
        raise _not_open(path, f"an inventory of form {meta.get('form')}, and this program reads {FORM}")
    return SqliteInventory(database, meta["digest"])


def _not_open(path: Path, what: str) -> ConfigError:
    return ConfigError((Problem(file=str(path), line=0, what=what, mend="Compile it again.", code=Code.NOT_COMPILED.value),))


def connect(path: Path) -> sqlite3.Connection:
    """A read-only connection to a file that never changes."""
    # Immutable: no locks and no look for a journal; nobody changes the file once it has its name.
    # One thread at a time, which need not be the one that opened it.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


class SqliteInventory:
    """`model.Inventory` over a compiled file. Holds services, policies, shapes and the last few companies; use `close`."""

    def __init__(self, database: sqlite3.Connection, digest: str) -> None:
        self._database = database
        self._digest = digest
        self._services = {
            name: rows.read_service(row) for name, row in database.execute("SELECT id, row FROM services ORDER BY id")
        }
        self._policies = {name: rows.read_policy(row) for name, row in database.execute("SELECT id, row FROM policies ORDER BY id")}
        self._shapes = frozenset(
            Shape(service=service, family=family, prefixlen=prefixlen, interface=bool(interface), dedicated=dedicated)
            for service, family, prefixlen, interface, dedicated in database.execute(
                "SELECT service, family, prefixlen, interface, dedicated FROM shapes"
            )
        )
        self._ends: frozenset[Ends] = frozenset(
            (family, length, bool(named), (other, bool(other_named)))
            for family, length, named, other, other_named in database.execute("SELECT * FROM ends")
        )
        self._kept: OrderedDict[str, Company] = OrderedDict()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @property
    def digest(self) -> str:
        """SHA-256 over the files it was made from."""
        return self._digest

    @property
    def services(self) -> Mapping[str, Service]:
        """Every service by id."""
        return self._services

    @property
    def policies(self) -> Mapping[str, Policy]:
        """Every policy by id."""
        return self._policies

    @property
    def shapes(self) -> frozenset[Shape]:
        """The set kinds that the attachments and subscriptions of all companies need."""
        return self._shapes

    @property
    def ends(self) -> frozenset[Ends]:
        """What stays connected with what, of companies whose policy may take everything remote."""
        return self._ends

    def company(self, company_id: str) -> Company | None:
        """One company, or None. About 60 us, less for one of the last few hundred."""
        kept = self._kept.get(company_id)
        if kept is not None:
            self._kept.move_to_end(company_id)
            return kept
        found = self._database.execute("SELECT row FROM companies WHERE id = ?", (company_id,)).fetchone()
        if found is None:
            return None
        company = self._kept[company_id] = rows.read_company(found[0])
        if len(self._kept) > _KEEP_COMPANIES:
            self._kept.popitem(last=False)
        return company

    def standing_keys(self, company_ids: Sequence[str]) -> Mapping[str, Sequence[StandingKey]]:
        """What a measure could name in the kernel, of those companies of which that is the same on every day.

        Args:
            company_ids: some hundred at a time; about 5 us each.
        """
        found: dict[str, list[StandingKey]] = {}
        wanted = json.dumps(company_ids)
        for company_id, service, set_name, key in self._database.execute(_STANDING_KEYS, (wanted,)):
            found.setdefault(company_id, []).append((service, set_name, key))
        return found

    def behind(self, links: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The companies with an attachment behind each of these links; links that nobody is behind are left out."""
        found: dict[str, list[str]] = {}
        for name, company in self._database.execute(_BEHIND, (json.dumps(links),)):
            found.setdefault(name, []).append(company)
        return found

    def links(self) -> Iterator[Attachment]:
        """The links that somebody is behind, as attachments without a prefix; each once."""
        for name, vrf in self._database.execute("SELECT DISTINCT name, vrf FROM links"):
            yield Attachment(vrf=name) if vrf else Attachment(interface=name)

    def companies(self) -> Iterator[Company]:
        """All companies, ordered by id, one in memory at a time."""
        for (row,) in self._database.execute("SELECT row FROM companies ORDER BY id"):
            yield rows.read_company(row)

    def count(self) -> int:
        """How many companies there are."""
        found: int = self._database.execute("SELECT count(*) FROM companies").fetchone()[0]
        return found

    def prefix_count(self, company_ids: Sequence[str] | None = None) -> int:
        """The prefixes of these companies (None: of all), each company's counted by itself. About 1 us for each company."""
        chosen = (_PREFIXES, ()) if company_ids is None else (_PREFIXES_OF, (json.dumps(company_ids),))
        found: int = self._database.execute(*chosen).fetchone()[0]
        return found

    def by_billing_id(self, source: str, customer_id: str) -> str | None:
        """The company that billing source `source` calls `customer_id`."""
        query = "SELECT company FROM billing_ids WHERE source = ? AND customer = ?"
        found = self._database.execute(query, (source, customer_id)).fetchone()
        return found[0] if found else None

    def local_networks(self) -> Iterator[tuple[str, Network]]:
        """Every attachment's prefix with its site (`company/site`), for the proof."""
        for site, family, first, prefixlen in self._database.execute("SELECT site, family, first, prefixlen FROM networks"):
            yield site, network(family, int.from_bytes(first), prefixlen)

    def protected_selectors(self) -> Iterator[tuple[str, Selector]]:
        """Every selector of a service that is never cut, with the service's id, for the proof."""
        return protected_selectors(self._services)

"""Floor 1. Policies, services and customers: text in, one validated whole out.

Rules of this room:

1. All or nothing: one problem anywhere keeps the whole set out of force, and every problem is reported at once.
2. Pure: the caller reads files and streams; names are only used to say where a problem is.
3. A small set and a stream of 100 000 companies take the same way through `read`; `load` only keeps what it yields.

The files are described in `docs/POLICY.md`.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from agent.model import Company, Policy, Service
from agent.policy.checks import Place, Reach, Written, check_services, effective_class
from agent.policy.customers import Catalogue, Population, read_company
from agent.policy.floors import BOUNDS, at_floor
from agent.policy.kinds import ident, known
from agent.policy.memory import MemoryInventory, company_ends, company_shapes, protected_selectors
from agent.policy.nodes import Table
from agent.policy.policies import read_policy
from agent.policy.problems import Code, Problems
from agent.policy.profiles import PROFILES
from agent.policy.rows import policy_of, policy_values
from agent.policy.services import read_service
from agent.policy.tree import json_tree, yaml_tree

__all__ = [
    "BOUNDS",
    "PROFILES",
    "Catalogue",
    "Code",
    "Loaded",
    "MemoryInventory",
    "at_floor",
    "company_ends",
    "company_shapes",
    "effective_class",
    "fingerprint",
    "load",
    "policy_of",
    "policy_values",
    "protected_selectors",
    "read",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """One validated set. Mappings are by id, `digest` is the SHA-256 over the files (`fingerprint`)."""

    services: Mapping[str, Service]
    policies: Mapping[str, Policy]
    companies: Mapping[str, Company]
    digest: str


def load(files: Mapping[str, str]) -> Loaded:
    """Read a whole set that fits in memory.

    Args:
        files: file name -> text. Names ending in `.jsonl` hold one company per line, all others are YAML.

    Raises:
        ConfigError: with every problem, by file and line.
    """
    companies: dict[str, Company] = {}

    def keep(_: Catalogue, company: Company) -> None:
        companies[company.id] = company

    documents = {name: text for name, text in files.items() if not name.endswith(".jsonl")}
    lines = {name: text.split("\n") for name, text in files.items() if name.endswith(".jsonl")}
    catalogue = read(documents, lines, keep)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    return Loaded(
        services=catalogue.services,
        policies=catalogue.policies,
        companies=dict(sorted(companies.items())),
        digest=fingerprint(hashes),
    )


def fingerprint(hashes: Mapping[str, str]) -> str:
    """The digest of a set of files.

    Args:
        hashes: file name -> SHA-256 of its bytes, in hexadecimal. Only the last part of a name counts, so that a copy
            of a directory has the same digest.
    """
    pairs = sorted((name.rsplit("/", 1)[-1], digest) for name, digest in hashes.items())
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def read(
    documents: Mapping[str, str],
    lines: Mapping[str, Iterable[str | bytes]],
    keep: Callable[[Catalogue, Company], None],
    *,
    problems: Problems | None = None,
) -> Catalogue:
    """Read a set of any size.

    Args:
        documents: name -> YAML text.
        lines: name -> the lines of a JSON Lines file; read once, in order, one at a time.
        keep: gets each company that is sound by itself, as it passes. If the set as a whole turns out wrong, an error is
            raised after the last one, and what was kept must be thrown away.
        problems: those found before, such as files that could not be opened; raised together with the ones found here.

    Raises:
        ConfigError: with every problem, by file and line.
    """
    problems = problems or Problems()
    before = problems.count
    if not documents and not before:
        mend = "Put services, policies and customers there as *.yaml; see docs/POLICY.md."
        problems.add(file="policies", line=0, code=Code.NO_FILES, what="no YAML file at all", mend=mend)
    trees = [(name, yaml_tree(name, text, problems)) for name, text in sorted(documents.items())]
    tops = [Table(problems, name, node, "") for name, node in trees if node is not None]
    catalogue = _catalogue(tops, problems, complete=bool(tops) and not before and len(tops) == len(trees))
    population = Population()

    def company(company_id: str, group: str, table: Table) -> None:
        found = read_company(company_id, group, table, catalogue, population)
        if found is not None:
            keep(catalogue, found)

    for top in tops:
        top.named("customers", lambda group, table: _group(group, table, company))
        top.done()
    for name, each in sorted(lines.items()):
        for number, line in enumerate(each, start=1):
            if line.strip():
                _line(name, number, line, problems, company)
    population.check_overlaps(problems)
    problems.raise_if_any()
    return catalogue


def _group(group: str, table: Table, company: Callable[[str, str, Table], None]) -> None:
    table.entries(lambda company_id, below: company(company_id, group, below))


def _line(file: str, number: int, text: str | bytes, problems: Problems, company: Callable[[str, str, Table], None]) -> None:
    """One line of JSON Lines: a company with its id and its group inside."""
    node = json_tree(file, number, text, problems)
    if node is not None:
        table = Table(problems, file, node, "")
        company_id, group = table.need("id", ident), table.need("group", ident)
        company(company_id or f"Line {number}", group, table)  # no id can look like this one


def _catalogue(tops: list[Table], problems: Problems, *, complete: bool) -> Catalogue:
    services: dict[str, Written] = {}
    policies: dict[str, Policy] = {}
    places: dict[tuple[str, str], Place] = {}

    def first(part: str, name: str, table: Table) -> bool:
        place = Place(table.file, table.line)
        earlier = places.setdefault((part, name), place)
        if earlier is not place:
            table.report(table.line, Code.DUPLICATE_ID, f"{part} {name} exists already ({earlier})", "Keep one of the two.")
        return earlier is place

    def service(name: str, table: Table) -> None:
        found = read_service(name, table)
        if first("service", name, table) and found:
            services[name] = found

    def policy(name: str, table: Table) -> None:
        found = read_policy(name, table)
        if first("policy", name, table) and found:
            policies[name] = found

    def reference(part: str) -> Callable[[str], str]:
        return known(part, frozenset(name for each, name in places if each == part)) if complete else ident

    for top in tops:
        top.named("services", service)
        top.named("policies", policy)
    check_services(services, problems)
    sound = {name: written.service for name, written in sorted(services.items())}
    return Catalogue(
        services=sound,
        policies=dict(sorted(policies.items())),
        service_id=reference("service"),
        policy_id=reference("policy"),
        reach=Reach(sound.values()),
    )

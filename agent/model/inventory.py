"""Floor 0, model. Everything that files say, and what of it the kernel needs to know."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.model.customers import Attachment, Company
from agent.model.policies import Policy
from agent.model.services import Family, Network, Selector, Service


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A kind of set the ruleset needs: one service, one family, one prefix length, with or without interface.

    A length of 0, always with an interface: everything behind it. `dedicated`: prefix length of the part of a dedicated service.
    """

    service: str
    family: Family
    prefixlen: int
    interface: bool
    dedicated: int | None = None


#: Service, member set and key of an element that a company could have in the kernel on any day.
StandingKey = tuple[str, str, bytes]
#: A kind of place (family, prefix length, whether its link is in the key), and of one that it stays connected with.
Ends = tuple[Family, int, bool, tuple[int, bool]]


class Inventory(Protocol):
    """Who is connected where and subscribed to what, as one validated whole with a digest.

    Small in memory whatever its size: companies are looked up one by one.
    """

    @property
    def digest(self) -> str:
        """SHA-256 over the files it was made from."""

    @property
    def services(self) -> Mapping[str, Service]:
        """Every service by id."""

    @property
    def policies(self) -> Mapping[str, Policy]:
        """Every policy by id."""

    @property
    def shapes(self) -> frozenset[Shape]:
        """The set kinds that the attachments and subscriptions of all companies need."""

    @property
    def ends(self) -> frozenset[Ends]:
        """What stays connected with what, of companies whose policy may take everything remote."""

    def company(self, company_id: str) -> Company | None:
        """One company, or None."""

    def companies(self) -> Iterator[Company]:
        """All companies, ordered by id."""

    def count(self) -> int:
        """How many companies there are."""

    def prefix_count(self, company_ids: Sequence[str] | None = None) -> int:
        """The prefixes of these companies (None: of all), each company's counted by itself."""

    def standing_keys(self, company_ids: Sequence[str]) -> Mapping[str, Sequence[StandingKey]]:
        """What a measure could name in the kernel, of those companies of which that is the same on every day.

        Names of interfaces are as the files give them: whether the link is there is seen to by who uses the keys.
        """

    def behind(self, links: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The companies with an attachment behind each of these links; links that nobody is behind are left out."""

    def links(self) -> Iterator[Attachment]:
        """The links that somebody is behind, as attachments without a prefix; each once."""

    def by_billing_id(self, source: str, customer_id: str) -> str | None:
        """The company that billing source `source` calls `customer_id`."""

    def local_networks(self) -> Iterator[tuple[str, Network]]:
        """Every site's own networks, with the site's name for messages; read once by the proof."""

    def protected_selectors(self) -> Iterator[tuple[str, Selector]]:
        """Everything that may never be hit: selectors of never-cut services and declared dependencies, with names."""

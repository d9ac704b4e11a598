"""The fleets of the first page in three sections, filtered and page by page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from fleet.decision.fleet_health import Health
from fleet.pages.overview import FleetCard

ROWS: Final = 25  # on one page
QUIET: Final = frozenset({Health.PAUSED, Health.STOPPED, Health.IDLE})


class Section(StrEnum):
    """Where a fleet stands on the page, in this order."""

    NEEDS_YOU = "needs-you"
    WORKING = "working"
    QUIET = "quiet"


SECTIONS: Final[Mapping[Section, str]] = {
    Section.NEEDS_YOU: "Needs you",
    Section.WORKING: "Working",
    Section.QUIET: "Quiet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the reader asked for."""

    section: Section | None = None  # None: all
    text: str = ""  # part of a name
    page: int = 1

    @classmethod
    def asked(cls, section: str, text: str, page: str) -> "Wanted":
        """What an address asks for; what nobody knows in it is left out."""
        known = next((s for s in Section if s.value == section), None)
        number = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1
        return cls(section=known, text=text[:40], page=max(1, number))

    @property
    def query(self) -> str:
        """The address of this page, after its `?`; "" for the page without filters."""
        parts = {"show": self.section or "", "q": self.text}
        if self.page > 1:
            parts["page"] = str(self.page)
        return urlencode({name: value for name, value in parts.items() if value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A section, how many fleets it has on all pages, and those of this page."""

    section: Section
    count: int
    cards: Sequence[FleetCard]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One page of the fleets."""

    wanted: Wanted
    parts: Sequence[Part]
    found: int  # on all pages
    counts: dict[str, int]  # of each section, whatever is asked for

    @property
    def cards(self) -> Sequence[FleetCard]:
        """The fleets of this page."""
        return [card for part in self.parts for card in part.cards]

    @property
    def first(self) -> int:
        """The number of the first fleet of this page, from 1."""
        return (self.wanted.page - 1) * ROWS + 1

    @property
    def last(self) -> int:
        """The number of the last fleet of this page."""
        return min(self.found, self.wanted.page * ROWS)

    @property
    def before(self) -> str:
        """The address of the page before, after its `?`; only where there is one."""
        return replace(self.wanted, page=self.wanted.page - 1).query

    @property
    def after(self) -> str:
        """The address of the next page; "": this is the last one."""
        more = self.last < self.found
        return replace(self.wanted, page=self.wanted.page + 1).query if more else ""


def section_of(card: FleetCard) -> Section:
    """The section in which a fleet stands."""
    if card.needs_you:
        return Section.NEEDS_YOU
    return Section.QUIET if card.health.health in QUIET else Section.WORKING


def listed(cards: Sequence[FleetCard], wanted: Wanted) -> Listed:
    """The page that is asked for, or the last one if there are fewer. Cards keep their order."""
    text = wanted.text.strip().lower()
    named = [(section_of(card), card) for card in cards if text in card.name]
    counts = {s.value: sum(each is s for each, _ in named) for s in Section}
    found = [(s, c) for s, c in named if wanted.section is None or s is wanted.section]
    last_page = max(1, -(-len(found) // ROWS))
    wanted = replace(wanted, page=min(wanted.page, last_page))
    shown = found[(wanted.page - 1) * ROWS : wanted.page * ROWS]
    parts = [
        Part(section=s, count=counts[s.value], cards=[c for each, c in shown if each is s])
        for s in Section
    ]
    return Listed(
        wanted=wanted, parts=[p for p in parts if p.cards], found=len(found), counts=counts
    )

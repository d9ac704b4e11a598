"""What the first page shows, and a stamp of it: if two stamps are the same, so is the page."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from django.utils.timezone import get_current_timezone_name

from fleet.models import Alert
from fleet.money.spending import by_midnight
from fleet.pages import first_fleet, listing, overview, row_facts, sparks
from fleet.pages.first_fleet import Guide
from fleet.pages.listing import Listed, Wanted
from fleet.pages.overview import FleetCard, Overview
from fleet.pages.row_facts import Failure, RowFacts
from fleet.pages.sparks import Mark
from pods.base.words import usd
from pods.durations import stepped

# What the templates of this part ask about their reader.
PERMISSIONS: Final = (
    "fleet.add_fleet", "fleet.change_fleet", "fleet.acknowledge_alert", "pods.add_account",
)  # fmt: skip
# Facts of a card that change without being seen, or are finer than what is seen of them; `_card` has
# what is seen. All others count, also those that somebody adds.
NOT_AS_THEY_ARE: Final = frozenset({"decided_at", "eta", "alerts", "spent_today_usd"})
CARD: Final = tuple(f.name for f in fields(FleetCard) if f.name not in NOT_AS_THEY_ARE)
ALERT: Final = ("pk", "severity", "text", "first_seen_at", "cause", "subject", "fleet_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstPage:
    """The fleets that a reader asked for; without the lines of their backlogs, which cost the most."""

    found: Overview
    listed: Listed
    failures: Mapping[int, Failure]
    guide: Guide | None  # while there is no fleet

    @property
    def fleets(self) -> list[int]:
        """The fleets of this page."""
        return [card.pk for card in self.listed.cards]

    def is_as_seen(self, stamp: str, user: Any) -> bool:
        """Whether the page that had this stamp showed the same. One query."""
        if not stamp:
            return False
        return stamp == self._stamp(sparks.marks(self.fleets, self.found.at), user)

    def rows(self, user: Any) -> tuple[Mapping[int, RowFacts], str]:
        """The facts of each row, and the stamp of the page. One query."""
        points = sparks.waiting(self.fleets, self.found.at)
        rows = row_facts.facts_of(self.listed.cards, points, self.failures, self.found.at)
        return rows, self._stamp(sparks.marks_of(points), user)

    def _stamp(self, marks: Mapping[int, Mark], user: Any) -> str:
        found, listed = self.found, self.listed
        shown = (
            get_current_timezone_name(),
            [user.has_perm(permission) for permission in PERMISSIONS],
            _head(found),
            [_alert(alert) for alert in found.apart],
            (listed.wanted, listed.counts, listed.found),
            [(_card(card, found), marks.get(card.pk)) for card in listed.cards],
            sparks.begin(found.at),
            sorted(self.failures.items()),
            self.guide,
        )
        return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def first_page(wanted: Wanted) -> FirstPage:
    """The page that is asked for. Eight queries; ten if a fleet has a total budget."""
    found = overview.overview()
    listed = listing.listed(found.cards, wanted)
    return FirstPage(
        found=found,
        listed=listed,
        failures=row_facts.failures([card.pk for card in listed.cards], found.at),
        guide=None if found.cards else first_fleet.guide(),
    )


def _head(found: Overview) -> tuple[object, ...]:
    """The line above the fleets."""
    amounts = (found.hourly_usd, found.spent_today_usd, found.expected_usd, found.over_usd)
    return (
        found.things,
        found.billable,
        [usd(amount) for amount in amounts],
        found.limits.mode,
        found.limits.daily_budget_usd,
        bool(found.cards),
    )


def _card(card: FleetCard, found: Overview) -> tuple[object, ...]:
    return (
        *[getattr(card, name) for name in CARD],
        card.done_at,
        None if card.eta is None else stepped(card.eta),
        usd(card.spent_today_usd),
        usd(by_midnight(card.spent_today_usd, card.hourly_usd, found.at)),
        card.budget_percent,
        [_alert(alert) for alert in card.alerts],
    )


def _alert(alert: Alert) -> tuple[object, ...]:
    return tuple([getattr(alert, name) for name in ALERT])

"""A stamp of what the first page shows: if two are the same, so is the page, and nothing is drawn."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from django.utils.timezone import get_current_timezone_name

from fleet.models import Alert
from fleet.pages.first_fleet import Guide
from fleet.pages.listing import Listed
from fleet.pages.overview import FleetCard, Overview
from fleet.pages.row_facts import RowFacts
from pods.base.words import time_left, usd

# What the templates of this part ask about their reader.
PERMISSIONS: Final = (
    "fleet.add_fleet", "fleet.change_fleet", "fleet.acknowledge_alert", "pods.add_account",
)  # fmt: skip
# Facts of a card that change without being seen, or are finer than what is seen of them; `_card` has
# what is seen. All others count, also those that somebody adds.
NOT_AS_THEY_ARE: Final = frozenset({"decided_at", "eta", "alerts", "spent_today_usd"})
CARD: Final = tuple(f.name for f in fields(FleetCard) if f.name not in NOT_AS_THEY_ARE)
ROW: Final = tuple(f.name for f in fields(RowFacts) if f.name != "expected_usd")
ALERT: Final = ("pk", "severity", "text", "first_seen_at", "cause", "subject", "fleet_id")


def stamp(
    user: Any,
    found: Overview,
    listed: Listed,
    rows: Mapping[int, RowFacts],
    guide: Guide | None,
) -> str:
    """The stamp of this page for this user, in the time zone of this request."""
    shown = (
        get_current_timezone_name(),
        [user.has_perm(permission) for permission in PERMISSIONS],
        _head(found),
        [_alert(alert) for alert in found.apart],
        listed.wanted,
        listed.counts,
        listed.found,
        [(_card(card), _row(rows[card.pk])) for card in listed.cards],
        guide,
    )
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


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


def _card(card: FleetCard) -> tuple[object, ...]:
    return (
        *(getattr(card, name) for name in CARD),
        card.done_at,
        time_left(card.eta),
        usd(card.spent_today_usd),
        card.budget_percent,
        [_alert(alert) for alert in card.alerts],
    )


def _row(facts: RowFacts) -> tuple[object, ...]:
    return (*(getattr(facts, name) for name in ROW), usd(facts.expected_usd))


def _alert(alert: Alert) -> tuple[object, ...]:
    return tuple(getattr(alert, name) for name in ALERT)

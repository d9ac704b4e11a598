"""Quotes: what a number of items would take and cost, before anything is rented."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from fleet import forecasting
from fleet.decision.outlook import LITTLE, Outlook
from fleet.decision.quote import Asked, Line, Quote, quote, without_pods
from fleet.models import Fleet
from pods.base.near import TooFar, refuse_far
from pods.base.shared_clock import shared_now
from pods.models import Account

MOST_ITEMS: Final = 10**12


class BadQuote(ValueError):
    """What is asked for cannot be quoted; the message says what would be right."""


def quote_of(fleet: Fleet, asked: Asked) -> Quote:
    """The quote for these items on this fleet, from what its pods and its market showed.

    Raises:
        BadQuote: a value is wrong.
        NoOutlook: no speed is known, or nothing can be rented.
        ValueError: its offer_query is wrong.
    """
    now = shared_now()
    check(asked)
    facts = forecasting.facts_of(fleet, now)
    seen, history = without_pods(facts.seen, facts.history)
    if not seen.offers and not history.absent:
        why = seen.no_offers_because or "nothing is offered"
        raise BadQuote(f"nothing can be rented now: {why}")
    return quote(replace(seen, now=now), facts.policy, history, asked)


def check(asked: Asked) -> None:
    """Refuse what cannot be quoted, before anything is read or measured.

    Raises:
        BadQuote: a value is wrong.
    """
    now = shared_now()
    if not 1 <= asked.items <= MOST_ITEMS:
        raise BadQuote(f"items: give 1 to {MOST_ITEMS:,}")
    if asked.by is not None:
        try:
            refuse_far(asked.by)
        except TooFar as exc:
            raise BadQuote(f"by: {exc}") from exc
    if asked.by is not None and asked.by <= now:
        raise BadQuote(f"by: {asked.by:%F %H:%M %Z} is over; give a moment in the future")
    if asked.at_most_usd is not None and asked.at_most_usd <= 0:
        raise BadQuote("at most: give USD above 0")
    if asked.items_per_second is not None and not 0 < asked.items_per_second <= MOST_ITEMS:
        raise BadQuote("items per second: give a number above 0, of one pod")


def assumptions(found: Quote) -> list[str]:
    """What the quote rests on, in sentences."""
    said = [
        "The fleet's present pods and backlog do not count; its limits do, and so do the offers and "
        "prices of now, with those that its pods hold.",
        f"The middle of {found.plan.replays} replays of the fleet's decisions, and what holds nine "
        "times out of ten.",
    ]
    if found.asked.items_per_second is None:
        said.append("Speeds are those that pods of this fleet showed in the last 30 days.")
    else:
        said.append(f"Every pod does {found.asked.items_per_second:g} items/s, as you say.")
    days = found.plan.days
    if days < LITTLE:
        said.append("A rough guess: less than two days of the market are recorded.")
    else:
        said.append(f"{days:.1f} days of the market are recorded.")
    return said


def as_json(found: Quote) -> dict[str, Any]:
    """The quote as JSON values: money as text, durations in seconds."""
    asked = found.asked
    names = dict(Account.objects.values_list("pk", "name"))
    return {
        "at": found.plan.at.isoformat(),
        "items": asked.items,
        "by": None if asked.by is None else asked.by.isoformat(),
        "at_most_usd": None if asked.at_most_usd is None else str(asked.at_most_usd),
        "goal": found.goal.value,
        "risk": found.risk,
        "least_usd": None if found.least_usd is None else str(found.least_usd),
        "plan": _outlook(found.plan),
        "offers": [_line(line, names) for line in found.lines],
        "assumes": assumptions(found),
    }


def _line(line: Line, names: dict[int, str]) -> dict[str, Any]:
    offer = line.offer
    rate = line.items_per_second
    return {
        "account": names[offer.account_id],
        "gpu": offer.gpu_type,
        "gpus": offer.gpu_count,
        "region": offer.region,
        "interruptible": offer.interruptible,
        "hourly_usd": str(offer.hourly_usd),
        "items_per_second": None if rate is None else round(rate, 3),
        **_outlook(line.expected),
    }


def _outlook(found: Outlook) -> dict[str, Any]:
    def seconds(at: datetime | None) -> float | None:
        return None if at is None else (at - found.at).total_seconds()

    # What a part of the items takes and costs is not the price of all of them.
    unlikely, unsure = found.likely_at is None, found.sure_at is None
    return {
        "pods": found.pods,
        "likely_seconds": seconds(found.likely_at),
        "sure_seconds": seconds(found.sure_at),
        "likely_pod_hours": None if unlikely else round(found.likely_pod_hours, 2),
        "sure_pod_hours": None if unsure else round(found.sure_pod_hours, 2),
        "likely_usd": None if unlikely else f"{found.likely_usd:.4f}",
        "sure_usd": None if unsure else f"{found.sure_usd:.4f}",
        "spent_usd": f"{found.likely_usd:.4f}",
        "on_time": found.on_time,
        "money_ends": found.money_ends,
        "left": found.left,
    }

"""The words of fleet/pages/words.py as template filters, and the bar above every page."""

from typing import Any

from django import template

from fleet.decision.fleet_health import FleetHealth
from fleet.pages import listing, remedies, top, words
from fleet.pages.listing import Section
from fleet.pages.overview import FleetCard
from fleet.pages.remedies import Remedy
from fleet.pages.words import HealthWords
from pods import masking
from pods.base import moments

register = template.Library()
register.filter("usd", words.usd)
register.filter("unit_price", words.unit_price)
register.filter("when", moments.shown)
register.filter("percent", words.percent)
register.filter("items", words.items)
register.filter("lasting", words.duration)
register.filter("words", words.spaced)
register.filter("printable", words.printable)
register.filter("tail", words.tail)
register.filter("remedy", remedies.remedy)
register.filter("masked", masking.without_passwords)


@register.filter
def health(found: FleetHealth) -> HealthWords:
    """The icon, the word and the colour of a health."""
    return words.HEALTH[found.health]


@register.filter
def section(found: Section) -> str:
    """The heading of a section."""
    return listing.SECTIONS[found]


@register.filter
def of(counts: dict[str, int], key: str) -> int:
    """One of several counts."""
    return counts[key]


@register.filter
def limit(card: FleetCard) -> Remedy | None:
    """The field of the rule that keeps a fleet below its wish."""
    return None if card.binding is None else remedies.field_of(card.binding, card.pk)


@register.inclusion_tag("fleet/top_bar.html", takes_context=True)
def top_bar(context: Any) -> dict[str, Any]:
    """The link past the menu, the switch that stops everything, and how many alerts need somebody."""
    return {"bar": top.bar(context["request"])}

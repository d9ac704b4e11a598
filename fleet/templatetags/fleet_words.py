"""The words of fleet/pages/words.py as template filters, and the bar above every page."""

from typing import Any

from django import template

from fleet.decision.fleet_health import FleetHealth
from fleet.pages import remedies, top, words
from fleet.pages.words import HealthWords
from pods import masking

register = template.Library()
register.filter("usd", words.usd)
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


@register.inclusion_tag("fleet/top_bar.html", takes_context=True)
def top_bar(context: Any) -> dict[str, Any]:
    """The link past the menu, the switch that stops everything, and how many alerts need somebody."""
    return {"bar": top.bar(context["request"])}

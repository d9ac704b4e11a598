"""The words of fleet/pages/words.py as template filters."""

from django import template

from fleet.decision.fleet_health import FleetHealth
from fleet.pages import remedies, words
from fleet.pages.words import HealthWords
from pods import masking

register = template.Library()
register.filter("usd", words.usd)
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

"""The words of fleet/pages/words.py as template filters."""

from django import template

from fleet.pages import remedies, words
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

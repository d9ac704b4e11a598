"""The words of fleet/pages/words.py as template filters."""

from django import template

from fleet.pages import words

register = template.Library()
register.filter("usd", words.usd)
register.filter("items", words.items)
register.filter("lasting", words.duration)
register.filter("words", words.spaced)

"""The words of pods/base/words.py as template filters, for the pages about pods."""

from django import template

from pods.base import moments, words

register = template.Library()
register.filter("when", moments.shown)
register.filter("usd", words.usd)
register.filter("unit_price", words.unit_price)
register.filter("items", words.items)
register.filter("lasting", words.duration)

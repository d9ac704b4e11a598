"""The words of pods/base/words.py as template filters, for the pages about pods."""

from django import template
from django.forms import BoundField
from django.utils.text import capfirst

from pods.base import moments, words

register = template.Library()
register.filter("when", moments.shown)
register.filter("usd", words.usd)
register.filter("unit_price", words.unit_price)
register.filter("items", words.items)
register.filter("lasting", words.duration)


@register.filter
def after_name(error: str, field: BoundField) -> str:
    """An error as it goes on after its field's name: ` is 'x'; give a whole number`, `: …`.

    The label of a field may say more than its name: `Most pods at once (now 2)`.
    """
    called = getattr(field.form, "called", capfirst)
    for name in (str(capfirst(field.label)), called(field.name)):
        rest = error.removeprefix(name)
        if rest != error and rest[:1] in {" ", ":"}:
            return rest
    return f": {error}"

"""The words of fleet/pages/words.py as template filters, and the bar above every page."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.template.defaultfilters import date
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.timezone import localtime

from fleet.decision.field_words import rule_words
from fleet.decision.fleet_health import FleetHealth
from fleet.pages import forecasts, health_facts, listing, remedies, tabs, top, words
from fleet.pages.listing import Section
from fleet.pages.overview import FleetCard
from fleet.pages.words import HealthWords
from pods import amounts, masking
from pods.base import moments
from pods.base.clock import utcnow
from pods.base.command_name import how_to_run
from pods.machine_names import short_name

register = template.Library()
register.filter("usd", words.usd)
register.filter("change", amounts.change)
register.filter("unit_price", words.unit_price)
register.filter("when", moments.shown)
register.filter("percent", words.percent)
register.filter("rate", words.per_second)
register.filter("items", words.items)
register.filter("lasting", words.duration)
register.filter("time_left", words.time_left)
register.filter("words", words.spaced)
register.filter("printable", words.printable)
register.filter("tail", words.tail)
register.filter("remedy", remedies.remedy)
register.filter("rule", rule_words)
register.filter("masked", masking.without_passwords)
register.simple_tag(how_to_run, name="how_to_run")


@register.filter
def health(found: FleetHealth) -> HealthWords:
    """The icon, the word and the colour of a health."""
    return words.HEALTH[found.health]


@register.filter
def foretold(card: FleetCard) -> forecasts.Told | None:
    """The forecast of a fleet in sentences."""
    return forecasts.told(card.forecast)


@register.filter
def no_forecast(card: FleetCard) -> str:
    """Why a fleet has no forecast, as a sentence."""
    return forecasts.why_none(card.forecast, card.items_per_second)


@register.filter
def severity(name: str) -> HealthWords:
    """The icon, the word and the colour of a severity."""
    return words.SEVERITIES[name]


@register.simple_tag
def mode_badge(mode: str, *, archived: bool = False, later: bool = False) -> str:
    """The mode of a fleet with its icon; `later`: it is archived when its last pod has ended."""
    shown = words.ARCHIVED if archived else words.MODES[mode]
    return format_html(
        '<span class="pf-badge pf-quiet"><span aria-hidden="true">{}</span> {}{}</span>',
        shown.icon, shown.word, ", archived when empty" if later and not archived else "",
    )  # fmt: skip


@register.filter
def lifted(rule: str, fleet_id: int) -> str:
    """The address of what lifts a rule, by its name; "": nothing does."""
    known = health_facts.rule_named(rule)
    return "" if known is None else remedies.page_of(known, fleet_id)


@register.filter
def lifted_on(card: FleetCard) -> str:
    """The address of what lifts the rule that keeps a fleet below its wish; "": nothing does."""
    return "" if card.binding is None else remedies.page_of(card.binding, card.pk)


@register.filter
def moment(at: datetime) -> str:
    """`04:10` of today, `1 Dec 04:10` of another day, in the zone of the request."""
    here = localtime(at)
    today = here.date() == localtime(utcnow()).date()
    return date(here, "H:i" if today else "j M H:i")


@register.filter
def cased(text: str) -> str:
    """A text as a sentence begins; the name of a field stays as it is."""
    return text if "_" in text.partition(" ")[0] else capfirst(text)


@register.filter
def clock(at: datetime) -> str:
    """A `<time>` with `04:10:31`, and its day if that is not today; exact with its zone on hover."""
    here = localtime(at)
    today = here.date() == localtime(utcnow()).date()
    return moments.marked(at, date(here, "H:i:s" if today else "j M H:i:s"))


@register.filter
def short(name: str) -> str:
    """The part of a pod's name that tells pods apart."""
    return short_name(name, 8)


@register.filter
def section(found: Section) -> str:
    """The heading of a section."""
    return listing.SECTIONS[found]


@register.filter
def of(counts: dict[str, int], key: str) -> int:
    """One of several counts."""
    return counts[key]


@register.filter
def get(found: Mapping[int, Any], key: int) -> Any:
    """One of several values; None if there is none."""
    return found.get(key)


@register.inclusion_tag("fleet/top_bar.html", takes_context=True)
def top_bar(context: Any) -> dict[str, Any]:
    """The link past the menu, the switch that stops everything, and how many alerts need somebody."""
    return {"bar": top.bar(context["request"])}


@register.inclusion_tag("fleet/tabs.html", takes_context=True)
def fleet_tabs(context: Any) -> dict[str, Any]:
    """The tabs of the fleet that this page is about, if it is about one."""
    request = context.get("request")
    return {"shown": None if request is None else tabs.tabs(request)}

"""The way to a page, for its head and for the browser's tab."""

from collections.abc import Mapping
from typing import Any

from django import template

from fleet.pages import crumbs

register = template.Library()


def _titles(context: Any) -> Mapping[str, str]:
    """What the menu calls each address."""
    groups = context.get("sidebar_navigation") or ()
    return {str(item["link"]): str(item["title"]) for g in groups for item in g["items"]}


@register.inclusion_tag("fleet/crumbs.html", takes_context=True)
def way(context: Any) -> dict[str, Any]:
    """The steps to this page as links, and its heading."""
    *before, page = crumbs.crumbs(context, _titles(context))
    return {"before": before, "page": page}


@register.simple_tag(takes_context=True)
def page_title(context: Any) -> str:
    """The title of the tab: the page first, because tabs are narrow."""
    found = crumbs.crumbs(context, _titles(context))
    return " · ".join(crumb.title for crumb in reversed(found))

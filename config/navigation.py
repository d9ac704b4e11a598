"""The menu of one request: with the number of open alerts, and Flower where it is known."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from config import menu
from fleet import views


def navigation(request: HttpRequest) -> Sequence[Any]:
    """The menu, with the number of open alerts if there are any.

    For none it has no number at all: the theme would draw an empty badge.
    """
    *groups, admins = menu.NAVIGATION
    if settings.FLOWER_URL:
        admins = {**admins, "items": [*admins["items"], menu.flower(settings.FLOWER_URL)]}
    count, alerts = views.open_alerts(request), reverse(menu.ALERTS)
    if not count:
        return [*groups, admins]
    now, *others = groups
    items = [{**i, "badge": count} if str(i["link"]) == alerts else i for i in now["items"]]
    return [{**now, "items": items}, *others, admins]

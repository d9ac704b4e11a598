"""The menu of one request: that of `menu`, with the number of open alerts beside Alerts."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from config import menu
from fleet import views


def navigation(request: HttpRequest) -> Sequence[Any]:
    """The menu, with the number of open alerts if there are any.

    For none it has no number at all: the theme would draw an empty badge.
    """
    count, alerts = views.open_alerts(request), reverse(menu.ALERTS)
    if not count:
        return menu.NAVIGATION
    return [
        {
            **group,
            "items": [
                {**item, "badge": count} if str(item["link"]) == alerts else item
                for item in group["items"]
            ],
        }
        for group in menu.NAVIGATION
    ]

"""Pages show times in the time zone of the user. The browser sends the zone in a cookie."""

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "podfleet_zone"


def operators_zone(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: use the cookie's zone for this request, else the installation's."""

    known = zoneinfo.available_timezones()  # once: it reads the folder of the zones

    def answer(request: HttpRequest) -> HttpResponse:
        name = request.COOKIES.get(COOKIE, "")
        # Only names of the zone database: any other name could make ZoneInfo read another file.
        if name in known:
            with timezone.override(zoneinfo.ZoneInfo(name)):
                return get_response(request)
        return get_response(request)

    return answer

"""The page of a fleet's shadow: other settings beside the live ones, decided and never acted on."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.timezone import get_current_timezone

from fleet import shadowing
from fleet.admin import fleet_page
from fleet.admin.fleet_what_if import FIELDS
from fleet.models import Fleet
from fleet.pages import shadows
from pods.base.commands import error_lines


class ShadowPage:
    """Adds the page to the admin of fleets. Operators begin and end a shadow, viewers see it."""

    admin_site: admin.AdminSite

    def get_urls(self) -> list[Any]:
        """The addresses, with this page."""
        view = self.admin_site.admin_view(self.shadow_page)
        return [
            path("<int:fleet_id>/shadow/", view, name="fleet_fleet_shadow"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def shadow_page(self, request: HttpRequest, fleet_id: int) -> HttpResponse:
        """Show the shadow; begin or end it."""
        _, context = fleet_page.of_one(self.admin_site, request, fleet_id)
        fleet: Fleet = context["fleet"]
        if request.method == "POST":
            if not context["may_change"]:
                return HttpResponse("only operators begin and end a shadow", status=403)
            _act(request, fleet)
            return redirect(reverse("admin:fleet_fleet_shadow", args=[fleet.pk]))
        found = shadows.told(fleet)
        zone = get_current_timezone()
        context |= {
            "title": "Beside the live fleet",
            "found": found,
            "charts": shadows.charts(found.row, zone) if found else None,
            "zone": zone,
        }
        return TemplateResponse(request, "admin/fleet/fleet/shadow.html", context)


def _act(request: HttpRequest, fleet: Fleet) -> None:
    if request.POST.get("verb") == "end":
        shadowing.end(fleet)
        messages.success(request, "ended; what it found stays here")
        return
    values = {name: text for name in FIELDS if (text := request.POST.get(name, "").strip())}
    try:
        row = shadowing.begin(fleet, values, by=request.user.get_username())
    except ValidationError as exc:
        messages.error(request, "; ".join(error_lines(exc)))
        return
    messages.success(request, f"{row.said} is decided beside the live fleet from the next tick")

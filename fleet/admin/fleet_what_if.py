"""The page that compares a fleet's last hours with what other settings would have led to."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.timezone import get_current_timezone

from fleet.admin import fleet_page
from fleet.comparing import compared, policy_changes
from fleet.decision.field_words import LABELS
from fleet.decision.what_if import TooLittle
from fleet.models import Fleet, Shadow
from fleet.pages import what_if
from pods.base.clock import utcnow
from pods.base.commands import error_lines

SPANS: Final[Mapping[str, tuple[str, timedelta]]] = {
    "6h": ("6 h", timedelta(hours=6)),
    "24h": ("24 h", timedelta(hours=24)),
    "3d": ("3 days", timedelta(days=3)),
    "7d": ("7 days", timedelta(days=7)),
}
USUAL: Final = "24h"
# The fields that can be tried here. The command `fleet what-if` takes all.
FIELDS: Final = (
    "max_instances", "min_instances", "spawn_per_tick", "target_depth_per_pod", "max_hourly_usd",
    "daily_budget_usd",
)  # fmt: skip
MOST_TICKS: Final = 1_500  # a page must answer within some seconds


class WhatIfPage:
    """Adds the comparison to the admin of fleets. It changes nothing, so a viewer may see it."""

    admin_site: admin.AdminSite

    def get_urls(self) -> list[Any]:
        """The addresses, with this page."""
        view = self.admin_site.admin_view(self.what_if_page)
        return [
            path("<int:fleet_id>/what-if/", view, name="fleet_fleet_what_if"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def what_if_page(self, request: HttpRequest, fleet_id: int) -> HttpResponse:
        """The last hours as they were, as the model has them, and with the fields of the address."""
        _, context = fleet_page.of_one(self.admin_site, request, fleet_id)
        fleet: Fleet = context["fleet"]
        span = request.GET.get("span", USUAL)
        typed = {
            name: text for name in FIELDS if (text := request.GET.get(name, "").strip())
        }  # an empty field is not changed
        found, wrong = None, ""
        try:
            found = _found(fleet, SPANS.get(span, SPANS[USUAL])[1], typed)
        except (TooLittle, ValidationError) as exc:
            wrong = _said(exc)
        context |= {
            "title": "What if", "found": found, "wrong": wrong, "charts": found and found.charts,
            "spans": [(key, text, key == span) for key, (text, _) in SPANS.items()],
            "has_shadow": Shadow.objects.filter(fleet=fleet).exists(),
            "may_begin": bool(typed) and not wrong and context["may_change"]
            and fleet.archived_at is None,
            "fields": [
                {"name": n, "label": LABELS[n], "now": getattr(fleet, n), "typed": typed.get(n, "")}
                for n in FIELDS
            ],
        }  # fmt: skip
        return TemplateResponse(request, "admin/fleet/fleet/what_if.html", context)


def _found(fleet: Fleet, span: timedelta, typed: Mapping[str, str]) -> what_if.Shown:
    until = utcnow()
    changes = policy_changes(fleet, typed)
    said = ", ".join(f"{LABELS[name]} {value}" for name, value in typed.items())
    found = compared(fleet, until - span, until, changes, most=MOST_TICKS)
    return what_if.shown(found, said, get_current_timezone())


def _said(error: TooLittle | ValidationError) -> str:
    if isinstance(error, TooLittle):
        return str(error)
    return "; ".join(error_lines(error))

"""The page of a fleet's dataset."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path

from fleet.admin import fleet_page
from fleet.pages import dataset as pages
from fleet.pages import row_facts


class DatasetPage:
    """Adds the page of a fleet's dataset to the admin of fleets."""

    admin_site: admin.AdminSite

    def get_urls(self) -> list[Any]:
        """The addresses, with this page."""
        view = self.admin_site.admin_view(self.dataset_page)
        return [
            path("<int:fleet_id>/dataset/", view, name="fleet_fleet_dataset"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def dataset_page(self, request: HttpRequest, fleet_id: int) -> HttpResponse:
        """How far the rows are, the newest parts, and why rows failed."""
        _, context = fleet_page.of_one(self.admin_site, request, fleet_id)
        fleet = context["fleet"]
        context |= {
            "title": "Dataset",
            "never": row_facts.never(context["card"]),
            "found": pages.shown(fleet) if fleet.is_dataset else None,
        }
        return TemplateResponse(request, "admin/fleet/fleet/dataset.html", context)

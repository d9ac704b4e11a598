"""The page of a fleet's dataset."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path

from fleet.models import Fleet
from fleet.pages import dataset as pages
from fleet.pages import overview, row_facts


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
        if not request.user.has_perm("fleet.view_fleet"):
            raise PermissionDenied
        found = overview.overview(Q(pk=fleet_id))
        if not found.cards:
            raise Http404(f"no fleet has the id {fleet_id}")
        (card,) = found.cards
        fleet = Fleet.objects.get(pk=fleet_id)
        context = {
            **self.admin_site.each_context(request),
            "title": "Dataset",
            "opts": Fleet._meta,
            "original": fleet,
            "fleet": fleet,
            "card": card,
            "never": row_facts.never(card),
            "found": pages.shown(fleet) if fleet.is_dataset else None,
            "may_change": request.user.has_perm("fleet.change_fleet"),
        }
        return TemplateResponse(request, "admin/fleet/fleet/dataset.html", context)

"""The status of a fleet on one page, and the page that asks before a fleet is stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from fleet import reaching
from fleet.admin import fleet_page
from fleet.models import Fleet, Tick
from fleet.money.spending import by_midnight
from fleet.pages import row_facts
from fleet.pages.overview import FleetCard, Overview
from pods.base import indexed
from pods.base.clock import utcnow
from pods.machine_names import short_name
from pods.models import Pod

FAILURES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A pod that failed lately."""

    pk: int
    name: str
    at: datetime
    because: str


class StatusPage:
    """Adds the status of a fleet, and the question before a stop, to the admin of fleets."""

    admin_site: admin.AdminSite

    def get_urls(self) -> list[Any]:
        """The addresses, with these pages."""
        view, urls = self.admin_site.admin_view, super().get_urls()  # type: ignore[misc]
        return [
            path("<int:fleet_id>/", view(self.status_page), name="fleet_fleet_status"),
            path("<int:fleet_id>/stop/", view(self.stop_page), name="fleet_fleet_stop"),
            *urls,
        ]

    def status_page(self, request: HttpRequest, fleet_id: int) -> HttpResponse:
        """What a fleet does now, what holds it, what needs somebody, and what can be done."""
        found, context = fleet_page.of_one(self.admin_site, request, fleet_id)
        fleet = context["fleet"]
        context |= {
            "title": fleet.name,
            "here": reverse("admin:fleet_fleet_status", args=[fleet_id]),
            "edited": fleet.history.order_by("-history_id").first(),
            "unreachable": _unreachable(fleet),
            "may_erase": request.user.has_perm("fleet.delete_fleet"),
            **_shown(context["card"], found),
        }
        return TemplateResponse(request, "admin/fleet/fleet/status.html", context)

    def stop_page(self, request: HttpRequest, fleet_id: int) -> HttpResponse:
        """Name the pods that a stop would destroy, and ask; after the confirmation, stop the fleet."""
        if not request.user.has_perm("fleet.change_fleet"):
            raise PermissionDenied
        fleets = Fleet.objects.filter(pk=fleet_id)
        if not fleets:
            raise Http404(f"no fleet has the id {fleet_id}")
        asked: HttpResponse | None = self.stop_everything(request, fleets)  # type: ignore[attr-defined]
        return asked or redirect("admin:fleet_fleet_status", fleet_id)


def _unreachable(fleet: Fleet) -> str:
    """Why pods that it may rent cannot reach its Redis; "": nothing speaks against it."""
    if fleet.archived_at is not None:
        return ""
    return reaching.wrong_with(fleet, list(fleet.accounts.defer("offers")))


def _shown(card: FleetCard, found: Overview) -> dict[str, Any]:
    """What the page shows of the card: two queries more."""
    return {
        "parts": row_facts.parts(card),
        "never": row_facts.never(card),
        "expected_usd": by_midnight(card.spent_today_usd, card.hourly_usd, found.at),
        "decision": Tick.objects.filter(fleet=card.pk).order_by("-at").only("pk", "at").first(),
        "failures": _failures(card.pk),
    }


def _failures(fleet_id: int) -> Sequence[Failure]:
    """The newest pods that failed, or got no machine, within a day."""
    pods = (
        Pod.objects.filter(indexed.has_failed(), fleet=fleet_id)
        .annotate(when=Coalesce(F("failed_at"), F("state_since")))
        .filter(when__gte=utcnow() - row_facts.RECENT)
        .only("name", "retire_because", "lost_because", "because")
        .order_by("-when", "-pk")[:FAILURES_SHOWN]
    )
    return [
        Failure(
            pk=pod.pk,
            name=short_name(pod.name, 12),
            at=pod.when,  # type: ignore[attr-defined]
            because=pod.lost_because or pod.retire_because or pod.because,
        )
        for pod in pods
    ]

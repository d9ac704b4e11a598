"""The status of a fleet on one page, and the page that asks before a fleet is stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from fleet.models import Fleet, Tick
from fleet.money.spending import midnight
from fleet.pages import overview, top
from fleet.pages.overview import FleetCard, Overview
from pods import price
from pods.base.clock import utcnow
from pods.machine_names import short_name
from pods.models import Pod
from pods.rules import NO_MACHINE_RULES, TRY_RULES

FAILURES_SHOWN: Final = 3
RECENT: Final = timedelta(hours=24)
FAILED_BY: Final = sorted(rule.value for rule in TRY_RULES | NO_MACHINE_RULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A part of the bar of pods: those of one state, in parts of 1000."""

    state: str
    count: int
    at: int
    width: int


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
        if not request.user.has_perm("fleet.view_fleet"):
            raise PermissionDenied
        found = overview.overview(Q(pk=fleet_id))
        if not found.cards:
            raise Http404(f"no fleet has the id {fleet_id}")
        (card,) = found.cards
        top.remember(request, found.limits)
        fleet = Fleet.objects.get(pk=fleet_id)
        context = {
            **self.admin_site.each_context(request),
            "title": fleet.name,
            "opts": Fleet._meta,
            "original": fleet,
            "fleet": fleet,
            "here": reverse("admin:fleet_fleet_status", args=[fleet_id]),
            "may_change": request.user.has_perm("fleet.change_fleet"),
            "edited": fleet.history.order_by("-history_id").first(),
            "may_erase": request.user.has_perm("fleet.delete_fleet"),
            **_shown(card, found),
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


def _shown(card: FleetCard, found: Overview) -> dict[str, Any]:
    """What the page shows of the card: two queries more."""
    left = midnight(found.at) + timedelta(days=1) - found.at
    return {
        "card": card,
        "bars": bars(card.states),
        "never": _never(card),
        "expected_usd": card.spent_today_usd + price.cost_usd(card.hourly_usd, left),
        "decision": Tick.objects.filter(fleet=card.pk).order_by("-at").only("pk", "at").first(),
        "failures": _failures(card.pk),
    }


def _never(card: FleetCard) -> str:
    """Why the backlog is never done at this rate; "": it is done some time, or nothing waits."""
    if not card.depth or card.eta is not None:
        return ""
    ready = dict(card.states).get("ready", 0)
    return "the ready pods finish nothing" if ready else "no pod is ready"


def bars(states: Sequence[tuple[str, int]]) -> Sequence[Bar]:
    """The parts of the bar of pods; each is at least wide enough to be seen."""
    whole = sum(count for _, count in states)
    shown, at = [], 0
    for state, count in states:
        width = max(12, 1000 * count // whole)
        shown.append(Bar(state=state, count=count, at=at, width=width))
        at += width
    return shown


def _failures(fleet_id: int) -> Sequence[Failure]:
    """The newest pods that failed, or got no machine, within a day."""
    pods = (
        Pod.objects.filter(fleet=fleet_id, retire_rule__in=FAILED_BY)
        .annotate(when=Coalesce(F("failed_at"), F("state_since")))
        .filter(when__gte=utcnow() - RECENT)
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

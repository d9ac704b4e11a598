"""What the own pages of one fleet have in common."""

from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest

from fleet.models import Fleet
from fleet.pages import overview, top
from fleet.pages.overview import Overview


def of_one(site: AdminSite, request: HttpRequest, fleet_id: int) -> tuple[Overview, dict[str, Any]]:
    """A fleet as it is now, and the context of a page about it: `fleet`, `card` and who may edit.

    Raises:
        PermissionDenied: the user may not see fleets.
        Http404: there is no such fleet.
    """
    if not request.user.has_perm("fleet.view_fleet"):
        raise PermissionDenied
    found = overview.overview(Q(pk=fleet_id))
    if not found.cards:
        raise Http404(f"no fleet has the id {fleet_id}")
    (card,) = found.cards
    top.remember(request, found.limits)
    fleet = Fleet.objects.get(pk=fleet_id)
    return found, {
        **site.each_context(request),
        "opts": Fleet._meta,
        "original": fleet,
        "fleet": fleet,
        "card": card,
        "may_change": request.user.has_perm("fleet.change_fleet"),
    }

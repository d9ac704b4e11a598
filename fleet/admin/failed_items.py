"""The page of the failed items of all fleets."""

import time
from typing import Final

from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from fleet.pages import failed_items as pages

LONGEST_SECONDS: Final = 3.0


@require_GET
@permission_required("fleet.view_fleet", raise_exception=True)
def failed_items(request: HttpRequest) -> HttpResponse:
    """Show why items of all fleets failed for good. The buttons are those of each fleet's page."""
    end = time.monotonic() + LONGEST_SECONDS
    found = pages.of_all_fleets(enough=lambda: time.monotonic() > end)
    context = {
        **admin.site.each_context(request),
        "title": "Failed items",
        "found": found,
        "count": sum(each.count or 0 for each in found),
        "looked_at": pages.LOOKED_AT,
        "may_act": request.user.has_perm("fleet.change_fleet"),
    }
    return render(request, "fleet/failed_items.html", context)

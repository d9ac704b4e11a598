"""The preview beside the form of a fleet: what the next tick would do, before anything is saved."""

from collections.abc import Sequence
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_POST

from fleet import promises
from fleet.admin.fleet_form import FleetFormPage
from fleet.models import Fleet
from fleet.pages import foresight
from fleet.tick import ticking, wishes
from pods.accounts import editing
from pods.masking import without_passwords

MOST_ERRORS: Final = 3
NEW: Final = 0  # the id of a fleet that has no row yet


class FleetPreview(FleetFormPage):
    """The part of a fleet's page that foresees the next tick. Writes nothing."""

    change_form_before_template = "admin/fleet/fleet/form_top.html"

    def get_urls(self) -> list[URLPattern]:
        """The addresses that answer with the preview of a typed form."""
        wrap = self.admin_site.admin_view
        return [
            path("preview/", wrap(require_POST(self.preview_view)), name="fleet_fleet_preview_new"),
            path(
                "<int:fleet_id>/preview/",
                wrap(require_POST(self.preview_view)),
                name="fleet_fleet_preview",
            ),
            *super().get_urls(),
        ]

    def preview_view(self, request: HttpRequest, fleet_id: int | None = None) -> HttpResponse:
        """The preview of what is typed."""
        fleet = None if fleet_id is None else self.get_object(request, str(fleet_id))
        if fleet_id is not None and fleet is None:
            raise Http404("no such fleet")
        if not self._may_preview(request, fleet):
            raise PermissionDenied
        form = self.get_form(request, fleet, change=fleet is not None)(
            request.POST, instance=fleet or Fleet()
        )
        return render(request, "admin/fleet/fleet/preview.html", foreseen(form))

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page, with the preview for who may ask for one."""
        fleet = context.get("original")
        if self._may_preview(request, fleet):
            context["previews"] = True
            if "_preview" in request.POST:
                context.update(foreseen(context["adminform"].form))
        answer: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return answer

    def _may_preview(self, request: HttpRequest, fleet: Fleet | None) -> bool:
        may = self.has_change_permission(request, fleet)
        return may and (fleet is not None or self.has_add_permission(request))


def foreseen(form: Any) -> dict[str, Any]:
    """What the next tick would do with the values of a form, or what is wrong with them."""
    if form.errors:
        return {"wrong": _wrong(form)}
    fleet, accounts = form.instance, list(form.cleaned_data["accounts"])
    new = _made_by_saving(fleet)
    unread = "" if promises.may_read(fleet) else promises.UNREAD
    if fleet.pk is None:
        fleet.pk = NEW
    preview = ticking.foresee(fleet, accounts=accounts, unread_because=unread, made_by_saving=new)
    if fleet.pk == NEW:
        fleet.pk = None
    return {
        "foresight": foresight.told(
            preview,
            paid=any(map(editing.may_cost, accounts)) if accounts else None,
            top_price_usd=wishes.wanted(fleet).max_hourly_usd,
            at=timezone.localtime(preview.seen.now),
        )
    }


def _made_by_saving(fleet: Fleet) -> bool:
    """Whether saving makes the stream and the group: the fleet is new, or names others."""
    same = {name: getattr(fleet, name) for name in ("backlog", "backlog_url", "stream", "group")}
    return fleet.pk is None or not Fleet.objects.filter(pk=fleet.pk, **same).exists()


def _wrong(form: Any) -> Sequence[tuple[str, str, str]]:
    """The first errors: the id of the field, its label and what is wrong with it."""
    found = [("", "", error) for error in form.non_field_errors()]
    for field in form:
        place = field.id_for_label or field.auto_id
        found += [(place, field.label, error) for error in field.errors]
    return [(place, label, without_passwords(text)) for place, label, text in found[:MOST_ERRORS]]

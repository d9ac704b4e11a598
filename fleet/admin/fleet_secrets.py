"""The page of a fleet's secrets: their names for all, forms to set and remove them for operators."""

from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from fleet import keeping_secrets
from fleet.admin import fleet_page
from fleet.models import Fleet
from fleet.secrets.opening import Unreadable

LABELS: Final = {"key": "Name", "value": "Value", NON_FIELD_ERRORS: "Refused"}


class SecretsPage:
    """Adds the page of a fleet's secrets to the admin of fleets. No page shows a value."""

    admin_site: admin.AdminSite

    def get_urls(self) -> list[Any]:
        """The addresses, with this page."""
        view = self.admin_site.admin_view(self.secrets_page)
        return [
            path("<int:fleet_id>/secrets/", view, name="fleet_fleet_secrets"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    @method_decorator(sensitive_post_parameters("value"))
    def secrets_page(self, request: HttpRequest, fleet_id: int) -> HttpResponse:
        """Show the names; set, replace or remove a secret."""
        _, context = fleet_page.of_one(self.admin_site, request, fleet_id)
        fleet, wrong = context["fleet"], ""
        if request.method == "POST":
            if not context["may_change"]:
                return HttpResponse("only operators change secrets", status=403)
            wrong = _act(request, fleet)
            if not wrong:
                return redirect(reverse("admin:fleet_fleet_secrets", args=[fleet.pk]))
        context |= {
            "title": "Secrets",
            "rows": keeping_secrets.listed(fleet),
            "may_act": context["may_change"] and fleet.archived_at is None,
            "wrong": wrong,
            "key": request.POST.get("key", "") if wrong else "",
        }
        return TemplateResponse(request, "admin/fleet/fleet/secrets.html", context)


def _by_field(error: ValidationError) -> dict[str, list[str]]:
    return (
        error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    )


def _act(request: HttpRequest, fleet: Fleet) -> str:
    """Do what a form asks for; why it was refused, or "". Its value is never shown again."""
    name, by = request.POST.get("key", "").strip(), request.user.get_username()
    removes = request.POST.get("verb") == "remove"
    try:
        if removes:
            there = keeping_secrets.remove_secret(fleet, name, by=by)
        else:
            value = request.POST.get("value", "")
            there = keeping_secrets.set_secret(fleet, name, value, by=by)
    except ValidationError as exc:
        return "; ".join(f"{LABELS[n]}: {' '.join(m)}" for n, m in _by_field(exc).items())
    except Unreadable as exc:
        messages.warning(request, f"stored, but not sent to the pods: {exc}")
        return ""
    effect = keeping_secrets.effect(fleet, name, removed=removes, there=there)
    messages.success(request, f"{name} {'removed' if removes else 'set'}; {effect}")
    return ""

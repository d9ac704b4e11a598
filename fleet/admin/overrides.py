"""Overrides in the admin: the numbers of pods that operators set."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from fleet.models import Override
from pods.admin.base import Page


@admin.register(Override)
class OverrideAdmin(Page):
    """The numbers of pods that operators set instead of the formula."""

    list_display = ("fleet", "pods", "until", "by", "because")
    list_filter = ("fleet",)
    exclude = ("by",)

    def save_model(self, request: HttpRequest, obj: Override, form: Any, change: bool) -> None:
        """Save the override with the operator's name."""
        obj.by = request.user.get_username()
        super().save_model(request, obj, form, change)

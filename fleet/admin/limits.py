"""The limits of the whole installation in the admin: an edit is in force from the next tick."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from fleet import stopping
from fleet.decision.values import Mode
from fleet.models import MODES, Limits
from pods.admin.base import PageWithHistory
from pods.admin.own_words import OwnWords


class LimitsForm(OwnWords):
    """The limits of the installation. Stopping everything has its own page, and its own undo."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "mode" in self.fields:
            choices = [m for m in MODES if m[0] != Mode.STOP_ALL.value]
            self.fields["mode"].choices = choices  # type: ignore[attr-defined]


@admin.register(Limits)
class LimitsAdmin(PageWithHistory):
    """The guardrails of the whole installation."""

    form = LimitsForm
    list_display = ("__str__", "mode", "max_instances", "max_hourly_usd", "daily_budget_usd")
    fields = ("mode", "max_instances", "max_hourly_usd", "daily_budget_usd")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The mode too, while everything is stopped: only the undo ends that."""
        shown = super().get_readonly_fields(request, obj)
        return (*shown, "mode") if obj is not None and obj.stopped else shown

    def save_model(self, request: HttpRequest, obj: Limits, form: Any, change: bool) -> None:
        """Write what the operator changed and nothing else: a tick or a stop may come between."""
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        by = request.user.get_username()
        if changes and not stopping.set_limits(changes, by=by):
            messages.error(request, "Everything is stopped meanwhile, so the mode stays as it is.")

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Refuse: there is one row."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Limits]:
        """The one row, which is made here if it is missing: not on every page that lists tables."""
        Limits.get()
        found: QuerySet[Limits] = super().get_queryset(request)
        return found

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Refuse: the one row stays."""
        return False

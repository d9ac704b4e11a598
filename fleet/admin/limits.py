"""The limits of the whole installation in the admin: an edit is in force from the next tick."""

from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from fleet import stopping
from fleet.admin.fleet_fields import give_units
from fleet.decision.field_words import LIMITS
from fleet.decision.values import Mode
from fleet.models import MODES, Limits
from fleet.money import spending
from pods.admin.base import PageWithHistory
from pods.admin.own_words import OwnWords
from pods.base.clock import utcnow
from pods.base.words import usd
from pods.plural import plural

NO_LIMIT: Final = "Empty: no limit. Nothing stops spending across fleets."


class LimitsForm(OwnWords):
    """The limits of the installation. Stopping everything has its own page, and its own undo."""

    class Meta:
        """What the fields are called."""

        model = Limits
        fields = tuple(LIMITS)
        labels = LIMITS
        help_texts: ClassVar = dict.fromkeys(LIMITS.keys() - {"mode"}, NO_LIMIT)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        give_units(self)
        if "mode" in self.fields:
            choices = [m for m in MODES if m[0] != Mode.STOP_ALL.value]
            self.fields["mode"].choices = choices  # type: ignore[attr-defined]
        for name, now in used_now().items() if self.fields else ():
            if name in self.fields:
                self.fields[name].label = f"{LIMITS[name]} (now {now})"


def used_now() -> dict[str, str]:
    """How much of each limit is in use now. Six queries."""
    there = stopping.reach()
    return {
        "max_instances": str(there.pods),
        "max_hourly_usd": f"{usd(there.hourly_usd)}/h",
        "daily_budget_usd": usd(spending.spent(utcnow()).today),
    }


@admin.register(Limits)
class LimitsAdmin(PageWithHistory):
    """The guardrails of the whole installation: one form, at the address of the menu."""

    form = LimitsForm
    fields = tuple(LIMITS)
    compressed_fields = False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The form: a list of one row would only be a step more."""
        context = {**(extra_context or {}), "title": "Limits"}
        answer: HttpResponse = self.change_view(
            request, str(Limits.get().pk), extra_context=context
        )
        return answer

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fields; for who has no form, whose labels say it, below what is in use now."""
        fieldsets = super().get_fieldsets(request, obj)
        if self.has_change_permission(request, obj):
            return fieldsets
        used = used_now()
        said = (
            f"Now: {plural(int(used['max_instances']), 'pod')}, {used['max_hourly_usd']}, "
            f"{used['daily_budget_usd']} today."
        )
        ((title, how),) = fieldsets
        return [(title, {**how, "description": said})]

    def response_change(self, request: HttpRequest, obj: Limits) -> HttpResponse:
        """Say when it is in force, and show the form again."""
        messages.success(request, "Saved. In force from the next tick of each fleet.")
        return HttpResponseRedirect(reverse("admin:fleet_limits_changelist"))

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

    def get_object(self, _request: HttpRequest, _object_id: str, _from_field: Any = None) -> Limits:
        """The limits in force: until somebody sets one, there is no row to read."""
        return Limits.get()

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Refuse: the one row stays."""
        return False

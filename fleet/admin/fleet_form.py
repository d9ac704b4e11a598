"""The form of a fleet: its fields, its checks, and how it is saved; in force from the next tick."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from fleet import moving, operating
from fleet.models import Fleet
from pods import masking
from pods.admin.base import PageWithHistory
from pods.admin.own_words import OwnWords
from pods.base.typed_json import FORM_FIELDS

DRAINED: Final = ("backlog", "backlog_url", "stream", "group")  # they tell a backlog from others


class KnownAccounts(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """The choice of accounts; a number that is too large for a database is not an account."""

    def clean(self, value: Any) -> Any:
        """Refuse a choice that is not an account."""
        try:
            return super().clean(value)
        except OverflowError as exc:
            raise ValidationError("Choose accounts from the list.") from exc


class FleetForm(OwnWords):
    """A fleet, with the version that the operator saw; an edit of an outdated page is refused."""

    seen_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    class Meta:
        """The fields that operators may change."""

        model = Fleet
        fields = ("name", "accounts", *operating.EDITABLE)
        widgets: ClassVar = {"accounts": UnfoldAdminCheckboxSelectMultipleWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "handler_env" not in self.fields:  # the page of a viewer, who may edit no field
            return
        for name in ("handler_env", "offer_query"):
            self.fields[name].widget.attrs["rows"] = 3
        self.fields["seen_version"].initial = self.instance.version if self.instance.pk else 0

    def clean(self) -> dict[str, Any]:
        """Check the values, the accounts, and that nobody else edited the fleet meanwhile."""
        cleaned = super().clean() or {}
        seen = cleaned.get("seen_version")
        if self.instance.pk:
            current = Fleet.objects.values_list("version", flat=True).get(pk=self.instance.pk)
            if seen != current:
                raise ValidationError(
                    "Somebody else changed this fleet while you edited it. Load the page again, "
                    "look at what changed, and then make your edit."
                )
        asked = Fleet(
            pk=self.instance.pk,
            image=cleaned.get("image") or "",
            offer_query=cleaned.get("offer_query") or {},
            **{name: cleaned.get(name) or "" for name in DRAINED},
        )
        self._check(operating.check_supply, asked, cleaned.get("accounts") or ())
        self._check(operating.refuse_shared_stream, asked)
        return cleaned

    def _check(self, rule: Callable[..., None], *values: Any) -> None:
        """Show what a rule refuses at its field, unless the field shows an error already."""
        try:
            rule(*values)
        except ValidationError as exc:
            for name in exc.error_dict.keys() - self.errors.keys():
                self.add_error(name, exc.error_dict[name])


class FleetFormPage(PageWithHistory):
    """The part of a fleet's page that is its form."""

    form = FleetForm
    masked: ClassVar = {
        "backlog_url": masking.without_passwords,
        "handler_env": masking.without_values,
    }
    formfield_overrides = FORM_FIELDS
    readonly_fields = ("next_tick",)
    fieldsets = (
        (None, {"fields": ("name", "mode", "seen_version", "next_tick")}),
        (
            "Guardrails",
            {
                "fields": (
                    ("max_instances", "min_instances"),
                    ("max_hourly_usd", "spawn_per_tick"),
                    ("daily_budget_usd", "total_budget_usd"),
                    ("max_pod_hours", "alert_after_hours"),
                    "min_busy_percent",
                )
            },
        ),
        (
            "Scale",
            {
                "fields": (
                    "target_depth_per_pod",
                    ("idle_seconds", "drain_seconds"),
                    ("idle_action", "max_stopped_hours"),
                )
            },
        ),
        (
            "Backlog",
            {
                "fields": (
                    ("backlog", "backlog_url"),
                    ("stream", "group"),
                    ("results", "longest_results"),
                    "reply_to",
                )
            },
        ),
        (
            "Pods",
            {
                "fields": (
                    "accounts",
                    ("image", "handler"),
                    "handler_env",
                    "offer_query",
                    ("batch_size", "target_batch_seconds"),
                    ("disk_gb", "max_deliveries"),
                    ("claim_idle_seconds", "notice_seconds"),
                    ("boot_seconds", "handler_timeout_seconds"),
                    ("heartbeat_seconds", "silent_seconds"),
                    "orphan_seconds",
                )
            },
        ),
    )

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Accounts are checked by the field above."""
        return super().formfield_for_manytomany(
            db_field, request, **{**kwargs, "form_class": KnownAccounts}
        )

    @display(description="tick")
    def next_tick(self, fleet: Fleet) -> str:
        """The tick period, and where to change it: in the schedule of beat."""
        if not fleet.pk:
            return "every 15 s; after you have saved the fleet, change this under Background jobs"
        period = f"every {fleet.tick_period.total_seconds():g} s"
        return f"{period}; change this under Background jobs: {fleet.schedule}"

    def save_model(self, request: HttpRequest, obj: Fleet, form: Any, change: bool) -> None:
        """Create or edit the fleet with the same verbs as the command line."""
        by, accounts = request.user.get_username(), list(form.cleaned_data["accounts"])
        if change:
            stored = Fleet.objects.get(pk=obj.pk)
            values = {name: getattr(obj, name) for name in ("name", *operating.EDITABLE)}
            changes = {n: v for n, v in values.items() if v != getattr(stored, n)}
            operating.edit(obj, changes, accounts=accounts, by=by)
            if left := moving.left_behind(stored, obj):
                messages.warning(request, left)
        else:
            operating.create(obj, accounts, by=by)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Make the consumer group and survey the accounts, if that was not done yet."""
        super().save_related(request, form, formsets, change)
        try:
            if not operating.prepare(form.instance):
                messages.warning(
                    request,
                    "Redis does not answer, so the consumer group is not made yet; save the fleet "
                    "again when Redis answers",
                )
        except ValidationError as exc:
            messages.error(request, f"the consumer group is not made: {'; '.join(exc.messages)}")

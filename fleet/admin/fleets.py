"""Fleets, limits and overrides in the admin: an edit is in force from the next tick."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from fleet import moving, operating, stopping
from fleet.admin.archiving import ArchivedFilter, Archiving
from fleet.admin.dead_letters import DeadLettersPage
from fleet.decision.values import Mode
from fleet.models import MODES, Fleet, Limits, Override, Tick
from pods import masking
from pods.admin.base import Page, PageWithHistory
from pods.admin.own_words import OwnWords
from pods.base.commands import error_lines
from pods.base.typed_json import FORM_FIELDS
from pods.models import Pod
from pods.states import ENDED

DRAINED: Final = ("backlog", "backlog_url", "stream", "group")  # they tell a backlog from others
MODE_LABELS = {"running": "success", "paused": "warning", "stop_all": "danger"}


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


def _verbs(fleet: Fleet, *, may_erase: bool) -> list[tuple[str, str]]:
    """The actions that are possible for a fleet, with the words of their buttons."""
    if fleet.archived_at is not None:
        return [("restore", "Restore"), *([("erase", "Delete…")] if may_erase else [])]
    running = fleet.mode == Mode.RUNNING.value
    later = fleet.archive_when_empty
    return [
        ("pause", "Pause") if running else ("resume", "Resume"),
        ("restore", "Do not archive") if later else ("archive_when_empty", "Archive when empty"),
        ("stop_everything", "Stop…"),
    ]


@admin.register(Fleet)
class FleetAdmin(DeadLettersPage, Archiving, PageWithHistory):
    """Fleets with their guardrails."""

    form = FleetForm
    masked: ClassVar = {
        "backlog_url": masking.without_passwords,
        "handler_env": masking.without_values,
    }
    formfield_overrides = FORM_FIELDS
    list_display = (
        "name",
        "shown_mode",
        "max_instances",
        "pods_now",
        "max_hourly_usd",
        "daily_budget_usd",
        "last_decision",
    )
    list_filter = (ArchivedFilter, "mode")
    search_fields = ("name", "stream")
    readonly_fields = ("next_tick",)
    actions = (
        "pause", "resume", "stop_everything", "archive", "archive_when_empty", "restore", "erase",
    )  # fmt: skip
    change_form_outer_before_template = "admin/fleet/fleet/verbs.html"
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

    @display(description="mode", label=MODE_LABELS)
    def shown_mode(self, fleet: Fleet) -> str:
        """The mode as a badge."""
        return fleet.mode if fleet.archived_at is None else "archived"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse an archived fleet: it is brought back first."""
        may = super().has_change_permission(request, obj)
        return may and (obj is None or obj.archived_at is None)

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Refuse: the action `erase` deletes fleets, with the check of the command line."""
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The fleet's page, with the actions that are possible."""
        fleet = self.get_object(request, object_id)
        shown = {} if fleet is None else {
            "fleet": fleet,
            "may_change": request.user.has_perm("fleet.change_fleet"),
            "verbs": _verbs(fleet, may_erase=self.has_erase_permission(request)),
        }  # fmt: skip
        context = {**(extra_context or {}), **shown}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Accounts are checked by the field above."""
        return super().formfield_for_manytomany(
            db_field, request, **{**kwargs, "form_class": KnownAccounts}
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Fleet]:
        """The fleets with their number of pods and last decision, in one query."""
        newest = Tick.objects.filter(fleet=OuterRef("pk")).order_by("-at").values("sentence")[:1]
        billing = Count("pods", filter=~Q(pods__state__in=[s.value for s in ENDED]))
        fleets: QuerySet[Fleet] = super().get_queryset(request)
        return fleets.annotate(billing=billing, sentence=Subquery(newest))

    @display(description="pods", ordering="billing")
    def pods_now(self, fleet: Any) -> int:
        """The number of pods that may bill."""
        return int(fleet.billing)

    @display(description="last decision")
    def last_decision(self, fleet: Any) -> str:
        """The last decision in one sentence."""
        return fleet.sentence or "no decision yet"

    @display(description="tick")
    def next_tick(self, fleet: Fleet) -> str:
        """The tick period, and where to change it: in the schedule of beat."""
        if not fleet.pk:
            return "every 15 s; after you have saved the fleet, change this under Schedule"
        period = f"every {fleet.tick_period.total_seconds():g} s"
        return f"{period}; change this under Schedule: {fleet.schedule}"

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

    def _set_mode(self, request: HttpRequest, fleets: QuerySet[Fleet], mode: Mode) -> None:
        done, refused = [], []
        for fleet in fleets:
            try:
                operating.set_mode(fleet, mode, by=request.user.get_username())
                done.append(fleet.name)
            except operating.EditedMeanwhile as exc:
                refused.append(f"{fleet.name}: {exc}")
            except ValidationError as exc:
                refused.append(f"{fleet.name}: {'; '.join(error_lines(exc, Fleet))}")
        if done:
            messages.success(request, f"{mode.value} from the next tick: {', '.join(done)}")
        for why in refused:
            messages.error(request, why)

    @action(description="Pause: start no new pods", permissions=["change"])
    def pause(self, request: HttpRequest, fleets: QuerySet[Fleet]) -> None:
        """Start no new pods; running pods keep working."""
        self._set_mode(request, fleets, Mode.PAUSED)

    @action(description="Resume: end a pause or a stop", permissions=["change"])
    def resume(self, request: HttpRequest, fleets: QuerySet[Fleet]) -> None:
        """Run again after a pause or a stop."""
        self._set_mode(request, fleets, Mode.RUNNING)

    @action(description="Stop: drain and destroy every pod", permissions=["change"])
    def stop_everything(
        self, request: HttpRequest, fleets: QuerySet[Fleet]
    ) -> TemplateResponse | None:
        """Show the pods that will be destroyed; after the confirmation, drain and destroy them."""
        if request.POST.get("confirmed"):
            self._set_mode(request, fleets, Mode.STOP_ALL)
            return None
        pods = list(
            Pod.objects.billable()
            .filter(fleet__in=fleets)
            .select_related("fleet")
            .order_by("fleet__name", "-hourly_usd", "name")
        )
        context = {
            **self.admin_site.each_context(request),
            "title": "Stop these fleets",
            "opts": self.opts,
            "fleets": fleets,
            "pods": pods,
            "hourly_usd": sum((pod.hourly_usd for pod in pods), Decimal(0)),
        }
        return TemplateResponse(request, "admin/fleet/fleet/confirm_stop_all.html", context)


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
        """Refuse: there is one row. It is made here if it is missing."""
        Limits.get()
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Refuse: the one row stays."""
        return False


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

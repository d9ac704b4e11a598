"""The form of a fleet: its fields, its checks, and how it is saved; in force from the next tick."""

import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timezone import get_current_timezone_name
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldBooleanWidget

from fleet import moving, operating, ordering, promises
from fleet.admin import fleet_fields, offer_fields
from fleet.admin.fleet_fields import ADVANCED, FIELDSETS, TIME_LIMITS
from fleet.admin.offer_fields import OfferFields
from fleet.auditing import masks
from fleet.code import handlers
from fleet.decision.field_words import LABELS
from fleet.models import Fleet
from fleet.pages import life_times
from fleet.tick import scheduling
from fleet.tick.wishes import RefusedWish
from pods.accounts import editing
from pods.admin.base import PageWithHistory
from pods.admin.own_words import OwnWords
from pods.base import words
from pods.base.clock import utcnow
from pods.base.typed_json import FORM_FIELDS
from pods.models import Account

DRAINED: Final = ("backlog", "backlog_url", "stream", "group")  # they tell a backlog from others
# The limits that an account with a price asks for, what a new fleet begins with, and the box that
# lifts each.
ASKED_FOR: Final = {
    "max_hourly_usd": (Decimal("1.00"), "no_hourly_limit"),
    "daily_budget_usd": (Decimal("10.00"), "no_daily_limit"),
}
CENT: Final = Decimal("0.01")


class KnownAccounts(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """The choice of accounts; a number that is too large for a database is not an account."""

    def clean(self, value: Any) -> Any:
        """Refuse a choice that is not an account."""
        try:
            return super().clean(value)
        except OverflowError as exc:
            raise ValidationError("Choose accounts from the list.") from exc


class FleetForm(OwnWords, OfferFields):
    """A fleet, with the version that the operator saw; an edit of an outdated page is refused."""

    right = offer_fields.RIGHT
    seen_version = forms.IntegerField(widget=forms.HiddenInput, required=False)
    no_hourly_limit = forms.BooleanField(
        required=False, label="No limit per hour", widget=UnfoldBooleanWidget
    )
    no_daily_limit = forms.BooleanField(
        required=False, label="No limit per day", widget=UnfoldBooleanWidget
    )

    class Meta:
        """The fields that operators may change; those of `offer_query` are in OfferFields."""

        model = Fleet
        fields = ("name", "accounts", *(n for n in operating.EDITABLE if n != "offer_query"))
        widgets: ClassVar = {"accounts": UnfoldAdminCheckboxSelectMultipleWidget}
        labels: ClassVar = {**LABELS, **offer_fields.LABELS}
        help_texts: ClassVar = {
            "max_instances": "The most pods that may bill at once.",
            "max_hourly_usd": "All pods of the fleet together. Dearer pods end, and none starts.",
            "daily_budget_usd": "When it is spent, the pods end until midnight UTC.",
            "drain_by": "With the goal deadline: when all items should be done.",
            "min_instances": "They run without items too.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "handler_env" not in self.fields:  # the page of a viewer, who may edit no field
            return
        self.fields["handler_env"].widget.attrs["rows"] = 3
        self.fields["seen_version"].initial = self.instance.version if self.instance.pk else 0
        fleet_fields.give_units(self)
        self.fields["drain_by"].help_text += f" In the zone {get_current_timezone_name()}."
        self.initial.update(offer_fields.initial(self.instance))
        accounts = Account.objects.filter(enabled=True).values_list("pk", flat=True)[:2]
        if not self.instance.pk and len(accounts) == 1:  # there is nothing to choose
            self.initial.setdefault("accounts", list(accounts))
        for name, (first, box) in ASKED_FOR.items():
            if not self.instance.pk:
                self.initial.setdefault(name, first)
            self.initial[name] = _short(self.initial.get(name))
            self.initial[box] = self.initial[name] is None

    def is_valid(self) -> bool:
        """Whether the fleet may be saved: a form that only asks for a preview never is."""
        return super().is_valid() and "_preview" not in self.data

    def clean(self) -> dict[str, Any]:
        """Check the values, the accounts, and that nobody else edited the fleet meanwhile."""
        cleaned = super().clean() or {}
        seen = cleaned.get("seen_version")
        if self.instance.pk:
            current = Fleet.objects.values_list("version", flat=True).get(pk=self.instance.pk)
            if seen != current:
                raise ValidationError(
                    format_html(
                        "Somebody else changed this fleet while you edited it. "
                        '<a class="pf-remedy" href="{}">Open it as it is now</a>, look at what '
                        "changed, and then make your edit.",
                        reverse("admin:fleet_fleet_change", args=[self.instance.pk]),
                    )
                )
        self._lift_limits(cleaned)
        asked = Fleet(
            pk=self.instance.pk,
            image=cleaned.get("image") or "",
            disk_gb=cleaned.get("disk_gb") or self.instance.disk_gb,
            gpu_count=cleaned.get("gpu_count") or self.instance.gpu_count,
            start_command=cleaned.get("start_command") or "",
            bundle=self.instance.bundle,
            redis_route=cleaned.get("redis_route") or self.instance.redis_route,
            offer_query=offer_fields.query(self, self.instance),
            **{name: cleaned.get(name) or "" for name in DRAINED},
        )
        self._check_wish(asked)
        self._check(ordering.check_supply, asked, cleaned.get("accounts") or ())
        self._check(ordering.refuse_two_starts, asked)
        self._check(operating.refuse_shared_stream, asked)
        self.instance.offer_query = asked.offer_query
        return cleaned

    def _post_clean(self) -> None:
        """Refuse what the code or the time does not allow, once all values are known to be right."""
        super()._post_clean()  # type: ignore[misc]
        if "handler" in self.changed_data and not self.errors:
            self._check(handlers.refuse_unknown, self.instance)
            self._check(handlers.refuse_missing, self.instance)
        if not self.errors:
            accounts = list(self.cleaned_data.get("accounts") or ())
            self._check(promises.refuse_impossible, self.instance, self.changed_data, accounts)

    def _lift_limits(self, cleaned: dict[str, Any]) -> None:
        """Read the boxes "No limit"; ask for a limit where pods may cost money."""
        paid = [a.name for a in cleaned.get("accounts") or () if editing.may_cost(a)]
        for name, (first, box) in ASKED_FOR.items():
            value, typed = cleaned.get(name), name in self.changed_data
            if name in self.errors:
                continue
            if cleaned.get(box) and value is not None and typed and box in self.changed_data:
                both = (
                    f"it is {words.usd(value)}, and {self.fields[box].label} is ticked; choose one"
                )
                self.add_error(name, both)
            elif cleaned.get(box) and not typed:
                cleaned[name] = None
            elif value is None and not cleaned.get(box) and paid:
                needed = f"{paid[0]} costs money; give USD such as {first}"
                self.add_error(name, f"it is empty, and {needed}, or tick {self.fields[box].label}")

    def _check_wish(self, asked: Fleet) -> None:
        """Show what is wrong with the wished offers at its field."""
        try:
            ordering.name_as_known(asked)
        except RefusedWish as exc:
            name = offer_fields.PREFIX + exc.key
            self.add_error(name, exc.said_of(offer_fields.LABELS[name]))
        except ValueError as exc:
            self.add_error(None, str(exc))

    def _check(self, rule: Callable[..., None], *values: Any) -> None:
        """Show what a rule refuses at its field, unless the field shows an error already."""
        try:
            rule(*values)
        except ValidationError as exc:
            for name in (exc.error_dict.keys() & self.fields.keys()) - self.errors.keys():
                self.add_error(name, exc.error_dict[name])


def _short(usd: Any) -> Any:
    """An amount without the zeros that its column adds after the cents."""
    cents = usd.quantize(CENT) if isinstance(usd, Decimal) and abs(usd) < 10**9 else None
    return usd if cents != usd else cents


class FleetFormPage(PageWithHistory):
    """The part of a fleet's page that is its form."""

    form = FleetForm
    masked: ClassVar = masks.OF_A_FLEET
    formfield_overrides = FORM_FIELDS
    compressed_fields = False  # labels above their boxes
    readonly_fields = ("next_tick",)
    fieldsets = FIELDSETS

    def as_may_be_seen(self, request: HttpRequest, obj: Any, fieldsets: Any) -> Any:
        """The fieldsets; for who may not edit the fleet without boxes, and masked."""
        shown = super().as_may_be_seen(request, obj, fieldsets)
        if self._may_edit(request, obj):
            return shown
        return [
            (title, {**how, "fields": ("accounts", "wish_now")} if title == "Rent from" else how)
            for title, how in shown
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What is not edited here."""
        return (*super().get_readonly_fields(request, obj), "wish_now")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Accounts are checked by the field above."""
        return super().formfield_for_manytomany(
            db_field, request, **{**kwargs, "form_class": KnownAccounts}
        )

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page; its closed sections say what is changed in them."""
        shown = context["adminform"]
        fleet = shown.form.instance
        advanced = {title for title, _ in ADVANCED}
        shown.fieldsets = [
            (_headed(title, how["fields"], shown.form, fleet), {**how, **_drawn(title, shown.form)})
            if title in advanced
            else (title, how)
            for title, how in shown.fieldsets
        ]
        answer: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return answer

    @display(description="what it rents")
    def wish_now(self, fleet: Fleet) -> str:
        """The wish in words, for who may not edit it."""
        fields = OfferFields.base_fields
        shown = offer_fields.initial(fleet)
        said = [f"{fields[name].label}: {value}" for name, value in shown.items()]
        return "; ".join(said) or "any offer"

    @display(description="Next tick")
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

    def response_add(
        self, request: HttpRequest, obj: Fleet, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Say when the new fleet has its first tick, and show its page."""
        return self.response_change(request, obj)

    def response_change(self, request: HttpRequest, obj: Fleet) -> HttpResponse:
        """Say when the edit is in force, and show the fleet's page again."""
        left = scheduling.until_next_tick(obj, now=utcnow())
        messages.success(request, f"Saved. {in_force(left)}")
        return HttpResponseRedirect(reverse("admin:fleet_fleet_change", args=[obj.pk]))


def in_force(left: timedelta | None) -> str:
    """When an edit is in force; `left`: until the next tick, None: nobody knows."""
    if left is None:
        return "In force from the next tick."
    return f"In force in {words.duration(timedelta(seconds=math.ceil(left.total_seconds())))}."


def _headed(title: str, fields: Any, form: Any, fleet: Fleet) -> str:
    return fleet_fields.marked(title, fields, form, fleet)


def _drawn(title: str, form: Any) -> dict[str, Any]:
    """The drawn times, above their fields."""
    if title != TIME_LIMITS:
        return {}
    times = {name: _value(form, name) for name in life_times.FIELDS}
    context = {"times": life_times.drawn(times), "marks": life_times.marks()}
    return {"description": render_to_string("fleet/life_times.html", context)}


def _value(form: Any, name: str) -> float | None:
    """The seconds in a field, as somebody typed them; None: they cannot be read."""
    field = form.fields.get(name)
    if field is None:
        return float(getattr(form.instance, name))
    try:
        return float(field.clean(form[name].value()))
    except (ValidationError, TypeError, ValueError):
        return None

"""Manual holds in the admin: the numbers of pods that operators set instead of the formula."""

from datetime import datetime
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.timezone import localtime
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminRadioSelectWidget

from fleet import holding
from fleet.admin.fleet_fields import PODS, with_unit
from fleet.holding import Lasts
from fleet.models import Fleet, Override
from pods.admin.own_words import OwnWords
from pods.admin.row_verbs import WithRowVerb
from pods.base import moments
from pods.base.clock import utcnow
from pods.plural import plural

MEANS: Final = "Replaces the calculation. Limits still apply."
CHOICES: Final = [
    (Lasts.HOUR.value, "in 1 h"),
    (Lasts.FOUR_HOURS.value, "in 4 h"),
    (Lasts.MORNING.value, "tomorrow 08:00"),
    (Lasts.OTHER.value, "at the time below"),
]


class HoldForm(OwnWords):
    """A hold: the fleet, its pods, the end and the reason."""

    lasts = forms.ChoiceField(
        choices=CHOICES,
        label="Until",
        initial=Lasts.HOUR.value,
        widget=UnfoldAdminRadioSelectWidget(),
        required=False,
    )

    class Meta:
        """What the fields are called."""

        model = Override
        fields = ("fleet", "pods", "until", "because")
        labels: ClassVar = {
            "fleet": "Fleet",
            "pods": "Hold at",
            "until": "Other time",
            "because": "Why",
        }
        help_texts: ClassVar = {
            "pods": MEANS,
            "until": "Only for “at the time below”.",
            "because": "Decisions show it.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "pods" not in self.fields:
            return
        self.fields["pods"].widget = with_unit(*PODS)
        self.fields["until"].required = False
        fleets = self.fields.get("fleet")
        if isinstance(fleets, forms.ModelChoiceField):
            living = Q(archived_at=None) | Q(pk=self.instance.fleet_id)
            fleets.queryset = Fleet.objects.filter(living)
        if self.instance.pk:
            self.initial["lasts"] = Lasts.OTHER.value

    def clean(self) -> dict[str, Any]:
        """Work out the end of the hold."""
        cleaned = super().clean() or {}
        # A form that gives only a time means that time.
        lasts = Lasts(cleaned.get("lasts") or Lasts.OTHER.value)
        if (fleet := cleaned.get("fleet")) is not None and fleet.archived_at is not None:
            self.add_error(
                "fleet", ValidationError(f"{fleet.name} is archived; bring it back first")
            )
        end: datetime | None = holding.until(lasts, now=localtime(utcnow()))
        if end is not None:
            cleaned["until"] = end
            self.errors.pop("until", None)
        elif not cleaned.get("until") and "until" not in self.errors:
            self.add_error("until", ValidationError("give the time at which the hold ends"))
        elif "until" not in self.errors and cleaned["until"] <= utcnow():
            now = localtime(utcnow())
            over = f"that time is over: it is {now:%H:%M} in {now.tzname()}; give a later one"
            self.add_error("until", ValidationError(over))
        elif "until" not in self.errors:
            holding.refuse_far_end(cleaned["until"])
        return cleaned


@admin.register(Override)
class OverrideAdmin(WithRowVerb):
    """The numbers of pods that operators set instead of the formula."""

    nothing = "No hold. A hold keeps a fleet at a number of pods until a time. Limits still apply."
    form = HoldForm
    list_display = ("fleet", "held", "ends", "by", "because")
    list_filter = ("fleet",)
    list_select_related = ("fleet",)
    fields = ("fleet", "pods", "lasts", "until", "because")
    actions = ("end_now",)
    row_action, row_text = "end_now", "End now"
    compressed_fields = False

    def has_row_verb(self, row: Override) -> bool:
        """Whether it lasts."""
        return row.until > utcnow()

    @display(description="hold at", ordering="pods")
    def held(self, hold: Override) -> str:
        """The number of pods."""
        return plural(hold.pods, "pod")

    @display(description="until", ordering="until")
    def ends(self, hold: Override) -> str:
        """The end, or that it is over."""
        if hold.until <= utcnow():
            return "over"
        return moments.shown(hold.until)

    @action(description="End now: calculate again from the next tick", permissions=["change"])
    def end_now(self, request: HttpRequest, holds: QuerySet[Override]) -> None:
        """End the chosen holds."""
        count = holding.end_now(holds, now=utcnow())
        messages.success(request, f"{plural(count, 'hold')} ended; in force from the next tick")

    def save_model(self, request: HttpRequest, obj: Override, form: Any, change: bool) -> None:
        """Save the hold with the operator's name."""
        holding.hold(obj, by=request.user.get_username())

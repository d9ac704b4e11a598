"""What a fleet rents, as fields of a form instead of JSON: reads and writes its offer_query."""

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from fleet.admin.fleet_fields import SECONDS, USD_HOUR, with_unit
from fleet.models import Fleet
from fleet.tick import wishes
from pods.catalogue.wish_words import WISHES

PREFIX: Final = "offer_"
LISTS: Final = frozenset({"gpu_types", "regions"})
YES_NO: Final[Mapping[bool, str]] = {True: "yes", False: "no"}
LONGEST: Final = 1000


class OfferFields(forms.Form):
    """The fields of what a fleet rents. An empty field means no restriction."""

    offer_gpu_types = forms.CharField(
        required=False,
        max_length=LONGEST,
        label=WISHES["gpu_types"],
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "any"}),
        help_text="Names, separated by commas: RTX 4090, H100. Empty: any.",
    )
    offer_min_vram_gb = forms.IntegerField(
        required=False,
        label=WISHES["min_vram_gb"],
        widget=with_unit("", "GB"),
        help_text="Of one GPU. Empty: any.",
    )
    offer_max_hourly_usd = forms.DecimalField(
        required=False,
        label=WISHES["max_hourly_usd"],
        widget=with_unit(*USD_HOUR),
        help_text="Dearer offers are not rented. Empty: any price.",
    )
    offer_regions = forms.CharField(
        required=False,
        max_length=LONGEST,
        label=WISHES["regions"],
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "any"}),
        help_text="Names, separated by commas: Europe, US. Empty: any.",
    )
    offer_interruptible = forms.ChoiceField(
        required=False,
        label=WISHES["interruptible"],
        choices=[("", "also"), ("yes", "only those"), ("no", "never")],
        widget=UnfoldAdminSelectWidget(),
        help_text="They are cheaper. Their items are given to other pods.",
    )
    offer_min_reliability = forms.FloatField(
        required=False,
        label=WISHES["min_reliability"],
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
        help_text="A share from 0 to 1, such as 0.95, where the vendor measures it. Empty: any.",
    )
    offer_min_remaining = forms.IntegerField(
        required=False,
        label=WISHES["min_remaining"],
        widget=with_unit(*SECONDS),
        help_text="Where an offer has an end. Empty: any.",
    )


NAMES: Final = tuple(OfferFields.base_fields)
LABELS: Final = {name: str(field.label) for name, field in OfferFields.base_fields.items()}
# What would be right where a number cannot be read.
RIGHT: Final[Mapping[str, str]] = {
    **{PREFIX + key: wishes.RIGHT[key] for key in ("min_vram_gb", "min_reliability")},
    "offer_max_hourly_usd": "USD, such as 0.5",  # JSON wants it as a text, a box does not
    "offer_min_remaining": "whole seconds, such as 3600",
}


def initial(fleet: Fleet) -> dict[str, Any]:
    """The values of the fields. One that cannot be read is shown as it is stored."""
    stored = _stored(fleet)
    shown = {PREFIX + key: _typed(key, raw) for key, raw in stored.items() if raw is not None}
    try:
        remaining = wishes.wanted(fleet).min_remaining
    except ValueError:
        remaining = None
    if remaining is not None:
        shown[PREFIX + "min_remaining"] = int(remaining.total_seconds())
    return {name: value for name, value in shown.items() if name in NAMES}


def query(form: forms.BaseForm, fleet: Fleet) -> dict[str, Any]:
    """The offer_query that the form gives. What was not edited stays as it is stored."""
    kept = {
        key: raw for key, raw in _stored(fleet).items() if PREFIX + key not in form.changed_data
    }
    for name in NAMES:
        key, value = name.removeprefix(PREFIX), form.cleaned_data.get(name)
        if name in form.changed_data and value not in {None, ""}:
            kept[key] = _json(key, value)
    return kept


def _stored(fleet: Fleet) -> Mapping[str, Any]:
    return fleet.offer_query if isinstance(fleet.offer_query, dict) else {}


def _typed(key: str, raw: Any) -> Any:
    """A stored value as its field holds it."""
    if key in LISTS and isinstance(raw, list):
        return ", ".join(map(str, raw))
    if key == "interruptible" and isinstance(raw, bool):
        return YES_NO[raw]
    field = OfferFields.base_fields.get(PREFIX + key)
    try:
        return raw if field is None else field.to_python(raw)
    except (ValidationError, TypeError, OverflowError):
        return str(raw)


def _json(key: str, value: Any) -> Any:
    if key in LISTS:
        return [name.strip() for name in value.split(",") if name.strip()]
    if key == "interruptible":
        return value == YES_NO[True]
    return value if isinstance(value, int | float) else str(value)

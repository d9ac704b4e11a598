"""The fields of a fleet's form: where each stands, its unit, and what is not at its default."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from fleet.models import Fleet

# What stands before and after the box.
USD_HOUR, SECONDS, HOURS, PODS, ITEMS = (
    ("$", "per hour"), ("", "s"), ("", "h"), ("", "pods"), ("", "items"),
)  # fmt: skip
UNITS: Final[Mapping[str, tuple[str, str]]] = {
    "max_hourly_usd": USD_HOUR,
    "daily_budget_usd": ("$", "per day (UTC)"),
    "total_budget_usd": ("$", "in all"),
    "budget_usd": ("$", "in all"),
    "max_instances": PODS,
    "min_instances": PODS,
    "spawn_per_tick": PODS,
    "target_depth_per_pod": ITEMS,
    "batch_size": ITEMS,
    "longest_results": ("", "entries"),
    "max_deliveries": ("", "tries"),
    **dict.fromkeys(("min_busy_percent", "tolerated_failure_percent"), ("", "%")),
    "disk_gb": ("", "GB"),
    "gpu_count": ("", "GPUs"),
    **dict.fromkeys(("max_stopped_hours", "max_pod_hours", "alert_after_hours"), HOURS),
    **dict.fromkeys((f.name for f in Fleet._meta.fields if f.name.endswith("_seconds")), SECONDS),
}
BASIC: Final[Sequence[tuple[str | None, Any]]] = (
    (None, {"fields": ("name", "mode", "seen_version")}),
    ("What to run", {"fields": (("image", "handler"),)}),
    (
        "Where items wait",
        {"fields": (("backlog", "backlog_url"), ("stream", "group"), "redis_route")},
    ),
    (
        "Rent from",
        {
            "fields": (
                "accounts",
                ("offer_gpu_types", "offer_min_vram_gb", "offer_max_hourly_usd"),
            )
        },
    ),
    (
        "How much",
        {
            "fields": (
                ("goal", "budget_usd"),
                "drain_by",
                "max_instances",
                ("max_hourly_usd", "no_hourly_limit"),
                ("daily_budget_usd", "no_daily_limit"),
            )
        },
    ),
)
TIME_LIMITS: Final = "Time limits"
ADVANCED: Final[Sequence[tuple[str, Sequence[Any]]]] = (
    (
        "Scaling",
        (
            ("target_depth_per_pod", "min_instances", "spawn_per_tick"),
            ("idle_action", "max_stopped_hours"),
            ("min_busy_percent", "total_budget_usd"),
            ("max_pod_hours", "alert_after_hours"),
        ),
    ),
    (
        "Items and results",
        (
            ("batch_size", "target_batch_seconds", "max_deliveries"),
            ("results", "longest_results"),
            ("reply_to", "tolerated_failure_percent"),
        ),
    ),
    (
        "Machine",
        (
            ("gpu_count", "disk_gb", "offer_interruptible"),
            "offer_regions",
            ("offer_min_reliability", "offer_min_remaining"),
            "start_command",
            "handler_env",
        ),
    ),
    ("Costs", ("tags",)),
    (
        TIME_LIMITS,
        (
            ("boot_seconds", "heartbeat_seconds", "silent_seconds"),
            ("idle_seconds", "drain_seconds", "orphan_seconds"),
            ("handler_timeout_seconds", "claim_idle_seconds", "notice_seconds"),
            "next_tick",
        ),
    ),
)
FIELDSETS: Final[tuple[tuple[str | None, Any], ...]] = (
    *BASIC,
    *((title, {"fields": fields, "classes": ("collapse",)}) for title, fields in ADVANCED),
)


def give_units(form: forms.BaseForm) -> None:
    """Put the unit of each number into its box."""
    for name in UNITS.keys() & form.fields.keys():
        field = form.fields[name]
        field.widget = with_unit(*UNITS[name])
        field.widget.is_required = field.required


class UnitBox(UnfoldAdminTextInputWidget):  # type: ignore[misc]
    """A box for a number, with its unit before or after it."""

    template_name = "fleet/unit_box.html"

    def __init__(self, before: str, after: str) -> None:
        super().__init__(attrs={"inputmode": "decimal", "autocomplete": "off"})
        self._unit = {"before": before, "after": after}

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """What the template shows."""
        return {**super().get_context(name, value, attrs), "unit": self._unit}


def with_unit(before: str, after: str) -> forms.Widget:
    """A box for a number, with its unit."""
    widget: forms.Widget = UnitBox(before, after)
    return widget


def marked(title: str, fields: Sequence[Any], form: forms.BaseForm, fleet: Fleet) -> str:
    """The title of a closed section, with how many of its fields are not at their default."""
    changed = sum(_is_changed(name, form, fleet) for name in _flat(fields))
    return f"{title}: {f'{changed} changed' if changed else 'all defaults'}"


def _flat(fields: Sequence[Any]) -> Iterator[str]:
    for name in fields:
        if isinstance(name, list | tuple):
            yield from _flat(name)
        else:  # the name of a field, or what shows it masked to a viewer
            yield name if isinstance(name, str) else name.__name__.removeprefix("masked_")


def _is_changed(name: str, form: forms.BaseForm, fleet: Fleet) -> bool:
    """Whether a field, as the form shows it, differs from its default."""
    columns = {f.name: f for f in Fleet._meta.concrete_fields}
    default = columns[name].get_default() if name in columns else None
    if name in form.fields:
        return form.fields[name].has_changed(default, form[name].value())
    return name in columns and bool(getattr(fleet, name) != default)

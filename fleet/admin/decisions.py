"""Decisions in the admin: the facts, the wish, and the rules that changed it."""

import json
from typing import Final

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.html import format_html
from unfold.decorators import display

from fleet.models import Tick
from pods.admin.base import ReadOnly

LONGEST_SNAPSHOT: Final = 20_000


@admin.register(Tick)
class TickAdmin(ReadOnly):
    """Every decision: the facts, the wish, and the rules that changed it."""

    list_display = ("at", "fleet", "depth", "active", "desired", "target", "binding", "sentence")
    list_filter = ("fleet", "binding")
    search_fields = ("sentence",)
    ordering = ("-at",)
    list_select_related = ("fleet",)
    show_full_result_count = False
    readonly_fields = ("shown_steps", "shown_snapshot")
    fieldsets = (
        (None, {"fields": ("sentence", ("at", "fleet"), "shown_steps")}),
        (
            "What the tick saw",
            {
                "fields": (
                    ("depth", "pending"),
                    ("active", "ready"),
                    ("items_per_second", "oldest_seconds"),
                    ("hourly_usd", "spent_today_usd"),
                    ("busy_percent", "bottleneck"),
                )
            },
        ),
        (
            "What the tick did",
            {
                "fields": (
                    ("desired", "target"),
                    ("spawned", "retired"),
                    ("binding", "milliseconds"),
                )
            },
        ),
        ("Snapshot", {"classes": ("collapse",), "fields": ("shown_snapshot",)}),
    )

    @display(description="steps")
    def shown_steps(self, tick: Tick) -> str:
        """A table with what each rule did."""
        return render_to_string(
            "fleet/steps.html",
            {"steps": tick.steps, "binding": tick.binding, "fleet_id": tick.fleet_id},
        )

    @display(description="snapshot")
    def shown_snapshot(self, tick: Tick) -> str:
        """The facts behind the decision, as JSON."""
        text = json.dumps(tick.snapshot, indent=1)[:LONGEST_SNAPSHOT]
        return format_html('<pre class="pf-logs">{}</pre>', text)

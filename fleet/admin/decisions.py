"""Decisions in the admin: what was seen, what was wished, what held it back."""

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
    """Every decision: what was seen, what was wished, what held it back."""

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
            "What was seen",
            {
                "fields": (
                    ("depth", "pending"),
                    ("active", "ready"),
                    ("items_per_second", "oldest_seconds"),
                    ("hourly_usd", "spent_today_usd"),
                )
            },
        ),
        (
            "What came of it",
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
        """Each rule's part, a row each."""
        return render_to_string("fleet/steps.html", {"steps": tick.steps, "binding": tick.binding})

    @display(description="snapshot")
    def shown_snapshot(self, tick: Tick) -> str:
        """What the decision was made from."""
        text = json.dumps(tick.snapshot, indent=1)[:LONGEST_SNAPSHOT]
        return format_html('<pre class="pf-logs">{}</pre>', text)

"""The rows of manual holds, which operators add."""

from typing import ClassVar

from django.db import models
from simple_history.models import HistoricalRecords

from fleet.models.fleets import Fleet
from pods.models.histories import HowChanged, Recorded


class Override(Recorded):
    """A number of pods that an operator set instead of the formula, with an end and a reason."""

    fleet = models.ForeignKey(Fleet, on_delete=models.CASCADE, related_name="overrides")
    pods = models.PositiveIntegerField(
        help_text="Hold the fleet at this number of pods. Guardrails still hold."
    )
    until = models.DateTimeField(help_text="The override ends at this time.")
    by = models.CharField(max_length=150)
    because = models.CharField(max_length=300, help_text="The reason; decisions show it.")
    created_at = models.DateTimeField(auto_now_add=True)
    history = HistoricalRecords(bases=[HowChanged])

    class Meta:
        """The newest override that has not ended holds."""

        verbose_name = "manual hold"
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"hold {self.fleet} at {self.pods} until {self.until:%F %H:%M}"

"""The limits of the whole installation, and the mode of all fleets together."""

from typing import ClassVar

from django.db import models
from simple_history.models import HistoricalRecords

from fleet.decision.values import Mode
from fleet.models.choices import MODES
from fleet.models.fields import usd
from pods.models.histories import HowChanged


class Limits(models.Model):
    """The guardrails of the whole installation: one row, or none until somebody sets one."""

    mode = models.CharField(max_length=10, choices=MODES, default=Mode.RUNNING.value)
    # Written by fleet/stopping.py: what an undo restores, and who set the mode when.
    mode_before = models.CharField(
        max_length=10, choices=MODES, blank=True, default="", db_default="", editable=False
    )
    mode_by = models.CharField(
        max_length=150, blank=True, default="", db_default="", editable=False
    )
    mode_at = models.DateTimeField(null=True, editable=False)
    max_instances = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="The most pods that may bill, over all fleets. Empty: no limit.",
    )
    max_hourly_usd = usd("USD per hour over all fleets. Empty: no limit.")
    daily_budget_usd = usd("USD per day (UTC) over all fleets. Empty: no limit.")
    version = models.PositiveIntegerField(default=0, editable=False)
    history = HistoricalRecords(
        bases=[HowChanged],
        excluded_fields=["version"],
        history_change_reason_field=models.TextField(null=True),
    )

    class Meta:
        """The database allows one row."""

        verbose_name_plural = "limits"
        constraints: ClassVar = [
            models.CheckConstraint(name="limits_one_row", condition=models.Q(pk=1))
        ]

    def __str__(self) -> str:
        return "limits of the installation"

    @property
    def stopped(self) -> bool:
        """Whether everything is stopped."""
        return self.mode == Mode.STOP_ALL.value

    @classmethod
    def get(cls) -> "Limits":
        """What is in force: the row, or one without limits that is not stored. Writes nothing."""
        return cls.objects.filter(pk=1).first() or cls(pk=1)

    @classmethod
    def made(cls) -> "Limits":
        """The stored row, for who is about to change it; the first call inserts it, without limits."""
        row, _ = cls.objects.get_or_create(pk=1)
        return row

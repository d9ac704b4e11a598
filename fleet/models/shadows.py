"""The rows of shadows: a second policy beside the live one, and what it decided."""

from datetime import datetime
from typing import ClassVar

from django.db import models

from fleet.models.fleets import Fleet


class Shadow(models.Model):
    """Other settings of a fleet that are decided at every tick, and never acted on."""

    fleet = models.OneToOneField(Fleet, on_delete=models.CASCADE, related_name="shadow")
    settings = models.JSONField()  # the fields of the fleet that differ, as they were typed
    changes = models.JSONField()  # the fields of a Policy that this changes
    by = models.CharField(max_length=150)
    since = models.DateTimeField()
    until = models.DateTimeField()
    # The last tick that it read; NULL: none yet. Two runs at once are told apart by it.
    reached_at = models.DateTimeField(null=True)
    state = models.BinaryField(default=b"")  # of the models, to carry them on
    because = models.CharField(max_length=300, blank=True, default="")  # why it stands still
    ticks = models.PositiveIntegerField(default=0)
    differed = models.PositiveIntegerField(default=0)  # ticks
    # When it would be done, as a forecast of the model says, and for how much from then on.
    forecast_at = models.DateTimeField(null=True)
    likely_at = models.DateTimeField(null=True)
    sure_at = models.DateTimeField(null=True)
    likely_usd = models.DecimalField(max_digits=14, decimal_places=6, null=True)
    no_forecast_because = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        """A shadow ends after it began."""

        constraints: ClassVar = [
            models.CheckConstraint(
                name="shadow_ends", condition=models.Q(until__gte=models.F("since"))
            )
        ]

    def is_over(self, now: datetime) -> bool:
        """Whether it decides no more."""
        return self.until <= now

    def __str__(self) -> str:
        return f"{self.fleet}: {self.said}"

    @property
    def said(self) -> str:
        """The settings, as on a command line."""
        return ", ".join(f"{name}={_typed(value)}" for name, value in self.settings.items())


def _typed(value: object) -> str:
    return "" if value is None else str(value)


class ShadowTick(models.Model):
    """One tick: the fleet as it was, the model of it, and the model with the other settings.

    Figures have depth, pods, spent_usd, pod_hours and done (items); sums are since the beginning.
    """

    shadow = models.ForeignKey(Shadow, on_delete=models.CASCADE, related_name="moments")
    at = models.DateTimeField()
    live = models.JSONField()
    model = models.JSONField()
    changed = models.JSONField()
    differs = models.BooleanField(default=False)
    # Only where it differs otherwise than at the tick before.
    news = models.BooleanField(default=False)
    live_sentence = models.CharField(max_length=600, blank=True, default="")
    sentence = models.CharField(max_length=600, blank=True, default="")

    class Meta:
        """One row for a tick."""

        verbose_name = "decision of a shadow"
        verbose_name_plural = "decisions of shadows"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["shadow", "at"], name="shadow_tick"),
        ]
        indexes: ClassVar = [models.Index(fields=["at"], name="shadow_tick_at")]  # retention

    def __str__(self) -> str:
        return f"{self.at:%F %T}: {self.sentence}"

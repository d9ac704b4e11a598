"""The row of a sample: one pod works on a part of the backlog, so that a quote knows its speed."""

from datetime import datetime
from typing import ClassVar

from django.db import models

from fleet.models.fleets import Fleet


class SampleRun(models.Model):
    """The last sample of a fleet, with its limits. Ticks keep to them, whatever became of who asked."""

    fleet = models.OneToOneField(Fleet, on_delete=models.CASCADE, related_name="sample_run")
    items = models.PositiveBigIntegerField()  # about so many items are worked on
    by = models.CharField(max_length=150)
    version = models.PositiveIntegerField()  # of the fleet: an edit of it ends the sample
    began_at = models.DateTimeField()
    until = models.DateTimeField()
    # The fleet was paused, so its pods end afterwards.
    ends_pods = models.BooleanField()
    done = models.PositiveBigIntegerField(default=0)  # items, as the last tick saw it
    stopped_at = models.DateTimeField(null=True)
    # When the fleet was as before: with its own settings, and without a pod if it is paused.
    finished_at = models.DateTimeField(null=True)

    class Meta:
        """A sample has an end."""

        constraints: ClassVar = [
            models.CheckConstraint(
                name="sample_run_ends",
                condition=models.Q(until__gt=models.F("began_at"), items__gt=0),
            )
        ]

    def measures(self, now: datetime, version: int) -> bool:
        """Whether its pod may work, with this version of the fleet.

        When its time is over, or the fleet was edited, nobody needs to have noted that.
        """
        there = self.finished_at is None and self.stopped_at is None
        return there and now < self.until and version == self.version

    def __str__(self) -> str:
        return f"{self.fleet}: a sample of {self.items} items"

"""The row of a fleet's last forecast."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import models

# An older one says nothing of the fleet as it is now: no page shows it, and no alert rests on it.
FRESH_FOR: Final = timedelta(minutes=20)


class FleetForecast(models.Model):
    """When a fleet is probably done, and what that costs, as its last forecast said.

    `likely` is the middle of the replays, `sure` holds in nine of ten cases. NULL: not within the
    time of the replays.
    """

    fleet = models.OneToOneField("fleet.Fleet", on_delete=models.CASCADE, related_name="forecast")
    at = models.DateTimeField()
    because = models.CharField(max_length=300, blank=True, default="")  # why there is none
    depth = models.BigIntegerField(default=0)  # items at that time
    drain_by = models.DateTimeField(null=True)  # the deadline for which it was made
    likely_at = models.DateTimeField(null=True)
    sure_at = models.DateTimeField(null=True)
    likely_usd = models.DecimalField(
        max_digits=14, decimal_places=6, default=Decimal(0)
    )  # from then on
    sure_usd = models.DecimalField(max_digits=14, decimal_places=6, default=Decimal(0))
    pods = models.PositiveIntegerField(default=0)  # the most at once
    pod_hours = models.FloatField(default=0.0)
    on_time = models.FloatField(null=True)  # the share of replays that make the deadline
    money_ends = models.FloatField(default=0.0)  # in which a budget ends before the backlog
    left = models.BigIntegerField(default=0)  # items that are left in those that are not done
    # The limit on money that makes it late, a Rule; "": none does.
    held_by = models.CharField(max_length=40, blank=True, default="", db_default="")
    # Whether there is none because no pod had shown its speed.
    lacks_speed = models.BooleanField(default=False, db_default=False)
    days = models.FloatField(default=0.0)  # of recorded market behind it
    replays = models.PositiveIntegerField(default=0)
    milliseconds = models.PositiveIntegerField(default=0)

    def is_fresh(self, now: datetime) -> bool:
        """Whether it still tells of the fleet as it is."""
        return now - self.at <= FRESH_FOR

    def __str__(self) -> str:
        return f"{self.fleet}: forecast of {self.at:%F %T}"

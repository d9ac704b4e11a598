"""Rows of the scale decision: who may decide on a fleet, and what each tick decided."""

from decimal import Decimal
from typing import ClassVar

from django.db import models

from fleet.models.fleets import Fleet


class Lease(models.Model):
    """Who decides on a fleet now. The token only grows: a slow holder finds itself out of date."""

    fleet = models.OneToOneField(Fleet, on_delete=models.CASCADE, related_name="lease")
    holder = models.CharField(max_length=100, blank=True, default="")
    token = models.PositiveBigIntegerField(default=0)
    until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.fleet}: {self.token}"


class Tick(models.Model):
    """One decision of one fleet: what was seen, what was wished, what held it back. Only inserted."""

    fleet = models.ForeignKey(Fleet, on_delete=models.CASCADE, related_name="ticks")
    at = models.DateTimeField()
    token = models.PositiveBigIntegerField()  # of the lease it was decided under
    depth = models.BigIntegerField(null=True)  # NULL: unknown
    pending = models.BigIntegerField(default=0)
    oldest_seconds = models.FloatField(null=True)
    active = models.PositiveIntegerField()
    ready = models.PositiveIntegerField(default=0)
    desired = models.PositiveIntegerField()
    target = models.PositiveIntegerField()
    spawned = models.PositiveIntegerField(default=0)
    retired = models.PositiveIntegerField(default=0)
    items_per_second = models.FloatField(null=True)
    hourly_usd = models.DecimalField(max_digits=12, decimal_places=6, default=Decimal(0))
    spent_today_usd = models.DecimalField(max_digits=14, decimal_places=6, default=Decimal(0))
    binding = models.CharField(max_length=40, blank=True, default="")
    sentence = models.CharField(max_length=600)
    steps = models.JSONField(default=list)
    snapshot = models.JSONField(default=dict)  # can be replayed through decide()
    milliseconds = models.PositiveIntegerField(default=0)

    class Meta:
        """Read newest first, a fleet at a time; a lease's token decides once."""

        verbose_name = "decision"
        indexes: ClassVar = [
            models.Index(fields=["fleet", "-at"], name="tick_fleet_at"),
            models.Index(fields=["at"], name="tick_at"),  # retention
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["fleet", "token"], name="tick_token"),
            models.CheckConstraint(name="tick_money", condition=models.Q(hourly_usd__gte=0)),
        ]

    def __str__(self) -> str:
        return self.sentence

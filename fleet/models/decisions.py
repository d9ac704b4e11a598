"""The rows of decisions: who may decide on a fleet, and what each tick decided."""

from decimal import Decimal
from typing import ClassVar

from django.db import models

from fleet.models.fleets import Fleet
from pods.bottleneck import Bottleneck


class Lease(models.Model):
    """The right to decide on a fleet. The token only grows, so a slow holder sees that it is late."""

    fleet = models.OneToOneField(Fleet, on_delete=models.CASCADE, related_name="lease")
    holder = models.CharField(max_length=100, blank=True, default="")
    token = models.PositiveBigIntegerField(default=0)
    until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.fleet}: {self.token}"


class Tick(models.Model):
    """One decision on one fleet: the facts, the wish and each rule's part. Rows are only inserted."""

    fleet = models.ForeignKey(Fleet, on_delete=models.CASCADE, related_name="ticks")
    at = models.DateTimeField()
    token = models.PositiveBigIntegerField()  # the token of the lease under which it was made
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
    binding = models.CharField("binding rule", max_length=40, blank=True, default="")
    sentence = models.CharField(max_length=600)
    # What the binding rule says; if the backlog is unknown, why.
    held_back = models.CharField(max_length=600, blank=True, default="", db_default="")
    # What fails again and again: how many pods in a row, and why; and whether a ceiling holds back pods.
    failing = models.PositiveIntegerField(default=0, db_default=0)
    trouble = models.CharField(max_length=600, blank=True, default="", db_default="")
    ceiling = models.BooleanField(default=False, db_default=False)
    # Why the fleet's goal may be missed, and what would help; "": nothing is known to endanger it.
    risk = models.CharField(max_length=600, blank=True, default="", db_default="")
    # Whether the last tries of all ready pods failed (NULL: nobody knows), and how, for people.
    all_fail = models.BooleanField(null=True)
    all_fail_because = models.CharField(max_length=600, blank=True, default="", db_default="")
    # The median share of time in which the handlers of ready pods worked, the mean use of their GPUs,
    # and what holds most of these pods back. NULL and "": nobody knows.
    busy_percent = models.FloatField(null=True)
    gpu_percent = models.FloatField(null=True)
    bottleneck = models.CharField(
        max_length=10,
        blank=True,
        default="",
        db_default="",
        choices=[(b.value, b.value) for b in Bottleneck],
    )
    steps = models.JSONField(default=list)
    snapshot = models.JSONField(default=dict)  # decide() can replay it
    policy = models.JSONField(default=dict, db_default={})  # {}: of an older version
    milliseconds = models.PositiveIntegerField(default=0)

    class Meta:
        """The index serves reads of one fleet, newest first. One token makes one decision."""

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

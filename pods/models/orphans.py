"""The rows of machines that bill and belong to no pod."""

from decimal import Decimal
from typing import ClassVar

from django.db import models

from pods.models.accounts import Account
from pods.models.fields import usd_per_hour


class Orphan(models.Model):
    """One of our machines without a row; it bills until it is adopted or destroyed."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="orphans_seen")
    external_id = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    fleet_id = models.BigIntegerField(null=True, blank=True)
    hourly_usd = usd_per_hour(default=Decimal(0))
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, blank=True)  # or when it got a row
    outcome = models.CharField(max_length=200, blank=True, default="")  # for people
    # For code: a value of pods.rules.MachineOutcome; "": nothing became of it yet.
    outcome_kind = models.CharField(max_length=20, default="", db_default="", editable=False)
    # What an operator wants to become of it; "": what its account says. Written by pods/orphans.py.
    wish = models.CharField(
        max_length=10,
        blank=True,
        default="",
        db_default="",
        choices=Account.Orphans.choices,
        editable=False,
    )
    wished_by = models.CharField(
        max_length=60, blank=True, default="", db_default="", editable=False
    )

    class Meta:
        """One row per machine."""

        verbose_name = "unknown machine"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "external_id"], name="orphan_machine")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.external_id})"

"""Rows of measurements: how fleets stood at each tick, and what vendors say of accounts' money."""

from decimal import Decimal
from typing import ClassVar

from django.db import models


class Sample(models.Model):
    """How a fleet stood at one tick, for charts. Only inserted, thinned with age."""

    fleet = models.ForeignKey("fleet.Fleet", on_delete=models.CASCADE, related_name="samples")
    at = models.DateTimeField()
    # 2: the first of its hour, 1: of its five minutes, 0: another. Charts and retention go by it.
    grain = models.PositiveSmallIntegerField(default=0)
    depth = models.BigIntegerField(null=True)  # NULL: unknown
    pods = models.PositiveIntegerField()  # that may bill
    ready = models.PositiveIntegerField(default=0)
    items_per_second = models.FloatField(null=True)
    hourly_usd = models.DecimalField(max_digits=12, decimal_places=6, default=Decimal(0))
    spent_today_usd = models.DecimalField(max_digits=14, decimal_places=6, default=Decimal(0))

    class Meta:
        """Read a fleet, a grain and a stretch of time at once."""

        indexes: ClassVar = [
            models.Index(fields=["fleet", "grain", "at"], name="sample_fleet_grain_at"),
            models.Index(fields=["grain", "at"], name="sample_grain_at"),
        ]

    def __str__(self) -> str:
        return f"{self.fleet} at {self.at:%F %T}"


class Balance(models.Model):
    """What a vendor said of an account's money, and what our ledger said at the same moment."""

    account = models.ForeignKey("pods.Account", on_delete=models.CASCADE, related_name="balances")
    at = models.DateTimeField()
    usd = models.DecimalField(max_digits=14, decimal_places=6)
    booked_micros = models.BigIntegerField()  # of 1 USD, all that the account has cost until then

    class Meta:
        """Read newest first, an account at a time."""

        indexes: ClassVar = [models.Index(fields=["account", "-at"], name="balance_account_at")]

    def __str__(self) -> str:
        return f"{self.account}: ${self.usd} at {self.at:%F %T}"

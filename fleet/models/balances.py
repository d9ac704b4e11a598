"""The rows of measurements: fleets at each tick, and the accounts' balances at the vendors."""

from decimal import Decimal
from typing import ClassVar

from django.db import models

from pods import amounts


class Sample(models.Model):
    """The state of a fleet at one tick, for charts. Rows are only inserted, and thinned with age."""

    fleet = models.ForeignKey("fleet.Fleet", on_delete=models.CASCADE, related_name="samples")
    at = models.DateTimeField()
    # 2: the first of its hour, 1: the first of its five minutes, 0: another one. Charts and
    # retention use it.
    grain = models.PositiveSmallIntegerField(default=0)
    depth = models.BigIntegerField(null=True)  # NULL: unknown
    pods = models.PositiveIntegerField()  # that may bill
    ready = models.PositiveIntegerField(default=0)
    items_per_second = models.FloatField(null=True)
    hourly_usd = models.DecimalField(max_digits=12, decimal_places=6, default=Decimal(0))
    spent_today_usd = models.DecimalField(max_digits=14, decimal_places=6, default=Decimal(0))

    # The median share of time in which the handlers worked, and the mean use of their GPUs.
    busy_percent = models.FloatField(null=True)  # NULL: unknown, as below
    gpu_percent = models.FloatField(null=True)

    class Meta:
        """The index serves reads of one fleet, one grain and one time range."""

        indexes: ClassVar = [
            models.Index(fields=["fleet", "grain", "at"], name="sample_fleet_grain_at"),
            models.Index(fields=["grain", "at"], name="sample_grain_at"),
        ]

    def __str__(self) -> str:
        return f"{self.fleet} at {self.at:%F %T}"


class Balance(models.Model):
    """An account's balance at the vendor, and the sum in our ledger at the same moment."""

    account = models.ForeignKey("pods.Account", on_delete=models.CASCADE, related_name="balances")
    at = models.DateTimeField()
    usd = models.DecimalField(max_digits=14, decimal_places=6)
    booked_micros = models.BigIntegerField()  # millionths of 1 USD: the account's cost until then

    class Meta:
        """The index serves reads of one account, newest first."""

        indexes: ClassVar = [models.Index(fields=["account", "-at"], name="balance_account_at")]

    def __str__(self) -> str:
        return f"{self.account}: {amounts.usd(self.usd)} at {self.at:%F %T}"

"""The rows of the observed market: when which offers stood, and when accounts were asked at all."""

from typing import ClassVar

from django.db import models

from pods.amounts import usd
from pods.models.accounts import Account
from pods.models.fields import usd_per_hour


class SurveySpell(models.Model):
    """A time in which an account's offers were read without a long break.

    Outside of these times nobody knows what could be rented.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="survey_spells")
    since = models.DateTimeField()
    until = models.DateTimeField()  # the last reading so far

    class Meta:
        """The index serves reads of one account, newest first."""

        indexes: ClassVar = [
            models.Index(fields=["account", "-since"], name="surveyspell_account_since"),
            models.Index(fields=["until"], name="surveyspell_until"),  # retention
        ]

    def __str__(self) -> str:
        return f"{self.account}: read from {self.since:%F %T} to {self.until:%F %T}"


class OfferSpell(models.Model):
    """A time in which offers of one type stood without a break, at about one price."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="offer_spells")
    gpu_type = models.CharField(max_length=80, blank=True, default="")
    gpu_count = models.PositiveSmallIntegerField(default=0)
    region = models.CharField(max_length=80, blank=True, default="")
    interruptible = models.BooleanField(default=False)
    hourly_usd = usd_per_hour()  # of the cheapest, when the spell began
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)  # null: it still stood at the account's last reading

    class Meta:
        """At most one open spell of a type."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "gpu_type", "gpu_count", "region", "interruptible"],
                name="offerspell_open",
                condition=models.Q(until__isnull=True),
            ),
            models.CheckConstraint(name="offerspell_money", condition=models.Q(hourly_usd__gte=0)),
        ]
        indexes: ClassVar = [models.Index(fields=["until"], name="offerspell_until")]

    def __str__(self) -> str:
        name = f"{self.gpu_count}× {self.gpu_type}" if self.gpu_type else "no GPU"
        return f"{self.account}: {name} at {usd(self.hourly_usd)}/h from {self.since:%F %T}"

"""The rows of alerts: their causes, their channels and each delivery."""

from datetime import datetime
from typing import ClassVar

from django.db import models
from simple_history.models import HistoricalRecords

from fleet.decision.alert_facts import Cause, Severity
from pods.models.histories import HowChanged, Recorded, SecretsChanged

SEVERITIES = [(s.value, s.value) for s in Severity]
CAUSES = [(c.value, c.value.replace("_", " ")) for c in Cause]


class AlertQuerySet(models.QuerySet["Alert"]):
    """Questions about alerts."""

    def open(self) -> "AlertQuerySet":
        """The alerts whose cause lasts."""
        return self.filter(resolved_at=None)

    def loud(self, now: datetime) -> "AlertQuerySet":
        """The open alerts that nobody has acknowledged or snoozed."""
        return self.open().filter(
            models.Q(snoozed_until=None) | models.Q(snoozed_until__lte=now), acknowledged_at=None
        )


class Alert(models.Model):
    """An alert, from the start of its cause to the end. One can be open for a cause and subject."""

    cause = models.CharField(max_length=30, choices=CAUSES)
    subject = models.CharField(max_length=80)
    fleet = models.ForeignKey(
        "fleet.Fleet", on_delete=models.CASCADE, null=True, related_name="alerts"
    )
    severity = models.CharField(max_length=10, choices=SEVERITIES)
    text = models.CharField(max_length=600)
    round = models.PositiveIntegerField(default=1)  # the rule raises it to announce the alert again
    told = models.BooleanField(default=False)  # deliveries of this round exist
    announcements = models.PositiveIntegerField(default=0)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    acknowledged_by = models.CharField(max_length=150, blank=True, default="")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    snoozed_by = models.CharField(max_length=150, blank=True, default="")
    resolved_at = models.DateTimeField(null=True, blank=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        """The database allows one open alert for a cause and a subject."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["cause", "subject"],
                name="alert_open_once",
                condition=models.Q(resolved_at__isnull=True),
            ),
            models.CheckConstraint(
                name="alert_severity",
                condition=models.Q(severity__in=[s.value for s in Severity]),
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["-first_seen_at"], name="alert_first_seen")]
        permissions: ClassVar = [("acknowledge_alert", "Can acknowledge and snooze alerts")]

    def __str__(self) -> str:
        return self.text

    def is_silent(self, now: datetime) -> bool:
        """Whether somebody acknowledged it, or snoozed it for longer than now."""
        snoozed = self.snoozed_until is not None and self.snoozed_until > now
        return snoozed or self.acknowledged_at is not None


class AlertAnswer(HowChanged):
    """What somebody answered to an alert: history, which is only inserted."""

    class What(models.TextChoices):
        """The answer."""

        ACKNOWLEDGED = "acknowledged"
        SNOOZED = "snoozed"
        TAKEN_BACK = "taken_back"

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="answers")
    at = models.DateTimeField()
    by = models.CharField(max_length=150)
    what = models.CharField(max_length=20, choices=What.choices)
    until = models.DateTimeField(null=True, blank=True)  # of a snooze

    class Meta:
        """The newest first, as pages show them."""

        verbose_name = "answer to an alert"
        verbose_name_plural = "answers to alerts"
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"{self.what} by {self.by}"


class Channel(Recorded):
    """A place to which alerts are sent."""

    secret_columns: ClassVar = ("sealed_url",)

    name = models.CharField(max_length=60, unique=True)
    # Encrypted: the address holds a token or a password. Read and written by fleet/alerts/delivering.py.
    sealed_url = models.TextField(editable=False)
    min_severity = models.CharField(
        max_length=10,
        choices=SEVERITIES,
        default=Severity.WARNING.value,
        help_text="The channel receives alerts of this severity and above.",
    )
    enabled = models.BooleanField(default=True)
    history = HistoricalRecords(bases=[SecretsChanged], excluded_fields=["sealed_url"])

    class Meta:
        """Operators read these names."""

        verbose_name = "alert channel"

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One announcement of one alert on one channel."""

    class State(models.TextChoices):
        """The progress of a delivery."""

        PENDING = "pending"
        SENDING = "sending"  # claimed; until the result is recorded, it may or may not be sent
        SENT = "sent"
        FAILED = "failed"  # not tried again

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    announcement = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    claim = models.CharField(max_length=32, blank=True, default="")
    due_at = models.DateTimeField()  # the time of the next try, or the end of the claim
    sent_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        """There is one delivery for each announcement and channel."""

        verbose_name_plural = "deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["alert", "channel", "announcement"], name="delivery_once"
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["channel", "due_at"],
                name="delivery_due",
                condition=models.Q(state__in=["pending", "sending"]),
            )
        ]

    def __str__(self) -> str:
        return f"{self.alert} → {self.channel}: {self.state}"

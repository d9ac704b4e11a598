"""The rows of pods, of their history and of their costs."""

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.db import models

from pods import price
from pods.amounts import usd
from pods.bottleneck import Bottleneck
from pods.models.accounts import Account
from pods.models.fields import LONGEST_NAME, LONGEST_RULE, usd_per_hour
from pods.rules import FAILED_BY, PodRule
from pods.states import BILLABLE_WORDS, ENDED, IN_TRANSIT, PodState

MICROS = Decimal(1_000_000)
STATES = [s.value for s in PodState]
# The conditions of two partial indexes; queries use them by pods/base/indexed.py.
MAY_BILL = models.Q(state__in=BILLABLE_WORDS)
HAS_FAILED = models.Q(retire_rule__in=FAILED_BY)
# The rules' columns have a `db_default`: during an upgrade, older code inserts rows without them.


class PodQuerySet(models.QuerySet["Pod"]):
    """Queries for pods."""

    def billable(self) -> "PodQuerySet":
        """Pods that may bill, also requested, unknown and terminating ones."""
        return self.exclude(state__in=[s.value for s in ENDED])

    def in_transit(self) -> "PodQuerySet":
        """Pods for which a step is due."""
        return self.filter(state__in=[s.value for s in IN_TRANSIT])


class Pod(models.Model):
    """One rented machine with one agent in it. Only pods/lifecycle.py writes `state`."""

    fleet = models.ForeignKey("fleet.Fleet", on_delete=models.PROTECT, related_name="pods")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="pods")
    provider = models.CharField(max_length=40)
    external_id = models.CharField(max_length=200, null=True, blank=True, default=None)
    client_token = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=LONGEST_NAME, unique=True)
    tag = models.CharField(max_length=60)
    state = models.CharField(max_length=12, choices=[(s.value, s.value) for s in PodState])
    state_since = models.DateTimeField()
    version = models.PositiveIntegerField(default=0)

    # The values that were chosen when it was requested; never read from the fleet afterwards.
    offer_key = models.CharField(max_length=200, blank=True, default="")
    gpu_type = models.CharField(max_length=80, blank=True, default="")
    gpu_count = models.PositiveSmallIntegerField(default=0)
    region = models.CharField(max_length=80, blank=True, default="")
    host = models.CharField(max_length=120, blank=True, default="")
    console_url = models.CharField(max_length=300, blank=True, default="")  # at the provider
    interruptible = models.BooleanField(default=False)
    hourly_usd = usd_per_hour(default=Decimal(0))
    stopped_hourly_usd = usd_per_hour(default=Decimal(0))
    image = models.CharField(max_length=300, blank=True, default="")
    start_command = models.TextField(blank=True, default="", db_default="")
    template_hash = models.CharField(max_length=64, blank=True, default="")
    disk_gb = models.PositiveIntegerField(default=20)
    agent = models.JSONField(default=dict, help_text="AgentSettings without the Redis address.")
    handler_env = models.JSONField(default=dict, blank=True)
    redis_url = models.CharField(
        max_length=300, blank=True, default=""
    )  # "": the installation's own Redis
    boot_seconds = models.PositiveIntegerField(default=900)
    silent_seconds = models.PositiveIntegerField(default=60)
    drain_seconds = models.PositiveIntegerField(default=60)
    stop_when_idle = models.BooleanField(default=False)

    requested_at = models.DateTimeField()
    asked_at = models.DateTimeField(null=True, blank=True)  # when the provider was last asked
    booted_at = models.DateTimeField(null=True, blank=True)
    ready_at = models.DateTimeField(null=True, blank=True)
    destroy_asked_at = models.DateTimeField(null=True, blank=True)  # the last accepted destroy
    absent_since = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    because = models.CharField(max_length=500, blank=True, default="")  # why the last move
    # Why it ends: `retire_rule` for code ("": it is not ending), the texts for people.
    retire_rule = models.CharField(
        max_length=LONGEST_RULE,
        blank=True,
        default="",
        db_default="",
        choices=[(r.value, r.value) for r in PodRule],
    )
    retire_because = models.CharField(max_length=500, blank=True, default="")
    lost_because = models.CharField(max_length=500, blank=True, default="")
    # When it was found to have failed; null: it did not, or an older version ended it.
    failed_at = models.DateTimeField(null=True, blank=True)
    # What its agent said last, and the end of its machine's output. Both are for people.
    last_note = models.CharField(max_length=500, blank=True, default="", db_default="")
    last_output = models.TextField(blank=True, default="", db_default="")
    output_asked_at = models.DateTimeField(null=True, blank=True)  # it is asked for once
    attempts = models.PositiveIntegerField(default=0)  # of the current step

    # Since when sweeps can read the pod's Redis without a break; null: the last sweep could not.
    heard_since = models.DateTimeField(null=True, blank=True)
    # The last heartbeat that a sweep saw.
    beat_at = models.DateTimeField(null=True, blank=True)
    done = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)
    dead = models.PositiveBigIntegerField(default=0)
    # What agents counted that ran on the machine before the one that beats now: each begins at 0.
    done_before = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    failed_before = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    dead_before = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    # For how long it had items in hand (0: an older agent does not say it), as counted with `done`.
    held_ms = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    held_ms_before = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    agent_uptime_ms = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    rate = models.FloatField(default=0.0)
    idle_since = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=500, blank=True, default="")
    # What its agent measured (`MEASURES` of the protocol), and what held it back at the last tick.
    measures = models.JSONField(default=dict, db_default={}, editable=False)
    bottleneck = models.CharField(
        max_length=10,
        default=Bottleneck.UNKNOWN.value,
        db_default=Bottleneck.UNKNOWN.value,
        choices=[(b.value, b.value) for b in Bottleneck],
        editable=False,
    )

    # A verb's claim: no other verb acts on this pod until then. `due_at`: when the next step is due.
    claim = models.PositiveIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)

    objects = PodQuerySet.as_manager()

    class Meta:
        """The database checks the same rules as the code, as far as it can."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["provider", "external_id"],
                name="pod_provider_external_id",
                condition=models.Q(external_id__isnull=False),
            ),
            models.CheckConstraint(name="pod_state", condition=models.Q(state__in=STATES)),
            models.CheckConstraint(
                name="pod_money",
                condition=models.Q(hourly_usd__gte=0) & models.Q(stopped_hourly_usd__gte=0),
            ),
            models.CheckConstraint(name="pod_external_id", condition=~models.Q(external_id="")),
        ]
        indexes: ClassVar = [
            models.Index(fields=["fleet", "state"], name="pod_billable", condition=MAY_BILL),
            models.Index(fields=["account", "state"], name="pod_account_state"),
            models.Index(
                fields=["due_at"], name="pod_due", condition=models.Q(due_at__isnull=False)
            ),
            models.Index(fields=["fleet", "-requested_at"], name="pod_fleet_requested"),
            models.Index(
                fields=["fleet", "-requested_at"], name="pod_failed", condition=HAS_FAILED
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def status(self) -> PodState:
        """`state` as a value of the table."""
        return PodState(self.state)

    def age(self, now: datetime) -> timedelta:
        """How long ago it was requested, or how long it existed if it has ended."""
        return (self.ended_at or now) - self.requested_at


class PodEvent(models.Model):
    """One change of a pod: who, why, when, from, to. Rows are only inserted."""

    pod = models.ForeignKey(Pod, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    by = models.CharField(max_length=60)
    before = models.CharField(max_length=12, blank=True, default="")
    after = models.CharField(max_length=12, blank=True, default="")  # "": a note, not a move
    rule = models.CharField(
        max_length=LONGEST_RULE,
        blank=True,
        default="",  # a step of an earlier decision
        db_default="",
        choices=[(r.value, r.value) for r in PodRule],
    )
    because = models.CharField(max_length=500)

    class Meta:
        """Rows are read by pod, in the order of their insertion."""

        verbose_name, verbose_name_plural = "event", "activity"
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="podevent_states",
                condition=models.Q(before__in=["", *STATES]) & models.Q(after__in=["", *STATES]),
            )
        ]
        indexes: ClassVar = [models.Index(fields=["at"], name="podevent_at")]

    def __str__(self) -> str:
        return f"{self.before or '-'} → {self.after or '-'}: {self.because}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert; refuse to change history."""
        if self.pk is not None:
            raise TypeError("a PodEvent is history: it is inserted, never changed")
        super().save(*args, **kwargs)


class PriceSegment(models.Model):
    """A period in which a pod billed at one price."""

    pod = models.ForeignKey(Pod, on_delete=models.CASCADE, related_name="segments")
    fleet = models.ForeignKey("fleet.Fleet", on_delete=models.PROTECT, related_name="+")
    hourly_usd = usd_per_hour()
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)
    cost_micros = models.PositiveBigIntegerField(default=0)  # of 1 USD; set when it ends

    class Meta:
        """At most one open segment per pod."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["pod"], name="segment_open", condition=models.Q(until__isnull=True)
            ),
            models.CheckConstraint(name="segment_money", condition=models.Q(hourly_usd__gte=0)),
        ]
        indexes: ClassVar = [models.Index(fields=["fleet", "until"], name="segment_fleet_until")]

    def __str__(self) -> str:
        return f"{usd(self.hourly_usd)}/h from {self.since:%F %T}"

    def cost_usd(self, now: datetime, *, since: datetime | None = None) -> Decimal:
        """The cost in USD so far; from `since` on, if that is later than the start."""
        begin = max(self.since, since) if since else self.since
        return price.cost_usd(self.hourly_usd, (self.until or now) - begin)

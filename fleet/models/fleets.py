"""The rows of fleets, which operators edit."""

from datetime import timedelta
from decimal import Decimal
from typing import ClassVar, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from fleet.backlog.probes import build_probe
from fleet.decision.field_words import LABELS
from fleet.decision.values import MOST_PODS, MOST_STARTS, Goal, Mode
from fleet.models.choices import GOALS, HANDLER, MODES, ON_STREAM, Backlog, IdleAction, RedisRoute
from fleet.models.fields import (
    LONGEST_HOURS,
    LONGEST_SECONDS,
    NAME,
    are_numbers,
    count,
    from_to,
    gpus,
    moment,
    percent,
    seconds,
    start_command,
    usd,
)
from fleet.models.tags import TagsField, creator
from pods.agent import protocol
from pods.base import key_names
from pods.base.key_names import RefusedName
from pods.base.typed_json import check_object
from pods.models.histories import HowChanged

MOST_IN_A_BATCH: Final = 1_000_000
# Columns that no operator edits: the history of edits is without them.
NOT_EDITED: Final = (
    "created_by", "proven_template", "try_again_at", "version", "schedule", "dead_letters",
    "budget_from_usd",
)  # fmt: skip


class Fleet(models.Model):
    """One backlog, its scale policy, its guardrails and its pod template."""

    name = models.CharField(
        max_length=40,
        unique=True,
        validators=[NAME],
        error_messages={
            "unique": "another fleet has this name, perhaps an archived one (`fleet list --all`); "
            "choose another name, or free this one with `fleet archive NAME --as NEW-NAME`"
        },
    )
    mode = models.CharField(max_length=10, choices=MODES, default=Mode.RUNNING.value)
    version = models.PositiveIntegerField(default=0, editable=False)

    backlog = models.CharField(max_length=20, choices=Backlog.choices, default=Backlog.REDIS_STREAM)
    backlog_url = models.CharField(
        max_length=300,
        blank=True,
        default="",
        help_text="Address of the Redis or the broker with the backlog. Empty: the Redis of this "
        "installation.",
    )
    redis_route = models.CharField(
        max_length=10,
        choices=RedisRoute.choices,
        default=RedisRoute.INTERNET.value,
        db_default=RedisRoute.INTERNET.value,
        help_text="How rented pods reach Redis. Through a tunnel the address may be private and "
        "without TLS.",
    )
    stream = models.CharField(
        max_length=200,
        default="embedding_tasks",
        help_text="Name of the stream or of the Celery queue.",
    )
    group = models.CharField(
        max_length=200,
        default="embedding_tasks",
        help_text="Consumer group that reads the stream.",
    )
    results = models.CharField(
        max_length=200, blank=True, default="", help_text="Result stream. Empty: <stream>:results."
    )
    reply_to = models.CharField(
        max_length=500,
        blank=True,
        default="",
        help_text="Further streams that an item's reply_to may name, besides <results>:*. "
        "Example: app-a:*,app-b:results.",
    )
    longest_results = models.PositiveIntegerField(
        default=0,
        help_text="About how many entries each result stream keeps, the newest ones. 0: all. Older "
        "results are lost, even if you have not exported them.",
    )

    goal = models.CharField(
        max_length=10,
        choices=GOALS,
        default=Goal.DEMAND.value,
        db_default=Goal.DEMAND.value,
        help_text="What decides how many pods there are.",
    )
    drain_by = moment("With the goal deadline: when all items should be done, with its zone.")
    budget_usd = usd(
        "With the goal budget: USD for the items from now on. It counts from when the goal was set."
    )
    # What the fleet had spent when its goal became `budget`.
    budget_from_usd = models.DecimalField(
        max_digits=14, decimal_places=6, default=Decimal(0), db_default=Decimal(0), editable=False
    )

    target_depth_per_pod = models.PositiveIntegerField(
        default=1000, validators=[MinValueValidator(1)], help_text="Items that justify one pod."
    )
    min_instances = count(0, "The fewest pods.", least=0, most=MOST_PODS)
    max_instances = count(1, "The most pods; at least min_instances.", least=0, most=MOST_PODS)
    spawn_per_tick = count(1, "The most new pods in one tick.", least=1, most=MOST_STARTS)
    idle_seconds = seconds(120, "A pod that has been idle for this time is retired.")
    idle_action = models.CharField(
        max_length=10,
        choices=IdleAction.choices,
        default=IdleAction.DESTROY,
        help_text="What happens to an idle pod.",
    )
    max_stopped_hours = models.FloatField(
        default=24.0,
        validators=from_to(0.01, LONGEST_HOURS),
        help_text="Hours. A pod that is stopped for longer is destroyed, because its disk bills.",
    )
    drain_seconds = seconds(60, "The most time in which a retired pod finishes the items in hand.")
    max_hourly_usd = usd("USD per hour of all pods that may bill. Empty: no limit.")
    daily_budget_usd = usd("USD per day (UTC). Empty: no limit.")
    total_budget_usd = usd("USD over the life of the fleet. Empty: no limit.")
    max_pod_hours = models.FloatField(
        null=True,
        blank=True,
        validators=from_to(0.01, LONGEST_HOURS),
        help_text="Hours. An older pod is retired and replaced. Empty: no limit.",
    )
    alert_after_hours = models.FloatField(
        default=24.0,
        validators=from_to(0.01, LONGEST_HOURS),
        help_text="Hours. An older pod raises the alert pod_old.",
    )

    min_busy_percent = percent(
        50,
        "While the ready pods work for less of their time, because they wait for Redis, no further "
        "pod starts. 0: off.",
    )

    tolerated_failure_percent = percent(
        5,
        "Of a dataset: if more of its rows fail, after the first 1,000, all pods are ended until an "
        "operator lets the fleet run again. 100: off.",
    )
    accounts = models.ManyToManyField(
        "pods.Account",
        related_name="fleets",
        blank=True,
        help_text="Accounts that the fleet rents pods from.",
    )
    image = models.CharField(
        max_length=300,
        blank=True,
        default="",
        help_text="Container image of the pods. Only local accounts need none.",
    )
    start_command = start_command()
    handler = models.CharField(
        max_length=200,
        validators=[HANDLER],
        help_text="package.module:function on the pod. For a Celery queue: the Celery app.",
    )
    handler_env = models.JSONField(
        default=dict,
        blank=True,
        help_text='Environment variables of the handler: {"NAME": "text"}. Vendors show them, so '
        "never put a secret here.",
    )
    gpu_count = gpus()
    disk_gb = models.PositiveIntegerField(
        default=20, validators=[MinValueValidator(1)], help_text="GB of disk of a pod."
    )
    offer_query = models.JSONField(
        default=dict,
        blank=True,
        help_text="Which offers the fleet rents: gpu_types, regions, min_vram_gb and more. "
        "docs/reference/fleets.md has all keys.",
    )
    batch_size = count(64, "The most items in a batch.", least=1, most=MOST_IN_A_BATCH)
    notice_seconds = models.FloatField(
        default=4.0,
        validators=from_to(0.1, LONGEST_SECONDS),
        help_text="Seconds after SIGTERM by which the agent must hand back unfinished items.",
    )
    target_batch_seconds = models.FloatField(
        default=5.0,
        validators=from_to(0.01, LONGEST_SECONDS),
        help_text="Seconds. Batches that take longer are made smaller, if that helps.",
    )
    max_deliveries = models.PositiveIntegerField(
        default=5,
        validators=[MinValueValidator(1)],
        help_text="Tries of an item before it becomes a dead letter.",
    )
    heartbeat_seconds = models.FloatField(
        default=3.0,
        validators=from_to(0.2, LONGEST_SECONDS),
        help_text="Seconds between two heartbeats of a pod.",
    )
    boot_seconds = seconds(
        900, "A pod whose agent has not registered within this time is replaced."
    )
    silent_seconds = seconds(60, "A pod without a sign of life for this time is written off.")
    claim_idle_seconds = seconds(
        60, "Another pod takes over an item that shows no sign of work for this time."
    )
    handler_timeout_seconds = seconds(600, "A batch that takes longer is cut off.")
    orphan_seconds = seconds(900, "A pod that sees no manager for this time ends itself.")
    tags = TagsField()
    created_by = creator()
    # The SHA-256 and the number of its code (fleet/models/code.py); "": its image has the code.
    bundle = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    code_number = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    # The hash of the template that has acknowledged an item. Other templates get one pod first.
    proven_template = models.CharField(max_length=64, blank=True, default="", editable=False)
    # When an operator last asked to try again.
    try_again_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The task by which beat ticks the fleet. Its interval is the one place that holds the period.
    schedule = models.OneToOneField(
        "django_celery_beat.PeriodicTask",
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="fleet",
    )
    # How many dead letters the last tick that could count them saw.
    dead_letters = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    # Nothing is decided on an archived fleet. When it comes back, its silence begins anew.
    restored_at = models.DateTimeField(null=True, editable=False)
    # An archived fleet is hidden and not ticked. It has no pod that may bill, and its history stays.
    archived_at = models.DateTimeField(null=True, editable=False)
    # An operator wants it archived; the tick after the end of its last pod does it.
    archive_when_empty = models.BooleanField(default=False, db_default=False, editable=False)

    history = HistoricalRecords(
        bases=[HowChanged],
        excluded_fields=NOT_EDITED,
        # It names every changed field and the operator, which takes more than 100 characters.
        history_change_reason_field=models.TextField(null=True),
    )

    class Meta:
        """The database repeats what the forms check."""

        constraints: ClassVar = [
            models.CheckConstraint(
                name="fleet_instances",
                condition=models.Q(max_instances__gte=models.F("min_instances")),
            ),
            models.CheckConstraint(
                name="fleet_mode", condition=models.Q(mode__in=[m.value for m in Mode])
            ),
            models.CheckConstraint(
                name="fleet_positive",
                condition=models.Q(target_depth_per_pod__gte=1) & models.Q(spawn_per_tick__gte=1),
            ),
            models.CheckConstraint(
                name="fleet_money",
                condition=(
                    (models.Q(max_hourly_usd__isnull=True) | models.Q(max_hourly_usd__gte=0))
                    & (models.Q(daily_budget_usd__isnull=True) | models.Q(daily_budget_usd__gte=0))
                    & (models.Q(total_budget_usd__isnull=True) | models.Q(total_budget_usd__gte=0))
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Check what needs more than one field."""
        texts = {f.name: getattr(self, f.attname) for f in self._meta.concrete_fields}
        if nul := [name for name, text in texts.items() if isinstance(text, str) and "\0" in text]:
            raise ValidationError(dict.fromkeys(nul, "a text holds the character NUL"))
        # A value from the command line that its own field refused is still a text here.
        if are_numbers(self.min_instances, self.max_instances) and (
            self.min_instances > self.max_instances
        ):
            raise ValidationError(
                {
                    "max_instances": f"{LABELS['max_instances']} is {self.max_instances}, below "
                    f"{LABELS['min_instances']} ({self.min_instances}); raise it, or lower "
                    f"{LABELS['min_instances']}"
                }
            )
        self._check_goal()
        check_object("offer_query", self.offer_query)
        check_object("handler_env", self.handler_env)
        if not all(isinstance(v, str) for v in self.handler_env.values()):
            raise ValidationError({"handler_env": 'give names and texts: {"NAME": "value"}'})
        self._check_backlog()
        try:
            self.check_names()
        except RefusedName as exc:
            raise ValidationError({exc.field: str(exc)}) from exc
        if are_numbers(self.silent_seconds, self.heartbeat_seconds) and (
            self.silent_seconds <= 2 * self.heartbeat_seconds
        ):
            raise ValidationError(
                {
                    "silent_seconds": f"must be above two times {LABELS['heartbeat_seconds']}, else "
                    "one late heartbeat ends the pod"
                }
            )

    def _check_goal(self) -> None:
        """A goal needs what it is measured by. Offers are checked where they are read."""
        needed = {Goal.DEADLINE.value: "drain_by", Goal.BUDGET.value: "budget_usd"}.get(self.goal)
        if needed is not None and getattr(self, needed) is None:
            right = (
                "give a moment with its zone, such as 2026-12-04T18:00+01:00"
                if needed == "drain_by"
                else "give USD above 0, such as 90"
            )
            raise ValidationError(
                {needed: f"{LABELS[needed]} is empty, and the goal {self.goal} needs it; {right}"}
            )

    def _check_backlog(self) -> None:
        if self.backlog not in Backlog.values:
            return  # the field's own check reports it
        try:
            build_probe(
                self.backlog,
                url=self.backlog_url or settings.REDIS_URL,
                name=self.stream,
                group=self.group,
            )
        except ValueError as exc:
            raise ValidationError({"backlog_url": str(exc)}) from exc

    def check_names(self) -> None:
        """Check the names of the streams on which its pods get rights.

        Raises:
            RefusedName: a name is not allowed; the message says why and what would be right.
        """
        if self.on_stream:
            key_names.check_names(stream=self.stream, results=self.results, reply_to=self.reply_to)
        else:
            key_names.check_targets(
                stream=self.stream, results=self.results, reply_to=self.reply_to
            )

    @property
    def on_stream(self) -> bool:
        """Whether its items, or its ranges of rows, are entries of a Redis stream."""
        return self.backlog in ON_STREAM

    @property
    def is_dataset(self) -> bool:
        """Whether its items are rows of files."""
        return self.backlog == Backlog.DATASET

    @property
    def result_stream(self) -> str:
        """The stream on which pods publish results, unless an item names another one."""
        return self.results or protocol.result_stream(self.stream)

    @property
    def dead_stream(self) -> str:
        """The stream on which pods put dead letters."""
        return protocol.dead_stream(self.stream)

    @property
    def tick_period(self) -> timedelta:
        """The time between two ticks, from the schedule of beat."""
        interval = self.schedule.interval if self.schedule else None
        return (
            period_of(None, "") if interval is None else period_of(interval.every, interval.period)
        )


def period_of(every: int | None, unit: str) -> timedelta:
    """The time between two ticks, from an interval of beat; None: the fleet has no schedule."""
    return timedelta(seconds=15) if every is None else timedelta(**{unit: every})

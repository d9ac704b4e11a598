"""Plainer help texts, labels and messages. No column changes."""

from decimal import Decimal

import django.core.validators
from django.db import migrations, models

# The tables of history have the same fields.
FLEET = {
    "alert_after_hours": models.FloatField(
        default=24.0,
        help_text="Hours. An older pod raises the alert pod_old.",
        validators=[django.core.validators.MinValueValidator(0.01)],
    ),
    "backlog_url": models.CharField(
        blank=True,
        default="",
        help_text="Address of the Redis or the broker with the backlog. Empty: the Redis of this installation.",
        max_length=300,
    ),
    "batch_size": models.PositiveIntegerField(
        default=64,
        help_text="The most items in a batch.",
        validators=[django.core.validators.MinValueValidator(1)],
    ),
    "boot_seconds": models.PositiveIntegerField(
        default=900,
        help_text="Seconds. A pod whose agent has not registered within this time is replaced.",
        validators=[
            django.core.validators.MinValueValidator(1),
            django.core.validators.MaxValueValidator(604800),
        ],
    ),
    "claim_idle_seconds": models.PositiveIntegerField(
        default=60,
        help_text="Seconds. Another pod takes over an item that shows no sign of work for this time.",
        validators=[
            django.core.validators.MinValueValidator(1),
            django.core.validators.MaxValueValidator(604800),
        ],
    ),
    "daily_budget_usd": models.DecimalField(
        blank=True,
        decimal_places=4,
        help_text="USD per day (UTC). Empty: no limit.",
        max_digits=12,
        null=True,
        validators=[django.core.validators.MinValueValidator(Decimal("0.0001"))],
    ),
    "disk_gb": models.PositiveIntegerField(
        default=20,
        help_text="GB of disk of a pod.",
        validators=[django.core.validators.MinValueValidator(1)],
    ),
    "drain_seconds": models.PositiveIntegerField(
        default=60,
        help_text="Seconds. The most time in which a retired pod finishes the items in hand.",
        validators=[
            django.core.validators.MinValueValidator(1),
            django.core.validators.MaxValueValidator(604800),
        ],
    ),
    "group": models.CharField(
        default="embedding_tasks",
        help_text="Consumer group that reads the stream.",
        max_length=200,
    ),
    "handler": models.CharField(
        help_text="package.module:function on the pod. For a Celery queue: the Celery app.",
        max_length=200,
        validators=[
            django.core.validators.RegexValidator(
                "^[A-Za-z_][\\w.]*:[A-Za-z_]\\w*\\Z",
                "give package.module:function, as the agent imports it",
            )
        ],
    ),
    "handler_env": models.JSONField(
        blank=True,
        default=dict,
        help_text='Environment variables of the handler: {"NAME": "text"}. Vendors show them, so never put a secret here.',
    ),
    "heartbeat_seconds": models.FloatField(
        default=3.0,
        help_text="Seconds between two heartbeats of a pod.",
        validators=[django.core.validators.MinValueValidator(0.2)],
    ),
    "idle_action": models.CharField(
        choices=[
            ("destroy", "destroy it"),
            ("stop", "stop it and keep its disk, if the provider can stop pods"),
        ],
        default="destroy",
        help_text="What happens to an idle pod.",
        max_length=10,
    ),
    "idle_seconds": models.PositiveIntegerField(
        default=120,
        help_text="Seconds. A pod that has been idle for this time is retired.",
        validators=[
            django.core.validators.MinValueValidator(1),
            django.core.validators.MaxValueValidator(604800),
        ],
    ),
    "image": models.CharField(
        blank=True,
        default="",
        help_text="Container image of the pods. Only local accounts need none.",
        max_length=300,
    ),
    "longest_results": models.PositiveIntegerField(
        default=0,
        help_text="About how many entries each result stream keeps, the newest ones. 0: all. Older results are lost, even if you have not exported them.",
    ),
    "max_deliveries": models.PositiveIntegerField(
        default=5,
        help_text="Tries of an item before it becomes a dead letter.",
        validators=[django.core.validators.MinValueValidator(1)],
    ),
    "max_hourly_usd": models.DecimalField(
        blank=True,
        decimal_places=4,
        help_text="USD per hour of all pods that may bill. Empty: no limit.",
        max_digits=12,
        null=True,
        validators=[django.core.validators.MinValueValidator(Decimal("0.0001"))],
    ),
    "max_instances": models.PositiveIntegerField(
        default=1, help_text="The most pods; at least min_instances."
    ),
    "max_pod_hours": models.FloatField(
        blank=True,
        help_text="Hours. An older pod is retired and replaced. Empty: no limit.",
        null=True,
        validators=[django.core.validators.MinValueValidator(0.01)],
    ),
    "max_stopped_hours": models.FloatField(
        default=24.0,
        help_text="Hours. A pod that is stopped for longer is destroyed, because its disk bills.",
        validators=[django.core.validators.MinValueValidator(0.01)],
    ),
    "min_instances": models.PositiveIntegerField(default=0, help_text="The fewest pods."),
    "notice_seconds": models.FloatField(
        default=4.0,
        help_text="Seconds after SIGTERM by which the agent must hand back unfinished items.",
        validators=[django.core.validators.MinValueValidator(0.1)],
    ),
    "offer_query": models.JSONField(
        blank=True,
        default=dict,
        help_text="Which offers the fleet rents: gpu_types, regions, min_vram_gb and more. docs/reference/fleets.md has all keys.",
    ),
    "orphan_seconds": models.PositiveIntegerField(
        default=900,
        help_text="Seconds. A pod that sees no manager for this time ends itself.",
        validators=[
            django.core.validators.MinValueValidator(1),
            django.core.validators.MaxValueValidator(604800),
        ],
    ),
    "reply_to": models.CharField(
        blank=True,
        default="",
        help_text="Further streams that an item's reply_to may name, besides <results>:*. Example: app-a:*,app-b:results.",
        max_length=500,
    ),
    "results": models.CharField(
        blank=True,
        default="",
        help_text="Result stream. Empty: <stream>:results.",
        max_length=200,
    ),
    "silent_seconds": models.PositiveIntegerField(
        default=60,
        help_text="Seconds. A pod without a sign of life for this time is written off.",
        validators=[
            django.core.validators.MinValueValidator(1),
            django.core.validators.MaxValueValidator(604800),
        ],
    ),
    "spawn_per_tick": models.PositiveIntegerField(
        default=1,
        help_text="The most new pods in one tick.",
        validators=[django.core.validators.MinValueValidator(1)],
    ),
    "stream": models.CharField(
        default="embedding_tasks",
        help_text="Name of the stream or of the Celery queue.",
        max_length=200,
    ),
    "target_batch_seconds": models.FloatField(
        default=5.0,
        help_text="Seconds. Batches that take longer are made smaller, if that helps.",
        validators=[django.core.validators.MinValueValidator(0.01)],
    ),
    "total_budget_usd": models.DecimalField(
        blank=True,
        decimal_places=4,
        help_text="USD over the life of the fleet. Empty: no limit.",
        max_digits=12,
        null=True,
        validators=[django.core.validators.MinValueValidator(Decimal("0.0001"))],
    ),
}
LIMITS = {
    "daily_budget_usd": models.DecimalField(
        blank=True,
        decimal_places=4,
        help_text="USD per day (UTC) over all fleets. Empty: no limit.",
        max_digits=12,
        null=True,
        validators=[django.core.validators.MinValueValidator(Decimal("0.0001"))],
    ),
    "max_hourly_usd": models.DecimalField(
        blank=True,
        decimal_places=4,
        help_text="USD per hour over all fleets. Empty: no limit.",
        max_digits=12,
        null=True,
        validators=[django.core.validators.MinValueValidator(Decimal("0.0001"))],
    ),
    "max_instances": models.PositiveIntegerField(
        blank=True,
        help_text="The most pods that may bill, over all fleets. Empty: no limit.",
        null=True,
    ),
}


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0010_words_of_offer_query"),
        ("pods", "0009_plain_words"),
    ]
    operations = [
        *(
            migrations.AlterField(model_name=model, name=name, field=field.clone())
            for model in ("fleet", "historicalfleet")
            for name, field in FLEET.items()
        ),
        *(
            migrations.AlterField(model_name=model, name=name, field=field.clone())
            for model in ("limits", "historicallimits")
            for name, field in LIMITS.items()
        ),
        migrations.AlterField(
            model_name="channel",
            name="min_severity",
            field=models.CharField(
                choices=[("info", "info"), ("warning", "warning"), ("critical", "critical")],
                default="warning",
                help_text="The channel receives alerts of this severity and above.",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="fleet",
            name="accounts",
            field=models.ManyToManyField(
                blank=True,
                help_text="Accounts that the fleet rents pods from.",
                related_name="fleets",
                to="pods.account",
            ),
        ),
        migrations.AlterField(
            model_name="fleet",
            name="name",
            field=models.CharField(
                max_length=40,
                unique=True,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[a-z0-9][a-z0-9-]{0,39}\\Z",
                        "use 1 to 40 of the characters a-z, 0-9 and -; the first one must not be -",
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="historicalfleet",
            name="name",
            field=models.CharField(
                db_index=True,
                max_length=40,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[a-z0-9][a-z0-9-]{0,39}\\Z",
                        "use 1 to 40 of the characters a-z, 0-9 and -; the first one must not be -",
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="override",
            name="because",
            field=models.CharField(help_text="The reason; decisions show it.", max_length=300),
        ),
        migrations.AlterField(
            model_name="override",
            name="pods",
            field=models.PositiveIntegerField(
                help_text="Hold the fleet at this number of pods. Guardrails still hold."
            ),
        ),
        migrations.AlterField(
            model_name="override",
            name="until",
            field=models.DateTimeField(help_text="The override ends at this time."),
        ),
        migrations.AlterField(
            model_name="tick",
            name="binding",
            field=models.CharField(
                blank=True, default="", max_length=40, verbose_name="binding rule"
            ),
        ),
    ]

"""The schedule of the supply side: made once, then the operators' to edit."""

from typing import Any

from django.db import migrations

# name, task, period in seconds
SCHEDULE = (
    ("sweep", "pods.sweep", 10),
    ("nudge", "pods.nudge", 5),
    ("reconcile", "pods.reconcile", 30),
    ("survey", "pods.survey", 60),
)


def make_schedule(apps: Any, _editor: Any) -> None:
    """Add what is missing; what is there stays as the operators left it."""
    interval_model = apps.get_model("django_celery_beat", "IntervalSchedule")
    task_model = apps.get_model("django_celery_beat", "PeriodicTask")
    for name, task, seconds in SCHEDULE:
        interval, _ = interval_model.objects.get_or_create(every=seconds, period="seconds")
        task_model.objects.get_or_create(
            name=name,
            defaults={"task": task, "interval": interval, "expire_seconds": seconds},
        )


class Migration(migrations.Migration):
    """Data only."""

    dependencies = [
        ("pods", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(make_schedule, migrations.RunPython.noop)]

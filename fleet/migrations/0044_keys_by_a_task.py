from typing import Any

from django.db import migrations, models


def make_schedule(apps: Any, _editor: Any) -> None:
    """Renew short-lived keys each minute. The operators may change the period."""
    interval_model = apps.get_model("django_celery_beat", "IntervalSchedule")
    task_model = apps.get_model("django_celery_beat", "PeriodicTask")
    interval, _ = interval_model.objects.get_or_create(every=60, period="seconds")
    task_model.objects.get_or_create(
        name="issue keys",
        defaults={"task": "fleet.issue_keys", "interval": interval, "expire_seconds": 60},
    )


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0043_roles_of_histories"),
    ]

    operations = [
        migrations.AddField(
            model_name="issuedkeys",
            name="asked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="issuedkeys",
            name="asked_wish",
            field=models.CharField(blank=True, db_default="", default="", max_length=32),
        ),
        migrations.RunPython(make_schedule, migrations.RunPython.noop),
    ]

"""The schedule of alerts and retention, and the operators' roles: made once, then theirs to edit."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

from fleet.roles import APPS, make_groups

# name, task, period in seconds
SCHEDULE = (
    ("alert", "fleet.alert", 15),
    ("prune", "fleet.prune", 3600),
    ("read balances", "fleet.read_balances", 900),
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


def make_roles(apps: Any, editor: Any) -> None:
    """The groups. Django makes permissions after all migrations, so they are made here first."""
    for label in APPS:
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, verbosity=0, using=editor.connection.alias)
        config.models_module = None
    make_groups(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"))


class Migration(migrations.Migration):
    """Data only."""

    dependencies = [
        ("fleet", "0003_alerts"),
        ("pods", "0002_schedule"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [
        migrations.RunPython(make_schedule, migrations.RunPython.noop),
        migrations.RunPython(make_roles, migrations.RunPython.noop),
    ]

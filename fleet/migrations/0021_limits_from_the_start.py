"""The row of the limits is there from the start: reading the limits writes nothing."""

from typing import Any

from django.db import migrations

from pods.base.clock import utcnow


def make(apps: Any, _schema: Any) -> None:
    """Insert the row, without limits, if it is missing; with its first version, as its save would."""
    row, made = apps.get_model("fleet", "Limits").objects.get_or_create(pk=1)
    if made:
        apps.get_model("fleet", "HistoricalLimits").objects.create(
            id=row.pk, mode=row.mode, history_date=utcnow(), history_type="+"
        )


class Migration(migrations.Migration):
    dependencies = [("fleet", "0020_names_for_operators")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]

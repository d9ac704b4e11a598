"""The row of the limits is there from the start: reading the limits writes nothing."""

from typing import Any

from django.db import migrations


def make(apps: Any, _schema: Any) -> None:
    """Insert the row, without limits, if it is missing."""
    apps.get_model("fleet", "Limits").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("fleet", "0020_names_for_operators")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]

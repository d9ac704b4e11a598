"""Operators may make fleets: the groups get the permissions of fleet/roles.py again."""

from typing import Any

from django.db import migrations

from fleet.roles import make_groups


def give(apps: Any, _editor: Any) -> None:
    """Add what is missing; who is in a group stays."""
    make_groups(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"))


class Migration(migrations.Migration):
    """Data only."""

    dependencies = [("fleet", "0004_operating")]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]

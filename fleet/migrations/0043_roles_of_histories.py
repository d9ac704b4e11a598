"""The roles get the permissions on the histories that 0042 made."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

from fleet.roles import APPS, make_groups


def give(apps: Any, editor: Any) -> None:
    """Add what is missing. Django makes permissions after all migrations, so they are made here first."""
    for label in APPS:
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, verbosity=0, using=editor.connection.alias)
        config.models_module = None
    make_groups(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"))


class Migration(migrations.Migration):
    """Data only."""

    dependencies = [("fleet", "0042_audited_rows"), ("pods", "0027_audited_rows")]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]

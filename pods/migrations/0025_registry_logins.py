"""Logins of accounts at the registries of private images, and the start command of a pod."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pods", "0024_observed_market"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="registry_host",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Host of the registry of private images: ghcr.io, docker.io. Empty: no login.",
                max_length=253,
            ),
        ),
        migrations.AddField(
            model_name="account",
            name="registry_user",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The registry's name of the user.",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="account",
            name="sealed_registry_password",
            field=models.TextField(blank=True, db_default="", default="", editable=False),
        ),
        migrations.AddField(
            model_name="pod",
            name="start_command",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
    ]

"""How many GPUs a pod of a fleet has, and what its image runs."""

import django.core.validators
from django.db import migrations, models

import fleet.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0037_roles_of_newer_rows"),
    ]

    operations = [
        migrations.AddField(
            model_name="fleet",
            name="gpu_count",
            field=models.PositiveSmallIntegerField(
                db_default=1,
                default=1,
                help_text="GPUs of one pod. Its price is for all of them. 1: what the account gives each pod, which is none on this machine.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(8),
                ],
            ),
        ),
        migrations.AddField(
            model_name="fleet",
            name="start_command",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Words that the image's entrypoint gets instead of the image's own command, split as a shell does. They must start the agent. Vendors show them, so never put a secret here. Empty: the image's own.",
                max_length=4000,
                validators=[fleet.models.fields.words_of_a_command],
            ),
        ),
        migrations.AddField(
            model_name="historicalfleet",
            name="gpu_count",
            field=models.PositiveSmallIntegerField(
                db_default=1,
                default=1,
                help_text="GPUs of one pod. Its price is for all of them. 1: what the account gives each pod, which is none on this machine.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(8),
                ],
            ),
        ),
        migrations.AddField(
            model_name="historicalfleet",
            name="start_command",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Words that the image's entrypoint gets instead of the image's own command, split as a shell does. They must start the agent. Vendors show them, so never put a secret here. Empty: the image's own.",
                max_length=4000,
                validators=[fleet.models.fields.words_of_a_command],
            ),
        ),
    ]

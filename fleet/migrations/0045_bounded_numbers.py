import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0044_keys_by_a_task"),
    ]

    operations = [
        migrations.AlterField(
            model_name="fleet",
            name="batch_size",
            field=models.PositiveIntegerField(
                default=64,
                help_text="The most items in a batch.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000000),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="fleet",
            name="max_instances",
            field=models.PositiveIntegerField(
                default=1,
                help_text="The most pods; at least min_instances.",
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(10000),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="fleet",
            name="min_instances",
            field=models.PositiveIntegerField(
                default=0,
                help_text="The fewest pods.",
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(10000),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="fleet",
            name="spawn_per_tick",
            field=models.PositiveIntegerField(
                default=1,
                help_text="The most new pods in one tick.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="historicalfleet",
            name="batch_size",
            field=models.PositiveIntegerField(
                default=64,
                help_text="The most items in a batch.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000000),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="historicalfleet",
            name="max_instances",
            field=models.PositiveIntegerField(
                default=1,
                help_text="The most pods; at least min_instances.",
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(10000),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="historicalfleet",
            name="min_instances",
            field=models.PositiveIntegerField(
                default=0,
                help_text="The fewest pods.",
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(10000),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="historicalfleet",
            name="spawn_per_tick",
            field=models.PositiveIntegerField(
                default=1,
                help_text="The most new pods in one tick.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000),
                ],
            ),
        ),
    ]

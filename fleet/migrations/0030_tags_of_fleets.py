"""Tags of fleets, and who made each: of those that are there, what their history says."""

from typing import Any

from django.db import migrations, models

import fleet.models.tags

CREATED = "created by "


def fill(apps: Any, editor: Any) -> None:
    """The first row of a fleet's history names its maker."""
    made = apps.get_model("fleet", "HistoricalFleet").objects.filter(
        history_type="+", history_change_reason__startswith=CREATED
    )
    fleets = apps.get_model("fleet", "Fleet").objects
    for pk, reason in made.values_list("id", "history_change_reason").iterator():
        who = reason.removeprefix(CREATED).removesuffix(" (API)")[:150]
        fleets.filter(pk=pk).update(created_by=who)


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0029_batches"),
    ]

    operations = [
        migrations.AddField(
            model_name="fleet",
            name="created_by",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=150
            ),
        ),
        migrations.AddField(
            model_name="fleet",
            name="tags",
            field=fleet.models.tags.TagsField(
                blank=True,
                db_default={},
                default=dict,
                help_text="Tags by which costs are grouped: team=search, one a line or separated by commas. At most 20.",
            ),
        ),
        migrations.AddField(
            model_name="historicalfleet",
            name="tags",
            field=fleet.models.tags.TagsField(
                blank=True,
                db_default={},
                default=dict,
                help_text="Tags by which costs are grouped: team=search, one a line or separated by commas. At most 20.",
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]

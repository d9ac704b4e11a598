"""For how long a pod had items in hand: the time that its speed is measured by."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pods", "0027_audited_rows"),
    ]

    operations = [
        migrations.AddField(
            model_name="pod",
            name="held_ms",
            field=models.PositiveBigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="pod",
            name="held_ms_before",
            field=models.PositiveBigIntegerField(db_default=0, default=0, editable=False),
        ),
    ]

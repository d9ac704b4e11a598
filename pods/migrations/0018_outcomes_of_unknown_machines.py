"""What became of an unknown machine, as a value; filled from the texts that older versions wrote."""

from typing import Any

from django.db import migrations, models
from django.db.models import Case, Q, Value, When

WAITS = Q(gone_at=None)
# The first that fits. An older version took any text beside the wish to adopt for a failure.
KINDS = (
    (Q(outcome="adopted"), "adopted"),
    (Q(outcome="has a row now, will be destroyed"), "ending"),
    (~WAITS & ~Q(outcome=""), "gone"),
    (WAITS & Q(wish="adopt") & ~Q(outcome=""), "not_adopted"),
    (WAITS & Q(outcome__startswith="destroy: "), "destroy_failed"),
    (WAITS & Q(outcome="the vendor was asked to destroy it"), "destroy_asked"),
)


def fill(apps: Any, _schema: Any) -> None:
    """One statement: an installation may have many of them."""
    whens = [When(those, then=Value(kind)) for those, kind in KINDS]
    apps.get_model("pods", "Orphan").objects.update(outcome_kind=Case(*whens, default=Value("")))


class Migration(migrations.Migration):
    dependencies = [("pods", "0017_wishes_for_unknown_machines")]
    operations = [
        migrations.AddField(
            model_name="orphan",
            name="outcome_kind",
            field=models.CharField(db_default="", default="", editable=False, max_length=20),
        ),
        # Backwards there is nothing to do: the texts are still there.
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]

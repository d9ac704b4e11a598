"""Restores a database to its state after the migrations; tests commit for real on both kinds."""

from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.db import connection
from django.db.models import Model

from tests.support import migrated_rows

OURS: Final = ("pods", "fleet")


@dataclass(slots=True)
class CleanDatabase:
    """Empties our tables; the schedules that the migrations made stay."""

    schedule: frozenset[Any] = frozenset()

    def __post_init__(self) -> None:
        migrated_rows.make()  # other tests may have emptied every table
        self.schedule = frozenset(_schedule().values_list("pk", flat=True))

    def restore(self) -> None:
        """Empty the tables; keys begin at 1 again, so that one seed gives one history."""
        tables = [m._meta.db_table for m in _models()]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                quoted = ", ".join(connection.ops.quote_name(t) for t in tables)
                cursor.execute(f"TRUNCATE {quoted} RESTART IDENTITY CASCADE")
            else:
                with connection.constraint_checks_disabled():
                    for table in tables:
                        cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")
                marks = ", ".join("%s" for _ in tables)
                cursor.execute(f"DELETE FROM sqlite_sequence WHERE name IN ({marks})", tables)
        _schedule().exclude(pk__in=self.schedule).delete()


def _models() -> list[type[Model]]:
    return [
        model
        for label in OURS
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
        if not model._meta.proxy
    ]


def _schedule() -> Any:
    return apps.get_model("django_celery_beat", "PeriodicTask").objects.all()

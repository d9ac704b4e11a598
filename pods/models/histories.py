"""What the histories of rows have in common: who changed a row, by what, and which secrets of it."""

from typing import Any, ClassVar

from django.db import models, transaction
from django.dispatch import receiver
from simple_history.signals import pre_create_historical_record

from pods.base.acting import by_now, how_now, token_now


class HowChanged(models.Model):
    """Columns of a history: who changed a row, and by what; "": an older version did not write it."""

    changed_by = models.CharField(max_length=150, default=by_now, db_default="", editable=False)
    changed_how = models.CharField(max_length=10, default=how_now, db_default="", editable=False)
    # The beginning of the API token, as pages show it; "": none.
    changed_token = models.CharField(
        max_length=16, default=token_now, db_default="", editable=False
    )

    class Meta:
        """Not a table of its own."""

        abstract = True


class SecretsChanged(HowChanged):
    """Columns of a history of a row with secrets. They are not in it: it says which ones changed."""

    secrets_changed = models.CharField(max_length=200, default="", db_default="", editable=False)

    class Meta:
        """Not a table of its own."""

        abstract = True


class Recorded(models.Model):
    """A row with a history. `save` writes the row and its history in one transaction.

    Django deletes in a transaction anyway. `QuerySet.update` writes no history: it is for what the
    manager notes of a row, not for what people change.
    """

    # Columns that are encrypted: the history says that they changed, and keeps no old value.
    secret_columns: ClassVar[tuple[str, ...]] = ()

    class Meta:
        """Not a table of its own."""

        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row, with its history."""
        with transaction.atomic():
            begin(self)
            self._changed_secrets = self._differing(kwargs.get("update_fields"))
            super().save(*args, **kwargs)

    def _differing(self, written: Any) -> list[str]:
        names = [n for n in self.secret_columns if written is None or n in written]
        if not names:
            return []
        stored = type(self)._default_manager.filter(pk=self.pk).values(*names).first()
        return [n for n in names if stored and stored[n] != getattr(self, n)]


def begin(row: Recorded) -> None:
    """Write the stored row as the first version of its history, if it has none.

    An older version of Podfleet may have made it. Without a version before, a change has no `from`.
    """
    model: Any = type(row)
    if model.history.filter(id=row.pk).exists():
        return
    if (stored := model.objects.filter(pk=row.pk).first()) is not None:
        note(stored, "")


def note(row: Any, reason: str) -> None:
    """Write a line into the history of a row of which no field changes, or one changed by `update`.

    Call it in the transaction of what it tells.
    """
    type(row).history.bulk_history_create([row], update=True, default_change_reason=reason)


@receiver(pre_create_historical_record, dispatch_uid="pods.models.histories")
def _name_secrets(instance: Any, history_instance: Any, **_: Any) -> None:
    if history_instance.history_type == "~":
        history_instance.secrets_changed = ",".join(getattr(instance, "_changed_secrets", ()))

"""The rows of secrets: what a fleet's handler and its stores need, encrypted."""

from typing import ClassVar
from uuid import uuid4

from django.db import models


class Secret(models.Model):
    """One environment variable of a fleet's handlers. Its value is never shown."""

    fleet = models.ForeignKey("fleet.Fleet", on_delete=models.CASCADE, related_name="secrets")
    name = models.CharField(max_length=100)
    # Encrypted (pods/base/sealing.py).
    sealed_value = models.TextField(editable=False)
    size = models.PositiveIntegerField()  # bytes of the value
    # Another one after each change, so that pods see the change without a look at the value.
    revision = models.UUIDField(default=uuid4, editable=False)
    set_at = models.DateTimeField()
    set_by = models.CharField(max_length=150)

    class Meta:
        """A name is used once in a fleet. Who may edit the fleet may edit its secrets."""

        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["fleet", "name"], name="secret_name")
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.fleet}"

"""The rows of secrets: what a fleet's handler and its stores need, encrypted."""

from typing import ClassVar
from uuid import UUID, uuid4

from django.db import models

UNISSUED = UUID(int=0)


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


class IssuedKeys(models.Model):
    """The short-lived keys of a store that a fleet's pods have. A fleet with a role has this row."""

    fleet = models.OneToOneField(
        "fleet.Fleet", on_delete=models.CASCADE, related_name="issued_keys"
    )
    # Encrypted JSON: the variables and their values. Empty: none were issued yet.
    sealed_value = models.TextField(editable=False, blank=True, default="")
    revision = models.UUIDField(default=UNISSUED, editable=False)
    wish = models.CharField(max_length=32, blank=True, default="")  # a digest of what was asked for
    issued_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    # Who asks now: since when, and for what. Another run asks for the same only after a while.
    asked_at = models.DateTimeField(null=True)
    asked_wish = models.CharField(max_length=32, blank=True, default="", db_default="")
    # Why the last try failed, when, for what, and since when all tries fail.
    error = models.CharField(max_length=500, blank=True, default="")
    failed_at = models.DateTimeField(null=True)
    failed_wish = models.CharField(max_length=32, blank=True, default="")
    failing_since = models.DateTimeField(null=True)

    class Meta:
        """Nobody edits it: the manager writes it."""

        default_permissions = ()

    def __str__(self) -> str:
        return f"issued keys of {self.fleet}"

"""The rows of a fleet's code: each version that an operator gave it."""

from typing import ClassVar

from django.db import models


class Code(models.Model):
    """A script or a folder, packed. Versions are numbered from 1; none is ever changed."""

    fleet = models.ForeignKey("fleet.Fleet", on_delete=models.CASCADE, related_name="codes")
    number = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)  # SHA-256 of the archive
    archive = models.BinaryField(editable=False)
    size = models.PositiveIntegerField()  # bytes of the archive
    source = models.CharField(max_length=200)  # the name of the script or the folder
    handler = models.CharField(max_length=200)
    requirements = models.JSONField(default=list)
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=150)

    class Meta:
        """A fleet has a number once. Who may edit the fleet may give it code."""

        default_permissions = ()
        ordering: ClassVar = ["fleet", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["fleet", "number"], name="code_number")
        ]

    def __str__(self) -> str:
        return f"version {self.number} of the code of {self.fleet}"

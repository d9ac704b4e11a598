"""The rows of batches: files of requests and of answers in pieces, and how far each batch is."""

import uuid
from typing import ClassVar

from django.db import models

LONGEST_KEY = 60


def a_file_key() -> str:
    """The id of a new file, as clients see it."""
    return f"file-{uuid.uuid4().hex}"


def a_batch_key() -> str:
    """The id of a new batch, as clients see it."""
    return f"batch_{uuid.uuid4().hex}"


class Purpose(models.TextChoices):
    """What a file is for."""

    BATCH = "batch", "batch"
    OUTPUT = "batch_output", "batch_output"


class BatchStatus(models.TextChoices):
    """How far a batch is, in the words of the OpenAI API."""

    VALIDATING = "validating", "validating"
    FAILED = "failed", "failed"  # the input file is wrong; nothing was worked on
    IN_PROGRESS = "in_progress", "in_progress"
    FINALIZING = "finalizing", "finalizing"  # every request has its outcome
    COMPLETED = "completed", "completed"
    EXPIRED = "expired", "expired"
    CANCELLING = "cancelling", "cancelling"
    CANCELLED = "cancelled", "cancelled"


ENDED = (
    BatchStatus.FAILED, BatchStatus.COMPLETED, BatchStatus.EXPIRED, BatchStatus.CANCELLED,
)  # fmt: skip


MAY_CANCEL = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS)


class BatchFile(models.Model):
    """A file that a client uploaded, or one with the answers to a batch."""

    fleet = models.ForeignKey("fleet.Fleet", on_delete=models.CASCADE, related_name="batch_files")
    key = models.CharField(max_length=LONGEST_KEY, unique=True, default=a_file_key)
    purpose = models.CharField(max_length=20, choices=Purpose.choices)
    name = models.CharField(max_length=255)
    size = models.PositiveBigIntegerField(default=0)  # bytes
    pieces = models.PositiveIntegerField(default=0)
    ready = models.BooleanField(default=False)  # False: it is still written
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()  # then it is deleted, unless a batch still needs it

    class Meta:
        """Lists go by id within a fleet."""

        indexes: ClassVar = [
            models.Index(fields=["fleet", "id"], name="batch_file_of_fleet"),
            models.Index(fields=["expires_at"], name="batch_file_expires"),
        ]

    def __str__(self) -> str:
        return f"{self.key} ({self.name})"


class BatchPiece(models.Model):
    """A part of a file's bytes. Every host of the manager reaches it; rows are only inserted."""

    file = models.ForeignKey(BatchFile, on_delete=models.CASCADE, related_name="contents")
    number = models.PositiveIntegerField()  # from 0
    content = models.BinaryField()

    class Meta:
        """A file has one piece of a number."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["file", "number"], name="batch_piece_once")
        ]

    def __str__(self) -> str:
        return f"piece {self.number} of {self.file_id}"


class Batch(models.Model):
    """Requests of a file that a fleet works on, and how many have their outcome."""

    fleet = models.ForeignKey("fleet.Fleet", on_delete=models.CASCADE, related_name="batches")
    key = models.CharField(max_length=LONGEST_KEY, unique=True, default=a_batch_key)
    # SHA-256 of what the client asked for: the same request again is this batch.
    digest = models.CharField(max_length=64)
    endpoint = models.CharField(max_length=40)
    completion_window = models.CharField(max_length=10)
    metadata = models.JSONField(null=True)
    input_key = models.CharField(max_length=LONGEST_KEY)  # also after the file was deleted
    input_file = models.ForeignKey(
        BatchFile, on_delete=models.SET_NULL, null=True, related_name="batches"
    )
    output_file = models.ForeignKey(
        BatchFile, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    error_file = models.ForeignKey(
        BatchFile, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    files_kept_seconds = (
        models.PositiveIntegerField()
    )  # output and error file, from the end of the batch
    status = models.CharField(
        max_length=20, choices=BatchStatus.choices, default=BatchStatus.VALIDATING
    )
    errors = models.JSONField(default=list)  # of a failed one: code, line, message
    total = models.PositiveIntegerField(default=0)
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    # A bit for each request: set when its line is in the output or the error file. It changes in the
    # transaction that adds the line.
    settled = models.BinaryField(default=b"")
    results = models.CharField(max_length=300, blank=True, default="")  # the stream of its results
    results_after = models.CharField(max_length=50, default="0-0")  # the last one that was read
    dead_after = models.CharField(
        max_length=50, default="0-0"
    )  # the last dead letter that was read
    # Requests may still be in the hands of pods after the end; their results are deleted.
    left_behind = models.BooleanField(default=False)
    claim = models.UUIDField(null=True)  # who works on it until `claimed_until`
    claimed_until = models.DateTimeField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    in_progress_at = models.DateTimeField(null=True)
    finalizing_at = models.DateTimeField(null=True)
    cancelling_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        """The same request of a client is one batch, however often it is sent."""

        verbose_name_plural = "batches"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["fleet", "digest"], name="batch_once"),
            models.CheckConstraint(
                name="batch_status", condition=models.Q(status__in=[s.value for s in BatchStatus])
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["fleet", "id"], name="batch_of_fleet"),
            models.Index(fields=["ended_at"], name="batch_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.key} ({self.status})"

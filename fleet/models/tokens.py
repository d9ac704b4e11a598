"""The rows of the API: tokens of users, and requests that may be sent twice."""

import uuid
from datetime import datetime, timedelta
from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from simple_history.models import HistoricalRecords

from fleet.roles import ADMIN, OPERATOR, VIEWER
from pods.models.histories import HowChanged, Recorded

KEYS_KEPT: Final = timedelta(hours=24)  # for so long an Idempotency-Key is known


class Scope(models.TextChoices):
    """What a token may do at most; what its user may not do, it may not do either."""

    READ = "read", "read: see everything, change nothing"
    OPERATE = "operate", "operate: what an operator may do"
    ADMIN = "admin", "admin: what an admin may do"

    @property
    def role(self) -> str:
        """The role whose permissions a token of this scope has at most."""
        return {Scope.READ: VIEWER, Scope.OPERATE: OPERATOR, Scope.ADMIN: ADMIN}[self]


class ApiToken(Recorded):
    """A token of the API. The secret itself is not kept, only its hash."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=60, help_text="What uses it: the name of a service.")
    scope = models.CharField(max_length=10, choices=Scope.choices, default=Scope.READ)
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)  # SHA-256 of the whole token
    created_at = models.DateTimeField(editable=False)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, editable=False)  # exact to a minute
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoked_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    history = HistoricalRecords(bases=[HowChanged], excluded_fields=["digest", "last_used_at"])

    class Meta:
        """A user has one living token of a name."""

        verbose_name = "API token"
        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["owner", "name"],
                name="token_name_of_owner",
                condition=models.Q(revoked_at__isnull=True),
                violation_error_message="this user has a token of this name; revoke that one first",
            ),
            models.CheckConstraint(
                name="token_scope", condition=models.Q(scope__in=[s.value for s in Scope])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.name})"

    def state(self, now: datetime) -> str:
        """In use, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= now else "in use"


class KeyedRequest(models.Model):
    """A request with an Idempotency-Key: what it asked for, and what was answered."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="keyed_requests"
    )
    key = models.CharField(max_length=200)
    digest = models.CharField(max_length=64)  # SHA-256 of method, path and body
    # What it makes is named after this, so that a second try finds what the first one made.
    nonce = models.UUIDField(default=uuid.uuid4, editable=False)
    claim = models.UUIDField(default=uuid.uuid4)  # who works on it until `claimed_until`
    claimed_until = models.DateTimeField()
    made = models.BigIntegerField(null=True)  # the id of the row that it made
    status = models.PositiveSmallIntegerField(null=True)  # NULL: not answered yet
    headers = models.JSONField(default=dict)
    body = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        """A key of a user is one request."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "key"], name="keyed_request_once")
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="keyed_request_at")]

    def __str__(self) -> str:
        return f"{self.owner}: {self.key}"

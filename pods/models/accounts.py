"""The rows of this installation, its accounts, and what they offer."""

import secrets
from typing import ClassVar

from django.db import models
from simple_history.models import HistoricalRecords

from pods import machine_names
from pods.base.typed_json import check_object
from pods.models.fields import LONGEST_RULE, SLUG
from pods.models.histories import Recorded, SecretsChanged
from pods.rules import ErrorKind

LONGEST_PARTIAL = 300
# What the manager notes about an account, and its secrets: not in its history.
NOT_RECORDED = (
    "sealed_secret", "sealed_registry_password", "offers", "surveyed_at", "offers_until",
    "survey_tried_at", "survey_partial", "failures", "open_until", "create_refused_at",
    "last_error", "last_error_kind", "swept_at", "reconciled_at",
)  # fmt: skip


def installation_slug() -> str:
    """Six random hex digits."""
    return secrets.token_hex(3)


class Installation(models.Model):
    """This installation: a single row, which says which machines at a provider are ours."""

    slug = models.CharField(max_length=12, unique=True, default=installation_slug)

    def __str__(self) -> str:
        return self.slug

    @classmethod
    def own(cls) -> "Installation":
        """The single row; create it if it is missing."""
        row, _ = cls.objects.get_or_create(pk=1)
        return row

    @classmethod
    def tag(cls) -> str:
        """The beginning of the names of all our machines."""
        row = cls.own()
        return machine_names.installation_tag(row.slug)


class Account(Recorded):
    """A set of credentials at one provider, with its own limits and circuit breaker."""

    secret_columns: ClassVar = ("sealed_secret", "sealed_registry_password")

    class Orphans(models.TextChoices):
        """What to do with one of our machines that has no row."""

        ADOPT = "adopt", "adopt: give it a row"
        DESTROY = "destroy", "destroy it"

    name = models.CharField(max_length=40, unique=True, validators=[SLUG])
    provider = models.CharField(max_length=40)
    options = models.JSONField(
        default=dict, blank=True, help_text="Options for the provider. Do not put secrets here."
    )
    secret_ref = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="Where the credentials are: env:NAME or file:/path. Never the secret itself.",
    )
    # Encrypted (pods/base/sealing.py), used if there is no reference; never the secret itself.
    sealed_secret = models.TextField(blank=True, default="", editable=False)
    # The login for private images. An older version inserts rows without it during an upgrade.
    registry_host = models.CharField(
        max_length=253,
        blank=True,
        default="",
        db_default="",
        help_text="Host of the registry of private images: ghcr.io, docker.io. Empty: no login.",
    )
    registry_user = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="The registry's name of the user.",
    )
    # Encrypted as `sealed_secret` is.
    sealed_registry_password = models.TextField(
        blank=True, default="", db_default="", editable=False
    )
    enabled = models.BooleanField(default=True)
    orphans = models.CharField(max_length=10, choices=Orphans.choices, default=Orphans.DESTROY)
    # The offers of the last survey: the machines that could be rented at `surveyed_at`.
    offers = models.JSONField(default=list, blank=True, editable=False)
    surveyed_at = models.DateTimeField(null=True, blank=True, editable=False)
    # From then on they are too old to rent by. Null: an older version stored them.
    offers_until = models.DateTimeField(null=True, blank=True, editable=False)
    survey_tried_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Why the last survey may lack offers, for people; "": it read all.
    survey_partial = models.CharField(
        max_length=LONGEST_PARTIAL, blank=True, default="", db_default="", editable=False
    )
    # Circuit breaker: failures in a row, and until when this account is left alone.
    failures = models.PositiveIntegerField(default=0, editable=False)
    open_until = models.DateTimeField(null=True, blank=True, editable=False)
    # When a create was last refused because of the key or the money. Other calls do not show that.
    create_refused_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.CharField(max_length=500, blank=True, default="", editable=False)
    last_error_kind = models.CharField(
        max_length=LONGEST_RULE,
        blank=True,
        default="",
        db_default="",
        editable=False,
        choices=[(k.value, k.value) for k in ErrorKind],
    )
    swept_at = models.DateTimeField(null=True, blank=True, editable=False)
    # When its machines were last compared with the rows; null: never, or not since an upgrade.
    reconciled_at = models.DateTimeField(null=True, blank=True, editable=False)
    history = HistoricalRecords(bases=[SecretsChanged], excluded_fields=NOT_RECORDED)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Check the options, because the form's field lets more through."""
        check_object("options", self.options)


class Survey(models.Model):
    """What an account offers for one wish of its fleets; all that its last reading found."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="surveys")
    digest = models.CharField(max_length=64)  # of the wish
    query = models.JSONField()  # the wish: an OfferQuery
    offers = models.JSONField(default=list)
    surveyed_at = models.DateTimeField(null=True)
    offers_until = models.DateTimeField(null=True)  # from then on the offers are too old
    tried_at = models.DateTimeField(null=True)  # the longest untried one is next
    partial = models.CharField(max_length=LONGEST_PARTIAL, default="")  # why offers may be missing

    class Meta:
        """One row for each wish."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "digest"], name="survey_wish")
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.query}"

"""The rows of people: their second factors, and the history of their access."""

from typing import Any, ClassVar, Final

from django.conf import settings
from django.db import models

LONGEST_SAID: Final = 300


class SecondFactor(models.Model):
    """The app of a user that shows a code every 30 seconds (TOTP, RFC 6238)."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor"
    )
    sealed_key = models.TextField(editable=False)
    # The 30 seconds of the last code that was accepted: neither it nor an older one is again.
    last_step = models.BigIntegerField(default=0)
    made_at = models.DateTimeField()

    class Meta:
        """No role may see or change it: a person does so on an own page."""

        default_permissions = ()

    def __str__(self) -> str:
        return f"second factor of {self.user}"


class RecoveryCode(models.Model):
    """A code that replaces the app once."""

    factor = models.ForeignKey(SecondFactor, on_delete=models.CASCADE, related_name="codes")
    digest = models.CharField(max_length=64, editable=False)  # SHA-256
    used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        """As the second factor."""

        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["factor", "digest"], name="recovery_code_once")
        ]

    def __str__(self) -> str:
        return f"recovery code of {self.factor.user}"


class PersonEvent(models.Model):
    """What happened to the access of a person: history, which is only inserted."""

    class What(models.TextChoices):
        """What happened."""

        SIGNED_IN = "signed_in", "signed in"
        SIGNED_OUT = "signed_out", "signed out"
        WRONG_PASSWORD = "wrong_password", "wrong password"
        WRONG_CODE = "wrong_code", "wrong code"
        LOCKED_OUT = "locked_out", "locked out"
        REFUSED = "refused", "refused"
        ROLE = "role", "role changed"
        LINKED = "linked", "linked to the identity provider"
        FACTOR_MADE = "factor_made", "second factor set up"
        FACTOR_REMOVED = "factor_removed", "second factor removed"
        CODES_MADE = "codes_made", "recovery codes made"
        CODE_USED = "code_used", "recovery code used"
        LINK_MADE = "link_made", "sign-in link made"
        MADE = "made", "created"
        EDITED = "edited", "changed"
        DELETED = "deleted", "deleted"

    at = models.DateTimeField()
    what = models.CharField(max_length=20, choices=What.choices)
    # Names, not keys: the history outlives the user, and a name that was typed may be of nobody.
    name = models.CharField(max_length=150)
    by = models.CharField(max_length=150, blank=True)
    how = models.CharField(max_length=20)
    address = models.CharField(max_length=64, blank=True)
    before = models.CharField(max_length=150, blank=True)
    after = models.CharField(max_length=150, blank=True)
    # The field, of an edit: `email`. Else more words.
    said = models.CharField(max_length=LONGEST_SAID, blank=True)

    class Meta:
        """`podfleet audit` reads it; it has no pages."""

        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["at"], name="person_event_at")]

    def __str__(self) -> str:
        return f"{self.name}: {self.get_what_display()}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert; refuse to change history."""
        if self.pk is not None:
            raise TypeError("a PersonEvent is history: it is inserted, never changed")
        super().save(*args, **kwargs)

"""Fields of fleets that need bounds: money, and numbers of seconds or hours."""

import math
import shlex
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from pods.base.near import TooFar, refuse_far

FLEET_NAME: Final = r"[a-z0-9][a-z0-9-]{0,39}"
NAME = RegexValidator(
    rf"^{FLEET_NAME}\Z",
    "use 1 to 40 of the characters a-z, 0-9 and -; the first one must not be -",
)
LONGEST_SECONDS: Final = 7 * 24 * 3600
LONGEST_HOURS: Final = 10 * 365 * 24
MOST_GPUS: Final = 8  # of one machine at most vendors (RunPod's catalog, Vast.ai's market, 2026-11)
# Vast.ai takes 4,096 characters of arguments, and its documents disagree about it (vastai.md §3).
LONGEST_COMMAND: Final = 4_000


def finite(value: float) -> None:
    """Refuse what no comparison refuses: a number that is not one, or has no end.

    Raises:
        ValidationError: it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise ValidationError(f"{value} is not a number that can be used; give a finite number")


def from_to(least: float, most: float) -> list[Any]:
    """The validators of a number between these two."""
    return [finite, MinValueValidator(least), MaxValueValidator(most)]


def count(
    default: int, help_text: str, *, least: int, most: int
) -> "models.PositiveIntegerField[Any, Any]":
    """A number of things between two bounds."""
    return models.PositiveIntegerField(
        default=default,
        validators=[MinValueValidator(least), MaxValueValidator(most)],
        help_text=help_text,
    )


def usd(help_text: str) -> "models.DecimalField[Any, Any]":
    """An optional limit in USD, above 0."""
    return models.DecimalField(
        max_digits=12,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.0001"))],
        help_text=help_text,
    )


def with_zone(value: datetime) -> None:
    """Refuse a moment that means another one elsewhere, or that is too far away.

    A migration names this function, so it is the one place where a field's moments are checked.

    Raises:
        ValidationError: it has no zone, or is more than ten years away.
    """
    if value.tzinfo is None:
        raise ValidationError(
            f"{value:%F %H:%M} has no zone; give one, such as {value:%FT%H:%M}+01:00, or Z for UTC"
        )
    near(value)


def near(value: datetime) -> None:
    """Refuse a moment that is more than ten years away.

    Raises:
        ValidationError: it is.
    """
    try:
        refuse_far(value)
    except TooFar as exc:
        raise ValidationError(str(exc)) from exc


def moment(help_text: str) -> "models.DateTimeField[Any, Any]":
    """An optional moment, with its zone."""
    return models.DateTimeField(null=True, blank=True, validators=[with_zone], help_text=help_text)


def seconds(default: int, help_text: str) -> "models.PositiveIntegerField[Any, Any]":
    """A duration in seconds, from 1 to a week."""
    return models.PositiveIntegerField(
        default=default,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_SECONDS)],
        help_text=f"Seconds. {help_text}",
    )


def percent(default: int, help_text: str) -> "models.PositiveSmallIntegerField[Any, Any]":
    """A whole percentage. An older version inserts rows without it during an upgrade."""
    return models.PositiveSmallIntegerField(
        default=default,
        db_default=default,
        validators=[MaxValueValidator(100)],
        help_text=f"Percent. {help_text}",
    )


def gpus() -> "models.PositiveSmallIntegerField[Any, Any]":
    """How many GPUs a pod has. An older version inserts rows without it during an upgrade."""
    return models.PositiveSmallIntegerField(
        default=1,
        db_default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_GPUS)],
        help_text="GPUs of one pod. Its price is for all of them. 1: what the account gives each pod, "
        "which is none on this machine.",
    )


def words_of_a_command(value: str) -> None:
    """Refuse a start command that cannot be split into words.

    Raises:
        ValidationError: it has no word, an open quote, or a character that no vendor passes on.
    """
    right = "give one line such as: python -m pods.agent"
    if any(not c.isprintable() for c in value):
        raise ValidationError(f"it has a line break or another control character; {right}")
    try:
        words = shlex.split(value)
    except ValueError as exc:
        raise ValidationError(f"it cannot be split into words ({exc}); {right}") from exc
    if not any(words):
        raise ValidationError(f"it has no words; {right}, or leave it empty")


def start_command() -> "models.CharField[Any, Any]":
    """What an image runs. An older version inserts rows without it during an upgrade."""
    return models.CharField(
        max_length=LONGEST_COMMAND,
        blank=True,
        default="",
        db_default="",
        validators=[words_of_a_command],
        help_text="Words that the image's entrypoint gets instead of the image's own command, split as "
        "a shell does. They must start the agent. Vendors show them, so never put a secret here. "
        "Empty: the image's own.",
    )


def are_numbers(*values: object) -> bool:
    """Whether all of them are: what a field refused may still be a text."""
    return all(isinstance(value, int | float) for value in values)


def hours_of(value: float) -> timedelta:
    """A number of hours as a time. A row of an older version may hold more than a time can."""
    return timedelta(hours=min(value, LONGEST_HOURS))

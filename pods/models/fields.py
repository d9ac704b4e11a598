"""Columns that several models have."""

from decimal import Decimal
from typing import Any

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models

LONGEST_NAME = 80
LONGEST_RULE = 40
SLUG = RegexValidator(
    r"^[a-z0-9][a-z0-9-]{0,39}\Z", "use 1-40 of a-z, 0-9 and -, not beginning with -"
)


def usd_per_hour(**options: Any) -> "models.DecimalField[Any, Any]":
    """A price column in USD/hour."""
    return models.DecimalField(
        max_digits=12, decimal_places=6, validators=[MinValueValidator(Decimal(0))], **options
    )

"""The fields of a fleet as requests and answers have them, made from the fields of its row."""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal

from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.crypto import salted_hmac
from pydantic import BaseModel, Field, create_model

from fleet import operating
from fleet.api.values import (
    LARGEST_INT,
    WORD,
    FleetName,
    Given,
    MomentIn,
    Usd,
    UsdIn,
    taken_number,
    taken_text,
    taken_whole,
)
from fleet.models import Fleet
from fleet.tick.scheduling import LONGEST_TICK_SECONDS
from pods import masking

# What stands in an answer instead of something that may be a secret; a request may not send it back.
MASKED: Final[Mapping[str, Any]] = {
    "backlog_url": masking.without_passwords,
    "handler_env": masking.without_values,
}


def _bounds(field: Any) -> tuple[Any, Any]:
    least = [v.limit_value for v in field.validators if isinstance(v, MinValueValidator)]
    most = [v.limit_value for v in field.validators if isinstance(v, MaxValueValidator)]
    return max(least, default=None), min(most, default=None)


def _taken(field: Any) -> Any:
    """The type of a field in a request."""
    if field.choices:
        return Literal[tuple(value for value, _ in field.choices)]
    if isinstance(field, models.DecimalField):
        return UsdIn
    if isinstance(field, models.DateTimeField):
        return MomentIn
    if isinstance(field, models.JSONField):
        return dict[str, Any]
    if isinstance(field, models.CharField):
        return taken_text(field.max_length or 0, least=0 if field.blank else 1, pattern=WORD)
    least, most = _bounds(field)
    if isinstance(field, models.FloatField):
        return taken_number(least, most)
    return taken_whole(
        max(0, least or 0), LARGEST_INT if most is None else min(int(most), LARGEST_INT)
    )


def _shown(field: Any) -> Any:
    """The type of a field in an answer."""
    if isinstance(field, models.DecimalField):
        return Usd
    if isinstance(field, models.DateTimeField):
        return datetime
    if isinstance(field, models.JSONField):
        return dict[str, Any]
    if isinstance(field, models.CharField):
        return str
    return float if isinstance(field, models.FloatField) else int


FIELDS: Final[Mapping[str, Any]] = {
    name: Fleet._meta.get_field(name) for name in operating.EDITABLE
}
ACCOUNTS: Final = "Names of the accounts to rent from; none: `local`, whose pods cost nothing."


def _said(field: Any) -> str:
    return str(field.help_text) or str(field.verbose_name).capitalize()


def body_of(
    title: str, base: type[BaseModel], /, *, names: Collection[str] = (), **first: Any
) -> Any:
    """A body with every field of a fleet, or with these, each of which may be left out."""
    fields: dict[str, Any] = dict(first)
    for word, field in FIELDS.items():
        if names and word not in names:
            continue
        kind = _taken(field)
        fields[word] = (kind | None if field.null else kind, Field(None, description=_said(field)))
    return create_model(title, __base__=base, **fields)


TICK: Final = Field(None, description="Seconds between two decisions.")
Created: Final = body_of(
    "FleetCreate",
    Given,
    name=(FleetName, Field(description="Its name here; it cannot be that of another fleet.")),
    accounts=(list[FleetName], Field(default=[], max_length=50, description=ACCOUNTS)),
    tick_seconds=(taken_whole(1, LONGEST_TICK_SECONDS), TICK),
)
Changed: Final = body_of(
    "FleetEdit",
    Given,
    name=(FleetName, Field(None, description="Another name.")),
    accounts=(list[FleetName], Field(None, min_length=1, max_length=50, description=ACCOUNTS)),
    tick_seconds=(taken_whole(1, LONGEST_TICK_SECONDS), TICK),
)
Settings: Final = create_model(
    "FleetSettings",
    __base__=BaseModel,
    **{
        word: (
            _shown(field) | None if field.null else _shown(field),
            Field(description=_said(field)),
        )
        for word, field in FIELDS.items()
    },
)  # type: ignore[call-overload]


def given(body: Any) -> dict[str, Any]:
    """The fields of a fleet that a body has."""
    return {name: getattr(body, name) for name in FIELDS if name in body.model_fields_set}


def masks_in(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """The values that are only what an answer showed instead of a secret, by field."""
    said = (
        f"{masking.MASK} stands for what is not shown; send the whole value, or leave the field out"
    )
    url, variables = str(values.get("backlog_url") or ""), values.get("handler_env") or {}
    masked = {
        "backlog_url": f"{masking.MASK}@" in url,
        "handler_env": masking.MASK in variables.values(),
    }
    return {name: [said] for name, is_masked in masked.items() if is_masked}


def shown(fleet: Fleet) -> dict[str, Any]:
    """The fields as an answer has them, without secrets."""
    values = {name: getattr(fleet, name) for name in FIELDS}
    return {name: MASKED[name](v) if name in MASKED else v for name, v in values.items()}


def etag(fleet: Fleet, accounts: list[str], tick_seconds: float) -> str:
    """What changes with every edit of an operator, and with nothing that the software itself writes."""
    values = [(name, _same(getattr(fleet, name))) for name in ("name", *FIELDS)]
    kept = (fleet.archived_at, fleet.archive_when_empty, sorted(accounts), tick_seconds)
    written = json.dumps([fleet.pk, values, kept], cls=DjangoJSONEncoder)
    # Keyed, since the values may hold a password that could be guessed.
    return f'"{salted_hmac("fleet.api.etag", written).hexdigest()[:32]}"'


def _same(value: Any) -> Any:
    """Numbers and moments alike are written alike: a Decimal of the row, and one that was just given."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return f"{value.normalize():f}" if isinstance(value, Decimal) else value

"""The values of a fleet's fields that a person typed after options."""

import json
from collections.abc import Mapping
from reprlib import repr as short
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import models

from fleet import operating
from fleet.models import Fleet, tags
from pods.base.typed_json import TypedJSON


def fields_typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """The given values, as the model expects them; an empty text clears an optional field."""
    values: dict[str, Any] = {}
    for name in operating.EDITABLE:
        raw = options.get(name)
        if raw is None:
            continue
        field: Any = Fleet._meta.get_field(name)
        if isinstance(field, models.JSONField):
            values[name] = _json(name, field, raw)
        else:
            values[name] = None if raw == "" and field.null else raw
    return values


def _json(name: str, field: "models.JSONField[Any, Any]", raw: str) -> Any:
    option = f"--{name.replace('_', '-')}"
    try:
        if isinstance(field, tags.TagsField):
            return tags.read(raw)
        return json.loads(raw, cls=TypedJSON)
    except ValidationError as exc:
        raise CommandError(f"{option}: {exc.messages[0]}") from exc
    except ValueError as exc:
        raise CommandError(f"{option}: {short(raw)} is not JSON: {exc}") from exc

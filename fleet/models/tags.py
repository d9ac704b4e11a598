"""Tags of a fleet: up to twenty pairs of a key and a value, by which its costs are grouped."""

import re
from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.db import models

MOST_TAGS: Final = 20
LONGEST_VALUE: Final = 100
KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,62}\Z")
OURS: Final = "podfleet/"  # our own tags in an export begin with it
HELP: Final = (
    "Tags by which costs are grouped: team=search, one a line or separated by commas. At most 20."
)


def read(text: str) -> dict[str, str]:
    """The tags that a person typed: `key=value`, one a line or separated by commas.

    Raises:
        ValidationError: a part has no `=`, or a key is there twice.
    """
    tags: dict[str, str] = {}
    for part in re.split(r"[,\n]", text):
        if not part.strip():
            continue
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValidationError(f"{part.strip()!r} has no =; write key=value")
        if key in tags:
            raise ValidationError(f"the key {key} is there twice; give each key once")
        tags[key] = value
    return tags


def written(tags: Mapping[str, str]) -> str:
    """The tags as a person types them, one a line, by key: databases keep no order."""
    return "\n".join(f"{key}={value}" for key, value in sorted(tags.items()))


def check(tags: object) -> None:
    """Refuse tags that an export or a table cannot show.

    Raises:
        ValidationError: the message says which tag, and what would be right.
    """
    if not isinstance(tags, dict):
        raise ValidationError('give keys and values: {"team": "search"}')
    if len(tags) > MOST_TAGS:
        raise ValidationError(f"there are {len(tags)} tags; give at most {MOST_TAGS}")
    for key, value in tags.items():
        if not KEY.match(key) or key.lower().startswith(OURS):
            raise ValidationError(
                f"{key[:80]!r} cannot be a key; use 1 to 63 of A-Z, a-z, 0-9 and _ . : / -, beginning "
                f"with a letter or a digit, and not with {OURS}"
            )
        if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_VALUE:
            raise ValidationError(f"{key}: give a text of 1 to {LONGEST_VALUE} characters")
        if not value.isprintable() or "," in value:
            raise ValidationError(f"{key}: use printable characters and no comma")


def creator() -> "models.CharField[Any, Any]":
    """Who made a fleet, whose costs are counted as theirs; "": an older version made it."""
    return models.CharField(max_length=150, blank=True, default="", db_default="", editable=False)


class TagsFormField(forms.CharField):
    """A box with one tag a line."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        """The tags as a person types them."""
        return written(value) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> Any:
        """The tags that were typed."""
        return value if isinstance(value, dict) else read(value or "")

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether other tags were typed; the order does not matter."""
        try:
            return bool(self.to_python(data) != (initial or {}))
        except ValidationError:
            return True


class TagsField(models.JSONField):
    """The tags as JSON. An older version inserts rows without them during an upgrade."""

    def __init__(self, *args: Any, **options: Any) -> None:
        usual: dict[str, Any] = {
            "default": dict, "db_default": {}, "blank": True, "help_text": HELP,
        }  # fmt: skip
        super().__init__(*args, **usual | options)

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        """Check the pairs."""
        super().validate(value, model_instance)
        check(value)

    def formfield(self, **options: Any) -> Any:
        """A box with one tag a line."""
        options.pop("decoder", None)
        options.pop("encoder", None)
        kept = {k: v for k, v in options.items() if k in {"widget", "label", "help_text"}}
        return TagsFormField(required=False, **{"help_text": self.help_text, **kept})

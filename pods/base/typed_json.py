"""Reads and checks JSON that a person typed into a form of the admin or after an option."""

import json
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models


class TypedJSON(json.JSONDecoder):
    """A decoder that raises JSONDecodeError for every fault, because forms and commands show it.

    Python's own decoder raises a plain ValueError for an integer of more than 4,300 digits, and a
    RecursionError for brackets that are nested too deep.
    """

    def decode(self, s: str, *args: Any) -> Any:
        """The decoded value.

        Raises:
            json.JSONDecodeError: the text cannot be read.
        """
        try:
            return super().decode(s, *args)
        except json.JSONDecodeError:
            raise
        except ValueError as exc:
            raise json.JSONDecodeError("a number has too many digits", s, 0) from exc
        except RecursionError as exc:
            raise json.JSONDecodeError("nested too deep", s, 0) from exc


# For `formfield_overrides` of an admin.
FORM_FIELDS: Final[dict[Any, dict[str, Any]]] = {models.JSONField: {"decoder": TypedJSON}}


def check_object(field: str, value: Any) -> None:
    """Refuse a value that is not a JSON object, or that some database cannot store.

    Raises:
        ValidationError: the value is refused; the message says what would be right.
    """
    if not isinstance(value, dict):
        raise ValidationError({field: 'give names and values: {"name": "value"}'})
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError as exc:
        raise ValidationError({field: "a number is too large"}) from exc
    if "\\u0000" in text:
        raise ValidationError({field: "a text contains the character NUL"})

"""Reads JSON that a person typed into a form of the admin or after an option."""

import json
from typing import Any, Final

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

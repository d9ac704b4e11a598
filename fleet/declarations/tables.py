"""What a file of fleets may hold: one type, made from the fields of a fleet, and its JSON schema."""

import re
from datetime import datetime
from decimal import Decimal
from functools import cache, partial
from typing import Annotated, Any, Final, Literal

from django.db import models
from django.utils.dateparse import parse_datetime
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    create_model,
    model_validator,
)
from pydantic.json_schema import WithJsonSchema
from pydantic_core import PydanticCustomError

from fleet.models import Fleet
from fleet.models.fields import FLEET_NAME
from fleet.operating import EDITABLE
from fleet.tick.scheduling import DEFAULT_TICK, LONGEST_TICK_SECONDS

# A file in version control holds no password: these may be given by the name of a variable.
BY_REFERENCE: Final = frozenset({"backlog_url"})
AS_TEXT: Final = "as text"
BY_NAME: Final = "by name"
SCRIPT: Final = "script"
SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"


class FromEnvironment(BaseModel):
    """A value that is in a variable of the environment, because it holds a password."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="The name of the variable.")


def exact(value: object) -> object:
    """A number as people wrote it: 0.1 is a tenth, not the nearest binary fraction."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return Decimal(repr(value)) if number else value


WRITTEN: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)", re.ASCII
)


def with_zone(value: object) -> object:
    """A moment as TOML and YAML have it, or as text, which may leave out the seconds.

    YAML reads a moment without seconds, or in quotes, as text.

    Raises:
        PydanticCustomError: it is not a moment, or lacks a zone.
    """
    found = value
    if isinstance(value, str):
        try:
            found = parse_datetime(value) if WRITTEN.fullmatch(value) else None
        except ValueError:  # such as the 30th of February
            found = None
    if isinstance(found, datetime) and found.tzinfo is not None:
        return found
    raise PydanticCustomError("moment", "write 2026-12-04T18:00+01:00, with its zone")


Money = Annotated[
    Decimal, BeforeValidator(exact), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})
]


@cache
def document_type() -> type[BaseModel]:
    """The type of a whole file: the table `fleets`, with a table for each fleet."""
    fleets: Any = Field(default_factory=dict, description="The fleets, by name.")
    by_name: Any = dict[Annotated[str, Field(pattern=f"^{FLEET_NAME}$")], _fleet_type()]  # type: ignore[misc]
    return create_model(
        "Fleets",
        __config__=ConfigDict(extra="forbid", strict=True),
        __doc__="Fleets of Podfleet, for `fleet plan` and `fleet apply`.",
        fleets=(by_name, fleets),
    )


def schema() -> dict[str, Any]:
    """The JSON schema of a file, with which editors complete and check it."""
    return {"$schema": SCHEMA, **document_type().model_json_schema()}


def default_of(name: str) -> Any:
    """The default of a field, as a new row has it; None if it may be empty and has none."""
    field = Fleet._meta.get_field(name)
    assert isinstance(field, models.Field)
    return field.get_default() if field.has_default() or not field.null else None


def _fleet_type() -> type[BaseModel]:
    fields: dict[str, Any] = {name: _of_field(Fleet._meta.get_field(name)) for name in EDITABLE}
    accounts = Field(
        default=["local"], min_length=1, description="The names of the accounts to rent from."
    )
    tick = Field(
        default=int(DEFAULT_TICK.total_seconds()),
        ge=1,
        le=LONGEST_TICK_SECONDS,
        description="Seconds between two decisions.",
    )
    script = Field(
        default="",
        description="A script NAME.py, or a folder, that the pods run; its path from this file. "
        "Without it the fleet keeps the code that it has.",
    )
    handled: Any = model_validator(mode="before")(_handled_by_script)
    return create_model(
        "Fleet",
        __config__=ConfigDict(extra="forbid", strict=True, json_schema_extra=_script_or_handler),
        __doc__="A fleet. A field that is missing has its default.",
        __validators__={"handled": handled},
        accounts=(list[str], accounts),
        tick_seconds=(int, tick),
        script=(str, script),
        **fields,
    )


def _handled_by_script(value: Any) -> Any:
    """A script may leave out the handler: it is the function `handle` of the script."""
    if isinstance(value, dict) and value.get(SCRIPT) and "handler" not in value:
        return {**value, "handler": ""}
    return value


def _script_or_handler(schema: dict[str, Any]) -> None:
    """Say in the schema that a fleet has a handler or a script."""
    schema.pop("required", None)
    schema["anyOf"] = [{"required": ["handler"]}, {"required": [SCRIPT]}]


def _of_field(field: Any) -> tuple[Any, Any]:
    """The type and the description of one field of the model. A missing field is None here."""
    kind: Any
    if field.choices:
        kind = Literal[tuple(str(value) for value, _ in field.choices)]
    elif isinstance(field, models.JSONField):
        kind = dict[str, Any]
    elif isinstance(field, models.DecimalField):
        kind = Money
    elif isinstance(field, models.DateTimeField):
        kind = Annotated[AwareDatetime, BeforeValidator(with_zone)]
    elif isinstance(field, models.FloatField):
        kind = float
    elif isinstance(field, models.IntegerField):
        kind = Annotated[int, Field(ge=0)]
    else:
        kind = Annotated[str, Field(max_length=field.max_length)]
    if field.name in BY_REFERENCE:
        kind = Annotated[
            Annotated[kind, Tag(AS_TEXT)] | Annotated[FromEnvironment, Tag(BY_NAME)],
            Discriminator(lambda value: BY_NAME if isinstance(value, dict) else AS_TEXT),
        ]
    if field.name == "handler":
        return kind, Field(description=str(field.help_text))
    text = str(field.help_text) or field.verbose_name
    return kind, Field(
        default=None, description=text, json_schema_extra=partial(_true_default, field.name)
    )


def _true_default(name: str, schema: dict[str, Any]) -> None:
    """Show the default of the model in the schema."""
    value = default_of(name)
    schema.pop("default")
    if value is not None:
        schema["default"] = value if isinstance(value, int | float | dict) else str(value)

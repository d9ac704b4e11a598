"""The types of values in requests and answers, with the schema that says exactly what is taken."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

from ninja import Header
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from fleet.models.fields import FLEET_NAME
from pods.base.near import refuse_far

USD: Final = r"^[0-9]{1,8}(\.[0-9]{1,4})?$"
MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
LARGEST_INT: Final = 2**31 - 1
LARGEST_ID: Final = 2**63 - 1


class Given(BaseModel):
    """The body of a request; a word that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


def _only_number(value: Any) -> Any:
    """JSON numbers alone: pydantic would also take "3" and true.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bool | str | bytes):
        raise ValueError("give a JSON number, without quotes")  # noqa: TRY004 - pydantic's
    return value


def _only_usd(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(USD, value):
        raise ValueError('give USD as text with up to 4 decimals, such as "12.50"')
    return value


def _only_moment(value: Any) -> Any:
    if not isinstance(value, str) or not MOMENT.fullmatch(value):
        raise ValueError('give a time with its zone, such as "2026-12-01T08:00:00Z"')
    return value


def _only_near(value: datetime) -> datetime:
    refuse_far(value)
    return value


def _plain(value: Decimal) -> str:
    """Without an exponent, which some readers do not take; the same amount always alike."""
    return format(value.normalize(), "f")


# In requests. `Field` comes before `BeforeValidator`: the other order loses the bounds of the schema.
UsdIn = Annotated[
    Decimal, BeforeValidator(_only_usd), WithJsonSchema({"type": "string", "pattern": USD})
]
Flag = Annotated[bool, Field(strict=True)]
# The schema does not say how far away it may be. A verb that takes this one checks that itself.
AnyMomentIn = Annotated[AwareDatetime, BeforeValidator(_only_moment)]
MomentIn = Annotated[AnyMomentIn, AfterValidator(_only_near)]


def taken_whole(least: int = 0, most: int = LARGEST_INT) -> Any:
    """A whole number between these two."""
    return Annotated[int, Field(ge=least, le=most), BeforeValidator(_only_number)]


def taken_number(least: float | None = None, most: float | None = None) -> Any:
    """A number between these two."""
    return Annotated[
        float, Field(ge=least, le=most, allow_inf_nan=False), BeforeValidator(_only_number)
    ]


def taken_text(longest: int, *, least: int = 0, pattern: str | None = None) -> Any:
    """A text of this many characters."""
    return Annotated[str, Field(min_length=least, max_length=longest, pattern=pattern)]


Count = Annotated[int, Field(ge=0, le=LARGEST_INT), BeforeValidator(_only_number)]
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
# Words without the character NUL, which no database keeps.
WORD: Final = r"^[^\u0000]*$"
Reason = Annotated[str, Field(min_length=1, max_length=300, pattern=WORD)]
FleetName = Annotated[str, Field(max_length=40, pattern=f"^{FLEET_NAME}$")]

IfMatch = Annotated[
    str, Header("", alias="If-Match", max_length=200, description="The ETag of what was read.")
]

# In answers.
Usd = Annotated[
    Decimal,
    PlainSerializer(_plain, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}),
]
Moment = datetime


def seconds_of(value: Any) -> float | None:
    """A duration in seconds; None: not known."""
    return None if value is None else float(value.total_seconds())


def is_named(etag: str, if_match: str) -> bool:
    """Whether If-Match names this ETag. A proxy that compresses answers marks their ETags as weak."""
    named = [tag.strip() for tag in if_match.split(",")]
    return "*" in named or etag in [tag.removeprefix("W/") for tag in named]

"""Pages of a list: a cursor says after which row the next one begins, so that inserts move nothing."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from django.db.models import Model, Q, QuerySet
from ninja import Query
from pydantic import BaseModel, Field

from fleet.api.problems import Problem
from fleet.api.values import LARGEST_ID
from pods.base.near import refuse_far

MOST: Final = 200
USUAL: Final = 50
LONGEST: Final = 200
Row = TypeVar("Row", bound=Model)


class Asked(BaseModel):
    """Which page."""

    limit: Annotated[int, Field(ge=1, le=MOST)] = USUAL
    cursor: Annotated[str, Field(max_length=LONGEST)] = Field(
        "", description="`next` of the page before; empty: the first page."
    )


AskedPage = Query[Asked]


class Page(BaseModel):
    """The next page; the pages of each list add their `items`."""

    next: str | None = Field(
        None, description="The cursor of the next page; null: this is the last."
    )


def cursor_of(*keys: Any) -> str:
    """The cursor after a row with these keys."""
    plain = [key.isoformat() if isinstance(key, datetime) else key for key in keys]
    written = json.dumps(plain, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(written).decode().rstrip("=")


def keys_of(cursor: str, *kinds: type) -> list[Any] | None:
    """The keys in a cursor; None: it is empty.

    Raises:
        Problem: it is not a cursor of this list.
    """
    if not cursor:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        keys = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
        if not isinstance(keys, list) or len(keys) != len(kinds):
            raise _not_one()
        return [_key(kind, key) for kind, key in zip(kinds, keys, strict=True)]
    except (ValueError, TypeError, binascii.Error, RecursionError) as exc:
        raise _not_one() from exc


def _key(kind: type, key: Any) -> Any:
    if kind is datetime:
        at = datetime.fromisoformat(key)
        if at.tzinfo is None:
            raise _not_one()
        refuse_far(at)  # a far one is none of ours, and no database takes it
        return at
    if kind is int and (type(key) is not int or not 0 <= key <= LARGEST_ID):
        raise _not_one()
    if kind is str and (not isinstance(key, str) or "\0" in key):
        raise _not_one()
    return key


def _not_one() -> Problem:
    text = "not a cursor of this list; give `next` of the page before, or leave it out"
    return Problem(422, f"cursor: {text}", errors={"cursor": [text]})


def by_id(
    rows: QuerySet[Row], asked: Asked, *, newest_first: bool = True
) -> tuple[list[Row], str | None]:
    """A page of rows by id, and the cursor of the next one. One query."""
    if keys := keys_of(asked.cursor, int):
        rows = rows.filter(pk__lt=keys[0]) if newest_first else rows.filter(pk__gt=keys[0])
    found = list(rows.order_by("-pk" if newest_first else "pk")[: asked.limit + 1])
    return _cut(found, asked.limit, lambda row: (row.pk,))


def by_time(rows: QuerySet[Row], asked: Asked) -> tuple[list[Row], str | None]:
    """A page of rows by their time `at`, the newest first. One query."""
    if keys := keys_of(asked.cursor, datetime, int):
        at, pk = keys
        rows = rows.filter(at__lte=at).filter(Q(at__lt=at) | Q(pk__lt=pk))
    found = list(rows.order_by("-at", "-pk")[: asked.limit + 1])
    return _cut(found, asked.limit, lambda row: (row.at, row.pk))


def _cut(found: Sequence[Row], limit: int, keys: Any) -> tuple[list[Row], str | None]:
    shown = list(found[:limit])
    return shown, cursor_of(*keys(shown[-1])) if len(found) > limit else None

"""Makes an item of a row of a table or a query."""

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fleet.items.files import LONGEST_LINE
from fleet.items.source import BadInput, BadItem, Fields
from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD, ITEM_REPLY_TO

PAYLOADS: Final = (ITEM_PAYLOAD, "text")
# Bytes that are not UTF-8 are read as half surrogates, and written as the same bytes again.
ESCAPED: Final = "surrogateescape"


def payload_column(names: Sequence[str], *, where: str) -> str | None:
    """The column that holds the payload; None: the whole row is the payload.

    Raises:
        BadInput: two columns have the same name, so it is not clear which one is meant.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadInput(f"{where} has several columns {twice[0]!r}; give each its own name")
    return next((name for name in PAYLOADS if name in names), None)


def unused_columns(names: Sequence[str], payload: str | None) -> set[str]:
    """The columns that do not go with the items."""
    return set() if payload is None else set(names) - {payload, ITEM_ID, ITEM_REPLY_TO}


def item_of(row: Mapping[str, Any], *, payload: str | None, own_id: bytes, where: str) -> Fields:
    """The fields of an item. `own_id`: the id if the row gives none; `where`: for the message.

    Raises:
        BadItem: a value cannot be written as text, bytes or JSON, or is longer than a line may be.
    """
    value = None if payload is None else row[payload]
    fields = {
        ITEM_ID: _plain(row.get(ITEM_ID), ITEM_ID, where) or own_id,
        ITEM_PAYLOAD: _written(row if value is None else value, ITEM_PAYLOAD, where),
    }
    for column, written in fields.items():
        if len(written) > LONGEST_LINE:
            raise BadItem(f"{where}: {column} is longer than {LONGEST_LINE:,} bytes")
    reply_to = _plain(row.get(ITEM_REPLY_TO), ITEM_REPLY_TO, where)
    return {**fields, ITEM_REPLY_TO: reply_to} if reply_to else fields


def _plain(value: object, column: str, where: str) -> bytes:
    """An id or a name as bytes; lists and objects as JSON, other values as they are printed."""
    if value is None:
        return b""
    if isinstance(value, (bytes, dict, list)):
        return _written(value, column, where)
    return str(value).encode("utf-8", ESCAPED)


def _written(value: object, column: str, where: str) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        text = (
            value
            if isinstance(value, str)
            else json.dumps(value, ensure_ascii=False, default=_in_json)
        )
        return text.encode("utf-8", ESCAPED)
    except (TypeError, ValueError, RecursionError) as exc:
        raise BadItem(f"{where}: {column} cannot be written as JSON: {exc}") from exc


def _in_json(value: object) -> str:
    """A value that JSON does not have, as text; bytes as in results: text if UTF-8, else base64."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()

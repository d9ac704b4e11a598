"""A dead letter as a line of JSON, which `fleet enqueue` reads as an item."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pods.agent import protocol

# The fields that say why it failed, and their names in a line.
FAILURE: Final[Mapping[str, str]] = {
    protocol.DEAD_ERROR: "error",
    protocol.DEAD_TRACEBACK: "traceback",
    protocol.DEAD_DELIVERIES: "tries",
    protocol.DEAD_POD: "pod",
    protocol.DEAD_AT_MS: "at",
    protocol.ITEM_HISTORY: "history",
}
OWN: Final = "dead_"  # the beginning of the names that pods add


def line(letter: str, fields: Mapping[bytes, bytes]) -> bytes:
    """The item's own fields, and why it failed.

    A payload that is not text is written as base64, and `encoding` says so.
    """
    item = {_text(n): v for n, v in fields.items() if not _text(n).startswith(OWN)}
    said: dict[str, Any] = {"letter": letter}
    for name, shown in FAILURE.items():
        if (value := fields.get(name.encode())) is not None:
            said[shown] = _when(_text(value)) if shown == "at" else _text(value)
    written: dict[str, Any] = {name: _text(value) for name, value in item.items()}
    if not written.get(protocol.ITEM_ID) and (entry := fields.get(protocol.DEAD_ENTRY.encode())):
        written[protocol.ITEM_ID] = _text(entry)
    payload = item.get(protocol.ITEM_PAYLOAD)
    if payload is not None and not _is_text(payload):
        written[protocol.ITEM_PAYLOAD] = base64.b64encode(payload).decode()
        written["encoding"] = "base64"
    return json.dumps({**written, "failure": said}, ensure_ascii=False).encode() + b"\n"


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _when(milliseconds: str) -> str:
    """A time as ISO 8601; what is not one stays, because anybody may have written the letter."""
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return milliseconds

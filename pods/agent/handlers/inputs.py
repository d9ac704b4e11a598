"""What a ready handler works on: a field of the item or its payload, or the file that it names."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Optional

from pods.agent.handlers import PAYLOAD, BadItem, Item, MissingField

SCHEMES = (b"http://", b"https://")
LONGEST_URL = 4096
LARGEST_DOWNLOAD = 256 * 1024 * 1024
DOWNLOAD_SECONDS = 60.0
REFUSED = {400, 401, 403, 404, 405, 410, 414}


def value_of(item: Item, fields: Sequence[str], *, whole: bool = False) -> bytes:
    """The first of these fields that the item has, or that its payload has if it is a JSON object.

    `whole`: a payload that is one of the fields is taken as it is.

    Raises:
        MissingField: there is none of them. It becomes a dead letter that names the first one.
        BadItem: the field is empty.
    """
    found = found_in(item, fields, whole=whole)
    if found is None:
        given = object_in(item.fields.get(PAYLOAD, b"")) or ()
        keys = [key.encode("utf-8", "surrogatepass") for key in given]
        raise MissingField(fields[0].encode(), item.fields, of_payload=keys)
    name, value = found
    if not value.strip():
        raise BadItem(f"the field {name} is empty")
    return value


def found_in(
    item: Item, fields: Sequence[str], *, whole: bool = False
) -> "Optional[tuple[str, bytes]]":
    """The name and the value of the first of these fields; None: there is none of them."""
    direct = next(((n, item.fields[n.encode()]) for n in fields if n.encode() in item.fields), None)
    is_payload = direct is not None and direct[0].encode() == PAYLOAD
    if direct is not None and (whole or not is_payload):
        return direct
    names = [name for name in fields if name.encode() != PAYLOAD]
    return _found_in_payload(item.fields.get(PAYLOAD, b""), names) or direct


def _found_in_payload(payload: bytes, names: Sequence[str]) -> "Optional[tuple[str, bytes]]":
    given = object_in(payload, names) or {}
    return next(((name, _as_bytes(given[name])) for name in names if name in given), None)


def object_in(
    payload: bytes, names: "Optional[Sequence[str]]" = None
) -> "Optional[dict[str, Any]]":
    """The JSON object that a payload is; None: it is something else.

    `names`: an object without any of these keys is not wanted, and is not always parsed.
    """
    if payload.lstrip()[:1] != b"{":
        return None
    # a backslash may be the escape of a letter in a key
    if names is not None and b"\\" not in payload and not any(n.encode() in payload for n in names):
        return None
    try:
        found: "dict[str, Any]" = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return found


def _as_bytes(value: object) -> bytes:
    """A value as `fleet enqueue` writes a payload: text as it is, null as empty, others as JSON."""
    if value is None:
        return b""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def text_of(item: Item, fields: Sequence[str], *, whole: bool = False) -> str:
    """The first of these fields as text.

    Raises:
        MissingField, BadItem: as `value_of`; also where it is not UTF-8.
    """
    try:
        return value_of(item, fields, whole=whole).decode()
    except UnicodeDecodeError as exc:
        raise BadItem(f"the text is not UTF-8: {exc}") from exc


def file_of(item: Item, fields: Sequence[str]) -> bytes:
    """The bytes in a field, or those at the address that it holds.

    Raises:
        MissingField, BadItem: as `value_of`; also where the server refuses to send the file.
        OSError: the server does not answer. Another try may help.
    """
    value = value_of(item, fields)
    if len(value) > LONGEST_URL or not value.startswith(SCHEMES):
        return value
    return downloaded(value.decode("utf-8", "replace").strip())


def downloaded(url: str, *, largest: int = LARGEST_DOWNLOAD) -> bytes:
    """What a server sends for an address.

    Raises:
        BadItem: it refuses, or it is too large.
        OSError: it does not answer.
    """
    # `SCHEMES` are the only ones that come here
    try:
        asked = urllib.request.Request(url, headers={"User-Agent": "podfleet-agent"})  # noqa: S310
        with urllib.request.urlopen(asked, timeout=DOWNLOAD_SECONDS) as answer:  # noqa: S310
            body: bytes = answer.read(largest + 1)
    except urllib.error.HTTPError as exc:
        with exc:
            if exc.code in REFUSED:
                raise BadItem(f"{url} answers {exc.code}") from exc
            raise OSError(f"{url} answers {exc.code}") from exc
    except (ValueError, http.client.InvalidURL) as exc:
        raise BadItem(f"{url!r} is not an address: {exc}") from exc
    if len(body) > largest:
        raise BadItem(f"{url} has more than {largest} bytes")
    return body

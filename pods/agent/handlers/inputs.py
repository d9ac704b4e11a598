"""What a ready handler works on: a field of the item, or the file that the field names."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence

from pods.agent.handlers import BadItem, Item, MissingField

SCHEMES = (b"http://", b"https://")
LONGEST_URL = 4096
LARGEST_DOWNLOAD = 256 * 1024 * 1024
DOWNLOAD_SECONDS = 60.0
FORBIDDEN, GONE = {400, 401, 403, 404, 405, 414}, 410


def value_of(item: Item, fields: Sequence[str]) -> bytes:
    """The first of these fields that the item has.

    Raises:
        MissingField: it has none of them. It becomes a dead letter that names the first one.
        BadItem: the field is empty.
    """
    for name in map(str.encode, fields):
        if name in item.fields:
            value = item.fields[name]
            if not value.strip():
                raise BadItem(f"the field {name.decode()} is empty")
            return value
    raise MissingField(fields[0].encode(), item.fields)


def text_of(item: Item, fields: Sequence[str]) -> str:
    """The first of these fields as text.

    Raises:
        MissingField, BadItem: as `value_of`; also where it is not UTF-8.
    """
    try:
        return value_of(item, fields).decode()
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
            if exc.code in FORBIDDEN or exc.code == GONE:
                raise BadItem(f"{url} answers {exc.code}") from exc
            raise OSError(f"{url} answers {exc.code}") from exc
    except (ValueError, http.client.InvalidURL) as exc:
        raise BadItem(f"{url!r} is not an address: {exc}") from exc
    if len(body) > largest:
        raise BadItem(f"{url} has more than {largest} bytes")
    return body

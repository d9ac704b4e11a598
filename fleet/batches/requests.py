"""Reads the requests of a batch: checks their lines, and makes items of them."""

import hashlib
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fleet.batches import files
from fleet.batches.settled import Settled
from fleet.items.source import Fields, LeftOut, Position
from fleet.models import BatchFile
from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD, ITEM_REPLY_TO
from pods.base.json_words import why_no_json

ENDPOINTS: Final = ("/v1/embeddings", "/v1/chat/completions")
MOST_REQUESTS: Final = 200_000
MOST_ERRORS: Final = 100
LINES_AT_ONCE: Final = 500  # between two looks at the clock
LONGEST_CUSTOM_ID: Final = 512
URL_FIELD: Final = "url"  # of an item: the endpoint of the request
NUMBERED: Final = re.compile(rb"([0-9]{1,7}):(.*)", re.DOTALL)
MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A line of an input file."""

    custom_id: str
    body: bytes  # JSON


class BadLine(ValueError):
    """A line is not a request; `code` is the word of the OpenAI API for it."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.param = code, param


def request_of(line: bytes, endpoint: str) -> Request:
    """The request of a line.

    Raises:
        BadLine: it is not a request to this endpoint.
    """
    if len(line) > files.LONGEST_LINE:
        raise BadLine("invalid_json_line", f"longer than {files.LONGEST_LINE:,} bytes")
    value = _object(line)
    custom_id = value.get("custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= LONGEST_CUSTOM_ID:
        text = f"custom_id must be a text of 1 to {LONGEST_CUSTOM_ID} characters"
        raise BadLine("invalid_custom_id", text, param="custom_id")
    if value.get("method") != "POST":
        raise BadLine("invalid_method", 'method must be "POST"', param="method")
    if value.get("url") != endpoint:
        text = f"url must be the endpoint of the batch, {endpoint}"
        raise BadLine("mismatched_endpoint", text, param="url")
    if not isinstance(value.get("body"), dict):
        raise BadLine("missing_body", "body must be a JSON object", param="body")
    body = json.dumps(value["body"], ensure_ascii=False, separators=(",", ":")).encode()
    return Request(custom_id=custom_id, body=body)


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
        # Refuses what no JSON reader takes: numbers without an end, and half a surrogate pair.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as exc:
        text = f"this line is not JSON in UTF-8: {why_no_json(exc)}"
        raise BadLine("invalid_json_line", text) from exc
    if not isinstance(value, dict):
        raise BadLine("invalid_json_line", "this line is not a JSON object")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What an input file holds."""

    requests: int
    errors: list[dict[str, Any]]  # the first ones; empty: it is right


def check(file: BatchFile, endpoint: str) -> Checked:
    """Look at every line. Memory grows by some 100 bytes for each request, up to MOST_REQUESTS."""
    seen: dict[bytes, int] = {}
    errors: list[dict[str, Any]] = []
    requests = 0
    for number, line in enumerate(_without_mark(files.lines(file)), start=1):
        if not line.strip():
            continue
        requests += 1
        if requests > MOST_REQUESTS:
            text = f"the file has more than {MOST_REQUESTS:,} requests; make several batches of it"
            errors.append(_error("too_many_requests", text, number))
            break
        try:
            request = request_of(line, endpoint)
            known = hashlib.blake2b(request.custom_id.encode(), digest_size=16).digest()
            if (first := seen.setdefault(known, number)) != number:
                text = f"this custom_id is that of line {first} too"
                raise BadLine("duplicate_custom_id", text, param="custom_id")
        except BadLine as exc:
            errors.append(_error(exc.code, str(exc), number, exc.param))
            if len(errors) == MOST_ERRORS:
                break
    if not requests:
        errors.append(_error("empty_file", "the file has no request", None))
    return Checked(requests=requests, errors=errors)


def _error(code: str, message: str, line: int | None, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "line": line, "message": message, "param": param}


def _without_mark(found: Iterator[bytes]) -> Iterator[bytes]:
    """The lines without the mark that some editors write at the start of a file."""
    for number, line in enumerate(found):
        yield line.removeprefix(MARK) if number == 0 else line


def numbered(item: bytes) -> tuple[int, str] | None:
    """The number and the custom_id in the id of an item; None: the item is not a request."""
    match = NUMBERED.fullmatch(item)
    if match is None:
        return None
    return int(match[1]), match[2].decode("utf-8", "replace")


class RequestSource:
    """The requests of a checked file as items, without those that have their outcome."""

    def __init__(
        self,
        file: BatchFile,
        endpoint: str,
        *,
        known_as: str,
        reply_to: str,
        settled: Settled,
        until: float = math.inf,
    ) -> None:
        """`reply_to`: the stream for the results; `until`: when reading ends, on the monotonic clock."""
        self.label = self.known_as = self.name = known_as
        self.left_out: LeftOut | None = None
        self.unused: set[str] = set()
        self._file, self._endpoint, self._settled = file, endpoint, settled
        self._fixed = {ITEM_REPLY_TO: reply_to.encode(), URL_FIELD: endpoint.encode()}
        self._offset = self._lines = self._items = 0
        self._until = until

    @property
    def path(self) -> Path | None:
        """It is not a file of this machine."""
        return None

    @property
    def position(self) -> Position:
        """The end of the last line that was read; `items` counts the requests before it."""
        return Position(offset=self._offset, lines=self._lines, items=self._items)

    def go_to(self, position: Position) -> bool:
        """Continue at `position`: the file never changes."""
        self._offset, self._lines, self._items = position.offset, position.lines, position.items
        return True

    def check(self) -> None:
        """Do nothing: the file was checked before the batch began."""

    def count_left(self) -> int:
        """How many lines are left; blank ones count."""
        return sum(1 for _ in files.lines(self._file, offset=self._offset))

    def __iter__(self) -> Iterator[Fields]:
        """Yield the items that are left."""
        for number, request in self.requests():
            if number not in self._settled:
                own_id = b"%d:" % number + request.custom_id.encode()
                yield {ITEM_ID: own_id, ITEM_PAYLOAD: request.body, **self._fixed}

    def requests(self) -> Iterator[tuple[int, Request]]:
        """Yield the requests that are left, with their numbers from 0. `position` moves with each."""
        if self._offset >= self._file.size:
            return
        for line in files.lines(self._file, offset=self._offset):
            # Before the position moves: what was not yielded is read by the next call.
            if self._lines % LINES_AT_ONCE == 0 and time.monotonic() > self._until:
                return
            read = line.removeprefix(MARK) if self._offset == 0 else line
            self._offset += len(line)
            self._lines += 1
            if read.strip():
                self._items += 1
                yield self._items - 1, request_of(read, self._endpoint)


def said(fields: Mapping[str, Any]) -> str:
    """A digest of what a client asked for: the order of keys does not matter."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

"""Writes the lines of output and error files, in the shape of the OpenAI API."""

import json
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json

from fleet.results.entries import ONE_LINE

FAILED: Final = "request_failed"
NOT_AN_OBJECT: Final = "invalid_response"
EXPIRED: Final = "batch_expired"
CANCELLED: Final = "batch_cancelled"
LONGEST_MESSAGE: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A line of the output file, or of the error file."""

    good: bool
    line: bytes


def answered(name: str, custom_id: str, entry: str, result: bytes) -> Outcome:
    """The outcome of a request that the handler answered. `name`: the id of this line.

    The result is the body of the response; its digits stay as the handler wrote them. A body with an
    `error` is a refusal, as a server of the API would have answered it.
    """
    try:
        body = from_json(result, allow_inf_nan=False)
        result.decode()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        text = "the handler must return a JSON object: the body of the response"
        return failed(name, custom_id, NOT_AN_OBJECT, text)
    good = not body.get("error")
    head = json.dumps({"id": name, "custom_id": custom_id})[:-1]
    status = json.dumps({"status_code": 200 if good else 400, "request_id": entry})[:-1]
    written = result.translate(ONE_LINE).strip()
    line = b'%s, "response": %s, "body": %s}, "error": null}\n'
    return Outcome(good=good, line=line % (head.encode(), status.encode(), written))


def failed(name: str, custom_id: str, code: str, message: str) -> Outcome:
    """The outcome of a request without an answer."""
    error = {"code": code, "message": message[:LONGEST_MESSAGE]}
    line: dict[str, Any] = {"id": name, "custom_id": custom_id, "response": None, "error": error}
    return Outcome(good=False, line=json.dumps(line).encode() + b"\n")

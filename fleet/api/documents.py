"""What the API says of itself besides its operations: the answers that every one of them can give."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fleet.api.problems import MEDIA_TYPE, ProblemOut

ABOUT: Final = (
    "Everything that an operator does in the admin or on the command line. Send a token as "
    "`Authorization: Bearer pf_…`. `x-scope` says which scope an operation needs. Money is text in "
    "USD, times have a zone, durations are seconds, and what is not known is null."
)
SCHEMA: Final = "Problem"
WRITES: Final = frozenset({"post", "patch", "put", "delete"})
SAID: Final[Mapping[int, str]] = {
    400: "The body is not JSON.",
    401: "No token that can be used.",
    403: "The token or its user may not do this.",
    404: "Nothing has this name or address.",
    409: "It cannot be done as things are now.",
    412: "Somebody else changed it meanwhile: read it again.",
    413: "The body is too large.",
    422: "A value is wrong; `errors` says which.",
    428: "The header If-Match is missing.",
    429: "Too many requests; Retry-After says when to try again.",
    500: "A fault of the server.",
    503: "Redis or the database does not answer; try again.",
}


def complete(found: dict[str, Any]) -> None:
    """Add the problems to every operation of a description, in place."""
    schema = ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
    found["components"]["schemas"][SCHEMA] = schema
    found.pop("servers", None)
    found["components"]["responses"] = {str(status): _problem(status) for status in SAID}
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            for status in sorted(set(_statuses(path, method, operation))):
                operation["responses"][status] = {"$ref": f"#/components/responses/{status}"}
            _shorten(operation)


def _statuses(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[int]:
    names = {each["name"] for each in operation["parameters"]}
    yield from (401, 403, 422, 429, 500, 503)
    if "{" in path or "fleet" in names:
        yield 404
    if "requestBody" in operation:
        yield from (400, 413)
    if method in WRITES or path.endswith(("/results", "/offers", "/quote", "/{item_id}")):
        yield 409
    if "If-Match" in names:
        yield from (412, 428)


def _problem(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{SCHEMA}"}}}
    return {"description": SAID[status], "content": content}


def _shorten(operation: dict[str, Any]) -> None:
    """Leave out what only the framework needs to know."""
    if not operation["parameters"]:
        del operation["parameters"]


def written(found: Mapping[str, Any]) -> str:
    """The description as the file that is kept in the repository."""
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"

"""The refusals below /openai/ in the shape of the OpenAI API, so that its clients know them."""

import json
from collections.abc import Mapping
from typing import Final

from django.http import HttpRequest, HttpResponse

from fleet.api import problems
from fleet.api.problems import WORDS, Problem
from pods import masking

ROOT: Final = "/openai/"
JSON: Final = "application/json"
CODES: Final[Mapping[int, str]] = {
    401: "invalid_api_key",
    404: "not_found",
    413: "request_too_large",
    429: "rate_limit_exceeded",
}
TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
NOTHING: Final = (
    "nothing is at this address: a fleet takes files and batches, at /openai/NAME/v1/files and "
    "/openai/NAME/v1/batches"
)


def answer(problem: Problem) -> HttpResponse:
    """The problem as its clients read it; no password of an address is in it.

    What cannot be done now is a 400: the clients would send a 409 again.
    """
    status = 400 if problem.status in {409, 422} else problem.status
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {
        "message": masking.without_passwords(problem.detail),
        "type": TYPES.get(status, kind),
        "param": next(iter(problem.errors or ()), None),
        "code": CODES.get(status),
    }
    return HttpResponse(
        json.dumps({"error": error}), status=status, content_type=JSON,
        headers=dict(problem.headers),
    )  # fmt: skip


def handled(_request: HttpRequest, exc: Exception) -> HttpResponse:
    """The answer to an error; what is our own fault goes into the log with its trace."""
    problem = problems.problem_of(exc)
    if problem.status >= 500:
        problems.log.error("api_request_failed", status=problem.status, exc_info=exc)
    return answer(problem)


in_errors = problems.below(ROOT, JSON, {**WORDS, 404: NOTHING}, answer)

"""The refusals below /openai/ in the shape of the OpenAI API, so that its clients know them."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from django.http import HttpRequest, HttpResponse

from fleet.api import problems
from fleet.api.problems import KEPT, WORDS, Problem
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


def in_errors(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: below /openai/ also what Django itself refuses has this shape; cache nothing."""

    def respond(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(ROOT):
            return get_response(request)
        if "HTTP_TRANSFER_ENCODING" in request.META:
            text = "a body of unknown length is not read; send the header Content-Length"
            return answer(Problem(411, text))
        found = get_response(request)
        if found.status_code >= 400 and not found.get("Content-Type", "").startswith(JSON):
            said = {**WORDS, 404: NOTHING}.get(found.status_code, "the request was refused")
            kept = {name: found[name] for name in KEPT if name in found}
            found = answer(Problem(found.status_code, said, headers=kept))
        found["Cache-Control"] = "no-store"
        return found

    return respond

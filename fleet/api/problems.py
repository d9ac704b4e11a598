"""The answers that say what was wrong: application/problem+json, for every address below /api/."""

import json
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from django.core.exceptions import NON_FIELD_ERRORS, RequestDataTooBig, ValidationError
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from ninja.errors import HttpError
from ninja.errors import ValidationError as NotAsDescribed
from pydantic import BaseModel, Field
from redis import RedisError

from fleet.operating import EditedMeanwhile
from pods import masking
from pods.accounts.connecting import CannotConnect
from pods.base.commands import error_lines
from pods.lifecycle import Overtaken
from pods.teardown import CannotStop

log = structlog.get_logger(__name__)
ROOT: Final = "/api/"
MEDIA_TYPE: Final = "application/problem+json"
AGAIN_SECONDS: Final = 5  # when to try again what a server that is away did not do
Respond = Callable[[HttpRequest], HttpResponse]
KEPT: Final = ("Allow", "Retry-After", "WWW-Authenticate")
# What Django itself says of an address or a request, in our words.
WORDS: Final[Mapping[int, str]] = {
    400: "the request cannot be read; send JSON in UTF-8, and a Host that this server has",
    403: "this is not allowed",
    404: "nothing is at this address; /api/v1/openapi.json lists every address",
    405: "this address does not take this method; the header Allow has those that it takes",
    413: "the body is too large",
    500: "something failed on the server; its log says what. Nobody can mend this in the request",
}


class ProblemOut(BaseModel):
    """What was wrong, and what would be right."""

    type: str = Field("about:blank", description="A name of the kind of problem.")
    title: str
    status: int
    detail: str = Field(description="What was wrong, and what would be right; for people.")
    errors: dict[str, list[str]] | None = Field(None, description="The same by field.")


class Problem(Exception):
    """A refusal with its status."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.errors, self.headers = errors, headers or {}


def answer(problem: Problem) -> HttpResponse:
    """The problem as a response; no password of an address is in it."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": masking.without_passwords(problem.detail),
    }
    if problem.errors:
        body["errors"] = {
            name: [masking.without_passwords(text) for text in texts]
            for name, texts in problem.errors.items()
        }
    return HttpResponse(
        json.dumps(body), status=problem.status, content_type=MEDIA_TYPE,
        headers=dict(problem.headers),
    )  # fmt: skip


def problem_of(exc: Exception) -> Problem:
    """The problem that an error is to the caller."""
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, ValidationError):
        return _refused(exc)
    if isinstance(exc, NotAsDescribed):
        return _not_as_described(exc)
    if isinstance(exc, HttpError):
        return _of_http_error(exc)
    for kind, status in STATUS_OF.items():
        if isinstance(exc, kind):
            return _of_kind(exc, status)
    return Problem(500, WORDS[500])


STATUS_OF: Final[Mapping[type[Exception], int]] = {
    RequestDataTooBig: 413,
    UnreadablePostError: 400,
    Http404: 404,
    EditedMeanwhile: 409,
    Overtaken: 409,
    CannotStop: 409,
    CannotConnect: 409,
    RedisError: 503,
    OperationalError: 503,
    UnicodeError: 503,  # from the look-up of a host whose name is none
}


def _of_kind(exc: Exception, status: int) -> Problem:
    if isinstance(exc, RedisError):
        text = "Redis does not answer, or refuses; try again, and look at the server's log"
    elif isinstance(exc, OperationalError):
        text = "the database does not answer; try again"
    elif isinstance(exc, UnicodeError):
        text = "the address of this fleet's Redis cannot be used; change its backlog_url"
    elif status in {400, 404, 413}:
        text = WORDS[status]
    else:
        text = str(exc)
    headers = {"Retry-After": str(AGAIN_SECONDS)} if status == 503 else {}
    return Problem(status, text, headers=headers)


def handled(_request: HttpRequest, exc: Exception) -> HttpResponse:
    """The answer to an error; what is our own fault goes into the log with its trace."""
    problem = problem_of(exc)
    if problem.status >= 500:
        log.error("api_request_failed", status=problem.status, exc_info=exc)
    return answer(problem)


def _of_http_error(exc: HttpError) -> Problem:
    """The problem of an error of the framework: the body was not JSON."""
    cause = exc.__cause__
    if exc.status_code == 400 and isinstance(cause, ValueError):
        return Problem(400, f"the body is not JSON in UTF-8: {cause}")
    return Problem(exc.status_code, WORDS.get(exc.status_code, str(exc)))


def _refused(exc: ValidationError) -> Problem:
    errors = {
        ("" if name == NON_FIELD_ERRORS else name) or "request": list(_texts(said))
        for name, said in getattr(exc, "error_dict", {}).items()
    }
    return Problem(422, "; ".join(error_lines(exc)), errors=errors or None)


def _texts(said: Sequence[ValidationError]) -> Sequence[str]:
    return [text for each in said for text in each.messages]


def _not_as_described(exc: NotAsDescribed) -> Problem:
    """What pydantic says, by the name of the field: `body.wanted.name` is `name`."""
    errors: dict[str, list[str]] = {}
    for each in exc.errors:
        source, *path = each["loc"]
        named = path[1:] if source == "body" and len(path) > 1 else path
        name = ".".join(map(str, named)) or str(source)
        errors.setdefault(name, []).append(str(each["msg"]).removeprefix("Value error, "))
    detail = "; ".join(f"{name}: {', '.join(texts)}" for name, texts in errors.items())
    return Problem(422, detail, errors=errors)


def below(
    root: str, media_type: str, words: Mapping[int, str], tell: Callable[[Problem], HttpResponse]
) -> Callable[[Respond], Respond]:
    """Middleware: below `root` also what Django itself refuses is told by `tell`; cache nothing."""

    def middleware(get_response: Respond) -> Respond:
        def respond(request: HttpRequest) -> HttpResponse:
            if not request.path.startswith(root):
                return get_response(request)
            if "HTTP_TRANSFER_ENCODING" in request.META:
                text = "a body of unknown length is not read; send the header Content-Length"
                return tell(Problem(411, text))
            found = get_response(request)
            if found.status_code >= 400 and not found.get("Content-Type", "").startswith(
                media_type
            ):
                said = words.get(found.status_code, "the request was refused")
                kept = {name: found[name] for name in KEPT if name in found}
                found = tell(Problem(found.status_code, said, headers=kept))
            found["Cache-Control"] = "no-store"
            return found

        return respond

    return middleware


in_problems = below(ROOT, MEDIA_TYPE, WORDS, answer)

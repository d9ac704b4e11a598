"""RunPod's refusals, and the cursors of its lists."""

import base64
import json
from collections.abc import Sequence
from typing import Any, Final

from pods.emulators.base import Reply


class Problem(Exception):
    """A refusal in RunPod's words."""

    TITLES: Final = {
        400: "Bad Request",
        401: "Unauthorized",
        402: "Payment Required",
        403: "Forbidden",
        404: "Not Found",
        405: "Method Not Allowed",
        409: "Conflict",
        410: "Gone",
        422: "Unprocessable Entity",
        429: "Too Many Requests",
        500: "Internal Server Error",
    }

    def __init__(self, status: int, detail: str, *, errors: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, tuple(errors)

    def json(self) -> dict[str, Any]:
        """The body of application/problem+json."""
        body: dict[str, Any] = {
            "title": self.TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
        }
        return {**body, "errors": list(self.errors)} if self.errors else body


class TooMany(Problem):
    """The 429 of one window."""

    def __init__(self, window: str, reset: int) -> None:
        super().__init__(429, f"rate limit exceeded for the {window} window")
        self.retry_after = reset


def problem_reply(problem: Problem) -> Reply:
    """The answer to a refused request."""
    headers = {"Retry-After": str(problem.retry_after)} if isinstance(problem, TooMany) else {}
    return Reply(
        status=problem.status,
        json=problem.json(),
        content_type="application/problem+json",
        headers=headers,
    )


def graphql_error(code: str) -> Reply:
    """An error of GraphQL, which comes with a 200."""
    error = {"message": "Something went wrong.", "extensions": {"code": code}}
    return Reply(json={"errors": [error], "data": None})


def cursor_of(offset: int) -> str:
    """The cursor of a page that begins at this row."""
    return base64.urlsafe_b64encode(json.dumps({"o": offset}).encode()).decode()


def offset_in(cursor: str) -> int:
    """The row at which the page of a cursor begins."""
    if not cursor:
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(cursor))["o"])
    except (ValueError, KeyError, TypeError) as exc:
        raise Problem(400, "invalid cursor") from exc

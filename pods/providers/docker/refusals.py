"""What the refusals of the engine mean."""

from collections.abc import Iterable
from typing import Any, Final

from pods.providers.errors import (
    LoginRefused,
    ProviderError,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from pods.providers.http import LONGEST_TEXT, Answer
from pods.providers.wire import cleaned

NOT_MODIFIED: Final = 304
BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
CONFLICT: Final = 409
# What the engine and the registries say about an image that a later try cannot fetch either.
_NO_IMAGE: Final = (
    "not found",
    "manifest unknown",
    "no matching manifest",
    "does not exist",
    "invalid reference format",
    "unsupported media type",
)
# What registries say to a wrong login, or to none. To a wrong one Docker Hub also says that the image
# "does not exist or may require 'docker login'", so these come first.
_NO_LOGIN: Final = (
    "access denied",
    "access to the resource is denied",
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "incorrect username or password",
)


def text_of(answer: Answer) -> str:
    """The sentence in an error of the engine. Empty where there is none."""
    return str(answer.body.get("message", "")) if isinstance(answer.body, dict) else ""


def refusal(answer: Answer) -> ProviderError:
    """The error that an answer means."""
    text = f"{answer.what}: {answer.status} {text_of(answer)}"
    if "no space left" in text.lower():
        return QuotaExceeded(text)
    return Refused(text) if answer.status == BAD_REQUEST else Unavailable(text)


def good(answer: Answer) -> Any:
    """The body of a success. Anything else is raised."""
    if answer.ok:
        return answer.body
    raise refusal(answer)


def lacks_gpu(text: str) -> bool:
    """Whether the engine says of a start that the host cannot give the GPUs."""
    return any(word in text.lower() for word in ("device driver", "nvidia", "gpu"))


def pull_refusal(image: str, text: str) -> ProviderError:
    """The error that the engine's words about a pull mean. A later try may help, if they are new."""
    words, text = text.lower(), f"the image {image} cannot be pulled: {text}"
    if "no space left" in words:
        return QuotaExceeded(text)
    if any(word in words for word in _NO_LOGIN):
        return LoginRefused(text)
    return Refused(text) if any(word in words for word in _NO_IMAGE) else Unavailable(text)


def pull_error(lines: Iterable[Any]) -> str:
    """The error in the stream of a pull, whose status is 200 all the same. Empty where there is none.

    Engine API, `POST /images/create`: each line is an object; one with `error` ends a failed pull.
    """
    for line in (line for line in lines if isinstance(line, dict)):
        detail = line.get("errorDetail")
        said = line.get("error") or (detail.get("message") if isinstance(detail, dict) else None)
        if said or detail:
            return cleaned(str(said or detail))[:LONGEST_TEXT]
    return ""

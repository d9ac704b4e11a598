"""What the refusals of the engine mean."""

from typing import Any, Final

from pods.providers.errors import ProviderError, QuotaExceeded, Refused, Unavailable
from pods.providers.http import Answer

NOT_MODIFIED: Final = 304
BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
CONFLICT: Final = 409


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
